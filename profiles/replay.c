/* Measurements made again, and how far they are from what is stored. Contract: replay.h. */
#include "replay.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stats.h"

/* ---- from texts to a candidate ---- */

/* A problem, and the candidate of it. */
struct subject {
  struct opcall call;
  struct entrant entrant;
};

static enum fvm_status no_label(const struct db_record *r, struct fvm_error *err) {
  return fvm_fail(err, FVM_EUNSUPPORTED, "run %lld: this build has no '%.80s' here",
                  (long long)r->id, r->label);
}

/* "threads=2" of a label's text; 1 where it has none. */
static int label_threads_of(const char *text) {
  const char *at = strstr(text, " threads=");
  return at ? atoi(at + strlen(" threads=")) : 1;
}

static enum fvm_status read_convert(const struct db_record *r, const struct target *t,
                                    struct arena *a, struct subject *s, struct fvm_error *err) {
  struct tensor *io = ARENA_NEW(a, struct tensor, 2);
  enum layout from, to;
  struct text name = {0};
  if (!io) return fvm_nomem(err);
  enum fvm_status st = convert_read(r->problem, &io[0], &from, &to, err);
  if (st) return st;
  io[1] = io[0];
  s->call = (struct opcall){
      .op = op_find("Identity", 8), .nin = 1, .nown = 1, .nout = 1, .in = io, .out = io + 1};
  s->entrant.label = (struct label){.in = {(uint8_t)from}, .out = {(uint8_t)to}};
  s->entrant.label.threads = t->threads[0];
  convert_label(t->threads[0], &name);
  bool same = !name.failed && !strcmp(name.v, r->label);
  text_free(&name);
  return same ? layout_convert(&io[0], from, to, a, &s->entrant.program, err) : no_label(r, err);
}

static enum fvm_status read_call(const struct db_record *r, const struct target *t, struct arena *a,
                                 struct subject *s, struct fvm_error *err) {
  enum fvm_status st = opcall_read(r->problem, a, &s->call, err);
  if (st) return st;
  measure_constants(&s->call);
  for (struct label_walk w = {0}; opcall_next(&s->call, t, &w, &s->entrant.label);) {
    struct text text = {0};
    label_text(&s->call, &s->entrant.label, &text);
    bool same = !text.failed && !strcmp(text.v, r->label);
    text_free(&text);
    if (same && !s->entrant.label.view)
      return opcall_emit(&s->call, &s->entrant.label, a, &s->entrant.program, err);
  }
  return no_label(r, err);
}

static enum fvm_status read_subject(const struct db_record *r, const struct target *t,
                                    struct arena *a, struct subject *s, struct fvm_error *err) {
  *s = (struct subject){.entrant = {.text = r->label, .outcome = OUTCOME_COUNT}};
  return strncmp(r->problem, "Convert ", 8) ? read_call(r, t, a, s, err)
                                            : read_convert(r, t, a, s, err);
}

/* ---- one run ---- */

static void compare(const struct entrant *e, struct replay *r) {
  bool interp = !strcmp(r->stored.engine, "interp");
  struct spread s =
      interp ? stats_spread(e->interp.v, e->interp.n) : stats_spread(e->sample.v, e->sample.n);
  r->outcome = e->outcome;
  snprintf(r->reason, sizeof r->reason, "%s", e->reason);
  r->n = (int64_t)(interp ? e->interp.n : e->sample.n);
  r->min_ns = s.min;
  r->median_ns = s.median;
  r->same_outcome = r->outcome == r->stored.outcome ||
                    (outcome_is_sound(r->outcome) && outcome_is_sound(r->stored.outcome));
  r->drift = s.min && r->stored.min_ns ? (double)s.min / (double)r->stored.min_ns : 0;
}

enum { ROUNDS = 8 };

static enum fvm_status measure(const struct machine *m, volatile const int *interrupted,
                               struct arena *a, struct replay *r, struct fvm_error *err) {
  struct target t;
  struct subject s;
  struct measure_options o = {
      .interrupted = interrupted, .max_rounds = ROUNDS, .alone_rounds = ROUNDS};
  int threads = label_threads_of(r->stored.label);
  machine_target(m, &threads, 1, &t);
  o.state = state_parse(r->stored.state);
  o.caches = measure_caches(&t);
  enum fvm_status st = read_subject(&r->stored, &t, a, &s, err);
  if (!st) st = measure_race(&s.call, &s.entrant, 1, &o, NULL, NULL, err);
  if (!st) compare(&s.entrant, r);
  entrant_free(&s.entrant);
  return st;
}

enum fvm_status replay_run(struct db *db, int64_t id, const struct machine *m,
                           volatile const int *interrupted, struct arena *a, struct replay *r,
                           struct fvm_error *err) {
  bool found;
  char fingerprint[17];
  *r = (struct replay){0};
  enum fvm_status st = db_record(db, id, a, &r->stored, &found, err);
  if (st) return st;
  if (!found)
    return fvm_fail(err, FVM_EUSAGE, "there is no run %lld; ids are those of table run",
                    (long long)id);
  snprintf(fingerprint, sizeof fingerprint, "%016llx", (unsigned long long)m->fingerprint);
  r->same_machine = !strcmp(fingerprint, r->stored.fingerprint);
  r->same_build = !strcmp(build_text(), r->stored.build);
  r->same_protocol = r->stored.protocol == MEASURE_PROTOCOL;
  return measure(m, interrupted, a, r, err);
}

/* ---- a sample of them ---- */

static double off_by(double drift) { return drift >= 1 || drift <= 0 ? drift : 1 / drift; }

static bool is_off(const struct replay *r, double limit) {
  return !r->same_outcome || off_by(r->drift) > limit;
}

/* The better of two tries. */
static enum fvm_status try_twice(struct db *db, int64_t id, const struct machine *m,
                                 volatile const int *interrupted, const struct replay_sample *s,
                                 struct arena *a, struct replay *r, struct fvm_error *err) {
  struct replay again;
  enum fvm_status st = replay_run(db, id, m, interrupted, a, r, err);
  if (st || !is_off(r, s->limit)) return st;
  st = replay_run(db, id, m, interrupted, a, &again, err);
  if (!st && !is_off(&again, off_by(r->drift))) *r = again;
  return st;
}

static void take(struct replay_sample *s, const struct replay *r, double *drift) {
  bool off = is_off(r, s->limit);
  s->off += off;
  if (r->drift > 0) drift[s->n++] = r->drift;
  if (r->drift > 0 && (s->n == 1 || off_by(r->drift) > off_by(s->worst))) s->worst = r->drift;
  if (s->on_run) s->on_run(s->arg, r, off);
}

enum fvm_status replay_sample(struct db *db, const struct machine *m,
                              volatile const int *interrupted, struct replay_sample *s,
                              struct fvm_error *err) {
  struct arena a = {0};
  int64_t *id = ARENA_NEW(&a, int64_t, s->wanted);
  double *drift = ARENA_NEW(&a, double, s->wanted);
  int n = 0;
  enum fvm_status st =
      id && drift ? db_draw_records(db, m->fingerprint, s->wanted, id, &n, err) : fvm_nomem(err);
  for (int i = 0; i < n && !st; i++) {
    struct arena own = {0};
    struct replay r;
    st = try_twice(db, id[i], m, interrupted, s, &own, &r, err);
    if (st == FVM_EUNSUPPORTED)
      s->gone++, st = FVM_OK;
    else if (!st)
      take(s, &r, drift);
    arena_free(&own);
  }
  s->median = s->n ? stats_quantile(drift, (size_t)s->n, 0.5) : 0;
  arena_free(&a);
  return st;
}
