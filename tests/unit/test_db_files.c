/* profiles/db_files.h: whole databases merged, written as text and read back, pruned, verified. */
#include "dbcheck.h"

#include "profiles/db_files.h"

static uint64_t seed = 1;
static int random_below(int n) {
  seed = seed * 6364136223846793005u + 1442695040888963407u;
  return (int)((seed >> 33) % (uint64_t)n);
}

static void run_sql(const char *file, const char *sql) {
  struct db *db;
  OK(db_open(file, DB_WRITE, &db, &err));
  OK(db_exec(db, sql, &err));
  db_close(db);
}

/* ---- databases at random: small sets of everything, so that they overlap ---- */

static int64_t add_machine(struct db *db, int i) {
  int64_t id;
  struct machine m = {
      .cpu = "A \"CPU\"", .cores = i, .isa = ISA_REF, .fingerprint = (uint64_t)i + 1};
  snprintf(m.text, sizeof m.text, "cpu=%d", i);
  OK(db_machine(db, &m, &id, &err));
  return id;
}

static int64_t add_problem(struct db *db, int i) {
  char text[32];
  int64_t id;
  snprintf(text, sizeof text, "MatMul f32[%d,3]", i);
  OK(db_problem(db, fvm_hash(text, strlen(text), 0), text, "MatMul", &id, &err));
  return id;
}

static void add_run(struct db *db) {
  static const char *const labels[] = {"a x=1", "b", "c y=2 in=row", "d"};
  static const enum outcome outcomes[] = {OUTCOME_OK, OUTCOME_LOST, OUTCOME_WRONG, OUTCOME_OK};
  char text[32];
  int which = random_below(4);
  bool timed = outcomes[which] != OUTCOME_WRONG;
  struct entrant e = entrant(labels[which], outcomes[which], 100 + random_below(50), timed ? 3 : 0);
  e.error = 1e-7 / (1 + random_below(9));
  if (!timed) snprintf(e.reason, sizeof e.reason, "element 3 is \"1\"");
  if (timed && random_below(2)) ck_assert(VEC_PUSH(&e.interp, 120 + random_below(9)));
  int64_t machine = add_machine(db, random_below(3)), problem = add_problem(db, random_below(4)),
          build;
  snprintf(text, sizeof text, "build %d", random_below(2));
  OK(db_build(db, text, &build, &err));
  OK(db_store(db, machine, build, random_below(2) ? WARM : COLD, problem, &e, 1, "{\"load\":1.5}",
              random_below(2), &err));
  entrant_free(&e);
}

static void add_model(struct db *db) {
  char name[32];
  int64_t id;
  struct db_node node[4];
  int n = 1 + random_below(4), which = random_below(3);
  snprintf(name, sizeof name, "net%d", random_below(3));
  OK(db_model(db, (uint64_t)which + 1, name, WARM, &id, &err));
  for (int i = 0; i < n; i++)
    node[i] = (struct db_node){i % 2 ? "odd" : "even", add_problem(db, random_below(4)),
                               random_below(2) ? WARM : COLD_FAR};
  OK(db_nodes(db, id, node, n, &err));
}

/* Moments differ, since who is newer decides. */
static void make_random(const char *name, int runs) {
  struct db *db;
  char sql[128];
  unsigned char value[4] = {0};
  OK(db_open(fresh(name), DB_WRITE, &db, &err));
  for (int i = 0; i < runs; i++) add_run(db);
  for (int i = 0; i < 3; i++) add_model(db);
  value[0] = (unsigned char)random_below(3);
  OK(db_expect(db, (uint64_t)random_below(2), random_below(2), value, sizeof value, &err));
  snprintf(sql, sizeof sql, "UPDATE run SET started_at = '2026-01-%02dT00:00:00Z'",
           1 + random_below(20));
  OK(db_exec(db, sql, &err));
  db_close(db);
}

