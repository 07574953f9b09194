/* From chosen labels to steps and values: a value is a tensor in one layout, a step a program that
 * makes one. Conversions are made when first asked for, once for each tensor and layout; views
 * are values with a base and no step. Steps come out in the order of the graph. */
#include "sched.h"

#include <string.h>

/* Failures here are memory's or carry their text in w->err; both come out as a status. */
static enum fvm_status add_value(struct sched *w, int tensor, enum layout layout, int base,
                                 int64_t base_offset, int *id) {
  struct sched_value v = {.tensor = tensor, .layout = layout, .base = base, .space = SPACE_ARENA};
  v.base_offset = base_offset;
  v.bytes = tensor < 0 ? 0 : layout_bytes(sched_tensor(w, tensor), layout);
  *id = (int)w->s->value.n;
  if (!VEC_PUSH(&w->s->value, v)) return fvm_nomem(w->err);
  int *known = tensor < 0 ? NULL : &w->value[tensor * LAYOUT_COUNT + (int)layout];
  if (known && *known < 0) *known = *id;
  return FVM_OK;
}

static enum fvm_status add_step(struct sched *w, struct sched_step *step) {
  return VEC_PUSH(&w->s->step, *step) ? FVM_OK : fvm_nomem(w->err);
}

/* ---- conversions ---- */

static enum fvm_status add_conversion(struct sched *w, int from, int to, int threads, int64_t ns) {
  struct schedule *s = w->s;
  const struct sched_value *x = &s->value.v[from], *y = &s->value.v[to];
  struct sched_step step = {.node = -1,
                            .first = -1,
                            .in_value = from,
                            .out_value = to,
                            .cost_ns = ns,
                            .threads = threads};
  enum fvm_status st = layout_convert(sched_tensor(w, x->tensor), x->layout, y->layout, &s->arena,
                                      &step.program, w->err);
  if (st) return fvm_prefix(w->err, "tensor '%s'", w->g->tensor.v[x->tensor].name);
  step.bind = ARENA_NEW(&s->arena, int, step.program.nbuf);
  if (!step.bind) return fvm_nomem(w->err);
  for (uint32_t i = 0; i < step.program.nbuf; i++) step.bind[i] = -1;
  step.bind[0] = from;
  step.bind[1] = to;
  s->conversions++;
  return add_step(w, &step);
}

enum layout sched_stored(struct sched *w, int tensor, enum layout want) {
  const struct conversion *c = sched_conversion(w, tensor, LAYOUT_ROW, want);
  bool own = want == LAYOUT_ROW || !c || c->threads > 0 || c->ns >= SOLVE_INF;
  return own ? want : LAYOUT_ROW;
}

/* The tensor in a layout: as it is, under another name, or converted. */
static enum fvm_status value_in(struct sched *w, int tensor, enum layout layout, int *id) {
  int *known = &w->value[tensor * LAYOUT_COUNT];
  if ((*id = known[layout]) >= 0) return FVM_OK;
  bool run_time = sched_is_run_time(w, tensor);
  enum layout from = run_time ? w->out[tensor] : LAYOUT_ROW;
  const struct conversion *c = sched_conversion(w, tensor, from, layout);
  if (!c) return fvm_nomem(w->err);
  if (!run_time && sched_stored(w, tensor, layout) == layout) {
    enum fvm_status st = add_value(w, tensor, layout, -1, 0, id);
    if (!st) w->s->value.v[*id].space = SPACE_WEIGHTS;
    return st;
  }
  int base;
  enum fvm_status st = value_in(w, tensor, from, &base);
  bool alias = c->threads == 0;
  if (!st) st = add_value(w, tensor, layout, alias ? base : -1, 0, id);
  return st || alias ? st : add_conversion(w, base, *id, c->threads, c->ns);
}

/* ---- nodes ---- */

uint64_t sched_reads(const struct program *p) {
  uint64_t set = 0;
  for (uint32_t i = 0, len; (len = code_length(p, i)) != 0; i += len) {
    if (word_op(p->word[i]) != OP_UKR) continue;
    const uint64_t *w = &p->word[i + 1];
    for (int k = 0; k < ukr_sig((enum ukr_id)word_b(p->word[i]))->nptr; k++) {
      set |= (uint64_t)1 << ptr_buf(*w);
      w += 1 + ptr_nterm(*w);
    }
  }
  return set;
}

/* Inputs that a program never touches (axes, shapes) need not be there when it runs. */
static bool drop_untouched(struct schedule *s, struct program *p, int nin, uint64_t used) {
  struct buffer *buf = ARENA_NEW(&s->arena, struct buffer, p->nbuf);
  if (!buf) return false;
  memcpy(buf, p->buf, p->nbuf * sizeof *buf);
  for (int i = 0; i < nin; i++)
    if (!(used >> i & 1)) buf[i].bytes = 0;
  p->buf = buf;
  return true;
}

