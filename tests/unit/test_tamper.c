/* A plan that the planner wrote, and what becomes of it when one thing in it is changed and all
 * checksums are made right again: the reader or the checker refuses it and says why. In the end
 * each byte of the file is changed in turn; what may change unseen is listed here. */
#include "unit.h"

#include <string.h>
#include <unistd.h>

#include "../../scheduler/plan_build.h"
#include "mkplan.h"

/* Products of packed weights, a view, a join, conversions, and in a second thread. */
static const char products[] = "graph net opset=17\n"
                               "input x:f32[8,16]\n"
                               "const w:f32[16,24] = #0\n"
                               "const v:f32[24,16] = #0\n"
                               "const s:i64[2] = {4, 32}\n"
                               "a = MatMul(x, w) @first\n"
                               "b = Softmax(a) @soft\n"
                               "c = MatMul(b, v) @second\n"
                               "r = Reshape(c, s) @view\n"
                               "j = Concat(r, r) @join axis=0\n"
                               "y = Softmax(j) @last axis=0\n"
                               "u = MatMul(c, w) @third\n"
                               "z = Mul(u, b) @late\n"
                               "output y\n"
                               "output z\n";
/* Two states, appended to. */
static const char states[] =
    "graph states opset=17\n"
    "input x:f32[1,2,4]\n"
    "input past.key:f32[1,2,3,2]\n"
    "input past.value:f32[1,2,3,2]\n"
    "const wk:f32[4,4] = {1, 2, -1, 0.5, 0.25, -2, 1, 1, 0, 1, 2, -1, 1, 1, -1, 2}\n"
    "const wv:f32[4,4] = {2, 0, 1, 0.5, -1, 1, 1, 0, 1, 2, 0, 1, -0.5, 1, 2, 0}\n"
    "const heads:i64[4] = {1, 2, 2, 2}\n"
    "const flat:i64[3] = {1, 2, 4}\n"
    "km = MatMul(x, wk) @km\n"
    "ks = Reshape(km, heads) @ks\n"
    "k = Transpose(ks) @k perm=[0,2,1,3]\n"
    "vm = MatMul(x, wv) @vm\n"
    "vs = Reshape(vm, heads) @vs\n"
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
/* Images, in layouts of which some have blocks; pieces are made in their places. */
static const char images[] = "graph images opset=17\n"
                             "input x:f32[1,16,5,5]\n"
                             "const w:f32[16,16,1,1] = #0\n"
                             "const v:f32[16,16,1,1] = #0\n"
                             "a = Conv(x, w) @one\n"
                             "b = Conv(a, v) @two\n"
                             "c = Concat(a, b) @both axis=1\n"
                             "d = MaxPool(c) @pool kernel_shape=[2,2] strides=[2,2]\n"
                             "output d\n";
/* One step runs two nodes. */
static const char chains[] = "graph chains opset=17\n"
                             "input x:f32[1,16,6,6]\n"
                             "const w:f32[32,16,1,1] = #0\n"
                             "const v:f32[32,1,3,3] = #0\n"
                             "a = Conv(x, w) @expand\n"
                             "y = Conv(a, v) @depthwise pads=[1,1,1,1] group=32\n"
                             "output y\n";
static const struct plan_options options = {.target = {.threads = {1, 2}, .nthreads = 2},
                                            .max_ticks = 1000000,
                                            .build = "build",
                                            .machine = "machine"};
static struct fvm_error err;

struct made {
  struct graph *g;
  struct cost *cost;
  struct mkplan file; /* its sections are the written file's */
};

/* ---- the plan -------------------------------------------------------------------------------- */
static struct graph *make_graph(const char *net) {
  struct graph *g;
  OK(graph_parse(net, strlen(net), &g, &err));
  OK(pipeline_run(g, NULL, &err));
  for (size_t t = 0; t < g->tensor.n; t++) {
    struct tensor *x = &g->tensor.v[t].t;
    if (!x->data || x->dtype != FVM_F32) continue;
    float *weight = ARENA_NEW(&g->arena, float, tensor_count(x));
    for (int64_t i = 0; i < tensor_count(x); i++) weight[i] = (float)(i % 37) / 8 + 1;
    x->data = weight;
  }
  return g;
}

