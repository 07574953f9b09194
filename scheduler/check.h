/* The checker: proves a plan file right by other means than it was made. None of its files may
 * include the planner's headers, which scripts/check-layers sees to.
 *
 *   check.c         the file alone: sums, memory, lives, what is read and written
 *   check_cover.c   which bytes a program writes
 *   check_graph.c   with the model: steps are its nodes, on the right tensors
 *   check_values.c  with the model: every row holds the tensor that it names
 *   check_labels.c  with the model: labels are the operators', programs and costs are the labels'
 *   check_weights.c with the model: constants are the model's, converted */
#ifndef FVM_CHECK_H
#define FVM_CHECK_H

#include "../vm/plan.h"
#include "cost.h"
#include "graph.h"

/* What a plan is held against; each may be NULL. */
struct check_with {
  const struct graph *graph;
  const struct target
      *target;       /* that it was planned for: with it labels and programs are checked */
  struct cost *cost; /* what it was planned with: so are the costs, given a target */
};
/* One finding is one error, FVM_EFORMAT, which names the step, row or constant. */
enum fvm_status check_plan_with(const struct fvm_plan *p, const struct check_with *with,
                                struct fvm_error *err);
/* From the file alone, and the model when g is given. */
enum fvm_status check_plan(const struct fvm_plan *p, const struct graph *g, struct fvm_error *err);

#endif
