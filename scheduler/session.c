/* Model to graph to plan, for the commands. Contract: session.h. */
#include "session.h"

#include "pin.h"
#include "profile.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Nominal figures of one core for the analytic model: only their ratios matter, to rank labels
 * before anything is measured. */
static const struct {
  double gflops, gbytes, call_ns;
} nominal[ISA_COUNT] = {
    [ISA_REF] = {2, 8, 20}, [ISA_AVX2] = {50, 15, 10}, [ISA_AVX512] = {100, 20, 10}};

bool is_plan_file(const char *path) {
  char magic[sizeof PLAN_MAGIC - 1];
  FILE *f = fopen(path, "rb");
  if (!f) return false;
  bool is = fread(magic, sizeof magic, 1, f) == 1 && !memcmp(magic, PLAN_MAGIC, sizeof magic);
  fclose(f);
  return is;
}

int thread_counts(int n, int *v, int cap) {
  int k = 0;
  for (int t = 1; t < n && k < cap - 1; t *= 2) v[k++] = t;
  v[k++] = n;
  return k;
}

static enum fvm_status read_policy(struct session *s, const struct cli *cli,
                                   struct fvm_error *err) {
  static const enum opt limit[] = {OPT_MEMORY, OPT_MAX_ARENA, OPT_LATENCY, OPT_PARETO};
  const char *name = cli_text(cli, OPT_POLICY);
  bool limited = false;
  if (!name) return FVM_OK;
  s->policy = policy_find(name);
  if (s->policy == POLICY_COUNT)
    return fvm_fail(err, FVM_EUSAGE, "--policy %s: there are exact, greedy, none and fluidml",
                    name);
  for (size_t i = 0; i < COUNT(limit); i++) limited |= cli_text(cli, limit[i]) != NULL;
  if (!limited || s->policy == POLICY_exact) return FVM_OK;
  return fvm_fail(err, FVM_EUSAGE,
                  "--policy %s knows no limits on memory or latency; leave them or it out", name);
}

enum fvm_status session_graph(struct session *s, struct cli *cli, const char *model,
                              struct fvm_error *err) {
  struct dim_binding *dim;
  int ndim;
  phases_start(&s->phases);
  const char *pin = cli_text(cli, OPT_PIN);
  enum fvm_status st = cli_dims(cli, &dim, &ndim, err);
  if (st == FVM_OK) st = read_policy(s, cli, err);
  if (st == FVM_OK && pin) st = pins_read(pin, &s->pins, err);
  if (st == FVM_OK) st = onnx_import(model, dim, ndim, &s->graph, err);
  phase_done(&s->phases, PHASE_read);
  if (st != FVM_OK) return st;
  st = pipeline_run(s->graph, NULL, err);
  phase_done(&s->phases, PHASE_passes);
  return st == FVM_OK ? st : fvm_prefix(err, "%s", model);
}

static enum fvm_status open_costs(struct session *s, const char *path, struct cost *model,
                                  struct fvm_error *err) {
  enum fvm_status st = db_open(path, DB_READ, &s->db, err);
  if (st == FVM_OK) st = db_machine(s->db, &s->machine, &s->machine_id, err);
  if (st == FVM_OK) st = db_build(s->db, build_text(), &s->build_id, err);
  if (st == FVM_OK && s->graph) st = states_make(&s->states, s->graph, &s->target, err);
  if (st == FVM_OK) st = cost_prior_new(s->db, s->machine_id, &s->states, model, &model, err);
  if (st == FVM_OK) {
    s->cost = cost_db_new(s->db, s->machine_id, s->build_id, &s->states, model, err);
    if (!s->cost) st = err->code;
  }
  if (st != FVM_OK) cost_free(model);
  return st;
}

static enum fvm_status find_costs(struct session *s, struct cli *cli, struct fvm_error *err) {
  enum fvm_status st = machine_read(&s->machine, err);
  if (st != FVM_OK) return st;
  int counts[8], most = (int)cli_int(cli, OPT_THREADS, s->machine.cores);
  int n = thread_counts(most, counts, (int)COUNT(counts));
  machine_target(&s->machine, counts, n, &s->target);
  enum isa isa = s->target.isa;
  struct cost *model =
      cost_model_new(nominal[isa].gflops, nominal[isa].gbytes, nominal[isa].call_ns);
  if (!model) return fvm_nomem(err);
  const char *db = cli_text(cli, OPT_DB);
  if (db) return open_costs(s, db, model, err);
  s->cost = model;
  return FVM_OK;
}

