/* fvmrun: run a plan from the command line. Links the executor alone. */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "npy.h"
#include "plan.h"
#include "slots.h"

/* enumerator, name, argument or "", help */
#define OPTIONS(O)                                                                                 \
  O(INPUT, "input", "NAME=FILE.npy", "an input; those not given are made from a fixed seed")       \
  O(OUTPUT, "output", "DIR", "write each output to DIR/NAME.npy")                                  \
  O(THREADS, "threads", "N", "threads, 1 to 64 (default: as planned, which is also the most)")     \
  O(BENCH, "bench", "N", "run twice, then N times; print each latency in ns")                      \
  O(INFO, "info", "", "what the plan is, one `key value` a line; does not run it")                 \
  O(HELP, "help", "", "this text")                                                                 \
  O(VERSION, "version", "", "version")

enum option {
#define O(id, name, arg, help) OPT_##id,
  OPTIONS(O)
#undef O
      OPT_COUNT
};
static const struct row {
  const char *name, *arg, *help;
} rows[] = {
#define O(id, name, arg, help) {name, arg, help},
    OPTIONS(O)
#undef O
};

enum { MAXBENCH = 10 * 1000 * 1000 };

struct args {
  const char *plan, *output;
  VEC(const char *) input; /* NAME=FILE */
  int threads, bench;
  bool info, help, version;
};

/* ---- arguments ---- */

static const char *nearest(const char *name) {
  const char *best = rows[0].name;
  for (int i = 1; i < OPT_COUNT; i++)
    if (name_distance(name, rows[i].name) < name_distance(name, best)) best = rows[i].name;
  return best;
}

static enum fvm_status number(const char *text, int lo, int hi, int *to, const char *name,
                              struct fvm_error *err) {
  char *end;
  errno = 0;
  long x = strtol(text, &end, 10);
  if (errno || end == text || *end || x < lo || x > hi)
    return fvm_fail(err, FVM_EUSAGE, "--%s %.40s: a number from %d to %d is needed", name, text, lo,
                    hi);
  *to = (int)x;
  return FVM_OK;
}

static enum fvm_status take(struct args *a, enum option o, const char *text,
                            struct fvm_error *err) {
  switch (o) {
  case OPT_INPUT:
    if (!strchr(text, '=')) return fvm_fail(err, FVM_EUSAGE, "--input %.100s: no NAME=FILE", text);
    return VEC_PUSH(&a->input, text) ? FVM_OK : fvm_nomem(err);
  case OPT_OUTPUT:
    a->output = text;
    return FVM_OK;
  case OPT_THREADS:
    return number(text, 1, PLAN_MAXTHREADS, &a->threads, "threads", err);
  case OPT_BENCH:
    return number(text, 1, MAXBENCH, &a->bench, "bench", err);
  case OPT_INFO:
    a->info = true;
    return FVM_OK;
  case OPT_HELP:
    a->help = true;
    return FVM_OK;
  default:
    a->version = true;
    return FVM_OK;
  }
}

static enum option find_option(const char *name, size_t n) {
  int o = 0;
  while (o < OPT_COUNT && (strlen(rows[o].name) != n || memcmp(rows[o].name, name, n) != 0)) o++;
  return (enum option)o;
}

/* --NAME, --NAME=VALUE or --NAME VALUE at argv[*i]. */
static enum fvm_status parse_option(struct args *a, int argc, char **argv, int *i,
                                    struct fvm_error *err) {
  const char *name = argv[*i] + 2, *value = strchr(name, '=');
  size_t n = value ? (size_t)(value - name) : strlen(name);
  enum option o = find_option(name, n);
  if (o == OPT_COUNT)
    return fvm_fail(err, FVM_EUSAGE, "unknown option --%.40s; did you mean --%s?", name,
                    nearest(name));
  if (!*rows[o].arg)
    return value ? fvm_fail(err, FVM_EUSAGE, "--%s takes no value", rows[o].name)
                 : take(a, o, "", err);
  if (value) return take(a, o, value + 1, err);
  if (++*i >= argc) return fvm_fail(err, FVM_EUSAGE, "--%s needs %s", rows[o].name, rows[o].arg);
  return take(a, o, argv[*i], err);
}

static enum fvm_status parse(struct args *a, int argc, char **argv, struct fvm_error *err) {
  enum fvm_status st = FVM_OK;
  bool options = true;
  for (int i = 1; i < argc && st == FVM_OK; i++) {
    if (options && !strcmp(argv[i], "--")) {
      options = false;
    } else if (options && !strncmp(argv[i], "--", 2)) {
      st = parse_option(a, argc, argv, &i, err);
    } else if (options && argv[i][0] == '-') {
      st = fvm_fail(err, FVM_EUSAGE, "unknown option %.40s; try --help", argv[i]);
    } else if (a->plan) {
      st = fvm_fail(err, FVM_EUSAGE, "one plan, please, not also %.100s", argv[i]);
    } else {
      a->plan = argv[i];
    }
  }
  if (st == FVM_OK && !a->plan && !a->help && !a->version)
    st = fvm_fail(err, FVM_EUSAGE, "no plan given; try fvmrun --help");
  return st;
}

