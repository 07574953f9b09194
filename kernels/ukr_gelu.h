/* GELU, x Phi(x), and its form with tanh. */
#ifndef FVM_UKR_GELU_H
#define FVM_UKR_GELU_H

#include "ukr_math.h"

/* max(x, 0) - a Phi(-a) with a = |x|; -0 at -inf. Phi(-a) = exp(-a^2 / 2) M(a), where M(a) (a + 4)
 * is a polynomial in u = a / (a + 4) on [0, 15]; the rounding error of a^2 goes into the
 * exponential, that of a + 4 into the correction of the reciprocal. The polynomial is one in u -
 * 0.4375: in u it is worse by 4 ULP at the far end, in u - 1/2 by 1 near 0. */
INLINE vf gelu_any(vf x) {
  const vf half = vf_set1(-0.5f), one = vf_set1(1), four = vf_set1(4);
  vf a = vf_min(vf_set1(15), vf_abs(x));
  vf s = vf_mul(a, a), s_low = vf_fma(a, a, vf_xor(s, vf_set1(-0.0f)));
  vf about = vf_recip(vf_add(a, four)), rest = vf_fnma(a, about, vf_fnma(four, about, one));
  vf u = vf_mul(a, vf_fma(about, rest, about)), n, r = exp_reduce(vf_mul(half, s), &n);
  vf e = expm1_core(vf_fma(half, s_low, r));
  vf m = POLY(vf_sub(u, vf_set1(0.4375f)), 0x1.ace714p-1f, -0x1.6d84e4p+0f, 0x1.d9fd04p+0f,
              -0x1.bdf428p+0f, 0x1.06e128p+0f, -0x1.205adp-3f, -0x1.398888p-2f, 0x1.59933cp-3f,
              0x1.5572c2p-4f, -0x1.196e7ap-4f);
  vf w = vf_mul(u, m);
  return vf_sub(vf_max(vf_set1(0), x), vf_scale(vf_fma(w, e, w), n));
}

/* 0 at -inf. tanh turns into a sigmoid of z = 2 sqrt(2 / pi) (x + 0.044715 x^3), computed as
 * a sum of two floats: in the lower tail its absolute error is the relative error of the result. */
INLINE vf gelu_tanh_any(vf x) {
  const vf minus = vf_set1(-0.0f), A = vf_set1(0x1.988454p+0f), A_low = vf_set1(-0x1.857936p-25f);
  const vf B = vf_set1(0x1.2444f2p-4f), B_low = vf_set1(0x1.49b16ap-29f);
  vf clipped = vf_max(vf_set1(-15), x), c = vf_min(vf_set1(15), clipped);
  vf s = vf_mul(c, c), s_low = vf_fma(c, c, vf_xor(s, minus));
  vf p = vf_mul(B, s), p_low = vf_fma(B, s, vf_xor(p, minus));
  p_low = vf_add(p_low, vf_fma(B, s_low, vf_fma(B_low, s, A_low)));
  vf t = vf_add(A, p), u = vf_sub(t, A);
  vf t_low = vf_add(p_low, vf_add(vf_sub(A, vf_sub(t, u)), vf_sub(p, u)));
  vf z = vf_mul(c, t), z_low = vf_fma(c, t_low, vf_fma(c, t, vf_xor(z, minus)));
  return times_sigmoid(clipped, z, z_low);
}

#ifdef __AVX512F__

/* ---- near 0, in 21 instructions a vector instead of 40 ------------------------------------------
 * max(x, 0) - a Phi(-a) with a = |x|: Phi is a polynomial in the distance to the nearest of 32
 * points, its coefficients looked up in registers. Beyond the last point Phi does not count any
 * more where x > 0 (0.1 ULP, of the form with tanh 0.3); far below 0 the functions above go on. */

/* Row k: coefficients of t^k around each point, fitted to a relative error of 3e-8. Points are 3/16
 * apart here, */
