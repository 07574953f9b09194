/* What the prior is made of and what it came to: work of candidates, runs of any machine. */
#include <stdlib.h>
#include <string.h>

#include "db_impl.h"

enum fvm_status db_put_work(struct db *db, int64_t problem, const struct db_work *w, int n,
                            struct fvm_error *err) {
  struct query q;
  enum fvm_status st = db_exec(db, "BEGIN IMMEDIATE", err);
  if (st) return st;
  for (int i = 0; i < n && !st; i++)
    st = db_query(db, SQL_WORK_ADD, &q, err, "iss", problem, w[i].label, w[i].work);
  return db_finish(db, st, err);
}

static const char *text_at(const struct query *q, int i) {
  return (const char *)sqlite3_column_text(q->stmt, i);
}

enum fvm_status db_get_work(struct db *db, uint64_t problem_hash, const char *label,
                            struct arena *a, const char **work, struct fvm_error *err) {
  struct query q;
  char hash[17];
  db_hash_text(problem_hash, hash);
  *work = NULL;
  enum fvm_status st = db_query(db, SQL_WORK_GET, &q, err, "ss", hash, label);
  if (st || !q.row) return st;
  const char *text = text_at(&q, 0);
  *work = text ? arena_strdup(a, text) : NULL;
  st = text && !*work ? fvm_nomem(err) : FVM_OK;
  db_end(&q);
  return st;
}

static struct db_run read_run(const struct query *q) {
  return (struct db_run){.problem = strtoull(text_at(q, 0), NULL, 16),
                         .label = text_at(q, 1),
                         .work = text_at(q, 2),
                         .here = sqlite3_column_int(q->stmt, 3) != 0,
                         .counts = sqlite3_column_int(q->stmt, 4) != 0,
                         .state = state_parse(text_at(q, 5)),
                         .ns = sqlite3_column_int64(q->stmt, 6)};
}

enum fvm_status db_runs(struct db *db, int64_t machine, int64_t build,
                        bool (*put)(void *arg, const struct db_run *r), void *arg,
                        struct fvm_error *err) {
  struct query q;
  enum fvm_status st =
      db_query(db, SQL_WORK_RUNS, &q, err, "iii", machine, build, (int64_t)MEASURE_PROTOCOL);
  while (!st && q.row) {
    struct db_run r = read_run(&q);
    if (!put(arg, &r)) {
      db_end(&q);
      return fvm_nomem(err);
    }
    st = db_next(db, &q, err);
  }
  return st;
}

/* ---- what the prior came to ---- */

enum fvm_status db_put_prior(struct db *db, int64_t machine, const struct db_prior *p,
                             struct fvm_error *err) {
  struct query q;
  enum fvm_status st =
      db_query(db, SQL_PRIOR_PUT, &q, err, "iddiidddds", machine, p->gflops, p->gbytes, p->runs,
               p->problems, p->median_error, p->high_error, p->above, p->above_rival, p->terms);
  db_end(&q);
  return st;
}

enum fvm_status db_get_prior(struct db *db, int64_t machine, struct arena *a, struct db_prior *p,
                             bool *found, struct fvm_error *err) {
  struct query q;
  enum fvm_status st = db_query(db, SQL_PRIOR_GET, &q, err, "i", machine);
  *found = !st && q.row;
  if (!*found) return st;
  *p = (struct db_prior){.gflops = sqlite3_column_double(q.stmt, 0),
                         .gbytes = sqlite3_column_double(q.stmt, 1),
                         .runs = sqlite3_column_int64(q.stmt, 2),
                         .problems = sqlite3_column_int64(q.stmt, 3),
                         .median_error = sqlite3_column_double(q.stmt, 4),
                         .high_error = sqlite3_column_double(q.stmt, 5),
                         .above = sqlite3_column_double(q.stmt, 6),
                         .above_rival = sqlite3_column_double(q.stmt, 7),
                         .terms = arena_strdup(a, text_at(&q, 8))};
  db_end(&q);
  return p->terms ? FVM_OK : fvm_nomem(err);
}
