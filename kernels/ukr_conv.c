/* Fast convolution and pooling: the lanes of a vector are neighbouring outputs of one row. Where
 * their taps leave the plane, lanes are masked off, so no padded copy is made. */
#include "ukr_vec.h"
#include "ukr_window.h"

#include <math.h>

/* ---- which lanes of a tap lie inside ---- */

/* Lanes lo <= l < hi with 0 <= at + l step < w, of the first n. */
struct lanes {
  int64_t lo, hi;
};

INLINE struct lanes inside(int64_t at, int64_t step, int64_t w, int64_t n) {
  if (at >= 0 && at + (n - 1) * step < w) return (struct lanes){0, n};
  if (step == 0 || at >= w) return (struct lanes){0, 0};
  int64_t lo = at < 0 ? (step - 1 - at) / step : 0;
  return (struct lanes){MIN(lo, n), MIN(n, (w - 1 - at) / step + 1)};
}

enum what { CONVOLVE, MAXIMUM, SUM };

/* The taps of the windows of outputs (oy, ox + l), l < n, taken together. */
struct taps {
  vf acc, count;
};

INLINE void add_tap(struct taps *t, vf x, vm m, float w, const enum what what) {
  if (what == CONVOLVE) t->acc = vf_fma(x, vf_set1(w), t->acc);
  if (what == MAXIMUM) t->acc = vf_sel(m, vf_max(x, t->acc), t->acc);
  if (what == SUM) t->acc = vf_add(x, t->acc);
  if (what == SUM) t->count = vf_add(t->count, vf_sel(m, vf_set1(1), vf_set1(0)));
}

/* One row of taps, `at` being where its first tap meets the plane's row. Where all its lanes lie
 * inside, which is the rule, no tap is looked at singly. */
INLINE void take_row(struct taps *t, const struct plane *a, const float *row, int64_t at, int64_t n,
                     const float *w, int64_t taps, const enum what what, const bool unit) {
  if (unit && n == VW && at >= 0 && at + (taps - 1) * a->dw + VW <= a->w) {
    for (int64_t j = 0; j < taps; j++)
      add_tap(t, vf_load(row + at + j * a->dw), vm_first(VW), what == CONVOLVE ? w[j] : 0, what);
    return;
  }
  for (int64_t j = 0; j < taps; j++, at += a->dw) {
    struct lanes in = inside(at, unit ? 1 : a->sw, a->w, n);
    if (in.lo >= in.hi) continue;
    vm m = vm_range(in.lo, in.hi);
    vf x = unit ? vf_loadm(row + at, m) : vf_gather(row + at, (int)a->sw, m);
    add_tap(t, x, m, what == CONVOLVE ? w[j] : 0, what);
  }
}

INLINE struct taps take(const struct plane *a, int64_t oy, int64_t ox, int64_t n, const float *w,
                        int64_t kk, vf start, const enum what what, const bool unit) {
  struct taps t = {start, vf_set1(0)};
  for (int64_t i = 0; i < a->kh && (what != CONVOLVE || i * a->kw < kk); i++) {
    int64_t iy = oy * a->sh - a->ph + i * a->dh, first = i * a->kw;
    if (iy < 0 || iy >= a->h) continue;
    int64_t taps = what == CONVOLVE ? MIN(a->kw, kk - first) : a->kw;
    take_row(&t, a, a->x + iy * a->w, ox * a->sw - a->pw, n, what == CONVOLVE ? w + first : NULL,
             taps, what, unit);
  }
  return t;
}

/* All outputs, row by row; `finish` makes the result of the taps t. */
#define WINDOWS(a, w, kk, start, what, finish)                                                     \
  for (int64_t i = 0; i < oh; i++)                                                                 \
    for (int64_t j = 0; j < ow; j += VW) {                                                         \
      int64_t n = MIN(ow - j, (int64_t)VW);                                                        \
      struct taps t = (a).sw == 1 ? take(&(a), i, j, n, w, kk, start, what, true)                  \
                                  : take(&(a), i, j, n, w, kk, start, what, false);                \
      if (n == VW)                                                                                 \
        vf_store(y + i * ow + j, finish);                                                          \
      else                                                                                         \
        vf_storen(y + i * ow + j, n, finish);                                                      \
    }

