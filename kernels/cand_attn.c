/* Ways to run FusedAttention for many queries. attn_cols, for each batch and head, for blocks of
 * queries:
 *
 *   q -> panel [width][nr]          queries are columns, scaled
 *   for blocks of keys:
 *     scores [keys][nr] = mask + keys * panel;  a step of the softmax of their columns
 *     out    [nr][width of v] = out * (what the step says) + scores transposed * values
 *   out /= sums
 *
 * so that a block of scores is all that exists, in L1, and neither keys nor scores have to be
 * transposed: a gemm takes its first factor with any strides. Queries side by side make maxima and
 * sums of the softmax operations on whole vectors. Values become panels, which costs one copy. */
#include "attn.h"
#include "op_impl.h"

#include <math.h>

/* Knobs: the tile of the scores, the tile of the result, keys of a block, what threads share. */
enum { MR, NR, VMR, VNR, KEYS, SPLIT };
enum split { SPLIT_HEADS, SPLIT_ROWS };

struct gen {
  struct attn a;
  struct builder *b;
  const struct gemm_tile *tile, *vtile;
  int64_t nr, keys; /* of a block */
  bool by_rows, is_bool, mask_by_head;
  int queries, values, scores, sums, mask, bools, konst, out; /* buffers */
  int64_t values_bytes;                                       /* of one head */
  struct span batch, kv, head, row;                           /* loops around a block */
  struct val seen, place; /* keys that the block's queries see; place of the first among the keys */
};

/* Constants that all threads share. */
enum { K_SCALE, K_NEVER, K_ZERO, K_TINY, KONSTS };
static struct addr konst(const struct gen *g, int i) { return ADDR(g->konst, i * 4); }

/* Rows of g->sums, as softmax_cols has them. */
enum { GREATEST, SUM, FACTOR, SUMS };
static struct addr sums(const struct gen *g, int i) { return ADDR(g->sums, i * g->nr * 4); }

/* ---- masks -------------------------------------------------------------------------------------
 * A mask becomes panels [keys][nr] of what is added to the scores, one for each block of queries
 * that it tells apart. */

static bool mask_by_row(const struct gen *g) { return g->a.mask[2] != 0; }
/* Heads outside of blocks of queries: masks that are the same for all heads are made before. */
static bool mask_shared(const struct gen *g) {
  return g->a.has_mask && !g->by_rows && !g->mask_by_head;
}

static void init_mask(struct gen *g, const struct opcall *c) {
  struct attn *a = &g->a;
  if (!a->has_mask) return;
  g->is_bool = c->in[3].dtype == FVM_BOOL;
  g->mask_by_head = a->heads > 1 && a->mask[1] != 0;
  int64_t blocks = mask_shared(g) && mask_by_row(g) ? CEIL_DIV(a->queries, g->nr) : 1;
  g->mask =
      build_buf(g->b, mask_shared(g) ? BUF_SHARED : BUF_SCRATCH, blocks * a->keys * g->nr * 4);
  if (g->is_bool) g->bools = build_buf(g->b, BUF_SCRATCH, g->nr * a->keys * 4);
}

static struct addr mask_panel(const struct gen *g, const struct span *row) {
  struct addr y = ADDR(g->mask, 0);
  if (mask_shared(g) && mask_by_row(g)) span_term(&y, row, g->a.keys * 4);
  return y;
}

