/* fluidvm db: what databases of measurements hold; merging, text, pruning, verifying. */
#include <string.h>

#include "../profiles/db_files.h"
#include "../profiles/replay.h"
#include "cli.h"

/* ---- stat ---- */

static enum fvm_status print_stat(const char *path, bool json, struct fvm_error *err) {
  struct db *db;
  struct text out = {0};
  enum fvm_status st = db_open(path, DB_READ, &db, err);
  if (st != FVM_OK) return st;
  st = db_stat(db, json, &out, err);
  if (st == FVM_OK && !json) printf("%s\n", path);
  if (st == FVM_OK) fputs(out.v, stdout);
  text_free(&out);
  db_close(db);
  return st;
}

static enum fvm_status db_stat_all(struct cli *cli, struct fvm_error *err) {
  enum fvm_status st = FVM_OK;
  for (int i = 1; i < cli->npos && st == FVM_OK; i++)
    st = print_stat(cli->pos[i], cli_flag(cli, OPT_JSON), err);
  return st;
}

/* ---- merge, import ---- */

static const char *const *sources(const struct cli *cli) {
  return (const char *const *)(cli->pos + 2);
}

static enum fvm_status merge(struct cli *cli, struct fvm_error *err) {
  if (cli->npos < 3)
    return fvm_fail(err, FVM_EUSAGE, "db merge needs the database to merge into, and then others");
  return db_merge(cli->pos[1], sources(cli), cli->npos - 2, err);
}

static enum fvm_status import(struct cli *cli, struct fvm_error *err) {
  if (cli->npos < 3)
    return fvm_fail(err, FVM_EUSAGE, "db import needs the database, and then files of db export");
  return db_import(cli->pos[1], sources(cli), cli->npos - 2, err);
}

/* ---- export ---- */

static bool print_line(void *arg, const char *line) { return fprintf(arg, "%s\n", line) > 0; }

static enum fvm_status export(struct cli *cli, struct fvm_error *err) {
  const char *form = cli_text(cli, OPT_FORMAT); struct db * db;
  if (cli->npos != 2) return fvm_fail(err, FVM_EUSAGE, "db export takes one database");
  if (form && strcmp(form, "lines") != 0 &&
      strcmp(form, "t4") != 0) return fvm_fail(err, FVM_EUSAGE,
                                               "--format %s: there are lines and t4", form);
  enum fvm_status st = db_open(cli->pos[1], DB_READ, &db, err);
  if (st != FVM_OK) return st;
  st = db_export(db, form && !strcmp(form, "t4") ? DB_T4 : DB_LINES, print_line, stdout, err);
  db_close(db);
  return st;
}

/* ---- prune ---- */

static enum fvm_status prune_one(const char *path, bool json, struct fvm_error *err) {
  struct db *db;
  struct db_pruned p;
  enum fvm_status st = db_open(path, DB_WRITE, &db, err);
  if (st != FVM_OK) return st;
  st = db_prune(db, &p, err);
  if (st == FVM_OK)
    printf(json ? "{\"runs\":%lld,\"problems\":%lld,\"models\":%lld,\"bytes_before\":%lld,"
                  "\"bytes_after\":%lld}\n"
                : "%lld runs, %lld problems, %lld models dropped; %lld bytes, now %lld\n",
           (long long)p.runs, (long long)p.problems, (long long)p.models, (long long)p.bytes_before,
           (long long)p.bytes_after);
  db_close(db);
  return st;
}

static enum fvm_status prune(struct cli *cli, struct fvm_error *err) {
  enum fvm_status st = FVM_OK;
  for (int i = 1; i < cli->npos && st == FVM_OK; i++)
    st = prune_one(cli->pos[i], cli_flag(cli, OPT_JSON), err);
  return st;
}

/* ---- verify: by reading, and by measuring again ---- */

