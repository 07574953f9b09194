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
 * so there v has to come last in the functions. The last neighbour's labels are taken side by side,
 * LANES at a time, each with the least so far and the label of v that it is for: in its functions v
 * comes first. That is where it is anyway in the tables that eliminations made, whose variables
 * are in the order in which they go, so large tables are read as they are. The labels are all that
 * back-substitution needs; a table is given back when it has been used. */
#include "solve_work.h"

#include <string.h>

/* The inner loops in every width that the processor may have; elsewhere the compiler's own. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && defined(__gnu_linux__)
#define WIDE __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define WIDE
#endif

/* Entries that are worked on together. The last ones of a row may be beyond its end: what is read
 * there is a cost of something else, and what is written there is overwritten by the next row. So
 * all tables have room for LANES more entries. */
enum { LANES = 8 };
typedef int64_t lanes __attribute__((vector_size(8 * LANES), aligned(8), may_alias));
typedef uint8_t octet __attribute__((vector_size(LANES), aligned(1)));

struct term {
  const int64_t *cost;
  int64_t at;   /* for the labels of the neighbours so far */
  int64_t next; /* of the last level: how far the next label of v is; elsewhere 1 */
};
struct bucket {
  int v, n, k, nterm;
  int *scope;     /* k neighbours, in the order of tables */
  int *size;      /* labels of each */
  struct term *t; /* by level: neighbours that have to be known */
  int64_t *step;  /* term * k + neighbour: how far its next label is */
  int *first;     /* level: its first term; of level k + 1: nterm */
  int64_t *sum;   /* level * width + label of v */
  int width;      /* n, rounded up to whole LANES */
  int64_t entries;
  int64_t *table;
  uint8_t *label; /* to be pick.label */
  struct solve_pick pick;
};

static int find(const int *list, int n, int x) {
  for (int i = 0; i < n; i++)
    if (list[i] == x) return i;
  return -1;
}

