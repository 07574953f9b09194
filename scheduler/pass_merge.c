/* Products of one input that one attention reads become one, its weights and biases side by side:
 *
 *   x -> MatMul Wq {Add bq} -> q                x -> MatMul [Wq Wk Wv] {Add [bq bk bv]} -> y
 *   x -> MatMul Wk {Add bk} -> k                FusedAttention(y, y, y) q_at=0 k_at= v_at=
 *   x -> MatMul Wv {Add bv} -> v
 *   FusedAttention(q, k, v)
 *
 * It is a form of the graph, not a better graph: the planner compares both (pipeline.c).
 *
 * needs: shapes, fused nodes. keeps: shapes, topological order. breaks: nothing. */
#include "pass.h"

#include <string.h>

enum { OPERANDS = 3 };

/* A product that may join: x * weight + bias. */
struct part {
  int node, x, weight, bias; /* bias: a constant vector, -1: none */
  int64_t k, n;              /* rows and columns of the weights */
};

/* ---- which ---- */

static bool is_constant(const struct tensor *t, int64_t n) {
  return t->data && t->dtype == FVM_F32 && t->rank > 0 && t->dim[t->rank - 1] == n;
}

/* No body, or the Add of a constant vector: that input in *bias. */
static bool read_bias(const struct graph *g, const struct node *n, int64_t columns, int *bias) {
  *bias = -1;
  if (!n->body) return true;
  const struct body_item *item = n->body->item;
  if (n->body->n != 1 || strcmp(item->op->name, "Add") != 0 || n->in.n != 3) return false;
  if (item->arg[0] + item->arg[1] != 2 + 3) return false; /* values 2, the vector, and 3 */
  *bias = n->in.v[2];
  const struct tensor *t = tensor_of(g, *bias);
  return is_constant(t, columns) && tensor_count(t) == columns;
}

/* The product that makes an operand of attention node `at`. */
static bool read_part(const struct rewrite *w, int at, int operand, struct part *p) {
  const struct graph *g = w->g;
  int t = node_at(g, at)->in.v[operand];
  p->node = g->tensor.v[t].producer;
  if (p->node < 0 || only_user(w, t) != at || tensor_of(g, t)->rank != 3) return false;
  const struct node *n = node_at(g, p->node);
  if (strcmp(n->op->name, "MatMul") != 0 || n->nown != 2) return false;
  const struct tensor *weight = tensor_of(g, n->in.v[1]);
  p->x = n->in.v[0];
  p->weight = n->in.v[1];
  p->k = weight->dim[0];
  p->n = weight->dim[1];
  return weight->rank == 2 && is_constant(weight, p->n) && tensor_count(weight) > 0 &&
         read_bias(g, n, p->n, &p->bias);
}

/* ---- one of many ---- */

struct merged {
  struct part part[OPERANDS]; /* those that join, in order of the operands */
  int operand[OPERANDS], n;
  int64_t columns;
};

/* Rows of all parts side by side; zeros where a part has none. */
static int concat(struct rewrite *w, const struct merged *m, bool bias) {
  int64_t rows = bias ? 1 : m->part[0].k, at = 0;
  struct tensor t;
  if (tensor_init(&t, FVM_F32, bias ? 1 : 2, bias ? &m->columns : (int64_t[]){rows, m->columns},
                  w->err) != FVM_OK)
    return -1;
  float *y = arena_alloc(&w->g->arena, (size_t)tensor_bytes(&t), 1);
  if (!y) return -1;
  for (int i = 0; i < m->n; i++) {
    const struct part *p = &m->part[i];
    int from = bias ? p->bias : p->weight;
    for (int64_t r = 0; r < rows; r++) {
      float *row = y + r * m->columns + at;
      if (from < 0)
        memset(row, 0, (size_t)p->n * sizeof *row);
      else
        memcpy(row, (const float *)tensor_of(w->g, from)->data + r * p->n,
               (size_t)p->n * sizeof *row);
    }
    at += p->n;
  }
  t.data = y;
  const char *base = w->g->tensor.v[m->part[0].weight].name;
  const char *name = arena_printf(&w->arena, bias ? "%s.biases" : "%s.merged", base);
  return name ? rewrite_tensor(w, name, &t) : -1;
}

/* The tensor that the merged product makes. */
static int wide_tensor(struct rewrite *w, const struct merged *m) {
  const struct gtensor *first = &w->g->tensor.v[node_at(w->g, m->part[0].node)->out.v[0]];
  struct tensor t = first->t;
  t.dim[t.rank - 1] = m->columns;
  const char *name = arena_printf(&w->arena, "%s.merged", first->name);
  return name ? rewrite_tensor(w, name, &t) : -1;
}

/* The first node of the parts becomes the product; the others go. */
static bool make_product(struct rewrite *w, const struct merged *m, int wide) {
  struct graph *g = w->g;
  int first = m->part[0].node, with_bias = -1;
  for (int i = 0; i < m->n; i++) {
    first = MIN(first, m->part[i].node);
    if (m->part[i].bias >= 0) with_bias = m->part[i].node;
  }
  const struct body *body = with_bias < 0 ? NULL : node_at(g, with_bias)->body;
  int weight = concat(w, m, false), bias = body ? concat(w, m, true) : -1;
  if (weight < 0 || (body && bias < 0)) return false;
  for (int i = 0; i < m->n; i++)
    if (m->part[i].node != first) rewrite_kill(w, m->part[i].node);
  if (!rewrite_node(w, first, "MatMul", body ? 3 : 2, (int[]){m->part[0].x, weight, bias}))
    return false;
  struct node *n = node_at(g, first);
  n->nown = 2;
  n->body = body;
  g->tensor.v[n->out.v[0]].producer = -1;
  n->out.v[0] = wide;
  g->tensor.v[wide].producer = first;
  return true;
}

static bool merge(struct rewrite *w, int at, const struct merged *m) {
  static const char *const at_name[] = {"q_at", "k_at", "v_at"};
  int wide = wide_tensor(w, m);
  if (wide < 0) return false;
  int64_t column = 0;
  for (int i = 0; i < m->n; i++) {
    int64_t before = node_int(node_at(w->g, at), at_name[m->operand[i]], 0);
    if (!attention_read(w, at, m->operand[i], wide, column + before)) return false;
    column += m->part[i].n;
  }
  return make_product(w, m, wide);
}

/* Two operands or all three of an attention. */
static bool merge_operands(struct rewrite *w, int at) {
  struct part part[OPERANDS];
  bool may[OPERANDS];
  if (!is_op(node_at(w->g, at), "FusedAttention")) return true;
  for (int k = 0; k < OPERANDS; k++) may[k] = read_part(w, at, k, &part[k]);
  for (int lead = 0; lead < OPERANDS - 1; lead++) {
    struct merged m = {.n = 0};
    for (int k = lead; k < OPERANDS && may[lead]; k++)
      if (may[k] && part[k].x == part[lead].x && part[k].k == part[lead].k) {
        m.part[m.n] = part[k];
        m.operand[m.n++] = k;
        m.columns += part[k].n;
      }
    if (m.n > 1) return merge(w, at, &m);
  }
  return true;
}

enum fvm_status pass_merge(struct graph *g, struct fvm_error *err) {
  return rewrite_each(g, merge_operands, err);
}
