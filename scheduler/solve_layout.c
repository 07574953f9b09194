/* The layout solver: reductions, then for each connected part bucket elimination where its tables
 * are small enough, else search. Contract: solve.h. */
#include "solve_work.h"

#include <string.h>

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

static enum fvm_status solve_member(struct solve_work *w, const int *member, int n,
                                    const struct solve_limits *limits, struct solve_result *r,
                                    struct fvm_error *err) {
  int64_t entries;
  int *order = ARENA_NEW(w->a, int, n);
  if (!order) return fvm_nomem(err);
  enum fvm_status st = solve_plan(w, member, n, limits->entries, order, &entries, err);
  if (st) return st;
  if (entries <= limits->entries) return eliminate_all(w, order, n, err);
  struct solve_part part = {.order = order, .n = n};
  st = solve_search(w, &part, limits, r->label, err);
  r->optimal &= part.optimal;
  if (st) return st;
  r->cost += part.cost;
  r->bound += part.bound;
  r->certified += part.certified;
  for (int i = 0; i < n; i++) w->var.v[member[i]].gone = true;
  return FVM_OK;
}

static enum fvm_status solve_parts(struct solve_work *w, const struct solve_limits *limits,
                                   struct solve_result *r, struct fvm_error *err) {
  bool *seen = ARENA_NEW(w->a, bool, w->var.n);
  int *member = ARENA_NEW(w->a, int, w->var.n);
  w->rank = ARENA_NEW(w->a, int, w->var.n);
  if (!seen || !member || !w->rank) return fvm_nomem(err);
  for (int v = 0; v < (int)w->var.n; v++) {
    if (w->var.v[v].gone) continue;
    int n = gather(w, v, seen, member);
    enum fvm_status st = solve_member(w, member, n, limits, r, err);
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
  if (!st) st = solve_parts(&w, limits, r, err);
  if (!st) {
    solve_back(&w, r->label);
    r->cost += w.c0;
    r->bound += w.c0;
    r->certified += w.c0;
    r->ticks = w.ticks;
    st = keep_steps(&w, a, r) ? FVM_OK : fvm_nomem(err);
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
