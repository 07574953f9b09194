/* One label for each node, so that the times of nodes and conversions add up to the least.
 *
 * A variable for each node, over its choices. A tensor with one reader costs its conversion on the
 * edge from producer to reader. A tensor with several readers gets a variable of its own: in which
 * layout it is made and in which others it is to be had besides. So a copy that several readers
 * share is paid for once:
 *
 *   producer --(makes `from`)-- copies{from, set} --(set has what it wants)-- reader
 *                                               \---------------------------- reader */
#include "sched.h"

#include <string.h>

/* A tensor's variable has a state for each layout it is made in and set of copies. Where these are
 * more than MAX_STATES, only sets of up to MAX_COPIES are offered. */
enum { MAX_STATES = 1024, MAX_COPIES = 2 };

static int64_t convert_ns(struct sched_net *c, int tensor, enum layout from, enum layout to) {
  const struct conversion *x = sched_conversion(c->w, tensor, from, to);
  return x ? x->ns : SOLVE_INF;
}

static const struct menu *menu_of(const struct sched_net *c, int node) {
  return c->w->node[node].menu;
}

/* Layouts in which a reader wants the tensor. */
static layout_set wants(const struct reader *r, const struct label *l) {
  layout_set set = 0;
  for (int i = 0; i < r->n; i++) set |= LAYOUT_BIT(label_in(l, r->input[i]));
  return set;
}

static int64_t copies_ns(struct sched_net *c, int tensor, enum layout from, layout_set set) {
  int64_t sum = 0;
  for (int l = 0; l < LAYOUT_COUNT; l++)
    if (set >> l & 1) sum = MIN(SOLVE_INF, sum + convert_ns(c, tensor, from, (enum layout)l));
  return sum;
}

/* Layouts that the producer may make. */
static layout_set makes(const struct sched_net *c, const struct traffic *t) {
  layout_set set = 0;
  if (t->producer < 0) return LAYOUT_BIT(c->w->io[t->tensor]);
  const struct menu *m = menu_of(c, t->producer);
  for (int i = 0; i < m->n; i++) set |= LAYOUT_BIT(label_out(&m->choice[i].label, t->output));
  return set;
}

static layout_set wanted(const struct sched_net *c, const struct traffic *t) {
  layout_set set = t->is_output ? LAYOUT_BIT(c->w->io[t->tensor]) : 0;
  for (int i = 0; i < t->nreader; i++) {
    const struct menu *m = menu_of(c, t->reader[i].node);
    for (int k = 0; k < m->n; k++) set |= wants(&t->reader[i], &m->choice[k].label);
  }
  return set;
}

/* ---- one reader ---- */

/* Cost of each choice of the only reader (or of the graph's output, reader NULL). */
static int64_t direct_ns(struct sched_net *c, const struct traffic *t, enum layout from,
                         const struct reader *r, int choice) {
  if (!r) return convert_ns(c, t->tensor, from, c->w->io[t->tensor]);
  return copies_ns(c, t->tensor, from, wants(r, &menu_of(c, r->node)->choice[choice].label));
}

/* Whether producer and reader may be run as one, and nothing be there between them. */
static bool is_inside(const struct sched_net *c, const struct traffic *t) {
  return t->producer >= 0 && t->nreader == 1 && !t->is_output &&
         c->w->first[t->reader[0].node] == t->producer;
}

/* Between choices i and k of the two. */
static int64_t inside_ns(struct sched_net *c, const struct traffic *t, int i, int k,
                         int64_t apart) {
  int node = t->reader[0].node;
  if (!sched_go_together(c->w, node, i, k)) return SOLVE_INF;
  return menu_of(c, node)->choice[k].role == ROLE_CHAIN ? 0 : apart;
}

