/* Inside the verifier: what is known about registers, bounds of affine expressions, and calls in
 * decoded form. verify.c walks the program, verify_bound.c bounds, verify_par.c looks for races. */
#ifndef FVM_VERIFY_IMPL_H
#define FVM_VERIFY_IMPL_H

#include "../kernels/ukr.h"
#include "code.h"

/* An integer operand: the register of rank `rank`, or the constant c when rank is -1. The rank of a
 * register is its place in the order of definition, so facts only look at lower ranks. */
struct value {
  int rank;
  int64_t c;
};

/* What holds for a register wherever it is in scope and its body runs. Besides lo <= r <= hi:
 *   loop  r = lo + a multiple of step, r <= limit - 1 (used when limit is a register)
 *   min   r <= limit - sub, r <= cap (used when cap is a register) */
struct fact {
  unsigned reg;
  bool is_min;
  bool never; /* the loop's body runs zero times */
  struct value cap, limit;
  int sub; /* rank */
  int64_t lo, hi, step;
};
struct facts {
  int n;
  struct fact v[CODE_MAXREG];
  int rank[CODE_MAXREG]; /* of a register; -1: not written yet */
};

/* c + sum of k[rank] * register. */
struct affine {
  int64_t c, k[CODE_MAXREG];
};
/* a += k * v. False when a number leaves int64. */
bool affine_add(struct affine *a, struct value v, int64_t k);
/* A constant that the expression never exceeds (never falls below). False: none within int64. */
bool facts_upper(const struct facts *f, const struct affine *a, int64_t *r);
bool facts_lower(const struct facts *f, const struct affine *a, int64_t *r);
static inline int64_t value_lo(const struct facts *f, struct value v) {
  return v.rank < 0 ? v.c : f->v[v.rank].lo;
}
static inline int64_t value_hi(const struct facts *f, struct value v) {
  return v.rank < 0 ? v.c : f->v[v.rank].hi;
}

/* An integer operand of the program, whose register has been written. */
struct value value_decode(const struct facts *f, uint64_t word);

struct access_dim {
  struct value extent, stride; /* stride in elements */
};
/* One operand of a call: the bytes from addr to addr + sum((extent - 1) * stride * elem) + elem. */
struct access {
  const struct ukr_sig *sig;
  uint32_t word; /* head of the call */
  int operand;
  unsigned buf;
  bool writes, empty; /* empty: an extent is 0 always */
  int64_t elem;
  struct affine addr;
  int ndim;
  struct access_dim dim[UKR_MAXDIM];
};
/* Operand number i of the call at word w, whose registers have all been written. False when an
 * address leaves int64. */
bool access_decode(const struct program *p, const struct facts *f, uint32_t w, int i,
                   struct access *a);
/* The bytes of one dimension: e += (extent - 1) * stride * elem. */
bool access_add_dim(const struct facts *f, const struct access *a, int dim, struct affine *e);

/* That the iterations of the par at word `head` don't touch what another one writes. cls[buffer]:
 * equal for buffers that are the same memory. */
enum fvm_status verify_par(const struct program *p, const struct facts *f, const uint8_t *cls,
                           uint32_t head, struct fvm_error *err);

#endif
