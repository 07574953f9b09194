/* Reductions in one form (op_reduce.c), for their candidates (cand_reduce.c). */
#ifndef FVM_REDUCE_H
#define FVM_REDUCE_H

#include "emit.h"

/* y = post(combine of pre(x)): everything the Reduce operators differ in. */
enum reduce_kind {
  REDUCE_SUM,
  REDUCE_MEAN,
  REDUCE_MAX,
  REDUCE_MIN,
  REDUCE_PROD,
  REDUCE_L1,
  REDUCE_L2,
  REDUCE_SUMSQUARE,
  REDUCE_LOGSUM,
  REDUCE_LOGSUMEXP,
  REDUCE_KINDS
};
enum reduce_kind reduce_kind(const struct op *op);
/* Axes to reduce; bit a for axis a. */
enum fvm_status reduce_axes(const struct opcall *c, unsigned *mask, struct fvm_error *err);

/* The input's axes with neighbours of the same kind merged and those of extent 1 left out. */
struct reduce_axis {
  int64_t n, x_stride, y_stride; /* strides in elements; y's is 0 when reduced */
  bool reduced;
};
struct reduction {
  int naxis;
  struct reduce_axis axis[FVM_MAXRANK];
  int64_t count; /* elements that make one result */
};
void reduction_init(struct reduction *r, const struct opcall *c, unsigned mask);

#endif
