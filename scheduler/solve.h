/* Cost function networks: choose a label for each variable so that the sum of unary and pairwise
 * costs is least. Integers; SOLVE_INF forbids. Knows nothing of tensors. */
#ifndef FVM_SOLVE_H
#define FVM_SOLVE_H

#include "../vm/base.h"

#define SOLVE_INF ((int64_t)1 << 60)

struct solve_var {
  int n;         /* domain size */
  int64_t *cost; /* n unary costs */
};
struct solve_edge {
  int u, v;      /* variables, u != v; parallel edges are added up */
  int64_t *cost; /* n[u] * n[v], row-major by u */
};
struct solve_net {
  VEC(struct solve_var) var;
  VEC(struct solve_edge) edge;
  struct arena arena; /* the cost arrays */
};
/* Both return the index and zeroed costs to fill in, or -1 when memory is out. */
int solve_add_var(struct solve_net *net, int n);
int solve_add_edge(struct solve_net *net, int u, int v);
void solve_net_free(struct solve_net *net);

/* What was done to the network to find its least cost. Every step leaves the least cost as it is,
 * or every cost, so a checker can follow: solve_check. Labels have the caller's numbers. */
struct solve_step {
  enum solve_move {
    SOLVE_DROP,      /* label a of v: label b of v does as well wherever a does; b -1: forbidden */
    SOLVE_SEPARATE,  /* the function of v and u is a sum of one for each: no longer needed */
    SOLVE_ELIMINATE, /* v: its functions give way to the least that it adds */
    SOLVE_SHIFT      /* cost from the function of v and u to label a of v; these come last */
  } move;
  int v, u, a, b;
  int64_t cost;
};
struct solve_result {
  int *label; /* one a variable, from the arena given */
  int64_t cost, bound;
  bool optimal;
  int64_t ticks; /* effort: table entries and search nodes touched */
  /* Steps that prove a bound without any search, from the arena given: that bound is `certified`.
   * Where nothing had to be searched it is the cost; else the search may have raised `bound` above
   * it, and for that there is no proof but the search. */
  const struct solve_step *step;
  size_t nstep;
  int64_t certified;
};
/* Exact: R0/R1/R2 reductions, then bucket elimination where the tables fit, else branch and bound
 * until max_ticks (deterministic), then the best found with a bound. FVM_EFAIL: infeasible, which
 * is proved if r->optimal, else nothing was found until max_ticks. */
enum fvm_status solve_layout(const struct solve_net *net, int64_t max_ticks, struct arena *a,
                             struct solve_result *r, struct fvm_error *err);
/* The same with all its limits laid open. */
struct solve_limits {
  int64_t entries; /* of bucket elimination, for each connected part */
  int64_t ticks;   /* of the search for each part */
  /* Asked now and then by the search; true ends it like ticks that are used up. NULL: nobody. Only
   * for callers that can do without the same result in every run. */
  bool (*stop)(void *arg);
  void *arg;
};
enum fvm_status solve_limited(const struct solve_net *net, const struct solve_limits *limits,
                              struct arena *a, struct solve_result *r, struct fvm_error *err);
/* What solve_layout takes for `entries`: tenths of a second, at most 400 megabytes of tables. */
#define SOLVE_ENTRIES ((int64_t)200 * 1000 * 1000)
/* Follow the steps, with nothing of the solver's: FVM_EFAIL when the labels do not cost what the
 * result says, when a step does not hold, or when the steps do not prove `certified`. Takes about
 * as long as the solver without its search. */
enum fvm_status solve_check(const struct solve_net *net, const struct solve_result *r,
                            struct fvm_error *err);
/* Sum of the costs of an assignment, SOLVE_INF when forbidden: for callers and the checker. */
int64_t solve_cost(const struct solve_net *net, const int *label);

/* The same with a limit on room: each label of a variable adds `sum` to what is taken together, and
 * asks for `peak`, of which only the greatest counts. None of these numbers is negative. */
struct solve_room {
  const int64_t *sum, *peak; /* by label; NULL: all 0 */
};
struct solve_budget {
  const struct solve_net *net;   /* no cost is negative */
  const struct solve_room *room; /* by variable */
  int64_t limit;
  int64_t max_ticks; /* of each search for labels and of the whole of the rest */
  int64_t below;     /* only costs below this one are looked for; 0: all */
  int64_t known;     /* none costs less, as the caller knows */
};
/* Least cost within the limit; r->optimal tells whether r->bound proves it. FVM_EFAIL: there is
 * none, which is proved if r->optimal, else there is none below r->bound. */
enum fvm_status solve_budget(const struct solve_budget *b, struct arena *a, struct solve_result *r,
                             struct fvm_error *err);
int64_t solve_room(const struct solve_budget *b, const int *label);

/* With a limit on what labels take while they are there: variable v takes usage[v][label] from
 * from[v] until before to[v]. */
struct solve_usage {
  const struct solve_net *net; /* no cost is negative */
  int64_t *const *usage;
  const int64_t *from, *to;
  int64_t limit;
  struct solve_limits limits; /* ticks: of all together */
};
/* As solve_limited, without proof. FVM_EFAIL: nothing keeps the limit, which is proved if
 * r->optimal. */
enum fvm_status solve_usage(const struct solve_usage *u, struct arena *a, struct solve_result *r,
                            struct fvm_error *err);

#endif
