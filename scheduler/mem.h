/* Places in the arena. Knows nothing of tensors: blocks with lives. */
#ifndef FVM_MEM_H
#define FVM_MEM_H

#include "../vm/base.h"

struct mem_block {
  int first, last; /* steps in which it is live, inclusive */
  int64_t bytes, align;
  int64_t offset; /* result; of a fixed block given */
  bool fixed;
};
struct mem_limits {
  int64_t capacity;         /* the first packing within will do; 0: as low as possible */
  int64_t ticks;            /* effort: about the nodes of a search */
  bool (*stop)(void *data); /* asked now and then; NULL: ticks alone decide */
  void *data;
};
enum mem_status { MEM_OPTIMAL, MEM_GAP, MEM_INFEASIBLE };
struct mem_result {
  int64_t bytes, bound; /* height reached; no packing is lower */
  enum mem_status status;
  int64_t ticks;
};
/* Effort that the planner allows, which is below 0.1 s; most graphs need none. */
#define MEM_TICKS ((int64_t)20000)

/* Exact: the most live bytes as a bound, packings in several orders, then sweeps and search.
 * Optimal: the height is the bound. Gap: the limits were reached before. Infeasible: the bound is
 * above the capacity, and offsets are of no use. Deterministic, but for `stop`. Blocks that are
 * fixed on the same bytes are FVM_EFAIL. */
enum fvm_status mem_solve(struct mem_block *block, int n, const struct mem_limits *limits,
                          struct mem_result *r, struct fvm_error *err);
/* With MEM_TICKS alone. */
enum fvm_status mem_pack(struct mem_block *block, int n, struct mem_result *r,
                         struct fvm_error *err);

/* As others pack, to compare with; none is fixed, and the bound is the most live bytes. One block
 * behind the other, no byte used twice: */
enum fvm_status mem_pack_linear(struct mem_block *block, int n, struct mem_result *r,
                                struct fvm_error *err);
/* the largest block first, into the tightest gap between those whose lives meet its own: */
enum fvm_status mem_pack_by_size(struct mem_block *block, int n, struct mem_result *r,
                                 struct fvm_error *err);
/* and the same with lives that count as one step longer: */
enum fvm_status mem_pack_padded(struct mem_block *block, int n, struct mem_result *r,
                                struct fvm_error *err);

#endif
