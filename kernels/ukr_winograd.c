/* Fast transforms of Winograd's convolutions; formulas: ukr_winograd.h. The lanes of a vector are
 * neighbouring channels. Points come in pairs of a and -a, so a row of B' is the sum of an even and
 * an odd half, that of the other point their difference; a pair of columns of A' likewise. */
#include "ukr_vec.h"
#include "ukr_winograd.h"

/* Point k of the pairs of n, a constant wherever this is inlined. */
INLINE float pt(const int n, const int k) { return wino_pairs[n / 2 - 2][k]; }
INLINE float sq(const int n, const int k) { return pt(n, k) * pt(n, k); }

/* o = a * x; no operation for a = 1. */
INLINE vf times(const float a, vf x) { return a == 1 ? x : vf_mul(vf_set1(a), x); }
INLINE vf times_add(const float a, vf x, vf y) {
  return a == 1 ? vf_add(x, y) : vf_fma(vf_set1(a), x, y);
}

/* Rows p and -p, p > 0: o[0] = even + p odd, o[1] = even - p odd, from even and p odd. */
INLINE void pair(vf even, vf odd, vf *o) {
  o[0] = vf_add(even, odd);
  o[1] = vf_sub(even, odd);
}

/* o = B' d for 4 points: M = x (x^2 - A), A = 1. */
INLINE void input_4(const vf *d, vf *o) {
  o[0] = vf_sub(d[2], d[0]);
  pair(d[2], d[1], o + 1);
  o[3] = vf_sub(d[3], d[1]);
}

/* For 6: M = x (x^2 - A) (x^2 - B). */
INLINE void input_6(const vf *d, vf *o) {
  const float a = pt(6, 0), b = pt(6, 1), A = sq(6, 0), B = sq(6, 1);
  o[0] = vf_fma(vf_set1(A * B), d[0], vf_fma(vf_set1(-(A + B)), d[2], d[4]));
  pair(vf_fma(vf_set1(-B), d[2], d[4]), vf_fma(vf_set1(-(a * B)), d[1], vf_mul(vf_set1(a), d[3])),
       o + 1);
  pair(vf_fma(vf_set1(-A), d[2], d[4]), vf_fma(vf_set1(-(b * A)), d[1], vf_mul(vf_set1(b), d[3])),
       o + 3);
  o[5] = vf_fma(vf_set1(A * B), d[1], vf_fma(vf_set1(-(A + B)), d[3], d[5]));
}

/* p (x[0] P - x[2] S + x[4]), where P and S are product and sum of two squared points. */
INLINE vf three(const float p, const float P, const float S, const vf *x) {
  return vf_fma(vf_set1(p * P), x[0], vf_fma(vf_set1(-(p * S)), x[2], times(p, x[4])));
}

/* For 8: M = x (x^2 - A) (x^2 - B) (x^2 - C). */
INLINE void input_8(const vf *d, vf *o) {
  const float A = sq(8, 0), B = sq(8, 1), C = sq(8, 2);
  const float P = A * B * C, Q = A * B + A * C + B * C, S = A + B + C;
  const float sum[3] = {B + C, A + C, A + B}, prod[3] = {B * C, A * C, A * B};
  o[0] = vf_fma(vf_set1(-P), d[0], vf_fma(vf_set1(Q), d[2], vf_fma(vf_set1(-S), d[4], d[6])));
#pragma GCC unroll 3
  for (int k = 0; k < 3; k++)
    pair(three(1, prod[k], sum[k], d + 2), three(pt(8, k), prod[k], sum[k], d + 1), o + 1 + 2 * k);
  o[7] = vf_fma(vf_set1(-P), d[1], vf_fma(vf_set1(Q), d[3], vf_fma(vf_set1(-S), d[5], d[7])));
}

INLINE void input_1d(const int n, const vf *d, vf *o) {
  if (n == 4) input_4(d, o);
  if (n == 6) input_6(d, o);
  if (n == 8) input_8(d, o);
}

