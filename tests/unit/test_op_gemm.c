/* MatMul and Gemm: known values, and all labels of random problems against the reference. */
#include "opcheck.h"

static struct opcase o;

static int64_t extent(void) {
  static const int64_t v[] = {1, 2, 3, 7, 8, 13, 16, 17, 31, 32, 33, 48, 65, 97};
  return v[opcase_random(&o, COUNT(v))];
}

/* The last input's values are known when programs are made. */
static void make_constant(void) { o.in[o.c.nin - 1].data = o.x[o.c.nin - 1]; }

static void begin(const char *op, uint64_t seed) {
  opcase_init(&o, op, 17);
  o.seed += seed * 0x9e3779b97f4a7c15u;
  for (int i = 0; i < 8; i++) opcase_random(&o, 2);
  o.tolerance = 1e-4;
}

/* Small caches, so that small problems are blocked too. */
static void small_caches(void) {
  o.target.l1_bytes = 1 << 10;
  o.target.l2_bytes = 16 << 10;
}

START_TEST(matmul_known) {
  opcase_init(&o, "MatMul", 13);
  opcase_in(&o, FVM_F32, 2, (int64_t[]){2, 3});
  opcase_set(&o, (double[]){1, 2, 3, 4, 5, 6});
  opcase_in(&o, FVM_F32, 2, (int64_t[]){3, 2});
  opcase_set(&o, (double[]){1, -1, 2, 0, 0.5, 1});
  opcase_reference(&o);
  opcase_expect(&o, 0, 2, (int64_t[]){2, 2}, (double[]){6.5, 2, 17, 2});
  ck_assert_int_ge(opcase_run(&o), 2);
}
END_TEST

/* A product with the rows of a constant table; labels read it in panels. */
START_TEST(matmul_turned) {
  static const int64_t sizes[][3] = {{1, 2, 3}, {1, 70, 5}, {9, 33, 40}, {2, 1, 1}};
  for (size_t s = 0; s < COUNT(sizes); s++) {
    double v[33 * 40 + 70 * 5];
    int64_t m = sizes[s][0], n = sizes[s][1], k = sizes[s][2];
    for (int64_t i = 0; i < n * k; i++) v[i] = (double)(i * 7 % 23 - 11) / 8;
    opcase_init(&o, "MatMulT", 13);
    opcase_in(&o, FVM_F32, 3, (int64_t[]){1, m, k});
    opcase_const(&o, FVM_F32, 2, (int64_t[]){n, k}, v);
    opcase_reference(&o);
    const float *x = o.x[0], *y = o.y[0];
    for (int64_t i = 0; i < m * n; i++) {
      double sum = 0;
      for (int64_t l = 0; l < k; l++) sum += (double)x[i / n * k + l] * v[i % n * k + l];
      ck_assert_double_eq_tol((double)y[i], sum, 1e-4);
    }
    ck_assert_int_ge(opcase_run(&o), 1);
  }
}
END_TEST

START_TEST(matmul_vectors) {
  opcase_init(&o, "MatMul", 13);
  opcase_in(&o, FVM_F32, 1, (int64_t[]){3});
  opcase_set(&o, (double[]){1, 2, 3});
  opcase_in(&o, FVM_F32, 1, (int64_t[]){3});
  opcase_set(&o, (double[]){4, 5, 6});
  opcase_reference(&o);
  opcase_expect(&o, 0, 0, NULL, (double[]){32});
  ck_assert_int_ge(opcase_run(&o), 2);
}
END_TEST

START_TEST(gemm_known) {
  opcase_init(&o, "Gemm", 13);
  opcase_attr_int(&o, "transA", 1);
  opcase_attr_int(&o, "transB", 1);
  opcase_attr_float(&o, "alpha", 2);
  opcase_attr_float(&o, "beta", 0.5f);
  opcase_in(&o, FVM_F32, 2, (int64_t[]){3, 2});
  opcase_set(&o, (double[]){1, 4, 2, 5, 3, 6});
  opcase_in(&o, FVM_F32, 2, (int64_t[]){2, 3});
  opcase_set(&o, (double[]){1, 2, 0.5, -1, 0, 1});
  opcase_in(&o, FVM_F32, 2, (int64_t[]){2, 1});
  opcase_set(&o, (double[]){10, 20});
  opcase_reference(&o);
  opcase_expect(&o, 0, 2, (int64_t[]){2, 2}, (double[]){18, 9, 44, 14});
  ck_assert_int_ge(opcase_run(&o), 2);
}
END_TEST