/* The panel of a block of queries. Columns without a query are zero. */
static void emit_mask(const struct gen *g, const struct span *row) {
  const struct attn *a = &g->a;
  struct builder *b = g->b;
  int64_t e = g->is_bool ? 1 : 4;
  struct addr x = ADDR(3, 0), y = mask_panel(g, row);
  struct val keys = val(a->keys), nr = val(g->nr), rows = val(a->mask[2]), cols = val(a->mask[3]);
  struct val one = val(1), zero = val(0), n = mask_by_row(g) ? row->len : nr;
  span_term(&x, &g->batch, a->mask[0] * e);
  if (g->mask_by_head) {
    span_term(&x, &g->kv, a->mask[1] * (a->heads / a->kv_heads) * e);
    span_term(&x, &g->head, a->mask[1] * e);
  }
  span_term(&x, row, a->mask[2] * e);
  if (n.is_reg || n.v != g->nr)
    build_ukr(b, UKR_fill_4, (struct addr[]){y}, (struct val[]){keys, nr, nr, zero});
  if (g->is_bool) {
    struct addr z = ADDR(g->bools, 0);
    build_ukr(b, UKR_select_4, (struct addr[]){x, konst(g, K_ZERO), konst(g, K_NEVER), z},
              (struct val[]){n, keys, rows, cols, zero, zero, zero, zero, keys});
    x = z;
    rows = keys;
    cols = one;
  }
  build_ukr(b, UKR_copy_4, (struct addr[]){x, y}, (struct val[]){keys, n, cols, rows, nr, one});
}

static void emit_shared_masks(const struct gen *g) {
  if (!mask_shared(g)) return;
  int64_t queries = mask_by_row(g) ? g->a.queries : MIN(g->a.queries, g->nr);
  struct span row = span_open(g->b, true, val(queries), queries, g->nr);
  emit_mask(g, &row);
  span_close(g->b, &row);
}

/* ---- keys and values ------------------------------------------------------------------------- */

static struct addr operand(const struct gen *g, int buf, const struct attn_operand *o) {
  return attn_operand_at(buf, o, &g->batch, &g->kv);
}

static struct addr head_values(const struct gen *g) {
  struct addr x = ADDR(g->values, 0);
  if (g->by_rows) span_term(&x, &g->kv, g->values_bytes);
  return x;
}

/* A head's values as panels. */
static void emit_values(const struct gen *g) {
  const struct attn *a = &g->a;
  struct span s = span_open(g->b, false, val(a->v.width), a->v.width, g->vtile->nr);
  struct addr x = operand(g, 2, &a->v), y = head_values(g);
  span_term(&x, &s, 4);
  span_term(&y, &s, a->keys * 4);
  build_ukr(g->b, UKR_pack_4, (struct addr[]){x, y},
            (struct val[]){val(a->keys), s.len, val(a->v.row), val(1), val(g->vtile->nr)});
  span_close(g->b, &s);
}

/* ---- a block of queries of a head ------------------------------------------------------------ */

static void emit_queries(const struct gen *g) {
  const struct attn *a = &g->a;
  struct addr x = operand(g, 0, &(struct attn_operand){.at = a->q.at, .batch = a->q.batch});
  struct addr y = ADDR(g->queries, 0);
  struct val width = val(a->q.width), nr = val(g->nr), one = val(1), zero = val(0);
  span_term(&x, &g->kv, a->q.head * (a->heads / a->kv_heads) * 4);
  span_term(&x, &g->head, a->q.head * 4);
  span_term(&x, &g->row, a->q.row * 4);
  build_ukr(g->b, UKR_pack_4, (struct addr[]){x, y},
            (struct val[]){width, g->row.len, one, val(a->q.row), nr});
  build_ukr(g->b, UKR_mul_f32, (struct addr[]){y, konst(g, K_SCALE), y},
            (struct val[]){width, nr, nr, one, zero, zero, nr});
}

/* scores = mask + keys * queries */
static void emit_scores(const struct gen *g, const struct span *keys) {
  const struct attn *a = &g->a;
  struct addr x = operand(g, 1, &a->k), mask = mask_panel(g, &g->row);
  span_term(&x, keys, a->k.row * 4);
  span_term(&mask, keys, g->nr * 4);
  struct gemm_block k = {.tile = g->tile,
                         .a = x,
                         .sa = a->k.row,
                         .ka = 1,
                         .a_row = a->k.row * 4,
                         .b = ADDR(g->queries, 0),
                         .c = {g->scores, 0, g->nr * 4, 4},
                         .m = keys->len,
                         .n = val(g->nr),
                         .k = val(a->q.width),
                         .m_max = keys->max,
                         .n_max = g->nr};
  if (a->has_mask) {
    k.mode = 1;
    k.d = (struct matrix){g->mask, 0, g->nr * 4, 4, 0};
    k.d_base = &mask;
  }
  emit_gemm(&k, g->b);
}

