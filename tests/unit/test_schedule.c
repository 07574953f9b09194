/* From a graph to a plan file and its results: small graphs whose steps are known, and random ones
 * under random costs, which make the planner take every kind of label, layout, view, copy and
 * in-place output, against the reference operators. */
#include "planned.h"

#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../scheduler/pass.h"
#include "../../scheduler/sched.h"

static char dir[] = "/tmp/test_schedule.XXXXXX";
#define options planned_options

static const char *in_dir(const char *name) {
  static char path[2][80];
  static int turn;
  turn = !turn;
  snprintf(path[turn], sizeof path[turn], "%s/%s", dir, name);
  return path[turn];
}

/* ---- graphs ---- */

static int new_tensor(struct graph *g, int rank, const int64_t *dim) {
  struct fvm_error err;
  char name[16];
  snprintf(name, sizeof name, "t%zu", g->tensor.n);
  int t = graph_add_tensor(g, name);
  ck_assert_int_ge(t, 0);
  g->tensor.v[t].producer = -1;
  OK(tensor_init(&g->tensor.v[t].t, FVM_F32, rank, dim, &err));
  return t;
}

static int new_const(struct graph *g, int rank, const int64_t *dim) {
  int t = new_tensor(g, rank, dim);
  int64_t n = tensor_count(&g->tensor.v[t].t);
  float *v = ARENA_NEW(&g->arena, float, n);
  for (int64_t i = 0; i < n; i++) v[i] = real();
  g->tensor.v[t].t.data = v;
  return t;
}

static int new_ints(struct graph *g, int n, const int64_t *value) {
  int t = new_tensor(g, 1, (int64_t[]){n});
  int64_t *v = ARENA_NEW(&g->arena, int64_t, n);
  memcpy(v, value, (size_t)n * sizeof *v);
  g->tensor.v[t].t.dtype = FVM_I64;
  g->tensor.v[t].t.data = v;
  return t;
}

static int new_input(struct graph *g, int rank, const int64_t *dim) {
  int t = new_tensor(g, rank, dim);
  g->tensor.v[t].is_input = true;
  ck_assert(VEC_PUSH(&g->input, t));
  return t;
}

static void new_output(struct graph *g, int t) {
  g->tensor.v[t].is_output = true;
  ck_assert(VEC_PUSH(&g->output, t));
}

/* A node with its output's shape; attribute axis when >= 0. */
static int new_node(struct graph *g, const char *op, int nin, const int *in, int axis) {
  struct fvm_error err;
  struct opcall c;
  char name[16];
  snprintf(name, sizeof name, "%s%zu", op, g->node.n);
  int n = graph_add_node(g, name, op_find(op, strlen(op)));
  ck_assert_int_ge(n, 0);
  for (int i = 0; i < nin; i++) ck_assert(node_add_in(g, n, in[i]));
  g->node.v[n].nown = nin;
  if (axis >= 0) {
    struct attr *a = ARENA_NEW(&g->arena, struct attr, 1);
    *a = (struct attr){.name = "axis", .kind = ATTR_INT, .i = axis};
    g->node.v[n].attr = a;
    g->node.v[n].nattr = 1;
  }
  int t = new_tensor(g, 0, NULL);
  ck_assert(node_add_out(g, n, t));
  struct arena a = {0};
  OK(graph_opcall(g, n, &a, &c, &err));
  OK(opcall_shape(&c, &err));
  g->tensor.v[t].t = c.out[0];
  g->tensor.v[t].t.data = NULL;
  arena_free(&a);
  return t;
}

static struct graph *new_graph(void) {
  struct graph *g = graph_new();
  ck_assert_ptr_nonnull(g);
  g->name = "test";
  g->opset = 13;
  return g;
}

/* ---- running ---- */

static struct schedule *schedule_by(enum policy p, const struct graph *g, struct cost *cost) {
  struct fvm_error err;
  struct schedule *s;
  struct plan_options o = options;
  ck_assert_ptr_nonnull(cost);
  o.policy = p;
  OK(schedule_graph(g, cost, &o, &s, &err));
  cost_free(cost);
  return s;
}

static struct schedule *schedule(const struct graph *g, struct cost *cost) {
  return schedule_by(POLICY_exact, g, cost);
}

static void plan_and_run(const struct graph *g, struct schedule *s) {
  struct fvm_error err;
  const char *path = in_dir("a.plan");
  OK(plan_write(s, &options, path, &err));
  planned_verify(g, path);
}

/* Published policies plan as right, no faster, and at what they say. */
static void plan_otherwise(const struct graph *g, uint64_t seed, int64_t least) {
  for (int p = POLICY_exact + 1; p < POLICY_COUNT; p++) {
    struct schedule *s = schedule_by((enum policy)p, g, cost_random_new(seed));
    ck_assert_int_le(least, s->cost_ns);
    ck_assert_int_le(s->layout_bound_ns, s->layout_cost_ns);
    ck_assert_int_le(s->layout_cost_ns, s->cost_ns);
    ck_assert_int_le(s->arena_bound, s->arena_bytes);
    plan_and_run(g, s);
    schedule_free(s);
  }
}

/* ---- known graphs ---- */

START_TEST(views_cost_no_step) {
  struct graph *g = new_graph();
  int x = new_input(g, 2, (int64_t[]){4, 6});
  int y = new_node(g, "Relu", 1, (int[]){x}, -1);
  int z = new_node(g, "Reshape", 2, (int[]){y, new_ints(g, 2, (int64_t[]){8, 3})}, -1);
  new_output(g, new_node(g, "Relu", 1, (int[]){z}, -1));
  struct schedule *s = schedule(g, cost_model_new(50, 10, 20));
  ck_assert_uint_eq(s->step.n, 2);
  ck_assert_int_eq(s->weight_bytes, 0); /* the shape is nowhere read */
  ck_assert_int_eq(s->arena_bytes, 128);
  plan_and_run(g, s);
  schedule_free(s);
  graph_free(g);
}
END_TEST

