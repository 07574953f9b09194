/* FusedRope: shape, reference, and the way to run it: rows shared by threads, all heads of a row at
 * a time, so that its angles are read once. Meaning: rope.h. */
#include "rope.h"
#include "op_impl.h"

/* ---- meaning ---- */

static struct rope_place place_of(const struct rope *r, enum rope_form form) {
  int64_t all = r->rows * r->heads * r->width;
  if (form == ROPE_HEADS) return (struct rope_place){all, r->width, r->rows * r->width};
  return (struct rope_place){all, r->heads * r->width, r->width};
}

/* rotary: 0 for all of a head. */
static enum fvm_status read_x(struct rope *r, const struct opcall *c, int64_t rotary,
                              struct fvm_error *err) {
  const struct tensor *x = &c->in[0];
  bool flat = r->from == ROPE_FLAT;
  if (x->rank != (flat ? 3 : 4))
    return fvm_fail(err, FVM_EFORMAT, "input 0 has %d axes, not %d", x->rank, flat ? 3 : 4);
  int64_t heads = flat ? r->heads : x->dim[r->from == ROPE_HEADS ? 1 : 2];
  if (r->heads < 1 || heads != r->heads || (flat && x->dim[2] % heads))
    return fvm_fail(err, FVM_EFORMAT, "input 0 does not have %lld heads", (long long)r->heads);
  r->batch = x->dim[0];
  r->rows = x->dim[r->from == ROPE_HEADS ? 2 : 1];
  r->width = flat ? x->dim[2] / heads : x->dim[3];
  r->rotary = rotary ? rotary : r->width;
  if (r->rotary < 0 || r->rotary > r->width || r->rotary % 2)
    return fvm_fail(err, FVM_EFORMAT, "%lld of %lld columns cannot turn in pairs",
                    (long long)r->rotary, (long long)r->width);
  return FVM_OK;
}

/* [.., rows, columns] with 1 or nothing for heads. */
static enum fvm_status read_angle(const struct rope *r, const struct opcall *c, int i,
                                  struct rope_angle *a, struct fvm_error *err) {
  const struct tensor *t = &c->in[i];
  int n = t->rank;
  int64_t dim[4] = {1, 1, 1, 0};
  bool ok = t->dtype == c->in[0].dtype && n >= 1 && n <= 4;
  for (int k = 0; ok && k < n; k++) dim[4 - n + k] = t->dim[k];
  if (n == 3) dim[0] = dim[1], dim[1] = 1;
  int64_t rows = dim[1] == 1 ? dim[2] : dim[1], columns = dim[3];
  ok = ok && (dim[1] == 1 || dim[2] == 1) && (dim[0] == 1 || dim[0] == r->batch) &&
       (rows == 1 || rows == r->rows) && (columns == r->rotary || columns == r->rotary / 2);
  if (!ok)
    return fvm_fail(err, FVM_EFORMAT, "input %d does not fit %lld rows of %lld turning columns", i,
                    (long long)r->rows, (long long)r->rotary);
  a->row = rows == 1 ? 0 : columns;
  a->batch = dim[0] == 1 ? 0 : rows * columns;
  a->half = columns == r->rotary ? r->rotary / 2 : 0;
  return FVM_OK;
}

enum fvm_status rope_init(struct rope *r, const struct opcall *c, struct fvm_error *err) {
  int64_t from = opcall_int(c, "from", ROPE_FLAT), to = opcall_int(c, "to", ROPE_FLAT);
  if (from < 0 || from >= ROPE_FORMS || to < 0 || to >= ROPE_FORMS)
    return fvm_fail(err, FVM_EFORMAT, "no form %lld or %lld", (long long)from, (long long)to);
  *r = (struct rope){
      .heads = opcall_int(c, "heads", 0), .from = (enum rope_form)from, .to = (enum rope_form)to};
  enum fvm_status st = read_x(r, c, opcall_int(c, "rotary", 0), err);
  if (st == FVM_OK) st = read_angle(r, c, 1, &r->cos, err);
  if (st == FVM_OK) st = read_angle(r, c, 2, &r->sin, err);
  r->x = place_of(r, r->from);
  r->y = place_of(r, r->to);
  return st;
}

