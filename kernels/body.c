/* Emission of strips on tiles. Contracts: body.h, elt.h. */
#include "body.h"

#include "elt.h"

_Static_assert(COUNT(((struct body_scratch *)0)->buf) > ELT_MAXSLOT, "constants need a buffer too");

enum { CONST_BYTES = 8 };

/* Constants lie in one shared buffer that is filled before any par opens: its barrier makes them
 * visible to all threads. */
void elt_scratch(const struct elt_prog *p, int64_t m_max, int64_t n_max, struct builder *b,
                 struct body_scratch *s) {
  s->n = p->nslot;
  for (int i = 0; i < p->nslot; i++)
    s->buf[i] = build_buf(b, BUF_SCRATCH, m_max * n_max * p->slot_bytes[i]);
  if (p->nconst == 0) return;
  int buf = s->buf[s->n++] = build_buf(b, BUF_SHARED, CONST_BYTES * p->nconst);
  for (int i = 0; i < p->nconst; i++) {
    size_t size = fvm_dtype_bytes(p->cst[i].dtype);
    struct box one = {.y_buf = buf,
                      .y_off = CONST_BYTES / (int64_t)size * i,
                      .elem_bytes = size,
                      .fill = true,
                      .value = p->cst[i].bits};
    box_emit(b, &one, 1);
  }
}

static struct elt_tile operand(const struct elt_prog *p, const struct elt_site *site,
                               const struct body_scratch *s, const struct elt_value *v) {
  switch (v->kind) {
  case ELT_INPUT:
    return site->in[v->i];
  case ELT_ANCHOR:
    return site->anchor;
  case ELT_CONST:
    return (struct elt_tile){ADDR(s->buf[p->nslot], CONST_BYTES * v->i, {0, 0}), 0, 0};
  default:
    return (struct elt_tile){ADDR(s->buf[p->step[v->i].slot], 0, {0, 0}), site->n_max, 1};
  }
}

void elt_emit(const struct elt_prog *p, const struct elt_site *site, const struct body_scratch *s,
              struct builder *b) {
  for (int i = 0; i < p->nstep; i++) {
    const struct elt_step *step = &p->step[i];
    struct addr at[ELT_MAXARG + 1];
    struct val v[2 * ELT_MAXARG + 4] = {site->m, site->n};
    int n = 2;
    for (int j = 0; j < step->narg; j++) {
      struct elt_tile t = operand(p, site, s, &step->arg[j]);
      at[j] = t.at;
      v[n++] = val(t.row);
      v[n++] = val(t.col);
    }
    struct elt_value self = {.kind = ELT_STEP, .i = i};
    struct elt_tile dst = i == p->nstep - 1 ? site->dst : operand(p, site, s, &self);
    at[step->narg] = dst.at;
    v[n++] = val(dst.row);
    v[n++] = val(1); /* copies alone have a column stride for what they write */
    build_ukr(b, step->ukr, at, v);
  }
}

/* ---- tiles of a matrix ---- */

/* Axes that are one: n elements, stride apart. */
struct run {
  int64_t n, stride;
};

static bool join(struct run *r, int64_t n, int64_t stride) {
  if (n == 1) return true;
  if (r->n > 1 && stride != r->stride * r->n) return false;
  if (r->n == 1) r->stride = stride;
  r->n *= n;
  return true;
}

/* Strides of an input over rows and columns of the output as a matrix; false when it has none. */
static bool affine(const struct tensor *in, const struct tensor *out, int64_t cols, int64_t *row,
                   int64_t *col) {
  int64_t stride[FVM_MAXRANK], left = cols;
  struct run r = {1, 0}, c = {1, 0};
  *row = *col = 0;
  if (tensor_count(out) == 0) return true;
  broadcast_strides(in, out, stride);
  for (int i = out->rank - 1; i >= 0; i--) {
    int64_t dim = out->dim[i], inner = MIN(dim, left);
    if (inner == 0 || dim % inner || left % inner) return false;
    if (!join(&c, inner, stride[i]) || !join(&r, dim / inner, stride[i] * inner)) return false;
    left /= inner;
  }
  *row = r.stride;
  *col = c.stride;
  return left == 1 && c.stride <= 1;
}

static bool reads_input(const struct elt_prog *p, int i) {
  for (int s = 0; s < p->nstep; s++)
    for (int j = 0; j < p->step[s].narg; j++)
      if (p->step[s].arg[j].kind == ELT_INPUT && p->step[s].arg[j].i == i) return true;
  return false;
}

bool body_supported(const struct opcall *c) {
  struct elt_prog p;
  return c->nin <= NEST_MAXOP && elt_lower(c, &p);
}

bool body_fits(const struct opcall *c, int64_t cols) {
  struct elt_prog p;
  int64_t row, col;
  if (c->nin > NEST_MAXOP || !elt_lower(c, &p)) return false;
  for (int i = 0; i < c->nin; i++) {
    if (!reads_input(&p, i)) continue;
    if (i < c->nown || !affine(&c->in[i], &c->out[0], cols, &row, &col)) return false;
  }
  return true;
}

void body_scratch(const struct opcall *c, int64_t m_max, int64_t n_max, struct builder *b,
                  struct body_scratch *s) {
  struct elt_prog p;
  CHECK(elt_lower(c, &p));
  elt_scratch(&p, m_max, n_max, b, s);
}

static struct elt_tile input_tile(const struct opcall *c, const struct tile *t, int i) {
  struct elt_tile e = {.at = ADDR(i, 0, {0, 0})};
  int64_t row, col, size = (int64_t)fvm_dtype_bytes(c->in[i].dtype);
  CHECK(affine(&c->in[i], &c->out[0], t->cols, &row, &col));
  for (int k = 0; k < CODE_MAXTERM && t->row[k].stride; k++)
    addr_add(&e.at, t->row[k].reg, t->row[k].stride * row * size);
  for (int k = 0; k < CODE_MAXTERM && t->col[k].stride; k++)
    addr_add(&e.at, t->col[k].reg, t->col[k].stride * col * size);
  e.row = row;
  e.col = (int)col;
  return e;
}

void body_emit(const struct opcall *c, const struct tile *t, const struct body_scratch *s,
               struct builder *b) {
  struct elt_prog p;
  struct elt_tile in[NEST_MAXOP];
  struct opcall own;
  struct tensor anchor = {.dtype = FVM_F32};
  CHECK(elt_lower(c, &p));
  for (int i = 0; i < c->nin; i++)
    if (reads_input(&p, i)) in[i] = input_tile(c, t, i);
  if (c->nown) opcall_anchor(c, &own, &anchor);
  int64_t out_bytes = (int64_t)fvm_dtype_bytes(c->out[0].dtype);
  struct elt_site site = {
      .in = in,
      .anchor = {t->anchor, t->anchor_row / (int64_t)fvm_dtype_bytes(anchor.dtype), 1},
      .dst = {t->dst, t->dst_row / out_bytes, 1},
      .m = t->m,
      .n = t->n,
      .n_max = t->n_max};
  elt_emit(&p, &site, s, b);
}
