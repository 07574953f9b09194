/* What things cost, in nanoseconds. The only way the scheduler learns a number. Sources: the
 * database (cost_db.c), a prior fitted to it (cost_prior.c), an analytic model (cost_model.c), a
 * fixed table for tests (cost_table.c), seeded random costs that make rare choices happen
 * (cost_random.c). */
#ifndef FVM_COST_H
#define FVM_COST_H

#include "../kernels/op.h"
#include "../profiles/measure.h"

enum {
  COST_UNKNOWN = -1,
  COST_FORBIDDEN = -2 /* known to be unusable: it gave wrong results, crashed, hung */
};

struct cost {
  /* Of one run of an opcall by a label (views are not asked: they cost nothing). */
  int64_t (*node)(struct cost *c, const struct opcall *call, const struct label *l);
  /* Of converting a tensor between layouts with a number of threads. */
  int64_t (*convert)(struct cost *c, const struct tensor *t, enum layout from, enum layout to,
                     int threads);
  /* Largest difference to the reference over the largest output; -1: not known. May be NULL. */
  double (*error)(struct cost *c, const struct opcall *call, const struct label *l);
  void (*free)(struct cost *c);
  const char *name;
  bool measured;         /* its numbers were measured */
  struct cost *fallback; /* asked when this one does not know; owned */
  int64_t known, asked;  /* statistics of node: how often this source itself knew */
};
/* Layouts of small tensors cost the same but for some nanoseconds of noise. So in times that were
 * measured each layout but rows, of what flows through the network, counts a little more, and has
 * to be worth it: two tunings shall lead to the same plan. ns may be COST_UNKNOWN or
 * COST_FORBIDDEN, which stay. */
int64_t cost_charged(int64_t ns, const struct opcall *call, const struct label *l);
/* Ask the chain; never COST_UNKNOWN when its last source is the model. */
int64_t cost_node(struct cost *c, const struct opcall *call, const struct label *l);
int64_t cost_convert(struct cost *c, const struct tensor *t, enum layout from, enum layout to,
                     int threads);
double cost_error(struct cost *c, const struct opcall *call, const struct label *l);
void cost_free(struct cost *c);

/* Roofline with a call overhead; figures of the machine in GFLOP/s a core and GB/s. Knows all.
 * These constructors return NULL when memory is out (or, with an err, for what it says). */
struct cost *cost_model_new(double gflops, double gbytes, double call_ns);
/* 1 to 100,000 ns by hash of seed, problem and label. Knows all. */
struct cost *cost_random_new(uint64_t seed);
/* Text: lines "LABEL-TEXT-PREFIX ns" and "convert FROM TO ns"; * stands for any layout; a line of
 * the number alone matches every label; first match wins; # starts a comment. "~1e-6" after the
 * number of a label is its error. */
struct cost *cost_table_new(const char *text, struct fvm_error *err);
/* Best valid measurement of this machine and build in a database, of each problem in its state; db
 * and states stay the caller's. */
struct db;
struct states;
struct cost *cost_db_new(struct db *db, int64_t machine_id, int64_t build_id,
                         const struct states *states, struct cost *fallback, struct fvm_error *err);

/* What the prior of this machine (prior.h) makes of labels whose work the database knows, in front
 * of `fallback`, which it takes over; where the database has no prior, *cost is fallback itself. */
enum fvm_status cost_prior_new(struct db *db, int64_t machine_id, const struct states *states,
                               struct cost *fallback, struct cost **cost, struct fvm_error *err);

#endif
