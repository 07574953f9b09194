/* What most commands begin with: model to graph, database to costs, graph to plan. */
#ifndef FVM_SESSION_H
#define FVM_SESSION_H

#include "../profiles/db.h"
#include "cli.h"
#include "plan_build.h"
#include "states.h"

struct session {
  struct machine machine;
  struct target target;
  struct graph *graph;
  struct pins *pins; /* --pin; NULL: none */
  struct db *db;     /* NULL without --db */
  struct cost *cost;
  struct schedule *schedule;
  int64_t machine_id, build_id;
  struct states states;              /* with --db */
  int64_t memory, arena, latency_ns; /* limits as in struct plan_options; 0: none */
  double label_error;                /* as in struct plan_options */
  bool smallest;                     /* plan for least memory, not for least latency */
  const struct plan_watch *watch;
  enum policy policy;
  struct phases phases;
};

/* Read --pin, import a model with the cli's --dim and run all passes. */
enum fvm_status session_graph(struct session *s, struct cli *cli, const char *model,
                              struct fvm_error *err);
/* After session_graph: open --db (read only), choose costs: measured where there are any, else the
 * analytic model, whose figures are nominal for the ISA and so the same in every run. Thread counts
 * up to --threads. */
enum fvm_status session_cost(struct session *s, struct cli *cli, struct fvm_error *err);
/* What session_schedule asks the planner for. */
void session_options(const struct session *s, struct plan_options *o);
/* Plan the graph: fills s->schedule. */
enum fvm_status session_schedule(struct session *s, struct fvm_error *err);
enum fvm_status session_write(struct session *s, const char *path, struct fvm_error *err);
/* Plan the graph into a temporary file that is gone after loading. */
enum fvm_status session_plan(struct session *s, struct cli *cli, struct fvm_plan **plan,
                             struct fvm_error *err);
void session_close(struct session *s);

/* A plan file as it is, or a model planned by session_plan. */
enum fvm_status session_load(struct cli *cli, const char *path, struct fvm_plan **plan,
                             struct fvm_error *err);
/* Whether the file begins with the magic of plan files. */
bool is_plan_file(const char *path);
/* Thread counts 1, 2, 4, ... and n itself. */
int thread_counts(int n, int *v, int cap);

#endif
