/* The best schedule within limits on memory, or how little is possible.
 *
 * What labels take of weights and scratch adds up (sched_room.c); of the arena, which depends on
 * the order of the steps, rows of the network bound it from below (sched_arena.c). sched_tree.c
 * searches with both, and holds every choice that it finds against the arena that comes out. */
#include "sched_fit.h"

#include <string.h>

enum { FIRST_TRIES = 30, TRIES = 600, LEAST_TRIES = 60, HALVINGS = 40, DESCENTS = 8, SQUEEZES = 8 };
enum { TIE_EFFORT = 6000 /* parts times variables */ };

/* ---- set-up ---- */

/* The menus again, with labels that are slower and smaller. */
static enum fvm_status reopen(struct sched *w) {
  w->weighs_memory = true;
  w->menus.n = 0;
  w->s->labels_total = w->s->labels_measured = 0;
  enum fvm_status st = sched_menus(w);
  phase_done(w->o->phases, PHASE_menus);
  return st;
}

static bool copy_net(struct fit *f) {
  const struct solve_net *net = &f->n.net;
  for (size_t v = 0; v < net->var.n; v++)
    if (solve_add_var(&f->work, net->var.v[v].n) < 0) return false;
  for (size_t e = 0; e < net->edge.n; e++)
    if (solve_add_edge(&f->work, net->edge.v[e].u, net->edge.v[e].v) < 0) return false;
  return true;
}

static bool index_labels(struct fit *f) {
  size_t nvar = f->n.net.var.n, n = 0;
  f->first = ARENA_NEW(&f->a, size_t, nvar);
  f->node = ARENA_NEW(&f->a, int, nvar);
  f->best = ARENA_NEW(&f->a, int, nvar);
  if (!f->first || !f->node || !f->best) return false;
  for (size_t v = 0; v < nvar; v++) {
    f->first[v] = n;
    f->node[v] = -1;
    n += (size_t)f->n.net.var.v[v].n;
  }
  for (size_t i = 0; i < f->w->g->node.n; i++)
    if (f->n.var[i] >= 0) f->node[f->n.var[i]] = (int)i;
  f->words = n / 64 + 1;
  return true;
}

struct limits fit_limits(const struct plan_options *o) {
  return (struct limits){o->memory ? o->memory : INT64_MAX, o->arena ? o->arena : INT64_MAX};
}

enum fvm_status fit_open(struct fit *f, struct sched *w, bool with_room) {
  *f = (struct fit){.w = w, .err = w->err, .least_memory = *w->s, .least_arena = *w->s};
  f->by_memory = w->o->memory > 0;
  if (w->s->arena_bytes > fit_limits(w->o).arena) f->least_memory.resident_bytes = INT64_MAX;
  enum fvm_status st = reopen(w);
  if (!st) st = sched_net_make(w, &f->n);
  if (st) return st;
  bool ok = sched_add_arena(&f->n, &f->arena);
  ok = ok && (!with_room || sched_add_room(w, &f->n.net, f->n.var, &f->room));
  ok = ok && copy_net(f) && index_labels(f);
  phase_done(w->o->phases, PHASE_network);
  return ok ? FVM_OK : fvm_nomem(w->err);
}

void fit_close(struct fit *f) {
  solve_net_free(&f->n.net);
  solve_net_free(&f->work);
  sched_arena_free(&f->arena);
  VEC_FREE(&f->room.var);
  VEC_FREE(&f->open);
  arena_free(&f->a);
}

/* ---- how little is possible ---- */

/* The limit that is searched for the least one; the other stays as it is. */
static int64_t *searched(struct fit *f) {
  return f->by_memory ? &f->limits.memory : &f->limits.arena;
}

static int64_t least_found(const struct fit *f) {
  return f->by_memory ? f->least_memory.resident_bytes : f->least_arena.arena_bytes;
}

/* The least limit that the network knows nothing against: no plan has less. */
static enum fvm_status least_possible(struct fit *f, int64_t *least) {
  int64_t low = 0, high = least_found(f); /* below low there is nothing */
  enum fvm_status st = FVM_OK;
  for (int i = 0; i < HALVINGS && low < high && !st; i++) {
    bool may;
    int64_t middle = low + (high - low) / 2;
    *searched(f) = middle;
    st = tree_may_be(f, f->limits, &may);
    if (may)
      high = middle;
    else
      low = middle + 1;
  }
  f->limits = f->goal;
  *least = low;
  return st;
}

/* Plans with less and less, down from the smallest that came up so far. */
static enum fvm_status descend(struct fit *f, int64_t least) {
  int64_t low = least;
  enum fvm_status st = FVM_OK;
  for (int i = 0; i < DESCENTS && low < least_found(f) && f->cost >= SOLVE_INF && !st; i++) {
    int64_t at = i == 0 ? low : low + (least_found(f) - low) / 2;
    *searched(f) = at;
    st = tree_search(f, LEAST_TRIES);
    if (least_found(f) > at) low = at + 1;
  }
  f->limits = f->goal;
  return st;
}

/* Of two limits: nothing has come up that keeps the one on the arena. Is that the one that can't be
 * kept? */
static enum fvm_status find_culprit(struct fit *f) {
  const struct limits goal = f->goal;
  if (!f->by_memory || f->least_memory.resident_bytes < INT64_MAX) return FVM_OK;
  f->goal.memory = f->limits.memory = INT64_MAX;
  enum fvm_status st = tree_search(f, LEAST_TRIES);
  f->by_memory = f->cost < SOLVE_INF;
  f->cost = SOLVE_INF;
  f->goal = goal;
  if (f->by_memory) f->limits = goal; /* else what little arena there is, whatever the rest takes */
  return st;
}

