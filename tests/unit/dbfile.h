/* What tests share that keep a database in a file. */
#ifndef FVM_DBFILE_H
#define FVM_DBFILE_H

#include "unit.h"

#include <unistd.h>

#include "profiles/db_impl.h"

/* The file, and what SQLite keeps beside it. */
static inline void dbfile_remove(const char *path) {
  static const char *const tail[] = {"", "-wal", "-shm", "-journal"};
  char name[160];
  for (size_t i = 0; i < COUNT(tail); i++) {
    snprintf(name, sizeof name, "%s%s", path, tail[i]);
    unlink(name);
  }
}

/* The number that a query gives. */
static inline int64_t count(struct db *db, const char *sql) {
  sqlite3_stmt *s;
  ck_assert_int_eq(sqlite3_prepare_v2(db->sql, sql, -1, &s, NULL), SQLITE_OK);
  ck_assert_int_eq(sqlite3_step(s), SQLITE_ROW);
  int64_t v = sqlite3_column_int64(s, 0);
  sqlite3_finalize(s);
  return v;
}

#endif
