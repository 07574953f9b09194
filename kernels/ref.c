/* Contract: ref.h. */
#include "config.h" /* _GNU_SOURCE, for sched_getaffinity */

#include "ref.h"

#include <sched.h>
#include <stdatomic.h>
#include <string.h>

#include "../vm/threads.h"
#include "ukr.h"

/* ---- on all processors ---- */

enum {
  ALONE_NS = 200 * 1000, /* to start a thread and end it takes 20 to 60 us */
  THREADS = 16,          /* at most: each has scratch of its own */
  PARTS = 8              /* a thread: one that is kept waiting leaves its parts to the others */
};

struct work {
  ref_part *part;
  const void *arg;
  int64_t n, step;
  _Atomic int64_t next;
  size_t room;
  double *scratch;
};

static int take_parts(void *arg, struct team *team, int tid) {
  struct work *w = arg;
  (void)team;
  for (int64_t from; (from = atomic_fetch_add(&w->next, w->step)) < w->n;)
    w->part(w->arg, from, MIN(from + w->step, w->n),
            w->room ? w->scratch + (size_t)tid * w->room : NULL);
  return 0;
}

/* Without other threads, too, when the system gives none. */
enum fvm_status ref_on(int threads, int64_t n, size_t room, ref_part *part, const void *arg,
                       struct fvm_error *err) {
  struct pool *pool = NULL;
  if (threads > 1 && pool_new(threads, &pool, NULL) != FVM_OK) threads = 1;
  struct work w = {.part = part, .arg = arg, .n = n, .room = room};
  w.step = threads > 1 ? CEIL_DIV(n, (int64_t)threads * PARTS) : n;
  w.scratch = room ? fvm_alloc(room, (size_t)threads * sizeof(double)) : NULL;
  bool ready = w.scratch || !room;
  if (ready && threads > 1) pool_run(pool, threads, take_parts, &w);
  if (ready && threads == 1) take_parts(&w, NULL, 0);
  pool_free(pool);
  fvm_free(w.scratch, room, (size_t)threads * sizeof(double));
  return ready ? FVM_OK : fvm_nomem(err);
}

static int processors(void) {
  cpu_set_t set;
  int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
  return MAX(MIN(n, THREADS), 1);
}

enum fvm_status ref_parallel(int64_t n, double ns, size_t room, ref_part *part, const void *arg,
                             struct fvm_error *err) {
  bool alone = n < 2 || (double)n * ns < ALONE_NS;
  return ref_on(alone ? 1 : (int)MIN(processors(), n), n, room, part, arg, err);
}

/* ---- elements ---- */

/* Most of all elements are floats side by side, or halves that weights are stored as. */
void ref_take(const void *p, enum fvm_dtype t, int64_t at, int64_t step, int64_t n, double *x) {
  const float *f = (const float *)p + at;
  const uint16_t *h = (const uint16_t *)p + at;
  if (t == FVM_F32 && step == 1)
    for (int64_t i = 0; i < n; i++) x[i] = (double)f[i];
  else if (t == FVM_F16 && step == 1)
    for (int64_t i = 0; i < n; i++) x[i] = (double)fvm_f16_to_f32(h[i]);
  else
    for (int64_t i = 0; i < n; i++) x[i] = elem_f64(p, t, at + i * step);
}

void ref_put(void *p, enum fvm_dtype t, int64_t at, int64_t n, const double *x) {
  if (t == FVM_F32) {
    float *f = (float *)p + at;
    for (int64_t i = 0; i < n; i++) f[i] = (float)x[i];
  } else {
    for (int64_t i = 0; i < n; i++) elem_set_f64(p, t, at + i, x[i]);
  }
}

/* ---- products ---- */

/* Along the rows or along the columns of b, whichever lie dense. */
void ref_columns(const struct ref_matrix *b, int64_t k, int64_t j0, int n, double *to) {
  int64_t at = b->at + j0 * b->col;
  if (b->col == 1) {
    for (int64_t i = 0; i < k; i++)
      ref_take(b->p, b->t, at + i * b->row, 1, n, to + i * REF_COLUMNS);
    return;
  }
  enum { STRETCH = 64 };
  double x[STRETCH];
  for (int64_t from = 0; from < k; from += STRETCH)
    for (int j = 0; j < n; j++) {
      int64_t len = MIN(k - from, (int64_t)STRETCH);
      ref_take(b->p, b->t, at + from * b->row + j * b->col, b->row, len, x);
      for (int64_t i = 0; i < len; i++) to[(from + i) * REF_COLUMNS + j] = x[i];
    }
}

