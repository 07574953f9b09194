/* Branch and bound for labels within limits on memory. Contract: sched_fit.h.
 *
 * A part's bound is the solver's, of the network of what is left in it: the labels, what weights
 * and scratch have when the arena is as small as it can be there, and no pair of labels that one
 * row of the arena cannot have. The part of the least bound is looked into:
 *
 *   a row has too much     the variable that takes most of it: labels that take less, and the
 * others together too much      arenas below what the rows of these labels have, and arenas from
 * there steps ordered, places  the arena that comes out is at least what the rows say; if it is too
 *   given, too much        much, so it is of all choices that look alike: the same layouts, views,
 *                          places taken. All other choices make a part for each variable in which
 *                          they might differ first; the choices that look alike are left with
 *                          the arena that is known
 *
 * Only the last can miss something: where too many variables are left to differ, those that have
 * nothing to do with the fullest step are not tried, and the bound remains. */
#include "sched_fit.h"

#include <string.h>

enum { MOST_KINDS = 24 };

/* ---- parts ---- */

static struct part *copy_part(struct fit *f, const struct part *from) {
  struct part *p = ARENA_NEW(&f->a, struct part, 1);
  if (!p) return NULL;
  *p = (struct part){.left = ARENA_NEW(&f->a, uint64_t, f->words),
                     .high = from ? from->high : 0,
                     .low = from ? from->low : 0,
                     .bound = from ? from->bound : 0,
                     .depth = from ? from->depth + 1 : 0};
  if (p->left && from) memcpy(p->left, from->left, f->words * sizeof *p->left);
  return p->left ? p : NULL;
}

static void load(struct fit *f, const struct part *p) {
  const struct solve_net *net = &f->n.net;
  for (int v = 0; v < (int)net->var.n; v++)
    for (int k = 0; k < net->var.v[v].n; k++)
      f->work.var.v[v].cost[k] = part_has(f, p, v, k) ? net->var.v[v].cost[k] : SOLVE_INF;
  for (size_t e = 0; e < net->edge.n; e++) {
    const struct solve_edge *x = &net->edge.v[e];
    size_t n = (size_t)net->var.v[x->u].n * (size_t)net->var.v[x->v].n;
    memcpy(f->work.edge.v[e].cost, x->cost, n * sizeof *x->cost);
  }
  rows_forbid(f, p, &f->work);
}

/* Solve the network of a part. FVM_EFAIL: nothing is in it that costs less than what was found. */
static enum fvm_status solve(struct fit *f, struct part *p, int64_t memory) {
  struct solve_result r = {0};
  struct arena a = {0};
  enum fvm_status st;
  p->label = NULL;
  if (!rows_narrow(f, p) || !knots_narrow(f, p))
    return fvm_fail(f->err, FVM_EFAIL, "no labels keep the limit");
  load(f, p);
  if (memory < INT64_MAX) {
    struct solve_budget b = {.net = &f->work,
                             .room = f->room.var.v,
                             .limit = MAX(memory - p->low - f->room.base, -1),
                             .max_ticks = f->w->o->max_ticks,
                             .below = f->cost,
                             .known = p->bound};
    st = solve_budget(&b, &a, &r, f->err);
  } else {
    st = solve_layout(&f->work, f->w->o->max_ticks, &a, &r, f->err);
  }
  if (st == FVM_EFAIL && !r.optimal) f->bound = MIN(f->bound, MAX(p->bound, r.bound));
  if (!st) {
    p->label = ARENA_NEW(&f->a, int, f->n.net.var.n);
    if (p->label) memcpy(p->label, r.label, f->n.net.var.n * sizeof *p->label);
    if (!p->label) st = fvm_nomem(f->err);
    p->cost = r.cost;
    p->bound = MAX(p->bound, r.bound);
  }
  arena_free(&a);
  return st;
}

