/* That each row of TENSORS holds the tensor that it names. What a step writes is proved by then.
 * Of the others, in the order of the graph: inputs; bytes of another row of the same tensor in a
 * layout that differs in name alone; what a node without a step makes of proved rows, by one of its
 * operator's labels: a view, a join, what is appended to a state. */
#include "check_impl.h"

#include <string.h>

static const struct plan_tensor *row_of(const struct check_match *m, int r) {
  return &m->k->p->tensor[r];
}

static bool same_place(const struct plan_tensor *a, const struct plan_tensor *b, uint64_t offset) {
  return a->space == b->space && a->index == b->index && a->offset == b->offset + offset;
}

/* Whether what stands in row v was written when row x was: no earlier and no later. */
static bool is_of(const struct check_match *m, int v, int x) {
  return m->k->from[x] <= m->k->from[v] && m->k->ready[v] <= m->k->ready[x];
}

/* ---- inputs ---------------------------------------------------------------------------------- */
static void prove_inputs(struct check_match *m) {
  const struct fvm_plan *p = m->k->p;
  for (uint32_t i = 0; i < p->nin; i++)
    for (int r = m->first_row[m->g->input.v[i]]; r >= 0; r = m->next_row[r]) {
      const struct plan_tensor *t = row_of(m, r);
      int state = p->public_io[i].state;
      if (state >= 0) /* the bytes at the beginning of its output; in which layout, its node says */
        m->proved[r] |= t->space == SPACE_OUTPUT && t->index == (uint32_t)state && !t->offset;
      else
        m->proved[r] |=
            t->space == SPACE_INPUT && t->index == i && !t->offset && t->layout == LAYOUT_ROW;
    }
}

/* ---- nodes without a step -------------------------------------------------------------------- */
/* Output k of node n shows input 0 from an offset on. */
static bool show(struct check_match *m, const struct node *n, const struct label *l, int k,
                 uint64_t offset) {
  bool found = false;
  for (int v = m->first_row[n->out.v[k]]; v >= 0; v = m->next_row[v])
    for (int x = m->first_row[n->in.v[0]]; x >= 0; x = m->next_row[x]) {
      const struct plan_tensor *t = row_of(m, v), *of = row_of(m, x);
      if (!m->proved[x] || t->layout != (uint32_t)label_out(l, k) ||
          of->layout != (uint32_t)label_in(l, 0) || !same_place(t, of, offset) ||
          offset + t->bytes > of->bytes || !is_of(m, v, x))
        continue;
      found = m->proved[v] = true;
    }
  return found;
}

static bool show_all(struct check_match *m, const struct node *n, const struct label *l) {
  uint64_t offset = (uint64_t)l->view_offset;
  for (int k = 0; k < (int)n->out.n; k++) {
    if (n->in.v[0] < 0 || n->out.v[k] < 0 || !show(m, n, l, k, offset)) return false;
    offset += (uint64_t)layout_bytes(&m->g->tensor.v[n->out.v[k]].t, label_out(l, k));
  }
  return true;
}

/* A proved row of a tensor at a place inside row y, made while that is made. */
static bool has_piece(const struct check_match *m, int y, int tensor, enum layout layout,
                      uint64_t offset) {
  for (int r = m->first_row[tensor]; r >= 0; r = m->next_row[r])
    if (m->proved[r] && row_of(m, r)->layout == (uint32_t)layout &&
        same_place(row_of(m, r), row_of(m, y), offset) && is_of(m, r, y))
      return true;
  return false;
}

/* Row y is its inputs, one after the other. */
static bool is_joined(const struct check_match *m, const struct node *n, const struct label *l,
                      int y) {
  uint64_t offset = 0;
  for (int i = 0; i < (int)n->in.n; i++) {
    if (n->in.v[i] < 0 || !has_piece(m, y, n->in.v[i], label_in(l, i), offset)) return false;
    offset += (uint64_t)layout_bytes(&m->g->tensor.v[n->in.v[i]].t, label_in(l, i));
  }
  return offset == row_of(m, y)->bytes;
}

static bool join_all(struct check_match *m, const struct node *n, const struct label *l) {
  bool found = false;
  for (int y = m->first_row[n->out.v[0]]; y >= 0; y = m->next_row[y]) {
    if (row_of(m, y)->layout != (uint32_t)label_out(l, 0) || !is_joined(m, n, l, y)) continue;
    found = m->proved[y] = true;
  }
  return found;
}

/* The output of a state: it begins with the input, behind which stands what is new. */
static bool append(struct check_match *m, const struct node *n, const struct label *l) {
  const struct fvm_plan *p = m->k->p;
  bool found = false;
  for (int y = m->first_row[n->out.v[0]]; y >= 0; y = m->next_row[y]) {
    const struct plan_tensor *t = row_of(m, y);
    if (t->space != SPACE_OUTPUT || t->offset || t->layout != (uint32_t)label_out(l, 0)) continue;
    int past = p->public_io[p->nin + t->index].state;
    if (m->g->output.v[t->index] != n->out.v[0] || past < 0 || m->g->input.v[past] != n->in.v[0] ||
        !has_piece(m, y, n->in.v[1], label_in(l, 1), plan_given(p, t->index)))
      continue;
    for (int x = m->first_row[n->in.v[0]]; x >= 0; x = m->next_row[x])
      if (m->proved[x] && row_of(m, x)->layout == t->layout && same_place(row_of(m, x), t, 0))
        found = m->proved[y] = true;
  }
  return found;
}

