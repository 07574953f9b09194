/* vm/plan_read: good plans load; anything else is an error, never a crash. */
#include "unit.h"

#include <unistd.h>

#include "mkplan.h"

/* Load from memory that ends where the file ends, so that valgrind and ASan see a byte too far. */
static enum fvm_status load_copy(const unsigned char *bytes, size_t n, struct fvm_error *err) {
  struct fvm_plan *p = NULL;
  void *mem = NULL;
  CHECK(posix_memalign(&mem, FVM_ALIGN, n ? n : 1) == 0);
  memcpy(mem, bytes, n);
  enum fvm_status st = plan_load_memory(mem, n, &p, err);
  if (st == FVM_OK) fvm_unload(p);
  free(mem);
  return st;
}

START_TEST(loads_from_a_file) {
  struct mkplan m;
  struct fvm_plan *p;
  struct fvm_error err;
  char path[] = "test_plan_XXXXXX";
  mk_small(&m);
  mk_finish(&m);
  int fd = mkstemp(path);
  ck_assert_int_ge(fd, 0);
  ck_assert_int_eq(write(fd, m.bytes, m.n), (ssize_t)m.n);
  close(fd);
  OK(fvm_load(path, &p, &err));
  OK(plan_check_weights(p, &err));
  ck_assert_uint_eq(p->ntensor, 1);
  ck_assert_str_eq(plan_string(p, p->konst[0].name), "w");
  fvm_unload(p);
  ck_assert_int_eq(truncate(path, 100), 0);
  ck_assert_int_eq(fvm_load(path, &p, &err), FVM_EFORMAT);
  ck_assert_ptr_nonnull(strstr(err.text, path));
  unlink(path);
  ck_assert_int_eq(fvm_load(path, &p, &err), FVM_EFORMAT);
  ck_assert_int_eq(fvm_load(".", &p, &err), FVM_EFORMAT);
  fvm_unload(NULL);
  mk_free(&m);
}
END_TEST

START_TEST(every_length) {
  struct mkplan m;
  struct fvm_error err;
  mk_small(&m);
  mk_finish(&m);
  for (size_t n = 0; n < m.n; n++) ck_assert_int_eq(load_copy(m.bytes, n, &err), FVM_EFORMAT);
  ck_assert_int_eq(load_copy(m.bytes, m.n, &err), FVM_OK);
  mk_free(&m);
}
END_TEST

/* Weights are not looked at on loading; everything else is covered by a checksum. */
START_TEST(every_bit) {
  struct mkplan m;
  struct fvm_error err;
  mk_small(&m);
  mk_finish(&m);
  size_t weights = m.n - m.section[PLAN_WEIGHTS].n;
  for (size_t bit = 0; bit < m.n * 8; bit++) {
    m.bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
    enum fvm_status st = load_copy(m.bytes, m.n, &err);
    ck_assert_int_eq(st == FVM_OK, bit / 8 >= weights);
    m.bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
  }
  mk_free(&m);
}
END_TEST

/* The same with checksums made right again: the checks behind them do their work. */
START_TEST(every_bit_with_right_checksums) {
  struct mkplan m;
  struct fvm_error err;
  mk_small(&m);
  mk_finish(&m);
  size_t weights = m.n - m.section[PLAN_WEIGHTS].n, good = 0;
  for (size_t bit = 0; bit < weights * 8; bit++) {
    m.bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
    mk_checksums(m.bytes, m.n);
    enum fvm_status st = load_copy(m.bytes, m.n, &err);
    ck_assert(st == FVM_OK || st == FVM_EFORMAT || st == FVM_EUNSUPPORTED);
    good += st == FVM_OK;
    m.bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
  }
  ck_assert_uint_gt(good, 0); /* a name or a predicted time may be anything */
  ck_assert_uint_lt(good, weights * 8 / 2);
  mk_free(&m);
}
END_TEST

START_TEST(weights_are_checked_on_demand) {
  struct mkplan m;
  struct fvm_plan *p;
  struct fvm_error err;
  mk_small(&m);
  mk_finish(&m);
  m.bytes[m.n - 1] ^= 1;
  OK(plan_load_memory(m.bytes, m.n, &p, &err));
  ck_assert_int_eq(plan_check_weights(p, &err), FVM_EFORMAT);
  fvm_unload(p);
  mk_free(&m);
}
END_TEST

/* ---- rows that are wrong, one at a time ---- */

#define ROW(m, s, T, i) ((T *)(void *)(m)->section[s].v + (i))
#define META(m) ROW(m, PLAN_META, struct plan_meta, 0)
#define IO(m, i) ROW(m, PLAN_IO, struct plan_io, i)
#define STEP(m, i) ROW(m, PLAN_STEPS, struct plan_step, i)
#define BIND(m, i) ROW(m, PLAN_BINDS, struct plan_bind, i)
#define BUFFER(m, i) ROW(m, PLAN_BUFFERS, struct plan_buffer, i)
#define PROGRAM(m, i) ROW(m, PLAN_PROGRAMS, struct plan_program, i)
#define TENSOR(m) ROW(m, PLAN_TENSORS, struct plan_tensor, 0)

