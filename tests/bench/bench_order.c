/* The order of steps on families of growing size: how far the proof gets, and what it takes.
 *
 *   tests/bench/bench_order [TICKS]
 *
 * Prints per problem: steps, the given order's peak, the peak found, its bound, work, seconds. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "../unit/order_toys.h"

static void timed(struct toy *t, int n) { make_unet(t, n / 6, true); }
static void untimed(struct toy *t, int n) { make_unet(t, n / 4, false); }
static void diffusion(struct toy *t, int n) { make_diffusion(t, 4, n / 80); }
static void decoder(struct toy *t, int n) { make_decoder(t, n / 32); }

static const struct {
  const char *name;
  void (*make)(struct toy *t, int n);
  int most;
} family[] = {
    {"decoder", decoder, 4096},   {"branches", make_branches, 4096}, {"unet", untimed, 256},
    {"timed", timed, 380},        {"diffuse", diffusion, 900},       {"wired", make_wired, 1024},
    {"joins", make_joins, 1024},  {"nested", make_nested, 1024},     {"tree", make_tree, 1024},
    {"random", make_random, 512},
};

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int main(int argc, char **argv) {
  static struct toy t;
  int64_t ticks = argc > 1 ? atoll(argv[1]) : ORDER_TICKS;
  printf("family    steps      peak     bound            ticks   seconds\n");
  for (size_t f = 0; f < COUNT(family); f++)
    for (int n = 64; n <= family[f].most; n *= 2)
      for (int round = 0; round < 3; round++) {
        struct order_result r;
        struct arena a = {0};
        struct fvm_error err;
        rng = (uint64_t)round;
        toy_start(&t);
        family[f].make(&t, n);
        double start = now();
        if (order_steps(&t.p, ticks, 0, &a, &r, &err)) return EXIT_FAILURE;
        printf("%-9s %5d %9lld %9lld %-7s %9lld %9.6f\n", family[f].name, t.p.nstep,
               (long long)r.peak, (long long)r.bound, r.peak == r.bound ? "proved" : "gap",
               (long long)r.ticks, now() - start);
        arena_free(&a);
      }
  return EXIT_SUCCESS;
}
