/* Tensors that are computed again for their later readers, so that they need not be kept over the
 * fullest step. Contract: sched_fit.h.
 *
 *   before   x = n(a)  ...fullest step...  r(x)        x is kept
 *   after    x = n(a)  ...fullest step...  x' = n(a)  r(x')
 *
 * That is a graph of its own: a fork with a copy of n, and of what n needs in turn, as far as its
 * inputs are not there anyway when r runs, or small. It is planned like any other graph, so what
 * comes out is right whatever was guessed here: which tensor, of the many that live at the fullest
 * step, is a guess, the best of a few that are tried. That is done again and again, each time from
 * the best graph so far, until the plan fits or nothing helps. */
#include "sched_fit.h"

#include <stdlib.h>
#include <string.h>

enum {
  WIDTH = 4,          /* graphs that are tried before one is taken */
  MOST_TRIES = 64,    /* in all */
  MOST_EFFORT = 8000, /* nodes in all that are tried; but: */
  LEAST_TRIES = 8,
  MOST_COPIES = 6, /* nodes that are run again for one tensor */
  SMALL = 4,       /* an input of this part of the bytes may be kept instead */
  LITTLE = 32      /* this part of what has to go is not worth a step */
};

/* ---- what lives where ------------------------------------------------------------------------ */
/* A schedule, looked at. */
struct look {
  const struct sched *w;
  struct arena a;
  int *time;     /* by node: the step that runs it; of a view, the one that makes what it shows */
  int *root;     /* by value */
  int64_t *load; /* by step: bytes that live in the arena */
  int peak;
  bool *busy; /* by value, of roots: the fullest step reads or writes there */
};

static void find_times(struct look *l) {
  const struct schedule *s = l->w->s;
  const struct graph *g = l->w->g;
  for (size_t i = 0; i < g->node.n; i++) l->time[i] = -1;
  for (int k = 0; k < (int)s->step.n; k++) {
    if (s->step.v[k].node >= 0) l->time[s->step.v[k].node] = k;
    if (s->step.v[k].first >= 0) l->time[s->step.v[k].first] = k;
  }
  for (size_t i = 0; i < g->node.n; i++) {
    const struct node *n = &g->node.v[i];
    if (n->dead || !l->w->node[i].menu->choice[l->w->node[i].choice].label.view) continue;
    l->time[i] = 0;
    for (size_t k = 0; k < n->in.n; k++) {
      int p = n->in.v[k] < 0 ? -1 : g->tensor.v[n->in.v[k]].producer;
      if (p >= 0) l->time[i] = MAX(l->time[i], l->time[p]);
    }
  }
}

static void find_loads(struct look *l) {
  const struct schedule *s = l->w->s;
  for (size_t i = 0; i < s->value.n; i++) {
    const struct sched_value *v = &s->value.v[i];
    l->root[i] = sched_root(s, (int)i, NULL);
    for (int k = v->first; sched_arena_bytes(v) && k <= l->w->end[i]; k++)
      l->load[k] += sched_arena_bytes(v);
  }
  for (int k = 1; k < (int)s->step.n; k++)
    if (l->load[k] > l->load[l->peak]) l->peak = k;
}

static bool look_at(struct look *l, const struct sched *w) {
  const struct schedule *s = w->s;
  *l = (struct look){.w = w};
  l->time = ARENA_NEW(&l->a, int, w->g->node.n);
  l->root = ARENA_NEW(&l->a, int, s->value.n);
  l->load = ARENA_NEW(&l->a, int64_t, s->step.n + 1);
  l->busy = ARENA_NEW(&l->a, bool, s->value.n);
  if (!l->time || !l->root || !l->load || !l->busy) return false;
  find_times(l);
  find_loads(l);
  for (int i = 0; s->step.n && i < sched_buffers(w, &s->step.v[l->peak]); i++)
    if (s->step.v[l->peak].bind[i] >= 0) l->busy[l->root[s->step.v[l->peak].bind[i]]] = true;
  return true;
}

