#include "profile_set.h"

#include "chains.h"
#include "joins.h"

#include <stdio.h>
#include <string.h>

/* Sets of layouts as bit masks, of each tensor. */
struct flow {
  layout_set *made;   /* layouts that a producer's labels leave it in */
  layout_set *wanted; /* layouts that its consumers' labels take it in */
};

/* ---- problems ---- */

static const char *keep(struct profile_set *s, struct text *t) {
  const char *kept = t->failed ? NULL : arena_strdup(&s->arena, t->v);
  text_free(t);
  return kept;
}

/* Roughly, from what the first candidate says of itself; only an order follows from it. */
static double estimate(const struct profile_problem *p) {
  struct opcost cost;
  if (!p->nall || p->label[0].view) return 0;
  opcall_cost(&p->call, &p->label[0], &cost);
  double arithmetic = (double)cost.flops / 50;
  double memory = (double)(cost.bytes_read + cost.bytes_written) / 10;
  return MAX(arithmetic, memory);
}

/* -1: there is none. */
static int find_problem(const struct profile_set *s, uint64_t hash) {
  for (int i = 0; i < (int)s->problem.n; i++)
    if (s->problem.v[i].hash == hash) return i;
  return -1;
}

/* Index of a new problem; -1 when memory is out. text is taken over. */
static int add_problem(struct profile_set *s, struct profile_problem *p, struct text *text) {
  p->text = keep(s, text);
  if (!p->text || !VEC_PUSH(&s->problem, *p)) return -1;
  return (int)s->problem.n - 1;
}

/* False when memory is out. */
static bool list_labels(struct profile_set *s, struct profile_problem *p, const struct target *t) {
  VEC(struct label) all = {0};
  struct label l;
  bool ok = true;
  for (struct label_walk w = {0}; ok && opcall_next(&p->call, t, &w, &l);) {
    p->nlabel += !l.view;
    ok = VEC_PUSH(&all, l);
  }
  struct label *kept = ARENA_NEW(&s->arena, struct label, MAX(all.n, 1));
  if (kept && all.n) memcpy(kept, all.v, all.n * sizeof *kept);
  p->label = kept;
  p->nall = (int)all.n;
  VEC_FREE(&all);
  return ok && kept;
}

static bool list_convert_labels(struct profile_set *s, struct profile_problem *p,
                                const struct target *t) {
  struct label *l = ARENA_NEW(&s->arena, struct label, MAX(t->nthreads, 1));
  for (int i = 0; l && i < t->nthreads; i++)
    l[i] =
        (struct label){.threads = t->threads[i], .in = {(uint8_t)p->from}, .out = {(uint8_t)p->to}};
  p->label = l;
  p->nall = p->nlabel = t->nthreads;
  return l != NULL;
}

/* Of a node, or of a chain (first >= 0); *id: which. */
static enum fvm_status add_node(struct profile_set *s, const struct graph *g, int first, int node,
                                const struct target *t, int *id, struct fvm_error *err) {
  struct text text = {0};
  struct profile_problem p = {0};
  enum fvm_status st = chains_opcall(g, first, node, &s->arena, &p.call, err);
  if (st) return st;
  p.hash = opcall_hash(&p.call);
  *id = find_problem(s, p.hash);
  if (*id < 0) {
    if (!list_labels(s, &p, t)) return fvm_nomem(err);
    p.op = p.call.op->name;
    opcall_text(&p.call, &text);
    *id = add_problem(s, &p, &text);
    if (*id < 0) return fvm_nomem(err);
  }
  s->problem.v[*id].weight += estimate(&s->problem.v[*id]);
  return FVM_OK;
}

static enum fvm_status add_nodes(struct profile_set *s, const struct graph *g,
                                 const struct target *t, struct fvm_error *err) {
  enum fvm_status st = FVM_OK;
  for (int i = 0, id; i < (int)g->node.n && !st; i++) {
    if (g->node.v[i].dead) continue;
    st = add_node(s, g, -1, i, t, &id, err);
    if (!st && !VEC_PUSH(&s->of_node, id)) st = fvm_nomem(err);
  }
  return st;
}

/* Their inputs and outputs come and go in layouts that the nodes have by themselves, so they ask
 * for no conversions of their own. */
