/* Races inside a par. Its iterations have p = lo, lo + S, lo + 2S ...; for each piece of memory
 * that a call inside the par writes, all accesses to it inside the par are taken together. The
 * address of a byte that one of them touches is
 *
 *     common + sp * p + small + big
 *
 * common  the same for all accesses and iterations: terms in registers of outer loops
 * big     sum of n * stride for loops inside the par and dimensions of the operand whose stride is
 *         at least |sp| * S: a multiple of G, the greatest common divisor of these strides
 * small   all the rest, lo <= small < hi
 *
 * If hi - lo <= |sp| * S, and sp * p + small takes fewer than G consecutive values, then equal
 * addresses have equal big parts, so equal sp * p + small, so equal p:
 *
 *     |<---------------- G ---------------->|<---------------- G ---------------->|
 *     |p=0 small|p=S small|p=2S small| ...  |p=0 small|p=S small|p=2S small| ...  |
 *
 * Rows of a matrix have no big part; blocks of columns have its row stride for G. */
#include "verify_impl.h"

struct view {
  const struct program *p;
  const struct facts *f;
  const uint8_t *cls;
  uint32_t head, end;
  int rank;        /* of the par's register */
  unsigned wanted; /* class of buffers */
  /* Filled in by collect: */
  int naccess;
  bool writes, same_stride;
  int64_t stride;            /* sp */
  struct affine first;       /* address of the first access */
  bool differs[CODE_MAXREG]; /* terms that the accesses do not have in common */
  /* Filled in by find_period: */
  int64_t period, base; /* G (0: no big part), constant part of the first access */
  /* Filled in by span: least and greatest end of small, and of sp * p + small. */
  int64_t lo, hi, range_lo, range_hi;
  /* What the error is to name. */
  struct access last;
};
/* Returns false to stop the walk. */
typedef bool visit_fn(struct view *v, const struct access *a);

static bool visit_call(struct view *v, uint32_t w, visit_fn *visit) {
  const struct ukr_sig *sig = ukr_sig((enum ukr_id)word_b(v->p->word[w]));
  for (int i = 0; i < sig->nptr; i++) {
    struct access a;
    CHECK(access_decode(v->p, v->f, w, i, &a)); /* bounded before */
    if (v->cls[a.buf] == v->wanted && !a.empty && !visit(v, &a)) return false;
  }
  return true;
}

/* Call visit for all accesses to the wanted memory inside the par that can happen. */
static bool walk(struct view *v, visit_fn *visit) {
  for (uint32_t w = v->head + code_length(v->p, v->head); w < v->end; w += code_length(v->p, w)) {
    uint64_t head = v->p->word[w];
    if (word_op(head) == OP_LOOP && v->f->v[v->f->rank[word_a(head)]].never) w = word_imm(head);
    if (word_op(head) == OP_UKR && !visit_call(v, w, visit)) return false;
  }
  return true;
}

static int64_t magnitude(int64_t x) { return x < 0 ? -x : x; }

/* |sp| * S: how far the next iteration is. */
static bool reach(const struct view *v, int64_t *r) {
  return fvm_mul(magnitude(v->stride), v->f->v[v->rank].step, r);
}

/* ---- pass 1: what the accesses have in common ----------------------------------------------- */
static bool collect(struct view *v, const struct access *a) {
  if (v->naccess++ == 0) {
    v->first = a->addr;
    v->stride = a->addr.k[v->rank];
    v->same_stride = true;
  }
  v->writes |= a->writes;
  if (v->same_stride) v->last = *a;
  v->same_stride &= a->addr.k[v->rank] == v->stride && v->stride != 0;
  for (int i = 0; i < v->rank; i++) v->differs[i] |= a->addr.k[i] != v->first.k[i];
  return true;
}

/* ---- pass 2: big parts ---------------------------------------------------------------------- */
static int64_t gcd(int64_t a, int64_t b) {
  while (b) {
    int64_t t = a % b;
    a = b;
    b = t;
  }
  return a;
}

/* Take the big parts out of an address: its common terms go, those of loops inside the par with big
 * strides leave their first value, and e keeps the rest, without sp * p. */
static bool split_address(struct view *v, const struct access *a, struct affine *e) {
  int64_t far;
  if (!reach(v, &far)) return false;
  *e = a->addr;
  e->k[v->rank] = 0;
  for (int i = 0; i < v->f->n; i++) {
    const struct fact *t = &v->f->v[i];
    int64_t stride;
    if (i < v->rank && !v->differs[i]) e->k[i] = 0;
    if (e->k[i] == 0) continue;
    if (!fvm_mul(magnitude(e->k[i]), t->step, &stride)) return false;
    /* A min register has no first value that counts: it is what lies between its bounds. */
    if (t->is_min || (stride < far && t->lo != t->hi)) continue;
    int64_t k = e->k[i];
    e->k[i] = 0;
    if (!affine_add(e, (struct value){-1, t->lo}, k)) return false;
    if (t->lo != t->hi) v->period = gcd(v->period, stride);
  }
  return true;
}

