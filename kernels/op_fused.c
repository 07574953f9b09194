/* Candidates of element-wise operators: one alone is a body of one item, FusedElementwise has many.
 * Loops over the collapsed axes of output and inputs, strips on tiles of a few KiB. */
#include <string.h>

#include "body.h"
#include "elt.h"
#include "view.h"

/* Bytes of floats in a tile: intermediate values of several of them stay in L1. */
static const int32_t strips[] = {4096, 1024, 16384};
static const enum layout layouts[] = {LAYOUT_ROW, LAYOUT_COL, LAYOUT_NHWC, LAYOUT_C16};

static bool is_last(enum layout l) { return l == LAYOUT_NHWC || layout_is_cut(l); }

/* An input takes the output's layout when it has its rank; broadcast ones of lower rank are row. */
static enum layout input_layout(const struct opcall *c, int i, enum layout out) {
  return c->in[i].rank == c->out[0].rank && i < LABEL_MAXIO ? out : LAYOUT_ROW;
}

/* Strides in elements over the output's axes, 0 where the input repeats. */
static void strides_over(const struct tensor *t, enum layout l, const struct tensor *out,
                         int64_t *stride) {
  int64_t own[FVM_MAXRANK], size = (int64_t)fvm_dtype_bytes(t->dtype);
  int shift = out->rank - t->rank;
  layout_strides(t, l, own);
  for (int i = 0; i < out->rank; i++)
    stride[i] =
        i < shift || (t->dim[i - shift] == 1 && out->dim[i] != 1) ? 0 : own[i - shift] / size;
}

/* The same where channels lie last: there the output is a row-major tensor of other axes. */
static void add_views(const struct opcall *c, const struct label *l, struct nest *t) {
  int64_t stride[NEST_MAXOP][FVM_MAXRANK] = {0};
  enum layout lo = (enum layout)l->out[0];
  int rank = c->out[0].rank;
  const struct tensor out = view_tensor(&c->out[0], rank, lo);
  for (int k = 0; k < t->nop; k++) {
    const struct tensor x = view_tensor(k ? &c->in[k - 1] : &c->out[0], rank, lo);
    if (x.dtype != FVM_NONE) broadcast_strides(&x, &out, stride[k]);
  }
  for (int a = 0; a < out.rank; a++) {
    int64_t s[NEST_MAXOP];
    for (int k = 0; k < t->nop; k++) s[k] = stride[k][a];
    nest_add(t, out.dim[a], s);
  }
}

static void add_axes(const struct opcall *c, const struct label *l, struct nest *t) {
  int64_t stride[NEST_MAXOP][FVM_MAXRANK] = {0};
  const struct tensor *out = &c->out[0];
  strides_over(out, (enum layout)l->out[0], out, stride[0]);
  for (int i = 0; i < c->nin; i++)
    if (c->in[i].dtype != FVM_NONE)
      strides_over(&c->in[i], i < LABEL_MAXIO ? (enum layout)l->in[i] : LAYOUT_ROW, out,
                   stride[1 + i]);
  for (int a = 0; a < out->rank; a++) {
    int64_t s[NEST_MAXOP];
    for (int k = 0; k < t->nop; k++) s[k] = stride[k][a];
    nest_add(t, out->dim[a], s);
  }
}

/* Operand 0 of the nest is the output, 1 + i input i. */
static void make_nest(const struct opcall *c, const struct label *l, struct nest *t) {
  *t = (struct nest){.nop = 1 + c->nin};
  (is_last((enum layout)l->out[0]) ? add_views : add_axes)(c, l, t);
  nest_merge(t);
  t->col = t->n - 1;
  t->row = t->n - 2;
  if (t->col < 0) t->col = t->row = -1;
}

/* Columns of strips are dense or repeat one element. */
static bool dense_columns(const struct nest *t) {
  for (int k = 0; k < t->nop && t->col >= 0; k++)
    if (t->axis[t->col].stride[k] > 1) return false;
  return true;
}

/* ---- candidate ---- */

/* Blocks of channels are for images. */
static bool fits(const struct opcall *c, enum layout out) {
  return layout_fits(&c->out[0], out) && (!layout_is_cut(out) || c->out[0].rank == 4);
}

static bool set_layouts(const struct opcall *c, enum layout out, struct label *l) {
  struct nest t;
  if (!fits(c, out)) return false;
  l->out[0] = (uint8_t)out;
  for (int i = 0; i < c->nin && i < LABEL_MAXIO; i++)
    l->in[i] = (uint8_t)(c->in[i].dtype == FVM_NONE ? LAYOUT_ROW : input_layout(c, i, out));
  if (is_last(out) && !view_layouts(c, 0, out, l)) return false;
  make_nest(c, l, &t);
  return dense_columns(&t);
}

