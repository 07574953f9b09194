/* Layer 0. Declarations and contracts: base.h. */
#define _GNU_SOURCE
#include "base.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

/* fluidvm.h must stand alone for users, so it lists codes and types again; here both lists are
 * held against their tables. */
static const struct status_row {
  enum fvm_status code;
  int exit_status;
  const char *text;
} status_rows[] = {
#define FVM_STATUS(name, exit_status, text) {FVM_##name, exit_status, text},
#include "errors.def"
#undef FVM_STATUS
};
static const struct dtype_row {
  enum fvm_dtype dtype;
  size_t bytes;
  const char *name;
} dtype_rows[] = {
#define DTYPE(name, bytes, onnx, text, npy, c) {FVM_##name, bytes, text},
#include "dtypes.def"
#undef DTYPE
};
_Static_assert(COUNT(status_rows) == FVM_EINTR + 1, "errors.def and fluidvm.h differ");
_Static_assert(COUNT(dtype_rows) == FVM_DTYPES - 1, "dtypes.def and fluidvm.h differ");

/* ---- errors ---- */

void fvm_fill(struct fvm_error *err, enum fvm_status code, const char *fmt, ...) {
  if (!err) return;
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(err->text, sizeof err->text, fmt, ap);
  va_end(ap);
  err->code = code;
}

enum fvm_status fvm_prefix(struct fvm_error *err, const char *fmt, ...) {
  if (!err) return FVM_EFAIL;
  struct fvm_error old = *err;
  va_list ap;
  va_start(ap, fmt);
  int n = vsnprintf(err->text, sizeof err->text, fmt, ap);
  va_end(ap);
  int room = (int)sizeof err->text - n - 3; /* for the old text, after ": " and before the 0 */
  if (n >= 0 && room > 0) snprintf(err->text + n, (size_t)room + 3, ": %.*s", room, old.text);
  return err->code;
}

int fvm_exit_status(enum fvm_status code) {
  for (size_t i = 0; i < COUNT(status_rows); i++)
    if (status_rows[i].code == code) return status_rows[i].exit_status;
  return 1;
}

void fvm_check_failed(const char *file, int line, const char *expr) {
  fprintf(stderr, "fluidvm: internal error: %s:%d: %s\n", file, line, expr);
  abort();
}

/* ---- memory ---- */

static size_t in_use;
static long fail_at;

long fvm_fail_alloc(long n) {
  long left = __atomic_exchange_n(&fail_at, n, __ATOMIC_RELAXED);
  return left > 0 ? left : 0;
}
size_t fvm_bytes_in_use(void) { return __atomic_load_n(&in_use, __ATOMIC_RELAXED); }

static bool refuse(void) {
  if (__atomic_load_n(&fail_at, __ATOMIC_RELAXED) == 0) return false;
  return __atomic_sub_fetch(&fail_at, 1, __ATOMIC_RELAXED) == 0;
}

static void account(size_t add, size_t sub) {
  __atomic_fetch_add(&in_use, add - sub, __ATOMIC_RELAXED);
}

/* Large blocks in huge pages, where there are any: each measuring process is a fork, which copies
 * an entry for each page. */
static void advise(void *p, size_t bytes) {
#ifdef MADV_HUGEPAGE
  enum { HUGE_PAGE = 2 << 20 };
  size_t skip = -(uintptr_t)p & (HUGE_PAGE - 1);
  if (bytes >= skip + HUGE_PAGE)
    madvise((char *)p + skip, (bytes - skip) & -(size_t)HUGE_PAGE, MADV_HUGEPAGE);
#else
  (void)p, (void)bytes;
#endif
}

/* Zeroed by the system where it can: what is not used of a large block takes no memory. */
void *fvm_alloc(size_t n, size_t size) {
  size_t bytes;
  if (__builtin_mul_overflow(n, size, &bytes) || refuse()) return NULL;
  void *p = calloc(bytes ? bytes : 1, 1);
  if (!p) return NULL;
  advise(p, bytes);
  account(bytes, 0);
  return p;
}

void *fvm_realloc(void *p, size_t old_n, size_t n, size_t size) {
  size_t bytes;
  if (__builtin_mul_overflow(n, size, &bytes) || refuse()) return NULL;
  void *q = realloc(p, bytes ? bytes : 1);
  if (!q) return NULL;
  advise(q, bytes);
  if (n > old_n) memset((char *)q + old_n * size, 0, (n - old_n) * size);
  account(bytes, old_n * size);
  return q;
}

void fvm_free(void *p, size_t n, size_t size) {
  if (!p) return;
  account(0, n * size);
  free(p);
}

struct arena_chunk {
  struct arena_chunk *prev;
  size_t used, bytes; /* of data, which follows the header */
};
/* Keeps the data behind the header 16-byte aligned. */
#define CHUNK_HEAD ROUND_UP(sizeof(struct arena_chunk), 16)
/* Each chunk is twice as large as the one before, so that much data lies in few huge pages. */
enum { CHUNK_LEAST = 64 << 10, CHUNK_MOST = 8 << 20 };

