/* Reference of the movement kernels. */
#include "ukr_impl.h"

#include <string.h>

#define MOVE(B, T)                                                                                 \
  FN(copy_##B) {                                                                                   \
    const T *x = p[0];                                                                             \
    T *y = p[1];                                                                                   \
    int64_t m = v[0], n = v[1], sx = v[2], cx = v[3], sy = v[4], cy = v[5];                        \
    for (int64_t i = 0; i < m; i++)                                                                \
      for (int64_t j = 0; j < n; j++) y[i * sy + j * cy] = x[i * sx + j * cx];                     \
    return 0;                                                                                      \
  }                                                                                                \
  FN(transpose_##B) {                                                                              \
    const T *x = p[0];                                                                             \
    T *y = p[1];                                                                                   \
    int64_t m = v[0], n = v[1], sx = v[2], sy = v[3];                                              \
    for (int64_t i = 0; i < m; i++)                                                                \
      for (int64_t j = 0; j < n; j++) y[i * sy + j] = x[j * sx + i];                               \
    return 0;                                                                                      \
  }                                                                                                \
  FN(fill_##B) {                                                                                   \
    T *y = p[0];                                                                                   \
    int64_t m = v[0], n = v[1], sy = v[2];                                                         \
    for (int64_t i = 0; i < m; i++)                                                                \
      for (int64_t j = 0; j < n; j++) y[i * sy + j] = (T)v[3];                                     \
    return 0;                                                                                      \
  }                                                                                                \
  FN(gather_##B) {                                                                                 \
    const T *t = p[0];                                                                             \
    const int64_t *index = p[1];                                                                   \
    T *y = p[2];                                                                                   \
    int64_t m = v[0], n = v[1], rows = v[2], st = v[3], sy = v[4];                                 \
    int status = 0;                                                                                \
    for (int64_t i = 0; i < m; i++) {                                                              \
      int64_t r = index[i] < 0 ? index[i] + rows : index[i];                                       \
      bool inside = r >= 0 && r < rows;                                                            \
      if (!inside) status = UKR_RANGE;                                                             \
      for (int64_t j = 0; j < n; j++) y[i * sy + j] = inside ? t[r * st + j] : 0;                  \
    }                                                                                              \
    return status;                                                                                 \
  }
MOVE(1, uint8_t)
MOVE(2, uint16_t)
MOVE(4, uint32_t)
MOVE(8, uint64_t)

FN(gather_panels_4) {
  const uint32_t *t = p[0];
  const int64_t *index = p[1];
  uint32_t *y = p[2];
  int64_t m = v[0], n = v[1], rows = v[2], panels = v[3], st = v[4], nr = v[5], sy = v[6];
  int status = 0;
  for (int64_t i = 0; i < m; i++) {
    int64_t r = index[i] < 0 ? index[i] + rows : index[i];
    bool inside = r >= 0 && r < rows && nr > 0 && r / nr < panels;
    if (!inside) status = UKR_RANGE;
    for (int64_t j = 0; j < n; j++) y[i * sy + j] = inside ? t[r / nr * st + j * nr + r % nr] : 0;
  }
  return status;
}

FN(pack_4) {
  const uint32_t *x = p[0];
  uint32_t *y = p[1];
  int64_t k = v[0], sk = v[2], sn = v[3], nr = v[4], n = MIN(v[1], nr);
  for (int64_t l = 0; l < k; l++)
    for (int64_t j = 0; j < nr; j++) y[l * nr + j] = j < n ? x[l * sk + j * sn] : 0;
  return 0;
}

FN(border_4) {
  const float *x = p[0];
  float *y = p[1];
  int64_t nq = v[0], h = v[1], w = v[2], sq = v[3], sh = v[4], rows = v[5], n = v[6], sy = v[7];
  int64_t first = v[8] * v[9] - v[10], left = v[11];
  for (int64_t q = 0; q < nq; q++)
    for (int64_t i = 0; i < rows; i++)
      for (int64_t j = 0; j < n; j++) {
        int64_t r = first + i, c = j - left;
        bool inside = r >= 0 && r < h && c >= 0 && c < w;
        y[q * sy + i * n + j] = inside ? x[q * sq + r * sh + c] : 0;
      }
  return 0;
}
