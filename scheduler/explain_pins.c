/* What pins cost, and what forcing a label on one node would. Contract: explain.h.
 *
 * The whole: planned again without any pin. One pin of the file, or those of one node: the labels
 * solved again without them (what_if.h). */
#include "explain.h"

#include "../profiles/json.h"
#include "pin.h"
#include "what_if.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Nodes shown without --all; labels forced on one. */
enum { SHOWN = 12, FORCED = 5 };

/* ---- finding out ---- */

static bool is_pinned(const struct pins *p, const struct node *n) {
  for (size_t i = 0; i < p->pin.n; i++)
    if (pin_covers(&p->pin.v[i], n)) return true;
  return false;
}

static enum fvm_status ask_pins(struct explanation *x, const struct explain_source *s,
                                struct what_if *w, struct fvm_error *err) {
  const struct pins *p = s->options->pins;
  const struct graph *g = s->schedule->graph;
  enum fvm_status st = FVM_OK;
  for (size_t i = 0; i < p->pin.n && st == FVM_OK; i++) {
    struct explain_pin e = {.line = p->pin.v[i].line};
    for (size_t k = 0; k < g->node.n; k++)
      e.nodes += !g->node.v[k].dead && pin_covers(&p->pin.v[i], &g->node.v[k]);
    st = what_if_unpinned(w, i, &e.ns, err);
    if (st == FVM_OK && !VEC_PUSH(&x->pins.pin, e)) st = fvm_nomem(err);
  }
  return st;
}

static enum fvm_status ask_node(struct explanation *x, struct what_if *w, const struct graph *g,
                                int node, struct fvm_error *err) {
  struct explain_pinned e = {.name = g->node.v[node].name};
  const char *label;
  enum fvm_status st = what_if_free(w, node, &e.ns, &label, err);
  e.label = explain_label_in(x->plan, e.name);
  if (!e.label) e.label = "a view, which runs nothing";
  e.free_label = label ? arena_strdup(&x->arena, label) : NULL;
  if (st == FVM_OK && ((label && !e.free_label) || !VEC_PUSH(&x->pins.node, e)))
    st = fvm_nomem(err);
  return st;
}

/* Cheapest without its pins first: those that cost most. */
static int by_cost(const void *p, const void *q) {
  const struct explain_pinned *a = p, *b = q;
  if (a->ns != b->ns) return a->ns < b->ns ? -1 : 1;
  return strcmp(a->name, b->name);
}

/* The graph without any pin, in whichever form is better then. */
static enum fvm_status plan_freely(struct explanation *x, const struct explain_source *s,
                                   struct fvm_error *err) {
  struct plan_options o = *s->options;
  struct schedule *free = NULL;
  o.pins = NULL;
  enum fvm_status st = schedule_graph(s->graph, s->cost, &o, &free, err);
  if (st == FVM_OK) x->pins.free_ns = free->cost_ns;
  schedule_free(free);
  return st;
}

enum fvm_status explain_pins(struct explanation *x, const struct explain_source *s,
                             struct fvm_error *err) {
  struct what_if *w = NULL;
  const struct pins *p = s->options->pins;
  if (!p || !s->schedule) return FVM_OK;
  const struct graph *g = s->schedule->graph;
  x->pins.path = p->path;
  x->pins.ns = s->schedule->cost_ns;
  enum fvm_status st = plan_freely(x, s, err);
  if (st == FVM_OK) st = what_if_open(g, s->cost, s->options, &w, err);
  if (st == FVM_OK) st = ask_pins(x, s, w, err);
  /* Within limits each question is a plan of its own: the file's lines have to do. */
  for (int i = 0; i < (int)g->node.n && st == FVM_OK && !s->options->memory && !s->options->arena;
       i++)
    if (!g->node.v[i].dead && is_pinned(p, &g->node.v[i])) st = ask_node(x, w, g, i, err);
  what_if_close(w);
  if (x->pins.node.n) qsort(x->pins.node.v, x->pins.node.n, sizeof *x->pins.node.v, by_cost);
  return st;
}

void explain_pins_free(struct explain_pins *p) {
  VEC_FREE(&p->pin);
  VEC_FREE(&p->node);
}

/* ---- text ---- */

/* "-0.8 ms", "+12.3 us". */
static void put_difference(int64_t ns, struct text *out) {
  bool large = ns >= 1000000 || ns <= -1000000;
  if (ns == WHAT_IF_NONE)
    text_printf(out, "no plan");
  else
    text_printf(out, "%+.*f %s", large ? 3 : 1, (double)ns * (large ? 1e-6 : 1e-3),
                large ? "ms" : "us");
}

