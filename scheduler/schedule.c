/* From a graph to a schedule. Contract: plan_build.h; the stages: sched.h. */
#include "sched_fit.h"

static void forget_values(struct sched *w) {
  size_t ntensor = w->g->tensor.n;
  for (size_t i = 0; i < ntensor * LAYOUT_COUNT; i++) w->value[i] = -1;
  for (size_t i = 0; i < ntensor; i++) w->out[i] = w->io[i]; /* of graph inputs */
}

static bool set_up(struct sched *w) {
  size_t ntensor = w->g->tensor.n;
  w->node = ARENA_NEW(&w->a, struct sched_node, w->g->node.n);
  w->shape = ARENA_NEW(&w->a, struct shape_costs *, ntensor);
  w->value = ARENA_NEW(&w->a, int, ntensor *LAYOUT_COUNT);
  w->out = ARENA_NEW(&w->a, enum layout, ntensor);
  w->hash = ARENA_NEW(&w->a, uint64_t, ntensor);
  w->io = ARENA_NEW(&w->a, enum layout, ntensor); /* all row so far */
  return w->node && w->shape && w->value && w->out && w->hash && w->io;
}

enum fvm_status sched_realize_steps(struct sched *w) {
  struct schedule *s = w->s;
  s->step.n = s->value.n = 0;
  s->conversions = s->guesses = 0;
  s->cost_ns = s->order_bound = s->weight_bytes = s->scratch_bytes = 0;
  forget_values(w);
  enum fvm_status st = sched_steps(w);
  phase_done(w->o->phases, PHASE_steps);
  return st;
}

enum fvm_status sched_realize(struct sched *w) {
  enum fvm_status st = sched_realize_steps(w);
  return st ? st : sched_place(w);
}

enum fvm_status sched_renew(struct sched *w) {
  const struct schedule *before = w->s;
  struct schedule *s = w->s = fvm_alloc(1, sizeof *s);
  if (!s) return fvm_nomem(w->err);
  s->graph = w->g;
  s->target = w->o->target;
  if (before) s->labels_total = before->labels_total, s->labels_measured = before->labels_measured;
  return FVM_OK;
}

enum fvm_status sched_open(struct sched *w, const struct graph *g, struct cost *cost,
                           const struct plan_options *o, struct fvm_error *err) {
  *w = (struct sched){.g = g, .cost = cost, .o = o, .err = err};
  if (sched_renew(w) || !set_up(w)) return fvm_nomem(err);
  w->join = joins_find(g, &o->target, &w->a);
  w->first = chains_find(g, &o->target, &w->a);
  return w->join && w->first ? FVM_OK : fvm_nomem(err);
}

void sched_close(struct sched *w) {
  VEC_FREE(&w->shapes);
  VEC_FREE(&w->menus);
  arena_free(&w->a);
}

/* The caller has a state in the only layout that its node has. */
void sched_find_states(struct sched *w) {
  for (size_t i = 0; i < w->g->node.n; i++) {
    const struct node *n = &w->g->node.v[i];
    if (n->dead || !(n->op->flags & OPF_STATE)) continue;
    enum layout l = label_out(&w->node[i].menu->choice[0].label, 0);
    w->io[n->in.v[0]] = w->io[n->out.v[0]] = l;
  }
}

enum fvm_status sched_labels(struct sched *w) {
  enum fvm_status st = sched_menus(w);
  if (!st) sched_find_states(w);
  return st ? st : sched_choose(w);
}

/* Copies of what the caller gets, and nobody could write there, come on top of what labels cost. */
static int64_t outputs_ns(const struct schedule *s) {
  int64_t sum = 0;
  for (size_t k = 0; k < s->step.n; k++) {
    const struct sched_step *x = &s->step.v[k];
    if (x->node >= 0) continue;
    const struct sched_value *from = &s->value.v[x->in_value], *to = &s->value.v[x->out_value];
    if (to->space == SPACE_OUTPUT && to->base < 0 && from->layout == to->layout) sum += x->cost_ns;
  }
  return sum;
}

