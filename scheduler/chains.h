/* Chains in a graph: pairs of nodes that one program may run (kernels/chain.h). The second alone
 * reads what the first makes, at input 0, and it is no output of the graph. A node is the second of
 * at most one chain, and the first of at most one. */
#ifndef FVM_CHAINS_H
#define FVM_CHAINS_H

#include "graph.h"

/* Of each node the one before it in a chain that has candidates on that target; -1: none. From the
 * arena; NULL when memory is out. */
int *chains_find(const struct graph *g, const struct target *t, struct arena *a);
/* The opcall of a chain, or of `node` alone when first is -1. */
enum fvm_status chains_opcall(const struct graph *g, int first, int node, struct arena *a,
                              struct opcall *c, struct fvm_error *err);
/* The name of its step: "FIRST + NODE", or NODE's, each marked if it is run again (vm/plan.h). The
 * second node of a chain never is. */
void chains_name(const struct graph *g, int first, int node, struct text *out);
/* How many inputs that opcall has, and the tensor at one of them. */
int chains_inputs(const struct graph *g, int first, int node);
int chains_input(const struct graph *g, int first, int node, int i);

#endif
