/* Windows over strips. Contract: chain_strip.h. */
#include "chain_strip.h"
#include "op_impl.h"

static bool last_of(const struct opcall *c, struct last *op) {
  return c->nown > 1 ? last_of_conv(c, op) : last_of_pool(c, op);
}

enum { MOST_STRIDE = 8 };

bool strip_takes(const struct opcall *c, struct last *op) {
  if (!last_of(&c->part[1], op)) return false;
  const struct window *w = &op->w;
  if (!window_is_plane(w) || tensor_count(&c->out[0]) == 0) return false;
  return w->stride[1] <= MOST_STRIDE && (w->out[1] - 1) * w->stride[1] - w->lo[1] < w->in[1];
}

int64_t strip_rows(const struct window *w, int64_t n) {
  return MIN(window_under(w, 1, n), w->in[1]);
}

/* ---- the second part as an opcall -------------------------------------------------------------
 */
static int renumber(const struct opcall *c, int arg) {
  const struct opcall *a = &c->part[0], *b = &c->part[1];
  return arg < 0 ? arg : arg < b->nin ? chain_input(a, 1, arg) : arg - b->nin + c->nin;
}

/* Its body's inputs are those of the chain, behind all that the anchors own. False when memory is
 * out. */
static bool tail_init(struct opcall *tail, const struct opcall *c, struct arena *a) {
  const struct opcall *b = &c->part[1];
  *tail = *b;
  tail->part = c->part;
  tail->in = c->in;
  tail->nin = c->nin;
  tail->nown = c->nin - (b->nin - b->nown);
  if (!b->body) return true;
  struct body *body = ARENA_NEW(a, struct body, 1);
  struct body_item *item = ARENA_NEW(a, struct body_item, b->body->n);
  if (!body || !item) return false;
  for (int i = 0; i < b->body->n; i++) {
    item[i] = b->body->item[i];
    for (int k = 0; k < item[i].narg; k++) item[i].arg[k] = renumber(c, item[i].arg[k]);
  }
  *body = (struct body){b->body->n, item};
  tail->body = body;
  return true;
}

/* ---- labels ---------------------------------------------------------------------------------- */
/* Weights of a depthwise convolution lie in blocks of 16 channels, which panels must fill. */
static bool panels_fit(const struct opcall *c, const struct last *op, int64_t nr) {
  int64_t channels = c->out[0].dim[1];
  if (!op->weights) return true;
  return nr % LAYOUT_CUT == 0 &&
         (channels <= nr || ROUND_UP(channels, (int64_t)LAYOUT_CUT) % nr == 0);
}

bool strip_fits(const struct opcall *c, const struct last *op, enum layout layout, int64_t nr,
                struct label *l) {
  struct opcall tail;
  struct arena a = {0};
  int nfirst = c->part[0].nin;
  if (!panels_fit(c, op, nr) || !last_keeps_padding(op, &c->part[1].in[0], layout)) return false;
  bool ok = tail_init(&tail, c, &a) && view_layouts(&tail, tail.nown, layout, l) &&
            view_fits(&tail, tensor_count(&c->out[0]), layout);
  if (op->weights) l->in[nfirst] = LAYOUT_F16;
  if (op->bias) view_vector(c, nfirst + 1, l);
  arena_free(&a);
  return ok;
}

/* ---- where strips lie -------------------------------------------------------------------------
 */
/* Registers only know min(cap, limit - register), so what grows with the row is written as what is
 * left of a bound. `most` - step * row, where the row is at most most / step. */
static int what_is_left(struct builder *b, int64_t most, int64_t bound, int64_t step, int row) {
  int r = build_min(b, step > 1 ? most : bound, val(most), row);
  for (int64_t i = 1; i < step; i++) r = build_min(b, i + 1 < step ? most : bound, reg(r), row);
  return r;
}

/* The strip of the block whose first output row is in s->r. */
static void place_strip(struct strip *s) {
  const struct window *w = &s->op.w;
  struct builder *b = s->b;
  int64_t step = w->stride[1], pad = w->lo[1];
  int64_t last = step * ((w->out[1] - 1) / s->r.max * s->r.max); /* row of the last block */
  s->first = -1;
  s->pad = val(pad);
  s->height = val(s->high);
  if (s->r.reg < 0 || last == 0) return;
  int left = what_is_left(b, last + pad, last, step, s->r.reg); /* last - max(0, row - pad) */
  s->first = build_min(b, last, val(last), left);
  s->height = reg(build_min(b, s->high, val(w->in[1]), s->first));
  if (pad == 0) return;
  int row = what_is_left(b, last, last, step, s->r.reg), above = build_min(b, pad, val(last), row);
  s->pad = reg(build_min(b, pad, val(pad), above));
}

