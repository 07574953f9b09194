/* Samples of a candidate, each run in the memory that measure_net.c prepares. */
#define _GNU_SOURCE
#include "measure_work.h"

#include <string.h>
#include <time.h>

enum {
  REPEAT_MAX = 1 << 20,
  LONG_SAMPLES = 10,    /* a run that takes so many of them warms up within itself */
  TRIES = 2,            /* for a good sample of one thread */
  SWITCH_NS = 10000000, /* a sample this long may contain one context switch, and so on */
  LOOK_NS = 100000,     /* so long a look at the machine's speed is good for */
  LIMIT_NS = 1000000    /* what is longer is taken as it is: there is peace for as long at a time */
};
/* Finals wait for peace, too, and try longer, as long as there is patience. */
enum { FINAL_TRIES = 20, FINAL_LIMIT_NS = 4000000, PATIENCE_NS = 10000000 };

int64_t clock_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* What two looks at the clock take by themselves, no part of a run: the least seen by this process.
 * (Looked at anew for each sample it was once in 100,000 samples tens of microseconds, on a shared
 * host, and what is taken off too much makes a short run the fastest of all.) */
static int64_t look_ns(struct work_state *s) {
  enum { LOOKS = 20 };
  for (int i = 0; i < LOOKS; i++) {
    int64_t t = clock_ns(), ns = clock_ns() - t;
    if (s->look_ns == 0 || ns < s->look_ns) s->look_ns = MAX(ns, 1);
  }
  return s->look_ns;
}

/* Nanoseconds of that many runs; with counters, which see the runs' preparation as well. The team
 * comes from that preparation: it is awake, as in the network. */
static int64_t timed(const struct work *w, int i, enum engine engine, int64_t repeat,
                     struct counter_values *v) {
  struct work_state *s = w->state;
  int64_t sum = 0, clock = look_ns(s);
  s->counters->start(s->counters);
  for (int64_t k = 0; k < repeat; k++) {
    net_step(w, i, repeat);
    int64_t t = clock_ns();
    work_run(w, i, engine, s->ready[i].live);
    sum += MAX(clock_ns() - t - clock, 0);
  }
  s->counters->stop(s->counters, v);
  return MAX(sum, 1);
}

/* So many runs of t ns in all were too few: how many are enough. */
static int64_t more_runs(const struct work *w, int64_t repeat, int64_t t) {
  return MIN(MIN(repeat * 16, w->sample_ns * repeat * 5 / 4 / t + 1), (int64_t)REPEAT_MAX);
}

/* A sample of so many runs, some more if that takes less than half the time that it should. The
 * first in a process does not count if it is short: pages were new, and a team was asleep. (Of
 * layer normalisations of 9 us first samples took 12 to 15.) Its nanoseconds. */
static int64_t sample(const struct work *w, int i, enum engine engine, int64_t *repeat,
                      struct counter_values *v) {
  bool *sized = &w->state->ready[i].sized[engine];
  int64_t t = timed(w, i, engine, *repeat, v);
  if (!*sized && t < 2 * w->sample_ns) t = timed(w, i, engine, *repeat, v);
  *sized = true;
  while (2 * t < w->sample_ns && *repeat < REPEAT_MAX) {
    *repeat = more_runs(w, *repeat, t);
    t = timed(w, i, engine, *repeat, v);
  }
  return t;
}

/* The first sample, of runs of some ns each as far as is known. Without that one run warms branches
 * and translations, as its check has done otherwise. */
static int64_t first_sample(const struct work *w, int i, enum engine engine, int64_t ns,
                            int64_t *repeat, struct counter_values *v) {
  int64_t t = ns ? ns : timed(w, i, engine, 1, v);
  *repeat = 1;
  if (!ns && t >= LONG_SAMPLES * w->sample_ns) return t;
  if (t < w->sample_ns) *repeat = more_runs(w, 1, t);
  return sample(w, i, engine, repeat, v);
}

static bool is_clean(const struct counter_values *v, int64_t ns) {
  int64_t disturbed = v->v[COUNTER_SWITCHES] + v->v[COUNTER_MIGRATIONS];
  return disturbed <= ns / SWITCH_NS;
}

/* Whether the machine is slow, as seen after the last sample if that was just now. It is
 * waited for better times until then, 0: not at all. */
static bool find_peace(const struct work *w, int threads, int64_t until) {
  const struct look *l = &w->state->look;
  bool slow = l->slow;
  if (l->threads != threads || clock_ns() - l->at >= LOOK_NS) slow = sentinel_slow(w, threads);
  return slow && until ? sentinel_await(w, threads, until) : slow;
}

/* ---- samples ---- */

/* Whether a sample is better than the one before, if any. */
static bool is_better(const struct reply *a, const struct reply *b) {
  int bad = !a->clean + a->slow, worse = !b->clean + b->slow;
  return !b->ns || bad < worse || (bad == worse && a->ns < b->ns);
}

/* One sample, of *ns in all. A short one that began and ended in peace has seen next to nothing
 * else. Of one beyond the limit that says little, but one that had none at either end lay in a
 * burst. */
static void take_sample(const struct work *w, int i, enum engine engine, int64_t limit,
                        int64_t until, struct reply *r, int64_t *ns) {
  int64_t *n = &r->repeat[engine];
  int threads = w->entrant[i].label.threads;
  struct counter_values *v = &r->counters;
  bool before = find_peace(w, threads, until);
  int64_t t = *n ? sample(w, i, engine, n, v) : first_sample(w, i, engine, r->check_ns, n, v);
  bool after = sentinel_slow(w, threads);
  w->state->look = (struct look){threads, after, clock_ns()};
  r->ns = MAX((t + *n / 2) / *n, 1);
  r->clean = is_clean(v, t);
  r->slow = t < limit ? before || after : before && after;
  for (int k = 0; k < COUNTER_COUNT; k++) v->v[k] /= *n;
  *ns = t;
}

void time_sample(const struct work *w, int i, enum engine engine, struct reply *r) {
  int threads = w->entrant[i].label.threads;
  bool final = engine == INTERP, good = false;
  int tries = final ? FINAL_TRIES : threads > 1 ? 1 : TRIES;
  int64_t t = 0, limit = final ? FINAL_LIMIT_NS : LIMIT_NS;
  int64_t until = final ? clock_ns() + PATIENCE_NS : 0;
  net_enter(w, &w->state->ready[i]);
  for (int try = 0; try < tries && !good && t < limit; try++) {
    struct reply one = *r;
    if (try > 0 && final && (!sentinel_patient(w, threads) || clock_ns() > until)) break;
    take_sample(w, i, engine, limit, until, &one, &t);
    good = one.clean && !one.slow;
    if (is_better(&one, r)) {
      one.dropped = r->dropped + (try > 0);
      *r = one;
    } else {
      r->dropped++;
    }
    if (final) sentinel_spend(w, threads, t, good);
  }
}
