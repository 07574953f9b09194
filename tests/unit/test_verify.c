/* vm/verify: realistic programs pass, wrong ones don't, and whatever passes is right when every
 * access is listed. */
#include "unit.h"

#include <string.h>

#include "../../vm/verify.h"
#include "walker.h"

/* ---- programs ------------------------------------------------------------------------------ */
struct fixture {
  struct arena arena;
  struct builder b;
  struct program p;
  struct fvm_error err;
};

static struct builder *start(struct fixture *x) {
  *x = (struct fixture){0};
  build_init(&x->b, &x->arena);
  return &x->b;
}

static void expect_alias(struct fixture *x, const int *alias, const char *message) {
  struct fvm_error err = {0};
  OK(build_finish(&x->b, &x->p, &err));
  enum fvm_status st = verify_program(&x->p, alias, &err);
  if (!message) {
    ck_assert_msg(st == FVM_OK, "%s", err.text);
  } else {
    ck_assert_msg(st != FVM_OK, "not refused; expected: %s", message);
    ck_assert_msg(strstr(err.text, message) != NULL, "'%s' lacks '%s'", err.text, message);
  }
  arena_free(&x->arena);
}

static void expect(struct fixture *x, const char *message) { expect_alias(x, NULL, message); }

static void put_copy(struct builder *b, struct addr x, struct addr y, struct val m, struct val n,
                     struct val sx, struct val sy) {
  build_ukr(b, UKR_copy_4, (struct addr[]){x, y}, (struct val[]){m, n, sx, val(1), sy, val(1)});
}

static void put_fill(struct builder *b, struct addr y, struct val m, struct val n, struct val sy) {
  build_ukr(b, UKR_fill_4, &y, (struct val[]){m, n, sy, val(0)});
}

/* C[M][N] += A[M][K] * packed B, in tiles of 8 x 32 with K in blocks; by says which loop is the
 * par: 0 row blocks, 1 column blocks. ldc: what the addresses assume, c_bytes: what C has. */
static void put_gemm(struct builder *b, int64_t M, int64_t N, int64_t K, int by, int64_t ldc,
                     int64_t c_bytes) {
  int64_t panel = K * 32 * 4, kc_max = 24;
  int a = build_buf(b, BUF_IN, M * K * 4), w = build_buf(b, BUF_IN, CEIL_DIV(N, 32) * panel);
  int c = build_buf(b, BUF_OUT, c_bytes);
  int outer = (by == 0 ? build_par(b, 0, val(M), 8) : build_par(b, 0, val(N), 32));
  int k = build_loop(b, 0, val(K), kc_max), kc = build_min(b, kc_max, val(K), k);
  int inner = by == 0 ? build_loop(b, 0, val(N), 32) : build_loop(b, 0, val(M), 8);
  int i = by == 0 ? outer : inner, j = by == 0 ? inner : outer;
  int m = build_min(b, 8, val(M), i), n = build_min(b, 32, val(N), j);
  struct addr tile = ADDR(c, 0, {i, ldc * 4}, {j, 4});
  build_ukr(b, UKR_gemm_8x32,
            (struct addr[]){ADDR(a, 0, {i, K * 4}, {k, 4}), ADDR(w, 0, {j, K * 4}, {k, 128}), tile,
                            tile, ADDR(w, 1 << 30),
                            tile}, /* what is only brought into the caches may be anywhere */
            (struct val[]){reg(m), reg(n),   reg(kc), val(K), val(1), val(ldc), val(ldc),
                           val(1), val(8),   val(1),  val(0), val(0), val(1),   val(0),
                           val(0), val(ldc), val(0),  val(0), val(0), val(0)});
  build_end(b);
  build_end(b);
  build_end(b);
}

START_TEST(gemm_passes) {
  struct fixture x;
  for (int by = 0; by < 2; by++)
    for (int64_t M = 1; M < 40; M += 13)
      for (int64_t N = 1; N < 140; N += 33)
        for (int64_t K = 1; K < 60; K += 23) {
          put_gemm(start(&x), M, N, K, by, N, M * N * 4);
          expect(&x, NULL);
          put_gemm(start(&x), M, N, K, by, N, M * N * 4 - 4);
          expect(&x, "stays inside b2");
        }
}
END_TEST

