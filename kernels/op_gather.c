/* Gather, GatherElements, GatherND. Indices are known only at run time: a micro-kernel that meets
 * one outside the axis stops the program (UKR_RANGE). */
#include <string.h>

#include "op_impl.h"

static enum fvm_status check_indices(const struct tensor *t, struct fvm_error *err) {
  if (t->dtype == FVM_I64 || t->dtype == FVM_I32) return FVM_OK;
  return fvm_fail(err, FVM_EFORMAT, "the indices are %s", fvm_dtype_name(t->dtype));
}

/* An index of an axis of n, negative ones from the end; -1 when outside. */
static int64_t resolve(const struct tensor *t, const void *data, int64_t i, int64_t n) {
  int64_t v = elem_i64(data, t->dtype, i);
  if (v < 0) v += n;
  return v >= 0 && v < n ? v : -1;
}

static enum fvm_status outside(const struct tensor *t, const void *data, int64_t i, int64_t n,
                               struct fvm_error *err) {
  return fvm_fail(err, FVM_EFAIL, "index %lld is outside an axis of %lld",
                  (long long)elem_i64(data, t->dtype, i), (long long)n);
}

/* ---- Gather: y[o][j][...] = x[o][index j][...] ---- */

/* Seen as x[outer][rows][inner], index[count]. */
struct gather {
  int axis;
  int64_t outer, rows, inner, count;
};

static struct gather read_gather(const struct opcall *c) {
  const struct tensor *x = &c->in[0];
  struct gather g = {0};
  op_axis_attr(c, 0, &g.axis, NULL);
  g.outer = dims_product(x->dim, 0, g.axis);
  g.rows = x->dim[g.axis];
  g.inner = dims_product(x->dim, g.axis + 1, x->rank);
  g.count = tensor_count(&c->in[1]);
  return g;
}

/* Dims of x with those from `from` to `to` replaced by the index's first n. */
static enum fvm_status replace_axes(struct opcall *c, int from, int to, int n,
                                    struct fvm_error *err) {
  const struct tensor *x = &c->in[0], *index = &c->in[1];
  int64_t dim[2 * FVM_MAXRANK];
  int rank = 0;
  for (int i = 0; i < from; i++) dim[rank++] = x->dim[i];
  for (int i = 0; i < n; i++) dim[rank++] = index->dim[index->rank - n + i];
  for (int i = to; i < x->rank; i++) dim[rank++] = x->dim[i];
  return tensor_init(&c->out[0], x->dtype, rank, dim, err);
}

enum fvm_status gather_shape(struct opcall *c, struct fvm_error *err) {
  int axis = 0;
  enum fvm_status st = check_indices(&c->in[1], err);
  if (!st) st = op_axis_attr(c, 0, &axis, err);
  return st ? st : replace_axes(c, axis, axis + 1, c->in[1].rank, err);
}

enum fvm_status gather_ref(const struct opcall *c, const void *const *in, void *const *out,
                           struct fvm_error *err) {
  struct gather g = read_gather(c);
  int64_t bytes = g.inner * (int64_t)fvm_dtype_bytes(c->in[0].dtype);
  char *y = out[0];
  for (int64_t o = 0; o < g.outer; o++)
    for (int64_t j = 0; j < g.count; j++, y += bytes) {
      int64_t i = resolve(&c->in[1], in[1], j, g.rows);
      if (i < 0) return outside(&c->in[1], in[1], j, g.rows, err);
      if (bytes) memcpy(y, (const char *)in[0] + (o * g.rows + i) * bytes, (size_t)bytes);
    }
  return FVM_OK;
}