static void result(const struct gen *g, struct matrix *m, struct place *at) {
  const struct attn *a = &g->a;
  *m = (struct matrix){g->out, 0, a->heads * a->v.width * 4, 4, 0};
  *at = (struct place){0};
  place_row(at, &g->batch, a->queries);
  place_row(at, &g->row, 1);
  place_col(at, &g->kv, a->heads / a->kv_heads * a->v.width);
  place_col(at, &g->head, a->v.width);
}

/* out = (add ? out : 0) + scores transposed * values */
static void emit_product(const struct gen *g, const struct span *keys, bool add) {
  const struct attn *a = &g->a;
  struct addr values = head_values(g);
  span_term(&values, keys, g->vtile->nr * 4);
  struct gemm_block k = {.tile = g->vtile,
                         .a = ADDR(g->scores, 0),
                         .sa = 1,
                         .ka = g->nr,
                         .a_row = 4,
                         .b = values,
                         .b_col = a->keys * 4,
                         .m = g->row.len,
                         .n = val(a->v.width),
                         .k = keys->len,
                         .mode = add,
                         .m_max = g->row.max,
                         .n_max = a->v.width};
  result(g, &k.c, &k.at);
  k.d = k.c;
  emit_gemm(&k, g->b);
}

/* Row i of out by element i of a row of sums. */
static void emit_rescale(const struct gen *g, int by) {
  const struct attn *a = &g->a;
  struct matrix m;
  struct place at;
  result(g, &m, &at);
  struct addr y = matrix_at(&m, &at);
  struct val row = val(a->heads * a->v.width), one = val(1), zero = val(0);
  build_ukr(g->b, UKR_mul_f32, (struct addr[]){y, sums(g, by), y},
            (struct val[]){g->row.len, val(a->v.width), row, one, one, zero, row});
}

static void emit_softmax(const struct gen *g, const struct span *keys, bool first) {
  struct val nr = val(g->nr), key = keys->reg < 0 ? val(0) : reg(keys->reg);
  build_ukr(g->b, UKR_softmax_cols_f32, (struct addr[]){ADDR(g->scores, 0), sums(g, 0)},
            (struct val[]){keys->len, nr, nr, nr, val(first), g->place, key});
}

/* Nothing was seen yet: out = 0, the greatest score -inf. */
static void emit_start(const struct gen *g) {
  const struct attn *a = &g->a;
  struct matrix m;
  struct place at;
  result(g, &m, &at);
  struct val nr = val(g->nr), one = val(1), zero = val(0);
  build_ukr(g->b, UKR_fill_4, (struct addr[]){matrix_at(&m, &at)},
            (struct val[]){g->row.len, val(a->v.width), val(a->heads * a->v.width), zero});
  build_ukr(g->b, UKR_fill_4, (struct addr[]){sums(g, GREATEST)},
            (struct val[]){one, nr, nr, val_float(-INFINITY)});
  build_ukr(g->b, UKR_fill_4, (struct addr[]){sums(g, SUM)}, (struct val[]){one, nr, nr, zero});
}

/* Where no key was seen, guard makes the sum a number, by which 0 can be divided. */
static void emit_end(const struct gen *g) {
  struct addr s = sums(g, SUM);
  struct val nr = val(g->nr), one = val(1), zero = val(0);
  if (g->a.guard)
    build_ukr(g->b, UKR_max_f32, (struct addr[]){s, konst(g, K_TINY), s},
              (struct val[]){one, nr, nr, one, zero, zero, nr});
  build_ukr(g->b, UKR_recip_f32, (struct addr[]){s, s}, (struct val[]){one, nr, nr, one, nr});
  emit_rescale(g, SUM);
}