START_TEST(refusals) {
  opcase_init(&o, "MatMul", 13);
  opcase_in(&o, FVM_F32, 2, (int64_t[]){2, 3});
  opcase_in(&o, FVM_F32, 2, (int64_t[]){2, 3});
  opcase_refused(&o, FVM_EFORMAT, "A has 3 columns, but B has 2 rows");
  opcase_init(&o, "MatMul", 13);
  opcase_in(&o, FVM_F32, 3, (int64_t[]){2, 2, 3});
  opcase_in(&o, FVM_F32, 3, (int64_t[]){3, 3, 2});
  opcase_refused(&o, FVM_EFORMAT, "do not broadcast");
  opcase_init(&o, "MatMulT", 13);
  opcase_in(&o, FVM_F32, 2, (int64_t[]){2, 3});
  opcase_in(&o, FVM_F32, 3, (int64_t[]){1, 2, 3});
  opcase_refused(&o, FVM_EFORMAT, "B has 3 axes, not 2");
  opcase_init(&o, "MatMul", 13);
  opcase_in(&o, FVM_I32, 2, (int64_t[]){2, 3});
  opcase_in(&o, FVM_I32, 2, (int64_t[]){3, 3});
  opcase_refused(&o, FVM_EUNSUPPORTED, "MatMul of i32");
  opcase_init(&o, "Gemm", 13);
  opcase_in(&o, FVM_F32, 2, (int64_t[]){2, 3});
  opcase_in(&o, FVM_F32, 2, (int64_t[]){3, 4});
  opcase_in(&o, FVM_F32, 1, (int64_t[]){3});
  opcase_refused(&o, FVM_EFORMAT, "C does not broadcast to 2x4");
}
END_TEST

START_TEST(matmul_random) {
  for (uint64_t seed = 0; seed < 40; seed++) {
    begin("MatMul", seed);
    int64_t m = extent(), n = extent(), k = seed % 10 == 3 ? 800 : extent();
    int64_t b0 = 1 + opcase_random(&o, 3), b1 = 1 + opcase_random(&o, 3);
    int ra = 1 + (int)opcase_random(&o, 4), rb = 1 + (int)opcase_random(&o, 4);
    int64_t a[] = {opcase_random(&o, 3) ? b0 : 1, opcase_random(&o, 3) ? b1 : 1, m, k};
    int64_t b[] = {opcase_random(&o, 3) ? b0 : 1, opcase_random(&o, 3) ? b1 : 1, k, n};
    if (rb == 1) b[3] = k;
    if (seed % 2) small_caches();
    opcase_in(&o, FVM_F32, ra, a + 4 - ra);
    opcase_in(&o, FVM_F32, rb, b + 4 - rb);
    if (seed % 3 == 0) make_constant();
    ck_assert_int_ge(opcase_run(&o), 2);
  }
}
END_TEST

START_TEST(gemm_random) {
  static const int rank[] = {1, 2, 2, 2, 1, 2, 0};
  for (uint64_t seed = 0; seed < 40; seed++) {
    begin("Gemm", seed);
    int64_t m = extent(), n = extent(), k = seed % 10 == 3 ? 1100 : extent();
    bool ta = opcase_random(&o, 2), tb = opcase_random(&o, 2);
    int bias = (int)opcase_random(&o, 8);
    const int64_t c[7][2] = {{n}, {1, n}, {m, n}, {m, 1}, {1}, {1, 1}};
    if (seed % 2) small_caches();
    opcase_attr_int(&o, "transA", ta);
    opcase_attr_int(&o, "transB", tb);
    if (opcase_random(&o, 3) == 0) opcase_attr_float(&o, "alpha", 0.5f);
    if (opcase_random(&o, 3) == 0) opcase_attr_float(&o, "beta", 0.25f);
    opcase_in(&o, FVM_F32, 2, ta ? (int64_t[]){k, m} : (int64_t[]){m, k});
    opcase_in(&o, FVM_F32, 2, tb ? (int64_t[]){n, k} : (int64_t[]){k, n});
    if (seed % 3) make_constant();
    if (bias < 7) opcase_in(&o, FVM_F32, rank[bias], c[bias]);
    ck_assert_int_ge(opcase_run(&o), 2);
  }
}
END_TEST

