/* Element-wise operators: shapes and references, from the rows of elt.def. */
#include "elt.h"

#include <math.h>
#include <string.h>

/* ---- values ---- */

/* What an element's value may depend on besides the elements. */
struct elt_arg {
  bool is_unsigned;                    /* 64-bit values are u64 */
  bool has[3];                         /* inputs that are there */
  bool fmod, tanh, no_neg, no_pos;     /* attributes */
  double alpha, beta, gamma, min, max; /* NAN: absent */
};

/* Two's complement, wrapping. */
#define WRAP(x, op, y) ((int64_t)((uint64_t)(x)op(uint64_t)(y)))
#define SELU_ALPHA 1.67326319217681884765625
#define SELU_GAMMA 1.05070102214813232421875
#define OR(v, otherwise) (isnan(v) ? (double)(otherwise) : (v))

static bool int_less(const struct elt_arg *e, int64_t x, int64_t y) {
  return e->is_unsigned ? (uint64_t)x < (uint64_t)y : x < y;
}

/* Towards zero; 0 where y is 0. */
static int64_t int_div(const struct elt_arg *e, int64_t x, int64_t y) {
  if (y == 0) return 0;
  if (e->is_unsigned) return (int64_t)((uint64_t)x / (uint64_t)y);
  return y == -1 ? WRAP(0, -, x) : x / y;
}

static int64_t int_mod(const struct elt_arg *e, int64_t x, int64_t y) {
  int64_t r = WRAP(x, -, WRAP(int_div(e, x, y), *, y));
  bool wrong_sign = !e->is_unsigned && r != 0 && (r < 0) != (y < 0);
  return wrong_sign && !e->fmod ? r + y : r;
}

static int64_t int_pow(int64_t x, int64_t y) {
  int64_t r = 1;
  if (y < 0) return x == 1 ? 1 : x == -1 ? (y & 1 ? -1 : 1) : 0;
  for (; y; y >>= 1, x = WRAP(x, *, x))
    if (y & 1) r = WRAP(r, *, x);
  return r;
}

static double float_mod(const struct elt_arg *e, double a, double b) {
  double r = fmod(a, b);
  return !e->fmod && r != 0 && (r < 0) != (b < 0) ? r + b : r;
}

static double float_max(double a, double b) { return isnan(a) || a > b ? a : b; }
static double float_min(double a, double b) { return isnan(a) || a < b ? a : b; }

static double float_clip(const struct elt_arg *e, double a, double lo, double hi) {
  if (!e->has[1]) lo = e->min;
  if (!e->has[2]) hi = e->max;
  if (!isnan(lo)) a = float_max(a, lo);
  return isnan(hi) ? a : float_min(a, hi);
}

static int64_t int_clip(const struct elt_arg *e, int64_t x, int64_t lo, int64_t hi) {
  if (e->has[1] && int_less(e, x, lo)) x = lo;
  return e->has[2] && int_less(e, hi, x) ? hi : x;
}

static double hard_sigmoid(double a, double alpha, double beta) {
  return float_max(0, float_min(1, alpha * a + beta));
}

static double gelu(const struct elt_arg *e, double a) {
  if (!e->tanh) return a / 2 * (1 + erf(a / sqrt(2)));
  return a / 2 * (1 + tanh(sqrt(2 / acos(-1)) * (a + 0.044715 * a * a * a)));
}

static double is_inf(const struct elt_arg *e, double a) {
  return isinf(a) && !(a < 0 ? e->no_neg : e->no_pos);
}

/* ---- the table ---- */

#define ELT(name, result, f, i, strips)                                                            \
  static double f_##name(const struct elt_arg *e, double a, double b, double c) {                  \
    (void)e, (void)a, (void)b, (void)c;                                                            \
    return f;                                                                                      \
  }                                                                                                \
  static int64_t i_##name(const struct elt_arg *e, int64_t x, int64_t y, int64_t z) {              \
    (void)e, (void)x, (void)y, (void)z;                                                            \
    return i;                                                                                      \
  }
#include "elt.def"
#undef ELT

