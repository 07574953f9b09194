/* Layer 0: status codes, error record, arena, vectors, hash, little-endian reads, element types. */
#ifndef FVM_BASE_H
#define FVM_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "fluidvm.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
/* Round x up to a multiple of a (a > 0). */
#define ROUND_UP(x, a) (((x) + (a)-1) / (a) * (a))
#define CEIL_DIV(x, a) (((x) + (a)-1) / (a))
/* Every buffer, scratch block and packed weight starts on a cache line. */
#define FVM_ALIGN 64

#if defined(__GNUC__)
#define FVM_PRINTF(f, a) __attribute__((format(printf, f, a)))
#else
#define FVM_PRINTF(f, a)
#endif

/* ---- errors --------------------------------------------------------------------------------
 * Anything the world can get wrong returns an enum fvm_status and fills a struct fvm_error that
 * the caller owns (fluidvm.h). CHECK is for our own mistakes and stays in release builds. */

/* fvm_fail(err, code, fmt, ...): fill *err (may be NULL) with code and the formatted text; its
 * value is code. A macro, so that compilers and analysers see that a failure never looks like
 * success. */
void fvm_fill(struct fvm_error *err, enum fvm_status code, const char *fmt, ...) FVM_PRINTF(3, 4);
#define fvm_fail(err, code, ...)                                                                   \
  ({                                                                                               \
    enum fvm_status fail_code_ = (code);                                                           \
    fvm_fill((err), fail_code_, __VA_ARGS__);                                                      \
    fail_code_;                                                                                    \
  })
/* Put "PREFIX: " before the text of *err; returns err->code. Callers add file and node names. */
enum fvm_status fvm_prefix(struct fvm_error *err, const char *fmt, ...) FVM_PRINTF(2, 3);
/* FVM_ENOMEM with a fixed text. */
static inline enum fvm_status fvm_nomem(struct fvm_error *err) {
  return fvm_fail(err, FVM_ENOMEM, "out of memory; free some, or use a smaller model");
}
/* Exit status that belongs to a code (errors.def). */
int fvm_exit_status(enum fvm_status code);

void fvm_check_failed(const char *file, int line, const char *expr) __attribute__((noreturn));
#define CHECK(x) ((x) ? (void)0 : fvm_check_failed(__FILE__, __LINE__, #x))
#ifdef FVM_DEBUG
#define DCHECK(x) CHECK(x)
#else
#define DCHECK(x) ((void)sizeof(x))
#endif

/* ---- memory --------------------------------------------------------------------------------
 * All heap memory goes through these three, so that tests can count bytes and let the n-th call
 * fail. They return NULL when memory is out; sizes are multiplied with overflow checks. */
void *fvm_alloc(size_t n, size_t size);                          /* zeroed */
void *fvm_realloc(void *p, size_t old_n, size_t n, size_t size); /* new tail zeroed */
void fvm_free(void *p, size_t n, size_t size);
size_t fvm_bytes_in_use(void);
/* Let the n-th allocation from now on fail, once (tests); 0 switches it off. Returns what was left
 * of the count before: 0 when it had come to its end. */
long fvm_fail_alloc(long n);

/* Bump allocator: everything of one compile, freed at once. Zero-initialise to start. */
struct arena {
  struct arena_chunk *last;
};
void *arena_alloc(struct arena *a, size_t n, size_t size); /* zeroed, 16-byte aligned, or NULL */
char *arena_strdup(struct arena *a, const char *s);
char *arena_printf(struct arena *a, const char *fmt, ...) FVM_PRINTF(2, 3);
void arena_free(struct arena *a);
#define ARENA_NEW(a, T, n) ((T *)arena_alloc((a), (size_t)(n), sizeof(T)))

/* Typed vector: VEC(int) v = {0}; VEC_PUSH(&v, 3) is false when memory is out; VEC_FREE(&v). */
#define VEC(T)                                                                                     \
  struct {                                                                                         \
    T *v;                                                                                          \
    size_t n, cap;                                                                                 \
  }
