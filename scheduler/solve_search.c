/* Depth-first branch and bound with soft arc consistency, for what elimination cannot hold.
 *
 * The state is a reparametrisation of the costs that never changes the cost of an assignment:
 *   c0 + sum unary[i][a] + sum (cost[i][j](a, b) - di[a] - dj[b])
 * with every term >= 0, so c0 is a lower bound. Sweeps along a fixed order move cost from later
 * variables through their edges to earlier ones and from there into c0 (full directional arc
 * consistency); on a tree one sweep makes c0 the optimum. Only unary[], di[], dj[] and c0 change,
 * and a trail of old values undoes them. */
#include "solve_work.h"

#include <string.h>

enum { ROOT_SWEEPS = 40, NODE_SWEEPS = 3, STARTS = 8 };

struct pair {
  int i, j; /* positions in the order, i < j */
  int ni, nj;
  const int64_t *cost;              /* row-major by i */
  const int64_t *moved_i, *moved_j; /* by the reductions: struct solve_fn */
  int64_t *di, *dj;
};
struct place {
  int v, n; /* variable, labels */
  int64_t *unary;
  const int64_t *plain; /* costs at the start */
  VEC(int) pair;
};
struct change {
  int64_t *where, old;
};
struct search {
  struct solve_work *w;
  struct place *at;
  int n;
  VEC(struct pair) pair;
  VEC(struct change) trail;
  int64_t c0, ub, open; /* open: least bound of what the tick limit left unexplored */
  const struct solve_limits *limits;
  int *now, *best;
  bool stopped, nomem;
};

static void set(struct search *s, int64_t *where, int64_t value) {
  if (*where == value) return;
  if (!VEC_PUSH(&s->trail, ((struct change){where, *where}))) s->nomem = true;
  *where = value;
}

static void undo(struct search *s, size_t mark) {
  while (s->trail.n > mark) {
    struct change *c = &s->trail.v[--s->trail.n];
    *c->where = c->old;
  }
}

static bool is_live(const struct search *s, int i, int a) { return s->at[i].unary[a] < SOLVE_INF; }

static int64_t pair_cost(const struct pair *p, int a, int b) {
  int64_t c = p->cost[(int64_t)a * p->nj + b];
  return c >= SOLVE_INF ? SOLVE_INF : c - p->di[a] - p->dj[b];
}

/* ---- bounds ---- */

/* Move the least unary cost into c0 and drop what cannot beat the best; false: nothing is left. */
static bool settle(struct search *s, int i) {
  struct place *x = &s->at[i];
  int64_t least = SOLVE_INF;
  for (int a = 0; a < x->n; a++) least = MIN(least, x->unary[a]);
  if (solve_add(s->c0, least) >= s->ub) return false;
  set(s, &s->c0, s->c0 + least);
  for (int a = 0; a < x->n; a++) {
    if (!is_live(s, i, a)) continue;
    int64_t c = x->unary[a] - least;
    set(s, &x->unary[a], s->c0 + c >= s->ub ? SOLVE_INF : c);
  }
  return true;
}

/* Least of the pair's cost with b (plus b's own when extending) for each label a of the earlier
 * one: what may be moved to a. */
static int64_t reach(const struct search *s, const struct pair *p, int a) {
  int64_t least = SOLVE_INF;
  for (int b = 0; b < p->nj; b++)
    if (is_live(s, p->j, b))
      least = MIN(least, solve_add(pair_cost(p, a, b), s->at[p->j].unary[b]));
  return least;
}

/* Take from b's unary cost what some label a needs to be charged reach(a) in full. */
static void extend(struct search *s, const struct pair *p, int b, const int64_t *reached) {
  int64_t need = 0;
  for (int a = 0; a < p->ni; a++) {
    int64_t c = pair_cost(p, a, b);
    if (reached[a] < SOLVE_INF && c < SOLVE_INF) need = MAX(need, reached[a] - c);
  }
  if (need == 0) return;
  set(s, &p->dj[b], p->dj[b] - need);
  set(s, &s->at[p->j].unary[b], s->at[p->j].unary[b] - need);
}

static void charge(struct search *s, int i, int a, int64_t *delta, int64_t amount) {
  if (amount < SOLVE_INF) set(s, &delta[a], delta[a] + amount);
  set(s, &s->at[i].unary[a], solve_add(s->at[i].unary[a], amount));
}

