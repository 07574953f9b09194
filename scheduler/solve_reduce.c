/* Exact reductions: forbidden and dominated labels, functions that say nothing, R0/R1/R2. */
#include "solve_work.h"

#include <string.h>

bool solve_enqueue(struct solve_work *w, int v) {
  if (w->var.v[v].queued || w->var.v[v].gone) return true;
  w->var.v[v].queued = true;
  return VEC_PUSH(&w->queue, v);
}

enum fvm_status solve_infeasible(struct fvm_error *err) {
  return fvm_fail(err, FVM_EFAIL, "no choice of labels satisfies every constraint");
}

void solve_tidy(struct solve_work *w, int v) {
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

/* min over y of f(y, a) - f(y, b), leaving out the y that forbid a; SOLVE_INF when all do. Below
 * `enough`, which includes that some y allows a but forbids b, any number that is below it. */
static int64_t advantage(const struct solve_fn *f, int v, int a, int b, int64_t enough) {
  int64_t mine, other, least = SOLVE_INF;
  steps(f, v, &mine, &other);
  const int64_t *x = f->cost + a * mine, *y = f->cost + b * mine;
  for (int n = f->size[solve_other(f, v)]; n-- > 0 && least >= enough; x += other, y += other)
    if (*x < SOLVE_INF) least = *y >= SOLVE_INF ? -SOLVE_INF : MIN(least, *x - *y);
  return least;
}

/* Label a can go when b is allowed wherever a is and never costs more (dead-end elimination). v's
 * functions have been projected, so none of them can speak for a. */
static bool dominated(struct solve_work *w, int v, int a, int b) {
  const struct solve_wvar *x = &w->var.v[v];
  int64_t gain = x->cost[a] - x->cost[b];
  for (size_t i = 0; i < x->fn.n && gain >= 0; i++) {
    const struct solve_fn *f = &w->fn.v[x->fn.v[i]];
    int64_t d = advantage(f, v, a, b, -gain);
    w->ticks += f->size[solve_other(f, v)];
    if (d == SOLVE_INF) return true;
    gain += d;
  }
  return gain >= 0;
}

static bool supported(const struct solve_work *w, int v, int a) {
  const struct solve_wvar *x = &w->var.v[v];
  if (x->cost[a] >= SOLVE_INF) return false;
  for (size_t i = 0; i < x->fn.n; i++)
    if (advantage(&w->fn.v[x->fn.v[i]], v, a, a, 0) == SOLVE_INF) return false;
  return true;
}

/* Give a pairwise function a table without the labels of v that are not kept. */
static bool shrink_fn(struct solve_work *w, struct solve_fn *f, int v, const bool *keep) {
  struct solve_wvar *x = &w->var.v[v];
  int me = f->scope[0] == v ? 0 : 1, rows = f->size[0], cols = f->size[1];
  int *size = ARENA_NEW(w->a, int, 2);
  int64_t *cost = arena_alloc(w->a, (size_t)x->n, (size_t)f->size[1 - me] * sizeof *cost);
  if (!size || !cost) return false;
  size_t n = 0;
  for (int i = 0; i < rows; i++)
    for (int j = 0; j < cols; j++)
      if (keep[me == 0 ? i : j]) cost[n++] = f->cost[(int64_t)i * cols + j];
  size[me] = x->n, size[1 - me] = f->size[1 - me];
  f->size = size, f->cost = cost;
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
    if (!shrink_fn(w, f, v, keep) || !solve_enqueue(w, f->scope[solve_other(f, v)])) return false;
  }
  return true;
}

/* The label that beats a; -1: none does. */
static int beaten(struct solve_work *w, int v, int a, const bool *keep) {
  for (int b = 0; b < w->var.v[v].n; b++)
    if (b != a && keep[b] && dominated(w, v, a, b)) return b;
  return -1;
}

static bool note_drop(struct solve_work *w, int v, int a, int b) {
  const int *orig = w->var.v[v].orig;
  return solve_note(w, (struct solve_step){SOLVE_DROP, v, -1, orig[a], b < 0 ? -1 : orig[b], 0});
}

/* Drop labels; among equals the lowest number stays. */
static enum fvm_status prune(struct solve_work *w, int v, struct fvm_error *err) {
  struct solve_wvar *x = &w->var.v[v];
  int n = x->n, kept = n;
  bool *keep = fvm_alloc((size_t)n, sizeof *keep);
  if (!keep) return fvm_nomem(err);
  enum fvm_status st = FVM_OK;
  bool ok = true;
  for (int a = 0; a < n; a++) {
    keep[a] = supported(w, v, a);
    if (!keep[a]) ok = note_drop(w, v, a, -1) && ok, kept--;
  }
  for (int a = n - 1; a >= 0 && kept > 1; a--) {
    int b = keep[a] ? beaten(w, v, a, keep) : -1;
    if (b >= 0) ok = note_drop(w, v, a, b) && ok, keep[a] = false, kept--;
  }
  if (kept == 0)
    st = solve_infeasible(err);
  else if (!ok || (kept < n && !shrink(w, v, keep, kept)))
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
    f->moved[f->scope[1] == v][x->orig[a]] += least;
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
    int u = f->scope[solve_other(f, v)];
    if (f->gone)
      ok = solve_note(w, (struct solve_step){SOLVE_SEPARATE, v, u, 0, 0, 0}) &&
           solve_enqueue(w, u) && ok;
  }
  solve_tidy(w, v);
  return ok;
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
    solve_tidy(w, u);
    if (!solve_enqueue(w, u)) return fvm_nomem(err);
  }
  x->fn.n = 0;
  x->gone = true;
  bool ok = solve_note(w, (struct solve_step){SOLVE_ELIMINATE, v, -1, 0, 0, 0});
  return ok && VEC_PUSH(&w->done, v) ? FVM_OK : fvm_nomem(err);
}

static enum fvm_status reduce_var(struct solve_work *w, int v, struct fvm_error *err) {
  solve_tidy(w, v);
  if (!separate_all(w, v)) return fvm_nomem(err);
  enum fvm_status st = prune(w, v, err);
  if (st) return st;
  if (w->var.v[v].n == 1) return absorb(w, v, err);
  return w->var.v[v].fn.n <= 2 ? solve_eliminate(w, v, err) : FVM_OK;
}

enum fvm_status solve_reduce_queue(struct solve_work *w, struct fvm_error *err) {
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

enum fvm_status solve_reduce(struct solve_work *w, struct fvm_error *err) {
  for (int v = 0; v < (int)w->var.n; v++)
    if (!solve_enqueue(w, v)) return fvm_nomem(err);
  return solve_reduce_queue(w, err);
}
