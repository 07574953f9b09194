/* vm/exec: a plan file runs, on any number of threads, in anybody's memory, without allocating. */
#include "unit.h"

#include <unistd.h>

#include "mkplan.h"

/* ---- every allocation of the executor, counted (linked with --wrap) ---- */
static long allocations;
void *__real_malloc(size_t n);
void *__real_realloc(void *p, size_t n);
void *__real_calloc(size_t n, size_t size);
void *__wrap_malloc(size_t n);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_malloc(size_t n) { return __atomic_fetch_add(&allocations, 1, 5), __real_malloc(n); }
void *__wrap_realloc(void *p, size_t n) {
  return __atomic_fetch_add(&allocations, 1, 5), __real_realloc(p, n);
}
void *__wrap_calloc(size_t n, size_t size) {
  return __atomic_fetch_add(&allocations, 1, 5), __real_calloc(n, size);
}

static struct fvm_plan *small_plan(struct mkplan *m) {
  struct fvm_plan *p;
  struct fvm_error err;
  mk_small(m);
  mk_finish(m);
  OK(plan_load_memory(m->bytes, m->n, &p, &err));
  return p;
}

struct io {
  float x[MK_N], y[MK_N], z[MK_ROWS];
  int64_t i[MK_ROWS];
};

static void bind_all(struct fvm_instance *in, struct io *io) {
  struct fvm_error err;
  for (int i = 0; i < MK_N; i++) io->x[i] = (float)(i % 13);
  for (int i = 0; i < MK_ROWS; i++) io->i[i] = i % 2 ? -1 - i : 3 * i;
  memset(io->y, 0, sizeof io->y);
  OK(fvm_bind_input(in, 0, io->x, sizeof io->x, &err));
  OK(fvm_bind_input(in, 1, io->i, sizeof io->i, &err));
  OK(fvm_bind_output(in, 0, io->y, sizeof io->y, &err));
  OK(fvm_bind_output(in, 1, io->z, sizeof io->z, &err));
}

static void check_outputs(const struct io *io) {
  for (int i = 0; i < MK_N; i++) {
    float t = 2 * (io->x[i] + (float)i / 4);
    ck_assert_float_eq(io->y[i], 2 * (t + io->x[i]));
  }
  for (int i = 0; i < MK_ROWS; i++) {
    int64_t r = io->i[i] < 0 ? io->i[i] + MK_N : io->i[i];
    ck_assert_float_eq(io->z[i], 2 * (io->x[r] + (float)r / 4));
  }
}

START_TEST(runs_with_any_threads) {
  struct mkplan m;
  struct fvm_plan *p = small_plan(&m);
  struct fvm_error err;
  for (int threads = 0; threads <= 5; threads++) {
    struct fvm_instance *in;
    struct io io;
    OK(fvm_open(p, threads, NULL, &in, &err));
    for (int again = 0; again < 20; again++) {
      bind_all(in, &io);
      OK(fvm_run(in, &err));
      check_outputs(&io);
    }
    fvm_close(in);
  }
  fvm_unload(p);
  mk_free(&m);
}
END_TEST

/* Two instances share a plan; one lives in memory of the caller, with guards around. */
START_TEST(arena_of_the_caller) {
  struct mkplan m;
  struct fvm_plan *p = small_plan(&m);
  struct fvm_error err;
  struct fvm_instance *a, *b;
  struct io ia, ib;
  static _Alignas(64) unsigned char mem[8192];
  size_t n = fvm_arena_bytes(p, 2);
  ck_assert_uint_le(n + 64, sizeof mem);
  memset(mem, 0xa5, sizeof mem);
  ck_assert_int_eq(fvm_open(p, 2, mem + 8, &a, &err), FVM_EUSAGE);
  ck_assert_int_eq(fvm_open(p, -1, mem, &a, &err), FVM_EUSAGE);
  ck_assert_int_eq(fvm_open(p, 65, mem, &a, &err), FVM_EUSAGE);
  OK(fvm_open(p, 2, mem, &a, &err));
  OK(fvm_open(p, 1, NULL, &b, &err));
  bind_all(a, &ia);
  bind_all(b, &ib);
  OK(fvm_run(a, &err));
  OK(fvm_run(b, &err));
  check_outputs(&ia);
  check_outputs(&ib);
  fvm_close(b);
  fvm_close(a);
  for (size_t i = n; i < sizeof mem; i++) ck_assert_uint_eq(mem[i], 0xa5);
  fvm_unload(p);
  mk_free(&m);
}
END_TEST

