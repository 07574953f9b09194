/* Order of execution: list scheduling by several rules, the best of them and the given order.
 * Contract: mem.h.
 *
 * A value is live from its producer's step to its last use, ends included; so a step holds its
 * inputs, its outputs and all that later steps still need. */
#include "mem.h"

#include <stdlib.h>
#include <string.h>

struct slice {
  int *first; /* n + 1 starts */
  int *item;
};
struct state {
  const struct order_problem *p;
  struct slice in;    /* of each step: distinct values that it uses */
  struct slice out;   /* of each step: values that it produces */
  struct slice users; /* of each value: steps */
  int *left;          /* of each value: users to come */
  int *waits;         /* of each step: values that are not there yet */
  int *ready, nready;
  int64_t live, peak;
};

/* What the choice among ready steps goes by; the given order is a rule like the others. */
enum rule { RULE_GIVEN, RULE_LEAST_AFTER, RULE_LEAST_DURING, RULE_EAGER, RULE_RECENT, RULES };

/* ---- indices ---- */

struct link {
  int from, to;
};

static int by_link(const void *x, const void *y) {
  const struct link *a = x, *b = y;
  if (a->from != b->from) return a->from < b->from ? -1 : 1;
  return (a->to > b->to) - (a->to < b->to);
}

/* Slices of the distinct links of n sources. */
static bool slice_links(struct slice *s, struct link *link, int nlink, int n, struct arena *a) {
  s->first = ARENA_NEW(a, int, n + 1);
  s->item = ARENA_NEW(a, int, nlink);
  if (!s->first || !s->item) return false;
  if (nlink) qsort(link, (size_t)nlink, sizeof *link, by_link);
  int k = 0, i = 0;
  for (int from = 0; from < n; from++) {
    s->first[from] = k;
    for (; i < nlink && link[i].from == from; i++)
      if (i == 0 || by_link(&link[i - 1], &link[i]) != 0) s->item[k++] = link[i].to;
  }
  s->first[n] = k;
  return true;
}

static bool index_problem(struct state *s, struct arena *a) {
  const struct order_problem *p = s->p;
  struct link *link = ARENA_NEW(a, struct link, MAX(p->nuse, p->nvalue));
  if (!link) return false;
  for (int i = 0; i < p->nuse; i++) link[i] = (struct link){p->use[i].step, p->use[i].value};
  if (!slice_links(&s->in, link, p->nuse, p->nstep, a)) return false;
  for (int i = 0; i < p->nuse; i++) link[i] = (struct link){p->use[i].value, p->use[i].step};
  if (!slice_links(&s->users, link, p->nuse, p->nvalue, a)) return false;
  int n = 0;
  for (int i = 0; i < p->nvalue; i++)
    if (p->value[i].producer >= 0) link[n++] = (struct link){p->value[i].producer, i};
  if (!slice_links(&s->out, link, n, p->nstep, a)) return false;
  s->left = ARENA_NEW(a, int, p->nvalue);
  s->waits = ARENA_NEW(a, int, p->nstep);
  s->ready = ARENA_NEW(a, int, p->nstep);
  return s->left && s->waits && s->ready;
}

#define EACH(i, slice, of) for (int i = (slice).first[of]; i < (slice).first[(of) + 1]; i++)

/* ---- one walk ---- */

static void start(struct state *s) {
  const struct order_problem *p = s->p;
  s->live = s->peak = 0;
  s->nready = 0;
  for (int v = 0; v < p->nvalue; v++) {
    s->left[v] = s->users.first[v + 1] - s->users.first[v] + p->value[v].stays;
    if (p->value[v].producer == -1 && s->left[v] > 0) s->live += p->value[v].bytes;
  }
  s->peak = s->live;
  for (int k = 0; k < p->nstep; k++) {
    s->waits[k] = 0;
    EACH(i, s->in, k) s->waits[k] += p->value[s->in.item[i]].producer >= 0;
    if (s->waits[k] == 0) s->ready[s->nready++] = k;
  }
}

static bool is_new_place(const struct state *s, int value) {
  return s->p->value[value].producer == ORDER_PLACE &&
         s->left[value] - s->p->value[value].stays ==
             s->users.first[value + 1] - s->users.first[value];
}

static int64_t produced(const struct state *s, int step) {
  int64_t sum = 0;
  EACH(i, s->out, step) sum += s->p->value[s->out.item[i]].bytes;
  EACH(i, s->in, step)
    if (is_new_place(s, s->in.item[i])) sum += s->p->value[s->in.item[i]].bytes;
  return sum;
}

