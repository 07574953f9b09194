/* Element-wise operators: shapes and references, from the rows of elt.def. */
#include "elt.h"
#include "ref.h"

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

/* The value of each of n elements; y may be a's place. */
#define ELT(name, result, f, i, strips)                                                            \
  static void f_##name(const struct elt_arg *e, int64_t n, const double *a_, const double *b_,     \
                       const double *c_, double *y_) {                                             \
    for (int64_t at = 0; at < n; at++) {                                                           \
      double a = a_[at], b = b_[at], c = c_[at];                                                   \
      (void)e, (void)a, (void)b, (void)c;                                                          \
      y_[at] = f;                                                                                  \
    }                                                                                              \
  }                                                                                                \
  static void i_##name(const struct elt_arg *e, int64_t n, const int64_t *x_, const int64_t *y_,   \
                       const int64_t *z_, int64_t *to) {                                           \
    for (int64_t at = 0; at < n; at++) {                                                           \
      int64_t x = x_[at], y = y_[at], z = z_[at];                                                  \
      (void)e, (void)x, (void)y, (void)z;                                                          \
      to[at] = i;                                                                                  \
    }                                                                                              \
  }
#include "elt.def"
#undef ELT

static const struct elt_row rows[] = {
#define ELT(name, result, f, i, strips) {#name, RESULT_##result, strips},
#include "elt.def"
#undef ELT
};
static const struct elt_values {
  void (*f)(const struct elt_arg *, int64_t, const double *, const double *, const double *,
            double *);
  void (*i)(const struct elt_arg *, int64_t, const int64_t *, const int64_t *, const int64_t *,
            int64_t *);
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

/* References work on strips of the output, n elements from `at` on, as doubles or as integers. */
enum { STRIP = 256 };
union strip {
  double f[STRIP];
  int64_t i[STRIP];
};
struct elt_ref {
  const struct opcall *c;
  const void *const *in;
  void *out;
  struct elt_arg e;
  const struct elt_values *values;
  bool floats, mean;
};

static bool is_one(const struct tensor *x) { return tensor_count(x) == 1; }

/* Which element of x belongs to the output's at `at`; step: from it to the next on the last axis.
 */
static int64_t find(const struct tensor *x, const struct tensor *out, int64_t at, int64_t *step) {
  int64_t stride[FVM_MAXRANK], off = 0;
  *step = same_dims(x, out) && !is_one(x);
  if (*step || is_one(x)) return *step * at;
  broadcast_strides(x, out, stride);
  *step = stride[out->rank - 1];
  for (int i = out->rank - 1; i >= 0; at /= out->dim[i--]) off += at % out->dim[i] * stride[i];
  return off;
}

/* Input k; zeros where it is absent. */
static void take(const struct elt_ref *r, int k, int64_t at, int64_t n, union strip *s) {
  const struct tensor *x = k < shape_inputs(r->c) ? opcall_in(r->c, k) : NULL;
  int64_t step;
  if (!x) {
    memset(s, 0, (size_t)n * sizeof *s->f);
    return;
  }
  int64_t from = find(x, &r->c->out[0], at, &step);
  if (r->floats)
    ref_take(r->in[k], x->dtype, from, step, n, s->f);
  else
    for (int64_t i = 0; i < n; i++) s->i[i] = elem_i64(r->in[k], x->dtype, from + i * step);
}

static void apply(const struct elt_ref *r, int64_t n, const union strip *a, const union strip *b,
                  const union strip *c, union strip *y) {
  if (r->floats)
    r->values->f(&r->e, n, a->f, b->f, c->f, y->f);
  else
    r->values->i(&r->e, n, a->i, b->i, c->i, y->i);
}

static void put(const struct elt_ref *r, int64_t at, int64_t n, const union strip *y) {
  enum fvm_dtype to = r->c->out[0].dtype;
  bool is_u64 = r->c->in[0].dtype == FVM_U64 && dtype_is_float(to);
  if (r->floats) ref_put(r->out, to, at, n, y->f);
  for (int64_t i = 0; i < n && !r->floats; i++)
    if (is_u64)
      elem_set_f64(r->out, to, at + i, (double)(uint64_t)y->i[i]);
    else
      elem_set_i64(r->out, to, at + i, y->i[i]);
}

/* Up to three inputs at once. */
static void ref_direct(const struct elt_ref *r, int64_t at, int64_t n) {
  union strip x[3], y;
  for (int k = 0; k < 3; k++) take(r, k, at, n, &x[k]);
  apply(r, n, &x[0], &x[1], &x[2], &y);
  put(r, at, n, &y);
}

/* Any number of inputs, folded from the left; Mean divides at the end. */
static void ref_fold(const struct elt_ref *r, int64_t at, int64_t n) {
  union strip x, y;
  int nin = r->c->nin;
  take(r, 0, at, n, &y);
  for (int k = 1; k < nin; k++) {
    take(r, k, at, n, &x);
    apply(r, n, &y, &x, &x, &y);
  }
  for (int64_t i = 0; i < n && r->mean; i++)
    if (r->floats)
      y.f[i] /= nin;
    else
      y.i[i] = int_div(&r->e, y.i[i], nin);
  put(r, at, n, &y);
}

/* Strips end where the last axis does, unless no input cares. */
static void ref_strips(const void *arg, int64_t from, int64_t to, double *scratch) {
  const struct elt_ref *r = arg;
  const struct opcall *c = r->c;
  const struct tensor *out = &c->out[0];
  int64_t row = tensor_count(out);
  (void)scratch;
  for (int k = 0; k < shape_inputs(c); k++)
    if (opcall_in(c, k) && !same_dims(&c->in[k], out) && !is_one(&c->in[k]))
      row = out->dim[out->rank - 1];
  for (int64_t at = from, n; at < to; at += n) {
    n = MIN(MIN(to - at, (int64_t)STRIP), row - at % row);
    (c->op->nin_max == OP_MANY ? ref_fold : ref_direct)(r, at, n);
  }
}

enum fvm_status elt_ref(const struct opcall *c, const void *const *in, void *const *out,
                        struct fvm_error *err) {
  struct elt_ref r = {.c = c,
                      .in = in,
                      .out = out[0],
                      .e = read_args(c),
                      .values = &values[elt_row(c->op) - rows],
                      .floats = in_floats(c),
                      .mean = !strcmp(c->op->name, "Mean")};
  return ref_parallel(tensor_count(&c->out[0]), 5, 0, ref_strips, &r, err);
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
