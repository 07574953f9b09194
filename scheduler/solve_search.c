/* Hybrid best-first branch and bound, for what elimination cannot hold.
 *
 * Open nodes, each a list of decisions with a bound, wait in a heap. The one of the least bound is
 * taken and searched depth first, but only until a few branches have failed; what is left open goes
 * back into the heap. So good assignments are found early, and the least bound in the heap, which
 * holds for all assignments not seen, rises. */
#include <string.h>

#include "solve_soft.h"

enum {
  ROOT_SWEEPS = 40,
  NODE_SWEEPS = 3,
  STARTS = 8,
  MAXFAILS = 1 << 14, /* in one dive */
  MAXOPEN = 1 << 22   /* nodes in the heap; beyond it dives don't end */
};

struct decision {
  int parent, i, a; /* parent -1: the first one */
};
struct open {
  int64_t bound;
  int last, age; /* its last decision */
};
/* A node on the way down: what is left to be tried of its variable. */
struct frame {
  int i, last;
  size_t left, mark; /* where its costs are in search.left; the trail */
  size_t made;       /* decisions by then, and ... */
  int age;           /* ... open nodes: if there are no more, decisions can be forgotten */
};
struct search {
  struct soft s;
  VEC(struct decision) made;
  VEC(struct open) heap;
  VEC(struct frame) frame;
  VEC(int64_t) left;
  VEC(int) path;
  int *now, *best;
  int age, fails, most_fails;
  int64_t nodes, replayed, start; /* start: ticks before */
  bool stopped;
};

static void look_at_clock(struct search *x) {
  const struct solve_work *w = x->s.w;
  x->stopped |= x->s.nomem || solve_spent(w, x->s.limits, w->ticks - x->start);
}

/* ---- assignments ---- */

static int64_t plain_pair(const struct search *x, const struct soft_pair *p) {
  return p->cost[(int64_t)x->now[p->i] * p->nj + x->now[p->j]];
}

static int64_t plain_cost(const struct search *x) {
  int64_t sum = 0;
  for (int i = 0; i < x->s.n; i++) sum = solve_add(sum, x->s.at[i].plain[x->now[i]]);
  for (size_t k = 0; k < x->s.pair.n; k++) sum = solve_add(sum, plain_pair(x, &x->s.pair.v[k]));
  return sum;
}

static void accept(struct search *x) {
  int64_t c = plain_cost(x);
  if (c >= x->s.ub) return;
  x->s.ub = c;
  memcpy(x->best, x->now, (size_t)x->s.n * sizeof *x->best);
}

/* Cost of label a of variable i next to the labels that the others have now. A forbidden pair
 * counts as much as SOLVE_INF / 2^20, so that descents can cross them. */
static int64_t local_cost(struct search *x, int i, int a, int upto) {
  int64_t sum = x->s.at[i].plain[a];
  for (size_t k = 0; k < x->s.at[i].pair.n; k++) {
    const struct soft_pair *p = &x->s.pair.v[x->s.at[i].pair.v[k]];
    if (MAX(p->i, p->j) > upto) continue;
    int64_t c = p->i == i ? p->cost[(int64_t)a * p->nj + x->now[p->j]]
                          : p->cost[(int64_t)x->now[p->i] * p->nj + a];
    sum = solve_add(sum, MIN(c, SOLVE_INF >> 20));
  }
  x->s.w->ticks += (int64_t)x->s.at[i].pair.n;
  return sum;
}

static bool improve(struct search *x, int i, int upto, uint64_t noise) {
  int64_t least = SOLVE_INF;
  int was = x->now[i];
  for (int a = 0; a < x->s.at[i].n; a++) {
    int64_t c = local_cost(x, i, a, upto);
    if (noise)
      c += (int64_t)((double)c * (double)(fvm_hash(&a, sizeof a, noise + (uint64_t)i) >> 40) *
                     0x1p-24);
    if (c < least || (c == least && a == was)) least = c, x->now[i] = a;
  }
  return x->now[i] != was;
}

/* A first solution: greedy along the order, then single changes while they help; again with
 * distorted costs. */
