/* Data movement: every operator here is a list of boxes (strided copies and fills, op_impl.h).
 * Reference and programs run the same list, and hand-made values hold the list itself. */
#include <string.h>

#include "op_impl.h"

enum { MAXPIECE = 3 }; /* pieces of an axis: before, middle, after */

static struct box new_box(const struct opcall *c, int in, int out) {
  return (struct box){
      .x_buf = in, .y_buf = c->nin + out, .elem_bytes = fvm_dtype_bytes(c->in[in].dtype)};
}

/* A box over the axes of t with its dims; both sides still have t's row-major strides. */
static struct box box_over(const struct opcall *c, int in, int out, const struct tensor *t) {
  struct box x = new_box(c, in, out);
  x.rank = t->rank;
  memcpy(x.dim, t->dim, sizeof t->dim);
  row_strides(t->rank, t->dim, x.x_stride);
  memcpy(x.y_stride, x.x_stride, sizeof x.y_stride);
  return x;
}

/* ---- Transpose ---- */

static enum fvm_status read_perm(const struct opcall *c, int perm[FVM_MAXRANK],
                                 struct fvm_error *err) {
  const struct attr *a = opcall_attr(c, "perm");
  int rank = c->in[0].rank;
  unsigned mask;
  for (int i = 0; i < rank; i++) perm[i] = rank - 1 - i;
  if (!a) return FVM_OK;
  if (a->kind != ATTR_INTS || a->n != rank)
    return fvm_fail(err, FVM_EFORMAT, "perm has %d axes, the input %d", a->n, rank);
  enum fvm_status st = op_axes(a->ints, rank, rank, &mask, err);
  for (int i = 0; i < rank && !st; i++) st = op_axis(a->ints[i], rank, &perm[i], err);
  return st;
}

enum fvm_status transpose_shape(struct opcall *c, struct fvm_error *err) {
  int perm[FVM_MAXRANK];
  int64_t dim[FVM_MAXRANK];
  enum fvm_status st = read_perm(c, perm, err);
  if (st) return st;
  for (int i = 0; i < c->in[0].rank; i++) dim[i] = c->in[0].dim[perm[i]];
  return tensor_init(&c->out[0], c->in[0].dtype, c->in[0].rank, dim, err);
}

static bool transpose_box(const struct opcall *c, int i, struct box *x) {
  int perm[FVM_MAXRANK];
  int64_t stride[FVM_MAXRANK];
  if (i > 0) return false;
  read_perm(c, perm, NULL);
  *x = box_over(c, 0, 0, &c->out[0]);
  row_strides(c->in[0].rank, c->in[0].dim, stride);
  for (int k = 0; k < x->rank; k++) x->x_stride[k] = stride[perm[k]];
  return true;
}

/* ---- Concat ---- */

enum fvm_status concat_shape(struct opcall *c, struct fvm_error *err) {
  const struct tensor *first = &c->in[0];
  int axis;
  int64_t dim[FVM_MAXRANK], sum = 0;
  enum fvm_status st = op_axis_attr(c, 1, &axis, err);
  if (st) return st;
  memcpy(dim, first->dim, sizeof dim);
  for (int i = 0; i < c->nin; i++) {
    const struct tensor *t = &c->in[i];
    bool fits = t->rank == first->rank && t->dtype == first->dtype;
    for (int k = 0; k < first->rank && fits; k++) fits = k == axis || t->dim[k] == first->dim[k];
    if (!fits) return fvm_fail(err, FVM_EFORMAT, "input %d does not fit input 0", i);
    sum += t->dim[axis]; /* at most 2^16 times 2^40 */
  }
  dim[axis] = sum;
  return tensor_init(&c->out[0], first->dtype, first->rank, dim, err);
}

static bool concat_box(const struct opcall *c, int i, struct box *x) {
  int axis = 0;
  if (i >= c->nin) return false;
  op_axis_attr(c, 1, &axis, NULL);
  *x = box_over(c, i, 0, &c->in[i]);
  row_strides(c->out[0].rank, c->out[0].dim, x->y_stride);
  for (int k = 0; k < i; k++) x->y_off += c->in[k].dim[axis] * x->y_stride[axis];
  return true;
}

/* ---- Split ---- */

/* Size of output i along the axis; -1 when the opcall gives no sizes. */
static int64_t split_size(const struct opcall *c, int i) {
  const struct tensor *t = opcall_in(c, 1);
  const struct attr *a = opcall_attr(c, "split");
  if (t) return i < tensor_count(t) ? elem_i64(t->data, t->dtype, i) : -1;
  return a && a->kind == ATTR_INTS && i < a->n ? a->ints[i] : -1;
}

