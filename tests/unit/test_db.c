/* profiles/db: opening what is and is not a database, storing, looking up, surviving. */
#include "dbcheck.h"

#include <sys/wait.h>

static struct machine machine = {.cpu = "A \"CPU\"",
                                 .cores = 2,
                                 .isa = ISA_REF,
                                 .text = "cpu=A",
                                 .fingerprint = 0xfedcba9876543210u};

struct ids {
  int64_t machine, build, model, problem;
};
static struct ids add_ids(struct db *db) {
  struct ids id;
  OK(db_machine(db, &machine, &id.machine, &err));
  OK(db_build(db, "build 1", &id.build, &err));
  OK(db_model(db, 7, "net", WARM, &id.model, &err));
  OK(db_problem(db, 9, "MatMul f32[2,3] f32[3,4]", "MatMul", &id.problem, &err));
  return id;
}

START_TEST(ids_are_stable) {
  struct db *db;
  OK(db_open(fresh("ids"), DB_WRITE, &db, &err));
  struct ids a = add_ids(db), b = add_ids(db);
  ck_assert_mem_eq(&a, &b, sizeof a);
  db_close(db);
  OK(db_open(path("ids"), DB_WRITE, &db, &err));
  b = add_ids(db);
  ck_assert_mem_eq(&a, &b, sizeof a);
  ck_assert_int_eq(count(db, "SELECT COUNT(*) FROM machine WHERE fingerprint='fedcba9876543210'"),
                   1);
  db_close(db);
}
END_TEST

static struct db_known look(struct db *db, struct ids id, const char *label, bool expected) {
  struct db_known k;
  bool found;
  OK(db_lookup(db, id.machine, id.build, WARM, 9, label, &k, &found, &err));
  ck_assert_int_eq(found, expected);
  return k;
}

START_TEST(runs_are_stored_and_replaced) {
  struct db *db;
  OK(db_open(fresh("runs"), DB_WRITE, &db, &err));
  struct ids id = add_ids(db);
  struct entrant e[4] = {entrant("a x=1", OUTCOME_OK, 100, 5), entrant("b", OUTCOME_LOST, 200, 2),
                         entrant("c", OUTCOME_WRONG, 0, 0), entrant("d", OUTCOME_COUNT, 0, 0)};
  ck_assert(VEC_PUSH(&e[0].interp, 110));
  e[0].error = 1.5e-6;
  snprintf(e[2].reason, sizeof e[2].reason, "element 3 is 1, not 2");
  e[0].counters.valid[COUNTER_CYCLES] = true;
  e[0].counters.v[COUNTER_CYCLES] = 12345;
  e[1].counters.multiplexed = true;
  e[1].work = (struct virtual_counters){true, 5, 4, 3, 2, 1};
  OK(db_store(db, id.machine, id.build, WARM, id.problem, e, 4, "{\"load\":1}", false, &err));

  struct db_known k = look(db, id, "a x=1", true);
  ck_assert_int_eq(k.ns, 110);
  ck_assert_int_eq(k.outcome, OUTCOME_OK);
  ck_assert(!k.finished);
  ck_assert(k.error == 1.5e-6);
  k = look(db, id, "b", true);
  ck_assert_int_eq(k.ns, 200);
  ck_assert_int_eq(k.outcome, OUTCOME_LOST);
  ck_assert(k.error == 0);
  k = look(db, id, "c", true);
  ck_assert_int_eq(k.ns, 0);
  ck_assert_int_eq(k.outcome, OUTCOME_WRONG);
  ck_assert(k.error == -1);
  look(db, id, "d", false);
  look(db, id, "e", false);
  struct ids other = id;
  other.build++;
  look(db, other, "a x=1", false);
  ck_assert_int_eq(count(db, "SELECT COUNT(*) FROM run WHERE min_ns IS NULL"), 1);
  ck_assert_int_eq(count(db, "SELECT median_ns FROM run WHERE engine='jit' AND status='ok'"), 102);
  ck_assert_int_eq(count(db, "SELECT COUNT(*) FROM run WHERE samples='[100,101,102,103,104]'"), 1);
  ck_assert_int_eq(count(db, "SELECT COUNT(*) FROM run WHERE counters='{\"cycles\":12345}'"), 1);
  ck_assert_int_eq(count(db, "SELECT COUNT(*) FROM run WHERE counters='{\"multiplexed\":true,"
                             "\"flops\":5,\"calls\":4,\"asked_bytes\":3,\"touched_bytes\":2,"
                             "\"constant_bytes\":1}'"),
                   1);

  e[0].sample.v[0] = 90;
  e[0].interp.v[0] = 95;
  OK(db_store(db, id.machine, id.build, WARM, id.problem, e, 4, NULL, true, &err));
  k = look(db, id, "a x=1", true);
  ck_assert_int_eq(k.ns, 95);
  ck_assert(k.finished);
  ck_assert_int_eq(count(db, "SELECT COUNT(*) FROM run"), 4);
  for (int i = 0; i < 4; i++) entrant_free(&e[i]);
  db_close(db);
}
END_TEST