static bool add_direct(struct sched_net *c, struct traffic *t) {
  const struct reader *r = t->nreader ? &t->reader[0] : NULL;
  const struct menu *in = t->producer < 0 ? NULL : menu_of(c, t->producer);
  int nin = in ? in->n : 1, nout = r ? menu_of(c, r->node)->n : 1;
  if (!in && !r) return true;
  int64_t *cost;
  if (in && r) {
    int e = solve_add_edge(&c->net, c->var[t->producer], c->var[r->node]);
    if (e < 0) return false;
    t->edge = e;
    cost = c->net.edge.v[e].cost;
  } else {
    cost = c->net.var.v[c->var[in ? t->producer : r->node]].cost;
  }
  for (int i = 0; i < nin; i++) {
    enum layout from = in ? label_out(&in->choice[i].label, t->output) : c->w->io[t->tensor];
    for (int k = 0; k < nout; k++) {
      int64_t *x = &cost[i * nout + k], ns = direct_ns(c, t, from, r, k);
      if (is_inside(c, t)) ns = inside_ns(c, t, i, k, ns);
      *x = MIN(SOLVE_INF, *x + ns);
    }
  }
  return true;
}

/* ---- several readers ---- */

/* The subset of `all` that comes next as a number; none after all of them. */
static layout_set next_set(layout_set set, layout_set all) { return ((set | ~all) + 1) & all; }

/* All states in which every copy can be made; NULL when memory is out. */
static struct state *states_of(struct sched_net *c, const struct traffic *t, int *n) {
  layout_set from_set = makes(c, t), to_set = wanted(c, t);
  int states = __builtin_popcountll(from_set) << __builtin_popcountll(to_set);
  int most = states <= MAX_STATES ? LAYOUT_COUNT : MAX_COPIES;
  int most_useful = MIN(t->nreader + t->is_output, __builtin_popcountll(to_set));
  struct state *s = NULL;
  if (most < most_useful) c->limited = true;
  for (int pass = 0; pass < 2; pass++) { /* count, then fill in */
    *n = 0;
    for (int from = 0; from < LAYOUT_COUNT; from++)
      for (layout_set set = 0, more = from_set >> from & 1; more;
           set = next_set(set, to_set), more = set) {
        if (set >> from & 1 || __builtin_popcountll(set) > MIN(most, most_useful)) continue;
        if (copies_ns(c, t->tensor, (enum layout)from, set) >= SOLVE_INF) continue;
        if (s) s[*n] = (struct state){(enum layout)from, set | LAYOUT_BIT(from)};
        ++*n;
      }
    if (!s && !(s = ARENA_NEW(&c->w->a, struct state, *n))) return NULL;
  }
  return s;
}

static bool link_producer(struct sched_net *c, const struct traffic *t, int var,
                          const struct state *s, int n) {
  if (t->producer < 0) return true; /* all states have the caller's `from` */
  const struct menu *m = menu_of(c, t->producer);
  int e = solve_add_edge(&c->net, c->var[t->producer], var);
  if (e < 0) return false;
  for (int i = 0; i < m->n; i++)
    for (int k = 0; k < n; k++)
      if (label_out(&m->choice[i].label, t->output) != s[k].from)
        c->net.edge.v[e].cost[i * n + k] = SOLVE_INF;
  return true;
}

static bool link_reader(struct sched_net *c, const struct reader *r, int var, const struct state *s,
                        int n) {
  const struct menu *m = menu_of(c, r->node);
  int e = solve_add_edge(&c->net, c->var[r->node], var);
  if (e < 0) return false;
  for (int i = 0; i < m->n; i++)
    for (int k = 0; k < n; k++)
      if (wants(r, &m->choice[i].label) & ~s[k].set) c->net.edge.v[e].cost[i * n + k] = SOLVE_INF;
  return true;
}

static bool add_shared(struct sched_net *c, struct traffic *t) {
  int n;
  const struct state *s = states_of(c, t, &n);
  int var = s ? solve_add_var(&c->net, n) : -1;
  if (var < 0) return false;
  t->var = var;
  t->state = s;
  for (int k = 0; k < n; k++) {
    bool lacks = t->is_output && !(s[k].set >> c->w->io[t->tensor] & 1);
    c->net.var.v[var].cost[k] =
        lacks ? SOLVE_INF : copies_ns(c, t->tensor, s[k].from, s[k].set & ~(LAYOUT_BIT(s[k].from)));
  }
  bool ok = link_producer(c, t, var, s, n);
  for (int i = 0; i < t->nreader && ok; i++) ok = link_reader(c, &t->reader[i], var, s, n);
  return ok;
}

