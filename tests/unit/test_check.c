/* scheduler/check: a good plan passes, each wrong claim is found. */
#include "unit.h"

#include <string.h>

#include "../../scheduler/plan_build.h"
#include "mkplan.h"

/* ---- the small plan of mkplan.h with all rows that the planner writes ------------------------ */
#define ROW(m, s, T, i) ((T *)(void *)(m)->section[s].v + (i))
#define META(m) ROW(m, PLAN_META, struct plan_meta, 0)
#define STEP(m, i) ROW(m, PLAN_STEPS, struct plan_step, i)
#define BIND(m, i) ROW(m, PLAN_BINDS, struct plan_bind, i)
#define TENSOR(m, i) ROW(m, PLAN_TENSORS, struct plan_tensor, i)
#define CONST(m, i) ROW(m, PLAN_CONSTS, struct plan_const, i)

static void put_row(struct mkplan *m, const char *name, enum plan_space space, uint32_t index,
                    uint64_t offset, uint32_t first, uint32_t last) {
  MK_ROW(m, PLAN_TENSORS, struct plan_tensor, .name = mk_text(m, name), .dtype = FVM_F32, .rank = 2,
         .dim = {4, 25}, .space = space, .index = index, .offset = offset, .bytes = MK_N * 4,
         .first = first, .last = last);
}

/* Rows: 0 t, 1 u (in the place of t), 2 v (a view of u), 3 y, 4 z, 5 x, 6 i. */
static void make(struct mkplan *m) {
  mk_small(m);
  m->section[PLAN_TENSORS].n = 0;
  put_row(m, "t", SPACE_ARENA, 0, 64, 0, 3);
  put_row(m, "u", SPACE_ARENA, 0, 64, 1, 3);
  put_row(m, "v", SPACE_ARENA, 0, 64, 1, 3);
  put_row(m, "y/out", SPACE_OUTPUT, 0, 0, 2, 3);
  put_row(m, "z", SPACE_OUTPUT, 1, 0, 3, 3);
  put_row(m, "x", SPACE_INPUT, 0, 0, 0, 3);
  put_row(m, "i", SPACE_INPUT, 1, 0, 0, 3);
  TENSOR(m, 4)->dim[0] = TENSOR(m, 6)->dim[0] = MK_ROWS;
  TENSOR(m, 4)->dim[1] = TENSOR(m, 6)->dim[1] = 1;
  TENSOR(m, 4)->bytes = MK_ROWS * 4;
  TENSOR(m, 6)->bytes = MK_ROWS * 8;
  TENSOR(m, 6)->dtype = FVM_I64;
  CONST(m, 0)->rank = 2;
  CONST(m, 0)->dim[0] = 4;
  CONST(m, 0)->dim[1] = 25;
  META(m)->arena_bound_bytes = META(m)->order_peak_bytes = 448;
  BIND(m, 9)->offset = 0; /* of the scratch buffer */
  META(m)->model_hash = 77;
  META(m)->stream_bytes = MK_N * 4;
}

static float weights[MK_N];

static int add_tensor(struct graph *g, const char *name, enum fvm_dtype dtype, int64_t rows,
                      int64_t columns) {
  int t = graph_add_tensor(g, name);
  CHECK(t >= 0 && tensor_init(&g->tensor.v[t].t, dtype, 2, (int64_t[]){rows, columns}, NULL) == 0);
  return t;
}

static void add_node(struct graph *g, const char *name, const char *op, int a, int b, int out) {
  int n = graph_add_node(g, name, op_find(op, strlen(op)));
  CHECK(n >= 0 && node_add_in(g, n, a) && (b < 0 || node_add_in(g, n, b)) &&
        node_add_out(g, n, out));
}

static struct graph *make_graph(void) {
  struct graph *g = graph_new();
  CHECK(g);
  for (int i = 0; i < MK_N; i++) weights[i] = (float)i / 4;
  int x = add_tensor(g, "x", FVM_F32, 4, 25), i = add_tensor(g, "i", FVM_I64, MK_ROWS, 1);
  int w = add_tensor(g, "w", FVM_F32, 4, 25), t = add_tensor(g, "t", FVM_F32, 4, 25);
  int u = add_tensor(g, "u", FVM_F32, 4, 25), v = add_tensor(g, "v", FVM_F32, 4, 25);
  int y = add_tensor(g, "y/out", FVM_F32, 4, 25), z = add_tensor(g, "z", FVM_F32, MK_ROWS, 1);
  g->tensor.v[w].t.data = weights;
  g->model_hash = 77;
  CHECK(VEC_PUSH(&g->input, x) && VEC_PUSH(&g->input, i));
  CHECK(VEC_PUSH(&g->output, y) && VEC_PUSH(&g->output, z));
  add_node(g, "t = x + w", "Add", x, w, t);
  add_node(g, "t = t + t", "Add", t, t, u);
  add_node(g, "a view", "Identity", u, -1, v);
  add_node(g, "y = 2 (t + x)", "Add", v, x, y);
  add_node(g, "z = t[i]", "Gather", u, i, z);
  return g;
}

