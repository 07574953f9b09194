/* Ways to run MatMul and Gemm. All share one nest:
 *
 *   for each batch                       par when nest = batch
 *     for row blocks i of mc rows        par when nest = rows or tiles
 *       for column blocks j of nc        par when nest = cols
 *         for blocks of kc: the first starts from 0 or operand d, the others add to c
 *           panels outside, tiles of rows inside (nest = tiles: the other way), then the epilogue
 *
 * gemm_panels reads B from panels (constants are packed at plan time); gemm_pack_b packs each panel
 * into scratch just before it is used. */
#include "gemm.h"

/* Knobs. */
enum { MR, NR, KC, MC, NC, NEST, PACK, AHEAD };
enum nest { NEST_COLS, NEST_ROWS, NEST_TILES, NEST_BATCH };

/* ---- emission -------------------------------------------------------------------------------- */
struct gen {
  struct gemm_problem g;
  const struct gemm_tile *tile;
  struct builder *b;
  int64_t kc, mc, nc;
  enum nest nest;
  bool pack_a, pack_b, ahead;
  struct addr a, bt; /* of the current batch */
  int64_t sa, ka, sk, sn;
  int64_t a_matrix, b_matrix; /* bytes of a matrix of each operand */
  struct epilogue e;
  struct matrix bias; /* Gemm's C */
  bool post_alpha, post_bias;
  struct matrix d; /* what the products start from; buf -1: nothing */
  int packed_a, packed_b, konst, tmp;
  int64_t tmp_rs;
};

static void scale(const struct gen *x, struct addr in, int64_t rs, int64_t cx, int64_t k,
                  struct addr out, int64_t out_rs, struct val m, struct val n) {
  build_ukr(x->b, UKR_mul_f32, (struct addr[]){in, ADDR(x->konst, k * 4), out},
            (struct val[]){m, n, val(rs), val(cx), val(0), val(0), val(out_rs)});
}

/* alpha, beta and C where the gemm couldn't take them, then the body. */
static void post(void *ctx, const struct place *p, struct val m, int64_t m_max, struct val n,
                 int64_t n_max) {
  const struct gen *x = ctx;
  struct addr c = epilogue_anchor(&x->e, p);
  int64_t rs = x->e.anchor.rs / 4, bias_rs = x->bias.rs / 4, bias_cs = x->bias.cs / 4;
  if (x->post_alpha) scale(x, c, rs, 1, 0, c, rs, m, n);
  if (x->post_bias) {
    struct addr bias = matrix_at(&x->bias, p);
    if (x->g.beta != 1) {
      struct addr tmp = ADDR(x->tmp, 0);
      scale(x, bias, bias_rs, bias_cs, 1, tmp, x->tmp_rs, m, n);
      bias = tmp;
      bias_rs = x->tmp_rs;
      bias_cs = 1;
    }
    build_ukr(x->b, UKR_add_f32, (struct addr[]){c, bias, c},
              (struct val[]){m, n, val(rs), val(1), val(bias_rs), val(bias_cs), val(rs)});
  }
  epilogue_emit(&x->e, p, m, m_max, n, n_max, x->b);
}

/* The scalars alpha and beta live in memory that all threads share. */
static void init_scalars(struct gen *x) {
  bool scaled_bias = x->post_bias && x->g.beta != 1;
  if (x->post_alpha || scaled_bias)
    x->konst = emit_constants(x->b, (const float[]){x->g.alpha, x->g.beta}, 2);
}

/* Who adds C: operand d of the gemm if it can. */
static void find_bias(struct gen *x, const struct opcall *c) {
  if (x->g.beta == 0) return;
  x->bias = gemm_bias(c, &x->g);
  x->post_bias = x->g.alpha != 1 || x->g.beta != 1 || (x->bias.cs != 4 && x->g.n > 1);
}