/* FVM_OK: one that fits came up after all. */
static enum fvm_status too_little(struct fit *f) {
  const struct schedule *m = &f->least_memory;
  int64_t least, bound = f->bound;
  enum fvm_status st = find_culprit(f);
  if (!st) st = least_possible(f, &least);
  if (!st) st = descend(f, least);
  f->bound = MIN(bound, f->cost);
  if (st || f->cost < SOLVE_INF) return st;
  if (!f->by_memory)
    return fvm_fail(f->err, FVM_EFAIL,
                    "no plan within --max-arena %lld bytes: the smallest found needs %lld, and "
                    "none needs less than %lld",
                    (long long)f->goal.arena, (long long)f->least_arena.arena_bytes,
                    (long long)least);
  return fvm_fail(f->err, FVM_EFAIL,
                  "no plan within --memory %lld bytes: the smallest found needs %lld, which is "
                  "%lld of weights, %lld of activations and %lld of scratch; none needs less "
                  "than %lld",
                  (long long)f->goal.memory, (long long)m->resident_bytes,
                  (long long)(m->resident_bytes - m->arena_bytes - m->scratch_bytes),
                  (long long)m->arena_bytes, (long long)m->scratch_bytes, (long long)least);
}

/* ---- all ---- */

static enum fvm_status conclude(struct fit *f) {
  struct schedule *s = f->w->s;
  int64_t more;
  enum fvm_status st = tree_realize(f, f->best, f->cost, &more);
  bool limited = f->n.limited || f->room.limited;
  s->layout_cost_ns = f->cost + more;
  s->layout_bound_ns = limited ? f->n.floor : f->bound + more;
  s->optimal = f->bound == f->cost && !limited;
  if (!st) sched_settle_cost(s);
  return st;
}

/* Arenas that come out are larger than rows say, most of all where branches join. Labels that are
 * to have less than they may are more likely to fit. */
static enum fvm_status squeeze(struct fit *f) {
  int64_t most = MIN(MIN(f->goal.arena, f->goal.memory), f->least_arena.arena_bytes);
  enum fvm_status st = FVM_OK;
  for (int i = 1; i < SQUEEZES && f->cost >= SOLVE_INF && !st; i++) {
    f->limits.arena = most - most * i / SQUEEZES;
    st = tree_search(f, FIRST_TRIES);
  }
  f->limits = f->goal;
  return st;
}

enum fvm_status fit_within(struct fit *f, struct limits limits, bool *found) {
  f->limits = f->goal = limits;
  f->cost = SOLVE_INF;
  enum fvm_status st = tree_search(f, FIRST_TRIES);
  if (!st && f->bound < f->cost) {
    if (f->cost >= SOLVE_INF) st = squeeze(f);
    if (!st) st = tree_search(f, TRIES);
  }
  *found = !st && f->cost < SOLVE_INF;
  if (*found) st = conclude(f);
  phase_done(f->w->o->phases, PHASE_solve);
  return st;
}

enum fvm_status sched_fit(struct sched *w) {
  struct fit f;
  bool found;
  enum fvm_status st = fit_open(&f, w, w->o->memory > 0);
  if (!st) st = fit_within(&f, fit_limits(w->o), &found);
  if (!st && !found) {
    st = too_little(&f);
    if (!st) st = conclude(&f);
  }
  fit_close(&f);
  phase_done(w->o->phases, PHASE_solve);
  return st;
}

/* ---- ties ---- */

/* Arenas smaller than that of `first` by labels that cost no more, one after the other. *found:
 * w->s has the smallest. */
static enum fvm_status shrink(struct fit *f, const struct schedule *first, int64_t ns,
                              bool *found) {
  const struct schedule *s = f->w->s;
  size_t n = f->n.net.var.n;
  int64_t arena = first->arena_bytes, more;
  int tries = MAX(TIE_EFFORT / (int)(n + 1), 1), *keep = ARENA_NEW(&f->a, int, n);
  enum fvm_status st = keep ? FVM_OK : fvm_nomem(f->err);
  *found = false;
  f->floor = ns;
  for (f->cost = ns; !st && f->cost == ns && arena > 0 && tries > 0; tries -= f->tried + 1) {
    f->limits = f->goal = (struct limits){INT64_MAX, arena - 1};
    f->cost = ns + 1;
    st = tree_search(f, tries);
    if (st || f->cost > ns) break;
    st = tree_realize(f, f->best, ns, &more);
    if (st) break;
    arena = s->arena_bytes;
    if (s->cost_ns > first->cost_ns || s->guesses > first->guesses ||
        s->resident_bytes > first->resident_bytes)
      continue;
    *found = true;
    memcpy(keep, f->best, n * sizeof *keep);
  }
  return st || !*found ? st : tree_realize(f, keep, ns, &more);
}

enum fvm_status sched_break_tie(struct sched *w) {
  struct schedule *first = w->s, *worse;
  struct fit f;
  bool found = false;
  int64_t ns = w->chosen_ns;
  if (first->arena_bytes == 0) return FVM_OK;
  enum fvm_status st = fit_open(&f, w, false);
  if (!st) st = sched_renew(w);
  if (!st && w->s != first) st = shrink(&f, first, ns, &found);
  fit_close(&f);
  worse = found ? first : w->s;
  if (found) {
    w->s->layout_cost_ns = first->layout_cost_ns;
    w->s->layout_bound_ns = first->layout_bound_ns;
    w->s->optimal = first->optimal;
  } else {
    w->s = first;
  }
  if (worse != w->s) schedule_free(worse);
  phase_done(w->o->phases, PHASE_solve);
  return st;
}
