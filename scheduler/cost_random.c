/* Seeded random costs: they make the scheduler pick labels, layouts and conversions that no
 * measurement would favour, so that tests run the rare paths too. */
#include "cost.h"

enum { MOST_NS = 100000 };

struct random {
  struct cost cost;
  uint64_t seed;
};

static int64_t draw(struct cost *c, struct text *t) {
  uint64_t h = fvm_hash(t->v, t->n, ((struct random *)c)->seed);
  bool failed = t->failed;
  text_free(t);
  return failed ? COST_UNKNOWN : 1 + (int64_t)(h % MOST_NS);
}

static int64_t random_node(struct cost *c, const struct opcall *call, const struct label *l) {
  struct text t = {0};
  opcall_text(call, &t);
  text_printf(&t, "\n");
  label_text(call, l, &t);
  return draw(c, &t);
}

static int64_t random_convert(struct cost *c, const struct tensor *x, enum layout from,
                              enum layout to, int threads) {
  struct text t = {0};
  convert_text(x, from, to, &t);
  text_printf(&t, "\n");
  convert_label(threads, &t);
  return draw(c, &t);
}

static void random_free(struct cost *c) { fvm_free(c, 1, sizeof(struct random)); }

struct cost *cost_random_new(uint64_t seed) {
  struct random *r = fvm_alloc(1, sizeof *r);
  if (!r) return NULL;
  *r = (struct random){{.node = random_node, .convert = random_convert}, seed};
  r->cost.free = random_free;
  r->cost.name = "random";
  return &r->cost;
}
