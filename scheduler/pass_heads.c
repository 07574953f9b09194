/* What FusedAttention reads, nearer to where it is made:
 *
 *   k [B,G,S,D] -> Reshape -> Expand [B,G,n,S,D] -> Reshape [B,G*n,S,D]     k, with G key heads
 *   FusedRope to [B,H,S,D]                                                  FusedRope to [B,S,H*D]
 *   x [B,S,H,D] -> Transpose [B,H,S,D]                                      x as [B,S,H*D]
 *   mask -> Expand [B,H,Sq,Sk]                                              mask
 *
 * so that no keys are repeated and no heads transposed. What is read by others, too, such as keys
 * that go out for the next token, stays as it is.
 *
 * needs: shapes. keeps: shapes, topological order. breaks: nothing. */
#include "pass.h"

#include "../kernels/rope.h"

#include <string.h>

static int input(const struct graph *g, int node, int k) { return node_at(g, node)->in.v[k]; }

/* ---- repeated heads ---- */

/* u is x with an axis of 1 behind the heads. */
static bool is_unsqueezed(const struct tensor *x, const struct tensor *u) {
  return x->rank == 4 && u->rank == 5 && u->dim[0] == x->dim[0] && u->dim[1] == x->dim[1] &&
         u->dim[2] == 1 && u->dim[3] == x->dim[2] && u->dim[4] == x->dim[3];
}

/* Each head of x is t's times, one after the other: x, else -1. */
static int unrepeated(const struct graph *g, int t, int64_t *times) {
  int merge = made_by(g, t, "Reshape");
  int many = merge < 0 ? t : input(g, merge, 0), p = made_by(g, many, "Expand");
  if (p < 0) p = made_by(g, many, "Tile");
  if (p < 0 || tensor_of(g, t)->rank != 4) return -1;
  int one = input(g, p, 0);
  const struct tensor *y = tensor_of(g, t), *e = tensor_of(g, many), *u = tensor_of(g, one);
  *times = 0;
  if (merge < 0 && u->rank == 4 && u->dim[0] == y->dim[0] && u->dim[1] == 1 &&
      u->dim[2] == y->dim[2] && u->dim[3] == y->dim[3]) {
    *times = y->dim[1];
    return one; /* a single key head */
  }
  int split = made_by(g, one, "Reshape"), x = split < 0 ? -1 : input(g, split, 0);
  if (x < 0 || e->rank != 5 || !is_unsqueezed(tensor_of(g, x), u)) return -1;
  if (e->dim[0] != u->dim[0] || e->dim[1] != u->dim[1] || e->dim[3] != u->dim[3] ||
      e->dim[4] != u->dim[4] || y->dim[0] != e->dim[0] || y->dim[1] != e->dim[1] * e->dim[2] ||
      y->dim[2] != e->dim[3])
    return -1;
  *times = e->dim[2];
  return x;
}

/* Keys and values that are repeated alike. */
static bool share_keys(struct rewrite *w, int i) {
  struct graph *g = w->g;
  const struct node *n = node_at(g, i);
  if (!is_op(n, "FusedAttention")) return true;
  int64_t heads = node_int(n, "heads", 1), times = 1, other = 1;
  if (node_int(n, "kv_heads", heads) != heads) return true;
  int k = unrepeated(g, n->in.v[1], &times), v = unrepeated(g, n->in.v[2], &other);
  if (k < 0 || v < 0 || times != other || times < 1 || heads % times) return true;
  rewrite_input(w, i, 1, k);
  rewrite_input(w, i, 2, v);
  return rewrite_set_int(w, i, "kv_heads", heads / times);
}

/* ---- heads side by side ---- */

static void set_flat(struct tensor *t, const struct tensor *heads) {
  t->rank = 3;
  t->dim[0] = heads->dim[0];
  t->dim[1] = heads->dim[2];
  t->dim[2] = heads->dim[1] * heads->dim[3];
}

/* FusedRope writes rows. */
static bool flatten_rope(struct rewrite *w, int rope) {
  struct tensor *y = tensor_of(w->g, node_at(w->g, rope)->out.v[0]), was = *y;
  set_flat(y, &was);
  return rewrite_set_int(w, rope, "to", ROPE_FLAT);
}

/* A Transpose of heads becomes a view of what it transposes. */
static bool flatten_transpose(struct rewrite *w, int swap) {
  struct graph *g = w->g;
  int x = input(g, swap, 0), t = node_at(g, swap)->out.v[0];
  struct tensor flat = *tensor_of(g, t);
  set_flat(&flat, tensor_of(g, t));
  int dims = rewrite_ints(w, g->tensor.v[t].name, 3, flat.dim);
  if (dims < 0 || !rewrite_node(w, swap, "Reshape", 2, (int[]){x, dims})) return false;
  *tensor_of(g, t) = flat;
  return true;
}

/* Operand k of an attention, [B,H,S,D] that it alone reads. */
static bool flatten(struct rewrite *w, int i, int k) {
  struct graph *g = w->g;
  int t = input(g, i, k), rope = made_by(g, t, "FusedRope"), swap = made_by(g, t, "Transpose");
  if (tensor_of(g, t)->rank != 4 || only_user(w, t) != i) return true;
  if (rope >= 0 && node_int(node_at(g, rope), "to", 0) == ROPE_HEADS &&
      node_int(node_at(g, rope), "from", 0) != ROPE_HEADS)
    return flatten_rope(w, rope);
  return swap < 0 || !swaps_heads(node_at(g, swap)) || flatten_transpose(w, swap);
}

/* The mask broadcasts by itself. */
static void repeated_mask(struct rewrite *w, int i) {
  enum { MASK = 3 };
  const struct node *n = node_at(w->g, i);
  int p = n->in.n > MASK ? made_by(w->g, n->in.v[MASK], "Expand") : -1;
  if (p >= 0) rewrite_input(w, i, MASK, input(w->g, p, 0));
}

static bool flatten_all(struct rewrite *w, int i) {
  if (!is_op(node_at(w->g, i), "FusedAttention")) return true;
  repeated_mask(w, i);
  return flatten(w, i, 0) && flatten(w, i, 1) && flatten(w, i, 2);
}

enum fvm_status pass_groups(struct graph *g, struct fvm_error *err) {
  return rewrite_each(g, share_keys, err);
}

/* After repeated keys are gone, so that one operator alone reads those. */
enum fvm_status pass_heads(struct graph *g, struct fvm_error *err) {
  return rewrite_each(g, flatten_all, err);
}
