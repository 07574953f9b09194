/* How fast the packing of blocks reaches the bound on hard instances (mem_cases.h).
 *
 *   bench_mem [INSTANCES [FIRST-SEED [SECONDS]]]   the table; an instance stops after SECONDS (10)
 *   bench_mem --write FAMILY BLOCKS SEED           one instance as CSV */
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

struct tally {
  int n, reached, under[3];
  double over, worst;
};
static const double limits[3] = {0.1, 1, 10};

/* By mean load: the share of the rectangle that is filled. */
enum { LOADS = 8 };
static const double load_to[LOADS] = {0.5, 0.6, 0.7, 0.8, 0.9, 0.94, 0.98, 1.01};

static int load_of(const struct mem_case *c) {
  double area = 0;
  int first = INT32_MAX, last = 0, k = 0;
  for (int i = 0; i < c->n; i++) {
    const struct mem_block *b = &c->block[i];
    area += (double)b->bytes * (b->last - b->first + 1);
    first = MIN(first, b->first), last = MAX(last, b->last);
  }
  double load = area / ((double)c->height * (last - first + 1));
  while (k < LOADS - 1 && load >= load_to[k]) k++;
  return k;
}

struct watch {
  double start, limit;
};
static bool is_over(void *data) {
  const struct watch *w = data;
  return now() - w->start > w->limit;
}

static void count(struct tally *t, double seconds, double over) {
  t->n++;
  t->worst = MAX(t->worst, seconds);
  t->over = MAX(t->over, over);
  t->reached += over <= 0;
  for (int k = 0; k < 3; k++) t->under[k] += over <= 0 && seconds < limits[k];
}

static void run_case(enum mem_family f, uint64_t seed, double limit, struct tally *t,
                     struct tally *by_load) {
  static struct mem_case c;
  struct mem_result r;
  struct fvm_error err;
  mem_case_make(&c, f, 150 + (int)(seed * 7919 % 301), seed);
  struct watch w = {now(), limit};
  struct mem_limits l = {.ticks = INT64_MAX, .stop = is_over, .data = &w};
  if (mem_solve(c.block, c.n, &l, &r, &err)) return;
  double s = now() - w.start, over = 100.0 * (double)(r.bytes - c.height) / (double)c.height;
  count(t, s, over);
  count(&by_load[load_of(&c)], s, over);
  if (r.bytes != c.height)
    printf("  %s seed %llu: %d blocks, %.2f%% over the bound\n", mem_family_name(f),
           (unsigned long long)seed, c.n, over);
  fflush(stdout);
}

static void print(const char *name, const struct tally *t) {
  printf("%-12s %5d %8d %7d %6d %6d %8.2f %7.2f\n", name, t->n, t->reached, t->under[0],
         t->under[1], t->under[2], t->worst, t->over);
}

int main(int argc, char **argv) {
  if (argc == 5 && !strcmp(argv[1], "--write"))
    return write_case(argv[2], atoi(argv[3]), strtoull(argv[4], NULL, 10));
  int per = (argc > 1 ? atoi(argv[1]) : 216) / MEM_FAMILY_COUNT;
  uint64_t first = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
  double limit = argc > 3 ? atof(argv[3]) : 10;
  struct tally t[MEM_FAMILY_COUNT + 1] = {{0}}, *all = &t[MEM_FAMILY_COUNT], load[LOADS] = {{0}};
  for (int f = 0; f < MEM_FAMILY_COUNT; f++)
    for (int k = 0; k < per; k++)
      run_case((enum mem_family)f, first + (uint64_t)k, limit, &t[f], load);
  printf("%-12s %5s %8s %7s %6s %6s %8s %7s\n", "family", "cases", "at bound", "< 0.1 s", "< 1 s",
         "< 10 s", "worst s", "% over");
  for (int f = 0; f < MEM_FAMILY_COUNT; f++) {
    print(mem_family_name((enum mem_family)f), &t[f]);
    all->n += t[f].n;
    all->reached += t[f].reached;
    for (int k = 0; k < 3; k++) all->under[k] += t[f].under[k];
    all->worst = MAX(all->worst, t[f].worst);
    all->over = MAX(all->over, t[f].over);
  }
  print("all", all);
  for (int k = 0; k < LOADS; k++) {
    char name[32];
    snprintf(name, sizeof name, "load < %.2f", load_to[k]);
    print(name, &load[k]);
  }
  return 0;
}