static enum fvm_status bind_inputs(struct sched *w, struct sched_step *step, int nin,
                                   uint64_t used) {
  for (int i = 0; i < nin; i++) {
    int t = chains_input(w->g, step->first, step->node, i);
    if (t < 0 || !(used >> i & 1)) continue;
    enum fvm_status st = value_in(w, t, label_in(&step->label, i), &step->bind[i]);
    if (st) return st;
    CHECK(w->s->value.v[step->bind[i]].bytes >= step->program.buf[i].bytes);
  }
  return FVM_OK;
}

static enum fvm_status bind_outputs(struct sched *w, struct sched_step *step, int nin) {
  const struct node *n = &w->g->node.v[step->node];
  for (size_t i = 0; i < n->out.n; i++) {
    int *id = &step->bind[(size_t)nin + i], t = n->out.v[i];
    int64_t bytes = step->program.buf[(size_t)nin + i].bytes;
    if (t < 0 && bytes == 0) continue;
    enum layout layout = label_out(&step->label, (int)i);
    enum fvm_status st = add_value(w, t, layout, -1, 0, id);
    if (st) return st;
    if (t >= 0)
      w->out[t] = layout;
    else
      w->s->value.v[*id].bytes = bytes;
    CHECK(w->s->value.v[*id].bytes >= bytes);
  }
  return FVM_OK;
}

static enum fvm_status add_view(struct sched *w, const struct node *n, const struct label *l) {
  int base, id;
  int64_t offset = l->view_offset;
  enum fvm_status st = value_in(w, n->in.v[0], label_in(l, 0), &base);
  for (size_t k = 0; k < n->out.n && !st; k++) {
    int t = n->out.v[k];
    enum layout layout = label_out(l, (int)k);
    w->out[t] = layout;
    st = add_value(w, t, layout, base, offset, &id);
    offset += layout_bytes(sched_tensor(w, t), layout);
  }
  return st;
}

/* Whether a value is all of an arena block, so that its producer can write it elsewhere. */
static bool may_move(const struct schedule *s, int value, int *root) {
  int64_t offset;
  *root = sched_root(s, value, &offset);
  const struct sched_value *r = &s->value.v[*root];
  return r->space == SPACE_ARENA && offset == 0 && r->bytes == s->value.v[value].bytes;
}

/* What is appended goes into its place in the state behind what was there: by its producer, or
 * copied. */
static enum fvm_status add_append(struct sched *w, const struct node *n, const struct label *l) {
  struct schedule *s = w->s;
  enum layout layout = label_out(l, 0);
  int state, more, root, to;
  w->out[n->out.v[0]] = layout;
  enum fvm_status st = value_in(w, n->out.v[0], layout, &state); /* known from the beginning */
  if (!st) st = value_in(w, n->in.v[1], layout, &more);
  if (st) return st;
  int64_t behind = layout_bytes(sched_tensor(w, n->in.v[0]), layout);
  if (may_move(s, more, &root)) {
    s->value.v[root].base = state;
    s->value.v[root].base_offset = behind;
    return FVM_OK;
  }
  st = add_value(w, n->in.v[1], layout, state, behind, &to);
  int64_t ns = sched_append_ns(w, n->in.v[1], layout);
  return st ? st : add_conversion(w, more, to, 1, ns);
}

/* Every input goes to its place in the output: its own step writes it there, or it is copied. */
static enum fvm_status add_join(struct sched *w, int node, const struct label *l) {
  struct schedule *s = w->s;
  const struct node *n = &w->g->node.v[node];
  int all, part, root, to, threads;
  int64_t offset = 0;
  w->out[n->out.v[0]] = label_out(l, 0);
  enum fvm_status st = add_value(w, n->out.v[0], label_out(l, 0), -1, 0, &all);
  for (int k = 0; k < (int)n->in.n && !st; k++) {
    int t = n->in.v[k];
    enum layout layout = label_in(l, k);
    if ((st = value_in(w, t, layout, &part)) != FVM_OK) break;
    if (joins_at(w->join, w->g, node, k) && may_move(s, part, &root) &&
        s->value.v[root].tensor == t) {
      s->value.v[root].base = all;
      s->value.v[root].base_offset = offset;
    } else {
      int64_t ns = sched_copy(w, t, layout, &threads);
      st = add_value(w, t, layout, all, offset, &to);
      if (!st) st = add_conversion(w, part, to, threads, ns);
    }
    offset += layout_bytes(sched_tensor(w, t), layout);
  }
  return st;
}

