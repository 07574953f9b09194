/* What labels take of the arena, whatever the order of the steps.
 *
 * A row for each node and each tensor that may be converted: bytes that are live while that runs.
 *
 *   touched   what the node reads and writes, in the layouts of its label; less an output that may
 *             take an input's place
 *   spanning  a tensor that is made before and read after the node by every order, since its
 *             producer is an ancestor and one of its readers a descendant of the node: at least
 *             the least bytes that it has in any layout
 *   chain     of a node that is run with the one before it, what that reads as well
 *   joined    of a tensor that is made in its place in another one, all of that one
 *
 * The sum is at most what is live at that step in any order, and so what a plan's arena has. Only
 * what certainly has bytes of its own in the arena counts: no inputs and outputs of the graph,
 * which are the caller's, no constants, no views. */
#include "sched.h"

#include <string.h>

struct rows {
  struct sched *w;
  struct sched_net *c;
  struct sched_arena *out;
  int64_t *least;       /* by tensor: bytes in the smallest layout that it may have */
  int *joined;          /* by tensor: edge from its producer to what joins it; -1: not yet made */
  bool *live, *touched; /* by tensor: of the row that is being made */
  struct arena_row row;
};

static const struct menu *menu_of(const struct rows *b, int node) { return b->w->node[node].menu; }

/* ---- the graph ---- */

static bool bits_new(struct bits *b, size_t sets, size_t n, struct arena *a) {
  b->stride = n / 64 + 1;
  b->word = arena_alloc(a, sets * b->stride, sizeof *b->word);
  return b->word != NULL;
}

static void unite(const struct bits *x, size_t to, const struct bits *y, size_t from) {
  for (size_t j = 0; j < x->stride; j++)
    x->word[to * x->stride + j] |= y->word[from * y->stride + j];
}

bool sched_surely_reads(const struct sched *w, int node, int input) {
  const struct menu *m = w->node[node].menu;
  bool sure = input < 64;
  for (int c = 0; c < m->n; c++) sure = sure && (m->choice[c].reads >> input & 1);
  return sure;
}

static bool find_spans(struct rows *b) {
  const struct graph *g = b->w->g;
  if (!bits_new(&b->out->before, g->node.n, g->node.n, &b->w->a) ||
      !bits_new(&b->out->spanned, g->tensor.n, g->node.n, &b->w->a))
    return false;
  for (size_t i = 0; i < g->node.n; i++) {
    const struct node *n = &g->node.v[i];
    uint64_t *mine = b->out->before.word + i * b->out->before.stride;
    for (size_t k = 0; k < n->in.n && !n->dead; k++) {
      int p = n->in.v[k] < 0 ? -1 : g->tensor.v[n->in.v[k]].producer;
      if (p < 0) continue;
      unite(&b->out->before, i, &b->out->before, (size_t)p);
      mine[p / 64] |= (uint64_t)1 << (p % 64);
    }
    for (size_t k = 0; k < n->in.n && !n->dead; k++)
      if (n->in.v[k] >= 0 && sched_surely_reads(b->w, (int)i, (int)k))
        unite(&b->out->spanned, (size_t)n->in.v[k], &b->out->before, i);
  }
  return true;
}

static bool may_show(const struct rows *b, int node) {
  const struct menu *m = menu_of(b, node);
  for (int c = 0; c < m->n; c++)
    if (m->choice[c].label.view) return true;
  return false;
}

static bool joins(const struct rows *b, int node) {
  return b->w->g->node.v[node].op->flags & OPF_JOIN;
}

/* What a view makes has no bytes of its own, unless it joins; what is given out lies in the
 * caller's memory, and so may what shows it or is joined to it. */
