/* Notes of patterns that nearly matched. Contract: pass.h. */
#include "pass.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static bool is_noted(const struct graph *g, const char *node, const char *pattern) {
  for (size_t i = 0; i < g->miss.n; i++)
    if (!strcmp(g->miss.v[i].node, node) && !strcmp(g->miss.v[i].pattern, pattern)) return true;
  return false;
}

bool pass_miss(struct graph *g, int node, const char *pattern, const char *fmt, ...) {
  char reason[200];
  const struct node *n = node_at(g, node);
  va_list args;
  if (is_noted(g, n->name, pattern)) return false;
  va_start(args, fmt);
  vsnprintf(reason, sizeof reason, fmt, args);
  va_end(args);
  struct miss m = {.pattern = pattern, .node = n->name, .op = n->op};
  m.reason = arena_strdup(&g->arena, reason);
  if (!m.reason || !VEC_PUSH(&g->miss, m)) g->miss_lost = true;
  return false;
}

static bool is_there(const struct graph *g, const struct miss *m) {
  for (size_t i = 0; i < g->node.n; i++)
    if (g->node.v[i].op == m->op && !g->node.v[i].dead && !strcmp(g->node.v[i].name, m->node))
      return true;
  return false;
}

enum fvm_status pass_miss_sweep(struct graph *g, size_t first, struct fvm_error *err) {
  size_t n = first;
  for (size_t i = first; i < g->miss.n; i++)
    if (is_there(g, &g->miss.v[i])) g->miss.v[n++] = g->miss.v[i];
  g->miss.n = n;
  return g->miss_lost ? fvm_nomem(err) : FVM_OK;
}
