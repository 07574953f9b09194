/* fluidvm plan: graph and costs to a plan file, checked before anybody can run it. */
#include <cjson/cJSON.h>
#include <sys/stat.h>
#include <unistd.h>

#include "session.h"

static enum fvm_status print_json(const struct schedule *s, struct fvm_error *err) {
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
      {"labels_total", s->labels_total},
      {"labels_measured", s->labels_measured},
      {"conversions", s->conversions},
      {"plan_seconds", s->plan_seconds},
  };
  cJSON *o = cJSON_CreateObject();
  bool ok = o && cJSON_AddStringToObject(o, "status", s->optimal ? "optimal" : "gap");
  for (size_t i = 0; ok && i < COUNT(row); i++)
    ok = cJSON_AddNumberToObject(o, row[i].key, row[i].value) != NULL;
  char *text = ok ? cJSON_PrintUnformatted(o) : NULL;
  if (text) puts(text);
  cJSON_free(text);
  cJSON_Delete(o);
  return text ? FVM_OK : fvm_nomem(err);
}

static void print_text(const struct schedule *s, const char *path) {
  printf("%s: %zu steps, predicted %.3f ms, %s\n", path, s->step.n, (double)s->cost_ns * 1e-6,
         s->optimal ? "layout and labels optimal" : "layout and labels with a gap");
  printf("  labels      %d of %d costs measured, %d conversions; bound %.3f ms\n",
         s->labels_measured, s->labels_total, s->conversions, (double)s->layout_bound_ns * 1e-6);
  printf("  activations %.1f KiB (bound %.1f), scratch %.1f KiB, weights %.1f MiB\n",
         (double)s->arena_bytes / 1024, (double)s->arena_bound / 1024,
         (double)s->scratch_bytes / 1024, (double)s->weight_bytes / 1048576);
  printf("  memory      %.1f MiB: activations, scratch and what is read of the weights\n",
         (double)s->resident_bytes / 1048576);
  if (s->labels_measured < s->labels_total)
    printf("  not all costs are measured: run 'fluidvm profile' on this machine first\n");
}

/* Renaming over a device or a folder would destroy it. */
static enum fvm_status regular_or_new(const char *path, struct fvm_error *err) {
  struct stat st;
  if (stat(path, &st) != 0 || S_ISREG(st.st_mode)) return FVM_OK;
  return fvm_fail(err, FVM_EIO, "%s: not a regular file; name one to write the plan to", path);
}

/* The file is written under its final name only when the checker agrees. */
static enum fvm_status write_checked(struct session *s, struct cli *cli, const char *path,
                                     struct fvm_error *err) {
  const char *part = arena_printf(&cli->arena, "%s.unchecked", path);
  if (!part) return fvm_nomem(err);
  struct fvm_plan *plan = NULL;
  enum fvm_status st = session_write(s, part, err);
  if (st != FVM_OK) return st;
  st = fvm_load(part, &plan, err);
  if (st == FVM_OK) st = check_plan(plan, s->graph, err);
  fvm_unload(plan);
  if (st == FVM_OK && rename(part, path) != 0)
    st = fvm_fail(err, FVM_EIO, "%s: cannot rename the finished plan to this name", path);
  if (st != FVM_OK) unlink(part);
  return st;
}

/* The plan is the best for latency within --memory; one that trades it for the arena is not looked
 * for. */
static enum fvm_status within_limits(const struct session *s, struct cli *cli,
                                     struct fvm_error *err) {
  const struct schedule *p = s->schedule;
  int64_t arena = cli_int(cli, OPT_MAX_ARENA, INT64_MAX), need = p->arena_bytes;
  double latency = cli_real(cli, OPT_LATENCY, 1e300), ms = (double)p->cost_ns * 1e-6;
  if (need > arena)
    return fvm_fail(err, FVM_EFAIL,
                    "no plan within --max-arena %lld bytes: the best needs %lld, its bound is %lld",
                    (long long)arena, (long long)need, (long long)p->arena_bound);
  if (ms > latency)
    return fvm_fail(err, FVM_EFAIL,
                    "no plan within --latency %g ms: the best is predicted to take %.3f", latency,
                    ms);
  return FVM_OK;
}

enum fvm_status cmd_plan(struct cli *cli, struct fvm_error *err) {
  struct session s = {0};
  const char *out = cli_text(cli, OPT_OUT);
  if (!out) return fvm_fail(err, FVM_EUSAGE, "plan needs -o PLAN, the file to write");
  enum fvm_status st = regular_or_new(out, err);
  if (st == FVM_OK) st = session_graph(&s, cli, cli->pos[0], err);
  if (st == FVM_OK) st = session_cost(&s, cli, err);
  s.memory = cli_int(cli, OPT_MEMORY, 0);
  if (st == FVM_OK) st = session_schedule(&s, err);
  if (st == FVM_EFAIL && s.memory) fvm_prefix(err, "--memory");
  if (st == FVM_OK) st = within_limits(&s, cli, err);
  if (st == FVM_OK) st = write_checked(&s, cli, out, err);
  if (st == FVM_OK && cli_flag(cli, OPT_JSON))
    st = print_json(s.schedule, err);
  else if (st == FVM_OK)
    print_text(s.schedule, out);
  session_close(&s);
  return st;
}
