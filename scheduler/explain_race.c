/* Convolutions of a plan against all that was measured of them. Contract: explain.h.
 *
 * What a convolution is stands in the canonical text of its problem, which the database has, too:
 * so a plan and a database are enough. */
#include "explain.h"

#include "../vm/interp.h"
#include "sched.h"

#include <stdlib.h>
#include <string.h>

/* ---- the text of a problem ---- */

struct dims {
  int rank;
  int64_t dim[8];
};

/* The i-th shape behind `at`: "in=f32[1x3x224x224],f32[64x3x7x7]const". Rank 0 without one. */
static struct dims scan_dims(const char *at, int i) {
  struct dims d = {0};
  for (; at && i >= 0; i--) at = strchr(at + 1, '[');
  while (at && *at != ']' && *at && d.rank < (int)COUNT(d.dim)) {
    char *end;
    int64_t n = strtoll(at + 1, &end, 10);
    if (end == at + 1 || n < 0) return (struct dims){0};
    d.dim[d.rank++] = n;
    at = end;
  }
  return d;
}

/* Product of the dims from `first` on, saturated. */
static int64_t volume(const struct dims *d, int first) {
  int64_t n = 1;
  for (int i = first; i < d->rank; i++)
    if (!fvm_mul(n, d->dim[i], &n)) return INT64_MAX;
  return n;
}

static bool put_dims(const struct dims *d, int first, struct text *out) {
  for (int i = first; i < d->rank; i++)
    text_printf(out, i > first ? "x%lld" : "%lld", (long long)d->dim[i]);
  return !out->failed;
}

/* An attribute's values with x between them, unless all are 1. */
static void put_attribute(const char *problem, const char *key, const char *before,
                          const char *after, struct text *out) {
  const char *at = strstr(problem, key);
  if (!at) return;
  at += strlen(key);
  size_t n = strcspn(at, " ");
  if (strspn(at, "1,") >= n) return;
  text_printf(out, "%s", before);
  bool square = n == 3 && at[0] == at[2];
  for (size_t i = 0; i < (square ? 1 : n); i++) text_printf(out, "%c", at[i] == ',' ? 'x' : at[i]);
  text_printf(out, "%s", after);
}

/* " +Add+Relu" of " body={Add:f32(3,4) Relu:f32(5)}". */
static void put_body(const char *problem, struct text *out) {
  const char *at = strstr(problem, " body={");
  for (at = at ? at + 7 : NULL; at && *at && *at != '}'; at += strspn(at, " ")) {
    size_t n = strcspn(at, ":("), m = strcspn(at, " }");
    text_printf(out, " +%.*s", (int)MIN(n, m), at);
    at += m;
  }
}

/* ---- one convolution ---- */

/* "Chain: Conv ... -> MaxPool ...": the convolution is cut off to stand by itself. */
static const char *first_part(struct explanation *x, const char *problem) {
  const char *end = strstr(problem, " -> ");
  return end ? arena_printf(&x->arena, "%.*s", (int)(end - problem), problem) : problem;
}

/* " then MaxPool 3x3/2" */
static void put_second(const char *problem, struct text *out) {
  const char *at = strstr(problem, " -> ");
  if (!at) return;
  text_printf(out, " then %.*s", (int)strcspn(at + 4, " "), at + 4);
  put_attribute(at, " kernel_shape=", " ", "", out);
  put_attribute(at, " strides=", "/", "", out);
}

static bool describe(struct explanation *x, struct explain_race *r) {
  const char *problem = first_part(x, r->node.problem);
  if (!problem) return false;
  const char *in = strstr(problem, " in=");
  const char *makes = strstr(problem, " out=");
  struct dims image = scan_dims(in, 0), w = scan_dims(in, 1), out = scan_dims(makes, 0);
  struct text t = {0};
  if (image.rank < 3 || w.rank != image.rank || out.rank != w.rank || w.dim[0] < 1) return true;
  if (!fvm_mul(volume(&out, 0), volume(&w, 1), &r->flops) || !fvm_mul(r->flops, 2, &r->flops))
    r->flops = 0;
  r->plain_bytes = 4 * (volume(&w, 0) + w.dim[0]);
  put_dims(&w, 2, &t);
  put_attribute(problem, " strides=", "/", "", &t);
  put_attribute(problem, " dilations=", " dilated ", "", &t);
  text_printf(&t, " %lld->%lld", (long long)image.dim[1], (long long)w.dim[0]);
  put_attribute(problem, " group=", " in ", " groups", &t);
  text_printf(&t, ", ");
  put_dims(&out, 2, &t);
  put_body(problem, &t);
  put_second(r->node.problem, &t);
  r->shape = t.failed ? NULL : arena_strdup(&x->arena, t.v);
  text_free(&t);
  return r->shape;
}

