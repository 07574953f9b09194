/* What the best plan needs to know: the planner's choice of labels, made again and again while
 * costs become known. Order and memory are left out, which have no influence on it. */
#ifndef FVM_DEMAND_H
#define FVM_DEMAND_H

#include "plan_build.h"

struct demand;
/* Of one form of a graph (g->other does not take part). graph, cost and options must last as long.
 * No cost may say COST_UNKNOWN. */
enum fvm_status demand_open(const struct graph *g, struct cost *cost, const struct plan_options *o,
                            struct demand **d, struct fvm_error *err);
void demand_close(struct demand *d);
/* Costs of labels of this problem, of conversions, of anything have changed. */
void demand_forget(struct demand *d, uint64_t problem);
void demand_forget_conversions(struct demand *d);
void demand_forget_all(struct demand *d);
/* Choose labels. *ns: of the whole plan, as the solver counts. */
enum fvm_status demand_solve(struct demand *d, int64_t *ns, struct fvm_error *err);
/* Of what demand_solve chose: each step's problem and label. */
enum fvm_status demand_tell(struct demand *d,
                            void (*use)(void *arg, uint64_t problem, const char *label), void *arg,
                            struct fvm_error *err);

#endif
