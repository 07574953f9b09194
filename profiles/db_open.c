/* Opening the database: refusing what is not ours, creating, migrating. Errors of SQLite. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "db_impl.h"

/* "FVMD": marks the file, so that another program's database is never touched. */
enum { APPLICATION_ID = 0x46564d44, BUSY_MS = 5000 };

/* Step i leads from version i to version i + 1; a new file takes all of them. */
static const char *const steps[] = {
#include "profiles/schema.h"
    ,
    /* Largest difference to the reference over the largest output; NULL: not measured. */
    "ALTER TABLE run ADD COLUMN error REAL;",
#include "profiles/schema_3.h"
    ,
    /* Outputs of models by the reference, on seeded inputs. */
    "CREATE TABLE expected(key TEXT NOT NULL, output INTEGER NOT NULL, value BLOB NOT NULL, "
    "PRIMARY KEY(key, output));",
#include "profiles/schema_5.h"
    ,
    /* What a candidate does, for the prior, and what the prior of a machine came to (db.h). */
    "ALTER TABLE candidate ADD COLUMN work TEXT;"
    "CREATE TABLE prior(machine INTEGER PRIMARY KEY REFERENCES machine(id), gflops REAL NOT NULL, "
    "gbytes REAL NOT NULL, runs INTEGER NOT NULL, problems INTEGER NOT NULL, "
    "median_error REAL NOT NULL, high_error REAL NOT NULL, above REAL NOT NULL, "
    "above_rival REAL NOT NULL, terms TEXT NOT NULL);",
};

/* ---- errors ---- */

static const struct {
  int code; /* SQLite's primary result code */
  enum fvm_status status;
  const char *text;
} causes[] = {
    {SQLITE_NOTADB, FVM_EFORMAT, "is not an SQLite database; name another file"},
    {SQLITE_CORRUPT, FVM_EFORMAT, "database is damaged; restore a copy or profile into a new file"},
    {SQLITE_CANTOPEN, FVM_EENV, "cannot be opened; check the directory and its permissions"},
    {SQLITE_READONLY, FVM_EENV, "is read-only; check permissions of the file and its directory"},
    {SQLITE_PERM, FVM_EENV, "no permission; check permissions of the file and its directory"},
    {SQLITE_AUTH, FVM_EENV, "no permission; check permissions of the file and its directory"},
    {SQLITE_BUSY, FVM_EENV, "is in use by another process; wait for it to end"},
    {SQLITE_LOCKED, FVM_EENV, "is in use by another process; wait for it to end"},
    {SQLITE_FULL, FVM_EIO, "disk is full; free some space: what was stored before is kept"},
    {SQLITE_IOERR, FVM_EIO, "reading or writing failed; check the disk"},
};

enum fvm_status db_error(struct db *db, int code, struct fvm_error *err) {
  if ((code & 0xff) == SQLITE_NOMEM) return fvm_nomem(err);
  for (size_t i = 0; i < COUNT(causes); i++)
    if (causes[i].code == (code & 0xff))
      return fvm_fail(err, causes[i].status, "%s: %s", db->path, causes[i].text);
  return fvm_fail(err, FVM_EFORMAT, "%s: database: %s; name another file", db->path,
                  db->sql ? sqlite3_errmsg(db->sql) : sqlite3_errstr(code));
}

enum fvm_status db_exec(struct db *db, const char *sql, struct fvm_error *err) {
  int code = sqlite3_exec(db->sql, sql, NULL, NULL, NULL);
  return code == SQLITE_OK ? FVM_OK : db_error(db, code, err);
}

/* ---- schema ---- */

/* First column of the first row; used before the statement table can be. */
static enum fvm_status read_int(struct db *db, const char *sql, int64_t *v, struct fvm_error *err) {
  sqlite3_stmt *s = NULL;
  int code = sqlite3_prepare_v2(db->sql, sql, -1, &s, NULL);
  if (code == SQLITE_OK) code = sqlite3_step(s);
  if (code == SQLITE_ROW) *v = sqlite3_column_int64(s, 0);
  sqlite3_finalize(s);
  return code == SQLITE_ROW ? FVM_OK : db_error(db, code, err);
}

static enum fvm_status run_steps(struct db *db, const char *const *step, int from, int to,
                                 struct fvm_error *err) {
  for (int i = from; i < to; i++) {
    enum fvm_status st = db_exec(db, step[i], err);
    if (st) return st;
  }
  char pragma[96];
  sqlite3_snprintf(sizeof pragma, pragma, "PRAGMA application_id=%d; PRAGMA user_version=%d",
                   APPLICATION_ID, to);
  return db_exec(db, pragma, err);
}

enum fvm_status db_migrate(struct db *db, const char *const *step, int nstep,
                           struct fvm_error *err) {
  int64_t version = 0;
  enum fvm_status st = db_exec(db, "BEGIN IMMEDIATE", err);
  if (st) return st;
  /* Read inside the transaction: another process may have migrated while we waited. */
  st = read_int(db, "PRAGMA user_version", &version, err);
  if (!st && version > nstep)
    st = fvm_fail(err, FVM_EFORMAT,
                  "%s: schema version %d is newer than this program's %d; update the program",
                  db->path, (int)version, nstep);
  if (!st && version < nstep) st = run_steps(db, step, (int)version, nstep, err);
  if (!st) st = db_exec(db, "COMMIT", err);
  if (st) sqlite3_exec(db->sql, "ROLLBACK", NULL, NULL, NULL);
  return st;
}

