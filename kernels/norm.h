/* A tensor as outer x n x inner for operators that work along n (op_norm.c, cand_norm.c). */
#ifndef FVM_NORM_H
#define FVM_NORM_H

#include "emit.h"

struct lines {
  int64_t outer, n, inner;
};
struct lines softmax_lines(const struct opcall *c);
struct lines layernorm_lines(const struct opcall *c); /* RMSNormalization, too */
struct lines channel_lines(const struct opcall *c);   /* n: channels */

#endif