/* A row of b bytes lies in at most (b + 4094) / 4096 + 1 pages, wherever it begins. */
int64_t opcall_row_bytes(const struct opcall *c, int i) {
  enum { PAGE = 4096 };
  if (c->op->ref != gather_ref || i != 0) return -1;
  struct gather g = read_gather(c);
  int64_t row = g.inner * (int64_t)fvm_dtype_bytes(c->in[0].dtype), rows, bytes;
  if (row == 0) return 0;
  bool ok = fvm_mul(g.outer, g.count, &rows) &&
            fvm_mul(rows, ((row + PAGE - 2) / PAGE + 1) * PAGE, &bytes);
  return ok ? MIN(bytes, ROUND_UP(tensor_bytes(&c->in[0]), (int64_t)PAGE)) : -1;
}

static int gather_kernel(size_t bytes) {
  return bytes == 1   ? UKR_gather_1
         : bytes == 2 ? UKR_gather_2
         : bytes == 4 ? UKR_gather_4
         : bytes == 8 ? UKR_gather_8
                      : -1;
}

/* The indices as int64: input 1, or a converted copy made before any par. */
static int index_buffer(const struct opcall *c, struct builder *b) {
  int64_t n = tensor_count(&c->in[1]);
  if (c->in[1].dtype == FVM_I64) return 1;
  int buf = build_buf(b, BUF_SHARED, 8 * n);
  build_ukr(b, UKR_cvt_i32_i64, (struct addr[]){ADDR(1, 0, {0, 0}), ADDR(buf, 0, {0, 0})},
            (struct val[]){val(1), val(n), val(0), val(1), val(0)});
  return buf;
}

static bool label_gather(const struct opcall *c, const struct target *t, int i, struct label *l) {
  return box_fits(fvm_dtype_bytes(c->in[0].dtype)) && label_threads(c, t, i, l);
}

/* A nest over [outer][indices]; a micro-kernel takes a block of indices and whole rows. */
static void emit_gather(const struct opcall *c, const struct label *l, struct builder *b) {
  enum { Y, X, INDEX };
  struct gather g = read_gather(c);
  int64_t size = (int64_t)fvm_dtype_bytes(c->in[0].dtype), bytes[3] = {size, size, 8};
  if (tensor_count(&c->out[0]) == 0) return;
  struct addr at[3] = {ADDR(2, 0, {0, 0}), ADDR(0, 0, {0, 0}), ADDR(index_buffer(c, b), 0, {0, 0})};
  struct nest t = {.nop = 3};
  nest_add(&t, g.outer, (int64_t[]){g.count * g.inner, g.rows * g.inner, 0});
  nest_add(&t, g.count, (int64_t[]){g.inner, 0, 1});
  nest_merge(&t);
  for (int i = 0; i < t.n; i++)
    if (t.axis[i].stride[INDEX]) t.row = i;
  nest_steps(&t, MAX(1, 4096 / g.inner), 1, l->threads);
  struct val m, n;
  int open = nest_open(b, &t, l->threads, at, bytes, &m, &n);
  build_ukr(b, gather_kernel((size_t)size), (struct addr[]){at[X], at[INDEX], at[Y]},
            (struct val[]){m, val(g.inner), val(g.rows), val(g.inner), val(g.inner)});
  while (open--) build_end(b);
}

static void cost_gather(const struct opcall *c, const struct label *l, struct opcost *cost) {
  int64_t bytes = tensor_bytes(&c->out[0]);
  (void)l;
  *cost = (struct opcost){0, bytes + tensor_bytes(&c->in[1]), bytes, CEIL_DIV(bytes, 4096) + 1};
}

/* ---- Gather from a table that a product has in panels of its rows ---- */

static const enum layout panels[] = {LAYOUT_PT16, LAYOUT_PT24, LAYOUT_PT32, LAYOUT_PT48};

/* Attribute tied: the table is a product's second factor, too, so it may be in panels anyway. */
static bool label_panels(const struct opcall *c, const struct target *t, int i, struct label *l) {
  const struct tensor *x = &c->in[0];
  if (!opcall_int(c, "tied", 0) || !x->data || x->dtype != FVM_F32 || x->rank != 2) return false;
  if (read_gather(c).axis != 0 || tensor_count(&c->out[0]) == 0) return false;
  l->in[0] = (uint8_t)panels[i % (int)COUNT(panels)];
  return label_threads(c, t, i / (int)COUNT(panels), l);
}

