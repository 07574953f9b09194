/* ConvTranspose: shape, reference, candidate.
 *
 * It is a convolution backwards: each input pixel adds its channels' weights to what lies under the
 * window at it. So here the window's `in` are the extents of the output, and `out` those of the
 * input. convt_cols: for a panel of input pixels, one product gives what they add, a row for each
 * output channel and tap; then col2im3 adds those rows to the output, plane by plane. */
#include "conv.h"
#include "op_impl.h"

#include <string.h>

/* ---- shape ----------------------------------------------------------------------------------- */
/* Extent of an axis of the output, and its padding. size: as wanted by the model; 0: not said. */
static enum fvm_status place_axis(struct window *w, int i, const char *pad, int64_t extra,
                                  int64_t size, struct fvm_error *err) {
  int64_t whole;
  if (!fvm_mul(MAX(w->out[i] - 1, 0), w->stride[i], &whole) || whole > TENSOR_MAXBYTES)
    return fvm_fail(err, FVM_EUNSUPPORTED, "an axis of %lld with strides of %lld",
                    (long long)w->out[i], (long long)w->stride[i]);
  whole += window_under(w, i, 1) + extra;
  bool same = !strncmp(pad, "SAME_", 5);
  if (size == 0 && same) size = w->out[i] * w->stride[i];
  if (!strcmp(pad, "VALID")) w->lo[i] = w->hi[i] = 0;
  if (size) {
    int64_t total = MAX(whole - size, 0), less = total / 2;
    w->lo[i] = !strcmp(pad, "SAME_UPPER") ? less : total - less;
    w->hi[i] = total - w->lo[i];
  } else {
    size = whole - w->lo[i] - w->hi[i];
  }
  w->in[i] = size;
  if (size >= 0) return FVM_OK;
  return fvm_fail(err, FVM_EFORMAT, "padding of %lld and %lld leaves nothing of axis %d",
                  (long long)w->lo[i], (long long)w->hi[i], i - WINDOW_AXES + w->nd);
}

static enum fvm_status place(struct window *w, const struct opcall *c, struct fvm_error *err) {
  int64_t extra[WINDOW_AXES] = {0}, size[2 + WINDOW_AXES] = {0};
  int at = WINDOW_AXES - w->nd, n = w->nd;
  const struct attr *shape = opcall_attr(c, "output_shape");
  if (shape && shape->kind == ATTR_INTS && shape->n == 2 + w->nd) n += 2; /* some say all axes */
  enum fvm_status st = window_ints(c, "output_padding", w->nd, 0, extra, err);
  if (st == FVM_OK) st = window_ints(c, "output_shape", n, 1, size, err);
  for (int i = 0; i < w->nd && st == FVM_OK; i++)
    st = place_axis(w, at + i, window_auto_pad(c), extra[i], size[n - w->nd + i], err);
  return st;
}

static enum fvm_status convt_init(struct conv *v, const struct opcall *c, struct fvm_error *err) {
  const struct tensor *x = &c->in[0], *k = &c->in[1];
  int64_t groups = opcall_int(c, "group", 1);
  if (x->rank < 3 || k->rank != x->rank)
    return fvm_fail(err, FVM_EFORMAT, "the input has %d axes, the weights have %d", x->rank,
                    k->rank);
  if (groups < 1 || k->dim[0] != x->dim[1] || k->dim[0] % groups)
    return fvm_fail(err, FVM_EFORMAT,
                    "%lld input channels do not fit weights of %lld channels in %lld groups",
                    (long long)x->dim[1], (long long)k->dim[0], (long long)groups);
  *v = (struct conv){.n = x->dim[0],
                     .groups = groups,
                     .in_channels = k->dim[0] / groups,
                     .out_channels = k->dim[1],
                     .bias = c->nown > 2 && opcall_in(c, 2) != NULL};
  enum fvm_status st = window_read(&v->w, c, k->dim + 2, err);
  memcpy(v->w.out, v->w.in, sizeof v->w.out);
  return st == FVM_OK ? place(&v->w, c, err) : st;
}

