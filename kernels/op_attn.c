/* FusedAttention: shape and reference. Meaning: attn.h; candidates: cand_attn.c. */
#include "attn.h"
#include "op_impl.h"
#include "ref.h"

#include <math.h>
#include <string.h>

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

/* The reference works on blocks of queries of one head: scores, which become probabilities, then
 * the values that these weigh. */
enum { QUERIES = 32 };
struct ref_attn {
  const struct attn *a;
  enum fvm_dtype t, mask_type;
  const void *const *in;
  void *out;
  int64_t blocks; /* of queries, in each head */
};

/* n rows of an operand from row i on, of head h of batch b. */
static struct ref_matrix rows_of(const struct ref_attn *r, int input, const struct attn_operand *o,
                                 int64_t b, int64_t h, int64_t i) {
  return (struct ref_matrix){r->in[input], r->t, o->at + b * o->batch + h * o->head + i * o->row,
                             o->row, 1};
}

/* c = a * b, of m rows and n columns; scratch: k * REF_COLUMNS. */
static void multiply(const struct ref_matrix *a, const struct ref_matrix *b, int64_t m, int64_t n,
                     int64_t k, double *c, double *scratch) {
  for (int64_t j0 = 0; j0 < n; j0 += REF_COLUMNS) {
    int width = (int)MIN(n - j0, REF_COLUMNS);
    ref_columns(b, k, j0, width, scratch);
    for (int64_t i0 = 0; i0 < m; i0 += REF_ROWS) {
      double sum[REF_ROWS][REF_COLUMNS];
      int height = (int)MIN(m - i0, REF_ROWS);
      ref_dots(a, i0, height, k, scratch, width, sum);
      for (int i = 0; i < height; i++)
        memcpy(c + (i0 + i) * n + j0, sum[i], (size_t)width * sizeof *c);
    }
  }
}

/* Products of query i of head h of batch b with all keys become its scores. */
static void score(const struct ref_attn *r, int64_t b, int64_t h, int64_t i, double *p) {
  const struct attn *a = r->a;
  int64_t visible = a->causal ? MAX(i + a->keys - a->queries + 1, 0) : a->keys;
  int64_t at = b * a->mask[0] + h * a->mask[1] + i * a->mask[2];
  for (int64_t j = 0; j < a->keys; j++) {
    double m = a->has_mask ? elem_f64(r->in[3], r->mask_type, at + j * a->mask[3]) : 0;
    if (a->has_mask && r->mask_type == FVM_BOOL) m = m != 0 ? 0 : (double)-INFINITY;
    p[j] = j < visible ? (double)a->scale * p[j] + m : (double)-INFINITY;
  }
}

/* Their exponentials, and the sum of these: 0 for a query that sees nothing, if that is guarded. */
static double exponentials(const struct attn *a, double *p) {
  double max = (double)-INFINITY, sum = 0;
  for (int64_t j = 0; j < a->keys; j++) max = fmax(max, p[j]);
  bool none = a->guard && isinf(max) && max < 0;
  for (int64_t j = 0; j < a->keys; j++) sum += p[j] = none ? 0 : exp(p[j] - max);
  return sum;
}

/* Queries i .. i+m-1 of head h of batch b. */
static void answer(const struct ref_attn *r, int64_t b, int64_t h, int64_t i, int m,
                   double *scratch) {
  const struct attn *a = r->a;
  int64_t kv = h / (a->heads / a->kv_heads);
  struct ref_matrix q = rows_of(r, 0, &a->q, b, h, i), k = rows_of(r, 1, &a->k, b, kv, 0);
  struct ref_matrix turned = {k.p, k.t, k.at, 1, k.row}, v = rows_of(r, 2, &a->v, b, kv, 0);
  double sum[QUERIES], *p = scratch, *y = p + QUERIES * a->keys, *tile = y + QUERIES * a->v.width;
  multiply(&q, &turned, m, a->keys, a->q.width, p, tile);
  for (int n = 0; n < m; n++) {
    score(r, b, h, i + n, p + n * a->keys);
    sum[n] = exponentials(a, p + n * a->keys);
  }
  multiply(&(struct ref_matrix){p, FVM_F64, 0, a->keys, 1}, &v, m, a->v.width, a->keys, y, tile);
  for (int n = 0; n < m; n++) {
    double *row = y + n * a->v.width;
    for (int64_t d = 0; d < a->v.width; d++) row[d] = a->guard && sum[n] == 0 ? 0 : row[d] / sum[n];
    ref_put(r->out, r->t, ((b * a->queries + i + n) * a->heads + h) * a->v.width, a->v.width, row);
  }
}

static void ref_blocks(const void *arg, int64_t from, int64_t to, double *scratch) {
  const struct ref_attn *r = arg;
  for (int64_t x = from; x < to; x++) {
    int64_t i = x % r->blocks * QUERIES, head = x / r->blocks;
    answer(r, head / r->a->heads, head % r->a->heads, i, (int)MIN(r->a->queries - i, QUERIES),
           scratch);
  }
}

enum fvm_status attn_ref(const struct opcall *c, const void *const *in, void *const *out,
                         struct fvm_error *err) {
  struct attn a;
  enum fvm_status st = attn_init(&a, c, err);
  if (st != FVM_OK) return st;
  struct ref_attn r = {.a = &a,
                       .t = c->in[0].dtype,
                       .mask_type = a.has_mask ? c->in[3].dtype : FVM_NONE,
                       .in = in,
                       .out = out[0],
                       .blocks = CEIL_DIV(a.queries, QUERIES)};
  int64_t room = QUERIES * (a.keys + a.v.width) + MAX(a.q.width, a.keys) * REF_COLUMNS;
  double ns = (double)a.keys * QUERIES * ((double)(a.q.width + a.v.width) / 10 + 10);
  return ref_parallel(a.batch * a.heads * r.blocks, ns, (size_t)room, ref_blocks, &r, err);
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
