/* Exported lines back into a database: into a fresh one first, which is then verified and merged,
 * so that a wrong line changes nothing. */
#include "db_files.h"
#include "db_impl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* What a line is, by the member that only its kind has, and what puts it in. Each statement must
 * change a row, or something that the line refers to is not there. */
static const struct kind {
  const char *member;
  enum db_statement put[2];
  int n;
} kinds[] = {
    {"run", {SQL_IMPORT_CANDIDATE, SQL_IMPORT_RUN}, 2},
    {"model", {SQL_IMPORT_MODEL, SQL_IMPORT_NODES}, 2},
    {"problem", {SQL_IMPORT_PROBLEM}, 1},
    {"machine", {SQL_IMPORT_MACHINE}, 1},
    {"build", {SQL_IMPORT_BUILD}, 1},
    {"fluidvm", {SQL_IMPORT_HEAD}, 1},
};

struct importer {
  struct db *db;
  const char *path;
  FILE *file;
  int64_t line;
  struct text text; /* of the line */
  struct fvm_error *err;
};

static enum fvm_status bad_line(const struct importer *m, const char *what) {
  return fvm_fail(m->err, FVM_EFORMAT, "%s: line %lld: %.150s; export the database again", m->path,
                  (long long)m->line, what);
}

/* The next line without its end into m->text; false at the end of the file, and when memory is
 * out. */
static bool read_line(struct importer *m) {
  char piece[4096];
  m->text.n = 0;
  m->line++;
  while (fgets(piece, sizeof piece, m->file)) {
    text_printf(&m->text, "%s", piece);
    if (m->text.failed) return false;
    if (m->text.n && m->text.v[m->text.n - 1] == '\n') {
      m->text.v[--m->text.n] = 0;
      return true;
    }
    if (feof(m->file)) return true;
  }
  return false;
}

/* Index of a line's kind; -1: none. */
static enum fvm_status find_kind(struct importer *m, int *kind) {
  struct query q;
  *kind = -1;
  for (int i = 0; i < (int)COUNT(kinds) && *kind < 0; i++) {
    enum fvm_status st =
        db_query(m->db, SQL_IMPORT_KIND, &q, m->err, "ss", m->text.v, kinds[i].member);
    if (st) return st;
    if (q.row && sqlite3_column_int(q.stmt, 0)) *kind = i;
    db_end(&q);
  }
  return *kind < 0 ? bad_line(m, "is no line of an export") : FVM_OK;
}

static enum fvm_status put_line(struct importer *m) {
  struct query q;
  int kind;
  enum fvm_status st = find_kind(m, &kind);
  for (int i = 0; !st && i < kinds[kind].n; i++) {
    int before = sqlite3_total_changes(m->db->sql);
    st = db_query(m->db, kinds[kind].put[i], &q, m->err, "s", m->text.v);
    if (st && st != FVM_ENOMEM && st != FVM_EIO) return bad_line(m, sqlite3_errmsg(m->db->sql));
    bool done = q.row || sqlite3_total_changes(m->db->sql) > before;
    db_end(&q);
    if (!st && !done) st = bad_line(m, "refers to what no line before has, or is there twice");
  }
  return st;
}

static enum fvm_status put_file(struct importer *m) {
  enum fvm_status st = FVM_OK;
  m->file = fopen(m->path, "r");
  if (!m->file)
    return fvm_fail(m->err, FVM_EENV, "%s: %s; name a file of fluidvm db export", m->path,
                    strerror(errno));
  m->line = 0;
  while (!st && read_line(m))
    if (m->text.n) st = put_line(m);
  if (!st && m->text.failed) st = fvm_nomem(m->err);
  if (!st && ferror(m->file)) st = fvm_fail(m->err, FVM_EIO, "%s: cannot be read", m->path);
  fclose(m->file);
  return st;
}

static void remove_database(const char *path) {
  static const char *const tails[] = {"", "-wal", "-shm", "-journal"};
  for (size_t i = 0; i < COUNT(tails); i++) {
    char *p = sqlite3_mprintf("%s%s", path, tails[i]);
    if (p) unlink(p);
    sqlite3_free(p);
  }
}

/* One file's lines as a database of its own. */
static enum fvm_status fill(const char *path, const char *from, struct fvm_error *err) {
  struct importer m = {.path = from, .err = err};
  enum fvm_status st = db_open(path, DB_WRITE, &m.db, err);
  if (!st) st = db_exec(m.db, "BEGIN IMMEDIATE", err);
  if (!st) st = db_finish(m.db, put_file(&m), err);
  text_free(&m.text);
  db_close(m.db);
  return st;
}

enum fvm_status db_import(const char *into, const char *const *from, int n, struct fvm_error *err) {
  enum fvm_status st = FVM_OK;
  for (int i = 0; i < n && !st; i++) {
    char *path = sqlite3_mprintf("%s.import-%d", into, (int)getpid());
    if (!path) return fvm_nomem(err);
    remove_database(path);
    st = fill(path, from[i], err);
    if (!st) st = db_merge(into, (const char *const[]){path}, 1, err);
    remove_database(path);
    sqlite3_free(path);
  }
  return st;
}