/* More samples of finals: what compiled code took stays, the others are added to what is stored,
 * and only finished finals of the problem and state become settled. */
START_TEST(finals_grow_and_settle) {
  struct db *db;
  OK(db_open(fresh("finals"), DB_WRITE, &db, &err));
  struct ids id = add_ids(db);
  struct entrant e[2] = {entrant("a x=1", OUTCOME_OK, 100, 5), entrant("b", OUTCOME_LOST, 200, 2)};
  ck_assert(VEC_PUSH(&e[0].interp, 110));
  e[0].error = 1e-6;
  OK(db_store(db, id.machine, id.build, WARM, id.problem, e, 2, NULL, true, &err));
  OK(db_store(db, id.machine, id.build, COLD, id.problem, e, 2, NULL, true, &err));

  struct entrant more = {.text = "a x=1", .outcome = OUTCOME_OK};
  OK(db_finals(db, id.machine, id.build, WARM, 9, &more, &err));
  ck_assert_uint_eq(more.interp.n, 1);
  ck_assert_int_eq(more.interp.v[0], 110);
  ck_assert(more.error == 1e-6);
  ck_assert(VEC_PUSH(&more.interp, 104));
  OK(db_store(db, id.machine, id.build, WARM, id.problem, &more, 1, NULL, true, &err));
  struct db_known k = look(db, id, "a x=1", true);
  ck_assert_int_eq(k.ns, 104);
  ck_assert_int_eq(k.finals, 2);
  ck_assert(k.finished && !k.settled && k.error == 1e-6);
  ck_assert_int_eq(count(db, "SELECT n FROM run WHERE engine='jit' AND state='warm' AND "
                             "status='ok'"),
                   5);
  struct entrant none = {.text = "b"};
  OK(db_finals(db, id.machine, id.build, WARM, 9, &none, &err));
  ck_assert_uint_eq(none.interp.n, 0);

  const struct db_problem_state place = {9, WARM};
  OK(db_settle(db, id.machine, id.build, &place, 1, &err));
  ck_assert(look(db, id, "a x=1", true).settled);
  ck_assert(!look(db, id, "b", true).settled);
  ck_assert_int_eq(count(db, "SELECT COUNT(*) FROM run WHERE finished=2"), 1);
  for (int i = 0; i < 2; i++) entrant_free(&e[i]);
  entrant_free(&more);
  db_close(db);
}
END_TEST

