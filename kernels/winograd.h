/* Weights of convolutions as Winograd's products read them: G w G' of each filter and channel
 * (ukr_winograd.h), n x n panels of gemm for each block of filters:
 *
 *   [filters / block] [n n] [channels] [block], zero-padded */
#ifndef FVM_WINOGRAD_H
#define FVM_WINOGRAD_H

#include "op.h"

/* Whether weights [filters, channels, r, r] have that form: n points make n + 1 - r outputs, of
 * which the transforms know some. */
bool winograd_fits(const struct tensor *t, int n);
int64_t winograd_bytes(const struct tensor *t, int n, int64_t block);
/* Write the program that makes them: buffer 1 from buffer 0, row-major; blocks are split over
 * threads. */
void winograd_convert(const struct tensor *t, int n, int64_t block, struct builder *b);

/* The micro-kernels of n points and r taps in each direction: n + 1 - r outputs. */
struct winograd_ukr {
  int n, r;
  enum ukr_id in, weights, out;
};
const struct winograd_ukr *winograd_find(int n, int64_t r); /* NULL: none */

#endif
