/* Fast row kernels: four accumulators hide the latency of an addition and, with the lanes, make
 * sums nearly pairwise: 64 (AVX-512) or 32 partial sums. A row is at most m n < 2^47 long. */
#include "ukr_math.h"

#include <math.h>

/* ---- reductions: whole vectors first, then one part of a vector filled up with `start` ---- */

/* Of an empty row nothing bounds the stride. */
#define REDUCE(name, start, load, op, end)                                                         \
  INLINE float reduce_##name(const float *x, int64_t n) {                                          \
    vf r[4], first = vf_set1(start);                                                               \
    r[0] = r[1] = r[2] = r[3] = first;                                                             \
    int64_t j = 0;                                                                                 \
    for (; j <= n - 4 * VW; j += 4 * VW) {                                                         \
      _Pragma("GCC unroll 4") for (int i = 0; i < 4; i++) {                                        \
        vf a = vf_load(x + j + i * VW);                                                            \
        r[i] = op(load(a), r[i]);                                                                  \
      }                                                                                            \
    }                                                                                              \
    for (; j <= n - VW; j += VW) {                                                                 \
      vf a = vf_load(x + j);                                                                       \
      r[0] = op(load(a), r[0]);                                                                    \
    }                                                                                              \
    if (j < n) {                                                                                   \
      vm part = vm_first(n - j);                                                                   \
      vf a = vf_loadm(x + j, part);                                                                \
      r[1] = op(vf_sel(part, load(a), first), r[1]);                                               \
    }                                                                                              \
    return end(op(op(r[0], r[1]), op(r[2], r[3])));                                                \
  }                                                                                                \
  FN(name) {                                                                                       \
    int64_t m = v[0], n = v[1], sx = n ? v[2] : 0, sy = v[3];                                      \
    for (int64_t i = 0; i < m; i++)                                                                \
      ((float *)p[1])[i * sy] = reduce_##name((const float *)p[0] + i * sx, n);                    \
    return 0;                                                                                      \
  }

INLINE vf same(vf a) { return a; }
INLINE vf square(vf a) { return vf_mul(a, a); }
/* NaN if either is. */
INLINE vf max_nan(vf a, vf b) { return vf_sel(vf_isnan(a), a, vf_max(a, b)); }
INLINE vf min_nan(vf a, vf b) { return vf_sel(vf_isnan(a), a, vf_min(a, b)); }
INLINE float end_max(vf a) { return vm_any(vf_isnan(a)) ? NAN : vf_hmax(a); }
INLINE float end_min(vf a) { return vm_any(vf_isnan(a)) ? NAN : vf_hmin(a); }

REDUCE(rowsum_f32, 0, same, vf_add, vf_hsum)
REDUCE(rowsumsq_f32, 0, square, vf_add, vf_hsum)
REDUCE(rowmax_f32, -INFINITY, same, max_nan, end_max)
REDUCE(rowmin_f32, INFINITY, same, min_nan, end_min)
REDUCE(rowprod_f32, 1, same, vf_mul, vf_hprod)

/* ---- softmax ---- */

enum { SUM_BLOCK = 8 * VW };

/* NaN elements are passed over: their exponentials make the sum NaN anyway. */
static float max_scaled(const float *x, int64_t n, float scale) {
  vf r[2], s = vf_set1(scale);
  r[0] = r[1] = vf_set1(-INFINITY);
  int64_t j = 0;
  for (; j <= n - 2 * VW; j += 2 * VW) {
    r[0] = vf_max(vf_mul(vf_load(x + j), s), r[0]);
    r[1] = vf_max(vf_mul(vf_load(x + j + VW), s), r[1]);
  }
  for (; j < n; j += VW) {
    vm part = vm_first(MIN(n - j, (int64_t)VW));
    vf a = vf_mul(vf_loadm(x + j, part), s);
    r[0] = vf_sel(part, vf_max(a, r[0]), r[0]);
  }
  return vf_hmax(vf_max(r[0], r[1]));
}

