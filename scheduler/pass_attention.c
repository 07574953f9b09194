/* Softmax attention becomes FusedAttention:
 *
 *   q [B,H,Sq,D] -> MatMul -> [* c] -> [+ bias] -> [+ mask] -> Softmax -> [guard] -> MatMul
 *   k [B,H,D,Sk] ----^                                        v [B,H,Sk,Dv] ----------^  |
 *                                        [B,Sq,H*Dv] <- Reshape <- Transpose <-----------+
 *
 * Constants may also stand behind q and k. Operands that a Transpose made from [B,S,H,D] are read
 * as [B,S,H*D], others (a cache of keys, say) as [B,H,S,D]. A mask that selects with Where becomes
 * one that is added, and a bias besides the mask is added to it. guard is Where(IsNaN(p), 0, p) for
 * rows without any key. One query may stand as [B,G,n,D]: that of n heads for each head of keys.
 *
 * needs: shapes. keeps: shapes, topological order after a graph_compact. breaks: nothing. */
#include "pass.h"

#include <math.h>
#include <string.h>

struct operand {
  int t;            /* tensor of the elements of [B,H,S,D] in order, or [B,S,H,D] */
  bool rows;        /* the latter */
  struct tensor as; /* [B,H,S,D] */
};
struct attention {
  struct operand q, k, v;
  int mask;      /* tensor, or -1 */
  int select;    /* node Where that applies a mask, to become the mask to add; or -1 */
  int sum, bias; /* node Add that adds the mask to scores with a bias, to become their sum */
  double scale;
  bool guard, causal;
  int64_t heads, kv_heads;
  int at; /* the Transpose after all, which becomes the composite */
};

static int input(const struct graph *g, int node, int k) { return node_at(g, node)->in.v[k]; }

/* ---- steps of the pattern ---- */

/* Go up through products with and divisions by constants. */
static int unscale(const struct graph *g, int t, double *scale) {
  for (;;) {
    double v;
    int p = made_by(g, t, "Mul"), d = made_by(g, t, "Div");
    if (p >= 0 && scalar_of(g, input(g, p, 1), &v)) {
      t = input(g, p, 0);
      *scale *= v;
    } else if (p >= 0 && scalar_of(g, input(g, p, 0), &v)) {
      t = input(g, p, 1);
      *scale *= v;
    } else if (d >= 0 && scalar_of(g, input(g, d, 1), &v) && v != 0) {
      t = input(g, d, 0);
      *scale /= v;
    } else {
      return t;
    }
  }
}

static bool has_perm(const struct node *n, int a, int b, int c, int d) {
  const struct attr *p = node_attr(n, "perm");
  return p && p->kind == ATTR_INTS && p->n == 4 && p->ints[0] == a && p->ints[1] == b &&
         p->ints[2] == c && p->ints[3] == d;
}

/* t is Transpose(x) with that order of axes: x, else -1. */
static int transposed(const struct graph *g, int t, int a, int b, int c, int d) {
  int p = made_by(g, t, "Transpose");
  return p >= 0 && has_perm(node_at(g, p), a, b, c, d) ? input(g, p, 0) : -1;
}

/* Go up from a view, if there are constants behind it. */
static int unscale_view(const struct graph *g, int t, double *scale) {
  int p = made_by(g, t, "Reshape"), x = p < 0 ? -1 : unscale(g, input(g, p, 0), scale);
  return p < 0 || x == input(g, p, 0) ? t : x;
}

/* t is [B,H,S,D]: as it is, or as it was before a Transpose and constants. */
static struct operand before_split(const struct graph *g, int t, double *scale) {
  int x = transposed(g, t, 0, 2, 1, 3);
  return (struct operand){x < 0 ? t : unscale_view(g, x, scale), x >= 0, *tensor_of(g, t)};
}

