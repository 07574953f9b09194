/* vm/jit: compiled programs do what the interpreter does, bit for bit. */
#include "unit.h"

#include "../../vm/jit.h"
#include "programs.h"

enum { THREADS = 3 };

static void run_case(const struct test_case *c, struct pool *pool) {
  struct fvm_error err;
  struct arena a = {0};
  struct program p;
  struct case_memory m;
  struct jit *jit;
  case_build(c, &a, &p);
  OK(jit_compile(&p, test_ukr(), &jit, &err));
  for (int i = 0; i < 20 * THREADS; i++) {
    case_fill(&m);
    struct jit_run run = {jit, m.buf};
    int want = c->expect(m.want);
    ck_assert_int_eq(pool_run(pool, 1 + i % THREADS, jit_run, &run), want);
    case_compare(&p, &m);
  }
  jit_free(jit);
  arena_free(&a);
}

START_TEST(programs_run) {
  struct fvm_error err;
  struct pool *pool;
  OK(pool_new(THREADS, &pool, &err));
  for (size_t i = 0; i < COUNT(test_cases); i++) run_case(&test_cases[i], pool);
  pool_free(pool);
}
END_TEST

/* ---- random programs on one thread: loop nests of any shape whose calls feed each other ---- */

struct gen {
  struct builder b;
  uint64_t seed;
  int reg[CODE_MAXREG], max[CODE_MAXREG], n; /* registers in scope and their greatest values */
  int room;                                  /* instructions still to make */
  bool in_par;
};

static int pick(struct gen *g, int n) {
  g->seed = g->seed * 6364136223846793005u + 1442695040888963407u;
  return (int)((g->seed >> 33) % (unsigned)n);
}

/* An address in a buffer of CASE_FLOATS floats that leaves `want` floats behind it. */
static struct addr gen_addr(struct gen *g, int want) {
  int left = CASE_FLOATS - want, down = 0;
  struct addr a = ADDR(pick(g, CASE_BUFS), 0);
  for (int i = 0; i < g->n && i < CODE_MAXTERM; i++) {
    if (pick(g, 3) == 0 || g->max[i] == 0) continue;
    int stride = pick(g, left / g->max[i] / 2 + 1);
    left -= stride * g->max[i];
    bool back = pick(g, 4) == 0;
    if (back) down += stride * g->max[i];
    addr_add(&a, g->reg[i], FLOATS(back ? -stride : stride));
  }
  a.off = FLOATS(down + pick(g, left + 1));
  return a;
}

static void gen_call(struct gen *g) {
  int use = g->n ? pick(g, g->n + 1) : 0;
  bool fixed = use == g->n;
  int most = fixed ? 1 + pick(g, 20) : g->max[use];
  struct val n = fixed ? val(most) : reg(g->reg[use]);
  if (pick(g, 6) == 0)
    build_fill(&g->b, gen_addr(g, most), n, 0x3f000000);
  else
    build_add(&g->b, gen_addr(g, most), gen_addr(g, most), gen_addr(g, most), n);
}

static void gen_body(struct gen *g, int depth) {
  for (int n = 1 + pick(g, 3); n && g->room; n--, g->room--) {
    int what = pick(g, depth < 4 && g->n < 20 ? 4 : 1), n0 = g->n;
    if (what == 0 || what == 3) {
      gen_call(g);
      continue;
    }
    int lo = pick(g, 3), limit = lo + pick(g, 9), step = 1 + pick(g, 3);
    bool bound = g->n && pick(g, 4) == 0;
    struct val lim = bound ? reg(g->reg[pick(g, g->n)]) : val(limit);
    bool par = what == 2 && !g->in_par;
    int r = par ? build_par(&g->b, lo, lim, step) : build_loop(&g->b, lo, lim, step);
    g->reg[g->n] = r;
    g->max[g->n++] = bound ? 16 : MAX(limit - 1, 0);
    if (!bound && pick(g, 2)) {
      g->reg[g->n] = build_min(&g->b, 4, val(limit), r);
      g->max[g->n++] = 4;
    }
    g->in_par |= par;
    gen_body(g, depth + 1);
    g->in_par &= !par;
    g->n = n0;
    build_end(&g->b);
  }
}

