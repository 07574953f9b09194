/* The last part of loading a plan: every step's buffers lie where they may, and its program is
 * proved safe for that placement. Rules: struct plan_bind in plan.h. */
#include "interp.h"
#include "plan.h"
#include "verify.h"

#include <inttypes.h>

/* A step under inspection. */
struct placed {
  const struct program *program;
  const struct plan_bind *bind;
  uint32_t threads;
  int alias[CODE_MAXBUF];
};

static bool is_scratch(const struct buffer *b) {
  return b->kind == BUF_SCRATCH || b->kind == BUF_SHARED;
}

/* Bytes that buffer i takes in its space. */
static uint64_t taken(const struct placed *s, uint32_t i) {
  const struct buffer *b = &s->program->buf[i];
  if (b->kind != BUF_SCRATCH) return (uint64_t)b->bytes;
  return (uint64_t)scratch_stride(b->bytes) * s->threads;
}

static const char *wrong_place(const struct fvm_plan *p, const struct placed *s, uint32_t i) {
  const struct buffer *b = &s->program->buf[i];
  const struct plan_bind *at = &s->bind[i];
  if (at->space > SPACE_NONE) return "is bound to no known space";
  if (b->bytes != 0 && is_scratch(b) != (at->space == SPACE_SCRATCH))
    return "mixes scratch and data";
  if (b->kind == BUF_OUT && (at->space == SPACE_WEIGHTS || at->space == SPACE_INPUT))
    return "would write what is read only";
  if (at->space == SPACE_SCRATCH && at->offset % FVM_ALIGN != 0) return "is not aligned";
  if (!plan_inside(p, at->space, at->index, at->offset, taken(s, i))) return "leaves its space";
  if (b->kind == BUF_OUT && b->bytes && at->space == SPACE_OUTPUT &&
      at->offset < plan_given(p, at->index))
    return "would write over a state";
  return NULL;
}

static bool overlap(const struct placed *s, uint32_t i, uint32_t j) {
  const struct plan_bind *a = &s->bind[i], *b = &s->bind[j];
  if (taken(s, i) == 0 || taken(s, j) == 0) return false;
  return a->space == b->space && a->index == b->index && a->offset < b->offset + taken(s, j) &&
         b->offset < a->offset + taken(s, i);
}

static bool same_place(const struct placed *s, uint32_t i, uint32_t j) {
  return s->bind[i].offset == s->bind[j].offset && taken(s, i) == taken(s, j);
}

/* Whether i and j may lie as they do; equal places get the same alias. */
static bool relate(struct placed *s, uint32_t i, uint32_t j) {
  const struct buffer *a = &s->program->buf[i], *b = &s->program->buf[j];
  if (!overlap(s, i, j)) return true;
  if (is_scratch(a)) return false; /* both are, by wrong_place */
  if (same_place(s, i, j)) {
    s->alias[i] = s->alias[j];
    return true;
  }
  return a->kind == BUF_IN && b->kind == BUF_IN;
}

static enum fvm_status place(const struct fvm_plan *p, struct placed *s, int64_t *scratch,
                             struct fvm_error *err) {
  for (uint32_t i = 0; i < s->program->nbuf; i++) {
    const char *wrong = wrong_place(p, s, i);
    if (wrong) return fvm_fail(err, FVM_EFORMAT, "buffer %u %s", i, wrong);
    if (s->bind[i].space == SPACE_SCRATCH)
      *scratch = MAX(*scratch, (int64_t)(s->bind[i].offset + taken(s, i)));
    s->alias[i] = (int)i;
    for (uint32_t j = 0; j < i; j++)
      if (!relate(s, i, j)) return fvm_fail(err, FVM_EFORMAT, "buffers %u and %u overlap", j, i);
  }
  return FVM_OK;
}

enum fvm_status plan_verify_steps(struct fvm_plan *p, struct fvm_error *err) {
  for (uint32_t i = 0; i < p->nstep; i++) {
    const struct plan_step *step = &p->step[i];
    struct placed s = {&p->program[step->program], p->bind + step->first_bind, step->threads, {0}};
    enum fvm_status st = place(p, &s, &p->scratch_bytes, err);
    if (st == FVM_OK) st = verify_program(s.program, s.alias, err);
    if (st != FVM_OK) {
      if (err) err->code = FVM_EFORMAT;
      fvm_prefix(err, "step %u (%.100s)", i, plan_string(p, step->name));
      return FVM_EFORMAT;
    }
  }
  return FVM_OK;
}
