/* Attention reads columns of a wider tensor where they are, so that no step copies them:
 *
 *   x [B,S,3*H*D] -> Split -> q, k, v -> FusedAttention    FusedAttention(x, x, x) q_at=0 k_at=H*D
 * ...
 *
 * The Split (or Slice) stays for others that read its results. Biases that come behind it, as they
 * do when a simplifier has merged products and no more, go before it:
 *
 *   x -> Split -> Add bq, Add bk, Add bv                   x -> Add [bq bk bv] -> Split
 *
 * needs: shapes. keeps: shapes, topological order. breaks: nothing. */
#include "pass.h"

#include <string.h>

static const char *const at_name[] = {"q_at", "k_at", "v_at"};

bool attention_read(struct rewrite *w, int node, int operand, int wide, int64_t at) {
  static const char *const width_name[] = {"width", "width", "v_width"};
  const struct node *n = node_at(w->g, node);
  int64_t heads = node_int(n, "heads", 1);
  if (operand > 0) heads = node_int(n, "kv_heads", heads);
  const struct tensor *t = tensor_of(w->g, n->in.v[operand]);
  int64_t width = node_int(n, width_name[operand], t->dim[t->rank - 1] / heads);
  rewrite_input(w, node, operand, wide);
  return rewrite_set_int(w, node, width_name[operand], width) &&
         rewrite_set_int(w, node, at_name[operand], at);
}

static bool is_last_axis(int64_t axis, const struct tensor *t) {
  return axis == -1 || axis == t->rank - 1;
}

/* The only element of a constant vector of integers. */
static bool one_int(const struct graph *g, const struct node *n, size_t k, int64_t *v) {
  const struct tensor *t = k < n->in.n && n->in.v[k] >= 0 ? tensor_of(g, n->in.v[k]) : NULL;
  if (!t || !t->data || tensor_count(t) != 1) return false;
  if (t->dtype == FVM_I64) memcpy(v, t->data, sizeof *v);
  if (t->dtype == FVM_I32) *v = *(const int32_t *)t->data;
  return t->dtype == FVM_I64 || t->dtype == FVM_I32;
}

static bool split_at(const struct graph *g, const struct node *n, int t, int64_t *at) {
  *at = 0;
  for (size_t k = 0; k < n->out.n && n->out.v[k] >= 0; k++) {
    const struct tensor *y = tensor_of(g, n->out.v[k]);
    if (n->out.v[k] == t) return is_last_axis(node_int(n, "axis", 0), y);
    *at += y->dim[y->rank - 1];
  }
  return false;
}

static bool slice_at(const struct graph *g, const struct node *n, int64_t *at) {
  const struct tensor *x = tensor_of(g, n->in.v[0]);
  int64_t axis, step = 1, size = x->dim[x->rank - 1];
  if (!one_int(g, n, 1, at) || !one_int(g, n, 3, &axis) || !is_last_axis(axis, x)) return false;
  if (n->in.n > 4 && n->in.v[4] >= 0 && !one_int(g, n, 4, &step)) return false;
  if (*at < 0) *at += size;
  return step == 1 && *at >= 0 && *at < size;
}

/* t [B,S,C] is columns of what tensor, from which on? That tensor, or -1. */
static int columns_of(const struct graph *g, int t, int64_t *at) {
  int p = made_by(g, t, "Split"), s = made_by(g, t, "Slice");
  if (tensor_of(g, t)->rank != 3 || (p < 0 && s < 0)) return -1;
  const struct node *n = node_at(g, p >= 0 ? p : s);
  return (p >= 0 ? split_at(g, n, t, at) : slice_at(g, n, at)) ? n->in.v[0] : -1;
}

/* A view of columns that are views of columns: all the way up. */
static bool read_wide(struct rewrite *w, int node, int operand) {
  for (;;) {
    const struct node *n = node_at(w->g, node);
    int64_t at, before = node_int(n, at_name[operand], 0);
    int wide = columns_of(w->g, n->in.v[operand], &at);
    if (wide < 0) return true;
    if (!attention_read(w, node, operand, wide, before + at)) return false;
  }
}

