/* Fast movement of elements of 1, 2, 4 and 8 bytes. Every copy is one of four: rows, a spread
 * element, a transposition, or element by element. */
#include "ukr_vec.h"

#include <string.h>

/* ---- transposition: y[i][j] = x[j][i], in blocks of 8 by 8 ---- */

/* Rows of x have come in, columns go out as rows of y: pairs, quads and halves are exchanged in
 * turn.
 */
INLINE void exchange(__m256 a[8]) {
  __m256 b[8];
#pragma GCC unroll 4
  for (int i = 0; i < 8; i += 2) {
    b[i] = _mm256_unpacklo_ps(a[i], a[i + 1]);
    b[i + 1] = _mm256_unpackhi_ps(a[i], a[i + 1]);
  }
  __m256 c[8];
#pragma GCC unroll 2
  for (int i = 0; i < 8; i += 4) {
    c[i] = _mm256_shuffle_ps(b[i], b[i + 2], 0x44);
    c[i + 1] = _mm256_shuffle_ps(b[i], b[i + 2], 0xee);
    c[i + 2] = _mm256_shuffle_ps(b[i + 1], b[i + 3], 0x44);
    c[i + 3] = _mm256_shuffle_ps(b[i + 1], b[i + 3], 0xee);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) {
    a[i] = _mm256_permute2f128_ps(c[i], c[i + 4], 0x20);
    a[i + 4] = _mm256_permute2f128_ps(c[i], c[i + 4], 0x31);
  }
}

static void turn_4(const float *x, int64_t sx, float *y, int64_t sy) {
  __m256 a[8];
#pragma GCC unroll 8
  for (int i = 0; i < 8; i++) a[i] = _mm256_loadu_ps(x + i * sx);
  exchange(a);
#pragma GCC unroll 8
  for (int i = 0; i < 8; i++) _mm256_storeu_ps(y + i * sy, a[i]);
}

/* At most 8 by 8 at the edges: m rows of n elements of y. AVX2's masked stores take longer than the
 * elements one by one. */
static void turn_part_4(const float *x, int64_t sx, float *y, int64_t sy, int64_t m, int64_t n) {
#ifdef __AVX512F__
  const __mmask8 in = (__mmask8)((1u << m) - 1), out = (__mmask8)((1u << n) - 1);
  __m256 a[8];
#pragma GCC unroll 8
  for (int i = 0; i < 8; i++) a[i] = _mm256_maskz_loadu_ps(in, i < n ? x + i * sx : x);
  exchange(a);
#pragma GCC unroll 8
  for (int i = 0; i < 8; i++)
    if (i < m) _mm256_mask_storeu_ps(y + i * sy, out, a[i]);
#else
  for (int64_t i = 0; i < m; i++)
    for (int64_t j = 0; j < n; j++) y[i * sy + j] = x[j * sx + i];
#endif
}

#define TURN(B, T)                                                                                 \
  static void turn_##B(const T *x, int64_t sx, T *y, int64_t sy) {                                 \
    for (int i = 0; i < 8; i++)                                                                    \
      for (int j = 0; j < 8; j++) y[i * sy + j] = x[j * sx + i];                                   \
  }                                                                                                \
  static void turn_part_##B(const T *x, int64_t sx, T *y, int64_t sy, int64_t m, int64_t n) {      \
    for (int64_t i = 0; i < m; i++)                                                                \
      for (int64_t j = 0; j < n; j++) y[i * sy + j] = x[j * sx + i];                               \
  }
TURN(1, uint8_t)
TURN(2, uint16_t)
TURN(8, uint64_t)

