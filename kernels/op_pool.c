/* Pools: shapes, references, candidates. A plane at a time; global pools are rows. */
#include "last.h"
#include "op_impl.h"
#include "ref.h"
#include "pool3.h"
#include "window.h"

#include <math.h>
#include <string.h>

/* Knob of the global pools: planes in a block. */
enum { ROWS };

static bool is_max(const struct op *op) { return strstr(op->name, "Max") != NULL; }
static bool is_lp(const struct op *op) { return strstr(op->name, "Lp") != NULL; }
static bool is_global(const struct op *op) { return strncmp(op->name, "Global", 6) == 0; }

/* A global pool's window is the whole input. */
static enum fvm_status pool_window(struct window *w, const struct opcall *c,
                                   struct fvm_error *err) {
  if (!is_global(c->op) && !opcall_attr(c, "kernel_shape"))
    return fvm_fail(err, FVM_EFORMAT, "attribute 'kernel_shape' is missing");
  return window_init(w, c, is_global(c->op) ? c->in[0].dim + 2 : NULL, err);
}

enum fvm_status pool_shape(struct opcall *c, struct fvm_error *err) {
  struct window w;
  enum fvm_dtype t = c->in[0].dtype;
  if (t != FVM_F32 && t != FVM_F64)
    return fvm_fail(err, FVM_EUNSUPPORTED, "%s of %s", c->op->name, fvm_dtype_name(t));
  if (is_lp(c->op) && opcall_int(c, "p", 2) < 1)
    return fvm_fail(err, FVM_EFORMAT, "attribute 'p' must be at least 1");
  enum fvm_status st = pool_window(&w, c, err);
  return st == FVM_OK ? window_shape(&w, c, c->in[0].dim[1], err) : st;
}

/* ---- reference ------------------------------------------------------------------------------- */
/* Taps of a window that lie in the input or its padding, not in what rounding up added. */
static bool is_padded(const struct window *w, const int64_t *out, const int64_t *tap) {
  for (int i = 0; i < WINDOW_AXES; i++)
    if (out[i] * w->stride[i] - w->lo[i] + tap[i] * w->dilation[i] >= w->in[i] + w->hi[i])
      return false;
  return true;
}

struct ref_pool {
  struct window w;
  enum fvm_dtype t;
  const void *x;
  void *y;
  bool max, lp, count_pad;
  double p;
};

/* Of the plane whose first element is x[plane]. */
static double pool_pixel(const struct ref_pool *r, int64_t plane, const int64_t *out) {
  int64_t tap[WINDOW_AXES] = {0}, place, n = 0;
  double sum = 0, max = (double)-INFINITY;
  do {
    bool inside = window_tap(&r->w, out, tap, &place);
    n += inside || (r->count_pad && is_padded(&r->w, out, tap));
    if (!inside) continue;
    double v = elem_f64(r->x, r->t, plane + place);
    sum += r->lp ? pow(fabs(v), r->p) : v;
    max = fmax(max, v);
  } while (window_next(r->w.kernel, tap));
  if (r->lp) return pow(sum, 1 / r->p);
  return r->max ? max : n ? sum / (double)n : 0;
}

static void pool_planes_ref(const void *arg, int64_t from, int64_t to, double *scratch) {
  const struct ref_pool *r = arg;
  int64_t at = from * window_outputs(&r->w);
  (void)scratch;
  for (int64_t p = from; p < to; p++) {
    int64_t idx[WINDOW_AXES] = {0};
    do {
      elem_set_f64(r->y, r->t, at++, pool_pixel(r, p * window_inputs(&r->w), idx));
    } while (window_next(r->w.out, idx));
  }
}

enum fvm_status pool_ref(const struct opcall *c, const void *const *in, void *const *out,
                         struct fvm_error *err) {
  struct ref_pool r = {.t = c->in[0].dtype,
                       .x = in[0],
                       .y = out[0],
                       .max = is_max(c->op),
                       .lp = is_lp(c->op),
                       .count_pad = opcall_int(c, "count_include_pad", 0) != 0,
                       .p = (double)opcall_int(c, "p", 2)};
  enum fvm_status st = pool_window(&r.w, c, err);
  if (st != FVM_OK || tensor_count(&c->out[0]) == 0) return st;
  double taps = (double)dims_product(r.w.kernel, 0, WINDOW_AXES);
  return ref_parallel(c->in[0].dim[0] * c->in[0].dim[1], 5 * taps * (double)window_outputs(&r.w), 0,
                      pool_planes_ref, &r, err);
}

/* ---- planes ---------------------------------------------------------------------------------- */
static int64_t pool_planes(const struct opcall *c) { return c->in[0].dim[0] * c->in[0].dim[1]; }

