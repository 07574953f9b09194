/* All labels of one problem, and what each would have cost the plan. Contract: explain.h.
 *
 * Labels that agree in the layouts of their run-time inputs and outputs look alike to the rest of
 * the graph, so the plan is solved again once for each kind of look: with one label of that kind
 * pinned on all nodes of the problem. The others of the kind differ by their own times. */
#include "explain.h"
#include "../vm/interp.h"
#include "sched.h"

#include <stdlib.h>
#include <string.h>

/* ---- a cost source that leaves one problem one label ---- */

struct forced {
  struct cost cost;
  struct cost *inner;
  uint64_t problem;
  const char *label;
};

static int64_t pin_node(struct cost *c, const struct opcall *call, const struct label *l) {
  const struct forced *p = (const struct forced *)c;
  struct text t = {0};
  if (opcall_hash(call) == p->problem) {
    label_text(call, l, &t);
    bool other = t.failed || strcmp(t.v, p->label) != 0;
    text_free(&t);
    if (other) return COST_FORBIDDEN;
  }
  return p->inner->node(p->inner, call, l);
}

static int64_t pin_convert(struct cost *c, const struct tensor *t, enum layout from, enum layout to,
                           int threads) {
  const struct forced *p = (const struct forced *)c;
  return p->inner->convert(p->inner, t, from, to, threads);
}

static double pin_error(struct cost *c, const struct opcall *call, const struct label *l) {
  const struct forced *p = (const struct forced *)c;
  return p->inner->error ? p->inner->error(p->inner, call, l) : -1;
}

/* Cost of the plan with a label pinned; -1 when there is no such plan. */
static enum fvm_status plan_with(const struct explain_source *s, uint64_t problem,
                                 const char *label, int64_t *ns, struct fvm_error *err) {
  struct forced p = {.inner = s->cost, .problem = problem, .label = label};
  struct schedule *with = NULL;
  p.cost = (struct cost){.node = pin_node,
                         .convert = pin_convert,
                         .error = pin_error,
                         .name = s->cost->name,
                         .measured = s->cost->measured,
                         .fallback = s->cost->fallback};
  struct graph form =
      *s->schedule->graph; /* without the other form, in which the problem may not be */
  form.other = NULL;
  enum fvm_status st = schedule_graph(&form, &p.cost, s->options, &with, err);
  *ns = st == FVM_OK ? with->cost_ns : -1;
  schedule_free(with);
  return st == FVM_ENOMEM ? st : FVM_OK;
}

/* ---- labels ---- */

/* "nhwc" of a label with in=nhwc,f32,row out=nhwc, "row>nhwc" of one with in=row,... */
static const char *layouts_of(struct arena *a, const char *label) {
  const char *in = strstr(label, " in="), *out = strstr(label, " out=");
  if (!in || !out) return "";
  int n = (int)strcspn(in + 4, ", "), m = (int)strcspn(out + 5, ", ");
  bool same = n == m && !strncmp(in + 4, out + 5, (size_t)n);
  return same ? arena_printf(a, "%.*s", n, in + 4)
              : arena_printf(a, "%.*s>%.*s", n, in + 4, m, out + 5);
}

bool explain_is_right(const struct explain_label *l) {
  return l->ns > 0 &&
         (l->outcome == OUTCOME_OK || l->outcome == OUTCOME_LOST || l->outcome == OUTCOME_NOISY);
}

size_t explain_candidate(const char *label) { return strcspn(label, " "); }

static bool same_kind(const struct explain_label *a, const struct explain_label *b) {
  size_t n = explain_candidate(a->text);
  return n == explain_candidate(b->text) && !strncmp(a->text, b->text, n) &&
         !strcmp(a->layouts, b->layouts);
}

static void mark_rivals(struct explain_node *n) {
  for (size_t i = 0; i < n->label.n; i++) {
    struct explain_label *e = &n->label.v[i];
    e->rival = explain_is_right(e);
    for (size_t k = 0; k < n->label.n && e->rival; k++) {
      const struct explain_label *o = &n->label.v[k];
      bool before = o->ns < e->ns || (o->ns == e->ns && k < i);
      e->rival = k == i || !before || !explain_is_right(o) || !same_kind(o, e);
    }
  }
}

