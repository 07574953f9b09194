/* A place for every value, in the order of the steps.
 *
 * Values with a base share its place; the ones at the bottom, the roots, are what gets one. After
 * the order is known, an output moves onto an input that dies there where the label allows it;
 * then its root is the input's. */
#include "sched.h"

#include <stdlib.h>
#include <string.h>

#include "../vm/interp.h"
#include "../vm/verify.h"
#include "mem.h"
#include "order.h"

int sched_root(const struct schedule *s, int value, int64_t *offset) {
  int64_t sum = 0;
  for (; s->value.v[value].base >= 0; value = s->value.v[value].base)
    sum += s->value.v[value].base_offset;
  if (offset) *offset = sum;
  return value;
}

/* Whether a value is what a state held before, or a view of it. */
bool sched_is_given(const struct schedule *s, int value) {
  while (value >= 0 && !s->value.v[value].given) value = s->value.v[value].base;
  return value >= 0;
}

int sched_inputs(const struct sched *w, const struct sched_step *s) {
  return s->node < 0 ? 1 : chains_inputs(w->g, s->first, s->node);
}
int sched_buffers(const struct sched *w, const struct sched_step *s) {
  return s->node < 0 ? 2 : sched_inputs(w, s) + (int)w->g->node.v[s->node].out.n;
}

/* Bytes that a root takes in the arena. */
int64_t sched_arena_bytes(const struct sched_value *v) {
  return v->space == SPACE_ARENA && v->base < 0 ? ROUND_UP(v->bytes, (int64_t)FVM_ALIGN) : 0;
}

/* ---- who writes what ---- */

/* Values by what they stand on. */
static bool find_pieces(struct sched *w) {
  const struct schedule *s = w->s;
  int n = (int)s->value.n, sum = 0;
  int *first = w->on.first = ARENA_NEW(&w->a, int, n + 2), *item;
  item = w->on.item = ARENA_NEW(&w->a, int, n);
  if (!first || !item) return false;
  for (int i = 0; i < n; i++) first[sched_root(s, i, NULL) + 2]++;
  for (int i = 0; i <= n; i++) first[i + 1] = sum += first[i + 1];
  for (int i = 0; i < n; i++) item[first[sched_root(s, i, NULL) + 1]++] = i;
  return true;
}

static bool find_makers(struct sched *w) {
  const struct schedule *s = w->s;
  w->made = ARENA_NEW(&w->a, int, s->value.n);
  if (!w->made || !find_pieces(w)) return false;
  for (size_t i = 0; i < s->value.n; i++) w->made[i] = -1;
  for (int k = 0; k < (int)s->step.n; k++)
    for (int i = sched_inputs(w, &s->step.v[k]); i < sched_buffers(w, &s->step.v[k]); i++)
      if (s->step.v[k].bind[i] >= 0) w->made[s->step.v[k].bind[i]] = k;
  return true;
}

/* Whether two values share bytes, by their bases. */
bool sched_overlap(const struct schedule *s, int a, int b) {
  int64_t at, bt;
  return sched_root(s, a, &at) == sched_root(s, b, &bt) && at < bt + s->value.v[b].bytes &&
         bt < at + s->value.v[a].bytes;
}

/* ---- lives ---- */

static void extend(struct sched_value *v, int step) {
  v->first = MIN(v->first, step);
  v->last = MAX(v->last, step);
}

/* The value at the bottom of a view that a step writes, itself or what it shows; -1: pieces are. */
static int made_whole(const struct sched *w, int value) {
  while (value >= 0 && w->made[value] < 0) value = w->s->value.v[value].base;
  return value;
}

/* Where a value begins: with the step that writes it; what no step writes as a whole, being joined
 * of pieces, with the first step that writes any of it, and it lasts until the last has. */
static void find_life(const struct sched *w, int i) {
  struct schedule *s = w->s;
  struct sched_value *v = &s->value.v[i];
  int base = sched_root(s, i, NULL);
  const struct sched_value *root = &s->value.v[base];
  int end = MAX((int)s->step.n - 1, 0), whole = made_whole(w, i);
  if (root->space == SPACE_INPUT || root->space == SPACE_WEIGHTS || sched_is_given(s, i)) {
    v->first = 0;
    v->last = end;
    return;
  }
  if (whole >= 0) extend(v, w->made[whole]);
  for (int j = w->on.first[base]; whole < 0 && j < w->on.first[base + 1]; j++) {
    int k = w->on.item[j];
    if (w->made[k] >= 0 && sched_overlap(s, k, i)) extend(v, w->made[k]);
  }
  if (root->space == SPACE_OUTPUT) v->last = end;
  v->last = MAX(v->first, v->last);
}

/* first and last step of every value: from where it is written to where it is read last. Inputs
 * and weights are there all the time, outputs until the end. */
