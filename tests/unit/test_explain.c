/* What explain says of a small plan whose work and times are known. Times are given, not measured.
 */
#include "unit.h"

#include <cjson/cJSON.h>
#include <string.h>
#include <unistd.h>

#include "../../scheduler/explain.h"
#include "../../scheduler/pin.h"
#include "../../scheduler/what_if.h"

/* Two equal layers and an activation that cannot join the second, since both are outputs. */
static const char text[] = "graph layers opset=17\n"
                           "input x:f32[16,32]\n"
                           "const w:f32[32,32] = #0\n"
                           "h = MatMul(x, w) @first\n"
                           "i = Relu(h) @relu1\n"
                           "y = MatMul(i, w) @second\n"
                           "z = Relu(y) @relu2\n"
                           "output y\n"
                           "output z\n";
static const struct plan_options options = {.target = {.threads = {1}, .nthreads = 1},
                                            .max_ticks = 1000000,
                                            .build = "build",
                                            .machine = "machine"};

struct made {
  struct graph *g;
  struct cost *cost;
  struct schedule *s;
  struct fvm_plan *plan;
};

static void make_of(struct made *m, const char *net, const char *costs) {
  struct fvm_error err = {0};
  char path[] = "/tmp/test_explain.XXXXXX";
  OK(graph_parse(net, strlen(net), &m->g, &err));
  OK(pipeline_run(m->g, NULL, &err));
  m->cost = cost_table_new(costs, &err);
  ck_assert_ptr_nonnull(m->cost);
  OK(schedule_graph(m->g, m->cost, &options, &m->s, &err));
  int fd = mkstemp(path);
  ck_assert_int_ge(fd, 0);
  close(fd);
  OK(plan_write(m->s, &options, path, &err));
  OK(fvm_load(path, &m->plan, &err));
  unlink(path);
}

static void make(struct made *m, const char *costs) { make_of(m, text, costs); }

static void unmake(struct made *m) {
  fvm_unload(m->plan);
  schedule_free(m->s);
  cost_free(m->cost);
  graph_free(m->g);
}

/* 1 flop and 1 byte a nanosecond make bounds that can be seen; every step took 40,000 ns. */
static void explain(struct made *m, bool with_graph, struct explanation *x) {
  struct fvm_error err = {0};
  *x = (struct explanation){.plan = m->plan,
                            .graph = with_graph ? m->g : NULL,
                            .title = "a.plan",
                            .machine = "a machine",
                            .speed = {1, 1, 1, 2},
                            .times = {.runs = 3, .latency_ns = 130000, .timed_ns = 125000}};
  x->times.step_ns = ARENA_NEW(&x->arena, int64_t, m->plan->nstep);
  for (uint32_t i = 0; i < m->plan->nstep; i++) x->times.step_ns[i] = 40000;
  OK(explain_steps(x, &err));
}

static const struct explain_step *find(const struct explanation *x, const char *name) {
  for (size_t i = 0; i < x->step.n; i++)
    if (!strcmp(x->step.v[i].name, name)) return &x->step.v[i];
  return NULL;
}

START_TEST(work_and_bounds) {
  struct made m;
  struct explanation x;
  make(&m, "1000\nconvert * * 100\n");
  for (int with_graph = 0; with_graph < 2; with_graph++) {
    explain(&m, with_graph, &x);
    ck_assert_uint_eq(x.step.n, 3);
    const struct explain_step *first = find(&x, "first"), *relu = find(&x, "relu2");
    ck_assert_ptr_nonnull(first);
    ck_assert_ptr_nonnull(relu);
    ck_assert_int_eq(first->flops, 2 * 16 * 32 * 32); /* its Relu is in the product */
    ck_assert_int_eq(first->bound_ns, first->flops);
    ck_assert_int_ge(first->weight_bytes, 32 * 32 * 4);
    ck_assert_int_eq(first->value_bytes, 2 * 16 * 32 * 4);
    ck_assert(explain_limit(&x, first) == LIMIT_FLOPS);
    ck_assert_int_eq(relu->weight_bytes, 0);
    ck_assert_int_eq(relu->bound_ns, 2 * 16 * 32 * 4 / 2);
    ck_assert(explain_limit(&x, relu) == LIMIT_VALUES);
    ck_assert_int_eq(x.all.measured_ns, 120000);
    ck_assert_int_eq(x.all.predicted_ns, m.s->cost_ns);
    if (with_graph) ck_assert_str_eq(first->kind, "MatMul+Relu");
    explain_free(&x);
  }
  unmake(&m);
}
END_TEST

