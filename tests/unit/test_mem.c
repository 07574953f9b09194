/* scheduler/mem and scheduler/order: sound always, and next to exhaustive search on tiny cases. */
#include "unit.h"

#include <string.h>

#include "../../scheduler/mem.h"

static uint64_t rng;
static int rnd(int n) {
  rng = rng * 6364136223846793005u + 1442695040888963407u;
  return (int)((rng >> 33) % (uint64_t)n);
}

/* ---- memory ---- */

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

/* ---- order ---- */

enum { MAXS = 8, MAXV = 10, MAXU = 30 };
struct toy {
  struct order_problem p;
  struct order_value value[MAXV];
  struct order_use use[MAXU];
};

static void toy_make(struct toy *t) {
  *t = (struct toy){0};
  t->p = (struct order_problem){.value = t->value, .use = t->use};
  t->p.nstep = 1 + rnd(MAXS - 2);
  t->value[t->p.nvalue++] = (struct order_value){rnd(4), -1, rnd(2)};
  for (int s = 0; s < t->p.nstep; s++) {
    for (int k = rnd(3); k >= 0; k--) t->use[t->p.nuse++] = (struct order_use){s, rnd(t->p.nvalue)};
    t->value[t->p.nvalue++] = (struct order_value){1 + rnd(9), s, rnd(5) == 0};
  }
}

static bool uses(const struct toy *t, int step, int value) {
  for (int i = 0; i < t->p.nuse; i++)
    if (t->use[i].step == step && t->use[i].value == value) return true;
  return false;
}

/* Peak of an order, by definition; -1 when it breaks a dependency. */
static int64_t peak_of(const struct toy *t, const int *order, int n) {
  int64_t peak = 0;
  int when[MAXS];
  for (int k = 0; k < n; k++) when[order[k]] = k;
  for (int k = -1; k < n; k++) {
    int64_t live = 0;
    for (int v = 0; v < t->p.nvalue; v++) {
      int from = t->value[v].producer < 0 ? -1 : when[t->value[v].producer], to = from;
      for (int s = 0; s < n; s++)
        if (uses(t, s, v)) {
          if (when[s] <= from) return -1;
          to = MAX(to, when[s]);
        }
      bool wanted = to > from || from >= 0;
      if (t->value[v].stays) to = n, wanted = true;
      if (wanted && from <= k && k <= to) live += t->value[v].bytes;
    }
    peak = MAX(peak, live);
  }
  return peak;
}

static int64_t best_order(const struct toy *t, int *order, int k) {
  int64_t best = INT64_MAX;
  if (k == t->p.nstep) {
    int64_t peak = peak_of(t, order, k);
    return peak < 0 ? best : peak;
  }
  for (int i = k; i < t->p.nstep; i++) {
    int x = order[i];
    order[i] = order[k], order[k] = x;
    best = MIN(best, best_order(t, order, k + 1));
    order[k] = order[i], order[i] = x;
  }
  return best;
}

START_TEST(orders_tiny_cases) {
  int optimal = 0, rounds = 200;
  for (int round = 0; round < rounds; round++) {
    struct fvm_error err;
    struct arena a = {0};
    struct order_result r;
    struct toy t;
    int given[MAXS];
    rng = (uint64_t)round;
    toy_make(&t);
    for (int i = 0; i < t.p.nstep; i++) given[i] = i;
    OK(order_steps(&t.p, &a, &r, &err));
    ck_assert_int_eq(peak_of(&t, r.step, t.p.nstep), r.peak);
    ck_assert_int_le(r.peak, peak_of(&t, given, t.p.nstep));
    int64_t best = best_order(&t, given, 0);
    ck_assert_int_le(r.bound, best);
    ck_assert_int_ge(r.peak, best);
    optimal += r.peak == best;
    arena_free(&a);
  }
  ck_assert_int_ge(optimal, rounds * 9 / 10);
}
END_TEST

/* Two branches from one input, each wide and then narrow: breadth first holds both wide ones. */
START_TEST(order_finishes_a_branch_first) {
  struct fvm_error err;
  struct arena a = {0};
  struct order_result r;
  struct order_value v[] = {{1, -1, false}, {9, 0, false}, {9, 1, false},
                            {1, 2, false},  {1, 3, false}, {1, 4, true}};
  struct order_use u[] = {{0, 0}, {1, 0}, {2, 1}, {3, 2}, {4, 3}, {4, 4}};
  struct order_problem p = {5, 6, 6, v, u};
  OK(order_steps(&p, &a, &r, &err));
  ck_assert_int_eq(r.peak, 11);
  ck_assert_int_eq(r.bound, 10);
  arena_free(&a);
}
END_TEST

UNIT_MAIN("mem", packs_tiny_cases, packs_large_cases, chain_reaches_the_bound,
          refuses_what_overflows, orders_tiny_cases, order_finishes_a_branch_first)
