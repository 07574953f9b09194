/* The race. The protocol, in order:
 *
 *   check    each candidate once in the sandbox: verified, right, compiled code equal to the
 *            interpreter.
 *   rounds   each survivor one sample a round, in an order that changes. A sentinel before and
 *            behind it tells whether the machine was at its best (measure_sentinel.c).
 *   leaving  by the minimum so far or the ratio to the best of the same rounds, within wide bounds
 *            early and narrow ones later; then by the confidence interval of these ratios.
 *   end      when what is left in each group is one, or within TIE of each other.
 *   finals   the best few under the interpreter, which is what the executor runs; these wait for
 *            the machine to be at its best.
 *   again    these once more in a fresh process, seconds or minutes later, until a visit changes
 *            nothing: where pages lie differs from process to process, and what else the machine
 *            does from time to time (scheduler/profile_again.c).
 *
 * Candidates race in groups: only those of equal threads and equal layouts of what flows through
 * the network compete, for the others may each be part of the best plan. */
#include "measure_race.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "stats.h"

enum {
  SAMPLE_NS = 100000,
  ROUNDS = 5,       /* finals and visits tell apart who is left */
  LEAST_ROUNDS = 3, /* also when PATIENCE_S is over */
  ALONE_ROUNDS = 2, /* the least for one that is alone in its group */
  FINAL_ROUNDS = MEASURE_VISIT,
  FINAL_LEAST = 4, /* the same of finals */
  CHUNK = 8        /* candidates checked between two calls of on_round */
};
/* An endless loop must cost little, and a sound candidate never end as one. So the CPU time allowed
 * to a candidate is a second, for compiling, so many times the reference's, and some for each byte
 * of its inputs, which come in many layouts. What sleeps is waited for longer, since a candidate
 * may also wait for a busy machine. */
static const double LIMIT_S = 1, LIMIT_TIMES = 20, LIMIT_BYTE_S = 1e-8, LIMIT_MOST_S = 30,
                    SLEEP_S = 10, SLEEP_TIMES = 10;
/* Seconds after which the races, and the finals, of a problem of long samples end. */
static const double PATIENCE_S = 2.5;

static double seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static bool interrupted(const struct race *r) { return r->o.interrupted && *r->o.interrupted; }

/* ---- the sandbox ---- */

static void pass_interrupt(void *race) {
  struct race *r = race;
  if (interrupted(r)) r->x->stop = 1;
}

/* Which buffer of the candidate that was being checked an address is at, and on which side of it.
 */
static void name_buffer(const struct race *r, uint64_t address, struct reply *culprit) {
  enum { NEAR = 4096 };
  int nin = r->bench->call->nin, nout = r->bench->call->nout;
  size_t n = strlen(culprit->reason);
  for (int j = 0; address && j < SIDES * r->x->nbuf; j++) {
    int k = j / SIDES;
    const struct extent *b = &r->x->buffer[j % SIDES][k];
    if (address + NEAR < b->low || address >= b->high + NEAR) continue;
    bool before = address < b->low, behind = address >= b->high;
    const char *kind = k < nin ? "input" : k < nin + nout ? "output" : "scratch";
    int number = k < nin ? k : k < nin + nout ? k - nin : k - nin - nout;
    snprintf(culprit->reason + n, sizeof culprit->reason - n, ", %llu bytes %s %s %d",
             (unsigned long long)(before   ? b->low - address
                                  : behind ? address - b->high
                                           : address - b->low),
             before   ? "before"
             : behind ? "behind"
                      : "into",
             kind, number);
    break;
  }
}

/* Serve a request for the entrants in x->order. The one in whose turn the sandbox ends is given the
 * outcome; those after it get their turn in a new one. */
