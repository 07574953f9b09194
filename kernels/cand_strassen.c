/* gemm_strassen: MatMul and Gemm with a constant B by Strassen's seven products. Formulas, and the
 * layout that B is stored in: strassen.h.
 *
 *   for blocks of mc rows, each a product of its own
 *     par over rows: the sums S1 .. S4 of A's quarters, shared
 *     par over pairs of B's panels: the seven products, the two sums, then bias and body
 *
 * X and Y, the products that serve several quarters of C, are a panel wide and stay in L1 or L2.
 * Against the plain product at its best this takes 0.90 to 0.93 of the time (128 rows, 384 to 3072
 * columns, Zen 4), at twice its error: 2e-6 to 5e-6 of the largest element. */
#include "gemm.h"
#include "strassen.h"

#include <string.h>

/* Knobs. */
enum { MR, NR, MC };

enum { S1, S2, S3, S4 };

struct gen {
  struct gemm_problem g;
  const struct gemm_tile *tile;
  struct builder *b;
  int64_t half, depth; /* rows and columns of a quarter of A */
  struct span rows;    /* the block of rows */
  struct epilogue e;
  struct matrix bias; /* Gemm's C; buf -1: none */
  int64_t bias_col;   /* its column stride in elements */
  int sums, x, y;
};

/* ---- sums of A's quarters -------------------------------------------------------------------- */
/* A matrix of quarter size: its first element, its row stride in elements. */
struct quarter {
  struct addr at;
  int64_t rs;
};

static struct quarter a_quarter(const struct gen *g, int row, int col) {
  struct quarter q = {ADDR(0, (row * g->half * g->g.k + col * g->depth) * 4), g->g.k};
  span_term(&q.at, &g->rows, g->g.k * 4);
  return q;
}

static struct quarter a_sum(const struct gen *g, int i) {
  return (struct quarter){ADDR(g->sums, i * g->half * g->depth * 4), g->depth};
}

/* z = x + y or x - y, on the rows of span s. */
static void strip(const struct gen *g, int ukr, struct quarter x, struct quarter y,
                  struct quarter z, const struct span *s) {
  struct val one = val(1);
  span_term(&x.at, s, x.rs * 4);
  span_term(&y.at, s, y.rs * 4);
  span_term(&z.at, s, z.rs * 4);
  build_ukr(g->b, ukr, (struct addr[]){x.at, y.at, z.at},
            (struct val[]){s->len, val(g->depth), val(x.rs), one, val(y.rs), one, val(z.rs)});
}

static void emit_sums(const struct gen *g) {
  struct quarter a11 = a_quarter(g, 0, 0), a12 = a_quarter(g, 0, 1), a21 = a_quarter(g, 1, 0),
                 a22 = a_quarter(g, 1, 1), s1 = a_sum(g, S1), s2 = a_sum(g, S2), s3 = a_sum(g, S3),
                 s4 = a_sum(g, S4);
  struct span s = span_open(g->b, true, val(g->half), g->half, 8);
  strip(g, UKR_add_f32, a21, a22, s1, &s);
  strip(g, UKR_sub_f32, s1, a11, s2, &s);
  strip(g, UKR_sub_f32, a11, a21, s3, &s);
  strip(g, UKR_sub_f32, a12, s2, s4, &s);
  span_close(g->b, &s);
}

/* ---- a pair of panels ------------------------------------------------------------------------ */
/* Where products go: X, Y or a quarter of C. */
struct pair {
  struct place at;
  struct addr b; /* the pair's sums */
  struct matrix x, y, c[2][2];
  int64_t n[2]; /* columns of its panels */
};

/* c = (d ? d : 0) + a * sum `i` of the pair, `n` columns wide. */
static void product(const struct gen *g, const struct pair *p, struct quarter a, int i,
                    const struct matrix *d, const struct matrix *c, int64_t n) {
  bool local = c->buf == g->x || c->buf == g->y;
  struct addr b = p->b, start = d ? ADDR(d->buf, d->off) : ADDR(0, 0);
  b.off += i * g->depth * g->tile->nr * 4;
  struct gemm_block k = {.tile = g->tile,
                         .a = a.at,
                         .sa = a.rs,
                         .ka = 1,
                         .a_row = a.rs * 4,
                         .b = b,
                         .b_col = g->depth * 4,
                         .c = *c,
                         .c_local = local,
                         .at = p->at,
                         .m = val(g->half),
                         .n = val(n),
                         .k = val(g->depth),
                         .m_max = g->half,
                         .n_max = n,
                         .k_max = g->depth,
                         .ahead = true};
  if (d) {
    k.mode = 1;
    k.d = *d;
    if (d->buf != c->buf) k.d_base = &start; /* X, whatever part of C it is for */
  }
  emit_gemm(&k, g->b);
}

