/* Networks whose labels take room for a while: at no time more than the limit. Contract: solve.h.
 *
 * Only times matter at which the set of variables that are there is maximal: after a start and
 * before an end. Each of these has a price; with prices the network alone, solved exactly, gives a
 * bound: min over labels of cost + sum of price[t] * (use[t] - limit)  <=  least cost within the
 * limit and the prices are moved along the excess (subgradient steps of Polyak's length). Each
 * solution on the way is repaired, by the changes that cost least for what they free, and improved
 * by single changes. What gap is left is closed by branching: a variable takes the label it has, or
 * never.
 *
 * Costs are multiplied by a power of two, so that rounding prices down to integers costs no bound.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "solve_work.h"

enum { ROOT_STEPS = 60, NODE_STEPS = 6, ROUNDS = 20, MAXDEPTH = 2000 };

struct usage {
  const struct solve_usage *u;
  struct arena *a;
  struct solve_net work; /* scaled costs, own ones with prices */
  int *first, *last;     /* by variable: times that it is there, first .. last - 1 */
  int ntime;
  struct solve_ends ends;
  int64_t **left; /* scaled costs of labels, SOLVE_INF: not to be had in this branch */
  int64_t **cost; /* of labels next to those that the others have now; see costs_of */
  bool *known;    /* by variable: cost[] is right */
  double *price;
  int64_t *use;
  int64_t scale;
  int *now, *best;
  int64_t ub, open; /* open: least bound of what is not searched */
  int64_t ticks;
  bool stopped;
  struct fvm_error *err;
};

/* ---- times ---- */

struct event {
  int64_t time;
  bool is_start;
};

static int by_time(const void *a, const void *b) {
  const struct event *x = a, *y = b;
  if (x->time != y->time) return x->time < y->time ? -1 : 1;
  return x->is_start - y->is_start; /* what ends makes room first */
}

static int first_not_before(const int64_t *time, int n, int64_t t) {
  int lo = 0, hi = n;
  while (lo < hi) {
    int mid = (lo + hi) / 2;
    if (time[mid] < t)
      lo = mid + 1;
    else
      hi = mid;
  }
  return lo;
}

static bool find_times(struct usage *x) {
  int n = (int)x->u->net->var.n, m = 0;
  struct event *e = ARENA_NEW(x->a, struct event, 2 * (size_t)n);
  int64_t *time = ARENA_NEW(x->a, int64_t, n);
  if (!e || !time) return false;
  for (int v = 0; v < n; v++) {
    if (x->u->from[v] >= x->u->to[v]) continue;
    e[m++] = (struct event){x->u->from[v], true};
    e[m++] = (struct event){x->u->to[v], false};
  }
  if (m) qsort(e, (size_t)m, sizeof *e, by_time);
  for (int i = 0; i + 1 < m; i++)
    if (e[i].is_start && !e[i + 1].is_start) time[x->ntime++] = e[i].time;
  for (int v = 0; v < n; v++) {
    x->first[v] = first_not_before(time, x->ntime, x->u->from[v]);
    x->last[v] = MAX(x->first[v], first_not_before(time, x->ntime, x->u->to[v]));
  }
  return true;
}

/* ---- assignments ---- */

static int64_t usage_of(const struct usage *x, int v, int a) { return x->u->usage[v][a]; }

static void add_use(struct usage *x, int v, int64_t more) {
  for (int t = x->first[v]; t < x->last[v]; t++) x->use[t] += more;
}

static void sum_use(struct usage *x, const int *label) {
  memset(x->use, 0, (size_t)x->ntime * sizeof *x->use);
  for (int v = 0; v < (int)x->u->net->var.n; v++) add_use(x, v, usage_of(x, v, label[v]));
}

static int worst_time(const struct usage *x) {
  int t = 0;
  for (int i = 1; i < x->ntime; i++)
    if (x->use[i] > x->use[t]) t = i;
  return t;
}

static bool fits(const struct usage *x) {
  return x->ntime == 0 || x->use[worst_time(x)] <= x->u->limit;
}