static bool find_lives(struct sched *w) {
  struct schedule *s = w->s;
  int end = MAX((int)s->step.n - 1, 0);
  w->end = ARENA_NEW(&w->a, int, s->value.n);
  if (!w->end || !find_makers(w)) return false;
  for (size_t i = 0; i < s->value.n; i++) s->value.v[i].first = end, s->value.v[i].last = 0;
  for (int k = 0; k < (int)s->step.n; k++)
    for (int i = 0; i < sched_buffers(w, &s->step.v[k]); i++)
      if (s->step.v[k].bind[i] >= 0) extend(&s->value.v[s->step.v[k].bind[i]], k);
  for (int i = 0; i < (int)s->value.n; i++) {
    int *last = &w->end[sched_root(s, i, NULL)];
    find_life(w, i);
    *last = MAX(*last, s->value.v[i].last);
  }
  for (int i = 0; i < (int)s->value.n; i++) /* what stands on a block keeps it alive */
    if (s->value.v[i].base < 0) s->value.v[i].last = w->end[i];
  return true;
}

/* ---- in place ---- */

/* Whether the label lets output 0 take an input's place, and both fill arena blocks of one size;
 * no other input may stand there. *in and *out are the roots. */
bool sched_may_share(const struct sched *w, const struct sched_step *step, int *in, int *out) {
  const struct schedule *s = w->s;
  int k = step->label.inplace - 1, nin = sched_inputs(w, step);
  int64_t offset;
  if (step->node < 0 || k < 0 || k >= nin || step->bind[k] < 0 || step->bind[nin] < 0) return false;
  *in = sched_root(s, step->bind[k], &offset);
  *out = sched_root(s, step->bind[nin], NULL);
  const struct sched_value *x = &s->value.v[*in], *y = &s->value.v[*out];
  if (s->value.v[step->bind[nin]].base >= 0) return false; /* a piece of a larger block */
  if (x->space != SPACE_ARENA || y->space != SPACE_ARENA || offset || *in == *out) return false;
  if (x->bytes != y->bytes || s->value.v[step->bind[k]].bytes != y->bytes) return false;
  for (int i = 0; i < nin; i++)
    if (i != k && step->bind[i] >= 0 && sched_root(s, step->bind[i], NULL) == *in) return false;
  return true;
}

static void share_places(struct sched *w) {
  struct schedule *s = w->s;
  for (int k = 0; k < (int)s->step.n; k++) {
    int in, out;
    if (!sched_may_share(w, &s->step.v[k], &in, &out) || w->end[in] != k) continue;
    s->value.v[out].base = in;
    w->end[in] = w->end[out];
  }
}

/* ---- arena ---- */

static enum fvm_status pack(struct sched *w) {
  struct schedule *s = w->s;
  struct mem_block *block = ARENA_NEW(&w->a, struct mem_block, s->value.n);
  struct mem_result r;
  int n = 0;
  if (!block) return fvm_nomem(w->err);
  for (size_t i = 0; i < s->value.n; i++) {
    const struct sched_value *v = &s->value.v[i];
    if (sched_arena_bytes(v))
      block[n++] =
          (struct mem_block){v->first, w->end[i], sched_arena_bytes(v), FVM_ALIGN, 0, false};
  }
  enum fvm_status st = sched_policy(w)->pack(block, n, &r, w->err);
  if (st) return st;
  n = 0;
  for (size_t i = 0; i < s->value.n; i++)
    if (sched_arena_bytes(&s->value.v[i])) s->value.v[i].offset = block[n++].offset;
  s->arena_bytes = r.bytes;
  s->arena_bound = r.bound;
  CHECK(r.bound >= s->order_peak); /* the order was chosen for this */
  if (!sched_policy(w)->reorders) s->order_peak = r.bound;
  return FVM_OK;
}

/* ---- weights ---- */

/* Whether two constants are the same bytes in the file: equal values, converted alike. */
static bool same_weight(const struct sched *w, const struct sched_value *x,
                        const struct sched_value *y) {
  const struct tensor *s = sched_tensor(w, x->tensor), *t = sched_tensor(w, y->tensor);
  int64_t bytes = tensor_bytes(s);
  if (x->layout != y->layout || x->bytes != y->bytes || bytes != tensor_bytes(t)) return false;
  if (x->layout != LAYOUT_ROW &&
      (s->dtype != t->dtype || s->rank != t->rank || memcmp(s->dim, t->dim, sizeof s->dim) != 0))
    return false;
  return s->data == t->data || !memcmp(s->data, t->data, (size_t)bytes);
}

uint64_t sched_hash(struct sched *w, int tensor) {
  enum { BEGINNING = 4096 };
  const struct tensor *t = sched_tensor(w, tensor);
  uint64_t *h = &w->hash[tensor];
  if (!*h) *h = MAX(fvm_hash(t->data, (size_t)MIN(tensor_bytes(t), BEGINNING), 0), 1);
  return *h;
}

