/* What runs in the sandbox: checking a candidate, and what the race asks for.
 *
 * While it is checked, a candidate has its inputs, outputs and scratch between pages that nobody
 * may touch: under the interpreter at the end of what is between them, compiled at the start. Both
 * engines make the same accesses, so what goes one element too far, to either side, crashes. A
 * candidate of one thread runs under both at once. */
#include "measure_work.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../vm/verify.h"

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
  s->in = fvm_alloc((size_t)MAX(nin(w), 1), sizeof *s->in);
  s->made = fvm_alloc((size_t)MAX(nout(w), 1), sizeof *s->made);
  s->fenced = fvm_alloc((size_t)MAX(nin(w), 1), sizeof *s->fenced);
  s->fence_out = fvm_alloc((size_t)MAX(nout(w), 1), sizeof *s->fence_out);
  s->counters = counters_open();
  s->ukr = w->ukr;
  w->state = s;
  if (!s->ready || !s->out || !s->out_bytes || !s->in || !s->made || !s->fenced || !s->fence_out ||
      !s->counters || !room_make(w, s) || !net_make(w, s) || pool_new(threads, &s->pool, NULL) ||
      pool_new(1, &s->solo[AT_END], NULL) || pool_new(1, &s->solo[AT_START], NULL))
    _exit(1);
}

/* ---- making a candidate ready ---- */

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
    r->image[i] = room_image(w, false, i, room_layout_in(e, i), err);
    if (r->image[i] < 0) return err->code;
    const struct image *m = &s->image.v[r->image[i]];
    r->buf[i] = m->base;
    if (p->buf[i].bytes > m->bytes)
      return fvm_fail(err, FVM_EUNSUPPORTED, "program asks for too large an input %d", i);
  }
  for (int k = 0; k < nout(w); k++) {
    r->buf[nin(w) + k] = s->out[k];
    if (p->buf[nin(w) + k].bytes > room_out_bytes(w, e, k))
      return fvm_fail(err, FVM_EUNSUPPORTED, "program asks for too large an output %d", k);
  }
  room_scratch(w, e, s->scratch, r->buf);
  net_place(w, e, r);
  return FVM_OK;
}

/* To be run by that engine. */
static enum fvm_status make_ready(const struct work *w, int i, enum engine engine,
                                  struct fvm_error *err) {
  struct ready *r = &w->state->ready[i];
  const struct entrant *e = &w->entrant[i];
  enum fvm_status st = r->placed ? FVM_OK : place_buffers(w, e, r, err);
  r->placed = !st;
  if (!st && engine == JIT && !r->jit) st = jit_compile(&e->program, w->state->ukr, &r->jit, err);
  return st;
}

static int run_on(struct pool *pool, const struct work *w, int i, enum engine engine, void **buf) {
  int threads = w->entrant[i].label.threads;
  struct jit_run jit = {.jit = w->state->ready[i].jit, .buf = buf};
  struct run interp = {.program = &w->entrant[i].program, .ukr = w->state->ukr, .buf = buf};
  return engine == JIT ? pool_run(pool, threads, jit_run, &jit)
                       : pool_run(pool, threads, interp_run, &interp);
}

int work_run(const struct work *w, int i, enum engine engine, void **buf) {
  return run_on(w->state->pool, w, i, engine, buf);
}

/* ---- checking ---- */

/* Bytes of a scratch buffer for all threads, the last one's without what pads it. */
static int64_t scratch_bytes(const struct entrant *e, const struct buffer *b) {
  int64_t others = b->kind == BUF_SCRATCH ? e->label.threads - 1 : 0;
  return scratch_stride(b->bytes) * others + b->bytes;
}

/* The image of an input, read-only at that side of a fence. Constants are as large as memory
 * allows, and are read only: theirs is fenced where it is. */
static char *fence_input(struct work_state *s, int input, int image, enum side side) {
  const struct image *m = &s->image.v[image];
  struct fenced *x = &s->fenced[input];
  struct fence *f = &x->fence[side];
  if (m->is_constant) return m->base;
  if (!fence_grow(f, m->bytes)) _exit(1);
  char *at = fence_place(f, m->bytes, side);
  if (x->image[side] == image + 1) return at;
  fence_seal(f, false);
  memcpy(at, m->base, (size_t)m->bytes);
  fence_seal(f, true);
  x->image[side] = image + 1;
  return at;
}

static char *fence_buffer(struct fence *f, int64_t bytes, enum side side) {
  if (!fence_grow(f, bytes)) _exit(1);
  char *at = fence_place(f, bytes, side);
  fence_poison(f, at, bytes);
  return at;
}