static void print_off(void *arg, const struct replay *r, bool off) {
  const bool *json = arg;
  if (off && !*json)
    printf("run %lld: %s, %.3f us now, %.3f us then (%.2f times): %s of %.100s\n",
           (long long)r->stored.id, outcome_name(r->outcome), (double)r->min_ns * 1e-3,
           (double)r->stored.min_ns * 1e-3, r->drift, r->stored.label, r->stored.problem);
}

static enum fvm_status remeasure(struct cli *cli, struct db *db, int64_t *findings,
                                 struct fvm_error *err) {
  struct machine m;
  bool json = cli_flag(cli, OPT_JSON);
  struct replay_sample s = {.wanted = (int)cli_int(cli, OPT_SAMPLE, 0),
                            .limit = cli_real(cli, OPT_DRIFT, 1.3),
                            .on_run = print_off,
                            .arg = &json};
  if (s.wanted == 0) return FVM_OK;
  enum fvm_status st = machine_read(&m, err);
  if (st == FVM_OK) st = replay_sample(db, &m, &cli_interrupted, &s, err);
  if (st != FVM_OK) return st;
  printf(json ? "{\"sampled\":%d,\"off\":%d,\"gone\":%d,\"limit\":%.3g,\"median_drift\":%.4f,"
                "\"worst_drift\":%.4f}\n"
              : "%d runs measured again: %d off, %d not offered any more; limit %.3g, median drift "
                "%.3f, worst %.3f\n",
         s.n, s.off, s.gone, s.limit, s.median, s.worst);
  *findings += s.off;
  return s.n + s.gone ? FVM_OK
                      : fvm_fail(err, FVM_EFAIL, "no sound run of this machine and protocol");
}

static enum fvm_status read_all(struct db *db, bool json, int64_t *findings,
                                struct fvm_error *err) {
  struct db_findings f = {0};
  enum fvm_status st = db_verify(db, &f, err);
  if (st == FVM_OK && !json && f.n) fputs(f.text.v, stdout);
  if (st == FVM_OK)
    printf(json ? "{\"runs\":%lld,\"problems\":%lld,\"findings\":%lld}\n"
                : "%lld runs of %lld problems: %lld findings\n",
           (long long)f.runs, (long long)f.problems, (long long)f.n);
  *findings += f.n;
  text_free(&f.text);
  return st;
}

static enum fvm_status verify_one(struct cli *cli, const char *path, int64_t *findings,
                                  struct fvm_error *err) {
  struct db *db;
  enum fvm_status st = db_open(path, DB_READ, &db, err);
  if (st != FVM_OK) return st;
  st = read_all(db, cli_flag(cli, OPT_JSON), findings, err);
  if (st == FVM_OK && (st = remeasure(cli, db, findings, err))) fvm_prefix(err, "%s", path);
  db_close(db);
  return st;
}

static enum fvm_status verify(struct cli *cli, struct fvm_error *err) {
  enum fvm_status st = FVM_OK;
  int64_t findings = 0;
  cli_catch_interrupt();
  for (int i = 1; i < cli->npos && st == FVM_OK; i++)
    st = verify_one(cli, cli->pos[i], &findings, err);
  if (st == FVM_OK && findings)
    st = fvm_fail(err, FVM_EFAIL, "db verify: %lld findings; measure again into a new database",
                  (long long)findings);
  return st;
}

static const struct action {
  const char *name;
  enum fvm_status (*run)(struct cli *cli, struct fvm_error *err);
} actions[] = {{"stat", db_stat_all}, {"merge", merge}, {"export", export},
               {"import", import},    {"prune", prune}, {"verify", verify}};

enum fvm_status cmd_db(struct cli *cli, struct fvm_error *err) {
  for (size_t i = 0; i < COUNT(actions); i++)
    if (!strcmp(cli->pos[0], actions[i].name)) return actions[i].run(cli, err);
  return fvm_fail(err, FVM_EUSAGE,
                  "db: unknown action '%s'; there are stat, merge, export, import, prune, verify",
                  cli->pos[0]);
}
