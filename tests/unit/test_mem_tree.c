/* scheduler/mem_tree: the orders that a PQ-tree stands for, next to all permutations; and sweeps.
 */
#include "unit.h"

#include <string.h>

#include "../../scheduler/mem_sweep.h"
#include "../bench/mem_cases.h"

static uint64_t rng;
static int rnd(int n) {
  rng = rng * 6364136223846793005u + 1442695040888963407u;
  return (int)((rng >> 33) % (uint64_t)n);
}

/* ---- orders of small trees ---- */

enum { LEAVES = 6, ORDERS = 720, ROOM = 200 };
typedef unsigned char permutation[LEAVES];

/* The node's orders, each as a row of leaves: all of some children in all of their orders. */
struct rows {
  int n, width;
  permutation v[ORDERS];
};

static void orders_of(const struct mem_tree *t, int i, struct rows *out);

/* Rows of `out` with those of child c behind. */
static void extend(const struct mem_tree *t, int c, struct rows *out) {
  struct rows *child = fvm_alloc(1, sizeof *child), *all = fvm_alloc(1, sizeof *all);
  orders_of(t, c, child);
  all->n = 0;
  all->width = out->width + child->width;
  for (int a = 0; a < out->n; a++)
    for (int b = 0; b < child->n; b++) {
      memcpy(all->v[all->n], out->v[a], (size_t)out->width);
      memcpy(all->v[all->n++] + out->width, child->v[b], (size_t)child->width);
    }
  *out = *all;
  fvm_free(child, 1, sizeof *child);
  fvm_free(all, 1, sizeof *all);
}

static void add_rows(struct rows *out, const struct rows *more) {
  out->width = more->width;
  for (int k = 0; k < more->n; k++) memcpy(out->v[out->n++], more->v[k], sizeof(permutation));
}

static void any_orders(const struct mem_tree *t, const int *child, int n, unsigned used,
                       const struct rows *sofar, struct rows *out) {
  if (used == (1u << n) - 1) add_rows(out, sofar);
  for (int k = 0; k < n; k++) {
    if (used >> k & 1) continue;
    struct rows *next = fvm_alloc(1, sizeof *next);
    *next = *sofar;
    extend(t, child[k], next);
    any_orders(t, child, n, used | 1u << k, next, out);
    fvm_free(next, 1, sizeof *next);
  }
}

static void line_orders(const struct mem_tree *t, const int *child, int n, struct rows *out) {
  for (int turn = 0; turn < 2; turn++) {
    struct rows *row = fvm_alloc(1, sizeof *row);
    row->n = 1, row->width = 0;
    for (int k = 0; k < n; k++) extend(t, child[turn ? n - 1 - k : k], row);
    add_rows(out, row);
    fvm_free(row, 1, sizeof *row);
  }
}

static void orders_of(const struct mem_tree *t, int i, struct rows *out) {
  const struct mem_node *x = &t->v[i];
  int child[LEAVES], n = 0;
  out->n = 0;
  if (x->kind == MEM_LEAF) {
    out->n = out->width = 1;
    out->v[0][0] = (unsigned char)x->id;
    return;
  }
  for (int c = x->first; c != MEM_NIL; c = t->v[c].next) child[n++] = c;
  if (x->kind == MEM_LINE) {
    line_orders(t, child, n, out);
    return;
  }
  struct rows *none = fvm_alloc(1, sizeof *none);
  none->n = 1, none->width = 0;
  any_orders(t, child, n, 0, none, out);
  fvm_free(none, 1, sizeof *none);
}

static bool side_by_side(const permutation p, unsigned set) {
  int first = LEAVES, last = -1;
  for (int k = 0; k < LEAVES; k++)
    if (set >> p[k] & 1) first = MIN(first, k), last = k;
  return last - first + 1 == __builtin_popcount(set);
}

