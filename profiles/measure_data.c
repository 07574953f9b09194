/* Inputs from a seed, the reference's answer, and how closely a candidate must agree with it. */
#include "measure_impl.h"
#include "../kernels/ref.h"
#include "../vm/elem.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* ---- inputs ---- */

#define SEED_STEP 0x9e3779b97f4a7c15u

static uint64_t next(uint64_t *seed) { /* splitmix64 */
  uint64_t z = *seed += SEED_STEP;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}

/* Either sign, magnitude 0.1 to 2: no zeros that hide errors, no denormals that cost time. */
static float real(uint64_t *seed) {
  uint64_t r = next(seed);
  float m = 0.1f + 1.9f * (float)(r >> 40) * 0x1p-24f;
  return m * (float)(1 - 2 * (int)(r & 1)); /* no branch, which would go wrong half the time */
}

/* One number from the seed: bits that are any value of the type, only what lies below `range` for
 * the integers that may be indices. */
static uint64_t element(enum fvm_dtype d, uint64_t *seed, uint64_t range) {
  union {
    float f;
    double d;
    uint64_t u;
  } v = {.u = 0};
  switch (d) {
  case FVM_F32:
    v.f = real(seed);
    break;
  case FVM_F64:
    v.d = (double)real(seed);
    break;
  case FVM_F16:
    v.u = fvm_f32_to_f16(real(seed));
    break;
  case FVM_BF16:
    v.f = real(seed), v.u >>= 16;
    break;
  case FVM_BOOL:
    v.u = next(seed) >> 63;
    break;
  default:
    v.u = next(seed) % range;
  }
  return v.u;
}

struct filling {
  enum fvm_dtype dtype;
  void *data;
  uint64_t seed, range;
};

static void fill_part(const void *arg, int64_t from, int64_t to, double *scratch) {
  const struct filling *f = arg;
  size_t size = fvm_dtype_bytes(f->dtype);
  uint64_t seed = f->seed + (uint64_t)from * SEED_STEP;
  (void)scratch;
  for (; f->dtype == FVM_F32 && from < to; from++) ((float *)f->data)[from] = real(&seed);
  for (int64_t i = from; i < to; i++) {
    uint64_t v = element(f->dtype, &seed, f->range);
    memcpy((char *)f->data + (size_t)i * size, &v, size); /* little-endian: the low bytes */
  }
}

static void fill(const struct tensor *t, void *data, uint64_t seed, uint64_t range) {
  struct filling f = {t->dtype, data, seed, range};
  CHECK(ref_parallel(tensor_count(t), 4, 0, fill_part, &f, NULL) == FVM_OK);
}

/* How large integers may be. Operators that gather take them as indices into their first input. */
static uint64_t index_range(const struct opcall *c) {
  const struct tensor *t = c->nin ? &c->in[0] : NULL;
  if (!t || strncmp(c->op->name, "Gather", 6) != 0 || t->rank == 0) return 7;
  int64_t axis = opcall_int(c, "axis", 0), least = INT64_MAX;
  if (axis < 0) axis += t->rank;
  for (int i = 0; i < t->rank; i++) least = MIN(least, t->dim[i]);
  bool one_axis = strcmp(c->op->name, "GatherND") != 0 && axis >= 0 && axis < t->rank;
  return (uint64_t)MAX(one_axis ? t->dim[axis] : least, 1);
}

static enum fvm_status make_inputs(struct bench *b, struct fvm_error *err) {
  const struct opcall *c = b->call;
  b->in = ARENA_NEW(&b->arena, const void *, MAX(c->nin, 1));
  if (!b->in) return fvm_nomem(err);
  for (int i = 0; i < c->nin; i++) {
    if (c->in[i].dtype == FVM_NONE) continue;
    b->in[i] = c->in[i].data;
    if (!b->in[i]) b->in[i] = arena_alloc(&b->arena, (size_t)MAX(tensor_bytes(&c->in[i]), 1), 1);
    if (!b->in[i]) return fvm_nomem(err);
  }
  return FVM_OK;
}

static void fill_inputs(struct bench *b, uint64_t range) {
  const struct opcall *c = b->call;
  for (int i = 0; i < c->nin; i++)
    if (b->in[i] && !c->in[i].data) fill(&c->in[i], (void *)b->in[i], (uint64_t)i + 1, range);
}

void measure_constants(struct opcall *c) {
  uint64_t range = index_range(c);
  for (int i = 0; i < c->nin; i++)
    if (c->in[i].data && !opcall_text_tells(&c->in[i]))
      fill(&c->in[i], (void *)c->in[i].data, (uint64_t)i + 1, range);
}