enum fvm_status split_shape(struct opcall *c, struct fvm_error *err) {
  int axis;
  const struct tensor *sizes = opcall_in(c, 1);
  enum fvm_status st = op_axis_attr(c, 0, &axis, err);
  if (st) return st;
  if (sizes && !sizes->data)
    return fvm_fail(err, FVM_EUNSUPPORTED, "input 'split' is not constant");
  bool given = sizes || opcall_attr(c, "split");
  int64_t dim[FVM_MAXRANK], all = c->in[0].dim[axis], left = all;
  memcpy(dim, c->in[0].dim, sizeof dim);
  for (int i = 0; i < c->nout; i++) {
    /* Without sizes: equal ones, the last may be smaller. */
    int64_t n = given ? split_size(c, i) : MIN(left, CEIL_DIV(all, c->nout));
    if (n < 0 || n > left)
      return fvm_fail(err, FVM_EFORMAT, "output %d would have %lld of %lld elements left", i,
                      (long long)n, (long long)left);
    dim[axis] = n;
    left -= n;
    st = tensor_init(&c->out[i], c->in[0].dtype, c->in[0].rank, dim, err);
    if (st) return st;
  }
  if (left) return fvm_fail(err, FVM_EFORMAT, "the outputs leave %lld elements", (long long)left);
  return FVM_OK;
}

static bool split_box(const struct opcall *c, int i, struct box *x) {
  int axis = 0;
  if (i >= c->nout) return false;
  op_axis_attr(c, 0, &axis, NULL);
  *x = box_over(c, 0, i, &c->out[i]);
  row_strides(c->in[0].rank, c->in[0].dim, x->x_stride);
  for (int k = 0; k < i; k++) x->x_off += c->out[k].dim[axis] * x->x_stride[axis];
  return true;
}

/* ---- Slice ---- */

struct slice {
  int64_t start[FVM_MAXRANK], step[FVM_MAXRANK], count[FVM_MAXRANK];
};

/* Python's rules: negative places count from the end, then all are clamped. */
static void slice_axis(struct slice *s, int a, int64_t n, int64_t start, int64_t end,
                       int64_t step) {
  if (start < 0) start = start < -n ? -1 : start + n;
  if (end < 0) end = end < -n ? -1 : end + n;
  if (step > 0) {
    start = MIN(MAX(start, 0), n);
    end = MIN(MAX(end, 0), n);
  } else {
    start = MIN(start, n - 1);
    end = MIN(end, n - 1);
  }
  int64_t span = step > 0 ? end - start : start - end;
  /* A step wider than the axis takes one element; so |step| stays small. */
  step = step > n + 1 ? n + 1 : step < -n - 1 ? -n - 1 : step;
  s->start[a] = start;
  s->step[a] = step;
  s->count[a] = span > 0 ? CEIL_DIV(span, step > 0 ? step : -step) : 0;
}

static enum fvm_status read_slice(const struct opcall *c, struct slice *s, struct fvm_error *err) {
  const struct tensor *in = &c->in[0];
  int64_t v[4][FVM_MAXRANK];
  int n[4], max = FVM_MAXRANK;
  static const char *const name[4] = {"starts", "ends", "axes", "steps"};
  for (int k = 0; k < 4; k++) {
    enum fvm_status st = op_ints_or_attr(c, k + 1, name[k], v[k], max, &n[k], err);
    if (st) return st;
    if (n[k] != n[0] && (k < 2 || n[k] >= 0))
      return fvm_fail(err, FVM_EFORMAT, "%s has %d elements, starts %d", name[k], n[k], n[0]);
  }
  if (n[0] < 0) return fvm_fail(err, FVM_EFORMAT, "lacks starts");
  for (int a = 0; a < in->rank; a++) slice_axis(s, a, in->dim[a], 0, INT64_MAX, 1);
  for (int i = 0; i < n[0]; i++) {
    int a;
    int64_t step = n[3] < 0 ? 1 : v[3][i];
    enum fvm_status st = op_axis(n[2] < 0 ? i : v[2][i], in->rank, &a, err);
    if (st) return st;
    if (step == 0) return fvm_fail(err, FVM_EFORMAT, "a step is 0");
    slice_axis(s, a, in->dim[a], v[0][i], v[1][i], step);
  }
  return FVM_OK;
}

enum fvm_status slice_shape(struct opcall *c, struct fvm_error *err) {
  struct slice s;
  enum fvm_status st = read_slice(c, &s, err);
  return st ? st : tensor_init(&c->out[0], c->in[0].dtype, c->in[0].rank, s.count, err);
}

static bool slice_box(const struct opcall *c, int i, struct box *x) {
  struct slice s;
  if (i > 0 || read_slice(c, &s, NULL)) return false;
  *x = box_over(c, 0, 0, &c->out[0]);
  row_strides(c->in[0].rank, c->in[0].dim, x->x_stride);
  for (int k = 0; k < x->rank; k++) {
    x->x_off += s.start[k] * x->x_stride[k];
    x->x_stride[k] *= s.step[k];
  }
  return true;
}