static bool comes_before(const struct solve_work *w, int u, int v) {
  return w->rank ? w->rank[u] > w->rank[v] : u < v;
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

static int64_t fn_entries(const struct solve_fn *f) {
  int64_t n = 1;
  for (int j = 0; j < f->n; j++) n *= f->size[j];
  return n;
}

/* Neighbours of v that have to be known for a function. */
static int level_of(const struct bucket *b, const struct solve_fn *f) {
  int level = 0;
  for (int j = 0; j < f->n; j++) level = MAX(level, 1 + find(b->scope, b->k, f->scope[j]));
  return level;
}

/* Whether a function's table has to be made anew: pairwise ones have no room for LANES, and before
 * the last level v comes last. */
static bool turns(const struct bucket *b, const struct solve_fn *f) {
  return f->n == 2 || level_of(b, f) < b->k;
}

/* The table with v first or last, in `room`. */
static const int64_t *turned(const struct solve_fn *f, int v, bool first, int64_t *room) {
  CHECK(f->n == 2 || f->scope[0] == v);
  int64_t n = f->size[0], m = fn_entries(f) / n;
  if (first == (f->scope[0] == v)) return memcpy(room, f->cost, (size_t)(n * m) * sizeof *room);
  for (int64_t j = 0; j < m; j++)
    for (int64_t i = 0; i < n; i++) room[j * n + i] = f->cost[i * m + j];
  return room;
}

/* Term i, of the level; returns where there is room after it. */
static int64_t *add_term(struct bucket *b, const struct solve_fn *f, int level, int i,
                         int64_t *room) {
  bool last = level == b->k, turn = turns(b, f);
  int64_t step = last ? 1 : b->n;
  b->t[i].cost = turn ? turned(f, b->v, last, room) : f->cost;
  for (int j = f->n - 1; j >= 0; j--) {
    if (f->scope[j] == b->v) continue;
    b->step[i * b->k + find(b->scope, b->k, f->scope[j])] = step;
    step *= f->size[j];
  }
  b->t[i].next = last ? step : 1;
  return room + (turn ? fn_entries(f) : 0);
}

static bool add_terms(struct solve_work *w, struct bucket *b) {
  const struct solve_wvar *x = &w->var.v[b->v];
  int64_t room = LANES;
  for (size_t i = 0; i < x->fn.n; i++) {
    const struct solve_fn *f = &w->fn.v[x->fn.v[i]];
    if (turns(b, f)) room += fn_entries(f);
  }
  if (!VEC_RESERVE(&w->turned, (size_t)room)) return false;
  int64_t *to = w->turned.v;
  int n = 0;
  for (int level = 0; level <= b->k; level++) {
    b->first[level] = n;
    for (size_t i = 0; i < x->fn.n; i++) {
      const struct solve_fn *f = &w->fn.v[x->fn.v[i]];
      if (level_of(b, f) == level) to = add_term(b, f, level, n++, to);
    }
  }
  b->first[b->k + 1] = n;
  return true;
}

/* The tables that are made: of more than two variables from the heap, which gets them back. */
static bool open_tables(struct solve_work *w, struct bucket *b) {
  size_t n = (size_t)b->entries + LANES;
  int bytes = 1;
  while (bytes < 4 && (b->n - 1) >> 8 * bytes > 0) bytes++;
  const int **orig = ARENA_NEW(w->a, const int *, b->k);
  b->label = arena_alloc(w->a, n, (size_t)bytes);
  b->table = b->k > 2 ? fvm_alloc(n, sizeof *b->table) : ARENA_NEW(w->a, int64_t, n);
  if (!orig || !b->label || !b->table) return false;
  for (int j = 0; j < b->k; j++) orig[j] = w->var.v[b->scope[j]].orig;
  b->pick = (struct solve_pick){b->k, b->scope, b->size, orig, b->label, bytes, b->entries + LANES};
  return true;
}

static bool open_bucket(struct solve_work *w, int v, struct bucket *b) {
  const struct solve_wvar *x = &w->var.v[v];
  *b = (struct bucket){.v = v, .n = x->n, .nterm = (int)x->fn.n, .entries = 1};
  if (!gather_scope(w, b)) return false;
  b->width = ROUND_UP(b->n, LANES);
  b->t = ARENA_NEW(w->a, struct term, b->nterm);
  b->first = ARENA_NEW(w->a, int, b->k + 2);
  b->step = arena_alloc(w->a, (size_t)b->nterm, (size_t)MAX(b->k, 1) * sizeof *b->step);
  b->sum = arena_alloc(w->a, (size_t)b->k + 1, (size_t)b->width * sizeof *b->sum);
  if (!b->t || !b->first || !b->step || !b->sum) return false;
  memcpy(b->sum, x->cost, (size_t)b->n * sizeof *b->sum);
  return add_terms(w, b) && open_tables(w, b);
}

/* ---- the joint table ---- */

#define INLINE static inline __attribute__((always_inline))
/* Of each lane the one or the other, by a mask of all or no bits. */
#define SELECT(mask, a, b) (((mask) & (a)) | (~(mask) & (b)))

/* to = from + more, for n labels. Costs are at most SOLVE_INF, so the sum fits. */
INLINE void add_row(int64_t *to, const int64_t *from, const int64_t *more, int n) {
  for (int a = 0; a < n; a += LANES) {
    lanes c = *(const lanes *)(from + a) + *(const lanes *)(more + a);
    *(lanes *)(to + a) = SELECT(c < SOLVE_INF, c, SOLVE_INF);
  }
}

/* The sum with the terms of the level, in b's row for it, or `sum` itself when there are none. */
INLINE const int64_t *add_level(struct bucket *b, int level, const int64_t *sum) {
  int64_t *row = b->sum + (int64_t)level * b->width;
  for (int i = b->first[level]; i < b->first[level + 1]; i++) {
    add_row(row, sum, b->t[i].cost + b->t[i].at, b->n);
    sum = row;
  }
  return sum;
}

/* Terms of the level or later ones, to the next label of the level's neighbour. */
INLINE void advance(struct bucket *b, int level, int64_t labels) {
  for (int i = b->first[level]; i < b->nterm; i++)
    b->t[i].at += labels * b->step[i * b->k + level - 1];
}

/* Entries from i on, for LANES labels of the last neighbour from x on: the least over v's labels,
 * and the first that has it. n terms, which is a constant for the usual ones. */
INLINE void least_lanes(struct bucket *b, const int64_t *sum, int n, int x, int64_t i) {
  const struct term *t = &b->t[b->first[b->k]];
  lanes least = {0}, pick = {0}, now = {0};
  least += SOLVE_INF;
  for (int64_t a = 0; a < b->n; a++, now += 1) {
    lanes c = sum[a] + *(const lanes *)(t->cost + t->at + x + a * t->next);
    for (int j = 1; j < n; j++) {
      c += *(const lanes *)(t[j].cost + t[j].at + x + a * t[j].next);
      if (n > 2) c = SELECT(c < SOLVE_INF, c, SOLVE_INF);
    }
    lanes less = c < least;
    pick = SELECT(less, now, pick);
    least = SELECT(less, c, least);
  }
  *(lanes *)(b->table + i) = least;
  for (int q = 0; q < b->pick.bytes; q++)
    *(octet *)(b->label + q * b->pick.plane + i) = __builtin_convertvector(pick >> 8 * q, octet);
}

/* Entries from i on, for all labels of the last two neighbours. */
WIDE static void fill_last(struct bucket *b, const int64_t *sum, int64_t i) {
  int level = b->k - 1, n = b->nterm - b->first[b->k], size = b->size[level];
  int rows = level > 0 ? b->size[level - 1] : 1;
  for (int y = 0; y < rows; y++, i += size) {
    const int64_t *row = add_level(b, level, sum);
    for (int x = 0; x < size; x += LANES)
      if (n == 1)
        least_lanes(b, row, 1, x, i + x);
      else if (n == 2)
        least_lanes(b, row, 2, x, i + x);
      else
        least_lanes(b, row, n, x, i + x);
    if (level > 0) advance(b, level, 1);
  }
  if (level > 0) advance(b, level, -rows);
}

/* Entries from i on, for all labels of the neighbours from `level` on; returns the next one. */
static int64_t fill(struct bucket *b, int level, const int64_t *sum, int64_t i) {
  int rows = b->size[level - 1];
  if (level >= b->k - 1) {
    fill_last(b, sum, i);
    return i + (int64_t)rows * (level < b->k ? b->size[level] : 1);
  }
  for (int x = 0; x < rows; x++) {
    i = fill(b, level + 1, add_level(b, level, sum), i);
    advance(b, level, 1);
  }
  advance(b, level, -rows);
  return i;
}

static void fill_all(struct bucket *b) {
  if (b->k > 0) {
    fill(b, 1, b->sum, 0);
    return;
  }
  int least = 0;
  for (int a = 1; a < b->n; a++)
    if (b->sum[a] < b->sum[least]) least = a;
  b->table[0] = b->sum[least];
  for (int q = 0; q < b->pick.bytes; q++) b->label[q * b->pick.plane] = (uint8_t)(least >> 8 * q);
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

static bool add_fn(struct solve_work *w, const struct bucket *b) {
  struct solve_fn f = {.n = b->k, .scope = b->scope, .size = b->size, .cost = b->table};
  if (b->k > 2) f.heap = b->entries + LANES;
  if (b->k == 2 && !solve_fn_moves(w, &f)) return false;
  inherit(w, b, &f);
  w->fn.v[w->fn.n++] = f; /* solve_eliminate made room */
  for (int j = 0; j < b->k; j++)
    if (!VEC_PUSH(&w->var.v[b->scope[j]].fn, (int)w->fn.n - 1)) return false;
  return true;
}

/* Put the joint table in the place of v's functions. */
static enum fvm_status replace(struct solve_work *w, struct bucket *b, struct fvm_error *err) {
  if (b->k == 0) {
    if (b->table[0] >= SOLVE_INF) return solve_infeasible(err);
    w->c0 += b->table[0];
  } else if (b->k == 1) {
    struct solve_wvar *u = &w->var.v[b->scope[0]];
    for (int p = 0; p < u->n; p++) u->cost[p] = solve_add(u->cost[p], b->table[p]);
  } else if (b->k > 2 || !merge_pair(w, b, b->table)) {
    if (!add_fn(w, b)) return fvm_nomem(err);
  }
  for (int j = 0; j < b->k; j++) {
    solve_tidy(w, b->scope[j]);
    if (!solve_enqueue(w, b->scope[j])) return fvm_nomem(err);
  }
  return FVM_OK;
}

void solve_fn_end(struct solve_fn *f) {
  if (f->heap > 0) fvm_free(f->cost, (size_t)f->heap, sizeof *f->cost);
  f->heap = 0;
  f->gone = true;
}

enum fvm_status solve_eliminate(struct solve_work *w, int v, struct fvm_error *err) {
  struct bucket b;
  struct solve_wvar *x = &w->var.v[v];
  solve_tidy(w, v);
  /* Room for the function first, so that a table from the heap is never without an owner. */
  if (!solve_note(w, (struct solve_step){SOLVE_ELIMINATE, v, -1, 0, 0, 0}) ||
      !VEC_PUSH(&w->done, v) || !VEC_RESERVE(&w->fn, 1) || !open_bucket(w, v, &b))
    return fvm_nomem(err);
  fill_all(&b);
  w->ticks += b.entries * x->n;
  x->pick = b.pick;
  x->gone = true;
  for (int i = 0; i < b.nterm; i++) solve_fn_end(&w->fn.v[x->fn.v[i]]);
  return replace(w, &b, err);
}

/* ---- back-substitution ---- */

/* v's label, given those of the neighbours that it had: 0 when it had only one. */
static int picked(const struct solve_pick *p, const int *label) {
  int64_t i = 0;
  int a = 0;
  for (int j = 0; j < p->n; j++)
    i = i * p->size[j] + find(p->orig[j], p->size[j], label[p->scope[j]]);
  for (int q = 0; q < p->bytes; q++) a |= p->label[q * p->plane + i] << 8 * q;
  return a;
}

static void back_leaf(const struct solve_leaf *l, int *label) {
  int a = find(l->orig, l->labels, label[l->x]);
  for (int k = 0; k < l->n; k++) label[l->var[k]] = l->label[a * l->n + k];
}

void solve_back(const struct solve_work *w, int *label) {
  for (size_t i = w->done.n; i-- > 0;) {
    int v = w->done.v[i];
    if (v < 0)
      back_leaf(&w->leaf.v[-1 - v], label);
    else
      label[v] = w->var.v[v].orig[picked(&w->var.v[v].pick, label)];
  }
}
