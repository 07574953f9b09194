/* A clock that is read between the phases of planning. Contract: phases.h. */
#include "phases.h"

#include <stddef.h>
#include <time.h>

const char *const phase_name[PHASE_COUNT] = {
#define PHASE(name, what) #name,
#include "phases.def"
#undef PHASE
};

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void phases_start(struct phases *p) { *p = (struct phases){.last = now()}; }

void phase_done(struct phases *p, enum phase which) {
  if (!p) return;
  double t = now();
  p->seconds[which] += t - p->last;
  p->last = t;
}
