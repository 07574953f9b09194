/* What is kept from race to race. Benches: a problem is raced roughly, to the end, and again at
 * other times, and its reference takes as long as some of these races. And the stream: to fill as
 * much memory in each sandbox took a tenth of profiling ResNet-50. */
#define _GNU_SOURCE
#include "measure_impl.h"

#include <string.h>
#include <sys/mman.h>

#include "sandbox.h"

/* In all; one that is larger is kept alone. Those made first go first. */
enum { KEEP_BYTES = 256 << 20, HUGE_PAGE = 2 << 20 };

struct kept {
  struct bench bench;
  int64_t bytes;
};
struct measure_keep {
  VEC(struct kept *) list;
  int64_t bytes;
  struct stream stream;
  void *mapped; /* in which it lies */
  struct sandbox box;
};

struct measure_keep *measure_keep_new(void) {
  return fvm_alloc(1, sizeof(struct measure_keep));
}

/* ---- the stream ---- */

static void stream_free(struct measure_keep *k) {
  if (k->mapped) munmap(k->mapped, (size_t)(k->stream.bytes + HUGE_PAGE));
  k->mapped = NULL;
  k->stream = (struct stream){0};
}

/* Halves of either sign, 1 to 2 in binary16: two of them are a small number in binary32, which has
 * more exponents, four are one in binary64. */
static void fill(uint16_t *half, size_t n) {
  enum { SIGN = 0x8000, ONE = 0x3c00, FRACTION = 0x3ff };
  uint32_t x = 1;
  for (size_t i = 0; i < n; i++) {
    x = x * 1664525 + 1013904223; /* Knuth's and Lewis's linear congruence */
    half[i] = (uint16_t)(x >> 16 & SIGN) | ONE | (uint16_t)(x >> 8 & FRACTION);
  }
}

struct stream keep_stream(struct measure_keep *k, int64_t bytes) {
  if (k->stream.bytes >= bytes) return k->stream;
  stream_free(k);
  bytes = ROUND_UP(bytes, HUGE_PAGE);
  char *p = mmap(NULL, (size_t)(bytes + HUGE_PAGE), PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) return k->stream;
  k->mapped = p;
  k->stream.base = p + (ROUND_UP((uintptr_t)p, (uintptr_t)HUGE_PAGE) - (uintptr_t)p);
  k->stream.bytes = bytes;
#ifdef MADV_HUGEPAGE
  madvise(k->stream.base, (size_t)bytes, MADV_HUGEPAGE);
#endif
  fill((uint16_t *)(void *)k->stream.base, HUGE_PAGE / sizeof(uint16_t));
  for (int64_t at = HUGE_PAGE; at < bytes; at += HUGE_PAGE)
    memcpy(k->stream.base + at, k->stream.base, HUGE_PAGE);
  mprotect(k->stream.base, (size_t)bytes, PROT_READ);
  return k->stream;
}

struct sandbox *keep_sandbox(struct measure_keep *k) {
  return &k->box;
}

/* ---- benches ---- */

static void drop(struct measure_keep *k, size_t i) {
  struct kept *x = k->list.v[i];
  k->bytes -= x->bytes;
  bench_free(&x->bench);
  fvm_free(x, 1, sizeof *x);
}

void measure_keep_free(struct measure_keep *k) {
  if (!k) return;
  for (size_t i = 0; i < k->list.n; i++) drop(k, i);
  VEC_FREE(&k->list);
  stream_free(k);
  sandbox_free(&k->box);
  fvm_free(k, 1, sizeof *k);
}

/* Of inputs that are not the model's own, and of outputs. */
static int64_t bytes_of(const struct opcall *c) {
  int64_t sum = 0;
  for (int i = 0; i < c->nin; i++)
    if (c->in[i].dtype != FVM_NONE && !c->in[i].data) sum += tensor_bytes(&c->in[i]);
  for (int i = 0; i < c->nout; i++) sum += tensor_bytes(&c->out[i]);
  return sum;
}

static void make_room(struct measure_keep *k, int64_t bytes) {
  size_t gone = 0;
  while (gone < k->list.n && k->bytes + bytes > KEEP_BYTES) drop(k, gone++);
  for (size_t i = gone; i < k->list.n; i++) k->list.v[i - gone] = k->list.v[i];
  k->list.n -= gone;
}

enum fvm_status keep_bench(struct measure_keep *k, const struct opcall *c, const struct bench **b,
                           struct fvm_error *err) {
  for (size_t i = 0; i < k->list.n; i++)
    if (k->list.v[i]->bench.call == c) return *b = &k->list.v[i]->bench, FVM_OK;
  make_room(k, bytes_of(c));
  struct kept *x = fvm_alloc(1, sizeof *x);
  if (!x) return fvm_nomem(err);
  enum fvm_status st = bench_make(&x->bench, c, err);
  if (!st && !VEC_PUSH(&k->list, x)) {
    bench_free(&x->bench);
    st = fvm_nomem(err);
  }
  if (st) return fvm_free(x, 1, sizeof *x), st;
  x->bytes = bytes_of(c);
  k->bytes += x->bytes;
  *b = &x->bench;
  return FVM_OK;
}
