/* Strips of integers, comparisons, logic, conversions and selections, for all ISAs: plain loops
 * that the compiler vectorises. Every column stride gets its own loop, since a loop with a
 * variable stride is not vectorised; ivdep because in place means the very same element. */
#include "ukr_impl.h"

#include <math.h>
#include <string.h>

#define LOOP(statement)                                                                            \
  _Pragma("GCC ivdep") for (int64_t j = 0; j < n; j++) { statement; }

#define UNARY(name, IN, OUT, expr)                                                                 \
  FN(name) {                                                                                       \
    int64_t m = v[0], n = v[1], sx = v[2], cx = v[3], sy = v[4];                                   \
    for (int64_t i = 0; i < m && n > 0; i++) {                                                     \
      const IN *x = (const IN *)p[0] + i * sx;                                                     \
      OUT *y = (OUT *)p[1] + i * sy;                                                               \
      if (cx) {                                                                                    \
        LOOP(IN a = x[j]; y[j] = (OUT)(expr))                                                      \
      } else {                                                                                     \
        IN a = x[0];                                                                               \
        OUT r = (OUT)(expr);                                                                       \
        LOOP(y[j] = r)                                                                             \
      }                                                                                            \
    }                                                                                              \
    return 0;                                                                                      \
  }

#define BINARY(name, IN, OUT, expr)                                                                \
  FN(name) {                                                                                       \
    int64_t m = v[0], n = v[1], sx = v[2], cx = v[3], sy = v[4], cy = v[5], sz = v[6];             \
    for (int64_t i = 0; i < m && n > 0; i++) {                                                     \
      const IN *x = (const IN *)p[0] + i * sx, *y = (const IN *)p[1] + i * sy;                     \
      OUT *z = (OUT *)p[2] + i * sz;                                                               \
      const IN x0 = x[0], y0 = y[0];                                                               \
      if (cx && cy) {                                                                              \
        LOOP(IN a = x[j]; IN b = y[j]; z[j] = (OUT)(expr))                                         \
      } else if (cx) {                                                                             \
        LOOP(IN a = x[j]; IN b = y0; z[j] = (OUT)(expr))                                           \
      } else if (cy) {                                                                             \
        LOOP(IN a = x0; IN b = y[j]; z[j] = (OUT)(expr))                                           \
      } else {                                                                                     \
        IN a = x0, b = y0;                                                                         \
        OUT r = (OUT)(expr);                                                                       \
        LOOP(z[j] = r)                                                                             \
      }                                                                                            \
    }                                                                                              \
    return 0;                                                                                      \
  }

/* Wrapping arithmetic is arithmetic on the unsigned type. */
#define WRAP(U, op) (U) a op(U) b

/* The least value over -1 wraps, too; a divisor of 0 gives 0. */
#define DIVIDE(U) b == 0 ? 0 : b == -1 ? (int64_t)(0 - (U)a) : a / b

#define INTEGERS(S, T, U)                                                                          \
  BINARY(add_##S, T, T, WRAP(U, +))                                                                \
  BINARY(sub_##S, T, T, WRAP(U, -))                                                                \
  BINARY(mul_##S, T, T, WRAP(U, *))                                                                \
  BINARY(div_##S, T, T, DIVIDE(U))                                                                 \
  BINARY(max_##S, T, T, a > b ? a : b)                                                             \
  BINARY(min_##S, T, T, a < b ? a : b)
INTEGERS(i64, int64_t, uint64_t)
INTEGERS(i32, int32_t, uint32_t)

#define COMPARISONS(S, T)                                                                          \
  BINARY(eq_##S, T, uint8_t, a == b)                                                               \
  BINARY(lt_##S, T, uint8_t, a < b)                                                                \
  BINARY(le_##S, T, uint8_t, a <= b)
COMPARISONS(f32, float)
COMPARISONS(i64, int64_t)
COMPARISONS(i32, int32_t)
BINARY(eq_u8, uint8_t, uint8_t, a == b)
BINARY(and_u8, uint8_t, uint8_t, (a != 0) & (b != 0))
BINARY(or_u8, uint8_t, uint8_t, (a | b) != 0)
BINARY(xor_u8, uint8_t, uint8_t, (a != 0) ^ (b != 0))

UNARY(not_u8, uint8_t, uint8_t, a == 0)
UNARY(isnan_f32, float, uint8_t, a != a)
UNARY(neg_i64, int64_t, int64_t, 0 - (uint64_t)a)
UNARY(abs_i64, int64_t, int64_t, a < 0 ? 0 - (uint64_t)a : (uint64_t)a)
/* NaN fails both comparisons. The upper bounds are exclusive: 2^63 and 2^31 are floats. */
UNARY(cvt_f32_i64, float, int64_t, a >= -0x1p63f && a < 0x1p63f ? (int64_t)a : 0)
UNARY(cvt_f32_i32, float, int32_t, a >= -0x1p31f && a < 0x1p31f ? (int32_t)a : 0)
UNARY(cvt_f32_bool, float, uint8_t, a != 0)
UNARY(cvt_i64_f32, int64_t, float, a)
UNARY(cvt_i64_i32, int64_t, int32_t, (uint32_t)(uint64_t)a)
UNARY(cvt_i64_bool, int64_t, uint8_t, a != 0)
UNARY(cvt_i32_f32, int32_t, float, a)
UNARY(cvt_i32_i64, int32_t, int64_t, a)
UNARY(cvt_i32_bool, int32_t, uint8_t, a != 0)
UNARY(cvt_u8_f32, uint8_t, float, a)
UNARY(cvt_u8_i64, uint8_t, int64_t, a)
UNARY(cvt_u8_i32, uint8_t, int32_t, a)
UNARY(cvt_f64_f32, double, float, a)
UNARY(cvt_f32_f64, float, double, a)

#define SELECT(name, T)                                                                            \
  FN(name) {                                                                                       \
    int64_t m = v[0], n = v[1], sc = v[2], cc = v[3], sx = v[4], cx = v[5], sy = v[6], cy = v[7],  \
            sz = v[8];                                                                             \
    for (int64_t i = 0; i < m && n > 0; i++) {                                                     \
      const uint8_t *c = (const uint8_t *)p[0] + i * sc;                                           \
      const T *x = (const T *)p[1] + i * sx, *y = (const T *)p[2] + i * sy;                        \
      T *z = (T *)p[3] + i * sz;                                                                   \
      const T x0 = x[0], y0 = y[0];                                                                \
      if (cc && cx && cy) {                                                                        \
        LOOP(T a = x[j]; T b = y[j]; z[j] = c[j] ? a : b)                                          \
      } else if (cc && cx) {                                                                       \
        LOOP(T a = x[j]; z[j] = c[j] ? a : y0)                                                     \
      } else if (cc && cy) {                                                                       \
        LOOP(T b = y[j]; z[j] = c[j] ? x0 : b)                                                     \
      } else {                                                                                     \
        for (int64_t j = 0; j < n; j++) z[j] = c[j * cc] ? x[j * cx] : y[j * cy];                  \
      }                                                                                            \
    }                                                                                              \
    return 0;                                                                                      \
  }
SELECT(select_1, uint8_t)
SELECT(select_4, uint32_t)
SELECT(select_8, uint64_t)