void explain_pins_text(const struct explanation *x, const struct explain_style *s,
                       struct text *out) {
  const struct explain_pins *p = &x->pins;
  if (!p->path) return;
  size_t shown = s->all ? p->node.n : MIN(p->node.n, (size_t)SHOWN);
  text_printf(out, "\n%spins of %s%s\n", s->color ? "\033[1m" : "", p->path,
              s->color ? "\033[0m" : "");
  text_printf(out, "  predicted %.3f ms; without any pin %.3f ms, ", (double)p->ns * 1e-6,
              (double)p->free_ns * 1e-6);
  put_difference(p->free_ns - p->ns, out);
  text_printf(out, " in all\n");
  for (size_t i = 0; i < p->pin.n; i++) {
    text_printf(out, "  line %zu, on %d node%s: without it ", p->pin.v[i].line, p->pin.v[i].nodes,
                p->pin.v[i].nodes == 1 ? "" : "s");
    put_difference(p->pin.v[i].ns, out);
    text_printf(out, " in all\n");
  }
  for (size_t i = 0; i < shown; i++) {
    const struct explain_pinned *n = &p->node.v[i];
    text_printf(out, "  %s: %s\n    pinned; without the pin: %s, ", n->name, n->label,
                n->free_label ? n->free_label : "unknown");
    put_difference(n->ns, out);
    text_printf(out, " in all\n");
  }
  if (shown < p->node.n)
    text_printf(out, "  and %zu more nodes that cost less; --all shows them\n", p->node.n - shown);
}

/* ---- one node ---- */

static bool same_way(const struct explain_label *a, const struct explain_label *b) {
  size_t n = explain_candidate(a->text);
  return n == explain_candidate(b->text) && !strncmp(a->text, b->text, n) &&
         !strcmp(a->layouts, b->layouts);
}

/* The next label to tell of: the cheapest that is not chosen, of a way that was not told of. */
static const struct explain_label *next_forced(const struct explain_node *n,
                                               const struct explain_label *const *told, int count) {
  const struct explain_label *best = NULL;
  for (size_t i = 0; i < n->label.n; i++) {
    const struct explain_label *l = &n->label.v[i];
    bool skip = l->chosen || l->alone_ns == WHAT_IF_NONE;
    for (int k = 0; k < count && !skip; k++) skip = same_way(l, told[k]);
    if (!skip && (!best || l->alone_ns < best->alone_ns)) best = l;
  }
  return best;
}

void explain_forced_text(const struct explain_node *n, struct text *out) {
  const struct explain_label *told[FORCED];
  if (n->pin_line) {
    text_printf(out, "pins    pinned by line %zu; without the pin: %s, ", n->pin_line,
                n->free_label ? n->free_label : "unknown");
    put_difference(n->free_ns, out);
    text_printf(out, " in all\n");
  }
  for (int i = 0; i < FORCED; i++) {
    const struct explain_label *l = next_forced(n, told, i);
    if (!l) return;
    told[i] = l;
    text_printf(out, "%sforced to %s: ", i ? "        " : "else    ", l->text);
    put_difference(l->alone_ns, out);
    text_printf(out, " in all\n");
  }
}

/* ---- JSON ---- */

static void json_difference(const char *key, int64_t ns, struct text *out) {
  if (ns == WHAT_IF_NONE)
    text_printf(out, ",\"%s\":null", key);
  else
    text_printf(out, ",\"%s\":%" PRId64, key, ns);
}

void explain_pins_json(const struct explanation *x, struct text *out) {
  const struct explain_pins *p = &x->pins;
  text_printf(out, "{\"file\":");
  json_string(out, p->path);
  text_printf(out, ",\"predicted_ns\":%" PRId64 ",\"free_ns\":%" PRId64 ",\"pins\":[", p->ns,
              p->free_ns);
  for (size_t i = 0; i < p->pin.n; i++) {
    text_printf(out, "%s{\"line\":%zu,\"nodes\":%d", i ? "," : "", p->pin.v[i].line,
                p->pin.v[i].nodes);
    json_difference("without_ns", p->pin.v[i].ns, out);
    text_printf(out, "}");
  }
  text_printf(out, "],\"nodes\":[");
  for (size_t i = 0; i < p->node.n; i++) {
    const struct explain_pinned *n = &p->node.v[i];
    text_printf(out, "%s{\"node\":", i ? "," : "");
    json_string(out, n->name);
    text_printf(out, ",\"label\":");
    json_string(out, n->label);
    text_printf(out, ",\"free_label\":");
    json_string(out, n->free_label);
    json_difference("without_ns", n->ns, out);
    text_printf(out, "}");
  }
  text_printf(out, "]}");
}
