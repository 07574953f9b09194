/* Activations that exporters write as products:
 *
 *   x * 0.5 * (1 + Erf(x / sqrt(2)))                              Gelu
 *   x * 0.5 * (1 + Tanh(sqrt(2 / pi) * (x + 0.044715 * x ^ 3)))   Gelu approximate="tanh"
 *   x * Sigmoid(x)                                                Silu
 *   x * HardSigmoid(x), x * Clip(x + 3, 0, 6) / 6                 HardSwish
 *
 * in whatever order: products are taken apart into their factors first.
 *
 * needs: shapes. keeps: shapes, topological order. breaks: nothing. */
#include "pass.h"

enum { MAX_FACTORS = 6, MAX_DEPTH = 6 };
struct product {
  double constant;
  int factor[MAX_FACTORS], n; /* tensors */
  int atom;                   /* tensor that stays a factor, though it may be a product */
};

static bool take_apart(const struct graph *g, int t, int depth, struct product *p);

static bool take_node(const struct graph *g, const struct node *n, int depth, struct product *p) {
  double v;
  if (is_op(n, "Mul"))
    return take_apart(g, n->in.v[0], depth + 1, p) && take_apart(g, n->in.v[1], depth + 1, p);
  if (is_op(n, "Div") && scalar_of(g, n->in.v[1], &v) && v != 0) {
    p->constant /= v;
    return take_apart(g, n->in.v[0], depth + 1, p);
  }
  if (is_op(n, "Pow") && scalar_of(g, n->in.v[1], &v) && (v == 2 || v == 3)) {
    for (int k = 0; k < (int)v; k++)
      if (!take_apart(g, n->in.v[0], depth + 1, p)) return false;
    return true;
  }
  return false;
}

/* Add the factors of t to the product; false when there are too many. */
static bool take_apart(const struct graph *g, int t, int depth, struct product *p) {
  double v;
  int made = t == p->atom ? -1 : g->tensor.v[t].producer;
  if (scalar_of(g, t, &v)) {
    p->constant *= v;
    return true;
  }
  struct product before = *p;
  if (made >= 0 && depth < MAX_DEPTH && take_node(g, node_at(g, made), depth, p)) return true;
  *p = before;
  if (p->n == MAX_FACTORS) return false;
  p->factor[p->n++] = t;
  return true;
}

static bool factors(const struct graph *g, int t, int atom, struct product *p) {
  *p = (struct product){.constant = 1, .atom = atom};
  return take_apart(g, t, 0, p);
}

/* Whether t is x ^ n * constant. */
static bool is_power(const struct graph *g, int t, int x, int n, double constant) {
  struct product p;
  if (!factors(g, t, x, &p) || p.n != n || !close_to(p.constant, constant)) return false;
  for (int i = 0; i < n; i++)
    if (p.factor[i] != x) return false;
  return true;
}

/* 1 + op(u): u, else -1. */
static int one_plus(const struct graph *g, int t, const char *op) {
  int add = made_by(g, t, "Add");
  double v;
  for (int k = 0; add >= 0 && k < 2; k++) {
    int p = made_by(g, node_at(g, add)->in.v[k], op);
    if (p >= 0 && scalar_of(g, node_at(g, add)->in.v[1 - k], &v) && v == 1)
      return node_at(g, p)->in.v[0];
  }
  return -1;
}

/* sqrt(2 / pi) * (x + 0.044715 * x ^ 3), or with x in front: x * (1 + 0.044715 * x ^ 2). */
static bool is_tanh_argument(const struct graph *g, int u, int x) {
  struct product p;
  double v = 0;
  if (!factors(g, u, x, &p) || !close_to(p.constant, 0.7978845608028654)) return false;
  if (p.n < 1 || p.n > 2 || (p.n == 2 && p.factor[0] != x && p.factor[1] != x)) return false;
  int sum = p.factor[p.n == 2 && p.factor[0] == x], add = made_by(g, sum, "Add");
  for (int k = 0; add >= 0 && k < 2; k++) {
    int one = node_at(g, add)->in.v[k], power = node_at(g, add)->in.v[1 - k];
    bool first = p.n == 1 ? one == x : scalar_of(g, one, &v) && v == 1;
    if (first && is_power(g, power, x, p.n == 1 ? 3 : 2, 0.044715)) return true;
  }
  return false;
}

/* Clip(x + 3, 0, 6) * constant or HardSigmoid of slope 1 / 6: its x, else -1. */
static int hard_gate(const struct graph *g, int f, double constant) {
  int gate = made_by(g, f, "HardSigmoid"), clip = made_by(g, f, "Clip");
  double low, high, three;
  if (gate >= 0)
    return constant == 1 && close_to((double)node_float(node_at(g, gate), "alpha", 0.2f), 1 / 6.) &&
                   node_float(node_at(g, gate), "beta", 0.5f) == 0.5f
               ? node_at(g, gate)->in.v[0]
               : -1;
  if (clip < 0 || !close_to(constant, 1 / 6.) || !clip_bounds(g, node_at(g, clip), &low, &high) ||
      low != 0 || high != 6)
    return -1;
  int add = made_by(g, node_at(g, clip)->in.v[0], "Add");
  for (int k = 0; add >= 0 && k < 2; k++)
    if (scalar_of(g, node_at(g, add)->in.v[k], &three) && three == 3)
      return node_at(g, add)->in.v[1 - k];
  return -1;
}

