/* A generated grid of images: every label of every candidate for convolutions, pools, norms and
 * what moves or combines images, against the reference, on every ISA in turn. What occurred is
 * counted, and each candidate in each of its layouts must have occurred often enough.
 *
 * FLUIDVM_GRID=P draws P per cent of the usual number of cases (and expects as many of each);
 * FLUIDVM_ISA names the best ISA that is tried. */
#include <string.h>

#include "opcheck.h"

static struct opcase o;

/* ---- what occurred --------------------------------------------------------------------------- */

/* Labels by candidate and layouts of the first input, of the weights and of the output; and whether
 * channels of one of these do not fill the blocks of its layout. */
static struct seen {
  const char *cand;
  enum layout in, weights, out;
  bool pads;
  int n[ISA_COUNT];
} seen[400];
static int nseen;

static void count(const struct label *l) {
  enum layout weights = strncmp(l->cand->name, "conv_", 5) ? LAYOUT_ROW : label_in(l, 1);
  struct seen s = {l->cand->name, label_in(l, 0), weights, label_out(l, 0), false, {0}};
  s.pads = layout_pads(&o.in[0], s.in) || layout_pads(&o.out[0], s.out);
  int i = 0;
  while (i < nseen &&
         (strcmp(seen[i].cand, s.cand) || seen[i].in != s.in || seen[i].weights != s.weights ||
          seen[i].out != s.out || seen[i].pads != s.pads))
    i++;
  ck_assert_int_lt(i, (int)COUNT(seen));
  if (i == nseen) seen[nseen++] = s;
  seen[i].n[o.target.isa]++;
}

static int percent(void) {
  const char *e = getenv("FLUIDVM_GRID");
  int n = e ? atoi(e) : 100;
  return n > 0 ? n : 100;
}

static uint64_t cases(uint64_t n) { return n * (uint64_t)percent() / 100; }

/* Run a case whose inputs are complete. */
static void run(void) {
  struct label l;
  opcase_reference(&o);
  for (int i = 0; opcall_label(&o.c, &o.target, i, &l); i++) count(&l);
  opcase_run(&o);
}

/* ---- random numbers -------------------------------------------------------------------------- */

static int64_t below(int64_t n) { return opcase_random(&o, n); }
static int64_t upto(int64_t n) { return 1 + below(n); }
static bool one_in(int64_t n) { return below(n) == 0; }
#define PICK(...)                                                                                  \
  ((const int64_t[]){__VA_ARGS__})[below((int64_t)COUNT(((const int64_t[]){__VA_ARGS__})))]

/* Whole blocks of 16 half of the time, else about them, or any. */
static int64_t channels(void) {
  if (one_in(2)) return PICK(16, 32, 48, 64);
  return one_in(2) ? upto(67) : PICK(1, 3, 15, 17, 24, 31, 33, 67);
}

static int64_t extent(void) { return one_in(2) ? upto(33) : PICK(1, 2, 7, 8, 14, 16, 17, 28, 33); }

static void begin(const char *op, int opset, uint64_t seed) {
  opcase_init_seeded(&o, op, opset, seed + 1);
  o.target.isa = (enum isa)(seed % ((uint64_t)cpu_isa() + 1));
  o.target.l1_bytes = PICK(4 << 10, 32 << 10);
  o.target.l2_bytes = PICK(8 << 10, 64 << 10, 1 << 20);
  o.as_meant = true;
}

/* ---- shapes ---------------------------------------------------------------------------------- */

enum { MOST_ND = 3 };
struct shape {
  int nd;
  int64_t n, groups, in, out; /* channels of a group */
  int64_t size[MOST_ND], k[MOST_ND], stride[MOST_ND], dilation[MOST_ND], pad[2 * MOST_ND];
};

static int64_t reach(const struct shape *s, int i) { return (s->k[i] - 1) * s->dilation[i] + 1; }

