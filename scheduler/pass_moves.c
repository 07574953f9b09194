/* Data that is moved only to stay as it was, or to repeat, isn't moved:
 *
 *   Gather, Slice, ... with constant indices that take all elements in order    Reshape
 *   And(x, true), Add(x, 0), ... where the constant makes x larger              Expand(x)
 *   elementwise(Expand(x), Expand(y), c)     elementwise(x, y, c), or its Expand
 *   Reduce(Expand(x)) over axes of x         Expand(Reduce(x))
 *
 * Exporters write masks this way: a padding mask is gathered by an index that counts from 0, joined
 * with a constant, expanded to the scores and only then made a float.
 *
 * needs: shapes. keeps: shapes, topological order after a graph_compact. breaks: nothing. */
#include "pass.h"

#include "../kernels/reduce.h"

#include <string.h>

/* ---- moves in order ---- */

static bool is_mover(const struct graph *g, const struct node *n) {
  static const char *const movers[] = {"Gather", "GatherElements", "GatherND",     "Slice",
                                       "Tile",   "DepthToSpace",   "SpaceToDepth", NULL};
  const char *const *m = movers;
  while (*m && !is_op(n, *m)) m++;
  if (!*m || tensor_of(g, n->in.v[0])->data) return false;
  for (size_t k = 1; k < n->in.n; k++)
    if (n->in.v[k] >= 0 && !tensor_of(g, n->in.v[k])->data) return false;
  return tensor_count(tensor_of(g, n->in.v[0])) == tensor_count(tensor_of(g, n->out.v[0]));
}

/* Run the node on 0, 1, 2, ... to see where its elements come from. */
static enum fvm_status run_on_numbers(const struct graph *g, int i, struct arena *a,
                                      const int64_t **result, struct fvm_error *err) {
  struct opcall c;
  enum fvm_status st = graph_opcall(g, i, a, &c, err);
  if (st != FVM_OK) return st;
  int64_t n = tensor_count(&c.in[0]), *x = ARENA_NEW(a, int64_t, n), *y = ARENA_NEW(a, int64_t, n);
  const void **in = ARENA_NEW(a, const void *, c.nin);
  if (!x || !y || !in) return fvm_nomem(err);
  for (int64_t k = 0; k < n; k++) x[k] = k;
  c.in[0].dtype = c.out[0].dtype = FVM_I64;
  for (int k = 0; k < c.nin; k++) in[k] = k ? c.in[k].data : x;
  *result = y;
  return opcall_ref(&c, in, (void *[]){y}, err);
}

static enum fvm_status keeps_order(const struct graph *g, int i, bool *keeps,
                                   struct fvm_error *err) {
  /* Indices of more are no mask's. */
  enum { MAX_COUNT = 1 << 22 };
  struct arena a = {0};
  const int64_t *from = NULL;
  struct fvm_error outside = {0};
  int64_t n = tensor_count(tensor_of(g, node_at(g, i)->out.v[0])), k = 0;
  *keeps = false;
  if (n > MAX_COUNT) return FVM_OK;
  enum fvm_status st = run_on_numbers(g, i, &a, &from, &outside);
  while (st == FVM_OK && k < n && from[k] == k) k++;
  *keeps = st == FVM_OK && k == n;
  arena_free(&a);
  /* An index that is out of range fails at run time, as it would have. */
  return st == FVM_ENOMEM ? fvm_nomem(err) : FVM_OK;
}

/* ---- repetition after the work ---- */

static int dims_of(struct rewrite *w, int t) {
  const struct gtensor *x = &w->g->tensor.v[t];
  return rewrite_ints(w, x->name, x->t.rank, x->t.dim);
}

static bool make_expand(struct rewrite *w, int i, int x) {
  int dims = dims_of(w, node_at(w->g, i)->out.v[0]);
  return dims >= 0 && rewrite_node(w, i, "Expand", 2, (int[]){x, dims});
}

/* t, or what it repeats. */
static int before_expand(const struct graph *g, int t) {
  int p = made_by(g, t, "Expand");
  return p < 0 ? t : node_at(g, p)->in.v[0];
}

static bool is_elementwise(const struct node *n) {
  return (n->op->flags & OPF_ELT) && !n->body && n->out.n == 1;
}

