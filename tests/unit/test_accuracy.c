/* scheduler/accuracy: outputs by the reference, kept in the database; a plan's distance to them;
 * planning without labels whose errors are too large. */
#include "unit.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

#include "../../scheduler/accuracy.h"
#include "../../scheduler/plan_build.h"

static struct fvm_error err;
static char path[] = "/tmp/test_accuracy.XXXXXX";
static const struct plan_options options = {
    .target = {.threads = {1}, .nthreads = 1, .l1_bytes = 32 << 10, .l2_bytes = 1 << 20},
    .max_ticks = 10000000,
    .build = "build",
    .machine = "machine"};

static int add_tensor(struct graph *g, const char *name, int64_t rows, int64_t cols) {
  int t = graph_add_tensor(g, name);
  g->tensor.v[t].producer = -1;
  OK(tensor_init(&g->tensor.v[t].t, FVM_F32, 2, (int64_t[]){rows, cols}, &err));
  return t;
}

static void add_node(struct graph *g, const char *op, int nin, const int *in, int out) {
  int n = graph_add_node(g, op, op_find(op, strlen(op)));
  for (int i = 0; i < nin; i++) ck_assert(node_add_in(g, n, in[i]));
  g->node.v[n].nown = nin;
  ck_assert(node_add_out(g, n, out));
}

/* y = tanh(x * w), z = x * w, with 8 x 60 x 40. */
static struct graph *make_graph(float w00) {
  struct graph *g = graph_new();
  g->name = "test";
  g->opset = 13;
  g->model_hash = 77;
  int x = add_tensor(g, "x", 8, 60), w = add_tensor(g, "w", 60, 40);
  int z = add_tensor(g, "z", 8, 40), y = add_tensor(g, "y", 8, 40);
  float *v = ARENA_NEW(&g->arena, float, 60 * 40);
  for (int i = 0; i < 60 * 40; i++) v[i] = (float)(i * 37 % 101) / 101.0f - 0.5f;
  v[0] = w00;
  g->tensor.v[w].t.data = v;
  add_node(g, "MatMul", 2, (int[]){x, w}, z);
  add_node(g, "Tanh", 1, &z, y);
  g->tensor.v[x].is_input = g->tensor.v[z].is_output = g->tensor.v[y].is_output = true;
  ck_assert(VEC_PUSH(&g->input, x) && VEC_PUSH(&g->output, z) && VEC_PUSH(&g->output, y));
  return g;
}

static struct schedule *plan_with(const struct graph *g, const char *costs, double label_error) {
  struct plan_options o = options;
  struct schedule *s;
  struct cost *c = cost_table_new(costs, &err);
  ck_assert_ptr_nonnull(c);
  o.label_error = label_error;
  OK(schedule_graph(g, c, &o, &s, &err));
  cost_free(c);
  return s;
}

static double error_of(const struct expected *x) {
  struct fvm_plan *p;
  double error;
  OK(fvm_load(path, &p, &err));
  OK(plan_error(p, x, &error, &err));
  fvm_unload(p);
  return error;
}

START_TEST(plans_are_compared_with_the_reference) {
  struct graph *g = make_graph(0.25f);
  struct expected x;
  struct schedule *s = plan_with(g, "100\nconvert * * 5", 0);
  OK(expected_compute(g, NULL, &x, &err));
  OK(plan_write(s, &options, path, &err));
  double error = error_of(&x);
  ck_assert(error > 0 && error < 1e-6);
  float *z = x.out[0], most = 0;
  for (int i = 0; i < 8 * 40; i++) most = fmaxf(most, fabsf(z[i]));
  z[11] += most / 100;
  ck_assert_double_eq_tol(error_of(&x), 0.01, 1e-3);
  z[11] = NAN;
  ck_assert(error_of(&x) == INFINITY);
  expected_free(&x);
  schedule_free(s);
  graph_free(g);
}
END_TEST

/* A cache lies otherwise in memory than its values do in the reference's outputs. */
START_TEST(caches_are_compared_by_value) {
  static const char text[] = "graph s opset=17\ninput past:f32[1,2,3,2]\ninput new:f32[1,2,1,2]\n"
                             "present:f32[1,2,4,2] = Append(past, new) @present axis=2\n"
                             "output present\n";
  struct graph *g;
  struct expected x;
  OK(graph_parse(text, sizeof text - 1, &g, &err));
  struct schedule *s = plan_with(g, "100\nconvert * * 5", 0);
  OK(expected_compute(g, NULL, &x, &err));
  OK(plan_write(s, &options, path, &err));
  ck_assert(error_of(&x) == 0);
  ((float *)x.out[0])[3] += 1;
  ck_assert(error_of(&x) > 0.1);
  expected_free(&x);
  schedule_free(s);
  graph_free(g);
}
END_TEST

