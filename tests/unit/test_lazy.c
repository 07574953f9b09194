/* scheduler/profile_lazy: with times that are known, what is measured lazily makes the same plans
 * as all of them. A race here is a look into a table that a hash of problem and label fills. */
#include "dbfile.h"

#include <string.h>
#include <unistd.h>

#include "scheduler/chains.h"
#include "scheduler/cost.h"
#include "scheduler/demand.h"
#include "scheduler/plan_build.h"
#include "scheduler/prior.h"
#include "scheduler/profile.h"
#include "scheduler/states.h"

static struct fvm_error err;

/* A branch and a join, so that layouts matter; two equal convolutions. */
static const char text[] =
    "graph net opset=17 hash=00000000000000ac\n"
    "input x:f32[1,16,12,12]\n"
    "const w:f32[16,16,3,3] = #0000000000000000\n"
    "const v:f32[32,16,1,1] = #0000000000000000\n"
    "a:f32[1,16,12,12] = Conv(x, w) @a dilations=[1,1] group=1 kernel_shape=[3,3] pads=[1,1,1,1] "
    "strides=[1,1]\n"
    "b:f32[1,16,12,12] = Conv(a, w) @b dilations=[1,1] group=1 kernel_shape=[3,3] pads=[1,1,1,1] "
    "strides=[1,1]\n"
    "c:f32[1,16,12,12] = Add(a, b) @c\n"
    "d:f32[1,32,12,12] = Conv(c, v) @d dilations=[1,1] group=1 kernel_shape=[1,1] pads=[0,0,0,0] "
    "strides=[1,1]\n"
    "e:f32[1,32,12,12] = Relu(d) @e\n"
    "f:f32[1,32,6,6] = MaxPool(e) @f ceil_mode=0 dilations=[1,1] kernel_shape=[2,2] pads=[0,0,0,0] "
    "strides=[2,2]\n"
    "output f\n";

static struct fixture {
  struct graph *g;
  struct db *db;
  struct machine m;
  struct profile_options o;
  struct profile_totals totals;
  struct cost *truth;
  uint64_t seed;
  double spread; /* times are guesses times up to this, or divided by it */
  int most;      /* races until the budget is as good as used up; 0: no limit */
  int races;
} f;

/* ---- the truth ---- */

static int64_t true_ns(const struct fixture *x, uint64_t problem, const char *label, double guess) {
  uint64_t h = fvm_hash(label, strlen(label), problem ^ x->seed);
  double u = (double)(h >> 11) / (double)(UINT64_C(1) << 53);
  return 1000 + (int64_t)(guess * (1 + (x->spread - 1) * u));
}

static double guess_of(const struct opcall *c, const struct label *l) {
  struct opcost x = {0};
  if (!l->cand) return (double)layout_bytes(&c->in[0], (enum layout)l->in[0]);
  opcall_cost(c, l, &x);
  return (double)(x.flops + x.bytes_read + x.bytes_written) / l->threads + 100 * (double)l->threads;
}

static int64_t low(const struct opcall *c, const struct label *l) {
  return 1000 + (int64_t)guess_of(c, l);
}

static int64_t truth_of(const struct opcall *c, const struct label *l) {
  struct text t = {0};
  uint64_t problem = l->cand
                         ? opcall_hash(c)
                         : convert_hash(&c->in[0], (enum layout)l->in[0], (enum layout)l->out[0]);
  if (l->cand)
    label_text(c, l, &t);
  else
    convert_label(l->threads, &t);
  int64_t ns = true_ns(&f, problem, t.v, guess_of(c, l));
  text_free(&t);
  return ns;
}

static int64_t truth_node(struct cost *cost, const struct opcall *c, const struct label *l) {
  (void)cost;
  return cost_charged(truth_of(c, l), c, l);
}

static int64_t truth_convert(struct cost *cost, const struct tensor *t, enum layout from,
                             enum layout to, int threads) {
  struct tensor io = *t;
  struct opcall c = {.in = &io, .nin = 1};
  struct label l = {.threads = threads};
  (void)cost;
  l.in[0] = (uint8_t)from;
  l.out[0] = (uint8_t)to;
  return truth_of(&c, &l);
}