START_TEST(gemm_with_narrow_rows_races) {
  struct fixture x;
  put_gemm(start(&x), 64, 64, 8, 0, 63, 64 * 64 * 4);
  expect(&x, "neighbours may overlap");
  put_gemm(start(&x), 64, 64, 8, 1, 63, 64 * 64 * 4);
  expect(&x, "neighbours may overlap");
  put_gemm(start(&x), 64, 64, 8, 1, 64, 64 * 64 * 4);
  expect(&x, NULL);
}
END_TEST

/* Heads write their own columns of [S][H * D], in blocks of rows. */
static void put_heads(struct builder *b, int64_t S, int64_t H, int64_t D, int64_t wide) {
  int in = build_buf(b, BUF_IN, H * S * D * 4), out = build_buf(b, BUF_OUT, S * H * D * 4);
  int scratch = build_buf(b, BUF_SCRATCH, 5 * wide * 4);
  int h = build_par(b, 0, val(H), 1), i = build_loop(b, 0, val(S), 5);
  int m = build_min(b, 5, val(S), i);
  put_copy(b, ADDR(in, 0, {h, S * D * 4}, {i, D * 4}), ADDR(scratch, 0), reg(m), val(D), val(D),
           val(D));
  put_copy(b, ADDR(scratch, 0), ADDR(out, 0, {i, H * D * 4}, {h, D * 4}), reg(m), val(wide), val(D),
           val(H * D));
  build_end(b);
  build_end(b);
}

START_TEST(heads) {
  struct fixture x;
  put_heads(start(&x), 23, 6, 7, 7);
  expect(&x, NULL);
  put_heads(start(&x), 23, 6, 7, 6);
  expect(&x, "operand y of copy_4: cannot prove that it stays inside b2");
  struct builder *b = start(&x);
  int out = build_buf(b, BUF_OUT, 6 * 100 * 4);
  int h = build_par(b, 0, val(6), 1);
  put_fill(b, ADDR(out, 0, {h, 28}), val(3), val(8), val(42));
  build_end(b);
  expect(&x, "operand y of fill_4: cannot prove that iterations");
}
END_TEST

/* Strips over a flat array; in-place through an alias; and off by one element. */
static void put_strips(struct builder *b, int64_t n, int64_t from) {
  int x = build_buf(b, BUF_IN, (n + 8) * 4), y = build_buf(b, BUF_OUT, (n + 8) * 4);
  int i = build_par(b, 0, val(n), 16), m = build_min(b, 16, val(n), i);
  put_copy(b, ADDR(x, from, {i, 4}), ADDR(y, 0, {i, 4}), val(1), reg(m), val(0), val(0));
  build_end(b);
}

START_TEST(strips_and_aliases) {
  struct fixture x;
  const int same[2] = {7, 7}, other[2] = {7, 8};
  put_strips(start(&x), 100, 0);
  expect(&x, NULL);
  put_strips(start(&x), 100, 0);
  expect_alias(&x, same, NULL);
  put_strips(start(&x), 100, 4);
  expect_alias(&x, other, NULL);
  put_strips(start(&x), 100, 4);
  expect_alias(&x, same, "neighbours may overlap");
}
END_TEST

