/* Convolutions and their rivals, for people and for programs. Contract: explain.h. */
#include "explain.h"

#include "../profiles/json.h"

#include <string.h>

static double us(int64_t ns) { return (double)ns * 1e-3; }
static double ratio(int64_t a, int64_t b) { return b > 0 ? (double)a / (double)b : 0; }

static const struct explain_label *chosen_of(const struct explain_race *r) {
  for (size_t i = 0; i < r->node.label.n; i++)
    if (r->node.label.v[i].chosen) return &r->node.label.v[i];
  return NULL;
}

static bool same_candidate(const struct explain_label *a, const struct explain_label *b) {
  size_t n = explain_candidate(a->text);
  return n == explain_candidate(b->text) && !strncmp(a->text, b->text, n);
}

static bool same_layouts(const struct explain_label *a, const struct explain_label *b) {
  return !strcmp(a->layouts, b->layouts);
}

/* The fastest rival of those that agree with label i in one thing; labels are sorted by time. */
static bool is_first(const struct explain_race *r, size_t i,
                     bool same(const struct explain_label *, const struct explain_label *)) {
  const struct explain_label *v = r->node.label.v;
  for (size_t k = 0; k < i; k++)
    if (v[k].rival && same(&v[k], &v[i])) return false;
  return v[i].rival;
}

/* ---- text ---- */

static void put_amount(int64_t bytes, struct text *out) {
  if (bytes < 0)
    text_printf(out, "  %9s", "-");
  else
    text_printf(out, "  %9.1f", (double)bytes / 1024);
}

static void put_numbers(const struct explain_race *r, const struct explain_label *l,
                        struct text *out) {
  text_printf(out, "  %6.1f %%", 100 * ratio(r->bound_ns, l->ns));
  if (l->flops >= 0)
    text_printf(out, "  %5.2f", ratio(l->flops, r->flops));
  else
    text_printf(out, "  %5s", "-");
  put_amount(l->scratch_bytes, out);
  put_amount(l->weight_bytes < 0 ? -1 : MAX(l->weight_bytes - r->plain_bytes, 0), out);
  if (l->error >= 0)
    text_printf(out, "  %7.1e", l->error);
  else
    text_printf(out, "  %7s", "-");
}

/* "; conv_direct 1.13, conv_im2col 1.70" or with layouts: how many times the plan's own time. */
static void put_ahead(const struct explain_race *r, const struct explain_label *own, bool layouts,
                      struct text *out) {
  const char *before = layouts ? "; layouts " : "           others: ";
  for (size_t i = 0; i < r->node.label.n; i++) {
    const struct explain_label *l = &r->node.label.v[i];
    if (layouts ? same_layouts(l, own) || !is_first(r, i, same_layouts)
                : same_candidate(l, own) || !is_first(r, i, same_candidate))
      continue;
    text_printf(out, "%s%.*s %.2f", before,
                layouts ? (int)strlen(l->layouts) : (int)explain_candidate(l->text),
                layouts ? l->layouts : l->text, ratio(l->ns, own->ns));
    before = ", ";
  }
  if (!layouts && !strcmp(before, "           others: "))
    text_printf(out, "           no other algorithm");
}

static void put_rivals(const struct explain_race *r, const struct explain_label *own,
                       struct text *out) {
  for (size_t i = 0; i < r->node.label.n; i++) {
    const struct explain_label *l = &r->node.label.v[i];
    if (!l->rival || l == own) continue;
    text_printf(out, "  %5.2f  %10.1f", ratio(l->ns, own->ns), us(l->ns));
    put_numbers(r, l, out);
    text_printf(out, "  %s\n", l->text);
  }
}

