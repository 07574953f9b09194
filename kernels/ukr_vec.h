/* Vectors of VW floats for the fast micro-kernels: one vocabulary over AVX2 and AVX-512, so that a
 * family has one body. vf floats, vi 32-bit integers of the same number, vm one truth value each.
 *
 * vf_loadn and vf_storen touch the first n elements only (0 <= n <= VW); the rest reads as 0. */
#ifndef FVM_UKR_VEC_H
#define FVM_UKR_VEC_H

#include <immintrin.h>

#include "ukr_impl.h"

#ifdef __AVX512F__

enum { VW = 16 };
typedef __m512 vf;
typedef __m512i vi;
typedef __mmask16 vm;

INLINE vm vm_first(int64_t n) { return (vm)((1u << n) - 1); }
INLINE vf vf_load(const float *p) { return _mm512_loadu_ps(p); }
INLINE void vf_store(float *p, vf a) { _mm512_storeu_ps(p, a); }
INLINE vf vf_loadm(const float *p, vm m) { return _mm512_maskz_loadu_ps(m, p); }
INLINE void vf_storem(float *p, vm m, vf a) { _mm512_mask_storeu_ps(p, m, a); }
INLINE vf vf_set1(float a) { return _mm512_set1_ps(a); }
INLINE vi vi_set1(int a) { return _mm512_set1_epi32(a); }

INLINE vf vf_add(vf a, vf b) { return _mm512_add_ps(a, b); }
INLINE vf vf_sub(vf a, vf b) { return _mm512_sub_ps(a, b); }
INLINE vf vf_mul(vf a, vf b) { return _mm512_mul_ps(a, b); }
INLINE vf vf_div(vf a, vf b) { return _mm512_div_ps(a, b); }
INLINE vf vf_sqrt(vf a) { return _mm512_sqrt_ps(a); }
INLINE vf vf_recip(vf a) { return _mm512_rcp14_ps(a); } /* 1 / a to 14 bits at least */
INLINE vf vf_fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }   /* a b + c */
INLINE vf vf_fnma(vf a, vf b, vf c) { return _mm512_fnmadd_ps(a, b, c); } /* c - a b */
/* The second operand if either is NaN. */
INLINE vf vf_max(vf a, vf b) { return _mm512_max_ps(a, b); }
INLINE vf vf_min(vf a, vf b) { return _mm512_min_ps(a, b); }
INLINE vf vf_floor(vf a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEG_INF | 8); }
INLINE vf vf_ceil(vf a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_POS_INF | 8); }
INLINE vf vf_round(vf a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | 8); }

INLINE vf vf_and(vf a, vf b) { return _mm512_and_ps(a, b); }
INLINE vf vf_andnot(vf a, vf b) { return _mm512_andnot_ps(a, b); } /* ~a & b */
INLINE vf vf_or(vf a, vf b) { return _mm512_or_ps(a, b); }
INLINE vf vf_xor(vf a, vf b) { return _mm512_xor_ps(a, b); }
INLINE vi vf_bits(vf a) { return _mm512_castps_si512(a); }
INLINE vf vi_float(vi a) { return _mm512_castsi512_ps(a); }
INLINE vi vf_int(vf a) { return _mm512_cvtps_epi32(a); } /* nearest */
INLINE vf vi_cvt(vi a) { return _mm512_cvtepi32_ps(a); }
INLINE vi vi_add(vi a, vi b) { return _mm512_add_epi32(a, b); }
INLINE vi vi_sub(vi a, vi b) { return _mm512_sub_epi32(a, b); }
INLINE vi vi_and(vi a, vi b) { return _mm512_and_si512(a, b); }
#define vi_shl(a, n) _mm512_slli_epi32(a, n)
#define vi_sar(a, n) _mm512_srai_epi32(a, n)

