/* The checker of solve_layout's results. It knows nothing of how the solver works: it has its own
 * copy of the network and does to it what the steps say, each only after it has seen that the step
 * keeps the least cost. What is left then has its least costs added up, which no assignment can go
 * below.
 *
 * Contract: solve.h. */
#include "solve.h"

#include <string.h>

/* A function; its table has the labels that were left when it was made, row-major. */
struct fn {
  int n;
  int *scope;
  int *count;  /* of each variable: labels in the table */
  int **place; /* of each variable: where a label is in the table, -1: it is not */
  int64_t *cost;
  bool gone;
};
struct var {
  int n;
  bool gone, *dropped;
  int64_t *cost;
  VEC(int) fn;
};
struct checker {
  struct arena a;
  VEC(struct var) var;
  VEC(struct fn) fn;
  int64_t constant;
};

static int64_t sum(int64_t a, int64_t b) {
  return a >= SOLVE_INF || b >= SOLVE_INF ? SOLVE_INF : MIN(a + b, SOLVE_INF);
}

static int index_of(const struct fn *f, int v) {
  for (int i = 0; i < f->n; i++)
    if (f->scope[i] == v) return i;
  return -1;
}

static int64_t step_of(const struct fn *f, int i) {
  int64_t step = 1;
  for (int j = f->n - 1; j > i; j--) step *= f->count[j];
  return step;
}

/* Least cost (or, with b, least difference to b's) that a function has for label a of its variable
 * i, over the labels that are left of the others. A label that is forbidden where a is not makes
 * the difference -SOLVE_INF. */
static int64_t least(const struct checker *c, const struct fn *f, int i, int a, int b, int j,
                     int64_t at) {
  if (j == f->n) {
    int64_t step = step_of(f, i), x = f->cost[at + f->place[i][a] * step];
    if (b < 0 || x >= SOLVE_INF) return x;
    int64_t y = f->cost[at + f->place[i][b] * step];
    return y >= SOLVE_INF ? -SOLVE_INF : x - y;
  }
  if (j == i) return least(c, f, i, a, b, j + 1, at);
  const struct var *x = &c->var.v[f->scope[j]];
  int64_t result = SOLVE_INF, step = step_of(f, j);
  for (int k = 0; k < x->n; k++)
    if (!x->dropped[k])
      result = MIN(result, least(c, f, i, a, b, j + 1, at + f->place[j][k] * step));
  return result;
}

/* ---- the network ---- */

/* An empty function over a scope, with the labels that are left. */
static struct fn *add_fn(struct checker *c, const int *scope, int n) {
  struct fn f = {.n = n};
  int64_t entries = 1;
  f.scope = ARENA_NEW(&c->a, int, n);
  f.count = ARENA_NEW(&c->a, int, n);
  f.place = ARENA_NEW(&c->a, int *, n);
  if (!f.scope || !f.count || !f.place) return NULL;
  for (int i = 0; i < n; i++) {
    struct var *x = &c->var.v[scope[i]];
    f.scope[i] = scope[i];
    f.place[i] = ARENA_NEW(&c->a, int, x->n);
    if (!f.place[i] || !VEC_PUSH(&x->fn, (int)c->fn.n)) return NULL;
    for (int k = 0; k < x->n; k++) f.place[i][k] = x->dropped[k] ? -1 : f.count[i]++;
    if (!fvm_mul(entries, f.count[i], &entries)) return NULL;
  }
  f.cost = ARENA_NEW(&c->a, int64_t, entries);
  return f.cost && VEC_PUSH(&c->fn, f) ? &c->fn.v[c->fn.n - 1] : NULL;
}

static struct fn *find_pair(struct checker *c, int u, int v) {
  for (size_t i = 0; i < c->var.v[u].fn.n; i++) {
    struct fn *f = &c->fn.v[c->var.v[u].fn.v[i]];
    if (!f->gone && f->n == 2 && index_of(f, v) >= 0) return f;
  }
  return NULL;
}

