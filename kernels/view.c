/* Opcalls as their tensors lie in memory. Contract: view.h. */
#include "view.h"

#include <string.h>

struct tensor view_tensor(const struct tensor *t, int rank, enum layout l) {
  struct tensor v = {.dtype = t->dtype, .data = t->data};
  int64_t dim[FVM_MAXRANK] = {0};
  for (int i = 0; i < rank; i++) dim[i] = i < rank - t->rank ? 1 : t->dim[i - (rank - t->rank)];
  bool row = l == LAYOUT_ROW || t->dtype == FVM_NONE, cut = layout_is_cut(l);
  for (int i = 0; i < rank; i++) {
    if (!row && i == 1 && cut) v.dim[v.rank++] = CEIL_DIV(dim[1], LAYOUT_CUT);
    if (row || i != 1) v.dim[v.rank++] = dim[i];
  }
  if (!row) v.dim[v.rank++] = cut ? MIN(dim[1], LAYOUT_CUT) : dim[1];
  return v;
}

void view_init(struct view *v, const struct opcall *c, int first, enum layout l) {
  int rank = c->out[0].rank;
  v->call = *c;
  for (int i = 0; i < c->nin; i++)
    v->in[i] = i < first ? c->in[i] : view_tensor(&c->in[i], rank, l);
  v->out = view_tensor(&c->out[0], rank, l);
  v->call.in = v->in;
  v->call.out = &v->out;
  v->dims = (struct matrix_dims){.cols = v->out.dim[v->out.rank - 1]};
  if (layout_is_cut(l))
    v->dims.rows = tensor_count(&c->out[0]) / MAX(c->out[0].dim[0] * c->out[0].dim[1], 1);
}

/* Whether a tensor is the same bytes in every order of its axes. */
static bool has_one_order(const struct tensor *t, int rank) {
  int channel = 1 - (rank - t->rank); /* t's own axis of channels */
  if (channel < 0 || t->dim[channel] == 1) return true;
  for (int i = channel + 1; i < t->rank; i++)
    if (t->dim[i] != 1) return false;
  return true;
}

bool view_layouts(const struct opcall *c, int first, enum layout l, struct label *label) {
  int rank = c->out[0].rank;
  if (c->nin > NEST_MAXOP || !layout_fits(&c->out[0], l)) return false;
  label->out[0] = (uint8_t)l;
  for (int i = first; i < c->nin; i++) {
    const struct tensor *t = &c->in[i];
    bool any = t->dtype == FVM_NONE || has_one_order(t, rank);
    if (!any && (i >= LABEL_MAXIO || t->rank != rank || !layout_fits(t, l))) return false;
    if (i < LABEL_MAXIO) label->in[i] = any ? LAYOUT_ROW : (uint8_t)l;
  }
  return true;
}

bool view_fits(const struct opcall *c, int64_t count, enum layout l) {
  struct view v;
  if (c->nin > NEST_MAXOP || !layout_fits(&c->out[0], l)) return false;
  view_init(&v, c, c->nown, l);
  return epilogue_fits_blocks(&v.call, count, v.dims);
}
