/* Places in the arena as others give them out, to compare ours with: in a row, or the largest first
 * into the tightest gap. Contract: mem.h. */
#include "mem.h"

#include <stdlib.h>
#include <string.h>

/* The most bytes that live at once: below that nothing packs. False when memory is out. */
static bool find_bound(const struct mem_block *b, int n, struct mem_result *r) {
  struct arena a = {0};
  int end = 0;
  for (int i = 0; i < n; i++) end = MAX(end, b[i].last + 1);
  int64_t *delta = ARENA_NEW(&a, int64_t, end + 1), live = 0;
  for (int i = 0; delta && i < n; i++) {
    delta[b[i].first] += b[i].bytes;
    delta[b[i].last + 1] -= b[i].bytes;
  }
  r->bound = 0;
  for (int i = 0; delta && i < end; i++) {
    live += delta[i];
    r->bound = MAX(r->bound, live);
  }
  r->status = r->bytes > r->bound ? MEM_GAP : MEM_OPTIMAL;
  arena_free(&a);
  return delta != NULL;
}

static enum fvm_status check_sum(const struct mem_block *b, int n, struct fvm_error *err) {
  int64_t sum = 0;
  for (int i = 0; i < n; i++)
    if (!fvm_add(sum, b[i].bytes, &sum) || !fvm_add(sum, b[i].align, &sum))
      return fvm_fail(err, FVM_EUNSUPPORTED, "the tensors together exceed 2^63 bytes");
  return FVM_OK;
}

enum fvm_status mem_pack_linear(struct mem_block *block, int n, struct mem_result *r,
                                struct fvm_error *err) {
  enum fvm_status st = check_sum(block, n, err);
  if (st) return st;
  *r = (struct mem_result){0};
  for (int i = 0; i < n; i++) {
    block[i].offset = ROUND_UP(r->bytes, block[i].align);
    r->bytes = block[i].offset + block[i].bytes;
  }
  return find_bound(block, n, r) ? FVM_OK : fvm_nomem(err);
}

static int by_size(const void *x, const void *y) {
  const struct mem_block *a = *(struct mem_block *const *)x, *b = *(struct mem_block *const *)y;
  if (a->bytes != b->bytes) return a->bytes > b->bytes ? -1 : 1;
  return a < b ? -1 : 1; /* of one array: as given */
}

static bool meet(const struct mem_block *a, const struct mem_block *b, int pad) {
  return a->first <= b->last + pad && b->first <= a->last + pad;
}

/* Into the tightest gap that `placed` blocks of lives that meet its own leave, else above them. */
static void place(struct mem_block *b, struct mem_block *const *placed, int n, int pad) {
  int64_t top = 0, spare = INT64_MAX, at = -1;
  for (int i = 0; i < n; i++) {
    const struct mem_block *q = placed[i];
    if (!meet(b, q, pad)) continue;
    int64_t start = ROUND_UP(top, b->align), left = q->offset - start - b->bytes;
    if (left >= 0 && left < spare) spare = left, at = start;
    top = MAX(top, q->offset + q->bytes);
  }
  b->offset = at >= 0 ? at : ROUND_UP(top, b->align);
}

static void insert(struct mem_block **placed, int n, struct mem_block *b) {
  for (; n > 0 && placed[n - 1]->offset > b->offset; n--) placed[n] = placed[n - 1];
  placed[n] = b;
}

/* pad: steps by which lives count as longer. */
static enum fvm_status pack(struct mem_block *block, int n, int pad, struct mem_result *r,
                            struct fvm_error *err) {
  struct arena a = {0};
  enum fvm_status st = check_sum(block, n, err);
  if (st) return st;
  struct mem_block **order = ARENA_NEW(&a, struct mem_block *, n);
  struct mem_block **placed = ARENA_NEW(&a, struct mem_block *, n);
  *r = (struct mem_result){0};
  bool ok = order && placed;
  for (int i = 0; ok && i < n; i++) order[i] = &block[i];
  if (ok && n) qsort(order, (size_t)n, sizeof(struct mem_block *), by_size);
  for (int i = 0; ok && i < n; i++) {
    place(order[i], placed, i, pad);
    insert(placed, i, order[i]);
    r->bytes = MAX(r->bytes, order[i]->offset + order[i]->bytes);
  }
  arena_free(&a);
  return ok && find_bound(block, n, r) ? FVM_OK : fvm_nomem(err);
}

enum fvm_status mem_pack_by_size(struct mem_block *block, int n, struct mem_result *r,
                                 struct fvm_error *err) {
  return pack(block, n, 0, r, err);
}

enum fvm_status mem_pack_padded(struct mem_block *block, int n, struct mem_result *r,
                                struct fvm_error *err) {
  return pack(block, n, 1, r, err);
}
