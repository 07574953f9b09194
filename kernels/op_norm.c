/* Softmax and normalisations: shapes and references. Candidates: cand_norm.c. */
#include "norm.h"
#include "op_impl.h"

#include <math.h>
#include <string.h>

static bool is_float_call(const struct opcall *c) {
  return c->in[0].dtype == FVM_F32 || c->in[0].dtype == FVM_F64;
}

static enum fvm_status need_float(const struct opcall *c, struct fvm_error *err) {
  if (is_float_call(c)) return FVM_OK;
  return fvm_fail(err, FVM_EUNSUPPORTED, "%s of %s", c->op->name, fvm_dtype_name(c->in[0].dtype));
}

static enum fvm_status same_shape(struct opcall *c, struct fvm_error *err) {
  return tensor_init(&c->out[0], c->in[0].dtype, c->in[0].rank, c->in[0].dim, err);
}

/* ---- Softmax, LogSoftmax --------------------------------------------------------------------- */
enum fvm_status softmax_shape(struct opcall *c, struct fvm_error *err) {
  enum fvm_status st = need_float(c, err);
  int axis;
  if (c->in[0].rank == 0) return fvm_fail(err, FVM_EFORMAT, "the input has no axes");
  if (st == FVM_OK) st = op_axis_attr(c, c->opset < 13 ? 1 : -1, &axis, err);
  return st == FVM_OK ? same_shape(c, err) : st;
}

struct lines softmax_lines(const struct opcall *c) {
  const struct tensor *t = &c->in[0];
  int axis = 0;
  CHECK(op_axis_attr(c, c->opset < 13 ? 1 : -1, &axis, NULL) == FVM_OK);
  /* Before opset 13 the axis starts the second half of a matrix. */
  int end = c->opset < 13 ? t->rank : axis + 1;
  return (struct lines){dims_product(t->dim, 0, axis), dims_product(t->dim, axis, end),
                        dims_product(t->dim, end, t->rank)};
}

/* A line is n elements, stride apart from the first one. */
static void softmax_line(enum fvm_dtype t, const void *x, void *y, int64_t at, int64_t n,
                         int64_t stride, bool log_of) {
  double max = (double)-INFINITY, sum = 0;
  for (int64_t i = 0; i < n; i++) max = fmax(max, elem_f64(x, t, at + i * stride));
  for (int64_t i = 0; i < n; i++) sum += exp(elem_f64(x, t, at + i * stride) - max);
  for (int64_t i = 0; i < n; i++) {
    double v = elem_f64(x, t, at + i * stride) - max;
    elem_set_f64(y, t, at + i * stride, log_of ? v - log(sum) : exp(v) / sum);
  }
}

enum fvm_status softmax_ref(const struct opcall *c, const void *const *in, void *const *out,
                            struct fvm_error *err) {
  (void)err;
  struct lines s = softmax_lines(c);
  bool log_of = strcmp(c->op->name, "LogSoftmax") == 0;
  for (int64_t o = 0; o < s.outer; o++)
    for (int64_t i = 0; i < s.inner; i++)
      softmax_line(c->in[0].dtype, in[0], out[0], o * s.n * s.inner + i, s.n, s.inner, log_of);
  return FVM_OK;
}

/* ---- LayerNormalization ---------------------------------------------------------------------- */
/* Scale and bias must broadcast to the input without enlarging it. */
static enum fvm_status check_param(const struct opcall *c, int i, struct fvm_error *err) {
  const struct tensor *t = opcall_in(c, i);
  struct tensor out = c->in[0];
  if (!t) return FVM_OK;
  if (t->dtype != c->in[0].dtype)
    return fvm_fail(err, FVM_EFORMAT, "input %d is %s, not %s", i, fvm_dtype_name(t->dtype),
                    fvm_dtype_name(c->in[0].dtype));
  enum fvm_status st = broadcast(&out, t, err);
  if (st == FVM_OK && tensor_count(&out) != tensor_count(&c->in[0]))
    st = fvm_fail(err, FVM_EFORMAT, "input %d is larger than the input that it scales", i);
  return st;
}

