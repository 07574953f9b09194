/* FusedAttention: shape and reference. Meaning: attn.h; candidates: cand_attn.c. */
#include "attn.h"
#include "op_impl.h"

#include <math.h>

/* Attributes of the operands, by input. */
static const char *const at_name[] = {"q_at", "k_at", "v_at"};
static const char *const width_name[] = {"width", "width", "v_width"};

static enum fvm_status bad_heads(int i, int64_t heads, struct fvm_error *err) {
  return fvm_fail(err, FVM_EFORMAT, "input %d does not have %lld heads", i, (long long)heads);
}

/* [batch, heads, rows, width]: there is nothing to choose. */
static enum fvm_status read_split(const struct opcall *c, int i, int64_t heads,
                                  struct attn_operand *o, struct fvm_error *err) {
  const int64_t *dim = c->in[i].dim;
  if (dim[1] != heads) return bad_heads(i, heads, err);
  if (opcall_int(c, at_name[i], 0) != 0 || opcall_int(c, width_name[i], dim[3]) != dim[3])
    return fvm_fail(err, FVM_EFORMAT, "input %d has heads of width %lld, not columns", i,
                    (long long)dim[3]);
  *o = (struct attn_operand){0, heads * dim[2] * dim[3], dim[2] * dim[3], dim[3], dim[3]};
  return FVM_OK;
}

/* Columns of [batch, rows, n]. */
static enum fvm_status read_columns(const struct opcall *c, int i, int64_t heads,
                                    struct attn_operand *o, struct fvm_error *err) {
  const int64_t *dim = c->in[i].dim, n = dim[2], at = opcall_int(c, at_name[i], 0);
  bool given = opcall_attr(c, width_name[i]) != NULL;
  int64_t width = given ? opcall_int(c, width_name[i], 0) : n / heads;
  if (!given && n % heads) return bad_heads(i, heads, err);
  if (width < 0 || width > n / heads || at < 0 || at > n - heads * width)
    return fvm_fail(err, FVM_EFORMAT, "input %d has %lld columns: no %lld heads of %lld from %lld",
                    i, (long long)n, (long long)heads, (long long)width, (long long)at);
  *o = (struct attn_operand){at, dim[1] * n, width, n, width};
  return FVM_OK;
}

/* Where an operand is; rows: the length of its sequence. */
static enum fvm_status read_operand(const struct opcall *c, int i, int64_t heads,
                                    struct attn_operand *o, int64_t *rows, struct fvm_error *err) {
  const struct tensor *t = &c->in[i];
  if (t->dtype != c->in[0].dtype || (t->rank != 3 && t->rank != 4))
    return fvm_fail(err, FVM_EFORMAT, "input %d is %s of rank %d", i, fvm_dtype_name(t->dtype),
                    t->rank);
  if (t->dim[0] != c->in[0].dim[0])
    return fvm_fail(err, FVM_EFORMAT, "inputs 0 and %d have batches of %lld and %lld", i,
                    (long long)c->in[0].dim[0], (long long)t->dim[0]);
  *rows = t->dim[t->rank - 2];
  return t->rank == 4 ? read_split(c, i, heads, o, err) : read_columns(c, i, heads, o, err);
}

static enum fvm_status read_mask(struct attn *a, const struct opcall *c, struct fvm_error *err) {
  const struct tensor *m = &c->in[3];
  struct tensor out, all;
  a->has_mask = c->nown > 3 && m->dtype != FVM_NONE;
  if (!a->has_mask) return FVM_OK;
  if (m->dtype != FVM_BOOL && m->dtype != c->in[0].dtype)
    return fvm_fail(err, FVM_EFORMAT, "the mask is %s", fvm_dtype_name(m->dtype));
  const int64_t dim[] = {a->batch, a->heads, a->queries, a->keys};
  enum fvm_status st = tensor_init(&all, m->dtype, 4, dim, err);
  out = all;
  if (st == FVM_OK) st = broadcast(&out, m, err);
  if (st != FVM_OK) return st;
  if (m->rank > 4 || tensor_count(&out) != tensor_count(&all))
    return fvm_fail(err, FVM_EFORMAT, "the mask is larger than the scores");
  broadcast_strides(m, &all, a->mask);
  return FVM_OK;
}

enum fvm_status attn_init(struct attn *a, const struct opcall *c, struct fvm_error *err) {
  int64_t v_rows = 0, heads = opcall_int(c, "heads", 0);
  *a = (struct attn){.heads = heads,
                     .kv_heads = opcall_int(c, "kv_heads", heads),
                     .causal = opcall_int(c, "causal", 0) != 0,
                     .guard = opcall_int(c, "guard", 0) != 0,
                     .scale = opcall_float(c, "scale", 1)};
  if (heads < 1 || a->kv_heads < 1 || heads % a->kv_heads)
    return fvm_fail(err, FVM_EFORMAT, "%lld heads on %lld key heads", (long long)heads,
                    (long long)a->kv_heads);
  if (c->in[0].rank < 1) return fvm_fail(err, FVM_EFORMAT, "input 0 has no axes");
  a->batch = c->in[0].dim[0];
  enum fvm_status st = read_operand(c, 0, heads, &a->q, &a->queries, err);
  if (st == FVM_OK) st = read_operand(c, 1, a->kv_heads, &a->k, &a->keys, err);
  if (st == FVM_OK) st = read_operand(c, 2, a->kv_heads, &a->v, &v_rows, err);
  if (st != FVM_OK) return st;
  if (a->q.width != a->k.width || a->keys != v_rows)
    return fvm_fail(err, FVM_EFORMAT, "%lld keys of width %lld, queries of %lld, %lld values",
                    (long long)a->keys, (long long)a->k.width, (long long)a->q.width,
                    (long long)v_rows);
  return read_mask(a, c, err);
}

