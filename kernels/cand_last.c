/* Depthwise convolutions and pools where channels lie last. Contract: last.h. */
#include "last.h"

#include <string.h>

/* ---- programs -------------------------------------------------------------------------------- */
struct gen {
  const struct last *op;
  const struct label *l;
  struct builder *b;
  struct view v;
  struct epilogue e;
  int64_t images, channels, width; /* width: channels of a pixel, where they lie together */
  int64_t chunks, taps;
  bool cut;
};

static void gen_init(struct gen *g, const struct last *op, const struct opcall *c,
                     const struct label *l, struct builder *b) {
  enum layout out = (enum layout)l->out[0];
  *g = (struct gen){.op = op,
                    .l = l,
                    .b = b,
                    .images = c->in[0].dim[0],
                    .channels = layout_channels(&c->in[0], out)};
  view_init(&g->v, c, c->nown, out);
  g->cut = layout_is_cut(out);
  g->width = g->v.dims.cols;
  g->chunks = CEIL_DIV(g->channels, (int64_t)l->knob[LAST_CB]);
  g->taps = op->w.kernel[1] * op->w.kernel[2];
  epilogue_init_blocks(&g->e, &g->v.call, g->v.dims, l->knob[LAST_ROWS] * op->w.out[2],
                       l->knob[LAST_CB], op->weights ? FUSE_CLIP : 0, b);
}

/* A place in an operand that has `pixel` bytes for each channel of nhwc, or 16 of c16. */
static void chunk_term(const struct gen *g, struct addr *a, const struct span *k, int64_t bytes) {
  span_term(a, k, g->cut ? LAYOUT_CUT * bytes : bytes);
}

/* Image, chunk and row of an output, as the epilogue counts them. */
static struct place place_of(const struct gen *g, const struct span *n, const struct span *k,
                             const struct span *r) {
  const struct window *w = &g->op->w;
  struct place at = {0};
  if (g->cut) {
    place_block(&at, n, g->chunks);
    place_block(&at, k, 1);
  } else {
    place_row(&at, n, window_outputs(w));
    place_col(&at, k, 1);
  }
  place_row(&at, r, w->out[2]);
  return at;
}

static struct addr input_at(const struct gen *g, const struct span *n, const struct span *k) {
  struct addr x = ADDR(0, 0);
  int64_t plane = window_inputs(&g->op->w) * 4;
  span_term(&x, n, g->channels * plane);
  span_term(&x, k, g->cut ? LAYOUT_CUT * plane : 4);
  return x;
}

static void put_kernel(const struct gen *g, const struct span *k, struct addr x, struct addr y,
                       struct val *v) {
  const struct last *op = g->op;
  struct addr f = ADDR(1, 0), bias = ADDR(op->bias ? 2 : 1, 0);
  if (!op->weights) {
    for (int i = 0; i < op->ntail; i++) v[18 + i] = op->tail[i];
    build_ukr(g->b, op->ukr, (struct addr[]){x, y}, v);
    return;
  }
  chunk_term(g, &f, k, g->taps * 4);
  chunk_term(g, &bias, k, 4);
  v[18] =
      val(ROUND_UP(MIN(g->channels, (int64_t)g->l->knob[LAST_CB]), (int64_t)LAYOUT_CUT) * g->taps);
  v[19] = val(op->bias);
  v[20] = val_float(g->e.bounds.lo);
  v[21] = val_float(g->e.bounds.hi);
  build_ukr(g->b, op->ukr, (struct addr[]){x, f, bias, y}, v);
}

/* Rows r of a chunk, and the body on them: there rows are all of one length. */
static void put_piece(const struct gen *g, const struct span *n, const struct span *k,
                      const struct span *r) {
  const struct window *w = &g->op->w;
  struct place at = place_of(g, n, k, r);
  struct val len = g->cut ? val(g->width) : k->len;
  int64_t cb = g->l->knob[LAST_CB], sx = g->width, sy = g->e.anchor.rs / 4;
  int64_t pixels = r->max * w->out[2];
  struct val v[UKR_MAXVAL] = {val(w->in[1]),
                              val(w->in[2]),
                              len,
                              val(w->in[2] * sx),
                              val(sx),
                              r->reg < 0 ? val(0) : reg(r->reg),
                              r->len,
                              val(w->out[2]),
                              val(w->out[2] * sy),
                              val(sy)};
  window_vals(w, v + 10);
  put_kernel(g, k, input_at(g, n, k), epilogue_anchor(&g->e, &at), v);
  epilogue_emit(&g->e, &at, val(pixels), pixels, len, cb, g->b);
}

