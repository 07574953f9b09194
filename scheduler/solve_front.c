/* Networks with a limit on a sum: elimination with lists of points instead of single costs.
 * Contract: solve_work.h.
 *
 * A point is what the variables eliminated so far can cost and take together, given the labels of
 * their neighbours. Three rules keep lists short:
 *
 *   beaten    another point of the list costs no more and takes no more
 *   too much  the point alone is over the limit
 *   dear      in reduced cost, (cost << shift) + price * sum, the point is `slack` above the least
 *             of its list. All assignments are at least at `floor`, the best one through this list
 *             too, so one through this point is at floor + slack or above, and if it keeps the
 *             limit costs at least (floor - price * limit + slack) >> shift.
 *
 * With the price of the Lagrangian dual the last rule leaves a thin band. What is dropped beyond
 * it, for want of room, lowers the bound by the same reasoning. */
#include "solve_work.h"

#include <stdlib.h>
#include <string.h>

enum { TABLE_ENTRIES = 1 << 20 };

struct point {
  int64_t cost, sum;
  int made; /* how: index of a struct step */
};
/* A label given to a variable (right -1), or two points put together. */
struct step {
  int left, right; /* or variable and -1 - label */
};
struct list {
  struct point *p;
  int n;
};
/* Over the variables of its scope: an edge of the network has costs, a message has lists. */
struct fn {
  int n;
  int *scope;
  const int64_t *cost;
  struct list *list;
  bool gone;
};
struct front {
  struct solve_front *f;
  const struct solve_net *net;
  struct arena a;
  VEC(struct fn) fn;
  VEC(int) * of; /* functions of each variable */
  VEC(struct step) step;
  VEC(struct point) now, next, all, spare; /* lists that are being made */
  VEC(int) run, begin;                     /* where lists begin in `next`, in `all` */
  int64_t *size;                           /* of each variable's joint table; 0: not known */
  int *at;                                 /* current labels */
  bool *out;
  int64_t band,
      dropped;      /* slack: of what cannot matter, least of what was dropped though it could */
  struct list rest; /* points of the parts that are done */
};

static int64_t reduced(const struct front *x, const struct point *p) {
  return (p->cost << x->f->shift) + x->f->price * p->sum;
}

static int labels(const struct front *x, int v) { return x->net->var.v[v].n; }

/* ---- lists ---- */