static const struct elt_row rows[] = {
#define ELT(name, result, f, i, strips) {#name, RESULT_##result, strips},
#include "elt.def"
#undef ELT
};
static const struct {
  double (*f)(const struct elt_arg *, double, double, double);
  int64_t (*i)(const struct elt_arg *, int64_t, int64_t, int64_t);
} values[] = {
#define ELT(name, result, f, i, strips) {f_##name, i_##name},
#include "elt.def"
#undef ELT
};

const struct elt_row *elt_row(const struct op *op) {
  for (size_t i = 0; i < COUNT(rows); i++)
    if (!strcmp(rows[i].name, op->name)) return &rows[i];
  return NULL;
}

/* ---- shape ---- */

enum fvm_dtype elt_result(const struct opcall *c) {
  switch (elt_row(c->op)->result) {
  case RESULT_SECOND:
    return c->in[1].dtype;
  case RESULT_BOOL:
    return FVM_BOOL;
  case RESULT_TO:
    return dtype_of_onnx(opcall_int(c, "to", 0));
  default:
    return c->in[0].dtype;
  }
}

/* The inputs whose shape counts: CastLike's second one gives its type only. */
static int shape_inputs(const struct opcall *c) {
  return strcmp(c->op->name, "CastLike") ? c->nin : 1;
}

/* Inputs that mean the same kind of number must have one type. */
static enum fvm_status check_dtypes(const struct opcall *c, struct fvm_error *err) {
  static const char *const mixed[] = {"CastLike", "Pow", "Where"};
  int first = 0;
  for (size_t i = 0; i < COUNT(mixed); i++)
    if (!strcmp(c->op->name, mixed[i])) first = (int)i == 2 ? 1 : c->nin;
  for (int i = first + 1; i < c->nin; i++)
    if (c->in[i].dtype != FVM_NONE && c->in[i].dtype != c->in[first].dtype)
      return fvm_fail(err, FVM_EFORMAT, "inputs %d and %d are %s and %s", first, i,
                      fvm_dtype_name(c->in[first].dtype), fvm_dtype_name(c->in[i].dtype));
  if (first == 1 && c->in[0].dtype != FVM_BOOL)
    return fvm_fail(err, FVM_EFORMAT, "the condition is %s", fvm_dtype_name(c->in[0].dtype));
  return FVM_OK;
}

enum fvm_status elt_shape(struct opcall *c, struct fvm_error *err) {
  struct tensor *out = &c->out[0];
  enum fvm_status st = check_dtypes(c, err);
  if (st) return st;
  st = tensor_init(out, elt_result(c), c->in[0].rank, c->in[0].dim, err);
  if (!st && out->dtype == FVM_NONE)
    return fvm_fail(err, FVM_EUNSUPPORTED, "the result's element type is not supported");
  for (int i = 1; i < shape_inputs(c) && !st; i++)
    if (c->in[i].dtype != FVM_NONE) st = broadcast(out, &c->in[i], err);
  return st;
}

/* ---- reference ---- */

static double attr_or_nan(const struct opcall *c, const char *name) {
  const struct attr *a = opcall_attr(c, name);
  return a && a->kind == ATTR_FLOAT ? (double)a->f : (double)NAN;
}

static struct elt_arg read_args(const struct opcall *c) {
  const struct attr *approx = opcall_attr(c, "approximate");
  struct elt_arg e = {.is_unsigned = c->in[c->nin > 1 ? 1 : 0].dtype == FVM_U64,
                      .fmod = opcall_int(c, "fmod", 0) != 0,
                      .tanh = approx && approx->kind == ATTR_STRING && !strcmp(approx->s, "tanh"),
                      .no_neg = opcall_int(c, "detect_negative", 1) == 0,
                      .no_pos = opcall_int(c, "detect_positive", 1) == 0,
                      .alpha = attr_or_nan(c, "alpha"),
                      .beta = attr_or_nan(c, "beta"),
                      .gamma = attr_or_nan(c, "gamma"),
                      .min = attr_or_nan(c, "min"),
                      .max = attr_or_nan(c, "max")};
  for (int i = 0; i < 3; i++) e.has[i] = opcall_in(c, i) != NULL;
  return e;
}

/* Whether values are computed as floats: when an input (but no condition) or the result of a Cast
 * is floating. */