/* Two blocks of rows of y at a time use a whole cache line of each row of x. */
#define TRANSPOSE(B, T)                                                                            \
  static void flip_##B(const T *x, int64_t sx, T *y, int64_t sy, int64_t m, int64_t n) {           \
    for (int64_t i = 0; i < m; i += 16)                                                            \
      for (int64_t j = 0; j < n; j += 8)                                                           \
        for (int64_t r = i; r < MIN(m, i + 16); r += 8) {                                          \
          int64_t rows = MIN(m - r, (int64_t)8), columns = MIN(n - j, (int64_t)8);                 \
          if (rows == 8 && columns == 8)                                                           \
            turn_##B(x + j * sx + r, sx, y + r * sy + j, sy);                                      \
          else                                                                                     \
            turn_part_##B(x + j * sx + r, sx, y + r * sy + j, sy, rows, columns);                  \
        }                                                                                          \
  }                                                                                                \
  FN(transpose_##B) {                                                                              \
    flip_##B(p[0], v[2], p[1], v[3], v[0], v[1]);                                                  \
    return 0;                                                                                      \
  }
TRANSPOSE(1, uint8_t)
TRANSPOSE(2, uint16_t)
TRANSPOSE(4, float)
TRANSPOSE(8, uint64_t)

/* ---- copies, fills, gathers ---- */

/* A hostile plan can let operands overlap: then the result is anybody's guess, but memcpy's would
 * be undefined. */

/* Rows of whole vectors up to this length are not worth a call each. */
enum { SHORT = 128 };
static void copy_short(const float *x, float *y, int64_t m, int64_t n, int64_t sx, int64_t sy) {
  if (n == 16)
    for (int64_t i = 0; i < m; i++) copy_4(y + i * sy, x + i * sx, 16);
  else
    for (int64_t i = 0; i < m; i++) copy_4(y + i * sy, x + i * sx, n);
}

#define MOVE(B, T)                                                                                 \
  static void spread_##B(T *y, int64_t n, T a) {                                                   \
    for (int64_t j = 0; j < n; j++) y[j] = a;                                                      \
  }                                                                                                \
  static void copy_rows_##B(const T *x, T *y, int64_t m, int64_t n, int64_t sx, int64_t sy) {      \
    if (sx == n && sy == n && m > 1) n *= m, m = 1;                                                \
    if (sizeof(T) == sizeof(float) && n <= SHORT) {                                                \
      copy_short((const void *)x, (void *)y, m, n, sx, sy);                                        \
      return;                                                                                      \
    }                                                                                              \
    for (int64_t i = 0; i < m && n > 0; i++)                                                       \
      memmove(y + i * sy, x + i * sx, (size_t)n * sizeof(T));                                      \
  }                                                                                                \
  FN(copy_##B) {                                                                                   \
    const T *x = p[0];                                                                             \
    T *y = p[1];                                                                                   \
    int64_t m = v[0], n = v[1], sx = v[2], cx = v[3], sy = v[4], cy = v[5];                        \
    if (m == 0 || n == 0) return 0;                                                                \
    if (cx == 1 && cy == 1)                                                                        \
      copy_rows_##B(x, y, m, n, sx, sy);                                                           \
    else if (sx == 1 && cy == 1 && cx > 1)                                                         \
      flip_##B((const void *)x, cx, (void *)y, sy, m, n);                                          \
    else if (sy == 1 && cx == 1 && cy > 1)                                                         \
      flip_##B((const void *)x, sx, (void *)y, cy, n, m);                                          \
    else if (cx == 0 && cy == 1)                                                                   \
      for (int64_t i = 0; i < m; i++) spread_##B(y + i * sy, n, x[i * sx]);                        \
    else                                                                                           \
      for (int64_t i = 0; i < m; i++)                                                              \
        for (int64_t j = 0; j < n; j++) y[i * sy + j * cy] = x[i * sx + j * cx];                   \
    return 0;                                                                                      \
  }                                                                                                \
  FN(fill_##B) {                                                                                   \
    int64_t m = v[0], n = v[1], sy = v[2];                                                         \
    if (sy == n && m > 1) n *= m, m = 1;                                                           \
    for (int64_t i = 0; i < m && n > 0; i++) spread_##B((T *)p[0] + i * sy, n, (T)v[3]);           \
    return 0;                                                                                      \
  }                                                                                                \
  FN(gather_##B) {                                                                                 \
    const int64_t *index = p[1];                                                                   \
    int64_t m = v[0], n = v[1], rows = v[2], st = v[3], sy = v[4];                                 \
    size_t bytes = (size_t)n * sizeof(T);                                                          \
    int status = 0;                                                                                \
    for (int64_t i = 0; i < m; i++) {                                                              \
      int64_t r = index[i] < 0 ? index[i] + rows : index[i];                                       \
      if (r < 0 || r >= rows) status = UKR_RANGE;                                                  \
      if (n == 0) continue;                                                                        \
      T *y = (T *)p[2] + i * sy;                                                                   \
      if (r < 0 || r >= rows)                                                                      \
        memset(y, 0, bytes);                                                                       \
      else                                                                                         \
        memmove(y, (const T *)p[0] + r * st, bytes);                                               \
    }                                                                                              \
    return status;                                                                                 \
  }
