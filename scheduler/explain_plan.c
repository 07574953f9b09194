/* A plan at a glance: what was solved and what was proved, time by algorithm and layout, and what
 * conversions cost. Contract: explain.h. */
#include "explain.h"

#include "../profiles/json.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Rows shown without --all. */
enum { SHOWN = 14 };

/* Steps with one algorithm in its layouts, or conversions between two layouts. */
struct sum {
  const char *word, *layouts, *first; /* first: the name of the first step */
  int count;
  int64_t ns, most; /* most: of one */
};
typedef VEC(struct sum) sums;

static bool is_conversion(const struct explain_step *s) {
  return !strncmp(s->label, "convert ", 8);
}

static bool add(sums *v, const struct explain_step *s, const char *word, const char *layouts,
                int64_t ns) {
  size_t i = 0;
  while (i < v->n && (strcmp(v->v[i].word, word) != 0 || strcmp(v->v[i].layouts, layouts) != 0))
    i++;
  if (i == v->n && !VEC_PUSH(v, ((struct sum){word, layouts, s->name, 0, 0, 0}))) return false;
  struct sum *t = &v->v[i];
  t->count += s->count;
  t->ns += ns;
  if (ns > t->most) t->most = ns, t->first = s->name;
  return true;
}

static int by_time(const void *p, const void *q) {
  const struct sum *a = p, *b = q;
  if (a->ns != b->ns) return a->ns < b->ns ? 1 : -1;
  int word = strcmp(a->word, b->word);
  return word ? word : strcmp(a->layouts, b->layouts);
}

/* Nodes' steps, or conversions; false when memory is out. Texts are the arena's. */
static bool sum_up(const struct explanation *x, bool conversions, struct arena *a, sums *v) {
  for (size_t i = 0; i < x->step.n; i++) {
    const struct explain_step *s = &x->step.v[i];
    if (is_conversion(s) != conversions) continue;
    const char *layouts = explain_layouts(a, s->label);
    const char *word = arena_printf(a, "%.*s", (int)explain_candidate(s->label), s->label);
    if (!layouts || !word || !add(v, s, word, layouts, explain_ns(x, s))) return false;
  }
  if (v->n) qsort(v->v, v->n, sizeof *v->v, by_time);
  return true;
}

static double ms(int64_t ns) { return (double)ns * 1e-6; }
static double us(int64_t ns) { return (double)ns * 1e-3; }
static double kib(uint64_t bytes) { return (double)bytes / 1024; }
static double percent(int64_t part, int64_t whole) {
  return whole ? 100 * (double)part / (double)whole : 0;
}

/* ---- text ---- */

static void put_proof(const struct explanation *x, struct text *out) {
  const struct plan_meta *m = x->plan->meta;
  int64_t gap = m->layout_cost_ns - m->layout_bound_ns;
  text_printf(out, "  labels and layouts %10.3f ms, at least %.3f: ", ms(m->layout_cost_ns),
              ms(m->layout_bound_ns));
  if (gap)
    text_printf(out, "a gap of %.2f %%\n", percent(gap, m->layout_cost_ns));
  else
    text_printf(out, "optimal\n");
  text_printf(out, "  order              %10.1f KiB live at once, at least %.1f: %s\n",
              kib(m->order_peak_bytes), kib(m->order_bound_bytes),
              m->order_peak_bytes == m->order_bound_bytes ? "optimal" : "a gap");
  text_printf(out, "  arena              %10.1f KiB, at least %.1f: %s\n", kib(m->arena_bytes),
              kib(m->arena_bound_bytes),
              m->arena_bytes == m->arena_bound_bytes ? "optimal" : "a gap");
  text_printf(out, "  weights            %10.1f KiB, of which a run reads %.1f; scratch %.1f KiB\n",
              kib(x->plan->section[PLAN_WEIGHTS].bytes), kib(m->stream_bytes),
              kib((uint64_t)x->plan->scratch_bytes));
}

