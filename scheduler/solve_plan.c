/* The order in which bucket elimination takes the variables of a part: greedily the one whose joint
 * table is least, of those the one that joins the fewest pairs of its neighbours anew.
 *
 * Neighbourhoods are sorted lists, and what changes goes into a heap again, so that parts of many
 * thousand variables are planned in milliseconds. Once the tables are beyond the limit nothing is
 * eliminated in that order: then neighbours are no longer joined, and the rest of the order only
 * serves the search. */
#include "solve_work.h"

#include <string.h>

enum {
  MAXFILL = 24,  /* degree beyond which ties are not looked into */
  TABLE_COST = 4 /* an entry that is kept against one that is computed */
};

struct key {
  int64_t entries;
  int fill, i, version;
};
struct plan {
  const struct solve_work *w;
  const int *member;
  int n;
  VEC(int) * adj; /* by place in member[] */
  int *version;   /* of the key that counts; -1: out */
  VEC(struct key) heap;
};

static int labels(const struct plan *p, int i) { return p->w->var.v[p->member[i]].n; }

/* Where x is in a sorted list, or would be. */
static size_t place(const struct plan *p, int i, int x) {
  size_t lo = 0, hi = p->adj[i].n;
  while (lo < hi) {
    size_t mid = (lo + hi) / 2;
    if (p->adj[i].v[mid] < x)
      lo = mid + 1;
    else
      hi = mid;
  }
  return lo;
}

static bool adjacent(const struct plan *p, int i, int x) {
  size_t k = place(p, i, x);
  return k < p->adj[i].n && p->adj[i].v[k] == x;
}

static bool add_to(struct plan *p, int i, int x) {
  size_t k = place(p, i, x);
  if (k < p->adj[i].n && p->adj[i].v[k] == x) return true;
  if (!VEC_PUSH(&p->adj[i], x)) return false;
  memmove(p->adj[i].v + k + 1, p->adj[i].v + k, (p->adj[i].n - 1 - k) * sizeof *p->adj[i].v);
  p->adj[i].v[k] = x;
  return true;
}

static void drop_from(struct plan *p, int i, int x) {
  size_t k = place(p, i, x);
  p->adj[i].n--;
  memmove(p->adj[i].v + k, p->adj[i].v + k + 1, (p->adj[i].n - k) * sizeof *p->adj[i].v);
}

/* ---- what is next ---- */

static int fill_of(const struct plan *p, int i) {
  int n = (int)p->adj[i].n, missing = 0;
  if (n > MAXFILL) return MAXFILL * MAXFILL;
  for (int j = 0; j < n; j++)
    for (int k = 0; k < j; k++) missing += !adjacent(p, p->adj[i].v[j], p->adj[i].v[k]);
  return missing;
}

static struct key key_of(const struct plan *p, int i) {
  int64_t e = labels(p, i);
  for (size_t j = 0; j < p->adj[i].n; j++) e = MIN(e * labels(p, p->adj[i].v[j]), SOLVE_INF >> 24);
  return (struct key){e, fill_of(p, i), i, p->version[i]};
}

static bool less(const struct key *a, const struct key *b) {
  if (a->entries != b->entries) return a->entries < b->entries;
  return a->fill != b->fill ? a->fill < b->fill : a->i < b->i;
}

static bool push(struct plan *p, int i) {
  p->version[i]++;
  struct key k = key_of(p, i);
  return HEAP_PUSH(&p->heap, k, less);
}

static struct key next(struct plan *p) {
  struct key k;
  do {
    CHECK(p->heap.n > 0); /* every variable that is left has a key */
    k = HEAP_POP(&p->heap, less);
  } while (k.version != p->version[k.i]);
  p->version[k.i] = -1;
  return k;
}

/* ---- the order ---- */

static bool take_out(struct plan *p, int i, bool join) {
  for (size_t j = 0; j < p->adj[i].n; j++) drop_from(p, p->adj[i].v[j], i);
  for (size_t j = 0; j < p->adj[i].n && join; j++)
    for (size_t k = 0; k < j; k++) {
      int x = p->adj[i].v[j], y = p->adj[i].v[k];
      if (!add_to(p, x, y) || !add_to(p, y, x)) return false;
    }
  for (size_t j = 0; j < p->adj[i].n; j++)
    if (!push(p, p->adj[i].v[j])) return false;
  return true;
}

static bool link_members(struct plan *p, int *place_of) {
  const struct solve_work *w = p->w;
  for (int i = 0; i < p->n; i++) place_of[p->member[i]] = i;
  for (int i = 0; i < p->n; i++) {
    const struct solve_wvar *x = &w->var.v[p->member[i]];
    for (size_t k = 0; k < x->fn.n; k++) {
      const struct solve_fn *f = &w->fn.v[x->fn.v[k]];
      if (!f->gone && !add_to(p, i, place_of[f->scope[solve_other(f, p->member[i])]])) return false;
    }
  }
  for (int i = 0; i < p->n; i++)
    if (!push(p, i)) return false;
  return true;
}

static bool find_order(struct plan *p, int64_t limit, int *order, int64_t *entries) {
  *entries = 0;
  for (int k = p->n - 1; k >= 0; k--) {
    struct key x = next(p);
    order[k] = p->member[x.i];
    *entries = solve_add(*entries, MAX(x.entries, x.entries / labels(p, x.i) * TABLE_COST));
    if (!take_out(p, x.i, *entries <= limit)) return false;
  }
  return true;
}

enum fvm_status solve_plan(struct solve_work *w, const int *member, int n, int64_t limit,
                           int *order, int64_t *entries, struct fvm_error *err) {
  struct plan p = {.w = w, .member = member, .n = n};
  int *place_of = ARENA_NEW(w->a, int, w->var.n);
  p.version = ARENA_NEW(w->a, int, n);
  p.adj = arena_alloc(w->a, (size_t)n, sizeof *p.adj);
  bool ok = place_of && p.version && p.adj && link_members(&p, place_of) &&
            find_order(&p, limit, order, entries);
  for (int i = 0; p.adj && i < n; i++) VEC_FREE(&p.adj[i]);
  VEC_FREE(&p.heap);
  return ok ? FVM_OK : fvm_nomem(err);
}
