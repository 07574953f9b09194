/* The front of latency against memory. Contract: plan_build.h.
 *
 * The fastest plan first; then with less and less memory, in steps of a part of what that one
 * takes, until there is none; then halfway between what failed and what did not, to come near the
 * least. A plan may come out far below what it was allowed; the steps between are left out, and so
 * are plans that only differ from the one before by what measuring cannot tell. */
#include "plan_build.h"

enum { STEPS = 24, HALVINGS = 4, TIE = 100 /* a part of the latency */ };

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

/* State of the search: what the last plan takes, and what is known to be too little. */
struct sweep {
  const struct graph *g;
  struct cost *cost;
  const struct plan_options *o;
  struct front *f;
  int64_t last, low;
  struct fvm_error *err;
};

/* One point more, within a limit; *found tells whether there is a plan. */
static enum fvm_status try(struct sweep *w, int64_t memory, bool *found) {
  struct plan_options at = *w->o;
  struct schedule *s;
  at.memory = memory;
  enum fvm_status st = schedule_graph(w->g, w->cost, &at, &s, w->err);
  *found = !st;
  if (st == FVM_EFAIL && w->f->schedule.n) {
    w->low = memory;
    return FVM_OK;
  }
  if (st) return st;
  w->last = s->resident_bytes;
  return add(w->f, s) ? FVM_OK : fvm_nomem(w->err);
}

static enum fvm_status go_on(const struct sweep *w, int done) {
  const struct plan_watch *x = w->o->watch;
  bool on = !x || x->go_on(x->ctx, done, STEPS + HALVINGS, "the front of latency and memory");
  return on ? FVM_OK : fvm_fail(w->err, FVM_EINTR, "interrupted: no plan was written");
}

enum fvm_status schedule_front(const struct graph *g, struct cost *cost,
                               const struct plan_options *o, struct front *f,
                               struct fvm_error *err) {
  struct sweep w = {g, cost, o, f, 0, 0, err};
  bool found = true, more;
  *f = (struct front){{0}};
  enum fvm_status st = try(&w, o->memory, &found);
  int64_t most = w.last, step = MAX(most / STEPS, 1);
  for (int i = 1; !st && found && i <= STEPS; i++) {
    if (most - i * step >= w.last) continue;
    st = go_on(&w, i);
    if (!st) st = try(&w, most - i * step, &found);
  }
  for (int i = 0; !st && !found && i < HALVINGS; i++) {
    st = go_on(&w, STEPS + i);
    if (!st) st = try(&w, w.low + (w.last - w.low) / 2, &more);
  }
  if (!st) drop_ties(f);
  return st;
}

void front_free(struct front *f) {
  for (size_t i = 0; i < f->schedule.n; i++) schedule_free(f->schedule.v[i]);
  VEC_FREE(&f->schedule);
}
