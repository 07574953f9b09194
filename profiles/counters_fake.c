/* A source for tests: the same values each time, whatever ran. */
#include "counters.h"

struct fake {
  struct counters base;
  struct counter_values always;
};

static void fake_start(struct counters *c) { (void)c; }

static void fake_stop(struct counters *c, struct counter_values *out) {
  *out = ((struct fake *)c)->always;
}

static void fake_free(struct counters *c) { fvm_free(c, 1, sizeof(struct fake)); }

struct counters *counters_fake(const struct counter_values *always) {
  struct fake *f = fvm_alloc(1, sizeof *f);
  if (!f) return NULL;
  f->base =
      (struct counters){.name = "fake", .start = fake_start, .stop = fake_stop, .free = fake_free};
  f->always = *always;
  f->base.multiplexed = always->multiplexed;
  for (int i = 0; i < COUNTER_COUNT; i++)
    if (!always->valid[i]) f->base.why_not[i] = "not faked";
  return &f->base;
}