static void descend(struct search *x) {
  for (uint64_t start = 0; start < STARTS && !x->stopped; start++) {
    for (int i = 0; i < x->s.n; i++) improve(x, i, i, start);
    bool moved = true;
    for (int round = 0; moved && round < 100 && !x->stopped; round++) {
      moved = false;
      look_at_clock(x);
      for (int i = 0; i < x->s.n; i++) moved |= improve(x, i, x->s.n, 0);
    }
    accept(x);
  }
}

/* ---- open nodes ---- */

static bool sooner(const struct open *a, const struct open *b) {
  return a->bound != b->bound ? a->bound < b->bound : a->age > b->age;
}

static void add_open(struct search *x, int64_t bound, int last) {
  struct open o = {bound, last, x->age++};
  if (!HEAP_PUSH(&x->heap, o, sooner)) x->s.nomem = true;
}

static int add_decision(struct search *x, int parent, int i, int a) {
  if (!VEC_PUSH(&x->made, ((struct decision){parent, i, a}))) x->s.nomem = true;
  return (int)x->made.n - 1;
}

/* All decisions up to this one. */
static void replay(struct search *x, int last) {
  x->path.n = 0;
  for (int d = last; d >= 0; d = x->made.v[d].parent)
    if (!VEC_PUSH(&x->path, d)) x->s.nomem = true;
  for (size_t k = x->path.n; k-- > 0;)
    soft_decide(&x->s, x->made.v[x->path.v[k]].i, x->made.v[x->path.v[k]].a);
  x->replayed += (int64_t)x->path.n;
}

/* ---- search ---- */

/* The variable with the fewest labels for its number of edges and failures; -1: all are decided. */
static int choose(const struct soft *s) {
  int best = -1;
  int64_t live = 0, weight = 0;
  for (int i = 0; i < s->n; i++) {
    int64_t n = 0, w = (int64_t)s->at[i].pair.n + s->at[i].weight;
    for (int a = 0; a < s->at[i].n; a++) n += soft_live(s, i, a);
    if (n >= 2 && (best < 0 || n * weight < live * w)) best = i, live = n, weight = w;
  }
  return best;
}

static int next_label(const int64_t *cost, int n) {
  int a = -1;
  for (int b = 0; b < n; b++)
    if (cost[b] < SOLVE_INF && (a < 0 || cost[b] < cost[a])) a = b;
  return a;
}

static void decided(struct search *x) {
  for (int i = 0; i < x->s.n; i++)
    for (int a = 0; a < x->s.at[i].n; a++)
      if (soft_live(&x->s, i, a)) x->now[i] = a;
  accept(x);
}

static bool add_frame(struct search *x, int i, int last) {
  const struct soft_var *v = &x->s.at[i];
  struct frame f = {i, last, x->left.n, x->s.trail.n, x->made.n, x->age};
  if (!VEC_RESERVE(&x->left, (size_t)v->n) || !VEC_PUSH(&x->frame, f)) return false;
  memcpy(x->left.v + x->left.n, v->unary, (size_t)v->n * sizeof *v->unary);
  x->left.n += (size_t)v->n;
  return true;
}

static void drop_frame(struct search *x) {
  const struct frame *f = &x->frame.v[--x->frame.n];
  x->left.n = f->left;
  if (x->age == f->age) x->made.n = f->made;
}

static bool is_over(const struct search *x) {
  return x->stopped || (x->fails > x->most_fails && x->heap.n < MAXOPEN);
}

/* At a node whose last decision was made: what is next below it. */
static void enter(struct search *x, int last, int64_t floor) {
  look_at_clock(x);
  x->nodes++;
  if (x->stopped) {
    add_open(x, MAX(floor, x->s.c0), last);
  } else if (!soft_propagate(&x->s, NODE_SWEEPS)) {
    x->fails++;
  } else {
    int i = choose(&x->s);
    if (i < 0)
      decided(x);
    else if (!add_frame(x, i, last))
      x->s.nomem = true;
  }
}

