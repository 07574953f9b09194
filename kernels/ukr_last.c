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

/* Outputs lo <= ox < hi of a row whose taps all lie inside it. */
static struct span inner_outputs(const struct image *a) {
  int64_t room = a->w - 1 - (a->kw - 1) * a->dw + a->pw;
  if (a->sw == 0 || room < 0) return (struct span){0, 0};
  struct span r = {MIN(CEIL_DIV(a->pw, a->sw), a->ow), MIN(room / a->sw + 1, a->ow)};
  return r.lo < r.hi ? r : (struct span){0, 0};
}

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

/* px outputs that share their input, as dw_shared: columns first, then windows of them. */
INLINE void pool_shared(const struct image *a, int64_t rows, const float *x, float *y, vf scale,
                        const int kw, const int s, const int px, const enum what what) {
  const int64_t sx = a->sx, down = a->dh * a->hx;
  const int n = (px - 1) * s + kw;
  vf col[11];
#pragma GCC unroll 11
  for (int k = 0; k < n; k++) col[k] = neutral(what);
  for (int64_t r = 0; r < rows; r++, x += down) {
    const float *at = x;
#pragma GCC unroll 11
    for (int k = 0; k < n; k++, at += sx) col[k] = combine(vf_load(at), col[k], what);
  }
#pragma GCC unroll 8
  for (int i = 0; i < px; i++) {
    vf acc = col[i * s];
#pragma GCC unroll 3
    for (int j = 1; j < kw; j++) acc = combine(col[i * s + j], acc, what);
    vf_store(y + i * a->sy, what == SUM ? vf_mul(acc, scale) : acc);
  }
}

/* One output, taps j0 .. j1 - 1 of each row, any window. x is where tap 0 would be. */
INLINE void pool_any(const struct image *a, int64_t rows, const float *x, float *y, int64_t j0,
                     int64_t j1, vf scale, struct lanes l, const enum what what, const bool whole) {
  const int64_t tap = a->dw * a->sx, down = a->dh * a->hx;
  vf acc = neutral(what);
  for (int64_t r = 0; r < rows; r++, x += down)
    for (int64_t j = j0; j < j1; j++) acc = combine(load_lanes(x + j * tap, l, whole), acc, what);
  store_lanes(y, l, what == SUM ? vf_mul(acc, scale) : acc, whole);
}

struct pools {
  struct image a;
  struct span in;
  int how;        /* of averages, as in ukr.def */
  int64_t qh, qw; /* padding after */
};

/* What the sum of output (oy, ox) is multiplied by: 0 where nothing counts. */
static vf pool_scale(const struct pools *d, int64_t oy, int64_t ox) {
  if (d->how == 2) return vf_set1(1);
  struct span r = rows_inside(&d->a, oy), c = columns_inside(&d->a, ox);
  int64_t n = (r.hi - r.lo) * (c.hi - c.lo);
  if (d->how == 1) n = image_taps(&d->a, oy, ox, d->qh, d->qw);
  return vf_set1(n ? 1 / (float)n : 0);
}

/* Outputs lo <= ox < hi of row oy. x is column 0 of the first row of taps. */
INLINE void pool_edge(const struct pools *d, int64_t oy, int64_t rows, const float *x, float *y,
                      int64_t lo, int64_t hi, struct lanes l, const enum what what,
                      const bool whole) {
  const struct image *a = &d->a;
  for (int64_t ox = lo; ox < hi; ox++) {
    struct span in = columns_inside(a, ox);
    int64_t at = in.lo < in.hi ? (ox * a->sw - a->pw) * a->sx : 0;
    vf scale = what == SUM ? pool_scale(d, oy, ox) : vf_set1(1);
    pool_any(a, rows, x + at, y + ox * a->sy, in.lo, in.hi, scale, l, what, whole);
  }
}

