/* The second part of a chain: windows over strips of what the first one makes (cand_chain.c).
 *
 * A strip is as high as the windows of a block of output rows: blocks overlap in the rows by which
 * windows do, and these are computed for both. It begins with the first row under the block that
 * there is. What is not there is cut off the windows, as at the borders of any image:
 *
 *            . . .  pad: rows of the padding above the strip
 *   first -> -----  the strip's first row
 *            -----  height: rows that it has
 *            . . .  padding
 *
 * In memory it is [rows][width][nr], of one panel of nr channels. */
#ifndef FVM_CHAIN_STRIP_H
#define FVM_CHAIN_STRIP_H

#include "chain.h"
#include "last.h"
#include "view.h"

struct strip {
  struct last op;
  struct opcall tail; /* the second part, its inputs numbered as the chain's */
  struct view view;
  struct epilogue e;
  struct builder *b;
  bool cut;
  int weights;                      /* input of the chain */
  int64_t nr, high, channels, wide; /* rows of a strip; channels of all and of a panel */
  int sink;                         /* buffer of the strip */
  struct span n, r;                 /* image, block of output rows */
  struct strip_column {             /* where the panel is: sums of spans of so many channels */
    struct span s;
    int64_t each;
  } col[2];
  struct val len; /* channels of the panel */
  int first;      /* register; -1: 0 */
  struct val pad, height;
};

/* Windows that move over the rows of an image, each of which lies on it or above. */
bool strip_takes(const struct opcall *c, struct last *op);
/* Rows of a strip for a block of n output rows. */
int64_t strip_rows(const struct window *w, int64_t n);
/* Whether strips of panels of nr channels lie in the layout; layouts of the second part's inputs.
 */
bool strip_fits(const struct opcall *c, const struct last *op, enum layout layout, int64_t nr,
                struct label *l);
/* Before any loop; sink and spans are the caller's to set. */
void strip_init(struct strip *s, const struct opcall *c, enum layout l, int64_t nr, int64_t rows,
                struct builder *b);
/* Open the blocks of output rows, and say where their strips lie. */
void strip_open(struct strip *s, bool par, int64_t rows);
/* The strip is made: windows, then the body. */
void strip_windows(const struct strip *s);

#endif