/* All threads pack panels of B into shared memory, then each multiplies its rows with them. */
START_TEST(packing_into_shared_memory) {
  struct fixture x;
  struct builder *b = start(&x);
  int64_t K = 30, N = 70, M = 20, NR = 16, panels = CEIL_DIV(N, NR);
  int w = build_buf(b, BUF_IN, K * N * 4), a = build_buf(b, BUF_IN, M * K * 4);
  int c = build_buf(b, BUF_OUT, M * N * 4), s = build_buf(b, BUF_SHARED, panels * K * NR * 4);
  int j = build_par(b, 0, val(N), NR), n = build_min(b, NR, val(N), j);
  build_ukr(b, UKR_pack_4, (struct addr[]){ADDR(w, 0, {j, 4}), ADDR(s, 0, {j, K * 4})},
            (struct val[]){val(K), reg(n), val(N), val(1), val(NR)});
  build_end(b);
  int i = build_par(b, 0, val(M), 4), m = build_min(b, 4, val(M), i);
  int q = build_loop(b, 0, val(N), NR), nq = build_min(b, NR, val(N), q);
  struct addr tile = ADDR(c, 0, {i, N * 4}, {q, 4});
  build_ukr(b, UKR_gemm_4x16,
            (struct addr[]){ADDR(a, 0, {i, K * 4}), ADDR(s, 0, {q, K * 4}), tile, tile, tile, tile},
            (struct val[]){reg(m), reg(nq), val(K), val(K), val(1), val(N), val(N),
                           val(0), val(0),  val(1), val(0), val(0), val(1), val(0),
                           val(0), val(N),  val(0), val(0), val(0), val(0)});
  build_end(b);
  build_end(b);
  expect(&x, NULL);
}
END_TEST

/* Columns in blocks of NC outside, par over tiles of the block inside: limits are registers. */
START_TEST(register_limits) {
  struct fixture x;
  for (int64_t N = 10; N < 300; N += 57) {
    struct builder *b = start(&x);
    int c = build_buf(b, BUF_OUT, 12 * N * 4);
    int jc = build_loop(b, 0, val(N), 96), nc = build_min(b, 96, val(N), jc);
    int j = build_par(b, 0, reg(nc), 32), n = build_min(b, 32, reg(nc), j);
    int i = build_loop(b, 0, val(12), 5), m = build_min(b, 5, val(12), i);
    put_fill(b, ADDR(c, 0, {jc, 4}, {j, 4}, {i, N * 4}), reg(m), reg(n), val(N));
    build_end(b);
    build_end(b);
    build_end(b);
    expect(&x, NULL);
  }
}
END_TEST

/* Concat: parts at constant offsets of one output; the same par writes both. */
START_TEST(two_writes_at_an_offset) {
  struct fixture x;
  for (int64_t second = 380; second <= 404; second += 4) {
    struct builder *b = start(&x);
    int y = build_buf(b, BUF_OUT, 808);
    int i = build_par(b, 0, val(100), 10);
    put_fill(b, ADDR(y, 0, {i, 4}), val(1), val(10), val(0));
    put_fill(b, ADDR(y, second, {i, 4}), val(1), val(10), val(0));
    build_end(b);
    expect(&x, second < 400 ? "neighbours may overlap" : NULL);
  }
}
END_TEST

/* The same below a row stride: blocks of 8 columns of 10 rows of 40, and again some bytes on. */
START_TEST(two_writes_at_an_offset_in_rows) {
  struct fixture x;
  static const int64_t offset[] = {0, 160, 320, 4, 16, 28, 156, 164, 176, 1596};
  for (size_t n = 0; n < COUNT(offset); n++) {
    struct builder *b = start(&x);
    int y = build_buf(b, BUF_OUT, 4000), j = build_par(b, 0, val(40), 8);
    put_fill(b, ADDR(y, 0, {j, 4}), val(10), val(8), val(40));
    put_fill(b, ADDR(y, offset[n], {j, 4}), val(10), val(8), val(40));
    build_end(b);
    expect(&x, n < 3 ? NULL : "neighbours may overlap");
  }
}
END_TEST