static enum fvm_status check(struct mkplan *m, const struct graph *g, struct fvm_error *err) {
  struct fvm_plan *p;
  mk_finish(m);
  enum fvm_status st = plan_load_memory(m->bytes, m->n, &p, err);
  if (st != FVM_OK) fvm_prefix(err, "reader");
  if (st == FVM_OK) {
    st = check_plan(p, g, err);
    fvm_unload(p);
  }
  mk_free(m);
  return st;
}

START_TEST(good_plan_passes) {
  struct mkplan m;
  struct fvm_error err;
  struct graph *g = make_graph();
  make(&m);
  OK(check(&m, NULL, &err));
  make(&m);
  OK(check(&m, g, &err));
  graph_free(g);
}
END_TEST

/* ---- wrong claims, one at a time: name, what to change, part of the error's text ------------- */
/* Without the graph. Offsets 64..464 are t and u; 512 is free when the arena grows. */
#define WRONGS(W)                                                                                  \
  W(cost, STEP(m, 1)->cost_ns = 999, "steps sum up to 3999")                                       \
  W(negative, STEP(m, 1)->cost_ns = -1000, "impossible cost")                                      \
  W(threads, META(m)->threads = 4, "4 threads claimed")                                            \
  W(layouts, META(m)->layout_bound_ns = 4001, "below its lower bound")                             \
  W(order, META(m)->order_bound_bytes = 449, "below its lower bound")                              \
  W(height, META(m)->arena_bytes = 576, "its tensors end at 512")                                  \
  W(peak, META(m)->order_peak_bytes = 449, "the order's peak is 449 bytes, but 448")               \
  W(bound, META(m)->arena_bound_bytes = 447, "448 live at once")                                   \
  W(no_row, TENSOR(m, 0)->first = 1, "step 0 (t = x + w): writes where no tensor begins")          \
  W(short_row, TENSOR(m, 3)->bytes = 396, "writes where no tensor begins")                         \
  W(dead, TENSOR(m, 1)->last = TENSOR(m, 2)->last = 2, "step 3 (z = t[i]): buffer 0 reads")        \
  W(output, TENSOR(m, 3)->last = 2, "output y/out is not complete")                                \
  W(early, (TENSOR(m, 1)->first = 0, TENSOR(m, 2)->first = 0), "writes where no tensor begins")    \
  W(unwritten, two_arenas(m), "tensor row 2 (v): no step writes it")                               \
  W(half_view, (two_arenas(m), TENSOR(m, 2)->offset = 128), "tensor row 2 (v): only a part")       \
  W(overlap, shift_second(m, 32), "something is written into it while it lives")                   \
  W(read_early, (BIND(m, 0)->space = SPACE_OUTPUT, BIND(m, 0)->index = 0), "reads what is not")    \
  W(no_constant, CONST(m, 0)->bytes = 396, "step 0 (t = x + w): buffer 1 reads what is not")       \
  W(constants, two_constants(m), "constants w and w overlap")

/* Room for another 400 bytes behind t, where the view is now. */
static void two_arenas(struct mkplan *m) {
  META(m)->arena_bytes = 1024;
  TENSOR(m, 2)->offset = 512;
}
/* u begins `by` bytes behind t instead of in its place, and t is read later. */
static void shift_second(struct mkplan *m, uint64_t by) {
  META(m)->arena_bytes = 1024;
  TENSOR(m, 1)->offset = TENSOR(m, 2)->offset = 64 + by;
  BIND(m, 3)->space = BIND(m, 4)->space = SPACE_WEIGHTS; /* so that step 1 alone is allowed */
  BIND(m, 3)->offset = BIND(m, 4)->offset = 0;
  BIND(m, 5)->offset = 64 + by;
}
static void two_constants(struct mkplan *m) {
  struct plan_const c = *CONST(m, 0);
  c.offset = 4;
  c.bytes -= 4;
  mk_put(m, PLAN_CONSTS, &c, sizeof c);
}