START_TEST(views_show_the_best) {
  struct db *db;
  OK(db_open(fresh("views"), DB_WRITE, &db, &err));
  struct ids id = add_ids(db);
  struct entrant e[4] = {entrant("slow", OUTCOME_OK, 300, 3), entrant("fast", OUTCOME_OK, 100, 3),
                         entrant("tie", OUTCOME_OK, 100, 3), entrant("bad", OUTCOME_WRONG, 1, 1)};
  OK(db_store(db, id.machine, id.build, WARM, id.problem, e, 4, NULL, true, &err));
  struct db_node node[3] = {
      {"n1", id.problem, WARM}, {"", id.problem, WARM}, {"", id.problem, WARM}};
  OK(db_nodes(db, id.model, node, 3, &err));
  OK(db_nodes(db, id.model, node, 2, &err));
  ck_assert_int_eq(count(db, "SELECT COUNT(*) FROM v_best"), 1);
  ck_assert_int_eq(count(db, "SELECT label='fast' AND ns=100 FROM v_best"), 1);
  ck_assert_int_eq(count(db, "SELECT COUNT(*) FROM v_nodes"), 2);
  ck_assert_int_eq(count(db, "SELECT SUM(ns) FROM v_nodes WHERE op='MatMul'"), 200);
  /* What the interpreter needs counts where it was measured. */
  ck_assert(VEC_PUSH(&e[1].interp, 101));
  OK(db_store(db, id.machine, id.build, WARM, id.problem, e, 4, NULL, true, &err));
  ck_assert_int_eq(count(db, "SELECT label='tie' AND ns=100 FROM v_best"), 1);
  for (int i = 0; i < 4; i++) entrant_free(&e[i]);
  struct text json = {0}, plain = {0};
  OK(db_stat(db, true, &json, &err));
  ck_assert_ptr_nonnull(strstr(json.v, "\"cpu\":\"A \\\"CPU\\\"\",\"cores\":2,\"isa\":\"ref\""));
  ck_assert_ptr_nonnull(strstr(json.v, "{\"engine\":\"jit\",\"status\":\"ok\",\"runs\":3"));
  OK(db_stat(db, false, &plain, &err));
  ck_assert_ptr_nonnull(strstr(plain.v, "  net 0000000000000007, 2 nodes, 1 problems, 1 measured"));
  text_free(&json);
  text_free(&plain);
  db_close(db);
}
END_TEST

static void refused(const char *p, enum db_mode mode, enum fvm_status st, const char *what) {
  struct db *db = (struct db *)1;
  ck_assert_int_eq(db_open(p, mode, &db, &err), st);
  ck_assert_ptr_null(db);
  ck_assert_msg(strstr(err.text, what) && strncmp(err.text, p, strlen(p)) == 0, "%s", err.text);
}

START_TEST(what_is_no_database_is_refused) {
  char noise[4096];
  memset(noise, 'x', sizeof noise);
  write_file(fresh("noise"), noise, sizeof noise);
  for (int mode = DB_READ; mode <= DB_WRITE; mode++) {
    refused(path("noise"), (enum db_mode)mode, FVM_EFORMAT, "not an SQLite database");
    refused(dir, (enum db_mode)mode, FVM_EENV, "directory");
    refused("/dev/full", (enum db_mode)mode, FVM_EENV, "not a regular file");
    refused(path("no/such/x"), (enum db_mode)mode, FVM_EENV, "");
  }
  refused(path("missing"), DB_READ, FVM_EENV, "No such file");
  ck_assert_int_ne(access(path("missing"), F_OK), 0);
  write_file(fresh("empty"), "", 0);
  refused(path("empty"), DB_READ, FVM_EFORMAT, "is empty");
  struct db *db;
  OK(db_open(path("empty"), DB_WRITE, &db, &err));
  db_close(db);
}
END_TEST

static void foreign(const char *sql) {
  sqlite3 *s;
  ck_assert_int_eq(sqlite3_open(fresh("foreign"), &s), SQLITE_OK);
  ck_assert_int_eq(sqlite3_exec(s, sql, NULL, NULL, NULL), SQLITE_OK);
  sqlite3_close(s);
}

