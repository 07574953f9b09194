/* Exact reductions: forbidden and dominated labels, R0/R1/R2, and the elimination of a variable.
 *
 * Eliminating v replaces all functions that v is in by one over its neighbours: for each of their
 * assignments the least that v can add. With no neighbour (R0) that is a constant, with one (R1)
 * it goes into the neighbour's own costs, with two (R2) into a pairwise function; the planned
 * eliminations of solve_layout.c make larger tables. */
#include "solve_work.h"

#include <string.h>

static bool enqueue(struct solve_work *w, int v) {
  if (w->var.v[v].queued || w->var.v[v].gone) return true;
  w->var.v[v].queued = true;
  return VEC_PUSH(&w->queue, v);
}

static enum fvm_status infeasible(struct fvm_error *err) {
  return fvm_fail(err, FVM_EFAIL, "no choice of labels satisfies every constraint");
}

/* Forget the functions that are gone. */
static void tidy(struct solve_work *w, int v) {
  struct solve_wvar *x = &w->var.v[v];
  size_t n = 0;
  for (size_t i = 0; i < x->fn.n; i++)
    if (!w->fn.v[x->fn.v[i]].gone) x->fn.v[n++] = x->fn.v[i];
  x->fn.n = n;
}

/* Row-major steps of v and of the other variable in a pairwise table. */
static void steps(const struct solve_fn *f, int v, int64_t *mine, int64_t *other) {
  bool first = f->scope[0] == v;
  *mine = first ? f->size[1] : 1;
  *other = first ? 1 : f->size[1];
}

/* ---- labels ---- */

/* min over y of f(y, a) - f(y, b), leaving out the y that forbid a; SOLVE_INF when all do, and
 * -SOLVE_INF when some y allows a but forbids b. */
static int64_t advantage(const struct solve_fn *f, int v, int a, int b) {
  int64_t mine, other, least = SOLVE_INF;
  steps(f, v, &mine, &other);
  for (int y = 0; y < f->size[solve_other(f, v)]; y++) {
    int64_t ca = f->cost[a * mine + y * other], cb = f->cost[b * mine + y * other];
    if (ca >= SOLVE_INF) continue;
    if (cb >= SOLVE_INF) return -SOLVE_INF;
    least = MIN(least, ca - cb);
  }
  return least;
}

/* Label a can go when b is allowed wherever a is and never costs more (dead-end elimination). */
static bool dominated(struct solve_work *w, int v, int a, int b) {
  const struct solve_wvar *x = &w->var.v[v];
  __int128 gain = x->cost[a] - x->cost[b]; /* many terms near SOLVE_INF leave int64 */
  for (size_t i = 0; i < x->fn.n; i++) {
    const struct solve_fn *f = &w->fn.v[x->fn.v[i]];
    int64_t d = advantage(f, v, a, b);
    w->ticks += f->size[solve_other(f, v)];
    if (d == -SOLVE_INF) return false;
    if (d == SOLVE_INF) return true;
    gain += d;
  }
  return gain >= 0;
}

static bool supported(const struct solve_work *w, int v, int a) {
  const struct solve_wvar *x = &w->var.v[v];
  if (x->cost[a] >= SOLVE_INF) return false;
  for (size_t i = 0; i < x->fn.n; i++)
    if (advantage(&w->fn.v[x->fn.v[i]], v, a, a) == SOLVE_INF) return false;
  return true;
}

/* Give a pairwise function a table without the labels of v that are not kept. */
static bool shrink_fn(struct solve_work *w, struct solve_fn *f, int v, const bool *keep) {
  struct solve_wvar *x = &w->var.v[v];
  int me = f->scope[0] == v ? 0 : 1, rows = f->size[0], cols = f->size[1];
  int *size = ARENA_NEW(w->a, int, 2);
  const int **orig = ARENA_NEW(w->a, const int *, 2);
  int64_t *cost = arena_alloc(w->a, (size_t)x->n, (size_t)f->size[1 - me] * sizeof *cost);
  if (!size || !orig || !cost) return false;
  size_t n = 0;
  for (int i = 0; i < rows; i++)
    for (int j = 0; j < cols; j++)
      if (keep[me == 0 ? i : j]) cost[n++] = f->cost[(int64_t)i * cols + j];
  size[me] = x->n, size[1 - me] = f->size[1 - me];
  orig[me] = x->orig, orig[1 - me] = f->orig[1 - me];
  f->size = size, f->orig = orig, f->cost = cost;
  return true;
}