/* o = A' x: m outputs from n products. */
INLINE void output_1d(const int m, const int n, const vf *x, vf *o) {
  const int pairs = n / 2 - 1;
  vf sum[WINO_MAXPAIR], diff[WINO_MAXPAIR];
  float power[WINO_MAXPAIR] = {1, 1, 1};
#pragma GCC unroll 3
  for (int k = 0; k < pairs; k++) {
    sum[k] = vf_add(x[1 + 2 * k], x[2 + 2 * k]);
    diff[k] = vf_sub(x[1 + 2 * k], x[2 + 2 * k]);
  }
#pragma GCC unroll 6
  for (int i = 0; i < m; i++) {
    const vf *part = i % 2 ? diff : sum;
    vf y = times(power[0], part[0]);
#pragma GCC unroll 3
    for (int k = 1; k < pairs; k++) y = times_add(power[k], part[k], y);
    if (i == 0) y = vf_add(y, x[0]);
    if (i == m - 1) y = vf_add(y, x[n - 1]);
    o[i] = y;
#pragma GCC unroll 3
    for (int k = 0; k < pairs; k++) power[k] *= pt(n, k);
  }
}

/* ---- whole tiles of VW channels ---------------------------------------------------------------
 * Functions of their own, or all their addresses would be kept in memory. Strides from row to row
 * and from column to column; an output is min(hi, max(lo, y + bias)). */
typedef void tile_fn(const float *x, int64_t xr, int64_t xc, float *y, int64_t yr, int64_t yc,
                     vf bias, vf lo, vf hi);

INLINE void input_2d(const int n, const float *x, int64_t xr, int64_t xc, float *y, int64_t yr,
                     int64_t yc) {
  vf t[WINO_MAXN][WINO_MAXN], d[WINO_MAXN], o[WINO_MAXN];
#pragma GCC unroll 8
  for (int j = 0; j < n; j++, x += xc) {
    const float *p = x;
#pragma GCC unroll 8
    for (int i = 0; i < n; i++, p += xr) d[i] = vf_load(p);
    input_1d(n, d, o);
#pragma GCC unroll 8
    for (int i = 0; i < n; i++) t[i][j] = o[i];
  }
#pragma GCC unroll 8
  for (int i = 0; i < n; i++, y += yr) {
    float *p = y;
    input_1d(n, t[i], o);
#pragma GCC unroll 8
    for (int j = 0; j < n; j++, p += yc) vf_store(p, o[j]);
  }
}

INLINE void output_2d(const int m, const int n, const float *x, int64_t xr, int64_t xc, float *y,
                      int64_t yr, int64_t yc, vf bias, vf lo, vf hi) {
  vf t[WINO_MAXN][WINO_MAXN], d[WINO_MAXN], o[WINO_MAXN];
#pragma GCC unroll 8
  for (int j = 0; j < n; j++, x += xc) {
    const float *p = x;
#pragma GCC unroll 8
    for (int i = 0; i < n; i++, p += xr) d[i] = vf_load(p);
    output_1d(m, n, d, o);
#pragma GCC unroll 8
    for (int i = 0; i < m; i++) t[i][j] = o[i];
  }
#pragma GCC unroll 8
  for (int i = 0; i < m; i++, y += yr) {
    float *p = y;
    output_1d(m, n, t[i], o);
#pragma GCC unroll 8
    for (int j = 0; j < m; j++, p += yc)
      vf_store(p, vf_min(hi, vf_max(lo, vf_add(o[j], bias)))); /* a NaN stays */
  }
}

#define TILE_FN(name)                                                                              \
  static __attribute__((noinline)) void name(const float *x, int64_t xr, int64_t xc, float *y,     \
                                             int64_t yr, int64_t yc, vf bias, vf lo, vf hi)
#define TILE_IN(n)                                                                                 \
  TILE_FN(tile_in_##n) {                                                                           \
    (void)bias;                                                                                    \
    (void)lo;                                                                                      \
    (void)hi;                                                                                      \
    input_2d(n, x, xr, xc, y, yr, yc);                                                             \
  }