static void put_race(const struct explain_race *r, bool all, struct text *out) {
  const struct explain_label *own = chosen_of(r);
  if (!own || own->ns <= 0) {
    text_printf(out, "  %5d  %10s  %s  %s: its label is not measured here\n           %s\n",
                r->step.count, "-", r->shape, r->node.name, r->step.label);
    return;
  }
  text_printf(out, "  %4dx  %10.1f", r->step.count, us(own->ns));
  put_numbers(r, own, out);
  text_printf(out, "  %s  %s%s\n           %s\n", r->shape, r->node.name,
              r->step.count > 1 ? " ..." : "", own->text);
  if (all) {
    put_rivals(r, own, out);
  } else {
    put_ahead(r, own, false, out);
    put_ahead(r, own, true, out);
    text_printf(out, "\n");
  }
}

void explain_race_text(const struct explanation *x, const struct explain_style *s,
                       struct text *out) {
  if (!x->race.n) return;
  text_printf(
      out,
      "\n%sconvolutions: the plan's label, and the best of each other algorithm and layout in "
      "times of it%s\n"
      "      n    each: us  of bound   work  scratch K    extra K    error  convolution, node; "
      "label\n",
      s->color ? "\033[1m" : "", s->color ? "\033[0m" : "");
  for (size_t i = 0; i < x->race.n; i++) put_race(&x->race.v[i], s->all, out);
  text_printf(
      out,
      "  measured by themselves; bound: of the textbook's multiply-adds, or of level 2; work: "
      "multiply-adds made of the\n  textbook's; extra: weights beyond the model's own%s%s\n",
      x->graph ? "" : "; sizes of others: give --model",
      s->all ? "" : "; --all: each algorithm in each of its layouts");
}

/* ---- JSON ---- */

static void json_text(struct text *out, const char *key, const char *v) {
  text_printf(out, "\"%s\":", key);
  json_string(out, v);
}

static void json_number(struct text *out, const char *key, int64_t v) {
  text_printf(out, ",\"%s\":%lld", key, (long long)v);
}

static void json_rival(const struct explain_label *l, struct text *out) {
  text_printf(out, "{");
  json_text(out, "label", l->text);
  text_printf(out, ",\"candidate\":\"%.*s\",", (int)explain_candidate(l->text), l->text);
  json_text(out, "layouts", l->layouts);
  text_printf(out, ",\"chosen\":%s", l->chosen ? "true" : "false");
  json_number(out, "ns", l->ns);
  json_number(out, "flops", l->flops);
  json_number(out, "moved_bytes", l->moved);
  json_number(out, "weight_bytes", l->weight_bytes);
  json_number(out, "scratch_bytes", l->scratch_bytes);
  json_number(out, "threads", l->threads);
  if (l->error >= 0) text_printf(out, ",\"error\":%.9g", l->error);
  text_printf(out, "}");
}

static void json_race(const struct explain_race *r, struct text *out) {
  const char *before = "";
  int measured = 0;
  text_printf(out, "{");
  json_text(out, "node", r->node.name);
  text_printf(out, ",");
  json_text(out, "shape", r->shape);
  text_printf(out, ",");
  json_text(out, "problem", r->node.problem);
  text_printf(out, ",\"limit\":\"%s\"", r->by_values ? "values" : "flops");
  json_number(out, "count", r->step.count);
  json_number(out, "flops", r->flops);
  json_number(out, "bound_ns", r->bound_ns);
  json_number(out, "plain_weight_bytes", r->plain_bytes);
  json_number(out, "in_plan_ns", r->step.measured_ns);
  for (size_t i = 0; i < r->node.label.n; i++) measured += explain_is_right(&r->node.label.v[i]);
  json_number(out, "measured", measured);
  text_printf(out, ",\"rivals\":[");
  for (size_t i = 0; i < r->node.label.n; i++) {
    const struct explain_label *l = &r->node.label.v[i];
    if (!l->rival && !(l->chosen && l->ns > 0)) continue;
    text_printf(out, "%s", before);
    json_rival(l, out);
    before = ",";
  }
  text_printf(out, "]}");
}

void explain_race_json(const struct explanation *x, struct text *out) {
  text_printf(out, "[");
  for (size_t i = 0; i < x->race.n; i++) {
    if (i) text_printf(out, ",");
    json_race(&x->race.v[i], out);
  }
  text_printf(out, "]");
}
