/* Softmax, normalisations and reductions: known values, and all labels against the reference. */
#include "opcheck.h"

#include <math.h>

static struct opcase o;

static void begin(const char *op, int opset, uint64_t seed) {
  opcase_init_seeded(&o, op, opset, seed);
  if (seed % 2) o.target.l1_bytes = 1 << 10;
}

static int64_t extent(void) {
  static const int64_t v[] = {1, 2, 3, 5, 8, 17, 33, 40};
  return v[opcase_random(&o, COUNT(v))];
}

START_TEST(softmax_known) {
  opcase_init(&o, "Softmax", 13);
  opcase_in(&o, FVM_F32, 2, (int64_t[]){2, 2});
  opcase_set(&o, (double[]){0, log(3), 5, 5});
  opcase_reference(&o);
  opcase_expect(&o, 0, 2, (int64_t[]){2, 2}, (double[]){0.25, 0.75, 0.5, 0.5});
  ck_assert_int_ge(opcase_run(&o), 1);
  /* Before opset 13 all axes from the second on are one line. */
  opcase_init(&o, "Softmax", 11);
  opcase_in(&o, FVM_F32, 3, (int64_t[]){1, 2, 2});
  opcase_set(&o, (double[]){0, log(2), 0, log(4)});
  opcase_reference(&o);
  opcase_expect(&o, 0, 3, (int64_t[]){1, 2, 2}, (double[]){0.125, 0.25, 0.125, 0.5});
  ck_assert_int_ge(opcase_run(&o), 1);
}
END_TEST

START_TEST(softmax_random) {
  for (uint64_t seed = 0; seed < 24; seed++) {
    begin(seed % 3 ? "Softmax" : "LogSoftmax", seed % 4 ? 13 : 11, seed);
    opcase_attr_int(&o, "axis", opcase_random(&o, 6) - 3);
    opcase_in(&o, FVM_F32, 3, (int64_t[]){extent(), extent(), extent()});
    ck_assert_int_ge(opcase_run(&o), 1);
  }
}
END_TEST

START_TEST(layernorm_known) {
  opcase_init(&o, "LayerNormalization", 17);
  opcase_attr_float(&o, "epsilon", 0);
  opcase_in(&o, FVM_F32, 2, (int64_t[]){1, 2});
  opcase_set(&o, (double[]){1, 3});
  opcase_in(&o, FVM_F32, 1, (int64_t[]){2});
  opcase_set(&o, (double[]){2, 4});
  opcase_in(&o, FVM_F32, 1, (int64_t[]){2});
  opcase_set(&o, (double[]){10, 20});
  opcase_reference(&o);
  opcase_expect(&o, 0, 2, (int64_t[]){1, 2}, (double[]){8, 24});
  ck_assert_int_ge(opcase_run(&o), 1);
}
END_TEST

START_TEST(layernorm_random) {
  for (uint64_t seed = 0; seed < 16; seed++) {
    begin("LayerNormalization", 17, seed);
    int64_t dim[3] = {extent(), extent(), 1 + extent()};
    int axis = 1 + (int)opcase_random(&o, 2);
    opcase_attr_int(&o, "axis", axis);
    opcase_in(&o, FVM_F32, 3, dim);
    opcase_in(&o, FVM_F32, seed % 5 ? 3 - axis : 1, seed % 5 ? dim + axis : (int64_t[]){1});
    if (seed % 3) opcase_in(&o, FVM_F32, 3 - axis, dim + axis);
    ck_assert_int_ge(opcase_run(&o), 1);
  }
}
END_TEST

START_TEST(rmsnorm_known) {
  opcase_init(&o, "RMSNormalization", 23);
  opcase_attr_float(&o, "epsilon", 0.5f);
  opcase_in(&o, FVM_F32, 2, (int64_t[]){2, 2});
  opcase_set(&o, (double[]){1, 0, 4, -5});
  opcase_in(&o, FVM_F32, 1, (int64_t[]){2});
  opcase_set(&o, (double[]){2, 42});
  opcase_reference(&o);
  opcase_expect(&o, 0, 2, (int64_t[]){2, 2}, (double[]){2, 0, 8 / sqrt(21), -210 / sqrt(21)});
  ck_assert_int_ge(opcase_run(&o), 1);
  opcase_init(&o, "RMSNormalization", 23);
  opcase_in(&o, FVM_F32, 2, (int64_t[]){1, 2});
  opcase_in(&o, FVM_F32, 1, (int64_t[]){3});
  opcase_refused(&o, FVM_EFORMAT, "3");
}
END_TEST

