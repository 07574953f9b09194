/* The JSON of the ASPLOS 2025 contest. Contract: solve_read.h. Of the object, in any order, and
 * with whatever else it has passed over:
 *
 *   {"problem": {"nodes": {"intervals": [[from, to], ...],
 *                          "costs": [[of each strategy], ...], "usages": [[of each strategy],
 * ...]}, "edges": {"nodes": [[u, v], ...], "costs": [[row-major by u], ...]}, "usage_limit":
 * limit}}
 *
 * The files are large, so nothing is built of them but the network: a first pass finds where the
 * parts begin, then each is read at its place. */
#include "solve_read.h"

#include <stdio.h>
#include <string.h>

enum { MAXDEPTH = 64, MAXLABELS = 1 << 20 };
enum part { INTERVALS, COSTS, USAGES, EDGES, EDGE_COSTS, LIMIT, PARTS };
static const char *const part_path[PARTS] = {
    [INTERVALS] = "problem.nodes.intervals", [COSTS] = "problem.nodes.costs",
    [USAGES] = "problem.nodes.usages",       [EDGES] = "problem.edges.nodes",
    [EDGE_COSTS] = "problem.edges.costs",    [LIMIT] = "problem.usage_limit",
};

struct reader {
  struct solve_scan s;
  struct solve_scan part[PARTS]; /* at NULL: not there */
};

/* ---- JSON ---- */

static enum fvm_status expect(struct solve_scan *s, char c, const char *where) {
  if (solve_peek(s) == c) {
    s->at++;
    return FVM_OK;
  }
  if (s->at == s->end) return solve_bad(s, "the file ends where '%c' of %s should be", c, where);
  return solve_bad(s, "'%c' where '%c' of %s should be",
                   *s->at > ' ' && *s->at < 127 ? *s->at : '?', c, where);
}

/* After an element of a list: whether another one follows. */
static enum fvm_status more(struct solve_scan *s, char close, const char *where, bool *yes) {
  *yes = solve_peek(s) == ',';
  if (!*yes) return expect(s, close, where);
  s->at++;
  return FVM_OK;
}

static enum fvm_status skip_string(struct solve_scan *s) {
  for (s->at++; s->at < s->end && *s->at != '"' && *s->at != '\n'; s->at++)
    if (*s->at == '\\' && s->at + 1 < s->end) s->at++;
  return expect(s, '"', "a string");
}

static enum fvm_status skip_value(struct solve_scan *s, int depth);

static enum fvm_status skip_list(struct solve_scan *s, char close, int depth) {
  bool again = true;
  enum fvm_status st = FVM_OK;
  s->at++;
  if (solve_peek(s) == close) {
    s->at++;
    return FVM_OK;
  }
  while (st == FVM_OK && again) {
    if (close == '}') {
      st = solve_peek(s) == '"' ? skip_string(s) : expect(s, '"', "a key");
      if (st == FVM_OK) st = expect(s, ':', "an object");
    }
    if (st == FVM_OK) st = skip_value(s, depth + 1);
    if (st == FVM_OK) st = more(s, close, "a list", &again);
  }
  return st;
}

static enum fvm_status skip_value(struct solve_scan *s, int depth) {
  int c = solve_peek(s);
  if (depth > MAXDEPTH) return solve_bad(s, "lists in lists, more than %d deep", MAXDEPTH);
  if (c == '"') return skip_string(s);
  if (c == '[') return skip_list(s, ']', depth);
  if (c == '{') return skip_list(s, '}', depth);
  const char *from = s->at;
  while (s->at < s->end && (unsigned char)*s->at > ' ' && !strchr(",]}[{\":", *s->at)) s->at++;
  return s->at > from ? FVM_OK : solve_bad(s, "a value is missing");
}

/* ---- where the parts are ---- */

static enum fvm_status find_parts(struct reader *r, const char *path, int depth);

