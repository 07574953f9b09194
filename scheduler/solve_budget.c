/* Networks under a limit on room. Contract: solve.h.
 *
 * The greatest peak is handled by cases: if it is at most P, labels above P are out and limit - P
 * is left for the sum. A range of cases is relaxed to the labels of its greatest P and the sum that
 * its least P leaves. Of all ranges the one of the least bound is looked into until that is no
 * better than what was found:
 *
 *   bound        the Lagrangian dual, max over price >= 0 of min over assignments of cost + price *
 *                (sum - limit), each value of it by the exact solver. It is concave and piecewise
 *                linear, so the price at which two known assignments, one on either side of the
 *                limit, cost the same leads to its top in few steps
 *   several P    two halves
 *   one P        solve_front looks for assignments below a cost slightly above the bound; if there
 *                is none that cost is the bound. What it takes grows much with the band between
 *                the two, and the best is mostly near the dual */
#include "solve_work.h"

#include <stdlib.h>
#include <string.h>

enum {
  MAX_SHIFT = 20, /* binary digits of prices after the point */
  MAX_STEPS = 64, /* of the dual */
  FRONT_TICKS = 10000000,
  FIRST_BAND = 1000, /* a part of the bound */
  WIDER = 3          /* times, the next band */
};
/* Lengths of lists, tried in this order until the ticks last. */
static const int keeps[] = {4096, 256, 16};

struct relaxed;
struct budget {
  const struct solve_budget *b;
  struct arena *a; /* of everything until the end */
  int64_t unit;    /* sums are multiples of this; all inside are counted in it */
  int64_t *peak;   /* distinct ones, ascending, from the least that can be on */
  int npeak;
  int64_t ub, bound; /* cost of the best found; least bound of what was given up */
  int *best;         /* labels of the best */
  bool found;
  struct solve_ends ends;
  bool **beats; /* by variable and two labels */
  VEC(struct relaxed *) open;
  int64_t ticks;
  struct fvm_error *err;
};
/* A range of cases, relaxed: the labels that are left, without those that others beat. */
struct relaxed {
  struct budget *b;
  int low, high;              /* peaks */
  struct solve_net net, work; /* plain costs; reduced ones, for the solver */
  const int **orig;
  int64_t **sum; /* in units */
  int64_t limit; /* in units */
  int64_t most_cost, most_sum;
  int shift;
  int *now;      /* labels of the last solution, in the relaxed network's numbers */
  int *feasible; /* best labels that keep the limit */
  int64_t cost;  /* of these */
  int64_t dual, price, bound;
  int64_t band; /* how far above its bound to look next */
  size_t keep;  /* of keeps[] */
};

static int64_t at(const int64_t *v, int k) { return v ? v[k] : 0; }

int64_t solve_room(const struct solve_budget *b, const int *label) {
  int64_t sum = 0, peak = 0;
  for (size_t i = 0; i < b->net->var.n; i++) {
    sum += at(b->room[i].sum, label[i]);
    peak = MAX(peak, at(b->room[i].peak, label[i]));
  }
  return sum + peak;
}

/* ---- the network of a range ---- */

/* Whether label x of variable v can take y's place everywhere. */
static bool find_beats(const struct budget *b, int v, int x, int y) {
  const struct solve_net *net = b->b->net;
  const struct solve_room *r = &b->b->room[v];
  const int64_t *c = net->var.v[v].cost;
  if (c[x] > c[y] || at(r->sum, x) > at(r->sum, y) || at(r->peak, x) > at(r->peak, y)) return false;
  for (int i = b->ends.at[v]; i < b->ends.at[v + 1]; i++) {
    const struct solve_edge *e = &net->edge.v[b->ends.edge[i]];
    int64_t n = net->var.v[e->v].n, rows = net->var.v[e->u].n;
    int64_t mine = e->u == v ? n : 1, other = e->u == v ? 1 : n, count = e->u == v ? n : rows;
    for (int64_t k = 0; k < count; k++)
      if (e->cost[x * mine + k * other] > e->cost[y * mine + k * other]) return false;
  }
  return true;
}

