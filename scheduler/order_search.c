/* Exact search over the sets of units that are done. Contract: order_net.h.
 *
 * What is live depends on the set alone, so each set is visited once. The search keeps below a
 * limit; a set with a move that goes beyond is put aside with what that move needs. When all is
 * visited, the limit rises to the least that any needs: no order stays below that, which is the
 * proof. The first limit is the bound known from elsewhere.
 *
 *   eager   a unit within the limit that rises by nothing is run at once, nothing else is tried:
 *           as the more is done, the less other units add, no order loses by that.
 *   burst   the same for several units that lead to no more than was live (order_burst.c).
 *
 * Some nets are hard from the start and easy from the end; so the net is searched backwards as
 * well, in turns. */
#include <stdlib.h>
#include <string.h>

#include "order_net.h"

/* Memory: at most this many sets. */
enum { MAX_STATES = 1 << 20, SLICE = 1 << 16 };

struct state {
  int64_t live;
  int parent, unit; /* the set without this unit */
  int depth;        /* units in it */
};
struct aside {
  int64_t needs;
  int state;
};
struct move {
  struct order_move to;
  int unit;
};
struct search {
  const struct order_net *n;
  struct order_walk w;
  int words;
  uint64_t *now;      /* the set that the walk stands at */
  VEC(uint64_t) bits; /* rows of `words`, by state */
  VEC(struct state) state;
  VEC(int) table; /* hash table of states, 0: free, else number + 1 */
  VEC(int) stack;
  VEC(struct aside) heap;
  struct move *move;
  int *path;
  struct order_burst *burst;
  int64_t limit, below; /* the limit is below `below`, or all is proved */
  int goal;             /* state in which all are done; -1: not found */
  bool done;
};

static uint64_t *bits(const struct search *s, int state) {
  return &s->bits.v[(size_t)state * (size_t)s->words];
}

/* ---- sets ---- */

static size_t slot(const struct search *s, const uint64_t *set) {
  size_t mask = s->table.n - 1, bytes = (size_t)s->words * sizeof *set;
  size_t i = fvm_hash(set, bytes, 0) & mask;
  while (s->table.v[i] && memcmp(bits(s, s->table.v[i] - 1), set, bytes) != 0) i = (i + 1) & mask;
  return i;
}

static bool grow_table(struct search *s) {
  size_t n = s->table.n ? 2 * s->table.n : 1024;
  VEC_FREE(&s->table);
  if (!VEC_RESERVE(&s->table, n)) return false;
  memset(s->table.v, 0, n * sizeof *s->table.v);
  s->table.n = n;
  for (size_t i = 0; i < s->state.n; i++) s->table.v[slot(s, bits(s, (int)i))] = (int)i + 1;
  return true;
}

/* The number of a new state; -1: known already; -2: memory is out. */
static int add_state(struct search *s, const uint64_t *set, struct state state) {
  if (2 * (s->state.n + 1) > s->table.n && !grow_table(s)) return -2;
  size_t at = slot(s, set);
  s->w.ticks += s->words;
  if (s->table.v[at]) return -1;
  if (!VEC_RESERVE(&s->bits, (size_t)s->words) || !VEC_PUSH(&s->state, state)) return -2;
  memcpy(&s->bits.v[s->bits.n], set, (size_t)s->words * sizeof *set);
  s->bits.n += (size_t)s->words;
  s->table.v[at] = (int)s->state.n;
  return (int)s->state.n - 1;
}

static void flip(struct search *s, int unit) { s->now[unit / 64] ^= (uint64_t)1 << (unit % 64); }

/* Let the walk stand at a state. */
static void load(struct search *s, int state) {
  order_walk_to(&s->w, s->now, bits(s, state));
  s->w.live = s->state.v[state].live;
}

/* ---- put aside ---- */

static bool less(const struct aside *x, const struct aside *y) {
  return x->needs != y->needs ? x->needs < y->needs : x->state > y->state;
}

static bool put_aside(struct search *s, int64_t needs, int state) {
  if (needs >= s->below) return true;
  return HEAP_PUSH(&s->heap, ((struct aside){needs, state}), less);
}

/* Go on with what the least higher limit allows; false when there is none below. */
static bool raise_limit(struct search *s, bool *ok) {
  if (!s->heap.n) return false;
  s->limit = s->heap.v[0].needs;
  while (s->heap.n && s->heap.v[0].needs <= s->limit && *ok)
    *ok = VEC_PUSH(&s->stack, HEAP_POP(&s->heap, less).state);
  return true;
}

/* ---- moves ---- */

/* The state that follows by a unit, to be visited; `live` after it. */
static bool follow(struct search *s, int from, int unit, int64_t live) {
  flip(s, unit);
  int id = add_state(s, s->now, (struct state){live, from, unit, s->state.v[from].depth + 1});
  flip(s, unit);
  return id == -1 || (id >= 0 && VEC_PUSH(&s->stack, id));
}

/* States on the way are known then, but not visited: none is better than where it leads. One that
 * is known already has been followed, or led to what was. */
static bool follow_burst(struct search *s, int from, int n) {
  int i = 0, id = from;
  for (; i < n && id >= 0; i++) {
    flip(s, s->path[i]);
    struct order_move m = order_walk_try(&s->w, s->path[i]);
    order_walk_go(&s->w, s->path[i]);
    s->w.live = m.after;
    id = add_state(s, s->now, (struct state){m.after, id, s->path[i], s->state.v[id].depth + 1});
  }
  while (--i >= 0) {
    order_walk_back(&s->w, s->path[i]);
    flip(s, s->path[i]);
  }
  return id == -1 || (id >= 0 && VEC_PUSH(&s->stack, id));
}