static int64_t *pair_cost(const struct fn *f, int u, int a, int b) {
  int i = index_of(f, u);
  return &f->cost[f->place[i][a] * step_of(f, i) + f->place[1 - i][b] * step_of(f, 1 - i)];
}

static bool add_var(struct checker *c, const struct solve_var *from) {
  struct var x = {.n = from->n};
  x.cost = ARENA_NEW(&c->a, int64_t, x.n);
  x.dropped = ARENA_NEW(&c->a, bool, x.n);
  if (!x.cost || !x.dropped) return false;
  if (x.n) memcpy(x.cost, from->cost, (size_t)x.n * sizeof *x.cost);
  return VEC_PUSH(&c->var, x);
}

/* Functions of the same two variables are one. */
static bool add_edge(struct checker *c, const struct solve_edge *e) {
  CHECK(c->var.v != NULL); /* edges are between variables */
  struct fn *f = find_pair(c, e->u, e->v);
  if (!f) f = add_fn(c, (int[]){e->u, e->v}, 2);
  if (!f) return false;
  int n = c->var.v[e->u].n, m = c->var.v[e->v].n;
  for (int i = 0; i < n; i++)
    for (int j = 0; j < m; j++) {
      int64_t *x = pair_cost(f, e->u, i, j);
      *x = sum(*x, e->cost[(int64_t)i * m + j]);
    }
  return true;
}

/* ---- steps ---- */

/* Without label a no assignment gets dearer than it was with b in a's place, or a was forbidden. */
static bool may_drop(const struct checker *c, int v, int a, int b) {
  const struct var *x = &c->var.v[v];
  __int128 gain = 0;
  bool forbidden = x->cost[a] >= SOLVE_INF;
  if (b >= 0 && (x->dropped[b] || x->cost[b] >= SOLVE_INF)) return forbidden;
  if (b >= 0) gain = x->cost[a] - x->cost[b];
  bool holds = b >= 0;
  for (size_t k = 0; k < x->fn.n && !forbidden; k++) {
    const struct fn *f = &c->fn.v[x->fn.v[k]];
    if (f->gone) continue;
    int64_t d = least(c, f, index_of(f, v), a, b, 0, 0);
    forbidden = d >= SOLVE_INF;
    holds = holds && d > -SOLVE_INF;
    gain += d;
  }
  return forbidden || (holds && gain >= 0);
}

/* Costs that are finite have to stay far from SOLVE_INF. */
static bool add_finite(int64_t *x, int64_t more) {
  if (*x >= SOLVE_INF) return true;
  *x += more;
  return *x > -SOLVE_INF / 2 && *x < SOLVE_INF / 2;
}

static bool shift(struct checker *c, struct fn *f, int v, int a, int64_t cost) {
  int u = f->scope[1 - index_of(f, v)];
  bool ok = add_finite(&c->var.v[v].cost[a], cost);
  for (int b = 0; b < c->var.v[u].n; b++)
    if (!c->var.v[u].dropped[b]) ok = add_finite(pair_cost(f, v, a, b), -cost) && ok;
  return ok;
}

/* Move what the function charges for one variable alone to that variable. */
static bool project(struct checker *c, struct fn *f, int v) {
  for (int a = 0; a < c->var.v[v].n; a++) {
    if (c->var.v[v].dropped[a]) continue;
    int64_t x = least(c, f, index_of(f, v), a, -1, 0, 0);
    if (x < SOLVE_INF && !shift(c, f, v, a, x)) return false;
  }
  return true;
}

static bool separate(struct checker *c, int v, int u) {
  struct fn *f = find_pair(c, v, u);
  if (!f || !project(c, f, v) || !project(c, f, u)) return false;
  for (int a = 0; a < c->var.v[v].n; a++)
    for (int b = 0; b < c->var.v[u].n; b++)
      if (!c->var.v[v].dropped[a] && !c->var.v[u].dropped[b] && *pair_cost(f, v, a, b) != 0)
        return false;
  f->gone = true;
  return true;
}

