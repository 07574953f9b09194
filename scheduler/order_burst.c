/* Units that may be run together without a choice. Contract: order_net.h.
 *
 * Of a set S that is done, and a unit that is ready, look at what it opens alone: itself, and units
 * that wait for nothing but such and S. If some of these, X, can be run within the limit so that no
 * more is live than at S, and none that are fewer can, no order loses by running X first: against
 * each closed part Y of X it is f(S + X) <= f(S) < f(S + Y), so whatever else is done, what is left
 * of X adds nothing to it. A part that could not be run within the limit is no lower either: the
 * lowest part of X always can be, since in the order of X without the rest no more is live. */
#include <string.h>

#include "order_net.h"

/* More sets are seldom of use, and each is compared with all. */
enum { MAX_SETS = 64 };

struct set {
  int64_t live;
  int parent, unit, size; /* the set without this unit */
};
struct order_burst {
  int words, n;
  uint64_t *start, *ready, *row;
  struct set set[MAX_SETS];
};

static uint64_t *row(const struct order_burst *b, int i) {
  return &b->row[(size_t)i * (size_t)b->words];
}

struct order_burst *order_burst_new(const struct order_net *n, struct arena *a) {
  struct order_burst *b = ARENA_NEW(a, struct order_burst, 1);
  if (!b) return NULL;
  b->words = (n->nunit + 63) / 64;
  b->start = ARENA_NEW(a, uint64_t, b->words);
  b->ready = ARENA_NEW(a, uint64_t, b->words);
  b->row = ARENA_NEW(a, uint64_t, (int64_t)b->words * MAX_SETS);
  return b->start && b->ready && b->row ? b : NULL;
}

void order_burst_start(struct order_burst *b, const struct order_walk *w, const uint64_t *now) {
  size_t bytes = (size_t)b->words * sizeof *now;
  memcpy(b->start, now, bytes);
  memset(b->ready, 0, bytes);
  for (int u = 0; u < w->n->nunit; u++)
    if (w->waits[u] == 0) order_set(b->ready, u);
}

/* The set of `from` and a unit, if there is room and it is not there yet. */
static void add(struct order_burst *b, int from, int unit, int64_t live) {
  size_t bytes = (size_t)b->words * sizeof *b->row;
  uint64_t *set = row(b, b->n);
  memcpy(set, from < 0 ? b->start : row(b, from), bytes);
  order_set(set, unit);
  for (int k = from + 1; k < b->n; k++)
    if (b->set[k].live == live && !memcmp(row(b, k), set, bytes)) return;
  b->set[b->n++] = (struct set){live, from, unit, from < 0 ? 1 : b->set[from].size + 1};
}

/* All sets with one unit more than this one; true when the last has no more than `live`. */
static bool extend(struct order_burst *b, struct order_walk *w, uint64_t *now, int from,
                   int64_t limit, int64_t live) {
  order_walk_to(w, now, row(b, from));
  w->live = b->set[from].live;
  for (int u = 0; u < w->n->nunit && b->n < MAX_SETS; u++) {
    if (w->waits[u] != 0 || order_bit(now, u) || order_bit(b->ready, u)) continue;
    struct order_move m = order_walk_try(w, u);
    if (m.hill > limit) continue;
    add(b, from, u, m.after);
    if (m.after <= live) return true;
  }
  return false;
}

int order_burst_find(struct order_burst *b, struct order_walk *w, uint64_t *now, int64_t limit,
                     int unit, int64_t after, int *path) {
  int64_t live = w->live;
  bool found = false;
  b->n = 0;
  add(b, -1, unit, after);
  for (int i = 0; i < b->n && b->n < MAX_SETS && !found; i++)
    found = extend(b, w, now, i, limit, live);
  order_walk_to(w, now, b->start);
  w->live = live;
  if (!found) return 0;
  for (int i = b->n - 1; i >= 0; i = b->set[i].parent) path[b->set[i].size - 1] = b->set[i].unit;
  return b->set[b->n - 1].size;
}
