/* The checker's second half: the plan does what the graph says. Every live node is a step or a
 * view, every step is a node or a conversion; each buffer of a step stands in the place of the
 * tensor that the graph wants there, in the layout that the step's label names. */
#include "check_impl.h"

#include <string.h>

#include "names.h"

/* Rows of a table by name, of which several may have the same. */
struct by_name {
  struct names first;
  int *next; /* by row: the next one of its name, or -1 */
  int *last; /* by first row: the last one of its name */
};
#define EACH_NAMED(i, rows, name)                                                                  \
  for (int i = names_find(&(rows).first, name); i >= 0; i = (rows).next[i])

struct match {
  const struct checker *k;
  const struct graph *g;
  struct arena a;
  bool *done;                   /* by node: a step runs it */
  struct by_name node, tensor;  /* of the graph */
  struct by_name row, constant; /* of the plan */
};

/* ---- names ----------------------------------------------------------------------------------- */
static bool names_start(struct by_name *t, size_t n, struct arena *a) {
  t->next = ARENA_NEW(a, int, n);
  t->last = ARENA_NEW(a, int, n);
  return t->next && t->last;
}

static bool enter(struct by_name *t, const char *name, int row) {
  int first = names_find(&t->first, name);
  t->next[row] = -1;
  if (first >= 0) t->next[t->last[first]] = row;
  t->last[first < 0 ? row : first] = row;
  return first >= 0 || names_add(&t->first, name, row);
}

static bool match_open(struct match *m) {
  const struct fvm_plan *p = m->k->p;
  m->done = ARENA_NEW(&m->a, bool, m->g->node.n);
  bool ok = m->done && names_start(&m->node, m->g->node.n, &m->a) &&
            names_start(&m->tensor, m->g->tensor.n, &m->a) &&
            names_start(&m->row, p->ntensor, &m->a) && names_start(&m->constant, p->nconst, &m->a);
  for (size_t i = 0; ok && i < m->g->node.n; i++)
    ok = enter(&m->node, m->g->node.v[i].name, (int)i);
  for (size_t i = 0; ok && i < m->g->tensor.n; i++)
    ok = enter(&m->tensor, m->g->tensor.v[i].name, (int)i);
  for (uint32_t i = 0; ok && i < p->ntensor; i++)
    ok = enter(&m->row, plan_string(p, p->tensor[i].name), (int)i);
  for (uint32_t i = 0; ok && i < p->nconst; i++)
    ok = enter(&m->constant, plan_string(p, p->konst[i].name), (int)i);
  return ok;
}

static void match_close(struct match *m) {
  names_free(&m->node.first);
  names_free(&m->tensor.first);
  names_free(&m->row.first);
  names_free(&m->constant.first);
  arena_free(&m->a);
}

static const char *row_name(const struct match *m, uint32_t row) {
  return plan_string(m->k->p, m->k->p->tensor[row].name);
}

static bool same_shape(const struct tensor *t, uint32_t dtype, uint32_t rank, const int64_t *dim) {
  return (uint32_t)t->dtype == dtype && (uint32_t)t->rank == rank &&
         memcmp(t->dim, dim, rank * sizeof *dim) == 0;
}

