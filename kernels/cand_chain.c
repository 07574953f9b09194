/* chain_direct: a direct convolution (or product), and what looks at windows of its result channel
 * by channel, a pool or a depthwise convolution, in one program:
 *
 *   for each image                    par over blocks of output rows, or (SPLIT) over panels
 *     for blocks of output rows       the input's block, with its border, to scratch
 *       for panels of channels        the convolution's rows under the block go to a strip
 *                                     windows of the strip go to the output
 *
 * A strip is as high as the windows of a block: blocks overlap in the rows by which windows do, and
 * these are computed for both. It begins with the first row under the block that there is. What is
 * not there is cut off the windows, as at the borders of any image:
 *
 *            . . .  pad: rows of the padding above the strip
 *   first -> -----  the strip's first row
 *            -----  height: rows that it has
 *            . . .  padding
 */
#include "chain.h"
#include "direct.h"
#include "last.h"
#include "op_impl.h"

/* Knobs, the first two being direct's. ROWS: output rows of a block. */
enum { MR, NR, ROWS, SPLIT };

struct gen {
  struct direct d;
  struct last op;
  struct opcall tail; /* the second part, its inputs numbered as the chain's */
  struct view view;
  struct epilogue e;
  struct builder *b;
  struct span r;                /* output rows */
  int64_t high, channels, wide; /* rows of a strip; channels of all and of a panel */
  int first;                    /* register; -1: 0 */
  struct val pad, height;
};

static bool last_of(const struct opcall *c, struct last *op) {
  return c->nown > 1 ? last_of_conv(c, op) : last_of_pool(c, op);
}

/* Rows of a strip for a block of n output rows. */
static int64_t strip_rows(const struct window *w, int64_t n) {
  return MIN(window_under(w, 1, n), w->in[1]);
}

/* ---- the second part ------------------------------------------------------------------------- */
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

/* ---- where strips lie -------------------------------------------------------------------------
 */
/* Registers only know min(cap, limit - register), so what grows with the row is written as what is
 * left of a bound. `most` - step * row, where the row is at most most / step. */
static int what_is_left(struct builder *b, int64_t most, int64_t bound, int64_t step, int row) {
  int r = build_min(b, step > 1 ? most : bound, val(most), row);
  for (int64_t i = 1; i < step; i++) r = build_min(b, i + 1 < step ? most : bound, reg(r), row);
  return r;
}

/* The strip of the block whose first output row is in g->r. */
static void place_strip(struct gen *g) {
  const struct window *w = &g->op.w;
  struct builder *b = g->b;
  int64_t s = w->stride[1], pad = w->lo[1];
  int64_t last = s * ((w->out[1] - 1) / g->r.max * g->r.max); /* row of the last block */
  g->first = -1;
  g->pad = val(pad);
  g->height = val(g->high);
  if (g->r.reg < 0 || last == 0) return;
  int left = what_is_left(b, last + pad, last, s, g->r.reg); /* last - max(0, row - pad) */
  g->first = build_min(b, last, val(last), left);
  g->height = reg(build_min(b, g->high, val(w->in[1]), g->first));
  if (pad == 0) return;
  int row = what_is_left(b, last, last, s, g->r.reg), above = build_min(b, pad, val(last), row);
  g->pad = reg(build_min(b, pad, val(pad), above));
}

/* Channels of the panel at hand. */
static struct val channels_of(const struct gen *g) {
  return g->d.cut ? val(g->d.tile->nr) : g->d.j.len;
}

/* ---- windows --------------------------------------------------------------------------------- */
/* Image, panel and row of the output. */
static struct place place_of(const struct gen *g) {
  const struct window *w = &g->op.w;
  struct place at = {0};
  if (g->d.cut) {
    place_block(&at, &g->d.n, g->channels / LAYOUT_CUT);
    place_block(&at, &g->d.j, 1);
  } else {
    place_row(&at, &g->d.n, window_outputs(w));
    place_col(&at, &g->d.j, 1);
  }
  place_row(&at, &g->r, w->out[2]);
  return at;
}

static void put_weights(const struct gen *g, struct addr x, struct addr y, struct val *v) {
  const struct last *op = &g->op;
  int64_t taps = op->w.kernel[1] * op->w.kernel[2], panel = g->d.cut ? LAYOUT_CUT : 1;
  int weights = g->d.view.call.nin, bias = weights + op->bias;
  struct addr f = ADDR(weights, 0), c = ADDR(bias, 0);
  span_term(&f, &g->d.j, panel * taps * 4);
  span_term(&c, &g->d.j, panel * 4);
  v[18] = val(ROUND_UP(g->wide, (int64_t)LAYOUT_CUT) * taps);
  v[19] = val(op->bias);
  v[20] = val_float(g->e.bounds.lo);
  v[21] = val_float(g->e.bounds.hi);
  build_ukr(g->b, op->ukr, (struct addr[]){x, f, c, y}, v);
}

