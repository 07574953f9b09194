/* The chain of cost sources. Contract: cost.h. */
#include "cost.h"

enum { LAYOUT_NS = 100 };

int64_t cost_charged(int64_t ns, const struct opcall *call, const struct label *l) {
  int others = 0;
  for (int i = 0; i < call->nin; i++) others += !call->in[i].data && label_in(l, i) != LAYOUT_ROW;
  for (int k = 0; k < call->nout; k++) others += label_out(l, k) != LAYOUT_ROW;
  return ns < 0 ? ns : ns + others * LAYOUT_NS;
}

int64_t cost_node(struct cost *c, const struct opcall *call, const struct label *l) {
  int64_t ns = COST_UNKNOWN;
  for (; c && ns == COST_UNKNOWN; c = c->fallback) {
    c->asked++;
    ns = c->node(c, call, l);
    c->known += ns != COST_UNKNOWN;
  }
  return ns;
}

int64_t cost_convert(struct cost *c, const struct tensor *t, enum layout from, enum layout to,
                     int threads) {
  int64_t ns = COST_UNKNOWN;
  for (; c && ns == COST_UNKNOWN; c = c->fallback) ns = c->convert(c, t, from, to, threads);
  return ns;
}

double cost_error(struct cost *c, const struct opcall *call, const struct label *l) {
  double error = -1;
  for (; c && error < 0; c = c->fallback)
    if (c->error) error = c->error(c, call, l);
  return error;
}

void cost_free(struct cost *c) {
  while (c) {
    struct cost *next = c->fallback;
    c->free(c);
    c = next;
  }
}
