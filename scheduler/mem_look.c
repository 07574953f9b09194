/* What a sweep knows of what will come: blocks whose lives end at one time leave one place behind
 * if they stand side by side, and what starts then often needs it. A group of such blocks is a bit;
 * one pass over the tree finds out about 64. */
#include "mem_sweep.h"

/* Sets of groups, by what is below a node; gaps do not count, nor nodes with nothing else. */
struct seen {
  uint64_t any;  /* that have blocks there */
  uint64_t full; /* that all blocks there belong to */
  uint64_t end;  /* whose blocks can be at one end of the node, or are all of it */
  bool blocks;
};
/* So far, of a node's children: */
struct tally {
  uint64_t one, two;   /* groups in one of them or more, in two or more */
  uint64_t full;       /* in all, and all of each */
  uint64_t stuck;      /* in the midst of one */
  uint64_t partial[3]; /* with a part of one, of two, of three or more */
  bool blocks;
};
struct look {
  const struct mem_tree *t;
  const uint64_t *group;
  int apart;
};

static void add(struct tally *t, struct seen x) {
  uint64_t part = x.any & ~x.full;
  t->two |= t->one & x.any, t->one |= x.any;
  t->partial[2] |= t->partial[1] & part;
  t->partial[1] |= t->partial[0] & part;
  t->partial[0] |= part;
  t->stuck |= part & ~x.end;
  t->full &= x.full;
  t->blocks = true;
}

/* Groups that are apart count here, and no more above. */
static struct seen sum_up(struct look *l, const struct tally *t, uint64_t apart, uint64_t inside) {
  apart |= t->two & t->stuck;
  l->apart += __builtin_popcountll(apart);
  return (struct seen){t->one, t->full, ~((t->stuck | inside) & ~apart), t->blocks};
}

static struct seen see(struct look *l, int i);

static struct seen see_any(struct look *l, int i) {
  struct tally t = {.full = ~(uint64_t)0};
  for (int c = l->t->v[i].first; c != MEM_NIL; c = l->t->v[c].next) {
    struct seen x = see(l, c);
    if (x.blocks) add(&t, x);
  }
  return sum_up(l, &t, t.partial[2], t.partial[1]);
}

/* In the order of a line a group is over with the first child that is not full of it, but for the
 * one where it began. */
static struct seen see_line(struct look *l, int i) {
  struct tally t = {.full = ~(uint64_t)0};
  uint64_t apart = 0, not_first = 0, not_last = 0, hole = 0;
  for (int c = l->t->v[i].first; c != MEM_NIL; c = l->t->v[c].next) {
    struct seen x = see(l, c);
    if (!x.blocks) continue;
    apart |= not_last & x.any;
    not_last |= t.one & ~x.full;
    not_first |= hole & x.any;
    hole |= ~x.full;
    add(&t, x);
  }
  return sum_up(l, &t, apart, not_first & not_last);
}

static struct seen see(struct look *l, int i) {
  const struct mem_node *x = &l->t->v[i];
  if (x->kind == MEM_ANY) return see_any(l, i);
  if (x->kind == MEM_LINE) return see_line(l, i);
  if (x->gap) return (struct seen){0};
  uint64_t g = l->group[x->id];
  return (struct seen){g, g, g, true};
}

int mem_apart(const struct mem_tree *t, const uint64_t *group) {
  struct look l = {t, group, 0};
  see(&l, t->root);
  return l.apart;
}
