/* Caches as states: a decoder's plans append to the caller's buffer and copy nothing; the results
 * are those of the plain way, past in and present out. */
#include "planned.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

#include "../../scheduler/plan_build.h"
#include "opcheck.h"

static char dir[] = "/tmp/test_state.XXXXXX";
#define options planned_options

/* ---- a decoder of one layer --------------------------------------------------------------------
 * `past` positions known, `more` new ones; heads of width 2. */
enum { HEADS = 2, WIDTH = 2, E = HEADS * WIDTH, MOST = 12 };

static const char *const decoder =
    "graph decoder opset=17\n"
    "input x:f32[%d,%d,4]\n"
    "input past.key:f32[%d,2,%d,2]\n"
    "input past.value:f32[%d,2,%d,2]\n"
    "const wk:f32[4,4] = {1, 2, -1, 0.5, 0.25, -2, 1, 1, 0, 1, 2, -1, 1, 1, -1, 2}\n"
    "const wv:f32[4,4] = {2, 0, 1, 0.5, -1, 1, 1, 0, 1, 2, 0, 1, -0.5, 1, 2, 0}\n"
    "const heads:i64[4] = {%d, %d, 2, 2}\n"
    "const flat:i64[3] = {%d, %d, 4}\n"
    "km = MatMul(x, wk) @km\n"
    "ks = Reshape(km, heads) @ks\n"
    "k = Transpose(ks) @k perm=[0,2,1,3]\n"
    "vm = MatMul(x, wv) @vm\n"
    "vs = Reshape(%s, heads) @vs\n"
    "v = Transpose(vs) @v perm=[0,2,1,3]\n"
    "present.key = Concat(past.key, k) @present.key axis=2\n"
    "present.value = Concat(past.value, v) @present.value axis=2\n"
    "kt = Transpose(present.key) @kt perm=[0,1,3,2]\n"
    "s = MatMul(k, kt) @s\n"
    "p = Softmax(s) @p axis=-1\n"
    "o = MatMul(p, present.value) @o\n"
    "o1 = Transpose(o) @o1 perm=[0,2,1,3]\n"
    "y = Reshape(o1, flat) @y\n"
    "output y\n"
    "output present.key\n"
    "output present.value\n";

struct shape {
  int batch, past, more;
  bool plain_values; /* the input itself is appended to the values */
};

static struct graph *parse(const struct shape *s, bool passes) {
  char text[2048];
  struct fvm_error err;
  struct graph *g;
  int b = s->batch, n = s->more;
  int len = snprintf(text, sizeof text, decoder, b, n, b, s->past, b, s->past, b, n, b, n,
                     s->plain_values ? "x" : "vm");
  OK(graph_parse(text, (size_t)len, &g, &err));
  OK(pipeline_run(g, passes ? NULL : "infer", &err));
  return g;
}

static const char *plan_path(void) {
  static char path[80];
  snprintf(path, sizeof path, "%s/a.plan", dir);
  return path;
}

/* Schedule, write, load, check. */
static struct fvm_plan *make_plan(const struct shape *shape, struct cost *cost) {
  struct fvm_error err;
  struct schedule *s;
  struct fvm_plan *p;
  struct graph *g = parse(shape, true);
  OK(schedule_graph(g, cost, &options, &s, &err));
  ck_assert(s->optimal);
  OK(plan_write(s, &options, plan_path(), &err));
  OK(fvm_load(plan_path(), &p, &err));
  OK(check_plan(p, g, &err));
  schedule_free(s);
  cost_free(cost);
  graph_free(g);
  return p;
}

static struct cost *model(void) { return cost_model_new(50, 10, 20); }

static int count_steps(const struct fvm_plan *p, const char *start) {
  int n = 0;
  for (uint32_t i = 0; i < p->nstep; i++)
    n += !strncmp(plan_string(p, p->step[i].name), start, strlen(start));
  return n;
}

/* ---- one step, plainly ---- */

struct tokens {
  float x[2 * MOST * E], key[2 * MOST * E],
      value[2 * MOST * E]; /* key, value: the past, row-major */
  float y[2 * MOST * E], new_key[2 * MOST * E], new_value[2 * MOST * E];
};

static void fill(float *v, int n, int seed) {
  for (int i = 0; i < n; i++) v[i] = (float)((i * 37 + seed * 11) % 17 - 8) / 8;
}

static void plainly(const struct shape *s, struct tokens *t) {
  struct fvm_error err;
  struct graph *g = parse(s, false);
  const void *in[] = {t->x, t->key, t->value};
  void *out[] = {t->y, t->new_key, t->new_value};
  OK(graph_reference(g, in, out, &err));
  graph_free(g);
}

