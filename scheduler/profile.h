/* Profiling a graph: race the labels of all its problems, and the conversions between layouts that
 * those labels may need, and store what comes of it. What the database already knows of this
 * machine and build is not measured again. */
#ifndef FVM_PROFILE_H
#define FVM_PROFILE_H

#include "../profiles/db.h"
#include "graph.h"

struct profile_totals {
  int problems;        /* distinct ones, conversions included */
  int problems_done;   /* of them measured to the end, now or earlier */
  int labels_total;    /* candidates of all problems */
  int labels_known;    /* stored by earlier calls */
  int labels_measured; /* by this call */
  int failed;          /* of those measured: wrong, crashed, timeout, unsupported */
  int64_t samples;     /* taken by this call */
};
enum profile_event_kind {
  PROFILE_BEGIN,   /* everything is counted, nothing measured yet */
  PROFILE_PROBLEM, /* a race begins: text */
  PROFILE_SAMPLE,  /* a candidate has a new sample: text, label, ns */
  PROFILE_FAILED,  /* a candidate will not be used: text, label, outcome, reason */
  PROFILE_BEST,    /* a race is over: text, label and ns of the fastest (label NULL: none) */
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
  volatile const int *interrupted; /* may be NULL */
  struct measure_options measure;  /* zero: the protocol's own; interrupted is set from above */
  void (*on_event)(void *arg, const struct profile_event *e); /* may be NULL */
  void *arg;
};
/* FVM_EINTR when interrupted; running out of budget is no failure (problems_done tells). */
enum fvm_status profile_graph(const struct graph *g, struct db *db, const struct machine *m,
                              const struct profile_options *o, struct profile_totals *totals,
                              struct fvm_error *err);

#endif
