/* The layout solver: reductions, then for each connected part bucket elimination where its tables
 * are small enough, else search. Contract: solve.h. */
#include "solve_work.h"

#include <string.h>

struct layout {
  struct solve_work *w;
  const struct solve_limits *limits;
  struct solve_result *r;
  bool *certified; /* by variable: the bound of its part is */
};

static enum fvm_status eliminate_all(struct solve_work *w, const int *order, int n,
                                     struct fvm_error *err) {
  for (int k = 0; k < n; k++) w->rank[order[k]] = k;
  for (int k = n - 1; k >= 0; k--) {
    enum fvm_status st = solve_eliminate(w, order[k], err);
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

/* A part that is one block, by search. */
static enum fvm_status search_part(struct layout *l, const int *order, int n,
                                   struct fvm_error *err) {
  struct solve_part part = {.order = order, .n = n};
  enum fvm_status st = solve_search(l->w, &part, l->limits, l->r->label, err);
  l->r->optimal &= part.optimal;
  if (st) return st;
  l->r->cost += part.cost;
  l->r->bound += part.bound;
  for (int i = 0; i < n; i++) l->w->var.v[order[i]].gone = true;
  return FVM_OK;
}

/* Where elimination does not do: first of all a bound that can be proved, for the whole part; then
 * block by block. */
static enum fvm_status decompose(struct layout *l, const int *order, int n, struct fvm_error *err) {
  struct solve_work *w = l->w;
  bool found = false;
  int64_t bound;
  enum fvm_status st = FVM_OK;
  if (!l->certified[order[0]]) {
    st = solve_certify(w, order, n, l->limits, &bound, err);
    if (st) return st;
    l->r->certified += bound;
    for (int i = 0; i < n; i++) l->certified[order[i]] = true;
  }
  w->quiet = true;
  st = solve_leaf_block(w, order[0], n, l->limits, &found, err);
  if (st) return st;
  return found ? solve_reduce_queue(w, err) : search_part(l, order, n, err);
}

/* All of a part, or a block of it. */
static enum fvm_status solve_member(struct layout *l, const int *member, int n,
                                    struct fvm_error *err) {
  struct solve_work *w = l->w;
  int64_t entries, before = w->c0;
  int *order = ARENA_NEW(w->a, int, n);
  if (!order) return fvm_nomem(err);
  enum fvm_status st = solve_plan(w, member, n, l->limits->entries, order, &entries, err);
  if (st) return st;
  w->quiet = l->certified[member[0]];
  st =
      entries <= l->limits->entries ? eliminate_all(w, order, n, err) : decompose(l, order, n, err);
  if (w->quiet) l->r->certified -= w->c0 - before; /* what is in c0 is added in the end */
  w->quiet = false;
  return st;
}

static enum fvm_status solve_parts(struct layout *l, struct fvm_error *err) {
  struct solve_work *w = l->w;
  bool *seen = ARENA_NEW(w->a, bool, w->var.n);
  int *member = ARENA_NEW(w->a, int, w->var.n);
  w->rank = ARENA_NEW(w->a, int, w->var.n);
  l->certified = ARENA_NEW(w->a, bool, w->var.n);
  if (!seen || !member || !w->rank || !l->certified) return fvm_nomem(err);
  for (int v = 0; v < (int)w->var.n; v++)
    while (!w->var.v[v].gone) {
      int n = gather(w, v, seen, member);
      for (int i = 0; i < n; i++) seen[member[i]] = false;
      enum fvm_status st = solve_member(l, member, n, err);
      if (st) return st;
    }
  return FVM_OK;
}

static bool keep_steps(const struct solve_work *w, struct arena *a, struct solve_result *r) {
  size_t n = w->step.n, m = w->shift.n;
  struct solve_step *step = ARENA_NEW(a, struct solve_step, n + m);
  if (!step) return false;
  if (n) memcpy(step, w->step.v, n * sizeof *step);
  if (m) memcpy(step + n, w->shift.v, m * sizeof *step);
  r->step = step, r->nstep = n + m;
  return true;
}

enum fvm_status solve_limited(const struct solve_net *net, const struct solve_limits *limits,
                              struct arena *a, struct solve_result *r, struct fvm_error *err) {
  struct arena scratch = {0};
  struct solve_work w = {.a = &scratch};
  *r = (struct solve_result){.optimal = true};
  r->label = ARENA_NEW(a, int, net->var.n);
  enum fvm_status st = r->label ? solve_work_load(&w, net, err) : fvm_nomem(err);
  if (!st) st = solve_reduce(&w, err);
  struct layout l = {&w, limits, r, NULL};
  if (!st) st = solve_parts(&l, err);
  if (!st) {
    solve_back(&w, r->label);
    r->cost += w.c0;
    r->bound += w.c0 - w.slack;
    r->certified += w.c0;
    r->ticks = w.ticks;
    r->bound = MAX(r->bound, r->certified);
    r->optimal = r->bound == r->cost;
    st = keep_steps(&w, a, r) ? FVM_OK : fvm_nomem(err);
  }
  if (st == FVM_EFAIL && w.slack > 0) r->optimal = false;
  solve_work_free(&w);
  arena_free(&scratch);
  return st;
}

enum fvm_status solve_layout(const struct solve_net *net, int64_t max_ticks, struct arena *a,
                             struct solve_result *r, struct fvm_error *err) {
  struct solve_limits limits = {SOLVE_ENTRIES, max_ticks, NULL, NULL};
  return solve_limited(net, &limits, a, r, err);
}
