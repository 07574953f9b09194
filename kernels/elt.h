/* Element-wise operators as rows of elt.def, and their lowering to strips; private to op_elt.c,
 * elt_lower.c and body.c. */
#ifndef FVM_ELT_H
#define FVM_ELT_H

#include "op_impl.h"

enum elt_result { RESULT_SAME, RESULT_SECOND, RESULT_BOOL, RESULT_TO };
struct elt_row {
  const char *name;
  enum elt_result result;
  const char *strips;
};
/* Row of an operator; NULL when it is not element-wise. */
const struct elt_row *elt_row(const struct op *op);
enum fvm_dtype elt_result(const struct opcall *c);

/* ---- lowering (elt_lower.c) ------------------------------------------------------------------ */
enum { ELT_MAXSTEP = 128, ELT_MAXCONST = 32, ELT_MAXARG = 3, ELT_MAXSLOT = 10 };
enum elt_kind { ELT_ABSENT, ELT_INPUT, ELT_ANCHOR, ELT_STEP, ELT_CONST };
struct elt_value {
  enum elt_kind kind;
  int i; /* input, step, or constant */
  enum fvm_dtype dtype;
  double number; /* of a constant that has no type yet */
};
/* One strip. The last step writes the result. */
struct elt_step {
  int ukr, narg;
  struct elt_value arg[ELT_MAXARG];
  enum fvm_dtype dtype;
  int slot; /* scratch that it writes; -1 for the last */
};
struct elt_const {
  enum fvm_dtype dtype;
  uint64_t bits;
};
struct elt_prog {
  int nstep, nconst, nslot;
  struct elt_step step[ELT_MAXSTEP];
  struct elt_const cst[ELT_MAXCONST];
  int64_t slot_bytes[ELT_MAXSLOT]; /* of an element, the largest that lives there */
};
/* The strips of an element-wise opcall or of the body of any opcall; false when some type or
 * operator has none. */
bool elt_lower(const struct opcall *c, struct elt_prog *p);

/* ---- emission (body.c) ----------------------------------------------------------------------- */
/* A tile of an input: rows `row` elements apart, columns 0 or 1. */
struct elt_tile {
  struct addr at;
  int64_t row;
  int col;
};
struct elt_site {
  const struct elt_tile *in; /* of every input of the opcall */
  struct elt_tile anchor, dst;
  struct val m, n;
  int64_t n_max;
};
struct body_scratch;
void elt_scratch(const struct elt_prog *p, int64_t m_max, int64_t n_max, struct builder *b,
                 struct body_scratch *s);
void elt_emit(const struct elt_prog *p, const struct elt_site *site, const struct body_scratch *s,
              struct builder *b);

#endif
