/* fluidvm test: ONNX test folders (model.onnx, test_data_set_N/input_M.pb and output_M.pb): plan
 * with the analytic costs, run with the executor, compare. */
#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "../vm/elem.h"
#include "session.h"

struct tally {
  int passed, failed;
  double rtol, atol;
  bool json;
};

static bool exists(const char *path) {
  struct stat st;
  return stat(path, &st) == 0;
}

/* ---- comparing ---- */

static bool near(double got, double want, const struct tally *t) {
  if (isnan(want) || isnan(got)) return isnan(want) && isnan(got);
  if (isinf(want) || isinf(got)) return got == want;
  return fabs(got - want) <= t->atol + t->rtol * fabs(want);
}

static enum fvm_status compare(const struct tensor *want, const struct fvm_io *io, const void *got,
                               const struct tally *t, struct fvm_error *err) {
  if (want->dtype != io->dtype || want->rank != io->rank ||
      memcmp(want->dim, io->dim, (size_t)io->rank * sizeof *io->dim) != 0)
    return fvm_fail(err, FVM_EFAIL, "output '%s' has another type or shape than expected",
                    io->name);
  int64_t n = tensor_count(want);
  bool real = io->dtype == FVM_F32 || io->dtype == FVM_F64 || io->dtype == FVM_F16;
  if (!real && memcmp(want->data, got, io->bytes) != 0)
    return fvm_fail(err, FVM_EFAIL, "output '%s' differs", io->name);
  for (int64_t i = 0; real && i < n; i++) {
    double a = elem_f64(got, io->dtype, i), b = elem_f64(want->data, io->dtype, i);
    if (!near(a, b, t))
      return fvm_fail(err, FVM_EFAIL, "output '%s' element %lld is %g, expected %g", io->name,
                      (long long)i, a, b);
  }
  return FVM_OK;
}

/* ---- one data set ---- */

struct data_set {
  const char *dir;
  const struct fvm_plan *plan;
  struct fvm_instance *inst;
  struct arena arena;
};

static enum fvm_status read_pb(struct data_set *d, const char *kind, int i, struct tensor *t,
                               struct fvm_error *err) {
  const char *name, *path = arena_printf(&d->arena, "%s/%s_%d.pb", d->dir, kind, i);
  return path ? onnx_read_tensor(path, &d->arena, t, &name, err) : fvm_nomem(err);
}

/* A state's input is brought into the order it has in memory; it stays a place of its own. */
static enum fvm_status bind_inputs(struct data_set *d, struct fvm_error *err) {
  for (int i = 0; i < fvm_ninputs(d->plan); i++) {
    const struct fvm_io *io = fvm_input(d->plan, i);
    struct tensor t;
    enum fvm_status st = read_pb(d, "input", i, &t, err);
    if (st == FVM_OK && io->state >= 0 && (size_t)tensor_bytes(&t) == io->bytes) {
      void *data = arena_alloc(&d->arena, io->bytes, 1);
      if (!data) return fvm_nomem(err);
      fvm_pack(io, t.data, data);
      t.data = data;
    }
    if (st == FVM_OK) st = fvm_bind_input(d->inst, i, t.data, (size_t)tensor_bytes(&t), err);
    if (st != FVM_OK) return st;
  }
  return FVM_OK;
}

static enum fvm_status compare_output(struct data_set *d, const struct tensor *want, int i,
                                      const void *got, const struct tally *t,
                                      struct fvm_error *err) {
  const struct fvm_io *io = fvm_output(d->plan, i);
  void *dense = arena_alloc(&d->arena, io->bytes, 1);
  if (!dense) return fvm_nomem(err);
  fvm_unpack(io, got, dense);
  return compare(want, io, dense, t, err);
}

static enum fvm_status run_and_compare(struct data_set *d, const struct tally *t,
                                       struct fvm_error *err) {
  int n = fvm_noutputs(d->plan);
  void **out = ARENA_NEW(&d->arena, void *, n);
  if (!out) return fvm_nomem(err);
  enum fvm_status st = bind_inputs(d, err);
  for (int i = 0; st == FVM_OK && i < n; i++) {
    const struct fvm_io *io = fvm_output(d->plan, i);
    out[i] = arena_alloc(&d->arena, io->bytes, 1);
    st = out[i] ? fvm_bind_output(d->inst, i, out[i], io->bytes, err) : fvm_nomem(err);
  }
  if (st == FVM_OK) st = fvm_run(d->inst, err);
  for (int i = 0; st == FVM_OK && i < n; i++) {
    struct tensor want;
    st = read_pb(d, "output", i, &want, err);
    if (st == FVM_OK) st = compare_output(d, &want, i, out[i], t, err);
  }
  return st;
}

