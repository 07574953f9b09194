/* Memory that runs out anywhere: the n-th allocation fails, for every n, on the whole way from a
 * model to its results, and in the database. Whatever fails says so or does without, loses no byte
 * and leaves no file behind. */
#include "../../profiles/db.h"
#include "../../scheduler/cost.h"
#include "../../scheduler/plan_build.h"
#include "../../scheduler/states.h"
#include "text_case.h"

#include <sys/stat.h>
#include <unistd.h>

static char dir[] = "/tmp/test_alloc.XXXXXX";
static const struct plan_options options = {
    .target = {.threads = {1, 2}, .nthreads = 2, .l1_bytes = 32 << 10, .l2_bytes = 1 << 20},
    .max_ticks = 100000,
    .build = "build",
    .machine = "machine"};

static const char *in_dir(const char *name) {
  static char path[80];
  snprintf(path, sizeof path, "%s/%s", dir, name);
  return path;
}

static int files_in_dir(void) {
  int n = 0;
  DIR *d = opendir(dir);
  ck_assert_ptr_nonnull(d);
  for (const struct dirent *e; (e = readdir(d)) != NULL;) n += e->d_name[0] != '.';
  closedir(d);
  return n;
}

/* ---- the sweep ---- */

typedef enum fvm_status work_fn(const char *subject, struct fvm_error *err);

static void sweep(work_fn *work, const char *subject) {
  size_t before = fvm_bytes_in_use();
  bool fired = true;
  for (long n = 1; fired; n++) {
    struct fvm_error err = {0};
    fvm_fail_alloc(n);
    enum fvm_status st = work(subject, &err);
    fired = fvm_fail_alloc(0) == 0;
    ck_assert_msg(st == FVM_OK || (fired && st == FVM_ENOMEM && strstr(err.text, "memory")),
                  "%.60s: allocation %ld fails: status %d, '%s'", subject, n, (int)st, err.text);
    ck_assert_msg(fvm_bytes_in_use() == before, "%.60s: allocation %ld fails: %zu bytes are lost",
                  subject, n, fvm_bytes_in_use() - before);
    ck_assert_msg(files_in_dir() == 0, "%.60s: allocation %ld fails: files remain", subject, n);
  }
}

/* ---- from a model to its results ---- */

static enum fvm_status run_bound(const struct fvm_plan *p, struct fvm_instance *inst,
                                 struct fvm_error *err) {
  static _Alignas(64) unsigned char data[16][1 << 16];
  int k = 0;
  enum fvm_status st = FVM_OK;
  for (int i = 0; i < fvm_ninputs(p) && !st; i++, k++)
    st = fvm_bind_input(inst, i, data[k], fvm_input(p, i)->bytes, err);
  for (int i = 0; i < fvm_noutputs(p) && !st; i++, k++)
    st = fvm_bind_output(inst, i, data[k], fvm_output(p, i)->bytes, err);
  ck_assert_int_le(k, (int)COUNT(data));
  return st ? st : fvm_run(inst, err);
}

static enum fvm_status run_plan(const struct graph *g, const char *path, struct fvm_error *err) {
  struct fvm_plan *p;
  struct fvm_instance *inst;
  enum fvm_status st = fvm_load(path, &p, err);
  if (st) return st;
  st = check_plan(p, g, err);
  if (!st) st = fvm_open(p, 0, NULL, &inst, err);
  if (!st) {
    st = run_bound(p, inst, err);
    fvm_close(inst);
  }
  fvm_unload(p);
  return st;
}

static enum fvm_status plan_and_run(struct graph *g, struct fvm_error *err) {
  struct schedule *s = NULL;
  enum fvm_status st = pipeline_run(g, NULL, err);
  if (st) return st;
  struct cost *cost = cost_model_new(50, 10, 20);
  st = cost ? schedule_graph(g, cost, &options, &s, err) : fvm_nomem(err);
  if (!st) st = plan_write(s, &options, in_dir("a.plan"), err);
  if (!st) st = run_plan(g, in_dir("a.plan"), err);
  unlink(in_dir("a.plan"));
  schedule_free(s);
  cost_free(cost);
  return st;
}

static enum fvm_status from_text(const char *text, struct fvm_error *err) {
  struct graph *g;
  enum fvm_status st = graph_parse(text, strlen(text), &g, err);
  if (st) return st;
  st = plan_and_run(g, err);
  graph_free(g);
  return st;
}

static enum fvm_status from_file(const char *path, struct fvm_error *err) {
  struct graph *g;
  enum fvm_status st = onnx_import(path, NULL, 0, &g, err);
  if (st) return st;
  st = plan_and_run(g, err);
  graph_free(g);
  return st;
}

