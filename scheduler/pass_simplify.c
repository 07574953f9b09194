/* Removes what moves no data, and merges what moves it twice:
 *
 *   x -> Identity -> y                            x
 *   x -> Reshape -> Reshape, Flatten, ... -> y    x -> Reshape -> y, dims as a constant
 *   x -> Transpose -> Transpose -> y              x -> Transpose -> y
 *   x -> Reshape -> Gemm -> Reshape -> y          x -> MatMul -> Add -> y
 *   x -> squeeze -> Transpose -> Reshape -> y     x -> Transpose -> Reshape -> y
 *
 * needs: shapes. keeps: shapes, topological order. breaks: nothing. */
#include "pass.h"

#include <string.h>

static bool one_of(const struct node *n, const char *const *ops) {
  for (; *ops; ops++)
    if (!strcmp(n->op->name, *ops)) return true;
  return false;
}

/* ---- what moves nothing ---- */

static const char *const same_if_dims[] = {"Reshape", "Flatten", "Squeeze",  "Unsqueeze", "Expand",
                                           "Tile",    "Cast",    "CastLike", "Dropout",   NULL};
static const char *const same_if_one[] = {"Concat", "Sum", "Max", "Min", "Mean", NULL};

static const int64_t *perm_of(const struct node *n) {
  const struct attr *a = node_attr(n, "perm");
  return a && a->kind == ATTR_INTS ? a->ints : NULL;
}

/* Axis of the input that axis i of a transpose's output is. */
static int source_axis(const struct node *n, int rank, int i) {
  const int64_t *p = perm_of(n);
  return p ? (int)p[i] : rank - 1 - i;
}

/* Whether a transpose keeps the order of all axes longer than 1. */
static bool keeps_order(const struct graph *g, const struct node *n) {
  const struct tensor *x = tensor_of(g, n->in.v[0]);
  int last = -1;
  for (int i = 0; i < x->rank; i++) {
    int a = source_axis(n, x->rank, i);
    if (x->dim[a] == 1) continue;
    if (a < last) return false;
    last = a;
  }
  return true;
}

/* A slice as long as its input on all axes can still run backwards. */
static bool is_forward(const struct graph *g, const struct node *n) {
  if (n->in.n < 5 || n->in.v[4] < 0) return true;
  const struct tensor *t = tensor_of(g, n->in.v[4]);
  for (int64_t i = 0; i < tensor_count(t); i++)
    if (!t->data || (t->dtype == FVM_I64 ? ((const int64_t *)t->data)[i] < 0
                                         : ((const int32_t *)t->data)[i] < 0))
      return false;
  return true;
}

/* The input that the node only passes on, or -1. */
static int passed_on(const struct graph *g, const struct node *n) {
  int x = n->in.n ? n->in.v[0] : -1;
  if (x < 0 || n->out.n < 1 || n->out.v[0] < 0) return -1;
  const struct tensor *from = tensor_of(g, x), *to = tensor_of(g, n->out.v[0]);
  bool same = from->dtype == to->dtype && same_dims(from, to);
  if (is_op(n, "Identity")) return x;
  if (same && one_of(n, same_if_dims)) return x;
  if (same && n->in.n == 1 && one_of(n, same_if_one)) return x;
  if (same && is_op(n, "Slice") && is_forward(g, n)) return x;
  if (same && is_op(n, "Transpose") && keeps_order(g, n)) return x;
  int rest = n->in.n == 2 ? neutral_rest(g, n) : -1;
  if (rest < 0) return -1;
  from = tensor_of(g, rest);
  return from->dtype == to->dtype && same_dims(from, to) ? rest : -1;
}

static bool is_unused(const struct rewrite *w, const struct node *n, size_t from) {
  for (size_t k = from; k < n->out.n; k++)
    if (n->out.v[k] >= 0 && w->uses[n->out.v[k]] > 0) return false;
  return true;
}

static bool remove_copy(struct rewrite *w, int i) {
  const struct node *n = node_at(w->g, i);
  int x = passed_on(w->g, n);
  return x >= 0 && is_unused(w, n, 1) && rewrite_replace(w, n->out.v[0], x);
}

/* ---- views ---- */

static const char *const reshapes[] = {"Reshape", "Flatten", "Squeeze", "Unsqueeze", NULL};