/* ---- one folder ---- */

static enum fvm_status test_folder(struct cli *cli, const char *dir, const struct tally *t,
                                   struct fvm_error *err) {
  struct fvm_plan *plan = NULL;
  struct fvm_instance *inst = NULL;
  struct arena a = {0};
  const char *model = arena_printf(&a, "%s/model.onnx", dir);
  enum fvm_status st = model ? session_load(cli, model, &plan, err) : fvm_nomem(err);
  if (st == FVM_OK) st = fvm_open(plan, 0, NULL, &inst, err);
  for (int i = 0; st == FVM_OK; i++) {
    const char *set = arena_printf(&a, "%s/test_data_set_%d", dir, i);
    if (!set)
      st = fvm_nomem(err);
    else if (!exists(set) && i > 0)
      break;
    else if (!exists(set))
      st = fvm_fail(err, FVM_EFORMAT, "no folder test_data_set_0");
    if (st != FVM_OK) break;
    struct data_set d = {set, plan, inst, {0}};
    st = run_and_compare(&d, t, err);
    arena_free(&d.arena);
  }
  fvm_close(inst);
  fvm_unload(plan);
  arena_free(&a);
  return st;
}

static void count_folder(struct cli *cli, const char *dir, struct tally *t) {
  struct fvm_error err = {0};
  const char *slash = strrchr(dir, '/'), *name = slash && slash[1] ? slash + 1 : dir;
  enum fvm_status st = test_folder(cli, dir, t, &err);
  const char *word = st == FVM_OK ? "ok" : st == FVM_EUNSUPPORTED ? "unsupported" : "FAIL";
  *(st == FVM_OK ? &t->passed : &t->failed) += 1;
  if (t->json)
    printf("{\"folder\":\"%s\",\"result\":\"%s\"}\n", name, word);
  else
    printf("%s %s%s%s\n", word, name, st == FVM_OK ? "" : ": ", st == FVM_OK ? "" : err.text);
}

static int visible(const struct dirent *e) { return e->d_name[0] != '.'; }

/* A folder with a model is a case; any other one holds cases. */
static enum fvm_status count_tree(struct cli *cli, const char *dir, struct tally *t,
                                  struct fvm_error *err) {
  const char *model = arena_printf(&cli->arena, "%s/model.onnx", dir);
  if (!model) return fvm_nomem(err);
  if (exists(model)) {
    count_folder(cli, dir, t);
    return FVM_OK;
  }
  struct dirent **e;
  int n = scandir(dir, &e, visible, alphasort);
  if (n < 0) return fvm_fail(err, FVM_EFORMAT, "%s: not a folder that can be read", dir);
  for (int i = 0; i < n; i++) {
    const char *sub = arena_printf(&cli->arena, "%s/%s", dir, e[i]->d_name);
    model = arena_printf(&cli->arena, "%s/%s/model.onnx", dir, e[i]->d_name);
    if (sub && model && exists(model) && !cli_interrupted) count_folder(cli, sub, t);
    free(e[i]);
  }
  free(e);
  return FVM_OK;
}

enum fvm_status cmd_test(struct cli *cli, struct fvm_error *err) {
  struct tally t = {.rtol = cli_real(cli, OPT_RTOL, 1e-3),
                    .atol = cli_real(cli, OPT_ATOL, 1e-5),
                    .json = cli_flag(cli, OPT_JSON)};
  enum fvm_status st = FVM_OK;
  cli_catch_interrupt();
  for (int i = 0; i < cli->npos && st == FVM_OK; i++) st = count_tree(cli, cli->pos[i], &t, err);
  if (st != FVM_OK) return st;
  if (cli_interrupted) return fvm_fail(err, FVM_EINTR, "interrupted");
  if (t.json)
    printf("{\"passed\":%d,\"failed\":%d,\"skipped\":0}\n", t.passed, t.failed);
  else
    printf("%d passed, %d failed, 0 skipped\n", t.passed, t.failed);
  /* The totals say it already. */
  if (t.passed + t.failed == 0) return fvm_fail(err, FVM_EFORMAT, "no folder with a model.onnx");
  return t.failed ? FVM_EFAIL : FVM_OK;
}
