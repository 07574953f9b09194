/* The front of latency against memory, and its end. Contract: plan_build.h.
 *
 * The fastest plan first; then with less and less memory, in steps of a part of what that one
 * takes, until there is none; then halfway between what failed and what did not, to come near the
 * least. A plan may come out far below what it was allowed; the steps between are left out, and so
 * are plans that only differ from the one before by what measuring cannot tell. */
#include "sched_fit.h"

#include <stdio.h>

enum { STEPS = 24, HALVINGS = 4, TIE = 100 /* a part of the latency */ };
enum { CUTS = 24, FINE = 1000 /* a part of the memory */ };

/* A schedule at the end of the front: none before it may be as slow. */
static bool add(struct front *f, struct schedule *s) {
  while (f->schedule.n && f->schedule.v[f->schedule.n - 1]->cost_ns >= s->cost_ns)
    schedule_free(f->schedule.v[--f->schedule.n]);
  bool ok = VEC_PUSH(&f->schedule, s);
  if (!ok) schedule_free(s);
  return ok;
}

/* Leave out what is no slower than the plan before it by more than a tie; the last one stays. */
static void drop_ties(struct front *f) {
  size_t n = 0;
  for (size_t i = 0; i < f->schedule.n; i++) {
    struct schedule *s = f->schedule.v[i];
    int64_t before = n ? f->schedule.v[n - 1]->cost_ns : 0;
    bool tie = n && s->cost_ns - before <= before / TIE, last = i + 1 == f->schedule.n;
    if (tie && last && n > 1) schedule_free(f->schedule.v[--n]);
    if (tie && !last)
      schedule_free(s);
    else
      f->schedule.v[n++] = s;
  }
  f->schedule.n = n;
}

/* ---- the forms of the graph, each opened once for all limits ---- */

struct form {
  struct sched w;
  struct fit fit;
  struct schedule *first; /* the fastest of all */
  struct again again;
  bool is_open; /* else it has no plan at all: pins that are not for it */
};
struct sweep {
  struct form form[2];
  int nform;
  struct plan_options o; /* those of the caller, but for the watch */
  const struct plan_watch *watch;
  struct plan_watch inner; /* for the searches for one point */
  struct front *f;
  int64_t most;      /* what the first plan takes */
  int64_t last, low; /* what the last plan takes, and what is known to be too little */
  int64_t floor;     /* less is not possible, if each tensor is computed once */
  double settled;
  struct fvm_error *err;
};

/* ---- for those who wait ---- */

/* How much of the sizes between the first plan's and the least is settled: it has a plan, or can't
 * have one. Of a search for one point only what it does. */
static bool tell(void *sweep, double done, double total, const char *what) {
  struct sweep *x = sweep;
  size_t n = x->f->schedule.n;
  double range = (double)(x->most - x->floor);
  double sure = (double)(x->most - x->last + MAX(x->low - x->floor, 0));
  char text[128];
  (void)done, (void)total;
  if (range > 0) x->settled = MAX(x->settled, MIN(sure / range, 1));
  if (n == 0) return x->watch->go_on(x->watch->ctx, 0, 1, what);
  snprintf(text, sizeof text, "%zu plan%s down to %.2f MiB: %s", n, n > 1 ? "s" : "",
           (double)x->last / 1048576, what);
  return x->watch->go_on(x->watch->ctx, x->settled, 1, text);
}

static enum fvm_status go_on(struct sweep *x) {
  bool on = !x->watch || tell(x, 0, 0, "less memory");
  return on ? FVM_OK : fvm_fail(x->err, FVM_EINTR, "interrupted: no plan was written");
}

static void open_sweep(struct sweep *x, const struct plan_options *o, struct front *f,
                       struct fvm_error *err) {
  *x = (struct sweep){.o = *o, .watch = o->watch, .inner = {tell, x}, .f = f, .err = err};
  if (o->watch) x->o.watch = &x->inner;
}

static enum fvm_status find_floor(struct sweep *x, struct fit *fit, struct fvm_error *err) {
  int64_t floor = tree_floor(fit);
  if (floor < 0) return fvm_nomem(err);
  x->floor = x->nform == 1 ? floor : MIN(x->floor, floor);
  return FVM_OK;
}

static enum fvm_status open_form(struct sweep *x, const struct graph *g, struct cost *cost) {
  struct fvm_error why = {0};
  struct form *form = &x->form[x->nform++];
  enum fvm_status st = sched_begin(&form->w, g, cost, &x->o, &why);
  if (!st) {
    form->is_open = true;
    st = again_find(&form->w, (struct limits){0, 0}, &form->again);
    enum fvm_status also = fit_open(&form->fit, &form->w, true);
    st = st ? st : also;
    if (!st) st = find_floor(x, &form->fit, &why);
  }
  form->first = form->w.s;
  form->w.err = form->fit.err = x->err;
  if (st == FVM_EFAIL || st == FVM_EFORMAT) return FVM_OK; /* the other one has a plan */
  return st ? fvm_fail(x->err, st, "%s", why.text) : FVM_OK;
}