static void set_bound(const struct explanation *x, struct explain_race *r) {
  double flops = x->speed.gflops > 0 ? (double)r->flops / x->speed.gflops : 0;
  double values = (double)r->step.value_bytes / MAX(r->step.count, 1);
  values = x->speed.cache_gbytes > 0 ? values / x->speed.cache_gbytes : 0;
  r->by_values = values > flops;
  r->bound_ns = (int64_t)MAX(values, flops);
}

/* The plan's own label is known from the plan, even where the graph is not. */
static void take_step(const struct explanation *x, struct explain_race *r) {
  const struct plan_step *s = &x->plan->step[r->step.first];
  for (size_t i = 0; i < r->node.label.n; i++) {
    struct explain_label *e = &r->node.label.v[i];
    if (!e->chosen) continue;
    e->flops = r->step.done / r->step.count;
    if (e->weight_bytes < 0) e->weight_bytes = r->step.weight_bytes / r->step.count;
    e->scratch_bytes = sched_scratch(&x->plan->program[s->program], (int)s->threads);
  }
}

static bool is_convolution(const char *problem) {
  const size_t chain = strlen("Chain: ");
  if (problem && !strncmp(problem, "Chain: ", chain)) problem += chain;
  return problem && !strncmp(problem, "Conv ", 5) && strstr(problem, " in=") &&
         strstr(problem, " out=");
}

static bool any_measured(const struct explain_node *n) {
  for (size_t i = 0; i < n->label.n; i++)
    if (explain_is_right(&n->label.v[i])) return true;
  return false;
}

static bool has_node(const struct graph *g, const char *name) {
  for (size_t i = 0; g && i < g->node.n; i++)
    if (!g->node.v[i].dead && !strcmp(g->node.v[i].name, name)) return true;
  return false;
}

static enum fvm_status add_race(struct explanation *x, const struct explain_source *source,
                                const struct explain_step *step, struct fvm_error *err) {
  struct explain_race r = {.step = *step};
  struct explain_source s = *source;
  s.schedule = NULL;
  s.graph = x->form;
  s.chosen = step->label;
  enum fvm_status st =
      has_node(x->form, step->name)
          ? explain_labels(&r.node, &s, step->name, err)
          : explain_node_stored(&r.node, s.db, s.machine_id, s.build_id, x->plan->meta->model_hash,
                                step->name, step->label, err);
  if (st == FVM_OK && !describe(x, &r)) st = fvm_nomem(err);
  bool kept = st == FVM_OK && r.shape && any_measured(&r.node);
  if (kept) {
    take_step(x, &r);
    set_bound(x, &r);
    if (!VEC_PUSH(&x->race, r)) {
      st = fvm_nomem(err);
      kept = false;
    }
  }
  if (!kept) explain_node_free(&r.node);
  return st;
}

static int by_place(const void *p, const void *q) {
  const struct explain_race *a = p, *b = q;
  return (a->step.first > b->step.first) - (a->step.first < b->step.first);
}

enum fvm_status explain_races(struct explanation *x, const struct explain_source *s,
                              struct fvm_error *err) {
  enum fvm_status st = FVM_OK;
  for (size_t i = 0; i < x->group.n && st == FVM_OK && s->db; i++) {
    struct arena a = {0};
    struct db_use use;
    st = db_node_problem(s->db, x->plan->meta->model_hash, x->group.v[i].name, &a, &use, err);
    if (st == FVM_OK && is_convolution(use.text)) st = add_race(x, s, &x->group.v[i], err);
    arena_free(&a);
  }
  if (x->race.n) qsort(x->race.v, x->race.n, sizeof *x->race.v, by_place);
  return st;
}
