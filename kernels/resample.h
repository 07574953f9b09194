/* Resize and Upsample (op_resize.c): along each axis an output is a sum of a few weighted inputs.
 * A pass makes one Resample of each axis that changes (op_resample.c). */
#ifndef FVM_RESAMPLE_H
#define FVM_RESAMPLE_H

#include "op.h"

/* Output j of an axis: start[j] + sum over t of weight[t * n + j] * input index[t * n + j]. */
struct taps {
  int64_t n, k; /* outputs; inputs that each is made of */
  int64_t *index;
  float *weight, *start;
};
/* The taps of an axis of a Resize or Upsample that its shape function accepts, from the arena;
 * n = 0 when it stays as it is. */
enum fvm_status resize_taps(const struct opcall *c, int axis, struct arena *a, struct taps *t,
                            struct fvm_error *err);
/* Whether outputs are inputs: elements of any type can be moved. */
bool resize_moves(const struct opcall *c);

#endif
