/* Emission of fused element-wise bodies (struct body in op.h) as strips. */
#ifndef FVM_BODY_H
#define FVM_BODY_H

#include "op.h"

/* ---- the output as a matrix ------------------------------------------------------------------
 * Its elements in row-major order are blocks of `rows` rows of `cols` columns. */
struct matrix_dims {
  int64_t cols, rows; /* rows 0: all there are, in one block */
};
/* How far an operand moves on from column to column, row to row, block to block. */
struct matrix_steps {
  int64_t col, row, block;
};
/* Steps in elements of x, broadcast to the shape of out. False when it has none. */
bool matrix_steps(const struct tensor *x, const struct tensor *out, struct matrix_dims m,
                  struct matrix_steps *s);

/* Where a tile begins: block, row and column are sums of registers times blocks, rows, columns.
 * Lists end at stride 0. */
struct place {
  struct term block[CODE_MAXTERM], row[CODE_MAXTERM], col[CODE_MAXTERM];
};
/* Its address in an operand with these steps, in bytes. */
struct addr place_at(int buf, int64_t off, const struct place *p, struct matrix_steps bytes);

/* Whether each input that the body reads has steps over that matrix: so a tile of it can be
 * addressed. False for a body that reads the anchor's own inputs (they lie in layouts of the
 * anchor's choice), and for one that body_supported refuses. */
bool body_fits(const struct opcall *c, struct matrix_dims m);

/* A tile of that matrix, within a block. */
struct tile {
  struct place at;
  struct val m, n;      /* its size: constants or registers */
  int64_t m_max, n_max; /* bounds of m and n, for the scratch of intermediate values */
  struct matrix_dims dims;
  struct addr anchor; /* where the anchor's values are (unused for FusedElementwise) */
  int64_t anchor_row; /* bytes from row to row there */
  struct addr dst;    /* where the body's result goes; may equal anchor */
  int64_t dst_row;
};
/* Scratch for intermediate values of the largest tile: to be called once, before the loops and
 * outside any par (it fills constants that all threads share); the result is passed to body_emit.
 * Values that no longer live give their room to later ones. */
struct body_scratch {
  int buf[BODY_MAXARG + 8];
  int n;
};
void body_scratch(const struct opcall *c, int64_t m_max, int64_t n_max, struct builder *b,
                  struct body_scratch *s);
/* Emit the body's items on a tile; inputs of the opcall are buffers 0 .. nin-1 of the program. */
void body_emit(const struct opcall *c, const struct tile *t, const struct body_scratch *s,
               struct builder *b);
/* Whether every item has strips for its dtypes: else the body cannot be emitted. */
bool body_supported(const struct opcall *c);

#endif
