/* What the files of `fluidvm plan` share. */
#ifndef FVM_CMD_PLAN_H
#define FVM_CMD_PLAN_H

#include "accuracy.h"
#include "session.h"

/* A plan whose error is known, or the reason why it is not. */
struct accuracy {
  double most;  /* --max-error */
  double error; /* of the plan's outputs; -1: not verified */
  double least; /* of all plans that were tried */
  struct expected x;
  bool have; /* x */
};
/* Write s->schedule; the file gets its name only when the checker agrees and its outputs are right.
 * May replace the schedule by a more exact one. */
enum fvm_status plan_write_accurate(struct session *s, struct cli *cli, const char *path,
                                    struct accuracy *a, struct fvm_error *err);
/* The object of --json. path: the file, to be named in it, or NULL. */
enum fvm_status plan_print_json(const struct session *s, double error, const char *path,
                                struct fvm_error *err);
/* --pareto: the plans of the front, their table and their picture. */
enum fvm_status plan_front(struct session *s, struct cli *cli, const char *out, struct accuracy *a,
                           struct fvm_error *err);

#endif