/* t is made from x [.., S, D] by swapping the last two axes and a view of the others: x, or -1. */
static int swapped(const struct graph *g, int t) {
  int p = made_by(g, t, "Reshape"), y = p < 0 ? t : input(g, p, 0), i = made_by(g, y, "Transpose");
  const struct attr *perm = i < 0 ? NULL : node_attr(node_at(g, i), "perm");
  const struct tensor *from = tensor_of(g, y), *to = tensor_of(g, t);
  int rank = from->rank;
  if (!perm || perm->kind != ATTR_INTS || rank < 2 || to->rank < 2) return -1;
  for (int k = 0; k < rank; k++)
    if (perm->ints[k] != (k < rank - 2 ? k : 2 * rank - 3 - k)) return -1;
  bool same = !memcmp(from->dim + rank - 2, to->dim + to->rank - 2, 2 * sizeof *to->dim);
  return same ? input(g, i, 0) : -1;
}

/* The second factor of the scores, [B,H,D,S]: the keys, or -1. Constants may stand before and
 * after the transpose. */
static struct operand keys_of(const struct graph *g, int t, double *scale) {
  t = unscale(g, t, scale);
  int x = transposed(g, t, 0, 1, 3, 2);
  if (x >= 0) return before_split(g, unscale(g, x, scale), scale);
  struct operand k = {.as = *tensor_of(g, t)};
  k.as.dim[2] = tensor_of(g, t)->dim[3];
  k.as.dim[3] = tensor_of(g, t)->dim[2];
  x = transposed(g, t, 0, 2, 3, 1); /* both transposes in one */
  k.rows = x >= 0;
  if (x < 0) x = swapped(g, t);
  k.t = x < 0 ? -1 : unscale(g, x, scale);
  return k;
}

/* p or Where(IsNaN(p), 0, p): the Softmax that makes p, or -1. */
static int unguard(const struct graph *g, int t, bool *guard) {
  int where = made_by(g, t, "Where");
  *guard = false;
  if (where >= 0) {
    int p = input(g, where, 2), nan = made_by(g, input(g, where, 0), "IsNaN");
    if (nan < 0 || input(g, nan, 0) != p || !is_uniform(g, input(g, where, 1), 0)) return -1;
    *guard = true;
    t = p;
  }
  int softmax = made_by(g, t, "Softmax");
  if (softmax < 0) return -1;
  int64_t axis = node_int(node_at(g, softmax), "axis", g->opset < 13 ? 1 : -1);
  return axis == -1 || axis == tensor_of(g, t)->rank - 1 ? softmax : -1;
}

/* So low that the score makes no difference when added. */
static bool is_minus_infinity(const struct graph *g, int t) {
  double v;
  return scalar_of(g, t, &v) && v <= -1e30;
}

/* The product of queries and keys, scaled or not, with something added: what, and the product's
 * side in *scores. -1: t is not that. */
static int added_to_product(const struct graph *g, int t, int *scores) {
  int add = made_by(g, t, "Add");
  double scale = 1;
  for (int k = 0; add >= 0 && k < 2; k++)
    if (made_by(g, unscale(g, input(g, add, k), &scale), "MatMul") >= 0) {
      *scores = input(g, add, k);
      return input(g, add, 1 - k);
    }
  return -1;
}

/* scores + mask, scores + bias + mask, or Where(select, scores, -inf): the scores; sets mask or
 * select. */
static int unmask(const struct rewrite *w, int t, struct attention *m) {
  const struct graph *g = w->g;
  int add = made_by(g, t, "Add"), where = made_by(g, t, "Where"), scores = t;
  m->select = m->sum = m->bias = -1;
  m->mask = added_to_product(g, t, &scores);
  if (m->mask >= 0) return scores;
  for (int k = 0; add >= 0 && k < 2; k++) {
    int sum = input(g, add, k);
    m->bias =
        only_user(w, sum) == add && only_user(w, t) >= 0 ? added_to_product(g, sum, &scores) : -1;
    if (m->bias < 0) continue;
    m->sum = add;
    m->mask = input(g, add, 1 - k);
    return scores;
  }
  for (int k = 1; where >= 0 && k < 3; k++)
    if (is_minus_infinity(g, input(g, where, 3 - k))) {
      m->select = where;
      return input(g, where, k);
    }
  return t;
}

