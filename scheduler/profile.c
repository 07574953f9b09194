#include "profile.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "accuracy.h"
#include "profile_set.h"
#include "states.h"

struct profiler {
  const struct profile_options *o;
  struct db *db;
  int64_t machine, build;
  struct states states;
  struct profile_set set;
  struct profile_totals *totals;
  double start;
  bool out_of_budget;
  /* The race that is on. */
  const struct profile_problem *problem;
  int64_t problem_id;
  struct entrant *e; /* only those that take part */
  int n;
  struct seen { /* of each entrant, when it was stored last */
    size_t samples;
    enum outcome outcome;
  } * seen;
  enum fvm_status status; /* of storing in the midst of a race, */
  struct fvm_error why;   /* which the race's own error would hide */
  struct fvm_error *err;
};

static double seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void send(const struct profiler *p, enum profile_event_kind kind, const struct entrant *e) {
  struct profile_event ev = {.kind = kind, .totals = p->totals};
  if (!p->o->on_event) return;
  if (p->problem) ev.text = p->problem->text;
  if (e) {
    ev.label = e->text;
    ev.reason = e->reason;
    ev.outcome = e->outcome;
    ev.ns = kind == PROFILE_SAMPLE ? e->sample.v[e->sample.n - 1]
            : e->interp_ns         ? e->interp_ns
                                   : e->min_ns;
  }
  p->o->on_event(p->o->arg, &ev);
}

static bool is_failure(enum outcome o) {
  return o == OUTCOME_WRONG || o == OUTCOME_CRASHED || o == OUTCOME_TIMEOUT ||
         o == OUTCOME_UNSUPPORTED;
}

/* ---- states ---- */

static enum data_state state_of(const struct profiler *p, const struct profile_problem *q) {
  return q->is_convert ? states_convert(&p->states, &q->call.in[0])
                       : states_of(&p->states, q->hash);
}

/* ---- what is known already ---- */

/* Drop from the entrants of a problem those that need no measuring: they were measured in a race
 * that ended, or are known not to work. */
static enum fvm_status drop_known(struct profiler *p, const struct profile_problem *q,
                                  struct entrant *e, int *n, struct fvm_error *err) {
  int kept = 0;
  for (int i = 0; i < *n; i++) {
    struct db_known k;
    bool found;
    enum fvm_status st =
        db_lookup(p->db, p->machine, p->build, state_of(p, q), q->hash, e[i].text, &k, &found, err);
    if (st) return st;
    if (!found || (!k.finished && !is_failure(k.outcome))) e[kept++] = e[i];
  }
  *n = kept;
  return FVM_OK;
}

/* All but n labels of a problem are known: at the start, or since another process measured it. */
static void note_known(struct profiler *p, struct profile_problem *q, int n) {
  int news = q->nlabel - n - q->nknown;
  p->totals->labels_known += news;
  p->totals->problems_done += n == 0 && (news > 0 || q->nlabel == 0);
  q->nknown += news;
}

static enum fvm_status count_known(struct profiler *p, struct fvm_error *err) {
  enum fvm_status st = FVM_OK;
  for (size_t i = 0; i < p->set.problem.n && !st; i++) {
    struct profile_problem *q = &p->set.problem.v[i];
    struct arena a = {0};
    struct entrant *e;
    int n = q->nlabel;
    st = profile_entrants(q, &p->o->target, &a, &e, err);
    if (!st) st = drop_known(p, q, e, &n, err);
    arena_free(&a);
    p->totals->problems++;
    p->totals->labels_total += q->nlabel;
    if (!st) note_known(p, q, n);
  }
  return st;
}

/* ---- one race ---- */

static bool has_news(const struct profiler *p, int i) {
  const struct entrant *e = &p->e[i];
  return e->sample.n != p->seen[i].samples || e->outcome != p->seen[i].outcome;
}

