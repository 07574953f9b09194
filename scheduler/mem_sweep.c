/* Packings by a sweep through time: a beam search over PQ-trees.
 *
 * Blocks are placed in order of their first sections, those of one section from large to small. A
 * state of the search says in which orders all that is live now can stand; a step puts one block
 * into gaps, and what it needs of the order is decided then and not before. Of all states after a
 * step the best few are followed: those in which the gaps are few and the orders are many. In an
 * arena that is full all the time a block fits exactly where others ended, and the sweep finds its
 * way with hardly a choice; what the ways differ in is which gaps are joined. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "mem_sweep.h"

struct state {
  struct mem_tree tree;
  int64_t cost;
  uint64_t hash; /* of what matters from now on */
  struct mem_way way;
  int parent;
};
struct beam {
  struct state *v;
  int n;
};
/* The states before a step, to go back to. */
enum { CAMP = 12, CAMPS = 6, CAMPED = 64 }; /* steps from one to the next; so many; states in one */
struct camp {
  int step, n; /* n: 0: it is not there */
  struct camped {
    struct mem_tree tree;
    int64_t cost;
  } state[CAMPED];
  VEC(struct mem_node) node;
};
struct trace {
  struct mem_way way;
  int parent;
};
struct mem_sweep {
  struct mem_part *p;
  struct mem_item *item[2]; /* as time runs and as it runs back */
  int *order[2];
  int64_t *slack; /* by section */
  struct beam now, next;
  int widest, room;
  struct mem_tree spare;
  struct camp camp[CAMPS]; /* of the last steps */
  struct mem_gaps gaps;
  struct mem_way *way, *path;
  struct trace *trace; /* widest for each step */
  int64_t *sums;
  int64_t *orders; /* of n children: the logarithm of n! */
  uint64_t rng;
  uint64_t *group; /* of a block: a bit, or none */
  int *ends;       /* by section */
  struct mem_sweep_how how;
  int64_t cap, most; /* what it has grown to; may grow to */
  struct mem_growth growth[MEM_GROWTHS];
  int ngrowth;
  const struct mem_item *items; /* of the present direction */
  struct mem_effort *effort;
};

/* ---- memory ---- */

static int most_live(const struct mem_part *p) {
  int most = 0;
  for (int k = 0; k < p->nsec; k++) {
    int n = 0;
    for (int i = 0; i < p->n; i++) n += p->item[i].lo <= k && k <= p->item[i].hi;
    most = MAX(most, n);
  }
  return most;
}

static bool tree_new(struct mem_tree *t, int most, struct arena *a) {
  t->most = most;
  t->v = ARENA_NEW(a, struct mem_node, most);
  return t->v != NULL;
}
static bool beam_new(struct beam *b, const struct mem_sweep *s, struct arena *a) {
  b->v = ARENA_NEW(a, struct state, s->widest);
  bool ok = b->v != NULL;
  for (int i = 0; ok && i < s->widest; i++) ok = tree_new(&b->v[i].tree, s->room, a);
  return ok;
}

struct entry {
  const struct mem_item *x;
  int i;
};
static int by_start(const void *x, const void *y) {
  const struct entry *a = x, *b = y;
  if (a->x->lo != b->x->lo) return a->x->lo < b->x->lo ? -1 : 1;
  if (a->x->size != b->x->size) return a->x->size > b->x->size ? -1 : 1;
  if (a->x->hi != b->x->hi) return a->x->hi < b->x->hi ? -1 : 1;
  return a->i < b->i ? -1 : 1;
}

static bool direction_new(struct mem_sweep *s, int d, struct arena *a) {
  const struct mem_part *p = s->p;
  struct entry *e = ARENA_NEW(a, struct entry, p->n);
  s->item[d] = ARENA_NEW(a, struct mem_item, p->n);
  s->order[d] = ARENA_NEW(a, int, p->n);
  if (!e || !s->item[d] || !s->order[d]) return false;
  for (int i = 0; i < p->n; i++) {
    struct mem_item *x = &s->item[d][i];
    *x = p->item[i];
    if (d) x->lo = p->nsec - 1 - p->item[i].hi, x->hi = p->nsec - 1 - p->item[i].lo;
    e[i] = (struct entry){x, i};
  }
  qsort(e, (size_t)p->n, sizeof *e, by_start);
  for (int i = 0; i < p->n; i++) s->order[d][i] = e[i].i;
  return true;
}

