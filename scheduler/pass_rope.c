/* Rotary position embedding becomes FusedRope:
 *
 *   x * cos + Concat(-x2, x1) * sin               x1, x2: halves of x's last axis
 *   Concat(x1 * cos - x2 * sin, x2 * cos + x1 * sin)
 *   Concat(rope of the first columns of x, the other columns)
 *
 * by Slices or Splits. A Transpose of heads in front of it goes, since the operator reads rows as
 * they are. cos and sin may be constants or computed, once for both halves.
 *
 * needs: shapes. keeps: shapes, topological order after a graph_compact. breaks: nothing. */
#include "pass.h"

#include "../kernels/rope.h"

#include <string.h>

struct rope_match {
  int x, cos, sin; /* tensors */
  int64_t heads, rotary;
  enum rope_form from, to;
};

static int input(const struct graph *g, int node, int k) { return node_at(g, node)->in.v[k]; }

static int64_t last_dim(const struct graph *g, int t) {
  const struct tensor *x = tensor_of(g, t);
  return x->rank > 0 ? x->dim[x->rank - 1] : -1;
}

/* ---- pieces of the last axis ---- */

/* Some columns of a tensor. */
struct piece {
  int of;
  int64_t first, n;
};

/* Element of a constant list of one integer. */
static bool one_int(const struct graph *g, int t, int64_t *v) {
  const struct tensor *x = t < 0 ? NULL : tensor_of(g, t);
  if (!x || !x->data || tensor_count(x) != 1) return false;
  if (x->dtype == FVM_I64) *v = *(const int64_t *)x->data;
  if (x->dtype == FVM_I32) *v = *(const int32_t *)x->data;
  return x->dtype == FVM_I64 || x->dtype == FVM_I32;
}

/* A Slice of the last axis alone, by step 1. */
static bool slice_piece(const struct graph *g, int node, struct piece *p) {
  const struct node *n = node_at(g, node);
  int64_t axis = 0, step = 1, first;
  if (n->in.n < 4 || !one_int(g, n->in.v[1], &first) || !one_int(g, n->in.v[3], &axis))
    return false;
  if (n->in.n > 4 && n->in.v[4] >= 0 && !one_int(g, n->in.v[4], &step)) return false;
  int rank = tensor_of(g, n->in.v[0])->rank;
  if (step != 1 || (axis != -1 && axis != rank - 1)) return false;
  int64_t all = last_dim(g, n->in.v[0]);
  if (first < 0) first = MAX(first + all, 0);
  *p = (struct piece){n->in.v[0], MIN(first, all), last_dim(g, n->out.v[0])};
  return true;
}

static bool split_piece(const struct graph *g, int node, int t, struct piece *p) {
  const struct node *n = node_at(g, node);
  int64_t axis = node_int(n, "axis", 0);
  if (axis != -1 && axis != tensor_of(g, n->in.v[0])->rank - 1) return false;
  *p = (struct piece){.of = n->in.v[0]};
  for (size_t k = 0; k < n->out.n; k++) {
    if (n->out.v[k] < 0) return false;
    if (n->out.v[k] == t) {
      p->n = last_dim(g, t);
      return true;
    }
    p->first += last_dim(g, n->out.v[k]);
  }
  return false;
}

/* What columns t is; all of itself when it is nothing else. */
static struct piece piece_of(const struct graph *g, int t) {
  struct piece p = {t, 0, last_dim(g, t)};
  int slice = made_by(g, t, "Slice"), split = made_by(g, t, "Split");
  if (slice >= 0 && slice_piece(g, slice, &p)) return p;
  if (split >= 0 && split_piece(g, split, t, &p)) return p;
  return (struct piece){t, 0, last_dim(g, t)};
}

/* a and b are the first and the second half of x. */
static bool is_halves(const struct graph *g, int a, int b, int *x) {
  struct piece p = piece_of(g, a), q = piece_of(g, b);
  *x = p.of;
  return p.of == q.of && a != p.of && p.first == 0 && q.first == p.n && q.n == p.n &&
         2 * p.n == last_dim(g, p.of);
}

/* Concat of two on the last axis. */
static bool two_columns(const struct graph *g, int node, int *a, int *b) {
  const struct node *n = node_at(g, node);
  if (!is_op(n, "Concat") || n->in.n != 2) return false;
  int64_t axis = node_int(n, "axis", 0);
  *a = n->in.v[0];
  *b = n->in.v[1];
  return axis == -1 || axis == tensor_of(g, n->out.v[0])->rank - 1;
}

