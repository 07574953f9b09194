/* Cost function networks from files: toulbar2's .wcsp text and the JSON of the ASPLOS 2025 contest
 * on intra-operator parallelism (IOPDDL). Input is hostile: whatever is wrong is FVM_EFORMAT with
 * the line. */
#ifndef FVM_SOLVE_READ_H
#define FVM_SOLVE_READ_H

#include "solve.h"

struct solve_file {
  struct solve_net net;
  int64_t constant; /* to be added to every cost */
  int64_t top;      /* an assignment that costs this or more is forbidden; at most SOLVE_INF */
  /* What labels take while they are there, IOPDDL only: variable v takes usage[v][label] from
   * from[v] until before to[v]; at no time more than limit. usage NULL: none is given. */
  int64_t **usage;
  int64_t *from, *to;
  int64_t limit;
  int64_t max_entries; /* of all tables together; set it before reading, 0: 2^28 */
};
enum fvm_status solve_read_wcsp(const char *text, size_t n, struct solve_file *f,
                                struct fvm_error *err);
enum fvm_status solve_read_iopddl(const char *text, size_t n, struct solve_file *f,
                                  struct fvm_error *err);
void solve_file_free(struct solve_file *f);

/* ---- for the readers alone ---- */

struct solve_scan {
  const char *at, *end;
  int64_t line;
  int64_t entries, sum; /* of all tables so far; of the greatest finite costs */
  struct solve_file *f;
  struct fvm_error *err;
};
/* Skip blanks; the next character, or -1 at the end. */
int solve_peek(struct solve_scan *s);
/* A decimal integer within lo..hi; what: its name in the error. Beyond 64 bits it counts as the
 * nearest that fits. */
enum fvm_status solve_int(struct solve_scan *s, const char *what, int64_t lo, int64_t hi,
                          int64_t *v);
/* solve_add_var and solve_add_edge within max_entries. */
enum fvm_status solve_scan_var(struct solve_scan *s, int64_t labels);
enum fvm_status solve_scan_edge(struct solve_scan *s, int64_t u, int64_t v, int64_t **cost);
/* Count a function: its n entries, and its greatest finite cost. The sum of these has to stay clear
 * of SOLVE_INF. */
enum fvm_status solve_scan_sum(struct solve_scan *s, const int64_t *cost, int64_t n);
#define solve_bad(s, ...)                                                                          \
  (fvm_fail((s)->err, FVM_EFORMAT, __VA_ARGS__),                                                   \
   fvm_prefix((s)->err, "line %lld", (long long)(s)->line))

#endif
