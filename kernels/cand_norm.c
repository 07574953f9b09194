/* Ways to run Softmax, LogSoftmax, LayerNormalization, RMSNormalization, BatchNormalization: blocks
 * of rows by row kernels or strips. */
#include "norm.h"
#include "op_impl.h"

#include <string.h>

/* Knobs: rows a block has. */
enum { ROWS };

/* ---- labels: how many rows a block has ------------------------------------------------------- */
/* First a block of about half of L1, then the whole share of a thread when that is more. */
static bool rows_label(const struct target *t, int64_t rows, int64_t row_bytes, int i,
                       struct label *l) {
  int64_t l1 = t->l1_bytes > 0 ? t->l1_bytes : 32 << 10;
  int64_t fit = MAX(l1 / 2 / MAX(row_bytes, 1), 1);
  int n = MAX(t->nthreads, 1);
  for (int k = 0; k < n; k++) {
    int threads = t->nthreads ? t->threads[k] : 1;
    int64_t share = CEIL_DIV(rows, threads), block = MIN(fit, share);
    l->threads = threads;
    l->knob[ROWS] = (int32_t)MIN(MAX(block, 1), INT32_MAX / 2);
    if (i-- == 0) return true;
    if (share <= block) continue;
    l->knob[ROWS] = (int32_t)MIN(share, INT32_MAX / 2);
    if (i-- == 0) return true;
  }
  return false;
}

/* ---- Softmax, LogSoftmax --------------------------------------------------------------------- */
struct softmax {
  struct lines s;
  bool log_of;
  int tmp, stat; /* LogSoftmax: exponentials, a number a row */
};

/* y = x - max - log(sum(exp(x - max))) of m rows. */
static void log_rows(const struct softmax *k, struct addr x, int64_t sx, struct addr y, int64_t sy,
                     struct val m, struct builder *b) {
  struct addr stat = ADDR(k->stat, 0), tmp = ADDR(k->tmp, 0);
  struct val n = val(k->s.n), one = val(1), zero = val(0);
  build_ukr(b, UKR_rowmax_f32, (struct addr[]){x, stat}, (struct val[]){m, n, val(sx), one});
  build_ukr(b, UKR_sub_f32, (struct addr[]){x, stat, y},
            (struct val[]){m, n, val(sx), one, one, zero, val(sy)});
  build_ukr(b, UKR_exp_f32, (struct addr[]){y, tmp}, (struct val[]){m, n, val(sy), one, n});
  build_ukr(b, UKR_rowsum_f32, (struct addr[]){tmp, stat}, (struct val[]){m, n, n, one});
  build_ukr(b, UKR_log_f32, (struct addr[]){stat, stat}, (struct val[]){m, one, one, one, one});
  build_ukr(b, UKR_sub_f32, (struct addr[]){y, stat, y},
            (struct val[]){m, n, val(sy), one, one, zero, val(sy)});
}

static void softmax_rows(const struct softmax *k, struct addr x, int64_t sx, struct addr y,
                         int64_t sy, struct val m, struct builder *b) {
  if (k->log_of) {
    log_rows(k, x, sx, y, sy, m, b);
    return;
  }
  build_ukr(b, UKR_softmax_f32, (struct addr[]){x, y},
            (struct val[]){m, val(k->s.n), val(sx), val(sy), val_float(1), val(0)});
}

static void softmax_init(struct softmax *k, const struct opcall *c, int64_t rows,
                         struct builder *b) {
  *k = (struct softmax){softmax_lines(c), strcmp(c->op->name, "LogSoftmax") == 0, -1, -1};
  if (!k->log_of) return;
  k->tmp = build_buf(b, BUF_SCRATCH, rows * k->s.n * 4);
  k->stat = build_buf(b, BUF_SCRATCH, rows * 4);
}

static void emit_softmax(const struct opcall *c, const struct label *l, struct builder *b) {
  struct softmax k;
  struct epilogue e;
  struct place at = {0};
  int64_t rows = l->knob[ROWS];
  softmax_init(&k, c, rows, b);
  int64_t n = k.s.n;
  epilogue_init(&e, c, n, rows, n, 0, b);
  struct span r = span_open(b, true, val(k.s.outer), k.s.outer, rows);
  place_row(&at, &r, 1);
  struct addr x = matrix_at(&(struct matrix){0, 0, n * 4, 4, 0}, &at);
  softmax_rows(&k, x, n, epilogue_anchor(&e, &at), e.anchor.rs / 4, r.len, b);
  epilogue_emit(&e, &at, r.len, r.max, val(n), n, b);
  span_close(b, &r);
}

static bool label_softmax(const struct opcall *c, const struct target *t, int i, struct label *l) {
  struct lines s = softmax_lines(c);
  if (c->in[0].dtype != FVM_F32 || s.inner != 1 || s.n == 0 || s.outer == 0) return false;
  if (!epilogue_fits(c, s.outer * s.n, s.n) || s.n > INT32_MAX) return false;
  if (!c->body) l->inplace = 1;
  return rows_label(t, s.outer, s.n * 4, i, l);
}