static int by_size(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

/* The slack that the keep-th best of n points has, all above it to be dropped. */
static int64_t cut_at(const struct front *x, const struct point *p, int n, int64_t least) {
  int64_t *slack = fvm_alloc((size_t)n, sizeof *slack), cut = -1;
  for (int i = 0; slack && i < n; i++) slack[i] = reduced(x, &p[i]) - least;
  if (slack) {
    qsort(slack, (size_t)n, sizeof *slack, by_size);
    cut = slack[x->f->keep - 1];
  }
  fvm_free(slack, (size_t)n, sizeof *slack);
  return cut;
}

/* Two lists into one, each by rising sum and falling cost, less what is beaten. */
static int merge(const struct point *p, int n, const struct point *q, int m, struct point *out) {
  int64_t cheapest = INT64_MAX;
  int made = 0;
  for (int i = 0, j = 0; i < n || j < m;) {
    bool first =
        j == m ||
        (i < n && (p[i].sum < q[j].sum || (p[i].sum == q[j].sum && p[i].cost <= q[j].cost)));
    const struct point *x = first ? &p[i++] : &q[j++];
    if (x->cost >= cheapest) continue;
    cheapest = x->cost;
    out[made++] = *x;
  }
  return made;
}

/* All runs in x->next into one, in place; returns its length, -1 when memory is out. */
static int merge_runs(struct front *x) {
  size_t nrun = x->run.n;
  if (nrun == 0) return 0;
  if (!VEC_PUSH(&x->run, (int)x->next.n) || !VEC_RESERVE(&x->spare, x->next.n)) return -1;
  int *run = x->run.v;
  while (nrun > 1) {
    size_t kept = 0;
    int n = 0;
    for (size_t i = 0; i < nrun; i += 2) {
      int middle = run[i + 1], end = i + 1 < nrun ? run[i + 2] : middle, at = n;
      n += merge(x->next.v + run[i], middle - run[i], x->next.v + middle, end - middle,
                 x->spare.v + n);
      run[kept++] = at;
    }
    run[kept] = n;
    nrun = kept;
    struct point *v = x->next.v; /* both have the room that was asked for */
    size_t cap = x->next.cap;
    x->next.v = x->spare.v, x->next.cap = x->spare.cap;
    x->spare.v = v, x->spare.cap = cap;
  }
  return run[1] - run[0];
}

/* Of points by rising sum, in place, what is not too dear and not too much; returns how many are
 * left, -1 when memory is out. */
static int prune(struct front *x, struct point *p, int n) {
  int64_t least = INT64_MAX;
  int kept = 0;
  for (int i = 0; i < n; i++) least = MIN(least, reduced(x, &p[i]));
  for (int i = 0; i < n; i++)
    if (reduced(x, &p[i]) - least < x->band) p[kept++] = p[i];
  if (kept <= x->f->keep) return kept;
  int64_t cut = cut_at(x, p, kept, least);
  if (cut < 0) return -1;
  int chosen = 0;
  for (int i = 0; i < kept; i++) {
    int64_t slack = reduced(x, &p[i]) - least;
    if (slack <= cut && chosen < x->f->keep)
      p[chosen++] = p[i];
    else
      x->dropped = MIN(x->dropped, slack);
  }
  return chosen;
}

static int merge_and_prune(struct front *x) {
  int n = merge_runs(x);
  return n < 0 ? n : prune(x, x->next.v, n);
}

static bool add_step(struct front *x, int left, int right, int *made) {
  *made = (int)x->step.n;
  return x->step.n < INT32_MAX && VEC_PUSH(&x->step, ((struct step){left, right}));
}

static int64_t least_reduced(const struct front *x, const struct point *p, int n) {
  int64_t least = n ? INT64_MAX : 0;
  for (int i = 0; i < n; i++) least = MIN(least, reduced(x, &p[i]));
  return least;
}

/* A run for each point of x->now: with every point of l. */
static bool pair(struct front *x, const struct list *l) {
  int64_t least = least_reduced(x, x->now.v, (int)x->now.n) + least_reduced(x, l->p, l->n);
  x->next.n = x->run.n = 0;
  for (size_t i = 0; i < x->now.n; i++) {
    const struct point p = x->now.v[i];
    size_t begin = x->next.n;
    if (!VEC_RESERVE(&x->next, (size_t)l->n)) return false;
    for (int j = 0; j < l->n; j++) {
      const struct point *q = &l->p[j];
      struct point sum = {p.cost + q->cost, p.sum + q->sum, (int)i * l->n + j};
      if (sum.sum > x->f->limit) break;
      if (reduced(x, &sum) - least < x->band) x->next.v[x->next.n++] = sum;
    }
    if (x->next.n > begin && !VEC_PUSH(&x->run, (int)begin)) return false;
  }
  return true;
}

/* x->now := every point of it with every point of l. */
static bool join(struct front *x, const struct list *l) {
  x->f->ticks += (int64_t)x->now.n * l->n;
  int n = pair(x, l) ? merge_and_prune(x) : -1;
  if (n < 0) return false;
  for (int k = 0; k < n; k++) {
    struct point *p = &x->next.v[k];
    if (!add_step(x, x->now.v[p->made / l->n].made, l->p[p->made % l->n].made, &p->made))
      return false;
  }
  x->now.n = 0;
  if (!VEC_RESERVE(&x->now, (size_t)n)) return false;
  if (n) memcpy(x->now.v, x->next.v, (size_t)n * sizeof *x->now.v);
  x->now.n = (size_t)n;
  return true;
}

static bool store(struct front *x, const struct point *p, int n, struct list *l) {
  *l = (struct list){ARENA_NEW(&x->a, struct point, n), n};
  if (!l->p) return false;
  if (n) memcpy(l->p, p, (size_t)n * sizeof *p);
  return true;
}

/* ---- elimination ---- */

static int64_t place(const struct front *x, const struct fn *f) {
  int64_t i = 0;
  for (int k = 0; k < f->n; k++) i = i * labels(x, f->scope[k]) + x->at[f->scope[k]];
  return i;
}

/* The points of v's functions with its label as it is, in x->now; none when that is forbidden. */
static bool label_points(struct front *x, int v) {
  struct point p = {x->net->var.v[v].cost[x->at[v]], x->f->sum[v][x->at[v]], 0};
  x->now.n = 0;
  x->f->ticks++;
  for (size_t k = 0; k < x->of[v].n; k++) {
    const struct fn *f = &x->fn.v[x->of[v].v[k]];
    if (f->cost) p.cost = solve_add(p.cost, f->cost[place(x, f)]);
  }
  if (p.cost >= SOLVE_INF || p.sum > x->f->limit) return true;
  if (!add_step(x, v, -1 - x->at[v], &p.made) || !VEC_PUSH(&x->now, p)) return false;
  for (size_t k = 0; k < x->of[v].n; k++) {
    const struct fn *f = &x->fn.v[x->of[v].v[k]];
    if (f->list && !join(x, &f->list[place(x, f)])) return false;
  }
  return true;
}

/* One entry of the message: the union over v's labels. */
static bool entry(struct front *x, int v, struct list *l) {
  x->all.n = x->begin.n = 0;
  for (x->at[v] = 0; x->at[v] < labels(x, v); x->at[v]++) {
    if (!label_points(x, v) || !VEC_RESERVE(&x->all, x->now.n)) return false;
    if (x->now.n && !VEC_PUSH(&x->begin, (int)x->all.n)) return false;
    if (x->now.n) memcpy(x->all.v + x->all.n, x->now.v, x->now.n * sizeof *x->now.v);
    x->all.n += x->now.n;
  }
  x->next.n = x->run.n = 0;
  if (!VEC_RESERVE(&x->next, x->all.n) || !VEC_RESERVE(&x->run, x->begin.n)) return false;
  if (x->all.n) memcpy(x->next.v, x->all.v, x->all.n * sizeof *x->next.v);
  if (x->begin.n) memcpy(x->run.v, x->begin.v, x->begin.n * sizeof *x->run.v);
  x->next.n = x->all.n, x->run.n = x->begin.n;
  int n = merge_and_prune(x);
  return n >= 0 && store(x, x->next.v, n, l);
}

static void tidy(struct front *x, int v) {
  size_t n = 0;
  for (size_t k = 0; k < x->of[v].n; k++)
    if (!x->fn.v[x->of[v].v[k]].gone) x->of[v].v[n++] = x->of[v].v[k];
  x->of[v].n = n;
}

/* v's neighbours in scope (may be NULL to count only); returns entries of the joint table. */
static int64_t neighbours(struct front *x, int v, int *scope, int *n) {
  int64_t entries = 1;
  *n = 0;
  for (size_t k = 0; k < x->of[v].n; k++) {
    const struct fn *f = &x->fn.v[x->of[v].v[k]];
    for (int i = 0; i < f->n; i++) {
      int u = f->scope[i];
      if (u == v || x->at[u] == v) continue; /* at[] marks those already seen */
      x->at[u] = v;
      if (scope) scope[*n] = u;
      ++*n;
      entries = MIN(entries * labels(x, u), (int64_t)1 << 40);
    }
  }
  for (size_t k = 0; k < x->of[v].n; k++) {
    const struct fn *f = &x->fn.v[x->of[v].v[k]];
    for (int i = 0; i < f->n; i++) x->at[f->scope[i]] = -1;
  }
  return entries;
}

static bool next_labels(struct front *x, const int *scope, int n) {
  for (int i = n - 1; i >= 0; i--) {
    if (++x->at[scope[i]] < labels(x, scope[i])) return true;
    x->at[scope[i]] = 0;
  }
  return false;
}

static bool too_far(struct front *x) { return x->f->gave_up |= x->f->ticks > x->f->max_ticks; }

static bool fill_message(struct front *x, int v, struct fn *m) {
  int64_t e = 0;
  for (int i = 0; i < m->n; i++) x->at[m->scope[i]] = 0;
  do {
    if (!entry(x, v, &m->list[e++])) return false;
  } while (next_labels(x, m->scope, m->n) && !too_far(x));
  for (int i = 0; i < m->n; i++) x->at[m->scope[i]] = -1;
  x->at[v] = -1;
  return true;
}

/* A part of the network is done: its points with those of the other parts. */
static bool close_part(struct front *x, const struct list *l) {
  x->now.n = 0;
  if (!VEC_RESERVE(&x->now, (size_t)l->n)) return false;
  if (l->n) memcpy(x->now.v, l->p, (size_t)l->n * sizeof *l->p);
  x->now.n = (size_t)l->n;
  if (x->rest.p && !join(x, &x->rest)) return false;
  return store(x, x->now.v, (int)x->now.n, &x->rest);
}

static bool eliminate(struct front *x, int v, int64_t entries) {
  struct fn m = {0};
  neighbours(x, v, NULL, &m.n);
  m.scope = ARENA_NEW(&x->a, int, m.n);
  m.list = ARENA_NEW(&x->a, struct list, entries);
  if (!m.scope || !m.list) return false;
  neighbours(x, v, m.scope, &m.n);
  if (!fill_message(x, v, &m)) return false;
  for (size_t k = 0; k < x->of[v].n; k++) x->fn.v[x->of[v].v[k]].gone = true;
  x->out[v] = true;
  if (m.n == 0) return close_part(x, &m.list[0]);
  for (int i = 0; i < m.n; i++) {
    x->size[m.scope[i]] = 0;
    tidy(x, m.scope[i]);
    if (!VEC_PUSH(&x->of[m.scope[i]], (int)x->fn.n)) return false;
  }
  return VEC_PUSH(&x->fn, m);
}

/* The variable whose elimination makes the smallest table, and the entries of its message. */
static int smallest(struct front *x, int64_t *entries) {
  int best = -1, n;
  for (int v = 0; v < (int)x->net->var.n; v++) {
    if (x->out[v]) continue;
    if (!x->size[v]) x->size[v] = neighbours(x, v, NULL, &n) * MAX(labels(x, v), 1);
    if (best < 0 || x->size[v] < x->size[best]) best = v;
  }
  x->f->gave_up |= x->size[best] > TABLE_ENTRIES;
  *entries = x->size[best] / MAX(labels(x, best), 1);
  return best;
}

/* ---- begin and end ---- */

static bool set_up(struct front *x) {
  const struct solve_net *net = x->net;
  x->of = arena_alloc(&x->a, net->var.n, sizeof *x->of);
  x->at = ARENA_NEW(&x->a, int, net->var.n);
  x->out = ARENA_NEW(&x->a, bool, net->var.n);
  x->size = ARENA_NEW(&x->a, int64_t, net->var.n);
  if (!x->of || !x->at || !x->out || !x->size) return false;
  for (size_t v = 0; v < net->var.n; v++) x->at[v] = -1;
  for (size_t i = 0; i < net->edge.n; i++) {
    const struct solve_edge *e = &net->edge.v[i];
    struct fn f = {.n = 2, .scope = ARENA_NEW(&x->a, int, 2), .cost = e->cost};
    if (!f.scope) return false;
    f.scope[0] = e->u, f.scope[1] = e->v;
    if (!VEC_PUSH(&x->of[e->u], (int)i) || !VEC_PUSH(&x->of[e->v], (int)i) || !VEC_PUSH(&x->fn, f))
      return false;
  }
  return true;
}

/* Labels of the steps that led to a point. Depth is that of the eliminations: a stack of its own.
 */
static bool unwind(struct front *x, int made) {
  VEC(int) todo = {0};
  bool ok = VEC_PUSH(&todo, made);
  while (ok && todo.n) {
    struct step s = x->step.v[todo.v[--todo.n]];
    if (s.right < 0)
      x->f->label[s.left] = -1 - s.right;
    else
      ok = VEC_PUSH(&todo, s.left) && VEC_PUSH(&todo, s.right);
  }
  VEC_FREE(&todo);
  return ok;
}

/* The cheapest point that keeps the limit, and what the dropped ones leave of the bound. */
static bool conclude(struct front *x) {
  struct solve_front *f = x->f;
  const struct point *best = NULL;
  for (int i = 0; i < x->rest.n; i++)
    if (!best || x->rest.p[i].cost < best->cost) best = &x->rest.p[i];
  f->found = best && best->cost < f->below;
  f->cost = f->found ? best->cost : f->below;
  f->bound = f->cost;
  if (x->dropped < x->band) {
    int64_t least = f->floor - f->price * f->limit + x->dropped;
    f->bound = MIN(f->bound, CEIL_DIV(MAX(least, 0), (int64_t)1 << f->shift));
  }
  return !f->found || unwind(x, best->made);
}

enum fvm_status solve_front(struct solve_front *f, struct fvm_error *err) {
  struct front x = {.f = f, .net = f->net, .dropped = INT64_MAX};
  f->found = f->gave_up = false;
  f->ticks = 0;
  x.band = (f->below << f->shift) - (f->floor - f->price * f->limit);
  bool ok = set_up(&x);
  for (size_t k = 0; k < f->net->var.n && ok && !f->gave_up; k++) {
    int64_t entries = 1;
    int v = smallest(&x, &entries);
    if (!f->gave_up) ok = eliminate(&x, v, entries);
    too_far(&x);
  }
  if (ok && !f->gave_up) ok = conclude(&x);
  for (size_t v = 0; x.of && v < f->net->var.n; v++) VEC_FREE(&x.of[v]);
  VEC_FREE(&x.fn);
  VEC_FREE(&x.step);
  VEC_FREE(&x.now);
  VEC_FREE(&x.next);
  VEC_FREE(&x.all);
  VEC_FREE(&x.spare);
  VEC_FREE(&x.run);
  VEC_FREE(&x.begin);
  arena_free(&x.a);
  return ok ? FVM_OK : fvm_nomem(err);
}
