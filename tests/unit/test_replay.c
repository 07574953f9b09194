/* profiles/replay: what a database says of a measurement is enough to make it again.
 *
 * test_replay [MODEL...]: problems of these models, too, are read back from their texts. */
#include "dbfile.h"
#include "text_case.h"

#include <unistd.h>

#include "profiles/db_impl.h"
#include "profiles/replay.h"
#include "scheduler/profile.h"
#include "scheduler/profile_set.h"

static struct fvm_error err;

/* ---- texts of whole graphs ---- */

static bool same_program(const struct program *p, const struct program *q) {
  return p->nword == q->nword && p->nbuf == q->nbuf &&
         !memcmp(p->word, q->word, p->nword * sizeof *p->word) &&
         !memcmp(p->buf, q->buf, p->nbuf * sizeof *p->buf);
}

static void check_label(const char *what, const struct opcall *c, const struct opcall *back, int i,
                        const struct target *t) {
  struct arena a = {0};
  struct label x, y;
  struct text xs = {0}, ys = {0};
  struct program p, q;
  opcall_label(c, t, i, &x);
  ck_assert_msg(opcall_label(back, t, i, &y), "%s: label %d", what, i);
  label_text(c, &x, &xs);
  label_text(back, &y, &ys);
  ck_assert_msg(!strcmp(xs.v, ys.v), "%s: %s is %s", what, xs.v, ys.v);
  if (!x.view && !opcall_emit(c, &x, &a, &p, &err)) {
    OK(opcall_emit(back, &y, &a, &q, &err));
    ck_assert_msg(same_program(&p, &q), "%s: %s: another program", what, xs.v);
  }
  text_free(&xs);
  text_free(&ys);
  arena_free(&a);
}

static int check_problem(const struct profile_problem *p, const struct target *t) {
  struct arena a = {0};
  struct opcall back;
  struct tensor x;
  struct label l;
  enum layout from, to;
  int labels = 0;
  if (p->is_convert) {
    OK(convert_read(p->text, &x, &from, &to, &err));
    ck_assert_uint_eq(convert_hash(&x, from, to), p->hash);
    return 0;
  }
  OK(opcall_read(p->text, &a, &back, &err));
  ck_assert_msg(opcall_hash(&back) == p->hash, "%s", p->text);
  for (; opcall_label(&p->call, t, labels, &l); labels++)
    check_label(p->text, &p->call, &back, labels, t);
  ck_assert_msg(!opcall_label(&back, t, labels, &l), "%s: more labels", p->text);
  arena_free(&a);
  return labels;
}

static int check_graph(struct graph *g, const struct target *t) {
  struct profile_set s;
  int labels = 0;
  OK(pipeline_run(g, NULL, &err));
  OK(profile_set_make(&s, g, t, &err));
  for (size_t i = 0; i < s.problem.n; i++) labels += check_problem(&s.problem.v[i], t);
  profile_set_free(&s);
  return labels;
}

static struct target target(void) {
  static struct machine m;
  struct target t;
  OK(machine_read(&m, &err));
  machine_target(&m, (int[]){1, 2}, 2, &t);
  return t;
}

START_TEST(graphs_read_back) {
  struct arena a = {0};
  struct target t = target();
  int labels = 0;
  for (char **path = files_in(&a, "tests/graph", ".g"); *path; path++) {
    char *text = read_text(&a, *path, NULL);
    struct graph *g = NULL;
    OK(graph_parse(text, strlen(text), &g, &err));
    labels += check_graph(g, &t);
    graph_free(g);
  }
  ck_assert_int_gt(labels, 500);
  arena_free(&a);
}
END_TEST

/* ---- measurements ---- */

/* A convolution and a pool, which may be a chain and ask for conversions. */
static const char net[] = "graph net opset=17 hash=00000000000000ac\n"
                          "input x:f32[1,16,12,12]\n"
                          "const w:f32[32,16,3,3] = #0000000000000000\n"
                          "c:f32[1,32,10,10] = Conv(x, w) @conv kernel_shape=[3,3]\n"
                          "r:f32[1,32,10,10] = Relu(c) @relu\n"
                          "y:f32[1,32,5,5] = MaxPool(r) @pool kernel_shape=[2,2] strides=[2,2]\n"
                          "output y\n";
static char path[] = "/tmp/fvm-test-replay-XXXXXX";
static struct db *db;
static struct machine machine;

static void measure_net(void) {
  struct graph *g;
  struct profile_totals totals;
  struct profile_options o = {.measure = {.sample_ns = 500, .max_rounds = 2, .timeout_s = 5}};
  OK(machine_read(&machine, &err));
  machine_target(&machine, (int[]){1}, 1, &o.target);
  OK(graph_parse(net, strlen(net), &g, &err));
  OK(pipeline_run(g, NULL, &err));
  OK(db_open(path, DB_WRITE, &db, &err));
  OK(profile_graph(g, db, &machine, &o, &totals, &err));
  ck_assert_int_eq(totals.failed, 0);
  graph_free(g);
}

/* A run of a problem whose text begins so. */
static int64_t run_of(const char *start, const char *engine) {
  char sql[300];
  snprintf(sql, sizeof sql,
           "SELECT IFNULL(MIN(run.id), 0) FROM run JOIN candidate c ON c.id = candidate "
           "JOIN problem p ON p.id = c.problem WHERE text LIKE '%s%%' AND engine = '%s'",
           start, engine);
  return count(db, sql);
}

