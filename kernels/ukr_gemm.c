/* Fast gemm. The product is cut into blocks that fit the registers: ROWS x COLS vectors
 * of accumulators, which start from d (or 0) and take one FMA for each k, in order. So the result
 * of an element depends neither on the tile nor on where k was cut: only on its d, a and b.
 *
 *             b: panel[k][NR]          per k: COLS loads of b, ROWS broadcasts of a,
 *             | COLS vectors |                ROWS * COLS FMAs
 *   a[i][k]   +--------------+
 *    ROWS     | accumulators |
 *             +--------------+
 */
#include "ukr_vec.h"

/* A call: the blocks share it. To copy one for each block would have the next block wait until the
 * stores of the last are done, 110 cycles. */
struct gemm {
  const float *a, *b, *d, *e;
  float *c;
  int64_t k, sa, ka, nr, sd, sc, ahead;
  int64_t turns, r, qa, qb, ra, rb; /* outer levels of k: q * r turns */
  int64_t se;
  int64_t hd, hc, he; /* from 16 columns to the next 16: 16, unless they are blocks */
  int64_t skip;       /* of k in the last r turns */
  float lo, hi;
  bool mode, add, clip;
};

/* Most rows of a block, by its width in columns. With AVX-512, every tile is one block. */
#ifdef __AVX512F__
enum { ROWS_16 = 14, ROWS_24 = 14, ROWS_32 = 14, ROWS_48 = 8, MAXROWS = 14, HIGH = 9 };
#else
enum { ROWS_16 = 6, ROWS_24 = 4, ROWS_32 = 0, ROWS_48 = 0, MAXROWS = 6, HIGH = 7 };
#endif
enum { MAXWIDTH = 48, MAXCOLS = MAXWIDTH / VW };

/* A vector of the panel: `width` columns are left in the block, a constant. */
INLINE vf load_panel(const float *p, int width) {
  return width >= VW ? vf_load(p) : vf_loadn(p, width);
}

typedef vf accum[MAXROWS][MAXCOLS];

/* acc += column a[0..rows) * row b[0..width). */
INLINE void step(accum acc, const float *a, int64_t sa, const float *b, uintptr_t next,
                 const int rows, const int width) {
  const int cols = (width + VW - 1) / VW;
  vf bv[MAXCOLS];
  _mm_prefetch((const char *)next, _MM_HINT_T0);
#pragma GCC unroll 8
  for (int j = 0; j < cols; j++) bv[j] = load_panel(b + j * VW, width - j * VW);
#pragma GCC unroll 16
  for (int i = 0; i < rows; i++) {
    vf x = vf_set1(a[i * sa]);
#pragma GCC unroll 8
    for (int j = 0; j < cols; j++) acc[i][j] = vf_fma(x, bv[j], acc[i][j]);
  }
}

/* Where column j is, when blocks of 16 columns are h apart. */
INLINE int64_t column(int64_t j, int64_t h) { return j / 16 * h + j % 16; }

/* Bring a block into L1; it need not exist, so its address may wrap. Strides in bytes. */
INLINE void fetch(uintptr_t x, uintptr_t stride, uintptr_t h, const int rows, const int width) {
#pragma GCC unroll 1
  for (int i = 0; i < rows; i++, x += stride)
#pragma GCC unroll 4
    for (unsigned j = 0; j < (unsigned)width; j += 16)
      _mm_prefetch((const char *)(x + j / 16 * h), _MM_HINT_T0);
}

/* Before the last steps: c, unless it was read at the start, and d of the block below, unless it is
 * a bias. Sooner, and b would push them out again: 128x768x768 takes 0.98 to 0.99 of the time
 * without, fetched 16 or 64 steps ahead 0.99. In shallow products it costs more than it gains
 * (attention 5 %). */
