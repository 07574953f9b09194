/* kernels/op_move.c, op_gather.c, op_const.c, box.c, nest.c, layout.c: data movement. */
#include <string.h>

#include "../../kernels/op_impl.h"
#include "../../vm/interp.h"
#include "../../vm/verify.h"
#include "opcheck.h"

static const double count_up[] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11,
                                  12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23};

/* A case whose input 0 holds 0, 1, 2, ... */
static void begin(struct opcase *o, const char *op, int opset, int rank, const int64_t *dim) {
  opcase_init(o, op, opset);
  opcase_in(o, FVM_F32, rank, dim);
  if (tensor_count(&o->in[0]) <= (int64_t)COUNT(count_up)) opcase_set(o, count_up);
}

static void end(struct opcase *o, int rank, const int64_t *dim, const double *v) {
  opcase_reference(o);
  opcase_expect(o, 0, rank, dim, v);
  ck_assert_int_ge(opcase_run(o), 1);
}
#define I(...) ((int64_t[]){__VA_ARGS__})
#define D(...) ((double[]){__VA_ARGS__})

START_TEST(values_by_hand) {
  struct opcase o;
  begin(&o, "Transpose", 13, 2, I(2, 3));
  end(&o, 2, I(3, 2), D(0, 3, 1, 4, 2, 5));
  begin(&o, "Concat", 13, 2, I(2, 2));
  opcase_in(&o, FVM_F32, 2, I(2, 1));
  opcase_set(&o, D(8, 9));
  opcase_attr_int(&o, "axis", -1);
  end(&o, 2, I(2, 3), D(0, 1, 8, 2, 3, 9));
  begin(&o, "Slice", 13, 2, I(3, 4));
  opcase_ints(&o, 2, I(-1, 0));
  opcase_ints(&o, 2, I(-100, 100));
  opcase_ints(&o, 2, I(0, 1));
  opcase_ints(&o, 2, I(-2, 3));
  end(&o, 2, I(2, 2), D(8, 11, 0, 3));
  begin(&o, "Slice", 9, 1, I(5));
  opcase_attr_ints(&o, "starts", 1, I(1));
  opcase_attr_ints(&o, "ends", 1, I(-1));
  end(&o, 1, I(3), D(1, 2, 3));
  begin(&o, "Expand", 13, 2, I(2, 1));
  opcase_ints(&o, 3, I(2, 1, 2));
  end(&o, 3, I(2, 2, 2), D(0, 0, 1, 1, 0, 0, 1, 1));
  begin(&o, "Tile", 13, 2, I(1, 2));
  opcase_ints(&o, 2, I(2, 2));
  end(&o, 2, I(2, 4), D(0, 1, 0, 1, 0, 1, 0, 1));
  begin(&o, "DepthToSpace", 13, 4, I(1, 4, 1, 2));
  opcase_attr_int(&o, "blocksize", 2);
  end(&o, 4, I(1, 1, 2, 4), D(0, 2, 1, 3, 4, 6, 5, 7));
  begin(&o, "SpaceToDepth", 13, 4, I(1, 1, 2, 4));
  opcase_attr_int(&o, "blocksize", 2);
  end(&o, 4, I(1, 4, 1, 2), D(0, 2, 1, 3, 4, 6, 5, 7));
}
END_TEST

static void pad(const char *mode, int64_t before, int64_t after, int n, const double *want) {
  struct opcase o;
  begin(&o, "Pad", 19, 1, I(4));
  opcase_ints(&o, 2, I(before, after));
  if (!strcmp(mode, "constant")) opcase_const(&o, FVM_F32, 0, NULL, D(-1));
  opcase_attr_string(&o, "mode", mode);
  end(&o, 1, I(n), want);
}

