/* Between the parts of what runs in the sandbox: memory and data in layouts (measure_room.c),
 * checks (measure_work.c), the memory of samples (measure_net.c), samples (measure_time.c).
 *
 * All candidates of a problem use the same inputs, outputs and scratch, so none has better places
 * than another. */
#ifndef FVM_MEASURE_WORK_H
#define FVM_MEASURE_WORK_H

#include "measure_impl.h"

#include "../vm/jit.h"

enum engine { JIT, INTERP };

/* A constant or an input in a layout, or the reference's output in one. */
struct image {
  bool is_output, is_constant;
  int index;
  enum layout layout;
  char *base;
  int64_t bytes;
};
/* Places of an input or output, one after another (measure_net.c). */
struct belt {
  char *base;
  int64_t bytes; /* 0: one place */
  int image;     /* of an activation input: 1 + the image that it holds */
};
/* A buffer on a belt, in a layout. */
struct rider {
  const struct belt *belt;
  int buf;
  int64_t stride, places;
};
/* A candidate made ready to run. */
struct ready {
  bool placed;
  struct jit *jit;         /* NULL: not compiled yet */
  void *buf[CODE_MAXBUF];  /* memory that all share; what is read is sealed */
  void *live[CODE_MAXBUF]; /* while it is timed */
  struct rider rider[CODE_MAXBUF];
  int nrider;
  int image[CODE_MAXBUF]; /* of each input */
  bool sized[2];          /* it is known how many runs a sample takes, by engines */
};
/* Copies of what is at an input, one at either side, and which image that is. */
struct fenced {
  struct fence fence[SIDES];
  int image[SIDES]; /* 1 + its index; 0: none yet */
};
/* At the machine's speed: whether so many threads were slow, and when that was, in ns. */
struct look {
  int threads;
  bool slow;
  int64_t at;
};
struct work_state {
  struct pool *pool;
  struct counters *counters;
  ukr_fn *const *ukr;
  VEC(struct image) image;
  struct belt *in, *made; /* of each input and output */
  struct ready *ready;
  char **out;         /* of each output */
  int64_t *out_bytes; /* the largest over all candidates */
  char *scratch;
  struct pool *solo[SIDES];                       /* of one thread each */
  struct fenced *fenced;                          /* of each input, for checks */
  struct fence (*fence_out)[SIDES];               /* of each output */
  struct fence fence_scratch[CODE_MAXBUF][SIDES]; /* of each scratch buffer of a program */
  struct look look;                               /* after the last sample */
  int64_t look_ns; /* of two looks at the clock, the least seen; 0: none yet */
  int64_t step;    /* runs so far: which copy is next */
  int grabs;
};

/* ---- measure_room.c ---- */

/* Fresh memory, NULL when there is none; the second in huge pages, as the executor maps weights.
 * fenced: no byte behind it that is not needed for its alignment may be touched. The sandbox ends
 * before it would matter that nothing is freed. */
char *room_grab(struct work_state *s, int64_t bytes);
char *room_grab_huge(struct work_state *s, int64_t bytes, bool fenced);
/* From now on a write to it is a crash: what candidates read is the same for all. */
void room_seal(const char *base, int64_t bytes);

static inline int nin(const struct work *w) { return w->bench->call->nin; }
static inline int nout(const struct work *w) { return w->bench->call->nout; }
enum layout room_layout_in(const struct entrant *e, int i);
enum layout room_layout_out(const struct entrant *e, int i);
/* Bytes of an output in the candidate's layout; 0 for one that nobody asked for. */
int64_t room_out_bytes(const struct work *w, const struct entrant *e, int k);
/* Where the scratch buffers of a program lie in the common memory; returns the bytes needed. */
int64_t room_scratch(const struct work *w, const struct entrant *e, char *base, void **buf);
/* Bytes of an input in the candidate's layout. */
int64_t room_in_bytes(const struct work *w, const struct entrant *e, int i);
/* Outputs and scratch that fit every candidate; false when memory is out. */
bool room_make(struct work *w, struct work_state *s);
/* Index of an image, made when it is new; -1 and *err when it cannot be. */
int room_image(const struct work *w, bool is_output, int index, enum layout layout,
               struct fvm_error *err);

/* ---- measure_work.c ---- */

int work_run(const struct work *w, int i, enum engine engine, void **buf);

/* ---- measure_net.c ---- */

/* Memory for timing; false when there is none. */
bool net_make(const struct work *w, struct work_state *s);
/* A candidate's buffers in it. needs: r->buf, r->image. */
void net_place(const struct work *w, const struct entrant *e, struct ready *r);
/* Before samples of a candidate: activation inputs in its layouts. */
void net_enter(const struct work *w, const struct ready *r);
/* Before a run of it, one of so many of a sample: the next places, and inputs as if just made. */
void net_step(const struct work *w, int i, int64_t repeat);

/* ---- measure_sentinel.c ---- */

/* Whether that many threads are slower than at their best now. */
bool sentinel_slow(const struct work *w, int threads);
/* Wait until they are not, or until that time, as long as there is patience; false: they are at
 * their best. */
bool sentinel_await(const struct work *w, int threads, int64_t until);
/* Whether finals under so many threads may wait, and repeat samples; what a sample has taken. */
bool sentinel_patient(const struct work *w, int threads);
void sentinel_spend(const struct work *w, int threads, int64_t ns, bool useful);

/* ---- measure_time.c ---- */

int64_t clock_ns(void);

/* One sample of a candidate that is ready: the first one that is clean and not slow, or else the
 * least of a few. */
void time_sample(const struct work *w, int i, enum engine engine, struct reply *r);

#endif