/* Windows of at most so many taps an axis; `pads` more than would let a window lie outside. */
static void draw_window(struct shape *s, int64_t k, int64_t stride, int64_t dilation,
                        int64_t beyond) {
  bool square = !one_in(4);
  for (int i = 0; i < s->nd; i++) {
    s->k[i] = square && i ? s->k[0] : upto(k);
    s->stride[i] = square && i ? s->stride[0] : upto(stride);
    s->dilation[i] = s->k[i] > 1 && one_in(4) ? upto(dilation) : 1;
  }
  int64_t same = below(3);
  for (int i = 0; i < 2 * s->nd; i++) {
    int64_t r = reach(s, i % s->nd);
    s->pad[i] = same == 0 ? 0 : same == 1 ? r / 2 : below(r + beyond);
  }
}

static int64_t outputs(const struct shape *s, int i) {
  int64_t room = s->size[i] + s->pad[i] + s->pad[s->nd + i] - reach(s, i);
  return room < 0 ? 0 : room / s->stride[i] + 1;
}

static int64_t work(const struct shape *s) {
  int64_t n = s->n * s->groups * s->in * s->out;
  for (int i = 0; i < s->nd; i++) n *= s->k[i] * outputs(s, i);
  return n;
}

/* The reference computes about 1e9 products a second, and interpreters take their time as well. */
enum { MOST_WORK = 1100000 };
static bool is_possible(const struct shape *s) {
  int64_t n = work(s);
  return n > 0 && n <= MOST_WORK;
}

/* ---- kinds of convolutions ------------------------------------------------------------------- */

static void draw_any(struct shape *s) { draw_window(s, 5, 3, 3, 2); }

static void draw_grouped(struct shape *s) {
  s->groups = PICK(2, 3, 4, 8);
  s->in = upto(16);
  s->out = upto(17);
  draw_window(s, 4, 3, 2, 1);
}

static void draw_depthwise(struct shape *s) {
  s->groups = channels();
  s->in = 1;
  s->out = one_in(8) ? 2 : 1;
  draw_window(s, PICK(3, 5, 9), 2, 2, 1);
}

/* One pixel at a time, seldom with strides or borders. */
static void draw_pointwise(struct shape *s) {
  draw_window(s, 1, one_in(4) ? 2 : 1, 1, 0);
  if (one_in(8)) s->pad[0] = s->pad[3] = 1;
}

/* The same with enough channels for Strassen's product, once or twice. */
static void draw_strassen(struct shape *s) {
  draw_window(s, 1, 1, 1, 0);
  s->n = 1;
  s->in = PICK(64, 66, 128, 128);
  s->out = PICK(64, 65, 96, 128, 128);
  s->size[0] = 8;
  s->size[1] = PICK(2, 5, 8, 8);
}

static void draw_winograd(struct shape *s) {
  draw_window(s, 1, 1, 1, 0);
  s->k[0] = s->k[1] = PICK(3, 3, 3, 5);
  for (int i = 0; i < 4; i++) s->pad[i] = PICK(0, 1, 1, 2);
  if (one_in(3)) return;
  s->in = PICK(1, 3, 5, 16, 16, 10, 24); /* large tiles pay on large images */
  s->out = PICK(16, 32, 32, 48, 64, 24, 40);
  s->size[0] = 4 + upto(20);
  s->size[1] = 4 + upto(20);
}

/* The first layer of a network. */
static void draw_few(struct shape *s) {
  s->in = upto(4);
  draw_window(s, PICK(3, 7, 11), 4, 1, 0);
}

static void draw_blocks(struct shape *s) {
  s->in = 16 * upto(4);
  s->out = 16 * upto(4);
  draw_window(s, 4, 2, 2, 1);
}

static void draw_line(struct shape *s) {
  s->nd = 1;
  draw_window(s, 9, 3, 3, 2);
}

static void draw_volume(struct shape *s) {
  s->nd = 3;
  s->in = upto(16);
  draw_window(s, 3, 2, 2, 1);
  if (!one_in(3)) return;
  s->size[0] = s->k[0] = s->stride[0] = s->dilation[0] = 1;
  s->pad[0] = s->pad[3] = 0;
}

static void (*const kinds[])(struct shape *) = {
    draw_any,    draw_grouped,  draw_depthwise, draw_pointwise, draw_winograd, draw_few,
    draw_blocks, draw_winograd, draw_line,      draw_strassen,  draw_volume};