START_TEST(pads) {
  pad("constant", 1, 2, 7, D(-1, 0, 1, 2, 3, -1, -1));
  pad("constant", -1, 1, 4, D(1, 2, 3, -1));
  pad("edge", 2, 1, 7, D(0, 0, 0, 1, 2, 3, 3));
  pad("reflect", 3, 2, 9, D(3, 2, 1, 0, 1, 2, 3, 2, 1));
  pad("wrap", 2, 3, 9, D(2, 3, 0, 1, 2, 3, 0, 1, 2));
  struct opcase o;
  begin(&o, "Pad", 19, 1, I(4));
  opcase_ints(&o, 2, I(4, 0));
  opcase_attr_string(&o, "mode", "reflect");
  opcase_refused(&o, FVM_EUNSUPPORTED, "padding axis 0 of 4 elements by 4");
  begin(&o, "Pad", 19, 1, I(4));
  opcase_ints(&o, 2, I(-3, -3));
  opcase_refused(&o, FVM_EFORMAT, "cut more off axis 0");
  begin(&o, "Pad", 18, 3, I(2, 3, 4)); /* chosen axes, and 2 axes that copy */
  opcase_ints(&o, 4, I(1, 2, 1, 0));
  opcase_absent(&o);
  opcase_ints(&o, 2, I(2, 1));
  opcase_attr_string(&o, "mode", "edge");
  ck_assert_int_ge(opcase_run(&o), 1);
}
END_TEST

START_TEST(splits) {
  struct opcase o;
  begin(&o, "Split", 18, 2, I(2, 5));
  opcase_attr_int(&o, "axis", 1);
  opcase_attr_int(&o, "num_outputs", 2);
  o.c.nout = 2;
  opcase_reference(&o);
  opcase_expect(&o, 0, 2, I(2, 3), D(0, 1, 2, 5, 6, 7));
  opcase_expect(&o, 1, 2, I(2, 2), D(3, 4, 8, 9));
  ck_assert_int_ge(opcase_run(&o), 1);
  struct label l; /* parts that lie one after the other from cache lines on are no copies */
  for (int aligned = 0; aligned < 2; aligned++) {
    begin(&o, "Split", 13, 3, I(1, 1, 40));
    opcase_attr_int(&o, "axis", -1);
    opcase_ints(&o, 3, aligned ? I(16, 16, 8) : I(16, 8, 16));
    o.c.nout = 3;
    opcase_reference(&o);
    ck_assert(opcall_label(&o.c, &o.target, 0, &l));
    ck_assert_int_eq(l.view, aligned);
    ck_assert_int_ge(opcase_run(&o), 1 + aligned);
  }
  begin(&o, "Split", 13, 1, I(5));
  opcase_ints(&o, 2, I(4, 2));
  o.c.nout = 2;
  opcase_refused(&o, FVM_EFORMAT, "output 1 would have 2 of 1 elements left");
}
END_TEST

START_TEST(gathers) {
  struct opcase o;
  for (int d = 0; d < 2; d++) {
    begin(&o, "Gather", 13, 2, I(2, 3));
    opcase_in(&o, d ? FVM_I32 : FVM_I64, 2, I(1, 3));
    opcase_set(&o, D(2, -3, -1));
    opcase_attr_int(&o, "axis", 1);
    end(&o, 3, I(2, 1, 3), D(2, 0, 2, 5, 3, 5));
    begin(&o, "GatherElements", 13, 2, I(2, 3));
    opcase_in(&o, d ? FVM_I32 : FVM_I64, 2, I(2, 2));
    opcase_set(&o, D(2, -3, 1, 1));
    opcase_attr_int(&o, "axis", 1);
    end(&o, 2, I(2, 2), D(2, 0, 4, 4));
    begin(&o, "GatherElements", 13, 2, I(3, 2));
    opcase_in(&o, d ? FVM_I32 : FVM_I64, 2, I(2, 2));
    opcase_set(&o, D(2, 0, -2, 1));
    end(&o, 2, I(2, 2), D(4, 1, 2, 3));
    begin(&o, "GatherND", 13, 3, I(2, 2, 3));
    opcase_in(&o, d ? FVM_I32 : FVM_I64, 2, I(2, 1));
    opcase_set(&o, D(-1, 0));
    opcase_attr_int(&o, "batch_dims", 1);
    end(&o, 2, I(2, 3), D(3, 4, 5, 6, 7, 8));
  }
  begin(&o, "GatherND", 13, 2, I(2, 3));
  opcase_in(&o, FVM_I64, 2, I(2, 2));
  opcase_set(&o, D(1, 2, 0, -2));
  end(&o, 1, I(2), D(5, 1));
}
END_TEST

