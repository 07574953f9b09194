/* The steps of a plan with their bounds. Contract: explain.h. */
#include "explain.h"

#include "../vm/interp.h"
#include "names.h"

#include <stdlib.h>
#include <string.h>

/* ---- what a step does ---- */

/* Multiply-adds of the textbook's algorithm, times two; -1 for what is no plain product. */
static int64_t product_flops(const struct opcall *c) {
  const struct tensor *x = &c->in[0], *w = c->nin > 1 ? &c->in[1] : NULL;
  int64_t n = tensor_count(&c->out[0]), k = 1, r;
  if (!strncmp(c->op->name, "MatMul", 6) && x->rank > 0)
    k = x->dim[x->rank - 1];
  else if (!strcmp(c->op->name, "Gemm") && x->rank == 2)
    k = x->dim[opcall_int(c, "transA", 0) ? 0 : 1];
  else if (!strcmp(c->op->name, "Conv") && w && w->rank > 1 && w->dim[0] > 0)
    k = tensor_count(w) / w->dim[0];
  else
    return -1;
  return fvm_mul(n, k, &r) && fvm_mul(r, 2, &r) ? r : -1;
}

/* Sum, or the largest number there is. */
static int64_t plus(int64_t a, int64_t b) {
  int64_t r;
  return fvm_add(a, b, &r) ? r : INT64_MAX;
}

/* Whether a program picks rows by indices that are known only at run time. */
static bool gathers(const struct program *q) {
  for (uint32_t i = 0; i < q->nword; i += code_length(q, i))
    if (word_op(q->word[i]) == OP_UKR &&
        !strncmp(ukr_sig((enum ukr_id)word_b(q->word[i]))->name, "gather_", 7))
      return true;
  return false;
}

static int64_t written_by(const struct program *q, const struct vcount *c) {
  int64_t sum = 0;
  for (uint32_t i = 0; i < q->nbuf; i++)
    if (q->buf[i].kind == BUF_OUT) sum = plus(sum, c->written[i]);
  return sum;
}

/* Bytes of each buffer count once, however often a program reads them, and what it reads of its own
 * output not at all; of a table that rows are picked from, as many as are picked. */
static void count_bytes(const struct fvm_plan *p, const struct plan_step *s, const struct vcount *c,
                        struct explain_step *x) {
  const struct program *q = &p->program[s->program];
  int64_t most = gathers(q) ? written_by(q, c) : INT64_MAX;
  for (uint32_t i = 0; i < q->nbuf; i++) {
    uint32_t space = p->bind[s->first_bind + i].space;
    int64_t bytes = MIN(q->buf[i].bytes, most);
    int64_t read = MIN(c->read[i], bytes), written = MIN(c->written[i], q->buf[i].bytes);
    if (space == SPACE_WEIGHTS)
      x->weight_bytes = plus(x->weight_bytes, read);
    else if (space != SPACE_SCRATCH)
      x->value_bytes = plus(x->value_bytes, MAX(read, written));
  }
}

static double ns_at(int64_t amount, double per_ns) {
  return per_ns > 0 ? (double)amount / per_ns : 0;
}

static void limits_of(const struct explanation *x, const struct explain_step *s, double ns[3]) {
  ns[LIMIT_FLOPS] = ns_at(s->flops, x->speed.gflops);
  ns[LIMIT_WEIGHTS] = ns_at(s->weight_bytes, x->speed.gbytes);
  ns[LIMIT_VALUES] = ns_at(s->value_bytes, x->speed.cache_gbytes);
}

enum explain_limit explain_limit(const struct explanation *x, const struct explain_step *s) {
  double ns[3];
  limits_of(x, s, ns);
  if (ns[LIMIT_FLOPS] >= ns[LIMIT_WEIGHTS] && ns[LIMIT_FLOPS] >= ns[LIMIT_VALUES])
    return LIMIT_FLOPS;
  return ns[LIMIT_WEIGHTS] >= ns[LIMIT_VALUES] ? LIMIT_WEIGHTS : LIMIT_VALUES;
}

static int64_t bound_of(const struct explanation *x, const struct explain_step *s) {
  double ns[3];
  limits_of(x, s, ns);
  return (int64_t)ns[explain_limit(x, s)];
}

/* ---- names ---- */

static bool starts(const char *s, const char *with) { return !strncmp(s, with, strlen(with)); }

/* Operator with its body, as "MatMul+Add+Gelu"; without a graph the first word of the label. */
static const char *kind_of(struct explanation *x, int node, const char *name, const char *label) {
  if (starts(name, "convert ")) return "convert";
  if (starts(name, "copy ")) return "copy";
  if (node < 0) return arena_printf(&x->arena, "%.*s", (int)strcspn(label, " "), label);
  const struct node *n = &x->form->node.v[node];
  const char *kind = n->op->name;
  for (int i = 0; n->body && i < n->body->n && kind; i++)
    kind = arena_printf(&x->arena, "%s+%s", kind, n->body->item[i].op->name);
  return kind;
}

