/* Ways to run what moves data: boxes that are copied, and views where nothing has to be. */
#include "move.h"

#include <string.h>

/* Whether one box is a whole output as it lies in the input. */
static bool is_view(const struct opcall *c, const struct box *x) {
  for (int i = 0; i < x->rank; i++)
    if (x->dim[i] != 1 && x->x_stride[i] != x->y_stride[i]) return false;
  return !x->fill && x->x_buf == 0 &&
         dims_product(x->dim, 0, x->rank) == tensor_count(&c->out[x->y_buf - c->nin]);
}

/* Whether n channels from `from` on of a tensor become those from `to` on of another in a layout of
 * blocks: whole ones, the last of which may be padded where both tensors end. */
static bool moves_blocks(const struct tensor *in, int64_t from, const struct tensor *out,
                         int64_t to, int64_t n) {
  if (from % LAYOUT_CUT || to % LAYOUT_CUT) return false;
  return n % LAYOUT_CUT == 0 || (from + n == in->dim[1] && to + n == out->dim[1]);
}

/* Whether a box of output k is whole and step 1 on every axis, and both lie alike in a layout; the
 * offset (in elements) of its first one. */
static bool lies_alike(const struct opcall *c, int k, const struct box *x, enum layout l,
                       int64_t *offset) {
  const struct tensor *in = &c->in[0], *out = &c->out[k];
  int64_t row[FVM_MAXRANK], from[FVM_MAXRANK], to[FVM_MAXRANK], dim[FVM_MAXRANK];
  bool cut = layout_is_cut(l);
  if (x->fill || x->x_buf != 0 || x->rank != in->rank || x->rank != out->rank ||
      dims_product(x->dim, 0, x->rank) != tensor_count(out) || tensor_count(out) == 0 ||
      !layout_fits(in, l) || !layout_fits(out, l))
    return false;
  row_strides(in->rank, in->dim, row);
  layout_box(in, l, cut, dim, from);
  *offset = 0;
  for (int a = 0; a < in->rank; a++) {
    int64_t start = x->x_off / row[a] % in->dim[a], block = cut && a == 1 ? LAYOUT_CUT : 1;
    if ((x->dim[a] != 1 && x->x_stride[a] != row[a]) ||
        (block > 1 && !moves_blocks(in, start, out, 0, x->dim[1])))
      return false;
    *offset += start / block * from[a];
  }
  for (int n = layout_box(out, l, cut, dim, to), a = 0; a < n; a++)
    if (dim[a] != 1 && from[a] != to[a]) return false;
  return true;
}

/* Each output is one box, and in the input comes right after the one before. */
static bool shows(const struct opcall *c, enum layout l, int64_t *offset) {
  struct box x, more;
  int64_t end = 0;
  for (int k = 0; k < c->nout; k++) {
    int64_t at;
    if (c->out[k].dtype == FVM_NONE || !move_next_box(c, k, &x) || x.y_buf != c->nin + k)
      return false;
    at = x.x_off;
    if (l == LAYOUT_ROW ? !is_view(c, &x) : !lies_alike(c, k, &x, l, &at)) return false;
    if (k == 0) *offset = at * (int64_t)x.elem_bytes;
    if ((k > 0 && at != end) || at * (int64_t)x.elem_bytes % FVM_ALIGN) return false;
    end = at + layout_bytes(&c->out[k], l) / (int64_t)x.elem_bytes;
  }
  return !move_next_box(c, c->nout, &more);
}

static bool label_view(const struct opcall *c, const struct target *t, int i, struct label *l) {
  static const enum layout layouts[] = {LAYOUT_ROW, LAYOUT_COL, LAYOUT_NHWC, LAYOUT_C16};
  (void)t;
  for (size_t k = 0; k < COUNT(layouts); k++)
    if (shows(c, layouts[k], &l->view_offset) && i-- == 0) {
      l->view = true;
      l->in[0] = (uint8_t)layouts[k];
      for (int o = 0; o < MIN(c->nout, LABEL_MAXIO); o++) l->out[o] = (uint8_t)layouts[k];
      return true;
    }
  return false;
}