static void init_bias(struct gen *x, int64_t m_max, int64_t n_max) {
  x->d.buf = -1;
  if (x->e.addend >= 0) x->d = x->e.add;
  if (x->g.beta == 0) return;
  if (!x->post_bias) x->d = (struct matrix){2, 0, x->bias.rs, 4, 0};
  if (x->post_bias && x->g.beta != 1) {
    x->tmp = build_buf(x->b, BUF_SCRATCH, m_max * n_max * 4);
    x->tmp_rs = n_max;
  }
}

/* What of the body the gemm does: the tail only where it makes all of k at once. */
static unsigned fuses(const struct gen *x) {
  unsigned start = x->g.alpha == 1 && x->g.beta == 0 ? FUSE_START : 0;
  unsigned tail = x->g.alpha == 1 && !x->post_bias && x->kc >= x->g.k ? FUSE_TAIL : 0;
  return start | tail;
}

static void init(struct gen *x, const struct opcall *c, const struct label *l, struct builder *b) {
  const int32_t *k = l->knob;
  *x = (struct gen){.b = b,
                    .tile = gemm_tile_find(k[MR], k[NR]),
                    .kc = k[KC],
                    .mc = k[MC],
                    .nc = k[NC],
                    .nest = (enum nest)k[NEST],
                    .pack_a = k[PACK] != 0,
                    .ahead = k[AHEAD] != 0};
  CHECK(gemm_problem(c, l->in[0] == LAYOUT_ROW, &x->g));
  const struct gemm_problem *g = &x->g;
  x->pack_b = l->in[1] == LAYOUT_ROW || l->in[1] == LAYOUT_COL;
  x->a = ADDR(0, 0);
  x->bt = ADDR(1, 0);
  gemm_strides(&g->a, (enum layout)l->in[0], &x->sa, &x->ka);
  gemm_strides(&g->b, (enum layout)l->in[1], &x->sk, &x->sn);
  x->a_matrix = g->m * g->k * 4;
  x->b_matrix = (x->pack_b ? g->n : ROUND_UP(g->n, k[NR])) * g->k * 4;
  bool tiles = x->nest == NEST_TILES;
  int64_t m_max = MIN(tiles ? k[MR] : x->mc, g->m), n_max = MIN(tiles ? x->nc : k[NR], g->n);
  find_bias(x, c);
  epilogue_init(&x->e, c, g->n, m_max, n_max, fuses(x), b);
  x->post_alpha = g->alpha != 1;
  init_bias(x, m_max, n_max);
  if (x->pack_a) x->packed_a = build_buf(b, BUF_SCRATCH, ROUND_UP(x->mc, k[MR]) * x->kc * 4);
  if (x->pack_b) x->packed_b = build_buf(b, BUF_SCRATCH, x->kc * k[NR] * 4);
  init_scalars(x);
}

/* Tiles of rows of A become [k][mr], one after another. */
static void pack_a(const struct gen *x, struct gemm_block *k) {
  int mr = x->tile->mr;
  struct span r = span_open(x->b, false, k->m, k->m_max, mr);
  struct addr from = k->a, to = ADDR(x->packed_a, 0);
  span_term(&from, &r, x->sa * 4);
  span_term(&to, &r, x->kc * 4);
  build_ukr(x->b, UKR_transpose_4, (struct addr[]){from, to},
            (struct val[]){k->k, r.len, val(x->sa), val(mr)});
  span_close(x->b, &r);
  k->a = ADDR(x->packed_a, 0);
  k->sa = 1;
  k->ka = mr;
  k->a_row = x->kc * 4;
}

static void pack_b(const struct gen *x, struct gemm_block *k) {
  build_ukr(x->b, UKR_pack_4, (struct addr[]){k->b, ADDR(x->packed_b, 0)},
            (struct val[]){k->k, k->n, val(x->sk), val(x->sn), val(x->tile->nr)});
  k->b = ADDR(x->packed_b, 0);
}

