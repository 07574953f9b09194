/* Measure only what can matter. Each label that was not measured has a time that it takes at least,
 * as far as guesses can tell. Under these the planner chooses labels for the whole graph; those of
 * its choice that are not known yet are measured, and so on, until it chooses only what is known.
 * Then no other label can make a better plan, whatever it takes, but for guesses that were off by
 * more than their stored error says.
 *
 *   rough race   the labels that are asked for, with all labels of the problem that may be the best
 *                of their number of threads: a few rounds
 *   full race    those that the planner still asks for, with their close rivals: to the end
 *
 *   again        the finals of what came out of these, once all that the planner asks for is known
 *
 * Times from rough races count as a little less than they are, so that whatever may be the best is
 * measured to the end. */
#include "profile_impl.h"

#include "demand.h"

/* Races of no more labels than that are full at once: setting up one costs as much as is saved. */
enum { FEW = 3, FORMS = 2, PLANS = 8, MORE = 16, MORE_PART = 2 };

struct plan {
  struct plan_options o;
  struct demand *form[FORMS]; /* the second one may be NULL */
};
struct lazy {
  struct profiler *p;
  struct known known;
  struct cost *low;
  struct plan plan[PLANS];
  int nplan;
  double *gain; /* of each problem: ns that measuring can win at most */
  int *order;   /* problems that are to be measured, most gain first */
  int norder;
  int measured; /* labels, at the last fit */
  struct arena arena;
};

/* ---- plans for each number of threads ---- */

static enum fvm_status open_plan(struct plan *x, const struct profiler *p, int threads,
                                 struct cost *cost) {
  const struct target *all = &p->o->target;
  x->o = (struct plan_options){.target = *all, .max_ticks = PLAN_TICKS, .build = "", .machine = ""};
  x->o.target.nthreads = 0;
  for (int i = 0; i < all->nthreads; i++)
    if (all->threads[i] <= threads) x->o.target.threads[x->o.target.nthreads++] = all->threads[i];
  enum fvm_status st = demand_open(p->g, cost, &x->o, &x->form[0], p->err);
  if (!st && p->g->other) st = demand_open(p->g->other, cost, &x->o, &x->form[1], p->err);
  return st;
}

static void close_plan(struct plan *x) {
  for (int i = 0; i < FORMS; i++) demand_close(x->form[i]);
}

/* The better form, and what it takes. */
static enum fvm_status solve_plan(struct plan *x, struct demand **best, int64_t *ns,
                                  struct fvm_error *err) {
  *best = NULL;
  for (int i = 0; i < FORMS && x->form[i]; i++) {
    int64_t one;
    enum fvm_status st = demand_solve(x->form[i], &one, err);
    if (st) return st;
    if (!*best || one < *ns) *best = x->form[i], *ns = one;
  }
  return FVM_OK;
}

/* ---- what the plans ask for ---- */

static void want(void *lazy, uint64_t problem, const char *label) {
  struct lazy *z = lazy;
  int q;
  struct known_label *l = known_find(&z->known, problem, label, &q);
  if (!l || (l->state != KNOWN_NOT && l->state != KNOWN_ROUGHLY)) return;
  l->wanted = true;
  z->gain[q] += l->state == KNOWN_NOT ? (double)(l->likely - l->low) + 1 : 1e-3 * (double)l->ns;
}

static void sort_problems(struct lazy *z) {
  z->norder = 0;
  for (int q = 0; q < (int)z->p->set.problem.n; q++) {
    int k = z->norder;
    if (z->gain[q] <= 0) continue;
    for (; k > 0 && z->gain[z->order[k - 1]] < z->gain[q]; k--) z->order[k] = z->order[k - 1];
    z->order[k] = q;
    z->norder++;
  }
}

static enum fvm_status ask_plans(struct lazy *z) {
  enum fvm_status st = FVM_OK;
  for (size_t q = 0; q < z->p->set.problem.n; q++) z->gain[q] = 0;
  for (int i = 0; i < z->nplan && !st; i++) {
    struct demand *best;
    int64_t ns;
    st = solve_plan(&z->plan[i], &best, &ns, z->p->err);
    if (!st) st = demand_tell(best, want, z, z->p->err);
  }
  if (!st) sort_problems(z);
  return st;
}

/* ---- who races ---- */

/* The least that is known, or likely, of labels of so many threads; of one candidate, or of all
 * (NULL). */
static int64_t least(const struct known_problem *y, const struct cand *cand, int threads) {
  int64_t ns = INT64_MAX;
  for (int i = 0; i < y->n; i++) {
    const struct known_label *l = &y->label[i];
    bool counts = l->label.threads == threads && (!cand || l->label.cand == cand);
    if (counts && l->state != KNOWN_BAD) ns = MIN(ns, known_timed(l) ? l->ns : l->likely);
  }
  return ns;
}

