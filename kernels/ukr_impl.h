/* Private to the micro-kernels: the names of their functions. A source file is compiled once per
 * ISA, with -DUKR_ISA=avx2 and so on; without it, for the reference. */
#ifndef FVM_UKR_IMPL_H
#define FVM_UKR_IMPL_H

#include "ukr.h"

#define UKR(name, ptrs, ints, flops, meaning)                                                      \
  ukr_fn ukr_##name##_ref, ukr_##name##_avx2, ukr_##name##_avx512;
#include "ukr.def"
#undef UKR

#ifndef UKR_ISA
#define UKR_ISA ref
#define UKR_REF 1
#endif
#define UKR_PASTE(name, isa) ukr_##name##_##isa
#define UKR_NAME(name, isa) UKR_PASTE(name, isa)
/* The head of the function of row `name` for the ISA being compiled. */
#define FN(name) int UKR_NAME(name, UKR_ISA)(void *const *p, const int64_t *v)

#define INLINE static inline __attribute__((always_inline))

/* A float argument travels as its bits. */
INLINE float ukr_float(int64_t bits) {
  union {
    uint32_t u;
    float f;
  } x = {(uint32_t)bits};
  return x.f;
}

#endif
