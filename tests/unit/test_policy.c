/* Published policies of planning: what each chooses on graphs that show how they differ, and that
 * ours is never worse. That their plans are right is tested with ours: test_schedule.c. */
#include "text_case.h"

#include "../../scheduler/pass.h"
#include "../../scheduler/sched.h"

static struct plan_options options_of(enum policy p) {
  return (struct plan_options){
      .target = {.threads = {1, 2}, .nthreads = 2, .l1_bytes = 32 << 10, .l2_bytes = 1 << 20},
      .max_ticks = 100000000,
      .policy = p,
      .build = "build",
      .machine = "machine"};
}

static struct schedule *plan(const struct graph *g, struct cost *c, enum policy p) {
  struct fvm_error err;
  struct schedule *s;
  struct plan_options o = options_of(p);
  OK(schedule_graph(g, c, &o, &s, &err));
  return s;
}

/* ---- costs that are known ---- */

/* Of element-wise nodes by name of their operator, in row and in c16; other layouts are dear. */
struct known {
  const char *op;
  int64_t row, c16;
};
static const struct known *known;

static int64_t known_node(struct cost *c, const struct opcall *call, const struct label *l) {
  (void)c;
  const struct known *k = known;
  while (k->op && strcmp(k->op, call->op->name) != 0) k++;
  ck_assert_ptr_nonnull(k->op);
  if (l->threads > 1 || label_in(l, 0) != label_out(l, 0)) return 100000;
  for (int i = 1; i < call->nin; i++)
    if (label_in(l, i) != label_in(l, 0)) return 100000;
  return label_in(l, 0) == LAYOUT_ROW ? k->row : label_in(l, 0) == LAYOUT_C16 ? k->c16 : 100000;
}
static int64_t known_convert(struct cost *c, const struct tensor *t, enum layout from,
                             enum layout to, int threads) {
  (void)c, (void)t;
  bool cheap = (from == LAYOUT_ROW || from == LAYOUT_C16) && (to == LAYOUT_ROW || to == LAYOUT_C16);
  return cheap && threads == 1 ? 5 : 100000;
}
static struct cost known_costs = {.node = known_node, .convert = known_convert, .name = "known"};

static struct graph *parse(const char *text) {
  struct fvm_error err;
  struct graph *g;
  OK(graph_parse(text, strlen(text), &g, &err));
  OK(pipeline_run(g, "infer", &err));
  return g;
}

static void expect(const char *text, const struct known *k, const int64_t ns[POLICY_COUNT]) {
  struct graph *g = parse(text);
  known = k;
  for (int p = 0; p < POLICY_COUNT; p++) {
    struct schedule *s = plan(g, &known_costs, (enum policy)p);
    ck_assert_msg(s->cost_ns == ns[p], "%s: %lld instead of %lld ns", policy_name((enum policy)p),
                  (long long)s->cost_ns, (long long)ns[p]);
    ck_assert_int_eq(s->layout_cost_ns, s->cost_ns);
    ck_assert_int_le(s->layout_bound_ns, s->cost_ns);
    schedule_free(s);
  }
  graph_free(g);
}

/* The first node alone is not worth a conversion; both are. */
START_TEST(greedy_does_not_look_ahead) {
  static const struct known k[] = {{"Neg", 10, 8}, {"Exp", 100, 20}, {0}};
  int64_t ns[POLICY_COUNT] = {[POLICY_exact] = 5 + 8 + 20 + 5,
                              [POLICY_greedy] = 10 + 5 + 20 + 5,
                              [POLICY_none] = 10 + 100,
                              [POLICY_fluidml] = 5 + 8 + 20 + 5};
  expect("graph g opset=13\ninput x:f32[1,16,4,4]\na = Neg(x)\ny = Exp(a)\noutput y\n", k, ns);
}
END_TEST

/* On the longest path c16 is a little better, if what comes from the side were had in it for
 * nothing, and the caller had his tensors in it. */
