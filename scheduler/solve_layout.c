/* The layout solver: reductions, then for each connected part bucket elimination where its tables
 * are small enough, else search. Contract: solve.h. */
#include "solve_work.h"

#include <string.h>

/* The neighbourhood of a part as it will be during elimination, without any tables. */
struct plan {
  int n;
  const int *member;  /* variables */
  int64_t *entries;   /* table that eliminating each one makes */
  unsigned char *adj; /* n * n */
  bool *out;
  int *order; /* result: the last one eliminated first */
};

static int64_t table_entries(const struct solve_work *w, const struct plan *p, int i) {
  int64_t e = w->var.v[p->member[i]].n;
  for (int j = 0; j < p->n; j++)
    if (p->adj[(size_t)i * (size_t)p->n + (size_t)j])
      e = MIN(e * w->var.v[p->member[j]].n, SOLVE_INF >> 20);
  return e;
}

static int smallest(const struct plan *p) {
  int best = -1;
  for (int i = 0; i < p->n; i++)
    if (!p->out[i] && (best < 0 || p->entries[i] < p->entries[best])) best = i;
  return best;
}

/* Join the neighbours of i to each other. */
static void take_out(const struct solve_work *w, struct plan *p, int i) {
  size_t n = (size_t)p->n;
  unsigned char *mine = p->adj + (size_t)i * n;
  p->out[i] = true;
  for (size_t j = 0; j < n; j++) {
    if (!mine[j]) continue;
    unsigned char *row = p->adj + j * n;
    for (size_t k = 0; k < n; k++) row[k] |= mine[k];
    row[j] = row[i] = 0;
  }
  for (int j = 0; j < p->n; j++)
    if (mine[j]) p->entries[j] = table_entries(w, p, j);
}

/* Greedy order by least table. Returns the sum of the tables' entries, saturating. */
static int64_t plan_order(const struct solve_work *w, struct plan *p) {
  int64_t sum = 0;
  for (int i = 0; i < p->n; i++) p->entries[i] = table_entries(w, p, i);
  for (int k = p->n - 1; k >= 0; k--) {
    int i = smallest(p);
    sum = solve_add(sum, p->entries[i]);
    p->order[k] = p->member[i];
    take_out(w, p, i);
  }
  return sum;
}

static void link_members(const struct solve_work *w, struct plan *p, int *position) {
  for (int i = 0; i < p->n; i++) position[p->member[i]] = i;
  for (int i = 0; i < p->n; i++) {
    const struct solve_wvar *x = &w->var.v[p->member[i]];
    for (size_t k = 0; k < x->fn.n; k++) {
      const struct solve_fn *f = &w->fn.v[x->fn.v[k]];
      if (f->gone) continue;
      size_t u = (size_t)position[f->scope[0]], v = (size_t)position[f->scope[1]];
      p->adj[u * (size_t)p->n + v] = p->adj[v * (size_t)p->n + u] = 1;
    }
  }
}

static enum fvm_status eliminate_all(struct solve_work *w, const struct plan *p,
                                     struct fvm_error *err) {
  for (int k = p->n - 1; k >= 0; k--) {
    enum fvm_status st = solve_eliminate(w, p->order[k], err);
    if (st) return st;
  }
  return FVM_OK;
}

/* Variables that the reductions left and that hang together with v, in member[]. */
static int gather(const struct solve_work *w, int v, bool *seen, int *member) {
  int n = 0;
  seen[v] = true;
  member[n++] = v;
  for (int head = 0; head < n; head++) {
    const struct solve_wvar *x = &w->var.v[member[head]];
    for (size_t k = 0; k < x->fn.n; k++) {
      const struct solve_fn *f = &w->fn.v[x->fn.v[k]];
      int u = f->scope[solve_other(f, member[head])];
      if (f->gone || seen[u]) continue;
      seen[u] = true;
      member[n++] = u;
    }
  }
  return n;
}

static enum fvm_status solve_member(struct solve_work *w, const int *member, int n, int *position,
                                    const struct solve_limits *limits, struct solve_result *r,
                                    struct fvm_error *err) {
  struct plan p = {.n = n, .member = member};
  p.entries = ARENA_NEW(w->a, int64_t, n);
  p.adj = arena_alloc(w->a, (size_t)n, (size_t)n);
  p.out = ARENA_NEW(w->a, bool, n);
  p.order = ARENA_NEW(w->a, int, n);
  if (!p.entries || !p.adj || !p.out || !p.order) return fvm_nomem(err);
  link_members(w, &p, position);
  if (plan_order(w, &p) <= limits->entries) return eliminate_all(w, &p, err);
  struct solve_part part = {.order = p.order, .n = n};
  enum fvm_status st = solve_search(w, &part, limits, r->label, err);
  r->optimal &= part.optimal;
  if (st) return st;
  r->cost += part.cost;
  r->bound += part.bound;
  for (int i = 0; i < n; i++) w->var.v[member[i]].gone = true;
  return FVM_OK;
}

static enum fvm_status solve_parts(struct solve_work *w, const struct solve_limits *limits,
                                   struct solve_result *r, struct fvm_error *err) {
  bool *seen = ARENA_NEW(w->a, bool, w->var.n);
  int *member = ARENA_NEW(w->a, int, w->var.n), *position = ARENA_NEW(w->a, int, w->var.n);
  if (!seen || !member || !position) return fvm_nomem(err);
  for (int v = 0; v < (int)w->var.n; v++) {
    if (w->var.v[v].gone) continue;
    int n = gather(w, v, seen, member);
    enum fvm_status st = solve_member(w, member, n, position, limits, r, err);
    if (st) return st;
  }
  return FVM_OK;
}

enum fvm_status solve_limited(const struct solve_net *net, const struct solve_limits *limits,
                              struct arena *a, struct solve_result *r, struct fvm_error *err) {
  struct arena scratch = {0};
  struct solve_work w = {.a = &scratch};
  *r = (struct solve_result){.optimal = true};
  r->label = ARENA_NEW(a, int, net->var.n);
  enum fvm_status st = r->label ? solve_work_load(&w, net, err) : fvm_nomem(err);
  if (!st) st = solve_reduce(&w, err);
  if (!st) st = solve_parts(&w, limits, r, err);
  if (!st) {
    solve_back(&w, r->label);
    r->cost += w.c0;
    r->bound += w.c0;
    r->ticks = w.ticks;
  }
  solve_work_free(&w);
  arena_free(&scratch);
  return st;
}

enum fvm_status solve_layout(const struct solve_net *net, int64_t max_ticks, struct arena *a,
                             struct solve_result *r, struct fvm_error *err) {
  struct solve_limits limits = {SOLVE_ENTRIES, max_ticks, NULL, NULL};
  return solve_limited(net, &limits, a, r, err);
}