/* An input, a view of one, a constant, and one tensor twice: what needs a copy gets one. */
START_TEST(outputs_that_need_copies) {
  struct graph *g = new_graph();
  int x = new_input(g, 2, (int64_t[]){4, 6}), w = new_const(g, 2, (int64_t[]){4, 6});
  int v = new_node(g, "Reshape", 2, (int[]){x, new_ints(g, 1, (int64_t[]){24})}, -1);
  int y = new_node(g, "Add", 2, (int[]){x, w}, -1);
  int outs[] = {x, v, w, y, y};
  for (size_t i = 0; i < COUNT(outs); i++) new_output(g, outs[i]);
  struct schedule *s = schedule(g, cost_model_new(50, 10, 20));
  ck_assert_uint_eq(s->step.n, 1 + 4);
  plan_and_run(g, s);
  schedule_free(s);
  graph_free(g);
}
END_TEST

START_TEST(chains_run_in_place) {
  struct graph *g = new_graph();
  int x = new_input(g, 2, (int64_t[]){16, 16}), y = x;
  for (int i = 0; i < 6; i++)
    y = new_node(g, "Exp", 1, (int[]){y}, -1), y = new_node(g, "Neg", 1, (int[]){y}, -1);
  new_output(g, y);
  struct schedule *s = schedule(g, cost_model_new(50, 10, 20));
  ck_assert_int_eq(s->arena_bytes, 16 * 16 * 4);
  ck_assert_int_eq(s->arena_bound, s->arena_bytes);
  plan_and_run(g, s);
  schedule_free(s);
  graph_free(g);
}
END_TEST

/* Of a graph's two forms the cheaper one is kept; each of them is for some costs. */
START_TEST(the_cheaper_form_is_kept) {
  static const char text[] = "graph forms opset=18\n"
                             "input x:f32[1,3,4]\n"
                             "const wq:f32[4,4] = {1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16}\n"
                             "const wk:f32[4,4] = {1,0,0,2,0,0,1,2,3,1,1,1,1,1,0,1}\n"
                             "const wv:f32[4,4] = {1,2,0,0,1,0,1,0,1,1,0,0,1,0,2,1}\n"
                             "q = MatMul(x, wq) @q\n"
                             "k = MatMul(x, wk) @k\n"
                             "v = MatMul(x, wv) @v\n"
                             "y = FusedAttention(q, k, v) @self heads=2 scale=0.01\n"
                             "output y\n";
  struct fvm_error err;
  struct graph *g;
  int kept[2] = {0};
  OK(graph_parse(text, sizeof text - 1, &g, &err));
  OK(pipeline_run(g, NULL, &err));
  struct graph *form[] = {g, g->other};
  ck_assert_ptr_nonnull(form[1]);
  for (uint64_t seed = 0; seed < 20; seed++) {
    int64_t ns[2];
    for (int i = 0; i < 2; i++) {
      g->other = NULL;
      struct schedule *one = schedule(form[i], cost_random_new(seed));
      ns[i] = one->cost_ns;
      schedule_free(one);
    }
    g->other = form[1];
    struct schedule *s = schedule(g, cost_random_new(seed));
    int best = ns[1] < ns[0];
    ck_assert_ptr_eq(s->graph, form[best]);
    ck_assert_int_eq(s->cost_ns, ns[best]);
    plan_and_run(g, s);
    kept[best]++;
    schedule_free(s);
  }
  ck_assert(kept[0] && kept[1]);
  graph_free(g);
}
END_TEST

/* Equal constants and equal programs are stored once; what nobody reads is not stored. */
/* Constants that come in another order than the steps need them, the first a table. */
START_TEST(weights_lie_in_order_of_use) {
  struct fvm_error err;
  struct graph *g = new_graph();
  int table = new_const(g, 2, (int64_t[]){50, 8}), last = new_const(g, 2, (int64_t[]){8, 5});
  int first = new_const(g, 2, (int64_t[]){8, 8}), row = new_const(g, 1, (int64_t[]){3});
  static const int64_t index[] = {1, 49, 7};
  g->tensor.v[row].t.dtype = FVM_I64;
  g->tensor.v[row].t.data = index;
  int x = new_input(g, 2, (int64_t[]){3, 8});
  int t = new_node(g, "Gather", 2, (int[]){table, row}, -1);
  int a = new_node(g, "Add", 2, (int[]){x, t}, -1);
  int y = new_node(g, "MatMul", 2, (int[]){a, first}, -1);
  new_output(g, new_node(g, "MatMul", 2, (int[]){y, last}, -1));
  struct schedule *s = schedule(g, cost_model_new(50, 10, 20));
  int64_t at[4] = {-1, -1, -1, -1};
  for (size_t i = 0; i < s->value.n; i++) {
    const struct sched_value *v = &s->value.v[i];
    const int tensor[] = {first, last, table, row};
    for (int k = 0; k < 4; k++)
      if (v->tensor == tensor[k] && v->space == SPACE_WEIGHTS) at[k] = v->offset;
  }
  ck_assert(at[0] >= 0 && at[0] < at[1] && at[1] < at[2] && at[3] < at[2]);
  ck_assert_int_eq(at[2], ROUND_UP(s->stream_bytes, (int64_t)FVM_ALIGN));
  plan_and_run(g, s);
  struct fvm_plan *p;
  OK(fvm_load(in_dir("a.plan"), &p, &err));
  ck_assert_uint_eq(p->meta->stream_bytes, (uint64_t)s->stream_bytes);
  fvm_unload(p);
  schedule_free(s);
  graph_free(g);
}
END_TEST

