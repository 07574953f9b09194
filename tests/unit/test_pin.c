/* Pins: their files, what they cover and allow, and that plans keep to them at the least cost. */
#include "unit.h"

#include <string.h>

#include "../../scheduler/chains.h"
#include "../../scheduler/pin.h"
#include "../../scheduler/plan_build.h"
#include "../../scheduler/what_if.h"

static struct fvm_error err;

static struct pins *parse(const char *text) {
  struct pins *p;
  OK(pins_parse(text, strlen(text), "p.yaml", &p, &err));
  return p;
}

/* ---- files ---- */

START_TEST(files_are_read) {
  struct pins *p = parse("# comment\n"
                         "- node: 'conv1*'\n"
                         "  use: direct\n"
                         "- op: Conv\n"
                         "  avoid: [a, \"b*\"]\n"
                         "  threads: 2\n"
                         "  layout: nhwc\n");
  ck_assert_uint_eq(p->pin.n, 2);
  const struct pin *a = &p->pin.v[0], *b = &p->pin.v[1];
  ck_assert_str_eq(a->node, "conv1*");
  ck_assert_ptr_null(a->op);
  ck_assert_uint_eq(a->use.n, 1);
  ck_assert(a->threads == 0 && a->layout == LAYOUT_COUNT && a->line == 2);
  ck_assert_str_eq(b->op, "Conv");
  ck_assert_uint_eq(b->avoid.n, 2);
  ck_assert_str_eq(b->avoid.v[1], "b*");
  ck_assert(b->threads == 2 && b->layout == LAYOUT_NHWC && b->line == 4);
  pins_free(p);
  for (int i = 0; i < 3; i++) {
    p = parse(i == 0 ? "" : i == 1 ? "# nothing\n" : "[]\n");
    ck_assert_uint_eq(p->pin.n, 0);
    pins_free(p);
  }
}
END_TEST

static const struct {
  const char *text, *says;
} bad[] = {
    {"- node: a\n  us: b\n", "p.yaml:2:3: unknown key 'us'; did you mean 'use'?"},
    {"- node: a\n  tread: 1\n", "did you mean 'threads'?"},
    {"- node: a\n  layout: nhcw\n", "p.yaml:2:11: unknown layout 'nhcw'; did you mean 'nhwc'?"},
    {"- node: a\n  threads: x\n", "p.yaml:2:12: threads: expected a number"},
    {"- node: a\n  threads: 0\n", "expected a number"},
    {"- node: a\n  threads: 65\n", "expected a number"},
    {"- node: a\n  threads: 1 2\n", "expected a number"},
    {"- node: a\n\n- op: b\n  use: c\n", "p.yaml:1:1: a pin needs 'use', 'avoid'"},
    {"- op: b\n  use: c\n- use: c\n", "p.yaml:3:1: a pin needs 'node' or 'op'"},
    {"- node: a\n  use: b\n  use: c\n", "p.yaml:3:3: this key is there twice"},
    {"- node: a\n  use: []\n", "need a pattern"},
    {"- node: a\n  use:\n", "expected a pattern"},
    {"- node: a\n  use: [b, '']\n", "p.yaml:2:12: expected a pattern"},
    {"- node: a\n  use: [[b]]\n", "a list can only be"},
    {"- node: a\n  use: {b: c}\n", "a mapping cannot be"},
    {"- node: [a]\n  use: b\n", "a list can only be"},
    {"- [node, a]\n", "a list can only be"},
    {"- a\n", "expected a list of pins"},
    {"a\n", "expected a list of pins"},
    {"node: a\nuse: b\n", "put '- ' before"},
    {"- ? [a]\n  : b\n", "a list can only be"},
    {"- ? {a: b}\n  : b\n", "a mapping cannot be"},
    {"- &x\n  node: a\n  use: b\n- *x\n", "p.yaml:4:3: aliases"},
    {"- node: \"a\n", "unexpected end of stream"},
    {"- node: \"a\\0b\"\n  use: b\n", "expected a pattern"},
};