/* exp(x scale - top) to full precision, which rounding x scale - top to a float would lose where it
 * is far below 0. With x scale = n ln 2 + r it is exp(r) 2^(n - shift), shift standing for top: top
 * has to be taken from x scale only where that is large, and there it leaves no rounding error. */
struct softmax_row {
  vf scale, base, shift;
  vf floor; /* below top - 112 even x exp(x) is 0 */
};

INLINE struct softmax_row softmax_start(float scale, float top) {
  bool large = !(fabsf(top) <= 224);
  float base = large ? top : 0;
  return (struct softmax_row){vf_set1(scale), vf_set1(base),
                              vf_set1(large ? 0 : rintf(top * 0x1.715476p+0f)),
                              vf_set1(large ? -112 : top - 112)};
}

/* low: what x scale lost in rounding; of no use, and maybe NaN, where it isn't small. */
INLINE vf softmax_exp(const struct softmax_row *k, vf x) {
  vf n, p = vf_mul(x, k->scale), low = vf_fma(x, k->scale, vf_xor(p, vf_set1(-0.0f)));
  low = vf_max(vf_min(low, vf_set1(1)), vf_set1(-1));
  vf r = vf_add(exp_reduce(vf_max(k->floor, vf_sub(p, k->base)), &n), low);
  return vf_scale(vf_add(expm1_core(r), vf_set1(1)), vf_sub(n, k->shift));
}

/* y = exp(x scale - top); the sum of y. */
INLINE double exp_block(const struct softmax_row *k, const float *x, float *y, int64_t n) {
  vf sum[2];
  sum[0] = sum[1] = vf_set1(0);
  int64_t j = 0;
  for (; j <= n - 2 * VW; j += 2 * VW) {
    vf a = softmax_exp(k, vf_load(x + j)), b = softmax_exp(k, vf_load(x + j + VW));
    vf_store(y + j, a);
    vf_store(y + j + VW, b);
    sum[0] = vf_add(sum[0], a);
    sum[1] = vf_add(sum[1], b);
  }
  for (; j < n; j += VW) {
    vm part = vm_first(MIN(n - j, (int64_t)VW));
    vf a = softmax_exp(k, vf_loadm(x + j, part));
    vf_storem(y + j, part, a);
    sum[0] = vf_add(sum[0], vf_sel(part, a, vf_set1(0)));
  }
  return vf_sum2(sum[0], sum[1]);
}

/* By blocks, so that no sum in float has more than a few terms one after the other. */
static double exp_scaled(const float *x, float *y, int64_t n, const struct softmax_row *k) {
  double sum = 0;
  for (int64_t j = 0; j < n; j += SUM_BLOCK)
    sum += exp_block(k, x + j, y + j, MIN(n - j, (int64_t)SUM_BLOCK));
  return sum;
}

static void multiply(float *y, int64_t n, float by) {
  vf s = vf_set1(by);
  int64_t j = 0;
  for (; j <= n - VW; j += VW) vf_store(y + j, vf_mul(vf_load(y + j), s));
  if (j < n) vf_storen(y + j, n - j, vf_mul(vf_loadn(y + j, n - j), s));
}

/* With guard, 0 stands for the maximum of a row of -inf: its exponentials and their sum are 0. */
FN(softmax_f32) {
  int64_t m = v[0], n = v[1], sx = v[2], sy = v[3];
  float scale = ukr_float(v[4]);
  bool guard = v[5];
  for (int64_t i = 0; i < m && n > 0; i++) {
    const float *x = (const float *)p[0] + i * sx;
    float *y = (float *)p[1] + i * sy, max = max_scaled(x, n, scale);
    if (guard && max == -INFINITY) max = 0;
    const struct softmax_row k = softmax_start(scale, max);
    double sum = exp_scaled(x, y, n, &k);
    multiply(y, n, guard && sum == 0 ? 0 : (float)(1 / sum));
  }
  return 0;
}

