/* The plan checker: recomputes from the file alone what the planner claims, by other means than
 * the planner's. Contract: check.h; what the rows mean: plan.h.
 *
 * Memory is checked by its history. A row of TENSORS begins when a step writes all its bytes, or,
 * for a view, with the row whose bytes it shares. From then to its last step nothing may write into
 * it, except that a step may write exactly its place (in-place): then it ends there. A step reads
 * only from rows that have begun and not ended. So no two tensors can disturb each other, whatever
 * the offsets are. */
#include "check_impl.h"

#include <inttypes.h>
#include <string.h>

#include "../vm/interp.h"

static const uint32_t no_row = UINT32_MAX;

enum fvm_status check_bad_row(const struct checker *k, uint32_t row, const char *what) {
  const struct plan_tensor *t = &k->p->tensor[row];
  return fvm_fail(k->err, FVM_EFORMAT, "tensor row %u (%.100s): %s", row,
                  plan_string(k->p, t->name), what);
}

enum fvm_status check_bad_step(const struct checker *k, uint32_t step, const char *what) {
  return fvm_fail(k->err, FVM_EFORMAT, "step %u (%.100s): %s", step,
                  plan_string(k->p, k->p->step[step].name), what);
}

static const struct program *program_of(const struct checker *k, uint32_t step) {
  return &k->p->program[k->p->step[step].program];
}
static const struct plan_bind *binds_of(const struct checker *k, uint32_t step) {
  return k->p->bind + k->p->step[step].first_bind;
}

/* ---- sums ------------------------------------------------------------------------------------ */
/* Whether a step copies an output that its producer could not write: these come on top of what
 * labels cost. */
static bool copies_output(const struct checker *k, uint32_t step) {
  const char *name = plan_string(k->p, k->p->step[step].name);
  if (strncmp(name, "copy ", 5) != 0 || program_of(k, step)->nbuf != 2) return false;
  const struct plan_bind *to = &binds_of(k, step)[1];
  if (to->space != SPACE_OUTPUT || to->offset) return false;
  const struct fvm_io *io = &k->p->public_io[k->p->nin + to->index];
  return io->state < 0 && !strcmp(name + 5, io->name) &&
         (uint64_t)program_of(k, step)->buf[1].bytes == io->bytes;
}

static enum fvm_status check_sums(const struct checker *k) {
  const struct plan_meta *m = k->p->meta;
  uint32_t threads = 1;
  int64_t ns = 0, outputs = 0;
  for (uint32_t i = 0; i < k->p->nstep; i++) {
    const struct plan_step *s = &k->p->step[i];
    if (s->cost_ns < 0 || !fvm_add(ns, s->cost_ns, &ns))
      return check_bad_step(k, i, "impossible cost");
    threads = MAX(threads, s->threads);
    if (copies_output(k, i)) outputs += s->cost_ns;
  }
  if (ns != m->predicted_ns)
    return fvm_fail(k->err, FVM_EFORMAT,
                    "predicted time is %" PRId64 " ns, but the steps sum up to %" PRId64,
                    m->predicted_ns, ns);
  if (ns - outputs != m->layout_cost_ns)
    return fvm_fail(k->err, FVM_EFORMAT,
                    "labels cost %" PRId64 " ns, but the steps without copies of outputs %" PRId64,
                    m->layout_cost_ns, ns - outputs);
  if (threads != m->threads)
    return fvm_fail(k->err, FVM_EFORMAT, "%u threads claimed, the steps use %u", m->threads,
                    threads);
  if (m->layout_bound_ns < 0 || m->layout_bound_ns > m->layout_cost_ns)
    return fvm_fail(k->err, FVM_EFORMAT, "the layouts' cost is below its lower bound");
  if (m->order_bound_bytes > m->order_peak_bytes)
    return fvm_fail(k->err, FVM_EFORMAT, "the order's peak is below its lower bound");
  return FVM_OK;
}