static void emit_block(const struct gen *g) {
  const struct attn *a = &g->a;
  bool once = a->keys <= g->keys;
  emit_queries(g);
  if (!once) emit_start(g);
  struct span keys = span_open(g->b, false, g->seen, a->keys, g->keys);
  emit_scores(g, &keys);
  emit_softmax(g, &keys, once);
  if (!once) emit_rescale(g, FACTOR);
  emit_product(g, &keys, !once);
  span_close(g->b, &keys);
  emit_end(g);
}

/* ---- loops ----------------------------------------------------------------------------------- */

/* Query i sees i + 1 + keys - queries keys, so a block those of its last column. */
static void open_rows(struct gen *g, bool par) {
  const struct attn *a = &g->a;
  /* Beyond all keys, what is hidden starts nowhere. */
  g->row = span_open(g->b, par, val(a->queries), a->queries, g->nr);
  g->seen = g->place = val(a->keys);
  if (!a->causal) return;
  int64_t before = a->keys - a->queries;
  if (g->row.reg < 0) {
    g->place = val(before);
    return;
  }
  int rest = build_min(g->b, a->queries, val(a->queries), g->row.reg);
  g->place = reg(build_min(g->b, a->keys, val(a->keys), rest));
  g->seen = reg(build_min(g->b, a->keys, val(a->keys + g->nr), rest));
}

static void open_heads(struct gen *g, bool par) {
  g->kv = span_open(g->b, par, val(g->a.kv_heads), g->a.kv_heads, 1);
}

static void open_group(struct gen *g) {
  int64_t group = g->a.heads / g->a.kv_heads;
  g->head = span_open(g->b, false, val(group), group, 1);
}

static void emit_by_heads(struct gen *g) {
  emit_shared_masks(g);
  open_heads(g, true);
  emit_values(g);
  open_group(g);
  open_rows(g, false);
  if (g->mask_by_head) emit_mask(g, &g->row);
  emit_block(g);
  span_close(g->b, &g->row);
  span_close(g->b, &g->head);
  span_close(g->b, &g->kv);
}

static void emit_by_rows(struct gen *g) {
  open_heads(g, true);
  emit_values(g);
  span_close(g->b, &g->kv);
  open_rows(g, true);
  if (g->a.has_mask && !g->mask_by_head) emit_mask(g, &g->row);
  open_heads(g, false);
  open_group(g);
  if (g->mask_by_head) emit_mask(g, &g->row);
  emit_block(g);
  span_close(g->b, &g->head);
  span_close(g->b, &g->kv);
  span_close(g->b, &g->row);
}

static void init(struct gen *g, const struct opcall *c, const struct label *l, struct builder *b) {
  *g = (struct gen){.b = b,
                    .tile = gemm_tile_find(l->knob[MR], l->knob[NR]),
                    .vtile = gemm_tile_find(l->knob[VMR], l->knob[VNR]),
                    .nr = l->knob[NR],
                    .keys = l->knob[KEYS],
                    .by_rows = l->knob[SPLIT] == SPLIT_ROWS,
                    .out = c->nin};
  CHECK(attn_init(&g->a, c, NULL) == FVM_OK);
  const struct attn *a = &g->a;
  g->values_bytes = ROUND_UP(a->v.width, l->knob[VNR]) * a->keys * 4;
  if (g->by_rows)
    g->values = build_buf(b, BUF_SHARED, a->kv_heads * g->values_bytes);
  else
    g->values = build_buf(b, BUF_SCRATCH, g->values_bytes);
  g->queries = build_buf(b, BUF_SCRATCH, a->q.width * g->nr * 4);
  g->scores = build_buf(b, BUF_SCRATCH, MIN(a->keys, g->keys) * g->nr * 4);
  g->sums = build_buf(b, BUF_SCRATCH, SUMS * g->nr * 4);
  const float f[KONSTS] = {a->scale, -INFINITY, 0, 0x1p-126f};
  g->konst = emit_constants(b, f, KONSTS);
  init_mask(g, c);
}

