/* What it costs to have two threads (or N) work together, in nanoseconds, least of many rounds:
 *
 *   step         an empty job on all threads: what a parallel step costs more than a serial one
 *   barrier      a meeting inside of a job
 *   after GAP    an empty job on all threads after a serial step of GAP microseconds: below the
 * limit of spinning the worker is there, above it sleeps and has to be woken
 *
 * On a busy machine the figures are those of its scheduler: run it with a real-time priority.
 *
 *   bench_threads [N]                  default 2
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "../../vm/threads.h"

enum { ROUNDS = 400, RUNS = 100, MEETINGS = 1000 };

static double now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int empty(void *arg, struct team *team, int tid) {
  (void)arg, (void)team, (void)tid;
  return 0;
}

static int meet(void *arg, struct team *team, int tid) {
  (void)arg, (void)tid;
  for (int i = 0; i < MEETINGS; i++) team_wait(team);
  return 0;
}

static double time_of(struct pool *pool, int n, team_fn *fn, int runs) {
  double best = 1e18;
  for (int i = 0; i < ROUNDS; i++) {
    double t = now_ns();
    for (int k = 0; k < runs; k++) pool_run(pool, n, fn, NULL);
    t = (now_ns() - t) / runs;
    if (t < best) best = t;
  }
  return best;
}

static int by_value(const void *x, const void *y) {
  const double *a = x, *b = y;
  return (*a > *b) - (*a < *b);
}

/* Least and median of the job after a gap: a sleeper is never woken at the least of a spinner. */
static void after_gap(struct pool *pool, int n, int gap_us) {
  static double v[ROUNDS];
  int rounds = gap_us > 1000 ? ROUNDS / 20 : ROUNDS / 4;
  for (int i = 0; i < rounds; i++) {
    double t = now_ns();
    while (now_ns() - t < gap_us * 1e3) continue;
    t = now_ns();
    pool_run(pool, n, empty, NULL);
    v[i] = now_ns() - t;
  }
  qsort(v, (size_t)rounds, sizeof *v, by_value);
  printf("after %6d us  %9.0f ns, median %9.0f\n", gap_us, v[0], v[rounds / 2]);
}

int main(int argc, char **argv) {
  struct fvm_error err;
  struct pool *pool;
  static const int gap[] = {1, 10, 30, 100, 300, 1000, 3000, 10000};
  int n = argc > 1 ? atoi(argv[1]) : 2;
  if (n < 2 || n > 64 || pool_new(n, &pool, &err)) {
    fprintf(stderr, "bench_threads: cannot have %d threads\n", n);
    return 1;
  }
  printf("serial step      %9.0f ns\n", time_of(pool, 1, empty, RUNS));
  printf("step, %2d threads %9.0f ns\n", n, time_of(pool, n, empty, RUNS));
  printf("barrier          %9.0f ns\n", time_of(pool, n, meet, 1) / MEETINGS);
  for (size_t i = 0; i < COUNT(gap); i++) after_gap(pool, n, gap[i]);
  pool_free(pool);
  return 0;
}
