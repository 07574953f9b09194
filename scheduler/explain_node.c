/* All labels of one problem, and what each would have cost the plan. Contract: explain.h.
 *
 * Labels that agree in the layouts of their run-time inputs and outputs look alike to the rest of
 * the graph, so the plan is solved again once for each kind of look: with one label of that kind
 * forced on all nodes of the problem, and on the one node alone. The others of the kind differ by
 * their own times. */
#include "explain.h"
#include "../vm/interp.h"
#include "pin.h"
#include "sched.h"
#include "states.h"
#include "what_if.h"

#include <stdlib.h>
#include <string.h>

/* ---- labels ---- */

const char *explain_layouts(struct arena *a, const char *label) {
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
                            .alone_ns = WHAT_IF_NONE,
                            .threads = l->threads,
                            .weight_bytes = stored_bytes(f, l),
                            .scratch_bytes = scratch_bytes(f, l),
                            .error = cost_error(f->s->cost, &f->call, l)};
  text_free(&t);
  if (!e.text) return false;
  e.flops = e.moved = -1;
  e.layouts = explain_layouts(&f->n->arena, e.text);
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

/* Bytes from beyond a cache take a walk over all that a program touches: of the fastest few alone.
 */
enum { COUNTED = 12 };
static const int64_t ENDLESS = (int64_t)1 << 40; /* bytes of a cache that forgets nothing */

static bool is_counted(const struct explain_node *n, size_t i) {
  int before = 0;
  if (n->label.v[i].chosen) return true;
  if (!explain_is_right(&n->label.v[i])) return false;
  for (size_t k = 0; k < n->label.n; k++)
    before += explain_is_right(&n->label.v[k]) && n->label.v[k].ns < n->label.v[i].ns;
  return before < COUNTED;
}

/* As for the bounds of steps: constants come from memory, other values from the last cache, but for
 * those that it does not keep. Verdicts are by the way: what cannot be counted has none. */
