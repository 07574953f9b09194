/* Channels that change places:
 *
 *   x [N,g*n,...] -> Reshape [N,g,n,...] -> Transpose [N,n,g,...] -> Reshape [N,g*n,...]
 *
 * becomes ChannelShuffle(x). Where x is joined of g equal parts it reads these, and where only
 * equal parts of its result are read it makes these: a unit of ShuffleNet moves its data once.
 *
 * needs: shapes. keeps: shapes, topological order. breaks: nothing. */
#include "pass.h"

#include <string.h>

/* The groups of a shuffle that ends at node i, and what it is of in *x; 0: there is none. */
static int64_t shuffled(const struct rewrite *w, int i, int *x) {
  const struct graph *g = w->g;
  const struct node *n = node_at(g, i);
  int turn = is_op(n, "Reshape") ? made_by(g, n->in.v[0], "Transpose") : -1;
  int cut = turn < 0 ? -1 : made_by(g, node_at(g, turn)->in.v[0], "Reshape");
  if (cut < 0) return 0;
  *x = node_at(g, cut)->in.v[0];
  const struct tensor *from = tensor_of(g, *x), *mid = tensor_of(g, node_at(g, cut)->out.v[0]);
  const struct attr *perm = node_attr(node_at(g, turn), "perm");
  bool fits = from->rank > 2 && mid->rank == from->rank + 1 && perm && perm->n == mid->rank &&
              same_dims(from, tensor_of(g, n->out.v[0])) && mid->dim[0] == from->dim[0] &&
              mid->dim[1] * mid->dim[2] == from->dim[1] && mid->dim[1] > 0 &&
              !memcmp(mid->dim + 3, from->dim + 2, (size_t)(from->rank - 2) * sizeof *from->dim);
  for (int k = 0; fits && k < perm->n; k++) fits = perm->ints[k] == (k == 1 ? 2 : k == 2 ? 1 : k);
  return fits ? mid->dim[1] : 0;
}

/* The Concat of that many equal parts along the channels which makes x, for nothing else. */
static int parts_of(const struct rewrite *w, int x, int64_t groups) {
  const struct graph *g = w->g;
  int p = made_by(g, x, "Concat");
  if (p < 0 || w->uses[x] != 1 || g->tensor.v[x].is_output) return -1;
  const struct node *n = node_at(g, p);
  int64_t axis = node_int(n, "axis", 1);
  if ((axis != 1 && axis != 1 - tensor_of(g, x)->rank) || (int64_t)n->in.n != groups) return -1;
  for (size_t k = 1; k < n->in.n; k++)
    if (!same_dims(tensor_of(g, n->in.v[k]), tensor_of(g, n->in.v[0]))) return -1;
  return p;
}

static bool one_int(const struct graph *g, const struct node *n, size_t k, int64_t *v) {
  const struct tensor *t = k < n->in.n && n->in.v[k] >= 0 ? tensor_of(g, n->in.v[k]) : NULL;
  if (!t || !t->data || t->dtype != FVM_I64 || tensor_count(t) != 1) return false;
  *v = *(const int64_t *)t->data;
  return true;
}

/* Which half of channels a Slice takes of a tensor: 0, 1; -1: something else. */
static int half_of(const struct graph *g, const struct node *n) {
  const struct tensor *x = tensor_of(g, n->in.v[0]), *y = tensor_of(g, n->out.v[0]);
  int64_t start, axis, step = 1;
  if (!is_op(n, "Slice") || !one_int(g, n, 1, &start) || !one_int(g, n, 3, &axis)) return -1;
  if (n->in.n > 4 && !one_int(g, n, 4, &step)) return -1;
  if (axis < 0) axis += x->rank;
  if (axis != 1 || step != 1 || 2 * y->dim[1] != x->dim[1]) return -1;
  return start == 0 ? 0 : start == y->dim[1] ? 1 : -1;
}

/* Let the shuffle i make the two halves of its result when only these are read. */
static bool deal_out(struct rewrite *w, int i, int64_t groups) {
  struct graph *g = w->g;
  int y = node_at(g, i)->out.v[0], half[2] = {-1, -1}, split = only_user(w, y);
  if (tensor_of(g, y)->dim[1] / 2 % groups || tensor_of(g, y)->dim[1] % 2) return true;
  if (split >= 0 && is_op(node_at(g, split), "Split") && node_at(g, split)->out.n == 2) {
    const struct node *n = node_at(g, split);
    int64_t axis = node_int(n, "axis", 0);
    bool equal = n->out.v[0] >= 0 && n->out.v[1] >= 0 &&
                 same_dims(tensor_of(g, n->out.v[0]), tensor_of(g, n->out.v[1]));
    if (!equal || (axis != 1 && axis != 1 - tensor_of(g, y)->rank)) return true;
    half[0] = n->out.v[0];
    half[1] = n->out.v[1];
    rewrite_kill(w, split);
  } else {
    int slice[2] = {-1, -1};
    if (w->uses[y] != 2 || g->tensor.v[y].is_output) return true;
    for (int k = i + 1; k < (int)g->node.n; k++) {
      const struct node *n = node_at(g, k);
      int at = !n->dead && n->in.n && n->in.v[0] == y ? half_of(g, n) : -1;
      if (at >= 0) slice[at] = k;
    }
    if (slice[0] < 0 || slice[1] < 0) return true;
    for (int k = 0; k < 2; k++) {
      half[k] = node_at(g, slice[k])->out.v[0];
      rewrite_kill(w, slice[k]);
    }
  }
  struct node *n = node_at(g, i);
  n->out.v[0] = half[0];
  g->tensor.v[half[0]].producer = i;
  g->tensor.v[y].producer = -1;
  return node_add_out(g, i, half[1]);
}

static bool change(struct rewrite *w, int i) {
  int x;
  if (node_at(w->g, i)->dead) return true;
  int64_t groups = shuffled(w, i, &x);
  if (!groups) return true;
  int parts = parts_of(w, x, groups);
  const struct node *n = parts < 0 ? NULL : node_at(w->g, parts);
  int count = n ? (int)n->in.n : 1, *in = ARENA_NEW(&w->arena, int, count);
  if (!in) return false;
  memcpy(in, n ? n->in.v : &x, (size_t)count * sizeof *in);
  return rewrite_node(w, i, "ChannelShuffle", count, in) &&
         rewrite_set_int(w, i, "groups", groups) && deal_out(w, i, groups);
}

enum fvm_status pass_shuffles(struct graph *g, struct fvm_error *err) {
  return rewrite_each(g, change, err);
}
