/* Places of tensors in what joins them. Contract: joins.h. */
#include "joins.h"

static bool may_have_place(const struct gtensor *t) {
  return !t->t.data && !t->is_output && !t->is_input && t->producer >= 0;
}

static void exclude_states(const struct graph *g, bool *excluded) {
  for (size_t i = 0; i < g->node.n; i++) {
    const struct node *n = &g->node.v[i];
    for (size_t k = 0; !n->dead && (n->op->flags & OPF_STATE) && k < n->in.n; k++)
      excluded[n->in.v[k]] = true;
  }
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

struct join *joins_find(const struct graph *g, const struct target *t, struct arena *a) {
  struct join *j = ARENA_NEW(a, struct join, g->tensor.n);
  bool *excluded = ARENA_NEW(a, bool, g->tensor.n), has;
  if (!j || !excluded) return NULL;
  exclude_states(g, excluded);
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
