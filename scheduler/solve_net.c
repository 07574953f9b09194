/* Cost function networks as callers build them. Contract: solve.h. */
#include "solve_work.h"

#include <string.h>

int solve_add_var(struct solve_net *net, int n) {
  int64_t *cost = ARENA_NEW(&net->arena, int64_t, n);
  if (!cost || !VEC_PUSH(&net->var, ((struct solve_var){n, cost}))) return -1;
  return (int)net->var.n - 1;
}

int solve_add_edge(struct solve_net *net, int u, int v) {
  CHECK(u != v);
  int64_t *cost =
      arena_alloc(&net->arena, (size_t)net->var.v[u].n, (size_t)net->var.v[v].n * sizeof *cost);
  if (!cost || !VEC_PUSH(&net->edge, ((struct solve_edge){u, v, cost}))) return -1;
  return (int)net->edge.n - 1;
}

void solve_net_free(struct solve_net *net) {
  VEC_FREE(&net->var);
  VEC_FREE(&net->edge);
  arena_free(&net->arena);
}

int64_t solve_cost(const struct solve_net *net, const int *label) {
  int64_t sum = 0;
  bool forbidden = false;
  for (size_t i = 0; i < net->var.n; i++) {
    int64_t c = net->var.v[i].cost[label[i]];
    if (c >= SOLVE_INF || !fvm_add(sum, c, &sum)) forbidden = true;
  }
  for (size_t i = 0; i < net->edge.n; i++) {
    const struct solve_edge *e = &net->edge.v[i];
    int64_t c = e->cost[(int64_t)label[e->u] * net->var.v[e->v].n + label[e->v]];
    if (c >= SOLVE_INF || !fvm_add(sum, c, &sum)) forbidden = true;
  }
  return forbidden || sum >= SOLVE_INF ? SOLVE_INF : sum;
}

bool solve_ends_find(struct solve_ends *e, const struct solve_net *net, struct arena *a) {
  e->at = ARENA_NEW(a, int, net->var.n + 2);
  e->edge = ARENA_NEW(a, int, 2 * net->edge.n);
  if (!e->at || !e->edge) return false;
  int *at = e->at + 1; /* shifted by one while it is filled in */
  for (size_t i = 0; i < net->edge.n; i++) at[net->edge.v[i].u + 1]++, at[net->edge.v[i].v + 1]++;
  for (size_t v = 1; v <= net->var.n; v++) at[v] += at[v - 1];
  for (size_t i = 0; i < net->edge.n; i++) {
    e->edge[at[net->edge.v[i].u]++] = (int)i;
    e->edge[at[net->edge.v[i].v]++] = (int)i;
  }
  return true;
}

/* ---- the working copy ---- */

/* Shift a table so that its least entry is 0; false when no entry is finite. */
static bool shift(int64_t *cost, size_t n, int64_t *c0) {
  int64_t least = SOLVE_INF;
  for (size_t i = 0; i < n; i++) least = MIN(least, cost[i]);
  if (least >= SOLVE_INF) return false;
  for (size_t i = 0; i < n; i++) cost[i] = cost[i] >= SOLVE_INF ? SOLVE_INF : cost[i] - least;
  *c0 += least;
  return true;
}

static bool load_var(struct solve_work *w, const struct solve_var *from) {
  struct solve_wvar v = {.n = from->n, .all = from->n};
  int *orig = ARENA_NEW(w->a, int, v.n);
  v.cost = ARENA_NEW(w->a, int64_t, v.n);
  v.orig = orig;
  if (!orig || !v.cost) return false;
  for (int i = 0; i < v.n; i++) orig[i] = i;
  if (v.n) memcpy(v.cost, from->cost, (size_t)v.n * sizeof *v.cost);
  return VEC_PUSH(&w->var, v);
}

bool solve_fn_moves(struct solve_work *w, struct solve_fn *f) {
  for (int i = 0; i < 2; i++) {
    f->moved[i] = ARENA_NEW(w->a, int64_t, w->var.v[f->scope[i]].all);
    if (!f->moved[i]) return false;
  }
  return true;
}

/* Make the pairwise function of u and v, or add to the one there is. */
static bool load_edge(struct solve_work *w, const struct solve_edge *e, int64_t *table) {
  struct solve_wvar *u = &w->var.v[e->u], *v = &w->var.v[e->v];
  for (size_t i = 0; i < u->fn.n; i++) {
    struct solve_fn *f = &w->fn.v[u->fn.v[i]];
    if (f->scope[solve_other(f, e->u)] != e->v) continue;
    bool flip = f->scope[0] == e->v;
    for (int a = 0; a < u->n; a++)
      for (int b = 0; b < v->n; b++) {
        int64_t *c = &f->cost[flip ? (int64_t)b * u->n + a : (int64_t)a * v->n + b];
        *c = solve_add(*c, table[(int64_t)a * v->n + b]);
      }
    return true;
  }
  struct solve_fn f = {.n = 2, .cost = table};
  f.scope = ARENA_NEW(w->a, int, 2);
  f.size = ARENA_NEW(w->a, int, 2);
  if (!f.scope || !f.size) return false;
  f.scope[0] = e->u, f.scope[1] = e->v;
  if (!solve_fn_moves(w, &f)) return false;
  f.size[0] = u->n, f.size[1] = v->n;
  int id = (int)w->fn.n;
  return VEC_PUSH(&w->fn, f) && VEC_PUSH(&u->fn, id) && VEC_PUSH(&v->fn, id);
}

enum fvm_status solve_work_load(struct solve_work *w, const struct solve_net *net,
                                struct fvm_error *err) {
  for (size_t i = 0; i < net->var.n; i++) {
    if (!load_var(w, &net->var.v[i])) return fvm_nomem(err);
    struct solve_wvar *v = &w->var.v[i];
    if (!shift(v->cost, (size_t)v->n, &w->c0))
      return fvm_fail(err, FVM_EFAIL, "variable %zu has no label that is allowed", i);
  }
  for (size_t i = 0; i < net->edge.n; i++) {
    const struct solve_edge *e = &net->edge.v[i];
    size_t n = (size_t)w->var.v[e->u].n * (size_t)w->var.v[e->v].n;
    int64_t *table = ARENA_NEW(w->a, int64_t, n);
    if (!table) return fvm_nomem(err);
    memcpy(table, e->cost, n * sizeof *table);
    if (!shift(table, n, &w->c0))
      return fvm_fail(err, FVM_EFAIL, "no labels of variables %d and %d go together", e->u, e->v);
    if (!load_edge(w, e, table)) return fvm_nomem(err);
  }
  return FVM_OK;
}

void solve_work_free(struct solve_work *w) {
  for (size_t i = 0; i < w->var.n; i++) VEC_FREE(&w->var.v[i].fn);
  for (size_t i = 0; i < w->fn.n; i++) solve_fn_end(&w->fn.v[i]);
  VEC_FREE(&w->var);
  VEC_FREE(&w->fn);
  VEC_FREE(&w->done);
  VEC_FREE(&w->queue);
  VEC_FREE(&w->turned);
  VEC_FREE(&w->leaf);
  VEC_FREE(&w->step);
  VEC_FREE(&w->shift);
}