START_TEST(equal_things_are_stored_once) {
  struct fvm_error err;
  struct graph *g = new_graph();
  int x = new_input(g, 2, (int64_t[]){8, 8}), a = new_const(g, 2, (int64_t[]){8, 8});
  int b = new_tensor(g, 2, (int64_t[]){8, 8});
  g->tensor.v[b].t.data = g->tensor.v[a].t.data;
  new_const(g, 2, (int64_t[]){100, 100});
  int y = new_node(g, "MatMul", 2, (int[]){x, a}, -1),
      z = new_node(g, "MatMul", 2, (int[]){x, b}, -1);
  new_output(g, new_node(g, "Add", 2, (int[]){y, z}, -1));
  struct schedule *s = schedule(g, cost_model_new(50, 10, 20));
  ck_assert_int_gt(s->weight_bytes, 0);
  ck_assert_int_le(s->weight_bytes, 8 * 64 * 4);
  plan_and_run(g, s);
  struct fvm_plan *p;
  OK(fvm_load(in_dir("a.plan"), &p, &err));
  ck_assert_uint_eq(p->nprogram, 2);
  ck_assert_uint_eq(p->nstep, 3);
  fvm_unload(p);
  schedule_free(s);
  graph_free(g);
}
END_TEST

/* ---- joins ---- */

static int count_steps(const struct schedule *s, const char *op) {
  int n = 0;
  for (size_t k = 0; k < s->step.n; k++)
    n += s->step.v[k].node >= 0 && !strcmp(s->graph->node.v[s->step.v[k].node].op->name, op);
  return n;
}

static struct schedule *schedule_text(const char *text, struct graph **g) {
  struct fvm_error err;
  OK(graph_parse(text, strlen(text), g, &err));
  OK(pipeline_run(*g, NULL, &err));
  return schedule(*g, cost_model_new(50, 10, 20));
}

/* A Concat is where its inputs lie; what stands in two of them is copied into one. */
START_TEST(joined_pieces_cost_no_step) {
  struct graph *g;
  struct schedule *s = schedule_text("graph fire opset=17\n"
                                     "input x:f32[1,16,6,6]\n"
                                     "const w:f32[16,16,1,1] = #0\n"
                                     "const v:f32[16,16,3,3] = #0\n"
                                     "const u:f32[8,48,1,1] = #0\n"
                                     "a = Conv(x, w)\n"
                                     "b = Conv(x, v) pads=[1,1,1,1]\n"
                                     "c = Concat(a, b, a) axis=1\n"
                                     "y = Conv(c, u)\n"
                                     "output y\n",
                                     &g);
  ck_assert_int_eq(count_steps(s, "Concat"), 0);
  ck_assert_uint_eq(s->step.n, 3 + 1);
  ck_assert_int_eq(s->arena_bytes, 48 * 36 * 4);
  ck_assert_int_eq(s->arena_bound, s->arena_bytes);
  plan_and_run(g, s);
  schedule_free(s);
  graph_free(g);
}
END_TEST

/* A product that adds a residual when it stores takes its place: two tensors, not three. */
START_TEST(residuals_are_added_in_place) {
  static const char text[] = "graph block opset=17\n"
                             "input x:f32[1,16,6,6]\n"
                             "const w:f32[16,16,1,1] = #0\n"
                             "const v:f32[16,16,1,1] = #0\n"
                             "a = Exp(x)\n"
                             "b = Conv(a, w)\n"
                             "c = Conv(b, v)\n"
                             "d = Add(c, a)\n"
                             "y = MaxPool(d) kernel_shape=[2,2]\n"
                             "output y\n";
  struct fvm_error err;
  struct graph *g;
  OK(graph_parse(text, sizeof text - 1, &g, &err));
  OK(pipeline_run(g, NULL, &err));
  struct schedule *s =
      schedule(g, cost_table_new("conv_gemm 10\nchain_direct 9000\n1000\nconvert * * 1\n", &err));
  ck_assert_int_eq(s->arena_bytes, 2 * 16 * 36 * 4);
  plan_and_run(g, s);
  schedule_free(s);
  graph_free(g);
}
END_TEST

/* The checker's verdict of a plan in which the second piece of c stands at an offset of the first
 * one's choice. */
static void misplace(int64_t a_at, int64_t b_at, const char *why) {
  struct fvm_error err;
  struct fvm_plan *p;
  struct graph *g;
  struct schedule *s = schedule_text("graph joined opset=17\n"
                                     "input x:f32[1,16,4,4]\n"
                                     "a = Relu(x) @a\n"
                                     "b = Exp(x) @b\n"
                                     "c = Concat(a, b) @c axis=1\n"
                                     "y = MaxPool(c) @y kernel_shape=[2,2]\n"
                                     "output y\n",
                                     &g);
  ck_assert_uint_eq(s->step.n, 3);
  for (size_t i = 0; i < s->value.n; i++) {
    const char *name = g->tensor.v[s->value.v[i].tensor].name;
    if (!strcmp(name, "a")) s->value.v[i].offset = a_at;
    if (!strcmp(name, "b")) s->value.v[i].offset = b_at;
  }
  OK(plan_write(s, &options, in_dir("a.plan"), &err));
  OK(fvm_load(in_dir("a.plan"), &p, &err));
  enum fvm_status st = check_plan(p, g, &err);
  ck_assert_int_eq(st, why ? FVM_EFORMAT : FVM_OK);
  if (why) ck_assert_msg(strstr(err.text, why) != NULL, "%s", err.text);
  fvm_unload(p);
  schedule_free(s);
  graph_free(g);
}

START_TEST(misplaced_pieces_are_found) {
  misplace(0, 1024, NULL);
  misplace(1024, 0, "node c is neither run by a step nor a view");
  misplace(0, 0, "something is written into it while it lives");
  misplace(0, 960, "something is written into it while it lives");
}
END_TEST

