/* Reductions and ArgMax, ArgMin: shapes and references. Candidates: cand_reduce.c. */
#include "reduce.h"
#include "op_impl.h"

#include <math.h>
#include <string.h>

static const char *const kind_names[REDUCE_KINDS] = {
    [REDUCE_SUM] = "ReduceSum",       [REDUCE_MEAN] = "ReduceMean",
    [REDUCE_MAX] = "ReduceMax",       [REDUCE_MIN] = "ReduceMin",
    [REDUCE_PROD] = "ReduceProd",     [REDUCE_L1] = "ReduceL1",
    [REDUCE_L2] = "ReduceL2",         [REDUCE_SUMSQUARE] = "ReduceSumSquare",
    [REDUCE_LOGSUM] = "ReduceLogSum", [REDUCE_LOGSUMEXP] = "ReduceLogSumExp"};

enum reduce_kind reduce_kind(const struct op *op) {
  for (int i = 0; i < REDUCE_KINDS; i++)
    if (strcmp(op->name, kind_names[i]) == 0) return (enum reduce_kind)i;
  CHECK(!"not a reduction");
}

enum fvm_status reduce_axes(const struct opcall *c, unsigned *mask, struct fvm_error *err) {
  int64_t axes[FVM_MAXRANK];
  int n, rank = c->in[0].rank;
  enum fvm_status st = op_ints_or_attr(c, 1, "axes", axes, FVM_MAXRANK, &n, err);
  if (st != FVM_OK) return st;
  if (n > 0) return op_axes(axes, n, rank, mask, err);
  *mask = opcall_int(c, "noop_with_empty_axes", 0) ? 0 : (1u << rank) - 1;
  return FVM_OK;
}

enum fvm_status reduce_shape(struct opcall *c, struct fvm_error *err) {
  const struct tensor *x = &c->in[0];
  bool keep = opcall_int(c, "keepdims", 1) != 0;
  unsigned mask;
  int64_t dim[FVM_MAXRANK];
  int rank = 0;
  enum fvm_status st = reduce_axes(c, &mask, err);
  if (st != FVM_OK) return st;
  if (x->dtype == FVM_BOOL) return fvm_fail(err, FVM_EUNSUPPORTED, "%s of bool", c->op->name);
  for (int i = 0; i < x->rank; i++)
    if (!(mask >> i & 1))
      dim[rank++] = x->dim[i];
    else if (keep)
      dim[rank++] = 1;
  return tensor_init(&c->out[0], x->dtype, rank, dim, err);
}

void reduction_init(struct reduction *r, const struct opcall *c, unsigned mask) {
  const struct tensor *x = &c->in[0];
  int64_t xs = 1, ys = 1;
  struct reduce_axis list[FVM_MAXRANK]; /* innermost first */
  int n = 0;
  *r = (struct reduction){.count = 1};
  for (int i = x->rank - 1; i >= 0; i--) {
    bool reduced = mask >> i & 1;
    if (reduced) r->count *= x->dim[i];
    if (x->dim[i] == 1) continue;
    if (n && list[n - 1].reduced == reduced)
      list[n - 1].n *= x->dim[i];
    else
      list[n++] = (struct reduce_axis){x->dim[i], xs, reduced ? 0 : ys, reduced};
    xs *= x->dim[i];
    if (!reduced) ys *= x->dim[i];
  }
  r->naxis = n;
  for (int i = 0; i < n; i++) r->axis[i] = list[n - 1 - i];
}

/* ---- reference ------------------------------------------------------------------------------- */
static double combine(enum reduce_kind k, double r, double x) {
  switch (k) {
  case REDUCE_MAX:
    return isunordered(r, x) ? r + x : fmax(r, x);
  case REDUCE_MIN:
    return isunordered(r, x) ? r + x : fmin(r, x);
  case REDUCE_PROD:
    return r * x;
  case REDUCE_L1:
    return r + fabs(x);
  case REDUCE_L2:
  case REDUCE_SUMSQUARE:
    return r + x * x;
  default:
    return r + x;
  }
}

static double neutral(enum reduce_kind k) {
  return k == REDUCE_PROD  ? 1
         : k == REDUCE_MAX ? (double)-INFINITY
         : k == REDUCE_MIN ? (double)INFINITY
                           : 0;
}

static double finish(enum reduce_kind k, double r, int64_t count) {
  return k == REDUCE_MEAN     ? r / (double)count
         : k == REDUCE_L2     ? sqrt(r)
         : k == REDUCE_LOGSUM ? log(r)
                              : r;
}

/* Elements of one result: indices of the reduced axes. */
struct line {
  const struct tensor *x;
  const void *data;
  struct walk reduced;
};

static double line_log_sum_exp(struct line *l, int64_t at) {
  double max = (double)-INFINITY, sum = 0;
  struct walk *w = &l->reduced;
  for (walk_start(w); walk_more(w); walk_next(w))
    max = fmax(max, elem_f64(l->data, l->x->dtype, at + w->off[0]));
  if (isinf(max)) return max;
  for (walk_start(w); walk_more(w); walk_next(w))
    sum += exp(elem_f64(l->data, l->x->dtype, at + w->off[0]) - max);
  return max + log(sum);
}

