/* The states in which steps are measured. */
#include "measure_impl.h"

#include <string.h>

enum {
  CACHE_UNKNOWN = 32 << 20,
  EIGHTHS = 8,
  SINCE_MOST = 256 << 20 /* more than that lies in memory anyway */
};

static const struct {
  const char *text;
  int since; /* eighths of the last cache */
  bool far;
} states[] = {
#define STATE(name, text, since, far, meaning) {text, since, far},
#include "states.def"
#undef STATE
};

const char *state_name(enum data_state s) { return states[s].text; }

enum data_state state_parse(const char *text) {
  for (int i = 0; i < STATE_COUNT; i++)
    if (text && !strcmp(text, states[i].text)) return (enum data_state)i;
  return HOT;
}

static int64_t last_cache(const struct caches *c) { return c->last > 0 ? c->last : CACHE_UNKNOWN; }

int64_t state_bytes(enum data_state s, const struct caches *c) {
  int64_t eighth = MIN(last_cache(c), SINCE_MOST) / EIGHTHS;
  return MIN(eighth * states[s].since, SINCE_MOST);
}

bool state_far(enum data_state s) { return states[s].far; }

/* Twice what a core's own cache holds: so an output's place has left it. In the plans looked at,
 * most places were touched 0.5 to 5 MB before. */
int64_t state_near(enum data_state s, const struct caches *c) {
  return states[s].since ? MIN(2 * c->own, last_cache(c) / EIGHTHS) : 0;
}

struct caches measure_caches(const struct target *t) {
  return (struct caches){t->l2_bytes, t->l3_bytes ? t->l3_bytes : t->l2_bytes};
}

/* A half of its own cache for the step that runs; three quarters of the last one, for on a machine
 * that is shared others pass through it, too. */
enum data_state measure_state(int64_t run_bytes, bool far, const struct caches *c) {
  int64_t last = last_cache(c);
  if (run_bytes <= c->own / 2) return HOT;
  if (run_bytes <= last / 4) return WARM;
  if (run_bytes <= last / 4 * 3) return far ? COOL_FAR : COOL;
  return far ? COLD_FAR : COLD;
}

bool measure_far(int64_t run_bytes, int64_t since, const struct caches *c) {
  return since > MIN(run_bytes, last_cache(c)) / 2;
}
