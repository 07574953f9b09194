/* Exact search for a packing within a capacity: depth first, from the bottom up.
 *
 * Any packing can be pushed down until each block stands on the ground or on another one, so it is
 * enough to place blocks in ascending (offset, index), each at the lowest place above those of its
 * neighbours in time that are placed: `at`. A node of the search picks the next block. What ends a
 * branch early:
 *   dominance  a block above the top of one that could still be placed lower, wherever: that one
 *              would fall down
 *   floors     in a section all that is not placed must fit between the lowest place for any of it
 *              and the capacity
 *   support    who was passed over must be lifted by a neighbour that is placed later, and soon
 *              enough to be in the way
 *   twins      of blocks with equal lives and sizes the first goes first
 *   split      where no block that is left crosses, the sides are independent: each is searched by
 *              itself, and if one fails the other need not be tried
 * (after Moffitt's and Korf's rectangle packing and MiniMalloc, ASPLOS 2023). */
#include <stdlib.h>
#include <string.h>

#include "mem_work.h"

#define NOWHERE INT64_MAX

enum { UNDO_PLACE, UNDO_AT, UNDO_FLOOR };
struct undo {
  int what;
  int i;
  int64_t old;
};
struct mem_search {
  const struct mem_part *p;
  int n, nsec, words;
  unsigned off;
  int64_t cap; /* in units, the sections' */
  /* By rank in the order: */
  struct rank {
    int64_t size, align, fixed, most;
    int lo, hi, item, twin; /* twin: the one before it that is alike, -1: none */
  } * r;
  int64_t *at;
  uint64_t *near, *in;    /* rows of bits: neighbours by rank; members by section */
  uint64_t *left;         /* not placed */
  int64_t *total, *floor; /* by section: sizes left; lowest place of any that is left */
  int *cross;             /* blocks left that live in this section and the next one */
  uint64_t *dirty;        /* sections whose floor must be found anew */
  VEC(struct undo) undo;
  bool split; /* the last block placed left a gap in time */
  bool fixed; /* some block is */
  int64_t nodes, limit;
  struct mem_effort *effort;
  struct key {
    int64_t key[3];
    int item;
  } * key;
};

/* i: each bit of a word, the w-th of a row; takes the bits away. */
#define FOR_BITS(i, w, bits)                                                                       \
  for (; (bits) && ((i) = (w)*64 + __builtin_ctzll(bits), true); (bits) &= (bits)-1)

static void set_bit(uint64_t *b, int i) { b[i / 64] |= (uint64_t)1 << i % 64; }
static void clear_bit(uint64_t *b, int i) { b[i / 64] &= ~((uint64_t)1 << i % 64); }
static bool has_bit(const uint64_t *b, int i) { return b[i / 64] >> i % 64 & 1; }
static uint64_t *near_of(const struct mem_search *s, int i) {
  return s->near + (size_t)i * (size_t)s->words;
}
static uint64_t *members(const struct mem_search *s, int section) {
  return s->in + (size_t)section * (size_t)s->words;
}

struct mem_search *mem_search_new(const struct mem_part *p, struct arena *a) {
  struct mem_search *s = ARENA_NEW(a, struct mem_search, 1);
  if (!s) return NULL;
  int words = (p->n + 63) / 64;
  *s = (struct mem_search){.p = p, .n = p->n, .nsec = p->nsec, .words = words};
  s->r = ARENA_NEW(a, struct rank, p->n);
  s->key = ARENA_NEW(a, struct key, p->n);
  s->at = ARENA_NEW(a, int64_t, p->n);
  s->near = ARENA_NEW(a, uint64_t, p->n * words);
  s->in = ARENA_NEW(a, uint64_t, p->nsec * words);
  s->left = ARENA_NEW(a, uint64_t, words);
  s->total = ARENA_NEW(a, int64_t, p->nsec);
  s->floor = ARENA_NEW(a, int64_t, p->nsec);
  s->cross = ARENA_NEW(a, int, p->nsec);
  s->dirty = ARENA_NEW(a, uint64_t, p->nsec / 64 + 1);
  bool ok = s->r && s->key && s->at && s->near && s->in && s->left && s->total && s->floor &&
            s->cross && s->dirty;
  return ok ? s : NULL;
}

/* ---- the order ---- */

static int by_key(const void *x, const void *y) {
  const struct key *a = x, *b = y;
  for (int i = 0; i < 3; i++)
    if (a->key[i] != b->key[i]) return a->key[i] > b->key[i] ? -1 : 1;
  return a->item < b->item ? -1 : 1;
}