/* Bytes above a size, over all steps. */
static int64_t excess(const struct look *l, int64_t over) {
  int64_t sum = 0;
  for (size_t k = 0; k < l->w->s->step.n; k++) sum += MAX(l->load[k] - over, 0);
  return sum;
}

/* ---- what might be computed again ------------------------------------------------------------ */
/* The tensors at one place in the arena that others read after the fullest step. */
struct option {
  int root, time;    /* time: of the first of these readers */
  int64_t bytes, ns; /* that are not kept; about what that costs */
};

static bool reads(const struct node *n, int tensor) {
  for (size_t k = 0; k < n->in.n && !n->dead; k++)
    if (n->in.v[k] == tensor) return true;
  return false;
}

/* Whether the fullest step finds the whole value of a tensor at the option's place. */
static bool is_kept_at(const struct look *l, const struct option *o, int value) {
  const struct sched_value *v = &l->w->s->value.v[value];
  if (l->root[value] != o->root || v->tensor < 0 || v->first > l->peak) return false;
  int p = l->w->g->tensor.v[v->tensor].producer;
  return p >= 0 && l->time[p] <= l->peak; /* what is joined begins with its first piece */
}

static bool holds(const struct look *l, const struct option *o, int tensor) {
  for (int i = 0; i < (int)l->w->s->value.n; i++)
    if (l->w->s->value.v[i].tensor == tensor && is_kept_at(l, o, i)) return true;
  return false;
}

/* Whether a tensor is there anyway when the first reader runs, or is so small that it may be. */
static bool is_at_hand(const struct look *l, const struct option *o, int tensor) {
  const struct schedule *s = l->w->s;
  const struct gtensor *t = &l->w->g->tensor.v[tensor];
  if (t->t.data || t->is_input) return true;
  if (holds(l, o, tensor)) return false;
  for (size_t i = 0; i < s->value.n; i++)
    if (s->value.v[i].tensor == tensor && s->value.v[i].last >= o->time &&
        s->value.v[i].first < o->time)
      return true;
  return tensor_bytes(&t->t) <= o->bytes / SMALL;
}

/* The time of what has to be run again to have a tensor, at most `left` nodes; SOLVE_INF: more. */
static int64_t again_ns(const struct look *l, const struct option *o, int tensor, int *left) {
  const struct schedule *s = l->w->s;
  int p = l->w->g->tensor.v[tensor].producer;
  if (is_at_hand(l, o, tensor)) return 0;
  if (p < 0 || l->time[p] < 0 || --*left < 0) return SOLVE_INF;
  const struct node *n = &l->w->g->node.v[p];
  const struct sched_step *step = &s->step.v[l->time[p]];
  int64_t sum = step->node == p || step->first == p ? step->cost_ns : 0;
  if (n->op->flags & OPF_STATE) return SOLVE_INF;
  for (size_t k = 0; k < n->in.n; k++) {
    int64_t more = n->in.v[k] < 0 ? 0 : again_ns(l, o, n->in.v[k], left);
    sum = MIN(SOLVE_INF, sum + more);
  }
  return sum;
}

/* What computing again the tensors at a root takes. False: that cannot be. */
static bool weigh(const struct look *l, struct option *o) {
  const struct schedule *s = l->w->s;
  const struct graph *g = l->w->g;
  int left = MOST_COPIES;
  o->time = INT32_MAX;
  for (int i = 0; i < (int)s->value.n; i++) {
    if (!is_kept_at(l, o, i)) continue;
    if (g->tensor.v[s->value.v[i].tensor].is_output) return false;
    for (size_t n = 0; n < g->node.n; n++)
      if (l->time[n] > l->peak && reads(&g->node.v[n], s->value.v[i].tensor))
        o->time = MIN(o->time, l->time[n]);
  }
  if (o->time == INT32_MAX) return false;
  for (int i = 0; i < (int)s->value.n; i++) {
    bool later = false;
    for (size_t n = 0; n < g->node.n && is_kept_at(l, o, i) && !later; n++)
      later = l->time[n] > l->peak && reads(&g->node.v[n], s->value.v[i].tensor);
    int64_t more = later ? again_ns(l, o, s->value.v[i].tensor, &left) : 0;
    o->ns = MIN(SOLVE_INF, o->ns + more);
  }
  return o->ns < SOLVE_INF;
}