/* Some of everything: a conversion, a copy, a step on two threads, one in place. */
static bool has_all(const struct schedule *s) {
  bool converts = false, copies = false, threads = false, place = false;
  for (size_t i = 0; i < s->step.n; i++) {
    const struct sched_step *x = &s->step.v[i];
    bool moves = x->node < 0;
    bool copy = moves && s->value.v[x->in_value].layout == s->value.v[x->out_value].layout;
    converts |= moves && !copy;
    copies |= copy;
    threads |= !moves && x->threads == 2;
    place |= !moves && x->label.inplace && !strcmp(s->graph->node.v[x->node].name, "soft");
  }
  return converts && copies && threads && place;
}

static void take_sections(struct mkplan *m, const char *path) {
  struct fvm_plan *p;
  OK(fvm_load(path, &p, &err));
  for (int s = 0; s < PLAN_SECTIONS; s++)
    mk_put(m, (enum plan_section)s, p->base + p->section[s].offset, p->section[s].bytes);
  fvm_unload(p);
}

/* Which of the plans under random costs are worth it. */
static bool will_do(const struct schedule *s, const char *net) {
  for (size_t i = 0; i < s->step.n && net == chains; i++)
    if (s->step.v[i].first >= 0) return true;
  return net == products ? has_all(s) : net == states || (net == images && s->conversions > 0);
}

static void make_net(struct made *m, const char *net) {
  char path[] = "/tmp/test_tamper.XXXXXX";
  struct schedule *s = NULL;
  *m = (struct made){.g = make_graph(net)};
  for (uint64_t seed = 1; !s; seed++) {
    ck_assert_uint_lt(seed, 2000);
    m->cost = cost_random_new(seed);
    ck_assert_ptr_nonnull(m->cost);
    OK(schedule_graph(m->g, m->cost, &options, &s, &err));
    if (will_do(s, net)) break;
    schedule_free(s);
    cost_free(m->cost);
    s = NULL;
  }
  int fd = mkstemp(path);
  ck_assert_int_ge(fd, 0);
  close(fd);
  OK(plan_write(s, &options, path, &err));
  schedule_free(s);
  take_sections(&m->file, path);
  unlink(path);
}

static void make(struct made *m) { make_net(m, products); }

static void unmake(struct made *m) {
  mk_free(&m->file);
  cost_free(m->cost);
  graph_free(m->g);
}

static enum fvm_status check_bytes(const struct made *m, const unsigned char *bytes, size_t n,
                                   bool *loaded) {
  const struct check_with with = {m->g, &options.target, m->cost};
  struct fvm_plan *p;
  err = (struct fvm_error){0};
  enum fvm_status st = plan_load_memory(bytes, n, &p, &err);
  *loaded = st == FVM_OK;
  if (st != FVM_OK) return st;
  st = check_plan_with(p, &with, &err);
  fvm_unload(p);
  return st;
}

/* ---- one thing changed ----------------------------------------------------------------------- */
#define ROWS(m, s, T) ((T *)(void *)(m)->file.section[s].v)
#define META(m) ROWS(m, PLAN_META, struct plan_meta)
#define STEP(m, name) (&ROWS(m, PLAN_STEPS, struct plan_step)[step_at(m, name)])
#define BIND(m, name, i) (&ROWS(m, PLAN_BINDS, struct plan_bind)[STEP(m, name)->first_bind + (i)])
#define ROW(m, name) (&ROWS(m, PLAN_TENSORS, struct plan_tensor)[row_at(m, name)])

