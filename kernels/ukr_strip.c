/* Fast f32 strips. Rows that follow each other without a gap are one long row. A column stride of
 * 0 takes one value per row. */
#include "ukr_gelu.h"

#include <math.h>

/* ---- one operand ---- */

/* A row of y = name(x), from a macro so that the function is inlined into both loops. */
#define UNARY(name)                                                                                \
  FN(name) {                                                                                       \
    int64_t m = v[0], n = v[1], sx = v[2], cx = v[3], sy = v[4];                                   \
    if (cx && sx == n && sy == n && m > 1) n *= m, m = 1;                                          \
    for (int64_t i = 0; i < m && n > 0; i++) {                                                     \
      const float *x = (const float *)p[0] + i * sx;                                               \
      float *y = (float *)p[1] + i * sy;                                                           \
      if (!cx) {                                                                                   \
        fill(y, n, name(vf_set1(x[0])));                                                           \
        continue;                                                                                  \
      }                                                                                            \
      int64_t j = 0;                                                                               \
      for (; j <= n - VW; j += VW) vf_store(y + j, name(vf_load(x + j)));                          \
      if (j < n) vf_storen(y + j, n - j, name(vf_loadn(x + j, n - j)));                            \
    }                                                                                              \
    return 0;                                                                                      \
  }

static void fill(float *y, int64_t n, vf a) {
  int64_t j = 0;
  for (; j <= n - VW; j += VW) vf_store(y + j, a);
  if (j < n) vf_storen(y + j, n - j, a);
}

/* Lanes one after the other, where no vector form pays. */
static __attribute__((noinline)) vf each(vf x, float (*f)(float)) {
  float a[VW];
  vf_store(a, x);
  for (int i = 0; i < VW; i++) a[i] = f(a[i]);
  return vf_load(a);
}

static __attribute__((noinline)) vf each2(vf x, vf y, float (*f)(float, float)) {
  float a[VW], b[VW];
  vf_store(a, x);
  vf_store(b, y);
  for (int i = 0; i < VW; i++) a[i] = f(a[i], b[i]);
  return vf_load(a);
}

INLINE vf neg_f32(vf x) { return vf_xor(x, vf_set1(-0.0f)); }
INLINE vf abs_f32(vf x) { return vf_abs(x); }
INLINE vf sqrt_f32(vf x) { return vf_sqrt(x); }
INLINE vf recip_f32(vf x) { return vf_div(vf_set1(1), x); }
INLINE vf relu_f32(vf x) { return vf_max(vf_set1(0), x); } /* a NaN stays */
INLINE vf floor_f32(vf x) { return vf_floor(x); }
INLINE vf ceil_f32(vf x) { return vf_ceil(x); }
INLINE vf round_f32(vf x) { return vf_round(x); }
INLINE vf sign_f32(vf x) {
  vf y = vf_sel(vf_lt(vf_set1(0), x), vf_set1(1), x);
  return vf_sel(vf_lt(x, vf_set1(0)), vf_set1(-1), y);
}
INLINE vf sin_f32(vf x) {
  if (vm_any(vf_lt(vf_set1(TRIG_LIMIT), vf_abs(x)))) return each(x, sinf);
  return sin_quarter(x, 0);
}
INLINE vf cos_f32(vf x) {
  if (vm_any(vf_lt(vf_set1(TRIG_LIMIT), vf_abs(x)))) return each(x, cosf);
  return sin_quarter(x, 1);
}

UNARY(neg_f32)
UNARY(abs_f32)
UNARY(sqrt_f32)
UNARY(recip_f32)
UNARY(exp_f32)
UNARY(log_f32)
UNARY(erf_f32)
UNARY(tanh_f32)
UNARY(sigmoid_f32)
UNARY(relu_f32)
UNARY(gelu_f32)
UNARY(gelu_tanh_f32)
UNARY(silu_f32)
UNARY(floor_f32)
UNARY(ceil_f32)
UNARY(round_f32)
UNARY(sign_f32)
UNARY(sin_f32)
UNARY(cos_f32)
UNARY(softplus_f32)

/* ---- two operands ---- */

/* Whether rows of an operand can be seen as one row of m n elements. */
INLINE bool joins(int64_t n, int64_t stride, int64_t column) {
  return column ? stride == n : stride == 0;
}

