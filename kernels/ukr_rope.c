/* Rotary position embedding: pairs of elements, half a head apart, turn by an angle of their row
 * and column. Both of a pair are read before either is written, so the result may take x's place.
 */
#include "ukr_math.h"

/* The n pairs of one head: y0 = x0 c0 - x1 s0, y1 = x1 c1 + x0 s1. */
INLINE void turn(const float *x, const float *c, int64_t cc, const float *s, int64_t cs, float *y,
                 int64_t n) {
  int64_t j = 0;
  for (; j <= n - VW; j += VW) {
    vf x0 = vf_load(x + j), x1 = vf_load(x + n + j);
    vf y0 = vf_fnma(x1, vf_load(s + j), vf_mul(x0, vf_load(c + j)));
    vf y1 = vf_fma(x0, vf_load(s + cs + j), vf_mul(x1, vf_load(c + cc + j)));
    vf_store(y + j, y0);
    vf_store(y + n + j, y1);
  }
  if (j == n) return;
  vm part = vm_first(n - j);
  vf x0 = vf_loadm(x + j, part), x1 = vf_loadm(x + n + j, part);
  vf y0 = vf_fnma(x1, vf_loadm(s + j, part), vf_mul(x0, vf_loadm(c + j, part)));
  vf y1 = vf_fma(x0, vf_loadm(s + cs + j, part), vf_mul(x1, vf_loadm(c + cc + j, part)));
  vf_storem(y + j, part, y0);
  vf_storem(y + n + j, part, y1);
}

FN(rope_f32) {
  int64_t m = v[0], h = v[1], n = v[2];
  if (n == 0 || h == 0) return 0; /* then nothing bounds the strides */
  for (int64_t i = 0; i < m; i++) {
    const float *x = (const float *)p[0] + i * v[3], *c = (const float *)p[1] + i * v[5];
    const float *s = (const float *)p[2] + i * v[7];
    float *y = (float *)p[3] + i * v[9];
    for (int64_t k = 0; k < h; k++) turn(x + k * v[4], c, v[6], s, v[8], y + k * v[10], n);
  }
  return 0;
}