/* Buffer k of a candidate at that side of a fence, and its bytes; an absent input stays. */
static char *fence_at(const struct work *w, int i, int k, enum side side, int64_t *bytes) {
  struct work_state *s = w->state;
  const struct entrant *e = &w->entrant[i];
  const struct ready *r = &s->ready[i];
  int out = k - nin(w);
  *bytes = 0;
  if (out >= nout(w)) {
    *bytes = scratch_bytes(e, &e->program.buf[k]);
    return fence_buffer(&s->fence_scratch[k][side], *bytes, side);
  }
  if (out >= 0) {
    *bytes = room_out_bytes(w, e, out);
    return fence_buffer(&s->fence_out[out][side], *bytes, side);
  }
  if (r->image[k] < 0) return r->buf[k];
  *bytes = s->image.v[r->image[k]].bytes;
  return fence_input(s, k, r->image[k], side);
}

/* Every buffer of a candidate between pages that nobody may touch. */
static void fence_all(const struct work *w, int i, enum side side, void **buf) {
  struct exchange *x = w->x;
  x->nbuf = (int)w->entrant[i].program.nbuf;
  for (int k = 0; k < x->nbuf; k++) {
    int64_t bytes;
    char *at = fence_at(w, i, k, side, &bytes);
    buf[k] = at;
    x->buffer[side][k] = (struct extent){(uintptr_t)at, (uintptr_t)at + (uint64_t)bytes};
  }
}

/* Outputs against the reference in the candidate's layouts, and nothing written beside them. */
static bool outputs_right(const struct work *w, int i, void *const *buf, struct reply *a) {
  const struct entrant *e = &w->entrant[i];
  struct work_state *s = w->state;
  struct fvm_error err = {0};
  for (int k = 0; k < nout(w); k++) {
    const struct tensor *t = &w->bench->call->out[k];
    const char *out = buf[nin(w) + k];
    if (t->dtype == FVM_NONE) continue;
    int want = room_image(w, true, k, room_layout_out(e, k), &err);
    int64_t bytes = room_out_bytes(w, e, k), n = bytes / (int64_t)fvm_dtype_bytes(t->dtype);
    if (want < 0) {
      snprintf(a->reason, sizeof a->reason, "%.100s", err.text);
      return false;
    }
    if (!fence_holds(&s->fence_out[k][AT_END], out, bytes)) {
      snprintf(a->reason, sizeof a->reason, "wrote outside of output %d", k);
      return false;
    }
    if (!values_agree(t->dtype, out, s->image.v[want].base, n, &a->error, a->reason,
                      sizeof a->reason))
      return false;
  }
  return true;
}

/* Outputs of compiled code against the interpreter's, bit for bit. */
static bool outputs_same(const struct work *w, int i, void *const *jit, void *const *interp,
                         struct reply *a) {
  char where[100] = "";
  bool same = true;
  for (int k = nin(w); k < nin(w) + nout(w) && same; k++) {
    enum fvm_dtype d = w->bench->call->out[k - nin(w)].dtype;
    int64_t bytes = room_out_bytes(w, &w->entrant[i], k - nin(w));
    same = bytes == 0 || (values_equal(d, jit[k], interp[k], bytes / (int64_t)fvm_dtype_bytes(d),
                                       where, sizeof where) &&
                          fence_holds(&w->state->fence_out[k - nin(w)][AT_START], jit[k], bytes));
  }
  if (!same)
    snprintf(a->reason, sizeof a->reason, "compiled code and interpreter differ%s%s",
             where[0] ? ": " : "", where);
  return same;
}

/* Both engines, each with its own buffers. */
struct engines {
  const struct work *w;
  int i;
  void *buf[SIDES][CODE_MAXBUF];
  int result[SIDES];
  int64_t jit_ns;
};

static void run_engine(struct engines *x, struct pool *pool, enum side side) {
  int64_t start = clock_ns();
  x->result[side] = run_on(pool, x->w, x->i, side == AT_END ? INTERP : JIT, x->buf[side]);
  if (side == AT_START) x->jit_ns = MAX(clock_ns() - start, 1);
}

static int run_one_engine(void *arg, struct team *team, int tid) {
  struct engines *x = arg;
  (void)team;
  run_engine(x, x->w->state->solo[tid], (enum side)tid);
  return 0;
}

static void run_engines(struct engines *x) {
  struct pool *pool = x->w->state->pool;
  if (x->w->entrant[x->i].label.threads == 1 && pool_threads(pool) >= SIDES) {
    pool_run(pool, SIDES, run_one_engine, x);
  } else {
    run_engine(x, pool, AT_END);
    run_engine(x, pool, AT_START);
  }
}