START_TEST(index_outside) {
  struct opcase o;
  struct fvm_error err;
  begin(&o, "Gather", 13, 2, I(2, 3));
  opcase_in(&o, FVM_I64, 1, I(1));
  opcase_set(&o, D(2));
  OK(opcall_shape(&o.c, &err));
  float y[3];
  void *out[] = {y};
  ck_assert_int_eq(opcall_ref(&o.c, (const void *const *)o.x, out, &err), FVM_EFAIL);
  ck_assert_str_eq(err.text, "Gather: index 2 is outside an axis of 2");
  opcase_free(&o);
}
END_TEST

START_TEST(made_from_shapes) {
  struct opcase o;
  begin(&o, "Shape", 15, 3, I(2, 3, 4));
  opcase_attr_int(&o, "start", -2);
  opcase_reference(&o);
  opcase_expect(&o, 0, 1, I(2), D(3, 4));
  opcase_free(&o);
  begin(&o, "Trilu", 14, 2, I(2, 3));
  opcase_reference(&o);
  opcase_expect(&o, 0, 2, I(2, 3), D(0, 1, 2, 0, 4, 5));
  opcase_free(&o);
  opcase_init(&o, "Range", 11);
  for (int i = 0; i < 3; i++) opcase_const(&o, FVM_I64, 0, NULL, &D(9, 2, -3)[i]);
  opcase_reference(&o);
  opcase_expect(&o, 0, 1, I(3), D(9, 6, 3));
  opcase_free(&o);
  begin(&o, "CumSum", 11, 2, I(2, 3));
  opcase_const(&o, FVM_I64, 0, NULL, D(1));
  opcase_attr_int(&o, "exclusive", 1);
  opcase_attr_int(&o, "reverse", 1);
  opcase_reference(&o);
  opcase_expect(&o, 0, 2, I(2, 3), D(3, 2, 0, 9, 5, 0));
  opcase_free(&o);
}
END_TEST

/* ---- random shapes: programs against references ---- */

static const enum fvm_dtype types[] = {FVM_F32, FVM_I64, FVM_F16, FVM_BOOL};

static int64_t size(struct opcase *o) {
  static const int64_t sizes[] = {1, 2, 3, 7, 16, 65, 130};
  return sizes[opcase_random(o, 7)];
}

static void random_dims(struct opcase *o, int rank, int64_t *dim) {
  for (int i = 0; i < rank; i++) dim[i] = size(o);
  while (dims_product(dim, 0, rank) > 60000)
    for (int i = 0; i < rank; i++) dim[i] = CEIL_DIV(dim[i], 2);
}

START_TEST(random_transposes) {
  for (int k = 0; k < 40; k++) {
    struct opcase o;
    int64_t dim[4], perm[4] = {0, 1, 2, 3};
    opcase_init(&o, "Transpose", 13);
    o.seed += 7001u * (unsigned)k;
    int rank = 1 + (int)opcase_random(&o, 4);
    random_dims(&o, rank, dim);
    for (int i = rank - 1; i > 0; i--) {
      int j = (int)opcase_random(&o, i + 1);
      int64_t t = perm[i];
      perm[i] = perm[j];
      perm[j] = t;
    }
    opcase_in(&o, types[k % 4], rank, dim);
    opcase_attr_ints(&o, "perm", rank, perm);
    ck_assert_int_ge(opcase_run(&o), 2);
  }
}
END_TEST

