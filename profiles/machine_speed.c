/* Peak arithmetic and reading speed of one core, or of several together: what benchmarks and
 * `fluidvm explain` are held against. */
#include "../vm/threads.h"
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

/* Sum of n vectors in eight chains: nothing but reading takes its time. n is a multiple of 8. */
#define READ_LOOP(name, LANES, attributes)                                                         \
  typedef float name##_v __attribute__((vector_size(LANES * 4), aligned(64)));                     \
  attributes static float name(const void *p, size_t bytes) {                                      \
    const name##_v *v = p;                                                                         \
    size_t n = bytes / sizeof *v;                                                                  \
    name##_v s0 = {0}, s1 = s0, s2 = s0, s3 = s0, s4 = s0, s5 = s0, s6 = s0, s7 = s0;              \
    for (size_t i = 0; i < n; i += 8) {                                                            \
      s0 += v[i], s1 += v[i + 1], s2 += v[i + 2], s3 += v[i + 3];                                  \
      s4 += v[i + 4], s5 += v[i + 5], s6 += v[i + 6], s7 += v[i + 7];                              \
    }                                                                                              \
    s0 += s1 + s2 + s3 + s4 + s5 + s6 + s7;                                                        \
    return s0[0] + s0[LANES - 1];                                                                  \
  }
READ_LOOP(read_plain, 4, )
#if defined(__x86_64__)
READ_LOOP(read_avx2, 8, __attribute__((target("avx2"))))
READ_LOOP(read_avx512, 16, __attribute__((target("avx512f"))))
#endif

struct loops {
  float (*fma)(long);
  float (*read)(const void *, size_t);
  int lanes;
};

static struct loops loops_here(void) {
  struct loops l = {fma_plain, read_plain, 4};
#if defined(__x86_64__)
  if (cpu_isa() >= ISA_AVX2) l = (struct loops){fma_avx2, read_avx2, 8};
  if (cpu_isa() >= ISA_AVX512) l = (struct loops){fma_avx512, read_avx512, 16};
#endif
  return l;
}

/* ---- a team at work ---- */

enum { FMA_ROUNDS = 200000, MAX_THREADS = 64 };
struct job {
  struct loops loops;
  char *data;   /* of all threads */
  size_t share; /* bytes of one thread; 0: arithmetic */
  int repeats;  /* how often each reads its share */
  volatile float sink[MAX_THREADS];
};

static int work(void *arg, struct team *team, int tid) {
  struct job *j = arg;
  team_wait(team);
  if (!j->share) j->sink[tid] = j->loops.fma(FMA_ROUNDS);
  for (int i = 0; j->share && i < j->repeats; i++)
    j->sink[tid] = j->loops.read(j->data + (size_t)tid * j->share, j->share);
  return 0;
}

/* Seconds of the fastest of several runs. */
static double fastest(struct pool *pool, struct job *j, int tries) {
  double best = 1e9;
  for (int i = 0; i < tries; i++) {
    double t0 = seconds();
    pool_run(pool, pool_threads(pool), work, j);
    best = MIN(best, seconds() - t0);
  }
  return MAX(best, 1e-9);
}

static double peak_gflops(struct pool *pool) {
  enum { TRIES = 20 };
  struct job j = {.loops = loops_here()};
  double flops = 2.0 * CHAINS * FMA_ROUNDS * j.loops.lanes * pool_threads(pool);
  return flops / fastest(pool, &j, TRIES) / 1e9;
}

/* Each thread reads share bytes of its own, a multiple of a page; 0 when memory is out. */
static double read_gbytes(struct pool *pool, size_t share, int repeats, int tries) {
  int n = pool_threads(pool);
  size_t bytes = (size_t)n * share + FVM_ALIGN;
  char *own = fvm_alloc(bytes, 1);
  if (!own) return 0;
  for (size_t i = 0; i < bytes; i += 4096) own[i] = 1; /* have every page mapped */
  struct job j = {.loops = loops_here(), .share = share, .repeats = repeats};
  j.data = (char *)ROUND_UP((uintptr_t)own, (uintptr_t)FVM_ALIGN);
  double gbytes = (double)share * n * repeats / fastest(pool, &j, tries) / 1e9;
  fvm_free(own, bytes, 1);
  return gbytes;
}

/* Reading once through more memory than most caches hold. */
static double memory_gbytes(struct pool *pool, int64_t l3_bytes) {
  int64_t all = MIN(MAX((int64_t)128 << 20, 4 * l3_bytes), (int64_t)512 << 20);
  return read_gbytes(pool, (size_t)ROUND_UP(all / pool_threads(pool), (int64_t)4096), 1, 5);
}

void machine_speed(double *gflops, double *gbytes) {
  struct pool *pool = NULL;
  *gflops = *gbytes = 0;
  if (pool_new(1, &pool, NULL) != FVM_OK) return;
  *gflops = peak_gflops(pool);
  *gbytes = memory_gbytes(pool, 0);
  pool_free(pool);
}

enum fvm_status machine_team_speed(const struct machine *m, int threads, struct machine_speeds *s,
                                   struct fvm_error *err) {
  struct pool *pool = NULL;
  size_t half = (size_t)ROUND_UP(MAX(m->l2_bytes, (int64_t)256 << 10) / 2, (int64_t)4096);
  CHECK(threads >= 1 && threads <= MAX_THREADS);
  enum fvm_status st = pool_new(threads, &pool, err);
  if (st != FVM_OK) return st;
  *s = (struct machine_speeds){.threads = threads,
                               .gflops = peak_gflops(pool),
                               .gbytes = memory_gbytes(pool, m->l3_bytes),
                               .cache_gbytes = read_gbytes(pool, half, 50, 10)};
  pool_free(pool);
  return FVM_OK;
}