/* Transpose [B,H,S,D] to [B,S,H,D] by the only user of t, and a Reshape alone behind it. */
static int transpose_back(const struct rewrite *w, int t) {
  int p = only_user(w, t);
  if (p < 0 || !is_op(node_at(w->g, p), "Transpose") || !has_perm(node_at(w->g, p), 0, 2, 1, 3))
    return -1;
  int user = only_user(w, node_at(w->g, p)->out.v[0]);
  return user >= 0 && is_op(node_at(w->g, user), "Reshape") ? p : -1;
}

/* One query of heads that share keys, as exporters write it for decoding: the heads stand where
 * positions did. t is [B,G,n,D], and [B,G*n,1,D] after a Reshape that alone reads it. */
static int heads_back(const struct rewrite *w, int t) {
  int p = only_user(w, t);
  if (p < 0 || !is_op(node_at(w->g, p), "Reshape")) return -1;
  int y = node_at(w->g, p)->out.v[0];
  const struct tensor *from = tensor_of(w->g, t), *to = tensor_of(w->g, y);
  bool one = from->rank == 4 && to->rank == 4 && to->dim[0] == from->dim[0] && to->dim[2] == 1 &&
             to->dim[1] == from->dim[1] * from->dim[2] && to->dim[3] == from->dim[3];
  return one ? transpose_back(w, y) : -1;
}

/* ---- the pattern ---- */

static bool is_float4(const struct graph *g, int t) {
  return tensor_of(g, t)->rank == 4 && tensor_of(g, t)->dtype == FVM_F32;
}

/* Batch and heads must be the same everywhere: MatMul would broadcast them. */
static bool same_heads(const struct graph *g, int a, int b) {
  return is_float4(g, a) && is_float4(g, b) &&
         !memcmp(tensor_of(g, a)->dim, tensor_of(g, b)->dim, 2 * sizeof(int64_t));
}

/* The mask may be broadcast to the scores, not the scores to the mask. */
static bool mask_fits(const struct graph *g, const struct attention *m, int scores, int masked) {
  if (!same_dims(tensor_of(g, scores), tensor_of(g, masked))) return false;
  return m->mask < 0 || tensor_of(g, m->mask)->dtype == FVM_F32;
}

/* No Softmax makes t, the weights of the second MatMul, in a way that we know: if there is one not
 * far above, say what is between. */
static bool miss_above(struct graph *g, int t) {
  enum { FAR = 4 };
  int between = -1;
  for (int i = 0; i < FAR && t >= 0; i++) {
    int p = g->tensor.v[t].producer;
    const struct node *n = p < 0 ? NULL : node_at(g, p);
    if (!n || n->in.n < 1) return false;
    if (is_op(n, "Softmax"))
      return between < 0 ? pass_miss(g, p, "attention", "it is not over the last axis")
                         : pass_miss(g, p, "attention",
                                     "%s '%.80s' stands between it and the product with the values",
                                     node_at(g, between)->op->name, node_at(g, between)->name);
    if (is_op(n, "MatMul")) return false;
    between = p;
    t = n->in.v[is_op(n, "Where") ? 2 : 0];
  }
  return false;
}

/* What the scores come from instead of a product. */
static bool miss_product(struct graph *g, int softmax, int scores) {
  double scale = 1;
  int p = g->tensor.v[unscale(g, scores, &scale)].producer;
  return pass_miss(g, softmax, "attention", "its scores come from %s '%.80s', not from a product",
                   p < 0 ? "input" : node_at(g, p)->op->name,
                   p < 0 ? g->tensor.v[scores].name : node_at(g, p)->name);
}

/* Whether all heads and queries have the same mask. */
static bool one_for_all(const struct tensor *mask) {
  int r = mask->rank;
  return r < 2 || (mask->dim[r - 2] == 1 && (r < 3 || mask->dim[r - 3] == 1));
}

