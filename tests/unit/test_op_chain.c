/* Chains: random pairs, every label against one reference after the other, on every ISA in turn.
 * What occurred is counted, and each pair of layouts must have occurred often enough. */
#include <string.h>

#include "../../kernels/chain.h"
#include "opcheck.h"

static struct opcase first, o;

static int64_t below(int64_t n) { return opcase_random(&first, n); }
static int64_t upto(int64_t n) { return 1 + below(n); }
static bool one_in(int64_t n) { return below(n) == 0; }
#define PICK(...)                                                                                  \
  ((const int64_t[]){__VA_ARGS__})[below((int64_t)COUNT(((const int64_t[]){__VA_ARGS__})))]

static int64_t channels(void) {
  return one_in(2) ? PICK(16, 32, 48, 64, 96) : one_in(2) ? upto(67) : PICK(1, 3, 17, 33, 40, 67);
}
static int64_t extent(void) { return one_in(2) ? upto(33) : PICK(1, 2, 7, 13, 14, 16, 28, 33); }

/* ---- windows --------------------------------------------------------------------------------- */
struct shape {
  int64_t k[2], stride[2], dilation[2], pad[4];
};

static void draw_window(struct shape *s, int64_t most, int64_t stride, int64_t dilation) {
  bool square = !one_in(4);
  int64_t pads = below(3);
  for (int i = 0; i < 2; i++) {
    s->k[i] = square && i ? s->k[0] : upto(most);
    s->stride[i] = square && i ? s->stride[0] : upto(stride);
    s->dilation[i] = s->k[i] > 1 && one_in(4) ? upto(dilation) : 1;
  }
  for (int i = 0; i < 4; i++) {
    int64_t reach = (s->k[i % 2] - 1) * s->dilation[i % 2] + 1;
    s->pad[i] = pads == 0 ? 0 : pads == 1 ? reach / 2 : below(reach);
  }
}

static void draw_point(struct shape *s) { *s = (struct shape){{1, 1}, {1, 1}, {1, 1}, {0}}; }

/* What Winograd's convolution takes, on images that pay. */
static void draw_square(struct shape *s) {
  int64_t k = PICK(3, 3, 3, 5), pad = below(k / 2 + 2);
  *s = (struct shape){{k, k}, {1, 1}, {1, 1}, {pad, pad, below(3), below(3)}};
}

static void add_attributes(struct opcase *c, const struct shape *s) {
  opcase_attr_ints(c, "kernel_shape", 2, s->k);
  opcase_attr_ints(c, "strides", 2, s->stride);
  opcase_attr_ints(c, "dilations", 2, s->dilation);
  opcase_attr_ints(c, "pads", 4, s->pad);
}

/* Outputs along an axis; less than 1 for none. */
static int64_t outputs(const struct shape *s, int i, int64_t size) {
  int64_t room = size + s->pad[i] + s->pad[2 + i] - (s->k[i] - 1) * s->dilation[i] - 1;
  return room < 0 ? 0 : room / s->stride[i] + 1;
}

/* ---- parts ----------------------------------------------------------------------------------- */
static void add_bias(struct opcase *c, int64_t n) {
  if (one_in(4)) return;
  opcase_in(c, FVM_F32, 1, &n);
  if (one_in(2)) c->in[c->c.nin - 1].data = c->x[c->c.nin - 1];
}

/* What networks fuse: bounds, an activation of several strips, a residual. */
static void add_body(struct opcase *c) {
  struct fvm_error err;
  int64_t kind = below(7), one = 1;
  OK(opcall_shape(&c->c, &err));
  struct tensor out = c->out[0];
  int at = c->c.nin;
  if (kind > 4) return;
  opcase_own(c);
  if (kind == 1) {
    opcase_const(c, FVM_F32, 0, NULL, (double[]){-0.5});
    opcase_const(c, FVM_F32, 1, &one, (double[]){0.75});
    opcase_item(c, "Clip", FVM_F32, 3, (int[]){at + 2, at, at + 1});
  } else if (kind == 2) {
    opcase_in(c, FVM_F32, 4, out.dim);
    opcase_item(c, "Add", FVM_F32, 2, (int[]){at + 1, at});
    opcase_item(c, "Relu", FVM_F32, 1, (int[]){at + 2});
  } else if (kind == 3) {
    opcase_in(c, FVM_F32, 3, (int64_t[]){out.dim[1], 1, 1});
    opcase_item(c, "HardSwish", FVM_F32, 1, (int[]){at + 1});
    opcase_item(c, "Mul", FVM_F32, 2, (int[]){at + 2, at});
  } else {
    opcase_item(c, kind ? "Silu" : "Relu", FVM_F32, 1, (int[]){at});
  }
}

