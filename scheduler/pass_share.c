/* Equal constants become one, and so do nodes that do the same to the same tensors: exporters
 * write masks and scales once a layer.
 *
 * needs: shapes. keeps: shapes, topological order. breaks: nothing. */
#include "pass.h"

#include "graph_text.h"

#include <inttypes.h>
#include <string.h>

/* Larger ones are weights, which are hardly ever equal; comparing them takes time. */
enum { SHARE_MAX_BYTES = 1 << 20 };

static const char *constant_key(struct rewrite *w, const struct tensor *t) {
  struct text key = {0};
  text_printf(&key, "%d", (int)t->dtype);
  for (int i = 0; i < t->rank; i++) text_printf(&key, ",%" PRId64, t->dim[i]);
  text_printf(&key, " %016" PRIx64, fvm_hash(t->data, (size_t)tensor_bytes(t), 0));
  const char *copy = key.failed ? NULL : arena_strdup(&w->arena, key.v);
  text_free(&key);
  return copy;
}

static bool share_constant(struct rewrite *w, struct names *seen, int i) {
  const struct tensor *t = tensor_of(w->g, i);
  if (!t->data || !w->uses[i] || tensor_bytes(t) > SHARE_MAX_BYTES) return true;
  const char *key = constant_key(w, t);
  if (!key) return false;
  int other = names_find(seen, key);
  if (other < 0) return names_add(seen, key, i);
  if (!memcmp(tensor_of(w->g, other)->data, t->data, (size_t)tensor_bytes(t)) &&
      !w->g->tensor.v[i].is_output)
    rewrite_replace(w, i, other);
  return true;
}

/* What a node does, without the names of its outputs; NULL in *key for nodes that stay. */
static bool node_key(struct rewrite *w, const struct node *n, const char **key) {
  struct text t = {0};
  *key = NULL;
  for (int i = 0; i < n->nattr; i++)
    if (n->attr[i].kind == ATTR_TENSOR) return true;
  text_printf(&t, "%s %zu", n->op->name, n->out.n);
  for (size_t k = 0; k < n->in.n; k++) text_printf(&t, " %d", n->in.v[k]);
  for (int i = 0; i < n->nattr; i++) graph_dump_attr(&t, &n->attr[i]);
  if (!t.failed) *key = arena_strdup(&w->arena, t.v);
  text_free(&t);
  return *key;
}

static bool share_node(struct rewrite *w, struct names *seen, int i) {
  const struct node *n = node_at(w->g, i);
  const char *key;
  if (n->dead || n->body) return true;
  if (!node_key(w, n, &key)) return false;
  if (!key) return true;
  int other = names_find(seen, key);
  if (other < 0) return names_add(seen, key, i);
  for (size_t k = 0; k < n->out.n && !n->dead; k++) {
    int x = node_at(w->g, other)->out.v[k];
    if (n->out.v[k] >= 0 && x >= 0) rewrite_replace(w, n->out.v[k], x);
  }
  return true;
}

enum fvm_status pass_share(struct graph *g, struct fvm_error *err) {
  struct rewrite w;
  struct names constants = {0}, nodes = {0};
  enum fvm_status st = rewrite_begin(&w, g, err);
  if (st != FVM_OK) return st;
  bool ok = true;
  for (size_t i = 0; ok && i < g->tensor.n; i++) ok = share_constant(&w, &constants, (int)i);
  for (size_t i = 0; ok && i < g->node.n; i++) {
    rewrite_refresh(&w, (int)i);
    ok = share_node(&w, &nodes, (int)i);
  }
  names_free(&constants);
  names_free(&nodes);
  rewrite_end(&w);
  return ok ? FVM_OK : fvm_nomem(err);
}
