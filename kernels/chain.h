/* Chains: two opcalls, the second of which alone reads what the first one makes, run by one program
 * strip by strip. So what is between them is never there as a whole: a few rows of it lie in the
 * scratch of each thread, and come from and go to its cache.
 *
 *   inputs of a chain:  0 .. n-1 of the first   1 .. of the second (its input 0 is between them)
 *
 * The first is a convolution, the second a pool or a depthwise convolution. */
#ifndef FVM_CHAIN_H
#define FVM_CHAIN_H

#include "op.h"

/* Whether two opcalls could be a chain: input 0 of the second is the first one's only output. Not
 * whether any candidate runs it. */
bool chain_fits(const struct opcall *first, const struct opcall *second);
/* Make one of them, in the arena. False when memory is out. */
bool chain_init(struct opcall *c, const struct opcall *first, const struct opcall *second,
                struct arena *a);
/* Input i of part k as an input of the chain; -1 for what is between them. */
static inline int chain_input(const struct opcall *first, int k, int i) {
  return k == 0 ? i : i == 0 ? -1 : first->nin + i - 1;
}

#endif