/* The first input whose place the output may take: strips read a tile before the last of them
 * writes the same tile. */
static int inplace_input(const struct opcall *c, const struct label *l) {
  const struct tensor *out = &c->out[0];
  for (int i = 0; i < c->nin && i < LABEL_MAXIO; i++)
    if (c->in[i].dtype != FVM_NONE && !c->in[i].data && l->in[i] == l->out[0] &&
        fvm_dtype_bytes(c->in[i].dtype) == fvm_dtype_bytes(out->dtype) &&
        c->in[i].rank == out->rank &&
        !memcmp(c->in[i].dim, out->dim, sizeof *out->dim * (size_t)out->rank))
      return 1 + i;
  return 0;
}

/* Whether a strip size makes a program of its own that is worth measuring. */
static bool worth(const struct opcall *c, enum layout out, size_t strip) {
  int64_t bytes = 4 * tensor_count(&c->out[0]);
  if (layout_is_cut(out)) return strip == 0;
  return strip == 0 || bytes > strips[strip == 2 ? 0 : 1];
}

static bool label_strips(const struct opcall *c, const struct target *t, int i, struct label *l) {
  /* Label 0 is always asked for first; its answer holds for the others. */
  if (i == 0 && (1 + c->nin > NEST_MAXOP || !body_supported(c))) return false;
  for (size_t k = 0; k < COUNT(layouts); k++) {
    if (!set_layouts(c, layouts[k], l)) continue;
    for (size_t s = 0; s < COUNT(strips); s++)
      for (int n = 0; n < t->nthreads; n++) {
        if (!worth(c, layouts[k], s) || !threads_worth(c, t->threads[n]) || i-- > 0) continue;
        l->knob[0] = strips[s];
        l->threads = t->threads[n];
        l->inplace = inplace_input(c, l);
        return true;
      }
  }
  return false;
}

static struct elt_tile tile_of(const struct nest *t, int op, const struct addr *at) {
  return (struct elt_tile){*at, t->row < 0 ? 0 : t->axis[t->row].stride[op],
                           t->col < 0 ? 0 : (int)t->axis[t->col].stride[op]};
}

static void emit_strips(const struct opcall *c, const struct label *l, struct builder *b) {
  struct elt_prog p;
  struct nest t;
  struct body_scratch s;
  struct addr at[NEST_MAXOP];
  struct elt_tile in[NEST_MAXOP];
  int64_t bytes[NEST_MAXOP];
  if (tensor_count(&c->out[0]) == 0) return;
  CHECK(elt_lower(c, &p));
  make_nest(c, l, &t);
  int64_t elems = l->knob[0] / 4;
  int64_t width = t.col < 0 ? 1 : MIN(elems, t.axis[t.col].dim);
  nest_steps(&t, MAX(1, elems / width), elems, l->threads);
  for (int k = 0; k < t.nop; k++) {
    const struct tensor *x = k ? &c->in[k - 1] : &c->out[0];
    at[k] = ADDR(k ? k - 1 : c->nin, 0, {0, 0});
    bytes[k] = (int64_t)fvm_dtype_bytes(x->dtype);
  }
  int64_t n_max = t.col < 0 ? 1 : t.axis[t.col].step, m_max = t.row < 0 ? 1 : t.axis[t.row].step;
  elt_scratch(&p, m_max, n_max, b, &s);
  struct elt_site site = {.in = in, .n_max = n_max};
  int open = nest_open(b, &t, l->threads, at, bytes, &site.m, &site.n);
  for (int i = 0; i < c->nin; i++) in[i] = tile_of(&t, 1 + i, &at[1 + i]);
  site.dst = tile_of(&t, 0, &at[0]);
  elt_emit(&p, &site, &s, b);
  while (open--) build_end(b);
}

static void cost_strips(const struct opcall *c, const struct label *l, struct opcost *cost) {
  struct elt_prog p;
  cost_stream(c, l, cost);
  if (!elt_lower(c, &p)) return;
  int64_t count = tensor_count(&c->out[0]);
  for (int i = 0; i < p.nstep; i++)
    cost->flops += count * ukr_sig((enum ukr_id)p.step[i].ukr)->flop_coef;
  cost->calls = p.nstep * (count / (l->knob[0] / 4) + 1);
}

const struct cand elt_cands[] = {{"strips", {"strip"}, label_strips, emit_strips, cost_strips},
                                 {0}};
