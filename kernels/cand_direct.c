/* conv_direct: convolution as products of tiles of pixels with panels of output channels, read from
 * the input where it lies. All channels of a pixel (of a block of them) are neighbours, and so are
 * those of the taps of a row of the window, so that one tile of A is
 *
 *   row i: pixel ox + i          its k: [blocks of channels] [rows of the window] [taps x channels]
 *
 * which the gemm micro-kernel walks with its accumulators in registers. Where the window leaves the
 * image, a block of input rows is first copied to scratch, with zeros around it.
 *
 *   for each image                        par over row blocks, or (SPLIT) over panels
 *     for blocks of output rows           the block's input, with its border, to scratch
 *       for panels of output channels
 *         for rows of the block           a product; then bias and body
 *
 * A 1x1 window of stride 1 sees the image as one row. An input in layout row (few channels: the
 * first layer) works alike, its blocks having one channel. */
#include "direct.h"
#include "op_impl.h"

/* Knobs. ROWS: output rows in a block (pixels, where the image is one row). */
enum { MR, NR, ROWS, SPLIT };

static struct direct_image image_of(enum layout l, int64_t channels, int64_t h, int64_t w) {
  int64_t block = l == LAYOUT_ROW ? 1 : layout_is_cut(l) ? LAYOUT_CUT : channels;
  return (struct direct_image){block, channels / block, block, w * block, h * w * block};
}

static bool has_border(const struct window *w) {
  for (int i = 1; i <= 2; i++)
    if (w->lo[i] || window_under(w, i, w->out[i]) > w->in[i]) return true;
  return false;
}

/* ---- emission -------------------------------------------------------------------------------- */
/* The rows under a block of output rows go to the strip. */
static void copy_rows(const struct direct *g, struct addr x) {
  const struct window *w = &g->v.w;
  const struct direct_image *in = &g->in;
  struct val first = g->p.reg >= 0 ? reg(g->p.reg) : val(0);
  build_ukr(g->b, UKR_border_4, (struct addr[]){x, ADDR(g->strip, 0)},
            (struct val[]){val(in->blocks), val(w->in[1]), val(in->row), val(in->plane),
                           val(in->row), val(window_under(w, 1, g->rows)), val(g->from.row),
                           val(g->from.plane), first, val(w->stride[1]), val(w->lo[1]),
                           val(w->lo[2] * in->pixel)});
}

static void post(void *ctx, const struct place *p, struct val m, int64_t m_max, struct val n,
                 int64_t n_max) {
  const struct direct *g = ctx;
  struct place at = *p;
  if (!g->pairs) {
    epilogue_emit(&g->e, p, m, m_max, n, n_max, g->b);
    return;
  }
  struct span q = span_open(g->b, false, n, n_max, 1);
  place_block(&at, &q, 1);
  epilogue_emit(&g->e, &at, m, m_max, val(LAYOUT_CUT), LAYOUT_CUT, g->b);
  span_close(g->b, &q);
}

static void place_all(const struct direct *g, struct place *at) {
  int64_t pixels = window_outputs(&g->v.w);
  if (g->cut) {
    place_block(at, &g->n, g->v.out_channels / LAYOUT_CUT);
    place_block(at, &g->j, 1);
  } else {
    place_row(at, &g->n, pixels);
    place_col(at, &g->j, 1);
  }
  place_row(at, &g->p, g->unit);
  place_row(at, &g->y, g->width);
}

/* Pixels of a block, where they are one row. */
static struct val flat_pixels(const struct direct *g) {
  return g->p.len.is_reg ? g->p.len : val(g->p.len.v * g->unit);
}

/* Where the rows at hand go in the sink. */
static struct addr sink_at(const struct direct *g) {
  struct addr a = ADDR(g->sink, 0);
  span_term(&a, &g->y, g->width * g->tile->nr * 4);
  return a;
}

