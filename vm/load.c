/* The load of a team's busiest thread. Contract: interp.h.
 *
 * Two walks. The first one counts work, bytes and runs of bytes. The second one looks where the
 * bytes come from, in an LRU cache, and does so for lines that are as long, and for as small a
 * sample of them, as makes it short: of the lines that a hash picks, one in 2^skip, the reuse
 * distances are 2^skip times those among themselves (Waldspurger et al., SHARDS, FAST 2015). */
#include "interp.h"
#include "lru.h"
#include "trace.h"

#include <string.h>

enum { TOUCHES = 4000, MAX_SHIFT = 6, MAX_SKIP = 8 };

struct loader {
  const struct program *p;
  struct load *l;
  struct lru lru;
  int shift, skip; /* lines of LRU_LINE << shift bytes, one in 1 << skip of them */
  int64_t runs;    /* of bytes side by side */
  int64_t base[CODE_MAXBUF];
  int level[VCOUNT_LEVELS]; /* of lru: index into load's */
  uint8_t *seen;            /* a bit a line */
  int64_t line, times;      /* touched last, so often in a row; not counted yet */
  unsigned buf;
  bool is_sampled;
  bool overflow;
};

static int64_t sum(struct loader *k, int64_t a, int64_t b) {
  int64_t r = 0;
  if (!fvm_add(a, b, &r)) k->overflow = true;
  return r;
}

static int64_t times(struct loader *k, int64_t a, int64_t b) {
  int64_t r = 0;
  if (!fvm_mul(a, b, &r)) k->overflow = true;
  return r;
}

/* The smallest stride innermost: runs are as long as they can be. */
static struct trace_span sorted(const struct trace_span *span) {
  struct trace_span s = *span;
  for (int i = 1; i < s.ndim; i++)
    for (int d = i; d > 0 && s.stride[d - 1] < s.stride[d]; d--) {
      int64_t extent = s.extent[d], stride = s.stride[d];
      s.extent[d] = s.extent[d - 1], s.stride[d] = s.stride[d - 1];
      s.extent[d - 1] = extent, s.stride[d - 1] = stride;
    }
  return s;
}

/* ---- the first walk ---- */

static void count_span(struct loader *k, const struct trace_span *span) {
  struct trace_span s = sorted(span);
  int64_t bytes = s.elem, runs = 1;
  for (int d = 0; d < s.ndim; d++) {
    bytes = times(k, bytes, s.extent[d]);
    if (d < s.ndim - 1 || s.stride[d] != s.elem) runs = times(k, runs, s.extent[d]);
  }
  k->l->asked = sum(k, k->l->asked, bytes);
  k->runs = sum(k, k->runs, runs);
}

/* A tile's edge costs whole vectors. */
static int64_t lanes(const struct ukr_sig *sig, const int64_t *v, int arg) {
  enum { VECTOR = 16 };
  int64_t most = sig->val[arg].max;
  return most % VECTOR ? v[arg] : MIN(ROUND_UP(v[arg], (int64_t)VECTOR), most);
}

static bool count_call(struct trace *t, const struct ukr_sig *sig, const int64_t *v,
                       const struct trace_span *span) {
  struct loader *k = t->arg;
  int id = (int)(sig - ukr_sig((enum ukr_id)0));
  int64_t flops = sig->flop_coef;
  for (int i = 0; i < sig->nflop; i++) flops = times(k, flops, lanes(sig, v, sig->flop_arg[i]));
  k->l->flops[id] = sum(k, k->l->flops[id], flops);
  k->l->calls[id]++;
  for (int i = 0; i < sig->nptr; i++)
    if (!span[i].empty) count_span(k, &span[i]);
  return !k->overflow;
}

/* ---- the second walk ---- */

/* n touches of a line of which each moves it alike. A line stands for as many as the sample leaves
 * out. */
static void count_touches(struct loader *k, int64_t n) {
  int64_t bytes = (int64_t)LRU_LINE << (k->shift + k->skip), before[LRU_LEVELS];
  memcpy(before, k->lru.misses, sizeof before);
  lru_touch(&k->lru, k->line);
  for (int i = 0; i < k->lru.nlevel; i++)
    if (k->lru.misses[i] > before[i]) k->l->miss[k->level[i]] += n * bytes;
  if (!(k->seen[k->line / 8] >> k->line % 8 & 1)) k->l->first[k->buf] += bytes;
  k->seen[k->line / 8] = (uint8_t)(k->seen[k->line / 8] | 1 << k->line % 8);
}

/* Touches in a row: all but the first one find the line in front. */
static void flush(struct loader *k) {
  if (!k->is_sampled) return;
  count_touches(k, 1);
  if (k->times > 1) count_touches(k, k->times - 1);
}