/* Interpreter against the reference, compiled code against the interpreter. */
static bool engines_right(const struct work *w, int i, struct reply *a) {
  struct engines x = {.w = w, .i = i};
  fence_all(w, i, AT_END, x.buf[AT_END]);
  fence_all(w, i, AT_START, x.buf[AT_START]);
  run_engines(&x);
  a->check_ns = x.jit_ns;
  if (x.result[AT_END]) {
    snprintf(a->reason, sizeof a->reason, "a micro-kernel refused the data: an index out of range");
    return false;
  }
  if (x.result[AT_START]) {
    snprintf(a->reason, sizeof a->reason, "compiled code and interpreter differ");
    return false;
  }
  return outputs_right(w, i, x.buf[AT_END], a) &&
         outputs_same(w, i, x.buf[AT_START], x.buf[AT_END], a);
}

/* The output in the place of an input that dies, if the label offers that. */
static bool inplace_right(const struct work *w, int i, struct reply *a) {
  const struct entrant *e = &w->entrant[i];
  const struct ready *r = &w->state->ready[i];
  int in = e->label.inplace - 1, alias[CODE_MAXBUF];
  void *buf[CODE_MAXBUF];
  struct fvm_error err = {0};
  if (in < 0) return true;
  for (int k = 0; k < CODE_MAXBUF; k++) alias[k] = k;
  alias[nin(w)] = in;
  if (r->image[in] < 0 || w->state->image.v[r->image[in]].bytes != room_out_bytes(w, e, 0)) {
    snprintf(a->reason, sizeof a->reason, "in place: input %d and the output differ in size", in);
    return false;
  }
  if (verify_program(&e->program, alias, &err)) {
    snprintf(a->reason, sizeof a->reason, "in place: %.120s", err.text);
    return false;
  }
  fence_all(w, i, AT_END, buf);
  memcpy(buf[nin(w)], buf[in], (size_t)room_out_bytes(w, e, 0));
  buf[in] = buf[nin(w)];
  return work_run(w, i, INTERP, buf) == 0 && outputs_right(w, i, buf, a);
}

/* In memory of its own. */
static bool is_right(const struct work *w, int i, struct reply *a) {
  bool right = engines_right(w, i, a) && inplace_right(w, i, a);
  w->x->nbuf = 0;
  return right;
}

/* What cannot be counted stays unknown. */
static void count_work(const struct work *w, int i, struct virtual_counters *v) {
  const struct opcall *call = w->bench->call;
  const struct program *p = &w->entrant[i].program;
  struct vcount c = {0};
  *v = (struct virtual_counters){.known = interp_count(p, &c, NULL) == FVM_OK};
  v->flops = c.flops;
  v->calls = c.calls;
  for (uint32_t k = 0; k < p->nbuf && v->known; k++) {
    int64_t asked = 0;
    v->known =
        fvm_add(c.read[k], c.written[k], &asked) && fvm_add(v->asked_bytes, asked, &v->asked_bytes);
    if ((int)k >= nin(w) + nout(w)) continue; /* scratch stays in a core's cache */
    int64_t touched = MIN(asked, p->buf[k].bytes);
    v->touched_bytes += touched;
    if ((int)k < nin(w) && call->in[k].data) v->constant_bytes += touched;
  }
}

static void refuse(struct reply *a, const struct fvm_error *err) {
  a->outcome = OUTCOME_UNSUPPORTED;
  snprintf(a->reason, sizeof a->reason, "%.150s", err->text);
}

static void check(const struct work *w, int i, struct reply *a) {
  struct fvm_error err = {0};
  enum fvm_status st = verify_program(&w->entrant[i].program, NULL, &err);
  if (!st) st = make_ready(w, i, JIT, &err);
  if (st) {
    refuse(a, &err);
    return;
  }
  a->error = 0;
  a->outcome = is_right(w, i, a) ? OUTCOME_OK : OUTCOME_WRONG;
  if (a->outcome == OUTCOME_OK) count_work(w, i, &a->work);
}

/* ---- requests ---- */

static void serve_one(const struct work *w, int i) {
  struct reply *r = &w->x->reply[i];
  struct fvm_error err = {0};
  enum engine engine = w->x->request == REQUEST_INTERP ? INTERP : JIT;
  *r = (struct reply){.outcome = OUTCOME_OK,
                      .error = r->error,
                      .check_ns = r->check_ns,
                      .repeat = {r->repeat[JIT], r->repeat[INTERP]},
                      .work = r->work};
  if (w->x->request == REQUEST_CHECK)
    check(w, i, r);
  else if (make_ready(w, i, engine, &err))
    refuse(r, &err);
  else
    time_sample(w, i, engine, r);
}

void work_serve(void *work) {
  const struct work *w = work;
  struct exchange *x = w->x;
  for (int k = 0; k < x->n && !x->stop; k++) {
    x->at = k;
    x->turn++;
    serve_one(w, x->order[k]);
  }
  x->at = x->n;
}