START_TEST(bad_files_are_refused) {
  for (size_t i = 0; i < COUNT(bad); i++) {
    struct pins *p = NULL;
    ck_assert_int_eq(pins_parse(bad[i].text, strlen(bad[i].text), "p.yaml", &p, &err), FVM_EFORMAT);
    ck_assert_ptr_null(p);
    ck_assert_msg(strstr(err.text, bad[i].says) != NULL, "%s: %s", bad[i].text, err.text);
  }
}
END_TEST

START_TEST(file_that_is_missing) {
  struct pins *p;
  ck_assert_int_eq(pins_read("/nowhere/p.yaml", &p, &err), FVM_EUSAGE);
  ck_assert_ptr_nonnull(strstr(err.text, "/nowhere/p.yaml"));
}
END_TEST

/* ---- patterns ---- */

static bool covers(const char *text, const char *name, const char *op) {
  struct pins *p = parse(text);
  const struct node n = {.name = name, .op = op_find(op, strlen(op))};
  bool is = pin_covers(&p->pin.v[0], &n);
  pins_free(p);
  return is;
}

START_TEST(nodes_are_covered) {
  ck_assert(covers("- {node: a, use: x}", "a", "Conv"));
  ck_assert(!covers("- {node: a, use: x}", "A", "Conv"));
  ck_assert(!covers("- {node: a, use: x}", "ab", "Conv"));
  ck_assert(covers("- {node: 'a*', use: x}", "a/b/c", "Conv"));
  ck_assert(covers("- {node: '*[34]/?', use: x}", "f/3/q", "Conv"));
  ck_assert(!covers("- {node: '*[34]/?', use: x}", "f/5/q", "Conv"));
  ck_assert(covers("- {node: 'a\\*', use: x}", "a*", "Conv"));
  ck_assert(!covers("- {node: 'a\\*', use: x}", "ab", "Conv"));
  ck_assert(covers("- {op: conv, use: x}", "a", "Conv"));
  ck_assert(covers("- {op: '*Pool', node: 'a*', use: x}", "a", "MaxPool"));
  ck_assert(!covers("- {op: '*Pool', node: 'b*', use: x}", "a", "MaxPool"));
  ck_assert(!covers("- {op: '*Pool', node: 'a*', use: x}", "a", "Conv"));
}
END_TEST

static bool allows(const char *keys, const char *text, const struct label *l) {
  char pin[100];
  snprintf(pin, sizeof pin, "- {node: a, %s}", keys);
  struct pins *p = parse(pin);
  bool is = pin_allows(&p->pin.v[0], text, l);
  pins_free(p);
  return is;
}

START_TEST(labels_are_allowed) {
  const char *text = "direct mr=6 in=row,row out=nhwc threads=2";
  const struct label l = {.threads = 2, .out = {LAYOUT_NHWC}}, view = {.view = true};
  ck_assert(allows("use: direct", text, &l));
  ck_assert(allows("use: 'direct mr=6 *'", text, &l));
  ck_assert(allows("use: DIRECT", text, &l));
  ck_assert(allows("use: [gemm, 'dir*']", text, &l));
  ck_assert(!allows("use: dir", text, &l));
  ck_assert(!allows("use: 'direct mr=8*'", text, &l));
  ck_assert(!allows("avoid: direct", text, &l));
  ck_assert(!allows("avoid: [gemm, '*MR=6 *']", text, &l));
  ck_assert(allows("avoid: gemm", text, &l));
  ck_assert(!allows("avoid: gemm, use: winograd", text, &l));
  ck_assert(allows("threads: 2", text, &l));
  ck_assert(!allows("threads: 1", text, &l));
  ck_assert(allows("threads: 1", "view in=row out=row view=0", &view));
  ck_assert(allows("layout: nhwc", text, &l));
  ck_assert(!allows("layout: row", text, &l));
}
END_TEST

