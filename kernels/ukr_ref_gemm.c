/* Reference of the gemm rows: one loop for all register tiles. */
#include "ukr_impl.h"

/* Where column j is, when blocks of 16 are h apart. */
static int64_t at(int64_t j, int64_t h) { return j / 16 * h + j % 16; }

/* h: from a block of columns to the next in d, c and e; and what is left out of the last k. */
static int gemm(void *const *p, const int64_t *v, int64_t width, int64_t n, const int64_t h[4]) {
  const float *a = p[0], *b = p[1], *d = p[2];
  const float *e = p[5], lo = ukr_float(v[18]), hi = ukr_float(v[19]);
  float *c = p[3];
  int64_t m = v[0], k = v[2], sa = v[3], ka = v[4], sd = v[5], sc = v[6], mode = v[7];
  int64_t nq = v[9], qa = v[10], qb = v[11], nr = v[12], ra = v[13], rb = v[14];
  for (int64_t i = 0; i < m; i++)
    for (int64_t j = 0; j < n; j++) {
      float sum = mode ? d[i * sd + at(j, h[0])] : 0;
      for (int64_t q = 0; q < nq; q++)
        for (int64_t r = 0; r < nr; r++)
          for (int64_t l = 0; l < k - (q == nq - 1 ? h[3] : 0); l++)
            sum += a[i * sa + q * qa + r * ra + l * ka] * b[q * qb + r * rb + l * width + j];
      if (v[16]) sum += e[i * v[15] + at(j, h[2])];
      if (v[17] && sum < lo) sum = lo;
      if (v[17] && sum > hi) sum = hi;
      c[i * sc + at(j, h[1])] = sum;
    }
  return 0;
}

#define GEMM(MR, NR)                                                                               \
  FN(gemm_##MR##x##NR) { return gemm(p, v, NR, v[1], (int64_t[]){16, 16, 16, 0}); }
#include "ukr_gemm.def"
#undef GEMM
FN(gemm_blocks_14x32) { return gemm(p, v, 32, 16 * v[1], v + 20); }