static void emit(const struct opcall *c, const struct label *l, struct builder *b) {
  struct gen g;
  init(&g, c, l, b);
  g.batch = span_open(b, false, val(g.a.batch), g.a.batch, 1);
  if (g.by_rows)
    emit_by_rows(&g);
  else
    emit_by_heads(&g);
  span_close(b, &g.batch);
}

static void cost(const struct opcall *c, const struct label *l, struct opcost *cost) {
  struct attn a;
  const int32_t *k = l->knob;
  CHECK(attn_init(&a, c, NULL) == FVM_OK);
  attn_cost(&a, c, cost);
  int64_t blocks = a.batch * a.heads * CEIL_DIV(a.queries, k[NR]);
  cost->flops = blocks * k[NR] * a.keys * (2 * (a.q.width + a.v.width) + 12);
  cost->bytes_written += a.batch * a.kv_heads * a.keys * a.v.width * 4;
  cost->calls = blocks * (CEIL_DIV(a.keys, k[MR]) + CEIL_DIV(a.keys, k[KEYS]) +
                          CEIL_DIV(k[NR], k[VMR]) * CEIL_DIV(a.v.width, k[VNR]));
}

/* For fewer, almost all of a panel would be empty. */
enum { LEAST_QUERIES = 4 };
enum { MOST_MASK_BYTES = 1 << 20 };

/* ---- labels ---------------------------------------------------------------------------------- */
struct offers {
  int left;
  struct label *l;
  const struct attn *a;
  const struct gemm_tile *tile, *vtile;
};

static bool offer(struct offers *o, int64_t keys, enum split split) {
  if (o->left-- > 0) return false;
  const int32_t knob[] = {o->tile->mr,  o->tile->nr,   o->vtile->mr,
                          o->vtile->nr, (int32_t)keys, (int32_t)split};
  for (size_t i = 0; i < COUNT(knob); i++) o->l->knob[i] = knob[i];
  return true;
}

/* Panels for all queries are as large as the mask; that may not become a second score matrix. */
static bool heads_outside(const struct offers *o) {
  const struct attn *a = o->a;
  bool all = a->has_mask && a->mask[2] != 0 && (a->heads == 1 || a->mask[1] == 0);
  return a->kv_heads >= o->l->threads && (!all || a->queries * a->keys * 4 <= MOST_MASK_BYTES);
}

/* Blocks of scores that fill half of L1, and of those that fill it twice. */
static bool offer_keys(struct offers *o) {
  const struct attn *a = o->a;
  int threads = o->l->threads;
  int64_t last = 0;
  for (int64_t floats = 4096; floats <= 16384; floats *= 4) {
    int64_t keys = MIN(floats / o->tile->nr, a->keys);
    if (keys == last) break;
    last = keys;
    if (heads_outside(o) && offer(o, keys, SPLIT_HEADS)) return true;
    if (a->queries > (threads - 1) * o->tile->nr && offer(o, keys, SPLIT_ROWS)) return true;
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
  if (!attn_can(&a, c) || a.queries < LEAST_QUERIES) return false;
  o.vtile = value_tile(t->isa, a.queries, a.v.width);
  for (int k = 0; k < MAX(t->nthreads, 1); k++) {
    l->threads = t->nthreads ? t->threads[k] : 1;
    for (int n = 0; n < 3; n++) {
      o.tile = gemm_tile_at(t->isa, a.keys, a.queries, n);
      if (!o.tile) break;
      if (offer_keys(&o)) return true;
    }
  }
  return false;
}

const struct cand attn_cands[] = {
    {"attn_cols", {"mr", "nr", "vmr", "vnr", "keys", "split"}, label, emit, cost},
    {"attn_few", {"split"}, attn_few_label, attn_few_emit, attn_few_cost},
    {0},
};
