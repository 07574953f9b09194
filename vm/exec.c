/* The executor. Contract: fluidvm.h.
 *
 * An instance's memory, in the arena of the caller or its own; areas are 64-byte aligned:
 *
 *   | activations (plan) | scratch of the step that runs | struct fvm_instance |
 */
#include "config.h"

#include "exec.h"
#include "interp.h"
#include "plan.h"

#include <string.h>
#include <time.h>

struct fvm_instance {
  const struct fvm_plan *plan;
  struct pool *pool;
  ukr_fn *const *ukr;
  char *arena, *scratch;
  void *own;  /* the allocation when the arena is not the caller's */
  void *io[]; /* bound memory: inputs, then outputs; inputs are never written */
};

/* ---- facts of a plan ---- */

int fvm_ninputs(const struct fvm_plan *p) { return (int)p->nin; }
int fvm_noutputs(const struct fvm_plan *p) { return (int)p->nout; }

const struct fvm_io *fvm_input(const struct fvm_plan *p, int i) {
  return i >= 0 && (uint32_t)i < p->nin ? &p->public_io[i] : NULL;
}

const struct fvm_io *fvm_output(const struct fvm_plan *p, int i) {
  return i >= 0 && (uint32_t)i < p->nout ? &p->public_io[p->nin + (uint32_t)i] : NULL;
}

const char *fvm_version(void) { return PACKAGE_VERSION; }

void fvm_info(const struct fvm_plan *p, struct fvm_info *info) {
  *info = (struct fvm_info){
      .model = plan_string(p, p->meta->model),
      .threads = (int)p->meta->threads,
      .steps = (int)p->nstep,
      .arena_bytes = p->meta->arena_bytes,
      .weight_bytes = p->section[PLAN_WEIGHTS].bytes,
      .scratch_bytes = (size_t)p->scratch_bytes,
      .predicted_ns = p->meta->predicted_ns,
  };
}

/* ---- instances ---- */

static size_t activation_bytes(const struct fvm_plan *p) {
  return ROUND_UP(p->meta->arena_bytes, (size_t)FVM_ALIGN);
}

static size_t scratch_bytes(const struct fvm_plan *p) {
  return ROUND_UP((size_t)p->scratch_bytes, (size_t)FVM_ALIGN);
}

/* Scratch is laid out for the plan's own number of threads, so any smaller number fits too. */
size_t fvm_arena_bytes(const struct fvm_plan *p, int threads) {
  (void)threads;
  size_t state = sizeof(struct fvm_instance) + (p->nin + p->nout) * sizeof(void *);
  return activation_bytes(p) + scratch_bytes(p) + ROUND_UP(state, (size_t)FVM_ALIGN);
}

static struct fvm_instance *place(const struct fvm_plan *p, char *arena) {
  struct fvm_instance *in = (void *)(arena + activation_bytes(p) + scratch_bytes(p));
  memset(in, 0, sizeof *in + (p->nin + p->nout) * sizeof(void *));
  in->plan = p;
  in->arena = arena;
  in->scratch = arena + activation_bytes(p);
  in->ukr = ukr_table(cpu_isa());
  return in;
}

/* What the allocator must give so that the arena can be aligned in it. */
static size_t own_bytes(const struct fvm_plan *p) { return fvm_arena_bytes(p, 0) + FVM_ALIGN; }

enum fvm_status fvm_open(const struct fvm_plan *p, int threads, void *arena,
                         struct fvm_instance **inst, struct fvm_error *err) {
  if (threads < 0 || threads > PLAN_MAXTHREADS)
    return fvm_fail(err, FVM_EUSAGE, "%d threads; ask for 1 to %d", threads, PLAN_MAXTHREADS);
  if ((uintptr_t)arena % FVM_ALIGN != 0)
    return fvm_fail(err, FVM_EUSAGE, "the arena is not %d-byte aligned", FVM_ALIGN);
  void *own = arena ? NULL : fvm_alloc(own_bytes(p), 1);
  if (!arena && !own)
    return fvm_fail(err, FVM_ENOMEM, "no memory for an arena of %zu bytes; plan with --max-arena",
                    own_bytes(p));
  if (own) arena = (void *)ROUND_UP((uintptr_t)own, (uintptr_t)FVM_ALIGN);
  struct fvm_instance *in = place(p, arena);
  in->own = own;
  int most = (int)p->meta->threads;
  enum fvm_status st = pool_new(threads ? MIN(threads, most) : most, &in->pool, err);
  if (st == FVM_OK)
    *inst = in;
  else
    fvm_free(own, own_bytes(p), 1);
  return st;
}

void fvm_close(struct fvm_instance *in) {
  if (!in) return;
  pool_free(in->pool);
  fvm_free(in->own, own_bytes(in->plan), 1);
}

static enum fvm_status bind_io(struct fvm_instance *in, const char *what, const struct fvm_io *io,
                               void *data, size_t bytes, struct fvm_error *err) {
  if (!io) return fvm_fail(err, FVM_EUSAGE, "no such %s", what);
  if (bytes != io->bytes)
    return fvm_fail(err, FVM_EUSAGE, "%s %.200s has %zu bytes, not %zu", what, io->name, io->bytes,
                    bytes);
  if (!data && bytes) return fvm_fail(err, FVM_EUSAGE, "%s %.200s: no data", what, io->name);
  in->io[io - in->plan->public_io] = data;
  return FVM_OK;
}