static const char convolution[] =
    "graph conv opset=17 hash=00000000000000aa\n"
    "input x:f32[1,16,8,8]\n"
    "const w:f32[16,16,3,3] = #0000000000000000\n"
    "const d:f32[16,1,3,3] = #0000000000000000\n"
    "const b:f32[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}\n"
    "c:f32[1,16,8,8] = Conv(x, w, b) @conv pads=[1,1,1,1]\n"
    "r:f32[1,16,8,8] = Relu(c) @relu\n"
    "e:f32[1,16,8,8] = Conv(r, d, b) @depthwise pads=[1,1,1,1] group=16\n"
    "s:f32[1,16,8,8] = Add(e, c) @add\n"
    "p:f32[1,16,4,4] = MaxPool(s) @pool kernel_shape=[2,2] strides=[2,2]\n"
    "y:f32[1,16,1,1] = GlobalAveragePool(p) @mean\n"
    "output y\n";

START_TEST(convolutions) { sweep(from_text, convolution); }
END_TEST

START_TEST(attention) {
  struct arena a = {0};
  char *text = read_text(&a, arena_printf(&a, "%s/tests/graph/attention.g", source_dir()), NULL);
  sweep(from_text, text);
  arena_free(&a);
}
END_TEST

START_TEST(models) {
  static const char *const name[] = {"first",     "external", "raw",      "attributes",
                                     "constants", "typed",    "optional", "unsorted"};
  struct arena a = {0};
  for (size_t i = 0; i < COUNT(name); i++)
    sweep(from_file, arena_printf(&a, "%s/tests/onnx/%s.onnx", source_dir(), name[i]));
  arena_free(&a);
}
END_TEST

/* ---- the database ---- */

static struct cost *stored_costs(struct db *db, int64_t machine, int64_t build,
                                 struct fvm_error *err) {
  static const struct states warm = {.near = WARM};
  struct cost *model = cost_model_new(50, 10, 20), *c = NULL;
  if (!model) fvm_nomem(err);
  if (model) c = cost_db_new(db, machine, build, &warm, model, err);
  if (!c) cost_free(model);
  return c;
}

/* A lookup without memory counts as not known, so any cost will do. */
static enum fvm_status use_costs(struct db *db, int64_t machine, int64_t build,
                                 struct fvm_error *err) {
  struct tensor t = {.dtype = FVM_F32, .rank = 2, .dim = {64, 64}};
  struct cost *c = stored_costs(db, machine, build, err);
  if (!c) return err->code;
  ck_assert_int_ge(cost_convert(c, &t, LAYOUT_ROW, LAYOUT_ROW, 1), 0);
  cost_free(c);
  return FVM_OK;
}

static enum fvm_status use_database(struct db *db, struct fvm_error *err) {
  static const struct machine machine = {.cpu = "CPU", .text = "cpu=CPU", .fingerprint = 3};
  int64_t m, b, model, problem;
  int64_t sample[] = {100, 101, 102};
  struct entrant e[2] = {{.text = "a", .outcome = OUTCOME_OK, .sample = {sample, 3, 3}},
                         {.text = "b", .outcome = OUTCOME_WRONG, .reason = "one is two"}};
  struct db_known k;
  bool found;
  struct text out = {0};
  enum fvm_status st = db_machine(db, &machine, &m, err);
  if (!st) st = db_build(db, "build", &b, err);
  if (!st) st = db_model(db, 7, "net", WARM, &model, err);
  if (!st) st = db_problem(db, 9, "MatMul f32[2,3] f32[3,4]", "MatMul", &problem, err);
  if (!st) st = db_nodes(db, model, &(struct db_node){"node", problem, WARM}, 1, err);
  if (!st) st = db_store(db, m, b, WARM, problem, e, 2, "{}", true, err);
  if (!st) st = db_lookup(db, m, b, WARM, 9, "a", &k, &found, err);
  if (!st) ck_assert(found && k.outcome == OUTCOME_OK);
  if (!st) st = db_stat(db, true, &out, err);
  text_free(&out);
  return st ? st : use_costs(db, m, b, err);
}

static enum fvm_status database(const char *name, struct fvm_error *err) {
  struct db *db;
  enum fvm_status st = db_open(in_dir(name), DB_WRITE, &db, err);
  if (!st) {
    st = use_database(db, err);
    db_close(db);
  }
  unlink(in_dir(name));
  return st;
}

START_TEST(measurements) { sweep(database, "a.db"); }
END_TEST

static int cleanup(int status) {
  rmdir(dir);
  return status;
}

int main(void) {
  if (!mkdtemp(dir)) return EXIT_FAILURE;
  const TTest *const tests[] = {convolutions, attention, models, measurements};
  return cleanup(unit_main("alloc", tests, COUNT(tests)));
}