/* Those that free most bytes for their time first. */
static int by_rate(const void *x, const void *y) {
  const struct option *a = x, *b = y;
  double p = (double)a->ns * (double)b->bytes, q = (double)b->ns * (double)a->bytes;
  if (p < q || p > q) return p < q ? -1 : 1;
  if (a->bytes != b->bytes) return a->bytes > b->bytes ? -1 : 1;
  return (a->root > b->root) - (a->root < b->root);
}

typedef VEC(struct option) options;

static bool find_options(const struct look *l, options *all) {
  const struct schedule *s = l->w->s;
  for (int i = 0; i < (int)s->value.n; i++) {
    const struct sched_value *v = &s->value.v[i];
    struct option o = {.root = i, .bytes = sched_arena_bytes(v)};
    if (!o.bytes || l->busy[i] || v->first > l->peak || l->w->end[i] <= l->peak) continue;
    if (weigh(l, &o) && !VEC_PUSH(all, o)) return false;
  }
  if (all->n) qsort(all->v, all->n, sizeof *all->v, by_rate);
  return true;
}

/* ---- the graph with that ----------------------------------------------------------------------
 */
struct fork {
  const struct look *l;
  const struct option *o;
  struct graph *g;
  int *copy; /* by tensor: computed again; -1: it is not */
  int *of;   /* by node of g: the one that it is a copy of, or -1 */
};

/* The nodes of the graph that was come first in the fork, then the copies. */
static bool copy_node(struct fork *f, int node) {
  const struct graph *from = f->l->w->g;
  struct node n = from->node.v[node];
  const struct node *old = &from->node.v[node];
  memset(&n.in, 0, sizeof n.in);
  memset(&n.out, 0, sizeof n.out);
  n.again = true;
  int at = (int)f->g->node.n;
  if (!VEC_PUSH(&f->g->node, n)) return false;
  f->of[at] = node;
  for (size_t k = 0; k < old->out.n; k++) {
    int t = old->out.v[k];
    if (t >= 0) {
      struct gtensor copy = from->tensor.v[t];
      copy.is_output = false;
      f->copy[t] = (int)f->g->tensor.n;
      if (!VEC_PUSH(&f->g->tensor, copy)) return false;
    }
    if (!node_add_out(f->g, at, t < 0 ? -1 : f->copy[t])) return false;
  }
  return true;
}

/* The tensor to read instead of one, by a reader after the fullest step: -1: memory is out. */
static int instead(struct fork *f, int tensor) {
  if (f->copy[tensor] >= 0 || is_at_hand(f->l, f->o, tensor))
    return f->copy[tensor] >= 0 ? f->copy[tensor] : tensor;
  int p = f->l->w->g->tensor.v[tensor].producer, at = (int)f->g->node.n;
  const struct node *old = &f->l->w->g->node.v[p];
  if (!copy_node(f, p)) return -1;
  for (size_t k = 0; k < old->in.n; k++) {
    int in = old->in.v[k] < 0 ? -1 : instead(f, old->in.v[k]);
    if ((in < 0 && old->in.v[k] >= 0) || !VEC_PUSH(&f->g->node.v[at].in, in)) return -1;
  }
  return f->copy[tensor];
}

