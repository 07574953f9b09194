/* The memory in which a candidate is timed: its data is where the network would leave it.
 *
 * Constants have another place in every run, on a belt: in the network the other nodes' weights
 * pass through the caches between two runs of this one, so its own come from far away. The places
 * lie one after another, so that a prefetch beyond the end of one fetches the next, as in a plan
 * file. Belts are parts of the stream: time does not depend on the numbers, as long as none is
 * special.
 *
 * Outputs have another place in every run, too, on a belt that is written from end to end: in the
 * network other steps have used the place in the meantime. Unless that is long ago (far), the belt
 * must be written within one sample: between two samples other candidates run, and the database is
 * written, which would throw the places out of all caches. A program with fewer runs in a sample
 * than there are places writes to one place, which is touched before the inputs are.
 *
 * Inputs stay in place. Before each run of one thread each line of them is written: so it lies
 * modified in the core's own cache, as far as it fits, as its producer has left it. Several threads
 * find them as the run before has left them: which of them made what the others read is different
 * in each network, and guessed as halves (the first of the bytes, the second) it made chains of two
 * threads 10 to 20 % dearer than in the network.
 *
 * How many places there are follows from the bytes that pass in the state (measure_state.c) and
 * from those of a run, all of which pass before the next place is used. A belt starts to be right
 * after its first round. */
#include "measure_work.h"

#include <string.h>

enum { LINE = 64, BELT_MIN = 1 << 10 /* bytes of constants: fewer stay in place */ };

/* ---- belts ---- */

/* A prefetch may go beyond the end; and copies shall not all begin in the same cache set. */
static int64_t stride_of(int64_t bytes) { return ROUND_UP(bytes, FVM_ALIGN) + FVM_ALIGN; }

static bool is_index(const struct tensor *t) { return t->dtype == FVM_I64 || t->dtype == FVM_I32; }

/* Bytes of a constant input that may ride a belt. Indices may not: their order matters. */
static int64_t constant_bytes(const struct tensor *t) {
  return t->data && !is_index(t) ? tensor_bytes(t) : 0;
}

/* All that a run touches, in rows. */
static int64_t touched(const struct work *w) {
  const struct opcall *c = w->bench->call;
  int64_t sum = 0;
  for (int i = 0; i < c->nin; i++)
    if (c->in[i].dtype != FVM_NONE) sum += tensor_bytes(&c->in[i]);
  for (int k = 0; k < c->nout; k++) sum += w->state->out_bytes[k];
  return MAX(sum, 1);
}

/* In huge pages, like the executor's weights; its arena has small ones, but is smaller than a belt:
 * small pages would make a run pay for a belt's length in translations. Without memory for it there
 * is no belt, and all stays in place: a large input is cold nevertheless, and a small one is warm.
 * The same holds for the stream. */
static void make_belt(struct work_state *s, int64_t one, int64_t places, struct belt *belt) {
  int64_t bytes = places * stride_of(one);
  if (one == 0 || places < 2) return;
  belt->base = room_grab_huge(s, bytes, false);
  belt->bytes = belt->base ? bytes : 0;
}

static void make_constants(const struct work *w, struct work_state *s) {
  const struct opcall *c = w->bench->call;
  int64_t all = 0, used = 0, places = w->since_read / touched(w);
  for (int i = 0; i < c->nin; i++) all += constant_bytes(&c->in[i]);
  if (all < BELT_MIN || places < 2) return;
  for (int i = 0; i < c->nin; i++) {
    int64_t one = constant_bytes(&c->in[i]), left = w->stream.bytes - used;
    if (!one) continue;
    s->in[i] =
        (struct belt){.base = w->stream.base + used, .bytes = MIN(places * stride_of(one), left)};
    used += s->in[i].bytes;
  }
}

/* Written once, or the first round would be spent on page faults. */
static bool make_activations(const struct work *w, struct work_state *s) {
  for (int k = 0; k < nout(w); k++) {
    make_belt(s, s->out_bytes[k], w->since_written / touched(w), &s->made[k]);
    if (s->made[k].bytes) memset(s->made[k].base, 0, (size_t)s->made[k].bytes);
  }
  for (int i = 0; i < nin(w); i++) {
    if (w->bench->call->in[i].data || !w->bench->in[i]) continue;
    int64_t most = 0;
    for (int e = 0; e < w->n; e++) most = MAX(most, room_in_bytes(w, &w->entrant[e], i));
    s->in[i].base = room_grab(s, most);
    if (!s->in[i].base) return false;
  }
  return true;
}

