/* What runs in the sandbox: checking a candidate, and what the race asks for. */
#include "measure_work.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../vm/verify.h"

enum { POISON = 0xa5 };

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
  if (!s->ready || !s->out || !s->out_bytes || !s->belt || !s->counters || !room_make(w, s) ||
      pool_new(threads, &s->pool, NULL))
    _exit(1);
  time_belts(w, s);
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
    time_ride(&s->belt[i], i, m->bytes, r);
  }
  for (int k = 0; k < nout(w); k++) {
    r->buf[nin(w) + k] = s->out[k];
    if (p->buf[nin(w) + k].bytes > room_out_bytes(w, e, k))
      return fvm_fail(err, FVM_EUNSUPPORTED, "program asks for too large an output %d", k);
  }
  room_scratch(w, e, s->scratch, r->buf);
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

int work_run(const struct work *w, int i, enum engine engine) {
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
    int want = room_image(w, true, k, room_layout_out(e, k), &err);
    int64_t bytes = room_out_bytes(w, e, k), n = bytes / (int64_t)fvm_dtype_bytes(t->dtype);
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
  if (work_run(w, i, INTERP) == 0)
    return outputs_right(w, &w->entrant[i], w->state->out, error, why, size);
  snprintf(why, size, "a micro-kernel refused the data: an index out of range");
  return false;
}

/* Compiled code against what the interpreter has just left in the outputs, bit for bit. */
static bool jit_right(const struct work *w, int i, char *why, size_t size) {
  char *kept[LABEL_MAXIO + CODE_MAXBUF];
  for (int k = 0; k < nout(w); k++) {
    kept[k] = fvm_alloc((size_t)MAX(room_out_bytes(w, &w->entrant[i], k), 1), 1);
    if (!kept[k]) _exit(1);
    memcpy(kept[k], w->state->out[k], (size_t)room_out_bytes(w, &w->entrant[i], k));
  }
  poison(w);
  bool right = work_run(w, i, JIT) == 0;
  for (int k = 0; k < nout(w); k++) {
    int64_t n = room_out_bytes(w, &w->entrant[i], k);
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
  if (r->image[in] < 0 || w->state->image.v[r->image[in]].bytes != room_out_bytes(w, e, 0)) {
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
  bool right = work_run(w, i, INTERP) == 0 && outputs_right(w, e, w->state->out, error, why, size);
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

/* ---- requests ---- */

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
  time_sample(w, i, w->x->request == REQUEST_INTERP ? INTERP : JIT, r);
}

void work_serve(void *work) {
  const struct work *w = work;
  struct exchange *x = w->x;
  int64_t before = time_sentinel();
  for (int k = 0; k < x->n && !x->stop; k++) {
    x->at = k;
    x->turn++;
    serve_one(w, x->order[k]);
  }
  x->at = x->n;
  int64_t after = time_sentinel();
  x->sentinel_ns = MAX(before, after);
}
