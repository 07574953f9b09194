/* Chains: a convolution, and what looks at windows of its result channel by channel, a pool or a
 * depthwise convolution, in one program:
 *
 *   for each image                    par over blocks of output rows, or (SPLIT) over panels
 *     for blocks of output rows       what the first part needs of its input
 *       for panels of channels        its rows under the block go to a strip
 *                                     windows of the strip go to the output
 *
 *   chain_direct     the first part is conv_direct's, or a product
 *   chain_winograd   it is conv_winograd's, in nhwc: tiles over the whole width, and as many rows
 * of tiles as the strip is high */
#include "chain_strip.h"
#include "direct.h"
#include "op_impl.h"
#include "winograd_tiles.h"

/* ---- direct ---------------------------------------------------------------------------------- */
/* Knobs, the first two being direct's. ROWS: output rows of a block. */
enum { MR, NR, ROWS, SPLIT };

static void emit(const struct opcall *c, const struct label *l, struct builder *b) {
  struct direct d;
  struct strip s;
  struct addr image = ADDR(0, 0);
  const struct direct_form f = {.in = (enum layout)l->in[0],
                                .out = (enum layout)l->out[0],
                                .mr = l->knob[MR],
                                .nr = l->knob[NR]};
  bool split = l->knob[SPLIT] != 0;
  strip_init(&s, c, f.out, f.nr, l->knob[ROWS], b);
  direct_init(&d, &c->part[0], &f, s.high, true, b);
  if (b->err.code != FVM_OK) return;
  d.flat &= l->knob[ROWS] >= s.op.w.out[1]; /* else strips differ in height */
  s.sink = d.sink;
  s.n = d.n = span_open(b, false, val(d.v.n), d.v.n, 1);
  span_term(&image, &d.n, d.v.in_channels * window_inputs(&d.v.w) * 4);
  d.split = split;
  if (split) d.j = direct_panels(&d);
  strip_open(&s, !split, l->knob[ROWS]);
  d.p = (struct span){s.first, s.height, s.high};
  struct addr x = direct_input(&d, &image);
  d.split = false;
  if (!split) d.j = direct_panels(&d);
  s.col[0] = (struct strip_column){d.j, d.cut ? LAYOUT_CUT : 1};
  s.len = d.cut ? val(f.nr) : d.j.len;
  direct_rows(&d, x);
  direct_body(&d);
  strip_windows(&s);
  span_close(b, &d.j); /* ends are alike, whichever loop they close */
  span_close(b, &s.r);
  span_close(b, &d.n);
}

static bool is_ours(const struct opcall *c, struct conv *v, struct last *op) {
  return direct_takes(&c->part[0], v) && strip_takes(c, op);
}

/* Rows of a block, for which strip and input take at most `bytes`, in as many equal blocks for each
 * thread. */
