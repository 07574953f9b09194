/* What the operators' files (op_*.c) share: the functions that ops.def names, and helpers. */
#ifndef FVM_OP_IMPL_H
#define FVM_OP_IMPL_H

#include "../vm/elem.h"
#include "op.h"

#define OP(name, since, nin_min, nin_max, nout_max, flags, shape, ref, cands)                      \
  shape_fn shape;                                                                                  \
  ref_fn ref;                                                                                      \
  extern const struct cand cands[];
#include "ops.def"
#undef OP

/* ---- texts of problems (op_text.c, op_read.c) ------------------------------------------------ */
/* What attributes' names and plain values are made of. */
#define TEXT_WORD "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"

/* ---- element types ------------------------------------------------------------------------- */
bool dtype_is_float(enum fvm_dtype d);

/* ---- parameters of an opcall --------------------------------------------------------------- */
/* Input i, or NULL when it is absent. */
const struct tensor *opcall_in(const struct opcall *c, int i);
/* The values of integer input i, which must be a constant of at most max elements. An absent
 * input gives *n = -1. The name is for the error. */
enum fvm_status op_ints(const struct opcall *c, int i, const char *name, int64_t *v, int max,
                        int *n, struct fvm_error *err);
/* The same for what was an attribute in old opsets and is an input in new ones. */
enum fvm_status op_ints_or_attr(const struct opcall *c, int i, const char *name, int64_t *v,
                                int max, int *n, struct fvm_error *err);
/* Bring axis into 0 .. rank-1 (negative ones count from the end). */
enum fvm_status op_axis(int64_t axis, int rank, int *out, struct fvm_error *err);
/* The attribute `axis` of an opcall as an axis of input 0. */
enum fvm_status op_axis_attr(const struct opcall *c, int64_t otherwise, int *out,
                             struct fvm_error *err);
/* All of n axes; *mask has bit a set for axis a. Twice the same axis is an error. */
enum fvm_status op_axes(const int64_t *v, int n, int rank, unsigned *mask, struct fvm_error *err);
/* The opcall of the anchor alone, without body; *out is its output (one-output anchors). Its
 * shape function has accepted it before, so this does not fail. Of what stands for the second part
 * of a chain (cand_chain.c): that part's. */
void opcall_anchor(const struct opcall *c, struct opcall *anchor, struct tensor *out);

/* ---- shapes and walks ---------------------------------------------------------------------- */
int64_t dims_product(const int64_t *dim, int from, int to); /* dim[from] * ... * dim[to-1] */
/* Widen out's dims by broadcasting with in; the error says both shapes. */
enum fvm_status broadcast(struct tensor *out, const struct tensor *in, struct fvm_error *err);
/* Strides in elements of a row-major tensor seen with out's rank and dims: 0 where it repeats. */
void broadcast_strides(const struct tensor *in, const struct tensor *out, int64_t *stride);
/* Row-major strides in elements. */
void row_strides(int rank, const int64_t *dim, int64_t *stride);

/* Visit all index vectors of a box in row-major order, with the offsets of a few operands:
 *   struct walk w = {.rank = r};          dim and stride[k] filled in
 *   for (walk_start(&w); walk_more(&w); walk_next(&w)) ... w.off[k] ...  */
enum { WALK_MAXOP = 5 };
struct walk {
  int rank;
  int64_t dim[2 * FVM_MAXRANK];
  int64_t stride[WALK_MAXOP][2 * FVM_MAXRANK];
  int64_t idx[2 * FVM_MAXRANK];
  int64_t off[WALK_MAXOP];
  bool done;
};
void walk_start(struct walk *w);
static inline bool walk_more(const struct walk *w) { return !w->done; }
void walk_next(struct walk *w);

/* ---- loop nests (nest.c) ---------------------------------------------------------------------
 * A box of index vectors and how operands lie in it. Axes of size 1 vanish, the others are sorted
 * by the stride of operand 0 (the output), and neighbours that are one axis to all are merged. */
enum { NEST_MAXAXIS = 2 * FVM_MAXRANK, NEST_MAXOP = 48 };
struct nest {
  int nop, n;
  struct nest_axis {
    int64_t dim, step; /* step: elements that a micro-kernel takes at a time; 1 at first */
    int64_t stride[NEST_MAXOP];
  } axis[NEST_MAXAXIS];
  int row, col; /* the axes that micro-kernels walk; -1: none */
};
/* Axes come in any order; nest_merge after the last. */
void nest_add(struct nest *t, int64_t dim, const int64_t *stride);
void nest_merge(struct nest *t);
/* Set the steps of row and col for calls of at most row_max x col_max elements, less where threads
 * would have no share. */
void nest_steps(struct nest *t, int64_t row_max, int64_t col_max, int threads);
/* Open the loops, that with the most trips first and, for more than one thread, as a par. Adds
 * terms to the addresses of the operands (elements of bytes[k]); m and n get the size of a tile.
 * Returns the number of loops, for build_end. */
int nest_open(struct builder *b, const struct nest *t, int threads, struct addr *at,
              const int64_t *bytes, struct val *m, struct val *n);

/* ---- data movement (box.c) --------------------------------------------------------------------
 * y[i] = x[i] over a box: any strides in elements for x (negative ones too), positive ones for y.
 * Offsets in elements. fill: y is set to value instead, and x is not used. */
struct box {
  int rank;
  int64_t dim[NEST_MAXAXIS];
  int64_t x_stride[NEST_MAXAXIS], y_stride[NEST_MAXAXIS];
  int64_t x_off, y_off;
  int x_buf, y_buf;
  size_t elem_bytes;
  bool fill;
  uint64_t value; /* low bytes of an element */
};
/* Emit loops and micro-kernels. */
void box_emit(struct builder *b, const struct box *x, int threads);
/* Whether there are micro-kernels for elements of that size. */
bool box_fits(size_t elem_bytes);

/* ---- labels --------------------------------------------------------------------------------- */
/* Whether the first output is large enough that threads may pay for meeting. */
bool threads_worth(const struct opcall *c, int threads);
/* The i-th thread count that is worth it; for candidates without other choices. */
bool label_threads(const struct opcall *c, const struct target *t, int i, struct label *l);
/* The cost of an operator that reads its inputs and writes its outputs once. */
void cost_stream(const struct opcall *c, const struct label *l, struct opcost *cost);

#endif
