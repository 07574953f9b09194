/* Packings by local search in the order of placing.
 *
 * An order is turned to a packing by placing block after block in the lowest gap within the
 * capacity; one for which there is none stays outside. What is to become 0 is the weight of what is
 * outside. A move puts such a block before a neighbour that was placed earlier, rather one shortly
 * before it than one far away, so that most of the packing stays; only blocks with a neighbour that
 * moved are placed anew. A change is kept when it is no worse than what the search had a few steps
 * ago. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "mem_work.h"

enum { HISTORY = 16, OUT = -1 };

struct spot {
  int64_t y, top; /* y: OUT: outside */
  int lo, hi;
};
struct packing {
  int *order, *pile; /* items, first placed first; those inside, in ascending y */
  int npile;
  struct spot *spot; /* by item */
  int64_t cost;
};
struct mem_climb {
  const struct mem_part *p;
  int n, words;
  uint64_t rng;
  struct packing now, next;
  int *place; /* item -> index in now.order */
  int64_t *most, *weight;
  int nfixed; /* they are first in the order */
  int *outside, *before;
  uint64_t *near, *moved; /* near: rows by item; moved: has a neighbour that moved */
  int64_t history[HISTORY];
};

static uint32_t draw(struct mem_climb *c, uint32_t n) {
  c->rng ^= c->rng << 13;
  c->rng ^= c->rng >> 7;
  c->rng ^= c->rng << 17;
  return (uint32_t)((c->rng >> 32) * n >> 32);
}

static bool packing_new(struct packing *k, int n, struct arena *a) {
  k->order = ARENA_NEW(a, int, n);
  k->pile = ARENA_NEW(a, int, n);
  k->spot = ARENA_NEW(a, struct spot, n);
  return k->order && k->pile && k->spot;
}

static bool near(const struct mem_climb *c, int i, int j) {
  const struct mem_item *x = &c->p->item[i], *y = &c->p->item[j];
  return (x->lo <= y->hi) & (y->lo <= x->hi);
}

struct mem_climb *mem_climb_new(const struct mem_part *p, struct arena *a) {
  struct mem_climb *c = ARENA_NEW(a, struct mem_climb, 1);
  if (!c) return NULL;
  *c = (struct mem_climb){.p = p, .n = p->n, .words = (p->n + 63) / 64};
  bool ok = packing_new(&c->now, p->n, a) && packing_new(&c->next, p->n, a);
  c->place = ARENA_NEW(a, int, p->n);
  c->outside = ARENA_NEW(a, int, p->n);
  c->before = ARENA_NEW(a, int, p->n);
  c->most = ARENA_NEW(a, int64_t, p->n);
  c->weight = ARENA_NEW(a, int64_t, p->n);
  c->moved = ARENA_NEW(a, uint64_t, c->words);
  c->near = ARENA_NEW(a, uint64_t, (size_t)p->n * (size_t)c->words);
  if (!ok || !c->place || !c->outside || !c->before || !c->most || !c->weight || !c->moved ||
      !c->near)
    return NULL;
  for (int i = 0; i < p->n; i++)
    for (int j = 0; j < p->n; j++)
      if (near(c, i, j)) c->near[(size_t)i * (size_t)c->words + j / 64] |= (uint64_t)1 << j % 64;
  return c;
}

/* ---- placing ---- */

/* The lowest place that is free, OUT: there is none. Without branches that nothing predicts. */
static int64_t find_gap(const struct mem_climb *c, int i) {
  const struct mem_item *x = &c->p->item[i];
  const struct packing *k = &c->next;
  int64_t top = 0, size = x->size, align = x->align;
  int lo = x->lo, hi = x->hi;
  if (x->fixed >= 0) return x->fixed;
  for (int q = 0; q < k->npile; q++) {
    const struct spot *s = &k->spot[k->pile[q]];
    bool both = (s->lo <= hi) & (s->hi >= lo);
    if (both & (s->y - top >= size)) break;
    int64_t above = both ? s->top : 0;
    if (align != 1) above = ROUND_UP(above, align);
    top = above > top ? above : top;
  }
  return top <= c->most[i] ? top : OUT;
}

