/* Layouts: sizes, strides, conversions. The rows: layouts.def. */
#include "op_impl.h"
#include "strassen.h"
#include "winograd.h"

#include <string.h>

enum kind {
  PLAIN,
  SWAP,
  PANEL,
  PANELT,
  SUMS,
  SUMST,
  SUMS2,
  SUMST2,
  FILTER,
  FILTERC,
  FILTERR,
  WINO4,
  WINO6,
  WINO8,
  LAST,
  CUT,
  FRONT
};

static const struct row {
  const char *name;
  enum kind kind;
  int64_t block;
} rows[] = {
#define LAYOUT(name, text, kind, block, meaning) {text, kind, block},
#include "layouts.def"
#undef LAYOUT
};

_Static_assert(LAYOUT_COUNT <= 64, "a layout_set has a bit for each");

const char *layout_name(enum layout l) { return l < LAYOUT_COUNT ? rows[l].name : "?"; }

enum layout layout_parse(const char *s, size_t len) {
  for (int i = 0; i < LAYOUT_COUNT; i++)
    if (strlen(rows[i].name) == len && !memcmp(rows[i].name, s, len)) return (enum layout)i;
  return LAYOUT_COUNT;
}

int layout_block(enum layout l) { return (int)rows[l].block; }
bool layout_is_cut(enum layout l) { return rows[l].kind == CUT; }

int64_t layout_channels(const struct tensor *t, enum layout l) {
  return layout_is_cut(l) ? ROUND_UP(t->dim[1], (int64_t)LAYOUT_CUT) : t->dim[1];
}
bool layout_pads(const struct tensor *t, enum layout l) {
  return layout_is_cut(l) && t->dim[1] % LAYOUT_CUT != 0;
}

/* How often Strassen's sums were made: 0, 1 or 2. */
static int levels(enum layout l) {
  enum kind kind = rows[l].kind;
  return kind == SUMS || kind == SUMST ? 1 : kind == SUMS2 || kind == SUMST2 ? 2 : 0;
}

/* The number of axes whose last two are the matrix: for Strassen's sums the weights of a 1x1
 * convolution, [outputs, inputs, 1, 1], are one. */
static int matrix_rank(const struct tensor *t, enum layout l) {
  int rank = t->rank;
  while (levels(l) && rank > 2 && t->dim[rank - 1] == 1) rank--;
  return rank;
}

/* The axes that panels see as rows (k) and columns (n) of the packed matrix. */
static void panel_axes(const struct tensor *t, enum layout l, int *k, int *n) {
  enum kind kind = rows[l].kind;
  bool turned = kind == PANELT || kind == SUMST || kind == SUMST2;
  *k = matrix_rank(t, l) - (turned ? 1 : 2);
  *n = matrix_rank(t, l) - (turned ? 2 : 1);
}

/* Whether axis 1 is cut into blocks. */
static bool cuts(enum kind kind) { return kind == CUT || kind == FILTERC; }

static bool is_filter(enum layout l) { return rows[l].kind >= FILTER && rows[l].kind <= FILTERR; }

/* The points of a window's axis of filters for Winograd's convolution; 0 of other layouts. */
static int points(enum layout l) {
  enum kind kind = rows[l].kind;
  return kind < WINO4 || kind > WINO8 ? 0 : 4 + 2 * (int)(kind - WINO4);
}

/* The matrix in a layout of sums, with strides as in layout `from`. */
static struct sums_matrix sums_of(const struct tensor *t, enum layout from, enum layout l) {
  int k, n;
  int64_t stride[FVM_MAXRANK];
  panel_axes(t, l, &k, &n);
  layout_strides(t, from, stride);
  return (struct sums_matrix){.k = t->dim[k],
                              .n = t->dim[n],
                              .sk = stride[k] / 4,
                              .sn = stride[n] / 4,
                              .block = rows[l].block,
                              .levels = levels(l)};
}

static int least_rank(enum kind kind) {
  if (kind == PLAIN) return 0;
  if (kind == FILTER) return 1;
  return kind == LAST || kind == FILTERR || cuts(kind) ? 3 : 2;
}

