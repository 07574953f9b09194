/* Pairs of nodes that one step runs: when they are taken, what they save, that they compute what
 * the nodes do, and that the checker believes no other pair. */
#include "unit.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

#include "../../scheduler/chains.h"
#include "../../scheduler/check.h"
#include "../../scheduler/plan_build.h"

/* The beginning of a network of either kind: a first layer and a pool; a bottleneck whose expansion
 * is six times as wide as what stays. */
static const char net[] = "graph net opset=17\n"
                          "input x:f32[1,3,33,33]\n"
                          "const w1:f32[32,3,3,3] = #0\n"
                          "const b1:f32[32] = #0\n"
                          "const w2:f32[96,32,1,1] = #0\n"
                          "const w3:f32[96,1,3,3] = #0\n"
                          "const b3:f32[96] = #0\n"
                          "const w4:f32[32,96,1,1] = #0\n"
                          "a0 = Conv(x, w1, b1) @conv strides=[2,2]\n"
                          "a = Relu(a0)\n"
                          "p = MaxPool(a) @pool kernel_shape=[3,3] strides=[2,2]\n"
                          "e0 = Conv(p, w2) @expand\n"
                          "e = Relu(e0)\n"
                          "d0 = Conv(e, w3, b3) @depthwise pads=[1,1,1,1] group=96\n"
                          "d = Relu(d0)\n"
                          "s0 = Conv(d, w4) @project\n"
                          "s = Add(s0, p)\n"
                          "output s\n";

static struct plan_options options = {
    .target = {.threads = {1, 2}, .nthreads = 2, .l1_bytes = 32 << 10, .l2_bytes = 1 << 20},
    .max_ticks = 10000000,
    .build = "build",
    .machine = "machine"};
static char path[] = "/tmp/test_chains.XXXXXX";
static struct fvm_error err;

static float value(int64_t i) { return (float)((i * 2654435761 >> 7) % 2001 - 1000) / 1000; }

/* The text's constants are zeros. Relu and Add are fused. */
static struct graph *read_net(const char *text) {
  struct graph *g;
  OK(graph_parse(text, strlen(text), &g, &err));
  for (size_t i = 0; i < g->tensor.n; i++) {
    struct tensor *t = &g->tensor.v[i].t;
    if (!t->data) continue;
    float *v = ARENA_NEW(&g->arena, float, tensor_count(t));
    for (int64_t k = 0; k < tensor_count(t); k++) v[k] = value(k + (int64_t)i) / 4;
    t->data = v;
  }
  OK(pipeline_run(g, NULL, &err));
  return g;
}

static struct schedule *plan(const struct graph *g, struct cost *cost) {
  struct schedule *s;
  ck_assert_ptr_nonnull(cost);
  OK(schedule_graph(g, cost, &options, &s, &err));
  cost_free(cost);
  return s;
}

static struct schedule *plan_by(const struct graph *g, const char *table) {
  return plan(g, cost_table_new(table, &err));
}

static int count_chains(const struct schedule *s) {
  int n = 0;
  for (size_t i = 0; i < s->step.n; i++) n += s->step.v[i].node >= 0 && s->step.v[i].first >= 0;
  return n;
}

static enum fvm_status check(const struct graph *g, const struct schedule *s) {
  struct fvm_plan *p;
  OK(plan_write(s, &options, path, &err));
  OK(fvm_load(path, &p, &err));
  const struct check_with with = {.graph = g, .target = &options.target};
  enum fvm_status st = check_plan_with(p, &with, &err);
  fvm_unload(p);
  return st;
}

/* Run it, once in each of two memories, and compare with the reference operators. */
static void expect_right(const struct graph *g, const struct schedule *s) {
  struct fvm_plan *p;
  struct fvm_instance *inst;
  const struct tensor *x = &g->tensor.v[g->input.v[0]].t, *y = &g->tensor.v[g->output.v[0]].t;
  size_t nx = (size_t)tensor_bytes(x), ny = (size_t)tensor_bytes(y);
  float *in = fvm_alloc(nx, 1), *out = fvm_alloc(ny, 1), *want = fvm_alloc(ny, 1);
  ck_assert_msg(check(g, s) == FVM_OK, "%s", err.text);
  OK(fvm_load(path, &p, &err));
  OK(fvm_open(p, 0, NULL, &inst, &err));
  for (int64_t i = 0; i < tensor_count(x); i++) in[i] = value(i);
  OK(fvm_bind_input(inst, 0, in, nx, &err));
  OK(fvm_bind_output(inst, 0, out, ny, &err));
  OK(graph_reference(g, (const void *[]){in}, (void *[]){want}, &err));
  OK(fvm_run(inst, &err));
  for (int64_t i = 0; i < tensor_count(y); i++)
    ck_assert_msg(fabsf(out[i] - want[i]) <= 1e-4f * fmaxf(1, fabsf(want[i])),
                  "element %lld is %g, not %g", (long long)i, (double)out[i], (double)want[i]);
  fvm_close(inst);
  fvm_unload(p);
  fvm_free(in, nx, 1);
  fvm_free(out, ny, 1);
  fvm_free(want, ny, 1);
}

