/* Inside the checker: what its parts share. check.c and check_*.c only. */
#ifndef FVM_CHECK_IMPL_H
#define FVM_CHECK_IMPL_H

#include "check.h"
#include "names.h"

/* A step writes all bytes of a buffer, and so a row of TENSORS begins. */
struct check_write {
  uint32_t step, row;
};
struct checker {
  const struct fvm_plan *p;
  const struct check_with *with;
  struct fvm_error *err;
  uint64_t *filled; /* by program: bit i: every byte of buffer i gets written */
  struct check_write *write;
  uint32_t nwrite;
  uint32_t *end; /* by row: the last step before or in which its bytes are written over, or last */
  uint32_t *from, *ready; /* by row: the steps that wrote the first and the last of its bytes */
};

/* The plan beside a form of the model. Lists of rows, constants and nodes are linked by index; -1
 * ends them. Rows without a name are those of tensor g->tensor.n. */
struct check_match {
  const struct checker *k;
  const struct graph *g;
  struct arena a;
  struct names tensor, node;
  int *first_row, *next_row, *first_const, *next_const, *next_node;
  int *const_tensor; /* by constant */
  bool *done;        /* by node: a step runs it */
  bool *proved;      /* by row: it holds what it names */
};

/* An error text about a row, a step. */
enum fvm_status check_bad_row(const struct checker *k, uint32_t row, const char *what);
enum fvm_status check_bad_step(const struct checker *k, uint32_t step, const char *what);

/* Whether `bytes` at a bind lie inside a row. */
bool check_in_row(const struct plan_tensor *t, const struct plan_bind *b, uint64_t bytes);
/* Whether a row's bytes are there for a step to read. */
bool check_readable(const struct checker *k, uint32_t row, uint32_t step);

/* Which buffers of kind BUF_OUT a program fills completely (check_cover.c). */
enum fvm_status check_cover(const struct program *p, uint64_t *filled, struct fvm_error *err);

/* That the plan does what the graph says (check_graph.c), */
enum fvm_status check_graph(const struct checker *k, const struct graph *g);
/* after the steps: that all other rows hold what they name, and outputs what they should
 * (check_values.c), */
enum fvm_status check_values(struct check_match *m);
/* that a step's label is one of the node's operator, or of both when there is a first one (kernels/
 * chain.h), and its program the label's, or those of the
 * conversion of a tensor (check_labels.c), */
enum fvm_status check_label(const struct check_match *m, uint32_t step, int first, int node);
enum fvm_status check_conversion(const struct check_match *m, uint32_t step, int tensor,
                                 enum layout from, enum layout to);
/* that the weights are the model's constants (check_weights.c). */
enum fvm_status check_weights(const struct check_match *m);

#endif
