/* Small programs with known results, and micro-kernels to run them with: what the tests of the
 * interpreter and of the JIT share. The micro-kernels are the test's own, so that a result is
 * known to the bit. */
#ifndef FVM_PROGRAMS_H
#define FVM_PROGRAMS_H

#include <string.h>

#include "../../kernels/ukr.h"
#include "../../vm/code.h"
#include "../../vm/interp.h"

/* z = x + y and y = value, strided as their rows in ukr.def say; gather fails outside. */
static int do_add(void *const *p, const int64_t *v) {
  const float *x = p[0], *y = p[1];
  float *z = p[2];
  for (int64_t i = 0; i < v[0]; i++)
    for (int64_t j = 0; j < v[1]; j++)
      z[i * v[6] + j] = x[i * v[2] + j * v[3]] + y[i * v[4] + j * v[5]];
  return 0;
}

static int do_fill(void *const *p, const int64_t *v) {
  for (int64_t i = 0; i < v[0]; i++)
    for (int64_t j = 0; j < v[1]; j++) memcpy((char *)p[0] + (i * v[2] + j) * 4, &v[3], 4);
  return 0;
}

static int do_gather(void *const *p, const int64_t *v) {
  int result = 0;
  for (int64_t i = 0; i < v[0]; i++) {
    int64_t row = ((const int64_t *)p[1])[i];
    if (row < 0 || row >= v[2])
      result = UKR_RANGE;
    else
      memcpy((char *)p[2] + i * v[4] * 4, (char *)p[0] + row * v[3] * 4, (size_t)v[1] * 4);
  }
  return result;
}

static ukr_fn *const *test_ukr(void) {
  static ukr_fn *const table[UKR_COUNT] = {
      [UKR_add_f32] = do_add, [UKR_fill_4] = do_fill, [UKR_gather_4] = do_gather};
  return table;
}

#define FLOATS(n) ((int64_t)(n)*4)

static void build_add(struct builder *b, struct addr x, struct addr y, struct addr z,
                      struct val n) {
  build_ukr(b, UKR_add_f32, (struct addr[]){x, y, z},
            (struct val[]){val(1), n, val(0), val(1), val(0), val(1), val(0)});
}

static void build_fill(struct builder *b, struct addr y, struct val n, uint32_t bits) {
  build_ukr(b, UKR_fill_4, &y, (struct val[]){val(1), n, val(0), val(bits)});
}

/* A program of the table below, with its buffers: memory for `teams` threads' scratch, inputs
 * filled with small integers, what it must leave in the outputs. */
enum { CASE_BUFS = 5, CASE_FLOATS = 1024 };
struct test_case {
  const char *name;
  void (*build)(struct builder *b);
  /* Compute what buf must hold afterwards, in place. */
  int (*expect)(float buf[CASE_BUFS][CASE_FLOATS]);
};

/* Edges: strips of 7 over 100 elements, the last one shorter. */
static void strips_build(struct builder *b) {
  int x = build_buf(b, BUF_IN, FLOATS(100)), y = build_buf(b, BUF_OUT, FLOATS(100));
  int i = build_par(b, 0, val(100), 7);
  int n = build_min(b, 7, val(100), i);
  build_add(b, ADDR(x, 0, {i, 4}), ADDR(x, 0, {i, 4}), ADDR(y, 0, {i, 4}), reg(n));
  build_end(b);
}
static int strips_expect(float buf[CASE_BUFS][CASE_FLOATS]) {
  for (int i = 0; i < 100; i++) buf[1][i] = buf[0][i] + buf[0][i];
  return 0;
}

/* A 10 x 20 transpose-like walk with two terms, inner limit from a register, steps over lo > 0. */
static void nest_build(struct builder *b) {
  int x = build_buf(b, BUF_IN, FLOATS(200)), y = build_buf(b, BUF_OUT, FLOATS(200));
  int i = build_loop(b, 1, val(10), 2);
  int m = build_min(b, 5, val(9), i);
  int j = build_loop(b, 0, reg(m), 1);
  build_add(b, ADDR(x, 8, {i, 80}, {j, 4}), ADDR(x, 0), ADDR(y, 0, {j, 40}, {i, 4}), val(1));
  build_end(b);
  build_end(b);
}
static int nest_expect(float buf[CASE_BUFS][CASE_FLOATS]) {
  for (int i = 1; i < 10; i += 2)
    for (int j = 0; j < (9 - i < 5 ? 9 - i : 5); j++)
      buf[1][j * 10 + i] = buf[0][2 + i * 20 + j] + buf[0][0];
  return 0;
}

/* Calls outside of and between two pars in a loop, through a shared buffer: needs each barrier.
 * Every round adds the mirrored last round to x. */