static bool keep_line(void *arg, const char *line) {
  text_printf(arg, "%s\n", line);
  return true;
}

/* All that an export tells, and the outputs by the reference; the caller frees it. */
static struct text content(const char *file) {
  struct db *db;
  struct text t = {0};
  sqlite3_stmt *s;
  OK(db_open(file, DB_READ, &db, &err));
  OK(db_export(db, DB_LINES, keep_line, &t, &err));
  const char *sql = "SELECT key, output, hex(value) FROM expected ORDER BY key, output";
  ck_assert_int_eq(sqlite3_prepare_v2(db->sql, sql, -1, &s, NULL), SQLITE_OK);
  while (sqlite3_step(s) == SQLITE_ROW)
    text_printf(&t, "%s %s %s\n", sqlite3_column_text(s, 0), sqlite3_column_text(s, 1),
                sqlite3_column_text(s, 2));
  sqlite3_finalize(s);
  db_close(db);
  ck_assert(!t.failed);
  return t;
}

static void same_content(const char *file, const struct text *want) {
  struct text have = content(file);
  ck_assert_str_eq(have.v, want->v);
  text_free(&have);
}

/* ---- merge ---- */

enum { FILES = 20 };

static void shuffle(const char **v, int n) {
  for (int i = n - 1; i > 0; i--) {
    int j = random_below(i + 1);
    const char *x = v[i];
    v[i] = v[j];
    v[j] = x;
  }
}

START_TEST(files_merge_in_any_order) {
  char name[FILES][128];
  const char *from[FILES];
  for (int i = 0; i < FILES; i++) {
    char file[16];
    snprintf(file, sizeof file, "m%d", i);
    make_random(file, 1 + random_below(12));
    snprintf(name[i], sizeof name[i], "%s", path(file));
    from[i] = name[i];
  }
  OK(db_merge(fresh("all"), from, FILES, &err));
  struct text want = content(path("all"));
  for (int round = 0; round < 5; round++) {
    shuffle(from, FILES);
    OK(db_merge(fresh("again"), from, FILES, &err));
    same_content(path("again"), &want);
    OK(db_merge(path("again"), from + random_below(FILES), 1, &err)); /* twice */
    same_content(path("again"), &want);
  }
  /* In groups, and the groups into one of them. */
  OK(db_merge(fresh("left"), from, FILES / 2, &err));
  OK(db_merge(fresh("right"), from + FILES / 2, FILES - FILES / 2, &err));
  const char *right = path("right"), *left = path("left");
  OK(db_merge(left, &right, 1, &err));
  same_content(left, &want);
  OK(db_merge(left, &left, 1, &err));
  same_content(left, &want);
  text_free(&want);
}
END_TEST

START_TEST(the_newest_finished_run_stays) {
  static const char *const when[] = {"2026-01-01", "2026-01-03", "2026-01-02"};
  static const bool finished[] = {true, false, true};
  const char *from[3];
  for (int i = 0; i < 3; i++) {
    char file[8], sql[96];
    struct db *db;
    int64_t build;
    struct entrant e = entrant("a", OUTCOME_OK, 100 * (i + 1), 3);
    snprintf(file, sizeof file, "n%d", i);
    OK(db_open(fresh(file), DB_WRITE, &db, &err));
    int64_t machine = add_machine(db, 1), problem = add_problem(db, 1);
    OK(db_build(db, "b", &build, &err));
    OK(db_store(db, machine, build, WARM, problem, &e, 1, NULL, finished[i], &err));
    snprintf(sql, sizeof sql, "UPDATE run SET started_at = '%s'", when[i]);
    OK(db_exec(db, sql, &err));
    db_close(db);
    entrant_free(&e);
    from[i] = path(file);
  }
  struct db *db;
  OK(db_merge(fresh("newest"), from, 3, &err));
  OK(db_open(path("newest"), DB_READ, &db, &err));
  ck_assert_int_eq(count(db, "SELECT COUNT(*) FROM run"), 1);
  ck_assert_int_eq(count(db, "SELECT min_ns FROM run"), 300);
  db_close(db);
}
END_TEST

