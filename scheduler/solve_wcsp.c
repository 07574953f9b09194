/* toulbar2's .wcsp text. Contract: solve_read.h. The format, all separated by blanks:
 *
 *   NAME VARIABLES MAX-DOMAIN FUNCTIONS TOP
 *   size of each variable's domain
 *   for each function: ARITY variables ... DEFAULT TUPLES, then TUPLES times: labels ... COST
 *
 * Of functions of more than two variables, and of those that are named instead of listed, none is
 * supported. */
#include "solve_read.h"

enum { MAXDOMAIN = 1 << 20 };

static enum fvm_status skip_name(struct solve_scan *s) {
  if (solve_peek(s) < 0) return solve_bad(s, "the file is empty; a .wcsp begins with a name");
  while (s->at < s->end && (unsigned char)*s->at > ' ') s->at++;
  return FVM_OK;
}

/* A cost as the network has it: forbidden from top on. */
static enum fvm_status read_cost(struct solve_scan *s, const char *what, int64_t *c) {
  enum fvm_status st = solve_int(s, what, 0, INT64_MAX, c);
  if (st == FVM_OK && *c >= s->f->top) *c = SOLVE_INF;
  return st;
}

static enum fvm_status read_default(struct solve_scan *s, int64_t *c) {
  if (solve_peek(s) == '-') {
    fvm_fail(s->err, FVM_EUNSUPPORTED, "a function that is named, not listed, is not supported");
    return fvm_prefix(s->err, "line %lld", (long long)s->line);
  }
  return read_cost(s, "a default cost", c);
}

/* Add the costs of a function over v[arity], which follow its scope. */
static enum fvm_status read_table(struct solve_scan *s, const int64_t *v, int arity,
                                  int64_t *cost) {
  const struct solve_var *var = s->f->net.var.v;
  int64_t otherwise = 0, tuples = 0, n = 1;
  for (int k = 0; k < arity; k++) n *= var[v[k]].n;
  int64_t *table = fvm_alloc((size_t)n, sizeof *table);
  if (!table) return fvm_nomem(s->err);
  enum fvm_status st = read_default(s, &otherwise);
  if (st == FVM_OK) st = solve_int(s, "the number of tuples", 0, INT64_MAX, &tuples);
  for (int64_t i = 0; i < n && st == FVM_OK; i++) table[i] = otherwise;
  for (int64_t t = 0; st == FVM_OK && t < tuples; t++) {
    int64_t at = 0, label = 0;
    for (int k = 0; k < arity && st == FVM_OK; k++) {
      st = solve_int(s, "a label", 0, var[v[k]].n - 1, &label);
      at = at * var[v[k]].n + label;
    }
    if (st == FVM_OK) st = read_cost(s, "a tuple's cost", &table[at]);
  }
  if (st == FVM_OK) st = solve_scan_sum(s, table, n);
  for (int64_t i = 0; i < n && st == FVM_OK; i++) cost[i] = MIN(SOLVE_INF, cost[i] + table[i]);
  fvm_free(table, (size_t)n, sizeof *table);
  return st;
}

static enum fvm_status read_function(struct solve_scan *s) {
  int64_t arity, v[2];
  int64_t *cost = &s->f->constant;
  enum fvm_status st = solve_int(s, "a function's arity", INT64_MIN, INT64_MAX, &arity);
  if (st != FVM_OK) return st;
  if (arity < 0 || arity > 2) {
    fvm_fail(s->err, FVM_EUNSUPPORTED, "a function of %lld variables; at most 2 are supported",
             (long long)arity);
    return fvm_prefix(s->err, "line %lld", (long long)s->line);
  }
  for (int k = 0; k < arity; k++)
    if ((st = solve_int(s, "a variable", 0, (int64_t)s->f->net.var.n - 1, &v[k])) != FVM_OK)
      return st;
  if (arity == 1) cost = s->f->net.var.v[v[0]].cost;
  if (arity == 2 && (st = solve_scan_edge(s, v[0], v[1], &cost)) != FVM_OK) return st;
  return read_table(s, v, (int)arity, cost);
}

enum fvm_status solve_read_wcsp(const char *text, size_t n, struct solve_file *f,
                                struct fvm_error *err) {
  struct solve_scan s = {.at = text, .end = text + n, .line = 1, .f = f, .err = err};
  int64_t vars, functions, labels, most = (int64_t)n;
  f->top = SOLVE_INF;
  enum fvm_status st = skip_name(&s);
  if (st == FVM_OK) st = solve_int(&s, "the number of variables", 0, most, &vars);
  if (st == FVM_OK) st = solve_int(&s, "the greatest domain", 0, INT64_MAX, &labels);
  if (st == FVM_OK) st = solve_int(&s, "the number of functions", 0, most, &functions);
  if (st == FVM_OK) st = solve_int(&s, "the top cost", 1, INT64_MAX, &f->top);
  f->top = MIN(f->top, SOLVE_INF);
  for (int64_t i = 0; st == FVM_OK && i < vars; i++) {
    st = solve_int(&s, "a domain's size", 1, MAXDOMAIN, &labels);
    if (st == FVM_OK) st = solve_scan_var(&s, labels);
  }
  for (int64_t i = 0; st == FVM_OK && i < functions; i++) st = read_function(&s);
  if (st == FVM_OK && solve_peek(&s) >= 0)
    st = solve_bad(&s, "there is more after the last of the %lld functions", (long long)functions);
  return st;
}