bool layout_fits(const struct tensor *t, enum layout l) {
  enum kind kind = rows[l].kind;
  if (t->rank < least_rank(kind)) return false;
  if (points(l)) return winograd_fits(t, points(l));
  if (cuts(kind)) return t->rank < FVM_MAXRANK && ROUND_UP(t->dim[1], LAYOUT_CUT) < 2 * t->dim[1];
  if (!levels(l)) return true;
  struct sums_matrix m = sums_of(t, LAYOUT_ROW, l);
  return t->dtype == FVM_F32 && sums_fit(&m);
}

/* Rows of a panel of filters: channels, with those of a block that they do not fill, times taps. */
static int64_t filter_rows(const struct tensor *t, enum layout l) {
  int64_t ins = t->rank > 1 ? t->dim[1] : 1;
  if (rows[l].kind == FILTERC) ins = ROUND_UP(ins, (int64_t)LAYOUT_CUT);
  return ins * dims_product(t->dim, 2, MAX(t->rank, 2));
}

int64_t layout_bytes(const struct tensor *t, enum layout l) {
  if (layout_pads(t, l)) return tensor_bytes(t) / t->dim[1] * layout_channels(t, l);
  if (!rows[l].block) return tensor_bytes(t);
  int64_t batch = dims_product(t->dim, 0, matrix_rank(t, l) - 2);
  int k, n;
  if (levels(l)) {
    struct sums_matrix m = sums_of(t, LAYOUT_ROW, l);
    return batch * sums_bytes(&m);
  }
  if (points(l)) return winograd_bytes(t, points(l), rows[l].block);
  if (is_filter(l))
    return ROUND_UP(t->dim[0], rows[l].block) * filter_rows(t, l) *
           (int64_t)fvm_dtype_bytes(t->dtype);
  panel_axes(t, l, &k, &n);
  return batch * t->dim[k] * ROUND_UP(t->dim[n], rows[l].block) *
         (int64_t)fvm_dtype_bytes(t->dtype);
}

/* Axes from the outermost to the innermost in memory. */
static void axis_order(int rank, enum kind kind, int order[FVM_MAXRANK]) {
  for (int i = 0; i < rank; i++) order[i] = i;
  if (kind == SWAP) {
    order[rank - 2] = rank - 1;
    order[rank - 1] = rank - 2;
  } else if (kind == LAST) {
    for (int i = 1; i < rank - 1; i++) order[i] = i + 1;
    order[rank - 1] = 1;
  } else if (kind == FRONT) {
    order[0] = rank - 2;
    for (int i = 1; i < rank - 1; i++) order[i] = i - 1;
  }
}

void layout_strides(const struct tensor *t, enum layout l, int64_t stride[FVM_MAXRANK]) {
  int order[FVM_MAXRANK] = {0};
  int64_t s = (int64_t)fvm_dtype_bytes(t->dtype);
  CHECK(!rows[l].block && rows[l].kind != CUT && layout_fits(t, l));
  axis_order(t->rank, rows[l].kind, order);
  for (int i = t->rank - 1; i >= 0; i--) {
    stride[order[i]] = s;
    s *= t->dim[order[i]];
  }
}

int layout_box(const struct tensor *t, enum layout l, bool cut, int64_t *dim, int64_t *stride) {
  struct tensor blocks = *t; /* row-major as the layout lies: the block's inside is the last axis */
  int rank = t->rank;
  int64_t size = (int64_t)fvm_dtype_bytes(t->dtype), own[FVM_MAXRANK] = {0};
  bool is_cut = rows[l].kind == CUT;
  if (is_cut) {
    blocks.dim[1] = CEIL_DIV(t->dim[1], (int64_t)LAYOUT_CUT);
    blocks.dim[blocks.rank++] = LAYOUT_CUT;
  }
  layout_strides(&blocks, is_cut ? LAYOUT_ROW : l, own);
  for (int i = 0; i < rank; i++) dim[i] = t->dim[i], stride[i] = own[i] / size;
  if (!cut) return rank;
  dim[1] = CEIL_DIV(t->dim[1], (int64_t)LAYOUT_CUT);
  dim[rank] = LAYOUT_CUT;
  stride[rank] = own[is_cut ? rank : 1] / size;
  if (!is_cut) stride[1] *= LAYOUT_CUT;
  return rank + 1;
}