void last_emit(const struct last *op, const struct opcall *c, const struct label *l,
               struct builder *b) {
  struct gen g;
  gen_init(&g, op, c, l, b);
  int64_t chunks = g.cut ? g.chunks : g.channels, step = g.cut ? 1 : l->knob[LAST_CB];
  bool split = l->knob[LAST_SPLIT] != 0;
  struct span n = span_open(b, false, val(g.images), g.images, 1), k, r;
  if (split) k = span_open(b, true, val(chunks), chunks, step);
  r = span_open(b, !split, val(op->w.out[1]), op->w.out[1], l->knob[LAST_ROWS]);
  if (!split) k = span_open(b, false, val(chunks), chunks, step);
  put_piece(&g, &n, &k, &r);
  span_close(b, &k); /* ends are alike, whichever loop they close */
  span_close(b, &r);
  span_close(b, &n);
}

/* ---- labels ---------------------------------------------------------------------------------- */
static int64_t divisor(int64_t n, int64_t most) {
  int64_t d = MAX(MIN(n, most), 1);
  while (n % d) d--;
  return d;
}

/* Channels of nhwc in a chunk: so many blocks of 16 that a row of windows stays in half of L1. */
static int64_t chunk_of(const struct last *op, int64_t channels, const struct target *t) {
  int64_t l1 = t->l1_bytes > 0 ? t->l1_bytes : 32 << 10, blocks = CEIL_DIV(channels, LAYOUT_CUT);
  int64_t line = MAX(op->w.kernel[1] * op->w.in[2] * LAYOUT_CUT * 4, 1);
  return MIN(divisor(blocks, l1 / 2 / line) * LAYOUT_CUT, channels);
}

/* Threads share what comes out more even: shares of rows or chunks that differ least. */
static bool by_chunks(int64_t rows, int64_t chunks, int64_t threads) {
  return chunks * CEIL_DIV(rows, threads) > rows * CEIL_DIV(chunks, threads);
}

enum { TILE = 8192 }; /* floats that a body works on: with what it reads they stay in L1 or L2 */

static void set_knobs(const struct last *op, const struct opcall *c, int64_t cb, struct label *l) {
  int64_t channels = c->in[0].dim[1], rows = op->w.out[1], width = op->w.out[2];
  bool split = l->threads > 1 && by_chunks(rows, CEIL_DIV(channels, cb), l->threads);
  int64_t most = split ? rows : CEIL_DIV(rows, (int64_t)l->threads);
  bool body = c->body && c->body->n > (op->weights && bounds_of(c).found);
  if (body) most = divisor(rows, MIN(most, TILE / (width * cb)));
  l->knob[LAST_CB] = (int32_t)cb;
  l->knob[LAST_ROWS] = (int32_t)most;
  l->knob[LAST_SPLIT] = split;
}

/* Whether every window sees something of the image. The maximum of nothing is no zero. */
static bool windows_meet(const struct window *w) {
  for (int i = 1; i < WINDOW_AXES; i++)
    for (int64_t o = 0; o < w->out[i]; o++) {
      int64_t at = o * w->stride[i] - w->lo[i], tap = 0;
      while (tap < w->kernel[i] && (at < 0 || at >= w->in[i])) tap++, at += w->dilation[i];
      if (tap == w->kernel[i]) return false;
    }
  return true;
}

bool last_keeps_padding(const struct last *op, const struct tensor *x, enum layout l) {
  return !layout_pads(x, l) || op->ukr != UKR_maxpool_last_f32 || windows_meet(&op->w);
}

static bool fits(const struct last *op, const struct opcall *c, enum layout l,
                 struct label *label) {
  const struct tensor *x = &c->in[0];
  struct tensor out = *x; /* of the anchor, before the body */
  memcpy(out.dim + 2, op->w.out + 1, 2 * sizeof *out.dim);
  if (!last_keeps_padding(op, x, l)) return false;
  if (x->rank != 4 || !layout_fits(x, l) || !view_layouts(c, c->nown, l, label)) return false;
  label->in[0] = (uint8_t)l;
  if (op->weights) label->in[1] = LAYOUT_F16;
  if (op->bias) view_vector(c, 2, label);
  return view_fits(c, tensor_count(&out), l);
}

bool last_label(const struct last *op, const struct opcall *c, const struct target *t, int i,
                struct label *l) {
  static const enum layout layouts[] = {LAYOUT_NHWC, LAYOUT_C16};
  int64_t channels = c->in[0].dim[1];
  if (c->in[0].dtype != FVM_F32 || !window_is_plane(&op->w)) return false;
  if (tensor_count(&c->in[0]) == 0 || channels > INT32_MAX) return false;
  for (size_t k = 0; k < COUNT(layouts); k++) {
    bool cut = layout_is_cut(layouts[k]);
    int64_t small = cut ? LAYOUT_CUT : chunk_of(op, channels, t);
    if (!fits(op, c, layouts[k], l)) continue;
    for (int n = 0; n < MAX(t->nthreads, 1); n++)
      for (int whole = 0; whole < (cut || small == channels ? 1 : 2); whole++) {
        if (i-- > 0) continue;
        l->threads = t->nthreads ? t->threads[n] : 1;
        set_knobs(op, c, whole ? channels : small, l);
        return true;
      }
  }
  return false;
}