static void draw_shape(struct shape *s, size_t kind) {
  do {
    *s = (struct shape){.nd = 2, .n = PICK(1, 1, 1, 2, 3), .groups = 1};
    s->in = channels();
    s->out = channels();
    for (int i = 0; i < MOST_ND; i++) s->size[i] = extent();
    kinds[kind](s);
  } while (!is_possible(s));
}

/* ---- operators ------------------------------------------------------------------------------- */

/* A body on the value `at`, whose inputs come from here on: what networks fuse. */
static void add_body(int64_t kind, int at, struct tensor out) {
  opcase_own(&o);
  out.dim[0] = one_in(2) ? 1 : out.dim[0];
  int64_t one = 1, each[FVM_MAXRANK] = {out.dim[0], out.dim[1], 1, 1, 1};
  int added = kind == 2 || kind == 5 || kind == 6 ? 1 : kind == 1 ? 2 : 0, r = at + added;
  if (kind == 1) {
    opcase_const(&o, FVM_F32, 0, NULL, (double[]){-0.5});
    opcase_const(&o, FVM_F32, 1, &one, (double[]){0.75});
    opcase_item(&o, "Clip", FVM_F32, 3, (int[]){r, at, at + 1});
  } else if (kind == 2 || kind == 6) {
    opcase_in(&o, FVM_F32, o.out[0].rank, o.out[0].dim);
    opcase_item(&o, "Add", FVM_F32, 2, (int[]){kind == 2 ? at : r, kind == 2 ? r : at});
    opcase_item(&o, kind == 2 ? "Relu" : "Silu", FVM_F32, 1, (int[]){r + 1});
  } else if (kind == 5) {
    opcase_in(&o, FVM_F32, out.rank, each);
    opcase_item(&o, "HardSwish", FVM_F32, 1, (int[]){r});
    opcase_item(&o, "Mul", FVM_F32, 2, (int[]){r + 1, at});
  } else {
    const char *const op = kind == 0 ? "Relu" : kind == 3 ? "Silu" : "HardSwish";
    opcase_item(&o, op, FVM_F32, 1, (int[]){r});
  }
}
enum { BODIES = 7 };

static void make_constant(void) { o.in[o.c.nin - 1].data = o.x[o.c.nin - 1]; }

/* Weights are scaled so that sums are of the size of the image's values. */
static void add_weights(const struct shape *s, int64_t first, int64_t second) {
  int64_t dim[FVM_MAXRANK] = {first, second}, outs = s->groups * s->out, sum = s->in;
  for (int i = 0; i < s->nd; i++) sum *= dim[2 + i] = s->k[i];
  while (o.hi * o.hi * (double)sum > 4) o.hi /= 2;
  o.lo = -o.hi;
  opcase_in(&o, FVM_F32, 2 + s->nd, dim);
  if (!one_in(8)) make_constant();
  o.hi = 1;
  o.lo = -1;
  if (one_in(4)) {
    if (one_in(2)) opcase_absent(&o);
    return;
  }
  opcase_in(&o, FVM_F32, 1, &outs);
  if (!one_in(8)) make_constant();
}

static void add_attributes(const struct shape *s) {
  opcase_attr_ints(&o, "kernel_shape", s->nd, s->k);
  opcase_attr_ints(&o, "strides", s->nd, s->stride);
  opcase_attr_ints(&o, "dilations", s->nd, s->dilation);
  opcase_attr_ints(&o, "pads", 2 * s->nd, s->pad);
}

static void add_image(const struct shape *s, int64_t c) {
  int64_t dim[FVM_MAXRANK] = {s->n, c};
  memcpy(dim + 2, s->size, sizeof s->size);
  o.hi = 1;
  o.lo = -1;
  opcase_in(&o, FVM_F32, 2 + s->nd, dim);
}

static void add_random_body(void) {
  struct fvm_error err;
  OK(opcall_shape(&o.c, &err));
  if (!one_in(4)) add_body(below(BODIES), o.c.nin, o.out[0]);
}

enum { CONVS = 297, POOLS = 135, GLOBALS = 36, NORMS = 36, MOVES = 108, TRANSPOSED = 45 };

