/* Elementary functions on vectors of float. The polynomials are minimax fits (Remez exchange on
 * the interval said beside each). How exact each function is: ukr_ulp.def. */
#ifndef FVM_UKR_MATH_H
#define FVM_UKR_MATH_H

#include "ukr_vec.h"

/* c[n-1] x^(n-1) + ... + c[0] */
INLINE vf poly(vf x, const float *c, const int n) {
  vf y = vf_set1(c[n - 1]);
#pragma GCC unroll 16
  for (int i = n - 2; i >= 0; i--) y = vf_fma(y, x, vf_set1(c[i]));
  return y;
}
#define POLY(x, ...)                                                                               \
  poly(x, (const float[]){__VA_ARGS__}, (int)(sizeof((const float[]){__VA_ARGS__}) / sizeof(float)))

INLINE vf vf_abs(vf x) { return vf_andnot(vf_set1(-0.0f), x); }
/* Magnitude of a, sign of b. */
INLINE vf vf_copysign(vf a, vf b) { return vf_or(vf_abs(a), vf_and(vf_set1(-0.0f), b)); }

/* x 2^n for whole n in [-300, 256], correctly rounded once (AVX-512) or twice (AVX2, denormals). */
#ifdef __AVX512F__
INLINE vf vf_scale(vf x, vf n) { return _mm512_scalef_ps(x, n); }
#else
INLINE vf pow2(vi n) { return vi_float(vi_shl(vi_add(n, vi_set1(127)), 23)); }
INLINE vf vf_scale(vf x, vf n) {
  vi whole = vf_int(n), half = vi_sar(whole, 1);
  return vf_mul(vf_mul(x, pow2(half)), pow2(vi_sub(whole, half)));
}
#endif

/* x = n ln 2 + r, |r| <= ln 2 / 2. The first product leaves no rounding error, for x is a multiple
 * of its last place. */
INLINE vf exp_reduce(vf x, vf *n) {
  *n = vf_round(vf_mul(x, vf_set1(0x1.715476p+0f)));
  vf r = vf_fnma(*n, vf_set1(0x1.62e43p-1f), x);
  return vf_fnma(*n, vf_set1(-0x1.05c61p-29f), r);
}

/* exp(r) - 1 for |r| <= ln 2 / 2 */
INLINE vf expm1_core(vf r) {
  vf q = POLY(r, 0x1p-1f, 0x1.5554aep-3f, 0x1.555486p-5f, 0x1.12287ep-7f, 0x1.6d99bcp-10f);
  return vf_fma(vf_mul(r, r), q, r);
}

/* exp(x + low) = result 2^n for |low| << 1; x at most 89. Below -112 even x exp(x) is 0. NaN
 * passes, since max and min return their second operand then. */
INLINE vf exp_parts(vf x, vf low, vf *n) {
  vf r = exp_reduce(vf_max(vf_set1(-112), x), n);
  return vf_add(expm1_core(vf_add(r, low)), vf_set1(1));
}

INLINE vf exp_f32(vf x) {
  vf n, p = exp_parts(vf_min(vf_set1(89), x), vf_set1(0), &n);
  return vf_scale(p, n);
}

/* 3 ULP for x <= 0, in fewer steps than exp_f32. 0 from -112 on downwards. */
INLINE vf exp_weight(vf x) {
  vf n, r = exp_reduce(vf_max(vf_set1(-112), x), &n);
  vf p = POLY(r, 1, 1, 0x1.fffdfcp-2f, 0x1.5557bp-3f, 0x1.572a66p-5f, 0x1.106252p-7f);
  return vf_scale(p, n);
}

/* log(1 + f) + e ln 2 for sqrt(1/2) <= 1 + f <= sqrt(2) */
INLINE vf log_core(vf f, vf e) {
  vf f2 = vf_mul(f, f);
  vf p = POLY(f, 0x1.55554ap-2f, -0x1.00022p-2f, 0x1.99a596p-3f, -0x1.54788cp-3f, 0x1.226e4ap-3f,
              -0x1.0ce078p-3f, 0x1.07d0fp-3f, -0x1.41ee1ap-4f);
  vf y = vf_mul(vf_mul(f, f2), p);
  y = vf_fma(e, vf_set1(0x1.7f7d1cp-20f), y);
  y = vf_fnma(vf_set1(0.5f), f2, y);
  return vf_fma(e, vf_set1(0x1.62e4p-1f), vf_add(f, y));
}

INLINE vf log_f32(vf x) {
  const vi root = vi_set1(0x3f3504f3); /* sqrt(1/2) */
  vm tiny = vf_lt(x, vf_set1(0x1p-126f));
  vi bits = vi_sub(vf_bits(vf_sel(tiny, vf_mul(x, vf_set1(0x1p23f)), x)), root);
  vf e = vi_cvt(vi_sar(bits, 23));
  vf m = vi_float(vi_add(vi_and(bits, vi_set1(0x7fffff)), root));
  e = vf_sel(tiny, vf_sub(e, vf_set1(23)), e);
  vf y = log_core(vf_sub(m, vf_set1(1)), e);
  y = vf_sel(vf_eq(x, vf_set1(__builtin_inff())), x, y);
  y = vf_sel(vf_eq(x, vf_set1(0)), vf_set1(-__builtin_inff()), y);
  return vf_sel(vm_or(vf_lt(x, vf_set1(0)), vf_isnan(x)), vf_set1(__builtin_nanf("")), y);
}