/* Bytes that are dead after the step: inputs used for the last time, outputs that nobody uses. */
static int64_t freed(const struct state *s, int step) {
  int64_t sum = 0;
  EACH(i, s->in, step)
    if (s->left[s->in.item[i]] == 1) sum += s->p->value[s->in.item[i]].bytes;
  EACH(i, s->out, step)
    if (s->left[s->out.item[i]] == 0) sum += s->p->value[s->out.item[i]].bytes;
  return sum;
}

static void release(struct state *s, int value) {
  EACH(i, s->users, value) {
    int user = s->users.item[i];
    if (--s->waits[user] == 0) s->ready[s->nready++] = user;
  }
}

static void run(struct state *s, int at) {
  int step = s->ready[at];
  memmove(&s->ready[at], &s->ready[at + 1], (size_t)(--s->nready - at) * sizeof *s->ready);
  int64_t gone = freed(s, step);
  s->live += produced(s, step);
  s->peak = MAX(s->peak, s->live);
  s->live -= gone;
  EACH(i, s->in, step) s->left[s->in.item[i]]--;
  EACH(i, s->out, step) release(s, s->out.item[i]);
}

/* Smaller is better; ties go to the step that comes first in the given order. */
static void rate(const struct state *s, enum rule rule, int at, int64_t key[3]) {
  int step = s->ready[at];
  int64_t more = produced(s, step), net = more - freed(s, step);
  bool harmless = net <= 0 && s->live + more <= s->peak;
  int64_t by_rule[RULES][2] = {[RULE_GIVEN] = {0, 0},
                               [RULE_LEAST_AFTER] = {net, more},
                               [RULE_LEAST_DURING] = {more, net},
                               [RULE_EAGER] = {harmless ? INT64_MIN : more, net},
                               [RULE_RECENT] = {harmless ? INT64_MIN : -at, net}};
  key[0] = by_rule[rule][0];
  key[1] = by_rule[rule][1];
  key[2] = step;
}

static int choose(const struct state *s, enum rule rule) {
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

static void walk(struct state *s, enum rule rule, int *order) {
  start(s);
  for (int k = 0; k < s->p->nstep; k++) {
    CHECK(s->nready > 0); /* the problem has no cycle */
    int at = choose(s, rule);
    order[k] = s->ready[at];
    run(s, at);
  }
}

/* ---- bound ---- */

/* A step holds its inputs and outputs and what stays for ever from the start. */
static int64_t step_bound(const struct state *s, int step) {
  const struct order_problem *p = s->p;
  int64_t sum = produced(s, step);
  EACH(i, s->in, step) {
    const struct order_value *v = &p->value[s->in.item[i]];
    if (v->producer >= 0 || !v->stays) sum += v->bytes;
  }
  return sum;
}

static int64_t lower_bound(const struct state *s) {
  const struct order_problem *p = s->p;
  int64_t always = 0, first = 0, last = 0, most = 0;
  for (int v = 0; v < p->nvalue; v++) {
    const struct order_value *x = &p->value[v];
    bool wanted = x->stays || s->users.first[v] < s->users.first[v + 1];
    if (x->producer == -1 && wanted) first += x->bytes;
    if (x->producer == -1 && x->stays) always += x->bytes;
    if (x->stays) last += x->bytes;
  }
  for (int k = 0; k < p->nstep; k++) most = MAX(most, step_bound(s, k));
  return MAX(always + most, MAX(first, last));
}

enum fvm_status order_steps(const struct order_problem *p, struct arena *a, struct order_result *r,
                            struct fvm_error *err) {
  struct arena scratch = {0};
  struct state s = {.p = p};
  int *order = ARENA_NEW(&scratch, int, p->nstep);
  r->step = ARENA_NEW(a, int, p->nstep);
  bool ok = order && r->step && index_problem(&s, &scratch);
  if (ok) {
    walk(&s, RULE_GIVEN, r->step);
    r->peak = s.peak;
    r->bound = lower_bound(&s);
  }
  for (int rule = RULE_GIVEN + 1; ok && rule < RULES && r->peak > r->bound; rule++) {
    walk(&s, (enum rule)rule, order);
    if (s.peak >= r->peak) continue;
    r->peak = s.peak;
    memcpy(r->step, order, (size_t)p->nstep * sizeof *order);
  }
  arena_free(&scratch);
  return ok ? FVM_OK : fvm_nomem(err);
}
