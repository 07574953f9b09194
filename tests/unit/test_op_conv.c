/* Convolutions and pools: known values, and all labels of random ones against the reference. */
#include "opcheck.h"

static struct opcase o;

static int64_t upto(int64_t n) { return 1 + opcase_random(&o, n); }

static void begin(const char *op, int opset, uint64_t seed) {
  opcase_init_seeded(&o, op, opset, seed);
  if (seed % 2) o.target.l2_bytes = 4 << 10;
}

/* Strides, dilations and padding (or auto_pad) of a window over nd axes. */
static void random_window(int nd, int64_t pad) {
  static const char *const automatic[] = {"SAME_UPPER", "SAME_LOWER", "VALID"};
  opcase_attr_random(&o, "strides", nd, 1, 2);
  opcase_attr_random(&o, "dilations", nd, 1, 2);
  int64_t k = opcase_random(&o, 6);
  if (k < 3)
    opcase_attr_string(&o, "auto_pad", automatic[k]);
  else
    opcase_attr_random(&o, "pads", 2 * nd, 0, pad);
}

START_TEST(conv_known) {
  opcase_init(&o, "Conv", 11);
  opcase_attr_ints(&o, "pads", 4, (int64_t[]){0, 1, 0, 0});
  opcase_in(&o, FVM_F32, 4, (int64_t[]){1, 1, 2, 3});
  opcase_set(&o, (double[]){1, 2, 3, 4, 5, 6});
  opcase_in(&o, FVM_F32, 4, (int64_t[]){2, 1, 2, 2});
  opcase_set(&o, (double[]){1, 0, 0, 1, 0, 1, 1, 0});
  opcase_in(&o, FVM_F32, 1, (int64_t[]){2});
  opcase_set(&o, (double[]){10, 0});
  opcase_reference(&o);
  opcase_expect(&o, 0, 4, (int64_t[]){1, 2, 1, 3}, (double[]){14, 16, 18, 1, 6, 8});
  ck_assert_int_ge(opcase_run(&o), 2);
}
END_TEST

/* kind 0: relu; 1: residual and relu; 2: another type. Own inputs are 0 to 2. */
static void add_body(int kind, struct tensor out) {
  opcase_own(&o);
  if (kind == 0) {
    opcase_item(&o, "Relu", FVM_F32, 1, (int[]){3});
    return;
  }
  opcase_in(&o, FVM_F32, out.rank, out.dim);
  opcase_item(&o, "Add", FVM_F32, 2, (int[]){4, 3});
  if (kind == 1)
    opcase_item(&o, "Relu", FVM_F32, 1, (int[]){5});
  else
    opcase_item(&o, "IsNaN", FVM_BOOL, 1, (int[]){5});
}

START_TEST(conv_random) {
  for (uint64_t seed = 0; seed < 60; seed++) {
    begin("Conv", 11, seed);
    int nd = seed % 5 == 4 ? 1 : 2, groups = seed % 3 == 1 ? 3 : 1;
    int64_t in = seed % 6 == 1 ? 1 : upto(9), out = upto(20);
    int64_t k = upto(3), h = nd == 1 ? 17 : 5 + upto(9), w = 6 + upto(8), n = upto(2);
    opcase_attr_int(&o, "group", groups);
    if (seed % 4)
      random_window(nd, 2);
    else
      k = 1;
    opcase_in(&o, FVM_F32, 2 + nd, (int64_t[]){n, groups * in, h, w});
    opcase_in(&o, FVM_F32, 2 + nd, (int64_t[]){groups * out, in, k, k});
    if (seed % 7) {
      opcase_in(&o, FVM_F32, 1, (int64_t[]){groups * out});
      struct fvm_error err;
      OK(opcall_shape(&o.c, &err));
      if (seed % 2) add_body((int)(seed / 2 % 3), o.out[0]);
    }
    ck_assert_int_ge(opcase_run(&o), 2);
  }
}
END_TEST

