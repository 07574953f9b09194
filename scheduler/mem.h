/* Places in the arena. Knows nothing of tensors: blocks with lives. */
#ifndef FVM_MEM_H
#define FVM_MEM_H

#include "../vm/base.h"

struct mem_block {
  int first, last; /* steps in which it is live, inclusive */
  int64_t bytes, align;
  int64_t offset; /* result */
};
struct mem_result {
  int64_t bytes, bound; /* height reached; maximum of live bytes at any step */
};
/* Best of several greedy packings (by size, by duration, by area; lowest fit and best fit); stops
 * at the bound. Deterministic. */
enum fvm_status mem_pack(struct mem_block *block, int n, struct mem_result *r,
                         struct fvm_error *err);

#endif