void strip_open(struct strip *s, bool par, int64_t rows) {
  s->r = span_open(s->b, par, val(s->op.w.out[1]), s->op.w.out[1], rows);
  place_strip(s);
}

void strip_init(struct strip *s, const struct opcall *c, enum layout l, int64_t nr, int64_t rows,
                struct builder *b) {
  static const struct span none = {-1, {false, 1}, 1};
  *s = (struct strip){.b = b,
                      .cut = layout_is_cut(l),
                      .weights = c->part[0].nin,
                      .nr = nr,
                      .channels = layout_channels(&c->out[0], l),
                      .n = none,
                      .r = none,
                      .col = {{none, 0}, {none, 0}}};
  s->wide = MIN(nr, s->channels);
  CHECK(last_of(&c->part[1], &s->op));
  s->high = strip_rows(&s->op.w, rows);
  if (!tail_init(&s->tail, c, b->arena)) {
    fvm_nomem(&b->err);
    return;
  }
  view_init(&s->view, &s->tail, s->tail.nown, l);
  epilogue_init_blocks(&s->e, &s->view.call, s->view.dims, s->op.w.out[2], s->wide,
                       s->op.weights ? FUSE_CLIP : 0, b);
}

/* ---- windows --------------------------------------------------------------------------------- */
/* Image, panel and row of the output. */
static struct place place_of(const struct strip *s) {
  const struct window *w = &s->op.w;
  struct place at = {0};
  if (s->cut)
    place_block(&at, &s->n, s->channels / LAYOUT_CUT);
  else
    place_row(&at, &s->n, window_outputs(w));
  for (int i = 0; i < 2; i++)
    if (s->cut)
      place_block(&at, &s->col[i].s, s->col[i].each / LAYOUT_CUT);
    else
      place_col(&at, &s->col[i].s, s->col[i].each);
  place_row(&at, &s->r, w->out[2]);
  return at;
}

static void put_weights(const struct strip *s, struct addr x, struct addr y, struct val *v) {
  const struct last *op = &s->op;
  int64_t taps = op->w.kernel[1] * op->w.kernel[2];
  struct addr f = ADDR(s->weights, 0), c = ADDR(s->weights + op->bias, 0);
  for (int i = 0; i < 2; i++) {
    span_term(&f, &s->col[i].s, s->col[i].each * taps * 4);
    span_term(&c, &s->col[i].s, s->col[i].each * 4);
  }
  v[18] = val(ROUND_UP(s->wide, (int64_t)LAYOUT_CUT) * taps);
  v[19] = val(op->bias);
  v[20] = val_float(s->e.bounds.lo);
  v[21] = val_float(s->e.bounds.hi);
  build_ukr(s->b, op->ukr, (struct addr[]){x, f, c, y}, v);
}

static void put_windows(const struct strip *s) {
  const struct last *op = &s->op;
  const struct window *w = &op->w;
  struct place at = place_of(s);
  struct addr x = ADDR(s->sink, 0), y = epilogue_anchor(&s->e, &at);
  int64_t sx = s->nr, sy = s->e.anchor.rs / 4;
  struct val v[UKR_MAXVAL] = {
      s->height, val(w->in[2]), s->len,         val(w->in[2] * sx),  val(sx),
      val(0),    s->r.len,      val(w->out[2]), val(w->out[2] * sy), val(sy)};
  window_vals(w, v + 10);
  v[14] = s->pad;
  for (int i = 0; i < op->ntail; i++) v[18 + i] = op->tail[i];
  if (op->weights)
    put_weights(s, x, y, v);
  else
    build_ukr(s->b, op->ukr, (struct addr[]){x, y}, v);
}

static void put_body(const struct strip *s) {
  if (!s->e.call.body) return;
  int64_t width = s->op.w.out[2];
  struct place at = place_of(s);
  struct span y = span_open(s->b, false, s->r.len, s->r.max, 1);
  place_row(&at, &y, width);
  epilogue_emit(&s->e, &at, val(width), width, s->len, s->wide, s->b);
  span_close(s->b, &y);
}

void strip_windows(const struct strip *s) {
  put_windows(s);
  put_body(s);
}