enum fvm_status layernorm_shape(struct opcall *c, struct fvm_error *err) {
  int axis;
  const struct tensor *x = &c->in[0];
  enum fvm_status st = need_float(c, err);
  if (st == FVM_OK) st = op_axis_attr(c, -1, &axis, err);
  for (int i = 1; i < c->nown && st == FVM_OK; i++) st = check_param(c, i, err);
  if (st == FVM_OK) st = same_shape(c, err);
  int64_t dim[FVM_MAXRANK];
  for (int i = 0; i < x->rank && st == FVM_OK; i++) dim[i] = i < axis ? x->dim[i] : 1;
  for (int i = 1; i < c->nout && st == FVM_OK; i++)
    st = tensor_init(&c->out[i], x->dtype, x->rank, dim, err);
  return st;
}

struct lines layernorm_lines(const struct opcall *c) {
  const struct tensor *t = &c->in[0];
  int axis = 0;
  CHECK(op_axis_attr(c, -1, &axis, NULL) == FVM_OK);
  return (struct lines){dims_product(t->dim, 0, axis), dims_product(t->dim, axis, t->rank), 1};
}

/* Mean and reciprocal deviation of n elements from `at` on. */
static void moments(enum fvm_dtype t, const void *x, int64_t at, int64_t n, double eps,
                    double *mean, double *inv) {
  double sum = 0, sq = 0;
  for (int64_t i = 0; i < n; i++) sum += elem_f64(x, t, at + i);
  *mean = sum / (double)n;
  for (int64_t i = 0; i < n; i++) {
    double d = elem_f64(x, t, at + i) - *mean;
    sq += d * d;
  }
  *inv = 1 / sqrt(sq / (double)n + eps);
}

enum fvm_status layernorm_ref(const struct opcall *c, const void *const *in, void *const *out,
                              struct fvm_error *err) {
  (void)err;
  struct lines s = layernorm_lines(c);
  enum fvm_dtype t = c->in[0].dtype;
  double eps = (double)opcall_float(c, "epsilon", 1e-5f);
  const struct tensor *bias = opcall_in(c, 2);
  struct walk w = {.rank = c->in[0].rank};
  memcpy(w.dim, c->in[0].dim, sizeof c->in[0].dim);
  broadcast_strides(&c->in[1], &c->in[0], w.stride[0]);
  if (bias) broadcast_strides(bias, &c->in[0], w.stride[1]);
  walk_start(&w);
  for (int64_t o = 0; o < s.outer; o++) {
    double mean, inv;
    moments(t, in[0], o * s.n, s.n, eps, &mean, &inv);
    for (int64_t i = o * s.n; i < (o + 1) * s.n; i++, walk_next(&w)) {
      double v = (elem_f64(in[0], t, i) - mean) * inv * elem_f64(in[1], t, w.off[0]);
      elem_set_f64(out[0], t, i, bias ? v + elem_f64(in[2], t, w.off[1]) : v);
    }
    if (c->nout > 1) elem_set_f64(out[1], t, o, mean);
    if (c->nout > 2) elem_set_f64(out[2], t, o, inv);
  }
  return FVM_OK;
}

/* ---- RMSNormalization ------------------------------------------------------------------------ */
enum fvm_status rmsnorm_shape(struct opcall *c, struct fvm_error *err) {
  int axis;
  enum fvm_status st = need_float(c, err);
  if (st == FVM_OK) st = op_axis_attr(c, -1, &axis, err);
  if (st == FVM_OK) st = check_param(c, 1, err);
  return st == FVM_OK ? same_shape(c, err) : st;
}

