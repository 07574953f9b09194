/* Ways to run FusedAttention for few queries. attn_few, for each batch and key head:
 *
 *   scores [rows][keys] = queries * keys transposed + mask; their softmax; times values
 *
 * with nothing packed: each key and value is read once, where it is. Rows are queries of one head,
 * or, when there is one query, all heads that share the keys. Threads share key heads; where these
 * are too few, the heads that share one. */
#include "attn.h"
#include "op_impl.h"

#include <math.h>

/* Knob: what threads share. */
enum split { SPLIT_KEY_HEADS, SPLIT_HEADS };

struct gen {
  struct attn a;
  struct builder *b;
  bool is_bool, by_head; /* by_head: rows are heads */
  bool scale_first;      /* scores get something added, which is not to be scaled */
  int64_t step;          /* heads at a time */
  int scores, konst, out;
  struct span batch, kv, head;
};

enum { K_SCALE, K_NEVER, KONSTS };
static struct addr konst(const struct gen *g, int i) { return ADDR(g->konst, i * 4); }

static void init(struct gen *g, const struct opcall *c, const struct label *l, struct builder *b) {
  *g = (struct gen){.b = b, .out = c->nin};
  CHECK(attn_init(&g->a, c, NULL) == FVM_OK);
  const struct attn *a = &g->a;
  g->is_bool = a->has_mask && c->in[3].dtype == FVM_BOOL;
  g->by_head = a->queries == 1;
  g->scale_first = a->has_mask || (a->causal && a->queries > 1);
  int64_t group = a->heads / a->kv_heads;
  g->step = !g->by_head ? 1 : l->knob[0] == SPLIT_HEADS ? CEIL_DIV(group, l->threads) : group;
  g->scores = build_buf(b, BUF_SCRATCH, (g->by_head ? g->step : a->queries) * a->keys * 4);
  g->konst = emit_constants(b, (const float[KONSTS]){a->scale, -INFINITY}, KONSTS);
}

/* What is `head` further for each query head, of the first row. */
static struct addr by_head(const struct gen *g, int buf, int64_t at, int64_t batch, int64_t head) {
  struct addr x = ADDR(buf, at);
  span_term(&x, &g->batch, batch);
  span_term(&x, &g->kv, head * (g->a.heads / g->a.kv_heads));
  span_term(&x, &g->head, head);
  return x;
}

static struct val rows(const struct gen *g) { return g->by_head ? g->head.len : val(g->a.queries); }

static struct addr by_key(const struct gen *g, int buf, const struct attn_operand *o) {
  return attn_operand_at(buf, o, &g->batch, &g->kv);
}

static void emit_scores(const struct gen *g) {
  const struct attn *a = &g->a;
  struct val m = rows(g), n = val(a->keys), one = val(1), zero = val(0);
  struct addr q = by_head(g, 0, a->q.at * 4, a->q.batch * 4, a->q.head * 4);
  struct addr s = ADDR(g->scores, 0);
  build_ukr(g->b, UKR_dots_f32, (struct addr[]){q, by_key(g, 1, &a->k), s},
            (struct val[]){m, n, val(a->q.width), val(g->by_head ? a->q.head : a->q.row),
                           val(a->k.row), n});
  if (g->scale_first)
    build_ukr(g->b, UKR_mul_f32, (struct addr[]){s, konst(g, K_SCALE), s},
              (struct val[]){m, n, n, one, zero, zero, n});
  if (!a->has_mask) return;
  int64_t e = g->is_bool ? 1 : 4;
  struct addr mask = by_head(g, 3, 0, a->mask[0] * e, a->mask[1] * e);
  struct val ms = val(a->mask[g->by_head ? 1 : 2]), mc = val(a->mask[3]);
  if (g->is_bool)
    build_ukr(g->b, UKR_select_4, (struct addr[]){mask, s, konst(g, K_NEVER), s},
              (struct val[]){m, n, ms, mc, n, one, zero, zero, n});
  else
    build_ukr(g->b, UKR_add_f32, (struct addr[]){s, mask, s},
              (struct val[]){m, n, n, one, ms, mc, n});
}

/* Row i does not see the last queries - 1 - i keys. */
static void emit_causal(const struct gen *g) {
  const struct attn *a = &g->a;
  for (int64_t i = 0; a->causal && i < a->queries - 1; i++) {
    struct val hidden = val(a->queries - 1 - i);
    build_ukr(g->b, UKR_fill_4,
              (struct addr[]){ADDR(g->scores, ((i + 1) * a->keys - hidden.v) * 4)},
              (struct val[]){val(1), hidden, hidden, val_float(-INFINITY)});
  }
}

static void emit_rows(const struct gen *g) {
  const struct attn *a = &g->a;
  struct addr s = ADDR(g->scores, 0);
  struct val m = rows(g), n = val(a->keys);
  emit_scores(g);
  emit_causal(g);
  build_ukr(g->b, UKR_softmax_f32, (struct addr[]){s, s},
            (struct val[]){m, n, n, n, val_float(g->scale_first ? 1 : a->scale), val(a->guard)});
  int64_t out = a->heads * a->v.width;
  struct addr y = by_head(g, g->out, 0, a->queries * out * 4, a->v.width * 4);
  build_ukr(
      g->b, UKR_mix_f32, (struct addr[]){s, by_key(g, 2, &a->v), y},
      (struct val[]){m, val(a->v.width), n, n, val(a->v.row), val(g->by_head ? a->v.width : out)});
}

void attn_few_emit(const struct opcall *c, const struct label *l, struct builder *b) {
  struct gen g;
  init(&g, c, l, b);
  bool by_key_head = l->knob[0] == SPLIT_KEY_HEADS;
  int64_t group = g.a.heads / g.a.kv_heads;
  g.batch = span_open(b, false, val(g.a.batch), g.a.batch, 1);
  g.kv = span_open(b, by_key_head, val(g.a.kv_heads), g.a.kv_heads, 1);
  g.head = span_open(b, !by_key_head, val(group), group, g.step);
  emit_rows(&g);
  span_close(b, &g.head);
  span_close(b, &g.kv);
  span_close(b, &g.batch);
}

void attn_few_cost(const struct opcall *c, const struct label *l, struct opcost *cost) {
  struct attn a;
  (void)l;
  CHECK(attn_init(&a, c, NULL) == FVM_OK);
  attn_cost(&a, c, cost);
  int64_t rows = a.batch * a.heads * a.queries;
  /* Vectors are filled and reduced for each product, so a flop takes about twice as long. */
  cost->flops = rows * a.keys * (4 * (a.q.width + a.v.width) + 12);
  cost->calls = 3 * rows;
}

/* From about a tile's rows on, products on tiles are faster. */
enum { MOST_QUERIES = 16 };

bool attn_few_label(const struct opcall *c, const struct target *t, int i, struct label *l) {
  struct attn a;
  if (!attn_can(&a, c) || a.queries > MOST_QUERIES) return false;
  for (int n = 0; n < MAX(t->nthreads, 1); n++) {
    l->threads = t->nthreads ? t->threads[n] : 1;
    bool by_key_head = l->threads == 1 || a.kv_heads >= l->threads;
    if (!by_key_head && a.heads / a.kv_heads < l->threads) continue;
    l->knob[0] = by_key_head ? SPLIT_KEY_HEADS : SPLIT_HEADS;
    if (i-- == 0) return true;
  }
  return false;
}