/* Of each two labels of each variable; false when memory is out. */
static bool compare_labels(struct budget *b) {
  const struct solve_net *net = b->b->net;
  b->beats = ARENA_NEW(b->a, bool *, net->var.n);
  if (!b->beats || !solve_ends_find(&b->ends, net, b->a)) return false;
  for (int v = 0; v < (int)net->var.n; v++) {
    int n = net->var.v[v].n;
    bool *to = b->beats[v] = ARENA_NEW(b->a, bool, (size_t)n *(size_t)n);
    if (!to) return false;
    for (int x = 0; x < n; x++)
      for (int y = 0; y < n; y++) to[x * n + y] = x != y && find_beats(b, v, x, y);
  }
  return true;
}

/* Labels of a variable that the range may use, in orig[]; returns how many. Of equal ones the first
 * stays. */
static int keep_labels(const struct budget *b, int v, int64_t peak, int *orig) {
  const struct solve_var *x = &b->b->net->var.v[v];
  const bool *beats = b->beats[v];
  int n = 0;
  for (int k = 0; k < x->n; k++) {
    bool keep = x->cost[k] < SOLVE_INF && at(b->b->room[v].peak, k) <= peak;
    for (int i = 0; i < x->n && keep; i++)
      keep = !beats[i * x->n + k] || (i > k && beats[k * x->n + i]);
    if (keep) orig[n++] = k;
  }
  return n;
}

static bool add_var(struct relaxed *x, int v, int64_t peak) {
  const struct budget *b = x->b;
  const struct solve_var *from = &b->b->net->var.v[v];
  int *orig = ARENA_NEW(&x->net.arena, int, from->n);
  if (!orig) return false;
  int n = keep_labels(b, v, peak, orig);
  int64_t most_cost = 0, most_sum = 0;
  if (solve_add_var(&x->net, n) < 0 || solve_add_var(&x->work, n) < 0) return false;
  x->orig[v] = orig;
  x->sum[v] = ARENA_NEW(&x->net.arena, int64_t, n);
  if (!x->sum[v]) return false;
  for (int k = 0; k < n; k++) {
    x->net.var.v[v].cost[k] = from->cost[orig[k]];
    x->sum[v][k] = at(b->b->room[v].sum, orig[k]) / b->unit;
    most_cost = MAX(most_cost, from->cost[orig[k]]);
    most_sum = MAX(most_sum, x->sum[v][k]);
  }
  x->most_cost = solve_add(x->most_cost, most_cost);
  x->most_sum += most_sum;
  return true;
}

static bool add_edge(struct relaxed *x, const struct solve_edge *from) {
  int e = solve_add_edge(&x->net, from->u, from->v);
  if (e < 0 || solve_add_edge(&x->work, from->u, from->v) < 0) return false;
  int rows = x->net.var.v[from->u].n, cols = x->net.var.v[from->v].n;
  int64_t most = 0, n = x->b->b->net->var.v[from->v].n;
  for (int i = 0; i < rows; i++)
    for (int k = 0; k < cols; k++) {
      int64_t c = from->cost[x->orig[from->u][i] * n + x->orig[from->v][k]];
      x->net.edge.v[e].cost[i * cols + k] = c;
      if (c < SOLVE_INF) most = MAX(most, c);
    }
  x->most_cost = solve_add(x->most_cost, most);
  return true;
}

static bool relax(struct relaxed *x, int64_t peak) {
  const struct solve_net *net = x->b->b->net;
  x->orig = ARENA_NEW(&x->net.arena, const int *, net->var.n);
  x->sum = ARENA_NEW(&x->net.arena, int64_t *, net->var.n);
  x->feasible = ARENA_NEW(&x->net.arena, int, net->var.n);
  if (!x->orig || !x->sum || !x->feasible) return false;
  for (int v = 0; v < (int)net->var.n; v++)
    if (!add_var(x, v, peak)) return false;
  for (size_t i = 0; i < net->edge.n; i++)
    if (!add_edge(x, &net->edge.v[i])) return false;
  x->limit = MIN(x->limit, x->most_sum);
  while (x->shift < MAX_SHIFT && x->most_cost >> (55 - x->shift) == 0) x->shift++;
  return true;
}

