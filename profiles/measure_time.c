/* Samples of a candidate, each run in the memory that measure_net.c prepares. */
#define _GNU_SOURCE
#include "measure_work.h"

#include <string.h>
#include <time.h>

enum {
  REPEAT_MAX = 1 << 20,
  LONG_SAMPLES = 10,      /* a run that takes so many of them warms up within itself */
  TRIES = 2,              /* for a clean sample */
  SWITCH_NS = 10000000,   /* a sample this long may contain one context switch, and so on */
  LOOK_NS = 1000000,      /* so long a look at the machine's speed is good for */
  PATIENCE_NS = 10000000, /* after so much time a slow sample is taken as it is */
  SENTINEL_STEPS = 3000   /* 13 us (Zen 4); a team's takes twice as long, as it has to start */
};
/* How much longer than at its best a sentinel may take. (Seen on a shared host: 1.00, 1.06 and 1.37
 * to 1.50 times the least, the clock's steps and a neighbour on the same core, each for
 * milliseconds to seconds. Samples under 2 threads were 2 % above their least in the median
 * at 1.00, 5 to 8 % up to 1.10, 17 % beyond 1.15.) */
static const double SLOW = 1.15;

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

/* Enough runs that the sample is long enough, of some ns each as far as is known. Without that,
 * those on the way, at least one, warm branches and translations, as its check has done otherwise.
 * The last of them is such a sample: its nanoseconds. */
static int64_t calibrate(const struct work *w, int i, enum engine engine, int64_t ns,
                         int64_t *repeat, struct counter_values *v) {
  int64_t t = ns ? ns : timed(w, i, engine, 1, v);
  *repeat = 1;
  if (!ns && t >= LONG_SAMPLES * w->sample_ns) return t;
  for (;;) {
    if (t < w->sample_ns)
      *repeat = MIN(MIN(*repeat * 16, w->sample_ns * *repeat * 5 / 4 / t + 1), (int64_t)REPEAT_MAX);
    t = timed(w, i, engine, *repeat, v);
    if (t >= w->sample_ns || *repeat >= REPEAT_MAX) return t;
  }
}

static bool is_clean(const struct counter_values *v, int64_t ns) {
  int64_t disturbed = v->v[COUNTER_SWITCHES] + v->v[COUNTER_MIGRATIONS];
  return disturbed <= ns / SWITCH_NS;
}

/* ---- the sentinel ---- */

/* Products and sums in registers, as many at a time as the units take. A chain of dependent ones
 * would not see a neighbour on the same core: it leaves the units idle most of the time. */
static int burn(void *arg, struct team *team, int tid) {
  typedef float lanes __attribute__((vector_size(64)));
  volatile float sink;
  lanes x = {0}, y = x + 1, z = x + 2;
  int steps = team_size(team) > 1 ? 2 * SENTINEL_STEPS : SENTINEL_STEPS;
  (void)arg, (void)tid;
  for (int i = 0; i < steps; i++) {
    x = x * 0.5f + 1;
    y = y * 0.5f + 1;
    z = z * 0.5f + 1;
  }
  sink = x[0] + y[0] + z[0];
  (void)sink;
  return 0;
}

static int64_t run_sentinel(const struct work *w, int threads) {
  int64_t *least = &w->x->sentinel_ns[MIN(threads, PLAN_MAXTHREADS)], t = clock_ns();
  pool_run(w->state->pool, threads, burn, NULL);
  t = clock_ns() - t;
  if (*least == 0 || t < *least) *least = t;
  return t;
}

/* Whether a fixed piece of work takes too long on so many threads: then one of their cores is
 * slower than at its best. The better of two, so that an interrupt in between is not taken for
 * that. */
static bool is_slow(const struct work *w, int threads) {
  const int64_t *least = &w->x->sentinel_ns[MIN(threads, PLAN_MAXTHREADS)];
  bool slow = (double)run_sentinel(w, threads) > SLOW * (double)*least;
  return slow && (double)run_sentinel(w, threads) > SLOW * (double)*least;
}

/* The same as it was found after the last sample, if that was just now. */
static bool was_slow(const struct work *w, int threads) {
  const struct work_state *s = w->state;
  bool fresh = s->look.threads == threads && clock_ns() - s->look.at < LOOK_NS;
  return fresh ? s->look.slow : is_slow(w, threads);
}

/* ---- samples ---- */

/* Whether a sample is better than the one before, if any. */
static bool is_better(const struct reply *a, const struct reply *b) {
  int bad = !a->clean + a->slow, worse = !b->clean + b->slow;
  return !b->ns || bad < worse || (bad == worse && a->ns < b->ns);
}

void time_sample(const struct work *w, int i, enum engine engine, struct reply *r) {
  int64_t *n = &r->repeat[engine];
  int threads = w->entrant[i].label.threads;
  net_enter(w, &w->state->ready[i]);
  bool before = was_slow(w, threads);
  int64_t spent = 0;
  for (int try = 0; try < TRIES; try++) {
    struct reply one = *r;
    struct counter_values *v = &one.counters;
    int64_t t = *n ? timed(w, i, engine, *n, v) : calibrate(w, i, engine, r->check_ns, n, v);
    bool after = is_slow(w, threads);
    one.ns = MAX((t + *n / 2) / *n, 1);
    one.clean = is_clean(v, t);
    one.slow = before || after;
    one.dropped = r->dropped + (try > 0);
    one.repeat[engine] = *n;
    for (int k = 0; k < COUNTER_COUNT; k++) v->v[k] /= *n;
    before = after;
    spent += t;
    if (is_better(&one, r))
      *r = one;
    else
      r->dropped++;
    if (r->clean && (!r->slow || spent > PATIENCE_NS)) break;
  }
  w->state->look = (struct look){threads, before, clock_ns()};
}