static bool find_solid(struct rows *b) {
  const struct graph *g = b->w->g;
  bool *leaves = ARENA_NEW(&b->w->a, bool, g->tensor.n);
  b->out->solid = ARENA_NEW(&b->w->a, bool, g->tensor.n);
  if (!leaves || !b->out->solid) return false;
  for (size_t t = 0; t < g->tensor.n; t++) leaves[t] = g->tensor.v[t].is_output;
  for (int i = (int)g->node.n - 1; i >= 0; i--) {
    const struct node *n = &g->node.v[i];
    if (n->dead || !may_show(b, i)) continue;
    bool out = false;
    for (size_t k = 0; k < n->out.n; k++) out |= n->out.v[k] >= 0 && leaves[n->out.v[k]];
    if (n->in.v[0] >= 0 && out) leaves[n->in.v[0]] = true;
    if (n->op->flags & OPF_STATE) leaves[n->in.v[1]] = true;
    for (size_t k = 1; joins(b, i) && out && k < n->in.n; k++) leaves[n->in.v[k]] = true;
  }
  for (size_t t = 0; t < g->tensor.n; t++) {
    int p = g->tensor.v[t].producer;
    b->out->solid[t] =
        p >= 0 && !g->tensor.v[t].t.data && !leaves[t] && (joins(b, p) || !may_show(b, p));
  }
  return true;
}

static layout_set layouts_of(const struct rows *b, const struct traffic *t) {
  layout_set set = 0;
  const struct menu *m = menu_of(b, t->producer);
  for (int c = 0; c < m->n; c++) set |= LAYOUT_BIT(label_out(&m->choice[c].label, t->output));
  for (int r = 0; r < t->nreader; r++) {
    m = menu_of(b, t->reader[r].node);
    for (int c = 0; c < m->n; c++)
      for (int i = 0; i < t->reader[r].n; i++)
        set |= LAYOUT_BIT(label_in(&m->choice[c].label, t->reader[r].input[i]));
  }
  return set;
}

int64_t sched_arena_room(const struct sched *w, const struct sched_arena *x, int t, enum layout l) {
  if (!x->solid[t]) return 0;
  int64_t bytes = layout_bytes(sched_tensor(w, t), l);
  return w->join[t].node >= 0 ? bytes : ROUND_UP(bytes, (int64_t)FVM_ALIGN);
}

static int64_t bytes_in(const struct rows *b, int t, enum layout l) {
  return sched_arena_room(b->w, b->out, t, l);
}

static bool find_least(struct rows *b) {
  const struct graph *g = b->w->g;
  b->least = ARENA_NEW(&b->w->a, int64_t, g->tensor.n);
  if (!b->least) return false;
  for (int t = 0; t < (int)g->tensor.n; t++) {
    if (!b->out->solid[t]) continue;
    layout_set set = layouts_of(b, &b->c->traffic[t]);
    int64_t least = INT64_MAX;
    for (int l = 0; l < LAYOUT_COUNT; l++)
      if (set >> l & 1) least = MIN(least, bytes_in(b, t, (enum layout)l));
    b->least[t] = least < INT64_MAX ? least : 0;
  }
  return true;
}

/* ---- terms ---- */

static bool add_term(struct rows *b, bool edge, int at, const int64_t *use) {
  const struct arena_term term = {at, use};
  return edge ? VEC_PUSH(&b->row.edge, term) : VEC_PUSH(&b->row.var, term);
}

/* Rows that nothing can add to are of no use. */
static bool end_row(struct rows *b) {
  bool ok = true;
  if (b->row.var.n || b->row.edge.n || b->row.fixed) ok = VEC_PUSH(&b->out->row, b->row);
  if (!ok) {
    VEC_FREE(&b->row.var);
    VEC_FREE(&b->row.edge);
  }
  b->row = (struct arena_row){0};
  return ok;
}

static int joined_by(const struct rows *b, int node) { return b->w->g->node.v[node].out.v[0]; }

/* The last of the nodes that join a tensor, what that one makes, and so on; -1: none does. */
static int outermost(const struct rows *b, int t) {
  int node = b->w->join[t].node;
  while (node >= 0 && b->w->join[joined_by(b, node)].node >= 0)
    node = b->w->join[joined_by(b, node)].node;
  return node;
}

/* Of a tensor that may lie inside another one which counts already, nothing counts. */
static bool is_inside(const struct rows *b, int t) {
  for (int node = b->w->join[t].node; node >= 0; node = b->w->join[joined_by(b, node)].node)
    if (b->live[joined_by(b, node)] || b->touched[joined_by(b, node)]) return true;
  return false;
}

