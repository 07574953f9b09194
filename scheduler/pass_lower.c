/* ONNX's operators that have no kernels of their own become those that have:
 *
 *   RotaryEmbedding(x, cos, sin [, positions])    FusedRope(x, cos, sin), angles by Gather
 *   Attention(q, k, v [, mask])                   FusedAttention, and heads to where they were
 *
 * needs: shapes. keeps: shapes, topological order after a graph_compact. breaks: nothing. */
#include "pass.h"

#include "../kernels/attn.h"
#include "../kernels/rope.h"

static const char *name_of(const struct graph *g, int t) { return g->tensor.v[t].name; }

/* ---- RotaryEmbedding ---- */

/* Rows of a table of angles: [batch, rows, half]. -1 when memory is out. */
static int angles_at(struct rewrite *w, int table, int positions) {
  const struct tensor *at = tensor_of(w->g, positions), *t = tensor_of(w->g, table);
  struct tensor y = {.dtype = t->dtype, .rank = 3, .dim = {at->dim[0], at->dim[1], t->dim[1]}};
  const char *name = name_of(w->g, table);
  int out = rewrite_tensor(w, name, &y);
  return out >= 0 && rewrite_add(w, name, "Gather", 2, (int[]){table, positions}, out) >= 0 ? out
                                                                                            : -1;
}

static bool lower_rope(struct rewrite *w, int i) {
  struct graph *g = w->g;
  const struct node *n = node_at(g, i);
  struct arena a = {0};
  struct opcall c;
  struct rope r;
  bool ok = graph_opcall(g, i, &a, &c, NULL) == FVM_OK && rotary_init(&r, &c, NULL) == FVM_OK;
  arena_free(&a);
  if (!ok) return false;
  int x = n->in.v[0], cos = n->in.v[1], sin = n->in.v[2];
  int positions = n->in.n > 3 ? n->in.v[3] : -1;
  if (positions >= 0) {
    cos = angles_at(w, cos, positions);
    sin = angles_at(w, sin, positions);
  }
  if (cos < 0 || sin < 0 || !rewrite_node(w, i, "FusedRope", 3, (int[]){x, cos, sin})) return false;
  struct attr *attr = rewrite_attrs(w, i, 4);
  if (!attr) return false;
  attr[0] = (struct attr){.name = "heads", .kind = ATTR_INT, .i = r.heads};
  attr[1] = (struct attr){.name = "rotary", .kind = ATTR_INT, .i = r.rotary};
  attr[2] = (struct attr){.name = "from", .kind = ATTR_INT, .i = r.from};
  attr[3] = (struct attr){.name = "to", .kind = ATTR_INT, .i = r.to};
  return true;
}

/* ---- Attention ---- */

static bool set_attrs(struct rewrite *w, int i, const struct attr *from) {
  struct attr *a = rewrite_attrs(w, i, 5);
  for (int k = 0; a && k < 5; k++) a[k] = from[k];
  return a;
}

static bool lower_attention(struct rewrite *w, int i) {
  struct graph *g = w->g;
  const struct node *n = node_at(g, i);
  const char *name = n->name;
  int y = n->out.v[0], in[4] = {-1, -1, -1, -1}, nin = (int)MIN(n->in.n, (size_t)4);
  struct arena arena = {0};
  struct opcall c, fused_call;
  struct attr attr[5];
  bool ok = graph_opcall(g, i, &arena, &c, NULL) == FVM_OK &&
            attention_as_fused(&c, attr, &fused_call, NULL) == FVM_OK;
  arena_free(&arena);
  if (!ok) return false;
  bool flat = tensor_of(g, y)->rank == 3;
  for (int j = 0; j < nin; j++) in[j] = n->in.v[j];
  if (nin == 4 && in[3] < 0) nin = 3;
  if (flat) return rewrite_node(w, i, "FusedAttention", nin, in) && set_attrs(w, i, attr);
  struct tensor t = *tensor_of(g, y), rows = t, split = t;
  rows.rank = 3;
  rows.dim[1] = split.dim[1] = t.dim[2];
  rows.dim[2] = t.dim[1] * t.dim[3];
  split.dim[2] = t.dim[1];
  int made = rewrite_tensor(w, name_of(g, y), &rows), view = rewrite_tensor(w, name, &split);
  int dims = rewrite_ints(w, name, 4, split.dim);
  if (made < 0 || view < 0 || dims < 0) return false;
  int fused = rewrite_add(w, name, "FusedAttention", nin, in, made);
  if (fused < 0 || !set_attrs(w, fused, attr)) return false;
  if (rewrite_add(w, name, "Reshape", 2, (int[]){made, dims}, view) < 0) return false;
  int64_t *perm = ARENA_NEW(&g->arena, int64_t, 4);
  if (!perm || !rewrite_node(w, i, "Transpose", 1, &view)) return false;
  for (int j = 0; j < 4; j++) perm[j] = j == 1 ? 2 : j == 2 ? 1 : j;
  struct attr *a = rewrite_attrs(w, i, 1);
  if (a) *a = (struct attr){.name = "perm", .kind = ATTR_INTS, .n = 4, .ints = perm};
  return a;
}

static bool lower(struct rewrite *w, int i) {
  if (is_op(node_at(w->g, i), "RotaryEmbedding")) return lower_rope(w, i);
  return !is_op(node_at(w->g, i), "Attention") || lower_attention(w, i);
}

enum fvm_status pass_lower(struct graph *g, struct fvm_error *err) {
  return rewrite_each(g, lower, err);
}
