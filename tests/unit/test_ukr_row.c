/* kernels/ukr.c, cpu.c: rows of ukr.def as the verifier and the assembler see them. */
#include "unit.h"

#include <string.h>

#include "../../kernels/ukr.h"

START_TEST(every_row_parses) {
  for (int i = 0; i < UKR_COUNT; i++) {
    const struct ukr_sig *s = ukr_sig((enum ukr_id)i);
    bool writes = false;
    ck_assert_int_eq(ukr_find(s->name, strlen(s->name)), i);
    ck_assert(s->nptr > 0 && s->nval > 0 && s->flop_coef >= 0);
    for (int k = 0; k < s->nptr; k++) {
      ck_assert_int_gt(s->ptr[k].ndim, 0);
      writes |= s->ptr[k].writes;
    }
    ck_assert_msg(writes, "%s writes nothing", s->name);
  }
}
END_TEST

START_TEST(names_are_found_whole) {
  ck_assert_int_eq(ukr_find("exp_f32", 7), UKR_exp_f32);
  ck_assert_int_eq(ukr_find("exp_f32", 6), UKR_COUNT);
  ck_assert_int_eq(ukr_find("", 0), UKR_COUNT);
}
END_TEST

static void expect_factor(struct ukr_factor f, int arg, int lit) {
  ck_assert_int_eq(f.arg, arg);
  ck_assert_int_eq(f.lit, lit);
}

/* "a:r4 m,sa q,qa r,ra k,ka | b:r4 q,qb r,rb k,32 32 | d:r4 m,sd n | c:w4 m,sc n | next:r1 0
 * | e:r4 add m,se n",
 * "m n<=32 k sa ka sd sc mode<=1 ahead q qa qb r ra rb se add<=1 clip<=1 lo hi" "2 m n k q r" */
START_TEST(gemm_row_reads_right) {
  const struct ukr_sig *s = ukr_sig(UKR_gemm_12x32);
  ck_assert_int_eq(s->nptr, 6);
  ck_assert_int_eq(s->nval, 20);
  ck_assert_str_eq(s->ptr[3].name, "c");
  ck_assert(s->ptr[3].writes && !s->ptr[3].reads && s->ptr[0].reads && !s->ptr[0].writes);
  ck_assert_int_eq(s->ptr[0].elem_bytes, 4);
  expect_factor(s->ptr[0].extent[0], 0, 1);
  expect_factor(s->ptr[0].stride[0], 3, 1);
  expect_factor(s->ptr[1].stride[1], 14, 1);
  expect_factor(s->ptr[1].stride[2], -1, 32);
  expect_factor(s->ptr[1].extent[3], -1, 32);
  expect_factor(s->ptr[1].stride[3], -1, 1);
  expect_factor(s->ptr[4].extent[0], -1, 0);
  ck_assert_str_eq(s->val[7].name, "mode");
  ck_assert_int_eq(s->val[1].max, 32);
  ck_assert_int_eq(s->val[2].max, INT64_MAX);
  ck_assert_int_eq(s->val[7].max, 1);
  ck_assert_int_eq(s->flop_coef, 2);
  ck_assert_int_eq(s->nflop, 5);
  ck_assert_int_eq(s->flop_arg[2], 2);
}
END_TEST

START_TEST(isas_are_ordered) {
  ck_assert(cpu_has(ISA_REF) && cpu_has(cpu_isa()));
  for (int i = 0; i < ISA_COUNT; i++) {
    ck_assert(i == 0 || !cpu_has((enum isa)i) || cpu_has((enum isa)(i - 1)));
    for (int k = 0; k < UKR_COUNT; k++) ck_assert(ukr_table((enum isa)i)[k] != NULL);
  }
  ck_assert_str_eq(isa_name(ISA_AVX2), "avx2");
}
END_TEST

UNIT_MAIN("ukr_row", every_row_parses, names_are_found_whole, gemm_row_reads_right,
          isas_are_ordered)