static bool add_traffic(struct sched_net *c, struct traffic *t) {
  layout_set layouts = makes(c, t) | wanted(c, t);
  int ends = t->nreader + t->is_output;
  bool inside = is_inside(c, t) && sched_may_vanish(c->w, t->producer);
  if (ends == 0 || (!inside && (layouts & (layouts - 1)) == 0)) return true; /* nothing to do */
  return ends == 1 ? add_direct(c, t) : add_shared(c, t);
}

/* ---- views that join ---- */

static int output_of(const struct node *n, int tensor) {
  for (size_t i = 0; i < n->out.n; i++)
    if (n->out.v[i] == tensor) return (int)i;
  return -1;
}

/* A copy of an input that does not lie at its place: of a state, a constant, what has a place in
 * another node, an input that is wanted as the caller has it. */
static int64_t copies_of(struct sched_net *c, int node, const struct label *l) {
  const struct graph *g = c->w->g;
  const struct node *n = &g->node.v[node];
  int64_t sum = 0;
  int threads;
  for (int k = 0; k < (int)n->in.n; k++)
    if (!joins_at(c->w->join, g, node, k))
      sum = MIN(SOLVE_INF, sum + sched_copy(c->w, n->in.v[k], label_in(l, k), &threads));
  return sum;
}

static bool shows_other(const struct sched *w, int node, const struct label *l) {
  return l->view && !(w->g->node.v[node].op->flags & OPF_JOIN);
}

/* What has a place is copied, too, where its producer only shows what lies elsewhere. */
static bool link_place(struct sched_net *c, int node, int tensor) {
  struct sched *w = c->w;
  int p = w->g->tensor.v[tensor].producer, threads, e = -1;
  const struct menu *from = menu_of(c, p), *to = menu_of(c, node);
  int output = output_of(&w->g->node.v[p], tensor), input = w->join[tensor].input;
  for (int i = 0; i < from->n; i++)
    for (int k = 0; shows_other(w, p, &from->choice[i].label) && k < to->n; k++) {
      enum layout l = label_in(&to->choice[k].label, input);
      if (!to->choice[k].label.view) continue;
      const struct conversion *x =
          sched_conversion(w, tensor, label_out(&from->choice[i].label, output), l);
      if (!x) return false;
      if (x->threads) continue; /* the conversion writes to the place */
      if (e < 0) e = solve_add_edge(&c->net, c->var[p], c->var[node]);
      if (e < 0) return false;
      c->net.edge.v[e].cost[i * to->n + k] = sched_copy(w, tensor, l, &threads);
    }
  return true;
}

static bool add_joins(struct sched_net *c) {
  const struct graph *g = c->w->g;
  for (int i = 0; i < (int)g->node.n; i++) {
    const struct node *n = &g->node.v[i];
    if (n->dead || !(n->op->flags & OPF_JOIN)) continue;
    const struct menu *m = menu_of(c, i);
    CHECK(c->net.var.v != NULL && c->var[i] >= 0); /* every live node has a variable */
    int64_t *cost = c->net.var.v[c->var[i]].cost;
    for (int k = 0; k < m->n; k++)
      if (m->choice[k].label.view)
        cost[k] = MIN(SOLVE_INF, cost[k] + copies_of(c, i, &m->choice[k].label));
    for (int k = 0; k < (int)n->in.n; k++)
      if (joins_at(c->w->join, g, i, k) && !link_place(c, i, n->in.v[k])) return false;
  }
  return true;
}

/* ---- all tensors ---- */

