/* fluidvm solve: the planner's solvers by themselves, on files. */
#include "cmd_solve.h"

#include <errno.h>
#include <string.h>

#define DEFAULT_LIMIT 60.0 /* seconds */

static const struct {
  const char *name;
  enum fvm_status (*solve)(struct cli *cli, const char *path, struct fvm_error *err);
} solvers[] = {
    {"layout", cmd_solve_layout},
    {"memory", cmd_solve_memory},
};

enum fvm_status cmd_solve(struct cli *cli, struct fvm_error *err) {
  for (size_t i = 0; i < COUNT(solvers); i++)
    if (strcmp(cli->pos[0], solvers[i].name) == 0) return solvers[i].solve(cli, cli->pos[1], err);
  return fvm_fail(err, FVM_EUSAGE, "solve: unknown solver '%s'; it is 'layout' or 'memory'",
                  cli->pos[0]);
}

static enum fvm_status read_all(FILE *f, char **text, size_t *n, struct fvm_error *err) {
  size_t cap = 1 << 16, got = 1;
  char *v = fvm_alloc(cap, 1), *grown = v;
  for (*n = 0; grown && got > 0; *n += got) {
    if (*n + 1 == cap) {
      grown = fvm_realloc(v, cap, 2 * cap, 1);
      if (!grown) break;
      v = grown, cap *= 2;
    }
    got = fread(v + *n, 1, cap - *n - 1, f);
  }
  *text = grown ? fvm_realloc(v, cap, *n + 1, 1) : NULL;
  if (!*text) fvm_free(v, cap, 1);
  return *text ? FVM_OK : fvm_nomem(err);
}

enum fvm_status solve_text(const char *path, char **text, size_t *n, struct fvm_error *err) {
  FILE *f = fopen(path, "rb");
  if (!f) return fvm_fail(err, FVM_EFORMAT, "cannot be opened (%s)", strerror(errno));
  errno = 0;
  enum fvm_status st = read_all(f, text, n, err);
  if (st == FVM_OK && ferror(f)) {
    solve_text_free(*text, *n);
    st = fvm_fail(err, FVM_EFORMAT, "cannot be read (%s)", strerror(errno));
  }
  fclose(f);
  return st;
}

void solve_text_free(char *text, size_t n) { fvm_free(text, n + 1, 1); }

struct solve_clock solve_clock_start(const struct cli *cli) {
  return (struct solve_clock){cli_seconds(), cli_real(cli, OPT_LIMIT, DEFAULT_LIMIT)};
}

bool solve_clock_over(void *arg) {
  const struct solve_clock *c = arg;
  return cli_seconds() - c->start > c->limit;
}
