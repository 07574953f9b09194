/* What the bodies of resample_f32 share. */
#ifndef FVM_UKR_RESAMPLE_H
#define FVM_UKR_RESAMPLE_H

#include "ukr_impl.h"

/* Whether y, where there is any, lies over a byte of the indices. Both are within their buffers, so
 * nothing overflows. */
static inline bool resample_meets(const int64_t *index, const float *y, const int64_t *v) {
  int64_t m = v[0], n = v[1], k = v[2], st = v[3], sy = v[7], cy = v[8];
  if (m == 0 || n == 0 || k == 0) return false;
  const char *i = (const char *)index, *i_end = (const char *)(index + (k - 1) * st + m);
  const char *o = (const char *)y, *o_end = (const char *)(y + (m - 1) * sy + (n - 1) * cy + 1);
  return i < o_end && o < i_end;
}

/* Whether all indices are rows, and stay so: a hostile plan can let y lie over them, and what was
 * looked at here would be something else when it is used. */
static inline bool resample_fits(void *const *p, const int64_t *v) {
  const int64_t *index = p[1], m = v[0], k = v[2], st = v[3], rows = v[4];
  for (int64_t t = 0; t < k; t++)
    for (int64_t j = 0; j < m; j++)
      if (index[t * st + j] < 0 || index[t * st + j] >= rows) return false;
  return !resample_meets(index, p[4], v);
}

#endif
