/* Offsets for blocks with lives: greedy packings in several orders, then repair of the best.
 *
 * Each packing places the blocks one after another in the gap between blocks of overlapping lives
 * that are placed already: the lowest gap, or the tightest. No order is best for all graphs, and
 * all together take milliseconds; most graphs reach the bound at the first. What does not is
 * repaired: blocks that stick out at the top go to the front of the order, again and again. */
#include "mem.h"

#include <stdlib.h>
#include <string.h>

enum { REPAIRS = 200 };

struct item {
  int id; /* index of the block */
  int64_t key[2];
};

struct packer {
  struct mem_block *block;
  int n;
  struct item *order;
  int *placed; /* in ascending offset */
  int nplaced;
  int64_t *best;
  int64_t height; /* of the best */
};

static bool overlaps(const struct mem_block *x, const struct mem_block *y) {
  return x->first <= y->last && y->first <= x->last;
}

/* ---- one packing ---- */

static void insert(struct packer *p, int id) {
  int i = p->nplaced++;
  for (; i > 0 && p->block[p->placed[i - 1]].offset > p->block[id].offset; i--)
    p->placed[i] = p->placed[i - 1];
  p->placed[i] = id;
}

/* Place one block: best_fit takes the tightest gap below the top, else the lowest one. */
static void place(struct packer *p, int id, bool best_fit) {
  struct mem_block *b = &p->block[id];
  int64_t top = 0, spare = INT64_MAX, at = -1;
  for (int i = 0; i < p->nplaced; i++) {
    const struct mem_block *q = &p->block[p->placed[i]];
    if (!overlaps(b, q)) continue;
    int64_t start = ROUND_UP(top, b->align), gap = q->offset - start;
    if (gap >= b->bytes && gap - b->bytes < spare) {
      spare = gap - b->bytes, at = start;
      if (!best_fit) break;
    }
    top = MAX(top, q->offset + q->bytes);
  }
  b->offset = at >= 0 ? at : ROUND_UP(top, b->align);
  insert(p, id);
}

static int64_t pack(struct packer *p, bool best_fit) {
  int64_t height = 0;
  p->nplaced = 0;
  for (int i = 0; i < p->n; i++) {
    struct mem_block *b = &p->block[p->order[i].id];
    b->offset = 0;
    if (b->bytes == 0) continue;
    place(p, p->order[i].id, best_fit);
    height = MAX(height, b->offset + b->bytes);
  }
  if (height >= p->height) return height;
  p->height = height;
  for (int i = 0; i < p->n; i++) p->best[i] = p->block[i].offset;
  return height;
}

/* ---- orders ---- */

static int by_key(const void *x, const void *y) {
  const struct item *a = x, *b = y;
  for (int i = 0; i < 2; i++)
    if (a->key[i] != b->key[i]) return a->key[i] > b->key[i] ? -1 : 1;
  return a->id < b->id ? -1 : 1;
}

enum order_by { BY_SIZE, BY_DURATION, BY_AREA, BY_START, BY_END, ORDERS };

static void sort(struct packer *p, enum order_by by) {
  for (int i = 0; i < p->n; i++) {
    const struct mem_block *b = &p->block[i];
    int64_t life = (int64_t)b->last - b->first + 1, area;
    if (!fvm_mul(life, b->bytes, &area)) area = INT64_MAX;
    int64_t key[ORDERS] = {b->bytes, life, area, -(int64_t)b->first, b->last};
    p->order[i] = (struct item){i, {key[by], by == BY_SIZE ? life : b->bytes}};
  }
  qsort(p->order, (size_t)p->n, sizeof *p->order, by_key);
}

/* Move the blocks that end at the height to the front. */
static void promote(struct packer *p, int64_t height) {
  int front = 0;
  for (int i = 0; i < p->n; i++) {
    struct item x = p->order[i];
    if (p->block[x.id].offset + p->block[x.id].bytes < height) continue;
    memmove(&p->order[front + 1], &p->order[front], (size_t)(i - front) * sizeof x);
    p->order[front++] = x;
  }
}

static void pack_all(struct packer *p, int64_t bound) {
  for (int by = 0; by < ORDERS; by++)
    for (int fit = 0; fit < 2; fit++) {
      sort(p, (enum order_by)by);
      pack(p, fit);
      if (p->height <= bound) return;
    }
  /* n^2 a packing: large graphs get fewer of them. */
  int repairs = (int)MIN((int64_t)REPAIRS, ((int64_t)1 << 28) / ((int64_t)p->n * p->n + 1));
  for (int by = 0; by < 3; by++) {
    sort(p, (enum order_by)by);
    for (int i = 0; i < repairs && p->height > bound; i++) promote(p, pack(p, false));
  }
}

/* ---- bound ---- */

/* Most bytes that are live at one step, by differences at the starts and ends of lives. */
static int64_t most_live(const struct mem_block *b, int n, int nstep, int64_t *delta) {
  int64_t live = 0, most = 0;
  for (int i = 0; i < n; i++) {
    delta[b[i].first] += b[i].bytes;
    delta[b[i].last + 1] -= b[i].bytes;
  }
  for (int s = 0; s < nstep; s++) {
    live += delta[s];
    most = MAX(most, live);
  }
  return most;
}

static enum fvm_status check_blocks(const struct mem_block *b, int n, int *nstep,
                                    struct fvm_error *err) {
  int64_t sum = 0;
  *nstep = 0;
  for (int i = 0; i < n; i++) {
    CHECK(b[i].first >= 0 && b[i].first <= b[i].last && b[i].bytes >= 0 && b[i].align > 0);
    if (!fvm_add(sum, b[i].bytes, &sum) || !fvm_add(sum, b[i].align, &sum))
      return fvm_fail(err, FVM_EUNSUPPORTED, "the tensors together exceed 2^63 bytes");
    *nstep = MAX(*nstep, b[i].last + 1);
  }
  return FVM_OK;
}

enum fvm_status mem_pack(struct mem_block *block, int n, struct mem_result *r,
                         struct fvm_error *err) {
  struct packer p = {.block = block, .n = n, .height = INT64_MAX};
  struct arena a = {0};
  int nstep;
  enum fvm_status st = check_blocks(block, n, &nstep, err);
  if (st) return st;
  int64_t *delta = ARENA_NEW(&a, int64_t, nstep + 1);
  p.order = ARENA_NEW(&a, struct item, n);
  p.placed = ARENA_NEW(&a, int, n);
  p.best = ARENA_NEW(&a, int64_t, n);
  if (delta && p.order && p.placed && p.best) {
    r->bound = most_live(block, n, nstep, delta);
    pack_all(&p, r->bound);
    for (int i = 0; i < n; i++) block[i].offset = p.best[i];
    r->bytes = p.height;
  } else {
    st = fvm_nomem(err);
  }
  arena_free(&a);
  return st;
}
