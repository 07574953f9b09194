/* What each node can be run by. Labels that agree in the layouts of their run-time inputs and
 * outputs look alike to the rest of the graph, so only the cheapest of them can be in an optimum.
 * Layouts of constants do not count: weights are converted at plan time for nothing. Where memory
 * counts they do, and so does scratch. */
#include "sched.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- conversions ---- */

static bool same_shape(const struct tensor *x, const struct tensor *y) {
  return x->dtype == y->dtype && x->rank == y->rank &&
         !memcmp(x->dim, y->dim, (size_t)x->rank * sizeof *x->dim);
}

static struct shape_costs *shape_of(struct sched *w, int tensor) {
  if (w->shape[tensor]) return w->shape[tensor];
  const struct tensor *t = sched_tensor(w, tensor);
  for (size_t i = 0; i < w->shapes.n; i++)
    if (same_shape(w->shapes.v[i]->t, t)) return w->shape[tensor] = w->shapes.v[i];
  struct shape_costs *s = ARENA_NEW(&w->a, struct shape_costs, 1);
  if (!s || !VEC_PUSH(&w->shapes, s)) return NULL;
  s->t = t;
  return w->shape[tensor] = s;
}

static void find_conversion(struct sched *w, const struct tensor *t, enum layout from,
                            enum layout to, struct conversion *c) {
  const struct target *target = &w->o->target;
  *c = (struct conversion){.known = true, .ns = SOLVE_INF};
  if (layout_alike(t, from, to)) {
    c->ns = 0;
    return;
  }
  if (!layout_convertible(t, from, to)) return;
  for (int i = 0; i < MAX(target->nthreads, 1); i++) {
    int threads = target->nthreads ? target->threads[i] : 1;
    int64_t ns = cost_convert(w->cost, t, from, to, threads);
    if (ns >= 0 && ns < c->ns) c->ns = ns, c->threads = threads;
  }
}

const struct conversion *sched_conversion(struct sched *w, int tensor, enum layout from,
                                          enum layout to) {
  struct shape_costs *s = shape_of(w, tensor);
  if (!s) return NULL;
  struct conversion *c = &s->by[from][to];
  if (!c->known) find_conversion(w, s->t, from, to, c);
  return c;
}

int64_t sched_copy(struct sched *w, int tensor, enum layout layout, int *threads) {
  const struct target *target = &w->o->target;
  int64_t best = SOLVE_INF;
  *threads = 1;
  for (int i = 0; i < MAX(target->nthreads, 1); i++) {
    int n = target->nthreads ? target->threads[i] : 1;
    int64_t ns = cost_convert(w->cost, sched_tensor(w, tensor), layout, layout, n);
    if (ns >= 0 && ns < best) best = ns, *threads = n;
  }
  return best;
}

/* ---- labels of a problem ---- */

enum { TIE_PART = 100, TIE_NS = 500 };

typedef VEC(struct choice) choices;

/* A node, or a chain of two. */
struct problem {
  int first, node;
  const struct opcall *call;
};

static int input_of(const struct sched *w, const struct problem *p, int i) {
  return chains_input(w->g, p->first, p->node, i);
}

/* Whether the constants can be had in the layouts that a label wants. */
static bool constants_fit(struct sched *w, const struct problem *p, const struct label *l) {
  for (int i = 0; i < p->call->nin; i++) {
    int t = input_of(w, p, i);
    if (t < 0 || sched_is_run_time(w, t)) continue;
    enum layout want = label_in(l, i);
    if (!layout_alike(sched_tensor(w, t), LAYOUT_ROW, want) &&
        !layout_convertible(sched_tensor(w, t), LAYOUT_ROW, want))
      return false;
  }
  return true;
}

/* The pins of a node. */
struct pin_list {
  const struct pin *const *v;
  int n;
};

/* Whether the node's pins leave it a label; *failed when memory is out. */
static bool are_agreed(const struct pin_list *pins, const struct opcall *call,
                       const struct label *l, bool *failed) {
  struct text t = {0};
  if (!pins->n) return true;
  label_text(call, l, &t);
  bool ok = !t.failed;
  *failed |= t.failed;
  for (int i = 0; i < pins->n && ok; i++) ok = pin_allows(pins->v[i], t.v, l);
  text_free(&t);
  return ok;
}

