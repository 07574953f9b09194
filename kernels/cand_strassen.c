/* gemm_strassen: MatMul and Gemm with a constant B by Strassen's seven products, or on two levels
 * by 49. Formulas, and the layouts that B is stored in: strassen.h.
 *
 *   for blocks of mc rows, each a product of its own
 *     par over rows: the sums S1 .. S4 of A's quarters, shared; on two levels those of each of the
 *       seven factors on the left, too
 *     par over groups of B's panels: the products and sums, then bias and body
 *
 * X and Y, the products that serve several quarters of C, are as wide as half a group and stay in
 * L1 or L2. Against the plain product at its best (128 rows, 384 to 3072 columns, B from memory,
 * Zen 4, one thread) this takes 0.90 to 0.93 of the time, on two levels 0.87 to 0.90, at twice and
 * four times its error: up to 5e-6 and 1e-5 of the largest element. With 64 rows the sums of B, 7/4
 * and 49/16 of its size, begin to cost more than they save. */
#include "gemm.h"
#include "strassen.h"

#include <string.h>

/* Knobs. */
enum { MR, NR, MC, LEVELS };

/* A matrix in memory: its first element, its row stride in elements. */
struct factor {
  struct addr at;
  int64_t rs;
};

/* A place for results: part of C, or scratch. */
struct target_matrix {
  struct matrix m;
  bool local; /* counts from its own start, not from the place in C */
};

struct gen {
  struct gemm_problem g;
  const struct gemm_tile *tile;
  struct builder *b;
  int levels;
  int64_t rows, depth; /* of a block: mc x k */
  struct span block;   /* of rows */
  struct epilogue e;
  struct matrix bias; /* Gemm's C; buf -1: none */
  int sums[2];        /* of the block; of its seven factors */
  int x[2], y[2];     /* by level, the innermost first */
  struct place at;    /* of the group of panels in C */
};

/* ---- factors on the left --------------------------------------------------------------------- */
/* What is multiplied on the left, in the order of enum SUM_*: a quarter of A, or a sum. */
enum { S1, S2, S3, S4, SUMS };
static const struct {
  bool is_sum;
  int sum, row, col;
} left[SUM_COUNT] = {{false, 0, 0, 0}, {false, 0, 0, 1}, {true, S2, 0, 0}, {true, S1, 0, 0},
                     {true, S4, 0, 0}, {true, S3, 0, 0}, {false, 0, 1, 1}};

/* A quarter of a matrix of m x k. */
static struct factor quarter(struct factor a, int64_t m, int64_t k, int row, int col) {
  a.at.off += (row * (m / 2) * a.rs + col * (k / 2)) * 4;
  return a;
}

/* The i-th factor of a, a matrix of m x k whose sums begin at `sums`. */
static struct factor left_factor(struct factor a, int64_t m, int64_t k, struct addr sums, int i) {
  if (!left[i].is_sum) return quarter(a, m, k, left[i].row, left[i].col);
  sums.off += left[i].sum * (m / 2) * (k / 2) * 4;
  return (struct factor){sums, k / 2};
}

static struct factor whole(const struct gen *g) {
  struct factor a = {ADDR(0, 0), g->depth};
  span_term(&a.at, &g->block, g->depth * 4);
  return a;
}

/* Where the sums of the i-th factor of the block begin. */
static struct addr inner_sums(const struct gen *g, int i) {
  return ADDR(g->sums[1], i * SUMS * (g->rows / 4) * (g->depth / 4) * 4);
}

/* z = x + y or x - y, on the rows of span s, `cols` wide. */
static void strip(const struct gen *g, int ukr, struct factor x, struct factor y, struct factor z,
                  const struct span *s, int64_t cols) {
  struct val one = val(1);
  span_term(&x.at, s, x.rs * 4);
  span_term(&y.at, s, y.rs * 4);
  span_term(&z.at, s, z.rs * 4);
  build_ukr(g->b, ukr, (struct addr[]){x.at, y.at, z.at},
            (struct val[]){s->len, val(cols), val(x.rs), one, val(y.rs), one, val(z.rs)});
}

/* The four sums of a, a matrix of m x k, on the rows of span s. */
static void sum_rows(const struct gen *g, struct factor a, int64_t m, int64_t k, struct addr to,
                     const struct span *s) {
  struct factor q[2][2], sum[SUMS];
  for (int i = 0; i < 4; i++) q[i / 2][i % 2] = quarter(a, m, k, i / 2, i % 2);
  for (int i = 0; i < SUMS; i++, to.off += (m / 2) * (k / 2) * 4)
    sum[i] = (struct factor){to, k / 2};
  strip(g, UKR_add_f32, q[1][0], q[1][1], sum[S1], s, k / 2);
  strip(g, UKR_sub_f32, sum[S1], q[0][0], sum[S2], s, k / 2);
  strip(g, UKR_sub_f32, q[0][0], q[1][0], sum[S3], s, k / 2);
  strip(g, UKR_sub_f32, q[0][1], sum[S2], sum[S4], s, k / 2);
}

