/* scheduler/mem: sound always, and next to exhaustive search on tiny cases. */
#include "unit.h"

#include <string.h>

#include "../../scheduler/mem_work.h"
#include "../bench/mem_cases.h"

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

/* ---- an oracle ---- */

/* Least height by going through time with every set of offsets of what is live, 4 bits a block, at
 * most 16 live and 15 units high. Shares no idea with what it tests. */
enum { MAX_SETS = 1 << 14 };
struct sets {
  uint64_t v[MAX_SETS];
  int n;
};
static struct sets sets[2];

static int by_value(const void *x, const void *y) {
  uint64_t a = *(const uint64_t *)x, b = *(const uint64_t *)y;
  return a < b ? -1 : a > b;
}
static void unique(struct sets *s) {
  int n = 0;
  qsort(s->v, (size_t)s->n, sizeof *s->v, by_value);
  for (int i = 0; i < s->n; i++)
    if (!n || s->v[n - 1] != s->v[i]) s->v[n++] = s->v[i];
  s->n = n;
}

static int by_start(const void *x, const void *y) {
  const struct mem_block *a = x, *b = y;
  return a->first - b->first;
}

/* Takes the k-th of the live blocks away. */
static uint64_t without(uint64_t set, int k) {
  uint64_t low = ((uint64_t)1 << 4 * k) - 1;
  return (set & low) | (set >> 4 & ~low);
}

static bool is_free(const struct mem_block *b, const int *live, int nlive, uint64_t set, int i,
                    int64_t at) {
  for (int k = 0; k < nlive; k++) {
    int64_t other = (int64_t)(set >> 4 * k & 15);
    if (at < other + b[live[k]].bytes && other < at + b[i].bytes) return false;
  }
  return true;
}

/* Blocks in order of their starts. -1: too many sets. */
static int fits(const struct mem_block *b, int n, int64_t cap) {
  struct sets *now = &sets[0], *next = &sets[1];
  int live[16], nlive = 0;
  now->n = 1, now->v[0] = 0;
  for (int i = 0; i < n; i++) {
    for (int k = nlive - 1; k >= 0; k--) {
      if (b[live[k]].last >= b[i].first) continue;
      for (int s = 0; s < now->n; s++) now->v[s] = without(now->v[s], k);
      memmove(&live[k], &live[k + 1], (size_t)(--nlive - k) * sizeof *live);
    }
    unique(now);
    next->n = 0;
    for (int s = 0; s < now->n; s++)
      for (int64_t at = 0; at + b[i].bytes <= cap; at++) {
        if (at % b[i].align || (b[i].fixed && at != b[i].offset)) continue;
        if (!is_free(b, live, nlive, now->v[s], i, at)) continue;
        if (next->n == MAX_SETS || nlive == 15) return -1;
        next->v[next->n++] = now->v[s] | (uint64_t)at << 4 * nlive;
      }
    live[nlive++] = i;
    struct sets *t = now;
    now = next, next = t;
    if (!now->n) return 0;
  }
  return 1;
}

/* -1: more than 15, or too much work. */
static int64_t least_height(const struct mem_block *block, int n) {
  struct mem_block b[32];
  memcpy(b, block, (size_t)n * sizeof *b);
  qsort(b, (size_t)n, sizeof *b, by_start);
  for (int64_t cap = 1; cap < 16; cap++) {
    int f = fits(b, n, cap);
    if (f) return f < 0 ? -1 : cap;
  }
  return -1;
}

/* ---- small instances ---- */

struct kind {
  int n, steps, life, size, align_percent, fixed_percent;
};

static void make_small(struct mem_block *b, const struct kind *k) {
  for (int i = 0; i < k->n; i++) {
    int first = rnd(k->steps), align = rnd(100) < k->align_percent ? 1 << rnd(3) : 1;
    b[i] = (struct mem_block){
        first, MIN(k->steps - 1, first + rnd(k->life)), 1 + rnd(k->size), align, 0, false};
    if (rnd(100) >= k->fixed_percent) continue;
    b[i].offset = rnd(5) * align;
    bool free = true;
    for (int j = 0; j < i; j++) free &= !b[j].fixed || !clash(&b[i], &b[j]);
    b[i].fixed = free;
  }
}