static int64_t random_part(uint64_t *seed, int64_t x) {
  *seed = *seed * 6364136223846793005u + 1442695040888963407u;
  double factor = 0.7 + 0.6 * (double)(*seed >> 40) / (double)(1 << 24);
  return (int64_t)((double)x * factor);
}

/* W: life; A: area; T: the greatest load of a section that it lives in; all descending. */
static void rank_items(struct mem_search *s, enum mem_order order, uint64_t seed) {
  static const char letters[MEM_ORDERS][4] = {"WAT", "TAW", "TWA"};
  for (int i = 0; i < s->n; i++) {
    const struct mem_item *x = &s->p->item[i];
    int64_t w = x->hi - x->lo + 1, area = 0, load = 0;
    if (!fvm_mul(w, x->size, &area)) area = INT64_MAX / 2;
    for (int k = x->lo; k <= x->hi; k++) load = MAX(load, s->total[k]);
    if (seed) {
      w = random_part(&seed, w * 1024);
      area = random_part(&seed, area);
      load = random_part(&seed, load);
    }
    s->key[i].item = i;
    for (int k = 0; k < 3; k++) {
      char c = letters[order][k];
      s->key[i].key[k] = c == 'W' ? w : c == 'A' ? area : load;
    }
  }
  qsort(s->key, (size_t)s->n, sizeof *s->key, by_key);
}

static bool alike(const struct rank *x, const struct rank *y) {
  return x->lo == y->lo && x->hi == y->hi && x->size == y->size && x->align == y->align &&
         x->most == y->most && x->fixed < 0 && y->fixed < 0;
}

/* All that is left stands on the ground or on what is fixed. Twins: by the last one before, so that
 * a chain of them is kept in order. */
static bool set_up(struct mem_search *s, int64_t cap, enum mem_order order, uint64_t seed) {
  memset(s->total, 0, (size_t)s->nsec * sizeof *s->total);
  memset(s->cross, 0, (size_t)s->nsec * sizeof *s->cross);
  memset(s->in, 0, (size_t)s->nsec * (size_t)s->words * sizeof *s->in);
  memset(s->near, 0, (size_t)s->n * (size_t)s->words * sizeof *s->near);
  memset(s->left, 0, (size_t)s->words * sizeof *s->left);
  s->cap = CEIL_DIV(cap, s->p->unit);
  for (int i = 0; i < s->n; i++)
    for (int k = s->p->item[i].lo; k <= s->p->item[i].hi; k++) s->total[k] += s->p->item[i].size;
  for (int k = 0; k < s->nsec; k++)
    if (s->total[k] > s->cap) return false;
  rank_items(s, order, seed);
  for (int i = 0; i < s->n; i++) {
    const struct mem_item *x = &s->p->item[s->key[i].item];
    s->r[i] = (struct rank){x->size, x->align, x->fixed,       mem_most(s->p, x, cap),
                            x->lo,   x->hi,    s->key[i].item, -1};
    s->at[i] = MAX(x->fixed, 0);
    if (s->r[i].most < s->at[i]) return false;
    set_bit(s->left, i);
    for (int k = x->lo; k <= x->hi; k++) {
      set_bit(members(s, k), i);
      if (k < x->hi) s->cross[k]++;
    }
  }
  for (int i = 0; i < s->n; i++) {
    for (int k = s->r[i].lo; k <= s->r[i].hi; k++)
      for (int w = 0; w < s->words; w++) near_of(s, i)[w] |= members(s, k)[w];
    clear_bit(near_of(s, i), i);
    for (int j = 0; j < i; j++)
      if (alike(&s->r[i], &s->r[j])) s->r[i].twin = j;
  }
  return true;
}

/* ---- fixed blocks ---- */

/* The lowest place from `from` on that hits no fixed neighbour. */
static int64_t clear_place(const struct mem_search *s, int i, int64_t from) {
  const struct rank *r = &s->r[i];
  if (r->fixed >= 0) return from <= r->fixed ? r->fixed : NOWHERE;
  int64_t at = ROUND_UP(from, r->align);
  for (bool moved = s->fixed; moved;) {
    moved = false;
    for (int w = 0, j; w < s->words; w++) {
      uint64_t bits = near_of(s, i)[w];
      FOR_BITS(j, w, bits) {
        const struct rank *f = &s->r[j];
        if (f->fixed < 0 || at >= f->fixed + f->size || f->fixed >= at + r->size) continue;
        at = ROUND_UP(f->fixed + f->size, r->align);
        moved = true;
      }
    }
  }
  return at;
}

