/* Between the parts of measuring: data (measure_data.c), what runs in the sandbox (measure_work.h),
 * the race (measure.c). */
#ifndef FVM_MEASURE_IMPL_H
#define FVM_MEASURE_IMPL_H

#include "measure.h"

/* ---- data of a problem: made once, then only read, also by sandboxes ---- */
struct bench {
  const struct opcall *call;
  struct arena arena;
  const void **in;    /* row-major; NULL for an absent input. Constants are the model's own. */
  void **want;        /* what the reference says, row-major */
  double reference_s; /* CPU time that it took */
};
/* Seeded inputs and the reference's answer. */
enum fvm_status bench_make(struct bench *b, const struct opcall *c, struct fvm_error *err);
void bench_free(struct bench *b);
/* The bench of an opcall, from among those kept, or made and kept. Until the next call. */
enum fvm_status keep_bench(struct measure_keep *k, const struct opcall *c, const struct bench **b,
                           struct fvm_error *err);

/* The sandbox of all races, which come one after another. */
struct sandbox *keep_sandbox(struct measure_keep *k);

/* Read-only memory in huge pages that is as large as what passes through the caches in a run, for
 * constants to be read from; sandboxes inherit it. In whichever real type it is read, each of its
 * numbers is an ordinary one, of magnitude 2^-63 to 2. */
struct stream {
  char *base;
  int64_t bytes; /* 0: none */
};
/* One of so many bytes at least, kept from race to race; an empty one when there is no memory.
 * Until the next call. */
struct stream keep_stream(struct measure_keep *k, int64_t bytes);

/* Whether n elements of got agree with want within the dtype's tolerance; else why says where not.
 * *error rises to the largest difference over the largest finite magnitude of want; where that is 0
 * and for types that must agree exactly, it stays. */
bool values_agree(enum fvm_dtype dtype, const void *got, const void *want, int64_t n, double *error,
                  char *why, size_t why_size);

/* The same bit for bit. */
bool values_equal(enum fvm_dtype dtype, const void *got, const void *want, int64_t n, char *why,
                  size_t why_size);

/* ---- memory between pages that nobody may touch (measure_fence.c) ---- */
struct fence {
  char *low, *high; /* readable and writable; NULL: none yet */
  bool sealed;
};
/* Where in it: whoever leaves a buffer over its first or its last byte crashes at once. */
enum side { AT_END, AT_START, SIDES };
/* Memory for so many bytes and GUARD more: that which is there when it is large enough. False when
 * there is none. */
bool fence_grow(struct fence *f, int64_t bytes);
char *fence_place(const struct fence *f, int64_t bytes, enum side side);
/* From now on a write to it is a crash, or no more. */
void fence_seal(struct fence *f, bool sealed);

enum { FENCE_GUARD = FVM_ALIGN, FENCE_POISON = 0xa5 };
/* Fill a buffer in it, and FENCE_GUARD bytes on that side of it where no page ends. */
void fence_poison(const struct fence *f, char *at, int64_t bytes);
/* Whether those bytes are as they were. */
bool fence_holds(const struct fence *f, const char *at, int64_t bytes);

/* ---- states ---- */

/* Bytes that pass in a state before a constant is read again; whether as many do before an output's
 * place is written; and how many do if not. */
int64_t state_bytes(enum data_state s, const struct caches *c);
bool state_far(enum data_state s);
int64_t state_near(enum data_state s, const struct caches *c);

/* ---- requests to the sandbox ---- */
enum request {
  REQUEST_CHECK,  /* verify, compile, compare */
  REQUEST_SAMPLE, /* one sample of compiled code */
  REQUEST_INTERP  /* one sample of the interpreter */
};
struct reply {
  enum outcome outcome; /* CHECK: OUTCOME_OK or what is wrong */
  char reason[160];
  double error;      /* as in struct entrant; kept for the next sandbox */
  int64_t check_ns;  /* of the compiled run while it was checked, in memory of its own; kept, too */
  int64_t ns;        /* of one run; 0: no sample */
  bool clean;        /* no context switch, no migration */
  bool slow;         /* by the sentinel before it and behind it, the machine was below its best */
  int dropped;       /* samples thrown away before this one */
  int64_t repeat[2]; /* runs in a sample: compiled, interpreted; kept for the next sandbox */
  struct counter_values counters; /* of one run */
  struct virtual_counters work;   /* kept for the next sandbox */
};
/* Where a checked candidate's buffers are, for whoever wonders about an address. */
struct extent {
  uint64_t low, high; /* the first byte, and that behind the last */
};
/* In shared memory. */
struct exchange {
  /* Inputs, outputs, scratch; nbuf of them, 0: not in a check. */
  struct extent buffer[SIDES][CODE_MAXBUF];
  int nbuf;
  enum request request;
  int n;              /* entrants to serve: order[0 .. n-1] */
  volatile int turn;  /* number of entrants begun since the start: progress */
  volatile int at;    /* index into order being served */
  volatile int stop;  /* set by the parent: serve no further entrant */
  struct peace peace; /* as known so far */
  int *order;
  struct reply *reply; /* one an entrant */
};

/* All that the sandbox needs; set up by the race before it forks. */
struct work {
  const struct bench *bench;
  struct stream stream;
  const struct entrant *entrant;
  int n;
  int64_t sample_ns;
  int64_t since_read, since_written; /* bytes that pass before a constant is read again, and an
                                        output's place written */
  bool far;                          /* the latter is more than what passes in a sample */
  ukr_fn *const *ukr;
  struct exchange *x;
  struct work_state *state; /* the sandbox's own */
};
void work_init(void *work);
void work_serve(void *work);

#endif