/* The member whose key begins here. */
static enum fvm_status find_member(struct reader *r, const char *path, int depth) {
  struct solve_scan *s = &r->s;
  char name[64];
  if (solve_peek(s) != '"') return expect(s, '"', "a key");
  const char *key = s->at + 1;
  enum fvm_status st = skip_string(s);
  if (st != FVM_OK) return st;
  int n = (int)MIN(s->at - 1 - key, 30);
  snprintf(name, sizeof name, "%.30s%s%.*s", path, *path ? "." : "", n, key);
  if ((st = expect(s, ':', "an object")) != FVM_OK) return st;
  for (int p = 0; p < PARTS; p++)
    if (strcmp(name, part_path[p]) == 0) {
      solve_peek(s);
      r->part[p] = *s;
    }
  bool inner =
      !strcmp(name, "problem") || !strcmp(name, "problem.nodes") || !strcmp(name, "problem.edges");
  return inner ? find_parts(r, name, depth + 1) : skip_value(s, depth + 1);
}

static enum fvm_status find_parts(struct reader *r, const char *path, int depth) {
  bool again = true;
  enum fvm_status st = expect(&r->s, '{', *path ? path : "the problem");
  if (st != FVM_OK || solve_peek(&r->s) == '}') return st == FVM_OK ? expect(&r->s, '}', "it") : st;
  while (st == FVM_OK && again) {
    st = find_member(r, path, depth);
    if (st == FVM_OK) st = more(&r->s, '}', "an object", &again);
  }
  return st;
}

/* ---- lists of lists of integers ---- */

/* What each inner list is given to: its number, its integers, the reader. */
typedef enum fvm_status take_list(struct reader *r, struct solve_scan *s, int64_t i,
                                  const int64_t *v, int64_t n);
struct ints {
  int64_t *v;
  size_t n, cap;
};

static enum fvm_status read_ints(struct solve_scan *s, const char *what, struct ints *list) {
  bool again = true;
  int64_t x;
  list->n = 0;
  enum fvm_status st = expect(s, '[', what);
  if (st == FVM_OK && solve_peek(s) == ']') again = (s->at++, false);
  while (st == FVM_OK && again) {
    st = solve_int(s, what, 0, INT64_MAX, &x);
    if (st == FVM_OK && !VEC_PUSH(list, x)) st = fvm_nomem(s->err);
    if (st == FVM_OK) st = more(s, ']', what, &again);
  }
  return st;
}

/* *count: how many inner lists there are. */
static enum fvm_status read_lists(struct reader *r, enum part p, take_list *take, int64_t *count) {
  struct solve_scan *s = &r->s;
  struct ints list = {0};
  bool again = true;
  *count = 0;
  if (!r->part[p].at) return fvm_fail(s->err, FVM_EFORMAT, "%s is missing", part_path[p]);
  s->at = r->part[p].at, s->line = r->part[p].line;
  enum fvm_status st = expect(s, '[', part_path[p]);
  if (st == FVM_OK && solve_peek(s) == ']') again = false;
  for (; st == FVM_OK && again; ++*count) {
    st = read_ints(s, part_path[p], &list);
    if (st == FVM_OK) st = take(r, s, *count, list.v, (int64_t)list.n);
    if (st == FVM_OK) st = more(s, ']', part_path[p], &again);
  }
  VEC_FREE(&list);
  return st;
}

/* ---- the network ---- */

static int64_t nodes(const struct reader *r) { return (int64_t)r->s.f->net.var.n; }

static enum fvm_status take_costs(struct reader *r, struct solve_scan *s, int64_t i,
                                  const int64_t *v, int64_t n) {
  (void)i;
  if (n < 1 || n > MAXLABELS)
    return solve_bad(s, "a node of %lld strategies, not 1 to %d", (long long)n, MAXLABELS);
  enum fvm_status st = solve_scan_var(s, n);
  if (st != FVM_OK) return st;
  int64_t *cost = r->s.f->net.var.v[i].cost;
  for (int64_t k = 0; k < n; k++) cost[k] = MIN(v[k], SOLVE_INF);
  return solve_scan_sum(s, cost, n);
}

static enum fvm_status take_usages(struct reader *r, struct solve_scan *s, int64_t i,
                                   const int64_t *v, int64_t n) {
  struct solve_file *f = r->s.f;
  if (i >= nodes(r)) return solve_bad(s, "usages of more nodes than have costs");
  if (n != f->net.var.v[i].n)
    return solve_bad(s, "%lld usages of a node with %d costs", (long long)n, f->net.var.v[i].n);
  f->usage[i] = ARENA_NEW(&f->net.arena, int64_t, n);
  if (!f->usage[i]) return fvm_nomem(s->err);
  for (int64_t k = 0; k < n; k++) f->usage[i][k] = MIN(v[k], SOLVE_INF);
  return FVM_OK;
}