/* ---- the dual ---- */

static int64_t cost_of(const struct relaxed *x, const int *label) {
  return solve_cost(&x->net, label);
}

static int64_t sum_of(const struct relaxed *x, const int *label) {
  int64_t sum = 0;
  for (size_t v = 0; v < x->net.var.n; v++) sum += x->sum[v][label[v]];
  return sum;
}

static int64_t priced(int64_t cost, bool counts, int shift, int64_t rest) {
  return cost >= SOLVE_INF ? SOLVE_INF : (counts ? cost << shift : 0) + rest;
}

/* Minimise (counts ? cost << shift : 0) + price * sum: x->now, and what the solver proved. */
static enum fvm_status minimise(struct relaxed *x, bool counts, int64_t price, int64_t *bound) {
  struct solve_result r;
  struct arena a = {0};
  for (size_t v = 0; v < x->net.var.n; v++)
    for (int k = 0; k < x->net.var.v[v].n; k++)
      x->work.var.v[v].cost[k] =
          priced(x->net.var.v[v].cost[k], counts, x->shift, price * x->sum[v][k]);
  for (size_t e = 0; e < x->net.edge.n; e++) {
    const struct solve_edge *from = &x->net.edge.v[e];
    int64_t n = (int64_t)x->net.var.v[from->u].n * x->net.var.v[from->v].n;
    for (int64_t k = 0; k < n; k++)
      x->work.edge.v[e].cost[k] = priced(from->cost[k], counts, x->shift, 0);
  }
  enum fvm_status st = solve_layout(&x->work, x->b->b->max_ticks, &a, &r, x->b->err);
  if (!st) {
    memcpy(x->now, r.label, x->net.var.n * sizeof *x->now);
    *bound = r.bound;
    x->b->ticks += r.ticks;
  } else if (st == FVM_EFAIL && !r.optimal) {
    x->b->bound = 0; /* not known to be impossible */
  }
  arena_free(&a);
  return st;
}

/* x->now keeps the limit: is it the best that does? */
static void take(struct relaxed *x) {
  int64_t cost = cost_of(x, x->now);
  if (cost >= x->cost) return;
  x->cost = cost;
  memcpy(x->feasible, x->now, x->net.var.n * sizeof *x->now);
}

static void raise_dual(struct relaxed *x, int64_t value, int64_t price) {
  int64_t dual = value - price * x->limit;
  if (dual <= x->dual) return;
  x->dual = dual;
  x->price = price;
  x->bound = MAX(x->bound, CEIL_DIV(MAX(dual, 0), (int64_t)1 << x->shift));
}

/* Two points of the plane of cost and sum, on either side of the limit. */
struct side {
  int64_t cost, sum;
};

static struct side side_of(const struct relaxed *x) {
  return (struct side){cost_of(x, x->now), sum_of(x, x->now)};
}

/* As high as numbers allow. */
static int64_t most_price(const struct relaxed *x) {
  return ((int64_t)1 << 57) / MAX(x->most_sum, 1);
}

/* The price at which both cost the same, rounded down. */
static int64_t price_between(const struct relaxed *x, struct side over, struct side within) {
  CHECK(over.sum > within.sum); /* one on either side of the limit */
  __int128 p = ((__int128)(within.cost - over.cost) << x->shift) / (over.sum - within.sum);
  return (int64_t)MIN(p, (__int128)most_price(x));
}