static void emit_sums(const struct gen *g) {
  int64_t m = g->rows, k = g->depth;
  struct span s = span_open(g->b, true, val(m / 2), m / 2, 8);
  sum_rows(g, whole(g), m, k, ADDR(g->sums[0], 0), &s);
  span_close(g->b, &s);
  if (g->levels == 1) return;
  s = span_open(g->b, true, val(m / 4), m / 4, 8);
  for (int i = 0; i < SUM_COUNT; i++)
    sum_rows(g, left_factor(whole(g), m, k, ADDR(g->sums[0], 0), i), m / 2, k / 2, inner_sums(g, i),
             &s);
  span_close(g->b, &s);
}

/* ---- products -------------------------------------------------------------------------------- */
static struct addr target_at(const struct gen *g, const struct target_matrix *t) {
  return t->local ? ADDR(t->m.buf, t->m.off) : matrix_at(&t->m, &g->at);
}

/* A quarter of a target of m rows, its columns being cut after w. */
static struct target_matrix part(const struct target_matrix *t, int64_t m, int64_t w, int row,
                                 int col) {
  struct target_matrix q = *t;
  q.m.off += row * (m / 2) * q.m.rs + col * w * q.m.cs;
  return q;
}

/* c = (d ? d : 0) + a * panel b; c has m x n elements, the panel k rows. */
static void panel_product(const struct gen *g, struct factor a, struct addr b,
                          const struct target_matrix *d, const struct target_matrix *c, int64_t m,
                          int64_t n, int64_t k) {
  struct addr start = d ? target_at(g, d) : ADDR(0, 0);
  struct gemm_block p = {.tile = g->tile,
                         .a = a.at,
                         .sa = a.rs,
                         .ka = 1,
                         .a_row = a.rs * 4,
                         .b = b,
                         .b_col = k * 4,
                         .c = c->m,
                         .c_local = c->local,
                         .at = g->at,
                         .m = val(m),
                         .n = val(n),
                         .k = val(k),
                         .m_max = m,
                         .n_max = n,
                         .k_max = k,
                         .ahead = true};
  if (d) {
    p.mode = 1;
    p.d = d->m;
    p.d_base = &start;
  }
  emit_gemm(&p, g->b);
}

/* c = x + y, m x n elements. */
static void add(const struct gen *g, const struct target_matrix *x, const struct target_matrix *y,
                const struct target_matrix *c, int64_t m, int64_t n) {
  struct val one = val(1);
  build_ukr(g->b, UKR_add_f32, (struct addr[]){target_at(g, x), target_at(g, y), target_at(g, c)},
            (struct val[]){val(m), val(n), val(x->m.rs / 4), one, val(y->m.rs / 4), one,
                           val(c->m.rs / 4)});
}

/* One product of m x k by k x 2w (n[0] and n[1] of the columns of either half exist): its left
 * factor and the sums of that, its right factor's sums. */
struct seven {
  int level;
  int64_t m, k, w, n[2];
  struct factor a;
  struct addr a_sums, b;
};

static void multiply(const struct gen *g, const struct seven *s, const struct target_matrix *d,
                     const struct target_matrix *c);

/* Product i of the seven: c = (d ? d : 0) + left factor i * right factor i, n columns wide. */
static void product(const struct gen *g, const struct seven *s, int i,
                    const struct target_matrix *d, const struct target_matrix *c, int64_t n) {
  struct factor a = left_factor(s->a, s->m, s->k, s->a_sums, i);
  struct addr b = s->b;
  int64_t m = s->m / 2, k = s->k / 2, nr = g->tile->nr;
  if (s->level == 1) {
    b.off += i * k * nr * 4;
    panel_product(g, a, b, d, c, m, n, k);
    return;
  }
  b.off += i * SUM_COUNT * (k / 2) * nr * 4;
  struct seven inner = {1, m, k, nr, {nr, nr}, a, inner_sums(g, i), b};
  multiply(g, &inner, d, c);
}

/* A quarter of C that X goes into before its last product: c = x + d, then c += product i; without
 * d a gemm does both. */
static void start_from_x(const struct gen *g, const struct seven *s, int i,
                         const struct target_matrix *x, const struct target_matrix *d,
                         const struct target_matrix *c) {
  if (d) add(g, x, d, c, s->m / 2, s->n[0]);
  product(g, s, i, d ? c : x, c, s->n[0]);
}

