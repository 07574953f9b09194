/* A walk over a program on one thread that hands out every call instead of making it: the base of
 * the virtual counters and of the plan checker. Programs must have passed verify_program. With
 * `threads` it is the walk of a team's busiest one: all calls outside of pars, and of each par as
 * many iterations as the largest part has. */
#ifndef FVM_TRACE_H
#define FVM_TRACE_H

#include "../kernels/ukr.h"
#include "code.h"

/* What an operand touches: elem bytes at `at` + sum of i * stride, 0 <= i < extent, for each
 * dimension, outermost first; all in bytes. Dimensions that repeat one element are left out. */
struct trace_span {
  unsigned buf;
  bool empty; /* touches nothing */
  int64_t at, elem;
  int ndim;
  int64_t extent[UKR_MAXDIM], stride[UKR_MAXDIM];
};
struct trace {
  const struct program *p;
  /* Returns false to end the walk. v: integer arguments; span: one an operand. */
  bool (*call)(struct trace *t, const struct ukr_sig *sig, const int64_t *v,
               const struct trace_span *span);
  void *arg;
  int64_t budget; /* instructions that may be walked */
  int threads;    /* of the team; 0: one */
  int64_t r[CODE_MAXREG];
};
/* False when `call` ended the walk or the budget is used up. */
bool trace_run(struct trace *t);

#endif
