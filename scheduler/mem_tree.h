/* All orders in which what is live at one time can stand: a PQ-tree. Shared by mem_*.c only.
 *
 * The arena at one time, from the bottom to the top, is a row of blocks and gaps, the leaves. Most
 * of their order need not be decided when they come: what was put in one gap can stand there in any
 * order. Only a block that takes the places of several gaps needs these side by side.
 *
 *   ANY    children stand in any order
 *   LINE   in the one given, or in reverse
 *
 *   [ANY a b c d], then e is to go where b, d were:  [ANY a c [ANY b d]], and so [ANY a c e] */
#ifndef FVM_MEM_TREE_H
#define FVM_MEM_TREE_H

#include "mem_work.h"

enum { MEM_LEAF, MEM_ANY, MEM_LINE, MEM_NIL = -1 };
struct mem_node {
  int64_t size;      /* of a leaf, in units */
  int id;            /* of a leaf: the item that is there or was last, or a number of its own */
  int first, next;   /* child, sibling, MEM_NIL: none */
  int leaves, marks; /* below, counted when they join */
  uint8_t kind;
  bool gap;   /* a leaf that is free */
  bool open;  /* ANY: filled at the present time */
  bool loose; /* a gap that never held a block apart from its siblings: to be split at will */
  bool mark;
};
struct mem_tree {
  int root, n, most; /* nodes: used, room */
  int ids;           /* the next number */
  struct mem_node *v;
};

/* What a change of leaves did, to find the places of earlier times again. */
struct mem_log {
  int *into; /* id of a leaf that is gone -> of one in its place */
  struct mem_split {
    int event, from, id; /* a part of the gap `from` became the leaf `id` */
    int64_t size;
  } * split;
  int nsplit, event;
};

static inline bool mem_is_gap(const struct mem_tree *t, int i) {
  return t->v[i].kind == MEM_LEAF && t->v[i].gap;
}
/* Nodes are there: mem_tree_has_room was asked before the tree was changed. */
int mem_tree_new(struct mem_tree *t, int kind, int id, int64_t size);
bool mem_tree_has_room(const struct mem_tree *t);
/* One gap of this size. */
void mem_tree_init(struct mem_tree *t, int64_t size, int id);
/* A gap below or above all that there is: where the arena begins matters to none. */
void mem_tree_grow(struct mem_tree *t, int64_t size, int id);
/* As it is in memory, and without the nodes that are no longer used. */
void mem_tree_take(struct mem_tree *to, const struct mem_tree *from);
void mem_tree_copy(struct mem_tree *to, const struct mem_tree *from);

/* Leaves that are marked are to stand side by side, as they can: the tree of the orders in which
 * they do, and in it node x for all of them; MEM_NIL: they stay. */
void mem_tree_join(struct mem_tree *t, int x);
/* Node x for the leaf. */
void mem_tree_put(struct mem_tree *t, int leaf, int x);

/* Gaps that stand side by side in all orders become one, and nothing is open any more. */
void mem_tree_tidy(struct mem_tree *t, struct mem_log *log);

#endif
