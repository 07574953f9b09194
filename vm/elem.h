/* Elements of arrays by their type, for references, comparisons and printing: clear, not fast. */
#ifndef FVM_ELEM_H
#define FVM_ELEM_H

#include "base.h"

/* Element i of a row-major buffer. Conversions are C's, but a float that does not fit an integer
 * type gives 0 (undefined in C), and anything but 0 is true. u64 travels as its int64 bits. */
double elem_any_f64(const void *p, enum fvm_dtype d, int64_t i);
int64_t elem_i64(const void *p, enum fvm_dtype d, int64_t i);
void elem_set_any_f64(void *p, enum fvm_dtype d, int64_t i, double v);
void elem_set_i64(void *p, enum fvm_dtype d, int64_t i, int64_t v);

/* Floats, of which there are most by far, without a call. */
static inline double elem_f64(const void *p, enum fvm_dtype d, int64_t i) {
  return d == FVM_F32 ? (double)((const float *)p)[i] : elem_any_f64(p, d, i);
}
static inline void elem_set_f64(void *p, enum fvm_dtype d, int64_t i, double v) {
  if (d == FVM_F32)
    ((float *)p)[i] = (float)v;
  else
    elem_set_any_f64(p, d, i, v);
}

#endif