enum fvm_status convt_shape(struct opcall *c, struct fvm_error *err) {
  struct conv v;
  enum fvm_dtype t = c->in[0].dtype;
  if ((t != FVM_F32 && t != FVM_F64) || c->in[1].dtype != t)
    return fvm_fail(err, FVM_EUNSUPPORTED, "ConvTranspose of %s and %s", fvm_dtype_name(t),
                    fvm_dtype_name(c->in[1].dtype));
  enum fvm_status st = convt_init(&v, c, err);
  if (st != FVM_OK) return st;
  int64_t channels, dim[FVM_MAXRANK] = {v.n};
  const struct tensor *b = &c->in[2];
  if (!fvm_mul(v.groups, v.out_channels, &channels) ||
      (v.bias && (b->dtype != t || b->rank != 1 || b->dim[0] != channels)))
    return fvm_fail(err, FVM_EFORMAT, "the bias must be a vector of %lld times %lld %s",
                    (long long)v.groups, (long long)v.out_channels, fvm_dtype_name(t));
  dim[1] = channels;
  for (int i = 0; i < v.w.nd; i++) dim[2 + i] = v.w.in[WINDOW_AXES - v.w.nd + i];
  return tensor_init(&c->out[0], t, 2 + v.w.nd, dim, err);
}

/* ---- reference ------------------------------------------------------------------------------- */
struct ref {
  const struct conv *v;
  enum fvm_dtype t;
  const void *x, *weights, *bias;
  int64_t group; /* counted over the batch */
  double *sum;   /* [output channel of the group][output pixel] */
};

static void ref_tap(const struct ref *r, int64_t pixel, int64_t tap, int64_t to) {
  const struct conv *v = r->v;
  int64_t taps = dims_product(v->w.kernel, 0, WINDOW_AXES), pixels = window_outputs(&v->w);
  int64_t first = r->group % v->groups * v->in_channels;
  for (int64_t i = 0; i < v->in_channels; i++) {
    double x = elem_f64(r->x, r->t, (r->group * v->in_channels + i) * pixels + pixel);
    for (int64_t o = 0; o < v->out_channels; o++)
      r->sum[o * window_inputs(&v->w) + to] +=
          x * elem_f64(r->weights, r->t, ((first + i) * v->out_channels + o) * taps + tap);
  }
}

static void ref_group(const struct ref *r, void *y) {
  const struct conv *v = r->v;
  int64_t n = window_inputs(&v->w), idx[WINDOW_AXES] = {0}, pixel = 0;
  for (int64_t o = 0; o < v->out_channels; o++) {
    int64_t ch = r->group % v->groups * v->out_channels + o;
    double bias = r->bias ? elem_f64(r->bias, r->t, ch) : 0;
    for (int64_t i = 0; i < n; i++) r->sum[o * n + i] = bias;
  }
  do {
    int64_t tap[WINDOW_AXES] = {0}, to, i = 0;
    do {
      if (window_tap(&v->w, idx, tap, &to)) ref_tap(r, pixel, i, to);
      i++;
    } while (window_next(v->w.kernel, tap));
    pixel++;
  } while (window_next(v->w.out, idx));
  for (int64_t i = 0; i < v->out_channels * n; i++)
    elem_set_f64(y, r->t, r->group * v->out_channels * n + i, r->sum[i]);
}

enum fvm_status convt_ref(const struct opcall *c, const void *const *in, void *const *out,
                          struct fvm_error *err) {
  struct conv v;
  enum fvm_status st = convt_init(&v, c, err);
  if (st != FVM_OK || tensor_count(&c->out[0]) == 0) return st;
  size_t room = (size_t)(v.out_channels * window_inputs(&v.w));
  struct ref r = {.v = &v, .t = c->in[0].dtype, .x = in[0], .weights = in[1]};
  r.bias = v.bias ? in[2] : NULL;
  r.sum = fvm_alloc(room, sizeof(double));
  if (!r.sum) return fvm_nomem(err);
  if (tensor_count(&c->in[0]) == 0) v.w.out[0] = 0;
  for (; r.group < v.n * v.groups; r.group++) ref_group(&r, out[0]);
  fvm_free(r.sum, room, sizeof(double));
  return FVM_OK;
}

