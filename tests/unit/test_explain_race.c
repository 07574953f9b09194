/* Of each convolution of a plan the best of every algorithm and layout, from a database whose times
 * are made up. */
#include "unit.h"

#include <cjson/cJSON.h>
#include <string.h>
#include <unistd.h>

#include "../../scheduler/explain.h"
#include "../../scheduler/states.h"

/* Two equal convolutions and a depthwise one. */
static const char text[] = "graph net opset=17\n"
                           "input x:f32[1,32,9,9]\n"
                           "const w:f32[32,32,3,3] = #0\n"
                           "const v:f32[32,1,3,3] = #0\n"
                           "a = Conv(x, w) @first pads=[1,1,1,1]\n"
                           "b = Conv(a, w) @second pads=[1,1,1,1]\n"
                           "c = Conv(b, v) @third strides=[2,2] group=32\n"
                           "y = Relu(c) @relu\n"
                           "output y\n";
static const struct plan_options options = {.target = {.threads = {1}, .nthreads = 1},
                                            .max_ticks = 10000000,
                                            .build = "build",
                                            .machine = "machine"};
static const struct machine machine = {
    .cpu = "cpu", .cores = 1, .isa = ISA_REF, .text = "cpu", .fingerprint = 1};

struct made {
  struct graph *g;
  struct cost *cost;
  struct schedule *s;
  struct fvm_plan *plan;
  struct db *db;
  int64_t machine_id, build_id, model;
  char path[64];
};
static struct fvm_error err;

/* All labels of node `name`: the i-th of the list takes 1000 (i + 1) ns, sorted as explain does. */
static int64_t store_labels(struct made *m, const char *name) {
  struct explain_node n = {0};
  struct arena a = {0};
  struct opcall call;
  int64_t id;
  const struct explain_source from = {.schedule = m->s, .options = &options, .cost = m->cost};
  OK(explain_node(&n, &from, name, &err));
  int node = 0;
  while (strcmp(m->s->graph->node.v[node].name, name) != 0) node++;
  OK(graph_opcall(m->s->graph, node, &a, &call, &err));
  OK(db_problem(m->db, opcall_hash(&call), n.problem, call.op->name, &id, &err));
  for (size_t i = 0; i < n.label.n; i++) {
    struct entrant e = {.text = n.label.v[i].text, .outcome = OUTCOME_OK, .error = 1e-6};
    for (int k = 0; k < 5; k++) ck_assert(VEC_PUSH(&e.sample, 1000 * ((int64_t)i + 1)));
    OK(db_store(m->db, m->machine_id, m->build_id, WARM, id, &e, 1, NULL, true, &err));
    VEC_FREE(&e.sample);
  }
  explain_node_free(&n);
  arena_free(&a);
  return id;
}

static void make(struct made *m) {
  char path[] = "/tmp/test_race.XXXXXX";
  *m = (struct made){0};
  OK(graph_parse(text, strlen(text), &m->g, &err));
  OK(pipeline_run(m->g, NULL, &err));
  m->cost = cost_table_new("chain_direct 9000\nchain_winograd 9000\n1000\nconvert * * 100\n", &err);
  ck_assert_ptr_nonnull(m->cost);
  OK(schedule_graph(m->g, m->cost, &options, &m->s, &err));
  int fd = mkstemp(path);
  ck_assert_int_ge(fd, 0);
  close(fd);
  OK(plan_write(m->s, &options, path, &err));
  OK(fvm_load(path, &m->plan, &err));
  unlink(path);
  snprintf(m->path, sizeof m->path, "%s.db", path);
  OK(db_open(m->path, DB_WRITE, &m->db, &err));
  OK(db_machine(m->db, &machine, &m->machine_id, &err));
  OK(db_build(m->db, "build", &m->build_id, &err));
  OK(db_model(m->db, m->plan->meta->model_hash, "net", WARM, &m->model, &err));
  struct db_node nodes[] = {{.name = "first"}, {.name = "second"}, {.name = "third"}};
  for (size_t i = 0; i < COUNT(nodes); i++) {
    nodes[i].problem = store_labels(m, nodes[i].name);
    nodes[i].state = WARM;
  }
  OK(db_nodes(m->db, m->model, nodes, (int)COUNT(nodes), &err));
}

static void unmake(struct made *m) {
  char side[80];
  db_close(m->db);
  static const char *const tails[] = {"", "-wal", "-shm"};
  for (size_t i = 0; i < COUNT(tails); i++) {
    snprintf(side, sizeof side, "%s%s", m->path, tails[i]);
    unlink(side);
  }
  fvm_unload(m->plan);
  schedule_free(m->s);
  cost_free(m->cost);
  graph_free(m->g);
}

