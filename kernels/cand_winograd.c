/* conv_winograd: convolutions of 3x3 and 5x5 by Winograd's F(m, r) (ukr_winograd.h), channels last.
 *
 *   for each block of th x tw tiles, m x m outputs each:
 *     inputs    V[point][tile][channel]: n x n points of each tile, n = m + r - 1
 *     for each panel of nr filters:
 *       products  M[point][tile][filter] = V[point] * U[point], a gemm for each of the n x n points
 *       outputs   m x m of each tile, with bias and bounds; then the rest of the body, row by row
 *
 * U, the filters, lies in the order in which it is read (winograd.h). V and M should stay in L2 (M
 * does: it is one panel wide). U is read once for each block of tiles: from L2 where it fits, else
 * from L3 or memory, and then blocks have to be large, up to all tiles of an image.
 *
 * Threads share the rows of blocks; or, where those are few, the filters: then each makes V for
 * itself. Made by all together it costs two barriers and lines that go from core to core, which
 * took longer (28x28, 128 channels, two threads: 0.48 ms instead of 0.31).
 *
 * Edge tiles are computed whole; what lies outside reads as zero and is not stored.
 *
 * Zen 4 with AVX-512, one thread, in nhwc: share of the time that all multiply-adds of the
 * convolution would take at the peak, where conv_direct takes 1.01 to 1.03; and the error of the
 * largest output:
 *
 *   image, channels       F(2,3)  F(4,3)  F(6,3)      5x5            F(2,5)  F(4,5)
 *   224x224   64->64               0.38    0.36       28x28 32->96            0.23
 *   112x112  128->128              0.33    0.29       14x14 32->128           0.29
 *    56x56    64->64               0.31    0.30        7x7  48->128   0.57    0.30
 *    28x28   128->128              0.29    0.27
 *    14x14   256->256      0.48    0.36    0.43
 *     7x7    512->512      0.61    0.71
 *   error                  4e-7    2e-6    1e-5 */
#include "winograd_tiles.h"

enum { LARGE = 512 << 10 }; /* bytes of filters that do not stay in L2 beside the rest */

/* Knobs. M: outputs of a tile's side; TH x TW tiles in a block; SPLIT: threads share rows of blocks
 * (0) or filters (1). */
enum { M, MR, NR, TH, TW, SPLIT };

/* The first filter, in an operand that has so many bytes for each that a loop counts. */
static void filter_term(struct addr *a, const struct winograd_loops *o, int64_t bytes) {
  span_term(a, &o->f, bytes);
  span_term(a, &o->p, bytes);
}

/* ---- inputs ---------------------------------------------------------------------------------- */
/* The position of a span's first element, as an argument. */
static struct val start(const struct span *s) { return s->reg < 0 ? val(0) : reg(s->reg); }

void winograd_inputs(const struct winograd *g, const struct winograd_loops *o) {
  const struct window *w = &g->c.w;
  const int64_t channels = ROUND_UP(g->c.in_channels, g->unit), plane = window_inputs(w) * 4,
                width = g->cut ? LAYOUT_CUT : channels;
  const int64_t total = channels / g->unit, step = g->cut ? 1 : total;
  struct span c = span_open(g->b, false, val(total), total, step);
  struct addr x = ADDR(0, 0), v = ADDR(g->inputs, 0);
  span_term(&x, &o->n, channels * plane);
  span_term(&x, &c, g->cut ? g->unit * plane : 4);
  span_term(&v, &c, g->unit * 4);
  build_ukr(g->b, (int)g->ukr->in, (struct addr[]){x, v},
            (struct val[]){val(w->in[1]), val(w->in[2] * width), val(w->in[2]), val(width),
                           g->cut ? val(LAYOUT_CUT) : c.len, val(g->v_point), val(g->v_tile),
                           val(g->tiles), val(g->tw), start(&o->y), start(&o->x), val(w->lo[1]),
                           val(w->lo[2]), val(g->m)});
  span_close(g->b, &c);
}