/* One row of pixels (flat: a block of them) by one panel. */
static void product(struct direct *g, struct addr x) {
  const struct window *w = &g->v.w;
  const struct direct_image *f = &g->from;
  int64_t nr = g->tile->nr;
  struct addr sink = sink_at(g);
  bool sinks = g->sink >= 0, joined = w->dilation[2] == 1;
  int64_t k = f->block * (joined ? w->kernel[2] : 1);
  struct gemm_block t = {.tile = g->tile,
                         .a = x,
                         .sa = w->stride[2] * f->pixel,
                         .ka = 1,
                         .a_row = w->stride[2] * f->pixel * 4,
                         .b = ADDR(1, 0),
                         .c = sinks ? (struct matrix){g->sink, 0, nr * 4, 4, 0} : g->e.anchor,
                         .c_local = g->e.local,
                         .c_base = sinks ? &sink : NULL,
                         .d = g->e.add,
                         .mode = g->v.bias || g->e.addend >= 0,
                         .m = g->flat ? flat_pixels(g) : val(g->width),
                         .m_max = g->flat ? g->p.max * g->unit : g->width,
                         .n = g->cut && !g->pairs ? val(nr) : g->j.len,
                         .n_max = g->cut && !g->pairs ? nr : g->j.max,
                         .blocks = g->pairs,
                         .skip = joined && w->kernel[2] == 1 ? g->padding : 0,
                         .k = val(k),
                         .k_max = k,
                         .b_col = g->k * 4,
                         .ahead = g->flat,
                         .tail = &g->e,
                         .post = g->e.call.body && !sinks ? post : NULL,
                         .ctx = g};
  struct gemm_level rows = {w->kernel[1], w->dilation[1] * f->row, 0};
  struct gemm_level taps = {w->kernel[2], w->dilation[2] * f->pixel, k * nr};
  struct gemm_level blocks = {f->blocks, f->plane, 0};
  t.r = joined ? rows : taps;
  t.r.b = k * nr;
  t.q = joined ? blocks : rows;
  t.q.b = t.r.n * t.r.b;
  span_term(&t.b, &g->j, g->k * 4 * (g->cut ? LAYOUT_CUT : 1));
  place_all(g, &t.at);
  struct addr bias = ADDR(2, 0);
  span_term(&bias, &g->j, g->cut ? LAYOUT_CUT * 4 : 4);
  if (g->v.bias) {
    t.d = (struct matrix){2, 0, 0, 4, LAYOUT_CUT * 4};
    t.d_base = &bias;
  }
  emit_gemm(&t, g->b);
}

/* Address of the input under the first pixel of a block. */
struct addr direct_input(const struct direct *g, const struct addr *image) {
  struct addr x = *image;
  if (g->bordered) {
    copy_rows(g, x);
    return ADDR(g->strip, 0);
  }
  int64_t step = g->flat ? g->unit * g->from.pixel : g->v.w.stride[1] * g->from.row;
  span_term(&x, &g->p, step * 4);
  return x;
}

struct span direct_panels(const struct direct *g) {
  int64_t unit = g->cut ? LAYOUT_CUT : 1, outs = g->v.out_channels / unit;
  return span_open(g->b, g->split, val(outs), outs, g->tile->nr / unit);
}

void direct_rows(struct direct *g, struct addr x) {
  const struct span none = {-1, val(1), 1};
  g->y = g->flat ? none : span_open(g->b, false, g->p.len, g->p.max, 1);
  span_term(&x, &g->y, g->v.w.stride[1] * g->from.row * 4);
  product(g, x);
  span_close(g->b, &g->y);
}

void direct_body(struct direct *g) {
  const struct span none = {-1, val(1), 1};
  struct place at = {0};
  g->y = none;
  place_all(g, &at);
  epilogue_strip(&g->e, &at, &g->p, g->width, g->cut ? val(g->tile->nr) : g->j.len,
                 g->cut ? g->tile->nr : g->j.max, g->sink, g->tile->nr, g->b);
}

static void emit_block(struct direct *g, const struct addr *image) {
  struct addr x = g->split ? *image : direct_input(g, image);
  g->j = direct_panels(g);
  if (g->split) x = direct_input(g, image);
  direct_rows(g, x);
  span_close(g->b, &g->j);
}

/* What of the body a tile does: it makes all of k at once. */
static unsigned fuses(const struct conv *v) { return FUSE_TAIL | (v->bias ? 0 : FUSE_START); }

void direct_init(struct direct *g, const struct opcall *c, const struct direct_form *f,
                 int64_t rows, bool sinks, struct builder *b) {
  *g = (struct direct){.b = b,
                       .tile = gemm_tile_find(f->mr, f->nr),
                       .rows = rows,
                       .sink = -1,
                       .cut = layout_is_cut(f->out),
                       .pairs = layout_is_cut(f->out) && f->nr > LAYOUT_CUT};
  CHECK(conv_init(&g->v, c, NULL) == FVM_OK);
  const struct window *w = &g->v.w;
  int64_t channels = layout_channels(&c->in[0], f->in), nr = f->nr;
  g->padding = channels - g->v.in_channels;
  g->v.in_channels = channels;
  g->v.out_channels = layout_channels(&c->out[0], f->out);
  g->flat = window_is_point(w) && f->in != LAYOUT_ROW;
  g->bordered = has_border(w);
  g->width = w->out[2];
  g->unit = g->flat && !sinks ? 1 : g->width;
  g->count = window_outputs(w) / MAX(g->unit, 1);
  g->k = channels * w->kernel[1] * w->kernel[2];
  g->in = g->from = image_of(f->in, channels, w->in[1], w->in[2]);
  if (g->bordered)
    g->from = image_of(f->in, channels, window_under(w, 1, rows), window_under(w, 2, w->out[2]));
  view_init(&g->view, c, c->nown, f->out);
  epilogue_init_blocks(&g->e, &g->view.call, g->view.dims, g->flat && !sinks ? rows : g->width,
                       g->cut ? LAYOUT_CUT : MIN(nr, g->v.out_channels), fuses(&g->v), b);
  if (g->bordered) g->strip = build_buf(b, BUF_SCRATCH, g->from.plane * g->from.blocks * 4);
  if (sinks) g->sink = build_buf(b, BUF_SCRATCH, rows * g->width * nr * 4);
}