/* ---- Expand, Tile ---- */

enum fvm_status expand_shape(struct opcall *c, struct fvm_error *err) {
  int64_t dim[FVM_MAXRANK];
  int n;
  struct tensor to;
  enum fvm_status st = op_ints(c, 1, "shape", dim, FVM_MAXRANK, &n, err);
  if (!st) st = tensor_init(&to, c->in[0].dtype, n, dim, err);
  if (!st) st = broadcast(&to, &c->in[0], err);
  return st ? st : tensor_init(&c->out[0], to.dtype, to.rank, to.dim, err);
}

static bool expand_box(const struct opcall *c, int i, struct box *x) {
  if (i > 0) return false;
  *x = box_over(c, 0, 0, &c->out[0]);
  broadcast_strides(&c->in[0], &c->out[0], x->x_stride);
  return true;
}

enum fvm_status tile_shape(struct opcall *c, struct fvm_error *err) {
  int64_t repeat[FVM_MAXRANK], dim[FVM_MAXRANK];
  int n;
  enum fvm_status st = op_ints(c, 1, "repeats", repeat, FVM_MAXRANK, &n, err);
  if (st) return st;
  if (n != c->in[0].rank) return fvm_fail(err, FVM_EFORMAT, "repeats has %d elements", n);
  for (int i = 0; i < n; i++)
    if (repeat[i] < 0 || !fvm_mul(repeat[i], c->in[0].dim[i], &dim[i]))
      return fvm_fail(err, FVM_EFORMAT, "repeats axis %d %lld times", i, (long long)repeat[i]);
  return tensor_init(&c->out[0], c->in[0].dtype, n, dim, err);
}

/* Each axis twice: which repetition, and where in it. */
static bool tile_box(const struct opcall *c, int i, struct box *x) {
  int64_t from[FVM_MAXRANK], to[FVM_MAXRANK];
  const struct tensor *in = &c->in[0], *out = &c->out[0];
  if (i > 0) return false;
  *x = new_box(c, 0, 0);
  x->rank = 2 * in->rank;
  row_strides(in->rank, in->dim, from);
  row_strides(in->rank, out->dim, to);
  for (int k = 0; k < in->rank; k++) {
    x->dim[2 * k] = in->dim[k] ? out->dim[k] / in->dim[k] : 0;
    x->dim[2 * k + 1] = in->dim[k];
    x->y_stride[2 * k] = to[k] * in->dim[k];
    x->y_stride[2 * k + 1] = to[k];
    x->x_stride[2 * k + 1] = from[k];
  }
  return true;
}

/* ---- Pad ---- */

enum pad_mode { PAD_CONSTANT, PAD_EDGE, PAD_REFLECT, PAD_WRAP };
struct pad {
  enum pad_mode mode;
  int64_t before[FVM_MAXRANK], after[FVM_MAXRANK];
  uint64_t value;
};

static enum fvm_status pad_mode(const struct opcall *c, enum pad_mode *mode,
                                struct fvm_error *err) {
  static const char *const names[] = {"constant", "edge", "reflect", "wrap"};
  const struct attr *a = opcall_attr(c, "mode");
  *mode = PAD_CONSTANT;
  if (!a || a->kind != ATTR_STRING) return FVM_OK;
  for (size_t i = 0; i < COUNT(names); i++)
    if (!strcmp(a->s, names[i])) {
      *mode = (enum pad_mode)i;
      return FVM_OK;
    }
  return fvm_fail(err, FVM_EUNSUPPORTED, "mode '%s' is not supported", a->s);
}

static enum fvm_status pad_value(const struct opcall *c, uint64_t *value, struct fvm_error *err) {
  const struct tensor *t = opcall_in(c, 2);
  *value = 0;
  if (!t) {
    elem_set_f64(value, c->in[0].dtype, 0, (double)opcall_float(c, "value", 0));
    return FVM_OK;
  }
  if (!t->data) return fvm_fail(err, FVM_EUNSUPPORTED, "input 'constant_value' is not constant");
  if (t->dtype != c->in[0].dtype || tensor_count(t) != 1)
    return fvm_fail(err, FVM_EFORMAT, "constant_value is not one element of the input's type");
  memcpy(value, t->data, fvm_dtype_bytes(t->dtype));
  return FVM_OK;
}

/* What is cut off an axis must be there, and the modes that copy reach no further than the input.
 */
