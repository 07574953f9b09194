/* Ways to run Conv.
 *
 * conv_im2col: an implicit matrix product. Rows are the output channels of a group, columns the
 * output pixels, k runs over (channel, kh, kw). Patches of a panel of pixels are packed into
 * scratch just before they are used; a panel of a 1x1 convolution comes straight from the input.
 * conv_dw: one input channel a group, a plane at a time. */
#include "conv.h"
#include "gemm.h"
#include "last.h"
#include "op_impl.h"

/* Knobs. CB: input channels in a block of k; SPLIT: threads share pixels (0) or channels (1). */
enum { MR, NR, CB, SPLIT };

/* ---- implicit gemm --------------------------------------------------------------------------- */
struct gen {
  struct conv v;
  struct epilogue e;
  struct builder *b;
  const struct gemm_tile *tile;
  int64_t cb, k, pixels, taps;
  int packed;
  bool direct;          /* 1x1: patches are columns of the input */
  struct addr x, w;     /* of the image and group */
  struct place channel; /* row of the bias */
};

/* Bias (by rows), then the body. */
static void post(void *ctx, const struct place *p, struct val m, int64_t m_max, struct val n,
                 int64_t n_max) {
  const struct gen *g = ctx;
  struct addr c = epilogue_anchor(&g->e, p);
  struct val one = val(1), rs = val(g->e.anchor.rs / 4);
  if (g->v.bias)
    build_ukr(g->b, UKR_add_f32,
              (struct addr[]){c, matrix_at(&(struct matrix){2, 0, 4, 0, 0}, &g->channel), c},
              (struct val[]){m, n, rs, one, one, val(0), rs});
  epilogue_emit(&g->e, p, m, m_max, n, n_max, g->b);
}

/* Columns first .. first + n - 1 of the patches of cb channels from x on, as a panel. */
static void pack(const struct gen *g, struct addr x, const struct span *p) {
  const struct window *w = &g->v.w;
  struct addr to = ADDR(g->packed, 0);
  struct val nr = val(g->tile->nr), k = val(g->cb * g->taps), plane = val(window_inputs(w));
  if (g->direct) {
    span_term(&x, p, 4);
    build_ukr(g->b, UKR_pack_4, (struct addr[]){x, to},
              (struct val[]){k, p->len, plane, val(1), nr});
    return;
  }
  if (!window_is_plane(w)) {
    struct val all[UKR_MAXVAL] = {val(g->cb),
                                  plane,
                                  val(w->in[0]),
                                  val(w->in[1] * w->in[2]),
                                  val(w->in[1]),
                                  val(w->in[2]),
                                  k,
                                  nr,
                                  p->reg >= 0 ? reg(p->reg) : val(0),
                                  p->len,
                                  val(w->out[1]),
                                  val(w->out[2])};
    window_vals3(w, all + 12);
    build_ukr(g->b, UKR_im2col3_4, (struct addr[]){x, to}, all);
    return;
  }
  struct val v[UKR_MAXVAL] = {val(g->cb),
                              plane,
                              val(w->in[1]),
                              val(w->in[2]),
                              k,
                              nr,
                              p->reg >= 0 ? reg(p->reg) : val(0),
                              p->len,
                              val(w->out[2])};
  window_vals(w, v + 9);
  build_ukr(g->b, UKR_im2col_4, (struct addr[]){x, to}, v);
}

/* One block of channels, from register c0 on. */
static void channel_block(const struct gen *g, struct gemm_block k, const struct span *pixels,
                          const struct span *c0) {
  struct addr x = g->x;
  span_term(&x, c0, window_inputs(&g->v.w) * 4);
  span_term(&k.a, c0, g->taps * 4);
  pack(g, x, pixels);
  emit_gemm(&k, g->b);
}

