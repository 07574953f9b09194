/* Tensors that are computed again: graphs that fit into an arena that way and in no other, their
 * plans right and checked; random graphs beside every way to compute one tensor again. */
#include "planned.h"

#include "../../scheduler/sched_fit.h"

static char dir[] = "/tmp/test_again.XXXXXX", path[60];

/* A skip that is cheap to make from the input, over two large images. */
static const char skip[] = "graph skip opset=17\n"
                           "input x:f32[1,16,32,32]\n"
                           "const w1:f32[128,16,1,1] = #0\n"
                           "const w2:f32[128,128,1,1] = #0\n"
                           "const w3:f32[16,128,1,1] = #0\n"
                           "skip = Sigmoid(x) @skip\n"
                           "d = MaxPool(skip) @down kernel_shape=[2,2] strides=[2,2]\n"
                           "a = Conv(d, w1) @one\n"
                           "b = Conv(a, w2) @two\n"
                           "c = Conv(b, w3) @three\n"
                           "g = GlobalAveragePool(c) @mean\n"
                           "y = Mul(skip, g) @y\n"
                           "output y\n";
/* The same through views, of something that is expanded from a small tensor, into a join. */
static const char views[] = "graph views opset=17\n"
                            "input x:f32[1,16,1,1]\n"
                            "const w1:f32[128,16,1,1] = #0\n"
                            "const w2:f32[128,128,1,1] = #0\n"
                            "const w3:f32[16,128,1,1] = #0\n"
                            "const big:i64[4] = {1, 16, 8, 8}\n"
                            "const flat:i64[2] = {16, 64}\n"
                            "const image:i64[4] = {1, 16, 8, 8}\n"
                            "e = Exp(x) @e\n"
                            "t = Expand(e, big) @t\n"
                            "v = Reshape(t, flat) @v\n"
                            "s = Softmax(v) @s axis=0\n"
                            "u = Reshape(s, image) @u\n"
                            "d = MaxPool(u) @down kernel_shape=[2,2] strides=[2,2]\n"
                            "a = Conv(d, w1) @one\n"
                            "b = Conv(a, w2) @two\n"
                            "c = Conv(b, w3) @three\n"
                            "g = GlobalAveragePool(c) @mean\n"
                            "r = Reshape(v, image) @r\n"
                            "m = Mul(r, g) @m\n"
                            "j = Concat(m, r) @j axis=1\n"
                            "y = MaxPool(j) @y kernel_shape=[2,2] strides=[2,2]\n"
                            "output y\n";

static struct cost *plain_costs(void) {
  struct fvm_error err;
  struct cost *c = cost_table_new("conv_im2col 1000\nconv_ 2000\n1000\nconvert * * 9000\n", &err);
  ck_assert_ptr_nonnull(c);
  return c;
}

static struct schedule *schedule(const struct graph *g, struct cost *cost, int64_t arena) {
  struct fvm_error err;
  struct plan_options o = planned_options;
  struct schedule *s;
  o.arena = arena;
  OK(schedule_graph(g, cost, &o, &s, &err));
  cost_free(cost);
  return s;
}

/* The plan within a limit on the arena when nothing may be computed again; NULL: there is none. */
static struct schedule *schedule_once(const struct graph *g, struct cost *cost, int64_t arena,
                                      struct fvm_error *err) {
  struct plan_options o = planned_options;
  struct sched w;
  o.arena = arena;
  enum fvm_status st = sched_begin(&w, g, cost, &o, err);
  if (!st && w.s->arena_bytes > arena) st = sched_fit(&w);
  ck_assert(st == FVM_OK || st == FVM_EFAIL);
  sched_close(&w);
  if (st) schedule_free(w.s);
  cost_free(cost);
  return st ? NULL : w.s;
}

static int again_steps(const struct schedule *s) {
  int n = 0;
  for (size_t k = 0; k < s->step.n; k++)
    n += s->step.v[k].node >= 0 && s->graph->node.v[s->step.v[k].node].again;
  return n;
}

static void write_and_verify(const struct graph *g, const struct schedule *s) {
  struct fvm_error err;
  OK(plan_write(s, &planned_options, path, &err));
  planned_verify(g, path);
}

