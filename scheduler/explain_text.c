/* What explain found out, for people and for programs. Contract: explain.h. */
#include "explain.h"

#include "../profiles/json.h"
#include "what_if.h"

#include <string.h>

/* Rows shown without --all. */
enum { SHOWN_STEPS = 20, SHOWN_MISSES = 12, SHOWN_LABELS = 24, BAR = 24 };

/* ---- style ---- */

enum paint { PLAIN, BOLD, GOOD, FAIR, BAD };

static const char *code(const struct explain_style *s, enum paint p) {
  static const char *const codes[] = {"\033[0m", "\033[1m", "\033[32m", "\033[33m", "\033[31m"};
  return s->color ? codes[p] : "";
}

static void heading(const struct explain_style *s, const char *text, struct text *out) {
  text_printf(out, "\n%s%s%s\n", code(s, BOLD), text, code(s, PLAIN));
}

static double us(int64_t ns) { return (double)ns * 1e-3; }
static double ms(int64_t ns) { return (double)ns * 1e-6; }
static double percent(int64_t part, int64_t whole) {
  return whole ? 100 * (double)part / (double)whole : 0;
}

/* Share of the bound's speed that a time reaches, coloured. */
static void put_share(const struct explain_style *s, int64_t bound, int64_t ns, struct text *out) {
  double p = percent(bound, ns);
  text_printf(out, "%s%7.1f %%%s",
              code(s, p >= 90   ? GOOD
                      : p >= 70 ? FAIR
                                : BAD),
              p, code(s, PLAIN));
}

