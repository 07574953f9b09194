/* Layer normalisation as exporters before opset 17 write it becomes LayerNormalization:
 *
 *   d = x - ReduceMean(x);  v = ReduceMean(d * d | d ^ 2);  d / Sqrt(v + epsilon) * scale [+ bias]
 *
 * needs: shapes. keeps: shapes, topological order. breaks: nothing. */
#include "pass.h"

#include <string.h>

/* One input of a binary node is made by op: its node, and the other input in *rest. -1: neither. */
static int side_made_by(const struct graph *g, const struct node *n, const char *op, int *rest) {
  for (int k = 0; k < 2; k++) {
    int p = made_by(g, n->in.v[k], op);
    *rest = n->in.v[1 - k];
    if (p >= 0) return p;
  }
  return -1;
}

int mean_axis(const struct graph *g, const struct node *n) {
  const struct tensor *x = tensor_of(g, n->in.v[0]), *y = tensor_of(g, n->out.v[0]);
  if (x->rank != y->rank) return -1;
  const struct attr *a = node_attr(n, "axes");
  const struct tensor *t = n->in.n > 1 && n->in.v[1] >= 0 ? tensor_of(g, n->in.v[1]) : NULL;
  int64_t count = a ? a->n : t ? tensor_count(t) : 0;
  const int64_t *axes = a ? a->ints : t ? t->data : NULL;
  if (count < 1 || count > x->rank || !axes) return -1;
  int first = x->rank - (int)count;
  unsigned mask = 0;
  for (int64_t i = 0; i < count; i++) {
    int64_t axis = axes[i] < 0 ? axes[i] + x->rank : axes[i];
    if (axis >= first && axis < x->rank) mask |= 1u << axis;
  }
  return mask == (1u << x->rank) - (1u << first) ? first : -1;
}

int square_of(const struct graph *g, int t) {
  double v;
  int p = made_by(g, t, "Mul");
  if (p >= 0) return node_at(g, p)->in.v[0] == node_at(g, p)->in.v[1] ? node_at(g, p)->in.v[0] : -1;
  p = made_by(g, t, "Pow");
  return p >= 0 && scalar_of(g, node_at(g, p)->in.v[1], &v) && v == 2 ? node_at(g, p)->in.v[0] : -1;
}

struct norm {
  int x, axis;
  double epsilon;
};

/* d / Sqrt(ReduceMean(d * d) + epsilon) with d = x - ReduceMean(x), at the division. */
static bool match_division(struct graph *g, int div, struct norm *m) {
  const struct node *n = node_at(g, div);
  int sqrt = made_by(g, n->in.v[1], "Sqrt"), rest;
  int add = sqrt < 0 ? -1 : made_by(g, node_at(g, sqrt)->in.v[0], "Add");
  int var = add < 0 ? -1 : side_made_by(g, node_at(g, add), "ReduceMean", &rest);
  if (var < 0) return false;
#define MISS(...) pass_miss(g, div, "LayerNormalization", __VA_ARGS__)
  if (!scalar_of(g, rest, &m->epsilon)) return MISS("what is added to the variance is no constant");
  int sub = made_by(g, n->in.v[0], "Sub");
  int d = square_of(g, node_at(g, var)->in.v[0]);
  if (d >= 0 && made_by(g, d, "Sub") < 0) return false; /* an RMS normalisation */
  if (sub < 0 || d != n->in.v[0])
    return MISS("it does not divide the differences whose squares '%.80s' takes the mean of",
                node_at(g, var)->name);
  int mean = made_by(g, node_at(g, sub)->in.v[1], "ReduceMean");
  m->x = node_at(g, sub)->in.v[0];
  if (mean < 0 || node_at(g, mean)->in.v[0] != m->x)
    return MISS("'%.80s' does not subtract the mean of its own input", node_at(g, sub)->name);
  m->axis = mean_axis(g, node_at(g, mean));
  if (m->axis >= 0 && mean_axis(g, node_at(g, var)) == m->axis) return true;
  return MISS("mean and variance are not over the same last axes, which stay as 1");
#undef MISS
}

/* Whether t has the dims of x from an axis on. */
static bool is_parameter(const struct graph *g, int t, const struct norm *m) {
  const struct tensor *p = tensor_of(g, t), *x = tensor_of(g, m->x);
  return p->dtype == x->dtype && p->rank == x->rank - m->axis &&
         !memcmp(p->dim, x->dim + m->axis, (size_t)p->rank * sizeof *p->dim);
}

/* At the product with the scale, or at the sum with the bias if that alone reads it. */
static bool replace(struct rewrite *w, int mul, const struct norm *m, int scale) {
  struct graph *g = w->g;
  int add = only_user(w, node_at(g, mul)->out.v[0]), at = mul, bias = -1;
  if (add >= 0 && is_op(node_at(g, add), "Add")) {
    const struct node *n = node_at(g, add);
    int t = n->in.v[0] == node_at(g, mul)->out.v[0] ? n->in.v[1] : n->in.v[0];
    if (is_parameter(g, t, m)) at = add, bias = t;
  }
  if (!rewrite_node(w, at, "LayerNormalization", bias < 0 ? 2 : 3, (int[]){m->x, scale, bias}))
    return false;
  struct attr *a = rewrite_attrs(w, at, 2);
  if (!a) return false;
  a[0] = (struct attr){.name = "axis", .kind = ATTR_INT, .i = m->axis};
  a[1] = (struct attr){.name = "epsilon", .kind = ATTR_FLOAT, .f = (float)m->epsilon};
  return true;
}

/* At the Mul with the scale. */
static bool change(struct rewrite *w, int i) {
  struct graph *g = w->g;
  struct norm m;
  int scale, div = is_op(node_at(g, i), "Mul") ? side_made_by(g, node_at(g, i), "Div", &scale) : -1;
  if (div < 0 || !match_division(g, div, &m)) return true;
  if (is_parameter(g, scale, &m)) return replace(w, i, &m, scale);
  pass_miss(g, div, "LayerNormalization", "its scale '%.80s' has not the shape of the last axes",
            g->tensor.v[scale].name);
  return true;
}

enum fvm_status pass_norm(struct graph *g, struct fvm_error *err) {
  return rewrite_each(g, change, err);
}