/* With the graph. */
#define MISFITS(W)                                                                                 \
  W(other_model, META(m)->model_hash = 78, "made for another model")                               \
  W(input_name, ROW(m, PLAN_IO, struct plan_io, 0)->name = 0, "input small differs")               \
  W(input_shape,                                                                                   \
    (ROW(m, PLAN_IO, struct plan_io, 0)->dim[0] = 100,                                             \
     ROW(m, PLAN_IO, struct plan_io, 0)->dim[1] = 1),                                              \
    "input x differs")                                                                             \
  W(row_shape, (TENSOR(m, 1)->dim[0] = 25, TENSOR(m, 1)->dim[1] = 4), "tensor row 1 (u): not a")   \
  W(row_layout, TENSOR(m, 1)->layout = LAYOUT_COUNT, "tensor row 1 (u): not a tensor")             \
  W(layout, TENSOR(m, 1)->layout = LAYOUT_COL, "step 1 (t = t + t): buffer 2 is not tensor 'u'")   \
  W(constant, m->section[PLAN_WEIGHTS].v[9] ^= 1, "constant w: value differs")                     \
  W(step_name, STEP(m, 1)->name = STEP(m, 0)->name,                                                \
    "step 1 (t = x + w): runs its node a second time")                                             \
  W(label, STEP(m, 1)->label = mk_text(m, "x in=col,row out=row"),                                 \
    "step 1 (t = t + t): buffer 0 is not tensor 't' in col")                                       \
  W(wrong_input, (BIND(m, 0)->space = SPACE_WEIGHTS),                                              \
    "step 0 (t = x + w): buffer 0 is not tensor 'x' in row")                                       \
  W(swapped, (TENSOR(m, 0)->name = TENSOR(m, 1)->name),                                            \
    "step 0 (t = x + w): buffer 2 is not tensor 't' in row")                                       \
  W(no_view, TENSOR(m, 2)->name = TENSOR(m, 1)->name, "buffer 0 is not tensor 'v'")                \
  W(view_of, TENSOR(m, 2)->first = 2, "row 2 (v): begins with another step")

#define WRONG(name, change, text)                                                                  \
  static void wrong_##name(struct mkplan *m) { change; }
WRONGS(WRONG)
MISFITS(WRONG)
#undef WRONG

struct wrong {
  const char *name, *text;
  void (*change)(struct mkplan *m);
};
#define WRONG(name, change, text) {#name, text, wrong_##name},
static const struct wrong wrongs[] = {WRONGS(WRONG)}, misfits[] = {MISFITS(WRONG)};

static void expect_found(const struct wrong *w, size_t n, const struct graph *g) {
  for (size_t i = 0; i < n; i++) {
    struct mkplan m;
    struct fvm_error err = {FVM_OK, ""};
    make(&m);
    w[i].change(&m);
    ck_assert_msg(check(&m, g, &err) == FVM_EFORMAT, "%s passes", w[i].name);
    ck_assert_msg(strstr(err.text, w[i].text) != NULL, "%s: %s", w[i].name, err.text);
  }
}

START_TEST(wrong_plans_are_found) { expect_found(wrongs, COUNT(wrongs), NULL); }
END_TEST

START_TEST(misfits_are_found) {
  struct graph *g = make_graph();
  expect_found(misfits, COUNT(misfits), g);
  graph_free(g);
}
END_TEST

/* A node that nothing runs; a constant's bytes damaged; memory that runs out. */
START_TEST(more_findings) {
  struct mkplan m;
  struct fvm_error err;
  struct graph *g = make_graph();
  int q = add_tensor(g, "q", FVM_F32, 4, 25);
  add_node(g, "extra", "Add", 0, 0, q);
  make(&m);
  ck_assert_int_eq(check(&m, g, &err), FVM_EFORMAT);
  ck_assert_ptr_nonnull(strstr(err.text, "node extra is neither"));
  g->node.v[g->node.n - 1].dead = true;
  struct fvm_plan *p;
  make(&m);
  mk_finish(&m);
  OK(plan_load_memory(m.bytes, m.n, &p, &err));
  m.bytes[m.n - 1] ^= 1;
  ck_assert_int_eq(check_plan(p, NULL, &err), FVM_EFORMAT);
  m.bytes[m.n - 1] ^= 1;
  enum fvm_status st = FVM_ENOMEM;
  for (long n = 1; st != FVM_OK; n++) {
    fvm_fail_alloc(n);
    st = check_plan(p, g, &err);
    ck_assert(st == FVM_OK || st == FVM_ENOMEM);
  }
  fvm_fail_alloc(0);
  fvm_unload(p);
  mk_free(&m);
  graph_free(g);
}
END_TEST

/* ---- a program that leaves bytes out --------------------------------------------------------- */
START_TEST(unwritten_bytes_are_found) {
  for (int64_t gap = 0; gap < 2; gap++) {
    struct arena a = {0};
    struct builder b;
    struct mkplan m;
    struct fvm_error err;
    make(&m);
    build_init(&b, &a);
    int x = build_buf(&b, BUF_IN, MK_N * 4), w = build_buf(&b, BUF_IN, MK_N * 4);
    int y = build_buf(&b, BUF_OUT, MK_N * 4), i = build_loop(&b, gap, val(25), 1);
    build_ukr(&b, UKR_copy_4, (struct addr[]){ADDR(x, 0), ADDR(y, 0, {i, 4})},
              (struct val[]){val(4), val(1), val(25), val(1), val(25), val(1)});
    (void)w;
    build_end(&b);
    STEP(&m, 0)->program = mk_built(&m, &b);
    enum fvm_status st = check(&m, NULL, &err);
    ck_assert_int_eq(st, gap ? FVM_EFORMAT : FVM_OK);
    if (gap) ck_assert_ptr_nonnull(strstr(err.text, "row 0 (t): its step does not write all"));
    arena_free(&a);
  }
}
END_TEST

UNIT_MAIN("check", good_plan_passes, wrong_plans_are_found, misfits_are_found, more_findings,
          unwritten_bytes_are_found)
