/* What orders of the steps have of the arena, at least. Contract: sched_fit.h.
 *
 * A row knows what is live across one node in every order. Where branches part and join again each
 * order has something else live: of four branches from one tensor to one Concat, whichever runs
 * last has what the others made beside it. Such a knot is a node that joins and all nodes between
 * it and the last that its inputs have in common. Of these few nodes all orders are tried, by the
 * sets of nodes that are done:
 *
 *   tensors    live from a step of the knot that makes them, or surely comes after that, to the
 *              last that surely reads them, or surely comes before one that does
 *   whole      of a join in place: all of what it makes, from the step that makes the first piece
 *              in its place, or is put there; before that pieces have bytes of their own, later
 *              none
 *
 * All with the least bytes that any of the labels has that are left, so the least over all orders
 * of the most over the steps is at most what any plan's arena has. */
#include "sched_fit.h"

#include <string.h>

enum { MOST_NODES = 24, MOST_STATES = 512, MOST_TENSORS = 60 };

/* ---- finding them ---- */

struct tier {
  struct sched_net *c;
  struct sched_arena *x;
  uint32_t *state;
  int nstate;
};

static const struct node *node_of(const struct sched *w, int i) { return &w->g->node.v[i]; }

static bool comes_before(const struct sched_arena *x, int node, int later) {
  return bits_has(&x->before, later, node);
}

/* The last node that all of a node's inputs come from, that one included; -1: there is none.
 * *branches: nodes that make inputs. */
static int common(const struct tier *k, int node, int *branches) {
  const struct sched *w = k->c->w;
  const struct node *n = node_of(w, node);
  int last = -1;
  *branches = 0;
  for (int i = 0; i < node; i++) {
    bool all = true, makes = false;
    for (size_t j = 0; j < n->in.n; j++) {
      int p = n->in.v[j] < 0 ? -1 : w->g->tensor.v[n->in.v[j]].producer;
      if (p < 0) continue;
      makes |= p == i;
      all = all && (p == i || comes_before(k->x, i, p));
    }
    *branches += makes;
    if (all && !node_of(w, i)->dead) last = i;
  }
  return last;
}

/* The knot's nodes, in order; 0: there is none here, or it is too large. */
static int gather(const struct tier *k, int join, int *node) {
  int branches, first = common(k, join, &branches), n = 0;
  if (branches < 2 || node_of(k->c->w, join)->out.v[0] < 0) return 0;
  for (int i = first + 1; i <= join; i++) {
    bool inside =
        (first < 0 || comes_before(k->x, first, i)) && (i == join || comes_before(k->x, i, join));
    if (!inside || node_of(k->c->w, i)->dead) continue;
    if (n == MOST_NODES) return 0;
    node[n++] = i;
  }
  return n > 2 ? n : 0;
}

static int place_of(const struct arena_knot *x, int node) {
  for (int i = 0; i < x->n; i++)
    if (x->node[i] == node) return i;
  return -1;
}

static bool reads(const struct sched_net *c, int node, int tensor) {
  const struct node *n = node_of(c->w, node);
  for (size_t i = 0; i < n->in.n; i++)
    if (n->in.v[i] == tensor && sched_surely_reads(c->w, node, (int)i)) return true;
  return false;
}

/* A piece that others read beside what joins it may be counted with that: it counts for nothing. */
static bool is_elsewhere(const struct sched_net *c, int t, int join) {
  int node = c->w->join[t].node;
  return node >= 0 && node != join && c->traffic[t].nreader > 1;
}

static void describe(const struct tier *k, const struct arena_knot *x, int t,
                     struct knot_tensor *out) {
  const struct sched_net *c = k->c;
  int p = c->traffic[t].producer;
  *out = (struct knot_tensor){.tensor = t, .maker = place_of(x, p)};
  for (int i = 0; i < x->n; i++) {
    uint32_t bit = (uint32_t)1 << i;
    if (x->node[i] == p || comes_before(k->x, p, x->node[i])) out->made |= bit;
    if (reads(c, x->node[i], t) || bits_has(&k->x->spanned, t, x->node[i])) out->needed |= bit;
  }
  out->placed = c->w->join[t].node == x->node[x->n - 1];
}

