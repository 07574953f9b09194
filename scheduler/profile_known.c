/* What is known of all labels of a set, and guesses of the rest. Contract: profile_impl.h. */
#include "profile_impl.h"

#include <math.h>
#include <string.h>

/* Times from short races are taken for lower by a part, so that what may be the best is measured
 * for longer; a time by another build of the same machine may be too high by that factor. */
static const double OTHER_BUILD = 1.1;
/* What is measured comes close to a peak that is measured, too. */
static const double PEAK = 0.95;

/* ---- finding labels by text ---- */

static size_t place_of(const struct known *k, uint64_t problem, const char *label) {
  uint64_t h = fvm_hash(label, strlen(label), problem);
  for (size_t i = h & (k->nslot - 1);; i = (i + 1) & (k->nslot - 1)) {
    int q = k->slot[i].problem;
    if (q < 0 || (k->set->problem.v[q].hash == problem &&
                  !strcmp(k->problem[q].label[k->slot[i].label].text, label)))
      return i;
  }
}

struct known_label *known_find(const struct known *k, uint64_t problem, const char *label,
                               int *index) {
  size_t i = place_of(k, problem, label);
  int q = k->slot[i].problem;
  if (index) *index = q;
  return q < 0 ? NULL : &k->problem[q].label[k->slot[i].label];
}

static bool make_index(struct known *k) {
  size_t n = 0;
  for (size_t q = 0; q < k->set->problem.n; q++) n += (size_t)k->problem[q].n;
  for (k->nslot = 16; k->nslot < 2 * n;) k->nslot *= 2;
  k->slot = ARENA_NEW(&k->arena, struct known_slot, k->nslot);
  for (size_t i = 0; i < k->nslot && k->slot; i++) k->slot[i].problem = -1;
  for (int q = 0; q < (int)k->set->problem.n && k->slot; q++)
    for (int i = 0; i < k->problem[q].n; i++) {
      size_t at = place_of(k, k->set->problem.v[q].hash, k->problem[q].label[i].text);
      k->slot[at].problem = q;
      k->slot[at].label = i;
    }
  return k->slot != NULL;
}

/* ---- times in the database ---- */

static enum fvm_status look_up(struct profiler *p, const struct profile_problem *q,
                               struct known_label *l) {
  struct db_known x;
  bool found;
  enum fvm_status st = db_lookup(p->db, p->machine, p->build, profile_state(p, q), q->hash, l->text,
                                 &x, &found, p->err);
  if (st || !found) return st;
  if (profile_failed(x.outcome))
    l->state = KNOWN_BAD;
  else if (x.ns > 0)
    l->state = x.finished ? KNOWN_SURELY : KNOWN_ROUGHLY;
  l->ns = x.ns;
  l->lost = x.outcome == OUTCOME_LOST;
  l->finals = x.finals;
  l->settled = x.settled;
  return FVM_OK;
}

/* ---- what candidates do ---- */

static enum fvm_status count_work(struct known *k, struct profiler *p, int q, int i, bool *new) {
  const struct profile_problem *x = &k->set->problem.v[q];
  struct known_label *l = &k->problem[q].label[i];
  struct arena a = {0};
  struct entrant e = {.label = l->label, .text = l->text, .outcome = OUTCOME_COUNT};
  const char *stored;
  enum fvm_status st = db_get_work(p->db, x->hash, l->text, &a, &stored, p->err);
  *new = false;
  if (!st && !(stored && prior_work_parse(stored, &k->work[q][i]))) {
    *new = true;
    st = profile_program(x, &e, &a, p->err);
    if (!st && e.outcome == OUTCOME_COUNT)
      st = prior_work(x->is_convert ? NULL : &x->call, &e.program, l->label.threads, &p->o->target,
                      &k->work[q][i], p->err);
    if (st == FVM_EUNSUPPORTED) st = FVM_OK; /* no work, no guess: the floor is 0 */
  }
  arena_free(&a);
  return st;
}

