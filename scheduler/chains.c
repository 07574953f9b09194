/* Contract: chains.h. */
#include "chains.h"

#include "../kernels/chain.h"
#include "../vm/plan.h"

/* The node whose only output this one alone reads, at input 0; -1: there is none. */
static int node_before(const struct graph *g, int node, const int *uses) {
  const struct node *n = &g->node.v[node];
  int t = n->in.n && n->out.n == 1 ? n->in.v[0] : -1;
  int p = t < 0 || uses[t] != 1 ? -1 : g->tensor.v[t].producer;
  return p >= 0 && g->node.v[p].out.n == 1 && !n->again ? p : -1;
}

/* Whether some candidate runs both. False also when memory is out or a shape does not fit: then
 * there is no chain, and all else goes on. */
static bool is_chain(const struct graph *g, int first, int node, const struct target *t) {
  struct arena a = {0};
  struct opcall c;
  struct label l;
  bool is = !chains_opcall(g, first, node, &a, &c, NULL) && opcall_label(&c, t, 0, &l);
  arena_free(&a);
  return is;
}

int *chains_find(const struct graph *g, const struct target *t, struct arena *a) {
  int *first = ARENA_NEW(a, int, MAX(g->node.n, 1)), *uses = graph_uses(g, a);
  if (!first || !uses) return NULL;
  for (int i = 0; i < (int)g->node.n; i++) {
    first[i] = g->node.v[i].dead ? -1 : node_before(g, i, uses);
    if (first[i] >= 0 && !is_chain(g, first[i], i, t)) first[i] = -1;
  }
  return first;
}

enum fvm_status chains_opcall(const struct graph *g, int first, int node, struct arena *a,
                              struct opcall *c, struct fvm_error *err) {
  struct opcall x, y;
  if (first < 0) return graph_opcall(g, node, a, c, err);
  enum fvm_status st = graph_opcall(g, first, a, &x, err);
  if (!st) st = graph_opcall(g, node, a, &y, err);
  if (st) return st;
  if (!chain_fits(&x, &y)) return fvm_fail(err, FVM_EUNSUPPORTED, "no chain");
  return chain_init(c, &x, &y, a) ? FVM_OK : fvm_nomem(err);
}

static void put_name(const struct node *n, struct text *out) {
  text_printf(out, "%s%s", n->name, n->again ? PLAN_AGAIN : "");
}

void chains_name(const struct graph *g, int first, int node, struct text *out) {
  if (first >= 0) put_name(&g->node.v[first], out);
  if (first >= 0) text_printf(out, " + ");
  put_name(&g->node.v[node], out);
}

int chains_inputs(const struct graph *g, int first, int node) {
  int n = (int)g->node.v[node].in.n;
  return first < 0 ? n : n - 1 + (int)g->node.v[first].in.n;
}

int chains_input(const struct graph *g, int first, int node, int i) {
  int n = first < 0 ? 0 : (int)g->node.v[first].in.n;
  if (first >= 0 && i < n) return g->node.v[first].in.v[i];
  return g->node.v[node].in.v[first < 0 ? i : i - n + 1];
}
