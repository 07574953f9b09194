/* What tests of the planner share: its options, numbers, and how a plan is run and compared. */
#ifndef FVM_PLANNED_H
#define FVM_PLANNED_H

#include <math.h>
#include <string.h>
#include <unistd.h>

#include "../../scheduler/plan_build.h"
#include "unit.h"

static const struct plan_options planned_options = {
    .target = {.threads = {1, 2}, .nthreads = 2, .l1_bytes = 32 << 10, .l2_bytes = 1 << 20},
    .max_ticks = 10000000,
    .build = "build",
    .machine = "machine"};

static uint64_t rng;
static inline int rnd(int n) {
  rng = rng * 6364136223846793005u + 1442695040888963407u;
  return (int)((rng >> 33) % (uint64_t)n);
}
static inline float real(void) { return (float)(rnd(2001) - 1000) / 1000.0f; }

/* A graph from its text, after all passes. */
static inline struct graph *planned_graph(const char *text) {
  struct fvm_error err;
  struct graph *g;
  OK(graph_parse(text, strlen(text), &g, &err));
  OK(pipeline_run(g, NULL, &err));
  return g;
}

/* Numbers for what the text gives a hash of: weights that keep sums of the size of their input. */
static inline void planned_weights(struct graph *g) {
  for (size_t i = 0; i < g->tensor.n; i++) {
    const struct tensor *t = &g->tensor.v[i].t;
    if (!t->data || t->dtype != FVM_F32 || t->rank == 0) continue;
    float scale = t->rank == 1 ? 1 : 2 / sqrtf((float)(tensor_count(t) / t->dim[0]));
    for (int64_t k = 0; k < tensor_count(t); k++) ((float *)t->data)[k] = scale * real();
  }
}

/* A graph's inputs and outputs as the caller has them; seeded. */
struct planned_io {
  const struct graph *g;
  void *in[4], *out[8];
};
static inline void *planned_new(const struct tensor *t) {
  return fvm_alloc((size_t)MAX(tensor_bytes(t), 1), 1);
}
static inline void planned_del(void *p, const struct tensor *t) {
  fvm_free(p, (size_t)MAX(tensor_bytes(t), 1), 1);
}
static inline struct planned_io planned_io(const struct graph *g) {
  struct planned_io io = {.g = g};
  for (size_t i = 0; i < g->input.n; i++) {
    const struct tensor *t = &g->tensor.v[g->input.v[i]].t;
    float *x = io.in[i] = planned_new(t);
    for (int64_t k = 0; k < tensor_count(t); k++) x[k] = real();
  }
  for (size_t i = 0; i < g->output.n; i++) io.out[i] = planned_new(&g->tensor.v[g->output.v[i]].t);
  return io;
}
static inline void planned_io_free(struct planned_io *io) {
  const struct graph *g = io->g;
  for (size_t i = 0; i < g->output.n; i++) planned_del(io->out[i], &g->tensor.v[g->output.v[i]].t);
  for (size_t i = 0; i < g->input.n; i++) planned_del(io->in[i], &g->tensor.v[g->input.v[i]].t);
}

static inline void planned_compare(const struct tensor *t, const float *got, const float *want) {
  double scale = 1e-3;
  for (int64_t i = 0; i < tensor_count(t); i++) scale = fmax(scale, fabs((double)want[i]));
  for (int64_t i = 0; i < tensor_count(t); i++)
    ck_assert_msg(fabs((double)(got[i] - want[i])) <= 1e-4 * scale,
                  "seed %llu element %lld: %g instead of %g", (unsigned long long)rng, (long long)i,
                  (double)got[i], (double)want[i]);
}

/* Run a plan file twice, in memory that holds no numbers. */
static inline void planned_run(const struct fvm_plan *plan, struct planned_io *io) {
  struct fvm_error err;
  struct fvm_instance *inst;
  const struct graph *g = io->g;
  const size_t room = fvm_arena_bytes(plan, 0);
  void *arena = aligned_alloc(64, ROUND_UP(MAX(room, (size_t)64), (size_t)64));
  ck_assert_ptr_nonnull(arena);
  memset(arena, 0xff, room);
  OK(fvm_open(plan, 0, arena, &inst, &err));
  for (size_t i = 0; i < g->input.n; i++)
    OK(fvm_bind_input(inst, (int)i, io->in[i], (size_t)tensor_bytes(&g->tensor.v[g->input.v[i]].t),
                      &err));
  for (size_t i = 0; i < g->output.n; i++)
    OK(fvm_bind_output(inst, (int)i, io->out[i],
                       (size_t)tensor_bytes(&g->tensor.v[g->output.v[i]].t), &err));
  for (int turn = 0; turn < 2; turn++) OK(fvm_run(inst, &err));
  fvm_close(inst);
  free(arena);
}

/* Load a plan, check it, run it, compare all outputs with the reference operators'. */
static inline void planned_verify(const struct graph *g, const char *path) {
  struct fvm_error err;
  struct fvm_plan *plan;
  void *want[8];
  OK(fvm_load(path, &plan, &err));
  OK(check_plan_with(plan, &(struct check_with){.graph = g, .target = &planned_options.target},
                     &err));
  struct planned_io io = planned_io(g);
  planned_run(plan, &io);
  for (size_t i = 0; i < g->output.n; i++) want[i] = planned_new(&g->tensor.v[g->output.v[i]].t);
  OK(graph_reference(g, (const void *const *)io.in, want, &err));
  for (size_t i = 0; i < g->output.n; i++) {
    const struct tensor *t = &g->tensor.v[g->output.v[i]].t;
    planned_compare(t, io.out[i], want[i]);
    planned_del(want[i], t);
  }
  planned_io_free(&io);
  fvm_unload(plan);
}

#endif
