/* kernels/op_elt.c, elt_lower.c, op_fused.c, body.c: element-wise operators alone and fused. */
#include <math.h>
#include <string.h>

#include "opcheck.h"

/* ---- reference values by hand ---- */

static void unary(const char *op, double x, double want) {
  struct opcase o;
  opcase_init(&o, op, 21);
  opcase_in(&o, FVM_F32, 1, (int64_t[]){1});
  opcase_set(&o, &x);
  opcase_reference(&o);
  opcase_expect(&o, 0, 1, (int64_t[]){1}, &want);
  ck_assert_int_ge(opcase_run(&o), 1);
}

START_TEST(unary_values) {
  unary("Neg", 2, -2);
  unary("Abs", -3, 3);
  unary("Sqrt", 9, 3);
  unary("Reciprocal", 4, 0.25);
  unary("Exp", 1, 2.718281828);
  unary("Log", 2.718281828, 1);
  unary("Erf", 0.5, 0.5204998778);
  unary("Tanh", 1, 0.7615941560);
  unary("Sigmoid", 0, 0.5);
  unary("Relu", -1, 0);
  unary("LeakyRelu", -1, -0.01);
  unary("Elu", -1, -0.6321205588);
  unary("Celu", -1, -0.6321205588);
  unary("Selu", -1, -1.1113307378);
  unary("ThresholdedRelu", 0.5, 0);
  unary("Mish", 1, 0.8650983883);
  unary("HardSigmoid", 1, 0.7);
  unary("HardSwish", 1, 2. / 3);
  unary("Floor", -1.5, -2);
  unary("Ceil", -1.5, -1);
  unary("Round", 2.5, 2);
  unary("Sign", -7, -1);
  unary("Sin", 1, 0.8414709848);
  unary("Cos", 1, 0.5403023059);
  unary("Softplus", 0, 0.6931471806);
  unary("Softsign", -3, -0.75);
  unary("Gelu", 1, 0.8413447461);
  unary("Silu", 1, 0.7310585786);
  unary("IsNaN", (double)NAN, 1);
  unary("IsInf", -INFINITY, 1);
  unary("Relu", (double)NAN, (double)NAN);
  unary("LeakyRelu", (double)NAN, (double)NAN);
}
END_TEST

static void binary(const char *op, enum fvm_dtype d, double x, double y, double want) {
  struct opcase o;
  opcase_init(&o, op, 21);
  opcase_in(&o, d, 1, (int64_t[]){1});
  opcase_set(&o, &x);
  opcase_in(&o, d, 0, NULL);
  opcase_set(&o, &y);
  opcase_reference(&o);
  opcase_expect(&o, 0, 1, (int64_t[]){1}, &want);
  ck_assert_int_ge(opcase_run(&o), d == FVM_F32 || d == FVM_I64 || d == FVM_I32);
}

START_TEST(binary_values) {
  binary("Sub", FVM_F32, 1, 3, -2);
  binary("Div", FVM_I64, -7, 2, -3);
  binary("Div", FVM_I64, 7, 0, 0);
  binary("Mod", FVM_I64, -7, 3, 2);
  binary("Mod", FVM_I32, 7, -3, -2);
  binary("Pow", FVM_F32, 2, 10, 1024);
  binary("Max", FVM_I32, -4, 3, 3);
  binary("Min", FVM_F32, 1, (double)NAN, (double)NAN);
  binary("Mean", FVM_F32, 1, 4, 2.5);
  binary("Equal", FVM_I64, 5, 5, 1);
  binary("Less", FVM_F32, 1, 2, 1);
  binary("GreaterOrEqual", FVM_I32, 1, 2, 0);
  binary("Add", FVM_F16, 1.5, 2, 3.5);
  binary("Add", FVM_U8, 250, 10, 4);
  binary("Less", FVM_U64, 1, 0x1p63, 1);
  binary("PRelu", FVM_F32, -2, 0.25, -0.5);
}
END_TEST

