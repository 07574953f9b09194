/* Order of execution and places in the arena. Knows nothing of tensors: items with sizes. */
#ifndef FVM_MEM_H
#define FVM_MEM_H

#include "../vm/base.h"

/* ---- memory: offsets for blocks with lives --------------------------------------------------- */
struct mem_block {
  int first, last; /* steps in which it is live, inclusive */
  int64_t bytes, align;
  int64_t offset; /* result */
};
struct mem_result {
  int64_t bytes, bound; /* height reached; maximum of live bytes at any step */
};
/* Best of several greedy packings (by size, by duration, by area; lowest fit and best fit); stops
 * at the bound. Deterministic. */
enum fvm_status mem_pack(struct mem_block *block, int n, struct mem_result *r,
                         struct fvm_error *err);

/* ---- order: steps over values, least peak of live bytes -------------------------------------- */
enum { ORDER_PLACE = -2 };
struct order_value {
  int64_t bytes;
  int producer; /* step; -1: there from the start; ORDER_PLACE: from the first step that uses it */
  bool stays;   /* needed after the last step */
};
struct order_use {
  int step, value;
};
struct order_problem {
  int nstep, nvalue, nuse;
  const struct order_value *value;
  const struct order_use *use;
};
struct order_result {
  int *step; /* permutation, from the arena given */
  int64_t peak, bound;
};
/* The given order improved by a greedy search; never worse than the given one. bound: the most
 * that any single step must hold at once. */
enum fvm_status order_steps(const struct order_problem *p, struct arena *a, struct order_result *r,
                            struct fvm_error *err);

#endif
