/* The table of policies, and labels as planners choose them that look at one node at a time. What
 * they are to be compared in is the choice alone: labels, costs, programs, conversions and views
 * are those of ours. */
#include "sched.h"

#include <string.h>

const struct sched_policy sched_policies[POLICY_COUNT] = {
#define POLICY(name, choose, reorders, in_place, pack, what) {choose, reorders, in_place, pack},
#include "policies.def"
#undef POLICY
};

static const char *const names[POLICY_COUNT] = {
#define POLICY(name, choose, reorders, in_place, pack, what) #name,
#include "policies.def"
#undef POLICY
};

const char *policy_name(enum policy p) { return names[p]; }

enum policy policy_find(const char *name) {
  int i = 0;
  while (i < POLICY_COUNT && strcmp(names[i], name) != 0) i++;
  return (enum policy)i;
}

/* ---- one node ---- */

int64_t sched_choice_ns(struct sched *w, int node, int choice) {
  const struct node *n = &w->g->node.v[node];
  const struct choice *c = &w->node[node].menu->choice[choice];
  int64_t sum = c->ns;
  int threads;
  bool joins = c->label.view && n->op->flags & OPF_JOIN;
  for (int k = 0; joins && k < (int)n->in.n; k++)
    if (!joins_at(w->join, w->g, node, k))
      sum = MIN(SOLVE_INF, sum + sched_copy(w, n->in.v[k], label_in(&c->label, k), &threads));
  return sum;
}

int64_t sched_convert_ns(struct sched *w, int tensor, enum layout from, enum layout to) {
  const struct conversion *c = sched_conversion(w, tensor, from, to);
  return c ? c->ns : SOLVE_INF;
}

/* ---- all nodes ---- */

/* Where each tensor is so far. */
struct there {
  enum layout from; /* as it is made */
  layout_set in;    /* and as it is to be had: conversions that were paid for are there */
};

/* What a label takes where its inputs lie as they do: its own time, conversions of inputs, and of
 * what the caller gets. */
static int64_t approach(struct sched *w, int node, int choice, const struct there *have) {
  const struct node *n = &w->g->node.v[node];
  const struct label *l = &w->node[node].menu->choice[choice].label;
  int64_t sum = sched_choice_ns(w, node, choice);
  for (size_t i = 0; i < n->in.n; i++) {
    int t = n->in.v[i];
    enum layout want = label_in(l, (int)i);
    if (!sched_is_run_time(w, t)) continue;
    bool there = have[t].in >> want & 1;
    for (size_t j = 0; j < i && !there; j++) there = n->in.v[j] == t && label_in(l, (int)j) == want;
    if (!there) sum = MIN(SOLVE_INF, sum + sched_convert_ns(w, t, have[t].from, want));
  }
  for (size_t i = 0; i < n->out.n; i++) {
    int t = n->out.v[i];
    if (t >= 0 && w->g->tensor.v[t].is_output)
      sum = MIN(SOLVE_INF, sum + sched_convert_ns(w, t, label_out(l, (int)i), w->io[t]));
  }
  return sum;
}

static void take(struct sched *w, int node, struct there *have) {
  const struct node *n = &w->g->node.v[node];
  const struct label *l = &w->node[node].menu->choice[w->node[node].choice].label;
  for (size_t i = 0; i < n->in.n; i++)
    if (sched_is_run_time(w, n->in.v[i])) have[n->in.v[i]].in |= LAYOUT_BIT(label_in(l, (int)i));
  for (size_t i = 0; i < n->out.n; i++) {
    enum layout made = label_out(l, (int)i);
    int t = n->out.v[i];
    if (t < 0) continue;
    have[t] = (struct there){made, LAYOUT_BIT(made)};
    if (w->g->tensor.v[t].is_output) have[t].in |= LAYOUT_BIT(w->io[t]);
  }
}

static struct there *at_inputs(struct sched *w) {
  struct there *have = ARENA_NEW(&w->a, struct there, w->g->tensor.n);
  for (size_t t = 0; have && t < w->g->tensor.n; t++)
    have[t] = (struct there){w->io[t], LAYOUT_BIT(w->io[t])};
  return have;
}

/* What the choice costs, and a bound that needs no solver: every node by its cheapest label. */
static enum fvm_status note_choice(struct sched *w) {
  struct there *have = at_inputs(w);
  int64_t sum = 0, least = 0;
  if (!have) return fvm_nomem(w->err);
  for (int i = 0; i < (int)w->g->node.n; i++) {
    if (w->g->node.v[i].dead) continue;
    const struct menu *m = w->node[i].menu;
    int64_t best = SOLVE_INF;
    for (int k = 0; k < m->n; k++) best = MIN(best, m->choice[k].ns);
    least = MIN(SOLVE_INF, least + best);
    sum = MIN(SOLVE_INF, sum + approach(w, i, w->node[i].choice, have));
    take(w, i, have);
  }
  w->s->layout_cost_ns = sum + sched_share_tables(w, sum);
  w->s->layout_bound_ns = least;
  w->s->optimal = false;
  return FVM_OK;
}

/* Conversions that a label needs where the tensors lie at `home`. */
static int64_t detours(struct sched *w, int node, const struct label *l, const enum layout *home) {
  const struct node *n = &w->g->node.v[node];
  int64_t sum = 0;
  for (size_t i = 0; i < n->in.n; i++) {
    int t = n->in.v[i];
    if (sched_is_run_time(w, t))
      sum = MIN(SOLVE_INF, sum + sched_convert_ns(w, t, home[t], label_in(l, (int)i)));
  }
  for (size_t i = 0; i < n->out.n; i++) {
    int t = n->out.v[i];
    if (t >= 0) sum = MIN(SOLVE_INF, sum + sched_convert_ns(w, t, label_out(l, (int)i), home[t]));
  }
  return sum;
}

enum fvm_status sched_settle(struct sched *w, const enum layout *home, bool stays) {
  for (int i = 0; i < (int)w->g->node.n; i++) {
    int64_t best = INT64_MAX;
    for (int k = 0; !w->g->node.v[i].dead && k < w->node[i].menu->n; k++) {
      int64_t more = detours(w, i, &w->node[i].menu->choice[k].label, home);
      int64_t ns = sched_choice_ns(w, i, k) + more + (stays && more ? SOLVE_INF : 0);
      if (ns >= best) continue;
      best = ns;
      w->node[i].choice = k;
    }
  }
  return note_choice(w);
}

enum fvm_status sched_plain(struct sched *w) { return sched_settle(w, w->io, true); }

/* ---- greedy ---- */

enum fvm_status sched_greedy(struct sched *w) {
  struct there *have = at_inputs(w);
  if (!have) return fvm_nomem(w->err);
  for (int i = 0; i < (int)w->g->node.n; i++) {
    int64_t best = INT64_MAX;
    if (w->g->node.v[i].dead) continue;
    for (int k = 0; k < w->node[i].menu->n; k++) {
      int64_t ns = approach(w, i, k, have);
      if (ns >= best) continue;
      best = ns;
      w->node[i].choice = k;
    }
    take(w, i, have);
  }
  return note_choice(w);
}
