/* Loop nests over boxes. Contract: op_impl.h. */
#include "op_impl.h"

#include <string.h>

void nest_add(struct nest *t, int64_t dim, const int64_t *stride) {
  if (dim == 1) return;
  int at = t->n++;
  CHECK(t->n <= NEST_MAXAXIS && t->nop <= NEST_MAXOP);
  for (; at > 0 && t->axis[at - 1].stride[0] < stride[0]; at--) t->axis[at] = t->axis[at - 1];
  t->axis[at] = (struct nest_axis){.dim = dim, .step = 1};
  memcpy(t->axis[at].stride, stride, (size_t)t->nop * sizeof *stride);
}

static bool joins(const struct nest *t, const struct nest_axis *outer,
                  const struct nest_axis *inner) {
  for (int k = 0; k < t->nop; k++)
    if (outer->stride[k] != inner->stride[k] * inner->dim) return false;
  return true;
}

void nest_merge(struct nest *t) {
  int n = 0;
  for (int i = 0; i < t->n; i++) {
    if (n && joins(t, &t->axis[n - 1], &t->axis[i])) {
      int64_t dim = t->axis[n - 1].dim * t->axis[i].dim;
      t->axis[n - 1] = t->axis[i];
      t->axis[n - 1].dim = dim;
    } else {
      t->axis[n++] = t->axis[i];
    }
  }
  t->n = n;
  t->row = t->col = -1;
}

static int64_t trips(const struct nest_axis *a) { return CEIL_DIV(a->dim, a->step); }

/* Equal steps of at most max, in whole cache lines where there are several. */
static int64_t even_step(int64_t dim, int64_t max) {
  if (dim <= max) return dim;
  return MIN(ROUND_UP(CEIL_DIV(dim, CEIL_DIV(dim, max)), (int64_t)16), max);
}

enum { STEPS_PER_THREAD = 4 };

void nest_steps(struct nest *t, int64_t row_max, int64_t col_max, int threads) {
  struct nest_axis none = {.dim = 1, .step = 1};
  struct nest_axis *col = t->col < 0 ? &none : &t->axis[t->col];
  struct nest_axis *row = t->row < 0 ? &none : &t->axis[t->row];
  col->step = even_step(col->dim, col_max);
  row->step = MIN(row->dim, row_max);
  int64_t most = 0, want = threads > 1 ? STEPS_PER_THREAD * (int64_t)threads : 1;
  for (int i = 0; i < t->n; i++) most = MAX(most, trips(&t->axis[i]));
  if (most >= want) return;
  if (row->dim >= want)
    row->step = MIN(row->step, row->dim / want);
  else if (col->dim >= 16 * (int64_t)threads)
    col->step = MIN(col->step, ROUND_UP(CEIL_DIV(col->dim, want), (int64_t)16));
}

/* A loop over an axis; returns its register and what the step at hand takes. */
static int open_axis(struct builder *b, const struct nest_axis *a, bool par, struct val *size) {
  int r = (par ? build_par : build_loop)(b, 0, val(a->dim), a->step);
  *size = a->dim % a->step ? reg(build_min(b, a->step, val(a->dim), r)) : val(a->step);
  return r;
}

static int count_loops(const struct nest *t) {
  int n = 0;
  for (int i = 0; i < t->n; i++) n += trips(&t->axis[i]) > 1;
  return n;
}

static int64_t divisor_of(int64_t a, int64_t b) { return b ? divisor_of(b, a % b) : a; }

/* Whether threads that share an axis can be proven to write apart: all of it fits into each step of
 * those outside (vm/verify.h), as it does unless blocks are not filled. */
static bool is_apart(const struct nest *t, int axis) {
  int64_t step = 0;
  for (int i = 0; i < axis; i++) step = divisor_of(t->axis[i].stride[0], step);
  return step == 0 || step >= t->axis[axis].stride[0] * t->axis[axis].dim;
}

int nest_open(struct builder *b, const struct nest *t, int threads, struct addr *at,
              const int64_t *bytes, struct val *m, struct val *n) {
  int first = 0, open = 0;
  *m = *n = val(1);
  if (count_loops(t) > CODE_MAXTERM) {
    if (b->err.code == FVM_OK)
      fvm_fail(&b->err, FVM_EUNSUPPORTED, "%d nested loops are needed, at most %d are possible",
               count_loops(t), CODE_MAXTERM);
    return 0;
  }
  for (int i = 1; i < t->n; i++)
    if (trips(&t->axis[i]) > trips(&t->axis[first]) && is_apart(t, i)) first = i;
  for (int k = 0; k < t->n; k++) {
    int i = k == 0 ? first : k <= first ? k - 1 : k;
    const struct nest_axis *a = &t->axis[i];
    struct val size = val(a->step);
    if (trips(a) > 1) {
      int r = open_axis(b, a, threads > 1 && open == 0, &size);
      for (int j = 0; j < t->nop; j++) addr_add(&at[j], r, a->stride[j] * bytes[j]);
      open++;
    }
    if (i == t->row) *m = size;
    if (i == t->col) *n = size;
  }
  return open;
}