/* t is -x: x, else -1. */
static int negated(const struct graph *g, int t) {
  int neg = made_by(g, t, "Neg"), mul = made_by(g, t, "Mul");
  double v;
  if (neg >= 0) return input(g, neg, 0);
  for (int k = 0; mul >= 0 && k < 2; k++)
    if (scalar_of(g, input(g, mul, k), &v) && v == -1) return input(g, mul, 1 - k);
  return -1;
}

/* t is Concat(-x2, x1) of the halves of x. */
static bool is_rotated(const struct graph *g, int t, int *x) {
  int p = made_by(g, t, "Concat"), a, b;
  if (p < 0 || !two_columns(g, p, &a, &b)) return false;
  a = negated(g, a);
  return a >= 0 && is_halves(g, b, a, x);
}

/* ---- the forms ---- */

/* x * cos + rotated(x) * sin, at the sum. */
static bool match_sum(const struct graph *g, int i, struct rope_match *m) {
  const struct node *n = node_at(g, i);
  for (int k = 0; is_op(n, "Add") && k < 2; k++) {
    int turned = made_by(g, n->in.v[k], "Mul"), straight = made_by(g, n->in.v[1 - k], "Mul");
    if (turned < 0 || straight < 0) return false;
    for (int j = 0; j < 2; j++) {
      if (!is_rotated(g, input(g, turned, j), &m->x)) continue;
      m->sin = input(g, turned, 1 - j);
      bool first = input(g, straight, 0) == m->x;
      if (!first && input(g, straight, 1) != m->x) return false;
      m->cos = input(g, straight, first);
      return true;
    }
  }
  return false;
}

/* t is a * f, in either order: f, else -1. */
static int factor_of(const struct graph *g, int t, int a) {
  int p = made_by(g, t, "Mul");
  if (p < 0) return -1;
  return input(g, p, 0) == a ? input(g, p, 1) : input(g, p, 1) == a ? input(g, p, 0) : -1;
}

/* t is x1 * a - x2 * b (or + with `op` Add): a and b. */
static bool is_mix(const struct graph *g, int t, const char *op, int x1, int x2, int *a, int *b) {
  int p = made_by(g, t, op);
  if (p < 0) return false;
  for (int k = 0; k < (op[0] == 'A' ? 2 : 1); k++) {
    *a = factor_of(g, input(g, p, k), x1);
    *b = factor_of(g, input(g, p, 1 - k), x2);
    if (*a >= 0 && *b >= 0) return true;
  }
  return false;
}

/* Concat(x1 * cos - x2 * sin, x2 * cos + x1 * sin), at the Concat. */
static bool match_concat(const struct graph *g, int i, struct rope_match *m) {
  int a, b, cos, sin;
  if (!two_columns(g, i, &a, &b)) return false;
  int sub = made_by(g, a, "Sub");
  for (int k = 0; sub >= 0 && k < 4; k++) {
    int p = made_by(g, input(g, sub, 0), "Mul"), q = made_by(g, input(g, sub, 1), "Mul");
    if (p < 0 || q < 0) return false;
    int x1 = input(g, p, k & 1), x2 = input(g, q, k >> 1);
    if (!is_halves(g, x1, x2, &m->x)) continue;
    return is_mix(g, a, "Sub", x1, x2, &m->cos, &m->sin) &&
           is_mix(g, b, "Add", x2, x1, &cos, &sin) && cos == m->cos && sin == m->sin;
  }
  return false;
}

/* ---- shapes ---- */

/* Whether an angle [b, .., s, columns] goes with rows of x in the form. */
static bool angle_fits(const struct graph *g, int t, const struct rope_match *m) {
  const struct tensor *a = tensor_of(g, t), *x = tensor_of(g, m->x);
  int64_t dim[4] = {1, 1, 1, 1}, columns = last_dim(g, m->x);
  if (a->dtype != FVM_F32 || a->rank < 1 || a->rank > 4) return false;
  for (int k = 0; k < a->rank; k++) dim[4 - a->rank + k] = a->dim[k];
  int head = m->from == ROPE_HEADS ? 1 : 2, row = 3 - head;
  return dim[head] == 1 && (dim[0] == 1 || dim[0] == x->dim[0]) &&
         (dim[row] == 1 || dim[row] == x->dim[row]) && (dim[3] == columns || dim[3] == columns / 2);
}

