/* The verifier: one walk over the program that checks its form, collects what is known about the
 * registers, and bounds every access. Contract: verify.h. */
#include "verify.h"

#include <stdarg.h>
#include <stdio.h>

#include "verify_impl.h"

/* Buffers and addresses stay below these, so that what executes a program needs no checks. */
#define MAX_BUFFER ((int64_t)1 << 47)
#define MAX_ADDRESS ((int64_t)1 << 60)
/* Most operations of a program, so that whoever runs one sees its end: minutes on one core. The
 * largest product of a language model with 7e9 weights and 2048 tokens needs 2^38. */
#define MAX_WORK ((int64_t)1 << 46)

struct scope {
  uint32_t head;
  int nfact;     /* registers known outside */
  bool dead;     /* the body never runs */
  int64_t trips; /* iterations, those of outer loops multiplied */
};
struct verifier {
  const struct program *p;
  struct fvm_error *err;
  struct facts facts;
  bool live[CODE_MAXREG]; /* by register: in scope */
  struct scope open[CODE_MAXDEPTH];
  int depth;
  bool in_par, halted;
  int64_t work; /* operations so far, at most */
  uint8_t cls[CODE_MAXBUF];
};

#define BAD(v, w, ...) bad_((v), (w), __VA_ARGS__)
static enum fvm_status bad_(const struct verifier *v, uint32_t w, const char *fmt, ...)
    FVM_PRINTF(3, 4);
static enum fvm_status bad_(const struct verifier *v, uint32_t w, const char *fmt, ...) {
  char what[300];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(what, sizeof what, fmt, ap);
  va_end(ap);
  return fvm_fail(v->err, FVM_EFORMAT, "word %u: %s", (unsigned)w, what);
}

/* ---- work: bounds that stop just above MAX_WORK -----------------------------------------------
 */
static int64_t times(int64_t a, int64_t b) {
  int64_t r;
  return !fvm_mul(a, b, &r) || r > MAX_WORK ? MAX_WORK + 1 : r;
}

static int64_t trips(const struct verifier *v) {
  return v->depth ? v->open[v->depth - 1].trips : 1;
}

static enum fvm_status add_work(struct verifier *v, uint32_t w, int64_t once) {
  v->work += times(trips(v), once);
  return v->work <= MAX_WORK
             ? FVM_OK
             : BAD(v, w, "cannot prove that the program ends within %lld operations",
                   (long long)MAX_WORK);
}

static bool is_dead(const struct verifier *v) { return v->depth && v->open[v->depth - 1].dead; }

/* ---- form ---------------------------------------------------------------------------------- */
static enum fvm_status check_reg(const struct verifier *v, uint32_t w, int64_t reg) {
  return v->live[reg] ? FVM_OK : BAD(v, w, "register r%d is not in scope", (int)reg);
}

static enum fvm_status check_val(const struct verifier *v, uint32_t w, uint64_t val) {
  return word_low(val) ? check_reg(v, w, word_high(val)) : FVM_OK;
}

/* The register that the instruction at w opens. */
static enum fvm_status define(struct verifier *v, uint32_t w, struct fact fact) {
  fact.reg = word_a(v->p->word[w]);
  if (v->facts.rank[fact.reg] >= 0) return BAD(v, w, "register r%u is written twice", fact.reg);
  v->facts.rank[fact.reg] = v->facts.n;
  v->facts.v[v->facts.n++] = fact;
  v->live[fact.reg] = true;
  return FVM_OK;
}

/* ---- loops and min ------------------------------------------------------------------------- */
static enum fvm_status on_loop(struct verifier *v, uint32_t w) {
  const uint64_t *word = v->p->word + w;
  bool par = word_op(*word) == OP_PAR;
  enum fvm_status st;
  if (par && v->in_par) return BAD(v, w, "par inside par");
  if (v->depth == CODE_MAXDEPTH) return BAD(v, w, "loops nest deeper than %d", (int)CODE_MAXDEPTH);
  if (word_high(word[1]) < 0) return BAD(v, w, "loop starts below 0");
  if ((st = check_val(v, w, word[2])) != FVM_OK) return st;