bool vec_grow(void **v, size_t *cap, size_t need, size_t size);
#define VEC_RESERVE(p, k) vec_grow((void **)&(p)->v, &(p)->cap, (p)->n + (k), sizeof(*(p)->v))
#define VEC_PUSH(p, x) (VEC_RESERVE(p, 1) ? ((p)->v[(p)->n++] = (x), true) : false)
#define VEC_FREE(p)                                                                                \
  (fvm_free((p)->v, (p)->cap, sizeof(*(p)->v)), (p)->v = NULL, (p)->n = (p)->cap = 0)

/* A VEC as a heap, v[0] being before all others; before(&x, &y): whether x comes before y.
 * HEAP_PUSH is false when memory is out. HEAP_POP: of one that is not empty. */
#define HEAP_PUSH(h, x, before)                                                                    \
  (VEC_PUSH(h, x) ? ({                                                                             \
    __typeof__((h)->v) heap_ = (h)->v;                                                             \
    size_t at_ = (h)->n - 1;                                                                       \
    __typeof__(*(h)->v) new_ = heap_[at_];                                                         \
    for (; at_ > 0 && before(&new_, &heap_[(at_ - 1) / 2]); at_ = (at_ - 1) / 2)                   \
      heap_[at_] = heap_[(at_ - 1) / 2];                                                           \
    heap_[at_] = new_;                                                                             \
    true;                                                                                          \
  })                                                                                               \
                  : false)
#define HEAP_POP(h, before)                                                                        \
  ({                                                                                               \
    __typeof__((h)->v) heap_ = (h)->v;                                                             \
    size_t at_ = 0, n_ = --(h)->n;                                                                 \
    __typeof__(*(h)->v) top_ = heap_[0], last_ = heap_[n_];                                        \
    for (size_t c_; (c_ = 2 * at_ + 1) < n_; at_ = c_) {                                           \
      if (c_ + 1 < n_ && before(&heap_[c_ + 1], &heap_[c_])) c_++;                                 \
      if (!before(&heap_[c_], &last_)) break;                                                      \
      heap_[at_] = heap_[c_];                                                                      \
    }                                                                                              \
    heap_[at_] = last_;                                                                            \
    top_;                                                                                          \
  })

/* Growing text; printf into it; .v is NUL-terminated once anything was added. */
struct text {
  char *v;
  size_t n, cap;
  bool failed; /* memory ran out at some point: the text is not to be used */
};
void text_printf(struct text *t, const char *fmt, ...) FVM_PRINTF(2, 3);
void text_free(struct text *t);

/* ---- hash, integers ------------------------------------------------------------------------ */
uint64_t fvm_hash(const void *p, size_t n, uint64_t seed); /* XXH64 */
/* a * b and a + b of non-negative values; false when the result leaves int64. */
bool fvm_mul(int64_t a, int64_t b, int64_t *r);
bool fvm_add(int64_t a, int64_t b, int64_t *r);

/* ---- element types ------------------------------------------------------------------------- */
size_t fvm_dtype_bytes(enum fvm_dtype d);
const char *fvm_dtype_name(enum fvm_dtype d);
/* By name ("f32"); FVM_NONE when unknown. */
enum fvm_dtype fvm_dtype_parse(const char *s, size_t len);
uint16_t fvm_f32_to_f16(float f); /* round to nearest even */
/* Exact. Here, since models come with millions of them. */
static inline float fvm_f16_to_f32(uint16_t h) {
  uint32_t sign = (uint32_t)(h & 0x8000) << 16, exp = (h >> 10) & 31, man = h & 0x3ff, bits;
  if (exp == 31) {
    bits = sign | 0x7f800000 | man << 13;
  } else if (exp) {
    bits = sign | (exp + 112) << 23 | man << 13;
  } else { /* subnormal: man * 2^-24 is exact in float */
    float f = (float)man * 0x1p-24f;
    memcpy(&bits, &f, 4);
    bits |= sign;
  }
  float f;
  memcpy(&f, &bits, 4);
  return f;
}

#endif
