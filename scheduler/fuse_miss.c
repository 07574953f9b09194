/* What stays by itself after fusion though it reads what a fused node could have computed on: why.
 * Contract: fuse_body.h. */
#include "fuse_body.h"

#include <string.h>

/* Between element-wise nodes on less than this nothing is lost. */
enum { WORTH_ELEMENTS = 4096 };

static bool is_elementwise(const struct node *n) {
  return n->out.n == 1 && n->out.v[0] >= 0 &&
         ((n->op->flags & OPF_ELT) || !strcmp(n->op->name, "FusedElementwise"));
}

static bool is_anchor(const struct node *n) {
  return (n->op->flags & OPF_ANCHOR) && !(n->op->flags & OPF_COMPOSITE) && n->out.n == 1;
}

/* Another node than this that reads t; NULL when there is none. */
static const struct node *other_reader(const struct graph *g, int node, int t) {
  for (size_t i = 0; i < g->node.n; i++)
    for (size_t k = 0; (int)i != node && !g->node.v[i].dead && k < g->node.v[i].in.n; k++)
      if (g->node.v[i].in.v[k] == t) return &g->node.v[i];
  return NULL;
}

static bool note(struct graph *g, int node, int t, const struct node *maker, const char *pattern) {
  const struct node *n = node_at(g, node), *other = other_reader(g, node, t);
  const char *op = maker->op->name, *name = maker->name;
  if (g->tensor.v[t].is_output)
    return pass_miss(g, node, pattern, "what it reads of %s '%.60s' is an output of the model", op,
                     name);
  if (other)
    return pass_miss(g, node, pattern, "what it reads of %s '%.60s' is read by '%.60s', too", op,
                     name, other->name);
  if (!same_dims(tensor_of(g, t), tensor_of(g, n->out.v[0])))
    return pass_miss(g, node, pattern, "it broadcasts what it reads of %s '%.60s'", op, name);
  return pass_miss(g, node, pattern, "no kernel of %s '%.60s' can do it on its tiles", op, name);
}

/* The producer that matters most: one that could compute a tail, else another element-wise one. */
static void look_at(struct graph *g, int node) {
  const struct node *n = node_at(g, node);
  int best = -1;
  for (size_t k = 0; k < n->in.n; k++) {
    int t = n->in.v[k], p = t < 0 ? -1 : g->tensor.v[t].producer;
    if (p >= 0 && is_anchor(node_at(g, p))) {
      note(g, node, t, node_at(g, p), "an epilogue");
      return;
    }
    if (p >= 0 && is_elementwise(node_at(g, p)) && best < 0) best = t;
  }
  if (best >= 0 && tensor_count(tensor_of(g, n->out.v[0])) >= WORTH_ELEMENTS)
    note(g, node, best, node_at(g, g->tensor.v[best].producer), "one element-wise step");
}

void fuse_note_misses(struct graph *g) {
  for (int i = 0; i < (int)g->node.n; i++)
    if (!node_at(g, i)->dead && is_elementwise(node_at(g, i))) look_at(g, i);
}
