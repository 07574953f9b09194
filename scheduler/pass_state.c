/* Caches of keys and values become states, which grow in the caller's memory:
 *
 *   past (input) --> Concat --> present (output)      past -> Append -> present
 *   new -------------^     `--> attention             new ----^    `--> attention
 *
 * The axis must be one that a layout has outermost: the one before the last, or one with nothing
 * but ones before it. Attention of a batch of one reads the present where it lies, position by
 * position, which is [1, positions, heads * width] to it:
 *
 *   present [1, H, S, D] -> Transpose -> Reshape -> [1, S, H * D] -> FusedAttention
 *
 * needs: shapes, attentions. keeps: shapes. breaks: order (mended by graph_compact). */
#include "pass.h"

#include <string.h>

/* ---- finding ---- */

static const char *const carriers[] = {"Transpose", "Reshape", "Unsqueeze", "Squeeze", "Expand",
                                       "Identity",  "Cast",    "Mul",       "Slice",   NULL};

static bool carries(const struct node *n) {
  for (const char *const *p = carriers; *p; p++)
    if (is_op(n, *p)) return true;
  return false;
}

static bool reads_marked(const struct node *n, const bool *mark) {
  for (size_t k = 0; k < n->in.n; k++)
    if (n->in.v[k] >= 0 && mark[n->in.v[k]]) return true;
  return false;
}

/* Whether a product or an attention reads what node i makes, moved or scaled at most. */
static bool feeds_attention(const struct graph *g, int i, bool *mark) {
  memset(mark, 0, g->tensor.n * sizeof *mark);
  mark[node_at(g, i)->out.v[0]] = true;
  for (size_t k = (size_t)i + 1; k < g->node.n; k++) {
    const struct node *n = node_at(g, (int)k);
    if (n->dead || !reads_marked(n, mark)) continue;
    if (is_op(n, "FusedAttention") || is_op(n, "MatMul")) return true;
    if (carries(n)) mark[n->out.v[0]] = true;
  }
  return false;
}

static int count(const int *v, size_t n, int t) {
  int sum = 0;
  for (size_t i = 0; i < n; i++) sum += v[i] == t;
  return sum;
}

/* The axis along which a Concat grows a state; -1 when it doesn't. */
static int state_axis(const struct graph *g, const struct node *n) {
  if (!is_op(n, "Concat") || n->in.n != 2) return -1;
  const struct gtensor *past = &g->tensor.v[n->in.v[0]], *more = &g->tensor.v[n->in.v[1]];
  if (!past->is_input || past->is_output || past->t.data || more->producer < 0) return -1;
  if (count(g->input.v, g->input.n, n->in.v[0]) != 1 ||
      count(g->output.v, g->output.n, n->out.v[0]) != 1)
    return -1;
  int64_t axis = node_int(n, "axis", 1), before = 1;
  if (axis < 0) axis += past->t.rank;
  for (int i = 0; i < axis; i++) before *= past->t.dim[i];
  bool fits = before == 1 || axis == past->t.rank - 2;
  return fits && tensor_count(&past->t) > 0 && tensor_count(&more->t) > 0 ? (int)axis : -1;
}

/* ---- changing ---- */

static bool become_append(struct graph *g, int i, int axis) {
  struct attr *a = ARENA_NEW(&g->arena, struct attr, 1);
  if (!a) return false;
  *a = (struct attr){.name = "axis", .kind = ATTR_INT, .i = axis};
  struct node *n = node_at(g, i);
  n->op = op_find("Append", strlen("Append"));
  n->attr = a;
  n->nattr = 1;
  return true;
}

