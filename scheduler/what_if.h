/* What other labels would cost: a schedule's labels solved again, with some nodes' changed. Without
 * limits on memory only the network of labels is, which takes milliseconds; within limits
 * everything is planned anew. */
#ifndef FVM_WHAT_IF_H
#define FVM_WHAT_IF_H

#include "plan_build.h"

struct what_if;
/* For the form that a schedule is of; graph, cost and options must last as long. */
enum fvm_status what_if_open(const struct graph *form, struct cost *cost,
                             const struct plan_options *o, struct what_if **x,
                             struct fvm_error *err);
void what_if_close(struct what_if *x);

/* Those below tell by how much the whole gets dearer: in *ns, WHAT_IF_NONE when there is no such
 * plan. */
#define WHAT_IF_NONE INT64_MAX
/* With a label forced on nodes, whatever their pins say. */
enum fvm_status what_if_forced(struct what_if *x, const int *node, int n, const char *label,
                               int64_t *ns, struct fvm_error *err);
/* Without the pins of one node. *label, until x is closed: what it runs then; NULL: not known. */
enum fvm_status what_if_free(struct what_if *x, int node, int64_t *ns, const char **label,
                             struct fvm_error *err);
/* Without the i-th pin of the options. */
enum fvm_status what_if_unpinned(struct what_if *x, size_t pin, int64_t *ns, struct fvm_error *err);

#endif