/* A dense block is one buffer: each Concat is the beginning of the next. */
START_TEST(dense_block_is_one_buffer) {
  struct graph *g;
  struct schedule *s = schedule_text("graph dense opset=17\n"
                                     "input x:f32[1,16,6,6]\n"
                                     "const w0:f32[16,16,3,3] = #0\n"
                                     "const w1:f32[16,16,3,3] = #0\n"
                                     "const w2:f32[16,32,3,3] = #0\n"
                                     "const w3:f32[16,48,3,3] = #0\n"
                                     "const u:f32[8,64,1,1] = #0\n"
                                     "f0 = Conv(x, w0) pads=[1,1,1,1]\n"
                                     "f1 = Conv(f0, w1) pads=[1,1,1,1]\n"
                                     "c1 = Concat(f0, f1) axis=1\n"
                                     "f2 = Conv(c1, w2) pads=[1,1,1,1]\n"
                                     "c2 = Concat(f0, f1, f2) axis=1\n"
                                     "f3 = Conv(c2, w3) pads=[1,1,1,1]\n"
                                     "c3 = Concat(f0, f1, f2, f3) axis=1\n"
                                     "y = Conv(c3, u)\n"
                                     "output y\n",
                                     &g);
  ck_assert_uint_eq(s->step.n, 5);
  ck_assert_int_eq(s->arena_bytes, 64 * 36 * 4);
  plan_and_run(g, s);
  schedule_free(s);
  graph_free(g);
}
END_TEST

/* More readers than there are layouts: still every set of copies is looked at. */
START_TEST(many_readers_leave_no_gap) {
  struct graph *g = new_graph();
  int x = new_node(g, "Exp", 1, (int[]){new_input(g, 2, (int64_t[]){8, 8})}, -1), sum = x;
  for (int i = 0; i < LAYOUT_COUNT + 3; i++) {
    int y = new_node(g, "MatMul", 2, i % 2 ? (int[]){sum, x} : (int[]){x, sum}, -1);
    sum = new_node(g, "Add", 2, (int[]){new_node(g, "Tanh", 1, &y, -1), x}, -1);
  }
  new_output(g, sum);
  struct schedule *s = schedule(g, cost_random_new(2));
  ck_assert(s->optimal);
  ck_assert_int_eq(s->layout_cost_ns, s->layout_bound_ns);
  plan_and_run(g, s);
  schedule_free(s);
  graph_free(g);
}
END_TEST

/* A table that is a weight as well: rows are picked from the product's panels, so that it is stored
 * once. */
START_TEST(tied_table_is_stored_once) {
  static const char text[] = "graph tied opset=17\n"
                             "input i:i64[1]\n"
                             "input x:f32[4096,32]\n"
                             "const w:f32[96,32] = #0000000000000000\n"
                             "e = Gather(w, i) @e\n"
                             "t = Transpose(w) @t perm=[1,0]\n"
                             "y = MatMul(x, t) @y\n"
                             "output e\n"
                             "output y\n";
  struct fvm_error err;
  struct graph *g;
  OK(graph_parse(text, strlen(text), &g, &err));
  OK(pipeline_run(g, NULL, &err));
  struct schedule *s = schedule(g, cost_model_new(50, 10, 20));
  ck_assert_int_eq(s->weight_bytes, (int64_t)96 * 32 * 4);
  struct fvm_plan *p;
  OK(plan_write(s, &options, in_dir("a.plan"), &err));
  OK(fvm_load(in_dir("a.plan"), &p, &err));
  OK(check_plan(p, g, &err));
  fvm_unload(p);
  schedule_free(s);
  graph_free(g);
}
END_TEST

START_TEST(what_nothing_runs_is_named) {
  struct fvm_error err;
  struct graph *g = new_graph();
  int x = new_input(g, 2, (int64_t[]){8, 8});
  new_output(g, new_node(g, "Relu", 1, (int[]){x}, -1));
  struct schedule *s;
  struct cost *none = cost_table_new("nothing 1\n", &err);
  ck_assert_int_eq(schedule_graph(g, none, &options, &s, &err), FVM_EUNSUPPORTED);
  ck_assert_ptr_nonnull(strstr(err.text, "Relu of f32 (node 'Relu0')"));
  ck_assert_ptr_null(s);
  cost_free(none);
  graph_free(g);
}
END_TEST

/* ---- random graphs ---- */

static const int64_t sizes[] = {1, 3, 8, 17, 32};
static int64_t size(void) { return sizes[rnd(COUNT(sizes))]; }

static bool has(const char *op) {
  const struct op *o = op_find(op, strlen(op));
  return o && o->cands && o->cands->name;
}

/* A random 2-D float tensor made so far, with so many rows and columns (0: any); -1: none. */
static int pick(const struct graph *g, int64_t rows, int64_t cols) {
  for (int tries = 0; tries < 40; tries++) {
    int t = rnd((int)g->tensor.n);
    const struct tensor *x = &g->tensor.v[t].t;
    if (x->rank == 2 && !x->data && (!rows || x->dim[0] == rows) && (!cols || x->dim[1] == cols))
      return t;
  }
  return -1;
}