/* c = x + y */
static void add(const struct gen *g, const struct pair *p, const struct matrix *c) {
  struct val one = val(1), nr = val(g->tile->nr);
  build_ukr(g->b, UKR_add_f32, (struct addr[]){ADDR(g->x, 0), ADDR(g->y, 0), matrix_at(c, &p->at)},
            (struct val[]){val(g->half), val(p->n[1]), nr, one, nr, one, val(c->rs / 4)});
}

/* What only the right panel needs is left out where there is none. */
static void products(const struct gen *g, const struct pair *p) {
  int64_t left = p->n[0], right = p->n[1], nr = g->tile->nr;
  product(g, p, a_quarter(g, 0, 0), SUM_B11, NULL, &p->x, nr);
  product(g, p, a_quarter(g, 0, 1), SUM_B21, &p->x, &p->c[0][0], left);
  product(g, p, a_sum(g, S2), SUM_T2, &p->x, &p->x, nr);
  if (right) {
    product(g, p, a_sum(g, S1), SUM_T1, NULL, &p->y, nr);
    add(g, p, &p->c[0][1]);
    product(g, p, a_sum(g, S4), SUM_B22, &p->c[0][1], &p->c[0][1], right);
  }
  product(g, p, a_sum(g, S3), SUM_T3, &p->x, &p->x, nr);
  if (right) add(g, p, &p->c[1][1]);
  product(g, p, a_quarter(g, 1, 1), SUM_T4, &p->x, &p->c[1][0], left);
}

static void finish(const struct gen *g, const struct pair *p) {
  int64_t m = 2 * g->half, n = p->n[0] + p->n[1], rs = g->e.out.rs / 4;
  struct val one = val(1);
  if (g->bias.buf >= 0) {
    struct addr c = matrix_at(&g->e.out, &p->at);
    build_ukr(g->b, UKR_add_f32, (struct addr[]){c, matrix_at(&g->bias, &p->at), c},
              (struct val[]){val(m), val(n), val(rs), one, val(g->bias.rs / 4), val(g->bias_col),
                             val(rs)});
  }
  epilogue_emit(&g->e, &p->at, val(m), m, val(n), n, g->b);
}

/* Pairs from column `from` to column `to`, their panels left and right columns wide. */
static void emit_pairs(const struct gen *g, int64_t from, int64_t to, int64_t left, int64_t right) {
  int64_t nr = g->tile->nr;
  if (from == to) return;
  struct span s = {build_par(g->b, from, val(to), 2 * nr), val(left + right), left + right};
  struct pair p = {
      .b = ADDR(1, 0), .x = {g->x, 0, nr * 4, 4}, .y = {g->y, 0, nr * 4, 4}, .n = {left, right}};
  span_term(&p.b, &s, SUM_COUNT * g->depth * 4 / 2);
  place_row(&p.at, &g->rows, 1);
  place_col(&p.at, &s, 1);
  for (int i = 0; i < 4; i++) {
    p.c[i / 2][i % 2] = g->e.out;
    p.c[i / 2][i % 2].off += i / 2 * g->half * g->e.out.rs + i % 2 * nr * 4;
  }
  products(g, &p);
  finish(g, &p);
  span_close(g->b, &s);
}

