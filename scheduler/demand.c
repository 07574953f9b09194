/* The planner, held open. Contract: demand.h. */
#include "demand.h"

#include "sched.h"

#include <string.h>

struct demand {
  struct sched w;
  struct plan_options o;
};

enum fvm_status demand_open(const struct graph *g, struct cost *cost, const struct plan_options *o,
                            struct demand **out, struct fvm_error *err) {
  struct demand *d = *out = fvm_alloc(1, sizeof *d);
  if (!d) return fvm_nomem(err);
  d->o = *o;
  enum fvm_status st = sched_open(&d->w, g, cost, &d->o, err);
  d->w.ignores_ties = true;
  if (st) {
    demand_close(d);
    *out = NULL;
  }
  return st;
}

void demand_close(struct demand *d) {
  if (!d) return;
  schedule_free(d->w.s);
  sched_close(&d->w);
  fvm_free(d, 1, sizeof *d);
}

void demand_forget(struct demand *d, uint64_t problem) {
  size_t n = 0;
  for (size_t i = 0; i < d->w.menus.n; i++)
    if (d->w.menus.v[i]->hash != problem) d->w.menus.v[n++] = d->w.menus.v[i];
  d->w.menus.n = n;
}

void demand_forget_conversions(struct demand *d) {
  for (size_t i = 0; i < d->w.shapes.n; i++)
    memset(d->w.shapes.v[i]->by, 0, sizeof d->w.shapes.v[i]->by);
}

void demand_forget_all(struct demand *d) {
  d->w.menus.n = 0;
  demand_forget_conversions(d);
}

static enum fvm_status choose(struct demand *d) {
  struct sched *w = &d->w;
  schedule_free(w->s);
  w->s = NULL;
  enum fvm_status st = sched_renew(w);
  return st ? st : sched_labels(w);
}

static enum fvm_status tell_step(struct demand *d, const struct sched_step *s,
                                 void (*use)(void *arg, uint64_t problem, const char *label),
                                 void *arg, struct fvm_error *err) {
  const struct schedule *plan = d->w.s;
  struct text label = {0};
  uint64_t problem;
  if (s->node >= 0) {
    const struct sched_node *n = &d->w.node[s->node];
    problem = s->first < 0 ? n->problem : n->menu->both->hash;
    label.failed = !sched_choice_text(&d->w, s->node, &n->menu->choice[n->choice], &label);
  } else {
    const struct sched_value *x = &plan->value.v[s->in_value], *y = &plan->value.v[s->out_value];
    problem = convert_hash(sched_tensor(&d->w, x->tensor), x->layout, y->layout);
    convert_label(s->threads, &label);
  }
  bool ok = !label.failed;
  if (ok) use(arg, problem, label.v);
  text_free(&label);
  return ok ? FVM_OK : fvm_nomem(err);
}

enum fvm_status demand_solve(struct demand *d, int64_t *ns, struct fvm_error *err) {
  d->w.err = err;
  enum fvm_status st = choose(d);
  *ns = st ? 0 : d->w.s->layout_cost_ns;
  return st;
}

enum fvm_status demand_tell(struct demand *d,
                            void (*use)(void *arg, uint64_t problem, const char *label), void *arg,
                            struct fvm_error *err) {
  d->w.err = err;
  enum fvm_status st = sched_realize_steps(&d->w); /* without order and places */
  for (size_t i = 0; !st && i < d->w.s->step.n; i++)
    st = tell_step(d, &d->w.s->step.v[i], use, arg, err);
  return st;
}