/* A block of channels by a panel of pixels. */
static void panel(struct gen *g, const struct place *at, const struct span *m,
                  const struct span *p) {
  struct gemm_block k = {.tile = g->tile,
                         .a = g->w,
                         .sa = g->k,
                         .ka = 1,
                         .a_row = g->k * 4,
                         .b = ADDR(g->packed, 0),
                         .c = g->e.anchor,
                         .c_local = g->e.local,
                         .d = g->e.add,
                         .mode = g->e.addend >= 0,
                         .at = *at,
                         .m = m->len,
                         .n = p->len,
                         .k = val(g->cb * g->taps),
                         .m_max = m->max,
                         .n_max = p->max,
                         .ctx = g};
  bool posts = g->v.bias || g->e.call.body;
  int64_t channels = g->v.in_channels;
  struct span all = {-1, val(channels), channels};
  span_term(&k.a, m, g->k * 4);
  place_row(&k.at, m, 1);
  place_col(&k.at, p, 1);
  k.post = posts && g->cb == channels ? post : NULL;
  channel_block(g, k, p, &all);
  if (g->cb == channels) return;
  struct span rest = {build_loop(g->b, g->cb, val(channels), g->cb), val(g->cb), g->cb};
  struct gemm_block more = k;
  more.mode = 1;
  more.d = more.c;
  channel_block(g, more, p, &rest);
  build_end(g->b);
  k.post = posts ? post : NULL;
  emit_gemm_posts(&k, g->b);
}

static int64_t row_block(const struct gen *g, const struct label *l) {
  int64_t m = g->v.out_channels;
  return l->knob[SPLIT] ? ROUND_UP(CEIL_DIV(m, l->threads), l->knob[MR]) : m;
}

static void init(struct gen *g, const struct opcall *c, const struct label *l, struct builder *b) {
  *g = (struct gen){.b = b, .tile = gemm_tile_find(l->knob[MR], l->knob[NR]), .cb = l->knob[CB]};
  CHECK(conv_init(&g->v, c, NULL) == FVM_OK);
  const struct window *w = &g->v.w;
  g->pixels = window_outputs(w);
  g->taps = dims_product(w->kernel, 0, WINDOW_AXES);
  g->k = g->v.in_channels * g->taps;
  g->direct = window_is_point(w);
  int64_t mc = MIN(row_block(g, l), g->v.out_channels);
  epilogue_init(&g->e, c, g->pixels, mc, MIN(g->tile->nr, g->pixels), FUSE_START, b);
  g->packed = build_buf(b, BUF_SCRATCH, g->cb * g->taps * g->tile->nr * 4);
}

static void emit_im2col(const struct opcall *c, const struct label *l, struct builder *b) {
  struct gen g;
  struct place at = {0};
  init(&g, c, l, b);
  const struct conv *v = &g.v;
  bool split = l->knob[SPLIT] != 0;
  g.x = ADDR(0, 0);
  g.w = ADDR(1, 0);
  struct span n = span_open(b, false, val(v->n), v->n, 1);
  struct span q = span_open(b, false, val(v->groups), v->groups, 1);
  struct span m = span_open(b, split, val(v->out_channels), v->out_channels, row_block(&g, l));
  struct span p = span_open(b, !split, val(g.pixels), g.pixels, g.tile->nr);
  int64_t image = v->in_channels * window_inputs(&v->w) * 4;
  span_term(&g.x, &n, v->groups * image);
  span_term(&g.x, &q, image);
  span_term(&g.w, &q, v->out_channels * g.k * 4);
  place_row(&at, &n, v->groups * v->out_channels);
  place_row(&at, &q, v->out_channels);
  place_row(&g.channel, &q, v->out_channels);
  place_row(&g.channel, &m, 1);
  panel(&g, &at, &m, &p);
  span_close(b, &p);
  span_close(b, &m);
  span_close(b, &q);
  span_close(b, &n);
}