/* What is printed matches that node and that label and nothing else. */
START_TEST(printed_pins_are_read_back) {
  static const char *const names[] = {"a",       "a*b?[c]",    "a\\b\"c'd: #e", "- x",
                                      "a\nb\tc", "\xc3\xa4 b", "{a}",           "1"};
  for (size_t i = 0; i < COUNT(names); i++) {
    struct text t = {0};
    pin_print(names[i], "x a=*1 out=row", &t);
    struct pins *p = parse(t.v);
    ck_assert_uint_eq(p->pin.n, 1);
    for (size_t k = 0; k < COUNT(names); k++) {
      const struct node n = {.name = names[k], .op = op_find("Conv", 4)};
      ck_assert_msg(pin_covers(&p->pin.v[0], &n) == (i == k), "%s", t.v);
    }
    ck_assert(pin_allows(&p->pin.v[0], "x a=*1 out=row", &(struct label){0}));
    ck_assert(!pin_allows(&p->pin.v[0], "x a=11 out=row", &(struct label){0}));
    pins_free(p);
    text_free(&t);
  }
}
END_TEST

/* ---- plans ---- */

/* Two equal convolutions with a join, so that layouts of neighbours matter. */
static const char net[] = "graph net opset=17\n"
                          "input x:f32[1,16,9,9]\n"
                          "const w:f32[16,16,3,3] = #0\n"
                          "a = Conv(x, w) @first pads=[1,1,1,1]\n"
                          "b = Conv(a, w) @second pads=[1,1,1,1]\n"
                          "c = Add(a, b) @sum\n"
                          "d = MaxPool(c) @pool kernel_shape=[3,3]\n"
                          "e = Concat(d, d) @both axis=1\n"
                          "y = Softmax(e) @soft axis=1\n"
                          "output y\n";
static const struct plan_options options = {
    .target = {.threads = {1, 2}, .nthreads = 2}, .max_ticks = 10000000, .build = "build"};

static struct graph *make_graph(void) {
  struct graph *g;
  OK(graph_parse(net, strlen(net), &g, &err));
  OK(pipeline_run(g, NULL, &err));
  return g;
}

static enum fvm_status try_plan(const struct graph *g, uint64_t seed, const struct pins *pins,
                                struct schedule **s) {
  struct cost *cost = cost_random_new(seed);
  struct plan_options o = options;
  o.pins = pins;
  if (!cost) return FVM_ENOMEM;
  enum fvm_status st = schedule_graph(g, cost, &o, s, &err);
  cost_free(cost);
  return st;
}

static struct schedule *plan(const struct graph *g, uint64_t seed, const struct pins *pins) {
  struct schedule *s;
  OK(try_plan(g, seed, pins, &s));
  return s;
}

/* The text of the label that runs a node; empty for a view. */
static void label_of(const struct schedule *s, const char *node, char *out, size_t cap) {
  struct arena a = {0};
  struct opcall c;
  *out = 0;
  for (size_t i = 0; i < s->step.n; i++) {
    struct text t = {0};
    if (s->step.v[i].node < 0) continue;
    if (strcmp(s->graph->node.v[s->step.v[i].node].name, node) != 0) continue;
    OK(chains_opcall(s->graph, s->step.v[i].first, s->step.v[i].node, &a, &c, &err));
    label_text(&c, &s->step.v[i].label, &t);
    snprintf(out, cap, "%s", t.v);
    text_free(&t);
  }
  arena_free(&a);
}

/* The least over all labels of node `first` that the text of the pin allows, each forced by a pin
 * of its own text. */
static int64_t least_of_all(const struct graph *g, uint64_t seed, const char *text) {
  struct pins *allowed = parse(text);
  struct arena a = {0};
  struct opcall c;
  struct label l;
  int64_t least = INT64_MAX;
  int node = 0;
  while (strcmp(g->node.v[node].name, "first") != 0) node++;
  OK(graph_opcall(g, node, &a, &c, &err));
  for (int i = 0; opcall_label(&c, &options.target, i, &l); i++) {
    struct text t = {0}, one = {0};
    struct schedule *s;
    label_text(&c, &l, &t);
    if (pin_allows(&allowed->pin.v[0], t.v, &l)) {
      pin_print("first", t.v, &one);
      struct pins *p = parse(one.v);
      if (try_plan(g, seed, p, &s) == FVM_OK) {
        char got[200];
        label_of(s, "first", got, sizeof got);
        ck_assert_str_eq(got, t.v);
        least = MIN(least, s->cost_ns);
        schedule_free(s);
      }
      pins_free(p);
      text_free(&one);
    }
    text_free(&t);
  }
  arena_free(&a);
  pins_free(allowed);
  return least;
}

