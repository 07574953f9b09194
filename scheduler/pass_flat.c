/* Exporters merge leading axes before a product and split them again after it:
 *
 *   x [B,S,K] -> Reshape [B*S,K] -> Gemm -> Gelu -> Gemm -> Reshape [B,S,N]
 *   q [B,H,S,D] -> Reshape [B*H,S,D] -> MatMul -> Mul -> Reshape [B,H,S,S]
 *
 * The merging Reshape goes behind whatever works on each row alone, until it meets the one that
 * splits, and both are gone; then biases, residuals and attentions are found as without them.
 *
 * needs: shapes. keeps: shapes, topological order after a graph_compact. breaks: nothing. */
#include "pass.h"

#include <string.h>

/* A tensor [a*b*.., tail..] made from x [a, b, .., tail..] by views. */
struct merge {
  int x, lead; /* lead: axes of x that became one */
};

static bool is_view(const struct node *n) { return n->op->flags & OPF_VIEW && n->out.n == 1; }

static bool is_merge(const struct tensor *x, const struct tensor *y, int *lead) {
  *lead = x->rank - y->rank + 1;
  if (*lead < 2 || y->rank < 2 || x->dtype != y->dtype) return false;
  return !memcmp(x->dim + *lead, y->dim + 1, (size_t)(y->rank - 1) * sizeof *y->dim) &&
         tensor_count(x) == tensor_count(y) && tensor_count(y) > 0;
}

static bool merged(const struct graph *g, int t, struct merge *m) {
  for (int y = t; y >= 0;) {
    int p = g->tensor.v[y].producer;
    if (p < 0 || !is_view(node_at(g, p))) return false;
    y = m->x = node_at(g, p)->in.v[0];
    if (is_merge(tensor_of(g, m->x), tensor_of(g, t), &m->lead)) return true;
  }
  return false;
}

/* Whether t is merged from the same axes as m, whatever follows them. */
static bool same_merge(const struct graph *g, int t, const struct merge *m, int *x) {
  struct merge other;
  if (!merged(g, t, &other) || other.lead != m->lead) return false;
  *x = other.x;
  return !memcmp(tensor_of(g, other.x)->dim, tensor_of(g, m->x)->dim,
                 (size_t)m->lead * sizeof(int64_t));
}

/* Dims of t with the merged axis as it was before. */
static struct tensor unmerged(const struct graph *g, int t, const struct merge *m) {
  const struct tensor *from = tensor_of(g, t), *x = tensor_of(g, m->x);
  struct tensor y = {.dtype = from->dtype, .rank = from->rank + m->lead - 1};
  memcpy(y.dim, x->dim, (size_t)m->lead * sizeof *y.dim);
  memcpy(y.dim + m->lead, from->dim + 1, (size_t)(from->rank - 1) * sizeof *y.dim);
  return y;
}

/* ---- changes ---- */

static int add_view(struct rewrite *w, int t, const struct tensor *as) {
  struct gtensor x = w->g->tensor.v[t];
  struct tensor y = *as;
  y.data = x.t.data;
  int view = rewrite_tensor(w, x.name, &y);
  if (view < 0 || y.data) return view; /* a constant: the same bytes */
  int dims = rewrite_ints(w, x.name, y.rank, y.dim);
  return dims >= 0 && rewrite_add(w, x.name, "Reshape", 2, (int[]){t, dims}, view) >= 0 ? view : -1;
}

/* A node like node i on other inputs: what it makes, or -1 when memory is out. */
static int add_like(struct rewrite *w, int i, const char *op, int n, const int *in,
                    const struct tensor *out) {
  const struct node old = *node_at(w->g, i);
  int y = rewrite_tensor(w, w->g->tensor.v[old.out.v[0]].name, out);
  int work = y < 0 ? -1 : rewrite_add(w, old.name, op, n, in, y);
  if (work < 0) return -1;
  if (node_at(w->g, work)->op != old.op) return y;
  node_at(w->g, work)->attr = old.attr;
  node_at(w->g, work)->nattr = old.nattr;
  return y;
}

