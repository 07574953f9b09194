/* Matrix products in one form: what MatMul and Gemm have in common (op_gemm.c) for their
 * candidates (cand_gemm.c). */
#ifndef FVM_GEMM_H
#define FVM_GEMM_H

#include "emit.h"

enum { GEMM_MAXBATCH = 4 };

/* One matrix operand as it is stored: the logical matrix is its transpose when `trans`. */
struct gemm_operand {
  int64_t rows, cols; /* stored */
  bool trans;
};

/* For each index of the batch dimensions: C = A B, rows of all batches lying one after another.
 * Batches that share B are folded into m where A's layout allows. */
struct gemm_problem {
  int64_t m, n, k;
  int nbatch;
  /* Extent, and how many matrices the operand moves on (0: broadcast). */
  int64_t dim[GEMM_MAXBATCH], a_step[GEMM_MAXBATCH], b_step[GEMM_MAXBATCH];
  struct gemm_operand a, b;
  /* Gemm: alpha * A B + beta * C. */
  float alpha, beta;
};

/* Read the problem off an opcall whose shapes are known. fold: A is row-major, so that batches may
 * be folded into m. False when there are more batch dimensions than the loops are made for. */
bool gemm_problem(const struct opcall *c, bool fold, struct gemm_problem *g);
/* Strides in elements of a logical row and column in layout row or col. */
void gemm_strides(const struct gemm_operand *o, enum layout l, int64_t *rs, int64_t *cs);

/* Gemm's C, broadcast to the product; buf -1 when there is none. */
struct matrix gemm_bias(const struct opcall *c, const struct gemm_problem *g);

extern const struct cand gemm_cands[];
/* Rows of it that products in other guises are run by, and the names of their knobs. */
#define GEMM_KNOBS                                                                                 \
  { "mr", "nr", "kc", "mc", "nc", "nest", "pack", "ahead" }
#define STRASSEN_KNOBS                                                                             \
  { "mr", "nr", "mc", "levels" }
extern const struct cand gemm_panels, gemm_strassen;
/* The functions of candidate gemm_strassen (cand_strassen.c). */
bool strassen_label(const struct opcall *c, const struct target *t, int i, struct label *l);
void strassen_emit(const struct opcall *c, const struct label *l, struct builder *b);
void strassen_cost(const struct opcall *c, const struct label *l, struct opcost *cost);

#endif
