/* ONNX's Attention, as far as FusedAttention can do it: shape and reference. In passes it becomes
 * that (scheduler/pass_lower.c), so it has no candidates.
 *
 * Inputs Q, K, V of rank 4, [batch, heads, rows, width], or of rank 3 with the numbers of heads as
 * attributes; a mask; no past. The result has the form of Q. */
#include "attn.h"
#include "op_impl.h"

#include <math.h>

enum fvm_status attention_as_fused(const struct opcall *c, struct attr a[5], struct opcall *f,
                                   struct fvm_error *err) {
  for (int i = 4; i < c->nin; i++)
    if (c->in[i].dtype != FVM_NONE)
      return fvm_fail(err, FVM_EUNSUPPORTED, "attention with past keys as inputs");
  if (c->nout > 1 || opcall_float(c, "softcap", 0) != 0.0f)
    return fvm_fail(err, FVM_EUNSUPPORTED, "attention with a softcap or more than one output");
  const struct tensor *q = &c->in[0], *k = &c->in[1];
  if ((q->rank != 3 && q->rank != 4) || k->rank != q->rank || c->in[2].rank != q->rank)
    return fvm_fail(err, FVM_EFORMAT, "inputs of rank %d and %d", q->rank, k->rank);
  int64_t heads = q->rank == 4 ? q->dim[1] : opcall_int(c, "q_num_heads", 0);
  int64_t groups = q->rank == 4 ? k->dim[1] : opcall_int(c, "kv_num_heads", 0);
  int64_t causal = opcall_int(c, "is_causal", 0), last = q->rank == 4 ? 2 : 1;
  if (heads < 1 || groups < 1)
    return fvm_fail(err, FVM_EFORMAT, "%lld heads on %lld key heads", (long long)heads,
                    (long long)groups);
  if (causal && q->dim[last] != k->dim[last])
    return fvm_fail(err, FVM_EUNSUPPORTED, "causal attention of %lld queries to %lld keys",
                    (long long)q->dim[last], (long long)k->dim[last]);
  int64_t width = q->rank == 4 ? q->dim[3] : q->dim[2] / heads;
  a[0] = (struct attr){.name = "heads", .kind = ATTR_INT, .i = heads};
  a[1] = (struct attr){.name = "kv_heads", .kind = ATTR_INT, .i = groups};
  a[2] = (struct attr){.name = "scale", .kind = ATTR_FLOAT};
  a[2].f = opcall_float(c, "scale", (float)(1 / sqrt((double)MAX(width, 1))));
  a[3] = (struct attr){.name = "causal", .kind = ATTR_INT, .i = causal};
  a[4] = (struct attr){.name = "guard", .kind = ATTR_INT, .i = 0};
  *f = *c;
  f->nin = f->nown = MIN(c->nin, 4);
  f->attr = a;
  f->nattr = 5;
  return FVM_OK;
}

enum fvm_status attention_shape(struct opcall *c, struct fvm_error *err) {
  struct attr a[5];
  struct opcall f;
  struct tensor y = {0};
  enum fvm_status st = attention_as_fused(c, a, &f, err);
  if (st != FVM_OK) return st;
  f.out = &y;
  st = attn_shape(&f, err);
  if (st != FVM_OK || c->in[0].rank == 3) {
    c->out[0] = y;
    return st;
  }
  return tensor_init(&c->out[0], y.dtype, 4,
                     (int64_t[]){y.dim[0], a[0].i, y.dim[1], y.dim[2] / a[0].i}, err);
}

enum fvm_status attention_ref(const struct opcall *c, const void *const *in, void *const *out,
                              struct fvm_error *err) {
  struct attr a[5];
  struct opcall f;
  enum fvm_status st = attention_as_fused(c, a, &f, err);
  if (st != FVM_OK || c->in[0].rank == 3) return st == FVM_OK ? attn_ref(&f, in, out, err) : st;
  const struct tensor *y = &c->out[0];
  size_t n = (size_t)MAX(tensor_count(y), 1), size = fvm_dtype_bytes(y->dtype);
  char *rows = fvm_alloc(n, size);
  if (!rows) return fvm_nomem(err);
  st = attn_ref(&f, in, (void *const *)&(void *){rows}, err);
  int64_t heads = y->dim[1], queries = y->dim[2], width = y->dim[3];
  for (int64_t i = 0; st == FVM_OK && i < tensor_count(y); i++) {
    int64_t d = i % width, s = i / width % queries, h = i / width / queries % heads;
    int64_t b = i / width / queries / heads;
    elem_set_f64(out[0], y->dtype, i,
                 elem_f64(rows, y->dtype, ((b * queries + s) * heads + h) * width + d));
  }
  fvm_free(rows, n, size);
  return st;
}