  struct fact fact = {.limit = value_decode(&v->facts, word[2]),
                      .lo = word_high(word[1]),
                      .step = word_high(word[3])};
  int64_t limit = value_hi(&v->facts, fact.limit);
  fact.never = is_dead(v) || limit <= fact.lo;
  fact.hi = fact.never ? fact.lo : fact.lo + (limit - 1 - fact.lo) / fact.step * fact.step;
  int64_t n = fact.never ? 0 : (fact.hi - fact.lo) / fact.step + 1;
  v->open[v->depth] = (struct scope){w, v->facts.n, fact.never, times(trips(v), n)};
  v->depth++;
  v->in_par |= par;
  if ((st = add_work(v, w, 1)) != FVM_OK) return st;
  return define(v, w, fact);
}

static enum fvm_status on_end(struct verifier *v, uint32_t w) {
  if (v->depth == 0) return BAD(v, w, "end without a loop");
  struct scope s = v->open[--v->depth];
  uint64_t head = v->p->word[s.head];
  if (word_imm(v->p->word[w]) != s.head)
    return BAD(v, w, "end does not name its loop, at word %u", (unsigned)s.head);
  if (word_imm(head) != w)
    return BAD(v, s.head, "loop does not name its end, at word %u", (unsigned)w);
  for (int i = s.nfact; i < v->facts.n; i++) v->live[v->facts.v[i].reg] = false;
  if (word_op(head) != OP_PAR) return FVM_OK;
  v->in_par = false;
  return s.dead ? FVM_OK : verify_par(v->p, &v->facts, v->cls, s.head, v->err);
}

static enum fvm_status on_min(struct verifier *v, uint32_t w) {
  const uint64_t *word = v->p->word + w;
  enum fvm_status st;
  if ((st = check_val(v, w, word[1])) != FVM_OK) return st;
  if ((st = check_val(v, w, word[2])) != FVM_OK) return st;
  if ((st = check_reg(v, w, word_b(*word))) != FVM_OK) return st;

  struct fact fact = {.is_min = true,
                      .cap = value_decode(&v->facts, word[1]),
                      .limit = value_decode(&v->facts, word[2]),
                      .sub = v->facts.rank[word_b(*word)],
                      .step = 1};
  struct affine rest = {0};
  int64_t lo, hi;
  if (is_dead(v)) return define(v, w, fact);
  affine_add(&rest, fact.limit, 1);
  affine_add(&rest, (struct value){fact.sub, 0}, -1);
  bool ok = facts_lower(&v->facts, &rest, &lo) && facts_upper(&v->facts, &rest, &hi);
  if (!ok || lo < 0 || value_lo(&v->facts, fact.cap) < 0)
    return BAD(v, w, "cannot prove that min never gives a negative value");
  fact.lo = MIN(value_lo(&v->facts, fact.cap), lo);
  fact.hi = MIN(value_hi(&v->facts, fact.cap), hi);
  return define(v, w, fact);
}

/* ---- calls --------------------------------------------------------------------------------- */
static enum fvm_status check_ptr(const struct verifier *v, uint32_t w, const uint64_t *ptr) {
  for (unsigned t = 1; t <= ptr_nterm(*ptr); t++) {
    enum fvm_status st = check_reg(v, w, word_low(ptr[t]));
    if (st != FVM_OK) return st;
  }
  return FVM_OK;
}

