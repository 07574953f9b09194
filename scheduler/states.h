/* In which states the problems of a graph are measured: where their data is when the network runs
 * (profiles/states.def). */
#ifndef FVM_STATES_H
#define FVM_STATES_H

#include "../profiles/measure.h"
#include "graph.h"

struct states {
  enum data_state near, far;
  VEC(uint64_t) far_problem; /* hashes, ascending */
};
/* needs: shapes, topological order. Of a graph and its other form. */
enum fvm_status states_make(struct states *s, const struct graph *g, const struct target *t,
                            struct fvm_error *err);
void states_free(struct states *s);
enum data_state states_of(const struct states *s, uint64_t problem_hash);
/* Of any conversion of a tensor. */
enum data_state states_convert(const struct states *s, const struct tensor *t);

#endif
