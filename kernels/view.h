/* An opcall as its tensors lie in memory. In a channel-last layout a tensor is the row-major tensor
 * of other axes: [N, C, H, W] in nhwc is [N, H, W, C], in c16 it is [N, C / 16, H, W, 16]. Emitters
 * of such layouts work on an opcall whose output and body inputs have those axes, and need no other
 * code for bodies (emit.h), element-wise nests or boxes.
 *
 * Where channels do not fill the last block of c16, the view has as many as would: the program is
 * that of a problem with whole blocks, whose other channels are zeros (op.h). That holds because
 * what is read there is zero, too: images, by induction; filters, biases and other vectors of
 * channels, since their layouts pad them with zeros. Sums of products and windows make zeros of
 * zeros; a body that does not (a sigmoid, a constant added) is not offered there. */
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
 * layout, vectors of channels are padded as it is. False when an input can't, the layout does not
 * fit, or the body makes something else than zeros of padding. */
bool view_layouts(const struct opcall *c, int first, enum layout l, struct label *label);
/* The layout of the anchor's input i, a vector of channels, when that of output 0 is set. */
void view_vector(const struct opcall *c, int i, struct label *label);
/* Whether the body can be emitted on the output in layout l (its size is count). */
bool view_fits(const struct opcall *c, int64_t count, enum layout l);

#endif
