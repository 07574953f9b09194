/* Hardware counters by PAPI: the only file that sees papi.h. What papi_avail lists need not work
 * (in a virtual machine it doesn't), so each event is added to a set and the set started; those
 * that refuse are left out with PAPI's own words. */
#include "config.h"
#include "counters_impl.h"

#ifndef HAVE_PAPI

struct counters *counters_papi(struct counters *below) {
  for (int i = 0; i < COUNTER_COUNT; i++)
    if (counter_preset((enum counter)i)[0])
      below->why_not[i] = "built without PAPI; install libpapi-dev and configure again";
  return below;
}

#else

#include <papi.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct papi {
  struct counters base;
  struct counters *below;
  int set, n;
  enum counter of[COUNTER_COUNT]; /* counter of each event in the set */
};

static void papi_start(struct counters *c) {
  struct papi *p = (struct papi *)c;
  p->below->start(p->below);
  PAPI_start(p->set);
}

static void papi_stop(struct counters *c, struct counter_values *out) {
  struct papi *p = (struct papi *)c;
  long long v[COUNTER_COUNT] = {0};
  bool ok = PAPI_stop(p->set, v) == PAPI_OK;
  p->below->stop(p->below, out);
  out->multiplexed = p->base.multiplexed;
  for (int i = 0; i < p->n && ok; i++) {
    out->valid[p->of[i]] = true;
    out->v[p->of[i]] = v[i];
  }
}

static void drop_set(struct papi *p) {
  PAPI_cleanup_eventset(p->set);
  PAPI_destroy_eventset(&p->set);
}

static void papi_free(struct counters *c) {
  struct papi *p = (struct papi *)c;
  drop_set(p);
  p->below->free(p->below);
  fvm_free(p, 1, sizeof *p);
}

/* Add an event to the set and start it once; NULL, or PAPI's reason and the set as before. */
static const char *try_name(int set, const char *name) {
  int code;
  int rc = PAPI_event_name_to_code(name, &code);
  if (rc == PAPI_OK) rc = PAPI_add_event(set, code);
  if (rc != PAPI_OK) return PAPI_strerror(rc);
  long long v[COUNTER_COUNT];
  rc = PAPI_start(set);
  if (rc == PAPI_OK) rc = PAPI_stop(set, v);
  if (rc == PAPI_OK) return NULL;
  PAPI_remove_event(set, code);
  return PAPI_strerror(rc);
}

/* The first of several names that starts; the reason is the first one's. */
static const char *try_event(int set, const char *names) {
  const char *why = NULL;
  while (*names) {
    char name[64];
    size_t n = strcspn(names, " ");
    snprintf(name, sizeof name, "%.*s", (int)n, names);
    const char *refusal = try_name(set, name);
    if (!refusal) return NULL;
    if (!why) why = refusal;
    names += n + strspn(names + n, " ");
  }
  return why;
}

/* NULL, or why PAPI as a whole is of no use. */
static const char *init(void) {
  static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
  pthread_mutex_lock(&lock);
  int rc = PAPI_library_init(PAPI_VER_CURRENT); /* again after a fork: it notices */
  pthread_mutex_unlock(&lock);
  if (rc < 0) return PAPI_strerror(rc);
  return rc == (int)PAPI_VER_CURRENT ? NULL : "PAPI is another version";
}

static const char *new_set(struct papi *p, bool multiplexed) {
  p->set = PAPI_NULL;
  p->n = 0;
  int rc = PAPI_create_eventset(&p->set);
  if (rc == PAPI_OK && multiplexed) rc = PAPI_multiplex_init();
  if (rc == PAPI_OK && multiplexed) rc = PAPI_assign_eventset_component(p->set, 0);
  if (rc == PAPI_OK && multiplexed) rc = PAPI_set_multiplex(p->set);
  return rc == PAPI_OK ? NULL : PAPI_strerror(rc);
}

static void probe(struct papi *p, const char *why) {
  for (int i = 0; i < COUNTER_COUNT; i++) {
    const char *preset = counter_preset((enum counter)i);
    if (!preset[0]) continue;
    p->base.why_not[i] = why ? why : try_event(p->set, preset);
    if (!p->base.why_not[i]) p->of[p->n++] = (enum counter)i;
  }
}

/* All that the machine counts at once; where that is not all there is, all of them in turns, and
 * marked, if that gives more. */
static void probe_all(struct papi *p) {
  const char *why = init();
  int hardware = 0;
  for (int i = 0; i < COUNTER_COUNT; i++) hardware += counter_preset((enum counter)i)[0] != 0;
  if (!why) why = new_set(p, false);
  probe(p, why);
  if (p->n == 0 || p->n == hardware) return;
  struct papi turns = *p;
  why = new_set(&turns, true);
  probe(&turns, why);
  turns.base.multiplexed = true;
  drop_set(turns.n > p->n ? p : &turns);
  if (turns.n > p->n) *p = turns;
}

struct counters *counters_papi(struct counters *below) {
  struct papi *p = fvm_alloc(1, sizeof *p);
  if (!p) {
    below->free(below);
    return NULL;
  }
  p->base = *below;
  p->set = PAPI_NULL;
  probe_all(p);
  if (p->n == 0) { /* nothing starts: the source below, which now knows why */
    for (int i = 0; i < COUNTER_COUNT; i++) below->why_not[i] = p->base.why_not[i];
    if (p->set != PAPI_NULL) drop_set(p);
    fvm_free(p, 1, sizeof *p);
    return below;
  }
  p->below = below;
  p->base.name = "PAPI";
  p->base.start = papi_start;
  p->base.stop = papi_stop;
  p->base.free = papi_free;
  return &p->base;
}

#endif
