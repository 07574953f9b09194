/* Layer 7: what the commands share: options, errors, progress. Only files of this layer print or
 * exit. Tables: commands.def, options.def. */
#ifndef FVM_CLI_H
#define FVM_CLI_H

#include <stdio.h>

#include "../profiles/machine.h"
#include "graph.h"

enum command {
#define COMMAND(name, lo, hi, args, help) CMD_##name,
#include "commands.def"
#undef COMMAND
  CMD_COUNT
};
enum opt {
#define OPTION(id, name, letter, kind, arg, lo, hi, commands, help) OPT_##id,
#include "options.def"
#undef OPTION
  OPT_COUNT
};

/* A parsed command line. Texts belong to argv or to the arena. */
struct cli {
  enum command command;
  struct arena arena;
  struct cli_item {
    enum opt option;
    const char *text;
    bool from_config; /* the command line wins */
  } * item;
  size_t nitem, item_cap;
  char **pos;
  int npos;
};
enum fvm_status cli_parse(int argc, char **argv, struct cli *cli, struct fvm_error *err);
void cli_free(struct cli *cli);

/* The last value given, NULL when none. Numbers were range-checked by cli_parse. */
const char *cli_text(const struct cli *cli, enum opt o);
bool cli_flag(const struct cli *cli, enum opt o);
int64_t cli_int(const struct cli *cli, enum opt o, int64_t otherwise); /* INT, SIZE */
double cli_real(const struct cli *cli, enum opt o, double otherwise);
/* Comma-separated integers into v[cap]; returns how many (0: not given). */
int cli_ints(const struct cli *cli, enum opt o, int *v, int cap);
/* i-th value of a repeated option, NULL past the last. */
const char *cli_multi(const struct cli *cli, enum opt o, int i);
/* --dim values as bindings, from the cli's arena. */
enum fvm_status cli_dims(struct cli *cli, struct dim_binding **dim, int *n, struct fvm_error *err);

/* Defaults from fluidvm.yaml (config.c): appended to cli->item as from_config. */
enum fvm_status config_read(struct cli *cli, const char *path, bool must_exist,
                            struct fvm_error *err);
/* One default; ignored when the command does not know the option. text must outlive the cli. */
enum fvm_status cli_add_config(struct cli *cli, enum opt o, const char *text,
                               struct fvm_error *err);
/* Option by long name, OPT_COUNT when unknown; and the nearest name to a wrong one. */
enum opt option_find(const char *name, size_t len);
const char *option_nearest(const char *name, enum command c);

/* Set by SIGINT and SIGTERM once cli_catch_interrupt was called. */
extern volatile int cli_interrupted;
void cli_catch_interrupt(void);

/* Progress on stderr: one line rewritten on a terminal, a line every few seconds otherwise. done
 * and total in any unit; text says what is going on. Silent with --quiet or --json. */
struct progress {
  bool silent, terminal;
  bool lines; /* for commands whose --json is lines: one on stdout whenever more is done */
  double start, last, share;
};
void progress_start(struct progress *p, const struct cli *cli);
void progress_show(struct progress *p, double done, double total, const char *text);
void progress_end(struct progress *p);
/* For callbacks of long work: shows it, and is false once there was an interrupt. */
bool progress_go_on(void *progress, double done, double total, const char *text);
double cli_seconds(void); /* monotonic */

/* Print a text to stdout and free it; FVM_ENOMEM when it is incomplete. */
enum fvm_status cli_print(struct text *t, struct fvm_error *err);

/* Each command: returns a status; the error goes out through main(). */
#define COMMAND(name, lo, hi, args, help)                                                          \
  enum fvm_status cmd_##name(struct cli *cli, struct fvm_error *err);
#include "commands.def"
#undef COMMAND

#endif
