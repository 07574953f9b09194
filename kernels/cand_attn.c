/* Ways to run FusedAttention. attn_rows, for each batch and key head:
 *
 *   the head's keys and values become gemm panels in scratch
 *   for each query head that shares them, for blocks of rows
 *     scores = mask + queries * keys, in scratch; softmax of their rows; times values
 *
 * so that no more than a block of scores exists. Threads share heads, batches or rows. */
#include "attn.h"
#include "op_impl.h"

#include <math.h>

/* Knobs: the tile of the scores, the tile of the result, rows of a block, what threads share. */
enum { MR, NR, VMR, VNR, ROWS, SPLIT };
enum split { SPLIT_HEADS, SPLIT_BATCH, SPLIT_ROWS };

struct gen {
  struct attn a;
  struct builder *b;
  const struct gemm_tile *tile, *vtile;
  int64_t rows;
  bool scale_keys; /* a mask is added by the gemm, so the scale must be in the keys before */
  bool is_bool, mask_in_gemm;
  int keys, values, scores, konst, triangle, out;
  bool share; /* threads share rows: they pack keys and values together */
  /* Loops around a block of rows. */
  struct span batch, kv, head, row;
};

/* Constants that all threads share: scale, -inf. */
enum { K_SCALE, K_NEVER };
static struct addr konst(const struct gen *g, int i) { return ADDR(g->konst, i * 4); }

/* A square of the block's rows: what row r adds to the keys from the first one on that its block's
 * first row does not see. */
static void init_causal(struct gen *g) {
  if (!g->a.causal) return;
  struct builder *b = g->b;
  g->triangle = build_buf(b, BUF_SHARED, g->rows * g->rows * 4);
  struct val rows = val(g->rows);
  build_ukr(b, UKR_fill_4, (struct addr[]){ADDR(g->triangle, 0)},
            (struct val[]){rows, rows, rows, val(0)});
  int r = build_loop(b, 0, rows, 1);
  int n = build_min(b, g->rows, rows, r);
  build_ukr(b, UKR_fill_4, (struct addr[]){ADDR(g->triangle, 0, {r, (g->rows + 1) * 4})},
            (struct val[]){val(1), reg(n), rows, val_float(-INFINITY)});
  build_end(b);
}

static void init(struct gen *g, const struct opcall *c, const struct label *l, struct builder *b) {
  *g = (struct gen){.b = b,
                    .tile = gemm_tile_find(l->knob[MR], l->knob[NR]),
                    .vtile = gemm_tile_find(l->knob[VMR], l->knob[VNR]),
                    .rows = l->knob[ROWS],
                    .out = c->nin};
  CHECK(attn_init(&g->a, c, NULL) == FVM_OK);
  const struct attn *a = &g->a;
  g->is_bool = a->has_mask && c->in[3].dtype == FVM_BOOL;
  g->mask_in_gemm = a->has_mask && !g->is_bool && (a->mask[3] == 1 || a->keys == 1);
  g->scale_keys = !(a->scale > 0) || (a->has_mask && !g->is_bool);
  g->share = l->knob[SPLIT] == SPLIT_ROWS;
  enum bufkind kind = g->share ? BUF_SHARED : BUF_SCRATCH;
  g->keys = build_buf(b, kind, ROUND_UP(a->keys, l->knob[NR]) * a->q.width * 4);
  g->values = build_buf(b, kind, ROUND_UP(a->v.width, l->knob[VNR]) * a->keys * 4);
  g->scores = build_buf(b, BUF_SCRATCH, g->rows * a->keys * 4);
  g->konst = build_buf(b, BUF_SHARED, 8);
  const float f[] = {a->scale, -INFINITY};
  for (int i = 0; i < 2; i++)
    build_ukr(b, UKR_fill_4, (struct addr[]){konst(g, i)},
              (struct val[]){val(1), val(1), val(1), val_float(f[i])});
  init_causal(g);
}