START_TEST(convolutions) {
  for (uint64_t i = 0; i < cases(CONVS); i++) {
    struct shape s;
    begin("Conv", 14, i);
    draw_shape(&s, i / ISA_COUNT % COUNT(kinds));
    add_attributes(&s);
    if (s.groups > 1) opcase_attr_int(&o, "group", s.groups);
    add_image(&s, s.groups * s.in);
    add_weights(&s, s.groups * s.out, s.in);
    add_random_body();
    run();
  }
}
END_TEST

/* Inputs are what a convolution has for outputs. */
static int64_t transposed_work(const struct shape *s) {
  int64_t n = s->n * s->groups * s->in * s->out;
  for (int i = 0; i < s->nd; i++) {
    int64_t size = (s->size[i] - 1) * s->stride[i] + reach(s, i) - s->pad[i] - s->pad[s->nd + i];
    n *= s->size[i] * s->k[i] * (size > 0);
  }
  return n;
}

static void draw_transposed(struct shape *s, uint64_t i) {
  static void (*const of[])(struct shape *) = {draw_any, draw_grouped, draw_line, draw_blocks,
                                               draw_volume};
  do {
    *s = (struct shape){.nd = 2, .n = upto(2), .groups = 1, .in = channels(), .out = channels()};
    for (int k = 0; k < MOST_ND; k++) s->size[k] = extent();
    of[i % COUNT(of)](s);
  } while (transposed_work(s) == 0 || transposed_work(s) > MOST_WORK);
}

START_TEST(transposed) {
  for (uint64_t i = 0; i < cases(TRANSPOSED); i++) {
    struct shape s;
    begin("ConvTranspose", 14, i);
    draw_transposed(&s, i / ISA_COUNT);
    add_attributes(&s);
    opcase_attr_int(&o, "group", s.groups);
    add_image(&s, s.groups * s.in);
    add_weights(&s, s.groups * s.in, s.out);
    add_random_body();
    run();
  }
}
END_TEST

/* Each window of a pool meets the image, so pads are less than it. */
static void draw_pool(struct shape *s) {
  do {
    *s = (struct shape){.nd = (int)PICK(1, 2, 2, 2, 2, 2, 3), .n = upto(3), .groups = channels()};
    s->in = s->out = 1;
    for (int i = 0; i < MOST_ND; i++) s->size[i] = extent();
    draw_window(s, PICK(2, 3, 5, 9), 3, 1, 0);
  } while (!is_possible(s));
}

START_TEST(pools) {
  static const char *const op[] = {"MaxPool", "AveragePool", "LpPool"};
  for (uint64_t i = 0; i < cases(POOLS); i++) {
    struct shape s;
    uint64_t kind = i / ISA_COUNT % COUNT(op);
    begin(op[kind], 19, i);
    draw_pool(&s);
    add_attributes(&s);
    opcase_attr_int(&o, "ceil_mode", below(2));
    if (kind == 1) opcase_attr_int(&o, "count_include_pad", below(2));
    if (kind == 2) opcase_attr_int(&o, "p", upto(3));
    add_image(&s, s.groups);
    if (kind < 2) add_random_body();
    run();
  }
}
END_TEST

START_TEST(global_pools) {
  static const char *const op[] = {"GlobalAveragePool", "GlobalMaxPool", "ReduceMean", "ReduceMax"};
  for (uint64_t i = 0; i < cases(GLOBALS); i++) {
    uint64_t kind = i / ISA_COUNT % COUNT(op);
    begin(op[kind], kind < 2 ? 14 : 13, i);
    struct shape s = {.nd = 2, .n = upto(3), .size = {extent(), extent()}};
    if (kind >= 2) opcase_attr_ints(&o, "axes", 2, (int64_t[]){2, 3});
    if (kind >= 2) opcase_attr_int(&o, "keepdims", below(2));
    add_image(&s, channels());
    if (kind < 2) add_random_body();
    run();
  }
}
END_TEST

static void draw_image(struct shape *s) {
  do *s = (struct shape){.nd = 2, .n = upto(3), .size = {extent(), extent()}};
  while (s->n * s->size[0] * s->size[1] > 500);
}

