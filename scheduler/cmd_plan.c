/* fluidvm plan: graph and costs to a plan file, checked before anybody can run it. */
#include <cjson/cJSON.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd_plan.h"

static bool add_seconds(cJSON *o, const struct phases *p) {
  cJSON *seconds = cJSON_AddObjectToObject(o, "seconds");
  bool ok = seconds != NULL;
  for (int i = 0; i < PHASE_COUNT && ok; i++)
    ok = cJSON_AddNumberToObject(seconds, phase_name[i], p->seconds[i]) != NULL;
  return ok;
}

enum fvm_status plan_print_json(const struct session *session, double error, const char *path,
                                struct fvm_error *err) {
  const struct schedule *s = session->schedule;
  const struct {
    const char *key;
    double value;
  } row[] = {
      {"predicted_ns", (double)s->cost_ns},
      {"layout_cost_ns", (double)s->layout_cost_ns},
      {"layout_bound_ns", (double)s->layout_bound_ns},
      {"order_peak_bytes", (double)s->order_peak},
      {"order_bound_bytes", (double)s->order_bound},
      {"arena_bytes", (double)s->arena_bytes},
      {"arena_bound_bytes", (double)s->arena_bound},
      {"scratch_bytes", (double)s->scratch_bytes},
      {"weight_bytes", (double)s->weight_bytes},
      {"resident_bytes", (double)s->resident_bytes},
      {"steps", (double)s->step.n},
      {"steps_again", s->again},
      {"labels_total", s->labels_total},
      {"labels_measured", s->labels_measured},
      {"labels_by_prior", s->guesses},
      {"conversions", s->conversions},
      {"plan_seconds", s->plan_seconds},
  };
  cJSON *o = cJSON_CreateObject();
  bool ok = o && cJSON_AddStringToObject(o, "status", s->optimal ? "optimal" : "gap");
  ok = ok && cJSON_AddStringToObject(o, "policy", policy_name(session->policy));
  if (path) ok = ok && cJSON_AddStringToObject(o, "plan", path);
  bool ordered = s->order_peak == s->order_bound;
  bool packed = s->arena_bytes == s->arena_bound;
  ok = ok && cJSON_AddStringToObject(o, "order_status", ordered ? "optimal" : "gap");
  ok = ok && cJSON_AddStringToObject(o, "arena_status", packed ? "optimal" : "gap");
  for (size_t i = 0; ok && i < COUNT(row); i++)
    ok = cJSON_AddNumberToObject(o, row[i].key, row[i].value) != NULL;
  if (ok) /* null: not verified */
    ok = error < 0 ? cJSON_AddNullToObject(o, "max_error") != NULL
                   : cJSON_AddNumberToObject(o, "max_error", error) != NULL;
  ok = ok && add_seconds(o, &session->phases);
  char *text = ok ? cJSON_PrintUnformatted(o) : NULL;
  if (text) puts(text);
  cJSON_free(text);
  cJSON_Delete(o);
  return text ? FVM_OK : fvm_nomem(err);
}

static void print_text(const struct session *session, double error, const char *path) {
  const struct schedule *s = session->schedule;
  printf("%s: %zu steps, predicted %.3f ms, %s\n", path, s->step.n, (double)s->cost_ns * 1e-6,
         s->optimal ? "layout and labels optimal" : "layout and labels with a gap");
  printf("  labels      %d of %d costs measured, %d conversions; bound %.3f ms\n",
         s->labels_measured, s->labels_total, s->conversions, (double)s->layout_bound_ns * 1e-6);
  printf("  activations %.1f KiB (bound %.1f), scratch %.1f KiB, weights %.1f MiB\n",
         (double)s->arena_bytes / 1024, (double)s->arena_bound / 1024,
         (double)s->scratch_bytes / 1024, (double)s->weight_bytes / 1048576);
  printf("  memory      %.1f MiB: activations, scratch and what is read of the weights\n",
         (double)s->resident_bytes / 1048576);
  if (s->again)
    printf("  again       %d steps compute again what had no place until it was read\n", s->again);
  if (error >= 0)
    printf("  error       %.2g of the largest output, against the reference\n", error);
  else
    printf("  error       not verified: 'fluidvm profile' or --max-error computes the reference\n");
  if (s->guesses)
    printf("  %d of %zu steps have labels that a prior chose and no measurement: run 'fluidvm "
           "profile' "
           "on this machine\n",
           s->guesses, s->step.n);
  else if (s->labels_measured < s->labels_total && (session->memory || session->arena))
    printf("  labels that take less memory may not be measured, since they are slower: 'fluidvm "
           "profile "
           "--exhaustive' measures all\n");
}