/* The functions of a variable over all labels left of its neighbours, counted like an odometer. */
struct odometer {
  int v, n, k, *scope, **label, *count, *digit;
  struct fn **f;
  int nf;
  int64_t *at, *mine; /* of each function: its entry, how far v's next label is */
  int64_t *move;      /* and by neighbour: how far that one's next label is, */
  const int **place;  /* and the places of its labels; v's come last */
};

static int position(const int *list, int n, int x) {
  int i = 0;
  while (i < n && list[i] != x) i++;
  return i;
}

static bool list_scope(struct checker *c, struct odometer *o) {
  const struct var *x = &c->var.v[o->v];
  int room = 0;
  for (size_t i = 0; i < x->fn.n; i++) room += c->fn.v[x->fn.v[i]].n;
  o->f = ARENA_NEW(&c->a, struct fn *, x->fn.n);
  o->scope = ARENA_NEW(&c->a, int, room);
  if (!o->f || !o->scope) return false;
  for (size_t i = 0; i < x->fn.n; i++) {
    struct fn *f = &c->fn.v[x->fn.v[i]];
    if (f->gone) continue;
    o->f[o->nf++] = f;
    for (int j = 0; j < f->n; j++)
      if (f->scope[j] != o->v && position(o->scope, o->k, f->scope[j]) == o->k)
        o->scope[o->k++] = f->scope[j];
  }
  return true;
}

static bool list_labels(struct checker *c, struct odometer *o) {
  o->label = ARENA_NEW(&c->a, int *, o->k);
  o->count = ARENA_NEW(&c->a, int, o->k);
  o->digit = ARENA_NEW(&c->a, int, o->k);
  o->at = ARENA_NEW(&c->a, int64_t, o->nf);
  o->mine = ARENA_NEW(&c->a, int64_t, o->nf);
  o->move = arena_alloc(&c->a, (size_t)o->k + 1, (size_t)MAX(o->nf, 1) * sizeof *o->move);
  o->place = arena_alloc(&c->a, (size_t)o->k + 1, (size_t)MAX(o->nf, 1) * sizeof *o->place);
  if (!o->label || !o->count || !o->digit || !o->at || !o->mine || !o->move || !o->place)
    return false;
  for (int j = 0; j < o->k; j++) {
    const struct var *x = &c->var.v[o->scope[j]];
    if (!(o->label[j] = ARENA_NEW(&c->a, int, x->n))) return false;
    for (int k = 0; k < x->n; k++)
      if (!x->dropped[k]) o->label[j][o->count[j]++] = k;
  }
  return true;
}

static void start(struct odometer *o) {
  for (int i = 0; i < o->nf; i++) {
    const struct fn *f = o->f[i];
    int me = index_of(f, o->v);
    o->mine[i] = step_of(f, me);
    o->place[o->k * o->nf + i] = f->place[me];
    for (int j = 0; j < o->k; j++) {
      int x = index_of(f, o->scope[j]);
      if (x < 0) continue;
      o->move[j * o->nf + i] = step_of(f, x);
      o->place[j * o->nf + i] = f->place[x];
      o->at[i] += f->place[x][o->label[j][0]] * step_of(f, x);
    }
  }
}

/* To the next labels; false after the last ones. */
static bool turn(struct odometer *o) {
  for (int j = o->k - 1; j >= 0; j--) {
    int was = o->label[j][o->digit[j]];
    bool wraps = ++o->digit[j] == o->count[j];
    if (wraps) o->digit[j] = 0;
    int is = o->label[j][o->digit[j]];
    for (int i = 0; i < o->nf; i++) {
      int64_t move = o->move[j * o->nf + i];
      const int *place = o->place[j * o->nf + i];
      if (move) o->at[i] += (place[is] - place[was]) * move;
    }
    if (!wraps) return true;
  }
  return false;
}