START_TEST(clip_in_both_forms) {
  struct opcase o;
  opcase_init(&o, "Clip", 6);
  opcase_in(&o, FVM_F32, 1, (int64_t[]){3});
  opcase_set(&o, (double[]){-5, 1, 9});
  opcase_attr_float(&o, "max", 6);
  opcase_attr_float(&o, "min", 0);
  opcase_reference(&o);
  opcase_expect(&o, 0, 1, (int64_t[]){3}, (double[]){0, 1, 6});
  ck_assert_int_ge(opcase_run(&o), 1);
  opcase_init(&o, "Clip", 13);
  opcase_in(&o, FVM_I64, 1, (int64_t[]){3});
  opcase_set(&o, (double[]){-5, 1, 9});
  opcase_absent(&o);
  opcase_const(&o, FVM_I64, 0, NULL, (double[]){2});
  opcase_reference(&o);
  opcase_expect(&o, 0, 1, (int64_t[]){3}, (double[]){-5, 1, 2});
  ck_assert_int_ge(opcase_run(&o), 1);
}
END_TEST

/* ---- programs against the reference ---- */

/* Random shapes that broadcast to one of up to four axes. */
static void shapes(struct opcase *o, int *rank, int64_t *dim) {
  static const int64_t sizes[] = {1, 2, 3, 5, 8, 17};
  *rank = (int)opcase_random(o, 5);
  for (int i = 0; i < *rank; i++) dim[i] = sizes[opcase_random(o, 6)];
  if (*rank) dim[*rank - 1] *= 1 + 9 * opcase_random(o, 2);
}

static void add_broadcast(struct opcase *o, enum fvm_dtype d, int rank, const int64_t *dim) {
  int64_t own[FVM_MAXRANK];
  int drop = rank ? (int)opcase_random(o, rank + 1) * (int)opcase_random(o, 2) : 0;
  for (int i = drop; i < rank; i++) own[i - drop] = opcase_random(o, 3) ? dim[i] : 1;
  opcase_in(o, d, rank - drop, own);
}

static int random_case(const char *op, enum fvm_dtype d, int nin, uint64_t seed) {
  struct opcase o;
  int rank;
  int64_t dim[FVM_MAXRANK];
  opcase_init(&o, op, 21);
  o.seed += seed * 7919;
  shapes(&o, &rank, dim);
  if (d != FVM_F32) o.lo = -9, o.hi = 9;
  if (!strcmp(op, "Log") || !strcmp(op, "Sqrt") || !strcmp(op, "Pow")) o.lo = 0.1;
  for (int i = 0; i < nin; i++) {
    bool condition = !strcmp(op, "Where") && i == 0;
    add_broadcast(&o, condition ? FVM_BOOL : d, rank, dim);
  }
  return opcase_run(&o);
}

static const struct {
  const char *op;
  int nin;
} floats[] = {{"Add", 2},
              {"Sub", 2},
              {"Mul", 2},
              {"Div", 2},
              {"Pow", 2},
              {"Max", 3},
              {"Min", 2},
              {"Sum", 5},
              {"Mean", 3},
              {"Equal", 2},
              {"Less", 2},
              {"Greater", 2},
              {"LessOrEqual", 2},
              {"GreaterOrEqual", 2},
              {"Where", 3},
              {"Neg", 1},
              {"Abs", 1},
              {"Sqrt", 1},
              {"Reciprocal", 1},
              {"Exp", 1},
              {"Log", 1},
              {"Erf", 1},
              {"Tanh", 1},
              {"Sigmoid", 1},
              {"Relu", 1},
              {"LeakyRelu", 1},
              {"PRelu", 2},
              {"Elu", 1},
              {"HardSigmoid", 1},
              {"HardSwish", 1},
              {"Clip", 1},
              {"Clip", 3},
              {"Floor", 1},
              {"Ceil", 1},
              {"Round", 1},
              {"Sign", 1},
              {"Sin", 1},
              {"Cos", 1},
              {"Softplus", 1},
              {"Softsign", 1},
              {"Gelu", 1},
              {"Silu", 1},
              {"IsNaN", 1},
              {"IsInf", 1},
              {"Celu", 1},
              {"Selu", 1},
              {"ThresholdedRelu", 1},
              {"Mish", 1}};

START_TEST(random_floats) {
  for (size_t k = 0; k < COUNT(floats); k++)
    for (uint64_t s = 0; s < 6; s++)
      ck_assert_msg(random_case(floats[k].op, FVM_F32, floats[k].nin, s) > 0, "%s has no label",
                    floats[k].op);
}
END_TEST