static void phases_build(struct builder *b) {
  int x = build_buf(b, BUF_IN, FLOATS(64)), y = build_buf(b, BUF_OUT, FLOATS(64));
  int s = build_buf(b, BUF_SHARED, FLOATS(64));
  build_fill(b, ADDR(s, 0), val(64), 0x3f800000);
  build_loop(b, 0, val(9), 1);
  int i = build_par(b, 0, val(64), 1);
  build_add(b, ADDR(s, FLOATS(63), {i, -4}), ADDR(x, 0, {i, 4}), ADDR(y, 0, {i, 4}), val(1));
  build_end(b);
  build_add(b, ADDR(y, 0), ADDR(y, 4), ADDR(y, 0), val(1));
  int j = build_par(b, 0, val(64), 5);
  int n = build_min(b, 5, val(64), j);
  build_add(b, ADDR(y, 0, {j, 4}), ADDR(x, 0, {j, 4}), ADDR(s, 0, {j, 4}), reg(n));
  build_end(b);
  build_end(b);
}
static int phases_expect(float buf[CASE_BUFS][CASE_FLOATS]) {
  float s[64];
  for (int i = 0; i < 64; i++) s[i] = 1;
  for (int round = 0; round < 9; round++) {
    for (int i = 0; i < 64; i++) buf[1][i] = s[63 - i] + buf[0][i];
    buf[1][0] += buf[1][1];
    for (int i = 0; i < 64; i++) s[i] = buf[1][i] + buf[0][i];
  }
  return 0;
}

/* Each iteration fills its thread's scratch and reads it back. */
static void scratch_build(struct builder *b) {
  int x = build_buf(b, BUF_IN, FLOATS(90)), y = build_buf(b, BUF_OUT, FLOATS(90));
  int s = build_buf(b, BUF_SCRATCH, FLOATS(3));
  int i = build_par(b, 0, val(30), 1);
  build_fill(b, ADDR(s, 0), val(3), 0x40000000);
  build_add(b, ADDR(s, 0), ADDR(x, 0, {i, 12}), ADDR(s, 0), val(3));
  build_add(b, ADDR(s, 0), ADDR(s, 0), ADDR(y, 0, {i, 12}), val(3));
  build_end(b);
}
static int scratch_expect(float buf[CASE_BUFS][CASE_FLOATS]) {
  for (int i = 0; i < 90; i++) buf[1][i] = (2 + buf[0][i]) * 2;
  return 0;
}

/* An index out of range faults, yet the other calls still run. Bits of 0.0 are index 0. */
static void fault_build(struct builder *b) {
  int x = build_buf(b, BUF_IN, FLOATS(8)), y = build_buf(b, BUF_OUT, FLOATS(8));
  int s = build_buf(b, BUF_SHARED, 64);
  build_fill(b, ADDR(s, 0), val(16), 0);
  build_fill(b, ADDR(s, 16), val(1), 77);
  int i = build_par(b, 0, val(8), 1);
  build_ukr(b, UKR_gather_4,
            (struct addr[]){ADDR(x, 0, {i, 4}), ADDR(s, 0, {i, 8}), ADDR(y, 0, {i, 4})},
            (struct val[]){val(1), val(1), val(1), val(1), val(1)});
  build_end(b);
}
static int fault_expect(float buf[CASE_BUFS][CASE_FLOATS]) {
  for (int i = 0; i < 8; i++)
    if (i != 2) buf[1][i] = buf[0][i];
  return UKR_RANGE;
}

/* Nothing to do: empty loops, an empty par, and no call at all. */
static void empty_build(struct builder *b) {
  int y = build_buf(b, BUF_OUT, FLOATS(4));
  build_loop(b, 5, val(5), 1);
  build_fill(b, ADDR(y, 0), val(4), 1);
  build_end(b);
  build_par(b, 7, val(3), 2);
  build_fill(b, ADDR(y, 0), val(4), 1);
  build_end(b);
}
static int empty_expect(float buf[CASE_BUFS][CASE_FLOATS]) {
  (void)buf;
  return 0;
}

static const struct test_case test_cases[] = {
    {"strips", strips_build, strips_expect}, {"nest", nest_build, nest_expect},
    {"phases", phases_build, phases_expect}, {"scratch", scratch_build, scratch_expect},
    {"fault", fault_build, fault_expect},    {"empty", empty_build, empty_expect},
};

struct case_memory {
  _Alignas(64) float got[CASE_BUFS][CASE_FLOATS];
  float want[CASE_BUFS][CASE_FLOATS];
  void *buf[CASE_BUFS];
};

static void case_fill(struct case_memory *m) {
  for (int i = 0; i < CASE_BUFS; i++) {
    for (int j = 0; j < CASE_FLOATS; j++) m->got[i][j] = (float)((i * 131 + j * 17) % 29);
    m->buf[i] = m->got[i];
  }
  memcpy(m->want, m->got, sizeof m->got);
}

/* Outputs agree bit for bit, and nothing behind them was touched. */
static void case_compare(const struct program *p, const struct case_memory *m) {
  for (uint32_t i = 0; i < p->nbuf; i++)
    if (p->buf[i].kind == BUF_IN || p->buf[i].kind == BUF_OUT)
      ck_assert_int_eq(memcmp(m->got[i], m->want[i], sizeof m->got[i]), 0);
}

static void case_build(const struct test_case *c, struct arena *a, struct program *p) {
  struct builder b;
  struct fvm_error err;
  build_init(&b, a);
  c->build(&b);
  OK(build_finish(&b, p, &err));
}

#endif
