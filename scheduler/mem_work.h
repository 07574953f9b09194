/* Inside the packing of blocks: what its stages hand to each other. Shared by mem*.c only.
 *
 *   mem.c          from blocks to parts and back; how much effort goes where
 *   mem_part.c     sections, units, independent parts
 *   mem_bound.c    heights that can be reached at all
 *   mem_greedy.c   packings in several orders
 *   mem_search.c   exact: depth first, bottom up
 *   mem_sweep.c    not exact: a sweep through time (mem_sweep.h has more) */
#ifndef FVM_MEM_WORK_H
#define FVM_MEM_WORK_H

#include "mem.h"

/* A block with its life in sections: the sets of blocks live at one time that no other such set
 * contains, in order of time. Two blocks are live together when they share a section. */
struct mem_item {
  int lo, hi;          /* sections, inclusive */
  int64_t size, align; /* in units; align 1: anywhere */
  int64_t fixed;       /* in units; -1: anywhere */
  int64_t bytes;       /* of the block: size * unit, less what rounding added */
  int id;              /* of the block */
};
/* What can be packed by itself, in the end above `base`: what lives in all of its sections is
 * below. */
struct mem_part {
  int n, nsec;
  struct mem_item *item;
  int64_t unit, base; /* bytes; units */
  int64_t bound;      /* bytes above the base, at least */
  int64_t height;     /* of the best packing, bytes above the base */
  int64_t *offset;    /* in it, units above the base */
  int64_t capacity;   /* bytes above the base: higher packings are of no use */
  uint64_t *sums;     /* bit k: sizes that sum up to k units, k <= nsums; NULL: any may */
  int64_t nsums;
};

/* All parts of a problem. What is in none has its place: blocks without bytes, and those at the
 * bottom of all parts that live with them. */
struct mem_parts {
  VEC(struct mem_part) part;
  struct mem_block *block;
  struct arena *a;
  int64_t unit;
  int64_t height; /* bytes of what is in none */
  bool plain;     /* no block is fixed, and none has an alignment of its own */
};
enum fvm_status mem_split(struct mem_block *block, int n, struct mem_parts *p,
                          struct fvm_error *err);

/* The highest place within `cap` bytes, in units; negative when it does not fit. */
static inline int64_t mem_most(const struct mem_part *p, const struct mem_item *x, int64_t cap) {
  return cap < x->bytes ? -1 : (cap - x->bytes) / p->unit;
}
/* Take a packing over if it is lower; its height. */
int64_t mem_keep(struct mem_part *p, const int64_t *offset);

/* ---- effort ---- */

struct mem_effort {
  int64_t ticks, most;
  bool (*stop)(void *data);
  void *data;
  bool out; /* no more */
};
/* False when there is no more. */
bool mem_spend(struct mem_effort *e, int64_t ticks);

/* ---- bounds, starts ---- */

/* Bit k of sums, in 64 * words bits: some blocks have k units together; one more of this size. */
void mem_add_sums(uint64_t *sums, int64_t words, int64_t size);
/* Raises the bound to a sum of sizes; height: of a packing. False when memory is out. */
bool mem_reachable(struct mem_part *p, int64_t height, struct arena *a);
/* The least height above one that is out of reach. */
int64_t mem_next_height(const struct mem_part *p, int64_t height);

/* Packings in several orders, the best kept; stops at `enough` bytes. False when memory is out. */
bool mem_greedy(struct mem_part *p, int64_t enough, struct arena *a);

/* ---- search ---- */

enum mem_found { MEM_FOUND, MEM_NONE, MEM_LIMIT, MEM_NOMEM };

enum { MEM_MAX_SEARCH = 2048 }; /* items of a part that is searched */
enum mem_order { MEM_WAT, MEM_TAW, MEM_TWA, MEM_ORDERS };

/* Rules that only save work: tests switch them off, one at a time. */
enum {
  MEM_NO_DOMINANCE = 1,
  MEM_NO_FLOORS = 2,
  MEM_NO_SPLIT = 4,
  MEM_NO_SUPPORT = 8,
  MEM_NO_TWINS = 16,
};
struct mem_search;
/* NULL when memory is out. */
struct mem_search *mem_search_new(const struct mem_part *p, struct arena *a);
/* Look for a packing within `cap` bytes above the base for at most `limit` nodes; ties go by a
 * static order, disturbed by a seed other than 0. When found, offsets are in *offset. */
enum mem_found mem_search(struct mem_search *s, int64_t cap, enum mem_order order, uint64_t seed,
                          int64_t limit, unsigned off, int64_t *offset, struct mem_effort *e);

/* ---- sweep through time ---- */

struct mem_sweep;
struct mem_sweep_how {
  int64_t cap;      /* units */
  int64_t gap_cost; /* of a gap, in thousandths of the logarithm of the orders that are left */
  int width;        /* states that are followed */
  uint64_t seed;    /* of disturbances, 0: none */
  bool back;        /* from the last section to the first */
};
/* Whether blocks can stand anywhere. */
bool mem_sweep_can(const struct mem_part *p);
struct mem_sweep *mem_sweep_new(struct mem_part *p, struct arena *a);
/* Look for a packing; never says that there is none. Found may be one that is higher, but lower
 * than the best one so far. */
enum mem_found mem_sweep(struct mem_sweep *s, const struct mem_sweep_how *how, int64_t *offset,
                         struct mem_effort *effort);

#endif
