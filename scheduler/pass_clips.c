/* Bounds that exporters write in other words:
 *
 *   Min(Max(x, a), b), Min(Relu(x), b), Clip(Clip(x))   Clip(x, a, b)
 *   Clip(x + b, 0, 1 / a) * a, Clip(x * a + b, 0, 1)    HardSigmoid(x) alpha=a beta=b
 *
 * needs: shapes. keeps: shapes, topological order after a graph_compact. breaks: nothing. */
#include "pass.h"

#include <math.h>

bool clip_bounds(const struct graph *g, const struct node *n, double *low, double *high) {
  *low = (double)node_float(n, "min", -INFINITY);
  *high = (double)node_float(n, "max", INFINITY);
  if (n->in.n > 1 && n->in.v[1] >= 0 && !scalar_of(g, n->in.v[1], low)) return false;
  return n->in.n <= 2 || n->in.v[2] < 0 || scalar_of(g, n->in.v[2], high);
}

/* A node that holds its first input between two bounds. */
struct bounds {
  int x;
  double low, high;
};

static bool read_bounds(const struct graph *g, const struct node *n, struct bounds *b) {
  *b = (struct bounds){n->in.n ? n->in.v[0] : -1, -INFINITY, INFINITY};
  if (b->x < 0 || n->body || tensor_of(g, n->out.v[0])->dtype != FVM_F32) return false;
  if (is_op(n, "Relu")) b->low = 0;
  if (is_op(n, "Relu")) return true;
  if (is_op(n, "Clip")) return clip_bounds(g, n, &b->low, &b->high);
  if ((!is_op(n, "Min") && !is_op(n, "Max")) || n->in.n != 2) return false;
  for (int k = 0; k < 2; k++) {
    b->x = n->in.v[1 - k];
    if (scalar_of(g, n->in.v[k], is_op(n, "Min") ? &b->high : &b->low)) return true;
  }
  return false;
}

static int new_scalar(struct rewrite *w, const char *base, double v) {
  float f = (float)v;
  struct tensor t = {.dtype = FVM_F32, .data = &f};
  return isinf(v) ? -1 : rewrite_constant(w, base, &t);
}

/* Two bounds, one behind the other, as one. */
static bool merge_bounds(struct rewrite *w, int i) {
  struct graph *g = w->g;
  struct bounds outer, inner;
  const struct node *n = node_at(g, i);
  if (n->out.n != 1 || !read_bounds(g, n, &outer)) return true;
  int p = g->tensor.v[outer.x].producer;
  bool two = p >= 0 && only_user(w, outer.x) == i && read_bounds(g, node_at(g, p), &inner) &&
             inner.low <= outer.high && outer.low <= inner.high;
  if (!two || !same_dims(tensor_of(g, inner.x), tensor_of(g, n->out.v[0]))) return true;
  double low = fmax(outer.low, inner.low), high = fmin(outer.high, inner.high);
  const char *name = arena_printf(&w->arena, "%s.bound", n->name);
  if (!name) return false;
  int a = new_scalar(w, name, low), b = new_scalar(w, name, high);
  if ((a < 0 && !isinf(low)) || (b < 0 && !isinf(high))) return false;
  if (!rewrite_node(w, i, "Clip", 3, (int[]){inner.x, a, b})) return false;
  rewrite_kill(w, p);
  return true;
}

/* t = x * constant or x + constant: x, else -1. */
static int with_scalar(const struct graph *g, int t, const char *op, double *v) {
  int p = made_by(g, t, op);
  for (int k = 0; p >= 0 && k < 2; k++)
    if (scalar_of(g, node_at(g, p)->in.v[k], v)) return node_at(g, p)->in.v[1 - k];
  return -1;
}

/* Clip(u, 0, high) made by t's producer: u, else -1. */
static int clip_from_zero(const struct graph *g, int t, double *high) {
  int p = made_by(g, t, "Clip");
  double low;
  if (p < 0 || !clip_bounds(g, node_at(g, p), &low, high) || low != 0) return -1;
  return node_at(g, p)->in.v[0];
}

/* Clip(x + beta / alpha, 0, 1 / alpha) * alpha at a Mul or Div; Clip(x * alpha + beta, 0, 1). */
static int hard_sigmoid(const struct graph *g, int i, double *alpha, double *beta) {
  const struct node *n = node_at(g, i);
  double high = 1, shift;
  int t = -1, x;
  if (is_op(n, "Mul")) t = with_scalar(g, n->out.v[0], "Mul", alpha);
  if (is_op(n, "Div") && scalar_of(g, n->in.v[1], alpha) && *alpha != 0) {
    t = n->in.v[0];
    *alpha = 1 / *alpha;
  }
  if (t >= 0) {
    int u = clip_from_zero(g, t, &high);
    x = u < 0 ? -1 : with_scalar(g, u, "Add", &shift);
    *beta = x < 0 ? 0 : shift * *alpha;
    return x >= 0 && close_to(high * *alpha, 1) ? x : -1;
  }
  int u = is_op(n, "Clip") ? clip_from_zero(g, n->out.v[0], &high) : -1;
  int v = u < 0 || high != 1 ? -1 : with_scalar(g, u, "Add", beta);
  return v < 0 ? -1 : with_scalar(g, v, "Mul", alpha);
}

static bool change(struct rewrite *w, int i) {
  struct graph *g = w->g;
  double alpha = 0, beta = 0;
  if (node_at(g, i)->dead || node_at(g, i)->out.n != 1) return true;
  if (!merge_bounds(w, i)) return false;
  int x = hard_sigmoid(g, i, &alpha, &beta);
  if (x < 0 || !same_dims(tensor_of(g, x), tensor_of(g, node_at(g, i)->out.v[0]))) return true;
  if (!rewrite_node(w, i, "HardSigmoid", 1, &x)) return false;
  return rewrite_set(w, i,
                     &(struct attr){.name = "alpha", .kind = ATTR_FLOAT, .f = (float)alpha}) &&
         rewrite_set(w, i, &(struct attr){.name = "beta", .kind = ATTR_FLOAT, .f = (float)beta});
}

enum fvm_status pass_clips(struct graph *g, struct fvm_error *err) {
  return rewrite_each(g, change, err);
}
