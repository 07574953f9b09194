/* Windows that slide over the spatial axes of a tensor: what convolutions and pools share. */
#ifndef FVM_WINDOW_H
#define FVM_WINDOW_H

#include "emit.h"

/* Always 3 spatial axes: those that a tensor lacks are leading ones of extent 1. */
enum { WINDOW_AXES = 3 };
struct window {
  int nd; /* axes that the tensor has */
  int64_t in[WINDOW_AXES], out[WINDOW_AXES], kernel[WINDOW_AXES], stride[WINDOW_AXES];
  int64_t dilation[WINDOW_AXES], lo[WINDOW_AXES], hi[WINDOW_AXES]; /* padding before, after */
};
/* Read the attributes of an opcall whose input 0 is [N, C, spatial ...]. kernel: extents of the
 * weights, or NULL for the attribute kernel_shape. */
enum fvm_status window_init(struct window *w, const struct opcall *c, const int64_t *kernel,
                            struct fvm_error *err);
/* Only the attributes: extents of the input, taps, strides, dilations and the padding that is
 * given, not where the window ends up. */
enum fvm_status window_read(struct window *w, const struct opcall *c, const int64_t *kernel,
                            struct fvm_error *err);
/* Attribute auto_pad, NOTSET when absent. */
const char *window_auto_pad(const struct opcall *c);
/* An attribute of n integers of at least `least`; v stays when it is absent. */
enum fvm_status window_ints(const struct opcall *c, const char *name, int n, int64_t least,
                            int64_t *v, struct fvm_error *err);
/* [N, channels, out ...] */
enum fvm_status window_shape(const struct window *w, struct opcall *c, int64_t channels,
                             struct fvm_error *err);
/* Extent of the input under n outputs along an axis. */
int64_t window_under(const struct window *w, int axis, int64_t n);
int64_t window_inputs(const struct window *w); /* spatial elements */
int64_t window_outputs(const struct window *w);
/* Visit the taps of an output: false for one outside the input, else its place in a plane. */
static inline bool window_tap(const struct window *w, const int64_t *out, const int64_t *tap,
                              int64_t *place) {
  *place = 0;
  for (int i = 0; i < WINDOW_AXES; i++) {
    int64_t x = out[i] * w->stride[i] - w->lo[i] + tap[i] * w->dilation[i];
    if (x < 0 || x >= w->in[i]) return false;
    *place = *place * w->in[i] + x;
  }
  return true;
}
/* The next index vector of a box of WINDOW_AXES axes; false after the last, which starts anew. */
bool window_next(const int64_t *extent, int64_t *idx);
/* Whether the window moves over a plane: then the micro-kernels can do it. */
bool window_is_plane(const struct window *w);
/* Whether it sees each element by itself: extents and strides of 1, no padding. */
bool window_is_point(const struct window *w);
/* The integers kh kw sh sw ph pw dh dw of the micro-kernels. */
void window_vals(const struct window *w, struct val v[8]);
/* The same of all three axes: kd kh kw sd sh sw pd ph pw dd dh dw. */
void window_vals3(const struct window *w, struct val v[12]);

#endif