START_TEST(no_allocation_after_open) {
  struct mkplan m;
  struct fvm_plan *p = small_plan(&m);
  struct fvm_error err;
  struct fvm_instance *in;
  struct io io;
  OK(fvm_open(p, 3, NULL, &in, &err));
  bind_all(in, &io);
  size_t bytes = fvm_bytes_in_use();
  long before = allocations;
  int failed = 0; /* no assertion in the loop: those allocate */
  for (int i = 0; i < 50; i++) {
    failed |= fvm_bind_input(in, 0, io.x, sizeof io.x, &err);
    failed |= fvm_run(in, &err);
  }
  long after = allocations;
  ck_assert_int_eq(failed, 0);
  ck_assert_int_gt(before, 0);
  ck_assert_int_eq(after, before);
  ck_assert_uint_eq(fvm_bytes_in_use(), bytes);
  fvm_close(in);
  fvm_unload(p);
  mk_free(&m);
}
END_TEST

START_TEST(what_goes_wrong) {
  struct mkplan m;
  struct fvm_plan *p = small_plan(&m);
  struct fvm_error err;
  struct fvm_instance *in;
  struct io io;
  OK(fvm_open(p, 0, NULL, &in, &err));
  ck_assert_int_eq(fvm_run(in, &err), FVM_EUSAGE);
  ck_assert_str_eq(err.text, "input x is not bound");
  bind_all(in, &io);
  ck_assert_int_eq(fvm_bind_input(in, 0, io.x, 7, &err), FVM_EUSAGE);
  ck_assert_str_eq(err.text, "input x has 400 bytes, not 7");
  ck_assert_int_eq(fvm_bind_input(in, 0, NULL, sizeof io.x, &err), FVM_EUSAGE);
  ck_assert_int_eq(fvm_bind_input(in, 2, io.x, 7, &err), FVM_EUSAGE);
  ck_assert_int_eq(fvm_bind_output(in, -1, io.x, 7, &err), FVM_EUSAGE);
  io.i[3] = MK_N;
  ck_assert_int_eq(fvm_run(in, &err), FVM_EFAIL);
  ck_assert_str_eq(err.text, "step 3 (z = t[i]): an index in the data is out of range");
  io.i[3] = 0;
  OK(fvm_run(in, &err));
  fvm_close(in);
  fvm_close(NULL);
  fvm_unload(p);
  mk_free(&m);
}
END_TEST

START_TEST(facts) {
  struct mkplan m;
  struct fvm_plan *p = small_plan(&m);
  struct fvm_info info;
  fvm_info(p, &info);
  ck_assert_str_eq(info.model, "small");
  ck_assert_int_eq(info.threads, 3);
  ck_assert_int_eq(info.steps, 4);
  ck_assert_uint_eq(info.arena_bytes, 512);
  ck_assert_uint_eq(info.weight_bytes, 400);
  ck_assert_uint_eq(info.scratch_bytes, 64 + 2 * 64);
  ck_assert_int_eq(fvm_ninputs(p), 2);
  ck_assert_int_eq(fvm_noutputs(p), 2);
  ck_assert_str_eq(fvm_output(p, 0)->name, "y/out");
  ck_assert_int_eq(fvm_input(p, 1)->dtype, FVM_I64);
  ck_assert_ptr_null(fvm_input(p, 2));
  ck_assert_ptr_null(fvm_output(p, -1));
  ck_assert_ptr_nonnull(fvm_version());
  fvm_unload(p);
  mk_free(&m);
}
END_TEST

START_TEST(no_memory) {
  struct mkplan m;
  struct fvm_plan *p = small_plan(&m);
  struct fvm_error err;
  struct fvm_instance *in = NULL;
  int failures = 0;
  for (;; failures++) {
    fvm_fail_alloc(failures + 1);
    enum fvm_status st = fvm_open(p, 0, NULL, &in, &err);
    if (st == FVM_OK) break;
    ck_assert_int_eq(st, FVM_ENOMEM);
  }
  fvm_fail_alloc(0);
  ck_assert_int_eq(failures, 2);
  fvm_close(in);
  fvm_unload(p);
  mk_free(&m);
}
END_TEST

UNIT_MAIN("exec", runs_with_any_threads, arena_of_the_caller, no_allocation_after_open,
          what_goes_wrong, facts, no_memory)
