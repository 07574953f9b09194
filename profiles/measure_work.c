/* What runs in the sandbox: checking a candidate and taking samples of it.
 *
 * Memory. All candidates of a problem use the same inputs, outputs and scratch, so none has better
 * places than another. While it is timed, a constant input has another place in every run, on a
 * belt of copies: in the network the other nodes' weights pass through the caches between two runs
 * of this one, so its own come from far away; how far, the race says (rotate_bytes). The copies lie
 * one after another, so that a prefetch beyond the end of one fetches the next, as in a plan file.
 * All layouts use one belt: what it holds are the input's numbers, in whatever order. What other
 * nodes compute is left where they left it. */
#define _GNU_SOURCE
#include "measure_impl.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "../vm/jit.h"
#include "../vm/verify.h"

enum {
  BELT_MIN = 1 << 10, /* bytes of constants of a problem: fewer stay in place */
  HUGE_PAGE = 2 << 20,
  GUARD = FVM_ALIGN, /* bytes before and after an output that must stay as they are */
  POISON = 0xa5,
  REPEAT_MAX = 1 << 20,
  TRIES = 3,            /* for a clean sample */
  SWITCH_NS = 10000000, /* a sample this long may contain one context switch, and so on */
  SENTINEL_STEPS = 8000 /* about 10 us */
};
enum engine { JIT, INTERP };

/* A constant or an input in a layout, or the reference's output in one. */
struct image {
  bool is_output;
  int index;
  enum layout layout;
  char *base;
  int64_t bytes;
};
/* Copies of a constant input, one after another. */
struct belt {
  char *base;
  int64_t bytes; /* 0: the input stays in place */
};
/* An input on a belt, in a layout. */
struct rider {
  int input;
  int64_t stride, copies;
};
/* A candidate made ready to run. */
struct ready {
  bool done;
  struct jit *jit;
  struct jit_run jit_run;
  struct run interp_run;
  void *buf[CODE_MAXBUF];
  struct rider rider[CODE_MAXBUF];
  int nrider;
  int image[CODE_MAXBUF]; /* of each input */
};
struct work_state {
  struct pool *pool;
  struct counters *counters;
  ukr_fn *const *ukr;
  VEC(struct image) image;
  struct belt *belt; /* of each input */
  struct ready *ready;
  char **out;         /* of each output, GUARD bytes after the start of its memory */
  int64_t *out_bytes; /* the largest over all candidates */
  char *scratch;
  int64_t step; /* runs so far: which copy is next */
  int grabs;
};

/* Fresh memory; starts are staggered, or equal indices of all buffers would fall into the same
 * cache set. The sandbox ends before it would matter that nothing is freed. */
static char *grab(struct work_state *s, int64_t bytes) {
  int64_t shift = (s->grabs++ * 5 * FVM_ALIGN) % 4096;
  void *p = mmap(NULL, (size_t)(bytes + 4096), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                 -1, 0);
  return p == MAP_FAILED ? NULL : (char *)p + shift;
}

/* The same for weights: in huge pages, as the executor maps them. */
static char *grab_huge(struct work_state *s, int64_t bytes) {
  char *p = grab(s, bytes + HUGE_PAGE);
  if (!p || bytes < HUGE_PAGE) return p;
  p += ROUND_UP((uintptr_t)p, (uintptr_t)HUGE_PAGE) - (uintptr_t)p;
#ifdef MADV_HUGEPAGE
  madvise(p, (size_t)bytes, MADV_HUGEPAGE);
#endif
  return p;
}

/* From now on a write to it is a crash: what candidates read is the same for all. */
static void seal(const char *base, int64_t bytes) {
  uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), from = (uintptr_t)base & ~(page - 1);
  mprotect((void *)from, ROUND_UP((uintptr_t)base + (size_t)bytes, page) - from, PROT_READ);
}

static int64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* ---- start ---- */

static int nin(const struct work *w) { return w->bench->call->nin; }
static int nout(const struct work *w) { return w->bench->call->nout; }

static enum layout layout_in(const struct entrant *e, int i) {
  return i < LABEL_MAXIO ? (enum layout)e->label.in[i] : LAYOUT_ROW;
}
static enum layout layout_out(const struct entrant *e, int i) {
  return i < LABEL_MAXIO ? (enum layout)e->label.out[i] : LAYOUT_ROW;
}

/* Bytes of an output in the candidate's layout; 0 for one that nobody asked for. */
static int64_t out_size(const struct work *w, const struct entrant *e, int k) {
  const struct tensor *t = &w->bench->call->out[k];
  return t->dtype == FVM_NONE ? 0 : layout_bytes(t, layout_out(e, k));
}

