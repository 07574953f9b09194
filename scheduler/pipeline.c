/* The passes in order, the sweep after each, and the check between them. */
#include "pass.h"

#include <string.h>

struct pass {
  const char *name;
  pass_fn *run;
  unsigned needs, gives;
};
static const struct pass passes[] = {
#define PASS(name, function, needs, gives, what) {#name, function, needs, gives},
#include "passes.def"
#undef PASS
};

static bool is_needed(const struct node *n, const int *uses) {
  for (size_t k = 0; k < n->out.n; k++)
    if (n->out.v[k] >= 0 && uses[n->out.v[k]] > 0) return true;
  return false;
}

/* Remove nodes whose results nobody reads, last ones first, so that one sweep is enough. */
static enum fvm_status sweep(struct graph *g, struct fvm_error *err) {
  struct arena a = {0};
  int *uses = graph_uses(g, &a);
  for (size_t i = g->node.n; uses && i-- > 0;) {
    struct node *n = node_at(g, (int)i);
    if (n->dead || is_needed(n, uses)) continue;
    for (size_t k = 0; k < n->in.n; k++)
      if (n->in.v[k] >= 0) uses[n->in.v[k]]--;
    node_kill(g, (int)i);
  }
  arena_free(&a);
  return uses ? graph_compact(g, err) : fvm_nomem(err);
}

static const struct pass *find_pass(const char *name) {
  for (size_t i = 0; i < COUNT(passes); i++)
    if (!strcmp(passes[i].name, name)) return &passes[i];
  return NULL;
}

static enum fvm_status unknown_pass(const char *name, struct fvm_error *err) {
  struct text t = {0};
  for (size_t i = 0; i < COUNT(passes); i++) text_printf(&t, " %s", passes[i].name);
  enum fvm_status st =
      t.failed ? fvm_nomem(err)
               : fvm_fail(err, FVM_EUSAGE, "no pass is called '%.40s'; there are%s", name, t.v);
  text_free(&t);
  return st;
}

static enum fvm_status run_pass(const struct pass *p, struct graph *g, struct fvm_error *err) {
  size_t misses = g->miss.n;
  enum fvm_status st = p->run(g, err);
  if (st == FVM_OK) st = sweep(g, err);
  if (st == FVM_OK) st = pass_miss_sweep(g, misses, err);
  if (st == FVM_OK && (st = graph_check(g, p->gives & HAS_SHAPES, err)) != FVM_OK)
    fvm_prefix(err, "after pass %s", p->name);
  return st;
}

/* Keep what the pass makes of a copy, if that is anything new: it always leaves fewer nodes. */
static enum fvm_status add_form(const struct pass *p, struct graph *g, struct fvm_error *err) {
  struct graph *other = graph_fork(g);
  enum fvm_status st = other ? run_pass(p, other, err) : fvm_nomem(err);
  if (st == FVM_OK && other->node.n < g->node.n)
    g->other = other;
  else
    graph_free(other);
  return st;
}

enum fvm_status pipeline_run(struct graph *g, const char *stop_after, struct fvm_error *err) {
  const struct pass *last = stop_after ? find_pass(stop_after) : &passes[COUNT(passes) - 1];
  if (!last) return unknown_pass(stop_after, err);
  unsigned has = 0;
  for (const struct pass *p = passes; p <= last; p++) {
    CHECK((has & p->needs) == p->needs);
    bool form = p->gives & OTHER_FORM && !stop_after;
    enum fvm_status st = form ? add_form(p, g, err) : run_pass(p, g, err);
    has = p->gives;
    if (st != FVM_OK) return st;
  }
  return FVM_OK;
}