static bool move_readers(struct fork *f) {
  const struct look *l = f->l;
  for (size_t n = 0; n < l->w->g->node.n; n++) {
    const struct node *old = &l->w->g->node.v[n];
    for (size_t k = 0; l->time[n] > l->peak && !old->dead && k < old->in.n; k++) {
      if (old->in.v[k] < 0 || !holds(l, f->o, old->in.v[k])) continue;
      int in = instead(f, old->in.v[k]);
      if (in < 0) return false;
      f->g->node.v[n].in.v[k] = in;
    }
  }
  return true;
}

/* What nobody reads any more is not computed; a copy of that is the only one then. Returns how many
 * nodes are run again; -1: memory is out. */
static int drop_unread(struct fork *f) {
  struct graph *g = f->g;
  struct arena a = {0};
  int n = 0, *uses = graph_uses(g, &a);
  for (int i = (int)f->l->w->g->node.n - 1; i >= 0 && uses; i--) {
    struct node *old = &g->node.v[i];
    bool used = old->dead;
    for (size_t k = 0; k < old->out.n; k++) used |= old->out.v[k] >= 0 && uses[old->out.v[k]] > 0;
    if (used) continue;
    node_kill(g, i);
    for (size_t k = 0; k < old->in.n; k++)
      if (old->in.v[k] >= 0) uses[old->in.v[k]]--;
    for (size_t j = f->l->w->g->node.n; j < g->node.n; j++)
      if (f->of[j] == i) g->node.v[j].again = old->again;
  }
  for (size_t j = f->l->w->g->node.n; j < g->node.n; j++) n += g->node.v[j].again;
  arena_free(&a);
  return uses ? n : -1;
}

/* *g NULL: nothing would be computed again. */
static enum fvm_status make_fork(const struct look *l, const struct option *o, struct graph **g) {
  const struct graph *from = l->w->g;
  struct arena a = {0};
  struct fork f = {.l = l, .o = o, .g = graph_fork(from)};
  f.copy = ARENA_NEW(&a, int, from->tensor.n);
  f.of = ARENA_NEW(&a, int, from->node.n + MOST_COPIES);
  bool ok = f.g && f.copy && f.of;
  for (size_t i = 0; ok && i < from->tensor.n; i++) f.copy[i] = -1;
  ok = ok && move_readers(&f);
  int n = ok ? drop_unread(&f) : -1;
  enum fvm_status st = n < 0 ? fvm_nomem(l->w->err) : FVM_OK;
  if (!st && n) st = graph_compact(f.g, l->w->err);
  arena_free(&a);
  if (st || !n) {
    graph_free(f.g);
    f.g = NULL;
  }
  *g = f.g;
  return st;
}

/* ---- schedules --------------------------------------------------------------------------------
 */
/* Every node by the least that it takes: no plan is faster, whatever is computed again. */
static int64_t floor_ns(const struct sched *w) {
  int64_t sum = 0;
  for (size_t i = 0; i < w->g->node.n; i++) {
    const struct menu *m = w->node[i].menu;
    int64_t least = SOLVE_INF;
    if (w->g->node.v[i].dead || w->g->node.v[i].again) continue;
    for (int k = 0; k < m->n; k++) least = MIN(least, m->choice[k].ns);
    sum = MIN(SOLVE_INF, sum + least);
  }
  return sum;
}

/* What may be claimed of a schedule: which tensors are computed again was guessed. */
static void claim(struct schedule *s, int64_t floor) {
  s->optimal = false;
  s->layout_bound_ns = MIN(floor, s->layout_cost_ns);
}

/* The fastest schedule of a graph, which passes to it; menus of problems that `like` has, too, are
 * that one's. */
static enum fvm_status open_fork(struct sched *x, struct graph *g, const struct sched *like) {
  enum fvm_status st = sched_open(x, g, like->cost, like->o, like->err);
  if (x->s) x->s->own = g;
  if (!x->s) graph_free(g);
  for (size_t i = 0; !st && i < like->menus.n; i++)
    if (!VEC_PUSH(&x->menus, like->menus.v[i])) st = fvm_nomem(x->err);
  if (!st) st = sched_start(x);
  if (st || !like->s) return st;
  x->s->labels_total = like->s->labels_total;
  x->s->labels_measured = like->s->labels_measured;
  return FVM_OK;
}

