/* RMS normalisation, which exporters write in pieces, becomes RMSNormalization:
 *
 *   r = 1 / Sqrt(ReduceMean(x * x | x ^ 2) + epsilon);  x * r [* scale]
 *
 * in whatever order of products and divisions, the root being 1 / Sqrt, Reciprocal or a power.
 *
 * needs: shapes. keeps: shapes, topological order. breaks: nothing. */
#include "pass.h"

#include <string.h>

enum { MAX_FACTORS = 4, MAX_DEPTH = 3 };

struct rms {
  int x, axis, scale; /* scale: a tensor, or -1 */
  double epsilon;
};

static int input(const struct graph *g, int node, int k) { return node_at(g, node)->in.v[k]; }

/* ---- the root ---- */

/* t is ReduceMean(x * x) + epsilon: sets x, axis, epsilon. */
static bool match_mean(const struct graph *g, int t, struct rms *m) {
  int add = made_by(g, t, "Add");
  for (int k = 0; add >= 0 && k < 2; k++) {
    int mean = made_by(g, input(g, add, k), "ReduceMean");
    if (mean < 0 || !scalar_of(g, input(g, add, 1 - k), &m->epsilon)) continue;
    m->x = square_of(g, input(g, mean, 0));
    m->axis = mean_axis(g, node_at(g, mean));
    return m->x >= 0 && m->axis >= 0 &&
           same_dims(tensor_of(g, m->x), tensor_of(g, input(g, mean, 0)));
  }
  return false;
}

/* What t is the square root of, or -1. */
static int root_of(const struct graph *g, int t, double power) {
  double v;
  int p = made_by(g, t, "Pow");
  if (p >= 0) return scalar_of(g, input(g, p, 1), &v) && v == power ? input(g, p, 0) : -1;
  p = power == 0.5 ? made_by(g, t, "Sqrt") : -1;
  return p < 0 ? -1 : input(g, p, 0);
}

/* t is 1 / sqrt(mean + epsilon), or with `inverse` the root itself. */
static bool match_root(const struct graph *g, int t, bool inverse, struct rms *m) {
  double v;
  int mean = root_of(g, t, inverse ? 0.5 : -0.5);
  if (mean >= 0) return match_mean(g, mean, m);
  if (inverse) return false;
  int p = made_by(g, t, "Reciprocal"), d = made_by(g, t, "Div");
  if (p >= 0) return match_root(g, input(g, p, 0), true, m);
  return d >= 0 && scalar_of(g, input(g, d, 0), &v) && v == 1 &&
         match_root(g, input(g, d, 1), true, m);
}

/* Look for the root among the factors of t. */
static bool find_root(const struct graph *g, int t, int depth, struct rms *m) {
  if (match_root(g, t, false, m)) return true;
  int mul = made_by(g, t, "Mul"), div = made_by(g, t, "Div");
  if (depth == 0) return false;
  if (mul >= 0)
    return find_root(g, input(g, mul, 0), depth - 1, m) ||
           find_root(g, input(g, mul, 1), depth - 1, m);
  return div >= 0 &&
         (match_root(g, input(g, div, 1), true, m) || find_root(g, input(g, div, 0), depth - 1, m));
}

/* ---- the product ---- */

struct product {
  int factor[MAX_FACTORS], n; /* tensors besides x and the root */
  int roots, xs;              /* how often these occur */
};

static bool take_apart(const struct graph *g, int t, int depth, const struct rms *m,
                       struct product *p) {
  struct rms other;
  int mul = made_by(g, t, "Mul"), div = made_by(g, t, "Div");
  if (t == m->x) {
    p->xs++;
    return true;
  }
  if (match_root(g, t, false, &other) && other.x == m->x) {
    p->roots++;
    return true;
  }
  if (depth > 0 && mul >= 0)
    return take_apart(g, input(g, mul, 0), depth - 1, m, p) &&
           take_apart(g, input(g, mul, 1), depth - 1, m, p);
  if (depth > 0 && div >= 0 && match_root(g, input(g, div, 1), true, &other) && other.x == m->x) {
    p->roots++;
    return take_apart(g, input(g, div, 0), depth - 1, m, p);
  }
  if (p->n == MAX_FACTORS) return false;
  p->factor[p->n++] = t;
  return true;
}

/* Whether t has the dims of x from the axis on. */
static bool is_scale(const struct graph *g, int t, const struct rms *m) {
  const struct tensor *s = tensor_of(g, t), *x = tensor_of(g, m->x);
  int rank = x->rank - m->axis;
  if (s->dtype != x->dtype || s->rank > x->rank || s->rank < rank) return false;
  for (int i = 0; i < s->rank - rank; i++)
    if (s->dim[i] != 1) return false;
  return !memcmp(s->dim + s->rank - rank, x->dim + m->axis, (size_t)rank * sizeof *s->dim);
}

/* At the last product or division. */
static bool match(const struct rewrite *w, int i, struct rms *m) {
  const struct graph *g = w->g;
  const struct node *n = node_at(g, i);
  struct product p = {0};
  if (!is_op(n, "Mul") && !is_op(n, "Div")) return false;
  int y = n->out.v[0];
  if (w->uses[y] == 0 || tensor_of(g, y)->dtype != FVM_F32) return false;
  if (!find_root(g, y, MAX_DEPTH, m) || !take_apart(g, y, MAX_DEPTH, m, &p)) return false;
  if (p.xs != 1 || p.roots != 1 || p.n > 1) return false;
  m->scale = p.n ? p.factor[0] : -1;
  return same_dims(tensor_of(g, m->x), tensor_of(g, y)) &&
         (m->scale < 0 || is_scale(g, m->scale, m));
}

/* ---- replacement ---- */

static int ones(struct rewrite *w) {
  static const float one = 1;
  struct tensor t = {.dtype = FVM_F32, .rank = 1, .dim = {1}, .data = &one};
  return rewrite_constant(w, "rms.one", &t);
}

static bool replace(struct rewrite *w, int i, const struct rms *m) {
  int scale = m->scale < 0 ? ones(w) : m->scale;
  if (scale < 0 || !rewrite_node(w, i, "RMSNormalization", 2, (int[]){m->x, scale})) return false;
  struct attr *a = rewrite_attrs(w, i, 2);
  if (!a) return false;
  a[0] = (struct attr){.name = "axis", .kind = ATTR_INT, .i = m->axis};
  a[1] = (struct attr){.name = "epsilon", .kind = ATTR_FLOAT, .f = (float)m->epsilon};
  return true;
}

/* Later products first: with the scale a norm is one, without it would be a part. */
enum fvm_status pass_rms(struct graph *g, struct fvm_error *err) {
  struct rewrite w;
  struct rms m;
  enum fvm_status st = rewrite_begin(&w, g, err);
  if (st != FVM_OK) return st;
  bool ok = true;
  for (int i = (int)g->node.n - 1; ok && i >= 0; i--)
    if (match(&w, i, &m)) ok = replace(&w, i, &m);
  rewrite_end(&w);
  return ok ? FVM_OK : fvm_nomem(err);
}