START_TEST(par_faults) {
  struct fixture x;
  struct builder *b = start(&x);
  int y = build_buf(b, BUF_OUT, 400), i = build_par(b, 0, val(10), 1);
  put_fill(b, ADDR(y, 0), val(1), val(10), val(0));
  build_end(b);
  (void)i;
  expect(&x, "does not depend on its register");

  b = start(&x);
  y = build_buf(b, BUF_OUT, 400);
  int s = build_buf(b, BUF_SCRATCH, 400);
  build_par(b, 0, val(1), 1); /* one iteration, scratch: no race */
  put_fill(b, ADDR(y, 0), val(1), val(10), val(0));
  build_end(b);
  build_par(b, 0, val(9), 1);
  put_fill(b, ADDR(s, 0), val(1), val(10), val(0));
  build_end(b);
  expect(&x, NULL);

  b = start(&x);
  y = build_buf(b, BUF_OUT, 400);
  i = build_par(b, 0, val(10), 1);
  put_copy(b, ADDR(y, 0, {i, 8}), ADDR(y, 0, {i, 4}), val(1), val(1), val(0), val(0));
  build_end(b);
  expect(&x, "different strides");

  b = start(&x);
  build_par(b, 0, val(10), 1);
  build_par(b, 0, val(10), 1);
  build_end(b);
  build_end(b);
  expect(&x, "par inside par");
}
END_TEST

START_TEST(bounds_faults) {
  struct fixture x;
  struct builder *b = start(&x);
  int in = build_buf(b, BUF_IN, 64);
  put_fill(b, ADDR(in, 0), val(1), val(1), val(0));
  expect(&x, "writes b0, an input");

  b = start(&x);
  int y = build_buf(b, BUF_OUT, 64), i = build_loop(b, 0, val(3), 1);
  put_fill(b, ADDR(y, 4, {i, -4}), val(1), val(1), val(0));
  build_end(b);
  expect(&x, "stays above the start of b0, 4 bytes below");

  b = start(&x);
  y = build_buf(b, BUF_OUT, 64);
  put_fill(b, ADDR(y, 0), val(2), val(-1), val(0));
  expect(&x, "argument n is -1");

  b = start(&x);
  y = build_buf(b, BUF_OUT, 64);
  i = build_loop(b, 0, val(20), 1);
  build_min(b, 8, val(16), i);
  build_end(b);
  expect(&x, "min never gives a negative value");

  b = start(&x);
  y = build_buf(b, BUF_OUT, 64);
  put_fill(b, ADDR(y, 0), val((int64_t)1 << 50), val(1), val((int64_t)1 << 50));
  expect(&x, "address too large");

  b = start(&x);
  y = build_buf(b, BUF_OUT, 64);
  in = build_buf(b, BUF_IN, 64);
  build_ukr(b, UKR_exp_f32, (struct addr[]){ADDR(in, 0), ADDR(y, 0)},
            (struct val[]){val(1), val(4), val(0), val(2), val(0)});
  expect(&x, "argument cx may be 2, and 1 is the most");
}
END_TEST

/* Nothing is touched, so nothing needs bounding. */
START_TEST(what_never_happens_is_not_bounded) {
  struct fixture x;
  struct builder *b = start(&x);
  int y = build_buf(b, BUF_OUT, 64), i = build_loop(b, 4, val(4), 1);
  put_fill(b, ADDR(y, 1000, {i, 4}), val(9), val(9), val(9));
  int m = build_min(b, 3, val(2), i), j = build_par(b, 0, reg(m), 1);
  put_fill(b, ADDR(y, 1000, {j, 4}), val(9), val(9), val(9));
  build_end(b);
  build_end(b);
  put_fill(b, ADDR(y, 1000), val(0), val(9), val(9));
  put_fill(b, ADDR(y, 1000), val(9), val(0), val(9));
  expect(&x, NULL);
}
END_TEST

START_TEST(endless_programs_fail) {
  struct fixture x;
  struct builder *b = start(&x);
  build_loop(b, 0, val((int64_t)1 << 50), 1);
  build_end(b);
  expect(&x, "word 0: cannot prove that the program ends");
  b = start(&x);
  int y = build_buf(b, BUF_OUT, 64);
  for (int i = 0; i < 6; i++) build_loop(b, 0, val(1000), 1);
  put_fill(b, ADDR(y, 0), val(1), val(1), val(1));
  for (int i = 0; i < 6; i++) build_end(b);
  expect(&x, "cannot prove that the program ends");
  b = start(&x); /* one row, written again and again */
  y = build_buf(b, BUF_OUT, 64);
  put_fill(b, ADDR(y, 0), val((int64_t)1 << 50), val(1), val(0));
  expect(&x, "cannot prove that the program ends");
  b = start(&x);
  y = build_buf(b, BUF_OUT, 64);
  for (int i = 0; i < 4; i++) build_loop(b, 0, val(1000), 1);
  put_fill(b, ADDR(y, 0), val(1), val(1), val(1));
  for (int i = 0; i < 4; i++) build_end(b);
  expect(&x, NULL);
}
END_TEST

