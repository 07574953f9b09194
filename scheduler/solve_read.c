/* What the readers of networks share. Contract: solve_read.h. */
#include "solve_read.h"

enum { ENTRIES = 1 << 28 };

int solve_peek(struct solve_scan *s) {
  for (; s->at < s->end; s->at++) {
    if (*s->at == '\n')
      s->line++;
    else if (*s->at != ' ' && *s->at != '\t' && *s->at != '\r')
      return (unsigned char)*s->at;
  }
  return -1;
}

/* The rest of the word, for errors. */
static int word_length(const struct solve_scan *s) {
  int n = 0;
  while (n < 30 && s->at + n < s->end && s->at[n] > ' ' && s->at[n] < 127) n++;
  return n;
}

enum fvm_status solve_int(struct solve_scan *s, const char *what, int64_t lo, int64_t hi,
                          int64_t *v) {
  if (solve_peek(s) < 0) return solve_bad(s, "the file ends where %s should be", what);
  const char *p = s->at;
  bool negative = *p == '-';
  int64_t x = 0;
  if (*p == '-' || *p == '+') p++;
  const char *digits = p;
  for (; p < s->end && *p >= '0' && *p <= '9'; p++)
    if (!fvm_mul(x, 10, &x) || !fvm_add(x, *p - '0', &x)) x = INT64_MAX;
  bool ends = p == s->end || *p <= ' ' || *p == ',' || *p == ']' || *p == '}';
  if (p == digits || !ends)
    return solve_bad(s, "'%.*s' is not an integer: %s should be here", word_length(s), s->at, what);
  if (negative) x = -x;
  if (x < lo || x > hi)
    return solve_bad(s, "%s is %lld, not within %lld to %lld", what, (long long)x, (long long)lo,
                     (long long)hi);
  s->at = p;
  *v = x;
  return FVM_OK;
}

static enum fvm_status count_entries(struct solve_scan *s, int64_t n) {
  int64_t most = s->f->max_entries ? s->f->max_entries : ENTRIES;
  s->entries += n;
  if (s->entries <= most) return FVM_OK;
  fvm_fail(s->err, FVM_EUNSUPPORTED, "cost tables of more than %lld entries together",
           (long long)most);
  return fvm_prefix(s->err, "line %lld", (long long)s->line);
}

enum fvm_status solve_scan_var(struct solve_scan *s, int64_t labels) {
  enum fvm_status st = count_entries(s, labels);
  if (st == FVM_OK && solve_add_var(&s->f->net, (int)labels) < 0) st = fvm_nomem(s->err);
  return st;
}

enum fvm_status solve_scan_edge(struct solve_scan *s, int64_t u, int64_t v, int64_t **cost) {
  if (u == v) return solve_bad(s, "a function of variable %lld and itself", (long long)u);
  const struct solve_var *var = s->f->net.var.v;
  enum fvm_status st = count_entries(s, (int64_t)var[u].n * var[v].n);
  if (st != FVM_OK) return st;
  int e = solve_add_edge(&s->f->net, (int)u, (int)v);
  if (e < 0) return fvm_nomem(s->err);
  *cost = s->f->net.edge.v[e].cost;
  return FVM_OK;
}

enum fvm_status solve_scan_sum(struct solve_scan *s, const int64_t *cost, int64_t n) {
  int64_t most = 0;
  enum fvm_status st = count_entries(s, n);
  if (st != FVM_OK) return st;
  for (int64_t i = 0; i < n; i++)
    if (cost[i] < SOLVE_INF) most = MAX(most, cost[i]);
  s->sum += most;
  if (s->sum < SOLVE_INF / 4) return FVM_OK;
  fvm_fail(s->err, FVM_EUNSUPPORTED, "costs that may add up to more than 2^58");
  return fvm_prefix(s->err, "line %lld", (long long)s->line);
}

void solve_file_free(struct solve_file *f) { solve_net_free(&f->net); }