/* Lift all above what is fixed; false when one does not fit. */
static bool clear_all(struct mem_search *s) {
  bool fits = true;
  s->fixed = false;
  for (int i = 0; i < s->n; i++) s->fixed |= s->r[i].fixed >= 0;
  for (int i = 0; i < s->n && s->fixed; i++) {
    s->at[i] = clear_place(s, i, 0);
    fits &= s->at[i] <= s->r[i].most;
  }
  return fits;
}

/* ---- placing ---- */

/* There is room: explore made it. */
static void note(struct mem_search *s, int what, int i, int64_t old) {
  s->undo.v[s->undo.n++] = (struct undo){what, i, old};
}

static void find_floor(struct mem_search *s, int section) {
  const uint64_t *in = members(s, section);
  int64_t low = NOWHERE;
  for (int w = 0, i; w < s->words; w++) {
    uint64_t bits = in[w] & s->left[w];
    FOR_BITS(i, w, bits) low = MIN(low, s->at[i]);
  }
  s->floor[section] = low;
}

static void mark_dirty(struct mem_search *s, int lo, int hi, int64_t old) {
  for (int k = lo; k <= hi; k++)
    if (s->floor[k] == old) set_bit(s->dirty, k);
}

/* New floors of what is marked; false when one is too high for what is left above it. */
static bool settle_floors(struct mem_search *s, bool fits) {
  for (int w = 0, k; w <= s->nsec / 64; w++) {
    uint64_t bits = fits ? s->dirty[w] : 0;
    FOR_BITS(k, w, bits) {
      note(s, UNDO_FLOOR, k, s->floor[k]);
      find_floor(s, k);
      if (s->total[k] && !(s->off & MEM_NO_FLOORS)) fits = s->floor[k] <= s->cap - s->total[k];
    }
    s->dirty[w] = 0;
  }
  return fits;
}

static bool lift(struct mem_search *s, int i, int64_t top) {
  int64_t old = s->at[i];
  if (old >= top) return true;
  note(s, UNDO_AT, i, old);
  s->at[i] = clear_place(s, i, top);
  mark_dirty(s, s->r[i].lo, s->r[i].hi, old);
  return s->at[i] <= s->r[i].most;
}

/* Place i where it can go; false when that leaves no room for others. */
static bool place(struct mem_search *s, int i) {
  const struct rank *r = &s->r[i];
  int64_t top = s->at[i] + r->size;
  bool fits = true;
  note(s, UNDO_PLACE, i, 0);
  clear_bit(s->left, i);
  s->split = false;
  for (int k = r->lo; k <= r->hi; k++) s->total[k] -= r->size;
  for (int k = r->lo; k < r->hi; k++) s->split |= --s->cross[k] == 0;
  mark_dirty(s, r->lo, r->hi, s->at[i]);
  for (int w = 0, j; w < s->words; w++) {
    uint64_t bits = fits ? near_of(s, i)[w] & s->left[w] : 0;
    FOR_BITS(j, w, bits) fits = fits && lift(s, j, top);
  }
  return settle_floors(s, fits);
}

static void take_back(struct mem_search *s, size_t mark) {
  while (s->undo.n > mark) {
    const struct undo *u = &s->undo.v[--s->undo.n];
    const struct rank *r = &s->r[u->i];
    if (u->what == UNDO_AT) s->at[u->i] = u->old;
    if (u->what == UNDO_FLOOR) s->floor[u->i] = u->old;
    if (u->what != UNDO_PLACE) continue;
    set_bit(s->left, u->i);
    for (int k = r->lo; k <= r->hi; k++) s->total[k] += r->size;
    for (int k = r->lo; k < r->hi; k++) s->cross[k]++;
  }
}

/* ---- search ---- */

/* Sections from a to b, the blocks left in them, and the last block placed. */
struct group {
  int a, b;
  const uint64_t *in;
  int64_t offset;
  int rank;
};

static bool before(int64_t at, int i, int64_t bt, int j) { return at < bt || (at == bt && i < j); }

/* The next block to try after (offset, rank), -1: none. */
static int next_block(const struct mem_search *s, const struct group *g, int64_t offset, int rank) {
  int64_t under = NOWHERE, at = NOWHERE;
  int best = -1;
  for (int w = 0, i; w < s->words; w++) {
    uint64_t bits = s->left[w] & g->in[w];
    FOR_BITS(i, w, bits) {
      under = MIN(under, s->at[i] + s->r[i].size);
      if (s->at[i] < at && before(offset, rank, s->at[i], i)) at = s->at[i], best = i;
    }
  }
  return at < under || (s->off & MEM_NO_DOMINANCE) ? best : -1;
}

