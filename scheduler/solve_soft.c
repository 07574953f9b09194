/* Soft arc consistency. Contract: solve_soft.h. */
#include "solve_soft.h"

#include <string.h>

void soft_set(struct soft *s, int64_t *where, int64_t value) {
  if (*where == value) return;
  if (!VEC_PUSH(&s->trail, ((struct soft_change){where, *where}))) s->nomem = true;
  *where = value;
}

void soft_undo(struct soft *s, size_t mark) {
  while (s->trail.n > mark) {
    struct soft_change *c = &s->trail.v[--s->trail.n];
    *c->where = c->old;
  }
  for (int i = 0; i < s->n; i++) s->at[i].grew = s->at[i].lost = false;
  for (size_t k = 0; k < s->pair.n; k++) s->pair.v[k].stale = false;
}

void soft_decide(struct soft *s, int i, int a) {
  for (int b = 0; b < s->at[i].n; b++)
    if (b != a) soft_set(s, &s->at[i].unary[b], SOLVE_INF);
  s->at[i].grew = s->at[i].lost = true;
}

void soft_touch_all(struct soft *s) {
  for (int i = 0; i < s->n; i++) s->at[i].grew = s->at[i].lost = true;
}

static int64_t pair_cost(const struct soft_pair *p, int a, int b) {
  int64_t c = p->cost[(int64_t)a * p->nj + b];
  return c >= SOLVE_INF ? SOLVE_INF : c - p->di[a] - p->dj[b];
}

/* ---- bounds ---- */

/* Move the least unary cost into c0 and drop what cannot beat the best; false: nothing is left. */
static bool settle(struct soft *s, int i) {
  struct soft_var *x = &s->at[i];
  int64_t least = SOLVE_INF;
  for (int a = 0; a < x->n; a++) least = MIN(least, x->unary[a]);
  if (solve_add(s->c0, least) >= s->ub) {
    x->weight++;
    return false;
  }
  soft_set(s, &s->c0, s->c0 + least);
  for (int a = 0; a < x->n; a++) {
    if (!soft_live(s, i, a)) continue;
    int64_t c = x->unary[a] - least;
    bool dies = s->c0 + c >= s->ub;
    x->grew |= dies, x->lost |= dies;
    soft_set(s, &x->unary[a], dies ? SOLVE_INF : c);
  }
  return true;
}

static void charge(struct soft *s, int i, int a, int64_t *delta, int64_t amount) {
  if (amount == 0) return;
  s->at[i].grew = true;
  s->at[i].lost |= amount >= SOLVE_INF;
  if (amount < SOLVE_INF) soft_set(s, &delta[a], delta[a] + amount);
  soft_set(s, &s->at[i].unary[a], solve_add(s->at[i].unary[a], amount));
}

static int live_labels(const struct soft *s, int i, int *list) {
  int n = 0;
  for (int a = 0; a < s->at[i].n; a++)
    if (soft_live(s, i, a)) list[n++] = a;
  return n;
}

/* What is forbidden stays far above any sum of costs when some are taken from it. */
static int64_t or_forbidden(int64_t c) { return c >= SOLVE_INF / 2 ? SOLVE_INF : c; }

/* From the later variable to the earlier one: to each label a the least of its costs with b and of
 * b's own, to which end b's own costs go into the pair as far as some a needs them. */
