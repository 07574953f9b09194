/* fluidvm replay: one stored measurement made again from its own record. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../profiles/json.h"
#include "../profiles/replay.h"
#include "cli.h"

/* Whatever has no number has none in JSON either. */
static void put_times(struct text *out, const char *status, int64_t min, int64_t median,
                      int64_t n) {
  text_printf(out, "{\"status\":\"%s\",\"min_ns\":", status);
  text_printf(out, n ? "%lld,\"median_ns\":%lld" : "null,\"median_ns\":null", (long long)min,
              (long long)median);
  text_printf(out, ",\"n\":%lld}", (long long)n);
}

static const char *yes(bool b) { return b ? "true" : "false"; }

static void put_json(const struct replay *r, struct text *out) {
  const struct db_record *s = &r->stored;
  text_printf(out, "{\"run\":%lld,\"problem\":", (long long)s->id);
  json_string(out, s->problem);
  text_printf(out, ",\"label\":");
  json_string(out, s->label);
  text_printf(out, ",\"state\":\"%s\",\"engine\":\"%s\",\"stored\":", s->state, s->engine);
  put_times(out, outcome_name(s->outcome), s->min_ns, s->median_ns, s->n);
  text_printf(out, ",\"now\":");
  put_times(out, outcome_name(r->outcome), r->min_ns, r->median_ns, r->n);
  text_printf(out, ",\"same_machine\":%s,\"same_build\":%s,\"same_protocol\":%s,",
              yes(r->same_machine), yes(r->same_build), yes(r->same_protocol));
  text_printf(out, "\"same_outcome\":%s,\"drift\":", yes(r->same_outcome));
  text_printf(out, r->drift > 0 ? "%.4f}\n" : "null}\n", r->drift);
}

static void put_line(struct text *out, const char *when, const char *status, int64_t min,
                     int64_t median, int64_t n, const char *reason) {
  text_printf(out, "  %-8s %s", when, status);
  if (n)
    text_printf(out, ", min %.3f us, median %.3f us of %lld samples", (double)min * 1e-3,
                (double)median * 1e-3, (long long)n);
  text_printf(out, reason && *reason ? ": %s\n" : "\n", reason);
}

static void put_plain(const struct replay *r, struct text *out) {
  const struct db_record *s = &r->stored;
  text_printf(out, "run %lld of %s: %s\n  label    %s\n", (long long)s->id, s->started_at,
              s->problem, s->label);
  text_printf(out, "  how      %s, %s\n", s->state, s->engine);
  put_line(out, "stored", outcome_name(s->outcome), s->min_ns, s->median_ns, s->n, s->reason);
  put_line(out, "now", outcome_name(r->outcome), r->min_ns, r->median_ns, r->n, r->reason);
  if (r->drift > 0) text_printf(out, "  drift    %.3f times the stored minimum\n", r->drift);
  text_printf(out, "  outcome  %s\n", r->same_outcome ? "the same" : "another one");
  text_printf(out, "  machine  %s\n", r->same_machine ? "the same" : "another one: times differ");
  text_printf(out, "  build    %s\n", r->same_build ? "the same" : "another one");
  if (!r->same_protocol)
    text_printf(out, "  protocol %lld then, %d now\n", (long long)s->protocol, MEASURE_PROTOCOL);
}

static enum fvm_status run_id(const char *text, int64_t *id, struct fvm_error *err) {
  char *end;
  errno = 0;
  *id = strtoll(text, &end, 10);
  if (!*text || *end || errno || *id < 1)
    return fvm_fail(err, FVM_EUSAGE, "replay: RUN-ID '%.40s' is no number; see db verify --sample",
                    text);
  return FVM_OK;
}

static enum fvm_status replay(struct cli *cli, const char *path, int64_t id,
                              struct fvm_error *err) {
  struct db *db = NULL;
  struct machine m;
  struct replay r;
  struct text out = {0};
  enum fvm_status st = machine_read(&m, err);
  if (st == FVM_OK) st = db_open(path, DB_READ, &db, err);
  if (st != FVM_OK) return st;
  cli_catch_interrupt();
  st = replay_run(db, id, &m, &cli_interrupted, &cli->arena, &r, err);
  if (st == FVM_OK) {
    (cli_flag(cli, OPT_JSON) ? put_json : put_plain)(&r, &out);
    st = cli_print(&out, err);
  } else {
    fvm_prefix(err, "%s", path);
  }
  if (st == FVM_OK && !r.same_outcome)
    st = fvm_fail(err, FVM_EFAIL, "%s: run %lld was %s and is %s now", path, (long long)id,
                  outcome_name(r.stored.outcome), outcome_name(r.outcome));
  db_close(db);
  return st;
}

enum fvm_status cmd_replay(struct cli *cli, struct fvm_error *err) {
  int64_t id;
  const char *db = cli_text(cli, OPT_DB);
  if (!db) return fvm_fail(err, FVM_EUSAGE, "replay: say where the run is stored with --db FILE");
  enum fvm_status st = run_id(cli->pos[0], &id, err);
  return st ? st : replay(cli, db, id, err);
}
