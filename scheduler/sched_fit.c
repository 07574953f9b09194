/* The best schedule within a budget of memory.
 *
 * The solver knows what weights and scratch take, but of the arena, which depends on the order of
 * the steps, only a bound. So it is asked first for the best labels if the arena were as small as
 * that. What it finds bounds all plans. If the arena turns out too large, it is asked again:
 * without a conversion whose result is in the arena when that is fullest, or, where there is none,
 * for what that arena leaves. */
#include "sched.h"

enum { MAX_TRIES = 24 };

static enum fvm_status too_little(const struct sched *w, const struct schedule *least) {
  return fvm_fail(w->err, FVM_EFAIL,
                  "no plan within --memory %lld bytes: the smallest found needs %lld, which is "
                  "%lld of weights, %lld of activations and %lld of scratch",
                  (long long)w->o->memory, (long long)least->resident_bytes,
                  (long long)(least->resident_bytes - least->arena_bytes - least->scratch_bytes),
                  (long long)least->arena_bytes, (long long)least->scratch_bytes);
}

static bool in_arena(const struct schedule *s, int value) {
  return s->value.v[value].space == SPACE_ARENA && s->value.v[value].base < 0;
}

/* The step at which the most bytes are live. */
static int fullest(const struct sched *w) {
  const struct schedule *s = w->s;
  int64_t most = -1;
  int at = 0;
  for (int k = 0; k < (int)s->step.n; k++) {
    int64_t sum = 0;
    for (int i = 0; i < (int)s->value.n; i++)
      if (in_arena(s, i) && s->value.v[i].first <= k && k <= w->end[i]) sum += s->value.v[i].bytes;
    if (sum > most) most = sum, at = k;
  }
  return at;
}

/* Ban the largest conversion whose result is live there; false when there is none. */
static bool ban_conversion(struct sched *w) {
  const struct schedule *s = w->s;
  int k = fullest(w), best = -1;
  for (size_t i = 0; i < s->step.n; i++) {
    if (s->step.v[i].node >= 0) continue;
    int v = s->step.v[i].out_value;
    bool live = in_arena(s, v) && s->value.v[v].first <= k && k <= w->end[v];
    if (live && !w->banned[s->value.v[v].tensor] &&
        (best < 0 || s->value.v[v].bytes > s->value.v[best].bytes))
      best = v;
  }
  if (best >= 0) w->banned[s->value.v[best].tensor] = true;
  return best >= 0;
}

/* The menus again, with labels that are slower and smaller. */
static enum fvm_status reopen(struct sched *w) {
  w->weighs_memory = true;
  w->banned = ARENA_NEW(&w->a, bool, w->g->tensor.n);
  if (!w->banned) return fvm_nomem(w->err);
  w->menus.n = 0;
  w->s->labels_total = w->s->labels_measured = 0;
  enum fvm_status st = sched_menus(w);
  phase_done(w->o->phases, PHASE_menus);
  int64_t arena = st ? 0 : sched_least_arena(w);
  w->room = w->o->memory - arena;
  return st ? st : arena < 0 ? fvm_nomem(w->err) : FVM_OK;
}

enum fvm_status sched_fit(struct sched *w) {
  struct schedule *s = w->s, least = *s; /* of `least` only numbers are read */
  int64_t bound = 0;
  enum fvm_status st = reopen(w);
  for (int i = 0; i < MAX_TRIES && !st; i++) {
    bool found;
    st = sched_choose(w, &found);
    bool hopeless = st == FVM_EFAIL && found;
    if (st && !hopeless) return st;
    int64_t cost = s->layout_cost_ns;
    if (i == 0) bound = s->layout_bound_ns;
    st = sched_realize(w);
    if (st) return st;
    if (s->resident_bytes < least.resident_bytes) least = *s;
    if (hopeless) break;
    if (s->resident_bytes <= w->o->memory) {
      s->layout_bound_ns = MIN(bound, cost);
      s->optimal = s->layout_bound_ns == cost;
      return FVM_OK;
    }
    if (!ban_conversion(w)) w->room = MIN(w->room - 1, w->o->memory - s->arena_bytes);
  }
  return st ? st : too_little(w, &least);
}
