/* Samples of a candidate, each run in the memory that measure_net.c prepares. */
#define _GNU_SOURCE
#include "measure_work.h"

#include <string.h>
#include <time.h>

enum {
  REPEAT_MAX = 1 << 20,
  TRIES = 3,            /* for a clean sample */
  SWITCH_NS = 10000000, /* a sample this long may contain one context switch, and so on */
  SENTINEL_STEPS = 6000 /* about 10 us */
};

static int64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* What two looks at the clock take by themselves: no part of a run. */
static int64_t clock_ns(void) {
  enum { LOOKS = 50 };
  int64_t least = INT64_MAX;
  for (int i = 0; i < LOOKS; i++) {
    int64_t t = now();
    least = MIN(least, now() - t);
  }
  return least;
}

/* Nanoseconds of that many runs; with counters, which see the runs' preparation as well. The team
 * comes from that preparation: it is awake, as in the network. */
static int64_t timed(const struct work *w, int i, enum engine engine, int64_t repeat,
                     struct counter_values *v) {
  struct work_state *s = w->state;
  int64_t sum = 0, clock = clock_ns();
  s->counters->start(s->counters);
  for (int64_t k = 0; k < repeat; k++) {
    net_step(w, i, repeat);
    int64_t t = now();
    work_run(w, i, engine, s->ready[i].live);
    sum += MAX(now() - t - clock, 0);
  }
  s->counters->stop(s->counters, v);
  return MAX(sum, 1);
}

/* Enough runs that the sample is long enough; those on the way, at least one, warm branches and
 * translations. The last of them is such a sample: its nanoseconds. */
static int64_t calibrate(const struct work *w, int i, enum engine engine, int64_t *repeat,
                         struct counter_values *v) {
  timed(w, i, engine, 1, v);
  for (*repeat = 1;;) {
    int64_t t = timed(w, i, engine, *repeat, v);
    if (t >= w->sample_ns || *repeat >= REPEAT_MAX) return t;
    *repeat = MIN(MIN(*repeat * 16, w->sample_ns * *repeat * 5 / 4 / t + 1), (int64_t)REPEAT_MAX);
  }
}

static bool is_clean(const struct counter_values *v, int64_t ns) {
  int64_t disturbed = v->v[COUNTER_SWITCHES] + v->v[COUNTER_MIGRATIONS];
  return disturbed <= ns / SWITCH_NS;
}

void time_sample(const struct work *w, int i, enum engine engine, struct reply *r) {
  struct counter_values v = {0};
  int64_t t = 0, *n = &r->repeat[engine];
  net_enter(w, &w->state->ready[i]);
  for (int try = 0; try < TRIES && !r->clean; try++) {
    r->dropped += try > 0;
    t = *n ? timed(w, i, engine, *n, &v) : calibrate(w, i, engine, n, &v);
    r->clean = is_clean(&v, t);
  }
  r->ns = MAX((t + *n / 2) / *n, 1);
  for (int k = 0; k < COUNTER_COUNT; k++) v.v[k] /= *n;
  r->counters = v;
}

/* Products and sums in registers, as many at a time as the units take. A chain of dependent ones
 * would not see a neighbour on the same core: it leaves the units idle most of the time. */
static int burn(void *arg, struct team *team, int tid) {
  typedef float lanes __attribute__((vector_size(64)));
  volatile float sink;
  lanes x = {0}, y = x + 1, z = x + 2;
  (void)arg, (void)team, (void)tid;
  for (int i = 0; i < SENTINEL_STEPS; i++) {
    x = x * 0.5f + 1;
    y = y * 0.5f + 1;
    z = z * 0.5f + 1;
  }
  sink = x[0] + y[0] + z[0];
  (void)sink;
  return 0;
}

/* The best of three, so that an interrupt in between is not taken for a slow machine. */
int64_t time_sentinel(const struct work *w, int threads) {
  int64_t least = INT64_MAX;
  for (int i = 0; i < 3; i++) {
    int64_t t = now();
    pool_run(w->state->pool, threads, burn, NULL);
    least = MIN(least, now() - t);
  }
  return least;
}