static enum fvm_status check_pad(const struct pad *p, int a, int64_t n, struct fvm_error *err) {
  int64_t reach = p->mode == PAD_REFLECT ? n - 1 : p->mode == PAD_WRAP ? n : TENSOR_MAXBYTES;
  int64_t before = p->before[a], after = p->after[a], most = MAX(before, after);
  if (MIN(before, after) < -n || MIN(before, 0) + MIN(after, 0) < -n)
    return fvm_fail(err, FVM_EFORMAT, "pads cut more off axis %d than its %lld elements", a,
                    (long long)n);
  if (most > (p->mode == PAD_CONSTANT ? TENSOR_MAXBYTES : n > 0 ? reach : 0))
    return fvm_fail(err, FVM_EUNSUPPORTED, "padding axis %d of %lld elements by %lld", a,
                    (long long)n, (long long)most);
  return FVM_OK;
}

static enum fvm_status read_pad(const struct opcall *c, struct pad *p, struct fvm_error *err) {
  int64_t v[2 * FVM_MAXRANK], axes[FVM_MAXRANK];
  int n, naxes, rank = c->in[0].rank;
  *p = (struct pad){0};
  enum fvm_status st = pad_mode(c, &p->mode, err);
  if (!st) st = pad_value(c, &p->value, err);
  if (!st) st = op_ints_or_attr(c, 1, "pads", v, 2 * FVM_MAXRANK, &n, err);
  if (!st) st = op_ints(c, 3, "axes", axes, FVM_MAXRANK, &naxes, err);
  if (st) return st;
  if (naxes < 0) {
    naxes = rank;
    for (int i = 0; i < rank; i++) axes[i] = i;
  }
  if (n != 2 * naxes)
    return fvm_fail(err, FVM_EFORMAT, "pads has %d elements for %d axes", n, naxes);
  for (int i = 0; i < naxes && !st; i++) {
    int a = 0;
    st = op_axis(axes[i], rank, &a, err);
    if (st) return st;
    p->before[a] = v[i];
    p->after[a] = v[i + naxes];
    st = check_pad(p, a, c->in[0].dim[a], err);
  }
  return st;
}

enum fvm_status pad_shape(struct opcall *c, struct fvm_error *err) {
  struct pad p;
  int64_t dim[FVM_MAXRANK];
  enum fvm_status st = read_pad(c, &p, err);
  if (st) return st;
  for (int i = 0; i < c->in[0].rank; i++) dim[i] = c->in[0].dim[i] + p.before[i] + p.after[i];
  return tensor_init(&c->out[0], c->in[0].dtype, c->in[0].rank, dim, err);
}

/* A run of an axis of the output: count places from to on show those of the input from `from`. */
struct piece {
  int64_t to, count, from, step;
};

/* The pieces of an axis that are not empty. */
static int pad_pieces(const struct pad *p, int a, int64_t n, struct piece piece[MAXPIECE]) {
  int64_t before = MAX(p->before[a], 0), after = MAX(p->after[a], 0);
  int64_t from = MAX(-p->before[a], 0), count = n - from - MAX(-p->after[a], 0);
  struct piece head = {0, before, 0, 0}, tail = {before + count, after, n - 1, 0};
  if (p->mode == PAD_REFLECT) {
    head = (struct piece){0, before, before, -1};
    tail = (struct piece){before + count, after, n - 2, -1};
  } else if (p->mode == PAD_WRAP) {
    head = (struct piece){0, before, n - before, 1};
    tail = (struct piece){before + count, after, 0, 1};
  }
  int k = 0;
  piece[k++] = (struct piece){before, MAX(count, 0), from, 1};
  if (p->mode != PAD_CONSTANT && before) piece[k++] = head;
  if (p->mode != PAD_CONSTANT && after) piece[k++] = tail;
  return k;
}

/* Constant: everything is filled, then the input copied into it. Else: one box for each
 * combination of pieces. */
static bool pad_box(const struct opcall *c, int i, struct box *x) {
  struct pad p;
  int64_t from[FVM_MAXRANK];
  read_pad(c, &p, NULL);
  *x = box_over(c, 0, 0, &c->out[0]);
  if (p.mode == PAD_CONSTANT && i-- == 0) {
    x->fill = true;
    x->value = p.value;
    return true;
  }
  row_strides(c->in[0].rank, c->in[0].dim, from);
  for (int a = 0; a < x->rank; a++) {
    struct piece piece[MAXPIECE];
    int n = pad_pieces(&p, a, c->in[0].dim[a], piece);
    const struct piece *q = &piece[i % n];
    i /= n;
    x->dim[a] = q->count;
    x->y_off += q->to * x->y_stride[a];
    x->x_off += q->from * from[a];
    x->x_stride[a] = q->step * from[a];
  }
  return i == 0;
}

/* ---- DepthToSpace, SpaceToDepth ---- */