static bool is_made_whole(const struct rows *b, int t) {
  return !joins(b, b->c->traffic[t].producer);
}

/* Tensors that are pieces of one: all of it is there with the first. The piece `t`, if it is made
 * in its place, stands for them; `counted` bytes of them count already. */
static bool add_joined(struct rows *b, int t, int64_t counted) {
  struct sched *w = b->w;
  struct join j = w->join[t];
  int p = b->c->traffic[t].producer, output = b->c->traffic[t].output;
  int all = w->g->node.v[j.node].out.v[0];
  const struct menu *from = menu_of(b, p), *to = menu_of(b, j.node);
  int e = b->joined[t];
  if (e < 0) e = b->joined[t] = solve_add_edge(&b->c->net, b->c->var[p], b->c->var[j.node]);
  int64_t *use = ARENA_NEW(&w->a, int64_t, from->n * to->n);
  if (e < 0 || !use) return false;
  for (int i = 0; i < from->n; i++)
    for (int k = 0; k < to->n; k++) {
      const struct label *x = &from->choice[i].label, *y = &to->choice[k].label;
      bool in_place = y->view && !x->view && label_out(x, output) == label_in(y, j.input);
      if (in_place)
        use[i * to->n + k] = MAX(layout_bytes(sched_tensor(w, all), label_out(y, 0)) - counted, 0);
    }
  return add_term(b, true, e, use);
}

static int64_t most_bytes(const struct rows *b, int t) {
  layout_set set = layouts_of(b, &b->c->traffic[t]);
  int64_t most = 0;
  for (int l = 0; l < LAYOUT_COUNT; l++)
    if (set >> l & 1) most = MAX(most, bytes_in(b, t, (enum layout)l));
  return most;
}

static bool counts(const struct rows *b, int t) {
  return b->out->solid[t] && (b->live[t] || b->touched[t]) && !is_inside(b, t);
}

/* Whether all of what a tensor is joined to is there with it: what joins it is the outermost. */
static bool stands_for(const struct rows *b, int t) {
  int node = b->w->join[t].node;
  return node >= 0 && counts(b, t) && is_made_whole(b, t) && b->out->solid[joined_by(b, node)] &&
         outermost(b, t) == node;
}

/* For each tensor that pieces of the row belong to, the first of them, one that is touched before
 * those that are not. */
static bool add_all_joined(struct rows *b) {
  int ntensor = (int)b->w->g->tensor.n;
  for (int t = 0; t < ntensor; t++) {
    if (!stands_for(b, t)) continue;
    int node = b->w->join[t].node;
    int64_t counted = 0;
    bool first = true;
    for (int u = 0; u < ntensor; u++) {
      if (b->w->join[u].node < 0 || !counts(b, u) || outermost(b, u) != node) continue;
      counted += most_bytes(b, u);
      if (u == t || !stands_for(b, u)) continue;
      first &= b->touched[u] == b->touched[t] ? u > t : !b->touched[u];
    }
    if (first && !add_joined(b, t, counted)) return false;
  }
  return true;
}

/* ---- rows of nodes ---- */

/* What lives across the node in any order. */
static void find_spanning(struct rows *b, int node) {
  for (int t = 0; t < (int)b->w->g->tensor.n; t++) {
    const struct traffic *x = &b->c->traffic[t];
    b->live[t] = b->out->solid[t] && !b->touched[t] && x->producer >= 0 &&
                 bits_has(&b->out->before, node, x->producer) &&
                 bits_has(&b->out->spanned, t, node);
  }
}

static void touch(struct rows *b, int node) {
  const struct node *n = &b->w->g->node.v[node];
  memset(b->touched, 0, b->w->g->tensor.n * sizeof *b->touched);
  for (size_t k = 0; k < n->in.n; k++)
    if (n->in.v[k] >= 0) b->touched[n->in.v[k]] = true;
  for (size_t k = 0; k < n->out.n; k++)
    if (n->out.v[k] >= 0) b->touched[n->out.v[k]] = true;
}