enum kind { NONE, GELU, GELU_TANH, SILU, HARD_SWISH };

/* What the tensor i makes as x * f(x) * constant. */
static enum kind kind_of(const struct graph *g, int i, int x, int f) {
  struct product p;
  int u = one_plus(g, f, "Erf"), sigmoid = made_by(g, f, "Sigmoid");
  if (!factors(g, i, x, &p) || p.n != 2) return NONE;
  if (!(p.factor[0] == x && p.factor[1] == f) && !(p.factor[0] == f && p.factor[1] == x))
    return NONE;
  if (hard_gate(g, f, p.constant) == x) return HARD_SWISH;
  if (sigmoid >= 0) return node_at(g, sigmoid)->in.v[0] == x && p.constant == 1 ? SILU : NONE;
  if (!close_to(p.constant, 0.5)) return NONE;
  if (u >= 0) return is_power(g, u, x, 1, 0.7071067811865476) ? GELU : NONE;
  u = one_plus(g, f, "Tanh");
  return u >= 0 && is_tanh_argument(g, u, x) ? GELU_TANH : NONE;
}

/* Tensors that the x of f(x) may be: what its argument is made of. */
static int candidates(const struct graph *g, int f, int *x) {
  struct product p;
  int n = 0, sigmoid = made_by(g, f, "Sigmoid"), u = one_plus(g, f, "Erf");
  if (sigmoid >= 0) x[n++] = node_at(g, sigmoid)->in.v[0];
  int hard = MAX(hard_gate(g, f, 1), hard_gate(g, f, 1 / 6.));
  if (hard >= 0) x[n++] = hard;
  int made = u < 0 ? -1 : g->tensor.v[u].producer;
  for (size_t k = 0; made >= 0 && k < MIN(node_at(g, made)->in.n, (size_t)2); k++)
    x[n++] = node_at(g, made)->in.v[k];
  u = one_plus(g, f, "Tanh");
  if (u < 0 || !factors(g, u, -1, &p)) return n;
  for (int i = 0; i < p.n; i++) {
    int add = made_by(g, p.factor[i], "Add");
    if (p.n > 1) x[n++] = p.factor[i];
    for (int k = 0; p.n == 1 && add >= 0 && k < 2; k++) x[n++] = node_at(g, add)->in.v[k];
  }
  return n;
}

static enum kind match(const struct graph *g, int i, int *x) {
  struct product p;
  const struct node *n = node_at(g, i);
  if ((!is_op(n, "Mul") && !is_op(n, "Div")) || !factors(g, n->out.v[0], -1, &p)) return NONE;
  for (int k = 0; k < p.n; k++) {
    int try[MAX_FACTORS + 4], count = candidates(g, p.factor[k], try);
    for (int j = 0; j < count; j++) {
      *x = try[j];
      enum kind kind = *x < 0 ? NONE : kind_of(g, n->out.v[0], *x, p.factor[k]);
      if (kind != NONE && same_dims(tensor_of(g, *x), tensor_of(g, n->out.v[0]))) return kind;
    }
  }
  return NONE;
}

static bool replace(struct rewrite *w, int i, enum kind kind, int x) {
  const char *op = kind == SILU ? "Silu" : kind == HARD_SWISH ? "HardSwish" : "Gelu";
  if (!rewrite_node(w, i, op, 1, &x)) return false;
  if (kind != GELU_TANH) return true;
  struct attr *a = rewrite_attrs(w, i, 1);
  if (a) *a = (struct attr){.name = "approximate", .kind = ATTR_STRING, .s = "tanh"};
  return a;
}

/* Every Erf was meant as a GELU, and so is a Tanh to which 1 is added: those that stay after the
 * sweep get their reason here. */
static void note_misses(const struct rewrite *w) {
  struct graph *g = w->g;
  for (int i = 0; i < (int)g->node.n; i++) {
    const struct node *n = node_at(g, i);
    if (n->dead || !(is_op(n, "Erf") || is_op(n, "Tanh"))) continue;
    int add = only_user(w, n->out.v[0]), x[MAX_FACTORS + 4];
    if (add >= 0 && one_plus(g, node_at(g, add)->out.v[0], n->op->name) < 0) add = -1;
    if (add < 0) {
      if (is_op(n, "Erf")) pass_miss(g, i, "Gelu", "1 is not added to it, or it is read elsewhere");
    } else if (candidates(g, node_at(g, add)->out.v[0], x) == 0) {
      pass_miss(g, i, "Gelu", "its argument '%.80s' is not made of one tensor and constants",
                g->tensor.v[n->in.v[0]].name);
    } else {
      pass_miss(g, i, "Gelu", "its constants or factors are not those of x * 0.5 * (1 + %s(..x..))",
                n->op->name);
    }
  }
}

enum fvm_status pass_gelu(struct graph *g, struct fvm_error *err) {
  struct rewrite w;
  enum kind kind;
  int x;
  enum fvm_status st = rewrite_begin(&w, g, err);
  if (st != FVM_OK) return st;
  bool ok = true;
  for (int i = 0; ok && i < (int)g->node.n; i++)
    if ((kind = match(g, i, &x)) != NONE) ok = replace(&w, i, kind, x);
  note_misses(&w);
  rewrite_end(&w);
  return ok ? FVM_OK : fvm_nomem(err);
}
