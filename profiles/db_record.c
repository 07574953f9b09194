/* Single runs, by their ids. */
#include "db_impl.h"

enum fvm_status db_record(struct db *db, int64_t id, struct arena *a, struct db_record *r,
                          bool *found, struct fvm_error *err) {
  struct query q;
  *r = (struct db_record){.id = id};
  enum fvm_status st = db_query(db, SQL_RECORD, &q, err, "i", id);
  *found = !st && q.row;
  if (!*found) return st;
  const char **const text[] = {&r->problem, &r->label,  &r->fingerprint, &r->build,
                               &r->state,   &r->engine, &r->started_at,  &r->reason};
  bool ok = true;
  for (int i = 0; i < (int)COUNT(text); i++) ok = ok && db_text(&q, i, a, text[i]);
  r->outcome = outcome_parse((const char *)sqlite3_column_text(q.stmt, 8));
  r->protocol = sqlite3_column_int64(q.stmt, 9);
  r->min_ns = sqlite3_column_int64(q.stmt, 10);
  r->median_ns = sqlite3_column_int64(q.stmt, 11);
  r->n = sqlite3_column_int64(q.stmt, 12);
  db_end(&q);
  return ok ? FVM_OK : fvm_nomem(err);
}

enum fvm_status db_draw_records(struct db *db, uint64_t fingerprint, int most, int64_t *id, int *n,
                                struct fvm_error *err) {
  struct query q;
  char hash[17];
  db_hash_text(fingerprint, hash);
  *n = 0;
  enum fvm_status st = db_query(db, SQL_DRAW_RECORDS, &q, err, "sii", hash,
                                (int64_t)MEASURE_PROTOCOL, (int64_t)most);
  while (!st && q.row) {
    id[(*n)++] = sqlite3_column_int64(q.stmt, 0);
    st = db_next(db, &q, err);
  }
  return st;
}