/* At a price; *side is the point of its solution, which is taken if it keeps the limit. */
static enum fvm_status price_at(struct relaxed *x, int64_t price, struct side *side) {
  int64_t value;
  enum fvm_status st = minimise(x, true, price, &value);
  if (st) return st;
  raise_dual(x, value, price);
  *side = side_of(x);
  if (side->sum <= x->limit) take(x);
  return FVM_OK;
}

static enum fvm_status climb(struct relaxed *x, struct side over, struct side within) {
  for (int step = 0; step < MAX_STEPS && x->bound < x->b->ub; step++) {
    int64_t price = price_between(x, over, within);
    struct side new;
    if (price <= 0) return FVM_OK;
    enum fvm_status st = price_at(x, price, &new);
    if (st) return st;
    int64_t known = MIN((over.cost << x->shift) + price * over.sum,
                        (within.cost << x->shift) + price * within.sum);
    if ((new.cost << x->shift) + price * new.sum >= known) return FVM_OK;
    *(new.sum <= x->limit ? &within : &over) = new;
  }
  return FVM_OK;
}

/* Dual and a solution of a relaxed range, with a price that was good for a similar one (0: none).
 * x->cost SOLVE_INF: there is no solution, or none that is better than what was found. */
static enum fvm_status solve_dual(struct relaxed *x, int64_t price) {
  struct side hint = {0, INT64_MAX}, over, within;
  int64_t value;
  enum fvm_status st = price ? price_at(x, price, &hint) : FVM_OK;
  if (st || x->bound >= x->b->ub) return st;
  within = hint;
  if (hint.sum > x->limit) {
    st = minimise(x, false, 1, &value);
    if (st) return st;
    within = side_of(x);
    if (within.sum > x->limit) return FVM_OK;
    take(x);
  }
  over = hint;
  if (!price || hint.sum <= x->limit) {
    st = price_at(x, 0, &over);
    if (st || over.sum <= x->limit) return st;
  }
  return climb(x, over, within);
}

/* ---- between dual and solution ---- */

/* What label k of v would add to the cost of x->now. */
static int64_t change(const struct relaxed *x, int v, int k) {
  const struct solve_net *net = &x->net;
  int64_t d = net->var.v[v].cost[k] - net->var.v[v].cost[x->now[v]];
  const struct solve_ends *ends = &x->b->ends; /* the same edges */
  for (int i = ends->at[v]; i < ends->at[v + 1] && d < SOLVE_INF / 2; i++) {
    const struct solve_edge *e = &net->edge.v[ends->edge[i]];
    int64_t n = net->var.v[e->v].n;
    const int64_t *row = e->cost + (e->u == v ? x->now[e->v] : x->now[e->u] * n);
    int64_t step = e->u == v ? n : 1;
    d += row[k * step] - row[x->now[v] * step];
  }
  return d;
}

/* Single changes that cost less and keep the limit, while there are any. */
static void improve(struct relaxed *x) {
  memcpy(x->now, x->feasible, x->net.var.n * sizeof *x->now);
  int64_t room = x->limit - sum_of(x, x->now);
  bool moved = true;
  for (int round = 0; moved && round < 16; round++) {
    moved = false;
    for (int v = 0; v < (int)x->net.var.n; v++)
      for (int k = 0; k < x->net.var.v[v].n; k++) {
        int64_t more = x->sum[v][k] - x->sum[v][x->now[v]];
        if (more > room || change(x, v, k) >= 0) continue;
        room -= more;
        x->now[v] = k;
        moved = true;
      }
  }
  take(x);
}

