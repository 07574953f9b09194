/* Fast local response normalisation: the lanes of a vector are neighbouring channels of a pixel.
 * The squares of a stretch of channels and of half a window on each side lie in a buffer, zero
 * where there are no channels, so each sum is `size` unaligned loads from it. */
#include "ukr_vec.h"
#include "ukr_window.h"

#include <math.h>

enum { STRETCH = 256, HALO = 256 };

/* The channels of a pixel: runs of n, bx elements apart. */
struct runs {
  int64_t n, step;
};

/* Channels first .. first + count - 1 to v. */
static void take(const float *x, struct runs r, int64_t first, int64_t count, float *v) {
  if (r.n == 1) {
    for (int64_t j = 0; j < count; j++) v[j] = x[(first + j) * r.step];
    return;
  }
  for (int64_t k; count > 0; first += k, count -= k, v += k) {
    k = MIN(count, r.n - first % r.n);
    copy_4(v, x + first / r.n * r.step + first % r.n, k);
  }
}

static void put(float *y, struct runs r, int64_t first, int64_t count, const float *v) {
  if (r.n == 1) {
    for (int64_t j = 0; j < count; j++) y[(first + j) * r.step] = v[j];
    return;
  }
  for (int64_t k; count > 0; first += k, count -= k, v += k) {
    k = MIN(count, r.n - first % r.n);
    copy_4(y + first / r.n * r.step + first % r.n, v, k);
  }
}

/* s ^ beta; networks use 3/4. */
static vf power(vf s, float beta) {
  if (beta == 0.75f) return vf_mul(vf_sqrt(s), vf_sqrt(vf_sqrt(s)));
  if (beta == 0.5f) return vf_sqrt(s);
  if (beta == 1) return s;
  float a[VW];
  vf_store(a, s);
  for (int j = 0; j < VW; j++) a[j] = powf(a[j], beta);
  return vf_load(a);
}

static void pixel(const struct lrn *a, const float *x, float *y) {
  const struct runs in = {a->n, a->bx}, out = {a->n, a->by};
  float buffer[STRETCH + HALO + VW], result[STRETCH + VW];
  for (int64_t c = 0; c < a->channels; c += STRETCH) {
    int64_t count = MIN(a->channels - c, (int64_t)STRETCH), half = lrn_before(a);
    int64_t lo = MAX(c - half, 0), hi = MIN(c + count + MAX(a->size - 1 - half, 0), a->channels);
    float *own = buffer + half; /* of channel c */
    int64_t len = ROUND_UP(count, (int64_t)VW) + a->size;
    zero_4(buffer, len);
    take(x, in, MIN(lo, hi), MAX(hi - lo, 0), own + (lo - c));
    for (int64_t j = 0; j < count; j++) result[j] = own[j];
    for (int64_t j = 0; j < len; j += VW) {
      vf v = vf_load(buffer + j);
      vf_store(buffer + j, vf_mul(v, v));
    }
    for (int64_t j = 0; j < count; j += VW) {
      vf sum = vf_set1(0);
      for (int64_t k = 0; k < a->size; k++) sum = vf_add(sum, vf_load(buffer + j + k));
      vf s = vf_fma(sum, vf_set1(a->scale), vf_set1(a->bias));
      vf_store(result + j, vf_div(vf_load(result + j), power(s, a->beta)));
    }
    put(y, out, c, count, result);
  }
}

FN(lrn_f32) {
  const struct lrn a = lrn(v);
  for (int64_t i = 0; i < a.m; i++)
    pixel(&a, (const float *)p[0] + i * a.sx, (float *)p[1] + i * a.sy);
  return 0;
}