/* The last block, of `rest` channels: x is the box of those before it. */
static void convert_rest(const struct box *x, int64_t rest, bool fill, int threads,
                         struct builder *b) {
  struct box y = *x;
  int lane = x->rank - 1;
  y.x_off = x->dim[1] * x->x_stride[1];
  y.y_off = x->dim[1] * x->y_stride[1];
  y.dim[1] = 1;
  y.dim[lane] = rest;
  box_emit(b, &y, threads);
  if (!fill) return;
  y.fill = true;
  y.dim[lane] = LAYOUT_CUT - rest;
  y.y_off += rest;
  box_emit(b, &y, threads);
}

/* Their strides differ at most on axes of size 1, and none has padding. */
bool layout_alike(const struct tensor *t, enum layout from, enum layout to) {
  int64_t dim[FVM_MAXRANK], x[FVM_MAXRANK], y[FVM_MAXRANK];
  if (from == to) return true;
  if (layout_block(from) || layout_block(to) || !layout_fits(t, from) || !layout_fits(t, to) ||
      layout_bytes(t, from) != layout_bytes(t, to))
    return false;
  bool cut = layout_is_cut(from) || layout_is_cut(to);
  layout_box(t, from, cut, dim, x);
  int n = layout_box(t, to, cut, dim, y);
  for (int i = 0; i < n; i++)
    if (dim[i] != 1 && x[i] != y[i]) return false;
  return true;
}

static void convert_plain(const struct tensor *t, enum layout from, enum layout to,
                          struct builder *b) {
  bool cut = rows[from].kind == CUT || rows[to].kind == CUT;
  struct box x = {.x_buf = 0, .y_buf = 1, .elem_bytes = fvm_dtype_bytes(t->dtype)};
  layout_box(t, from, cut, x.dim, x.x_stride);
  x.rank = layout_box(t, to, cut, x.dim, x.y_stride);
  /* Small tensors are not cut into calls of a few elements for the sake of many threads. */
  int threads = tensor_bytes(t) < 1 << 20 ? 2 : 4;
  int64_t rest = from == to || !cut ? 0 : t->dim[1] % LAYOUT_CUT;
  if (rest) x.dim[1]--;
  box_emit(b, &x, threads);
  if (rest) convert_rest(&x, rest, rows[to].kind == CUT, threads, b);
}

/* par over panels; inside, all matrices of the batch (usually one).
 *
 *   x  k rows, strides sk and sn     y  panel j: k rows of block columns, one after the other */
static void convert_panels(const struct tensor *t, enum layout from, enum layout to,
                           struct builder *b) {
  int k, n;
  int64_t stride[FVM_MAXRANK], block = rows[to].block;
  panel_axes(t, to, &k, &n);
  layout_strides(t, from, stride);
  int64_t batch = dims_product(t->dim, 0, t->rank - 2), rows_k = t->dim[k], cols = t->dim[n];
  if (batch == 0 || rows_k == 0 || cols == 0) return;
  int j = build_par(b, 0, val(cols), block);
  struct val m = cols % block ? reg(build_min(b, block, val(cols), j)) : val(block);
  int i = build_loop(b, 0, val(batch), 1);
  struct addr x = ADDR(0, 0, {j, stride[n]}), y = ADDR(1, 0, {j, rows_k * 4});
  addr_add(&x, i, rows_k * cols * 4);
  addr_add(&y, i, rows_k * ROUND_UP(cols, block) * 4);
  build_ukr(b, UKR_pack_4, (struct addr[]){x, y},
            (struct val[]){val(rows_k), m, val(stride[k] / 4), val(stride[n] / 4), val(block)});
  build_end(b);
  build_end(b);
}

/* Of all taps, c channels from x on and as many rows of a panel from y on; rows that pad a block of
 * `block` channels become zeros. */