/* A good file first: it must not have come in when the bad one is refused. */
static void refused(const char *bad, enum fvm_status want) {
  struct text before = content(path("target"));
  const char *from[] = {path("good"), bad};
  ck_assert_int_eq(db_merge(path("target"), from, 2, &err), want);
  ck_assert_msg(strstr(err.text, bad) != NULL, "%s", err.text);
  same_content(path("target"), &before);
  text_free(&before);
}

START_TEST(what_is_damaged_or_foreign_changes_nothing) {
  make_random("good", 10);
  make_random("target", 5);
  write_file(fresh("words"), "not a database at all, but long enough to be one", 48);
  refused(path("words"), FVM_EFORMAT);
  refused(path("absent"), FVM_EENV);
  sqlite3 *other;
  ck_assert_int_eq(sqlite3_open(fresh("foreign"), &other), SQLITE_OK);
  ck_assert_int_eq(sqlite3_exec(other, "CREATE TABLE t(x)", NULL, NULL, NULL), 0);
  sqlite3_close(other);
  refused(path("foreign"), FVM_EFORMAT);
  make_random("liar", 10);
  run_sql(path("liar"), "UPDATE run SET min_ns = 1 WHERE min_ns IS NOT NULL");
  refused(path("liar"), FVM_EFORMAT);
  make_random("loose", 10);
  run_sql(path("loose"), "PRAGMA foreign_keys=OFF; DELETE FROM problem");
  refused(path("loose"), FVM_EFORMAT);
  /* No target is made for the sake of a bad file. */
  const char *bad = path("words");
  ck_assert_int_eq(db_merge(fresh("never"), &bad, 1, &err), FVM_EFORMAT);
  ck_assert_int_ne(access(path("never"), F_OK), 0);
}
END_TEST

static char *slurp(const char *file, size_t *n) {
  static char buf[1 << 20];
  FILE *f = fopen(file, "rb");
  ck_assert_ptr_nonnull(f);
  *n = fread(buf, 1, sizeof buf, f);
  fclose(f);
  return buf;
}

/* A file with some bytes overwritten is refused or, where the bytes meant nothing, merged; nothing
 * else. A page is 4096 bytes: each of them is hit. */
START_TEST(overwritten_bytes_never_come_in_unseen) {
  size_t n;
  int noticed = 0;
  make_random("good", 20);
  run_sql(path("good"), "PRAGMA wal_checkpoint(TRUNCATE)");
  struct text want = content(path("good"));
  const char *bytes = slurp(path("good"), &n);
  for (size_t at = 100; at < n; at += 512 + (size_t)random_below(512)) {
    char *copy = fvm_alloc(n, 1);
    ck_assert_ptr_nonnull(copy);
    memcpy(copy, bytes, n);
    memset(copy + at, 0xee, MIN(n - at, 200));
    write_file(fresh("hit"), copy, n);
    fvm_free(copy, n, 1);
    const char *hit = path("hit");
    if (db_merge(fresh("target"), &hit, 1, &err) == FVM_OK)
      same_content(path("target"), &want);
    else
      noticed++;
  }
  ck_assert_int_gt(noticed, 5);
  text_free(&want);
}
END_TEST

/* ---- text ---- */

static void write_export(const char *file, const char *to) {
  struct db *db;
  struct text t = {0};
  OK(db_open(file, DB_READ, &db, &err));
  OK(db_export(db, DB_LINES, keep_line, &t, &err));
  db_close(db);
  write_file(to, t.v, t.n);
  text_free(&t);
}

