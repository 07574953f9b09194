/* The distinct problems of a graph, and their candidates as entrants of a race. */
#ifndef FVM_PROFILE_SET_H
#define FVM_PROFILE_SET_H

#include "../profiles/measure.h"
#include "graph.h"

struct profile_problem {
  uint64_t hash;
  const char *text, *op;
  struct opcall call;
  bool is_convert; /* call is an Identity; from and to say the rest */
  enum layout from, to;
  const struct label *label; /* all of them, views as well */
  int nall;
  int nlabel, nknown; /* but views; nknown: the caller's, 0 at first */
  double weight;      /* roughly the nanoseconds of all its uses together */
};
struct profile_set {
  struct arena arena;
  VEC(struct profile_problem) problem; /* in order of first use; conversions after the nodes' */
  VEC(int) heavy;                      /* all problems, the one to be measured first at the head */
  VEC(int) of_node;                    /* problem of each live node, in order; then of g->other's */
  VEC(const char *) node_name;         /* of the live nodes of g itself */
  VEC(int) of_chain;                   /* problem of each chain (chains.h) of g, then of g->other */
  VEC(const char *) chain_name;        /* of those of g itself */
};
/* Of a graph and of its other form. needs: shapes, topological order. */
enum fvm_status profile_set_make(struct profile_set *s, const struct graph *g,
                                 const struct target *t, struct fvm_error *err);
void profile_set_free(struct profile_set *s);

/* All labels of a problem but views, which need no measuring, with their texts, without programs:
 * nlabel entrants from the arena with nothing known yet. */
enum fvm_status profile_entrants(const struct profile_problem *p, struct arena *a,
                                 struct entrant **e, struct fvm_error *err);
/* Write the program of an entrant; an entrant without one becomes unsupported, with the reason. */
enum fvm_status profile_program(const struct profile_problem *p, struct entrant *e, struct arena *a,
                                struct fvm_error *err);

#endif
