/* Convolutions and pools over one to three axes, transposed convolutions, and normalisations of
 * channels: known values, and all labels of random ones against the reference. */
#include <math.h>

#include "opcheck.h"

static struct opcase o;
#define I(...) ((int64_t[]){__VA_ARGS__})
#define D(...) ((double[]){__VA_ARGS__})

static int64_t upto(int64_t n) { return 1 + opcase_random(&o, n); }

static void begin(const char *op, int opset, uint64_t seed) {
  opcase_init_seeded(&o, op, opset, seed);
  if (seed % 2) o.target.l2_bytes = 4 << 10;
}

static void add_relu(int value) {
  opcase_own(&o);
  opcase_item(&o, "Relu", FVM_F32, 1, (int[]){value});
}

/* ---- ConvTranspose ---- */

START_TEST(convt_known) {
  begin("ConvTranspose", 11, 0);
  opcase_attr_ints(&o, "strides", 1, I(2));
  opcase_in(&o, FVM_F32, 3, I(1, 1, 3));
  opcase_set(&o, D(1, 2, 3));
  opcase_in(&o, FVM_F32, 3, I(1, 1, 3));
  opcase_set(&o, D(1, 10, 100));
  opcase_in(&o, FVM_F32, 1, I(1));
  opcase_set(&o, D(0.5));
  opcase_reference(&o);
  opcase_expect(&o, 0, 3, I(1, 1, 7), D(1.5, 10.5, 102.5, 20.5, 203.5, 30.5, 300.5));
  ck_assert_int_ge(opcase_run(&o), 2);
}
END_TEST

/* Extents by what says them. */
START_TEST(convt_extents) {
  static const struct {
    const char *pad;
    int64_t extra, size, out, first; /* first: value at the start, 10 where the window is cut */
  } row[] = {{"NOTSET", 0, 0, 7, 1},      {"NOTSET", 1, 0, 8, 1},      {"VALID", 0, 0, 7, 1},
             {"SAME_UPPER", 0, 0, 6, 1},  {"SAME_LOWER", 0, 0, 6, 10}, {"NOTSET", 0, 6, 6, 10},
             {"SAME_UPPER", 0, 5, 5, 10}, {"NOTSET", 0, 9, 9, 1}};
  for (size_t i = 0; i < COUNT(row); i++) {
    begin("ConvTranspose", 11, i);
    opcase_attr_ints(&o, "strides", 1, I(2));
    opcase_attr_string(&o, "auto_pad", row[i].pad);
    opcase_attr_ints(&o, "output_padding", 1, &row[i].extra);
    if (row[i].size) opcase_attr_ints(&o, "output_shape", 1, &row[i].size);
    opcase_in(&o, FVM_F32, 3, I(1, 1, 3));
    opcase_set(&o, D(1, 2, 3));
    opcase_in(&o, FVM_F32, 3, I(1, 1, 3));
    opcase_set(&o, D(1, 10, 100));
    opcase_reference(&o);
    ck_assert_int_eq(o.out[0].dim[2], row[i].out);
    ck_assert_double_eq((double)((const float *)o.y[0])[0], (double)row[i].first);
    ck_assert_int_ge(opcase_run(&o), 2);
  }
}
END_TEST

START_TEST(convt_random) {
  for (uint64_t seed = 0; seed < 40; seed++) {
    begin("ConvTranspose", 11, seed);
    int nd = 1 + (int)(seed % 3), groups = seed % 4 == 1 ? 3 : 1;
    int64_t in = upto(9), out = upto(9), dim[5] = {upto(2), groups * in}, k[5] = {groups * in, out};
    for (int i = 0; i < nd; i++) {
      dim[2 + i] = 2 + opcase_random(&o, nd == 1 ? 30 : 5);
      k[2 + i] = 2 + opcase_random(&o, 2);
    }
    opcase_attr_int(&o, "group", groups);
    opcase_attr_random(&o, "strides", nd, 1, 3);
    opcase_attr_random(&o, "dilations", nd, 1, 2);
    opcase_attr_random(&o, "output_padding", nd, 0, 1);
    if (seed % 5) opcase_attr_random(&o, "pads", 2 * nd, 0, 1);
    opcase_in(&o, FVM_F32, 2 + nd, dim);
    opcase_in(&o, FVM_F32, 2 + nd, k);
    if (seed % 2) opcase_in(&o, FVM_F32, 1, I(groups * out));
    if (seed % 6 == 1) add_relu(3);
    ck_assert_int_ge(opcase_run(&o), 2);
  }
}
END_TEST

