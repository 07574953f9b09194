/* Loops, places and epilogues for the emitters. Contract: emit.h. */
#include "emit.h"

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

void place_row(struct place *p, const struct span *s, int64_t rows) { add_term(p->row, s, rows); }
void place_col(struct place *p, const struct span *s, int64_t cols) { add_term(p->col, s, cols); }

struct addr matrix_at(const struct matrix *m, const struct place *p) {
  struct addr a = {.buf = m->buf, .off = m->off};
  for (int i = 0; i < CODE_MAXTERM && p->row[i].stride; i++)
    addr_add(&a, p->row[i].reg, p->row[i].stride * m->rs);
  for (int i = 0; i < CODE_MAXTERM && p->col[i].stride; i++)
    addr_add(&a, p->col[i].reg, p->col[i].stride * m->cs);
  return a;
}

/* Strides of the axes that make up one side of the matrix must chain: each is the one inside it
 * times that one's extent. */
struct chain {
  bool any;
  int64_t stride, extent;
};

static bool chain_add(struct chain *ch, int64_t stride, int64_t extent) {
  if (ch->any && stride != ch->stride * ch->extent) return false;
  if (!ch->any) *ch = (struct chain){true, stride, 1};
  ch->extent *= extent;
  return true;
}

bool matrix_strides(const struct tensor *x, const struct tensor *out, int64_t cols, int64_t *rs,
                    int64_t *cs) {
  struct chain row = {0}, col = {0};
  int64_t seen = 1, dense = 1;
  for (int i = 1; i <= out->rank; i++) {
    int64_t d = out->dim[out->rank - i], xd = i <= x->rank ? x->dim[x->rank - i] : 1;
    int64_t stride = xd == 1 ? 0 : dense;
    dense *= xd;
    if (d == 1) continue;
    if (seen < cols && cols % (seen * d) != 0) return false;
    if (!chain_add(seen < cols ? &col : &row, stride, d)) return false;
    seen *= d;
  }
  *rs = row.stride;
  *cs = col.stride;
  return true;
}

/* ---- epilogue -------------------------------------------------------------------------------- */
bool epilogue_fits(const struct opcall *c, int64_t count, int64_t cols) {
  if (tensor_count(&c->out[0]) != count) return false;
  if (!c->body) return c->out[0].dtype == FVM_F32;
  return body_supported(c) && body_fits(c, cols);
}

static bool reads(const struct body_item *it, int value) {
  for (int i = 0; i < it->narg; i++)
    if (it->arg[i] == value) return true;
  return false;
}

int epilogue_addend(const struct opcall *c, int64_t cols, int64_t *rs) {
  if (!c->body || c->body->n == 0) return -1;
  const struct body_item *it = &c->body->item[0];
  if (strcmp(it->op->name, "Add") != 0 || it->narg != 2 || it->dtype != FVM_F32) return -1;
  int x = it->arg[0] == c->nin ? it->arg[1] : it->arg[0];
  if (x >= c->nin || !reads(it, c->nin)) return -1;
  for (int i = 1; i < c->body->n; i++)
    if (reads(&c->body->item[i], c->nin)) return -1;
  int64_t cs;
  if (!matrix_strides(&c->in[x], &c->out[0], cols, rs, &cs)) return -1;
  return cs == 1 || cols == 1 ? x : -1;
}

/* The body without its first item, whose result is now what the anchor makes. */
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

void epilogue_init(struct epilogue *e, const struct opcall *c, int64_t cols, int64_t m_max,
                   int64_t n_max, bool fuse, struct builder *b) {
  int64_t rs = 0, size = (int64_t)fvm_dtype_bytes(c->out[0].dtype);
  *e = (struct epilogue){.call = *c, .cols = cols, .addend = -1};
  if (fuse) e->addend = epilogue_addend(c, cols, &rs);
  if (e->addend >= 0) {
    e->add = (struct matrix){e->addend, 0, rs * 4, 4};
    e->call.body = drop_first(c, b);
  }
  e->out = (struct matrix){c->nin, 0, cols * size, size};
  e->anchor = e->out;
  e->local = c->out[0].dtype != FVM_F32;
  if (e->local)
    e->anchor = (struct matrix){build_buf(b, BUF_SCRATCH, m_max * n_max * 4), 0, n_max * 4, 4};
  if (e->call.body) body_scratch(&e->call, m_max, n_max, b, &e->scratch);
}

struct addr epilogue_anchor(const struct epilogue *e, const struct place *p) {
  return e->local ? ADDR(e->anchor.buf, e->anchor.off) : matrix_at(&e->anchor, p);
}

void epilogue_emit(const struct epilogue *e, const struct place *p, struct val m, int64_t m_max,
                   struct val n, int64_t n_max, struct builder *b) {
  if (!e->call.body) return;
  struct tile t = {.m = m, .n = n, .m_max = m_max, .n_max = n_max, .cols = e->cols};
  memcpy(t.row, p->row, sizeof t.row);
  memcpy(t.col, p->col, sizeof t.col);
  t.anchor = epilogue_anchor(e, p);
  t.anchor_row = e->anchor.rs;
  t.dst = matrix_at(&e->out, p);
  t.dst_row = e->out.rs;
  body_emit(&e->call, &t, &e->scratch, b);
}