static void put_windows(const struct gen *g) {
  const struct last *op = &g->op;
  const struct window *w = &op->w;
  struct place at = place_of(g);
  struct addr x = ADDR(g->d.sink, 0), y = epilogue_anchor(&g->e, &at);
  int64_t sx = g->d.tile->nr, sy = g->e.anchor.rs / 4;
  struct val v[UKR_MAXVAL] = {
      g->height, val(w->in[2]), channels_of(g), val(w->in[2] * sx),  val(sx),
      val(0),    g->r.len,      val(w->out[2]), val(w->out[2] * sy), val(sy)};
  window_vals(w, v + 10);
  v[14] = g->pad;
  for (int i = 0; i < op->ntail; i++) v[18 + i] = op->tail[i];
  if (op->weights)
    put_weights(g, x, y, v);
  else
    build_ukr(g->b, op->ukr, (struct addr[]){x, y}, v);
}

static void put_body(const struct gen *g) {
  if (!g->e.call.body) return;
  int64_t width = g->op.w.out[2];
  struct place at = place_of(g);
  struct span y = span_open(g->b, false, g->r.len, g->r.max, 1);
  place_row(&at, &y, width);
  epilogue_emit(&g->e, &at, val(width), width, channels_of(g), g->wide, g->b);
  span_close(g->b, &y);
}

/* ---- both ------------------------------------------------------------------------------------ */
static void emit_panel(struct gen *g, struct addr x) {
  direct_rows(&g->d, x);
  direct_body(&g->d);
  put_windows(g);
  put_body(g);
}

static void open_rows(struct gen *g, bool par, int64_t rows) {
  const struct window *w = &g->op.w;
  g->r = span_open(g->b, par, val(w->out[1]), w->out[1], rows);
  place_strip(g);
  g->d.p = (struct span){g->first, g->height, g->high};
}

static void init(struct gen *g, const struct opcall *c, const struct label *l, struct builder *b) {
  const struct direct_form f = {.in = (enum layout)l->in[0],
                                .out = (enum layout)l->out[0],
                                .mr = l->knob[MR],
                                .nr = l->knob[NR]};
  *g = (struct gen){.b = b, .channels = layout_channels(&c->out[0], f.out)};
  g->wide = MIN(f.nr, g->channels);
  CHECK(last_of(&c->part[1], &g->op));
  g->high = strip_rows(&g->op.w, l->knob[ROWS]);
  direct_init(&g->d, &c->part[0], &f, g->high, true, b);
  g->d.flat &= l->knob[ROWS] >= g->op.w.out[1]; /* else strips differ in height */
  if (!tail_init(&g->tail, c, b->arena)) {
    fvm_nomem(&b->err);
    return;
  }
  view_init(&g->view, &g->tail, g->tail.nown, f.out);
  epilogue_init_blocks(&g->e, &g->view.call, g->view.dims, g->op.w.out[2], MIN(f.nr, g->channels),
                       g->op.weights ? FUSE_CLIP : 0, b);
}

static void emit(const struct opcall *c, const struct label *l, struct builder *b) {
  struct gen g;
  struct direct *d = &g.d;
  struct addr image = ADDR(0, 0);
  bool split = l->knob[SPLIT] != 0;
  init(&g, c, l, b);
  if (b->err.code != FVM_OK) return;
  d->n = span_open(b, false, val(d->v.n), d->v.n, 1);
  span_term(&image, &d->n, d->v.in_channels * window_inputs(&d->v.w) * 4);
  d->split = split;
  if (split) d->j = direct_panels(d);
  open_rows(&g, !split, l->knob[ROWS]);
  struct addr x = direct_input(d, &image);
  d->split = false;
  if (!split) d->j = direct_panels(d);
  emit_panel(&g, x);
  if (!split) span_close(b, &d->j);
  span_close(b, &g.r);
  if (split) span_close(b, &d->j);
  span_close(b, &d->n);
}

/* ---- labels ---------------------------------------------------------------------------------- */
/* Weights of a depthwise convolution lie in blocks of 16 channels, which panels must fill. */
static bool panels_fit(const struct opcall *c, int64_t nr) {
  int64_t channels = c->out[0].dim[1];
  if (c->part[1].nown == 1) return true;
  return nr % LAYOUT_CUT == 0 &&
         (channels <= nr || ROUND_UP(channels, (int64_t)LAYOUT_CUT) % nr == 0);
}

