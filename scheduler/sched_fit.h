/* The search for labels within limits on memory: what its files share (sched_fit.c, sched_tree.c,
 * sched_rows.c, sched_knot.c, sched_again.c). */
#ifndef FVM_SCHED_FIT_H
#define FVM_SCHED_FIT_H

#include "sched.h"

/* A part of all choices: labels that are left of each variable, the others being tried elsewhere,
 * in plans whose arena has low to high bytes. */
struct part {
  uint64_t *left; /* bit fit->first[v] + k: label k of variable v */
  int64_t low, high;
  int *label; /* the cheapest choice, if all that limits were what the network knows of them */
  int64_t cost, bound;
  int depth;
};
struct limits {
  int64_t memory, arena; /* INT64_MAX: none */
};
struct fit {
  struct sched *w;
  struct arena a;
  struct sched_net n;
  struct sched_room room;
  struct sched_arena arena;
  struct solve_net work;      /* the network of a part */
  size_t *first, words;       /* of struct part: where a variable's labels begin; words of a set */
  int *node;                  /* by variable: its node, or -1 */
  struct limits limits, goal; /* of the parts looked at; of what is a solution */
  int64_t floor;              /* no choice within them costs less, as is known before */
  VEC(struct part *) open;    /* to be looked into */
  int *best;                  /* labels of the best schedule within the limits; see cost */
  int64_t cost, bound;        /* SOLVE_INF: none found; of all parts that were given up */
  /* Numbers of the smallest that came up; INT64_MAX bytes of memory: none kept the arena's limit.
   */
  struct schedule least_memory, least_arena;
  bool by_memory; /* it is that limit which can't be kept */
  int tried;      /* parts */
  struct fvm_error *err;
};

static inline bool part_has(const struct fit *f, const struct part *p, int v, int k) {
  size_t bit = f->first[v] + (size_t)k;
  return p->left[bit / 64] >> (bit % 64) & 1;
}
static inline void part_drop(const struct fit *f, struct part *p, int v, int k) {
  size_t bit = f->first[v] + (size_t)k;
  p->left[bit / 64] &= ~((uint64_t)1 << (bit % 64));
}

/* ---- all of it (sched_fit.c) ---- */

/* Menus and network again, with labels that are slower and smaller; with_room: limits on memory
 * will be asked for, too. w->s is a schedule without them. fit_close takes what failed as well. */
enum fvm_status fit_open(struct fit *f, struct sched *w, bool with_room);
/* The best schedule within limits that was found, into w->s. */
enum fvm_status fit_within(struct fit *f, struct limits limits, bool *found);
void fit_close(struct fit *f);
static inline bool fits(const struct schedule *s, struct limits x) {
  return s->resident_bytes <= x.memory && s->arena_bytes <= x.arena;
}
struct limits fit_limits(const struct plan_options *o);

/* ---- rows (sched_rows.c) ---- */

/* Drop the labels that no choice within p->high has, and raise p->low. False: nothing is left. */
bool rows_narrow(const struct fit *f, struct part *p);
/* Forbid, in the network of the part, pairs of labels that no choice within p->high has. */
void rows_forbid(const struct fit *f, const struct part *p, struct solve_net *work);
/* The most that a row has with these labels, and which one. */
int64_t rows_use(const struct fit *f, const int *label, const struct arena_row **row);
/* The variable of a row whose label takes most above the least it might, which labels take less:
 * `less` is 1 for them. False: none takes more than it must. */
bool rows_blame(const struct fit *f, const struct part *p, const struct arena_row *row, int *var,
                bool *less);

/* ---- knots (sched_knot.c) ---- */

/* Raise p->low to what any order has where branches join. False: nothing is left. */
bool knots_narrow(const struct fit *f, struct part *p);

/* ---- the tree (sched_tree.c) ---- */

/* Look for the cheapest choice within f->limits, until it is proved or `tries` parts were looked
 * at; f->cost, f->best and f->bound tell what came of it. */
enum fvm_status tree_search(struct fit *f, int tries);
/* Whether there might be a choice within these limits, by the network alone. */
enum fvm_status tree_may_be(struct fit *f, struct limits limits, bool *may);
/* Bytes of memory that every choice takes, by rows and rooms one by one; -1: memory is out. */
int64_t tree_floor(struct fit *f);
/* The schedule of a choice; *more: what rules that the solver does not know add to its cost. */
enum fvm_status tree_realize(struct fit *f, const int *label, int64_t cost, int64_t *more);

/* ---- computing again (sched_again.c) ---- */

/* Schedules with less and less in the arena, of graphs in which more and more is computed again,
 * each the fastest of its graph, which it owns. */
struct again {
  VEC(struct schedule *) schedule;
};
/* From the schedule in w, which sched_begin made, down until one keeps the limits, or nothing
 * helps. again_free takes what failed as well. */
enum fvm_status again_find(const struct sched *w, struct limits goal, struct again *x);
/* After the search for labels within the limits of w->o, which ended with `st`: let w->s be one of
 * these if there is no other, or if it is faster; NULL if there is none at all. */
enum fvm_status again_settle(struct sched *w, struct again *x, enum fvm_status st);
/* Replace *s, which may be NULL, by one of these that keeps the limits and is better, if there is
 * one; it leaves the list. */
bool again_take(struct again *x, struct limits limits, struct schedule **s);
void again_free(struct again *x);

#endif
