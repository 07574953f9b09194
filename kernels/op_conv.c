/* Conv: shape and reference. Candidates: cand_conv.c. */
#include "conv.h"
#include "op_impl.h"
#include "ref.h"

enum fvm_status conv_init(struct conv *v, const struct opcall *c, struct fvm_error *err) {
  const struct tensor *x = &c->in[0], *k = &c->in[1];
  int64_t groups = opcall_int(c, "group", 1);
  if (x->rank < 3 || k->rank != x->rank)
    return fvm_fail(err, FVM_EFORMAT, "the input has %d axes, the weights have %d", x->rank,
                    k->rank);
  if (groups < 1 || k->dim[0] % groups || x->dim[1] != k->dim[1] * groups)
    return fvm_fail(
        err, FVM_EFORMAT, "%lld input channels do not fit weights of %lld x %lld in %lld groups",
        (long long)x->dim[1], (long long)k->dim[0], (long long)k->dim[1], (long long)groups);
  *v = (struct conv){.n = x->dim[0],
                     .groups = groups,
                     .in_channels = k->dim[1],
                     .out_channels = k->dim[0] / groups,
                     .bias = c->nown > 2 && opcall_in(c, 2) != NULL};
  return window_init(&v->w, c, k->dim + 2, err);
}

enum fvm_status conv_shape(struct opcall *c, struct fvm_error *err) {
  struct conv v;
  enum fvm_dtype t = c->in[0].dtype;
  if ((t != FVM_F32 && t != FVM_F64) || c->in[1].dtype != t)
    return fvm_fail(err, FVM_EUNSUPPORTED, "Conv of %s and %s", fvm_dtype_name(t),
                    fvm_dtype_name(c->in[1].dtype));
  enum fvm_status st = conv_init(&v, c, err);
  if (st != FVM_OK) return st;
  const struct tensor *b = &c->in[2];
  if (v.bias && (b->dtype != t || b->rank != 1 || b->dim[0] != c->in[1].dim[0]))
    return fvm_fail(err, FVM_EFORMAT, "the bias must be a vector of %lld %s",
                    (long long)c->in[1].dim[0], fvm_dtype_name(t));
  return window_shape(&v.w, c, v.groups * v.out_channels, err);
}

/* The reference works on blocks of output pixels: it gathers their patches as doubles, a row for
 * each channel and tap in the order of the weights, and multiplies the weights of all output
 * channels of the group with them. */
struct ref_conv {
  const struct conv *v;
  enum fvm_dtype t;
  const void *x, *bias; /* bias may be NULL */
  struct ref_matrix weights;
  void *y;
  int64_t taps, blocks; /* of a window; of pixels, in a plane */
};

/* The patches of n pixels from p on, of the group whose first input element is x0. */
static void gather_patches(const struct ref_conv *r, int64_t x0, int64_t p, int n, double *patch) {
  const struct window *w = &r->v->w;
  int64_t at[REF_COLUMNS][WINDOW_AXES], place[REF_COLUMNS], tap[WINDOW_AXES] = {0}, i = 0;
  for (int j = 0; j < n; j++, p++) {
    at[j][0] = p / w->out[2] / w->out[1];
    at[j][1] = p / w->out[2] % w->out[1];
    at[j][2] = p % w->out[2];
  }
  do {
    for (int j = 0; j < n; j++)
      if (!window_tap(w, at[j], tap, &place[j])) place[j] = -1;
    for (int64_t ch = 0; ch < r->v->in_channels; ch++) {
      int64_t plane = x0 + ch * window_inputs(w);
      double *to = patch + (ch * r->taps + i) * REF_COLUMNS;
      for (int j = 0; j < n; j++) to[j] = place[j] < 0 ? 0 : elem_f64(r->x, r->t, plane + place[j]);
    }
    i++;
  } while (window_next(w->kernel, tap));
}

/* All output channels of a group at n pixels from p on. Groups and channels are counted over the
 * batch. */
static void ref_pixels(const struct ref_conv *r, int64_t group, int64_t p, int n,
                       const double *patch) {
  double sum[REF_ROWS][REF_COLUMNS];
  int64_t outs = window_outputs(&r->v->w), oc = r->v->out_channels;
  for (int64_t i0 = 0; i0 < oc; i0 += REF_ROWS) {
    int64_t ch = group % r->v->groups * oc + i0;
    int m = (int)MIN(oc - i0, REF_ROWS);
    ref_dots(&r->weights, ch, m, r->weights.row, patch, n, sum);
    for (int i = 0; i < m; i++) {
      double bias = r->bias ? elem_f64(r->bias, r->t, ch + i) : 0;
      for (int j = 0; j < n; j++) sum[i][j] = bias + sum[i][j];
      ref_put(r->y, r->t, (group * oc + i0 + i) * outs + p, n, sum[i]);
    }
  }
}

/* Blocks of pixels; scratch: their patches. */
static void ref_blocks(const void *arg, int64_t from, int64_t to, double *scratch) {
  const struct ref_conv *r = arg;
  for (int64_t x = from; x < to; x++) {
    int64_t group = x / r->blocks, p = x % r->blocks * REF_COLUMNS;
    int n = (int)MIN(window_outputs(&r->v->w) - p, REF_COLUMNS);
    gather_patches(r, group * r->v->in_channels * window_inputs(&r->v->w), p, n, scratch);
    ref_pixels(r, group, p, n, scratch);
  }
}

enum fvm_status conv_ref(const struct opcall *c, const void *const *in, void *const *out,
                         struct fvm_error *err) {
  struct conv v;
  enum fvm_status st = conv_init(&v, c, err);
  if (st != FVM_OK || tensor_count(&c->out[0]) == 0) return st;
  int64_t taps = dims_product(v.w.kernel, 0, WINDOW_AXES), rows = v.in_channels * taps;
  struct ref_conv r = {.v = &v,
                       .t = c->in[0].dtype,
                       .x = in[0],
                       .bias = v.bias ? in[2] : NULL,
                       .weights = {in[1], c->in[0].dtype, 0, rows, 1},
                       .y = out[0],
                       .taps = taps,
                       .blocks = CEIL_DIV(window_outputs(&v.w), REF_COLUMNS)};
  double ns = (double)rows * REF_COLUMNS * ((double)v.out_channels / 10 + 1);
  return ref_parallel(v.n * v.groups * r.blocks, ns, (size_t)MAX(rows, 1) * REF_COLUMNS, ref_blocks,
                      &r, err);
}