/* ---- known graphs ---------------------------------------------------------------------------- */
static void compute_again(const char *text, int64_t arena, const char *name) {
  struct fvm_error err;
  struct graph *g = planned_graph(text);
  rng = 7;
  planned_weights(g);
  ck_assert_ptr_null(schedule_once(g, plain_costs(), arena, &err));
  const char *none = strstr(err.text, "none needs less than ");
  long long least;
  ck_assert_msg(none && sscanf(none, "none needs less than %lld", &least) == 1, "%s", err.text);
  ck_assert_int_gt(least, arena); /* proved */
  struct schedule *s = schedule(g, plain_costs(), arena);
  ck_assert_int_le(s->arena_bytes, arena);
  ck_assert_int_gt(again_steps(s), 0);
  ck_assert_int_eq(s->again, again_steps(s));
  ck_assert(!s->optimal);
  ck_assert_int_le(s->layout_bound_ns, s->layout_cost_ns);
  write_and_verify(g, s);
  struct fvm_plan *p;
  OK(fvm_load(path, &p, &err));
  int found = 0;
  for (uint32_t i = 0; i < p->nstep; i++) found += !strcmp(plan_string(p, p->step[i].name), name);
  ck_assert_int_eq(found, 1);
  fvm_unload(p);
  schedule_free(s);
  graph_free(g);
}

START_TEST(a_skip_is_computed_again) { compute_again(skip, 17 << 14, "skip (again)"); }
END_TEST

START_TEST(what_is_shown_is_computed_again) { compute_again(views, 17 << 10, "t (again)"); }
END_TEST

/* Where the labels are the same, so are all bits of the outputs. */
START_TEST(bits_are_the_same) {
  struct fvm_error err;
  struct graph *g = planned_graph(skip);
  planned_weights(g);
  struct planned_io io = planned_io(g);
  int64_t bytes = tensor_bytes(&g->tensor.v[g->output.v[0]].t);
  void *once = fvm_alloc((size_t)bytes, 1);
  for (int again = 0; again < 2; again++) {
    struct fvm_plan *p;
    struct schedule *s = schedule(g, plain_costs(), again ? 17 << 14 : 0);
    ck_assert_int_eq(again_steps(s), again);
    for (size_t k = 0; k < s->step.n; k++) ck_assert_int_eq(s->step.v[k].cost_ns, 1000);
    OK(plan_write(s, &planned_options, path, &err));
    OK(fvm_load(path, &p, &err));
    planned_run(p, &io);
    if (!again) memcpy(once, io.out[0], (size_t)bytes);
    fvm_unload(p);
    schedule_free(s);
  }
  ck_assert(!memcmp(once, io.out[0], (size_t)bytes));
  fvm_free(once, (size_t)bytes, 1);
  planned_io_free(&io);
  graph_free(g);
}
END_TEST

/* ---- random graphs --------------------------------------------------------------------------- */
/* Images of several sizes; tensors are t0 (the input), t1, ... */
struct maker {
  char text[3000];
  int n, channels[16], size[16];
};

static void put(struct maker *m, int channels, int size, const char *line) {
  size_t at = strlen(m->text);
  snprintf(m->text + at, sizeof m->text - at, "t%d = %s\n", m->n, line);
  m->channels[m->n] = channels;
  m->size[m->n++] = size;
}

static void add_node(struct maker *m) {
  static const int widths[] = {8, 16, 32};
  char line[100];
  int x = rnd(4) ? m->n - 1 : rnd(m->n), y = rnd(m->n), to = rnd(3);
  int c = m->channels[x], size = m->size[x];
  bool same = x != y && c == m->channels[y] && size == m->size[y];
  switch (rnd(6)) {
  case 0:
    snprintf(line, sizeof line, "Concat(t%d, t%d) axis=1", x, x);
    put(m, 2 * c, size, line);
    return;
  case 1:
  case 2:
    snprintf(line, sizeof line, "MaxPool(t%d) kernel_shape=[2,2] strides=[2,2]", x);
    if (size > 2) put(m, c, size / 2, line);
    return;
  case 3:
    snprintf(line, sizeof line, "Conv(t%d, w%d_%d)", x, c, widths[to]);
    put(m, widths[to], size, line);
    return;
  case 4:
    snprintf(line, sizeof line, "Add(t%d, t%d)", x, y);
    if (same) put(m, c, size, line);
    return;
  default:
    snprintf(line, sizeof line, "%s(t%d)", rnd(2) ? "Sigmoid" : "Softmax", x);
  }
  put(m, c, size, line);
}