START_TEST(the_cheaper_way_is_taken) {
  struct graph *g = read_net(net);
  struct schedule *apart = plan_by(g, "chain_direct 2001\n1000\nconvert * * 0\n");
  struct schedule *together = plan_by(g, "chain_direct 1999\n1000\nconvert * * 0\n");
  ck_assert_int_eq(count_chains(apart), 0);
  ck_assert_int_eq(apart->layout_cost_ns, 5000);
  ck_assert_int_eq(count_chains(together), 2);
  ck_assert_int_eq(together->layout_cost_ns, 2 * 1999 + 1000);
  ck_assert(together->optimal);
  ck_assert_int_eq(together->layout_cost_ns, together->cost_ns);
  /* What is between them is not there: 16x16 pixels of 32 channels, and 7x7 of 96. The last layer
   * reads two tensors, and its result takes the place of one. */
  int64_t a = 16 * 16 * 32 * 4, p = 7 * 7 * 32 * 4, d = 7 * 7 * 96 * 4;
  ck_assert_int_ge(apart->arena_bytes, a + p);
  ck_assert_int_eq(together->arena_bytes, p + d);
  expect_right(g, apart);
  expect_right(g, together);
  schedule_free(apart);
  schedule_free(together);
  graph_free(g);
}
END_TEST

/* What anybody else reads stays. */
START_TEST(readers_prevent_it) {
  static const char tail[] = "output s\n";
  char text[sizeof net + 40];
  struct arena a = {0};
  for (int k = 0; k < 3; k++) {
    snprintf(text, sizeof text, "%.*s%s", (int)(strlen(net) - strlen(tail)), net,
             k == 0   ? "output s\n"
             : k == 1 ? "output s\noutput a\n"
                      : "z = Neg(a)\noutput s\noutput z\n");
    struct graph *g = read_net(text);
    const int *first = chains_find(g, &options.target, &a);
    ck_assert_ptr_nonnull(first);
    ck_assert_int_eq(first[1], k == 0 ? 0 : -1);
    ck_assert_int_eq(first[3], 2);
    ck_assert_int_eq(first[0] + first[2] + first[4], -3); /* a product is behind the last */
    struct schedule *s = plan_by(g, "chain_direct 1\n1000\nconvert * * 0\n");
    ck_assert_int_eq(count_chains(s), k == 0 ? 2 : 1);
    schedule_free(s);
    graph_free(g);
  }
  arena_free(&a);
}
END_TEST

/* Random costs take each role of each node; half of the time under a limit, for which chains are
 * needed. */
START_TEST(random_costs) {
  struct graph *g = read_net(net);
  int chains = 0, layouts = 0;
  for (uint64_t seed = 0; seed < 60; seed++) {
    struct schedule *s = plan(g, cost_random_new(seed)), *small;
    chains += count_chains(s);
    layouts += s->conversions;
    expect_right(g, s);
    options.memory = s->resident_bytes - 1;
    struct cost *cost = cost_random_new(seed);
    enum fvm_status st = schedule_graph(g, cost, &options, &small, &err);
    cost_free(cost);
    ck_assert(st == FVM_OK || st == FVM_EFAIL);
    if (!st) {
      ck_assert_int_le(small->resident_bytes, options.memory);
      ck_assert_int_ge(small->cost_ns, s->cost_ns);
      expect_right(g, small);
    }
    schedule_free(st ? NULL : small);
    schedule_free(s);
    options.memory = 0;
  }
  ck_assert_int_gt(chains, 10);
  ck_assert_int_lt(chains, 110);
  ck_assert_int_gt(layouts, 10);
  graph_free(g);
}
END_TEST

/* A step of two that is not what it says. */
START_TEST(false_chains_are_found) {
  struct graph *g = read_net(net), *other;
  struct schedule *s = plan_by(g, "chain_direct 1\n1000\nconvert * * 0\n");
  struct sched_step *step = &s->step.v[0];
  while (step->first < 0) step++;
  OK(check(g, s));
  int weights = step->bind[1];
  step->bind[1] = step->bind[2]; /* reads another constant than the first node does */
  ck_assert_int_eq(check(g, s), FVM_EFORMAT);
  step->bind[1] = weights;
  uint8_t layout = step->label.in[0];
  step->label.in[0] = LAYOUT_COL;
  ck_assert_int_eq(check(g, s), FVM_EFORMAT);
  ck_assert_msg(strstr(err.text, "is not tensor") != NULL, "%s", err.text);
  step->label.in[0] = layout;
  OK(check(g, s));
  /* The same plan for a network in which another node reads what is between them. */
  other = read_net(net);
  int n = graph_add_node(other, "other", op_find("Neg", 3));
  ck_assert(node_add_in(other, n, other->node.v[0].out.v[0]));
  ck_assert_int_eq(check(other, s), FVM_EFORMAT);
  ck_assert_msg(strstr(err.text, "node other") != NULL, "%s", err.text); /* finds nothing to read */
  other->node.v[n].dead = true;
  OK(check(other, s));
  schedule_free(s);
  graph_free(g);
  graph_free(other);
}
END_TEST

START_TEST(memory_may_fail) {
  struct graph *g = read_net(net);
  enum fvm_status st = FVM_ENOMEM;
  struct cost *cost = cost_random_new(3);
  for (long n = 1; st != FVM_OK; n += 1 + n / 50) {
    struct schedule *s;
    fvm_fail_alloc(n);
    st = schedule_graph(g, cost, &options, &s, &err);
    fvm_fail_alloc(0);
    if (st == FVM_OK) schedule_free(s);
    ck_assert_msg(st == FVM_OK || st == FVM_ENOMEM, "%s", err.text);
  }
  cost_free(cost);
  graph_free(g);
}
END_TEST

START_TEST(begin) {
  int fd = mkstemp(path);
  ck_assert_int_ge(fd, 0);
  close(fd);
}
END_TEST
START_TEST(end) { unlink(path); }
END_TEST

UNIT_MAIN("chains", begin, the_cheaper_way_is_taken, readers_prevent_it, random_costs,
          false_chains_are_found, memory_may_fail, end)