static bool is_plain_reshape(const struct graph *g, const struct node *n) {
  if (!is_op(n, "Reshape") || n->nattr) return false;
  const struct tensor *dims = tensor_of(g, n->in.v[1]), *y = tensor_of(g, n->out.v[0]);
  return dims->data && dims->dtype == FVM_I64 &&
         !memcmp(dims->data, y->dim, (size_t)y->rank * sizeof *y->dim);
}

/* A Reshape of x to the dims that the node's output has. */
static bool make_reshape(struct rewrite *w, int i, int x) {
  const struct node *n = node_at(w->g, i);
  const struct gtensor *y = &w->g->tensor.v[n->out.v[0]];
  int dims = rewrite_ints(w, y->name, y->t.rank, y->t.dim);
  return dims >= 0 && rewrite_node(w, i, "Reshape", 2, (int[]){x, dims});
}

/* Views become Reshapes with plain dims, of what comes before the views. */
static bool merge_views(struct rewrite *w, int i, bool *nomem) {
  const struct node *n = node_at(w->g, i);
  if (!one_of(n, reshapes) || n->out.n != 1) return false;
  int x = n->in.v[0], p = made_by(w->g, x, "Reshape");
  if (p < 0 && is_plain_reshape(w->g, n)) return false;
  if (p >= 0) x = node_at(w->g, p)->in.v[0];
  *nomem = !make_reshape(w, i, x);
  return !*nomem;
}

/* ---- transposes ---- */

static bool set_perm(struct rewrite *w, int i, int x, int rank, const int64_t *perm) {
  int64_t *copy = ARENA_NEW(&w->g->arena, int64_t, rank);
  if (!copy || !rewrite_node(w, i, "Transpose", 1, &x)) return false;
  memcpy(copy, perm, (size_t)rank * sizeof *copy);
  struct attr *a = rewrite_attrs(w, i, 1);
  if (a) *a = (struct attr){.name = "perm", .kind = ATTR_INTS, .n = rank, .ints = copy};
  return a;
}

static bool merge_transposes(struct rewrite *w, int i, bool *nomem) {
  const struct node *n = node_at(w->g, i);
  int p = is_op(n, "Transpose") ? made_by(w->g, n->in.v[0], "Transpose") : -1;
  if (p < 0) return false;
  int rank = tensor_of(w->g, n->in.v[0])->rank;
  int64_t perm[FVM_MAXRANK];
  for (int k = 0; k < rank; k++)
    perm[k] = source_axis(node_at(w->g, p), rank, source_axis(n, rank, k));
  *nomem = !set_perm(w, i, node_at(w->g, p)->in.v[0], rank, perm);
  return !*nomem;
}

/* Whether x has y's dims with more axes of length 1; axis[k] is where y's k-th is in x. */
static bool is_squeeze(const struct tensor *x, const struct tensor *y, int *axis) {
  int k = 0;
  for (int i = 0; i < x->rank; i++)
    if (k < y->rank && x->dim[i] == y->dim[k])
      axis[k++] = i;
    else if (x->dim[i] != 1)
      return false;
  return k == y->rank && x->rank > y->rank;
}

/* x -> Reshape that drops unit axes -> Transpose -> Reshape: transpose x itself, the unit axes
 * staying where they are, so that the second Reshape does all, often nothing. */
static bool transpose_before_squeeze(struct rewrite *w, int i, bool *nomem) {
  struct graph *g = w->g;
  const struct node *n = node_at(g, i);
  int p = is_op(n, "Transpose") ? made_by(g, n->in.v[0], "Reshape") : -1;
  if (p < 0) return false;
  int x = node_at(g, p)->in.v[0], y = n->out.v[0], user = only_user(w, y), axis[FVM_MAXRANK];
  const struct tensor *from = tensor_of(g, x), *mid = tensor_of(g, n->in.v[0]);
  if (user < 0 || !is_op(node_at(g, user), "Reshape") || !is_squeeze(from, mid, axis)) return false;
  int64_t perm[FVM_MAXRANK];
  struct tensor to = *from;
  for (int k = 0; k < from->rank; k++) perm[k] = k;
  for (int k = 0; k < mid->rank; k++) perm[axis[k]] = axis[source_axis(n, mid->rank, k)];
  for (int k = 0; k < from->rank; k++) to.dim[k] = from->dim[perm[k]];
  to.data = NULL;
  *nomem = !set_perm(w, i, x, from->rank, perm);
  *tensor_of(g, y) = to;
  return !*nomem;
}