/* ---- order of the tables --------------------------------------------------------------------- */
/* Steps take binds in turn; their scratch lies one buffer after the other. */
static enum fvm_status check_binds(const struct checker *k) {
  uint32_t next = 0;
  for (uint32_t s = 0; s < k->p->nstep; s++) {
    const struct program *q = program_of(k, s);
    uint64_t scratch = 0;
    if (k->p->step[s].first_bind != next) return check_bad_step(k, s, "binds out of turn");
    next += q->nbuf;
    for (uint32_t i = 0; i < q->nbuf; i++) {
      bool each = q->buf[i].kind == BUF_SCRATCH;
      if (!each && q->buf[i].kind != BUF_SHARED) continue;
      if (binds_of(k, s)[i].offset != scratch) return check_bad_step(k, s, "scratch out of turn");
      scratch += (uint64_t)scratch_stride(q->buf[i].bytes) * (each ? k->p->step[s].threads : 1);
    }
  }
  return FVM_OK;
}

/* What a table does not use is 0. */
static bool is_zero(const int64_t *dim, uint32_t rank) {
  for (uint32_t i = rank; i < FVM_MAXRANK; i++)
    if (dim[i]) return false;
  return true;
}

static enum fvm_status check_unused(const struct checker *k) {
  const struct fvm_plan *p = k->p;
  for (uint32_t i = 0; i < p->ntensor; i++)
    if (!is_zero(p->tensor[i].dim, p->tensor[i].rank))
      return check_bad_row(k, i, "has sizes behind its last axis");
  for (uint32_t i = 0; i < p->nin + p->nout; i++)
    if (!is_zero(p->io[i].dim, p->io[i].rank))
      return fvm_fail(k->err, FVM_EFORMAT, "input or output %.100s has sizes behind its last axis",
                      plan_string(p, p->io[i].name));
  for (uint32_t i = 0; i < p->nconst; i++)
    if (!is_zero(p->konst[i].dim, p->konst[i].rank))
      return fvm_fail(k->err, FVM_EFORMAT, "constant %.100s has sizes behind its last axis",
                      plan_string(p, p->konst[i].name));
  return FVM_OK;
}

/* ---- weights --------------------------------------------------------------------------------- */
static enum fvm_status check_constants(const struct checker *k) {
  for (uint32_t i = 0; i < k->p->nconst; i++)
    for (uint32_t j = 0; j < i; j++) {
      const struct plan_const *a = &k->p->konst[i], *b = &k->p->konst[j];
      if (a->offset + a->bytes <= b->offset || b->offset + b->bytes <= a->offset) continue;
      if (a->bytes == 0 || b->bytes == 0 || (a->offset == b->offset && a->bytes == b->bytes))
        continue;
      return fvm_fail(k->err, FVM_EFORMAT, "constants %.100s and %.100s overlap",
                      plan_string(k->p, b->name), plan_string(k->p, a->name));
    }
  return FVM_OK;
}

/* ---- programs -------------------------------------------------------------------------------- */
static enum fvm_status check_programs(const struct checker *k) {
  struct fvm_plan again = *k->p;
  again.scratch_bytes = 0;
  enum fvm_status st = plan_verify_steps(&again, k->err);
  if (st == FVM_OK && again.scratch_bytes != k->p->scratch_bytes)
    st = fvm_fail(k->err, FVM_EFORMAT, "scratch area of a wrong size");
  for (uint32_t i = 0; i < k->p->nprogram && st == FVM_OK; i++) {
    st = check_cover(&k->p->program[i], &k->filled[i], k->err);
    if (st != FVM_OK) fvm_prefix(k->err, "program %u", i);
  }
  return st;
}

/* ---- places ---------------------------------------------------------------------------------- */
static bool same_space(const struct plan_tensor *t, uint32_t space, uint32_t index) {
  return t->space == space && t->index == index;
}

