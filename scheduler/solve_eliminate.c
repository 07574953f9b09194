/* The elimination of a variable, and the way back.
 *
 * Eliminating v replaces all functions that v is in by one over its neighbours: for each of their
 * assignments the least that v can add. With no neighbour (R0) that is a constant, with one (R1)
 * it goes into the neighbour's own costs, with two (R2) into a pairwise function; the planned
 * eliminations of solve_layout.c make larger tables.
 *
 * The joint table is filled one neighbour after the other. What the functions say that are known
 * once the first j neighbours have their labels is summed up only then, for all labels of v:
 *
 *   level 0      own costs of v                       n entries
 *   level 1      + f(x0, v)                           n for each label of x0
 *   level 2      + g(x0, x1, v) + h(x1, v)            n for each pair
 *
 * v comes last in every function, so each step adds and compares adjacent entries. */
#include "solve_work.h"

#include <string.h>

/* The inner loop in every width that the processor may have; elsewhere the compiler's own. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && defined(__gnu_linux__)
#define WIDE __attribute__((optimize("O3"), target_clones("avx512f", "avx2", "default")))
#else
#define WIDE
#endif

struct term {
  const int64_t *cost; /* v comes last in it */
  int64_t at;          /* for the labels of the neighbours so far */
  int level;           /* neighbours that have to be known */
};
struct bucket {
  int v, n, k, nterm;
  int *scope;     /* k neighbours, by rank */
  int *size;      /* labels of each */
  struct term *t; /* by level */
  int64_t *step;  /* term * k + neighbour: how far its next label is */
  int *first;     /* level: its first term; of level k + 1: nterm */
  int64_t *sum;   /* level * n + label of v */
  int64_t entries;
};

static int find(const int *list, int n, int x) {
  for (int i = 0; i < n; i++)
    if (list[i] == x) return i;
  return -1;
}

static bool comes_before(const struct solve_work *w, int u, int v) {
  return w->rank ? w->rank[u] < w->rank[v] : u < v;
}

/* ---- set-up ---- */

/* The neighbours of b->v in order, and the entries of their joint table. */
static bool gather_scope(struct solve_work *w, struct bucket *b) {
  const struct solve_wvar *x = &w->var.v[b->v];
  int room = 0;
  for (size_t i = 0; i < x->fn.n; i++) room += w->fn.v[x->fn.v[i]].n;
  b->scope = ARENA_NEW(w->a, int, room);
  b->size = ARENA_NEW(w->a, int, room);
  if (!b->scope || !b->size) return false;
  for (size_t i = 0; i < x->fn.n; i++) {
    const struct solve_fn *f = &w->fn.v[x->fn.v[i]];
    for (int j = 0; j < f->n; j++) {
      int u = f->scope[j], k = b->k;
      if (u == b->v || find(b->scope, b->k, u) >= 0) continue;
      for (; k > 0 && comes_before(w, u, b->scope[k - 1]); k--) b->scope[k] = b->scope[k - 1];
      b->scope[k] = u;
      b->k++;
      if (!fvm_mul(b->entries, w->var.v[u].n, &b->entries)) return false;
    }
  }
  for (int j = 0; j < b->k; j++) b->size[j] = w->var.v[b->scope[j]].n;
  return true;
}

/* A pairwise table with v last. */
static const int64_t *turned(struct solve_work *w, const struct solve_fn *f, int v) {
  if (f->scope[f->n - 1] == v) return f->cost;
  CHECK(f->n == 2);
  int64_t n = f->size[0], m = f->size[1];
  int64_t *t = arena_alloc(w->a, (size_t)n, (size_t)m * sizeof *t);
  for (int64_t i = 0; t && i < n; i++)
    for (int64_t j = 0; j < m; j++) t[j * n + i] = f->cost[i * m + j];
  return t;
}

/* Neighbours of v that have to be known for a function. */
static int level_of(const struct bucket *b, const struct solve_fn *f) {
  int level = 0;
  for (int j = 0; j < f->n; j++) level = MAX(level, 1 + find(b->scope, b->k, f->scope[j]));
  return level;
}

static bool add_term(struct solve_work *w, struct bucket *b, const struct solve_fn *f, int i) {
  int64_t step = b->n;
  b->t[i].cost = turned(w, f, b->v);
  for (int j = f->n - 1; j >= 0; j--) {
    if (f->scope[j] == b->v) continue;
    b->step[i * b->k + find(b->scope, b->k, f->scope[j])] = step;
    step *= f->size[j];
  }
  return b->t[i].cost != NULL;
}

static bool add_terms(struct solve_work *w, struct bucket *b) {
  const struct solve_wvar *x = &w->var.v[b->v];
  int n = 0;
  for (int level = 0; level <= b->k; level++) {
    b->first[level] = n;
    for (size_t i = 0; i < x->fn.n; i++) {
      const struct solve_fn *f = &w->fn.v[x->fn.v[i]];
      if (level_of(b, f) == level && !add_term(w, b, f, n++)) return false;
    }
  }
  b->first[b->k + 1] = n;
  return true;
}

