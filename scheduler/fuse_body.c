/* Bodies from nodes: numbering of values, and the question whether kernels can do it. */
#include "fuse_body.h"

#include "../kernels/body.h"

#include <string.h>

struct fused {
  int in[FUSE_MAX_INPUTS], nin; /* tensors that only the body reads */
  struct body_item *item;
  struct body *body;
};

static int item_of(const struct graph *g, const struct group *s, int t) {
  for (int k = 0; k < s->n; k++)
    if (node_at(g, s->member[k])->out.v[0] == t) return k;
  return -1;
}

static bool is_anchor_out(const struct graph *g, const struct group *s, int t) {
  return s->anchor >= 0 && node_at(g, s->anchor)->out.v[0] == t;
}

/* Add t to the inputs of the body unless it is there or made inside. */
static bool add_input(const struct graph *g, const struct group *s, int t, struct fused *f) {
  if (t < 0 || is_anchor_out(g, s, t) || item_of(g, s, t) >= 0) return true;
  for (int i = 0; i < f->nin; i++)
    if (f->in[i] == t) return true;
  if (f->nin == FUSE_MAX_INPUTS) return false;
  f->in[f->nin++] = t;
  return true;
}

/* Number of a value as in struct body. */
static int value_of(const struct graph *g, const struct group *s, const struct fused *f, int nown,
                    int t) {
  int nin = nown + f->nin, k = t < 0 ? -1 : item_of(g, s, t);
  if (t < 0) return -1;
  if (is_anchor_out(g, s, t)) return nin;
  if (k >= 0) return nin + 1 + k;
  for (k = 0; f->in[k] != t;) k++;
  return nown + k;
}

static int own_inputs(const struct graph *g, const struct group *s) {
  return s->anchor < 0 ? 0 : (int)node_at(g, s->anchor)->in.n;
}

/* False when memory is out or the body has too many inputs. */
static bool build(const struct graph *g, const struct group *s, struct arena *a, struct fused *f) {
  *f = (struct fused){.item = ARENA_NEW(a, struct body_item, s->n),
                      .body = ARENA_NEW(a, struct body, 1)};
  if (!f->item || !f->body) return false;
  for (int k = 0; k < s->n; k++) {
    const struct node *n = node_at(g, s->member[k]);
    if (n->in.n > BODY_MAXARG) return false;
    for (size_t j = 0; j < n->in.n; j++)
      if (!add_input(g, s, n->in.v[j], f)) return false;
  }
  for (int k = 0; k < s->n; k++) {
    const struct node *n = node_at(g, s->member[k]);
    struct body_item *item = &f->item[k];
    *item = (struct body_item){.op = n->op,
                               .narg = (int)n->in.n,
                               .dtype = tensor_of(g, n->out.v[0])->dtype,
                               .attr = n->attr,
                               .nattr = n->nattr};
    for (int j = 0; j < item->narg; j++)
      item->arg[j] = value_of(g, s, f, own_inputs(g, s), n->in.v[j]);
  }
  *f->body = (struct body){s->n, f->item};
  return true;
}

static const struct op *op_of(const struct graph *g, const struct group *s) {
  return s->anchor < 0 ? op_find("FusedElementwise", 16) : node_at(g, s->anchor)->op;
}

/* Columns of the matrix that the anchor's candidates see its output as. */
static int64_t columns(const struct op *op, const struct tensor *y) {
  int64_t n = 1;
  if (y->rank < 1) return 1;
  if (strcmp(op->name, "Conv") != 0) return y->dim[y->rank - 1];
  for (int i = 2; i < y->rank; i++) n *= y->dim[i];
  return n;
}

static bool can_run(const struct graph *g, const struct group *s, const struct fused *f,
                    struct arena *a) {
  const struct tensor *y = tensor_of(g, node_at(g, s->member[s->n - 1])->out.v[0]);
  const struct node *anchor = s->anchor < 0 ? NULL : node_at(g, s->anchor);
  int nown = own_inputs(g, s);
  struct tensor out = {0};
  struct opcall c = {.op = op_of(g, s),
                     .nin = nown + f->nin,
                     .nown = nown,
                     .nout = 1,
                     .in = ARENA_NEW(a, struct tensor, nown + f->nin),
                     .out = &out,
                     .attr = anchor ? anchor->attr : NULL,
                     .nattr = anchor ? anchor->nattr : 0,
                     .body = f->body,
                     .opset = g->opset};
  if (!c.in) return false;
  for (int k = 0; k < nown; k++)
    if (anchor->in.v[k] >= 0) c.in[k] = *tensor_of(g, anchor->in.v[k]);
  for (int k = 0; k < f->nin; k++) c.in[nown + k] = *tensor_of(g, f->in[k]);
  if (opcall_shape(&c, NULL) != FVM_OK || !same_dims(&out, y)) return false;
  return anchor ? body_fits(&c, (struct matrix_dims){.cols = columns(c.op, y)})
                : body_supported(&c);
}

bool fuse_possible(const struct graph *g, const struct group *s) {
  struct arena a = {0};
  struct fused f;
  bool ok = build(g, s, &a, &f) && can_run(g, s, &f, &a);
  arena_free(&a);
  return ok;
}

bool fuse_apply(struct rewrite *w, const struct group *s) {
  struct graph *g = w->g;
  struct fused f;
  if (!build(g, s, &g->arena, &f)) return false;
  int sink = s->member[s->n - 1], nown = own_inputs(g, s), in[FUSE_MAX_OWN + FUSE_MAX_INPUTS];
  struct node old = {0};
  if (s->anchor >= 0) old = *node_at(g, s->anchor);
  for (int k = 0; k < nown; k++) in[k] = old.in.v[k];
  memcpy(in + nown, f.in, (size_t)f.nin * sizeof *in);
  if (!rewrite_node(w, sink, op_of(g, s)->name, nown + f.nin, in)) return false;
  struct node *n = node_at(g, sink);
  n->nown = nown;
  n->body = f.body;
  n->attr = old.attr;
  n->nattr = old.nattr;
  if (s->anchor >= 0) n->name = old.name;
  for (int k = 0; k < s->n - 1; k++) rewrite_kill(w, s->member[k]);
  if (s->anchor >= 0) rewrite_kill(w, s->anchor);
  return true;
}
