/* scheduler/profile: all problems of a graph are measured once, whatever interrupts. */
#include "dbfile.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "profiles/db_impl.h"
#include "scheduler/profile.h"
#include "scheduler/profile_set.h"
#include "scheduler/states.h"

/* Two equal products, so one problem less than nodes. */
static const char text[] = "graph net opset=17 hash=00000000000000aa\n"
                           "input x:f32[8,24]\n"
                           "const w:f32[24,24] = #0000000000000000\n"
                           "a:f32[8,24] = MatMul(x, w) @first\n"
                           "b:f32[8,24] = MatMul(a, w) @second\n"
                           "c:f32[8,24] = Add(a, b) @sum\n"
                           "output c\n";
static char path[] = "/tmp/fvm-test-profile-XXXXXX";
static struct fvm_error err;

static struct fixture {
  struct graph *g;
  struct db *db;
  struct machine m;
  struct profile_options o;
  struct profile_totals totals;
} f;

static void open_db(void) { OK(db_open(path, DB_WRITE, &f.db, &err)); }

static void setup(void) {
  dbfile_remove(path);
  f = (struct fixture){0};
  OK(graph_parse(text, strlen(text), &f.g, &err));
  OK(machine_read(&f.m, &err));
  open_db();
  machine_target(&f.m, (int[]){1}, 1, &f.o.target);
  f.o.exhaustive = true;
  f.o.measure = (struct measure_options){.sample_ns = 500, .max_rounds = 2, .timeout_s = 5};
}

static void teardown(void) {
  db_close(f.db);
  graph_free(f.g);
}

static enum fvm_status go(void) { return profile_graph(f.g, f.db, &f.m, &f.o, &f.totals, &err); }

static void check_complete(void) {
  ck_assert_int_eq(f.totals.problems_done, f.totals.problems);
  ck_assert_int_eq(f.totals.labels_known + f.totals.labels_measured, f.totals.labels_total);
  ck_assert_int_eq(f.totals.failed, 0);
  ck_assert_int_eq(count(f.db, "SELECT COUNT(*) FROM v_nodes WHERE ns > 0"), 3);
  ck_assert_int_eq(count(f.db, "SELECT COUNT(*) FROM run WHERE NOT finished"), 0);
  ck_assert_int_eq(count(f.db, "SELECT COUNT(*) FROM run WHERE engine='jit'"),
                   f.totals.labels_total);
}

static int events[PROFILE_EXPECT + 1];
static void count_event(void *arg, const struct profile_event *e) {
  (void)arg;
  events[e->kind]++;
  ck_assert((e->text == NULL) == (e->kind == PROFILE_BEGIN || e->kind == PROFILE_EXPECT));
  if (e->kind == PROFILE_SAMPLE) ck_assert(e->ns > 0 && e->label);
}

/* Weights of 24 x 24 floats, and a table that is only gathered from. */
START_TEST(weights_make_the_state) {
  static const char net[] = "graph net opset=17 hash=00000000000000ab\n"
                            "input i:i64[8]\n"
                            "const t:f32[999,24] = #0000000000000000\n"
                            "const w:f32[24,24] = #0000000000000000\n"
                            "x:f32[8,24] = Gather(t, i) @rows\n"
                            "a:f32[8,24] = MatMul(x, w) @first\n"
                            "b:f32[8,24] = MatMul(a, w) @second\n"
                            "output b\n";
  struct graph *g;
  struct target t = {.l2_bytes = 512};
  OK(graph_parse(net, strlen(net), &g, &err));
  const int64_t run = 2 * 24 * 24 * 4 + 2 * 8 * 24 * 4; /* two products' weights, most alive */
  const struct row {
    int64_t own, last;
    enum data_state near;
  } rows[] = {{2 * run, 4 * run, HOT},
              {2 * run - 1, 4 * run, WARM},
              {1, run * 4 / 3 + 4, COOL},
              {1, run, COLD}};
  for (size_t i = 0; i < COUNT(rows); i++) {
    struct states s;
    t.l2_bytes = rows[i].own;
    t.l3_bytes = rows[i].last;
    OK(states_make(&s, g, &t, &err));
    ck_assert_int_eq(s.near, rows[i].near);
    states_free(&s);
  }
  graph_free(g);
}
END_TEST

static enum data_state state_of_node(const struct graph *g, const struct states *s, int node) {
  struct arena a = {0};
  struct opcall c;
  OK(graph_opcall(g, node, &a, &c, &err));
  enum data_state state = states_of(s, opcall_hash(&c));
  arena_free(&a);
  return state;
}

/* Only the first two steps reach high; between two of their turns all weights pass. The second's
 * output lies above all that the first had alive. Two equal products with little between them are
 * near. */
