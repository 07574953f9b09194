/* Costs from an analytic model: a roofline with overheads. It ranks algorithms and thread counts
 * well enough to run a network untuned, and bounds from below what measuring can find. */
#include "cost.h"

/* Share of the peak that a good micro-kernel reaches with its edges and packing. */
#define EFFICIENCY 0.8
/* Waking and meeting the threads of a par. */
#define BARRIER_NS 5000.0
/* A transposing copy moves this many times fewer bytes a second than a plain one. */
#define STRIDED_SLOWDOWN 4.0

struct model {
  struct cost cost;
  double gflops, gbytes, call_ns;
};

static int64_t whole(double ns) { return ns < 1 ? 1 : ns > 1e17 ? (int64_t)1e17 : (int64_t)ns; }

static int64_t model_node(struct cost *c, const struct opcall *call, const struct label *l) {
  const struct model *m = (const struct model *)c;
  struct opcost x = {0};
  opcall_cost(call, l, &x);
  double threads = MAX(l->threads, 1);
  double compute = (double)x.flops / (m->gflops * threads * EFFICIENCY);
  double memory = ((double)x.bytes_read + (double)x.bytes_written) / m->gbytes;
  return whole(MAX(compute, memory) + (double)x.calls * m->call_ns / threads +
               (threads > 1 ? BARRIER_NS : 0));
}

static int64_t model_convert(struct cost *c, const struct tensor *t, enum layout from,
                             enum layout to, int threads) {
  const struct model *m = (const struct model *)c;
  double bytes = (double)layout_bytes(t, from) + (double)layout_bytes(t, to);
  double slowdown = from == to ? 1 : STRIDED_SLOWDOWN;
  return whole(bytes * slowdown / (m->gbytes * threads) + m->call_ns +
               (threads > 1 ? BARRIER_NS : 0));
}

static void model_free(struct cost *c) { fvm_free(c, 1, sizeof(struct model)); }

struct cost *cost_model_new(double gflops, double gbytes, double call_ns) {
  struct model *m = fvm_alloc(1, sizeof *m);
  if (!m) return NULL;
  *m = (struct model){{.node = model_node, .convert = model_convert}, gflops, gbytes, call_ns};
  m->cost.free = model_free;
  m->cost.name = "model";
  return &m->cost;
}