/* Everything that is left over at the end is averaged and added up. */
static struct graph *random_graph(void) {
  struct maker m = {.n = 1, .channels = {8}, .size = {8}};
  size_t at =
      (size_t)snprintf(m.text, sizeof m.text, "graph random opset=17\ninput t0:f32[1,8,8,8]\n");
  for (int c = 8; c <= 32; c *= 2)
    for (int k = 8; k <= 32; k *= 2)
      at += (size_t)snprintf(m.text + at, sizeof m.text - at, "const w%d_%d:f32[%d,%d,1,1] = #0\n",
                             c, k, k, c);
  for (int nodes = 6 + rnd(4); m.n <= nodes;) {
    struct maker before = m;
    add_node(&m);
    if (m.n > 1 && m.channels[m.n - 1] > 32) m = before;
  }
  at = strlen(m.text);
  at += (size_t)snprintf(m.text + at, sizeof m.text - at, "e = GlobalAveragePool(t%d)\n", m.n - 1);
  for (int t = 1; t < m.n - 1; t++)
    if (m.size[t] == 8 && m.channels[t] == m.channels[m.n - 1]) {
      snprintf(m.text + at, sizeof m.text - at, "z = Mul(t%d, e)\noutput z\n", t);
      return planned_graph(m.text);
    }
  snprintf(m.text + at, sizeof m.text - at, "output e\n");
  return planned_graph(m.text);
}

/* A graph in which those of a tensor's readers that are in the set read a copy; NULL: none or all
 * do. */
static struct graph *split(const struct graph *g, int tensor, unsigned set) {
  struct fvm_error err;
  struct graph *f = graph_fork(g);
  int p = g->tensor.v[tensor].producer, readers = 0, moved = 0, at = (int)f->node.n;
  struct gtensor copy = g->tensor.v[tensor];
  struct node n = g->node.v[p];
  memset(&n.in, 0, sizeof n.in);
  memset(&n.out, 0, sizeof n.out);
  n.again = true;
  copy.is_output = false;
  ck_assert(VEC_PUSH(&f->node, n) && VEC_PUSH(&f->tensor, copy));
  for (size_t k = 0; k < g->node.v[p].in.n; k++)
    ck_assert(VEC_PUSH(&f->node.v[at].in, g->node.v[p].in.v[k]));
  ck_assert(node_add_out(f, at, (int)f->tensor.n - 1));
  for (size_t i = 0; i < g->node.n; i++) {
    bool is = false, to = set >> MIN(readers, 30) & 1;
    for (size_t k = 0; k < g->node.v[i].in.n && !g->node.v[i].dead; k++) {
      if (g->node.v[i].in.v[k] != tensor) continue;
      if (to) f->node.v[i].in.v[k] = (int)f->tensor.n - 1;
      is = true;
    }
    readers += is;
    moved += is && to;
  }
  if (!moved || (moved == readers && !g->tensor.v[tensor].is_output)) {
    graph_free(f);
    return NULL;
  }
  OK(graph_compact(f, &err));
  return f;
}

/* The least arena of the fastest plan of each graph in which one tensor is computed twice. */
static int64_t least_split(const struct graph *g, uint64_t seed) {
  struct fvm_error err;
  int64_t least = INT64_MAX;
  for (int t = 0; t < (int)g->tensor.n; t++)
    for (unsigned set = 1; set < 16 && g->tensor.v[t].producer >= 0; set++) {
      struct graph *f = split(g, t, set);
      struct sched w;
      struct cost *cost = f ? cost_random_new(seed) : NULL;
      if (!f) continue;
      OK(sched_begin(&w, f, cost, &planned_options, &err));
      least = MIN(least, w.s->arena_bytes);
      sched_close(&w);
      schedule_free(w.s);
      cost_free(cost);
      graph_free(f);
    }
  return least;
}

static int found, missed, alone;

