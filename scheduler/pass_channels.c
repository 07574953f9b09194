/* Scales and shifts of channels become a part of the weights beside them:
 *
 *   Conv -> BatchNormalization, Mul, Add, ...   Conv with other weights and another bias
 *   BatchNormalization, Mul, Add, ... -> Conv   the same; shifts only where nothing is padded
 *   BatchNormalization elsewhere                Mul -> Add, which go into bodies
 *
 * and so for ConvTranspose and Gemm.
 *
 * needs: shapes. keeps: shapes, topological order after a graph_compact. breaks: nothing. */
#include "pass.h"

#include <math.h>
#include <string.h>

/* y = x * scale[c] + shift[c] for each channel c; NULL: 1, 0. */
struct affine {
  int x;
  int64_t n;
  double *scale, *shift;
};

static bool is_float_constant(const struct graph *g, int t) {
  return t >= 0 && tensor_of(g, t)->data && tensor_of(g, t)->dtype == FVM_F32;
}

static float value(const struct graph *g, int t, int64_t i) {
  return ((const float *)tensor_of(g, t)->data)[i];
}

/* ---- what a node does to channels ---- */

/* Whether constant c, broadcast to y, has one value for each channel, or one for all. */
static bool is_vector(const struct graph *g, int c, const struct tensor *y, int axis) {
  if (!is_float_constant(g, c)) return false;
  const struct tensor *t = tensor_of(g, c);
  if (tensor_count(t) == 1) return t->rank <= y->rank;
  int at = axis - (y->rank - t->rank);
  return at >= 0 && tensor_count(t) == t->dim[at] && t->dim[at] == y->dim[axis];
}

static double *spread(const struct graph *g, int c, int64_t n, struct arena *a) {
  double *v = ARENA_NEW(a, double, n);
  bool one = tensor_count(tensor_of(g, c)) == 1;
  for (int64_t i = 0; v && i < n; i++) v[i] = (double)value(g, c, one ? 0 : i);
  return v;
}

static bool read_norm(const struct graph *g, const struct node *n, struct arena *a,
                      struct affine *f) {
  float eps = node_float(n, "epsilon", 1e-5f);
  if (node_int(n, "training_mode", 0) || n->in.n != 5) return false;
  for (size_t k = 1; k < 5; k++)
    if (!is_float_constant(g, n->in.v[k]) || tensor_count(tensor_of(g, n->in.v[k])) != f->n)
      return false;
  f->scale = ARENA_NEW(a, double, f->n);
  f->shift = ARENA_NEW(a, double, f->n);
  for (int64_t i = 0; f->scale && f->shift && i < f->n; i++) {
    f->scale[i] =
        (double)value(g, n->in.v[1], i) / sqrt((double)value(g, n->in.v[4], i) + (double)eps);
    f->shift[i] = (double)value(g, n->in.v[2], i) - (double)value(g, n->in.v[3], i) * f->scale[i];
  }
  return f->scale && f->shift;
}

/* An arithmetic node with a constant at input `at`. */
static bool read_arithmetic(const struct graph *g, const struct node *n, int at, struct arena *a,
                            struct affine *f) {
  double *v = spread(g, n->in.v[at], f->n, a),
         **to = is_op(n, "Mul") || is_op(n, "Div") ? &f->scale : &f->shift;
  if (!v) return false;
  for (int64_t i = 0; i < f->n; i++) {
    if (is_op(n, "Div")) v[i] = 1 / v[i];
    if (is_op(n, "Sub") && at == 1) v[i] = -v[i];
    if (!isfinite(v[i])) return false;
  }
  *to = v;
  if (!is_op(n, "Sub") || at == 1) return true;
  f->scale = ARENA_NEW(a, double, f->n);
  for (int64_t i = 0; f->scale && i < f->n; i++) f->scale[i] = -1;
  return f->scale;
}

/* Whether a node is such a thing over an axis of its result. False, too, when memory is out: a
 * chance is lost, and the next allocation will say so. */
static bool read_affine(const struct graph *g, const struct node *n, int axis, struct arena *a,
                        struct affine *f) {
  static const char *const ops[] = {"Mul", "Add", "Sub", "Div"};
  size_t op = 0;
  const struct tensor *y = n->out.n == 1 && n->out.v[0] >= 0 ? tensor_of(g, n->out.v[0]) : NULL;
  if (!y || y->dtype != FVM_F32 || axis >= y->rank) return false;
  *f = (struct affine){.x = n->in.v[0], .n = y->dim[axis]};
  if (is_op(n, "BatchNormalization")) return axis == 1 && read_norm(g, n, a, f);
  while (op < COUNT(ops) && !is_op(n, ops[op])) op++;
  if (op == COUNT(ops)) return false;
  for (int at = 1; at >= 0; at--) {
    f->x = n->in.v[1 - at];
    bool turned = at == 0 && is_op(n, "Div");
    if (!turned && is_vector(g, n->in.v[at], y, axis) && same_dims(tensor_of(g, f->x), y) &&
        !tensor_of(g, f->x)->data)
      return read_arithmetic(g, n, at, a, f);
  }
  return false;
}