/* One block of kc from register k0 on (or from 0). */
static void k_block(const struct gen *x, struct gemm_block k, const struct span *k0) {
  span_term(&k.a, k0, x->ka * 4);
  span_term(&k.b, k0, x->pack_b ? x->sk * 4 : x->tile->nr * 4);
  k.k = k0->len;
  k.k_max = k0->max;
  if (x->pack_a) pack_a(x, &k);
  if (x->pack_b) pack_b(x, &k);
  emit_gemm(&k, x->b);
}

static void k_blocks(const struct gen *x, struct gemm_block *k) {
  int64_t depth = x->g.k, kc = x->kc;
  struct span first = {-1, val(MIN(kc, depth)), kc};
  bool posts = x->post_alpha || x->post_bias || x->e.call.body;
  k->ctx = (void *)x;
  k->post = posts && kc >= depth ? post : NULL;
  k_block(x, *k, &first);
  if (kc >= depth) return;
  int r = build_loop(x->b, kc, val(depth), kc);
  struct span rest = {r, depth % kc ? reg(build_min(x->b, kc, val(depth), r)) : val(kc), kc};
  struct gemm_block more = *k;
  more.mode = 1;
  more.d = more.c;
  k_block(x, more, &rest);
  build_end(x->b);
  k->post = posts ? post : NULL;
  emit_gemm_posts(k, x->b);
}

/* Rows and columns of one batch. */
static void row_blocks(const struct gen *x, const struct place *at) {
  const struct gemm_problem *g = &x->g;
  bool par_rows = x->nest == NEST_ROWS || x->nest == NEST_TILES;
  struct span i = span_open(x->b, par_rows, val(g->m), g->m, x->mc);
  struct span j = span_open(x->b, x->nest == NEST_COLS, val(g->n), g->n, x->nc);
  struct gemm_block k = {.tile = x->tile,
                         .a = x->a,
                         .sa = x->sa,
                         .ka = x->ka,
                         .a_row = x->sa * 4,
                         .b = x->bt,
                         .b_col = g->k * 4,
                         .c = x->e.anchor,
                         .c_local = x->e.local,
                         .d = x->d,
                         .mode = x->d.buf >= 0,
                         .at = *at,
                         .m = i.len,
                         .n = j.len,
                         .m_max = i.max,
                         .n_max = j.max,
                         .rows_outer = x->nest == NEST_TILES,
                         .tail = &x->e,
                         .ahead = x->ahead};
  span_term(&k.a, &i, x->sa * 4);
  span_term(&k.b, &j, x->pack_b ? x->sn * 4 : g->k * 4);
  place_row(&k.at, &i, 1);
  place_col(&k.at, &j, 1);
  k_blocks(x, &k);
  span_close(x->b, &j);
  span_close(x->b, &i);
}

static void emit(const struct opcall *c, const struct label *l, struct builder *b) {
  struct gen x;
  struct place at = {0};
  struct span s[GEMM_MAXBATCH];
  init(&x, c, l, b);
  int64_t rows = x.g.m;
  for (int i = 0; i < x.g.nbatch; i++) rows *= x.g.dim[i];
  for (int i = x.g.nbatch - 1; i >= 0; i--) {
    bool par = x.nest == NEST_BATCH && i == x.g.nbatch - 1;
    rows /= x.g.dim[i];
    s[i] = span_open(b, par, val(x.g.dim[i]), x.g.dim[i], 1);
    span_term(&x.a, &s[i], x.g.a_step[i] * x.a_matrix);
    span_term(&x.bt, &s[i], x.g.b_step[i] * x.b_matrix);
    place_row(&at, &s[i], rows);
  }
  row_blocks(&x, &at);
  for (int i = 0; i < x.g.nbatch; i++) span_close(b, &s[i]);
}

