/* Resize, Upsample and Resample: values by hand, weights in every mode, and all labels of random
 * Resamples against the reference. */
#include "../../kernels/resample.h"
#include "opcheck.h"

static struct opcase o;
#define I(...) ((int64_t[]){__VA_ARGS__})
#define D(...) ((double[]){__VA_ARGS__})

static void begin(int opset, int rank, const int64_t *dim, const double *x) {
  opcase_init(&o, "Resize", opset);
  opcase_in(&o, FVM_F32, rank, dim);
  if (x) opcase_set(&o, x);
}

static void scales(int n, const double *v) {
  opcase_absent(&o);
  opcase_const(&o, FVM_F32, 1, I(n), v);
}

static void sizes(int n, const int64_t *v) {
  opcase_absent(&o);
  opcase_absent(&o);
  opcase_ints(&o, n, v);
}

static void end(int rank, const int64_t *dim, const double *v) {
  opcase_reference(&o);
  opcase_expect(&o, 0, rank, dim, v);
  opcase_free(&o);
}

START_TEST(known) {
  begin(13, 1, I(2), D(1, 2));
  scales(1, D(2));
  end(1, I(4), D(1, 1, 2, 2));
  begin(13, 1, I(2), D(1, 3));
  opcase_attr_string(&o, "mode", "linear");
  scales(1, D(2));
  end(1, I(4), D(1, 1.5, 2.5, 3));
  begin(13, 1, I(3), D(0, 4, 8));
  opcase_attr_string(&o, "mode", "linear");
  opcase_attr_string(&o, "coordinate_transformation_mode", "align_corners");
  sizes(1, I(5));
  end(1, I(5), D(0, 2, 4, 6, 8));
  begin(10, 2, I(1, 3), D(5, 6, 7)); /* places and rounds in one way */
  opcase_const(&o, FVM_F32, 1, I(2), D(2, 0.7));
  end(2, I(2, 2), D(5, 6, 5, 6));
  opcase_init(&o, "Upsample", 9);
  opcase_in(&o, FVM_F32, 1, I(2));
  opcase_set(&o, D(1, 3));
  opcase_attr_string(&o, "mode", "linear");
  opcase_const(&o, FVM_F32, 1, I(1), D(2));
  end(1, I(4), D(1, 2, 3, 3));
  begin(18, 2, I(2, 4), D(1, 2, 3, 4, 5, 6, 7, 8)); /* one scale that stays within the sizes */
  opcase_attr_ints(&o, "axes", 2, I(1, 0));
  opcase_attr_string(&o, "keep_aspect_ratio_policy", "not_larger");
  sizes(2, I(8, 2));
  end(2, I(2, 4), D(1, 2, 3, 4, 5, 6, 7, 8));
  begin(18, 1, I(4), D(1, 2, 3, 8)); /* half the size reads four inputs, two of them outside */
  opcase_attr_string(&o, "mode", "linear");
  opcase_attr_int(&o, "antialias", 1);
  opcase_attr_int(&o, "exclude_outside", 1);
  sizes(1, I(2));
  end(1, I(2), D((3 * 1 + 3 * 2 + 1 * 3) / 7.0, (1 * 2 + 3 * 3 + 3 * 8) / 7.0));
}
END_TEST

START_TEST(crops) {
  begin(13, 1, I(4), D(0, 1, 2, 3));
  opcase_attr_string(&o, "mode", "linear");
  opcase_attr_string(&o, "coordinate_transformation_mode", "tf_crop_and_resize");
  opcase_attr_float(&o, "extrapolation_value", 9);
  opcase_const(&o, FVM_F32, 1, I(2), D(0.5, 1.5));
  opcase_absent(&o);
  opcase_ints(&o, 1, I(3));
  end(1, I(3), D(1.5, 3, 9));
}
END_TEST

START_TEST(integers) {
  opcase_init(&o, "Resize", 13);
  opcase_in(&o, FVM_I64, 1, I(2));
  opcase_set(&o, D(7, 9));
  sizes(1, I(3));
  end(1, I(3), D(7, 7, 9));
  opcase_init(&o, "Resize", 13);
  opcase_in(&o, FVM_I64, 1, I(2));
  opcase_attr_string(&o, "mode", "cubic");
  sizes(1, I(3));
  opcase_refused(&o, FVM_EUNSUPPORTED, "nearest element of i64");
}
END_TEST