/* From the later variable to the earlier one. */
static void pull(struct search *s, const struct pair *p, int64_t *reached) {
  for (int a = 0; a < p->ni; a++) reached[a] = is_live(s, p->i, a) ? reach(s, p, a) : SOLVE_INF;
  for (int b = 0; b < p->nj; b++)
    if (is_live(s, p->j, b)) extend(s, p, b, reached);
  for (int a = 0; a < p->ni; a++)
    if (is_live(s, p->i, a)) charge(s, p->i, a, p->di, reached[a]);
  s->w->ticks += 2 * (int64_t)p->ni * p->nj;
}

/* From the pair alone to the later variable. */
static void push(struct search *s, const struct pair *p) {
  for (int b = 0; b < p->nj; b++) {
    if (!is_live(s, p->j, b)) continue;
    int64_t least = SOLVE_INF;
    for (int a = 0; a < p->ni; a++)
      if (is_live(s, p->i, a)) least = MIN(least, pair_cost(p, a, b));
    charge(s, p->j, b, p->dj, least);
  }
  s->w->ticks += (int64_t)p->ni * p->nj;
}

static bool sweep(struct search *s, int64_t *reached) {
  for (int i = 0; i < s->n; i++)
    for (size_t k = 0; k < s->at[i].pair.n; k++)
      if (s->pair.v[s->at[i].pair.v[k]].i == i) push(s, &s->pair.v[s->at[i].pair.v[k]]);
  for (int j = s->n - 1; j >= 0; j--) {
    if (!settle(s, j)) return false;
    for (size_t k = 0; k < s->at[j].pair.n; k++)
      if (s->pair.v[s->at[j].pair.v[k]].j == j) pull(s, &s->pair.v[s->at[j].pair.v[k]], reached);
  }
  for (int i = 0; i < s->n; i++)
    if (!settle(s, i)) return false;
  return true;
}

/* false: the bound reaches the best known cost. */
static bool propagate(struct search *s, int sweeps) {
  int64_t before, *reached, most = 1;
  for (int i = 0; i < s->n; i++) most = MAX(most, s->at[i].n);
  reached = fvm_alloc((size_t)most, sizeof *reached);
  bool ok = reached != NULL;
  s->nomem |= !ok;
  do {
    before = s->c0;
    ok = ok && sweep(s, reached);
  } while (ok && s->c0 > before && --sweeps > 0);
  fvm_free(reached, (size_t)most, sizeof *reached);
  return ok;
}

/* ---- the proof of the first bound ---- */

/* Least of the shifted costs of the pair, over all labels. */
static int64_t least_pair(const struct pair *p) {
  int64_t least = SOLVE_INF;
  for (int a = 0; a < p->ni; a++)
    for (int b = 0; b < p->nj; b++) least = MIN(least, pair_cost(p, a, b));
  return least;
}

static bool note_shifts(struct search *s, int i, int j, const int64_t *d, const int64_t *moved) {
  bool ok = true;
  const int *orig = s->w->var.v[s->at[i].v].orig;
  for (int a = 0; a < s->at[i].n && ok; a++) {
    struct solve_step shift = {SOLVE_SHIFT, s->at[i].v, s->at[j].v, orig[a], -1, d[a]};
    shift.cost += moved[orig[a]];
    ok = shift.cost == 0 || VEC_PUSH(&s->w->shift, shift);
  }
  return ok;
}

/* What the shifts so far prove by themselves, without the labels that were dropped for them. */
static int64_t certify(struct search *s) {
  int64_t sum = 0;
  for (int i = 0; i < s->n; i++) {
    const struct place *x = &s->at[i];
    int64_t least = SOLVE_INF;
    for (int a = 0; a < x->n; a++) {
      int64_t c = x->plain[a];
      for (size_t k = 0; k < x->pair.n; k++) {
        const struct pair *p = &s->pair.v[x->pair.v[k]];
        c += p->i == i ? p->di[a] : p->dj[a];
      }
      least = MIN(least, c);
    }
    sum += least;
  }
  for (size_t k = 0; k < s->pair.n; k++) {
    const struct pair *p = &s->pair.v[k];
    sum += least_pair(p);
    s->nomem |= !note_shifts(s, p->i, p->j, p->di, p->moved_i) ||
                !note_shifts(s, p->j, p->i, p->dj, p->moved_j);
  }
  return sum;
}

/* ---- assignments ---- */

static int64_t plain_pair(const struct search *s, const struct pair *p) {
  return p->cost[(int64_t)s->now[p->i] * p->nj + s->now[p->j]];
}

