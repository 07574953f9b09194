/* Windows over images whose channels lie last: nhwc, or one block of 16 channels of c16. The lanes
 * of a vector are channels of one pixel, so a tap is inside the image for all of them or for none.
 *
 * Eight neighbouring outputs of a row make a block, which loads each column of their windows once:
 *
 *   columns   -1 | 0  1  2  3  4  5  6  7  8  9 ... 12 13 | 14
 *   block 0    [- - - - - - - - - - - - -]                      outputs 0 .. 7
 *   block 1                        [- - - - - - - - - - - - -]  outputs 8 .. 13
 *
 * Only blocks at the sides look at each column, whether it is there; rows above and below the image
 * are cut off all windows. Taps are added row by row, from the left to the right, everywhere. */
#include "ukr_vec.h"
#include "ukr_window.h"

#include <math.h>

/* ---- where windows lie ---- */

/* Rows of the window of output row oy that lie inside the image. */
INLINE struct span rows_inside(const struct image *a, int64_t oy) {
  return span_inside(oy * a->sh - a->ph, a->dh, a->kh, a->h);
}
INLINE struct span columns_inside(const struct image *a, int64_t ox) {
  return span_inside(ox * a->sw - a->pw, a->dw, a->kw, a->w);
}

/* A vector of channels: all lanes when whole, else those of m. */
struct lanes {
  vm m;
};
INLINE vf load_lanes(const float *p, struct lanes l, const bool whole) {
  return whole ? vf_load(p) : vf_loadm(p, l.m);
}
INLINE void store_lanes(float *p, struct lanes l, vf a, const bool whole) {
  if (whole)
    vf_store(p, a);
  else
    vf_storem(p, l.m, a);
}

/* ---- depthwise convolution ---- */

enum { PANEL = WINDOW_PANEL, PX = 8, MAXKW = 7 };

/* Rows of taps, `kw` panels of weights each, and what becomes of a sum. */
struct taps {
  const float *w;
  int64_t rows;
  vf start, lo, hi;
};

INLINE vf bounded(const struct taps *t, vf x) { return vf_min(t->hi, vf_max(t->lo, x)); }

/* Else the compiler loads an input once for each of its uses, and keeps the addresses of all
 * columns at once, for which there are no registers. */
#define KEEP(v, where) __asm__("" : "+" where(v))

/* n of PX outputs, whose windows of kw columns are s apart, both constants. x is column 0 of them
 * all; at a side only columns `in` are there. */
