/* The checker beside the model: every step is a node, two of which one alone reads what the other
 * makes, or a conversion; each buffer of a step stands
 * in the place of the tensor that the graph wants there, in the layout that the step's label names.
 */
#include "check_impl.h"

#include <inttypes.h>
#include <string.h>

static const char *row_name(const struct check_match *m, uint32_t row) {
  return plan_string(m->k->p, m->k->p->tensor[row].name);
}

static const char *name_of(const struct check_match *m, int tensor) {
  return tensor < 0 ? "" : m->g->tensor.v[tensor].name;
}

/* ---- index ----------------------------------------------------------------------------------- */
static bool index_names(struct check_match *m) {
  const struct graph *g = m->g;
  for (int i = 0; i < (int)g->tensor.n; i++)
    if (names_find(&m->tensor, name_of(m, i)) < 0 && !names_add(&m->tensor, name_of(m, i), i))
      return false;
  for (int i = 0; i < (int)g->node.n; i++) {
    m->next_node[i] = -1;
    if (g->node.v[i].dead) continue;
    int same = names_find(&m->node, g->node.v[i].name);
    while (same >= 0 && m->next_node[same] >= 0) same = m->next_node[same];
    if (same >= 0)
      m->next_node[same] = i;
    else if (!names_add(&m->node, g->node.v[i].name, i))
      return false;
  }
  return true;
}

/* Rows and constants of each tensor, in order; FVM_EFORMAT for one that the model does not have. */
static enum fvm_status index_rows(struct check_match *m) {
  const struct fvm_plan *p = m->k->p;
  int none = (int)m->g->tensor.n;
  for (int i = 0; i <= none; i++) m->first_row[i] = m->first_const[i] = -1;
  for (uint32_t i = p->ntensor; i-- > 0;) {
    int t = *row_name(m, i) ? names_find(&m->tensor, row_name(m, i)) : none;
    if (t < 0) return check_bad_row(m->k, i, "not a tensor of the model");
    m->next_row[i] = m->first_row[t];
    m->first_row[t] = (int)i;
  }
  for (uint32_t i = p->nconst; i-- > 0;) {
    int t = names_find(&m->tensor, plan_string(p, p->konst[i].name));
    if (t < 0)
      return fvm_fail(m->k->err, FVM_EFORMAT, "constant %.100s: not one of the model",
                      plan_string(p, p->konst[i].name));
    m->const_tensor[i] = t;
    m->next_const[i] = m->first_const[t];
    m->first_const[t] = (int)i;
  }
  return FVM_OK;
}

static enum fvm_status make_index(struct check_match *m) {
  const struct fvm_plan *p = m->k->p;
  size_t nt = m->g->tensor.n + 1, nn = m->g->node.n + 1;
  m->first_row = ARENA_NEW(&m->a, int, nt);
  m->first_const = ARENA_NEW(&m->a, int, nt);
  m->next_row = ARENA_NEW(&m->a, int, p->ntensor + 1);
  m->next_const = ARENA_NEW(&m->a, int, p->nconst + 1);
  m->const_tensor = ARENA_NEW(&m->a, int, p->nconst + 1);
  m->proved = ARENA_NEW(&m->a, bool, p->ntensor + 1);
  m->next_node = ARENA_NEW(&m->a, int, nn);
  m->done = ARENA_NEW(&m->a, bool, nn);
  if (!m->first_row || !m->first_const || !m->next_row || !m->next_const || !m->const_tensor ||
      !m->proved || !m->next_node || !m->done || !index_names(m))
    return fvm_nomem(m->k->err);
  return index_rows(m);
}

/* ---- inputs, outputs, tensors ---------------------------------------------------------------- */
static bool same_shape(const struct tensor *t, uint32_t dtype, uint32_t rank, const int64_t *dim) {
  return (uint32_t)t->dtype == dtype && (uint32_t)t->rank == rank &&
         memcmp(t->dim, dim, rank * sizeof *dim) == 0;
}

static enum fvm_status check_io(const struct check_match *m, const int *tensor, size_t n,
                                uint32_t first, uint32_t count, const char *what) {
  const struct fvm_plan *p = m->k->p;
  if (n != count)
    return fvm_fail(m->k->err, FVM_EFORMAT, "the model has %zu %ss, the plan %u", n, what, count);
  for (size_t i = 0; i < n; i++) {
    const struct gtensor *t = &m->g->tensor.v[tensor[i]];
    const struct plan_io *io = &p->io[first + i];
    if (strcmp(t->name, plan_string(p, io->name)) != 0 ||
        !same_shape(&t->t, io->dtype, io->rank, io->dim))
      return fvm_fail(m->k->err, FVM_EFORMAT, "%s %.100s differs from the model's, %.100s", what,
                      plan_string(p, io->name), t->name);
  }
  return FVM_OK;
}

