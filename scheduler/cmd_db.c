/* fluidvm db stat: what databases of measurements hold. */
#include <string.h>

#include "../profiles/db.h"
#include "cli.h"

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

enum fvm_status cmd_db(struct cli *cli, struct fvm_error *err) {
  if (strcmp(cli->pos[0], "stat") != 0)
    return fvm_fail(err, FVM_EUSAGE, "db: unknown action '%s'; did you mean 'stat'?", cli->pos[0]);
  enum fvm_status st = FVM_OK;
  for (int i = 1; i < cli->npos && st == FVM_OK; i++)
    st = print_stat(cli->pos[i], cli_flag(cli, OPT_JSON), err);
  return st;
}
