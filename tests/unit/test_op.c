/* kernels/op.c, op_text.c, op_view.c: table of operators, opcalls, views. */
#include <string.h>

#include "opcheck.h"

START_TEST(table_is_sound) {
  int n = 0;
  for (const struct op *op; (op = op_at(n)); n++) {
    ck_assert_ptr_eq(op_find(op->name, strlen(op->name)), op);
    ck_assert_int_le(op->nin_min, op->nin_max);
    ck_assert(op->shape && op->ref && op->cands);
  }
  ck_assert_int_ge(n, 40);
  ck_assert_ptr_null(op_find("Ad", 2));
}
END_TEST

START_TEST(tensor_sizes_are_bounded) {
  struct tensor t;
  struct fvm_error err;
  OK(tensor_init(&t, FVM_F32, 0, NULL, &err));
  ck_assert_int_eq(tensor_count(&t), 1);
  int64_t big[3] = {1 << 20, 1 << 20, 1 << 20}, zero[2] = {0, INT64_MAX};
  ck_assert_int_eq(tensor_init(&t, FVM_F32, 3, big, &err), FVM_EFORMAT);
  ck_assert_int_eq(tensor_init(&t, FVM_F32, 2, zero, &err), FVM_EFORMAT);
  ck_assert_int_eq(tensor_init(&t, FVM_F32, 1, (int64_t[]){-1}, &err), FVM_EFORMAT);
  ck_assert_int_eq(tensor_init(&t, FVM_F32, 9, big, &err), FVM_EUNSUPPORTED);
}
END_TEST

/* The text of a problem: attributes sorted, constants' values, no opset. */
START_TEST(texts) {
  struct opcase o;
  struct text t = {0};
  opcase_init(&o, "Reshape", 14);
  opcase_in(&o, FVM_F32, 2, (int64_t[]){2, 6});
  opcase_ints(&o, 2, (int64_t[]){3, -1});
  opcase_attr_int(&o, "zz", 1);
  opcase_attr_int(&o, "allowzero", 0);
  opcase_reference(&o);
  opcall_text(&o.c, &t);
  ck_assert_str_eq(t.v, "Reshape allowzero=0 zz=1 in=f32[2x6],i64[2]{3,-1} out=f32[3x4]");
  ck_assert_uint_eq(opcall_hash(&o.c), fvm_hash(t.v, t.n, 0));
  text_free(&t);
  struct label l;
  ck_assert(opcall_label(&o.c, &o.target, 0, &l));
  label_text(&o.c, &l, &t);
  ck_assert_str_eq(t.v, "view in=row,row out=row view=0");
  text_free(&t);
  ck_assert_int_ge(opcase_run(&o), 2);
}
END_TEST

static void reshape(int64_t rank, const int64_t *dim, int n, const int64_t *shape, int out_rank,
                    const int64_t *out) {
  struct opcase o;
  opcase_init(&o, "Reshape", 14);
  opcase_in(&o, FVM_F32, (int)rank, dim);
  opcase_ints(&o, n, shape);
  opcase_reference(&o);
  ck_assert_int_eq(o.out[0].rank, out_rank);
  for (int i = 0; i < out_rank; i++) ck_assert_int_eq(o.out[0].dim[i], out[i]);
  opcase_run(&o);
}

START_TEST(reshapes) {
  reshape(3, (int64_t[]){2, 3, 4}, 2, (int64_t[]){0, -1}, 2, (int64_t[]){2, 12});
  reshape(1, (int64_t[]){1}, 0, NULL, 0, NULL);
  reshape(2, (int64_t[]){0, 4}, 2, (int64_t[]){4, -1}, 2, (int64_t[]){4, 0});
  struct opcase o;
  opcase_init(&o, "Reshape", 14);
  opcase_in(&o, FVM_F32, 1, (int64_t[]){6});
  opcase_ints(&o, 1, (int64_t[]){5});
  opcase_refused(&o, FVM_EFORMAT, "Reshape: 6 elements do not become 5");
  opcase_init(&o, "Reshape", 14);
  opcase_in(&o, FVM_F32, 1, (int64_t[]){6});
  opcase_in(&o, FVM_I64, 1, (int64_t[]){2});
  opcase_refused(&o, FVM_EUNSUPPORTED, "input 'shape' is not constant");
}
END_TEST

static void expect_dims(struct opcase *o, int rank, const int64_t *dim) {
  opcase_reference(o);
  ck_assert_int_eq(o->out[0].rank, rank);
  for (int i = 0; i < rank; i++) ck_assert_int_eq(o->out[0].dim[i], dim[i]);
  ck_assert_int_ge(opcase_run(o), 1);
}

START_TEST(squeezes) {
  struct opcase o;
  opcase_init(&o, "Squeeze", 11);
  opcase_in(&o, FVM_I64, 3, (int64_t[]){1, 3, 1});
  opcase_attr_ints(&o, "axes", 1, (int64_t[]){-1});
  expect_dims(&o, 2, (int64_t[]){1, 3});
  opcase_init(&o, "Squeeze", 13);
  opcase_in(&o, FVM_F32, 3, (int64_t[]){1, 3, 1});
  expect_dims(&o, 1, (int64_t[]){3});
  opcase_init(&o, "Squeeze", 13);
  opcase_in(&o, FVM_F32, 3, (int64_t[]){1, 3, 1});
  opcase_ints(&o, 1, (int64_t[]){1});
  opcase_refused(&o, FVM_EFORMAT, "axis 1 has size 3");
  opcase_init(&o, "Unsqueeze", 13);
  opcase_in(&o, FVM_F32, 1, (int64_t[]){3});
  opcase_ints(&o, 2, (int64_t[]){-1, 0});
  expect_dims(&o, 3, (int64_t[]){1, 3, 1});
  opcase_init(&o, "Flatten", 13);
  opcase_in(&o, FVM_F32, 3, (int64_t[]){2, 3, 5});
  opcase_attr_int(&o, "axis", -1);
  expect_dims(&o, 2, (int64_t[]){6, 5});
  opcase_init(&o, "Identity", 13);
  opcase_in(&o, FVM_F32, 3, (int64_t[]){2, 3, 5});
  expect_dims(&o, 3, (int64_t[]){2, 3, 5});
}
END_TEST

START_TEST(arguments_are_checked) {
  struct opcase o;
  opcase_init(&o, "Add", 17);
  opcase_in(&o, FVM_F32, 1, (int64_t[]){6});
  opcase_refused(&o, FVM_EFORMAT, "Add: has 1 inputs, takes 2 to 2");
  opcase_init(&o, "HardSwish", 13);
  opcase_in(&o, FVM_F32, 1, (int64_t[]){6});
  opcase_refused(&o, FVM_EUNSUPPORTED, "needs opset 14");
  opcase_init(&o, "Add", 17);
  opcase_in(&o, FVM_F32, 1, (int64_t[]){6});
  opcase_in(&o, FVM_F32, 2, (int64_t[]){2, 5});
  opcase_refused(&o, FVM_EFORMAT, "shapes [6] and [2x5] do not broadcast");
  opcase_init(&o, "Add", 17);
  opcase_in(&o, FVM_F32, 1, (int64_t[]){6});
  opcase_in(&o, FVM_I64, 1, (int64_t[]){6});
  opcase_refused(&o, FVM_EFORMAT, "inputs 0 and 1 are f32 and i64");
}
END_TEST

UNIT_MAIN("op", table_is_sound, tensor_sizes_are_bounded, texts, reshapes, squeezes,
          arguments_are_checked)
