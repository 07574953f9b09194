/* Ways to run reductions. Outer axes are loops; the innermost merged axis is either reduced, by a
 * row kernel for a block of the axis before it, or kept, and then rows are combined as strips. */
#include "last.h"
#include "op_impl.h"
#include "reduce.h"

#include <math.h>
#include <string.h>

/* Knobs: rows or columns that a block has. */
enum { BLOCK };

/* ---- what the kinds are made of -------------------------------------------------------------- */
struct recipe {
  int pre; /* on elements before they are combined; -1: nothing */
  int row; /* reduces a row, pre included when row_pre */
  bool row_pre;
  int strip; /* combines two strips */
  float neutral;
  int post; /* on results; -1: nothing */
  bool mean;
};

static const struct recipe recipes[REDUCE_KINDS] = {
    [REDUCE_SUM] = {-1, UKR_rowsum_f32, true, UKR_add_f32, 0, -1, false},
    [REDUCE_MEAN] = {-1, UKR_rowsum_f32, true, UKR_add_f32, 0, -1, true},
    [REDUCE_MAX] = {-1, UKR_rowmax_f32, true, UKR_max_f32, -INFINITY, -1, false},
    [REDUCE_MIN] = {-1, UKR_rowmin_f32, true, UKR_min_f32, INFINITY, -1, false},
    [REDUCE_PROD] = {-1, UKR_rowprod_f32, true, UKR_mul_f32, 1, -1, false},
    [REDUCE_L1] = {UKR_abs_f32, UKR_rowsum_f32, false, UKR_add_f32, 0, -1, false},
    [REDUCE_L2] = {UKR_mul_f32, UKR_rowsumsq_f32, true, UKR_add_f32, 0, UKR_sqrt_f32, false},
    [REDUCE_SUMSQUARE] = {UKR_mul_f32, UKR_rowsumsq_f32, true, UKR_add_f32, 0, -1, false},
    [REDUCE_LOGSUM] = {-1, UKR_rowsum_f32, true, UKR_add_f32, 0, UKR_log_f32, false},
};

/* ---- emission -------------------------------------------------------------------------------- */
struct gen {
  struct builder *b;
  const struct recipe *k;
  struct reduction r;
  struct addr x, y;
  int tmp, part, konst;
  int64_t tmp_cols;
  bool rows; /* the innermost axis is reduced */
};

/* tmp = pre(x) for m x n elements; squares are x * x. */
static struct addr emit_pre(const struct gen *g, struct addr x, int64_t sx, struct val m,
                            struct val n) {
  struct addr tmp = ADDR(g->tmp, 0);
  struct val sv = val(sx), sy = val(g->tmp_cols), one = val(1);
  if (g->k->pre == UKR_mul_f32)
    build_ukr(g->b, UKR_mul_f32, (struct addr[]){x, x, tmp},
              (struct val[]){m, n, sv, one, sv, one, sy});
  else
    build_ukr(g->b, g->k->pre, (struct addr[]){x, tmp}, (struct val[]){m, n, sv, one, sy});
  return tmp;
}

/* Results are one row of n values. */
static void emit_strip(const struct gen *g, int id, struct addr x, struct addr y, struct val n,
                       int64_t max) {
  struct val one = val(1), s = val(max);
  build_ukr(g->b, id, (struct addr[]){y, x, y}, (struct val[]){one, n, s, one, s, one, s});
}

static void emit_post(const struct gen *g, struct addr y, struct val n, int64_t max) {
  struct val one = val(1), zero = val(0), s = val(max);
  if (g->k->mean)
    build_ukr(g->b, UKR_mul_f32, (struct addr[]){y, ADDR(g->konst, 0), y},
              (struct val[]){one, n, s, one, zero, zero, s});
  if (g->k->post >= 0)
    build_ukr(g->b, g->k->post, (struct addr[]){y, y}, (struct val[]){one, n, s, one, s});
}

/* Loops over the outer axes [0, n) that are kept (or reduced). Returns how many were opened. */
static int open_outer(struct gen *g, int n, bool reduced, struct span *s) {
  int opened = 0;
  for (int i = 0; i < n; i++) {
    const struct reduce_axis *a = &g->r.axis[i];
    if (a->reduced != reduced) continue;
    s[opened] = span_open(g->b, false, val(a->n), a->n, 1);
    span_term(&g->x, &s[opened], a->x_stride * 4);
    span_term(&g->y, &s[opened++], a->y_stride * 4);
  }
  return opened;
}

static void close_spans(struct gen *g, struct span *s, int n) {
  while (n-- > 0) span_close(g->b, &s[n]);
}

/* y of m results = rows of n elements at x. */
static void emit_rows(const struct gen *g, struct addr x, int64_t sx, struct addr y, struct val m,
                      int64_t n) {
  if (!g->k->row_pre) {
    x = emit_pre(g, x, sx, m, val(n));
    sx = g->tmp_cols;
  }
  build_ukr(g->b, g->k->row, (struct addr[]){x, y}, (struct val[]){m, val(n), val(sx), val(1)});
}

static void emit_neutral(const struct gen *g, struct addr y, struct val n, int64_t max) {
  build_ukr(g->b, UKR_fill_4, (struct addr[]){y},
            (struct val[]){val(1), n, val(max), val_float(g->k->neutral)});
}

