/* Weights that are tables as well (tied embeddings) stay one constant:
 *
 *   W [N,K] -> Gather                             W -> Gather tied=1
 *   W -> Transpose -> MatMul                      W -> MatMulT
 *   W' = transposed W, by the exporter -> MatMul  W -> MatMulT
 *   W' = W -> Gemm transB=1                       W -> Gemm transB=1
 *
 * needs: shapes. keeps: shapes, topological order. breaks: nothing. */
#include "pass.h"

#include <string.h>

enum { TILE = 64 };

struct tie {
  struct rewrite w;
  VEC(int) table; /* constants that are picked from by row */
};

static bool is_table(const struct graph *g, const struct node *n) {
  if (!is_op(n, "Gather") || node_int(n, "axis", 0) != 0) return false;
  const struct tensor *t = tensor_of(g, n->in.v[0]);
  return t->data && t->rank == 2 && t->dtype == FVM_F32 && tensor_count(t) > 0;
}

static bool same_values(const struct tensor *a, const struct tensor *b) {
  if (a->dtype != b->dtype || !same_dims(a, b)) return false;
  return a->data == b->data || !memcmp(a->data, b->data, (size_t)tensor_bytes(a));
}

/* Whether a is b transposed, tile by tile, as caches like it. Bits are compared, not numbers. */
static bool is_transposed(const struct tensor *a, const struct tensor *b) {
  int64_t m = a->dim[0], n = a->dim[1];
  const uint32_t *x = a->data, *y = b->data;
  if (a->dtype != b->dtype || a->rank != 2 || b->dim[0] != n || b->dim[1] != m) return false;
  for (int64_t i0 = 0; i0 < m; i0 += TILE)
    for (int64_t j0 = 0; j0 < n; j0 += TILE)
      for (int64_t i = i0; i < MIN(m, i0 + TILE); i++)
        for (int64_t j = j0; j < MIN(n, j0 + TILE); j++)
          if (x[i * n + j] != y[j * m + i]) return false;
  return true;
}

static bool find_tables(struct tie *t) {
  const struct graph *g = t->w.g;
  for (int i = 0; i < (int)g->node.n; i++)
    if (is_table(g, node_at(g, i)) && !VEC_PUSH(&t->table, node_at(g, i)->in.v[0])) return false;
  return true;
}

/* The table whose values a product's second factor has, as they are or transposed; -1: none. */
static int find_table(const struct tie *t, int weight, bool turned) {
  const struct tensor *w = tensor_of(t->w.g, weight);
  for (size_t i = 0; i < t->table.n; i++) {
    const struct tensor *x = tensor_of(t->w.g, t->table.v[i]);
    if (turned ? is_transposed(w, x) : same_values(w, x)) return t->table.v[i];
  }
  return -1;
}

/* Products of a transposed constant. False when memory is out. */
static bool tie_matmul(struct tie *ties, int i) {
  struct rewrite *w = &ties->w;
  struct graph *g = w->g;
  const struct node *n = node_at(g, i);
  int weight = n->in.v[1], turn = made_by(g, weight, "Transpose");
  const struct tensor *t = tensor_of(g, weight);
  if (turn >= 0 && tensor_of(g, node_at(g, turn)->in.v[0])->data && t->rank == 2) {
    int own = node_at(g, turn)->in.v[0], table = find_table(ties, own, false);
    return rewrite_node(w, i, "MatMulT", 2, (int[]){n->in.v[0], table < 0 ? own : table});
  }
  if (!t->data || t->rank != 2 || t->dtype != FVM_F32) return true;
  int table = find_table(ties, weight, true);
  return table < 0 || rewrite_node(w, i, "MatMulT", 2, (int[]){n->in.v[0], table});
}

static void tie_gemm(struct tie *ties, int i) {
  struct rewrite *w = &ties->w;
  struct graph *g = w->g;
  struct node *n = node_at(g, i);
  int weight = n->in.v[1];
  if (!node_int(n, "transB", 0) || !tensor_of(g, weight)->data) return;
  int table = find_table(ties, weight, false);
  if (table < 0 || table == weight) return;
  w->uses[weight]--;
  w->uses[table]++;
  w->user[table] = i;
  n->in.v[1] = table;
}

static bool is_multiplied(const struct graph *g, int table) {
  for (size_t i = 0; i < g->node.n; i++) {
    const struct node *n = node_at(g, (int)i);
    bool product = is_op(n, "MatMulT") || (is_op(n, "Gemm") && node_int(n, "transB", 0));
    if (product && n->in.v[1] == table) return true;
  }
  return false;
}

/* False when memory is out. */
static bool mark_table(struct rewrite *w, int i) {
  if (!is_table(w->g, node_at(w->g, i)) || !is_multiplied(w->g, node_at(w->g, i)->in.v[0]))
    return true;
  struct attr *a = rewrite_attrs(w, i, 2);
  if (!a) return false;
  a[0] = (struct attr){.name = "axis", .kind = ATTR_INT, .i = 0};
  a[1] = (struct attr){.name = "tied", .kind = ATTR_INT, .i = 1};
  return true;
}

enum fvm_status pass_tie(struct graph *g, struct fvm_error *err) {
  struct tie t = {0};
  enum fvm_status st = rewrite_begin(&t.w, g, err);
  if (st != FVM_OK) return st;
  bool ok = find_tables(&t);
  for (int i = 0; ok && i < (int)g->node.n; i++) {
    if (is_op(node_at(g, i), "MatMul")) ok = tie_matmul(&t, i);
    if (is_op(node_at(g, i), "Gemm")) tie_gemm(&t, i);
  }
  for (int i = 0; ok && i < (int)g->node.n; i++) ok = mark_table(&t.w, i);
  rewrite_end(&t.w);
  VEC_FREE(&t.table);
  return ok ? FVM_OK : fvm_nomem(err);
}