/* A pinned plan costs what the cheapest of the labels costs that it leaves; so does none at all. */
START_TEST(pinned_plans_are_optimal) {
  static const char *const pins[] = {
      "- {node: first, avoid: none}", "- {node: first, use: conv_direct}",
      "- {node: first, threads: 1}", "- {node: first, layout: nhwc}",
      "- {node: first, avoid: [conv_winograd, conv_direct], threads: 2}"};
  struct graph *g = make_graph();
  for (uint64_t seed = 0; seed < 3; seed++)
    for (size_t i = 0; i < COUNT(pins); i++) {
      struct pins *p = parse(pins[i]);
      struct schedule *s = plan(g, seed, p), *free = plan(g, seed, NULL);
      ck_assert_int_eq(s->cost_ns, least_of_all(g, seed, pins[i]));
      ck_assert_int_ge(s->cost_ns, free->cost_ns);
      if (i == 0) ck_assert_int_eq(s->cost_ns, free->cost_ns);
      schedule_free(s);
      schedule_free(free);
      pins_free(p);
    }
  graph_free(g);
}
END_TEST

/* The two convolutions are one problem, but not one node. */
START_TEST(equal_problems_are_pinned_apart) {
  struct graph *g = make_graph();
  char first[200], second[200];
  struct pins *p = parse("- {node: first, use: conv_direct, threads: 1}\n"
                         "- {node: second, avoid: conv_direct}\n"
                         "- {op: conv*, avoid: conv_winograd}\n");
  for (uint64_t seed = 0; seed < 8; seed++) {
    struct schedule *s = plan(g, seed, p);
    label_of(s, "first", first, sizeof first);
    label_of(s, "second", second, sizeof second);
    ck_assert_msg(!strncmp(first, "conv_direct ", 12), "%s", first);
    ck_assert(strstr(first, "threads=1") != NULL);
    ck_assert_msg(strncmp(second, "conv_direct", 11) != 0, "%s", second);
    ck_assert_msg(strncmp(second, "conv_winograd", 13) != 0, "%s", second);
    schedule_free(s);
  }
  pins_free(p);
  graph_free(g);
}
END_TEST

/* A file of all labels of a plan makes that plan again. */
START_TEST(plans_are_frozen) {
  struct graph *g = make_graph();
  for (uint64_t seed = 0; seed < 20; seed++) {
    struct schedule *s = plan(g, seed, NULL);
    struct text t = {0};
    char was[200], is[200];
    for (size_t i = 0; i < s->step.n; i++)
      if (s->step.v[i].node >= 0) {
        struct text name = {0};
        chains_name(g, s->step.v[i].first, s->step.v[i].node, &name);
        label_of(s, g->node.v[s->step.v[i].node].name, was, sizeof was);
        pin_print(name.v, was, &t);
        text_free(&name);
      }
    struct pins *p = parse(t.v);
    struct schedule *again = plan(g, seed + 1000, p), *same = plan(g, seed, p);
    ck_assert_int_eq(same->cost_ns, s->cost_ns);
    ck_assert_uint_eq(same->step.n, s->step.n);
    for (size_t i = 0; i < s->step.n; i++)
      if (s->step.v[i].node >= 0) {
        const char *name = g->node.v[s->step.v[i].node].name;
        label_of(s, name, was, sizeof was);
        label_of(again, name, is, sizeof is);
        ck_assert_str_eq(was, is);
      }
    schedule_free(s);
    schedule_free(again);
    schedule_free(same);
    pins_free(p);
    text_free(&t);
  }
  graph_free(g);
}
END_TEST

/* ---- what if --------------------------------------------------------------------------------- */
static int node_called(const struct graph *g, const char *name) {
  int node = 0;
  while (strcmp(g->node.v[node].name, name) != 0) node++;
  return node;
}

/* Cost of a plan with the pins of a text; WHAT_IF_NONE when there is none. */
static int64_t cost_with(const struct graph *g, uint64_t seed, const char *text) {
  struct pins *p = parse(text);
  struct schedule *s;
  int64_t ns = try_plan(g, seed, p, &s) == FVM_OK ? s->cost_ns : WHAT_IF_NONE;
  schedule_free(s);
  pins_free(p);
  return ns;
}