static int64_t block_rows(const struct conv *v, const struct window *w, int nr, int64_t bytes,
                          int threads) {
  int64_t each = 4 * (v->w.out[2] * nr +
                      v->in_channels * v->w.stride[1] * window_under(&v->w, 2, v->w.out[2]));
  int64_t overlap = window_under(w, 1, 1) - w->stride[1];
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
    if (layout_is_cut(f->out) && f->nr > LAYOUT_CUT) continue; /* a strip is one block wide */
    if (!direct_fits(&c->part[0], &v, f, t->isa, l) || !strip_fits(c, &op, f->out, f->nr, l))
      continue;
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

/* ---- Winograd's ------------------------------------------------------------------------------ */
/* Knobs: outputs of a tile's side; output rows of a block. */
enum { W_M, W_MR, W_NR, W_ROWS, W_SPLIT };

static void emit_winograd(const struct opcall *c, const struct label *l, struct builder *b) {
  struct winograd g;
  struct winograd_loops o;
  struct strip s;
  const int64_t nr = l->knob[W_NR];
  bool split = l->knob[W_SPLIT] != 0;
  strip_init(&s, c, LAYOUT_NHWC, nr, l->knob[W_ROWS], b);
  const struct winograd_form f = {l->knob[W_M],
                                  l->knob[W_MR],
                                  (int)nr,
                                  (int)winograd_count(s.high, l->knob[W_M]),
                                  (int)winograd_count(s.op.w.in[2], l->knob[W_M]),
                                  LAYOUT_NHWC};
  winograd_init(&g, &c->part[0], &f, b);
  if (b->err.code != FVM_OK) return;
  const int64_t width = s.op.w.in[2], filters = g.c.out_channels / g.each;
  const int64_t share =
      split ? ROUND_UP(CEIL_DIV(filters, (int64_t)l->threads), nr / g.each) : filters;
  s.sink = g.sink = build_buf(b, BUF_SCRATCH, s.high * width * nr * 4);
  s.n = o.n = span_open(b, false, val(g.c.n), g.c.n, 1);
  o.f = span_open(b, split, val(filters), filters, share);
  strip_open(&s, !split, l->knob[W_ROWS]);
  o.y = (struct span){s.first, s.height, s.high};
  o.x = (struct span){-1, val(width), width};
  winograd_inputs(&g, &o);
  o.p = span_open(b, false, o.f.len, o.f.max, nr / g.each);
  winograd_products(&g, &o);
  winograd_outputs(&g, &o);
  s.col[0] = (struct strip_column){o.f, g.each};
  s.col[1] = (struct strip_column){o.p, g.each};
  s.len = g.whole ? val(nr) : o.p.len;
  strip_windows(&s);
  span_close(b, &o.p);
  span_close(b, &s.r);
  span_close(b, &o.f);
  span_close(b, &o.n);
}

/* Output rows of a block whose strip is made of so many rows of tiles, in equal blocks of which
 * each thread gets as many. */
static int64_t tile_rows(const struct window *w, int m, int64_t th, int threads) {
  int64_t rows = MAX((th * m - window_under(w, 1, 1)) / w->stride[1] + 1, 1);
  return CEIL_DIV(w->out[1], ROUND_UP(CEIL_DIV(w->out[1], MIN(rows, w->out[1])), threads));
}

/* The i-th choice for tiles of m x m: blocks of few tiles, or of more; threads share blocks or
 * panels. */
static bool offer_tiles(const struct opcall *c, const struct last *op, const struct target *t,
                        int m, int i, struct label *l) {
  const struct window *w = &op->w;
  const int64_t channels = c->part[0].out[0].dim[1], tw = winograd_count(w->in[2], m);
  const int nr = t->isa == ISA_AVX512 && channels > 16 ? 32 : 16;
  for (int k = 0; k < MAX(t->nthreads, 1); k++) {
    int threads = t->nthreads ? t->threads[k] : 1;
    bool shares = threads > 1 && channels % nr == 0 && channels / nr >= threads;
    for (int n = 0; n < 4; n++) {
      int64_t th = MAX((n % 2 ? 64 : 20) / tw, 1);
      if ((n >= 2 && !shares) || (n % 2 && th <= MAX(20 / tw, 1))) continue;
      if (i-- > 0) continue;
      l->threads = threads;
      l->knob[W_M] = m;
      l->knob[W_NR] = nr;
      l->knob[W_ROWS] = (int32_t)tile_rows(w, m, th, n < 2 ? threads : 1);
      l->knob[W_SPLIT] = n >= 2;
      th = winograd_count(strip_rows(w, l->knob[W_ROWS]), m);
      l->knob[W_MR] = winograd_rows(t->isa, nr, th * tw);
      return true;
    }
  }
  return false;
}

static bool label_winograd(const struct opcall *c, const struct target *t, int i, struct label *l) {
  struct conv v;
  struct last op;
  if (!winograd_takes(&c->part[0], &v) || !strip_takes(c, &op)) return false;
  if (!winograd_lies(&c->part[0], &v, LAYOUT_NHWC, l)) return false;
  for (int points = 4; points <= 8; points += 2) {
    const int m = points + 1 - (int)v.w.kernel[1];
    if (!winograd_worth(&c->part[0], &v, points)) continue;
    for (int n = 0; offer_tiles(c, &op, t, m, n, l); n++) {
      if (!strip_fits(c, &op, LAYOUT_NHWC, l->knob[W_NR], l)) break;
      l->in[1] = (uint8_t)winograd_layout(points, l->knob[W_NR] == 32);
      if (i-- == 0) return true;
    }
  }
  return false;
}

static void cost_winograd(const struct opcall *c, const struct label *l, struct opcost *cost) {
  struct conv v;
  struct last op;
  CHECK(winograd_takes(&c->part[0], &v) && strip_takes(c, &op));
  const int m = l->knob[W_M], n = m + (int)v.w.kernel[1] - 1;
  int64_t blocks = v.n * CEIL_DIV(op.w.out[1], (int64_t)l->knob[W_ROWS]);
  int64_t tiles = blocks * winograd_count(strip_rows(&op.w, l->knob[W_ROWS]), m) *
                  winograd_count(op.w.in[2], m);
  int64_t values = tiles * n * n * (v.in_channels + v.out_channels);
  int64_t panels = CEIL_DIV(v.out_channels, (int64_t)l->knob[W_NR]);
  cost_stream(c, l, cost);
  cost->flops = 2 * tiles * n * n * v.in_channels * v.out_channels + 8 * values;
  cost->bytes_read += blocks * winograd_bytes(&c->in[1], n, l->knob[W_NR]) + values * 4;
  cost->bytes_written += values * 4;
  cost->calls = blocks * panels * (n * n + 2);
}

const struct cand chain_cands[] = {
    {"chain_direct", {"mr", "nr", "rows", "split"}, label, emit, cost},
    {"chain_winograd",
     {"m", "mr", "nr", "rows", "split"},
     label_winograd,
     emit_winograd,
     cost_winograd},
    {0},
};
