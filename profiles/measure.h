/* The measurement protocol. All constants in measure.c. Statistics: docs/architecture.md. */
#ifndef FVM_MEASURE_H
#define FVM_MEASURE_H

#include "../kernels/op.h"
#include "counters.h"

enum { MEASURE_PROTOCOL = 2 }; /* goes into every row; changes with anything that moves a number */

enum outcome {
#define OUTCOME(name, text, meaning) OUTCOME_##name,
#include "outcomes.def"
#undef OUTCOME
  OUTCOME_COUNT
};
const char *outcome_name(enum outcome o);
enum outcome outcome_parse(const char *text); /* OUTCOME_COUNT for any other text, or NULL */
/* Right, whatever it was timed at. */
static inline bool outcome_is_sound(enum outcome o) {
  return o == OUTCOME_OK || o == OUTCOME_LOST || o == OUTCOME_NOISY;
}

/* Where the network finds its weights when it runs again: still in the last cache, or in memory,
 * since all of them together are too large for it. What is measured in one state says little of the
 * other. */
enum warmth {
#define WARMTH(name, text, meaning) name,
#include "warmth.def"
#undef WARMTH
  WARMTH_COUNT
};
const char *warmth_name(enum warmth w);
/* Of a model with so many bytes of weights. cache_bytes: of the last cache; 0: unknown. */
enum warmth measure_warmth(int64_t weight_bytes, int64_t cache_bytes);

/* One candidate in a race, and what came of it. */
struct entrant {
  struct label label;
  struct program program;
  const char *text;     /* the label's text, the caller's */
  enum outcome outcome; /* OUTCOME_COUNT: nothing known yet */
  char reason[160];     /* of any outcome but ok */
  double error;         /* largest difference to the reference over the largest output */
  VEC(int64_t) sample;  /* ns of one run of the program, every round it took part in */
  int64_t min_ns, median_ns, mad_ns;
  VEC(int64_t) interp; /* finalists: ns of one run under the interpreter, every sample */
  int64_t interp_ns;   /* their minimum; else 0 */
  int dropped;         /* samples thrown away (context switch, migration, slow sentinel) */
  struct counter_values counters;
};
struct measure_options {
  int64_t sample_ns; /* least duration of a sample; default 100000 */
  int max_rounds;
  double timeout_s;                /* CPU time of one candidate; 0: by the reference's */
  enum warmth warmth;              /* of constant inputs at the start of a run */
  int64_t cache_bytes;             /* of the last cache; 0: unknown */
  ukr_fn *const *ukr;              /* micro-kernels to run; NULL: the best this CPU has */
  volatile const int *interrupted; /* set by a signal handler: finish the round and return */
};
/* Race all entrants of one problem: build inputs from a seed, compute the reference, then in a
 * forked worker check each candidate (interpreter against the reference within the tolerance of
 * its dtype, JIT against the interpreter bit for bit) and time the sound ones in interleaved
 * rounds. A crash or a hang costs one entrant. Entrants whose outcome is already known on entry do
 * not take part. on_round (may be NULL) is called after each round with the entrants as they stand,
 * so that the caller can store them; it returns false to end the race. FVM_EINTR after that or a
 * signal. */
enum fvm_status measure_race(const struct opcall *c, struct entrant *e, int n,
                             const struct measure_options *o,
                             bool (*on_round)(void *arg, int round), void *arg,
                             struct fvm_error *err);
void entrant_free(struct entrant *e);
/* Give the constants of an opcall that was read back from its text, and that this does not tell,
 * values like those of other inputs. */
void measure_constants(struct opcall *c);

#endif
