/* Parts that hang on one variable: the block of a part behind an articulation variable x is solved
 * for each label of x, and what it costs is x's own from then on. So a search never has to go
 * through the assignments of several blocks together.
 *
 *        +--------+       +--------+
 *        | rest   |-- x --| block  |     c(x = a) += least cost of the block with a
 *        +--------+       +--------+                                                          */
#include "solve_work.h"

#include <string.h>

/* A walk in depth through the part, until the first block is complete: the one that hangs on a
 * single variable, since blocks are completed from the leaves on. */
struct walk {
  const struct solve_work *w;
  int *seen, *low; /* when a variable was met, and the earliest that those below it lead to */
  int *above;
  size_t *next; /* function to look at */
  int *stack, n;
  int count;
};

static bool open_walk(struct walk *k, struct solve_work *w, int n) {
  *k = (struct walk){.w = w};
  k->seen = ARENA_NEW(w->a, int, w->var.n);
  k->low = ARENA_NEW(w->a, int, w->var.n);
  k->above = ARENA_NEW(w->a, int, w->var.n);
  k->next = ARENA_NEW(w->a, size_t, w->var.n);
  k->stack = ARENA_NEW(w->a, int, n);
  return k->seen && k->low && k->above && k->next && k->stack;
}

static void meet(struct walk *k, int v, int above) {
  k->seen[v] = k->low[v] = ++k->count;
  k->above[v] = above;
  k->stack[k->n++] = v;
}

/* From v to the next variable: a new one below it, or back up. *block: the variable below v whose
 * block is complete, or -1. */
static int walk_on(struct walk *k, int v, int *block) {
  const struct solve_wvar *x = &k->w->var.v[v];
  while (k->next[v] < x->fn.n) {
    const struct solve_fn *f = &k->w->fn.v[x->fn.v[k->next[v]++]];
    if (f->gone) continue;
    int u = f->scope[solve_other(f, v)];
    if (!k->seen[u]) {
      meet(k, u, v);
      return u;
    }
    if (u != k->above[v]) k->low[v] = MIN(k->low[v], k->seen[u]);
  }
  int up = k->above[v];
  if (up >= 0) k->low[up] = MIN(k->low[up], k->low[v]);
  if (up >= 0 && k->low[v] >= k->seen[up]) *block = v;
  return up;
}

/* Variables of a block but for the one that it hangs on, *x; in member[], which is a permutation of
 * what it was. Returns how many, 0: the part is one block. -1: memory. */
static int find_leaf(struct solve_work *w, int start, int n, int *leaf, int *x) {
  struct walk k;
  int block = -1;
  if (!open_walk(&k, w, n)) return -1;
  meet(&k, start, -1);
  for (int v = start; v >= 0 && block < 0;) v = walk_on(&k, v, &block);
  if (block < 0) return 0;
  int first = 0;
  while (k.stack[first] != block) first++;
  *x = k.above[block];
  for (int i = first; i < k.n; i++) leaf[i - first] = k.stack[i];
  return k.n - first == n - 1 ? 0 : k.n - first;
}

/* ---- its costs ---- */

struct leaf {
  struct solve_work *w;
  const int *var;
  int n, x;
  int *number; /* of each variable in the block's own network; -1: not in it */
  int *label;  /* by label of x, for each variable: original numbers */
};

static int64_t fn_cost(const struct solve_fn *f, int v, int a, int b) {
  return f->scope[0] == v ? f->cost[(int64_t)a * f->size[1] + b]
                          : f->cost[(int64_t)b * f->size[1] + a];
}

/* A function of v, as far as it belongs to the block with label a of x. */
static bool add_function(const struct leaf *l, struct solve_net *net, int i, int a,
                         const struct solve_fn *f) {
  int v = l->var[i], u = f->scope[solve_other(f, v)];
  int n = l->w->var.v[v].n, m = l->w->var.v[u].n;
  int64_t *own = net->var.v[i].cost;
  if (u == l->x) {
    for (int b = 0; b < n; b++) own[b] = solve_add(own[b], fn_cost(f, v, b, a));
    return true;
  }
  if (l->number[u] > i) return true; /* it is u's to add */
  int e = solve_add_edge(net, i, l->number[u]);
  for (int b = 0; b < n && e >= 0; b++)
    for (int c = 0; c < m; c++) net->edge.v[e].cost[(int64_t)b * m + c] = fn_cost(f, v, b, c);
  return e >= 0;
}

