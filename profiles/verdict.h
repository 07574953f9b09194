/* What keeps a candidate from being faster: arithmetic, bytes, or neither. */
#ifndef FVM_VERDICT_H
#define FVM_VERDICT_H

#include "machine.h"

enum bound {
#define BOUND(name, text, meaning) BOUND_##name,
#include "bounds.def"
#undef BOUND
};
const char *bound_name(enum bound b);

/* What one run does: virtual counters (vm/interp.h). near: bytes from beyond level 1, far: from
 * memory. */
struct verdict_work {
  int64_t flops, near_bytes, far_bytes;
};
/* How much of the time each would take at full speed: more than 1 where a cache has what counts as
 * far, say, or the machine was slower when its speed was taken. Whatever takes most is the bound
 * when that is half of the time at least; else it is latency. */
struct verdict {
  enum bound bound;
  double compute, near, far;
};
struct verdict verdict_of(const struct verdict_work *w, int64_t ns, const struct machine_speeds *s);

#endif
