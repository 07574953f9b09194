/* Fast kernels for attention. Contracts: ukr.def. */
#include "ukr_math.h"

#include <math.h>

/* ---- softmax of columns, one step of many ------------------------------------------------------
 *
 *           n queries
 *         +-----------+
 *   k     |           |   a lane is a query: maxima and sums need no lanes exchanged
 *   keys  |    \      |   below the diagonal that starts at key + j = row + i: hidden
 *         +-----------+
 */
struct panel {
  float *x, *s;
  int64_t k, sx, ss;
  int64_t diagonal; /* row j is hidden from column i if j > diagonal + i */
  bool first;
};

/* Columns of lanes a vector holds, those that exist. */
struct lanes {
  int64_t at;
  vm there;
};

/* Element j of the lanes; what is hidden is -inf. */
INLINE vf seen(const struct panel *g, const struct lanes *c, int64_t j, const bool cut) {
  vf x = vf_loadm(g->x + j * g->sx + c->at, c->there);
  if (!cut) return x;
  int64_t hidden = MIN(MAX(j - g->diagonal - c->at, (int64_t)0), (int64_t)VW);
  return vf_sel(vm_range(hidden, VW), x, vf_set1(-INFINITY));
}

/* NaN elements are passed over: their exponentials make the sum NaN anyway. */
INLINE void find_max(const struct panel *g, const struct lanes *c, const int cols, int64_t j,
                     int64_t end, const bool cut, vf *max) {
  for (; j < end; j++)
#pragma GCC unroll 2
    for (int i = 0; i < cols; i++) max[i] = vf_max(seen(g, &c[i], j, cut), max[i]);
}

INLINE void find_weights(const struct panel *g, const struct lanes *c, const int cols, int64_t j,
                         int64_t end, const bool cut, const vf *top, vf *sum) {
  for (; j < end; j++)
#pragma GCC unroll 2
    for (int i = 0; i < cols; i++) {
      vf p = exp_weight(vf_sub(seen(g, &c[i], j, cut), top[i]));
      vf_storem(g->x + j * g->sx + c[i].at, c[i].there, p);
      sum[i] = vf_add(sum[i], p);
    }
}

/* Up to two vectors of columns. Rows before `whole` are seen by all of them. */
INLINE void step(const struct panel *g, const struct lanes *c, const int cols) {
  int64_t whole = MIN(MAX(g->diagonal + c[0].at + 1, (int64_t)0), g->k);
  vf old[2], max[2], top[2], sum[2];
  const vf never = vf_set1(-INFINITY);
#pragma GCC unroll 2
  for (int i = 0; i < cols; i++) {
    old[i] = max[i] = g->first ? never : vf_loadm(g->s + c[i].at, c[i].there);
    sum[i] = vf_set1(0);
  }
  find_max(g, c, cols, 0, whole, false, max);
  find_max(g, c, cols, whole, g->k, true, max);
#pragma GCC unroll 2
  for (int i = 0; i < cols; i++) top[i] = vf_sel(vf_eq(max[i], never), vf_set1(0), max[i]);
  find_weights(g, c, cols, 0, whole, false, top, sum);
  find_weights(g, c, cols, whole, g->k, true, top, sum);
#pragma GCC unroll 2
  for (int i = 0; i < cols; i++) {
    float *s = g->s + c[i].at;
    vf factor = exp_f32(vf_sub(old[i], top[i]));
    if (!g->first) sum[i] = vf_fma(vf_loadm(s + g->ss, c[i].there), factor, sum[i]);
    vf_storem(s, c[i].there, max[i]);
    vf_storem(s + g->ss, c[i].there, sum[i]);
    vf_storem(s + 2 * g->ss, c[i].there, factor);
  }
}

FN(softmax_cols_f32) {
  const int64_t k = v[0], n = v[1];
  const struct panel g = {p[0], p[1], k, k ? v[2] : 0, v[3], v[5] - v[6], v[4]};
  for (int64_t j = 0; j < n; j += 2 * VW) {
    struct lanes c[2] = {{j, vm_first(MIN(n - j, (int64_t)VW))}};
    if (n - j <= VW) {
      step(&g, c, 1);
      continue;
    }
    c[1] = (struct lanes){j + VW, vm_first(MIN(n - j - VW, (int64_t)VW))};
    step(&g, c, 2);
  }
  return 0;
}

/* ---- a few rows times the rows of a matrix: dots ------------------------------------------------
 * VW dots at a time, each with an accumulator of its own; the sums of their lanes are one vector.
 */

#ifdef __AVX512F__
/* Accumulator a holds the dot of this row, so that sums come out in order. */
INLINE int row_of(int a) { return (a & 4) << 1 | (a & 8) >> 1 | (a & 1) << 1 | (a & 2) >> 1; }

INLINE vf sums(vf *a) {
#pragma GCC unroll 8
  for (int i = 0; i < 8; i++)
    a[i] = vf_add(_mm512_shuffle_f32x4(a[i], a[i + 8], 0x44),
                  _mm512_shuffle_f32x4(a[i], a[i + 8], 0xee));
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++)
    a[i] = vf_add(_mm512_shuffle_f32x4(a[i], a[i + 4], 0x88),
                  _mm512_shuffle_f32x4(a[i], a[i + 4], 0xdd));