static const char *text_at(const struct made *m, uint32_t at) {
  return (const char *)m->file.section[PLAN_STRINGS].v + at;
}
static uint32_t count(const struct made *m, enum plan_section s, size_t size) {
  return (uint32_t)(m->file.section[s].n / size);
}
/* The first step, row whose name begins so. */
static uint32_t step_at(const struct made *m, const char *name) {
  for (uint32_t i = 0; i < count(m, PLAN_STEPS, sizeof(struct plan_step)); i++)
    if (!strncmp(text_at(m, ROWS(m, PLAN_STEPS, struct plan_step)[i].name), name, strlen(name)))
      return i;
  ck_abort_msg("no step %s", name);
}
static uint32_t row_at(const struct made *m, const char *name) {
  for (uint32_t i = 0; i < count(m, PLAN_TENSORS, sizeof(struct plan_tensor)); i++)
    if (!strcmp(text_at(m, ROWS(m, PLAN_TENSORS, struct plan_tensor)[i].name), name)) return i;
  ck_abort_msg("no row %s", name);
}

/* Another label of the product with the same layouts and threads. */
static void other_label(struct made *m) {
  struct arena a = {0};
  struct opcall c;
  struct label l;
  const char *own = text_at(m, STEP(m, "first")->label), *tail = strstr(own, " in=");
  int node = 0;
  while (strcmp(m->g->node.v[node].name, "first") != 0) node++;
  OK(graph_opcall(m->g, node, &a, &c, &err));
  for (int i = 0; opcall_label(&c, &options.target, i, &l); i++) {
    struct text t = {0};
    label_text(&c, &l, &t);
    bool other = strstr(t.v, tail) && strcmp(t.v, own) != 0;
    uint32_t at = other ? mk_text(&m->file, t.v) : 0;
    text_free(&t);
    if (!other) continue;
    STEP(m, "first")->label = at;
    break;
  }
  arena_free(&a);
}

/* The conversion's label with its layouts the other way round. */
static void turn_conversion(struct made *m) {
  char text[100], from[20], to[20];
  const char *label = text_at(m, STEP(m, "convert ")->label);
  int threads;
  ck_assert_int_eq(sscanf(label, "convert threads=%d in=%19s out=%19s", &threads, from, to), 3);
  snprintf(text, sizeof text, "convert threads=%d in=%s out=%s", threads, to, from);
  uint32_t at = mk_text(&m->file, text);
  STEP(m, "convert ")->label = at;
}

static void swap_binds(struct made *m, const char *step) {
  struct plan_bind t = *BIND(m, step, 0);
  *BIND(m, step, 0) = *BIND(m, step, 1);
  *BIND(m, step, 1) = t;
}

static void shift_rows(struct made *m, uint32_t step, int by) {
  for (uint32_t i = 0; i < count(m, PLAN_TENSORS, sizeof(struct plan_tensor)); i++) {
    struct plan_tensor *t = &ROWS(m, PLAN_TENSORS, struct plan_tensor)[i];
    if (t->first >= step && t->first > 0) t->first += (uint32_t)by;
    if (t->last >= step) t->last += (uint32_t)by;
  }
}

static uint32_t buffers_of(const struct made *m, uint32_t step) {
  uint32_t program = ROWS(m, PLAN_STEPS, struct plan_step)[step].program;
  return ROWS(m, PLAN_PROGRAMS, struct plan_program)[program].nbuf;
}

static void move_binds(struct made *m, uint32_t step, int64_t by) {
  for (uint32_t i = step; i < count(m, PLAN_STEPS, sizeof(struct plan_step)); i++)
    ROWS(m, PLAN_STEPS, struct plan_step)[i].first_bind += (uint32_t)by;
}

static void drop_binds(struct made *m, uint32_t step) {
  uint32_t at = ROWS(m, PLAN_STEPS, struct plan_step)[step].first_bind, k = buffers_of(m, step);
  struct plan_bind *b = ROWS(m, PLAN_BINDS, struct plan_bind);
  memmove(&b[at], &b[at + k], (count(m, PLAN_BINDS, sizeof *b) - at - k) * sizeof *b);
  m->file.section[PLAN_BINDS].n -= k * sizeof *b;
  move_binds(m, step + 1, -(int64_t)k);
}