START_TEST(what_only_the_widest_reach_is_far) {
  static const char net[] = "graph net opset=17 hash=00000000000000ab\n"
                            "input x:f32[64,64]\n"
                            "const u:f32[64,512] = #0000000000000000\n"
                            "const v:f32[512,64] = #0000000000000000\n"
                            "const w:f32[64,64] = #0000000000000000\n"
                            "const z:f32[64,4096] = #0000000000000000\n"
                            "a:f32[64,512] = MatMul(x, u) @first\n"
                            "b:f32[64,64] = MatMul(a, v) @second\n"
                            "c:f32[64,64] = MatMul(b, w) @third\n"
                            "d:f32[64,64] = MatMul(c, w) @fourth\n"
                            "e:f32[1,64] = ReduceMean(d) @few axes=0 keepdims=1\n"
                            "f:f32[1,4096] = MatMul(e, z) @last\n"
                            "output f\n";
  struct graph *g;
  struct target t = {
      .isa = ISA_REF, .l2_bytes = 1 << 10, .l3_bytes = 1 << 20, .threads = {1}, .nthreads = 1};
  struct states s;
  OK(graph_parse(net, strlen(net), &g, &err));
  OK(states_make(&s, g, &t, &err));
  ck_assert_int_eq(s.far, COLD_FAR);
  ck_assert_int_eq(state_of_node(g, &s, 0), COLD_FAR);
  ck_assert_int_eq(state_of_node(g, &s, 1), COLD_FAR);
  ck_assert_int_eq(state_of_node(g, &s, 2), COLD);
  ck_assert_int_eq(state_of_node(g, &s, 3), COLD);
  ck_assert_int_eq(states_of(&s, 12345), COLD);
  states_free(&s);
  graph_free(g);
}
END_TEST

/* A Concat that may be a view: what stands in it twice is copied, and what that costs is measured.
 */
START_TEST(copies_are_problems) {
  static const char net[] = "graph net opset=17 hash=00000000000000ab\n"
                            "input x:f32[1,16,4,4]\n"
                            "a:f32[1,16,4,4] = Relu(x) @relu\n"
                            "c:f32[1,48,4,4] = Concat(a, x, a) @join axis=1\n"
                            "output c\n";
  struct graph *g;
  struct profile_set s;
  struct target t = {.threads = {1}, .nthreads = 1};
  int copies = 0;
  OK(graph_parse(net, strlen(net), &g, &err));
  OK(profile_set_make(&s, g, &t, &err));
  for (size_t i = 0; i < s.problem.n; i++)
    copies += s.problem.v[i].is_convert && s.problem.v[i].from == s.problem.v[i].to;
  ck_assert_int_ge(copies, 1);
  profile_set_free(&s);
  graph_free(g);
}
END_TEST

START_TEST(measured_once) {
  setup();
  memset(events, 0, sizeof events);
  f.o.on_event = count_event;
  OK(go());
  check_complete();
  ck_assert_int_eq(f.totals.labels_known, 0);
  ck_assert_int_eq(events[PROFILE_BEGIN], 1);
  ck_assert_int_eq(events[PROFILE_BEST], f.totals.problems);
  ck_assert_int_le(events[PROFILE_SAMPLE], f.totals.samples);
  ck_assert_int_eq(count(f.db, "SELECT SUM(n) FROM run"), f.totals.samples);
  ck_assert_int_gt(events[PROFILE_AGAIN], 0);
  ck_assert_int_eq(count(f.db, "SELECT COUNT(*) FROM run WHERE engine='interp' AND finished<>2"),
                   0);
  ck_assert_int_eq(count(f.db, "SELECT COUNT(DISTINCT problem) FROM node"), 2);
  OK(go());
  check_complete();
  ck_assert_int_eq(f.totals.labels_measured, 0);
  ck_assert_int_eq(f.totals.samples, 0);
  teardown();
}
END_TEST

START_TEST(more_threads_are_added) {
  setup();
  OK(go());
  int before = f.totals.labels_total;
  machine_target(&f.m, (int[]){1, 2}, 2, &f.o.target);
  OK(go());
  ck_assert_int_eq(f.totals.labels_known, before);
  ck_assert_int_gt(f.totals.labels_measured, 0);
  check_complete();
  teardown();
}
END_TEST

/* What failed once is not tried again by the same build, whether its race ended or not; what a race
 * was broken off for is. */