static void close_fork(struct sched *x) {
  schedule_free(x->s);
  sched_close(x);
}

/* ---- the way down -----------------------------------------------------------------------------
 */
struct descent {
  const struct sched *from; /* of the graph as it is */
  struct limits goal;
  struct again *out;
  int64_t floor;
  int tries;
};

/* How much has to go, as far as the arena is concerned; not all of it at once, so that some of it
 * counts where all cannot be had. */
static int64_t target(const struct descent *d, const struct schedule *s) {
  int64_t rest = s->resident_bytes - s->arena_bytes;
  int64_t goal = MIN(d->goal.arena, MAX(d->goal.memory - rest, 0));
  return MAX(goal, s->arena_bytes / 8 * 7);
}

/* Whether one that has less by `gain` is the better one: it fits and takes no longer than others
 * that do; else it has less for what it takes. */
static bool is_better(const struct descent *d, const struct schedule *s, int64_t gain,
                      const struct schedule *t, int64_t least, int64_t now) {
  bool a = fits(s, d->goal), b = t && fits(t, d->goal);
  if (!t || a != b) return !t || a;
  if (a) return s->cost_ns < t->cost_ns;
  double p = (double)gain * (double)MAX(t->cost_ns - now, 1);
  double q = (double)least * (double)MAX(s->cost_ns - now, 1);
  return p > q;
}

static enum fvm_status go_on(const struct descent *d) {
  const struct plan_watch *w = d->from->o->watch;
  bool on =
      !w || w->go_on(w->ctx, (double)d->out->schedule.n, MOST_TRIES, "tensors to compute again");
  return on ? FVM_OK : fvm_fail(d->from->err, FVM_EINTR, "interrupted: no plan was written");
}

/* Of a schedule; -1: memory is out. */
static int64_t excess_of(const struct sched *w, int64_t over) {
  struct look l;
  int64_t sum = look_at(&l, w) ? excess(&l, over) : -1;
  arena_free(&l.a);
  return sum;
}

/* What is being looked for: the best way to have less than `now`. */
struct best {
  const struct sched *now;
  struct sched w; /* s NULL: nothing helps so far */
  int64_t over, excess, gain;
};

/* Keep a graph if it is the best so far. */
static enum fvm_status try(struct descent *d, struct best *b, struct graph *g) {
  struct sched x = {0};
  enum fvm_status st = open_fork(&x, g, d->from);
  int64_t left = st ? 0 : excess_of(&x, b->over), gain = b->excess - left;
  if (left < 0) st = fvm_nomem(d->from->err);
  if (!st && gain > b->excess / LITTLE &&
      is_better(d, x.s, gain, b->w.s, b->gain, b->now->s->cost_ns)) {
    struct sched worse = b->w;
    b->w = x;
    x = worse;
    b->gain = gain;
  }
  close_fork(&x);
  return st;
}

static enum fvm_status step_down(struct descent *d, struct best *b) {
  struct look l;
  options all = {0};
  enum fvm_status st =
      look_at(&l, b->now) && find_options(&l, &all) ? FVM_OK : fvm_nomem(d->from->err);
  b->over = target(d, b->now->s);
  b->excess = st ? 0 : excess(&l, b->over);
  for (size_t i = 0; !st && i < MIN(all.n, (size_t)WIDTH) && d->tries > 0; i++) {
    struct graph *g = NULL;
    st = make_fork(&l, &all.v[i], &g);
    if (!st && g) st = try(d, b, g);
    d->tries -= g != NULL;
    if (!st) st = go_on(d);
  }
  VEC_FREE(&all);
  arena_free(&l.a);
  return st;
}

