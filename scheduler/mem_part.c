/* From blocks to parts that can be packed one by one.
 *
 *   time ->      |--a--|     |---------c--------|          sections: {a b} {b c} {c d e}
 *                   |---b------|     |--d--|
 *                                     |-e-|
 *
 * Only the sets of blocks live at one time matter, and of these only the ones that are not within
 * another. Where no block crosses from one section to the next, the sides are independent. What
 * lives in all sections of a part may as well stand at its bottom; without it there may be new
 * gaps. Sizes are counted in units: what all sizes and alignments are multiples of. */
#include <stdlib.h>
#include <string.h>

#include "mem_work.h"

/* ---- units ---- */

static int64_t gcd(int64_t a, int64_t b) {
  while (b) {
    int64_t r = a % b;
    a = b, b = r;
  }
  return a;
}

/* All offsets are multiples of the alignments' common divisor `align`, so each block takes whole
 * multiples of it. All of these and all fixed offsets are multiples of the unit; alignments divide
 * it or are multiples of it. */
static int64_t find_unit(const struct mem_block *b, int n) {
  int64_t align = 0, unit = 0, last;
  for (int i = 0; i < n; i++)
    if (b[i].bytes) align = gcd(align, b[i].align);
  if (!align) return 1;
  for (int i = 0; i < n; i++) {
    if (b[i].bytes) unit = gcd(unit, ROUND_UP(b[i].bytes, align));
    if (b[i].bytes && b[i].fixed) unit = gcd(unit, b[i].offset);
  }
  do {
    last = unit;
    for (int i = 0; i < n; i++)
      if (b[i].bytes && unit % b[i].align) unit = gcd(unit, b[i].align);
  } while (unit != last);
  return MAX(unit, 1);
}

/* ---- sections ---- */

struct event {
  int time, item;
  bool end;
};
static int by_time(const void *x, const void *y) {
  const struct event *a = x, *b = y;
  if (a->time != b->time) return a->time < b->time ? -1 : 1;
  if (a->end != b->end) return a->end ? 1 : -1;
  return a->item < b->item ? -1 : 1;
}

/* Fills lo and hi; a section closes at the first end after a start. Returns how many there are. */
static int find_sections(const struct mem_block *block, struct mem_item *x, int n,
                         struct event *event) {
  int nsec = 0;
  bool opened = false;
  for (int i = 0; i < n; i++) {
    event[2 * i] = (struct event){block[x[i].id].first, i, false};
    event[2 * i + 1] = (struct event){block[x[i].id].last, i, true};
  }
  qsort(event, (size_t)n * 2, sizeof *event, by_time);
  for (int e = 0; e < 2 * n; e++) {
    struct mem_item *item = &x[event[e].item];
    if (!event[e].end) {
      item->lo = nsec;
      opened = true;
      continue;
    }
    nsec += opened;
    opened = false;
    item->hi = nsec - 1;
  }
  return nsec;
}

/* ---- parts ---- */

static int by_start(const void *x, const void *y) {
  const struct mem_item *a = x, *b = y;
  if (a->lo != b->lo) return a->lo < b->lo ? -1 : 1;
  return a->id < b->id ? -1 : 1;
}
static int by_id(const void *x, const void *y) {
  const struct mem_item *a = x, *b = y;
  return a->id < b->id ? -1 : 1;
}

static int64_t most_live(const struct mem_part *p, int64_t *delta) {
  int64_t live = 0, most = 0;
  for (int i = 0; i < p->n; i++) {
    delta[p->item[i].lo] += p->item[i].size;
    delta[p->item[i].hi + 1] -= p->item[i].size;
  }
  for (int k = 0; k < p->nsec; k++) {
    live += delta[k];
    most = MAX(most, live);
  }
  return most;
}

/* A packing ends at the end of a block: the most live units, less the most that rounding added to
 * any block; and above what is fixed. */
static int64_t find_bound(const struct mem_part *p, int64_t *delta) {
  int64_t pad = 0, fixed = 0;
  for (int i = 0; i < p->n; i++) {
    const struct mem_item *x = &p->item[i];
    pad = MAX(pad, x->size * p->unit - x->bytes);
    if (x->fixed >= 0) fixed = MAX(fixed, x->fixed * p->unit + x->bytes);
  }
  int64_t live = most_live(p, delta) * p->unit - pad;
  return MAX(live, fixed);
}

/* Wherever a packing puts them, its blocks end at most all sizes, with their alignments, above what
 * is fixed highest: then no computation with heights leaves int64. */