START_TEST(random_integers) {
  static const char *const ops[] = {"Add",         "Sub",     "Mul",           "Div",   "Mod",
                                    "Max",         "Min",     "Mean",          "Equal", "Less",
                                    "LessOrEqual", "Greater", "GreaterOrEqual"};
  static const char *const one[] = {"Neg", "Abs", "Relu"};
  for (uint64_t s = 0; s < 4; s++) {
    for (size_t k = 0; k < COUNT(ops); k++) {
      ck_assert_int_gt(random_case(ops[k], FVM_I64, 2, s), 0);
      ck_assert_int_gt(random_case(ops[k], FVM_I32, 2, s), 0);
    }
    for (size_t k = 0; k < COUNT(one); k++) {
      ck_assert_int_gt(random_case(one[k], FVM_I64, 1, s), 0);
      ck_assert_int_gt(random_case(one[k], FVM_I32, 1, s), 0);
    }
    ck_assert_int_gt(random_case("And", FVM_BOOL, 2, s), 0);
    ck_assert_int_gt(random_case("Or", FVM_BOOL, 2, s), 0);
    ck_assert_int_gt(random_case("Xor", FVM_BOOL, 2, s), 0);
    ck_assert_int_gt(random_case("Not", FVM_BOOL, 1, s), 0);
    ck_assert_int_gt(random_case("Equal", FVM_BOOL, 2, s), 0);
    ck_assert_int_gt(random_case("Where", FVM_I64, 3, s), 0);
    ck_assert_int_gt(random_case("Where", FVM_BOOL, 3, s), 0);
  }
}
END_TEST

/* ONNX's numbers of types. */
START_TEST(casts) {
  static const struct {
    enum fvm_dtype d;
    int onnx;
  } types[] = {{FVM_F32, 1}, {FVM_I64, 7},  {FVM_I32, 6},  {FVM_BOOL, 9},
               {FVM_U8, 2},  {FVM_F64, 11}, {FVM_F16, 10}, {FVM_I8, 3}};
  int labels = 0;
  for (size_t i = 0; i < COUNT(types); i++)
    for (size_t j = 0; j < COUNT(types); j++) {
      struct opcase o;
      opcase_init(&o, "Cast", 13);
      o.lo = types[i].d == FVM_U8 ? 0 : -9, o.hi = 9;
      opcase_in(&o, types[i].d, 2, (int64_t[]){3, 7});
      opcase_attr_int(&o, "to", types[j].onnx);
      int n = opcase_run(&o);
      labels += n > 0;
      if (i < 4 && j < 4) ck_assert_msg(n > 0, "no cast %zu to %zu", i, j);
    }
  ck_assert_int_ge(labels, 25);
}
END_TEST

START_TEST(attributes_choose_strips) {
  struct opcase o;
  opcase_init(&o, "Gelu", 20);
  opcase_in(&o, FVM_F32, 1, (int64_t[]){100});
  opcase_attr_string(&o, "approximate", "tanh");
  ck_assert_int_gt(opcase_run(&o), 0);
  for (int neg = 0; neg < 2; neg++)
    for (int pos = 0; pos < 2; pos++) {
      opcase_init(&o, "IsInf", 10);
      opcase_in(&o, FVM_F32, 1, (int64_t[]){4});
      opcase_set(&o, (double[]){INFINITY, -INFINITY, 1, (double)NAN});
      opcase_attr_int(&o, "detect_negative", neg);
      opcase_attr_int(&o, "detect_positive", pos);
      opcase_reference(&o);
      opcase_expect(&o, 0, 1, (int64_t[]){4}, (double[]){pos, neg, 0, 0});
      ck_assert_int_gt(opcase_run(&o), 0);
    }
  for (int e = 1; e <= 3; e++) {
    opcase_init(&o, "Pow", 13);
    opcase_in(&o, FVM_F32, 2, (int64_t[]){3, 40});
    opcase_const(&o, e == 2 ? FVM_I64 : FVM_F32, 0, NULL, (double[]){e});
    ck_assert_int_gt(opcase_run(&o), 0);
  }
}
END_TEST

/* ---- fused ---- */