static enum fvm_status store_work(struct known *k, struct profiler *p, int q, const bool *new) {
  const struct profile_problem *x = &k->set->problem.v[q];
  int64_t id;
  int n = 0;
  struct arena a = {0};
  struct db_work *w = ARENA_NEW(&a, struct db_work, k->problem[q].n + 1);
  enum fvm_status st = w ? FVM_OK : fvm_nomem(p->err);
  for (int i = 0; i < k->problem[q].n && !st; i++) {
    struct text t = {0};
    if (!new[i] || !k->work[q][i].n) continue;
    prior_work_text(&k->work[q][i], &t);
    const char *kept = t.failed ? NULL : arena_strdup(&a, t.v);
    text_free(&t);
    if (!kept) st = fvm_nomem(p->err);
    w[n++] = (struct db_work){k->problem[q].label[i].text, kept};
  }
  if (!st && n) st = db_problem(p->db, x->hash, x->text, x->op, &id, p->err);
  if (!st && n) st = db_put_work(p->db, id, w, n, p->err);
  arena_free(&a);
  return st;
}

/* ns that the arithmetic takes at the peak, and weights that have to come from memory. */
static double floor_of(const struct known *k, const struct prior_work *w, enum data_state state) {
  double flops = 0, cold = 0;
  for (int i = 0; i < w->n; i++) {
    if (w->term[i].key < UKR_COUNT) flops += w->term[i].v;
    bool weights = w->term[i].key == PRIOR_CONST || w->term[i].key == PRIOR_CONST_TEAM;
    if (weights && prior_is_cold(state)) cold += w->term[i].v;
  }
  return PEAK * fmax(flops / k->prior.gflops, cold / k->prior.gbytes);
}

static enum fvm_status open_problem(struct known *k, struct profiler *p, int q) {
  const struct profile_problem *x = &k->set->problem.v[q];
  struct known_problem *y = &k->problem[q];
  struct entrant *e;
  enum fvm_status st = profile_entrants(x, &k->arena, &e, p->err);
  if (st) return st;
  y->n = x->nlabel;
  y->label = ARENA_NEW(&k->arena, struct known_label, MAX(y->n, 1));
  k->work[q] = ARENA_NEW(&k->arena, struct prior_work, MAX(y->n, 1));
  bool any = false, *new = ARENA_NEW(&k->arena, bool, MAX(y->n, 1));
  if (!y->label || !k->work[q] || !new) return fvm_nomem(p->err);
  for (int i = 0; i < y->n && !st; i++) {
    y->label[i] = (struct known_label){.text = e[i].text, .label = e[i].label};
    st = look_up(p, x, &y->label[i]);
    if (!st) st = count_work(k, p, q, i, &new[i]);
    any |= new[i];
  }
  return st || !any ? st : store_work(k, p, q, new);
}

/* ---- guesses ---- */

static bool take_other(void *known, const struct db_run *r) {
  struct known *k = known;
  k->runs++;
  struct known_label *l = r->here && !r->counts ? known_find(k, r->problem, r->label, NULL) : NULL;
  if (!l) return true;
  l->guess = (double)r->ns;
  l->seen = true;
  return true;
}

enum fvm_status known_guess(struct known *k, struct profiler *p) {
  enum fvm_status st = prior_fit(&k->prior, p->db, p->machine, p->build, p->err);
  if (!st) st = prior_store(&k->prior, p->db, p->machine, p->err);
  for (size_t q = 0; q < k->set->problem.n && !st; q++)
    for (int i = 0; i < k->problem[q].n; i++) {
      struct known_label *l = &k->problem[q].label[i];
      l->floor = floor_of(k, &k->work[q][i], profile_state(p, &k->set->problem.v[q]));
      if (!l->seen)
        l->guess =
            prior_ns(&k->prior, &k->work[q][i], profile_state(p, &k->set->problem.v[q]), l->text);
    }
  k->runs = 0;
  if (!st) st = db_runs(p->db, p->machine, p->build, take_other, k, p->err);
  for (size_t q = 0; q < k->set->problem.n && !st; q++) known_update(k, (int)q);
  return st;
}

bool known_timed(const struct known_label *l) {
  return (l->state == KNOWN_ROUGHLY || l->state == KNOWN_SURELY) && l->ns > 0;
}

/* Of one candidate and number of threads. */
static bool are_kin(const struct known_label *a, const struct known_label *b) {
  return a->label.cand == b->label.cand && a->label.threads == b->label.threads;
}