bool check_in_row(const struct plan_tensor *t, const struct plan_bind *b, uint64_t bytes) {
  return same_space(t, b->space, b->index) && b->offset >= t->offset &&
         b->offset + bytes <= t->offset + t->bytes;
}

/* Bytes at the beginning of a row that are there before the first step: a state's. */
static uint64_t given_bytes(const struct checker *k, const struct plan_tensor *t) {
  uint64_t given = t->space == SPACE_OUTPUT ? plan_given(k->p, t->index) : 0;
  return t->offset >= given ? 0 : MIN(given - t->offset, t->bytes);
}

bool check_readable(const struct checker *k, uint32_t row, uint32_t step) {
  const struct plan_tensor *t = &k->p->tensor[row];
  bool given =
      t->space == SPACE_INPUT || t->space == SPACE_WEIGHTS || given_bytes(k, t) == t->bytes;
  return (given || k->ready[row] < step) && step <= k->end[row];
}

static bool overlaps(const struct plan_tensor *a, const struct plan_tensor *b) {
  return same_space(a, b->space, b->index) && a->offset < b->offset + b->bytes &&
         b->offset < a->offset + a->bytes;
}
static bool contains(const struct plan_tensor *a, const struct plan_tensor *b) {
  return same_space(a, b->space, b->index) && a->offset <= b->offset &&
         b->offset + b->bytes <= a->offset + a->bytes;
}

/* The row that begins with that step at that place. */
static uint32_t row_begun(const struct checker *k, uint32_t step, const struct plan_bind *b,
                          uint64_t bytes) {
  for (uint32_t i = 0; i < k->p->ntensor; i++) {
    const struct plan_tensor *t = &k->p->tensor[i];
    if (t->first == step && t->bytes == bytes && check_in_row(t, b, bytes)) return i;
  }
  return no_row;
}

static enum fvm_status check_write(struct checker *k, uint32_t step, uint32_t i) {
  const struct plan_bind *b = &binds_of(k, step)[i];
  uint32_t row = row_begun(k, step, b, (uint64_t)program_of(k, step)->buf[i].bytes);
  if (row == no_row) return check_bad_step(k, step, "writes where no tensor begins");
  if (!(k->filled[k->p->step[step].program] >> i & 1))
    return check_bad_row(k, row, "its step does not write all of it");
  k->write[k->nwrite++] = (struct check_write){step, row};
  return FVM_OK;
}

static enum fvm_status check_writes(struct checker *k) {
  for (uint32_t s = 0; s < k->p->nstep; s++)
    for (uint32_t i = 0; i < program_of(k, s)->nbuf; i++) {
      const struct buffer *b = &program_of(k, s)->buf[i];
      if (b->kind != BUF_OUT || b->bytes == 0) continue;
      enum fvm_status st = check_write(k, s, i);
      if (st != FVM_OK) return st;
    }
  return FVM_OK;
}

/* ---- lives ----------------------------------------------------------------------------------- */
static bool is_write(const struct checker *k, uint32_t i, const struct plan_tensor *t) {
  return k->write[i].step <= t->last && overlaps(t, &k->p->tensor[k->write[i].row]);
}

/* Writes are in the order of steps: the last one up to the row's first step is where its bytes come
 * from. */
static bool is_made_whole(const struct checker *k, const struct plan_tensor *t, uint32_t *from) {
  const struct plan_tensor *by = NULL;
  for (uint32_t i = 0; i < k->nwrite && k->write[i].step <= t->first; i++) {
    if (!is_write(k, i, t)) continue;
    by = &k->p->tensor[k->write[i].row];
    *from = k->write[i].step;
  }
  return by && contains(by, t);
}

/* Whether the parts of t that two rows take are apart. */
static bool are_apart(const struct plan_tensor *t, const struct plan_tensor *a,
                      const struct plan_tensor *b) {
  uint64_t from = MAX(t->offset, MAX(a->offset, b->offset));
  uint64_t to = MIN(t->offset + t->bytes, MIN(a->offset + a->bytes, b->offset + b->bytes));
  return from >= to;
}

