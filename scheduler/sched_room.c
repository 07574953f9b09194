/* What labels take of memory, for the solver.
 *
 * A constant is stored once in each layout that some chosen label reads it in. What all labels of
 * some node agree on is there in any case; the rest is up to the solver:
 *
 *   read by one node     the bytes are room of that node's labels
 *   read by several      a variable: the set of layouts that are there. Its room is their bytes; a
 *                        reader's label goes only with sets that hold what it reads
 *
 * A table of which only rows are read takes those rows, unless it is there as a whole as well.
 * Scratch is reused by every step: a peak. */
#include "sched.h"

#include <stdlib.h>
#include <string.h>

/* More sets than this: only those of at most two layouts are offered. */
enum { MAX_SETS = 4096, MAX_TOGETHER = 2 };

/* A node that reads a constant. */
struct user {
  int node;
  uint64_t inputs; /* at these positions */
};
struct konst {
  int tensor;
  layout_set base; /* layouts that are there in any case */
  int64_t rows;    /* bytes of rows that are read in ROW */
  VEC(struct user) user;
};
struct rooms {
  struct sched *w;
  struct solve_net *net;
  const int *var;
  struct sched_room *out;
  VEC(struct konst) konst;
  int *of; /* by tensor: its constant, or -1 */
};

static const struct menu *menu_of(const struct rooms *x, int node) { return x->w->node[node].menu; }

/* ---- who reads what ---- */

static bool same_values(struct sched *w, int t, int u) {
  const struct tensor *x = sched_tensor(w, t), *y = sched_tensor(w, u);
  int64_t n = tensor_bytes(x);
  return n == tensor_bytes(y) && sched_hash(w, t) == sched_hash(w, u) &&
         (x->data == y->data || !memcmp(x->data, y->data, (size_t)n));
}

/* The constant that has a tensor's values; NULL when memory is out. */
static struct konst *konst_of(struct rooms *x, int tensor) {
  int *id = &x->of[tensor];
  for (size_t i = 0; i < x->konst.n && *id < 0; i++)
    if (same_values(x->w, x->konst.v[i].tensor, tensor)) *id = (int)i;
  if (*id < 0) {
    if (!VEC_PUSH(&x->konst, ((struct konst){.tensor = tensor}))) return NULL;
    *id = (int)x->konst.n - 1;
  }
  return x->konst.v ? &x->konst.v[*id] : NULL;
}

static bool add_user(struct rooms *x, int node, int input, int tensor) {
  struct konst *k = konst_of(x, tensor);
  if (!k) return false;
  if (!k->user.n || k->user.v[k->user.n - 1].node != node)
    if (!VEC_PUSH(&k->user, ((struct user){.node = node}))) return false;
  k->user.v[k->user.n - 1].inputs |= (uint64_t)1 << input;
  return true;
}

static bool find_users(struct rooms *x) {
  const struct graph *g = x->w->g;
  x->of = ARENA_NEW(&x->w->a, int, g->tensor.n);
  if (!x->of) return false;
  for (size_t t = 0; t < g->tensor.n; t++) x->of[t] = -1;
  for (int i = 0; i < (int)g->node.n; i++) {
    const struct node *n = &g->node.v[i];
    for (size_t k = 0; k < n->in.n && k < 64 && !n->dead; k++) {
      int t = n->in.v[k];
      if (t >= 0 && sched_tensor(x->w, t)->data && !add_user(x, i, (int)k, t)) return false;
    }
  }
  for (size_t i = 0; i < g->output.n; i++) {
    int t = g->output.v[i];
    if (!sched_tensor(x->w, t)->data) continue;
    struct konst *k = konst_of(x, t);
    if (!k) return false;
    k->base |= LAYOUT_BIT(LAYOUT_ROW);
  }
  return true;
}

/* Layouts in which a choice reads a constant as a whole. */
static layout_set wholes(const struct rooms *x, const struct user *u, const struct choice *c) {
  const struct sched_node *n = &x->w->node[u->node];
  layout_set set = 0;
  for (int i = 0; i < 64; i++) {
    if (!((u->inputs & c->reads) >> i & 1)) continue;
    bool as_rows = label_in(&c->label, i) == LAYOUT_ROW && !c->label.view;
    if (as_rows && opcall_row_bytes(&n->call, i) >= 0) continue;
    int tensor = x->w->g->node.v[u->node].in.v[i];
    set |= LAYOUT_BIT(sched_stored(x->w, tensor, label_in(&c->label, i)));
  }
  return set;
}

static int64_t rows(const struct rooms *x, const struct user *u) {
  int64_t sum = 0;
  for (int i = 0; i < 64; i++)
    if (u->inputs >> i & 1)
      sum += MIN(MAX(opcall_row_bytes(&x->w->node[u->node].call, i), 0), TENSOR_MAXBYTES);
  return sum;
}

/* What all choices of a reader agree on. */
static void find_base(const struct rooms *x, struct konst *k) {
  for (size_t i = 0; i < k->user.n; i++) {
    const struct menu *m = menu_of(x, k->user.v[i].node);
    layout_set all = ~(layout_set)0;
    for (int c = 0; c < m->n; c++) all &= wholes(x, &k->user.v[i], &m->choice[c]);
    if (m->n) k->base |= all;
    k->rows = MIN(k->rows + rows(x, &k->user.v[i]), TENSOR_MAXBYTES);
  }
}

/* ---- room ---- */

static int64_t stored_bytes(const struct rooms *x, const struct konst *k, enum layout l) {
  return ROUND_UP(layout_bytes(sched_tensor(x->w, k->tensor), l), (int64_t)FVM_ALIGN);
}

