/* Direct convolution (cand_direct.c) as a part of programs: conv_direct's own, and those that use
 * its rows up as soon as they are made (cand_chain.c). */
#ifndef FVM_DIRECT_H
#define FVM_DIRECT_H

#include "conv.h"
#include "view.h"

/* Layouts and tiles, best guess first, to a row whose mr is 0; what an ISA is offered is what was
 * made for it. */
struct direct_form {
  enum layout in, out;
  int mr, nr;
  enum isa from, to;
};
extern const struct direct_form direct_forms[];

/* An image whose pixels lie in blocks of `block` channels. Strides in elements. */
struct direct_image {
  int64_t block, blocks; /* channels in a block of a pixel, blocks of an image */
  int64_t pixel, row, plane;
};

struct direct {
  struct conv v;
  struct view view;
  struct epilogue e;
  struct builder *b;
  const struct gemm_tile *tile;
  bool cut, flat, bordered, split; /* flat: an image is one row */
  struct direct_image in,
      from; /* the input; what the products read: that, or the copy with borders */
  int64_t width, unit, count; /* pixels in a row, in a unit; units of the output */
  int64_t rows;               /* units of a block: rows, or pixels where the image is one row */
  bool pairs;                 /* panels are two blocks wide */
  int64_t k, padding;     /* rows of the filters; channels that pad the last block of the input */
  int strip;              /* buffer of the copy */
  int sink;               /* see direct_init */
  struct span n, p, j, y; /* images, blocks of units, panels, rows */
};

/* Whether it takes a convolution at all; one form of it: then layouts, mr and nr are set. */
bool direct_takes(const struct opcall *c, struct conv *v);
bool direct_fits(const struct opcall *c, const struct conv *v, const struct direct_form *f,
                 enum isa isa, struct label *l);
/* Before any loop. sinks: the result goes to scratch, [rows of a block][width][nr], and not to the
 * output. The caller opens images (g->n), blocks (g->p: its register counts units) and, with
 * direct_panels, panels (g->j). */
void direct_init(struct direct *g, const struct opcall *c, const struct direct_form *f,
                 int64_t rows, bool sinks, struct builder *b);
struct span direct_panels(const struct direct *g);
/* Address of the input under the first pixel of a block of an image, which may be copied first. */
struct addr direct_input(const struct direct *g, const struct addr *image);
/* The products of a block and a panel, and what is left of the body on what is in the sink. */
void direct_rows(struct direct *g, struct addr x);
void direct_body(struct direct *g);

#endif
