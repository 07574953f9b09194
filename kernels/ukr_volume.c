/* Windows over volumes [d][h][w], plainly: what 1-D, 2-D and 3-D networks need beside the kernels
 * for planes. One body for every ISA, the reference included; the operators' own references are
 * what it is compared with. */
#include "ukr_window.h"

#include <math.h>

/* An axis: its extent, and the window's taps, stride, padding before and dilation. */
struct axis {
  int64_t n, k, s, p, d;
};
/* 12 integers from v on, three of each kind. */
static struct axis axis(int64_t n, const int64_t *v, int i) {
  return (struct axis){n, v[i], v[3 + i], v[6 + i], v[9 + i]};
}
/* Where tap t of output o lies. */
INLINE int64_t at(const struct axis *a, int64_t o, int64_t t) { return o * a->s - a->p + t * a->d; }
INLINE bool inside(const struct axis *a, int64_t x) { return x >= 0 && x < a->n; }

/* ---- patches: the order of rows and columns is that of im2col_4 ------------------------------ */
struct patches {
  struct axis z, y, x;
  int64_t c, sc, hw, k, nr, first, n, oh, ow;
};

static struct patches patches(const int64_t *v) {
  return (struct patches){axis(v[2], v + 12, 0),
                          axis(v[4], v + 12, 1),
                          axis(v[5], v + 12, 2),
                          v[0],
                          v[1],
                          v[3],
                          v[6],
                          v[7],
                          v[8],
                          MIN(v[9], v[7]),
                          v[10],
                          v[11]};
}

/* A row of the matrix is one tap; its columns go through rows of outputs. */
struct tap {
  int64_t c, z, y, x;
};
static struct tap tap_of(const struct patches *a, int64_t r) {
  int64_t t = r / a->x.k, u = t / a->y.k;
  return (struct tap){u / a->z.k, u % a->z.k, t % a->y.k, r % a->x.k};
}

/* Columns j .. j + n of a matrix row, all outputs of one row: those from lo to hi have an element,
 * the first of all at `from` (perhaps before the volumes), one every x.s. */
struct run {
  int64_t from, lo, hi, n;
};
static struct run run_of(const struct patches *a, struct tap t, int64_t j) {
  int64_t o = a->first + j, ox = o % a->ow, s = a->x.s;
  int64_t y = at(&a->y, o / a->ow % a->oh, t.y), z = at(&a->z, o / a->ow / a->oh, t.z);
  int64_t x = at(&a->x, ox, t.x), n = MIN(a->n - j, a->ow - ox);
  struct run r = {0, 0, 0, n};
  if (t.c >= a->c || !inside(&a->z, z) || !inside(&a->y, y) || x >= a->x.n) return r;
  if (s == 0 && x < 0) return r;
  r.from = t.c * a->sc + z * a->hw + y * a->x.n + x;
  r.lo = x < 0 ? MIN((s - 1 - x) / s, n) : 0;
  r.hi = s ? MIN((a->x.n - 1 - x) / s + 1, n) : n;
  return r;
}

static bool has_patches(const struct patches *a) {
  return a->oh > 0 && a->ow > 0 && a->x.k > 0 && a->y.k > 0 && a->z.k > 0;
}

FN(im2col3_4) {
  const struct patches a = patches(v);
  const float *x = p[0];
  float *y = p[1];
  if (!has_patches(&a)) return 0;
  for (int64_t r = 0; r < a.k; r++, y += a.nr) {
    const struct tap t = tap_of(&a, r);
    for (int64_t j = 0; j < a.nr; j++) y[j] = 0;
    for (int64_t j = 0; j < a.n;) {
      const struct run u = run_of(&a, t, j);
      for (int64_t l = u.lo; l < u.hi; l++) y[j + l] = x[u.from + l * a.x.s];
      j += u.n;
    }
  }
  return 0;
}

FN(col2im3_4) {
  const struct patches a = patches(v);
  const float *x = p[0];
  float *y = p[1];
  if (!has_patches(&a)) return 0;
  for (int64_t r = 0; r < a.k; r++, x += a.nr) {
    const struct tap t = tap_of(&a, r);
    for (int64_t j = 0; j < a.n;) {
      const struct run u = run_of(&a, t, j);
      for (int64_t l = u.lo; l < u.hi; l++) y[u.from + l * a.x.s] += x[j + l];
      j += u.n;
    }
  }
  return 0;
}

/* ---- pools ----------------------------------------------------------------------------------- */
enum { MAXIMUM, MEAN, PADDED_MEAN, TOTAL };

struct volume {
  const float *x;
  int64_t hx;
  struct axis a[3];
  int64_t end[3]; /* of input and padding */
};

/* The taps along one axis that lie inside and, as *padded, inside or in the padding. */
INLINE int64_t count(const struct axis *a, int64_t end, int64_t o, int64_t *padded) {
  int64_t n = 0;
  *padded = 0;
  for (int64_t t = 0; t < a->k; t++) {
    n += inside(a, at(a, o, t));
    *padded += at(a, o, t) < end;
  }
  return n;
}

static float window(const struct volume *v, const int64_t *o, bool max) {
  float sum = 0, most = -INFINITY;
  const struct axis *a = v->a;
  for (int64_t i = 0; i < a[0].k; i++) {
    int64_t z = at(&a[0], o[0], i);
    for (int64_t j = 0; inside(&a[0], z) && j < a[1].k; j++) {
      int64_t y = at(&a[1], o[1], j);
      for (int64_t t = 0; inside(&a[1], y) && t < a[2].k; t++) {
        int64_t x = at(&a[2], o[2], t);
        if (!inside(&a[2], x)) continue;
        float e = v->x[z * v->hx + y * a[2].n + x];
        sum += e;
        most = e > most ? e : most;
      }
    }
  }
  return max ? most : sum;
}

FN(pool3_f32) {
  int64_t n = v[0], oh = v[1], ow = v[2], how = v[22];
  const struct volume a = {p[0],
                           v[4],
                           {axis(v[3], v + 7, 0), axis(v[5], v + 7, 1), axis(v[6], v + 7, 2)},
                           {v[19], v[20], v[21]}};
  float *y = p[1];
  if (oh == 0 || ow == 0) return 0;
  for (int64_t q = 0; q < n; q++) {
    const int64_t o[3] = {q / ow / oh, q / ow % oh, q % ow};
    int64_t taps = 1, padded = 1, part;
    float r = window(&a, o, how == MAXIMUM);
    for (int i = 0; i < 3 && (how == MEAN || how == PADDED_MEAN); i++) {
      taps *= count(&a.a[i], a.end[i], o[i], &part);
      padded *= part;
    }
    int64_t by = how == PADDED_MEAN ? padded : taps;
    y[q] = by == 0 ? 0 : r / (float)by;
  }
  return 0;
}