/* ---- candidate ------------------------------------------------------------------------------- */
/* Knobs. OC: output channels of a group in a block; threads share these, or groups. */
enum { MR, NR, OC };

struct gen {
  struct conv v;
  struct epilogue e;
  struct builder *b;
  const struct gemm_tile *tile;
  int64_t taps, pixels, area; /* of the window, the input, the output */
  int packed, cols;
  struct addr x, w; /* of the image and group; of the block of output channels */
};

/* The output starts as its bias. */
static void start(const struct gen *g, const struct place *at, const struct place *channel,
                  const struct span *o) {
  struct addr y = epilogue_anchor(&g->e, at);
  struct val n = val(g->area), sy = val(g->e.anchor.rs / 4);
  if (g->v.bias)
    build_ukr(g->b, UKR_copy_4,
              (struct addr[]){matrix_at(&(struct matrix){2, 0, 4, 0, 0}, channel), y},
              (struct val[]){o->len, n, val(1), val(0), sy, val(1)});
  else
    build_ukr(g->b, UKR_fill_4, (struct addr[]){y}, (struct val[]){o->len, n, sy, val(0)});
}

/* What a panel of input pixels adds to a block of output channels. */
static void panel(const struct gen *g, const struct place *at, const struct span *o,
                  const struct span *p) {
  const struct window *w = &g->v.w;
  struct addr x = g->x, cols = ADDR(g->cols, 0), y = epilogue_anchor(&g->e, at);
  int64_t nr = g->tile->nr, most = o->max * g->taps;
  struct val k = val(g->v.in_channels);
  span_term(&x, p, 4);
  build_ukr(g->b, UKR_pack_4, (struct addr[]){x, ADDR(g->packed, 0)},
            (struct val[]){k, p->len, val(g->pixels), val(1), val(nr)});
  struct gemm_block block = {.tile = g->tile,
                             .a = g->w,
                             .sa = 1,
                             .ka = g->v.out_channels * g->taps,
                             .a_row = 4,
                             .b = ADDR(g->packed, 0),
                             .c = {g->cols, 0, nr * 4, 4, 0},
                             .c_local = true,
                             .m = val(most),
                             .n = p->len,
                             .k = k,
                             .m_max = most,
                             .n_max = p->max};
  emit_gemm(&block, g->b);
  struct val v[UKR_MAXVAL] = {o->len,
                              val(g->e.anchor.rs / 4),
                              val(w->in[0]),
                              val(w->in[1] * w->in[2]),
                              val(w->in[1]),
                              val(w->in[2]),
                              val(most),
                              val(nr),
                              p->reg >= 0 ? reg(p->reg) : val(0),
                              p->len,
                              val(w->out[1]),
                              val(w->out[2])};
  window_vals3(w, v + 12);
  build_ukr(g->b, UKR_col2im3_4, (struct addr[]){cols, y}, v);
}

static void init(struct gen *g, const struct opcall *c, const struct label *l, struct builder *b) {
  *g = (struct gen){.b = b, .tile = gemm_tile_find(l->knob[MR], l->knob[NR])};
  CHECK(convt_init(&g->v, c, NULL) == FVM_OK);
  g->taps = dims_product(g->v.w.kernel, 0, WINDOW_AXES);
  g->pixels = window_outputs(&g->v.w);
  g->area = window_inputs(&g->v.w);
  epilogue_init(&g->e, c, g->area, l->knob[OC], g->area, 0, b);
  g->packed = build_buf(b, BUF_SCRATCH, g->v.in_channels * g->tile->nr * 4);
  g->cols = build_buf(b, BUF_SCRATCH, l->knob[OC] * g->taps * g->tile->nr * 4);
}