static int64_t less(int64_t ns, int64_t base) { return ns == WHAT_IF_NONE ? ns : ns - base; }

/* Each label forced on a node costs what a plan costs in which it is pinned, in spite of other pins
 * there. */
static void force_all(struct what_if *x, const struct graph *g, uint64_t seed, int64_t base,
                      const char *others) {
  struct arena a = {0};
  struct opcall c;
  struct label l;
  int node = node_called(g, "first");
  OK(graph_opcall(g, node, &a, &c, &err));
  for (int i = 0; opcall_label(&c, &options.target, i, &l); i++) {
    struct text t = {0}, pins = {0};
    int64_t more;
    label_text(&c, &l, &t);
    pin_print("first", t.v, &pins);
    text_printf(&pins, "%s", others);
    OK(what_if_forced(x, &node, 1, t.v, &more, &err));
    ck_assert_int_eq(more, less(cost_with(g, seed, pins.v), base));
    text_free(&t);
    text_free(&pins);
  }
  arena_free(&a);
}

#define PIN_1 "- {node: first, use: conv_direct, threads: 1}\n"
#define PIN_2 "- {node: second, avoid: conv_direct}\n"

static void ask(const struct graph *g, uint64_t seed, const struct plan_options *o,
                struct cost *cost) {
  struct what_if *x;
  const char *label;
  int64_t more, base = cost_with(g, seed, PIN_1 PIN_2);
  OK(what_if_open(g, cost, o, &x, &err));
  OK(what_if_unpinned(x, 0, &more, &err));
  ck_assert_int_eq(more, cost_with(g, seed, PIN_2) - base);
  OK(what_if_unpinned(x, 1, &more, &err));
  ck_assert_int_eq(more, cost_with(g, seed, PIN_1) - base);
  OK(what_if_free(x, node_called(g, "first"), &more, &label, &err));
  ck_assert_int_eq(more, cost_with(g, seed, PIN_2) - base);
  ck_assert_int_le(more, 0);
  if (!o->memory) {
    struct pins *p = parse(PIN_2);
    struct schedule *s = plan(g, seed, p);
    char text[200];
    label_of(s, "first", text, sizeof text);
    ck_assert_str_eq(label, text);
    schedule_free(s);
    pins_free(p);
  }
  force_all(x, g, seed, base, PIN_2);
  what_if_close(x);
}

START_TEST(what_if_agrees_with_plans) {
  struct graph *g = make_graph();
  struct pins *p = parse(PIN_1 PIN_2);
  for (uint64_t seed = 0; seed < 6; seed++) {
    struct cost *cost = cost_random_new(seed);
    struct plan_options o = options;
    o.pins = p;
    o.memory =
        seed % 2 ? (int64_t)1 << 30 : 0; /* a limit that limits nothing, but all is planned */
    ask(g, seed, &o, cost);
    cost_free(cost);
  }
  pins_free(p);
  graph_free(g);
}
END_TEST

START_TEST(what_if_may_lack_memory) {
  struct graph *g = make_graph();
  struct pins *p = parse(PIN_1 PIN_2);
  struct cost *cost = cost_random_new(1);
  struct plan_options o = options;
  o.pins = p;
  size_t before = fvm_bytes_in_use();
  enum fvm_status st = FVM_ENOMEM;
  for (long i = 1; st == FVM_ENOMEM; i += 1 + i / 20) {
    struct what_if *x;
    int64_t ns;
    const char *label;
    int node = node_called(g, "first");
    fvm_fail_alloc(i);
    st = what_if_open(g, cost, &o, &x, &err);
    if (!st) st = what_if_forced(x, &node, 1, "none", &ns, &err);
    if (!st) st = what_if_free(x, node, &ns, &label, &err);
    if (!st) st = what_if_unpinned(x, 0, &ns, &err);
    if (fvm_fail_alloc(0) == 0 && st == FVM_OK) st = FVM_ENOMEM; /* it made no difference */
    what_if_close(x);
    ck_assert_uint_eq(fvm_bytes_in_use(), before);
  }
  ck_assert_msg(st == FVM_OK, "%s", err.text);
  cost_free(cost);
  pins_free(p);
  graph_free(g);
}
END_TEST

