/* Peak arithmetic and reading speed of one core: what the analytic model scales with, and what the
 * benchmarks are held against. */
#include "machine.h"

#include <time.h>

static double seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* n rounds of ten independent chains a = a * x + y on vectors of LANES floats: ten cover the
 * latency of two FMA units. Returns something that depends on all of it. */
#define FMA_LOOP(name, LANES, attributes)                                                          \
  typedef float name##_v __attribute__((vector_size(LANES * 4)));                                  \
  attributes static float name(long n) {                                                           \
    name##_v x = {0}, y = {0}, a0, a1, a2, a3, a4, a5, a6, a7, a8, a9;                             \
    x += 0.999f, y += 1e-3f;                                                                       \
    /* All different, or the compiler would compute one chain and copy it. */                      \
    a0 = y, a1 = a0 + y, a2 = a1 + y, a3 = a2 + y, a4 = a3 + y;                                    \
    a5 = a4 + y, a6 = a5 + y, a7 = a6 + y, a8 = a7 + y, a9 = a8 + y;                               \
    for (long i = 0; i < n; i++) {                                                                 \
      a0 = a0 * x + y, a1 = a1 * x + y, a2 = a2 * x + y, a3 = a3 * x + y, a4 = a4 * x + y;         \
      a5 = a5 * x + y, a6 = a6 * x + y, a7 = a7 * x + y, a8 = a8 * x + y, a9 = a9 * x + y;         \
      __asm__ volatile("" : : : "memory");                                                         \
    }                                                                                              \
    a0 += a1 + a2 + a3 + a4 + a5 + a6 + a7 + a8 + a9;                                              \
    return a0[0] + a0[LANES - 1];                                                                  \
  }
enum { CHAINS = 10 };
FMA_LOOP(fma_plain, 4, )
#if defined(__x86_64__)
FMA_LOOP(fma_avx2, 8, __attribute__((target("avx2,fma"))))
FMA_LOOP(fma_avx512, 16, __attribute__((target("avx512f,fma"))))
#endif

static double flops_once(float (*loop)(long), int lanes) {
  enum { N = 200000 };
  double t0 = seconds();
  volatile float sink = loop(N);
  (void)sink;
  double t = seconds() - t0;
  return t > 0 ? 2.0 * CHAINS * N * lanes / t : 0;
}

static double peak_gflops(void) {
  float (*loop)(long) = fma_plain;
  int lanes = 4;
#if defined(__x86_64__)
  if (cpu_isa() >= ISA_AVX2) loop = fma_avx2, lanes = 8;
  if (cpu_isa() >= ISA_AVX512) loop = fma_avx512, lanes = 16;
#endif
  double best = 0;
  for (int i = 0; i < 20; i++) best = MAX(best, flops_once(loop, lanes));
  return best / 1e9;
}

/* Reading once through more memory than most caches hold. */
static double read_gbytes(void) {
  size_t n = (size_t)64 << 20 >> 3;
  uint64_t *v = fvm_alloc(n, sizeof *v);
  double best = 0;
  if (!v) return 0;
  for (size_t i = 0; i < n; i += 512) v[i] = i; /* have every page mapped */
  for (int try = 0; try < 5; try++) {
    uint64_t sum[4] = {0};
    double t0 = seconds();
    for (size_t i = 0; i < n; i += 4)
      for (int k = 0; k < 4; k++) sum[k] += v[i + (size_t)k];
    volatile uint64_t sink = sum[0] + sum[1] + sum[2] + sum[3];
    (void)sink;
    double t = seconds() - t0;
    if (t > 0) best = MAX(best, (double)(n * sizeof *v) / t / 1e9);
  }
  fvm_free(v, n, sizeof *v);
  return best;
}

void machine_speed(double *gflops, double *gbytes) {
  *gflops = peak_gflops();
  *gbytes = read_gbytes();
}