START_TEST(what_is_exported_can_be_imported) {
  make_random("good", 40);
  run_sql(path("good"), "DELETE FROM expected");
  write_export(path("good"), path("lines"));
  const char *lines = path("lines");
  OK(db_import(fresh("copy"), &lines, 1, &err));
  struct text want = content(path("good"));
  same_content(path("copy"), &want);
  OK(db_import(path("copy"), &lines, 1, &err));
  same_content(path("copy"), &want);
  text_free(&want);
}
END_TEST

/* Each line is left out, cut, or has a byte changed: the import is refused with the number of a
 * line, or, where no reader can tell, content differs from the original at that line alone. */
static void import_broken(const char *text, size_t n, struct text *target, int *noticed) {
  write_file(path("broken"), text, n);
  const char *broken = path("broken");
  enum fvm_status st = db_import(path("target"), &broken, 1, &err);
  ck_assert_int_ne(st, FVM_ENOMEM);
  if (st == FVM_OK) return;
  ++*noticed;
  same_content(path("target"), target);
}

START_TEST(wrong_lines_change_nothing) {
  size_t n;
  int noticed = 0, cases = 0;
  char copy[1 << 16];
  make_random("good", 12);
  make_random("target", 3);
  struct text target = content(path("target"));
  write_export(path("good"), path("lines"));
  const char *text = slurp(path("lines"), &n);
  ck_assert_uint_lt(n, sizeof copy);
  for (size_t at = 0; at < n; at++) {
    if (at && text[at - 1] != '\n') continue;
    size_t len = (size_t)((const char *)memchr(text + at, '\n', n - at) - (text + at)) + 1;
    memcpy(copy, text, n); /* a line cut short */
    memset(copy + at + len / 2, ' ', len - len / 2 - 1);
    import_broken(copy, n, &target, &noticed);
    cases++;
    memcpy(copy, text, at); /* a line that is there twice */
    memcpy(copy + at, text + at, len);
    memcpy(copy + at + len, text + at, n - at);
    if (at) {
      import_broken(copy, n + len, &target, &noticed);
      cases++;
    }
  }
  ck_assert_int_eq(noticed, cases);
  const char *bad[] = {
      "{\"fluidvm\":\"measurements\",\"version\":2}\n",
      "[]\n",
      "{}\n",
      "x\n",
      "{\"run\":\"1\",\"label\":\"a\"}\n",
      "{\"machine\":\"1\"}\n",
      "{\"model\":\"1\",\"name\":\"n\",\"state\":\"warm\",\"nodes\":[[\"a\",\"b\"]]}\n"};
  for (size_t i = 0; i < COUNT(bad); i++) {
    int before = noticed;
    import_broken(bad[i], strlen(bad[i]), &target, &noticed);
    ck_assert_msg(noticed == before + 1, "%s", bad[i]);
    ck_assert_msg(strstr(err.text, "line 1") != NULL, "%s", err.text);
  }
  text_free(&target);
}
END_TEST

START_TEST(t4_results_tell_what_was_measured) {
  struct db *db;
  struct text t = {0};
  int64_t build;
  struct entrant e[2] = {entrant("conv mr=14 in=row,f32 out=nhwc", OUTCOME_OK, 1500000, 2),
                         entrant("b", OUTCOME_WRONG, 0, 0)};
  OK(db_open(fresh("t4"), DB_WRITE, &db, &err));
  int64_t machine = add_machine(db, 1), problem = add_problem(db, 1);
  OK(db_build(db, "b", &build, &err));
  OK(db_store(db, machine, build, WARM, problem, e, 2, NULL, true, &err));
  OK(db_exec(db, "UPDATE run SET started_at = '2026-01-01T00:00:00Z'", &err));
  OK(db_export(db, DB_T4, keep_line, &t, &err));
  db_close(db);
  ck_assert_str_eq(
      t.v, "{\"schema_version\":\"1.0.0\",\"results\":[\n"
           "{\"timestamp\":\"2026-01-01T00:00:00Z\",\"configuration\":{\"problem\":"
           "\"MatMul f32[1,3]\",\"candidate\":\"b\"},\"times\":{\"runtimes\":[]},"
           "\"invalidity\":\"correctness\",\"correctness\":0,\"measurements\":[],"
           "\"objectives\":[\"time\"]}\n"
           ",{\"timestamp\":\"2026-01-01T00:00:00Z\",\"configuration\":{\"problem\":"
           "\"MatMul f32[1,3]\",\"candidate\":\"conv\",\"mr\":\"14\",\"in\":\"row,f32\","
           "\"out\":\"nhwc\"},\"times\":{\"runtimes\":[1.5,1.500001]},"
           "\"invalidity\":\"correct\",\"correctness\":1,\"measurements\":[{\"name\":\"time\","
           "\"value\":1.5,\"unit\":\"ms\"}],\"objectives\":[\"time\"]}\n]}\n");
  for (int i = 0; i < 2; i++) entrant_free(&e[i]);
  text_free(&t);
}
END_TEST

