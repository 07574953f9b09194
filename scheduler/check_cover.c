/* Which bytes a program writes, by listing every call: one bit a byte. */
#include "check_impl.h"

#include "../vm/trace.h"

/* Calls and pieces of rows; the largest programs of real models need some ten millions. */
static const int64_t most_work = (int64_t)1 << 31;

struct cover {
  const struct program *p;
  uint64_t *bits[CODE_MAXBUF]; /* NULL: not a buffer to fill */
  int64_t work;
};

static size_t words_of(const struct buffer *b) { return (size_t)CEIL_DIV(b->bytes, 64); }

static void set_bits(uint64_t *w, int64_t from, int64_t to) {
  uint64_t first = ~(uint64_t)0 << (from & 63), last = ~(uint64_t)0 >> (63 - ((to - 1) & 63));
  int64_t i = from >> 6, end = (to - 1) >> 6;
  if (i == end) {
    w[i] |= first & last;
    return;
  }
  w[i++] |= first;
  while (i < end) w[i++] = ~(uint64_t)0;
  w[end] |= last;
}

static void fill(struct cover *c, const struct trace_span *s, int d, int64_t at) {
  if (d < s->ndim && (d < s->ndim - 1 || s->stride[d] != s->elem)) {
    for (int64_t i = 0; i < s->extent[d] && c->work < most_work; i++)
      fill(c, s, d + 1, at + i * s->stride[d]);
    return;
  }
  int64_t bytes = s->elem * (d < s->ndim ? s->extent[d] : 1);
  c->work += 1 + bytes / 4096;
  set_bits(c->bits[s->buf], at, at + bytes);
}

static bool on_call(struct trace *t, const struct ukr_sig *sig, const int64_t *v,
                    const struct trace_span *span) {
  struct cover *c = t->arg;
  (void)v;
  for (int i = 0; i < sig->nptr; i++)
    if (sig->ptr[i].writes && !span[i].empty && c->bits[span[i].buf])
      fill(c, &span[i], 0, span[i].at);
  return c->work < most_work;
}

static bool is_full(const struct buffer *b, const uint64_t *bits) {
  for (int64_t i = 0; i < b->bytes / 64; i++)
    if (~bits[i]) return false;
  return b->bytes % 64 == 0 || bits[b->bytes / 64] == ~(~(uint64_t)0 << (b->bytes % 64));
}

static bool start(struct cover *c) {
  for (uint32_t i = 0; i < c->p->nbuf; i++) {
    const struct buffer *b = &c->p->buf[i];
    if (b->kind != BUF_OUT || b->bytes == 0) continue;
    c->bits[i] = fvm_alloc(words_of(b), sizeof(uint64_t));
    if (!c->bits[i]) return false;
  }
  return true;
}

enum fvm_status check_cover(const struct program *p, uint64_t *filled, struct fvm_error *err) {
  struct cover c = {.p = p};
  struct trace t = {.p = p, .call = on_call, .arg = &c, .budget = most_work};
  enum fvm_status st = start(&c) ? FVM_OK : fvm_nomem(err);
  if (st == FVM_OK && !trace_run(&t))
    st = fvm_fail(err, FVM_EUNSUPPORTED, "does too much to be checked");
  *filled = 0;
  for (uint32_t i = 0; i < p->nbuf; i++) {
    if (!c.bits[i]) continue;
    if (st == FVM_OK && is_full(&p->buf[i], c.bits[i])) *filled |= (uint64_t)1 << i;
    fvm_free(c.bits[i], words_of(&p->buf[i]), sizeof(uint64_t));
  }
  return st;
}
