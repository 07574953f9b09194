#include "stats.h"

#include <math.h>
#include <stdlib.h>

int64_t stats_rank(const int64_t *v, size_t n, size_t k) {
  for (size_t i = 0; i < n; i++) {
    size_t less = 0, equal = 0;
    for (size_t j = 0; j < n; j++) {
      less += v[j] < v[i];
      equal += v[j] == v[i];
    }
    if (less <= k && k < less + equal) return v[i];
  }
  return 0;
}

static int64_t distance(int64_t a, int64_t b) { return a < b ? b - a : a - b; }

/* Median of |v[i] - m|: a value is it when as many deviations lie below as its rank asks for. */
static int64_t deviation(const int64_t *v, size_t n, int64_t m) {
  size_t k = (n - 1) / 2;
  for (size_t i = 0; i < n; i++) {
    int64_t d = distance(v[i], m);
    size_t less = 0, equal = 0;
    for (size_t j = 0; j < n; j++) {
      less += distance(v[j], m) < d;
      equal += distance(v[j], m) == d;
    }
    if (less <= k && k < less + equal) return d;
  }
  return 0;
}

struct spread stats_spread(const int64_t *v, size_t n) {
  struct spread s = {0};
  if (n == 0) return s;
  s.min = stats_rank(v, n, 0);
  s.median = stats_rank(v, n, (n - 1) / 2);
  s.mad = deviation(v, n, s.median);
  return s;
}

static int by_size(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

double stats_quantile(double *v, size_t n, double q) {
  qsort(v, n, sizeof *v, by_size);
  return v[(size_t)(q * (double)(n - 1) + 0.5)];
}

/* The lower end is the order statistic of rank (n - 1.96 sqrt(n)) / 2, counted from 1: it lies
 * above `ratio` when fewer than that many pairs do not. */
bool stats_slower(const int64_t *a, const int64_t *b, size_t n, double ratio) {
  long rank = (long)floor(((double)n - 1.96 * sqrt((double)n)) / 2);
  if (n < 6 || rank < 1) return false;
  long not_above = 0;
  for (size_t j = 0; j < n; j++) not_above += (double)a[j] <= ratio * (double)b[j];
  return not_above < rank;
}