/* Or it is put together: from its first step on every byte is written once, until all are. */
static enum fvm_status put_together(const struct checker *k, uint32_t row,
                                    const struct plan_tensor *t, uint32_t *from, uint32_t *ready) {
  uint64_t sum = 0;
  for (uint32_t i = 0; i < k->nwrite && sum < t->bytes; i++) {
    const struct plan_tensor *by = &k->p->tensor[k->write[i].row];
    if (k->write[i].step < t->first || !is_write(k, i, t)) continue;
    for (uint32_t j = 0; j < i; j++)
      if (k->write[j].step >= t->first && is_write(k, j, t) &&
          !are_apart(t, by, &k->p->tensor[k->write[j].row]))
        return check_bad_row(k, row, "something is written into it while it lives");
    if (sum == 0) *from = k->write[i].step;
    *ready = k->write[i].step;
    sum += MIN(by->offset + by->bytes, t->offset + t->bytes) - MAX(by->offset, t->offset);
  }
  if (sum == 0) return check_bad_row(k, row, "no step writes it");
  return sum == t->bytes ? FVM_OK : check_bad_row(k, row, "only a part of it is written");
}

/* What is written behind that must leave it alone. What a state held before is written by none: the
 * reader sees to that. */
static enum fvm_status check_life(struct checker *k, uint32_t row) {
  struct plan_tensor made = k->p->tensor[row];
  const struct plan_tensor *t = &made;
  uint64_t given = given_bytes(k, t);
  made.offset += given;
  made.bytes -= given;
  k->end[row] = t->last;
  k->from[row] = k->ready[row] = t->first;
  bool is_input = t->space == SPACE_INPUT || (given && !made.bytes);
  if (is_input && (t->first || t->last + 1 != MAX(k->p->nstep, 1)))
    return check_bad_row(k, row, "an input is there from the first step to the last");
  if ((t->space != SPACE_ARENA && t->space != SPACE_OUTPUT) || t->bytes == 0) return FVM_OK;
  if (!is_made_whole(k, t, &k->from[row])) {
    enum fvm_status st = put_together(k, row, t, &k->from[row], &k->ready[row]);
    if (st != FVM_OK) return st;
  }
  if (k->from[row] != t->first)
    return check_bad_row(k, row, "begins with another step than the one that writes it");
  for (uint32_t i = 0; i < k->nwrite; i++) {
    const struct plan_tensor *by = &k->p->tensor[k->write[i].row];
    uint32_t step = k->write[i].step;
    if (step <= k->ready[row] || !is_write(k, i, t)) continue;
    if (!contains(by, t) || (!contains(t, by) && step != t->last))
      return check_bad_row(k, row, "something is written into it while it lives");
    k->end[row] = step;
    break;
  }
  return FVM_OK;
}

static enum fvm_status check_lives(struct checker *k) {
  for (uint32_t i = 0; i < k->p->ntensor; i++) {
    enum fvm_status st = check_life(k, i);
    if (st != FVM_OK) return st;
  }
  return FVM_OK;
}

/* ---- reads ----------------------------------------------------------------------------------- */
static bool is_there(const struct checker *k, uint32_t step, const struct plan_bind *b,
                     uint64_t bytes) {
  if (b->space == SPACE_INPUT) return true;
  for (uint32_t i = 0; i < k->p->ntensor; i++)
    if (check_in_row(&k->p->tensor[i], b, bytes) && check_readable(k, i, step)) return true;
  for (uint32_t i = 0; i < k->p->nconst && b->space == SPACE_WEIGHTS; i++) {
    const struct plan_const *c = &k->p->konst[i];
    if (b->offset >= c->offset && b->offset + bytes <= c->offset + c->bytes) return true;
  }
  return false;
}

