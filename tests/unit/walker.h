/* An enumerating walker, the oracle for the verifier and the virtual counters: it runs a program on
 * one thread and lists every element that every operand touches. Slow, and simple enough to be
 * right. Include after unit.h. */
#ifndef FVM_WALKER_H
#define FVM_WALKER_H

#include "../../kernels/ukr.h"
#include "../../vm/code.h"

struct touch {
  uint32_t word; /* of the call */
  unsigned buf;
  bool writes;
  int64_t at, bytes;
  int64_t par, iteration; /* how many pars were opened before (-1: outside), register's value */
};
struct walker {
  const struct program *p;
  void (*touch)(struct walker *k, const struct touch *t);
  void *arg;
  int64_t r[CODE_MAXREG];
  int64_t pars, par, iteration;
  int64_t budget; /* ends the walk when it falls below 0 */
  bool negative;  /* a min gave a negative value, or an argument left its range */
};

static int64_t walker_value(const struct walker *k, uint64_t w) {
  return word_low(w) ? k->r[word_high(w)] : word_high(w);
}

static int64_t walker_factor(const struct walker *k, const uint64_t *val, struct ukr_factor f) {
  return f.arg < 0 ? f.lit : walker_value(k, val[f.arg]);
}

static void walker_dim(struct walker *k, const struct ukr_operand *o, const uint64_t *val, int d,
                       struct touch t) {
  if (d == o->ndim) {
    if (--k->budget >= 0) k->touch(k, &t);
    return;
  }
  int64_t n = walker_factor(k, val, o->extent[d]), s = walker_factor(k, val, o->stride[d]);
  for (int64_t i = 0; i < n && k->budget >= 0; i++, t.at += s * o->elem_bytes)
    walker_dim(k, o, val, d + 1, t);
}

static void walker_call(struct walker *k, uint32_t w) {
  const struct ukr_sig *sig = ukr_sig((enum ukr_id)word_b(k->p->word[w]));
  const uint64_t *ptr[UKR_MAXPTR], *at = k->p->word + w + 1;
  for (int i = 0; i < sig->nptr; i++, at += 1 + ptr_nterm(*at)) ptr[i] = at;
  for (int i = 0; i < sig->nval; i++) {
    int64_t v = walker_value(k, at[i]);
    k->negative |= v < 0 || v > sig->val[i].max;
  }
  for (int i = 0; i < sig->nptr; i++) {
    struct touch t = {
        w,      ptr_buf(*ptr[i]), sig->ptr[i].writes, ptr_off(*ptr[i]), sig->ptr[i].elem_bytes,
        k->par, k->iteration};
    for (unsigned n = 1; n <= ptr_nterm(*ptr[i]); n++)
      t.at += k->r[word_low(ptr[i][n])] * word_high(ptr[i][n]);
    walker_dim(k, &sig->ptr[i], at, 0, t);
  }
}

static void walker_body(struct walker *k, uint32_t w, uint32_t end);

static void walker_loop(struct walker *k, uint32_t w) {
  const uint64_t *word = k->p->word + w;
  bool par = word_op(*word) == OP_PAR;
  if (par) k->par = k->pars++;
  int64_t limit = walker_value(k, word[2]);
  for (int64_t i = word_high(word[1]); i < limit && k->budget >= 0; i += word_high(word[3])) {
    k->r[word_a(*word)] = i;
    k->budget--;
    if (par) k->iteration = i;
    walker_body(k, w + 4, word_imm(*word));
  }
  if (par) k->par = -1;
}

static void walker_body(struct walker *k, uint32_t w, uint32_t end) {
  while (w < end && k->budget >= 0) {
    uint64_t head = k->p->word[w];
    if (word_op(head) == OP_LOOP || word_op(head) == OP_PAR) {
      walker_loop(k, w);
      w = word_imm(head) + 1;
      continue;
    }
    if (word_op(head) == OP_MIN) {
      int64_t cap = walker_value(k, k->p->word[w + 1]);
      int64_t rest = walker_value(k, k->p->word[w + 2]) - k->r[word_b(head)];
      k->r[word_a(head)] = MIN(cap, rest);
      k->negative |= MIN(cap, rest) < 0;
    }
    if (word_op(head) == OP_UKR) walker_call(k, w);
    w += code_length(k->p, w);
  }
}

/* False when the budget ran out. */
static bool walker_run(struct walker *k) {
  k->par = -1;
  walker_body(k, 0, k->p->nword - 1);
  return k->budget >= 0;
}

#endif
