/* The whole of profiling: what there is to measure, all of it measured, what comes after. Contract:
 * profile.h. */
#include "profile.h"

#include <string.h>

#include "accuracy.h"
#include "profile_impl.h"

/* ---- states ---- */

enum data_state profile_state(const struct profiler *p, const struct profile_problem *q) {
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
    enum fvm_status st = db_lookup(p->db, p->machine, p->build, profile_state(p, q), q->hash,
                                   e[i].text, &k, &found, err);
    if (st) return st;
    if (!found || (!k.finished && !profile_failed(k.outcome))) e[kept++] = e[i];
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
    st = profile_entrants(q, &a, &e, err);
    if (!st) st = drop_known(p, q, e, &n, err);
    arena_free(&a);
    p->totals->problems++;
    p->totals->labels_total += q->nlabel;
    if (!st) note_known(p, q, n);
  }
  return st;
}

/* ---- all labels of a problem ---- */

static enum fvm_status profile_one(struct profiler *p, int index) {
  struct arena a = {0};
  struct profile_problem *q = &p->set.problem.v[index];
  struct entrant *e;
  int n = q->nlabel;
  enum fvm_status st = profile_entrants(q, &a, &e, p->err);
  if (!st) st = drop_known(p, q, e, &n, p->err);
  if (!st && q->nlabel > 0) note_known(p, q, n);
  if (!st && n > 0) {
    st = profile_race(p, q, e, n, NULL, RACE_FULL, &a);
    for (int i = 0; i < n; i++) entrant_free(&e[i]);
    p->totals->problems_done += !st;
  }
  arena_free(&a);
  return st;
}

/* ---- the whole graph ---- */

static struct db_node node_row(const struct profiler *p, const int64_t *id, const char *name,
                               int problem) {
  return (struct db_node){name, id[problem], profile_state(p, &p->set.problem.v[problem])};
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

/* The finals of all problems at other times. */
static enum fvm_status measure_again(struct profiler *p) {
  struct known k;
  enum fvm_status st = known_open(&k, p);
  if (!st) st = profile_again(p, &k, NULL, NULL);
  known_close(&k);
  return st;
}

static enum fvm_status measure_all(struct profiler *p) {
  enum fvm_status st = count_known(p, p->err);
  if (st) return st;
  profile_send(p, PROFILE_BEGIN, NULL);
  for (size_t i = 0; i < p->set.heavy.n && !st && !p->out_of_budget; i++) {
    if (p->o->interrupted && *p->o->interrupted)
      return fvm_fail(p->err, FVM_EINTR, "interrupted; what was measured is kept");
    st = profile_one(p, p->set.heavy.v[i]);
    if (st == FVM_EINTR && p->out_of_budget) st = FVM_OK;
  }
  p->totals->complete = p->totals->problems_done == p->totals->problems;
  return st || p->out_of_budget ? st : measure_again(p);
}

/* Outputs of the model for plans to be held to (accuracy.h). */
static enum fvm_status expect(struct profiler *p, const struct graph *g) {
  struct expected x;
  bool found;
  enum fvm_status st = expected_load(p->db, g, &x, &found, p->err);
  if (!st && !found) {
    p->problem = NULL;
    profile_send(p, PROFILE_EXPECT, NULL);
    expected_free(&x);
    st = expected_compute(g, p->o->interrupted, &x, p->err);
    if (!st) st = expected_store(p->db, &x, p->err);
  }
  expected_free(&x);
  return st;
}

static double calm_part(const struct peace *p) {
  int64_t used = 0, lost = 0;
  for (size_t i = 0; i < COUNT(p->used_ns); i++) used += p->used_ns[i], lost += p->lost_ns[i];
  return used + lost ? (double)used / (double)(used + lost) : 1;
}

enum fvm_status profile_graph(const struct graph *g, struct db *db, const struct machine *m,
                              const struct profile_options *o, struct profile_totals *totals,
                              struct fvm_error *err) {
  struct profiler p = {
      .o = o, .g = g, .db = db, .totals = totals, .start = profile_seconds(), .err = err};
  *totals = (struct profile_totals){0};
  enum fvm_status st = db_machine(db, m, &p.machine, err);
  p.keep = measure_keep_new();
  if (!st && !p.keep) st = fvm_nomem(err);
  if (!st) st = db_build(db, build_text(), &p.build, err);
  if (!st) st = states_make(&p.states, g, &o->target, err);
  if (!st) st = profile_set_make(&p.set, g, &o->target, err);
  if (!st) st = store_graph(&p, g);
  if (!st && !o->exhaustive) st = profile_lazily(&p);
  bool planless = st == FVM_EUNSUPPORTED; /* without a plan, all labels may be of use to others */
  if (planless) *totals = (struct profile_totals){.labels_measured = totals->labels_measured};
  if (planless || (!st && o->exhaustive)) st = measure_all(&p);
  if (!st && totals->complete && !o->no_reference) st = expect(&p, g);
  totals->calm = calm_part(&p.peace);
  measure_keep_free(p.keep);
  profile_set_free(&p.set);
  states_free(&p.states);
  return st;
}
