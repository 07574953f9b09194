/* Windows over images in simpler words:
 *
 *   Pad(0) -> Conv, AveragePool              Conv, AveragePool with pads
 *   Pad(-inf) -> MaxPool                     MaxPool with pads
 *   a pool of one pixel                      nothing
 *   a pool of all pixels, Reduce over them   GlobalAveragePool, GlobalMaxPool
 *   Conv of all pixels, as of 1x1            Reshape -> Gemm -> activations -> Reshape
 *
 * The last one is what squeeze-and-excite and classifiers do to pooled images: products of a
 * vector.
 *
 * needs: shapes. keeps: shapes, topological order after a graph_compact. breaks: nothing. */
#include "pass.h"

#include "../kernels/reduce.h"
#include "../kernels/window.h"

#include <float.h>
#include <string.h>

/* The window of a node; false when it has none, or has it the operators refuse it. */
static bool window_of(const struct graph *g, int i, struct window *v) {
  const struct node *n = node_at(g, i);
  struct arena a = {0};
  struct opcall c;
  bool conv = is_op(n, "Conv"), pool = is_op(n, "MaxPool") || is_op(n, "AveragePool");
  bool ok = (conv || pool) && graph_opcall(g, i, &a, &c, NULL) == FVM_OK && c.in[0].rank > 2 &&
            window_init(v, &c, conv ? c.in[1].dim + 2 : NULL, NULL) == FVM_OK;
  arena_free(&a);
  return ok;
}

static bool pads_nothing(const struct window *v) {
  for (int k = 0; k < WINDOW_AXES; k++)
    if (v->lo[k] || v->hi[k]) return false;
  return true;
}

/* One window that takes every pixel once. */
static bool takes_all(const struct window *v) {
  for (int k = 0; k < WINDOW_AXES; k++)
    if (v->kernel[k] != v->in[k] || v->out[k] != 1 || (v->kernel[k] > 1 && v->dilation[k] != 1))
      return false;
  return pads_nothing(v);
}

/* ---- Pad ---- */

/* Constant integers of an input or an attribute; -1: there are none. */
static int read_ints(const struct graph *g, const struct node *n, size_t input, const char *name,
                     int64_t v[2 * FVM_MAXRANK]) {
  const struct attr *a = node_attr(n, name);
  int t = n->in.n > input ? n->in.v[input] : -1;
  const struct tensor *x = t >= 0 ? tensor_of(g, t) : NULL;
  int64_t count = x ? tensor_count(x) : a && a->kind == ATTR_INTS ? a->n : -1;
  const int64_t *from = x ? (x->dtype == FVM_I64 ? x->data : NULL) : a ? a->ints : NULL;
  if (!from || count < 1 || count > 2 * FVM_MAXRANK) return -1;
  memcpy(v, from, (size_t)count * sizeof *v);
  return (int)count;
}

/* Pads of the pixels' axes, all before and then all behind; the other axes get none. */
static bool read_pad(const struct graph *g, const struct node *n, int64_t pad[2 * FVM_MAXRANK]) {
  int64_t v[2 * FVM_MAXRANK] = {0}, axes[2 * FVM_MAXRANK] = {0};
  const struct attr *mode = node_attr(n, "mode");
  int rank = tensor_of(g, n->in.v[0])->rank, count = read_ints(g, n, 1, "pads", v);
  int naxes = n->in.n > 3 && n->in.v[3] >= 0 ? read_ints(g, n, 3, "axes", axes) : rank;
  if ((mode && strcmp(mode->s, "constant") != 0) || rank < 3 || naxes < 1 || count != 2 * naxes)
    return false;
  memset(pad, 0, 2 * FVM_MAXRANK * sizeof *pad);
  for (int i = 0; i < naxes; i++) {
    int64_t axis = naxes == rank && !(n->in.n > 3 && n->in.v[3] >= 0) ? i : axes[i];
    if (axis < 0) axis += rank;
    if (axis < 0 || axis >= rank || v[i] < 0 || v[naxes + i] < 0) return false;
    if (axis < 2 && (v[i] || v[naxes + i])) return false;
    if (axis < 2) continue;
    pad[axis - 2] = v[i];
    pad[rank - 2 + axis - 2] = v[naxes + i];
  }
  return true;
}