/* Whether all that is left fits above offset, where that is above the floor. */
static bool fits_above(const struct mem_search *s, const struct group *g, int64_t offset) {
  if (s->off & MEM_NO_FLOORS) return true;
  int64_t most = s->cap - offset;
  for (int k = g->a; k <= g->b; k++)
    if (s->total[k] > most && s->floor[k] < offset) return false;
  return true;
}

/* Who was passed over at (offset, rank) needs a neighbour that will stand in its way. */
static bool supported(const struct mem_search *s, int i, int64_t offset) {
  int64_t top = s->at[i] + s->r[i].size;
  for (int w = 0, j; w < s->words; w++) {
    uint64_t bits = near_of(s, i)[w] & s->left[w];
    FOR_BITS(j, w, bits)
    if (MAX(s->at[j], offset) < top) return true;
  }
  return false;
}
static bool all_supported(const struct mem_search *s, const struct group *g) {
  if (s->off & MEM_NO_SUPPORT) return true;
  for (int w = 0, i; w < s->words; w++) {
    uint64_t bits = s->left[w] & g->in[w];
    FOR_BITS(i, w, bits)
    if (before(s->at[i], i, g->offset, g->rank) && !supported(s, i, g->offset)) return false;
  }
  return true;
}

static enum mem_found explore(struct mem_search *s, const struct group *g);

/* Groups of sections that no block left connects, one after the other. */
static enum mem_found explore_groups(struct mem_search *s, const struct group *g) {
  for (int a = g->a, b; a <= g->b; a = b + 1) {
    uint64_t in[MEM_MAX_SEARCH / 64] = {0};
    uint64_t any = 0;
    for (b = a; b < g->b && s->cross[b]; b++) continue;
    for (int k = a; k <= b; k++)
      for (int w = 0; w < s->words; w++) any |= in[w] |= members(s, k)[w] & s->left[w];
    struct group part = {a, b, in, g->offset, g->rank};
    enum mem_found f = any ? explore(s, &part) : MEM_FOUND;
    if (f != MEM_FOUND) return f;
  }
  return MEM_FOUND;
}

static bool is_fixed_passed(const struct mem_search *s, int i, int64_t offset) {
  return s->r[i].fixed >= 0 && s->at[i] < offset;
}

static enum mem_found explore(struct mem_search *s, const struct group *g) {
  bool any = false;
  for (int w = 0; w < s->words; w++) any |= (s->left[w] & g->in[w]) != 0;
  if (!any) return MEM_FOUND;
  if (!all_supported(s, g)) return MEM_NONE;
  int64_t offset = g->offset;
  for (int i = g->rank;;) {
    i = next_block(s, g, offset, i);
    if (i < 0) return MEM_NONE;
    offset = s->at[i];
    if (!fits_above(s, g, offset)) return MEM_NONE;
    if (s->r[i].twin >= 0 && has_bit(s->left, s->r[i].twin) && !(s->off & MEM_NO_TWINS)) continue;
    if (++s->nodes > s->limit || !mem_spend(s->effort, 1)) return MEM_LIMIT;
    size_t mark = s->undo.n;
    if (!VEC_RESERVE(&s->undo, (size_t)s->n + (size_t)s->nsec + 1)) return MEM_NOMEM;
    if (place(s, i)) {
      struct group next = {g->a, g->b, g->in, offset, i};
      bool split = s->split && !(s->off & MEM_NO_SPLIT);
      enum mem_found f = split ? explore_groups(s, &next) : explore(s, &next);
      if (f != MEM_NONE) return f;
    }
    take_back(s, mark);
    if (is_fixed_passed(s, i, offset + 1)) return MEM_NONE;
  }
}

enum mem_found mem_search(struct mem_search *s, int64_t cap, enum mem_order order, uint64_t seed,
                          int64_t limit, unsigned off, int64_t *offset, struct mem_effort *e) {
  s->effort = e;
  s->off = off;
  s->limit = limit;
  s->nodes = 0;
  s->undo.n = 0;
  enum mem_found f = MEM_NONE;
  uint64_t all[MEM_MAX_SEARCH / 64];
  if (set_up(s, cap, order, seed) && clear_all(s)) {
    memcpy(all, s->left, (size_t)s->words * sizeof *all);
    for (int k = 0; k < s->nsec; k++) find_floor(s, k);
    struct group g = {0, s->nsec - 1, all, -1, -1};
    f = explore_groups(s, &g);
    for (int i = 0; f == MEM_FOUND && i < s->n; i++) offset[s->r[i].item] = s->at[i];
  }
  VEC_FREE(&s->undo);
  return f;
}