START_TEST(norms) {
  static const char *const op[] = {"LRN", "InstanceNormalization", "BatchNormalization"};
  for (uint64_t i = 0; i < cases(NORMS); i++) {
    uint64_t kind = i / ISA_COUNT % COUNT(op);
    struct shape s;
    begin(op[kind], 15, i);
    draw_image(&s);
    int64_t c = channels();
    if (kind == 0) opcase_attr_int(&o, "size", upto(9));
    add_image(&s, c);
    o.lo = 0.25; /* of scales and variances */
    for (int k = kind == 0 ? 0 : kind == 1 ? 2 : 4; k > 0; k--) opcase_in(&o, FVM_F32, 1, &c);
    o.tolerance = 1e-3; /* of few pixels that hardly differ */
    run();
  }
}
END_TEST

/* ---- what moves and combines images ---------------------------------------------------------- */

static void concat(uint64_t i) {
  struct shape s;
  begin("Concat", 13, i);
  draw_image(&s);
  int64_t axis = one_in(2) ? 1 : below(4), c = channels();
  bool blocks = one_in(2);
  opcase_attr_int(&o, "axis", axis);
  for (int64_t k = upto(4); k > 0; k--) {
    if (axis == 0) s.n = upto(3);
    if (axis >= 2) s.size[axis - 2] = upto(17);
    add_image(&s, axis != 1 ? c : blocks ? 16 * upto(3) - (k == 1 ? below(5) : 0) : channels());
  }
}

/* A sum of images, scaled by channel. */
static void combine(uint64_t i) {
  struct shape s;
  begin("FusedElementwise", 14, i);
  draw_image(&s);
  int64_t c = channels();
  opcase_own(&o);
  o.c.nown = 0;
  add_image(&s, c);
  add_image(&s, c);
  opcase_in(&o, FVM_F32, 4, (int64_t[]){one_in(2) ? 1 : s.n, c, 1, 1});
  opcase_in(&o, FVM_F32, 3, (int64_t[]){one_in(4) ? 1 : c, 1, 1});
  opcase_item(&o, "Add", FVM_F32, 2, (int[]){0, 1});                            /* 5 */
  opcase_item(&o, one_in(2) ? "Silu" : "HardSwish", FVM_F32, 1, (int[]){5});    /* 6 */
  opcase_item(&o, "Mul", FVM_F32, 2, (int[]){2, 6});                            /* 7 */
  opcase_item(&o, one_in(2) ? "Add" : "Sub", FVM_F32, 2, (int[]){7, 3});        /* 8 */
  if (one_in(2)) opcase_item(&o, "Max", FVM_F32, 2, (int[]){8, (int)below(2)}); /* 9 */
}

static void resample(uint64_t i) {
  struct shape s;
  begin("Resample", 13, i);
  draw_image(&s);
  int64_t axis = 2 + below(2), m = upto(33), k = upto(5);
  double index[33 * 5], weight[33 * 5], start[33];
  for (int64_t j = 0; j < k * m; j++) {
    index[j] = (double)below(s.size[axis - 2]);
    weight[j] = (double)below(100) / 50 - 1;
  }
  bool zeros = one_in(2);
  for (int64_t j = 0; j < m; j++) start[j] = zeros ? 0 : (double)below(2);
  opcase_attr_int(&o, "axis", axis);
  add_image(&s, channels());
  opcase_const(&o, FVM_I64, 2, (int64_t[]){k, m}, index);
  opcase_const(&o, FVM_F32, 2, (int64_t[]){k, m}, weight);
  opcase_const(&o, FVM_F32, 1, &m, start);
}

START_TEST(moves) {
  static void (*const draw[])(uint64_t) = {concat, combine, resample};
  for (uint64_t i = 0; i < cases(MOVES); i++) {
    draw[i / ISA_COUNT % COUNT(draw)](i);
    run();
  }
}
END_TEST

/* ---- enough of each -------------------------------------------------------------------------- */