/* ---- Gemm between Reshapes ---- */

/* Whether x [..., K] and y [..., N] have the same leading dims. */
static bool same_leading(const struct tensor *x, const struct tensor *y) {
  return x->rank == y->rank && x->rank > 2 &&
         !memcmp(x->dim, y->dim, (size_t)(x->rank - 1) * sizeof *x->dim);
}

bool is_plain_gemm(const struct graph *g, const struct node *n) {
  const struct tensor *b = tensor_of(g, n->in.v[1]);
  int c = n->in.n > 2 ? n->in.v[2] : -1;
  if (node_int(n, "transA", 0) || node_int(n, "transB", 0)) return false;
  if (node_float(n, "alpha", 1) != 1.0f) return false;
  if (c < 0) return true;
  const struct tensor *bias = tensor_of(g, c);
  return node_float(n, "beta", 1) == 1.0f &&
         (tensor_count(bias) == 1 || (bias->rank == 1 && bias->dim[0] == b->dim[1]));
}

/* Exporters flatten the leading dims for Gemm and restore them after. MatMul needs neither, and
 * without the views the bias and what follows can be fused. At the second Reshape, i. */
static bool matmul_from_gemm(struct rewrite *w, int i, bool *nomem) {
  struct graph *g = w->g;
  const struct node *n = node_at(g, i);
  int gemm = is_op(n, "Reshape") ? made_by(g, n->in.v[0], "Gemm") : -1;
  if (gemm < 0 || only_user(w, n->in.v[0]) != i || !is_plain_gemm(g, node_at(g, gemm)))
    return false;
  int before = made_by(g, node_at(g, gemm)->in.v[0], "Reshape");
  if (before < 0) return false;
  int x = node_at(g, before)->in.v[0], b = node_at(g, gemm)->in.v[1];
  const struct tensor *y = tensor_of(g, n->out.v[0]), *weight = tensor_of(g, b);
  if (!same_leading(tensor_of(g, x), y) || y->dim[y->rank - 1] != weight->dim[1] ||
      tensor_of(g, x)->dim[y->rank - 1] != weight->dim[0])
    return false;
  int c = node_at(g, gemm)->in.n > 2 ? node_at(g, gemm)->in.v[2] : -1, product = n->in.v[0];
  *tensor_of(g, product) = *y;
  *nomem = !rewrite_node(w, gemm, "MatMul", 2, (int[]){x, b});
  if (!*nomem && c >= 0) *nomem = !rewrite_node(w, i, "Add", 2, (int[]){product, c});
  if (!*nomem && c < 0) rewrite_replace(w, n->out.v[0], product);
  return !*nomem;
}

/* ---- all ---- */

static enum fvm_status simplify(struct graph *g, bool views, struct fvm_error *err) {
  struct rewrite w;
  enum fvm_status st = rewrite_begin(&w, g, err);
  if (st != FVM_OK) return st;
  bool nomem = false;
  for (int i = 0; i < (int)g->node.n && !nomem; i++) {
    rewrite_refresh(&w, i);
    if (node_at(g, i)->dead || node_at(g, i)->body) continue;
    merge_transposes(&w, i, &nomem);
    if (!nomem) transpose_before_squeeze(&w, i, &nomem);
    if (!nomem && views && is_op(node_at(g, i), "Transpose") && keeps_order(g, node_at(g, i)))
      nomem = !make_reshape(&w, i, node_at(g, i)->in.v[0]);
    if (!nomem) merge_views(&w, i, &nomem);
    if (!nomem && !matmul_from_gemm(&w, i, &nomem) && !nomem) remove_copy(&w, i);
  }
  rewrite_end(&w);
  return nomem ? fvm_nomem(err) : FVM_OK;
}

enum fvm_status pass_simplify(struct graph *g, struct fvm_error *err) {
  return simplify(g, false, err);
}

/* The same once more, after attentions were found by their transposes: those that are left and
 * move only axes of length 1 are views. */
enum fvm_status pass_views(struct graph *g, struct fvm_error *err) {
  return simplify(g, true, err);
}
