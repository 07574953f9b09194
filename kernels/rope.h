/* Rotary position embedding of many heads: op_rope.c.
 *
 * For each batch, row (position) and head, with half = rotary / 2 and j < half:
 *
 *   y[j]        = x[j] * cos[j] - x[half + j] * sin[j]
 *   y[half + j] = x[half + j] * cos[half + j] + x[j] * sin[half + j]
 *
 * and what lies behind `rotary` is passed on. Inputs: x, cos, sin. cos and sin are [.., rows,
 * rotary] or [.., rows, half] (one half for both), the same for all heads: rank 4 has 1 in the
 * place of heads, batch and rows may be 1. Attributes: heads, rotary (default: the width of a
 * head), from and to: how x and y lie. */
#ifndef FVM_ROPE_H
#define FVM_ROPE_H

#include "emit.h"

enum rope_form {
  ROPE_FLAT,  /* [batch, rows, heads * width] */
  ROPE_HEADS, /* [batch, heads, rows, width] */
  ROPE_ROWS,  /* [batch, rows, heads, width]: the same bytes as flat */
  ROPE_FORMS
};
/* Strides in elements; half is that from an angle's first to its second half, 0 for one half. */
struct rope_place {
  int64_t batch, row, head;
};
struct rope_angle {
  int64_t batch, row, half;
};
struct rope {
  int64_t batch, rows, heads, width, rotary;
  enum rope_form from, to;
  struct rope_place x, y;
  struct rope_angle cos, sin;
};
enum fvm_status rope_init(struct rope *r, const struct opcall *c, struct fvm_error *err);
/* The same of ONNX's RotaryEmbedding: cos and sin are [max, half] and read at the positions that
 * input 3 gives, or [batch, rows, half]. */
enum fvm_status rotary_init(struct rope *r, const struct opcall *c, struct fvm_error *err);

#endif