static bool pad_value(const struct graph *g, const struct node *n, double *v) {
  int t = n->in.n > 2 ? n->in.v[2] : -1;
  *v = (double)node_float(n, "value", 0);
  return t < 0 || scalar_of(g, t, v);
}

/* Whether what a Pad adds is what the node's own pads are. */
static bool pads_alike(const struct node *n, const struct window *v, double value) {
  if (node_int(n, "ceil_mode", 0)) return false;
  if (is_op(n, "Conv")) return value == 0;
  if (is_op(n, "MaxPool")) return value <= -(double)FLT_MAX;
  return value == 0 && (pads_nothing(v) || node_int(n, "count_include_pad", 0));
}

static bool fold_pad(struct rewrite *w, int i) {
  struct graph *g = w->g;
  struct window v;
  int64_t pad[2 * FVM_MAXRANK];
  double value;
  int p = window_of(g, i, &v) ? made_by(g, node_at(g, i)->in.v[0], "Pad") : -1;
  if (p < 0) return true;
  const struct node *n = node_at(g, i);
  const struct attr *autos = node_attr(n, "auto_pad");
  if (!read_pad(g, node_at(g, p), pad) || !pad_value(g, node_at(g, p), &value) ||
      !pads_alike(n, &v, value) ||
      (autos && strcmp(autos->s, "NOTSET") != 0 && strcmp(autos->s, "VALID") != 0))
    return true;
  int64_t *pads = ARENA_NEW(&g->arena, int64_t, 2 * v.nd);
  if (!pads) return false;
  for (int k = 0; k < v.nd; k++) {
    pads[k] = pad[k] + v.lo[WINDOW_AXES - v.nd + k];
    pads[v.nd + k] = pad[v.nd + k] + v.hi[WINDOW_AXES - v.nd + k];
  }
  rewrite_input(w, i, 0, node_at(g, p)->in.v[0]);
  if (is_op(n, "AveragePool") && !rewrite_set_int(w, i, "count_include_pad", 1)) return false;
  if (autos &&
      !rewrite_set(w, i, &(struct attr){.name = "auto_pad", .kind = ATTR_STRING, .s = "NOTSET"}))
    return false;
  return rewrite_set(
      w, i, &(struct attr){.name = "pads", .kind = ATTR_INTS, .n = 2 * v.nd, .ints = pads});
}

/* ---- pools ---- */

static bool simplify_pool(struct rewrite *w, int i) {
  struct window v;
  const struct node *n = node_at(w->g, i);
  int x = n->in.n ? n->in.v[0] : -1;
  if (is_op(n, "Conv") || n->out.n != 1 || !window_of(w->g, i, &v)) return true;
  if (window_is_point(&v) && rewrite_replace(w, n->out.v[0], x)) return true;
  if (!takes_all(&v)) return true;
  return rewrite_node(w, i, is_op(n, "MaxPool") ? "GlobalMaxPool" : "GlobalAveragePool", 1, &x);
}

/* Whether a node reduces an image [N,C,...] to one pixel. */
static bool reduces_pixels(const struct graph *g, int i) {
  const struct node *n = node_at(g, i);
  struct arena a = {0};
  struct opcall c;
  unsigned mask = 0;
  if ((!is_op(n, "ReduceMean") && !is_op(n, "ReduceMax")) || n->in.v[0] < 0) return false;
  int rank = tensor_of(g, n->in.v[0])->rank;
  bool ok = rank > 3 && tensor_of(g, n->in.v[0])->dtype == FVM_F32 &&
            graph_opcall(g, i, &a, &c, NULL) == FVM_OK && reduce_axes(&c, &mask, NULL) == FVM_OK &&
            mask == (1u << rank) - 4;
  arena_free(&a);
  return ok;
}

/* Let a node make a Reshape of what it made before; that is made as `like` by a node at the end.
 * Returns the tensor, or -1 when memory is out. */
static int shape_later(struct rewrite *w, int i, const struct tensor *like) {
  struct graph *g = w->g;
  struct node *n = node_at(g, i);
  int y = n->out.v[0], flat = rewrite_tensor(w, g->tensor.v[y].name, like);
  int dims = rewrite_ints(w, g->tensor.v[y].name, tensor_of(g, y)->rank, tensor_of(g, y)->dim);
  const char *name = arena_printf(&w->arena, "%s.pixel", n->name);
  if (flat < 0 || dims < 0 || !name) return -1;
  n->out.v[0] = flat;
  g->tensor.v[flat].producer = i;
  return rewrite_add(w, name, "Reshape", 2, (int[]){flat, dims}, y) < 0 ? -1 : flat;
}

