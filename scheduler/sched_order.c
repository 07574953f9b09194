/* The steps in the order that holds the least at its fullest, and the proof that none holds less.
 * What order.h calls values are roots with their bytes in the arena, and, with none, what readers
 * wait for besides: pieces of a root that several steps write. An output that may take an input's
 * place does so where that dies, so that it is the arena's own load that is minimised. */
#include <string.h>

#include "order.h"
#include "sched.h"

struct orderer {
  const struct sched *w;
  struct order_problem p;
  struct order_value *value;
  struct order_use *use; /* NULL: only counted */
  struct order_share *share;
};

static void add_use(struct orderer *o, int step, int value) {
  if (o->use) o->use[o->p.nuse] = (struct order_use){step, value};
  o->p.nuse++;
}

/* A root of several pieces is taken from the first step that writes one of them; each reader waits
 * for the pieces that it reads. */
static void add_reads(struct orderer *o, int step, int value) {
  const struct sched *w = o->w;
  int root = sched_root(w->s, value, NULL);
  if (sched_is_given(w->s, value)) return; /* waits for nobody */
  add_use(o, step, root);
  for (int j = w->on.first[root]; w->made[root] < 0 && j < w->on.first[root + 1]; j++) {
    int i = w->on.item[j];
    if (w->made[i] >= 0 && sched_overlap(w->s, i, value)) add_use(o, step, i);
  }
}

static void add_share(struct orderer *o, int step) {
  int in, out;
  if (!sched_may_share(o->w, &o->w->s->step.v[step], &in, &out)) return;
  if (o->value[out].producer == step) o->share[o->p.nshare++] = (struct order_share){step, in, out};
}

static void describe(struct orderer *o) {
  const struct sched *w = o->w;
  const struct schedule *s = w->s;
  o->p.nuse = o->p.nshare = 0;
  for (int i = 0; i < (int)s->value.n; i++)
    o->value[i] = (struct order_value){sched_arena_bytes(&s->value.v[i]), w->made[i], false};
  for (int i = 0; i < (int)s->value.n; i++) {
    int root = sched_root(s, i, NULL);
    if (w->made[i] < 0 || root == i) continue;
    o->value[root].producer = ORDER_PLACE;
    add_use(o, w->made[i], root);
  }
  for (int k = 0; k < (int)s->step.n; k++) {
    for (int i = 0; i < sched_inputs(w, &s->step.v[k]); i++)
      if (s->step.v[k].bind[i] >= 0) add_reads(o, k, s->step.v[k].bind[i]);
    add_share(o, k);
  }
}

static bool describe_all(struct orderer *o) {
  struct sched *w = (struct sched *)o->w;
  size_t nvalue = w->s->value.n, nstep = w->s->step.n;
  o->value = ARENA_NEW(&w->a, struct order_value, nvalue);
  o->share = ARENA_NEW(&w->a, struct order_share, nstep);
  if (!o->value || !o->share) return false;
  describe(o);
  o->use = ARENA_NEW(&w->a, struct order_use, o->p.nuse);
  if (!o->use) return false;
  describe(o);
  o->p.nstep = (int)nstep;
  o->p.nvalue = (int)nvalue;
  o->p.value = o->value;
  o->p.use = o->use;
  o->p.share = o->share;
  return true;
}

enum fvm_status sched_order(struct sched *w, int variant) {
  struct schedule *s = w->s;
  size_t nstep = s->step.n;
  struct orderer o = {.w = w};
  struct order_result r;
  struct sched_step *sorted = ARENA_NEW(&w->a, struct sched_step, nstep);
  if (!sorted || !describe_all(&o)) return fvm_nomem(w->err);
  enum fvm_status st = order_steps(&o.p, ORDER_TICKS, variant, &w->a, &r, w->err);
  if (st) return st;
  for (size_t k = 0; k < nstep; k++) sorted[k] = s->step.v[r.step[k]];
  if (nstep) memcpy(s->step.v, sorted, nstep * sizeof *sorted);
  s->order_peak = r.peak;
  s->order_bound = r.bound;
  return FVM_OK;
}
