/* Merging databases. Which of two rows stays: merge.sql. */
#include "db_files.h"
#include "db_impl.h"

#include <sys/stat.h>

static const char merge[] =
#include "profiles/merge.h"
    ;

static enum fvm_status check_source(const char *path, struct fvm_error *err) {
  struct db *db;
  struct db_findings f = {0};
  enum fvm_status st = db_open(path, DB_READ, &db, err);
  if (st) return st;
  st = db_verify(db, &f, err);
  if (!st && f.n)
    st = fvm_fail(err, FVM_EFORMAT, "%s: its rows contradict each other; see fluidvm db verify",
                  path);
  text_free(&f.text);
  db_close(db);
  return st;
}

static bool same_file(const char *a, const char *b) {
  struct stat s, t;
  return !stat(a, &s) && !stat(b, &t) && s.st_dev == t.st_dev && s.st_ino == t.st_ino;
}

static enum fvm_status take_over(struct db *db, const char *path, struct fvm_error *err) {
  char *attach = sqlite3_mprintf("ATTACH %Q AS other", path);
  enum fvm_status st = attach ? db_exec(db, attach, err) : fvm_nomem(err);
  sqlite3_free(attach);
  if (st) return st;
  st = db_exec(db, "BEGIN IMMEDIATE", err);
  if (!st) st = db_finish(db, db_exec(db, merge, err), err);
  enum fvm_status end = db_exec(db, "DETACH other", st ? NULL : err);
  return st ? st : end;
}

enum fvm_status db_merge(const char *into, const char *const *from, int n, struct fvm_error *err) {
  struct db *db;
  enum fvm_status st = FVM_OK;
  for (int i = 0; i < n && !st; i++) st = check_source(from[i], err);
  if (!st) st = db_open(into, DB_WRITE, &db, err);
  if (st) return st;
  for (int i = 0; i < n && !st; i++)
    if (!same_file(into, from[i])) st = take_over(db, from[i], err);
  db_close(db);
  return st;
}