static enum fvm_status check_int(const struct verifier *v, uint32_t w, uint64_t word,
                                 const struct ukr_int *row) {
  enum fvm_status st = check_val(v, w, word);
  if (st != FVM_OK) return st;
  struct value x = value_decode(&v->facts, word);
  if (x.rank < 0 && x.c < 0) return BAD(v, w, "argument %s is %lld", row->name, (long long)x.c);
  if (!is_dead(v) && value_hi(&v->facts, x) > row->max)
    return BAD(v, w, "argument %s may be %lld, and %lld is the most", row->name,
               (long long)value_hi(&v->facts, x), (long long)row->max);
  return FVM_OK;
}

/* Whether no partial sum of an address can overflow, in whatever order it is computed. */
static bool is_small(const struct facts *f, const uint64_t *ptr) {
  int64_t sum = ptr_off(*ptr) < 0 ? -ptr_off(*ptr) : ptr_off(*ptr), x;
  for (unsigned t = 1; t <= ptr_nterm(*ptr); t++) {
    int64_t stride = word_high(ptr[t]);
    if (!fvm_mul(stride < 0 ? -stride : stride, f->v[f->rank[word_low(ptr[t])]].hi, &x) ||
        !fvm_add(sum, x, &sum))
      return false;
  }
  return sum <= MAX_ADDRESS;
}

static enum fvm_status check_bounds(const struct verifier *v, const struct access *a) {
  const struct facts *f = &v->facts;
  const char *name = a->sig->ptr[a->operand].name;
  struct affine e = a->addr;
  int64_t lo, hi, bytes = v->p->buf[a->buf].bytes;
  bool ok = facts_lower(f, &e, &lo) && !__builtin_add_overflow(e.c, a->elem, &e.c);
  for (int d = 0; d < a->ndim; d++) ok = ok && access_add_dim(f, a, d, &e);
  if (!ok || !facts_upper(f, &e, &hi))
    return BAD(v, a->word, "operand %s of %s: address too large", name, a->sig->name);
  if (lo < 0)
    return BAD(v, a->word,
               "operand %s of %s: cannot prove that it stays above the start of b%u, "
               "%lld bytes below seem possible",
               name, a->sig->name, a->buf, (long long)-lo);
  if (hi > bytes)
    return BAD(v, a->word,
               "operand %s of %s: cannot prove that it stays inside b%u, which has "
               "%lld bytes: %lld seem possible",
               name, a->sig->name, a->buf, (long long)bytes, (long long)hi);
  return FVM_OK;
}

/* *work: the elements of the operand, at most. */
static enum fvm_status check_operand(const struct verifier *v, uint32_t w, int i,
                                     const uint64_t *ptr, int64_t *work) {
  const struct ukr_sig *sig = ukr_sig((enum ukr_id)word_b(v->p->word[w]));
  struct access a;
  if (sig->ptr[i].writes && v->p->buf[ptr_buf(*ptr)].kind == BUF_IN)
    return BAD(v, w, "operand %s of %s writes b%u, an input", sig->ptr[i].name, sig->name,
               ptr_buf(*ptr));
  *work = 0;
  if (is_dead(v)) return FVM_OK;
  if (!is_small(&v->facts, ptr) || !access_decode(v->p, &v->facts, w, i, &a))
    return BAD(v, w, "operand %s of %s: address too large", sig->ptr[i].name, sig->name);
  if (a.empty) return FVM_OK;
  *work = 1;
  for (int d = 0; d < a.ndim; d++) *work = times(*work, value_hi(&v->facts, a.dim[d].extent));
  return check_bounds(v, &a);
}

/* Operations of a call by its row. */
static int64_t call_flops(const struct verifier *v, const struct ukr_sig *sig,
                          const uint64_t *val) {
  int64_t n = sig->flop_coef;
  for (int i = 0; i < sig->nflop; i++)
    n = times(n, value_hi(&v->facts, value_decode(&v->facts, val[sig->flop_arg[i]])));
  return n;
}

