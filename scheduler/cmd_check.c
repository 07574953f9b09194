/* fluidvm check: the independent checker on a plan file, on its model when given, and on the costs
 * in a database. */
#include <string.h>

#include "session.h"

/* Labels depend on the machine: those of another one's plan are not looked for. */
static enum fvm_status find_target(struct session *s, struct cli *cli, const struct fvm_plan *p,
                                   struct check_with *with, struct fvm_error *err) {
  enum fvm_status st = session_cost(s, cli, err);
  if (st != FVM_OK) return st;
  const char *machine = plan_string(p, p->meta->machine);
  bool here = !strcmp(machine, s->machine.text);
  if (here) with->target = &s->target;
  if (here && s->db) with->cost = s->cost;
  if (s->db && !here)
    return fvm_fail(err, FVM_EUSAGE, "--db: the plan was made on another machine, '%.200s'",
                    machine);
  return FVM_OK;
}

static void print(const struct cli *cli, const struct fvm_plan *p, const struct check_with *with) {
  printf("%s: %u steps, %u tensors, %u constants: right", cli->pos[0], p->nstep, p->ntensor,
         p->nconst);
  if (with->graph) printf(", and of this model");
  if (with->graph && !with->target)
    printf("; made on another machine: labels and programs are not looked into");
  if (with->cost) printf(", at the costs of %s", cli_text(cli, OPT_DB));
  printf("\n");
}

enum fvm_status cmd_check(struct cli *cli, struct fvm_error *err) {
  struct session s = {0};
  struct fvm_plan *plan = NULL;
  struct check_with with = {0};
  if (cli_text(cli, OPT_DB) && cli->npos < 2)
    return fvm_fail(err, FVM_EUSAGE, "check --db needs the model, too: check PLAN MODEL --db DB");
  enum fvm_status st = fvm_load(cli->pos[0], &plan, err);
  if (st == FVM_OK && cli->npos > 1) st = session_graph(&s, cli, cli->pos[1], err);
  if (st == FVM_OK && cli->npos > 1) st = find_target(&s, cli, plan, &with, err);
  with.graph = s.graph;
  if (st == FVM_OK) {
    st = check_plan_with(plan, &with, err);
    if (st != FVM_OK) fvm_prefix(err, "%s", cli->pos[0]);
  }
  if (st == FVM_OK) print(cli, plan, &with);
  fvm_unload(plan);
  session_close(&s);
  return st;
}
