/* vm/interp and code_length: programs give what plain loops give, on any number of threads. */
#include "unit.h"

#include "programs.h"

enum { THREADS = 3 };

static void run_case(const struct test_case *c, struct pool *pool, int n) {
  struct arena a = {0};
  struct program p;
  struct case_memory m;
  case_build(c, &a, &p);
  case_fill(&m);
  struct run run = {&p, test_ukr(), m.buf};
  int want = c->expect(m.want);
  ck_assert_int_eq(pool_run(pool, n, interp_run, &run), want);
  case_compare(&p, &m);
  arena_free(&a);
}

START_TEST(programs_run) {
  struct fvm_error err;
  struct pool *pool;
  OK(pool_new(THREADS, &pool, &err));
  for (size_t i = 0; i < COUNT(test_cases); i++)
    for (int n = 1; n <= THREADS; n++)
      for (int again = 0; again < 20; again++) run_case(&test_cases[i], pool, n);
  pool_free(pool);
}
END_TEST

/* Stepping with code_length meets every instruction and ends at the end. */
START_TEST(lengths_tile_a_program) {
  for (size_t i = 0; i < COUNT(test_cases); i++) {
    struct arena a = {0};
    struct program p;
    case_build(&test_cases[i], &a, &p);
    uint32_t at = 0;
    while (at < p.nword) {
      uint32_t len = code_length(&p, at);
      ck_assert_uint_gt(len, 0);
      at += len;
    }
    ck_assert_uint_eq(at, p.nword);
    ck_assert_uint_eq(code_length(&p, at), 0);
    arena_free(&a);
  }
}
END_TEST

/* An instruction that is cut short has no length. */
START_TEST(lengths_of_cut_programs) {
  struct arena a = {0};
  struct program p;
  case_build(&test_cases[0], &a, &p);
  for (uint32_t at = 0, len; at < p.nword; at += len) {
    len = code_length(&p, at);
    struct program cut = p;
    for (cut.nword = at; cut.nword < at + len; cut.nword++)
      ck_assert_uint_eq(code_length(&cut, at), 0);
    ck_assert_uint_eq(code_length(&cut, at), len);
  }
  arena_free(&a);
}
END_TEST

static uint32_t length_of(const uint64_t *word, uint32_t n) {
  static const struct buffer buf[2] = {{BUF_IN, 64}, {BUF_OUT, 64}};
  struct program p = {word, n, 3, 2, buf};
  return code_length(&p, 0);
}
#define LENGTH(...) length_of((uint64_t[]){__VA_ARGS__}, COUNT(((uint64_t[]){__VA_ARGS__})))

START_TEST(malformed_operands) {
  uint64_t c0 = word_pack(0, 0), c1 = word_pack(0, 1), r2 = word_pack(1, 2), r3 = word_pack(1, 3);
  uint64_t loop = word_head(OP_LOOP, 0, 0, 9), min = word_head(OP_MIN, 0, 1, 0);
  uint64_t fill = word_head(OP_UKR, 0, UKR_fill_4, 0), ptr = ptr_pack(1, 0, 0);
  ck_assert_uint_eq(LENGTH(loop, c0, r2, c1), 4);
  ck_assert_uint_eq(LENGTH(loop, r2, r2, c1), 0);               /* lo is constant */
  ck_assert_uint_eq(LENGTH(loop, c0, r3, c1), 0);               /* no such register */
  ck_assert_uint_eq(LENGTH(loop, c0, word_pack(1, -1), c1), 0); /* no such register */
  ck_assert_uint_eq(LENGTH(loop, c0, word_pack(2, 0), c1), 0);  /* no such tag */
  ck_assert_uint_eq(LENGTH(loop, c0, r2, c0), 0);               /* step 0 */
  ck_assert_uint_eq(LENGTH(word_head(OP_LOOP, 3, 0, 9), c0, r2, c1), 0);
  ck_assert_uint_eq(LENGTH(min, c0, r2), 3);
  ck_assert_uint_eq(LENGTH(word_head(OP_MIN, 0, 3, 0), c0, r2), 0);
  ck_assert_uint_eq(LENGTH(fill, ptr, c1, c1, c1, c1), 6);
  ck_assert_uint_eq(LENGTH(fill, ptr, c1, c1, c1, r3), 0);
  ck_assert_uint_eq(LENGTH(fill, ptr_pack(2, 0, 0), c1, c1, c1, c1), 0); /* no such buffer */
  ck_assert_uint_eq(LENGTH(fill, ptr_pack(1, 9, 0), c1, c1, c1, c1, c1, c1, c1, c1, c1, c1), 0);
  ck_assert_uint_eq(LENGTH(fill, ptr_pack(1, 1, 0), word_pack(3, 4), c1, c1, c1, c1), 0);
  ck_assert_uint_eq(LENGTH(word_head(OP_UKR, 0, UKR_COUNT, 0), ptr, c1, c1, c1, c1), 0);
  ck_assert_uint_eq(LENGTH(word_head(OP_HALT, 0, 0, 0)), 1);
  ck_assert_uint_eq(LENGTH(word_head(OP_HALT, 0, 0, 1)), 0);
  ck_assert_uint_eq(LENGTH(word_head((enum opcode)OP_COUNT, 0, 0, 0)), 0);
  ck_assert_uint_eq(LENGTH(0xff), 0);
}
END_TEST

UNIT_MAIN("interp", programs_run, lengths_tile_a_program, lengths_of_cut_programs,
          malformed_operands)