START_TEST(rmsnorm_random) {
  for (uint64_t seed = 0; seed < 16; seed++) {
    begin("RMSNormalization", 23, seed);
    int64_t dim[3] = {extent(), extent(), 1 + extent()};
    int axis = 1 + (int)opcase_random(&o, 2);
    opcase_attr_int(&o, "axis", axis);
    opcase_in(&o, FVM_F32, 3, dim);
    opcase_in(&o, FVM_F32, seed % 5 ? 3 - axis : 1, seed % 5 ? dim + axis : (int64_t[]){1});
    ck_assert_int_ge(opcase_run(&o), 1);
  }
}
END_TEST

/* A body on rows: y * column + residual. */
START_TEST(norm_bodies) {
  static const char *const op[] = {"Softmax", "LogSoftmax", "LayerNormalization",
                                   "RMSNormalization"};
  for (uint64_t seed = 0; seed < 12; seed++) {
    int k = (int)(seed % 4);
    begin(op[k], 17, seed);
    int64_t m = extent(), n = 1 + extent();
    if (k < 2) opcase_attr_int(&o, "axis", seed < 6 ? 1 : 0);
    opcase_in(&o, FVM_F32, 2, (int64_t[]){m, n});
    if (k >= 2) opcase_in(&o, FVM_F32, 1, &n);
    int in = o.c.nin;
    opcase_own(&o);
    opcase_in(&o, FVM_F32, 2, (int64_t[]){m, 1});
    opcase_in(&o, FVM_F32, 2, (int64_t[]){m, n});
    opcase_item(&o, "Mul", FVM_F32, 2, (int[]){in + 2, in});
    opcase_item(&o, "Add", FVM_F32, 2, (int[]){in + 3, in + 1});
    ck_assert_int_ge(opcase_run(&o), 1);
  }
}
END_TEST

START_TEST(channel_norms) {
  static const char *const op[] = {"BatchNormalization", "InstanceNormalization",
                                   "GroupNormalization"};
  for (uint64_t seed = 0; seed < 18; seed++) {
    int k = (int)(seed % 3);
    int opset = seed % 2 ? 18 : 21;
    begin(op[k], opset, seed);
    int64_t ch = 2 * extent();
    int64_t params = k == 2 && opset == 18 ? 2 : ch;
    opcase_attr_int(&o, "num_groups", 2);
    opcase_in(&o, FVM_F32, k == 0 && seed % 4 == 0 ? 2 : 4, (int64_t[]){2, ch, extent(), 3});
    o.lo = 0.5;
    for (int i = 0; i < (k == 0 ? 4 : 2); i++) opcase_in(&o, FVM_F32, 1, &params);
    ck_assert_int_ge(opcase_run(&o), k == 0);
  }
}
END_TEST

START_TEST(groupnorm_known) {
  opcase_init(&o, "GroupNormalization", 21);
  opcase_attr_int(&o, "num_groups", 1);
  opcase_attr_float(&o, "epsilon", 0);
  opcase_in(&o, FVM_F32, 3, (int64_t[]){1, 2, 1});
  opcase_set(&o, (double[]){1, 3});
  opcase_in(&o, FVM_F32, 1, (int64_t[]){2});
  opcase_set(&o, (double[]){1, 5});
  opcase_in(&o, FVM_F32, 1, (int64_t[]){2});
  opcase_set(&o, (double[]){0, 1});
  opcase_reference(&o);
  opcase_expect(&o, 0, 3, (int64_t[]){1, 2, 1}, (double[]){-1, 6});
  opcase_free(&o);
}
END_TEST

START_TEST(lrn_known) {
  opcase_init(&o, "LRN", 13);
  opcase_attr_int(&o, "size", 3);
  opcase_attr_float(&o, "alpha", 3);
  opcase_attr_float(&o, "beta", 1);
  opcase_in(&o, FVM_F32, 3, (int64_t[]){1, 3, 1});
  opcase_set(&o, (double[]){1, 2, 1});
  opcase_reference(&o);
  opcase_expect(&o, 0, 3, (int64_t[]){1, 3, 1}, (double[]){1.0 / 6, 2.0 / 7, 1.0 / 6});
  opcase_free(&o);
}
END_TEST

START_TEST(lrn_random) {
  static const int64_t channels[] = {1, 5, 16, 32, 48, 67, 272};
  for (int seed = 0; seed < 28; seed++) {
    int64_t c = channels[seed % 7];
    opcase_init(&o, "LRN", 13);
    opcase_attr_int(&o, "size", 1 + seed % 6);
    opcase_attr_float(&o, "alpha", 0.3f);
    if (seed % 3) opcase_attr_float(&o, "beta", seed % 3 == 1 ? 0.5f : 0.6f);
    if (seed % 2) opcase_attr_float(&o, "bias", 2);
    opcase_in(&o, FVM_F32, 4, (int64_t[]){1 + seed % 2, c, 1 + seed % 4, 5});
    ck_assert_int_ge(opcase_run(&o), c % 16 ? 4 : 6);
  }
}
END_TEST

