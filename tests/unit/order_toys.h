/* Problems for scheduler/order by families, for its test and its bench. */
#ifndef FVM_ORDER_TOYS_H
#define FVM_ORDER_TOYS_H

#include "../../scheduler/order.h"

static uint64_t rng;
static inline int rnd(int n) {
  rng = rng * 6364136223846793005u + 1442695040888963407u;
  return (int)((rng >> 33) % (uint64_t)n);
}

/* ---- problems ---- */

enum { MAXS = 8192, MAXV = 16384, MAXU = 65536 };
struct toy {
  struct order_problem p;
  struct order_value value[MAXV];
  struct order_use use[MAXU];
  struct order_share share[MAXS];
};

static inline void toy_start(struct toy *t) {
  t->p = (struct order_problem){.value = t->value, .use = t->use, .share = t->share};
}
static inline int add_value(struct toy *t, int64_t bytes, int producer) {
  CHECK(t->p.nvalue < MAXV); /* not ck_assert, which writes a file each time */
  t->value[t->p.nvalue] = (struct order_value){bytes, producer, false};
  return t->p.nvalue++;
}
static inline void add_use(struct toy *t, int step, int value) {
  CHECK(t->p.nuse < MAXU);
  t->use[t->p.nuse++] = (struct order_use){step, value};
}
/* A step that uses up to two values (-1: none) and makes one. */
static inline int add_step(struct toy *t, int x, int y, int64_t bytes) {
  int step = t->p.nstep++;
  if (x >= 0) add_use(t, step, x);
  if (y >= 0) add_use(t, step, y);
  return add_value(t, bytes, step);
}
/* x + y in the place of x. */
static inline int add_sum(struct toy *t, int x, int y) {
  int out = add_step(t, x, y, t->value[x].bytes);
  t->share[t->p.nshare++] = (struct order_share){t->p.nstep - 1, x, out};
  return out;
}

static inline int any_bytes(void) { return rnd(4) ? 1 + rnd(20) : rnd(3); }

/* Each of the values so far may be used; some are shared places, some are places in pieces. */
static inline void make_random(struct toy *t, int n) {
  add_value(t, rnd(6), -1);
  t->value[0].stays = rnd(2);
  while (t->p.nstep < n) {
    int x = rnd(t->p.nvalue), y = rnd(3) ? -1 : rnd(t->p.nvalue);
    int out = rnd(4) == 0 && x != y ? add_sum(t, x, y) : add_step(t, x, y, any_bytes());
    t->value[out].stays = rnd(8) == 0;
    if (rnd(6) == 0) add_value(t, any_bytes(), t->p.nstep - 1);
  }
}

/* Places that several steps write pieces of; readers wait for the pieces. */
static inline void make_joins(struct toy *t, int n) {
  int first = add_step(t, -1, -1, any_bytes());
  while (t->p.nstep < n) {
    int place = add_value(t, 1 + rnd(30), ORDER_PLACE), parts = 1 + rnd(3), part[3];
    for (int i = 0; i < parts; i++) {
      int made = rnd(2) ? add_step(t, first, -1, any_bytes()) : first;
      part[i] = add_step(t, made, -1, 0);
      add_use(t, t->p.nstep - 1, place);
    }
    first = add_step(t, -1, -1, any_bytes());
    add_use(t, t->p.nstep - 1, place);
    for (int i = 0; i < parts; i++) add_use(t, t->p.nstep - 1, part[i]);
  }
}

/* Branches of chains between a split and a join, one behind the other. */
static inline void make_branches(struct toy *t, int n) {
  int x = add_step(t, -1, -1, any_bytes());
  while (t->p.nstep < n) {
    int sum = -1, from = x;
    for (int branches = 1 + rnd(4); branches > 0; branches--) {
      x = from;
      for (int k = rnd(4); k > 0; k--) x = add_step(t, x, -1, any_bytes());
      sum = sum < 0              ? x
            : rnd(2) && sum != x ? add_sum(t, sum, x)
                                 : add_step(t, sum, x, any_bytes());
    }
    x = sum;
  }
}

/* Series and parallel within each other, from x. */
static inline int add_nested(struct toy *t, int x, int n) {
  if (n <= 2) return add_step(t, x, -1, any_bytes());
  int part = 1 + rnd(n - 2);
  if (rnd(2)) return add_nested(t, add_nested(t, x, part), n - part);
  int y = add_nested(t, x, part), z = add_nested(t, x, n - part - 1);
  return rnd(4) ? add_step(t, y, z, any_bytes()) : add_sum(t, y, z);
}

static inline void make_nested(struct toy *t, int n) {
  add_nested(t, add_step(t, -1, -1, any_bytes()), n - 1);
}

/* Down and up with skips, and a value that branches in each block wait for. */
static inline void make_unet(struct toy *t, int depth, bool timed) {
  int skip[64], time = timed ? add_step(t, -1, -1, 12) : -1;
  int x = add_step(t, -1, -1, 64 << 6);
  for (int i = 0; i < depth; i++) {
    int64_t bytes = MAX(1, (int64_t)(64 << 6) >> (2 * i / 3));
    int beside = timed ? add_step(t, time, -1, 3 + i % 9) : -1;
    x = add_step(t, x, -1, bytes);
    x = add_step(t, x, beside, bytes);
    skip[i] = x;
  }
  for (int i = depth - 1; i >= 0; i--) {
    int beside = timed ? add_step(t, time, -1, 3 + i % 5) : -1;
    x = add_step(t, x, skip[i], 2 * t->value[skip[i]].bytes);
    x = add_step(t, x, beside, t->value[skip[i]].bytes);
  }
}