static bool shrink(struct solve_work *w, int v, const bool *keep, int kept) {
  struct solve_wvar *x = &w->var.v[v];
  int *orig = ARENA_NEW(w->a, int, kept);
  int64_t *cost = ARENA_NEW(w->a, int64_t, kept);
  if (!orig || !cost) return false;
  for (int i = 0, n = 0; i < x->n; i++)
    if (keep[i]) orig[n] = x->orig[i], cost[n++] = x->cost[i];
  x->n = kept, x->orig = orig, x->cost = cost;
  for (size_t i = 0; i < x->fn.n; i++) {
    struct solve_fn *f = &w->fn.v[x->fn.v[i]];
    if (!shrink_fn(w, f, v, keep) || !enqueue(w, f->scope[solve_other(f, v)])) return false;
  }
  return true;
}

static bool beaten(struct solve_work *w, int v, int a, const bool *keep) {
  for (int b = 0; b < w->var.v[v].n; b++)
    if (b != a && keep[b] && dominated(w, v, a, b)) return true;
  return false;
}

/* Drop labels; among equals the lowest number stays. */
static enum fvm_status prune(struct solve_work *w, int v, struct fvm_error *err) {
  struct solve_wvar *x = &w->var.v[v];
  int n = x->n, kept = n;
  bool *keep = fvm_alloc((size_t)n, sizeof *keep);
  if (!keep) return fvm_nomem(err);
  enum fvm_status st = FVM_OK;
  for (int a = 0; a < n; a++) kept -= !(keep[a] = supported(w, v, a));
  for (int a = n - 1; a >= 0 && kept > 1; a--)
    if (keep[a] && beaten(w, v, a, keep)) keep[a] = false, kept--;
  if (kept == 0)
    st = infeasible(err);
  else if (kept < n && !shrink(w, v, keep, kept))
    st = fvm_nomem(err);
  fvm_free(keep, (size_t)n, sizeof *keep);
  return st;
}

/* ---- functions ---- */

/* Move what a pairwise function charges for v alone into v's own costs. */
static void project(struct solve_work *w, struct solve_fn *f, int v) {
  struct solve_wvar *x = &w->var.v[v];
  int64_t mine, other;
  steps(f, v, &mine, &other);
  for (int a = 0; a < x->n; a++) {
    int64_t least = SOLVE_INF, *row = f->cost + a * mine;
    int n = f->size[solve_other(f, v)];
    for (int y = 0; y < n; y++) least = MIN(least, row[y * other]);
    x->cost[a] = solve_add(x->cost[a], least);
    if (least == 0 || least >= SOLVE_INF) continue;
    for (int y = 0; y < n; y++)
      if (row[y * other] < SOLVE_INF) row[y * other] -= least;
  }
}

/* A function that is the sum of one for each of its variables says nothing once it is projected. */
static void separate(struct solve_work *w, struct solve_fn *f) {
  project(w, f, f->scope[0]);
  project(w, f, f->scope[1]);
  int64_t n = (int64_t)f->size[0] * f->size[1];
  w->ticks += n;
  for (int64_t i = 0; i < n; i++)
    if (f->cost[i] != 0) return;
  f->gone = true;
}

static bool separate_all(struct solve_work *w, int v) {
  bool ok = true;
  for (size_t i = 0; i < w->var.v[v].fn.n; i++) {
    struct solve_fn *f = &w->fn.v[w->var.v[v].fn.v[i]];
    separate(w, f);
    if (f->gone) ok = enqueue(w, f->scope[solve_other(f, v)]) && ok;
  }
  tidy(w, v);
  return ok;
}

/* ---- elimination ---- */

/* The functions of v over the joint assignments of its neighbours, counted like an odometer. */
struct bucket {
  int v, nfn, k; /* k neighbours */
  int *scope;    /* them */
  int *digit;
  int64_t *at;     /* for each function: place of the neighbours' labels in its table */
  int64_t *mine;   /* for each function: step of v */
  int64_t *step;   /* for each function and neighbour */
  int64_t entries; /* of the joint table */
};

static int find(const int *list, int n, int x) {
  for (int i = 0; i < n; i++)
    if (list[i] == x) return i;
  return -1;
}

