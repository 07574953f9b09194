/* kernels/op.c, op_text.c, op_view.c: table of operators, opcalls, views. */
#include <math.h>
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

/* Attributes of every kind, and what each could be taken for. */
START_TEST(attributes_read_back) {
  static const int64_t ints[] = {7, -8};
  static const float floats[] = {0.5f, 3};
  static const struct tensor scalar = {.dtype = FVM_F32, .data = &floats[1]};
  static const struct attr attr[] = {{.name = "a", .kind = ATTR_INT, .i = INT64_MIN},
                                     {.name = "b", .kind = ATTR_FLOAT, .f = 2},
                                     {.name = "c", .kind = ATTR_FLOAT, .f = -INFINITY},
                                     {.name = "d", .kind = ATTR_INTS, .n = 2, .ints = ints},
                                     {.name = "e", .kind = ATTR_INTS, .n = 1, .ints = ints},
                                     {.name = "f", .kind = ATTR_INTS, .n = 0, .ints = ints},
                                     {.name = "g", .kind = ATTR_FLOATS, .n = 2, .floats = floats},
                                     {.name = "h", .kind = ATTR_FLOATS, .n = 1, .floats = floats},
                                     {.name = "i", .kind = ATTR_STRING, .s = "SAME_UPPER"},
                                     {.name = "j", .kind = ATTR_STRING, .s = ""},
                                     {.name = "k", .kind = ATTR_STRING, .s = "1) in=\"x\\\n"},
                                     {.name = "l", .kind = ATTR_STRING, .s = "nan"},
                                     {.name = "m", .kind = ATTR_TENSOR, .t = &scalar}};
  static const char want[] =
      "Relu a=-9223372036854775808 b=2. c=-inf d=7,-8 e=7, f=, g=0.5,3. h=0.5, i=SAME_UPPER j=\"\" "
      "k=\"1) in=\\22x\\5c\\0a\" l=\"nan\" m=f32[]{3} in=f32[4] out=f32[4]";
  struct arena a = {0};
  struct tensor in, out;
  struct text t = {0};
  struct fvm_error err;
  struct opcall c = {.op = op_find("Relu", 4), .nin = 1, .nown = 1, .nout = 1, .in = &in};
  c.out = &out, c.attr = attr, c.nattr = COUNT(attr), c.opset = 17;
  OK(tensor_init(&in, FVM_F32, 1, (int64_t[]){4}, &err));
  OK(opcall_shape(&c, &err));
  opcall_text(&c, &t);
  ck_assert_str_eq(t.v, want);
  text_free(&t);
  OK(opcall_read(want, &a, &c, &err));
  opcall_text(&c, &t);
  ck_assert_str_eq(t.v, want);
  for (size_t i = 0; i < COUNT(attr); i++)
    ck_assert_int_eq(opcall_attr(&c, attr[i].name)->kind, attr[i].kind);
  ck_assert_str_eq(opcall_attr(&c, "k")->s, attr[10].s);
  text_free(&t);
  arena_free(&a);
}
END_TEST

START_TEST(texts_of_others_are_refused) {
  static const char *const wrong[] = {
      "",
      "Nothing in=f32[2] out=f32[2]",
      "Relu",
      "Relu in=f32[2]",
      "Relu in=f32[2] out=f32[3]",
      "Relu in=f32[2] out=f32[2] ",
      "Relu in=f32[2] out=f32[2] body={",
      "Relu in=f32[2] out=f32[2] body={Add:f32(7,8)}",
      "Relu in=f32[2] out=f32[2] body={Add:f32(1,1,1,1)}",
      "Relu in=f32[-2] out=f32[-2]",
      "Relu in=f32[99999999999x99999999999] out=f32[1]",
      "Relu in=f32[1x1x1x1x1x1x1x1x1x1] out=f32[1]",
      "Relu in=f32[2]{1} out=f32[2]",
      "Relu in=f32[2]const out=f32[2]",
      "Relu in=f32[99]{1} out=f32[99]",
      "Relu in=q7[2] out=q7[2]",
      "Relu a= in=f32[2] out=f32[2]",
      "Relu a=1,x in=f32[2] out=f32[2]",
      "Relu a=\"b in=f32[2] out=f32[2]",
      "Relu a=f32[99]const:0123 in=f32[2] out=f32[2]",
      "Relu in=f32[2],f32[2] out=f32[2]",
      "Chain: Relu in=f32[2] out=f32[2]",
      "Chain: Relu in=f32[2] out=f32[2] -> Relu in=f32[2] out=f32[2]"};
  for (size_t i = 0; i < COUNT(wrong); i++) {
    struct arena a = {0};
    struct opcall c;
    struct fvm_error err = {0};
    enum fvm_status st = opcall_read(wrong[i], &a, &c, &err);
    ck_assert_msg(st == FVM_EFORMAT || st == FVM_EUNSUPPORTED, "%s: %d", wrong[i], (int)st);
    ck_assert_int_gt(strlen(err.text), 10);
    arena_free(&a);
  }
}
END_TEST

