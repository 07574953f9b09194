/* Virtual counters: the interpreter's walk on one thread, counting instead of calling. Contract:
 * interp.h. Buffers lie side by side, each on a line of its own; an operand's elements are touched
 * in the order of its row's dimensions, operand after operand. */
#include "interp.h"
#include "lru.h"

struct counter {
  const struct program *p;
  struct vcount *c;
  struct lru lru;
  int level[VCOUNT_LEVELS]; /* of vcount, by size */
  int64_t base[CODE_MAXBUF];
  int64_t r[CODE_MAXREG];
  bool overflow;
};

static int64_t value(const struct counter *k, uint64_t w) {
  return word_low(w) ? k->r[word_high(w)] : word_high(w);
}

static void count(struct counter *k, int64_t *sum, int64_t x) {
  if (!fvm_add(*sum, x, sum)) k->overflow = true;
}

static int64_t times(struct counter *k, int64_t a, int64_t b) {
  int64_t r = 0;
  if (!fvm_mul(a, b, &r)) k->overflow = true;
  return r;
}

/* ---- what an operand touches -------------------------------------------------------------------
 */
struct span {
  int ndim;
  int64_t elem, extent[UKR_MAXDIM], stride[UKR_MAXDIM]; /* bytes */
};

static void touch_bytes(struct counter *k, int64_t at, int64_t bytes) {
  for (int64_t line = at / LRU_LINE; line <= (at + bytes - 1) / LRU_LINE; line++)
    lru_touch(&k->lru, line);
}

static void touch_dim(struct counter *k, const struct span *s, int d, int64_t at) {
  if (d == s->ndim) {
    touch_bytes(k, at, s->elem);
  } else if (d == s->ndim - 1 && s->stride[d] == s->elem) {
    touch_bytes(k, at, s->extent[d] * s->elem);
  } else {
    for (int64_t i = 0; i < s->extent[d]; i++) touch_dim(k, s, d + 1, at + i * s->stride[d]);
  }
}

static int64_t factor(const struct counter *k, const uint64_t *val, struct ukr_factor f) {
  return f.arg < 0 ? f.lit : value(k, val[f.arg]);
}

/* Dimensions that repeat one element count once. Returns the bytes touched. */
static int64_t span_of(struct counter *k, const struct ukr_operand *o, const uint64_t *val,
                       struct span *s) {
  int64_t bytes = o->elem_bytes;
  s->ndim = 0;
  s->elem = o->elem_bytes;
  for (int d = 0; d < o->ndim; d++) {
    int64_t n = factor(k, val, o->extent[d]), stride = factor(k, val, o->stride[d]);
    if (n == 0) return 0;
    if (n == 1 || stride == 0) continue;
    bytes = times(k, bytes, n);
    s->extent[s->ndim] = n;
    s->stride[s->ndim++] = stride * s->elem;
  }
  return bytes;
}

static const uint64_t *count_operand(struct counter *k, const struct ukr_operand *o,
                                     const uint64_t *ptr, const uint64_t *val) {
  struct span s;
  unsigned buf = ptr_buf(*ptr), n = ptr_nterm(*ptr);
  int64_t at = k->base[buf] + ptr_off(*ptr++), bytes = span_of(k, o, val, &s);
  for (; n; n--, ptr++) at += k->r[word_low(*ptr)] * word_high(*ptr);
  if (o->reads) count(k, &k->c->read[buf], bytes);
  if (o->writes) count(k, &k->c->written[buf], bytes);
  if (bytes && k->lru.nlevel) touch_dim(k, &s, 0, at);
  return ptr;
}

static void count_call(struct counter *k, const uint64_t *w) {
  const struct ukr_sig *sig = ukr_sig((enum ukr_id)word_b(*w++));
  const uint64_t *val = w;
  for (int i = 0; i < sig->nptr; i++) val += 1 + ptr_nterm(*val);
  for (int i = 0; i < sig->nptr; i++) w = count_operand(k, &sig->ptr[i], w, val);
  int64_t flops = sig->flop_coef;
  for (int i = 0; i < sig->nflop; i++) flops = times(k, flops, value(k, val[sig->flop_arg[i]]));
  count(k, &k->c->flops, flops);
  k->c->calls++;
}

/* ---- the walk ----------------------------------------------------------------------------------
 */
/* Into the body of the loop at w, or behind its end. */
static uint32_t enter(const struct counter *k, uint32_t w) {
  const uint64_t *word = k->p->word + w;
  return k->r[word_a(*word)] < value(k, word[2]) ? w + 4 : word_imm(*word) + 1;
}

static uint32_t count_step(struct counter *k, uint32_t w) {
  const uint64_t *word = k->p->word + w;
  int64_t cap, rest;
  switch (word_op(*word)) {
  case OP_LOOP:
  case OP_PAR:
    k->r[word_a(*word)] = word_high(word[1]);
    return enter(k, w);
  case OP_END:
    w = word_imm(*word);
    k->r[word_a(k->p->word[w])] += word_high(k->p->word[w + 3]);
    return enter(k, w);
  case OP_MIN:
    cap = value(k, word[1]);
    rest = value(k, word[2]) - k->r[word_b(*word)];
    k->r[word_a(*word)] = MIN(cap, rest);
    return w + 3;
  default:
    count_call(k, word);
    return w + code_length(k->p, w);
  }
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
  for (uint32_t w = 0; word_op(p->word[w]) != OP_HALT && !k.overflow;) w = count_step(&k, w);
  for (int i = 0; i < k.lru.nlevel; i++) c->miss[k.level[i]] = times(&k, k.lru.misses[i], LRU_LINE);
  lru_free(&k.lru);
  return k.overflow ? fvm_fail(err, FVM_EUNSUPPORTED, "program does more than can be counted")
                    : FVM_OK;
}