/* Keep a part to be looked into if it may hold something better. */
static enum fvm_status offer(struct fit *f, struct part *p) {
  enum fvm_status st = solve(f, p, f->limits.memory);
  f->tried++;
  if (st == FVM_EFAIL) return FVM_OK;
  if (st) return st;
  return p->bound >= f->cost || VEC_PUSH(&f->open, p) ? FVM_OK : fvm_nomem(f->err);
}

/* The part with the least bound; as long as nothing was found, every second time the deepest one.
 */
static struct part *next_part(struct fit *f, int turn) {
  size_t at = 0;
  bool deep = f->cost >= SOLVE_INF && turn % 2;
  for (size_t i = 1; i < f->open.n; i++) {
    const struct part *p = f->open.v[i], *q = f->open.v[at];
    bool better = p->bound < q->bound || (p->bound == q->bound && p->depth > q->depth);
    if (deep && p->depth != q->depth) better = p->depth > q->depth;
    if (better) at = i;
  }
  struct part *p = f->open.v[at];
  f->open.v[at] = f->open.v[--f->open.n];
  return p;
}

/* ---- branching ---- */

static enum fvm_status branch_labels(struct fit *f, const struct part *p,
                                     const struct arena_row *row) {
  int v, most = 0;
  for (size_t i = 0; i < f->n.net.var.n; i++) most = MAX(most, f->n.net.var.v[i].n);
  struct part *less = copy_part(f, p), *more = copy_part(f, p);
  bool *is_less = ARENA_NEW(&f->a, bool, most);
  if (!less || !more || !is_less) return fvm_nomem(f->err);
  if (!rows_blame(f, p, row, &v, is_less)) {
    f->bound = MIN(f->bound, p->bound);
    return FVM_OK;
  }
  for (int k = 0; k < f->n.net.var.v[v].n; k++) part_drop(f, is_less[k] ? more : less, v, k);
  enum fvm_status st = offer(f, more);
  return st ? st : offer(f, less);
}

static enum fvm_status branch_arena(struct fit *f, const struct part *p, int64_t at) {
  struct part *below = copy_part(f, p), *above = copy_part(f, p);
  if (!below || !above) return fvm_nomem(f->err);
  below->high = at - 1;
  above->low = at;
  enum fvm_status st = offer(f, above);
  return st ? st : offer(f, below);
}

/* ---- choices that look alike ---- */

static bool same_layouts(const struct fit *f, int node, const struct choice *x,
                         const struct choice *y) {
  const struct node *n = &f->w->g->node.v[node];
  for (int j = 0; j < (int)n->in.n; j++) {
    bool other = j < 64 && ((x->reads ^ y->reads) >> j & 1);
    if (sched_is_run_time(f->w, n->in.v[j]) &&
        (other || label_in(&x->label, j) != label_in(&y->label, j)))
      return false;
  }
  for (int j = 0; j < (int)n->out.n; j++)
    if (label_out(&x->label, j) != label_out(&y->label, j)) return false;
  return true;
}

/* Whether two labels of a variable make the same steps on the same places. Sets of constants do,
 * too: they have none, and so do labels that follow from those of others. */
static bool look_alike(const struct fit *f, int v, int i, int k) {
  int node = f->node[v];
  if (node < 0) return i == k || v >= f->n.follows;
  const struct choice *x = &f->w->node[node].menu->choice[i],
                      *y = &f->w->node[node].menu->choice[k];
  return x->role == y->role && x->label.view == y->label.view &&
         x->label.inplace == y->label.inplace && same_layouts(f, node, x, y);
}

static bool has_other(const struct fit *f, const struct part *p, int v) {
  for (int k = 0; k < f->n.net.var.v[v].n; k++)
    if (part_has(f, p, v, k) && !look_alike(f, v, k, p->label[v])) return true;
  return false;
}

