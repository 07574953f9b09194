/* Samples of a candidate.
 *
 * While it is timed, a constant input has another place in every run, on a belt of copies: in the
 * network the other nodes' weights pass through the caches between two runs of this one, so its own
 * come from far away; how far, the race says (rotate_bytes). The copies lie one after another, so
 * that a prefetch beyond the end of one fetches the next, as in a plan file. All layouts use one
 * belt: what it holds are the input's numbers, in whatever order. What other nodes compute is left
 * where they left it. */
#define _GNU_SOURCE
#include "measure_work.h"

#include <string.h>
#include <time.h>

enum {
  BELT_MIN = 1 << 10, /* bytes of constants of a problem: fewer stay in place */
  REPEAT_MAX = 1 << 20,
  TRIES = 3,            /* for a clean sample */
  SWITCH_NS = 10000000, /* a sample this long may contain one context switch, and so on */
  SENTINEL_STEPS = 8000 /* about 10 us */
};

static int64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* ---- belts ---- */

/* Bytes of a constant input that may ride a belt. Indices may not: their order matters. */
static int64_t belt_part(const struct tensor *t) {
  bool index = t->dtype == FVM_I64 || t->dtype == FVM_I32;
  int64_t bytes = t->data && !index ? tensor_bytes(t) : 0;
  return bytes ? ROUND_UP(bytes, FVM_ALIGN) + FVM_ALIGN : 0;
}

static void make_belt(struct work_state *s, const struct tensor *t, int64_t copies,
                      struct belt *belt) {
  int64_t bytes = copies * belt_part(t), one = tensor_bytes(t);
  if (bytes == 0 || !(belt->base = room_grab_huge(s, bytes, false))) return;
  belt->bytes = bytes;
  for (int64_t at = 0; at < bytes; at += one)
    memcpy(belt->base + at, t->data, (size_t)MIN(one, bytes - at));
  room_seal(belt->base, bytes);
}

/* As many copies of all constants as make up rotate_bytes. Without a belt a large input is cold
 * nevertheless, and a small one is warm. */
void time_belts(const struct work *w, struct work_state *s) {
  const struct opcall *c = w->bench->call;
  int64_t all = 0;
  for (int i = 0; i < c->nin; i++) all += belt_part(&c->in[i]);
  if (all < BELT_MIN || w->rotate_bytes / all < 2) return;
  for (int i = 0; i < c->nin; i++) make_belt(s, &c->in[i], w->rotate_bytes / all, &s->belt[i]);
}

/* What is larger than the belt stays in place: one pass over it is cold by itself. */
void time_ride(const struct belt *belt, int input, int64_t bytes, struct ready *r) {
  int64_t stride = ROUND_UP(bytes, FVM_ALIGN) + FVM_ALIGN;
  if (belt->bytes >= stride)
    r->rider[r->nrider++] = (struct rider){input, stride, belt->bytes / stride};
}

static void move_riders(struct work_state *s, struct ready *r) {
  for (int k = 0; k < r->nrider; k++) {
    const struct rider *x = &r->rider[k];
    r->buf[x->input] = s->belt[x->input].base + s->step % x->copies * x->stride;
  }
  s->step++;
}

/* ---- samples ---- */

static int no_work(void *arg, struct team *team, int tid) {
  (void)arg, (void)team, (void)tid;
  return 0;
}

/* Nanoseconds of that many runs, with counters. The team is woken before the clock starts: in the
 * network it is awake from the step before. */
static int64_t timed(const struct work *w, int i, enum engine engine, int64_t repeat,
                     struct counter_values *v) {
  struct work_state *s = w->state;
  int threads = w->entrant[i].label.threads;
  if (threads > 1) pool_run(s->pool, threads, no_work, NULL);
  s->counters->start(s->counters);
  int64_t t = now();
  for (int64_t k = 0; k < repeat; k++) {
    move_riders(s, &s->ready[i]);
    work_run(w, i, engine);
  }
  t = now() - t;
  s->counters->stop(s->counters, v);
  return MAX(t, 1);
}

/* Enough runs that the sample is long enough; the runs on the way also warm caches and branches.
 * The last of them is such a sample: its nanoseconds. */
static int64_t calibrate(const struct work *w, int i, enum engine engine, int64_t *repeat,
                         struct counter_values *v) {
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
  for (int try = 0; try < TRIES && !r->clean; try++) {
    r->dropped += try > 0;
    t = *n ? timed(w, i, engine, *n, &v) : calibrate(w, i, engine, n, &v);
    r->clean = is_clean(&v, t);
  }
  r->ns = MAX((t + *n / 2) / *n, 1);
  for (int k = 0; k < COUNTER_COUNT; k++) v.v[k] /= *n;
  r->counters = v;
}

static int64_t chain(void) {
  volatile uint64_t sink;
  uint64_t x = 1;
  int64_t t = now();
  for (int i = 0; i < SENTINEL_STEPS; i++) x = x * 0x5851f42d4c957f2du + 1;
  sink = x;
  (void)sink;
  return now() - t;
}

/* A fixed chain of dependent multiplications: when it takes longer, the machine is slower. The best
 * of three, so that an interrupt in between is not taken for that. */
int64_t time_sentinel(void) {
  int64_t a = chain(), b = chain(), c = chain();
  return MIN(a, MIN(b, c));
}
