/* Attention of many heads: op_attn.c (meaning), cand_attn.c (candidates).
 *
 * out[b, i, h] = sum over j of softmax(scale * q[b, h, i] . k[b, h, j] + mask[b, h, i, j]) * v[b,
 * h, j]
 *
 * Inputs q, k, v: of rank 3, [batch, sequence, heads * width], or rank 4, [batch, heads, sequence,
 * width]. Mask: float, added, or bool, true keeps; broadcasts to [batch, heads, queries, keys].
 * Attributes: heads, kv_heads (query heads share key heads in equal groups), scale, causal (query i
 * sees keys up to i + keys - queries), guard (a query that sees no key gets zeros, not NaN).
 * Output: [batch, queries, heads * width of v]. */
#ifndef FVM_ATTN_H
#define FVM_ATTN_H

#include "emit.h"

/* Strides in elements of an operand; elements of a head's row are side by side. */
struct attn_operand {
  int64_t batch, head, row, width;
};
struct attn {
  int64_t batch, heads, kv_heads, queries, keys;
  struct attn_operand q, k, v;
  bool has_mask, causal, guard;
  int64_t mask[4]; /* strides over [batch, heads, queries, keys] */
  float scale;
};
enum fvm_status attn_init(struct attn *a, const struct opcall *c, struct fvm_error *err);

#endif
