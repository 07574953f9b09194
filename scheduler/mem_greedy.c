/* Packings in several orders, then repair of the best.
 *
 * Each packing places the blocks one after another in the gap between blocks of overlapping lives
 * that are placed already: the lowest gap, or the tightest. No order is best for all graphs, and
 * all together take milliseconds; most graphs reach the bound at the first. What does not is
 * repaired: blocks that stick out at the top go to the front of the order, again and again. */
#include <stdlib.h>
#include <string.h>

#include "mem_work.h"

enum { REPAIRS = 8, MANY = 8192 };

struct entry {
  int i; /* item */
  int64_t key[3];
};
struct packer {
  struct mem_part *p;
  struct entry *order;
  int *placed; /* in ascending offset */
  int nplaced;
  struct entry *near; /* what is near one item, to sort it */
  int *way;
  /* Of graphs whose items live shortly: what is placed, by section; else NULL. */
  struct list {
    int first, n; /* link, or -1 */
  } * section;
  struct link {
    int i, next;
  } * link;
  int nlink;
  int64_t *offset, *load, enough;
};

static bool overlaps(const struct mem_item *x, const struct mem_item *y) {
  return x->lo <= y->hi && y->lo <= x->hi;
}

/* ---- one packing ---- */

static int by_key(const void *x, const void *y) {
  const struct entry *a = x, *b = y;
  for (int i = 0; i < 3; i++)
    if (a->key[i] != b->key[i]) return a->key[i] > b->key[i] ? -1 : 1;
  return a->i < b->i ? -1 : 1;
}

static void insert(struct packer *p, int i) {
  int k = 0, end = p->nplaced;
  while (k < end) {
    int middle = (k + end) / 2;
    if (p->offset[p->placed[middle]] > p->offset[i])
      end = middle;
    else
      k = middle + 1;
  }
  memmove(&p->placed[k + 1], &p->placed[k], (size_t)(p->nplaced++ - k) * sizeof *p->placed);
  p->placed[k] = i;
  const struct mem_item *x = &p->p->item[i];
  for (int s = x->lo; p->section && s <= x->hi; s++) {
    p->link[p->nlink] = (struct link){i, p->section[s].first};
    p->section[s] = (struct list){p->nlink++, p->section[s].n + 1};
  }
}

/* What is placed in the sections of an item, by offset; an item may come several times. */
static int find_near(struct packer *p, const struct mem_item *x) {
  int n = 0;
  for (int s = x->lo; s <= x->hi; s++)
    for (int k = p->section[s].first; k >= 0; k = p->link[k].next)
      p->near[n++] = (struct entry){p->link[k].i, {-p->offset[p->link[k].i]}};
  if (n > 1) qsort(p->near, (size_t)n, sizeof *p->near, by_key);
  return n;
}

/* By offset, what may be in the way of an item: in long graphs that is little for most items. */
static int find_in_the_way(struct packer *p, const struct mem_item *x, const int **way) {
  enum { SORTING = 8 }; /* times the work of passing by */
  int64_t n = 0;
  *way = p->placed;
  if (!p->section) return p->nplaced;
  for (int s = x->lo; s <= x->hi && n * SORTING < p->nplaced; s++) n += 1 + p->section[s].n;
  if (n * SORTING >= p->nplaced) return p->nplaced;
  int m = find_near(p, x);
  for (int k = 0; k < m; k++) p->way[k] = p->near[k].i;
  *way = p->way;
  return m;
}

/* Place one block: best_fit takes the tightest gap below the top, else the lowest one. */
static void place(struct packer *p, int i, bool best_fit) {
  const struct mem_item *x = &p->p->item[i];
  int64_t top = 0, spare = INT64_MAX, at = -1;
  const int *way;
  int n = find_in_the_way(p, x, &way);
  for (int k = 0; k < n; k++) {
    int y = way[k];
    if (!overlaps(x, &p->p->item[y])) continue;
    int64_t start = ROUND_UP(top, x->align), gap = p->offset[y] - start;
    if (gap >= x->size && gap - x->size < spare) {
      spare = gap - x->size, at = start;
      if (!best_fit) break;
    }
    top = MAX(top, p->offset[y] + p->p->item[y].size);
  }
  p->offset[i] = at >= 0 ? at : ROUND_UP(top, x->align);
  insert(p, i);
}

static int64_t pack(struct packer *p, bool best_fit) {
  p->nplaced = p->nlink = 0;
  for (int s = 0; p->section && s < p->p->nsec; s++) p->section[s] = (struct list){-1, 0};
  for (int k = 0; k < p->p->n; k++) {
    int i = p->order[k].i;
    p->offset[i] = p->p->item[i].fixed;
    if (p->offset[i] >= 0) insert(p, i);
  }
  for (int k = 0; k < p->p->n; k++)
    if (p->p->item[p->order[k].i].fixed < 0) place(p, p->order[k].i, best_fit);
  return mem_keep(p->p, p->offset);
}

/* ---- many blocks ---- */

/* In order of their starts only what lives at a start stands in the way: n times the most live
 * blocks, where other orders take n^2. */
