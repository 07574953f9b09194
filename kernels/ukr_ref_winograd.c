/* Reference of Winograd's transforms: the matrices of ukr_winograd.h, applied in double. The
 * weights' transform has no other body: it runs when a plan is made. */
#include "ukr_winograd.h"

#include <math.h>

typedef double matrix[WINO_MAXN][WINO_MAXN];

/* c = the coefficients of the product of x - q over the finite points q of n, all but `skip`. */
static void polynomial(int n, int skip, double *c) {
  for (int i = 0; i < n; i++) c[i] = i == 0;
  for (int q = 0, degree = 0; q < n - 1; q++) {
    if (q == skip) continue;
    degree++;
    for (int i = degree; i >= 0; i--)
      c[i] = (i > 0 ? c[i - 1] : 0) - (double)wino_point(n, q) * c[i];
  }
}

/* B', n x n. */
static void input_matrix(int n, matrix b) {
  for (int p = 0; p < n; p++) polynomial(n, p, b[p]);
}

/* A', m x n. */
static void output_matrix(int m, int n, matrix a) {
  for (int i = 0; i < m; i++)
    for (int p = 0; p < n; p++)
      a[i][p] = p < n - 1 ? pow((double)wino_point(n, p), i) : (double)(i == m - 1);
}

/* G, n x r. */
static void weight_matrix(int n, int r, matrix g) {
  for (int p = 0; p < n; p++) {
    double others = 1;
    for (int q = 0; q < n - 1 && p < n - 1; q++)
      if (q != p) others *= (double)wino_point(n, p) - (double)wino_point(n, q);
    for (int k = 0; k < r; k++)
      g[p][k] = p < n - 1 ? pow((double)wino_point(n, p), k) / others : (double)(k == r - 1);
  }
}

/* y = a x a', where a is m x n and x is n x n. */
static void both_sides(int m, int n, const matrix a, const matrix x, matrix y) {
  matrix t;
  for (int i = 0; i < m; i++)
    for (int j = 0; j < n; j++) {
      t[i][j] = 0;
      for (int k = 0; k < n; k++) t[i][j] += a[i][k] * x[k][j];
    }
  for (int i = 0; i < m; i++)
    for (int j = 0; j < m; j++) {
      y[i][j] = 0;
      for (int k = 0; k < n; k++) y[i][j] += t[i][k] * a[j][k];
    }
}

static int inputs(void *const *p, const int64_t *v, int n) {
  const int64_t h = v[0], sy = v[1], w = v[2], sx = v[3], channels = v[4], sv = v[5], st = v[6];
  const int64_t t = v[7], tw = MAX(v[8], 1), y0 = v[9] - v[11], x0 = v[10] - v[12], step = v[13];
  matrix b, d, o;
  input_matrix(n, b);
  for (int64_t i = 0; i < t; i++)
    for (int64_t c = 0; c < channels; c++) {
      for (int k = 0; k < n * n; k++) {
        int64_t y = y0 + i / tw * step + k / n, x = x0 + i % tw * step + k % n;
        bool inside = y >= 0 && y < h && x >= 0 && x < w;
        d[k / n][k % n] = inside ? (double)((const float *)p[0])[y * sy + x * sx + c] : 0;
      }
      both_sides(n, n, b, d, o);
      for (int k = 0; k < n * n; k++) ((float *)p[1])[k * sv + i * st + c] = (float)o[k / n][k % n];
    }
  return 0;
}

FN(wino_in_4) { return inputs(p, v, 4); }
FN(wino_in_6) { return inputs(p, v, 6); }
FN(wino_in_8) { return inputs(p, v, 8); }

static int outputs(void *const *p, const int64_t *v, int m, int n) {
  const int64_t channels = v[0], sm = v[1], st = v[2], t = v[3], tw = MAX(v[4], 1);
  const int64_t oh = v[5], sy = v[6], ow = v[7], sx = v[8], bias = v[9];
  const double lo = (double)ukr_float(v[10]), hi = (double)ukr_float(v[11]);
  matrix a, d, o;
  output_matrix(m, n, a);
  for (int64_t i = 0; i < t; i++)
    for (int64_t c = 0; c < channels; c++) {
      for (int k = 0; k < n * n; k++)
        d[k / n][k % n] = (double)((const float *)p[0])[k * sm + i * st + c];
      both_sides(m, n, a, d, o);
      for (int k = 0; k < m * m; k++) {
        int64_t y = i / tw * m + k / m, x = i % tw * m + k % m;
        double out = o[k / m][k % m] + (bias ? (double)((const float *)p[1])[c] : 0);
        if (y < oh && x < ow)
          ((float *)p[2])[y * sy + x * sx + c] = (float)(out < lo ? lo : out > hi ? hi : out);
      }
    }
  return 0;
}

FN(wino_out_2_4) { return outputs(p, v, 2, 4); }
FN(wino_out_4_6) { return outputs(p, v, 4, 6); }
FN(wino_out_6_8) { return outputs(p, v, 6, 8); }
FN(wino_out_2_6) { return outputs(p, v, 2, 6); }
FN(wino_out_4_8) { return outputs(p, v, 4, 8); }

/* o = G w G' of one filter and channel, w being r x r. */
static void weights_of(int n, int r, const matrix g, const float *w, matrix o) {
  matrix t;
  for (int i = 0; i < n; i++)
    for (int j = 0; j < r; j++) {
      t[i][j] = 0;
      for (int k = 0; k < r; k++) t[i][j] += g[i][k] * (double)w[k * r + j];
    }
  for (int i = 0; i < n; i++)
    for (int j = 0; j < n; j++) {
      o[i][j] = 0;
      for (int k = 0; k < r; k++) o[i][j] += t[i][k] * g[j][k];
    }
}

static int weights(void *const *p, const int64_t *v, int n) {
  const int64_t filters = v[0], k = v[1], sn = v[2], sk = v[3], nr = v[5], su = v[6];
  const int r = (int)v[4];
  matrix g, o = {{0}};
  weight_matrix(n, r, g);
  for (int64_t c = 0; c < k; c++)
    for (int64_t f = 0; f < nr; f++) {
      if (f < filters) weights_of(n, r, g, (const float *)p[0] + f * sn + c * sk, o);
      for (int i = 0; i < n * n; i++)
        ((float *)p[1])[i * su + c * nr + f] = f < filters ? (float)o[i / n][i % n] : 0;
    }
  return 0;
}

FN(wino_weights_4) { return weights(p, v, 4); }
FN(wino_weights_6) { return weights(p, v, 6); }
FN(wino_weights_8) { return weights(p, v, 8); }