static int by_promise(const void *x, const void *y) {
  const struct move *a = x, *b = y;
  if (a->to.after != b->to.after) return a->to.after > b->to.after ? -1 : 1;
  if (a->to.hill != b->to.hill) return a->to.hill > b->to.hill ? -1 : 1;
  return b->unit - a->unit;
}

/* Moves within the limit; *forced: the last one is run without a choice. */
static int find_moves(struct search *s, int64_t *needs, bool *forced) {
  int n = 0;
  *needs = INT64_MAX;
  *forced = false;
  for (int u = 0; u < s->n->nunit && !*forced; u++) {
    if (s->w.waits[u] != 0 || order_bit(s->now, u)) continue;
    struct order_move m = order_walk_try(&s->w, u);
    if (m.hill > s->limit) {
      *needs = MIN(*needs, m.hill);
    } else {
      *forced = m.after <= s->w.live;
      s->move[n++] = (struct move){m, u};
    }
  }
  return n;
}

static bool visit(struct search *s, int state) {
  int64_t needs;
  bool forced, ok = true;
  load(s, state);
  int n = find_moves(s, &needs, &forced);
  if (forced) return follow(s, state, s->move[n - 1].unit, s->move[n - 1].to.after);
  if (n) order_burst_start(s->burst, &s->w, s->now);
  for (int i = 0; i < n; i++) {
    const struct move *m = &s->move[i];
    int length = order_burst_find(s->burst, &s->w, s->now, s->limit, m->unit, m->to.after, s->path);
    if (length) return follow_burst(s, state, length);
  }
  if (n) qsort(s->move, (size_t)n, sizeof *s->move, by_promise);
  for (int i = 0; i < n && ok; i++) ok = follow(s, state, s->move[i].unit, s->move[i].to.after);
  return ok && put_aside(s, needs, state);
}

/* ---- a search ---- */

static bool search_open(struct search *s, const struct order_net *n, const struct order_aim *aim,
                        struct arena *a) {
  *s = (struct search){.n = n, .limit = aim->enough, .below = aim->below, .goal = -1};
  s->words = (n->nunit + 63) / 64;
  s->now = ARENA_NEW(a, uint64_t, s->words);
  s->move = ARENA_NEW(a, struct move, n->nunit);
  s->path = ARENA_NEW(a, int, n->nunit);
  s->burst = order_burst_new(n, a);
  if (!s->now || !s->move || !s->path || !s->burst || !order_walk_new(&s->w, n, a)) return false;
  int id = add_state(s, s->now, (struct state){s->w.live, -1, -1, 0});
  return id == 0 && VEC_PUSH(&s->stack, id);
}

static void search_close(struct search *s) {
  VEC_FREE(&s->bits);
  VEC_FREE(&s->state);
  VEC_FREE(&s->table);
  VEC_FREE(&s->stack);
  VEC_FREE(&s->heap);
}

/* Until the work is done, or so much of it. */
static bool search_run(struct search *s, int64_t ticks) {
  bool ok = true;
  for (int64_t end = s->w.ticks + ticks; ok && !s->done && s->w.ticks < end;) {
    if (!s->stack.n) {
      s->done = !raise_limit(s, &ok);
      continue;
    }
    int state = s->stack.v[--s->stack.n];
    if (s->state.v[state].depth == s->n->nunit) {
      s->goal = state;
      s->done = true;
    } else {
      ok = visit(s, state);
    }
    if (s->state.n >= MAX_STATES) break;
  }
  return ok;
}

/* What is proved: no order stays below it. */
static int64_t proved(const struct search *s) {
  return s->done && s->goal < 0 ? s->below : s->limit;
}

static void take(struct search *s, bool backwards, int *unit, int64_t *peak) {
  int n = s->n->nunit, state = s->goal;
  for (int k = n - 1; k >= 0; k--, state = s->state.v[state].parent)
    s->path[k] = s->state.v[state].unit;
  *peak = order_walk_peak(&s->w, s->path, NULL);
  for (int k = 0; k < n; k++) unit[k] = backwards ? n - 1 - s->path[n - 1 - k] : s->path[k];
}

bool order_search(const struct order_net *n, const struct order_aim *aim, int *unit, int64_t *peak,
                  int64_t *bound, struct arena *a, int64_t *ticks) {
  struct order_net back;
  struct search s[2] = {0};
  bool full = false, done = false;
  bool ok = order_net_reverse(&back, n, a) && search_open(&s[0], n, aim, a) &&
            search_open(&s[1], &back, aim, a);
  int64_t used = 0;
  for (int k = 0; ok && !done && !full && used < aim->max_ticks; k ^= 1) {
    ok = search_run(&s[k], MIN((int64_t)SLICE, aim->max_ticks - used));
    *bound = MAX(*bound, proved(&s[k]));
    if (s[k].goal >= 0) take(&s[k], k, unit, peak);
    done = s[k].done || *bound >= aim->below;
    full = s[k].state.n >= MAX_STATES;
    used = s[0].w.ticks + s[1].w.ticks;
  }
  *ticks += used;
  search_close(&s[0]);
  search_close(&s[1]);
  return ok;
}