enum fvm_status rope_shape(struct opcall *c, struct fvm_error *err) {
  struct rope r;
  enum fvm_dtype t = c->in[0].dtype;
  if (t != FVM_F32 && t != FVM_F64)
    return fvm_fail(err, FVM_EUNSUPPORTED, "rotary embedding of %s", fvm_dtype_name(t));
  enum fvm_status st = rope_init(&r, c, err);
  if (st != FVM_OK) return st;
  if (r.to == ROPE_FLAT)
    return tensor_init(&c->out[0], t, 3, (int64_t[]){r.batch, r.rows, r.heads * r.width}, err);
  bool by_head = r.to == ROPE_HEADS;
  return tensor_init(
      &c->out[0], t, 4,
      (int64_t[]){r.batch, by_head ? r.heads : r.rows, by_head ? r.rows : r.heads, r.width}, err);
}

/* One head of one row; offsets of its x, cos, sin, y. */
static void turn(const struct rope *r, enum fvm_dtype t, const void *const *in, void *out,
                 const int64_t at[4]) {
  int64_t half = r->rotary / 2;
  for (int64_t j = 0; j < half; j++) {
    double a = elem_f64(in[0], t, at[0] + j), b = elem_f64(in[0], t, at[0] + half + j);
    elem_set_f64(out, t, at[3] + j,
                 a * elem_f64(in[1], t, at[1] + j) - b * elem_f64(in[2], t, at[2] + j));
    elem_set_f64(out, t, at[3] + half + j,
                 b * elem_f64(in[1], t, at[1] + r->cos.half + j) +
                     a * elem_f64(in[2], t, at[2] + r->sin.half + j));
  }
  for (int64_t j = r->rotary; j < r->width; j++)
    elem_set_f64(out, t, at[3] + j, elem_f64(in[0], t, at[0] + j));
}

enum fvm_status rope_ref(const struct opcall *c, const void *const *in, void *const *out,
                         struct fvm_error *err) {
  struct rope r;
  enum fvm_status st = rope_init(&r, c, err);
  if (st != FVM_OK) return st;
  for (int64_t n = 0; n < r.batch * r.rows * r.heads; n++) {
    int64_t h = n % r.heads, i = n / r.heads % r.rows, b = n / r.heads / r.rows;
    turn(&r, c->in[0].dtype, in, out[0],
         (int64_t[]){b * r.x.batch + i * r.x.row + h * r.x.head, b * r.cos.batch + i * r.cos.row,
                     b * r.sin.batch + i * r.sin.row, b * r.y.batch + i * r.y.row + h * r.y.head});
  }
  return FVM_OK;
}

/* ---- RotaryEmbedding ---- */

static enum fvm_status read_positions(const struct rope *r, const struct opcall *c,
                                      struct fvm_error *err) {
  const struct tensor *at = &c->in[3];
  bool ok =
      at->dtype == FVM_I64 && at->rank == 2 && at->dim[0] == r->batch && at->dim[1] == r->rows;
  for (int i = 1; i < 3; i++) {
    const struct tensor *t = &c->in[i];
    ok = ok && t->dtype == c->in[0].dtype && t->rank == 2 && t->dim[1] == r->rotary / 2 &&
         t->dim[0] == c->in[1].dim[0];
  }
  return ok ? FVM_OK : fvm_fail(err, FVM_EFORMAT, "positions or angles do not fit input 0");
}

enum fvm_status rotary_init(struct rope *r, const struct opcall *c, struct fvm_error *err) {
  const struct tensor *x = &c->in[0];
  bool flat = x->rank == 3;
  if (opcall_int(c, "interleaved", 0))
    return fvm_fail(err, FVM_EUNSUPPORTED, "rotary embedding of interleaved pairs");
  *r = (struct rope){.from = flat ? ROPE_FLAT : ROPE_HEADS, .to = flat ? ROPE_FLAT : ROPE_HEADS};
  r->heads = opcall_int(c, "num_heads", 0);
  if (x->rank == 4 && r->heads == 0) r->heads = x->dim[1];
  enum fvm_status st = read_x(r, c, opcall_int(c, "rotary_embedding_dim", 0), err);
  if (st != FVM_OK) return st;
  r->x = r->y = place_of(r, r->from);
  if (c->nin > 3 && c->in[3].dtype != FVM_NONE) return read_positions(r, c, err);
  st = read_angle(r, c, 1, &r->cos, err);
  return st == FVM_OK ? read_angle(r, c, 2, &r->sin, err) : st;
}

