/* Pools over volumes, plainly: what kernels for planes leave of MaxPool and AveragePool (three
 * axes, windows that reach beyond the padding). A volume at a time. */
#include "op_impl.h"
#include "pool3.h"
#include "window.h"

#include <string.h>

/* As the kernel numbers them. */
enum how { MAXIMUM, MEAN, PADDED_MEAN };

static int64_t volumes(const struct opcall *c) { return c->in[0].dim[0] * c->in[0].dim[1]; }

static void emit_pool3(const struct window *w, struct addr x, struct addr y, enum how how,
                       struct builder *b) {
  struct val v[UKR_MAXVAL] = {val(window_outputs(w)), val(w->out[1]),           val(w->out[2]),
                              val(w->in[0]),          val(w->in[1] * w->in[2]), val(w->in[1]),
                              val(w->in[2])};
  window_vals3(w, v + 7);
  for (int i = 0; i < WINDOW_AXES; i++) v[19 + i] = val(w->in[i] + w->hi[i]);
  v[22] = val(how);
  build_ukr(b, UKR_pool3_f32, (struct addr[]){x, y}, v);
}

bool pool3_label(const struct opcall *c, const struct target *t, int i, struct label *l) {
  struct window w;
  if (c->in[0].dtype != FVM_F32 || window_init(&w, c, NULL, NULL) != FVM_OK) return false;
  int64_t count = tensor_count(&c->out[0]);
  if (count == 0 || i >= MAX(t->nthreads, 1)) return false;
  if (window_is_plane(&w) && !opcall_int(c, "count_include_pad", 0)) return false;
  l->threads = t->nthreads ? t->threads[i] : 1;
  return epilogue_fits(c, count, window_outputs(&w));
}

void pool3_emit(const struct opcall *c, const struct label *l, struct builder *b) {
  (void)l; /* no knobs, and the same program for any number of threads */
  struct window w;
  struct epilogue e;
  struct place at = {0};
  CHECK(window_init(&w, c, NULL, NULL) == FVM_OK);
  int64_t n = window_outputs(&w);
  bool counted = opcall_int(c, "count_include_pad", 0) != 0;
  enum how how = !strcmp(c->op->name, "MaxPool") ? MAXIMUM : counted ? PADDED_MEAN : MEAN;
  epilogue_init(&e, c, n, 1, n, 0, b);
  struct span p = span_open(b, true, val(volumes(c)), volumes(c), 1);
  place_row(&at, &p, 1);
  struct addr x = ADDR(0, 0);
  span_term(&x, &p, window_inputs(&w) * 4);
  emit_pool3(&w, x, epilogue_anchor(&e, &at), how, b);
  epilogue_emit(&e, &at, val(1), 1, val(n), n, b);
  span_close(b, &p);
}

void pool3_cost(const struct opcall *c, const struct label *l, struct opcost *cost) {
  struct window w;
  CHECK(window_init(&w, c, NULL, NULL) == FVM_OK);
  cost_stream(c, l, cost);
  cost->flops = tensor_count(&c->out[0]) * dims_product(w.kernel, 0, WINDOW_AXES);
  cost->calls = volumes(c);
}
