/* The window arguments that convolutions and pooling share, as the WINDOW of ukr.def lists them. */
#ifndef FVM_UKR_WINDOW_H
#define FVM_UKR_WINDOW_H

#include "ukr_impl.h"

/* A plane and the windows that slide over it: size, strides, padding before, dilation. */
struct plane {
  const float *x;
  int64_t h, w, kh, kw, sh, sw, ph, pw, dh, dw;
};

static inline struct plane plane(const float *x, int64_t h, int64_t w, const int64_t *v) {
  return (struct plane){x, h, w, v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7]};
}

/* An image whose channels lie last, and the windows that slide over it: h rows, hx elements apart,
 * of w pixels, sx apart, of c channels. Output rows oy .. oy + oh - 1, hy apart, of ow pixels, sy
 * apart, go to y. The arguments: h w c hx sx oy oh ow hy sy, then the window. */
struct image {
  const float *x;
  float *y;
  int64_t h, w, c, hx, sx, oy, oh, ow, hy, sy, kh, kw, sh, sw, ph, pw, dh, dw;
};

static inline struct image image(const float *x, float *y, const int64_t *v) {
  return (struct image){x,    y,    v[0],  v[1],  v[2],  v[3],  v[4],  v[5],  v[6],  v[7],
                        v[8], v[9], v[10], v[11], v[12], v[13], v[14], v[15], v[16], v[17]};
}

/* Channels for which nw weights are enough: they lie in panels of 16 channels for each tap. */
enum { WINDOW_PANEL = 16 };
static inline int64_t image_channels(const struct image *a, int64_t nw) {
  int64_t panel = a->kh * a->kw * WINDOW_PANEL;
  return panel > 0 ? MIN(a->c, nw / panel * WINDOW_PANEL) : 0;
}

/* Those of n taps, `step` apart, that meet 0 .. size - 1 when the first one is at `at`. */
struct span {
  int64_t lo, hi;
};
static inline struct span span_inside(int64_t at, int64_t step, int64_t n, int64_t size) {
  if (step == 0) return (struct span){0, at >= 0 && at < size ? n : 0};
  if (step == 1) { /* the usual case, without divisions */
    int64_t first = MIN(MAX(-at, 0), n);
    return (struct span){first, MAX(first, MIN(size - at, n))};
  }
  int64_t lo = at < 0 ? MIN(CEIL_DIV(-at, step), n) : 0;
  int64_t hi = at < size ? MIN((size - 1 - at) / step + 1, n) : 0;
  return (struct span){lo, MAX(lo, hi)};
}

/* Taps of output (oy, ox) in the image or in its padding, qh and qw after it. */
static inline int64_t image_taps(const struct image *a, int64_t oy, int64_t ox, int64_t qh,
                                 int64_t qw) {
  struct span r = span_inside(oy * a->sh, a->dh, a->kh, a->ph + a->h + qh);
  struct span c = span_inside(ox * a->sw, a->dw, a->kw, a->pw + a->w + qw);
  return (r.hi - r.lo) * (c.hi - c.lo);
}

/* Local response normalisation: y = x / (bias + scale * sum of squares of `size` channels)^beta. */
struct lrn {
  int64_t m, n, channels, sx, bx, sy, by, size;
  float scale, beta, bias;
};
static inline struct lrn lrn(const int64_t *v) {
  return (struct lrn){v[0],
                      v[2],
                      v[1] * v[2],
                      v[3],
                      v[4],
                      v[5],
                      v[6],
                      v[7],
                      ukr_float(v[8]),
                      ukr_float(v[9]),
                      ukr_float(v[10])};
}
/* Channels of a window before its own. */
static inline int64_t lrn_before(const struct lrn *a) { return (a->size - 1) / 2; }

#endif