static void init(struct gen *g, const struct opcall *c, const struct label *l, struct builder *b) {
  const int32_t *k = l->knob;
  *g = (struct gen){.b = b, .tile = gemm_tile_find(k[MR], k[NR]), .half = k[MC] / 2};
  CHECK(gemm_problem(c, true, &g->g));
  g->depth = g->g.k / 2;
  epilogue_init(&g->e, c, g->g.n, k[MC], 2 * k[NR], false, b);
  g->bias.buf = -1;
  if (g->g.beta != 0) {
    struct tensor mn = {.dtype = FVM_F32, .rank = 2, .dim = {g->g.m, g->g.n}};
    int64_t rs;
    CHECK(matrix_strides(&c->in[2], &mn, g->g.n, &rs, &g->bias_col));
    g->bias = (struct matrix){2, 0, rs * 4, g->bias_col * 4};
  }
  g->sums = build_buf(b, BUF_SHARED, 4 * g->half * g->depth * 4);
  g->x = build_buf(b, BUF_SCRATCH, g->half * k[NR] * 4);
  g->y = build_buf(b, BUF_SCRATCH, g->half * k[NR] * 4);
}

void strassen_emit(const struct opcall *c, const struct label *l, struct builder *b) {
  struct gen g;
  init(&g, c, l, b);
  int64_t n = g.g.n, wide = 2 * g.tile->nr, whole = n / wide * wide, rest = n - whole;
  g.rows = span_open(b, false, val(g.g.m), g.g.m, 2 * g.half);
  emit_sums(&g);
  emit_pairs(&g, 0, whole, wide / 2, wide / 2);
  emit_pairs(&g, whole, n, MIN(rest, wide / 2), MAX(rest - wide / 2, 0));
  span_close(b, &g.rows);
}

void strassen_cost(const struct opcall *c, const struct label *l, struct opcost *cost) {
  struct gemm_problem g;
  CHECK(gemm_problem(c, true, &g));
  int64_t blocks = g.m / l->knob[MC], half = l->knob[MC] / 2, nr = l->knob[NR];
  int64_t pairs = CEIL_DIV(g.n, 2 * nr), tiles = CEIL_DIV(half, l->knob[MR]);
  *cost = (struct opcost){
      .flops = blocks * (pairs * SUM_COUNT * 2 * half * nr * (g.k / 2) + 4 * half * g.k / 2),
      .bytes_read = blocks * sums_bytes(g.k, g.n, nr) + 2 * g.m * g.k * 4,
      .bytes_written = g.m * g.n * 4 + g.m * g.k * 4,
      .calls = blocks * pairs * (SUM_COUNT * tiles + 2)};
}

/* ---- labels ---------------------------------------------------------------------------------- */
/* Rows of a block: all, if the sums of A leave half of L2 to B, else an even divisor of m. */
static int64_t block_rows(const struct gemm_problem *g, const struct target *t) {
  int64_t l2 = t->l2_bytes > 0 ? t->l2_bytes : 512 << 10, mc = g->m;
  while (mc > 128 && mc * g->k * 4 > l2 / 2 && mc % 4 == 0) mc /= 2;
  return mc;
}

static bool applies(const struct opcall *c, const struct gemm_problem *g) {
  if (!c->in[1].data || c->in[1].rank != 2 || g->nbatch || g->a.trans || g->alpha != 1)
    return false;
  if (g->beta != 0 && g->beta != 1) return false;
  if (g->m % 2 || g->k % 2 || g->m < 16 || g->n < 64 || g->k < 64) return false;
  if (MAX(MAX(g->m, g->n), g->k) > INT32_MAX / 2) return false; /* knobs are 32 bits */
  return c->in[0].dtype == FVM_F32 && c->out[0].dtype == FVM_F32 &&
         epilogue_fits(c, g->m * g->n, g->n);
}

bool strassen_label(const struct opcall *c, const struct target *t, int i, struct label *l) {
  struct gemm_problem g;
  if (!gemm_problem(c, true, &g) || !applies(c, &g)) return false;
  for (int thread = 0; thread < MAX(t->nthreads, 1); thread++)
    for (int k = 0;; k++) {
      const struct gemm_tile *tile = gemm_tile_at(t->isa, g.m / 2, g.n, k);
      if (!tile) break;
      if (tile->sums == LAYOUT_ROW || i-- > 0) continue;
      *l = (struct label){.cand = l->cand,
                          .threads = t->nthreads ? t->threads[thread] : 1,
                          .knob = {tile->mr, tile->nr, (int32_t)block_rows(&g, t)}};
      l->in[1] = (uint8_t)(g.b.trans ? tile->sumst : tile->sums);
      return true;
    }
  return false;
}