static void count_work(struct finder *f) {
  const struct target *t = &f->s->options->target;
  for (size_t i = 0; i < f->label.n; i++) {
    struct explain_label *e = &f->n->label.v[i];
    struct vcount count = {.level_bytes = {t->l1_bytes, t->l3_bytes, ENDLESS}};
    struct arena a = {0};
    struct program p;
    if (!is_counted(f->n, i)) continue;
    e->counted = opcall_emit(&f->call, &f->label.v[i], &a, &p, NULL) == FVM_OK &&
                 interp_count(&p, &count, NULL) == FVM_OK;
    int64_t again = t->l3_bytes ? count.miss[1] - count.miss[2] : 0;
    e->work = (struct verdict_work){count.flops, count.miss[0], e->weight_bytes + again};
    arena_free(&a);
  }
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

/* Nodes of the same problem, counted, and listed unless `list` is NULL. */
static int list_uses(const struct finder *f, int *list) {
  struct arena a = {0};
  struct opcall c;
  int n = 0;
  for (size_t i = 0; i < f->graph->node.n; i++) {
    if (f->graph->node.v[i].dead || graph_opcall(f->graph, (int)i, &a, &c, NULL) ||
        opcall_hash(&c) != f->hash)
      continue;
    if (list) list[n] = (int)i;
    n++;
  }
  arena_free(&a);
  return n;
}

/* The first label before i whose plans are known and which looks the same; i: none does. */
static size_t twin_of(const struct finder *f, size_t i) {
  const struct plan_options *o = f->s->options;
  size_t k = o->memory || o->arena ? i : 0; /* labels that look alike differ in bytes */
  while (k < i && (f->n->label.v[k].plan_ns < 0 || f->n->label.v[k].alone_ns == WHAT_IF_NONE ||
                   !look_alike(f, &f->label.v[k], &f->label.v[i])))
    k++;
  return k;
}

/* With the label on all nodes of the problem, and on this one alone. */
static enum fvm_status force(struct finder *f, struct what_if *x, const int *uses,
                             struct explain_label *e) {
  int64_t more;
  enum fvm_status st = what_if_forced(x, uses, f->n->uses, e->text, &more, f->err);
  if (st == FVM_OK && more != WHAT_IF_NONE) e->plan_ns = f->n->plan_ns + more;
  if (st == FVM_OK && f->n->uses > 1) st = what_if_forced(x, &f->node, 1, e->text, &more, f->err);
  if (st == FVM_OK) e->alone_ns = more;
  return st;
}

static enum fvm_status ask_pins(struct finder *f, struct what_if *x) {
  const struct pins *p = f->s->options->pins;
  struct explain_node *n = f->n;
  const char *label;
  for (size_t i = 0; p && i < p->pin.n && !n->pin_line; i++)
    if (pin_covers(&p->pin.v[i], &f->graph->node.v[f->node])) n->pin_line = p->pin.v[i].line;
  if (!n->pin_line) return FVM_OK;
  enum fvm_status st = what_if_free(x, f->node, &n->free_ns, &label, f->err);
  n->free_label = label ? arena_strdup(&n->arena, label) : NULL;
  return st == FVM_OK && label && !n->free_label ? fvm_nomem(f->err) : st;
}

static enum fvm_status ask(struct finder *f, struct what_if *x) {
  enum fvm_status st = FVM_OK;
  int *uses = ARENA_NEW(&f->n->arena, int, MAX(f->n->uses, 1));
  if (!uses) return fvm_nomem(f->err);
  list_uses(f, uses);
  for (size_t i = 0; i < f->label.n && st == FVM_OK; i++) {
    struct explain_label *e = &f->n->label.v[i];
    if (!is_usable(f, e)) continue;
    const struct explain_label *twin = &f->n->label.v[twin_of(f, i)];
    if (twin < e) {
      e->plan_ns = twin->plan_ns + (e->ns - twin->ns) * f->n->uses;
      e->alone_ns = twin->alone_ns + e->ns - twin->ns;
    } else {
      st = force(f, x, uses, e);
    }
  }
  return st == FVM_OK ? ask_pins(f, x) : st;
}

/* Pins that fit the schedule fit here, too: only memory can be out. */
static enum fvm_status ask_what_if(struct finder *f) {
  struct what_if *x;
  enum fvm_status st = what_if_open(f->s->schedule->graph, f->s->cost, f->s->options, &x, f->err);
  if (st == FVM_OK) st = ask(f, x);
  what_if_close(x);
  return st == FVM_ENOMEM ? st : FVM_OK;
}

/* ---- the node ---- */

/* The label that the schedule has for the node; NULL when it runs nothing, being a view. */
static const char *chosen_label(struct finder *f) {
  const struct schedule *s = f->s->schedule;
  const char *kept = NULL;
  for (size_t i = 0; i < s->step.n; i++) {
    struct text t = {0};
    if (s->step.v[i].node != f->node || s->step.v[i].first >= 0) continue;
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
  n->uses = list_uses(f, NULL);
  n->plan_ns = f->s->schedule ? f->s->schedule->cost_ns : 0;
  if (f->s->db)
    st = db_list(f->s->db, f->s->machine_id, f->s->build_id, states_of(f->s->states, f->hash),
                 f->hash, &n->arena, &f->known, f->err);
  return st == FVM_OK && !(n->name && n->problem) ? fvm_nomem(f->err) : st;
}

static enum fvm_status add_labels(struct finder *f, const char *chosen) {
  struct label l;
  for (struct label_walk w = {0}; opcall_next(&f->call, &f->s->options->target, &w, &l);)
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
  if (chosen && !strncmp(chosen, "chain_", 6)) n->chain = chosen;
  if (st == FVM_OK) st = add_labels(&f, chosen);
  if (st == FVM_OK) count_work(&f);
  if (st == FVM_OK && chosen) st = ask_what_if(&f);
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
    st = db_list(db, machine_id, build_id, use.state, use.hash, &n->arena, &known, err);
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
                              .alone_ns = WHAT_IF_NONE,
                              .weight_bytes = -1,
                              .scratch_bytes = -1,
                              .flops = -1,
                              .moved = -1,
                              .error = k->error,
                              .threads = threads ? (int)strtol(threads + 9, NULL, 10) : 0,
                              .layouts = explain_layouts(&n->arena, k->label)};
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
