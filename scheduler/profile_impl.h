/* Between the parts of profiling: the whole (profile.c), one race (profile_race.c), what is known
 * of labels (profile_known.c), which of them to measure (profile_lazy.c). */
#ifndef FVM_PROFILE_IMPL_H
#define FVM_PROFILE_IMPL_H

#include "cost.h"
#include "prior.h"
#include "profile.h"
#include "profile_set.h"
#include "states.h"

struct profiler {
  const struct profile_options *o;
  const struct graph *g;
  struct db *db;
  int64_t machine, build;
  struct states states;
  struct peace peace;
  struct profile_set set;
  struct profile_totals *totals;
  double start;
  struct measure_keep *keep;
  bool out_of_budget;
  struct fvm_error *err;
  /* The race that is on. */
  const struct profile_problem *problem;
  int64_t problem_id;
  struct entrant *e; /* only those that take part */
  int n;
  struct seen { /* of each entrant, when it was stored last */
    size_t samples, finals;
    enum outcome outcome;
    bool known; /* before this race */
    bool keeps; /* what is stored of it stays until the race has ended */
  } * seen;
  enum fvm_status status; /* of storing in the midst of a race, */
  struct fvm_error why;   /* which the race's own error would hide */
};

void profile_send(const struct profiler *p, enum profile_event_kind kind, const struct entrant *e);
enum data_state profile_state(const struct profiler *p, const struct profile_problem *q);
bool profile_failed(enum outcome o);
double profile_seconds(void);

/* Whether the budget is spent, which is remembered. */
bool profile_is_over(struct profiler *p);

enum race_kind {
  RACE_ROUGH, /* short: what it tells of times is not final, and what is known surely stays */
  RACE_FULL,
  RACE_AGAIN /* only finals, of entrants that took part in some: more of their samples */
};
/* Programs for entrants of a problem, their race, and whatever comes of it into the database. known
 * (NULL: none) tells how entrants were known before: 0 not, 1 roughly, 2 surely. The caller
 * frees the entrants. */
enum fvm_status profile_race(struct profiler *p, const struct profile_problem *q, struct entrant *e,
                             int n, const uint8_t *known, enum race_kind kind, struct arena *a);

/* ---- what is known of all labels of a set ---- */
enum knowledge {
  KNOWN_NOT,
  KNOWN_ROUGHLY, /* from a race that was short, or was not run to its end */
  KNOWN_SURELY,
  KNOWN_BAD /* wrong, crashed, ...: not to be used */
};
struct known_label {
  const char *text;
  struct label label;
  enum knowledge state;
  int64_t ns;     /* of those that are known */
  double guess;   /* ns, by what was measured in other builds, or by the prior */
  bool seen;      /* by another build, on this machine */
  double floor;   /* ns: what arithmetic and memory take at the machine's peaks */
  int64_t likely; /* ns of those that are not known: the guess, set right by the times of its kin */
  int64_t low;    /* ns that it takes at least, as far as guesses can tell */
  bool wanted;
  bool lost;    /* a race, before its end: its time is of few samples */
  bool checked; /* found right in a race of this call, with this error, doing this: */
  double error;
  struct virtual_counters work;
  int finals;   /* samples under the interpreter */
  int visits;   /* of them in this call */
  bool moved;   /* the last visit changed the time */
  bool settled; /* needs no visit any more */
};
struct known_problem {
  struct known_label *label;
  int n;
};
struct known {
  struct arena arena;
  const struct profile_options *o;
  const struct profile_set *set;
  struct known_problem *problem; /* as in the set */
  struct prior prior;
  struct prior_work **work; /* by problem: of each label */
  int64_t runs;             /* that the prior was fitted to */
  struct known_slot {
    int problem, label; /* by hash of both; problem -1: free */
  } * slot;
  size_t nslot;
};
/* Look up all labels of p->set, find out what those do whose work is not stored, fit the prior. */
enum fvm_status known_open(struct known *k, struct profiler *p);
void known_close(struct known *k);
/* NULL when there is no such label. */
struct known_label *known_find(const struct known *k, uint64_t problem, const char *label,
                               int *index);
/* Fit the prior anew to what the database holds by now, and guess anew. */
enum fvm_status known_guess(struct known *k, struct profiler *p);
/* Guess the times of a problem's unknown labels, given those that are known by now. */
void known_update(struct known *k, int problem);
/* By this part a time from a short race may be too high. */
#define KNOWN_ROUGH 0.04
/* Whether its time was measured, however roughly. */
bool known_timed(const struct known_label *l);
/* By how much a guess beside the time of its kin may be too high. */
double known_slack(const struct known *k, const struct known_label *l);

/* Race those labels of a problem that are in, and learn what comes of it. */
enum fvm_status known_race(struct known *k, struct profiler *p, int problem, const bool *in,
                           enum race_kind kind);

/* As a source of costs. Optimistic: what each label takes at least. Else times where they are
 * known, which count as measured, and guesses. NULL when memory is out. */
struct cost *known_cost(struct known *k, bool optimistic);

/* Pass after pass over all problems: the finals again of those labels that took part in some and
 * have few samples, or have just changed and are close to the best of their group; until there are
 * none of them or the time for that is over. replan (NULL: nothing) comes after each pass. */
enum fvm_status profile_again(struct profiler *p, struct known *k,
                              enum fvm_status (*replan)(void *arg), void *arg);

/* Measure what the best plans use, until they use nothing that is not known surely. */
enum fvm_status profile_lazily(struct profiler *p);

#endif
