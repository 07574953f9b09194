/* Conv: shape and reference. Candidates: cand_conv.c. */
#include "conv.h"
#include "op_impl.h"

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
  const void *x, *weights, *bias; /* bias may be NULL */
  void *y;
  int64_t rows; /* channels of a group times taps */
  double *patch;
};

/* Column j of the patches: output pixel out, of the group whose first input element is x0. */
static void gather_patch(const struct ref_conv *r, const int64_t *out, int64_t x0, int j) {
  const struct window *w = &r->v->w;
  int64_t tap[WINDOW_AXES] = {0}, i = 0, place;
  int64_t taps = w->kernel[0] * w->kernel[1] * w->kernel[2];
  do {
    bool inside = window_tap(w, out, tap, &place);
    for (int64_t ch = 0; ch < r->v->in_channels; ch++)
      r->patch[(ch * taps + i) * REF_COLUMNS + j] =
          inside ? elem_f64(r->x, r->t, x0 + ch * window_inputs(w) + place) : 0;
    i++;
  } while (window_next(w->kernel, tap));
}

/* All output channels of a group at n pixels from p on. Channels are counted over the batch. */
static void ref_pixels(const struct ref_conv *r, int64_t group, int64_t p, int n) {
  double sum[REF_COLUMNS];
  int64_t outs = window_outputs(&r->v->w), oc = r->v->out_channels;
  for (int64_t i = 0; i < oc; i++) {
    int64_t ch = group % r->v->groups * oc + i;
    double bias = r->bias ? elem_f64(r->bias, r->t, ch) : 0;
    ref_dots(r->weights, r->t, ch * r->rows, 1, r->rows, r->patch, sum);
    for (int j = 0; j < n; j++)
      elem_set_f64(r->y, r->t, (group * oc + i) * outs + p + j, bias + sum[j]);
  }
}

static void ref_group(const struct ref_conv *r, int64_t group) {
  const struct window *w = &r->v->w;
  int64_t x0 = group * r->v->in_channels * window_inputs(w), idx[WINDOW_AXES] = {0}, p = 0;
  int n = 0;
  for (bool more = true; more;) {
    gather_patch(r, idx, x0, n++);
    more = window_next(w->out, idx);
    if (n < REF_COLUMNS && more) continue;
    ref_pixels(r, group, p, n);
    p += n;
    n = 0;
  }
}

enum fvm_status conv_ref(const struct opcall *c, const void *const *in, void *const *out,
                         struct fvm_error *err) {
  struct conv v;
  enum fvm_status st = conv_init(&v, c, err);
  if (st != FVM_OK || tensor_count(&c->out[0]) == 0) return st;
  int64_t rows = v.in_channels * v.w.kernel[0] * v.w.kernel[1] * v.w.kernel[2];
  size_t room = (size_t)MAX(rows, 1) * REF_COLUMNS;
  struct ref_conv r = {&v,
                       c->in[0].dtype,
                       in[0],
                       in[1],
                       v.bias ? in[2] : NULL,
                       out[0],
                       rows,
                       fvm_alloc(room, sizeof(double))};
  if (!r.patch) return fvm_nomem(err);
  for (int64_t g = 0; g < v.n * v.groups; g++) ref_group(&r, g);
  fvm_free(r.patch, room, sizeof(double));
  return FVM_OK;
}