static struct addr operand(const struct gen *g, int buf, const struct attn_operand *o) {
  struct addr x = ADDR(buf, o->at * 4);
  span_term(&x, &g->batch, o->batch * 4);
  span_term(&x, &g->kv, o->head * 4);
  return x;
}

/* Keys, transposed (k is the width), and values (k is the key) as panels. */
static void pack_head(const struct gen *g) {
  const struct attn *a = &g->a;
  struct builder *b = g->b;
  struct span s = span_open(b, g->share, val(a->keys), a->keys, g->tile->nr);
  struct addr x = operand(g, 1, &a->k), y = ADDR(g->keys, 0);
  span_term(&x, &s, a->k.row * 4);
  span_term(&y, &s, a->q.width * 4);
  struct val nr = val(g->tile->nr), one = val(1), zero = val(0), width = val(a->q.width);
  build_ukr(b, UKR_pack_4, (struct addr[]){x, y},
            (struct val[]){width, s.len, one, val(a->k.row), nr});
  if (g->scale_keys)
    build_ukr(b, UKR_mul_f32, (struct addr[]){y, konst(g, K_SCALE), y},
              (struct val[]){width, nr, nr, one, zero, zero, nr});
  span_close(b, &s);
  s = span_open(b, g->share, val(a->v.width), a->v.width, g->vtile->nr);
  x = operand(g, 2, &a->v);
  y = ADDR(g->values, 0);
  span_term(&x, &s, 4);
  span_term(&y, &s, a->keys * 4);
  build_ukr(b, UKR_pack_4, (struct addr[]){x, y},
            (struct val[]){val(a->keys), s.len, val(a->v.row), one, val(g->vtile->nr)});
  span_close(b, &s);
}

/* The block of rows in an operand that is addressed by query. */
static struct addr by_query(const struct gen *g, int buf, int64_t at, int64_t batch, int64_t head,
                            int64_t row) {
  struct addr x = ADDR(buf, at);
  span_term(&x, &g->batch, batch);
  span_term(&x, &g->kv, head * (g->a.heads / g->a.kv_heads));
  span_term(&x, &g->head, head);
  span_term(&x, &g->row, row);
  return x;
}

/* scores = queries * keys, the mask being what the products start from if it can. */
static void emit_scores(const struct gen *g) {
  const struct attn *a = &g->a;
  struct gemm_block k = {
      .tile = g->tile,
      .a = by_query(g, 0, a->q.at * 4, a->q.batch * 4, a->q.head * 4, a->q.row * 4),
      .sa = a->q.row,
      .ka = 1,
      .a_row = a->q.row * 4,
      .b = ADDR(g->keys, 0),
      .b_col = a->q.width * 4,
      .c = {g->scores, 0, a->keys * 4, 4},
      .m = g->row.len,
      .n = val(a->keys),
      .k = val(a->q.width),
      .m_max = g->row.max,
      .n_max = a->keys,
      .rows_outer = true};
  struct addr mask = by_query(g, 3, 0, a->mask[0] * 4, a->mask[1] * 4, a->mask[2] * 4);
  if (g->mask_in_gemm) {
    k.mode = 1;
    k.d = (struct matrix){3, 0, a->mask[2] * 4, 4};
    k.d_base = &mask;
  }
  emit_gemm(&k, g->b);
}

/* What the gemm could not do of the mask. */
static void emit_mask(const struct gen *g) {
  const struct attn *a = &g->a;
  struct addr s = ADDR(g->scores, 0);
  struct val m = g->row.len, n = val(a->keys), one = val(1), zero = val(0);
  int64_t e = g->is_bool ? 1 : 4;
  if (!a->has_mask || g->mask_in_gemm) return;
  struct addr mask = by_query(g, 3, 0, a->mask[0] * e, a->mask[1] * e, a->mask[2] * e);
  struct val ms = val(a->mask[2]), mc = val(a->mask[3]);
  if (g->is_bool)
    build_ukr(g->b, UKR_select_4, (struct addr[]){mask, s, konst(g, K_NEVER), s},
              (struct val[]){m, n, ms, mc, n, one, zero, zero, n});
  else
    build_ukr(g->b, UKR_add_f32, (struct addr[]){s, mask, s},
              (struct val[]){m, n, n, one, ms, mc, n});
}