/* Labels that each ISA must have had, in a run of the usual size. */
static const struct least {
  const char *cand;
  enum layout in, out;
  int n;
} least[] = {
    {"conv_dw", LAYOUT_ROW, LAYOUT_ROW, 10},
    {"conv_dw_last", LAYOUT_NHWC, LAYOUT_NHWC, 10},
    {"conv_dw_last", LAYOUT_C16, LAYOUT_C16, 4},
    {"conv_gemm", LAYOUT_NHWC, LAYOUT_NHWC, 80},
    {"conv_gemm", LAYOUT_ROW, LAYOUT_NHWC, 4},
    {"conv_strassen", LAYOUT_NHWC, LAYOUT_NHWC, 8},
    {"conv_direct", LAYOUT_NHWC, LAYOUT_NHWC, 50},
    {"conv_direct", LAYOUT_C16, LAYOUT_C16, 20},
    {"conv_direct", LAYOUT_ROW, LAYOUT_NHWC, 10},
    {"conv_direct", LAYOUT_ROW, LAYOUT_C16, 5},
    {"conv_im2col", LAYOUT_ROW, LAYOUT_ROW, 200},
    {"conv_winograd", LAYOUT_NHWC, LAYOUT_NHWC, 10},
    {"conv_winograd", LAYOUT_C16, LAYOUT_C16, 5},
    {"convt_cols", LAYOUT_ROW, LAYOUT_ROW, 20},
    {"pool_volumes", LAYOUT_ROW, LAYOUT_ROW, 2},
    {"pool_norms", LAYOUT_ROW, LAYOUT_ROW, 10},
    {"lrn", LAYOUT_NHWC, LAYOUT_NHWC, 4},
    {"lrn", LAYOUT_C16, LAYOUT_C16, 1},
    {"groupnorm", LAYOUT_ROW, LAYOUT_ROW, 4},
    {"pool_planes", LAYOUT_ROW, LAYOUT_ROW, 30},
    {"pool_last", LAYOUT_NHWC, LAYOUT_NHWC, 30},
    {"pool_last", LAYOUT_C16, LAYOUT_C16, 8},
    {"pool_rows", LAYOUT_ROW, LAYOUT_ROW, 5},
    {"pool_columns", LAYOUT_NHWC, LAYOUT_NHWC, 5},
    {"pool_columns", LAYOUT_C16, LAYOUT_C16, 2},
    {"reduce", LAYOUT_ROW, LAYOUT_ROW, 5},
    {"reduce_columns", LAYOUT_NHWC, LAYOUT_NHWC, 2},
    {"reduce_columns", LAYOUT_NHWC, LAYOUT_ROW, 2},
    {"join", LAYOUT_ROW, LAYOUT_ROW, 1},
    {"boxes", LAYOUT_NHWC, LAYOUT_NHWC, 10},
    {"boxes", LAYOUT_C16, LAYOUT_C16, 2},
    {"strips", LAYOUT_NHWC, LAYOUT_NHWC, 20},
    {"strips", LAYOUT_C16, LAYOUT_C16, 10},
    {"resample", LAYOUT_NHWC, LAYOUT_NHWC, 10},
    {"resample", LAYOUT_C16, LAYOUT_C16, 5},
};

/* The same with channels that do not fill the blocks of c16. */
static const struct least least_padded[] = {
    {"conv_dw_last", LAYOUT_C16, LAYOUT_C16, 4},  {"conv_direct", LAYOUT_C16, LAYOUT_C16, 20},
    {"conv_direct", LAYOUT_ROW, LAYOUT_C16, 5},   {"conv_winograd", LAYOUT_C16, LAYOUT_C16, 2},
    {"lrn", LAYOUT_C16, LAYOUT_C16, 1},           {"pool_last", LAYOUT_C16, LAYOUT_C16, 8},
    {"pool_columns", LAYOUT_C16, LAYOUT_NHWC, 2}, {"reduce_columns", LAYOUT_C16, LAYOUT_NHWC, 1},
    {"join", LAYOUT_C16, LAYOUT_C16, 1},          {"boxes", LAYOUT_C16, LAYOUT_C16, 2},
    {"strips", LAYOUT_C16, LAYOUT_C16, 3},        {"resample", LAYOUT_C16, LAYOUT_C16, 2},
};