static enum fvm_status request(struct race *r, enum request what, struct fvm_error *err) {
  struct exchange *x = r->x;
  x->request = what;
  for (int i = 0; i < x->n; i++) x->reply[x->order[i]].ns = 0;
  while (x->n > 0) {
    char why[120] = "";
    const struct sandbox_work w = {work_init, work_serve, &r->work};
    enum fvm_status st = r->box->pid ? FVM_OK : sandbox_start(r->box, &w, err);
    if (st) return st;
    int turn = x->turn;
    enum sandbox_end end =
        sandbox_call(r->box, &r->limit, &x->turn, pass_interrupt, r, why, sizeof why);
    if (end == SANDBOX_DONE) break;
    if (x->turn == turn)
      return fvm_fail(err, FVM_EENV,
                      "measuring process %s before it began; "
                      "free some memory",
                      why);
    struct reply *culprit = &x->reply[x->order[x->at]];
    culprit->outcome = end == SANDBOX_HUNG ? OUTCOME_TIMEOUT : OUTCOME_CRASHED;
    culprit->ns = 0;
    snprintf(culprit->reason, sizeof culprit->reason, "%s", why);
    if (end == SANDBOX_DIED) name_buffer(r, r->box->address, culprit);
    x->nbuf = 0;
    int done = x->at + 1;
    memmove(x->order, x->order + done, (size_t)(x->n - done) * sizeof *x->order);
    x->n -= done;
  }
  return interrupted(r) ? fvm_fail(err, FVM_EINTR, "interrupted; what was measured is kept")
                        : FVM_OK;
}

/* ---- taking in what came of a request ---- */

static void refuse(struct race *r, int i, enum outcome o, const char *reason) {
  r->alive[i] = false;
  r->e[i].outcome = o;
  snprintf(r->e[i].reason, sizeof r->e[i].reason, "%s", reason);
}

static enum fvm_status add_sample(struct entrant *e, int64_t ns, struct fvm_error *err) {
  if (!VEC_PUSH(&e->sample, ns)) return fvm_nomem(err);
  struct spread s = stats_spread(e->sample.v, e->sample.n);
  e->min_ns = s.min;
  e->median_ns = s.median;
  e->mad_ns = s.mad;
  return FVM_OK;
}

/* What came of a check. */
static void take_check(struct race *r, int i) {
  const struct reply *a = &r->x->reply[i];
  struct entrant *e = &r->e[i];
  if (a->outcome != OUTCOME_OK) refuse(r, i, a->outcome, a->reason);
  e->checked = a->outcome == OUTCOME_OK && a->check_ns;
  if (!e->checked) return; /* wrong, or not reached before an interrupt */
  e->error = a->error;
  e->work = a->work;
}

/* An unclean sample counts only for those that never had a clean one: better than nothing, and
 * marked as noisy. */
static enum fvm_status take(struct race *r, int i, int64_t *at, struct fvm_error *err) {
  const struct reply *a = &r->x->reply[i];
  struct entrant *e = &r->e[i];
  if (a->outcome != OUTCOME_OK) {
    refuse(r, i, a->outcome, a->reason);
    return FVM_OK;
  }
  if (!a->ns) return FVM_OK; /* not reached before an interrupt */
  e->dropped += a->dropped + !a->clean;
  if (!a->clean && e->sample.n && e->outcome == OUTCOME_OK) return FVM_OK;
  if (a->clean && e->outcome == OUTCOME_NOISY) e->sample.n = 0;
  e->outcome = a->clean ? OUTCOME_OK : OUTCOME_NOISY;
  snprintf(e->reason, sizeof e->reason, "%s", a->clean ? "" : "disturbed in every sample");
  e->counters = a->counters;
  *at = a->ns;
  r->calm_rounds[i] += !a->slow;
  return add_sample(e, a->ns, err);
}

/* ---- phases ---- */

/* FVM_EINTR when the caller has enough; st otherwise. */
static enum fvm_status tell(struct race *r, enum fvm_status st, struct fvm_error *err) {
  if (!r->on_round || r->on_round(r->arg, r->rounds) || st) return st;
  return fvm_fail(err, FVM_EINTR, "stopped; what was measured is kept");
}

/* Whoever was not found right yet is checked; whoever is not right does not race. */
static enum fvm_status admit(struct race *r, struct fvm_error *err) {
  enum fvm_status st = FVM_OK;
  for (int i = 0; i < r->n && !st;) {
    int chunk[CHUNK] = {0}, n = 0;
    for (; i < r->n && n < CHUNK; i++)
      if (r->alive[i] && !r->e[i].checked) chunk[n++] = i;
    if (n == 0) break;
    memcpy(r->x->order, chunk, (size_t)n * sizeof *chunk);
    r->x->n = n;
    st = request(r, REQUEST_CHECK, err);
    for (int k = 0; k < n && (!st || st == FVM_EINTR); k++) take_check(r, chunk[k]);
    st = tell(r, st, err);
  }
  return st;
}