enum fvm_status attn_shape(struct opcall *c, struct fvm_error *err) {
  struct attn a;
  enum fvm_dtype t = c->in[0].dtype;
  if (t != FVM_F32 && t != FVM_F64)
    return fvm_fail(err, FVM_EUNSUPPORTED, "attention of %s", fvm_dtype_name(t));
  enum fvm_status st = attn_init(&a, c, err);
  if (st != FVM_OK) return st;
  return tensor_init(&c->out[0], t, 3, (int64_t[]){a.batch, a.queries, a.heads * a.v.width}, err);
}

/* One query: q, k, v, mask point at its row, its head's first rows, its row of the mask. */
struct query {
  const struct attn *a;
  enum fvm_dtype t, mask_type;
  const void *q, *k, *v, *mask, *out;
  int64_t q0, k0, v0, m0, out0, visible;
};

static double score(const struct query *x, int64_t j) {
  if (j >= x->visible) return (double)-INFINITY;
  double s = 0, m = 0;
  for (int64_t d = 0; d < x->a->q.width; d++)
    s += elem_f64(x->q, x->t, x->q0 + d) * elem_f64(x->k, x->t, x->k0 + j * x->a->k.row + d);
  if (x->a->has_mask) m = elem_f64(x->mask, x->mask_type, x->m0 + j * x->a->mask[3]);
  if (x->a->has_mask && x->mask_type == FVM_BOOL) m = m != 0 ? 0 : (double)-INFINITY;
  return (double)x->a->scale * s + m;
}

static void answer(const struct query *x, double *p, void *out) {
  const struct attn *a = x->a;
  double max = (double)-INFINITY, sum = 0;
  for (int64_t j = 0; j < a->keys; j++) max = fmax(max, p[j] = score(x, j));
  bool none = a->guard && isinf(max) && max < 0;
  for (int64_t j = 0; j < a->keys; j++) sum += p[j] = none ? 0 : exp(p[j] - max);
  for (int64_t d = 0; d < a->v.width; d++) {
    double r = 0;
    for (int64_t j = 0; j < a->keys; j++)
      r += p[j] * elem_f64(x->v, x->t, x->v0 + j * a->v.row + d);
    elem_set_f64(out, x->t, x->out0 + d, none ? 0 : r / sum);
  }
}

enum fvm_status attn_ref(const struct opcall *c, const void *const *in, void *const *out,
                         struct fvm_error *err) {
  struct attn a;
  enum fvm_status st = attn_init(&a, c, err);
  if (st != FVM_OK) return st;
  size_t keys = (size_t)MAX(a.keys, 1);
  double *p = fvm_alloc(keys, sizeof *p);
  if (!p) return fvm_nomem(err);
  struct query x = {.a = &a, .t = c->in[0].dtype, .q = in[0], .k = in[1], .v = in[2]};
  if (a.has_mask) {
    x.mask = in[3];
    x.mask_type = c->in[3].dtype;
  }
  for (int64_t n = 0; n < a.batch * a.heads * a.queries; n++) {
    int64_t i = n % a.queries, h = n / a.queries % a.heads, b = n / a.queries / a.heads;
    int64_t kh = h / (a.heads / a.kv_heads);
    x.q0 = a.q.at + b * a.q.batch + h * a.q.head + i * a.q.row;
    x.k0 = a.k.at + b * a.k.batch + kh * a.k.head;
    x.v0 = a.v.at + b * a.v.batch + kh * a.v.head;
    x.m0 = b * a.mask[0] + h * a.mask[1] + i * a.mask[2];
    x.out0 = ((b * a.queries + i) * a.heads + h) * a.v.width;
    x.visible = a.causal ? MAX(i + a.keys - a.queries + 1, 0) : a.keys;
    answer(&x, p, out[0]);
  }
  fvm_free(p, keys, sizeof *p);
  return FVM_OK;
}

/* ---- for candidates -------------------------------------------------------------------------- */

struct addr attn_operand_at(int buf, const struct attn_operand *o, const struct span *batch,
                            const struct span *kv) {
  struct addr x = ADDR(buf, o->at * 4);
  span_term(&x, batch, o->batch * 4);
  span_term(&x, kv, o->head * 4);
  return x;
}

bool attn_can(struct attn *a, const struct opcall *c) {
  if (c->in[0].dtype != FVM_F32 || c->body || attn_init(a, c, NULL) != FVM_OK) return false;
  if (tensor_count(&c->out[0]) == 0 || a->keys == 0 || a->q.width == 0) return false;
  return (!a->causal || a->keys >= a->queries) && MAX(a->keys, a->queries) <= INT32_MAX / 2;
}

/* Of a wide tensor only the columns count. */
void attn_cost(const struct attn *a, const struct opcall *c, struct opcost *cost) {
  int64_t rows = a->batch * a->kv_heads * a->keys;
  *cost = (struct opcost){0};
  cost->bytes_read =
      4 * (a->batch * a->heads * a->queries * a->q.width + rows * (a->q.width + a->v.width));
  if (a->has_mask) cost->bytes_read += tensor_bytes(&c->in[3]);
  cost->bytes_written = tensor_bytes(&c->out[0]);
}