/* Row i sees i + 1 + keys - queries keys: behind those that the block's first row sees comes the
 * triangle, and behind that nothing is seen. */
static void emit_causal(const struct gen *g) {
  const struct attn *a = &g->a;
  if (!a->causal) return;
  struct builder *b = g->b;
  int64_t rows = g->rows;
  struct addr s = ADDR(g->scores, (a->keys - a->queries + 1) * 4);
  struct val m = g->row.len, sy = val(a->keys), one = val(1), unseen = val(a->queries - 1);
  span_term(&s, &g->row, 4);
  if (g->row.reg >= 0) unseen = reg(build_min(b, a->queries, unseen, g->row.reg));
  struct val n = unseen.is_reg ? reg(build_min(b, rows, val(a->queries - 1), g->row.reg))
                               : val(MIN(rows, unseen.v));
  build_ukr(b, UKR_add_f32, (struct addr[]){s, ADDR(g->triangle, 0), s},
            (struct val[]){m, n, sy, one, val(rows), one, sy});
  int t = build_loop(b, rows, unseen, rows);
  int rest = build_min(b, rows, unseen, t);
  addr_add(&s, t, 4);
  build_ukr(b, UKR_fill_4, (struct addr[]){s},
            (struct val[]){m, reg(rest), sy, val_float(-INFINITY)});
  build_end(b);
}

static void emit_block(const struct gen *g) {
  const struct attn *a = &g->a;
  struct addr s = ADDR(g->scores, 0);
  struct val m = g->row.len, n = val(a->keys);
  emit_scores(g);
  emit_mask(g);
  emit_causal(g);
  build_ukr(g->b, UKR_softmax_f32, (struct addr[]){s, s},
            (struct val[]){m, n, n, n, val_float(g->scale_keys ? 1 : a->scale), val(a->guard)});
  int64_t out = a->heads * a->v.width;
  struct gemm_block k = {.tile = g->vtile,
                         .a = s,
                         .sa = a->keys,
                         .ka = 1,
                         .a_row = a->keys * 4,
                         .b = ADDR(g->values, 0),
                         .b_col = a->keys * 4,
                         .c = {g->out, 0, out * 4, 4},
                         .m = m,
                         .n = val(a->v.width),
                         .k = n,
                         .m_max = g->row.max,
                         .n_max = a->v.width,
                         .rows_outer = true};
  place_row(&k.at, &g->batch, a->queries);
  place_row(&k.at, &g->row, 1);
  place_col(&k.at, &g->kv, a->heads / a->kv_heads * a->v.width);
  place_col(&k.at, &g->head, a->v.width);
  emit_gemm(&k, g->b);
}

static void emit(const struct opcall *c, const struct label *l, struct builder *b) {
  struct gen g;
  init(&g, c, l, b);
  const struct attn *a = &g.a;
  int64_t group = a->heads / a->kv_heads, split = l->knob[SPLIT];
  g.batch = span_open(b, split == SPLIT_BATCH, val(a->batch), a->batch, 1);
  g.kv = span_open(b, split == SPLIT_HEADS, val(a->kv_heads), a->kv_heads, 1);
  pack_head(&g);
  g.head = span_open(b, false, val(group), group, 1);
  g.row = span_open(b, g.share, val(a->queries), a->queries, g.rows);
  emit_block(&g);
  span_close(b, &g.row);
  span_close(b, &g.head);
  span_close(b, &g.kv);
  span_close(b, &g.batch);
}