static void pile_up(struct packing *k, int i) {
  int lo = 0, hi = k->npile;
  int64_t y = k->spot[i].y;
  while (lo < hi) {
    int mid = (lo + hi) / 2;
    if (k->spot[k->pile[mid]].y <= y)
      lo = mid + 1;
    else
      hi = mid;
  }
  memmove(&k->pile[lo + 1], &k->pile[lo], (size_t)(k->npile - lo) * sizeof i);
  k->pile[lo] = i;
  k->npile++;
}

static void mark_near(struct mem_climb *c, int i) {
  const uint64_t *row = c->near + (size_t)i * (size_t)c->words;
  for (int w = 0; w < c->words; w++) c->moved[w] |= row[w];
}

/* Pack in the order of next, which differs from now's from `from` on; stops beyond `most`. */
static void pack(struct mem_climb *c, int from, int64_t most) {
  struct packing *k = &c->next;
  k->npile = 0;
  k->cost = 0;
  memcpy(k->spot, c->now.spot, (size_t)c->n * sizeof *k->spot);
  for (int q = 0; q < c->now.npile; q++) {
    k->pile[k->npile] = c->now.pile[q];
    k->npile += c->place[c->now.pile[q]] < from;
  }
  for (int q = 0; q < c->n && k->cost <= most; q++) {
    int i = k->order[q];
    struct spot *s = &k->spot[i];
    if (q >= from && c->moved[i / 64] >> i % 64 & 1) {
      int64_t y = find_gap(c, i);
      if (y != s->y) mark_near(c, i);
      s->y = y;
      s->top = y + c->p->item[i].size;
    }
    if (s->y == OUT)
      k->cost += c->weight[i];
    else if (q >= from)
      pile_up(k, i);
  }
}

/* ---- moves ---- */

/* The least index in the order of what stands where i would be at y; its own: nothing. */
static int first_in_the_way(const struct mem_climb *c, int i, int64_t y) {
  int64_t top = y + c->p->item[i].size;
  int first = c->place[i];
  for (int q = 0; q < c->now.npile; q++) {
    int j = c->now.pile[q];
    const struct spot *s = &c->now.spot[j];
    if (near(c, i, j) & (s->y < top) & (s->top > y)) first = MIN(first, c->place[j]);
  }
  return first;
}

/* Index in the order of a neighbour that comes before, the latest of a few drawn; i's own: none. */
static int some_earlier(struct mem_climb *c, int i) {
  int n = 0, best = 0;
  for (int q = 0; q < c->place[i]; q++) {
    c->before[n] = q;
    n += near(c, i, c->now.order[q]);
  }
  if (!n) return c->place[i];
  for (int d = 0; d < 3; d++) {
    int k = (int)draw(c, (uint32_t)n);
    best = MAX(best, k);
  }
  return c->before[best];
}

/* Index in the order before which i can go to a place next to some neighbour. By chance: the place
 * where least is in the way is taken too often. */
static int some_before(struct mem_climb *c, int i) {
  uint32_t skip = draw(c, (uint32_t)c->now.npile + 1);
  int64_t y = 0;
  if (draw(c, 2)) return some_earlier(c, i);
  for (int q = 0; q < c->now.npile; q++) {
    int j = c->now.pile[((uint32_t)q + skip) % (uint32_t)c->now.npile];
    if (j == i || !near(c, i, j)) continue;
    y = draw(c, 2) ? c->now.spot[j].top : c->now.spot[j].y - c->p->item[i].size;
    break;
  }
  return first_in_the_way(c, i, MIN(MAX(y, 0), c->most[i]));
}

