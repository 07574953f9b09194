/* Fast resampling: rows of neighbours as vectors, four taps at a time; where rows are single
 * elements, line by line. */
#include "ukr_resample.h"
#include "ukr_vec.h"

/* y = (first ? c : y) + sum of `taps` rows of x. */
INLINE void mix(const float *const *x, const float *w, const int taps, bool first, float c,
                float *y, int64_t n) {
  for (int64_t l = 0; l < n; l += VW) {
    int64_t part = MIN(n - l, (int64_t)VW);
    vm m = vm_first(part);
    vf acc = first ? vf_set1(c) : vf_loadm(y + l, m);
    for (int t = 0; t < taps; t++) acc = vf_fma(vf_loadm(x[t] + l, m), vf_set1(w[t]), acc);
    vf_storen(y + l, part, acc);
  }
}

static void mix_up_to_4(const float *const *x, const float *w, int64_t taps, bool first, float c,
                        float *y, int64_t n) {
  if (taps == 4) mix(x, w, 4, first, c, y, n);
  if (taps == 3) mix(x, w, 3, first, c, y, n);
  if (taps == 2) mix(x, w, 2, first, c, y, n);
  if (taps == 1) mix(x, w, 1, first, c, y, n);
  if (taps == 0) mix(x, w, 0, first, c, y, n);
}

struct table {
  const int64_t *index;
  const float *weight, *start;
  int64_t m, k, st;
};

static void by_rows(const float *x, int64_t sx, const struct table *a, float *y, int64_t sy,
                    int64_t n) {
  for (int64_t j = 0; j < a->m; j++)
    for (int64_t t = 0; t == 0 || t < a->k; t += 4) {
      const float *row[4] = {x, x, x, x};
      float w[4] = {0};
      int64_t taps = MIN(a->k - t, 4);
      for (int64_t i = 0; i < taps; i++) {
        row[i] = x + a->index[(t + i) * a->st + j] * sx;
        w[i] = a->weight[(t + i) * a->st + j];
      }
      mix_up_to_4(row, w, taps, t == 0, a->start[j], y + j * sy, n);
    }
}

INLINE void line(const float *x, int64_t sx, const struct table *a, const int64_t taps, float *y,
                 int64_t sy) {
  for (int64_t j = 0; j < a->m; j++) {
    float sum = a->start[j];
    for (int64_t t = 0; t < taps; t++)
      sum += a->weight[t * a->st + j] * x[a->index[t * a->st + j] * sx];
    y[j * sy] = sum;
  }
}

static void by_lines(const float *x, int64_t sx, const struct table *a, float *y, int64_t sy) {
  if (a->k == 1)
    line(x, sx, a, 1, y, sy);
  else if (a->k == 2)
    line(x, sx, a, 2, y, sy);
  else if (a->k == 4)
    line(x, sx, a, 4, y, sy);
  else
    line(x, sx, a, a->k, y, sy);
}

FN(resample_f32) {
  int64_t n = v[1], sx = v[5], cx = v[6], sy = v[7], cy = v[8];
  const struct table a = {p[1], p[2], p[3], v[0], v[2], v[3]};
  if (!resample_fits(p, v)) return UKR_RANGE;
  if (n > 1 && cx == 1 && cy == 1) {
    by_rows(p[0], sx, &a, p[4], sy, n);
    return 0;
  }
  for (int64_t l = 0; l < n; l++)
    by_lines((const float *)p[0] + l * cx, sx, &a, (float *)p[4] + l * cy, sy);
  return 0;
}
