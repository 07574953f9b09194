/* A stored measurement made again, from its own record: problem and label are texts that are read
 * back, the data come from seeds. No model is needed, and none was ever stored. */
#ifndef FVM_REPLAY_H
#define FVM_REPLAY_H

#include "db_files.h"

struct replay {
  struct db_record stored; /* texts are the arena's */
  /* What came of it now; times in the engine of the stored one. */
  enum outcome outcome;
  char reason[160];
  int64_t min_ns, median_ns, n;
  bool same_machine, same_build, same_protocol;
  bool same_outcome; /* both sound, or failed in the same way */
  double drift;      /* minimum now over the stored one; 0: one of them has none */
};
/* FVM_EUSAGE: there is no such run. FVM_EUNSUPPORTED: this build or machine does not offer what ran
 * then, so nothing was measured. */
enum fvm_status replay_run(struct db *db, int64_t id, const struct machine *m,
                           volatile const int *interrupted, struct arena *a, struct replay *r,
                           struct fvm_error *err);

/* Sound runs of this machine and protocol, as many as wanted or there are, measured again: the same
 * ones each time. What is off by more than the limit is tried once more, since a neighbour may have
 * been in the way. */
struct replay_sample {
  int wanted;   /* how many */
  double limit; /* most that a minimum may have grown or shrunk, as a factor */
  /* Called after each. */
  void (*on_run)(void *arg, const struct replay *r, bool off);
  void *arg;
  /* What came of it. */
  int n, off, gone; /* gone: of labels that are not offered any more */
  double median, worst;
};
enum fvm_status replay_sample(struct db *db, const struct machine *m,
                              volatile const int *interrupted, struct replay_sample *s,
                              struct fvm_error *err);

#endif
