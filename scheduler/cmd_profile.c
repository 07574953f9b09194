/* fluidvm profile: measure the candidates of a model's operators, into a database. */
#include <inttypes.h>
#include <string.h>

#include "../profiles/json.h"
#include "profile.h"
#include "session.h"

struct reporter {
  bool json, quiet;
  struct progress progress;
  double start;
};

/* ---- while it runs ---- */

static void put(struct text *out, const char *key, const char *value) {
  text_printf(out, ",\"%s\":", key);
  json_string(out, value);
}

/* Whoever reads this wants it while it happens, also through a pipe. */
static void put_line(struct text *line) {
  text_printf(line, "}\n");
  if (!line->failed) fputs(line->v, stdout);
  fflush(stdout);
  text_free(line);
}

static void print_event(const struct profile_event *e) {
  static const char *const name[] = {"begin",   "race",  "sample", "failed",
                                     "problem", "again", "expect"};
  struct text line = {0};
  text_printf(&line, "{\"event\":\"%s\"", name[e->kind]);
  if (e->kind == PROFILE_BEGIN)
    text_printf(&line, ",\"problems\":%d,\"labels_total\":%d,\"labels_known\":%d",
                e->totals->problems, e->totals->labels_total, e->totals->labels_known);
  if (e->text) put(&line, "problem", e->text);
  if (e->label) put(&line, "label", e->label);
  if (e->kind == PROFILE_FAILED) {
    put(&line, "status", outcome_name(e->outcome));
    put(&line, "reason", e->reason);
  } else if (e->label) {
    text_printf(&line, ",\"ns\":%" PRId64, e->ns);
  }
  put_line(&line);
}

static void show(struct reporter *r, const struct profile_event *e) {
  const struct profile_totals *t = e->totals;
  double s = cli_seconds() - r->start;
  char text[160];
  snprintf(text, sizeof text, "%d of %d labels at %.0f/s: %.70s",
           t->labels_known + t->labels_measured, t->labels_total,
           s > 0 ? t->labels_measured / s : 0,
           e->text                     ? e->text
           : e->kind == PROFILE_EXPECT ? "outputs by the reference"
                                       : "");
  progress_show(&r->progress, t->labels_measured, t->labels_total - t->labels_known, text);
}

static void on_event(void *reporter, const struct profile_event *e) {
  struct reporter *r = reporter;
  if (r->json) {
    print_event(e);
    return;
  }
  if (e->kind == PROFILE_FAILED && !r->quiet) {
    progress_end(&r->progress);
    fprintf(stderr, "%s: %s of %s: %s\n", outcome_name(e->outcome), e->label, e->text, e->reason);
  }
  if (e->kind == PROFILE_BEST && e->label)
    printf("%12.3f us  %s\n                 %s\n", (double)e->ns * 1e-3, e->text, e->label);
  show(r, e);
}

/* ---- the end ---- */

static void json_plans(const struct profile_totals *t) {
  printf(",\"complete\":%s,\"plans\":[", t->complete ? "true" : "false");
  for (int i = 0; i < t->nplan; i++)
    printf("%s{\"threads\":%d,\"ns\":%" PRId64 ",\"least_ns\":%" PRId64 "}", i ? "," : "",
           t->plan[i].threads, t->plan[i].ns, t->plan[i].least_ns);
  printf("],\"prior\":{\"runs\":%d,\"median_error\":%.4f,\"p90_error\":%.4f},\"calm\":%.3f",
         t->prior_runs, t->prior_median, t->prior_high, t->calm);
}

static void print_plans(const struct profile_totals *t) {
  for (int i = 0; i < t->nplan; i++) {
    const struct profile_plan *x = &t->plan[i];
    printf("  %d thread%s: %.3f ms", x->threads, x->threads > 1 ? "s" : "", (double)x->ns * 1e-6);
    if (t->complete || x->least_ns >= x->ns)
      printf("; no label that was not measured makes it faster\n");
    else
      printf("; more time makes it at most %.1f %% faster\n",
             100 * (double)(x->ns - x->least_ns) / (double)x->ns);
  }
  if (t->prior_runs)
    printf(
        "  prior: from %d measurements; on problems it had not seen off by %.0f %% (median), %.0f "
        "%% (one in ten by more)\n",
        t->prior_runs, 100 * t->prior_median, 100 * t->prior_high);
}