static void cost(const struct opcall *c, const struct label *l, struct opcost *cost) {
  struct conv v;
  CHECK(conv_init(&v, c, NULL) == FVM_OK);
  int64_t taps = dims_product(v.w.kernel, 0, WINDOW_AXES), pixels = window_outputs(&v.w);
  cost_stream(c, l, cost);
  cost->flops = 2 * tensor_count(&c->out[0]) * v.in_channels * taps;
  int64_t packed = v.n * v.groups * v.in_channels * taps * pixels * 4;
  if (l->knob[SPLIT]) packed *= l->threads;
  cost->bytes_written += packed;
  int64_t tiles = CEIL_DIV(v.out_channels, l->knob[MR]) * CEIL_DIV(pixels, l->knob[NR]);
  cost->calls = v.n * v.groups * tiles * (v.in_channels / l->knob[CB]);
}

/* ---- labels ---------------------------------------------------------------------------------- */
/* Channels a block has, so that a packed panel takes at most half of L2; divides all channels. */
static int64_t channels_in_l2(const struct conv *v, const struct target *t, int nr) {
  int64_t l2 = t->l2_bytes > 0 ? t->l2_bytes : 512 << 10;
  int64_t taps = dims_product(v->w.kernel, 0, WINDOW_AXES);
  int64_t most = l2 / 2 / (taps * nr * 4), k = v->in_channels;
  most = MIN(MAX(most, 1), k);
  while (k % most) most--;
  return most;
}

struct offers {
  int left;
  struct label *l;
  const struct conv *v;
  const struct target *t;
  const struct gemm_tile *tile;
  bool whole; /* products in scratch: no blocks of channels */
};

static bool offer(struct offers *o, int64_t cb, int split) {
  if (o->left-- > 0) return false;
  const int32_t knob[] = {o->tile->mr, o->tile->nr, (int32_t)cb, split};
  for (size_t i = 0; i < COUNT(knob); i++) o->l->knob[i] = knob[i];
  return true;
}

static bool offer_tile(struct offers *o) {
  const struct conv *v = o->v;
  int threads = o->l->threads;
  int64_t cb = o->whole ? v->in_channels : channels_in_l2(v, o->t, o->tile->nr);
  if (offer(o, cb, 0)) return true;
  if (threads > 1 && v->out_channels >= threads * o->tile->mr && offer(o, cb, 1)) return true;
  if (o->whole || cb % 2 || cb < 64) return false;
  return offer(o, cb / 2, 0);
}

static bool is_ours(const struct opcall *c, struct conv *v) {
  if (c->in[0].dtype != FVM_F32 || conv_init(v, c, NULL) != FVM_OK) return false;
  int64_t count = tensor_count(&c->out[0]), pixels = window_outputs(&v->w);
  if (count == 0 || v->in_channels == 0) return false;
  return MAX(pixels, v->out_channels) < INT32_MAX / 2 && epilogue_fits(c, count, pixels);
}

static bool label_im2col(const struct opcall *c, const struct target *t, int i, struct label *l) {
  struct conv v;
  if (!is_ours(c, &v)) return false;
  struct offers o = {.left = i, .l = l, .v = &v, .t = t, .whole = c->out[0].dtype != FVM_F32};
  for (int k = 0; k < MAX(t->nthreads, 1); k++) {
    l->threads = t->nthreads ? t->threads[k] : 1;
    for (int n = 0; n < 4; n++) {
      o.tile = gemm_tile_at(t->isa, v.out_channels, window_outputs(&v.w), n);
      if (!o.tile) break;
      if (offer_tile(&o)) return true;
    }
  }
  return false;
}

