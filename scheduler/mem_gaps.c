/* The gaps of a tree, and which of them can stand side by side: see mem_sweep.h.
 *
 * Many sets of gaps are asked about for one tree, so what matters of it is kept: the nodes that
 * have gaps below, and which ones. A set leaves of a node nothing (empty), some gaps (partial), or
 * takes all that is below it (full). */
#include "mem_sweep.h"

/* ---- the gaps ---- */

static int add_branch(struct mem_gaps *g, struct mem_branch b) {
  g->branch[g->nbranch] = b;
  return g->nbranch++;
}

static int find(const struct mem_tree *t, int i, bool open, int place, struct mem_gaps *g) {
  const struct mem_node *x = &t->v[i];
  struct mem_branch b = {
      .first = MEM_NIL, .next = MEM_NIL, .place = place, .line = x->kind == MEM_LINE, .all = true};
  if (x->kind == MEM_LEAF) {
    if (!x->gap || g->n == MEM_GAPS) return MEM_NIL;
    b.set = (uint64_t)1 << g->n;
    g->v[g->n++] = (struct mem_gap){i, open, x->loose, x->size};
    return add_branch(g, b);
  }
  for (int c = x->first, last = MEM_NIL; c != MEM_NIL; c = t->v[c].next, b.n++) {
    int y = find(t, c, x->open, b.n, g);
    b.all &= y != MEM_NIL && g->branch[y].all;
    if (y == MEM_NIL) continue;
    b.set |= g->branch[y].set;
    *(last == MEM_NIL ? &b.first : &g->branch[last].next) = y;
    last = y;
  }
  return b.set ? add_branch(g, b) : MEM_NIL;
}

void mem_find_gaps(const struct mem_tree *t, struct mem_gaps *g) {
  g->n = g->nbranch = 0;
  g->root = find(t, t->root, false, 0, g);
}

/* ---- side by side ---- */

enum fullness { EMPTY, PARTIAL, FULL };
static enum fullness fullness(const struct mem_branch *b, uint64_t set) {
  if (!(b->set & set)) return EMPTY;
  return b->all && !(b->set & ~set) ? FULL : PARTIAL;
}

static bool can_end_full(const struct mem_gaps *g, int i, uint64_t set);

/* At most so many children are partial, and each can end full. */
static bool partials_can(const struct mem_gaps *g, int i, uint64_t set, int most) {
  for (int c = g->branch[i].first; c != MEM_NIL; c = g->branch[c].next)
    if (fullness(&g->branch[c], set) == PARTIAL && (!most-- || !can_end_full(g, c, set)))
      return false;
  return true;
}

/* Of a line: the children that are not empty. */
struct run {
  int from, to;     /* places */
  int n, partials;  /* how many */
  bool first, last; /* these are partial */
};
static struct run find_run(const struct mem_gaps *g, int i, uint64_t set) {
  struct run r = {0};
  for (int c = g->branch[i].first; c != MEM_NIL; c = g->branch[c].next) {
    enum fullness f = fullness(&g->branch[c], set);
    if (f == EMPTY) continue;
    r.last = f == PARTIAL;
    r.partials += f == PARTIAL;
    r.to = g->branch[c].place;
    if (!r.n++) r.from = r.to, r.first = r.last;
  }
  return r;
}

/* Whether the set's gaps of a partial node can all be at one end of it. */
static bool can_end_full(const struct mem_gaps *g, int i, uint64_t set) {
  const struct mem_branch *b = &g->branch[i];
  if (!b->line) return partials_can(g, i, set, 1);
  struct run r = find_run(g, i, set);
  bool left = r.from == 0 && r.partials == r.last;
  bool right = r.to == b->n - 1 && r.partials == r.first;
  return r.to - r.from == r.n - 1 && (left || right) && partials_can(g, i, set, 1);
}

static bool middle_can_fill(const struct mem_gaps *g, int i, uint64_t set) {
  struct run r = find_run(g, i, set);
  int ends = r.n > 1 ? r.first + r.last : r.first;
  return r.to - r.from == r.n - 1 && r.partials == ends && partials_can(g, i, set, 2);
}

bool mem_can_join(const struct mem_gaps *g, uint64_t set) {
  int top = g->root;
  for (int c = g->branch[top].first; c != MEM_NIL;) {
    bool in = !(set & ~g->branch[c].set);
    if (in) top = c;
    c = in ? g->branch[c].first : g->branch[c].next;
  }
  if (fullness(&g->branch[top], set) == FULL) return true;
  return g->branch[top].line ? middle_can_fill(g, top, set) : partials_can(g, top, set, 2);
}