static bool fits(const struct opcall *c, const struct conv *v, const struct last *op,
                 const struct direct_form *f, enum isa isa, struct label *l) {
  struct opcall tail;
  struct arena a = {0};
  int nfirst = c->part[0].nin;
  if (!last_keeps_padding(op, &c->part[1].in[0], f->out)) return false;
  if (!panels_fit(c, f->nr) || !direct_fits(&c->part[0], v, f, isa, l)) return false;
  bool ok = tail_init(&tail, c, &a) && view_layouts(&tail, tail.nown, f->out, l) &&
            view_fits(&tail, tensor_count(&c->out[0]), f->out);
  if (op->weights) l->in[nfirst] = LAYOUT_F16;
  if (op->bias) view_vector(c, nfirst + 1, l);
  arena_free(&a);
  return ok;
}

enum { MOST_STRIDE = 8 };

/* Windows that move over the rows of an image, none of which lies below them. */
static bool is_ours(const struct opcall *c, struct conv *v, struct last *op) {
  if (!direct_takes(&c->part[0], v) || !last_of(&c->part[1], op)) return false;
  const struct window *w = &op->w;
  if (!window_is_plane(w) || tensor_count(&c->out[0]) == 0) return false;
  return w->stride[1] <= MOST_STRIDE && (w->out[1] - 1) * w->stride[1] - w->lo[1] < w->in[1];
}

/* Rows of a block, for which strip and input take at most `bytes`, in as many equal blocks for each
 * thread. */
static int64_t block_rows(const struct conv *v, const struct window *w, int nr, int64_t bytes,
                          int threads) {
  int64_t each = 4 * (v->w.out[2] * nr +
                      v->in_channels * v->w.stride[1] * window_under(&v->w, 2, v->w.out[2]));
  int64_t overlap = (w->kernel[1] - 1) * w->dilation[1] + 1 - w->stride[1];
  int64_t rows = MAX((bytes / MAX(each, 1) - overlap) / w->stride[1], 1);
  int64_t blocks = CEIL_DIV(w->out[1], rows);
  return MAX(CEIL_DIV(w->out[1], ROUND_UP(blocks, threads)), 1);
}

/* The i-th choice of blocks and threads, of those that differ. */
static bool offer(const struct conv *v, const struct window *w, const struct target *t, int i,
                  struct label *l) {
  int64_t l2 = t->l2_bytes > 0 ? t->l2_bytes : 512 << 10;
  int nr = l->knob[NR];
  for (int k = 0; k < MAX(t->nthreads, 1); k++) {
    int threads = t->nthreads ? t->threads[k] : 1;
    const int64_t rows[] = {block_rows(v, w, nr, l2 / 2, threads),
                            block_rows(v, w, nr, l2 / 8, threads), block_rows(v, w, nr, l2 / 2, 1)};
    l->threads = threads;
    for (int n = 0; n < 3; n++) {
      l->knob[SPLIT] = n == 2;
      l->knob[ROWS] = (int32_t)rows[n];
      if (n == 1 && rows[1] == rows[0]) continue;
      if (n == 2 && (threads == 1 || v->out_channels < threads * nr)) continue;
      if (i-- == 0) return true;
    }
  }
  return false;
}

static bool label(const struct opcall *c, const struct target *t, int i, struct label *l) {
  struct conv v;
  struct last op;
  if (!is_ours(c, &v, &op)) return false;
  for (const struct direct_form *f = direct_forms; f->mr; f++) {
    int n = 0;
    if (!fits(c, &v, &op, f, t->isa, l)) continue;
    while (offer(&v, &op.w, t, n, l)) {
      if (i-- == 0) return true;
      n++;
    }
  }
  return false;
}

static void cost(const struct opcall *c, const struct label *l, struct opcost *cost) {
  struct conv v;
  struct last op;
  CHECK(is_ours(c, &v, &op));
  const struct window *w = &op.w;
  int64_t panels = CEIL_DIV(v.out_channels, l->knob[NR]), k = v.w.kernel[1] * v.w.kernel[2];
  int64_t blocks = CEIL_DIV(w->out[1], l->knob[ROWS]), rows = strip_rows(w, l->knob[ROWS]);
  cost_stream(c, l, cost);
  cost->flops = 2 * v.n * blocks * rows * v.w.out[2] * panels * l->knob[NR] * v.in_channels * k;
  cost->flops += (op.weights ? 2 : 1) * tensor_count(&c->out[0]) * w->kernel[1] * w->kernel[2];
  cost->calls = v.n * blocks * panels * (rows + 1);
}

const struct cand chain_cands[] = {
    {"chain_direct", {"mr", "nr", "rows", "split"}, label, emit, cost},
    {0},
};