/* Living members of unsettled groups in random order. */
static void draw_order(struct race *r) {
  struct exchange *x = r->x;
  x->n = 0;
  for (int i = 0; i < r->n; i++) {
    r->asked[i] = r->alive[i] && !race_settled(r, r->group[i]);
    if (r->asked[i]) x->order[x->n++] = i;
  }
  for (int i = x->n - 1; i > 0; i--) {
    r->random = fvm_hash(&r->random, sizeof r->random, 0);
    int j = (int)(r->random % (uint64_t)(i + 1)), swap = x->order[i];
    x->order[i] = x->order[j];
    x->order[j] = swap;
  }
}

static enum fvm_status one_round(struct race *r, struct fvm_error *err) {
  draw_order(r);
  enum fvm_status st = request(r, REQUEST_SAMPLE, err);
  for (int i = 0; i < r->n && (!st || st == FVM_EINTR); i++) {
    if (!r->asked[i]) continue; /* not race_settled: that changes with what is taken */
    enum fvm_status taken = take(r, i, &r->at[i * RACE_ROUNDS + r->rounds], err);
    if (taken) st = taken;
  }
  return st;
}

static bool all_settled(const struct race *r) {
  for (int i = 0; i < r->n; i++)
    if (r->alive[i] && !race_settled(r, r->group[i])) return false;
  return true;
}

static enum fvm_status run_rounds(struct race *r, struct fvm_error *err) {
  double start = seconds();
  enum fvm_status st = FVM_OK;
  while (!st && !all_settled(r)) {
    if (r->rounds >= LEAST_ROUNDS && seconds() - start > PATIENCE_S) break;
    st = one_round(r, err);
    r->rounds++;
    if (!st) race_eliminate(r);
    st = tell(r, st, err);
  }
  return st;
}

static enum fvm_status take_final(struct race *r, int i, struct fvm_error *err) {
  const struct reply *a = &r->x->reply[i];
  struct entrant *e = &r->e[i];
  if (a->outcome != OUTCOME_OK) refuse(r, i, a->outcome, a->reason);
  if (a->outcome != OUTCOME_OK || !a->ns) return FVM_OK;
  /* Samples of the race's own finals compare, however slow; later ones are to be better than those.
   * Nothing makes a run too fast, so a disturbed sample counts if it is the least. */
  bool bad = !a->clean || (a->slow && r->o.again),
       counts = !bad || !e->interp.n || a->ns < e->interp_ns;
  e->dropped += a->dropped + !counts;
  if (!counts) return FVM_OK;
  if (!VEC_PUSH(&e->interp, a->ns)) return fvm_nomem(err);
  e->interp_ns = stats_spread(e->interp.v, e->interp.n).min;
  return FVM_OK;
}

/* The best of each group under the interpreter; of others there is nothing more to know. */
static enum fvm_status run_finals(struct race *r, struct fvm_error *err) {
  double start = seconds();
  enum fvm_status st = FVM_OK;
  for (int i = 0; i < r->n; i++) r->asked[i] = r->o.again ? r->alive[i] : race_finalist(r, i);
  memcpy(r->alive, r->asked, (size_t)r->n * sizeof *r->alive);
  for (int round = 0; round < FINAL_ROUNDS && !st; round++) {
    if (round >= FINAL_LEAST && seconds() - start > PATIENCE_S) break;
    r->x->n = 0;
    for (int i = 0; i < r->n; i++) {
      r->asked[i] = r->alive[i];
      if (r->asked[i]) r->x->order[r->x->n++] = i;
    }
    if (r->x->n == 0) break;
    st = request(r, REQUEST_INTERP, err);
    for (int i = 0; i < r->n && !st; i++)
      if (r->asked[i]) st = take_final(r, i, err);
  }
  return st;
}

/* ---- set-up ---- */

static double default_limit(const struct bench *b) {
  double s = LIMIT_S + LIMIT_TIMES * b->reference_s;
  for (int i = 0; i < b->call->nin; i++)
    if (b->in[i]) s += LIMIT_BYTE_S * (double)tensor_bytes(&b->call->in[i]);
  return MIN(s, LIMIT_MOST_S);
}

