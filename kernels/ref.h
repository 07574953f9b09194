/* What references share: work on all processors, elements as doubles, products. All of it keeps a
 * reference plain: what comes out is, bit for bit, what one loop after the other makes. */
#ifndef FVM_REF_H
#define FVM_REF_H

#include "../vm/elem.h"

/* ---- on all processors -------------------------------------------------------------------------
 * Part of the work: from .. to-1 of n indices, none of which reads what another one makes.
 * scratch: `room` doubles of this thread's own, zeros at first. */
typedef void ref_part(const void *arg, int64_t from, int64_t to, double *scratch);
/* Each index of 0 .. n-1 once, on as many processors as the process may use; on this thread alone
 * where the work, so many ns an index, would not pay for starting others. These have ended when it
 * returns: the caller may fork. FVM_ENOMEM when there is no room; without room nothing fails. */
enum fvm_status ref_parallel(int64_t n, double ns, size_t room, ref_part *part, const void *arg,
                             struct fvm_error *err);
/* The same on a given number of threads. */
enum fvm_status ref_on(int threads, int64_t n, size_t room, ref_part *part, const void *arg,
                       struct fvm_error *err);

/* ---- elements ----------------------------------------------------------------------------------
 * x[i] is element at + i * step, as elem_f64 says; and back, with a step of 1. */
void ref_take(const void *p, enum fvm_dtype t, int64_t at, int64_t step, int64_t n, double *x);
void ref_put(void *p, enum fvm_dtype t, int64_t at, int64_t n, const double *x);

/* ---- products ----------------------------------------------------------------------------------
 * Element (i, j) is at + i * row + j * col. */
struct ref_matrix {
  const void *p;
  enum fvm_dtype t;
  int64_t at, row, col;
};
/* A product is made of tiles: so many rows of the left factor, so many columns of the right one. */
enum { REF_ROWS = 64, REF_COLUMNS = 32 };
/* n columns of b from j0 on, k elements each, as doubles: row i begins at to + i * REF_COLUMNS. */
void ref_columns(const struct ref_matrix *b, int64_t k, int64_t j0, int n, double *to);
/* sum[i][j] = sum over k of a(i0 + i, k) * b[k * REF_COLUMNS + j], in double, k in order, for m
 * rows and n columns. */
void ref_dots(const struct ref_matrix *a, int64_t i0, int m, int64_t k, const double *b, int n,
              double sum[REF_ROWS][REF_COLUMNS]);

#endif