/* Where the scratch buffers of a program lie in the common memory; returns the bytes needed. */
static int64_t place_scratch(const struct work *w, const struct entrant *e, char *base,
                             void **buf) {
  const struct program *p = &e->program;
  int64_t used = 0;
  for (uint32_t i = (uint32_t)(nin(w) + nout(w)); i < p->nbuf; i++) {
    if (buf) buf[i] = base + used;
    used +=
        scratch_stride(p->buf[i].bytes) * (p->buf[i].kind == BUF_SCRATCH ? e->label.threads : 1);
  }
  return used;
}

static bool make_memory(struct work *w, struct work_state *s) {
  int64_t scratch = 0;
  for (int i = 0; i < w->n; i++) {
    const struct entrant *e = &w->entrant[i];
    if (e->outcome != OUTCOME_COUNT && e->outcome != OUTCOME_OK) continue;
    scratch = MAX(scratch, place_scratch(w, e, NULL, NULL));
    for (int k = 0; k < nout(w); k++) s->out_bytes[k] = MAX(s->out_bytes[k], out_size(w, e, k));
  }
  s->scratch = grab(s, scratch);
  bool ok = s->scratch != NULL;
  for (int k = 0; k < nout(w) && ok; k++) {
    s->out[k] = grab(s, s->out_bytes[k] + 2 * GUARD);
    ok = s->out[k] != NULL;
    if (ok) s->out[k] += GUARD;
  }
  return ok;
}

/* Bytes of a constant input that may ride a belt. Indices may not: their order matters. */
static int64_t belt_part(const struct tensor *t) {
  bool index = t->dtype == FVM_I64 || t->dtype == FVM_I32;
  int64_t bytes = t->data && !index ? tensor_bytes(t) : 0;
  return bytes ? ROUND_UP(bytes, FVM_ALIGN) + FVM_ALIGN : 0;
}

static void make_belt(struct work_state *s, const struct tensor *t, int64_t copies,
                      struct belt *belt) {
  int64_t bytes = copies * belt_part(t), one = tensor_bytes(t);
  if (bytes == 0 || !(belt->base = grab_huge(s, bytes))) return;
  belt->bytes = bytes;
  for (int64_t at = 0; at < bytes; at += one)
    memcpy(belt->base + at, t->data, (size_t)MIN(one, bytes - at));
  seal(belt->base, bytes);
}

/* As many copies of all constants as make up rotate_bytes. Without a belt a large input is cold
 * nevertheless, and a small one is warm. */
static void make_belts(const struct work *w, struct work_state *s) {
  const struct opcall *c = w->bench->call;
  int64_t all = 0;
  for (int i = 0; i < c->nin; i++) all += belt_part(&c->in[i]);
  if (all < BELT_MIN || w->rotate_bytes / all < 2) return;
  for (int i = 0; i < c->nin; i++) make_belt(s, &c->in[i], w->rotate_bytes / all, &s->belt[i]);
}

static int no_work(void *arg, struct team *team, int tid) {
  (void)arg, (void)team, (void)tid;
  return 0;
}

/* Whatever fails here fails for all candidates: the parent sees the sandbox end at its first turn.
 */
void work_init(void *work) {
  struct work *w = work;
  struct work_state *s = fvm_alloc(1, sizeof *s);
  int threads = 1;
  for (int i = 0; i < w->n; i++) threads = MAX(threads, w->entrant[i].label.threads);
  if (!s) _exit(1);
  s->ready = fvm_alloc((size_t)w->n, sizeof *s->ready);
  s->out = fvm_alloc((size_t)MAX(nout(w), 1), sizeof *s->out);
  s->out_bytes = fvm_alloc((size_t)MAX(nout(w), 1), sizeof *s->out_bytes);
  s->belt = fvm_alloc((size_t)MAX(nin(w), 1), sizeof *s->belt);
  s->counters = counters_open();
  s->ukr = ukr_table(cpu_isa());
  w->state = s;
  if (!s->ready || !s->out || !s->out_bytes || !s->belt || !s->counters || !make_memory(w, s) ||
      pool_new(threads, &s->pool, NULL))
    _exit(1);
  make_belts(w, s);
}

/* ---- images: data in layouts ---- */