static const struct {
  const char *op;
  double all, columns[3]; /* of {{1, 2, -3}, {4, -5, 6}} */
} reductions[] = {{"ReduceSum", 5, {5, -3, 3}},         {"ReduceMean", 5.0 / 6, {2.5, -1.5, 1.5}},
                  {"ReduceMax", 6, {4, 2, 6}},          {"ReduceMin", -5, {1, -5, -3}},
                  {"ReduceProd", 720, {4, -10, -18}},   {"ReduceL1", 21, {5, 7, 9}},
                  {"ReduceSumSquare", 91, {17, 29, 45}}};

START_TEST(reduce_known) {
  const double x[] = {1, 2, -3, 4, -5, 6};
  for (size_t i = 0; i < COUNT(reductions); i++) {
    opcase_init(&o, reductions[i].op, 13);
    opcase_attr_int(&o, "keepdims", 0);
    opcase_in(&o, FVM_F32, 2, (int64_t[]){2, 3});
    opcase_set(&o, x);
    opcase_reference(&o);
    opcase_expect(&o, 0, 0, NULL, &reductions[i].all);
    ck_assert_int_ge(opcase_run(&o), 1);
    opcase_init(&o, reductions[i].op, 18);
    opcase_in(&o, FVM_F32, 2, (int64_t[]){2, 3});
    opcase_set(&o, x);
    opcase_ints(&o, 1, (int64_t[]){-2});
    opcase_reference(&o);
    opcase_expect(&o, 0, 2, (int64_t[]){1, 3}, reductions[i].columns);
    ck_assert_int_ge(opcase_run(&o), 1);
  }
}
END_TEST

START_TEST(reduce_random) {
  static const char *const op[] = {"ReduceSum", "ReduceMean", "ReduceMax",       "ReduceMin",
                                   "ReduceL1",  "ReduceL2",   "ReduceSumSquare", "ReduceLogSum"};
  for (uint64_t seed = 0; seed < 64; seed++) {
    begin(op[seed % COUNT(op)], 18, seed);
    int64_t axes[4];
    int n = 0;
    for (int i = 0; i < 4; i++)
      if (opcase_random(&o, 2)) axes[n++] = i;
    if (seed % 8 == 7) o.lo = 0.5;
    opcase_attr_int(&o, "keepdims", seed % 3 == 0);
    opcase_in(&o, FVM_F32, 4, (int64_t[]){extent() % 4 + 1, extent(), extent(), extent() % 9 + 1});
    opcase_ints(&o, n, axes);
    ck_assert_int_ge(opcase_run(&o), 1);
  }
}
END_TEST

START_TEST(reduce_other) {
  opcase_init(&o, "ReduceLogSumExp", 18);
  opcase_in(&o, FVM_F32, 1, (int64_t[]){2});
  opcase_set(&o, (double[]){log(1), log(3)});
  opcase_attr_int(&o, "keepdims", 0);
  opcase_reference(&o);
  opcase_expect(&o, 0, 0, NULL, (double[]){log(4)});
  opcase_free(&o);
  opcase_init(&o, "ReduceProd", 18);
  opcase_in(&o, FVM_I64, 1, (int64_t[]){3});
  opcase_set(&o, (double[]){3, -4, 5});
  opcase_reference(&o);
  opcase_expect(&o, 0, 1, (int64_t[]){1}, (double[]){-60});
  opcase_free(&o);
  opcase_init(&o, "ArgMax", 13);
  opcase_attr_int(&o, "axis", 1);
  opcase_attr_int(&o, "select_last_index", 1);
  opcase_in(&o, FVM_F32, 3, (int64_t[]){1, 3, 2});
  opcase_set(&o, (double[]){1, 9, 7, 2, 7, 3});
  opcase_reference(&o);
  opcase_expect(&o, 0, 3, (int64_t[]){1, 1, 2}, (double[]){2, 0});
  opcase_free(&o);
}
END_TEST

UNIT_MAIN("op_norm", softmax_known, softmax_random, layernorm_known, layernorm_random,
          rmsnorm_known, rmsnorm_random, norm_bodies, channel_norms, groupnorm_known, lrn_known,
          lrn_random, reduce_known, reduce_random, reduce_other)
