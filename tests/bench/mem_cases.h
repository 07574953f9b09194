/* Hard instances for the packing of blocks: a rectangle of time and addresses is cut to pieces, so
 * that a packing without waste is known, and then given away in random order, less a little noise.
 * The most live bytes equal the height of that packing. */
#ifndef FVM_MEM_CASES_H
#define FVM_MEM_CASES_H

#include "../../scheduler/mem.h"

/* name, what it looks like */
#define MEM_FAMILIES(F)                                                                            \
  F(guillotine, "cuts from edge to edge, again and again")                                         \
  F(slabs, "many long thin blocks between pieces of all sizes")                                    \
  F(skyline, "blocks stacked on the lowest place, no straight cuts")                               \
  F(trace, "an allocator's run: random lives, gaps filled at peaks")                               \
  F(phases, "a compiler's trace: bursts of short lives in phases, few that span them")             \
  F(unet, "nested long lives as in an encoder and decoder, cut pieces around them")                \
  F(kernel, "buffers that live through all of it, and places filled anew in every phase")

enum mem_family {
#define ROW(name, text) MEM_##name,
  MEM_FAMILIES(ROW)
#undef ROW
      MEM_FAMILY_COUNT
};
enum { MEM_CASE_MAX = 2048 };
struct mem_case {
  int n;
  int64_t height; /* of a packing that exists; no packing is lower */
  struct mem_block block[MEM_CASE_MAX];
};
const char *mem_family_name(enum mem_family f);
/* About `n` blocks. The same for the same arguments. */
void mem_case_make(struct mem_case *c, enum mem_family f, int n, uint64_t seed);

#endif