#define TILE_OUT(m, n)                                                                             \
  TILE_FN(tile_out_##m##_##n) { output_2d(m, n, x, xr, xc, y, yr, yc, bias, lo, hi); }

/* ---- parts of tiles lie in a buffer, a vector for each place --------------------------------- */
enum { PLACES = WINO_MAXN * WINO_MAXN };

/* What the loops over tiles know: extents and strides of the operands. */
struct tiles {
  const float *x;
  float *y;
  int n, m; /* extent of a tile before and after */
  int64_t h, w, xr, xc, yr, yc;
};

/* Copy cols places of the first `lanes` channels; whole vectors are faster, with AVX2 much so. */
INLINE void copy_row(const float *x, int64_t xc, float *y, int64_t yc, int64_t cols,
                     int64_t lanes) {
  if (lanes == VW)
    for (int64_t j = 0; j < cols; j++) vf_store(y + j * yc, vf_load(x + j * xc));
  else
    for (int64_t j = 0; j < cols; j++) vf_storen(y + j * yc, lanes, vf_loadn(x + j * xc, lanes));
}

static void copy_part(const float *x, int64_t xr, int64_t xc, float *y, int64_t yr, int64_t yc,
                      int64_t rows, int64_t cols, int64_t lanes) {
  for (int64_t i = 0; i < rows; i++) copy_row(x + i * xr, xc, y + i * yr, yc, cols, lanes);
}

/* The part of an n x n tile at (y, x) that lies inside the image, and zeros. */
INLINE void border(const int n, const struct tiles *a, int64_t y, int64_t x, int64_t c,
                   int64_t lanes, float *buf) {
  for (int i = 0; i < n; i++)
    for (int j = 0; j < n; j++, buf += VW) {
      const bool inside = y + i >= 0 && y + i < a->h && x + j >= 0 && x + j < a->w;
      const float *p = inside ? a->x + (y + i) * a->xr + (x + j) * a->xc + c : NULL;
      vf_store(buf, !inside ? vf_set1(0) : lanes == VW ? vf_load(p) : vf_loadn(p, lanes));
    }
}

INLINE void input_part(const int n, const struct tiles *a, int64_t y, int64_t x, int64_t c,
                       int64_t lanes, float *v, tile_fn *run) {
  float in[PLACES * VW], out[PLACES * VW];
  const vf none = vf_set1(0);
  border(n, a, y, x, c, lanes, in);
  if (lanes == VW) {
    run(in, n * VW, VW, v, a->yr, a->yc, none, none, none);
    return;
  }
  run(in, n * VW, VW, out, n * VW, VW, none, none, none);
  copy_part(out, n * VW, VW, v, a->yr, a->yc, n, n, lanes);
}

/* The columns of the next tile that this one has not, as if it were further on by n - 2 of them, as
 * in F(m, 3); where channels do not lie together, some others. Each call brings in an equal share.
 * This makes the inputs' transform 10 to 20 % faster where they come from memory. */
INLINE void next_tile(const struct tiles *a, const float *x, int64_t c) {
  const int n = a->n;
  uintptr_t p = (uintptr_t)x + (uintptr_t)((n * a->xc + (n - 2) * c) * (int64_t)sizeof *x);
  for (int i = 0; i < n; i++, p += (uintptr_t)a->xr * sizeof *x)
    for (int l = 0; l < n - 2; l++)
      _mm_prefetch((const char *)p + l * VW * (int)sizeof *x, _MM_HINT_T0);
}

INLINE void input_tile(const int n, const struct tiles *a, int64_t y, int64_t x, int64_t channels,
                       float *v, tile_fn *run) {
  const bool inside = y >= 0 && x >= 0 && y + n <= a->h && x + n <= a->w;
  const float *from = inside ? a->x + y * a->xr + x * a->xc : NULL;
  const vf none = vf_set1(0);
  for (int64_t c = 0; c < channels; c += VW)
    if (inside && c + VW <= channels) {
      next_tile(a, from, c);
      run(from + c, a->xr, a->xc, v + c, a->yr, a->yc, none, none, none);
    } else {
      input_part(n, a, y, x, c, MIN(channels - c, (int64_t)VW), v + c, run);
    }
}

INLINE int inputs(void *const *p, const int64_t *v, const int n, tile_fn *run) {
  const int64_t channels = v[4], sv = v[5], st = v[6], t = v[7], tw = v[8], step = v[13];
  const int64_t y0 = v[9] - v[11], x0 = v[10] - v[12];
  if (channels == 0 || t == 0) return 0; /* nothing bounds sv */
  const struct tiles a = {p[0], p[1], n, n, v[0], v[2], v[1], v[3], n * sv, sv};
  for (int64_t i = 0, ty = 0, tx = 0; i < t; i++) {
    input_tile(n, &a, y0 + ty * step, x0 + tx * step, channels, a.y + i * st, run);
    if (++tx >= tw) tx = 0, ty++;
  }
  return 0;
}

#define IN(n)                                                                                      \
  TILE_IN(n)                                                                                       \
  FN(wino_in_##n) { return inputs(p, v, n, tile_in_##n); }
IN(4)
IN(6)
IN(8)

/* ---- outputs --------------------------------------------------------------------------------- */
static void output_part(const struct tiles *a, const float *x, float *y, int64_t h, int64_t w,
                        int64_t lanes, vf bias, vf lo, vf hi, tile_fn *run) {
  float in[PLACES * VW], out[PLACES * VW];
  const int n = a->n, m = a->m;
  if (lanes == VW) {
    run(x, a->xr, a->xc, out, m * VW, VW, bias, lo, hi);
  } else {
    copy_part(x, a->xr, a->xc, in, n * VW, VW, n, n, lanes);
    run(in, n * VW, VW, out, m * VW, VW, bias, lo, hi);
  }
  copy_part(out, m * VW, VW, y, a->yr, a->yc, h, w, lanes);
}

/* The tile whose outputs begin at y, of which h x w exist. */
INLINE void output_tile(const struct tiles *a, const float *x, float *y, int64_t h, int64_t w,
                        int64_t channels, const float *b, vf lo, vf hi, tile_fn *run) {
  for (int64_t c = 0; c < channels; c += VW) {
    int64_t lanes = MIN(channels - c, (int64_t)VW);
    vf bias = b ? vf_loadn(b + c, lanes) : vf_set1(0);
    if (lanes == VW && h >= a->m && w >= a->m)
      run(x + c, a->xr, a->xc, y + c, a->yr, a->yc, bias, lo, hi);
    else
      output_part(a, x + c, y + c, MIN(h, (int64_t)a->m), MIN(w, (int64_t)a->m), lanes, bias, lo,
                  hi, run);
  }
}

INLINE int outputs(void *const *p, const int64_t *v, const int m, const int n, tile_fn *run) {
  const int64_t channels = v[0], sm = v[1], st = v[2], t = v[3], tw = v[4];
  const float *bias = v[9] ? p[1] : NULL;
  if (channels == 0 || t == 0) return 0;
  const struct tiles a = {p[0], p[2], n, m, v[5], v[7], n * sm, sm, v[6], v[8]};
  const vf lo = vf_set1(ukr_float(v[10])), hi = vf_set1(ukr_float(v[11]));
  for (int64_t i = 0, y = 0, x = 0; i < t && y < a.h; i++) {
    if (x < a.w)
      output_tile(&a, a.x + i * st, a.y + y * a.yr + x * a.yc, a.h - y, a.w - x, channels, bias, lo,
                  hi, run);
    x += m;
    if (x >= tw * m) x = 0, y += m;
  }
  return 0;
}

#define OUT(m, n)                                                                                  \
  TILE_OUT(m, n)                                                                                   \
  FN(wino_out_##m##_##n) { return outputs(p, v, m, n, tile_out_##m##_##n); }
OUT(2, 4)
OUT(4, 6)
OUT(6, 8)
OUT(2, 6)
OUT(4, 8)

/* Plans are made once. */
FN(wino_weights_4) { return ukr_wino_weights_4_ref(p, v); }
FN(wino_weights_6) { return ukr_wino_weights_6_ref(p, v); }
FN(wino_weights_8) { return ukr_wino_weights_8_ref(p, v); }
