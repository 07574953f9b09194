/* fluidvm: parse the command line, run the command, print its error, exit. */
#include <fcntl.h>
#include <unistd.h>

#include "cli.h"

static enum fvm_status (*const command[])(struct cli *, struct fvm_error *) = {
#define COMMAND(name, lo, hi, args, help) cmd_##name,
#include "commands.def"
#undef COMMAND
};

/* Where a standard stream was closed, the next file opened would take its place and get what is
 * printed. A place holder that cannot be written keeps printing an error. */
static void hold_streams(void) {
  while (1) {
    int fd = open("/dev/null", O_RDONLY);
    if (fd >= 0 && fd <= 2) continue;
    if (fd > 2) close(fd);
    return;
  }
}

int main(int argc, char **argv) {
  struct fvm_error err = {0};
  hold_streams();
  struct cli cli;
  enum fvm_status st = cli_parse(argc, argv, &cli, &err);
  if (st == FVM_OK) st = command[cli.command](&cli, &err);
  /* Results that never reached their file (disk full, closed pipe) are a failure too. */
  if (fflush(stdout) != 0 && st == FVM_OK)
    st = fvm_fail(&err, FVM_EIO, "standard output: writing failed; is the disk full?");
  cli_free(&cli);
  if (st != FVM_OK && err.text[0]) fprintf(stderr, "fluidvm: %s\n", err.text);
  return fvm_exit_status(st);
}