/* Nodes of the graph by name. */
static bool index_nodes(const struct graph *g, struct names *names) {
  for (size_t i = 0; g && i < g->node.n; i++)
    if (!g->node.v[i].dead && names_find(names, g->node.v[i].name) < 0 &&
        !names_add(names, g->node.v[i].name, (int)i))
      return false;
  return true;
}

/* The node that a step runs, for the first time or again; -1: none of that name. */
static int node_of(const struct names *names, const char *step) {
  return names_find_part(names, step, plan_once(step, strlen(step)));
}

/* How many steps of a plan a graph has nodes for. */
static int count_known(const struct fvm_plan *p, const struct names *names) {
  int n = 0;
  for (uint32_t i = 0; i < p->nstep; i++) n += node_of(names, plan_string(p, p->step[i].name)) >= 0;
  return n;
}

/* Nodes of the form of the graph that has the most of the plan's; the other form has fewer, and all
 * of them have names that the first has, too. */
static bool choose_form(struct explanation *x, struct names *names) {
  struct names other = {0};
  const struct graph *g = x->graph;
  x->form = g;
  if (!index_nodes(g, names)) return false;
  if (!g || !g->other) return true;
  bool ok = index_nodes(g->other, &other);
  if (ok && count_known(x->plan, &other) >= count_known(x->plan, names)) {
    struct names t = *names;
    *names = other;
    other = t;
    x->form = g->other;
  }
  names_free(&other);
  return ok;
}

/* ---- steps ---- */

static enum fvm_status node_flops(struct explanation *x, int node, int64_t *flops,
                                  struct fvm_error *err) {
  struct opcall c;
  enum fvm_status st = graph_opcall(x->form, node, &x->arena, &c, err);
  int64_t n = st == FVM_OK ? product_flops(&c) : -1;
  if (n >= 0) *flops = n;
  return st;
}

static enum fvm_status add_step(struct explanation *x, uint32_t i, const struct names *names,
                                const struct vcount *count, struct fvm_error *err) {
  const struct fvm_plan *p = x->plan;
  const struct plan_step *s = &p->step[i];
  const char *name = plan_string(p, s->name), *label = plan_string(p, s->label);
  int node = node_of(names, name);
  struct explain_step e = {.name = name,
                           .kind = kind_of(x, node, name, label),
                           .label = label,
                           .first = (int)i,
                           .count = 1,
                           .threads = (int)s->threads,
                           .predicted_ns = s->cost_ns,
                           .flops = count[s->program].flops,
                           .done = count[s->program].flops};
  if (x->times.runs) e.measured_ns = x->times.step_ns[i];
  count_bytes(p, s, &count[s->program], &e);
  enum fvm_status st = node >= 0 ? node_flops(x, node, &e.flops, err) : FVM_OK;
  e.bound_ns = bound_of(x, &e);
  if (st == FVM_OK && (!e.kind || !VEC_PUSH(&x->step, e))) st = fvm_nomem(err);
  return st;
}

/* ---- groups ---- */

static void join(struct explain_step *sum, const struct explain_step *s) {
  sum->count += s->count;
  sum->predicted_ns = plus(sum->predicted_ns, s->predicted_ns);
  sum->measured_ns = plus(sum->measured_ns, s->measured_ns);
  sum->bound_ns = plus(sum->bound_ns, s->bound_ns);
  sum->flops = plus(sum->flops, s->flops);
  sum->done = plus(sum->done, s->done);
  sum->weight_bytes = plus(sum->weight_bytes, s->weight_bytes);
  sum->value_bytes = plus(sum->value_bytes, s->value_bytes);
}

static bool are_equal(const struct explanation *x, const struct explain_step *a,
                      const struct explain_step *b) {
  const struct plan_step *p = &x->plan->step[a->first], *q = &x->plan->step[b->first];
  return p->program == q->program && !strcmp(a->label, b->label) && !strcmp(a->kind, b->kind);
}

static bool group_step(struct explanation *x, const struct explain_step *s) {
  for (size_t i = 0; i < x->group.n; i++)
    if (are_equal(x, &x->group.v[i], s)) {
      join(&x->group.v[i], s);
      return true;
    }
  return VEC_PUSH(&x->group, *s);
}

static bool add_to_kind(struct explanation *x, const struct explain_step *s) {
  size_t i = 0, n = strcspn(s->kind, "+");
  while (i < x->kind.n &&
         (strncmp(x->kind.v[i].kind, s->kind, n) != 0 || x->kind.v[i].kind[n] != 0))
    i++;
  if (i < x->kind.n) {
    join(&x->kind.v[i], s);
    return true;
  }
  struct explain_step k = *s;
  k.kind = arena_printf(&x->arena, "%.*s", (int)n, s->kind);
  k.name = k.label = NULL;
  return k.kind && VEC_PUSH(&x->kind, k);
}

