/* scheduler/solve_read.h: networks from files, and what is said of files that are wrong. */
#include "unit.h"

#include <string.h>

#include "../../scheduler/solve_read.h"

typedef enum fvm_status reader(const char *text, size_t n, struct solve_file *f,
                               struct fvm_error *err);

static void refused(reader *read, enum fvm_status want, const char *text, const char *what) {
  struct solve_file f = {.max_entries = 1 << 16};
  struct fvm_error err = {0};
  enum fvm_status st = read(text, strlen(text), &f, &err);
  ck_assert_msg(st == want, "status %d of: %s", st, text);
  ck_assert_msg(strstr(err.text, what) != NULL, "'%s' lacks '%s'", err.text, what);
  solve_file_free(&f);
}

/* Functions of no, one and two variables; defaults; a pair given twice; what is forbidden. */
static const char wcsp[] = "small 3 3 6 100\n"
                           "2 3 1\n"
                           "0 7 0\n"
                           "1 0 4 1\n 1 9\n"
                           "1 0 0 1\n 0 1\n"
                           "2 0 1 5 2\n 0 2 0\n 1 0 100\n"
                           "2 1 0 1 1\n 2 0 3\n"
                           "2 1 2 0 0\n";

START_TEST(reads_wcsp) {
  struct solve_file f = {0};
  struct fvm_error err;
  OK(solve_read_wcsp(wcsp, strlen(wcsp), &f, &err));
  ck_assert_uint_eq(f.net.var.n, 3);
  ck_assert_uint_eq(f.net.edge.n, 3);
  ck_assert_int_eq(f.constant, 7);
  ck_assert_int_eq(f.top, 100);
  ck_assert_int_eq(solve_cost(&f.net, (int[]){0, 2, 0}), 5 + 0 + 3);
  ck_assert_int_eq(solve_cost(&f.net, (int[]){0, 1, 0}), 5 + 5 + 1);
  ck_assert_int_eq(solve_cost(&f.net, (int[]){1, 0, 0}), SOLVE_INF);
  solve_file_free(&f);
}
END_TEST

START_TEST(refuses_bad_wcsp) {
  static const struct {
    enum fvm_status want;
    const char *text, *what;
  } bad[] = {
      {FVM_EFORMAT, "", "line 1: the file is empty"},
      {FVM_EFORMAT, "x", "ends where the number of variables"},
      {FVM_EFORMAT, "x 1 2 1 9\n2\n1 0 5 1\n2 3\n", "line 4: a label is 2"},
      {FVM_EFORMAT, "x 1 2 1 9\n2\n1 1 5 0\n", "line 3: a variable is 1"},
      {FVM_EFORMAT, "x 1 2 1 9\n0\n", "line 2: a domain's size is 0"},
      {FVM_EFORMAT, "x 1 2 1 9\n2\n1 0 5 1\n1 -3\n", "line 4: a tuple's cost is -3"},
      {FVM_EFORMAT, "x 1 2 1 9\n2\n1 0 5.5 0\n", "line 3: '5.5' is not an integer"},
      {FVM_EFORMAT, "x 1 2 0 9\n2\n1 0 5 0\n", "line 3: there is more"},
      {FVM_EFORMAT, "x 2 2 1 9\n2 2\n2 1 1 5 0\n", "line 3: a function of variable 1 and itself"},
      {FVM_EFORMAT, "x 900 2 1 9\n2 2\n", "the number of variables is 900"},
      {FVM_EFORMAT, "x 1 2 1 0\n2\n", "the top cost is 0"},
      {FVM_EUNSUPPORTED, "x 3 2 1 9\n2 2 2\n3 0 1 2 0 0\n", "line 3: a function of 3 variables"},
      {FVM_EUNSUPPORTED, "x 2 2 1 9\n2 2\n2 0 1 -1 salldiff hard 9\n",
       "line 3: a function that is"},
      {FVM_EUNSUPPORTED, "x 2 900 1 9\n900 900\n2 0 1 5 0\n", "line 3: cost tables of more"},
      {FVM_EUNSUPPORTED, "x 1 2 1 9999999999999999999\n1\n1 0 900000000000000000 0\n", "add up"},
  };
  for (size_t i = 0; i < COUNT(bad); i++)
    refused(solve_read_wcsp, bad[i].want, bad[i].text, bad[i].what);
}
END_TEST

static const char iopddl[] =
    "{\"problem\": {\"name\": \"a \\\"b\\\" c\", \"more\": [{}, [], {\"x\": null}],\n"
    " \"edges\": {\"nodes\": [[0, 1], [2, 1]], \"costs\": [[30, 40], [1, 2, 3, 4]]},\n"
    " \"nodes\": {\"intervals\": [[30, 70], [40, 70], [0, 0]],\n"
    "  \"usages\": [[10], [25, 26], [15, 20]], \"costs\": [[15], [55, 65], [25, 45]]},\n"
    " \"usage_limit\": 50}}\n";