static void emit_planes(const struct opcall *c, const struct label *l, struct builder *b) {
  (void)l;
  struct window w;
  struct epilogue e;
  struct place at = {0};
  CHECK(pool_window(&w, c, NULL) == FVM_OK);
  int64_t pixels = window_outputs(&w);
  epilogue_init(&e, c, pixels, 1, pixels, 0, b);
  struct span p = span_open(b, true, val(pool_planes(c)), pool_planes(c), 1);
  place_row(&at, &p, 1);
  struct addr x = matrix_at(&(struct matrix){0, 0, window_inputs(&w) * 4, 4, 0}, &at);
  struct val v[UKR_MAXVAL] = {val(w.in[1]), val(w.in[2]), val(w.out[1]), val(w.out[2])};
  window_vals(&w, v + 4);
  v[12] = val(opcall_int(c, "count_include_pad", 0) != 0);
  build_ukr(b, is_max(c->op) ? UKR_maxpool_f32 : UKR_avgpool_f32,
            (struct addr[]){x, epilogue_anchor(&e, &at)}, v);
  epilogue_emit(&e, &at, val(1), 1, val(pixels), pixels, b);
  span_close(b, &p);
}

/* The micro-kernel counts all taps as padding that lie outside: not those of rounding up. */
static bool overhangs(const struct window *w) {
  for (int i = 0; i < WINDOW_AXES; i++)
    if (window_under(w, i, w->out[i]) > w->in[i] + w->lo[i] + w->hi[i]) return true;
  return false;
}

static bool label_planes(const struct opcall *c, const struct target *t, int i, struct label *l) {
  struct window w;
  if (c->in[0].dtype != FVM_F32 || pool_window(&w, c, NULL) != FVM_OK) return false;
  int64_t count = tensor_count(&c->out[0]);
  if (count == 0 || !window_is_plane(&w) || i >= MAX(t->nthreads, 1)) return false;
  if (opcall_int(c, "count_include_pad", 0) && overhangs(&w)) return false;
  l->threads = t->nthreads ? t->threads[i] : 1;
  return epilogue_fits(c, count, window_outputs(&w));
}

static void cost_planes(const struct opcall *c, const struct label *l, struct opcost *cost) {
  struct window w;
  CHECK(pool_window(&w, c, NULL) == FVM_OK);
  cost_stream(c, l, cost);
  cost->flops = tensor_count(&c->out[0]) * w.kernel[1] * w.kernel[2];
  cost->calls = pool_planes(c);
}

/* ---- channels last --------------------------------------------------------------------------- */
bool last_of_pool(const struct opcall *c, struct last *op) {
  struct window w;
  bool max = is_max(c->op);
  if (pool_window(&w, c, NULL) != FVM_OK) return false;
  *op = (struct last){
      .w = w,
      .ukr = max ? UKR_maxpool_last_f32 : UKR_avgpool_last_f32,
      .tail = {val(w.hi[1]), val(w.hi[2]), val(opcall_int(c, "count_include_pad", 0) != 0)},
      .ntail = max ? 0 : 3};
  return true;
}

static bool label_last(const struct opcall *c, const struct target *t, int i, struct label *l) {
  struct last op;
  return last_of_pool(c, &op) && last_label(&op, c, t, i, l);
}

static void emit_last(const struct opcall *c, const struct label *l, struct builder *b) {
  struct last op;
  CHECK(last_of_pool(c, &op));
  last_emit(&op, c, l, b);
}

static void cost_last(const struct opcall *c, const struct label *l, struct opcost *cost) {
  struct last op;
  CHECK(last_of_pool(c, &op));
  last_cost(&op, c, l, cost);
}

const struct cand pool_cands[] = {
    {"pool_planes", {NULL}, label_planes, emit_planes, cost_planes},
    {"pool_last", {LAST_KNOBS}, label_last, emit_last, cost_last},
    {"pool_volumes", {NULL}, pool3_label, pool3_emit, pool3_cost},
    {0},
};

/* ---- global pools: rows ---------------------------------------------------------------------- */
static void emit_rows(const struct opcall *c, const struct label *l, struct builder *b) {
  struct epilogue e;
  struct place at = {0};
  int64_t planes = pool_planes(c), n = tensor_count(&c->in[0]) / planes, rows = l->knob[ROWS];
  epilogue_init(&e, c, 1, rows, 1, 0, b);
  int scale = is_max(c->op) ? -1 : emit_constants(b, &(float){1 / (float)n}, 1);
  struct span p = span_open(b, true, val(planes), planes, rows);
  place_row(&at, &p, 1);
  struct addr x = matrix_at(&(struct matrix){0, 0, n * 4, 4, 0}, &at), y = epilogue_anchor(&e, &at);
  struct val one = val(1), zero = val(0);
  build_ukr(b, is_max(c->op) ? UKR_rowmax_f32 : UKR_rowsum_f32, (struct addr[]){x, y},
            (struct val[]){p.len, val(n), val(n), one});
  if (scale >= 0)
    build_ukr(b, UKR_mul_f32, (struct addr[]){y, ADDR(scale, 0), y},
              (struct val[]){p.len, one, one, one, zero, zero, one});
  epilogue_emit(&e, &at, p.len, p.max, one, 1, b);
  span_close(b, &p);
}