/* The next label of the top frame; false when there is none left to go down to. */
static bool next_branch(struct search *x, int64_t floor, int *last) {
  const struct frame *f = &x->frame.v[x->frame.n - 1];
  int64_t *left = x->left.v + f->left;
  soft_undo(&x->s, f->mark);
  int a = next_label(left, x->s.at[f->i].n);
  if (a < 0 || x->s.c0 + left[a] >= x->s.ub) {
    drop_frame(x);
    return false;
  }
  int64_t bound = MAX(floor, x->s.c0 + left[a]);
  left[a] = SOLVE_INF;
  *last = add_decision(x, f->last, f->i, a);
  if (is_over(x)) {
    add_open(x, bound, *last);
    return false;
  }
  soft_decide(&x->s, f->i, a);
  return true;
}

static void dive(struct search *x, const struct open *from) {
  int last = from->last;
  x->fails = 0;
  enter(x, last, from->bound);
  while (x->frame.n > 0 && !x->s.nomem)
    if (next_branch(x, from->bound, &last)) enter(x, last, from->bound);
}

/* Longer dives when too much of the work is getting back to open nodes, shorter ones when little
 * is. */
static void adapt(struct search *x) {
  if (x->replayed * 10 > x->nodes)
    x->most_fails = MIN(2 * x->most_fails, MAXFAILS);
  else if (x->replayed * 20 < x->nodes)
    x->most_fails = MAX(x->most_fails / 2, 1);
}

/* Returns the least bound of what is left open. */
static int64_t best_first(struct search *x) {
  size_t root = x->s.trail.n;
  x->most_fails = 16;
  add_open(x, x->s.c0, -1);
  while (x->heap.n > 0 && !x->stopped && !x->s.nomem) {
    struct open o = HEAP_POP(&x->heap, sooner);
    if (o.bound >= x->s.ub) return x->s.ub;
    soft_undo(&x->s, root);
    replay(x, o.last);
    dive(x, &o);
    adapt(x);
  }
  return x->heap.n > 0 ? x->heap.v[0].bound : x->s.ub;
}

static void close_search(struct search *x) {
  soft_close(&x->s);
  VEC_FREE(&x->made);
  VEC_FREE(&x->heap);
  VEC_FREE(&x->frame);
  VEC_FREE(&x->left);
  VEC_FREE(&x->path);
}

/* False when memory is out. p->cost stays SOLVE_INF when there is no assignment. */
static bool search(struct search *x, struct solve_part *p) {
  x->now = ARENA_NEW(x->s.w->a, int, p->n);
  x->best = ARENA_NEW(x->s.w->a, int, p->n);
  if (!x->now || !x->best) return false;
  p->cost = p->bound = SOLVE_INF;
  if (soft_propagate(&x->s, ROOT_SWEEPS)) {
    p->bound = x->s.c0;
    descend(x);
    soft_touch_all(&x->s);
    p->bound = soft_propagate(&x->s, ROOT_SWEEPS) ? best_first(x) : x->s.ub;
  }
  p->cost = x->s.ub;
  p->bound = MIN(p->bound, p->cost);
  p->optimal = p->bound == p->cost;
  return !x->s.nomem;
}

enum fvm_status solve_certify(struct solve_work *w, const int *order, int n,
                              const struct solve_limits *limits, int64_t *bound,
                              struct fvm_error *err) {
  struct soft s;
  bool ok = soft_open(&s, w, limits, order, n);
  *bound = 0;
  if (ok && soft_propagate(&s, ROOT_SWEEPS)) *bound = soft_certify(&s);
  ok = ok && !s.nomem;
  soft_close(&s);
  return ok ? FVM_OK : fvm_nomem(err);
}

enum fvm_status solve_search(struct solve_work *w, struct solve_part *p,
                             const struct solve_limits *limits, int *label, struct fvm_error *err) {
  struct search x = {.start = w->ticks};
  bool ok = soft_open(&x.s, w, limits, p->order, p->n) && search(&x, p);
  for (int i = 0; ok && i < p->n; i++) label[p->order[i]] = w->var.v[p->order[i]].orig[x.best[i]];
  close_search(&x);
  w->searched += w->ticks - x.start;
  if (!ok) return fvm_nomem(err);
  if (p->cost < SOLVE_INF) return FVM_OK;
  return x.stopped ? fvm_fail(err, FVM_EFAIL, "no choice of labels found within %lld ticks",
                              (long long)limits->ticks)
                   : fvm_fail(err, FVM_EFAIL, "no choice of labels satisfies every constraint");
}