static void close_enough(const float *got, const float *want, size_t n) {
  for (size_t i = 0; i < n; i++)
    ck_assert_msg(fabsf(got[i] - want[i]) <= 1e-4f * fmaxf(1, fabsf(want[i])), "%zu: %g, not %g", i,
                  (double)got[i], (double)want[i]);
}

/* Bind and run; key and value are the shared buffers, past may be elsewhere. */
static void run(const struct fvm_plan *p, const float *x, float *y, const float *past_key,
                const float *past_value, float *key, float *value) {
  struct fvm_error err;
  struct fvm_instance *in;
  OK(fvm_open(p, 0, NULL, &in, &err));
  OK(fvm_bind_input(in, 0, x, fvm_input(p, 0)->bytes, &err));
  OK(fvm_bind_input(in, 1, past_key, fvm_input(p, 1)->bytes, &err));
  OK(fvm_bind_input(in, 2, past_value, fvm_input(p, 2)->bytes, &err));
  OK(fvm_bind_output(in, 0, y, fvm_output(p, 0)->bytes, &err));
  OK(fvm_bind_output(in, 1, key, fvm_output(p, 1)->bytes, &err));
  OK(fvm_bind_output(in, 2, value, fvm_output(p, 2)->bytes, &err));
  for (int again = 0; again < 2; again++) OK(fvm_run(in, &err)); /* runs from the same past */
  fvm_close(in);
}

/* ---- tests ---- */

START_TEST(nothing_copies_the_cache) {
  struct fvm_plan *p = make_plan(&(struct shape){1, 5, 1, false}, model());
  ck_assert_uint_eq(p->nstep, 3); /* two products and the attention */
  ck_assert_int_eq(count_steps(p, "co"), 0);
  for (int i = 1; i <= 2; i++) {
    const struct fvm_io *past = fvm_input(p, i), *present = fvm_output(p, i);
    ck_assert_int_eq(past->state, i);
    ck_assert_int_eq(present->state, i);
    ck_assert_int_eq(present->stride[2], E * 4);
    ck_assert_int_eq(present->stride[1], WIDTH * 4);
    ck_assert_int_eq(past->stride[2], E * 4);
  }
  ck_assert_int_eq(fvm_output(p, 0)->state, -1);
  fvm_unload(p);
}
END_TEST

/* Plans for one position more each time, one buffer: it is never touched between two runs. */
START_TEST(tokens_in_turn) {
  static struct tokens t;
  static float key[MOST * E], value[MOST * E], y[E], dense[MOST * E];
  fill(t.key, 3 * E, 1);
  fill(t.value, 3 * E, 2);
  for (int past = 3; past < 9; past++) {
    struct shape shape = {1, past, 1, false};
    struct fvm_plan *p = make_plan(&shape, model());
    if (past == 3) {
      fvm_pack(fvm_input(p, 1), t.key, key);
      fvm_pack(fvm_input(p, 2), t.value, value);
    }
    fill(t.x, E, past);
    run(p, t.x, y, key, value, key, value);
    plainly(&shape, &t);
    close_enough(y, t.y, E);
    fvm_unpack(fvm_output(p, 1), key, dense);
    close_enough(dense, t.new_key, (size_t)(past + 1) * E);
    fvm_unpack(fvm_output(p, 2), value, dense);
    close_enough(dense, t.new_value, (size_t)(past + 1) * E);
    memcpy(t.key, t.new_key, sizeof t.key);
    memcpy(t.value, t.new_value, sizeof t.value);
    fvm_unload(p);
  }
}
END_TEST

/* One plan, the window moving on by a position each time: the same buffer, bound further on. */
START_TEST(window_that_moves) {
  enum { PAST = 4 };
  static struct tokens t;
  static float key[MOST * E], value[MOST * E], y[E], all[MOST * E];
  struct shape shape = {1, PAST, 1, false};
  struct fvm_plan *p = make_plan(&shape, model());
  fill(t.key, PAST * E, 3);
  fill(t.value, PAST * E, 4);
  fvm_pack(fvm_input(p, 1), t.key, key);
  fvm_pack(fvm_input(p, 2), t.value, value);
  for (int at = 0; at + PAST < MOST; at++) {
    fill(t.x, E, at);
    run(p, t.x, y, key + at * E, value + at * E, key + at * E, value + at * E);
    plainly(&shape, &t);
    close_enough(y, t.y, E);
    for (int h = 0; h < HEADS; h++) { /* all but the oldest position */
      memcpy(all, t.new_key + (h * (PAST + 1) + 1) * WIDTH, PAST * WIDTH * sizeof *all);
      memcpy(t.key + h * PAST * WIDTH, all, PAST * WIDTH * sizeof *all);
      memcpy(all, t.new_value + (h * (PAST + 1) + 1) * WIDTH, PAST * WIDTH * sizeof *all);
      memcpy(t.value + h * PAST * WIDTH, all, PAST * WIDTH * sizeof *all);
    }
  }
  fvm_unload(p);
}
END_TEST