static void emit(const struct opcall *c, const struct label *l, struct builder *b) {
  struct gen g;
  struct place at = {0}, channel = {0};
  init(&g, c, l, b);
  const struct conv *v = &g.v;
  int64_t image = v->in_channels * g.pixels * 4;
  bool by_group = v->groups > 1;
  g.x = ADDR(0, 0);
  g.w = ADDR(1, 0);
  struct span n = span_open(b, false, val(v->n), v->n, 1);
  struct span q = span_open(b, by_group, val(v->groups), v->groups, 1);
  struct span o = span_open(b, !by_group, val(v->out_channels), v->out_channels, l->knob[OC]);
  span_term(&g.x, &n, v->groups * image);
  span_term(&g.x, &q, image);
  span_term(&g.w, &q, v->in_channels * v->out_channels * g.taps * 4);
  span_term(&g.w, &o, g.taps * 4);
  place_row(&at, &n, v->groups * v->out_channels);
  place_row(&at, &q, v->out_channels);
  place_row(&at, &o, 1);
  place_row(&channel, &q, v->out_channels);
  place_row(&channel, &o, 1);
  start(&g, &at, &channel, &o);
  struct span p = span_open(b, false, val(g.pixels), g.pixels, g.tile->nr);
  panel(&g, &at, &o, &p);
  span_close(b, &p);
  epilogue_emit(&g.e, &at, o.len, o.max, val(g.area), g.area, b);
  span_close(b, &o);
  span_close(b, &q);
  span_close(b, &n);
}

/* Output channels of a block: a divisor, so that all products are alike, with rows in a third of
 * L2 and a share for each thread. */
static int64_t block_channels(const struct conv *v, const struct target *t, int threads, int nr) {
  int64_t l2 = t->l2_bytes > 0 ? t->l2_bytes : 512 << 10;
  int64_t taps = dims_product(v->w.kernel, 0, WINDOW_AXES), most = l2 / 3 / (taps * nr * 4);
  if (v->groups == 1) most = MIN(most, CEIL_DIV(v->out_channels, threads));
  most = MIN(MAX(most, 1), v->out_channels);
  while (v->out_channels % most) most--;
  return most;
}

static bool label(const struct opcall *c, const struct target *t, int i, struct label *l) {
  enum { TILES = 2 };
  struct conv v;
  if (c->in[0].dtype != FVM_F32 || convt_init(&v, c, NULL) != FVM_OK) return false;
  int64_t count = tensor_count(&c->out[0]), area = window_inputs(&v.w);
  int64_t pixels = window_outputs(&v.w), taps = dims_product(v.w.kernel, 0, WINDOW_AXES);
  if (count == 0 || tensor_count(&c->in[0]) == 0 || !epilogue_fits(c, count, area)) return false;
  if (MAX(MAX(pixels, area), v.out_channels) > INT32_MAX / 2) return false;
  if (i / TILES >= MAX(t->nthreads, 1)) return false;
  const struct gemm_tile *tile = gemm_tile_at(t->isa, v.out_channels * taps, pixels, i % TILES);
  if (!tile) return false;
  l->threads = t->nthreads ? t->threads[i / TILES] : 1;
  l->knob[MR] = tile->mr;
  l->knob[NR] = tile->nr;
  l->knob[OC] = (int32_t)block_channels(&v, t, l->threads, tile->nr);
  return true;
}

static void cost(const struct opcall *c, const struct label *l, struct opcost *cost) {
  struct conv v;
  CHECK(convt_init(&v, c, NULL) == FVM_OK);
  cost_stream(c, l, cost);
  int64_t rows = v.out_channels * dims_product(v.w.kernel, 0, WINDOW_AXES);
  int64_t sums = v.n * v.groups * rows * window_outputs(&v.w);
  cost->flops = 2 * sums * v.in_channels;
  cost->bytes_written += 4 * sums;
  cost->bytes_read += 8 * sums;
  cost->calls = sums / MAX(l->knob[MR] * l->knob[NR], 1) + 1;
}

const struct cand convt_cands[] = {{"convt_cols", {"mr", "nr", "oc"}, label, emit, cost}, {0}};
