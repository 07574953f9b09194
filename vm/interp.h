/* The interpreter, and the virtual counters. Programs must have passed verify_program. */
#ifndef FVM_INTERP_H
#define FVM_INTERP_H

#include "../kernels/ukr.h"
#include "code.h"
#include "threads.h"

/* Bytes that one thread's copy of a scratch buffer takes: threads' copies lie side by side, so a
 * BUF_SCRATCH buffer needs team size * this. */
static inline int64_t scratch_stride(int64_t bytes) { return ROUND_UP(bytes, FVM_ALIGN); }

/* One run of a program by a team, filled in by the caller and shared by its threads. */
struct run {
  const struct program *program;
  ukr_fn *const *ukr; /* ukr_table(isa) */
  void *const *buf;   /* base address of each buffer */
};
/* team_fn: arg is a struct run. Returns 0 or UKR_RANGE. */
int interp_run(void *arg, struct team *team, int tid);

/* ---- virtual counters: the same walk on one thread, counting instead of calling -------------- */
enum { VCOUNT_LEVELS = 3 };
struct vcount {
  int64_t flops, calls;
  int64_t read[CODE_MAXBUF], written[CODE_MAXBUF]; /* bytes the micro-kernels ask for */
  /* Bytes that miss an LRU cache of level_bytes[i] in lines of 64 bytes, from reuse distances. */
  int64_t level_bytes[VCOUNT_LEVELS], miss[VCOUNT_LEVELS];
};
/* level_bytes is set by the caller (0: level not simulated). */
enum fvm_status interp_count(const struct program *p, struct vcount *c, struct fvm_error *err);

/* What the busiest thread of a team does, in the terms in which its time can be predicted: the work
 * of each micro-kernel, and bytes that come from beyond each cache. Lines are as coarse as it takes
 * to walk in a small part of the time that a run takes, so misses are estimates. */
struct load {
  int64_t flops[UKR_COUNT], calls[UKR_COUNT];
  int64_t asked;               /* bytes that the micro-kernels ask for */
  int64_t miss[VCOUNT_LEVELS]; /* bytes that an LRU cache of that size does not have any more */
  int64_t first[CODE_MAXBUF];  /* bytes of each buffer, when they are touched first */
  int64_t pars;                /* how often the team meets behind a par */
};
enum fvm_status interp_load(const struct program *p, int threads,
                            const int64_t level_bytes[VCOUNT_LEVELS], struct load *l,
                            struct fvm_error *err);

#endif