/* ---- depthwise ------------------------------------------------------------------------------- */
static void emit_dw(const struct opcall *c, const struct label *l, struct builder *b) {
  (void)l;
  struct conv v;
  struct epilogue e;
  struct place at = {0}, ch = {0};
  (void)l; /* no knobs, and the same program for any number of threads */
  CHECK(conv_init(&v, c, NULL) == FVM_OK);
  const struct window *w = &v.w;
  int64_t pixels = window_outputs(w), taps = w->kernel[1] * w->kernel[2], mult = v.out_channels;
  int64_t plane = window_inputs(w) * 4;
  epilogue_init(&e, c, pixels, 1, pixels, 0, b);
  struct span n = span_open(b, false, val(v.n), v.n, 1);
  struct span q = span_open(b, true, val(v.groups), v.groups, 1);
  struct span j = span_open(b, false, val(mult), mult, 1);
  struct addr x = ADDR(0, 0);
  span_term(&x, &n, v.groups * plane);
  span_term(&x, &q, plane);
  place_row(&at, &n, v.groups * mult);
  place_row(&at, &q, mult);
  place_row(&at, &j, 1);
  place_row(&ch, &q, mult);
  place_row(&ch, &j, 1);
  struct addr weights = matrix_at(&(struct matrix){1, 0, taps * 4, 4, 0}, &ch);
  struct addr bias = v.bias ? matrix_at(&(struct matrix){2, 0, 4, 4, 0}, &ch) : weights;
  struct val a[UKR_MAXVAL] = {val(w->in[1]), val(w->in[2]), val(taps), val(w->out[1]),
                              val(w->out[2])};
  window_vals(w, a + 5);
  a[13] = val(v.bias);
  build_ukr(b, UKR_dwconv_f32, (struct addr[]){x, weights, bias, epilogue_anchor(&e, &at)}, a);
  epilogue_emit(&e, &at, val(1), 1, val(pixels), pixels, b);
  span_close(b, &j);
  span_close(b, &q);
  span_close(b, &n);
}

static bool label_dw(const struct opcall *c, const struct target *t, int i, struct label *l) {
  struct conv v;
  if (!is_ours(c, &v) || v.in_channels != 1 || i >= MAX(t->nthreads, 1)) return false;
  if (!window_is_plane(&v.w)) return false;
  l->threads = t->nthreads ? t->threads[i] : 1;
  return true;
}

static void cost_dw(const struct opcall *c, const struct label *l, struct opcost *cost) {
  struct conv v;
  CHECK(conv_init(&v, c, NULL) == FVM_OK);
  cost_stream(c, l, cost);
  cost->flops = 2 * tensor_count(&c->out[0]) * v.w.kernel[1] * v.w.kernel[2];
  cost->calls = v.n * v.groups * v.out_channels;
}

/* ---- depthwise, channels last ---------------------------------------------------------------- */
bool last_of_conv(const struct opcall *c, struct last *op) {
  struct conv v;
  if (c->in[0].dtype != FVM_F32 || conv_init(&v, c, NULL) != FVM_OK) return false;
  *op = (struct last){.w = v.w, .ukr = UKR_dwconv_last_f32, .weights = true, .bias = v.bias};
  return v.in_channels == 1 && v.out_channels == 1;
}

static bool label_dw_last(const struct opcall *c, const struct target *t, int i, struct label *l) {
  struct last op;
  return last_of_conv(c, &op) && last_label(&op, c, t, i, l);
}

static void emit_dw_last(const struct opcall *c, const struct label *l, struct builder *b) {
  struct last op;
  CHECK(last_of_conv(c, &op));
  last_emit(&op, c, l, b);
}

static void cost_dw_last(const struct opcall *c, const struct label *l, struct opcost *cost) {
  struct last op;
  CHECK(last_of_conv(c, &op));
  last_cost(&op, c, l, cost);
}

const struct cand conv_cands[] = {
    {"conv_dw", {NULL}, label_dw, emit_dw, cost_dw},
    {"conv_dw_last", {LAST_KNOBS}, label_dw_last, emit_dw_last, cost_dw_last},
    {"conv_gemm", GEMM_KNOBS, point_label, point_emit, point_cost},
    {"conv_strassen", STRASSEN_KNOBS, point_strassen_label, point_strassen_emit,
     point_strassen_cost},
    {"conv_direct", {"mr", "nr", "rows", "split"}, direct_label, direct_emit, direct_cost},
    {"conv_im2col", {"mr", "nr", "cb", "split"}, label_im2col, emit_im2col, cost},
    {"conv_winograd",
     {"m", "mr", "nr", "th", "tw", "split"},
     winograd_label,
     winograd_emit,
     winograd_cost},
    {0},
};