/* ---- reference ---- */

static enum fvm_status make_want(struct bench *b, struct fvm_error *err) {
  const struct opcall *c = b->call;
  b->want = ARENA_NEW(&b->arena, void *, MAX(c->nout, 1));
  if (!b->want) return fvm_nomem(err);
  for (int i = 0; i < c->nout; i++) {
    b->want[i] = arena_alloc(&b->arena, (size_t)MAX(tensor_bytes(&c->out[i]), 1), 1);
    if (!b->want[i]) return fvm_nomem(err);
  }
  return FVM_OK;
}

/* Of all threads: the reference has several. */
static double cpu_seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

enum fvm_status bench_make(struct bench *b, const struct opcall *c, struct fvm_error *err) {
  *b = (struct bench){.call = c};
  enum fvm_status st = make_inputs(b, err);
  if (!st) st = make_want(b, err);
  if (!st) {
    double start = cpu_seconds();
    fill_inputs(b, index_range(c));
    st = opcall_ref(c, b->in, b->want, err);
    if (st == FVM_EFAIL) { /* an index out of range: zero is in every range */
      fill_inputs(b, 1);
      st = opcall_ref(c, b->in, b->want, err);
    }
    b->reference_s = cpu_seconds() - start;
  }
  if (st) bench_free(b);
  return st;
}

void bench_free(struct bench *b) { arena_free(&b->arena); }

/* ---- agreement ---- */

/* Largest error allowed, relative to the largest finite value of the reference. A plain sum of k
 * products in float is off by about sqrt(k) * 6e-8 of that, Winograd's F(6,3) over 512 channels by
 * 2.5e-5; beyond --max-error's default nobody would plan with it. Types without a row must agree
 * exactly. */
static const struct {
  enum fvm_dtype dtype;
  double relative;
} tolerance[] = {{FVM_F32, 1e-4}, {FVM_F64, 1e-11}, {FVM_F16, 2e-3}, {FVM_BF16, 1.6e-2}};

/* Most of all values are floats and agree: those are not told apart one by one. Writes *error only
 * when it is true. */
static bool floats_agree(const float *got, const float *want, int64_t n, double relative,
                         double *error) {
  double largest = 0, most = 0;
  bool close = true;
  for (int64_t i = 0; i < n; i++) {
    double w = fabs((double)want[i]);
    largest = w > largest && w < INFINITY ? w : largest;
  }
  for (int64_t i = 0; i < n; i++) {
    double d = fabs((double)got[i] - (double)want[i]);
    close = close && d <= relative * largest;
    most = d > most ? d : most;
  }
  if (close && largest > 0) *error = fmax(*error, most / largest);
  return close;
}

static bool reals_agree(enum fvm_dtype d, double relative, const void *got, const void *want,
                        int64_t n, double *error, char *why, size_t size) {
  double largest = 0, most = 0;
  if (d == FVM_F32 && floats_agree(got, want, n, relative, error)) return true;
  for (int64_t i = 0; i < n; i++) {
    double w = fabs(elem_f64(want, d, i));
    if (w > largest && w < INFINITY) largest = w;
  }
  for (int64_t i = 0; i < n; i++) {
    double g = elem_f64(got, d, i), w = elem_f64(want, d, i);
    if (g == w || (isnan(g) && isnan(w))) continue;
    most = fmax(most, fabs(g - w));
    if (fabs(g - w) <= relative * largest) continue;
    snprintf(why, size, "element %lld is %.9g, not %.9g (largest %.9g)", (long long)i, g, w,
             largest);
    return false;
  }
  if (largest > 0) *error = fmax(*error, most / largest);
  return true;
}

bool values_equal(enum fvm_dtype d, const void *got, const void *want, int64_t n, char *why,
                  size_t why_size) {
  size_t elem = fvm_dtype_bytes(d);
  const char *g = got, *w = want;
  if (memcmp(got, want, (size_t)n * elem) == 0) return true;
  int64_t i = 0;
  for (; memcmp(g, w, elem) == 0; g += elem, w += elem) i++;
  snprintf(why, why_size, "element %lld is %.17g, not %.17g", (long long)i, elem_f64(got, d, i),
           elem_f64(want, d, i));
  return false;
}

bool values_agree(enum fvm_dtype dtype, const void *got, const void *want, int64_t n, double *error,
                  char *why, size_t why_size) {
  for (size_t i = 0; i < COUNT(tolerance); i++)
    if (tolerance[i].dtype == dtype)
      return reals_agree(dtype, tolerance[i].relative, got, want, n, error, why, why_size);
  return values_equal(dtype, got, want, n, why, why_size);
}