static bool make_net(const struct leaf *l, struct solve_net *net, int a) {
  for (int i = 0; i < l->n; i++) {
    const struct solve_wvar *v = &l->w->var.v[l->var[i]];
    if (solve_add_var(net, v->n) < 0) return false;
    memcpy(net->var.v[i].cost, v->cost, (size_t)v->n * sizeof *v->cost);
  }
  for (int i = 0; i < l->n; i++) {
    const struct solve_wvar *v = &l->w->var.v[l->var[i]];
    for (size_t k = 0; k < v->fn.n; k++)
      if (!l->w->fn.v[v->fn.v[k]].gone && !add_function(l, net, i, a, &l->w->fn.v[v->fn.v[k]]))
        return false;
  }
  return true;
}

/* The block with label a of x. *cost SOLVE_INF: they don't go together, or nothing was found;
 * *bound tells them apart. */
static enum fvm_status solve_with(const struct leaf *l, int a, const struct solve_limits *limits,
                                  int64_t *cost, int64_t *bound, struct fvm_error *err) {
  struct solve_net net = {0};
  struct arena arena = {0};
  struct solve_result r = {0};
  enum fvm_status st = make_net(l, &net, a) ? FVM_OK : fvm_nomem(err);
  struct solve_limits left = *limits;
  left.ticks = MAX(limits->ticks - l->w->searched, 0);
  if (!st) st = solve_limited(&net, &left, &arena, &r, err);
  *cost = *bound = SOLVE_INF;
  if (st == FVM_OK) *cost = r.cost, *bound = r.bound;
  if (st == FVM_EFAIL && !r.optimal) *bound = 0;
  for (int i = 0; st == FVM_OK && i < l->n; i++)
    l->label[a * l->n + i] = l->w->var.v[l->var[i]].orig[r.label[i]];
  l->w->ticks += r.ticks;
  l->w->searched += r.ticks;
  arena_free(&arena);
  solve_net_free(&net);
  return st == FVM_EFAIL ? FVM_OK : st;
}

static bool take_away(const struct leaf *l) {
  struct solve_work *w = l->w;
  for (int i = 0; i < l->n; i++) {
    struct solve_wvar *v = &w->var.v[l->var[i]];
    for (size_t k = 0; k < v->fn.n; k++) w->fn.v[v->fn.v[k]].gone = true;
    v->gone = true;
  }
  solve_tidy(w, l->x);
  struct solve_leaf keep = {l->x, l->n, w->var.v[l->x].n, l->var, w->var.v[l->x].orig, l->label};
  return VEC_PUSH(&w->leaf, keep) && VEC_PUSH(&w->done, -(int)w->leaf.n) && solve_enqueue(w, l->x);
}

enum fvm_status solve_leaf_block(struct solve_work *w, int start, int n,
                                 const struct solve_limits *limits, bool *found,
                                 struct fvm_error *err) {
  int *var = ARENA_NEW(w->a, int, n);
  struct leaf l = {.w = w, .var = var};
  *found = false;
  if (solve_spent(w, limits, 0)) return FVM_OK; /* the rest as one */
  l.number = ARENA_NEW(w->a, int, w->var.n);
  if (!var || !l.number) return fvm_nomem(err);
  l.n = find_leaf(w, start, n, var, &l.x);
  *found = l.n > 0;
  if (l.n <= 0) return l.n < 0 ? fvm_nomem(err) : FVM_OK;
  for (int i = 0; i < l.n; i++) l.number[var[i]] = i;
  struct solve_wvar *x = &w->var.v[l.x];
  l.label = arena_alloc(w->a, (size_t)l.n, (size_t)x->n * sizeof *l.label);
  if (!l.label) return fvm_nomem(err);
  int64_t slack = 0;
  for (int a = 0; a < x->n; a++) {
    int64_t cost, bound;
    enum fvm_status st = solve_with(&l, a, limits, &cost, &bound, err);
    if (st) return st;
    x->cost[a] = solve_add(x->cost[a], cost);
    slack = MAX(slack, cost - bound);
  }
  w->slack = solve_add(w->slack, slack);
  return take_away(&l) ? FVM_OK : fvm_nomem(err);
}