/* Instances of a kind whose least height the oracle finds are solved to it, and proved. */
static void check_kind(const struct kind *k, int rounds, int at_least) {
  int known = 0;
  for (int round = 0; round < rounds; round++) {
    struct fvm_error err;
    struct mem_block b[32], given[32];
    struct mem_result r;
    struct kind one = *k;
    rng = (uint64_t)round * 977 + (uint64_t)k->n;
    if (round % 2) one.n = 1 + rnd(k->n);
    make_small(given, &one);
    memcpy(b, given, sizeof b);
    int64_t best = least_height(given, one.n);
    OK(mem_solve(b, one.n, &(struct mem_limits){.ticks = 1000000}, &r, &err));
    check_packing(b, one.n, &r);
    for (int i = 0; i < one.n; i++) ck_assert(!given[i].fixed || b[i].offset == given[i].offset);
    if (best < 0) continue;
    known++;
    ck_assert_int_eq(r.bytes, best);
    ck_assert_int_eq(r.bound, best);
    ck_assert_int_eq(r.status, MEM_OPTIMAL);
  }
  ck_assert_int_ge(known, at_least);
}

START_TEST(small_instances_are_exact) {
  check_kind(&(struct kind){6, 6, 4, 5, 0, 0}, 2000, 1600);
  check_kind(&(struct kind){12, 10, 4, 3, 0, 0}, 500, 300);
  check_kind(&(struct kind){16, 12, 4, 3, 0, 0}, 100, 30);
  check_kind(&(struct kind){24, 30, 4, 3, 0, 0}, 60, 20);
}
END_TEST

START_TEST(alignments_are_exact) {
  check_kind(&(struct kind){8, 8, 4, 4, 60, 0}, 500, 300);
  check_kind(&(struct kind){16, 16, 4, 3, 40, 0}, 100, 30);
}
END_TEST

START_TEST(fixed_blocks_are_exact) {
  check_kind(&(struct kind){8, 8, 4, 4, 0, 30}, 1000, 500);
  check_kind(&(struct kind){16, 16, 4, 3, 30, 20}, 100, 30);
}
END_TEST

/* All blocks at multiples of one alignment that does not divide the sizes. */
START_TEST(one_alignment_is_exact) {
  for (int round = 0; round < 500; round++) {
    struct fvm_error err;
    struct mem_block b[10], given[10];
    struct mem_result r;
    rng = (uint64_t)round;
    int n = 2 + rnd(8);
    make_small(given, &(struct kind){n, 6, 4, 4, 0, 0});
    for (int i = 0; i < n; i++) given[i].align = 2 + round % 2;
    memcpy(b, given, sizeof b);
    int64_t best = least_height(given, n);
    OK(mem_pack(b, n, &r, &err));
    check_packing(b, n, &r);
    if (best >= 0) ck_assert_int_eq(r.bytes, best);
  }
}
END_TEST

/* ---- the search ---- */

