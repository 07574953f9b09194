/* The layout solver on made networks of the shapes that deep networks have: ticks and the least of
 * some runs' times. */
#include <stdio.h>
#include <time.h>

#include "../../scheduler/solve.h"

enum { RUNS = 5, LABELS = 8 };

static uint64_t rng;
static int64_t rnd(int64_t n) {
  rng = rng * 6364136223846793005u + 1442695040888963407u;
  return (int64_t)((rng >> 33) % (uint64_t)n);
}

static double seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void add_var(struct solve_net *net) {
  int v = solve_add_var(net, LABELS);
  CHECK(v >= 0);
  for (int a = 0; a < LABELS; a++) net->var.v[v].cost[a] = 100 + rnd(900);
}

/* Conversions: nothing between equal layouts. */
static void link(struct solve_net *net, int u, int v) {
  int e = solve_add_edge(net, u, v);
  CHECK(e >= 0);
  for (int i = 0; i < LABELS * LABELS; i++)
    net->edge.v[e].cost[i] = i % (LABELS + 1) ? 50 + rnd(450) : 0;
}

/* Each variable follows the one before and, with chance percent, each of the width before that. */
static void layered(struct solve_net *net, int n, int width, int percent) {
  for (int v = 0; v < n; v++) {
    add_var(net);
    for (int u = MAX(0, v - width); u < v; u++)
      if (u == v - 1 || rnd(100) < percent) link(net, u, v);
  }
}

/* Blocks in which each variable reads all before it. */
static void dense(struct solve_net *net, int n, int block, int unused) {
  (void)unused;
  for (int v = 0; v < n; v++) {
    add_var(net);
    for (int u = MAX(0, v % block ? v - v % block : v - 1); u < v; u++) link(net, u, v);
  }
}

static void bench(const char *name, void (*make)(struct solve_net *, int, int, int), int n,
                  int width, int percent) {
  struct solve_net net = {0};
  struct solve_result r = {0};
  double least = 1e9, check = 0;
  rng = 1;
  make(&net, n, width, percent);
  for (int i = 0; i < RUNS; i++) {
    struct arena a = {0};
    struct fvm_error err;
    double start = seconds();
    CHECK(solve_layout(&net, INT64_MAX, &a, &r, &err) == FVM_OK);
    double end = seconds();
    if (end - start < least) least = end - start;
    if (i == 0) {
      CHECK(solve_check(&net, &r, &err) == FVM_OK);
      check = seconds() - end;
    }
    arena_free(&a);
  }
  printf(
      "%-26s %5d variables  %s  cost %lld  certified %lld  %10lld ticks  %7.4f s  check %.3f s\n",
      name, n, r.optimal ? "optimal" : "gap", (long long)r.cost, (long long)r.certified,
      (long long)r.ticks, least, check);
  solve_net_free(&net);
}

int main(void) {
  bench("layered, width 3, 30 %", layered, 2500, 3, 30);
  bench("layered, width 5, 15 %", layered, 2500, 5, 15);
  bench("layered, width 5, 30 %", layered, 2500, 5, 30);
  bench("dense blocks of 5", dense, 2500, 5, 0);
  bench("dense blocks of 12", dense, 300, 12, 0);
  return 0;
}