static void truth_free(struct cost *cost) { (void)cost; }
static struct cost truth = {
    .node = truth_node, .convert = truth_convert, .free = truth_free, .name = "truth"};

/* ---- races by the truth ---- */

static enum fvm_status race(const struct opcall *c, struct entrant *e, int n,
                            const struct measure_options *o, bool (*on_round)(void *arg, int round),
                            void *arg, struct fvm_error *why) {
  (void)o;
  f.races++;
  for (int i = 0; i < n; i++) {
    if (e[i].outcome != OUTCOME_COUNT) continue;
    e[i].outcome = OUTCOME_OK;
    e[i].min_ns = e[i].median_ns = truth_of(c, &e[i].label);
    if (!VEC_PUSH(&e[i].sample, e[i].min_ns)) return fvm_nomem(why);
  }
  if (!on_round(arg, 1) || (f.most && f.races >= f.most))
    return fvm_fail(why, FVM_EINTR, "stopped");
  return FVM_OK;
}

/* ---- plans ---- */

static int64_t best_ns(struct cost *cost, int threads) {
  struct plan_options o = {.target = f.o.target, .max_ticks = 1000000, .build = "", .machine = ""};
  struct demand *d;
  int64_t ns;
  o.target.nthreads = 0;
  for (int i = 0; i < f.o.target.nthreads; i++)
    if (f.o.target.threads[i] <= threads)
      o.target.threads[o.target.nthreads++] = f.o.target.threads[i];
  OK(demand_open(f.g, cost, &o, &d, &err));
  OK(demand_solve(d, &ns, &err));
  demand_close(d);
  return ns;
}

static int64_t database_ns(int threads) {
  int64_t machine, build;
  OK(db_machine(f.db, &f.m, &machine, &err));
  OK(db_build(f.db, build_text(), &build, &err));
  struct states states;
  OK(states_make(&states, f.g, &f.o.target, &err));
  struct cost *c =
      cost_db_new(f.db, machine, build, &states, cost_model_new(1e-3, 1e-3, 1e6), &err);
  ck_assert_ptr_nonnull(c);
  int64_t ns = best_ns(c, threads);
  cost_free(c);
  states_free(&states);
  return ns;
}

/* Of labels whose measured times differ by less than 1 % the planner takes the simpler one. */
static bool is_tie(int64_t ns, int64_t best) { return ns >= best && ns - best <= best / 100; }

/* ---- set-up ---- */

static char path[] = "/tmp/fvm-test-lazy-XXXXXX";

static void setup(uint64_t seed, double spread) {
  dbfile_remove(path);
  f = (struct fixture){.seed = seed, .spread = spread};
  OK(graph_parse(text, strlen(text), &f.g, &err));
  OK(machine_read(&f.m, &err));
  OK(db_open(path, DB_WRITE, &f.db, &err));
  machine_target(&f.m, (int[]){1, 2}, 2, &f.o.target);
  f.o.race = race;
  f.o.no_reference = true;
  f.o.gflops = 100;
  f.o.gbytes = 20;
}

static void teardown(void) {
  db_close(f.db);
  graph_free(f.g);
}

static void go(void) { OK(profile_graph(f.g, f.db, &f.m, &f.o, &f.totals, &err)); }

/* ---- tests ---- */

/* With bounds that hold the plans are the best ones of all, however far the times are above them;
 * where they are close, few labels are measured. */
START_TEST(plans_are_the_best) {
  static const double spread[] = {1, 1.1, 2, 20};
  int measured[COUNT(spread)] = {0};
  for (uint64_t seed = 1; seed <= 8; seed++) {
    setup(seed, spread[seed % COUNT(spread)]);
    f.o.low = low;
    go();
    ck_assert(f.totals.complete);
    ck_assert_int_le(f.totals.labels_measured, f.totals.labels_total);
    ck_assert_int_eq(f.totals.nplan, 2);
    measured[seed % COUNT(spread)] += f.totals.labels_measured;
    for (int i = 0; i < 2; i++) {
      int64_t best = best_ns(&truth, f.totals.plan[i].threads);
      ck_assert_int_eq(f.totals.plan[i].least_ns, best);
      ck_assert(is_tie(f.totals.plan[i].ns, best));
      ck_assert(is_tie(database_ns(f.totals.plan[i].threads), best));
    }
    teardown();
  }
  ck_assert_int_lt(measured[1], measured[3]);
}
END_TEST