static enum fvm_status block_size(const struct opcall *c, int64_t *block, struct fvm_error *err) {
  *block = opcall_int(c, "blocksize", 0);
  if (c->in[0].rank != 4) return fvm_fail(err, FVM_EFORMAT, "the input has not 4 axes");
  if (*block < 1 || *block > 1 << 16)
    return fvm_fail(err, FVM_EFORMAT, "blocksize is %lld", (long long)*block);
  return FVM_OK;
}

enum fvm_status depth_to_space_shape(struct opcall *c, struct fvm_error *err) {
  int64_t b;
  const int64_t *d = c->in[0].dim;
  enum fvm_status st = block_size(c, &b, err);
  if (st) return st;
  if (d[1] % (b * b)) return fvm_fail(err, FVM_EFORMAT, "channels are not a multiple of blocks");
  int64_t dim[4] = {d[0], d[1] / (b * b), d[2] * b, d[3] * b};
  return tensor_init(&c->out[0], c->in[0].dtype, 4, dim, err);
}

enum fvm_status space_to_depth_shape(struct opcall *c, struct fvm_error *err) {
  int64_t b;
  const int64_t *d = c->in[0].dim;
  enum fvm_status st = block_size(c, &b, err);
  if (st) return st;
  if (d[2] % b || d[3] % b) return fvm_fail(err, FVM_EFORMAT, "planes are not whole blocks");
  int64_t dim[4] = {d[0], d[1] * b * b, d[2] / b, d[3] / b};
  return tensor_init(&c->out[0], c->in[0].dtype, 4, dim, err);
}

/* Both see the wide tensor as [n][c][h][bh][w][bw]; the deep one has [bh][bw] before or (CRD)
 * after its channels. */
static void block_box(const struct tensor *wide, const struct tensor *deep, int64_t b, bool crd,
                      int64_t dim[6], int64_t wide_stride[6], int64_t deep_stride[6]) {
  int64_t w[4], d[4], channels = wide->dim[1];
  row_strides(4, wide->dim, w);
  row_strides(4, deep->dim, d);
  int64_t block = crd ? d[1] : d[1] * channels, channel = crd ? d[1] * b * b : d[1];
  memcpy(dim, (int64_t[6]){wide->dim[0], channels, deep->dim[2], b, deep->dim[3], b},
         6 * sizeof *dim);
  memcpy(wide_stride, (int64_t[6]){w[0], w[1], w[2] * b, w[2], b, 1}, 6 * sizeof *dim);
  memcpy(deep_stride, (int64_t[6]){d[0], channel, d[2], block * b, 1, block}, 6 * sizeof *dim);
}

static bool mode_is_crd(const struct opcall *c) {
  const struct attr *mode = opcall_attr(c, "mode");
  return mode && mode->kind == ATTR_STRING && !strcmp(mode->s, "CRD");
}

static bool depth_to_space_box(const struct opcall *c, int i, struct box *x) {
  if (i > 0) return false;
  *x = new_box(c, 0, 0);
  x->rank = 6;
  block_box(&c->out[0], &c->in[0], opcall_int(c, "blocksize", 0), mode_is_crd(c), x->dim,
            x->y_stride, x->x_stride);
  return true;
}

static bool space_to_depth_box(const struct opcall *c, int i, struct box *x) {
  if (i > 0) return false;
  *x = new_box(c, 0, 0);
  x->rank = 6;
  block_box(&c->in[0], &c->out[0], opcall_int(c, "blocksize", 0), mode_is_crd(c), x->dim,
            x->x_stride, x->y_stride);
  return true;
}

/* ---- ChannelShuffle ---- */

/* Channels of all inputs together, seen as [groups][n], are turned to [n][groups] and dealt out to
 * the outputs in equal parts. All come in one input, or each group in one of its own. */
enum fvm_status shuffle_shape(struct opcall *c, struct fvm_error *err) {
  const struct tensor *in = &c->in[0];
  int64_t dim[FVM_MAXRANK], groups = opcall_int(c, "groups", 1), all;
  bool fits = in->rank > 1 && groups > 0 && (c->nin == 1 || c->nin == groups);
  for (int k = 1; k < c->nin && fits; k++)
    fits = c->in[k].dtype == in->dtype && c->in[k].rank == in->rank &&
           !memcmp(c->in[k].dim, in->dim, sizeof in->dim);
  fits =
      fits && fvm_mul(in->dim[1], c->nin, &all) && groups <= all && all % (groups * c->nout) == 0;
  if (!fits)
    return fvm_fail(err, FVM_EFORMAT, "channels don't make %lld groups", (long long)groups);
  memcpy(dim, in->dim, sizeof dim);
  dim[1] = all / c->nout;
  enum fvm_status st = FVM_OK;
  for (int k = 0; k < c->nout && !st; k++)
    st = tensor_init(&c->out[k], in->dtype, in->rank, dim, err);
  return st;
}