/* Row-major data converted by the layout's own program; NULL when there is none. */
static char *convert(struct work_state *s, const struct tensor *t, const void *data,
                     enum layout layout, char *to, struct fvm_error *err) {
  struct arena a = {0};
  struct program p;
  if (layout == LAYOUT_ROW) return memcpy(to, data, (size_t)tensor_bytes(t));
  enum fvm_status st = layout_convert(t, LAYOUT_ROW, layout, &a, &p, err);
  if (!st) {
    void *buf[CODE_MAXBUF] = {(void *)data, to};
    for (uint32_t i = 2; i < p.nbuf && !st; i++)
      if (!(buf[i] = grab(s, scratch_stride(p.buf[i].bytes)))) st = fvm_nomem(err);
    struct run r = {.program = &p, .ukr = s->ukr, .buf = buf};
    if (!st && pool_run(s->pool, 1, interp_run, &r))
      st = fvm_fail(err, FVM_EFAIL, "converting to layout %s failed", layout_name(layout));
  }
  arena_free(&a);
  return st ? NULL : to;
}

static bool make_image(const struct work *w, struct image *m, struct fvm_error *err) {
  const struct opcall *c = w->bench->call;
  const struct tensor *t = m->is_output ? &c->out[m->index] : &c->in[m->index];
  const void *data = m->is_output ? w->bench->want[m->index] : w->bench->in[m->index];
  m->bytes = layout_bytes(t, m->layout);
  m->base = grab_huge(w->state, m->bytes);
  if (!m->base) return fvm_nomem(err), false;
  if (!convert(w->state, t, data, m->layout, m->base, err)) return false;
  seal(m->base, m->bytes);
  return true;
}

/* Index of an image, made when it is new; -1 and *err when it cannot be. */
static int image_of(const struct work *w, bool is_output, int index, enum layout layout,
                    struct fvm_error *err) {
  struct work_state *s = w->state;
  for (size_t i = 0; i < s->image.n; i++) {
    const struct image *m = &s->image.v[i];
    if (m->is_output == is_output && m->index == index && m->layout == layout) return (int)i;
  }
  struct image m = {.is_output = is_output, .index = index, .layout = layout};
  if (!make_image(w, &m, err)) return -1;
  if (!VEC_PUSH(&s->image, m)) return fvm_nomem(err), -1;
  return (int)s->image.n - 1;
}

/* ---- making a candidate ready ---- */

/* What is larger than the belt stays in place: one pass over it is cold by itself. */
static void ride(const struct belt *belt, int input, int64_t bytes, struct ready *r) {
  int64_t stride = ROUND_UP(bytes, FVM_ALIGN) + FVM_ALIGN;
  if (belt->bytes >= stride)
    r->rider[r->nrider++] = (struct rider){input, stride, belt->bytes / stride};
}

static enum fvm_status place_buffers(const struct work *w, const struct entrant *e, struct ready *r,
                                     struct fvm_error *err) {
  struct work_state *s = w->state;
  const struct program *p = &e->program;
  if (p->nbuf < (uint32_t)(nin(w) + nout(w)))
    return fvm_fail(err, FVM_EUNSUPPORTED, "program has only %u buffers", p->nbuf);
  for (int i = 0; i < nin(w); i++) {
    r->image[i] = -1;
    r->buf[i] = s->scratch; /* an absent input: 0 bytes of anything */
    if (!w->bench->in[i]) continue;
    r->image[i] = image_of(w, false, i, layout_in(e, i), err);
    if (r->image[i] < 0) return err->code;
    const struct image *m = &s->image.v[r->image[i]];
    r->buf[i] = m->base;
    if (p->buf[i].bytes > m->bytes)
      return fvm_fail(err, FVM_EUNSUPPORTED, "program asks for too large an input %d", i);
    ride(&s->belt[i], i, m->bytes, r);
  }
  for (int k = 0; k < nout(w); k++) {
    r->buf[nin(w) + k] = s->out[k];
    if (p->buf[nin(w) + k].bytes > out_size(w, e, k))
      return fvm_fail(err, FVM_EUNSUPPORTED, "program asks for too large an output %d", k);
  }
  place_scratch(w, e, s->scratch, r->buf);
  return FVM_OK;
}

static enum fvm_status make_ready(const struct work *w, int i, struct fvm_error *err) {
  struct ready *r = &w->state->ready[i];
  const struct entrant *e = &w->entrant[i];
  if (r->done) return FVM_OK;
  enum fvm_status st = place_buffers(w, e, r, err);
  if (!st) st = jit_compile(&e->program, w->state->ukr, &r->jit, err);
  if (st) return st;
  r->jit_run = (struct jit_run){.jit = r->jit, .buf = r->buf};
  r->interp_run = (struct run){.program = &e->program, .ukr = w->state->ukr, .buf = r->buf};
  r->done = true;
  return FVM_OK;
}

