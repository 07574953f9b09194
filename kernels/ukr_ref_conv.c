/* Reference of the convolution, pooling and resampling kernels. The limits in their rows keep all
 * coordinates far from overflow; a window may lie outside the plane, wholly or in part. */
#include "ukr_resample.h"
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

/* Nothing is written when an index lies outside, or under y. */
FN(resample_f32) {
  const int64_t *index = p[1];
  const float *x = p[0], *w = p[2], *c = p[3];
  float *y = p[4];
  int64_t m = v[0], n = v[1], k = v[2], st = v[3], sx = v[5], cx = v[6];
  if (!resample_fits(p, v)) return UKR_RANGE;
  for (int64_t j = 0; j < m; j++)
    for (int64_t l = 0; l < n; l++) {
      float sum = c[j];
      for (int64_t t = 0; t < k; t++) sum += w[t * st + j] * x[index[t * st + j] * sx + l * cx];
      y[j * v[7] + l * v[8]] = sum;
    }
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

/* ---- channels last ---- */

/* What the taps of a window inside the image make of one channel. */
static struct pool pool_last(const struct image *a, const float *w, float start, int64_t oy,
                             int64_t ox, int64_t ch) {
  struct pool r = {-INFINITY, start, 0};
  struct span rows = span_inside(oy * a->sh - a->ph, a->dh, a->kh, a->h);
  struct span cols = span_inside(ox * a->sw - a->pw, a->dw, a->kw, a->w);
  for (int64_t i = rows.lo; i < rows.hi; i++)
    for (int64_t j = cols.lo; j < cols.hi; j++) {
      int64_t y = oy * a->sh - a->ph + i * a->dh, x = ox * a->sw - a->pw + j * a->dw;
      float v = a->x[y * a->hx + x * a->sx + ch];
      r.max = v > r.max ? v : r.max;
      r.sum += w ? v * w[(i * a->kw + j) * WINDOW_PANEL] : v;
      r.n++;
    }
  return r;
}

FN(dwconv_last_f32) {
  struct image a = image(p[0], p[3], v);
  const float *w = p[1], *b = p[2];
  int64_t panel = a.kh * a.kw * WINDOW_PANEL, bias = v[19];
  float lo = ukr_float(v[20]), hi = ukr_float(v[21]);
  a.c = image_channels(&a, v[18]);
  for (int64_t i = 0; i < a.oh; i++)
    for (int64_t j = 0; j < a.ow; j++)
      for (int64_t ch = 0; ch < a.c; ch++) {
        const float *taps = w + ch / WINDOW_PANEL * panel + ch % WINDOW_PANEL;
        float sum = pool_last(&a, taps, bias ? b[ch] : 0, a.oy + i, j, ch).sum;
        sum = sum < lo ? lo : sum;
        a.y[i * a.hy + j * a.sy + ch] = sum > hi ? hi : sum;
      }
  return 0;
}

FN(maxpool_last_f32) {
  struct image a = image(p[0], p[1], v);
  for (int64_t i = 0; i < a.oh; i++)
    for (int64_t j = 0; j < a.ow; j++)
      for (int64_t ch = 0; ch < a.c; ch++)
        a.y[i * a.hy + j * a.sy + ch] = pool_last(&a, NULL, 0, a.oy + i, j, ch).max;
  return 0;
}

FN(avgpool_last_f32) {
  struct image a = image(p[0], p[1], v);
  int64_t how = v[20];
  for (int64_t i = 0; i < a.oh; i++)
    for (int64_t j = 0; j < a.ow; j++)
      for (int64_t ch = 0; ch < a.c; ch++) {
        struct pool r = pool_last(&a, NULL, 0, a.oy + i, j, ch);
        int64_t n = how == 1 ? image_taps(&a, a.oy + i, j, v[18], v[19]) : r.n;
        float mean = n ? r.sum / (float)n : 0;
        a.y[i * a.hy + j * a.sy + ch] = how == 2 ? r.sum : mean;
      }
  return 0;
}

FN(colsum_f32) {
  const float *x = p[0];
  float *y = p[1], scale = ukr_float(v[3]);
  int64_t m = v[0], n = v[1], sx = v[2];
  for (int64_t j = 0; j < n; j++) {
    double sum = 0;
    for (int64_t i = 0; i < m; i++) sum += (double)x[i * sx + j];
    y[j] = (float)(sum * (double)scale);
  }
  return 0;
}

/* As rowmax: NaN if any element is. */
FN(colmax_f32) {
  const float *x = p[0];
  float *y = p[1];
  int64_t m = v[0], n = v[1], sx = v[2];
  for (int64_t j = 0; j < n; j++) {
    float max = -INFINITY;
    for (int64_t i = 0; i < m; i++) {
      float a = x[i * sx + j];
      max = a > max || a != a ? a : max;
    }
    y[j] = max;
  }
  return 0;
}

FN(lrn_f32) {
  const struct lrn a = lrn(v);
  const float *x = p[0];
  float *y = p[1];
  for (int64_t i = 0; i < a.m; i++)
    for (int64_t c = 0; c < a.channels; c++) {
      double sum = 0;
      int64_t first = c - lrn_before(&a), end = MIN(first + a.size, a.channels);
      for (int64_t k = MAX(first, 0); k < end; k++) {
        double e = (double)x[i * a.sx + k / a.n * a.bx + k % a.n];
        sum += e * e;
      }
      double s = (double)a.bias + (double)a.scale * sum;
      float own = x[i * a.sx + c / a.n * a.bx + c % a.n];
      y[i * a.sy + c / a.n * a.by + c % a.n] = (float)((double)own / pow(s, (double)a.beta));
    }
  return 0;
}