static enum fvm_status check_reads(const struct checker *k) {
  for (uint32_t s = 0; s < k->p->nstep; s++)
    for (uint32_t i = 0; i < program_of(k, s)->nbuf; i++) {
      const struct buffer *b = &program_of(k, s)->buf[i];
      if (b->kind != BUF_IN || b->bytes == 0) continue;
      if (!is_there(k, s, &binds_of(k, s)[i], (uint64_t)b->bytes))
        return fvm_fail(k->err, FVM_EFORMAT, "step %u (%.100s): buffer %u reads what is not there",
                        s, plan_string(k->p, k->p->step[s].name), i);
    }
  return FVM_OK;
}

/* Each output is a row of its own that stays until the end. */
static enum fvm_status check_outputs(const struct checker *k) {
  for (uint32_t o = 0; o < k->p->nout; o++) {
    const struct fvm_io *io = &k->p->public_io[k->p->nin + o];
    bool found = io->bytes == 0;
    for (uint32_t i = 0; i < k->p->ntensor && !found; i++) {
      const struct plan_tensor *t = &k->p->tensor[i];
      found = same_space(t, SPACE_OUTPUT, o) && t->offset == 0 && t->bytes == io->bytes &&
              k->end[i] + 1 >= k->p->nstep && k->end[i] == t->last;
    }
    if (!found)
      return fvm_fail(k->err, FVM_EFORMAT, "output %.100s is not complete at the end", io->name);
  }
  return FVM_OK;
}

/* ---- arena ----------------------------------------------------------------------------------- */
static uint64_t row_end(const struct plan_tensor *t) {
  return ROUND_UP(t->offset + t->bytes, (uint64_t)FVM_ALIGN);
}

/* Bytes of the arena that rows alive at a step take, those that share a place once. `sorted`: rows
 * by offset. */
static uint64_t live_bytes(const struct checker *k, const uint32_t *sorted, uint32_t n,
                           uint32_t step) {
  uint64_t sum = 0, top = 0;
  for (uint32_t i = 0; i < n; i++) {
    const struct plan_tensor *t = &k->p->tensor[sorted[i]];
    if (step < t->first || step > t->last || row_end(t) <= top) continue;
    sum += row_end(t) - MAX(top, t->offset);
    top = row_end(t);
  }
  return sum;
}

/* Rows in the arena by offset. */
static uint32_t sort_rows(const struct checker *k, uint32_t *sorted) {
  uint32_t n = 0;
  for (uint32_t i = 0; i < k->p->ntensor; i++) {
    const struct plan_tensor *t = &k->p->tensor[i];
    if (t->space != SPACE_ARENA || t->bytes == 0) continue;
    uint32_t at = n++;
    for (; at > 0 && k->p->tensor[sorted[at - 1]].offset > t->offset; at--)
      sorted[at] = sorted[at - 1];
    sorted[at] = i;
  }
  return n;
}

static enum fvm_status check_arena(const struct checker *k, uint32_t *sorted) {
  const struct plan_meta *m = k->p->meta;
  uint32_t n = sort_rows(k, sorted);
  uint64_t height = 0, load = 0;
  for (uint32_t i = 0; i < n; i++) height = MAX(height, row_end(&k->p->tensor[sorted[i]]));
  for (uint32_t s = 0; s < k->p->nstep; s++) load = MAX(load, live_bytes(k, sorted, n, s));
  if (height != m->arena_bytes)
    return fvm_fail(k->err, FVM_EFORMAT,
                    "arena of %" PRIu64 " bytes, but its tensors end at %" PRIu64, m->arena_bytes,
                    height);
  if (load != m->order_peak_bytes)
    return fvm_fail(k->err, FVM_EFORMAT,
                    "the order's peak is %" PRIu64 " bytes, but %" PRIu64 " live at once",
                    m->order_peak_bytes, load);
  if (load != m->arena_bound_bytes)
    return fvm_fail(k->err, FVM_EFORMAT,
                    "arena's lower bound is %" PRIu64 " bytes, but %" PRIu64 " live at once",
                    m->arena_bound_bytes, load);
  return FVM_OK;
}