struct finder {
  const struct explain_source *s;
  struct explain_node *n;
  const struct graph *graph;
  int node;
  struct opcall call;
  uint64_t hash;
  struct db_labels known;
  VEC(struct label) label; /* beside n->label */
  struct fvm_error *err;
};

static bool is_constant(const struct finder *f, int i) { return f->call.in[i].data; }

static int64_t stored_bytes(const struct finder *f, const struct label *l) {
  int64_t sum = 0;
  for (int i = 0; i < f->call.nin; i++)
    if (is_constant(f, i) && f->call.in[i].dtype != FVM_NONE)
      sum += layout_bytes(&f->call.in[i], i < LABEL_MAXIO ? (enum layout)l->in[i] : LAYOUT_ROW);
  return sum;
}

/* -1 for a label without a program. */
static int64_t scratch_bytes(const struct finder *f, const struct label *l) {
  struct arena a = {0};
  struct program p;
  bool made = opcall_emit(&f->call, l, &a, &p, NULL) == FVM_OK;
  int64_t sum = made ? sched_scratch(&p, l->threads) : -1;
  arena_free(&a);
  return sum;
}

static void take_known(const struct finder *f, struct explain_label *e) {
  for (size_t i = 0; i < f->known.list.n; i++) {
    const struct db_label *k = &f->known.list.v[i];
    if (strcmp(k->label, e->text) != 0) continue;
    e->outcome = k->outcome;
    e->ns = k->ns;
    e->reason = k->reason ? arena_strdup(&f->n->arena, k->reason) : NULL;
  }
}

static bool add_label(struct finder *f, const struct label *l, const char *chosen) {
  struct text t = {0};
  label_text(&f->call, l, &t);
  struct explain_label e = {.text = t.failed ? NULL : arena_strdup(&f->n->arena, t.v),
                            .outcome = OUTCOME_COUNT,
                            .plan_ns = -1,
                            .threads = l->threads,
                            .weight_bytes = stored_bytes(f, l),
                            .scratch_bytes = scratch_bytes(f, l),
                            .error = cost_error(f->s->cost, &f->call, l)};
  text_free(&t);
  if (!e.text) return false;
  e.flops = e.moved = -1;
  e.layouts = layouts_of(&f->n->arena, e.text);
  e.chosen = chosen && !strcmp(chosen, e.text);
  if (!e.layouts) return false;
  take_known(f, &e);
  if (e.outcome == OUTCOME_COUNT) e.ns = MAX(cost_node(f->s->cost, &f->call, l), 0);
  return VEC_PUSH(&f->n->label, e) && VEC_PUSH(&f->label, *l);
}

static int64_t moved_bytes(const struct program *p, const struct vcount *c) {
  int64_t sum = 0;
  for (uint32_t i = 0; i < p->nbuf; i++)
    if (!fvm_add(sum, c->read[i], &sum) || !fvm_add(sum, c->written[i], &sum)) return INT64_MAX;
  return sum;
}

/* What the programs of the rivals, and of the plan's own label, do. */
static enum fvm_status count_rivals(struct finder *f) {
  enum fvm_status st = FVM_OK;
  mark_rivals(f->n);
  for (size_t i = 0; i < f->label.n && st == FVM_OK; i++) {
    struct explain_label *e = &f->n->label.v[i];
    struct arena a = {0};
    struct program p;
    struct vcount count = {0};
    if (!e->rival && !e->chosen) continue;
    st = opcall_emit(&f->call, &f->label.v[i], &a, &p, f->err);
    if (st == FVM_OK) st = interp_count(&p, &count, f->err);
    if (st == FVM_OK) e->flops = count.flops;
    if (st == FVM_OK) e->moved = moved_bytes(&p, &count);
    arena_free(&a);
  }
  return st;
}