static bool is_in(const permutation p, const struct rows *r) {
  for (int k = 0; k < r->n; k++)
    if (!memcmp(p, r->v[k], sizeof(permutation))) return true;
  return false;
}

static void flat_tree(struct mem_tree *t, struct mem_node *v) {
  *t = (struct mem_tree){.most = ROOM, .v = v};
  t->root = mem_tree_new(t, MEM_ANY, MEM_NIL, 0);
  for (int i = LEAVES - 1; i >= 0; i--) {
    int x = mem_tree_new(t, MEM_LEAF, i, 1);
    t->v[x].next = t->v[t->root].first;
    t->v[t->root].first = x;
  }
}

static void mark(struct mem_tree *t, unsigned set) {
  for (int i = 0; i < t->n; i++)
    if (t->v[i].kind == MEM_LEAF) t->v[i].mark = set >> t->v[i].id & 1;
}

/* A set of leaves that are all gaps, among others that are. */
static bool gaps_can_join(struct mem_tree *t, unsigned gaps, unsigned set) {
  static struct mem_branch branch[ROOM];
  struct mem_gaps g = {.branch = branch};
  uint64_t of_gaps = 0;
  for (int i = 0; i < t->n; i++)
    if (t->v[i].kind == MEM_LEAF) t->v[i].gap = gaps >> t->v[i].id & 1;
  mem_find_gaps(t, &g);
  ck_assert_int_eq(g.n, __builtin_popcount(gaps));
  for (int k = 0; k < g.n; k++)
    if (set >> t->v[g.v[k].node].id & 1) of_gaps |= (uint64_t)1 << k;
  return mem_can_join(&g, of_gaps);
}

/* One set after the other is to stand side by side: those orders are left, no more, no less; and
 * none when it cannot be. */
START_TEST(joins_keep_all_orders) {
  static struct rows all, before, after;
  static struct mem_node v[2][ROOM];
  struct mem_tree t, copy = {.most = ROOM, .v = v[1]};
  int refused = 0, joined = 0;
  for (int round = 0; round < 150; round++) {
    rng = (uint64_t)round;
    flat_tree(&t, v[0]);
    orders_of(&t, t.root, &all);
    ck_assert_int_eq(all.n, ORDERS);
    before = all;
    for (int k = 0; k < 4; k++) {
      unsigned set = 1 + (unsigned)rnd((1 << LEAVES) - 1);
      int left = 0;
      for (int i = 0; i < before.n; i++) left += side_by_side(before.v[i], set);
      ck_assert_int_eq(gaps_can_join(&t, set | (unsigned)rnd(1 << LEAVES), set), left > 0);
      refused += !left;
      if (!left) continue;
      mark(&t, set);
      mem_tree_join(&t, MEM_NIL);
      joined++;
      orders_of(&t, t.root, &after);
      ck_assert_int_eq(after.n, left);
      for (int i = 0; i < after.n; i++)
        ck_assert(side_by_side(after.v[i], set) && is_in(after.v[i], &before));
      mem_tree_copy(&copy, &t);
      if (k % 2)
        mem_tree_copy(&t, &copy);
      else
        mem_tree_take(&t, &copy);
      before = after;
    }
  }
  ck_assert_int_gt(refused, 50);
  ck_assert_int_gt(joined, 100);
}
END_TEST

/* ---- groups ---- */

/* A leaf's group in two bits of `of`; 3: it is a gap. */
enum { GAP = 3 };
static bool can_be_together(const struct rows *r, unsigned of, unsigned group) {
  for (int i = 0; i < r->n; i++) {
    int runs = 0;
    bool in = false;
    for (int k = 0; k < LEAVES; k++) {
      unsigned g = of >> 2 * r->v[i][k] & 3;
      runs += g == group && !in;
      if (g != GAP) in = g == group;
    }
    if (runs <= 1) return true;
  }
  return false;
}