#pragma GCC unroll 2
  for (int i = 0; i < 2; i++)
    a[i] = vf_add(_mm512_shuffle_ps(a[i], a[i + 2], 0x44), _mm512_shuffle_ps(a[i], a[i + 2], 0xee));
  return vf_add(_mm512_shuffle_ps(a[0], a[1], 0x88), _mm512_shuffle_ps(a[0], a[1], 0xdd));
}
#else
INLINE int row_of(int a) { return a; }

INLINE vf sums(vf *a) {
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) a[i] = _mm256_hadd_ps(a[2 * i], a[2 * i + 1]);
#pragma GCC unroll 2
  for (int i = 0; i < 2; i++) a[i] = _mm256_hadd_ps(a[2 * i], a[2 * i + 1]);
  return vf_add(_mm256_permute2f128_ps(a[0], a[1], 0x20), _mm256_permute2f128_ps(a[0], a[1], 0x31));
}
#endif

/* Dots of a with `rows` <= VW rows of b; whole: all VW of them exist. */
INLINE void some_dots(const float *a, const float *b, int64_t sb, int64_t k, int64_t rows, float *c,
                      const bool whole) {
  vf acc[VW];
#pragma GCC unroll 16
  for (int i = 0; i < VW; i++) acc[i] = vf_set1(0);
  for (int64_t l = 0; l < k; l += VW) {
    vm there = vm_first(MIN(k - l, (int64_t)VW));
    vf x = vf_loadm(a + l, there);
#pragma GCC unroll 16
    for (int i = 0; i < VW; i++) {
      int64_t r = whole ? row_of(i) : MIN((int64_t)row_of(i), rows - 1);
      acc[i] = vf_fma(x, vf_loadm(b + r * sb + l, there), acc[i]);
    }
  }
  vf y = sums(acc);
  if (whole)
    vf_store(c, y);
  else
    vf_storen(c, rows, y);
}

FN(dots_f32) {
  const float *a = p[0], *b = p[1];
  float *c = p[2];
  int64_t m = v[0], n = v[1], k = v[2], sa = k ? v[3] : 0, sb = k ? v[4] : 0, sc = v[5];
  for (int64_t j = 0; j < n; j += VW)
    for (int64_t i = 0; i < m; i++)
      if (n - j >= VW)
        some_dots(a + i * sa, b + j * sb, sb, k, VW, c + i * sc + j, true);
      else
        some_dots(a + i * sa, b + j * sb, sb, k, n - j, c + i * sc + j, false);
  return 0;
}

/* ---- sums of rows, weighted ---------------------------------------------------------------------
 * WIDE vectors of a row of c at a time, for up to ROWS rows. */
enum { WIDE = 64 / VW, ROWS = 64 / VW > 4 ? 1 : 4 };

INLINE void mix(const float *a, int64_t sa, const float *b, int64_t sb, float *c, int64_t sc,
                int64_t k, int64_t n, const int rows, const bool whole) {
  vf acc[ROWS][WIDE];
  vm there[WIDE];
#pragma GCC unroll 8
  for (int j = 0; j < WIDE; j++) {
    there[j] = vm_first(MIN(MAX(n - j * VW, (int64_t)0), (int64_t)VW));
#pragma GCC unroll 4
    for (int i = 0; i < rows; i++) acc[i][j] = vf_set1(0);
  }
  for (int64_t l = 0; l < k; l++)
#pragma GCC unroll 8
    for (int j = 0; j < WIDE; j++) {
      const float *x = b + l * sb + j * VW;
      vf y = whole ? vf_load(x) : vf_loadm(x, there[j]);
#pragma GCC unroll 4
      for (int i = 0; i < rows; i++) acc[i][j] = vf_fma(vf_set1(a[i * sa + l]), y, acc[i][j]);
    }
#pragma GCC unroll 4
  for (int i = 0; i < rows; i++)
#pragma GCC unroll 8
    for (int j = 0; j < WIDE; j++) vf_storem(c + i * sc + j * VW, there[j], acc[i][j]);
}

FN(mix_f32) {
  const float *a = p[0], *b = p[1];
  float *c = p[2];
  int64_t m = v[0], n = v[1], k = v[2], sa = k ? v[3] : 0, sb = k ? v[4] : 0, sc = v[5], i;
  for (int64_t j = 0; j < n; j += 64) {
    int64_t left = MIN(n - j, (int64_t)64);
    for (i = 0; i <= m - ROWS && left == 64; i += ROWS)
      mix(a + i * sa, sa, b + j, sb, c + i * sc + j, sc, k, 64, ROWS, true);
    for (; i < m; i++)
      if (left == 64)
        mix(a + i * sa, sa, b + j, sb, c + i * sc + j, sc, k, 64, 1, true);
      else
        mix(a + i * sa, sa, b + j, sb, c + i * sc + j, sc, k, left, 1, false);
  }
  return 0;
}
