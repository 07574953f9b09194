/* The most promising sets only, from as many units done to one more. Contract: order_net.h. */
#include <stdlib.h>
#include <string.h>

#include "order_net.h"

/* A layer takes time with the square of the units. */
enum { MIN_WIDTH = 2, MAX_WIDTH = 128, WORK = 1 << 21 };

struct state {
  int64_t peak, live;
  int parent, unit; /* the set of the layer before, without this unit */
};
struct beam {
  const struct order_net *n;
  struct order_walk w;
  int words, width;
  uint64_t *now;
  uint64_t *bits, *other; /* rows of this layer and the next */
  struct state *state;    /* by layer, `width` each */
  VEC(struct state) next;
};

static uint64_t *row(uint64_t *rows, const struct beam *b, int i) {
  return &rows[(size_t)i * (size_t)b->words];
}

/* Moves that stay below `below`; one that costs nothing is the only one. */
static bool extend(struct beam *b, int from, const struct state *x, int64_t below) {
  size_t first = b->next.n;
  for (int u = 0; u < b->n->nunit; u++) {
    if (b->w.waits[u] != 0 || order_bit(b->now, u)) continue;
    struct order_move m = order_walk_try(&b->w, u);
    if (m.hill >= below) continue;
    bool harmless = m.hill <= x->peak && m.after <= x->live;
    if (harmless) b->next.n = first;
    if (!VEC_PUSH(&b->next, ((struct state){MAX(x->peak, m.hill), m.after, from, u}))) return false;
    if (harmless) break;
  }
  return true;
}

static int by_promise(const void *x, const void *y) {
  const struct state *a = x, *b = y;
  if (a->peak != b->peak) return a->peak < b->peak ? -1 : 1;
  if (a->live != b->live) return a->live < b->live ? -1 : 1;
  if (a->parent != b->parent) return a->parent - b->parent;
  return a->unit - b->unit;
}

/* The best sets, each once: whatever way led to a set, the better one comes first. */
static int keep_best(struct beam *b, struct state *to) {
  int n = 0;
  if (b->next.n) qsort(b->next.v, b->next.n, sizeof *b->next.v, by_promise);
  for (size_t i = 0; i < b->next.n && n < b->width; i++) {
    const struct state *x = &b->next.v[i];
    uint64_t *set = row(b->other, b, n);
    memcpy(set, row(b->bits, b, x->parent), (size_t)b->words * sizeof *set);
    order_set(set, x->unit);
    bool again = false;
    for (int k = 0; k < n && !again; k++)
      again = to[k].live == x->live &&
              !memcmp(row(b->other, b, k), set, (size_t)b->words * sizeof *set);
    if (!again) to[n++] = *x;
    b->w.ticks += n * b->words;
  }
  uint64_t *swap = b->bits;
  b->bits = b->other;
  b->other = swap;
  return n;
}

static bool open_beam(struct beam *b, const struct order_net *n, struct arena *a) {
  *b = (struct beam){.n = n, .words = (n->nunit + 63) / 64};
  int64_t width = WORK / MAX(1, (int64_t)n->nunit * n->nunit);
  b->width = (int)MAX(MIN_WIDTH, MIN(width, MAX_WIDTH));
  b->now = ARENA_NEW(a, uint64_t, b->words);
  b->bits = ARENA_NEW(a, uint64_t, (int64_t)b->words * (b->width + 1));
  b->other = ARENA_NEW(a, uint64_t, (int64_t)b->words * (b->width + 1));
  b->state = ARENA_NEW(a, struct state, ((int64_t)n->nunit + 1) * b->width);
  return b->now && b->bits && b->other && b->state && order_walk_new(&b->w, n, a);
}

/* Layer by layer; false when memory is out. *found: an order below `below`, in unit. */
static bool run(struct beam *b, int64_t below, bool backwards, int *unit, int64_t *peak,
                bool *found) {
  int n = 1, total = b->n->nunit;
  b->state[0] = (struct state){b->w.live, b->w.live, -1, -1};
  for (int layer = 0; layer < total && n; layer++) {
    const struct state *from = &b->state[(size_t)layer * (size_t)b->width];
    b->next.n = 0;
    for (int i = 0; i < n; i++) {
      order_walk_to(&b->w, b->now, row(b->bits, b, i));
      b->w.live = from[i].live;
      if (!extend(b, i, &from[i], below)) return false;
    }
    n = keep_best(b, &b->state[((size_t)layer + 1) * (size_t)b->width]);
  }
  *found = n > 0;
  if (n > 0) *peak = b->state[(size_t)total * (size_t)b->width].peak;
  for (int layer = total, i = 0; n && layer > 0; layer--) {
    const struct state *x = &b->state[(size_t)layer * (size_t)b->width + (size_t)i];
    unit[backwards ? total - layer : layer - 1] = backwards ? total - 1 - x->unit : x->unit;
    i = x->parent;
  }
  return true;
}

bool order_beam(const struct order_net *n, int *unit, int64_t *peak, struct arena *a,
                int64_t *ticks) {
  struct order_net back;
  struct beam b[2] = {0};
  bool ok = order_net_reverse(&back, n, a);
  for (int k = 0; k < 2 && ok; k++) {
    bool found;
    ok = open_beam(&b[k], k ? &back : n, a) && run(&b[k], *peak, k, unit, peak, &found);
    *ticks += b[k].w.ticks;
    VEC_FREE(&b[k].next);
  }
  return ok;
}