/* ---- normalisation ---- */

/* 1 / sqrt(sum / n + eps), rounded once: it is a factor of the whole row. */
static float inverse_root(float sum, int64_t n, float eps) {
  return (float)(1 / sqrt((double)sum / (double)n + (double)eps));
}

/* Sums of d = x - mean and of its squares: the first says how far off the mean is. */
static float sum_squares(const float *x, int64_t n, float mean, float *rest) {
  vf r[2], d[2], mu = vf_set1(mean);
  r[0] = r[1] = d[0] = d[1] = vf_set1(0);
  int64_t j = 0;
  for (; j <= n - 2 * VW; j += 2 * VW) {
    vf a = vf_sub(vf_load(x + j), mu), b = vf_sub(vf_load(x + j + VW), mu);
    d[0] = vf_add(a, d[0]);
    d[1] = vf_add(b, d[1]);
    r[0] = vf_fma(a, a, r[0]);
    r[1] = vf_fma(b, b, r[1]);
  }
  for (; j < n; j += VW) {
    vm part = vm_first(MIN(n - j, (int64_t)VW));
    vf a = vf_sel(part, vf_sub(vf_loadm(x + j, part), mu), vf_set1(0));
    d[0] = vf_add(a, d[0]);
    r[0] = vf_fma(a, a, r[0]);
  }
  *rest = vf_hsum(vf_add(d[0], d[1]));
  return vf_hsum(vf_add(r[0], r[1]));
}

/* Two passes for the variance: one would cancel where the mean is large. */
static void layernorm_row(const float *x, const float *g, const float *b, float *y, int64_t n,
                          float eps) {
  float rest, mean = reduce_rowsum_f32(x, n) / (float)n, sq = sum_squares(x, n, mean, &rest);
  float inv = inverse_root(sq - rest * (rest / (float)n), n, eps);
  vf mu = vf_set1(mean), s = vf_set1(inv), back = vf_set1(-rest / (float)n * inv);
  int64_t j = 0;
  for (; j <= n - VW; j += VW) {
    vf a = vf_fma(vf_sub(vf_load(x + j), mu), s, back);
    vf_store(y + j, vf_fma(a, vf_load(g + j), vf_load(b + j)));
  }
  if (j == n) return;
  vm part = vm_first(n - j);
  vf a = vf_fma(vf_sub(vf_loadm(x + j, part), mu), s, back);
  vf_storem(y + j, part, vf_fma(a, vf_loadm(g + j, part), vf_loadm(b + j, part)));
}

FN(layernorm_f32) {
  const float *g = p[1], *b = p[2];
  int64_t m = v[0], n = v[1], sx = v[2], sy = v[3];
  for (int64_t i = 0; i < m && n > 0; i++)
    layernorm_row((const float *)p[0] + i * sx, g, b, (float *)p[3] + i * sy, n, ukr_float(v[4]));
  return 0;
}

static void rmsnorm_row(const float *x, const float *g, float *y, int64_t n, float eps) {
  vf s = vf_set1(inverse_root(reduce_rowsumsq_f32(x, n), n, eps));
  int64_t j = 0;
  for (; j <= n - VW; j += VW) vf_store(y + j, vf_mul(vf_mul(vf_load(x + j), s), vf_load(g + j)));
  if (j == n) return;
  vm part = vm_first(n - j);
  vf_storem(y + j, part, vf_mul(vf_mul(vf_loadm(x + j, part), s), vf_loadm(g + j, part)));
}

FN(rmsnorm_f32) {
  const float *g = p[1];
  int64_t m = v[0], n = v[1], sx = v[2], sy = v[3];
  for (int64_t i = 0; i < m && n > 0; i++)
    rmsnorm_row((const float *)p[0] + i * sx, g, (float *)p[2] + i * sy, n, ukr_float(v[4]));
  return 0;
}