enum { SUMS = 13, MOST_SUMS = 1 << SUMS }; /* others whose sums are known all */

struct mem_sweep *mem_sweep_new(struct mem_part *p, struct arena *a) {
  enum { WIDEST = 256, NODES = 1 << 19 };
  struct mem_sweep *s = ARENA_NEW(a, struct mem_sweep, 1);
  if (!s) return NULL;
  *s = (struct mem_sweep){.p = p, .room = 12 * most_live(p) + 400};
  s->widest = MAX(4, MIN(WIDEST, NODES / s->room));
  s->slack = ARENA_NEW(a, int64_t, p->nsec);
  s->way = ARENA_NEW(a, struct mem_way, MEM_WAYS);
  s->path = ARENA_NEW(a, struct mem_way, p->n);
  s->trace = ARENA_NEW(a, struct trace, (size_t)p->n * (size_t)s->widest);
  s->gaps.branch = ARENA_NEW(a, struct mem_branch, s->room);
  s->sums = ARENA_NEW(a, int64_t, MOST_SUMS + 64);
  s->orders = ARENA_NEW(a, int64_t, s->room);
  s->group = ARENA_NEW(a, uint64_t, p->n);
  s->ends = ARENA_NEW(a, int, p->nsec);
  bool ok = s->slack && s->way && s->path && s->trace && s->gaps.branch && s->sums && s->orders;
  ok = ok && s->group && s->ends;
  ok = ok && tree_new(&s->spare, s->room, a) && beam_new(&s->now, s, a) && beam_new(&s->next, s, a);
  if (!ok || !direction_new(s, 0, a) || !direction_new(s, 1, a)) return NULL;
  for (int i = 1; i < s->room; i++) s->orders[i] = (int64_t)(1000 * lgamma(i + 1));
  return s;
}

bool mem_sweep_can(const struct mem_part *p) {
  for (int i = 0; i < p->n; i++)
    if (p->item[i].align != 1 || p->item[i].fixed >= 0) return false;
  return true;
}

/* ---- what a state is worth ---- */

static uint64_t mix(uint64_t x) {
  x = (x ^ x >> 31) * 0x9E3779B97F4A7C15u;
  x = (x ^ x >> 29) * 0xBF58476D1CE4E5B9u;
  return x ^ x >> 32;
}

static uint64_t hash_leaf(const struct mem_sweep *s, const struct mem_node *x) {
  uint64_t h = (uint64_t)x->size << 2 | (uint64_t)x->gap << 1 | x->loose;
  return x->gap ? mix(h) : mix(h) + mix((uint64_t)s->items[x->id].hi);
}

/* Adds to the cost; a hash that is the same for all that can happen in the same ways. Parts of one
 * loose gap count as one. */
static uint64_t rate(const struct mem_sweep *s, const struct mem_tree *t, int i, int64_t *cost) {
  const struct mem_node *x = &t->v[i];
  uint64_t any = 0, up = 0, down = 0, power = 1;
  int n = 0, loose = 0;
  if (x->kind == MEM_LEAF) {
    if (x->gap && !x->loose) *cost += s->how.gap_cost;
    return hash_leaf(s, x);
  }
  for (int c = x->first; c != MEM_NIL; c = t->v[c].next) {
    uint64_t h = rate(s, t, c, cost);
    n += !t->v[c].loose;
    loose |= t->v[c].loose;
    any += mix(h);
    up = up * 31 + h;
    down += h * power;
    power *= 31;
  }
  if (loose) *cost += s->how.gap_cost;
  *cost -= x->kind == MEM_LINE ? s->orders[2] : s->orders[n + loose];
  return x->kind == MEM_LINE ? mix(up + down) + 1 : mix(any + x->open);
}

static int64_t draw(struct mem_sweep *s, int64_t n) {
  s->rng ^= s->rng << 13;
  s->rng ^= s->rng >> 7;
  s->rng ^= s->rng << 17;
  return (int64_t)(s->rng >> 40) * n >> 24;
}