INLINE void dw_block(const struct image *a, const struct taps *t, const float *x, float *y,
                     struct span in, int64_t n, const int kw, const int s, const bool side) {
  const int64_t sx = a->sx, down = a->dh * a->hx;
  const float *w = t->w;
  vf acc[PX];
#pragma GCC unroll 8
  for (int i = 0; i < PX; i++) acc[i] = t->start;
  for (int64_t r = 0; r < t->rows; r++, x += down, w += kw * PANEL) {
    const float *at = x;
    vf tap[MAXKW];
#pragma GCC unroll 8
    for (int j = 0; j < kw; j++) tap[j] = vf_load(w + j * PANEL);
#pragma GCC unroll 24
    for (int k = 0; k < (PX - 1) * s + kw; k++, at += sx) {
      KEEP(at, "r");
      if (side && (k < in.lo || k >= in.hi)) continue;
      vf v = vf_load(at);
      KEEP(v, "v");
#pragma GCC unroll 8
      for (int i = 0; i < PX; i++)
        if (k >= i * s && k - i * s < kw) acc[i] = vf_fma(v, tap[k - i * s], acc[i]);
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < PX; i++)
    if (!side || i < n) vf_store(y + i * a->sy, bounded(t, acc[i]));
}

/* One output of any window, columns `in` of it. x is column 0. */
INLINE void dw_any(const struct image *a, const struct taps *t, const float *x, float *y,
                   struct span in, struct lanes l, const bool whole) {
  const int64_t tap = a->dw * a->sx, down = a->dh * a->hx;
  const float *w = t->w;
  vf acc = t->start;
  for (int64_t r = 0; r < t->rows; r++, x += down, w += a->kw * PANEL)
    for (int64_t j = in.lo; j < in.hi; j++)
      acc = vf_fma(load_lanes(x + j * tap, l, whole), load_lanes(w + j * PANEL, l, whole), acc);
  store_lanes(y, l, bounded(t, acc), whole);
}

struct dw {
  struct image a;
  const float *w, *bias; /* bias may be NULL */
  float lo, hi;
};

/* What a vector of channels from ch on needs, for rows r of the windows. */
INLINE struct taps dw_taps(const struct dw *d, int64_t ch, struct span r, struct lanes l,
                           const bool whole) {
  int64_t row = d->a.kw * PANEL;
  return (struct taps){.w = d->w + ch / PANEL * d->a.kh * row + ch % PANEL + r.lo * row,
                       .rows = r.hi - r.lo,
                       .start = d->bias ? load_lanes(d->bias + ch, l, whole) : vf_set1(0),
                       .lo = vf_set1(d->lo),
                       .hi = vf_set1(d->hi)};
}

/* Output row i: where row r.lo of its windows begins. */
INLINE const float *image_row(const struct image *a, int64_t oy, struct span r) {
  return r.lo < r.hi ? a->x + (oy * a->sh - a->ph + r.lo * a->dh) * a->hx : a->x;
}

/* A row of outputs, for `channels` channels in whole vectors. */
INLINE void dw_row(const struct dw *d, int64_t i, int64_t channels, const int kw, const int s) {
  const struct image *a = &d->a;
  const struct span r = rows_inside(a, a->oy + i);
  const struct lanes all = {vm_first(VW)};
  const float *x = image_row(a, a->oy + i, r);
  for (int64_t ox = 0; ox < a->ow; ox += PX) {
    int64_t n = MIN(a->ow - ox, (int64_t)PX), at = ox * s - a->pw, width = (n - 1) * s + kw;
    struct span in = span_inside(at, 1, width, a->w);
    float *y = a->y + i * a->hy + ox * a->sy;
    bool side = n < PX || in.lo > 0 || in.hi < width;
    for (int64_t ch = 0; ch < channels; ch += VW) {
      struct taps t = dw_taps(d, ch, r, all, true);
      if (side)
        dw_block(a, &t, x + at * a->sx + ch, y + ch, in, n, kw, s, true);
      else
        dw_block(a, &t, x + at * a->sx + ch, y + ch, in, n, kw, s, false);
    }
  }
}

/* The same for any window, channels from `first` on, the last vector in part. */
static void dw_row_any(const struct dw *d, int64_t i, int64_t first) {
  const struct image *a = &d->a;
  const struct span r = rows_inside(a, a->oy + i);
  const float *x = image_row(a, a->oy + i, r);
  for (int64_t ox = 0; ox < a->ow; ox++) {
    struct span in = columns_inside(a, ox);
    int64_t at = in.lo < in.hi ? (ox * a->sw - a->pw) * a->sx : 0;
    float *y = a->y + i * a->hy + ox * a->sy;
    for (int64_t ch = first; ch < a->c; ch += VW) {
      bool whole = a->c - ch >= VW;
      struct lanes l = {vm_first(whole ? VW : a->c - ch)};
      struct taps t = dw_taps(d, ch, r, l, false);
      if (whole)
        dw_any(a, &t, x + at + ch, y + ch, in, l, true);
      else
        dw_any(a, &t, x + at + ch, y + ch, in, l, false);
    }
  }
}

#define DW_ROW(KW, S)                                                                              \
  static void dw_row_##KW##_##S(const struct dw *d, int64_t i, int64_t channels) {                 \
    dw_row(d, i, channels, KW, S);                                                                 \
  }
DW_ROW(3, 1)
DW_ROW(3, 2)
DW_ROW(5, 1)
DW_ROW(5, 2)
DW_ROW(7, 1)
DW_ROW(7, 2)