static void pull(struct soft *s, struct soft_pair *p) {
  int na = live_labels(s, p->i, s->live_i), nb = live_labels(s, p->j, s->live_j);
  const int *la = s->live_i, *lb = s->live_j;
  int64_t *own = s->scratch_i, *need = s->scratch_j;
  for (int k = 0; k < nb; k++) own[k] = s->at[p->j].unary[lb[k]] - p->dj[lb[k]], need[k] = 0;
  for (int x = 0; x < na; x++) {
    const int64_t *row = p->cost + (int64_t)la[x] * p->nj;
    int64_t least = SOLVE_INF;
    for (int k = 0; k < nb; k++) least = MIN(least, row[lb[k]] + own[k]);
    s->reached[x] = or_forbidden(least);
    if (s->reached[x] >= SOLVE_INF) continue;
    for (int k = 0; k < nb; k++) need[k] = MAX(need[k], least - row[lb[k]] + p->dj[lb[k]]);
  }
  for (int k = 0; k < nb; k++) {
    if (need[k] == 0) continue;
    p->stale = true;
    soft_set(s, &p->dj[lb[k]], p->dj[lb[k]] - need[k]);
    soft_set(s, &s->at[p->j].unary[lb[k]], s->at[p->j].unary[lb[k]] - need[k]);
  }
  for (int x = 0; x < na; x++)
    charge(s, p->i, la[x], p->di,
           s->reached[x] >= SOLVE_INF ? SOLVE_INF : s->reached[x] - p->di[la[x]]);
  s->w->ticks += 2 * (int64_t)na * nb;
}

/* From the pair alone to the later variable. */
static void push(struct soft *s, const struct soft_pair *p) {
  int na = live_labels(s, p->i, s->live_i), nb = live_labels(s, p->j, s->live_j);
  const int *la = s->live_i, *lb = s->live_j;
  int64_t *least = s->scratch_j;
  for (int k = 0; k < nb; k++) least[k] = SOLVE_INF;
  for (int x = 0; x < na; x++) {
    const int64_t *row = p->cost + (int64_t)la[x] * p->nj;
    int64_t d = p->di[la[x]];
    for (int k = 0; k < nb; k++) least[k] = MIN(least[k], row[lb[k]] - d);
  }
  for (int k = 0; k < nb; k++) {
    int64_t c = or_forbidden(least[k]);
    charge(s, p->j, lb[k], p->dj, c >= SOLVE_INF ? SOLVE_INF : c - p->dj[lb[k]]);
  }
  s->w->ticks += (int64_t)na * nb;
}

/* From i alone through its pairs to the later variables. */
static void push_all(struct soft *s, int i) {
  struct soft_var *x = &s->at[i];
  for (size_t k = 0; k < x->pair.n; k++) {
    struct soft_pair *p = &s->pair.v[x->pair.v[k]];
    if (p->i != i || (!x->lost && !p->stale)) continue;
    p->stale = false;
    push(s, p);
  }
  x->lost = false;
}

static void pull_all(struct soft *s, int j) {
  struct soft_var *x = &s->at[j];
  for (size_t k = 0; k < x->pair.n && x->grew; k++)
    if (s->pair.v[x->pair.v[k]].j == j) pull(s, &s->pair.v[x->pair.v[k]]);
  x->grew = false;
}

static bool sweep(struct soft *s) {
  for (int i = 0; i < s->n; i++) push_all(s, i);
  for (int j = s->n - 1; j >= 0; j--) {
    if (!settle(s, j)) return false;
    pull_all(s, j);
  }
  for (int i = 0; i < s->n; i++)
    if (!settle(s, i)) return false;
  s->w->ticks += s->n;
  return true;
}

bool soft_propagate(struct soft *s, int sweeps) {
  int64_t before;
  do {
    before = s->c0;
    if (!sweep(s)) return false;
  } while (s->c0 > before && --sweeps > 0 && !solve_stopped(s->limits));
  return true;
}

/* ---- the proof of the first bound ---- */

/* Least of the shifted costs of the pair, over all labels. */
static int64_t least_pair(const struct soft_pair *p) {
  int64_t least = SOLVE_INF;
  for (int a = 0; a < p->ni; a++)
    for (int b = 0; b < p->nj; b++) least = MIN(least, pair_cost(p, a, b));
  return least;
}