void last_cost(const struct last *op, const struct opcall *c, const struct label *l,
               struct opcost *cost) {
  int64_t outputs = window_outputs(&op->w);
  cost_stream(c, l, cost);
  cost->flops = (op->weights ? 2 : 1) * c->in[0].dim[0] * c->in[0].dim[1] * outputs *
                op->w.kernel[1] * op->w.kernel[2];
  cost->calls = c->in[0].dim[0] * CEIL_DIV(c->in[0].dim[1], (int64_t)l->knob[LAST_CB]) *
                CEIL_DIV(op->w.out[1], (int64_t)l->knob[LAST_ROWS]);
}

/* ---- columns --------------------------------------------------------------------------------- */
/* The opcall with an output of the input's rank, whether it keeps the reduced axes or not. */
static void keep_axes(const struct opcall *c, struct opcall *kept, struct tensor *out) {
  *kept = *c;
  *out = c->in[0];
  out->dtype = c->out[0].dtype;
  out->data = NULL;
  for (int i = 2; i < out->rank; i++) out->dim[i] = 1;
  kept->out = out;
}

/* The layout that the results have, being one pixel each: blocks are not padded for it. */
static enum layout columns_out(const struct tensor *x, enum layout in) {
  return layout_pads(x, in) ? LAYOUT_NHWC : in;
}

static bool columns_fit(const struct opcall *c, enum layout layout, struct label *l) {
  struct opcall kept;
  struct tensor out;
  enum layout lo = columns_out(&c->in[0], layout);
  keep_axes(c, &kept, &out);
  if (!layout_fits(&c->in[0], layout) || !view_layouts(&kept, c->nown, lo, l)) return false;
  l->in[0] = (uint8_t)layout;
  if (c->out[0].rank != out.rank) l->out[0] = LAYOUT_ROW; /* the same bytes */
  return view_fits(&kept, tensor_count(&out), lo);
}

enum { CACHE_LINES = 64 }; /* channels of which a thread takes a multiple */

bool columns_label(const struct opcall *c, const struct target *t, int i, struct label *l) {
  static const enum layout layouts[] = {LAYOUT_NHWC, LAYOUT_C16};
  const struct tensor *x = &c->in[0];
  if (x->dtype != FVM_F32 || x->rank != 4 || tensor_count(x) == 0 || x->dim[1] > INT32_MAX)
    return false;
  for (size_t k = 0; k < COUNT(layouts); k++)
    for (int n = 0; n < MAX(t->nthreads, 1) && columns_fit(c, layouts[k], l); n++) {
      if (i-- > 0) continue;
      l->threads = t->nthreads ? t->threads[n] : 1;
      int64_t share = CEIL_DIV(x->dim[1], (int64_t)l->threads);
      l->knob[0] = layout_is_cut(layouts[k])
                       ? LAYOUT_CUT
                       : (int32_t)MIN(x->dim[1], ROUND_UP(share, (int64_t)CACHE_LINES));
      return true;
    }
  return false;
}

void columns_emit(const struct columns *op, const struct opcall *c, const struct label *l,
                  struct builder *b) {
  struct opcall kept;
  struct tensor out;
  struct view v;
  struct epilogue e;
  struct place at = {0};
  const struct tensor *x = &c->in[0];
  enum layout in = (enum layout)l->in[0], lo = columns_out(x, in);
  bool cut = layout_is_cut(in), blocks = layout_is_cut(lo);
  int64_t channels = layout_channels(x, in), pixels = x->dim[2] * x->dim[3], cb = l->knob[0];
  int64_t all = blocks ? channels / cb : x->dim[1], step = blocks ? 1 : cb;
  keep_axes(c, &kept, &out);
  view_init(&v, &kept, c->nown, lo);
  epilogue_init_blocks(&e, &v.call, v.dims, 1, cb, 0, b);
  struct span n = span_open(b, false, val(x->dim[0]), x->dim[0], 1);
  struct span k = span_open(b, true, val(all), all, step);
  struct addr from = ADDR(0, 0);
  span_term(&from, &n, channels * pixels * 4);
  span_term(&from, &k, (cut ? pixels * cb / step : 1) * 4);
  (blocks ? place_block : place_row)(&at, &n, blocks ? all : 1);
  (blocks ? place_block : place_col)(&at, &k, 1);
  struct val len = blocks ? val(cb) : k.len, sx = val(cut ? cb : channels);
  build_ukr(b, op->ukr, (struct addr[]){from, epilogue_anchor(&e, &at)},
            (struct val[]){val(pixels), len, sx, val_float(op->scale)});
  epilogue_emit(&e, &at, val(1), 1, len, cb, b);
  span_close(b, &k);
  span_close(b, &n);
}