/* Keep the labels that look like the part's, or the others. */
static void keep(const struct fit *f, struct part *p, int v, int like, bool alike) {
  for (int k = 0; k < f->n.net.var.v[v].n; k++)
    if (look_alike(f, v, k, like) != alike) part_drop(f, p, v, k);
}

/* The step at which the most bytes are live. */
static int fullest(const struct sched *w) {
  const struct schedule *s = w->s;
  int64_t most = -1;
  int at = 0;
  for (int k = 0; k < (int)s->step.n; k++) {
    int64_t sum = 0;
    for (int i = 0; i < (int)s->value.n; i++) {
      const struct sched_value *v = &s->value.v[i];
      if (v->space == SPACE_ARENA && v->base < 0 && v->first <= k && k <= w->end[i])
        sum += v->bytes;
    }
    if (sum > most) most = sum, at = k;
  }
  return at;
}

/* Bytes that are live at the fullest step count for what makes the tensor, reads it and holds its
 * copies. */
static void score(const struct fit *f, int64_t *of) {
  const struct schedule *s = f->w->s;
  int at = fullest(f->w);
  for (size_t i = 0; i < s->value.n; i++) {
    const struct sched_value *v = &s->value.v[i];
    if (v->space != SPACE_ARENA || v->tensor < 0 || v->first > at || v->last < at) continue;
    const struct traffic *t = &f->n.traffic[v->tensor];
    if (t->producer >= 0) of[f->n.var[t->producer]] += v->bytes;
    if (t->var >= 0) of[t->var] += v->bytes;
    for (int r = 0; r < t->nreader; r++) of[f->n.var[t->reader[r].node]] += v->bytes;
  }
}

/* The variables in which choices may differ from the part's, those of the highest score first; -1
 * when memory is out. *all: there are no more than were listed. */
static int list_kinds(struct fit *f, const struct part *p, int *var, bool *all) {
  int n = 0, nvar = (int)f->n.net.var.n;
  int64_t *of = ARENA_NEW(&f->a, int64_t, nvar);
  if (!of) return -1;
  score(f, of);
  *all = true;
  for (int v = 0; v < nvar; v++) {
    if (!has_other(f, p, v)) continue;
    int at = n;
    while (at > 0 && of[var[at - 1]] < of[v]) at--;
    if (n == MOST_KINDS) *all = false;
    if (at == MOST_KINDS) continue;
    n = MIN(n + 1, MOST_KINDS);
    memmove(&var[at + 1], &var[at], (size_t)(n - 1 - at) * sizeof *var);
    var[at] = v;
  }
  return n;
}

/* The schedule of a part's labels has an arena that is too large. */
static enum fvm_status exclude(struct fit *f, const struct part *p, int64_t arena) {
  int var[MOST_KINDS + 1];
  bool all;
  struct part *rest = copy_part(f, p);
  int n = rest ? list_kinds(f, p, var, &all) : -1;
  enum fvm_status st = n < 0 ? fvm_nomem(f->err) : FVM_OK;
  for (int i = 0; i < n && !st; i++) {
    struct part *other = copy_part(f, rest);
    if (!other) return fvm_nomem(f->err);
    keep(f, other, var[i], p->label[var[i]], false);
    keep(f, rest, var[i], p->label[var[i]], true);
    st = offer(f, other);
  }
  if (!st && !all) f->bound = MIN(f->bound, p->bound);
  if (st || arena > p->high) return st;
  rest->low = MAX(rest->low, arena);
  return offer(f, rest);
}

/* ---- the search ---- */

static void note_least(struct fit *f) {
  const struct schedule *s = f->w->s;
  if (s->resident_bytes < f->least_memory.resident_bytes && s->arena_bytes <= f->goal.arena)
    f->least_memory = *s;
  if (s->arena_bytes < f->least_arena.arena_bytes) f->least_arena = *s;
}

