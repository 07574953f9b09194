/* Elements of arrays by their type. Contract: elem.h. */
#include "elem.h"

#include <math.h>
#include <string.h>

static float bf16_to_f32(uint16_t h) {
  uint32_t bits = (uint32_t)h << 16;
  float f;
  memcpy(&f, &bits, 4);
  return f;
}

static uint16_t f32_to_bf16(float f) {
  uint32_t bits;
  memcpy(&bits, &f, 4);
  if (isnan(f)) return (uint16_t)(bits >> 16 | 0x40);
  return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/* Loads and stores go through memcpy-free typed pointers: buffers are aligned to their elements. */
double elem_any_f64(const void *p, enum fvm_dtype d, int64_t i) {
  switch (d) {
  case FVM_F32:
    return (double)((const float *)p)[i];
  case FVM_F64:
    return ((const double *)p)[i];
  case FVM_F16:
    return (double)fvm_f16_to_f32(((const uint16_t *)p)[i]);
  case FVM_BF16:
    return (double)bf16_to_f32(((const uint16_t *)p)[i]);
  case FVM_U64:
    return (double)((const uint64_t *)p)[i];
  default:
    return (double)elem_i64(p, d, i);
  }
}

/* The value as an integer of the type [lo, hi], or 0 when it lies outside. */
static int64_t fit(double v) {
  if (v >= 0x1p63 && v < 0x1p64) return (int64_t)(uint64_t)v;
  return v >= -0x1p63 && v < 0x1p63 ? (int64_t)v : 0;
}

int64_t elem_i64(const void *p, enum fvm_dtype d, int64_t i) {
  switch (d) {
  case FVM_I64:
  case FVM_U64:
    return ((const int64_t *)p)[i];
  case FVM_I32:
    return ((const int32_t *)p)[i];
  case FVM_I16:
    return ((const int16_t *)p)[i];
  case FVM_I8:
    return ((const int8_t *)p)[i];
  case FVM_U32:
    return ((const uint32_t *)p)[i];
  case FVM_U16:
    return ((const uint16_t *)p)[i];
  case FVM_U8:
    return ((const uint8_t *)p)[i];
  case FVM_BOOL:
    return ((const uint8_t *)p)[i] != 0;
  default:
    return fit(elem_f64(p, d, i));
  }
}

static double dtype_min(enum fvm_dtype d) {
  return d == FVM_I64   ? -0x1p63
         : d == FVM_I32 ? -0x1p31
         : d == FVM_I16 ? -0x1p15
         : d == FVM_I8  ? -0x1p7
                        : 0;
}

/* 2^bits of the positive range. */
static double dtype_end(enum fvm_dtype d) {
  int bits = (int)fvm_dtype_bytes(d) * 8 - (dtype_min(d) < 0);
  return ldexp(1, bits);
}

void elem_set_any_f64(void *p, enum fvm_dtype d, int64_t i, double v) {
  switch (d) {
  case FVM_F32:
    ((float *)p)[i] = (float)v;
    break;
  case FVM_F64:
    ((double *)p)[i] = v;
    break;
  case FVM_F16:
    ((uint16_t *)p)[i] = fvm_f32_to_f16((float)v);
    break;
  case FVM_BF16:
    ((uint16_t *)p)[i] = f32_to_bf16((float)v);
    break;
  case FVM_BOOL:
    ((uint8_t *)p)[i] = v != 0;
    break;
  default: {
    double t = trunc(v);
    elem_set_i64(p, d, i, t >= dtype_min(d) && t < dtype_end(d) ? fit(t) : 0);
  }
  }
}

void elem_set_i64(void *p, enum fvm_dtype d, int64_t i, int64_t v) {
  switch (d) {
  case FVM_I64:
  case FVM_U64:
    ((int64_t *)p)[i] = v;
    break;
  case FVM_I32:
  case FVM_U32:
    ((uint32_t *)p)[i] = (uint32_t)v;
    break;
  case FVM_I16:
  case FVM_U16:
    ((uint16_t *)p)[i] = (uint16_t)v;
    break;
  case FVM_I8:
  case FVM_U8:
    ((uint8_t *)p)[i] = (uint8_t)v;
    break;
  case FVM_BOOL:
    ((uint8_t *)p)[i] = v != 0;
    break;
  default:
    elem_set_f64(p, d, i, (double)v);
  }
}
