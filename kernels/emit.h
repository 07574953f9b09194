/* What the emitters of several operators share: loops over blocks, places in a matrix, operands
 * that broadcast to it, and gemm on packed panels. */
#ifndef FVM_EMIT_H
#define FVM_EMIT_H

#include "body.h"

/* ---- loops over blocks ----------------------------------------------------------------------- */
struct span {
  int reg;        /* first element of the block; -1: no loop was needed, the block is everything */
  struct val len; /* elements in the block */
  int64_t max;    /* bound of len */
};
/* Open a loop (or a par) over 0 .. limit - 1 in blocks of step; limit_max bounds limit. A loop of
 * one iteration is left out; a par always opens. */
struct span span_open(struct builder *b, bool par, struct val limit, int64_t limit_max,
                      int64_t step);
void span_close(struct builder *b, const struct span *s);
void span_term(struct addr *a, const struct span *s, int64_t stride);

/* A float as the integer operand that carries its bits. */
struct val val_float(float f);

/* A buffer that all threads share, with these floats in it, one after another. */
int emit_constants(struct builder *b, const float *f, int n);

/* ---- places in the output matrix ------------------------------------------------------------- */
void place_block(struct place *p, const struct span *s, int64_t blocks);
void place_row(struct place *p, const struct span *s, int64_t rows);
void place_col(struct place *p, const struct span *s, int64_t cols);

/* An operand whose element (row, column) of block 0 is at off + row * rs + column * cs bytes, and
 * of the next block bs bytes further on. */
struct matrix {
  int buf;
  int64_t off, rs, cs, bs;
};
struct addr matrix_at(const struct matrix *m, const struct place *p);
/* Steps (in elements) of x, broadcast to the shape of out, over out seen as a matrix of `cols`
 * columns. False when it has none. */
bool matrix_strides(const struct tensor *x, const struct tensor *out, int64_t cols, int64_t *rs,
                    int64_t *cs);

/* ---- epilogue: the body of an opcall on pieces of the output --------------------------------- */
/* Bounds that a body begins with: Relu, or Clip by constants, on nothing but the anchor. */
struct bounds {
  float lo, hi; /* -inf and inf where there are none */
  bool found;
};
struct bounds bounds_of(const struct opcall *c);

/* What an anchor takes out of the body, one after the other: an Add into what it starts from
 * (addend), an Add (residual) and bounds into what it does before it stores. */
enum { FUSE_START = 1, FUSE_ADD = 2, FUSE_CLIP = 4, FUSE_TAIL = FUSE_ADD | FUSE_CLIP };

struct epilogue {
  struct opcall call; /* with what is left of the body after what was taken out */
  struct matrix out;
  struct matrix_dims dims;
  struct body_scratch scratch;
  bool local;           /* the anchor's piece is in scratch, not in the output's place */
  struct matrix anchor; /* where the anchor's values go; piece-relative when local */
  /* What was taken out of the body: */
  int addend; /* input that joined the gemm as its d operand, or -1 */
  struct matrix add;
  int residual; /* input that is added at the end, or -1 */
  struct matrix rest;
  struct bounds bounds; /* for FUSE_CLIP: wide open when none were found */
};
/* May the body be emitted on an output matrix of `cols` columns and as many elements as the anchor
 * has (`count`)? The second form: on blocks of a matrix. */
bool epilogue_fits(const struct opcall *c, int64_t count, int64_t cols);
bool epilogue_fits_blocks(const struct opcall *c, int64_t count, struct matrix_dims m);
/* Prepare: to be called before any loop. Pieces are at most m_max x n_max;
 * fuse: what to take out of the body (FUSE_). */
void epilogue_init(struct epilogue *e, const struct opcall *c, int64_t cols, int64_t m_max,
                   int64_t n_max, unsigned fuse, struct builder *b);
void epilogue_init_blocks(struct epilogue *e, const struct opcall *c, struct matrix_dims m,
                          int64_t m_max, int64_t n_max, unsigned fuse, struct builder *b);
/* For a label whose layouts are set: 1 + the input whose place the output may take, for the anchor
 * takes it out of the body (fuse) and so reads each piece of it before it writes the same piece; 0:
 * none. */
int epilogue_inplace(const struct opcall *c, const struct label *l, struct matrix_dims m,
                     unsigned fuse);
struct addr epilogue_anchor(const struct epilogue *e, const struct place *p);
void epilogue_emit(const struct epilogue *e, const struct place *p, struct val m, int64_t m_max,
                   struct val n, int64_t n_max, struct builder *b);

/* The same on a strip of scratch, [rows][width][nr], which keeps the result: row 0 is in place p.
 */
void epilogue_strip(const struct epilogue *e, const struct place *p, const struct span *rows,
                    int64_t width, struct val n, int64_t n_max, int strip, int64_t nr,
                    struct builder *b);

/* ---- gemm on packed panels ------------------------------------------------------------------- */
struct gemm_tile {
  int mr, nr;
  enum isa isa; /* least ISA for which it is offered */
  enum ukr_id ukr;
  enum layout panel, panelt;
  enum layout filter, filter_row; /* of convolution weights, for inputs in nhwc and in row */
  /* Of B for Strassen's product on one and two levels; LAYOUT_ROW: not offered. */
  enum layout sums[2], sumst[2];
};
extern const struct gemm_tile gemm_tiles[];
const struct gemm_tile *gemm_tile_find(int mr, int nr);
/* The i-th tile worth offering for m rows and n columns on an ISA, best guess first; NULL past the
 * end. */
const struct gemm_tile *gemm_tile_at(enum isa isa, int64_t m, int64_t n, int i);

/* An outer level of k: how many, and how many elements a and b move on from one to the next. */
struct gemm_level {
  int64_t n, a, b;
};
/* c[m][n] = (mode ? d : 0) + a[m][k] * panels b[k][n] */
struct gemm_block {
  const struct gemm_tile *tile;
  struct addr a;  /* element (0, 0) of the block */
  int64_t sa, ka; /* elements from row to row and from column to column of a */
  int64_t a_row;  /* bytes from row to row of tiles (sa * 4 unless a is packed) */
  struct addr b;  /* panel of column 0, at the block's first k */
  int64_t b_col;  /* bytes that a column's panel is further on, per column */
  struct matrix c, d;
  bool c_local; /* c's place counts from the piece, not from `at` */
  /* When set: the element (0, 0) of c, of d, whatever `at` says. */
  const struct addr *c_base, *d_base;
  int mode;
  struct place at;             /* of the block in c, d and e */
  const struct epilogue *tail; /* when set: its residual and bounds are applied, too */
  struct val m, n, k;
  int64_t m_max, n_max, k_max;
  struct gemm_level q, r; /* around k; n 0: none */
  /* n counts blocks of 16 columns, as blocks of c, d and e do (tile 14x32, one panel) */
  bool blocks;
  int64_t skip; /* of k in the last q, for `blocks` */
  bool rows_outer;
  bool ahead; /* while a panel is used, bring the next one into the caches (not rows_outer) */
  /* When set: called for each finished piece: a row of tiles (rows_outer) or a panel. */
  void (*post)(void *ctx, const struct place *p, struct val m, int64_t m_max, struct val n,
               int64_t n_max);
  void *ctx;
};
void emit_gemm(const struct gemm_block *g, struct builder *b);
/* Only the posts, over the same pieces. */
void emit_gemm_posts(const struct gemm_block *g, struct builder *b);

#endif