START_TEST(losers_come_first) {
  struct made m;
  struct explanation x;
  make(&m, "1000\n");
  explain(&m, true, &x);
  for (size_t i = 1; i < x.loser.n; i++)
    ck_assert_int_ge(explain_lost(&x, &x.loser.v[i - 1]), explain_lost(&x, &x.loser.v[i]));
  ck_assert_str_eq(x.loser.v[0].name, "relu2");
  ck_assert_str_eq(x.kind.v[0].kind, "MatMul");
  ck_assert_int_eq(x.kind.v[0].count, 2);
  explain_free(&x);
  unmake(&m);
}
END_TEST

START_TEST(text_accounts_for_the_time) {
  struct made m;
  struct explanation x;
  struct text out = {0};
  make(&m, "1000\n");
  explain(&m, true, &x);
  explain_text(&x, &(struct explain_style){0}, &out);
  ck_assert(!out.failed);
  static const char *const says[] = {
      "a.plan (graph 'layers'): 3 steps, 1 thread\n",
      "latency        0.130 ms  measured, the best of 3 runs",
      "steps          0.120 ms  their best times added up; +0.010 ms (7.7 %)",
      "predicted      0.003 ms",
      "in the plan they take +0.117 ms (+3900.0 %)",
      "MatMul+Relu  first\n",
      "Relu 'relu2' is not part of an epilogue: what it reads of MatMul 'second' is an output"};
  for (size_t i = 0; i < COUNT(says); i++)
    ck_assert_msg(strstr(out.v, says[i]) != NULL, "no '%s' in:\n%s", says[i], out.v);
  ck_assert_ptr_null(strchr(out.v, '\033'));
  text_free(&out);
  explain_text(&x, &(struct explain_style){.color = true, .bars = true}, &out);
  ck_assert(strstr(out.v, "\033[1m") && strstr(out.v, "█"));
  text_free(&out);
  explain_free(&x);
  unmake(&m);
}
END_TEST

/* ---- one node ---- */

static void node_of(const struct made *m, const char *name, struct explain_node *n) {
  struct fvm_error err = {0};
  const struct explain_source from = {.schedule = m->s, .options = &options, .cost = m->cost};
  *n = (struct explain_node){0};
  OK(explain_node(n, &from, name, &err));
}

/* Every label's cost of the whole plan is what planning with that label gives: here all costs are
 * known, so nothing else can be better than what was chosen. */
START_TEST(labels_and_their_plans) {
  struct made m;
  struct explain_node n;
  make(&m, "gemm 700\nstrips 300\n1000\nconvert * * 100\n");
  node_of(&m, "first", &n);
  ck_assert_int_eq(n.plan_ns, m.s->cost_ns);
  ck_assert_uint_ge(n.label.n, 2);
  int chosen = 0;
  for (size_t i = 0; i < n.label.n; i++) {
    const struct explain_label *l = &n.label.v[i];
    chosen += l->chosen;
    ck_assert(l->outcome == OUTCOME_COUNT && l->ns > 0);
    ck_assert_int_ge(l->plan_ns, n.plan_ns);
    ck_assert_int_ge(l->weight_bytes, 32 * 32 * 4);
    if (l->chosen) ck_assert_int_eq(l->plan_ns, n.plan_ns);
    if (l->chosen) ck_assert(l->counted && l->work.flops > 0);
    if (l->counted) ck_assert_int_ge(l->work.far_bytes, l->weight_bytes);
    if (i) ck_assert_int_ge(l->ns, n.label.v[i - 1].ns);
  }
  ck_assert_int_eq(chosen, 1);
  explain_node_free(&n);
  unmake(&m);
}
END_TEST