/* The spare tree becomes a state of the next beam, if it is among the best and none like it is. */
static void offer(struct mem_sweep *s, int parent, const struct mem_way *way) {
  enum { APART = 3000 }; /* cost of a group that cannot end as one place */
  int64_t cost = s->how.seed ? draw(s, 1000) : 0;
  uint64_t hash = rate(s, &s->spare, s->spare.root, &cost);
  int at = s->next.n, worst = 0;
  for (int i = 0; i < s->next.n; i++) {
    if (s->next.v[i].hash == hash) return;
    if (s->next.v[i].cost > s->next.v[worst].cost) worst = i;
  }
  bool full = at == s->how.width;
  if (!full || cost < s->next.v[worst].cost) cost += APART * mem_apart(&s->spare, s->group);
  if (full) {
    if (cost >= s->next.v[worst].cost) return;
    at = worst;
  } else {
    s->next.n++;
  }
  struct mem_tree t = s->next.v[at].tree;
  s->next.v[at] = (struct state){s->spare, cost, hash, *way, parent};
  s->spare = t;
}

/* ---- steps ---- */

static int by_value(const void *x, const void *y) {
  int64_t a = *(const int64_t *)x, b = *(const int64_t *)y;
  return a < b ? -1 : a > b;
}

/* Of blocks order[k..end-1], up to the capacity; how many sums. */
static int find_small_sums(struct mem_sweep *s, const int *order, int k, int end) {
  uint64_t bits[MOST_SUMS / 64 + 1] = {1};
  int64_t words = s->cap / 64 + 1;
  int n = 0;
  for (; k < end; k++) mem_add_sums(bits, words, s->items[order[k]].size);
  for (int64_t w = 0; w < words; w++)
    for (uint64_t x = bits[w]; x; x &= x - 1) s->sums[n++] = 64 * w + __builtin_ctzll(x);
  return n;
}

/* Sums of the blocks that come after step k in its section; how many, 0: too many. */
static int find_sums(struct mem_sweep *s, const int *order, int k) {
  int n = 1, section = s->items[order[k]].lo, end = k + 1;
  while (end < s->p->n && s->items[order[end]].lo == section) end++;
  if (s->cap < MOST_SUMS) return find_small_sums(s, order, k + 1, end);
  if (end - k - 1 > SUMS) return 0;
  s->sums[0] = 0;
  for (int j = k + 1; j < end; j++, n *= 2)
    for (int i = 0; i < n; i++) s->sums[n + i] = s->sums[i] + s->items[order[j]].size;
  qsort(s->sums, (size_t)n, sizeof *s->sums, by_value);
  return n;
}

static bool is_cheaper(const struct mem_way *a, const struct mem_way *b) {
  if (a->cost != b->cost) return a->cost < b->cost;
  return a->gaps != b->gaps ? a->gaps < b->gaps : a->total < b->total;
}

/* A heap, the cheapest first. */
static void sift(struct mem_way *v, int n, int i) {
  struct mem_way w = v[i];
  for (int c; (c = 2 * i + 1) < n; i = c) {
    if (c + 1 < n && is_cheaper(&v[c + 1], &v[c])) c++;
    if (!is_cheaper(&v[c], &w)) break;
    v[i] = v[c];
  }
  v[i] = w;
}

/* The cheapest ways from a state that are possible. */
static bool branch(struct mem_sweep *s, int parent, const struct mem_need *need) {
  enum { BRANCHES = 6 };
  const struct mem_tree *t = &s->now.v[parent].tree;
  if (!mem_tree_has_room(t)) return true;
  mem_find_gaps(t, &s->gaps);
  int n = mem_ways(&s->gaps, need, s->way), done = 0;
  for (int i = 0; i < n && s->how.seed; i++) s->way[i].cost += draw(s, s->way[i].cost + 1);
  for (int i = n / 2 - 1; i >= 0; i--) sift(s->way, n, i);
  for (; n && done < BRANCHES; s->way[0] = s->way[--n], sift(s->way, n, 0)) {
    struct mem_way way = s->way[0];
    if (!mem_can_join(&s->gaps, way.gaps)) continue;
    mem_tree_take(&s->spare, t);
    mem_fill(&s->spare, &s->gaps, need, &way, NULL);
    offer(s, parent, &way);
    done++;
  }
  return mem_spend(s->effort, 1 + done);
}