static bool note_shifts(struct soft *s, int i, int j, const int64_t *d, const int64_t *moved) {
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
int64_t soft_certify(struct soft *s) {
  int64_t sum = 0;
  for (int i = 0; i < s->n; i++) {
    const struct soft_var *x = &s->at[i];
    int64_t least = SOLVE_INF;
    for (int a = 0; a < x->n; a++) {
      int64_t c = x->plain[a];
      for (size_t k = 0; k < x->pair.n; k++) {
        const struct soft_pair *p = &s->pair.v[x->pair.v[k]];
        c += p->i == i ? p->di[a] : p->dj[a];
      }
      least = MIN(least, c);
    }
    sum += least;
  }
  for (size_t k = 0; k < s->pair.n; k++) {
    const struct soft_pair *p = &s->pair.v[k];
    sum += least_pair(p);
    s->nomem |= !note_shifts(s, p->i, p->j, p->di, p->moved_i) ||
                !note_shifts(s, p->j, p->i, p->dj, p->moved_j);
  }
  return sum;
}

/* ---- set-up ---- */

static const int64_t *transposed(struct arena *a, const struct solve_fn *f) {
  int64_t *t = arena_alloc(a, (size_t)f->size[0], (size_t)f->size[1] * sizeof *t);
  for (int i = 0; t && i < f->size[0]; i++)
    for (int j = 0; j < f->size[1]; j++) t[j * f->size[0] + i] = f->cost[i * f->size[1] + j];
  return t;
}

static bool add_pair(struct soft *s, const struct solve_fn *f, const int *position) {
  int p = position[f->scope[0]], q = position[f->scope[1]];
  struct soft_pair x = {.stale = true, .i = MIN(p, q), .j = MAX(p, q), .cost = f->cost};
  x.ni = s->at[x.i].n, x.nj = s->at[x.j].n;
  x.moved_i = f->moved[p > q], x.moved_j = f->moved[p < q];
  if (p > q) x.cost = transposed(s->w->a, f);
  x.di = ARENA_NEW(s->w->a, int64_t, x.ni);
  x.dj = ARENA_NEW(s->w->a, int64_t, x.nj);
  int id = (int)s->pair.n;
  return x.cost && x.di && x.dj && VEC_PUSH(&s->pair, x) && VEC_PUSH(&s->at[x.i].pair, id) &&
         VEC_PUSH(&s->at[x.j].pair, id);
}

static bool add_place(struct soft *s, int i, int v) {
  const struct solve_wvar *x = &s->w->var.v[v];
  int64_t *unary = ARENA_NEW(s->w->a, int64_t, x->n);
  if (!unary) return false;
  memcpy(unary, x->cost, (size_t)x->n * sizeof *unary);
  s->at[i] = (struct soft_var){.v = v, .n = x->n, .unary = unary, .plain = x->cost};
  return true;
}

bool soft_open(struct soft *s, struct solve_work *w, const struct solve_limits *limits,
               const int *order, int n) {
  int64_t most = 1;
  int *position = ARENA_NEW(w->a, int, w->var.n);
  *s = (struct soft){.w = w, .limits = limits, .n = n, .ub = SOLVE_INF};
  s->at = ARENA_NEW(w->a, struct soft_var, n);
  if (!position || !s->at) return false;
  for (int i = 0; i < n; i++) {
    if (!add_place(s, i, order[i])) return false;
    position[order[i]] = i;
    most = MAX(most, s->at[i].n);
  }
  for (int i = 0; i < n; i++) {
    const struct solve_wvar *x = &w->var.v[order[i]];
    for (size_t k = 0; k < x->fn.n; k++) {
      const struct solve_fn *f = &w->fn.v[x->fn.v[k]];
      if (!f->gone && f->scope[0] == order[i] && !add_pair(s, f, position)) return false;
    }
  }
  s->reached = ARENA_NEW(w->a, int64_t, most);
  s->scratch_i = ARENA_NEW(w->a, int64_t, most);
  s->scratch_j = ARENA_NEW(w->a, int64_t, most);
  s->live_i = ARENA_NEW(w->a, int, most);
  s->live_j = ARENA_NEW(w->a, int, most);
  soft_touch_all(s);
  return s->reached && s->scratch_i && s->scratch_j && s->live_i && s->live_j;
}

void soft_close(struct soft *s) {
  for (int i = 0; s->at && i < s->n; i++) VEC_FREE(&s->at[i].pair);
  VEC_FREE(&s->pair);
  VEC_FREE(&s->trail);
}
