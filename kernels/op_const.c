/* Operators made from shapes and parameters. They have no candidates: constant folding runs their
 * references and removes them. */
#include <math.h>
#include <string.h>

#include "op_impl.h"

/* ---- Shape, Size ---- */

static int64_t clamp_axis(int64_t v, int rank) {
  if (v < 0) v += rank;
  return MIN(MAX(v, 0), rank);
}

enum fvm_status shape_shape(struct opcall *c, struct fvm_error *err) {
  int rank = c->in[0].rank;
  int64_t from = clamp_axis(opcall_int(c, "start", 0), rank);
  int64_t n = MAX(clamp_axis(opcall_int(c, "end", rank), rank) - from, 0);
  return tensor_init(&c->out[0], FVM_I64, 1, &n, err);
}

enum fvm_status shape_ref(const struct opcall *c, const void *const *in, void *const *out,
                          struct fvm_error *err) {
  (void)in, (void)err;
  int64_t from = clamp_axis(opcall_int(c, "start", 0), c->in[0].rank);
  for (int64_t i = 0; i < c->out[0].dim[0]; i++)
    elem_set_i64(out[0], FVM_I64, i, c->in[0].dim[from + i]);
  return FVM_OK;
}

enum fvm_status size_shape(struct opcall *c, struct fvm_error *err) {
  return tensor_init(&c->out[0], FVM_I64, 0, NULL, err);
}

enum fvm_status size_ref(const struct opcall *c, const void *const *in, void *const *out,
                         struct fvm_error *err) {
  (void)in, (void)err;
  elem_set_i64(out[0], FVM_I64, 0, tensor_count(&c->in[0]));
  return FVM_OK;
}

/* ---- Constant ---- */

enum fvm_status constant_shape(struct opcall *c, struct fvm_error *err) {
  const struct attr *a = c->nattr ? &c->attr[0] : NULL;
  int64_t n = a ? a->n : 0;
  if (a && a->kind == ATTR_TENSOR)
    return tensor_init(&c->out[0], a->t->dtype, a->t->rank, a->t->dim, err);
  if (a && (a->kind == ATTR_FLOAT || a->kind == ATTR_INT))
    return tensor_init(&c->out[0], a->kind == ATTR_INT ? FVM_I64 : FVM_F32, 0, NULL, err);
  if (a && (a->kind == ATTR_FLOATS || a->kind == ATTR_INTS))
    return tensor_init(&c->out[0], a->kind == ATTR_INTS ? FVM_I64 : FVM_F32, 1, &n, err);
  return fvm_fail(err, FVM_EUNSUPPORTED, "has no value of a supported kind");
}

enum fvm_status constant_ref(const struct opcall *c, const void *const *in, void *const *out,
                             struct fvm_error *err) {
  const struct attr *a = &c->attr[0];
  const void *from = a->kind == ATTR_TENSOR   ? a->t->data
                     : a->kind == ATTR_FLOAT  ? (const void *)&a->f
                     : a->kind == ATTR_INT    ? (const void *)&a->i
                     : a->kind == ATTR_FLOATS ? (const void *)a->floats
                                              : (const void *)a->ints;
  (void)in, (void)err;
  if (tensor_bytes(&c->out[0])) memcpy(out[0], from, (size_t)tensor_bytes(&c->out[0]));
  return FVM_OK;
}

/* ---- ConstantOfShape ---- */

static const struct tensor *fill_value(const struct opcall *c) {
  const struct attr *a = opcall_attr(c, "value");
  return a && a->kind == ATTR_TENSOR && a->t->data && tensor_count(a->t) == 1 ? a->t : NULL;
}

enum fvm_status constant_of_shape_shape(struct opcall *c, struct fvm_error *err) {
  int64_t dim[FVM_MAXRANK];
  int n;
  const struct tensor *v = fill_value(c);
  enum fvm_status st = op_ints(c, 0, "shape", dim, FVM_MAXRANK, &n, err);
  return st ? st : tensor_init(&c->out[0], v ? v->dtype : FVM_F32, n, dim, err);
}

enum fvm_status constant_of_shape_ref(const struct opcall *c, const void *const *in,
                                      void *const *out, struct fvm_error *err) {
  const struct tensor *v = fill_value(c);
  size_t size = fvm_dtype_bytes(c->out[0].dtype);
  (void)in, (void)err;
  memset(out[0], 0, (size_t)tensor_bytes(&c->out[0]));
  for (int64_t i = 0; v && i < tensor_count(&c->out[0]); i++)
    memcpy((char *)out[0] + i * (int64_t)size, v->data, size);
  return FVM_OK;
}

/* ---- Range ---- */

