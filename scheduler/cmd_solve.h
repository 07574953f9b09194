/* fluidvm solve: one function for each solver; the dispatch is in cmd_solve.c. */
#ifndef FVM_CMD_SOLVE_H
#define FVM_CMD_SOLVE_H

#include "cli.h"

/* Errors have the file's name in front already. */
enum fvm_status cmd_solve_layout(struct cli *cli, const char *path, struct fvm_error *err);
enum fvm_status cmd_solve_memory(struct cli *cli, const char *path, struct fvm_error *err);

/* A whole file, NUL-terminated, *n bytes without the NUL; to be freed with solve_text_free. */
enum fvm_status solve_text(const char *path, char **text, size_t *n, struct fvm_error *err);
void solve_text_free(char *text, size_t n);
/* Whether --limit SECONDS are over; arg: a struct solve_clock. */
struct solve_clock {
  double start, limit;
};
struct solve_clock solve_clock_start(const struct cli *cli);
bool solve_clock_over(void *arg);

#endif