/* The node's result was made as t: it only merges the axes. */
static bool merge_after(struct rewrite *w, int i, int t) {
  struct graph *g = w->g;
  const struct gtensor y = g->tensor.v[node_at(g, i)->out.v[0]];
  const char *name = arena_printf(&g->arena, "%s.rows", node_at(g, i)->name);
  int dims = t < 0 ? -1 : rewrite_ints(w, y.name, y.t.rank, y.t.dim);
  if (!name || dims < 0 || !rewrite_node(w, i, "Reshape", 2, (int[]){t, dims})) return false;
  node_at(g, i)->name = name;
  return true;
}

/* ---- element-wise operators ---- */

/* Input t of a node whose result has `rank` axes, the first of which is merged: what is read
 * instead of it. -1: memory is out; -2: it is made in the merged form. */
static int elementwise_input(struct rewrite *w, int t, int rank, const struct merge *m) {
  struct graph *g = w->g;
  const struct tensor *in = tensor_of(g, t);
  int x, p = g->tensor.v[t].producer;
  if (in->rank < rank) return t;
  if (same_merge(g, t, m, &x)) return x;
  if (in->dim[0] == 1) return t;
  if (p >= 0 && !is_view(node_at(g, p))) return -2;
  struct tensor as = unmerged(g, t, m);
  return add_view(w, t, &as);
}

static bool elementwise(struct rewrite *w, int i, const struct merge *m) {
  enum { MAX_IN = 4 };
  struct graph *g = w->g;
  const struct node n = *node_at(g, i);
  int y = n.out.v[0], rank = tensor_of(g, y)->rank, in[MAX_IN];
  if (n.in.n > MAX_IN) return true;
  for (size_t k = 0; k < n.in.n; k++) {
    in[k] = n.in.v[k] < 0 ? -1 : elementwise_input(w, n.in.v[k], rank, m);
    if (n.in.v[k] >= 0 && in[k] < 0) return in[k] == -2;
  }
  struct tensor out = unmerged(g, y, m);
  return merge_after(w, i, add_like(w, i, n.op->name, (int)n.in.n, in, &out));
}

/* ---- operators over the last axis ---- */

static bool is_last(const struct graph *g, const struct node *n, int64_t axis) {
  return axis == -1 || axis == tensor_of(g, n->in.v[0])->rank - 1;
}

static bool reduces_last(const struct graph *g, const struct node *n) {
  const struct attr *a = node_attr(n, "axes");
  const struct tensor *t = n->in.n > 1 && n->in.v[1] >= 0 ? tensor_of(g, n->in.v[1]) : NULL;
  if (strncmp(n->op->name, "Reduce", 6) != 0 || !node_int(n, "keepdims", 1)) return false;
  if (a) return a->n == 1 && a->ints[0] == -1;
  return t && t->data && t->dtype == FVM_I64 && tensor_count(t) == 1 &&
         *(const int64_t *)t->data == -1;
}

static bool is_over_last(const struct graph *g, const struct node *n) {
  if (is_op(n, "Softmax")) return is_last(g, n, node_int(n, "axis", g->opset < 13 ? 1 : -1));
  if (is_op(n, "LayerNormalization"))
    return n->out.n == 1 && is_last(g, n, node_int(n, "axis", -1));
  return reduces_last(g, n);
}

/* The same with axis -1, whatever the rank is. */
static bool over_last(struct rewrite *w, int i, const struct merge *m) {
  enum { MAX_IN = 4 };
  struct graph *g = w->g;
  const struct node n = *node_at(g, i);
  int in[MAX_IN] = {m->x};
  if (n.in.n > MAX_IN) return true;
  for (size_t k = 1; k < n.in.n; k++) in[k] = n.in.v[k];
  struct tensor out = unmerged(g, n.out.v[0], m);
  int y = add_like(w, i, n.op->name, (int)n.in.n, in, &out);
  return y >= 0 &&
         (strncmp(n.op->name, "Reduce", 6) == 0 ||
          rewrite_set_int(w, g->tensor.v[y].producer, "axis", -1)) &&
         merge_after(w, i, y);
}

