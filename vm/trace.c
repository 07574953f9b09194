/* Walking programs without running them. Contract: trace.h. */
#include "trace.h"

static int64_t value(const struct trace *t, uint64_t w) {
  return word_low(w) ? t->r[word_high(w)] : word_high(w);
}

static void set_dims(struct trace_span *s, const struct ukr_operand *o, const int64_t *v) {
  for (int d = 0; d < o->ndim; d++) {
    int64_t n = o->extent[d].arg < 0 ? o->extent[d].lit : v[o->extent[d].arg];
    int64_t stride = o->stride[d].arg < 0 ? o->stride[d].lit : v[o->stride[d].arg];
    s->empty |= n == 0;
    if (n <= 1 || stride == 0) continue;
    s->extent[s->ndim] = n;
    s->stride[s->ndim++] = stride * s->elem;
  }
}

static bool walk_call(struct trace *t, const uint64_t *w) {
  const struct ukr_sig *sig = ukr_sig((enum ukr_id)word_b(*w++));
  struct trace_span span[UKR_MAXPTR];
  int64_t v[UKR_MAXVAL];
  for (int i = 0; i < sig->nptr; i++) {
    span[i] =
        (struct trace_span){.buf = ptr_buf(*w), .at = ptr_off(*w), .elem = sig->ptr[i].elem_bytes};
    for (unsigned n = ptr_nterm(*w++); n; n--, w++)
      span[i].at += t->r[word_low(*w)] * word_high(*w);
  }
  for (int i = 0; i < sig->nval; i++) v[i] = value(t, w[i]);
  for (int i = 0; i < sig->nptr; i++) set_dims(&span[i], &sig->ptr[i], v);
  return t->call(t, sig, v, span);
}

/* Of a par the end of the part that is walked. */
static int64_t limit_of(const struct trace *t, const uint64_t *word) {
  int64_t limit = value(t, word[2]), lo = word_high(word[1]), step = word_high(word[3]);
  if (word_op(*word) != OP_PAR || t->threads <= 1 || limit <= lo) return limit;
  return MIN(limit, lo + CEIL_DIV(CEIL_DIV(limit - lo, step), t->threads) * step);
}

/* Into the body of the loop at w, or behind its end. */
static uint32_t enter(const struct trace *t, uint32_t w) {
  const uint64_t *word = t->p->word + w;
  return t->r[word_a(*word)] < limit_of(t, word) ? w + 4 : word_imm(*word) + 1;
}

static void take_min(struct trace *t, const uint64_t *word) {
  int64_t cap = value(t, word[1]), rest = value(t, word[2]) - t->r[word_b(*word)];
  t->r[word_a(*word)] = MIN(cap, rest);
}

bool trace_run(struct trace *t) {
  for (uint32_t w = 0;;) {
    const uint64_t *word = t->p->word + w;
    if (t->budget-- <= 0) return false;
    switch (word_op(*word)) {
    case OP_LOOP:
    case OP_PAR:
      t->r[word_a(*word)] = word_high(word[1]);
      w = enter(t, w);
      break;
    case OP_END:
      w = word_imm(*word);
      t->r[word_a(t->p->word[w])] += word_high(t->p->word[w + 3]);
      w = enter(t, w);
      break;
    case OP_MIN:
      take_min(t, word);
      w += 3;
      break;
    case OP_UKR:
      if (!walk_call(t, word)) return false;
      w += code_length(t->p, w);
      break;
    default:
      return true;
    }
  }
}