/* Below that part the machine was busy with something else for longer than it was not. */
static const double CALM_ENOUGH = 0.5;

static void print_calm(const struct profile_totals *t) {
  if (t->calm < CALM_ENOUGH)
    printf(
        "  something else slowed the machine for %.0f %% of the time of finals: some times may be "
        "too high; `fluidvm db verify` tells\n",
        100 * (1 - t->calm));
}

static void print_totals(const struct reporter *r, const struct profile_totals *t) {
  double s = cli_seconds() - r->start, rate = s > 0 ? (double)t->samples / s : 0;
  if (r->json) {
    printf("{\"event\":\"done\",\"problems\":%d,\"problems_done\":%d,\"labels_total\":%d,"
           "\"labels_known\":%d,\"labels_measured\":%d,\"samples\":%" PRId64
           ",\"failed\":%d,\"seconds\":%.3f,\"samples_per_second\":%.1f",
           t->problems, t->problems_done, t->labels_total, t->labels_known, t->labels_measured,
           t->samples, t->failed, s, rate);
    json_plans(t);
    printf("}\n");
    return;
  }
  printf("%d of %d labels measured, of %d problems: %d now (%.0f a second, %d failed), %d before; "
         "%" PRId64 " samples in %.1f s\n",
         t->labels_known + t->labels_measured, t->labels_total, t->problems, t->labels_measured,
         s > 0 ? t->labels_measured / s : 0, t->failed, t->labels_known, t->samples, s);
  print_plans(t);
  print_calm(t);
}

static enum fvm_status thread_list(const struct cli *cli, const struct machine *m, struct target *t,
                                   struct fvm_error *err) {
  int v[COUNT(t->threads)];
  int n = cli_ints(cli, OPT_THREADS, v, (int)COUNT(v));
  if (n == 0) n = thread_counts(m->cores, v, (int)COUNT(v));
  for (int i = 0; i < n; i++)
    for (int j = 0; j < i; j++)
      if (v[i] == v[j]) return fvm_fail(err, FVM_EUSAGE, "--threads: %d is there twice", v[i]);
  machine_target(m, v, n, t);
  return FVM_OK;
}

static enum fvm_status profile(struct session *s, struct cli *cli, const char *db,
                               struct fvm_error *err) {
  struct profile_totals totals = {0};
  struct reporter r = {
      .json = cli_flag(cli, OPT_JSON), .quiet = cli_flag(cli, OPT_QUIET), .start = cli_seconds()};
  const char *slash = strrchr(cli->pos[0], '/');
  struct profile_options o = {.model = slash ? slash + 1 : cli->pos[0],
                              .budget_s = cli_real(cli, OPT_BUDGET, 0),
                              .exhaustive = cli_flag(cli, OPT_EXHAUSTIVE),
                              .interrupted = &cli_interrupted,
                              .on_event = on_event,
                              .arg = &r};
  enum fvm_status st = machine_read(&s->machine, err);
  if (st == FVM_OK) st = thread_list(cli, &s->machine, &o.target, err);
  if (st == FVM_OK) st = db_open(db, DB_WRITE, &s->db, err);
  if (st == FVM_OK) st = session_graph(s, cli, cli->pos[0], err);
  if (st != FVM_OK) return st;
  cli_catch_interrupt();
  progress_start(&r.progress, cli);
  st = profile_graph(s->graph, s->db, &s->machine, &o, &totals, err);
  progress_end(&r.progress);
  if (st == FVM_OK || st == FVM_EINTR) print_totals(&r, &totals);
  return st;
}

enum fvm_status cmd_profile(struct cli *cli, struct fvm_error *err) {
  struct session s = {0};
  const char *db = cli_text(cli, OPT_DB);
  if (!db)
    return fvm_fail(err, FVM_EUSAGE, "profile: say where to store measurements with --db FILE");
  enum fvm_status st = profile(&s, cli, db, err);
  session_close(&s);
  return st;
}