static void fit(const struct graph *g, uint64_t seed, int64_t arena, bool exists) {
  struct fvm_error err;
  struct plan_options o = planned_options;
  struct schedule *s, *once = schedule_once(g, cost_random_new(seed), arena, &err);
  struct cost *cost = cost_random_new(seed);
  o.arena = arena;
  enum fvm_status st = schedule_graph(g, cost, &o, &s, &err);
  cost_free(cost);
  ck_assert(st == FVM_OK || st == FVM_EFAIL);
  ck_assert(!st || !once);
  found += !st && exists;
  missed += st && exists;
  if (!st) {
    ck_assert_int_le(s->arena_bytes, arena);
    ck_assert(!once || s->cost_ns <= once->cost_ns);
    ck_assert_int_le(s->layout_bound_ns, s->layout_cost_ns);
    ck_assert_int_eq(s->again, again_steps(s));
    alone += s->again && !once;
    write_and_verify(g, s);
  }
  schedule_free(s);
  schedule_free(once);
}

START_TEST(random_graphs) {
  found = missed = alone = 0;
  for (uint64_t seed = 0; seed < 160; seed++) {
    rng = seed * 7919 + 5;
    struct graph *g = random_graph();
    planned_weights(g);
    struct schedule *s = schedule(g, cost_random_new(seed), 0);
    int64_t least = least_split(g, seed), most = s->arena_bytes;
    if (least < most) fit(g, seed, least, true);
    if (most > 64) fit(g, seed, most - 64, false);
    if (most > 64) fit(g, seed, most / 4 * 3, false);
    schedule_free(s);
    graph_free(g);
  }
  ck_assert_int_gt(found, 20 * missed);
  ck_assert_int_gt(alone, 30);
}
END_TEST

/* The front goes on below what is possible when each tensor is computed once. */
START_TEST(fronts_go_on) {
  struct fvm_error err;
  struct graph *g = planned_graph(skip);
  struct plan_options o = planned_options;
  struct cost *cost = plain_costs();
  struct front f;
  struct schedule *s;
  OK(schedule_front(g, cost, &o, &f, &err));
  ck_assert_uint_ge(f.schedule.n, 2);
  const struct schedule *first = f.schedule.v[0], *last = f.schedule.v[f.schedule.n - 1];
  ck_assert_int_eq(first->again, 0);
  ck_assert_int_gt(last->again, 0);
  ck_assert_int_lt(last->arena_bytes, first->arena_bytes);
  write_and_verify(g, last);
  OK(schedule_smallest(g, cost, &o, &s, &err));
  ck_assert_int_le(s->resident_bytes, last->resident_bytes);
  schedule_free(s);
  front_free(&f);
  cost_free(cost);
  graph_free(g);
}
END_TEST

START_TEST(memory_may_fail) {
  struct fvm_error err;
  struct graph *g = planned_graph(skip);
  struct plan_options o = planned_options;
  for (int k = 0; k < 3; k++) {
    enum fvm_status st = FVM_ENOMEM, want = k == 2 ? FVM_EFAIL : FVM_OK;
    o.arena = k == 2 ? 15 << 14 : 17 << 14;
    for (long n = 1; st == FVM_ENOMEM; n++) {
      struct schedule *s = NULL;
      struct front f = {{0}};
      struct cost *cost = cost_random_new(5);
      ck_assert_ptr_nonnull(cost);
      fvm_fail_alloc(n);
      st = k == 1 ? schedule_front(g, cost, &o, &f, &err) : schedule_graph(g, cost, &o, &s, &err);
      fvm_fail_alloc(0);
      schedule_free(s);
      front_free(&f);
      cost_free(cost);
    }
    ck_assert_msg(st == want, "%d: %s", k, err.text);
  }
  graph_free(g);
}
END_TEST

START_TEST(begin) {
  ck_assert_ptr_nonnull(mkdtemp(dir));
  snprintf(path, sizeof path, "%s/a.plan", dir);
}
END_TEST

START_TEST(end) {
  unlink(path);
  ck_assert_int_eq(rmdir(dir), 0);
}
END_TEST

UNIT_MAIN("again", begin, a_skip_is_computed_again, what_is_shown_is_computed_again,
          bits_are_the_same, random_graphs, fronts_go_on, memory_may_fail, end)