/* Swapping the last two axes is free between row and col; so is NCHW to NHWC. */
START_TEST(transposes_rename_layouts) {
  struct opcase o;
  struct label l;
  begin(&o, "Transpose", 13, 3, I(2, 3, 4));
  opcase_attr_ints(&o, "perm", 3, I(0, 2, 1));
  opcase_reference(&o);
  ck_assert(opcall_label(&o.c, &o.target, 0, &l) && l.view);
  ck_assert(l.in[0] == LAYOUT_ROW && l.out[0] == LAYOUT_COL);
  opcase_run(&o);
  begin(&o, "Transpose", 13, 4, I(2, 3, 4, 5));
  opcase_attr_ints(&o, "perm", 4, I(0, 2, 3, 1));
  opcase_reference(&o);
  bool found = false;
  for (int i = 0; opcall_label(&o.c, &o.target, i, &l); i++)
    found |= l.view && l.in[0] == LAYOUT_NHWC && l.out[0] == LAYOUT_ROW;
  ck_assert(found);
  opcase_run(&o);
}
END_TEST

/* Rows of a table that products share: from rows, and from panels of each width. */
START_TEST(gathers_from_panels) {
  static const enum fvm_dtype index[] = {FVM_I64, FVM_I32};
  for (int k = 0; k < 4; k++) {
    struct opcase o;
    double v[100 * 9];
    for (int i = 0; i < 900; i++) v[i] = i;
    opcase_init(&o, "Gather", 13);
    opcase_attr_int(&o, "axis", 0);
    if (k < 3) opcase_attr_int(&o, "tied", 1);
    opcase_const(&o, FVM_F32, 2, I(100, 9), v);
    opcase_in(&o, index[k % 2], 2, I(2, 3));
    opcase_set(&o, D(0, 99, -1, -100, 47, 48));
    opcase_reference(&o);
    ck_assert_double_eq((double)((float *)o.y[0])[9], 891);
    ck_assert_int_eq(opcase_run(&o) >= 5, k < 3);
  }
}
END_TEST

START_TEST(random_moves) {
  for (int k = 0; k < 30; k++) {
    struct opcase o;
    int64_t dim[4], v[4];
    enum fvm_dtype d = types[k % 4];
    opcase_init(&o, "Slice", 13);
    o.seed += 7001u * (unsigned)k;
    int rank = 1 + (int)opcase_random(&o, 4), axis = (int)opcase_random(&o, rank);
    random_dims(&o, rank, dim);
    opcase_in(&o, d, rank, dim);
    for (int i = 0; i < rank; i++) v[i] = opcase_random(&o, dim[i]);
    opcase_ints(&o, rank, v);
    for (int i = 0; i < rank; i++) v[i] = opcase_random(&o, dim[i] + 1);
    opcase_ints(&o, rank, v);
    opcase_absent(&o);
    for (int i = 0; i < rank; i++) v[i] = opcase_random(&o, 2) ? 1 + opcase_random(&o, 3) : -1;
    opcase_ints(&o, rank, v);
    uint64_t seed = o.seed;
    ck_assert_int_ge(opcase_run(&o), 1);

    opcase_init(&o, "Concat", 13);
    o.seed = seed;
    opcase_attr_int(&o, "axis", axis);
    for (int i = 0; i < 3; i++) {
      memcpy(v, dim, sizeof v);
      v[axis] = 1 + opcase_random(&o, dim[axis]);
      opcase_in(&o, d, rank, v);
    }
    ck_assert_int_ge(opcase_run(&o), 1);

    opcase_init(&o, "Tile", 13);
    o.seed = seed;
    opcase_in(&o, d, rank, dim);
    for (int i = 0; i < rank; i++) v[i] = 1 + opcase_random(&o, 2);
    opcase_ints(&o, rank, v);
    ck_assert_int_ge(opcase_run(&o), 1);

    opcase_init(&o, "Gather", 13);
    o.seed = seed;
    opcase_in(&o, d, rank, dim);
    o.lo = -(double)dim[axis], o.hi = (double)dim[axis];
    opcase_in(&o, FVM_I64, 2, I(3, 1 + opcase_random(&o, 20)));
    opcase_attr_int(&o, "axis", axis);
    ck_assert_int_ge(opcase_run(&o), 1);

    opcase_init(&o, "GatherElements", 13);
    o.seed = seed;
    opcase_in(&o, d, rank, dim);
    o.lo = -(double)dim[axis], o.hi = (double)dim[axis];
    opcase_in(&o, FVM_I64, rank, dim);
    opcase_attr_int(&o, "axis", axis);
    ck_assert_int_ge(opcase_run(&o), 1);
  }
}
END_TEST