enum fvm_status session_cost(struct session *s, struct cli *cli, struct fvm_error *err) {
  enum fvm_status st = find_costs(s, cli, err);
  phase_done(&s->phases, PHASE_costs);
  return st;
}

void session_options(const struct session *s, struct plan_options *o) {
  *o = (struct plan_options){.target = s->target,
                             .max_ticks = PLAN_TICKS,
                             .build = build_text(),
                             .machine = s->machine.text,
                             .policy = s->policy,
                             .memory = s->memory,
                             .pins = s->pins,
                             .arena = s->arena,
                             .latency_ns = s->latency_ns,
                             .watch = s->watch,
                             .label_error = s->label_error};
}

enum fvm_status session_schedule(struct session *s, struct fvm_error *err) {
  struct plan_options o;
  session_options(s, &o);
  o.phases = &s->phases;
  double start = cli_seconds();
  enum fvm_status st = s->smallest ? schedule_smallest(s->graph, s->cost, &o, &s->schedule, err)
                                   : schedule_graph(s->graph, s->cost, &o, &s->schedule, err);
  if (st == FVM_OK) s->schedule->plan_seconds = cli_seconds() - start;
  return st;
}

enum fvm_status session_write(struct session *s, const char *path, struct fvm_error *err) {
  struct plan_options o;
  session_options(s, &o);
  enum fvm_status st = plan_write(s->schedule, &o, path, err);
  phase_done(&s->phases, PHASE_write);
  return st;
}

void session_close(struct session *s) {
  schedule_free(s->schedule);
  cost_free(s->cost);
  db_close(s->db);
  states_free(&s->states);
  graph_free(s->graph);
  pins_free(s->pins);
}

/* A file in a folder of its own, which nobody else can guess or prepare; the caller's cli keeps the
 * text. */
static enum fvm_status temporary(struct cli *cli, char **folder, char **file,
                                 struct fvm_error *err) {
  const char *tmp = getenv("TMPDIR");
  if (!tmp || !*tmp) tmp = "/tmp";
  *folder = arena_printf(&cli->arena, "%s/fluidvm-XXXXXX", tmp);
  if (!*folder) return fvm_nomem(err);
  if (!mkdtemp(*folder))
    return fvm_fail(err, FVM_EENV,
                    "%s: no folder can be made in it (%s); set TMPDIR to one that can be written",
                    tmp, strerror(errno));
  *file = arena_printf(&cli->arena, "%s/plan", *folder);
  if (*file) return FVM_OK;
  rmdir(*folder);
  return fvm_nomem(err);
}

enum fvm_status session_plan(struct session *s, struct cli *cli, struct fvm_plan **plan,
                             struct fvm_error *err) {
  char *folder, *file;
  enum fvm_status st = session_schedule(s, err);
  if (st == FVM_OK) st = temporary(cli, &folder, &file, err);
  if (st != FVM_OK) return st;
  st = session_write(s, file, err);
  if (st == FVM_OK) st = fvm_load(file, plan, err);
  unlink(file); /* the mapping keeps it */
  rmdir(folder);
  return st;
}

enum fvm_status session_load(struct cli *cli, const char *path, struct fvm_plan **plan,
                             struct fvm_error *err) {
  if (is_plan_file(path)) {
    if (cli_text(cli, OPT_PIN))
      return fvm_fail(err, FVM_EUSAGE, "--pin is for models; %s is a plan, with labels of its own",
                      path);
    return fvm_load(path, plan, err);
  }
  struct session s = {0};
  enum fvm_status st = session_graph(&s, cli, path, err);
  if (st == FVM_OK) st = session_cost(&s, cli, err);
  if (st == FVM_OK) st = session_plan(&s, cli, plan, err);
  session_close(&s);
  return st;
}
