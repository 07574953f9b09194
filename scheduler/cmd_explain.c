/* fluidvm explain: run a plan with a clock, and say where its time goes and why its labels are what
 * they are. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../vm/exec.h"
#include "../vm/npy.h"
#include "../vm/slots.h"
#include "explain.h"
#include "profile.h"
#include "session.h"

/* ---- what to explain ---- */

/* A plan from a file: the graph only if its model is given, too. What other labels would cost is
 * then asked under the limit on memory that is given again. */
static enum fvm_status from_plan(struct session *s, struct cli *cli, struct fvm_plan **plan,
                                 struct fvm_error *err) {
  const char *model = cli_text(cli, OPT_MODEL);
  s->memory = cli_int(cli, OPT_MEMORY, 0);
  if (cli_text(cli, OPT_PIN) && !model)
    return fvm_fail(err, FVM_EUSAGE, "--pin is for models; %s is a plan: give its --model, too",
                    cli->pos[0]);
  enum fvm_status st = fvm_load(cli->pos[0], plan, err);
  if (st == FVM_OK && model) st = session_graph(s, cli, model, err);
  if (st == FVM_OK && model && s->graph->model_hash != (*plan)->meta->model_hash)
    st = fvm_fail(err, FVM_EUSAGE, "--model %s: %s was made from another one", model, cli->pos[0]);
  if (st == FVM_OK) st = session_cost(s, cli, err);
  if (st != FVM_OK) return st;
  /* Other labels are to be had with as many threads. */
  int counts[8];
  int n = thread_counts((int)(*plan)->meta->threads, counts, (int)COUNT(counts));
  machine_target(&s->machine, counts, n, &s->target);
  return model && cli->npos > 1 ? session_schedule(s, err) : FVM_OK;
}

static enum fvm_status get_plan(struct session *s, struct cli *cli, struct fvm_plan **plan,
                                struct fvm_error *err) {
  if (is_plan_file(cli->pos[0])) return from_plan(s, cli, plan, err);
  if (cli_text(cli, OPT_MODEL))
    return fvm_fail(err, FVM_EUSAGE, "--model belongs to a plan; %s is none", cli->pos[0]);
  s->memory = cli_int(cli, OPT_MEMORY, 0);
  enum fvm_status st = session_graph(s, cli, cli->pos[0], err);
  if (st == FVM_OK) st = session_cost(s, cli, err);
  return st == FVM_OK ? session_plan(s, cli, plan, err) : st;
}

/* ---- measuring ---- */

/* One run without a clock in it, one with. */
static enum fvm_status run_both(struct slots *s, struct explain_times *t, int64_t *step,
                                uint32_t nstep, struct fvm_error *err) {
  double start = cli_seconds();
  enum fvm_status st = fvm_run(s->inst, err);
  int64_t ns = (int64_t)((cli_seconds() - start) * 1e9), sum = 0;
  if (st == FVM_OK) st = exec_run_timed(s->inst, step, err);
  if (st != FVM_OK) return st;
  for (uint32_t i = 0; i < nstep; i++) {
    sum += step[i];
    t->step_ns[i] = t->runs ? MIN(t->step_ns[i], step[i]) : step[i];
  }
  t->latency_ns = t->runs ? MIN(t->latency_ns, ns) : ns;
  t->timed_ns = t->runs ? MIN(t->timed_ns, sum) : sum;
  t->runs++;
  return FVM_OK;
}

static int rounds(struct cli *cli, const struct explain_times *t) {
  enum { LEAST = 5, MOST = 500 };
  int64_t wanted = cli_int(cli, OPT_RUNS, 0), budget = 2000000000;
  if (wanted) return (int)wanted;
  return (int)MAX(LEAST, MIN(MOST, budget / (2 * MAX(t->latency_ns, 1))));
}

static enum fvm_status measure(struct cli *cli, struct explanation *x, struct fvm_error *err) {
  struct slots s = {0};
  struct explain_times *t = &x->times;
  uint32_t n = x->plan->nstep;
  int64_t *step = ARENA_NEW(&x->arena, int64_t, MAX(n, 1));
  t->step_ns = ARENA_NEW(&x->arena, int64_t, MAX(n, 1));
  if (!step || !t->step_ns) return fvm_nomem(err);
  enum fvm_status st = slots_open(&s, x->plan, 0, err);
  if (st == FVM_OK) st = slots_fill(&s, npy_read_io, err);
  int64_t warm_up;
  if (st == FVM_OK) st = slots_time(&s, &warm_up, 1, err);
  do {
    if (st == FVM_OK) st = run_both(&s, t, step, n, err);
  } while (st == FVM_OK && t->runs < rounds(cli, t));
  slots_close(&s);
  return st;
}