void direct_emit(const struct opcall *c, const struct label *l, struct builder *b) {
  struct direct g;
  struct addr image = ADDR(0, 0);
  const struct direct_form f = {.in = (enum layout)l->in[0],
                                .out = (enum layout)l->out[0],
                                .mr = l->knob[MR],
                                .nr = l->knob[NR]};
  direct_init(&g, c, &f, l->knob[ROWS], false, b);
  g.split = l->knob[SPLIT] != 0;
  g.n = span_open(b, false, val(g.v.n), g.v.n, 1);
  span_term(&image, &g.n, g.v.in_channels * window_inputs(&g.v.w) * 4);
  g.p = span_open(b, !g.split, val(g.count), g.count, g.rows);
  emit_block(&g, &image);
  span_close(b, &g.p);
  span_close(b, &g.n);
}

void direct_cost(const struct opcall *c, const struct label *l, struct opcost *cost) {
  struct conv v;
  CHECK(conv_init(&v, c, NULL) == FVM_OK);
  int64_t k = v.in_channels * v.w.kernel[1] * v.w.kernel[2], pixels = window_outputs(&v.w);
  cost_stream(c, l, cost);
  cost->flops = 2 * v.n * ROUND_UP(v.out_channels, l->knob[NR]) * pixels * k;
  if (has_border(&v.w)) {
    int64_t copies = l->knob[SPLIT] ? CEIL_DIV(v.out_channels, l->knob[NR]) : 1;
    cost->bytes_written += copies * tensor_bytes(&c->in[0]);
  }
  cost->calls = v.n * v.w.out[1] * CEIL_DIV(v.out_channels, l->knob[NR]);
}

/* ---- labels ---------------------------------------------------------------------------------- */
const struct direct_form direct_forms[] = {
    {LAYOUT_NHWC, LAYOUT_NHWC, 14, 32, ISA_AVX512, ISA_AVX512},
    {LAYOUT_NHWC, LAYOUT_NHWC, 8, 48, ISA_AVX512, ISA_AVX512},
    {LAYOUT_NHWC, LAYOUT_NHWC, 8, 32, ISA_AVX512, ISA_AVX512},
    {LAYOUT_NHWC, LAYOUT_NHWC, 6, 16, ISA_REF, ISA_AVX2},
    {LAYOUT_NHWC, LAYOUT_NHWC, 4, 24, ISA_AVX2, ISA_AVX2},
    {LAYOUT_C16, LAYOUT_C16, 14, 32, ISA_AVX512, ISA_AVX512},
    {LAYOUT_C16, LAYOUT_C16, 14, 16, ISA_AVX512, ISA_AVX512},
    {LAYOUT_C16, LAYOUT_C16, 6, 16, ISA_REF, ISA_AVX2},
    {LAYOUT_ROW, LAYOUT_NHWC, 14, 32, ISA_AVX512, ISA_AVX512},
    {LAYOUT_ROW, LAYOUT_NHWC, 8, 48, ISA_AVX512, ISA_AVX512},
    {LAYOUT_ROW, LAYOUT_NHWC, 6, 16, ISA_REF, ISA_AVX2},
    {LAYOUT_ROW, LAYOUT_NHWC, 4, 24, ISA_AVX2, ISA_AVX2},
    {LAYOUT_ROW, LAYOUT_C16, 14, 32, ISA_AVX512, ISA_AVX512},
    {LAYOUT_ROW, LAYOUT_C16, 14, 16, ISA_AVX512, ISA_AVX512},
    {LAYOUT_ROW, LAYOUT_C16, 6, 16, ISA_REF, ISA_AVX2},
    {0},
};

/* A row's blocks are one channel, so short walks: worth it for the few channels of an image. */
enum { FEW_CHANNELS = 4 };