/* Any shape, any labels, past and present in places of their own. */
START_TEST(separate_places) {
  static const struct shape shapes[] = {{1, 1, 1, false}, {1, 5, 1, true}, {1, 4, 3, false},
                                        {2, 3, 1, false}, {2, 3, 2, true}, {1, 8, 2, true}};
  for (int seed = 0; seed < 24; seed++) {
    static struct tokens t;
    static float past[2][2 * MOST * E], key[2 * MOST * E], value[2 * MOST * E], y[2 * MOST * E];
    static float dense[2 * MOST * E];
    const struct shape *s = &shapes[seed % (int)COUNT(shapes)];
    struct fvm_plan *p = make_plan(s, seed < 6 ? model() : cost_random_new((uint64_t)seed));
    int n = s->batch * s->past * E, m = s->batch * (s->past + s->more) * E;
    fill(t.x, s->batch * s->more * E, seed);
    fill(t.key, n, seed + 1);
    fill(t.value, n, seed + 2);
    fvm_pack(fvm_input(p, 1), t.key, past[0]);
    fvm_pack(fvm_input(p, 2), t.value, past[1]);
    plainly(s, &t);
    run(p, t.x, y, past[0], past[1], key, value);
    close_enough(y, t.y, (size_t)(s->batch * s->more * E));
    fvm_unpack(fvm_output(p, 1), key, dense);
    close_enough(dense, t.new_key, (size_t)m);
    fvm_unpack(fvm_output(p, 2), value, dense);
    close_enough(dense, t.new_value, (size_t)m);
    fvm_unload(p);
  }
}
END_TEST

/* What is a view of an input has no producer that could write elsewhere: it alone is copied. */
START_TEST(only_what_is_new_is_copied) {
  struct fvm_plan *p = make_plan(&(struct shape){1, 5, 1, true}, model());
  ck_assert_int_eq(count_steps(p, "copy "), 1);
  for (uint32_t i = 0; i < p->nstep; i++)
    if (!strncmp(plan_string(p, p->step[i].name), "copy ", 5))
      ck_assert_int_eq(p->program[p->step[i].program].buf[1].bytes, E * 4);
  fvm_unload(p);
}
END_TEST

/* Each claim about a state that is wrong is found, by the reader or the checker. */
/* Keys and values are pieces of one product: as they lie they are copied, by a conversion or a step
 * of their own they are not. The network knows which: what it claims is what the steps cost. */
static const char joint[] = "graph joint opset=17\n"
                            "input x:f32[1,%d,16]\n"
                            "input past.key:f32[1,2,3,8]\n"
                            "input past.value:f32[1,2,3,8]\n"
                            "const w:f32[16,48] = #0\n"
                            "const parts:i64[3] = {16, 16, 16}\n"
                            "const heads:i64[4] = {1, %d, 2, 8}\n"
                            "m = MatMul(x, w) @m\n"
                            "q, k, v = Split(m, parts) @split axis=2\n"
                            "ks = Reshape(k, heads) @ks\n"
                            "kt = Transpose(ks) @kt perm=[0,2,1,3]\n"
                            "vs = Reshape(v, heads) @vs\n"
                            "vt = Transpose(vs) @vt perm=[0,2,1,3]\n"
                            "present.key = Concat(past.key, kt) @present.key axis=2\n"
                            "present.value = Concat(past.value, vt) @present.value axis=2\n"
                            "qs = Reshape(q, heads) @qs\n"
                            "qt = Transpose(qs) @qt perm=[0,2,1,3]\n"
                            "ft = Transpose(present.key) @ft perm=[0,1,3,2]\n"
                            "s = MatMul(qt, ft) @s\n"
                            "p = Softmax(s) @p axis=-1\n"
                            "y = MatMul(p, present.value) @y\n"
                            "output y\n"
                            "output present.key\n"
                            "output present.value\n";

/* Random costs of which those of copies are a hundredth. */
static int64_t (*random_convert)(struct cost *c, const struct tensor *t, enum layout from,
                                 enum layout to, int threads);