enum fvm_status rmsnorm_ref(const struct opcall *c, const void *const *in, void *const *out,
                            struct fvm_error *err) {
  (void)err;
  struct lines s = layernorm_lines(c);
  enum fvm_dtype t = c->in[0].dtype;
  double eps = (double)opcall_float(c, "epsilon", 1e-5f);
  struct walk w = {.rank = c->in[0].rank};
  memcpy(w.dim, c->in[0].dim, sizeof c->in[0].dim);
  broadcast_strides(&c->in[1], &c->in[0], w.stride[0]);
  walk_start(&w);
  for (int64_t o = 0; o < s.outer; o++) {
    double sq = 0;
    for (int64_t i = o * s.n; i < (o + 1) * s.n; i++)
      sq += elem_f64(in[0], t, i) * elem_f64(in[0], t, i);
    double inv = 1 / sqrt(sq / (double)s.n + eps);
    for (int64_t i = o * s.n; i < (o + 1) * s.n; i++, walk_next(&w))
      elem_set_f64(out[0], t, i, elem_f64(in[0], t, i) * inv * elem_f64(in[1], t, w.off[0]));
  }
  return FVM_OK;
}

/* ---- per channel: BatchNormalization, InstanceNormalization, GroupNormalization -------------- */
static enum fvm_status check_channel(const struct opcall *c, int i, int64_t n,
                                     struct fvm_error *err) {
  const struct tensor *t = &c->in[i];
  if (t->dtype == c->in[0].dtype && t->rank == 1 && t->dim[0] == n) return FVM_OK;
  return fvm_fail(err, FVM_EFORMAT, "input %d must be a vector of %lld %s", i, (long long)n,
                  fvm_dtype_name(c->in[0].dtype));
}

struct lines channel_lines(const struct opcall *c) {
  const struct tensor *t = &c->in[0];
  int64_t ch = t->rank > 1 ? t->dim[1] : 1;
  return (struct lines){t->dim[0], ch, dims_product(t->dim, MIN(2, t->rank), t->rank)};
}

enum fvm_status channelnorm_shape(struct opcall *c, struct fvm_error *err) {
  enum fvm_status st = need_float(c, err);
  if (st == FVM_OK && c->in[0].rank < 1) return fvm_fail(err, FVM_EFORMAT, "the input has no axes");
  if (opcall_int(c, "training_mode", 0))
    return fvm_fail(err, FVM_EUNSUPPORTED, "training_mode is for training");
  int64_t n = channel_lines(c).n;
  for (int i = 1; i < c->nown && st == FVM_OK; i++) st = check_channel(c, i, n, err);
  return st == FVM_OK ? same_shape(c, err) : st;
}

enum fvm_status batchnorm_ref(const struct opcall *c, const void *const *in, void *const *out,
                              struct fvm_error *err) {
  (void)err;
  struct lines s = channel_lines(c);
  enum fvm_dtype t = c->in[0].dtype;
  double eps = (double)opcall_float(c, "epsilon", 1e-5f);
  for (int64_t p = 0; p < s.outer * s.n; p++) {
    int64_t ch = p % s.n;
    double a = elem_f64(in[1], t, ch) / sqrt(elem_f64(in[4], t, ch) + eps);
    double b = elem_f64(in[2], t, ch), mean = elem_f64(in[3], t, ch);
    for (int64_t i = p * s.inner; i < (p + 1) * s.inner; i++)
      elem_set_f64(out[0], t, i, (elem_f64(in[0], t, i) - mean) * a + b);
  }
  return FVM_OK;
}

enum fvm_status instancenorm_ref(const struct opcall *c, const void *const *in, void *const *out,
                                 struct fvm_error *err) {
  (void)err;
  struct lines s = channel_lines(c);
  enum fvm_dtype t = c->in[0].dtype;
  double eps = (double)opcall_float(c, "epsilon", 1e-5f);
  for (int64_t p = 0; p < s.outer * s.n; p++) {
    double mean, inv, a = elem_f64(in[1], t, p % s.n), b = elem_f64(in[2], t, p % s.n);
    moments(t, in[0], p * s.inner, s.inner, eps, &mean, &inv);
    for (int64_t i = p * s.inner; i < (p + 1) * s.inner; i++)
      elem_set_f64(out[0], t, i, (elem_f64(in[0], t, i) - mean) * inv * a + b);
  }
  return FVM_OK;
}