static void close_forms(struct sweep *x) {
  for (int i = 0; i < x->nform; i++) {
    if (x->form[i].is_open) fit_close(&x->form[i].fit);
    again_free(&x->form[i].again);
    schedule_free(x->form[i].first);
    sched_close(&x->form[i].w);
  }
}

/* The best of a form within a limit; *s NULL: none was found. */
static enum fvm_status plan_form(struct sweep *x, struct form *form, int64_t memory,
                                 struct schedule **s) {
  struct limits limits = fit_limits(&x->o);
  bool found = false;
  limits.memory = memory;
  *s = NULL;
  if (!form->is_open) return FVM_OK;
  form->w.s = form->first;
  enum fvm_status st = sched_renew(&form->w);
  if (!st) st = fit_within(&form->fit, limits, &found);
  if (!st && found) { /* whatever comes later has less memory */
    *s = form->w.s;
    form->fit.floor = MAX(form->fit.floor, form->fit.bound);
  }
  if (!*s) schedule_free(form->w.s);
  if (!st) again_take(&form->again, limits, s);
  return st;
}

/* ---- the sweep ---- */

/* One point more, within a limit; *found tells whether there is a plan. */
static enum fvm_status try(struct sweep *x, int64_t memory, bool *found) {
  struct schedule *best = NULL, *s;
  enum fvm_status st = FVM_OK;
  for (int i = 0; i < x->nform && !st; i++) {
    st = plan_form(x, &x->form[i], memory, &s);
    bool better = s && (!best || sched_is_better(s, best));
    schedule_free(better ? best : s);
    if (better) best = s;
  }
  if (best && (st || (x->o.latency_ns && best->cost_ns > x->o.latency_ns))) {
    schedule_free(best);
    best = NULL;
  }
  *found = best != NULL;
  if (st) return st;
  if (!best) {
    x->low = memory;
    return FVM_OK;
  }
  x->last = best->resident_bytes;
  return add(x->f, best) ? FVM_OK : fvm_nomem(x->err);
}

static enum fvm_status sweep(struct sweep *x) {
  bool found = true, more;
  int64_t most = x->most, step = MAX(most / STEPS, 1);
  enum fvm_status st = FVM_OK;
  for (int i = 1; !st && found && i <= STEPS; i++) {
    if (most - i * step >= x->last) continue;
    st = go_on(x);
    if (!st) st = try(x, most - i * step, &found);
  }
  for (int i = 0; !st && !found && i < HALVINGS; i++) {
    st = go_on(x);
    if (!st) st = try(x, x->low + (x->last - x->low) / 2, &more);
  }
  return st;
}

/* The fastest plan, and all that looks for others. */
static enum fvm_status begin(struct sweep *x, const struct graph *g, struct cost *cost) {
  struct schedule *first;
  *x->f = (struct front){{0}};
  enum fvm_status st = schedule_graph(g, cost, &x->o, &first, x->err);
  if (st) return st;
  x->most = x->last = first->resident_bytes;
  if (!add(x->f, first)) return fvm_nomem(x->err);
  st = go_on(x);
  if (!st) st = open_form(x, g, cost);
  return st || !g->other ? st : open_form(x, g->other, cost);
}

enum fvm_status schedule_front(const struct graph *g, struct cost *cost,
                               const struct plan_options *o, struct front *f,
                               struct fvm_error *err) {
  struct sweep x;
  open_sweep(&x, o, f, err);
  enum fvm_status st = begin(&x, g, cost);
  if (!st) st = sweep(&x);
  if (!st) drop_ties(f);
  close_forms(&x);
  return st;
}

/* The least latency within a size of memory falls with the size: halve what is between too little
 * and enough. */
enum fvm_status schedule_smallest(const struct graph *g, struct cost *cost,
                                  const struct plan_options *o, struct schedule **schedule,
                                  struct fvm_error *err) {
  struct front f;
  struct sweep x;
  bool found;
  open_sweep(&x, o, &f, err);
  enum fvm_status st = begin(&x, g, cost);
  for (int i = 0; !st && i < CUTS && x.last - x.low > x.last / FINE; i++) {
    st = go_on(&x);
    if (!st) st = try(&x, x.low + (x.last - x.low) / 2, &found);
  }
  close_forms(&x);
  *schedule = st ? NULL : f.schedule.v[--f.schedule.n];
  front_free(&f);
  return st;
}

void front_free(struct front *f) {
  for (size_t i = 0; i < f->schedule.n; i++) schedule_free(f->schedule.v[i]);
  VEC_FREE(&f->schedule);
}