static const char beside[] = "graph g opset=13\ninput x:f32[1,16,4,4]\n"
                             "b = Sqrt(x)\nc = Sqrt(b)\nd = Exp(x)\na = Neg(x)\n"
                             "e = Neg(a)\nf = Add(e, c)\ny = Add(f, d)\noutput y\n";
static const struct known costs_beside[] = {
    {"Neg", 11, 10}, {"Sqrt", 1, 100}, {"Exp", 1, 100}, {"Add", 11, 10}, {0}};

START_TEST(longest_path_decides) {
  int64_t ns[POLICY_COUNT] = {[POLICY_exact] = 4 * 11 + 3,
                              [POLICY_greedy] = 4 * 11 + 3,
                              [POLICY_none] = 4 * 11 + 3,
                              [POLICY_fluidml] = 5 + 4 * 10 + 3 + 2 * 5 + 5};
  expect(beside, costs_beside, ns);
}
END_TEST

static const char *step_name(const struct schedule *s, size_t i) {
  return s->step.v[i].node < 0 ? "convert" : s->graph->node.v[s->step.v[i].node].op->name;
}

START_TEST(paths_run_as_they_come) {
  static const char *const order[] = {"convert", "Neg", "Neg",     "Sqrt", "Sqrt",   "convert",
                                      "Add",     "Exp", "convert", "Add",  "convert"};
  struct graph *g = parse(beside);
  known = costs_beside;
  struct schedule *s = plan(g, &known_costs, POLICY_fluidml);
  ck_assert_uint_eq(s->step.n, COUNT(order));
  for (size_t i = 0; i < COUNT(order); i++) ck_assert_str_eq(step_name(s, i), order[i]);
  schedule_free(s);
  graph_free(g);
}
END_TEST

/* A chain: nothing is used twice; two blocks take turns; three do, since each lives one step
 * longer; ours runs in place. */
START_TEST(chains_take_memory) {
  static const struct known k[] = {{"Neg", 1, 1000}, {0}};
  static const int blocks[POLICY_COUNT] = {
      [POLICY_exact] = 1, [POLICY_greedy] = 2, [POLICY_none] = 5, [POLICY_fluidml] = 3};
  struct graph *g = parse("graph g opset=13\ninput x:f32[1,16,4,4]\na = Neg(x)\nb = Neg(a)\n"
                          "c = Neg(b)\nd = Neg(c)\ne = Neg(d)\ny = Neg(e)\noutput y\n");
  known = k;
  for (int p = 0; p < POLICY_COUNT; p++) {
    struct schedule *s = plan(g, &known_costs, (enum policy)p);
    ck_assert_int_eq(s->arena_bytes, blocks[p] * 1024);
    schedule_free(s);
  }
  graph_free(g);
}
END_TEST

START_TEST(names_are_found) {
  for (int p = 0; p < POLICY_COUNT; p++)
    ck_assert_int_eq((int)policy_find(policy_name((enum policy)p)), p);
  ck_assert_int_eq((int)policy_find("exac"), POLICY_COUNT);
}
END_TEST

/* ---- packings ---- */

static uint64_t rng = 1;
static int rnd(int n) {
  rng = rng * 6364136223846793005u + 1442695040888963407u;
  return (int)((rng >> 33) % (uint64_t)n);
}

static void check_packing(const struct mem_block *b, int n, const struct mem_result *r, int pad) {
  int64_t top = 0;
  for (int i = 0; i < n; i++) {
    ck_assert_int_ge(b[i].offset, 0);
    ck_assert_int_eq(b[i].offset % b[i].align, 0);
    top = MAX(top, b[i].offset + b[i].bytes);
    for (int j = 0; j < i; j++)
      ck_assert(b[i].first > b[j].last + pad || b[j].first > b[i].last + pad ||
                b[i].offset >= b[j].offset + b[j].bytes || b[j].offset >= b[i].offset + b[i].bytes);
  }
  ck_assert_int_eq(r->bytes, top);
  ck_assert_int_le(r->bound, r->bytes);
}