START_TEST(foreign_databases_are_left_alone) {
  foreign("CREATE TABLE t(x)");
  refused(path("foreign"), DB_WRITE, FVM_EFORMAT, "another program");
  foreign("PRAGMA application_id=5");
  refused(path("foreign"), DB_WRITE, FVM_EFORMAT, "another program");
  foreign("PRAGMA application_id=1180060996; PRAGMA user_version=99");
  refused(path("foreign"), DB_WRITE, FVM_EFORMAT, "newer");
  refused(path("foreign"), DB_READ, FVM_EFORMAT, "newer");
}
END_TEST

START_TEST(damage_is_an_error) {
  struct db *db;
  OK(db_open(fresh("torn"), DB_WRITE, &db, &err));
  add_ids(db);
  db_close(db);
  static char bytes[1 << 20];
  FILE *f = fopen(path("torn"), "rb");
  size_t n = fread(bytes, 1, sizeof bytes, f);
  fclose(f);
  int failed = 0;
  for (size_t cut = 1; cut < n; cut += 997) {
    int64_t id = 0;
    write_file(fresh("torn"), bytes, cut);
    enum fvm_status st = db_open(path("torn"), DB_WRITE, &db, &err);
    if (!st) st = db_machine(db, &machine, &id, &err);
    ck_assert_msg(st == FVM_EFORMAT || (!st && id == 1), "cut at %zu: %s", cut, err.text);
    failed += st != FVM_OK;
    db_close(db);
  }
  ck_assert_int_gt(failed, 10);
}
END_TEST

START_TEST(older_versions_migrate) {
  static const char *const
      step[] = {"", "", "", "", "", "", "CREATE TABLE extra(x); INSERT INTO extra VALUES(42);"},
      *const broken[] = {"", "", "", "", "", "", "", "CREATE TABLE half(x); nonsense"};
  struct db *db;
  OK(db_open(fresh("old"), DB_WRITE, &db, &err));
  struct ids id = add_ids(db);
  OK(db_migrate(db, step, 7, &err));
  ck_assert_int_eq(count(db, "SELECT x FROM extra"), 42);
  ck_assert_int_eq(count(db, "PRAGMA user_version"), 7);
  OK(db_migrate(db, step, 7, &err));
  ck_assert_int_eq(count(db, "SELECT COUNT(*) FROM extra"), 1);
  ck_assert_int_ne(db_migrate(db, broken, 8, &err), FVM_OK);
  ck_assert_int_eq(count(db, "PRAGMA user_version"), 7);
  ck_assert_int_eq(count(db, "SELECT COUNT(*) FROM sqlite_schema WHERE name='half'"), 0);
  struct ids again = add_ids(db);
  ck_assert_mem_eq(&id, &again, sizeof id);
  db_close(db);
  refused(path("old"), DB_WRITE, FVM_EFORMAT, "newer");
}
END_TEST

/* A file as the first version left it: its one measurement becomes a warm one, and is stale. */
START_TEST(version_1_becomes_warm) {
  static const char *const first[] = {
#include "profiles/schema.h"
  };
  struct db *db;
  sqlite3 *s;
  ck_assert_int_eq(sqlite3_open(fresh("first"), &s), SQLITE_OK);
  ck_assert_int_eq(sqlite3_exec(s, first[0], NULL, NULL, NULL), SQLITE_OK);
  ck_assert_int_eq(
      sqlite3_exec(s,
                   "PRAGMA application_id=1180060996; PRAGMA user_version=1;"
                   "INSERT INTO machine VALUES(1, 'fedcba9876543210', 'A', 2, 'ref', 'cpu=A');"
                   "INSERT INTO build VALUES(1, 'build 1');"
                   "INSERT INTO model VALUES(1, '0000000000000007', 'net');"
                   "INSERT INTO problem VALUES(1, '0000000000000009', 'MatMul', 'MatMul');"
                   "INSERT INTO node VALUES(1, 0, 'n', 1);"
                   "INSERT INTO candidate VALUES(1, 1, 'fast');"
                   "INSERT INTO run VALUES(1, 1, 1, 1, 1, 'jit', 'ok', NULL, 10, 11, 1, 1, 0, "
                   "'[10]', '{}', '{}', '2026-01-01', 1);",
                   NULL, NULL, NULL),
      SQLITE_OK);
  sqlite3_close(s);
  refused(path("first"), DB_READ, FVM_EFORMAT, "older");
  OK(db_open(path("first"), DB_WRITE, &db, &err));
  struct ids id = add_ids(db);
  ck_assert_int_eq(count(db, "SELECT COUNT(*) FROM run WHERE state='warm' AND min_ns=10"), 1);
  ck_assert_int_eq(count(db, "SELECT SUM(ns) FROM v_nodes"), 10);
  look(db, id, "fast", false);
  db_close(db);
}
END_TEST