/* Images whose channels lie last: whole blocks of 16 may move, and what is cut stays in nhwc. */
START_TEST(images_move_in_their_layouts) {
  struct opcase o;
  for (int64_t c = 16; c <= 40; c += 8) {
    begin(&o, "Concat", 13, 4, I(2, c, 3, 5));
    opcase_in(&o, FVM_F32, 4, I(2, 16, 3, 5));
    opcase_in(&o, FVM_F32, 4, I(2, 32, 3, 5));
    opcase_attr_int(&o, "axis", 1);
    ck_assert_int_ge(opcase_run(&o), c % 16 ? 2 : 3);
    begin(&o, "Concat", 13, 4, I(1, c, 2, 5));
    opcase_in(&o, FVM_F32, 4, I(1, c, 7, 5));
    opcase_attr_int(&o, "axis", 2);
    ck_assert_int_ge(opcase_run(&o), c % 16 ? 2 : 3);
    begin(&o, "Split", 13, 4, I(2, c + 16, 3, 3));
    o.c.nout = 2;
    opcase_ints(&o, 2, I(c, 16));
    opcase_attr_int(&o, "axis", 1);
    ck_assert_int_ge(opcase_run(&o), c % 16 ? 2 : 3);
    begin(&o, "Slice", 13, 4, I(1, 64, 9, 7));
    opcase_ints(&o, 3, I(c, -1, 1));
    opcase_ints(&o, 3, I(64 - c / 2, -9, 100));
    opcase_ints(&o, 3, I(1, 2, 3));
    opcase_ints(&o, 3, I(1, -2, 3));
    ck_assert_int_ge(opcase_run(&o), c == 32 ? 3 : 2);
    static const char *const modes[] = {"constant", "edge", "reflect", "constant"};
    begin(&o, "Pad", 13, 4, I(2, c, 4, 5));
    opcase_ints(&o, 8, I(0, c == 32 ? 16 : 0, 1, 2, 0, 0, 3, c == 16 ? -1 : 1));
    opcase_attr_string(&o, "mode", modes[c / 8 - 2]);
    ck_assert_int_ge(opcase_run(&o), c % 16 ? 2 : 3);
  }
}
END_TEST

/* A value whose bits no 56-bit immediate holds goes in halves. */
/* GatherND by places of several indices, some negative. */
/* Joined of two parts and dealt out to two, or of one tensor; in rows and with channels last. */
START_TEST(channels_shuffle) {
  struct opcase o;
  begin(&o, "ChannelShuffle", 0, 3, I(1, 6, 1));
  opcase_attr_int(&o, "groups", 3);
  end(&o, 3, I(1, 6, 1), D(0, 2, 4, 1, 3, 5));
  begin(&o, "ChannelShuffle", 0, 3, I(1, 4, 1));
  opcase_in(&o, FVM_F32, 3, I(1, 4, 1));
  opcase_set(&o, D(10, 11, 12, 13));
  opcase_attr_int(&o, "groups", 2);
  o.c.nout = 2;
  opcase_reference(&o);
  opcase_expect(&o, 0, 3, I(1, 4, 1), D(0, 10, 1, 11));
  opcase_expect(&o, 1, 3, I(1, 4, 1), D(2, 12, 3, 13));
  ck_assert_int_ge(opcase_run(&o), 1);
  begin(&o, "ChannelShuffle", 0, 4, I(2, 12, 5, 3));
  opcase_in(&o, FVM_F32, 4, I(2, 12, 5, 3));
  opcase_attr_int(&o, "groups", 2);
  o.c.nout = 2;
  opcase_reference(&o);
  ck_assert_int_ge(opcase_run(&o), 2);
  begin(&o, "ChannelShuffle", 0, 3, I(1, 6, 1));
  opcase_attr_int(&o, "groups", 4);
  opcase_refused(&o, FVM_EFORMAT, "channels don't make 4 groups");
}
END_TEST