static int64_t least_added(const struct checker *c, const struct odometer *o) {
  const struct var *x = &c->var.v[o->v];
  int64_t result = SOLVE_INF;
  for (int a = 0; a < x->n; a++) {
    if (x->dropped[a]) continue;
    int64_t cost = x->cost[a];
    for (int i = 0; i < o->nf; i++)
      cost = sum(cost, o->f[i]->cost[o->at[i] + o->place[o->k * o->nf + i][a] * o->mine[i]]);
    result = MIN(result, cost);
  }
  return result;
}

/* Where the least that v adds goes: the constant, a variable, the function of a pair, a new one. */
static bool put_message(struct checker *c, struct odometer *o) {
  struct fn *f = o->k == 2 ? find_pair(c, o->scope[0], o->scope[1]) : NULL;
  struct fn *made = o->k > 1 && !f ? add_fn(c, o->scope, o->k) : NULL;
  if (o->k > 1 && !f && !made) return false;
  size_t e = 0;
  start(o);
  do {
    int64_t x = least_added(c, o), *to = &c->constant;
    if (o->k == 1) to = &c->var.v[o->scope[0]].cost[o->label[0][o->digit[0]]];
    if (f) to = pair_cost(f, o->scope[0], o->label[0][o->digit[0]], o->label[1][o->digit[1]]);
    if (made) to = &made->cost[e++];
    *to = sum(*to, x);
  } while (turn(o));
  return true;
}

/* A variable with one label leaves its costs to each neighbour by itself. */
static bool is_settled(const struct checker *c, const struct odometer *o) {
  int left = 0;
  for (int a = 0; a < c->var.v[o->v].n; a++) left += !c->var.v[o->v].dropped[a];
  for (int i = 0; i < o->nf; i++)
    if (o->f[i]->n != 2) return false;
  return left == 1;
}

static void settle(struct checker *c, const struct odometer *o) {
  const struct var *x = &c->var.v[o->v];
  int a = 0;
  while (x->dropped[a]) a++;
  c->constant = sum(c->constant, x->cost[a]);
  for (int i = 0; i < o->nf; i++) {
    int u = o->f[i]->scope[1 - index_of(o->f[i], o->v)];
    for (int b = 0; b < c->var.v[u].n; b++)
      if (!c->var.v[u].dropped[b])
        c->var.v[u].cost[b] = sum(c->var.v[u].cost[b], *pair_cost(o->f[i], o->v, a, b));
  }
}

static bool eliminate(struct checker *c, int v) {
  struct odometer o = {.v = v};
  /* Functions are looked at by pointer while one may be added. */
  if (!VEC_RESERVE(&c->fn, 1) || !list_scope(c, &o) || !list_labels(c, &o)) return false;
  if (is_settled(c, &o))
    settle(c, &o);
  else if (!put_message(c, &o))
    return false;
  for (int i = 0; i < o.nf; i++) o.f[i]->gone = true;
  c->var.v[v].gone = true;
  return true;
}

/* ---- the proof ---- */

static enum fvm_status wrong(size_t step, const char *what, struct fvm_error *err) {
  return fvm_fail(err, FVM_EFAIL, "the proof's step %zu does not hold: %s", step, what);
}

