/* How fast the packing of blocks reaches the bound on hard instances (mem_cases.h).
 *
 *   bench_mem [INSTANCES [FIRST-SEED]]        the table
 *   bench_mem --write FAMILY BLOCKS SEED      one instance as CSV */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "mem_cases.h"

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int write_case(const char *family, int n, uint64_t seed) {
  static struct mem_case c;
  int f = 0;
  while (f < MEM_FAMILY_COUNT && strcmp(mem_family_name((enum mem_family)f), family) != 0) f++;
  if (f == MEM_FAMILY_COUNT) return fprintf(stderr, "no family '%s'\n", family), 2;
  mem_case_make(&c, (enum mem_family)f, n, seed);
  printf("id,lower,upper,size\n");
  for (int i = 0; i < c.n; i++)
    printf("b%d,%d,%d,%lld\n", i, c.block[i].first, c.block[i].last + 1,
           (long long)c.block[i].bytes);
  return 0;
}

static int64_t ticks = 200000;

struct tally {
  int n, reached, under[3];
  double worst;
};

static void run_case(enum mem_family f, uint64_t seed, struct tally *t) {
  static struct mem_case c;
  struct mem_result r;
  struct fvm_error err;
  int n = 150 + (int)(seed * 7919 % 301);
  mem_case_make(&c, f, n, seed);
  double start = now();
  if (mem_solve(c.block, c.n, &(struct mem_limits){.ticks = ticks}, &r, &err)) return;
  double s = now() - start;
  t->n++;
  t->worst = MAX(t->worst, s);
  if (r.bytes > r.bound || r.bound != c.height)
    printf("  %s seed %llu: %d blocks, %.3f%% over, %.2f s%s\n", mem_family_name(f),
           (unsigned long long)seed, c.n, 100.0 * (double)(r.bytes - r.bound) / (double)r.bound, s,
           r.bound != c.height ? " (bound differs)" : "");
  else {
    t->reached++;
    for (int k = 0; k < 3; k++) t->under[k] += s < (const double[]){0.1, 1, 10}[k];
    if (s > 1)
      printf("  %s seed %llu: %d blocks, %.2f s\n", mem_family_name(f), (unsigned long long)seed,
             c.n, s);
  }
  fflush(stdout);
}

int main(int argc, char **argv) {
  if (argc == 5 && !strcmp(argv[1], "--write"))
    return write_case(argv[2], atoi(argv[3]), strtoull(argv[4], NULL, 10));
  int per = (argc > 1 ? atoi(argv[1]) : 216) / MEM_FAMILY_COUNT;
  uint64_t first = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
  if (argc > 3) ticks = atoll(argv[3]);
  struct tally t[MEM_FAMILY_COUNT] = {{0}};
  for (int f = 0; f < MEM_FAMILY_COUNT; f++)
    for (int k = 0; k < per; k++) run_case((enum mem_family)f, first + (uint64_t)k, &t[f]);
  printf("%-12s %5s %8s %7s %6s %6s %8s\n", "family", "cases", "at bound", "< 0.1 s", "< 1 s",
         "< 10 s", "worst s");
  for (int f = 0; f < MEM_FAMILY_COUNT; f++)
    printf("%-12s %5d %8d %7d %6d %6d %8.2f\n", mem_family_name((enum mem_family)f), t[f].n,
           t[f].reached, t[f].under[0], t[f].under[1], t[f].under[2], t[f].worst);
  return 0;
}