/* Column strides cx and cy are constants wherever row_name is inlined. */
#define BINARY(name)                                                                               \
  INLINE void row_##name(const float *x, const float *y, float *z, int64_t n, const bool cx,       \
                         const bool cy) {                                                          \
    const vf x0 = vf_set1(*x), y0 = vf_set1(*y);                                                   \
    int64_t j = 0;                                                                                 \
    for (; j <= n - VW; j += VW)                                                                   \
      vf_store(z + j, name(cx ? vf_load(x + j) : x0, cy ? vf_load(y + j) : y0));                   \
    if (j == n) return;                                                                            \
    vm part = vm_first(n - j);                                                                     \
    vf_storem(z + j, part,                                                                         \
              name(cx ? vf_loadm(x + j, part) : x0, cy ? vf_loadm(y + j, part) : y0));             \
  }                                                                                                \
  FN(name) {                                                                                       \
    int64_t m = v[0], n = v[1], sx = v[2], cx = v[3], sy = v[4], cy = v[5], sz = v[6];             \
    if (m > 1 && sz == n && joins(n, sx, cx) && joins(n, sy, cy)) n *= m, m = 1;                   \
    for (int64_t i = 0; i < m && n > 0; i++) {                                                     \
      const float *x = (const float *)p[0] + i * sx, *y = (const float *)p[1] + i * sy;            \
      float *z = (float *)p[2] + i * sz;                                                           \
      if (cx && cy)                                                                                \
        row_##name(x, y, z, n, true, true);                                                        \
      else if (cx)                                                                                 \
        row_##name(x, y, z, n, true, false);                                                       \
      else                                                                                         \
        row_##name(x, y, z, n, false, cy != 0);                                                    \
    }                                                                                              \
    return 0;                                                                                      \
  }

INLINE vf add_f32(vf x, vf y) { return vf_add(x, y); }
INLINE vf sub_f32(vf x, vf y) { return vf_sub(x, y); }
INLINE vf mul_f32(vf x, vf y) { return vf_mul(x, y); }
INLINE vf div_f32(vf x, vf y) { return vf_div(x, y); }
/* max and min return the second operand when either is NaN, so only the first needs care. */
INLINE vf max_f32(vf x, vf y) { return vf_sel(vf_isnan(x), x, vf_max(x, y)); }
INLINE vf min_f32(vf x, vf y) { return vf_sel(vf_isnan(x), x, vf_min(x, y)); }

BINARY(add_f32)
BINARY(sub_f32)
BINARY(mul_f32)
BINARY(div_f32)
BINARY(max_f32)
BINARY(min_f32)

/* ---- powers: models raise to a constant, nearly always 2, 3 or 1/2 ---- */

INLINE vf square(vf x, vf y) {
  (void)y;
  return vf_mul(x, x);
}
INLINE vf cube(vf x, vf y) {
  (void)y;
  return vf_mul(x, vf_mul(x, x));
}
/* Unlike sqrt: +0 for -0, inf for -inf. */
INLINE vf root(vf x, vf y) {
  (void)y;
  const vf inf = vf_set1(INFINITY);
  return vf_sel(vf_eq(vf_abs(x), inf), inf, vf_sqrt(vf_add(x, vf_set1(0))));
}
INLINE vf power(vf x, vf y) { return each2(x, y, powf); }

#define POWER_ROW(name)                                                                            \
  static void row_##name(const float *x, const float *y, float *z, int64_t n, bool cx, bool cy) {  \
    for (int64_t j = 0; j < n; j += VW) {                                                          \
      vm part = vm_first(MIN(n - j, (int64_t)VW));                                                 \
      vf a = cx ? vf_loadm(x + j, part) : vf_set1(*x);                                             \
      vf b = cy ? vf_loadm(y + j, part) : vf_set1(*y);                                             \
      vf_storem(z + j, part, name(a, b));                                                          \
    }                                                                                              \
  }
POWER_ROW(square)
POWER_ROW(cube)
POWER_ROW(root)
POWER_ROW(power)

FN(pow_f32) {
  int64_t m = v[0], n = v[1], sx = v[2], cx = v[3], sy = v[4], cy = v[5], sz = v[6];
  if (m > 1 && sz == n && joins(n, sx, cx) && joins(n, sy, cy)) n *= m, m = 1;
  for (int64_t i = 0; i < m && n > 0; i++) {
    const float *x = (const float *)p[0] + i * sx, *y = (const float *)p[1] + i * sy;
    float *z = (float *)p[2] + i * sz;
    if (!cy && *y == 2)
      row_square(x, y, z, n, cx, false);
    else if (!cy && *y == 3)
      row_cube(x, y, z, n, cx, false);
    else if (!cy && *y == 0.5f)
      row_root(x, y, z, n, cx, false);
    else
      row_power(x, y, z, n, cx, cy);
  }
  return 0;
}