static bool collect(struct sched *w, const struct problem *p, const struct pin_list *pins,
                    choices *all) {
  const struct opcall *call = p->call;
  struct choice c = {0};
  bool failed = false;
  for (struct label_walk k = {0}; opcall_next(call, &w->o->target, &k, &c.label);) {
    if (!are_agreed(pins, call, &c.label, &failed)) continue;
    int64_t known = w->cost->known;
    w->s->labels_total += !c.label.view; /* a view runs nothing: no cost to measure */
    c.ns = c.label.view ? 0 : cost_node(w->cost, call, &c.label);
    c.measured = !c.label.view && w->cost->measured && w->cost->known > known && c.ns >= 0;
    c.error = w->o->label_error > 0 ? cost_error(w->cost, call, &c.label) : -1;
    w->s->labels_measured += c.measured;
    if (c.ns >= 0 && constants_fit(w, p, &c.label) && !VEC_PUSH(all, c)) return false;
  }
  return !failed;
}

/* A model's guess must not win against numbers that were measured: its errors are larger than the
 * differences between good labels. */
static void prefer_measured(choices *all) {
  bool any = false;
  size_t n = 0;
  for (size_t i = 0; i < all->n; i++) any |= all->v[i].measured;
  for (size_t i = 0; i < all->n; i++)
    if (!any || all->v[i].measured || all->v[i].label.view) all->v[n++] = all->v[i];
  all->n = n;
}

/* Leave out labels whose error is too large, unless all are. */
static void prefer_exact(const struct sched *w, choices *all) {
  double least = INFINITY, most = w->o->label_error;
  size_t n = 0;
  if (most <= 0) return;
  for (size_t i = 0; i < all->n; i++) least = fmin(least, all->v[i].error);
  for (size_t i = 0; i < all->n; i++)
    if (all->v[i].error <= fmax(most, least)) all->v[n++] = all->v[i];
  all->n = n;
}

/* Scratch and what is read, of each choice; labels without a program go. False when memory is out.
 */
static bool weigh(struct sched *w, const struct problem *q, choices *all) {
  enum fvm_status st = FVM_OK;
  size_t n = 0;
  for (size_t i = 0; i < all->n && st != FVM_ENOMEM; i++) {
    struct arena a = {0};
    struct program p;
    struct choice c = all->v[i];
    c.reads = q->call->op->flags & OPF_JOIN ? ~(uint64_t)0 : 1; /* what a view shows */
    st = c.label.view ? FVM_OK : opcall_emit(q->call, &c.label, &a, &p, w->err);
    if (!st && !c.label.view) {
      c.reads = sched_reads(&p);
      c.scratch = sched_scratch(&p, c.label.threads);
    }
    if (!st) all->v[n++] = c;
    arena_free(&a);
  }
  all->n = n;
  return st != FVM_ENOMEM;
}

static bool look_alike(const struct sched *w, const struct problem *p, const struct label *x,
                       const struct label *y) {
  const struct node *n = &w->g->node.v[p->node];
  if ((p->call->op->flags & OPF_JOIN) && x->view != y->view)
    return false; /* a view may need copies */
  for (int i = 0; i < p->call->nin; i++)
    if ((sched_is_run_time(w, input_of(w, p, i)) || w->weighs_memory ||
         sched_is_tied(w, p->node)) &&
        label_in(x, i) != label_in(y, i))
      return false;
  for (size_t i = 0; i < n->out.n; i++)
    if (n->out.v[i] >= 0 && label_out(x, (int)i) != label_out(y, (int)i)) return false;
  return true;
}

/* What was measured within a per cent of the best that looks alike, or within half a microsecond,
 * ties with it: another tuning might find the two the other way round, and shall lead to the same
 * plan. (Steps of 10 to 20 us differ by 2 to 5 % from tuning to tuning. In a plan of 12 ms and 56
 * steps the half microseconds are 0.2 %, all of them together.) */
static void find_ties(const struct sched *w, const struct problem *p, choices *all) {
  for (size_t i = 0; i < all->n; i++) {
    struct choice *x = &all->v[i];
    int64_t best = x->ns;
    for (size_t j = 0; j < all->n; j++)
      if (all->v[j].measured && look_alike(w, p, &x->label, &all->v[j].label))
        best = MIN(best, all->v[j].ns);
    x->tie_ns = x->measured && x->ns - best <= MAX(best / TIE_PART, (int64_t)TIE_NS) ? best : x->ns;
  }
}