/* ---- weights ---- */

/* A constant weight as [rows][cols][inner] with its channels. */
struct weights {
  int64_t cols, inner, groups, ins, outs; /* ins, outs: channels of all groups */
  enum { CONV, TRANSPOSED, COLUMNS, ROWS } kind;
};

/* Whether a node multiplies with a constant, and has one bias a channel or none. Products' weights
 * are large, and not worth a second copy for others that read them. */
static bool read_weights(const struct rewrite *w, const struct node *n, struct weights *v) {
  const struct graph *g = w->g;
  bool conv = is_op(n, "Conv"), transposed = is_op(n, "ConvTranspose"), gemm = is_op(n, "Gemm");
  if (!(conv || transposed || gemm) || !is_float_constant(g, n->in.v[1])) return false;
  const struct tensor *t = tensor_of(g, n->in.v[1]);
  int bias = n->in.n > 2 ? n->in.v[2] : -1;
  *v = (struct weights){.cols = t->dim[1], .inner = 1, .groups = node_int(n, "group", 1)};
  for (int i = 2; i < t->rank; i++) v->inner *= t->dim[i];
  if (gemm) {
    if (w->uses[n->in.v[1]] > 1) return false;
    bool turned = node_int(n, "transB", 0) != 0;
    v->kind = turned ? ROWS : COLUMNS;
    v->ins = t->dim[turned];
    v->outs = t->dim[!turned];
    if (node_int(n, "transA", 0) || node_float(n, "alpha", 1) != 1.0f ||
        node_float(n, "beta", 1) != 1.0f)
      return false;
  } else {
    v->kind = conv ? CONV : TRANSPOSED;
    v->ins = conv ? t->dim[1] * v->groups : t->dim[0];
    v->outs = conv ? t->dim[0] : t->dim[1] * v->groups;
  }
  return bias < 0 || (is_float_constant(g, bias) && tensor_count(tensor_of(g, bias)) == v->outs);
}

static void channels_of(const struct weights *v, int64_t e, int64_t *in, int64_t *out) {
  int64_t row = e / (v->cols * v->inner), col = e / v->inner % v->cols;
  *in = v->kind == CONV ? row / (v->outs / v->groups) * v->cols + col : v->kind == ROWS ? col : row;
  *out = v->kind == TRANSPOSED ? row / (v->ins / v->groups) * v->cols + col
         : v->kind == COLUMNS  ? col
                               : row;
}

static int new_floats(struct rewrite *w, const char *base, const struct tensor *like,
                      const float *v) {
  struct tensor t = *like;
  t.data = v;
  return v ? rewrite_tensor(w, base, &t) : -1;
}

/* New weights and a new bias, of a node whose input (before) or result is scaled and shifted. */
static bool change_weights(struct rewrite *w, int node, const struct weights *v,
                           const struct affine *f, bool before) {
  struct graph *g = w->g;
  const struct node old = *node_at(g, node);
  const struct tensor *t = tensor_of(g, old.in.v[1]);
  const struct tensor vector = {.dtype = FVM_F32, .rank = 1, .dim = {v->outs}};
  int64_t count = tensor_count(t), in, out;
  float *weight = ARENA_NEW(&g->arena, float, count), *bias = ARENA_NEW(&g->arena, float, v->outs);
  double *sum = ARENA_NEW(&w->arena, double, v->outs);
  int had = old.in.n > 2 ? old.in.v[2] : -1;
  if (!weight || !bias || !sum) return false;
  for (int64_t i = 0; i < v->outs; i++) {
    double scale = !before && f->scale ? f->scale[i] : 1;
    sum[i] = had >= 0 ? (double)value(g, had, i) * scale : 0;
    if (!before && f->shift) sum[i] += f->shift[i];
  }
  for (int64_t e = 0; e < count; e++) {
    channels_of(v, e, &in, &out);
    double x = (double)value(g, old.in.v[1], e);
    weight[e] = (float)(f->scale ? x * f->scale[before ? in : out] : x);
    if (before && f->shift) sum[out] += x * f->shift[in];
  }
  for (int64_t i = 0; i < v->outs; i++) bias[i] = (float)sum[i];
  bool has_bias = had >= 0 || f->shift;
  int x = old.in.v[0], wt = new_floats(w, g->tensor.v[old.in.v[1]].name, t, weight), b = -1;
  const char *name = arena_printf(&w->arena, "%s.bias", old.name);
  if (name && has_bias) b = new_floats(w, name, &vector, bias);
  if (wt < 0 || (has_bias && b < 0)) return false;
  if (!rewrite_node(w, node, old.op->name, has_bias ? 3 : 2, (int[]){x, wt, b})) return false;
  node_at(g, node)->attr = old.attr;
  node_at(g, node)->nattr = old.nattr;
  return true;
}