START_TEST(deep_places) {
  for (int k = 0; k < 20; k++) {
    struct opcase o;
    opcase_init(&o, "GatherND", 13);
    o.seed += 911u * (unsigned)k;
    int batch = (int)opcase_random(&o, 2), depth = 2 + (int)opcase_random(&o, 2);
    int64_t dim[4], n = 1 + opcase_random(&o, 5), index[3] = {0, n, depth};
    for (int i = 0; i < 4; i++) dim[i] = 1 + opcase_random(&o, 6);
    index[0] = dim[0];
    opcase_in(&o, types[k % 4], 4, dim);
    opcase_in(&o, k % 3 ? FVM_I64 : FVM_I32, 2 + batch, index + 1 - batch);
    double v[6 * 5 * 3];
    int64_t count = tensor_count(&o.in[1]);
    for (int64_t i = 0; i < count; i++) {
      int64_t d = dim[batch + i % depth];
      v[i] = (double)(opcase_random(&o, 2 * d) - d);
    }
    opcase_set(&o, v);
    opcase_attr_int(&o, "batch_dims", batch);
    ck_assert_int_ge(opcase_run(&o), 1);
  }
}
END_TEST

static const enum fvm_dtype scanned[] = {FVM_F32, FVM_I64, FVM_I32};

START_TEST(running_sums) {
  for (int k = 0; k < 24; k++) {
    struct opcase o;
    int64_t dim[3];
    opcase_init(&o, "CumSum", 14);
    o.seed += 313u * (unsigned)k;
    int rank = 1 + (int)opcase_random(&o, 3);
    random_dims(&o, rank, dim);
    opcase_in(&o, scanned[k % 3], rank, dim);
    opcase_const(&o, k % 2 ? FVM_I64 : FVM_I32, 0, NULL,
                 D((double)(opcase_random(&o, 2 * rank) - rank)));
    opcase_attr_int(&o, "exclusive", opcase_random(&o, 2));
    o.tolerance = 1e-3;
    ck_assert_int_ge(opcase_run(&o), 1);
  }
}
END_TEST

/* Integers of -2 .. 2: most lines have several that are equal. */
START_TEST(greatest_and_least) {
  for (int k = 0; k < 24; k++) {
    struct opcase o;
    int64_t dim[3];
    opcase_init(&o, k % 2 ? "ArgMax" : "ArgMin", 13);
    o.seed += 517u * (unsigned)k;
    int rank = 1 + (int)opcase_random(&o, 3);
    random_dims(&o, rank, dim);
    opcase_in(&o, scanned[k % 3], rank, dim);
    opcase_attr_int(&o, "axis", opcase_random(&o, 2 * rank) - rank);
    opcase_attr_int(&o, "keepdims", opcase_random(&o, 2));
    opcase_attr_int(&o, "select_last_index", opcase_random(&o, 2));
    ck_assert_int_ge(opcase_run(&o), 1);
  }
}
END_TEST

START_TEST(wide_fills) {
  struct opcase o;
  opcase_init(&o, "Pad", 13);
  opcase_in(&o, FVM_F64, 2, I(3, 5));
  opcase_ints(&o, 4, I(1, 0, 2, 1));
  opcase_const(&o, FVM_F64, 0, NULL, D(-1.2345678901234567));
  ck_assert_int_ge(opcase_run(&o), 1);
}
END_TEST

/* ---- layouts ---- */