/* A quarter that Y goes into, too. */
static void start_from_x_and_y(const struct gen *g, const struct seven *s,
                               const struct target_matrix *x, const struct target_matrix *y,
                               const struct target_matrix *d, const struct target_matrix *c) {
  if (d) add(g, x, d, c, s->m / 2, s->n[1]);
  add(g, d ? c : x, y, c, s->m / 2, s->n[1]);
}

/* c = (d ? d : 0) + a * b by seven products. d may be c. */
static void multiply(const struct gen *g, const struct seven *s, const struct target_matrix *d,
                     const struct target_matrix *c) {
  int64_t m = s->m, w = s->w;
  struct target_matrix x = {{g->x[s->level - 1], 0, w * 4, 4, 0}, true}, y = x, cq[4], dq[4];
  y.m.buf = g->y[s->level - 1];
  for (int i = 0; i < 4; i++) {
    cq[i] = part(c, m, w, i / 2, i % 2);
    if (d) dq[i] = part(d, m, w, i / 2, i % 2);
  }
  product(g, s, SUM_B11, NULL, &x, w);
  start_from_x(g, s, SUM_B21, &x, d ? &dq[0] : NULL, &cq[0]);
  product(g, s, SUM_T2, &x, &x, w);
  if (s->n[1]) {
    product(g, s, SUM_T1, NULL, &y, w);
    start_from_x_and_y(g, s, &x, &y, d ? &dq[1] : NULL, &cq[1]);
    product(g, s, SUM_B22, &cq[1], &cq[1], s->n[1]);
  }
  product(g, s, SUM_T3, &x, &x, w);
  if (s->n[1]) start_from_x_and_y(g, s, &x, &y, d ? &dq[3] : NULL, &cq[3]);
  start_from_x(g, s, SUM_T4, &x, d ? &dq[2] : NULL, &cq[2]);
}

/* ---- groups of panels ------------------------------------------------------------------------ */
static void finish(const struct gen *g, int64_t n) {
  int64_t m = g->rows, rs = g->e.out.rs / 4;
  struct val one = val(1);
  if (g->bias.buf >= 0) {
    struct addr c = matrix_at(&g->e.out, &g->at);
    build_ukr(g->b, UKR_add_f32, (struct addr[]){c, matrix_at(&g->bias, &g->at), c},
              (struct val[]){val(m), val(n), val(rs), one, val(g->bias.rs / 4), val(g->bias.cs / 4),
                             val(rs)});
  }
  epilogue_emit(&g->e, &g->at, val(m), m, val(n), n, g->b);
}

/* Groups from column `from` to column `to`, with so many columns in their halves. */
static void emit_groups(struct gen *g, int64_t from, int64_t to, int64_t left_cols,
                        int64_t right_cols) {
  int64_t half = (int64_t)g->tile->nr << (g->levels - 1), n = left_cols + right_cols;
  int64_t sums = g->levels == 1 ? SUM_COUNT : SUM_COUNT * SUM_COUNT;
  if (from == to) return;
  struct span s = {build_par(g->b, from, val(to), 2 * half), val(n), n};
  struct target_matrix c = {g->e.out, false};
  struct seven all = {
      g->levels,           g->rows,   g->depth, half, {left_cols, right_cols}, whole(g),
      ADDR(g->sums[0], 0), ADDR(1, 0)};
  span_term(&all.b, &s, sums * (g->depth >> g->levels) * g->tile->nr * 4 / (2 * half));
  g->at = (struct place){0};
  place_row(&g->at, &g->block, 1);
  place_col(&g->at, &s, 1);
  multiply(g, &all, NULL, &c);
  finish(g, n);
  span_close(g->b, &s);
}

static void init_scratch(struct gen *g, struct builder *b) {
  int64_t m = g->rows, k = g->depth, nr = g->tile->nr;
  g->sums[0] = build_buf(b, BUF_SHARED, SUMS * (m / 2) * (k / 2) * 4);
  if (g->levels == 2)
    g->sums[1] = build_buf(b, BUF_SHARED, SUM_COUNT * SUMS * (m / 4) * (k / 4) * 4);
  for (int i = 0; i < g->levels; i++) {
    int64_t bytes = (m >> (g->levels - i)) * (nr << i) * 4;
    g->x[i] = build_buf(b, BUF_SCRATCH, bytes);
    g->y[i] = build_buf(b, BUF_SCRATCH, bytes);
  }
}

