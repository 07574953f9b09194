/* The database of measurements: SQLite. Schema and views: schema.sql. */
#ifndef FVM_DB_H
#define FVM_DB_H

#include "machine.h"
#include "measure.h"

struct db;
enum db_mode { DB_READ, DB_WRITE };
/* Open, and in DB_WRITE mode create or migrate. FVM_EFORMAT: not a FluidVM database, or a newer
 * schema; FVM_EENV: no permission. One writer at a time (others wait up to 5 s). */
enum fvm_status db_open(const char *path, enum db_mode mode, struct db **db, struct fvm_error *err);
void db_close(struct db *db);

/* Each returns the row's id, made when it is new. In DB_READ mode an unknown machine or build gets
 * the id 0, for which nothing is stored. */
enum fvm_status db_machine(struct db *db, const struct machine *m, int64_t *id,
                           struct fvm_error *err);
enum fvm_status db_build(struct db *db, const char *text, int64_t *id, struct fvm_error *err);
enum fvm_status db_model(struct db *db, uint64_t hash, const char *name, enum data_state s,
                         int64_t *id, struct fvm_error *err);
enum fvm_status db_problem(struct db *db, uint64_t hash, const char *text, const char *op,
                           int64_t *id, struct fvm_error *err);
/* Replace the nodes of a model, in order of execution, in one transaction. */
struct db_node {
  const char *name;
  int64_t problem;
  enum data_state state;
};
enum fvm_status db_nodes(struct db *db, int64_t model, const struct db_node *node, int n,
                         struct fvm_error *err);
/* Store what came of candidates (entrant.text is the label): one transaction a call for all n, with
 * samples and environment (JSON, may be NULL). A run replaces an earlier one of the same machine,
 * build, protocol, problem, label and state. Entrants with outcome OUTCOME_COUNT
 * (nothing known yet) are skipped; of those with finals only (measure_options.again), what
 * is stored of compiled code stays. */
enum fvm_status db_store(struct db *db, int64_t machine, int64_t build, enum data_state s,
                         int64_t problem, const struct entrant *e, int n, const char *environment,
                         bool finished, struct fvm_error *err);
/* What is known of a label: outcome and ns (interpreter's where measured, else JIT's minimum).
 * *found is false when nothing is stored for this machine, build, protocol and state. */
struct db_known {
  enum outcome outcome;
  int64_t ns;    /* 0: none, because of the outcome */
  double error;  /* as in struct entrant; -1: not known */
  bool finished; /* the race it took part in was run to its end */
  bool settled;  /* and its finals were repeated at other times, as often as it takes */
  int finals;    /* samples under the interpreter */
};
enum fvm_status db_lookup(struct db *db, int64_t machine, int64_t build, enum data_state s,
                          uint64_t problem_hash, const char *label, struct db_known *k, bool *found,
                          struct fvm_error *err);
/* Give an entrant (text: its label) the samples that are stored of its finals, so that others can
 * be added; none when there are none. */
enum fvm_status db_finals(struct db *db, int64_t machine, int64_t build, enum data_state s,
                          uint64_t problem_hash, struct entrant *e, struct fvm_error *err);
/* All finished finals of so many problems count as settled from now on. */
struct db_problem_state {
  uint64_t problem; /* hash */
  enum data_state state;
};
enum fvm_status db_settle(struct db *db, int64_t machine, int64_t build,
                          const struct db_problem_state *v, int n, struct fvm_error *err);
/* All labels of a problem of which something is known, as they were entered; texts are the arena's.
 */
struct db_label {
  const char *label, *reason; /* reason: of any outcome but ok, or NULL */
  enum outcome outcome;
  int64_t ns;   /* as in struct db_known */
  double error; /* the same */
};
struct db_labels {
  VEC(struct db_label) list; /* the caller frees it */
};
enum fvm_status db_list(struct db *db, int64_t machine, int64_t build, enum data_state s,
                        uint64_t problem_hash, struct arena *a, struct db_labels *labels,
                        struct fvm_error *err);
/* The problem of a model's node; text is NULL when the database has no such node. */
struct db_use {
  uint64_t hash;
  const char *text;
  enum data_state state; /* of the node */
  int nodes;             /* of the model with this problem */
};
enum fvm_status db_node_problem(struct db *db, uint64_t model_hash, const char *node,
                                struct arena *a, struct db_use *u, struct fvm_error *err);
/* Output i of a model by the reference, under a key of the caller's: store it; read back `bytes` of
 * it. *found stays as it is, and becomes false when there is none of that size. */
enum fvm_status db_expect(struct db *db, uint64_t key, int i, const void *data, size_t bytes,
                          struct fvm_error *err);
enum fvm_status db_expected(struct db *db, uint64_t key, int i, void *data, size_t bytes,
                            bool *found, struct fvm_error *err);
/* One run by its id, which holds for this file alone; texts are the arena's. */
struct db_record {
  int64_t id;
  const char *problem, *label, *fingerprint, *build, *state, *engine, *started_at;
  const char *reason; /* or NULL */
  enum outcome outcome;
  int64_t protocol, min_ns, median_ns, n; /* times 0: none */
};
enum fvm_status db_record(struct db *db, int64_t id, struct arena *a, struct db_record *r,
                          bool *found, struct fvm_error *err);
/* Ids of up to `most` sound runs of a machine under this protocol: spread over all, the same ones
 * each time. */
enum fvm_status db_draw_records(struct db *db, uint64_t fingerprint, int most, int64_t *id, int *n,
                                struct fvm_error *err);
/* What candidates do (a text of the caller's: scheduler/prior.h), also of those that were never
 * run.
 */
struct db_work {
  const char *label, *work;
};
enum fvm_status db_put_work(struct db *db, int64_t problem, const struct db_work *w, int n,
                            struct fvm_error *err);
/* NULL: not known. From the arena. */
enum fvm_status db_get_work(struct db *db, uint64_t problem_hash, const char *label,
                            struct arena *a, const char **work, struct fvm_error *err);
/* Every sound measurement of a candidate whose work is known, of any machine, build and protocol,
 * in an order in which ids have no part. Texts last until put returns, which is false when memory
 * is out. */
struct db_run {
  uint64_t problem;
  const char *label, *work;
  bool here;   /* on this machine */
  bool counts; /* here, by this build and protocol */
  enum data_state state;
  int64_t ns; /* as in struct db_known */
};
enum fvm_status db_runs(struct db *db, int64_t machine, int64_t build,
                        bool (*put)(void *arg, const struct db_run *r), void *arg,
                        struct fvm_error *err);
/* What the prior of a machine came to (scheduler/prior.h). *found: there is one. */
struct db_prior {
  double gflops, gbytes;  /* of one core, measured */
  int64_t runs, problems; /* it was fitted to */
  double median_error, high_error, above, above_rival;
  const char *terms; /* the arena's */
};
enum fvm_status db_put_prior(struct db *db, int64_t machine, const struct db_prior *p,
                             struct fvm_error *err);
enum fvm_status db_get_prior(struct db *db, int64_t machine, struct arena *a, struct db_prior *p,
                             bool *found, struct fvm_error *err);
/* Human-readable summary: machines, builds, models, problems, runs by outcome, size. */
enum fvm_status db_stat(struct db *db, bool json, struct text *out, struct fvm_error *err);

#endif