enum fvm_status tree_realize(struct fit *f, const int *label, int64_t cost, int64_t *more) {
  phase_done(f->w->o->phases, PHASE_solve);
  *more = sched_net_take(&f->n, label, cost);
  arena_free(&f->w->s->arena);
  enum fvm_status st = sched_realize(f->w);
  if (!st) note_least(f);
  return st;
}

static enum fvm_status look_into(struct fit *f, const struct part *p) {
  const struct schedule *s = f->w->s;
  const struct arena_row *row;
  int64_t use = rows_use(f, p->label, &row), more;
  if (use > p->high) return branch_labels(f, p, row);
  enum fvm_status st = tree_realize(f, p->label, p->cost, &more);
  if (st) return st;
  bool keeps = fits(s, f->limits);
  if (fits(s, f->goal) && p->cost < f->cost) {
    f->cost = p->cost;
    memcpy(f->best, p->label, f->n.net.var.n * sizeof *f->best);
  }
  if (keeps) { /* what is left of the part costs no less, unless the solver could not tell */
    if (p->bound < p->cost) f->bound = MIN(f->bound, p->bound);
    return FVM_OK;
  }
  if (s->arena_bytes <= f->limits.arena && p->low < use) return branch_arena(f, p, use);
  return exclude(f, p, s->arena_bytes);
}

static struct part *whole(struct fit *f, struct limits limits) {
  struct part *p = copy_part(f, NULL);
  if (!p) return NULL;
  p->high = MIN(MIN(limits.arena, limits.memory), SOLVE_INF >> 2);
  p->bound = f->floor;
  memset(p->left, 0xff, f->words * sizeof *p->left);
  return p;
}

/* Now and then, for those who wait. */
static enum fvm_status go_on(const struct fit *f, int turn, int tries) {
  const struct plan_watch *w = f->w->o->watch;
  bool on = !w || turn % 16 || w->go_on(w->ctx, f->tried, tries, "plans within the limits");
  return on ? FVM_OK : fvm_fail(f->err, FVM_EINTR, "interrupted: no plan was written");
}

enum fvm_status tree_search(struct fit *f, int tries) {
  f->open.n = 0;
  f->bound = SOLVE_INF;
  f->tried = 0;
  struct part *p = whole(f, f->limits);
  enum fvm_status st = p ? offer(f, p) : fvm_nomem(f->err);
  for (int turn = 0; !st && f->open.n && f->tried < tries; turn++) {
    p = next_part(f, turn);
    if (p->bound < f->cost) st = look_into(f, p);
    if (!st) st = go_on(f, turn + 1, tries);
  }
  for (size_t i = 0; i < f->open.n; i++) f->bound = MIN(f->bound, f->open.v[i]->bound);
  f->bound = MIN(f->bound, f->cost);
  return st;
}

enum fvm_status tree_may_be(struct fit *f, struct limits limits, bool *may) {
  struct part *p = whole(f, limits);
  if (!p) return fvm_nomem(f->err);
  enum fvm_status st = solve(f, p, limits.memory);
  *may = st != FVM_EFAIL;
  return st == FVM_EFAIL ? FVM_OK : st;
}

static int64_t least_of(const int64_t *bytes, int n) {
  int64_t least = bytes ? INT64_MAX : 0;
  for (int k = 0; bytes && k < n; k++) least = MIN(least, bytes[k]);
  return least;
}

int64_t tree_floor(struct fit *f) {
  struct part *p = whole(f, (struct limits){INT64_MAX, INT64_MAX});
  int64_t sum = f->room.base, peak = 0;
  if (!p) return -1;
  if (rows_narrow(f, p)) knots_narrow(f, p);
  for (size_t v = 0; v < f->room.var.n; v++) {
    const struct solve_room *r = &f->room.var.v[v];
    sum += least_of(r->sum, f->n.net.var.v[v].n);
    peak = MAX(peak, least_of(r->peak, f->n.net.var.v[v].n));
  }
  return p->low + sum + peak;
}
