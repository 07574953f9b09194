/* Inside of the database module: the only place that sees sqlite3.h. */
#ifndef FVM_DB_IMPL_H
#define FVM_DB_IMPL_H

#include <sqlite3.h>

#include "db.h"

enum db_statement {
#define STATEMENT(name, sql) SQL_##name,
#include "statements.def"
#undef STATEMENT
  SQL_COUNT
};

struct db {
  sqlite3 *sql;
  enum db_mode mode;
  char *path; /* for errors */
  size_t path_size;
  sqlite3_stmt *stmt[SQL_COUNT]; /* prepared on first use */
};

/* Turn an SQLite result code into a status and "PATH: what is wrong and what to do". */
enum fvm_status db_error(struct db *db, int code, struct fvm_error *err);
enum fvm_status db_exec(struct db *db, const char *sql, struct fvm_error *err);

/* End a transaction: commit when st is OK, and roll back when that or anything before failed. */
enum fvm_status db_finish(struct db *db, enum fvm_status st, struct fvm_error *err);
/* Positive whole numbers in a JSON array without spaces; FVM_EFORMAT for anything else, or
 * FVM_ENOMEM. The caller frees the list. */
struct db_samples {
  VEC(int64_t) list;
};
enum fvm_status db_parse_samples(const char *s, struct db_samples *x);
/* A hash as it stands in the tables. */
void db_hash_text(uint64_t hash, char text[17]);
/* Column finished of a run: the race was cut short, went to its end, and its finals were repeated
 * at other times as often as it takes. */
enum { DB_CUT, DB_FINISHED, DB_SETTLED };
/* Bring the schema to version nstep in one transaction; step[i] leads from version i to i + 1.
 * FVM_EFORMAT when the file's version is higher. */
enum fvm_status db_migrate(struct db *db, const char *const *step, int nstep,
                           struct fvm_error *err);

/* Make verdict() known to a connection: an SQLite result code. */
int db_add_verdict(struct db *db);

/* Run a statement of the table. types: a letter an argument: i int64_t, N int64_t stored as NULL, d
 * double (negative: NULL), s text (NULL: NULL), b bytes (pointer and size_t). Rows are read with
 * sqlite3_column_* while *row; db_end resets the statement.
 */
struct query {
  sqlite3_stmt *stmt;
  bool row;
};
enum fvm_status db_query(struct db *db, enum db_statement id, struct query *q,
                         struct fvm_error *err, const char *types, ...);
enum fvm_status db_next(struct db *db, struct query *q, struct fvm_error *err);
void db_end(struct query *q);
/* The next row, or after a failure the end: what stands at the end of a loop over rows. */
enum fvm_status db_step(struct db *db, struct query *q, enum fvm_status st, struct fvm_error *err);
/* A text of the row, the arena's; NULL stays NULL. False when memory is out. */
bool db_text(const struct query *q, int column, struct arena *a, const char **text);

#endif