static enum fvm_status add_chains(struct profile_set *s, const struct graph *g, bool named,
                                  const struct target *t, struct fvm_error *err) {
  const int *first = chains_find(g, t, &s->arena);
  enum fvm_status st = first ? FVM_OK : fvm_nomem(err);
  for (int i = 0, id; i < (int)g->node.n && !st; i++) {
    struct text name = {0};
    if (first[i] < 0) continue;
    st = add_node(s, g, first[i], i, t, &id, err);
    if (!st && !VEC_PUSH(&s->of_chain, id)) st = fvm_nomem(err);
    if (st || !named) continue;
    chains_name(g, first[i], i, &name);
    const char *kept = keep(s, &name);
    if (!kept || !VEC_PUSH(&s->chain_name, kept)) st = fvm_nomem(err);
  }
  return st;
}

/* ---- conversions ---- */

static void mark(const struct graph *g, int node, const struct label *l, struct flow *f) {
  const struct node *n = &g->node.v[node];
  for (size_t i = 0; i < n->in.n; i++)
    if (n->in.v[i] >= 0) f->wanted[n->in.v[i]] |= LAYOUT_BIT(label_in(l, (int)i));
  for (size_t i = 0; i < n->out.n; i++)
    if (n->out.v[i] >= 0) f->made[n->out.v[i]] |= LAYOUT_BIT(label_out(l, (int)i));
}

/* of_node: problems of g's live nodes. */
static enum fvm_status find_flow(struct profile_set *s, const struct graph *g, const int *of_node,
                                 struct flow *f, struct fvm_error *err) {
  f->made = ARENA_NEW(&s->arena, layout_set, MAX(g->tensor.n, 1));
  f->wanted = ARENA_NEW(&s->arena, layout_set, MAX(g->tensor.n, 1));
  if (!f->made || !f->wanted) return fvm_nomem(err);
  int k = 0;
  for (size_t i = 0; i < g->node.n; i++) {
    if (g->node.v[i].dead) continue;
    const struct profile_problem *p = &s->problem.v[of_node[k++]];
    for (int j = 0; j < p->nall; j++) mark(g, (int)i, &p->label[j], f);
  }
  for (size_t i = 0; i < g->tensor.n; i++) {
    if (g->tensor.v[i].is_input) f->made[i] |= LAYOUT_BIT(LAYOUT_ROW);
    if (g->tensor.v[i].is_output) f->wanted[i] |= LAYOUT_BIT(LAYOUT_ROW);
  }
  return FVM_OK;
}

static enum fvm_status add_convert(struct profile_set *s, const struct tensor *x, enum layout from,
                                   enum layout to, const struct target *t, struct fvm_error *err) {
  struct text text = {0};
  uint64_t hash = convert_hash(x, from, to);
  if (find_problem(s, hash) >= 0) return FVM_OK;
  struct tensor *io = ARENA_NEW(&s->arena, struct tensor, 2);
  if (!io) return fvm_nomem(err);
  io[0] = io[1] = *x;
  io[0].data = io[1].data = NULL;
  struct profile_problem p = {
      .hash = hash,
      .op = "Convert",
      .is_convert = true,
      .from = from,
      .to = to,
      .call = {
          .op = op_find("Identity", 8), .nin = 1, .nown = 1, .nout = 1, .in = io, .out = io + 1}};
  if (!list_convert_labels(s, &p, t)) return fvm_nomem(err);
  convert_text(x, from, to, &text);
  return add_problem(s, &p, &text) >= 0 ? FVM_OK : fvm_nomem(err);
}

static enum fvm_status add_converts(struct profile_set *s, const struct graph *g,
                                    const int *of_node, const struct target *t,
                                    struct fvm_error *err) {
  struct flow f;
  enum fvm_status st = find_flow(s, g, of_node, &f, err);
  for (size_t i = 0; i < g->tensor.n && !st; i++) {
    const struct tensor *x = &g->tensor.v[i].t;
    if (x->data) continue; /* constants are converted when the plan is written */
    for (int from = 0; from < LAYOUT_COUNT; from++)
      for (int to = 0; to < LAYOUT_COUNT && !st; to++)
        if (from != to && (f.made[i] >> from & 1) && (f.wanted[i] >> to & 1) &&
            layout_convertible(x, (enum layout)from, (enum layout)to))
          st = add_convert(s, x, (enum layout)from, (enum layout)to, t, err);
  }
  return st;
}

