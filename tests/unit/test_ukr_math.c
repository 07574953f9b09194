/* Accuracy of the kernels in ukr_ulp.def on every ISA of this machine, against libm in double: for
 * functions the greatest error over evenly spaced bit patterns, so all exponents, signs, denormals
 * and NaNs; for rows that of random ones. With an argument, a step between patterns: 1 takes all
 * floats (minutes). */
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

static double recip(double x) { return 1 / x; }

/* Greatest error in units in the last place; 0: not in the table. */
static const double bound[UKR_COUNT] = {
#define ULP(name, bound) [UKR_##name] = (bound),
#include "../../kernels/ukr_ulp.def"
#undef ULP
};

static const struct row {
  enum ukr_id id;
  double (*f)(double);
} rows[] = {
    {UKR_sqrt_f32, sqrt},         {UKR_recip_f32, recip}, {UKR_exp_f32, exp},
    {UKR_log_f32, log},           {UKR_erf_f32, erf},     {UKR_tanh_f32, tanh},
    {UKR_sigmoid_f32, sigmoid},   {UKR_gelu_f32, gelu},   {UKR_gelu_tanh_f32, gelu_tanh},
    {UKR_silu_f32, silu},         {UKR_sin_f32, sin},     {UKR_cos_f32, cos},
    {UKR_softplus_f32, softplus},
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
      ck_assert_msg(e <= bound[rows[i].id], "%s on %s: %.2f ULP at %a (%a)",
                    ukr_sig(rows[i].id)->name, isa_name((enum isa)isa), e, (double)at, (double)got);
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

/* ---- two operands, and rows ---- */

static uint64_t state = 88172645463325252u;
static double uniform(void) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return (double)(state >> 11) * 0x1p-53;
}
/* Of either sign, over many orders of magnitude. */
static float wide(double orders) {
  return (float)((uniform() < 0.5 ? -1 : 1) * exp((uniform() - 0.5) * orders));
}

static int64_t float_bits(float f) {
  uint32_t u;
  memcpy(&u, &f, 4);
  return u;
}

static void hold(enum ukr_id id, enum isa isa, double e, double *max) {
  *max = fmax(*max, e);
  if (e > bound[id]) ck_abort_msg("%s on %s: %.2f ULP", ukr_sig(id)->name, isa_name(isa), e);
}

static void say(enum ukr_id id, enum isa isa, double max) {
  if (stride < 8191) printf("%s %s: %.2f ULP\n", isa_name(isa), ukr_sig(id)->name, max);
}

START_TEST(powers_are_accurate) {
  static const float exponents[] = {2, 3, 0.5f, -1, -0.5f, 1.7f};
  for (int isa = ISA_AVX2; isa < ISA_COUNT; isa++) {
    float x[CHUNK], y[CHUNK], z[CHUNK];
    double max = 0;
    for (int round = 0; round < 60 && cpu_has((enum isa)isa); round++) {
      bool one = round % 2;
      for (int i = 0; i < CHUNK; i++) {
        x[i] = fabsf(wide(60));
        y[i] = one ? exponents[round / 2 % COUNT(exponents)] : wide(6);
      }
      ukr_table((enum isa)isa)[UKR_pow_f32]((void *[]){x, y, z},
                                            (int64_t[]){1, CHUNK, CHUNK, 1, CHUNK, !one, CHUNK});
      for (int i = 0; i < CHUNK; i++) {
        double want = pow((double)x[i], (double)y[i]);
        if (want < 1e38) hold(UKR_pow_f32, (enum isa)isa, ulps(z[i], want), &max);
      }
    }
    say(UKR_pow_f32, (enum isa)isa, max);
  }
}
END_TEST

/* A row around an offset, its gain, and what the kernels make of it. */
enum { LONGEST = 4096 };
static struct line {
  int64_t n;
  double offset, spread;
  float scale;
  float x[LONGEST], g[LONGEST], zero[LONGEST], y[LONGEST];
} line;

static void draw_line(int round) {
  static const float scales[] = {1, 0.125f, 0.08838834764f, 0.3f, -0.7f, 2};
  line.n = 1 + (int64_t)(uniform() * (round % 10 ? 200 : LONGEST));
  line.spread = exp(uniform() * 9 - 4);
  line.offset = (uniform() - 0.5) * 8 * line.spread;
  line.scale = scales[round % (int)COUNT(scales)];
  for (int64_t i = 0; i < line.n; i++) {
    line.x[i] = (float)(line.offset + line.spread * (uniform() + uniform() + uniform() - 1.5));
    line.g[i] = (float)(uniform() * 2 - 1);
  }
}

