/* Measurements as text: lines of JSON, or a results file of the T4 schema (Open Autotuning Results
 * Schema 1.0.0, github.com/odgaard/TuningSchema). */
#include "db_files.h"
#include "db_impl.h"

#include <string.h>

#include "json.h"

struct sink {
  struct db *db;
  bool (*put)(void *arg, const char *line);
  void *arg;
};

static enum fvm_status put_line(const struct sink *s, const char *line, struct fvm_error *err) {
  if (s->put(s->arg, line)) return FVM_OK;
  return fvm_fail(err, FVM_EIO, "the export cannot be written");
}

/* ---- lines of JSON ---- */

/* Whoever refers comes after what is referred to. */
static const enum db_statement parts[] = {SQL_EXPORT_HEAD,   SQL_EXPORT_MACHINES,
                                          SQL_EXPORT_BUILDS, SQL_EXPORT_PROBLEMS,
                                          SQL_EXPORT_MODELS, SQL_EXPORT_RUNS};

static enum fvm_status put_part(const struct sink *s, enum db_statement part,
                                struct fvm_error *err) {
  struct query q;
  enum fvm_status st = db_query(s->db, part, &q, err, "");
  while (!st && q.row) {
    st = put_line(s, (const char *)sqlite3_column_text(q.stmt, 0), err);
    st = db_step(s->db, &q, st, err);
  }
  return st;
}

static enum fvm_status put_lines(const struct sink *s, struct fvm_error *err) {
  enum fvm_status st = FVM_OK;
  for (size_t i = 0; i < COUNT(parts) && !st; i++) st = put_part(s, parts[i], err);
  return st;
}

/* ---- T4 ---- */

/* The schema's word for an outcome. */
static const char *invalidity(const char *status) {
  static const char *const words[][2] = {{"wrong", "correctness"},
                                         {"crashed", "runtime"},
                                         {"timeout", "timeout"},
                                         {"unsupported", "constraints"}};
  for (size_t i = 0; i < COUNT(words); i++)
    if (!strcmp(status, words[i][0])) return words[i][1];
  return "correct";
}

static void put_piece(struct text *t, const char *s, size_t n) {
  char piece[256];
  sqlite3_snprintf((int)MIN(n + 1, sizeof piece), piece, "%s", s);
  json_string(t, piece);
}

/* "conv_direct mr=14 in=row out=nhwc" as members: candidate, mr, in, out. */
static void put_configuration(struct text *t, const char *label) {
  size_t n = strcspn(label, " ");
  text_printf(t, ",\"candidate\":");
  put_piece(t, label, n);
  for (label += n; *label; label += n) {
    label += strspn(label, " ");
    n = strcspn(label, " ");
    size_t key = strcspn(label, "= ");
    if (n == 0 || key >= n) continue;
    text_printf(t, ",");
    put_piece(t, label, key);
    text_printf(t, ":");
    put_piece(t, label + key + 1, n - key - 1);
  }
}

static void put_result(struct text *t, const struct query *q, bool first) {
  const char *column[7];
  for (int i = 0; i < (int)COUNT(column); i++) {
    const char *s = (const char *)sqlite3_column_text(q->stmt, i);
    column[i] = s ? s : "";
  }
  const char *why = invalidity(column[3]);
  text_printf(t, "%s{\"timestamp\":\"%s\",\"configuration\":{\"problem\":", first ? "" : ",",
              column[0]);
  json_string(t, column[1]);
  put_configuration(t, column[2]);
  text_printf(t, "},\"times\":{\"runtimes\":%s},\"invalidity\":\"%s\",\"correctness\":%d,",
              column[4], why, strcmp(why, "correctness") != 0);
  text_printf(t, "\"measurements\":[");
  if (*column[5]) text_printf(t, "{\"name\":\"time\",\"value\":%s,\"unit\":\"ms\"}", column[5]);
  text_printf(t, "],\"objectives\":[\"time\"]}");
}

static enum fvm_status put_t4(const struct sink *s, struct fvm_error *err) {
  struct query q;
  struct text t = {0};
  enum fvm_status st = put_line(s, "{\"schema_version\":\"1.0.0\",\"results\":[", err);
  if (!st) st = db_query(s->db, SQL_EXPORT_T4, &q, err, "");
  for (bool first = true; !st && q.row; first = false) {
    t.n = 0;
    put_result(&t, &q, first);
    st = t.failed ? fvm_nomem(err) : put_line(s, t.v, err);
    st = db_step(s->db, &q, st, err);
  }
  text_free(&t);
  return st ? st : put_line(s, "]}", err);
}

enum fvm_status db_export(struct db *db, enum db_form form,
                          bool (*put)(void *arg, const char *line), void *arg,
                          struct fvm_error *err) {
  struct sink s = {db, put, arg};
  return form == DB_T4 ? put_t4(&s, err) : put_lines(&s, err);
}