static enum fvm_status on_ukr(struct verifier *v, uint32_t w) {
  const struct ukr_sig *sig = ukr_sig((enum ukr_id)word_b(v->p->word[w]));
  enum fvm_status st;
  const uint64_t *ptr[UKR_MAXPTR], *at = v->p->word + w + 1;
  const int nptr = sig->nptr;
  for (int i = 0; i < nptr; i++) {
    ptr[i] = at;
    if ((st = check_ptr(v, w, at)) != FVM_OK) return st;
    at += 1 + ptr_nterm(*at);
  }
  for (int i = 0; i < sig->nval; i++)
    if ((st = check_int(v, w, at[i], &sig->val[i])) != FVM_OK) return st;
  int64_t work = 0, all = 1;
  for (int i = 0; i < nptr; i++, all += work)
    if ((st = check_operand(v, w, i, ptr[i], &work)) != FVM_OK) return st;
  return is_dead(v) ? FVM_OK : add_work(v, w, all + call_flops(v, sig, at));
}

static enum fvm_status on_halt(struct verifier *v, uint32_t w) {
  if (v->depth) return BAD(v, w, "halt inside a loop");
  v->halted = true;
  return w + 1 == v->p->nword ? FVM_OK : BAD(v, w, "halt before the end of the program");
}

/* ---- the whole ----------------------------------------------------------------------------- */
static enum fvm_status step(struct verifier *v, uint32_t w) {
  switch (word_op(v->p->word[w])) {
  case OP_LOOP:
  case OP_PAR:
    return on_loop(v, w);
  case OP_END:
    return on_end(v, w);
  case OP_MIN:
    return on_min(v, w);
  case OP_UKR:
    return on_ukr(v, w);
  default:
    return on_halt(v, w);
  }
}

static enum fvm_status check_limits(const struct program *p, struct fvm_error *err) {
  if (p->nword > CODE_MAXWORDS || p->nreg > CODE_MAXREG || p->nbuf > CODE_MAXBUF)
    return fvm_fail(
        err, FVM_EFORMAT, "program of %u words, %u registers and %u buffers exceeds %d, %d and %d",
        p->nword, p->nreg, p->nbuf, (int)CODE_MAXWORDS, (int)CODE_MAXREG, (int)CODE_MAXBUF);
  for (uint32_t i = 0; i < p->nbuf; i++)
    if ((unsigned)p->buf[i].kind >= BUF_KINDS || p->buf[i].bytes < 0 ||
        p->buf[i].bytes > MAX_BUFFER)
      return fvm_fail(err, FVM_EFORMAT, "buffer b%u has kind %u and %lld bytes", i,
                      (unsigned)p->buf[i].kind, (long long)p->buf[i].bytes);
  return FVM_OK;
}

/* Number the classes of buffers that are the same memory by their first member. */
static enum fvm_status set_classes(struct verifier *v, const int *alias) {
  for (unsigned i = 0; i < v->p->nbuf; i++) {
    unsigned j = 0;
    while (alias ? alias[j] != alias[i] : j != i) j++;
    v->cls[i] = (uint8_t)j;
    if (i != j && (v->p->buf[i].kind == BUF_SCRATCH || v->p->buf[j].kind == BUF_SCRATCH))
      return fvm_fail(v->err, FVM_EFORMAT, "b%u and b%u are scratch and the same memory", j, i);
  }
  return FVM_OK;
}

enum fvm_status verify_program(const struct program *p, const int *alias, struct fvm_error *err) {
  struct verifier v = {.p = p, .err = err};
  enum fvm_status st = check_limits(p, err);
  if (st == FVM_OK) st = set_classes(&v, alias);
  for (int i = 0; i < CODE_MAXREG; i++) v.facts.rank[i] = -1;
  for (uint32_t w = 0, len; st == FVM_OK && w < p->nword; w += len) {
    len = code_length(p, w);
    st = len ? step(&v, w) : BAD(&v, w, "not an instruction, or it ends outside the program");
  }
  if (st == FVM_OK && !v.halted) st = BAD(&v, p->nword, "program does not end with halt");
  return st;
}