INLINE vm vf_lt(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
INLINE vm vf_eq(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
INLINE vm vf_isnan(vf a) { return _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q); }
INLINE vm vi_eq(vi a, vi b) { return _mm512_cmpeq_epi32_mask(a, b); }
INLINE vf vf_sel(vm m, vf a, vf b) { return _mm512_mask_blend_ps(m, b, a); } /* m ? a : b */
INLINE vm vm_or(vm a, vm b) { return a | b; }
INLINE vm vm_andnot(vm a, vm b) { return (vm)(~a & b); } /* ~a & b */
INLINE bool vm_any(vm a) { return a != 0; }

/* p[l stride] in the lanes l of m, 0 in the others, which are not touched. */
INLINE vf vf_gather(const float *p, int stride, vm m) {
  vi lane = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
  return _mm512_mask_i32gather_ps(vf_set1(0), m, _mm512_mullo_epi32(lane, vi_set1(stride)), p, 4);
}

/* The halves of a vector meet, so both ISAs go on from 8 lanes. */
INLINE __m256 vf_lo(vf a) { return _mm512_castps512_ps256(a); }
INLINE __m256 vf_hi(vf a) { return _mm512_extractf32x8_ps(a, 1); }
#define VF_FOLD(op, a) op(vf_lo(a), vf_hi(a))

/* The sum of both in double, in four lanes. */
INLINE __m256d vf_sum4(vf a, vf b) {
  __m512d s = _mm512_add_pd(_mm512_cvtps_pd(vf_lo(a)), _mm512_cvtps_pd(vf_hi(a)));
  __m512d t = _mm512_add_pd(_mm512_cvtps_pd(vf_lo(b)), _mm512_cvtps_pd(vf_hi(b)));
  s = _mm512_add_pd(s, t);
  return _mm256_add_pd(_mm512_castpd512_pd256(s), _mm512_extractf64x4_pd(s, 1));
}

#else

enum { VW = 8 };
typedef __m256 vf;
typedef __m256i vi;
typedef __m256 vm;

static const int32_t ukr_lanes[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
INLINE vm vm_first(int64_t n) {
  return _mm256_castsi256_ps(_mm256_loadu_si256((const __m256i *)(ukr_lanes + VW - n)));
}
INLINE vf vf_load(const float *p) { return _mm256_loadu_ps(p); }
INLINE void vf_store(float *p, vf a) { _mm256_storeu_ps(p, a); }
INLINE vf vf_loadm(const float *p, vm m) { return _mm256_maskload_ps(p, _mm256_castps_si256(m)); }
INLINE void vf_storem(float *p, vm m, vf a) { _mm256_maskstore_ps(p, _mm256_castps_si256(m), a); }
INLINE vf vf_set1(float a) { return _mm256_set1_ps(a); }
INLINE vi vi_set1(int a) { return _mm256_set1_epi32(a); }

INLINE vf vf_add(vf a, vf b) { return _mm256_add_ps(a, b); }
INLINE vf vf_sub(vf a, vf b) { return _mm256_sub_ps(a, b); }
INLINE vf vf_mul(vf a, vf b) { return _mm256_mul_ps(a, b); }
INLINE vf vf_div(vf a, vf b) { return _mm256_div_ps(a, b); }
INLINE vf vf_sqrt(vf a) { return _mm256_sqrt_ps(a); }
INLINE vf vf_recip(vf a) { return _mm256_div_ps(_mm256_set1_ps(1), a); }
INLINE vf vf_fma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }
INLINE vf vf_fnma(vf a, vf b, vf c) { return _mm256_fnmadd_ps(a, b, c); }
INLINE vf vf_max(vf a, vf b) { return _mm256_max_ps(a, b); }
INLINE vf vf_min(vf a, vf b) { return _mm256_min_ps(a, b); }
INLINE vf vf_floor(vf a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEG_INF | 8); }
INLINE vf vf_ceil(vf a) { return _mm256_round_ps(a, _MM_FROUND_TO_POS_INF | 8); }
INLINE vf vf_round(vf a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | 8); }

INLINE vf vf_and(vf a, vf b) { return _mm256_and_ps(a, b); }
INLINE vf vf_andnot(vf a, vf b) { return _mm256_andnot_ps(a, b); }
INLINE vf vf_or(vf a, vf b) { return _mm256_or_ps(a, b); }
INLINE vf vf_xor(vf a, vf b) { return _mm256_xor_ps(a, b); }
INLINE vi vf_bits(vf a) { return _mm256_castps_si256(a); }
INLINE vf vi_float(vi a) { return _mm256_castsi256_ps(a); }
INLINE vi vf_int(vf a) { return _mm256_cvtps_epi32(a); }
INLINE vf vi_cvt(vi a) { return _mm256_cvtepi32_ps(a); }
INLINE vi vi_add(vi a, vi b) { return _mm256_add_epi32(a, b); }
INLINE vi vi_sub(vi a, vi b) { return _mm256_sub_epi32(a, b); }
INLINE vi vi_and(vi a, vi b) { return _mm256_and_si256(a, b); }
#define vi_shl(a, n) _mm256_slli_epi32(a, n)
#define vi_sar(a, n) _mm256_srai_epi32(a, n)

