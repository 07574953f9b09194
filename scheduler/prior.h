/* What candidates take by what they do: a guess for those that were not measured, fitted to those
 * that were. A program's time is a sum of terms, each the work of one kind that its busiest thread
 * does (vm/interp.h: arithmetic and calls of each micro-kernel, bytes from beyond each cache) times
 * what a unit of it takes; the latter are found by least squares on the relative error, none of
 * them negative, and drawn towards an analytic model of the machine as far as measurements don't
 * tell. */
#ifndef FVM_PRIOR_H
#define FVM_PRIOR_H

#include "../kernels/op.h"
#include "../profiles/db.h"

/* ---- work ---- */
enum { PRIOR_MAXTERM = 64 };
enum prior_kind { /* keys behind those of micro-kernels: flops of kernel u: u, calls: UKR_COUNT + u
                   */
                  PRIOR_L1 = 2 * UKR_COUNT, /* bytes beyond level 1, by one thread */
                  PRIOR_L2,
                  PRIOR_L1_TEAM, /* by the busiest of several */
                  PRIOR_L2_TEAM,
                  PRIOR_DATA, /* bytes of activations */
                  PRIOR_DATA_TEAM,
                  PRIOR_CONST, /* bytes of constants; which of the four follows from the state */
                  PRIOR_CONST_TEAM,
                  PRIOR_CONST_COLD,
                  PRIOR_CONST_COLD_TEAM,
                  PRIOR_START, /* once */
                  PRIOR_START_TEAM,
                  PRIOR_MEET, /* a par's end, of a team */
                  PRIOR_KEYS
};
struct prior_work {
  int n;
  struct prior_term {
    int key;
    double v;
  } term[PRIOR_MAXTERM];
};
/* Of a label's program on a target, walked and counted. c: NULL for conversions. */
enum fvm_status prior_work(const struct opcall *c, const struct program *p, int threads,
                           const struct target *t, struct prior_work *w, struct fvm_error *err);
/* One line; and back: false when the text is not one (of a build with other micro-kernels, say). */
void prior_work_text(const struct prior_work *w, struct text *out);
bool prior_work_parse(const char *text, struct prior_work *w);

/* ---- the model ---- */
/* Candidates of one name are off by much the same factor, by one thread and by several. Within a
 * problem and number of threads they are off by less: what one in fifty is guessed too high by,
 * beside the fastest of them whose time is known. */
struct prior_family {
  char name[24];
  double factor[2]; /* by one thread, by several */
  double slack;
};
enum { PRIOR_FAMILIES = 96 };
struct prior {
  double ns[PRIOR_KEYS]; /* of a unit */
  struct prior_family family[PRIOR_FAMILIES];
  int nfamily;
  double gflops, gbytes; /* of one core */
  int runs, problems;    /* fitted to; 0: the analytic model */
  /* Relative errors on problems that the fit did not see: the median, and what one in ten exceeds.
   * Factors by which one in fifty is guessed too high: by itself, and beside the fastest of the
   * same name, problem and number of threads. */
  double median_error, high_error, above, above_rival;
};
/* The analytic model of a machine with so many GFLOP/s and GB/s a core. */
void prior_init(struct prior *p, double gflops, double gbytes);
/* label: its text, which begins with the candidate's name. */
double prior_ns(const struct prior *p, const struct prior_work *w, enum data_state state,
                const char *label);
/* The slack of a label's family; before enough of it was measured, a generous one. */
double prior_slack(const struct prior *p, const char *label);
/* Whether constants come from memory. */
bool prior_is_cold(enum data_state s);
/* Fit to what the database holds: first to rows of other machines, which stay the anchor of those
 * of this one. The same rows give the same prior, whatever it was before. */
enum fvm_status prior_fit(struct prior *p, struct db *db, int64_t machine, int64_t build,
                          struct fvm_error *err);
/* As stored, and back; *found: false when the database has none. */
enum fvm_status prior_store(const struct prior *p, struct db *db, int64_t machine,
                            struct fvm_error *err);
enum fvm_status prior_load(struct prior *p, struct db *db, int64_t machine, bool *found,
                           struct fvm_error *err);

#endif