static bool open_bucket(struct solve_work *w, int v, struct bucket *b) {
  const struct solve_wvar *x = &w->var.v[v];
  *b = (struct bucket){.v = v, .n = x->n, .nterm = (int)x->fn.n, .entries = 1};
  if (!gather_scope(w, b)) return false;
  b->t = ARENA_NEW(w->a, struct term, b->nterm);
  b->first = ARENA_NEW(w->a, int, b->k + 2);
  b->step = arena_alloc(w->a, (size_t)b->nterm, (size_t)MAX(b->k, 1) * sizeof *b->step);
  b->sum = arena_alloc(w->a, (size_t)b->k + 1, (size_t)b->n * sizeof *b->sum);
  if (!b->t || !b->first || !b->step || !b->sum) return false;
  memcpy(b->sum, x->cost, (size_t)b->n * sizeof *b->sum);
  return add_terms(w, b);
}

/* ---- the joint table ---- */

/* to = from + more, for n labels. Costs are at most SOLVE_INF, so the sum fits. */
static void add_row(int64_t *to, const int64_t *from, const int64_t *more, int n) {
  for (int a = 0; a < n; a++) to[a] = MIN(from[a] + more[a], SOLVE_INF);
}

/* For each label of the last neighbour the least over v's labels, of sums and up to two terms. n is
 * a constant wherever this is inlined for the usual numbers of labels. */
static inline __attribute__((always_inline)) void
least_rows(int64_t *out, int rows, int n, const int64_t *sum, const int64_t *f, const int64_t *g) {
  for (int x = 0; x < rows; x++, f += n) {
    int64_t least = SOLVE_INF;
    if (g)
      for (int a = 0; a < n; a++) least = MIN(least, sum[a] + f[a] + g[a]);
    else
      for (int a = 0; a < n; a++) least = MIN(least, sum[a] + f[a]);
    out[x] = least;
    if (g) g += n;
  }
}

WIDE static void least_of(int64_t *out, int rows, int n, const int64_t *sum, const int64_t *f,
                          const int64_t *g) {
  switch (n) {
  case 4:
    least_rows(out, rows, 4, sum, f, g);
    break;
  case 8:
    least_rows(out, rows, 8, sum, f, g);
    break;
  case 16:
    least_rows(out, rows, 16, sum, f, g);
    break;
  default:
    least_rows(out, rows, n, sum, f, g);
    break;
  }
}

/* The sum with the terms of the level, in b's row for it, or `sum` itself when there are none. */
static const int64_t *add_level(struct bucket *b, int level, const int64_t *sum) {
  int64_t *row = b->sum + (int64_t)level * b->n;
  for (int i = b->first[level]; i < b->first[level + 1]; i++) {
    add_row(row, sum, b->t[i].cost + b->t[i].at, b->n);
    sum = row;
  }
  return sum;
}

/* Terms of the level or later ones, to the next label of the level's neighbour. */
static void advance(struct bucket *b, int level, int64_t labels) {
  for (int i = b->first[level]; i < b->nterm; i++)
    b->t[i].at += labels * b->step[i * b->k + level - 1];
}

/* The last neighbour, whose terms are usually one or two. */
static void fill_last(struct bucket *b, const int64_t *sum, int64_t *out) {
  const struct term *t = &b->t[b->first[b->k]];
  int n = b->first[b->k + 1] - b->first[b->k], rows = b->size[b->k - 1];
  if (n <= 2) {
    least_of(out, rows, b->n, sum, t->cost + t->at, n == 2 ? t[1].cost + t[1].at : NULL);
    return;
  }
  for (int x = 0; x < rows; x++) {
    const int64_t *row = add_level(b, b->k, sum);
    out[x] = SOLVE_INF;
    for (int a = 0; a < b->n; a++) out[x] = MIN(out[x], row[a]);
    advance(b, b->k, 1);
  }
  advance(b, b->k, -rows);
}

/* Entries for all labels of the neighbours from `level` on; returns where the next ones go. */
static int64_t *fill(struct bucket *b, int level, const int64_t *sum, int64_t *out) {
  int rows = b->size[level - 1];
  if (level == b->k) {
    fill_last(b, sum, out);
    return out + rows;
  }
  for (int x = 0; x < rows; x++) {
    out = fill(b, level + 1, add_level(b, level, sum), out);
    advance(b, level, 1);
  }
  advance(b, level, -rows);
  return out;
}

static void fill_all(struct bucket *b, int64_t *table) {
  if (b->k > 0) {
    fill(b, 1, b->sum, table);
    return;
  }
  *table = SOLVE_INF;
  for (int a = 0; a < b->n; a++) *table = MIN(*table, b->sum[a]);
}

/* ---- in the place of v's functions ---- */

/* What the functions of the one that is eliminated moved to a neighbour counts as moved by the one
 * that takes their place. */