static void random_node(struct graph *g) {
  static const char *const unary[] = {"Relu", "Neg", "Tanh", "Identity", "Transpose"};
  static const char *const binary[] = {"Add", "Mul", "Sub"};
  int x = pick(g, 0, 0);
  int64_t r = g->tensor.v[x].t.dim[0], c = g->tensor.v[x].t.dim[1];
  int kind = rnd(7), other = -1;
  const char *op = unary[rnd(COUNT(unary))];
  if (kind == 0) {
    if (has(op)) new_node(g, op, 1, (int[]){x}, -1);
  } else if (kind < 3) {
    if (rnd(3)) other = rnd(4) ? pick(g, r, c) : x;
    if (other < 0) other = rnd(2) ? new_const(g, 1, &c) : new_const(g, 2, (int64_t[]){r, c});
    new_node(g, binary[rnd(COUNT(binary))], 2, rnd(2) ? (int[]){x, other} : (int[]){other, x}, -1);
  } else if (kind < 5) {
    if (rnd(2)) other = pick(g, c, 0);
    if (other < 0) other = new_const(g, 2, (int64_t[]){c, size()});
    new_node(g, "MatMul", 2, (int[]){x, other}, -1);
  } else if (kind == 5) {
    int64_t shape[2] = {rnd(2) ? c : 1, -1};
    new_node(g, "Reshape", 2, (int[]){x, new_ints(g, 2, shape)}, -1);
  } else if (has("Concat") && r * c < 4000) {
    other = pick(g, r, 0);
    if (other >= 0) new_node(g, "Concat", 2, (int[]){x, other}, 1);
  }
}

static struct graph *random_graph(void) {
  struct graph *g = new_graph();
  int nin = 1 + rnd(2), nnode = 1 + rnd(14);
  for (int i = 0; i < nin; i++) new_input(g, 2, (int64_t[]){size(), size()});
  while ((int)g->node.n < nnode) random_node(g);
  int nout = 1 + rnd(3);
  for (int i = 0; i < nout; i++)
    new_output(g, rnd(3) ? g->node.v[rnd((int)g->node.n)].out.v[0] : pick(g, 0, 0));
  return g;
}

static void same_files(const char *a, const char *b) {
  FILE *f = fopen(a, "rb"), *h = fopen(b, "rb");
  ck_assert(f && h);
  for (int c; (c = getc(f)) != EOF;) ck_assert_int_eq(c, getc(h));
  ck_assert_int_eq(getc(h), EOF);
  fclose(f);
  fclose(h);
}

static int64_t total(const struct schedule *s, bool conversions) {
  int64_t sum = 0;
  for (size_t i = 0; i < s->step.n; i++)
    if (conversions || s->step.v[i].node >= 0) sum += s->step.v[i].cost_ns;
  return sum;
}

/* All steps but copies of outputs, which come on top. */
static int64_t without_outputs(const struct schedule *s) {
  int64_t sum = total(s, true);
  for (size_t i = 0; i < s->step.n; i++) {
    const struct sched_step *k = &s->step.v[i];
    if (k->node >= 0) continue;
    const struct sched_value *x = &s->value.v[k->in_value], *y = &s->value.v[k->out_value];
    if (y->space == SPACE_OUTPUT && y->base < 0 && x->layout == y->layout) sum -= k->cost_ns;
  }
  return sum;
}

START_TEST(random_graphs) {
  int conversions = 0, in_place = 0, views = 0, threads = 0;
  for (int seed = 0; seed < 200; seed++) {
    struct fvm_error err;
    rng = (uint64_t)seed * 7919;
    struct graph *g = random_graph();
    OK(graph_check(g, true, &err));
    struct schedule *s = schedule(g, cost_random_new((uint64_t)seed));
    ck_assert(s->optimal);
    ck_assert_int_eq(s->layout_cost_ns, s->layout_bound_ns);
    ck_assert_int_le(total(s, false), s->layout_cost_ns);
    ck_assert_int_eq(without_outputs(s), s->layout_cost_ns);
    ck_assert_int_le(s->arena_bound, s->arena_bytes);
    ck_assert_int_le(s->order_bound, s->order_peak);
    conversions += s->conversions;
    for (size_t i = 0; i < s->value.n; i++) {
      const struct sched_value *v = &s->value.v[i];
      views += v->base >= 0 && v->space == SPACE_ARENA;
      in_place += v->base >= 0 && v->first > s->value.v[v->base].first;
    }
    for (size_t i = 0; i < s->step.n; i++) threads += s->step.v[i].threads > 1;
    int64_t ns = s->cost_ns;
    plan_and_run(g, s);
    schedule_free(s);
    if (seed % 10 == 0) {
      s = schedule(g, cost_random_new((uint64_t)seed));
      OK(plan_write(s, &options, in_dir("b.plan"), &err));
      same_files(in_dir("a.plan"), in_dir("b.plan"));
      schedule_free(s);
    }
    if (seed % 3 == 0) plan_otherwise(g, (uint64_t)seed, ns);
    graph_free(g);
  }
  ck_assert_int_gt(conversions, 100);
  ck_assert_int_gt(in_place, 30);
  ck_assert_int_gt(views, 50);
  ck_assert_int_gt(threads, 100);
}
END_TEST

static void random_image_node(struct graph *g) {
  int pieces[4], n = 1 + rnd(4), x = rnd((int)g->tensor.n);
  for (int i = 0; i < n; i++) pieces[i] = rnd((int)g->tensor.n);
  switch (rnd(6)) {
  case 0:
    new_node(g, "Relu", 1, &x, -1);
    break;
  case 1:
    new_node(g, "Add", 2, (int[]){x, x}, -1);
    break;
  case 2:
    if (!g->tensor.v[x].t.data) new_node(g, "Identity", 1, &x, -1); /* else it were folded */
    break;
  default:
    if (g->tensor.v[x].t.dim[1] < 200) new_node(g, "Concat", n, pieces, 1);
  }
}

/* Images whose channels are joined, some twice, some of them given, constant, views, outputs. */
static struct graph *random_images(void) {
  struct graph *g = new_graph();
  int64_t size = rnd(2) ? 4 : 3, channels[] = {16, 32, 4, 24};
  new_input(g, 4, (int64_t[]){1, 16, size, size});
  new_const(g, 4, (int64_t[]){1, channels[rnd(4)], size, size});
  for (int nnode = 2 + rnd(10); (int)g->node.n < nnode;) random_image_node(g);
  for (int nout = 1 + rnd(2); nout > 0; nout--)
    new_output(g, g->node.v[rnd((int)g->node.n)].out.v[0]);
  return g;
}