START_TEST(failures_are_not_tried_again) {
  static const char *const failure[] = {"wrong", "crashed", "timeout", "unsupported"};
  setup();
  OK(go());
  int labels = f.totals.labels_total;
  for (size_t i = 0; i < COUNT(failure); i++) {
    char sql[160];
    snprintf(sql, sizeof sql,
             "UPDATE run SET status='%s', min_ns=NULL, samples='[]', n=0, finished=%d "
             "WHERE id=(SELECT MIN(id) FROM run WHERE status IN ('ok', 'lost', 'noisy'))",
             failure[i], (int)i % 2);
    OK(db_exec(f.db, sql, &err));
    OK(go());
    ck_assert_int_eq(f.totals.labels_measured, 0);
    ck_assert_int_eq(f.totals.labels_known, labels);
  }
  OK(db_exec(f.db, "UPDATE run SET finished=0 WHERE engine='jit' AND status IN ('ok', 'lost')",
             &err));
  OK(go());
  ck_assert_int_gt(f.totals.labels_measured, 0);
  ck_assert_int_le(f.totals.labels_measured, labels - (int)COUNT(failure));
  OK(db_exec(f.db, "UPDATE build SET text='another'", &err));
  OK(go());
  ck_assert_int_eq(f.totals.labels_measured, labels);
  teardown();
}
END_TEST

static volatile int stop;
static int stop_at;
static void stop_later(void *arg, const struct profile_event *e) {
  (void)arg;
  if (e->kind == PROFILE_SAMPLE && --stop_at == 0) stop = 1;
}

START_TEST(interrupts_resume) {
  for (int at = 1; at < 40; at += 9) {
    setup();
    stop = 0;
    stop_at = at;
    f.o.on_event = stop_later;
    f.o.interrupted = &stop;
    enum fvm_status st = go();
    ck_assert(st == FVM_EINTR || (!st && stop_at > 0));
    ck_assert_int_ge(count(f.db, "SELECT SUM(n) FROM run"), f.totals.samples);
    stop = 0;
    OK(go());
    check_complete();
    teardown();
  }
}
END_TEST

static void die_later(void *arg, const struct profile_event *e) {
  (void)arg;
  if (e->kind == PROFILE_BEST) kill(getpid(), SIGKILL);
}

START_TEST(a_kill_resumes) {
  setup();
  db_close(f.db);
  pid_t pid = fork();
  if (pid == 0) {
    open_db();
    f.o.on_event = die_later;
    go();
    _exit(0);
  }
  int status;
  ck_assert_int_eq(waitpid(pid, &status, 0), pid);
  ck_assert(WIFSIGNALED(status));
  open_db();
  OK(go());
  check_complete();
  ck_assert_int_gt(f.totals.labels_known, 0);
  ck_assert_int_gt(f.totals.labels_measured, 0);
  teardown();
}
END_TEST

START_TEST(a_budget_ends_early) {
  setup();
  f.o.budget_s = 1e-9;
  OK(go());
  ck_assert(!f.totals.complete);
  ck_assert_int_lt(f.totals.problems_done, f.totals.problems);
  f.o.budget_s = 0;
  OK(go());
  check_complete();
  teardown();
}
END_TEST

/* Fill the pages of the runs, so that storing fails in the midst of a race. */
START_TEST(a_full_disk_ends_with_its_error) {
  setup();
  OK(go());
  OK(db_exec(f.db, "PRAGMA max_page_count=1", &err));
  enum fvm_status st = FVM_OK;
  while (!st)
    st = db_exec(f.db,
                 "INSERT INTO run SELECT NULL, machine, build, (SELECT MAX(protocol)+1 FROM run), "
                 "candidate, state, engine, status, reason, min_ns, median_ns, mad_ns, n, dropped, "
                 "samples, counters, environment, started_at, finished, error FROM run LIMIT 1",
                 &err);
  ck_assert_int_eq(st, FVM_EIO);
  machine_target(&f.m, (int[]){1, 2}, 2, &f.o.target);
  ck_assert_int_eq(go(), FVM_EIO);
  ck_assert_ptr_nonnull(strstr(err.text, "disk is full"));
  machine_target(&f.m, (int[]){1}, 1, &f.o.target);
  OK(go());
  ck_assert_int_eq(f.totals.labels_measured, 0);
  teardown();
}
END_TEST

int main(void) {
  int fd = mkstemp(path);
  if (fd < 0) return EXIT_FAILURE;
  close(fd);
  const TTest *const tests[] = {weights_make_the_state, what_only_the_widest_reach_is_far,
                                copies_are_problems,    measured_once,
                                more_threads_are_added, interrupts_resume,
                                a_kill_resumes,         failures_are_not_tried_again,
                                a_budget_ends_early,    a_full_disk_ends_with_its_error};
  int status = unit_main("profile", tests, COUNT(tests));
  dbfile_remove(path);
  return status;
}