static void report_news(struct profiler *p, int i) {
  const struct entrant *e = &p->e[i];
  size_t before = p->seen[i].samples;
  bool first = p->seen[i].outcome == OUTCOME_COUNT && e->outcome != OUTCOME_COUNT;
  p->totals->labels_measured += first;
  if (e->sample.n > before) p->totals->samples += (int64_t)(e->sample.n - before);
  p->seen[i] = (struct seen){e->sample.n, e->outcome};
  if (is_failure(e->outcome)) {
    p->totals->failed++;
    send(p, PROFILE_FAILED, e);
  } else if (e->sample.n > before) {
    send(p, PROFILE_SAMPLE, e);
  }
}

static enum fvm_status store(struct profiler *p, const struct entrant *e, int n, bool finished,
                             struct fvm_error *err) {
  struct text env = {0};
  machine_environment(&env);
  enum fvm_status st = env.failed ? fvm_nomem(err)
                                  : db_store(p->db, p->machine, p->build, state_of(p, p->problem),
                                             p->problem_id, e, n, env.v, finished, err);
  text_free(&env);
  return st;
}

/* After each round: store what is new. A copy of an entrant shares its samples. */
static bool on_round(void *profiler, int round) {
  struct profiler *p = profiler;
  struct entrant *news = fvm_alloc((size_t)p->n, sizeof *news);
  int n = 0;
  (void)round;
  for (int i = 0; i < p->n && news; i++) {
    if (!has_news(p, i)) continue;
    news[n++] = p->e[i];
    report_news(p, i);
  }
  p->status = !news ? fvm_nomem(&p->why) : n ? store(p, news, n, false, &p->why) : FVM_OK;
  fvm_free(news, (size_t)p->n, sizeof *news);
  p->out_of_budget = p->o->budget_s > 0 && seconds() - p->start > p->o->budget_s;
  return !p->status && !p->out_of_budget;
}

static const struct entrant *fastest(const struct profiler *p) {
  const struct entrant *best = NULL;
  for (int i = 0; i < p->n; i++)
    if (p->e[i].min_ns && (!best || p->e[i].min_ns < best->min_ns)) best = &p->e[i];
  return best;
}

/* A problem whose reference cannot be computed has no sound candidate: all become unsupported. */
static void refuse_all(struct profiler *p, const struct fvm_error *why) {
  for (int i = 0; i < p->n; i++) {
    p->e[i].outcome = OUTCOME_UNSUPPORTED;
    snprintf(p->e[i].reason, sizeof p->e[i].reason, "no reference: %.120s", why->text);
  }
}

static enum fvm_status race(struct profiler *p) {
  struct measure_options m = p->o->measure;
  m.interrupted = p->o->interrupted;
  m.state = state_of(p, p->problem);
  m.caches = measure_caches(&p->o->target);
  send(p, PROFILE_PROBLEM, NULL);
  enum fvm_status st = measure_race(&p->problem->call, p->e, p->n, &m, on_round, p, p->err);
  if (p->status) return *p->err = p->why, p->status;
  if (st == FVM_ENOMEM || st == FVM_EENV || st == FVM_EINTR) return st;
  if (st) refuse_all(p, p->err);
  for (int i = 0; i < p->n; i++)
    if (has_news(p, i)) report_news(p, i);
  st = store(p, p->e, p->n, true, p->err);
  p->totals->problems_done += !st;
  if (!st) send(p, PROFILE_BEST, fastest(p));
  return st;
}

/* Programs for the entrants, then the race. */
static enum fvm_status race_entrants(struct profiler *p, struct arena *a) {
  enum fvm_status st = FVM_OK;
  p->seen = ARENA_NEW(a, struct seen, p->n);
  if (!p->seen) return fvm_nomem(p->err);
  for (int i = 0; i < p->n && !st; i++) {
    p->seen[i].outcome = OUTCOME_COUNT;
    st = profile_program(p->problem, &p->e[i], a, p->err);
  }
  if (!st) st = race(p);
  for (int i = 0; i < p->n; i++) entrant_free(&p->e[i]);
  return st;
}