static void fill_by_index(const struct tensor *t, enum layout l, void *p) {
  struct walk w = {.rank = t->rank};
  int64_t at = 0;
  memcpy(w.dim, t->dim, sizeof t->dim);
  for (walk_start(&w); walk_more(&w); walk_next(&w))
    elem_set_i64((char *)p + layout_place(t, l, w.idx), t->dtype, 0, ++at % 251);
}

static void convert(const struct tensor *t, enum layout from, enum layout to, int threads) {
  struct arena a = {0};
  struct program p;
  struct fvm_error err = {0};
  struct pool *pool;
  int64_t in = layout_bytes(t, from), out = layout_bytes(t, to);
  OK(layout_convert(t, from, to, &a, &p, &err));
  OK(verify_program(&p, NULL, &err));
  char *x = arena_alloc(&a, (size_t)in, 1), *y = arena_alloc(&a, (size_t)out, 1);
  char *want = arena_alloc(&a, (size_t)out, 1);
  fill_by_index(t, from, x);
  if (layout_is_made(to)) {
    char *dense = arena_alloc(&a, (size_t)tensor_bytes(t), 1);
    fill_by_index(t, LAYOUT_ROW, dense);
    layout_make(t, to, (float *)dense, (float *)want);
  } else {
    fill_by_index(t, to, want); /* the padding of panels is zero */
  }
  memset(y, 0xee, (size_t)out);
  struct run run = {&p, ukr_table(cpu_isa()), (void *[]){x, y}};
  OK(pool_new(threads, &pool, &err));
  ck_assert_int_eq(pool_run(pool, threads, interp_run, &run), 0);
  pool_free(pool);
  ck_assert_msg(!memcmp(y, want, (size_t)out), "%s to %s, last axes %d x %d", layout_name(from),
                layout_name(to), (int)t->dim[2], (int)t->dim[3]);
  arena_free(&a);
}

START_TEST(conversions) {
  static const int64_t shapes[][4] = {
      {1, 1, 5, 7},  {2, 3, 33, 50},  {1, 1, 64, 96}, {2, 1, 1, 1},   {1, 4, 100, 3},
      {2, 2, 0, 5},  {1, 2, 6, 81},   {1, 1, 10, 64}, {1, 1, 34, 2},  {1, 2, 12, 128},
      {1, 1, 64, 8}, {2, 48, 5, 7},   {1, 16, 12, 1}, {40, 3, 3, 3},  {33, 2, 5, 5},
      {1, 1, 3, 3},  {2, 24, 5, 7},   {3, 9, 17, 1},  {1, 100, 3, 3}, {40, 41, 3, 2},
      {1, 47, 1, 1}, {1, 15, 64, 80}, {3, 52, 2, 20}};
  for (size_t s = 0; s < COUNT(shapes); s++)
    for (size_t k = 0; k < COUNT(types); k++)
      for (int from = 0; from < LAYOUT_COUNT; from++)
        for (int to = 0; to < LAYOUT_COUNT; to++) {
          struct tensor t;
          struct fvm_error err;
          OK(tensor_init(&t, types[k], 4, shapes[s], &err));
          if (layout_block((enum layout)from)) continue;
          if (layout_block((enum layout)to) && (types[k] != FVM_F32 || from == LAYOUT_NHWC ||
                                                from == LAYOUT_SEQ || from == LAYOUT_C16))
            continue;
          if (strchr("fw", layout_name((enum layout)to)[0]) && from != LAYOUT_ROW) continue;
          if (!layout_fits(&t, (enum layout)from) || !layout_fits(&t, (enum layout)to)) continue;
          convert(&t, (enum layout)from, (enum layout)to, 1 + to % 2);
        }
}
END_TEST

/* Vectors are padded as if they were filters of no inputs. */
START_TEST(vectors_are_padded) {
  for (int64_t n = 1; n < 40; n++)
    for (int rank = 1; rank <= 3; rank += 2) {
      struct tensor t;
      struct fvm_error err;
      OK(tensor_init(&t, FVM_F32, rank, I(n, 1, 1), &err));
      ck_assert_int_eq(layout_bytes(&t, LAYOUT_F16), ROUND_UP(n, 16) * 4);
      convert(&t, LAYOUT_ROW, LAYOUT_F16, 1);
    }
}
END_TEST

