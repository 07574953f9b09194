/* Finals again, at other times. What else a machine does, and a neighbour on the same one, lasts
 * for seconds: longer than a race, all of whose samples may lie in a bad time. (Seen on a shared
 * host: two races of one label were 7 % apart in the median and a tenth of them 30 %; twelve visits
 * of one label, minutes long in all, had minima within 1 to 2 %.) So what plans rest on is visited
 * until it has ENOUGH samples and the last visit has not changed its time. */
#include "profile_impl.h"

/* So many samples are enough, unless the last visit has lowered the time by more than a part; but
 * what is slower by some factor in its group is not for plans. */
enum { ENOUGH = 8 };
static const double CHANGE = 0.01, CLOSE = 1.08;
/* Passes, and the part of the time before them after which no more than that are made: spells in
 * which no sample is good last for seconds. */
enum { PASSES = 6 };
static const double SHARE = 0.8;

static bool had_finals(const struct known_label *l) {
  return l->state == KNOWN_SURELY && l->finals > 0;
}

static bool wants_visit(const struct opcall *c, const struct known_problem *y, int i) {
  const struct known_label *l = &y->label[i];
  if (!had_finals(l) || l->settled) return false;
  if (l->finals < ENOUGH || !l->visits) return true;
  if (!l->moved) return false;
  for (int k = 0; k < y->n; k++) {
    const struct known_label *r = &y->label[k];
    if (had_finals(r) && (double)l->ns > CLOSE * (double)r->ns &&
        measure_same_group(c, &l->label, &r->label))
      return false;
  }
  return true;
}

static enum fvm_status visit(struct profiler *p, struct known *k, int q, int *n) {
  struct known_problem *y = &k->problem[q];
  struct arena a = {0};
  bool *in = ARENA_NEW(&a, bool, MAX(y->n, 1));
  int64_t *before = ARENA_NEW(&a, int64_t, MAX(y->n, 1));
  int wanted = 0;
  enum fvm_status st = in && before ? FVM_OK : fvm_nomem(p->err);
  for (int i = 0; i < y->n && !st; i++) {
    before[i] = y->label[i].ns;
    in[i] = wants_visit(&k->set->problem.v[q].call, y, i);
    wanted += in[i];
  }
  if (wanted) st = known_race(k, p, q, in, RACE_AGAIN);
  for (int i = 0; i < y->n && wanted && !st; i++) {
    struct known_label *l = &y->label[i];
    if (!in[i] || !had_finals(l)) continue;
    l->moved = (double)l->ns < (1 - CHANGE) * (double)before[i];
    l->visits++;
  }
  *n += wanted;
  arena_free(&a);
  return st;
}

/* Once over all problems. *n: so many labels were visited. */
static enum fvm_status pass(struct profiler *p, struct known *k, int *n) {
  enum fvm_status st = FVM_OK;
  *n = 0;
  for (int q = 0; q < (int)k->set->problem.n && !st && !profile_is_over(p); q++) {
    if (p->o->interrupted && *p->o->interrupted)
      return fvm_fail(p->err, FVM_EINTR, "interrupted; what was measured is kept");
    st = visit(p, k, q, n);
  }
  return st;
}

/* What is known now is what plans may rest on. */
static enum fvm_status settle(struct profiler *p, struct known *k) {
  struct arena a = {0};
  int n = (int)k->set->problem.n;
  struct db_problem_state *v = ARENA_NEW(&a, struct db_problem_state, MAX(n, 1));
  for (int q = 0; q < n && v; q++) {
    const struct profile_problem *x = &k->set->problem.v[q];
    v[q] = (struct db_problem_state){x->hash, profile_state(p, x)};
  }
  enum fvm_status st = v ? db_settle(p->db, p->machine, p->build, v, n, p->err) : fvm_nomem(p->err);
  arena_free(&a);
  return st;
}

enum fvm_status profile_again(struct profiler *p, struct known *k,
                              enum fvm_status (*replan)(void *arg), void *arg) {
  enum fvm_status st = FVM_OK;
  double start = profile_seconds(), most = SHARE * (start - p->start);
  for (int i = 0, n = 1; n > 0 && !st && !p->out_of_budget; i++) {
    if (i >= PASSES && profile_seconds() - start > most) break;
    st = pass(p, k, &n);
    if (!st && n > 0 && replan && !p->out_of_budget) st = replan(arg);
  }
  return st || p->out_of_budget ? st : settle(p, k);
}