static bool label_rows(const struct opcall *c, const struct target *t, int i, struct label *l) {
  int64_t planes = pool_planes(c);
  if (c->in[0].dtype != FVM_F32 || tensor_count(&c->in[0]) == 0) return false;
  if (i >= MAX(t->nthreads, 1) || planes > INT32_MAX) return false;
  l->threads = t->nthreads ? t->threads[i] : 1;
  l->knob[ROWS] = (int32_t)MIN(CEIL_DIV(planes, l->threads), 64);
  return epilogue_fits(c, planes, 1);
}

static void emit_columns(const struct opcall *c, const struct label *l, struct builder *b) {
  const struct tensor *x = &c->in[0];
  const struct columns mean = {UKR_colsum_f32, 1 / (float)(x->dim[2] * x->dim[3])};
  const struct columns max = {UKR_colmax_f32, 1};
  columns_emit(is_max(c->op) ? &max : &mean, c, l, b);
}

const struct cand global_pool_cands[] = {
    {"pool_rows", {"rows"}, label_rows, emit_rows, NULL},
    {"pool_columns", {"cb"}, columns_label, emit_columns, NULL},
    {0},
};

/* ---- norms: sums of powers, a plane at a time -------------------------------------------------
 */
/* y = f(x) on n elements by strips; exponent: |x|^p, or x^(1/p) where `root`. */
static void put_power(struct builder *b, struct addr x, struct addr y, int64_t n, int64_t p,
                      bool root, int exponent) {
  struct val len = val(n), one = val(1), zero = val(0);
  struct val unary[] = {one, len, len, one, len}, square[] = {one, len, len, one, len, one, len};
  struct val power[] = {one, len, len, one, zero, zero, len};
  if (p == 2 && !root) build_ukr(b, UKR_mul_f32, (struct addr[]){x, x, y}, square);
  if (p == 2 && root) build_ukr(b, UKR_sqrt_f32, (struct addr[]){x, y}, unary);
  if (p != 2 && !root) build_ukr(b, UKR_abs_f32, (struct addr[]){x, y}, unary);
  if (p > 2)
    build_ukr(b, UKR_pow_f32, (struct addr[]){root ? x : y, ADDR(exponent, root ? 4 : 0), y},
              power);
}

static void emit_norms(const struct opcall *c, const struct label *l, struct builder *b) {
  struct window w;
  (void)l; /* no knobs, and the same program for any number of threads */
  CHECK(pool_window(&w, c, NULL) == FVM_OK);
  int64_t p = opcall_int(c, "p", 2), planes = pool_planes(c);
  int64_t n = window_inputs(&w), m = window_outputs(&w);
  int powers = build_buf(b, BUF_SCRATCH, n * 4);
  int exponent = emit_constants(b, (float[]){(float)p, 1 / (float)p}, 2);
  struct span s = span_open(b, true, val(planes), planes, 1);
  struct addr x = ADDR(0, 0), y = ADDR(c->nin, 0), t = ADDR(powers, 0);
  span_term(&x, &s, n * 4);
  span_term(&y, &s, m * 4);
  put_power(b, x, t, n, p, false, exponent);
  struct val one = val(1);
  struct val v[UKR_MAXVAL] = {val(w.in[1]), val(w.in[2]),  one,           val(w.in[2]),  one,
                              val(0),       val(w.out[1]), val(w.out[2]), val(w.out[2]), one};
  window_vals(&w, v + 10);
  v[18] = v[19] = val(0);
  v[20] = val(2); /* the sum */
  build_ukr(b, UKR_avgpool_last_f32, (struct addr[]){t, y}, v);
  put_power(b, y, y, m, p, true, exponent);
  span_close(b, &s);
}

static bool label_norms(const struct opcall *c, const struct target *t, int i, struct label *l) {
  struct window w;
  if (c->in[0].dtype != FVM_F32 || pool_window(&w, c, NULL) != FVM_OK) return false;
  if (tensor_count(&c->out[0]) == 0 || !window_is_plane(&w) || i >= MAX(t->nthreads, 1))
    return false;
  l->threads = t->nthreads ? t->threads[i] : 1;
  return true;
}

const struct cand lp_pool_cands[] = {{"pool_norms", {NULL}, label_norms, emit_norms, cost_planes},
                                     {0}};
