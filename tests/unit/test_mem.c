/* scheduler/mem: sound always, and next to exhaustive search on tiny cases. */
#include "unit.h"

#include <string.h>

#include "../../scheduler/mem.h"

static uint64_t rng;
static int rnd(int n) {
  rng = rng * 6364136223846793005u + 1442695040888963407u;
  return (int)((rng >> 33) % (uint64_t)n);
}

static bool clash(const struct mem_block *x, const struct mem_block *y) {
  return x->first <= y->last && y->first <= x->last && x->offset < y->offset + y->bytes &&
         y->offset < x->offset + x->bytes;
}

static void check_packing(const struct mem_block *b, int n, const struct mem_result *r) {
  int64_t height = 0;
  for (int i = 0; i < n; i++) {
    ck_assert_int_eq(b[i].offset % b[i].align, 0);
    if (b[i].bytes) height = MAX(height, b[i].offset + b[i].bytes);
    for (int j = 0; j < i; j++) ck_assert(!clash(&b[i], &b[j]));
  }
  ck_assert_int_eq(height, r->bytes);
  ck_assert_int_le(r->bound, r->bytes);
}

/* Least height over all offsets: blocks placed in some order at the lowest free place reach it. */
static int64_t exhaustive(struct mem_block *b, int n, unsigned placed, int64_t height) {
  if (placed == (1u << n) - 1) return height;
  int64_t best = INT64_MAX;
  for (int i = 0; i < n; i++) {
    if (placed >> i & 1) continue;
    for (int64_t at = 0;; at++) {
      b[i].offset = at;
      bool free = true;
      for (int j = 0; j < n; j++) free &= !(placed >> j & 1) || !clash(&b[i], &b[j]);
      if (free) break;
    }
    best = MIN(best, exhaustive(b, n, placed | 1u << i, MAX(height, b[i].offset + b[i].bytes)));
  }
  return best;
}

START_TEST(packs_tiny_cases) {
  int optimal = 0, rounds = 400;
  for (int round = 0; round < rounds; round++) {
    struct fvm_error err;
    struct mem_block b[6], copy[6];
    struct mem_result r;
    rng = (uint64_t)round;
    int n = 1 + rnd(6);
    for (int i = 0; i < n; i++) {
      int first = rnd(6);
      b[i] = (struct mem_block){first, MIN(5, first + rnd(4)), 1 + rnd(5), 1, 0};
    }
    memcpy(copy, b, sizeof b);
    OK(mem_pack(b, n, &r, &err));
    check_packing(b, n, &r);
    int64_t best = exhaustive(copy, n, 0, 0);
    ck_assert_int_le(r.bound, best);
    ck_assert_int_ge(r.bytes, best);
    optimal += r.bytes == best;
  }
  ck_assert_int_ge(optimal, rounds * 98 / 100);
}
END_TEST

START_TEST(packs_large_cases) {
  for (int round = 0; round < 6; round++) {
    struct fvm_error err;
    struct mem_block b[300];
    struct mem_result r;
    rng = (uint64_t)round;
    for (int i = 0; i < 300; i++) {
      int first = rnd(500);
      b[i] = (struct mem_block){first, first + rnd(30), 64 * rnd(100), 64, 0};
    }
    OK(mem_pack(b, 300, &r, &err));
    check_packing(b, 300, &r);
    ck_assert_int_le(r.bytes, r.bound * 5 / 4);
  }
}
END_TEST

/* A chain as in a transformer: a residual over two layers, wide values inside. */
START_TEST(chain_reaches_the_bound) {
  struct fvm_error err;
  struct mem_block b[200];
  struct mem_result r;
  int n = 0;
  for (int layer = 0; layer < 30; layer++) {
    int t = layer * 5;
    b[n++] = (struct mem_block){t, t + 4, 384 * 64, 64, 0}; /* residual */
    b[n++] = (struct mem_block){t + 1, t + 2, 1536 * 64, 64, 0};
    b[n++] = (struct mem_block){t + 2, t + 3, 1536 * 64, 64, 0};
    b[n++] = (struct mem_block){t + 3, t + 4, 384 * 64, 64, 0};
    b[n++] = (struct mem_block){t + 4, t + 5, 384 * 64, 64, 0};
  }
  OK(mem_pack(b, n, &r, &err));
  check_packing(b, n, &r);
  ck_assert_int_eq(r.bytes, r.bound);
}
END_TEST

START_TEST(refuses_what_overflows) {
  struct fvm_error err;
  struct mem_result r;
  struct mem_block b[2] = {{0, 1, INT64_MAX / 2, 64, 0}, {2, 3, INT64_MAX / 2 + 1, 64, 0}};
  ck_assert_int_eq(mem_pack(b, 2, &r, &err), FVM_EUNSUPPORTED);
  OK(mem_pack(b, 0, &r, &err));
}
END_TEST

UNIT_MAIN("mem", packs_tiny_cases, packs_large_cases, chain_reaches_the_bound,
          refuses_what_overflows)