typedef void dw_fn(const struct dw *d, int64_t i, int64_t channels);
static dw_fn *dw_choose(const struct image *a) {
  static dw_fn *const shared[3][2] = {
      {dw_row_3_1, dw_row_3_2}, {dw_row_5_1, dw_row_5_2}, {dw_row_7_1, dw_row_7_2}};
  bool fits = a->dw == 1 && (a->sw == 1 || a->sw == 2) && a->kw % 2 && a->kw >= 3 && a->kw <= 7;
  return fits ? shared[a->kw / 2 - 1][a->sw - 1] : NULL;
}

FN(dwconv_last_f32) {
  struct dw d = {image(p[0], p[3], v), p[1], v[19] ? p[2] : NULL, ukr_float(v[20]),
                 ukr_float(v[21])};
  d.a.c = image_channels(&d.a, v[18]);
  if (d.a.ow == 0) return 0;
  dw_fn *run = dw_choose(&d.a);
  int64_t whole = run ? d.a.c / VW * VW : 0;
  for (int64_t i = 0; i < d.a.oh; i++) {
    if (whole) run(&d, i, whole);
    if (whole < d.a.c) dw_row_any(&d, i, whole);
  }
  return 0;
}

/* ---- pools ---- */

enum what { MAXIMUM, SUM };

INLINE vf combine(vf x, vf acc, const enum what what) {
  return what == MAXIMUM ? vf_max(x, acc) : vf_add(x, acc);
}
INLINE vf neutral(const enum what what) { return vf_set1(what == MAXIMUM ? -INFINITY : 0); }

/* Outputs of a block where windows are 2 apart: its columns stay in registers. Half as many for
 * windows of 2, where lines that lie a power of 2 apart would push each other out of L1. */
enum { PX_2 = VW == 16 ? 8 : 4, MAXCOL = 2 * PX + 1 };

