/* Loops, places and epilogues for the emitters. Contract: emit.h. */
#include "emit.h"

#include "../vm/elem.h"

#include <math.h>
#include <string.h>

struct span span_open(struct builder *b, bool par, struct val limit, int64_t limit_max,
                      int64_t step) {
  if (!par && limit_max <= step) return (struct span){-1, limit, limit_max};
  int r = par ? build_par(b, 0, limit, step) : build_loop(b, 0, limit, step);
  bool even = !limit.is_reg && limit.v % step == 0;
  struct val len = even || step == 1 ? val(step) : reg(build_min(b, step, limit, r));
  return (struct span){r, len, MIN(step, limit_max)};
}

void span_close(struct builder *b, const struct span *s) {
  if (s->reg >= 0) build_end(b);
}

void span_term(struct addr *a, const struct span *s, int64_t stride) {
  if (s->reg >= 0) addr_add(a, s->reg, stride);
}

struct val val_float(float f) {
  uint32_t bits;
  memcpy(&bits, &f, sizeof bits);
  return val(bits);
}

int emit_constants(struct builder *b, const float *f, int n) {
  int buf = build_buf(b, BUF_SHARED, n * 4);
  for (int i = 0; i < n; i++)
    build_ukr(b, UKR_fill_4, (struct addr[]){ADDR(buf, i * 4)},
              (struct val[]){val(1), val(1), val(1), val_float(f[i])});
  return buf;
}

/* ---- places ---------------------------------------------------------------------------------- */
static void add_term(struct term *list, const struct span *s, int64_t stride) {
  if (s->reg < 0 || stride == 0) return;
  int i = 0;
  while (i < CODE_MAXTERM && list[i].stride != 0) i++;
  CHECK(i < CODE_MAXTERM);
  list[i] = (struct term){s->reg, stride};
}

void place_block(struct place *p, const struct span *s, int64_t blocks) {
  add_term(p->block, s, blocks);
}
void place_row(struct place *p, const struct span *s, int64_t rows) { add_term(p->row, s, rows); }
void place_col(struct place *p, const struct span *s, int64_t cols) { add_term(p->col, s, cols); }

struct addr matrix_at(const struct matrix *m, const struct place *p) {
  return place_at(m->buf, m->off, p, (struct matrix_steps){m->cs, m->rs, m->bs});
}

bool matrix_strides(const struct tensor *x, const struct tensor *out, int64_t cols, int64_t *rs,
                    int64_t *cs) {
  struct matrix_steps s;
  bool ok = matrix_steps(x, out, (struct matrix_dims){.cols = cols}, &s);
  *rs = s.row;
  *cs = s.col;
  return ok;
}

/* ---- epilogue -------------------------------------------------------------------------------- */
bool epilogue_fits_blocks(const struct opcall *c, int64_t count, struct matrix_dims m) {
  if (tensor_count(&c->out[0]) != count) return false;
  if (!c->body) return c->out[0].dtype == FVM_F32;
  return body_supported(c) && body_fits(c, m);
}

bool epilogue_fits(const struct opcall *c, int64_t count, int64_t cols) {
  return epilogue_fits_blocks(c, count, (struct matrix_dims){.cols = cols});
}

static bool reads(const struct body_item *it, int value) {
  for (int i = 0; i < it->narg; i++)
    if (it->arg[i] == value) return true;
  return false;
}

/* The input that item k of a body adds to the result before it (of the anchor, when k is 0) and
 * that fits operand d of a gemm (its steps to *step), or -1. */
static int find_addend(const struct opcall *c, struct matrix_dims m, int k,
                       struct matrix_steps *step) {
  if (!c->body || k >= c->body->n) return -1;
  const struct body_item *it = &c->body->item[k];
  int sum = c->nin + k;
  if (strcmp(it->op->name, "Add") != 0 || it->narg != 2 || it->dtype != FVM_F32) return -1;
  int x = it->arg[0] == sum ? it->arg[1] : it->arg[0];
  if (x >= c->nin || !reads(it, sum)) return -1;
  for (int i = k + 1; i < c->body->n; i++)
    if (reads(&c->body->item[i], sum)) return -1;
  if (!matrix_steps(&c->in[x], &c->out[0], m, step)) return -1;
  return step->col == 1 || m.cols == 1 ? x : -1;
}

/* The body without its first item, whose result is what the anchor makes then; NULL when nothing is
 * left. */
static const struct body *drop_first(const struct opcall *c, struct builder *b) {
  int n = c->body->n - 1;
  if (n == 0) return NULL;
  struct body_item *item = ARENA_NEW(b->arena, struct body_item, n);
  struct body *body = ARENA_NEW(b->arena, struct body, 1);
  if (!item || !body) {
    fvm_nomem(&b->err);
    return NULL;
  }
  for (int i = 0; i < n; i++) {
    item[i] = c->body->item[i + 1];
    for (int k = 0; k < item[i].narg; k++)
      if (item[i].arg[k] > c->nin) item[i].arg[k]--;
  }
  *body = (struct body){n, item};
  return body;
}

/* The value of argument i of an item when it is a constant; `otherwise` when it is absent. */
static bool constant(const struct opcall *c, const struct body_item *it, int i, const char *attr,
                     float otherwise, float *v) {
  struct opcall own = {.op = it->op, .attr = it->attr, .nattr = it->nattr};
  *v = opcall_float(&own, attr, otherwise);
  if (i >= it->narg || it->arg[i] < 0) return true;
  const struct tensor *t = it->arg[i] < c->nin ? &c->in[it->arg[i]] : NULL;
  if (!t || (t->dtype != FVM_NONE && (!t->data || tensor_count(t) != 1))) return false;
  if (t->dtype != FVM_NONE) *v = (float)elem_f64(t->data, t->dtype, 0);
  return true;
}