bool net_make(const struct work *w, struct work_state *s) {
  make_constants(w, s);
  return make_activations(w, s);
}

/* ---- a candidate's places ---- */

/* What is larger than the belt stays in place: one pass over it is far by itself. */
static void ride(const struct belt *belt, int buf, int64_t bytes, struct ready *r) {
  int64_t stride = stride_of(bytes);
  if (belt->bytes >= stride)
    r->rider[r->nrider++] = (struct rider){belt, buf, stride, belt->bytes / stride};
}

void net_place(const struct work *w, const struct entrant *e, struct ready *r) {
  struct work_state *s = w->state;
  memcpy(r->live, r->buf, sizeof r->live);
  for (int i = 0; i < nin(w); i++) {
    if (r->image[i] < 0) continue;
    const struct image *m = &s->image.v[r->image[i]];
    if (w->bench->call->in[i].data)
      ride(&s->in[i], i, m->bytes, r);
    else
      r->live[i] = s->in[i].base;
  }
  for (int k = 0; k < nout(w); k++)
    if (room_out_bytes(w, e, k)) ride(&s->made[k], nin(w) + k, room_out_bytes(w, e, k), r);
}

void net_enter(const struct work *w, const struct ready *r) {
  struct work_state *s = w->state;
  for (int i = 0; i < nin(w); i++) {
    const struct image *m = r->image[i] >= 0 ? &s->image.v[r->image[i]] : NULL;
    if (!m || w->bench->call->in[i].data || s->in[i].image == r->image[i] + 1) continue;
    memcpy(s->in[i].base, m->base, (size_t)m->bytes);
    s->in[i].image = r->image[i] + 1;
  }
}

/* ---- before each run ---- */

struct production {
  const struct work *w;
  const struct ready *r;
  const struct entrant *e;
};

/* Written with what was there: only where the line is changes. */
static void touch(char *p, int64_t bytes) {
  for (int64_t i = 0; i + (int64_t)sizeof(uint32_t) <= bytes; i += LINE) {
    volatile uint32_t *word = (volatile uint32_t *)(void *)(p + i);
    uint32_t same = *word;
    *word = same;
  }
}

/* The part of a thread. */
static void touch_part(char *base, int64_t bytes, int tid, int threads) {
  int64_t part = ROUND_UP(bytes / threads + 1, LINE), from = MIN(part * tid, bytes);
  touch(base + from, MIN(part, bytes - from));
}

/* Outputs first, and the first input last: the others are often older. */
static int produce(void *arg, struct team *team, int tid) {
  const struct production *p = arg;
  const struct work_state *s = p->w->state;
  int threads = team_size(team);
  for (int k = 0; k < nout(p->w); k++)
    if (p->r->live[nin(p->w) + k] == s->out[k])
      touch_part(s->out[k], room_out_bytes(p->w, p->e, k), tid, threads);
  for (int i = nin(p->w) - 1; i >= 0 && threads == 1; i--)
    if (p->r->image[i] >= 0 && !p->w->bench->call->in[i].data)
      touch(s->in[i].base, s->image.v[p->r->image[i]].bytes);
  return 0;
}

/* Where a rider's buffer is in the run to come. */
static void *next_place(const struct work *w, const struct ready *r, const struct rider *x,
                        int64_t repeat) {
  if (x->buf >= nin(w) && !w->far && repeat < x->places) return r->buf[x->buf];
  return x->belt->base + w->state->step % x->places * x->stride;
}

void net_step(const struct work *w, int i, int64_t repeat) {
  struct work_state *s = w->state;
  struct ready *r = &s->ready[i];
  struct production p = {w, r, &w->entrant[i]};
  for (int k = 0; k < r->nrider; k++)
    r->live[r->rider[k].buf] = next_place(w, r, &r->rider[k], repeat);
  s->step++;
  pool_run(s->pool, w->entrant[i].label.threads, produce, &p);
}