/* Queries [B,G,n,D] are those of n heads each. */
static bool fold_queries(const struct graph *g, struct attention *m, int q) {
  struct tensor as = *tensor_of(g, q);
  if (m->select >= 0 || m->sum >= 0 || (m->mask >= 0 && !one_for_all(tensor_of(g, m->mask))))
    return false;
  as.dim[1] *= as.dim[2];
  as.dim[2] = 1;
  m->heads = as.dim[1];
  m->q = (struct operand){q, false, as};
  return true;
}

/* At the second MatMul. */
static bool match(const struct rewrite *w, int i, struct attention *m) {
  struct graph *g = w->g;
  if (!is_op(node_at(g, i), "MatMul")) return false;
  int softmax = unguard(g, input(g, i, 0), &m->guard), values = input(g, i, 1);
  int y = node_at(g, i)->out.v[0], back = transpose_back(w, y), one = heads_back(w, y);
  m->at = MAX(back, one);
  if (softmax < 0) return miss_above(g, input(g, i, 0));
#define MISS(...) pass_miss(g, softmax, "attention", __VA_ARGS__)
  if (m->at < 0)
    return MISS("no Transpose and Reshape alone read the weighted values '%.80s'",
                g->tensor.v[y].name);
  m->scale = 1;
  int masked = input(g, softmax, 0), scores = unmask(w, masked, m);
  if (m->select >= 0 && only_user(w, masked) != softmax)
    return MISS("something else reads its masked scores '%.80s', too", g->tensor.v[masked].name);
  int product = made_by(g, unscale(g, scores, &m->scale), "MatMul");
  if (product < 0) return miss_product(g, softmax, scores);
  if (!mask_fits(g, m, scores, masked))
    return MISS("its mask '%.80s' is larger than the scores or not f32",
                g->tensor.v[m->mask < 0 ? masked : m->mask].name);
  int q = unscale(g, input(g, product, 0), &m->scale), k = input(g, product, 1);
  if (!same_heads(g, q, k) || !same_heads(g, q, values))
    return MISS("queries, keys and values differ in batch or heads, or are not [batch, heads, "
                "positions, size] of f32");
  m->heads = m->kv_heads = tensor_of(g, q)->dim[1];
  m->q = before_split(g, q, &m->scale);
  if (one >= 0 && !fold_queries(g, m, q)) return MISS("its mask differs between heads");
  m->k = keys_of(g, k, &m->scale);
  double scale_values = 1;
  m->v = before_split(g, values, &scale_values);
  if (scale_values != 1) m->v = (struct operand){values, false, *tensor_of(g, values)};
  return m->k.t >= 0 ||
         MISS("its keys '%.80s' are not transposed in a way that we know", g->tensor.v[k].name);
#undef MISS
}

/* ---- masks ---- */

/* Whether a constant mask [.., Sq, Sk] hides exactly what comes after each query, the last query
 * seeing all keys. */
static bool is_causal(const struct tensor *mask, int64_t sq, int64_t sk) {
  if (!mask->data || mask->dtype != FVM_F32 || mask->rank < 2 || tensor_count(mask) != sq * sk)
    return false;
  if (mask->dim[mask->rank - 2] != sq || mask->dim[mask->rank - 1] != sk || sq < 2) return false;
  const float *p = mask->data;
  for (int64_t i = 0; i < sq; i++)
    for (int64_t j = 0; j < sk; j++)
      if (j <= i + sk - sq ? p[i * sk + j] != 0 : p[i * sk + j] > -1e30f) return false;
  return true;
}

/* Where(c, scores, -inf) becomes Where(c, 0, -inf), the mask to be added. */
static bool make_mask(struct rewrite *w, struct attention *m) {
  struct graph *g = w->g;
  const struct node *n = node_at(g, m->select);
  static const float zero = 0;
  struct tensor t = {.dtype = FVM_F32, .data = &zero};
  int in[3] = {n->in.v[0], n->in.v[1], n->in.v[2]}, none = rewrite_constant(w, "mask.zero", &t);
  if (none < 0) return false;
  in[is_minus_infinity(g, in[2]) ? 1 : 2] = none;
  m->mask = n->out.v[0];
  /* Its dims are the condition's now. */
  struct tensor dims = *tensor_of(g, in[0]);
  dims.dtype = FVM_F32;
  dims.data = NULL;
  *tensor_of(g, m->mask) = dims;
  return rewrite_node(w, m->select, "Where", 3, in);
}