static void check_softmax(enum isa isa, double *max) {
  double top = (double)-INFINITY, sum = 0;
  for (int64_t i = 0; i < line.n; i++) top = fmax(top, (double)line.x[i] * (double)line.scale);
  for (int64_t i = 0; i < line.n; i++) sum += exp((double)line.x[i] * (double)line.scale - top);
  ukr_table(isa)[UKR_softmax_f32](
      (void *[]){line.x, line.y},
      (int64_t[]){1, line.n, line.n, line.n, float_bits(line.scale), 0});
  for (int64_t i = 0; i < line.n; i++) {
    double want = exp((double)line.x[i] * (double)line.scale - top) / sum;
    hold(UKR_softmax_f32, isa, ulps(line.y[i], want), max);
  }
}

static void check_rmsnorm(enum isa isa, double *max) {
  const float eps = 1e-5f;
  double sum = 0;
  for (int64_t i = 0; i < line.n; i++) sum += (double)line.x[i] * (double)line.x[i];
  double inv = 1 / sqrt(sum / (double)line.n + (double)eps);
  ukr_table(isa)[UKR_rmsnorm_f32]((void *[]){line.x, line.g, line.y},
                                  (int64_t[]){1, line.n, line.n, line.n, float_bits(eps)});
  for (int64_t i = 0; i < line.n; i++)
    hold(UKR_rmsnorm_f32, isa, ulps(line.y[i], (double)line.x[i] * inv * (double)line.g[i]), max);
}

static void check_layernorm(enum isa isa, double *max) {
  const float eps = 1e-5f;
  double mean = 0, sum = 0;
  for (int64_t i = 0; i < line.n; i++) mean += (double)line.x[i] / (double)line.n;
  for (int64_t i = 0; i < line.n; i++)
    sum += ((double)line.x[i] - mean) * ((double)line.x[i] - mean);
  double inv = 1 / sqrt(sum / (double)line.n + (double)eps);
  ukr_table(isa)[UKR_layernorm_f32]((void *[]){line.x, line.g, line.zero, line.y},
                                    (int64_t[]){1, line.n, line.n, line.n, float_bits(eps)});
  for (int64_t i = 0; i < line.n; i++) {
    double want = ((double)line.x[i] - mean) * inv * (double)line.g[i];
    double e = fabs((double)line.y[i] - want) / (fmax(1, fabs(want)) * 0x1p-23);
    hold(UKR_layernorm_f32, isa, e, max);
  }
}

START_TEST(rows_are_accurate) {
  for (int isa = ISA_AVX2; isa < ISA_COUNT; isa++) {
    double softmax = 0, rmsnorm = 0, layernorm = 0;
    int rounds = stride < 8191 ? 20000 : 1000;
    for (int round = 0; round < rounds && cpu_has((enum isa)isa); round++) {
      draw_line(round);
      check_softmax((enum isa)isa, &softmax);
      check_rmsnorm((enum isa)isa, &rmsnorm);
      check_layernorm((enum isa)isa, &layernorm);
    }
    say(UKR_softmax_f32, (enum isa)isa, softmax);
    say(UKR_rmsnorm_f32, (enum isa)isa, rmsnorm);
    say(UKR_layernorm_f32, (enum isa)isa, layernorm);
  }
}
END_TEST

/* Each row of the table is held by a test here, and no bound is above 4. */
START_TEST(all_bounds_are_held) {
  static const enum ukr_id others[] = {UKR_pow_f32, UKR_softmax_f32, UKR_rmsnorm_f32,
                                       UKR_layernorm_f32};
  bool held[UKR_COUNT] = {false};
  for (size_t i = 0; i < COUNT(rows); i++) held[rows[i].id] = true;
  for (size_t i = 0; i < COUNT(others); i++) held[others[i]] = true;
  for (int i = 0; i < UKR_COUNT; i++)
    ck_assert_msg((bound[i] > 0) == held[i] && bound[i] <= 4, "%s", ukr_sig((enum ukr_id)i)->name);
}
END_TEST

int main(int argc, char **argv) {
  const TTest *const tests[] = {functions_are_accurate, weights_are_accurate, powers_are_accurate,
                                rows_are_accurate, all_bounds_are_held};
  if (argc > 1) stride = (uint32_t)strtoul(argv[1], NULL, 10);
  if (stride == 0) stride = 1;
  return unit_main("ukr_math", tests, COUNT(tests));
}
