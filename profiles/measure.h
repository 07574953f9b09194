/* The measurement protocol. All constants in measure.c. Statistics: docs/architecture.md. */
#ifndef FVM_MEASURE_H
#define FVM_MEASURE_H

#include "../kernels/op.h"
#include "../vm/plan.h"
#include "counters.h"

/* Samples that finals take of an entrant, and of one whose runs take a millisecond or more. */
enum { MEASURE_VISIT = 5 };

enum { MEASURE_PROTOCOL = 5 }; /* goes into every row; changes with anything that moves a number */

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

/* Where a network's data is when a step of it begins. What is measured in one state says little of
 * another. */
enum data_state {
#define STATE(name, text, since, far, meaning) name,
#include "states.def"
#undef STATE
  STATE_COUNT
};
const char *state_name(enum data_state s);
/* HOT for any text but a state's name. */
enum data_state state_parse(const char *text);
/* Bytes of a core's own cache and of the last one; 0: unknown. */
struct caches {
  int64_t own, last;
};
struct caches measure_caches(const struct target *t);
/* Of the steps of a model of which so many bytes pass through the caches in a run; far: of those
 * whose output's place was not touched for the greater part of a run. */
enum data_state measure_state(int64_t run_bytes, bool far, const struct caches *c);
/* Whether so many bytes since it was touched make a place far. */
bool measure_far(int64_t run_bytes, int64_t since, const struct caches *c);

/* Virtual counters: what one run of a program does, counted by walking it without calling anything
 * (vm/interp.h), so they are there on every machine. */
struct virtual_counters {
  bool known;
  int64_t flops, calls;                  /* of micro-kernels */
  int64_t asked_bytes;                   /* that the micro-kernels read and write */
  int64_t touched_bytes, constant_bytes; /* different ones of inputs and outputs; of constants */
};
/* One candidate in a race, and what came of it. */
struct entrant {
  struct label label;
  struct program program;
  const char *text;     /* the label's text, the caller's */
  enum outcome outcome; /* OUTCOME_COUNT: nothing known yet */
  bool checked;         /* found right by this process, which left error and work */
  char reason[160];     /* of any outcome but ok */
  double error;         /* largest difference to the reference over the largest output */
  VEC(int64_t) sample;  /* ns of one run of the program, every round it took part in */
  int64_t min_ns, median_ns, mad_ns;
  VEC(int64_t) interp; /* finalists: ns of one run under the interpreter, every sample */
  int64_t interp_ns;   /* their minimum; else 0 */
  int dropped;         /* samples thrown away (context switch, migration, slow sentinel) */
  struct counter_values counters;
  struct virtual_counters work; /* known of those that were right */
};
/* The machine at its best, as far as it was seen: a race that lies in a bad time as a whole would
 * take that for normal. In ns; zero at first. Races that share it are told of each other's. */
struct peace {
  int64_t least_ns[PLAN_MAXTHREADS][2]; /* the two least of the sentinel in each thread; 0: none */
  int64_t used_ns[PLAN_MAXTHREADS + 1]; /* of samples that count, by threads */
  int64_t lost_ns[PLAN_MAXTHREADS + 1]; /* of others, and of waiting, by threads */
};
/* Inputs and reference outputs of problems that were raced, for races to come of the same opcalls:
 * these, where they are, must live as long. NULL when memory is out. */
struct measure_keep;
struct measure_keep *measure_keep_new(void);
void measure_keep_free(struct measure_keep *k);

struct measure_options {
  struct measure_keep *keep; /* NULL: nothing is kept */
  struct peace *peace;       /* NULL: the race's own */
  int64_t sample_ns;         /* least duration of a sample; default 100000 */
  int max_rounds;
  int alone_rounds; /* the least for one that is alone in its group; default 2: finals follow */
  bool quick;       /* end without finals, and within max_rounds whatever ties */
  bool again;       /* only finals, of all entrants, which are known to be right */
  double timeout_s; /* CPU time of one candidate; 0: by the reference's */
  enum data_state state; /* of the data at the start of a run */
  struct caches caches;
  ukr_fn *const *ukr;              /* micro-kernels to run; NULL: the best this CPU has */
  volatile const int *interrupted; /* set by a signal handler: finish the round and return */
};
/* Race all entrants of one problem: build inputs from a seed, compute the reference, then in a
 * forked worker check each candidate (interpreter against the reference within the tolerance of
 * its dtype, JIT against the interpreter bit for bit) and time the sound ones in interleaved
 * rounds; checked ones at once. A crash or a hang costs one entrant. Entrants whose outcome is
 * already known on entry do not take part; with o->again those whose outcome is ok do, and no
 * other. on_round (may be NULL) is called after each round with the entrants as they stand, so that
 * the caller can store them; it returns false to end the race. FVM_EINTR after that or a signal. */
enum fvm_status measure_race(const struct opcall *c, struct entrant *e, int n,
                             const struct measure_options *o,
                             bool (*on_round)(void *arg, int round), void *arg,
                             struct fvm_error *err);
void entrant_free(struct entrant *e);
/* Whether two labels of a problem race: equal threads, and equal layouts of what flows through the
 * network. */
bool measure_same_group(const struct opcall *c, const struct label *a, const struct label *b);
/* Give the constants of an opcall that was read back from its text, and that this does not tell,
 * values like those of other inputs. */
void measure_constants(struct opcall *c);

#endif
