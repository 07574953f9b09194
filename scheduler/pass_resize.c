/* Resize and Upsample become one Resample for each axis that changes (kernels/resample.h), with its
 * taps as constants; those of other types than floats become one Gather each.
 *
 * Axes that shrink go first, and the innermost of the others: so least is computed.
 *
 * needs: shapes. keeps: shapes, topological order after a graph_compact. breaks: nothing. */
#include "pass.h"

#include "../kernels/resample.h"

struct step {
  int axis;
  struct taps t;
};

static double growth(const struct graph *g, int x, const struct step *s) {
  return (double)s->t.n / (double)MAX(tensor_of(g, x)->dim[s->axis], 1);
}

/* The axes that change, in the order to take them; -1 when memory is out. */
static int read_steps(struct rewrite *w, int i, struct step step[FVM_MAXRANK], bool *moves) {
  const struct node *n = node_at(w->g, i);
  struct opcall c;
  int count = 0, x = n->in.v[0];
  if (graph_opcall(w->g, i, &w->arena, &c, w->err) != FVM_OK) return -1;
  *moves = resize_moves(&c) && c.in[0].dtype != FVM_F32 && c.in[0].dtype != FVM_F64;
  for (int axis = c.in[0].rank; axis-- > 0;) {
    struct step s = {.axis = axis};
    if (resize_taps(&c, axis, &w->arena, &s.t, w->err) != FVM_OK) return -1;
    if (s.t.n == 0) continue;
    int at = count++;
    for (; at > 0 && growth(w->g, x, &s) < MIN(1, growth(w->g, x, &step[at - 1])); at--)
      step[at] = step[at - 1];
    step[at] = s;
  }
  return count;
}

static int add_table(struct rewrite *w, const char *name, enum fvm_dtype d, int64_t k, int64_t n,
                     const void *data) {
  struct tensor t = {.dtype = d, .rank = k ? 2 : 1, .dim = {k ? k : n, n}, .data = data};
  return rewrite_constant(w, name, &t);
}

/* The inputs of the node that takes a step on tensor x; 0: memory is out. */
static int add_inputs(struct rewrite *w, const char *name, const struct step *s, int x, bool moves,
                      int in[4]) {
  in[0] = x;
  in[1] = add_table(w, name, FVM_I64, moves ? 0 : s->t.k, s->t.n, s->t.index);
  if (moves) return in[1] < 0 ? 0 : 2;
  in[2] = add_table(w, name, FVM_F32, s->t.k, s->t.n, s->t.weight);
  in[3] = add_table(w, name, FVM_F32, 0, s->t.n, s->t.start);
  return in[1] < 0 || in[2] < 0 || in[3] < 0 ? 0 : 4;
}

/* Take a step from x: by the node itself when it is the last, else by a new one. The result, or
 * -1. */
static int add_step(struct rewrite *w, int i, const struct step *s, int x, bool moves, bool last) {
  const struct node *n = node_at(w->g, i);
  const char *name = n->name, *op = moves ? "Gather" : "Resample";
  int y = n->out.v[0], in[4];
  int nin = add_inputs(w, name, s, x, moves, in);
  if (nin == 0) return -1;
  if (last) {
    if (!rewrite_node(w, i, op, nin, in)) return -1;
  } else {
    struct tensor t = *tensor_of(w->g, x);
    t.dim[s->axis] = s->t.n;
    y = rewrite_tensor(w, w->g->tensor.v[y].name, &t);
    i = y < 0 ? -1 : rewrite_add(w, name, op, nin, in, y);
  }
  return i >= 0 && rewrite_set_int(w, i, "axis", s->axis) ? y : -1;
}

static bool resize(struct rewrite *w, int i) {
  struct graph *g = w->g;
  const struct node *n = node_at(g, i);
  if (!is_op(n, "Resize") && !is_op(n, "Upsample")) return true;
  struct step step[FVM_MAXRANK];
  bool moves;
  int x = n->in.v[0], count = read_steps(w, i, step, &moves);
  if (tensor_count(tensor_of(g, n->out.v[0])) == 0) return true;
  if (count == 0) return rewrite_node(w, i, "Identity", 1, &x);
  for (int k = 0; k < count && x >= 0; k++) x = add_step(w, i, &step[k], x, moves, k == count - 1);
  return count > 0 && x >= 0;
}

enum fvm_status pass_resize(struct graph *g, struct fvm_error *err) {
  return rewrite_each(g, resize, err);
}
