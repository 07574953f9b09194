/* The points at which Winograd's convolutions evaluate polynomials, and what follows from them.
 *
 * F(m, r) makes m outputs of a filter of r taps from n = m + r - 1 inputs by n products instead of
 * m r (Lavin, Gray: Fast Algorithms for Convolutional Neural Networks, 2016): y = A' (G g . B' d).
 * In two dimensions each matrix is applied to the columns, then to the rows. The points are 0,
 * pairs of a and -a, and infinity:
 *
 *   A'  m x n  row i holds p^i for each point p; infinity: 1 in the last row
 *   B'  n x n  row p holds the coefficients of M(x) / (x - p), where M(x) is the product of x - q
 *              over all finite points q; infinity: of M(x)
 *   G   n x r  row p holds p^k / (product of p - q over the others); infinity: 1 in the last column
 *
 * B' depends on n alone, so 3x3 and 5x5 share the transforms of their inputs. All divisions are in
 * G, which is applied in double, once, when a plan is made.
 *
 * Errors depend on the points (Barabasz, Anderson, Soodhalter, Gregg: Error Analysis and Improving
 * the Accuracy of Winograd Convolution for DNNs, 2020). Of those with few bits, these were the best
 * of a search over random inputs and weights of 32 channels; error of the largest output, mean:
 *
 *   F(2,3)  0 1          3e-7
 *   F(4,3)  0 3/4 3/2    8e-7   (0 1 2: 2.9e-6)
 *   F(6,3)  0 1/2 1 7/4  3.2e-6   (0 1/2 1 2: 4.1e-6) */
#ifndef FVM_UKR_WINOGRAD_H
#define FVM_UKR_WINOGRAD_H

#include "ukr_impl.h"

enum { WINO_MAXN = 8, WINO_MAXPAIR = 3 };

/* The pairs of n points: n = 4, 6, 8 have 1, 2, 3. */
static const float wino_pairs[WINO_MAXPAIR][WINO_MAXPAIR] = {{1}, {0.75f, 1.5f}, {0.5f, 1, 1.75f}};

/* Finite point i of n: 0, a, -a, b, -b, ... */
INLINE float wino_point(int n, int i) {
  if (i == 0) return 0;
  float a = wino_pairs[n / 2 - 2][(i - 1) / 2];
  return i % 2 ? a : -a;
}

#endif