static void init(struct gen *g, const struct opcall *c, const struct label *l, struct builder *b) {
  const int32_t *k = l->knob;
  *g = (struct gen){
      .b = b, .tile = gemm_tile_find(k[MR], k[NR]), .rows = k[MC], .levels = k[LEVELS]};
  CHECK(gemm_problem(c, true, &g->g));
  g->depth = g->g.k;
  epilogue_init(&g->e, c, g->g.n, k[MC], (int64_t)k[NR] << g->levels, 0, b);
  g->bias = gemm_bias(c, &g->g);
  init_scratch(g, b);
}

void strassen_emit(const struct opcall *c, const struct label *l, struct builder *b) {
  struct gen g;
  init(&g, c, l, b);
  int64_t n = g.g.n, half = (int64_t)g.tile->nr << (g.levels - 1);
  int64_t even = n / (2 * half) * 2 * half, rest = n - even;
  g.block = span_open(b, false, val(g.g.m), g.g.m, g.rows);
  emit_sums(&g);
  emit_groups(&g, 0, even, half, half);
  emit_groups(&g, even, n, MIN(rest, half), MAX(rest - half, 0));
  span_close(b, &g.block);
}

/* B as it is stored for a label. */
static struct sums_matrix stored(const struct gemm_problem *g, const struct gemm_tile *tile,
                                 int levels) {
  return (struct sums_matrix){.k = g->k, .n = g->n, .block = tile->nr, .levels = levels};
}

void strassen_cost(const struct opcall *c, const struct label *l, struct opcost *cost) {
  struct gemm_problem g;
  CHECK(gemm_problem(c, true, &g));
  const int32_t *knob = l->knob;
  struct sums_matrix b = stored(&g, gemm_tile_find(knob[MR], knob[NR]), knob[LEVELS]);
  int64_t blocks = g.m / knob[MC], bytes = sums_bytes(&b), rows = knob[MC] >> knob[LEVELS];
  int64_t products = bytes / 4 / (g.k >> knob[LEVELS]) / knob[NR];
  *cost = (struct opcost){.flops = blocks * (2 * rows * (bytes / 4) + 2 * knob[MC] * g.k),
                          .bytes_read = blocks * bytes + 2 * g.m * g.k * 4,
                          .bytes_written = g.m * g.n * 4 + g.m * g.k * 4,
                          .calls = blocks * 2 * products};
}

/* ---- labels ---------------------------------------------------------------------------------- */
/* Rows of a block: all, if the sums of A leave half of L2 to B, else an even divisor of m. */
static int64_t block_rows(const struct gemm_problem *g, const struct target *t) {
  int64_t l2 = t->l2_bytes > 0 ? t->l2_bytes : 512 << 10, mc = g->m;
  while (mc > 128 && mc * g->k * 4 > l2 / 2 && mc % 8 == 0) mc /= 2;
  return mc;
}

static bool applies(const struct opcall *c, const struct gemm_problem *g) {
  if (!c->in[1].data || c->in[1].rank != 2 || g->nbatch || g->a.trans || g->alpha != 1)
    return false;
  if (g->beta != 0 && g->beta != 1) return false;
  if (g->m % 2 || g->m < 16 || g->n < 64 || g->k < 64) return false;
  if (MAX(MAX(g->m, g->n), g->k) > INT32_MAX / 2) return false; /* knobs are 32 bits */
  return c->in[0].dtype == FVM_F32 && c->out[0].dtype == FVM_F32 &&
         epilogue_fits(c, g->m * g->n, g->n);
}

/* Whether a tile is offered on so many levels, and with B in which layout. */
static bool offered(const struct gemm_problem *g, const struct gemm_tile *tile, int levels,
                    enum layout *b) {
  struct sums_matrix m = stored(g, tile, levels);
  *b = g->b.trans ? tile->sumst[levels - 1] : tile->sums[levels - 1];
  return *b != LAYOUT_ROW && sums_fit(&m) && (levels == 1 || (g->m % 4 == 0 && g->m >= 64));
}

bool strassen_label(const struct opcall *c, const struct target *t, int i, struct label *l) {
  struct gemm_problem g;
  const struct gemm_tile *tile;
  enum layout b;
  if (!gemm_problem(c, true, &g) || !applies(c, &g)) return false;
  for (int thread = 0; thread < MAX(t->nthreads, 1); thread++)
    for (int levels = 1; levels <= 2; levels++)
      for (int k = 0; (tile = gemm_tile_at(t->isa, g.m >> levels, g.n, k)) != NULL; k++) {
        if (!offered(&g, tile, levels, &b) || i-- > 0) continue;
        *l = (struct label){.cand = l->cand,
                            .threads = t->nthreads ? t->threads[thread] : 1,
                            .knob = {tile->mr, tile->nr, (int32_t)block_rows(&g, t), levels}};
        l->in[1] = (uint8_t)b;
        return true;
      }
  return false;
}