/* Copies of what a view joins but can't be made at its place. */
static enum fvm_status add_copies(struct profile_set *s, const struct graph *g, const int *of_node,
                                  const struct target *t, struct fvm_error *err) {
  const struct join *places = joins_find(g, t, &s->arena);
  enum fvm_status st = places ? FVM_OK : fvm_nomem(err);
  for (int i = 0, k = 0; i < (int)g->node.n && !st; i++) {
    const struct node *n = &g->node.v[i];
    if (n->dead) continue;
    const struct profile_problem *p = &s->problem.v[of_node[k++]];
    const struct label *l = p->label; /* adding problems moves p */
    int nview = n->op->flags & OPF_JOIN ? p->nall - p->nlabel : 0;
    for (int j = 0; j < nview && !st; j++)
      for (int x = 0; x < (int)n->in.n && !st; x++)
        if (!joins_at(places, g, i, x))
          st = add_convert(s, &g->tensor.v[n->in.v[x]].t, label_in(&l[j], x), label_in(&l[j], x), t,
                           err);
  }
  return st;
}

/* ---- the set ---- */

/* Heaviest first, so that a budget is spent where the time goes; equal ones in order of use. */
static enum fvm_status sort_by_weight(struct profile_set *s, struct fvm_error *err) {
  for (size_t i = 0; i < s->problem.n; i++) {
    if (!VEC_PUSH(&s->heavy, (int)i)) return fvm_nomem(err);
    size_t k = i;
    for (; k > 0 && s->problem.v[s->heavy.v[k - 1]].weight < s->problem.v[i].weight; k--)
      s->heavy.v[k] = s->heavy.v[k - 1];
    s->heavy.v[k] = (int)i;
  }
  return FVM_OK;
}

/* named: names are kept. */
static enum fvm_status add_graph(struct profile_set *s, const struct graph *g, bool named,
                                 const struct target *t, struct fvm_error *err) {
  size_t first = s->of_node.n;
  enum fvm_status st = add_nodes(s, g, t, err);
  if (!st) st = add_chains(s, g, named, t, err);
  if (!st) st = add_converts(s, g, s->of_node.v + first, t, err);
  return st ? st : add_copies(s, g, s->of_node.v + first, t, err);
}

enum fvm_status profile_set_make(struct profile_set *s, const struct graph *g,
                                 const struct target *t, struct fvm_error *err) {
  *s = (struct profile_set){0};
  enum fvm_status st = add_graph(s, g, true, t, err);
  for (size_t i = 0; i < g->node.n && !st; i++)
    if (!g->node.v[i].dead && !VEC_PUSH(&s->node_name, g->node.v[i].name)) st = fvm_nomem(err);
  if (!st && g->other) st = add_graph(s, g->other, false, t, err);
  if (!st) st = sort_by_weight(s, err);
  if (st) profile_set_free(s);
  return st;
}

void profile_set_free(struct profile_set *s) {
  VEC_FREE(&s->problem);
  VEC_FREE(&s->heavy);
  VEC_FREE(&s->of_node);
  VEC_FREE(&s->node_name);
  VEC_FREE(&s->of_chain);
  VEC_FREE(&s->chain_name);
  arena_free(&s->arena);
}

/* ---- entrants ---- */

enum fvm_status profile_entrants(const struct profile_problem *p, struct arena *a,
                                 struct entrant **e, struct fvm_error *err) {
  *e = ARENA_NEW(a, struct entrant, MAX(p->nlabel, 1));
  if (!*e) return fvm_nomem(err);
  for (int i = 0, n = 0; i < p->nall; i++) {
    const struct label *l = &p->label[i];
    struct text text = {0};
    if (l->view) continue;
    if (p->is_convert)
      convert_label(l->threads, &text);
    else
      label_text(&p->call, l, &text);
    const char *kept = text.failed ? NULL : arena_strdup(a, text.v);
    text_free(&text);
    if (!kept) return fvm_nomem(err);
    (*e)[n++] = (struct entrant){.label = *l, .text = kept, .outcome = OUTCOME_COUNT};
  }
  return FVM_OK;
}

enum fvm_status profile_program(const struct profile_problem *p, struct entrant *e, struct arena *a,
                                struct fvm_error *err) {
  struct fvm_error why = {0};
  enum fvm_status st = p->is_convert
                           ? layout_convert(&p->call.in[0], p->from, p->to, a, &e->program, &why)
                           : opcall_emit(&p->call, &e->label, a, &e->program, &why);
  if (st == FVM_ENOMEM) return fvm_nomem(err);
  if (st) {
    e->outcome = OUTCOME_UNSUPPORTED;
    snprintf(e->reason, sizeof e->reason, "%.150s", why.text);
  }
  return FVM_OK;
}
