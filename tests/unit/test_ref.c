/* kernels/ref: what references share. Every index once, on any number of threads, of which none is
 * left; elements and products as one plain loop has them; operators that make the same bits on one
 * processor as on all. */
#include "config.h" /* _GNU_SOURCE, for sched_setaffinity */

#include "../../kernels/ref.h"
#include "opcheck.h"

#include <dirent.h>
#include <math.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

static struct fvm_error err;
static const int counts[] = {1, 2, 5};

/* ---- on all processors ---- */

enum { MOST = 1000, ROOM = 3 };
struct visits {
  _Atomic int seen[MOST];
  _Atomic int wrong; /* scratch was not this thread's own, or not zeros at first */
};

/* scratch[0] counts up, scratch[2] down. */
static void visit(const void *arg, int64_t from, int64_t to, double *scratch) {
  struct visits *v = (struct visits *)(uintptr_t)arg;
  for (int64_t i = from; i < to; i++) {
    double before = scratch[0]++;
    if (before != -scratch[2]--) atomic_fetch_add(&v->wrong, 1);
    atomic_fetch_add(&v->seen[i], 1);
  }
}

static int threads_alive(void) {
  int n = 0;
  DIR *d = opendir("/proc/self/task");
  ck_assert_ptr_nonnull(d);
  for (const struct dirent *e; (e = readdir(d)) != NULL;) n += e->d_name[0] != '.';
  closedir(d);
  return n;
}

/* The system lists a thread for a moment after it was joined. */
static bool others_end(void) {
  for (int i = 0; i < 10000 && threads_alive() > 1; i++) usleep(1000);
  return threads_alive() == 1;
}

START_TEST(each_index_once) {
  static const int64_t sizes[] = {0, 1, 2, 7, 81, MOST};
  for (size_t t = 0; t < COUNT(counts); t++)
    for (size_t s = 0; s < COUNT(sizes); s++) {
      struct visits v = {0};
      OK(ref_on(counts[t], sizes[s], ROOM, visit, &v, &err));
      ck_assert_int_eq(v.wrong, 0);
      for (int64_t i = 0; i < MOST; i++) ck_assert_int_eq(v.seen[i], i < sizes[s]);
      ck_assert(others_end());
    }
}
END_TEST

START_TEST(large_work_too) {
  struct visits v = {0};
  OK(ref_parallel(MOST, 1e6, ROOM, visit, &v, &err));
  ck_assert_int_eq(v.wrong, 0);
  for (int64_t i = 0; i < MOST; i++) ck_assert_int_eq(v.seen[i], 1);
  ck_assert(others_end());
}
END_TEST

/* Without memory for threads this one does it all; without memory for scratch nothing is done. */
START_TEST(memory_runs_out) {
  for (long n = 1; n <= 2; n++) {
    struct visits v = {0};
    fvm_fail_alloc(n);
    enum fvm_status st = ref_on(5, MOST, ROOM, visit, &v, &err);
    ck_assert_int_eq(fvm_fail_alloc(0), 0);
    ck_assert_int_eq(st, n == 1 ? FVM_OK : FVM_ENOMEM);
    for (int64_t i = 0; i < MOST; i++) ck_assert_int_eq(v.seen[i], st == FVM_OK);
  }
}
END_TEST

/* ---- elements ---- */

static const enum fvm_dtype dtypes[] = {
#define DTYPE(name, bytes, onnx, text, npy, c) FVM_##name,
#include "../../vm/dtypes.def"
#undef DTYPE
};

START_TEST(elements_of_all_types) {
  enum { N = 37 };
  static const int64_t steps[] = {0, 1, 3};
  for (size_t d = 0; d < COUNT(dtypes); d++) {
    double values[3 * N], x[N], again[3 * N];
    for (int i = 0; i < 3 * N; i++) elem_set_f64(values, dtypes[d], i, i % 11 * 0.75);
    for (size_t s = 0; s < COUNT(steps); s++) {
      ref_take(values, dtypes[d], 2, steps[s], N - 1, x);
      for (int i = 0; i < N - 1; i++)
        ck_assert(x[i] == elem_f64(values, dtypes[d], 2 + i * steps[s]));
    }
    memset(again, 0x55, sizeof again);
    ref_take(values, dtypes[d], 1, 1, N, x);
    ref_put(again, dtypes[d], 1, N, x);
    for (int i = 1; i <= N; i++)
      ck_assert(elem_f64(again, dtypes[d], i) == elem_f64(values, dtypes[d], i));
    const char *behind = (const char *)again + (N + 1) * fvm_dtype_bytes(dtypes[d]);
    ck_assert(behind[-1] == ((const char *)values)[(N + 1) * fvm_dtype_bytes(dtypes[d]) - 1]);
    ck_assert_int_eq(*behind, 0x55);
  }
}
END_TEST

/* ---- products ---- */

enum { ROWS = 70, DEPTH = 200, COLUMNS = 40 };
static double left[ROWS * DEPTH], right[DEPTH * COLUMNS]; /* of floats as well */

static void fill(double *x, enum fvm_dtype t, int n) {
  for (int i = 0; i < n; i++) elem_set_f64(x, t, i, sin(i * 0.7) / (1 + i % 13));
}