/* ---- inputs, outputs, tensors ---------------------------------------------------------------- */
static enum fvm_status check_io(const struct match *m, const int *tensor, size_t n, uint32_t first,
                                uint32_t count, const char *what) {
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

static const struct tensor *find_tensor(const struct match *m, const char *name) {
  int i = names_find(&m->tensor.first, name);
  return i < 0 ? NULL : &m->g->tensor.v[i].t;
}

/* Type, shape, layout and size of a row or constant are those of the tensor it names. */
static bool is_tensor(const struct match *m, const char *name, uint32_t dtype, uint32_t layout,
                      uint32_t rank, const int64_t *dim, uint64_t bytes) {
  const struct tensor *t = find_tensor(m, name);
  return t && same_shape(t, dtype, rank, dim) && layout < LAYOUT_COUNT &&
         (layout == LAYOUT_ROW || layout_fits(t, (enum layout)layout)) &&
         (uint64_t)layout_bytes(t, (enum layout)layout) == bytes;
}

static enum fvm_status check_rows(const struct match *m) {
  const struct fvm_plan *p = m->k->p;
  for (uint32_t i = 0; i < p->ntensor; i++) {
    const struct plan_tensor *t = &p->tensor[i];
    if (*row_name(m, i) &&
        !is_tensor(m, row_name(m, i), t->dtype, t->layout, t->rank, t->dim, t->bytes))
      return check_bad_row(m->k, i, "not a tensor of the model in that layout");
  }
  for (uint32_t i = 0; i < p->nconst; i++) {
    const struct plan_const *c = &p->konst[i];
    const char *name = plan_string(p, c->name);
    if (!is_tensor(m, name, c->dtype, c->layout, c->rank, c->dim, c->bytes))
      return fvm_fail(m->k->err, FVM_EFORMAT, "constant %.100s: not one of the model", name);
    const struct tensor *t = find_tensor(m, name);
    if (!t->data ||
        (c->layout == LAYOUT_ROW && memcmp(p->weights + c->offset, t->data, (size_t)c->bytes) != 0))
      return fvm_fail(m->k->err, FVM_EFORMAT, "constant %.100s: value differs from the model's",
                      name);
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

/* Whether buffer i of a step stands where the named tensor is in that layout. */
static bool stands_at(const struct match *m, uint32_t step, uint32_t i, const char *name,
                      uint32_t layout, bool written) {
  const struct fvm_plan *p = m->k->p;
  const struct plan_bind *b = &p->bind[p->step[step].first_bind + i];
  uint64_t bytes = (uint64_t)p->program[p->step[step].program].buf[i].bytes;
  if (bytes == 0) return true;
  EACH_NAMED(r, m->row, name) {
    const struct plan_tensor *t = &p->tensor[r];
    if (t->layout == layout && t->offset == b->offset && check_in_row(t, b, bytes) &&
        (written ? t->first == step : check_readable(m->k, (uint32_t)r, step)))
      return true;
  }
  if (written || b->space != SPACE_WEIGHTS) return false;
  EACH_NAMED(r, m->constant, name) {
    const struct plan_const *c = &p->konst[r];
    if (c->layout == layout && c->offset == b->offset && bytes <= c->bytes) return true;
  }
  return false;
}

static const char *name_of(const struct match *m, int tensor) {
  return tensor < 0 ? "" : m->g->tensor.v[tensor].name;
}

/* Whether a step runs the node of its name: buffers, layouts. */
static bool runs_node(const struct match *m, uint32_t step, const struct node *n) {
  const struct fvm_plan *p = m->k->p;
  const struct program *q = &p->program[p->step[step].program];
  const char *label = plan_string(p, p->step[step].label);
  if (q->nbuf < n->in.n + n->out.n) return false;
  for (uint32_t i = 0; i < n->in.n + n->out.n; i++) {
    bool out = i >= n->in.n;
    int at = (int)(out ? i - n->in.n : i);
    const char *name = name_of(m, out ? n->out.v[at] : n->in.v[at]);
    if (!stands_at(m, step, i, name, label_layout(label, out ? " out=" : " in=", at), out))
      return false;
  }
  return true;
}

/* Whether a step is "convert TENSOR" or "copy TENSOR": the same tensor on both sides. */
static bool is_conversion(const struct match *m, uint32_t step) {
  const struct fvm_plan *p = m->k->p;
  const char *text = plan_string(p, p->step[step].name), *name = strchr(text, ' ');
  if (!name++ || (strncmp(text, "convert ", 8) != 0 && strncmp(text, "copy ", 5) != 0))
    return false;
  bool from = false, to = false;
  for (uint32_t layout = 0; layout < LAYOUT_COUNT; layout++) {
    from |= stands_at(m, step, 0, name, layout, false);
    to |= stands_at(m, step, 1, name, layout, true);
  }
  return p->program[p->step[step].program].nbuf >= 2 && from && to;
}

static enum fvm_status check_steps(const struct match *m) {
  const struct fvm_plan *p = m->k->p;
  for (uint32_t s = 0; s < p->nstep; s++) {
    int i = names_find(&m->node.first, plan_string(p, p->step[s].name));
    while (i >= 0 && (m->done[i] || m->g->node.v[i].dead || !runs_node(m, s, &m->g->node.v[i])))
      i = m->node.next[i];
    if (i >= 0)
      m->done[i] = true;
    else if (!is_conversion(m, s))
      return check_bad_step(m->k, s, "neither a node on its own tensors nor a conversion");
  }
  return FVM_OK;
}

/* ---- views ----------------------------------------------------------------------------------- */
static bool is_within(uint64_t offset, uint64_t bytes, uint64_t base, uint64_t base_bytes) {
  return offset >= base && offset + bytes <= base + base_bytes;
}

/* Whether row v shows bytes of the named tensor. */
static bool shows(const struct match *m, const struct plan_tensor *v, const char *name) {
  const struct fvm_plan *p = m->k->p;
  EACH_NAMED(r, m->row, name) {
    const struct plan_tensor *t = &p->tensor[r];
    if (t->space == v->space && t->index == v->index && t->first <= v->first &&
        is_within(v->offset, v->bytes, t->offset, t->bytes))
      return true;
  }
  if (v->space != SPACE_WEIGHTS) return false;
  EACH_NAMED(r, m->constant, name)
  if (is_within(v->offset, v->bytes, p->konst[r].offset, p->konst[r].bytes)) return true;
  return false;
}

/* Whether a row is tensor y and shows bytes of tensor x. */
static bool is_shown(const struct match *m, int y, int x) {
  EACH_NAMED(r, m->row, name_of(m, y))
  if (shows(m, &m->k->p->tensor[r], name_of(m, x))) return true;
  return false;
}

/* A node without a step: its outputs are bytes of its first input. */
static bool is_view(const struct match *m, const struct node *n) {
  bool is = n->in.n > 0 && n->in.v[0] >= 0 && n->out.n > 0;
  for (size_t k = 0; is && k < n->out.n; k++)
    is = n->out.v[k] >= 0 && is_shown(m, n->out.v[k], n->in.v[0]);
  return is;
}

/* The row of a tensor at a place of an output, in any layout; or in the layout given. */
static const struct plan_tensor *row_at(const struct match *m, int tensor, uint32_t output,
                                        uint64_t offset, const struct plan_tensor *like) {
  EACH_NAMED(r, m->row, name_of(m, tensor)) {
    const struct plan_tensor *t = &m->k->p->tensor[r];
    if (t->space == SPACE_OUTPUT && t->index == output && t->offset == offset &&
        (!like || t->layout == like->layout))
      return t;
  }
  return NULL;
}

/* A node that appends to a state: the output is one in the plan, too, and begins with the input,
 * behind which stands what is new. */
static bool is_append(const struct match *m, const struct node *n) {
  const struct fvm_plan *p = m->k->p;
  for (uint32_t o = 0; o < p->nout; o++) {
    if (m->g->output.v[o] != n->out.v[0] || p->public_io[p->nin + o].state < 0) continue;
    const struct plan_tensor *all = row_at(m, n->out.v[0], o, 0, NULL);
    if (all && m->g->input.v[p->public_io[p->nin + o].state] == n->in.v[0] &&
        row_at(m, n->in.v[0], o, 0, all) && row_at(m, n->in.v[1], o, plan_given(p, o), all))
      return true;
  }
  return false;
}

/* Whether row r is the piece of row y from an offset on, with the same bytes. */
static bool is_piece(const struct match *m, int y, int r, uint64_t offset) {
  const struct checker *k = m->k;
  const struct plan_tensor *all = &k->p->tensor[y], *t = &k->p->tensor[r];
  return t->space == all->space && t->index == all->index && t->layout == all->layout &&
         t->offset == offset && offset + t->bytes <= all->offset + all->bytes &&
         k->from[y] <= k->from[r] && k->ready[r] <= k->ready[y];
}

/* A node without a step that joins: its inputs lie one after the other, and are all of the output.
 */
static bool is_joined(const struct match *m, const struct node *n, int y) {
  const struct fvm_plan *p = m->k->p;
  uint64_t offset = p->tensor[y].offset;
  for (size_t i = 0; i < n->in.n; i++) {
    int r = names_find(&m->row.first, name_of(m, n->in.v[i]));
    while (r >= 0 && !is_piece(m, y, r, offset)) r = m->row.next[r];
    if (r < 0) return false;
    offset += p->tensor[r].bytes;
  }
  return offset == p->tensor[y].offset + p->tensor[y].bytes;
}

static bool is_join(const struct match *m, const struct node *n) {
  EACH_NAMED(y, m->row, name_of(m, n->out.v[0]))
  if (is_joined(m, n, y)) return true;
  return false;
}

/* A state of the plan is one of the model. */
static enum fvm_status check_states(const struct match *m) {
  const struct fvm_plan *p = m->k->p;
  for (uint32_t o = 0; o < p->nout; o++)
    if (p->public_io[p->nin + o].state >= 0 && graph_state(m->g, m->g->output.v[o]) < 0)
      return fvm_fail(m->k->err, FVM_EFORMAT, "output %.100s is a state, but not in the model",
                      p->public_io[p->nin + o].name);
  return FVM_OK;
}

static bool is_free(const struct match *m, const struct node *n) {
  if (n->op->flags & OPF_JOIN) return is_join(m, n);
  return n->op->flags & OPF_STATE ? is_append(m, n) : is_view(m, n);
}

static enum fvm_status check_nodes(const struct match *m) {
  for (size_t i = 0; i < m->g->node.n; i++)
    if (!m->g->node.v[i].dead && !m->done[i] && !is_free(m, &m->g->node.v[i]))
      return fvm_fail(m->k->err, FVM_EFORMAT, "node %.100s is neither run by a step nor a view",
                      m->g->node.v[i].name);
  return FVM_OK;
}

enum fvm_status check_graph(const struct checker *k, const struct graph *g) {
  const struct fvm_plan *p = k->p;
  struct match m = {.k = k, .g = g};
  enum fvm_status st = match_open(&m) ? FVM_OK : fvm_nomem(k->err);
  if (st == FVM_OK && p->meta->model_hash != g->model_hash)
    st = fvm_fail(k->err, FVM_EFORMAT, "the plan was made for another model");
  if (st == FVM_OK) st = check_io(&m, g->input.v, g->input.n, 0, p->nin, "input");
  if (st == FVM_OK) st = check_io(&m, g->output.v, g->output.n, p->nin, p->nout, "output");
  if (st == FVM_OK) st = check_states(&m);
  if (st == FVM_OK) st = check_rows(&m);
  if (st == FVM_OK) st = check_steps(&m);
  if (st == FVM_OK) st = check_nodes(&m);
  match_close(&m);
  return st;
}
