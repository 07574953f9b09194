/* Heights that no packing misses: sums of sizes.
 *
 * The top of a packing that is pushed down stands on a block, that on another one, and so on to the
 * ground: the height is the sum of the sizes of some blocks. Where sizes are coarse few sums lie
 * near the most live bytes, and the next one is a better bound. */
#include "mem_work.h"

enum { MOST_UNITS = 1 << 21 };

void mem_add_sums(uint64_t *sums, int64_t words, int64_t size) {
  int64_t skip = size / 64;
  int shift = (int)(size % 64);
  for (int64_t w = words - 1; w >= skip; w--) {
    uint64_t more = sums[w - skip] << shift;
    if (shift && w > skip) more |= sums[w - skip - 1] >> (64 - shift);
    sums[w] |= more;
  }
}

static bool is_plain(const struct mem_part *p) {
  for (int i = 0; i < p->n; i++) {
    const struct mem_item *x = &p->item[i];
    if (x->fixed >= 0 || x->align != 1 || x->bytes != x->size * p->unit) return false;
  }
  return true;
}

bool mem_reachable(struct mem_part *p, int64_t height, struct arena *a) {
  int64_t most = height / p->unit, words = most / 64 + 1, low = p->bound / p->unit;
  if (!is_plain(p) || most > MOST_UNITS) return true;
  uint64_t *sums = ARENA_NEW(a, uint64_t, words);
  if (!sums) return false;
  sums[0] = 1;
  for (int i = 0; i < p->n; i++)
    if (p->item[i].size <= most) mem_add_sums(sums, words, p->item[i].size);
  while (low < most && !(sums[low / 64] >> low % 64 & 1)) low++;
  p->bound = low * p->unit;
  p->sums = sums;
  p->nsums = most;
  return true;
}

int64_t mem_next_height(const struct mem_part *p, int64_t height) {
  int64_t next = INT64_MAX, units = height / p->unit + 1;
  for (int i = 0; i < p->n; i++) { /* the least above that ends as this block does */
    int64_t rest = p->item[i].bytes % p->unit, at = height - rest;
    at = at < 0 ? rest : at / p->unit * p->unit + p->unit + rest;
    next = MIN(next, at);
  }
  if (!p->sums) return next;
  while (units < p->nsums && !(p->sums[units / 64] >> units % 64 & 1)) units++;
  return MAX(next, units * p->unit);
}
