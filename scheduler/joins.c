/* Places of tensors in what joins them. Contract: joins.h. */
#include "joins.h"

static bool may_have_place(const struct gtensor *t) {
  return !t->t.data && !t->is_output && !t->is_input && t->producer >= 0;
}

/* View labels are a node's first. */
static enum fvm_status has_view(const struct graph *g, int node, const struct target *t,
                                bool *has) {
  struct arena a = {0};
  struct opcall c;
  struct label l;
  enum fvm_status st = graph_opcall(g, node, &a, &c, NULL);
  *has = !st && opcall_label(&c, t, 0, &l) && l.view;
  arena_free(&a);
  return st;
}

/* What is appended to a state, and what it may be a view of: its place is in the state. */
static bool exclude_states(const struct graph *g, const struct target *t, bool *excluded) {
  for (size_t i = 0; i < g->node.n; i++) {
    const struct node *n = &g->node.v[i];
    if (n->dead || !(n->op->flags & OPF_STATE)) continue;
    excluded[n->in.v[0]] = true;
    bool more = true;
    for (int x = n->in.v[1]; more && x >= 0;) {
      int p = g->tensor.v[x].producer;
      excluded[x] = true;
      more = p >= 0 && !(g->node.v[p].op->flags & (OPF_JOIN | OPF_STATE));
      if (more && has_view(g, p, t, &more)) return false;
      if (more) x = g->node.v[p].in.v[0];
    }
  }
  return true;
}

struct join *joins_find(const struct graph *g, const struct target *t, struct arena *a) {
  struct join *j = ARENA_NEW(a, struct join, g->tensor.n);
  bool *excluded = ARENA_NEW(a, bool, g->tensor.n), has;
  if (!j || !excluded) return NULL;
  if (!exclude_states(g, t, excluded)) return NULL;
  for (size_t i = 0; i < g->tensor.n; i++) j[i] = (struct join){-1, 0};
  for (int i = 0; i < (int)g->node.n; i++) {
    const struct node *n = &g->node.v[i];
    if (n->dead || !(n->op->flags & OPF_JOIN)) continue;
    if (has_view(g, i, t, &has)) return NULL;
    for (int k = 0; has && k < (int)n->in.n; k++) {
      int x = n->in.v[k];
      if (j[x].node < 0 && !excluded[x] && may_have_place(&g->tensor.v[x]))
        j[x] = (struct join){i, k};
    }
  }
  return j;
}