START_TEST(random_joins) {
  int joined = 0, copied = 0, boxes = 0;
  for (int seed = 0; seed < 300; seed++) {
    struct fvm_error err;
    rng = (uint64_t)seed * 104729 + 1;
    struct graph *g = random_images();
    OK(graph_check(g, true, &err));
    struct schedule *s = schedule(g, cost_random_new((uint64_t)seed));
    ck_assert(s->optimal);
    ck_assert_int_eq(without_outputs(s), s->layout_cost_ns);
    for (size_t i = 0; i < s->value.n; i++) {
      const struct sched_value *v = &s->value.v[i];
      bool piece =
          v->base >= 0 && g->tensor.v[s->value.v[v->base].tensor].producer >= 0 &&
          !strcmp(g->node.v[g->tensor.v[s->value.v[v->base].tensor].producer].op->name, "Concat");
      joined += piece && v->base > (int)i;
      copied += piece && v->base < (int)i;
    }
    boxes += count_steps(s, "Concat");
    plan_and_run(g, s);
    if (seed % 3 == 0) plan_otherwise(g, (uint64_t)seed, s->cost_ns);
    schedule_free(s);
    graph_free(g);
  }
  ck_assert_int_gt(joined, 100);
  ck_assert_int_gt(copied, 100);
  ck_assert_int_gt(boxes, 100);
}
END_TEST

/* A network of which no image fills its blocks of channels, at the last. Its pieces in turn: the
 * first layer; squeeze and excite; residuals; windows; pools; bodies that make no zeros of zeros,
 * and pixels that are scaled; joins; moves; what looks across channels; a tail that is a product.
 */
static const char odd_channels[] =
    "graph odd opset=18\n"
    "input x:f32[%d,3,17,18]\n"
    "const w0:f32[24,3,3,3] = #0\nconst b0:f32[24] = #0\n"
    "const w1:f32[24,1,3,3] = #0\nconst b1:f32[24] = #0\n"
    "const w2:f32[10,24,1,1] = #0\nconst w3:f32[24,10,1,1] = #0\n"
    "const w4:f32[40,24,1,1] = #0\nconst b4:f32[40] = #0\n"
    "const w5:f32[40,1,5,5] = #0\nconst w6:f32[40,40,3,3] = #0\nconst b6:f32[40] = #0\n"
    "const w7:f32[100,40,1,1] = #0\nconst w8:f32[20,100,3,3] = #0\nconst w9:f32[7,48] = #0\n"
    "const k:f32[1,40,1,1] = #0\nconst h:f32[40,1,1] = #0\n"
    "const six:f32[] = {6}\nconst zero:f32[] = {0}\nconst half:f32[] = {0.5}\n"
    "const s:i64[2] = {32, 8}\nconst p:i64[8] = {0,0,1,1,0,0,0,2}\n"
    "const from:i64[1] = {0}\nconst to:i64[1] = {16}\nconst one:i64[1] = {1}\n"
    "a0 = Conv(x, w0, b0) pads=[1,1,1,1] strides=[2,2]\n"
    "a = Clip(a0, zero, six)\n"
    "b0r = Conv(a, w1, b1) group=24 pads=[1,1,1,1]\nb = Relu(b0r)\n"
    "g = GlobalAveragePool(b)\nq0 = Conv(g, w2)\nq1 = Relu(q0)\nq2 = Conv(q1, w3)\n"
    "q = Sigmoid(q2)\nc = Mul(b, q)\n"
    "d = Conv(c, w4, b4)\n"
    "e0 = Conv(d, w5) group=40 pads=[2,2,2,2]\ne1 = HardSwish(e0)\ne = Add(e1, d)\n"
    "f0 = Mul(e, k)\nf = Add(f0, h)\n"
    "i0 = Conv(f, w6, b6) pads=[1,1,1,1]\ni1 = Add(i0, d)\ni = Relu(i1)\n"
    "j = MaxPool(i) kernel_shape=[3,3] strides=[2,2] pads=[1,1,1,1]\n"
    "l = Conv(j, w7)\nm0 = Conv(l, w8) pads=[1,1,1,1]\nm = Add(m0, half)\n"
    "n = AveragePool(m) kernel_shape=[2,2] strides=[1,1] pads=[0,0,1,1]\n"
    "o0 = Concat(n, m) axis=1\no1, o2 = Split(o0, s) axis=1\no3 = Slice(o1, from, to, one)\n"
    "o4 = Softmax(o0) axis=1\no5 = LRN(o0) size=5 bias=2.0\no6 = Add(o4, o5)\n"
    "o7 = Concat(o3, o1, o6) axis=1\no8 = Pad(o7, p)\no9 = Slice(o8, from, to, one)\n"
    "z0 = Concat(o3, o1) axis=1\nz1 = GlobalMaxPool(z0)\nz2 = Flatten(z1)\nz = Gemm(z2, w9) "
    "transB=1\n"
    "output z\noutput o8\noutput o2\noutput e\n";

static int padded_values(const struct schedule *s) {
  int n = 0;
  for (size_t i = 0; i < s->value.n; i++)
    n += s->value.v[i].tensor >= 0 &&
         layout_pads(&s->graph->tensor.v[s->value.v[i].tensor].t, s->value.v[i].layout);
  return n;
}

/* Random costs of which those of padded blocks are a tenth. */
static int64_t (*random_cost)(struct cost *c, const struct opcall *call, const struct label *l);
static int64_t cheap_padding(struct cost *c, const struct opcall *call, const struct label *l) {
  bool pads =
      layout_pads(&call->in[0], label_in(l, 0)) || layout_pads(&call->out[0], label_out(l, 0));
  return random_cost(c, call, l) / (pads ? 10 : 1);
}