/* By one of the labels that run nothing. */
static bool is_free(struct check_match *m, int node, struct fvm_error *err) {
  static const struct target any = {.isa = ISA_REF, .threads = {1}, .nthreads = 1};
  const struct node *n = &m->g->node.v[node];
  struct arena a = {0};
  struct opcall c;
  struct label l;
  bool found = false;
  if (graph_opcall(m->g, node, &a, &c, err) == FVM_OK)
    for (struct label_walk w = {0}; opcall_next(&c, &any, &w, &l);) {
      if (!l.view) continue;
      found |= n->op->flags & OPF_JOIN    ? join_all(m, n, &l)
               : n->op->flags & OPF_STATE ? append(m, n, &l)
                                          : show_all(m, n, &l);
    }
  arena_free(&a);
  return found;
}

/* ---- all ------------------------------------------------------------------------------------- */
/* The same bytes under the name of another layout. */
static void prove_aliases(struct check_match *m, int tensor) {
  const struct tensor *t = &m->g->tensor.v[tensor].t;
  for (int v = m->first_row[tensor]; v >= 0; v = m->next_row[v])
    for (int x = m->first_row[tensor]; x >= 0 && !m->proved[v]; x = m->next_row[x])
      m->proved[v] =
          m->proved[x] && same_place(row_of(m, v), row_of(m, x), 0) && is_of(m, v, x) &&
          layout_alike(t, (enum layout)row_of(m, x)->layout, (enum layout)row_of(m, v)->layout);
}

static void prove_all_aliases(struct check_match *m, const struct node *n) {
  for (size_t k = 0; k < n->out.n; k++)
    if (n->out.v[k] >= 0) prove_aliases(m, n->out.v[k]);
}

static bool is_proved(const struct check_match *m, const struct node *n) {
  for (size_t k = 0; k < n->out.n; k++)
    for (int r = n->out.v[k] < 0 ? -1 : m->first_row[n->out.v[k]]; r >= 0; r = m->next_row[r])
      if (!m->proved[r]) return false;
  return true;
}

/* The rows of what a node makes. One that a step runs may run nothing for other readers. */
static enum fvm_status check_node_values(struct check_match *m, int node) {
  const struct node *n = &m->g->node.v[node];
  struct fvm_error why = {0};
  if (n->dead) return FVM_OK;
  if (m->done[node]) prove_all_aliases(m, n);
  if (m->done[node] && is_proved(m, n)) return FVM_OK;
  bool is = is_free(m, node, &why);
  if (why.code == FVM_ENOMEM) return fvm_nomem(m->k->err);
  if (!is && !m->done[node])
    return fvm_fail(m->k->err, FVM_EFORMAT, "node %.100s is neither run by a step nor a view",
                    n->name);
  prove_all_aliases(m, n);
  return FVM_OK;
}

static bool is_complete(const struct check_match *m, uint32_t output) {
  const struct checker *k = m->k;
  int tensor = m->g->output.v[output];
  bool state = k->p->public_io[k->p->nin + output].state >= 0;
  if (m->g->tensor.v[tensor].t.dtype == FVM_NONE || !tensor_bytes(&m->g->tensor.v[tensor].t))
    return true;
  for (int r = m->first_row[tensor]; r >= 0; r = m->next_row[r]) {
    const struct plan_tensor *t = row_of(m, r);
    if (t->space == SPACE_OUTPUT && t->index == output && !t->offset &&
        (state || t->layout == LAYOUT_ROW) && k->end[r] + 1 >= k->p->nstep && k->end[r] == t->last)
      return true;
  }
  return false;
}

enum fvm_status check_values(struct check_match *m) {
  const struct graph *g = m->g;
  prove_inputs(m);
  for (size_t i = 0; i < g->input.n; i++) prove_aliases(m, g->input.v[i]);
  for (int i = 0; i < (int)g->node.n; i++) {
    enum fvm_status st = check_node_values(m, i);
    if (st != FVM_OK) return st;
  }
  for (size_t t = 0; t < g->tensor.n; t++)
    for (int r = m->first_row[t]; r >= 0; r = m->next_row[r])
      if (!m->proved[r] && row_of(m, r)->bytes)
        return check_bad_row(m->k, (uint32_t)r, "nothing makes that tensor there");
  for (uint32_t o = 0; o < m->k->p->nout; o++)
    if (!is_complete(m, o))
      return fvm_fail(m->k->err, FVM_EFORMAT, "output %.100s is not its tensor at the end",
                      m->k->p->public_io[m->k->p->nin + o].name);
  return FVM_OK;
}