static int64_t plain_cost(const struct search *s) {
  int64_t sum = 0;
  for (int i = 0; i < s->n; i++) sum = solve_add(sum, s->at[i].plain[s->now[i]]);
  for (size_t k = 0; k < s->pair.n; k++) sum = solve_add(sum, plain_pair(s, &s->pair.v[k]));
  return sum;
}

static void accept(struct search *s) {
  int64_t c = plain_cost(s);
  if (c >= s->ub) return;
  s->ub = c;
  memcpy(s->best, s->now, (size_t)s->n * sizeof *s->best);
}

/* Cost of label a of variable i next to the labels that the others have now. A forbidden pair
 * counts as much as SOLVE_INF / 2^20, so that descents can cross them. */
static int64_t local_cost(struct search *s, int i, int a, int upto) {
  int64_t sum = s->at[i].plain[a];
  for (size_t k = 0; k < s->at[i].pair.n; k++) {
    const struct pair *p = &s->pair.v[s->at[i].pair.v[k]];
    if (MAX(p->i, p->j) > upto) continue;
    int64_t c = p->i == i ? p->cost[(int64_t)a * p->nj + s->now[p->j]]
                          : p->cost[(int64_t)s->now[p->i] * p->nj + a];
    sum = solve_add(sum, MIN(c, SOLVE_INF >> 20));
  }
  s->w->ticks += (int64_t)s->at[i].pair.n;
  return sum;
}

static bool improve(struct search *s, int i, int upto, uint64_t noise) {
  int64_t least = SOLVE_INF;
  int was = s->now[i];
  for (int a = 0; a < s->at[i].n; a++) {
    int64_t c = local_cost(s, i, a, upto);
    if (noise)
      c += (int64_t)((double)c * (double)(fvm_hash(&a, sizeof a, noise + (uint64_t)i) >> 40) *
                     0x1p-24);
    if (c < least || (c == least && a == was)) least = c, s->now[i] = a;
  }
  return s->now[i] != was;
}

/* A first solution: greedy along the order, then single changes while they help; again with
 * distorted costs. */
static void descend(struct search *s) {
  for (uint64_t start = 0; start < STARTS; start++) {
    for (int i = 0; i < s->n; i++) improve(s, i, i, start);
    bool moved = true;
    for (int round = 0; moved && round < 100; round++) {
      moved = false;
      for (int i = 0; i < s->n; i++) moved |= improve(s, i, s->n, 0);
    }
    accept(s);
  }
}

/* ---- search ---- */

/* The variable with the fewest labels for its number of edges, or -1 when all are decided. */
static int choose(const struct search *s) {
  int best = -1;
  int64_t live = 0;
  for (int i = 0; i < s->n; i++) {
    int64_t n = 0;
    for (int a = 0; a < s->at[i].n; a++) n += is_live(s, i, a);
    if (n < 2) continue;
    if (best < 0 || n * (int64_t)s->at[best].pair.n < live * (int64_t)s->at[i].pair.n)
      best = i, live = n;
  }
  return best;
}

static int next_label(const struct search *s, int i, int64_t *unary) {
  int a = -1;
  for (int b = 0; b < s->at[i].n; b++)
    if (unary[b] < SOLVE_INF && (a < 0 || unary[b] < unary[a])) a = b;
  return a;
}

static void decided(struct search *s) {
  for (int i = 0; i < s->n; i++)
    for (int a = 0; a < s->at[i].n; a++)
      if (is_live(s, i, a)) s->now[i] = a;
  accept(s);
}

static void dfs(struct search *s, int sweeps);

static void branch(struct search *s, int i, int64_t *left) {
  struct place *x = &s->at[i];
  memcpy(left, x->unary, (size_t)x->n * sizeof *left);
  for (int a; (a = next_label(s, i, left)) >= 0; left[a] = SOLVE_INF) {
    int64_t bound = s->c0 + left[a];
    if (bound >= s->ub) return;
    if (s->stopped || s->nomem) { /* labels come in order of bound: this is the least left */
      s->open = MIN(s->open, bound);
      return;
    }
    size_t mark = s->trail.n;
    for (int b = 0; b < x->n; b++)
      if (b != a) set(s, &x->unary[b], SOLVE_INF);
    dfs(s, NODE_SWEEPS);
    undo(s, mark);
  }
}

