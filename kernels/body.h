/* Emission of fused element-wise bodies (struct body in op.h) as strips. */
#ifndef FVM_BODY_H
#define FVM_BODY_H

#include "op.h"

/* Whether each input that the body reads is affine in (row, column) when the output is seen as a
 * matrix of `cols` columns and as many rows as it has: so a tile of it can be addressed. False for
 * a body that reads the anchor's own inputs (they lie in layouts of the anchor's choice), and for
 * one that body_supported refuses. */
bool body_fits(const struct opcall *c, int64_t cols);

/* A tile of that matrix. Its first element is at row sum(row[i].reg * row[i].stride) and column
 * sum(col[i].reg * col[i].stride): strides in rows and columns here; lists end at stride 0. */
struct tile {
  struct term row[CODE_MAXTERM], col[CODE_MAXTERM];
  struct val m, n;      /* its size: constants or registers */
  int64_t m_max, n_max; /* bounds of m and n, for the scratch of intermediate values */
  int64_t cols;         /* columns of the whole matrix */
  struct addr anchor;   /* where the anchor's values are (unused for FusedElementwise) */
  int64_t anchor_row;   /* bytes from row to row there */
  struct addr dst;      /* where the body's result goes; may equal anchor */
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