static inline void touch_line(struct loader *k, unsigned buf, int64_t line) {
  if (line == k->line) {
    k->times++;
    return;
  }
  flush(k);
  uint64_t h = (uint64_t)line * 0x9e3779b97f4a7c15u >> 40;
  k->is_sampled = !(h & (((uint64_t)1 << k->skip) - 1));
  k->line = line;
  k->buf = buf;
  k->times = 1;
}

static inline void touch(struct loader *k, unsigned buf, int64_t at, int64_t bytes) {
  int shift = k->shift + 6;
  _Static_assert(LRU_LINE == 1 << 6, "lines of 64 bytes");
  for (int64_t line = at >> shift; line <= (at + bytes - 1) >> shift; line++)
    touch_line(k, buf, line);
}

/* Elements that touch the line in which the one at `at` ends, behind it, and no other line. */
static int64_t same_line(const struct loader *k, const struct trace_span *s, int64_t stride,
                         int64_t at) {
  int64_t line = (int64_t)LRU_LINE << k->shift;
  if (stride < s->elem || stride >= line) return 0;
  return (line - 1 - ((at + s->elem - 1) & (line - 1))) / stride;
}

static void touch_dim(struct loader *k, const struct trace_span *s, int d, int64_t at) {
  int64_t stride = s->stride[d];
  if (d < s->ndim - 1) {
    for (int64_t i = 0; i < s->extent[d]; i++) touch_dim(k, s, d + 1, at + i * stride);
    return;
  }
  for (int64_t i = 0; i < s->extent[d]; i++) {
    int64_t here = at + i * stride, more = MIN(same_line(k, s, stride, here), s->extent[d] - 1 - i);
    touch(k, s->buf, here, s->elem);
    k->times += more;
    i += more;
  }
}

static bool touch_call(struct trace *t, const struct ukr_sig *sig, const int64_t *v,
                       const struct trace_span *span) {
  struct loader *k = t->arg;
  (void)v;
  for (int i = 0; i < sig->nptr; i++) {
    if (span[i].empty) continue;
    struct trace_span s = sorted(&span[i]);
    if (s.ndim && s.stride[s.ndim - 1] == s.elem) s.elem *= s.extent[--s.ndim]; /* one run */
    if (s.ndim)
      touch_dim(k, &s, 0, k->base[s.buf] + s.at);
    else
      touch(k, s.buf, k->base[s.buf] + s.at, s.elem);
  }
  return true;
}

/* Lines as long as the runs are on average, or as the number of lines asks for; then fewer. */
static void choose_grain(struct loader *k) {
  int64_t most = (int64_t)TOUCHES * LRU_LINE, asked = k->l->asked, touches;
  while (k->shift < MAX_SHIFT && asked >> k->shift > most) k->shift++;
  touches = MAX(k->runs, asked >> (k->shift + 6));
  while (k->skip < MAX_SKIP && touches >> k->skip > TOUCHES) k->skip++;
}

static enum fvm_status prepare(struct loader *k, const int64_t *level_bytes, size_t *seen_bytes,
                               struct fvm_error *err) {
  int64_t bytes[VCOUNT_LEVELS], at = 0;
  choose_grain(k);
  int64_t line = (int64_t)LRU_LINE << k->shift;
  for (uint32_t i = 0; i < k->p->nbuf; i++) {
    k->base[i] = at;
    at += ROUND_UP(k->p->buf[i].bytes, line);
  }
  int n = 0;
  for (int i = 0; i < VCOUNT_LEVELS; i++) {
    if (level_bytes[i] <= 0) continue;
    k->level[n] = i;
    bytes[n] = level_bytes[i] >> (k->shift + k->skip);
    if (n) bytes[n] = MAX(bytes[n], bytes[n - 1]);
    n++;
  }
  *seen_bytes = (size_t)(at / line / 8 + 1);
  k->seen = fvm_alloc(*seen_bytes, 1);
  return k->seen ? lru_init(&k->lru, bytes, n, at / line + 1, err) : fvm_nomem(err);
}

enum fvm_status interp_load(const struct program *p, int threads,
                            const int64_t level_bytes[VCOUNT_LEVELS], struct load *l,
                            struct fvm_error *err) {
  struct loader k = {.p = p, .l = l, .line = -1};
  struct trace t = {.p = p, .call = count_call, .arg = &k, .budget = INT64_MAX, .threads = threads};
  size_t seen_bytes = 0;
  *l = (struct load){0};
  if (!trace_run(&t))
    return fvm_fail(err, FVM_EUNSUPPORTED, "program does more than can be counted");
  enum fvm_status st = prepare(&k, level_bytes, &seen_bytes, err);
  t = (struct trace){
      .p = p, .call = touch_call, .arg = &k, .budget = INT64_MAX, .threads = threads};
  if (!st) trace_run(&t);
  if (!st) flush(&k);
  if (k.seen) fvm_free(k.seen, seen_bytes, 1);
  lru_free(&k.lru);
  for (uint32_t w = 0, len; (len = code_length(p, w)) != 0; w += len)
    l->pars += word_op(p->word[w]) == OP_PAR;
  return st;
}
