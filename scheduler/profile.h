/* Profiling a graph: race labels of its problems, and of the conversions between layouts that those
 * labels may need, and store what comes of it. Which ones: those that the best plan for any of the
 * target's numbers of threads may use (profile_lazy.c), or all. What the database already knows of
 * this machine and build is not measured again, except beside a new rival. */
#ifndef FVM_PROFILE_H
#define FVM_PROFILE_H

#include "../profiles/db.h"
#include "graph.h"

struct profile_plan {
  int threads;
  int64_t ns, least_ns; /* of the best plan as far as is known; what no plan can be below */
};
struct profile_totals {
  int problems;                /* distinct ones, conversions included */
  int problems_done;           /* exhaustive: of them measured to the end, now or earlier */
  bool complete;               /* there is nothing left that would have to be measured */
  int labels_total;            /* candidates of all problems */
  int labels_known;            /* stored by earlier calls */
  int labels_measured;         /* by this call */
  int failed;                  /* of those measured: wrong, crashed, timeout, unsupported */
  int64_t samples;             /* taken by this call */
  struct profile_plan plan[8]; /* lazy, at the end: for each number of threads */
  int nplan;
  int prior_runs; /* lazy: what the prior was fitted to, and its errors (prior.h) */
  double prior_median, prior_high;
  double calm; /* part of the finals' time in which the machine was at its best; 1 without finals */
};
enum profile_event_kind {
  PROFILE_BEGIN,   /* everything is counted, nothing measured yet */
  PROFILE_PROBLEM, /* a race begins: text */
  PROFILE_SAMPLE,  /* a candidate has a new sample: text, label, ns */
  PROFILE_FAILED,  /* a candidate will not be used: text, label, outcome, reason */
  PROFILE_BEST,    /* a race is over: text, label and ns of the fastest (label NULL: none) */
  PROFILE_AGAIN,   /* finals of a problem are repeated: text */
  PROFILE_EXPECT   /* all is measured; the model's outputs are computed by the reference */
};
struct profile_event {
  enum profile_event_kind kind;
  const char *text; /* of the problem */
  const char *label, *reason;
  enum outcome outcome;
  int64_t ns;
  const struct profile_totals *totals;
};
struct profile_options {
  struct target target;
  const char *model;               /* its name in the database; NULL: the graph's */
  double budget_s;                 /* 0: no limit */
  bool exhaustive;                 /* race all labels */
  bool no_reference;               /* leave out the model's outputs by the reference */
  volatile const int *interrupted; /* may be NULL */
  struct measure_options measure;  /* zero: the protocol's own; interrupted is set from above */
  void (*on_event)(void *arg, const struct profile_event *e); /* may be NULL */
  void *arg;
  double gflops, gbytes; /* of one core; 0: from the database, or measured */
  /* For tests: instead of measure_race; the same contract. */
  enum fvm_status (*race)(const struct opcall *c, struct entrant *e, int n,
                          const struct measure_options *o, bool (*on_round)(void *arg, int round),
                          void *arg, struct fvm_error *err);
  /* For tests: ns that a label takes at least, instead of guesses. */
  int64_t (*low)(const struct opcall *c, const struct label *l);
};
/* FVM_EINTR when interrupted; running out of budget is no failure (complete tells). */
enum fvm_status profile_graph(const struct graph *g, struct db *db, const struct machine *m,
                              const struct profile_options *o, struct profile_totals *totals,
                              struct fvm_error *err);

#endif
