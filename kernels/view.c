/* Opcalls as their tensors lie in memory. Contract: view.h. */
#include "view.h"

#include "elt.h"

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
  if (!row) v.dim[v.rank++] = cut && dim[1] != 1 ? LAYOUT_CUT : dim[1];
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

/* ---- channels that pad blocks ---------------------------------------------------------------- */
/* A tensor's own axis of channels, under an output of `rank` axes; -1: all channels are the same.
 */
static int channel_axis(const struct tensor *t, int rank) {
  int axis = 1 - (rank - t->rank);
  return axis < 0 || t->dim[axis] == 1 ? -1 : axis;
}

/* What an element-wise program has at channels that pad a block; unknown: not before it runs. */
struct pad {
  bool known;
  uint64_t bits;
};

static struct pad pad_of_input(const struct tensor *t, int rank) {
  struct pad p = {channel_axis(t, rank) >= 0, 0};
  if (p.known || !t->data || tensor_count(t) != 1) return p;
  memcpy(&p.bits, t->data, fvm_dtype_bytes(t->dtype));
  p.known = true;
  return p;
}

static struct pad pad_of(const struct opcall *c, const struct elt_prog *p, const struct pad *made,
                         const struct elt_value *v) {
  switch (v->kind) {
  case ELT_INPUT:
    return pad_of_input(&c->in[v->i], c->out[0].rank);
  case ELT_CONST:
    return (struct pad){true, p->cst[v->i].bits};
  case ELT_STEP:
    return made[v->i];
  default:
    return (struct pad){.known = true}; /* the anchor's, or absent */
  }
}

/* Run a strip on one element. */
static struct pad pad_step(const struct opcall *c, const struct elt_prog *p, const struct pad *made,
                           const struct elt_step *step) {
  struct pad in[ELT_MAXARG], out = {.known = true};
  void *at[ELT_MAXARG + 1];
  int64_t v[2 * ELT_MAXARG + 4] = {1, 1};
  int n = 2;
  for (int j = 0; j < step->narg; j++) {
    in[j] = pad_of(c, p, made, &step->arg[j]);
    out.known &= in[j].known;
    at[j] = &in[j].bits;
    v[n++] = 1;
    v[n++] = 1;
  }
  at[step->narg] = &out.bits;
  v[n++] = 1;
  v[n] = 1;
  if (out.known) out.known = ukr_table(ISA_REF)[step->ukr](at, v) == 0;
  return out;
}

/* Whether the element-wise part of an opcall makes zeros of zeros. */
static bool keeps_zero(const struct opcall *c) {
  struct elt_prog p;
  struct pad made[ELT_MAXSTEP];
  if (c->nown && !c->body) return true;
  if (!elt_lower(c, &p) || p.nstep == 0) return false;
  for (int i = 0; i < p.nstep; i++) made[i] = pad_step(c, &p, made, &p.step[i]);
  const struct pad *last = &made[p.nstep - 1];
  enum fvm_dtype d = p.step[p.nstep - 1].dtype;
  return last->known && elem_f64(&last->bits, d, 0) == 0;
}

/* ---- layouts --------------------------------------------------------------------------------- */
/* Whether a tensor is the same bytes in every order of its axes. */
static bool has_one_order(const struct tensor *t, int rank) {
  int channel = channel_axis(t, rank);
  for (int i = channel + 1; channel >= 0 && i < t->rank; i++)
    if (t->dim[i] != 1) return false;
  return true;
}

/* The layout of such a tensor beside an output that has padded channels, if it is. */
static enum layout one_order(const struct tensor *t, int rank, bool pads) {
  if (!pads || channel_axis(t, rank) < 0) return LAYOUT_ROW;
  return channel_axis(t, rank) == 0 ? LAYOUT_F16 : LAYOUT_C16;
}

bool view_layouts(const struct opcall *c, int first, enum layout l, struct label *label) {
  int rank = c->out[0].rank;
  if (c->nin > NEST_MAXOP || !layout_fits(&c->out[0], l)) return false;
  bool pads = layout_pads(&c->out[0], l);
  if (pads && !keeps_zero(c)) return false;
  label->out[0] = (uint8_t)l;
  for (int i = first; i < c->nin; i++) {
    const struct tensor *t = &c->in[i];
    enum layout in = LAYOUT_ROW;
    if (t->dtype != FVM_NONE) in = has_one_order(t, rank) ? one_order(t, rank, pads) : l;
    if (in == l && t->rank != rank) return false;
    if (in != LAYOUT_ROW && (i >= LABEL_MAXIO || !layout_fits(t, in))) return false;
    if (i < LABEL_MAXIO) label->in[i] = (uint8_t)in;
  }
  return true;
}

void view_vector(const struct opcall *c, int i, struct label *label) {
  if (layout_pads(&c->out[0], (enum layout)label->out[0])) label->in[i] = LAYOUT_F16;
}

bool view_fits(const struct opcall *c, int64_t count, enum layout l) {
  struct view v;
  const struct tensor *out = &c->out[0];
  if (c->nin > NEST_MAXOP || !layout_fits(out, l)) return false;
  view_init(&v, c, c->nown, l);
  count = count / MAX(out->dim[1], 1) * layout_channels(out, l);
  return epilogue_fits_blocks(&v.call, count, v.dims);
}
