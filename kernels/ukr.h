/* Layer 1: micro-kernels, leaf functions on a tile or a strip, one source compiled per ISA.
 *
 * All have one signature, so that the interpreter and compiled code call them alike: addresses in
 * p[], integers in v[], both in the order of the kernel's row in ukr.def. They return 0, or
 * UKR_RANGE when the data asks for something outside its bounds (a gather's index).
 *
 * Whatever the arguments, as long as they respect their limits, a kernel touches its footprint
 * only. Extents of 0 are fine: nothing is written, but a gemm with k = 0 gives c = d (or 0) and an
 * empty row reduces to the neutral element. Strips, softmax, normalisations and rope work in place:
 * an input may be the output, with the same strides. A gemm adds the products of an element to its
 * d one k after the other, so other cuts of k or other tiles do not change a bit within an ISA. */
#ifndef FVM_UKR_H
#define FVM_UKR_H

#include "../vm/base.h"

enum { UKR_RANGE = 1 };

typedef int ukr_fn(void *const *p, const int64_t *v);

enum ukr_id {
#define UKR(name, ptrs, ints, flops, meaning) UKR_##name,
#include "ukr.def"
#undef UKR
  UKR_COUNT
};

enum isa {
#define ISA(name, text, feature) ISA_##name,
#include "isa.def"
#undef ISA
  ISA_COUNT
};

enum { UKR_MAXPTR = 8, UKR_MAXVAL = 24, UKR_MAXDIM = 4 };

/* A factor of a footprint: a literal (arg < 0) or the value of an integer argument. */
struct ukr_factor {
  int8_t arg;
  int32_t lit;
};
/* What one operand may touch: for each dimension, `extent` elements `stride` elements apart. */
struct ukr_operand {
  char name[12];
  bool reads, writes;
  uint8_t elem_bytes;
  int ndim;
  struct ukr_factor extent[UKR_MAXDIM], stride[UKR_MAXDIM];
};
struct ukr_int {
  char name[12];
  int64_t max; /* greatest value allowed; INT64_MAX where the row gives none. The least is 0. */
};
/* The parsed row. */
struct ukr_sig {
  const char *name;
  int nptr, nval;
  struct ukr_operand ptr[UKR_MAXPTR];
  struct ukr_int val[UKR_MAXVAL];
  int64_t flop_coef; /* flops = flop_coef * product of the arguments in flop_arg */
  int8_t flop_arg[UKR_MAXVAL];
  int nflop;
};

/* Row of a micro-kernel. Parsed on first use; thread-safe; never fails for rows in the table
 * (a unit test parses them all). */
const struct ukr_sig *ukr_sig(enum ukr_id id);
/* UKR_COUNT when unknown. */
enum ukr_id ukr_find(const char *name, size_t len);

/* The best ISA of this CPU, lowered by the environment variable FLUIDVM_ISA; found once. */
enum isa cpu_isa(void);
/* Whether this CPU can run an ISA at all. */
bool cpu_has(enum isa isa);
const char *isa_name(enum isa isa);
/* Functions of all micro-kernels for an ISA (rows that it lacks come from the next lower one). */
ukr_fn *const *ukr_table(enum isa isa);

#endif