/* n of `px` outputs, as dw_block: first the columns, then the windows of them. */
INLINE void pool_block(const struct image *a, int64_t rows, const float *x, float *y,
                       struct span in, int64_t n, const float *scale, const int kw, const int s,
                       const int px, const enum what what, const bool side) {
  const int64_t sx = a->sx, down = a->dh * a->hx;
  const int width = (px - 1) * s + kw;
  vf col[MAXCOL];
#pragma GCC unroll 20
  for (int k = 0; k < width; k++) col[k] = neutral(what);
  for (int64_t r = 0; r < rows; r++, x += down) {
    const float *at = x;
#pragma GCC unroll 20
    for (int k = 0; k < width; k++, at += sx) {
      KEEP(at, "r");
      if (!side || (k >= in.lo && k < in.hi)) col[k] = combine(vf_load(at), col[k], what);
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < px; i++) {
    vf acc = col[i * s];
#pragma GCC unroll 3
    for (int j = 1; j < kw; j++) acc = combine(col[i * s + j], acc, what);
    if (what == SUM) acc = vf_mul(acc, vf_set1(scale[i]));
    if (!side || i < n) vf_store(y + i * a->sy, acc);
  }
}

/* One output of any window, columns `in` of it. x is column 0. */
INLINE void pool_any(const struct image *a, int64_t rows, const float *x, float *y, struct span in,
                     float scale, struct lanes l, const enum what what, const bool whole) {
  const int64_t tap = a->dw * a->sx, down = a->dh * a->hx;
  vf acc = neutral(what);
  for (int64_t r = 0; r < rows; r++, x += down)
    for (int64_t j = in.lo; j < in.hi; j++)
      acc = combine(load_lanes(x + j * tap, l, whole), acc, what);
  store_lanes(y, l, what == SUM ? vf_mul(acc, vf_set1(scale)) : acc, whole);
}

struct pools {
  struct image a;
  int how;        /* of averages, as in ukr.def */
  int64_t qh, qw; /* padding after */
};

/* Taps of windows that count: rows of output row oy, columns of output column ox. */
static int64_t rows_counted(const struct pools *d, int64_t oy) {
  const struct image *a = &d->a;
  struct span r = rows_inside(a, oy);
  if (d->how == 1) r = span_inside(oy * a->sh, a->dh, a->kh, a->ph + a->h + d->qh);
  return r.hi - r.lo;
}
INLINE int64_t columns_counted(const struct pools *d, int64_t ox) {
  const struct image *a = &d->a;
  struct span r = columns_inside(a, ox);
  if (d->how == 1) r = span_inside(ox * a->sw, a->dw, a->kw, a->pw + a->w + d->qw);
  return r.hi - r.lo;
}

/* What a sum is multiplied by: 0 where nothing counts. */
INLINE float pool_scale(const struct pools *d, int64_t rows, int64_t ox) {
  int64_t n = d->how == 2 ? 1 : rows * columns_counted(d, ox);
  return n ? 1 / (float)n : 0;
}

/* A row of outputs, for `channels` channels in whole vectors. */
INLINE void pool_row(const struct pools *d, int64_t i, int64_t channels, const int kw, const int s,
                     const enum what what) {
  const struct image *a = &d->a;
  const int px = s == 1 ? PX : kw == 2 ? PX / 2 : PX_2;
  const struct span r = rows_inside(a, a->oy + i);
  const float *x = image_row(a, a->oy + i, r);
  const int64_t counted = what == SUM ? rows_counted(d, a->oy + i) : 0;
  const float all = what == SUM ? pool_scale(d, counted, CEIL_DIV(a->pw, s)) : 1;
  for (int64_t ox = 0; ox < a->ow; ox += px) {
    int64_t n = MIN(a->ow - ox, (int64_t)px), at = ox * s - a->pw, width = (n - 1) * s + kw;
    struct span in = span_inside(at, 1, width, a->w);
    float *y = a->y + i * a->hy + ox * a->sy, scale[PX];
    bool side = n < px || in.lo > 0 || in.hi < width;
    for (int k = 0; k < px && what == SUM; k++)
      scale[k] = side ? pool_scale(d, counted, ox + k) : all;
    for (int64_t ch = 0; ch < channels; ch += VW) {
      const float *from = x + at * a->sx + ch;
      if (side)
        pool_block(a, r.hi - r.lo, from, y + ch, in, n, scale, kw, s, px, what, true);
      else
        pool_block(a, r.hi - r.lo, from, y + ch, in, n, scale, kw, s, px, what, false);
    }
  }
}

/* The same for any window, channels from `first` on, the last vector in part. */
INLINE void pool_row_any(const struct pools *d, int64_t i, int64_t first, const enum what what) {
  const struct image *a = &d->a;
  const struct span r = rows_inside(a, a->oy + i);
  const float *x = image_row(a, a->oy + i, r);
  const int64_t counted = what == SUM ? rows_counted(d, a->oy + i) : 0;
  for (int64_t ox = 0; ox < a->ow; ox++) {
    struct span in = columns_inside(a, ox);
    int64_t at = in.lo < in.hi ? (ox * a->sw - a->pw) * a->sx : 0, ch = first;
    float *y = a->y + i * a->hy + ox * a->sy, k = what == SUM ? pool_scale(d, counted, ox) : 1;
    struct lanes l = {vm_first(VW)};
    for (; ch <= a->c - VW; ch += VW)
      pool_any(a, r.hi - r.lo, x + at + ch, y + ch, in, k, l, what, true);
    l.m = vm_first(a->c - ch);
    if (ch < a->c) pool_any(a, r.hi - r.lo, x + at + ch, y + ch, in, k, l, what, false);
  }
}

#define POOL_ROW(what, KW, S)                                                                      \
  static void pool_##what##_##KW##_##S(const struct pools *d, int64_t i, int64_t channels) {       \
    pool_row(d, i, channels, KW, S, what);                                                         \
  }
#define POOL_ROWS(what)                                                                            \
  POOL_ROW(what, 2, 1)                                                                             \
  POOL_ROW(what, 2, 2)                                                                             \
  POOL_ROW(what, 3, 1)                                                                             \
  POOL_ROW(what, 3, 2)
