/* Inside the search for an order: what order*.c share.
 *
 *   order.c         from the problem to the result: parts between cuts, the worst of them first
 *   order_net.c     the problem as a net, parts of it, the same backwards; walks
 *   order_list.c    list scheduling by rules: good orders, quickly
 *   order_bound.c   what any order must hold at some step: minimum cuts
 *   order_merge.c   steps that may as well follow each other at once
 *   order_search.c  exact search over the sets of steps that are done
 *   order_burst.c   units that search may run together without a choice
 *   order_beam.c    the same with the most promising sets only
 *
 * A value is touched by the step that makes it and by those that use it. It is live from the first
 * of them to the last, or from the start (`here`), or to the end (`stays`). So a set S of steps
 * that are done tells what is live, whatever the order was: what has been touched by some and not
 * yet by all. As a function of S that is submodular, which is what all rules here rest on: the more
 * is done, the less a step adds. And backwards it is a net of the same kind. */
#ifndef FVM_ORDER_NET_H
#define FVM_ORDER_NET_H

#include "order.h"

struct order_slice {
  int *first; /* n + 1 starts */
  int *item;
};
#define ORDER_EACH(i, slice, of) for (int i = (slice).first[of]; i < (slice).first[(of) + 1]; i++)

struct order_link {
  int from, to;
};
/* Units are what is ordered: steps in a row. The order by number is possible. */
struct order_net {
  int nstep, nvalue, nunit;
  int *unit;                        /* nunit + 1 first steps */
  int *unit_of;                     /* by step */
  struct order_slice touch;         /* of each value: steps */
  struct order_slice value;         /* of each step: values */
  struct order_slice before, after; /* of each step: steps it waits for; that wait for it */
  int64_t *bytes;
  bool *here, *stays;
  int *in, *out; /* by step: values that may share a place; -1: none */
  int64_t base;  /* live at all times */
};
/* FVM_EUNSUPPORTED when the bytes exceed 2^63. */
enum fvm_status order_net_make(struct order_net *n, const struct order_problem *p, struct arena *a,
                               struct fvm_error *err);
/* The rest are false or NULL when memory is out. Units [from, to), with what the others touch there
 * from the start or to the end. */
bool order_net_part(struct order_net *part, const struct order_net *n, int from, int to,
                    struct arena *a);
/* The same with other numbers: step i is what was step[i]; unit: the first steps of nunit units. */
bool order_net_renumber(struct order_net *to, const struct order_net *n, const int *step,
                        const int *unit, int nunit, struct arena *a);
bool order_net_reverse(struct order_net *to, const struct order_net *n, struct arena *a);

/* ---- walks ---- */
struct order_walk {
  const struct order_net *n;
  int *count; /* by value: touching steps that are done */
  int *waits; /* by unit: steps of others that are not done */
  int64_t live;
  int64_t ticks;
};
struct order_move {
  int64_t hill, after; /* bytes live at most while it runs, and after it */
};
bool order_walk_new(struct order_walk *w, const struct order_net *n, struct arena *a);
void order_walk_start(struct order_walk *w);
struct order_move order_walk_try(struct order_walk *w, int unit);
/* Does a unit, or undoes it. What is live is the caller's to set, here and below. */
void order_walk_go(struct order_walk *w, int unit);
void order_walk_back(struct order_walk *w, int unit);
/* From the set of units in now[] to another one. */
void order_walk_to(struct order_walk *w, uint64_t *now, const uint64_t *set);
/* Bytes live at most when the units run in this order (NULL: by number). hill (may be NULL): by
 * unit, lowered to what is live while it runs. */
int64_t order_walk_peak(struct order_walk *w, const int *unit, int64_t *hill);

/* ---- what precedes what, by units ---- */
struct order_reach {
  int words;
  uint64_t *before, *after; /* nunit rows */
};
bool order_reach_find(struct order_reach *r, const struct order_net *n, struct arena *a);
static inline bool order_bit(const uint64_t *set, int i) { return set[i / 64] >> (i % 64) & 1; }
static inline void order_set(uint64_t *set, int i) { set[i / 64] |= (uint64_t)1 << (i % 64); }

/* ---- the ways ---- */
/* Units in the best order by some rule that is below *peak, and its peak; else untouched. Stops at
 * `enough`. hill: as above, over all these orders. */
bool order_list(const struct order_net *n, int64_t enough, int *unit, int64_t *peak, int64_t *hill,
                struct arena *a, int64_t *ticks);
/* The order by one rule, of 0 to ORDER_VARIANTS - 1, if that is below *peak. */
bool order_list_by(const struct order_net *n, int rule, int *unit, int64_t *peak, struct arena *a,
                   int64_t *ticks);
/* The most that steps touch. */
int64_t order_least(const struct order_net *n);
/* The most that some step must hold in every order; stops looking when that reaches `enough` or the
 * work is done. Units are steps; hill: what each holds in some order. */
bool order_bound(const struct order_net *n, const int64_t *hill, int64_t enough, int64_t max_ticks,
                 int64_t *bound, struct arena *a, int64_t *ticks);
/* The net with steps joined to units, of which some order has the same peak as the best of n's;
 * step: their numbers in n. */
bool order_merge(struct order_net *to, const struct order_net *n, int **step, struct arena *a);
/* For a set of units that the walk stands at, now[]: units in path[], the first of which is `unit`
 * with `after` live bytes behind it, that stay within the limit, lead to no more live bytes than
 * there are, and may be run before all else. Their number; 0: none were found. */
struct order_burst;
struct order_burst *order_burst_new(const struct order_net *n, struct arena *a);
void order_burst_start(struct order_burst *b, const struct order_walk *w, const uint64_t *now);
int order_burst_find(struct order_burst *b, struct order_walk *w, uint64_t *now, int64_t limit,
                     int unit, int64_t after, int *path);
/* What a search is for: a peak below `below`, best of all `enough`, which no order is known to be
 * needed to go below. */
struct order_aim {
  int64_t enough, below, max_ticks;
};
/* Units in an order below aim->below and its peak, if there is one; *bound rises to what was
 * proved, in so far as that is more than `enough`. */
bool order_search(const struct order_net *n, const struct order_aim *aim, int *unit, int64_t *peak,
                  int64_t *bound, struct arena *a, int64_t *ticks);
/* Units in an order below *peak, if one is found. */
bool order_beam(const struct order_net *n, int *unit, int64_t *peak, struct arena *a,
                int64_t *ticks);

#endif