START_TEST(states_are_apart) {
  struct db *db;
  struct entrant warm = entrant("a", OUTCOME_OK, 100, 1), cold = entrant("a", OUTCOME_OK, 150, 1);
  struct db_known k;
  bool found;
  OK(db_open(fresh("states"), DB_WRITE, &db, &err));
  struct ids id = add_ids(db);
  OK(db_nodes(db, id.model, &(struct db_node){"n", id.problem, WARM}, 1, &err));
  OK(db_store(db, id.machine, id.build, WARM, id.problem, &warm, 1, NULL, true, &err));
  OK(db_lookup(db, id.machine, id.build, COLD, 9, "a", &k, &found, &err));
  ck_assert(!found);
  OK(db_store(db, id.machine, id.build, COLD, id.problem, &cold, 1, NULL, true, &err));
  OK(db_lookup(db, id.machine, id.build, COLD, 9, "a", &k, &found, &err));
  ck_assert(found && k.ns == 150);
  ck_assert_int_eq(look(db, id, "a", true).ns, 100);
  ck_assert_int_eq(count(db, "SELECT SUM(ns) FROM v_best"), 250);
  ck_assert_int_eq(count(db, "SELECT SUM(ns) FROM v_nodes"), 100); /* the node is a warm one */
  OK(db_nodes(db, id.model, &(struct db_node){"n", id.problem, COLD}, 1, &err));
  ck_assert_int_eq(count(db, "SELECT SUM(ns) FROM v_nodes"), 150);
  entrant_free(&warm);
  entrant_free(&cold);
  db_close(db);
}
END_TEST

START_TEST(a_full_disk_loses_nothing) {
  struct db *db;
  OK(db_open(fresh("full"), DB_WRITE, &db, &err));
  struct ids id = add_ids(db);
  struct entrant e = entrant("kept", OUTCOME_OK, 10, 3);
  OK(db_store(db, id.machine, id.build, WARM, id.problem, &e, 1, NULL, true, &err));
  OK(db_exec(db, "PRAGMA max_page_count=1", &err)); /* no page more than there is */
  enum fvm_status st = FVM_OK;
  char label[32];
  for (int i = 0; i < 5000 && !st; i++) {
    snprintf(label, sizeof label, "more %d", i);
    e.text = label;
    st = db_store(db, id.machine, id.build, WARM, id.problem, &e, 1, NULL, true, &err);
  }
  ck_assert_int_eq(st, FVM_EIO);
  ck_assert_ptr_nonnull(strstr(err.text, "disk is full"));
  ck_assert_int_eq(look(db, id, "kept", true).ns, 10);
  look(db, id, label, false);
  db_close(db);
  entrant_free(&e);
}
END_TEST

/* Run fn in a child that dies by the signal or exit status expected. */
static int in_child(void (*fn)(void)) {
  pid_t pid = fork();
  if (pid == 0) {
    fn();
    _exit(0);
  }
  int status;
  ck_assert_int_eq(waitpid(pid, &status, 0), pid);
  return status;
}

