/* fluidvm check: the independent checker on a plan file, and on its model when given. */
#include "session.h"

enum fvm_status cmd_check(struct cli *cli, struct fvm_error *err) {
  struct session s = {0};
  struct fvm_plan *plan = NULL;
  enum fvm_status st = fvm_load(cli->pos[0], &plan, err);
  if (st == FVM_OK && cli->npos > 1) st = session_graph(&s, cli, cli->pos[1], err);
  if (st == FVM_OK) {
    st = check_plan(plan, s.graph, err);
    if (st != FVM_OK) fvm_prefix(err, "%s", cli->pos[0]);
  }
  if (st == FVM_OK)
    printf("%s: %u steps, %u tensors, %u constants: right%s\n", cli->pos[0], plan->nstep,
           plan->ntensor, plan->nconst, s.graph ? ", and of this model" : "");
  fvm_unload(plan);
  session_close(&s);
  return st;
}