/* Scale and bias are per group in opset 18, per channel from 21 on. */
enum fvm_status groupnorm_shape(struct opcall *c, struct fvm_error *err) {
  enum fvm_status st = need_float(c, err);
  if (st == FVM_OK && c->in[0].rank < 2)
    return fvm_fail(err, FVM_EFORMAT, "the input has less than 2 axes");
  int64_t groups = opcall_int(c, "num_groups", 0), ch = channel_lines(c).n;
  if (groups < 1 || ch % groups)
    return fvm_fail(err, FVM_EFORMAT, "%lld channels do not make %lld groups", (long long)ch,
                    (long long)groups);
  for (int i = 1; i < 3 && st == FVM_OK; i++)
    st = check_channel(c, i, c->opset < 21 ? groups : ch, err);
  return st == FVM_OK ? same_shape(c, err) : st;
}

enum fvm_status groupnorm_ref(const struct opcall *c, const void *const *in, void *const *out,
                              struct fvm_error *err) {
  (void)err;
  struct lines s = channel_lines(c);
  enum fvm_dtype t = c->in[0].dtype;
  int64_t groups = opcall_int(c, "num_groups", 1), per = s.n / groups, size = per * s.inner;
  double eps = (double)opcall_float(c, "epsilon", 1e-5f);
  for (int64_t p = 0; p < s.outer * groups; p++) {
    double mean, inv;
    moments(t, in[0], p * size, size, eps, &mean, &inv);
    for (int64_t i = 0; i < size; i++) {
      int64_t g = p % groups, k = c->opset < 21 ? g : g * per + i / s.inner;
      elem_set_f64(out[0], t, p * size + i,
                   (elem_f64(in[0], t, p * size + i) - mean) * inv * elem_f64(in[1], t, k) +
                       elem_f64(in[2], t, k));
    }
  }
  return FVM_OK;
}

/* ---- LRN ------------------------------------------------------------------------------------- */
enum fvm_status lrn_shape(struct opcall *c, struct fvm_error *err) {
  enum fvm_status st = need_float(c, err);
  if (st == FVM_OK && (opcall_int(c, "size", 0) < 1 || c->in[0].rank < 2))
    return fvm_fail(err, FVM_EFORMAT, "LRN needs channels and a size of at least 1");
  return st == FVM_OK ? same_shape(c, err) : st;
}

enum fvm_status lrn_ref(const struct opcall *c, const void *const *in, void *const *out,
                        struct fvm_error *err) {
  (void)err;
  struct lines s = channel_lines(c);
  enum fvm_dtype t = c->in[0].dtype;
  int64_t size = opcall_int(c, "size", 1), half = (size - 1) / 2;
  double alpha = (double)opcall_float(c, "alpha", 1e-4f),
         beta = (double)opcall_float(c, "beta", 0.75f);
  double bias = (double)opcall_float(c, "bias", 1);
  for (int64_t o = 0; o < s.outer; o++)
    for (int64_t ch = 0; ch < s.n; ch++)
      for (int64_t i = 0; i < s.inner; i++) {
        double sum = 0;
        int64_t end = MIN(s.n, ch + size - half);
        for (int64_t k = MAX(0, ch - half); k < end; k++) {
          double v = elem_f64(in[0], t, (o * s.n + k) * s.inner + i);
          sum += v * v;
        }
        int64_t at = (o * s.n + ch) * s.inner + i;
        elem_set_f64(out[0], t, at,
                     elem_f64(in[0], t, at) / pow(bias + alpha / (double)size * sum, beta));
      }
  return FVM_OK;
}
