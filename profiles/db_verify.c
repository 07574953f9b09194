/* Whether a database is what it seems: the file, the references, and every number that follows from
 * others. */
#include "db_files.h"
#include "db_impl.h"

#include <stdlib.h>
#include <string.h>

#include "stats.h"

static const char *column(const struct query *q, int i) {
  const char *s = (const char *)sqlite3_column_text(q->stmt, i);
  return s ? s : "";
}

static enum fvm_status unsound(const struct db *db, const char *what, struct fvm_error *err) {
  return fvm_fail(err, FVM_EFORMAT,
                  "%s: database is damaged: %.200s; restore a copy or profile into a new file",
                  db->path, what);
}

static enum fvm_status check_file(struct db *db, struct fvm_error *err) {
  struct query q;
  char what[200];
  enum fvm_status st = db_query(db, SQL_INTEGRITY, &q, err, "");
  if (st) return st;
  sqlite3_snprintf(sizeof what, what, "%s", column(&q, 0));
  db_end(&q);
  if (strcmp(what, "ok") != 0) return unsound(db, what, err);
  st = db_query(db, SQL_REFERENCES, &q, err, "");
  if (st || !q.row) return st;
  sqlite3_snprintf(sizeof what, what,
                   "row %lld of table %s refers to a row of %s that is not there",
                   (long long)sqlite3_column_int64(q.stmt, 1), column(&q, 0), column(&q, 2));
  db_end(&q);
  return unsound(db, what, err);
}

/* ---- findings ---- */

/* What is wrong with a run whose samples are known; NULL: nothing. Columns: statements.def. */
static const char *judge(const struct query *q, const struct db_samples *x) {
  bool timed = sqlite3_column_type(q->stmt, 3) != SQLITE_NULL;
  if (outcome_parse(column(q, 1)) == OUTCOME_COUNT) return "unknown status";
  if ((int64_t)x->list.n != sqlite3_column_int64(q->stmt, 2) || timed != (x->list.n > 0))
    return "number of samples";
  if (!timed)
    return strcmp(column(q, 1), outcome_name(OUTCOME_OK)) != 0 ? NULL : "right, but without times";
  struct spread s = stats_spread(x->list.v, x->list.n);
  bool follow = s.min == sqlite3_column_int64(q->stmt, 3) &&
                s.median == sqlite3_column_int64(q->stmt, 4) &&
                s.mad == sqlite3_column_int64(q->stmt, 5);
  return follow ? NULL : "minimum, median or deviation do not follow from the samples";
}

static void report(struct db_findings *f, const char *what, int64_t id, const char *why) {
  enum { SHOWN = 20 };
  if (f->n++ < SHOWN)
    text_printf(&f->text, "%s %lld: %s\n", what, (long long)id, why);
  else if (f->n == SHOWN + 1)
    text_printf(&f->text, "and more\n");
}

static enum fvm_status verify_run(const struct query *q, struct db_findings *f,
                                  struct fvm_error *err) {
  struct db_samples x = {0};
  enum fvm_status st = db_parse_samples(column(q, 6), &x);
  const char *wrong = st ? "samples are no list of times" : judge(q, &x);
  if (st != FVM_ENOMEM && wrong) report(f, "run", sqlite3_column_int64(q->stmt, 0), wrong);
  f->runs++;
  VEC_FREE(&x.list);
  return st == FVM_ENOMEM ? fvm_nomem(err) : FVM_OK;
}

static enum fvm_status verify_runs(struct db *db, struct db_findings *f, struct fvm_error *err) {
  struct query q;
  enum fvm_status st = db_query(db, SQL_VERIFY_RUNS, &q, err, "");
  while (!st && q.row) st = db_step(db, &q, verify_run(&q, f, err), err);
  return st;
}

/* Equal problems are found by their hash: it must be that of the text. */
static enum fvm_status verify_problems(struct db *db, struct db_findings *f,
                                       struct fvm_error *err) {
  struct query q;
  enum fvm_status st = db_query(db, SQL_VERIFY_PROBLEMS, &q, err, "");
  while (!st && q.row) {
    const char *text = column(&q, 2);
    char hash[17];
    db_hash_text(fvm_hash(text, strlen(text), 0), hash);
    if (strcmp(hash, column(&q, 1)) != 0)
      report(f, "problem", sqlite3_column_int64(q.stmt, 0), "the hash is not that of the text");
    f->problems++;
    st = db_next(db, &q, err);
  }
  return st;
}

enum fvm_status db_verify(struct db *db, struct db_findings *f, struct fvm_error *err) {
  enum fvm_status st = check_file(db, err);
  if (!st) st = verify_problems(db, f, err);
  if (!st) st = verify_runs(db, f, err);
  return st ? st : f->text.failed ? fvm_nomem(err) : FVM_OK;
}