/* y = where(mask, gelu(x * s + b), x) + x, with row, column and scalar broadcasts. */
static void fused_case(int rank, const int64_t *dim, uint64_t seed) {
  struct opcase o;
  opcase_init(&o, "FusedElementwise", 17);
  o.seed += seed;
  o.c.nown = 0;
  opcase_own(&o);
  opcase_in(&o, FVM_F32, rank, dim);         /* 0: x */
  opcase_in(&o, FVM_F32, 0, NULL);           /* 1: s */
  opcase_in(&o, FVM_F32, 1, &dim[rank - 1]); /* 2: b */
  int64_t column[FVM_MAXRANK];
  for (int i = 0; i < rank; i++) column[i] = i == rank - 1 ? 1 : dim[i];
  opcase_in(&o, FVM_F32, rank, column);                   /* 3: m; 4: no anchor */
  opcase_item(&o, "Mul", FVM_F32, 2, (int[]){0, 1});      /* 5 */
  opcase_item(&o, "Add", FVM_F32, 2, (int[]){5, 2});      /* 6 */
  opcase_item(&o, "Gelu", FVM_F32, 1, (int[]){6});        /* 7 */
  opcase_item(&o, "IsNaN", FVM_BOOL, 1, (int[]){3});      /* 8 */
  opcase_item(&o, "Where", FVM_F32, 3, (int[]){8, 7, 0}); /* 9 */
  opcase_item(&o, "HardSwish", FVM_F32, 1, (int[]){9});   /* 10 */
  opcase_item(&o, "Add", FVM_F32, 2, (int[]){10, 0});     /* 11 */
  o.c.nown = 0;
  ck_assert_int_gt(opcase_run(&o), 0);
}

START_TEST(fused_bodies) {
  fused_case(1, (int64_t[]){5}, 1);
  fused_case(2, (int64_t[]){3, 70}, 2);
  fused_case(2, (int64_t[]){70, 3}, 3);
  fused_case(3, (int64_t[]){4, 5, 33}, 4);
  fused_case(4, (int64_t[]){2, 3, 7, 400}, 5);
  fused_case(2, (int64_t[]){2, 9000}, 6);
  fused_case(2, (int64_t[]){0, 9}, 7);
}
END_TEST

/* Values of several sizes share scratch; a long chain reuses few buffers. */
START_TEST(fused_sizes) {
  struct opcase o;
  opcase_init(&o, "FusedElementwise", 17);
  opcase_own(&o);
  opcase_in(&o, FVM_I64, 2, (int64_t[]){6, 50}); /* 0, 1: no anchor */
  struct attr to_float = {.name = "to", .kind = ATTR_INT, .i = 1};
  struct attr to_int = {.name = "to", .kind = ATTR_INT, .i = 7};
  opcase_item(&o, "Cast", FVM_F32, 1, (int[]){0}); /* 2 */
  for (int k = 0; k < 10; k++) opcase_item(&o, "Tanh", FVM_F32, 1, (int[]){2 + k});
  opcase_item(&o, "Cast", FVM_I64, 1, (int[]){12});
  opcase_item(&o, "Add", FVM_I64, 2, (int[]){13, 0});
  opcase_item(&o, "Equal", FVM_BOOL, 2, (int[]){13, 14});
  o.item[0].attr = &to_float;
  o.item[11].attr = &to_int;
  o.item[0].nattr = o.item[11].nattr = 1;
  o.c.nown = 0;
  ck_assert_int_gt(opcase_run(&o), 0);
}
END_TEST

/* Images in every layout: a residual, a scale for each channel of each image, one for each channel.
 */
START_TEST(images) {
  struct opcase o;
  for (int64_t c = 12; c <= 48; c += 4) {
    opcase_init(&o, "FusedElementwise", 13);
    opcase_own(&o);
    opcase_in(&o, FVM_F32, 4, (int64_t[]){2, c, 3, 5});
    opcase_in(&o, FVM_F32, 4, (int64_t[]){2, c, 3, 5});
    opcase_in(&o, FVM_F32, 4, (int64_t[]){2, c, 1, 1});
    opcase_in(&o, FVM_F32, 3, (int64_t[]){c, 1, 1});
    opcase_in(&o, FVM_F32, 4, (int64_t[]){1, 1, 3, 5});
    o.c.nown = 0;
    opcase_item(&o, "Add", FVM_F32, 2, (int[]){0, 1});
    opcase_item(&o, "Mul", FVM_F32, 2, (int[]){6, 2});
    opcase_item(&o, "Mul", FVM_F32, 2, (int[]){3, 7});
    if (c < 40) opcase_item(&o, "Sub", FVM_F32, 2, (int[]){8, 4});
    ck_assert_int_ge(opcase_run(&o), c % 16 ? 2 : 3);
  }
}
END_TEST