/* A state of the plan is one of the model. */
static enum fvm_status check_states(const struct check_match *m) {
  const struct fvm_plan *p = m->k->p;
  for (uint32_t o = 0; o < p->nout; o++)
    if (p->public_io[p->nin + o].state >= 0 && graph_state(m->g, m->g->output.v[o]) < 0)
      return fvm_fail(m->k->err, FVM_EFORMAT, "output %.100s is a state, but not in the model",
                      p->public_io[p->nin + o].name);
  return FVM_OK;
}

/* Type, shape, layout and size of a row or constant are those of the tensor it names. */
static bool is_tensor(const struct tensor *t, uint32_t dtype, uint32_t layout, uint32_t rank,
                      const int64_t *dim, uint64_t bytes) {
  return same_shape(t, dtype, rank, dim) && layout < LAYOUT_COUNT &&
         (layout == LAYOUT_ROW || layout_fits(t, (enum layout)layout)) &&
         (uint64_t)layout_bytes(t, (enum layout)layout) == bytes;
}

static enum fvm_status check_rows(const struct check_match *m) {
  const struct fvm_plan *p = m->k->p;
  for (size_t t = 0; t < m->g->tensor.n; t++)
    for (int r = m->first_row[t]; r >= 0; r = m->next_row[r]) {
      const struct plan_tensor *x = &p->tensor[r];
      if (!is_tensor(&m->g->tensor.v[t].t, x->dtype, x->layout, x->rank, x->dim, x->bytes))
        return check_bad_row(m->k, (uint32_t)r, "not a tensor of the model in that layout");
    }
  for (uint32_t i = 0; i < p->nconst; i++) {
    const struct plan_const *c = &p->konst[i];
    const struct tensor *t = &m->g->tensor.v[m->const_tensor[i]].t;
    if (!t->data || !is_tensor(t, c->dtype, c->layout, c->rank, c->dim, c->bytes))
      return fvm_fail(m->k->err, FVM_EFORMAT, "constant %.100s: not one of the model",
                      plan_string(p, c->name));
  }
  return FVM_OK;
}

/* ---- steps ----------------------------------------------------------------------------------- */
/* Item i of a list like in=row,p32 in a label's text; row where the list ends. LAYOUT_COUNT when
 * the text is no layout. */
static enum layout label_layout(const char *label, const char *list, int i) {
  const char *s = strstr(label, list);
  if (!s) return LAYOUT_ROW;
  for (s += strlen(list); i > 0; i--) {
    s += strcspn(s, ", ");
    if (*s++ != ',') return LAYOUT_ROW;
  }
  return layout_parse(s, strcspn(s, ", "));
}

/* Whether buffer i of a step stands where the tensor is in that layout. *row: which it is; -1: a
 * constant, or nothing. */
static bool stands_at(const struct check_match *m, uint32_t step, uint32_t i, int tensor,
                      uint32_t layout, bool written, int *row) {
  const struct fvm_plan *p = m->k->p;
  const struct plan_bind *b = &p->bind[p->step[step].first_bind + i];
  uint64_t bytes = (uint64_t)p->program[p->step[step].program].buf[i].bytes;
  size_t list = tensor < 0 ? m->g->tensor.n : (size_t)tensor;
  *row = -1;
  if (bytes == 0) return true;
  for (int r = m->first_row[list]; r >= 0; r = m->next_row[r]) {
    const struct plan_tensor *t = &p->tensor[r];
    if (t->layout != layout || t->offset != b->offset || !check_in_row(t, b, bytes)) continue;
    if (written ? t->first != step : !check_readable(m->k, (uint32_t)r, step)) continue;
    *row = r;
    return true;
  }
  for (int r = m->first_const[list]; r >= 0 && !written; r = m->next_const[r]) {
    const struct plan_const *c = &p->konst[r];
    if (b->space == SPACE_WEIGHTS && c->layout == layout && c->offset == b->offset &&
        bytes <= c->bytes)
      return true;
  }
  return false;
}

static enum fvm_status misplaced(const struct check_match *m, uint32_t step, uint32_t i, int tensor,
                                 enum layout layout) {
  const struct fvm_plan *p = m->k->p;
  return fvm_fail(m->k->err, FVM_EFORMAT,
                  "step %u (%.100s): buffer %u is not tensor '%.100s' in %s", step,
                  plan_string(p, p->step[step].name), i, name_of(m, tensor),
                  layout < LAYOUT_COUNT ? layout_name(layout) : "a layout");
}