static enum fvm_status take_interval(struct reader *r, struct solve_scan *s, int64_t i,
                                     const int64_t *v, int64_t n) {
  if (i >= nodes(r)) return solve_bad(s, "intervals of more nodes than have costs");
  if (n != 2) return solve_bad(s, "an interval of %lld numbers, not 2", (long long)n);
  r->s.f->from[i] = v[0], r->s.f->to[i] = v[1];
  return FVM_OK;
}

static enum fvm_status take_edge(struct reader *r, struct solve_scan *s, int64_t i,
                                 const int64_t *v, int64_t n) {
  int64_t *cost;
  (void)i;
  if (n != 2) return solve_bad(s, "an edge of %lld nodes, not 2", (long long)n);
  for (int k = 0; k < 2; k++)
    if (v[k] >= nodes(r))
      return solve_bad(s, "an edge to node %lld of %lld", (long long)v[k], (long long)nodes(r));
  return solve_scan_edge(s, v[0], v[1], &cost);
}

static enum fvm_status take_edge_costs(struct reader *r, struct solve_scan *s, int64_t i,
                                       const int64_t *v, int64_t n) {
  const struct solve_net *net = &r->s.f->net;
  if (i >= (int64_t)net->edge.n) return solve_bad(s, "costs of more edges than there are");
  const struct solve_edge *e = &net->edge.v[i];
  if (n != (int64_t)net->var.v[e->u].n * net->var.v[e->v].n)
    return solve_bad(s, "%lld costs of an edge between %d and %d strategies", (long long)n,
                     net->var.v[e->u].n, net->var.v[e->v].n);
  for (int64_t k = 0; k < n; k++) e->cost[k] = MIN(v[k], SOLVE_INF);
  return solve_scan_sum(s, e->cost, n);
}

static enum fvm_status same(struct reader *r, enum part p, int64_t count, int64_t want) {
  if (count == want) return FVM_OK;
  return fvm_fail(r->s.err, FVM_EFORMAT, "%s has %lld lists; %lld should be there", part_path[p],
                  (long long)count, (long long)want);
}

static enum fvm_status read_usages(struct reader *r) {
  struct solve_file *f = r->s.f;
  int64_t count;
  if (!r->part[LIMIT].at) return FVM_OK;
  r->s.at = r->part[LIMIT].at, r->s.line = r->part[LIMIT].line;
  enum fvm_status st = solve_int(&r->s, part_path[LIMIT], 0, INT64_MAX, &f->limit);
  f->usage = ARENA_NEW(&f->net.arena, int64_t *, nodes(r));
  f->from = ARENA_NEW(&f->net.arena, int64_t, nodes(r));
  f->to = ARENA_NEW(&f->net.arena, int64_t, nodes(r));
  if (!f->usage || !f->from || !f->to) return fvm_nomem(r->s.err);
  if (st == FVM_OK) st = read_lists(r, USAGES, take_usages, &count);
  if (st == FVM_OK) st = same(r, USAGES, count, nodes(r));
  if (st == FVM_OK) st = read_lists(r, INTERVALS, take_interval, &count);
  return st == FVM_OK ? same(r, INTERVALS, count, nodes(r)) : st;
}

enum fvm_status solve_read_iopddl(const char *text, size_t n, struct solve_file *f,
                                  struct fvm_error *err) {
  struct reader r = {.s = {.at = text, .end = text + n, .line = 1, .f = f, .err = err}};
  int64_t count;
  f->top = SOLVE_INF;
  enum fvm_status st = find_parts(&r, "", 0);
  if (st == FVM_OK && solve_peek(&r.s) >= 0) st = solve_bad(&r.s, "there is more after the object");
  if (st == FVM_OK) st = read_lists(&r, COSTS, take_costs, &count);
  if (st == FVM_OK) st = read_usages(&r);
  if (st == FVM_OK) st = read_lists(&r, EDGES, take_edge, &count);
  if (st == FVM_OK) st = read_lists(&r, EDGE_COSTS, take_edge_costs, &count);
  return st == FVM_OK ? same(&r, EDGE_COSTS, count, (int64_t)f->net.edge.n) : st;
}