static bool is_small(const struct mem_parts *p, const struct mem_item *x, int n, int64_t base) {
  int64_t sum = base, fixed = 0, end;
  for (int i = 0; i < n; i++) {
    if (x[i].fixed >= 0) {
      if (!fvm_add(x[i].fixed, x[i].size, &end)) return false;
      fixed = MAX(fixed, end);
    } else if (!fvm_add(sum, x[i].size, &sum) || !fvm_add(sum, x[i].align - 1, &sum)) {
      return false;
    }
  }
  return fvm_add(sum, fixed, &sum) && sum <= INT64_MAX / p->unit;
}

static enum fvm_status add_part(struct mem_parts *p, const struct mem_item *x, int n, int nsec,
                                int64_t base) {
  struct mem_part part = {.n = n, .nsec = nsec, .unit = p->unit, .base = base};
  int64_t *delta = ARENA_NEW(p->a, int64_t, nsec + 1);
  part.item = ARENA_NEW(p->a, struct mem_item, n);
  part.offset = ARENA_NEW(p->a, int64_t, n);
  if (!delta || !part.item || !part.offset) return FVM_ENOMEM;
  if (!is_small(p, x, n, base)) return FVM_EUNSUPPORTED;
  memcpy(part.item, x, (size_t)n * sizeof *x);
  qsort(part.item, (size_t)n, sizeof *part.item, by_id);
  part.bound = find_bound(&part, delta);
  part.height = INT64_MAX;
  return VEC_PUSH(&p->part, part) ? FVM_OK : FVM_ENOMEM;
}

/* Blocks in all sections go to the base; how many are left, -1 when they leave int64. */
static int set_down(struct mem_parts *p, struct mem_item *x, int n, int nsec, int64_t *base) {
  int left = 0;
  for (int i = 0; i < n; i++) {
    if (x[i].lo > 0 || x[i].hi < nsec - 1) {
      x[left++] = x[i];
      continue;
    }
    p->block[x[i].id].offset = *base * p->unit;
    if (!fvm_add(*base, x[i].size, base) || *base > INT64_MAX / p->unit) return -1;
  }
  return left;
}

/* Nested lives are taken off level by level: not too many, each costs a pass over all. */
enum { LEVELS = 100 };

static enum fvm_status split(struct mem_parts *p, struct mem_item *x, int n, int64_t base,
                             int level) {
  struct arena a = {0};
  struct event *event = ARENA_NEW(&a, struct event, 2 * (size_t)n);
  int nsec = event ? find_sections(p->block, x, n, event) : 0;
  enum fvm_status st = event ? FVM_OK : FVM_ENOMEM;
  arena_free(&a);
  if (st) return st;
  qsort(x, (size_t)n, sizeof *x, by_start);
  int left = p->plain && level < LEVELS ? set_down(p, x, n, nsec, &base) : n;
  if (left < 0) return FVM_EUNSUPPORTED;
  p->height = MAX(p->height, base * p->unit);
  for (int i = 0, j; i < left && !st; i = j) {
    int end = x[i].hi;
    for (j = i + 1; j < left && x[j].lo <= end; j++) end = MAX(end, x[j].hi);
    st = j - i == n ? add_part(p, x, n, nsec, base) : split(p, x + i, j - i, base, level + 1);
  }
  return st;
}

enum fvm_status mem_split(struct mem_block *block, int n, struct mem_parts *p,
                          struct fvm_error *err) {
  int items = 0;
  struct mem_item *x = ARENA_NEW(p->a, struct mem_item, n);
  if (!x) return fvm_nomem(err);
  p->block = block;
  p->unit = find_unit(block, n);
  p->plain = true;
  for (int i = 0; i < n; i++) {
    struct mem_block *b = &block[i];
    if (!b->bytes && !b->fixed) b->offset = 0;
    if (!b->bytes) continue;
    int64_t align = MAX(b->align / p->unit, 1);
    /* Not by CEIL_DIV: bytes + unit may leave int64. */
    x[items++] = (struct mem_item){.size = b->bytes / p->unit + (b->bytes % p->unit != 0),
                                   .align = align,
                                   .fixed = b->fixed ? b->offset / p->unit : -1,
                                   .bytes = b->bytes,
                                   .id = i};
    p->plain &= align == 1 && !b->fixed && b->bytes % p->unit == 0;
  }
  enum fvm_status st = split(p, x, items, 0, 0);
  if (st == FVM_EUNSUPPORTED)
    return fvm_fail(err, st, "blocks that are live together take more than 2^63 bytes");
  return st ? fvm_nomem(err) : FVM_OK;
}
