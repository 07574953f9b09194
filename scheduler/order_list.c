/* List scheduling by several rules. Contract: order_net.h. */
#include <string.h>

#include "order_net.h"

/* What the choice among ready units goes by. */
enum rule { RULE_LEAST_AFTER, RULE_LEAST_DURING, RULE_EAGER, RULE_RECENT, RULES = ORDER_VARIANTS };

struct list {
  struct order_walk w;
  int *ready, nready;
  int64_t peak;
};

/* Smaller is better; ties go to the unit that comes first in the given order. */
static void rate(struct list *s, enum rule rule, int at, int64_t key[3]) {
  int unit = s->ready[at];
  struct order_move m = order_walk_try(&s->w, unit);
  bool harmless = m.after <= s->w.live && m.hill <= s->peak;
  int64_t by_rule[RULES][2] = {[RULE_LEAST_AFTER] = {m.after, m.hill},
                               [RULE_LEAST_DURING] = {m.hill, m.after},
                               [RULE_EAGER] = {harmless ? INT64_MIN : m.hill, m.after},
                               [RULE_RECENT] = {harmless ? INT64_MIN : -at, m.after}};
  key[0] = by_rule[rule][0];
  key[1] = by_rule[rule][1];
  key[2] = unit;
}

static int choose(struct list *s, enum rule rule) {
  int best = 0;
  int64_t least[3], key[3];
  rate(s, rule, 0, least);
  for (int i = 1; i < s->nready; i++) {
    rate(s, rule, i, key);
    int d = 0;
    while (d < 2 && key[d] == least[d]) d++;
    if (key[d] < least[d]) best = i, memcpy(least, key, sizeof key);
  }
  return best;
}

static void run(struct list *s, int at) {
  int unit = s->ready[at];
  const struct order_net *n = s->w.n;
  memmove(&s->ready[at], &s->ready[at + 1], (size_t)(--s->nready - at) * sizeof *s->ready);
  struct order_move m = order_walk_try(&s->w, unit);
  s->peak = MAX(s->peak, m.hill);
  order_walk_go(&s->w, unit);
  s->w.live = m.after;
  s->w.waits[unit] = -1; /* not to be found again */
  for (int k = n->unit[unit]; k < n->unit[unit + 1]; k++) ORDER_EACH(i, n->after, k) {
      int u = n->unit_of[n->after.item[i]];
      if (s->w.waits[u] == 0) s->ready[s->nready++] = u, s->w.waits[u] = -1;
    }
}

static void walk(struct list *s, enum rule rule, int *unit) {
  order_walk_start(&s->w);
  s->peak = s->w.live;
  s->nready = 0;
  for (int u = 0; u < s->w.n->nunit; u++)
    if (s->w.waits[u] == 0) s->ready[s->nready++] = u;
  for (int k = 0; k < s->w.n->nunit; k++) {
    CHECK(s->nready > 0); /* the problem has no cycle */
    int at = choose(s, rule);
    unit[k] = s->ready[at];
    run(s, at);
  }
}

static bool start(struct list *s, const struct order_net *n, struct arena *a) {
  *s = (struct list){.ready = ARENA_NEW(a, int, n->nunit)};
  return s->ready && order_walk_new(&s->w, n, a);
}

bool order_list(const struct order_net *n, int64_t enough, int *unit, int64_t *peak, int64_t *hill,
                struct arena *a, int64_t *ticks) {
  struct list s;
  int *order = ARENA_NEW(a, int, n->nunit);
  bool ok = order && start(&s, n, a);
  for (int rule = 0; ok && rule<RULES && * peak> enough; rule++) {
    walk(&s, (enum rule)rule, order);
    int64_t reached = order_walk_peak(&s.w, order, hill);
    if (reached >= *peak) continue;
    *peak = reached;
    memcpy(unit, order, (size_t)n->nunit * sizeof *order);
  }
  *ticks += ok ? s.w.ticks : 0;
  return ok;
}

bool order_list_by(const struct order_net *n, int rule, int *unit, int64_t *peak, struct arena *a,
                   int64_t *ticks) {
  struct list s;
  int *order = ARENA_NEW(a, int, n->nunit);
  if (!order || !start(&s, n, a)) return false;
  walk(&s, (enum rule)rule, order);
  if (s.peak < *peak) {
    *peak = s.peak;
    memcpy(unit, order, (size_t)n->nunit * sizeof *order);
  }
  *ticks += s.w.ticks;
  return true;
}