/* ---- products -------------------------------------------------------------------------------- */
void winograd_products(const struct winograd *g, const struct winograd_loops *o) {
  const int64_t nr = g->tile->nr, channels = g->c.in_channels;
  struct span q = {build_loop(g->b, 0, val(g->points), 1), val(1), 1};
  struct gemm_block k = {.tile = g->tile,
                         .a = ADDR(g->inputs, 0, {q.reg, g->v_point * 4}),
                         .sa = g->v_tile,
                         .ka = 1,
                         .a_row = g->v_tile * 4,
                         .b = ADDR(1, 0, {q.reg, channels * nr * 4}),
                         .b_col = channels * 4, /* after a panel comes that of the next point */
                         .c = {g->products, 0, nr * 4, 4, 0},
                         .m = val(g->tiles),
                         .n = val(nr),
                         .k = val(channels),
                         .m_max = g->tiles,
                         .n_max = nr,
                         .k_max = channels,
                         .ahead = g->ahead};
  filter_term(&k.b, o, g->points * channels * g->each * 4);
  place_col(&k.at, &q, g->m_point);
  emit_gemm(&k, g->b);
  build_end(g->b);
}

/* ---- outputs --------------------------------------------------------------------------------- */
/* Of a panel, or of block q of c16 in the panel. */
static struct place output_place(const struct winograd *g, const struct winograd_loops *o,
                                 const struct span *q) {
  const struct window *w = &g->c.w;
  struct place at = {0};
  if (g->cut) {
    place_block(&at, &o->n, g->c.out_channels / LAYOUT_CUT);
    place_block(&at, &o->f, g->each / LAYOUT_CUT);
    place_block(&at, &o->p, g->each / LAYOUT_CUT);
    place_block(&at, q, 1);
  } else {
    place_row(&at, &o->n, window_outputs(w));
    place_col(&at, &o->f, g->each);
    place_col(&at, &o->p, g->each);
  }
  place_row(&at, &o->y, w->out[2]);
  place_row(&at, &o->x, 1);
  return at;
}

static void emit_body(const struct winograd *g, const struct winograd_loops *o, struct place at,
                      struct val n, int64_t n_max) {
  if (!g->e.call.body) return;
  if (g->sink >= 0) {
    epilogue_strip(&g->e, &at, &o->y, g->c.w.out[2], n, n_max, g->sink, g->tile->nr, g->b);
    return;
  }
  struct span r = span_open(g->b, false, o->y.len, o->y.max, 1);
  place_row(&at, &r, g->c.w.out[2]);
  epilogue_emit(&g->e, &at, o->x.len, o->x.max, n, n_max, g->b);
  span_close(g->b, &r);
}

/* Blocks of a panel in c16, each a piece of its own; in nhwc a panel is one. */
static struct span open_pieces(const struct winograd *g, const struct span *p) {
  int64_t most = g->tile->nr / LAYOUT_CUT;
  if (!g->cut) return (struct span){-1, val(1), 1};
  return span_open(g->b, false, g->whole ? val(most) : p->len, most, 1);
}

void winograd_outputs(const struct winograd *g, const struct winograd_loops *o) {
  const int64_t nr = g->tile->nr, width = g->sink < 0 ? g->e.anchor.rs / 4 : nr;
  const int64_t most = g->cut ? LAYOUT_CUT : MIN(nr, g->c.out_channels);
  struct span q = open_pieces(g, &o->p);
  struct addr m = ADDR(g->products, 0), bias = ADDR(g->c.bias ? 2 : 1, 0);
  struct place at = output_place(g, o, &q);
  struct val n = g->cut || g->whole ? val(most) : o->p.len;
  span_term(&m, &q, LAYOUT_CUT * 4);
  if (g->c.bias) {
    filter_term(&bias, o, g->each * 4);
    span_term(&bias, &q, LAYOUT_CUT * 4);
  }
  struct addr y = g->sink < 0 ? epilogue_anchor(&g->e, &at) : ADDR(g->sink, 0);
  build_ukr(g->b, (int)g->ukr->out, (struct addr[]){m, bias, y},
            (struct val[]){n, val(g->m_point), val(nr), val(g->tiles), val(g->tw), o->y.len,
                           val(g->c.w.out[2] * width), o->x.len, val(width), val(g->c.bias),
                           val_float(g->e.bounds.lo), val_float(g->e.bounds.hi)});
  emit_body(g, o, at, n, most);
  span_close(g->b, &q);
}

