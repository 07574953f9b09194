/* Element-wise operators go into what computes their input, or into one another, so that values
 * between them never go to memory:
 *
 *   MatMul -> Add bias -> Gelu            MatMul {Add; Gelu}
 *   Conv -> Add residual -> Relu          Conv {Add; Relu}
 *   Mul -> Sub -> Where                   FusedElementwise {Mul; Sub; Where}
 *
 * The fused node stands where the last of its members stood. That is always late enough for what
 * its body reads, and early enough for who reads the result, since all else that its members make
 * is read by members alone.
 *
 * needs: shapes, no fused nodes yet. keeps: shapes, topological order. breaks: nothing. */
#include "fuse_body.h"

static bool is_elementwise(const struct node *n) {
  return !n->dead && !n->body && (n->op->flags & OPF_ELT) && n->out.n == 1 && n->out.v[0] >= 0;
}

static bool is_anchor(const struct node *n) {
  return !n->dead && !n->body && (n->op->flags & OPF_ANCHOR) && !(n->op->flags & OPF_COMPOSITE) &&
         n->out.n == 1 && n->in.n <= FUSE_MAX_OWN;
}

static bool is_member(const struct group *s, int node) {
  for (int k = 0; k < s->n; k++)
    if (s->member[k] == node) return true;
  return false;
}

/* Whether members alone read t, and it has the shape of the sink's result. */
static bool is_inner(const struct rewrite *w, const struct group *s, int t) {
  const struct graph *g = w->g;
  int uses = 0;
  for (int k = 0; k < s->n; k++) {
    const struct node *n = node_at(g, s->member[k]);
    for (size_t j = 0; j < n->in.n; j++) uses += n->in.v[j] == t;
  }
  return uses == w->uses[t] && !g->tensor.v[t].is_output &&
         same_dims(tensor_of(g, t), tensor_of(g, node_at(g, s->member[s->n - 1])->out.v[0]));
}

/* ---- groups ---- */

/* Members stay sorted, the sink last. */
static void add_member(struct group *s, int node) {
  int k = s->n++;
  for (; k > 0 && s->member[k - 1] > node; k--) s->member[k] = s->member[k - 1];
  s->member[k] = node;
}

/* Add one producer to the group if any can be added. */
static bool grow_once(const struct rewrite *w, struct group *s) {
  const struct graph *g = w->g;
  for (int k = s->n - 1; k >= 0 && s->n < FUSE_MAX_ITEMS; k--) {
    const struct node *n = node_at(g, s->member[k]);
    for (size_t j = 0; j < n->in.n; j++) {
      int t = n->in.v[j], p = t < 0 ? -1 : g->tensor.v[t].producer;
      if (p < 0 || is_member(s, p) || !is_elementwise(node_at(g, p)) || !is_inner(w, s, t))
        continue;
      struct group more = *s;
      add_member(&more, p);
      if (!fuse_possible(g, &more)) continue;
      *s = more;
      return true;
    }
  }
  return false;
}

/* The largest group that ends in a node. */
static void grow(const struct rewrite *w, int sink, struct group *s) {
  *s = (struct group){.member = {sink}, .n = 1, .anchor = -1};
  while (grow_once(w, s)) {
  }
}

/* Let the latest anchor that a group alone reads compute it all. */
static bool find_anchor(const struct rewrite *w, struct group *s) {
  const struct graph *g = w->g;
  struct group best = *s;
  for (int k = 0; k < s->n; k++) {
    const struct node *n = node_at(g, s->member[k]);
    for (size_t j = 0; j < n->in.n; j++) {
      int t = n->in.v[j], p = t < 0 ? -1 : g->tensor.v[t].producer;
      if (p <= best.anchor || !is_anchor(node_at(g, p)) || !is_inner(w, s, t)) continue;
      struct group with = *s;
      with.anchor = p;
      if (fuse_possible(g, &with)) best = with;
    }
  }
  *s = best;
  return s->anchor >= 0;
}

/* ---- the three sweeps ---- */

/* Whole groups behind anchors, last ones first: what a group takes, none before it gets. */
static bool fuse_behind_anchors(struct rewrite *w) {
  struct group s;
  for (int i = (int)w->g->node.n - 1; i >= 0; i--) {
    if (!is_elementwise(node_at(w->g, i))) continue;
    grow(w, i, &s);
    if (find_anchor(w, &s) && !fuse_apply(w, &s)) return false;
  }
  return true;
}

/* Where the whole group didn't fit: as much of the chain behind the anchor as does. */
static bool fuse_chains(struct rewrite *w) {
  for (int i = 0; i < (int)w->g->node.n; i++) {
    struct group s = {.anchor = i};
    if (!is_anchor(node_at(w->g, i))) continue;
    for (int t = node_at(w->g, i)->out.v[0]; s.n < FUSE_MAX_ITEMS;) {
      int e = only_user(w, t);
      if (e < 0 || !is_elementwise(node_at(w->g, e))) break;
      s.member[s.n++] = e;
      t = node_at(w->g, e)->out.v[0];
      if (fuse_possible(w->g, &s)) continue;
      s.n--;
      break;
    }
    if (s.n > 0 && !fuse_apply(w, &s)) return false;
  }
  return true;
}

/* The rest, among themselves. */
static bool fuse_elementwise(struct rewrite *w) {
  struct group s;
  for (int i = (int)w->g->node.n - 1; i >= 0; i--) {
    if (!is_elementwise(node_at(w->g, i))) continue;
    grow(w, i, &s);
    if (s.n > 1 && !fuse_apply(w, &s)) return false;
  }
  return true;
}

enum fvm_status pass_fuse(struct graph *g, struct fvm_error *err) {
  struct rewrite w;
  enum fvm_status st = rewrite_begin(&w, g, err);
  if (st != FVM_OK) return st;
  bool ok = fuse_behind_anchors(&w) && fuse_chains(&w) && fuse_elementwise(&w);
  if (ok) fuse_note_misses(g);
  rewrite_end(&w);
  return ok ? FVM_OK : fvm_nomem(err);
}