/* Look a little above the bound. *stuck: the bound stays where it is. */
static enum fvm_status search(struct relaxed *x, bool *stuck) {
  struct solve_front f = {.net = &x->net,
                          .sum = x->sum,
                          .limit = x->limit,
                          .price = x->price,
                          .floor = x->dual + x->price * x->limit,
                          .shift = x->shift,
                          .below = MIN(MIN(x->cost, x->b->ub), x->bound + x->band),
                          .max_ticks = FRONT_TICKS,
                          .label = x->now};
  *stuck = true;
  for (; x->keep < COUNT(keeps); x->keep++) {
    f.keep = keeps[x->keep];
    enum fvm_status st = solve_front(&f, x->b->err);
    if (st) return st;
    x->b->ticks += f.ticks;
    if (f.gave_up && x->b->ticks <= x->b->b->max_ticks) continue;
    if (f.gave_up) return FVM_OK;
    if (f.found) take(x);
    *stuck = f.bound <= x->bound;
    x->bound = MAX(x->bound, f.bound);
    x->band *= WIDER;
    return FVM_OK;
  }
  return FVM_OK;
}

/* ---- ranges of peaks ---- */

/* The labels that were found for a range, if they keep the limit with the peak they really have. */
static bool accept(struct relaxed *x) {
  struct budget *b = x->b;
  int *label = ARENA_NEW(&x->net.arena, int, x->net.var.n);
  if (!label) return false;
  for (size_t v = 0; v < x->net.var.n; v++) label[v] = x->orig[v][x->feasible[v]];
  if (x->cost >= b->ub || solve_room(b->b, label) > b->b->limit) return true;
  b->ub = x->cost;
  b->found = true;
  if (x->net.var.n) memcpy(b->best, label, x->net.var.n * sizeof *label);
  return true;
}

static void close_range(struct relaxed *x) {
  solve_net_free(&x->net);
  solve_net_free(&x->work);
  fvm_free(x, 1, sizeof *x);
}

/* Labels of no use together (FVM_EFAIL of the solver) make a range empty. */
static enum fvm_status solve_relaxed(struct relaxed *x, const struct relaxed *like) {
  struct budget *b = x->b;
  int64_t left = b->b->limit - b->peak[x->low];
  x->limit = left < 0 ? -1 : left / b->unit;
  x->now = ARENA_NEW(&x->net.arena, int, b->b->net->var.n);
  if (!x->now || !relax(x, b->peak[x->high])) return fvm_nomem(b->err);
  __int128 price = like ? ((__int128)like->price << x->shift) >> like->shift : 0;
  enum fvm_status st = solve_dual(x, (int64_t)MIN(price, (__int128)most_price(x)));
  if (st) return st == FVM_EFAIL ? FVM_OK : st;
  if (x->cost >= SOLVE_INF) return FVM_OK;
  if (x->bound < x->cost) improve(x);
  x->band = MAX(x->bound / FIRST_BAND, 1);
  return accept(x) ? FVM_OK : fvm_nomem(b->err);
}

/* To be looked into if there may be something better in it; whole: what it is a part of, or NULL.
 */
static enum fvm_status open_range(struct budget *b, int low, int high,
                                  const struct relaxed *whole) {
  struct relaxed *x = fvm_alloc(1, sizeof *x);
  if (!x) return fvm_nomem(b->err);
  *x = (struct relaxed){.b = b, .low = low, .high = high, .cost = SOLVE_INF, .dual = INT64_MIN};
  x->bound = whole ? whole->bound : b->b->known;
  enum fvm_status st = solve_relaxed(x, whole);
  bool keep = !st && x->cost < SOLVE_INF && x->bound < b->ub;
  if (keep && !VEC_PUSH(&b->open, x)) {
    st = fvm_nomem(b->err);
    keep = false;
  }
  if (!keep) close_range(x);
  return st;
}

static struct relaxed *next_range(struct budget *b) {
  size_t at = 0;
  for (size_t i = 1; i < b->open.n; i++)
    if (b->open.v[i]->bound < b->open.v[at]->bound) at = i;
  struct relaxed *x = b->open.v[at];
  b->open.v[at] = b->open.v[--b->open.n];
  return x;
}

static enum fvm_status halve(struct budget *b, const struct relaxed *x) {
  int middle = x->low + (x->high - x->low) / 2;
  enum fvm_status st = open_range(b, middle + 1, x->high, x);
  return st ? st : open_range(b, x->low, middle, x);
}

