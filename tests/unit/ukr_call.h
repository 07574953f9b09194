/* What tests of micro-kernels share: random numbers, a call's arguments, and operands between pages
 * without access. All that is known about operands comes from ukr.def. */
#ifndef FVM_UKR_CALL_H
#define FVM_UKR_CALL_H

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../kernels/ukr.h"
#include "unit.h"

/* ---- random numbers ---- */

static uint64_t state = 88172645463325252u;

/* FLUIDVM_SEED=S draws other numbers. */
static inline void seed_draws(void) {
  const char *e = getenv("FLUIDVM_SEED");
  if (e) state += strtoull(e, NULL, 0) * 0x9e3779b97f4a7c15u;
  if (state == 0) state = 1;
}

static inline uint64_t draw(void) {
  state ^= state << 13;
  state ^= state >> 7;
  return state ^= state << 17;
}

static inline int64_t below(int64_t n) { return (int64_t)((draw() >> 8) % (uint64_t)n); }

/* ---- arguments ---- */

struct call {
  const struct ukr_sig *sig;
  int64_t v[UKR_MAXVAL];
  int same[UKR_MAXPTR]; /* operand whose memory this one shares; itself when it has its own */
};

static inline int64_t *arg(struct call *c, const char *name) {
  for (int i = 0; i < c->sig->nval; i++)
    if (!strcmp(c->sig->val[i].name, name)) return &c->v[i];
  ck_abort_msg("%s has no %s", c->sig->name, name);
}

static inline bool has_arg(struct call *c, const char *name) {
  for (int i = 0; i < c->sig->nval; i++)
    if (!strcmp(c->sig->val[i].name, name)) return true;
  return false;
}

static inline bool starts(const char *s, const char *prefix) {
  return !strncmp(s, prefix, strlen(prefix));
}

static inline int64_t float_bits(float f) {
  uint32_t u;
  memcpy(&u, &f, 4);
  return u;
}

static inline char *describe(const struct call *c, enum isa isa) {
  static char text[512];
  int at = snprintf(text, sizeof text, "%s on %s:", c->sig->name, isa_name(isa));
  for (int i = 0; i < c->sig->nval && at < 480; i++)
    at += snprintf(text + at, sizeof text - (size_t)at, " %s=%lld", c->sig->val[i].name,
                   (long long)c->v[i]);
  for (int k = 0; k < c->sig->nptr && at < 480; k++)
    if (c->same[k] != k)
      at += snprintf(text + at, sizeof text - (size_t)at, " [%s in place]", c->sig->ptr[k].name);
  return text;
}

/* ---- memory ---- */

enum { AREA = 1 << 20, AREAS = 2 * UKR_MAXPTR };
static unsigned char *area[AREAS];

static inline void make_areas(void) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  for (int i = 0; i < AREAS; i++) {
    unsigned char *p = mmap(NULL, AREA + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert(p != MAP_FAILED);
    ck_assert_int_eq(mprotect(p + page, AREA, PROT_READ | PROT_WRITE), 0);
    area[i] = p + page;
  }
}

static inline int64_t factor(const struct call *c, struct ukr_factor f) {
  return f.arg < 0 ? f.lit : c->v[f.arg];
}

/* From the first to the last byte; 0 when an extent is 0. */
static inline int64_t span(const struct call *c, const struct ukr_operand *o) {
  int64_t last = 0;
  for (int d = 0; d < o->ndim; d++)
    if (factor(c, o->extent[d]) == 0) return 0;
  for (int d = 0; d < o->ndim; d++) last += (factor(c, o->extent[d]) - 1) * factor(c, o->stride[d]);
  return (last + 1) * o->elem_bytes;
}

/* Set the bytes of the footprint in a map of its span. */
static inline void mark(const struct call *c, const struct ukr_operand *o, unsigned char *map,
                        int d, int64_t at) {
  if (d == o->ndim) {
    memset(map + at * o->elem_bytes, 1, o->elem_bytes);
    return;
  }
  for (int64_t i = 0; i < factor(c, o->extent[d]); i++)
    mark(c, o, map, d + 1, at + i * factor(c, o->stride[d]));
}

#endif
