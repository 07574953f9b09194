/* Buffers with a page before and a page behind them that nobody may touch. A buffer lies at one end
 * of what is between them, so an element too far on that side is a crash; on the other side bytes
 * of a known value tell.
 *
 *   no access | guard | buffer | no access       AT_END
 *   no access | buffer | guard | no access       AT_START
 */
#define _GNU_SOURCE
#include "measure_impl.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static int64_t page_bytes(void) { return (int64_t)sysconf(_SC_PAGESIZE); }

static void release(struct fence *f) {
  int64_t page = page_bytes();
  if (f->low) munmap(f->low - page, (size_t)(f->high - f->low + 2 * page));
  *f = (struct fence){0};
}

bool fence_grow(struct fence *f, int64_t bytes) {
  int64_t page = page_bytes(), room = ROUND_UP(bytes + FENCE_GUARD, page);
  if (f->high - f->low >= room) return true;
  release(f);
  char *p = mmap(NULL, (size_t)(room + 2 * page), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) return false;
  *f = (struct fence){p + page, p + page + room, true};
  fence_seal(f, false);
  return true;
}

char *fence_place(const struct fence *f, int64_t bytes, enum side side) {
  return side == AT_START ? f->low : f->high - bytes;
}

void fence_seal(struct fence *f, bool sealed) {
  if (f->sealed == sealed) return;
  mprotect(f->low, (size_t)(f->high - f->low), sealed ? PROT_READ : PROT_READ | PROT_WRITE);
  f->sealed = sealed;
}

/* Of a buffer with its guards: where it begins, and its bytes. */
static char *with_guards(const struct fence *f, char *at, int64_t *bytes) {
  int64_t before = MIN(at - f->low, FENCE_GUARD), behind = MIN(f->high - at - *bytes, FENCE_GUARD);
  *bytes += before + behind;
  return at - before;
}

void fence_poison(const struct fence *f, char *at, int64_t bytes) {
  char *from = with_guards(f, at, &bytes);
  memset(from, FENCE_POISON, (size_t)bytes);
}

static bool is_poison(const char *p, const char *end) {
  while (p < end && (unsigned char)*p == FENCE_POISON) p++;
  return p >= end;
}

bool fence_holds(const struct fence *f, const char *at, int64_t bytes) {
  int64_t all = bytes;
  const char *from = with_guards(f, (char *)at, &all);
  return is_poison(from, at) && is_poison(at + bytes, from + all);
}
