/* Data movement: every operator here is a list of boxes (strided copies and fills, op_impl.h).
 * Reference and programs run the same list, and hand-made values hold the list itself. */
#include <string.h>

#include "move.h"

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

enum fvm_status move_perm(const struct opcall *c, int perm[FVM_MAXRANK], struct fvm_error *err) {
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
  enum fvm_status st = move_perm(c, perm, err);
  if (st) return st;
  for (int i = 0; i < c->in[0].rank; i++) dim[i] = c->in[0].dim[perm[i]];
  return tensor_init(&c->out[0], c->in[0].dtype, c->in[0].rank, dim, err);
}

static bool transpose_box(const struct opcall *c, int i, struct box *x) {
  int perm[FVM_MAXRANK] = {0};
  int64_t stride[FVM_MAXRANK];
  if (i > 0) return false;
  move_perm(c, perm, NULL);
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

bool move_next_box(const struct opcall *c, int i, struct box *x) {
  const struct mover *m = mover_of(c);
  return m && m->box(c, i, x);
}

bool move_keeps_axes(const struct opcall *c) { return mover_of(c)->keeps_axes; }

/* ---- reference ---- */

/* Elements that lie side by side in both move at once. */
static void run_box(const struct box *x, const void *from, void *to) {
  struct walk w = {.rank = x->rank};
  size_t size = x->elem_bytes;
  int64_t run = 1;
  while (!x->fill && w.rank && x->x_stride[w.rank - 1] == run && x->y_stride[w.rank - 1] == run)
    run *= x->dim[--w.rank];
  memcpy(w.dim, x->dim, sizeof w.dim);
  memcpy(w.stride[0], x->y_stride, sizeof w.stride[0]);
  memcpy(w.stride[1], x->x_stride, sizeof w.stride[1]);
  for (walk_start(&w); walk_more(&w); walk_next(&w)) {
    const char *p = (const char *)from + (x->x_off + w.off[1]) * (int64_t)size;
    memcpy((char *)to + (x->y_off + w.off[0]) * (int64_t)size,
           x->fill ? (const char *)&x->value : p, (size_t)run * size);
  }
}

enum fvm_status move_ref(const struct opcall *c, const void *const *in, void *const *out,
                         struct fvm_error *err) {
  struct box x;
  (void)err;
  for (int i = 0; move_next_box(c, i, &x); i++)
    if (out[x.y_buf - c->nin]) run_box(&x, in[x.x_buf], out[x.y_buf - c->nin]);
  return FVM_OK;
}