static bool is_weight(const struct sched_value *v) {
  return v->space == SPACE_WEIGHTS && v->base < 0;
}

struct hashed {
  uint64_t hash;
  int value;
};

static int by_hash(const void *x, const void *y) {
  const struct hashed *a = x, *b = y;
  if (a->hash != b->hash) return a->hash < b->hash ? -1 : 1;
  return (a->value > b->value) - (a->value < b->value);
}

/* Equal weights share the first one's place. False when memory is out. */
static bool share_weights(struct sched *w) {
  struct schedule *s = w->s;
  struct hashed *x = ARENA_NEW(&w->a, struct hashed, s->value.n);
  size_t n = 0;
  if (!x) return false;
  for (int i = 0; i < (int)s->value.n; i++)
    if (is_weight(&s->value.v[i])) x[n++] = (struct hashed){sched_hash(w, s->value.v[i].tensor), i};
  if (n) qsort(x, n, sizeof *x, by_hash);
  for (size_t i = 0; i < n; i++) {
    struct sched_value *v = &s->value.v[x[i].value];
    for (size_t j = i + 1; is_weight(v) && j < n && x[j].hash == x[i].hash; j++) {
      struct sched_value *y = &s->value.v[x[j].value];
      if (is_weight(y) && same_weight(w, v, y)) y->base = x[i].value;
    }
  }
  return true;
}

/* At the end of the weights section, if it has no place yet. */
static enum fvm_status place_weight(struct sched *w, struct sched_value *v) {
  struct schedule *s = w->s;
  if (!is_weight(v) || v->offset >= 0) return FVM_OK;
  v->offset = ROUND_UP(s->weight_bytes, (int64_t)FVM_ALIGN);
  if (fvm_add(v->offset, v->bytes, &s->weight_bytes) && s->weight_bytes <= TENSOR_MAXBYTES)
    return FVM_OK;
  return fvm_fail(w->err, FVM_EUNSUPPORTED, "the weights together exceed %lld bytes",
                  (long long)TENSOR_MAXBYTES);
}

/* Offsets in the weights section in the order in which the steps read them, so that a run is one
 * stream through the file, and what is prefetched beyond the end of one weight is the next. Behind
 * the stream comes what is only picked from by row. */
static enum fvm_status place_weights(struct sched *w) {
  struct schedule *s = w->s;
  enum fvm_status st = FVM_OK;
  if (!share_weights(w)) return fvm_nomem(w->err);
  for (size_t i = 0; i < s->value.n; i++)
    if (is_weight(&s->value.v[i])) s->value.v[i].offset = -1;
  for (size_t k = 0; k < s->step.n && !st; k++) {
    const struct sched_step *step = &s->step.v[k];
    for (int i = 0; i < sched_inputs(w, step) && !st; i++)
      if (step->bind[i] >= 0 && !(step->node >= 0 && node_picks_rows(&w->g->node.v[step->node], i)))
        st = place_weight(w, &s->value.v[sched_root(s, step->bind[i], NULL)]);
  }
  s->stream_bytes = s->weight_bytes;
  for (size_t i = 0; i < s->value.n && !st; i++) st = place_weight(w, &s->value.v[i]);
  return st;
}

/* Weights of which steps read no more than some rows count with these. */
static bool count_resident(struct sched *w) {
  struct schedule *s = w->s;
  int64_t *read = ARENA_NEW(&w->a, int64_t, s->value.n);
  if (!read) return false;
  for (size_t k = 0; k < s->step.n; k++) {
    const struct sched_step *step = &s->step.v[k];
    for (int i = 0; i < sched_inputs(w, step); i++) {
      if (step->bind[i] < 0) continue;
      int root = sched_root(s, step->bind[i], NULL);
      bool as_rows = step->node >= 0 && step->first < 0 && label_in(&step->label, i) == LAYOUT_ROW;
      int64_t rows = as_rows ? opcall_row_bytes(&w->node[step->node].call, i) : -1;
      read[root] += MIN(rows < 0 ? TENSOR_MAXBYTES : rows, TENSOR_MAXBYTES - read[root]);
    }
  }
  s->resident_bytes = s->arena_bytes + s->scratch_bytes;
  for (size_t i = 0; i < s->value.n; i++)
    if (is_weight(&s->value.v[i]))
      s->resident_bytes += ROUND_UP(MIN(s->value.v[i].bytes, read[i]), (int64_t)FVM_ALIGN);
  return true;
}

/* ---- programs ---- */

