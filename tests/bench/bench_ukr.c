/* GFLOP/s of every gemm tile against the machine's peak of FMAs on registers, measured in turns so
 * that a change of clock or a busy neighbour hits all alike. Each line is the best of its rounds.
 *
 *   bench_ukr [M K N [KC [rounds]]]      default 128 768 3072 768 8
 *
 * c[M][N] = a[M][K] * packed b: for each KC columns of a, each panel of NR columns, each MR rows.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "../../kernels/ukr.h"

static const struct tile {
  const char *name;
  enum ukr_id id;
  int64_t mr, nr;
} tiles[] = {
#define GEMM(MR, NR) {#MR "x" #NR, UKR_gemm_##MR##x##NR, MR, NR},
#include "../../kernels/ukr_gemm.def"
#undef GEMM
};

struct work {
  int64_t m, k, n, kc;
  float *a, *b, *c;
};

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static float *numbers(int64_t n) {
  float *x = aligned_alloc(FVM_ALIGN, ROUND_UP((size_t)n * sizeof *x, (size_t)FVM_ALIGN));
  for (int64_t i = 0; x && i < n; i++) x[i] = (float)(i % 17) / 16 - 0.5f;
  return x;
}

static void multiply(const struct work *w, const struct tile *t, ukr_fn *run) {
  for (int64_t l = 0; l < w->k; l += w->kc)
    for (int64_t j = 0; j < w->n; j += t->nr) {
      int64_t kc = MIN(w->kc, w->k - l);
      const float *b = w->b + j * w->k + l * t->nr;
      for (int64_t i = 0; i < w->m; i += t->mr) {
        float *c = w->c + i * w->n + j;
        void *p[] = {w->a + i * w->k + l, (void *)b, c, c, (void *)b, c};
        int64_t v[] = {MIN(t->mr, w->m - i),
                       MIN(t->nr, w->n - j),
                       kc,
                       w->k,
                       1,
                       w->n,
                       w->n,
                       l > 0,
                       0,
                       1,
                       0,
                       0,
                       1,
                       0,
                       0};
        run(p, v);
      }
    }
}

/* 12 chains of FMAs, enough to cover the latency; each vector has as many lanes as the ISA. */
#define PEAK(name, bytes, attr)                                                                    \
  typedef float vec_##name __attribute__((vector_size(bytes)));                                    \
  __attribute__((target(attr), noinline, optimize("fp-contract=fast"))) static double name(        \
      int64_t n) {                                                                                 \
    vec_##name x[12] = {{0}}, a = x[0] + 0.5f, b = a;                                              \
    for (int j = 0; j < 12; j++) __asm__ volatile("" : "+x"(x[j])); /* or all chains are one */    \
    for (int64_t i = 0; i < n; i++) {                                                              \
      __asm__ volatile("" : "+x"(a), "+v"(b));                                                     \
      _Pragma("GCC unroll 12") for (int j = 0; j < 12; j++) x[j] = x[j] * a + b;                   \
    }                                                                                              \
    for (int j = 1; j < 12; j++) x[0] += x[j];                                                     \
    volatile float keep = x[0][0];                                                                 \
    (void)keep;                                                                                    \
    return (double)n * 12 * 2 * (bytes / 4);                                                       \
  }
#ifdef __x86_64__
PEAK(peak_avx512, 64, "avx512f,avx512vl,fma")
PEAK(peak_avx2, 32, "avx2,fma")
#endif
PEAK(peak_ref, 16, "sse2")

static double peak(enum isa isa, int64_t n) {
#ifdef __x86_64__
  if (isa == ISA_AVX512) return peak_avx512(n);
  if (isa == ISA_AVX2) return peak_avx2(n);
#endif
  return isa == ISA_REF ? peak_ref(n) : 0;
}

static void bench(const struct work *w, enum isa isa, int rounds) {
  double best[COUNT(tiles)] = {0}, top = 0,
         flops = 2.0 * (double)w->m * (double)w->n * (double)w->k;
  for (int r = 0; r < rounds; r++) {
    double t = now(), done = peak(isa, 1000000);
    top = MAX(top, done / (now() - t));
    for (size_t i = 0; i < COUNT(tiles); i++) {
      t = now();
      multiply(w, &tiles[i], ukr_table(isa)[tiles[i].id]);
      best[i] = MAX(best[i], flops / (now() - t));
    }
  }
  printf("%s: peak %.1f GFLOP/s\n", isa_name(isa), top / 1e9);
  for (size_t i = 0; i < COUNT(tiles); i++)
    printf("  gemm_%-6s %6.1f GFLOP/s %5.1f %%\n", tiles[i].name, best[i] / 1e9,
           100 * best[i] / top);
}

int main(int argc, char **argv) {
  int64_t x[] = {128, 768, 3072, 768, 8};
  for (int i = 1; i < argc && i <= (int)COUNT(x); i++) x[i - 1] = strtoll(argv[i], NULL, 10);
  struct work w = {.m = x[0], .k = x[1], .n = x[2], .kc = x[3]};
  if (w.m <= 0 || w.k <= 0 || w.n <= 0 || w.kc <= 0) {
    fprintf(stderr, "usage: bench_ukr [M K N [KC [rounds]]]\n");
    return 2;
  }
  /* Room for whole panels of any width. */
  w.a = numbers(w.m * w.k);
  w.b = numbers(w.k * (w.n + 64));
  w.c = numbers(w.m * w.n);
  for (int i = ISA_COUNT - 1; w.a && w.b && w.c && i > ISA_REF; i--)
    if (cpu_has((enum isa)i)) bench(&w, (enum isa)i, (int)x[4]);
  free(w.a);
  free(w.b);
  free(w.c);
  return 0;
}
