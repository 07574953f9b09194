/* vm/base: memory, arena, text, element types. */
#include "unit.h"

#include <math.h>
#include <string.h>

START_TEST(arena_grows_and_frees) {
  struct arena a = {0};
  for (int i = 1; i < 2000; i++) {
    unsigned char *p = arena_alloc(&a, (size_t)i, 7);
    ck_assert_ptr_nonnull(p);
    ck_assert_uint_eq((uintptr_t)p % 16, 0);
    for (int j = 0; j < i * 7; j++) ck_assert_uint_eq(p[j], 0);
    memset(p, 0xff, (size_t)i * 7);
  }
  arena_free(&a);
  ck_assert_uint_eq(fvm_bytes_in_use(), 0);
}
END_TEST

START_TEST(allocation_can_fail) {
  struct arena a = {0};
  fvm_fail_alloc(1);
  ck_assert_ptr_null(arena_alloc(&a, 1, 8));
  ck_assert_ptr_nonnull(arena_alloc(&a, 1, 8));
  ck_assert_ptr_null(arena_alloc(&a, SIZE_MAX / 2, 8));
  arena_free(&a);
}
END_TEST

START_TEST(text_appends) {
  struct text t = {0};
  for (int i = 0; i < 1000; i++) text_printf(&t, "%d,", i);
  ck_assert(!t.failed);
  ck_assert_uint_eq(t.n, strlen(t.v));
  ck_assert_uint_eq(t.n, 10 * 2 + 90 * 3 + 900 * 4);
  text_free(&t);
}
END_TEST

START_TEST(error_prefix) {
  struct fvm_error err;
  ck_assert_int_eq(fvm_fail(&err, FVM_EIO, "no %s", "room"), FVM_EIO);
  ck_assert_int_eq(fvm_prefix(&err, "file %d", 7), FVM_EIO);
  ck_assert_str_eq(err.text, "file 7: no room");
  ck_assert_int_eq(fvm_exit_status(FVM_EIO), 4);
  ck_assert_int_eq(fvm_exit_status(FVM_EINTR), 130);
}
END_TEST

/* Every half goes to float and back; rounding is to nearest even. */
START_TEST(half_round_trip) {
  for (uint32_t h = 0; h < 65536; h++) {
    float f = fvm_f16_to_f32((uint16_t)h);
    if (isnan(f))
      ck_assert_uint_eq(fvm_f32_to_f16(f) & 0x7e00, 0x7e00);
    else
      ck_assert_uint_eq(fvm_f32_to_f16(f), h);
  }
  ck_assert_uint_eq(fvm_f32_to_f16(1.0f + 0x1p-11f), 0x3c00);
  ck_assert_uint_eq(fvm_f32_to_f16(1.0f + 3 * 0x1p-11f), 0x3c02);
  ck_assert_uint_eq(fvm_f32_to_f16(65520.0f), 0x7c00);
  ck_assert_uint_eq(fvm_f32_to_f16(65519.0f), 0x7bff);
}
END_TEST

START_TEST(dtype_names) {
  for (int d = 1; d < FVM_DTYPES; d++) {
    const char *s = fvm_dtype_name((enum fvm_dtype)d);
    ck_assert_int_eq(fvm_dtype_parse(s, strlen(s)), d);
    ck_assert_uint_ge(fvm_dtype_bytes((enum fvm_dtype)d), 1);
  }
  ck_assert_int_eq(fvm_dtype_parse("f3", 2), FVM_NONE);
}
END_TEST

UNIT_MAIN("base", arena_grows_and_frees, allocation_can_fail, text_appends, error_prefix,
          half_round_trip, dtype_names)