/* Bytes changed, dropped and doubled at random: read, or refused with a reason; what is read can be
 * printed and has labels that can be asked for. */
START_TEST(broken_texts_are_survived) {
  static const char *const whole[] = {
      "Conv dilations=1,1 group=1 kernel_shape=3,3 pads=1,1,1,1 strides=1,1 "
      "in=f32[1x64x9x9],f32[32x64x3x3]const,f32[32]const;f32[1x32x9x9] out=f32[1x32x9x9] "
      "body={Add:f32(4,3) Clip:f32(5,-1,-1)}",
      "Chain: Conv kernel_shape=3,3 in=f32[1x3x9x9],f32[16x3x3x3]const out=f32[1x16x7x7] -> "
      "MaxPool kernel_shape=3,3 strides=2,2 in=f32[1x16x7x7] out=f32[1x16x3x3]",
      "Slice in=f32[4x9],i64[1]{1},i64[1]{7},i64[1]{1} out=f32[4x6]",
      "Gather axis=0 in=f32[9x4],i64[2x2] out=f32[2x2x4]",
      "FusedElementwise in=f32[4x9],f32[9] out=f32[4x9] body={Mul:f32(0,1) LeakyRelu:f32(3 "
      "alpha=2.)}"};
  uint64_t seed = 1;
  int taken = 0;
  for (int k = 0; k < 20000; k++) {
    struct arena a = {0};
    struct opcall c;
    struct fvm_error err = {0};
    char s[400];
    size_t n = (size_t)snprintf(s, sizeof s, "%s", whole[k % (int)COUNT(whole)]);
    for (int e = 0; e < 1 + k % 3; e++) {
      seed = fvm_hash(&seed, sizeof seed, 0);
      size_t at = (size_t)(seed >> 8) % n;
      if (seed % 3 == 0)
        s[at] = "0123456789-,;x[]{}() =:.azAf"[(seed >> 40) % 28];
      else
        memmove(s + at + seed % 3 - 1, s + at, n - at + 1 - (seed % 3 == 1));
      n = strlen(s);
      if (n < 2 || n > 300) break;
    }
    enum fvm_status st = opcall_read(s, &a, &c, &err);
    ck_assert_msg(st == FVM_OK || err.text[0], "%s", s);
    struct text t = {0};
    struct label l;
    const struct target target = {.threads = {1}, .nthreads = 1, .l1_bytes = 32 << 10};
    if (st == FVM_OK) {
      opcall_text(&c, &t);
      opcall_label(&c, &target, 0, &l);
      taken++;
    }
    text_free(&t);
    arena_free(&a);
  }
  ck_assert_int_gt(taken, 100);
}
END_TEST

START_TEST(conversions_read_back) {
  struct fvm_error err = {0};
  struct tensor t, back;
  OK(tensor_init(&t, FVM_F32, 4, (int64_t[]){1, 32, 7, 7}, &err));
  for (int from = 0; from < LAYOUT_COUNT; from++)
    for (int to = 0; to < LAYOUT_COUNT; to++) {
      struct text text = {0};
      enum layout f, o;
      if (!layout_fits(&t, (enum layout)from) || !layout_fits(&t, (enum layout)to)) continue;
      convert_text(&t, (enum layout)from, (enum layout)to, &text);
      OK(convert_read(text.v, &back, &f, &o, &err));
      ck_assert_uint_eq(convert_hash(&back, f, o), fvm_hash(text.v, text.n, 0));
      text_free(&text);
    }
  static const char *const wrong[] = {"Convert f32[2x2]", "Convert f32[2x2] row", "Relu",
                                      "Convert f32[2x2] row->nowhere", "Convert f32[2] row->nhwc"};
  for (size_t i = 0; i < COUNT(wrong); i++) {
    enum layout f, o;
    ck_assert_int_eq(convert_read(wrong[i], &back, &f, &o, &err), FVM_EFORMAT);
  }
}
END_TEST

UNIT_MAIN("op", attributes_read_back, texts_of_others_are_refused, broken_texts_are_survived,
          conversions_read_back, table_is_sound, tensor_sizes_are_bounded, texts, reshapes,
          squeezes, arguments_are_checked)
