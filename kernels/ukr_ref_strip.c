/* Reference of the f32 strips: libm in double, so that rounding to float is the only error. */
#include "ukr_impl.h"

#include <math.h>

#define UNARY(name, expr)                                                                          \
  FN(name) {                                                                                       \
    const float *x = p[0];                                                                         \
    float *y = p[1];                                                                               \
    int64_t m = v[0], n = v[1], sx = v[2], cx = v[3], sy = v[4];                                   \
    for (int64_t i = 0; i < m; i++)                                                                \
      for (int64_t j = 0; j < n; j++) {                                                            \
        double a = (double)x[i * sx + j * cx];                                                     \
        y[i * sy + j] = (float)(expr);                                                             \
      }                                                                                            \
    return 0;                                                                                      \
  }

static double cube(double x) { return x * x * x; }

UNARY(neg_f32, -a)
UNARY(abs_f32, fabs(a))
UNARY(sqrt_f32, sqrt(a))
UNARY(recip_f32, 1 / a)
UNARY(exp_f32, exp(a))
UNARY(log_f32, log(a))
UNARY(erf_f32, erf(a))
UNARY(tanh_f32, tanh(a))
UNARY(sigmoid_f32, 1 / (1 + exp(-a)))
UNARY(relu_f32, a < 0 ? 0 : a)
/* These three go to 0 at -inf, where the formula would be -inf * 0.
 * 1 + erf(t) = erfc(-t) and 1 + tanh(t) = 2 / (1 + exp(-2t)), without cancellation. */
UNARY(gelu_f32, a < -1e30 ? 0 : a / 2 * erfc(-a * M_SQRT1_2))
UNARY(gelu_tanh_f32,
      a < -1e30 ? 0 : a / (1 + exp(-2 * M_2_SQRTPI * M_SQRT1_2 * (a + 0.044715 * cube(a)))))
UNARY(silu_f32, a < -1e30 ? 0 : a / (1 + exp(-a)))
UNARY(floor_f32, floor(a))
UNARY(ceil_f32, ceil(a))
UNARY(round_f32, rint(a))
UNARY(sign_f32, a > 0 ? 1 : a < 0 ? -1 : a)
UNARY(sin_f32, sin(a))
UNARY(cos_f32, cos(a))
UNARY(softplus_f32, a > 0 ? a + log1p(exp(-a)) : log1p(exp(a)))

#define BINARY(name, expr)                                                                         \
  FN(name) {                                                                                       \
    const float *x = p[0], *y = p[1];                                                              \
    float *z = p[2];                                                                               \
    int64_t m = v[0], n = v[1], sx = v[2], cx = v[3], sy = v[4], cy = v[5], sz = v[6];             \
    for (int64_t i = 0; i < m; i++)                                                                \
      for (int64_t j = 0; j < n; j++) {                                                            \
        float a = x[i * sx + j * cx], b = y[i * sy + j * cy];                                      \
        z[i * sz + j] = (expr);                                                                    \
      }                                                                                            \
    return 0;                                                                                      \
  }

BINARY(add_f32, a + b)
BINARY(sub_f32, a - b)
BINARY(mul_f32, a *b)
BINARY(div_f32, a / b)
BINARY(pow_f32, powf(a, b))
/* a + b is NaN if either is. */
BINARY(max_f32, isunordered(a, b) ? a + b : a > b ? a : b)
BINARY(min_f32, isunordered(a, b) ? a + b : a < b ? a : b)