struct bounds bounds_of(const struct opcall *c) {
  struct bounds b = {-INFINITY, INFINITY, false};
  if (!c->body || c->body->n == 0) return b;
  const struct body_item *it = &c->body->item[0];
  bool relu = !strcmp(it->op->name, "Relu"), clip = !strcmp(it->op->name, "Clip");
  if ((!relu && !clip) || it->arg[0] != c->nin || it->dtype != FVM_F32) return b;
  for (int i = 1; i < c->body->n; i++)
    if (reads(&c->body->item[i], c->nin)) return b;
  struct bounds found = {0, INFINITY, true};
  if (clip && (!constant(c, it, 1, "min", -INFINITY, &found.lo) ||
               !constant(c, it, 2, "max", INFINITY, &found.hi)))
    return b;
  return isnan(found.lo) || isnan(found.hi) ? b : found;
}

/* The first Add of the body to operand *m of a gemm; which input that is, or -1. */
static int take_addend(struct epilogue *e, struct matrix *m, struct builder *b) {
  struct matrix_steps step = {0};
  int x = find_addend(&e->call, e->dims, 0, &step);
  if (x < 0) return -1;
  *m = (struct matrix){x, 0, step.row * 4, 4, step.block * 4};
  e->call.body = drop_first(&e->call, b);
  return x;
}

static void take_bounds(struct epilogue *e, struct builder *b) {
  e->bounds = bounds_of(&e->call);
  if (e->bounds.found) e->call.body = drop_first(&e->call, b);
}

/* Whether body input x is a tensor like the output that nothing but one item of the body reads. */
static bool may_lend(const struct opcall *c, const struct label *l, int x) {
  int readers = 0;
  for (int i = 0; i < c->body->n; i++) readers += reads(&c->body->item[i], x);
  return x >= c->nown && x < LABEL_MAXIO && readers == 1 && !c->in[x].data &&
         l->in[x] == l->out[0] && c->in[x].dtype == c->out[0].dtype &&
         tensor_count(&c->in[x]) == tensor_count(&c->out[0]);
}

int epilogue_inplace(const struct opcall *c, const struct label *l, struct matrix_dims m,
                     unsigned fuse) {
  struct matrix_steps step;
  int k = 0;
  for (unsigned f = FUSE_START; f <= FUSE_ADD; f <<= 1) {
    int x = fuse & f ? find_addend(c, m, k, &step) : -1;
    if (x < 0) continue;
    if (may_lend(c, l, x)) return 1 + x;
    k++;
  }
  return 0;
}

void epilogue_init_blocks(struct epilogue *e, const struct opcall *c, struct matrix_dims m,
                          int64_t m_max, int64_t n_max, unsigned fuse, struct builder *b) {
  int64_t size = (int64_t)fvm_dtype_bytes(c->out[0].dtype);
  *e = (struct epilogue){.call = *c, .dims = m, .addend = -1, .residual = -1};
  if (fuse & FUSE_START) e->addend = take_addend(e, &e->add, b);
  if (fuse & FUSE_ADD) e->residual = take_addend(e, &e->rest, b);
  if (fuse & FUSE_CLIP) take_bounds(e, b);
  e->out = (struct matrix){c->nin, 0, m.cols * size, size, m.rows * m.cols * size};
  e->anchor = e->out;
  e->local = c->out[0].dtype != FVM_F32;
  if (e->local)
    e->anchor = (struct matrix){build_buf(b, BUF_SCRATCH, m_max * n_max * 4), 0, n_max * 4, 4, 0};
  if (e->call.body) body_scratch(&e->call, m_max, n_max, b, &e->scratch);
}

void epilogue_init(struct epilogue *e, const struct opcall *c, int64_t cols, int64_t m_max,
                   int64_t n_max, unsigned fuse, struct builder *b) {
  epilogue_init_blocks(e, c, (struct matrix_dims){.cols = cols}, m_max, n_max, fuse, b);
}

struct addr epilogue_anchor(const struct epilogue *e, const struct place *p) {
  return e->local ? ADDR(e->anchor.buf, e->anchor.off) : matrix_at(&e->anchor, p);
}

void epilogue_emit(const struct epilogue *e, const struct place *p, struct val m, int64_t m_max,
                   struct val n, int64_t n_max, struct builder *b) {
  if (!e->call.body) return;
  struct tile t = {.at = *p, .m = m, .n = n, .m_max = m_max, .n_max = n_max, .dims = e->dims};
  t.anchor = epilogue_anchor(e, p);
  t.anchor_row = e->anchor.rs;
  t.dst = matrix_at(&e->out, p);
  t.dst_row = e->out.rs;
  body_emit(&e->call, &t, &e->scratch, b);
}

void epilogue_strip(const struct epilogue *e, const struct place *p, const struct span *rows,
                    int64_t width, struct val n, int64_t n_max, int strip, int64_t nr,
                    struct builder *b) {
  if (!e->call.body) return;
  struct tile t = {.at = *p, .m = val(width), .n = n, .m_max = width, .n_max = n_max};
  struct span y = span_open(b, false, rows->len, rows->max, 1);
  place_row(&t.at, &y, width);
  t.dims = e->dims;
  t.anchor = ADDR(strip, 0);
  span_term(&t.anchor, &y, width * nr * 4);
  t.dst = t.anchor;
  t.anchor_row = t.dst_row = nr * 4;
  body_emit(&e->call, &t, &e->scratch, b);
  span_close(b, &y);
}