/* Who reads what: one pass counts for each tensor, a second one fills in. */
static bool gather(struct sched_net *c, struct traffic *t) {
  const struct graph *g = c->w->g;
  struct arena *a = &c->w->a;
  for (int pass = 0; pass < 2; pass++) {
    for (int i = 0; i < (int)g->node.n; i++) {
      const struct node *n = &g->node.v[i];
      for (size_t k = 0; k < n->in.n && !n->dead; k++) {
        int x = n->in.v[k];
        if (!sched_is_run_time(c->w, x)) continue;
        if (!pass) {
          t[x].nreader++;
          continue;
        }
        if (!t[x].nreader || t[x].reader[t[x].nreader - 1].node != i)
          t[x].reader[t[x].nreader++] =
              (struct reader){.node = i, .input = ARENA_NEW(a, int, n->in.n)};
        struct reader *last = &t[x].reader[t[x].nreader - 1];
        if (!last->input) return false;
        last->input[last->n++] = (int)k;
      }
    }
    for (size_t x = 0; x < g->tensor.n && !pass; x++) {
      t[x].reader = ARENA_NEW(a, struct reader, t[x].nreader);
      if (!t[x].reader) return false;
      t[x].nreader = 0;
    }
  }
  return true;
}

static bool add_tensors(struct sched_net *c) {
  const struct graph *g = c->w->g;
  struct traffic *t = c->traffic = ARENA_NEW(&c->w->a, struct traffic, g->tensor.n);
  if (!t || !gather(c, t)) return false;
  for (int x = 0; x < (int)g->tensor.n; x++) {
    const struct gtensor *gt = &g->tensor.v[x];
    t[x].tensor = x;
    t[x].var = t[x].edge = -1;
    t[x].producer = gt->producer;
    t[x].output = gt->producer < 0 ? 0 : output_of(&g->node.v[gt->producer], x);
    t[x].is_output = gt->is_output;
    if (!gt->t.data && !add_traffic(c, &t[x])) return false;
  }
  return true;
}

static bool add_nodes(struct sched_net *c) {
  const struct graph *g = c->w->g;
  c->var = ARENA_NEW(&c->w->a, int, g->node.n);
  if (!c->var) return false;
  for (int i = 0; i < (int)g->node.n; i++) {
    c->var[i] = -1;
    if (g->node.v[i].dead) continue;
    const struct menu *m = menu_of(c, i);
    int v = c->var[i] = solve_add_var(&c->net, m->n);
    if (v < 0) return false;
    int64_t least = SOLVE_INF;
    for (int k = 0; k < m->n; k++) {
      c->net.var.v[v].cost[k] = m->choice[k].ns;
      least = MIN(least, m->choice[k].ns);
    }
    c->floor = MIN(SOLVE_INF, c->floor + least);
  }
  return true;
}

/* The solver's result is followed step by step by a checker that shares nothing with it, unless
 * that takes longer than planning may. */
static enum fvm_status solve_checked(struct sched_net *c, struct solve_result *r) {
  enum { CHECK_TICKS = 1000000 }; /* some milliseconds */
  enum fvm_status st = solve_layout(&c->net, c->w->o->max_ticks, &c->w->a, r, c->w->err);
  if (st == FVM_OK && r->ticks <= CHECK_TICKS) st = solve_check(&c->net, r, c->w->err);
  return st;
}

/* ---- tables that are weights of products, too ---- */

/* A second copy of a table has to gain more than this part of the whole time. */
enum { COPY_GAIN = 200 };

/* The layout in which a product that reads the table has it; LAYOUT_COUNT: none does. */
static enum layout table_layout(const struct sched *w, int table) {
  for (size_t i = 0; i < w->g->node.n; i++) {
    const struct node *n = &w->g->node.v[i];
    for (size_t k = 1; !n->dead && k < n->in.n; k++)
      if (n->in.v[k] == table)
        return label_in(&w->node[i].menu->choice[w->node[i].choice].label, (int)k);
  }
  return LAYOUT_COUNT;
}

