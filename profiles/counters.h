/* Layer 5: counters behind a vtable. Sources: PAPI (counters_papi.c, where a counter can really be
 * started), perf software events (counters_perf.c), a fake for tests (counters_fake.c). */
#ifndef FVM_COUNTERS_H
#define FVM_COUNTERS_H

#include "../vm/base.h"

enum counter {
#define COUNTER(name, text, papi, unit, meaning) COUNTER_##name,
#include "counters.def"
#undef COUNTER
  COUNTER_COUNT
};
struct counter_values {
  bool valid[COUNTER_COUNT];
  bool multiplexed; /* hardware took turns at them: values are estimates */
  int64_t v[COUNTER_COUNT];
};
struct counters {
  const char *name;
  const char *why_not[COUNTER_COUNT]; /* NULL: works; else the reason, owned by the source */
  bool multiplexed;                   /* more hardware events than the machine counts at once */
  /* Between start and stop the calling thread is counted. No allocation. */
  void (*start)(struct counters *c);
  void (*stop)(struct counters *c, struct counter_values *out);
  void (*free)(struct counters *c);
};
/* The best source here; never NULL unless memory is out: with nothing to count, every counter has
 * its reason. */
struct counters *counters_open(void);
struct counters *counters_fake(const struct counter_values *always);
const char *counter_name(enum counter c);

#endif
