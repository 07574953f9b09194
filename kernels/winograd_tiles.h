/* Winograd's convolution (cand_winograd.c) as a part of programs: conv_winograd's own, and those
 * that use its rows up as soon as they are made (cand_chain.c). */
#ifndef FVM_WINOGRAD_TILES_H
#define FVM_WINOGRAD_TILES_H

#include "conv.h"
#include "last.h"
#include "winograd.h"

/* Outputs of a tile's side; tile of the products; tiles of a block; layout of input and output. */
struct winograd_form {
  int m, mr, nr, th, tw;
  enum layout layout;
};

struct winograd {
  struct builder *b;
  struct conv c;
  struct view v;
  struct epilogue e;
  const struct winograd_ukr *ukr;
  const struct gemm_tile *tile;
  int m, tw;
  bool cut;
  int64_t unit; /* channels that a loop over inputs counts as one: 1, or 16 in c16 */
  int64_t each; /* filters likewise, or a panel where all are whole */
  bool whole;
  int64_t points, tiles;   /* of a tile; of a block */
  int64_t v_tile, v_point; /* floats from tile to tile and from point to point in V */
  int64_t m_point;         /* in M, where tiles are nr apart */
  int inputs, products;    /* buffers V and M */
  int sink;                /* where outputs go, [rows of a block][width][nr]; -1: the output */
  bool ahead;              /* the filters do not stay in L2: fetch them in time */
};

/* Loops around a call: image, a thread's share of the filters, block of tiles, panel of filters. */
struct winograd_loops {
  struct span n, f, y, x, p;
};

void winograd_init(struct winograd *g, const struct opcall *c, const struct winograd_form *f,
                   struct builder *b);
/* Of a block of tiles; of a panel of filters; what becomes of them, body included. */
void winograd_inputs(const struct winograd *g, const struct winograd_loops *o);
void winograd_products(const struct winograd *g, const struct winograd_loops *o);
void winograd_outputs(const struct winograd *g, const struct winograd_loops *o);

/* Whether a convolution can be run so; in a layout, and whether tiles of so many points pay. */
bool winograd_takes(const struct opcall *c, struct conv *v);
bool winograd_lies(const struct opcall *c, const struct conv *v, enum layout layout,
                   struct label *l);
bool winograd_worth(const struct opcall *c, const struct conv *v, int points);
/* Tiles under so many outputs; layout of the filters; the best mr of a gemm tile for so many rows.
 */
int64_t winograd_count(int64_t outputs, int m);
enum layout winograd_layout(int points, bool wide);
int winograd_rows(enum isa isa, int nr, int64_t rows);

#endif