static const float ukr_gauss[7][32] = {
    {0x1p-1f,         0x1.b3d97cp-2f,  0x1.6a527ap-2f,  0x1.25c5e4p-2f,  0x1.d022p-3f,
     0x1.64dd8ep-3f,  0x1.0ad7dap-3f,  0x1.83cab6p-4f,  0x1.11a46ep-4f,  0x1.76d04ep-5f,
     0x1.f20394p-6f,  0x1.40cccep-6f,  0x1.90925p-7f,   0x1.e49cecp-8f,  0x1.1bee6cp-8f,
     0x1.42297ap-9f,  0x1.61de2p-10f,  0x1.7832e6p-11f, 0x1.8301bep-12f, 0x1.812f0ep-13f,
     0x1.72d956p-14f, 0x1.595676p-15f, 0x1.36feaep-16f, 0x1.0ed0e2p-17f, 0x1.c80728p-19f,
     0x1.733238p-20f, 0x1.24149ap-21f, 0x1.bc4ed8p-23f, 0x1.46a16cp-24f, 0x1.d02498p-26f,
     0x1.3eb346p-27f, 0x1.a6f212p-29f},
    {-0x1.988454p-2f,  -0x1.91661p-2f,   -0x1.7cc794p-2f,  -0x1.5cbdcp-2f,   -0x1.345d5ep-2f,
     -0x1.073e62p-2f,  -0x1.b1ec62p-3f,  -0x1.594762p-3f,  -0x1.094086p-3f,  -0x1.8977c8p-4f,
     -0x1.19bfa4p-4f,  -0x1.858fbcp-5f,  -0x1.0402ep-5f,   -0x1.4f18bcp-6f,  -0x1.a0f22cp-7f,
     -0x1.f4dda6p-8f,  -0x1.227214p-8f,  -0x1.4536f2p-9f,  -0x1.5f90f6p-10f, -0x1.6eec8cp-11f,
     -0x1.71b92ep-12f, -0x1.67aca4p-13f, -0x1.51cfa6p-14f, -0x1.3250fep-15f, -0x1.0c29a6p-16f,
     -0x1.c54d7ep-18f, -0x1.71e57ap-19f, -0x1.2368d6p-20f, -0x1.bb4a9p-22f,  -0x1.4584e4p-23f,
     -0x1.cd8eaap-25f, -0x1.3beb6cp-26f},
    {0x1.8d3748p-33f, 0x1.2d0c8cp-5f,  0x1.1d95bp-4f,   0x1.885578p-4f,  0x1.ce8c0ep-4f,
     0x1.ed94f8p-4f,  0x1.e829eep-4f,  0x1.c52dbp-4f,   0x1.8de0c8p-4f,  0x1.4bfd12p-4f,
     0x1.0823aap-4f,  0x1.91bc3ap-5f,  0x1.24833cp-5f,  0x1.986624p-6f,  0x1.119eecp-6f,
     0x1.602bd8p-7f,  0x1.b3ab1ep-8f,  0x1.0327cap-8f,  0x1.28a25p-9f,   0x1.46caacp-10f,
     0x1.5a9d9cp-11f, 0x1.620dfp-12f,  0x1.5c5e2p-13f,  0x1.4a3f4ep-14f, 0x1.2daed6p-15f,
     0x1.099b6p-16f,  0x1.c2cf9cp-18f, 0x1.70d09ep-19f, 0x1.22e8dep-20f, 0x1.ba8084p-22f,
     0x1.44883p-23f,  0x1.cb11ep-25f},
    {0x1.105822p-4f,   0x1.0230e8p-4f,   0x1.b44f42p-5f,   0x1.3ddceep-5f,   0x1.67c25cp-6f,
     0x1.5406b2p-8f,   -0x1.335c4cp-7f,  -0x1.4cb09p-6f,   -0x1.ba160cp-6f,  -0x1.e4a978p-6f,
     -0x1.d8840ep-6f,  -0x1.a68848p-6f,  -0x1.60194cp-6f,  -0x1.13f99cp-6f,  -0x1.99588cp-7f,
     -0x1.206c0ep-7f,  -0x1.8342dep-8f,  -0x1.f080cap-9f,  -0x1.306a82p-9f,  -0x1.657cdap-10f,
     -0x1.92755p-11f,  -0x1.b2b8c4p-12f, -0x1.c2da0cp-13f, -0x1.c13338p-14f, -0x1.ae2c1ep-15f,
     -0x1.8c1df4p-16f, -0x1.5edd54p-17f, -0x1.2b09cp-18f,  -0x1.ea9b4p-20f,  -0x1.83709ep-21f,
     -0x1.269ebap-22f, -0x1.af89c8p-24f},
    {-0x1.d6ba06p-25f, -0x1.2985b8p-7f, -0x1.1032b6p-6f, -0x1.5ef45cp-6f, -0x1.77d19p-6f,
     -0x1.5cfa02p-6f,  -0x1.1a37e6p-6f, -0x1.81e852p-7f, -0x1.8de004p-8f, -0x1.0dbc92p-10f,
     0x1.6b309cp-9f,   0x1.4fd2ccp-8f,  0x1.9233bcp-8f,  0x1.906b7p-8f,   0x1.62d988p-8f,
     0x1.20337ep-8f,   0x1.b3aab8p-9f,  0x1.3543e4p-9f,  0x1.9ed336p-10f, 0x1.07ec9ap-10f,
     0x1.3f8a3ap-11f,  0x1.70edb4p-12f, 0x1.96e496p-13f, 0x1.ad4594p-14f, 0x1.b1b056p-15f,
     0x1.a3f698p-16f,  0x1.8615ccp-17f, 0x1.5bc688p-18f, 0x1.29c27p-19f,  0x1.e9e1fap-21f,
     0x1.835778p-22f,  0x1.267adep-23f},
    {-0x1.463744p-7f,  -0x1.2a2588p-7f,  -0x1.b93f28p-8f,  -0x1.beb54p-9f,   0x1.29530ap-13f,
     0x1.a40f7ap-9f,   0x1.595cf2p-8f,   0x1.917082p-8f,   0x1.800e02p-8f,   0x1.3946ep-8f,
     0x1.aec974p-9f,   0x1.cca59ep-10f,  0x1.e88048p-12f,  -0x1.d58cbcp-12f, -0x1.fa20cap-11f,
     -0x1.2db9dp-10f,  -0x1.221b6ep-10f, -0x1.ea7f9cp-11f, -0x1.796cb2p-11f, -0x1.0d0c1cp-11f,
     -0x1.670cap-12f,  -0x1.c381fp-13f,  -0x1.0cbad2p-13f, -0x1.2fcebep-14f, -0x1.4701e2p-15f,
     -0x1.4fc15p-16f,  -0x1.495872p-17f, -0x1.35034ap-18f, -0x1.159c0cp-19f, -0x1.ddfde2p-21f,
     -0x1.8a9f98p-22f, -0x1.389e72p-23f},
    {0x1.16eeap-18f,   0x1.8847bcp-10f,  0x1.5942eap-9f,   0x1.9f8dep-9f,    0x1.8d86d6p-9f,
     0x1.316914p-9f,   0x1.54be5ap-10f,  0x1.d4aecep-13f,  -0x1.59b3bap-11f, -0x1.3c974p-10f,
     -0x1.6d7398p-10f, -0x1.504fc2p-10f, -0x1.02f96ap-10f, -0x1.4940dp-11f,  -0x1.364734p-12f,
     -0x1.74f242p-15f, 0x1.d29a0ep-14f,  0x1.7ec964p-13f,  0x1.95ae82p-13f,  0x1.63d5dep-13f,
     0x1.14adaap-13f,  0x1.88da3cp-14f,  0x1.02aed8p-14f,  0x1.3efa2cp-15f,  0x1.7292c4p-16f,
     0x1.97609ap-17f,  0x1.a91dccp-18f,  0x1.a62336p-19f,  0x1.8fa004p-20f,  0x1.693548p-21f,
     0x1.381aecp-22f,  0x1.020fe6p-23f},
};
/* and 21/128 for the form with tanh. */
static const float ukr_gauss_tanh[7][32] = {
    {0x1p-1f,         0x1.bd4754p-2f,  0x1.7c555cp-2f,  0x1.3ecc5cp-2f,  0x1.060a96p-2f,
     0x1.a6271ap-3f,  0x1.4d092ep-3f,  0x1.012a24p-3f,  0x1.8483aap-4f,  0x1.1ee9f8p-4f,
     0x1.9e02cap-5f,  0x1.239b0ep-5f,  0x1.90ab2ep-6f,  0x1.0c37b8p-6f,  0x1.5d8532p-7f,
     0x1.bac17ep-8f,  0x1.103a64p-8f,  0x1.447b24p-9f,  0x1.764b0ep-10f, 0x1.a121e8p-11f,
     0x1.c05a7cp-12f, 0x1.cff448p-13f, 0x1.cd5db8p-14f, 0x1.b813d2p-15f, 0x1.91e5aep-16f,
     0x1.5ebe14p-17f, 0x1.23f72ap-18f, 0x1.cec254p-20f, 0x1.5c7b04p-21f, 0x1.f1c8dep-23f,
     0x1.508f72p-24f, 0x1.ae0366p-26f},
    {-0x1.988454p-2f,  -0x1.930788p-2f,  -0x1.8302c6p-2f,  -0x1.69bb9ep-2f,  -0x1.492072p-2f,
     -0x1.23894ep-2f,  -0x1.f6dfb8p-3f,  -0x1.a6556ep-3f,  -0x1.596d08p-3f,  -0x1.1326dap-3f,
     -0x1.aae26p-4f,   -0x1.426b36p-4f,  -0x1.da0612p-5f,  -0x1.52f462p-5f,  -0x1.d7287ep-6f,
     -0x1.3df87ap-6f,  -0x1.a03e66p-7f,  -0x1.07dfc6p-7f,  -0x1.438baap-8f,  -0x1.7f04eap-9f,
     -0x1.b503f6p-10f, -0x1.dfb5b4p-11f, -0x1.f9a926p-12f, -0x1.fee176p-13f, -0x1.edc794p-14f,
     -0x1.c7b118p-15f, -0x1.90c754p-16f, -0x1.4f473ap-17f, -0x1.0a4922p-18f, -0x1.90cf52p-20f,
     -0x1.1d4bbep-21f, -0x1.7f6812p-23f},
    {0x1.75675cp-34f, 0x1.09c03ep-5f,  0x1.fe1b8cp-5f,  0x1.6545ap-4f,   0x1.b0e04ap-4f,
     0x1.de875ap-4f,  0x1.ee5654p-4f,  0x1.e36be8p-4f,  0x1.c31018p-4f,  0x1.93a826p-4f,
     0x1.5bb3f2p-4f,  0x1.21022p-4f,   0x1.d062e8p-5f,  0x1.68fde4p-5f,  0x1.0fa2a6p-5f,
     0x1.8baf8ap-6f,  0x1.16d006p-6f,  0x1.7bcc36p-7f,  0x1.f37d04p-8f,  0x1.3ca682p-8f,
     0x1.826ef8p-9f,  0x1.c520d2p-10f, 0x1.fd97dep-11f, 0x1.124e58p-11f, 0x1.1a27ccp-12f,
     0x1.14c5aap-13f, 0x1.0268bep-14f, 0x1.ca67bep-16f, 0x1.8189a4p-17f, 0x1.32e22ap-18f,
     0x1.cd844ep-20f, 0x1.473874p-21f},
    {0x1.11b14p-4f,    0x1.0692dp-4f,    0x1.cd704ep-5f,   0x1.6cbb28p-5f,   0x1.eede0cp-6f,
     0x1.eec092p-7f,   0x1.bd7c0ep-11f,  -0x1.70166ep-7f,  -0x1.4d1bbcp-6f,  -0x1.ac838ep-6f,
     -0x1.d906bap-6f,  -0x1.dab5eep-6f,  -0x1.bc61dap-6f,  -0x1.895b84p-6f,  -0x1.4bd874p-6f,
     -0x1.0c0b9p-6f,   -0x1.9fab76p-7f,  -0x1.35bec8p-7f,  -0x1.bbb958p-8f,  -0x1.315692p-8f,
     -0x1.934ab8p-9f,  -0x1.fe8148p-10f, -0x1.352bd6p-10f, -0x1.65b49cp-11f, -0x1.8a9c28p-12f,
     -0x1.9e50d6p-13f, -0x1.9d413ep-14f, -0x1.86deacp-15f, -0x1.5dee74p-16f, -0x1.27febcp-17f,
     -0x1.d84384p-19f, -0x1.62afb8p-20f},
    {-0x1.20fdcap-25f, -0x1.0bfb14p-7f, -0x1.f3e41p-7f,  -0x1.4d17acp-6f, -0x1.768dd4p-6f,
     -0x1.74c19ep-6f,  -0x1.4d3576p-6f, -0x1.0ab10ap-6f, -0x1.74d7c6p-7f, -0x1.a46524p-8f,
     -0x1.05612ap-9f,  0x1.8bc098p-10f, 0x1.031eap-8f,   0x1.606f1p-8f,   0x1.8510ecp-8f,
     0x1.7eba82p-8f,   0x1.5b94acp-8f,  0x1.284c06p-8f,  0x1.de2cb6p-9f,  0x1.6ec44ep-9f,
     0x1.0be188p-9f,   0x1.74c1e4p-10f, 0x1.edd95ep-11f, 0x1.372774p-11f, 0x1.747216p-12f,
     0x1.a6da6p-13f,   0x1.c6a7c2p-14f, 0x1.ce38e2p-15f, 0x1.bb9accp-16f, 0x1.913feap-17f,
     0x1.5581ccp-18f,  0x1.110c9ap-19f},
    {-0x1.4dce32p-7f,  -0x1.372cfap-7f,  -0x1.eec324p-8f,  -0x1.33e31cp-8f,  -0x1.7c2ccap-10f,
     0x1.ad8828p-10f,  0x1.0c3402p-8f,   0x1.702aep-8f,    0x1.92dceap-8f,   0x1.7d0c58p-8f,
     0x1.3fb1cap-8f,   0x1.dc2e82p-9f,   0x1.324268p-9f,   0x1.332ae4p-10f,  0x1.f6f146p-13f,
     -0x1.be524ep-12f, -0x1.b7134cp-11f, -0x1.0f4032p-10f, -0x1.17e6ccp-10f, -0x1.030818p-10f,
     -0x1.b9f42ep-11f, -0x1.5fe272p-11f, -0x1.0704fp-11f,  -0x1.7216c8p-12f, -0x1.ea9a48p-13f,
     -0x1.325c56p-13f, -0x1.684ae6p-14f, -0x1.8eabeap-15f, -0x1.9ea616p-16f, -0x1.94ea52p-17f,
     -0x1.72cd06p-18f, -0x1.3e04ep-19f},
    {0x1.bf5636p-19f,  0x1.6b2cdcp-10f,  0x1.49dd54p-9f,   0x1.a2b5ap-9f,   0x1.b1e0c6p-9f,
     0x1.79a20ap-9f,   0x1.0c7178p-9f,   0x1.0e4b72p-10f,  0x1.eb445p-15f,  -0x1.6e1786p-11f,
     -0x1.2fcf3ap-10f, -0x1.5c8a7p-10f,  -0x1.4dc358p-10f, -0x1.198e6p-10f, -0x1.a8ca08p-11f,
     -0x1.1b186cp-11f, -0x1.39e9acp-12f, -0x1.be50a6p-14f, 0x1.184784p-15f, 0x1.00818ep-13f,
     0x1.5e7c8ap-13f,  0x1.73ee2ap-13f,  0x1.572e26p-13f,  0x1.1dfeacp-13f, 0x1.b5a502p-14f,
     0x1.35e518p-14f,  0x1.97d37p-15f,   0x1.f3c976p-16f,  0x1.1d74d6p-16f, 0x1.3009acp-17f,
     0x1.2de452p-18f,  0x1.1752e6p-19f},
};