static void store_and_die(void) {
  struct db *db;
  if (db_open(path("killed"), DB_WRITE, &db, &err)) _exit(1);
  struct ids id = add_ids(db);
  struct entrant e = entrant("first", OUTCOME_OK, 10, 3);
  if (db_store(db, id.machine, id.build, WARM, id.problem, &e, 1, NULL, true, &err)) _exit(1);
  if (db_exec(db, "BEGIN IMMEDIATE; DELETE FROM run", &err)) _exit(1);
  kill(getpid(), SIGKILL);
}

START_TEST(a_kill_loses_only_what_was_not_stored) {
  fresh("killed");
  int status = in_child(store_and_die);
  ck_assert(WIFSIGNALED(status));
  struct db *db;
  OK(db_open(path("killed"), DB_WRITE, &db, &err));
  struct ids id = add_ids(db);
  ck_assert_int_eq(look(db, id, "first", true).ns, 10);
  ck_assert_int_eq(count(db, "SELECT COUNT(*) FROM machine"), 1);
  db_close(db);
}
END_TEST

/* As an ordinary user: nothing may be written, but what is there can be read. */
static void use_read_only(void) {
  struct db *db;
  if (geteuid() == 0 && setuid(65534) != 0) _exit(77);
  if (db_open(path("ro"), DB_WRITE, &db, &err) != FVM_EENV) _exit(1);
  if (db_open(path("new"), DB_WRITE, &db, &err) != FVM_EENV) _exit(2);
  if (db_open(path("ro"), DB_READ, &db, &err) != FVM_OK) _exit(3);
  if (count(db, "SELECT COUNT(*) FROM machine") != 1) _exit(4);
  int64_t id;
  if (db_build(db, "other", &id, &err) != FVM_OK || id != 0) _exit(5);
  if (db_machine(db, &machine, &id, &err) != FVM_OK || id == 0) _exit(6);
  if (db_problem(db, 1, "", "", &id, &err) != FVM_EENV) _exit(7);
  db_close(db);
}

START_TEST(read_only_files_can_be_read) {
  struct db *db;
  OK(db_open(fresh("ro"), DB_WRITE, &db, &err));
  add_ids(db);
  db_close(db);
  ck_assert_int_eq(chmod(path("ro"), 0444), 0);
  ck_assert_int_eq(chmod(dir, 0555), 0);
  int status = in_child(use_read_only);
  ck_assert_int_eq(chmod(dir, 0755), 0);
  ck_assert_msg(WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 77),
                "status %x", (unsigned)status);
}
END_TEST

START_TEST(memory_can_run_out_anywhere) {
  for (int n = 1; n < 40; n++) {
    struct db *db;
    fresh("oom");
    fvm_fail_alloc(n);
    if (db_open(path("oom"), DB_WRITE, &db, &err) == FVM_OK) {
      struct text t = {0};
      struct entrant e = {.text = "a", .outcome = OUTCOME_OK};
      int64_t one;
      db_problem(db, 9, "p", "MatMul", &one, &err);
      db_store(db, 1, 1, WARM, 1, &e, 1, NULL, true, &err);
      db_stat(db, true, &t, &err);
      text_free(&t);
      db_close(db);
    }
    fvm_fail_alloc(0);
  }
}
END_TEST

int main(void) {
  const TTest *const tests[] = {ids_are_stable,
                                runs_are_stored_and_replaced,
                                finals_grow_and_settle,
                                views_show_the_best,
                                what_is_no_database_is_refused,
                                foreign_databases_are_left_alone,
                                damage_is_an_error,
                                older_versions_migrate,
                                version_1_becomes_warm,
                                states_are_apart,
                                a_full_disk_loses_nothing,
                                a_kill_loses_only_what_was_not_stored,
                                read_only_files_can_be_read,
                                memory_can_run_out_anywhere};
  return dbcheck_main("db", tests, COUNT(tests));
}