START_TEST(convt_refusals) {
  begin("ConvTranspose", 11, 0);
  opcase_in(&o, FVM_F32, 4, I(1, 3, 5, 5));
  opcase_in(&o, FVM_F32, 4, I(2, 2, 3, 3));
  opcase_refused(&o, FVM_EFORMAT, "3 input channels do not fit");
  begin("ConvTranspose", 11, 0);
  opcase_attr_ints(&o, "pads", 2, I(3, 3));
  opcase_in(&o, FVM_F32, 3, I(1, 1, 2));
  opcase_in(&o, FVM_F32, 3, I(1, 1, 2));
  opcase_refused(&o, FVM_EFORMAT, "leaves nothing of axis 0");
}
END_TEST

/* ---- three axes ---- */

START_TEST(conv3_random) {
  for (uint64_t seed = 0; seed < 30; seed++) {
    begin("Conv", 11, seed);
    int groups = seed % 3 == 1 ? 2 : 1;
    int64_t in = upto(5), out = upto(9);
    opcase_attr_int(&o, "group", groups);
    opcase_attr_random(&o, "strides", 3, 1, 2);
    opcase_attr_random(&o, "dilations", 3, 1, 2);
    if (seed % 4) opcase_attr_random(&o, "pads", 6, 0, 2);
    opcase_in(&o, FVM_F32, 5, I(upto(2), groups * in, 5 + upto(3), 5 + upto(3), 5 + upto(9)));
    opcase_in(&o, FVM_F32, 5, I(groups * out, in, upto(3), upto(3), upto(3)));
    if (seed % 2) opcase_in(&o, FVM_F32, 1, I(groups * out));
    if (seed % 6 == 1) add_relu(3);
    ck_assert_int_ge(opcase_run(&o), 2);
  }
}
END_TEST

static void random_pool(const char *op, uint64_t seed, int nd) {
  begin(op, 22, seed);
  int64_t dim[5] = {upto(2), upto(3)};
  for (int i = 0; i < nd; i++) dim[2 + i] = 5 + upto(6);
  opcase_attr_random(&o, "kernel_shape", nd, 2, 3);
  opcase_attr_random(&o, "strides", nd, 1, 3);
  opcase_attr_random(&o, "dilations", nd, 1, 2);
  if (seed % 4) opcase_attr_random(&o, "pads", 2 * nd, 0, 1);
  opcase_attr_int(&o, "ceil_mode", seed % 3 == 0);
  opcase_in(&o, FVM_F32, 2 + nd, dim);
}

START_TEST(pool3_random) {
  for (uint64_t seed = 0; seed < 40; seed++) {
    bool max = seed % 2 == 0;
    /* A plane is theirs too when its windows may leave the padding. */
    random_pool(max ? "MaxPool" : "AveragePool", seed, max || seed % 3 ? 3 : 2);
    if (!max) opcase_attr_int(&o, "count_include_pad", seed % 3 == 0 || seed % 5 == 0);
    if (seed % 6 == 1) add_relu(1);
    ck_assert_int_ge(opcase_run(&o), 1);
  }
}
END_TEST

/* ---- normalisations of channels ---- */

START_TEST(norms_known) {
  begin("InstanceNormalization", 6, 0);
  opcase_attr_float(&o, "epsilon", 0);
  opcase_in(&o, FVM_F32, 3, I(1, 2, 2));
  opcase_set(&o, D(1, 3, 10, 30));
  opcase_in(&o, FVM_F32, 1, I(2));
  opcase_set(&o, D(1, 2));
  opcase_in(&o, FVM_F32, 1, I(2));
  opcase_set(&o, D(0, 5));
  opcase_reference(&o);
  opcase_expect(&o, 0, 3, I(1, 2, 2), D(-1, 1, 3, 7));
  ck_assert_int_ge(opcase_run(&o), 1);
}
END_TEST

START_TEST(norms_random) {
  for (uint64_t seed = 0; seed < 40; seed++) {
    bool instance = seed % 2, old = seed % 4 == 0;
    int64_t groups = upto(4), per = upto(4), ch = groups * per, n = instance || !old ? ch : groups;
    begin(instance ? "InstanceNormalization" : "GroupNormalization", old ? 18 : 21, seed);
    if (!instance) opcase_attr_int(&o, "num_groups", groups);
    opcase_in(&o, FVM_F32, 4, I(upto(2), ch, upto(6), upto(6)));
    opcase_in(&o, FVM_F32, 1, I(n));
    opcase_in(&o, FVM_F32, 1, I(n));
    ck_assert_int_ge(opcase_run(&o), 1);
  }
}
END_TEST

UNIT_MAIN("op_volume", convt_known, convt_extents, convt_random, convt_refusals, conv3_random,
          pool3_random, norms_known, norms_random)