/* name, what to change, part of the error's text */
#define WRONGS(W)                                                                                  \
  W(threads0, META(m)->threads = 0, "META")                                                        \
  W(threads65, META(m)->threads = 65, "META")                                                      \
  W(machine, META(m)->machine = 1 << 20, "META: text outside")                                     \
  W(ninputs, META(m)->ninputs = 5, "IO")                                                           \
  W(arena, META(m)->arena_bytes = (uint64_t)1 << 60, "arena too large")                            \
  W(arena_short, META(m)->arena_bytes = 463, "TENSORS: row 0")                                     \
  W(arena_end, BIND(m, 2)->offset = 113, "step 0 (t = x + w): buffer 2 leaves its space")          \
  W(text, m->section[PLAN_STRINGS].v[m->section[PLAN_STRINGS].n - 1] = 'x', "STRINGS: no NUL")     \
  W(stream, META(m)->stream_bytes = (uint64_t)1 << 40, "META: stream beyond the weights")          \
  W(error, META(m)->max_error = -2, "META: error is no number")                                    \
  W(dtype, IO(m, 0)->dtype = FVM_DTYPES, "IO: row 0")                                              \
  W(rank, IO(m, 1)->rank = 9, "IO: row 1")                                                         \
  W(dim, IO(m, 2)->dim[1] = -25, "IO: row 2")                                                      \
  W(dims, (IO(m, 3)->dim[0] = (int64_t)1 << 40, IO(m, 3)->dim[1] = 1 << 30), "IO: row 3")          \
  W(smaller, IO(m, 0)->dim[0] = 3, "buffer 0 leaves its space")                                    \
  W(kind, BUFFER(m, 0)->kind = BUF_KINDS, "BUFFERS: row 0")                                        \
  W(bytes, BUFFER(m, 1)->bytes = -1, "BUFFERS: row 1")                                             \
  W(first_word, PROGRAM(m, 1)->first_word = 1 << 30, "PROGRAMS: row 1")                            \
  W(nword, PROGRAM(m, 2)->nword += 1, "PROGRAMS: row 2")                                           \
  W(no_word, PROGRAM(m, 2)->nword = 0, "PROGRAMS: row 2")                                          \
  W(first_buf, PROGRAM(m, 2)->first_buf += 1, "PROGRAMS: row 2")                                   \
  W(nreg, PROGRAM(m, 0)->nreg = CODE_MAXREG + 1, "PROGRAMS: row 0")                                \
  W(program, STEP(m, 3)->program = 3, "STEPS: row 3")                                              \
  W(step_threads, STEP(m, 0)->threads = 4, "STEPS: row 0")                                         \
  W(first_bind, STEP(m, 3)->first_bind += 1, "STEPS: row 3 has no binds")                          \
  W(space, BIND(m, 0)->space = SPACE_NONE + 1, "buffer 0 is bound to no known space")              \
  W(nowhere, BIND(m, 0)->space = SPACE_NONE, "buffer 0 leaves its space")                          \
  W(index, BIND(m, 0)->index = 2, "buffer 0 leaves its space")                                     \
  W(offset, BIND(m, 0)->offset = UINT64_MAX, "buffer 0 leaves its space")                          \
  W(weights, BIND(m, 2)->space = SPACE_WEIGHTS, "would write what is read only")                   \
  W(input, (BIND(m, 2)->space = SPACE_INPUT, BIND(m, 2)->offset = 0), "would write what")          \
  W(partly, BIND(m, 4)->offset = 60, "step 1 (t = t + t): buffers 1 and 2 overlap")                \
  W(no_scratch, BIND(m, 9)->space = SPACE_ARENA, "mixes scratch and data")                         \
  W(in_scratch, BIND(m, 7)->space = SPACE_SCRATCH, "mixes scratch and data")                       \
  W(scratch_place, BIND(m, 9)->offset = 32, "is not aligned")                                      \
  W(tensor, TENSOR(m)->bytes = 449, "TENSORS: row 0")                                              \
  W(life, TENSOR(m)->first = 4, "TENSORS: row 0")                                                  \
  W(part, m->section[PLAN_CONSTS].n -= 8, "CONSTS: wrong size")                                    \
  W(word, ROW(m, PLAN_CODE, uint64_t, 0)[0] = 0xff, "step 0 (t = x + w): word 0")                  \
  W(half_state, IO(m, 0)->state = 1, "IO: row 0 is no half of a state")                            \
  W(other_half, IO(m, 3)->state = 1, "IO: row 3 is no half of a state")                            \
  W(no_output, IO(m, 0)->state = 3, "IO: row 0 is no half of a state")                             \
  W(many_outputs, IO(m, 0)->state = UINT32_MAX, "IO: row 0 is no half of a state")                 \
  W(crossed, (make_state(m, 8), IO(m, 1)->state = 1), "IO: row 1 is no half of a state")           \
  W(same_rows, make_state(m, 4), "IO: row 0 is no half of a state")                                \
  W(fewer_rows, make_state(m, 3), "IO: row 0 is no half of a state")                               \
  W(two_axes, (make_state(m, 8), IO(m, 2)->dim[1] = 26), "IO: row 0 is no half of a state")        \
  W(other_type, (make_state(m, 8), IO(m, 2)->dtype = FVM_I32), "IO: row 0 is no half of a state")  \
  W(other_rank, (make_state(m, 8), IO(m, 2)->rank = 3), "IO: row 0 is no half of a state")         \
  W(past_itself, make_state(m, 8), "buffer 0 leaves its space")                                    \
  W(over_past, use_state(m), "step 2 (y = 2 (t + x)): buffer 2 would write over a state")          \
  W(over_end, (use_state(m), BIND(m, 8)->offset = 396), "buffer 2 would write over a state")       \
  W(race, ROW(m, PLAN_CODE, uint64_t, 0)[3] = word_pack(0, 6), "step 0 (t = x + w)")

