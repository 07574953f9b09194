/* Ways to put a block into gaps: see mem_sweep.h.
 *
 * A block goes into one gap, or into several that are made to stand side by side. What it leaves is
 * to be filled by others that start with it, or it is waste, of which there can be no more than the
 * section's slack. */
#include <stdlib.h>

#include "mem_sweep.h"

/* ---- ways ---- */

struct finder {
  const struct mem_need *need;
  const struct mem_gaps *gaps;
  struct mem_way *way;
  int n;
};

/* The first sum from `least` on; nsums: none. */
static int find_sum(const struct mem_need *need, int64_t least) {
  int a = 0, b = need->nsums;
  while (a < b) {
    int m = (a + b) / 2;
    if (need->sums[m] >= least)
      b = m;
    else
      a = m + 1;
  }
  return a;
}

/* What stays free of a rest, at least. */
static int64_t waste_of(const struct mem_need *need, int64_t rest) {
  return need->nsums ? rest - need->sums[find_sum(need, rest + 1) - 1] : 0;
}

/* In millionths of the capacity, about. */
static int64_t share(const struct mem_need *need, int64_t x) {
  return (int64_t)(1e6 * (double)x / (double)need->cap);
}

static void add_way(struct finder *f, uint64_t gaps, int64_t total, int64_t cost) {
  enum { JOIN = 10000, REST = 1000 };
  int64_t rest = total - f->need->size;
  int k = __builtin_popcountll(gaps);
  if (k > 1) cost += JOIN * k;
  if (rest) cost += REST + share(f->need, rest) / 1000;
  if (f->n < MEM_WAYS) f->way[f->n++] = (struct mem_way){gaps, total, cost};
}

static void add_single(struct finder *f, int i) {
  enum { SPLIT = 100 };
  const struct mem_gap *g = &f->gaps->v[i];
  int64_t rest = g->size - f->need->size;
  int64_t waste = rest >= 0 ? waste_of(f->need, rest) : INT64_MAX;
  if (waste > f->need->slack) return;
  add_way(f, (uint64_t)1 << i, g->size, g->open ? 0 : share(f->need, waste));
  if (rest && g->loose && !g->open) add_way(f, (uint64_t)1 << i, f->need->size, SPLIT);
}

/* The least total that others fill without waste, of the gaps but for some of the last loose one;
 * without any as little as can be. */
static void add_join(struct finder *f, uint64_t gaps) {
  const struct mem_need *need = f->need;
  int64_t sum = 0, loose = 0, least = INT64_MAX;
  for (uint64_t w = gaps; w; w &= w - 1) {
    const struct mem_gap *g = &f->gaps->v[__builtin_ctzll(w)];
    sum += g->size;
    least = MIN(least, g->size);
    if (g->loose) loose = g->size;
  }
  if (sum < need->size) return;
  int64_t low = MAX(loose ? sum - loose + 1 : sum, need->size), total = low;
  int k = find_sum(need, low - need->size);
  if (k < need->nsums && need->sums[k] + need->size <= sum) total = need->sums[k] + need->size;
  int64_t rest = total - need->size, waste = waste_of(need, rest);
  bool one_too_many = need->nsums == 1 && rest >= (loose ? loose : least);
  if (waste <= need->slack && !one_too_many) add_way(f, gaps, total, share(need, waste));
}

/* All sets of few gaps; of many only pairs, and so on. */
static void add_joins(struct finder *f) {
  enum { ALL = 10, FOUR = 16, THREE = 30 };
  int n = f->gaps->n;
  uint64_t one = 1;
  for (uint64_t w = 1; n <= ALL && w < one << n; w++)
    if (w & (w - 1)) add_join(f, w);
  if (n <= ALL) return;
  add_join(f, ~(uint64_t)0 >> (MEM_GAPS - n));
  for (int a = 0; a < n; a++)
    for (int b = 0; b < a; b++) {
      add_join(f, one << a | one << b);
      for (int c = 0; c < b && n <= THREE; c++) {
        add_join(f, one << a | one << b | one << c);
        for (int d = 0; d < c && n <= FOUR; d++)
          add_join(f, one << a | one << b | one << c | one << d);
      }
    }
}

int mem_ways(const struct mem_gaps *g, const struct mem_need *need, struct mem_way *way) {
  struct finder f = {.need = need, .gaps = g, .way = way};
  for (int i = 0; i < g->n; i++) add_single(&f, i);
  add_joins(&f);
  return f.n;
}

/* ---- filling ---- */

/* Leaves the upper part of a gap behind, as a gap beside it. */
static void split(struct mem_tree *t, int i, int64_t size, struct mem_log *log) {
  struct mem_node *x = &t->v[i];
  int rest = mem_tree_new(t, MEM_LEAF, x->id, x->size - size);
  t->v[rest].gap = t->v[rest].loose = true;
  t->v[rest].next = x->next;
  x->next = rest;
  x->size = size;
  x->id = t->ids++;
  if (log) log->split[log->nsplit++] = (struct mem_split){log->event, t->v[rest].id, x->id, size};
}

/* In an open gap: a sibling of it. */
static void fill_open(struct mem_tree *t, int i, const struct mem_need *need, struct mem_log *log) {
  struct mem_node *x = &t->v[i];
  if (x->size > need->size) {
    int y = mem_tree_new(t, MEM_LEAF, need->item, need->size);
    x->size -= need->size;
    t->v[y].next = x->next;
    x->next = y;
    return;
  }
  if (log) log->into[x->id] = need->item;
  x->gap = x->loose = false;
  x->id = need->item;
}

/* The block, with a gap beside it where there is a rest. */
static int block_node(struct mem_tree *t, const struct mem_need *need, int64_t rest) {
  int x = mem_tree_new(t, MEM_LEAF, need->item, need->size);
  if (!rest) return x;
  int gap = mem_tree_new(t, MEM_LEAF, t->ids++, rest), y = mem_tree_new(t, MEM_ANY, MEM_NIL, 0);
  t->v[gap].gap = t->v[gap].loose = true;
  t->v[x].next = gap;
  t->v[y].first = x;
  t->v[y].open = true;
  return y;
}

void mem_fill(struct mem_tree *t, const struct mem_gaps *g, const struct mem_need *need,
              const struct mem_way *way, struct mem_log *log) {
  const struct mem_gap *last = NULL;
  int64_t sum = 0;
  for (uint64_t w = way->gaps; w; w &= w - 1) {
    const struct mem_gap *x = &g->v[__builtin_ctzll(w)];
    sum += x->size;
    if (x->loose || !last || !last->loose) last = x;
  }
  CHECK(last);
  bool several = (way->gaps & (way->gaps - 1)) != 0;
  if (!several && last->open) {
    fill_open(t, last->node, need, log);
    return;
  }
  if (sum > way->total) split(t, last->node, last->size - (sum - way->total), log);
  for (uint64_t w = way->gaps; w; w &= w - 1) {
    struct mem_node *x = &t->v[g->v[__builtin_ctzll(w)].node];
    x->mark = true;
    if (log) log->into[x->id] = need->item;
  }
  int x = block_node(t, need, way->total - need->size);
  if (several)
    mem_tree_join(t, x);
  else
    mem_tree_put(t, last->node, x);
}

void mem_release(struct mem_tree *t, const struct mem_item *item, int section,
                 struct mem_log *log) {
  for (int i = 0; i < t->n; i++) {
    struct mem_node *x = &t->v[i];
    if (x->kind == MEM_LEAF && !x->gap && item[x->id].hi < section) x->gap = true;
  }
  mem_tree_tidy(t, log);
}