static const struct {
  const char *text, *says;
} unfit[] = {
    {"- {node: frist, use: x}", "p.yaml:1: no node 'frist' is left after the passes; did you mean "
                                "'first'?"},
    {"- {node: 'f?', use: x}", "p.yaml:1: no node 'f?' is left after the passes; 'fluidvm dump"},
    {"- {op: Gemm, use: x}", "no node with operator 'Gemm' is left"},
    {"- {op: Conv, avoid: none}\n- {node: first, op: Add, use: x}",
     "p.yaml:2: no node 'first' with operator 'Add' is left"},
    {"- {op: Conv, avoid: none}\n- {node: fir*, use: winogrand}",
     "p.yaml:2: the pin leaves node 'first' (Conv) without a label; it has: conv_"},
    {"- {node: first, threads: 1}\n- {op: Conv, threads: 2}\n- {node: '*', avoid: none}",
     "p.yaml:1: the pin and those of lines 2, 3 leave node 'first'"},
};

START_TEST(unfit_pins_are_refused) {
  struct graph *g = make_graph();
  for (size_t i = 0; i < COUNT(unfit); i++) {
    struct pins *p = parse(unfit[i].text);
    struct schedule *s;
    ck_assert_int_eq(try_plan(g, 1, p, &s), FVM_EFORMAT);
    ck_assert_ptr_null(s);
    ck_assert_msg(strstr(err.text, unfit[i].says) != NULL, "%s", err.text);
    pins_free(p);
  }
  graph_free(g);
}
END_TEST

/* Of two forms only the one that has the node; and if none has, what the first lacks. */
START_TEST(pins_choose_the_form) {
  struct graph *g = make_graph();
  g->other = graph_fork(g);
  ck_assert_ptr_nonnull(g->other);
  for (size_t i = 0; i < g->other->node.n; i++)
    if (!strcmp(g->other->node.v[i].name, "pool")) g->other->node.v[i].name = "pond";
  struct pins *p = parse("- {node: pond, threads: 1}"), *q = parse("- {node: pool, threads: 1}"),
              *none = parse("- {node: poll, threads: 1}");
  struct schedule *s = plan(g, 1, p);
  ck_assert_ptr_eq(s->graph, g->other);
  schedule_free(s);
  s = plan(g, 1, q);
  ck_assert_ptr_eq(s->graph, g);
  schedule_free(s);
  ck_assert_int_eq(try_plan(g, 1, none, &s), FVM_EFORMAT);
  ck_assert_ptr_nonnull(strstr(err.text, "'pool'"));
  pins_free(p);
  pins_free(q);
  pins_free(none);
  graph_free(g);
}
END_TEST

START_TEST(memory_runs_out) {
  static const char text[] = "- {node: first, use: [conv_direct, conv_gemm]}\n"
                             "- {op: Conv, threads: 1}\n";
  struct graph *g = make_graph();
  size_t before = fvm_bytes_in_use();
  enum fvm_status st = FVM_ENOMEM;
  for (long i = 1; st == FVM_ENOMEM; i += 1 + i / 50) {
    struct pins *p = NULL;
    struct schedule *s = NULL;
    fvm_fail_alloc(i);
    st = pins_parse(text, sizeof text - 1, "p.yaml", &p, &err);
    if (!st) st = try_plan(g, 1, p, &s);
    if (fvm_fail_alloc(0) == 0 && st == FVM_OK) st = FVM_ENOMEM; /* it made no difference */
    if (s) schedule_free(s);
    pins_free(p);
    ck_assert_uint_eq(fvm_bytes_in_use(), before);
  }
  ck_assert_msg(st == FVM_OK, "%s", err.text);
  graph_free(g);
}
END_TEST

UNIT_MAIN("pin", files_are_read, bad_files_are_refused, file_that_is_missing, nodes_are_covered,
          labels_are_allowed, printed_pins_are_read_back, pinned_plans_are_optimal,
          equal_problems_are_pinned_apart, plans_are_frozen, unfit_pins_are_refused,
          pins_choose_the_form, memory_runs_out, what_if_agrees_with_plans, what_if_may_lack_memory)
