/* Whether the machine is at its best. The sentinel copies a few KB in the first cache, which takes
 * all of a core's loads and stores. On a shared host it was within 0.5 % of its least in half of
 * all cases and 10 to 40 % beyond in most others: that is a neighbour on the other half of the
 * core, for 80 us in the median, in bursts of tens of milliseconds, with a millisecond of peace
 * between them. In peace other code was within 1 % of its least (matrix product) to 9 %
 * (transposing), beside a neighbour 2 to 20 % and 40 to 80 % above. (Sums and products in registers
 * see next to nothing of it, 1.00 or 1.06; neither does a matrix product's micro-kernel.) */
#include "measure_work.h"

#include <string.h>

enum { BYTES = 8 << 10, COPIES = 180 /* 15 us (Zen 4) */ };
static const double SLOW = 1.05;

/* Each thread by its own clock: starting a team takes a time that varies. */
static int copy(void *times, struct team *team, int tid) {
  char from[BYTES], to[BYTES];
  int64_t *ns = times;
  (void)team;
  memset(from, 1, sizeof from);
  int64_t start = clock_ns();
  for (int i = 0; i < COPIES; i++) {
    memcpy(to, from, sizeof to);
    __asm__ volatile("" : : "r"(to) : "memory"); /* as if somebody read it */
  }
  ns[tid] = clock_ns() - start;
  return 0;
}

/* What a thread takes at its best: the second least seen, as no single look at a clock is trusted.
 */
static int64_t best_of(int64_t seen[2], int64_t ns) {
  if (seen[0] == 0 || ns < seen[0]) {
    seen[1] = seen[0];
    seen[0] = ns;
  } else if (seen[1] == 0 || ns < seen[1]) {
    seen[1] = ns;
  }
  return seen[1] ? seen[1] : seen[0];
}

static bool once(const struct work *w, int threads) {
  int64_t ns[PLAN_MAXTHREADS];
  bool slow = false;
  pool_run(w->state->pool, threads, copy, ns);
  for (int i = 0; i < threads; i++) {
    int64_t best = best_of(w->x->peace.least_ns[i], ns[i]);
    slow = slow || (double)ns[i] > SLOW * (double)best;
  }
  return slow;
}

/* The better of two, so that an interrupt in between is not taken for a neighbour. */
bool sentinel_slow(const struct work *w, int threads) {
  bool slow = once(w, threads);
  return slow && once(w, threads);
}

/* ---- patience ---- */

/* What the finals under so many threads may wait and repeat together, as a multiple of the time
 * that went into samples that count, beyond a first patience. */
static const double SHARE = 8;
enum { FIRST_NS = 200000000 };

bool sentinel_patient(const struct work *w, int threads) {
  const struct peace *p = &w->x->peace;
  return (double)p->lost_ns[threads] < FIRST_NS + SHARE * (double)p->used_ns[threads];
}

void sentinel_spend(const struct work *w, int threads, int64_t ns, bool useful) {
  struct peace *p = &w->x->peace;
  int64_t *sum = useful ? p->used_ns : p->lost_ns;
  sum[threads] += ns;
}

bool sentinel_await(const struct work *w, int threads, int64_t until) {
  int64_t last = clock_ns();
  bool slow = true;
  while (slow && last < until && sentinel_patient(w, threads)) {
    slow = sentinel_slow(w, threads);
    int64_t now = clock_ns();
    sentinel_spend(w, threads, now - last, false);
    last = now;
  }
  return slow;
}
