/* Soft arc consistency on a part of a network; shared by solve_soft.c and solve_search.c only.
 *
 * The state is a reparametrisation of the costs that never changes the cost of an assignment:
 *   c0 + sum unary[i][a] + sum (cost[i][j](a, b) - di[a] - dj[b])
 * with every term >= 0, so c0 is a lower bound. Sweeps along a fixed order move cost from later
 * variables through their edges to earlier ones and from there into c0 (full directional arc
 * consistency); on a tree one sweep makes c0 the optimum. Only unary[], di[], dj[] and c0 change,
 * and a trail of old values undoes them. */
#ifndef FVM_SOLVE_SOFT_H
#define FVM_SOLVE_SOFT_H

#include "solve_work.h"

struct soft_pair {
  int i, j; /* positions in the order, i < j */
  int ni, nj;
  const int64_t *cost;              /* row-major by i */
  const int64_t *moved_i, *moved_j; /* by the reductions: struct solve_fn */
  int64_t *di, *dj;
  bool stale; /* it may have got what can go to j */
};
struct soft_var {
  int v, n; /* variable, labels */
  int64_t *unary;
  const int64_t *plain; /* costs at the start */
  VEC(int) pair;
  int64_t weight; /* failures here */
  bool grew;      /* a label got dearer: more may go to the earlier variables */
  bool lost;      /* a label is gone: more may go to the later ones */
};
struct soft_change {
  int64_t *where, old;
};
struct soft {
  struct solve_work *w;
  const struct solve_limits *limits;
  struct soft_var *at;
  int n;
  VEC(struct soft_pair) pair;
  VEC(struct soft_change) trail;
  int64_t c0, ub;
  int64_t *reached, *scratch_i, *scratch_j; /* of one step */
  int *live_i, *live_j;
  bool nomem;
};

/* order: as in struct solve_part. False when memory is out; soft_close in any case. */
bool soft_open(struct soft *s, struct solve_work *w, const struct solve_limits *limits,
               const int *order, int n);
void soft_close(struct soft *s);
void soft_set(struct soft *s, int64_t *where, int64_t value);
/* Back to where the trail had this length. */
void soft_undo(struct soft *s, size_t mark);
/* Leave only label a to variable i. */
void soft_decide(struct soft *s, int i, int a);
/* Have everything looked at by the next soft_propagate. */
void soft_touch_all(struct soft *s);
/* Raise the bound, at most so many sweeps, and as long as nobody stops it. False: it reaches ub. */
bool soft_propagate(struct soft *s, int sweeps);
/* The bound that the shifts so far prove by themselves; puts them into the proof. */
int64_t soft_certify(struct soft *s);

static inline bool soft_live(const struct soft *s, int i, int a) {
  return s->at[i].unary[a] < SOLVE_INF;
}

#endif