/* Lines that are not rows: a block of columns is transposed into rows and back. */
static void emit_softmax_cols(const struct opcall *c, const struct label *l, struct builder *b) {
  struct softmax k;
  struct epilogue e;
  struct place at = {0};
  int64_t cols = l->knob[ROWS];
  softmax_init(&k, c, cols, b);
  int64_t n = k.s.n, inner = k.s.inner;
  epilogue_init(&e, c, inner, n, cols, 0, b);
  struct addr rows = ADDR(build_buf(b, BUF_SCRATCH, cols * n * 4), 0);
  struct span o = span_open(b, false, val(k.s.outer), k.s.outer, 1);
  struct span s = span_open(b, true, val(inner), inner, cols);
  place_row(&at, &o, n);
  place_col(&at, &s, 1);
  struct addr x = matrix_at(&(struct matrix){0, 0, inner * 4, 4, 0}, &at);
  build_ukr(b, UKR_transpose_4, (struct addr[]){x, rows},
            (struct val[]){s.len, val(n), val(inner), val(n)});
  softmax_rows(&k, rows, n, rows, n, s.len, b);
  build_ukr(b, UKR_transpose_4, (struct addr[]){rows, epilogue_anchor(&e, &at)},
            (struct val[]){val(n), s.len, val(n), val(e.anchor.rs / 4)});
  epilogue_emit(&e, &at, val(n), n, s.len, s.max, b);
  span_close(b, &s);
  span_close(b, &o);
}

static bool label_softmax_cols(const struct opcall *c, const struct target *t, int i,
                               struct label *l) {
  struct lines s = softmax_lines(c);
  if (c->in[0].dtype != FVM_F32 || s.inner == 1 || s.n * s.inner * s.outer == 0) return false;
  if (!epilogue_fits(c, s.outer * s.n * s.inner, s.inner) || s.n > INT32_MAX) return false;
  if (!c->body) l->inplace = 1;
  return rows_label(t, s.inner, s.n * 4, i, l);
}

static void cost_rows(const struct opcall *c, const struct label *l, struct opcost *cost) {
  cost_stream(c, l, cost);
  cost->flops = 8 * tensor_count(&c->in[0]);
}

const struct cand softmax_cands[] = {
    {"softmax_rows", {"rows"}, label_softmax, emit_softmax, cost_rows},
    {"softmax_cols", {"cols"}, label_softmax_cols, emit_softmax_cols, cost_rows},
    {0},
};

/* ---- LayerNormalization, RMSNormalization ---------------------------------------------------- */
/* An optional input of the operator's own: inputs of the body come after those. */
static const struct tensor *param(const struct opcall *c, int i) {
  return i < c->nown ? opcall_in(c, i) : NULL;
}

/* Scale or bias as a row of n floats: the input itself, or a copy that is as long. */
static struct addr param_row(const struct opcall *c, int i, int64_t n, struct builder *b) {
  const struct tensor *t = param(c, i);
  if (t && tensor_count(t) == n) return ADDR(i, 0);
  struct addr row = ADDR(build_buf(b, BUF_SHARED, n * 4), 0);
  if (t)
    build_ukr(b, UKR_copy_4, (struct addr[]){ADDR(i, 0), row},
              (struct val[]){val(1), val(n), val(0), val(0), val(n), val(1)});
  else
    build_ukr(b, UKR_fill_4, (struct addr[]){row}, (struct val[]){val(1), val(n), val(n), val(0)});
  return row;
}

static void emit_rownorm(const struct opcall *c, const struct label *l, bool rms,
                         struct builder *b) {
  struct lines s = layernorm_lines(c);
  struct epilogue e;
  struct place at = {0};
  int64_t rows = l->knob[ROWS];
  epilogue_init(&e, c, s.n, rows, s.n, 0, b);
  struct addr scale = param_row(c, 1, s.n, b), bias = scale;
  if (!rms) bias = param_row(c, 2, s.n, b);
  struct span r = span_open(b, true, val(s.outer), s.outer, rows);
  place_row(&at, &r, 1);
  struct addr x = matrix_at(&(struct matrix){0, 0, s.n * 4, 4, 0}, &at);
  struct addr y = epilogue_anchor(&e, &at);
  struct val v[] = {r.len, val(s.n), val(s.n), val(e.anchor.rs / 4),
                    val_float(opcall_float(c, "epsilon", 1e-5f))};
  if (rms)
    build_ukr(b, UKR_rmsnorm_f32, (struct addr[]){x, scale, y}, v);
  else
    build_ukr(b, UKR_layernorm_f32, (struct addr[]){x, scale, bias, y}, v);
  epilogue_emit(&e, &at, r.len, r.max, val(s.n), s.n, b);
  span_close(b, &r);
}

static void emit_layernorm(const struct opcall *c, const struct label *l, struct builder *b) {
  emit_rownorm(c, l, false, b);
}
static void emit_rmsnorm(const struct opcall *c, const struct label *l, struct builder *b) {
  emit_rownorm(c, l, true, b);
}