static void place_live(struct packer *p, int i, int *live, int *nlive) {
  const struct mem_item *x = &p->p->item[i];
  int64_t top = 0;
  int n = 0, k;
  bool found = false;
  for (k = 0; k < *nlive; k++) {
    int j = live[k];
    if (p->p->item[j].hi < x->lo) continue;
    live[n++] = j;
    found = found || p->offset[j] - ROUND_UP(top, x->align) >= x->size;
    if (!found) top = MAX(top, p->offset[j] + p->p->item[j].size);
  }
  p->offset[i] = ROUND_UP(top, x->align);
  for (k = n; k > 0 && p->offset[live[k - 1]] > p->offset[i]; k--) live[k] = live[k - 1];
  live[k] = i;
  *nlive = n + 1;
}

static void pack_by_start(struct packer *p) {
  int nlive = 0;
  for (int k = 0; k < p->p->n; k++) place_live(p, p->order[k].i, p->placed, &nlive);
  mem_keep(p->p, p->offset);
}

static bool any_fixed(const struct mem_part *p) {
  for (int i = 0; i < p->n; i++)
    if (p->item[i].fixed >= 0) return true;
  return false;
}

/* ---- orders ---- */

/* W: life; A: area; S: size; T: the greatest load of a section that it lives in; B: earliest
 * start; E: latest end. */
static const char orders[][4] = {"SWA", "WSA", "ASW", "BSW", "ESW", "TWA", "TAW", "TSW", "WAT"};

static int64_t key_of(const struct packer *p, const struct mem_item *x, char what) {
  int64_t life = (int64_t)x->hi - x->lo + 1, area, load = 0;
  if (!fvm_mul(life, x->size, &area)) area = INT64_MAX;
  for (int k = x->lo; k <= x->hi && what == 'T'; k++) load = MAX(load, p->load[k]);
  switch (what) {
  case 'W':
    return life;
  case 'A':
    return area;
  case 'S':
    return x->size;
  case 'T':
    return load;
  case 'B':
    return -(int64_t)x->lo;
  default:
    return x->hi;
  }
}

static void sort(struct packer *p, const char *by) {
  for (int i = 0; i < p->p->n; i++) {
    p->order[i].i = i;
    for (int k = 0; k < 3; k++) p->order[i].key[k] = key_of(p, &p->p->item[i], by[k]);
  }
  qsort(p->order, (size_t)p->p->n, sizeof *p->order, by_key);
}

/* Move the blocks that end at the height to the front. */
static void promote(struct packer *p, int64_t height) {
  int front = 0;
  for (int k = 0; k < p->p->n; k++) {
    struct entry e = p->order[k];
    if (p->offset[e.i] * p->p->unit + p->p->item[e.i].bytes < height) continue;
    memmove(&p->order[front + 1], &p->order[front], (size_t)(k - front) * sizeof e);
    p->order[front++] = e;
  }
}

static void pack_all(struct packer *p) {
  if (p->p->n > MANY && !any_fixed(p->p)) {
    sort(p, "BSW");
    pack_by_start(p);
    sort(p, "BWS");
    pack_by_start(p);
    return;
  }
  for (size_t by = 0; by < COUNT(orders); by++)
    for (int fit = 0; fit < 2; fit++) {
      sort(p, orders[by]);
      pack(p, fit);
      if (p->p->height <= p->enough) return;
    }
  /* n^2 a packing: large graphs get fewer of them. */
  int64_t n = p->p->n, repairs = MIN((int64_t)REPAIRS, ((int64_t)1 << 26) / (n * n));
  for (size_t by = 0; by < COUNT(orders); by++) {
    sort(p, orders[by]);
    for (int64_t k = 0; k < repairs && p->p->height > p->enough; k++) promote(p, pack(p, false));
  }
}

/* Lists of what is placed, if they are short. False when memory is out. */
static bool open_lists(struct packer *p, struct arena *a) {
  enum { SHORT = 8 }; /* sections an item */
  int64_t sum = 0;
  for (int i = 0; i < p->p->n; i++) sum += p->p->item[i].hi - p->p->item[i].lo + 1;
  if (sum > (int64_t)SHORT * p->p->n) return true;
  p->section = ARENA_NEW(a, struct list, p->p->nsec);
  p->link = ARENA_NEW(a, struct link, sum);
  return p->section && p->link;
}

bool mem_greedy(struct mem_part *part, int64_t enough, struct arena *a) {
  struct packer p = {.p = part, .enough = enough};
  p.order = ARENA_NEW(a, struct entry, part->n);
  p.placed = ARENA_NEW(a, int, part->n);
  p.offset = ARENA_NEW(a, int64_t, part->n);
  p.load = ARENA_NEW(a, int64_t, part->nsec);
  p.near = ARENA_NEW(a, struct entry, part->n);
  p.way = ARENA_NEW(a, int, part->n);
  if (!p.order || !p.placed || !p.offset || !p.load || !p.near || !p.way || !open_lists(&p, a))
    return false;
  for (int i = 0; i < part->n && part->n <= MANY; i++)
    for (int k = part->item[i].lo; k <= part->item[i].hi; k++) p.load[k] += part->item[i].size;
  pack_all(&p);
  return true;
}
