/* Accuracy of the elementary functions on every ISA of this machine, against libm in double: the
 * greatest error over evenly spaced bit patterns, so all exponents, signs, denormals and NaNs.
 * With an argument, a step between patterns: 1 takes all floats (minutes). */
#include "unit.h"

#include <math.h>
#include <string.h>

#include "../../kernels/ukr.h"

static double sigmoid(double x) { return 1 / (1 + exp(-x)); }
static double silu(double x) { return x < -1e30 ? 0 : x / (1 + exp(-x)); }
static double gelu(double x) { return x < -1e30 ? 0 : x / 2 * erfc(-x * M_SQRT1_2); }
static double gelu_tanh(double x) {
  return x < -1e30 ? 0 : x / (1 + exp(-2 * M_2_SQRTPI * M_SQRT1_2 * (x + 0.044715 * x * x * x)));
}
static double softplus(double x) { return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x)); }

/* Function, reference, greatest error in units in the last place. */
static const struct row {
  enum ukr_id id;
  double (*f)(double);
  double ulp;
} rows[] = {
    {UKR_exp_f32, exp, 1.1},
    {UKR_log_f32, log, 2},
    {UKR_erf_f32, erf, 2},
    {UKR_tanh_f32, tanh, 3},
    {UKR_sigmoid_f32, sigmoid, 3},
    {UKR_gelu_f32, gelu, 5},
    {UKR_gelu_tanh_f32, gelu_tanh, 4},
    {UKR_silu_f32, silu, 4},
    {UKR_sin_f32, sin, 2},
    {UKR_cos_f32, cos, 2},
    {UKR_softplus_f32, softplus, 2},
};

static double ulps(float got, double want) {
  if (isnan(want)) return isnan(got) ? 0 : INFINITY;
  if (got == (float)want) return got == want || isinf(got) ? 0 : 0.5;
  float a = fabsf((float)want);
  if (isinf(a)) return INFINITY;
  return fabs((double)got - want) / (double)(nextafterf(a, INFINITY) - a);
}

enum { CHUNK = 1024 };
static uint32_t stride = 8191;

/* Greatest error of one row on one ISA, and where it is. */
static double worst(const struct row *row, enum isa isa, float *at, float *got) {
  float x[CHUNK], y[CHUNK];
  double max = -1;
  for (uint64_t bits = 0; bits <= UINT32_MAX;) {
    int64_t n = 0;
    for (; n < CHUNK && bits <= UINT32_MAX; n++, bits += stride) {
      uint32_t u = (uint32_t)bits;
      memcpy(&x[n], &u, 4);
    }
    ukr_table(isa)[row->id]((void *[]){x, y}, (int64_t[]){1, n, n, 1, n});
    for (int64_t i = 0; i < n; i++) {
      double e = ulps(y[i], row->f((double)x[i]));
      if (e > max) max = e, *at = x[i], *got = y[i];
    }
  }
  return max;
}

START_TEST(functions_are_accurate) {
  for (int isa = ISA_AVX2; isa < ISA_COUNT; isa++) {
    if (!cpu_has((enum isa)isa)) continue;
    for (size_t i = 0; i < COUNT(rows); i++) {
      float at = 0, got = 0;
      double e = worst(&rows[i], (enum isa)isa, &at, &got);
      if (stride < 8191)
        printf("%s %s: %.2f ULP at %a\n", isa_name((enum isa)isa), ukr_sig(rows[i].id)->name, e,
               (double)at);
      ck_assert_msg(e <= rows[i].ulp, "%s on %s: %.2f ULP at %a (%a)", ukr_sig(rows[i].id)->name,
                    isa_name((enum isa)isa), e, (double)at, (double)got);
    }
  }
}
END_TEST

/* The exponential inside of softmax_cols, of values <= 0: columns of 0 and x become 1 and exp(x).
 */
START_TEST(weights_are_accurate) {
  static float x[2][CHUNK], s[3][CHUNK], old[CHUNK];
  for (int isa = ISA_AVX2; isa < ISA_COUNT; isa++)
    for (uint64_t bits = 0x80000000u; cpu_has((enum isa)isa) && bits <= 0xff800000u;) {
      int64_t n = 0;
      memset(x, 0, sizeof x);
      for (; n < CHUNK && bits <= 0xff800000u; n++, bits += stride) {
        uint32_t u = (uint32_t)bits;
        memcpy(&x[1][n], &u, 4);
      }
      memcpy(old, x[1], sizeof old);
      ukr_table((enum isa)isa)[UKR_softmax_cols_f32]((void *[]){x, s},
                                                     (int64_t[]){2, n, CHUNK, CHUNK, 1, 1, 0});
      for (int64_t i = 0; i < n; i++) {
        double e = ulps(x[1][i], exp((double)old[i]));
        ck_assert_msg(x[0][i] == 1 && e <= 3, "%s: %.2f ULP at %a", isa_name((enum isa)isa), e,
                      (double)old[i]);
      }
    }
}
END_TEST

int main(int argc, char **argv) {
  const TTest *const tests[] = {functions_are_accurate, weights_are_accurate};
  if (argc > 1) stride = (uint32_t)strtoul(argv[1], NULL, 10);
  if (stride == 0) stride = 1;
  return unit_main("ukr_math", tests, COUNT(tests));
}
