/* Run a graph by reference operators. Clear, slow, the measure of everything else. */
#include "pass.h"

#include <string.h>

/* Values of tensors while the graph runs; those of intermediate ones are freed after their last
 * use. */
struct run {
  const struct graph *g;
  const void **value;
  void **own; /* memory of intermediate values */
  int *uses;
};

static void drop(struct run *r, int t) {
  if (t < 0 || --r->uses[t] > 0 || !r->own[t]) return;
  fvm_free(r->own[t], 1, (size_t)tensor_bytes(tensor_of(r->g, t)));
  r->own[t] = NULL;
}

static enum fvm_status run_node(struct run *r, int node, struct fvm_error *err) {
  const struct node *n = node_at(r->g, node);
  struct arena a = {0};
  struct opcall c;
  enum fvm_status st = graph_opcall(r->g, node, &a, &c, err);
  const void **in = ARENA_NEW(&a, const void *, n->in.n);
  void **out = ARENA_NEW(&a, void *, n->out.n);
  if (st == FVM_OK && (!in || !out)) st = fvm_nomem(err);
  /* Also outputs that nobody asked for are computed: this finds their shapes. */
  if (st == FVM_OK) st = opcall_shape(&c, err);
  for (size_t k = 0; st == FVM_OK && k < n->in.n; k++)
    in[k] = n->in.v[k] < 0 ? NULL : r->value[n->in.v[k]];
  for (size_t k = 0; st == FVM_OK && k < n->out.n; k++) {
    int t = n->out.v[k];
    size_t bytes = (size_t)tensor_bytes(&c.out[k]);
    out[k] = t < 0 ? arena_alloc(&a, bytes, 1) : (r->own[t] = fvm_alloc(1, bytes));
    if (!out[k]) st = fvm_nomem(err);
    if (t >= 0) r->value[t] = out[k];
  }
  if (st == FVM_OK) st = opcall_ref(&c, in, out, err);
  for (size_t k = 0; k < n->in.n; k++) drop(r, n->in.v[k]);
  arena_free(&a);
  return st == FVM_OK ? st : fvm_prefix(err, "node '%.100s'", n->name);
}

enum fvm_status graph_reference_until(const struct graph *g, const void *const *in,
                                      void *const *out, volatile const int *interrupted,
                                      struct fvm_error *err) {
  struct arena a = {0};
  struct run r = {.g = g,
                  .value = ARENA_NEW(&a, const void *, g->tensor.n),
                  .own = ARENA_NEW(&a, void *, g->tensor.n),
                  .uses = graph_uses(g, &a)};
  enum fvm_status st = r.value && r.own && r.uses ? FVM_OK : fvm_nomem(err);
  for (size_t i = 0; st == FVM_OK && i < g->tensor.n; i++) r.value[i] = g->tensor.v[i].t.data;
  for (size_t i = 0; st == FVM_OK && i < g->input.n; i++) r.value[g->input.v[i]] = in[i];
  for (size_t i = 0; st == FVM_OK && i < g->node.n; i++) {
    if (!g->node.v[i].dead) st = run_node(&r, (int)i, err);
    if (st == FVM_OK && interrupted && *interrupted)
      st = fvm_fail(err, FVM_EINTR, "interrupted while the reference was computed");
  }
  for (size_t i = 0; st == FVM_OK && i < g->output.n; i++) {
    int t = g->output.v[i];
    memcpy(out[i], r.value[t], (size_t)tensor_bytes(tensor_of(g, t)));
  }
  for (size_t i = 0; r.own && i < g->tensor.n; i++)
    if (r.own[i]) fvm_free(r.own[i], 1, (size_t)tensor_bytes(&g->tensor.v[i].t));
  arena_free(&a);
  return st;
}

enum fvm_status graph_reference(const struct graph *g, const void *const *in, void *const *out,
                                struct fvm_error *err) {
  return graph_reference_until(g, in, out, NULL, err);
}
