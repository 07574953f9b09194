/* Inputs made up where none are given. Contract: npy_make in npy.h. */
#include "npy.h"

#include <math.h>
#include <string.h>

enum { SEED = 20240607 };

/* Splitmix64: the n-th number depends on seed and n alone. */
static uint64_t next(uint64_t *state) {
  uint64_t z = *state += 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}

/* Uniform in (0, 1]. */
static double uniform(uint64_t *state) { return (double)((next(state) >> 11) + 1) * 0x1p-53; }

/* Box and Muller. */
static double normal(uint64_t *state) {
  double r = sqrt(-2 * log(uniform(state)));
  return r * cos(6.283185307179586 * uniform(state));
}

static uint16_t to_bf16(float f) {
  uint32_t bits;
  memcpy(&bits, &f, sizeof bits);
  return (uint16_t)(bits >> 16);
}

/* The k-th element. Integers are little-endian, so the first byte of a zeroed one is its value. */
static void make(enum fvm_dtype d, uint64_t *state, unsigned char *data, size_t k) {
  switch (d) {
  case FVM_F32:
    ((float *)(void *)data)[k] = (float)normal(state);
    break;
  case FVM_F64:
    ((double *)(void *)data)[k] = normal(state);
    break;
  case FVM_F16:
    ((uint16_t *)(void *)data)[k] = fvm_f32_to_f16((float)normal(state));
    break;
  case FVM_BF16:
    ((uint16_t *)(void *)data)[k] = to_bf16((float)normal(state));
    break;
  case FVM_BOOL:
    data[k] = 1;
    break;
  default:
    data[k * fvm_dtype_bytes(d)] = (unsigned char)(next(state) >> 63);
  }
}

void npy_make(int i, enum fvm_dtype dtype, size_t bytes, void *data) {
  uint64_t state = SEED + (uint64_t)i * 0x632be59bd9b4e019u;
  memset(data, 0, bytes);
  for (size_t k = 0; k < bytes / fvm_dtype_bytes(dtype); k++) make(dtype, &state, data, k);
}