/* Renaming over a device or a folder would destroy it. */
static enum fvm_status regular_or_new(const char *path, struct fvm_error *err) {
  struct stat st;
  if (stat(path, &st) != 0 || S_ISREG(st.st_mode)) return FVM_OK;
  return fvm_fail(err, FVM_EIO, "%s: not a regular file; name one to write the plan to", path);
}

/* ---- accuracy ---- */

/* Errors of labels as they were measured: the largest, and the root of the sum of their squares:
 * they come from rounding and are as good as independent. */
static double label_errors(const struct schedule *s, double *largest) {
  double sum = 0;
  *largest = 0;
  for (size_t i = 0; i < s->step.n; i++) {
    double e = fmax(s->step.v[i].error, 0);
    sum += e * e;
    *largest = fmax(*largest, e);
  }
  return sqrt(sum);
}

/* Outputs by the reference: from the database; else they are computed when asked for, or when the
 * labels' errors leave room for doubt. */
static enum fvm_status get_expected(struct session *s, struct cli *cli, struct accuracy *a,
                                    struct fvm_error *err) {
  enum { DOUBT = 4 }; /* times what the labels make likely */
  double largest;
  enum fvm_status st = FVM_OK;
  struct progress p;
  if (a->have) return FVM_OK; /* of a plan before this one */
  if (s->db) st = expected_load(s->db, s->graph, &a->x, &a->have, err);
  if (st != FVM_OK || a->have) return st;
  expected_free(&a->x);
  if (!cli_text(cli, OPT_MAX_ERROR) && DOUBT * label_errors(s->schedule, &largest) <= a->most)
    return FVM_OK;
  cli_catch_interrupt();
  progress_start(&p, cli);
  progress_show(&p, 0, 1, "outputs by the reference; fluidvm profile would keep them");
  a->have = true;
  st = expected_compute(s->graph, &cli_interrupted, &a->x, err);
  progress_end(&p);
  return st;
}

/* Write the plan under a name of its own, check it, run it. */
static enum fvm_status write_checked(struct session *s, const char *part, struct accuracy *a,
                                     struct fvm_error *err) {
  struct fvm_plan *plan = NULL;
  const struct check_with with = {s->graph, &s->target, s->cost};
  enum fvm_status st = session_write(s, part, err);
  if (st != FVM_OK) return st;
  st = fvm_load(part, &plan, err);
  if (st == FVM_OK) st = check_plan_with(plan, &with, err);
  phase_done(&s->phases, PHASE_check);
  if (st == FVM_OK && a->have) st = plan_error(plan, &a->x, &a->error, err);
  phase_done(&s->phases, PHASE_accuracy);
  a->least = fmin(a->least, a->error);
  fvm_unload(plan);
  if (st == FVM_OK && a->error <= a->most) st = plan_finish(part, a->error, err);
  if (st != FVM_OK || a->error > a->most) unlink(part);
  return st;
}

/* Plan again without the labels of the largest errors, until others are chosen. */
static enum fvm_status reschedule(struct session *s, const struct accuracy *a,
                                  struct fvm_error *err) {
  enum { HALVINGS = 12 };
  enum fvm_status st = FVM_OK;
  double largest, before = label_errors(s->schedule, &largest);
  if (s->label_error <= 0) s->label_error = largest;
  for (int i = 0; i < HALVINGS && s->label_error > 0 && st == FVM_OK; i++) {
    s->label_error /= 2;
    schedule_free(s->schedule);
    st = session_schedule(s, err);
    if (st == FVM_OK && label_errors(s->schedule, &largest) < before) return st;
  }
  return st != FVM_OK ? st
                      : fvm_fail(err, FVM_EFAIL,
                                 "no plan within --max-error %g: the outputs of the most exact one "
                                 "found are off by %.3g",
                                 a->most, a->least);
}