START_TEST(blocks_are_padded) {
  int padded = 0;
  for (int seed = 0; seed < 30; seed++) {
    struct fvm_error err;
    struct graph *g;
    char text[sizeof odd_channels + 8];
    int n = snprintf(text, sizeof text, odd_channels, 1 + seed % 3 / 2);
    rng = (uint64_t)seed + 1;
    OK(graph_parse(text, (size_t)n, &g, &err));
    planned_weights(g);
    OK(pipeline_run(g, NULL, &err));
    struct cost *cost = cost_random_new((uint64_t)seed);
    random_cost = cost->node;
    cost->node = cheap_padding;
    struct schedule *s = schedule(g, cost);
    padded += padded_values(s);
    plan_and_run(g, s);
    schedule_free(s);
    graph_free(g);
  }
  ck_assert_int_gt(padded, 250);
}
END_TEST

/* ---- budgets of memory ---- */

/* Products with few constants, some of them shared, whose panels are padded differently. */
static struct graph *constant_graph(void) {
  static const int64_t widths[] = {17, 33, 50};
  struct graph *g = new_graph();
  int64_t n = widths[rnd(3)];
  int x = new_input(g, 2, (int64_t[]){1 + rnd(9), n}), b[2];
  for (int i = 0; i < 2; i++) b[i] = new_const(g, 2, (int64_t[]){n, n});
  for (int i = 1 + rnd(3); i > 0; i--) {
    int y = x;
    x = new_node(g, "MatMul", 2, (int[]){x, b[rnd(2)]}, -1);
    if (rnd(3) == 0) x = new_node(g, "Add", 2, (int[]){x, y}, -1);
  }
  new_output(g, x);
  return g;
}

struct found {
  int64_t memory, cost;
};
enum { MOST_FOUND = 4000 };

/* Every choice of labels that can be scheduled. */
static int enumerate(const struct graph *g, uint64_t seed, struct found *f) {
  struct fvm_error err;
  struct sched w;
  struct cost *cost = cost_random_new(seed);
  int n = 0;
  OK(sched_open(&w, g, cost, &options, &err));
  w.weighs_memory = true;
  OK(sched_menus(&w));
  for (size_t i = 0; i < g->node.n;) {
    if (!sched_realize(&w) && n < MOST_FOUND)
      f[n++] = (struct found){w.s->resident_bytes, w.s->cost_ns};
    for (i = 0; i < g->node.n && ++w.node[i].choice == w.node[i].menu->n; i++) w.node[i].choice = 0;
  }
  sched_close(&w);
  schedule_free(w.s);
  cost_free(cost);
  return n;
}

static int64_t best_within(const struct found *f, int n, int64_t memory) {
  int64_t best = INT64_MAX;
  for (int i = 0; i < n; i++)
    if (f[i].memory <= memory) best = MIN(best, f[i].cost);
  return best;
}

static int proved, unproved, refused;
static void fit(const struct graph *g, uint64_t seed, const struct found *f, int n,
                int64_t memory) {
  struct fvm_error err;
  struct plan_options o = options;
  struct schedule *s;
  struct cost *cost = cost_random_new(seed);
  int64_t best = best_within(f, n, memory);
  o.memory = memory;
  enum fvm_status st = schedule_graph(g, cost, &o, &s, &err);
  cost_free(cost);
  if (st) {
    ck_assert_int_eq(st, FVM_EFAIL);
    ck_assert_int_eq(best, INT64_MAX);
    ck_assert_ptr_nonnull(strstr(err.text, "smallest found"));
    refused++;
    return;
  }
  ck_assert_int_le(s->resident_bytes, memory);
  ck_assert_int_ge(s->cost_ns, best);
  ck_assert_int_le(s->layout_bound_ns, best);
  if (s->optimal) ck_assert_int_eq(s->cost_ns, best);
  proved += s->optimal;
  unproved += !s->optimal;
  if (seed % 8 == 0) plan_and_run(g, s);
  schedule_free(s);
}

START_TEST(budgets_agree_with_enumeration) {
  static struct found f[MOST_FOUND];
  proved = unproved = refused = 0;
  for (uint64_t seed = 0; seed < 60; seed++) {
    rng = seed * 6151 + 3;
    struct graph *g = constant_graph();
    int n = enumerate(g, seed, f);
    int64_t least = INT64_MAX;
    ck_assert_int_gt(n, 0);
    for (int i = 0; i < n; i++) least = MIN(least, f[i].memory);
    for (int i = 0; n < MOST_FOUND && i < 8; i++)
      fit(g, seed, f, n, i ? f[rnd(n)].memory - (i == 1) : least - 1);
    graph_free(g);
  }
  ck_assert_int_ge(refused, 40);
  ck_assert_int_gt(proved, 300);
  ck_assert_int_lt(unproved, proved / 20);
}
END_TEST

/* Of a table that is read by row, the rows count; where another node reads all of it, it does. */
START_TEST(rows_of_tables_count) {
  for (int whole = 0; whole < 2; whole++) {
    struct graph *g = new_graph();
    int table = new_const(g, 2, (int64_t[]){4096, 32}), index = new_input(g, 1, (int64_t[]){3});
    tensor_of(g, index)->dtype = FVM_I64;
    int x = new_node(g, "Gather", 2, (int[]){table, index}, 0);
    if (whole) new_output(g, new_node(g, "Neg", 1, (int[]){table}, -1));
    new_output(g, new_node(g, "Exp", 1, (int[]){x}, -1));
    struct schedule *s = schedule(g, cost_model_new(50, 10, 20));
    int64_t rows = 3 * 2 * 4096, all = 4096 * 32 * 4;
    ck_assert_int_eq(s->weight_bytes, all);
    ck_assert_int_eq(s->resident_bytes, s->arena_bytes + s->scratch_bytes + (whole ? all : rows));
    schedule_free(s);
    graph_free(g);
  }
}
END_TEST

/* ---- failures ---- */