/* ---- cost ------------------------------------------------------------------------------------ */
static void cost(const struct opcall *c, const struct label *l, struct opcost *cost) {
  struct gemm_problem g;
  const int32_t *k = l->knob;
  CHECK(gemm_problem(c, l->in[0] == LAYOUT_ROW, &g));
  int64_t count = 1, mt = CEIL_DIV(g.m, k[MR]), nt = CEIL_DIV(g.n, k[NR]);
  for (int i = 0; i < g.nbatch; i++) count *= g.dim[i];
  int64_t kblocks = MAX(CEIL_DIV(g.k, k[KC]), 1), passes = MAX(CEIL_DIV(g.m, k[MC]), 1);
  *cost = (struct opcost){.flops = 2 * count * mt * k[MR] * nt * k[NR] * g.k,
                          .calls = count * mt * nt * kblocks};
  if (k[NEST] == NEST_TILES) passes = 1;
  int64_t b_bytes = g.n * g.k * 4, c_bytes = g.m * g.n * 4;
  cost->bytes_read = count * (g.m * g.k * 4 + b_bytes * passes + c_bytes * (kblocks - 1));
  cost->bytes_written = count * c_bytes * kblocks;
  if (l->in[1] == LAYOUT_ROW || l->in[1] == LAYOUT_COL) {
    cost->bytes_written += count * b_bytes;
    cost->calls += count * nt * kblocks;
  }
}

/* ---- labels ---------------------------------------------------------------------------------- */
struct offers {
  int left; /* labels still to be passed over */
  struct label *l;
  const struct gemm_problem *g;
  const struct gemm_tile *tile;
  const struct target *t;
  int threads;
  enum layout a, b;
  bool ahead; /* B is in panels that come one after the other */
  bool local; /* products are made in scratch, which can't hold more than a piece: no split of k */
};

/* True when this is the label asked for. */
static bool offer(struct offers *o, enum nest nest, int64_t kc, int64_t mc, int64_t nc, bool pack) {
  if (o->left-- > 0) return false;
  struct label *l = o->l;
  *l = (struct label){.cand = l->cand,
                      .threads = o->threads,
                      .knob = {o->tile->mr, o->tile->nr, (int32_t)MAX(kc, 1), (int32_t)MAX(mc, 1),
                               (int32_t)MAX(nc, 1), (int32_t)nest, pack,
                               o->ahead && nest != NEST_TILES}};
  l->in[0] = (uint8_t)o->a;
  l->in[1] = (uint8_t)o->b;
  return true;
}

static int64_t cache(int64_t bytes, int64_t otherwise) { return bytes > 0 ? bytes : otherwise; }
static int64_t l1(const struct offers *o) { return cache(o->t->l1_bytes, 32 << 10); }
static int64_t l2(const struct offers *o) { return cache(o->t->l2_bytes, 512 << 10); }

/* Split n into equal blocks of at most `most`, multiples of unit. */
static int64_t even(int64_t n, int64_t most, int64_t unit) {
  int64_t blocks = CEIL_DIV(n, MAX(most, unit));
  return ROUND_UP(CEIL_DIV(n, MAX(blocks, 1)), unit);
}

/* Columns in the largest block of whole panels, at most `most`, that divides all panels evenly:
 * every block is then the same, and threads get the same work. */
static int64_t panels(const struct offers *o, int64_t most) {
  int64_t nr = o->tile->nr, all = CEIL_DIV(o->g->n, nr), k = MAX(MIN(most / nr, all), 1);
  while (all % k) k--;
  return k * nr;
}

/* Rows whose part of A, depth columns of it, takes half of L2. */
static int64_t rows_in_l2(const struct offers *o, int64_t depth) {
  return even(o->g->m, l2(o) / 2 / (4 * MAX(depth, 1)), o->tile->mr);
}

static int64_t share(const struct offers *o, int64_t n) { return CEIL_DIV(n, o->threads); }

/* A is copied to panels of its own: worth it when every tile of it is used often. */
static bool may_pack_a(const struct offers *o) {
  return o->a == LAYOUT_ROW && !o->g->a.trans && o->g->m >= o->tile->mr &&
         o->g->n >= 4 * o->tile->nr;
}

/* A panel for each thread at least. */
static bool shares_cols(const struct offers *o) {
  return o->threads == 1 || o->g->n >= o->threads * o->tile->nr;
}