static enum fvm_status take_step(struct checker *c, const struct solve_step *s, size_t i,
                                 struct fvm_error *err) {
  int n = (int)c->var.n;
  bool second = s->move == SOLVE_SEPARATE || s->move == SOLVE_SHIFT;
  if (s->v < 0 || s->v >= n || c->var.v[s->v].gone || (second && (s->u < 0 || s->u >= n)))
    return wrong(i, "no such variable", err);
  struct var *x = &c->var.v[s->v];
  bool label = s->move == SOLVE_DROP || s->move == SOLVE_SHIFT;
  if (label && (s->a < 0 || s->a >= x->n || x->dropped[s->a] || s->b >= x->n || s->b == s->a))
    return wrong(i, "no such label", err);
  switch (s->move) {
  case SOLVE_DROP:
    if (!may_drop(c, s->v, s->a, s->b)) return wrong(i, "the label may be needed", err);
    x->dropped[s->a] = true;
    return FVM_OK;
  case SOLVE_SEPARATE:
    return separate(c, s->v, s->u) ? FVM_OK : wrong(i, "the function says something", err);
  case SOLVE_ELIMINATE:
    return eliminate(c, s->v) ? FVM_OK : fvm_nomem(err);
  case SOLVE_SHIFT: {
    struct fn *f = find_pair(c, s->v, s->u);
    if (!f) return wrong(i, "no such function", err);
    bool fits = s->cost > -SOLVE_INF / 2 && s->cost < SOLVE_INF / 2;
    return fits && shift(c, f, s->v, s->a, s->cost) ? FVM_OK : wrong(i, "it is too much", err);
  }
  }
  return wrong(i, "no such move", err);
}

/* Least costs of what is left, added up. */
static __int128 bound_left(const struct checker *c) {
  __int128 bound = c->constant;
  for (size_t v = 0; v < c->var.n; v++) {
    const struct var *x = &c->var.v[v];
    int64_t own = SOLVE_INF;
    for (int a = 0; a < x->n && !x->gone; a++)
      if (!x->dropped[a]) own = MIN(own, x->cost[a]);
    bound += x->gone ? 0 : own;
  }
  for (size_t i = 0; i < c->fn.n; i++) {
    const struct fn *f = &c->fn.v[i];
    if (f->gone) continue;
    const struct var *x = &c->var.v[f->scope[0]];
    int64_t all = SOLVE_INF;
    for (int a = 0; a < x->n; a++)
      if (!x->dropped[a]) all = MIN(all, least(c, f, 0, a, -1, 0, 0));
    bound += all;
  }
  return bound;
}

static enum fvm_status follow(struct checker *c, const struct solve_net *net,
                              const struct solve_result *r, struct fvm_error *err) {
  for (size_t i = 0; i < net->var.n; i++)
    if (!add_var(c, &net->var.v[i])) return fvm_nomem(err);
  for (size_t i = 0; i < net->edge.n; i++)
    if (!add_edge(c, &net->edge.v[i])) return fvm_nomem(err);
  for (size_t i = 0; i < r->nstep; i++) {
    if (i > 0 && r->step[i - 1].move == SOLVE_SHIFT && r->step[i].move != SOLVE_SHIFT)
      return wrong(i, "shifts come last", err);
    enum fvm_status st = take_step(c, &r->step[i], i, err);
    if (st != FVM_OK) return st;
  }
  __int128 bound = bound_left(c);
  if (bound >= r->certified) return FVM_OK;
  return fvm_fail(err, FVM_EFAIL, "the proof shows a bound of %lld, not of %lld", (long long)bound,
                  (long long)r->certified);
}

enum fvm_status solve_check(const struct solve_net *net, const struct solve_result *r,
                            struct fvm_error *err) {
  struct checker c = {0};
  for (size_t i = 0; i < net->var.n; i++)
    if (r->label[i] < 0 || r->label[i] >= net->var.v[i].n)
      return fvm_fail(err, FVM_EFAIL, "variable %zu has no label %d", i, r->label[i]);
  int64_t cost = solve_cost(net, r->label);
  if (cost != r->cost)
    return fvm_fail(err, FVM_EFAIL, "the labels cost %lld, not %lld", (long long)cost,
                    (long long)r->cost);
  enum fvm_status st = follow(&c, net, r, err);
  for (size_t i = 0; i < c.var.n; i++) VEC_FREE(&c.var.v[i].fn);
  VEC_FREE(&c.var);
  VEC_FREE(&c.fn);
  arena_free(&c.a);
  return st;
}
