/* Ways to run what goes along an axis element by element: CumSum, ArgMax, ArgMin. All lines go
 * together: one call of a strip is one step of each of them. Made for masks and lists of tokens, of
 * which a model has one. */
#include "op_impl.h"

#include <string.h>

/* x seen as x[outer][n][inner]. */
struct lines {
  int64_t outer, n, inner, size;
};

static struct lines read_lines(const struct tensor *x, int axis) {
  return (struct lines){dims_product(x->dim, 0, axis), x->dim[axis],
                        dims_product(x->dim, axis + 1, x->rank),
                        (int64_t)fvm_dtype_bytes(x->dtype)};
}

/* y = f(x, z) for one element of each line; strides are from line to line. */
static void binary(struct builder *b, const struct lines *l, int ukr, const struct addr at[3],
                   int64_t sx, int64_t sz, int64_t sy) {
  build_ukr(
      b, ukr, at,
      (struct val[]){val(l->outer), val(l->inner), val(sx), val(1), val(sz), val(1), val(sy)});
}

static void fill_8(struct builder *b, int buf, int64_t n, int64_t v) {
  build_ukr(b, UKR_fill_8, (struct addr[]){ADDR(buf, 0)},
            (struct val[]){val(1), val(n), val(n), val(v)});
}

static void fill_zeros(struct builder *b, const struct lines *l, int buf) {
  build_ukr(b, l->size == 8 ? UKR_fill_8 : UKR_fill_4, (struct addr[]){ADDR(buf, 0)},
            (struct val[]){val(l->outer), val(l->inner), val(l->n * l->inner), val(0)});
}

static void copy_first(struct builder *b, const struct lines *l, int to, int64_t sy) {
  build_ukr(
      b, l->size == 8 ? UKR_copy_8 : UKR_copy_4, (struct addr[]){ADDR(0, 0), ADDR(to, 0)},
      (struct val[]){val(l->outer), val(l->inner), val(l->n * l->inner), val(1), val(sy), val(1)});
}

static bool one_thread(const struct opcall *c, int i, struct label *l) {
  l->threads = 1;
  return i == 0 && tensor_count(&c->in[0]) > 0;
}

/* ---- CumSum ---- */

static int sum_kernel(enum fvm_dtype d) {
  return d == FVM_F32 ? UKR_add_f32 : d == FVM_I64 ? UKR_add_i64 : d == FVM_I32 ? UKR_add_i32 : -1;
}

static bool label_cumsum(const struct opcall *c, const struct target *t, int i, struct label *l) {
  (void)t;
  if (!c->in[1].data || sum_kernel(c->in[0].dtype) < 0 || opcall_int(c, "reverse", 0)) return false;
  return one_thread(c, i, l);
}

static void emit_cumsum(const struct opcall *c, const struct label *label, struct builder *b) {
  enum { X, AXIS, Y };
  int axis = 0;
  (void)label;
  CHECK(op_axis(elem_i64(c->in[1].data, c->in[1].dtype, 0), c->in[0].rank, &axis, NULL) == FVM_OK);
  struct lines l = read_lines(&c->in[0], axis);
  bool exclusive = opcall_int(c, "exclusive", 0) != 0;
  int64_t line = l.n * l.inner, step = l.inner * l.size;
  if (exclusive)
    fill_zeros(b, &l, Y);
  else
    copy_first(b, &l, Y, line);
  int k = build_loop(b, 0, val(l.n - 1), 1);
  const struct addr at[3] = {ADDR(X, exclusive ? 0 : step, {k, step}), ADDR(Y, 0, {k, step}),
                             ADDR(Y, step, {k, step})};
  binary(b, &l, sum_kernel(c->in[0].dtype), at, line, line, line);
  build_end(b);
}

const struct cand cumsum_cands[] = {{"scan", {0}, label_cumsum, emit_cumsum, NULL}, {0}};

/* ---- ArgMax, ArgMin ---- */

static int less_kernel(enum fvm_dtype d, bool or_equal) {
  switch (d) {
  case FVM_F32:
    return or_equal ? UKR_le_f32 : UKR_lt_f32;
  case FVM_I64:
    return or_equal ? UKR_le_i64 : UKR_lt_i64;
  case FVM_I32:
    return or_equal ? UKR_le_i32 : UKR_lt_i32;
  default:
    return -1;
  }
}

static bool label_arg(const struct opcall *c, const struct target *t, int i, struct label *l) {
  (void)t;
  return less_kernel(c->in[0].dtype, false) >= 0 && one_thread(c, i, l);
}

/* z = c ? x : z */
static void choose(struct builder *b, const struct lines *l, int ukr, int mask, struct addr x,
                   int64_t sx, int64_t cx, int z) {
  build_ukr(b, ukr, (struct addr[]){ADDR(mask, 0), x, ADDR(z, 0), ADDR(z, 0)},
            (struct val[]){val(l->outer), val(l->inner), val(l->inner), val(1), val(sx), val(cx),
                           val(l->inner), val(1), val(l->inner)});
}

/* The best so far and its index; an element that is better replaces both. */
static void emit_arg(const struct opcall *c, const struct label *label, struct builder *b) {
  enum { X, Y };
  int axis = 0;
  (void)label;
  op_axis_attr(c, 0, &axis, NULL);
  struct lines l = read_lines(&c->in[0], axis);
  bool max = !strcmp(c->op->name, "ArgMax"), last = opcall_int(c, "select_last_index", 0) != 0;
  int64_t count = l.outer * l.inner, line = l.n * l.inner, step = l.inner * l.size;
  int best = build_buf(b, BUF_SHARED, count * l.size), mask = build_buf(b, BUF_SHARED, count);
  int index = build_buf(b, BUF_SHARED, 8), one = build_buf(b, BUF_SHARED, 8);
  copy_first(b, &l, best, l.inner);
  fill_8(b, Y, count, 0);
  fill_8(b, index, 1, 0);
  fill_8(b, one, 1, 1);
  int k = build_loop(b, 0, val(l.n - 1), 1);
  struct addr x = ADDR(X, step, {k, step}), so_far = ADDR(best, 0);
  build_ukr(b, UKR_add_i64, (struct addr[]){ADDR(index, 0), ADDR(one, 0), ADDR(index, 0)},
            (struct val[]){val(1), val(1), val(1), val(1), val(1), val(1), val(1)});
  binary(b, &l, less_kernel(c->in[0].dtype, last),
         (struct addr[]){max ? so_far : x, max ? x : so_far, ADDR(mask, 0)}, max ? l.inner : line,
         max ? line : l.inner, l.inner);
  choose(b, &l, l.size == 8 ? UKR_select_8 : UKR_select_4, mask, x, line, 1, best);
  choose(b, &l, UKR_select_8, mask, ADDR(index, 0), 0, 0, Y);
  build_end(b);
}

const struct cand arg_cands[] = {{"scan", {0}, label_arg, emit_arg, NULL}, {0}};
