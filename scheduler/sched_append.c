/* What it costs to append to a state: nothing where the producer of what is new can write it to its
 * place, else a copy. It can where the value is all of a block of its own, be it by way of views:
 *
 *   product -> Reshape (shows all) -> Append      written in place
 *   product -> Split (shows a part) -> Append     copied
 *   product -> Split -> conversion -> Append      written in place: by the conversion
 *
 * Which of these it is depends on the labels of all views in between. So each tensor on the way
 * gets a variable that follows its producer's choice and says besides whether the value is movable:
 *
 *   Append's cost = unary of t0 -- t1 -- ... -- producer that is no view
 *                              |     |
 *                         choice   choice */
#include "sched.h"

struct way {
  struct sched_net *c;
  enum layout layout; /* of the state */
  int64_t copy_ns;
};

static const struct menu *menu_of(const struct way *x, int node) {
  return x->c->w->node[node].menu;
}

/* Whether a conversion writes the tensor anew for a reader that wants it in this layout. */
static bool is_written(const struct way *x, int tensor, enum layout from, enum layout to) {
  const struct conversion *c = sched_conversion(x->c->w, tensor, from, to);
  return c && c->threads > 0;
}

/* Whether a choice of a node only shows what lies elsewhere. What joins is a block of its own. */
static bool shows(const struct way *x, int node, const struct choice *c) {
  return c->label.view && !(x->c->w->g->node.v[node].op->flags & OPF_JOIN);
}

static bool may_show(const struct way *x, int node) {
  const struct menu *m = menu_of(x, node);
  for (int i = 0; i < m->n; i++)
    if (shows(x, node, &m->choice[i])) return true;
  return false;
}

/* Whether a view shows all of its input, of which output k begins at the beginning. */
static bool shows_all(const struct way *x, int node, int k, const struct label *l) {
  const struct node *n = &x->c->w->g->node.v[node];
  return !(n->op->flags & OPF_STATE) && k == 0 && l->view_offset == 0 &&
         layout_bytes(sched_tensor(x->c->w, n->in.v[0]), label_in(l, 0)) ==
             layout_bytes(sched_tensor(x->c->w, n->out.v[k]), label_out(l, k));
}

static int output_of(const struct node *n, int tensor) {
  int k = 0;
  while (n->out.v[k] != tensor) k++;
  return k;
}

/* Label 2 * i + m of a tensor's variable: choice i of its producer; m: the value is movable. */
static bool tie(struct way *x, int var, int producer, int n) {
  int e = solve_add_edge(&x->c->net, x->c->var[producer], var);
  for (int i = 0; e >= 0 && i < n; i++)
    for (int k = 0; k < 2 * n; k++)
      if (k / 2 != i) x->c->net.edge.v[e].cost[i * 2 * n + k] = SOLVE_INF;
  return e >= 0;
}

static int follow(struct way *x, int tensor);

/* What is shown is movable if what it lies in is. */
static bool pass_on(struct way *x, int var, int node, int output) {
  struct sched_net *c = x->c;
  const struct menu *m = menu_of(x, node);
  int in = c->w->g->node.v[node].in.v[0], p = c->w->g->tensor.v[in].producer;
  bool shown = p >= 0 && may_show(x, p);
  int next = shown ? follow(x, in) : p >= 0 ? c->var[p] : -1;
  if (shown && next < 0) return false;
  const struct menu *from = p >= 0 ? menu_of(x, p) : NULL;
  int k = p >= 0 ? output_of(&c->w->g->node.v[p], in) : 0, n = from ? from->n * (1 + shown) : 1;
  int e = p >= 0 ? solve_add_edge(&c->net, var, next) : -1;
  if (p >= 0 && e < 0) return false;
  int64_t *cost = e < 0 ? c->net.var.v[var].cost : c->net.edge.v[e].cost;
  for (int i = 0; i < 2 * m->n; i++) {
    const struct label *l = &m->choice[i / 2].label;
    if (!shows(x, node, &m->choice[i / 2]) || !shows_all(x, node, output, l)) continue;
    for (int j = 0; j < n; j++) {
      enum layout made = from ? label_out(&from->choice[shown ? j / 2 : j].label, k) : c->w->io[in];
      bool run_time = sched_is_run_time(c->w, in);
      bool movable =
          run_time && (is_written(x, in, made, label_in(l, 0)) || (from && (!shown || j % 2)));
      if (movable != i % 2) cost[i * n + j] = SOLVE_INF;
    }
  }
  return true;
}

/* The variable of a tensor whose producer may be a view; -1: memory is out. */
static int follow(struct way *x, int tensor) {
  struct sched_net *c = x->c;
  int node = c->w->g->tensor.v[tensor].producer, output = output_of(&c->w->g->node.v[node], tensor);
  const struct menu *m = menu_of(x, node);
  int var = solve_add_var(&c->net, 2 * m->n);
  bool goes_on = false;
  if (var < 0 || !tie(x, var, node, m->n)) return -1;
  for (int i = 0; i < m->n; i++) {
    bool shown = shows(x, node, &m->choice[i]);
    bool all = shown && shows_all(x, node, output, &m->choice[i].label);
    goes_on |= all;
    if (!all) c->net.var.v[var].cost[2 * i + shown] = SOLVE_INF; /* a part; a block of its own */
  }
  return !goes_on || pass_on(x, var, node, output) ? var : -1;
}

/* The copy, where what is appended is not movable. */
static bool add_copy(struct way *x, int node) {
  struct sched_net *c = x->c;
  int t = c->w->g->node.v[node].in.v[1], p = c->w->g->tensor.v[t].producer;
  if (p >= 0 && !may_show(x, p)) return true;
  if (p < 0) {
    bool written = sched_is_run_time(c->w, t) && is_written(x, t, c->w->io[t], x->layout);
    for (int i = 0; i < menu_of(x, node)->n; i++)
      c->net.var.v[c->var[node]].cost[i] += written ? 0 : x->copy_ns;
    return true;
  }
  const struct menu *m = menu_of(x, p);
  int var = follow(x, t), k = output_of(&c->w->g->node.v[p], t);
  for (int i = 0; var >= 0 && i < m->n; i++)
    if (!is_written(x, t, label_out(&m->choice[i].label, k), x->layout))
      c->net.var.v[var].cost[2 * i] = MIN(SOLVE_INF, c->net.var.v[var].cost[2 * i] + x->copy_ns);
  return var >= 0;
}

int64_t sched_append_ns(struct sched *w, int tensor, enum layout layout) {
  int64_t ns = cost_convert(w->cost, sched_tensor(w, tensor), layout, layout, 1);
  return MAX(ns, 0);
}

bool sched_add_appends(struct sched_net *c) {
  const struct graph *g = c->w->g;
  bool ok = true;
  for (int i = 0; i < (int)g->node.n && ok; i++) {
    const struct node *n = &g->node.v[i];
    if (n->dead || !(n->op->flags & OPF_STATE)) continue;
    struct way x = {.c = c, .layout = c->w->io[n->out.v[0]]};
    x.copy_ns = sched_append_ns(c->w, n->in.v[1], x.layout);
    ok = add_copy(&x, i);
  }
  return ok;
}
