/* Which counter comes from where, and the fake source. */
#include "counters_impl.h"

#include <stdlib.h>
#include <string.h>

static const struct {
  const char *name, *preset;
} rows[] = {
#define COUNTER(name, text, papi, unit, meaning) {text, papi},
#include "counters.def"
#undef COUNTER
};

const char *counter_name(enum counter c) { return rows[c].name; }
const char *counter_preset(enum counter c) { return rows[c].preset; }

/* FLUIDVM_COUNTERS=off leaves out the hardware: what it disturbs can be seen by comparing. */
static bool hardware_wanted(void) {
  const char *e = getenv("FLUIDVM_COUNTERS");
  return !e || strcmp(e, "off") != 0;
}

struct counters *counters_open(void) {
  struct counters *below = counters_perf();
  if (!below || hardware_wanted()) return below ? counters_papi(below) : NULL;
  for (int i = 0; i < COUNTER_COUNT; i++)
    if (rows[i].preset[0]) below->why_not[i] = "switched off by FLUIDVM_COUNTERS";
  return below;
}