/* ---- form: programs as words ----------------------------------------------------------------- */
static void expect_words(const uint64_t *word, uint32_t n, const char *message) {
  static const struct buffer buf[1] = {{BUF_OUT, 64}};
  struct program p = {word, n, 2, 1, buf};
  struct fvm_error err = {0};
  ck_assert_msg(verify_program(&p, NULL, &err) == FVM_EFORMAT, "passed: %s", message);
  ck_assert_msg(strstr(err.text, message) != NULL, "'%s' lacks '%s'", err.text, message);
}
#define WORDS(message, ...)                                                                        \
  expect_words((uint64_t[]){__VA_ARGS__}, COUNT(((uint64_t[]){__VA_ARGS__})), message)

START_TEST(form_faults) {
  uint64_t halt = word_head(OP_HALT, 0, 0, 0), c1 = word_pack(0, 1), c0 = 0;
  uint64_t end0 = word_head(OP_END, 0, 0, 0), r1 = word_pack(1, 1);
  WORDS("word 0: halt before the end", halt, halt);
  WORDS("word 0: end without a loop", end0, halt);
  WORDS("does not end with halt", word_head(OP_LOOP, 0, 0, 4), c0, c1, c1, end0);
  WORDS("halt inside a loop", word_head(OP_LOOP, 0, 0, 4), c0, c1, c1, halt);
  WORDS("loop does not name its end", word_head(OP_LOOP, 0, 0, 3), c0, c1, c1, end0, halt);
  WORDS("end does not name its loop", word_head(OP_LOOP, 0, 0, 4), c0, c1, c1,
        word_head(OP_END, 0, 0, 1), halt);
  WORDS("register r1 is not in scope", word_head(OP_LOOP, 0, 0, 4), c0, r1, c1, end0, halt);
  WORDS("register r0 is not in scope", word_head(OP_LOOP, 0, 0, 4), c0, c1, c1, end0,
        word_head(OP_MIN, 1, 0, 0), c1, c1, halt);
  WORDS("register r0 is written twice", word_head(OP_LOOP, 0, 0, 4), c0, c1, c1, end0,
        word_head(OP_LOOP, 0, 0, 9), c0, c1, c1, word_head(OP_END, 0, 0, 5), halt);
  WORDS("loop starts below 0", word_head(OP_LOOP, 0, 0, 4), word_pack(0, -1), c1, c1, end0, halt);
  WORDS("not an instruction", word_head(OP_COUNT, 0, 0, 0), halt);
  WORDS("not an instruction", word_head(OP_MIN, 0, 0, 0), c0);
  struct fvm_error err;
  struct program none = {NULL, 0, 0, 0, NULL}, large = {NULL, 0, CODE_MAXREG + 1, 0, NULL};
  ck_assert_int_eq(verify_program(&none, NULL, &err), FVM_EFORMAT);
  ck_assert_int_eq(verify_program(&large, NULL, &err), FVM_EFORMAT);
}
END_TEST

/* Eight nested min registers: without a limit on branching this would take forever. */
START_TEST(bounding_ends) {
  struct fixture x;
  struct builder *b = start(&x);
  int y = build_buf(b, BUF_OUT, 1 << 20), i = build_loop(b, 0, val(1000), 1), m = i;
  struct addr a = ADDR(y, 0);
  for (int n = 0; n < 60; n++) m = build_min(b, 1000, val(1000 + n), m);
  for (int n = 0; n < 8; n++) addr_add(&a, m - n, 4);
  put_fill(b, a, val(1), val(1), val(1));
  build_end(b);
  expect(&x, NULL);
}
END_TEST