/* A node of one output, called like its tensor, NAME.SUFFIX; the tensor, or -1: no memory. */
static int add_node(struct graph *g, const char *name, const char *suffix, const char *op, int nin,
                    const int *in, int rank, const int64_t *dim) {
  const char *text = arena_printf(&g->arena, "%s.%s", name, suffix);
  int t = text ? graph_add_tensor(g, text) : -1;
  int node = t < 0 ? -1 : graph_add_node(g, text, op_find(op, strlen(op)));
  if (node < 0) return -1;
  for (int k = 0; k < nin; k++)
    if (!node_add_in(g, node, in[k])) return -1;
  struct tensor x = {.dtype = tensor_of(g, in[0])->dtype, .rank = rank};
  memcpy(x.dim, dim, (size_t)rank * sizeof *dim);
  *tensor_of(g, t) = x;
  return node_add_out(g, node, t) ? t : -1;
}

static int add_dims(struct graph *g, const char *name, int n, const int64_t *dim) {
  const char *text = arena_printf(&g->arena, "%s.flat.dims", name);
  int64_t *v = ARENA_NEW(&g->arena, int64_t, n);
  int t = text && v ? graph_add_tensor(g, text) : -1;
  if (t < 0) return -1;
  memcpy(v, dim, (size_t)n * sizeof *v);
  *tensor_of(g, t) = (struct tensor){.dtype = FVM_I64, .rank = 1, .dim = {n}, .data = v};
  return t;
}

/* present [1,H,S,D] as [1,S,H*D]. */
static int flatten(struct graph *g, int present) {
  static const int64_t perm[] = {0, 2, 1, 3};
  const char *name = g->tensor.v[present].name;
  const int64_t *d = tensor_of(g, present)->dim;
  const int64_t turned[] = {1, d[2], d[1], d[3]}, flat[] = {1, d[2], d[1] * d[3]};
  struct attr *a = ARENA_NEW(&g->arena, struct attr, 1);
  int64_t *ints = ARENA_NEW(&g->arena, int64_t, 4);
  int dims = add_dims(g, name, 3, flat);
  if (!a || !ints || dims < 0) return -1;
  memcpy(ints, perm, sizeof perm);
  *a = (struct attr){.name = "perm", .kind = ATTR_INTS, .n = 4, .ints = ints};
  int t = add_node(g, name, "turned", "Transpose", 1, &present, 4, turned);
  if (t < 0) return -1;
  node_at(g, g->tensor.v[t].producer)->attr = a;
  node_at(g, g->tensor.v[t].producer)->nattr = 1;
  return add_node(g, name, "flat", "Reshape", 2, (int[]){t, dims}, 3, flat);
}

/* Attentions read the flat present, which is made when the first is found. */
static bool serve_attentions(struct graph *g, int present) {
  const struct tensor *t = tensor_of(g, present);
  int flat = -1;
  if (t->rank != 4 || t->dim[0] != 1) return true;
  for (size_t i = 0, n = g->node.n; i < n; i++)
    for (int k = 1; k <= 2 && is_op(node_at(g, (int)i), "FusedAttention"); k++) {
      if (node_at(g, (int)i)->in.v[k] != present) continue;
      if (flat < 0 && (flat = flatten(g, present)) < 0) return false;
      node_at(g, (int)i)->in.v[k] = flat;
    }
  return true;
}

enum fvm_status pass_state(struct graph *g, struct fvm_error *err) {
  struct arena a = {0};
  size_t n = g->node.n;
  bool *mark = ARENA_NEW(&a, bool, g->tensor.n + 3 * n); /* three tensors a state at most */
  bool ok = mark;
  for (int i = 0; ok && i < (int)n; i++) {
    int axis = state_axis(g, node_at(g, i));
    if (axis < 0 || !feeds_attention(g, i, mark)) continue;
    ok = graph_state(g, node_at(g, i)->in.v[0]) < 0 ? become_append(g, i, axis) : true;
    if (ok && (node_at(g, i)->op->flags & OPF_STATE))
      ok = serve_attentions(g, node_at(g, i)->out.v[0]);
  }
  arena_free(&a);
  return ok ? FVM_OK : fvm_nomem(err);
}