/* What v adds with each label next to those that the others have; SOLVE_INF: it is forbidden. */
static const int64_t *costs_of(const struct usage *x, int v) {
  const struct solve_net *net = x->u->net;
  int64_t n = net->var.v[v].n, *sum = x->cost[v];
  if (x->known[v]) return sum;
  x->known[v] = true;
  for (int a = 0; a < n; a++)
    sum[a] = x->left[v][a] >= SOLVE_INF ? SOLVE_INF : net->var.v[v].cost[a];
  for (int k = x->ends.at[v]; k < x->ends.at[v + 1]; k++) {
    const struct solve_edge *e = &net->edge.v[x->ends.edge[k]];
    bool first = e->u == v;
    int64_t m = net->var.v[e->v].n, step = first ? m : 1;
    const int64_t *c = e->cost + (first ? x->now[e->v] : x->now[e->u] * m);
    for (int a = 0; a < n; a++) sum[a] = solve_add(sum[a], c[a * step]);
  }
  return sum;
}

static void change(struct usage *x, int v, int a) {
  add_use(x, v, usage_of(x, v, a) - usage_of(x, v, x->now[v]));
  x->now[v] = a;
  for (int k = x->ends.at[v]; k < x->ends.at[v + 1]; k++) {
    const struct solve_edge *e = &x->u->net->edge.v[x->ends.edge[k]];
    x->known[e->u == v ? e->v : e->u] = false;
  }
}

/* The change that costs least for what it frees at time t. */
static bool free_some(struct usage *x, int t) {
  double least = INFINITY;
  int at = -1, to = 0;
  for (int v = 0; v < (int)x->u->net->var.n; v++) {
    if (t < x->first[v] || t >= x->last[v]) continue;
    const int64_t *costs = costs_of(x, v);
    int64_t was = costs[x->now[v]];
    for (int a = 0; a < x->u->net->var.v[v].n; a++) {
      int64_t frees = usage_of(x, v, x->now[v]) - usage_of(x, v, a);
      int64_t cost = frees > 0 ? costs[a] : SOLVE_INF;
      if (cost >= SOLVE_INF) continue;
      double rate =
          (double)(cost - MIN(was, SOLVE_INF)) / (double)MIN(frees, x->use[t] - x->u->limit);
      if (rate < least) least = rate, at = v, to = a;
    }
  }
  if (at >= 0) change(x, at, to);
  return at >= 0;
}

static bool has_room(const struct usage *x, int v, int64_t more) {
  for (int t = x->first[v]; t < x->last[v] && more > 0; t++)
    if (x->use[t] + more > x->u->limit) return false;
  return true;
}

static bool is_stopped(struct usage *x) {
  x->stopped |= x->ticks > x->u->limits.ticks || solve_stopped(&x->u->limits);
  return x->stopped;
}

/* The first labels that keep the limit are worth any time. */
static bool hurries(struct usage *x) { return x->ub < SOLVE_INF && is_stopped(x); }

static void improve(struct usage *x) {
  bool moved = true;
  for (int round = 0; round < ROUNDS && moved && !hurries(x); round++) {
    moved = false;
    for (int v = 0; v < (int)x->u->net->var.n; v++) {
      const int64_t *costs = costs_of(x, v); /* v's own changes leave them as they are */
      int64_t was = costs[x->now[v]];
      for (int a = 0; a < x->u->net->var.v[v].n; a++) {
        int64_t more = usage_of(x, v, a) - usage_of(x, v, x->now[v]), cost = costs[a];
        if (cost >= was || !has_room(x, v, more)) continue;
        change(x, v, a);
        was = cost;
        moved = true;
      }
    }
  }
}

/* From the labels in x->now to some that keep the limit. */
static void repair(struct usage *x) {
  sum_use(x, x->now);
  memset(x->known, 0, x->u->net->var.n * sizeof *x->known);
  while (!fits(x))
    if (hurries(x) || !free_some(x, worst_time(x))) return;
  improve(x);
  int64_t cost = solve_cost(x->u->net, x->now);
  if (cost >= x->ub) return;
  x->ub = cost;
  memcpy(x->best, x->now, x->u->net->var.n * sizeof *x->best);
}

/* ---- the bound ---- */