static bool bucket_open(struct solve_work *w, int v, struct bucket *b) {
  struct solve_wvar *x = &w->var.v[v];
  int room = 0;
  *b = (struct bucket){.v = v, .nfn = (int)x->fn.n, .entries = 1};
  for (int i = 0; i < b->nfn; i++) room += w->fn.v[x->fn.v[i]].n;
  b->scope = ARENA_NEW(w->a, int, room);
  if (!b->scope) return false;
  for (int i = 0; i < b->nfn; i++) {
    const struct solve_fn *f = &w->fn.v[x->fn.v[i]];
    for (int j = 0; j < f->n; j++)
      if (f->scope[j] != v && find(b->scope, b->k, f->scope[j]) < 0) {
        b->scope[b->k++] = f->scope[j];
        if (!fvm_mul(b->entries, w->var.v[f->scope[j]].n, &b->entries)) return false;
      }
  }
  b->digit = ARENA_NEW(w->a, int, b->k);
  b->at = ARENA_NEW(w->a, int64_t, b->nfn);
  b->mine = ARENA_NEW(w->a, int64_t, b->nfn);
  b->step = arena_alloc(w->a, (size_t)b->nfn, (size_t)MAX(b->k, 1) * sizeof *b->step);
  if (!b->digit || !b->at || !b->mine || !b->step) return false;
  for (int i = 0; i < b->nfn; i++) {
    const struct solve_fn *f = &w->fn.v[x->fn.v[i]];
    int64_t step = 1;
    for (int j = f->n - 1; j >= 0; step *= f->size[j--])
      if (f->scope[j] == v)
        b->mine[i] = step;
      else
        b->step[i * b->k + find(b->scope, b->k, f->scope[j])] = step;
  }
  return true;
}

static void bucket_next(struct solve_work *w, struct bucket *b) {
  for (int j = b->k - 1; j >= 0; j--) {
    int n = w->var.v[b->scope[j]].n;
    bool wraps = ++b->digit[j] == n;
    for (int i = 0; i < b->nfn; i++)
      b->at[i] += wraps ? -(n - 1) * b->step[i * b->k + j] : b->step[i * b->k + j];
    if (!wraps) return;
    b->digit[j] = 0;
  }
}

/* Least cost that v adds to the current assignment of its neighbours. */
static int64_t bucket_min(const struct solve_work *w, const struct bucket *b) {
  const struct solve_wvar *x = &w->var.v[b->v];
  int64_t least = SOLVE_INF;
  for (int a = 0; a < x->n; a++) {
    int64_t c = x->cost[a];
    for (int i = 0; i < b->nfn && c < least; i++)
      c = solve_add(c, w->fn.v[x->fn.v[i]].cost[b->at[i] + a * b->mine[i]]);
    least = MIN(least, c);
  }
  return least;
}

/* Add a table over two variables to the function that they share, if any. */
static bool merge_pair(struct solve_work *w, const struct bucket *b, const int64_t *table) {
  int u = b->scope[0], v = b->scope[1], nu = w->var.v[u].n, nv = w->var.v[v].n;
  tidy(w, u);
  for (size_t i = 0; i < w->var.v[u].fn.n; i++) {
    struct solve_fn *f = &w->fn.v[w->var.v[u].fn.v[i]];
    if (f->n != 2 || f->scope[solve_other(f, u)] != v) continue;
    int64_t su = f->scope[0] == u ? nv : 1, sv = f->scope[0] == u ? 1 : nu;
    for (int p = 0; p < nu; p++)
      for (int q = 0; q < nv; q++)
        f->cost[p * su + q * sv] = solve_add(f->cost[p * su + q * sv], table[p * nv + q]);
    return true;
  }
  return false;
}

static bool add_fn(struct solve_work *w, const struct bucket *b, int64_t *table) {
  struct solve_fn f = {.n = b->k, .scope = b->scope, .cost = table};
  f.size = ARENA_NEW(w->a, int, b->k);
  f.orig = ARENA_NEW(w->a, const int *, b->k);
  if (!f.size || !f.orig) return false;
  for (int j = 0; j < b->k; j++) {
    f.size[j] = w->var.v[b->scope[j]].n;
    f.orig[j] = w->var.v[b->scope[j]].orig;
    if (!VEC_PUSH(&w->var.v[b->scope[j]].fn, (int)w->fn.n)) return false;
  }
  return VEC_PUSH(&w->fn, f);
}

