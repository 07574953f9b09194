/* Reference of the kernels for attention; sums in double. */
#include "ukr_impl.h"

#include <math.h>

struct column {
  float *x;
  int64_t k, sx, seen; /* rows from `seen` on are hidden */
};

static float seen(const struct column *c, int64_t j) {
  return j < c->seen ? c->x[j * c->sx] : -INFINITY;
}

/* Where all is -inf so far, 0 stands for the maximum: the exponentials are 0, not NaN. */
static void step(const struct column *c, float *s, int64_t ss, bool first) {
  float old = first ? -INFINITY : s[0], max = old;
  double sum = 0;
  for (int64_t j = 0; j < c->k; j++) max = seen(c, j) > max ? seen(c, j) : max;
  float top = max == -INFINITY ? 0 : max;
  float factor = (float)exp((double)(old - top));
  for (int64_t j = 0; j < c->k; j++) {
    double p = exp((double)(seen(c, j) - top));
    sum += p;
    c->x[j * c->sx] = (float)p;
  }
  s[0] = max;
  s[ss] = (float)((first ? 0 : (double)s[ss] * (double)factor) + sum);
  s[2 * ss] = factor;
}

FN(softmax_cols_f32) {
  int64_t k = v[0], n = v[1], sx = k ? v[2] : 0, row = v[5], key = v[6];
  for (int64_t i = 0; i < n; i++) {
    struct column c = {(float *)p[0] + i, k, sx, MAX(row + i - key + 1, 0)};
    step(&c, (float *)p[1] + i, v[3], v[4]);
  }
  return 0;
}

FN(dots_f32) {
  int64_t m = v[0], n = v[1], k = v[2], sa = k ? v[3] : 0, sb = k ? v[4] : 0, sc = v[5];
  for (int64_t i = 0; i < m; i++)
    for (int64_t j = 0; j < n; j++) {
      const float *a = (const float *)p[0] + i * sa, *b = (const float *)p[1] + j * sb;
      double s = 0;
      for (int64_t l = 0; l < k; l++) s += (double)a[l] * (double)b[l];
      ((float *)p[2])[i * sc + j] = (float)s;
    }
  return 0;
}

FN(mix_f32) {
  int64_t m = v[0], n = v[1], k = v[2], sa = k ? v[3] : 0, sb = v[4], sc = v[5];
  for (int64_t i = 0; i < m; i++)
    for (int64_t j = 0; j < n; j++) {
      const float *a = (const float *)p[0] + i * sa, *b = (const float *)p[1] + j;
      double s = 0;
      for (int64_t l = 0; l < k; l++) s += (double)a[l] * (double)b[l * sb];
      ((float *)p[2])[i * sc + j] = (float)s;
    }
  return 0;
}
