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

/* Which of columns, rows and blocks the axes are dealt to, innermost first. */
struct dealing {
  const int64_t *extent; /* of columns and rows; what is left belongs to the blocks */
  int level;
  int64_t left; /* of the extent */
};

static void settle(struct dealing *d) {
  while (d->level < 2 && d->left == 1)
    if (++d->level < 2) d->left = d->extent[d->level];
}

static bool deal(struct dealing *d, int64_t dim, int64_t stride, struct run run[3]) {
  while (dim > 1 && d->level < 2) {
    int64_t inner = MIN(dim, d->left);
    if (inner == 0 || dim % inner || d->left % inner || !join(&run[d->level], inner, stride))
      return false;
    dim /= inner;
    stride *= inner;
    d->left /= inner;
    settle(d);
  }
  return join(&run[2], dim, stride);
}

bool matrix_steps(const struct tensor *in, const struct tensor *out, struct matrix_dims m,
                  struct matrix_steps *s) {
  int64_t stride[FVM_MAXRANK], count = tensor_count(out);
  struct run run[3] = {{1, 0}, {1, 0}, {1, 0}};
  *s = (struct matrix_steps){0};
  if (count == 0) return true;
  const int64_t extent[2] = {m.cols, m.rows ? m.rows : MAX(count / MAX(m.cols, 1), 1)};
  struct dealing d = {extent, 0, m.cols};
  settle(&d);
  broadcast_strides(in, out, stride);
  for (int i = out->rank - 1; i >= 0; i--)
    if (!deal(&d, out->dim[i], stride[i], run)) return false;
  *s = (struct matrix_steps){run[0].stride, run[1].stride, run[2].stride};
  return d.level == 2;
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

/* Strides of an input of strips: they take dense columns, or one element for all. */
static bool strip_steps(const struct opcall *c, int i, struct matrix_dims m,
                        struct matrix_steps *s) {
  return matrix_steps(&c->in[i], &c->out[0], m, s) && s->col <= 1;
}

bool body_fits(const struct opcall *c, struct matrix_dims m) {
  struct elt_prog p;
  struct matrix_steps step;
  if (c->nin > NEST_MAXOP || !elt_lower(c, &p)) return false;
  for (int i = 0; i < c->nin; i++) {
    if (!reads_input(&p, i)) continue;
    if (i < c->nown || !strip_steps(c, i, m, &step)) return false;
  }
  return true;
}

void body_scratch(const struct opcall *c, int64_t m_max, int64_t n_max, struct builder *b,
                  struct body_scratch *s) {
  struct elt_prog p;
  CHECK(elt_lower(c, &p));
  elt_scratch(&p, m_max, n_max, b, s);
}

struct addr place_at(int buf, int64_t off, const struct place *p, struct matrix_steps step) {
  struct addr a = {.buf = buf, .off = off};
  for (int i = 0; i < CODE_MAXTERM && p->block[i].stride; i++)
    addr_add(&a, p->block[i].reg, p->block[i].stride * step.block);
  for (int i = 0; i < CODE_MAXTERM && p->row[i].stride; i++)
    addr_add(&a, p->row[i].reg, p->row[i].stride * step.row);
  for (int i = 0; i < CODE_MAXTERM && p->col[i].stride; i++)
    addr_add(&a, p->col[i].reg, p->col[i].stride * step.col);
  return a;
}

static struct elt_tile input_tile(const struct opcall *c, const struct tile *t, int i) {
  struct matrix_steps e;
  int64_t size = (int64_t)fvm_dtype_bytes(c->in[i].dtype);
  CHECK(strip_steps(c, i, t->dims, &e));
  struct matrix_steps bytes = {e.col * size, e.row * size, e.block * size};
  return (struct elt_tile){place_at(i, 0, &t->at, bytes), e.row, (int)e.col};
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