static void put_bar(const struct explain_style *s, int64_t part, int64_t whole, struct text *out) {
  static const char *const eighth[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  int n = (int)(percent(part, whole) / 100 * BAR * 8);
  if (!s->bars || n <= 0) return;
  text_printf(out, "  ");
  for (int i = 0; i < n / 8 && i < BAR; i++) text_printf(out, "█");
  if (n < BAR * 8) text_printf(out, "%s", eighth[n % 8]);
}

/* ---- the head ---- */

static void put_latency(const struct explanation *x, struct text *out) {
  const struct explain_times *t = &x->times;
  int64_t between = t->latency_ns - x->all.measured_ns,
          more = x->all.measured_ns - x->all.predicted_ns;
  text_printf(out, "  latency   %10.3f ms  measured, the best of %d runs\n", ms(t->latency_ns),
              t->runs);
  text_printf(
      out,
      "  steps     %10.3f ms  their best times added up; %+.3f ms (%.1f %%) to the latency: "
      "dispatch, and what\n"
      "                           varies from run to run (the best run with a clock read "
      "after each step: %.3f ms)\n",
      ms(x->all.measured_ns), ms(between), percent(between, t->latency_ns), ms(t->timed_ns));
  text_printf(out,
              "  predicted %10.3f ms  from measuring each step by itself; in the plan they take "
              "%+.3f ms (%+.1f %%),\n"
              "                           with other contents of the caches\n",
              ms(x->all.predicted_ns), ms(more), percent(more, x->all.predicted_ns));
}

static void put_bound(const struct explanation *x, const struct explain_style *s,
                      struct text *out) {
  int64_t bound = MAX(x->flops_ns, x->weights_ns);
  int64_t ns = x->times.runs ? x->times.latency_ns : x->all.predicted_ns;
  text_printf(
      out,
      "  bound     %10.3f ms  %.3f GFLOP at the peak take %.3f ms, reading %.1f MB of weights "
      "%.3f ms\n",
      ms(bound), (double)x->all.flops * 1e-9, ms(x->flops_ns), (double)x->all.weight_bytes * 1e-6,
      ms(x->weights_ns));
  text_printf(out, "  of bound  ");
  put_share(s, bound, ns, out);
  text_printf(out, "    %.3f ms above it\n", ms(ns - bound));
}

static void put_head(const struct explanation *x, const struct explain_style *s, struct text *out) {
  const struct machine_speeds *v = &x->speed;
  const struct fvm_plan *p = x->plan;
  text_printf(out, "%s%s%s (graph '%s'): %zu steps, %d thread%s\n", code(s, BOLD), x->title,
              code(s, PLAIN), plan_string(p, p->meta->model), x->step.n, v->threads,
              v->threads == 1 ? "" : "s");
  text_printf(
      out,
      "%s\nmeasured now on %d thread%s: %.1f GFLOP/s peak, %.1f GB/s from memory, %.1f GB/s from "
      "level 2\n\n",
      x->machine, v->threads, v->threads == 1 ? "" : "s", v->gflops, v->gbytes, v->cache_gbytes);
  if (x->times.runs)
    put_latency(x, out);
  else
    text_printf(out, "  predicted %10.3f ms  (not run)\n", ms(x->all.predicted_ns));
  put_bound(x, s, out);
}

/* ---- tables ---- */

static void put_kinds(const struct explanation *x, const struct explain_style *s,
                      struct text *out) {
  heading(s, "time by kind of step", out);
  text_printf(out, "  steps     time ms    share   of bound     lost ms\n");
  for (size_t i = 0; i < x->kind.n; i++) {
    const struct explain_step *k = &x->kind.v[i];
    int64_t ns = explain_ns(x, k), all = explain_ns(x, &x->all);
    text_printf(out, "  %5d  %10.3f  %5.1f %%  ", k->count, ms(ns), percent(ns, all));
    put_share(s, k->bound_ns, ns, out);
    text_printf(out, "  %10.3f  %s", ms(explain_lost(x, k)), k->kind);
    put_bar(s, ns, all, out);
    text_printf(out, "\n");
  }
}

static void put_step(const struct explanation *x, const struct explain_style *s,
                     const struct explain_step *e, struct text *out) {
  static const char *const limits[] = {"flops", "weights", "values"};
  int64_t ns = explain_ns(x, e);
  text_printf(out, "  %3d  %9.1f  %5.1f %%  %10.1f  %10.1f  %10.1f  ", e->count,
              us(explain_lost(x, e)), percent(ns, explain_ns(x, &x->all)), us(ns / e->count),
              us(e->predicted_ns / e->count), us(e->bound_ns / e->count));
  put_share(s, e->bound_ns, ns, out);
  text_printf(out, "  %-7s  %s  %s%s\n           %s\n", limits[explain_limit(x, e)], e->kind,
              e->name, e->count > 1 ? " ..." : "", e->label);
}

static void put_steps(const struct explanation *x, const struct explain_style *s,
                      struct text *out) {
  const struct explain_step *v = s->all ? x->loser.v : x->group.v;
  size_t n = s->all ? x->loser.n : x->group.n, shown = s->all ? n : MIN(n, (size_t)SHOWN_STEPS);
  int64_t rest = 0;
  heading(s, s->all ? "steps by time lost" : "steps by time lost, equal ones together", out);
  text_printf(out,
              "    n    lost us    share    each: us   predicted       bound   of bound  limit "
              "   operator, node; label\n");
  for (size_t i = 0; i < shown; i++) put_step(x, s, &v[i], out);
  for (size_t i = shown; i < n; i++) rest += explain_lost(x, &v[i]);
  if (shown < n)
    text_printf(out, "  and %zu more, in which %.1f us are lost; --all shows them\n", n - shown,
                us(rest));
}

static void put_misses(const struct explanation *x, const struct explain_style *s,
                       struct text *out) {
  heading(s, "what did not fuse, and why", out);
  if (!x->graph) {
    text_printf(out, "  the plan alone does not say; give its model by --model\n");
    return;
  }
  size_t n = x->graph->miss.n, shown = s->all ? n : MIN(n, (size_t)SHOWN_MISSES);
  for (size_t i = 0; i < shown; i++) {
    const struct miss *m = &x->graph->miss.v[i];
    text_printf(out, "  %s '%s' is not part of %s: %s\n", m->op->name, m->node, m->pattern,
                m->reason);
  }
  if (shown < n) text_printf(out, "  and %zu more; --all shows them\n", n - shown);
  if (n == 0) text_printf(out, "  every pattern that was begun was found whole\n");
}

void explain_text(const struct explanation *x, const struct explain_style *s, struct text *out) {
  put_head(x, s, out);
  explain_plan_text(x, s, out);
  explain_pins_text(x, s, out);
  put_kinds(x, s, out);
  put_steps(x, s, out);
  explain_race_text(x, s, out);
  put_misses(x, s, out);
}

/* ---- one node ---- */

static const struct explain_label *chosen_of(const struct explain_node *n) {
  for (size_t i = 0; i < n->label.n; i++)
    if (n->label.v[i].chosen) return &n->label.v[i];
  return NULL;
}

static void put_why(const struct explain_node *n, struct text *out) {
  const struct explain_label *c = chosen_of(n), *best = c;
  int right = 0;
  for (size_t i = 0; i < n->label.n; i++) {
    const struct explain_label *l = &n->label.v[i];
    right += explain_is_right(l);
    if (best && explain_is_right(l) && l->ns < best->ns) best = l;
  }
  text_printf(out, "why     ");
  if (n->chain)
    text_printf(out, "one step runs it and its neighbour: %s\n", n->chain);
  else if (!c)
    text_printf(out, "it runs nothing: its output is its input's bytes, or its label is not known "
                     "here\n");
  else if (!explain_is_right(c))
    text_printf(out, "nothing is measured of it on this machine by this build: the analytic model "
                     "ranks; run 'fluidvm profile'\n");
  else if (c->ns <= best->ns)
    text_printf(out, "the fastest of %d that were measured and right\n", right);
  else if (n->pin_line)
    text_printf(out, "pinned by line %zu; %.1f us slower by itself than the fastest\n", n->pin_line,
                us(c->ns - best->ns));
  else if (best->plan_ns >= 0 && best->plan_ns > n->plan_ns)
    text_printf(out,
                "%.1f us slower by itself than the fastest, but with that one the plan would take "
                "%.1f us more:\n        layouts of its neighbours\n",
                us(c->ns - best->ns), us(best->plan_ns - n->plan_ns));
  else if (best->plan_ns >= 0)
    text_printf(out,
                "%.1f us slower by itself than the fastest, which makes no slower a plan: a "
                "limit on memory, or a tie\n",
                us(c->ns - best->ns));
  else
    text_printf(out,
                "%.1f us slower by itself than the fastest, for the layouts of its neighbours "
                "or a limit on memory\n",
                us(c->ns - best->ns));
}

static void put_size(int64_t bytes, struct text *out) {
  if (bytes < 0)
    text_printf(out, "  %9s", "-");
  else
    text_printf(out, "  %7.1f K", (double)bytes / 1024);
}

static void put_label(const struct explanation *x, const struct explain_style *s,
                      const struct explain_node *n, const struct explain_label *l, int64_t best,
                      struct text *out) {
  text_printf(out, "%s%c ", code(s, l->chosen ? BOLD : PLAIN), l->chosen ? '*' : ' ');
  if (l->ns > 0)
    text_printf(out, "%10.1f  %6.3f  ", us(l->ns), best ? (double)l->ns / (double)best : 1);
  else
    text_printf(out, "%10s  %6s  ", "-", "-");
  if (l->plan_ns >= 0)
    text_printf(out, "%+11.1f", us(l->plan_ns - n->plan_ns));
  else
    text_printf(out, "%11s", "-");
  text_printf(out, "  %-11s", l->outcome == OUTCOME_COUNT ? "model" : outcome_name(l->outcome));
  put_size(l->weight_bytes, out);
  put_size(l->scratch_bytes, out);
  if (l->error >= 0)
    text_printf(out, "  %7.1e", l->error);
  else
    text_printf(out, "  %7s", "-");
  explain_verdict_cell(x, l, out);
  bool failed = l->outcome != OUTCOME_COUNT && !explain_is_right(l);
  text_printf(out, "  %s%s%s%s\n", l->text, failed && l->reason ? ": " : "",
              failed && l->reason ? l->reason : "", code(s, PLAIN));
}

static void put_outcomes(const struct explain_node *n, struct text *out) {
  int count[OUTCOME_COUNT + 1] = {0};
  for (size_t i = 0; i < n->label.n; i++) count[n->label.v[i].outcome]++;
  text_printf(out, "labels  %zu:", n->label.n);
  for (int i = 0; i <= OUTCOME_COUNT; i++)
    if (count[i])
      text_printf(out, " %d %s", count[i],
                  i == OUTCOME_COUNT ? "not measured" : outcome_name((enum outcome)i));
  text_printf(out, "\n\n");
}

void explain_node_text(const struct explanation *x, const struct explain_node *n,
                       const struct explain_style *s, struct text *out) {
  const struct explain_step *e = explain_find(x, n->name);
  text_printf(out, "%s%s%s\nproblem %s\n", code(s, BOLD), n->name, code(s, PLAIN), n->problem);
  if (n->uses > 1) text_printf(out, "        on %d nodes of the model\n", n->uses);
  if (e) {
    text_printf(out, "label   %s\ntimes   %.1f us predicted", e->label,
                us(e->predicted_ns / e->count));
    if (x->times.runs) text_printf(out, ", %.1f us in the plan", us(e->measured_ns / e->count));
    text_printf(out, ", bound %.1f us: ", us(e->bound_ns / e->count));
    put_share(s, e->bound_ns, explain_ns(x, e), out);
    text_printf(out, " of it\n");
  }
  for (size_t i = 0; i < n->label.n; i++)
    if (n->label.v[i].chosen) explain_verdict_text(x, &n->label.v[i], out);
  put_why(n, out);
  explain_forced_text(n, out);
  put_outcomes(n, out);
  text_printf(out, "          us   ratio      plan us  status         weights    scratch    error  "
                   "    bound by  label\n");
  size_t shown = s->all ? n->label.n : MIN(n->label.n, (size_t)SHOWN_LABELS);
  int64_t best = n->label.n ? n->label.v[0].ns : 0;
  for (size_t i = 0; i < n->label.n; i++)
    if (i < shown || n->label.v[i].chosen) put_label(x, s, n, &n->label.v[i], best, out);
  if (shown < n->label.n)
    text_printf(out, "  and %zu more; --all shows them\n", n->label.n - shown);
}

/* ---- JSON ---- */

static void json_number(struct text *out, const char *key, int64_t v) {
  text_printf(out, ",\"%s\":%lld", key, (long long)v);
}

static void json_text(struct text *out, const char *key, const char *v) {
  text_printf(out, "\"%s\":", key);
  json_string(out, v);
}

static void json_step(const struct explanation *x, const struct explain_step *s, struct text *out) {
  static const char *const limits[] = {"flops", "weights", "values"};
  text_printf(out, "{");
  json_text(out, "kind", s->kind);
  if (s->name) {
    text_printf(out, ",");
    json_text(out, "node", s->name);
    text_printf(out, ",");
    json_text(out, "label", s->label);
    text_printf(out, ",\"limit\":\"%s\"", limits[explain_limit(x, s)]);
    json_number(out, "threads", s->threads);
  }
  json_number(out, "count", s->count);
  json_number(out, "predicted_ns", s->predicted_ns);
  json_number(out, "measured_ns", s->measured_ns);
  json_number(out, "bound_ns", s->bound_ns);
  json_number(out, "flops", s->flops);
  json_number(out, "weight_bytes", s->weight_bytes);
  json_number(out, "value_bytes", s->value_bytes);
  text_printf(out, "}");
}

static void json_misses(const struct graph *g, struct text *out) {
  text_printf(out, ",\"misses\":[");
  for (size_t i = 0; g && i < g->miss.n; i++) {
    const struct miss *m = &g->miss.v[i];
    text_printf(out, i ? ",{" : "{");
    json_text(out, "node", m->node);
    text_printf(out, ",");
    json_text(out, "op", m->op->name);
    text_printf(out, ",");
    json_text(out, "pattern", m->pattern);
    text_printf(out, ",");
    json_text(out, "reason", m->reason);
    text_printf(out, "}");
  }
  text_printf(out, "]");
}

static void json_label(const struct explanation *x, const struct explain_label *l,
                       struct text *out) {
  text_printf(out, "{");
  json_text(out, "label", l->text);
  text_printf(out, ",\"status\":\"%s\",\"chosen\":%s",
              l->outcome == OUTCOME_COUNT ? "model" : outcome_name(l->outcome),
              l->chosen ? "true" : "false");
  json_number(out, "ns", l->ns);
  json_number(out, "plan_ns", l->plan_ns);
  if (l->alone_ns != WHAT_IF_NONE) json_number(out, "alone_ns", l->alone_ns);
  json_number(out, "weight_bytes", l->weight_bytes);
  json_number(out, "scratch_bytes", l->scratch_bytes);
  json_number(out, "threads", l->threads);
  if (l->error >= 0) text_printf(out, ",\"error\":%.9g", l->error);
  explain_verdict_json(x, l, out);
  text_printf(out, ",");
  json_text(out, "reason", l->reason);
  text_printf(out, "}");
}

static void json_node(const struct explanation *x, const struct explain_node *n, struct text *out) {
  text_printf(out, ",\"node\":{");
  json_text(out, "name", n->name);
  text_printf(out, ",");
  json_text(out, "problem", n->problem);
  json_number(out, "uses", n->uses);
  json_number(out, "plan_ns", n->plan_ns);
  if (n->pin_line) {
    json_number(out, "pin_line", (int64_t)n->pin_line);
    text_printf(out, ",");
    json_text(out, "free_label", n->free_label);
    if (n->free_ns != WHAT_IF_NONE) json_number(out, "free_ns", n->free_ns);
  }
  text_printf(out, ",\"labels\":[");
  for (size_t i = 0; i < n->label.n; i++) {
    if (i) text_printf(out, ",");
    json_label(x, &n->label.v[i], out);
  }
  text_printf(out, "]}");
}

void explain_json(const struct explanation *x, const struct explain_node *n, struct text *out) {
  text_printf(out, "{");
  json_text(out, "title", x->title);
  text_printf(out, ",");
  json_text(out, "model", plan_string(x->plan, x->plan->meta->model));
  text_printf(out, ",");
  json_text(out, "machine", x->machine);
  json_number(out, "threads", x->speed.threads);
  text_printf(out, ",\"peak_gflops\":%.3f,\"read_gbytes\":%.3f,\"cache_gbytes\":%.3f",
              x->speed.gflops, x->speed.gbytes, x->speed.cache_gbytes);
  json_number(out, "runs", x->times.runs);
  json_number(out, "latency_ns", x->times.latency_ns);
  json_number(out, "timed_ns", x->times.timed_ns);
  json_number(out, "steps_ns", x->all.measured_ns);
  json_number(out, "predicted_ns", x->all.predicted_ns);
  json_number(out, "bound_ns", MAX(x->flops_ns, x->weights_ns));
  json_number(out, "flops", x->all.flops);
  json_number(out, "weight_bytes", x->all.weight_bytes);
  text_printf(out, ",\"kinds\":[");
  for (size_t i = 0; i < x->kind.n; i++) {
    if (i) text_printf(out, ",");
    json_step(x, &x->kind.v[i], out);
  }
  text_printf(out, "],\"steps\":[");
  for (size_t i = 0; i < x->step.n; i++) {
    if (i) text_printf(out, ",");
    json_step(x, &x->step.v[i], out);
  }
  text_printf(out, "],\"plan\":");
  explain_plan_json(x, out);
  if (x->pins.path) {
    text_printf(out, ",\"pins\":");
    explain_pins_json(x, out);
  }
  text_printf(out, ",\"convolutions\":");
  explain_race_json(x, out);
  json_misses(x->graph, out);
  if (n) json_node(x, n, out);
  text_printf(out, "}\n");
}