/* Bytes of a set of layouts on top of those that are there in any case; rows count where the whole
 * of ROW does not. */
static int64_t set_bytes(const struct rooms *x, const struct konst *k, layout_set set) {
  int64_t sum = 0, row = stored_bytes(x, k, LAYOUT_ROW);
  for (int l = 0; l < LAYOUT_COUNT; l++)
    if ((set & ~k->base) >> l & 1) sum += stored_bytes(x, k, (enum layout)l);
  bool whole = (set | k->base) >> LAYOUT_ROW & 1;
  return sum + (whole ? 0 : MIN(ROUND_UP(k->rows, (int64_t)FVM_ALIGN), row));
}

static layout_set options(const struct rooms *x, const struct konst *k, const struct user *u) {
  const struct menu *m = menu_of(x, u->node);
  layout_set set = 0;
  for (int c = 0; c < m->n; c++) set |= wholes(x, u, &m->choice[c]);
  return set & ~k->base;
}

static int64_t *sums_of(struct rooms *x, int var) {
  struct solve_room *r = &x->out->var.v[var];
  if (!r->sum) r->sum = ARENA_NEW(&x->net->arena, int64_t, x->net->var.v[var].n);
  return (int64_t *)(uintptr_t)r->sum;
}

static bool charge(struct rooms *x, const struct konst *k, const struct user *u) {
  const struct menu *m = menu_of(x, u->node);
  int64_t *sum = sums_of(x, x->var[u->node]);
  for (int c = 0; c < m->n && sum; c++) sum[c] += set_bytes(x, k, wholes(x, u, &m->choice[c]));
  return sum != NULL;
}

/* The sets that may be of use, in set[] (NULL: only counted). */
static int list_sets(layout_set all, int together, layout_set *set) {
  int n = 0;
  for (layout_set s = all;; s = (s - 1) & all) {
    if (__builtin_popcountll(s) <= together) {
      if (set) set[n] = s;
      n++;
    }
    if (s == 0) return n;
  }
}

static bool link_user(struct rooms *x, const struct konst *k, const struct user *u, int var,
                      const layout_set *set) {
  const struct menu *m = menu_of(x, u->node);
  int n = x->net->var.v[var].n, e = solve_add_edge(x->net, x->var[u->node], var);
  if (e < 0) return false;
  for (int c = 0; c < m->n; c++) {
    layout_set wants = wholes(x, u, &m->choice[c]) & ~k->base;
    for (int i = 0; i < n; i++)
      if (wants & ~set[i]) x->net->edge.v[e].cost[c * n + i] = SOLVE_INF;
  }
  return true;
}

/* A variable for a constant that several nodes read in layouts of their choice. */
static bool share(struct rooms *x, const struct konst *k, layout_set all, int readers) {
  int together = MIN(readers, __builtin_popcountll(all));
  if (list_sets(all, together, NULL) > MAX_SETS) {
    together = MAX_TOGETHER;
    x->out->limited = true;
  }
  int n = list_sets(all, together, NULL);
  layout_set *set = ARENA_NEW(&x->net->arena, layout_set, n);
  int var = set ? solve_add_var(x->net, n) : -1;
  if (var < 0 || !VEC_PUSH(&x->out->var, ((struct solve_room){NULL, NULL}))) return false;
  list_sets(all, together, set);
  int64_t *sum = sums_of(x, var);
  if (!sum) return false;
  for (int i = 0; i < n; i++) sum[i] = set_bytes(x, k, set[i]);
  for (size_t i = 0; i < k->user.n; i++)
    if (options(x, k, &k->user.v[i]) && !link_user(x, k, &k->user.v[i], var, set)) return false;
  return true;
}

static bool add_konst(struct rooms *x, struct konst *k) {
  layout_set all = 0;
  int readers = 0;
  const struct user *last = NULL;
  find_base(x, k);
  for (int l = 0; l < LAYOUT_COUNT; l++)
    if (k->base >> l & 1) x->out->base += stored_bytes(x, k, (enum layout)l);
  for (size_t i = 0; i < k->user.n; i++) {
    layout_set set = options(x, k, &k->user.v[i]);
    if (!set) continue;
    all |= set;
    readers++;
    last = &k->user.v[i];
  }
  if (readers > 1) return share(x, k, all, readers);
  if (readers == 1) return charge(x, k, last);
  x->out->base += set_bytes(x, k, 0);
  return true;
}

static bool add_scratch(struct rooms *x) {
  for (int i = 0; i < (int)x->w->g->node.n; i++) {
    if (x->var[i] < 0) continue;
    const struct menu *m = menu_of(x, i);
    int64_t *peak = ARENA_NEW(&x->net->arena, int64_t, m->n);
    if (!peak) return false;
    for (int c = 0; c < m->n; c++) peak[c] = m->choice[c].scratch;
    x->out->var.v[x->var[i]].peak = peak;
  }
  return true;
}

bool sched_add_room(struct sched *w, struct solve_net *net, const int *var, struct sched_room *r) {
  struct rooms x = {.w = w, .net = net, .var = var, .out = r};
  bool ok = VEC_RESERVE(&r->var, net->var.n) && find_users(&x);
  if (ok) memset(r->var.v, 0, net->var.n * sizeof *r->var.v);
  if (ok) r->var.n = net->var.n;
  if (ok) ok = add_scratch(&x);
  for (size_t i = 0; i < x.konst.n && ok; i++) ok = add_konst(&x, &x.konst.v[i]);
  for (size_t i = 0; i < x.konst.n; i++) VEC_FREE(&x.konst.v[i].user);
  VEC_FREE(&x.konst);
  return ok;
}