MOVE(1, uint8_t)
MOVE(2, uint16_t)
MOVE(4, uint32_t)
MOVE(8, uint64_t)

/* ---- panels ---- */

FN(gather_panels_4) {
  const int64_t *index = p[1];
  int64_t m = v[0], n = v[1], rows = v[2], panels = v[3], st = v[4], nr = v[5], sy = n ? v[6] : 0;
  int status = 0;
  for (int64_t i = 0; i < m; i++) {
    int64_t r = index[i] < 0 ? index[i] + rows : index[i];
    uint32_t *y = (uint32_t *)p[2] + i * sy;
    if (r < 0 || r >= rows || nr <= 0 || r / nr >= panels) {
      status = UKR_RANGE;
      for (int64_t j = 0; j < n; j++) y[j] = 0;
      continue;
    }
    const uint32_t *x = (const uint32_t *)p[0] + r / nr * st + r % nr;
    for (int64_t j = 0; j < n; j++) y[j] = x[j * nr];
  }
  return status;
}

/* What follows n elements of a row is often packed next (the next panel, the next head): bring it
 * into L2, whether it exists or not. Attention on values in L3 takes 0.93 of the time without. */
INLINE void fetch_behind(const float *x, int64_t n) {
  for (int64_t j = 0; j < n; j += 16)
    _mm_prefetch((const char *)((uintptr_t)x + 4 * (uintptr_t)(n + j)), _MM_HINT_T1);
}

FN(pack_4) {
  const float *x = p[0];
  float *y = p[1];
  int64_t k = v[0], sk = v[2], sn = v[3], nr = v[4], n = MIN(v[1], nr);
  if (n > 0 && sk == 1 && sn != 1) {
    flip_4(x, sn, y, nr, k, n);
    for (int64_t j = 0; j < n; j++) fetch_behind(x + j * sn, k);
  }
  for (int64_t l = 0; l < k && nr > 0; l++, y += nr) {
    if (sn == 1 && n > 0) {
      copy_4(y, x + l * sk, n);
      fetch_behind(x + l * sk, n);
    } else if (sk != 1) {
      for (int64_t j = 0; j < n; j++) y[j] = x[l * sk + j * sn];
    }
    zero_4(y + n, nr - n);
  }
  return 0;
}

FN(border_4) {
  int64_t nq = v[0], h = v[1], w = v[2], sq = v[3], sh = v[4], rows = v[5], n = v[6], sy = v[7];
  const int64_t first = v[8] * v[9] - v[10], left = MIN(v[11], n), used = MIN(w, n - left);
  for (int64_t q = 0; q < nq; q++)
    for (int64_t i = 0; i < rows; i++) {
      int64_t r = first + i;
      float *y = (float *)p[1] + q * sy + i * n;
      if (r < 0 || r >= h) {
        zero_4(y, n);
        continue;
      }
      zero_4(y, left);
      copy_4(y + left, (const float *)p[0] + q * sq + r * sh, used);
      zero_4(y + left + used, n - left - used);
    }
  return 0;
}
