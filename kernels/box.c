/* Strided copies and fills of boxes with any number of axes. Contract: op_impl.h. */
#include "op_impl.h"

/* Operands of the nest. */
enum { Y, X };

static int size_index(size_t elem_bytes) {
  return elem_bytes == 1 ? 0 : elem_bytes == 2 ? 1 : elem_bytes == 4 ? 2 : elem_bytes == 8 ? 3 : -1;
}
bool box_fits(size_t elem_bytes) { return size_index(elem_bytes) >= 0; }

/* The innermost axis that x does not walk backwards, from axis `from` outwards; -1: none. */
static int forward_axis(const struct nest *t, int from) {
  while (from >= 0 && t->axis[from].stride[X] < 0) from--;
  return from;
}

/* Columns go along y's densest axis. Where x is dense along another one, that is a transposition;
 * else rows are the next axis outwards. Fills have dense columns only. */
static bool choose_axes(struct nest *t, bool fill) {
  t->col = forward_axis(t, t->n - 1);
  if (t->col < 0) return false;
  const int64_t *s = t->axis[t->col].stride;
  if (fill && s[Y] != 1) {
    t->row = t->col;
    t->col = -1;
    return false;
  }
  for (int i = t->n - 1; i >= 0 && s[Y] == 1 && s[X] > 1; i--)
    if (i != t->col && t->axis[i].stride[X] == 1) {
      t->row = i;
      return true;
    }
  t->row = forward_axis(t, t->col - 1);
  return false;
}

static int64_t stride(const struct nest *t, int axis, int op) {
  return axis < 0 ? 0 : t->axis[axis].stride[op];
}

static void put_kernel(struct builder *b, const struct box *x, const struct nest *t, bool transpose,
                       const struct addr *at, struct val m, struct val n) {
  static const int copy[] = {UKR_copy_1, UKR_copy_2, UKR_copy_4, UKR_copy_8};
  static const int turn[] = {UKR_transpose_1, UKR_transpose_2, UKR_transpose_4, UKR_transpose_8};
  static const int fill[] = {UKR_fill_1, UKR_fill_2, UKR_fill_4, UKR_fill_8};
  int s = size_index(x->elem_bytes);
  struct val row_y = val(stride(t, t->row, Y)), col_y = val(stride(t, t->col, Y));
  struct val row_x = val(stride(t, t->row, X)), col_x = val(stride(t, t->col, X));
  struct addr from_to[2] = {at[X], at[Y]};
  if (x->fill)
    build_ukr(b, fill[s], &at[Y], (struct val[]){m, n, row_y, val((int64_t)x->value)});
  else if (transpose)
    build_ukr(b, turn[s], from_to, (struct val[]){m, n, col_x, row_y});
  else
    build_ukr(b, copy[s], from_to, (struct val[]){m, n, row_x, col_x, row_y, col_y});
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

/* Elements of a call: 16 KiB of floats, so that what it reads and writes stays in L1. */
enum { CALL_ELEMS = 4096, TRANSPOSE_EDGE = 64 };

void box_emit(struct builder *b, const struct box *x, int threads) {
  struct nest t = {.nop = 2};
  int64_t size = (int64_t)x->elem_bytes, bytes[2] = {size, size};
  struct addr at[2] = {ADDR(x->y_buf, x->y_off * size, {0, 0}),
                       ADDR(x->x_buf, x->x_off * size, {0, 0})};
  if (dims_product(x->dim, 0, x->rank) == 0) return;
  if (x->fill && size == 8 && x->value >> 55) {
    fill_halves(b, x, threads);
    return;
  }
  for (int i = 0; i < x->rank; i++)
    nest_add(&t, x->dim[i], (int64_t[]){x->y_stride[i], x->fill ? 0 : x->x_stride[i]});
  nest_merge(&t);
  bool transpose = choose_axes(&t, x->fill);
  int64_t cols = transpose ? TRANSPOSE_EDGE : CALL_ELEMS;
  int64_t width = t.col < 0 ? 1 : MIN(cols, t.axis[t.col].dim);
  nest_steps(&t, transpose ? TRANSPOSE_EDGE : MAX(1, CALL_ELEMS / width), cols, threads);
  struct val m, n;
  int open = nest_open(b, &t, threads, at, bytes, &m, &n);
  put_kernel(b, x, &t, transpose, at, m, n);
  while (open--) build_end(b);
}
