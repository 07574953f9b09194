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

#endif
