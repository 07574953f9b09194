/* Bounds of affine expressions of registers, by eliminating the registers from the last defined to
 * the first, and the decoding of calls into such expressions. */
#include "verify_impl.h"

/* How many times one bound may try both ways of eliminating a register. Real programs need fewer
 * than ten; a hostile one must not take exponential time. */
enum { BRANCHES = 64 };

static bool mul(int64_t a, int64_t b, int64_t *r) { return !__builtin_mul_overflow(a, b, r); }
static bool add(int64_t a, int64_t b, int64_t *r) { return !__builtin_add_overflow(a, b, r); }

/* *c += a * b */
static bool mul_add(int64_t a, int64_t b, int64_t *c) {
  int64_t t;
  return mul(a, b, &t) && add(*c, t, c);
}

bool affine_add(struct affine *a, struct value v, int64_t k) {
  return v.rank < 0 ? mul_add(k, v.c, &a->c) : add(a->k[v.rank], k, &a->k[v.rank]);
}

/* Ways to bound a register by other registers. */
enum way { BY_LIMIT, BY_CAP, WAYS };

/* Replace register i, whose coefficient is positive, by such a bound. False when it has none. */
static bool substitute(const struct fact *t, enum way way, int i, struct affine *a) {
  int64_t k = a->k[i];
  a->k[i] = 0;
  if (way == BY_CAP) return t->is_min && t->cap.rank >= 0 && affine_add(a, t->cap, k);
  if (!t->is_min && t->limit.rank < 0) return false;
  if (!affine_add(a, t->limit, k)) return false;
  return t->is_min ? add(a->k[t->sub], -k, &a->k[t->sub]) : add(a->c, -k, &a->c);
}

/* Registers above rank top have coefficient 0. Recursion takes the ways that bound by registers,
 * the loop goes on with constants. */
static bool upper(const struct facts *f, struct affine a, int top, int *branches, int64_t *r) {
  bool found = false;
  for (int i = top; i >= 0; i--) {
    const struct fact *t = &f->v[i];
    for (int way = 0; way < WAYS && a.k[i] > 0 && *branches > 0; way++) {
      struct affine b = a;
      int64_t other;
      if (!substitute(t, (enum way)way, i, &b)) continue;
      --*branches;
      if (!upper(f, b, i - 1, branches, &other)) continue;
      *r = found ? MIN(*r, other) : other;
      found = true;
    }
    if (!mul_add(a.k[i], a.k[i] > 0 ? t->hi : t->lo, &a.c)) return found;
    a.k[i] = 0;
  }
  *r = found ? MIN(*r, a.c) : a.c;
  return true;
}

bool facts_upper(const struct facts *f, const struct affine *a, int64_t *r) {
  int branches = BRANCHES;
  return upper(f, *a, f->n - 1, &branches, r);
}

bool facts_lower(const struct facts *f, const struct affine *a, int64_t *r) {
  struct affine minus;
  if (!mul(a->c, -1, &minus.c)) return false;
  for (int i = 0; i < CODE_MAXREG; i++)
    if (!mul(a->k[i], -1, &minus.k[i])) return false;
  return facts_upper(f, &minus, r) && mul(*r, -1, r);
}

/* ---- calls --------------------------------------------------------------------------------- */
struct value value_decode(const struct facts *f, uint64_t word) {
  if (word_low(word) == 0) return (struct value){-1, word_high(word)};
  return (struct value){f->rank[word_high(word)], 0};
}

/* Word of operand i of the call at w; i = nptr gives the first integer. */
static uint32_t operand_word(const struct program *p, uint32_t w, int i) {
  w++;
  while (i-- > 0) w += 1 + ptr_nterm(p->word[w]);
  return w;
}

static struct value factor(const struct facts *f, const uint64_t *val, struct ukr_factor x) {
  return x.arg < 0 ? (struct value){-1, x.lit} : value_decode(f, val[x.arg]);
}

bool access_decode(const struct program *p, const struct facts *f, uint32_t w, int i,
                   struct access *a) {
  const struct ukr_sig *sig = ukr_sig((enum ukr_id)word_b(p->word[w]));
  const struct ukr_operand *o = &sig->ptr[i];
  const uint64_t *ptr = p->word + operand_word(p, w, i);
  const uint64_t *val = p->word + operand_word(p, w, sig->nptr);
  *a = (struct access){.sig = sig,
                       .word = w,
                       .operand = i,
                       .buf = ptr_buf(*ptr),
                       .writes = o->writes,
                       .elem = o->elem_bytes,
                       .ndim = o->ndim};
  a->addr.c = ptr_off(*ptr);
  for (unsigned t = 1; t <= ptr_nterm(*ptr); t++)
    if (!affine_add(&a->addr, (struct value){f->rank[word_low(ptr[t])], 0}, word_high(ptr[t])))
      return false;
  for (int d = 0; d < o->ndim; d++) {
    a->dim[d] = (struct access_dim){factor(f, val, o->extent[d]), factor(f, val, o->stride[d])};
    a->empty |= value_hi(f, a->dim[d].extent) == 0;
  }
  return true;
}

bool access_add_dim(const struct facts *f, const struct access *a, int dim, struct affine *e) {
  struct value extent = a->dim[dim].extent, stride = a->dim[dim].stride;
  int64_t k;
  if (extent.rank < 0) return mul(extent.c - 1, a->elem, &k) && affine_add(e, stride, k);
  /* Of a product of two registers the stride takes its greatest value: extent - 1 >= 0 wherever
   * something is touched at all. */
  if (!mul(value_hi(f, stride), a->elem, &k)) return false;
  return affine_add(e, extent, k) && add(e->c, -k, &e->c);
}