static bool in_floats(const struct opcall *c) {
  const struct elt_row *row = elt_row(c->op);
  int first = row->result == RESULT_SECOND && c->nin == 3;
  if (row->result == RESULT_SECOND && c->nin == 2) return dtype_is_float(c->in[0].dtype);
  for (int i = first; i < c->nin; i++)
    if (dtype_is_float(c->in[i].dtype)) return true;
  return false;
}

/* Up to three inputs at once: the value of one element. */
static enum fvm_status ref_direct(const struct opcall *c, const void *const *in, void *out) {
  struct elt_arg e = read_args(c);
  size_t row = (size_t)(elt_row(c->op) - rows);
  bool floats = in_floats(c);
  struct walk w = {.rank = c->out[0].rank};
  int n = shape_inputs(c);
  memcpy(w.dim, c->out[0].dim, sizeof c->out[0].dim);
  for (int k = 0; k < n; k++)
    if (e.has[k]) broadcast_strides(&c->in[k], &c->out[0], w.stride[k]);
  int64_t at = 0;
  for (walk_start(&w); walk_more(&w); walk_next(&w), at++) {
    double f[3] = {0};
    int64_t x[3] = {0};
    for (int k = 0; k < n; k++) {
      if (!e.has[k]) continue;
      if (floats)
        f[k] = elem_f64(in[k], c->in[k].dtype, w.off[k]);
      else
        x[k] = elem_i64(in[k], c->in[k].dtype, w.off[k]);
    }
    if (floats)
      elem_set_f64(out, c->out[0].dtype, at, values[row].f(&e, f[0], f[1], f[2]));
    else if (c->in[0].dtype == FVM_U64 && dtype_is_float(c->out[0].dtype))
      elem_set_f64(out, c->out[0].dtype, at, (double)(uint64_t)x[0]);
    else
      elem_set_i64(out, c->out[0].dtype, at, values[row].i(&e, x[0], x[1], x[2]));
  }
  return FVM_OK;
}

/* Any number of inputs, folded from the left with the row's value; Mean divides at the end. */
static enum fvm_status ref_fold(const struct opcall *c, const void *const *in, void *out) {
  struct elt_arg e = read_args(c);
  size_t row = (size_t)(elt_row(c->op) - rows);
  enum fvm_dtype d = c->out[0].dtype;
  e.is_unsigned = d == FVM_U64;
  bool mean = !strcmp(c->op->name, "Mean");
  struct walk w = {.rank = c->out[0].rank};
  int64_t shift[FVM_MAXRANK], at = 0;
  memcpy(w.dim, c->out[0].dim, sizeof c->out[0].dim);
  for (walk_start(&w); walk_more(&w); walk_next(&w), at++) {
    double f = 0;
    int64_t x = 0;
    for (int k = 0; k < c->nin; k++) {
      int64_t off = 0;
      broadcast_strides(&c->in[k], &c->out[0], shift);
      for (int i = 0; i < w.rank; i++) off += w.idx[i] * shift[i];
      double g = elem_f64(in[k], d, off);
      int64_t y = elem_i64(in[k], d, off);
      f = k ? values[row].f(&e, f, g, 0) : g;
      x = k ? values[row].i(&e, x, y, 0) : y;
    }
    if (dtype_is_float(d))
      elem_set_f64(out, d, at, mean ? f / c->nin : f);
    else
      elem_set_i64(out, d, at, mean ? int_div(&e, x, c->nin) : x);
  }
  return FVM_OK;
}

enum fvm_status elt_ref(const struct opcall *c, const void *const *in, void *const *out,
                        struct fvm_error *err) {
  (void)err;
  return (c->op->nin_max == OP_MANY ? ref_fold : ref_direct)(c, in, out[0]);
}

/* ---- fused: bodies without an anchor ---- */

enum fvm_status fused_shape(struct opcall *c, struct fvm_error *err) {
  (void)c;
  return fvm_fail(err, FVM_EFORMAT, "has no body");
}

enum fvm_status fused_ref(const struct opcall *c, const void *const *in, void *const *out,
                          struct fvm_error *err) {
  (void)c, (void)in, (void)out;
  return fvm_fail(err, FVM_EFORMAT, "has no body");
}
