/* A front of latency against memory on paper: a table (CSV) and a picture (SVG). */
#ifndef FVM_PARETO_H
#define FVM_PARETO_H

#include "../vm/base.h"

/* The front's points lie in an array in the order of falling memory and rising latency. */
struct pareto_point {
  int64_t latency_ns, bound_ns; /* predicted; no plan in as little memory is faster than bound_ns */
  int64_t memory, arena, scratch, weights; /* bytes; the first is the sum of the others */
  bool optimal;
  const char *plan; /* file name */
};
/* A header and a line for each point. */
void pareto_csv(const struct pareto_point *p, int n, struct text *out);
/* The least latency at each size of memory, a staircase through the points, which are numbered as
 * the plans are. Readable on light and dark paper. */
void pareto_svg(const struct pareto_point *p, int n, const char *title, struct text *out);

#endif