INLINE vf gelu_near(vf x, float step, const float table[7][32]) {
  const vf shift = vf_set1(0x1.8p23f); /* makes the number of the point the lowest bits */
  vf a = vf_min(vf_set1(31.25f * step), vf_abs(x)), bits = vf_fma(a, vf_set1(1 / step), shift);
  vf t = vf_fnma(vf_sub(bits, shift), vf_set1(step), a), p = vf_set1(0);
#pragma GCC unroll 7
  for (int k = 6; k >= 0; k--) {
    vf c = _mm512_permutex2var_ps(vf_load(table[k]), vf_bits(bits), vf_load(table[k] + 16));
    p = k == 6 ? c : vf_fma(p, t, c);
  }
  return vf_fnma(a, p, vf_max(vf_set1(0), x));
}

/* Far below 0 is rare. Each lane takes its own way, so its result does not depend on the others. */
#define GELU(name, step, table)                                                                    \
  static __attribute__((noinline)) vf name##_far(vf x) { return name##_any(x); }                   \
  INLINE vf name##_f32(vf x) {                                                                     \
    vf y = gelu_near(x, step, table);                                                              \
    vm far = vf_lt(x, vf_set1(-31.25f * (step)));                                                  \
    return vm_any(far) ? vf_sel(far, name##_far(x), y) : y;                                        \
  }
GELU(gelu, 3 / 16.0f, ukr_gauss)
GELU(gelu_tanh, 21 / 128.0f, ukr_gauss_tanh)
#else
INLINE vf gelu_f32(vf x) { return gelu_any(x); }
INLINE vf gelu_tanh_f32(vf x) { return gelu_tanh_any(x); }
#endif

#endif
