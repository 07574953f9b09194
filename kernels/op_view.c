/* Views: operators whose output has the bytes of input 0. */
#include "op_impl.h"

#include <string.h>

/* ---- shapes ---- */

enum fvm_status identity_shape(struct opcall *c, struct fvm_error *err) {
  return tensor_init(&c->out[0], c->in[0].dtype, c->in[0].rank, c->in[0].dim, err);
}

static enum fvm_status set_dims(struct opcall *c, int rank, const int64_t *dim,
                                struct fvm_error *err) {
  enum fvm_status st = tensor_init(&c->out[0], c->in[0].dtype, rank, dim, err);
  if (!st && tensor_count(&c->out[0]) != tensor_count(&c->in[0]))
    st = fvm_fail(err, FVM_EFORMAT, "%lld elements do not become %lld",
                  (long long)tensor_count(&c->in[0]), (long long)tensor_count(&c->out[0]));
  return st;
}

enum fvm_status reshape_shape(struct opcall *c, struct fvm_error *err) {
  int64_t want[FVM_MAXRANK], known = 1;
  int n, open = -1;
  const struct tensor *in = &c->in[0];
  bool allow_zero = opcall_int(c, "allowzero", 0) != 0;
  enum fvm_status st = op_ints(c, 1, "shape", want, FVM_MAXRANK, &n, err);
  if (st) return st;
  for (int i = 0; i < n; i++) {
    if (want[i] == 0 && !allow_zero) {
      if (i >= in->rank)
        return fvm_fail(err, FVM_EFORMAT, "shape copies axis %d, but the input has %d", i,
                        in->rank);
      want[i] = in->dim[i];
    }
    if (want[i] == -1 && open >= 0) return fvm_fail(err, FVM_EFORMAT, "shape leaves two axes open");
    if (want[i] == -1)
      open = i;
    else if (want[i] < 0 || !fvm_mul(known, want[i], &known))
      return fvm_fail(err, FVM_EFORMAT, "shape has size %lld", (long long)want[i]);
  }
  if (open >= 0) want[open] = known ? tensor_count(in) / known : 0;
  return set_dims(c, n, want, err);
}

enum fvm_status flatten_shape(struct opcall *c, struct fvm_error *err) {
  const struct tensor *in = &c->in[0];
  int64_t axis = opcall_int(c, "axis", 1);
  if (axis < -in->rank || axis > in->rank)
    return fvm_fail(err, FVM_EFORMAT, "axis %lld of a tensor with %d axes", (long long)axis,
                    in->rank);
  if (axis < 0) axis += in->rank;
  int64_t dim[2] = {dims_product(in->dim, 0, (int)axis),
                    dims_product(in->dim, (int)axis, in->rank)};
  return set_dims(c, 2, dim, err);
}

enum fvm_status squeeze_shape(struct opcall *c, struct fvm_error *err) {
  const struct tensor *in = &c->in[0];
  int64_t axes[FVM_MAXRANK], dim[FVM_MAXRANK];
  int n, rank = 0;
  unsigned mask = 0;
  enum fvm_status st = op_ints_or_attr(c, 1, "axes", axes, FVM_MAXRANK, &n, err);
  if (!st && n >= 0) st = op_axes(axes, n, in->rank, &mask, err);
  if (st) return st;
  for (int i = 0; i < in->rank; i++) {
    bool drop = n < 0 ? in->dim[i] == 1 : mask >> i & 1;
    if (drop && in->dim[i] != 1)
      return fvm_fail(err, FVM_EFORMAT, "axis %d has size %lld, not 1", i, (long long)in->dim[i]);
    if (!drop) dim[rank++] = in->dim[i];
  }
  return set_dims(c, rank, dim, err);
}

enum fvm_status unsqueeze_shape(struct opcall *c, struct fvm_error *err) {
  const struct tensor *in = &c->in[0];
  int64_t axes[FVM_MAXRANK], dim[FVM_MAXRANK];
  int n;
  unsigned mask;
  enum fvm_status st = op_ints_or_attr(c, 1, "axes", axes, FVM_MAXRANK, &n, err);
  if (st) return st;
  if (n < 0) return fvm_fail(err, FVM_EFORMAT, "lacks 'axes'");
  if (in->rank + n > FVM_MAXRANK)
    return fvm_fail(err, FVM_EUNSUPPORTED, "the result has more than %d axes", FVM_MAXRANK);
  st = op_axes(axes, n, in->rank + n, &mask, err);
  if (st) return st;
  for (int i = 0, k = 0; i < in->rank + n; i++) dim[i] = mask >> i & 1 ? 1 : in->dim[k++];
  return set_dims(c, in->rank + n, dim, err);
}

/* Inference only: output 0 is the input, output 1 (before opset 10 of the input's type) a mask of
 * ones. */
enum fvm_status dropout_shape(struct opcall *c, struct fvm_error *err) {
  const struct tensor *training = opcall_in(c, 2);
  if (training && (!training->data || elem_i64(training->data, training->dtype, 0)))
    return fvm_fail(err, FVM_EUNSUPPORTED, "training mode is not supported");
  enum fvm_status st = identity_shape(c, err);
  if (!st && c->nout > 1)
    st = tensor_init(&c->out[1], c->opset < 10 ? c->in[0].dtype : FVM_BOOL, c->in[0].rank,
                     c->in[0].dim, err);
  return st;
}

/* ---- reference ---- */

enum fvm_status view_ref(const struct opcall *c, const void *const *in, void *const *out,
                         struct fvm_error *err) {
  (void)err;
  if (tensor_bytes(&c->in[0])) memcpy(out[0], in[0], (size_t)tensor_bytes(&c->in[0]));
  if (c->nout > 1 && out[1])
    for (int64_t i = 0; i < tensor_count(&c->out[1]); i++)
      elem_set_i64(out[1], c->out[1].dtype, i, 1);
  return FVM_OK;
}

/* ---- candidates ---- */

/* Nothing to run. Where the shape stays, any layout goes through. */
static bool label_view(const struct opcall *c, const struct target *t, int i, struct label *l) {
  (void)t;
  static const enum layout layouts[] = {LAYOUT_ROW, LAYOUT_COL, LAYOUT_NHWC, LAYOUT_C16};
  bool same = c->in[0].rank == c->out[0].rank &&
              !memcmp(c->in[0].dim, c->out[0].dim, sizeof(int64_t) * (size_t)c->in[0].rank);
  if (c->nout > 1 || i >= (same ? (int)COUNT(layouts) : 1) || !layout_fits(&c->in[0], layouts[i]))
    return false;
  l->view = true;
  l->in[0] = l->out[0] = (uint8_t)layouts[i];
  return true;
}

/* For graph inputs that become outputs, which cannot share memory. */
static bool label_copy(const struct opcall *c, const struct target *t, int i, struct label *l) {
  return c->nout == 1 && box_fits(fvm_dtype_bytes(c->in[0].dtype)) && label_threads(c, t, i, l);
}

static void emit_copy(const struct opcall *c, const struct label *l, struct builder *b) {
  struct box x = {.rank = 1, .y_buf = c->nin, .elem_bytes = fvm_dtype_bytes(c->in[0].dtype)};
  x.dim[0] = tensor_count(&c->in[0]);
  x.x_stride[0] = x.y_stride[0] = 1;
  box_emit(b, &x, l->threads);
}

const struct cand view_cands[] = {
    {"view", {0}, label_view, NULL, NULL}, {"copy", {0}, label_copy, emit_copy, NULL}, {0}};