/* Whether the output may take the place of an input, which it cannot if that is read later. */
static bool may_share(const struct rows *b, int node, const struct label *l) {
  const struct node *n = &b->w->g->node.v[node];
  int k = l->inplace - 1, in = k < 0 || k >= (int)n->in.n ? -1 : n->in.v[k], out = n->out.v[0];
  return in >= 0 && out >= 0 && !bits_has(&b->out->spanned, in, node) &&
         layout_bytes(sched_tensor(b->w, in), label_in(l, k)) ==
             layout_bytes(sched_tensor(b->w, out), label_out(l, 0));
}

/* Pieces of what the node itself joins are not inside when it copies them. */
static bool is_hidden(const struct rows *b, int t, int node) {
  return b->w->join[t].node != node && is_inside(b, t);
}

static int64_t touched_bytes(const struct rows *b, int node, const struct choice *c) {
  const struct node *n = &b->w->g->node.v[node];
  const struct label *l = &c->label;
  int64_t sum = 0;
  for (int k = 0; k < (int)n->in.n; k++) {
    bool again = n->in.v[k] < 0 || k >= 64 || !(c->reads >> k & 1);
    for (int j = 0; j < k; j++)
      again |= n->in.v[j] == n->in.v[k] && label_in(l, j) == label_in(l, k);
    if (!again && !is_hidden(b, n->in.v[k], node)) sum += bytes_in(b, n->in.v[k], label_in(l, k));
  }
  for (int k = may_share(b, node, l); k < (int)n->out.n; k++)
    if (n->out.v[k] >= 0 && !is_hidden(b, n->out.v[k], node))
      sum += bytes_in(b, n->out.v[k], label_out(l, k));
  return sum;
}

/* What the first node of a chain reads, where that is not counted otherwise. */
static int64_t chain_bytes(const struct rows *b, int node, const struct choice *c) {
  const struct node *f = &b->w->g->node.v[b->w->first[node]];
  int64_t sum = 0;
  for (int k = 0; k < (int)f->in.n; k++) {
    int t = f->in.v[k];
    bool again = t < 0 || b->live[t] || b->touched[t];
    for (int j = 0; j < k; j++) again |= f->in.v[j] == t;
    if (!again && !is_hidden(b, t, node)) sum += bytes_in(b, t, label_in(&c->chain, k));
  }
  return sum;
}

/* Bytes while the node runs by a choice. */
static int64_t use_of(const struct rows *b, int node, const struct choice *c) {
  if (c->label.view || c->role == ROLE_ABSORBED) return ARENA_IDLE;
  return touched_bytes(b, node, c) + (c->role == ROLE_CHAIN ? chain_bytes(b, node, c) : 0);
}

static bool add_node(struct rows *b, int node) {
  const struct menu *m = menu_of(b, node);
  int64_t *use = ARENA_NEW(&b->w->a, int64_t, m->n);
  if (!use) return false;
  touch(b, node);
  find_spanning(b, node);
  for (int c = 0; c < m->n; c++) use[c] = use_of(b, node, &m->choice[c]);
  for (size_t t = 0; t < b->w->g->tensor.n; t++)
    if (b->live[t] && counts(b, (int)t)) b->row.fixed += b->least[t];
  return add_term(b, false, b->c->var[node], use) && add_all_joined(b) && end_row(b);
}

/* ---- rows of conversions ---- */

/* What lives while a tensor is converted: made before it is, and read by one of its readers or
 * after all of them. */
static void span_conversion(struct rows *b, const struct traffic *t) {
  memset(b->touched, 0, b->w->g->tensor.n * sizeof *b->touched);
  b->touched[t->tensor] = true;
  for (int u = 0; u < (int)b->w->g->tensor.n; u++) {
    const struct traffic *x = &b->c->traffic[u];
    bool live = b->out->solid[u] && u != t->tensor && x->producer >= 0 && t->producer >= 0 &&
                (x->producer == t->producer || bits_has(&b->out->before, t->producer, x->producer));
    for (int r = 0; r < t->nreader && live; r++) {
      int node = t->reader[r].node;
      live = bits_has(&b->out->spanned, u, node);
      for (int k = 0; k < x->nreader; k++)
        live |= x->reader[k].node == node && sched_surely_reads(b->w, node, x->reader[k].input[0]);
    }
    b->live[u] = live && t->nreader > 0;
  }
}