/* Bodies of a MatMul: its own inputs are values 0 and 1, then come those of the body, then the
 * product. */
static void add_body(int kind, int64_t m, int64_t n) {
  opcase_own(&o);
  switch (kind) {
  case 0: /* relu */
    opcase_item(&o, "Relu", FVM_F32, 1, (int[]){2});
    break;
  case 1: /* bias, gelu */
    opcase_in(&o, FVM_F32, 1, &n);
    opcase_item(&o, "Add", FVM_F32, 2, (int[]){2, 3});
    opcase_item(&o, "Gelu", FVM_F32, 1, (int[]){4});
    break;
  case 2: /* bias, residual */
    opcase_in(&o, FVM_F32, 1, &n);
    opcase_in(&o, FVM_F32, 2, (int64_t[]){m, n});
    opcase_item(&o, "Add", FVM_F32, 2, (int[]){4, 2});
    opcase_item(&o, "Add", FVM_F32, 2, (int[]){5, 3});
    break;
  case 3: /* residual alone */
    opcase_in(&o, FVM_F32, 2, (int64_t[]){m, n});
    opcase_item(&o, "Add", FVM_F32, 2, (int[]){2, 3});
    break;
  case 4: /* a column, and the product once more */
    opcase_in(&o, FVM_F32, 2, (int64_t[]){m, 1});
    opcase_item(&o, "Add", FVM_F32, 2, (int[]){3, 2});
    opcase_item(&o, "Sigmoid", FVM_F32, 1, (int[]){4});
    opcase_item(&o, "Mul", FVM_F32, 2, (int[]){3, 5});
    break;
  default: /* another type */
    opcase_in(&o, FVM_F32, 1, &n);
    opcase_item(&o, "Add", FVM_F32, 2, (int[]){3, 2});
    opcase_item(&o, "Greater", FVM_BOOL, 2, (int[]){4, 2});
  }
}

START_TEST(matmul_bodies) {
  for (uint64_t seed = 0; seed < 36; seed++) {
    begin("MatMul", seed);
    int64_t m = extent(), n = extent(), k = seed % 12 == 3 ? 800 : extent();
    if (seed % 2) small_caches();
    if (seed % 6 == 5) o.lo = 0.5; /* all sums are far from the threshold */
    opcase_in(&o, FVM_F32, 2, (int64_t[]){m, k});
    opcase_in(&o, FVM_F32, 2, (int64_t[]){k, n});
    if (seed % 4 < 3) make_constant();
    add_body((int)(seed % 6), m, n);
    ck_assert_int_ge(opcase_run(&o), 2);
  }
}
END_TEST

START_TEST(gemm_bodies) {
  for (uint64_t seed = 0; seed < 8; seed++) {
    begin("Gemm", seed);
    int64_t m = extent(), n = extent(), k = extent();
    opcase_attr_int(&o, "transB", 1);
    if (seed % 3 == 0) opcase_attr_float(&o, "alpha", 0.5f);
    opcase_in(&o, FVM_F32, 2, (int64_t[]){m, k});
    opcase_in(&o, FVM_F32, 2, (int64_t[]){n, k});
    make_constant();
    opcase_in(&o, FVM_F32, 1, &n);
    opcase_own(&o);
    opcase_in(&o, FVM_F32, 2, (int64_t[]){m, n});
    opcase_item(&o, "Add", FVM_F32, 2, (int[]){4, 3});
    opcase_item(&o, "Tanh", FVM_F32, 1, (int[]){5});
    ck_assert_int_ge(opcase_run(&o), 2);
  }
}
END_TEST