/* ---- programs -------------------------------------------------------------------------------- */
/* Rows of V and M whose distances are odd numbers of lines fall on all sets of the caches. */
static void init_buffers(struct winograd *g) {
  struct builder *b = g->b;
  int64_t line = 16, nr = g->tile->nr;
  g->v_tile = line * (CEIL_DIV(g->c.in_channels, line) | 1);
  g->v_point = (g->tiles | 1) * g->v_tile;
  g->m_point = line * (g->tiles * nr / line | 1);
  g->inputs = build_buf(b, BUF_SCRATCH, g->points * g->v_point * 4);
  g->products = build_buf(b, BUF_SCRATCH, g->points * g->m_point * 4);
}

void winograd_init(struct winograd *g, const struct opcall *c, const struct winograd_form *f,
                   struct builder *b) {
  *g = (struct winograd){.b = b, .m = f->m, .tw = f->tw, .sink = -1};
  CHECK(conv_init(&g->c, c, NULL) == FVM_OK);
  const struct window *w = &g->c.w;
  int n = f->m + (int)w->kernel[1] - 1;
  view_init(&g->v, c, c->nown, f->layout);
  g->cut = layout_is_cut(f->layout);
  g->c.out_channels = layout_channels(&c->out[0], f->layout);
  g->unit = g->cut ? LAYOUT_CUT : 1;
  g->ukr = winograd_find(n, w->kernel[1]);
  g->tile = gemm_tile_find(f->mr, f->nr);
  g->points = n * n;
  g->tiles = (int64_t)f->th * f->tw;
  g->whole = g->c.out_channels % f->nr == 0;
  g->each = g->whole ? f->nr : g->unit;
  g->ahead = winograd_bytes(&c->in[1], n, f->nr) > LARGE;
  epilogue_init_blocks(&g->e, &g->v.call, g->v.dims, MIN((int64_t)f->m * f->tw, w->out[2]),
                       g->cut ? LAYOUT_CUT : MIN(f->nr, g->c.out_channels), FUSE_CLIP, b);
  init_buffers(g);
}

/* Filters of a thread, in panels: all where threads share tiles. */
static int64_t share_of(const struct winograd *g, const struct label *l) {
  const int64_t nr = g->tile->nr, all = g->c.out_channels;
  return l->knob[SPLIT] ? ROUND_UP(CEIL_DIV(all, (int64_t)l->threads), nr) : all;
}

void winograd_emit(const struct opcall *c, const struct label *l, struct builder *b) {
  struct winograd g;
  struct winograd_loops o;
  const int32_t *knob = l->knob;
  const struct winograd_form f = {knob[M],  knob[MR], knob[NR],
                                  knob[TH], knob[TW], (enum layout)l->out[0]};
  winograd_init(&g, c, &f, b);
  const int64_t *out = g.c.w.out, filters = g.c.out_channels / g.each;
  bool split = knob[SPLIT] != 0;
  o.n = span_open(b, false, val(g.c.n), g.c.n, 1);
  o.f = span_open(b, split, val(filters), filters, share_of(&g, l) / g.each);
  o.y = span_open(b, !split, val(out[1]), out[1], knob[M] * knob[TH]);
  o.x = span_open(b, false, val(out[2]), out[2], knob[M] * knob[TW]);
  winograd_inputs(&g, &o);
  o.p = span_open(b, false, o.f.len, o.f.max, knob[NR] / g.each);
  winograd_products(&g, &o);
  winograd_outputs(&g, &o);
  span_close(b, &o.p);
  span_close(b, &o.x);
  span_close(b, &o.y);
  span_close(b, &o.f);
  span_close(b, &o.n);
}

int64_t winograd_count(int64_t outputs, int m) { return MAX(CEIL_DIV(outputs, (int64_t)m), 1); }

static int64_t tiles_of(const struct window *w, int axis, int m) {
  return winograd_count(w->out[axis], m);
}