void *arena_alloc(struct arena *a, size_t n, size_t size) {
  size_t bytes;
  if (__builtin_mul_overflow(n, size, &bytes) || bytes > SIZE_MAX / 2) return NULL;
  bytes = ROUND_UP(MAX(bytes, 1), (size_t)16);
  if (!a->last || a->last->bytes - a->last->used < bytes) {
    size_t twice = a->last ? 2 * a->last->bytes : CHUNK_LEAST;
    size_t want = MAX(bytes, MIN(twice, (size_t)CHUNK_MOST));
    struct arena_chunk *c = fvm_alloc(1, CHUNK_HEAD + want);
    if (!c) return NULL;
    c->prev = a->last;
    c->bytes = want;
    a->last = c;
  }
  void *p = (char *)a->last + CHUNK_HEAD + a->last->used;
  a->last->used += bytes;
  return p;
}

char *arena_strdup(struct arena *a, const char *s) {
  size_t n = strlen(s) + 1;
  char *p = arena_alloc(a, n, 1);
  if (p) memcpy(p, s, n);
  return p;
}

char *arena_printf(struct arena *a, const char *fmt, ...) {
  va_list ap, again;
  va_start(ap, fmt);
  va_copy(again, ap);
  int n = vsnprintf(NULL, 0, fmt, ap);
  va_end(ap);
  char *p = n < 0 ? NULL : arena_alloc(a, (size_t)n + 1, 1);
  if (p) vsnprintf(p, (size_t)n + 1, fmt, again);
  va_end(again);
  return p;
}

void arena_free(struct arena *a) {
  while (a->last) {
    struct arena_chunk *c = a->last;
    a->last = c->prev;
    fvm_free(c, 1, CHUNK_HEAD + c->bytes);
  }
}

bool vec_grow(void **v, size_t *cap, size_t need, size_t size) {
  if (need <= *cap) return true;
  size_t want = MAX(MAX(need, *cap * 2), (size_t)8);
  void *q = fvm_realloc(*v, *cap, want, size);
  if (!q) return false;
  *v = q;
  *cap = want;
  return true;
}

void text_printf(struct text *t, const char *fmt, ...) {
  va_list ap, again;
  va_start(ap, fmt);
  va_copy(again, ap);
  int n = vsnprintf(NULL, 0, fmt, ap);
  va_end(ap);
  if (n < 0 || !vec_grow((void **)&t->v, &t->cap, t->n + (size_t)n + 1, 1))
    t->failed = true;
  else
    t->n += (size_t)vsnprintf(t->v + t->n, (size_t)n + 1, fmt, again);
  va_end(again);
}

void text_free(struct text *t) {
  fvm_free(t->v, t->cap, 1);
  *t = (struct text){0};
}

/* ---- hash, integers ---- */

uint64_t fvm_hash(const void *p, size_t n, uint64_t seed) {
  CHECK(p || n == 0);
  return p ? XXH64(p, n, seed) : XXH64("", 0, seed);
}

bool fvm_mul(int64_t a, int64_t b, int64_t *r) { return !__builtin_mul_overflow(a, b, r); }
bool fvm_add(int64_t a, int64_t b, int64_t *r) { return !__builtin_add_overflow(a, b, r); }

/* ---- element types ---- */

size_t fvm_dtype_bytes(enum fvm_dtype d) {
  return d > FVM_NONE && d < FVM_DTYPES ? dtype_rows[d - 1].bytes : 0;
}

const char *fvm_dtype_name(enum fvm_dtype d) {
  return d > FVM_NONE && d < FVM_DTYPES ? dtype_rows[d - 1].name : "none";
}

enum fvm_dtype fvm_dtype_parse(const char *s, size_t len) {
  for (size_t i = 0; i < COUNT(dtype_rows); i++)
    if (strlen(dtype_rows[i].name) == len && !memcmp(dtype_rows[i].name, s, len))
      return dtype_rows[i].dtype;
  return FVM_NONE;
}

uint16_t fvm_f32_to_f16(float f) {
  uint32_t bits;
  memcpy(&bits, &f, 4);
  uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
  uint32_t abs = bits & 0x7fffffff;
  if (abs > 0x7f800000) return sign | 0x7e00;
  if (abs >= 0x477ff000) return sign | 0x7c00; /* rounds to 2^16 or more */
  if (abs < 0x38800000) { /* subnormal half: let the float adder round at 2^-24 */
    float g;
    memcpy(&g, &abs, 4);
    g += 0.5f;
    memcpy(&bits, &g, 4);
    return (uint16_t)(sign | (bits - 0x3f000000));
  }
  uint32_t odd = abs >> 13 & 1;
  return (uint16_t)(sign | ((abs - 0x38000000 + 0xfff + odd) >> 13));
}