static bool add_tensors(const struct tier *k, struct arena_knot *x) {
  const struct sched *w = k->c->w;
  int join = x->node[x->n - 1];
  x->whole = node_of(w, join)->out.v[0];
  struct knot_tensor *v = ARENA_NEW(&k->c->w->a, struct knot_tensor, MOST_TENSORS);
  x->tensor = v;
  for (int t = 0; v && t < (int)w->g->tensor.n; t++) {
    if (!k->x->solid[t] || is_elsewhere(k->c, t, join)) continue;
    if (x->ntensor == MOST_TENSORS) continue;
    struct knot_tensor *at = &v[x->ntensor];
    describe(k, x, t, at);
    x->ntensor += at->made && (at->needed || at->maker >= 0);
  }
  return v != NULL;
}

static int find_state(const struct tier *k, uint32_t state, int from) {
  for (int i = from; i < k->nstate; i++)
    if (k->state[i] == state) return i;
  return -1;
}

/* All sets of nodes that may be done, the smaller ones first, and where each node leads. False: too
 * many. */
static bool list_states(struct tier *k, const struct arena_knot *x, const uint32_t *before,
                        int *next) {
  k->state[0] = 0;
  k->nstate = 1;
  for (int s = 0; s < k->nstate; s++) {
    uint32_t now = k->state[s];
    for (int i = 0; i < x->n; i++) {
      next[s * x->n + i] = -1;
      if (now >> i & 1 || before[i] & ~now) continue;
      uint32_t then = now | (uint32_t)1 << i;
      int at = find_state(k, then, s + 1);
      if (at < 0) {
        if (k->nstate == MOST_STATES) return false;
        k->state[at = k->nstate++] = then;
      }
      next[s * x->n + i] = at;
    }
  }
  return true;
}

static bool add_states(struct tier *k, struct arena_knot *x, bool *fits) {
  uint32_t before[MOST_NODES] = {0};
  struct arena *a = &k->c->w->a;
  int *next = fvm_alloc((size_t)MOST_STATES * (size_t)x->n, sizeof *next);
  if (!next) return false;
  for (int i = 0; i < x->n; i++)
    for (int j = 0; j < i; j++)
      if (comes_before(k->x, x->node[j], x->node[i])) before[i] |= (uint32_t)1 << j;
  *fits = list_states(k, x, before, next);
  bool ok = true;
  if (*fits) {
    size_t n = (size_t)k->nstate;
    uint32_t *state = ARENA_NEW(a, uint32_t, n);
    int *to = ARENA_NEW(a, int, n *(size_t)x->n);
    ok = state && to;
    if (ok) memcpy(state, k->state, n * sizeof *state);
    if (ok) memcpy(to, next, n * (size_t)x->n * sizeof *to);
    x->state = state, x->next = to, x->nstate = k->nstate;
  }
  fvm_free(next, (size_t)MOST_STATES * (size_t)x->n, sizeof *next);
  return ok;
}

bool sched_add_knots(struct sched_net *c, struct sched_arena *x) {
  struct tier k = {.c = c, .x = x};
  int most = 0;
  bool ok = (k.state = fvm_alloc(MOST_STATES, sizeof *k.state)) != NULL;
  for (int i = 0; i < (int)c->w->g->node.n && ok; i++) {
    int node[MOST_NODES];
    struct arena_knot knot = {.n = node_of(c->w, i)->dead ? 0 : gather(&k, i, node)};
    bool fits = false;
    if (!knot.n) continue;
    int *copy = ARENA_NEW(&c->w->a, int, knot.n);
    knot.node = copy;
    if (copy) memcpy(copy, node, (size_t)knot.n * sizeof *node);
    ok = copy && add_tensors(&k, &knot) && add_states(&k, &knot, &fits);
    if (ok && fits) ok = VEC_PUSH(&x->knot, knot);
    most = MAX(most, knot.nstate);
  }
  fvm_free(k.state, MOST_STATES, sizeof *k.state);
  x->best = ok ? ARENA_NEW(&c->w->a, int64_t, 2 * (size_t)most) : NULL;
  return x->best != NULL;
}

/* ---- what they have ---- */

/* A knot with the labels that are left in a part. */
struct tied {
  const struct fit *f;
  const struct part *p;
  const struct arena_knot *x;
  int64_t bytes[MOST_TENSORS];
  bool direct[MOST_TENSORS];    /* a piece may be made in its place */
  bool idle[MOST_NODES];        /* there may be no step */
  uint64_t takes[MOST_NODES];   /* tensors whose place the node's output may take */
  bool takes_other[MOST_NODES]; /* or the place of something that is not listed */
  bool copies;                  /* the last node may run as a step */
  int64_t whole;                /* what a join in place makes */
};

static const struct menu *menu_of(const struct tied *b, int node) {
  return b->f->w->node[node].menu;
}