void winograd_cost(const struct opcall *c, const struct label *l, struct opcost *cost) {
  struct conv v;
  CHECK(conv_init(&v, c, NULL) == FVM_OK);
  int m = l->knob[M], n = m + (int)v.w.kernel[1] - 1;
  int64_t tiles = v.n * tiles_of(&v.w, 1, m) * tiles_of(&v.w, 2, m), points = n * n;
  int64_t blocks = CEIL_DIV(tiles, (int64_t)l->knob[TH] * l->knob[TW]);
  int64_t values = tiles * points * (v.in_channels + v.out_channels);
  int64_t panels = CEIL_DIV(v.out_channels, (int64_t)l->knob[NR]);
  cost_stream(c, l, cost);
  cost->flops = 2 * tiles * points * v.in_channels * v.out_channels + 8 * values;
  cost->bytes_read += blocks * winograd_bytes(&c->in[1], n, l->knob[NR]) + values * 4;
  cost->bytes_written += values * 4;
  cost->calls = blocks * panels * (points + 1);
}

/* ---- labels ---------------------------------------------------------------------------------- */
/* What a step of k takes for so many rows, in half cycles: an FMA for each accumulator, but no less
 * than its latency of four; and something for each block of rows. */
static int64_t step_time(const struct gemm_tile *t, enum isa isa, int64_t rows) {
  int64_t vectors = t->nr / (isa == ISA_AVX512 ? 16 : 8), rest = rows % t->mr;
  return 2 * (rows - rest) * vectors + 2 * (rest ? MAX(rest * vectors, 4) : 0) +
         CEIL_DIV(rows, (int64_t)t->mr);
}

int winograd_rows(enum isa isa, int nr, int64_t rows) {
  const struct gemm_tile *best = NULL;
  for (const struct gemm_tile *t = gemm_tiles; t->mr; t++)
    if (t->nr == nr && t->isa <= isa &&
        (!best || step_time(t, isa, rows) < step_time(best, isa, rows)))
      best = t;
  CHECK(best != NULL); /* panels of 16 and 32 have tiles wherever they are offered */
  return best->mr;
}

/* A problem on the way to its labels. */
struct offers {
  int left;
  const struct opcall *c;
  const struct target *t;
  struct conv v;
  struct label *l;
  int n; /* points */
};

/* What a tile's n x n points cost: products, and filters from memory at the speed of eight more
 * tiles (half an FMA of 16 floats for each float). */
static int64_t effort(const struct conv *v, int n) {
  int m = n + 1 - (int)v->w.kernel[1];
  return n * n * (tiles_of(&v->w, 1, m) * tiles_of(&v->w, 2, m) + 8);
}

bool winograd_worth(const struct opcall *c, const struct conv *v, int points) {
  int64_t least = INT64_MAX;
  for (int n = 4; n <= 8; n += 2)
    if (winograd_fits(&c->in[1], n)) least = MIN(least, effort(v, n));
  return winograd_fits(&c->in[1], points) && effort(v, points) <= least + least / 5;
}

/* Blocks of at most `most` tiles: equal parts of a row; or whole rows, as many as leave hardly any
 * tile of the last block outside. */
static void set_block(const struct offers *o, int m, int64_t most) {
  int64_t th = tiles_of(&o->v.w, 1, m), tw = tiles_of(&o->v.w, 2, m), rows = MAX(most / tw, 1);
  rows = MIN(rows, th);
  while (rows > 1 && CEIL_DIV(th, rows) * rows * 100 > th * 105) rows--;
  o->l->knob[TH] = (int32_t)rows;
  o->l->knob[TW] = (int32_t)CEIL_DIV(tw, MAX(CEIL_DIV(tw, most), 1));
}

/* How much of their time k threads work that share n equal pieces, in per cent. */
static int64_t use(int64_t n, int64_t k) { return 100 * n / (CEIL_DIV(n, k) * k); }

/* What threads share, and the width of panels: rows of blocks where these come out nearly even,
 * else what keeps most threads at work. Filters they share only where all panels are whole, or the
 * verifier would not see where the last one ends; narrow panels cost 5 per cent. */
