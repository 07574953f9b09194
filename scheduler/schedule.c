/* From a graph to a schedule. Contract: plan_build.h; the stages: sched.h. */
#include "sched.h"

#include <time.h>

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static bool set_up(struct sched *w) {
  size_t ntensor = w->g->tensor.n;
  w->node = ARENA_NEW(&w->a, struct sched_node, w->g->node.n);
  w->shape = ARENA_NEW(&w->a, struct shape_costs *, ntensor);
  w->value = ARENA_NEW(&w->a, int, ntensor *LAYOUT_COUNT);
  w->out = ARENA_NEW(&w->a, enum layout, ntensor);
  if (!w->node || !w->shape || !w->value || !w->out) return false;
  for (size_t i = 0; i < ntensor * LAYOUT_COUNT; i++) w->value[i] = -1;
  for (size_t i = 0; i < ntensor; i++) w->out[i] = LAYOUT_ROW; /* graph inputs are */
  return true;
}

static enum fvm_status schedule_form(const struct graph *g, struct cost *cost,
                                     const struct plan_options *o, struct schedule **schedule,
                                     struct fvm_error *err) {
  double start = now();
  struct sched w = {.g = g, .cost = cost, .o = o, .err = err};
  struct schedule *s = w.s = fvm_alloc(1, sizeof *s);
  enum fvm_status st = s && set_up(&w) ? FVM_OK : fvm_nomem(err);
  if (s) s->graph = g, s->target = o->target;
  if (!st) st = sched_menus(&w);
  if (!st) st = sched_choose(&w);
  if (!st) st = sched_steps(&w);
  if (!st) st = sched_place(&w);
  VEC_FREE(&w.shapes);
  VEC_FREE(&w.menus);
  arena_free(&w.a);
  if (s) s->plan_seconds = now() - start;
  if (st) {
    schedule_free(s);
    s = NULL;
  }
  *schedule = s;
  return st;
}

/* Of two forms the first is the simpler one; guesses must not win against measurements. */
static bool is_better(const struct schedule *x, const struct schedule *y) {
  return x->guesses <= y->guesses && x->cost_ns < y->cost_ns;
}

/* Both forms are scheduled to the end, since layouts and threads of the neighbours, too, depend on
 * which one it is. All at once and not place by place: the layers of a network are alike, so what
 * is faster in one of them is in all. */
enum fvm_status schedule_graph(const struct graph *g, struct cost *cost,
                               const struct plan_options *o, struct schedule **schedule,
                               struct fvm_error *err) {
  struct schedule *other = NULL;
  enum fvm_status st = schedule_form(g, cost, o, schedule, err);
  if (!st && g->other) st = schedule_form(g->other, cost, o, &other, err);
  if (other && is_better(other, *schedule)) {
    struct schedule *worse = *schedule;
    *schedule = other;
    other = worse;
  }
  schedule_free(other);
  if (st) {
    schedule_free(*schedule);
    *schedule = NULL;
  }
  return st;
}

void schedule_free(struct schedule *s) {
  if (!s) return;
  VEC_FREE(&s->step);
  VEC_FREE(&s->value);
  arena_free(&s->arena);
  fvm_free(s, 1, sizeof *s);
}