static bool find_form(const struct graph *g, int y, struct rope_match *m) {
  const struct tensor *x = tensor_of(g, m->x);
  if (x->dtype != FVM_F32 || x->rank != 4 || !same_dims(x, tensor_of(g, y))) return false;
  for (m->from = ROPE_HEADS; m->from <= ROPE_ROWS; m->from++) {
    m->to = m->from;
    m->heads = x->dim[m->from == ROPE_HEADS ? 1 : 2];
    m->rotary = x->dim[3];
    if (angle_fits(g, m->cos, m) && angle_fits(g, m->sin, m)) return true;
  }
  return false;
}

/* ---- replacement ---- */

static bool make(struct rewrite *w, int i, const struct rope_match *m) {
  if (!rewrite_node(w, i, "FusedRope", 3, (int[]){m->x, m->cos, m->sin})) return false;
  struct attr *a = rewrite_attrs(w, i, 4);
  if (!a) return false;
  a[0] = (struct attr){.name = "heads", .kind = ATTR_INT, .i = m->heads};
  a[1] = (struct attr){.name = "rotary", .kind = ATTR_INT, .i = m->rotary};
  a[2] = (struct attr){.name = "from", .kind = ATTR_INT, .i = m->from};
  a[3] = (struct attr){.name = "to", .kind = ATTR_INT, .i = m->to};
  return true;
}

/* A FusedRope as a match again. */
static bool read_back(const struct graph *g, int node, struct rope_match *m) {
  const struct node *n = node_at(g, node);
  if (!is_op(n, "FusedRope")) return false;
  *m = (struct rope_match){.x = n->in.v[0],
                           .cos = n->in.v[1],
                           .sin = n->in.v[2],
                           .heads = node_int(n, "heads", 1),
                           .rotary = node_int(n, "rotary", 0),
                           .from = (enum rope_form)node_int(n, "from", 0),
                           .to = (enum rope_form)node_int(n, "to", 0)};
  return true;
}

/* Concat(rope of x[:rotary], x[rotary:]): the rope of x, at the Concat. */
static bool match_partial(const struct graph *g, int i, struct rope_match *m) {
  int a, b;
  if (!two_columns(g, i, &a, &b) || tensor_of(g, a)->rank != 4) return false;
  int p = g->tensor.v[a].producer;
  if (p < 0 || !read_back(g, p, m)) return false;
  struct piece turns = piece_of(g, m->x), rest = piece_of(g, b);
  if (turns.of == m->x || turns.of != rest.of || turns.first != 0 || rest.first != turns.n ||
      turns.n + rest.n != last_dim(g, turns.of) || m->from == ROPE_FLAT)
    return false;
  m->x = turns.of;
  return true;
}

/* ---- what lies in front of it ---- */

/* [B,H,S,D] that is a transposed [B,S,H,D] is read there, and as [B,S,H*D] when it was that. */
static bool look_through(const struct graph *g, struct rope_match *m) {
  int swap = m->from == ROPE_HEADS ? made_by(g, m->x, "Transpose") : -1;
  if (swap >= 0 && swaps_heads(node_at(g, swap))) {
    m->x = input(g, swap, 0);
    m->from = ROPE_ROWS;
  }
  int p = m->from == ROPE_ROWS ? made_by(g, m->x, "Reshape") : -1;
  if (p < 0) return swap >= 0 && m->from == ROPE_ROWS;
  const struct tensor *x = tensor_of(g, m->x), *flat = tensor_of(g, input(g, p, 0));
  if (flat->rank != 3 || flat->dim[0] != x->dim[0] || flat->dim[1] != x->dim[1])
    return m->from == ROPE_ROWS;
  m->x = input(g, p, 0);
  m->from = ROPE_FLAT;
  return true;
}

/* ---- angles ----
 *
 * Exporters repeat the angles for both halves: Cos(Concat(f, f)). Half of that is enough. */

enum { UNKNOWN = -3, NO_MEMORY = -2, NOT_HALVES = -1 };

/* For each tensor, what stands for its first half when the second one is equal, or one of these. */
struct halves {
  struct rewrite *w;
  int *of;
};