/* A transposition renames layouts: the output in `lo` is the input in `li`, byte by byte. */
static bool renames(const struct opcall *c, enum layout li, enum layout lo) {
  int perm[FVM_MAXRANK] = {0};
  int64_t from[FVM_MAXRANK], to[FVM_MAXRANK];
  if (!layout_fits(&c->in[0], li) || !layout_fits(&c->out[0], lo) || move_perm(c, perm, NULL))
    return false;
  layout_strides(&c->in[0], li, from);
  layout_strides(&c->out[0], lo, to);
  for (int i = 0; i < c->out[0].rank; i++)
    if (c->out[0].dim[i] != 1 && to[i] != from[perm[i]]) return false;
  return true;
}

static bool label_rename(const struct opcall *c, const struct target *t, int i, struct label *l) {
  static const enum layout layouts[] = {LAYOUT_ROW, LAYOUT_COL, LAYOUT_NHWC, LAYOUT_SEQ};
  (void)t;
  for (size_t a = 0; a < COUNT(layouts); a++)
    for (size_t b = 0; b < COUNT(layouts); b++)
      if (renames(c, layouts[a], layouts[b]) && i-- == 0) {
        l->view = true;
        l->in[0] = (uint8_t)layouts[a];
        l->out[0] = (uint8_t)layouts[b];
        return true;
      }
  return false;
}

/* The box of a mover that keeps axes, as its tensors lie in a layout. False when they can't, or
 * when it would cut blocks of channels. */
static bool box_in(const struct opcall *c, const struct box *x, enum layout l, struct box *y) {
  const struct tensor *in = &c->in[x->x_buf], *out = &c->out[x->y_buf - c->nin];
  int64_t row_in[FVM_MAXRANK], row_out[FVM_MAXRANK], dim[FVM_MAXRANK];
  bool cut = layout_is_cut(l);
  *y = *x;
  if (l == LAYOUT_ROW) return true;
  if (tensor_count(in) == 0 || tensor_count(out) == 0 || !layout_fits(in, l) ||
      !layout_fits(out, l))
    return false;
  row_strides(in->rank, in->dim, row_in);
  row_strides(out->rank, out->dim, row_out);
  layout_box(in, l, cut, dim, y->x_stride);
  y->rank = layout_box(out, l, cut, dim, y->y_stride);
  y->x_off = y->y_off = 0;
  for (int a = 0; a < x->rank; a++) {
    int64_t from = x->x_off / row_in[a] % in->dim[a], to = x->y_off / row_out[a] % out->dim[a];
    int64_t step = x->fill ? 1 : x->x_stride[a] / row_in[a], block = cut && a == 1 ? LAYOUT_CUT : 1;
    int64_t skip = x->y_stride[a] / row_out[a];
    if (block > 1 && (step != 1 || skip != 1 || !moves_blocks(in, from, out, to, x->dim[a])))
      return false;
    if (block > 1 && x->fill && x->value && x->dim[a] % block) return false;
    y->dim[a] = CEIL_DIV(x->dim[a], block);
    y->x_off += from / block * y->x_stride[a];
    y->y_off += to / block * y->y_stride[a];
    y->x_stride[a] *= step;
    y->y_stride[a] *= skip;
  }
  if (cut) y->dim[x->rank] = LAYOUT_CUT;
  return true;
}

static void emit_boxes(const struct opcall *c, const struct label *l, struct builder *b) {
  struct box x, y;
  for (int i = 0; move_next_box(c, i, &x); i++) {
    CHECK(box_in(c, &x, (enum layout)l->in[0], &y));
    if (c->out[x.y_buf - c->nin].dtype != FVM_NONE) box_emit(b, &y, l->threads);
  }
}

/* Many boxes may need more registers than a program has. */
static bool builds(const struct opcall *c, struct label *l) {
  struct arena a = {0};
  struct program p;
  enum fvm_status st = opcall_emit(c, l, &a, &p, NULL);
  arena_free(&a);
  return st == FVM_OK || st == FVM_ENOMEM;
}