/* One value for all columns, or one for each and the same in all rows. */
static bool is_row_param(const struct opcall *c, int i, int64_t n) {
  const struct tensor *t = param(c, i);
  int64_t rs, cs;
  return !t || tensor_count(t) == 1 ||
         (tensor_count(t) == n && matrix_strides(t, &c->in[0], n, &rs, &cs) && rs == 0);
}

static bool label_rownorm(const struct opcall *c, const struct target *t, int i, struct label *l) {
  struct lines s = layernorm_lines(c);
  if (c->in[0].dtype != FVM_F32 || c->nout != 1 || s.outer * s.n == 0) return false;
  if (!is_row_param(c, 1, s.n) || !is_row_param(c, 2, s.n)) return false;
  if (!epilogue_fits(c, s.outer * s.n, s.n)) return false;
  if (!c->body) l->inplace = 1;
  return rows_label(t, s.outer, s.n * 4, i, l);
}

const struct cand layernorm_cands[] = {
    {"layernorm_rows", {"rows"}, label_rownorm, emit_layernorm, cost_rows},
    {0},
};
const struct cand rmsnorm_cands[] = {
    {"rmsnorm_rows", {"rows"}, label_rownorm, emit_rmsnorm, cost_rows},
    {0},
};

/* ---- BatchNormalization ---------------------------------------------------------------------- */
/* a = scale / sqrt(variance + eps), b = bias - mean * a, once for all threads. */
static void batchnorm_factors(const struct opcall *c, int64_t ch, int buf, struct builder *b) {
  struct addr a = ADDR(buf, 0), add = ADDR(buf, ch * 4), eps = ADDR(buf, 2 * ch * 4);
  struct val one = val(1), zero = val(0), n = val(ch);
  struct val all[] = {one, n, n, one, n, one, n};
  build_ukr(b, UKR_fill_4, (struct addr[]){eps},
            (struct val[]){one, one, one, val_float(opcall_float(c, "epsilon", 1e-5f))});
  build_ukr(b, UKR_add_f32, (struct addr[]){ADDR(4, 0), eps, a},
            (struct val[]){one, n, n, one, zero, zero, n});
  build_ukr(b, UKR_sqrt_f32, (struct addr[]){a, a}, (struct val[]){one, n, n, one, n});
  build_ukr(b, UKR_div_f32, (struct addr[]){ADDR(1, 0), a, a}, all);
  build_ukr(b, UKR_mul_f32, (struct addr[]){ADDR(3, 0), a, add}, all);
  build_ukr(b, UKR_sub_f32, (struct addr[]){ADDR(2, 0), add, add}, all);
}

static void emit_batchnorm(const struct opcall *c, const struct label *l, struct builder *b) {
  struct lines s = channel_lines(c);
  struct epilogue e;
  struct place at = {0}, channel = {0};
  int64_t rows = l->knob[ROWS];
  epilogue_init(&e, c, s.inner, rows, s.inner, 0, b);
  int buf = build_buf(b, BUF_SHARED, (2 * s.n + 1) * 4);
  batchnorm_factors(c, s.n, buf, b);
  struct span o = span_open(b, false, val(s.outer), s.outer, 1);
  struct span r = span_open(b, true, val(s.n), s.n, rows);
  place_row(&at, &o, s.n);
  place_row(&at, &r, 1);
  place_row(&channel, &r, 1);
  struct addr x = matrix_at(&(struct matrix){0, 0, s.inner * 4, 4, 0}, &at);
  struct addr y = epilogue_anchor(&e, &at);
  struct val sy = val(e.anchor.rs / 4), n = val(s.inner), one = val(1), zero = val(0);
  build_ukr(b, UKR_mul_f32,
            (struct addr[]){x, matrix_at(&(struct matrix){buf, 0, 4, 4, 0}, &channel), y},
            (struct val[]){r.len, n, n, one, one, zero, sy});
  build_ukr(b, UKR_add_f32,
            (struct addr[]){y, matrix_at(&(struct matrix){buf, s.n * 4, 4, 4, 0}, &channel), y},
            (struct val[]){r.len, n, sy, one, one, zero, sy});
  epilogue_emit(&e, &at, r.len, r.max, n, s.inner, b);
  span_close(b, &r);
  span_close(b, &o);
}

static bool label_batchnorm(const struct opcall *c, const struct target *t, int i,
                            struct label *l) {
  struct lines s = channel_lines(c);
  int64_t count = s.outer * s.n * s.inner;
  if (c->in[0].dtype != FVM_F32 || count == 0 || !epilogue_fits(c, count, s.inner)) return false;
  if (!c->body) l->inplace = 1;
  return rows_label(t, s.n, s.inner * 4, i, l);
}

const struct cand batchnorm_cands[] = {
    {"batchnorm_rows", {"rows"}, label_batchnorm, emit_batchnorm, cost_rows},
    {0},
};