/* ---- prune, verify ---- */

START_TEST(pruning_keeps_the_newest_build_of_each_machine) {
  struct db *db;
  struct db_pruned p;
  struct db_node node[4];
  int64_t model;
  OK(db_open(fresh("old"), DB_WRITE, &db, &err));
  for (int i = 0; i < 60; i++) add_run(db);
  for (int i = 0; i < 4; i++) node[i] = (struct db_node){"all", add_problem(db, i), WARM};
  OK(db_model(db, 1, "net", WARM, &model, &err));
  OK(db_nodes(db, model, node, 4, &err));
  OK(db_exec(db,
             "UPDATE run SET started_at = '2026-01-01'; UPDATE run SET started_at = "
             "'2026-01-02' WHERE (build + machine) % 2 = 0",
             &err));
  int64_t all = count(db, "SELECT COUNT(*) FROM run");
  int64_t kept = count(db, "SELECT COUNT(*) FROM run WHERE (build + machine) % 2 = 0");
  ck_assert_int_lt(kept, all);
  OK(db_prune(db, &p, &err));
  ck_assert_int_eq(p.runs, all - kept);
  ck_assert_int_eq(count(db, "SELECT COUNT(*) FROM run"), kept);
  ck_assert_int_eq(count(db, "SELECT COUNT(*) FROM run WHERE (build + machine) % 2 = 0"), kept);
  OK(db_prune(db, &p, &err));
  ck_assert_int_eq(p.runs, 0);
  OK(db_exec(db, "DELETE FROM run", &err));
  OK(db_prune(db, &p, &err));
  ck_assert_int_eq(p.models, 1);
  ck_assert_int_eq(count(db, "SELECT (SELECT COUNT(*) FROM candidate) + (SELECT COUNT(*) FROM "
                             "problem) + (SELECT COUNT(*) FROM node) + (SELECT COUNT(*) FROM "
                             "machine) + (SELECT COUNT(*) FROM build)"),
                   0);
  db_close(db);
}
END_TEST

/* Three runs of samples 100, 110, 150 (spread 10 of 110), 100, 100, 100 and 100, 200, 300 (100 of
 * 200): the middle one counts; two samples tell nothing of noise. */
START_TEST(stat_tells_how_noisy_a_database_is) {
  static const int64_t samples[4][3] = {{100, 110, 150}, {100, 100, 100}, {100, 200, 300}, {1, 9}};
  static const char *const labels[] = {"a", "b", "c", "d"};
  struct db *db;
  struct text t = {0};
  int64_t build;
  OK(db_open(fresh("noisy"), DB_WRITE, &db, &err));
  int64_t machine = add_machine(db, 1), problem = add_problem(db, 1);
  OK(db_build(db, "b", &build, &err));
  for (int i = 0; i < 4; i++) {
    struct entrant e = entrant(labels[i], OUTCOME_OK, 0, 0);
    for (int k = 0; k < (i < 3 ? 3 : 2); k++) ck_assert(VEC_PUSH(&e.sample, samples[i][k]));
    OK(db_store(db, machine, build, WARM, problem, &e, 1, NULL, true, &err));
    entrant_free(&e);
  }
  OK(db_exec(db,
             "UPDATE run SET started_at = CASE id WHEN 1 THEN '2026-01-01' ELSE '2026-02-01' END",
             &err));
  OK(db_stat(db, false, &t, &err));
  db_close(db);
  ck_assert_msg(strstr(t.v, "noise\n  jit warm, 3 runs, 90 spread_per_mille\n") != NULL, "%s", t.v);
  ck_assert_msg(strstr(t.v, "4 runs, first 2026-01-01, last 2026-02-01\n") != NULL, "%s", t.v);
  text_free(&t);
}
END_TEST