static void repeat_binds(struct made *m, uint32_t step) {
  uint32_t at = ROWS(m, PLAN_STEPS, struct plan_step)[step].first_bind, k = buffers_of(m, step);
  for (uint32_t i = 0; i < k; i++)
    mk_put(&m->file, PLAN_BINDS, &(struct plan_bind){0}, sizeof(struct plan_bind));
  struct plan_bind *b = ROWS(m, PLAN_BINDS, struct plan_bind);
  memmove(&b[at + k], &b[at], (count(m, PLAN_BINDS, sizeof *b) - at - k) * sizeof *b);
  move_binds(m, step + 1, k);
}

/* A step that works in place goes, and everything else is as if it had never been. */
static void drop_step(struct made *m, const char *name) {
  uint32_t at = step_at(m, name), n = count(m, PLAN_STEPS, sizeof(struct plan_step));
  struct plan_step *s = ROWS(m, PLAN_STEPS, struct plan_step);
  META(m)->predicted_ns -= s[at].cost_ns;
  META(m)->layout_cost_ns -= s[at].cost_ns;
  META(m)->layout_bound_ns = 0;
  drop_binds(m, at);
  memmove(&s[at], &s[at + 1], (n - at - 1) * sizeof *s);
  m->file.section[PLAN_STEPS].n -= sizeof *s;
  shift_rows(m, at, -1);
}

static void repeat_step(struct made *m, const char *name) {
  uint32_t at = step_at(m, name);
  struct plan_step copy = *STEP(m, name);
  mk_put(&m->file, PLAN_STEPS, &copy, sizeof copy);
  struct plan_step *s = ROWS(m, PLAN_STEPS, struct plan_step);
  uint32_t n = count(m, PLAN_STEPS, sizeof *s);
  memmove(&s[at + 1], &s[at], (n - at - 1) * sizeof *s);
  s[at] = copy;
  META(m)->predicted_ns += copy.cost_ns;
  META(m)->layout_cost_ns += copy.cost_ns;
  repeat_binds(m, at);
  shift_rows(m, at + 1, 1);
}

/* A step takes longer, and so do sums. */
static void add_ns(struct made *m, const char *name) {
  STEP(m, name)->cost_ns++;
  META(m)->predicted_ns++;
  META(m)->layout_cost_ns++;
}

/* Everything that stands where a tensor stands in the arena moves to where another begins. */
static void move_onto(struct made *m, const char *name, const char *other) {
  uint64_t from = ROW(m, name)->offset, to = from + ROW(m, name)->bytes;
  int64_t by = (int64_t)ROW(m, other)->offset - (int64_t)from;
  for (uint32_t i = 0; i < count(m, PLAN_TENSORS, sizeof(struct plan_tensor)); i++) {
    struct plan_tensor *t = &ROWS(m, PLAN_TENSORS, struct plan_tensor)[i];
    if (t->space == SPACE_ARENA && t->offset >= from && t->offset < to) t->offset += (uint64_t)by;
  }
  for (uint32_t i = 0; i < count(m, PLAN_BINDS, sizeof(struct plan_bind)); i++) {
    struct plan_bind *b = &ROWS(m, PLAN_BINDS, struct plan_bind)[i];
    if (b->space == SPACE_ARENA && b->offset >= from && b->offset < to) b->offset += (uint64_t)by;
  }
}