static void random_program(uint64_t seed, struct arena *a, struct program *p) {
  struct fvm_error err;
  struct gen g = {.seed = seed, .room = 20};
  build_init(&g.b, a);
  for (int i = 0; i < CASE_BUFS; i++)
    build_buf(&g.b, i == 2 ? BUF_SCRATCH : i == 3 ? BUF_SHARED : BUF_OUT, FLOATS(CASE_FLOATS));
  gen_body(&g, 0);
  OK(build_finish(&g.b, p, &err));
}

START_TEST(random_programs_agree) {
  struct fvm_error err;
  struct pool *pool;
  static struct case_memory m, n;
  OK(pool_new(1, &pool, &err));
  for (uint64_t seed = 1; seed <= 300; seed++) {
    struct arena a = {0};
    struct program p;
    struct jit *jit;
    random_program(seed, &a, &p);
    OK(jit_compile(&p, test_ukr(), &jit, &err));
    case_fill(&m);
    case_fill(&n);
    pool_run(pool, 1, interp_run, &(struct run){&p, test_ukr(), m.buf});
    pool_run(pool, 1, jit_run, &(struct jit_run){jit, n.buf});
    ck_assert_int_eq(memcmp(m.got, n.got, sizeof m.got), 0);
    jit_free(jit);
    arena_free(&a);
  }
  pool_free(pool);
}
END_TEST

START_TEST(text_is_readable) {
  struct arena a = {0};
  struct program p;
  struct text t = {0};
  case_build(&test_cases[0], &a, &p);
  ck_assert_int_eq(jit_emit(&p, "strips", &t), FVM_OK);
  ck_assert_ptr_nonnull(strstr(t.v, "int strips(char *const *buf, int tid, int nthread, void *"));
  ck_assert_ptr_nonnull(strstr(t.v, "  for (i64 r0 = 0 + n0 * tid / nthread * 7; r0 < e0; "));
  ck_assert_ptr_nonnull(strstr(t.v, "    i64 r1 = least(7, 100 - r0);\n"));
  ck_assert_ptr_nonnull(strstr(t.v, "    p[2] = buf[1] + 0 + r0 * 4;\n"));
  ck_assert_ptr_nonnull(strstr(t.v, "    rc |= ukr_add_f32(p, v);\n"));
  text_free(&t);
  arena_free(&a);
}
END_TEST

START_TEST(no_memory) {
  struct fvm_error err;
  struct arena a = {0};
  struct program p;
  struct jit *jit = NULL;
  case_build(&test_cases[0], &a, &p);
  int failures = 0;
  for (;; failures++) {
    fvm_fail_alloc(failures + 1);
    enum fvm_status st = jit_compile(&p, test_ukr(), &jit, &err);
    if (st == FVM_OK) break;
    ck_assert_int_eq(st, FVM_ENOMEM);
  }
  fvm_fail_alloc(0);
  ck_assert_int_ge(failures, 2);
  jit_free(jit);
  arena_free(&a);
}
END_TEST

/* A micro-kernel that nobody provides is an error with libtcc's own words, not a crash. */
START_TEST(errors_are_caught) {
  struct fvm_error err;
  struct arena a = {0};
  struct program p;
  struct jit *jit;
  static ukr_fn *const none[UKR_COUNT];
  case_build(&test_cases[0], &a, &p);
  ck_assert_int_eq(jit_compile(&p, none, &jit, &err), FVM_EFAIL);
  ck_assert_ptr_nonnull(strstr(err.text, "ukr_add_f32"));
  ck_assert_int_eq(jit_compile(&p, none, &jit, NULL), FVM_EFAIL);
  arena_free(&a);
}
END_TEST

UNIT_MAIN("jit", programs_run, random_programs_agree, text_is_readable, no_memory,
          errors_are_caught)
