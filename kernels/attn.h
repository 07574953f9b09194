/* Attention of many heads: op_attn.c (meaning), cand_attn.c (candidates).
 *
 * out[b, i, h] = sum over j of softmax(scale * q[b, h, i] . k[b, h, j] + mask[b, h, i, j]) * v[b,
 * h, j]
 *
 * Inputs q, k, v: of rank 3, [batch, sequence, columns], a head's columns side by side, or of rank
 * 4, [batch, heads, sequence, width]. An operand of rank 3 may be a range of the columns of a wider
 * tensor, from q_at, k_at or v_at on; so one product can make all three, and the same tensor stands
 * for them. Mask: float, added, or bool, true keeps; broadcasts to [batch, heads, queries, keys].
 * Attributes: heads, kv_heads (query heads share key heads in equal groups), scale, causal (query i
 * sees keys up to i + keys - queries), guard (a query that sees no key gets zeros, not NaN), q_at,
 * k_at, v_at (first column, 0), width and v_width (columns of a head of q and k, and of v; as many
 * as the tensor has for each head).
 * Output: [batch, queries, heads * width of v]. */
#ifndef FVM_ATTN_H
#define FVM_ATTN_H

#include "emit.h"

/* First element and strides in elements of an operand; a head's row is `width` elements side by
 * side. */
struct attn_operand {
  int64_t at, batch, head, row, width;
};
struct attn {
  int64_t batch, heads, kv_heads, queries, keys;
  struct attn_operand q, k, v;
  bool has_mask, causal, guard;
  int64_t mask[4]; /* strides over [batch, heads, queries, keys] */
  float scale;
};
enum fvm_status attn_init(struct attn *a, const struct opcall *c, struct fvm_error *err);
/* Where the first row of keys or values of a key head is; loops over batches and key heads. */
struct addr attn_operand_at(int buf, const struct attn_operand *o, const struct span *batch,
                            const struct span *kv);
/* ONNX's Attention as a FusedAttention whose result is [batch, rows, heads * width], its attributes
 * in a (op_attention.c). */
enum fvm_status attention_as_fused(const struct opcall *c, struct attr a[5], struct opcall *f,
                                   struct fvm_error *err);
/* Whether the candidates can run it; reads *a. */
bool attn_can(struct attn *a, const struct opcall *c);
/* The part of the costs that is the same for all of them: bytes of operands and results. */
void attn_cost(const struct attn *a, const struct opcall *c, struct opcost *cost);

/* cand_attn_few.c, a candidate of attn_cands. */
bool attn_few_label(const struct opcall *c, const struct target *t, int i, struct label *l);
void attn_few_emit(const struct opcall *c, const struct label *l, struct builder *b);
void attn_few_cost(const struct opcall *c, const struct label *l, struct opcost *cost);

#endif
