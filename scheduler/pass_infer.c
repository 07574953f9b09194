/* Shapes and constants, node by node: shapes depend on folded constants, and constants on shapes.
 * Whole subgraphs that compute shapes and masks disappear here.
 *
 * needs: topological order. gives: shapes of all tensors. keeps: topological order. */
#include "pass.h"

#include <string.h>

/* Larger results are left to the plan's run, unless they are no larger than what they are made of.
 */
enum { FOLD_MAX_BYTES = 64 << 20, TIE_MIN_BYTES = 32 << 20 };

static bool all_constant(const struct opcall *c) {
  for (int i = 0; i < c->nin; i++)
    if (c->in[i].dtype != FVM_NONE && !c->in[i].data) return false;
  return true;
}

/* Whether the outputs are all known now. What has no elements is, too. */
static bool can_fold(const struct opcall *c) {
  int64_t in = 0, out = 0;
  for (int i = 0; i < c->nin; i++) in += tensor_bytes(&c->in[i]);
  for (int i = 0; i < c->nout; i++) out += tensor_bytes(&c->out[i]);
  if (out == 0) return true;
  return (all_constant(c) || (c->op->flags & OPF_STATIC)) && (out <= FOLD_MAX_BYTES || out <= in);
}

static enum fvm_status compute(struct graph *g, const struct opcall *c, void **data,
                               struct arena *a, struct fvm_error *err) {
  const void **in = ARENA_NEW(a, const void *, c->nin);
  if (!in) return fvm_nomem(err);
  for (int i = 0; i < c->nin; i++) in[i] = c->in[i].data;
  for (int i = 0; i < c->nout; i++) {
    data[i] = arena_alloc(&g->arena, (size_t)tensor_bytes(&c->out[i]), 1);
    if (!data[i]) return fvm_nomem(err);
  }
  bool empty = true;
  for (int i = 0; i < c->nout; i++) empty = empty && tensor_count(&c->out[i]) == 0;
  return empty ? FVM_OK : opcall_ref(c, in, data, err);
}

static enum fvm_status fold(struct graph *g, int node, const struct opcall *c, struct arena *a,
                            struct fvm_error *err) {
  const struct node *n = node_at(g, node);
  void **data = ARENA_NEW(a, void *, c->nout);
  if (!data) return fvm_nomem(err);
  if ((c->op->flags & OPF_VIEW) && c->nout == 1 && c->in[0].data && tensor_count(&c->in[0]) > 0) {
    memcpy(data, &c->in[0].data, sizeof *data); /* the same bytes: share them */
  } else {
    enum fvm_status st = compute(g, c, data, a, err);
    if (st != FVM_OK) return st;
  }
  node_kill(g, node);
  for (size_t k = 0; k < n->out.n; k++)
    if (n->out.v[k] >= 0) tensor_of(g, n->out.v[k])->data = data[k];
  return FVM_OK;
}

/* Whether something else reads a constant's bytes. */
static bool read_elsewhere(const struct graph *g, int node, const void *data) {
  for (int i = 0; i < (int)g->node.n; i++) {
    const struct node *n = node_at(g, i);
    for (size_t k = 0; !n->dead && i != node && k < n->in.n; k++)
      if (n->in.v[k] >= 0 && tensor_of(g, n->in.v[k])->data == data) return true;
  }
  return false;
}

/* Only as the second factor of products. */
static bool only_multiplied(const struct graph *g, int t) {
  int n = 0;
  for (int i = 0; i < (int)g->node.n; i++) {
    const struct node *x = node_at(g, i);
    for (size_t k = 0; !x->dead && k < x->in.n; k++) {
      if (x->in.v[k] != t) continue;
      if (!is_op(x, "MatMul") || k != 1) return false;
      n++;
    }
  }
  return n > 0 && !g->tensor.v[t].is_output;
}

/* A transposed weight that is large or is read as it is, too: pass_tie lets products read the
 * weight itself, and nothing is transposed. */
static bool is_tied(const struct graph *g, int node, const struct opcall *c) {
  const struct attr *perm = opcall_attr(c, "perm");
  const struct tensor *w = &c->in[0];
  if (strcmp(c->op->name, "Transpose") != 0 || !w->data || w->rank != 2) return false;
  if (w->dtype != FVM_F32 || (perm && perm->ints[0] == 0) || tensor_count(w) == 0) return false;
  if (!only_multiplied(g, node_at(g, node)->out.v[0])) return false;
  return tensor_bytes(w) > TIE_MIN_BYTES || read_elsewhere(g, node, w->data);
}

static enum fvm_status infer(struct graph *g, int node, struct arena *a, struct fvm_error *err) {
  const struct node *n = node_at(g, node);
  struct opcall c;
  enum fvm_status st = graph_opcall(g, node, a, &c, err);
  if (st == FVM_OK) st = opcall_shape(&c, err);
  if (st != FVM_OK) return st;
  for (int k = 0; k < c.nout; k++) {
    c.out[k].data = NULL;
    if (n->out.v[k] >= 0) *tensor_of(g, n->out.v[k]) = c.out[k];
  }
  return can_fold(&c) && !is_tied(g, node, &c) ? fold(g, node, &c, a, err) : FVM_OK;
}

enum fvm_status pass_infer(struct graph *g, struct fvm_error *err) {
  for (size_t i = 0; i < g->node.n; i++) {
    struct arena a = {0};
    enum fvm_status st = node_at(g, (int)i)->dead ? FVM_OK : infer(g, (int)i, &a, err);
    arena_free(&a);
    if (st != FVM_OK) {
      if (st != FVM_ENOMEM) fvm_prefix(err, "node '%.100s'", node_at(g, (int)i)->name);
      return st;
    }
  }
  return FVM_OK;
}