static bool has(const struct tied *b, int node, int choice) {
  return part_has(b->f, b->p, b->f->n.var[node], choice);
}

/* Layouts that a node makes, or wants of a tensor; views: only by labels that join in place. */
static layout_set made_in(const struct tied *b, int node, int output) {
  const struct menu *m = menu_of(b, node);
  layout_set set = 0;
  for (int c = 0; c < m->n; c++)
    if (has(b, node, c)) set |= LAYOUT_BIT(label_out(&m->choice[c].label, output));
  return set;
}

static layout_set wanted_in(const struct tied *b, int node, int input, bool views) {
  const struct menu *m = menu_of(b, node);
  layout_set set = 0;
  for (int c = 0; c < m->n; c++)
    if (has(b, node, c) && (!views || m->choice[c].label.view))
      set |= LAYOUT_BIT(label_in(&m->choice[c].label, input));
  return set;
}

static int64_t least_in(const struct tied *b, int t, layout_set set) {
  int64_t least = INT64_MAX;
  for (int l = 0; l < LAYOUT_COUNT; l++)
    if (set >> l & 1)
      least = MIN(least, sched_arena_room(b->f->w, &b->f->arena, t, (enum layout)l));
  return least < INT64_MAX ? least : 0;
}

static int64_t least_bytes(const struct tied *b, int t) {
  const struct traffic *x = &b->f->n.traffic[t];
  const struct menu *m = menu_of(b, x->producer);
  layout_set set = made_in(b, x->producer, x->output);
  for (int c = 0; c < m->n; c++)
    if (has(b, x->producer, c) && m->choice[c].role == ROLE_ABSORBED) return 0;
  for (int r = 0; r < x->nreader; r++)
    for (int i = 0; i < x->reader[r].n; i++)
      set |= wanted_in(b, x->reader[r].node, x->reader[r].input[i], false);
  return least_in(b, t, set);
}

static bool may_be_direct(const struct tied *b, int t) {
  const struct traffic *x = &b->f->n.traffic[t];
  struct join j = b->f->w->join[t];
  layout_set from = made_in(b, x->producer, x->output), to = wanted_in(b, j.node, j.input, true);
  const struct tensor *s = sched_tensor(b->f->w, t);
  for (int i = 0; i < LAYOUT_COUNT; i++)
    for (int k = 0; k < LAYOUT_COUNT && from >> i & 1; k++)
      if (to >> k & 1 && layout_alike(s, (enum layout)i, (enum layout)k)) return true;
  return false;
}

static void look_at_node(struct tied *b, int i) {
  int node = b->x->node[i];
  const struct menu *m = menu_of(b, node);
  const struct node *n = node_of(b->f->w, node);
  for (int c = 0; c < m->n; c++) {
    const struct choice *x = &m->choice[c];
    int k = x->label.inplace - 1, t = k < 0 || k >= (int)n->in.n ? -1 : n->in.v[k], at = 0;
    if (!has(b, node, c)) continue;
    b->idle[i] |= x->label.view || x->role == ROLE_ABSORBED;
    if (i + 1 == b->x->n) b->copies |= !x->label.view;
    if (x->role == ROLE_CHAIN && x->chain.inplace) b->takes_other[i] = true;
    if (t < 0) continue;
    while (at < b->x->ntensor && b->x->tensor[at].tensor != t) at++;
    if (at < b->x->ntensor)
      b->takes[i] |= (uint64_t)1 << at;
    else
      b->takes_other[i] = true;
  }
}

static void look_at(struct tied *b) {
  const struct arena_knot *x = b->x;
  int join = x->node[x->n - 1];
  for (int i = 0; i < x->n; i++) look_at_node(b, i);
  for (int i = 0; i < x->ntensor; i++) {
    b->bytes[i] = least_bytes(b, x->tensor[i].tensor);
    b->direct[i] = x->tensor[i].placed && may_be_direct(b, x->tensor[i].tensor);
  }
  b->whole = b->f->arena.solid[x->whole] ? least_in(b, x->whole, made_in(b, join, 0)) : 0;
}

static bool lives(const struct knot_tensor *t, uint32_t made, uint32_t left) {
  return t->made & made && t->needed & left;
}

/* Pieces are apart; the node makes the first in its place, or they all are there. */
enum places { APART, STARTS, STARTED };