/* Without a rule the search says the same about the least height and the one below. */
START_TEST(rules_lose_nothing) {
  static const unsigned rules[] = {
      0, MEM_NO_DOMINANCE, MEM_NO_FLOORS, MEM_NO_SPLIT, MEM_NO_SUPPORT, MEM_NO_TWINS, 31};
  for (int round = 0; round < 400; round++) {
    struct fvm_error err;
    struct arena a = {0};
    struct mem_block b[9];
    struct mem_parts p = {.a = &a};
    int64_t offset[9], best;
    rng = (uint64_t)round;
    make_small(b, &(struct kind){9, 7, 4, 4, round % 4 ? 0 : 40, round % 3 ? 0 : 20});
    best = least_height(b, 9);
    OK(mem_split(b, 9, &p, &err));
    for (size_t i = 0; i < p.part.n && best > 0; i++)
      for (size_t k = 0; k < COUNT(rules); k++)
        for (int o = 0; o < MEM_ORDERS; o++) {
          struct mem_effort e = {.most = 10000000};
          struct mem_part *q = &p.part.v[i];
          struct mem_search *s = mem_search_new(q, &a);
          ck_assert_ptr_nonnull(s);
          int64_t base = q->base * q->unit, low = q->bound, cap = best - base;
          ck_assert_int_eq(
              mem_search(s, cap, (enum mem_order)o, k, INT64_MAX, rules[k], offset, &e), MEM_FOUND);
          if (p.part.n > 1 || p.height == best || cap <= low) continue;
          ck_assert_int_eq(
              mem_search(s, cap - 1, (enum mem_order)o, k, INT64_MAX, rules[k], offset, &e),
              MEM_NONE);
        }
    VEC_FREE(&p.part);
    arena_free(&a);
  }
}
END_TEST

/* ---- capacities, limits ---- */

START_TEST(capacity_decides) {
  for (int round = 0; round < 300; round++) {
    struct fvm_error err;
    struct mem_block b[10], given[10];
    struct mem_result r;
    rng = (uint64_t)round;
    make_small(given, &(struct kind){10, 7, 4, 4, 0, 0});
    int64_t best = least_height(given, 10);
    for (int64_t cap = best - 1; best > 1 && cap <= best + 1; cap++) {
      memcpy(b, given, sizeof b);
      OK(mem_solve(b, 10, &(struct mem_limits){.capacity = cap, .ticks = 1000000}, &r, &err));
      ck_assert_int_eq(r.status == MEM_INFEASIBLE, cap < best);
      if (cap < best) {
        ck_assert_int_gt(r.bound, cap);
        ck_assert_int_le(r.bound, best);
        continue;
      }
      check_packing(b, 10, &r);
      ck_assert_int_le(r.bytes, cap);
    }
  }
}
END_TEST

/* Whatever the limit, what comes out is a packing, and the same again. */
START_TEST(limits_leave_a_packing) {
  static struct mem_case c, again;
  for (int f = 0; f < MEM_FAMILY_COUNT; f++)
    for (int64_t ticks = 0; ticks < 20000; ticks = 10 * ticks + 50) {
      struct fvm_error err;
      struct mem_result r, s;
      mem_case_make(&c, (enum mem_family)f, 150, (uint64_t)f);
      again = c;
      OK(mem_solve(c.block, c.n, &(struct mem_limits){.ticks = ticks}, &r, &err));
      OK(mem_solve(again.block, c.n, &(struct mem_limits){.ticks = ticks}, &s, &err));
      check_packing(c.block, c.n, &r);
      ck_assert_int_eq(r.bound, c.height);
      ck_assert(!memcmp(&c, &again, sizeof c) && !memcmp(&r, &s, sizeof r));
    }
}
END_TEST

static bool stop_at_once(void *data) {
  ++*(int *)data;
  return true;
}
START_TEST(stops_when_told) {
  static struct mem_case c;
  struct fvm_error err;
  struct mem_result r;
  int asked = 0;
  mem_case_make(&c, MEM_guillotine, 300, 1);
  struct mem_limits l = {.ticks = INT64_MAX, .stop = stop_at_once, .data = &asked};
  OK(mem_solve(c.block, c.n, &l, &r, &err));
  check_packing(c.block, c.n, &r);
  ck_assert_int_eq(asked, 1);
  ck_assert_int_eq(r.status, MEM_GAP);
}
END_TEST

/* ---- large instances ---- */

