/* That the weights of a plan are the model's constants in their layouts, with zeros between them,
 * and that those which a run reads as a stream come first. */
#include "check_impl.h"

#include <inttypes.h>
#include <string.h>

#include "../vm/interp.h"

static enum fvm_status bad_constant(const struct checker *k, const struct plan_const *c,
                                    const char *what) {
  return fvm_fail(k->err, FVM_EFORMAT, "constant %.100s: %s", plan_string(k->p, c->name), what);
}

static int threads_of(const struct checker *k) {
  enum { FEW = 16 << 20 }; /* bytes for which more threads do not pay */
  const struct target *t = k->with->target;
  bool many = t && t->nthreads && k->p->section[PLAN_WEIGHTS].bytes > FEW;
  return many ? t->threads[t->nthreads - 1] : 1;
}

/* ---- values ---------------------------------------------------------------------------------- */
static enum fvm_status convert(const struct checker *k, const struct tensor *t, enum layout layout,
                               struct pool *pool, void *out) {
  int threads = threads_of(k);
  struct arena a = {0};
  struct program p;
  enum fvm_status st = layout_convert(t, LAYOUT_ROW, layout, &a, &p, k->err);
  if (st == FVM_OK) {
    void *buf[CODE_MAXBUF] = {(void *)(uintptr_t)t->data, out};
    struct run run = {&p, ukr_table(cpu_isa()), buf};
    if (pool_run(pool, threads, interp_run, &run) != 0)
      st = fvm_fail(k->err, FVM_EFAIL, "a constant cannot be converted");
  }
  arena_free(&a);
  return st;
}

static enum fvm_status check_value(const struct check_match *m, uint32_t i, struct pool *pool) {
  const struct checker *k = m->k;
  const struct plan_const *c = &k->p->konst[i];
  const struct tensor *t = &m->g->tensor.v[m->const_tensor[i]].t;
  const void *have = k->p->weights + c->offset, *want = t->data;
  void *made = NULL;
  enum fvm_status st = FVM_OK;
  if (c->layout != LAYOUT_ROW && c->bytes) {
    want = made = fvm_alloc((size_t)c->bytes, 1);
    st = made ? convert(k, t, (enum layout)c->layout, pool, made) : fvm_nomem(k->err);
  }
  if (st == FVM_EUNSUPPORTED) st = bad_constant(k, c, "there is no such layout of it");
  if (st == FVM_OK && c->bytes && memcmp(have, want, (size_t)c->bytes) != 0)
    st = bad_constant(k, c, "value differs from the model's");
  fvm_free(made, (size_t)c->bytes, 1);
  return st;
}

/* Constants that are equal share bytes: only the first of a place and layout is converted when the
 * tensors are the same. */
static bool was_checked(const struct check_match *m, uint32_t i) {
  const struct plan_const *c = &m->k->p->konst[i];
  for (int r = m->first_const[m->const_tensor[i]]; r >= 0 && r < (int)i; r = m->next_const[r]) {
    const struct plan_const *d = &m->k->p->konst[r];
    if (d->offset == c->offset && d->layout == c->layout) return true;
  }
  return false;
}

static enum fvm_status check_all_values(const struct check_match *m) {
  struct pool *pool;
  enum fvm_status st = pool_new(threads_of(m->k), &pool, m->k->err);
  if (st != FVM_OK) return st;
  for (uint32_t i = 0; i < m->k->p->nconst && st == FVM_OK; i++)
    if (!was_checked(m, i)) st = check_value(m, i, pool);
  pool_free(pool);
  return st;
}

/* ---- places ---------------------------------------------------------------------------------- */
/* End of the constant that begins at or spans an offset; 0: none does. *next: where the next one
 * begins. */
static uint64_t constant_at(const struct fvm_plan *p, uint64_t at, uint64_t *next) {
  uint64_t end = 0;
  for (uint32_t i = 0; i < p->nconst; i++) {
    const struct plan_const *c = &p->konst[i];
    if (c->offset <= at && at < c->offset + c->bytes) end = MAX(end, c->offset + c->bytes);
    if (c->offset > at && c->bytes) *next = MIN(*next, c->offset);
  }
  return end;
}

static enum fvm_status check_gaps(const struct checker *k) {
  const struct fvm_plan *p = k->p;
  uint64_t bytes = p->section[PLAN_WEIGHTS].bytes;
  for (uint64_t at = 0; at < bytes;) {
    uint64_t next = bytes, end = constant_at(p, at, &next);
    for (uint64_t i = at; !end && i < next; i++)
      if (p->weights[i])
        return fvm_fail(k->err, FVM_EFORMAT, "weights: byte %" PRIu64 " belongs to no constant", i);
    at = end ? end : next;
  }
  return FVM_OK;
}

/* Whether a step reads no more of its buffer than some rows. */
static bool picks_rows(const struct check_match *m, uint32_t step, uint32_t i) {
  const char *name = plan_string(m->k->p, m->k->p->step[step].name);
  int node = names_find_part(&m->node, name, plan_once(name, strlen(name)));
  return node >= 0 && i < m->g->node.v[node].in.n && node_picks_rows(&m->g->node.v[node], (int)i);
}

/* The end of the constant that a bind stands in. */
static uint64_t end_at(const struct fvm_plan *p, uint64_t offset) {
  uint64_t end = 0;
  for (uint32_t i = 0; i < p->nconst; i++)
    if (p->konst[i].offset == offset) end = MAX(end, p->konst[i].offset + p->konst[i].bytes);
  return end;
}

static enum fvm_status check_stream(const struct check_match *m) {
  const struct fvm_plan *p = m->k->p;
  uint64_t end = 0;
  for (uint32_t s = 0; s < p->nstep; s++)
    for (uint32_t i = 0; i < p->program[p->step[s].program].nbuf; i++) {
      const struct plan_bind *b = &p->bind[p->step[s].first_bind + i];
      if (b->space == SPACE_WEIGHTS && !picks_rows(m, s, i)) end = MAX(end, end_at(p, b->offset));
    }
  if (end == p->meta->stream_bytes) return FVM_OK;
  return fvm_fail(m->k->err, FVM_EFORMAT,
                  "weights: a run reads the first %" PRIu64 " bytes, not %" PRIu64, end,
                  p->meta->stream_bytes);
}

enum fvm_status check_weights(const struct check_match *m) {
  enum fvm_status st = check_all_values(m);
  if (st == FVM_OK) st = check_gaps(m->k);
  return st == FVM_OK ? check_stream(m) : st;
}