/* Earlier labels win ties, and labels that may run in place win against those that may not. */
static bool is_better(const struct choice *x, const struct choice *y) {
  if (x->tie_ns != y->tie_ns) return x->tie_ns < y->tie_ns;
  if (x->label.view != y->label.view) return x->label.view;
  return x->label.inplace && !y->label.inplace;
}

/* Whether x, the earlier one or not, leaves no use for y. */
static bool beats(const struct sched *w, const struct choice *x, const struct choice *y,
                  bool earlier) {
  if (x->scratch > y->scratch || is_better(y, x)) return false;
  if (w->weighs_memory && y->label.inplace && x->label.inplace != y->label.inplace) return false;
  return is_better(x, y) || x->scratch < y->scratch || earlier;
}

static void keep_best(const struct sched *w, const struct problem *p, choices *all) {
  size_t n = 0;
  for (size_t i = 0; i < all->n; i++) {
    const struct choice *x = &all->v[i];
    bool beaten = false;
    size_t kept = 0;
    for (size_t j = 0; j < n && !beaten; j++)
      beaten = look_alike(w, p, &x->label, &all->v[j].label) && beats(w, &all->v[j], x, true);
    for (size_t j = 0; j < n && !beaten; j++)
      if (!look_alike(w, p, &x->label, &all->v[j].label) || !beats(w, x, &all->v[j], false))
        all->v[kept++] = all->v[j];
    if (beaten) continue;
    struct choice new = *x;
    all->v[kept++] = new;
    n = kept;
  }
  all->n = n;
}

static const struct menu *menu_new(struct sched *w, const struct problem *p, uint64_t hash,
                                   const struct pin_list *pins) {
  choices all = {0};
  struct menu *m = ARENA_NEW(&w->a, struct menu, 1);
  bool ok = m && collect(w, p, pins, &all);
  if (ok) {
    prefer_measured(&all);
    prefer_exact(w, &all);
  }
  if (ok && w->weighs_memory) ok = weigh(w, p, &all);
  if (ok) {
    find_ties(w, p, &all);
    keep_best(w, p, &all);
    *m = (struct menu){.hash = hash,
                       .pin = pins->v,
                       .npin = pins->n,
                       .choice = ARENA_NEW(&w->a, struct choice, all.n),
                       .n = (int)all.n};
    ok = m->choice && VEC_PUSH(&w->menus, m);
  }
  if (ok && all.n) memcpy(m->choice, all.v, all.n * sizeof *all.v);
  VEC_FREE(&all);
  return ok ? m : NULL;
}

static bool is_for(const struct menu *m, uint64_t hash, const struct pin_list *pins) {
  bool is = m->hash == hash && m->npin == pins->n;
  for (int i = 0; is && i < pins->n; i++) is = m->pin[i] == pins->v[i];
  return is;
}

const struct menu *sched_menu(struct sched *w, int first, int node, const struct opcall *call,
                              const struct pin *const *pin, int npin) {
  const struct pin_list pins = {pin, npin};
  const struct problem p = {first, node, call};
  uint64_t hash = first < 0 ? w->node[node].problem : opcall_hash(call);
  for (size_t i = 0; i < w->menus.n; i++)
    if (is_for(w->menus.v[i], hash, &pins)) return w->menus.v[i];
  return menu_new(w, &p, hash, &pins);
}

/* ---- pins ---- */

const struct pin **sched_pins(struct sched *w, int first, int node, int *n) {
  const struct pins *p = w->o->pins;
  const struct pin **v = NULL;
  for (int pass = 0; pass < 2; pass++) { /* count, then fill in */
    *n = 0;
    for (size_t i = 0; p && i < p->pin.n; i++) {
      bool covers = pin_covers(&p->pin.v[i], &w->g->node.v[node]) ||
                    (first >= 0 && pin_covers(&p->pin.v[i], &w->g->node.v[first]));
      if (!covers) continue;
      if (v) v[*n] = &p->pin.v[i];
      ++*n;
    }
    if (!v && !(v = ARENA_NEW(&w->a, const struct pin *, MAX(*n, 1)))) return NULL;
  }
  return v;
}

/* Labels that a node has without pins: the first of each candidate, and how many more. Those that
 * failed when they were measured do not count. */