typedef double double4 __attribute__((vector_size(32), aligned(8), may_alias));
enum {
  ROWS = 4, /* with SUMS columns, whose sums stay in registers, two vectors for each row */
  SUMS = 8,
  STRETCH = 64 /* elements of k at a time, whose columns of b stay in level 1 for all rows */
};

/* Adds products with m rows of x, STRETCH apart, to SUMS columns. No sum is split, and products are
 * rounded before they are added, so wider registers change no bit. (A whole build for a processor
 * with fma may round once, in both.) */
static inline __attribute__((always_inline)) void
add_products(const double *x, const int m, int64_t n, const double *b, double (*sum)[REF_COLUMNS]) {
  double4 s[ROWS][2];
#pragma GCC unroll 4
  for (int r = 0; r < m; r++) {
    s[r][0] = *(const double4 *)sum[r];
    s[r][1] = *(const double4 *)(sum[r] + 4);
  }
  for (int64_t i = 0; i < n; i++, b += REF_COLUMNS) {
    double4 b0 = *(const double4 *)b, b1 = *(const double4 *)(b + 4);
#pragma GCC unroll 4
    for (int r = 0; r < m; r++) {
      s[r][0] += x[r * STRETCH + i] * b0;
      s[r][1] += x[r * STRETCH + i] * b1;
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < m; r++) {
    *(double4 *)sum[r] = s[r][0];
    *(double4 *)(sum[r] + 4) = s[r][1];
  }
}

/* All SUMS columns of the tile. */
static inline __attribute__((always_inline)) void add_rows(const double *x, int m, int64_t n,
                                                           const double *b, int columns,
                                                           double (*sum)[REF_COLUMNS]) {
  for (int j = 0; j < columns; j += SUMS) {
    double(*at)[REF_COLUMNS] = (double(*)[REF_COLUMNS])(sum[0] + j);
    if (m == ROWS)
      add_products(x, ROWS, n, b + j, at);
    else
      for (int r = 0; r < m; r++) add_products(x + r * STRETCH, 1, n, b + j, at + r);
  }
}

typedef void add_fn(const double *x, int m, int64_t n, const double *b, int columns,
                    double (*sum)[REF_COLUMNS]);
static void add_plain(const double *x, int m, int64_t n, const double *b, int columns,
                      double (*sum)[REF_COLUMNS]) {
  add_rows(x, m, n, b, columns, sum);
}
#ifdef __x86_64__
/* Without fma: that would round once instead of twice. */
__attribute__((target("avx2"))) static void add_avx2(const double *x, int m, int64_t n,
                                                     const double *b, int columns,
                                                     double (*sum)[REF_COLUMNS]) {
  add_rows(x, m, n, b, columns, sum);
}
#else
#define add_avx2 add_plain
#endif

/* Elements of a are converted once for all columns. */
void ref_dots(const struct ref_matrix *a, int64_t i0, int m, int64_t k, const double *b, int n,
              double sum[REF_ROWS][REF_COLUMNS]) {
  double x[ROWS * STRETCH];
  add_fn *add = cpu_isa() >= ISA_AVX2 ? add_avx2 : add_plain;
  memset(sum, 0, (size_t)m * sizeof *sum);
  for (int64_t from = 0; from < k; from += STRETCH) {
    int64_t len = MIN(k - from, (int64_t)STRETCH);
    for (int i = 0; i < m; i += ROWS) {
      int rows = MIN(m - i, ROWS);
      for (int r = 0; r < rows; r++)
        ref_take(a->p, a->t, a->at + (i0 + i + r) * a->row + from * a->col, a->col, len,
                 x + r * STRETCH);
      add(x, rows, len, b + from * REF_COLUMNS, n, sum + i);
    }
  }
}
