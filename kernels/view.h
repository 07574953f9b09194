/* An opcall as its tensors lie in memory. In a channel-last layout a tensor is the row-major tensor
 * of other axes: [N, C, H, W] in nhwc is [N, H, W, C], in c16 it is [N, C / 16, H, W, 16]. Emitters
 * of such layouts work on an opcall whose output and body inputs have those axes, and need no other
 * code for bodies (emit.h), element-wise nests or boxes. */
#ifndef FVM_VIEW_H
#define FVM_VIEW_H

#include "emit.h"
#include "op_impl.h"

/* A tensor's axes in the order of a layout (row, or of kind LAST or CUT), for an output of `rank`
 * axes: broadcast axes in front of its own are 1, and so are the blocks of an axis of size 1. */
struct tensor view_tensor(const struct tensor *t, int rank, enum layout l);

struct view {
  struct opcall call;
  struct tensor in[NEST_MAXOP], out;
  struct matrix_dims dims; /* of the output: pixels by channels, or blocks of them */
};
/* View an opcall whose output 0 lies in layout l; inputs before `first` (the anchor's own, which
 * the emitter addresses itself) stay as they are. */
void view_init(struct view *v, const struct opcall *c, int first, enum layout l);
/* The layouts of those inputs for it: what has more than one axis to order lies in the output's
 * layout. False when an input can't, or the layout does not fit. */
bool view_layouts(const struct opcall *c, int first, enum layout l, struct label *label);
/* Whether the body can be emitted on the output in layout l (its size is count). */
bool view_fits(const struct opcall *c, int64_t count, enum layout l);

#endif
