/* Inside the checker: what its parts share. check.c and check_*.c only. */
#ifndef FVM_CHECK_IMPL_H
#define FVM_CHECK_IMPL_H

#include "plan_build.h"

/* A step writes all bytes of a buffer, and so a row of TENSORS begins. */
struct check_write {
  uint32_t step, row;
};
struct checker {
  const struct fvm_plan *p;
  struct fvm_error *err;
  uint64_t *filled; /* by program: bit i: every byte of buffer i gets written */
  struct check_write *write;
  uint32_t nwrite;
  uint32_t *end; /* by row: the last step before or in which its bytes are written over, or last */
  uint32_t *from, *ready; /* by row: the steps that wrote the first and the last of its bytes */
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
/* That the plan does what the graph says (check_graph.c). */
enum fvm_status check_graph(const struct checker *k, const struct graph *g);

#endif
