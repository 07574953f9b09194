#include "verdict.h"

/* Of its time, for a resource to be called the bound. */
static const double BOUND_SHARE = 0.5;

static const char *const names[] = {
#define BOUND(name, text, meaning) text,
#include "bounds.def"
#undef BOUND
};
const char *bound_name(enum bound b) { return names[b]; }

/* Giga units a second are units a nanosecond. */
static double share(int64_t amount, double speed, int64_t ns) {
  return speed > 0 && ns > 0 ? (double)amount / speed / (double)ns : 0;
}

struct verdict verdict_of(const struct verdict_work *w, int64_t ns,
                          const struct machine_speeds *s) {
  struct verdict v = {.compute = share(w->flops, s->gflops, ns),
                      .near = share(w->near_bytes, s->cache_gbytes, ns),
                      .far = share(w->far_bytes, s->gbytes, ns)};
  double bytes = MAX(v.near, v.far);
  v.bound = MAX(v.compute, bytes) < BOUND_SHARE ? BOUND_LATENCY
            : v.compute >= bytes                ? BOUND_COMPUTE
                                                : BOUND_BANDWIDTH;
  return v;
}