/* A body on one value, 0 to 3 inputs before it: bounds that join the micro-kernel, and others. */
static void add_tail(int kind, int nin, struct tensor out) {
  opcase_own(&o);
  int64_t one = 1, channels[] = {out.dim[1], 1, 1};
  switch (kind) {
  case 0:
    opcase_item(&o, "Relu", FVM_F32, 1, (int[]){nin});
    return;
  case 1:
    opcase_const(&o, FVM_F32, 0, NULL, (double[]){-0.5});
    opcase_const(&o, FVM_F32, 1, &one, (double[]){0.75});
    opcase_item(&o, "Clip", FVM_F32, 3, (int[]){nin + 2, nin, nin + 1});
    return;
  case 2:
    opcase_item(&o, "Silu", FVM_F32, 1, (int[]){nin});
    return;
  case 3:
    opcase_in(&o, FVM_F32, out.rank, out.dim);
    opcase_in(&o, FVM_F32, 3, channels);
    opcase_item(&o, "Relu", FVM_F32, 1, (int[]){nin + 2});
    opcase_item(&o, "Add", FVM_F32, 2, (int[]){nin, nin + 3});
    opcase_item(&o, "Mul", FVM_F32, 2, (int[]){nin + 4, nin + 1});
    return;
  default:
    opcase_item(&o, "Relu", FVM_F32, 1, (int[]){nin});
    opcase_item(&o, "Add", FVM_F32, 2, (int[]){nin, nin + 1});
    opcase_item(&o, "IsNaN", FVM_BOOL, 1, (int[]){nin + 2});
  }
}

/* Square windows of all sizes, strides and dilations, on sizes about those of the blocks. */
static bool draw_window(uint64_t seed, int64_t h, int64_t w) {
  static const int64_t kernels[] = {1, 2, 3, 3, 5, 7, 4, 9};
  int64_t k = kernels[seed % 8], s = 1 + opcase_random(&o, 3), d = opcase_random(&o, 4) ? 1 : 2;
  int64_t reach = (k - 1) * d + 1, pad[4];
  for (int i = 0; i < 4; i++) pad[i] = opcase_random(&o, 2) ? reach / 2 : opcase_random(&o, reach);
  opcase_attr_ints(&o, "strides", 2, (int64_t[]){1 + opcase_random(&o, 2), s});
  opcase_attr_ints(&o, "dilations", 2, (int64_t[]){d, d});
  opcase_attr_ints(&o, "pads", 4, pad);
  opcase_attr_ints(&o, "kernel_shape", 2, (int64_t[]){k, k});
  return h + pad[0] + pad[2] >= reach && w + pad[1] + pad[3] >= reach;
}

static int64_t draw_channels(void) {
  static const int64_t sizes[] = {16, 32, 48, 64, 1, 3, 17, 24, 40, 67};
  return sizes[opcase_random(&o, 10)];
}

START_TEST(depthwise_random) {
  for (uint64_t seed = 0; seed < 72; seed++) {
    begin("Conv", 11, seed);
    int64_t c = draw_channels(), h = upto(9), w = upto(seed % 3 ? 10 : 33), n = upto(2);
    if (!draw_window(seed, h, w)) {
      opcase_free(&o);
      continue;
    }
    int64_t k = o.attr[3].ints[0];
    opcase_attr_int(&o, "group", c);
    opcase_in(&o, FVM_F32, 4, (int64_t[]){n, c, h, w});
    opcase_in(&o, FVM_F32, 4, (int64_t[]){c, 1, k, k});
    if (seed % 4) opcase_in(&o, FVM_F32, 1, &c);
    struct fvm_error err;
    OK(opcall_shape(&o.c, &err));
    if (seed % 3) add_tail((int)opcase_random(&o, 5), o.c.nin, o.out[0]);
    ck_assert_int_ge(opcase_run(&o), c % 16 || n > 1 ? 2 : 4);
  }
}
END_TEST

START_TEST(pools_random) {
  for (uint64_t seed = 0; seed < 96; seed++) {
    bool max = seed / 8 % 2;
    begin(max ? "MaxPool" : "AveragePool", 19, seed);
    int64_t c = draw_channels(), h = upto(9), w = upto(seed % 3 ? 10 : 33), n = upto(2);
    if (!draw_window(seed, h, w)) {
      opcase_free(&o);
      continue;
    }
    opcase_attr_int(&o, "ceil_mode", seed % 5 < 2);
    opcase_attr_int(&o, "count_include_pad", seed % 2);
    opcase_in(&o, FVM_F32, 4, (int64_t[]){n, c, h, w});
    struct fvm_error err;
    OK(opcall_shape(&o.c, &err));
    if (seed % 3 == 0) add_tail((int)opcase_random(&o, 5), 1, o.out[0]);
    ck_assert_int_ge(opcase_run(&o), c % 16 || n > 1 ? 2 : 4);
  }
}
END_TEST