enum { LAST = 32, DEEP = 256 };
INLINE void fetch_results(const struct gemm *g, int64_t i, int64_t j, const int rows,
                          const int width, const bool blocks) {
  __asm__("" : "+r"(g)); /* or its addresses would take registers from the start */
  uintptr_t sc = 4 * (uintptr_t)g->sc, sd = 4 * (uintptr_t)g->sd, se = 4 * (uintptr_t)g->se;
  uintptr_t hc = blocks ? 4 * (uintptr_t)g->hc : 64, hd = blocks ? 4 * (uintptr_t)g->hd : 64;
  uintptr_t he = blocks ? 4 * (uintptr_t)g->he : 64;
  const float *c = g->c + i * g->sc + j, *d = g->d + j;
  if (!g->mode || g->d != g->c) fetch((uintptr_t)c, sc, hc, rows, width);
  if (g->add) fetch((uintptr_t)(g->e + i * g->se + j), se, he, rows, width);
  if (g->mode && g->sd) fetch((uintptr_t)d + (uintptr_t)(i + rows) * sd, sd, hd, rows, width);
}

/* What comes after the sum. */
INLINE vf finish(const struct gemm *g, vf x, vf e) {
  if (g->add) x = vf_add(x, e);
  return g->clip ? vf_min(vf_set1(g->hi), vf_max(vf_set1(g->lo), x)) : x;
}

/* A block of exactly rows x width; both are constants wherever this is inlined. High blocks take
 * two steps a turn: with one, 12x32 on AVX-512 spends 25 cycles on its 24 FMAs, and four gain
 * nothing; low ones lose by it, 8x32 4 %, on AVX2 4x24 10 % and 6x16 4 % (bench_ukr). */
INLINE void block(const struct gemm *g, int64_t i0, int64_t j0, uintptr_t next, const int rows,
                  const int width, const bool blocks) {
  const int cols = (width + VW - 1) / VW;
  const int64_t sa = g->sa, ka = g->ka, nr = g->nr, sd = g->sd, sc = g->sc;
  const float *a0 = g->a + i0 * sa, *b0 = g->b + j0, *a = a0, *b = b0;
  const int64_t hd = blocks ? g->hd : 16, hc = blocks ? g->hc : 16, he = blocks ? g->he : 16;
  const float *d = g->mode ? g->d + i0 * sd + j0 : NULL;
  float *c = g->c + i0 * sc + j0;
  uintptr_t ahead = (uintptr_t)g->ahead;
  accum acc;
#pragma GCC unroll 16
  for (int i = 0; i < rows; i++)
#pragma GCC unroll 8
    for (int j = 0; j < cols; j++)
      acc[i][j] =
          g->mode ? load_panel(d + i * sd + column(j * VW, hd), width - j * VW) : vf_set1(0);
  /* The last of g->turns in two parts. */
  const int64_t turns = MAX(g->turns, (int64_t)1), least = g->k - g->skip;
  const int64_t last = turns * g->k < DEEP ? 0 : MIN(least, (int64_t)LAST);
  for (int64_t turn = 1, r = 0; turn <= turns + (last > 0); turn++) {
    int64_t k = turn + g->r > turns ? least : g->k;
    if (turn >= turns) k = turn > turns ? last : k - last;
    if (turn > turns) {
      fetch_results(g, i0, j0, rows, width, blocks);
    } else if (turn > 1) {
      if (++r == g->r) r = 0, a0 += g->qa, b0 += g->qb;
      a = a0 + r * g->ra;
      b = b0 + r * g->rb;
    }
    for (; rows >= HIGH && k > 1; k -= 2, a += 2 * ka, b += 2 * nr, next += 2 * ahead) {
      step(acc, a, sa, b, next, rows, width);
      step(acc, a + ka, sa, b + nr, next + ahead, rows, width);
    }
    for (; k > 0; k--, a += ka, b += nr, next += ahead) step(acc, a, sa, b, next, rows, width);
  }
  const float *e = g->add ? g->e + i0 * g->se + j0 : NULL;
  if (g->add || g->clip) {
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 8
      for (int j = 0; j < cols; j++)
        acc[i][j] = finish(g, acc[i][j],
                           g->add ? load_panel(e + i * g->se + column(j * VW, he), width - j * VW)
                                  : vf_set1(0));
  }
#pragma GCC unroll 16
  for (int i = 0; i < rows; i++)
#pragma GCC unroll 8
    for (int j = 0; j < cols; j++)
      if (width - j * VW >= VW)
        vf_store(c + i * sc + column(j * VW, hc), acc[i][j]);
      else
        vf_storen(c + i * sc + column(j * VW, hc), width - j * VW, acc[i][j]);
}