/* Own costs with the prices of all times that a variable is there. */
static void set_costs(struct usage *x) {
  for (int v = 0; v < (int)x->u->net->var.n; v++) {
    double sum = 0;
    for (int t = x->first[v]; t < x->last[v]; t++) sum += x->price[t];
    for (int a = 0; a < x->u->net->var.v[v].n; a++) {
      int64_t *c = &x->work.var.v[v].cost[a];
      *c = x->left[v][a];
      if (*c < SOLVE_INF) *c += (int64_t)floor(sum * (double)usage_of(x, v, a));
    }
  }
}

/* A step along the excess at x->now's labels, whose sums of use are in x->use. */
static void move_prices(struct usage *x, double gap, double length) {
  double norm = 0;
  for (int t = 0; t < x->ntime; t++) {
    double g = (double)(x->use[t] - x->u->limit);
    if (g > 0 || x->price[t] > 0) norm += g * g;
  }
  if (norm == 0) return;
  for (int t = 0; t < x->ntime; t++) {
    double g = (double)(x->use[t] - x->u->limit);
    x->price[t] = fmax(0, x->price[t] + length * gap / norm * g);
  }
}

/* What the prices take for the whole limit, at least, against rounding of sums. */
static double limit_price(const struct usage *x) {
  double sum = 0;
  for (int t = 0; t < x->ntime; t++) sum += x->price[t];
  return sum * (double)x->u->limit * (1 + 1e-12) + 1;
}

struct step {
  int64_t bound;
  bool none; /* no labels go together */
};

/* Bound at the present prices; the labels behind it are in x->now, their use in x->use. */
static enum fvm_status step(struct usage *x, struct step *s) {
  struct arena a = {0};
  struct solve_result r;
  struct solve_limits l = x->u->limits;
  l.entries = MIN(l.entries, 20000000);
  l.ticks = MAX(MIN(l.ticks - x->ticks, 20000000), 0);
  set_costs(x);
  enum fvm_status st = solve_limited(&x->work, &l, &a, &r, x->err);
  *s = (struct step){.bound = 0, .none = st == FVM_EFAIL && r.optimal};
  if (st == FVM_OK) {
    double b = ((double)r.bound - limit_price(x)) / (double)x->scale;
    if (x->scale == 1 && limit_price(x) <= 1) b = (double)r.bound;
    s->bound = b > 0 ? (int64_t)ceil(b * (1 - 1e-13)) : 0;
    memcpy(x->now, r.label, x->u->net->var.n * sizeof *x->now);
    x->ticks += r.ticks + (int64_t)x->u->net->var.n;
    sum_use(x, x->now);
  }
  arena_free(&a);
  is_stopped(x);
  return st == FVM_EFAIL ? FVM_OK : st;
}

/* Raise the bound by some steps; x->now has the labels of the last one. *bound SOLVE_INF: nothing
 * in this branch can be better than what is known. */
static enum fvm_status raise_bound(struct usage *x, int steps, int64_t *bound) {
  double length = 1;
  int since = 0;
  for (int i = 0; i < steps && !x->stopped; i++) {
    struct step s;
    enum fvm_status st = step(x, &s);
    if (st) return st;
    if (s.none) *bound = SOLVE_INF;
    if (s.bound > *bound)
      *bound = s.bound, since = 0;
    else if (++since % 4 == 0)
      length /= 2;
    if (s.none || *bound >= x->ub) break;
    int64_t use_cost = solve_cost(x->u->net, x->now);
    double known = x->ub < SOLVE_INF ? (double)x->ub : 1.1 * (double)use_cost + 1;
    move_prices(x, fmax(known - (double)s.bound, 1) * (double)x->scale, length);
    repair(x);
    if (*bound >= x->ub) break;
  }
  if (*bound >= x->ub) *bound = SOLVE_INF;
  return FVM_OK;
}

/* ---- branching ---- */