/* The range is no longer open. */
static enum fvm_status look_into(struct budget *b, struct relaxed *x) {
  bool stuck = true;
  enum fvm_status st = FVM_OK;
  if (b->ticks <= b->b->max_ticks) {
    if (x->low < x->high) {
      st = halve(b, x);
      close_range(x);
      return st;
    }
    st = search(x, &stuck);
    if (!st && !accept(x)) st = fvm_nomem(b->err);
  }
  if (stuck) b->bound = MIN(b->bound, x->bound);
  bool again = !st && !stuck && x->bound < b->ub;
  if (again && !VEC_PUSH(&b->open, x)) {
    st = fvm_nomem(b->err);
    again = false;
  }
  if (!again) close_range(x);
  return st;
}

static enum fvm_status solve_ranges(struct budget *b) {
  enum fvm_status st = open_range(b, 0, b->npeak - 1, NULL);
  while (!st && b->open.n) {
    struct relaxed *x = next_range(b);
    if (x->bound < b->ub)
      st = look_into(b, x);
    else
      close_range(x);
  }
  for (size_t i = 0; i < b->open.n; i++) close_range(b->open.v[i]);
  VEC_FREE(&b->open);
  return st;
}

/* ---- set-up ---- */

static int ascending(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

static int64_t gcd(int64_t a, int64_t b) {
  while (b) {
    int64_t r = a % b;
    a = b;
    b = r;
  }
  return a;
}

/* All peaks that may be the greatest: none below what some variable has at least. */
static bool list_peaks(struct budget *b) {
  const struct solve_net *net = b->b->net;
  size_t n = 1;
  int64_t floor = 0;
  for (size_t v = 0; v < net->var.n; v++) n += (size_t)net->var.v[v].n;
  b->peak = ARENA_NEW(b->a, int64_t, n);
  if (!b->peak) return false;
  for (size_t v = 0; v < net->var.n; v++) {
    int64_t least = INT64_MAX;
    for (int k = 0; k < net->var.v[v].n; k++) {
      least = MIN(least, at(b->b->room[v].peak, k));
      b->peak[b->npeak++] = at(b->b->room[v].peak, k);
      b->unit = gcd(b->unit, at(b->b->room[v].sum, k));
    }
    if (net->var.v[v].n) floor = MAX(floor, least);
  }
  b->unit = MAX(b->unit, 1);
  b->peak[b->npeak++] = floor;
  qsort(b->peak, (size_t)b->npeak, sizeof *b->peak, ascending);
  int kept = 0;
  for (int i = 0; i < b->npeak; i++)
    if (b->peak[i] >= floor && (kept == 0 || b->peak[i] != b->peak[kept - 1]))
      b->peak[kept++] = b->peak[i];
  b->npeak = kept;
  return true;
}

enum fvm_status solve_budget(const struct solve_budget *problem, struct arena *a,
                             struct solve_result *r, struct fvm_error *err) {
  struct arena own = {0};
  struct budget b = {.b = problem, .a = &own, .bound = SOLVE_INF, .err = err};
  size_t n = problem->net->var.n;
  b.ub = problem->below > 0 ? problem->below : SOLVE_INF;
  *r = (struct solve_result){.label = NULL};
  int *label = b.best = ARENA_NEW(a, int, n);
  enum fvm_status st = label && list_peaks(&b) && compare_labels(&b) ? FVM_OK : fvm_nomem(err);
  if (!st) st = solve_ranges(&b);
  arena_free(&own);
  if (st) return st;
  *r = (struct solve_result){.label = b.found ? label : NULL,
                             .cost = b.found ? b.ub : SOLVE_INF,
                             .bound = MIN(b.bound, b.ub),
                             .optimal = b.bound >= b.ub,
                             .ticks = b.ticks};
  return b.found ? FVM_OK : fvm_fail(err, FVM_EFAIL, "no choice of labels keeps the limit on room");
}
