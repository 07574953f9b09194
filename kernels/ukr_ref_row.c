/* Reference of the row kernels; sums in double. An empty row reduces to the neutral element. */
#include "ukr_impl.h"

#include <math.h>

/* Of an empty row nothing bounds the stride. */
#define REDUCE(name, start, expr)                                                                  \
  FN(name) {                                                                                       \
    int64_t m = v[0], n = v[1], sx = n ? v[2] : 0, sy = v[3];                                      \
    for (int64_t i = 0; i < m; i++) {                                                              \
      const float *x = (const float *)p[0] + i * sx;                                               \
      double r = (start);                                                                          \
      for (int64_t j = 0; j < n; j++) {                                                            \
        double a = (double)x[j];                                                                   \
        r = (expr);                                                                                \
      }                                                                                            \
      ((float *)p[1])[i * sy] = (float)r;                                                          \
    }                                                                                              \
    return 0;                                                                                      \
  }
REDUCE(rowsum_f32, 0, r + a)
REDUCE(rowsumsq_f32, 0, r + a * a)
REDUCE(rowmax_f32, -INFINITY, isunordered(r, a) ? r + a : fmax(r, a))
REDUCE(rowmin_f32, INFINITY, isunordered(r, a) ? r + a : fmin(r, a))
REDUCE(rowprod_f32, 1, r *a)

/* With guard, 0 stands for the maximum of a row of -inf: its exponentials and their sum are 0. */
static void softmax_row(const float *x, float *y, int64_t n, double scale, bool guard) {
  double max = (double)-INFINITY, sum = 0;
  for (int64_t j = 0; j < n; j++) max = fmax(max, (double)x[j] * scale);
  if (guard && isinf(max) && max < 0) max = 0;
  for (int64_t j = 0; j < n; j++) sum += exp((double)x[j] * scale - max);
  double inv = guard && sum == 0 ? 0 : 1 / sum;
  for (int64_t j = 0; j < n; j++) y[j] = (float)(exp((double)x[j] * scale - max) * inv);
}

FN(softmax_f32) {
  int64_t m = v[0], n = v[1], sx = v[2], sy = v[3];
  for (int64_t i = 0; i < m && n > 0; i++)
    softmax_row((const float *)p[0] + i * sx, (float *)p[1] + i * sy, n, (double)ukr_float(v[4]),
                v[5]);
  return 0;
}

static void layernorm_row(const float *x, const float *g, const float *b, float *y, int64_t n,
                          float eps) {
  double mean = 0, var = 0;
  for (int64_t j = 0; j < n; j++) mean += (double)x[j];
  mean /= (double)n;
  for (int64_t j = 0; j < n; j++) var += ((double)x[j] - mean) * ((double)x[j] - mean);
  double inv = 1 / sqrt(var / (double)n + (double)eps);
  for (int64_t j = 0; j < n; j++)
    y[j] = (float)(((double)x[j] - mean) * inv * (double)g[j] + (double)b[j]);
}

FN(rmsnorm_f32) {
  const float *g = p[1];
  int64_t m = v[0], n = v[1], sx = v[2], sy = v[3];
  for (int64_t i = 0; i < m && n > 0; i++) {
    const float *x = (const float *)p[0] + i * sx;
    float *y = (float *)p[2] + i * sy;
    double sum = 0;
    for (int64_t j = 0; j < n; j++) sum += (double)x[j] * (double)x[j];
    double inv = 1 / sqrt(sum / (double)n + (double)ukr_float(v[4]));
    for (int64_t j = 0; j < n; j++) y[j] = (float)((double)x[j] * inv * (double)g[j]);
  }
  return 0;
}

FN(layernorm_f32) {
  const float *g = p[1], *b = p[2];
  int64_t m = v[0], n = v[1], sx = v[2], sy = v[3];
  for (int64_t i = 0; i < m && n > 0; i++)
    layernorm_row((const float *)p[0] + i * sx, g, b, (float *)p[3] + i * sy, n, ukr_float(v[4]));
  return 0;
}

FN(rope_f32) {
  int64_t m = v[0], h = v[1], n = v[2];
  for (int64_t i = 0; i < m; i++)
    for (int64_t k = 0; k < h; k++)
      for (int64_t j = 0; j < n; j++) {
        const float *x = (const float *)p[0] + i * v[3] + k * v[4] + j;
        const float *c = (const float *)p[1] + i * v[5] + j,
                    *s = (const float *)p[2] + i * v[7] + j;
        float *y = (float *)p[3] + i * v[9] + k * v[10] + j;
        double x0 = (double)x[0], x1 = (double)x[n];
        double y1 = x1 * (double)c[v[6]] + x0 * (double)s[v[8]];
        y[0] = (float)(x0 * (double)*c - x1 * (double)*s);
        y[n] = (float)y1;
      }
  return 0;
}
