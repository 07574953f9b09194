/* Resample(x, index, weight, start), attribute axis: along an axis, output j is start[j] plus the
 * sum of weight[t][j] times input index[t][j]. What Resize is made of (resample.h). */
#include "op_impl.h"
#include "view.h"

enum { X, INDEX, WEIGHT, START };

static int axis_of(const struct opcall *c) {
  int axis = 0;
  CHECK(op_axis_attr(c, 0, &axis, NULL) == FVM_OK);
  return axis;
}

static bool is_table(const struct tensor *t, enum fvm_dtype d, int rank) {
  return t->dtype == d && t->rank == rank;
}

enum fvm_status resample_shape(struct opcall *c, struct fvm_error *err) {
  const struct tensor *x = &c->in[X], *index = &c->in[INDEX];
  int axis;
  enum fvm_status st = op_axis_attr(c, 0, &axis, err);
  if (st != FVM_OK) return st;
  if (x->dtype != FVM_F32 && x->dtype != FVM_F64)
    return fvm_fail(err, FVM_EUNSUPPORTED, "Resample of %s", fvm_dtype_name(x->dtype));
  if (!is_table(index, FVM_I64, 2) || !is_table(&c->in[WEIGHT], FVM_F32, 2) ||
      !is_table(&c->in[START], FVM_F32, 1) || index->dim[0] != c->in[WEIGHT].dim[0] ||
      index->dim[1] != c->in[WEIGHT].dim[1] || index->dim[1] != c->in[START].dim[0])
    return fvm_fail(err, FVM_EFORMAT, "index, weight and start do not fit each other");
  int64_t dim[FVM_MAXRANK];
  for (int i = 0; i < x->rank; i++) dim[i] = i == axis ? index->dim[1] : x->dim[i];
  return tensor_init(&c->out[0], x->dtype, x->rank, dim, err);
}

/* x seen as [outer][rows][inner], y as [outer][m][inner], in a layout's order of axes. */
struct lines {
  int64_t outer, rows, inner, m, k;
};

static struct lines read_lines(const struct opcall *c, enum layout l) {
  int axis = axis_of(c), rank = c->in[X].rank;
  struct tensor x = view_tensor(&c->in[X], rank, l);
  int at = l == LAYOUT_ROW || axis < 2 || layout_is_cut(l) ? axis : axis - 1;
  return (struct lines){.outer = dims_product(x.dim, 0, at),
                        .rows = x.dim[at],
                        .inner = dims_product(x.dim, at + 1, x.rank),
                        .m = c->in[INDEX].dim[1],
                        .k = c->in[INDEX].dim[0]};
}

enum fvm_status resample_ref(const struct opcall *c, const void *const *in, void *const *out,
                             struct fvm_error *err) {
  struct lines l = read_lines(c, LAYOUT_ROW);
  const int64_t *index = in[INDEX];
  const float *weight = in[WEIGHT], *start = in[START];
  enum fvm_dtype d = c->in[X].dtype;
  for (int64_t i = 0; i < l.k * l.m; i++)
    if (index[i] < 0 || index[i] >= l.rows)
      return fvm_fail(err, FVM_EFAIL, "index %lld is outside an axis of %lld", (long long)index[i],
                      (long long)l.rows);
  for (int64_t i = 0; i < l.outer * l.m * l.inner; i++) {
    int64_t j = i / l.inner % l.m, o = i / l.inner / l.m;
    double sum = (double)start[j];
    for (int64_t t = 0; t < l.k; t++)
      sum += (double)weight[t * l.m + j] *
             elem_f64(in[X], d, (o * l.rows + index[t * l.m + j]) * l.inner + i % l.inner);
    elem_set_f64(out[0], d, i, sum);
  }
  return FVM_OK;
}

/* ---- candidate: a nest of which a micro-kernel takes a block of outputs by a block of lines ---
 */
static void emit(const struct opcall *c, const struct label *label, struct builder *b) {
  enum { Y, XX, TABLE, FLOATS, OPERANDS };
  enum { CALL_ELEMS = 8192 };
  struct lines l = read_lines(c, (enum layout)label->in[X]);
  const int64_t bytes[OPERANDS] = {4, 4, 8, 4};
  struct addr at[OPERANDS] = {ADDR(4, 0), ADDR(X, 0), ADDR(INDEX, 0), ADDR(WEIGHT, 0)};
  struct nest t = {.nop = OPERANDS};
  nest_add(&t, l.outer, (int64_t[]){l.m * l.inner, l.rows * l.inner, 0, 0});
  nest_add(&t, l.m, (int64_t[]){l.inner, 0, 1, 1});
  nest_add(&t, l.inner, (int64_t[]){1, 1, 0, 0});
  nest_merge(&t);
  for (int i = 0; i < t.n; i++)
    if (t.axis[i].stride[TABLE])
      t.row = i;
    else
      t.col = i;
  int64_t width = t.col < 0 ? 1 : MIN(t.axis[t.col].dim, CALL_ELEMS / 16);
  nest_steps(&t, CALL_ELEMS / width, width, label->threads);
  int64_t cx = t.col < 0 ? 1 : t.axis[t.col].stride[XX],
          cy = t.col < 0 ? 1 : t.axis[t.col].stride[Y];
  struct val m, n;
  int open = nest_open(b, &t, label->threads, at, bytes, &m, &n);
  struct addr start = at[FLOATS];
  start.buf = START;
  build_ukr(b, UKR_resample_f32, (struct addr[]){at[XX], at[TABLE], at[FLOATS], start, at[Y]},
            (struct val[]){m, n, val(l.k), val(l.m), val(l.rows), val(l.inner), val(cx),
                           val(l.inner), val(cy)});
  while (open--) build_end(b);
}

/* Whether an image lies in a layout: only axes of pixels are whole in those that are not row-major,
 * and where nothing is added, channels that pad a block stay zero. */
static bool fits(const struct opcall *c, enum layout l) {
  const struct tensor *start = &c->in[START];
  if (l == LAYOUT_ROW) return true;
  if (axis_of(c) < 2 || !layout_fits(&c->in[X], l)) return false;
  for (int64_t i = 0; layout_pads(&c->in[X], l) && i < tensor_count(start); i++)
    if (!start->data || elem_f64(start->data, start->dtype, i) != 0) return false;
  return true;
}

/* The layouts in turn. */
static bool label(const struct opcall *c, const struct target *t, int i, struct label *l) {
  static const enum layout layouts[] = {LAYOUT_ROW, LAYOUT_NHWC, LAYOUT_C16};
  if (c->in[X].dtype != FVM_F32 || tensor_count(&c->out[0]) == 0) return false;
  for (size_t k = 0; k < COUNT(layouts); k++) {
    enum layout y = layouts[k];
    if (!fits(c, y)) continue;
    for (int n = 0; label_threads(c, t, n, l); n++) {
      if (i-- > 0) continue;
      l->in[X] = l->out[0] = (uint8_t)y;
      return true;
    }
  }
  return false;
}

static void cost(const struct opcall *c, const struct label *l, struct opcost *cost) {
  cost_stream(c, l, cost);
  cost->flops = 2 * tensor_count(&c->out[0]) * c->in[INDEX].dim[0];
}

const struct cand resample_cands[] = {{"resample", {0}, label, emit, cost}, {0}};