static void add_weights(struct opcase *c, const struct shape *s, int64_t outs, int64_t ins) {
  double sum = (double)(ins * s->k[0] * s->k[1]);
  while (c->hi * c->hi * sum > 4) c->hi /= 2;
  c->lo = -c->hi;
  opcase_in(c, FVM_F32, 4, (int64_t[]){outs, ins, s->k[0], s->k[1]});
  if (!one_in(4)) c->in[1].data = c->x[1];
  c->hi = 1;
  c->lo = -1;
}

/* The second part on an image of n x c x h x w; false when it has no outputs. */
static bool draw_second(uint64_t kind, int64_t n, int64_t c, int64_t h, int64_t w) {
  static const char *const op[] = {"MaxPool", "Conv", "AveragePool", "Conv"};
  struct shape s;
  opcase_init_seeded(&o, op[kind], 19, (uint64_t)below(1 << 30));
  o.target = first.target;
  o.as_meant = true;
  draw_window(&s, 5, 3, 2);
  if (kind == 2) s.dilation[0] = s.dilation[1] = 1;
  if (outputs(&s, 0, h) < 1 || outputs(&s, 1, w) < 1) return false;
  add_attributes(&o, &s);
  if (kind % 2 == 0) opcase_attr_int(&o, "ceil_mode", below(2));
  if (kind == 2) opcase_attr_int(&o, "count_include_pad", below(2));
  if (kind % 2) opcase_attr_int(&o, "group", c);
  o.hi = 1;
  o.lo = -1;
  opcase_in(&o, FVM_F32, 4, (int64_t[]){n, c, h, w});
  if (kind % 2) {
    add_weights(&o, &s, c, 1);
    add_bias(&o, c);
  }
  add_body(&o);
  return true;
}

/* ---- cases ----------------------------------------------------------------------------------- */
static struct seen {
  const char *cand;
  enum layout in, out;
  bool weights;
  int n;
} seen[16];
static int nseen;

static void count(const struct label *l) {
  struct seen s = {l->cand->name, (enum layout)l->in[0], (enum layout)l->out[0],
                   o.c.part[1].nown > 1, 0};
  int i = 0;
  while (i < nseen && (seen[i].cand != s.cand || seen[i].in != s.in || seen[i].out != s.out ||
                       seen[i].weights != s.weights))
    i++;
  ck_assert_int_lt(i, (int)COUNT(seen));
  if (i == nseen) seen[nseen++] = s;
  seen[i].n++;
}

enum { MOST_WORK = 600000 };

/* False when it is too large, or has no outputs. */
static bool draw_case(uint64_t seed) {
  struct shape s;
  opcase_init_seeded(&first, "Conv", 19, seed);
  first.target.isa = (enum isa)(seed % ((uint64_t)cpu_isa() + 1));
  first.target.l2_bytes = PICK(4 << 10, 16 << 10, 64 << 10, 1 << 20);
  int64_t n = PICK(1, 1, 1, 2), in = one_in(3) ? upto(4) : channels(), out = channels();
  int64_t h = extent(), w = extent();
  int64_t kind = below(6);
  if (kind < 2)
    draw_point(&s);
  else if (kind < 4)
    draw_square(&s);
  else
    draw_window(&s, one_in(4) ? 7 : 3, 2, 2);
  int64_t oh = outputs(&s, 0, h), ow = outputs(&s, 1, w);
  if (oh < 1 || ow < 1 || n * in * out * oh * ow * s.k[0] * s.k[1] > MOST_WORK) return false;
  add_attributes(&first, &s);
  first.hi = 1;
  first.lo = -1;
  opcase_in(&first, FVM_F32, 4, (int64_t[]){n, in, h, w});
  add_weights(&first, &s, out, in);
  add_bias(&first, out);
  add_body(&first);
  if (draw_second(seed / ISA_COUNT % 4, n, out, oh, ow)) return true;
  opcase_free(&o);
  return false;
}

enum { CASES = 400, LEAST = 20 };

START_TEST(random_pairs) {
  uint64_t seed = 1;
  for (int done = 0; done < CASES; seed++) {
    struct label l;
    if (draw_case(seed) && opcase_chain(&o, &first)) {
      opcase_reference(&o);
      for (int i = 0; opcall_label(&o.c, &o.target, i, &l); i++) count(&l);
      opcase_run(&o);
      done++;
    } else {
      opcase_free(&o);
    }
    opcase_free(&first);
  }
  /* nhwc, c16, row to each of them, and nhwc again by Winograd's; with and without weights. */
  ck_assert_int_eq(nseen, 10);
  for (int i = 0; i < nseen; i++) {
    bool same = seen[i].in == seen[i].out;
    ck_assert_msg(seen[i].n >= LEAST, "%s, %s to %s, %s weights: only %d labels", seen[i].cand,
                  layout_name(seen[i].in), layout_name(seen[i].out),
                  seen[i].weights ? "with" : "without", seen[i].n);
    ck_assert(same || seen[i].in == LAYOUT_ROW);
  }
}
END_TEST

UNIT_MAIN("op_chain", random_pairs)
