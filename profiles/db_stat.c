/* The summary of a database, for people or as one JSON object. */
#include "db_impl.h"

#include "json.h"

/* A part of the summary: a statement, and what its columns are called (and printed as: s text,
 * t text behind its column's name, i number). */
static const struct section {
  enum db_statement id;
  const char *name, *types;
  const char *column[7];
} sections[] = {
    {SQL_STAT_MACHINES,
     "machines",
     "ssisitt",
     {"fingerprint", "cpu", "cores", "isa", "runs", "first", "last"}},
    {SQL_STAT_BUILDS, "builds", "si", {"build", "runs"}},
    {SQL_STAT_MODELS, "models", "ssiii", {"name", "hash", "nodes", "problems", "measured"}},
    {SQL_STAT_RUNS, "runs", "ssiii", {"engine", "status", "runs", "samples", "dropped"}},
    {SQL_STAT_NOISE, "noise", "ssii", {"engine", "state", "runs", "spread_per_mille"}},
    {SQL_STAT_PRIORS,
     "priors",
     "siiii",
     {"fingerprint", "runs", "problems", "median_error_per_mille", "p90_error_per_mille"}},
    {SQL_STAT_TOTALS, "totals", "iii", {"problems", "candidates", "bytes"}},
};

static void json_row(const struct section *s, sqlite3_stmt *stmt, struct text *out) {
  for (int i = 0; s->types[i]; i++) {
    text_printf(out, "%s\"%s\":", i ? "," : "{", s->column[i]);
    if (s->types[i] == 'i')
      text_printf(out, "%lld", (long long)sqlite3_column_int64(stmt, i));
    else
      json_string(out, (const char *)sqlite3_column_text(stmt, i));
  }
  text_printf(out, "}");
}

static void plain_row(const struct section *s, sqlite3_stmt *stmt, struct text *out) {
  text_printf(out, " ");
  for (int i = 0; s->types[i]; i++) {
    const char *v = (const char *)sqlite3_column_text(stmt, i), *name = s->column[i];
    if (!v) v = "-";
    if (s->types[i] == 's')
      text_printf(out, " %s", v);
    else if (s->types[i] == 't')
      text_printf(out, ", %s %s", name, v);
    else
      text_printf(out, "%s %s %s", i ? "," : "", v, name);
  }
  text_printf(out, "\n");
}

static enum fvm_status print_section(struct db *db, const struct section *s, bool json,
                                     struct text *out, struct fvm_error *err) {
  struct query q;
  enum fvm_status st = db_query(db, s->id, &q, err, "");
  text_printf(out, json ? "\"%s\":[" : "%s\n", s->name);
  for (int n = 0; !st && q.row; n++) {
    if (json && n) text_printf(out, ",");
    (json ? json_row : plain_row)(s, q.stmt, out);
    st = db_next(db, &q, err);
  }
  if (json) text_printf(out, "]");
  return st;
}

enum fvm_status db_stat(struct db *db, bool json, struct text *out, struct fvm_error *err) {
  enum fvm_status st = FVM_OK;
  if (json) text_printf(out, "{");
  for (size_t i = 0; i < COUNT(sections) && !st; i++) {
    if (json && i) text_printf(out, ",");
    st = print_section(db, &sections[i], json, out, err);
  }
  if (json) text_printf(out, "}\n");
  return st ? st : out->failed ? fvm_nomem(err) : FVM_OK;
}
