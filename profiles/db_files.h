/* Whole databases: merged, written as text and read back, pruned, verified. What the lines of the
 * text mean: docs/measuring.md. */
#ifndef FVM_DB_FILES_H
#define FVM_DB_FILES_H

#include "db.h"

/* Take over all that the files hold into the database `into`, made when it is new. Every file is
 * verified before the first change; FVM_EFORMAT names the one that is damaged or foreign, and then
 * nothing has changed. Where two files have the same row, the newest finished one stays: neither
 * the order of the files nor repetition matters. */
enum fvm_status db_merge(const char *into, const char *const *from, int n, struct fvm_error *err);

/* The forms of an export: lines of JSON that db_import reads back, or the results file of the T4
 * auto-tuning schema, which Kernel Tuner and others read. */
enum db_form { DB_LINES, DB_T4 };
/* All measurements, in an order that depends on nothing but them; each call of put gets a line
 * without its end and may return false to stop (FVM_EIO). Outputs of models by the reference are
 * left out: they can be computed again. */
enum fvm_status db_export(struct db *db, enum db_form form,
                          bool (*put)(void *arg, const char *line), void *arg,
                          struct fvm_error *err);
/* Merge exported lines into a database. FVM_EFORMAT names file and line of the first that is wrong;
 * then nothing has changed. Makes and removes INTO.import-PID. */
enum fvm_status db_import(const char *into, const char *const *from, int n, struct fvm_error *err);

/* Drop what no query asks for any more: of each machine the runs of all builds but its newest and
 * of older protocols, and what only they referred to; then shrink the file. */
struct db_pruned {
  int64_t runs, problems, models;
  int64_t bytes_before, bytes_after;
};
enum fvm_status db_prune(struct db *db, struct db_pruned *p, struct fvm_error *err);

/* FVM_EFORMAT: the file is damaged. Findings are what does not follow from the rest: a hash, a
 * minimum, a count; a line each, for people. The caller frees the text. */
struct db_findings {
  int64_t runs, problems; /* looked at */
  int64_t n;
  struct text text;
};
enum fvm_status db_verify(struct db *db, struct db_findings *f, struct fvm_error *err);

#endif