static int64_t cheap_copies(struct cost *c, const struct tensor *t, enum layout from,
                            enum layout to, int threads) {
  return random_convert(c, t, from, to, threads) / (from == to ? 100 : 1);
}

START_TEST(copies_are_in_the_network) {
  int copied = 0, written = 0;
  for (int seed = 0; seed < 60; seed++) {
    struct fvm_error err;
    struct schedule *s;
    struct fvm_plan *p;
    struct cost *cost = cost_random_new((uint64_t)seed);
    char text[sizeof joint + 8];
    random_convert = cost->convert;
    if (seed % 2) cost->convert = cheap_copies;
    int positions = 1 + seed % 3;
    snprintf(text, sizeof text, joint, positions, positions);
    struct graph *g = planned_graph(text);
    ck_assert_int_ge(graph_state(g, g->input.v[1]), 0);
    OK(schedule_graph(g, cost, &options, &s, &err));
    ck_assert(s->optimal);
    ck_assert_int_eq(s->layout_cost_ns, s->layout_bound_ns);
    OK(plan_write(s, &options, plan_path(), &err));
    OK(fvm_load(plan_path(), &p, &err));
    OK(check_plan_with(p, &(struct check_with){g, &options.target, cost}, &err));
    int copies = count_steps(p, "copy ");
    copied += copies > 0;
    written += copies == 0;
    fvm_unload(p);
    schedule_free(s);
    cost_free(cost);
    graph_free(g);
  }
  ck_assert_int_gt(copied, 5);
  ck_assert_int_gt(written, 5);
}
END_TEST

START_TEST(wrong_states_are_found) {
  struct shape shape = {1, 5, 1, false};
  struct graph *g = parse(&shape, true);
  for (int k = 0; k < 3; k++) {
    struct fvm_error err;
    struct fvm_plan *p = make_plan(&shape, model());
    struct plan_tensor *rows = fvm_alloc(p->ntensor, sizeof *rows);
    memcpy(rows, p->tensor, p->ntensor * sizeof *rows);
    const struct plan_tensor *good = p->tensor;
    p->tensor = rows;
    for (uint32_t i = 0; i < p->ntensor; i++) {
      const char *name = plan_string(p, rows[i].name);
      if (k == 0 && !strcmp(name, "past.key")) rows[i].layout = LAYOUT_COL;
      if (k == 1 && !strcmp(name, "present.value")) rows[i].first = 0, rows[i].last = 0;
      if (k == 2 && !strcmp(name, "k")) rows[i].offset = 0;
    }
    ck_assert_int_eq(check_plan(p, g, &err), FVM_EFORMAT);
    p->tensor = good;
    fvm_free(rows, p->ntensor, sizeof *rows);
    fvm_unload(p);
  }
  graph_free(g);
}
END_TEST

START_TEST(append_means_concat) {
  static const int64_t dims[][5] = {{2, 3, 4, 5, 2}, {1, 3, 4, 5, 2}, {1, 1, 7, 2, 1}};
  for (size_t k = 0; k < COUNT(dims); k++) {
    struct opcase o;
    int64_t d[4];
    memcpy(d, dims[k], sizeof d);
    opcase_init(&o, "Append", 17);
    opcase_in(&o, FVM_F32, 4, d);
    d[2] = dims[k][4];
    opcase_in(&o, FVM_F32, 4, d);
    opcase_attr_int(&o, "axis", 2);
    opcase_reference(&o);
    d[2] += dims[k][2];
    ck_assert_int_eq(o.out[0].dim[2], d[2]);
    ck_assert_int_eq(opcase_run(&o), 1);
  }
  struct opcase o;
  opcase_init(&o, "Append", 17);
  opcase_in(&o, FVM_F32, 2, (int64_t[]){3, 4});
  opcase_in(&o, FVM_F32, 2, (int64_t[]){1, 5});
  opcase_attr_int(&o, "axis", 0);
  opcase_refused(&o, FVM_EFORMAT, "does not fit the state");
}
END_TEST

START_TEST(begin) { ck_assert_ptr_nonnull(mkdtemp(dir)); }
END_TEST

START_TEST(end) {
  unlink(plan_path());
  ck_assert_int_eq(rmdir(dir), 0);
}
END_TEST

UNIT_MAIN("state", begin, nothing_copies_the_cache, tokens_in_turn, window_that_moves,
          separate_places, only_what_is_new_is_copied, copies_are_in_the_network,
          wrong_states_are_found, append_means_concat, end)