/* What a step runs: a node, and before it the one that makes its input 0 unless first is -1. Again:
 * the first or only one of them once more than the model does. */
struct work {
  int first, node;
  bool again;
};

static uint32_t count_inputs(const struct check_match *m, struct work x) {
  size_t n = m->g->node.v[x.node].in.n;
  return (uint32_t)(x.first < 0 ? n : n - 1 + m->g->node.v[x.first].in.n);
}

static uint32_t count_buffers(const struct check_match *m, struct work x) {
  return count_inputs(m, x) + (uint32_t)m->g->node.v[x.node].out.n;
}

/* The tensor of buffer i, inputs first (those of the first node, and those of the second but what
 * is between them), and its layout by the label. */
static int tensor_at(const struct check_match *m, struct work x, const char *label, uint32_t i,
                     enum layout *layout) {
  const struct node *n = &m->g->node.v[x.node];
  uint32_t nin = count_inputs(m, x), nf = x.first < 0 ? 0 : nin + 1 - (uint32_t)n->in.n;
  bool out = i >= nin;
  *layout = label_layout(label, out ? " out=" : " in=", (int)(out ? i - nin : i));
  if (out) return n->out.v[i - nin];
  if (i < nf) return m->g->node.v[x.first].in.v[i];
  return n->in.v[x.first < 0 ? i : i - nf + 1];
}

/* The first buffer that does not stand where its tensor is; that of the last output and one when
 * all do. What the step writes is proved then. */
static uint32_t misfit(struct check_match *m, uint32_t step, struct work x, bool prove) {
  const char *label = plan_string(m->k->p, m->k->p->step[step].label);
  enum layout layout;
  int row;
  uint32_t i = 0;
  for (; i < count_buffers(m, x); i++) {
    bool out = i >= count_inputs(m, x);
    int tensor = tensor_at(m, x, label, i, &layout);
    if (!stands_at(m, step, i, tensor, layout, out, &row)) break;
    if (out && row >= 0 && prove) m->proved[row] = true;
  }
  return i;
}

static bool has_buffers(const struct check_match *m, uint32_t step, struct work x) {
  return m->k->p->program[m->k->p->step[step].program].nbuf >= count_buffers(m, x);
}

/* ---- steps of two nodes ---------------------------------------------------------------------- */
/* Fill in the node of that name (its first n bytes) which makes input 0 of the other and nothing
 * else. What it makes is nowhere then: who else reads it finds it in a row of another step, or not
 * at all. */
static bool find_first(const struct check_match *m, const char *name, size_t n, struct work *x) {
  const struct node *y = &m->g->node.v[x->node];
  size_t once = plan_once(name, n);
  int t = y->in.n ? y->in.v[0] : -1, p = t < 0 ? -1 : m->g->tensor.v[t].producer;
  const char *own = p < 0 ? "" : m->g->node.v[p].name;
  x->first = p;
  x->again = once < n;
  return p >= 0 && !m->done[x->node] && (x->again || !m->done[p]) && m->g->node.v[p].out.n == 1 &&
         strlen(own) == once && !strncmp(own, name, once);
}

/* The nodes of a step called "FIRST + SECOND"; node -1: there are none. */
static struct work two_nodes(struct check_match *m, uint32_t step) {
  static const char plus[] = " + ";
  const char *name = plan_string(m->k->p, m->k->p->step[step].name);
  struct work left = {-1, -1, false};
  for (const char *at = strstr(name, plus); at; at = strstr(at + 1, plus))
    for (int i = names_find(&m->node, at + strlen(plus)); i >= 0; i = m->next_node[i]) {
      struct work x = {.node = i};
      if (!find_first(m, name, (size_t)(at - name), &x)) continue;
      if (left.node < 0) left = x;
      if (has_buffers(m, step, x) && misfit(m, step, x, false) == count_buffers(m, x)) return x;
    }
  return left;
}

/* ---- steps ----------------------------------------------------------------------------------- */
/* Of nodes with one name the one that the step runs; the first that is left if it runs none. */
static int node_of(struct check_match *m, uint32_t step, int node, bool again) {
  int left = -1;
  for (; node >= 0; node = m->next_node[node]) {
    struct work x = {-1, node, again};
    if (m->done[node] && !again) continue;
    if (left < 0) left = node;
    if (has_buffers(m, step, x) && misfit(m, step, x, false) == count_buffers(m, x)) return node;
  }
  return left;
}

