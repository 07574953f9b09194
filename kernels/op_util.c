/* What the operators' files share. Contract: op_impl.h. */
#include "op_impl.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- element types ---- */

bool dtype_is_float(enum fvm_dtype d) {
  return d == FVM_F32 || d == FVM_F64 || d == FVM_F16 || d == FVM_BF16;
}

enum fvm_dtype dtype_of_onnx(int64_t n) {
  switch (n) {
#define DTYPE(name, bytes, onnx, text, npy, c)                                                     \
  case onnx:                                                                                       \
    return FVM_##name;
#include "../vm/dtypes.def"
#undef DTYPE
  default:
    return FVM_NONE;
  }
}

/* ---- parameters ---- */

enum fvm_status op_ints(const struct opcall *c, int i, const char *name, int64_t *v, int max,
                        int *n, struct fvm_error *err) {
  const struct tensor *t = opcall_in(c, i);
  *n = -1;
  if (!t) return FVM_OK;
  int64_t count = tensor_count(t);
  if (count && !t->data) return fvm_fail(err, FVM_EUNSUPPORTED, "input '%s' is not constant", name);
  if (t->dtype != FVM_I64 && t->dtype != FVM_I32)
    return fvm_fail(err, FVM_EFORMAT, "input '%s' is %s, not an index type", name,
                    fvm_dtype_name(t->dtype));
  if (count > max || t->rank > 1)
    return fvm_fail(err, FVM_EFORMAT, "input '%s' has %lld elements on %d axes, takes at most %d",
                    name, (long long)count, t->rank, max);
  for (int64_t k = 0; k < count; k++) v[k] = elem_i64(t->data, t->dtype, k);
  *n = (int)count;
  return FVM_OK;
}

enum fvm_status op_ints_or_attr(const struct opcall *c, int i, const char *name, int64_t *v,
                                int max, int *n, struct fvm_error *err) {
  const struct attr *a = opcall_attr(c, name);
  if (!a || a->kind != ATTR_INTS || opcall_in(c, i)) return op_ints(c, i, name, v, max, n, err);
  if (a->n > max)
    return fvm_fail(err, FVM_EFORMAT, "attribute '%s' has %d elements, takes at most %d", name,
                    a->n, max);
  if (a->n) memcpy(v, a->ints, (size_t)a->n * sizeof *v);
  *n = a->n;
  return FVM_OK;
}

enum fvm_status op_axis(int64_t axis, int rank, int *out, struct fvm_error *err) {
  if (axis < -rank || axis >= rank)
    return fvm_fail(err, FVM_EFORMAT, "axis %lld of a tensor with %d axes", (long long)axis, rank);
  *out = (int)(axis < 0 ? axis + rank : axis);
  return FVM_OK;
}

enum fvm_status op_axis_attr(const struct opcall *c, int64_t otherwise, int *out,
                             struct fvm_error *err) {
  return op_axis(opcall_int(c, "axis", otherwise), c->in[0].rank, out, err);
}

enum fvm_status op_axes(const int64_t *v, int n, int rank, unsigned *mask, struct fvm_error *err) {
  *mask = 0;
  for (int i = 0; i < n; i++) {
    int a = 0;
    enum fvm_status st = op_axis(v[i], rank, &a, err);
    if (st) return st;
    if (*mask >> a & 1) return fvm_fail(err, FVM_EFORMAT, "axis %d is given twice", a);
    *mask |= 1u << a;
  }
  return FVM_OK;
}

/* ---- shapes ---- */

int64_t dims_product(const int64_t *dim, int from, int to) {
  int64_t n = 1;
  for (int i = from; i < to; i++) n *= dim[i];
  return n;
}

static void print_dims(char *s, size_t size, const struct tensor *t) {
  size_t n = 0;
  s[0] = 0;
  for (int i = 0; i < t->rank && n < size; i++)
    n += (size_t)snprintf(s + n, size - n, "%s%lld", i ? "x" : "", (long long)t->dim[i]);
}

static enum fvm_status cannot_broadcast(const struct tensor *a, const struct tensor *b,
                                        struct fvm_error *err) {
  char x[128], y[128];
  print_dims(x, sizeof x, a);
  print_dims(y, sizeof y, b);
  return fvm_fail(err, FVM_EFORMAT, "shapes [%s] and [%s] do not broadcast", x, y);
}

enum fvm_status broadcast(struct tensor *out, const struct tensor *in, struct fvm_error *err) {
  int64_t dim[FVM_MAXRANK];
  int rank = MAX(out->rank, in->rank);
  for (int i = 0; i < rank; i++) {
    int a = out->rank - 1 - i, b = in->rank - 1 - i;
    int64_t x = a >= 0 ? out->dim[a] : 1, y = b >= 0 ? in->dim[b] : 1;
    if (x != y && x != 1 && y != 1) return cannot_broadcast(out, in, err);
    dim[rank - 1 - i] = x == 1 ? y : x;
  }
  return tensor_init(out, out->dtype, rank, dim, err);
}

void row_strides(int rank, const int64_t *dim, int64_t *stride) {
  int64_t s = 1;
  for (int i = rank - 1; i >= 0; i--) {
    stride[i] = s;
    s *= dim[i];
  }
}

void broadcast_strides(const struct tensor *in, const struct tensor *out, int64_t *stride) {
  int64_t own[FVM_MAXRANK] = {0};
  int shift = out->rank - in->rank;
  row_strides(in->rank, in->dim, own);
  for (int i = 0; i < out->rank; i++)
    stride[i] = i < shift || (in->dim[i - shift] == 1 && out->dim[i] != 1) ? 0 : own[i - shift];
}

/* ---- labels ---- */

/* Moving 4 KiB takes about as long as a barrier. */
bool threads_worth(const struct opcall *c, int threads) {
  return threads == 1 || tensor_bytes(&c->out[0]) >= 4096;
}

bool label_threads(const struct opcall *c, const struct target *t, int i, struct label *l) {
  for (int n = 0; n < t->nthreads; n++) {
    if (!threads_worth(c, t->threads[n]) || i-- > 0) continue;
    l->threads = t->threads[n];
    return true;
  }
  return false;
}

/* ---- walks ---- */

void walk_start(struct walk *w) {
  w->done = false;
  for (int i = 0; i < w->rank; i++) {
    w->idx[i] = 0;
    if (w->dim[i] == 0) w->done = true;
  }
  for (int k = 0; k < WALK_MAXOP; k++) w->off[k] = 0;
}

void walk_next(struct walk *w) {
  for (int i = w->rank - 1; i >= 0; i--) {
    bool carry = ++w->idx[i] == w->dim[i];
    for (int k = 0; k < WALK_MAXOP; k++)
      w->off[k] += carry ? -w->stride[k][i] * (w->dim[i] - 1) : w->stride[k][i];
    if (!carry) return;
    w->idx[i] = 0;
  }
  w->done = true;
}
