/* From a problem to an order. Contract: order.h.
 *
 * Where some step precedes or follows every other one, orders fall into parts that have nothing to
 * do with each other, and the peak is the largest of theirs. So only the part with the largest is
 * worked on, until it is proved that it cannot be lower, or another one is the largest:
 *
 *   1. a bound by minimum cuts, and list scheduling: mostly they meet
 *   2. steps joined to units, with which there may be more cuts
 *   3. exact search, forwards and backwards; where that takes long, a beam, and again
 *
 * Parts that are not worked on keep the given order. */
#include "order.h"

#include <string.h>

#include "order_net.h"

struct part {
  int from, to; /* units */
  int64_t peak, bound;
  bool solved; /* as well as can be */
};
struct solver {
  int64_t max_ticks, ticks;
  int64_t below;         /* the peak of an order that is known already */
  VEC(struct part) part; /* of all nets being solved, one above the other */
};

/* ---- parts ---- */

/* Of each unit: whether it waits, itself or by others, for all units before it; backwards, whether
 * all behind wait for it. That is so when no other unit is at the end of what there is so far. */
static void find_necks(const struct order_net *n, bool backwards, int *open, bool *neck) {
  const struct order_slice *from = backwards ? &n->after : &n->before;
  int ends = 0;
  for (int u = 0; u < n->nunit; u++) open[u] = 0; /* 1: nobody that was looked at comes after it */
  for (int k = 0; k < n->nunit; k++) {
    int u = backwards ? n->nunit - 1 - k : k;
    for (int s = n->unit[u]; s < n->unit[u + 1]; s++) ORDER_EACH(i, *from, s) {
        int v = n->unit_of[from->item[i]];
        ends -= v != u && open[v];
        if (v != u) open[v] = 0;
      }
    open[u] = 1;
    neck[u] &= ++ends == 1;
  }
}

/* The parts, in s->part from its end on; each ends with a neck. */
static bool find_parts(struct solver *s, const struct order_net *n, struct arena *a) {
  struct order_walk w;
  int *open = ARENA_NEW(a, int, n->nunit);
  bool *neck = ARENA_NEW(a, bool, n->nunit);
  bool ok = open && neck && order_walk_new(&w, n, a);
  for (int u = 0; u < n->nunit && ok; u++) neck[u] = true;
  if (ok) find_necks(n, false, open, neck);
  if (ok) find_necks(n, true, open, neck);
  struct part part = {.peak = ok ? w.live : 0};
  for (int u = 0; u < n->nunit && ok; u++) {
    struct order_move m = order_walk_try(&w, u);
    order_walk_go(&w, u);
    w.live = m.after;
    part.peak = MAX(part.peak, m.hill);
    part.to = u + 1;
    if (!neck[u] && part.to < n->nunit) continue;
    ok = VEC_PUSH(&s->part, part);
    part = (struct part){.from = part.to, .peak = w.live};
  }
  if (ok) s->ticks += w.ticks;
  return ok;
}

/* ---- one part ---- */

static bool solve(struct solver *s, const struct order_net *n, bool merged, int *unit,
                  int64_t *peak, int64_t *bound, struct arena *a);

/* By units that are joined; `unit` stays when that finds nothing better. */
static bool solve_merged(struct solver *s, const struct order_net *n, int *unit, int64_t *peak,
                         int64_t *bound, bool *joined, struct arena *a) {
  struct order_net small;
  int *step, *order;
  int64_t least = *peak;
  bool ok = order_merge(&small, n, &step, a);
  order = ok ? ARENA_NEW(a, int, small.nunit) : NULL;
  ok = order != NULL;
  *joined = ok && small.nunit < n->nunit;
  s->below = *peak;
  if (*joined) ok = solve(s, &small, true, order, &least, bound, a);
  s->below = INT64_MAX;
  if (ok && *joined && least < *peak) {
    int at = 0;
    for (int k = 0; k < small.nunit; k++)
      for (int i = small.unit[order[k]]; i < small.unit[order[k] + 1]; i++) unit[at++] = step[i];
    *peak = least;
  }
  return ok;
}

/* Lists, and where units are steps the bound: mostly they meet. */
static bool solve_quickly(struct solver *s, const struct order_net *n, bool merged, int64_t enough,
                          int *unit, int64_t *peak, int64_t *bound, struct arena *a) {
  struct order_walk w;
  int64_t *hill = ARENA_NEW(a, int64_t, n->nunit);
  if (!hill || !order_walk_new(&w, n, a)) return false;
  for (int u = 0; u < n->nunit; u++) hill[u] = INT64_MAX;
  order_walk_peak(&w, unit, hill);
  s->ticks += w.ticks;
  *bound = MAX(*bound, order_least(n));
  bool ok = order_list(n, MAX(enough, *bound), unit, peak, hill, a, &s->ticks);
  if (!ok || merged || *peak <= enough) return ok;
  return order_bound(n, hill, *peak, s->max_ticks / 4, bound, a, &s->ticks);
}

/* Mostly a search is done soon. If not, it is done sooner when a good order is known, since then
 * all that needs as much can be left out. */
