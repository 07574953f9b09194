/* Operators that move data (op_move.c) and their candidates (cand_move.c): each is a list of boxes,
 * which are copied from inputs to outputs. */
#ifndef FVM_MOVE_H
#define FVM_MOVE_H

#include "op_impl.h"

/* The i-th box of an opcall, in row-major tensors; false past the last. */
bool move_next_box(const struct opcall *c, int i, struct box *x);
/* Whether the axes of its boxes are those of the tensors, in their order. */
bool move_keeps_axes(const struct opcall *c);
/* The permutation of a Transpose. */
enum fvm_status move_perm(const struct opcall *c, int perm[FVM_MAXRANK], struct fvm_error *err);

#endif