static int run_once(const struct work *w, int i, enum engine engine) {
  struct work_state *s = w->state;
  struct ready *r = &s->ready[i];
  return engine == JIT ? pool_run(s->pool, w->entrant[i].label.threads, jit_run, &r->jit_run)
                       : pool_run(s->pool, w->entrant[i].label.threads, interp_run, &r->interp_run);
}

/* ---- checking ---- */

static void poison(const struct work *w) {
  for (int k = 0; k < nout(w); k++)
    memset(w->state->out[k] - GUARD, POISON, (size_t)(w->state->out_bytes[k] + 2 * GUARD));
}

static bool is_poison(const char *p, int64_t n) {
  for (int64_t i = 0; i < n; i++)
    if ((unsigned char)p[i] != POISON) return false;
  return true;
}

/* Outputs, given where they are, against the reference in the candidate's layouts. */
static bool outputs_right(const struct work *w, const struct entrant *e, char *const *out,
                          double *error, char *why, size_t size) {
  struct fvm_error err = {0};
  for (int k = 0; k < nout(w); k++) {
    const struct tensor *t = &w->bench->call->out[k];
    if (t->dtype == FVM_NONE) continue;
    int want = image_of(w, true, k, layout_out(e, k), &err);
    int64_t bytes = out_size(w, e, k), n = bytes / (int64_t)fvm_dtype_bytes(t->dtype);
    if (want < 0) {
      snprintf(why, size, "%.100s", err.text);
      return false;
    }
    if (!values_agree(t->dtype, out[k], w->state->image.v[want].base, n, error, why, size))
      return false;
    if (is_poison(out[k] - GUARD, GUARD) && is_poison(out[k] + bytes, GUARD)) continue;
    snprintf(why, size, "wrote outside of output %d", k);
    return false;
  }
  return true;
}

/* Interpreter against the reference. */
static bool interp_right(const struct work *w, int i, double *error, char *why, size_t size) {
  poison(w);
  if (run_once(w, i, INTERP) == 0)
    return outputs_right(w, &w->entrant[i], w->state->out, error, why, size);
  snprintf(why, size, "a micro-kernel refused the data: an index out of range");
  return false;
}

/* Compiled code against what the interpreter has just left in the outputs, bit for bit. */
static bool jit_right(const struct work *w, int i, char *why, size_t size) {
  char *kept[LABEL_MAXIO + CODE_MAXBUF];
  for (int k = 0; k < nout(w); k++) {
    kept[k] = fvm_alloc((size_t)MAX(out_size(w, &w->entrant[i], k), 1), 1);
    if (!kept[k]) _exit(1);
    memcpy(kept[k], w->state->out[k], (size_t)out_size(w, &w->entrant[i], k));
  }
  poison(w);
  bool right = run_once(w, i, JIT) == 0;
  for (int k = 0; k < nout(w); k++) {
    int64_t n = out_size(w, &w->entrant[i], k);
    right = right && memcmp(kept[k], w->state->out[k], (size_t)n) == 0;
    fvm_free(kept[k], (size_t)MAX(n, 1), 1);
  }
  if (!right) snprintf(why, size, "compiled code and interpreter differ");
  return right;
}

/* The output in the place of an input that dies, if the label offers that. */
static bool inplace_right(const struct work *w, int i, double *error, char *why, size_t size) {
  const struct entrant *e = &w->entrant[i];
  struct ready *r = &w->state->ready[i];
  int in = e->label.inplace - 1, alias[CODE_MAXBUF];
  struct fvm_error err = {0};
  if (in < 0) return true;
  for (int k = 0; k < CODE_MAXBUF; k++) alias[k] = k;
  alias[nin(w)] = in;
  if (r->image[in] < 0 || w->state->image.v[r->image[in]].bytes != out_size(w, e, 0)) {
    snprintf(why, size, "in place: input %d and the output differ in size", in);
    return false;
  }
  if (verify_program(&e->program, alias, &err)) {
    snprintf(why, size, "in place: %.120s", err.text);
    return false;
  }
  void *own = r->buf[in];
  poison(w);
  memcpy(w->state->out[0], own, (size_t)w->state->image.v[r->image[in]].bytes);
  r->buf[in] = w->state->out[0];
  bool right = run_once(w, i, INTERP) == 0 && outputs_right(w, e, w->state->out, error, why, size);
  r->buf[in] = own;
  return right;
}

static enum outcome check(const struct work *w, int i, double *error, char *why, size_t size) {
  struct fvm_error err = {0};
  enum fvm_status st = verify_program(&w->entrant[i].program, NULL, &err);
  if (!st) st = make_ready(w, i, &err);
  if (st) {
    snprintf(why, size, "%.150s", err.text);
    return OUTCOME_UNSUPPORTED;
  }
  *error = 0;
  return interp_right(w, i, error, why, size) && jit_right(w, i, why, size) &&
                 inplace_right(w, i, error, why, size)
             ? OUTCOME_OK
             : OUTCOME_WRONG;
}