/* Bytes while node i runs, all in `done` being done, but for the whole. */
static int64_t during(const struct tied *b, uint32_t done, int i, enum places places) {
  const struct arena_knot *x = b->x;
  uint32_t bit = (uint32_t)1 << i, later = ~done & ~bit;
  int64_t sum = 0, own = 0;
  bool shares = b->takes_other[i];
  for (int k = 0; k < x->ntensor; k++) {
    const struct knot_tensor *t = &x->tensor[k];
    if (t->maker == i) {
      if (places == APART || !b->direct[k]) own += b->bytes[k];
      continue;
    }
    if (!lives(t, done | bit, ~done)) continue;
    if (places != STARTED || !t->placed) sum += b->bytes[k];
    shares |= b->takes[i] >> k & 1 && !(t->needed & later);
  }
  return b->idle[i] ? 0 : sum + (shares ? 0 : own) + (places == APART ? 0 : b->whole);
}

/* Between steps, before the whole is there. */
static int64_t between(const struct tied *b, uint32_t done) {
  int64_t sum = 0;
  for (int k = 0; k < b->x->ntensor; k++)
    if (lives(&b->x->tensor[k], done, ~done)) sum += b->bytes[k];
  return sum;
}

/* Whether a node makes a piece in its place. */
static bool makes_piece(const struct tied *b, int i) {
  for (int k = 0; k < b->x->ntensor; k++)
    if (b->x->tensor[k].maker == i && b->direct[k]) return true;
  return false;
}

static bool has_piece(const struct tied *b, uint32_t done) {
  for (int k = 0; k < b->x->ntensor; k++)
    if (b->x->tensor[k].placed && b->x->tensor[k].made & done) return true;
  return false;
}

static void lower(int64_t *to, int64_t from, int64_t use) { *to = MIN(*to, MAX(from, use)); }

/* The least over all orders when all are blocks of their own. */
static int64_t apart(const struct tied *b, int64_t *best) {
  const struct arena_knot *x = b->x;
  for (int s = 0; s < x->nstate; s++) best[s] = s ? INT64_MAX : 0;
  for (int s = 0; s < x->nstate; s++)
    for (int i = 0; i < x->n; i++) {
      int to = x->next[s * x->n + i];
      if (to >= 0) lower(&best[to], best[s], during(b, x->state[s], i, APART));
    }
  return best[x->nstate - 1];
}

/* Whether there may be pieces in their places before any node of the knot runs. */
static bool may_have_started(const struct tied *b) {
  bool any = false;
  for (int k = 0; k < b->x->ntensor; k++) {
    const struct knot_tensor *t = &b->x->tensor[k];
    if (t->placed && t->maker < 0) return true;
    any |= t->placed;
  }
  return !any;
}

/* And when pieces are joined in place: best has two rows, the second one of when that has begun. */
static int64_t in_place(const struct tied *b, int64_t *best) {
  const struct arena_knot *x = b->x;
  int64_t *before = best, *after = best + x->nstate;
  int last = x->n - 1;
  for (int s = 0; s < x->nstate; s++) before[s] = after[s] = INT64_MAX;
  before[0] = 0;
  if (may_have_started(b)) after[0] = 0;
  for (int s = 0; s + 1 < x->nstate; s++) {
    uint32_t done = x->state[s];
    if (has_piece(b, done)) lower(&after[s], before[s], between(b, done) + b->whole);
    for (int i = 0; i < last; i++) {
      int to = x->next[s * x->n + i];
      if (to < 0) continue;
      lower(&before[to], before[s], during(b, done, i, APART));
      lower(&after[to], after[s], during(b, done, i, STARTED));
      if (makes_piece(b, i)) lower(&after[to], before[s], during(b, done, i, STARTS));
    }
  }
  return MAX(after[x->nstate - 2], b->whole);
}

static int64_t least_of(const struct fit *f, const struct part *p, const struct arena_knot *x) {
  struct tied b = {.f = f, .p = p, .x = x};
  int last = x->n - 1;
  look_at(&b);
  int64_t least = INT64_MAX, *best = f->arena.best;
  bool joins = node_of(f->w, x->node[last])->op->flags & OPF_JOIN, view = b.idle[last];
  if (joins && view) least = in_place(&b, best);
  if (joins) b.idle[last] = false;
  return joins && view && !b.copies ? least : MIN(least, apart(&b, best));
}

bool knots_narrow(const struct fit *f, struct part *p) {
  for (size_t i = 0; i < f->arena.knot.n; i++)
    p->low = MAX(p->low, least_of(f, p, &f->arena.knot.v[i]));
  return p->low <= p->high;
}