#define TAMPERS(T)                                                                                 \
  T(cost, add_ns(m, "first"), "(first): its cost is")                                              \
  T(conversion_cost, add_ns(m, "convert "), "its cost is")                                         \
  T(labels, META(m)->layout_cost_ns++, "but the steps without copies of outputs")                  \
  T(sum, STEP(m, "first")->cost_ns++, "but the steps sum up to")                                   \
  T(other_label, other_label(m), "(first): its program is not its label's")                        \
  T(no_label,                                                                                      \
    STEP(m, "soft")->label = mk_text(&m->file, "softmax_rows rows=7 in=row out=row"                \
                                               " threads=1 inplace=1"),                            \
    "(soft): its label is none that its operator has here")                                        \
  T(threads, STEP(m, "first")->threads ^= 3, "(first): ")                                          \
  T(other_program, STEP(m, "last")->program = STEP(m, "soft")->program, "step ")                   \
  T(read_offset, BIND(m, "second", 0)->offset += 64, "step ")                                      \
  T(overlap, move_onto(m, "c", "b"), "while it lives")                                             \
  T(height, META(m)->arena_bytes += 64, "its tensors end at")                                      \
  T(weight, m->file.section[PLAN_WEIGHTS].v[5] ^= 1, "constant w: value differs")                  \
  T(stream, META(m)->stream_bytes -= 64, "weights: a run reads the first")                         \
  T(direction, turn_conversion(m), "buffer 0 is not tensor")                                       \
  T(turned, swap_binds(m, "convert "), "step ")                                                    \
  T(other_tensor, STEP(m, "convert ")->name = mk_text(&m->file, "convert a"), "step ")             \
  T(kind, STEP(m, "copy ")->name = mk_text(&m->file, "convert r"), "no conversion of that kind")   \
  T(missing, drop_step(m, "soft"), "node soft is neither run by a step nor a view")                \
  T(repeated, repeat_step(m, "soft"), "(soft): writes where no tensor begins")                     \
  T(stranger, STEP(m, "first")->name = mk_text(&m->file, "nobody"), "neither a node of the model") \
  T(layout, ROW(m, "b")->layout ^= LAYOUT_ROW ^ LAYOUT_COL, "is not tensor 'b' in")                \
  T(view, ROW(m, "r")->offset = ROW(m, "b")->offset, "(r): begins with another step")              \
  T(row_name, ROW(m, "r")->name = ROW(m, "c")->name, "not a tensor of the model in that layout")   \
  T(model, META(m)->model_hash++, "made for another model")

#define TAMPER(name, change, text)                                                                 \
  static void tamper_##name(struct made *m) { change; }
TAMPERS(TAMPER)
#undef TAMPER
static const struct tamper {
  const char *name, *text;
  void (*change)(struct made *m);
} tampers[] = {
#define TAMPER(name, change, text) {#name, text, tamper_##name},
    TAMPERS(TAMPER)
#undef TAMPER
};

START_TEST(each_change_is_named) {
  struct made m;
  bool loaded;
  make(&m);
  mk_finish(&m.file);
  OK(check_bytes(&m, m.file.bytes, m.file.n, &loaded));
  unmake(&m);
  for (size_t i = 0; i < COUNT(tampers); i++) {
    make(&m);
    tampers[i].change(&m);
    mk_finish(&m.file);
    enum fvm_status st = check_bytes(&m, m.file.bytes, m.file.n, &loaded);
    ck_assert_msg(st == FVM_EFORMAT, "%s passes", tampers[i].name);
    ck_assert_msg(strstr(err.text, tampers[i].text) != NULL, "%s: %s", tampers[i].name, err.text);
    unmake(&m);
  }
}
END_TEST

/* ---- every byte ------------------------------------------------------------------------------ */
/* What may change unseen: texts for people, and numbers that are claims of a run or of the solvers,
 * which no check of the file alone can repeat; `plan` holds them against certificates and outputs.
 */