/* ---- random programs against the walker ------------------------------------------------------ */
static uint64_t seed;
static int64_t draw(int64_t n) {
  seed ^= seed << 13;
  seed ^= seed >> 7;
  seed ^= seed << 17;
  return (int64_t)(seed % (uint64_t)n);
}

enum { NBUF = 4, ROOM = 1 << 13 };

struct maker {
  struct builder b;
  int live[CODE_MAXREG], nlive, calls;
  bool in_par;
  int64_t unit; /* the strides of one program are multiples of a few numbers */
};

static struct val any(struct maker *m, int64_t most) {
  if (m->nlive && draw(3) == 0) return reg(m->live[draw(m->nlive)]);
  return val(draw(most + 1));
}

static int64_t stride(struct maker *m) {
  static const int64_t s[] = {1, 2, 4, 4, 8, 12, 16, 32};
  return draw(12) == 0 ? -4 : draw(3) == 0 ? s[draw(COUNT(s))] * m->unit : s[draw(COUNT(s))];
}

static struct addr address(struct maker *m, const struct addr *like) {
  struct addr a = ADDR((int)draw(NBUF), draw(3) ? 0 : draw(40));
  if (like && draw(3)) a = *like;
  if (like && draw(2)) return a;
  for (int i = 0; i < m->nlive; i++)
    if (draw(5) < 3 && a.term[CODE_MAXTERM - 1].stride == 0) addr_add(&a, m->live[i], stride(m));
  return a;
}

static void make_call(struct maker *m) {
  struct addr a[3];
  struct val v[8];
  m->calls++;
  a[0] = address(m, NULL);
  a[1] = address(m, &a[0]);
  for (int i = 0; i < 8; i++) v[i] = any(m, 5);
  if (draw(2)) v[2] = v[4] = val(m->unit);
  switch (draw(4)) {
  case 0:
    build_ukr(&m->b, UKR_copy_1, a, v);
    break;
  case 1:
    v[3] = val(1);
    v[5] = val(1);
    build_ukr(&m->b, UKR_copy_4, a, v);
    break;
  case 2:
    build_ukr(&m->b, UKR_transpose_2, a, v);
    break;
  default:
    build_ukr(&m->b, UKR_fill_4, a, v);
  }
}

static void make_body(struct maker *m, int depth) {
  int mark = m->nlive;
  for (int n = 1 + (int)draw(3); n > 0 && m->b.nreg < 12; n--) {
    int64_t what = draw(depth == 0 ? 2 : 5);
    if (what == 0 && m->nlive) {
      int sub = m->live[draw(m->nlive)];
      m->live[m->nlive++] = build_min(&m->b, 1 + draw(6), draw(2) ? val(8) : any(m, 12), sub);
    } else if (what < 2 || depth == 0) {
      make_call(m);
    } else {
      bool par = !m->in_par && draw(2), was = m->in_par;
      int64_t lo = draw(4) ? 0 : draw(4), step = 1 + draw(4);
      struct val limit = draw(3) ? val(draw(14)) : any(m, 12);
      int saved = m->nlive;
      m->live[m->nlive++] =
          par ? build_par(&m->b, lo, limit, step) : build_loop(&m->b, lo, limit, step);
      if (draw(2)) {
        int i = m->live[m->nlive - 1];
        m->live[m->nlive++] = build_min(&m->b, step, limit, i);
      }
      m->in_par |= par;
      make_body(m, depth - 1);
      m->in_par = was;
      m->nlive = saved;
      build_end(&m->b);
    }
  }
  m->nlive = mark;
}

/* What the walk over one program found. */
struct facts_seen {
  int64_t least[NBUF], most[NBUF];
  const int *alias;
  bool race;
  struct {
    int64_t par, iteration;
    bool written, several;
  } byte[NBUF][ROOM];
};

