/* Concat for nothing: its output is where the inputs lie, one after the other, if each of them is
 * made in its place. */
#ifndef FVM_JOINS_H
#define FVM_JOINS_H

#include "graph.h"

/* A tensor's place inside the output of a node that joins (OPF_JOIN): which input it is there. */
struct join {
  int node, input; /* node -1: it has none */
};
/* The place of each tensor, in the first node that joins it and has a view label. None have what is
 * there from the beginning, is given out or is appended to a state, since their memory is the
 * caller's, and a tensor has one place: what is joined elsewhere besides is copied there. NULL when
 * memory is out. */
struct join *joins_find(const struct graph *g, const struct target *t, struct arena *a);
/* Whether a node's input lies at its place when the node's label is a view: else it is copied. */
static inline bool joins_at(const struct join *j, const struct graph *g, int node, int input) {
  int t = g->node.v[node].in.v[input];
  return j[t].node == node && j[t].input == input;
}

#endif