enum fvm_status plan_write_accurate(struct session *s, struct cli *cli, const char *path,
                                    struct accuracy *a, struct fvm_error *err) {
  const char *part = arena_printf(&cli->arena, "%s.unchecked", path);
  enum fvm_status st = part ? get_expected(s, cli, a, err) : fvm_nomem(err);
  phase_done(&s->phases, PHASE_accuracy);
  if (st == FVM_OK) st = write_checked(s, part, a, err);
  while (st == FVM_OK && a->error > a->most) {
    st = reschedule(s, a, err);
    if (st == FVM_OK) st = write_checked(s, part, a, err);
  }
  if (st == FVM_OK && rename(part, path) != 0)
    st = fvm_fail(err, FVM_EIO, "%s: cannot rename the finished plan to this name", path);
  return st;
}

static enum fvm_status plan_one(struct session *s, struct cli *cli, const char *out,
                                struct accuracy *a, struct fvm_error *err) {
  struct progress progress;
  const struct plan_watch watch = {progress_go_on, &progress};
  s->watch = &watch;
  cli_catch_interrupt();
  progress_start(&progress, cli);
  enum fvm_status st = session_schedule(s, err);
  progress_end(&progress);
  s->watch = NULL;
  if (st == FVM_OK) st = plan_write_accurate(s, cli, out, a, err);
  if (st == FVM_OK && cli_flag(cli, OPT_JSON))
    st = plan_print_json(s, a->error, NULL, err);
  else if (st == FVM_OK)
    print_text(s, a->error, out);
  return st;
}

/* What is asked for: a plan of least latency or memory, or the front of both. */
static enum fvm_status find_goal(struct session *s, struct cli *cli, struct fvm_error *err) {
  const char *what = cli_text(cli, OPT_MINIMIZE);
  if (!what || !strcmp(what, "latency")) return FVM_OK;
  if (strcmp(what, "memory") != 0)
    return fvm_fail(err, FVM_EUSAGE, "--minimize %s: it is latency or memory", what);
  if (cli_text(cli, OPT_PARETO))
    return fvm_fail(err, FVM_EUSAGE, "--minimize memory: --pareto has plans of all sizes");
  s->smallest = true;
  return FVM_OK;
}

enum fvm_status cmd_plan(struct cli *cli, struct fvm_error *err) {
  struct session s = {.memory = cli_int(cli, OPT_MEMORY, 0),
                      .arena = cli_int(cli, OPT_MAX_ARENA, 0),
                      .latency_ns = (int64_t)(cli_real(cli, OPT_LATENCY, 0) * 1e6)};
  if (cli_text(cli, OPT_LATENCY)) s.latency_ns = MAX(s.latency_ns, 1);
  struct accuracy a = {.most = cli_real(cli, OPT_MAX_ERROR, 1e-4), .error = -1, .least = INFINITY};
  const char *out = cli_text(cli, OPT_OUT);
  if (!out) return fvm_fail(err, FVM_EUSAGE, "plan needs -o PLAN, the file to write");
  enum fvm_status st = find_goal(&s, cli, err);
  if (st == FVM_OK) st = regular_or_new(out, err);
  if (st == FVM_OK) st = session_graph(&s, cli, cli->pos[0], err);
  if (st == FVM_OK) st = session_cost(&s, cli, err);
  if (st == FVM_OK)
    st = cli_text(cli, OPT_PARETO) ? plan_front(&s, cli, out, &a, err)
                                   : plan_one(&s, cli, out, &a, err);
  expected_free(&a.x);
  session_close(&s);
  return st;
}