static int64_t findings(const char *file) {
  struct db *db;
  struct db_findings f = {0};
  OK(db_open(file, DB_READ, &db, &err));
  OK(db_verify(db, &f, &err));
  ck_assert_int_gt(f.runs, 0);
  ck_assert_int_gt(f.problems, 0);
  text_free(&f.text);
  db_close(db);
  return f.n;
}

START_TEST(each_number_that_does_not_follow_is_found) {
  static const char *const lies[] = {
      "UPDATE run SET min_ns = min_ns + 1 WHERE id = %s",
      "UPDATE run SET median_ns = median_ns + 1 WHERE id = %s",
      "UPDATE run SET mad_ns = mad_ns + 1 WHERE id = %s",
      "UPDATE run SET n = n + 1 WHERE id = %s",
      "UPDATE run SET status = 'fine' WHERE id = %s",
      "UPDATE run SET samples = '[1,2' WHERE id = %s",
      "UPDATE run SET samples = '[]' WHERE id = %s",
      "UPDATE run SET samples = replace(samples, ',', ', ') WHERE id = %s",
      "UPDATE run SET min_ns = NULL WHERE id = %s",
      "UPDATE problem SET text = text || ' ' WHERE id = 1",
      "UPDATE problem SET hash = '0000000000000001' WHERE id = 1"};
  for (size_t i = 0; i < COUNT(lies); i++) {
    char sql[160];
    make_random("true", 30);
    ck_assert_int_eq(findings(path("true")), 0);
    snprintf(sql, sizeof sql, lies[i], "(SELECT MIN(id) FROM run WHERE status = 'ok' AND n > 1)");
    run_sql(path("true"), sql);
    ck_assert_msg(findings(path("true")) == 1, "%s", sql);
  }
}
END_TEST

START_TEST(memory_can_run_out_anywhere) {
  make_random("good", 5);
  write_export(path("good"), path("lines"));
  struct text want = content(path("good"));
  for (long at = 1;; at++) {
    const char *good = path("good"), *lines = path("lines");
    fvm_fail_alloc(at);
    enum fvm_status st = db_merge(fresh("target"), &good, 1, &err);
    if (st == FVM_OK) st = db_import(path("target"), &lines, 1, &err);
    bool done = fvm_fail_alloc(0) > 0;
    ck_assert_int_eq(st, done ? FVM_OK : FVM_ENOMEM);
    if (done) break;
  }
  same_content(path("target"), &want);
  text_free(&want);
}
END_TEST

int main(void) {
  const TTest *const tests[] = {files_merge_in_any_order,
                                the_newest_finished_run_stays,
                                what_is_damaged_or_foreign_changes_nothing,
                                overwritten_bytes_never_come_in_unseen,
                                what_is_exported_can_be_imported,
                                wrong_lines_change_nothing,
                                t4_results_tell_what_was_measured,
                                stat_tells_how_noisy_a_database_is,
                                pruning_keeps_the_newest_build_of_each_machine,
                                each_number_that_does_not_follow_is_found,
                                memory_can_run_out_anywhere};
  return dbcheck_main("db_files", tests, COUNT(tests));
}
