/* fluidvm run and bench: load or make a plan, give it inputs, run it. */
#include <stdlib.h>
#include <string.h>

#include "../vm/npy.h"
#include "../vm/slots.h"
#include "session.h"

/* An input in ONNX's own form. */
static enum fvm_status read_pb(const char *path, const struct fvm_io *io, void *data,
                               struct fvm_error *err) {
  struct arena a = {0};
  struct tensor t;
  const char *name;
  enum fvm_status st = onnx_read_tensor(path, &a, &t, &name, err);
  if (st == FVM_OK && (t.dtype != io->dtype || t.rank != io->rank ||
                       memcmp(t.dim, io->dim, (size_t)t.rank * sizeof *t.dim) != 0)) {
    char have[NPY_TYPE_TEXT], want[NPY_TYPE_TEXT];
    npy_type_text(t.dtype, t.rank, t.dim, have);
    npy_type_text(io->dtype, io->rank, io->dim, want);
    st = fvm_fail(err, FVM_EFORMAT, "%s: holds %s, input '%s' is %s", path, have, io->name, want);
  }
  if (st == FVM_OK) memcpy(data, t.data, io->bytes);
  arena_free(&a);
  return st;
}

static enum fvm_status read_input(const char *path, const struct fvm_io *io, void *data,
                                  struct fvm_error *err) {
  size_t n = strlen(path);
  bool pb = n > 3 && !strcmp(path + n - 3, ".pb");
  return pb ? read_pb(path, io, data, err) : npy_read_io(path, io, data, err);
}

/* Load or plan pos[0] and get everything ready to run. */
static enum fvm_status get_ready(struct cli *cli, struct fvm_plan **plan, struct slots *s,
                                 struct fvm_error *err) {
  const char *give;
  enum fvm_status st = session_load(cli, cli->pos[0], plan, err);
  if (st == FVM_OK) st = slots_open(s, *plan, (int)cli_int(cli, OPT_THREADS, 0), err);
  for (int i = 0; st == FVM_OK && (give = cli_multi(cli, OPT_INPUT, i)); i++)
    st = slots_give(s, give, err);
  return st == FVM_OK ? slots_fill(s, read_input, err) : st;
}

enum fvm_status cmd_run(struct cli *cli, struct fvm_error *err) {
  struct fvm_plan *plan = NULL;
  struct slots s = {0};
  struct text t = {0};
  const char *dir = cli_text(cli, OPT_OUT);
  enum fvm_status st = get_ready(cli, &plan, &s, err);
  if (st == FVM_OK) st = fvm_run(s.inst, err);
  if (st == FVM_OK && dir) st = slots_write(&s, dir, err);
  if (st == FVM_OK && !dir) {
    slots_show(&s, &t);
    st = cli_print(&t, err);
  }
  slots_close(&s);
  fvm_unload(plan);
  return st;
}

static int ascending(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

static void print_times(struct cli *cli, int64_t *ns, int n) {
  qsort(ns, (size_t)n, sizeof *ns, ascending);
  size_t middle = (size_t)n / 2, late = (size_t)n * 95 / 100;
  double least = (double)ns[0] * 1e-6, median = (double)ns[middle] * 1e-6,
         p95 = (double)ns[late] * 1e-6;
  if (cli_flag(cli, OPT_JSON))
    printf("{\"runs\":%d,\"min_ms\":%.6f,\"median_ms\":%.6f,\"p95_ms\":%.6f}\n", n, least, median,
           p95);
  else
    printf("%d runs: min %.3f ms, median %.3f ms, 95 %% below %.3f ms\n", n, least, median, p95);
}

/* Runs that fill about two seconds, from one that is timed first. */
static enum fvm_status choose_runs(struct slots *s, int *n, struct fvm_error *err) {
  int64_t once;
  enum fvm_status st = slots_time(s, &once, 1, err);
  *n = (int)MAX(5, MIN(100000, 2000000000 / MAX(once, 1)));
  return st;
}

enum fvm_status cmd_bench(struct cli *cli, struct fvm_error *err) {
  struct fvm_plan *plan = NULL;
  struct slots s = {0};
  int n = (int)cli_int(cli, OPT_RUNS, 0);
  enum fvm_status st = get_ready(cli, &plan, &s, err);
  if (st == FVM_OK && n == 0) st = choose_runs(&s, &n, err);
  int64_t *ns = ARENA_NEW(&cli->arena, int64_t, MAX(n, 1));
  if (st == FVM_OK && !ns) st = fvm_nomem(err);
  if (st == FVM_OK) st = slots_time(&s, ns, n, err);
  if (st == FVM_OK) print_times(cli, ns, n);
  slots_close(&s);
  fvm_unload(plan);
  return st;
}