/* Inside the loops of kept outer axes. What is reduced over outer axes too accumulates in y. */
static void emit_block(struct gen *g, int outer, struct span *block, int64_t sx) {
  const struct reduce_axis *last = &g->r.axis[g->r.naxis - 1];
  struct span s[FVM_MAXRANK];
  bool accumulate = !g->rows;
  for (int i = 0; i < outer; i++) accumulate |= g->r.axis[i].reduced;
  if (accumulate) emit_neutral(g, g->y, block->len, block->max);
  int n = open_outer(g, outer, true, s);
  if (!accumulate) {
    emit_rows(g, g->x, sx, g->y, block->len, last->n);
  } else if (g->rows) {
    struct addr part = ADDR(g->part, 0);
    emit_rows(g, g->x, sx, part, block->len, last->n);
    emit_strip(g, g->k->strip, part, g->y, block->len, block->max);
  } else {
    struct addr x = g->x;
    if (g->k->pre >= 0) x = emit_pre(g, x, block->max, val(1), block->len);
    emit_strip(g, g->k->strip, x, g->y, block->len, block->max);
  }
  close_spans(g, s, n);
  emit_post(g, g->y, block->len, block->max);
}

/* The axis whose blocks are shared out: the last kept one. -1: everything is reduced. */
static int block_axis(const struct reduction *r) {
  int i = r->naxis - 1;
  return i >= 0 && r->axis[i].reduced ? i - 1 : i;
}

static void gen_init(struct gen *g, const struct opcall *c, int64_t block, struct builder *b) {
  unsigned mask = 0;
  CHECK(reduce_axes(c, &mask, NULL) == FVM_OK);
  *g = (struct gen){.b = b,
                    .k = &recipes[reduce_kind(c->op)],
                    .x = ADDR(0, 0),
                    .y = ADDR(c->nin, 0),
                    .tmp = -1,
                    .part = -1,
                    .konst = -1};
  reduction_init(&g->r, c, mask);
  if (g->r.naxis == 0) g->r.axis[g->r.naxis++] = (struct reduce_axis){1, 1, 1, false};
  const struct reduce_axis *last = &g->r.axis[g->r.naxis - 1];
  g->rows = last->reduced;
  g->tmp_cols = g->rows ? last->n : block;
  if (g->k->pre >= 0)
    g->tmp = build_buf(b, BUF_SCRATCH, (last->reduced ? block : 1) * g->tmp_cols * 4);
  if (last->reduced) g->part = build_buf(b, BUF_SCRATCH, block * 4);
  const float share = 1 / (float)g->r.count;
  if (g->k->mean) g->konst = emit_constants(b, &share, 1);
}

static void emit(const struct opcall *c, const struct label *l, struct builder *b) {
  struct gen g;
  struct span kept[FVM_MAXRANK];
  gen_init(&g, c, l->knob[BLOCK], b);
  int i = block_axis(&g.r);
  struct reduce_axis one = {1, 0, 1, false};
  const struct reduce_axis *a = i >= 0 ? &g.r.axis[i] : &one;
  int n = open_outer(&g, MAX(i, 0), false, kept);
  struct span s = span_open(b, i >= 0, val(a->n), a->n, l->knob[BLOCK]);
  span_term(&g.x, &s, a->x_stride * 4);
  span_term(&g.y, &s, a->y_stride * 4);
  emit_block(&g, MAX(i, 0), &s, a->x_stride);
  span_close(b, &s);
  close_spans(&g, kept, n);
}

/* ---- labels ---------------------------------------------------------------------------------- */
static void cost(const struct opcall *c, const struct label *l, struct opcost *cost) {
  cost_stream(c, l, cost);
  cost->flops = tensor_count(&c->in[0]);
}

static bool label(const struct opcall *c, const struct target *t, int i, struct label *l) {
  enum reduce_kind k = reduce_kind(c->op);
  unsigned mask = 0;
  struct reduction r;
  if (c->in[0].dtype != FVM_F32 || k == REDUCE_LOGSUMEXP || tensor_count(&c->in[0]) == 0)
    return false;
  CHECK(reduce_axes(c, &mask, NULL) == FVM_OK);
  reduction_init(&r, c, mask);
  int axis = block_axis(&r), n = MAX(t->nthreads, 1);
  if (i >= n) return false;
  l->threads = t->nthreads ? t->threads[i] : 1;
  int64_t extent = axis >= 0 ? r.axis[axis].n : 1, share = CEIL_DIV(extent, l->threads);
  bool rows = r.naxis && r.axis[r.naxis - 1].reduced;
  /* A block stays in L1: of rows, or of the results that are added to. */
  int64_t l1 = t->l1_bytes > 0 ? t->l1_bytes : 32 << 10;
  int64_t fit = MAX(l1 / 2 / (4 * (rows ? r.axis[r.naxis - 1].n : 2)), 1);
  if (r.naxis && r.axis[r.naxis - 1].n > INT32_MAX) return false;
  l->knob[BLOCK] = (int32_t)MIN(share, fit);
  return true;
}

/* ---- over the pixels of images whose channels lie last ----------------------------------------
 */
static bool label_columns(const struct opcall *c, const struct target *t, int i, struct label *l) {
  enum reduce_kind k = reduce_kind(c->op);
  unsigned mask = 0;
  if (k != REDUCE_SUM && k != REDUCE_MEAN && k != REDUCE_MAX) return false;
  CHECK(reduce_axes(c, &mask, NULL) == FVM_OK);
  return c->in[0].rank == 4 && mask == 0xc && columns_label(c, t, i, l);
}

static void emit_columns(const struct opcall *c, const struct label *l, struct builder *b) {
  enum reduce_kind k = reduce_kind(c->op);
  const struct tensor *x = &c->in[0];
  columns_emit(&(struct columns){k == REDUCE_MAX ? UKR_colmax_f32 : UKR_colsum_f32,
                                 k == REDUCE_MEAN ? 1 / (float)(x->dim[2] * x->dim[3]) : 1},
               c, l, b);
}

const struct cand reduce_cands[] = {
    {"reduce", {"block"}, label, emit, cost},
    {"reduce_columns", {"cb"}, label_columns, emit_columns, cost},
    {0},
};
