/* scheduler/cost_*: the chain of sources, and each source by itself. */
#include "unit.h"

#include <string.h>

#include "../../profiles/db.h"
#include "../../scheduler/cost.h"
#include "../../scheduler/states.h"

/* A label of a product of two matrices. */
static struct tensor shapes[3];
static struct opcall call;
static struct label label;

static void make_call(int64_t rows) {
  struct fvm_error err;
  for (int i = 0; i < 3; i++)
    OK(tensor_init(&shapes[i], FVM_F32, 2, (int64_t[]){i == 1 ? 64 : rows, 64}, &err));
  call = (struct opcall){.op = op_find("MatMul", 6), .nin = 2, .nown = 2, .nout = 1, .opset = 13};
  call.in = shapes;
  call.out = shapes + 2;
  struct target t = {.isa = ISA_REF, .threads = {1, 2}, .nthreads = 2};
  ck_assert(opcall_label(&call, &t, 0, &label));
}

START_TEST(model_grows_with_the_problem) {
  struct cost *c = cost_model_new(100, 10, 20);
  make_call(16);
  int64_t small = cost_node(c, &call, &label);
  make_call(16000);
  int64_t large = cost_node(c, &call, &label);
  ck_assert_int_gt(small, 0);
  ck_assert_int_ge(large, (int64_t)16000 * 64 * 64 * 2 / 100 / 2); /* flops, on at most 2 threads */
  int64_t one = cost_convert(c, shapes, LAYOUT_ROW, LAYOUT_COL, 1);
  ck_assert_int_gt(one, cost_convert(c, shapes, LAYOUT_ROW, LAYOUT_COL, 2));
  cost_free(c);
}
END_TEST

START_TEST(random_depends_on_seed_and_problem) {
  struct cost *a = cost_random_new(1), *b = cost_random_new(1), *c = cost_random_new(2);
  make_call(16);
  int64_t x = cost_node(a, &call, &label);
  ck_assert_int_eq(x, cost_node(b, &call, &label));
  ck_assert_int_ne(x, cost_node(c, &call, &label));
  make_call(17);
  ck_assert_int_ne(x, cost_node(a, &call, &label));
  ck_assert_int_gt(x, 0);
  cost_free(a);
  cost_free(b);
  cost_free(c);
}
END_TEST

START_TEST(table_takes_the_first_match) {
  struct fvm_error err;
  struct text t = {0};
  make_call(16);
  label_text(&call, &label, &t);
  struct text rows = {0};
  text_printf(&rows, "# a comment\nnothing_like_it 1\n%s 7 ~2.5e-6\n%.2s 8\n9\nconvert row col 3\n",
              t.v, t.v);
  text_printf(&rows, "convert * nhwc 4\n");
  struct cost *c = cost_table_new(rows.v, &err);
  ck_assert_ptr_nonnull(c);
  ck_assert_int_eq(cost_node(c, &call, &label), 7);
  ck_assert(cost_error(c, &call, &label) == 2.5e-6);
  label.threads = 63;
  ck_assert_int_eq(cost_node(c, &call, &label), 8);
  ck_assert(cost_error(c, &call, &label) == -1);
  ck_assert_int_eq(cost_convert(c, shapes, LAYOUT_ROW, LAYOUT_COL, 1), 3);
  ck_assert_int_eq(cost_convert(c, shapes, LAYOUT_COL, LAYOUT_NHWC, 1), 4);
  ck_assert_int_eq(cost_convert(c, shapes, LAYOUT_COL, LAYOUT_ROW, 1), COST_UNKNOWN);
  cost_free(c);
  text_free(&t);
  text_free(&rows);
}
END_TEST

START_TEST(table_refuses_nonsense) {
  struct fvm_error err;
  ck_assert_ptr_null(cost_table_new("1\nabc def\n", &err));
  ck_assert_ptr_nonnull(strstr(err.text, "line 2"));
  ck_assert_ptr_null(cost_table_new("convert row 5\n", &err));
  ck_assert_ptr_null(cost_table_new("convert row here 5\n", &err));
  ck_assert_int_eq(err.code, FVM_EFORMAT);
}
END_TEST

/* What the database holds of a label decides; the fallback answers for the rest. */
START_TEST(database_then_fallback) {
  struct fvm_error err;
  char path[] = "/tmp/test_cost.XXXXXX.db";
  ck_assert_int_ge(mkstemps(path, 3), 0);
  struct db *db;
  struct machine m = {.cpu = "test", .text = "cpu=test", .fingerprint = 1};
  struct entrant e = {.outcome = OUTCOME_OK};
  struct text text = {0}, lost = {0};
  int64_t machine, build, problem;
  ck_assert(VEC_PUSH(&e.sample, 130) && VEC_PUSH(&e.sample, 123));
  remove(path);
  OK(db_open(path, DB_WRITE, &db, &err));
  OK(db_machine(db, &m, &machine, &err));
  OK(db_build(db, "build", &build, &err));
  make_call(16);
  struct states states = {.near = WARM, .far = COLD};
  OK(db_problem(db, opcall_hash(&call), "MatMul", "MatMul", &problem, &err));
  struct cost *c = cost_db_new(db, machine, build, &states, cost_random_new(1), &err);
  int64_t drawn = cost_node(c, &call, &label);
  ck_assert_int_eq(c->known, 0);
  label_text(&call, &label, &text);
  e.label = label;
  e.text = text.v;
  OK(db_store(db, machine, build, WARM, problem, &e, 1, NULL, true, &err));
  ck_assert_int_eq(cost_node(c, &call, &label), 123);
  ck_assert_int_ne(drawn, 123);
  ck_assert_int_eq(c->known, 1);
  e.outcome = OUTCOME_CRASHED;
  OK(db_store(db, machine, build, WARM, problem, &e, 1, NULL, true, &err));
  ck_assert_int_eq(cost_node(c, &call, &label), COST_FORBIDDEN);
  ck_assert_int_gt(cost_convert(c, shapes, LAYOUT_ROW, LAYOUT_COL, 1), 0);
  OK(db_problem(db, convert_hash(shapes, LAYOUT_ROW, LAYOUT_COL), "Convert", "Convert", &problem,
                &err));
  convert_label(1, &lost);
  e.outcome = OUTCOME_LOST;
  e.text = lost.v;
  OK(db_store(db, machine, build, WARM, problem, &e, 1, NULL, true, &err));
  ck_assert_int_eq(cost_convert(c, shapes, LAYOUT_ROW, LAYOUT_COL, 1), 123);
  cost_free(c);
  VEC_FREE(&e.sample);
  db_close(db);
  text_free(&text);
  text_free(&lost);
  remove(path);
}
END_TEST

UNIT_MAIN("cost", model_grows_with_the_problem, random_depends_on_seed_and_problem,
          table_takes_the_first_match, table_refuses_nonsense, database_then_fallback)