/* The fastest of a label's kin; NULL: none is known. */
static const struct known_label *best_kin(const struct known_problem *y,
                                          const struct known_label *l) {
  const struct known_label *best = NULL;
  for (int i = 0; i < y->n; i++)
    if (known_timed(&y->label[i]) && are_kin(&y->label[i], l) &&
        (!best || y->label[i].ns < best->ns))
      best = &y->label[i];
  return best;
}

/* What more threads gain at most, where the same candidate is known by fewer; by fewer threads it
 * is not faster. 0: it is not known. */
static double best_scaling(const struct known_problem *y, const struct known_label *l) {
  double best = 0;
  for (int i = 0; i < y->n; i++) {
    const struct known_label *r = &y->label[i];
    if (!known_timed(r) || r->label.cand != l->label.cand) continue;
    double ns = (double)r->ns * MIN(1, (double)r->label.threads / l->label.threads);
    if (best == 0 || ns < best) best = ns;
  }
  return best;
}

double known_slack(const struct known *k, const struct known_label *l) {
  return l->seen ? OTHER_BUILD : prior_slack(&k->prior, l->text);
}

static int64_t whole(double ns) { return ns < 1 ? 1 : ns > 1e17 ? (int64_t)1e17 : (int64_t)ns; }

void known_update(struct known *k, int problem) {
  const struct known_problem *y = &k->problem[problem];
  for (int i = 0; i < y->n; i++) {
    struct known_label *l = &y->label[i];
    const struct known_label *r = best_kin(y, l);
    double slack = known_slack(k, l), guess = fmax(l->guess, 1), scaled = best_scaling(y, l);
    if (r && r->seen == l->seen)
      guess *= (double)r->ns / fmax(r->guess, 1);
    else if (!l->seen)
      slack = scaled > 0 ? fmax(k->prior.above, guess / scaled) : k->prior.above;
    l->likely = whole(fmax(guess, l->floor));
    l->low = whole(fmax(guess / slack, l->floor));
    if (k->o->low) l->likely = l->low = k->o->low(&k->set->problem.v[problem].call, &l->label);
  }
}

/* ---- as costs ---- */

struct source {
  struct cost cost;
  struct known *known;
  enum { LOW, TIMED, LIKELY } what;
};

static int64_t cost_of(const struct source *s, const struct known_label *l) {
  if (!l) return COST_FORBIDDEN; /* a label that the set does not have */
  switch (l->state) {
  case KNOWN_BAD:
    return COST_FORBIDDEN;
  case KNOWN_ROUGHLY:
    return s->what == LOW ? whole((1 - KNOWN_ROUGH) * (double)l->ns) : l->ns;
  case KNOWN_SURELY:
    return l->ns;
  default:
    return s->what == LOW ? l->low : s->what == LIKELY ? l->likely : COST_UNKNOWN;
  }
}

static int64_t ask(struct cost *c, uint64_t problem, struct text *label) {
  const struct source *s = (const struct source *)c;
  int64_t ns =
      label->failed ? COST_FORBIDDEN : cost_of(s, known_find(s->known, problem, label->v, NULL));
  text_free(label);
  return ns;
}

static int64_t known_node(struct cost *c, const struct opcall *call, const struct label *l) {
  struct text label = {0};
  label_text(call, l, &label);
  return cost_charged(ask(c, opcall_hash(call), &label), call, l);
}

static int64_t known_convert(struct cost *c, const struct tensor *t, enum layout from,
                             enum layout to, int threads) {
  struct text label = {0};
  convert_label(threads, &label);
  return ask(c, convert_hash(t, from, to), &label);
}

static void source_free(struct cost *c) { fvm_free(c, 1, sizeof(struct source)); }

static struct source *source_new(struct known *k, struct cost *fallback) {
  struct source *s = fvm_alloc(1, sizeof *s);
  if (!s) return NULL;
  *s = (struct source){.known = k};
  s->cost = (struct cost){.node = known_node, .convert = known_convert, .free = source_free};
  s->cost.name = "profile";
  s->cost.fallback = fallback;
  return s;
}