enum fvm_status rotary_shape(struct opcall *c, struct fvm_error *err) {
  struct rope r;
  enum fvm_dtype t = c->in[0].dtype;
  if (t != FVM_F32 && t != FVM_F64)
    return fvm_fail(err, FVM_EUNSUPPORTED, "rotary embedding of %s", fvm_dtype_name(t));
  enum fvm_status st = rotary_init(&r, c, err);
  return st == FVM_OK ? tensor_init(&c->out[0], t, c->in[0].rank, c->in[0].dim, err) : st;
}

enum fvm_status rotary_ref(const struct opcall *c, const void *const *in, void *const *out,
                           struct fvm_error *err) {
  struct rope r;
  enum fvm_status st = rotary_init(&r, c, err);
  if (st != FVM_OK) return st;
  const int64_t *at = c->nin > 3 ? in[3] : NULL;
  for (int64_t n = 0; n < r.batch * r.rows * r.heads; n++) {
    int64_t h = n % r.heads, i = n / r.heads % r.rows, b = n / r.heads / r.rows;
    int64_t cos = b * r.cos.batch + i * r.cos.row, sin = b * r.sin.batch + i * r.sin.row;
    if (at) {
      int64_t p = at[b * r.rows + i];
      if (p < 0 || p >= c->in[1].dim[0])
        return fvm_fail(err, FVM_EFORMAT, "position %lld of %lld", (long long)p,
                        (long long)c->in[1].dim[0]);
      cos = sin = p * (r.rotary / 2);
    }
    int64_t x = b * r.x.batch + i * r.x.row + h * r.x.head;
    turn(&r, c->in[0].dtype, in, out[0], (int64_t[]){x, cos, sin, x});
  }
  return FVM_OK;
}

/* ---- candidate ---- */

static struct addr at_row(int buf, int64_t batch, int64_t row, const struct span *b,
                          const struct span *s) {
  struct addr a = ADDR(buf, 0);
  span_term(&a, b, batch * 4);
  span_term(&a, s, row * 4);
  return a;
}

/* Columns that do not turn. */
static void emit_rest(const struct rope *r, struct addr x, struct addr y, struct val m,
                      struct builder *b) {
  if (r->rotary == r->width) return;
  struct span h = span_open(b, false, val(r->heads), r->heads, 1);
  x.off += r->rotary * 4;
  y.off += r->rotary * 4;
  span_term(&x, &h, r->x.head * 4);
  span_term(&y, &h, r->y.head * 4);
  build_ukr(
      b, UKR_copy_4, (struct addr[]){x, y},
      (struct val[]){m, val(r->width - r->rotary), val(r->x.row), val(1), val(r->y.row), val(1)});
  span_close(b, &h);
}

static void emit(const struct opcall *c, const struct label *l, struct builder *b) {
  struct rope r;
  CHECK(rope_init(&r, c, NULL) == FVM_OK);
  struct span n = span_open(b, false, val(r.batch), r.batch, 1);
  struct span s = span_open(b, true, val(r.rows), r.rows, CEIL_DIV(r.rows, MAX(l->threads, 1)));
  struct addr x = at_row(0, r.x.batch, r.x.row, &n, &s), y = at_row(3, r.y.batch, r.y.row, &n, &s);
  build_ukr(b, UKR_rope_f32,
            (struct addr[]){x, at_row(1, r.cos.batch, r.cos.row, &n, &s),
                            at_row(2, r.sin.batch, r.sin.row, &n, &s), y},
            (struct val[]){s.len, val(r.heads), val(r.rotary / 2), val(r.x.row), val(r.x.head),
                           val(r.cos.row), val(r.cos.half), val(r.sin.row), val(r.sin.half),
                           val(r.y.row), val(r.y.head)});
  emit_rest(&r, x, y, s.len, b);
  span_close(b, &s);
  span_close(b, &n);
}

static bool label(const struct opcall *c, const struct target *t, int i, struct label *l) {
  struct rope r;
  if (c->in[0].dtype != FVM_F32 || c->body || rope_init(&r, c, NULL) != FVM_OK) return false;
  if (tensor_count(&c->out[0]) == 0) return false;
  if ((r.from == ROPE_HEADS) == (r.to == ROPE_HEADS)) l->inplace = 1;
  return label_threads(c, t, i, l);
}

static void cost(const struct opcall *c, const struct label *l, struct opcost *cost) {
  cost_stream(c, l, cost);
  cost->flops = 3 * tensor_count(&c->out[0]);
}

const struct cand rope_cands[] = {
    {"rope_rows", {NULL}, label, emit, cost},
    {0},
};