/* Costs of forcing and of pins add up to those of the plans. */
START_TEST(pins_are_accounted_for) {
  static const char text_of[] = "- {node: relu2, threads: 1}\n- {op: MatMul, avoid: '*mr=6 *'}\n";
  struct fvm_error err = {0};
  struct made m;
  struct explanation x;
  struct explain_node n = {0};
  struct text out = {0};
  struct plan_options o = options;
  struct pins *p;
  make(&m, "gemm_panels mr=6 700\ngemm 900\n1000\nconvert * * 100\n");
  int64_t unpinned = m.s->cost_ns;
  OK(pins_parse(text_of, sizeof text_of - 1, "a.yaml", &p, &err));
  o.pins = p;
  schedule_free(m.s);
  OK(schedule_graph(m.g, m.cost, &o, &m.s, &err));
  const struct explain_source from = {.schedule = m.s, .graph = m.g, .options = &o, .cost = m.cost};
  explain(&m, true, &x);
  OK(explain_pins(&x, &from, &err));
  ck_assert_int_eq(x.pins.ns, m.s->cost_ns);
  ck_assert_int_eq(x.pins.free_ns, unpinned);
  ck_assert_uint_eq(x.pins.pin.n, 2);
  ck_assert_int_eq(x.pins.pin.v[0].ns, 0);
  ck_assert_int_eq(x.pins.pin.v[0].nodes, 1);
  ck_assert_int_eq(x.pins.pin.v[1].ns, unpinned - m.s->cost_ns);
  ck_assert_int_lt(x.pins.pin.v[1].ns, 0);
  ck_assert_uint_eq(x.pins.node.n, 3);
  ck_assert(!strncmp(x.pins.node.v[0].free_label, "gemm_panels mr=6 ", 17));
  ck_assert_int_lt(x.pins.node.v[0].ns, 0);
  explain_pins_text(&x, &(struct explain_style){0}, &out);
  ck_assert_ptr_nonnull(strstr(out.v, "pins of a.yaml\n"));
  ck_assert_ptr_nonnull(strstr(out.v, "    pinned; without the pin: gemm_panels mr=6 "));
  text_free(&out);
  OK(explain_node(&n, &from, "first", &err));
  ck_assert_uint_eq(n.pin_line, 2);
  explain_node_text(&x, &n, &(struct explain_style){0}, &out);
  ck_assert_ptr_nonnull(strstr(out.v, "pinned by line 2; without the pin: gemm_panels mr=6 "));
  ck_assert_ptr_nonnull(strstr(out.v, "forced to gemm_panels mr=6 "));
  text_free(&out);
  explain_node_free(&n);
  explain_free(&x);
  pins_free(p);
  unmake(&m);
}
END_TEST

/* What a chain runs is told of by its label, and could be run by itself. */
START_TEST(nodes_of_chains) {
  static const char net[] = "graph chains opset=17\n"
                            "input x:f32[1,16,6,6]\n"
                            "const w:f32[32,16,1,1] = #0\n"
                            "const v:f32[32,1,3,3] = #0\n"
                            "a = Conv(x, w) @expand\n"
                            "y = Conv(a, v) @depthwise pads=[1,1,1,1] group=32\n"
                            "output y\n";
  struct made m;
  struct fvm_error err = {0};
  make_of(&m, net, "chain_ 100\n1000\nconvert * * 10\n");
  for (int k = 0; k < 2; k++) {
    const char *name = k ? "depthwise" : "expand", *label = explain_label_in(m.plan, name);
    ck_assert_ptr_nonnull(label);
    ck_assert(!strncmp(label, "chain_", 6));
    struct explain_node n = {0};
    const struct explain_source from = {
        .schedule = m.s, .options = &options, .cost = m.cost, .chosen = label};
    OK(explain_node(&n, &from, name, &err));
    ck_assert_str_eq(n.chain, label);
    for (size_t i = 0; i < n.label.n; i++) ck_assert_int_gt(n.label.v[i].alone_ns, 0);
    explain_node_free(&n);
  }
  ck_assert_ptr_null(explain_label_in(m.plan, "and"));
  unmake(&m);
}
END_TEST