static enum fvm_status profile_one(struct profiler *p, int index) {
  struct arena a = {0};
  struct profile_problem *q = &p->set.problem.v[index];
  p->problem = q;
  p->n = q->nlabel;
  enum fvm_status st = profile_entrants(q, &p->o->target, &a, &p->e, p->err);
  if (!st) st = drop_known(p, q, p->e, &p->n, p->err);
  if (!st && q->nlabel > 0) note_known(p, q, p->n);
  if (!st && p->n > 0)
    st = db_problem(p->db, p->problem->hash, p->problem->text, p->problem->op, &p->problem_id,
                    p->err);
  if (!st && p->n > 0) st = race_entrants(p, &a);
  arena_free(&a);
  return st;
}

/* ---- the whole graph ---- */

static struct db_node node_row(const struct profiler *p, const int64_t *id, const char *name,
                               int problem) {
  return (struct db_node){name, id[problem], state_of(p, &p->set.problem.v[problem])};
}

/* Model, nodes and all problems, so that v_nodes is complete before anything is measured. */
static enum fvm_status store_graph(struct profiler *p, const struct graph *g) {
  struct arena a = {0};
  int64_t model;
  size_t n = p->set.node_name.n, chains = p->set.chain_name.n;
  int64_t *id = ARENA_NEW(&a, int64_t, MAX(p->set.problem.n, 1));
  struct db_node *node = ARENA_NEW(&a, struct db_node, MAX(n + chains, 1));
  enum fvm_status st = id && node ? FVM_OK : fvm_nomem(p->err);
  for (size_t i = 0; i < p->set.problem.n && !st; i++) {
    const struct profile_problem *q = &p->set.problem.v[i];
    st = db_problem(p->db, q->hash, q->text, q->op, &id[i], p->err);
  }
  for (size_t i = 0; i < n && !st; i++)
    node[i] = node_row(p, id, p->set.node_name.v[i], p->set.of_node.v[i]);
  for (size_t i = 0; i < chains && !st; i++)
    node[n + i] = node_row(p, id, p->set.chain_name.v[i], p->set.of_chain.v[i]);
  const char *name = p->o->model ? p->o->model : g->name ? g->name : "";
  if (!st) st = db_model(p->db, g->model_hash, name, p->states.near, &model, p->err);
  if (!st) st = db_nodes(p->db, model, node, (int)(n + chains), p->err);
  arena_free(&a);
  return st;
}

static enum fvm_status measure_all(struct profiler *p) {
  enum fvm_status st = FVM_OK;
  send(p, PROFILE_BEGIN, NULL);
  for (size_t i = 0; i < p->set.heavy.n && !st && !p->out_of_budget; i++) {
    if (p->o->interrupted && *p->o->interrupted)
      return fvm_fail(p->err, FVM_EINTR, "interrupted; what was measured is kept");
    st = profile_one(p, p->set.heavy.v[i]);
    if (st == FVM_EINTR && p->out_of_budget) st = FVM_OK;
  }
  return st;
}

/* Outputs of the model for plans to be held to (accuracy.h). */
static enum fvm_status expect(struct profiler *p, const struct graph *g) {
  struct expected x;
  bool found;
  enum fvm_status st = expected_load(p->db, g, &x, &found, p->err);
  if (!st && !found) {
    p->problem = NULL;
    send(p, PROFILE_EXPECT, NULL);
    expected_free(&x);
    st = expected_compute(g, p->o->interrupted, &x, p->err);
    if (!st) st = expected_store(p->db, &x, p->err);
  }
  expected_free(&x);
  return st;
}

enum fvm_status profile_graph(const struct graph *g, struct db *db, const struct machine *m,
                              const struct profile_options *o, struct profile_totals *totals,
                              struct fvm_error *err) {
  struct profiler p = {.o = o, .db = db, .totals = totals, .start = seconds(), .err = err};
  *totals = (struct profile_totals){0};
  enum fvm_status st = db_machine(db, m, &p.machine, err);
  if (!st) st = db_build(db, build_text(), &p.build, err);
  if (!st) st = states_make(&p.states, g, &o->target, err);
  if (!st) st = profile_set_make(&p.set, g, &o->target, err);
  if (!st) st = store_graph(&p, g);
  if (!st) st = count_known(&p, err);
  if (!st) st = measure_all(&p);
  if (!st && totals->problems_done == totals->problems) st = expect(&p, g);
  profile_set_free(&p.set);
  states_free(&p.states);
  return st;
}