/* A tree towards its root. */
static inline void make_tree(struct toy *t, int n) {
  int open[MAXS], nopen = 0;
  while (t->p.nstep < n) {
    int x = nopen && rnd(3) ? open[--nopen] : -1,
        y = x >= 0 && nopen && rnd(2) ? open[--nopen] : -1;
    open[nopen++] = add_step(t, x, y, any_bytes());
  }
}

/* Units behind one another, each of some sources that are wired at random over their neighbours and
 * joined at the end, as in randomly wired networks. */
static inline void make_wired(struct toy *t, int n) {
  enum { NODES = 16, REACH = 4 };
  int x = add_step(t, -1, -1, 64), node[NODES];
  while (t->p.nstep < n) {
    int64_t bytes = 16 + rnd(48);
    for (int i = 0; i < NODES; i++) {
      int from = i < 2 ? x : node[i - 1 - rnd(MIN(i, REACH))];
      int also = i < 2 || rnd(3) ? -1 : node[i - 1 - rnd(MIN(i, REACH))];
      node[i] = add_step(t, from, also == from ? -1 : also, bytes);
    }
    int used[MAXV] = {0};
    for (int i = 0; i < t->p.nuse; i++) used[t->use[i].value] = 1;
    int sum = -1;
    for (int i = 0; i < NODES; i++)
      if (!used[node[i]]) sum = sum < 0 ? node[i] : add_sum(t, sum, node[i]);
    x = add_step(t, sum, -1, bytes);
  }
}

/* A block of a diffusion network: two convolutions with the time's projection between them, then
 * attention that reads a context as well; sums in place. */
static inline int add_diffusion(struct toy *t, int x, int64_t bytes, int time, int context,
                                int64_t channels) {
  int beside = add_step(t, time, -1, channels);
  int shortcut = add_step(t, x, -1, bytes);
  int y = add_step(t, add_step(t, x, -1, t->value[x].bytes), -1, bytes);
  y = add_step(t, add_sum(t, y, beside), -1, bytes);
  x = add_sum(t, add_step(t, y, -1, bytes), shortcut);
  y = add_step(t, x, -1, bytes);
  int q = add_step(t, y, -1, bytes), k = add_step(t, context, -1, 77 * channels),
      v = add_step(t, context, -1, 77 * channels);
  int at = add_step(t, q, k, 2 * bytes);
  return add_sum(t, x, add_step(t, add_step(t, at, v, bytes), -1, bytes));
}

/* Down and up over levels of such blocks, each of which has a skip. */
static inline void make_diffusion(struct toy *t, int levels, int blocks) {
  int skip[64], n = 0, time = add_step(t, add_step(t, -1, -1, 320), -1, 1280);
  int context = add_value(t, (int64_t)77 * 768, -1);
  int64_t area = 4096, channels = 320;
  int x = skip[n++] = add_step(t, -1, -1, area * channels);
  for (int l = 0; l < levels; l++) {
    for (int b = 0; b < blocks; b++)
      x = skip[n++] = add_diffusion(t, x, area * channels, time, context, channels);
    if (l + 1 == levels) break;
    area /= 4;
    x = skip[n++] = add_step(t, x, -1, area * channels);
    channels = MIN(2 * channels, 1280);
  }
  for (int l = levels - 1; l >= 0; l--) {
    for (int b = 0; b <= blocks; b++) {
      int64_t both = t->value[x].bytes + t->value[skip[--n]].bytes;
      x = add_diffusion(t, add_step(t, x, skip[n], both), area * channels, time, context, channels);
    }
    area *= 4;
    if (l > 0) x = add_step(t, x, -1, area * channels);
    channels = 320 * MIN(4, 1 << MAX(0, l - 1));
  }
}

/* A decoder's layers: products of one input, attention, sums in place, a gated block. */
static inline void make_decoder(struct toy *t, int layers) {
  int x = add_step(t, -1, -1, 64), mask = add_step(t, -1, -1, 3);
  for (int i = 0; i < layers; i++) {
    int y = add_step(t, x, -1, 64), head[3], from = x;
    for (int k = 0; k < 3; k++) {
      head[k] = add_step(t, y, -1, 64);
      for (int j = 0; j < 6; j++) head[k] = add_step(t, head[k], -1, 64);
    }
    y = add_step(t, head[0], head[1], 128);
    y = add_step(t, y, mask, 128);
    y = add_step(t, y, head[2], 64);
    x = add_sum(t, from, add_step(t, y, -1, 64));
    from = x;
    y = add_step(t, x, -1, 64);
    int gate = add_step(t, y, -1, 172), up = add_step(t, y, -1, 172);
    x = add_sum(t, from, add_step(t, add_sum(t, gate, up), -1, 64));
  }
}

#endif