START_TEST(plan_at_a_glance) {
  struct made m;
  struct explanation x;
  struct text out = {0};
  make(&m, "1000\n");
  explain(&m, true, &x);
  explain_plan_text(&x, &(struct explain_style){0}, &out);
  static const char *const says[] = {"labels and layouts      0.003 ms, at least 0.003: optimal",
                                     "order  ", "arena  ", "conversions: 0, 0.000 ms",
                                     "      2       0.080   66.7 %   gemm_"};
  for (size_t i = 0; i < COUNT(says); i++)
    ck_assert_msg(strstr(out.v, says[i]) != NULL, "no '%s' in:\n%s", says[i], out.v);
  text_free(&out);
  explain_plan_json(&x, &out);
  cJSON *o = cJSON_Parse(out.v);
  ck_assert_msg(o != NULL, "%s", out.v);
  ck_assert_int_eq(cJSON_GetObjectItem(o, "layout_cost_ns")->valueint, 3000);
  ck_assert_int_eq(cJSON_GetArraySize(cJSON_GetObjectItem(o, "conversions")), 0);
  ck_assert_int_ge(cJSON_GetArraySize(cJSON_GetObjectItem(o, "algorithms")), 2);
  cJSON_Delete(o);
  text_free(&out);
  explain_free(&x);
  unmake(&m);
}
END_TEST

START_TEST(unknown_nodes_are_refused) {
  struct fvm_error err = {0};
  struct made m;
  struct explain_node n = {0};
  make(&m, "1000\n");
  const struct explain_source from = {.schedule = m.s, .options = &options, .cost = m.cost};
  ck_assert_int_eq(explain_node(&n, &from, "third", &err), FVM_EUSAGE);
  ck_assert_ptr_nonnull(strstr(err.text, "third"));
  explain_node_free(&n);
  unmake(&m);
}
END_TEST

START_TEST(json_is_one_object) {
  struct made m;
  struct explanation x;
  struct explain_node n;
  struct text out = {0};
  make(&m, "1000\n");
  explain(&m, true, &x);
  node_of(&m, "second", &n);
  explain_json(&x, &n, &out);
  cJSON *o = cJSON_Parse(out.v);
  ck_assert_msg(o != NULL, "%s", out.v);
  ck_assert_int_eq(cJSON_GetObjectItem(o, "latency_ns")->valueint, 130000);
  ck_assert_int_eq(cJSON_GetObjectItem(o, "steps_ns")->valueint, 120000);
  ck_assert_int_eq(cJSON_GetArraySize(cJSON_GetObjectItem(o, "steps")), 3);
  ck_assert_int_eq(cJSON_GetArraySize(cJSON_GetObjectItem(o, "misses")), 1);
  const cJSON *node = cJSON_GetObjectItem(o, "node");
  ck_assert_int_eq(cJSON_GetArraySize(cJSON_GetObjectItem(node, "labels")), (int)n.label.n);
  cJSON_Delete(o);
  text_free(&out);
  explain_node_free(&n);
  explain_free(&x);
  unmake(&m);
}
END_TEST

START_TEST(memory_runs_out) {
  struct fvm_error err = {0};
  struct made m;
  make(&m, "1000\n");
  size_t before = fvm_bytes_in_use();
  enum fvm_status st = FVM_ENOMEM;
  for (long i = 1; st == FVM_ENOMEM; i++) {
    struct explanation x = {.plan = m.plan, .graph = m.g, .title = "", .machine = ""};
    struct explain_node n = {0};
    const struct explain_source from = {.schedule = m.s, .options = &options, .cost = m.cost};
    fvm_fail_alloc(i);
    st = explain_steps(&x, &err);
    if (!st) st = explain_node(&n, &from, "first", &err);
    if (fvm_fail_alloc(0) == 0 && st == FVM_OK) st = FVM_ENOMEM; /* it made no difference */
    explain_free(&x);
    explain_node_free(&n);
    ck_assert_uint_eq(fvm_bytes_in_use(), before);
  }
  ck_assert_msg(st == FVM_OK, "%s", err.text);
  unmake(&m);
}
END_TEST

UNIT_MAIN("explain", work_and_bounds, losers_come_first, text_accounts_for_the_time,
          labels_and_their_plans, pins_are_accounted_for, nodes_of_chains, plan_at_a_glance,
          unknown_nodes_are_refused, json_is_one_object, memory_runs_out)