/* ---- biases ---- */

/* What is added to output k of a Split alone: the Add, with the vector in *bias; or -1. */
static int added(const struct rewrite *w, const struct node *split, size_t k, int *bias) {
  const struct graph *g = w->g;
  int y = split->out.v[k], add = y < 0 ? -1 : only_user(w, y);
  if (add < 0 || !is_op(node_at(g, add), "Add")) return -1;
  const struct node *n = node_at(g, add);
  *bias = n->in.v[n->in.v[0] == y];
  const struct tensor *t = tensor_of(g, *bias), *part = tensor_of(g, y);
  bool is = t->data && t->dtype == FVM_F32 && part->dtype == FVM_F32 && t->rank > 0 &&
            tensor_count(t) == part->dim[part->rank - 1] &&
            t->dim[t->rank - 1] == tensor_count(t) && !g->tensor.v[n->out.v[0]].is_output &&
            same_dims(part, tensor_of(g, n->out.v[0]));
  return is ? add : -1;
}

/* The vectors of all outputs, one behind the other. */
static int join_biases(struct rewrite *w, const struct node *split, const char *base) {
  const struct tensor *x = tensor_of(w->g, split->in.v[0]);
  struct tensor t = {.dtype = FVM_F32, .rank = 1, .dim = {x->dim[x->rank - 1]}};
  char *data = arena_alloc(&w->g->arena, (size_t)tensor_bytes(&t), 1);
  const char *name = arena_printf(&w->arena, "%s.biases", base);
  t.data = data;
  for (size_t k = 0; data && k < split->out.n; k++) {
    int bias = -1;
    CHECK(added(w, split, k, &bias) >= 0);
    const struct tensor *b = tensor_of(w->g, bias);
    memcpy(data, b->data, (size_t)tensor_bytes(b));
    data += tensor_bytes(b);
  }
  return data && name ? rewrite_tensor(w, name, &t) : -1;
}

/* A new node before the Split adds them all. */
static bool add_before(struct rewrite *w, int at) {
  struct graph *g = w->g;
  int x = node_at(g, at)->in.v[0];
  struct tensor t = *tensor_of(g, x);
  const char *base = g->tensor.v[x].name;
  const char *name = arena_printf(&w->arena, "%s.biased", base);
  int bias = join_biases(w, node_at(g, at), base), sum = name ? rewrite_tensor(w, name, &t) : -1;
  if (bias < 0 || sum < 0) return false;
  const struct node split = *node_at(g, at);
  for (size_t k = 0; k < split.out.n; k++) {
    int add = added(w, &split, k, &(int){0});
    rewrite_replace(w, node_at(g, add)->out.v[0], split.out.v[k]);
  }
  int n = graph_add_node(g, name, op_find("Add", 3));
  if (n < 0 || !node_add_in(g, n, x) || !node_add_in(g, n, bias) || !node_add_out(g, n, sum))
    return false;
  w->uses[x]++;
  w->uses[bias]++;
  w->user[bias] = n;
  rewrite_input(w, at, 0, sum);
  return true;
}

static bool bias_before_split(struct rewrite *w, int i) {
  const struct node *n = node_at(w->g, i);
  int bias;
  if (!is_op(n, "Split") || !is_last_axis(node_int(n, "axis", 0), tensor_of(w->g, n->in.v[0])))
    return true;
  for (size_t k = 0; k < n->out.n; k++)
    if (added(w, n, k, &bias) < 0) return true;
  return add_before(w, i);
}

enum fvm_status pass_slices(struct graph *g, struct fvm_error *err) {
  struct rewrite w;
  enum fvm_status st = rewrite_begin(&w, g, err);
  if (st != FVM_OK) return st;
  bool ok = true;
  for (int i = 0, n = (int)g->node.n; ok && i < n; i++) {
    rewrite_refresh(&w, i);
    ok = bias_before_split(&w, i);
    for (int k = 0; ok && k < 3 && is_op(node_at(g, i), "FusedAttention"); k++)
      ok = read_wide(&w, i, k);
  }
  rewrite_end(&w);
  return ok ? FVM_OK : fvm_nomem(err);
}