static bool solve_slowly(struct solver *s, const struct order_net *n, int64_t enough, int *unit,
                         int64_t *peak, int64_t *bound, struct arena *a) {
  struct order_aim aim = {enough, MIN(*peak, s->below), (s->max_ticks - s->ticks) / 8};
  bool ok = order_search(n, &aim, unit, peak, bound, a, &s->ticks);
  aim.below = MIN(*peak, s->below);
  aim.enough = MAX(enough, *bound);
  if (!ok || aim.below <= aim.enough) return ok;
  ok = order_beam(n, unit, peak, a, &s->ticks);
  aim.below = MIN(*peak, s->below);
  aim.max_ticks = s->max_ticks - s->ticks;
  return ok && aim.below > aim.enough ? order_search(n, &aim, unit, peak, bound, a, &s->ticks) : ok;
}

/* A net without necks. enough: a peak that is no lower elsewhere. */
static bool solve_part(struct solver *s, const struct order_net *n, bool merged, int64_t enough,
                       int *unit, int64_t *peak, int64_t *bound, struct arena *a) {
  bool joined = false;
  bool ok = solve_quickly(s, n, merged, enough, unit, peak, bound, a);
  enough = MAX(enough, *bound);
  if (ok && *peak > enough && !merged) ok = solve_merged(s, n, unit, peak, bound, &joined, a);
  if (joined || *peak <= enough || !ok) return ok;
  return solve_slowly(s, n, enough, unit, peak, bound, a);
}

static bool improve(struct solver *s, const struct order_net *n, bool merged, int at,
                    int64_t enough, int *unit) {
  struct arena a = {0};
  struct part p = s->part.v[at];
  struct order_net net;
  int size = p.to - p.from, *order = ARENA_NEW(&a, int, size);
  bool ok = order && order_net_part(&net, n, p.from, p.to, &a);
  for (int k = 0; k < size && ok; k++) order[k] = k;
  ok = ok && solve_part(s, &net, merged, enough, order, &p.peak, &p.bound, &a);
  for (int k = 0; k < size && ok; k++) unit[p.from + k] = p.from + order[k];
  p.solved = true;
  s->part.v[at] = p;
  arena_free(&a);
  return ok;
}

/* The best order of a net's units, its peak, and a bound that may be known already. */
static bool solve(struct solver *s, const struct order_net *n, bool merged, int *unit,
                  int64_t *peak, int64_t *bound, struct arena *a) {
  size_t first = s->part.n;
  bool ok = find_parts(s, n, a);
  for (int u = 0; u < n->nunit; u++) unit[u] = u;
  *peak = n->base;
  while (ok && s->part.n > first) {
    size_t most = first;
    for (size_t i = first; i < s->part.n; i++)
      if (s->part.v[i].peak > s->part.v[most].peak) most = i;
    struct part *p = &s->part.v[most];
    *peak = p->peak;
    if (p->to - p->from == 1) p->bound = p->peak, p->solved = true;
    if (p->solved) *bound = MAX(*bound, p->bound);
    if (p->solved || p->peak <= *bound) break;
    ok = improve(s, n, merged, (int)most, *bound, unit);
    if (ok) *bound = MAX(*bound, s->part.v[most].bound);
  }
  s->part.n = first;
  return ok;
}

/* Parts by a rule, where that is no higher than the peak of all. */
static bool vary(struct solver *s, const struct order_net *n, int rule, int64_t peak, int *unit,
                 struct arena *a) {
  bool ok = find_parts(s, n, a);
  for (size_t i = 0; i < s->part.n && ok; i++) {
    struct arena scratch = {0};
    struct order_net net;
    int from = s->part.v[i].from, size = s->part.v[i].to - from;
    int *order = ARENA_NEW(&scratch, int, size);
    int64_t below = peak + 1;
    if (size > 2) {
      ok = order && order_net_part(&net, n, from, from + size, &scratch) &&
           order_list_by(&net, rule, order, &below, &scratch, &s->ticks);
      for (int k = 0; k < size && ok && below <= peak; k++) unit[from + k] = from + order[k];
    }
    arena_free(&scratch);
  }
  s->part.n = 0;
  return ok;
}

enum fvm_status order_steps(const struct order_problem *p, int64_t max_ticks, int variant,
                            struct arena *a, struct order_result *r, struct fvm_error *err) {
  struct arena scratch = {0};
  struct order_net n;
  struct solver s = {.max_ticks = max_ticks, .below = INT64_MAX};
  *r = (struct order_result){.step = ARENA_NEW(a, int, p->nstep)};
  enum fvm_status st = r->step ? order_net_make(&n, p, &scratch, err) : fvm_nomem(err);
  r->bound = st ? 0 : n.base;
  bool ok = !st && solve(&s, &n, false, r->step, &r->peak, &r->bound, &scratch);
  if (ok && variant > 0) ok = vary(&s, &n, variant - 1, r->peak, r->step, &scratch);
  if (!st && !ok) st = fvm_nomem(err);
  r->ticks = s.ticks;
  VEC_FREE(&s.part);
  arena_free(&scratch);
  return st;
}
