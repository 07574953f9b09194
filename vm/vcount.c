/* Virtual counters: the interpreter's walk on one thread, counting instead of calling. Contract:
 * interp.h. Buffers lie side by side, each on a line of its own; an operand's elements are touched
 * in the order of its row's dimensions, operand after operand. */
#include "interp.h"
#include "lru.h"
#include "trace.h"

struct counter {
  const struct program *p;
  struct vcount *c;
  struct lru lru;
  int level[VCOUNT_LEVELS]; /* of vcount, by size */
  int64_t base[CODE_MAXBUF];
  bool overflow;
};

static void count(struct counter *k, int64_t *sum, int64_t x) {
  if (!fvm_add(*sum, x, sum)) k->overflow = true;
}

static int64_t times(struct counter *k, int64_t a, int64_t b) {
  int64_t r = 0;
  if (!fvm_mul(a, b, &r)) k->overflow = true;
  return r;
}

static void touch_bytes(struct counter *k, int64_t at, int64_t bytes) {
  for (int64_t line = at / LRU_LINE; line <= (at + bytes - 1) / LRU_LINE; line++)
    lru_touch(&k->lru, line);
}

static void touch_dim(struct counter *k, const struct trace_span *s, int d, int64_t at) {
  if (d == s->ndim) {
    touch_bytes(k, at, s->elem);
  } else if (d == s->ndim - 1 && s->stride[d] == s->elem) {
    touch_bytes(k, at, s->extent[d] * s->elem);
  } else {
    for (int64_t i = 0; i < s->extent[d]; i++) touch_dim(k, s, d + 1, at + i * s->stride[d]);
  }
}

static void count_operand(struct counter *k, const struct ukr_operand *o,
                          const struct trace_span *s) {
  int64_t bytes = s->elem;
  if (s->empty) return;
  for (int d = 0; d < s->ndim; d++) bytes = times(k, bytes, s->extent[d]);
  if (o->reads) count(k, &k->c->read[s->buf], bytes);
  if (o->writes) count(k, &k->c->written[s->buf], bytes);
  if (k->lru.nlevel) touch_dim(k, s, 0, k->base[s->buf] + s->at);
}

static bool count_call(struct trace *t, const struct ukr_sig *sig, const int64_t *v,
                       const struct trace_span *span) {
  struct counter *k = t->arg;
  int64_t flops = sig->flop_coef;
  for (int i = 0; i < sig->nflop; i++) flops = times(k, flops, v[sig->flop_arg[i]]);
  count(k, &k->c->flops, flops);
  k->c->calls++;
  for (int i = 0; i < sig->nptr && !k->overflow; i++) count_operand(k, &sig->ptr[i], &span[i]);
  return !k->overflow;
}

/* Levels that are asked for, by size: few, so sorted by insertion. */
static int sort_levels(struct counter *k, int64_t *bytes) {
  int n = 0;
  for (int i = 0; i < VCOUNT_LEVELS; i++) {
    if (k->c->level_bytes[i] <= 0) continue;
    int at = n++;
    for (; at > 0 && bytes[at - 1] > k->c->level_bytes[i]; at--) {
      bytes[at] = bytes[at - 1];
      k->level[at] = k->level[at - 1];
    }
    bytes[at] = k->c->level_bytes[i];
    k->level[at] = i;
  }
  return n;
}

static enum fvm_status prepare(struct counter *k, struct fvm_error *err) {
  int64_t bytes[VCOUNT_LEVELS], at = 0;
  struct vcount fresh = {0};
  for (int i = 0; i < VCOUNT_LEVELS; i++) fresh.level_bytes[i] = k->c->level_bytes[i];
  *k->c = fresh;
  for (uint32_t i = 0; i < k->p->nbuf; i++) {
    k->base[i] = at;
    at += ROUND_UP(k->p->buf[i].bytes, (int64_t)LRU_LINE);
  }
  int n = sort_levels(k, bytes);
  return lru_init(&k->lru, bytes, n, at / LRU_LINE, err);
}

_Static_assert((int)VCOUNT_LEVELS <= (int)LRU_LEVELS, "levels of vcount are levels of lru");

enum fvm_status interp_count(const struct program *p, struct vcount *c, struct fvm_error *err) {
  struct counter k = {.p = p, .c = c};
  enum fvm_status st = prepare(&k, err);
  if (st != FVM_OK) return st;
  struct trace t = {.p = p, .call = count_call, .arg = &k, .budget = INT64_MAX};
  k.overflow |= !trace_run(&t);
  for (int i = 0; i < k.lru.nlevel; i++) c->miss[k.level[i]] = times(&k, k.lru.misses[i], LRU_LINE);
  lru_free(&k.lru);
  return k.overflow ? fvm_fail(err, FVM_EUNSUPPORTED, "program does more than can be counted")
                    : FVM_OK;
}
