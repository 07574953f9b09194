/* Inside the planner: what schedule_graph's stages hand to each other. Shared by sched_*.c and
 * schedule.c only.
 *
 *   sched_menu.c    what each node can be run by, and what that and conversions cost
 *   sched_choose.c  one label for each node: a cost function network, solved
 *   sched_steps.c   steps and values: programs, conversions, views, outputs
 *   sched_place.c   order, in-place, places of all values, weights */
#ifndef FVM_SCHED_H
#define FVM_SCHED_H

#include "plan_build.h"
#include "solve.h"

/* A way to run a node: the cheapest label of those that look alike to the node's neighbours. */
struct choice {
  struct label label;
  int64_t ns;
  bool measured;
};
/* All of a problem; nodes with equal problems share it. */
struct menu {
  uint64_t hash;
  struct choice *choice;
  int n;
};
/* Conversions of all tensors of one type and shape. */
struct shape_costs {
  const struct tensor *t;
  struct conversion {
    bool known;
    int64_t ns;  /* SOLVE_INF: not possible */
    int threads; /* 0: the bytes are the same, nothing to do */
  } by[LAYOUT_COUNT][LAYOUT_COUNT];
};
struct sched_node {
  struct opcall call;
  const struct menu *menu;
  int choice;
};
struct sched {
  struct arena a; /* until the schedule is done */
  const struct graph *g;
  struct cost *cost;
  const struct plan_options *o;
  struct schedule *s;
  struct sched_node *node;    /* by node of the graph; dead ones are empty */
  struct shape_costs **shape; /* by tensor, filled in on use */
  VEC(struct shape_costs *) shapes;
  VEC(struct menu *) menus;
  int *value;       /* tensor * LAYOUT_COUNT + layout: struct sched_value, or -1 */
  enum layout *out; /* by tensor: the layout its producer makes */
  int *end;         /* by root: last step in which any value at its place is live */
  struct fvm_error *err;
};

static inline const struct tensor *sched_tensor(const struct sched *w, int t) {
  return &w->g->tensor.v[t].t;
}
/* Whether a node's input is there only at run time. */
static inline bool sched_is_run_time(const struct sched *w, int tensor) {
  return tensor >= 0 && !sched_tensor(w, tensor)->data;
}
/* Layout in which a label wants input i; those past LABEL_MAXIO are row. */
static inline enum layout label_in(const struct label *l, int i) {
  return i < LABEL_MAXIO ? (enum layout)l->in[i] : LAYOUT_ROW;
}
static inline enum layout label_out(const struct label *l, int i) {
  return i < LABEL_MAXIO ? (enum layout)l->out[i] : LAYOUT_ROW;
}

/* NULL when memory is out. */
const struct conversion *sched_conversion(struct sched *w, int tensor, enum layout from,
                                          enum layout to);
/* The value at the bottom of a chain of bases, and the offset in it (may be NULL). */
int sched_root(const struct schedule *s, int value, int64_t *offset);

enum fvm_status sched_menus(struct sched *w);
enum fvm_status sched_choose(struct sched *w);
enum fvm_status sched_steps(struct sched *w);
enum fvm_status sched_place(struct sched *w);

#endif
