/* How exact a plan is: its outputs on seeded inputs against those of the reference executor. These
 * take long to compute (the reference is plain C), so they are kept in the database of
 * measurements.
 */
#ifndef FVM_ACCURACY_H
#define FVM_ACCURACY_H

#include "../profiles/db.h"
#include "graph.h"

/* Outputs of a graph for the inputs that npy_make makes. */
struct expected {
  const struct graph *g;
  void **out;
};
/* FVM_EINTR once *interrupted is set (may be NULL). expected_free takes what failed as well. */
enum fvm_status expected_compute(const struct graph *g, volatile const int *interrupted,
                                 struct expected *x, struct fvm_error *err);
/* Of the same model with the same operators; *found tells whether the database has them. */
enum fvm_status expected_load(struct db *db, const struct graph *g, struct expected *x, bool *found,
                              struct fvm_error *err);
enum fvm_status expected_store(struct db *db, const struct expected *x, struct fvm_error *err);
void expected_free(struct expected *x);

/* Run a plan of the graph, with all its threads: the largest difference of an output over the
 * largest magnitude in it, over all outputs; INFINITY where one is not finite and should be. */
enum fvm_status plan_error(const struct fvm_plan *p, const struct expected *x, double *error,
                           struct fvm_error *err);

#endif