static void emit_panels(const struct opcall *c, const struct label *l, struct builder *b) {
  struct gather g = read_gather(c);
  int64_t nr = layout_block((enum layout)l->in[0]), few = MAX(1, 4096 / g.inner);
  int index = index_buffer(c, b);
  int i = (l->threads > 1 ? build_par : build_loop)(b, 0, val(g.count), few);
  int m = build_min(b, few, val(g.count), i);
  build_ukr(b, UKR_gather_panels_4,
            (struct addr[]){ADDR(0, 0), ADDR(index, 0, {i, 8}), ADDR(2, 0, {i, g.inner * 4})},
            (struct val[]){reg(m), val(g.inner), val(g.rows), val(CEIL_DIV(g.rows, nr)),
                           val(g.inner * nr), val(nr), val(g.inner)});
  build_end(b);
}

/* Of each line of the cache one element is used. */
static void cost_panels(const struct opcall *c, const struct label *l, struct opcost *cost) {
  cost_gather(c, l, cost);
  cost->bytes_read *= 16;
}

const struct cand gather_cands[] = {{"rows", {0}, label_gather, emit_gather, cost_gather},
                                    {"panels", {0}, label_panels, emit_panels, cost_panels},
                                    {0}};

/* ---- GatherElements: y[i][j] = x[index[i][j]][j] along an axis ---- */

enum fvm_status gather_elements_shape(struct opcall *c, struct fvm_error *err) {
  const struct tensor *x = &c->in[0], *index = &c->in[1];
  int axis = 0;
  enum fvm_status st = check_indices(index, err);
  if (!st) st = op_axis_attr(c, 0, &axis, err);
  if (st) return st;
  if (x->rank != index->rank) return fvm_fail(err, FVM_EFORMAT, "ranks differ");
  for (int i = 0; i < x->rank; i++)
    if (i != axis && index->dim[i] > x->dim[i])
      return fvm_fail(err, FVM_EFORMAT, "axis %d of the indices is larger than the input's", i);
  return tensor_init(&c->out[0], x->dtype, index->rank, index->dim, err);
}

enum fvm_status gather_elements_ref(const struct opcall *c, const void *const *in, void *const *out,
                                    struct fvm_error *err) {
  const struct tensor *x = &c->in[0], *index = &c->in[1];
  struct walk w = {.rank = index->rank};
  int64_t stride[FVM_MAXRANK], at = 0;
  size_t size = fvm_dtype_bytes(x->dtype);
  int axis = 0;
  op_axis_attr(c, 0, &axis, NULL);
  memcpy(w.dim, index->dim, sizeof index->dim);
  row_strides(x->rank, x->dim, stride);
  memcpy(w.stride[0], stride, sizeof stride);
  w.stride[0][axis] = 0;
  for (walk_start(&w); walk_more(&w); walk_next(&w), at++) {
    int64_t i = resolve(index, in[1], at, x->dim[axis]);
    if (i < 0) return outside(index, in[1], at, x->dim[axis], err);
    memcpy((char *)out[0] + at * (int64_t)size,
           (const char *)in[0] + (w.off[0] + i * stride[axis]) * (int64_t)size, size);
  }
  return FVM_OK;
}

/* Along the last axis a call takes a row of indices, else one index: indices of a call must be
 * dense, and the columns of other axes look into different parts of x. */