START_TEST(packs_large_cases) {
  for (int round = 0; round < 6; round++) {
    struct fvm_error err;
    struct mem_block b[300];
    struct mem_result r;
    rng = (uint64_t)round;
    for (int i = 0; i < 300; i++) {
      int first = rnd(500);
      b[i] = (struct mem_block){first, first + rnd(30), 64 * rnd(100), 64, 0, false};
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
    b[n++] = (struct mem_block){t, t + 4, 384 * 64, 64, 0, false}; /* residual */
    b[n++] = (struct mem_block){t + 1, t + 2, 1536 * 64, 64, 0, false};
    b[n++] = (struct mem_block){t + 2, t + 3, 1536 * 64, 64, 0, false};
    b[n++] = (struct mem_block){t + 3, t + 4, 384 * 64, 64, 0, false};
    b[n++] = (struct mem_block){t + 4, t + 5, 384 * 64, 64, 0, false};
  }
  OK(mem_pack(b, n, &r, &err));
  check_packing(b, n, &r);
  ck_assert_int_eq(r.bytes, r.bound);
}
END_TEST

/* Blocks of 2^62 bytes fit where they are not live together. */
START_TEST(refuses_what_overflows) {
  struct fvm_error err;
  struct mem_result r;
  int64_t huge = (int64_t)1 << 62;
  struct mem_block apart[] = {
      {0, 1, huge, 1, 0, false}, {2, 3, huge, 1, 0, false}, {4, 5, huge + 5, 64, 0, false}};
  struct mem_block both[] = {{0, 2, huge, 1, 0, false}, {1, 3, huge, 1, 0, false}};
  struct mem_block chain[] = {{0, 1, huge, 1, 0, false},
                              {1, 2, 3, 1, 0, false},
                              {2, 3, huge, 1, 0, false},
                              {3, 4, 3, 1, 0, false}};
  OK(mem_pack(apart, 3, &r, &err));
  ck_assert_int_eq(r.bytes, huge + 5);
  ck_assert_int_eq(mem_pack(both, 2, &r, &err), FVM_EUNSUPPORTED);
  ck_assert_int_eq(mem_pack(chain, 4, &r, &err), FVM_EUNSUPPORTED);
  OK(mem_pack(both, 0, &r, &err));
}
END_TEST

START_TEST(refuses_fixed_blocks_that_clash) {
  struct fvm_error err;
  struct mem_result r;
  struct mem_block b[] = {{0, 2, 8, 1, 4, true}, {1, 3, 8, 1, 8, true}};
  ck_assert_int_eq(mem_pack(b, 2, &r, &err), FVM_EFAIL);
  b[1].offset = 12;
  OK(mem_pack(b, 2, &r, &err));
  ck_assert_int_eq(r.bytes, 20);
  b[1].align = 8;
  ck_assert_int_eq(mem_pack(b, 2, &r, &err), FVM_EFAIL);
}
END_TEST

/* Sums of sizes around the most live bytes are out of reach: the bound is above. */
START_TEST(sums_raise_the_bound) {
  struct fvm_error err;
  struct mem_result r;
  struct mem_block b[] = {{0, 1, 6, 1, 0, false}, {0, 0, 4, 1, 0, false}, {2, 3, 6, 1, 0, false},
                          {1, 2, 5, 1, 0, false}, {3, 4, 4, 1, 0, false}, {4, 5, 6, 1, 0, false}};
  int64_t best = least_height(b, 6);
  OK(mem_pack(b, 6, &r, &err));
  check_packing(b, 6, &r);
  ck_assert_int_eq(r.bytes, best);
  ck_assert_int_eq(r.status, MEM_OPTIMAL);
}
END_TEST

UNIT_MAIN("mem", small_instances_are_exact, alignments_are_exact, fixed_blocks_are_exact,
          one_alignment_is_exact, rules_lose_nothing, capacity_decides, limits_leave_a_packing,
          stops_when_told, packs_large_cases, chain_reaches_the_bound, refuses_what_overflows,
          refuses_fixed_blocks_that_clash, sums_raise_the_bound)
