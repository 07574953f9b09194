/* Packings by a sweep through time. Shared by mem_*.c only.
 *
 *   mem_tree.c    the orders in which what is live can stand
 *   mem_gaps.c    its gaps, and which of them can stand side by side
 *   mem_fill.c    ways to put one block into the gaps
 *   mem_look.c    what is to end as one place
 *   mem_sweep.c   the beam: which ways are followed
 *   mem_replay.c  from the ways taken to offsets */
#ifndef FVM_MEM_SWEEP_H
#define FVM_MEM_SWEEP_H

#include "mem_tree.h"

enum { MEM_GAPS = 64 }; /* that a way can name */
struct mem_gaps {
  int n;
  struct mem_gap {
    int node;
    bool open; /* its siblings are from the present time: one more can stand beside them */
    bool loose;
    int64_t size;
  } v[MEM_GAPS]; /* in the order of the leaves */
  /* Nodes of the tree with gaps below; room for as many as it has is the caller's. */
  struct mem_branch {
    uint64_t set;
    int first, next, n, place; /* of n children; place: among its siblings */
    bool line, all;            /* all: all that is below is gaps */
  } * branch;
  int nbranch, root;
};
void mem_find_gaps(const struct mem_tree *t, struct mem_gaps *g);
/* Whether these gaps can stand side by side. */
bool mem_can_join(const struct mem_gaps *g, uint64_t set);

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
/* Fills way[MEM_WAYS]; how many. Those of one gap are possible, those of several may not be. */
int mem_ways(const struct mem_gaps *g, const struct mem_need *need, struct mem_way *way);
/* The gaps are the tree's, and can stand side by side. */
void mem_fill(struct mem_tree *t, const struct mem_gaps *g, const struct mem_need *need,
              const struct mem_way *way, struct mem_log *log);

/* Of groups of blocks, a bit each by item, how many cannot stand side by side, but for gaps; a
 * group may count several times. */
int mem_apart(const struct mem_tree *t, const uint64_t *group);

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