static enum fvm_status add_node(struct sched *w, int node) {
  struct schedule *s = w->s;
  const struct node *n = &w->g->node.v[node];
  const struct choice *c = &w->node[node].menu->choice[w->node[node].choice];
  if (c->role == ROLE_ABSORBED) return FVM_OK;
  if (n->op->flags & OPF_STATE) return add_append(w, n, &c->label);
  if (c->label.view && n->op->flags & OPF_JOIN) return add_join(w, node, &c->label);
  if (c->label.view) return add_view(w, n, &c->label);
  bool both = c->role == ROLE_CHAIN;
  struct sched_step step = {.node = node,
                            .first = both ? w->first[node] : -1,
                            .label = both ? c->chain : c->label,
                            .in_value = -1,
                            .out_value = -1,
                            .cost_ns = c->ns,
                            .threads = c->label.threads};
  struct opcall call;
  enum fvm_status st = chains_opcall(w->g, step.first, node, &w->a, &call, w->err);
  if (!st) st = opcall_emit(&call, &step.label, &s->arena, &step.program, w->err);
  if (st) return st;
  step.error = cost_error(w->cost, &call, &step.label);
  CHECK(step.program.nbuf >= (uint32_t)(call.nin + call.nout));
  uint64_t used = sched_reads(&step.program);
  step.bind = ARENA_NEW(&s->arena, int, step.program.nbuf);
  if (!step.bind || !drop_untouched(s, &step.program, call.nin, used)) return fvm_nomem(w->err);
  for (uint32_t i = 0; i < step.program.nbuf; i++) step.bind[i] = -1;
  s->guesses += !c->measured;
  st = bind_inputs(w, &step, call.nin, used);
  if (!st) st = bind_outputs(w, &step, call.nin);
  return st ? st : add_step(w, &step);
}

/* ---- inputs and outputs of the graph ---- */

static int output_index(const struct graph *g, int tensor) {
  int i = 0;
  while (g->output.v[i] != tensor) i++;
  return i;
}

/* The output of a state, and at its beginning the input. */
static enum fvm_status add_state(struct sched *w, int past, int present) {
  int id, begin;
  enum fvm_status st = add_value(w, present, w->io[present], -1, 0, &id);
  if (!st) st = add_value(w, past, w->io[past], id, 0, &begin);
  if (st) return st;
  w->s->value.v[id].space = SPACE_OUTPUT;
  w->s->value.v[id].index = output_index(w->g, present);
  w->s->value.v[begin].given = true;
  return FVM_OK;
}

static enum fvm_status add_inputs(struct sched *w) {
  for (size_t i = 0; i < w->g->input.n; i++) {
    int id, t = w->g->input.v[i], state = graph_state(w->g, t);
    enum fvm_status st = state >= 0 ? add_state(w, t, w->g->node.v[state].out.v[0])
                                    : add_value(w, t, LAYOUT_ROW, -1, 0, &id);
    if (st) return st;
    if (state >= 0) continue;
    w->s->value.v[id].space = SPACE_INPUT;
    w->s->value.v[id].index = (int)i;
  }
  return FVM_OK;
}

/* Let the producer write into the caller's memory where the value is all of an arena block; else
 * (a view of an input, a weight, a tensor that is an output twice) copy. */
static enum fvm_status add_output(struct sched *w, int index) {
  struct schedule *s = w->s;
  int tensor = w->g->output.v[index], from, root, id;
  if (w->g->tensor.v[tensor].producer >= 0 &&
      w->g->node.v[w->g->tensor.v[tensor].producer].op->flags & OPF_STATE)
    return FVM_OK; /* was there from the beginning */
  enum fvm_status st = value_in(w, tensor, LAYOUT_ROW, &from);
  if (st) return st;
  if (may_move(s, from, &root)) {
    s->value.v[root].space = SPACE_OUTPUT;
    s->value.v[root].index = index;
    return FVM_OK;
  }
  st = add_value(w, tensor, LAYOUT_ROW, -1, 0, &id);
  if (st) return st;
  s->value.v[id].space = SPACE_OUTPUT;
  s->value.v[id].index = index;
  if (s->value.v[id].bytes == 0) return FVM_OK;
  int64_t ns = cost_convert(w->cost, sched_tensor(w, tensor), LAYOUT_ROW, LAYOUT_ROW, 1);
  return add_conversion(w, from, id, 1, MAX(ns, 0));
}

enum fvm_status sched_steps(struct sched *w) {
  enum fvm_status st = add_inputs(w);
  for (int k = 0; k < (int)w->g->node.n && !st; k++) {
    int i = w->turn ? w->turn[k] : k;
    if (w->g->node.v[i].dead) continue;
    st = add_node(w, i);
    if (st) fvm_prefix(w->err, "node '%s'", w->g->node.v[i].name);
  }
  for (int i = 0; i < (int)w->g->output.n && !st; i++) st = add_output(w, i);
  return st;
}
