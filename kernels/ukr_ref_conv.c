/* Reference of the convolution and pooling kernels. The limits in their rows keep all coordinates
 * far from overflow; a window may lie outside the plane, wholly or in part. */
#include "ukr_window.h"

#include <math.h>

/* The element under tap (i, j) of the window of output (oy, ox); NULL outside the plane. */
static const float *tap(const struct plane *a, int64_t oy, int64_t ox, int64_t i, int64_t j) {
  int64_t y = oy * a->sh - a->ph + i * a->dh, x = ox * a->sw - a->pw + j * a->dw;
  return y >= 0 && y < a->h && x >= 0 && x < a->w ? a->x + y * a->w + x : NULL;
}

FN(im2col_4) {
  int64_t c = v[0], sc = v[1], k = v[4], nr = v[5], first = v[6], n = MIN(v[7], nr), ow = v[8];
  struct plane a = plane(p[0], v[2], v[3], v + 9);
  float *y = p[1];
  int64_t window = a.kh * a.kw;
  if (ow == 0 || window == 0) return 0;
  for (int64_t r = 0; r < k; r++) {
    int64_t ch = r / window, i = r % window / a.kw, j = r % a.kw;
    bool inside = ch < c && a.h > 0 && a.w > 0;
    if (inside) a.x = (const float *)p[0] + ch * sc;
    for (int64_t q = 0; q < nr; q++) {
      int64_t o = first + q;
      const float *t = inside && q < n ? tap(&a, o / ow, o % ow, i, j) : NULL;
      y[r * nr + q] = t ? *t : 0;
    }
  }
  return 0;
}

static float dw_pixel(const struct plane *a, const float *w, int64_t kk, float sum, int64_t oy,
                      int64_t ox) {
  for (int64_t q = 0; q < MIN(kk, a->kh * a->kw); q++) {
    const float *t = tap(a, oy, ox, q / a->kw, q % a->kw);
    if (t) sum += w[q] * *t;
  }
  return sum;
}

FN(dwconv_f32) {
  const float *w = p[1], *b = p[2];
  float *y = p[3];
  struct plane a = plane(p[0], v[0], v[1], v + 5);
  int64_t kk = v[2], oh = v[3], ow = v[4], bias = v[13];
  for (int64_t i = 0; i < oh; i++)
    for (int64_t j = 0; j < ow; j++) y[i * ow + j] = dw_pixel(&a, w, kk, bias ? *b : 0, i, j);
  return 0;
}

/* Maximum, sum and number of the elements of a window. */
struct pool {
  float max, sum;
  int64_t n;
};

static struct pool pool(const struct plane *a, int64_t oy, int64_t ox) {
  struct pool r = {-INFINITY, 0, 0};
  for (int64_t i = 0; i < a->kh; i++)
    for (int64_t j = 0; j < a->kw; j++) {
      const float *t = tap(a, oy, ox, i, j);
      if (!t) continue;
      r.max = *t > r.max ? *t : r.max;
      r.sum += *t;
      r.n++;
    }
  return r;
}

/* -inf where the whole window lies outside. */
FN(maxpool_f32) {
  struct plane a = plane(p[0], v[0], v[1], v + 4);
  float *y = p[1];
  int64_t oh = v[2], ow = v[3];
  for (int64_t i = 0; i < oh; i++)
    for (int64_t j = 0; j < ow; j++) y[i * ow + j] = pool(&a, i, j).max;
  return 0;
}

/* 0 where nothing counts. */
FN(avgpool_f32) {
  struct plane a = plane(p[0], v[0], v[1], v + 4);
  float *y = p[1];
  int64_t oh = v[2], ow = v[3], count_pad = v[12];
  for (int64_t i = 0; i < oh; i++)
    for (int64_t j = 0; j < ow; j++) {
      struct pool r = pool(&a, i, j);
      int64_t n = count_pad ? a.kh * a.kw : r.n;
      y[i * ow + j] = n ? r.sum / (float)n : 0;
    }
  return 0;
}
