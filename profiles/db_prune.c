/* Dropping what no query asks for any more. */
#include "db_files.h"
#include "db_impl.h"

/* In this order: what refers goes before what is referred to. */
static const enum db_statement steps[] = {
    SQL_PRUNE_RUNS,     SQL_PRUNE_CANDIDATES, SQL_PRUNE_NODES, SQL_PRUNE_MODELS,
    SQL_PRUNE_PROBLEMS, SQL_PRUNE_MACHINES,   SQL_PRUNE_BUILDS};

static enum fvm_status drop(struct db *db, struct db_pruned *p, struct fvm_error *err) {
  struct query q;
  enum fvm_status st = FVM_OK;
  for (size_t i = 0; i < COUNT(steps) && !st; i++) {
    int before = sqlite3_total_changes(db->sql);
    st = db_query(db, steps[i], &q, err, "");
    int64_t gone = sqlite3_total_changes(db->sql) - before;
    if (steps[i] == SQL_PRUNE_RUNS) p->runs = gone;
    if (steps[i] == SQL_PRUNE_PROBLEMS) p->problems = gone;
    if (steps[i] == SQL_PRUNE_MODELS) p->models = gone;
  }
  return st;
}

static enum fvm_status measure(struct db *db, int64_t *bytes, struct fvm_error *err) {
  struct query q;
  enum fvm_status st = db_query(db, SQL_BYTES, &q, err, "");
  if (!st) *bytes = sqlite3_column_int64(q.stmt, 0);
  db_end(&q);
  return st;
}

enum fvm_status db_prune(struct db *db, struct db_pruned *p, struct fvm_error *err) {
  *p = (struct db_pruned){0};
  enum fvm_status st = measure(db, &p->bytes_before, err);
  if (!st) st = db_exec(db, "BEGIN IMMEDIATE", err);
  if (!st) st = db_finish(db, drop(db, p, err), err);
  if (!st) st = db_exec(db, "VACUUM", err);
  return st ? st : measure(db, &p->bytes_after, err);
}