static int64_t largest_gap(const struct mem_tree *t) {
  int64_t size = 0;
  for (int i = 0; i < t->n; i++)
    if (mem_is_gap(t, i)) size = MAX(size, t->v[i].size);
  return size;
}

static bool add_room(struct mem_sweep *s, int k, struct mem_tree *t, int64_t units) {
  if (s->ngrowth == MEM_GROWTHS || units > s->most - s->cap || !mem_tree_has_room(t)) return false;
  s->growth[s->ngrowth++] = (struct mem_growth){k, units};
  s->cap += units;
  for (int i = 0; i < s->p->nsec; i++) s->slack[i] += units;
  mem_tree_grow(t, units, t->ids);
  return true;
}

/* No state has a place for the block: from the best one on the arena is larger, by as little as may
 * do, or by the block. What comes out is still a packing, but not
 * worth much work. */
static bool grow(struct mem_sweep *s, int k, struct mem_need *need) {
  enum { WIDTH = 8 };
  int best = 0;
  s->how.width = MIN(s->how.width, WIDTH);
  for (int i = 1; i < s->now.n; i++)
    if (s->now.v[i].cost < s->now.v[best].cost) best = i;
  struct mem_tree *t = &s->now.v[best].tree;
  int64_t gap = largest_gap(t), more = need->size - gap;
  if (more <= 0) more = MAX(1, -more - need->slack);
  for (int tries = 0; tries < 2 && !s->next.n; tries++, more = need->size) {
    if (!add_room(s, k, t, more)) return false;
    need->slack += more;
    need->cap = s->cap;
    if (!branch(s, best, need)) return false;
  }
  return s->next.n > 0;
}

/* Blocks that are there in a section and end at one time, where there are several, and something
 * comes behind. */
static void find_groups(struct mem_sweep *s, int section) {
  int *n = s->ends, bits = 0;
  memset(n, 0, (size_t)s->p->nsec * sizeof *n);
  memset(s->group, 0, (size_t)s->p->n * sizeof *s->group);
  for (int i = 0; i < s->p->n; i++)
    if (s->items[i].lo <= section && s->items[i].hi >= section) n[s->items[i].hi]++;
  for (int k = section; k < s->p->nsec - 1; k++) n[k] = n[k] > 1 ? ++bits : 0;
  for (int i = 0; i < s->p->n; i++) {
    int k = s->items[i].hi, bit = k >= section && k < s->p->nsec - 1 ? n[k] : 0;
    if (bit && bit <= 64) s->group[i] = (uint64_t)1 << (bit - 1);
  }
}

static void start_section(struct mem_sweep *s, int section) {
  for (int i = 0; i < s->now.n; i++) mem_release(&s->now.v[i].tree, s->items, section, NULL);
  find_groups(s, section);
}

/* Leaves out the nodes that are no longer used. */
static void compact(struct mem_sweep *s, struct mem_tree *t) {
  mem_tree_copy(&s->spare, t);
  struct mem_tree x = *t;
  *t = s->spare, s->spare = x;
}

/* Step k for all states: false when none is left. */
static bool step(struct mem_sweep *s, const int *order, int k, bool may_grow) {
  const struct mem_item *x = &s->items[order[k]];
  struct mem_need need = {order[k], x->size, s->slack[x->lo], s->cap, s->sums, 0};
  if (!k || s->items[order[k - 1]].lo != x->lo) start_section(s, x->lo);
  need.nsums = find_sums(s, order, k);
  s->next.n = 0;
  for (int i = 0; i < s->now.n; i++) {
    compact(s, &s->now.v[i].tree);
    if (!branch(s, i, &need)) return false;
  }
  if (!s->next.n && (!may_grow || !grow(s, k, &need))) return false;
  for (int i = 0; i < s->next.n; i++)
    s->trace[(size_t)k * (size_t)s->widest + (size_t)i] =
        (struct trace){s->next.v[i].way, s->next.v[i].parent};
  struct beam b = s->now;
  s->now = s->next, s->next = b;
  return s->now.n > 0;
}

/* ---- camps ---- */