static void print_help(void) {
  printf("usage: fvmrun PLAN [options]\nRun a plan that `fluidvm plan` made.\n\n");
  for (int o = 0; o < OPT_COUNT; o++) {
    int n = printf("  --%s %s", rows[o].name, rows[o].arg);
    printf("%*s%s\n", 26 - n, "", rows[o].help);
  }
}

/* ---- the run ---- */

/* Printed at the end, so that printing does not disturb what it measures. */
static enum fvm_status bench(struct slots *s, int n, struct fvm_error *err) {
  int64_t *ns = fvm_alloc((size_t)n, sizeof *ns);
  if (!ns) return fvm_nomem(err);
  enum fvm_status st = slots_time(s, ns, n, err);
  for (int i = 0; i < n && st == FVM_OK; i++) printf("%" PRId64 "\n", ns[i]);
  fvm_free(ns, (size_t)n, sizeof *ns);
  return st;
}

static enum fvm_status show(const struct slots *s, struct fvm_error *err) {
  struct text t = {0};
  slots_show(s, &t);
  enum fvm_status st = t.failed ? fvm_nomem(err) : FVM_OK;
  if (st == FVM_OK && t.n) fputs(t.v, stdout);
  text_free(&t);
  return st;
}

static void print_io(const char *what, const struct fvm_io *io) {
  char type[NPY_TYPE_TEXT];
  npy_type_text(io->dtype, io->rank, io->dim, type);
  printf("%s%s %s", what, io->name, type);
}

static void print_info(const struct fvm_plan *p) {
  struct fvm_info i;
  fvm_info(p, &i);
  printf("model %s\nthreads %d\nsteps %d\n", i.model, i.threads, i.steps);
  printf("arena_bytes %zu\nweight_bytes %zu\nscratch_bytes %zu\n", i.arena_bytes, i.weight_bytes,
         i.scratch_bytes);
  printf("predicted_ns %" PRId64 "\n", i.predicted_ns);
  for (int k = 0; k < fvm_ninputs(p); k++, putchar('\n')) print_io("input ", fvm_input(p, k));
  for (int k = 0; k < fvm_noutputs(p); k++, putchar('\n')) print_io("output ", fvm_output(p, k));
  for (int k = 0; k < fvm_noutputs(p); k++)
    if (fvm_output(p, k)->state >= 0)
      printf("state %s %s\n", fvm_input(p, fvm_output(p, k)->state)->name, fvm_output(p, k)->name);
}

static enum fvm_status run(const struct args *a, const struct fvm_plan *plan, struct slots *s,
                           struct fvm_error *err) {
  enum fvm_status st = slots_open(s, plan, a->threads, err);
  for (size_t i = 0; i < a->input.n && st == FVM_OK; i++) st = slots_give(s, a->input.v[i], err);
  if (st == FVM_OK) st = slots_fill(s, npy_read_io, err);
  if (st != FVM_OK) return st;
  if (a->bench) return bench(s, a->bench, err);
  st = fvm_run(s->inst, err);
  if (st != FVM_OK) return st;
  return a->output ? slots_write(s, a->output, err) : show(s, err);
}

static enum fvm_status execute(const struct args *a, struct fvm_error *err) {
  struct fvm_plan *plan = NULL;
  struct slots s = {0};
  enum fvm_status st = fvm_load(a->plan, &plan, err);
  if (st == FVM_OK && a->info)
    print_info(plan);
  else if (st == FVM_OK)
    st = run(a, plan, &s, err);
  slots_close(&s);
  fvm_unload(plan);
  return st;
}

/* One line, whatever a hostile file put into names. */
static void print_error(const struct fvm_error *err) {
  fputs("fvmrun: ", stderr);
  for (const char *c = err->text; *c; c++) fputc(*c >= 0 && *c < ' ' ? '?' : *c, stderr);
  fputc('\n', stderr);
}

int main(int argc, char **argv) {
  struct args a = {0};
  struct fvm_error err = {FVM_OK, ""};
  enum fvm_status st = parse(&a, argc, argv, &err);
  if (st == FVM_OK && a.help)
    print_help();
  else if (st == FVM_OK && a.version)
    printf("fvmrun %s\n", fvm_version());
  else if (st == FVM_OK)
    st = execute(&a, &err);
  if (st == FVM_OK && (fflush(stdout) != 0 || ferror(stdout)))
    st = fvm_fail(&err, FVM_EIO, "standard output: cannot be written (%s)", strerror(errno));
  if (st != FVM_OK) print_error(&err);
  VEC_FREE(&a.input);
  return fvm_exit_status(st);
}