/* Of all threads together. */
static void set_limit(struct race *r) {
  double s = r->o.timeout_s > 0 ? r->o.timeout_s : default_limit(r->bench);
  int threads = 1;
  for (int i = 0; i < r->n; i++) threads = MAX(threads, r->e[i].label.threads);
  r->limit = (struct sandbox_limit){s * threads, MAX(s * SLEEP_TIMES, SLEEP_S)};
}

static enum fvm_status race_init(struct race *r, struct fvm_error *err) {
  size_t n = (size_t)r->n;
  r->group = fvm_alloc(n, sizeof *r->group);
  r->alive = fvm_alloc(n, sizeof *r->alive);
  r->asked = fvm_alloc(n, sizeof *r->asked);
  r->calm_rounds = fvm_alloc(n, sizeof *r->calm_rounds);
  r->peace = r->o.peace ? r->o.peace : &r->own;
  r->at = fvm_alloc(n, RACE_ROUNDS * sizeof *r->at);
  r->shared_bytes = sizeof *r->x + n * (sizeof(struct reply) + sizeof(int));
  r->x = sandbox_share(r->shared_bytes);
  if (!r->group || !r->alive || !r->asked || !r->calm_rounds || !r->at || !r->x)
    return fvm_nomem(err);
  r->x->peace = *r->peace;
  r->x->reply = (struct reply *)(r->x + 1);
  r->x->order = (int *)(r->x->reply + n);
  if (r->o.sample_ns <= 0) r->o.sample_ns = SAMPLE_NS;
  if (r->o.max_rounds <= 0) r->o.max_rounds = ROUNDS;
  if (r->o.alone_rounds <= 0) r->o.alone_rounds = ALONE_ROUNDS;
  r->work =
      (struct work){.bench = r->bench,
                    .entrant = r->e,
                    .n = r->n,
                    .sample_ns = r->o.sample_ns,
                    .since_read = state_bytes(r->o.state, &r->o.caches),
                    .since_written = state_far(r->o.state) ? state_bytes(r->o.state, &r->o.caches)
                                                           : state_near(r->o.state, &r->o.caches),
                    .far = state_far(r->o.state),
                    .ukr = r->o.ukr ? r->o.ukr : ukr_table(cpu_isa()),
                    .x = r->x};
  r->box = keep_sandbox(r->keep);
  r->work.stream = keep_stream(r->keep, r->work.since_read);
  for (int i = 0; i < r->n; i++)
    r->x->reply[i] = (struct reply){.error = r->e[i].error, .work = r->e[i].work};
  for (int i = 0; i < r->n; i++)
    r->alive[i] = r->e[i].outcome == (r->o.again ? OUTCOME_OK : OUTCOME_COUNT);
  set_limit(r);
  race_groups(r);
  return FVM_OK;
}

static void race_free(struct race *r) {
  size_t n = (size_t)r->n;
  if (r->box) sandbox_stop(r->box);
  sandbox_unshare(r->x, r->shared_bytes);
  fvm_free(r->group, n, sizeof *r->group);
  fvm_free(r->alive, n, sizeof *r->alive);
  fvm_free(r->asked, n, sizeof *r->asked);
  fvm_free(r->calm_rounds, n, sizeof *r->calm_rounds);
  fvm_free(r->at, n, RACE_ROUNDS * sizeof *r->at);
}

enum fvm_status measure_race(const struct opcall *c, struct entrant *e, int n,
                             const struct measure_options *o,
                             bool (*on_round)(void *arg, int round), void *arg,
                             struct fvm_error *err) {
  struct race r = {.e = e, .n = n, .o = *o, .on_round = on_round, .arg = arg};
  if (n == 0) return FVM_OK;
  r.own_keep = o->keep ? NULL : measure_keep_new();
  r.keep = o->keep ? o->keep : r.own_keep;
  r.random = opcall_hash(c);
  enum fvm_status st = r.keep ? keep_bench(r.keep, c, &r.bench, err) : fvm_nomem(err);
  if (!st) st = race_init(&r, err);
  if (!st && !o->again) st = admit(&r, err);
  if (!st && !o->again) st = run_rounds(&r, err);
  if (!st && !o->quick) st = run_finals(&r, err);
  if (r.x) *r.peace = r.x->peace;
  race_free(&r);
  measure_keep_free(r.own_keep);
  return st;
}