/* Ours, or in DB_WRITE mode an empty file that may become ours. */
static enum fvm_status check_owner(struct db *db, enum db_mode mode, struct fvm_error *err) {
  int64_t app = 0, tables = 0, version = 0;
  enum fvm_status st = read_int(db, "SELECT COUNT(*) FROM sqlite_schema", &tables, err);
  if (!st) st = read_int(db, "PRAGMA application_id", &app, err);
  if (!st) st = read_int(db, "PRAGMA user_version", &version, err);
  if (st) return st;
  bool empty = app == 0 && tables == 0 && version == 0;
  if (empty && mode == DB_READ)
    return fvm_fail(err, FVM_EFORMAT, "%s: is empty; fill it with fluidvm profile", db->path);
  if (app != APPLICATION_ID && !empty)
    return fvm_fail(err, FVM_EFORMAT, "%s: is a database of another program; name another file",
                    db->path);
  if (mode == DB_READ && version != COUNT(steps))
    return fvm_fail(err, FVM_EFORMAT,
                    version > (int64_t)COUNT(steps)
                        ? "%s: schema version %d is newer than this program's %d; update it"
                        : "%s: schema version %d is older than %d; fluidvm profile updates it",
                    db->path, (int)version, (int)COUNT(steps));
  return FVM_OK;
}

/* ---- open, close ---- */

/* SQLite would happily open a device or report a directory as "unable to open". */
static enum fvm_status check_file(const char *path, enum db_mode mode, struct fvm_error *err) {
  struct stat s;
  if (stat(path, &s) != 0) {
    if (errno == ENOENT && mode == DB_WRITE) return FVM_OK;
    return fvm_fail(err, FVM_EENV, "%s: %s; name a database made by fluidvm profile", path,
                    strerror(errno));
  }
  if (S_ISDIR(s.st_mode))
    return fvm_fail(err, FVM_EENV, "%s: is a directory; name a database file", path);
  if (!S_ISREG(s.st_mode))
    return fvm_fail(err, FVM_EENV, "%s: is not a regular file; name a database file", path);
  if (access(path, mode == DB_WRITE ? R_OK | W_OK : R_OK) != 0)
    return fvm_fail(err, FVM_EENV, "%s: no permission to %s; check its owner and mode", path,
                    mode == DB_WRITE ? "write" : "read");
  return FVM_OK;
}

/* A database in WAL mode needs a file beside it even to be read. Where none can be made, no one
 * else can be writing either, so it is read as immutable. */
static bool needs_immutable(const char *path, enum db_mode mode) {
  char wal[4096], dir[4096];
  if (mode == DB_WRITE || strlen(path) + 5 > sizeof wal) return false;
  sqlite3_snprintf(sizeof wal, wal, "%s-wal", path);
  sqlite3_snprintf(sizeof dir, dir, "%s", path);
  char *slash = strrchr(dir, '/');
  if (slash == dir) slash++;
  sqlite3_snprintf((int)(sizeof dir - (size_t)(slash ? slash - dir : 0)), slash ? slash : dir,
                   slash ? "" : ".");
  return access(dir, W_OK) != 0 && access(wal, F_OK) != 0;
}

/* A file that may be written is opened for that also to be read, so that SQLite can undo what a
 * killed writer left half done. */
static int open_flags(const char *path, enum db_mode mode) {
  if (mode == DB_WRITE) return SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
  return access(path, W_OK) == 0 ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY;
}

static int open_file(struct db *db, enum db_mode mode) {
  int flags = open_flags(db->path, mode);
  char *uri = NULL;
  if (needs_immutable(db->path, mode)) {
    char *quoted = sqlite3_mprintf("%s", db->path);
    /* '?', '#' and '%' would end or change the path of a URI: such names are opened as usual. */
    if (quoted && !strpbrk(quoted, "?#%")) uri = sqlite3_mprintf("file:%s?immutable=1", quoted);
    sqlite3_free(quoted);
  }
  int code =
      sqlite3_open_v2(uri ? uri : db->path, &db->sql, uri ? flags | SQLITE_OPEN_URI : flags, NULL);
  sqlite3_free(uri);
  return code;
}

static enum fvm_status setup(struct db *db, enum db_mode mode, struct fvm_error *err) {
  int code = open_file(db, mode);
  if (code == SQLITE_OK) code = db_add_verdict(db);
  if (code != SQLITE_OK) return db_error(db, code, err);
  sqlite3_busy_timeout(db->sql, BUSY_MS);
  enum fvm_status st = mode == DB_READ ? db_exec(db, "PRAGMA query_only=ON", err) : FVM_OK;
  if (!st) st = check_owner(db, mode, err);
  if (st || mode == DB_READ) return st;
  st = db_exec(db, "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON",
               err);
  return st ? st : db_migrate(db, steps, COUNT(steps), err);
}

enum fvm_status db_open(const char *path, enum db_mode mode, struct db **out,
                        struct fvm_error *err) {
  *out = NULL;
  enum fvm_status st = check_file(path, mode, err);
  if (st) return st;
  struct db *db = fvm_alloc(1, sizeof *db);
  if (!db) return fvm_nomem(err);
  db->mode = mode;
  db->path_size = strlen(path) + 1;
  db->path = fvm_alloc(db->path_size, 1);
  if (db->path) memcpy(db->path, path, db->path_size);
  st = db->path ? setup(db, mode, err) : fvm_nomem(err);
  if (st)
    db_close(db);
  else
    *out = db;
  return st;
}

void db_close(struct db *db) {
  if (!db) return;
  for (int i = 0; i < SQL_COUNT; i++) sqlite3_finalize(db->stmt[i]);
  sqlite3_close(db->sql);
  fvm_free(db->path, db->path_size, 1);
  fvm_free(db, 1, sizeof *db);
}