START_TEST(layout_facts) {
  struct tensor t;
  struct fvm_error err;
  struct arena a = {0};
  struct program p;
  OK(tensor_init(&t, FVM_F32, 2, I(5, 17), &err));
  ck_assert_int_eq(layout_bytes(&t, LAYOUT_P16), 5 * 32 * 4);
  ck_assert_int_eq(layout_bytes(&t, LAYOUT_PT16), 17 * 16 * 4);
  ck_assert_int_eq(layout_bytes(&t, LAYOUT_COL), 5 * 17 * 4);
  ck_assert(!layout_fits(&t, LAYOUT_NHWC));
  OK(tensor_init(&t, FVM_F32, 4, I(1, 40, 2, 2), &err));
  ck_assert_int_eq(layout_bytes(&t, LAYOUT_C16), 48 * 4 * 4);
  ck_assert(layout_pads(&t, LAYOUT_C16) && !layout_pads(&t, LAYOUT_NHWC));
  OK(tensor_init(&t, FVM_F32, 4, I(1, 32, 2, 2), &err));
  ck_assert(layout_fits(&t, LAYOUT_C16) && !layout_pads(&t, LAYOUT_C16));
  OK(tensor_init(&t, FVM_F32, 4, I(1, 8, 2, 2), &err));
  ck_assert(!layout_fits(&t, LAYOUT_C16)); /* half of it would be padding */
  OK(tensor_init(&t, FVM_F32, 4, I(1, 9, 2, 2), &err));
  ck_assert(layout_fits(&t, LAYOUT_C16));
  OK(tensor_init(&t, FVM_F32, 2, I(5, 17), &err));
  ck_assert(!layout_fits(&t, LAYOUT_S16)); /* an odd number of rows has no quarters */
  OK(tensor_init(&t, FVM_F32, 2, I(6, 64), &err));
  ck_assert(!layout_fits(&t, LAYOUT_SS16)); /* nor sixteenths */
  OK(tensor_init(&t, FVM_F32, 2, I(8, 65), &err));
  ck_assert(!layout_fits(&t, LAYOUT_SS16)); /* columns are not whole groups */
  OK(tensor_init(&t, FVM_F32, 2, I(8, 128), &err));
  ck_assert_int_eq(layout_bytes(&t, LAYOUT_SS16), 2 * 49 * 2 * 16 * 4);
  OK(tensor_init(&t, FVM_F32, 2, I(6, 65), &err));
  ck_assert_int_eq(layout_bytes(&t, LAYOUT_S32), 2 * 7 * 3 * 32 * 4);
  for (int l = 0; l < LAYOUT_COUNT; l++) {
    const char *s = layout_name((enum layout)l);
    ck_assert_int_eq(layout_parse(s, strlen(s)), l);
  }
  ck_assert_int_eq(layout_parse("ro", 2), LAYOUT_COUNT);
  OK(tensor_init(&t, FVM_F32, 2, I(5, 17), &err));
  ck_assert_int_eq(layout_convert(&t, LAYOUT_P16, LAYOUT_ROW, &a, &p, &err), FVM_EUNSUPPORTED);
  ck_assert_str_eq(err.text, "no conversion of a f32 tensor with 2 axes from p16 to row");
  OK(tensor_init(&t, FVM_F32, 1, I(5), &err));
  ck_assert(layout_fits(&t, LAYOUT_ROW) && !layout_fits(&t, LAYOUT_COL));
}
END_TEST

UNIT_MAIN("move", values_by_hand, pads, splits, gathers, index_outside, made_from_shapes,
          random_transposes, transposes_rename_layouts, gathers_from_panels, random_moves,
          images_move_in_their_layouts, channels_shuffle, deep_places, running_sums,
          greatest_and_least, wide_fills, conversions, vectors_are_padded, layout_facts)