static enum fvm_status check_work(struct check_match *m, uint32_t step, struct work x) {
  if (x.first >= 0) m->done[x.node] = true;
  m->done[x.first < 0 ? x.node : x.first] |= !x.again;
  if (!has_buffers(m, step, x))
    return check_bad_step(m->k, step, "has fewer buffers than its node has inputs and outputs");
  uint32_t i = misfit(m, step, x, true);
  if (i == count_buffers(m, x)) return check_label(m, step, x.first, x.node);
  enum layout layout;
  int tensor = tensor_at(m, x, plan_string(m->k->p, m->k->p->step[step].label), i, &layout);
  return misplaced(m, step, i, tensor, layout);
}

/* The step that is called like a node. */
static enum fvm_status check_node(struct check_match *m, uint32_t step, int first, bool again) {
  bool alone = m->next_node[first] < 0 && (again || !m->done[first]);
  int node = alone ? first : node_of(m, step, first, again);
  if (node < 0) return check_bad_step(m->k, step, "runs its node a second time");
  return check_work(m, step, (struct work){-1, node, again});
}

/* "convert TENSOR" or "copy TENSOR": the same tensor on both sides. */
static enum fvm_status check_move(struct check_match *m, uint32_t step) {
  const struct fvm_plan *p = m->k->p;
  const char *name = plan_string(p, p->step[step].name),
             *label = plan_string(p, p->step[step].label);
  const char *tensor = strchr(name, ' ');
  bool copy = !strncmp(name, "copy ", 5);
  int t = tensor ? names_find(&m->tensor, tensor + 1) : -1;
  if (t < 0 || (!copy && strncmp(name, "convert ", 8) != 0))
    return check_bad_step(m->k, step, "neither a node of the model nor a conversion");
  enum layout from = label_layout(label, " in=", 0), to = label_layout(label, " out=", 0);
  if (from == LAYOUT_COUNT || to == LAYOUT_COUNT || (from == to) != copy)
    return check_bad_step(m->k, step, "its label names no conversion of that kind");
  if (p->program[p->step[step].program].nbuf != 2)
    return check_bad_step(m->k, step, "a conversion has two buffers");
  int row;
  if (!stands_at(m, step, 0, t, from, false, &row)) return misplaced(m, step, 0, t, from);
  if (!stands_at(m, step, 1, t, to, true, &row)) return misplaced(m, step, 1, t, to);
  if (row >= 0) m->proved[row] = true;
  return check_conversion(m, step, t, from, to);
}

static enum fvm_status check_step(struct check_match *m, uint32_t step) {
  const struct fvm_plan *p = m->k->p;
  const char *name = plan_string(p, p->step[step].name);
  if (!strncmp(plan_string(p, p->step[step].label), "convert ", 8)) return check_move(m, step);
  size_t once = plan_once(name, strlen(name));
  int node = names_find(&m->node, name), again = names_find_part(&m->node, name, once);
  if (node >= 0) return check_node(m, step, node, false);
  if (again >= 0) return check_node(m, step, again, true);
  struct work two = two_nodes(m, step);
  return two.node >= 0 ? check_work(m, step, two) : check_move(m, step);
}

static enum fvm_status check_steps(struct check_match *m) {
  enum fvm_status st = FVM_OK;
  for (uint32_t s = 0; s < m->k->p->nstep && st == FVM_OK; s++) st = check_step(m, s);
  return st;
}

enum fvm_status check_graph(const struct checker *k, const struct graph *g) {
  const struct fvm_plan *p = k->p;
  struct check_match m = {.k = k, .g = g};
  enum fvm_status st = FVM_OK;
  if (p->meta->model_hash != g->model_hash)
    st = fvm_fail(k->err, FVM_EFORMAT, "the plan was made for another model");
  if (st == FVM_OK) st = check_io(&m, g->input.v, g->input.n, 0, p->nin, "input");
  if (st == FVM_OK) st = check_io(&m, g->output.v, g->output.n, p->nin, p->nout, "output");
  if (st == FVM_OK) st = check_states(&m);
  if (st == FVM_OK) st = make_index(&m);
  if (st == FVM_OK) st = check_rows(&m);
  if (st == FVM_OK) st = check_steps(&m);
  if (st == FVM_OK) st = check_values(&m);
  if (st == FVM_OK) st = check_weights(&m);
  names_free(&m.tensor);
  names_free(&m.node);
  arena_free(&m.a);
  return st;
}
