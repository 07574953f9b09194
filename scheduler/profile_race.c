/* One race, and storing what comes of it while it goes on. Contract: profile_impl.h. */
#include "profile_impl.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/* Of a rough race: enough to tell what is within a tenth of the best. */
enum { ROUGH_ROUNDS = 3 };

double profile_seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void profile_send(const struct profiler *p, enum profile_event_kind kind, const struct entrant *e) {
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

bool profile_failed(enum outcome o) {
  return o == OUTCOME_WRONG || o == OUTCOME_CRASHED || o == OUTCOME_TIMEOUT ||
         o == OUTCOME_UNSUPPORTED;
}

bool profile_is_over(struct profiler *p) {
  p->out_of_budget = p->o->budget_s > 0 && profile_seconds() - p->start > p->o->budget_s;
  return p->out_of_budget;
}

static bool has_news(const struct profiler *p, int i) {
  const struct entrant *e = &p->e[i];
  return e->sample.n != p->seen[i].samples || e->outcome != p->seen[i].outcome;
}

static void report_news(struct profiler *p, int i) {
  const struct entrant *e = &p->e[i];
  size_t before = p->seen[i].samples;
  bool first = p->seen[i].outcome == OUTCOME_COUNT && e->outcome != OUTCOME_COUNT;
  p->totals->labels_measured += first && !p->seen[i].known;
  if (e->sample.n > before) p->totals->samples += (int64_t)(e->sample.n - before);
  p->seen[i].samples = e->sample.n;
  p->seen[i].outcome = e->outcome;
  if (profile_failed(e->outcome)) {
    p->totals->failed++;
    profile_send(p, PROFILE_FAILED, e);
  } else if (e->sample.n > before && !p->seen[i].keeps) {
    profile_send(p, PROFILE_SAMPLE, e);
  }
}

static enum fvm_status store(struct profiler *p, const struct entrant *e, int n, bool finished,
                             struct fvm_error *err) {
  struct text env = {0};
  machine_environment(&env);
  enum fvm_status st = env.failed
                           ? fvm_nomem(err)
                           : db_store(p->db, p->machine, p->build, profile_state(p, p->problem),
                                      p->problem_id, e, n, env.v, finished, err);
  text_free(&env);
  return st;
}

/* Those that are to be stored now; a copy of an entrant shares its samples. */
static int collect(struct profiler *p, bool ended, struct entrant *out) {
  int n = 0;
  for (int i = 0; i < p->n; i++) {
    if (ended) p->totals->samples += (int64_t)(p->e[i].interp.n - p->seen[i].finals);
    bool news = has_news(p, i);
    if (news) report_news(p, i);
    if (ended || (news && !p->seen[i].keeps)) out[n++] = p->e[i];
  }
  return n;
}

/* After each round: store what is new. */
static bool on_round(void *profiler, int round) {
  struct profiler *p = profiler;
  struct entrant *news = fvm_alloc((size_t)p->n, sizeof *news);
  (void)round;
  int n = news ? collect(p, false, news) : 0;
  p->status = !news ? fvm_nomem(&p->why) : n ? store(p, news, n, false, &p->why) : FVM_OK;
  fvm_free(news, (size_t)p->n, sizeof *news);
  return !profile_is_over(p) && !p->status;
}

static enum fvm_status store_end(struct profiler *p, bool rough) {
  struct entrant *all = fvm_alloc((size_t)p->n, sizeof *all);
  if (!all) return fvm_nomem(p->err);
  int n = collect(p, !rough, all);
  enum fvm_status st = n ? store(p, all, n, !rough, p->err) : FVM_OK;
  fvm_free(all, (size_t)p->n, sizeof *all);
  return st;
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

static enum fvm_status run(struct profiler *p, enum race_kind kind) {
  bool rough = kind == RACE_ROUGH;
  struct measure_options m = p->o->measure;
  m.peace = &p->peace;
  m.keep = p->keep;
  m.again = kind == RACE_AGAIN;
  m.interrupted = p->o->interrupted;
  m.state = profile_state(p, p->problem);
  m.caches = measure_caches(&p->o->target);
  if (rough) {
    m.quick = true;
    m.max_rounds = m.max_rounds ? MIN(m.max_rounds, (int)ROUGH_ROUNDS) : ROUGH_ROUNDS;
  }
  profile_send(p, m.again ? PROFILE_AGAIN : PROFILE_PROBLEM, NULL);
  enum fvm_status st = (p->o->race ? p->o->race : measure_race)(&p->problem->call, p->e, p->n, &m,
                                                                on_round, p, p->err);
  if (p->status) return *p->err = p->why, p->status;
  if (st == FVM_ENOMEM || st == FVM_EENV || st == FVM_EINTR) return st;
  if (st) refuse_all(p, p->err);
  st = store_end(p, rough);
  if (!st && !m.again) profile_send(p, PROFILE_BEST, fastest(p));
  return st;
}

/* What it had before a race. */
static enum fvm_status begin(struct profiler *p, int i, uint8_t known, enum race_kind kind) {
  struct entrant *e = &p->e[i];
  enum fvm_status st = FVM_OK;
  if (kind != RACE_ROUGH && known == KNOWN_SURELY)
    st = db_finals(p->db, p->machine, p->build, profile_state(p, p->problem), p->problem->hash, e,
                   p->err);
  if (kind == RACE_AGAIN) e->outcome = OUTCOME_OK;
  p->seen[i] = (struct seen){.finals = e->interp.n,
                             .outcome = e->outcome,
                             .known = known != KNOWN_NOT,
                             .keeps = known == KNOWN_SURELY};
  return st;
}

enum fvm_status profile_race(struct profiler *p, const struct profile_problem *q, struct entrant *e,
                             int n, const uint8_t *known, enum race_kind kind, struct arena *a) {
  p->problem = q;
  p->e = e;
  p->n = n;
  p->status = FVM_OK;
  p->seen = ARENA_NEW(a, struct seen, MAX(n, 1));
  enum fvm_status st = p->seen ? FVM_OK : fvm_nomem(p->err);
  if (!st) st = db_problem(p->db, q->hash, q->text, q->op, &p->problem_id, p->err);
  for (int i = 0; i < n && !st; i++) {
    st = begin(p, i, known ? known[i] : KNOWN_NOT, kind);
    if (!st) st = profile_program(q, &e[i], a, p->err);
  }
  return st ? st : run(p, kind);
}