static bool look_alike(const struct finder *f, const struct label *x, const struct label *y) {
  for (int i = 0; i < MIN(f->call.nin, (int)LABEL_MAXIO); i++)
    if (!is_constant(f, i) && x->in[i] != y->in[i]) return false;
  return !memcmp(x->out, y->out, (size_t)MIN(f->call.nout, (int)LABEL_MAXIO));
}

/* Labels that the planner would not take: the model's guesses beside measurements, and failures. */
static bool is_usable(const struct finder *f, const struct explain_label *e) {
  bool right =
      e->outcome == OUTCOME_OK || e->outcome == OUTCOME_LOST || e->outcome == OUTCOME_NOISY;
  return e->ns > 0 && (f->known.list.n ? right : e->outcome == OUTCOME_COUNT);
}

static enum fvm_status what_if(struct finder *f) {
  enum fvm_status st = FVM_OK;
  for (size_t i = 0; i < f->label.n && st == FVM_OK; i++) {
    struct explain_label *e = &f->n->label.v[i];
    if (!is_usable(f, e)) continue;
    size_t k = f->s->options->memory ? i : 0; /* labels that look alike differ in bytes */
    while (k < i &&
           (f->n->label.v[k].plan_ns < 0 || !look_alike(f, &f->label.v[k], &f->label.v[i])))
      k++;
    if (k < i)
      e->plan_ns = f->n->label.v[k].plan_ns + (e->ns - f->n->label.v[k].ns) * f->n->uses;
    else
      st = plan_with(f->s, f->hash, e->text, &e->plan_ns, f->err);
  }
  return st;
}

/* ---- the node ---- */

static int count_uses(struct finder *f) {
  struct arena a = {0};
  struct opcall c;
  int n = 0;
  for (size_t i = 0; i < f->graph->node.n; i++)
    if (!f->graph->node.v[i].dead && !graph_opcall(f->graph, (int)i, &a, &c, NULL))
      n += opcall_hash(&c) == f->hash;
  arena_free(&a);
  return n;
}

/* The label that the schedule has for the node; NULL when it runs nothing, being a view. */
static const char *chosen_label(struct finder *f) {
  const struct schedule *s = f->s->schedule;
  const char *kept = NULL;
  for (size_t i = 0; i < s->step.n; i++) {
    struct text t = {0};
    if (s->step.v[i].node != f->node) continue;
    label_text(&f->call, &s->step.v[i].label, &t);
    if (!t.failed) kept = arena_strdup(&f->n->arena, t.v);
    text_free(&t);
  }
  return kept;
}

static int find_node(const struct graph *g, const char *name) {
  for (size_t i = 0; i < g->node.n; i++)
    if (!g->node.v[i].dead && !strcmp(g->node.v[i].name, name)) return (int)i;
  return -1;
}

static int by_time(const void *p, const void *q) {
  const struct explain_label *a = p, *b = q;
  if ((a->ns > 0) != (b->ns > 0)) return a->ns > 0 ? -1 : 1;
  if (a->ns != b->ns) return a->ns < b->ns ? -1 : 1;
  return strcmp(a->text, b->text);
}

static void sort_labels(struct explain_node *n) {
  if (n->label.n) qsort(n->label.v, n->label.n, sizeof *n->label.v, by_time);
}

static enum fvm_status begin(struct finder *f, const char *name) {
  struct explain_node *n = f->n;
  struct text problem = {0};
  f->graph = f->s->schedule ? f->s->schedule->graph : f->s->graph;
  f->node = find_node(f->graph, name);
  if (f->node < 0)
    return fvm_fail(f->err, FVM_EUSAGE,
                    "no node '%.100s' after the passes; 'fluidvm dump' lists them", name);
  enum fvm_status st = graph_opcall(f->graph, f->node, &n->arena, &f->call, f->err);
  if (st != FVM_OK) return st;
  f->hash = opcall_hash(&f->call);
  opcall_text(&f->call, &problem);
  n->name = arena_strdup(&n->arena, name);
  n->problem = problem.failed ? NULL : arena_strdup(&n->arena, problem.v);
  text_free(&problem);
  n->uses = count_uses(f);
  n->plan_ns = f->s->schedule ? f->s->schedule->cost_ns : 0;
  if (f->s->db)
    st = db_list(f->s->db, f->s->machine_id, f->s->build_id, f->s->warmth, f->hash, &n->arena,
                 &f->known, f->err);
  return st == FVM_OK && !(n->name && n->problem) ? fvm_nomem(f->err) : st;
}