static double line_reduce(enum reduce_kind k, struct line *l, int64_t at, int64_t count) {
  if (k == REDUCE_LOGSUMEXP) return line_log_sum_exp(l, at);
  double r = neutral(k);
  struct walk *w = &l->reduced;
  for (walk_start(w); walk_more(w); walk_next(w))
    r = combine(k, r, elem_f64(l->data, l->x->dtype, at + w->off[0]));
  return finish(k, r, count);
}

/* Integers in integers: int64 has more bits than double. */
static int64_t line_reduce_int(enum reduce_kind k, struct line *l, int64_t at) {
  uint64_t sum = k == REDUCE_PROD;
  int64_t best = k == REDUCE_MAX ? INT64_MIN : INT64_MAX;
  struct walk *w = &l->reduced;
  for (walk_start(w); walk_more(w); walk_next(w)) {
    int64_t v = elem_i64(l->data, l->x->dtype, at + w->off[0]);
    best = k == REDUCE_MAX ? MAX(best, v) : MIN(best, v);
    sum = k == REDUCE_PROD ? sum * (uint64_t)v : sum + (uint64_t)v;
  }
  return k == REDUCE_MAX || k == REDUCE_MIN ? best : (int64_t)sum;
}

/* The walks over kept axes and, inside, over reduced ones. */
static void split_axes(const struct tensor *x, unsigned mask, struct walk *kept,
                       struct walk *reduced) {
  int64_t stride[FVM_MAXRANK];
  row_strides(x->rank, x->dim, stride);
  *kept = *reduced = (struct walk){0};
  for (int i = 0; i < x->rank; i++) {
    struct walk *w = mask >> i & 1 ? reduced : kept;
    w->dim[w->rank] = x->dim[i];
    w->stride[0][w->rank++] = stride[i];
  }
}

enum fvm_status reduce_ref(const struct opcall *c, const void *const *in, void *const *out,
                           struct fvm_error *err) {
  unsigned mask;
  enum fvm_status st = reduce_axes(c, &mask, err);
  if (st != FVM_OK) return st;
  enum reduce_kind k = reduce_kind(c->op);
  enum fvm_dtype t = c->in[0].dtype;
  struct line l = {&c->in[0], in[0], {0}};
  struct reduction r;
  struct walk kept;
  bool whole = !dtype_is_float(t) && k <= REDUCE_PROD && k != REDUCE_MEAN;
  reduction_init(&r, c, mask);
  split_axes(l.x, mask, &kept, &l.reduced);
  int64_t i = 0;
  for (walk_start(&kept); walk_more(&kept); walk_next(&kept), i++)
    if (whole)
      elem_set_i64(out[0], t, i, line_reduce_int(k, &l, kept.off[0]));
    else
      elem_set_f64(out[0], t, i, line_reduce(k, &l, kept.off[0], r.count));
  return FVM_OK;
}

/* ---- ArgMax, ArgMin -------------------------------------------------------------------------- */
enum fvm_status arg_shape(struct opcall *c, struct fvm_error *err) {
  const struct tensor *x = &c->in[0];
  int64_t dim[FVM_MAXRANK];
  int axis, rank = 0;
  enum fvm_status st = op_axis_attr(c, 0, &axis, err);
  if (st != FVM_OK) return st;
  if (x->dim[axis] == 0) return fvm_fail(err, FVM_EFORMAT, "axis %d is empty", axis);
  bool keep = opcall_int(c, "keepdims", 1) != 0;
  for (int i = 0; i < x->rank; i++)
    if (i != axis)
      dim[rank++] = x->dim[i];
    else if (keep)
      dim[rank++] = 1;
  return tensor_init(&c->out[0], FVM_I64, rank, dim, err);
}

enum fvm_status arg_ref(const struct opcall *c, const void *const *in, void *const *out,
                        struct fvm_error *err) {
  const struct tensor *x = &c->in[0];
  int axis;
  enum fvm_status st = op_axis_attr(c, 0, &axis, err);
  if (st != FVM_OK) return st;
  double sign = strcmp(c->op->name, "ArgMax") == 0 ? 1 : -1;
  bool last = opcall_int(c, "select_last_index", 0) != 0;
  int64_t n = x->dim[axis], inner = dims_product(x->dim, axis + 1, x->rank);
  for (int64_t i = 0; i < tensor_count(&c->out[0]); i++) {
    int64_t at = i / inner * n * inner + i % inner, best = 0;
    for (int64_t k = 1; k < n; k++) {
      double a = sign * elem_f64(in[0], x->dtype, at + k * inner);
      double b = sign * elem_f64(in[0], x->dtype, at + best * inner);
      if (a > b || (last && a == b)) best = k;
    }
    elem_set_i64(out[0], FVM_I64, i, best);
  }
  return FVM_OK;
}