static bool is_harmless(const struct made *m, enum plan_section s, size_t at) {
  static const struct {
    size_t from, to;
  } meta[] = {
      {offsetof(struct plan_meta, model), offsetof(struct plan_meta, threads)},
      {offsetof(struct plan_meta, max_error), offsetof(struct plan_meta, predicted_ns)},
      {offsetof(struct plan_meta, layout_bound_ns), offsetof(struct plan_meta, order_peak_bytes)},
      {offsetof(struct plan_meta, order_bound_bytes),
       offsetof(struct plan_meta, arena_bound_bytes)}};
  const uint32_t text[] = {META(m)->model, META(m)->build, META(m)->machine};
  for (size_t i = 0; s == PLAN_META && i < COUNT(meta); i++)
    if (at >= meta[i].from && at < meta[i].to) return true;
  for (size_t i = 0; s == PLAN_STRINGS && i < COUNT(text); i++)
    if (at >= text[i] && at <= text[i] + strlen(text_at(m, text[i]))) return true;
  return s == PLAN_REPORT;
}

static enum plan_section section_at(const struct plan_entry *e, size_t at) {
  int s = 0;
  while (s < PLAN_SECTIONS - 1 && e[s + 1].offset <= at) s++;
  return (enum plan_section)s;
}

/* With checksums as they were no change passes; with checksums made right, the harmless ones. */
static void flip_bytes(const char *net, int *passed) {
  struct made m;
  struct plan_header h;
  struct plan_entry e[PLAN_SECTIONS];
  bool loaded;
  make_net(&m, net);
  mk_finish(&m.file);
  unsigned char *b = m.file.bytes;
  memcpy(&h, b, sizeof h);
  memcpy(e, b + sizeof h, sizeof e);
  size_t reports = e[PLAN_REPORT].bytes;
  for (size_t i = 0; i < 2 * m.file.n; i++) {
    size_t at = i / 2;
    enum plan_section s = section_at(e, at);
    unsigned char was = b[at];
    b[at] ^= i % 2 ? 0xff : (unsigned char)(1 << at % 8);
    ck_assert_msg(check_bytes(&m, b, m.file.n, &loaded) != FVM_OK, "byte %zu passes", at);
    ck_assert_str_ne(err.text, "");
    if (at >= sizeof h + sizeof e) {
      mk_checksums(b, m.file.n);
      bool ok = check_bytes(&m, b, m.file.n, &loaded) == FVM_OK;
      passed[s] += ok;
      ck_assert_msg(!ok || is_harmless(&m, s, at - e[s].offset), "byte %zu of %s passes",
                    at - (size_t)e[s].offset, plan_section_name(s));
      memcpy(b, &h, sizeof h);
      memcpy(b + sizeof h, e, sizeof e);
    }
    b[at] = was;
  }
  ck_assert_int_eq(passed[PLAN_REPORT], 2 * (int)reports);
  ck_assert(passed[PLAN_META] > 0 && passed[PLAN_STRINGS] > 0);
  unmake(&m);
}

START_TEST(each_byte_is_checked) {
  static const char *const nets[] = {products, states, images, chains};
  for (size_t i = 0; i < COUNT(nets); i++) flip_bytes(nets[i], (int[PLAN_SECTIONS]){0});
}
END_TEST

/* A word of a program that changes and can still be run is found, too. */
START_TEST(changed_programs_are_found) {
  struct made m;
  int run = 0;
  bool loaded;
  make(&m);
  mk_finish(&m.file);
  struct plan_entry e[PLAN_SECTIONS];
  memcpy(e, m.file.bytes + sizeof(struct plan_header), sizeof e);
  for (size_t i = 0; i < e[PLAN_CODE].bytes; i++) {
    unsigned char *b = m.file.bytes + e[PLAN_CODE].offset + i, was = *b;
    *b ^= 1;
    mk_checksums(m.file.bytes, m.file.n);
    ck_assert_int_ne(check_bytes(&m, m.file.bytes, m.file.n, &loaded), FVM_OK);
    run += loaded && (strstr(err.text, "its program is not its label's") ||
                      strstr(err.text, "its program is not that conversion's"));
    *b = was;
  }
  ck_assert_int_gt(run, 0);
  unmake(&m);
}
END_TEST

UNIT_MAIN("tamper", each_change_is_named, changed_programs_are_found, each_byte_is_checked)
