/* Strassen's product of matrices in Winograd's form (Winograd 1971; Golub and Van Loan, Matrix
 * Computations, 4th ed., algorithm 1.3.1 and problem 1.3.6): seven products of quarters instead
 * of eight. All sums of quarters of a constant B are made at plan time.
 *
 *   A = | A11 A12 |   B = | B11 B12 |   rows of B are cut in the middle, columns into pairs of
 *       | A21 A22 |       | B21 B22 |   panels: the left one is B11 over B21, the right one the
 * rest
 *
 *   S1 = A21 + A22   S2 = S1 - A11   S3 = A11 - A21   S4 = A12 - S2
 *   T1 = B12 - B11   T2 = B22 - T1   T3 = B22 - B12   T4 = T2 - B21
 *
 * In the order below each product is added to what an earlier one left, so that gemm's operand d
 * does five of the seven sums of C, and two strips the rest:
 *
 *   X = A11 B11         C11 = X + A12 B21     X += S2 T2     Y = S1 T1
 *   C12 = X + Y         C12 += S4 B22         X += S3 T3     C22 = X + Y     C21 = X - A22 T4
 *
 * On two levels each of the seven is made in the same way: 49 products of sixteenths. Columns are
 * then cut into groups of four panels, the left two being the left half. */
#ifndef FVM_STRASSEN_H
#define FVM_STRASSEN_H

#include "../vm/code.h"

/* The second factors of the products, in that order: what a pair of panels is stored as. Each is a
 * panel of k / 2 rows; the last one is negated, so that its product is added like the others. */
enum { SUM_B11, SUM_B21, SUM_T2, SUM_T1, SUM_B22, SUM_T3, SUM_T4, SUM_COUNT };

/* A matrix of k rows and n columns; sk and sn: strides in elements; panels of block columns. */
struct sums_matrix {
  int64_t k, n, sk, sn, block;
  int levels; /* 1 or 2 */
};
/* Whether k can be halved that often; on two levels n must be whole groups, too. */
bool sums_fit(const struct sums_matrix *m);
/* Bytes of the sums. */
int64_t sums_bytes(const struct sums_matrix *m);
/* Write the program that makes them, y from x; the groups of panels are split over threads. */
void sums_emit(struct builder *b, const struct sums_matrix *m, struct addr x, struct addr y);

#endif