static enum fvm_status again(int64_t id, struct arena *a, struct replay *r) {
  return replay_run(db, id, &machine, NULL, a, r, &err);
}

START_TEST(runs_are_made_again) {
  static const char *const kind[] = {"Conv ", "MaxPool ", "Chain: Conv ", "Convert "};
  struct arena a = {0};
  struct replay r;
  measure_net();
  for (size_t i = 0; i < COUNT(kind); i++)
    for (int e = 0; e < 2; e++) {
      int64_t id = run_of(kind[i], e ? "interp" : "jit");
      if (!id) continue; /* no finalist was sampled */
      OK(again(id, &a, &r));
      ck_assert_msg(outcome_is_sound(r.outcome), "%s: %s", kind[i], r.reason);
      ck_assert(r.same_machine && r.same_build && r.same_protocol && r.same_outcome);
      ck_assert_int_eq(r.stored.id, id);
      /* Of eight rounds, and of five finals; those that were interrupted do not count. */
      ck_assert_int_ge(r.n, e ? 2 : 5);
      ck_assert(r.min_ns > 0 && r.min_ns <= r.median_ns);
      ck_assert_double_eq_tol(r.drift, (double)r.min_ns / (double)r.stored.min_ns, 1e-9);
    }
  for (size_t i = 0; i < COUNT(kind); i++) ck_assert_int_gt(run_of(kind[i], "jit"), 0);
  arena_free(&a);
}
END_TEST

START_TEST(samples_are_drawn_and_judged) {
  struct replay_sample s = {.wanted = 3, .limit = 1e9};
  int64_t id[3], same[3];
  int n, m;
  OK(db_draw_records(db, machine.fingerprint, 3, id, &n, &err));
  OK(db_draw_records(db, machine.fingerprint, 3, same, &m, &err));
  ck_assert_int_eq(n, 3);
  ck_assert_mem_eq(id, same, sizeof id);
  ck_assert(id[0] < id[1] && id[1] < id[2]);
  OK(replay_sample(db, &machine, NULL, &s, &err));
  ck_assert_int_eq(s.n, 3);
  ck_assert(s.off == 0 && s.gone == 0 && s.median > 0 && s.worst > 0);
  /* Nothing is a thousand times faster than it was. */
  OK(db_exec(db, "UPDATE run SET min_ns = 1000000 * min_ns", &err));
  s = (struct replay_sample){.wanted = 3, .limit = 1000};
  OK(replay_sample(db, &machine, NULL, &s, &err));
  ck_assert_int_eq(s.off, 3);
  ck_assert(s.worst > 0 && s.worst < 1e-3);
  OK(db_exec(db, "UPDATE run SET min_ns = min_ns / 1000000", &err));
  s = (struct replay_sample){.wanted = 3, .limit = 2};
  struct machine other = machine;
  other.fingerprint++;
  OK(replay_sample(db, &other, NULL, &s, &err));
  ck_assert(s.n == 0 && s.off == 0);
}
END_TEST

START_TEST(what_differs_is_said) {
  struct arena a = {0};
  struct replay r;
  int64_t id = run_of("MaxPool ", "jit");
  ck_assert_int_eq(again(1 << 20, &a, &r), FVM_EUSAGE);
  OK(db_exec(db, "UPDATE run SET status = 'crashed', protocol = 1", &err));
  OK(db_exec(db, "UPDATE machine SET fingerprint = '0123456789abcdef'", &err));
  OK(db_exec(db, "UPDATE build SET text = 'another'", &err));
  OK(again(id, &a, &r));
  ck_assert(!r.same_outcome && !r.same_machine && !r.same_build && !r.same_protocol);
  OK(db_exec(db, "UPDATE candidate SET label = 'gone ' || id || ' threads=1'", &err));
  ck_assert_int_eq(again(id, &a, &r), FVM_EUNSUPPORTED);
  ck_assert_ptr_nonnull(strstr(err.text, "'gone "));
  ck_assert_int_eq(again(run_of("Convert ", "jit"), &a, &r), FVM_EUNSUPPORTED);
  OK(db_exec(db, "UPDATE problem SET text = 'MaxPool in='", &err));
  ck_assert_int_eq(again(id, &a, &r), FVM_EFORMAT);
  db_close(db);
  arena_free(&a);
}
END_TEST

static char **models;

START_TEST(models_read_back) {
  struct target t = target();
  for (char **m = models; m && *m; m++) {
    struct graph *g;
    OK(onnx_import(*m, NULL, 0, &g, &err));
    printf("%s: %d labels read back\n", *m, check_graph(g, &t));
    graph_free(g);
  }
}
END_TEST

int main(int argc, char **argv) {
  const TTest *const tests[] = {models_read_back, graphs_read_back, runs_are_made_again,
                                samples_are_drawn_and_judged, what_differs_is_said};
  int fd = mkstemp(path);
  if (fd < 0) return EXIT_FAILURE;
  close(fd);
  models = argc > 1 ? argv + 1 : NULL;
  int status = unit_main("replay", tests, COUNT(tests));
  dbfile_remove(path);
  return status;
}