POOL_ROWS(MAXIMUM)
POOL_ROWS(SUM)

typedef void pool_fn(const struct pools *d, int64_t i, int64_t channels);

INLINE int pool_run(const struct pools *d, const enum what what) {
  static pool_fn *const shared[2][2][2] = {
      {{pool_MAXIMUM_2_1, pool_MAXIMUM_2_2}, {pool_MAXIMUM_3_1, pool_MAXIMUM_3_2}},
      {{pool_SUM_2_1, pool_SUM_2_2}, {pool_SUM_3_1, pool_SUM_3_2}}};
  const struct image *a = &d->a;
  bool fits = a->dw == 1 && (a->sw == 1 || a->sw == 2) && (a->kw == 2 || a->kw == 3);
  int64_t whole = fits ? a->c / VW * VW : 0;
  for (int64_t i = 0; i < a->oh && a->ow > 0; i++) {
    if (whole) shared[what][a->kw - 2][a->sw - 1](d, i, whole);
    if (whole < a->c) pool_row_any(d, i, whole, what);
  }
  return 0;
}

FN(maxpool_last_f32) {
  struct pools d = {.a = image(p[0], p[1], v)};
  return pool_run(&d, MAXIMUM);
}

FN(avgpool_last_f32) {
  struct pools d = {.a = image(p[0], p[1], v), .qh = v[18], .qw = v[19], .how = (int)v[20]};
  return pool_run(&d, SUM);
}

/* ---- columns ---- */

enum { COLS = 4, RUN = 64 };

INLINE vf max_nan(vf a, vf r) { return vf_sel(vf_isnan(a), a, vf_max(a, r)); }

/* `cols` vectors of columns. Sums are sums of sums of RUN rows, which lose less. */
INLINE void columns(const float *x, float *y, int64_t m, int64_t sx, vf scale, struct lanes l,
                    const int cols, const enum what what, const bool whole) {
  vf all[COLS], r[COLS];
#pragma GCC unroll 4
  for (int k = 0; k < cols; k++) all[k] = neutral(what);
  for (int64_t i = 0; i < m; i += RUN) {
#pragma GCC unroll 4
    for (int k = 0; k < cols; k++) r[k] = neutral(what);
    for (int64_t q = 0; q < MIN(m - i, (int64_t)RUN); q++, x += sx)
#pragma GCC unroll 4
      for (int k = 0; k < cols; k++) {
        vf a = load_lanes(x + k * VW, l, whole);
        r[k] = what == SUM ? vf_add(a, r[k]) : max_nan(a, r[k]);
      }
#pragma GCC unroll 4
    for (int k = 0; k < cols; k++)
      all[k] = what == SUM ? vf_add(all[k], r[k]) : max_nan(r[k], all[k]);
  }
#pragma GCC unroll 4
  for (int k = 0; k < cols; k++)
    store_lanes(y + k * VW, l, what == SUM ? vf_mul(all[k], scale) : all[k], whole);
}

INLINE void all_columns(const float *x, float *y, int64_t m, int64_t n, int64_t sx, float scale,
                        const enum what what) {
  const vf s = vf_set1(scale);
  const struct lanes all = {vm_first(VW)};
  int64_t j = 0;
  for (; j <= n - COLS * VW; j += COLS * VW) columns(x + j, y + j, m, sx, s, all, COLS, what, true);
  for (; j <= n - VW; j += VW) columns(x + j, y + j, m, sx, s, all, 1, what, true);
  if (j < n) columns(x + j, y + j, m, sx, s, (struct lanes){vm_first(n - j)}, 1, what, false);
}

FN(colsum_f32) {
  all_columns(p[0], p[1], v[0], v[1], v[2], ukr_float(v[3]), SUM);
  return 0;
}

FN(colmax_f32) {
  all_columns(p[0], p[1], v[0], v[1], v[2], 1, MAXIMUM);
  return 0;
}