/* A box for each group and part: some neighbours, that become every groups-th of an output. */
static bool shuffle_box(const struct opcall *c, int i, struct box *x) {
  int64_t groups = opcall_int(c, "groups", 1), group = i / c->nout, part = i % c->nout;
  if (group >= groups) return false;
  int in = c->nin == 1 ? 0 : (int)group;
  struct tensor t = c->out[0];
  t.dim[1] /= groups;
  *x = box_over(c, in, (int)part, &t);
  row_strides(t.rank, c->in[in].dim, x->x_stride);
  row_strides(t.rank, c->out[part].dim, x->y_stride);
  int64_t first = part + (c->nin == 1 ? group * c->nout : 0);
  x->x_off = first * t.dim[1] * x->x_stride[1];
  x->y_off = group * x->y_stride[1];
  x->y_stride[1] *= groups;
  return true;
}

/* ---- the table ---- */

static const struct mover {
  const char *name;
  /* The i-th box of an opcall; false past the last. Later boxes win where they overlap. */
  bool (*box)(const struct opcall *c, int i, struct box *x);
  bool keeps_axes; /* the axes of a box are those of the tensors, in their order */
} movers[] = {
    {"Transpose", transpose_box, false},
    {"Concat", concat_box, true},
    {"Split", split_box, true},
    {"Slice", slice_box, true},
    {"Expand", expand_box, false},
    {"Tile", tile_box, false},
    {"Pad", pad_box, true},
    {"ChannelShuffle", shuffle_box, true},
    {"DepthToSpace", depth_to_space_box, false},
    {"SpaceToDepth", space_to_depth_box, false},
};

static const struct mover *mover_of(const struct opcall *c) {
  for (size_t k = 0; k < COUNT(movers); k++)
    if (!strcmp(movers[k].name, c->op->name)) return &movers[k];
  return NULL;
}

static bool next_box(const struct opcall *c, int i, struct box *x) {
  const struct mover *m = mover_of(c);
  return m && m->box(c, i, x);
}

/* ---- reference ---- */

static void run_box(const struct box *x, const void *from, void *to) {
  struct walk w = {.rank = x->rank};
  size_t size = x->elem_bytes;
  memcpy(w.dim, x->dim, sizeof w.dim);
  memcpy(w.stride[0], x->y_stride, sizeof w.stride[0]);
  memcpy(w.stride[1], x->x_stride, sizeof w.stride[1]);
  for (walk_start(&w); walk_more(&w); walk_next(&w)) {
    const char *p = (const char *)from + (x->x_off + w.off[1]) * (int64_t)size;
    memcpy((char *)to + (x->y_off + w.off[0]) * (int64_t)size,
           x->fill ? (const char *)&x->value : p, size);
  }
}

enum fvm_status move_ref(const struct opcall *c, const void *const *in, void *const *out,
                         struct fvm_error *err) {
  struct box x;
  (void)err;
  for (int i = 0; next_box(c, i, &x); i++)
    if (out[x.y_buf - c->nin]) run_box(&x, in[x.x_buf], out[x.y_buf - c->nin]);
  return FVM_OK;
}

/* ---- candidates ---- */

/* Whether one box is a whole output as it lies in the input. */
static bool is_view(const struct opcall *c, const struct box *x) {
  for (int i = 0; i < x->rank; i++)
    if (x->dim[i] != 1 && x->x_stride[i] != x->y_stride[i]) return false;
  return !x->fill && x->x_buf == 0 &&
         dims_product(x->dim, 0, x->rank) == tensor_count(&c->out[x->y_buf - c->nin]);
}

/* Whether a box of output k is whole and step 1 on every axis, and both lie alike in a layout; the
 * offset (in elements) of its first one. */
static bool lies_alike(const struct opcall *c, int k, const struct box *x, enum layout l,
                       int64_t *offset) {
  const struct tensor *in = &c->in[0], *out = &c->out[k];
  int64_t row[FVM_MAXRANK], from[FVM_MAXRANK], to[FVM_MAXRANK], dim[FVM_MAXRANK];
  bool cut = layout_is_cut(l);
  if (x->fill || x->x_buf != 0 || x->rank != in->rank || x->rank != out->rank ||
      dims_product(x->dim, 0, x->rank) != tensor_count(out) || tensor_count(out) == 0 ||
      !layout_fits(in, l) || !layout_fits(out, l))
    return false;
  row_strides(in->rank, in->dim, row);
  layout_box(in, l, cut, dim, from);
  *offset = 0;
  for (int a = 0; a < in->rank; a++) {
    int64_t start = x->x_off / row[a] % in->dim[a], block = cut && a == 1 ? LAYOUT_CUT : 1;
    if ((x->dim[a] != 1 && x->x_stride[a] != row[a]) || start % block) return false;
    *offset += start / block * from[a];
  }
  for (int n = layout_box(out, l, cut, dim, to), a = 0; a < n; a++)
    if (dim[a] != 1 && from[a] != to[a]) return false;
  return true;
}