/* Of the variables that have a choice, the one whose room differs most where it is dear. */
static int choose(const struct usage *x) {
  int best = -1;
  double most = -1;
  for (int v = 0; v < (int)x->u->net->var.n; v++) {
    int n = 0;
    int64_t lo = INT64_MAX, hi = 0;
    double dear = 0;
    for (int a = 0; a < x->u->net->var.v[v].n; a++) {
      if (x->left[v][a] >= SOLVE_INF) continue;
      n++;
      lo = MIN(lo, usage_of(x, v, a)), hi = MAX(hi, usage_of(x, v, a));
    }
    if (n < 2) continue;
    for (int t = x->first[v]; t < x->last[v]; t++) dear += x->price[t] + 1e-9;
    if (dear * (double)(hi - lo) > most) most = dear * (double)(hi - lo), best = v;
  }
  return best;
}

/* Whether the least that each variable can take is within the limit. */
static bool may_fit(struct usage *x) {
  memset(x->use, 0, (size_t)x->ntime * sizeof *x->use);
  for (int v = 0; v < (int)x->u->net->var.n; v++) {
    int64_t least = INT64_MAX;
    for (int a = 0; a < x->u->net->var.v[v].n; a++)
      if (x->left[v][a] < SOLVE_INF) least = MIN(least, usage_of(x, v, a));
    if (least == INT64_MAX) return false;
    add_use(x, v, least);
  }
  return fits(x);
}

/* The label of v that the last solution at these prices has, or the first that is left. */
static int label_of(const struct usage *x, int v) {
  int a = x->now[v];
  if (x->left[v][a] < SOLVE_INF) return a;
  for (a = 0; x->left[v][a] >= SOLVE_INF;) a++;
  return a;
}

static enum fvm_status branch(struct usage *x, int64_t bound, int depth);

/* The branch in which v has label a, or all the others. */
static enum fvm_status half(struct usage *x, int v, int a, bool only, int64_t bound, int depth) {
  int n = x->u->net->var.v[v].n;
  int64_t *was = fvm_alloc((size_t)n, sizeof *was);
  if (!was) return fvm_nomem(x->err);
  memcpy(was, x->left[v], (size_t)n * sizeof *was);
  for (int b = 0; b < n; b++)
    if ((b == a) != only) x->left[v][b] = SOLVE_INF;
  enum fvm_status st = branch(x, bound, depth + 1);
  memcpy(x->left[v], was, (size_t)n * sizeof *was);
  fvm_free(was, (size_t)n, sizeof *was);
  return st;
}

static enum fvm_status branch(struct usage *x, int64_t bound, int depth) {
  if (!may_fit(x)) return FVM_OK;
  enum fvm_status st = raise_bound(x, depth ? NODE_STEPS : ROOT_STEPS, &bound);
  if (st || bound >= SOLVE_INF) return st;
  int v = x->stopped || depth >= MAXDEPTH ? -1 : choose(x);
  if (v < 0) {
    /* With one label each, the last step saw the only assignment there is. */
    bool all = !x->stopped && depth < MAXDEPTH;
    if (!all) x->open = MIN(x->open, bound);
    return FVM_OK;
  }
  int a = label_of(x, v);
  st = half(x, v, a, true, bound, depth);
  return st ? st : half(x, v, a, false, bound, depth);
}

/* ---- set-up ---- */

/* As large as sums of costs with prices allow. */
static int64_t scale_of(const struct solve_net *net) {
  double sum = 1;
  for (size_t i = 0; i < net->var.n; i++)
    for (int a = 0; a < net->var.v[i].n; a++)
      if (net->var.v[i].cost[a] < SOLVE_INF) sum += (double)net->var.v[i].cost[a];
  for (size_t i = 0; i < net->edge.n; i++) {
    const struct solve_edge *e = &net->edge.v[i];
    int64_t n = (int64_t)net->var.v[e->u].n * net->var.v[e->v].n, most = 0;
    for (int64_t k = 0; k < n; k++)
      if (e->cost[k] < SOLVE_INF) most = MAX(most, e->cost[k]);
    sum += (double)most;
  }
  int64_t scale = 1;
  while (scale < 1 << 20 && sum * (double)scale < 0x1p50) scale *= 2;
  return scale;
}