/* Input x and output y as one state, y with so many rows. */
static void make_state(struct mkplan *m, int64_t rows) {
  IO(m, 0)->state = 1;
  IO(m, 2)->state = 1;
  IO(m, 2)->dim[0] = rows;
}

/* The same, x being read where it lies then. */
static void use_state(struct mkplan *m) {
  make_state(m, 8);
  BIND(m, 0)->space = BIND(m, 7)->space = SPACE_OUTPUT;
}

START_TEST(states) {
  struct mkplan m;
  struct fvm_error err;
  struct fvm_plan *p;
  mk_small(&m);
  use_state(&m);
  BIND(&m, 8)->offset = MK_N * 4;
  mk_finish(&m);
  OK(plan_load_memory(m.bytes, m.n, &p, &err));
  ck_assert_int_eq(fvm_input(p, 0)->state, 0);
  ck_assert_int_eq(fvm_output(p, 0)->state, 0);
  ck_assert_int_eq(fvm_input(p, 1)->state, -1);
  ck_assert_int_eq(fvm_output(p, 0)->stride[0], 100);
  ck_assert_int_eq(fvm_output(p, 0)->stride[1], 4);
  fvm_unload(p);
  mk_free(&m);
  mk_small(&m); /* along the last axis: that one is outermost then */
  use_state(&m);
  BIND(&m, 8)->offset = MK_N * 4;
  IO(&m, 2)->dim[0] = 4;
  IO(&m, 2)->dim[1] = 50;
  mk_finish(&m);
  OK(plan_load_memory(m.bytes, m.n, &p, &err));
  ck_assert_int_eq(fvm_output(p, 0)->stride[0], 4);
  ck_assert_int_eq(fvm_output(p, 0)->stride[1], 16);
  ck_assert_int_eq(fvm_input(p, 0)->stride[1], 16);
  fvm_unload(p);
  mk_free(&m);
}
END_TEST

#define WRONG(name, change, text)                                                                  \
  static void wrong_##name(struct mkplan *m) { change; }
WRONGS(WRONG)
#undef WRONG

static const struct wrong {
  const char *name, *text;
  void (*change)(struct mkplan *m);
} wrongs[] = {
#define WRONG(name, change, text) {#name, text, wrong_##name},
    WRONGS(WRONG)
#undef WRONG
};

START_TEST(wrong_rows) {
  for (size_t i = 0; i < COUNT(wrongs); i++) {
    struct mkplan m;
    struct fvm_error err = {FVM_OK, ""};
    mk_small(&m);
    wrongs[i].change(&m);
    mk_finish(&m);
    ck_assert_msg(load_copy(m.bytes, m.n, &err) == FVM_EFORMAT, "%s loads", wrongs[i].name);
    ck_assert_msg(strstr(err.text, wrongs[i].text) != NULL, "%s: %s", wrongs[i].name, err.text);
    mk_free(&m);
  }
}
END_TEST

START_TEST(other_version) {
  struct mkplan m;
  struct fvm_error err;
  mk_small(&m);
  mk_finish(&m);
  m.bytes[8] = 9;
  ck_assert_int_eq(load_copy(m.bytes, m.n, &err), FVM_EUNSUPPORTED);
  mk_free(&m);
}
END_TEST

START_TEST(no_memory) {
  struct mkplan m;
  struct fvm_plan *p = NULL;
  struct fvm_error err;
  mk_small(&m);
  mk_finish(&m);
  int failures = 0;
  for (;; failures++) {
    fvm_fail_alloc(failures + 1);
    enum fvm_status st = plan_load_memory(m.bytes, m.n, &p, &err);
    if (st == FVM_OK) break;
    ck_assert_int_eq(st, FVM_ENOMEM);
  }
  fvm_fail_alloc(0);
  ck_assert_int_eq(failures, 4);
  fvm_unload(p);
  mk_free(&m);
}
END_TEST

UNIT_MAIN("plan_read", loads_from_a_file, every_length, every_bit, every_bit_with_right_checksums,
          weights_are_checked_on_demand, states, wrong_rows, other_version, no_memory)
