/* Order of execution with the least peak of live bytes, proved or with a stated gap. Knows nothing
 * of tensors: steps, and values with sizes that they make and use. How: docs/order.md. */
#ifndef FVM_ORDER_H
#define FVM_ORDER_H

#include "../vm/base.h"

enum { ORDER_PLACE = -2, ORDER_TICKS = 8000000, ORDER_VARIANTS = 4 };
/* Live from its producer's step to its last use, ends included; what nobody uses lives while its
 * producer runs. */
struct order_value {
  int64_t bytes;
  int producer; /* step; -1: there from the start; ORDER_PLACE: from the first step that uses it */
  bool stays;   /* needed after the last step */
};
struct order_use {
  int step, value;
};
/* Where `step` is the last one to use `in`, `out` takes its place and both count once while the
 * step runs. They have the same bytes; the step uses `in` and is the producer of `out`. A step has
 * one such pair at most. */
struct order_share {
  int step, in, out;
};
/* The given order of the steps, 0, 1, ..., is one of those that are possible. */
struct order_problem {
  int nstep, nvalue, nuse, nshare;
  const struct order_value *value;
  const struct order_use *use;
  const struct order_share *share;
};
struct order_result {
  int *step;           /* permutation, from the arena given */
  int64_t peak, bound; /* equal: proved that no order has a lower peak */
  int64_t ticks;       /* work done: looks at a value of a step */
};
/* Variant 0: the given order where none is better; else the best one found within the work allowed.
 * The bound holds for all orders. Variants 1 to ORDER_VARIANTS: others of the same peak, in so far
 * as there are any, whose values are live together in other ways. Deterministic. */
enum fvm_status order_steps(const struct order_problem *p, int64_t max_ticks, int variant,
                            struct arena *a, struct order_result *r, struct fvm_error *err);

#endif