/* One panel after the other, all of k at a time. */
static bool by_panels(struct offers *o) {
  const struct gemm_problem *g = o->g;
  return shares_cols(o) && offer(o, NEST_COLS, g->k, rows_in_l2(o, g->k), o->tile->nr, false);
}

static bool whole_k(struct offers *o) {
  const struct gemm_problem *g = o->g;
  int64_t mr = o->tile->mr, nr = o->tile->nr, mc = rows_in_l2(o, g->k);
  bool one = o->threads == 1;
  if (by_panels(o)) return true;
  if (may_pack_a(o) && g->n >= o->threads * nr) {
    int64_t nc = panels(o, share(o, ROUND_UP(g->n, nr)));
    if (nc >= 4 * nr && offer(o, NEST_COLS, g->k, mc, nc, true)) return true;
  }
  if (!one && g->m >= o->threads * mr) {
    int64_t most = MIN(mc, ROUND_UP(share(o, g->m), mr));
    if (offer(o, NEST_ROWS, g->k, even(g->m, most, mr), g->n, false)) return true;
  }
  if (g->m > mr && g->n > nr && g->k * g->n * 4 <= l2(o)) {
    int64_t nc = mr * g->n * 4 <= l1(o) / 2 ? g->n : panels(o, MAX(l1(o) / 8 / mr, nr));
    if (offer(o, NEST_TILES, g->k, mr, nc, false)) return true;
  }
  return g->nbatch && g->dim[g->nbatch - 1] >= o->threads &&
         offer(o, NEST_BATCH, g->k, g->m, nr, false);
}

static bool split_k(struct offers *o) {
  if (o->local) return false;
  static const int depths[] = {256, 384, 512, 1024};
  const struct gemm_problem *g = o->g;
  int64_t nr = o->tile->nr;
  for (size_t i = 0; i < COUNT(depths); i++) {
    int64_t kc = depths[i], mc = rows_in_l2(o, kc);
    int64_t nc = panels(o, MIN(share(o, ROUND_UP(g->n, nr)), l2(o) / 8 / mc));
    if (4 * kc > 3 * g->k || g->m < 2 * o->tile->mr) break;
    if (nc < 2 * nr && g->n > nr) continue;
    if (offer(o, NEST_COLS, kc, mc, nc, false)) return true;
    if (may_pack_a(o) && offer(o, NEST_COLS, kc, mc, nc, true)) return true;
  }
  return false;
}

/* Labels with these layouts, at most `tiles` different register tiles. */
typedef bool tile_offers(struct offers *o);
static bool all_tiles(struct offers *o, int tiles, tile_offers *make) {
  const struct target *t = o->t;
  for (int i = 0; i < MAX(t->nthreads, 1); i++) {
    o->threads = t->nthreads ? t->threads[i] : 1;
    for (int k = 0; k < tiles; k++) {
      o->tile = gemm_tile_at(t->isa, o->g->m, o->g->n, k);
      if (!o->tile) break;
      if (make(o)) return true;
    }
  }
  return false;
}

static bool is_ours(const struct opcall *c, const struct gemm_problem *g) {
  int64_t count = g->m * g->n;
  for (int i = 0; i < g->nbatch; i++) count *= g->dim[i];
  if (MAX(MAX(g->m, g->n), g->k) > INT32_MAX / 2) return false; /* knobs are 32 bits */
  return c->in[0].dtype == FVM_F32 && count > 0 && epilogue_fits(c, count, g->n);
}

/* The panels that hold columns of the logical B: its rows when B is stored transposed. */
static bool panel_tiles(struct offers *o) {
  o->b = o->g->b.trans ? o->tile->panelt : o->tile->panel;
  o->ahead = false;
  if (by_panels(o)) return true;
  o->ahead = true;
  return whole_k(o) || split_k(o);
}
static bool panel_tiles_simple(struct offers *o) {
  o->b = o->g->b.trans ? o->tile->panelt : o->tile->panel;
  return o->g->n >= o->threads * o->tile->nr &&
         offer(o, NEST_COLS, o->g->k, rows_in_l2(o, o->g->k), o->tile->nr, false);
}

