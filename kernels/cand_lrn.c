/* Local response normalisation, pixel by pixel, in every layout of images: the channels of a pixel
 * are runs (of one channel in row, 16 in c16, all in nhwc), so one micro-kernel does for all. */
#include "norm.h"
#include "view.h"

/* Knob: pixels of a call. */
enum { PIXELS };

/* How the pixels of one image lie in a layout, in elements. */
struct pixels {
  int64_t blocks, run, pixel, block;
};

static struct pixels pixels_in(enum layout l, struct lines s) {
  if (layout_is_cut(l))
    return (struct pixels){CEIL_DIV(s.n, (int64_t)LAYOUT_CUT), LAYOUT_CUT, LAYOUT_CUT,
                           LAYOUT_CUT * s.inner};
  if (l == LAYOUT_NHWC) return (struct pixels){1, s.n, s.n, 0};
  return (struct pixels){s.n, 1, 1, s.inner};
}

static void emit(const struct opcall *c, const struct label *l, struct builder *b) {
  struct lines s = channel_lines(c);
  struct pixels p = pixels_in((enum layout)l->out[0], s);
  float alpha = opcall_float(c, "alpha", 1e-4f), beta = opcall_float(c, "beta", 0.75f);
  int64_t size = opcall_int(c, "size", 1);
  struct span n = span_open(b, false, val(s.outer), s.outer, 1);
  struct span q = span_open(b, true, val(s.inner), s.inner, l->knob[PIXELS]);
  struct addr x = ADDR(0, 0), y = ADDR(c->nin, 0);
  span_term(&x, &n, p.blocks * p.run * s.inner * 4);
  span_term(&y, &n, p.blocks * p.run * s.inner * 4);
  span_term(&x, &q, p.pixel * 4);
  span_term(&y, &q, p.pixel * 4);
  struct val pixel = val(p.pixel), block = val(p.block);
  build_ukr(b, UKR_lrn_f32, (struct addr[]){x, y},
            (struct val[]){q.len, val(p.blocks), val(p.run), pixel, block, pixel, block, val(size),
                           val_float(alpha / (float)size), val_float(beta),
                           val_float(opcall_float(c, "bias", 1))});
  span_close(b, &q);
  span_close(b, &n);
}

/* Channels that pad a block count as those outside do: as zeros, of which zeros become. */
static bool fits(const struct opcall *c, enum layout l) {
  if (!layout_fits(&c->in[0], l) || (l != LAYOUT_ROW && c->in[0].rank != 4)) return false;
  if (!layout_pads(&c->in[0], l)) return true;
  return opcall_float(c, "bias", 1) > 0 && opcall_float(c, "alpha", 1e-4f) >= 0;
}

static bool label(const struct opcall *c, const struct target *t, int i, struct label *l) {
  static const enum layout layouts[] = {LAYOUT_ROW, LAYOUT_NHWC, LAYOUT_C16};
  const struct ukr_int *size = &ukr_sig(UKR_lrn_f32)->val[7], *run = &ukr_sig(UKR_lrn_f32)->val[2];
  const struct tensor *x = &c->in[0];
  struct lines s = channel_lines(c);
  if (x->dtype != FVM_F32 || tensor_count(x) == 0 || s.inner > INT32_MAX) return false;
  if (opcall_int(c, "size", 1) > size->max || s.n > run->max) return false;
  for (size_t k = 0; k < COUNT(layouts); k++)
    for (int n = 0; n < MAX(t->nthreads, 1) && fits(c, layouts[k]); n++) {
      if (i-- > 0) continue;
      l->in[0] = l->out[0] = (uint8_t)layouts[k];
      l->threads = t->nthreads ? t->threads[n] : 1;
      l->knob[PIXELS] = (int32_t)CEIL_DIV(s.inner, (int64_t)l->threads);
      return true;
    }
  return false;
}

static void cost(const struct opcall *c, const struct label *l, struct opcost *cost) {
  cost_stream(c, l, cost);
  cost->flops = tensor_count(&c->in[0]) * (2 * opcall_int(c, "size", 1) + 16);
}

const struct cand lrn_cands[] = {{"lrn", {"pixels"}, label, emit, cost}, {0}};
