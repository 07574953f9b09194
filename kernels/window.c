/* Contract: window.h. */
#include "window.h"
#include "op_impl.h"

#include <string.h>

/* Greatest window parameter of the micro-kernels (ukr.def). */
enum { WINDOW_MAX = 65535 };

enum fvm_status window_ints(const struct opcall *c, const char *name, int n, int64_t least,
                            int64_t *v, struct fvm_error *err) {
  const struct attr *a = opcall_attr(c, name);
  if (!a) return FVM_OK;
  if (a->kind != ATTR_INTS || a->n != n)
    return fvm_fail(err, FVM_EFORMAT, "attribute '%s' needs %d integers", name, n);
  for (int i = 0; i < n; i++) {
    if (a->ints[i] < least || a->ints[i] > WINDOW_MAX)
      return fvm_fail(err, FVM_EUNSUPPORTED, "attribute '%s' has a value of %lld", name,
                      (long long)a->ints[i]);
    v[i] = a->ints[i];
  }
  return FVM_OK;
}

static enum fvm_status read_window(struct window *w, const struct opcall *c, const int64_t *kernel,
                                   struct fvm_error *err) {
  int64_t pad[2 * WINDOW_AXES] = {0};
  int at = WINDOW_AXES - w->nd;
  enum fvm_status st = FVM_OK;
  for (int i = 0; i < w->nd && kernel; i++) w->kernel[at + i] = kernel[i];
  if (!kernel) st = window_ints(c, "kernel_shape", w->nd, 1, w->kernel + at, err);
  if (st == FVM_OK) st = window_ints(c, "strides", w->nd, 1, w->stride + at, err);
  if (st == FVM_OK) st = window_ints(c, "dilations", w->nd, 1, w->dilation + at, err);
  if (st == FVM_OK) st = window_ints(c, "pads", 2 * w->nd, 0, pad, err);
  for (int i = 0; i < w->nd; i++) {
    w->lo[at + i] = pad[i];
    w->hi[at + i] = pad[w->nd + i];
  }
  return st;
}

static void same_padding(struct window *w, int i, bool upper) {
  w->out[i] = CEIL_DIV(w->in[i], w->stride[i]);
  int64_t total = MAX((w->out[i] - 1) * w->stride[i] + window_under(w, i, 1) - w->in[i], 0);
  w->lo[i] = upper ? total / 2 : total - total / 2;
  w->hi[i] = total - w->lo[i];
}

static enum fvm_status place_window(struct window *w, int i, bool up, struct fvm_error *err) {
  int64_t room = w->in[i] + w->lo[i] + w->hi[i] - window_under(w, i, 1);
  if (room < 0)
    return fvm_fail(err, FVM_EFORMAT, "a window of %lld is larger than its axis of %lld",
                    (long long)window_under(w, i, 1), (long long)w->in[i]);
  w->out[i] = room / w->stride[i] + 1;
  /* Rounding up adds a window only when it starts inside the input or the padding before. */
  if (up && room % w->stride[i] && w->out[i] * w->stride[i] < w->in[i] + w->lo[i]) w->out[i]++;
  return FVM_OK;
}

enum fvm_status window_read(struct window *w, const struct opcall *c, const int64_t *kernel,
                            struct fvm_error *err) {
  const struct tensor *x = &c->in[0];
  *w = (struct window){.nd = x->rank - 2};
  if (w->nd < 1 || w->nd > WINDOW_AXES)
    return fvm_fail(err, FVM_EUNSUPPORTED, "%s of a tensor with %d axes", c->op->name, x->rank);
  for (int i = 0; i < WINDOW_AXES; i++)
    w->in[i] = w->out[i] = w->kernel[i] = w->stride[i] = w->dilation[i] = 1;
  for (int i = 0; i < w->nd; i++) w->in[WINDOW_AXES - w->nd + i] = x->dim[2 + i];
  return read_window(w, c, kernel, err);
}

const char *window_auto_pad(const struct opcall *c) {
  const struct attr *a = opcall_attr(c, "auto_pad");
  return a && a->kind == ATTR_STRING ? a->s : "NOTSET";
}

enum fvm_status window_init(struct window *w, const struct opcall *c, const int64_t *kernel,
                            struct fvm_error *err) {
  const char *pad = window_auto_pad(c);
  enum fvm_status st = window_read(w, c, kernel, err);
  bool same = !strncmp(pad, "SAME_", 5), up = opcall_int(c, "ceil_mode", 0) != 0;
  for (int i = WINDOW_AXES - w->nd; i < WINDOW_AXES && st == FVM_OK; i++) {
    if (!strcmp(pad, "VALID")) w->lo[i] = w->hi[i] = 0;
    if (same)
      same_padding(w, i, !strcmp(pad, "SAME_UPPER"));
    else
      st = place_window(w, i, up, err);
  }
  return st;
}

enum fvm_status window_shape(const struct window *w, struct opcall *c, int64_t channels,
                             struct fvm_error *err) {
  int64_t dim[FVM_MAXRANK] = {c->in[0].dim[0], channels};
  for (int i = 0; i < w->nd; i++) dim[2 + i] = w->out[WINDOW_AXES - w->nd + i];
  return tensor_init(&c->out[0], c->in[0].dtype, 2 + w->nd, dim, err);
}

int64_t window_under(const struct window *w, int axis, int64_t n) {
  return (n - 1) * w->stride[axis] + (w->kernel[axis] - 1) * w->dilation[axis] + 1;
}

int64_t window_inputs(const struct window *w) { return dims_product(w->in, 0, WINDOW_AXES); }
int64_t window_outputs(const struct window *w) { return dims_product(w->out, 0, WINDOW_AXES); }

bool window_next(const int64_t *extent, int64_t *idx) {
  for (int i = WINDOW_AXES - 1; i >= 0; i--) {
    if (++idx[i] < extent[i]) return true;
    idx[i] = 0;
  }
  return false;
}

bool window_is_plane(const struct window *w) {
  return w->in[0] == 1 && w->out[0] == 1 && w->kernel[0] == 1 && w->lo[0] == 0;
}

bool window_is_point(const struct window *w) {
  for (int i = 0; i < WINDOW_AXES; i++)
    if (w->kernel[i] != 1 || w->stride[i] != 1 || w->lo[i] || w->hi[i]) return false;
  return true;
}

void window_vals(const struct window *w, struct val v[8]) {
  const int64_t *of[] = {w->kernel, w->stride, w->lo, w->dilation};
  for (int i = 0; i < 8; i++) v[i] = val(of[i / 2][1 + i % 2]);
}

void window_vals3(const struct window *w, struct val v[12]) {
  const int64_t *of[] = {w->kernel, w->stride, w->lo, w->dilation};
  for (int i = 0; i < 12; i++) v[i] = val(of[i / 3][i % 3]);
}
