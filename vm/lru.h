/* Misses of fully associative LRU caches of several sizes at once, in lines of 64 bytes. A larger
 * cache holds all that a smaller one does, so one list in the order of last use serves them all:
 *
 *     most recent                                                        least recent
 *     |<-- level 0 -->|
 *     |<---------- level 1 ----------->|
 *     |<------------------------ level 2 -------------------------->|  dropped
 *       segment 0        segment 1                segment 2
 */
#ifndef FVM_LRU_H
#define FVM_LRU_H

#include "base.h"

enum { LRU_LEVELS = 3, LRU_LINE = 64 };

struct lru_node {
  int64_t line;
  uint32_t prev, next, chain; /* in the list; in the hash bucket */
  uint32_t segment;
};
struct lru {
  struct lru_node *node;
  uint32_t *bucket;
  size_t nbucket;
  uint32_t n, room;    /* nodes in use, nodes there are */
  uint32_t head, tail; /* of the list */
  int nlevel;
  int64_t size[LRU_LEVELS], most[LRU_LEVELS]; /* of the segments, in lines */
  uint32_t end[LRU_LEVELS];                   /* last node of each segment that is not empty */
  int64_t misses[LRU_LEVELS];                 /* lines, by level */
};

/* bytes[i]: size of level i, ascending. lines: how many different lines there can be at most. */
enum fvm_status lru_init(struct lru *c, const int64_t *bytes, int nlevel, int64_t lines,
                         struct fvm_error *err);
void lru_touch(struct lru *c, int64_t line);
void lru_free(struct lru *c);

#endif