static bool wants_unknown(const struct known_problem *y, int threads) {
  for (int i = 0; i < y->n; i++)
    if (y->label[i].wanted && y->label[i].state == KNOWN_NOT &&
        y->label[i].label.threads == threads)
      return true;
  return false;
}

/* Unknown labels: those that are wanted, and of those of as many threads that may be the best ones
 * that are likely to be the best of their kin. */
static int pick_unknown(const struct lazy *z, const struct known_problem *y, bool *in) {
  int n = 0;
  for (int i = 0; i < y->n; i++) {
    const struct known_label *l = &y->label[i];
    in[i] = l->state == KNOWN_NOT &&
            (l->wanted ||
             (wants_unknown(y, l->label.threads) && l->low <= least(y, NULL, l->label.threads) &&
              (double)l->likely <=
                  known_slack(&z->known, l) * (double)least(y, l->label.cand, l->label.threads)));
    n += in[i];
  }
  return n;
}

/* The fastest of a label's group that is known; -1: none. */
static int best_known(const struct opcall *c, const struct known_problem *y, int i) {
  int best = -1;
  for (int k = 0; k < y->n; k++)
    if (known_timed(&y->label[k]) &&
        measure_same_group(c, &y->label[i].label, &y->label[k].label) &&
        (best < 0 || y->label[k].ns < y->label[best].ns))
      best = k;
  return best;
}

/* By these parts times of rough races were seen to be too high, as a whole race may lie in a bad
 * time: of those that came to its end, and of those that left it after a sample or two. */
static const double HIGH_AT_END = 0.1, HIGH_LOST = 0.2;

static bool may_be_best(const struct opcall *c, const struct known_problem *y, int i) {
  const struct known_label *l = &y->label[i];
  double least = (1 - (l->lost ? HIGH_LOST : HIGH_AT_END)) * (double)l->ns;
  return l->state == KNOWN_ROUGHLY && least <= (double)y->label[best_known(c, y, i)].ns;
}

/* What is wanted and known roughly, and whatever of its group may be the best one: there it has
 * another chance, at another time. */
static void pick_rough(const struct opcall *c, const struct known_problem *y, bool *in) {
  for (int i = 0; i < y->n; i++) {
    in[i] = y->label[i].wanted;
    bool may = !in[i] && may_be_best(c, y, i);
    for (int r = 0; r < y->n && may && !in[i]; r++)
      in[i] = y->label[r].wanted && measure_same_group(c, &y->label[i].label, &y->label[r].label);
  }
}

/* The fastest of each group that is known runs beside them, so that times can be compared. */
static void add_rivals(const struct opcall *c, const struct known_problem *y, bool *in) {
  for (int i = 0; i < y->n; i++) {
    int best = in[i] && y->label[i].state != KNOWN_SURELY ? best_known(c, y, i) : -1;
    if (best >= 0) in[best] = true;
  }
}

/* ---- measuring ---- */

/* What is known of a problem has changed; q -1: of any. */
static void forget(struct lazy *z, int q) {
  const struct profile_problem *x = q < 0 ? NULL : &z->p->set.problem.v[q];
  if (x) known_update(&z->known, q);
  for (int i = 0; i < z->nplan; i++)
    for (int k = 0; k < FORMS && z->plan[i].form[k]; k++) {
      struct demand *d = z->plan[i].form[k];
      if (!x || x->is_convert) demand_forget_conversions(d);
      if (x)
        demand_forget(d, x->hash);
      else
        demand_forget_all(d);
    }
}

static enum fvm_status measure(struct lazy *z, int q) {
  struct known_problem *y = &z->known.problem[q];
  const struct opcall *c = &z->p->set.problem.v[q].call;
  struct arena a = {0};
  bool *in = ARENA_NEW(&a, bool, MAX(y->n, 1));
  enum fvm_status st = in ? FVM_OK : fvm_nomem(z->p->err);
  if (!st) {
    int n = pick_unknown(z, y, in);
    if (!n) pick_rough(c, y, in);
    add_rivals(c, y, in);
    for (int i = 0; i < y->n; i++) y->label[i].wanted = false;
    st = known_race(&z->known, z->p, q, in, n > FEW ? RACE_ROUGH : RACE_FULL);
    forget(z, q);
  }
  arena_free(&a);
  return st;
}

/* ---- the loop ---- */

static bool is_interrupted(const struct profiler *p) {
  return p->o->interrupted && *p->o->interrupted;
}