/* The note changes no more than itself: the file still passes all checks. */
START_TEST(files_tell_their_error) {
  struct graph *g = make_graph(0.25f);
  struct schedule *s = plan_with(g, "100\nconvert * * 5", 0);
  struct fvm_plan *p;
  OK(plan_write(s, &options, path, &err));
  for (int noted = 0; noted < 2; noted++) {
    if (noted) OK(plan_finish(path, 3e-7, &err));
    OK(fvm_load(path, &p, &err));
    OK(check_plan(p, g, &err));
    ck_assert(p->meta->max_error == (noted ? 3e-7 : -1));
    fvm_unload(p);
  }
  ck_assert_int_eq(plan_finish("/nowhere/at all", 0, &err), FVM_EIO);
  schedule_free(s);
  graph_free(g);
}
END_TEST

START_TEST(outputs_are_kept) {
  char name[] = "/tmp/test_accuracy_db.XXXXXX", wal[64], shm[64];
  int fd = mkstemp(name);
  struct graph *g = make_graph(0.25f), *other = make_graph(0.5f);
  struct db *db;
  struct expected x, y;
  bool found;
  OK(db_open(name, DB_WRITE, &db, &err));
  OK(expected_load(db, g, &y, &found, &err));
  ck_assert(!found);
  expected_free(&y);
  OK(expected_compute(g, NULL, &x, &err));
  for (int i = 0; i < 2; i++) OK(expected_store(db, &x, &err)); /* twice is no error */
  OK(expected_load(db, g, &y, &found, &err));
  ck_assert(found);
  for (int i = 0; i < 2; i++) ck_assert_mem_eq(x.out[i], y.out[i], 8 * 40 * sizeof(float));
  expected_free(&y);
  OK(expected_load(db, other, &y, &found, &err)); /* other weights */
  ck_assert(!found);
  expected_free(&y);
  expected_free(&x);
  graph_free(g);
  graph_free(other);
  db_close(db);
  snprintf(wal, sizeof wal, "%s-wal", name);
  snprintf(shm, sizeof shm, "%s-shm", name);
  unlink(wal);
  unlink(shm);
  unlink(name);
  close(fd);
}
END_TEST

START_TEST(computing_can_be_stopped) {
  struct graph *g = make_graph(0.25f);
  struct expected x;
  volatile int stop = 1;
  ck_assert_int_eq(expected_compute(g, &stop, &x, &err), FVM_EINTR);
  expected_free(&x);
  for (long n = 1; n < 40; n++) {
    fvm_fail_alloc(n);
    enum fvm_status st = expected_compute(g, NULL, &x, &err);
    fvm_fail_alloc(0);
    ck_assert(st == FVM_OK || st == FVM_ENOMEM);
    expected_free(&x);
  }
  graph_free(g);
}
END_TEST

/* Labels with large errors go where there are others, and stay where there are none. */
START_TEST(inexact_labels_are_left_out) {
  static const char costs[] = "gemm_panels mr=4 nr=16 100 ~3e-6\n"
                              "gemm_panels 200 ~1e-6\n"
                              "100 ~2e-6\n"
                              "convert * * 5\n";
  static const struct {
    double most, gemm, other;
  } want[] = {{0, 3e-6, 2e-6}, {3e-6, 3e-6, 2e-6}, {2.5e-6, 1e-6, 2e-6}, {1e-7, 1e-6, 2e-6}};
  struct graph *g = make_graph(0.25f);
  for (size_t i = 0; i < COUNT(want); i++) {
    struct schedule *s = plan_with(g, costs, want[i].most);
    ck_assert_uint_eq(s->step.n, 2);
    ck_assert_msg(s->step.v[0].error == want[i].gemm, "case %zu: %g", i, s->step.v[0].error);
    ck_assert(s->step.v[1].error == want[i].other);
    schedule_free(s);
  }
  graph_free(g);
}
END_TEST

int main(void) {
  int fd = mkstemp(path);
  if (fd < 0) return EXIT_FAILURE;
  close(fd);
  const TTest *const tests[] = {plans_are_compared_with_the_reference,
                                caches_are_compared_by_value,
                                files_tell_their_error,
                                outputs_are_kept,
                                computing_can_be_stopped,
                                inexact_labels_are_left_out};
  int status = unit_main("accuracy", tests, COUNT(tests));
  unlink(path);
  return status;
}