static void inherit(struct solve_work *w, const struct bucket *b, struct solve_fn *f) {
  const struct solve_wvar *x = &w->var.v[b->v];
  for (size_t i = 0; i < x->fn.n; i++) {
    const struct solve_fn *g = &w->fn.v[x->fn.v[i]];
    int j = solve_other(g, b->v), u = g->scope[j];
    for (int a = 0; g->n == 2 && f->n == 2 && a < w->var.v[u].all; a++)
      f->moved[f->scope[1] == u][a] += g->moved[j][a];
  }
}

/* Add a table over two variables to the function that they share, if any. */
static bool merge_pair(struct solve_work *w, const struct bucket *b, const int64_t *table) {
  int u = b->scope[0], v = b->scope[1], nu = w->var.v[u].n, nv = w->var.v[v].n;
  solve_tidy(w, u);
  for (size_t i = 0; i < w->var.v[u].fn.n; i++) {
    struct solve_fn *f = &w->fn.v[w->var.v[u].fn.v[i]];
    if (f->n != 2 || f->scope[solve_other(f, u)] != v) continue;
    int64_t su = f->scope[0] == u ? nv : 1, sv = f->scope[0] == u ? 1 : nu;
    for (int p = 0; p < nu; p++)
      for (int q = 0; q < nv; q++)
        f->cost[p * su + q * sv] = solve_add(f->cost[p * su + q * sv], table[p * nv + q]);
    inherit(w, b, f);
    return true;
  }
  return false;
}

static bool add_fn(struct solve_work *w, const struct bucket *b, int64_t *table) {
  struct solve_fn f = {.n = b->k, .scope = b->scope, .cost = table};
  f.size = ARENA_NEW(w->a, int, b->k);
  f.orig = ARENA_NEW(w->a, const int *, b->k);
  if (!f.size || !f.orig || (b->k == 2 && !solve_fn_moves(w, &f))) return false;
  for (int j = 0; j < b->k; j++) {
    f.size[j] = w->var.v[b->scope[j]].n;
    f.orig[j] = w->var.v[b->scope[j]].orig;
    if (!VEC_PUSH(&w->var.v[b->scope[j]].fn, (int)w->fn.n)) return false;
  }
  inherit(w, b, &f);
  return VEC_PUSH(&w->fn, f);
}

/* Put the joint table in the place of v's functions. */
static enum fvm_status replace(struct solve_work *w, struct bucket *b, int64_t *table,
                               struct fvm_error *err) {
  if (b->k == 0) {
    if (table[0] >= SOLVE_INF) return solve_infeasible(err);
    w->c0 += table[0];
  } else if (b->k == 1) {
    struct solve_wvar *u = &w->var.v[b->scope[0]];
    for (int p = 0; p < u->n; p++) u->cost[p] = solve_add(u->cost[p], table[p]);
  } else if (b->k > 2 || !merge_pair(w, b, table)) {
    if (!add_fn(w, b, table)) return fvm_nomem(err);
  }
  for (int j = 0; j < b->k; j++) {
    solve_tidy(w, b->scope[j]);
    if (!solve_enqueue(w, b->scope[j])) return fvm_nomem(err);
  }
  return FVM_OK;
}

enum fvm_status solve_eliminate(struct solve_work *w, int v, struct fvm_error *err) {
  struct bucket b;
  struct solve_wvar *x = &w->var.v[v];
  solve_tidy(w, v);
  if (!open_bucket(w, v, &b)) return fvm_nomem(err);
  int64_t *table = arena_alloc(w->a, (size_t)b.entries, sizeof *table);
  bool ok = solve_note(w, (struct solve_step){SOLVE_ELIMINATE, v, -1, 0, 0, 0});
  if (!table || !ok || !VEC_PUSH(&w->done, v)) return fvm_nomem(err);
  fill_all(&b, table);
  w->ticks += b.entries * x->n;
  x->gone = true;
  for (int i = 0; i < b.nterm; i++) w->fn.v[x->fn.v[i]].gone = true;
  return replace(w, &b, table, err);
}

/* ---- back-substitution ---- */

static int64_t at_labels(const struct solve_fn *f, int v, int a, const int *label) {
  int64_t i = 0;
  for (int j = 0; j < f->n; j++)
    i = i * f->size[j] + (f->scope[j] == v ? a : find(f->orig[j], f->size[j], label[f->scope[j]]));
  return f->cost[i];
}

static void back_leaf(const struct solve_leaf *l, int *label) {
  int a = find(l->orig, l->labels, label[l->x]);
  for (int k = 0; k < l->n; k++) label[l->var[k]] = l->label[a * l->n + k];
}

void solve_back(const struct solve_work *w, int *label) {
  for (size_t i = w->done.n; i-- > 0;) {
    int v = w->done.v[i];
    if (v < 0) {
      back_leaf(&w->leaf.v[-1 - v], label);
      continue;
    }
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