/* From 1 on through erfc = exp(polynomial), on [0.99, 4]. */
INLINE vf erf_f32(vf x) {
  vf a = vf_abs(x), s = vf_mul(x, x), big = vf_min(vf_set1(4), a);
  vf p = POLY(s, 0x1.06eba8p-3f, -0x1.81273ep-2f, 0x1.ce2d2p-4f, -0x1.b7fbb4p-6f, 0x1.5419f6p-8f,
              -0x1.a485ecp-11f, 0x1.4ae4d2p-14f);
  vf g = POLY(big, 0x1.9c6d72p-13f, -0x1.212ee8p+0f, -0x1.4428f8p-1f, -0x1.bc8e72p-4f,
              0x1.9e6e3cp-6f, -0x1.163736p-8f, 0x1.db0d82p-12f, -0x1.8b8624p-16f, 0x1.185b58p-23f);
  vf far = vf_copysign(vf_sub(vf_set1(1), exp_f32(g)), x);
  return vf_sel(vf_lt(a, vf_set1(1)), vf_fma(x, p, x), far);
}

/* E / (e + 2) with e = exp(2 |x|) - 1 keeps all digits near 0. */
INLINE vf tanh_f32(vf x) {
  vf a = vf_min(vf_set1(10), vf_abs(x)), n, r = exp_reduce(vf_add(a, a), &n);
  vf s = vf_scale(vf_set1(1), n);
  vf e = vf_fma(s, expm1_core(r), vf_sub(s, vf_set1(1)));
  return vf_copysign(vf_div(e, vf_add(e, vf_set1(2))), x);
}

/* x / (1 + exp(-z - low)) by exp of a value <= 0, which cannot overflow. Where z < 0, the power of
 * two comes last, so that no factor is denormal before the result is. */
INLINE vf times_sigmoid(vf x, vf z, vf low) {
  const vf minus = vf_set1(-0.0f), one = vf_set1(1);
  vm negative = vf_lt(z, vf_set1(0));
  vf n, p = exp_parts(vf_or(minus, z), vf_xor(vf_xor(low, vf_and(minus, z)), minus), &n);
  vf y = vf_div(vf_sel(negative, vf_mul(x, p), x), vf_add(vf_scale(p, n), one));
  return vf_scale(y, vf_sel(negative, n, vf_set1(0)));
}

INLINE vf sigmoid_f32(vf x) { return times_sigmoid(vf_set1(1), x, vf_set1(0)); }

/* The limit, 0, at -inf */
INLINE vf silu_f32(vf x) {
  vf c = vf_max(vf_set1(-112), x);
  return times_sigmoid(c, c, vf_set1(0));
}

/* Max(x, 0) + log(1 + exp(-|x|)); 1 + t beyond sqrt(2) is halved for log_core. */
INLINE vf softplus_f32(vf x) {
  vf t = exp_f32(vf_or(vf_set1(-0.0f), x));
  vm big = vf_lt(vf_set1(0x1.a8279ap-2f), t);
  vf f = vf_sel(big, vf_fma(vf_set1(0.5f), t, vf_set1(-0.5f)), t);
  vf y = log_core(f, vf_sel(big, vf_set1(1), vf_set1(0)));
  return vf_add(vf_max(vf_set1(0), x), y);
}

/* Largest |x| whose multiple of pi / 2 is reduced here; beyond (and rare), libm does it. */
#define TRIG_LIMIT 32768.0f

/* sin(x + quarter pi / 2), up to TRIG_LIMIT */
INLINE vf sin_quarter(vf x, int quarter) {
  vf n = vf_round(vf_mul(x, vf_set1(0x1.45f306p-1f)));
  vf r = vf_fnma(n, vf_set1(0x1.921fb6p+0f), x);
  r = vf_fnma(n, vf_set1(-0x1.777a5cp-25f), r);
  r = vf_fnma(n, vf_set1(-0x1.ee59dap-50f), r);
  vi q = vi_add(vf_int(n), vi_set1(quarter));
  vf s = vf_mul(r, r);
  vf ps = POLY(s, -0x1.555546p-3f, 0x1.11075cp-7f, -0x1.994cfap-13f);
  vf pc = POLY(s, 0x1.55554ap-5f, -0x1.6c0c86p-10f, 0x1.9a00cep-16f);
  vf sine = vf_fma(vf_mul(r, s), ps, r);
  vf cosine = vf_fma(vf_mul(s, s), pc, vf_fma(vf_set1(-0.5f), s, vf_set1(1)));
  vf y = vf_sel(vi_eq(vi_and(q, vi_set1(1)), vi_set1(0)), sine, cosine);
  return vf_xor(y, vi_float(vi_shl(vi_and(q, vi_set1(2)), 30)));
}

#endif