static int inplace(const struct opcall *c, const struct label *l) {
  struct gen x = {.kc = l->knob[KC]};
  if (!c->body || !gemm_problem(c, l->in[0] == LAYOUT_ROW, &x.g)) return 0;
  find_bias(&x, c);
  return epilogue_inplace(c, l, (struct matrix_dims){.cols = x.g.n}, fuses(&x));
}

static bool find_panels(const struct opcall *c, const struct target *t, int i, struct label *l) {
  struct gemm_problem g;
  struct offers o = {
      .left = i, .l = l, .g = &g, .t = t, .a = LAYOUT_ROW, .local = c->out[0].dtype != FVM_F32};
  if (!c->in[1].data || c->in[1].rank < 2 || !gemm_problem(c, true, &g) || !is_ours(c, &g))
    return false;
  if (all_tiles(&o, 4, panel_tiles)) return true;
  if (c->in[0].data || !layout_fits(&c->in[0], LAYOUT_COL)) return false;
  o.a = LAYOUT_COL;
  return gemm_problem(c, false, &g) && all_tiles(&o, 2, panel_tiles_simple);
}

static bool label_panels(const struct opcall *c, const struct target *t, int i, struct label *l) {
  if (!find_panels(c, t, i, l)) return false;
  l->inplace = inplace(c, l);
  return true;
}

static bool pack_tiles(struct offers *o) {
  const struct gemm_problem *g = o->g;
  int64_t nr = o->tile->nr, outer = g->nbatch ? g->dim[g->nbatch - 1] : 0;
  int64_t depth[2] = {g->k, 512};
  int ndepth = g->k > 768 && !o->local ? 2 : 1;
  for (int i = 0; i < ndepth; i++) {
    if (outer >= o->threads && offer(o, NEST_BATCH, depth[i], g->m, nr, false)) return true;
    if ((o->threads == 1 || g->n >= o->threads * nr) &&
        offer(o, NEST_COLS, depth[i], g->m, nr, false))
      return true;
  }
  return false;
}

static bool find_pack(const struct opcall *c, const struct target *t, int i, struct label *l) {
  static const enum layout in[][2] = {
      {LAYOUT_ROW, LAYOUT_ROW}, {LAYOUT_ROW, LAYOUT_COL}, {LAYOUT_COL, LAYOUT_ROW}};
  struct gemm_problem g;
  struct offers o = {.left = i, .l = l, .g = &g, .t = t, .local = c->out[0].dtype != FVM_F32};
  if (c->in[1].data && c->in[1].rank >= 2) return false; /* gemm_panels has it packed for nothing */
  for (size_t k = 0; k < COUNT(in); k++) {
    o.a = in[k][0];
    o.b = in[k][1];
    if (!gemm_problem(c, o.a == LAYOUT_ROW, &g) || !is_ours(c, &g)) return false;
    if (!layout_fits(&c->in[0], o.a) || !layout_fits(&c->in[1], o.b)) continue;
    if (all_tiles(&o, k == 0 ? 4 : 2, pack_tiles)) return true;
  }
  return false;
}

static bool label_pack(const struct opcall *c, const struct target *t, int i, struct label *l) {
  if (!find_pack(c, t, i, l)) return false;
  l->inplace = inplace(c, l);
  return true;
}

#define PANELS                                                                                     \
  { "gemm_panels", GEMM_KNOBS, label_panels, emit, cost }
#define STRASSEN                                                                                   \
  { "gemm_strassen", STRASSEN_KNOBS, strassen_label, strassen_emit, strassen_cost }
const struct cand gemm_panels = PANELS, gemm_strassen = STRASSEN;
const struct cand gemm_cands[] = {
    PANELS, {"gemm_pack_b", GEMM_KNOBS, label_pack, emit, cost}, STRASSEN, {0}};
