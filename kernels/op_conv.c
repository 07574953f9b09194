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

struct ref_conv {
  const struct conv *v;
  enum fvm_dtype t;
  const void *x, *k;
  int64_t x0, k0; /* first channel of the group, weights of the output channel */
};

static double ref_pixel(const struct ref_conv *r, const int64_t *out) {
  const struct window *w = &r->v->w;
  int64_t tap[WINDOW_AXES] = {0}, i = 0, taps = w->kernel[0] * w->kernel[1] * w->kernel[2];
  double sum = 0;
  do {
    int64_t place;
    if (window_tap(w, out, tap, &place))
      for (int64_t ch = 0; ch < r->v->in_channels; ch++)
        sum += elem_f64(r->x, r->t, r->x0 + ch * window_inputs(w) + place) *
               elem_f64(r->k, r->t, r->k0 + ch * taps + i);
    i++;
  } while (window_next(w->kernel, tap));
  return sum;
}

enum fvm_status conv_ref(const struct opcall *c, const void *const *in, void *const *out,
                         struct fvm_error *err) {
  struct conv v;
  enum fvm_status st = conv_init(&v, c, err);
  if (st != FVM_OK || tensor_count(&c->out[0]) == 0) return st;
  struct ref_conv r = {&v, c->in[0].dtype, in[0], in[1], 0, 0};
  int64_t channels = v.groups * v.out_channels, at = 0;
  int64_t per = v.in_channels * v.w.kernel[0] * v.w.kernel[1] * v.w.kernel[2];
  for (int64_t i = 0; i < v.n * channels; i++) {
    int64_t oc = i % channels, idx[WINDOW_AXES] = {0};
    int64_t group = i / channels * v.groups + oc / v.out_channels;
    r.x0 = group * v.in_channels * window_inputs(&v.w);
    r.k0 = oc * per;
    double bias = v.bias ? elem_f64(in[2], r.t, oc) : 0;
    do {
      elem_set_f64(out[0], r.t, at++, bias + ref_pixel(&r, idx));
    } while (window_next(v.w.out, idx));
  }
  return FVM_OK;
}
