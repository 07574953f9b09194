/* Robust statistics of small samples: ranks only, never the mean. */
#ifndef FVM_STATS_H
#define FVM_STATS_H

#include "../vm/base.h"

/* The k-th smallest of n values, k from 0. Quadratic, no memory: n is at most some hundred. */
int64_t stats_rank(const int64_t *v, size_t n, size_t k);

struct spread {
  int64_t min, median, mad; /* median absolute deviation from the median */
};
/* All 0 when n is 0. The median of an even number of values is the lower middle one. */
struct spread stats_spread(const int64_t *v, size_t n);

/* The value below which a part q, 0 to 1, of n > 0 values lies. Sorts them. */
double stats_quantile(double *v, size_t n, double q);

/* Whether a is slower than b for sure: a[j] and b[j] were taken in the same round, and the lower
 * end of the 95 % confidence interval of the median of a[j] / b[j] lies above ratio. The interval
 * runs between order statistics, so nothing is assumed about the noise. False below 6 pairs. */
bool stats_slower(const int64_t *a, const int64_t *b, size_t n, double ratio);

#endif