static void cost(const struct opcall *c, const struct label *l, struct opcost *cost) {
  struct attn a;
  const int32_t *k = l->knob;
  CHECK(attn_init(&a, c, NULL) == FVM_OK);
  int64_t all = a.batch * a.heads, scores = all * a.queries * a.keys;
  int64_t packs = a.batch * a.kv_heads;
  cost->bytes_read = 4 * (all * a.queries * a.q.width + packs * a.keys * (a.q.width + a.v.width));
  if (a.has_mask) cost->bytes_read += tensor_bytes(&c->in[3]);
  cost->bytes_written = tensor_bytes(&c->out[0]);
  cost->flops = scores * (2 * (a.q.width + a.v.width) + 8);
  cost->bytes_written += packs * a.keys * (a.q.width + a.v.width) * 4;
  cost->calls = all * CEIL_DIV(a.queries, k[MR]) * CEIL_DIV(a.keys, k[NR]) +
                all * CEIL_DIV(a.queries, k[VMR]) * CEIL_DIV(a.v.width, k[VNR]) +
                all * CEIL_DIV(a.queries, k[ROWS]);
}

/* ---- labels ---------------------------------------------------------------------------------- */
struct offers {
  int left;
  struct label *l;
  const struct attn *a;
  const struct gemm_tile *tile, *vtile;
};

static bool offer(struct offers *o, int64_t rows, enum split split) {
  if (o->left-- > 0) return false;
  const int32_t knob[] = {o->tile->mr,  o->tile->nr,   o->vtile->mr,
                          o->vtile->nr, (int32_t)rows, (int32_t)split};
  for (size_t i = 0; i < COUNT(knob); i++) o->l->knob[i] = knob[i];
  return true;
}

static bool offer_splits(struct offers *o, int64_t rows) {
  const struct attn *a = o->a;
  int threads = o->l->threads;
  if ((threads == 1 || a->kv_heads >= threads) && offer(o, rows, SPLIT_HEADS)) return true;
  if (threads == 1) return false;
  if (a->batch >= threads && offer(o, rows, SPLIT_BATCH)) return true;
  return a->queries >= threads && offer(o, MIN(rows, CEIL_DIV(a->queries, threads)), SPLIT_ROWS);
}

/* Blocks of one tile's rows, and of about 32 and 64. */
static bool offer_rows(struct offers *o) {
  int64_t mr = o->tile->mr, last = 0;
  for (int64_t want = 1; want <= 64; want = want == 1 ? 32 : 2 * want) {
    int64_t rows = MIN(ROUND_UP(want, mr), o->a->queries);
    if (rows != last && offer_splits(o, rows)) return true;
    last = rows;
  }
  return false;
}

/* The tile that wastes least on the width of the values. */
static const struct gemm_tile *value_tile(enum isa isa, int64_t m, int64_t width) {
  const struct gemm_tile *best = NULL, *t;
  for (int i = 0; (t = gemm_tile_at(isa, m, width, i)); i++)
    if (!best || ROUND_UP(width, t->nr) < ROUND_UP(width, best->nr)) best = t;
  return best;
}

static bool label(const struct opcall *c, const struct target *t, int i, struct label *l) {
  struct attn a;
  struct offers o = {.left = i, .l = l, .a = &a};
  if (c->in[0].dtype != FVM_F32 || c->body || attn_init(&a, c, NULL) != FVM_OK) return false;
  if (tensor_count(&c->out[0]) == 0 || a.keys == 0 || a.q.width == 0) return false;
  if ((a.causal && a.keys < a.queries) || MAX(a.keys, a.queries) > INT32_MAX / 2) return false;
  o.vtile = value_tile(t->isa, a.queries, a.v.width);
  for (int k = 0; k < MAX(t->nthreads, 1); k++) {
    l->threads = t->nthreads ? t->threads[k] : 1;
    for (int n = 0; n < 3; n++) {
      o.tile = gemm_tile_at(t->isa, a.queries, a.keys, n);
      if (!o.tile) break;
      if (offer_rows(&o)) return true;
    }
  }
  return false;
}

const struct cand attn_cands[] = {
    {"attn_rows", {"mr", "nr", "vmr", "vnr", "rows", "split"}, label, emit, cost},
    {0},
};