/* With guesses by the prior, which knows nothing of how these times were made, nearly so. */
START_TEST(guesses_come_close) {
  for (uint64_t seed = 1; seed <= 4; seed++) {
    setup(seed, 1.1);
    go();
    ck_assert(f.totals.complete);
    for (int threads = 1; threads <= 2; threads++)
      ck_assert_int_le(database_ns(threads), best_ns(&truth, threads) * 11 / 10);
    teardown();
  }
}
END_TEST

/* Whatever the times are, the second call has nothing to do, and a call with --exhaustive measures
 * what is left and no more. */
START_TEST(again_is_nothing) {
  for (uint64_t seed = 11; seed <= 14; seed++) {
    setup(seed, 50);
    go();
    int before = f.totals.labels_measured, races = f.races;
    ck_assert_int_gt(before, 0);
    go();
    ck_assert_int_eq(f.races, races);
    ck_assert_int_eq(f.totals.labels_measured, 0);
    ck_assert_int_eq(f.totals.labels_known, before);
    ck_assert(f.totals.complete);
    f.o.exhaustive = true;
    go();
    ck_assert(f.totals.complete);
    for (int threads = 1; threads <= 2; threads++)
      ck_assert(is_tie(database_ns(threads), best_ns(&truth, threads)));
    teardown();
  }
}
END_TEST

/* Stopped after any number of races, and called again until it is done: the same plans. */
START_TEST(stops_resume) {
  setup(21, 1.1);
  f.o.low = low;
  f.most = 2;
  int calls = 0;
  for (enum fvm_status st = FVM_EINTR; st; calls++) {
    f.races = 0;
    ck_assert_int_lt(calls, 500);
    st = profile_graph(f.g, f.db, &f.m, &f.o, &f.totals, &err);
    ck_assert(!st || st == FVM_EINTR);
  }
  ck_assert_int_gt(calls, 3);
  ck_assert(is_tie(database_ns(2), best_ns(&truth, 2)));
  teardown();
}
END_TEST

/* A budget that is used up at once: some plan, and a bound that holds. */
START_TEST(budgets_end_with_a_bound) {
  setup(31, 1.1);
  f.o.low = low;
  f.o.budget_s = 1e-9;
  go();
  ck_assert(!f.totals.complete);
  ck_assert_int_eq(f.totals.nplan, 2);
  for (int i = 0; i < 2; i++) {
    ck_assert_int_gt(f.totals.plan[i].least_ns, 0);
    ck_assert_int_le(f.totals.plan[i].least_ns, f.totals.plan[i].ns);
    ck_assert_int_le(f.totals.plan[i].least_ns, best_ns(&truth, f.totals.plan[i].threads));
  }
  f.o.budget_s = 0;
  go();
  ck_assert(f.totals.complete);
  ck_assert(is_tie(database_ns(1), best_ns(&truth, 1)));
  teardown();
}
END_TEST

/* ---- the prior ---- */

/* Behind what was measured stands the prior; in an empty database, what stands behind that. */
START_TEST(unmeasured_labels_are_guessed) {
  setup(41, 1.1);
  int64_t machine;
  struct states states;
  struct cost *none = cost_random_new(1), *c;
  struct opcall call;
  struct label l;
  struct arena a = {0};
  OK(states_make(&states, f.g, &f.o.target, &err));
  OK(db_machine(f.db, &f.m, &machine, &err));
  OK(cost_prior_new(f.db, machine, &states, none, &c, &err));
  ck_assert_ptr_eq(c, none);
  go();
  OK(cost_prior_new(f.db, machine, &states, none, &c, &err));
  ck_assert_ptr_ne(c, none);
  OK(graph_opcall(f.g, 0, &a, &call, &err));
  int n = 0;
  for (; opcall_label(&call, &f.o.target, n, &l); n++) ck_assert_int_gt(cost_node(c, &call, &l), 0);
  ck_assert_int_gt(n, 2);
  ck_assert_int_eq(c->known, n);
  ck_assert_int_gt(cost_convert(c, &call.in[0], LAYOUT_ROW, LAYOUT_NHWC, 1), 0);
  cost_free(c);
  states_free(&states);
  arena_free(&a);
  teardown();
}
END_TEST