/* Set a layout for all inputs that are moved, and all outputs. Channels lie last in images only. */
static bool moves_in(const struct opcall *c, enum layout l, struct label *label) {
  struct box x, y;
  if (l == LAYOUT_ROW) return true;
  if (c->in[0].dtype != FVM_F32 || c->in[0].rank != 4 || c->nout > LABEL_MAXIO ||
      !move_keeps_axes(c))
    return false;
  for (int i = 0; move_next_box(c, i, &x); i++) {
    if (x.x_buf >= LABEL_MAXIO || c->out[x.y_buf - c->nin].dtype == FVM_NONE ||
        !box_in(c, &x, l, &y))
      return false;
    label->in[x.x_buf] = (uint8_t)l;
  }
  for (int i = 0; i < c->nout; i++) label->out[i] = (uint8_t)l;
  return true;
}

static bool label_boxes(const struct opcall *c, const struct target *t, int i, struct label *l) {
  static const enum layout layouts[] = {LAYOUT_ROW, LAYOUT_NHWC, LAYOUT_C16};
  const struct label none = *l;
  struct box x;
  if (!box_fits(fvm_dtype_bytes(c->in[0].dtype))) return false;
  for (size_t k = 0; k < COUNT(layouts); k++) {
    *l = none;
    if (!moves_in(c, layouts[k], l)) continue;
    for (int n = 0; label_threads(c, t, n, l); n++)
      if (i-- == 0) return !move_next_box(c, 6, &x) || builds(c, l);
  }
  return false;
}

/* ---- Concat as a view: its inputs lie one after the other in the output ---- */

/* Whether input k of a joined axis takes one piece of the output. */
static bool is_piece(const struct opcall *c, int k, int axis, enum layout l) {
  const struct tensor *in = &c->in[k], *out = &c->out[0];
  int64_t from[FVM_MAXRANK], to[FVM_MAXRANK], dim[FVM_MAXRANK];
  bool cut = layout_is_cut(l);
  if (tensor_count(in) == 0 || !layout_fits(in, l)) return false;
  if (k + 1 < c->nin && layout_bytes(in, l) % FVM_ALIGN) return false;
  if (k + 1 < c->nin && axis == 1 && layout_pads(in, l)) return false;
  layout_box(out, l, cut, dim, to);
  int n = layout_box(in, l, cut, dim, from);
  for (int a = 0; a < n; a++)
    if (dim[a] != 1 && from[a] != to[a]) return false;
  return dim[axis] * to[axis] * (int64_t)fvm_dtype_bytes(in->dtype) == layout_bytes(in, l);
}

static bool joins(const struct opcall *c, enum layout l) {
  int axis = 0;
  op_axis_attr(c, 1, &axis, NULL);
  if (!layout_fits(&c->out[0], l) || c->nin > CODE_MAXBUF) return false;
  for (int k = 0; k < c->nin; k++)
    if (!is_piece(c, k, axis, l)) return false;
  return true;
}

static bool label_join(const struct opcall *c, const struct target *t, int i, struct label *l) {
  static const enum layout layouts[] = {LAYOUT_ROW, LAYOUT_COL, LAYOUT_NHWC, LAYOUT_C16};
  (void)t;
  for (size_t k = 0; k < COUNT(layouts); k++)
    if (joins(c, layouts[k]) && i-- == 0) {
      l->view = true;
      memset(l->in, (int)layouts[k], sizeof l->in);
      l->out[0] = (uint8_t)layouts[k];
      return true;
    }
  return false;
}

const struct cand concat_cands[] = {
    {"join", {0}, label_join, NULL, NULL}, {"boxes", {0}, label_boxes, emit_boxes, NULL}, {0}};

const struct cand move_cands[] = {
    {"view", {0}, label_view, NULL, NULL}, {"boxes", {0}, label_boxes, emit_boxes, NULL}, {0}};

const struct cand transpose_cands[] = {
    {"rename", {0}, label_rename, NULL, NULL}, {"boxes", {0}, label_boxes, emit_boxes, NULL}, {0}};