/* A block of m rows: each number of rows has its own code, so a small m costs no wasted FMA. */
#define CASE(rows, most, width)                                                                    \
  case rows:                                                                                       \
    if (rows <= most) block(g, i, j, next, rows, width, false);                                    \
    break;
#define BLOCK(width)                                                                               \
  static void block_##width(const struct gemm *g, int64_t i, int64_t j, int64_t m,                 \
                            uintptr_t next) {                                                      \
    switch (m) {                                                                                   \
      CASE(1, ROWS_##width, width)                                                                 \
      CASE(2, ROWS_##width, width)                                                                 \
      CASE(3, ROWS_##width, width)                                                                 \
      CASE(4, ROWS_##width, width)                                                                 \
      CASE(5, ROWS_##width, width)                                                                 \
      CASE(6, ROWS_##width, width)                                                                 \
      CASE(7, ROWS_##width, width)                                                                 \
      CASE(8, ROWS_##width, width)                                                                 \
      CASE(9, ROWS_##width, width)                                                                 \
      CASE(10, ROWS_##width, width)                                                                \
      CASE(11, ROWS_##width, width)                                                                \
      CASE(12, ROWS_##width, width)                                                                \
      CASE(13, ROWS_##width, width)                                                                \
      CASE(14, ROWS_##width, width)                                                                \
    }                                                                                              \
  }
BLOCK(16)
BLOCK(24)
#ifdef __AVX512F__
BLOCK(32)
BLOCK(48)
#endif

typedef void block_fn(const struct gemm *g, int64_t i, int64_t j, int64_t m, uintptr_t next);

/* Fewer columns than the block's: it runs between copies of d and c that have them all. */
static void edge(const struct gemm *g, int64_t i, int64_t j, int64_t m, uintptr_t next, int64_t n,
                 block_fn *run, int64_t width) {
  float buf[MAXROWS * MAXWIDTH];
  struct gemm e = *g;
  if (g->mode) zero_4(buf, m * width);
  for (int64_t r = 0; g->mode && r < m; r++) copy_4(buf + r * width, g->d + (i + r) * g->sd + j, n);
  e.a += i * g->sa;
  e.b += j;
  e.d = e.c = buf;
  e.sd = e.sc = width;
  e.add = e.clip = false;
  run(&e, 0, 0, m, next);
  for (int64_t r = 0; r < m; r++)
    for (int64_t k = 0; k < n; k += VW) {
      int64_t part = MIN(n - k, (int64_t)VW);
      const float *more = g->add ? g->e + (i + r) * g->se + j + k : buf;
      vf x = finish(g, vf_loadn(buf + r * width + k, part), vf_loadn(more, part));
      vf_storen(g->c + (i + r) * g->sc + j + k, part, x);
    }
}

/* A block of all of some columns; NULL: there is none of that width. */
INLINE block_fn *block_of(int64_t wide, block_fn *run, int64_t width) {
  if (wide == width) return run;
#ifdef __AVX512F__
  if (wide == 32) return block_32;
#endif
  return wide == 16 ? block_16 : NULL;
}

INLINE struct gemm gemm_of(void *const *p, const int64_t *v, int64_t nr) {
  /* a is empty when k = 0: nothing bounds its strides, and there are no turns */
  const int64_t k = v[9] && v[12] ? v[2] : 0, sa = k ? v[3] : 0;
  return (struct gemm){.a = p[0],
                       .b = p[1],
                       .d = p[2],
                       .c = p[3],
                       .k = k,
                       .sa = sa,
                       .ka = v[4],
                       .nr = nr,
                       .sd = v[5],
                       .sc = v[6],
                       .mode = v[7] != 0,
                       .ahead = v[8],
                       .turns = k ? v[9] * v[12] : 0,
                       .qa = v[10],
                       .qb = v[11],
                       .r = v[12],
                       .ra = v[13],
                       .rb = v[14],
                       .e = p[5],
                       .se = v[15],
                       .add = v[16] != 0,
                       .clip = v[17] != 0,
                       .lo = ukr_float(v[18]),
                       .hi = ukr_float(v[19])};
}

/* What each block of rows brings of the next panel, in bytes. */
INLINE uintptr_t share_of(const struct gemm *g) {
  return (uintptr_t)(g->turns * g->k) * (uintptr_t)g->ahead; /* may wrap */
}

/* Cut the product into blocks. */
INLINE int product(void *const *p, const int64_t *v, int64_t nr, block_fn *run, int64_t rows,
                   int64_t width) {
  const struct gemm g = gemm_of(p, v, nr);
  const int64_t m = v[0], n = v[1];
  const uintptr_t share = share_of(&g);
  for (int64_t j = 0; j < n; j += width) {
    uintptr_t next = (uintptr_t)p[4];
    const int64_t wide = MIN(width, n - j);
    block_fn *whole = block_of(wide, run, width);
    for (int64_t i = 0; i < m; i += rows, next += share) {
      const int64_t high = MIN(rows, m - i);
      if (whole)
        whole(&g, i, j, high, next);
      else
        edge(&g, i, j, high, next, wide, run, width);
    }
  }
  return 0;
}

/* Function, rows and width of the blocks that panels of NR columns are cut into. */
#define USE(mr, width) block_##width, MIN(mr, ROWS_##width), width
#define TILE_16(mr) USE(mr, 16)
#define TILE_24(mr) USE(mr, 24)
#ifdef __AVX512F__
#define TILE_32(mr) USE(mr, 32)
#define TILE_48(mr) USE(mr, 48)
#else
#define TILE_32(mr) USE(mr, 16)
#define TILE_48(mr) USE(mr, 24)
#endif
#define GEMM(MR, NR)                                                                               \
  FN(gemm_##MR##x##NR) { return product(p, v, NR, TILE_##NR(MR)); }
#include "ukr_gemm.def"
#undef GEMM

/* ---- columns in blocks of 16 ---- */

/* Block j of columns from row i on, as a product of its own. */
static void column_block(const struct gemm *g, int64_t j, int64_t i, int64_t m, uintptr_t next) {
  struct gemm one = *g;
  const uintptr_t share = share_of(g);
  one.b += 16 * j;
  if (g->mode) one.d += j * g->hd;
  one.c += j * g->hc;
  if (g->add) one.e += j * g->he;
  for (; i < m; i += ROWS_16, next += share)
    block_16(&one, i, 0, MIN(m - i, (int64_t)ROWS_16), next);
}

/* Two blocks at a time, where vectors are as wide and all rows are there. */
FN(gemm_blocks_14x32) {
  struct gemm g = gemm_of(p, v, 32);
  g.hd = v[20];
  g.hc = v[21];
  g.he = v[22];
  g.skip = v[23];
  int64_t m = v[0], n = v[1], i = 0;
  uintptr_t next = (uintptr_t)p[4];
#ifdef __AVX512F__
  for (; n == 2 && m - i >= ROWS_32; i += ROWS_32, next += share_of(&g))
    block(&g, i, 0, next, ROWS_32, 32, true);
#endif
  for (int64_t j = 0; j < n && i < m; j++) column_block(&g, j, i, m, next);
  return 0;
}