/* Each output is one box, and in the input comes right after the one before. */
static bool shows(const struct opcall *c, enum layout l, int64_t *offset) {
  struct box x, more;
  int64_t end = 0;
  for (int k = 0; k < c->nout; k++) {
    int64_t at;
    if (c->out[k].dtype == FVM_NONE || !next_box(c, k, &x) || x.y_buf != c->nin + k) return false;
    at = x.x_off;
    if (l == LAYOUT_ROW ? !is_view(c, &x) : !lies_alike(c, k, &x, l, &at)) return false;
    if (k == 0) *offset = at * (int64_t)x.elem_bytes;
    if ((k > 0 && at != end) || at * (int64_t)x.elem_bytes % FVM_ALIGN) return false;
    end = at + tensor_count(&c->out[k]);
  }
  return !next_box(c, c->nout, &more);
}

static bool label_view(const struct opcall *c, const struct target *t, int i, struct label *l) {
  static const enum layout layouts[] = {LAYOUT_ROW, LAYOUT_COL, LAYOUT_NHWC, LAYOUT_C16};
  (void)t;
  for (size_t k = 0; k < COUNT(layouts); k++)
    if (shows(c, layouts[k], &l->view_offset) && i-- == 0) {
      l->view = true;
      l->in[0] = (uint8_t)layouts[k];
      for (int o = 0; o < MIN(c->nout, LABEL_MAXIO); o++) l->out[o] = (uint8_t)layouts[k];
      return true;
    }
  return false;
}

/* A transposition renames layouts: the output in `lo` is the input in `li`, byte by byte. */
static bool renames(const struct opcall *c, enum layout li, enum layout lo) {
  int perm[FVM_MAXRANK] = {0};
  int64_t from[FVM_MAXRANK], to[FVM_MAXRANK];
  if (!layout_fits(&c->in[0], li) || !layout_fits(&c->out[0], lo) || read_perm(c, perm, NULL))
    return false;
  layout_strides(&c->in[0], li, from);
  layout_strides(&c->out[0], lo, to);
  for (int i = 0; i < c->out[0].rank; i++)
    if (c->out[0].dim[i] != 1 && to[i] != from[perm[i]]) return false;
  return true;
}

static bool label_rename(const struct opcall *c, const struct target *t, int i, struct label *l) {
  static const enum layout layouts[] = {LAYOUT_ROW, LAYOUT_COL, LAYOUT_NHWC, LAYOUT_SEQ};
  (void)t;
  for (size_t a = 0; a < COUNT(layouts); a++)
    for (size_t b = 0; b < COUNT(layouts); b++)
      if (renames(c, layouts[a], layouts[b]) && i-- == 0) {
        l->view = true;
        l->in[0] = (uint8_t)layouts[a];
        l->out[0] = (uint8_t)layouts[b];
        return true;
      }
  return false;
}

/* The box of a mover that keeps axes, as its tensors lie in a layout. False when they can't, or
 * when it would cut blocks of channels. */
static bool box_in(const struct opcall *c, const struct box *x, enum layout l, struct box *y) {
  const struct tensor *in = &c->in[x->x_buf], *out = &c->out[x->y_buf - c->nin];
  int64_t row_in[FVM_MAXRANK], row_out[FVM_MAXRANK], dim[FVM_MAXRANK];
  bool cut = layout_is_cut(l);
  *y = *x;
  if (l == LAYOUT_ROW) return true;
  if (tensor_count(in) == 0 || tensor_count(out) == 0 || !layout_fits(in, l) ||
      !layout_fits(out, l))
    return false;
  row_strides(in->rank, in->dim, row_in);
  row_strides(out->rank, out->dim, row_out);
  layout_box(in, l, cut, dim, y->x_stride);
  y->rank = layout_box(out, l, cut, dim, y->y_stride);
  y->x_off = y->y_off = 0;
  for (int a = 0; a < x->rank; a++) {
    int64_t from = x->x_off / row_in[a] % in->dim[a], to = x->y_off / row_out[a] % out->dim[a];
    int64_t step = x->fill ? 1 : x->x_stride[a] / row_in[a], block = cut && a == 1 ? LAYOUT_CUT : 1;
    int64_t skip = x->y_stride[a] / row_out[a];
    if (block > 1 && (from % block || to % block || x->dim[a] % block || step != 1 || skip != 1))
      return false;
    y->dim[a] = x->dim[a] / block;
    y->x_off += from / block * y->x_stride[a];
    y->y_off += to / block * y->y_stride[a];
    y->x_stride[a] *= step;
    y->y_stride[a] *= skip;
  }
  if (cut) y->dim[x->rank] = LAYOUT_CUT;
  return true;
}

