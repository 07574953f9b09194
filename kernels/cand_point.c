/* conv_gemm, conv_strassen: a convolution that looks at one pixel at a time, in nhwc, is a product,
 * [pixels, channels] by the transpose of the weights [outputs, channels]. So the candidates of Gemm
 * run it: the opcall they see has these matrices for tensors, in layouts of the same bytes. */
#include "conv.h"
#include "gemm.h"
#include "op_impl.h"
#include "view.h"

/* The product that a convolution is. */
struct point {
  struct opcall call;
  struct tensor in[NEST_MAXOP], out;
};

static struct tensor matrix(const struct tensor *t, int64_t rows, int64_t cols) {
  return (struct tensor){.dtype = t->dtype, .rank = 2, .dim = {rows, cols}, .data = t->data};
}

/* A body input over [pixels, channels]: its pixels are all or one. */
static bool flatten(const struct opcall *c, int i, struct tensor *t) {
  const struct tensor *out = &c->out[0];
  struct tensor v = view_tensor(&c->in[i], out->rank, LAYOUT_NHWC);
  int64_t cols = v.dim[v.rank - 1], rows = dims_product(v.dim, 0, v.rank - 1);
  *t = matrix(&c->in[i], rows, cols);
  return c->in[i].dtype == FVM_NONE || rows == 1 || rows == tensor_count(out) / MAX(out->dim[1], 1);
}

static bool point_init(struct point *p, const struct opcall *c) {
  static const struct attr trans_b = {.name = "transB", .kind = ATTR_INT, .i = 1};
  struct conv v;
  if (c->in[0].dtype != FVM_F32 || c->nin > NEST_MAXOP || conv_init(&v, c, NULL) != FVM_OK ||
      v.groups != 1 || !window_is_point(&v.w))
    return false;
  int64_t rows = v.n * window_outputs(&v.w);
  p->call = *c;
  p->call.op = op_find("Gemm", 4);
  p->call.in = p->in;
  p->call.out = &p->out;
  p->call.attr = &trans_b;
  p->call.nattr = 1;
  p->in[0] = matrix(&c->in[0], rows, v.in_channels);
  p->in[1] = matrix(&c->in[1], v.out_channels, v.in_channels);
  p->out = matrix(&c->out[0], rows, v.out_channels);
  if (c->nown > 2) p->in[2] = c->in[2];
  for (int i = c->nown; i < c->nin; i++)
    if (!flatten(c, i, &p->in[i])) return false;
  return true;
}

/* Panels of the transposed matrix are panels of filters. Other layouts keep their name. */
static enum layout filter_of(enum layout l) {
  for (const struct gemm_tile *t = gemm_tiles; t->mr; t++)
    if (t->panelt == l) return t->filter;
  return l;
}

static enum layout panel_of(enum layout l) {
  for (const struct gemm_tile *t = gemm_tiles; t->mr; t++)
    if (t->filter == l) return t->panelt;
  return l;
}

/* The image in nhwc is the matrix in row; an image in row (one of them) is the matrix in col. */
static bool label_as(const struct cand *as, const struct opcall *c, const struct target *t, int i,
                     struct label *l) {
  struct point p;
  if (!point_init(&p, c) || !as->label(&p.call, t, i, l)) return false;
  if (l->in[0] == LAYOUT_COL && c->in[0].dim[0] != 1) return false;
  l->in[0] = l->in[0] == LAYOUT_COL ? LAYOUT_ROW : LAYOUT_NHWC;
  l->in[1] = (uint8_t)filter_of((enum layout)l->in[1]);
  return view_layouts(c, c->nown, LAYOUT_NHWC, l);
}

/* The label as the product has it. */
static struct label label_of_gemm(const struct label *l) {
  struct label own = *l;
  own.in[0] = l->in[0] == LAYOUT_ROW ? LAYOUT_COL : LAYOUT_ROW;
  own.in[1] = (uint8_t)panel_of((enum layout)l->in[1]);
  own.out[0] = LAYOUT_ROW;
  return own;
}

static void emit_as(const struct cand *as, const struct opcall *c, const struct label *l,
                    struct builder *b) {
  struct point p;
  struct label own = label_of_gemm(l);
  CHECK(point_init(&p, c));
  as->emit(&p.call, &own, b);
}

static void cost_as(const struct cand *as, const struct opcall *c, const struct label *l,
                    struct opcost *cost) {
  struct point p;
  struct label own = label_of_gemm(l);
  CHECK(point_init(&p, c));
  as->cost(&p.call, &own, cost);
}

bool point_label(const struct opcall *c, const struct target *t, int i, struct label *l) {
  return label_as(&gemm_panels, c, t, i, l);
}
void point_emit(const struct opcall *c, const struct label *l, struct builder *b) {
  emit_as(&gemm_panels, c, l, b);
}
void point_cost(const struct opcall *c, const struct label *l, struct opcost *cost) {
  cost_as(&gemm_panels, c, l, cost);
}
bool point_strassen_label(const struct opcall *c, const struct target *t, int i, struct label *l) {
  return label_as(&gemm_strassen, c, t, i, l);
}
void point_strassen_emit(const struct opcall *c, const struct label *l, struct builder *b) {
  emit_as(&gemm_strassen, c, l, b);
}
void point_strassen_cost(const struct opcall *c, const struct label *l, struct opcost *cost) {
  cost_as(&gemm_strassen, c, l, cost);
}
