/* Strided copies and fills of boxes with any number of axes. Contract: op_impl.h. */
#include "op_impl.h"

#include <string.h>

/* One axis of the box on its way to loops: `step` elements at a time. */
struct axis {
  int64_t dim, x, y, step;
};
struct nest {
  int n;
  struct axis axis[2 * FVM_MAXRANK]; /* by falling stride of y */
  int row, col;                      /* the axes a micro-kernel walks; -1: none */
  bool transpose;
};

static int size_index(size_t elem_bytes) {
  return elem_bytes == 1 ? 0 : elem_bytes == 2 ? 1 : elem_bytes == 4 ? 2 : elem_bytes == 8 ? 3 : -1;
}
bool box_fits(size_t elem_bytes) { return size_index(elem_bytes) >= 0; }

/* Drop axes of one element, sort the rest by y's stride, merge neighbours that are one. */
static void collapse(const struct box *x, struct nest *t) {
  t->n = 0;
  for (int i = 0; i < x->rank; i++) {
    if (x->dim[i] == 1) continue;
    struct axis a = {x->dim[i], x->fill ? 0 : x->x_stride[i], x->y_stride[i], 1};
    int at = t->n++;
    for (; at > 0 && t->axis[at - 1].y < a.y; at--) t->axis[at] = t->axis[at - 1];
    t->axis[at] = a;
  }
  int n = 0;
  for (int i = 0; i < t->n; i++) {
    struct axis *a = &t->axis[i], *last = &t->axis[n - 1];
    if (n && last->y == a->y * a->dim && (x->fill || last->x == a->x * a->dim)) {
      last->dim *= a->dim;
      last->x = a->x;
      last->y = a->y;
    } else {
      t->axis[n++] = *a;
    }
  }
  t->n = n;
}

/* The innermost axis is y's densest. Where x is dense along another one, that is a transposition;
 * else the rows are the next axis outwards. */
static void choose_kernel(struct nest *t) {
  t->row = t->col = -1;
  t->transpose = false;
  for (int i = t->n - 1; i >= 0 && t->col < 0; i--)
    if (t->axis[i].x >= 0) t->col = i;
  if (t->col < 0) return;
  const struct axis *col = &t->axis[t->col];
  for (int i = t->n - 1; i >= 0; i--)
    if (i != t->col && t->axis[i].x == 1 && col->y == 1 && col->x > 1) {
      t->row = i;
      t->transpose = true;
      return;
    }
  for (int i = t->n - 1; i >= 0 && t->row < 0; i--)
    if (i != t->col && t->axis[i].x >= 0) t->row = i;
}

/* Elements that a call moves: 16 KiB of floats, so that what it read is still in L1. */
enum { CALL_ELEMS = 4096, TRANSPOSE_EDGE = 64, STEPS_PER_THREAD = 4 };

static int64_t trips(const struct axis *a) { return CEIL_DIV(a->dim, a->step); }

static void choose_steps(struct nest *t, int threads) {
  struct axis none = {1, 0, 0, 1};
  struct axis *col = t->col < 0 ? &none : &t->axis[t->col];
  struct axis *row = t->row < 0 ? &none : &t->axis[t->row];
  int64_t edge = t->transpose ? TRANSPOSE_EDGE : CALL_ELEMS;
  col->step = MIN(col->dim, edge);
  row->step = MIN(row->dim, t->transpose ? TRANSPOSE_EDGE : MAX(1, CALL_ELEMS / col->step));
  int64_t most = 0, want = threads > 1 ? STEPS_PER_THREAD * (int64_t)threads : 1;
  for (int i = 0; i < t->n; i++) most = MAX(most, trips(&t->axis[i]));
  if (most >= want) return;
  if (row->dim >= want)
    row->step = MIN(row->step, row->dim / want);
  else if (col->dim >= 16 * (int64_t)threads) /* whole cache lines */
    col->step = MIN(col->step, ROUND_UP(CEIL_DIV(col->dim, want), (int64_t)16));
}