static bool copy_net(struct usage *x) {
  const struct solve_net *net = x->u->net;
  for (size_t v = 0; v < net->var.n; v++) {
    int n = net->var.v[v].n;
    x->left[v] = ARENA_NEW(x->a, int64_t, n);
    x->cost[v] = ARENA_NEW(x->a, int64_t, n);
    if (solve_add_var(&x->work, n) < 0 || !x->left[v] || !x->cost[v]) return false;
    for (int a = 0; a < n; a++) {
      int64_t c = net->var.v[v].cost[a];
      bool fits_alone = x->first[v] == x->last[v] || usage_of(x, (int)v, a) <= x->u->limit;
      x->left[v][a] = c >= SOLVE_INF || !fits_alone ? SOLVE_INF : c * x->scale;
    }
  }
  for (size_t i = 0; i < net->edge.n; i++) {
    const struct solve_edge *e = &net->edge.v[i];
    int64_t n = (int64_t)net->var.v[e->u].n * net->var.v[e->v].n;
    int k = solve_add_edge(&x->work, e->u, e->v);
    if (k < 0) return false;
    for (int64_t j = 0; j < n; j++)
      x->work.edge.v[k].cost[j] = e->cost[j] >= SOLVE_INF ? SOLVE_INF : e->cost[j] * x->scale;
  }
  return true;
}

static bool open_usage(struct usage *x) {
  size_t n = x->u->net->var.n;
  x->first = ARENA_NEW(x->a, int, n);
  x->last = ARENA_NEW(x->a, int, n);
  x->left = ARENA_NEW(x->a, int64_t *, n);
  x->cost = ARENA_NEW(x->a, int64_t *, n);
  x->known = ARENA_NEW(x->a, bool, n);
  x->now = ARENA_NEW(x->a, int, n);
  x->best = ARENA_NEW(x->a, int, n);
  if (!x->first || !x->last || !x->left || !x->cost || !x->known || !x->now || !x->best ||
      !find_times(x))
    return false;
  x->price = ARENA_NEW(x->a, double, x->ntime);
  x->use = ARENA_NEW(x->a, int64_t, x->ntime);
  x->scale = scale_of(x->u->net);
  return x->price && x->use && solve_ends_find(&x->ends, x->u->net, x->a) && copy_net(x);
}

/* Sums of use have to fit. */
static bool is_large(const struct solve_usage *u) {
  int64_t sum = 0;
  for (size_t v = 0; v < u->net->var.n; v++) {
    int64_t most = 0;
    for (int a = 0; a < u->net->var.v[v].n; a++) most = MAX(most, u->usage[v][a]);
    if (!fvm_add(sum, most, &sum)) return true;
  }
  return sum >= SOLVE_INF;
}

enum fvm_status solve_usage(const struct solve_usage *u, struct arena *a, struct solve_result *r,
                            struct fvm_error *err) {
  *r = (struct solve_result){0};
  if (is_large(u)) return fvm_fail(err, FVM_EUNSUPPORTED, "usages add up to more than 2^60");
  enum fvm_status st = solve_limited(u->net, &u->limits, a, r, err);
  if (st) return st;
  struct usage x = {.u = u, .a = a, .ub = SOLVE_INF, .open = SOLVE_INF, .ticks = r->ticks};
  x.err = err;
  st = open_usage(&x) ? FVM_OK : fvm_nomem(err);
  if (!st) sum_use(&x, r->label);
  if (st || fits(&x)) {
    solve_net_free(&x.work);
    return st;
  }
  memcpy(x.now, r->label, u->net->var.n * sizeof *x.now);
  repair(&x);
  is_stopped(&x);
  int64_t free_bound = r->bound;
  st = branch(&x, free_bound, 0);
  solve_net_free(&x.work);
  *r = (struct solve_result){.label = x.best, .cost = x.ub, .ticks = x.ticks};
  r->bound = MAX(free_bound, MIN(x.open, x.ub));
  r->optimal = r->bound >= r->cost && x.open >= x.ub;
  r->bound = MIN(r->bound, r->cost);
  if (st || x.ub < SOLVE_INF) return st;
  r->optimal = x.open >= SOLVE_INF;
  return fvm_fail(err, FVM_EFAIL,
                  r->optimal ? "no choice of labels keeps the limit of %lld"
                             : "no choice of labels within the limit of %lld was found",
                  (long long)u->limit);
}