/* The states before step k are kept. Where memory is out there is no camp. */
static void pitch(struct mem_sweep *s, int k) {
  struct camp *c = &s->camp[k / CAMP % CAMPS];
  size_t nodes = 0;
  c->n = 0;
  c->node.n = 0;
  for (int i = 0; i < s->now.n; i++) nodes += (size_t)s->now.v[i].tree.n;
  if (!VEC_RESERVE(&c->node, nodes)) return;
  c->step = k;
  c->n = MIN(s->now.n, CAMPED);
  for (int i = 0; i < c->n; i++) {
    const struct state *x = &s->now.v[i];
    c->state[i] = (struct camped){{.most = x->tree.n, .v = &c->node.v[c->node.n]}, x->cost};
    mem_tree_take(&c->state[i].tree, &x->tree);
    c->node.n += (size_t)x->tree.n;
  }
}

/* To the first camp from a step on that is not behind another: its step, -1: there is none. */
static int go_back(struct mem_sweep *s, const int *order, int from, int to) {
  int k = MAX(0, from) / CAMP * CAMP;
  const struct camp *c = &s->camp[k / CAMP % CAMPS];
  for (; k <= to && (!c->n || c->step != k); c = &s->camp[k / CAMP % CAMPS]) k += CAMP;
  if (k > to) return -1;
  s->now.n = c->n;
  for (int i = 0; i < c->n; i++) {
    mem_tree_take(&s->now.v[i].tree, &c->state[i].tree);
    s->now.v[i].cost = c->state[i].cost;
  }
  find_groups(s, s->items[order[k]].lo);
  return k;
}

/* Where no state goes on it is tried again from some steps before, further back each time, wider
 * and by chance: what went wrong is not far, and all that was found before it is kept. When that
 * does not help the arena grows, and there is no way back. False when that is no use either. */
static bool walk(struct mem_sweep *s, const int *order) {
  enum { TRIES = 6 };
  int tries = 0, stuck = 0, width = s->how.width;
  for (int k = 0; k < s->p->n; k++) {
    if (k > stuck + 2 * CAMP) tries = 0, s->how.width = MIN(width, s->how.width);
    if (k % CAMP == 0 && !s->ngrowth) pitch(s, k);
    bool may_grow = tries == TRIES || s->ngrowth;
    if (step(s, order, k, may_grow)) continue;
    if (may_grow || s->effort->out) return false;
    stuck = MAX(stuck, k);
    s->how.width = MIN(s->widest, 2 * width);
    s->how.seed += !s->how.seed;
    int back = go_back(s, order, stuck - (CAMP << tries++ / 2), k);
    if (back < 0) tries = TRIES;
    k = (back < 0 ? k : back) - 1;
  }
  return true;
}

static void leave_camps(struct mem_sweep *s) {
  for (int i = 0; i < CAMPS; i++) {
    s->camp[i].n = 0;
    VEC_FREE(&s->camp[i].node);
  }
}

static void set_up(struct mem_sweep *s) {
  s->how.width = MIN(s->how.width, s->widest);
  s->rng = s->how.seed * 0x9E3779B97F4A7C15u + 88172645463325252u;
  s->cap = s->how.cap;
  s->most = s->p->height / s->p->unit - 1;
  s->ngrowth = 0;
  for (int k = 0; k < s->p->nsec; k++) s->slack[k] = s->cap;
  for (int i = 0; i < s->p->n; i++)
    for (int k = s->items[i].lo; k <= s->items[i].hi; k++) s->slack[k] -= s->items[i].size;
  s->now.n = 1;
  mem_tree_init(&s->now.v[0].tree, s->how.cap, s->p->n);
}

enum mem_found mem_sweep(struct mem_sweep *s, const struct mem_sweep_how *how, int64_t *offset,
                         struct mem_effort *effort) {
  const struct mem_part *p = s->p;
  const int *order = s->order[how->back];
  s->how = *how;
  s->items = s->item[how->back];
  s->effort = effort;
  set_up(s);
  bool there = walk(s, order);
  leave_camps(s);
  if (!there) return MEM_LIMIT;
  for (int k = p->n - 1, i = 0; k >= 0; k--) {
    const struct trace *t = &s->trace[(size_t)k * (size_t)s->widest + (size_t)i];
    s->path[k] = t->way;
    i = t->parent;
  }
  struct mem_line line = {p->n, p->nsec, s->items, order, how->cap, s->growth, s->ngrowth};
  return mem_replay(&line, s->path, s->room, offset) ? MEM_FOUND : MEM_NOMEM;
}