static void dfs(struct search *s, int sweeps) {
  s->stopped |= s->w->ticks > s->limits->ticks;
  if (s->limits->stop && s->limits->stop(s->limits->arg)) s->stopped = true;
  if (s->stopped) {
    s->open = MIN(s->open, s->c0);
    return;
  }
  if (!propagate(s, sweeps)) return;
  int i = choose(s);
  if (i < 0) {
    decided(s);
    return;
  }
  int64_t *left = fvm_alloc((size_t)s->at[i].n, sizeof *left);
  if (left)
    branch(s, i, left);
  else
    s->nomem = true;
  fvm_free(left, (size_t)s->at[i].n, sizeof *left);
}

/* ---- set-up ---- */

static const int64_t *transposed(struct arena *a, const struct solve_fn *f) {
  int64_t *t = arena_alloc(a, (size_t)f->size[0], (size_t)f->size[1] * sizeof *t);
  for (int i = 0; t && i < f->size[0]; i++)
    for (int j = 0; j < f->size[1]; j++) t[j * f->size[0] + i] = f->cost[i * f->size[1] + j];
  return t;
}

static bool add_pair(struct search *s, const struct solve_fn *f, const int *position) {
  int p = position[f->scope[0]], q = position[f->scope[1]];
  struct pair x = {.i = MIN(p, q), .j = MAX(p, q), .cost = f->cost};
  x.ni = s->at[x.i].n, x.nj = s->at[x.j].n;
  x.moved_i = f->moved[p > q], x.moved_j = f->moved[p < q];
  if (p > q) x.cost = transposed(s->w->a, f);
  x.di = ARENA_NEW(s->w->a, int64_t, x.ni);
  x.dj = ARENA_NEW(s->w->a, int64_t, x.nj);
  int id = (int)s->pair.n;
  return x.cost && x.di && x.dj && VEC_PUSH(&s->pair, x) && VEC_PUSH(&s->at[x.i].pair, id) &&
         VEC_PUSH(&s->at[x.j].pair, id);
}

static bool add_place(struct search *s, int i, int v) {
  const struct solve_wvar *x = &s->w->var.v[v];
  int64_t *unary = ARENA_NEW(s->w->a, int64_t, x->n);
  if (!unary) return false;
  memcpy(unary, x->cost, (size_t)x->n * sizeof *unary);
  s->at[i] = (struct place){.v = v, .n = x->n, .unary = unary, .plain = x->cost};
  return true;
}

static bool set_up(struct search *s, const struct solve_part *p) {
  struct solve_work *w = s->w;
  int *position = ARENA_NEW(w->a, int, w->var.n);
  s->at = ARENA_NEW(w->a, struct place, p->n);
  s->now = ARENA_NEW(w->a, int, p->n);
  s->best = ARENA_NEW(w->a, int, p->n);
  if (!position || !s->at || !s->now || !s->best) return false;
  for (int i = 0; i < p->n; i++) {
    if (!add_place(s, i, p->order[i])) return false;
    position[p->order[i]] = i;
  }
  for (int i = 0; i < p->n; i++) {
    const struct solve_wvar *x = &w->var.v[p->order[i]];
    for (size_t k = 0; k < x->fn.n; k++) {
      const struct solve_fn *f = &w->fn.v[x->fn.v[k]];
      if (!f->gone && f->scope[0] == p->order[i] && !add_pair(s, f, position)) return false;
    }
  }
  return true;
}

enum fvm_status solve_search(struct solve_work *w, struct solve_part *p,
                             const struct solve_limits *limits, int *label, struct fvm_error *err) {
  struct search s = {.w = w, .n = p->n, .ub = SOLVE_INF, .open = SOLVE_INF};
  s.limits = limits;
  bool ok = set_up(&s, p);
  if (ok && propagate(&s, ROOT_SWEEPS)) {
    p->certified = certify(&s);
    descend(&s);
    dfs(&s, ROOT_SWEEPS);
    ok = !s.nomem;
  }
  p->cost = s.ub;
  p->bound = MIN(s.ub, s.open);
  p->optimal = p->bound == p->cost;
  for (int i = 0; ok && i < p->n; i++) label[p->order[i]] = w->var.v[p->order[i]].orig[s.best[i]];
  for (int i = 0; s.at && i < p->n; i++) VEC_FREE(&s.at[i].pair);
  VEC_FREE(&s.pair);
  VEC_FREE(&s.trail);
  if (!ok) return fvm_nomem(err);
  if (p->cost < SOLVE_INF) return FVM_OK;
  return s.stopped ? fvm_fail(err, FVM_EFAIL, "no choice of labels found within %lld ticks",
                              (long long)limits->ticks)
                   : fvm_fail(err, FVM_EFAIL, "no choice of labels satisfies every constraint");
}