int64_t explain_ns(const struct explanation *x, const struct explain_step *s) {
  return x->times.runs ? s->measured_ns : s->predicted_ns;
}

static int by_number(int64_t x, int64_t y, const struct explain_step *a,
                     const struct explain_step *b) {
  if (x != y) return x < y ? 1 : -1;
  return (a->first > b->first) - (a->first < b->first);
}

int64_t explain_lost(const struct explanation *x, const struct explain_step *s) {
  return explain_ns(x, s) - s->bound_ns;
}

/* For sorting: a plan that was not run has no measured times at all. */
static int64_t lost(const struct explain_step *s) {
  return (s->measured_ns ? s->measured_ns : s->predicted_ns) - s->bound_ns;
}

static int by_loss(const void *p, const void *q) {
  const struct explain_step *a = p, *b = q;
  return by_number(lost(a), lost(b), a, b);
}

static int by_time(const void *p, const void *q) {
  const struct explain_step *a = p, *b = q;
  return a->measured_ns || b->measured_ns ? by_number(a->measured_ns, b->measured_ns, a, b)
                                          : by_number(a->predicted_ns, b->predicted_ns, a, b);
}

static bool group_all(struct explanation *x) {
  for (size_t i = 0; i < x->step.n; i++) {
    if (!group_step(x, &x->step.v[i]) || !add_to_kind(x, &x->step.v[i])) return false;
    if (!VEC_PUSH(&x->loser, x->step.v[i])) return false;
    join(&x->all, &x->step.v[i]);
  }
  if (x->loser.n) qsort(x->loser.v, x->loser.n, sizeof *x->loser.v, by_loss);
  if (x->group.n) qsort(x->group.v, x->group.n, sizeof *x->group.v, by_loss);
  if (x->kind.n) qsort(x->kind.v, x->kind.n, sizeof *x->kind.v, by_time);
  return true;
}

/* ---- all ---- */

static enum fvm_status count_programs(struct explanation *x, struct vcount **count,
                                      struct fvm_error *err) {
  const struct fvm_plan *p = x->plan;
  struct vcount *c = *count = ARENA_NEW(&x->arena, struct vcount, MAX(p->nprogram, 1));
  enum fvm_status st = c ? FVM_OK : fvm_nomem(err);
  for (uint32_t i = 0; i < p->nprogram && st == FVM_OK; i++)
    st = interp_count(&p->program[i], &c[i], err);
  return st;
}

enum fvm_status explain_steps(struct explanation *x, struct fvm_error *err) {
  struct names names = {0};
  struct vcount *count;
  enum fvm_status st = count_programs(x, &count, err);
  if (st == FVM_OK && !choose_form(x, &names)) st = fvm_nomem(err);
  for (uint32_t i = 0; i < x->plan->nstep && st == FVM_OK; i++)
    st = add_step(x, i, &names, count, err);
  names_free(&names);
  if (st == FVM_OK && !group_all(x)) st = fvm_nomem(err);
  x->flops_ns = (int64_t)ns_at(x->all.flops, x->speed.gflops);
  x->weights_ns = (int64_t)ns_at(x->all.weight_bytes, x->speed.gbytes);
  return st;
}

/* Whether the step of that name and label runs a node, alone or in a chain "FIRST + SECOND". */
static bool runs(const char *step, const char *label, const char *node) {
  static const char plus[] = " + ";
  size_t n = strlen(step), k = strlen(node), gap = strlen(plus);
  if (strncmp(label, "chain_", 6) != 0) return !strcmp(step, node);
  if (n < k + gap) return false;
  bool first = !strncmp(step, node, k) && !strncmp(step + k, plus, gap);
  return first || (!strcmp(step + n - k, node) && !strncmp(step + n - k - gap, plus, gap));
}

const char *explain_label_in(const struct fvm_plan *p, const char *node) {
  for (uint32_t i = 0; i < p->nstep; i++) {
    const char *label = plan_string(p, p->step[i].label);
    if (runs(plan_string(p, p->step[i].name), label, node)) return label;
  }
  return NULL;
}

const struct explain_step *explain_find(const struct explanation *x, const char *name) {
  for (size_t i = 0; i < x->step.n; i++)
    for (size_t k = 0; runs(x->step.v[i].name, x->step.v[i].label, name) && k < x->group.n; k++)
      if (are_equal(x, &x->group.v[k], &x->step.v[i])) return &x->group.v[k];
  return NULL;
}

void explain_free(struct explanation *x) {
  VEC_FREE(&x->step);
  VEC_FREE(&x->loser);
  VEC_FREE(&x->group);
  VEC_FREE(&x->kind);
  for (size_t i = 0; i < x->race.n; i++) explain_node_free(&x->race.v[i].node);
  VEC_FREE(&x->race);
  explain_pins_free(&x->pins);
  arena_free(&x->arena);
}