static void emit_gather_elements(const struct opcall *c, const struct label *l, struct builder *b) {
  enum { Y, X, INDEX };
  const struct tensor *x = &c->in[0], *index = &c->in[1];
  int64_t size = (int64_t)fvm_dtype_bytes(x->dtype), bytes[3] = {size, size, 8};
  int64_t from[FVM_MAXRANK], to[FVM_MAXRANK];
  int axis = 0;
  if (tensor_count(&c->out[0]) == 0) return;
  op_axis_attr(c, 0, &axis, NULL);
  row_strides(x->rank, x->dim, from);
  row_strides(index->rank, index->dim, to);
  struct nest t = {.nop = 3};
  for (int i = 0; i < x->rank; i++)
    nest_add(&t, index->dim[i], (int64_t[]){to[i], i == axis ? 0 : from[i], to[i]});
  nest_merge(&t);
  bool rows = t.n && to[axis] == 1 && t.axis[t.n - 1].stride[X] == 0;
  if (rows) t.row = t.n - 1;
  nest_steps(&t, 4096, 1, l->threads);
  struct addr at[3] = {ADDR(2, 0, {0, 0}), ADDR(0, 0, {0, 0}), ADDR(index_buffer(c, b), 0, {0, 0})};
  struct val m, n;
  int open = nest_open(b, &t, l->threads, at, bytes, &m, &n);
  build_ukr(b, gather_kernel((size_t)size), (struct addr[]){at[X], at[INDEX], at[Y]},
            (struct val[]){m, val(1), val(x->dim[axis]), val(from[axis]), val(1)});
  while (open--) build_end(b);
}

const struct cand gather_elements_cands[] = {
    {"elements", {0}, label_gather, emit_gather_elements, NULL}, {0}};

/* ---- GatherND: the last axis of the indices names a place in the axes after the batch ---- */

/* Seen as x[batch][places][inner], index[batch][count][depth]. */
struct gather_nd {
  int batch_dims, depth;
  int64_t batch, places, inner, count;
};

static struct gather_nd read_gather_nd(const struct opcall *c) {
  const struct tensor *x = &c->in[0], *index = &c->in[1];
  struct gather_nd g = {.batch_dims = (int)opcall_int(c, "batch_dims", 0)};
  g.depth = (int)index->dim[index->rank - 1];
  g.batch = dims_product(x->dim, 0, g.batch_dims);
  g.places = dims_product(x->dim, g.batch_dims, g.batch_dims + g.depth);
  g.inner = dims_product(x->dim, g.batch_dims + g.depth, x->rank);
  g.count = dims_product(index->dim, g.batch_dims, index->rank - 1);
  return g;
}

enum fvm_status gather_nd_shape(struct opcall *c, struct fvm_error *err) {
  const struct tensor *x = &c->in[0], *index = &c->in[1];
  int64_t b = opcall_int(c, "batch_dims", 0), dim[2 * FVM_MAXRANK];
  enum fvm_status st = check_indices(index, err);
  if (st) return st;
  if (b < 0 || b >= index->rank || index->dim[index->rank - 1] < 1 ||
      index->dim[index->rank - 1] > x->rank - b)
    return fvm_fail(err, FVM_EFORMAT, "the indices do not fit the input's axes");
  for (int i = 0; i < b; i++)
    if (x->dim[i] != index->dim[i]) return fvm_fail(err, FVM_EFORMAT, "batch axis %d differs", i);
  int rank = 0;
  for (int i = 0; i < index->rank - 1; i++) dim[rank++] = index->dim[i];
  for (int i = (int)(b + index->dim[index->rank - 1]); i < x->rank; i++) dim[rank++] = x->dim[i];
  return tensor_init(&c->out[0], x->dtype, rank, dim, err);
}

enum fvm_status gather_nd_ref(const struct opcall *c, const void *const *in, void *const *out,
                              struct fvm_error *err) {
  struct gather_nd g = read_gather_nd(c);
  const int64_t *dim = &c->in[0].dim[g.batch_dims];
  int64_t bytes = g.inner * (int64_t)fvm_dtype_bytes(c->in[0].dtype), at = 0;
  char *y = out[0];
  for (int64_t i = 0; i < g.batch * g.count; i++, y += bytes) {
    int64_t place = 0;
    for (int k = 0; k < g.depth; k++, at++) {
      int64_t v = resolve(&c->in[1], in[1], at, dim[k]);
      if (v < 0) return outside(&c->in[1], in[1], at, dim[k], err);
      place = place * dim[k] + v;
    }
    if (bytes)
      memcpy(y, (const char *)in[0] + (i / g.count * g.places + place) * bytes, (size_t)bytes);
  }
  return FVM_OK;
}