/* Strassen's products: every way that columns may end, one and several blocks of rows, bias and
 * body. */
START_TEST(strassen) {
  static const int64_t size[][3] = {{16, 64, 64},  {34, 65, 66},   {48, 97, 64},  {22, 128, 100},
                                    {20, 150, 64}, {64, 96, 64},   {512, 64, 72}, {40, 90, 130},
                                    {64, 256, 64}, {576, 128, 68}, {72, 128, 100}};
  for (size_t i = 0; i < COUNT(size); i++)
    for (int form = 0; form < 3; form++) {
      int64_t m = size[i][0], n = size[i][1], k = size[i][2];
      begin(form ? "Gemm" : "MatMul", i);
      struct label l;
      int found = 0, want = (n % 128 == 0 && k % 4 == 0 && m >= 64 ? 2 : 1) * o.target.nthreads;
      if (form == 1) opcase_attr_int(&o, "transB", 1);
      small_caches();
      opcase_in(&o, FVM_F32, 2, (int64_t[]){m, k});
      opcase_in(&o, FVM_F32, 2, form == 1 ? (int64_t[]){n, k} : (int64_t[]){k, n});
      make_constant();
      if (form) opcase_in(&o, FVM_F32, 1, &n);
      if (form < 2) {
        opcase_own(&o);
        opcase_in(&o, FVM_F32, 2, (int64_t[]){m, n});
        opcase_item(&o, "Add", FVM_F32, 2, (int[]){2 + form, 3 + form});
      }
      opcase_reference(&o);
      for (int q = 0; opcall_label(&o.c, &o.target, q, &l); q++)
        found += !strcmp(l.cand->name, "gemm_strassen");
      ck_assert_msg(found >= want, "%d labels for %d x %d x %d", found, (int)m, (int)n, (int)k);
      ck_assert_int_ge(opcase_run(&o), 2);
    }
}
END_TEST

/* What the labels of a candidate agree on; -1 when they don't, or there are none. */
static int inplace_of(const char *candidate) {
  struct label l;
  int found = -2;
  for (int i = 0; opcall_label(&o.c, &o.target, i, &l); i++) {
    if (strcmp(l.cand->name, candidate) != 0) continue;
    found = found == -2 || found == l.inplace ? l.inplace : -1;
  }
  return found;
}

/* The tile reads its piece of a residual before it writes the piece; what is left to strips comes
 * after that. */
START_TEST(residuals_lend_their_place) {
  static const struct { int body, inplace; } cases[] = {{2, 4}, {3, 3}, {4, 0}, {0, 0}};
  for (size_t i = 0; i < COUNT(cases); i++) {
    begin("MatMul", i);
    opcase_in(&o, FVM_F32, 2, (int64_t[]){64, 64});
    opcase_in(&o, FVM_F32, 2, (int64_t[]){64, 64});
    make_constant();
    add_body(cases[i].body, 64, 64);
    opcase_reference(&o);
    ck_assert_int_eq(inplace_of("gemm_panels"), cases[i].inplace);
    ck_assert_int_le(inplace_of("gemm_strassen"), 0);
    ck_assert_int_ge(opcase_run(&o), 2);
  }
}
END_TEST

START_TEST(batch_body) {
  begin("MatMul", 1);
  opcase_in(&o, FVM_F32, 4, (int64_t[]){2, 3, 17, 9});
  opcase_in(&o, FVM_F32, 4, (int64_t[]){1, 3, 9, 33});
  opcase_own(&o);
  opcase_in(&o, FVM_F32, 4, (int64_t[]){2, 3, 17, 1});
  opcase_item(&o, "Relu", FVM_F32, 1, (int[]){3});
  opcase_item(&o, "Mul", FVM_F32, 2, (int[]){4, 2});
  ck_assert_int_ge(opcase_run(&o), 2);
}
END_TEST

UNIT_MAIN("op_gemm", matmul_known, matmul_turned, matmul_vectors, gemm_known, refusals,
          matmul_random, gemm_random, matmul_bodies, gemm_bodies, strassen, batch_body,
          residuals_lend_their_place)