INLINE vm vf_lt(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_LT_OQ); }
INLINE vm vf_eq(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_EQ_OQ); }
INLINE vm vf_isnan(vf a) { return _mm256_cmp_ps(a, a, _CMP_UNORD_Q); }
INLINE vm vi_eq(vi a, vi b) { return _mm256_castsi256_ps(_mm256_cmpeq_epi32(a, b)); }
INLINE vf vf_sel(vm m, vf a, vf b) { return _mm256_blendv_ps(b, a, m); }
INLINE vm vm_or(vm a, vm b) { return _mm256_or_ps(a, b); }
INLINE vm vm_andnot(vm a, vm b) { return _mm256_andnot_ps(a, b); }
INLINE bool vm_any(vm a) { return _mm256_movemask_ps(a) != 0; }

INLINE vf vf_gather(const float *p, int stride, vm m) {
  vi lane = _mm256_set_epi32(7, 6, 5, 4, 3, 2, 1, 0);
  return _mm256_mask_i32gather_ps(vf_set1(0), p, _mm256_mullo_epi32(lane, vi_set1(stride)), m, 4);
}

#define VF_FOLD(op, a) (a)

INLINE __m256d wide(__m128 a) { return _mm256_cvtps_pd(a); }
INLINE __m256d vf_sum4(vf a, vf b) {
  __m256d s = _mm256_add_pd(wide(_mm256_castps256_ps128(a)), wide(_mm256_extractf128_ps(a, 1)));
  __m256d t = _mm256_add_pd(wide(_mm256_castps256_ps128(b)), wide(_mm256_extractf128_ps(b, 1)));
  return _mm256_add_pd(s, t);
}

#endif

INLINE vf vf_loadn(const float *p, int64_t n) { return vf_loadm(p, vm_first(n)); }
INLINE void vf_storen(float *p, int64_t n, vf a) { vf_storem(p, vm_first(n), a); }

/* Lanes lo <= l < hi. */
INLINE vm vm_range(int64_t lo, int64_t hi) { return vm_andnot(vm_first(lo), vm_first(hi)); }

/* Copy n elements of 4 bytes, or set them to 0: memcpy costs more than a short row. Loads of float
 * move any bits unchanged. */
INLINE void copy_4(float *y, const float *x, int64_t n) {
  int64_t j = 0;
  for (; j <= n - VW; j += VW) vf_store(y + j, vf_load(x + j));
  if (j < n) vf_storen(y + j, n - j, vf_loadn(x + j, n - j));
}
INLINE void zero_4(float *y, int64_t n) {
  int64_t j = 0;
  for (; j <= n - VW; j += VW) vf_store(y + j, vf_set1(0));
  if (j < n) vf_storen(y + j, n - j, vf_set1(0));
}

/* All lanes into one by an operation. */
#define VF_REDUCE(name, op)                                                                        \
  INLINE float vf_h##name(vf a) {                                                                  \
    __m256 h = VF_FOLD(_mm256_##op##_ps, a);                                                       \
    __m128 q = _mm_##op##_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));              \
    q = _mm_##op##_ps(q, _mm_movehl_ps(q, q));                                                     \
    return _mm_cvtss_f32(_mm_##op##_ps(q, _mm_shuffle_ps(q, q, 1)));                               \
  }
/* The sum of all lanes of both, rounded to double only: vf_hsum rounds to float at each step. */
INLINE double vf_sum2(vf a, vf b) {
  __m256d s = vf_sum4(a, b);
  __m128d q = _mm_add_pd(_mm256_castpd256_pd128(s), _mm256_extractf128_pd(s, 1));
  return _mm_cvtsd_f64(_mm_add_sd(q, _mm_unpackhi_pd(q, q)));
}

VF_REDUCE(sum, add)
VF_REDUCE(prod, mul)
VF_REDUCE(max, max)
VF_REDUCE(min, min)

#endif