enum fvm_status range_shape(struct opcall *c, struct fvm_error *err) {
  double v[3];
  for (int i = 0; i < 3; i++) {
    const struct tensor *t = &c->in[i];
    if (!t->data || tensor_count(t) != 1 || t->dtype != c->in[0].dtype)
      return fvm_fail(err, FVM_EUNSUPPORTED, "input %d is not a constant number", i);
    v[i] = elem_f64(t->data, t->dtype, 0);
  }
  double n = ceil((v[1] - v[0]) / v[2]);
  if (!(fabs(n) < 0x1p40)) return fvm_fail(err, FVM_EFORMAT, "has %g elements", n);
  int64_t count = n > 0 ? (int64_t)n : 0;
  return tensor_init(&c->out[0], c->in[0].dtype, 1, &count, err);
}

enum fvm_status range_ref(const struct opcall *c, const void *const *in, void *const *out,
                          struct fvm_error *err) {
  enum fvm_dtype d = c->out[0].dtype;
  bool floats = dtype_is_float(d);
  (void)err;
  for (int64_t i = 0; i < c->out[0].dim[0]; i++)
    if (floats)
      elem_set_f64(out[0], d, i, elem_f64(in[0], d, 0) + (double)i * elem_f64(in[2], d, 0));
    else
      elem_set_i64(out[0], d, i, elem_i64(in[0], d, 0) + i * elem_i64(in[2], d, 0));
  return FVM_OK;
}

/* ---- EyeLike, Trilu, CumSum ---- */

enum fvm_status eye_like_shape(struct opcall *c, struct fvm_error *err) {
  int64_t to = opcall_int(c, "dtype", 0);
  enum fvm_dtype d = to ? dtype_of_onnx(to) : c->in[0].dtype;
  if (c->in[0].rank != 2 || d == FVM_NONE)
    return fvm_fail(err, FVM_EUNSUPPORTED, "the input is no matrix, or the type not supported");
  return tensor_init(&c->out[0], d, 2, c->in[0].dim, err);
}

enum fvm_status eye_like_ref(const struct opcall *c, const void *const *in, void *const *out,
                             struct fvm_error *err) {
  int64_t k = opcall_int(c, "k", 0), cols = c->out[0].dim[1];
  (void)in, (void)err;
  for (int64_t i = 0; i < tensor_count(&c->out[0]); i++)
    elem_set_i64(out[0], c->out[0].dtype, i, i % cols - i / cols == k);
  return FVM_OK;
}

enum fvm_status trilu_ref(const struct opcall *c, const void *const *in, void *const *out,
                          struct fvm_error *err) {
  const struct tensor *x = &c->in[0];
  if (x->rank < 2) return fvm_fail(err, FVM_EFORMAT, "the input is no matrix");
  bool upper = opcall_int(c, "upper", 1) != 0;
  int64_t k = opcall_in(c, 1) ? elem_i64(in[1], c->in[1].dtype, 0) : 0;
  int64_t rows = x->dim[x->rank - 2], cols = x->dim[x->rank - 1];
  size_t size = fvm_dtype_bytes(x->dtype);
  for (int64_t i = 0; i < tensor_count(x); i++) {
    int64_t d = i % cols - i / cols % rows;
    char *y = (char *)out[0] + i * (int64_t)size;
    if (upper ? d >= k : d <= k)
      memcpy(y, (const char *)in[0] + i * (int64_t)size, size);
    else
      memset(y, 0, size);
  }
  return FVM_OK;
}

enum fvm_status cumsum_ref(const struct opcall *c, const void *const *in, void *const *out,
                           struct fvm_error *err) {
  const struct tensor *x = &c->in[0];
  int axis = 0;
  enum fvm_status st = op_axis(elem_i64(in[1], c->in[1].dtype, 0), x->rank, &axis, err);
  if (st) return st;
  bool reverse = opcall_int(c, "reverse", 0) != 0, exclusive = opcall_int(c, "exclusive", 0) != 0;
  int64_t n = x->dim[axis], inner = dims_product(x->dim, axis + 1, x->rank);
  for (int64_t line = 0; n && line < tensor_count(x) / n; line++) {
    int64_t base = line / inner * n * inner + line % inner, sum = 0;
    double total = 0;
    for (int64_t k = 0; k < n; k++) {
      int64_t at = base + (reverse ? n - 1 - k : k) * inner;
      double f = total + elem_f64(in[0], x->dtype, at);
      int64_t i = sum + elem_i64(in[0], x->dtype, at);
      if (dtype_is_float(x->dtype))
        elem_set_f64(out[0], x->dtype, at, exclusive ? total : f);
      else
        elem_set_i64(out[0], x->dtype, at, exclusive ? sum : i);
      total = f;
      sum = i;
    }
  }
  return FVM_OK;
}