static bool pool_from_reduce(struct rewrite *w, int i) {
  struct graph *g = w->g;
  const struct node *n = node_at(g, i);
  if (!reduces_pixels(g, i)) return true;
  int x = n->in.v[0];
  const char *op = is_op(n, "ReduceMax") ? "GlobalMaxPool" : "GlobalAveragePool";
  struct tensor pixel = *tensor_of(g, x);
  for (int k = 2; k < pixel.rank; k++) pixel.dim[k] = 1;
  if (!same_dims(&pixel, tensor_of(g, n->out.v[0])) && shape_later(w, i, &pixel) < 0) return false;
  return rewrite_node(w, i, op, 1, &x);
}

/* ---- products of pooled images ---- */

/* The only reader of t, if it works on each element by itself. */
static int next_activation(const struct rewrite *w, int t) {
  int i = only_user(w, t);
  if (i < 0) return -1;
  const struct node *n = node_at(w->g, i);
  if (!(n->op->flags & OPF_ELT) || n->body || n->out.n != 1 ||
      !same_dims(tensor_of(w->g, t), tensor_of(w->g, n->out.v[0])))
    return -1;
  for (size_t k = 0; k < n->in.n; k++) {
    const struct tensor *x = n->in.v[k] < 0 ? NULL : tensor_of(w->g, n->in.v[k]);
    if (x && n->in.v[k] != t && (!x->data || tensor_count(x) != 1 || x->rank > 2)) return -1;
  }
  return i;
}

static bool is_product(const struct graph *g, int i) {
  struct window v;
  const struct node *n = node_at(g, i);
  return is_op(n, "Conv") && node_int(n, "group", 1) == 1 && tensor_of(g, n->in.v[1])->data &&
         tensor_of(g, n->in.v[0])->dtype == FVM_F32 && window_of(g, i, &v) && takes_all(&v);
}

static struct tensor rows_of(const struct tensor *t) {
  struct tensor y = {.dtype = t->dtype, .rank = 2, .dim = {t->dim[0]}, .data = t->data};
  y.dim[1] = t->dim[0] ? tensor_count(t) / t->dim[0] : 0;
  return y;
}

/* What the activations behind make is shaped as an image again; they work on rows. */
static bool gemm_from_conv(struct rewrite *w, int i) {
  struct graph *g = w->g;
  if (!is_product(g, i)) return true;
  const struct node n = *node_at(g, i);
  struct tensor x = rows_of(tensor_of(g, n.in.v[0])), b = rows_of(tensor_of(g, n.in.v[1]));
  const struct tensor y = rows_of(tensor_of(g, n.out.v[0]));
  const char *name = arena_printf(&w->arena, "%s.row", n.name);
  if (!name) return false;
  int row = rewrite_tensor(w, name, &x), weights = rewrite_tensor(w, name, &b);
  int dims = rewrite_ints(w, name, 2, x.dim);
  if (row < 0 || weights < 0 || dims < 0 ||
      rewrite_add(w, name, "Reshape", 2, (int[]){n.in.v[0], dims}, row) < 0)
    return false;
  int in[] = {row, weights, n.in.n > 2 ? n.in.v[2] : -1}, last = i;
  for (int k; (k = next_activation(w, node_at(g, last)->out.v[0])) >= 0; last = k)
    *tensor_of(g, node_at(g, last)->out.v[0]) = y;
  if (!rewrite_node(w, i, "Gemm", in[2] < 0 ? 2 : 3, in) || !rewrite_set_int(w, i, "transB", 1))
    return false;
  return shape_later(w, last, &y) >= 0;
}

static bool change(struct rewrite *w, int i) {
  rewrite_refresh(w, i);
  if (node_at(w->g, i)->dead || node_at(w->g, i)->body) return true;
  return fold_pad(w, i) && simplify_pool(w, i) && pool_from_reduce(w, i) && gemm_from_conv(w, i);
}

enum fvm_status pass_windows(struct graph *g, struct fvm_error *err) {
  return rewrite_each(g, change, err);
}