static void pack_taps(struct addr x, struct addr y, int64_t c, int64_t block, int64_t taps,
                      int64_t k, struct val n, int64_t nr, struct builder *b) {
  int tap = build_loop(b, 0, val(taps), 1);
  addr_add(&x, tap, 4);
  addr_add(&y, tap, block * nr * 4);
  build_ukr(b, UKR_pack_4, (struct addr[]){x, y},
            (struct val[]){val(c), n, val(taps), val(k), val(nr)});
  y.off += c * nr * 4;
  if (c < block)
    build_ukr(b, UKR_fill_4, &y, (struct val[]){val(block - c), val(nr), val(nr), val(0)});
  build_end(b);
}

/* par over panels; inside, blocks of channels and taps, of each of which pack_4 makes `c` rows. */
static void convert_filter(const struct tensor *t, enum layout from, enum layout to,
                           struct builder *b) {
  (void)from; /* row */
  enum kind kind = rows[to].kind;
  int64_t nr = rows[to].block, outs = t->dim[0], ins = t->rank > 1 ? t->dim[1] : 1;
  int64_t c = kind == FILTER ? ins : kind == FILTERC ? LAYOUT_CUT : 1;
  int64_t taps = dims_product(t->dim, 2, MAX(t->rank, 2)), k = ins * taps;
  if (outs == 0 || k == 0) return;
  int j = build_par(b, 0, val(outs), nr);
  struct val n = outs % nr ? reg(build_min(b, nr, val(outs), j)) : val(nr);
  struct addr x = ADDR(0, 0, {j, k * 4}), y = ADDR(1, 0, {j, filter_rows(t, to) * 4});
  struct addr x_rest = x, y_rest = y;
  int64_t blocks = ins / c, rest = ins % c;
  int q = build_loop(b, 0, val(blocks), 1);
  addr_add(&x, q, c * taps * 4);
  addr_add(&y, q, c * taps * nr * 4);
  pack_taps(x, y, c, c, taps, k, n, nr, b);
  build_end(b);
  x_rest.off += blocks * c * taps * 4;
  y_rest.off += blocks * c * taps * nr * 4;
  if (rest) pack_taps(x_rest, y_rest, rest, c, taps, k, n, nr, b);
  build_end(b);
}

static void convert_winograd(const struct tensor *t, enum layout from, enum layout to,
                             struct builder *b) {
  (void)from; /* row */
  winograd_convert(t, points(to), rows[to].block, b);
}

static void convert_sums(const struct tensor *t, enum layout from, enum layout to,
                         struct builder *b) {
  struct sums_matrix m = sums_of(t, from, to);
  int64_t batch = dims_product(t->dim, 0, matrix_rank(t, to) - 2);
  if (batch == 0 || m.k == 0 || m.n == 0) return;
  int i = build_loop(b, 0, val(batch), 1);
  sums_emit(b, &m, ADDR(0, 0, {i, m.k * m.n * 4}), ADDR(1, 0, {i, sums_bytes(&m)}));
  build_end(b);
}

enum fvm_status layout_convert(const struct tensor *t, enum layout from, enum layout to,
                               struct arena *a, struct program *p, struct fvm_error *err) {
  bool panels = rows[to].block != 0; /* they take matrices that lie whole one after the other */
  size_t size = fvm_dtype_bytes(t->dtype);
  if (!layout_fits(t, from) || !layout_fits(t, to) || rows[from].block ||
      (panels && (size != 4 || rows[from].kind > (is_filter(to) || points(to) ? PLAIN : SWAP))))
    return fvm_fail(err, FVM_EUNSUPPORTED,
                    "no conversion of a %s tensor with %d axes from %s to %s",
                    fvm_dtype_name(t->dtype), t->rank, rows[from].name, rows[to].name);
  struct builder b;
  build_init(&b, a);
  build_buf(&b, BUF_IN, layout_bytes(t, from));
  build_buf(&b, BUF_OUT, layout_bytes(t, to));
  (levels(to)      ? convert_sums
   : points(to)    ? convert_winograd
   : is_filter(to) ? convert_filter
   : panels        ? convert_panels
                   : convert_plain)(t, from, to, &b);
  return build_finish(&b, p, err);
}

bool layout_convertible(const struct tensor *t, enum layout from, enum layout to) {
  struct arena a = {0};
  struct program p;
  bool ok = layout_convert(t, from, to, &a, &p, NULL) == FVM_OK;
  arena_free(&a);
  return ok;
}