static void small_fused(struct opcase *o) {
  opcase_init(o, "FusedElementwise", 17);
  opcase_own(o);
  opcase_in(o, FVM_F32, 2, (int64_t[]){3, 4});
  opcase_item(o, "HardSwish", FVM_F32, 1, (int[]){0});
  opcase_item(o, "Add", FVM_F32, 2, (int[]){2, 0});
  o->c.nown = 0;
}

START_TEST(fused_text) {
  struct opcase o;
  struct text t = {0};
  small_fused(&o);
  opcase_reference(&o);
  opcall_text(&o.c, &t);
  ck_assert_str_eq(t.v, "FusedElementwise in=f32[3x4] out=f32[3x4] "
                        "body={HardSwish:f32(0) Add:f32(2,0)}");
  text_free(&t);
  opcase_free(&o);
}
END_TEST

START_TEST(bad_bodies) {
  struct opcase o;
  small_fused(&o);
  opcase_item(&o, "Equal", FVM_F32, 2, (int[]){2, 0});
  opcase_refused(&o, FVM_EFORMAT, "fused Equal gives bool, its item says f32");
  small_fused(&o);
  opcase_item(&o, "Add", FVM_F32, 2, (int[]){5, 0});
  opcase_refused(&o, FVM_EFORMAT, "fused Add uses a value before it is made");
  small_fused(&o);
  opcase_item(&o, "Add", FVM_F32, 2, (int[]){1, 0});
  opcase_refused(&o, FVM_EFORMAT, "fused Add uses a value before it is made");
  small_fused(&o);
  opcase_item(&o, "Reshape", FVM_F32, 2, (int[]){0, 0});
  opcase_refused(&o, FVM_EFORMAT, "fused Reshape cannot be in a body");
}
END_TEST

/* Let each allocation fail in turn: an error, no leak (unit_main looks). */
START_TEST(memory_runs_out) {
  struct opcase o;
  struct label l;
  struct fvm_error err = {0};
  int failed = 0;
  small_fused(&o);
  opcase_reference(&o);
  ck_assert(opcall_label(&o.c, &o.target, 0, &l));
  for (long n = 1; n < 20; n++) {
    struct arena a = {0};
    struct program p;
    fvm_fail_alloc(n);
    enum fvm_status shape = opcall_shape(&o.c, &err);
    enum fvm_status ref = opcall_ref(&o.c, (const void *const *)o.x, o.y, &err);
    enum fvm_status emit = opcall_emit(&o.c, &l, &a, &p, &err);
    fvm_fail_alloc(0);
    enum fvm_status st = shape ? shape : ref ? ref : emit;
    ck_assert(st == FVM_OK || st == FVM_ENOMEM);
    failed += st != FVM_OK;
    arena_free(&a);
  }
  ck_assert_int_ge(failed, 4);
  opcase_free(&o);
}
END_TEST

/* ---- the contract of body.h, for anchors ---- */

#define COLS(n) ((struct matrix_dims){.cols = (n)})

START_TEST(bodies_of_anchors) {
  struct opcase o;
  opcase_init(&o, "Exp", 17);
  opcase_in(&o, FVM_F32, 3, (int64_t[]){2, 3, 8});
  opcase_own(&o);
  opcase_in(&o, FVM_F32, 1, (int64_t[]){8});
  opcase_in(&o, FVM_F32, 3, (int64_t[]){2, 1, 8});
  opcase_item(&o, "Add", FVM_F32, 2, (int[]){3, 1});
  opcase_item(&o, "Mul", FVM_F32, 2, (int[]){4, 1});
  opcase_reference(&o);
  ck_assert(body_supported(&o.c));
  ck_assert(body_fits(&o.c, COLS(8)) && !body_fits(&o.c, COLS(4)) && !body_fits(&o.c, COLS(1)));
  ck_assert(!body_fits(&o.c, COLS(24)) && !body_fits(&o.c, COLS(5)));
  opcase_item(&o, "Mul", FVM_F32, 2, (int[]){5, 2});
  ck_assert(!body_fits(&o.c, COLS(8)));
  opcase_free(&o);
}
END_TEST

UNIT_MAIN("elt", unary_values, binary_values, clip_in_both_forms, random_floats, random_integers,
          casts, attributes_choose_strips, fused_bodies, fused_sizes, images, fused_text,
          bad_bodies, memory_runs_out, bodies_of_anchors)
