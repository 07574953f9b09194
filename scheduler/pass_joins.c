/* A Concat that begins as another one does goes on from there, so that a dense block, where each
 * layer reads all before it, is one buffer that grows:
 *
 *   c1 = Concat(a, b), c2 = Concat(a, b, d)      c1 = Concat(a, b), c2 = Concat(c1, d)
 *
 * needs: shapes. keeps: shapes, topological order. breaks: nothing. */
#include "pass.h"

#include <string.h>

static int64_t axis_of(const struct graph *g, const struct node *n) {
  int64_t axis = node_int(n, "axis", 1);
  return axis < 0 ? axis + tensor_of(g, n->out.v[0])->rank : axis;
}

/* Whether all that `other` joins are the first inputs of n, which has more. */
static bool is_beginning(const struct graph *g, const struct node *other, const struct node *n) {
  return is_op(other, "Concat") && other->in.n > 1 && other->in.n < n->in.n &&
         axis_of(g, other) == axis_of(g, n) &&
         !memcmp(other->in.v, n->in.v, other->in.n * sizeof *n->in.v);
}

static bool go_on(struct rewrite *w, int i) {
  struct graph *g = w->g;
  const struct node *n = node_at(g, i), *best = NULL;
  for (int k = 0; k < i; k++)
    if (is_beginning(g, node_at(g, k), n) && (!best || node_at(g, k)->in.n > best->in.n))
      best = node_at(g, k);
  if (!best) return true;
  int64_t axis = axis_of(g, n);
  int rest = (int)(n->in.n - best->in.n), *in = ARENA_NEW(&w->arena, int, rest + 1);
  if (!in) return false;
  in[0] = best->out.v[0];
  memcpy(in + 1, n->in.v + best->in.n, (size_t)rest * sizeof *in);
  return rewrite_node(w, i, "Concat", rest + 1, in) && rewrite_set_int(w, i, "axis", axis);
}

/* Last ones first: those before still have all their inputs then. */
enum fvm_status pass_joins(struct graph *g, struct fvm_error *err) {
  struct rewrite w;
  enum fvm_status st = rewrite_begin(&w, g, err);
  if (st != FVM_OK) return st;
  bool ok = true;
  for (int i = (int)g->node.n - 1; ok && i >= 0; i--)
    if (is_op(node_at(g, i), "Concat")) ok = go_on(&w, i);
  rewrite_end(&w);
  return ok ? FVM_OK : fvm_nomem(err);
}