static int count_again(const struct schedule *s) {
  int n = 0;
  for (size_t k = 0; k < s->step.n; k++)
    n += s->step.v[k].node >= 0 && s->graph->node.v[s->step.v[k].node].again;
  return n;
}

enum fvm_status again_find(const struct sched *w, struct limits goal, struct again *x) {
  struct descent d = {.from = w, .goal = goal, .out = x, .floor = floor_ns(w)};
  struct sched now = *w; /* not ours */
  enum fvm_status st = FVM_OK;
  d.tries = MOST_EFFORT / (int)MAX(w->g->node.n, 1);
  d.tries = MIN(MAX(d.tries, LEAST_TRIES), MOST_TRIES);
  while (!st && d.tries > 0 && !fits(now.s, goal)) {
    struct best b = {.now = &now};
    st = step_down(&d, &b);
    if (now.s != w->s) sched_close(&now); /* the schedule is in the list */
    now = b.w;
    if (!b.w.s) break;
    b.w.s->again = count_again(b.w.s);
    claim(b.w.s, d.floor);
    if (!VEC_PUSH(&x->schedule, b.w.s)) {
      schedule_free(b.w.s);
      st = fvm_nomem(w->err);
    }
  }
  if (now.s && now.s != w->s) sched_close(&now);
  return st;
}

void again_free(struct again *x) {
  for (size_t i = 0; i < x->schedule.n; i++) schedule_free(x->schedule.v[i]);
  VEC_FREE(&x->schedule);
}

/* ---- within limits ----------------------------------------------------------------------------
 */
bool again_take(struct again *x, struct limits limits, struct schedule **s) {
  size_t best = x->schedule.n;
  for (size_t i = 0; i < x->schedule.n; i++) {
    const struct schedule *t = x->schedule.v[i], *b = best < i ? x->schedule.v[best] : *s;
    if (t && fits(t, limits) && (!b || sched_is_better(t, b))) best = i;
  }
  if (best == x->schedule.n) return false;
  schedule_free(*s);
  *s = x->schedule.v[best];
  x->schedule.v[best] = NULL;
  return true;
}

/* Slower labels, too, in the graph that has least, for w->s, which is NULL. FVM_EFAIL: not even so.
 */
static enum fvm_status fit_last(struct sched *w, const struct again *x) {
  struct fit f;
  struct sched v = {0};
  bool found = false;
  struct graph *g = graph_fork(x->schedule.v[x->schedule.n - 1]->graph);
  enum fvm_status st = g ? open_fork(&v, g, w) : fvm_nomem(w->err);
  if (!st) {
    st = fit_open(&f, &v, w->o->memory > 0);
    if (!st) st = fit_within(&f, fit_limits(w->o), &found);
    fit_close(&f);
  }
  if (!st && found) {
    v.s->again = count_again(v.s);
    claim(v.s, floor_ns(&v));
    w->s = v.s;
    v.s = NULL;
  }
  close_fork(&v);
  return st || found ? st : FVM_EFAIL;
}

enum fvm_status again_settle(struct sched *w, struct again *x, enum fvm_status st) {
  if (st && st != FVM_EFAIL) return st;
  if (st) {
    schedule_free(w->s); /* one that does not fit */
    w->s = NULL;
  }
  if (again_take(x, fit_limits(w->o), &w->s)) return FVM_OK;
  if (!st || !x->schedule.n) return st;
  const struct schedule *last = x->schedule.v[x->schedule.n - 1];
  const struct fvm_error why = *w->err;
  bool arena = last->arena_bytes > fit_limits(w->o).arena;
  st = fit_last(w, x);
  if (st != FVM_EFAIL) return st;
  return fvm_fail(w->err, FVM_EFAIL, "%s; with tensors computed again: %lld", why.text,
                  (long long)(arena ? last->arena_bytes : last->resident_bytes));
}