/* One sum after the other, each product rounded before it is added. */
static double plain(const struct ref_matrix *a, const struct ref_matrix *b, int64_t i, int64_t j,
                    int64_t k) {
  volatile double sum = 0;
  for (int64_t x = 0; x < k; x++) {
    volatile double product = elem_f64(a->p, a->t, a->at + i * a->row + x * a->col) *
                              elem_f64(b->p, b->t, b->at + x * b->row + j * b->col);
    sum += product;
  }
  return sum;
}

/* Bit for bit, but where the compiler may add a product without rounding it first. */
static bool same(double x, double y) {
#ifdef __FP_FAST_FMA
  return fabs(x - y) <= 1e-13;
#else
  return !memcmp(&x, &y, sizeof x);
#endif
}

static void check_product(const struct ref_matrix *a, const struct ref_matrix *b, int m, int n,
                          int64_t k) {
  static double to[DEPTH * REF_COLUMNS], sum[REF_ROWS][REF_COLUMNS];
  ref_columns(b, k, 3, n, to);
  ref_dots(a, 2, m, k, to, n, sum);
  for (int i = 0; i < m; i++)
    for (int j = 0; j < n; j++) {
      double want = plain(a, b, 2 + i, 3 + j, k);
      ck_assert_msg(same(sum[i][j], want), "%d x %d x %d: [%d][%d]", m, n, (int)k, i, j);
    }
}

START_TEST(products) {
  static const int rows[] = {1, 3, 4, 5, 63, 64}, columns[] = {1, 7, 8, 9, 31, 32};
  static const int64_t depths[] = {0, 1, 63, 64, 65, DEPTH};
  for (int turned = 0; turned < 4; turned++)
    for (size_t x = 0; x < COUNT(rows) * COUNT(columns) * COUNT(depths); x++) {
      enum fvm_dtype t = turned == 1 ? FVM_F64 : FVM_F32;
      struct ref_matrix a = {left, t, 0, DEPTH, 1}, b = {right, t, 0, COLUMNS, 1};
      if (turned & 1) a.row = 1, a.col = ROWS;
      if (turned & 2) b.row = 1, b.col = DEPTH;
      fill(left, t, ROWS * DEPTH);
      fill(right, t, DEPTH * COLUMNS);
      check_product(&a, &b, rows[x % 6], columns[x / 6 % 6], depths[x / 36]);
    }
}
END_TEST

/* ---- operators ---- */

/* The reference on the first processor that is ours, then on all of them. */
static void check_operator(struct opcase *o) {
  cpu_set_t all, one;
  CPU_ZERO(&one);
  ck_assert_int_eq(sched_getaffinity(0, sizeof all, &all), 0);
  for (int i = 0; i < CPU_SETSIZE && !CPU_COUNT(&one); i++)
    if (CPU_ISSET(i, &all)) CPU_SET(i, &one);
  ck_assert_int_eq(sched_setaffinity(0, sizeof one, &one), 0);
  opcase_reference(o);
  ck_assert_int_eq(sched_setaffinity(0, sizeof all, &all), 0);
  size_t bytes = (size_t)tensor_bytes(&o->out[0]);
  void *again = arena_alloc(&o->arena, bytes, 1);
  ck_assert_ptr_nonnull(again);
  OK(opcall_ref(&o->c, (const void *const *)o->x, &again, &err));
  ck_assert(!memcmp(again, o->y[0], bytes));
  opcase_free(o);
}

START_TEST(operators_on_any_processors) {
  struct opcase o;
  opcase_init(&o, "MatMul", 17);
  opcase_in(&o, FVM_F32, 3, (int64_t[]){3, 150, 130});
  opcase_in(&o, FVM_F32, 3, (int64_t[]){3, 130, 170});
  check_operator(&o);
  opcase_init(&o, "Conv", 17);
  opcase_in(&o, FVM_F32, 4, (int64_t[]){2, 12, 33, 35});
  opcase_in(&o, FVM_F32, 4, (int64_t[]){70, 6, 3, 3});
  opcase_in(&o, FVM_F32, 1, (int64_t[]){70});
  opcase_attr_int(&o, "group", 2);
  opcase_attr_ints(&o, "pads", 4, (int64_t[]){1, 1, 1, 1});
  check_operator(&o);
  opcase_init(&o, "MaxPool", 17);
  opcase_in(&o, FVM_F32, 4, (int64_t[]){2, 20, 50, 50});
  opcase_attr_ints(&o, "kernel_shape", 2, (int64_t[]){3, 3});
  check_operator(&o);
  opcase_init(&o, "FusedAttention", 17);
  for (int i = 0; i < 3; i++) opcase_in(&o, FVM_F32, 3, (int64_t[]){2, 100, 64});
  opcase_attr_int(&o, "heads", 4);
  opcase_attr_int(&o, "causal", 1);
  check_operator(&o);
  opcase_init(&o, "Add", 17);
  opcase_in(&o, FVM_F32, 3, (int64_t[]){7, 200, 301});
  opcase_in(&o, FVM_F32, 2, (int64_t[]){200, 1});
  check_operator(&o);
}
END_TEST

UNIT_MAIN("ref", each_index_once, large_work_too, memory_runs_out, elements_of_all_types, products,
          operators_on_any_processors)