static enum fvm_status refit(struct lazy *z) {
  enum fvm_status st = known_guess(&z->known, z->p);
  z->measured = z->p->totals->labels_measured;
  if (!st) forget(z, -1);
  return st;
}

/* Whether so much more was measured since the last fit that another one pays. */
static bool is_stale(const struct lazy *z) {
  int more = z->p->totals->labels_measured - z->measured;
  return more >= MORE && more >= (int)z->known.runs / MORE_PART;
}

/* All that the plans ask for by now. */
static enum fvm_status sweep(struct lazy *z) {
  enum fvm_status st = FVM_OK;
  for (int i = 0; i < z->norder && !st && !z->p->out_of_budget; i++) {
    if (is_interrupted(z->p))
      return fvm_fail(z->p->err, FVM_EINTR, "interrupted; what was measured is kept");
    st = measure(z, z->order[i]);
    if (!st && is_stale(z)) st = refit(z);
  }
  return st;
}

/* The prior that ends the loop is the one that the next call begins with, since it is fitted to all
 * that was measured: so the next call has nothing to measure. */
static enum fvm_status loop(struct lazy *z) {
  struct profiler *p = z->p;
  bool stale = false;
  for (;;) {
    enum fvm_status st = ask_plans(z);
    if (!st && z->norder == 0 && !stale) return FVM_OK;
    if (!st && z->norder == 0) {
      stale = false;
      st = refit(z);
      if (st) return st;
      continue;
    }
    if (!st) st = sweep(z);
    if (st == FVM_EINTR && p->out_of_budget) return FVM_OK;
    if (st || p->out_of_budget) return st;
    stale = true;
  }
}

/* After a pass of visits: whatever the plans ask for now. */
static enum fvm_status replan(void *lazy) {
  struct lazy *z = lazy;
  enum fvm_status st = refit(z);
  return st ? st : loop(z);
}

/* Then what plans rest on again, at other times. */
static enum fvm_status measure_all(struct lazy *z) {
  enum fvm_status st = loop(z);
  return st || z->p->out_of_budget ? st : profile_again(z->p, &z->known, replan, z);
}

/* What is known by now makes a plan of ns; none takes less than least_ns. */
static enum fvm_status report(struct lazy *z) {
  struct profile_totals *t = z->p->totals;
  struct cost *likely = known_cost(&z->known, false);
  enum fvm_status st = likely ? FVM_OK : fvm_nomem(z->p->err);
  t->nplan = 0;
  for (int i = 0; i < z->nplan && !st; i++) {
    struct profile_plan *x = &t->plan[t->nplan++];
    struct plan now = {0};
    struct demand *best;
    x->threads = z->p->o->target.threads[i];
    st = solve_plan(&z->plan[i], &best, &x->least_ns, z->p->err);
    if (!st) st = open_plan(&now, z->p, x->threads, likely);
    if (!st) st = solve_plan(&now, &best, &x->ns, z->p->err);
    close_plan(&now);
    x->least_ns = MIN(x->least_ns, x->ns);
  }
  cost_free(likely);
  return st;
}

static void count(struct lazy *z) {
  struct profile_totals *t = z->p->totals;
  t->problems = (int)z->p->set.problem.n;
  for (int q = 0; q < t->problems; q++) {
    const struct known_problem *y = &z->known.problem[q];
    t->labels_total += y->n;
    for (int i = 0; i < y->n; i++) t->labels_known += y->label[i].state != KNOWN_NOT;
  }
}

enum fvm_status profile_lazily(struct profiler *p) {
  struct lazy z = {.p = p};
  enum fvm_status st = known_open(&z.known, p);
  z.low = st ? NULL : known_cost(&z.known, true);
  z.gain = ARENA_NEW(&z.arena, double, p->set.problem.n + 1);
  z.order = ARENA_NEW(&z.arena, int, p->set.problem.n + 1);
  if (!st && !(z.low && z.gain && z.order)) st = fvm_nomem(p->err);
  for (int i = 0; i < p->o->target.nthreads && !st; i++)
    st = open_plan(&z.plan[z.nplan++], p, p->o->target.threads[i], z.low);
  if (!st) {
    count(&z);
    profile_send(p, PROFILE_BEGIN, NULL);
    st = measure_all(&z);
  }
  p->totals->complete = !st && !p->out_of_budget;
  if (p->totals->complete) p->totals->problems_done = p->totals->problems;
  if (!st) st = report(&z);
  p->totals->prior_runs = z.known.prior.runs;
  p->totals->prior_median = z.known.prior.median_error;
  p->totals->prior_high = z.known.prior.high_error;
  for (int i = 0; i < z.nplan; i++) close_plan(&z.plan[i]);
  cost_free(z.low);
  known_close(&z.known);
  arena_free(&z.arena);
  return st;
}
