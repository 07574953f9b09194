/* Windows over images whose channels lie last (nhwc, c16): what depthwise convolutions and pools in
 * those layouts share. One program for both:
 *
 *   for each image:  par over rows of outputs, or over chunks of channels
 *     the other of the two:  a micro-kernel on [rows x chunk], then the body on the same
 *
 * A chunk is `cb` channels of nhwc or a block of c16. */
#ifndef FVM_LAST_H
#define FVM_LAST_H

#include "view.h"
#include "window.h"

/* Knobs: channels and output rows of a call; threads share rows (0) or chunks (1). */
enum { LAST_CB, LAST_ROWS, LAST_SPLIT };
#define LAST_KNOBS "cb", "rows", "split"

struct last {
  struct window w;
  int ukr;
  bool weights, bias; /* inputs 1 and 2 are the filters (in f16) and the bias */
  struct val tail[3]; /* further arguments of the one without */
  int ntail;
};
/* Of a depthwise convolution, a pool; false when it is none. */
bool last_of_conv(const struct opcall *c, struct last *op);
bool last_of_pool(const struct opcall *c, struct last *op);
/* Whether a block of channels that they do not fill stays zero where it is padded. */
bool last_keeps_padding(const struct last *op, const struct tensor *x, enum layout l);
/* The i-th label of an opcall whose input 0 and output lie in nhwc or c16. */
bool last_label(const struct last *op, const struct opcall *c, const struct target *t, int i,
                struct label *l);
void last_emit(const struct last *op, const struct opcall *c, const struct label *l,
               struct builder *b);
void last_cost(const struct last *op, const struct opcall *c, const struct label *l,
               struct opcost *cost);

/* Sums (times scale) or maxima over all pixels of each channel: global pools, and reductions over
 * all axes but the first two. Knob: channels of a call. */
struct columns {
  int ukr; /* colsum_f32 or colmax_f32 */
  float scale;
};
bool columns_label(const struct opcall *c, const struct target *t, int i, struct label *l);
void columns_emit(const struct columns *op, const struct opcall *c, const struct label *l,
                  struct builder *b);

#endif