/* The same of layouts of weights, on the ISAs that they are offered on. */
static const struct least_weights {
  enum layout weights;
  enum isa from, to;
  int n;
} least_weights[] = {
    {LAYOUT_F16, ISA_REF, ISA_AVX2, 50},       {LAYOUT_F24, ISA_AVX2, ISA_AVX2, 30},
    {LAYOUT_F32, ISA_AVX512, ISA_AVX512, 50},  {LAYOUT_F48, ISA_AVX512, ISA_AVX512, 20},
    {LAYOUT_FC16, ISA_REF, ISA_AVX512, 20},    {LAYOUT_FR16, ISA_REF, ISA_AVX512, 5},
    {LAYOUT_FC32, ISA_AVX512, ISA_AVX512, 20}, {LAYOUT_FR24, ISA_AVX2, ISA_AVX2, 5},
    {LAYOUT_FR32, ISA_AVX512, ISA_AVX512, 5},  {LAYOUT_FR48, ISA_AVX512, ISA_AVX512, 5},
    {LAYOUT_W4X16, ISA_REF, ISA_AVX512, 3},    {LAYOUT_W6X16, ISA_REF, ISA_AVX512, 3},
    {LAYOUT_W8X16, ISA_REF, ISA_AVX512, 3},    {LAYOUT_W4X32, ISA_AVX512, ISA_AVX512, 3},
    {LAYOUT_W6X32, ISA_AVX512, ISA_AVX512, 3}, {LAYOUT_W8X32, ISA_AVX512, ISA_AVX512, 1},
    {LAYOUT_ST16, ISA_REF, ISA_AVX2, 4},       {LAYOUT_ST32, ISA_AVX512, ISA_AVX512, 4},
    {LAYOUT_SST16, ISA_REF, ISA_AVX2, 1},      {LAYOUT_SST32, ISA_AVX512, ISA_AVX512, 1},
};

static int seen_of(const struct least *r, int isa, bool padded) {
  int n = 0;
  for (int i = 0; i < nseen; i++)
    if (!strcmp(seen[i].cand, r->cand) && seen[i].in == r->in && seen[i].out == r->out &&
        seen[i].pads >= padded)
      n += seen[i].n[isa];
  return n;
}

static int seen_weights(enum layout weights, int isa) {
  int n = 0;
  for (int i = 0; i < nseen; i++)
    if (seen[i].weights == weights) n += seen[i].n[isa];
  return n;
}

static void print_seen(void) {
  for (int i = 0; i < nseen; i++) {
    printf("%-14s %-5s %-5s %-5s %-6s", seen[i].cand, layout_name(seen[i].in),
           layout_name(seen[i].weights), layout_name(seen[i].out), seen[i].pads ? "padded" : "");
    for (int isa = 0; isa < ISA_COUNT; isa++)
      printf(" %6d %s", seen[i].n[isa], isa_name((enum isa)isa));
    printf("\n");
  }
}

static void expect(const struct least *r, int isa, bool padded) {
  int n = seen_of(r, isa, padded);
  if (n < r->n * percent() / 100)
    ck_abort_msg("%s: %d %slabels of %s %s>%s", isa_name((enum isa)isa), n, padded ? "padded " : "",
                 r->cand, layout_name(r->in), layout_name(r->out));
}

START_TEST(enough_of_each) {
  if (getenv("FLUIDVM_GRID")) print_seen();
  for (int isa = 0; isa <= (int)cpu_isa(); isa++) {
    const char *name = isa_name((enum isa)isa);
    for (size_t i = 0; i < COUNT(least); i++) expect(&least[i], isa, false);
    for (size_t i = 0; i < COUNT(least_padded); i++) expect(&least_padded[i], isa, true);
    for (size_t i = 0; i < COUNT(least_weights); i++) {
      const struct least_weights *r = &least_weights[i];
      int n = seen_weights(r->weights, isa);
      if (isa >= (int)r->from && isa <= (int)r->to && n < r->n * percent() / 100)
        ck_abort_msg("%s: %d labels of weights in %s", name, n, layout_name(r->weights));
    }
  }
}
END_TEST

UNIT_MAIN("grid", convolutions, transposed, pools, global_pools, norms, moves, enough_of_each)