enum fvm_status fvm_bind_input(struct fvm_instance *in, int i, const void *data, size_t bytes,
                               struct fvm_error *err) {
  return bind_io(in, "input", fvm_input(in->plan, i), (void *)(uintptr_t)data, bytes, err);
}

enum fvm_status fvm_bind_output(struct fvm_instance *in, int i, void *data, size_t bytes,
                                struct fvm_error *err) {
  return bind_io(in, "output", fvm_output(in->plan, i), data, bytes, err);
}

/* Copy between row-major bytes and those of a state, by pieces that are dense in both: rows of the
 * last axis, or single elements where that is the one the state grows along. */
static void rearrange(const struct fvm_io *io, const char *from, char *to, bool pack) {
  int64_t idx[FVM_MAXRANK] = {0};
  int64_t elem = (int64_t)fvm_dtype_bytes(io->dtype);
  bool rows = io->stride[io->rank - 1] == elem;
  int n = rows ? io->rank - 1 : io->rank;
  size_t piece = (size_t)(rows ? elem * io->dim[n] : elem);
  for (size_t at = 0; at < io->bytes; at += piece) {
    int64_t place = 0;
    for (int i = 0; i < n; i++) place += idx[i] * io->stride[i];
    memcpy(to + (pack ? place : (int64_t)at), from + (pack ? (int64_t)at : place), piece);
    for (int i = n - 1; i >= 0 && ++idx[i] == io->dim[i]; i--) idx[i] = 0;
  }
}

void fvm_pack(const struct fvm_io *io, const void *dense, void *data) {
  if (io->state >= 0 && io->bytes)
    rearrange(io, dense, data, true);
  else if (io->bytes)
    memcpy(data, dense, io->bytes);
}

void fvm_unpack(const struct fvm_io *io, const void *data, void *dense) {
  if (io->state >= 0 && io->bytes)
    rearrange(io, data, dense, false);
  else if (io->bytes)
    memcpy(dense, data, io->bytes);
}

/* ---- running ---- */

static void *locate(const struct fvm_instance *in, const struct plan_bind *b) {
  uintptr_t base = 0;
  switch (b->space) {
  case SPACE_ARENA:
    base = (uintptr_t)in->arena;
    break;
  case SPACE_WEIGHTS:
    base = (uintptr_t)in->plan->weights;
    break;
  case SPACE_INPUT:
    base = (uintptr_t)in->io[b->index];
    break;
  case SPACE_OUTPUT:
    base = (uintptr_t)in->io[in->plan->nin + b->index];
    break;
  case SPACE_SCRATCH:
    base = (uintptr_t)in->scratch;
    break;
  default:
    break;
  }
  return (void *)(base + b->offset);
}

static int run_step(const struct fvm_instance *in, const struct plan_step *s) {
  const struct fvm_plan *p = in->plan;
  const struct program *q = &p->program[s->program];
  void *buf[CODE_MAXBUF];
  for (uint32_t i = 0; i < q->nbuf; i++) buf[i] = locate(in, &p->bind[s->first_bind + i]);
  struct run run = {q, in->ukr, buf};
  return pool_run(in->pool, MIN((int)s->threads, pool_threads(in->pool)), interp_run, &run);
}

static enum fvm_status all_bound(const struct fvm_instance *in, struct fvm_error *err) {
  const struct fvm_plan *p = in->plan;
  for (uint32_t i = 0; i < p->nin + p->nout; i++)
    if (!in->io[i] && p->public_io[i].bytes)
      return fvm_fail(err, FVM_EUSAGE, "%s %.200s is not bound", i < p->nin ? "input" : "output",
                      p->public_io[i].name);
  return FVM_OK;
}

static enum fvm_status out_of_range(const struct fvm_plan *p, uint32_t i, struct fvm_error *err) {
  return fvm_fail(err, FVM_EFAIL, "step %u (%.200s): an index in the data is out of range", i,
                  plan_string(p, p->step[i].name));
}

/* What states held before, from where the caller has it to where the run goes on. */
static void fetch_states(const struct fvm_instance *in) {
  const struct fvm_plan *p = in->plan;
  for (uint32_t i = 0; i < p->nin; i++) {
    const struct fvm_io *io = &p->public_io[i];
    if (io->state < 0 || io->bytes == 0) continue;
    void *to = in->io[p->nin + (uint32_t)io->state];
    if (to != in->io[i]) memmove(to, in->io[i], io->bytes);
  }
}

enum fvm_status fvm_run(struct fvm_instance *in, struct fvm_error *err) {
  const struct fvm_plan *p = in->plan;
  enum fvm_status st = all_bound(in, err);
  if (st != FVM_OK) return st;
  fetch_states(in);
  for (uint32_t i = 0; i < p->nstep; i++)
    if (run_step(in, &p->step[i]) != 0) return out_of_range(p, i, err);
  return FVM_OK;
}

static int64_t clock_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

enum fvm_status exec_run_timed(struct fvm_instance *in, int64_t *ns, struct fvm_error *err) {
  const struct fvm_plan *p = in->plan;
  enum fvm_status st = all_bound(in, err);
  if (st == FVM_OK) fetch_states(in);
  int64_t start = clock_ns();
  for (uint32_t i = 0; i < p->nstep && st == FVM_OK; i++) {
    if (run_step(in, &p->step[i]) != 0) return out_of_range(p, i, err);
    int64_t end = clock_ns();
    ns[i] = end - start;
    start = end;
  }
  return st;
}