struct cost *known_cost(struct known *k, bool optimistic) {
  struct source *s = source_new(k, NULL), *timed;
  if (!s) return NULL;
  s->what = optimistic ? LOW : LIKELY;
  if (optimistic) return &s->cost;
  if (!(timed = source_new(k, &s->cost))) {
    source_free(&s->cost);
    return NULL;
  }
  timed->what = TIMED;
  timed->cost.measured = true;
  return &timed->cost;
}

/* ---- measuring ---- */

static void learn(struct known_label *l, const struct entrant *e, enum race_kind kind, bool ended) {
  int64_t ns = e->interp_ns ? e->interp_ns : e->min_ns;
  bool rough = kind == RACE_ROUGH, sure = l->state == KNOWN_SURELY;
  if (outcome_is_sound(e->outcome) && e->work.known) {
    l->checked = true;
    l->error = e->error;
    l->work = e->work;
  }
  bool never = ns <= 0 && l->state == KNOWN_NOT && ended; /* no sample could be had of it */
  if (profile_failed(e->outcome) || never) {
    l->state = KNOWN_BAD;
  } else if (ns > 0 && !(sure && (rough || !ended))) {
    l->ns = ns;
    l->lost = e->outcome == OUTCOME_LOST;
    l->state = rough || !ended ? KNOWN_ROUGHLY : KNOWN_SURELY;
    if (!rough) l->finals = (int)e->interp.n;
  }
}

/* As an entrant, with nothing known of its times. */
static struct entrant enter(const struct known_label *l) {
  return (struct entrant){.label = l->label,
                          .text = l->text,
                          .outcome = OUTCOME_COUNT,
                          .checked = l->checked,
                          .error = l->error,
                          .work = l->work};
}

enum fvm_status known_race(struct known *k, struct profiler *p, int problem, const bool *in,
                           enum race_kind kind) {
  struct known_problem *y = &k->problem[problem];
  struct arena a = {0};
  int n = 0;
  struct entrant *e = ARENA_NEW(&a, struct entrant, MAX(y->n, 1));
  uint8_t *known = ARENA_NEW(&a, uint8_t, MAX(y->n, 1));
  struct known_label **of = ARENA_NEW(&a, struct known_label *, MAX(y->n, 1));
  enum fvm_status st = e && known && of ? FVM_OK : fvm_nomem(p->err);
  for (int i = 0; i < y->n && !st; i++) {
    if (!in[i]) continue;
    of[n] = &y->label[i];
    known[n] = (uint8_t)y->label[i].state;
    e[n++] = enter(&y->label[i]);
  }
  if (!st) st = profile_race(p, &k->set->problem.v[problem], e, n, known, kind, &a);
  for (int i = 0; i < n; i++) {
    if (!st || st == FVM_EINTR) learn(of[i], &e[i], kind, !st);
    entrant_free(&e[i]);
  }
  arena_free(&a);
  return st;
}

/* ---- open, close ---- */

static enum fvm_status find_peaks(struct known *k, struct profiler *p) {
  bool found;
  double gflops = p->o->gflops, gbytes = p->o->gbytes;
  enum fvm_status st = prior_load(&k->prior, p->db, p->machine, &found, p->err);
  if (st || (found && !gflops)) return st;
  if (!gflops) machine_speed(&gflops, &gbytes);
  if (!(gflops > 0 && gbytes > 0))
    return fvm_fail(p->err, FVM_EENV, "the machine's speed cannot be measured; free some memory");
  prior_init(&k->prior, gflops, gbytes);
  return FVM_OK;
}

enum fvm_status known_open(struct known *k, struct profiler *p) {
  *k = (struct known){.o = p->o, .set = &p->set};
  k->problem = ARENA_NEW(&k->arena, struct known_problem, MAX(p->set.problem.n, 1));
  k->work = ARENA_NEW(&k->arena, struct prior_work *, MAX(p->set.problem.n, 1));
  enum fvm_status st = k->problem && k->work ? find_peaks(k, p) : fvm_nomem(p->err);
  for (int q = 0; q < (int)p->set.problem.n && !st; q++) st = open_problem(k, p, q);
  if (!st && !make_index(k)) st = fvm_nomem(p->err);
  return st ? st : known_guess(k, p);
}

void known_close(struct known *k) { arena_free(&k->arena); }