static void put_algorithms(const struct explanation *x, const struct explain_style *s, sums *v,
                           struct text *out) {
  int64_t all = explain_ns(x, &x->all), rest = 0;
  size_t shown = s->all ? v->n : MIN(v->n, (size_t)SHOWN);
  text_printf(out, "\n  steps     time ms    share   algorithm          layouts\n");
  for (size_t i = 0; i < shown; i++)
    text_printf(out, "  %5d  %10.3f  %5.1f %%   %-18s %s\n", v->v[i].count, ms(v->v[i].ns),
                percent(v->v[i].ns, all), v->v[i].word, v->v[i].layouts);
  for (size_t i = shown; i < v->n; i++) rest += v->v[i].ns;
  if (shown < v->n)
    text_printf(out, "  and %zu more with %.3f ms; --all shows them\n", v->n - shown, ms(rest));
}

static void put_conversions(const struct explanation *x, sums *v, struct text *out) {
  int64_t sum = 0;
  int count = 0;
  for (size_t i = 0; i < v->n; i++) sum += v->v[i].ns, count += v->v[i].count;
  text_printf(out, "\n  conversions: %d, %.3f ms, %.1f %% of the time\n", count, ms(sum),
              percent(sum, explain_ns(x, &x->all)));
  for (size_t i = 0; i < v->n; i++)
    text_printf(out, "  %5d  %10.1f us  %-12s  the largest: %s, %.1f us\n", v->v[i].count,
                us(v->v[i].ns), v->v[i].layouts, v->v[i].first, us(v->v[i].most));
}

void explain_plan_text(const struct explanation *x, const struct explain_style *s,
                       struct text *out) {
  struct arena a = {0};
  sums nodes = {0}, moves = {0};
  if (!sum_up(x, false, &a, &nodes) || !sum_up(x, true, &a, &moves)) out->failed = true;
  text_printf(out, "\n%sthe plan%s\n", s->color ? "\033[1m" : "", s->color ? "\033[0m" : "");
  put_proof(x, out);
  put_algorithms(x, s, &nodes, out);
  put_conversions(x, &moves, out);
  VEC_FREE(&nodes);
  VEC_FREE(&moves);
  arena_free(&a);
}

/* ---- JSON ---- */

static void json_sums(const sums *v, const char *key, struct text *out) {
  text_printf(out, ",\"%s\":[", key);
  for (size_t i = 0; i < v->n; i++) {
    text_printf(out, "%s{\"algorithm\":", i ? "," : "");
    json_string(out, v->v[i].word);
    text_printf(out, ",\"layouts\":");
    json_string(out, v->v[i].layouts);
    text_printf(out, ",\"count\":%d,\"ns\":%" PRId64 "}", v->v[i].count, v->v[i].ns);
  }
  text_printf(out, "]");
}

void explain_plan_json(const struct explanation *x, struct text *out) {
  const struct plan_meta *m = x->plan->meta;
  struct arena a = {0};
  sums nodes = {0}, moves = {0};
  if (!sum_up(x, false, &a, &nodes) || !sum_up(x, true, &a, &moves)) out->failed = true;
  text_printf(out,
              "{\"layout_cost_ns\":%" PRId64 ",\"layout_bound_ns\":%" PRId64
              ",\"order_peak_bytes\":%" PRIu64 ",\"order_bound_bytes\":%" PRIu64
              ",\"arena_bytes\":%" PRIu64 ",\"arena_bound_bytes\":%" PRIu64,
              m->layout_cost_ns, m->layout_bound_ns, m->order_peak_bytes, m->order_bound_bytes,
              m->arena_bytes, m->arena_bound_bytes);
  json_sums(&nodes, "algorithms", out);
  json_sums(&moves, "conversions", out);
  text_printf(out, "}");
  VEC_FREE(&nodes);
  VEC_FREE(&moves);
  arena_free(&a);
}