/* scores + bias + mask: the mask becomes bias + mask. */
static bool add_masks(struct rewrite *w, struct attention *m) {
  struct opcall c;
  struct arena a = {0};
  bool ok = rewrite_node(w, m->sum, "Add", 2, (int[]){m->bias, m->mask}) &&
            graph_opcall(w->g, m->sum, &a, &c, NULL) == FVM_OK && opcall_shape(&c, NULL) == FVM_OK;
  m->mask = node_at(w->g, m->sum)->out.v[0];
  if (ok) *tensor_of(w->g, m->mask) = c.out[0];
  arena_free(&a);
  return ok;
}

/* ---- replacement ---- */

static bool set_attrs(struct rewrite *w, const struct attention *m) {
  struct attr *a = rewrite_attrs(w, m->at, 5);
  if (!a) return false;
  a[0] = (struct attr){.name = "heads", .kind = ATTR_INT, .i = m->heads};
  a[1] = (struct attr){.name = "kv_heads", .kind = ATTR_INT, .i = m->kv_heads};
  a[2] = (struct attr){.name = "scale", .kind = ATTR_FLOAT, .f = (float)m->scale};
  a[3] = (struct attr){.name = "causal", .kind = ATTR_INT, .i = m->causal};
  a[4] = (struct attr){.name = "guard", .kind = ATTR_INT, .i = m->guard};
  return true;
}

/* An operand in the form that is read: [B,S,H*D], or [B,H,S,D]. -1 when memory is out. */
static int operand_read(struct rewrite *w, struct operand o) {
  struct graph *g = w->g;
  struct tensor as = o.as;
  if (o.rows)
    as = (struct tensor){as.dtype, 3, {as.dim[0], as.dim[2], as.dim[1] * as.dim[3]}, NULL};
  as.data = NULL;
  if (same_dims(tensor_of(g, o.t), &as)) return o.t;
  int split = made_by(g, o.t, "Reshape"), from = split < 0 ? o.t : input(g, split, 0);
  if (same_dims(tensor_of(g, from), &as)) return from;
  const char *name = g->tensor.v[o.t].name;
  int dims = rewrite_ints(w, name, as.rank, as.dim),
      y = dims < 0 ? -1 : rewrite_tensor(w, name, &as);
  return y >= 0 && rewrite_add(w, name, "Reshape", 2, (int[]){from, dims}, y) >= 0 ? y : -1;
}

/* Of [B,S,H*D] or [B,H,S,D]. */
static int64_t positions(const struct graph *g, int t) {
  return tensor_of(g, t)->dim[tensor_of(g, t)->rank - 2];
}

/* The Transpose at the end becomes the composite; the Reshape behind it then changes nothing, or
 * goes on to another shape. */
static bool replace(struct rewrite *w, struct attention *m) {
  struct graph *g = w->g;
  if (m->select >= 0 && !make_mask(w, m)) return false;
  if (m->sum >= 0 && !add_masks(w, m)) return false;
  int q = operand_read(w, m->q), k = operand_read(w, m->k), v = operand_read(w, m->v);
  if (q < 0 || k < 0 || v < 0) return false;
  m->causal = m->mask >= 0 && is_causal(tensor_of(g, m->mask), positions(g, q), positions(g, k));
  if (m->causal) m->mask = -1;
  struct tensor *y = tensor_of(g, node_at(g, m->at)->out.v[0]);
  y->rank = 3;
  y->dim[2] *= y->dim[3];
  int in[] = {q, k, v, m->mask};
  return rewrite_node(w, m->at, "FusedAttention", m->mask < 0 ? 3 : 4, in) && set_attrs(w, m);
}

static bool change(struct rewrite *w, int i) {
  struct attention m = {0};
  return !match(w, i, &m) || replace(w, &m);
}

enum fvm_status pass_attention(struct graph *g, struct fvm_error *err) {
  return rewrite_each(g, change, err);
}