/* ---- timing ---- */

static void move_riders(struct work_state *s, struct ready *r) {
  for (int k = 0; k < r->nrider; k++) {
    const struct rider *x = &r->rider[k];
    r->buf[x->input] = s->belt[x->input].base + s->step % x->copies * x->stride;
  }
  s->step++;
}

/* Nanoseconds of that many runs, with counters. The team is woken before the clock starts: in the
 * network it is awake from the step before. */
static int64_t timed(const struct work *w, int i, enum engine engine, int64_t repeat,
                     struct counter_values *v) {
  struct work_state *s = w->state;
  int threads = w->entrant[i].label.threads;
  if (threads > 1) pool_run(s->pool, threads, no_work, NULL);
  s->counters->start(s->counters);
  int64_t t = now();
  for (int64_t k = 0; k < repeat; k++) {
    move_riders(s, &s->ready[i]);
    run_once(w, i, engine);
  }
  t = now() - t;
  s->counters->stop(s->counters, v);
  return MAX(t, 1);
}

/* Enough runs that the sample is long enough; the runs on the way also warm caches and branches.
 * The last of them is such a sample: its nanoseconds. */
static int64_t calibrate(const struct work *w, int i, enum engine engine, int64_t *repeat,
                         struct counter_values *v) {
  for (*repeat = 1;;) {
    int64_t t = timed(w, i, engine, *repeat, v);
    if (t >= w->sample_ns || *repeat >= REPEAT_MAX) return t;
    *repeat = MIN(MIN(*repeat * 16, w->sample_ns * *repeat * 5 / 4 / t + 1), (int64_t)REPEAT_MAX);
  }
}

static bool is_clean(const struct counter_values *v, int64_t ns) {
  int64_t disturbed = v->v[COUNTER_SWITCHES] + v->v[COUNTER_MIGRATIONS];
  return disturbed <= ns / SWITCH_NS;
}

static void sample(const struct work *w, int i, enum engine engine, struct reply *r) {
  struct counter_values v = {0};
  int64_t t = 0, *n = &r->repeat[engine];
  for (int try = 0; try < TRIES && !r->clean; try++) {
    r->dropped += try > 0;
    t = *n ? timed(w, i, engine, *n, &v) : calibrate(w, i, engine, n, &v);
    r->clean = is_clean(&v, t);
  }
  r->ns = MAX((t + *n / 2) / *n, 1);
  for (int k = 0; k < COUNTER_COUNT; k++) v.v[k] /= *n;
  r->counters = v;
}

static int64_t chain(void) {
  volatile uint64_t sink;
  uint64_t x = 1;
  int64_t t = now();
  for (int i = 0; i < SENTINEL_STEPS; i++) x = x * 0x5851f42d4c957f2du + 1;
  sink = x;
  (void)sink;
  return now() - t;
}

/* A fixed chain of dependent multiplications: when it takes longer, the machine is slower. The best
 * of three, so that an interrupt in between is not taken for that. */
static int64_t sentinel(void) {
  int64_t a = chain(), b = chain(), c = chain();
  return MIN(a, MIN(b, c));
}

static void serve_one(const struct work *w, int i) {
  struct reply *r = &w->x->reply[i];
  struct fvm_error err = {0};
  int64_t repeat[2] = {r->repeat[JIT], r->repeat[INTERP]};
  *r = (struct reply){
      .outcome = OUTCOME_OK, .error = r->error, .repeat = {repeat[JIT], repeat[INTERP]}};
  if (w->x->request == REQUEST_CHECK)
    r->outcome = check(w, i, &r->error, r->reason, sizeof r->reason);
  if (r->outcome != OUTCOME_OK) return;
  if (make_ready(w, i, &err)) {
    r->outcome = OUTCOME_UNSUPPORTED;
    snprintf(r->reason, sizeof r->reason, "%.150s", err.text);
    return;
  }
  sample(w, i, w->x->request == REQUEST_INTERP ? INTERP : JIT, r);
}

void work_serve(void *work) {
  const struct work *w = work;
  struct exchange *x = w->x;
  int64_t before = sentinel();
  for (int k = 0; k < x->n && !x->stop; k++) {
    x->at = k;
    x->turn++;
    serve_one(w, x->order[k]);
  }
  x->at = x->n;
  int64_t after = sentinel();
  x->sentinel_ns = MAX(before, after);
}