/* ---- products and transposes ---- */

static bool product(struct rewrite *w, int i, const struct merge *m) {
  struct graph *g = w->g;
  const struct node *n = node_at(g, i);
  int b = n->in.v[1], other;
  const struct tensor *t = tensor_of(g, b);
  if (t->rank > 2 && !same_merge(g, b, m, &other)) return true;
  if (t->rank < 2 || (t->rank == 2 && !t->data)) return true;
  if (t->rank == 2) other = b;
  struct tensor out = unmerged(g, n->out.v[0], m);
  return merge_after(w, i, add_like(w, i, "MatMul", 2, (int[]){m->x, other}, &out));
}

static bool gemm(struct rewrite *w, int i, const struct merge *m) {
  struct graph *g = w->g;
  const struct node n = *node_at(g, i);
  int c = n.in.n > 2 ? n.in.v[2] : -1, b = n.in.v[1];
  if (!is_plain_gemm(g, &n) || !tensor_of(g, b)->data) return true;
  struct tensor out = unmerged(g, n.out.v[0], m);
  int y = add_like(w, i, "MatMul", 2, (int[]){m->x, b}, &out);
  if (y >= 0 && c >= 0) y = add_like(w, i, "Add", 2, (int[]){y, c}, &out);
  return merge_after(w, i, y);
}

static bool transpose(struct rewrite *w, int i, const struct merge *m) {
  struct graph *g = w->g;
  const struct node n = *node_at(g, i);
  const struct attr *p = node_attr(&n, "perm");
  int rank = tensor_of(g, n.in.v[0])->rank, more = m->lead - 1;
  if (!p || p->kind != ATTR_INTS || p->ints[0] != 0) return true;
  struct tensor out = unmerged(g, n.out.v[0], m);
  int64_t *perm = ARENA_NEW(&g->arena, int64_t, rank + more);
  int y = perm ? add_like(w, i, "Transpose", 1, &m->x, &out) : -1;
  struct attr *a = y < 0 ? NULL : rewrite_attrs(w, g->tensor.v[y].producer, 1);
  if (!a) return false;
  for (int k = 0; k < m->lead; k++) perm[k] = k;
  for (int k = 1; k < rank; k++) perm[k + more] = p->ints[k] + more;
  *a = (struct attr){.name = "perm", .kind = ATTR_INTS, .n = rank + more, .ints = perm};
  return merge_after(w, i, y);
}

/* ---- all ---- */

/* The first input that spans the first axis of the result and was merged. */
static bool merged_input(const struct graph *g, const struct node *n, struct merge *m) {
  const struct tensor *y = tensor_of(g, n->out.v[0]);
  for (size_t k = 0; k < n->in.n; k++) {
    const struct tensor *x = n->in.v[k] < 0 ? NULL : tensor_of(g, n->in.v[k]);
    if (x && !x->data && x->rank == y->rank && y->rank > 0 && x->dim[0] == y->dim[0] &&
        merged(g, n->in.v[k], m))
      return y->rank + m->lead - 1 <= FVM_MAXRANK;
  }
  return false;
}

static bool change(struct rewrite *w, int i) {
  const struct graph *g = w->g;
  const struct node *n = node_at(g, i);
  struct merge m;
  if (n->dead || n->body || n->in.n < 1 || n->in.v[0] < 0 || n->out.v[0] < 0) return true;
  bool first = merged_input(g, n, &m);
  if (!first) return true;
  if (n->op->flags & OPF_ELT) return n->out.n > 1 || elementwise(w, i, &m);
  if (!merged(g, n->in.v[0], &m)) return true;
  if (is_over_last(g, n)) return over_last(w, i, &m);
  if (is_op(n, "MatMul")) return product(w, i, &m);
  if (is_op(n, "Gemm")) return gemm(w, i, &m);
  return !is_op(n, "Transpose") || transpose(w, i, &m);
}

enum fvm_status pass_flat(struct graph *g, struct fvm_error *err) {
  return rewrite_each(g, change, err);
}