/* Deeper places need tables, one entry for each index of an axis. */
enum { MAX_TABLE = 1 << 16 };

static bool label_gather_nd(const struct opcall *c, const struct target *t, int i,
                            struct label *l) {
  struct gather_nd g = read_gather_nd(c);
  for (int k = 0; g.depth > 1 && k < g.depth; k++)
    if (c->in[0].dim[g.batch_dims + k] > MAX_TABLE) return false;
  return label_gather(c, t, i, l);
}

/* n numbers, from 0 on, `step` apart. */
static int make_table(struct builder *b, int64_t n, int64_t step) {
  int table = build_buf(b, BUF_SHARED, 8 * n), by = build_buf(b, BUF_SHARED, 8);
  struct val one = val(1);
  build_ukr(b, UKR_fill_8, (struct addr[]){ADDR(table, 0)}, (struct val[]){one, one, one, val(0)});
  build_ukr(b, UKR_fill_8, (struct addr[]){ADDR(by, 0)}, (struct val[]){one, one, one, val(step)});
  int i = build_loop(b, 0, val(n - 1), 1);
  build_ukr(b, UKR_add_i64,
            (struct addr[]){ADDR(table, 0, {i, 8}), ADDR(by, 0), ADDR(table, 8, {i, 8})},
            (struct val[]){one, one, one, one, one, one, one});
  build_end(b);
  return table;
}

/* Places of `depth` indices as one: the sum of what each index finds in the table of its axis.
 * Finding resolves negative indices and stops at those outside. */
static int place_buffer(const struct opcall *c, const struct gather_nd *g, struct builder *b) {
  const int64_t *dim = &c->in[0].dim[g->batch_dims];
  int64_t n = g->batch * g->count;
  int index = index_buffer(c, b), one = build_buf(b, BUF_SHARED, 8 * n);
  int found = build_buf(b, BUF_SHARED, 8 * n), place = build_buf(b, BUF_SHARED, 8 * n);
  for (int k = 0; k < g->depth; k++) {
    int table = make_table(b, dim[k], dims_product(dim, k + 1, g->depth));
    build_ukr(b, UKR_copy_8, (struct addr[]){ADDR(index, 8 * k), ADDR(one, 0)},
              (struct val[]){val(n), val(1), val(g->depth), val(1), val(1), val(1)});
    build_ukr(b, UKR_gather_8,
              (struct addr[]){ADDR(table, 0), ADDR(one, 0), ADDR(k ? found : place, 0)},
              (struct val[]){val(n), val(1), val(dim[k]), val(1), val(1)});
    if (k)
      build_ukr(b, UKR_add_i64, (struct addr[]){ADDR(place, 0), ADDR(found, 0), ADDR(place, 0)},
                (struct val[]){val(1), val(n), val(n), val(1), val(n), val(1), val(n)});
  }
  return place;
}

static void emit_gather_nd(const struct opcall *c, const struct label *l, struct builder *b) {
  struct gather_nd g = read_gather_nd(c);
  int64_t size = (int64_t)fvm_dtype_bytes(c->in[0].dtype);
  if (tensor_count(&c->out[0]) == 0) return;
  int index = g.depth > 1 ? place_buffer(c, &g, b) : index_buffer(c, b);
  int i = (l->threads > 1 ? build_par : build_loop)(b, 0, val(g.batch), 1);
  build_ukr(b, gather_kernel((size_t)size),
            (struct addr[]){ADDR(0, 0, {i, g.places * g.inner * size}),
                            ADDR(index, 0, {i, g.count * 8}),
                            ADDR(2, 0, {i, g.count * g.inner * size})},
            (struct val[]){val(g.count), val(g.inner), val(g.places), val(g.inner), val(g.inner)});
  build_end(b);
}

const struct cand gather_nd_cands[] = {{"rows", {0}, label_gather_nd, emit_gather_nd, NULL}, {0}};