static bool share(const struct offers *o, int m, bool *wide) {
  const int64_t k = MAX(o->l->threads, 1);
  const int64_t filters = layout_channels(&o->c->out[0], (enum layout)o->l->out[0]);
  const int64_t rows = CEIL_DIV(tiles_of(&o->v.w, 1, m), (int64_t)MAX(o->l->knob[TH], 1));
  *wide = o->t->isa == ISA_AVX512 && filters > 16;
  if (use(rows, k) > 90 || filters % 16 != 0) return false;
  int64_t by_32 = *wide && filters % 32 == 0 ? use(filters / 32, k) : 0;
  int64_t by_16 = use(filters / 16, k) - (*wide ? 5 : 0);
  if (MAX(by_32, by_16) <= use(rows, k)) return false;
  *wide = by_32 >= by_16;
  return true;
}

enum layout winograd_layout(int n, bool wide) {
  if (n == 4) return wide ? LAYOUT_W4X32 : LAYOUT_W4X16;
  if (n == 6) return wide ? LAYOUT_W6X32 : LAYOUT_W6X16;
  return wide ? LAYOUT_W8X32 : LAYOUT_W8X16;
}

static void set_label(const struct offers *o, int64_t most) {
  struct label *l = o->l;
  const int m = o->n + 1 - (int)o->v.w.kernel[1];
  bool wide;
  set_block(o, m, most);
  l->knob[M] = m;
  l->knob[SPLIT] = share(o, m, &wide);
  l->knob[NR] = wide ? 32 : 16;
  l->knob[MR] = winograd_rows(o->t->isa, l->knob[NR], (int64_t)l->knob[TH] * l->knob[TW]);
  l->in[1] = (uint8_t)winograd_layout(o->n, wide);
}

/* Blocks of few tiles, whose V and M stay in L2 beside the filters, or of more, which read the
 * filters less often: all tiles where they are few. */
static bool offer_blocks(struct offers *o) {
  int64_t l2 = o->t->l2_bytes > 0 ? o->t->l2_bytes : 512 << 10;
  bool in_l2 = winograd_bytes(&o->c->in[1], o->n, 16) <= l2;
  int32_t th = 0, tw = 0;
  for (int k = 0; k < 2; k++) {
    set_label(o, in_l2 ? (k ? 28 : 16) : (k ? 64 : 28));
    if (o->l->knob[TH] == th && o->l->knob[TW] == tw) continue;
    if (o->left-- == 0) return true;
    th = o->l->knob[TH];
    tw = o->l->knob[TW];
  }
  return false;
}

static bool offer_points(struct offers *o) {
  for (o->n = 4; o->n <= 8; o->n += 2)
    if (winograd_worth(o->c, &o->v, o->n) && offer_blocks(o)) return true;
  return false;
}

/* Constant filters of one group and stride 1; knobs are 32 bits. */
bool winograd_takes(const struct opcall *c, struct conv *v) {
  if (c->in[0].dtype != FVM_F32 || c->out[0].dtype != FVM_F32 || c->in[0].rank != 4) return false;
  if (!c->in[1].data || conv_init(v, c, NULL) != FVM_OK || v->groups != 1) return false;
  const struct window *w = &v->w;
  for (int i = 1; i < WINDOW_AXES; i++)
    if (w->stride[i] != 1 || w->dilation[i] != 1 || w->out[i] > 1 << 20) return false;
  return window_is_plane(w) && tensor_count(&c->out[0]) > 0 && v->in_channels > 0;
}

bool winograd_lies(const struct opcall *c, const struct conv *v, enum layout layout,
                   struct label *l) {
  if (!layout_fits(&c->in[0], layout) || !view_layouts(c, c->nown, layout, l)) return false;
  l->in[0] = (uint8_t)layout;
  if (v->bias) view_vector(c, 2, l);
  return view_fits(c, v->n * v->out_channels * window_outputs(&v->w), layout);
}

bool winograd_label(const struct opcall *c, const struct target *t, int i, struct label *l) {
  static const enum layout layouts[] = {LAYOUT_NHWC, LAYOUT_C16};
  struct offers o = {.left = i, .c = c, .t = t, .l = l};
  if (!winograd_takes(c, &o.v)) return false;
  for (size_t k = 0; k < COUNT(layouts); k++) {
    if (!winograd_lies(c, &o.v, layouts[k], l)) continue;
    for (int n = 0; n < MAX(t->nthreads, 1); n++) {
      l->threads = t->nthreads ? t->threads[n] : 1;
      if (offer_points(&o)) return true;
    }
  }
  return false;
}