static enum fvm_status try_explain(const struct made *m, bool with_graph, struct explanation *x) {
  *x = (struct explanation){.plan = m->plan,
                            .graph = with_graph ? m->g : NULL,
                            .title = "a.plan",
                            .machine = "a machine",
                            .speed = {1, 1, 1, 2}};
  static const struct states warm = {.near = WARM};
  const struct explain_source from = {.options = &options,
                                      .cost = m->cost,
                                      .db = m->db,
                                      .machine_id = m->machine_id,
                                      .build_id = m->build_id,
                                      .states = &warm};
  enum fvm_status st = explain_steps(x, &err);
  return st == FVM_OK ? explain_races(x, &from, &err) : st;
}

/* The best of each candidate in each of its layouts and nothing else, at their true times. */
static void check_rivals(const struct explain_node *n) {
  for (size_t i = 0; i < n->label.n; i++) {
    const struct explain_label *e = &n->label.v[i];
    bool first = true;
    for (size_t k = 0; k < i; k++) {
      const struct explain_label *o = &n->label.v[k];
      size_t c = explain_candidate(o->text);
      first = first && (c != explain_candidate(e->text) || strncmp(o->text, e->text, c) != 0 ||
                        strcmp(o->layouts, e->layouts) != 0);
    }
    ck_assert_int_eq(e->rival, first);
    if (i) ck_assert_int_le(n->label.v[i - 1].ns, e->ns);
  }
}

START_TEST(shapes_bounds_and_rivals) {
  struct made m;
  struct explanation x;
  make(&m);
  for (int with_graph = 0; with_graph < 2; with_graph++) {
    OK(try_explain(&m, with_graph, &x));
    ck_assert_uint_ge(x.race.n, 2);
    const struct explain_race *first = &x.race.v[0], *last = &x.race.v[x.race.n - 1];
    ck_assert_str_eq(first->shape, "3x3 32->32, 9x9");
    ck_assert_str_eq(last->shape, "3x3/2 32->32 in 32 groups, 4x4 +Relu");
    ck_assert_int_eq(first->flops, 2LL * 81 * 32 * 32 * 9);
    ck_assert_int_eq(first->bound_ns, first->flops); /* one a nanosecond */
    ck_assert(!first->by_values);
    ck_assert_int_eq(last->flops, 2 * 16 * 32 * 9);
    ck_assert_int_eq(first->plain_bytes, 4 * (32 * 32 * 9 + 32));
    int chosen = 0;
    for (size_t i = 0; i < x.race.n; i++) {
      const struct explain_race *r = &x.race.v[i];
      check_rivals(&r->node);
      for (size_t k = 0; k < r->node.label.n; k++) {
        const struct explain_label *e = &r->node.label.v[k];
        chosen += e->chosen;
        if (e->chosen || (e->rival && with_graph)) ck_assert_int_ge(e->scratch_bytes, 0);
        if (e->chosen || (e->rival && with_graph)) ck_assert_int_gt(e->flops, 0);
      }
    }
    ck_assert_int_eq(chosen, (int)x.race.n);
    explain_free(&x);
  }
  unmake(&m);
}
END_TEST

START_TEST(text_and_json_name_them) {
  struct made m;
  struct explanation x;
  struct text out = {0};
  make(&m);
  OK(try_explain(&m, true, &x));
  explain_race_text(&x, &(struct explain_style){0}, &out);
  ck_assert(!out.failed);
  ck_assert_ptr_nonnull(strstr(out.v, "3x3 32->32, 9x9  first"));
  ck_assert_ptr_nonnull(strstr(out.v, "others: "));
  text_free(&out);
  explain_race_text(&x, &(struct explain_style){.all = true}, &out);
  ck_assert_ptr_null(strstr(out.v, "others: "));
  text_free(&out);
  explain_race_json(&x, &out);
  cJSON *o = cJSON_Parse(out.v);
  ck_assert_msg(o != NULL, "%s", out.v);
  ck_assert_int_eq(cJSON_GetArraySize(o), (int)x.race.n);
  const cJSON *rivals = cJSON_GetObjectItem(cJSON_GetArrayItem(o, 0), "rivals");
  ck_assert_int_ge(cJSON_GetArraySize(rivals), 2);
  cJSON_Delete(o);
  text_free(&out);
  explain_free(&x);
  unmake(&m);
}
END_TEST

START_TEST(memory_runs_out) {
  struct made m;
  make(&m);
  size_t before = fvm_bytes_in_use();
  enum fvm_status st = FVM_ENOMEM;
  for (long i = 1; st == FVM_ENOMEM; i += 7) {
    struct explanation x;
    fvm_fail_alloc(i);
    st = try_explain(&m, true, &x);
    if (fvm_fail_alloc(0) == 0 && st == FVM_OK) st = FVM_ENOMEM; /* it made no difference */
    explain_free(&x);
    ck_assert_uint_eq(fvm_bytes_in_use(), before);
  }
  ck_assert_msg(st == FVM_OK, "%s", err.text);
  unmake(&m);
}
END_TEST

UNIT_MAIN("explain_race", shapes_bounds_and_rivals, text_and_json_name_them, memory_runs_out)