static void note(struct walker *k, const struct touch *t) {
  struct facts_seen *s = k->arg;
  s->least[t->buf] = MIN(s->least[t->buf], t->at);
  s->most[t->buf] = MAX(s->most[t->buf], t->at + t->bytes);
  if (t->par < 0 || k->p->buf[t->buf].kind == BUF_SCRATCH) return;
  for (int64_t at = t->at + ROOM / 2; at < t->at + ROOM / 2 + t->bytes; at++) {
    if (at < 0 || at >= ROOM) {
      k->budget = -1;
      return;
    }
    typeof(&s->byte[0][0]) b = &s->byte[s->alias[t->buf]][at];
    if (b->par != t->par) {
      b->par = t->par;
      b->iteration = t->iteration;
      b->written = b->several = false;
    }
    b->several |= b->iteration != t->iteration;
    b->written |= t->writes;
    s->race |= b->written && b->several;
  }
}

struct tally {
  int programs, accepted, refused, fine; /* fine: right by enumeration */
};

static void try_program(const struct program *made, struct tally *n) {
  static struct facts_seen s;
  struct fvm_error err = {0};
  int alias[NBUF] = {0, 1, 2, 3};
  if (draw(3) == 0) alias[1] = 0;
  for (int i = 0; i < NBUF; i++) s.least[i] = s.most[i] = 0;
  for (int i = 0; i < NBUF; i++)
    for (int j = 0; j < ROOM; j++) s.byte[i][j].par = -1;
  s.race = false;
  s.alias = alias;
  struct buffer buf[NBUF];
  memcpy(buf, made->buf, sizeof buf);
  struct program p = *made;
  p.buf = buf;
  struct walker k = {.p = &p, .touch = note, .arg = &s, .budget = 20000};
  if (!walker_run(&k)) return;
  n->programs++;
  bool fine = !s.race && !k.negative;
  for (int i = 0; i < NBUF; i++) {
    int64_t slack = draw(4) == 0 ? draw(9) - 4 : 0;
    buf[i].bytes = MAX(0, s.most[i] + slack);
    fine &= s.least[i] >= 0 && s.most[i] <= buf[i].bytes;
  }
  bool accepted = verify_program(&p, alias, &err) == FVM_OK;
  ck_assert_msg(!accepted || fine, "seed %llu: accepted, but %s", (unsigned long long)seed,
                s.race ? "races" : "leaves its bounds");
  n->accepted += accepted;
  n->fine += fine;
}

/* Soundness: accepted programs are right by enumeration. Buffers are as small as can be, so each
 * bound is put to the test. */
START_TEST(accepted_programs_are_right) {
  struct tally n = {0};
  for (int i = 0; i < 20000; i++) {
    struct arena arena = {0};
    struct fvm_error err = {0};
    struct maker m = {0};
    struct program p;
    seed = (uint64_t)i * 0x9e3779b97f4a7c15u + 88172645463325252u;
    m.unit = 8 + draw(3) * 4;
    build_init(&m.b, &arena);
    build_buf(&m.b, BUF_OUT, ROOM);
    build_buf(&m.b, BUF_OUT, ROOM);
    build_buf(&m.b, BUF_SHARED, ROOM);
    build_buf(&m.b, BUF_SCRATCH, ROOM);
    make_body(&m, 3);
    OK(build_finish(&m.b, &p, &err));
    if (m.calls) try_program(&p, &n);
    arena_free(&arena);
  }
  if (getenv("VERBOSE"))
    printf("%d programs, %d right, %d accepted\n", n.programs, n.fine, n.accepted);
  ck_assert_int_gt(n.programs, 5000);
  ck_assert_int_gt(n.accepted * 2, n.fine);
  ck_assert_int_gt(n.programs - n.fine, 1000);
}
END_TEST

UNIT_MAIN("verify", gemm_passes, gemm_with_narrow_rows_races, heads, strips_and_aliases,
          packing_into_shared_memory, register_limits, two_writes_at_an_offset,
          two_writes_at_an_offset_in_rows, par_faults, bounds_faults,
          what_never_happens_is_not_bounded, endless_programs_fail, form_faults, bounding_ends,
          accepted_programs_are_right)