/* ---- the command ---- */

static const char *machine_line(struct cli *cli, const struct machine *m) {
  const char *s = arena_printf(&cli->arena, "%s, %d cores, %s", m->cpu, m->cores, isa_name(m->isa));
  return s ? s : "";
}

static struct explain_source source_of(const struct session *s, const struct plan_options *o) {
  struct explain_source from = {.schedule = s->schedule,
                                .graph = s->graph,
                                .options = o,
                                .cost = s->cost,
                                .db = s->db,
                                .machine_id = s->machine_id,
                                .build_id = s->build_id};
  from.states = &s->states;
  return from;
}

static enum fvm_status find_node(const struct session *s, const struct fvm_plan *plan,
                                 const char *name, struct explain_node *n, struct fvm_error *err) {
  struct plan_options o;
  const char *chosen = explain_label_in(plan, name);
  session_options(s, &o);
  struct explain_source from = source_of(s, &o);
  from.chosen = chosen;
  if (s->graph) return explain_node(n, &from, name, err);
  if (!s->db)
    return fvm_fail(err, FVM_EUSAGE,
                    "a node of a plan is explained from --db DB, or --model MODEL, or both");
  n->plan_ns = plan->meta->predicted_ns;
  return explain_node_stored(n, s->db, s->machine_id, s->build_id, plan->meta->model_hash, name,
                             chosen, err);
}

static enum fvm_status find_pins(const struct session *s, struct explanation *x,
                                 struct fvm_error *err) {
  struct plan_options o;
  session_options(s, &o);
  struct explain_source from = source_of(s, &o);
  from.graph = s->graph;
  return explain_pins(x, &from, err);
}

static enum fvm_status find_races(const struct session *s, struct explanation *x,
                                  struct fvm_error *err) {
  struct plan_options o;
  session_options(s, &o);
  struct explain_source from = source_of(s, &o);
  return explain_races(x, &from, err);
}

static void print(struct cli *cli, const struct explanation *x, const struct explain_node *n,
                  struct text *out) {
  const char *term = getenv("TERM"), *plain = getenv("NO_COLOR");
  bool terminal = isatty(1) && term && strcmp(term, "dumb") != 0;
  struct explain_style style = {
      .all = cli_flag(cli, OPT_EVERY), .bars = terminal, .color = terminal && !(plain && *plain)};
  if (cli_flag(cli, OPT_JSON))
    explain_json(x, n, out);
  else if (n)
    explain_node_text(x, n, &style, out);
  else
    explain_text(x, &style, out);
}

enum fvm_status cmd_explain(struct cli *cli, struct fvm_error *err) {
  struct session s = {0};
  struct explanation x = {0};
  struct explain_node node = {0};
  struct fvm_plan *plan = NULL;
  struct text out = {0};
  const char *name = cli->npos > 1 ? cli->pos[1] : NULL;
  enum fvm_status st = get_plan(&s, cli, &plan, err);
  if (st == FVM_OK && name) st = find_node(&s, plan, name, &node, err);
  x.plan = plan;
  x.graph = s.graph;
  x.title = strrchr(cli->pos[0], '/');
  x.title = x.title ? x.title + 1 : cli->pos[0];
  x.machine = machine_line(cli, &s.machine);
  if (st == FVM_OK)
    st = machine_team_speed(&s.machine, MAX((int)plan->meta->threads, 1), &x.speed, err);
  if (st == FVM_OK) st = measure(cli, &x, err);
  if (st == FVM_OK) st = explain_steps(&x, err);
  if (st == FVM_OK && !name) st = find_races(&s, &x, err);
  if (st == FVM_OK && !name) st = find_pins(&s, &x, err);
  if (st == FVM_OK) {
    print(cli, &x, name ? &node : NULL, &out);
    st = cli_print(&out, err);
  }
  explain_node_free(&node);
  explain_free(&x);
  fvm_unload(plan);
  session_close(&s);
  return st;
}