/* Bytes while a tensor is converted to the largest of a set of layouts. */
static int64_t converted(struct rows *b, int t, enum layout from, layout_set to) {
  const struct tensor *s = sched_tensor(b->w, t);
  int64_t most = ARENA_IDLE;
  for (int l = 0; l < LAYOUT_COUNT; l++) {
    if (!(to >> l & 1) || l == (int)from) continue;
    const struct conversion *x = sched_conversion(b->w, t, from, (enum layout)l);
    if (!x || x->threads == 0 || x->ns >= SOLVE_INF) continue;
    most = MAX(most, bytes_in(b, t, from) + layout_bytes(s, (enum layout)l));
  }
  return most;
}

static layout_set wants(const struct reader *r, const struct label *l) {
  layout_set set = 0;
  for (int i = 0; i < r->n; i++) set |= LAYOUT_BIT(label_in(l, r->input[i]));
  return set;
}

static bool add_states(struct rows *b, const struct traffic *t) {
  int n = b->c->net.var.v[t->var].n;
  int64_t *use = ARENA_NEW(&b->w->a, int64_t, n);
  for (int k = 0; k < n && use; k++)
    use[k] = converted(b, t->tensor, t->state[k].from, t->state[k].set);
  return use && add_term(b, false, t->var, use);
}

static bool add_between(struct rows *b, const struct traffic *t) {
  const struct menu *from = menu_of(b, t->producer), *to = menu_of(b, t->reader[0].node);
  int64_t *use = ARENA_NEW(&b->w->a, int64_t, from->n * to->n);
  for (int i = 0; i < from->n && use; i++)
    for (int k = 0; k < to->n; k++)
      use[i * to->n + k] = converted(b, t->tensor, label_out(&from->choice[i].label, t->output),
                                     wants(&t->reader[0], &to->choice[k].label));
  return use && add_term(b, true, t->edge, use);
}

/* A copy that is given out is in the caller's memory. */
static bool add_conversion(struct rows *b, const struct traffic *t) {
  bool leaves = t->is_output || (t->producer >= 0 && !b->out->solid[t->tensor]);
  if (leaves || (t->var < 0 && (t->edge < 0 || t->nreader != 1))) return true;
  span_conversion(b, t);
  if (!(t->var >= 0 ? add_states(b, t) : add_between(b, t))) return false;
  for (size_t u = 0; u < b->w->g->tensor.n; u++)
    if (b->live[u] && counts(b, (int)u)) b->row.fixed += b->least[u];
  return end_row(b);
}

/* ---- all ---- */

bool sched_add_arena(struct sched_net *c, struct sched_arena *x) {
  struct sched *w = c->w;
  struct rows b = {.w = w, .c = c, .out = x};
  size_t ntensor = w->g->tensor.n;
  b.live = ARENA_NEW(&w->a, bool, ntensor);
  b.touched = ARENA_NEW(&w->a, bool, ntensor);
  b.joined = ARENA_NEW(&w->a, int, ntensor);
  bool ok = b.live && b.touched && b.joined && find_spans(&b) && find_solid(&b) && find_least(&b);
  for (size_t t = 0; t < ntensor && ok; t++) b.joined[t] = -1;
  for (int i = 0; i < (int)w->g->node.n && ok; i++)
    if (!w->g->node.v[i].dead) ok = add_node(&b, i);
  for (int t = 0; t < (int)ntensor && ok; t++)
    if (!w->g->tensor.v[t].t.data) ok = add_conversion(&b, &c->traffic[t]);
  VEC_FREE(&b.row.var);
  VEC_FREE(&b.row.edge);
  return ok && sched_add_knots(c, x);
}

void sched_arena_free(struct sched_arena *x) {
  for (size_t i = 0; i < x->row.n; i++) {
    VEC_FREE(&x->row.v[i].var);
    VEC_FREE(&x->row.v[i].edge);
  }
  VEC_FREE(&x->row);
  VEC_FREE(&x->knot);
}