FN(dwconv_f32) {
  const float *w = p[1], *b = p[2];
  float *y = p[3];
  const struct plane a = plane(p[0], v[0], v[1], v + 5);
  int64_t kk = v[2], oh = v[3], ow = v[4];
  if (oh == 0 || ow == 0) return 0;
  const vf start = vf_set1(v[13] ? *b : 0);
  WINDOWS(a, w, kk, start, CONVOLVE, t.acc)
  return 0;
}

FN(maxpool_f32) {
  float *y = p[1];
  const struct plane a = plane(p[0], v[0], v[1], v + 4);
  int64_t oh = v[2], ow = v[3];
  const vf start = vf_set1(-INFINITY);
  WINDOWS(a, NULL, 0, start, MAXIMUM, t.acc)
  return 0;
}

/* 0 where nothing counts. */
INLINE vf mean(struct taps t, bool all, float taps) {
  const vf zero = vf_set1(0), n = all ? vf_set1(taps) : t.count;
  return vf_sel(vf_lt(zero, n), vf_div(t.acc, n), zero);
}

FN(avgpool_f32) {
  float *y = p[1];
  const struct plane a = plane(p[0], v[0], v[1], v + 4);
  int64_t oh = v[2], ow = v[3];
  const bool all = v[12];
  const float taps = (float)(a.kh * a.kw);
  const vf start = vf_set1(0);
  WINDOWS(a, NULL, 0, start, SUM, mean(t, all, taps))
  return 0;
}

/* ---- patches ---- */

/* n outputs from (oy, ox) on, all in row oy, under one tap of the window: y[l] = x[iy][at + l sw].
 */
static void patch(const struct plane *a, int64_t iy, int64_t at, float *y, int64_t n) {
  struct lanes in = iy >= 0 && iy < a->h ? inside(at, a->sw, a->w, n) : (struct lanes){0, 0};
  if (in.lo >= in.hi) {
    zero_4(y, n);
    return;
  }
  const float *x = a->x + iy * a->w + at;
  zero_4(y, in.lo);
  if (a->sw == 1)
    copy_4(y + in.lo, x + in.lo, in.hi - in.lo);
  else
    for (int64_t l = in.lo; l < in.hi; l++) y[l] = x[l * a->sw];
  zero_4(y + in.hi, n - in.hi);
}

/* Position of a tap: channel and place in the window. */
struct tap {
  int64_t c, i, j;
};

INLINE struct tap next(struct tap t, const struct plane *a) {
  if (++t.j < a->kw) return t;
  t.j = 0;
  if (++t.i < a->kh) return t;
  t.i = 0;
  t.c++;
  return t;
}

FN(im2col_4) {
  int64_t c = v[0], sc = v[1], k = v[4], nr = v[5], n = MIN(v[7], nr), ow = v[8];
  struct plane a = plane(p[0], v[2], v[3], v + 9);
  float *y = p[1];
  if (ow == 0 || a.kh == 0 || a.kw == 0 || nr == 0) return 0;
  const int64_t oy0 = v[6] / ow, ox0 = v[6] % ow;
  struct tap t = {0, 0, 0};
  for (int64_t r = 0; r < k; r++, y += nr, t = next(t, &a)) {
    if (t.c >= c || a.h == 0 || a.w == 0) {
      zero_4(y, nr);
      continue;
    }
    a.x = (const float *)p[0] + t.c * sc;
    int64_t oy = oy0, ox = ox0;
    for (int64_t q = 0, part; q < n; q += part, oy++, ox = 0) {
      part = MIN(n - q, ow - ox);
      patch(&a, oy * a.sh - a.ph + t.i * a.dh, ox * a.sw - a.pw + t.j * a.dw, y + q, part);
    }
    zero_4(y + n, nr - n);
  }
  return 0;
}