START_TEST(files_that_cannot_be_written) {
  struct fvm_error err;
  struct stat st;
  struct graph *g = new_graph();
  new_output(g, new_node(g, "Relu", 1, (int[]){new_input(g, 1, (int64_t[]){9})}, -1));
  struct schedule *s = schedule(g, cost_model_new(50, 10, 20));
  ck_assert_int_eq(plan_write(s, &options, in_dir("none/a.plan"), &err), FVM_EIO);
  ck_assert_ptr_nonnull(strstr(err.text, "none/a.plan: cannot be made"));
  ck_assert_int_eq(plan_write(s, &options, "/dev/full", &err), FVM_EIO);
  ck_assert_ptr_nonnull(strstr(err.text, "No space left"));
  ck_assert_int_eq(stat("/dev/full", &st), 0);
  ck_assert(S_ISCHR(st.st_mode));
  ck_assert_int_eq(mkdir(in_dir("folder"), 0700), 0);
  ck_assert_int_ne(plan_write(s, &options, in_dir("folder"), &err), FVM_OK);
  ck_assert_int_eq(rmdir(in_dir("folder")), 0);
  schedule_free(s);
  graph_free(g);
}
END_TEST

static void fail_each(const struct graph *g, const struct plan_options *o) {
  struct fvm_error err;
  enum fvm_status st = FVM_ENOMEM;
  for (long n = 1; st != FVM_OK && n < 6000; n++) {
    struct schedule *s = NULL;
    struct cost *cost = cost_random_new(3);
    fvm_fail_alloc(n);
    st = schedule_graph(g, cost, o, &s, &err);
    if (!st) st = plan_write(s, o, in_dir("c.plan"), &err);
    fvm_fail_alloc(0);
    ck_assert_msg(st == FVM_OK || st == FVM_ENOMEM, "allocation %ld: %s", n, err.text);
    schedule_free(s);
    cost_free(cost);
  }
}

/* A budget that the fastest plan of a graph does not keep, but another one does; 0: there is none.
 */
static int64_t tight_budget(const struct graph *g) {
  static struct found f[MOST_FOUND];
  struct schedule *s = schedule(g, cost_random_new(3));
  int64_t memory = s->resident_bytes - 1;
  schedule_free(s);
  return best_within(f, enumerate(g, 3, f), memory) < INT64_MAX ? memory : 0;
}

START_TEST(memory_may_fail) {
  struct plan_options o = options;
  rng = 5;
  struct graph *g = random_graph();
  fail_each(g, &o);
  while (!o.memory) {
    graph_free(g);
    g = constant_graph();
    o.memory = tight_budget(g);
  }
  fail_each(g, &o);
  graph_free(g);
}
END_TEST

/* Costs as if measured, all equal but for the first label ever asked for. */
struct first_costs {
  struct cost cost;
  struct label first;
  bool seen;
  int64_t ns, others;
};
static int64_t first_node(struct cost *c, const struct opcall *call, const struct label *l) {
  struct first_costs *f = (struct first_costs *)c;
  (void)call;
  if (!f->seen) f->first = *l;
  f->seen = true;
  return memcmp(&f->first, l, sizeof *l) == 0 ? f->ns : f->others;
}
static int64_t no_convert(struct cost *c, const struct tensor *t, enum layout from, enum layout to,
                          int threads) {
  (void)c, (void)t, (void)from, (void)to, (void)threads;
  return 1000000;
}
static void free_nothing(struct cost *c) { (void)c; }

/* The first label is the simplest: it wins when it is slower by a per cent or half a microsecond,
 * at its own cost, not when by more; and a cost that was not measured says what it says. */
START_TEST(measured_ties_go_to_the_simplest) {
  static const struct row {
    bool measured;
    int64_t ns, others, want;
  } rows[] = {{true, 1010000, 1000000, 1010000},  {true, 1010001, 1000000, 1000000},
              {false, 1010000, 1000000, 1000000}, {true, 10500, 10000, 10500},
              {true, 10501, 10000, 10000},        {true, 1, 10000, 1}};
  struct graph *g = new_graph();
  int x = new_input(g, 2, (int64_t[]){32, 64}), w = new_const(g, 2, (int64_t[]){64, 48});
  new_output(g, new_node(g, "MatMul", 2, (int[]){x, w}, -1));
  for (size_t i = 0; i < COUNT(rows); i++) {
    struct first_costs f = {.cost = {.node = first_node,
                                     .convert = no_convert,
                                     .free = free_nothing,
                                     .measured = rows[i].measured},
                            .ns = rows[i].ns,
                            .others = rows[i].others};
    struct schedule *s = schedule(g, &f.cost);
    ck_assert_int_eq(s->cost_ns, rows[i].want);
    schedule_free(s);
  }
  graph_free(g);
}
END_TEST

START_TEST(begin) { ck_assert_ptr_nonnull(mkdtemp(dir)); }
END_TEST

START_TEST(end) {
  unlink(in_dir("a.plan"));
  unlink(in_dir("b.plan"));
  unlink(in_dir("c.plan"));
  ck_assert_int_eq(rmdir(dir), 0); /* nothing else was left behind */
}
END_TEST

UNIT_MAIN("schedule", begin, measured_ties_go_to_the_simplest, views_cost_no_step,
          outputs_that_need_copies, chains_run_in_place, weights_lie_in_order_of_use,
          equal_things_are_stored_once, many_readers_leave_no_gap, joined_pieces_cost_no_step,
          residuals_are_added_in_place, misplaced_pieces_are_found, dense_block_is_one_buffer,
          random_joins, blocks_are_padded, the_cheaper_form_is_kept, tied_table_is_stored_once,
          what_nothing_runs_is_named, random_graphs, budgets_agree_with_enumeration,
          rows_of_tables_count, files_that_cannot_be_written, memory_may_fail, end)