/* A new node that makes the first half of t. */
static int half_by(struct halves *h, int t, const char *op, int n, const int *in) {
  struct tensor y = *tensor_of(h->w->g, t);
  const char *name = h->w->g->tensor.v[t].name;
  y.dim[y.rank - 1] /= 2;
  int out = rewrite_tensor(h->w, name, &y);
  return out >= 0 && rewrite_add(h->w, name, op, n, in, out) >= 0 ? out : NO_MEMORY;
}

static int half_of(struct halves *h, int t, int depth);

/* Of a product with one number. */
static int half_product(struct halves *h, int t, int mul, int depth) {
  const struct graph *g = h->w->g;
  double v;
  for (int k = 0; k < 2; k++) {
    int number = input(g, mul, 1 - k);
    if (!scalar_of(g, number, &v) || last_dim(g, input(g, mul, k)) != last_dim(g, t)) continue;
    int x = half_of(h, input(g, mul, k), depth);
    return x < 0 ? x : half_by(h, t, "Mul", 2, (int[]){x, number});
  }
  return NOT_HALVES;
}

static int half_view(struct halves *h, int t, int view, int depth) {
  if (last_dim(h->w->g, input(h->w->g, view, 0)) != last_dim(h->w->g, t)) return NOT_HALVES;
  int x = half_of(h, input(h->w->g, view, 0), depth);
  if (x < 0) return x;
  struct tensor y = *tensor_of(h->w->g, t);
  y.dim[y.rank - 1] /= 2;
  int dims = rewrite_ints(h->w, h->w->g->tensor.v[t].name, y.rank, y.dim);
  return dims < 0 ? NO_MEMORY : half_by(h, t, "Reshape", 2, (int[]){x, dims});
}

static int find_half(struct halves *h, int t, int depth) {
  const struct graph *g = h->w->g;
  int concat = made_by(g, t, "Concat"), cos = made_by(g, t, "Cos"), sin = made_by(g, t, "Sin");
  int mul = made_by(g, t, "Mul"), view = made_by(g, t, "Reshape"), a, b;
  if (depth == 0 || last_dim(g, t) < 2 || last_dim(g, t) % 2) return NOT_HALVES;
  if (concat >= 0) return two_columns(g, concat, &a, &b) && a == b ? a : NOT_HALVES;
  if (mul >= 0) return half_product(h, t, mul, depth - 1);
  if (view >= 0) return half_view(h, t, view, depth - 1);
  if (cos < 0 && sin < 0) return NOT_HALVES;
  int x = half_of(h, input(g, MAX(cos, sin), 0), depth - 1);
  return x < 0 ? x : half_by(h, t, cos >= 0 ? "Cos" : "Sin", 1, &x);
}

static int half_of(struct halves *h, int t, int depth) {
  if (h->of[t] == UNKNOWN) h->of[t] = find_half(h, t, depth);
  return h->of[t];
}

/* False when memory is out. */
static bool halve_angles(struct rewrite *w) {
  enum { DEPTH = 6 };
  struct rope_match m;
  struct halves h = {w, ARENA_NEW(&w->arena, int, w->room)};
  if (!h.of) return false;
  for (size_t i = 0; i < w->room; i++) h.of[i] = UNKNOWN;
  for (int i = 0, n = (int)w->g->node.n; i < n; i++)
    for (int k = 1; read_back(w->g, i, &m) && k < 3; k++) {
      int t = input(w->g, i, k), x = last_dim(w->g, t) == m.rotary ? half_of(&h, t, DEPTH) : -1;
      if (x == NO_MEMORY) return false;
      if (x >= 0) rewrite_input(w, i, k, x);
    }
  return true;
}

enum fvm_status pass_rope(struct graph *g, struct fvm_error *err) {
  struct rewrite w;
  struct rope_match m;
  enum fvm_status st = rewrite_begin(&w, g, err);
  if (st != FVM_OK) return st;
  bool ok = true;
  for (int i = 0; ok && i < (int)g->node.n; i++) {
    bool whole = (match_sum(g, i, &m) || match_concat(g, i, &m)) &&
                 find_form(g, node_at(g, i)->out.v[0], &m);
    if (whole || match_partial(g, i, &m)) ok = make(&w, i, &m);
  }
  for (int i = 0; ok && i < (int)g->node.n; i++)
    if (read_back(g, i, &m) && look_through(g, &m)) ok = make(&w, i, &m);
  ok = ok && halve_angles(&w);
  rewrite_end(&w);
  return ok ? FVM_OK : fvm_nomem(err);
}