START_TEST(refusals) {
  begin(13, 1, I(2), NULL);
  opcase_in(&o, FVM_F32, 1, I(2));
  opcase_in(&o, FVM_F32, 1, I(1));
  opcase_refused(&o, FVM_EUNSUPPORTED, "input 'scales' is not constant");
  begin(13, 1, I(2), NULL);
  scales(2, D(1, 2));
  opcase_refused(&o, FVM_EFORMAT, "needs 1 scales or sizes, has 2 and 0");
  begin(13, 1, I(2), NULL);
  scales(1, D(-1));
  opcase_refused(&o, FVM_EFORMAT, "a scale of -1");
  begin(13, 1, I(2), NULL);
  opcase_attr_string(&o, "mode", "sinc");
  scales(1, D(1));
  opcase_refused(&o, FVM_EUNSUPPORTED, "'mode' is 'sinc'");
}
END_TEST

/* What holds in every mode: the weights of a place add up to 1, and its inputs are inside. */
START_TEST(weights) {
  static const char *const mode[] = {"nearest", "linear", "cubic"};
  static const char *const at[] = {"half_pixel",    "half_pixel_symmetric", "pytorch_half_pixel",
                                   "align_corners", "asymmetric",           "tf_half_pixel_for_nn"};
  for (int i = 0; i < 3 * 6 * 12; i++) {
    int64_t in = 1 + i % 7, out = 1 + i * 5 % 23;
    begin(19, 1, I(in), NULL);
    opcase_attr_string(&o, "mode", mode[i % 3]);
    opcase_attr_string(&o, "coordinate_transformation_mode", at[i / 3 % 6]);
    opcase_attr_int(&o, "antialias", i / 18 % 2);
    opcase_attr_int(&o, "exclude_outside", i / 36 % 2 && i / 3 % 6 < 5); /* else none is inside */
    sizes(1, I(out));
    struct fvm_error err;
    struct arena a = {0};
    struct taps t;
    OK(opcall_shape(&o.c, &err));
    OK(resize_taps(&o.c, 0, &a, &t, &err));
    ck_assert_int_eq(t.n, in == out ? 0 : out);
    for (int64_t j = 0; j < t.n; j++) {
      double sum = 0;
      for (int64_t k = 0; k < t.k; k++) {
        int64_t index = t.index[k * t.n + j];
        ck_assert(index >= 0 && index < in);
        sum += (double)t.weight[k * t.n + j];
      }
      ck_assert_double_eq_tol(sum, 1, 1e-6);
      ck_assert(t.start[j] == 0);
    }
    arena_free(&a);
    opcase_free(&o);
  }
}
END_TEST

START_TEST(resample_random) {
  for (uint64_t seed = 0; seed < 60; seed++) {
    opcase_init(&o, "Resample", 13);
    o.seed += seed * 0x9e3779b97f4a7c15u;
    int rank = seed % 3 ? 4 : 1 + (int)(seed % 4), axis = (int)opcase_random(&o, rank);
    int64_t dim[4], m = 1 + opcase_random(&o, 40), k = 1 + opcase_random(&o, 6);
    for (int i = 0; i < rank; i++) dim[i] = 1 + opcase_random(&o, 9);
    if (seed % 2 && rank == 4) dim[1] = 16 + 16 * (int64_t)(seed % 5 == 1);
    double index[6 * 40], weight[6 * 40], start[40];
    for (int64_t i = 0; i < k * m; i++) {
      index[i] = (double)opcase_random(&o, dim[axis]);
      weight[i] = (double)opcase_random(&o, 100) / 50 - 1;
    }
    for (int64_t i = 0; i < m; i++) start[i] = (double)opcase_random(&o, 2);
    opcase_attr_int(&o, "axis", axis);
    opcase_in(&o, FVM_F32, rank, dim);
    opcase_const(&o, FVM_I64, 2, I(k, m), index);
    opcase_const(&o, FVM_F32, 2, I(k, m), weight);
    opcase_const(&o, FVM_F32, 1, I(m), start);
    int labels = opcase_run(&o);
    ck_assert_int_ge(labels, rank == 4 && axis >= 2 ? 2 : 1);
  }
}
END_TEST

UNIT_MAIN("op_resize", known, crops, integers, refusals, weights, resample_random)