/* Whether a dimension of an operand is big; if so, count its stride. */
static bool take_dim(struct view *v, const struct access *a, int d) {
  struct value s = a->dim[d].stride;
  int64_t far, stride;
  if (s.rank >= 0 || !reach(v, &far) || !fvm_mul(s.c, a->elem, &stride)) return false;
  if (stride < far || value_hi(v->f, a->dim[d].extent) <= 1) return false;
  v->period = gcd(v->period, stride);
  return true;
}

static bool find_period(struct view *v, const struct access *a) {
  struct affine e;
  if (!split_address(v, a, &e)) return false;
  if (v->naccess++ == 0) v->base = e.c;
  for (int d = 0; d < a->ndim; d++) take_dim(v, a, d);
  return true;
}

/* Distances between the accesses' starts that are big count as well, if asked to. */
static bool find_shifts(struct view *v, const struct access *a) {
  struct affine e;
  int64_t far, d;
  if (!split_address(v, a, &e) || !reach(v, &far)) return false;
  if (__builtin_sub_overflow(e.c, v->base, &d) || d == INT64_MIN) return false;
  if (magnitude(d) >= far) v->period = gcd(v->period, magnitude(d));
  return true;
}

/* ---- pass 3: small parts -------------------------------------------------------------------- */
/* The start of an access relative to the first one's, without whole periods. */
static bool shift(const struct view *v, int64_t *c) {
  if (__builtin_sub_overflow(*c, v->base, c)) return false;
  if (v->period == 0) return true;
  *c %= v->period;
  if (*c > v->period / 2) *c -= v->period;
  if (*c < -(v->period / 2)) *c += v->period;
  return true;
}

static bool span(struct view *v, const struct access *a) {
  struct affine e, end;
  int64_t lo, hi;
  v->last = *a;
  if (!split_address(v, a, &e) || !shift(v, &e.c)) return false;
  end = e;
  if (__builtin_add_overflow(end.c, a->elem, &end.c)) return false;
  for (int d = 0; d < a->ndim; d++)
    if (!take_dim(v, a, d) && !access_add_dim(v->f, a, d, &end)) return false;
  if (!facts_lower(v->f, &e, &lo) || !facts_upper(v->f, &end, &hi)) return false;
  v->lo = MIN(v->lo, lo);
  v->hi = MAX(v->hi, hi);
  e.k[v->rank] = end.k[v->rank] += v->stride;
  if (!facts_lower(v->f, &e, &lo) || !facts_upper(v->f, &end, &hi)) return false;
  v->range_lo = MIN(v->range_lo, lo);
  v->range_hi = MAX(v->range_hi, hi);
  return true;
}

static bool is_at_most(int64_t lo, int64_t hi, int64_t most) {
  int64_t d;
  return !__builtin_sub_overflow(hi, lo, &d) && d <= most;
}

/* The criterion, for the period found. */
static bool fits(struct view *v) {
  int64_t far;
  v->lo = v->range_lo = INT64_MAX;
  v->hi = v->range_hi = INT64_MIN;
  return walk(v, span) && reach(v, &far) && is_at_most(v->lo, v->hi, far) &&
         (v->period == 0 || is_at_most(v->range_lo, v->range_hi, v->period));
}

static bool is_disjoint(struct view *v) {
  v->naccess = 0;
  v->period = 0;
  return walk(v, find_period) && (fits(v) || (walk(v, find_shifts) && fits(v)));
}

/* ---- the whole ------------------------------------------------------------------------------ */
static enum fvm_status refuse(const struct view *v, const char *why, struct fvm_error *err) {
  const struct access *a = &v->last;
  return fvm_fail(err, FVM_EFORMAT,
                  "word %u: operand %s of %s: cannot prove that iterations of the par at word %u "
                  "touch different parts of b%u: %s",
                  (unsigned)a->word, a->sig->ptr[a->operand].name, a->sig->name, (unsigned)v->head,
                  a->buf, why);
}

static enum fvm_status check_class(struct view *v, struct fvm_error *err) {
  v->naccess = 0;
  v->writes = v->same_stride = false;
  v->stride = 0;
  for (int i = 0; i < CODE_MAXREG; i++) v->differs[i] = false;
  if (!walk(v, collect)) return refuse(v, "address too large", err);
  if (!v->writes) return FVM_OK;
  if (!v->same_stride)
    return refuse(v,
                  v->stride == 0 ? "the address does not depend on its register"
                                 : "accesses move by different strides",
                  err);
  return is_disjoint(v) ? FVM_OK : refuse(v, "neighbours may overlap", err);
}

enum fvm_status verify_par(const struct program *p, const struct facts *f, const uint8_t *cls,
                           uint32_t head, struct fvm_error *err) {
  struct view v = {.p = p,
                   .f = f,
                   .cls = cls,
                   .head = head,
                   .end = word_imm(p->word[head]),
                   .rank = f->rank[word_a(p->word[head])]};
  if (f->v[v.rank].lo == f->v[v.rank].hi) return FVM_OK; /* one iteration */
  for (v.wanted = 0; v.wanted < p->nbuf; v.wanted++) {
    enum fvm_status st = FVM_OK;
    if (cls[v.wanted] == v.wanted && p->buf[v.wanted].kind != BUF_SCRATCH)
      st = check_class(&v, err);
    if (st != FVM_OK) return st;
  }
  return FVM_OK;
}