/* Open one loop over an axis; what remains of the last step comes out as the size. */
static struct val open_axis(struct builder *b, const struct axis *a, bool par, int *r) {
  *r = (par ? build_par : build_loop)(b, 0, val(a->dim), a->step);
  return a->step > 1 && a->dim % a->step ? reg(build_min(b, a->step, val(a->dim), *r))
                                         : val(a->step);
}

static void put_kernel(struct builder *b, const struct box *x, const struct nest *t,
                       const struct addr *from, const struct addr *to, struct val m, struct val n) {
  static const int copy[] = {UKR_copy_1, UKR_copy_2, UKR_copy_4, UKR_copy_8};
  static const int turn[] = {UKR_transpose_1, UKR_transpose_2, UKR_transpose_4, UKR_transpose_8};
  static const int fill[] = {UKR_fill_1, UKR_fill_2, UKR_fill_4, UKR_fill_8};
  static const struct axis none = {1, 0, 0, 1};
  const struct axis *row = t->row < 0 ? &none : &t->axis[t->row];
  const struct axis *col = t->col < 0 ? &none : &t->axis[t->col];
  int s = size_index(x->elem_bytes);
  if (x->fill)
    build_ukr(b, fill[s], to, (struct val[]){m, n, val(row->y), val((int64_t)x->value)});
  else if (t->transpose)
    build_ukr(b, turn[s], (struct addr[]){*from, *to},
              (struct val[]){m, n, val(col->x), val(row->y)});
  else
    build_ukr(b, copy[s], (struct addr[]){*from, *to},
              (struct val[]){m, n, val(row->x), val(col->x), val(row->y), val(col->y)});
}

/* All loops, the one with the most trips outermost so that a par has something to split. */
static void put_loops(struct builder *b, const struct box *x, const struct nest *t, int threads) {
  int64_t size = (int64_t)x->elem_bytes;
  struct addr from = ADDR(x->x_buf, x->x_off * size, {0, 0}),
              to = ADDR(x->y_buf, x->y_off * size, {0, 0});
  struct val m = val(1), n = val(1);
  int first = 0, open = 0;
  for (int i = 1; i < t->n; i++)
    if (trips(&t->axis[i]) > trips(&t->axis[first])) first = i;
  for (int k = 0; k < t->n; k++) {
    int i = k == 0 ? first : k <= first ? k - 1 : k, r;
    const struct axis *a = &t->axis[i];
    struct val left = val(a->step);
    if (trips(a) > 1) {
      left = open_axis(b, a, threads > 1 && open == 0, &r);
      addr_add(&from, r, a->x * size);
      addr_add(&to, r, a->y * size);
      open++;
    }
    if (i == t->row) m = left;
    if (i == t->col) n = left;
  }
  put_kernel(b, x, t, &from, &to, m, n);
  while (open--) build_end(b);
}

/* 8-byte values with bits that no immediate holds: low and high halves one after the other. */
static void fill_halves(struct builder *b, const struct box *x, int threads) {
  for (int h = 0; h < 2; h++) {
    struct box y = *x;
    y.elem_bytes = 4;
    y.value = h ? x->value >> 32 : x->value & 0xffffffff;
    y.y_off = 2 * x->y_off + h;
    for (int i = 0; i < x->rank; i++) y.y_stride[i] *= 2;
    box_emit(b, &y, threads);
  }
}

void box_emit(struct builder *b, const struct box *x, int threads) {
  struct nest t;
  for (int i = 0; i < x->rank; i++)
    if (x->dim[i] == 0) return;
  if (x->fill && x->elem_bytes == 8 && x->value >> 55) {
    fill_halves(b, x, threads);
    return;
  }
  collapse(x, &t);
  choose_kernel(&t);
  if (x->fill && t.col >= 0 && t.axis[t.col].y != 1) t.row = t.col, t.col = -1;
  choose_steps(&t, threads);
  int loops = 0;
  for (int i = 0; i < t.n; i++) loops += trips(&t.axis[i]) > 1;
  if (loops > CODE_MAXTERM) {
    if (b->err.code == FVM_OK)
      fvm_fail(&b->err, FVM_EUNSUPPORTED, "a copy needs %d nested loops, at most %d are possible",
               loops, CODE_MAXTERM);
    return;
  }
  put_loops(b, x, &t, threads);
}
