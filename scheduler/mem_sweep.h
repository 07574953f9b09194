/* Packings by a sweep through time. Shared by mem_*.c only.
 *
 *   mem_tree.c    the orders in which what is live can stand
 *   mem_fill.c    ways to put one block into the gaps
 *   mem_sweep.c   the beam: which ways are followed
 *   mem_replay.c  from the ways taken to offsets */
#ifndef FVM_MEM_SWEEP_H
#define FVM_MEM_SWEEP_H

#include "mem_tree.h"

enum { MEM_GAPS = 64 }; /* that a way can name */

/* One way: these gaps, in the order of the tree's leaves, become one place, of which `total` units
 * are taken; what is above stays in the last gap that is loose. What the block leaves of them is
 * open for what else comes at that time. */
struct mem_way {
  uint64_t gaps;
  int64_t total;
  int64_t cost; /* what seems cheap is tried first */
};

/* What is to be placed: a block, others of its section that come later, and the slack: units that
 * may be free in its section at last. */
struct mem_need {
  int item;
  int64_t size, slack, cap;
  const int64_t *sums; /* of some of the others, ascending */
  int nsums;           /* 0: too many */
};
enum { MEM_WAYS = 2048 };
/* Fills way[MEM_WAYS]; how many. They need not be possible all. */
int mem_ways(const struct mem_tree *t, const struct mem_need *need, struct mem_way *way);
/* False when the gaps cannot stand side by side; the tree is of no use then. */
bool mem_fill(struct mem_tree *t, const struct mem_need *need, const struct mem_way *way,
              struct mem_log *log);

/* Blocks that end before a section become gaps. */
void mem_release(struct mem_tree *t, const struct mem_item *item, int section, struct mem_log *log);

/* A problem in one direction of time. */
struct mem_line {
  int n, nsec;
  const struct mem_item *item;
  const int *order; /* of placing: by first section */
  int64_t cap;
  const struct mem_growth *growth;
  int ngrowth;
};
/* Before this step the arena grew. */
struct mem_growth {
  int step;
  int64_t units;
};
enum { MEM_GROWTHS = 64 };
/* Offsets from the way of each step: false when memory is out. */
bool mem_replay(const struct mem_line *l, const struct mem_way *way, int room, int64_t *offset);

#endif