/* Pick rows from where a product has them, if that costs next to nothing. Returns what it costs. */
static int64_t share_table(struct sched *w, int node, int64_t total) {
  const struct menu *m = w->node[node].menu;
  const struct choice *now = &m->choice[w->node[node].choice];
  enum layout l = table_layout(w, w->g->node.v[node].in.v[0]);
  for (int i = 0; i < m->n && l != LAYOUT_COUNT; i++) {
    const struct choice *c = &m->choice[i];
    int64_t more = c->ns - now->ns;
    if (label_in(&c->label, 0) != l || label_out(&c->label, 0) != label_out(&now->label, 0) ||
        more > total / COPY_GAIN)
      continue;
    w->node[node].choice = i;
    return more;
  }
  return 0;
}

int64_t sched_share_tables(struct sched *w, int64_t total) {
  int64_t sum = 0;
  for (int i = 0; i < (int)w->g->node.n; i++)
    if (!w->g->node.v[i].dead && sched_is_tied(w, i)) sum += MAX(share_table(w, i, total), 0);
  return sum;
}

enum fvm_status sched_net_make(struct sched *w, struct sched_net *c) {
  *c = (struct sched_net){.w = w};
  bool ok = add_nodes(c) && add_tensors(c) && add_joins(c);
  c->follows = (int)c->net.var.n;
  return ok && sched_add_appends(c) ? FVM_OK : fvm_nomem(w->err);
}

int64_t sched_net_take(const struct sched_net *c, const int *label, int64_t cost) {
  struct sched *w = c->w;
  for (size_t i = 0; i < w->g->node.n; i++)
    if (c->var[i] >= 0) w->node[i].choice = label[c->var[i]];
  return sched_share_tables(w, cost);
}

/* Whether other labels of nodes cost the same: of all solutions the one with the fewest of these
 * labels. Makes the network's costs anew. */
static enum fvm_status find_tie(struct sched_net *c, const struct solve_result *r, bool *tie) {
  struct solve_net *net = &c->net;
  int64_t nodes = 0, scale, most = SOLVE_INF >> 4;
  struct solve_result other = {0};
  for (size_t i = 0; i < c->w->g->node.n; i++) nodes += c->var[i] >= 0;
  scale = nodes + 1;
  *tie = false;
  if (r->cost >= most / scale) return FVM_OK; /* costs that are too large for that are forbidden */
  for (size_t v = 0; v < net->var.n; v++)
    for (int k = 0; k < net->var.v[v].n; k++) {
      int64_t *x = &net->var.v[v].cost[k];
      *x = *x >= most / scale ? SOLVE_INF : *x * scale + (v < (size_t)nodes && k == r->label[v]);
    }
  for (size_t e = 0; e < net->edge.n; e++) {
    const struct solve_edge *x = &net->edge.v[e];
    int64_t n = (int64_t)net->var.v[x->u].n * net->var.v[x->v].n;
    for (int64_t k = 0; k < n; k++)
      x->cost[k] = x->cost[k] >= most / scale ? SOLVE_INF : x->cost[k] * scale;
  }
  enum fvm_status st = solve_layout(net, c->w->o->max_ticks, &c->w->a, &other, c->w->err);
  *tie = !st && other.cost / scale == r->cost && other.cost % scale < nodes;
  return st;
}

enum fvm_status sched_choose(struct sched *w) {
  struct sched_net c;
  struct solve_result r = {0};
  enum fvm_status st = sched_net_make(w, &c);
  phase_done(w->o->phases, PHASE_network);
  if (!st) st = solve_checked(&c, &r);
  if (st == FVM_EFAIL) fvm_prefix(w->err, "layouts");
  int64_t shared = st ? 0 : sched_net_take(&c, r.label, r.cost); /* no price of the solver's */
  w->s->layout_cost_ns = r.cost + shared;
  w->s->layout_bound_ns = c.limited ? c.floor : r.bound + shared;
  w->s->optimal = r.optimal && !c.limited;
  w->chosen_ns = r.cost;
  if (!st && r.optimal && !w->ignores_ties) st = find_tie(&c, &r, &w->tie);
  solve_net_free(&c.net);
  phase_done(w->o->phases, PHASE_solve);
  return st;
}