START_TEST(reads_iopddl) {
  struct solve_file f = {0};
  struct fvm_error err;
  OK(solve_read_iopddl(iopddl, strlen(iopddl), &f, &err));
  ck_assert_uint_eq(f.net.var.n, 3);
  ck_assert_int_eq(solve_cost(&f.net, (int[]){0, 1, 0}), 15 + 65 + 25 + 40 + 2);
  ck_assert_int_eq(solve_cost(&f.net, (int[]){0, 0, 1}), 15 + 55 + 45 + 30 + 3);
  ck_assert_int_eq(f.limit, 50);
  ck_assert_int_eq(f.usage[1][1], 26);
  ck_assert_int_eq(f.from[1], 40);
  ck_assert_int_eq(f.to[2], 0);
  solve_file_free(&f);
}
END_TEST

#define NODES(i, c, u) "{\"nodes\":{\"intervals\":[" i "],\"costs\":[" c "],\"usages\":[" u "]},\n"
#define REST(n, c) "\"edges\":{\"nodes\":[" n "],\"costs\":[" c "]},\"usage_limit\":9}}"
START_TEST(refuses_bad_iopddl) {
  static const struct {
    const char *text, *what;
  } bad[] = {
      {"", "line 1: the file ends"},
      {"[]", "line 1: '[' where '{'"},
      {"{}", "problem.nodes.costs is missing"},
      {"{\"problem\":" NODES("[0,1]", "[1],[2,3]", "[1],[2,3]") REST("", ""),
       "problem.nodes.intervals has 1 lists; 2 should be there"},
      {"{\"problem\":" NODES("[0,1]", "[1]", "[1,2]") REST("", ""), "line 1: 2 usages"},
      {"{\"problem\":" NODES("[0,1]", "[]", "[]") REST("", ""), "line 1: a node of 0 strategies"},
      {"{\"problem\":" NODES("[0]", "[1]", "[1]") REST("", ""), "an interval of 1 numbers"},
      {"{\"problem\":" NODES("[0,1]", "[1]", "[1]") REST("[0,1]", "[1]"),
       "line 2: an edge to node 1"},
      {"{\"problem\":" NODES("[0,1]", "[1]", "[1]") REST("[0,0]", "[1]"), "and itself"},
      {"{\"problem\":" NODES("[0,1],[0,1]", "[1],[2]", "[1],[2]") REST("[0,1]", "[1,2]"),
       "line 2: 2 costs of an edge between 1 and 1"},
      {"{\"problem\":" NODES("[0,1],[0,1]", "[1],[2]", "[1],[2]") REST("[0,1]", ""),
       "problem.edges.costs has 0 lists"},
      {"{\"problem\":" NODES("[0,1]", "[-1]", "[1]") REST("", ""), "problem.nodes.costs is -1"},
      {"{\"problem\":" NODES("[0,1]", "[1", "[1]") REST("", ""), "line 1: ':' where"},
      {"{\"problem\": {\"name\": \"x", "line 1"},
  };
  for (size_t i = 0; i < COUNT(bad); i++)
    refused(solve_read_iopddl, FVM_EFORMAT, bad[i].text, bad[i].what);
}
END_TEST

/* Whatever a file is cut down to, it is refused or read without harm. */
static void cut(reader *read, const char *text) {
  struct fvm_error err;
  for (size_t n = 0; n < strlen(text); n++) {
    struct solve_file f = {0};
    char *copy = malloc(n + 1); /* so that sanitizers see what is read behind its end */
    if (!copy) abort();
    memcpy(copy, text, n);
    enum fvm_status st = read(copy, n, &f, &err);
    ck_assert(st == FVM_OK || st == FVM_EFORMAT);
    free(copy);
    solve_file_free(&f);
  }
}
START_TEST(cut_short) {
  cut(solve_read_wcsp, wcsp);
  cut(solve_read_iopddl, iopddl);
}
END_TEST

START_TEST(memory_may_fail) {
  struct fvm_error err;
  for (long n = 1; n < 60; n++) {
    struct solve_file f = {0};
    fvm_fail_alloc((n + 1) / 2);
    enum fvm_status st = n % 2 ? solve_read_wcsp(wcsp, strlen(wcsp), &f, &err)
                               : solve_read_iopddl(iopddl, strlen(iopddl), &f, &err);
    fvm_fail_alloc(0);
    ck_assert(st == FVM_OK || st == FVM_ENOMEM);
    solve_file_free(&f);
  }
}
END_TEST

UNIT_MAIN("solve_read", reads_wcsp, refuses_bad_wcsp, reads_iopddl, refuses_bad_iopddl, cut_short,
          memory_may_fail)