/* A reduction of an Expand that takes only axes which that left alone. */
static bool is_reduction(const struct graph *g, int i, struct arena *a) {
  const struct node *n = node_at(g, i);
  struct opcall c;
  unsigned mask;
  if (strncmp(n->op->name, "Reduce", 6) != 0 || graph_opcall(g, i, a, &c, NULL) != FVM_OK ||
      reduce_axes(&c, &mask, NULL) != FVM_OK)
    return false;
  const struct tensor *x = tensor_of(g, before_expand(g, n->in.v[0])), *y = &c.in[0];
  if (x->rank != y->rank) return false;
  for (int k = 0; k < x->rank; k++)
    if ((mask >> k & 1) && x->dim[k] != y->dim[k]) return false;
  return true;
}

/* The node's own result when it reads what was expanded before that. */
static bool result_before(const struct graph *g, int i, struct arena *a, struct tensor *out) {
  const struct node *n = node_at(g, i);
  struct opcall c;
  if (!is_elementwise(n) && !is_reduction(g, i, a)) return false;
  if (graph_opcall(g, i, a, &c, NULL) != FVM_OK) return false;
  bool any = false;
  for (int k = 0; k < c.nin; k++) {
    int x = before_expand(g, n->in.v[k]);
    any = any || x != n->in.v[k];
    if (x >= 0) c.in[k] = *tensor_of(g, x);
  }
  if (!any || opcall_shape(&c, NULL) != FVM_OK) return false;
  *out = c.out[0];
  out->data = NULL;
  return true;
}

/* The node's work on what was expanded, under its name; the node itself expands the result. */
static bool work_before(struct rewrite *w, int i, const struct tensor *out) {
  struct graph *g = w->g;
  const struct node n = *node_at(g, i);
  int y = n.out.v[0], in[8];
  if (n.in.n > COUNT(in)) return true;
  for (size_t k = 0; k < n.in.n; k++) in[k] = before_expand(g, n.in.v[k]);
  int small = rewrite_tensor(w, g->tensor.v[y].name, out);
  int work = small < 0 ? -1 : rewrite_add(w, n.name, n.op->name, (int)n.in.n, in, small);
  if (work < 0) return false;
  node_at(g, work)->attr = n.attr;
  node_at(g, work)->nattr = n.nattr;
  const char *name = arena_printf(&g->arena, "%s.expand", n.name);
  if (!name || !make_expand(w, i, small)) return false;
  node_at(g, i)->name = name;
  return true;
}

static bool expand_later(struct rewrite *w, int i) {
  struct graph *g = w->g;
  const struct node *n = node_at(g, i);
  struct arena a = {0};
  struct tensor out;
  bool found = result_before(g, i, &a, &out);
  arena_free(&a);
  if (!found) return true;
  if (!same_dims(&out, tensor_of(g, n->out.v[0]))) return work_before(w, i, &out);
  for (size_t k = 0; k < n->in.n; k++)
    if (n->in.v[k] >= 0) rewrite_input(w, i, (int)k, before_expand(g, n->in.v[k]));
  return true;
}

/* ---- all ---- */

/* What a neutral constant only makes larger. */
static int made_larger(const struct graph *g, const struct node *n) {
  int x = n->in.n == 2 ? neutral_rest(g, n) : -1;
  if (x < 0 || tensor_of(g, x)->dtype != tensor_of(g, n->out.v[0])->dtype) return -1;
  return same_dims(tensor_of(g, x), tensor_of(g, n->out.v[0])) ? -1 : x;
}

static enum fvm_status change(struct rewrite *w, int i) {
  struct graph *g = w->g;
  const struct node *n = node_at(g, i);
  bool keeps = false;
  if (n->dead || n->in.n < 1 || n->in.v[0] < 0 || n->out.v[0] < 0) return FVM_OK;
  if (is_mover(g, n)) {
    enum fvm_status st = keeps_order(g, i, &keeps, w->err);
    if (st != FVM_OK || !keeps) return st;
    int dims = dims_of(w, n->out.v[0]);
    bool ok = dims >= 0 && rewrite_node(w, i, "Reshape", 2, (int[]){n->in.v[0], dims});
    return ok ? FVM_OK : fvm_nomem(w->err);
  }
  int x = is_op(n, "Expand") ? before_expand(g, n->in.v[0]) : -1;
  if (x >= 0) {
    rewrite_input(w, i, 0, x);
    return FVM_OK;
  }
  x = made_larger(g, n);
  return (x >= 0 ? make_expand(w, i, x) : expand_later(w, i)) ? FVM_OK : fvm_nomem(w->err);
}

enum fvm_status pass_moves(struct graph *g, struct fvm_error *err) {
  struct rewrite w;
  enum fvm_status st = rewrite_begin(&w, g, err);
  int n = (int)g->node.n;
  for (int i = 0; st == FVM_OK && i < n; i++) st = change(&w, i);
  rewrite_end(&w);
  return st;
}