/* Buffers at one place with one size are one memory to the verifier. */
static enum fvm_status verify(struct sched *w, const struct sched_step *step) {
  const struct schedule *s = w->s;
  int alias[CODE_MAXBUF];
  for (int i = 0; i < (int)step->program.nbuf; i++) {
    alias[i] = i;
    for (int j = 0; j < i && step->bind[i] >= 0; j++) {
      if (step->bind[j] < 0 || step->program.buf[i].bytes != step->program.buf[j].bytes) continue;
      const struct sched_value *x = &s->value.v[step->bind[i]], *y = &s->value.v[step->bind[j]];
      if (x->space != y->space || x->index != y->index || x->offset != y->offset) continue;
      alias[i] = alias[j];
      break;
    }
  }
  return verify_program(&step->program, alias, w->err);
}

int64_t sched_scratch(const struct program *p, int threads) {
  int64_t sum = 0;
  for (uint32_t i = 0; i < p->nbuf; i++) {
    if (p->buf[i].kind == BUF_SCRATCH) sum += threads * scratch_stride(p->buf[i].bytes);
    if (p->buf[i].kind == BUF_SHARED) sum += scratch_stride(p->buf[i].bytes);
  }
  return sum;
}

static enum fvm_status check_programs(struct sched *w) {
  for (size_t k = 0; k < w->s->step.n; k++) {
    const struct sched_step *step = &w->s->step.v[k];
    enum fvm_status st = verify(w, step);
    if (st && step->node < 0)
      fvm_prefix(w->err, "conversion of tensor '%s'",
                 w->g->tensor.v[w->s->value.v[step->in_value].tensor].name);
    else if (st)
      fvm_prefix(w->err, "node '%s', candidate %s", w->g->node.v[step->node].name,
                 step->label.cand->name);
    if (st) return st;
    w->s->scratch_bytes = MAX(w->s->scratch_bytes, sched_scratch(&step->program, step->threads));
  }
  return FVM_OK;
}

/* ---- order and arena ---- */

/* The schedule before it is ordered. */
struct unordered {
  struct sched_step *step;
  int *base; /* by value */
};

static bool keep(struct sched *w, struct unordered *u) {
  const struct schedule *s = w->s;
  u->step = ARENA_NEW(&w->a, struct sched_step, s->step.n);
  u->base = ARENA_NEW(&w->a, int, s->value.n);
  if (!u->step || !u->base) return false;
  if (s->step.n) memcpy(u->step, s->step.v, s->step.n * sizeof *u->step);
  for (size_t i = 0; i < s->value.n; i++) u->base[i] = s->value.v[i].base;
  return true;
}

/* Order, and places in the arena. */
static enum fvm_status arrange(struct sched *w, const struct unordered *u, int variant) {
  struct schedule *s = w->s;
  if (s->step.n) memcpy(s->step.v, u->step, s->step.n * sizeof *u->step);
  for (size_t i = 0; i < s->value.n; i++) s->value.v[i].base = u->base[i];
  enum fvm_status st = find_makers(w) ? FVM_OK : fvm_nomem(w->err);
  if (!st && sched_policy(w)->reorders) st = sched_order(w, variant);
  phase_done(w->o->phases, PHASE_order);
  if (st) return st;
  if (!find_lives(w)) return fvm_nomem(w->err);
  if (sched_policy(w)->in_place) share_places(w);
  st = pack(w);
  phase_done(w->o->phases, PHASE_memory);
  return st;
}

/* The arena may be larger than what is live at once in one order of least peak, and not in another.
 */
static enum fvm_status arrange_best(struct sched *w) {
  struct schedule *s = w->s;
  struct unordered u;
  int best = 0, last = 0, most = sched_policy(w)->reorders ? ORDER_VARIANTS : 0;
  enum fvm_status st = keep(w, &u) ? arrange(w, &u, 0) : fvm_nomem(w->err);
  for (int64_t least = s->arena_bytes; !st && last < most && least > s->order_peak;) {
    st = arrange(w, &u, ++last);
    if (!st && s->arena_bytes < least) best = last, least = s->arena_bytes;
  }
  return st || best == last ? st : arrange(w, &u, best);
}

enum fvm_status sched_place(struct sched *w) {
  struct schedule *s = w->s;
  enum fvm_status st = arrange_best(w);
  for (size_t k = 0; k < s->step.n; k++) s->cost_ns += s->step.v[k].cost_ns;
  if (!st) st = place_weights(w);
  phase_done(w->o->phases, PHASE_weights);
  if (st) return st;
  for (int i = 0; i < (int)s->value.n; i++) {
    struct sched_value *v = &s->value.v[i];
    int64_t offset;
    int root = sched_root(s, i, &offset);
    if (root == i) continue;
    v->space = s->value.v[root].space;
    v->index = s->value.v[root].index;
    v->offset = s->value.v[root].offset + offset;
  }
  st = check_programs(w);
  phase_done(w->o->phases, PHASE_verify);
  return st ? st : count_resident(w) ? FVM_OK : fvm_nomem(w->err);
}