static void put_labels(struct sched *w, int node, struct text *out) {
  enum { ROOM = 280 };
  const struct opcall *call = &w->node[node].call;
  const struct cand *last = NULL;
  struct label l;
  int more = 0;
  size_t begin = out->n;
  for (struct label_walk k = {0}; opcall_next(call, &w->o->target, &k, &l);) {
    if (!l.view && cost_node(w->cost, call, &l) < 0) continue;
    bool shown = l.cand != last && out->n - begin < ROOM;
    if (shown && last) text_printf(out, "; ");
    if (shown) label_text(call, &l, out);
    more += !shown;
    last = shown ? l.cand : last;
  }
  if (more) text_printf(out, "; and %d more", more);
}

/* The first pin that leaves the node nothing, or all of them if they only do so together. FVM_OK:
 * it has none. */
static enum fvm_status refuse_pins(struct sched *w, int node) {
  const struct node *n = &w->g->node.v[node];
  const struct menu *own = w->node[node].menu->own ? w->node[node].menu->own : w->node[node].menu;
  const struct pin_list list = {own->pin, own->npin}, *pins = &list;
  if (!list.n) return FVM_OK;
  struct text t = {0};
  int guilty = -1;
  for (int i = 0; i < pins->n && guilty < 0; i++) {
    const struct menu *m = sched_menu(w, -1, node, &w->node[node].call, &pins->v[i], 1);
    if (!m) return fvm_nomem(w->err);
    if (m->n == 0) guilty = i;
  }
  text_printf(&t, "%.100s:%zu: the pin", w->o->pins->path, pins->v[MAX(guilty, 0)]->line);
  for (int i = 1; i < pins->n && guilty < 0; i++)
    text_printf(&t, "%s %zu",
                i > 1         ? ","
                : pins->n > 2 ? " and those of lines"
                              : " and that of line",
                pins->v[i]->line);
  text_printf(&t,
              " %s node '%.80s' (%s) without a label; it has: ", guilty < 0 ? "leave" : "leaves",
              n->name, n->op->name);
  put_labels(w, node, &t);
  enum fvm_status st = t.failed ? fvm_nomem(w->err) : fvm_fail(w->err, FVM_EFORMAT, "%s", t.v);
  text_free(&t);
  return st;
}

static enum fvm_status find_menu(struct sched *w, int node) {
  int n;
  const struct pin **v = sched_pins(w, -1, node, &n);
  const struct menu *m = v ? sched_menu(w, -1, node, &w->node[node].call, v, n) : NULL;
  if (!m) return fvm_nomem(w->err);
  w->node[node].menu = m;
  return FVM_OK;
}

/* ---- all nodes ---- */

/* Name all operators that nothing runs, each with its first node. */
static void complain(const struct sched *w, int node, struct text *t) {
  const struct node *n = &w->g->node.v[node];
  for (int i = 0; i < node; i++)
    if (!w->g->node.v[i].dead && w->node[i].menu->n == 0 && w->g->node.v[i].op == n->op) return;
  enum fvm_dtype d = n->in.n && n->in.v[0] >= 0 ? sched_tensor(w, n->in.v[0])->dtype : FVM_NONE;
  text_printf(t, "%s%s of %s (node '%s')", t->n ? ", " : "", n->op->name, fvm_dtype_name(d),
              n->name);
}

enum fvm_status sched_menus(struct sched *w) {
  struct text missing = {0};
  enum fvm_status st = w->o->pins ? pins_check(w->o->pins, w->g, w->err) : FVM_OK;
  for (int i = 0; i < (int)w->g->node.n && !st; i++) {
    struct sched_node *n = &w->node[i];
    if (w->g->node.v[i].dead) continue;
    if (!n->call.op) { /* not again for each of many solutions */
      st = graph_opcall(w->g, i, &w->a, &n->call, w->err);
      n->problem = st ? 0 : opcall_hash(&n->call);
    }
    if (!st) st = find_menu(w, i);
  }
  if (!st) st = sched_chain_menus(w, NULL, -1);
  for (int i = 0; i < (int)w->g->node.n && !st; i++) {
    if (w->g->node.v[i].dead || w->node[i].menu->n) continue;
    st = refuse_pins(w, i);
    if (!st) complain(w, i, &missing);
  }
  if (!st && missing.failed) st = fvm_nomem(w->err);
  if (!st && missing.n)
    st = fvm_fail(w->err, FVM_EUNSUPPORTED, "no candidate runs these yet: %s", missing.v);
  text_free(&missing);
  return st;
}