static int apart(struct mem_tree *t, unsigned of, unsigned groups) {
  uint64_t group[LEAVES];
  for (int i = 0; i < LEAVES; i++) group[i] = (of >> 2 * i & 3) & groups;
  for (int i = 0; i < t->n; i++)
    if (t->v[i].kind == MEM_LEAF) t->v[i].gap = (of >> 2 * t->v[i].id & 3) == GAP;
  return mem_apart(t, group);
}

/* A group counts as apart when no order has it side by side, but for gaps. */
START_TEST(groups_are_apart) {
  static struct rows orders;
  static struct mem_node v[ROOM];
  struct mem_tree t;
  int together = 0, split = 0;
  for (int round = 0; round < 400; round++) {
    rng = (uint64_t)round;
    flat_tree(&t, v);
    for (int k = 0; k < 3; k++) {
      unsigned set = 1 + (unsigned)rnd((1 << LEAVES) - 1);
      if (!gaps_can_join(&t, set, set)) continue;
      mark(&t, set);
      mem_tree_join(&t, MEM_NIL);
    }
    orders_of(&t, t.root, &orders);
    for (int k = 0; k < 8; k++) {
      unsigned of = (unsigned)rnd(1 << 2 * LEAVES);
      for (unsigned g = 1; g <= 2; g++) {
        bool can = can_be_together(&orders, of, g);
        ck_assert_int_eq(apart(&t, of, g) == 0, can);
        *(can ? &together : &split) += 1;
      }
      ck_assert_int_eq(apart(&t, of, 3), apart(&t, of, 1) + apart(&t, of, 2));
    }
  }
  ck_assert_int_gt(together, 1000);
  ck_assert_int_gt(split, 500);
}
END_TEST

/* ---- sweeps ---- */

static bool clash(const struct mem_item *x, int64_t at, const struct mem_item *y, int64_t other) {
  return x->lo <= y->hi && y->lo <= x->hi && at < other + y->size && other < at + x->size;
}

static bool sweep_part(struct mem_part *p, int64_t cap, bool back, struct arena *a) {
  struct mem_effort e = {.most = INT64_MAX};
  struct mem_sweep_how how = {cap, 6000, 4, 0, back};
  struct mem_sweep *s = mem_sweep_new(p, a);
  int64_t *at = ARENA_NEW(a, int64_t, p->n);
  ck_assert(s && at);
  int64_t height = 0;
  if (mem_sweep(s, &how, at, &e) != MEM_FOUND) return false;
  for (int i = 0; i < p->n; i++) {
    ck_assert(at[i] >= 0);
    height = MAX(height, at[i] + p->item[i].size);
    for (int j = 0; j < i; j++) ck_assert(!clash(&p->item[i], at[i], &p->item[j], at[j]));
  }
  return height <= cap;
}

/* Whatever a sweep finds is a packing; narrow ones find most where there is a little room. */
START_TEST(sweeps_find_packings) {
  static struct mem_case c;
  int found = 0, parts = 0;
  for (int round = 0; round < 60; round++) {
    struct fvm_error err;
    struct arena a = {0};
    struct mem_parts p = {.a = &a};
    mem_case_make(&c, (enum mem_family)(round % MEM_FAMILY_COUNT), 40 + 2 * round, (uint64_t)round);
    OK(mem_split(c.block, c.n, &p, &err));
    for (size_t i = 0; i < p.part.n; i++) {
      struct mem_part *q = &p.part.v[i];
      int64_t cap = c.height / p.unit - q->base;
      ck_assert(mem_sweep_can(q));
      q->height = INT64_MAX;
      found += sweep_part(q, cap + (round % 3 ? cap / 16 : 0), round % 2, &a);
      parts++;
    }
    VEC_FREE(&p.part);
    arena_free(&a);
  }
  ck_assert_int_gt(found, parts * 7 / 10);
}
END_TEST

UNIT_MAIN("mem_tree", joins_keep_all_orders, groups_are_apart, sweeps_find_packings)