static enum fvm_status add_labels(struct finder *f, const char *chosen) {
  struct label l;
  for (int i = 0; opcall_label(&f->call, &f->s->options->target, i, &l); i++)
    if (!l.view && !add_label(f, &l, chosen)) return fvm_nomem(f->err);
  return FVM_OK;
}

static void end(struct finder *f) {
  sort_labels(f->n);
  VEC_FREE(&f->known.list);
  VEC_FREE(&f->label);
}

enum fvm_status explain_node(struct explain_node *n, const struct explain_source *s,
                             const char *name, struct fvm_error *err) {
  struct finder f = {.s = s, .n = n, .err = err};
  enum fvm_status st = begin(&f, name);
  const char *chosen = st != FVM_OK ? NULL : s->chosen ? s->chosen : chosen_label(&f);
  if (st == FVM_OK) st = add_labels(&f, chosen);
  if (st == FVM_OK && chosen) st = what_if(&f);
  end(&f);
  return st;
}

enum fvm_status explain_labels(struct explain_node *n, const struct explain_source *s,
                               const char *name, struct fvm_error *err) {
  struct finder f = {.s = s, .n = n, .err = err};
  enum fvm_status st = begin(&f, name);
  if (st == FVM_OK) st = add_labels(&f, s->chosen);
  if (st == FVM_OK) st = count_rivals(&f);
  end(&f);
  return st;
}

enum fvm_status explain_node_stored(struct explain_node *n, struct db *db, int64_t machine_id,
                                    int64_t build_id, uint64_t model_hash, const char *name,
                                    const char *chosen, struct fvm_error *err) {
  struct db_use use;
  struct db_labels known = {0};
  enum fvm_status st = db_node_problem(db, model_hash, name, &n->arena, &use, err);
  n->problem = use.text;
  n->uses = use.nodes;
  if (st == FVM_OK && !n->problem)
    st = fvm_fail(err, FVM_EUSAGE,
                  "the database knows no node '%.100s' of this plan's model; profile it there, or "
                  "give --model",
                  name);
  if (st == FVM_OK)
    st = db_list(db, machine_id, build_id, use.warmth, use.hash, &n->arena, &known, err);
  n->name = arena_strdup(&n->arena, name);
  if (st == FVM_OK && !n->name) st = fvm_nomem(err);
  for (size_t i = 0; i < known.list.n && st == FVM_OK; i++) {
    const struct db_label *k = &known.list.v[i];
    const char *threads = strstr(k->label, " threads=");
    struct explain_label e = {.text = k->label,
                              .reason = k->reason,
                              .outcome = k->outcome,
                              .ns = k->ns,
                              .plan_ns = -1,
                              .weight_bytes = -1,
                              .scratch_bytes = -1,
                              .flops = -1,
                              .moved = -1,
                              .error = k->error,
                              .threads = threads ? (int)strtol(threads + 9, NULL, 10) : 0,
                              .layouts = layouts_of(&n->arena, k->label)};
    e.chosen = chosen && !strcmp(chosen, k->label);
    if (!e.layouts) st = fvm_nomem(err);
    if (st == FVM_OK && !VEC_PUSH(&n->label, e)) st = fvm_nomem(err);
  }
  mark_rivals(n);
  sort_labels(n);
  VEC_FREE(&known.list);
  return st;
}

void explain_node_free(struct explain_node *n) {
  VEC_FREE(&n->label);
  arena_free(&n->arena);
}
