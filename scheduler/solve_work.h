/* The solver's working form of a cost function network; shared by the solve_*.c files only.
 *
 * Costs lie in 0 .. SOLVE_INF and add up saturating. A label keeps the number that the caller
 * gave it in `orig`; dropping labels makes new, shorter arrays, and what was said of the old ones
 * stays readable. */
#ifndef FVM_SOLVE_WORK_H
#define FVM_SOLVE_WORK_H

#include "solve.h"

/* A cost table over the variables of its scope, row-major in that order. Of more than two
 * variables, which only planned eliminations make, the scope is in order of rank. */
struct solve_fn {
  int n;
  int *scope;
  int *size; /* labels of each variable */
  int64_t *cost;
  int64_t heap; /* entries of a table that is from the heap; 0: from the arena */
  int64_t
      *moved[2]; /* of a pairwise one: what went to the variables' own costs, by original label */
  bool gone;
};
/* Of an eliminated variable, the label for those of the neighbours that it had: row-major by these,
 * the label's low bytes first, then the next ones. */
struct solve_pick {
  int n; /* neighbours */
  const int *scope, *size;
  const int **orig; /* of each neighbour */
  const uint8_t *label;
  int bytes;     /* a label; 0: it had only one */
  int64_t plane; /* from one byte of a label to the next */
};
struct solve_wvar {
  int n, all; /* labels; as the caller has them */
  int64_t *cost;
  const int *orig;
  VEC(int) fn; /* functions with this variable in scope; those gone are skipped */
  struct solve_pick pick;
  bool gone, queued;
};
/* A block that hung on variable x, solved for each of the labels that x had left. */
struct solve_leaf {
  int x, n, labels;
  const int *var;   /* n variables */
  const int *orig;  /* x's labels */
  const int *label; /* by label of x, for each variable: original numbers */
};
struct solve_work {
  struct arena *a;
  VEC(struct solve_wvar) var;
  VEC(struct solve_fn) fn;
  VEC(int) done; /* variables in the order in which they were eliminated; -1 - i: leaf i */
  VEC(struct solve_leaf) leaf;
  VEC(int) queue;
  VEC(int64_t) turned; /* tables of the elimination at work */
  int *rank;           /* planned order: a higher one is eliminated earlier; NULL: none yet */
  int64_t c0;          /* cost that every assignment has */
  int64_t ticks;
  int64_t searched;                   /* ticks of searches, which have a limit */
  int64_t slack;                      /* most that the costs of leaves may be above the least */
  bool quiet;                         /* no more steps: the part at work is certified otherwise */
  VEC(struct solve_step) step, shift; /* the proof, shifts apart: they come last */
};

static inline bool solve_note(struct solve_work *w, struct solve_step s) {
  return w->quiet || VEC_PUSH(&w->step, s);
}
static inline bool solve_stopped(const struct solve_limits *l) {
  return l->stop && l->stop(l->arg);
}
/* Whether a search has to come to an end; ticks: its own so far. */
static inline bool solve_spent(const struct solve_work *w, const struct solve_limits *l,
                               int64_t ticks) {
  return w->searched + ticks > l->ticks || solve_stopped(l);
}
static inline int64_t solve_add(int64_t a, int64_t b) { return MIN(a + b, SOLVE_INF); }

/* A function that is no longer needed. */
void solve_fn_end(struct solve_fn *f);
/* Room for what a pairwise function moves; false when memory is out. */
bool solve_fn_moves(struct solve_work *w, struct solve_fn *f);
/* Copy the caller's network, tables shifted so that their least entry is 0. FVM_EFAIL: a table
 * without a finite entry. */
enum fvm_status solve_work_load(struct solve_work *w, const struct solve_net *net,
                                struct fvm_error *err);
void solve_work_free(struct solve_work *w);
/* Drop forbidden and dominated labels, and eliminate variables with at most two neighbours, until
 * nothing moves. Exact. */
enum fvm_status solve_reduce(struct solve_work *w, struct fvm_error *err);
/* The same for the variables in the queue and what follows from them. */
enum fvm_status solve_reduce_queue(struct solve_work *w, struct fvm_error *err);
/* Solve a block that hangs on one variable of the part that start is in, of n variables, and take
 * it away. *found false: the part is one block. */
enum fvm_status solve_leaf_block(struct solve_work *w, int start, int n,
                                 const struct solve_limits *limits, bool *found,
                                 struct fvm_error *err);
/* Eliminate one variable, whatever its neighbours. */
enum fvm_status solve_eliminate(struct solve_work *w, int v, struct fvm_error *err);
/* Put a variable into the queue of solve_reduce; false when memory is out. */
bool solve_enqueue(struct solve_work *w, int v);
/* Forget the functions of a variable that are gone. */
void solve_tidy(struct solve_work *w, int v);
enum fvm_status solve_infeasible(struct fvm_error *err);
/* The order for the elimination of a part, as in struct solve_part, and what it computes; beyond
 * the limit only a rough one. */
enum fvm_status solve_plan(struct solve_work *w, const int *member, int n, int64_t limit,
                           int *order, int64_t *entries, struct fvm_error *err);
/* Labels (original numbers) of the eliminated variables, given those of all others. */
void solve_back(const struct solve_work *w, int *label);
/* Index of the other variable of a live pairwise function, in f->scope. */
static inline int solve_other(const struct solve_fn *f, int v) { return f->scope[0] == v; }

/* A connected part of what the reductions left, solved by search: sets label[v] (original
 * numbers) of its variables. order: the variables, the last one eliminated first. */
struct solve_part {
  const int *order;
  int n;
  int64_t cost, bound;
  bool optimal;
};
/* The bound of a part that shifts prove, with these put into w->shift. */
enum fvm_status solve_certify(struct solve_work *w, const int *order, int n,
                              const struct solve_limits *limits, int64_t *bound,
                              struct fvm_error *err);
enum fvm_status solve_search(struct solve_work *w, struct solve_part *p,
                             const struct solve_limits *limits, int *label, struct fvm_error *err);

/* Edges of each variable: edge[at[v]] to edge[at[v + 1]], the last one excluded. */
struct solve_ends {
  int *at, *edge;
};
bool solve_ends_find(struct solve_ends *e, const struct solve_net *net, struct arena *a);

/* All assignments that may matter, by elimination: what a variable leaves to its neighbours is not
 * the least cost but the list of (cost, sum) of which none is beaten in both. Solves a network with
 * a limit on a sum. Its help is a price: for every assignment, (cost << shift) + price * sum is at
 * least `floor`. */
struct solve_front {
  const struct solve_net *net;
  int64_t *const *sum; /* by variable and label */
  int64_t limit;
  int64_t price, floor;
  int shift;
  int64_t below;     /* only assignments of a cost below this one are looked for */
  int64_t max_ticks; /* points made */
  int keep;          /* most points of a list; the least promising are dropped, see bound */
  /* results */
  int *label; /* when found; the caller's memory */
  bool found, gave_up;
  int64_t cost, bound; /* bound: no assignment within the limit costs less */
  int64_t ticks;
};
enum fvm_status solve_front(struct solve_front *f, struct fvm_error *err);

#endif