bool direct_fits(const struct opcall *c, const struct conv *v, const struct direct_form *f,
                 enum isa isa, struct label *l) {
  if (isa < f->from || isa > f->to || !layout_fits(&c->in[0], f->in)) return false;
  if (f->in == LAYOUT_ROW && v->in_channels > FEW_CHANNELS) return false;
  bool one_block = f->in == LAYOUT_NHWC || v->in_channels == 1;
  if (v->w.dilation[2] != 1 && !one_block) return false;
  if (v->out_channels <= f->nr / 2 && f->nr > 16) return false;
  if (layout_is_cut(f->out) && f->nr == 32 && c->out[0].dtype != FVM_F32) return false;
  if (!view_layouts(c, c->nown, f->out, l)) return false;
  const struct gemm_tile *t = gemm_tile_find(f->mr, f->nr);
  l->in[0] = (uint8_t)f->in;
  l->in[1] = (uint8_t)(f->in == LAYOUT_ROW    ? t->filter_row
                       : layout_is_cut(f->in) ? (f->nr == 32 ? LAYOUT_FC32 : LAYOUT_FC16)
                                              : t->filter);
  if (v->bias) view_vector(c, 2, l);
  l->knob[MR] = f->mr;
  l->knob[NR] = f->nr;
  return view_fits(c, tensor_count(&c->out[0]), f->out);
}

bool direct_takes(const struct opcall *c, struct conv *v) {
  if (c->in[0].dtype != FVM_F32 || conv_init(v, c, NULL) != FVM_OK) return false;
  const struct window *w = &v->w;
  if (v->groups != 1 || !window_is_plane(w) || tensor_count(&c->out[0]) == 0) return false;
  if (v->in_channels == 0 || tensor_count(&c->in[1]) == 0) return false;
  return MAX(window_outputs(w), v->out_channels) < INT32_MAX / 2;
}

/* Rows (flat: pixels) of a block whose input takes at most `bytes`, in equal blocks of which each
 * thread gets as many. */
static int64_t block_rows(const struct conv *v, bool flat, int64_t bytes, int threads) {
  const struct window *w = &v->w;
  int64_t all = flat ? window_outputs(w) : w->out[1];
  int64_t each = 4 * v->in_channels * (flat ? 1 : w->stride[1] * window_under(w, 2, w->out[2]));
  int64_t blocks = CEIL_DIV(all, MAX(bytes / each, 1));
  return MAX(CEIL_DIV(all, ROUND_UP(blocks, threads)), 1);
}

/* The i-th choice of blocks and threads, of those that differ. */
static bool offer(const struct conv *v, const struct target *t, int i, struct label *l) {
  bool flat = window_is_point(&v->w) && l->in[0] != LAYOUT_ROW;
  int64_t l2 = t->l2_bytes > 0 ? t->l2_bytes : 512 << 10;
  for (int k = 0; k < MAX(t->nthreads, 1); k++) {
    int threads = t->nthreads ? t->threads[k] : 1;
    const int64_t rows[] = {block_rows(v, flat, l2 / 2, threads),
                            block_rows(v, flat, l2 / 8, threads), block_rows(v, flat, l2 / 2, 1)};
    l->threads = threads;
    for (int n = 0; n < 3; n++) {
      l->knob[SPLIT] = n == 2;
      l->knob[ROWS] = (int32_t)rows[n];
      if (n == 1 && rows[1] == rows[0]) continue;
      if (n == 2 && (threads == 1 || v->out_channels < threads * l->knob[NR])) continue;
      if (i-- == 0) return true;
    }
  }
  return false;
}

static int offers(const struct conv *v, const struct target *t, struct label *l) {
  int n = 0;
  while (offer(v, t, n, l)) n++;
  return n;
}

static int inplace(const struct opcall *c, const struct conv *v, const struct label *l) {
  struct view w;
  if (!c->body) return 0;
  view_init(&w, c, c->nown, (enum layout)l->out[0]);
  return epilogue_inplace(&w.call, l, w.dims, fuses(v));
}

bool direct_label(const struct opcall *c, const struct target *t, int i, struct label *l) {
  struct conv v;
  if (!direct_takes(c, &v)) return false;
  for (const struct direct_form *f = direct_forms; f->mr; f++) {
    if (f->in == LAYOUT_NHWC && window_is_point(&v.w)) continue; /* conv_gemm's */
    if (!direct_fits(c, &v, f, t->isa, l)) continue;
    int n = offers(&v, t, l);
    if (i < n) {
      l->inplace = inplace(c, &v, l);
      return offer(&v, t, i, l);
    }
    i -= n;
  }
  return false;
}