START_TEST(work_round_trips) {
  struct prior_work w = {
      .n = 3, .term = {{UKR_gemm_8x32, 123456}, {UKR_COUNT + UKR_exp_f32, 7}, {PRIOR_START, 1}}};
  struct prior_work v;
  struct text t = {0};
  prior_work_text(&w, &t);
  ck_assert_str_eq(t.v, "f.gemm_8x32=123456 c.exp_f32=7 start=1");
  ck_assert(prior_work_parse(t.v, &v));
  ck_assert_int_eq(v.n, w.n);
  for (int i = 0; i < w.n; i++) {
    ck_assert_int_eq(v.term[i].key, w.term[i].key);
    ck_assert_double_eq(v.term[i].v, w.term[i].v);
  }
  text_free(&t);
  ck_assert(!prior_work_parse("f.no_such_kernel=1", &v));
  ck_assert(!prior_work_parse("start", &v));
  ck_assert(!prior_work_parse("start=x", &v));
  ck_assert(!prior_work_parse("", &v));
}
END_TEST

/* Runs whose times are exactly of the model's form: the fit finds it, and says that it is right. */
START_TEST(fits_find_the_model) {
  setup(0, 1);
  int64_t machine, build;
  OK(db_machine(f.db, &f.m, &machine, &err));
  OK(db_build(f.db, build_text(), &build, &err));
  struct prior p, q;
  bool found;
  for (int i = 0; i < 200; i++) {
    char name[32], label[32];
    int64_t problem;
    double flops = 1e6 * (1 + i % 17), data = 1e4 * (1 + i * 7 % 23);
    struct prior_work w = {.n = 3,
                           .term = {{UKR_gemm_8x32, flops}, {PRIOR_DATA, data}, {PRIOR_START, 1}}};
    struct text t = {0};
    snprintf(name, sizeof name, "P %d", i / 4);
    snprintf(label, sizeof label, "some k=%d threads=1", i);
    prior_work_text(&w, &t);
    OK(db_problem(f.db, fvm_hash(name, strlen(name), 0), name, "P", &problem, &err));
    OK(db_put_work(f.db, problem, &(struct db_work){label, t.v}, 1, &err));
    struct entrant e = {.text = label, .outcome = OUTCOME_OK};
    ck_assert(VEC_PUSH(&e.sample, (int64_t)(0.02 * flops + 0.1 * data + 500)));
    OK(db_store(f.db, machine, build, WARM, problem, &e, 1, NULL, true, &err));
    entrant_free(&e);
    text_free(&t);
  }
  prior_init(&p, 100, 20);
  OK(prior_fit(&p, f.db, machine, build, &err));
  ck_assert_int_eq(p.runs, 200);
  ck_assert_int_eq(p.problems, 50);
  ck_assert_double_lt(p.median_error, 0.02);
  ck_assert_double_lt(p.high_error, 0.05);
  ck_assert_double_eq_tol(p.ns[UKR_gemm_8x32], 0.02, 1e-3);
  OK(prior_store(&p, f.db, machine, &err));
  OK(prior_load(&q, f.db, machine, &found, &err));
  ck_assert(found);
  ck_assert_int_eq(q.runs, 200);
  struct prior_work w = {.n = 2, .term = {{UKR_gemm_8x32, 5e6}, {PRIOR_DATA, 1e5}}};
  ck_assert_double_eq_tol(prior_ns(&p, &w, WARM, "some k=1"), prior_ns(&q, &w, WARM, "some k=1"),
                          1);
  ck_assert_double_eq_tol(prior_ns(&p, &w, WARM, "some k=1"), 110000, 5000);
  teardown();
}
END_TEST

int main(void) {
  int fd = mkstemp(path);
  if (fd < 0) return EXIT_FAILURE;
  close(fd);
  const TTest *const tests[] = {unmeasured_labels_are_guessed,
                                plans_are_the_best,
                                guesses_come_close,
                                again_is_nothing,
                                stops_resume,
                                budgets_end_with_a_bound,
                                work_round_trips,
                                fits_find_the_model};
  int status = unit_main("lazy", tests, COUNT(tests));
  dbfile_remove(path);
  return status;
}