START_TEST(packings_are_right) {
  struct fvm_error err;
  for (int turn = 0; turn < 200; turn++) {
    struct mem_block b[30], ours[30];
    struct mem_result r, best;
    int n = rnd(30);
    int64_t sum = 0;
    for (int i = 0; i < n; i++) {
      int first = rnd(20);
      b[i] = (struct mem_block){.first = first, .last = first + rnd(6), .bytes = 64 * (1 + rnd(9))};
      b[i].align = 64;
      sum += b[i].bytes;
    }
    if (n) memcpy(ours, b, sizeof ours);
    OK(mem_pack(ours, n, &best, &err));
    OK(mem_pack_linear(b, n, &r, &err));
    check_packing(b, n, &r, 1000);
    ck_assert_int_eq(r.bytes, sum);
    OK(mem_pack_by_size(b, n, &r, &err));
    check_packing(b, n, &r, 0);
    ck_assert_int_le(best.bytes, r.bytes);
    OK(mem_pack_padded(b, n, &r, &err));
    check_packing(b, n, &r, 1);
    ck_assert_int_le(best.bytes, r.bytes);
  }
}
END_TEST

/* ---- ours is never worse ---- */

/* Not in time; not in memory either, unless it is bought by time, as random costs have it. */
static void compare_policies(const struct graph *g, struct cost *c, bool buys, const char *path) {
  ck_assert_ptr_nonnull(c);
  struct schedule *ours = plan(g, c, POLICY_exact);
  for (int p = POLICY_exact + 1; p < POLICY_COUNT; p++) {
    struct schedule *s = plan(g, c, (enum policy)p);
    bool less = ours->arena_bytes <= s->arena_bytes || (buys && ours->cost_ns < s->cost_ns);
    ck_assert_msg(ours->cost_ns <= s->cost_ns && less,
                  "%s, %s costs, %s: %lld ns and %lld bytes, ours %lld ns and %lld bytes", path,
                  c->name, policy_name((enum policy)p), (long long)s->cost_ns,
                  (long long)s->arena_bytes, (long long)ours->cost_ns,
                  (long long)ours->arena_bytes);
    schedule_free(s);
  }
  schedule_free(ours);
  cost_free(c);
}

START_TEST(ours_is_never_worse) {
  static const char *const model[] = {
      "decoder/llama",           "decoder/llama-past",       "exporters/bert-dy18",
      "exporters/t5-gated-dy20", "exporters/vit-dy20-sim",   "exporters/gpt2-past-ts14-sim",
      "vision/convnext-dy18",    "vision/deeplab-dy18",      "vision/densenet-ts17",
      "vision/googlenet-ts15",   "vision/efficientnet-dy20", "vision/mobilenet2-ts13-sim"};
  for (size_t i = 0; i < COUNT(model); i++) {
    struct arena a = {0};
    struct fvm_error err;
    struct graph *g;
    struct dim_binding any = {"*", 3};
    const char *path = arena_printf(&a, "%s/tests/%s/model.onnx", source_dir(), model[i]);
    OK(onnx_import(path, &any, 1, &g, &err));
    OK(pipeline_run(g, NULL, &err));
    compare_policies(g, cost_model_new(50, 10, 20), false, path);
    compare_policies(g, cost_table_new("convert * * 900\n1000\n", &err), true, path);
    for (uint64_t seed = 0; seed < 5; seed++)
      compare_policies(g, cost_random_new(seed), true, path);
    graph_free(g);
    arena_free(&a);
  }
}
END_TEST

UNIT_MAIN("policy", greedy_does_not_look_ahead, longest_path_decides, paths_run_as_they_come,
          chains_take_memory, names_are_found, packings_are_right, ours_is_never_worse)