/* Put the joint table in the place of v's functions. */
static enum fvm_status replace(struct solve_work *w, struct bucket *b, int64_t *table,
                               struct fvm_error *err) {
  if (b->k == 0) {
    if (table[0] >= SOLVE_INF) return infeasible(err);
    w->c0 += table[0];
  } else if (b->k == 1) {
    struct solve_wvar *u = &w->var.v[b->scope[0]];
    for (int p = 0; p < u->n; p++) u->cost[p] = solve_add(u->cost[p], table[p]);
  } else if (b->k > 2 || !merge_pair(w, b, table)) {
    if (!add_fn(w, b, table)) return fvm_nomem(err);
  }
  for (int j = 0; j < b->k; j++) {
    tidy(w, b->scope[j]);
    if (!enqueue(w, b->scope[j])) return fvm_nomem(err);
  }
  return FVM_OK;
}

enum fvm_status solve_eliminate(struct solve_work *w, int v, struct fvm_error *err) {
  struct bucket b;
  struct solve_wvar *x = &w->var.v[v];
  tidy(w, v);
  if (!bucket_open(w, v, &b)) return fvm_nomem(err);
  int64_t *table = arena_alloc(w->a, (size_t)b.entries, sizeof *table);
  if (!table || !VEC_PUSH(&w->done, v)) return fvm_nomem(err);
  for (int64_t e = 0; e < b.entries; e++) {
    table[e] = bucket_min(w, &b);
    bucket_next(w, &b);
  }
  w->ticks += b.entries * x->n;
  x->gone = true;
  for (int i = 0; i < b.nfn; i++) w->fn.v[x->fn.v[i]].gone = true;
  return replace(w, &b, table, err);
}

/* A variable with one label leaves its costs to its neighbours, however many. */
static enum fvm_status absorb(struct solve_work *w, int v, struct fvm_error *err) {
  struct solve_wvar *x = &w->var.v[v];
  w->c0 += x->cost[0];
  x->cost[0] = 0;
  for (size_t i = 0; i < x->fn.n; i++) {
    struct solve_fn *f = &w->fn.v[x->fn.v[i]];
    int u = f->scope[solve_other(f, v)];
    for (int a = 0; a < w->var.v[u].n; a++)
      w->var.v[u].cost[a] = solve_add(w->var.v[u].cost[a], f->cost[a]);
    f->gone = true;
    tidy(w, u);
    if (!enqueue(w, u)) return fvm_nomem(err);
  }
  x->fn.n = 0;
  x->gone = true;
  return VEC_PUSH(&w->done, v) ? FVM_OK : fvm_nomem(err);
}

static enum fvm_status reduce_var(struct solve_work *w, int v, struct fvm_error *err) {
  tidy(w, v);
  enum fvm_status st = prune(w, v, err);
  if (st) return st;
  if (w->var.v[v].n == 1) return absorb(w, v, err);
  if (!separate_all(w, v)) return fvm_nomem(err);
  return w->var.v[v].fn.n <= 2 ? solve_eliminate(w, v, err) : FVM_OK;
}

enum fvm_status solve_reduce(struct solve_work *w, struct fvm_error *err) {
  for (int v = 0; v < (int)w->var.n; v++)
    if (!enqueue(w, v)) return fvm_nomem(err);
  for (size_t head = 0; head < w->queue.n; head++) {
    int v = w->queue.v[head];
    w->var.v[v].queued = false;
    if (w->var.v[v].gone) continue;
    enum fvm_status st = reduce_var(w, v, err);
    if (st) return st;
  }
  w->queue.n = 0;
  return FVM_OK;
}

/* ---- back-substitution ---- */

static int64_t at_labels(const struct solve_fn *f, int v, int a, const int *label) {
  int64_t i = 0;
  for (int j = 0; j < f->n; j++)
    i = i * f->size[j] + (f->scope[j] == v ? a : find(f->orig[j], f->size[j], label[f->scope[j]]));
  return f->cost[i];
}

void solve_back(const struct solve_work *w, int *label) {
  for (size_t i = w->done.n; i-- > 0;) {
    int v = w->done.v[i];
    const struct solve_wvar *x = &w->var.v[v];
    int64_t least = SOLVE_INF;
    label[v] = x->orig[0];
    for (int a = 0; a < x->n; a++) {
      int64_t c = x->cost[a];
      for (size_t j = 0; j < x->fn.n; j++)
        c = solve_add(c, at_labels(&w->fn.v[x->fn.v[j]], v, a, label));
      if (c < least) least = c, label[v] = x->orig[a];
    }
  }
}