/* ---- changes ---- */

static int channel_axis(const struct graph *g, const struct node *n) {
  return is_op(n, "Gemm") ? tensor_of(g, n->out.v[0])->rank - 1 : 1;
}

/* What node i does to the result of a product that it alone reads. */
static bool fold_behind(struct rewrite *w, int i, bool *done) {
  struct graph *g = w->g;
  struct affine f;
  struct weights v;
  const struct node *n = node_at(g, i);
  for (size_t k = 0; k < MIN(n->in.n, (size_t)2); k++) {
    int t = n->in.v[k], p = t < 0 ? -1 : g->tensor.v[t].producer;
    if (p < 0 || only_user(w, t) != i || !read_weights(w, node_at(g, p), &v)) continue;
    if (!read_affine(g, n, channel_axis(g, node_at(g, p)), &w->arena, &f) || f.x != t ||
        f.n != v.outs)
      continue;
    *done = true;
    if (!change_weights(w, p, &v, &f, false)) return false;
    CHECK(rewrite_replace(w, n->out.v[0], t)); /* t is no output, being read by i alone */
    return true;
  }
  return true;
}

static bool pads_nothing(const struct node *n) {
  const struct attr *pads = node_attr(n, "pads"), *autos = node_attr(n, "auto_pad");
  for (int i = 0; pads && i < pads->n; i++)
    if (pads->ints[i]) return false;
  return !autos || !strcmp(autos->s, "NOTSET") || !strcmp(autos->s, "VALID");
}

/* What is done to the input of product i, which alone reads it. */
static bool fold_before(struct rewrite *w, int i, bool *done) {
  struct graph *g = w->g;
  struct affine f;
  struct weights v;
  const struct node *n = node_at(g, i);
  if (!read_weights(w, n, &v)) return true;
  int t = n->in.v[0], p = g->tensor.v[t].producer;
  if (p < 0 || only_user(w, t) != i || tensor_of(g, t)->rank < 2 ||
      !read_affine(g, node_at(g, p), 1, &w->arena, &f) || f.n != v.ins)
    return true;
  /* A shift of what a transposed convolution reads reaches its results unevenly, as with pads. */
  if (f.shift && (v.kind == TRANSPOSED || (v.kind == CONV && !pads_nothing(n)))) return true;
  *done = true;
  if (!change_weights(w, i, &v, &f, true)) return false;
  rewrite_input(w, i, 0, f.x);
  rewrite_kill(w, p);
  return true;
}

static int new_vector(struct rewrite *w, const char *base, const double *v, int64_t n, int rank) {
  struct tensor t = {.dtype = FVM_F32, .rank = rank - 1, .dim = {n}};
  float *f = ARENA_NEW(&w->g->arena, float, n);
  for (int k = 1; k < rank - 1; k++) t.dim[k] = 1;
  for (int64_t i = 0; f && i < n; i++) f[i] = (float)v[i];
  return new_floats(w, base, &t, f);
}

/* A normalisation that found no weights. */
static bool split_norm(struct rewrite *w, int i) {
  struct graph *g = w->g;
  struct affine f;
  const struct node *n = node_at(g, i);
  if (!is_op(n, "BatchNormalization") || !read_affine(g, n, 1, &w->arena, &f)) return true;
  const struct tensor y = *tensor_of(g, n->out.v[0]);
  const char *scale = arena_printf(&g->arena, "%s.scale", n->name);
  const char *shift = arena_printf(&g->arena, "%s.shift", n->name);
  if (!scale || !shift) return false;
  int a = new_vector(w, scale, f.scale, f.n, y.rank),
      b = new_vector(w, shift, f.shift, f.n, y.rank);
  int product = rewrite_tensor(w, scale, &y);
  if (a < 0 || b < 0 || product < 0 ||
      rewrite_add(w, scale, "Mul", 2, (int[]){f.x, a}, product) < 0)
    return false;
  return rewrite_node(w, i, "Add", 2, (int[]){product, b});
}

static bool change(struct rewrite *w, int i) {
  bool done = false;
  rewrite_refresh(w, i);
  if (node_at(w->g, i)->dead || node_at(w->g, i)->body) return true;
  bool ok = fold_behind(w, i, &done);
  for (bool more = !done; ok && more;) {
    more = false;
    ok = fold_before(w, i, &more);
  }
  return ok;
}

enum fvm_status pass_channels(struct graph *g, struct fvm_error *err) {
  enum fvm_status st = rewrite_each(g, change, err);
  return st ? st : rewrite_each(g, split_norm, err);
}