/* Global pools, and the reductions that are the same. */
START_TEST(whole_planes) {
  static const char *const op[] = {"GlobalAveragePool", "GlobalMaxPool", "ReduceMean", "ReduceMax",
                                   "ReduceSum"};
  for (uint64_t seed = 0; seed < 60; seed++) {
    int kind = (int)(seed % 5);
    begin(op[kind], 13, seed);
    int64_t c = draw_channels() * upto(4), n = upto(2), h = upto(12), w = upto(12);
    if (kind == 4) h = 13, w = 14; /* more rows than are added at a time */
    opcase_in(&o, FVM_F32, 4, (int64_t[]){n, c, h, w});
    if (kind == 4) {
      opcase_ints(&o, 2, (int64_t[]){-1, 2});
    } else if (kind >= 2) {
      opcase_attr_ints(&o, "axes", 2, (int64_t[]){2, 3});
    }
    if (kind >= 2) opcase_attr_int(&o, "keepdims", seed % 2);
    struct fvm_error err;
    OK(opcall_shape(&o.c, &err));
    if (kind < 2 && seed % 3) add_tail((int)opcase_random(&o, 5), 1, o.out[0]);
    ck_assert_int_ge(opcase_run(&o), c % 16 || n > 1 ? 2 : 4);
  }
}
END_TEST

/* A constant tensor of random values. */
static void constant(int rank, const int64_t *dim) {
  opcase_in(&o, FVM_F32, rank, dim);
  o.in[o.c.nin - 1].data = o.x[o.c.nin - 1];
}

static void winograd_case(uint64_t seed, int64_t n, int64_t in, int64_t out, int64_t h, int64_t w) {
  int64_t k = seed % 4 == 3 ? 5 : 3;
  begin("Conv", 11, seed);
  opcase_attr_ints(&o, "pads", 4,
                   (int64_t[]){opcase_random(&o, 3), opcase_random(&o, 3), opcase_random(&o, 3),
                               opcase_random(&o, 3)});
  opcase_in(&o, FVM_F32, 4, (int64_t[]){n, in, MAX(h, k), MAX(w, k)});
  constant(4, (int64_t[]){out, in, k, k});
  if (seed % 5 < 2) opcase_absent(&o);
  if (seed % 5 >= 2) constant(1, (int64_t[]){out});
  struct fvm_error err;
  OK(opcall_shape(&o.c, &err));
  if (seed % 3) add_body((int)(seed % 3) - 1, o.out[0]);
}

/* Labels that begin with this word. */
static int labels_of(const char *cand) {
  struct label l;
  int n = 0;
  for (int i = 0; opcall_label(&o.c, &o.target, i, &l); i++) n += !strcmp(l.cand->name, cand);
  return n;
}

/* Channels 1 to 67, images of 1 to 33, tiles that do not divide them, on each ISA. Errors grow with
 * the number of products in a sum. */
START_TEST(conv_winograd) {
  static const int64_t channels[] = {1, 3, 16, 17, 32, 48, 64, 67};
  int found = 0;
  for (uint64_t seed = 0; seed < 40; seed++) {
    int64_t in = channels[seed % 8], out = channels[seed * 3 / 2 % 8];
    winograd_case(seed, 1 + (seed % 9 == 8), in, out, upto(33), upto(33));
    o.tolerance = 1e-3; /* the largest outputs are above 100 */
    for (int isa = 0; isa < ISA_COUNT; isa++)
      if (cpu_has((enum isa)isa) && seed % ISA_COUNT == (unsigned)isa) o.target.isa = (enum isa)isa;
    found += labels_of("conv_winograd");
    ck_assert_int_ge(opcase_run(&o), 2);
  }
  ck_assert_int_ge(found, 80);
}
END_TEST

START_TEST(norms_of_windows) {
  opcase_init(&o, "LpPool", 18);
  opcase_attr_ints(&o, "kernel_shape", 2, (int64_t[]){1, 2});
  opcase_in(&o, FVM_F32, 4, (int64_t[]){1, 1, 1, 3});
  opcase_set(&o, (double[]){-3, 4, 12});
  opcase_reference(&o);
  opcase_expect(&o, 0, 4, (int64_t[]){1, 1, 1, 2}, (double[]){5, 12.649110640673518});
  ck_assert_int_ge(opcase_run(&o), 1);
  for (uint64_t seed = 0; seed < 24; seed++) {
    bool global = seed % 4 == 3;
    begin(global ? "GlobalLpPool" : "LpPool", 18, seed);
    opcase_attr_int(&o, "p", 1 + (int64_t)(seed % 3));
    if (!global) {
      opcase_attr_ints(&o, "kernel_shape", 2, (int64_t[]){upto(3), upto(4)});
      random_window(2, 1);
    }
    opcase_in(&o, FVM_F32, 4, (int64_t[]){upto(2), upto(5), 8 + upto(5), 8 + upto(5)});
    ck_assert_int_ge(opcase_run(&o), 1);
  }
}
END_TEST