static void emit_boxes(const struct opcall *c, const struct label *l, struct builder *b) {
  struct box x, y;
  for (int i = 0; next_box(c, i, &x); i++) {
    CHECK(box_in(c, &x, (enum layout)l->in[0], &y));
    if (c->out[x.y_buf - c->nin].dtype != FVM_NONE) box_emit(b, &y, l->threads);
  }
}

/* Many boxes may need more registers than a program has. */
static bool builds(const struct opcall *c, struct label *l) {
  struct arena a = {0};
  struct program p;
  enum fvm_status st = opcall_emit(c, l, &a, &p, NULL);
  arena_free(&a);
  return st == FVM_OK || st == FVM_ENOMEM;
}

/* Set a layout for all inputs that are moved, and all outputs. Channels lie last in images only. */
static bool moves_in(const struct opcall *c, enum layout l, struct label *label) {
  struct box x, y;
  if (l == LAYOUT_ROW) return true;
  if (c->in[0].dtype != FVM_F32 || c->in[0].rank != 4 || c->nout > LABEL_MAXIO ||
      !mover_of(c)->keeps_axes)
    return false;
  for (int i = 0; next_box(c, i, &x); i++) {
    if (x.x_buf >= LABEL_MAXIO || c->out[x.y_buf - c->nin].dtype == FVM_NONE ||
        !box_in(c, &x, l, &y))
      return false;
    label->in[x.x_buf] = (uint8_t)l;
  }
  for (int i = 0; i < c->nout; i++) label->out[i] = (uint8_t)l;
  return true;
}

static bool label_boxes(const struct opcall *c, const struct target *t, int i, struct label *l) {
  static const enum layout layouts[] = {LAYOUT_ROW, LAYOUT_NHWC, LAYOUT_C16};
  const struct label none = *l;
  struct box x;
  if (!box_fits(fvm_dtype_bytes(c->in[0].dtype))) return false;
  for (size_t k = 0; k < COUNT(layouts); k++) {
    *l = none;
    if (!moves_in(c, layouts[k], l)) continue;
    for (int n = 0; label_threads(c, t, n, l); n++)
      if (i-- == 0) return !next_box(c, 6, &x) || builds(c, l);
  }
  return false;
}

/* ---- Concat as a view: its inputs lie one after the other in the output ---- */

/* Whether input k of a joined axis takes one piece of the output. */
static bool is_piece(const struct opcall *c, int k, int axis, enum layout l) {
  const struct tensor *in = &c->in[k], *out = &c->out[0];
  int64_t from[FVM_MAXRANK], to[FVM_MAXRANK], dim[FVM_MAXRANK];
  bool cut = layout_is_cut(l);
  if (tensor_count(in) == 0 || !layout_fits(in, l)) return false;
  if (k + 1 < c->nin && tensor_bytes(in) % FVM_ALIGN) return false;
  layout_box(out, l, cut, dim, to);
  int n = layout_box(in, l, cut, dim, from);
  for (int a = 0; a < n; a++)
    if (dim[a] != 1 && from[a] != to[a]) return false;
  return dim[axis] * to[axis] == tensor_count(in);
}

static bool joins(const struct opcall *c, enum layout l) {
  int axis = 0;
  op_axis_attr(c, 1, &axis, NULL);
  if (!layout_fits(&c->out[0], l) || c->nin > CODE_MAXBUF) return false;
  for (int k = 0; k < c->nin; k++)
    if (!is_piece(c, k, axis, l)) return false;
  return true;
}

static bool label_join(const struct opcall *c, const struct target *t, int i, struct label *l) {
  static const enum layout layouts[] = {LAYOUT_ROW, LAYOUT_COL, LAYOUT_NHWC, LAYOUT_C16};
  (void)t;
  for (size_t k = 0; k < COUNT(layouts); k++)
    if (joins(c, layouts[k]) && i-- == 0) {
      l->view = true;
      memset(l->in, (int)layouts[k], sizeof l->in);
      l->out[0] = (uint8_t)layouts[k];
      return true;
    }
  return false;
}

const struct cand concat_cands[] = {
    {"join", {0}, label_join, NULL, NULL}, {"boxes", {0}, label_boxes, emit_boxes, NULL}, {0}};

const struct cand move_cands[] = {
    {"view", {0}, label_view, NULL, NULL}, {"boxes", {0}, label_boxes, emit_boxes, NULL}, {0}};

const struct cand transpose_cands[] = {
    {"rename", {0}, label_rename, NULL, NULL}, {"boxes", {0}, label_boxes, emit_boxes, NULL}, {0}};
