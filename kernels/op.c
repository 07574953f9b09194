/* The table of operators, opcalls and their labels. Contract: op.h. */
#include "op_impl.h"

#include <string.h>

const struct cand no_cands[] = {{0}};

static const struct op ops[] = {
#define OP(name, since, nin_min, nin_max, nout_max, flags, shape, ref, cands)                      \
  {#name, since, nin_min, nin_max, nout_max, flags, shape, ref, cands},
#include "ops.def"
#undef OP
};

const struct op *op_at(int i) { return i >= 0 && (size_t)i < COUNT(ops) ? &ops[i] : NULL; }

const struct op *op_find(const char *name, size_t len) {
  for (size_t i = 0; i < COUNT(ops); i++)
    if (strlen(ops[i].name) == len && !memcmp(ops[i].name, name, len)) return &ops[i];
  return NULL;
}

/* ---- tensors ---- */

enum fvm_status tensor_init(struct tensor *t, enum fvm_dtype dtype, int rank, const int64_t *dim,
                            struct fvm_error *err) {
  if (rank < 0 || rank > FVM_MAXRANK)
    return fvm_fail(err, FVM_EUNSUPPORTED, "a tensor has %d axes; at most %d are supported", rank,
                    FVM_MAXRANK);
  *t = (struct tensor){.dtype = dtype, .rank = rank};
  int64_t bytes = (int64_t)fvm_dtype_bytes(dtype);
  for (int i = 0; i < rank; i++) {
    if (dim[i] < 0)
      return fvm_fail(err, FVM_EFORMAT, "a tensor's axis %d has size %lld", i, (long long)dim[i]);
    t->dim[i] = dim[i];
    /* Zeros do not excuse huge other dims: strides are products of them. */
    if (!fvm_mul(bytes, MAX(dim[i], 1), &bytes) || bytes > TENSOR_MAXBYTES)
      return fvm_fail(err, FVM_EFORMAT, "a tensor is larger than %lld bytes",
                      (long long)TENSOR_MAXBYTES);
  }
  return FVM_OK;
}

int64_t tensor_count(const struct tensor *t) { return dims_product(t->dim, 0, t->rank); }

int64_t tensor_bytes(const struct tensor *t) {
  return tensor_count(t) * (int64_t)fvm_dtype_bytes(t->dtype);
}

/* ---- attributes and inputs ---- */

const struct attr *opcall_attr(const struct opcall *c, const char *name) {
  for (int i = 0; i < c->nattr; i++)
    if (!strcmp(c->attr[i].name, name)) return &c->attr[i];
  return NULL;
}

int64_t opcall_int(const struct opcall *c, const char *name, int64_t otherwise) {
  const struct attr *a = opcall_attr(c, name);
  return a && a->kind == ATTR_INT ? a->i : otherwise;
}

float opcall_float(const struct opcall *c, const char *name, float otherwise) {
  const struct attr *a = opcall_attr(c, name);
  return a && a->kind == ATTR_FLOAT ? a->f : otherwise;
}

const struct tensor *opcall_in(const struct opcall *c, int i) {
  return i < c->nin && c->in[i].dtype != FVM_NONE ? &c->in[i] : NULL;
}

/* ---- shapes ---- */

static enum fvm_status check_arguments(const struct opcall *c, struct fvm_error *err) {
  const struct op *op = c->op;
  if (c->opset < op->since)
    return fvm_fail(err, FVM_EUNSUPPORTED, "needs opset %d or later, the model has %d", op->since,
                    c->opset);
  int least = c->body && !c->nown ? 0 : op->nin_min; /* FusedElementwise owns none */
  if (c->nown < least || c->nown > op->nin_max || c->nin < c->nown)
    return fvm_fail(err, FVM_EFORMAT, "has %d inputs, takes %d to %d", c->nown, op->nin_min,
                    op->nin_max);
  if (c->nout < 1 || c->nout > op->nout_max)
    return fvm_fail(err, FVM_EFORMAT, "has %d outputs, gives 1 to %d", c->nout, op->nout_max);
  for (int i = 0; i < op->nin_min && i < c->nown; i++)
    if (c->in[i].dtype == FVM_NONE) return fvm_fail(err, FVM_EFORMAT, "lacks input %d", i);
  if (c->body && c->nout != 1)
    return fvm_fail(err, FVM_EUNSUPPORTED, "a fused body needs one output, not %d", c->nout);
  return FVM_OK;
}

/* The opcall of the anchor alone. */
static struct opcall without_body(const struct opcall *c) {
  struct opcall a = *c;
  a.body = NULL;
  a.nin = c->nown;
  return a;
}

void opcall_anchor(const struct opcall *c, struct opcall *anchor, struct tensor *out) {
  *anchor = without_body(c->part ? &c->part[1] : c);
  if (!c->body) {
    *out = c->out[0];
    return;
  }
  anchor->out = out;
  *out = (struct tensor){0};
  CHECK(anchor->op->shape(anchor, NULL) == FVM_OK);
}

/* An item of a body as an opcall on the values' tensors. */
static struct opcall item_call(const struct opcall *c, const struct body_item *it,
                               struct tensor *in, struct tensor *out) {
  return (struct opcall){.op = it->op,
                         .nin = it->narg,
                         .nown = it->narg,
                         .nout = 1,
                         .in = in,
                         .out = out,
                         .attr = it->attr,
                         .nattr = it->nattr,
                         .opset = c->opset};
}

/* Tensors of all values of a body, inputs first; the anchor's is value nin. */
static enum fvm_status value_shapes(const struct opcall *c, struct tensor *value,
                                    struct fvm_error *err) {
  const struct body *body = c->body;
  for (int i = 0; i < c->nin; i++) value[i] = c->in[i];
  struct opcall anchor = without_body(c);
  anchor.out = &value[c->nin];
  if (c->nown) {
    enum fvm_status st = c->op->shape(&anchor, err);
    if (st) return st;
  }
  for (int k = 0; k < body->n; k++) {
    const struct body_item *it = &body->item[k];
    struct tensor in[BODY_MAXARG] = {0};
    if (it->narg < 1 || it->narg > BODY_MAXARG || !(it->op->flags & OPF_ELT))
      return fvm_fail(err, FVM_EFORMAT, "fused %s cannot be in a body", it->op->name);
    for (int j = 0; j < it->narg; j++) {
      if (it->arg[j] < -1 || it->arg[j] > c->nin + k || (it->arg[j] == c->nin && !c->nown))
        return fvm_fail(err, FVM_EFORMAT, "fused %s uses a value before it is made", it->op->name);
      if (it->arg[j] >= 0) in[j] = value[it->arg[j]];
    }
    struct opcall call = item_call(c, it, in, &value[c->nin + 1 + k]);
    enum fvm_status st = opcall_shape(&call, err);
    if (st) return fvm_prefix(err, "fused body"), st;
    if (call.out[0].dtype != it->dtype)
      return fvm_fail(err, FVM_EFORMAT, "fused %s gives %s, its item says %s", it->op->name,
                      fvm_dtype_name(call.out[0].dtype), fvm_dtype_name(it->dtype));
  }
  return FVM_OK;
}

bool same_dims(const struct tensor *a, const struct tensor *b) {
  return a->rank == b->rank && !memcmp(a->dim, b->dim, sizeof *a->dim * (size_t)a->rank);
}

static enum fvm_status body_shape(struct opcall *c, struct fvm_error *err) {
  size_t n = (size_t)c->nin + 1 + (size_t)c->body->n;
  struct tensor *value = fvm_alloc(n, sizeof *value);
  if (!value) return fvm_nomem(err);
  enum fvm_status st = value_shapes(c, value, err);
  if (st) goto out;
  struct tensor out = value[n - 1];
  for (int i = c->nown; i < c->nin && !st; i++)
    if (value[i].dtype != FVM_NONE) st = broadcast(&out, &value[i], err);
  if (st) goto out;
  if (c->nown && !same_dims(&out, &value[c->nin]))
    st =
        fvm_fail(err, FVM_EUNSUPPORTED, "a fused body makes the result larger than the operator's");
  else
    st = tensor_init(&c->out[0], value[n - 1].dtype, out.rank, out.dim, err);
out:
  fvm_free(value, n, sizeof *value);
  return st;
}

enum fvm_status opcall_shape(struct opcall *c, struct fvm_error *err) {
  enum fvm_status st = check_arguments(c, err);
  if (!st) st = c->body ? body_shape(c, err) : c->op->shape(c, err);
  if (st) fvm_prefix(err, "%s", c->op->name);
  return st;
}

/* ---- reference ---- */

/* Copy a value to the output's shape. */
static void spread(const struct tensor *from, const void *x, const struct tensor *to, void *y) {
  struct walk w = {.rank = to->rank};
  size_t size = fvm_dtype_bytes(to->dtype);
  memcpy(w.dim, to->dim, sizeof to->dim);
  broadcast_strides(from, to, w.stride[0]);
  char *at = y;
  for (walk_start(&w); walk_more(&w); walk_next(&w), at += size)
    memcpy(at, (const char *)x + w.off[0] * (int64_t)size, size);
}

/* The last value takes the output's place, where it has its shape. */
static enum fvm_status run_items(const struct opcall *c, const struct tensor *value,
                                 const void **data, void *last, struct arena *a,
                                 struct fvm_error *err) {
  for (int k = 0; k < c->body->n; k++) {
    const struct body_item *it = &c->body->item[k];
    int v = c->nin + 1 + k;
    struct tensor in[BODY_MAXARG] = {0}, out = value[v];
    const void *x[BODY_MAXARG] = {0};
    for (int j = 0; j < it->narg; j++)
      if (it->arg[j] >= 0) in[j] = value[it->arg[j]], x[j] = data[it->arg[j]];
    bool is_last = k == c->body->n - 1 && same_dims(&out, &c->out[0]);
    void *y = is_last ? last : arena_alloc(a, (size_t)tensor_bytes(&out), 1);
    if (!y) return fvm_nomem(err);
    struct opcall call = item_call(c, it, in, &out);
    enum fvm_status st = it->op->ref(&call, x, &y, err);
    if (st) return st;
    data[v] = y;
  }
  return FVM_OK;
}

static enum fvm_status body_ref(const struct opcall *c, const void *const *in, void *out,
                                struct fvm_error *err) {
  struct arena a = {0};
  size_t n = (size_t)c->nin + 1 + (size_t)c->body->n;
  struct tensor *value = ARENA_NEW(&a, struct tensor, n);
  const void **data = ARENA_NEW(&a, const void *, n);
  enum fvm_status st = value && data ? value_shapes(c, value, err) : fvm_nomem(err);
  if (st) goto out;
  memcpy(data, in, (size_t)c->nin * sizeof *data);
  if (c->nown) {
    void *y = arena_alloc(&a, (size_t)tensor_bytes(&value[c->nin]), 1);
    struct opcall anchor = without_body(c);
    anchor.out = &value[c->nin];
    st = y ? c->op->ref(&anchor, in, &y, err) : fvm_nomem(err);
    if (st) goto out;
    data[c->nin] = y;
  }
  st = run_items(c, value, data, out, &a, err);
  if (!st && data[n - 1] != out) spread(&value[n - 1], data[n - 1], &c->out[0], out);
out:
  arena_free(&a);
  return st;
}

enum fvm_status opcall_ref(const struct opcall *c, const void *const *in, void *const *out,
                           struct fvm_error *err) {
  enum fvm_status st = c->body ? body_ref(c, in, out[0], err) : c->op->ref(c, in, out, err);
  if (st) fvm_prefix(err, "%s", c->op->name);
  return st;
}

/* ---- labels ---- */

bool opcall_next(const struct opcall *c, const struct target *t, struct label_walk *w,
                 struct label *l) {
  if (c->body && !(c->op->flags & OPF_ANCHOR)) return false;
  const struct cand *k = c->op->cands;
  for (k = k ? k + w->cand : NULL; k && k->name; k++, w->cand++, w->label = 0) {
    *l = (struct label){.cand = k, .threads = 1};
    if (k->label(c, t, w->label, l)) return w->label++, true;
  }
  return false;
}

bool opcall_label(const struct opcall *c, const struct target *t, int i, struct label *l) {
  struct label_walk w = {0};
  bool is = opcall_next(c, t, &w, l);
  while (is && i-- > 0) is = opcall_next(c, t, &w, l);
  return is;
}

static enum layout io_layout(const uint8_t *list, int i) {
  return i < LABEL_MAXIO ? (enum layout)list[i] : LAYOUT_ROW;
}

enum fvm_status opcall_emit(const struct opcall *c, const struct label *l, struct arena *a,
                            struct program *p, struct fvm_error *err) {
  struct builder b;
  CHECK(!l->view);
  build_init(&b, a);
  for (int i = 0; i < c->nin; i++)
    build_buf(&b, BUF_IN,
              c->in[i].dtype == FVM_NONE ? 0 : layout_bytes(&c->in[i], io_layout(l->in, i)));
  for (int i = 0; i < c->nout; i++)
    build_buf(&b, BUF_OUT,
              c->out[i].dtype == FVM_NONE ? 0 : layout_bytes(&c->out[i], io_layout(l->out, i)));
  if (b.err.code == FVM_OK) l->cand->emit(c, l, &b);
  enum fvm_status st = build_finish(&b, p, err);
  if (st) fvm_prefix(err, "%s %s", c->op->name, l->cand->name);
  return st;
}

void cost_stream(const struct opcall *c, const struct label *l, struct opcost *cost) {
  (void)l;
  *cost = (struct opcost){.calls = 1};
  for (int i = 0; i < c->nin; i++)
    if (c->in[i].dtype != FVM_NONE) cost->bytes_read += tensor_bytes(&c->in[i]);
  for (int i = 0; i < c->nout; i++)
    if (c->out[i].dtype != FVM_NONE) cost->bytes_written += tensor_bytes(&c->out[i]);
}

void opcall_cost(const struct opcall *c, const struct label *l, struct opcost *cost) {
  *cost = (struct opcost){0};
  if (!l->view) (l->cand->cost ? l->cand->cost : cost_stream)(c, l, cost);
}