START_TEST(conv_3d) {
  opcase_init(&o, "Conv", 11);
  opcase_in(&o, FVM_F32, 5, (int64_t[]){1, 1, 2, 1, 2});
  opcase_set(&o, (double[]){1, 2, 3, 4});
  opcase_in(&o, FVM_F32, 5, (int64_t[]){1, 1, 2, 1, 1});
  opcase_set(&o, (double[]){10, 1});
  opcase_reference(&o);
  opcase_expect(&o, 0, 5, (int64_t[]){1, 1, 1, 1, 2}, (double[]){13, 24});
  ck_assert_int_ge(opcase_run(&o), 2);
}
END_TEST

START_TEST(conv_refusals) {
  opcase_init(&o, "Conv", 11);
  opcase_in(&o, FVM_F32, 4, (int64_t[]){1, 3, 5, 5});
  opcase_in(&o, FVM_F32, 4, (int64_t[]){2, 2, 3, 3});
  opcase_refused(&o, FVM_EFORMAT, "3 input channels do not fit");
  opcase_init(&o, "Conv", 11);
  opcase_in(&o, FVM_F32, 4, (int64_t[]){1, 2, 2, 5});
  opcase_in(&o, FVM_F32, 4, (int64_t[]){2, 2, 3, 3});
  opcase_refused(&o, FVM_EFORMAT, "larger than its axis");
  opcase_init(&o, "Conv", 11);
  opcase_attr_ints(&o, "pads", 4, (int64_t[]){0, -1, 0, 0});
  opcase_in(&o, FVM_F32, 4, (int64_t[]){1, 2, 5, 5});
  opcase_in(&o, FVM_F32, 4, (int64_t[]){2, 2, 3, 3});
  opcase_refused(&o, FVM_EUNSUPPORTED, "'pads' has a value of -1");
}
END_TEST

START_TEST(pool_known) {
  const double x[] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
  opcase_init(&o, "MaxPool", 12);
  opcase_attr_ints(&o, "kernel_shape", 2, (int64_t[]){2, 2});
  opcase_attr_ints(&o, "strides", 2, (int64_t[]){2, 2});
  opcase_attr_int(&o, "ceil_mode", 1);
  opcase_in(&o, FVM_F32, 4, (int64_t[]){1, 1, 3, 3});
  opcase_set(&o, x);
  opcase_reference(&o);
  opcase_expect(&o, 0, 4, (int64_t[]){1, 1, 2, 2}, (double[]){5, 6, 8, 9});
  ck_assert_int_ge(opcase_run(&o), 1);
  for (int count_pad = 0; count_pad < 2; count_pad++) {
    opcase_init(&o, "AveragePool", 11);
    opcase_attr_ints(&o, "kernel_shape", 2, (int64_t[]){2, 2});
    opcase_attr_ints(&o, "strides", 2, (int64_t[]){2, 2});
    opcase_attr_ints(&o, "pads", 4, (int64_t[]){1, 1, 0, 0});
    opcase_attr_int(&o, "count_include_pad", count_pad);
    opcase_in(&o, FVM_F32, 4, (int64_t[]){1, 1, 3, 3});
    opcase_set(&o, x);
    opcase_reference(&o);
    double n = count_pad ? 4 : 1;
    opcase_expect(&o, 0, 4, (int64_t[]){1, 1, 2, 2},
                  (double[]){1 / n, 5 / (count_pad ? 4.0 : 2), 11 / (count_pad ? 4.0 : 2), 7});
    ck_assert_int_ge(opcase_run(&o), 1);
  }
}
END_TEST

START_TEST(pool_random) {
  static const char *const op[] = {"MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"};
  for (uint64_t seed = 0; seed < 48; seed++) {
    begin(op[seed % 4], 19, seed);
    int nd = seed % 5 == 4 ? 1 : 2;
    bool count_pad = seed % 8 == 1;
    int64_t dim[] = {upto(2), upto(5), 4 + upto(9), 4 + upto(9)};
    if (seed % 4 < 2) {
      opcase_attr_random(&o, "kernel_shape", nd, 2, 3);
      random_window(nd, 1);
      opcase_attr_int(&o, "count_include_pad", count_pad);
      opcase_attr_int(&o, "ceil_mode", !count_pad && seed % 3);
    }
    opcase_in(&o, FVM_F32, 2 + nd, dim);
    if (seed % 3 == 0) {
      opcase_own(&o);
      opcase_item(&o, "Relu", FVM_F32, 1, (int[]){1});
    }
    ck_assert_int_ge(opcase_run(&o), 1);
  }
}
END_TEST

UNIT_MAIN("op_conv", conv_known, conv_random, conv_winograd, conv_3d, conv_refusals, pool_known,
          pool_random, depthwise_random, pools_random, whole_planes, norms_of_windows)