/* Order of next: i at index `to`. */
static void shift(struct mem_climb *c, int i, int to) {
  int from = c->place[i], *order = c->next.order;
  memcpy(order, c->now.order, (size_t)c->n * sizeof *order);
  if (from < to)
    memmove(&order[from], &order[from + 1], (size_t)(to - from) * sizeof i);
  else
    memmove(&order[to + 1], &order[to], (size_t)(from - to) * sizeof i);
  order[to] = i;
}

static void accept(struct mem_climb *c, int low, int high) {
  struct packing k = c->now;
  c->now = c->next;
  c->next = k;
  for (int q = low; q <= high; q++) c->place[c->now.order[q]] = q;
}

static void step(struct mem_climb *c, int64_t *late) {
  int n = 0;
  for (int i = 0; i < c->n; i++)
    if (c->now.spot[i].y == OUT) c->outside[n++] = i;
  int i = c->outside[draw(c, (uint32_t)n)];
  if (draw(c, 4) == 0) { /* a neighbour instead */
    int best = i, seen = 0;
    for (int j = 0; j < c->n; j++)
      if (near(c, i, j) && draw(c, (uint32_t)++seen) == 0) best = j;
    i = best;
  }
  int from = c->place[i], to = some_before(c, i);
  if (c->p->item[i].fixed >= 0) return;
  if (to == from) to = (int)draw(c, (uint32_t)c->n);
  to = MAX(to, c->nfixed);
  int64_t most = MAX(c->now.cost, *late);
  shift(c, i, to);
  memset(c->moved, 0, (size_t)c->words * sizeof *c->moved);
  mark_near(c, i);
  pack(c, MIN(from, to), most);
  if (c->next.cost <= most) accept(c, MIN(from, to), MAX(from, to));
  *late = c->now.cost;
}

/* ---- the walk ---- */

/* Large blocks are hard to bring in at last: those of little life or size may be outside. */
static bool set_up(struct mem_climb *c, int64_t cap, int kind, const int *order) {
  int n = 0;
  c->nfixed = 0;
  for (int i = 0; i < c->n; i++) {
    const struct mem_item *x = &c->p->item[i];
    double size = (double)x->bytes / (double)cap, life = (double)(x->hi - x->lo + 1) / c->p->nsec;
    c->weight[i] = 1 + (int64_t)(1e6 * (kind == 0   ? sqrt(size * life)
                                        : kind == 1 ? 1
                                                    : size * life));
    c->most[i] = mem_most(c->p, x, cap);
    if (c->most[i] < MAX(0, x->fixed)) return false;
    c->now.spot[i] = (struct spot){OUT, OUT, x->lo, x->hi};
  }
  for (int fixed = 1; fixed >= 0; fixed--)
    for (int k = 0; k < c->n; k++)
      if ((c->p->item[order[k]].fixed >= 0) == fixed) {
        c->next.order[n++] = order[k];
        c->nfixed += fixed;
      }
  c->now.npile = 0;
  memset(c->moved, 255, (size_t)c->words * sizeof *c->moved);
  pack(c, 0, INT64_MAX);
  accept(c, 0, c->n - 1);
  return true;
}

bool mem_climb(struct mem_climb *c, int64_t cap, uint64_t seed, int *order, int64_t moves,
               int64_t *offset, struct mem_effort *effort) {
  c->rng = seed * 0x9E3779B97F4A7C15u + 88172645463325252u;
  if (!set_up(c, cap, (int)(seed % 3), order)) return false;
  for (int i = 0; i < HISTORY; i++) c->history[i] = c->now.cost;
  int64_t ticks = 1 + c->n / 6; /* what a move takes, about, in nodes of the search */
  for (int64_t move = 0; move < moves && c->now.cost && mem_spend(effort, ticks); move++)
    step(c, &c->history[move % HISTORY]);
  memcpy(order, c->now.order, (size_t)c->n * sizeof *order);
  if (c->now.cost) return false;
  for (int i = 0; i < c->n; i++) offset[i] = c->now.spot[i].y;
  return true;
}