/* ---- the whole ------------------------------------------------------------------------------- */
/* Steps that are called like nodes. */
static int count_known(const struct fvm_plan *p, const struct graph *g) {
  struct names names = {0};
  int n = 0;
  bool ok = true;
  for (int i = 0; i < (int)g->node.n && ok; i++)
    if (!g->node.v[i].dead && names_find(&names, g->node.v[i].name) < 0)
      ok = names_add(&names, g->node.v[i].name, i);
  for (uint32_t i = 0; i < p->nstep && ok; i++) {
    const char *name = plan_string(p, p->step[i].name);
    n += names_find_part(&names, name, plan_once(name, strlen(name))) >= 0;
  }
  names_free(&names);
  return ok ? n : -1;
}

/* The plan may run the graph in either form. That which has more of the steps is it; the other one
 * has fewer nodes and no names of its own, so it is taken where they have as many. */
static enum fvm_status check_forms(struct checker *k, const struct graph *g) {
  if (!g->other) return check_graph(k, g);
  int n = count_known(k->p, g), m = count_known(k->p, g->other);
  if (n < 0 || m < 0) return fvm_nomem(k->err);
  enum fvm_status st = check_graph(k, m >= n ? g->other : g);
  if (st != FVM_EFORMAT) return st;
  struct fvm_error first = *k->err; /* they may have as many where views alone are others */
  if (check_graph(k, m >= n ? g : g->other) == FVM_OK) return FVM_OK;
  *k->err = first;
  return st;
}

static enum fvm_status run(struct checker *k, const struct graph *g, uint32_t *sorted) {
  enum fvm_status st = check_sums(k);
  if (st == FVM_OK) st = check_binds(k);
  if (st == FVM_OK) st = check_unused(k);
  if (st == FVM_OK) st = plan_check_weights(k->p, k->err);
  if (st == FVM_OK) st = check_constants(k);
  if (st == FVM_OK) st = check_programs(k);
  if (st == FVM_OK) st = check_writes(k);
  if (st == FVM_OK) st = check_lives(k);
  if (st == FVM_OK) st = check_reads(k);
  if (st == FVM_OK) st = check_outputs(k);
  if (st == FVM_OK) st = check_arena(k, sorted);
  if (st == FVM_OK && g) st = check_forms(k, g);
  return st;
}

/* Buffers of all steps. */
static size_t count_buffers(const struct fvm_plan *p) {
  size_t n = 0;
  for (uint32_t i = 0; i < p->nstep; i++) n += p->program[p->step[i].program].nbuf;
  return n;
}

enum fvm_status check_plan_with(const struct fvm_plan *p, const struct check_with *with,
                                struct fvm_error *err) {
  struct arena a = {0};
  struct checker k = {.p = p, .with = with, .err = err};
  k.filled = ARENA_NEW(&a, uint64_t, p->nprogram);
  k.write = ARENA_NEW(&a, struct check_write, count_buffers(p));
  k.end = ARENA_NEW(&a, uint32_t, p->ntensor);
  k.from = ARENA_NEW(&a, uint32_t, p->ntensor);
  k.ready = ARENA_NEW(&a, uint32_t, p->ntensor);
  uint32_t *sorted = ARENA_NEW(&a, uint32_t, p->ntensor);
  bool ok = k.filled && k.write && k.end && k.from && k.ready && sorted;
  enum fvm_status st = ok ? run(&k, with->graph, sorted) : fvm_nomem(err);
  arena_free(&a);
  return st;
}

enum fvm_status check_plan(const struct fvm_plan *p, const struct graph *g, struct fvm_error *err) {
  return check_plan_with(p, &(struct check_with){.graph = g}, err);
}
