/* Ways to run InstanceNormalization and GroupNormalization. */
#include "emit.h"
#include "norm.h"
#include "op_impl.h"

#include <string.h>

/* A group of channels is one long row. */
struct groups {
  struct lines s;
  int64_t count, per; /* groups, channels of one */
  int64_t param;      /* scales and biases that a group is further on */
};

static struct groups read_groups(const struct opcall *c) {
  struct groups g = {.s = channel_lines(c)};
  bool instance = !strcmp(c->op->name, "InstanceNormalization");
  g.count = instance ? g.s.n : opcall_int(c, "num_groups", 1);
  g.per = g.count ? g.s.n / g.count : 0;
  g.param = instance || c->opset < 21 ? 1 : g.per;
  return g;
}

/* y of `per` rows = y op the scale or bias of each (or of the group). */
static void by_channel(const struct groups *g, int ukr, int param, const struct span *s,
                       struct addr y, struct builder *b) {
  struct addr a = ADDR(param, 0);
  struct val n = val(g->s.inner), one = val(1);
  span_term(&a, s, g->param * 4);
  build_ukr(b, ukr, (struct addr[]){y, a, y},
            (struct val[]){val(g->per), n, n, one, val(g->param > 1), val(0), n});
}

static void emit_groups(const struct opcall *c, const struct label *l, struct builder *b) {
  (void)l; /* no knobs, and the same program for any number of threads */
  struct groups g = read_groups(c);
  int64_t n = g.per * g.s.inner, image = g.s.n * g.s.inner * 4;
  struct addr x = ADDR(0, 0), y = ADDR(3, 0), ones = ADDR(build_buf(b, BUF_SHARED, n * 4), 0);
  struct addr zeros = ADDR(build_buf(b, BUF_SHARED, n * 4), 0);
  struct val one = val(1), all = val(n);
  build_ukr(b, UKR_fill_4, &ones, (struct val[]){one, all, all, val_float(1)});
  build_ukr(b, UKR_fill_4, &zeros, (struct val[]){one, all, all, val(0)});
  struct span o = span_open(b, false, val(g.s.outer), g.s.outer, 1);
  struct span s = span_open(b, true, val(g.count), g.count, 1);
  span_term(&x, &o, image);
  span_term(&y, &o, image);
  span_term(&x, &s, n * 4);
  span_term(&y, &s, n * 4);
  build_ukr(b, UKR_layernorm_f32, (struct addr[]){x, ones, zeros, y},
            (struct val[]){one, all, all, all, val_float(opcall_float(c, "epsilon", 1e-5f))});
  by_channel(&g, UKR_mul_f32, 1, &s, y, b);
  by_channel(&g, UKR_add_f32, 2, &s, y, b);
  span_close(b, &s);
  span_close(b, &o);
}

static bool label_f32(const struct opcall *c, const struct target *t, int i, struct label *l) {
  if (c->in[0].dtype != FVM_F32 || tensor_count(&c->in[0]) == 0 || i >= MAX(t->nthreads, 1))
    return false;
  l->threads = t->nthreads ? t->threads[i] : 1;
  return true;
}

static void cost_groups(const struct opcall *c, const struct label *l, struct opcost *cost) {
  cost_stream(c, l, cost);
  cost->flops = 10 * tensor_count(&c->in[0]);
}

const struct cand groupnorm_cands[] = {
    {"groupnorm", {0}, label_f32, emit_groups, cost_groups},
    {0},
};
