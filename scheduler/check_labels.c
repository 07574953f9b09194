/* What a step does and what it costs: its label is one that the node's operator has, its program is
 * that label's word by word, its cost the one that the label was measured to have. Conversions
 * likewise. */
#include "check_impl.h"

#include "../kernels/chain.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Buffers that a program does not touch may have shrunk to nothing: the verifier has seen that it
 * reads no byte of them. */
static bool same_program(const struct program *p, const struct program *want) {
  if (p->nword != want->nword || p->nreg != want->nreg || p->nbuf != want->nbuf) return false;
  if (!want->word || memcmp(p->word, want->word, p->nword * sizeof *p->word) != 0) return false;
  for (uint32_t i = 0; i < p->nbuf; i++) {
    bool dropped = p->buf[i].kind == BUF_IN && p->buf[i].bytes == 0;
    if (p->buf[i].kind != want->buf[i].kind) return false;
    if (p->buf[i].bytes != want->buf[i].bytes && !dropped) return false;
  }
  return true;
}

static const struct program *program_of(const struct checker *k, uint32_t step) {
  return &k->p->program[k->p->step[step].program];
}

static enum fvm_status check_cost(const struct checker *k, uint32_t step, int64_t ns) {
  const struct plan_step *s = &k->p->step[step];
  if (s->cost_ns == ns) return FVM_OK;
  return fvm_fail(k->err, FVM_EFORMAT,
                  "step %u (%.100s): its cost is %" PRId64 " ns, but %" PRId64 " by the %s", step,
                  plan_string(k->p, s->name), s->cost_ns, ns, k->with->cost->name);
}

/* ---- nodes ----------------------------------------------------------------------------------- */
/* The label with a text. Only candidates that the text begins with are asked for theirs. */
static bool find_label(const struct opcall *c, const struct target *t, const char *text,
                       struct label *l, bool *nomem) {
  size_t word = strcspn(text, " ");
  bool found = false;
  for (struct label_walk w = {0}; !found && !*nomem && opcall_next(c, t, &w, l);) {
    struct text own = {0};
    if (strlen(l->cand->name) != word || strncmp(l->cand->name, text, word) != 0) continue;
    label_text(c, l, &own);
    *nomem = own.failed;
    found = !own.failed && !l->view && !strcmp(own.v, text);
    text_free(&own);
  }
  return found;
}

/* The target's, with the threads of one step alone beside 1: its labels do not depend on others. */
static struct target target_of(const struct checker *k, uint32_t step) {
  struct target t = *k->with->target;
  t.threads[0] = 1;
  t.threads[1] = (int)k->p->step[step].threads;
  t.nthreads = t.threads[1] > 1 ? 2 : 1;
  return t;
}

static long threads_in(const char *label) {
  const char *s = strstr(label, " threads=");
  return s ? strtol(s + 9, NULL, 10) : 0;
}

static enum fvm_status check_call(const struct checker *k, uint32_t step, const struct opcall *c,
                                  struct arena *a) {
  const struct plan_step *s = &k->p->step[step];
  struct target t = target_of(k, step);
  struct label l;
  struct program want = {0};
  bool nomem = false;
  if (threads_in(plan_string(k->p, s->label)) != (long)s->threads)
    return check_bad_step(k, step, "runs on other than its label's threads");
  if (!find_label(c, &t, plan_string(k->p, s->label), &l, &nomem))
    return nomem ? fvm_nomem(k->err)
                 : check_bad_step(k, step, "its label is none that its operator has here");
  enum fvm_status st = opcall_emit(c, &l, a, &want, k->err);
  if (st == FVM_OK && !same_program(program_of(k, step), &want))
    st = check_bad_step(k, step, "its program is not its label's");
  if (st == FVM_OK && k->with->cost) st = check_cost(k, step, cost_node(k->with->cost, c, &l));
  return st;
}

/* Both nodes as one opcall. */
static enum fvm_status join_calls(const struct check_match *m, uint32_t step, int first,
                                  struct arena *a, struct opcall *c) {
  struct opcall second = *c, x;
  enum fvm_status st = graph_opcall(m->g, first, a, &x, m->k->err);
  if (st == FVM_OK && !chain_fits(&x, &second))
    st = check_bad_step(m->k, step, "its nodes are no chain");
  return st == FVM_OK && !chain_init(c, &x, &second, a) ? fvm_nomem(m->k->err) : st;
}

enum fvm_status check_label(const struct check_match *m, uint32_t step, int first, int node) {
  struct arena a = {0};
  struct opcall c;
  if (!m->k->with->target) return FVM_OK;
  enum fvm_status st = graph_opcall(m->g, node, &a, &c, m->k->err);
  if (st == FVM_OK && first >= 0) st = join_calls(m, step, first, &a, &c);
  if (st == FVM_OK) st = check_call(m->k, step, &c, &a);
  arena_free(&a);
  return st;
}

/* ---- conversions ----------------------------------------------------------------------------- */
static enum fvm_status check_text(const struct checker *k, uint32_t step, enum layout from,
                                  enum layout to) {
  const struct plan_step *s = &k->p->step[step];
  struct text t = {0};
  convert_label((int)s->threads, &t);
  text_printf(&t, " in=%s out=%s", layout_name(from), layout_name(to));
  bool same = !t.failed && !strcmp(t.v, plan_string(k->p, s->label)), nomem = t.failed;
  text_free(&t);
  if (nomem) return fvm_nomem(k->err);
  return same ? FVM_OK : check_bad_step(k, step, "its label is not that of its conversion");
}

enum fvm_status check_conversion(const struct check_match *m, uint32_t step, int tensor,
                                 enum layout from, enum layout to) {
  const struct checker *k = m->k;
  const struct tensor *t = &m->g->tensor.v[tensor].t;
  struct arena a = {0};
  struct program want = {0};
  enum fvm_status st = check_text(k, step, from, to);
  if (st == FVM_OK) st = layout_convert(t, from, to, &a, &want, k->err);
  if (st == FVM_EUNSUPPORTED) st = check_bad_step(k, step, "there is no such conversion");
  if (st == FVM_OK && !same_program(program_of(k, step), &want))
    st = check_bad_step(k, step, "its program is not that conversion's");
  if (st == FVM_OK && k->with->target && k->with->cost) {
    int64_t ns = cost_convert(k->with->cost, t, from, to, (int)k->p->step[step].threads);
    st = check_cost(k, step, MAX(ns, 0));
  }
  arena_free(&a);
  return st;
}
