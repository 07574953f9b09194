/* Between counters.c and the sources it puts together. */
#ifndef FVM_COUNTERS_IMPL_H
#define FVM_COUNTERS_IMPL_H

#include "counters.h"

/* Software events of the calling thread: perf_event_open, or getrusage where that is refused. */
struct counters *counters_perf(void);
/* PAPI on top of another source, which it owns: counters that PAPI can start come from there, the
 * others from below. Without PAPI, or where nothing starts: below itself, with the reasons. */
struct counters *counters_papi(struct counters *below);

/* The preset or "" of counters.def. */
const char *counter_preset(enum counter c);

#endif