/* The inner outputs of a row, where kw and s are constants. */
INLINE void pool_inner(const struct pools *d, int64_t oy, int64_t rows, const float *x, float *y,
                       const int kw, const int s, const enum what what) {
  const struct image *a = &d->a;
  int64_t step = a->sw * a->sx, ox = d->in.lo;
  if (d->in.lo == d->in.hi) return;
  vf scale = what == SUM ? pool_scale(d, oy, ox) : vf_set1(1);
  x += (ox * a->sw - a->pw) * a->sx;
  y += ox * a->sy;
  for (; s == 1 && ox + 8 <= d->in.hi; ox += 8, x += 8 * step, y += 8 * a->sy)
    pool_shared(a, rows, x, y, scale, kw, s, s == 1 ? 8 : 1, what);
  for (; ox + 4 <= d->in.hi; ox += 4, x += 4 * step, y += 4 * a->sy)
    pool_shared(a, rows, x, y, scale, kw, s, 4, what);
  for (; ox < d->in.hi; ox++, x += step, y += a->sy)
    pool_shared(a, rows, x, y, scale, kw, s, 1, what);
}

/* All outputs of the channels of one vector; kw == 0: any window. */
INLINE void pool_channels(const struct pools *d, int64_t ch, struct lanes l, const int kw,
                          const int s, const enum what what, const bool whole) {
  const struct image *a = &d->a;
  for (int64_t i = 0; i < a->oh; i++) {
    int64_t oy = a->oy + i;
    struct span r = rows_inside(a, oy);
    const float *x = a->x + ch;
    float *y = a->y + i * a->hy + ch;
    if (r.lo < r.hi) x += (oy * a->sh - a->ph + r.lo * a->dh) * a->hx;
    pool_edge(d, oy, r.hi - r.lo, x, y, 0, kw ? d->in.lo : a->ow, l, what, whole);
    if (kw == 0) continue;
    pool_inner(d, oy, r.hi - r.lo, x, y, kw, s, what);
    pool_edge(d, oy, r.hi - r.lo, x, y, d->in.hi, a->ow, l, what, whole);
  }
}

#define POOL(what, KW, S)                                                                          \
  static void pool_##what##_##KW##_##S(const struct pools *d, int64_t ch) {                        \
    pool_channels(d, ch, (struct lanes){vm_first(VW)}, KW, S, what, true);                         \
  }
#define POOLS(what)                                                                                \
  POOL(what, 2, 1)                                                                                 \
  POOL(what, 2, 2)                                                                                 \
  POOL(what, 3, 1)                                                                                 \
  POOL(what, 3, 2)                                                                                 \
  POOL(what, 0, 1)                                                                                 \
  static void pool_##what##_part(const struct pools *d, int64_t ch) {                              \
    pool_channels(d, ch, (struct lanes){vm_first(d->a.c - ch)}, 0, 1, what, false);                \
  }
POOLS(MAXIMUM)
POOLS(SUM)

typedef void pool_fn(const struct pools *d, int64_t ch);

static int pool_run(struct pools *d, const enum what what) {
  static pool_fn *const shared[2][2][2] = {
      {{pool_MAXIMUM_2_1, pool_MAXIMUM_2_2}, {pool_MAXIMUM_3_1, pool_MAXIMUM_3_2}},
      {{pool_SUM_2_1, pool_SUM_2_2}, {pool_SUM_3_1, pool_SUM_3_2}}};
  const struct image *a = &d->a;
  bool fits = a->dw == 1 && (a->sw == 1 || a->sw == 2) && (a->kw == 2 || a->kw == 3);
  if (a->ow == 0) return 0;
  d->in = inner_outputs(a);
  pool_fn *run = what == MAXIMUM ? pool_MAXIMUM_0_1 : pool_SUM_0_1;
  if (fits) run = shared[what][a->kw - 2][a->sw - 1];
  int64_t ch = 0;
  for (; ch <= a->c - VW; ch += VW) run(d, ch);
  if (ch < a->c) (what == MAXIMUM ? pool_MAXIMUM_part : pool_SUM_part)(d, ch);
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