void sched_settle_cost(struct schedule *s) {
  int64_t ns = s->cost_ns - outputs_ns(s);
  if (ns == s->layout_cost_ns) return;
  s->layout_cost_ns = ns;
  s->layout_bound_ns = MIN(s->layout_bound_ns, ns);
  s->optimal = s->optimal && s->layout_bound_ns == ns;
}

enum fvm_status sched_start(struct sched *w) {
  enum fvm_status st = sched_menus(w);
  if (!st) sched_find_states(w);
  phase_done(w->o->phases, PHASE_menus);
  if (!st) st = sched_policy(w)->choose(w);
  if (!st) st = sched_realize(w);
  if (!st) sched_settle_cost(w->s);
  return st;
}

enum fvm_status sched_begin(struct sched *w, const struct graph *g, struct cost *cost,
                            const struct plan_options *o, struct fvm_error *err) {
  enum fvm_status st = sched_open(w, g, cost, o, err);
  return st ? st : sched_start(w);
}

/* The schedule is over its limits. */
static enum fvm_status fit(struct sched *w) {
  struct again again = {{0}};
  enum fvm_status st = again_find(w, fit_limits(w->o), &again);
  if (!st) st = again_settle(w, &again, sched_fit(w));
  again_free(&again);
  return st;
}

enum fvm_status sched_form(const struct graph *g, struct cost *cost, const struct plan_options *o,
                           struct schedule **schedule, struct fvm_error *err) {
  struct sched w;
  enum fvm_status st = sched_begin(&w, g, cost, o, err);
  if (!st && !fits(w.s, fit_limits(o)))
    st = fit(&w);
  else if (!st && w.tie)
    st = sched_break_tie(&w);
  sched_close(&w);
  if (st) schedule_free(w.s);
  *schedule = st ? NULL : w.s;
  return st;
}

/* Guesses must not win against measurements. */
bool sched_is_better(const struct schedule *x, const struct schedule *y) {
  return x->guesses <= y->guesses && x->cost_ns < y->cost_ns;
}

/* Whether a form's failure says nothing of the other one. */
static bool may_be_other(enum fvm_status st, const struct plan_options *o) {
  return !st || st == FVM_EFAIL || (st == FVM_EFORMAT && o->pins);
}

/* Both forms are scheduled to the end, since layouts and threads of the neighbours, too, depend on
 * which one it is. All at once and not place by place: the layers of a network are alike, so what
 * is faster in one of them is in all. */
static enum fvm_status schedule_forms(const struct graph *g, struct cost *cost,
                                      const struct plan_options *o, struct schedule **schedule,
                                      struct fvm_error *err) {
  struct schedule *other;
  struct fvm_error why = {0};
  enum fvm_status st = sched_form(g, cost, o, schedule, err), also;
  if (!g->other || !may_be_other(st, o)) return st;
  also = sched_form(g->other, cost, o, &other, &why);
  /* Only one of them fits into memory and has the nodes that are pinned, or none. */
  if (also && may_be_other(also, o)) return st;
  if (also) {
    schedule_free(*schedule);
    *schedule = NULL;
    return fvm_fail(err, also, "%s", why.text);
  }
  if (!*schedule || sched_is_better(other, *schedule)) {
    struct schedule *worse = *schedule;
    *schedule = other;
    other = worse;
  }
  schedule_free(other);
  return FVM_OK;
}

enum fvm_status schedule_graph(const struct graph *g, struct cost *cost,
                               const struct plan_options *o, struct schedule **schedule,
                               struct fvm_error *err) {
  enum fvm_status st = schedule_forms(g, cost, o, schedule, err);
  int64_t ns = st ? 0 : (*schedule)->cost_ns;
  if (st || !o->latency_ns || ns <= o->latency_ns) return st;
  schedule_free(*schedule);
  *schedule = NULL;
  return fvm_fail(
      err, FVM_EFAIL, "no plan within --latency %g ms: the fastest%s is predicted to take %.3f",
      (double)o->latency_ns * 1e-6, o->memory || o->arena ? " that keeps the limits on memory" : "",
      (double)ns * 1e-6);
}

void schedule_free(struct schedule *s) {
  if (!s) return;
  VEC_FREE(&s->step);
  VEC_FREE(&s->value);
  arena_free(&s->arena);
  graph_free(s->own);
  fvm_free(s, 1, sizeof *s);
}
