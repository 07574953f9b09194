/* ONNX import: the only file that knows the protobuf messages. */
#include "graph.h"

#include "names.h"
#include "onnx_external.h"
#include "onnx_wire.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "onnx.pb-c.h"

enum { OPSET_MIN = 7, OPSET_MAX = 23 };

/* Absent strings are NULL in the message; all our own are not. */
static const char *str(const char *s) { return s ? s : ""; }

/* ---- tensors ---- */

/* Where a tensor's data comes from and goes to. */
struct reader {
  struct arena *arena;
  struct mapping **keep; /* raw data moves there without a copy; NULL: copied into the arena */
  struct external *external;
};

static enum fvm_status init_tensor(struct tensor *t, int onnx_type, size_t rank, const int64_t *dim,
                                   struct fvm_error *err) {
  enum fvm_dtype d = dtype_of_onnx(onnx_type);
  if (d == FVM_NONE)
    return fvm_fail(err, FVM_EUNSUPPORTED, "element type %d of ONNX is not supported", onnx_type);
  return tensor_init(t, d, (int)MIN(rank, (size_t)FVM_MAXRANK + 1), dim, err);
}

static enum fvm_status wrong_count(const char *what, size_t have, int64_t want,
                                   struct fvm_error *err) {
  return fvm_fail(err, FVM_EFORMAT, "has %zu %s, its shape needs %" PRId64, have, what, want);
}

/* Copy n bytes into the arena; true and false become 1 and 0. */
static enum fvm_status copy_data(struct arena *a, const void *from, struct tensor *t,
                                 struct fvm_error *err) {
  size_t n = (size_t)tensor_bytes(t);
  unsigned char *to = arena_alloc(a, n, 1);
  if (!to) return fvm_nomem(err);
  if (n) memcpy(to, from, n);
  for (size_t i = 0; t->dtype == FVM_BOOL && i < n; i++) to[i] = to[i] != 0;
  t->data = to;
  return FVM_OK;
}

static enum fvm_status read_raw(struct reader *r, Onnx__TensorProto *p, struct tensor *t,
                                struct fvm_error *err) {
  int64_t want = tensor_bytes(t);
  if (p->raw_data.len != (size_t)want)
    return wrong_count("bytes of raw data", p->raw_data.len, want, err);
  if (r->keep && want > 0 && t->dtype != FVM_BOOL) {
    t->data = wire_keep(&p->raw_data, r->keep);
    return FVM_OK;
  }
  return copy_data(r->arena, p->raw_data.data, t, err);
}

/* Integers of external_data's entries are decimal texts. */
static bool parse_entry(const char *s, int64_t *v) {
  char *end;
  errno = 0;
  *v = strtoll(s, &end, 10);
  return end != s && !*end && errno == 0 && *v >= 0;
}

static enum fvm_status read_external(struct reader *r, Onnx__TensorProto *p, struct tensor *t,
                                     struct fvm_error *err) {
  const char *location = "";
  int64_t offset = 0, length = -1;
  const unsigned char *data;
  if (!r->external)
    return fvm_fail(err, FVM_EUNSUPPORTED, "external data is not supported in a tensor file");
  for (size_t i = 0; i < p->n_external_data; i++) {
    const char *key = str(p->external_data[i]->key), *value = str(p->external_data[i]->value);
    bool ok = true;
    if (!strcmp(key, "location")) location = value;
    if (!strcmp(key, "offset")) ok = parse_entry(value, &offset);
    if (!strcmp(key, "length")) ok = parse_entry(value, &length);
    if (!ok)
      return fvm_fail(err, FVM_EFORMAT, "external data: %s '%.40s' is no number", key, value);
  }
  if (!(location = arena_strdup(r->arena, location))) return fvm_nomem(err);
  enum fvm_status st =
      external_bytes(r->external, location, offset, length, tensor_bytes(t), &data, err);
  if (st != FVM_OK) return st;
  t->data = data;
  bool aligned = (uintptr_t)data % fvm_dtype_bytes(t->dtype) == 0;
  return aligned && t->dtype != FVM_BOOL ? FVM_OK : copy_data(r->arena, data, t, err);
}

/* Copy what a typed field holds; small integers, bool, f16 and bf16 come as the low bits of int32,
 * u32 as those of uint64. */
static enum fvm_status read_typed(struct reader *r, Onnx__TensorProto *p, struct tensor *t,
                                  struct fvm_error *err) {
  const void *from = p->int32_data;
  size_t n = p->n_int32_data, from_size = 4, size = fvm_dtype_bytes(t->dtype);
  switch (t->dtype) {
  case FVM_F32:
    from = p->float_data, n = p->n_float_data;
    break;
  case FVM_F64:
    from = p->double_data, n = p->n_double_data, from_size = 8;
    break;
  case FVM_I64:
    from = p->int64_data, n = p->n_int64_data, from_size = 8;
    break;
  case FVM_U32:
  case FVM_U64:
    from = p->uint64_data, n = p->n_uint64_data, from_size = 8;
    break;
  default:
    break;
  }
  int64_t want = tensor_count(t);
  if (n != (size_t)want) return wrong_count("elements", n, want, err);
  if (from_size == size) return copy_data(r->arena, from, t, err);
  char *to = arena_alloc(r->arena, n, size);
  if (!to) return fvm_nomem(err);
  for (size_t i = 0; i < n; i++) memcpy(to + i * size, (const char *)from + i * from_size, size);
  for (size_t i = 0; t->dtype == FVM_BOOL && i < n; i++) to[i] = to[i] != 0;
  t->data = to;
  return FVM_OK;
}

static enum fvm_status read_tensor(struct reader *r, Onnx__TensorProto *p, struct tensor *t,
                                   struct fvm_error *err) {
  enum fvm_status st = init_tensor(t, p->data_type, p->n_dims, p->dims, err);
  if (st != FVM_OK) return st;
  if (p->segment) return fvm_fail(err, FVM_EUNSUPPORTED, "segmented tensors are not supported");
  if (p->has_data_location && p->data_location == ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL)
    return read_external(r, p, t, err);
  return p->has_raw_data ? read_raw(r, p, t, err) : read_typed(r, p, t, err);
}

/* ---- the model ---- */

struct import {
  struct graph *g;
  struct reader reader;
  struct names names; /* tensors */
  const struct dim_binding *dim;
  int ndim;
  bool *dim_used;
  struct text unbound; /* names of dimensions that no --dim fixes */
  struct fvm_error *err;
};

static enum fvm_status declare(struct import *m, const char *name, int *t) {
  *t = graph_add_tensor(m->g, name);
  if (*t < 0 || !names_add(&m->names, m->g->tensor.v[*t].name, *t)) return fvm_nomem(m->err);
  return FVM_OK;
}

/* A new tensor that something defines: an initialiser, an input, a Constant. */
static enum fvm_status define(struct import *m, const char *name, const struct tensor *value,
                              int *t) {
  if (!*name) return fvm_fail(m->err, FVM_EFORMAT, "a tensor has no name");
  if (names_find(&m->names, name) >= 0)
    return fvm_fail(m->err, FVM_EFORMAT, "two tensors have the name '%.100s'", name);
  enum fvm_status st = declare(m, name, t);
  if (st == FVM_OK) m->g->tensor.v[*t].t = *value;
  return st;
}

static enum fvm_status read_initialisers(struct import *m, const Onnx__GraphProto *p) {
  for (size_t i = 0; i < p->n_initializer; i++) {
    struct tensor value;
    int t;
    const char *name = str(p->initializer[i]->name);
    enum fvm_status st = read_tensor(&m->reader, p->initializer[i], &value, m->err);
    if (st != FVM_OK) return fvm_prefix(m->err, "initialiser '%.100s'", name);
    if ((st = define(m, name, &value, &t)) != FVM_OK) return st;
  }
  if (p->n_sparse_initializer)
    return fvm_fail(m->err, FVM_EUNSUPPORTED, "sparse initialisers are not supported");
  return FVM_OK;
}

/* ---- inputs ---- */

/* The size that --dim gives a dimension, or -1 and a note of its name. */
static int64_t bound_size(struct import *m, const char *name) {
  int star = -1;
  for (int i = 0; i < m->ndim; i++) {
    if (!strcmp(m->dim[i].name, "*")) star = i;
    if (*name && !strcmp(m->dim[i].name, name)) {
      m->dim_used[i] = true;
      return m->dim[i].size;
    }
  }
  if (star >= 0) return m->dim[star].size;
  char quoted[64];
  snprintf(quoted, sizeof quoted, "'%.60s'", *name ? name : "*");
  if (!m->unbound.v || !strstr(m->unbound.v, quoted))
    text_printf(&m->unbound, "%s%s", m->unbound.n ? ", " : "", quoted);
  return -1;
}

static int64_t read_dim(struct import *m, const Onnx__TensorShapeProto__Dimension *d) {
  if (d->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE && d->dim_value >= 0)
    return d->dim_value;
  bool named = d->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
  return bound_size(m, named ? str(d->dim_param) : "");
}

static enum fvm_status read_input_type(struct import *m, const Onnx__TypeProto *type,
                                       struct tensor *t) {
  if (!type || type->value_case != ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE)
    return fvm_fail(m->err, FVM_EUNSUPPORTED, "only tensors are supported as inputs");
  const Onnx__TensorShapeProto *shape = type->tensor_type->shape;
  if (!shape) return fvm_fail(m->err, FVM_EUNSUPPORTED, "has no shape; export the model with one");
  int64_t dim[FVM_MAXRANK + 1];
  bool all = true;
  for (size_t i = 0; i < MIN(shape->n_dim, COUNT(dim)); i++) {
    dim[i] = read_dim(m, shape->dim[i]);
    if (dim[i] < 0) all = false;
  }
  for (size_t i = 0; !all && i < MIN(shape->n_dim, COUNT(dim)); i++) dim[i] = MAX(dim[i], 0);
  return init_tensor(t, type->tensor_type->elem_type, shape->n_dim, dim, m->err);
}

static enum fvm_status read_inputs(struct import *m, const Onnx__GraphProto *p) {
  for (size_t i = 0; i < p->n_input; i++) {
    const char *name = str(p->input[i]->name);
    struct tensor type;
    int t = names_find(&m->names, name);
    /* Before IR version 4 every initialiser had to be listed as an input, too. */
    if (t >= 0 && m->g->tensor.v[t].t.data) continue;
    enum fvm_status st = read_input_type(m, p->input[i]->type, &type);
    if (st != FVM_OK) return fvm_prefix(m->err, "input '%.100s'", name);
    if ((st = define(m, name, &type, &t)) != FVM_OK) return st;
    m->g->tensor.v[t].is_input = true;
    if (!VEC_PUSH(&m->g->input, t)) return fvm_nomem(m->err);
  }
  if (m->unbound.failed) return fvm_nomem(m->err);
  if (m->unbound.n)
    return fvm_fail(m->err, FVM_EUSAGE,
                    "inputs have dimensions without a size: %.300s; give each one with --dim "
                    "NAME=SIZE ('*' for any other)",
                    m->unbound.v);
  for (int i = 0; i < m->ndim; i++)
    if (!m->dim_used[i] && strcmp(m->dim[i].name, "*") != 0)
      return fvm_fail(m->err, FVM_EUSAGE,
                      "no input has a dimension '%.60s' to be set with --dim; see the model's "
                      "inputs with fluidvm dump",
                      m->dim[i].name);
  return FVM_OK;
}

/* ---- attributes ---- */

static enum fvm_status copy_string(struct import *m, const ProtobufCBinaryData *b, const char **s) {
  if (b->len && memchr(b->data, 0, b->len))
    return fvm_fail(m->err, FVM_EFORMAT, "a text has a zero byte in it");
  char *p = arena_alloc(&m->g->arena, b->len + 1, 1);
  if (!p) return fvm_nomem(m->err);
  if (b->len) memcpy(p, b->data, b->len);
  *s = p;
  return FVM_OK;
}

static enum fvm_status copy_list(struct import *m, const void *from, size_t n, size_t size,
                                 void *to) {
  if (n > INT32_MAX) return fvm_fail(m->err, FVM_EFORMAT, "a list is too long");
  void *p = arena_alloc(&m->g->arena, n, size);
  if (!p) return fvm_nomem(m->err);
  if (n) memcpy(p, from, n * size);
  memcpy(to, &p, sizeof p);
  return FVM_OK;
}

static enum fvm_status read_attr_tensor(struct import *m, Onnx__TensorProto *p, struct attr *a) {
  struct tensor *t = ARENA_NEW(&m->g->arena, struct tensor, 1);
  if (!t) return fvm_nomem(m->err);
  a->t = t;
  return read_tensor(&m->reader, p, t, m->err);
}

/* Old models leave the type out: it is then what is there. */
static Onnx__AttributeProto__AttributeType type_of(const Onnx__AttributeProto *p) {
  if (p->has_type && p->type != ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__UNDEFINED) return p->type;
  if (p->has_f) return ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT;
  if (p->has_i) return ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT;
  if (p->has_s) return ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING;
  if (p->t) return ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSOR;
  if (p->g) return ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__GRAPH;
  if (p->n_floats) return ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOATS;
  return ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS;
}

static enum fvm_status read_attr_value(struct import *m, Onnx__AttributeProto *p, struct attr *a) {
  switch (type_of(p)) {
  case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT:
    a->kind = ATTR_FLOAT;
    a->f = p->f;
    return FVM_OK;
  case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT:
    a->kind = ATTR_INT;
    a->i = p->i;
    return FVM_OK;
  case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING:
    a->kind = ATTR_STRING;
    return copy_string(m, &p->s, &a->s);
  case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSOR:
    a->kind = ATTR_TENSOR;
    if (!p->t) return fvm_fail(m->err, FVM_EFORMAT, "the tensor is missing");
    return read_attr_tensor(m, p->t, a);
  case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS:
    a->kind = ATTR_INTS;
    a->n = (int)p->n_ints;
    return copy_list(m, p->ints, p->n_ints, sizeof *p->ints, &a->ints);
  case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOATS:
    a->kind = ATTR_FLOATS;
    a->n = (int)p->n_floats;
    return copy_list(m, p->floats, p->n_floats, sizeof *p->floats, &a->floats);
  case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__GRAPH:
  case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__GRAPHS:
    return fvm_fail(m->err, FVM_EUNSUPPORTED, "subgraphs are not supported");
  default:
    return fvm_fail(m->err, FVM_EUNSUPPORTED, "attributes of type %d are not supported",
                    (int)p->type);
  }
}

static enum fvm_status read_attrs(struct import *m, const Onnx__NodeProto *p,
                                  const struct attr **out) {
  struct attr *a = ARENA_NEW(&m->g->arena, struct attr, p->n_attribute);
  if (!a) return fvm_nomem(m->err);
  for (size_t i = 0; i < p->n_attribute; i++) {
    Onnx__AttributeProto *q = p->attribute[i];
    a[i].name = arena_strdup(&m->g->arena, str(q->name));
    if (!a[i].name) return fvm_nomem(m->err);
    enum fvm_status st =
        *str(q->ref_attr_name)
            ? fvm_fail(m->err, FVM_EFORMAT, "refers to a function's attribute outside a function")
            : read_attr_value(m, q, &a[i]);
    if (st != FVM_OK) return fvm_prefix(m->err, "attribute '%.60s'", a[i].name);
  }
  *out = a;
  return FVM_OK;
}

/* ---- nodes ---- */

static const char *node_name(const Onnx__NodeProto *p) {
  if (*str(p->name)) return p->name;
  for (size_t i = 0; i < p->n_output; i++)
    if (*str(p->output[i])) return p->output[i];
  return "";
}

static bool is_onnx_domain(const char *domain) {
  return !*str(domain) || !strcmp(domain, "ai.onnx");
}

static bool is_constant(const Onnx__NodeProto *p) {
  return is_onnx_domain(p->domain) && !strcmp(str(p->op_type), "Constant");
}

static const struct op *find_op(const struct import *m, const Onnx__NodeProto *p) {
  const struct op *op = op_find(str(p->op_type), strlen(str(p->op_type)));
  /* Composites are ours and start at opset 0: no model may name them. */
  bool ok =
      op && is_onnx_domain(p->domain) && !(op->flags & OPF_COMPOSITE) && op->since <= m->g->opset;
  return ok ? op : NULL;
}

/* Value of a Constant node: a tensor, or a list or number that becomes one. */
static enum fvm_status constant_value(struct import *m, const struct attr *a, struct tensor *t) {
  int64_t n = a->n;
  const void *data = NULL;
  switch (a->kind) {
  case ATTR_TENSOR:
    *t = *a->t;
    return FVM_OK;
  case ATTR_INT:
    data = &a->i;
    break;
  case ATTR_FLOAT:
    data = &a->f;
    break;
  case ATTR_INTS:
    data = a->ints;
    break;
  case ATTR_FLOATS:
    data = a->floats;
    break;
  case ATTR_STRING:
    return fvm_fail(m->err, FVM_EUNSUPPORTED, "texts are not supported");
  }
  bool is_list = a->kind == ATTR_INTS || a->kind == ATTR_FLOATS;
  bool is_int = a->kind == ATTR_INT || a->kind == ATTR_INTS;
  enum fvm_status st = tensor_init(t, is_int ? FVM_I64 : FVM_F32, is_list, &n, m->err);
  t->data = data;
  return st;
}

static enum fvm_status read_constant(struct import *m, const Onnx__NodeProto *p) {
  const struct attr *attr = NULL;
  struct tensor value = {0};
  int t;
  enum fvm_status st = read_attrs(m, p, &attr);
  if (st != FVM_OK) return st;
  if (!attr || p->n_attribute != 1 || p->n_output != 1 || strncmp(attr->name, "value", 5) != 0)
    return fvm_fail(m->err, FVM_EFORMAT, "a Constant needs one value and one output");
  st = constant_value(m, attr, &value);
  return st == FVM_OK ? define(m, str(p->output[0]), &value, &t) : st;
}

/* Inputs may be made by a later node: the order is restored at the end. */
static enum fvm_status read_node_input(struct import *m, int node, const char *name) {
  int t = *name ? names_find(&m->names, name) : -1;
  if (*name && t < 0) {
    enum fvm_status st = declare(m, name, &t);
    if (st != FVM_OK) return st;
  }
  return node_add_in(m->g, node, t) ? FVM_OK : fvm_nomem(m->err);
}

static enum fvm_status read_node_output(struct import *m, int node, const char *name) {
  int t = *name ? names_find(&m->names, name) : -1;
  if (*name && t < 0) {
    enum fvm_status st = declare(m, name, &t);
    if (st != FVM_OK) return st;
  } else if (t >= 0) {
    const struct gtensor *x = &m->g->tensor.v[t];
    if (x->producer >= 0 || x->is_input || x->t.data)
      return fvm_fail(m->err, FVM_EFORMAT, "output '%.100s' is made elsewhere, too", name);
  }
  return node_add_out(m->g, node, t) ? FVM_OK : fvm_nomem(m->err);
}

static enum fvm_status read_node(struct import *m, const Onnx__NodeProto *p) {
  if (is_constant(p)) return read_constant(m, p);
  if (p->n_output == 0) return fvm_fail(m->err, FVM_EFORMAT, "has no output");
  int i = graph_add_node(m->g, node_name(p), find_op(m, p));
  if (i < 0) return fvm_nomem(m->err);
  enum fvm_status st = FVM_OK;
  for (size_t k = 0; st == FVM_OK && k < p->n_input; k++)
    st = read_node_input(m, i, str(p->input[k]));
  for (size_t k = 0; st == FVM_OK && k < p->n_output; k++)
    st = read_node_output(m, i, str(p->output[k]));
  if (st != FVM_OK) return st;
  m->g->node.v[i].nattr = (int)p->n_attribute;
  return read_attrs(m, p, &m->g->node.v[i].attr);
}

static enum fvm_status read_nodes(struct import *m, const Onnx__GraphProto *p) {
  for (size_t i = 0; i < p->n_node; i++) {
    enum fvm_status st = read_node(m, p->node[i]);
    if (st != FVM_OK)
      return fvm_prefix(m->err, "node '%.100s' (%.40s)", node_name(p->node[i]),
                        str(p->node[i]->op_type));
  }
  for (size_t i = 0; i < m->g->node.n; i++) {
    const struct node *n = &m->g->node.v[i];
    for (size_t k = 0; k < n->in.n; k++) {
      const struct gtensor *x = n->in.v[k] < 0 ? NULL : &m->g->tensor.v[n->in.v[k]];
      if (x && x->producer < 0 && !x->is_input && !x->t.data)
        return fvm_fail(m->err, FVM_EFORMAT,
                        "node '%.100s' (%s) reads '%.100s', which no node, input or initialiser "
                        "makes",
                        n->name, n->op->name, x->name);
    }
  }
  return FVM_OK;
}

static enum fvm_status read_outputs(struct import *m, const Onnx__GraphProto *p) {
  for (size_t i = 0; i < p->n_output; i++) {
    int t = names_find(&m->names, str(p->output[i]->name));
    if (t < 0 || (m->g->tensor.v[t].producer < 0 && !m->g->tensor.v[t].is_input &&
                  !m->g->tensor.v[t].t.data))
      return fvm_fail(m->err, FVM_EFORMAT, "output '%.100s' is made by nothing",
                      str(p->output[i]->name));
    m->g->tensor.v[t].is_output = true;
    if (!VEC_PUSH(&m->g->output, t)) return fvm_nomem(m->err);
  }
  if (m->g->output.n == 0) return fvm_fail(m->err, FVM_EFORMAT, "the graph has no output");
  return FVM_OK;
}

/* ---- what isn't supported, all at once ---- */

/* An error text has room for so many characters; nodes are named as far as that allows. */
enum { SHOWN_NODES = 3, SHOWN_TEXT = 330, MAX_KINDS = 64 };

struct unsupported {
  const Onnx__NodeProto *first[SHOWN_NODES];
  int n;
};

static bool same_op(const Onnx__NodeProto *a, const Onnx__NodeProto *b) {
  return !strcmp(str(a->op_type), str(b->op_type)) && !strcmp(str(a->domain), str(b->domain));
}

static int collect(const struct import *m, const Onnx__GraphProto *p, struct unsupported *kind,
                   int *rest) {
  int n = 0;
  for (size_t i = 0; i < p->n_node; i++) {
    const Onnx__NodeProto *node = p->node[i];
    if (is_constant(node) || find_op(m, node)) continue;
    int k = 0;
    while (k < n && !same_op(kind[k].first[0], node)) k++;
    if (k == MAX_KINDS) {
      ++*rest;
      continue;
    }
    if (k == n) kind[n++] = (struct unsupported){0};
    if (kind[k].n < SHOWN_NODES) kind[k].first[kind[k].n] = node;
    kind[k].n++;
  }
  return n;
}

static void put_kind(struct text *t, const struct import *m, const struct unsupported *u,
                     int names) {
  const Onnx__NodeProto *p = u->first[0];
  const struct op *op = op_find(str(p->op_type), strlen(str(p->op_type)));
  text_printf(t, "%.40s%s%.40s", str(p->domain), *str(p->domain) ? "." : "", str(p->op_type));
  if (op && is_onnx_domain(p->domain) && op->since > m->g->opset)
    text_printf(t, " before opset %d", op->since);
  if (names == 0) {
    if (u->n > 1) text_printf(t, " (%d)", u->n);
    return;
  }
  text_printf(t, u->n == 1 ? " (node " : " (nodes ");
  for (int i = 0; i < MIN(u->n, names); i++)
    text_printf(t, "%s'%.60s'", i ? ", " : "", node_name(u->first[i]));
  if (u->n > names) text_printf(t, " and %d more", u->n - names);
  text_printf(t, ")");
}

/* All kinds with at most that many nodes each; what has no room is counted. */
static void put_kinds(struct text *t, const struct import *m, const struct unsupported *kind, int n,
                      int rest, int names) {
  int shown = 0;
  text_printf(t, "%d%s unsupported: ", n, n == MAX_KINDS ? " or more" : "");
  for (; shown < n && t->n < SHOWN_TEXT; shown++) {
    if (shown) text_printf(t, ", ");
    put_kind(t, m, &kind[shown], names);
  }
  for (int k = shown; k < n; k++) rest += kind[k].n;
  if (rest) text_printf(t, ", and %d other nodes", rest);
}

static enum fvm_status check_supported(struct import *m, const Onnx__GraphProto *p) {
  static const int names[] = {SHOWN_NODES, 1, 0};
  struct unsupported kind[MAX_KINDS];
  struct text t = {0};
  int rest = 0, n = collect(m, p, kind, &rest);
  if (n == 0) return FVM_OK;
  for (size_t i = 0; i < COUNT(names) && (i == 0 || t.n > SHOWN_TEXT); i++) {
    text_free(&t);
    put_kinds(&t, m, kind, n, rest, names[i]);
  }
  enum fvm_status st = t.failed ? fvm_nomem(m->err) : fvm_fail(m->err, FVM_EUNSUPPORTED, "%s", t.v);
  text_free(&t);
  return st;
}

/* ---- model ---- */

static enum fvm_status read_opset(struct import *m, const Onnx__ModelProto *p) {
  int64_t version = -1;
  for (size_t i = 0; i < p->n_opset_import; i++)
    if (is_onnx_domain(p->opset_import[i]->domain)) version = p->opset_import[i]->version;
  if (version < 0) return fvm_fail(m->err, FVM_EFORMAT, "the model states no opset version");
  if (version < OPSET_MIN || version > OPSET_MAX)
    return fvm_fail(m->err, FVM_EUNSUPPORTED,
                    "opset %" PRId64 " is not supported; convert the model to opset %d .. %d",
                    version, OPSET_MIN, OPSET_MAX);
  m->g->opset = (int)version;
  return FVM_OK;
}

static enum fvm_status check_dims(struct import *m) {
  for (int i = 0; i < m->ndim; i++)
    if (m->dim[i].size < 1)
      return fvm_fail(m->err, FVM_EUSAGE, "--dim %.60s=%" PRId64 ": the size must be positive",
                      m->dim[i].name, m->dim[i].size);
  return FVM_OK;
}

static enum fvm_status read_model(struct import *m, const Onnx__ModelProto *p) {
  if (!p->graph) return fvm_fail(m->err, FVM_EFORMAT, "not an ONNX model: it has no graph");
  enum fvm_status st = check_dims(m);
  if (st == FVM_OK) st = read_opset(m, p);
  if (st == FVM_OK) st = check_supported(m, p->graph);
  if (st == FVM_OK) st = read_initialisers(m, p->graph);
  if (st == FVM_OK) st = read_inputs(m, p->graph);
  if (st == FVM_OK) st = read_nodes(m, p->graph);
  if (st == FVM_OK) st = read_outputs(m, p->graph);
  if (st != FVM_OK) return st;
  if (!(m->g->name = arena_strdup(&m->g->arena, str(p->graph->name)))) return fvm_nomem(m->err);
  st = graph_compact(m->g, m->err);
  return st == FVM_OK ? graph_check(m->g, false, m->err) : st;
}

static const char *folder_of(struct arena *a, const char *path) {
  const char *slash = strrchr(path, '/');
  if (!slash) return "";
  return slash == path ? "/." : arena_printf(a, "%.*s", (int)(slash - path), path);
}

static enum fvm_status import_bytes(struct import *m, const char *path,
                                    const struct mapped_file *file) {
  struct external external = {.folder = folder_of(&m->g->arena, path), .keep = &m->g->mapping};
  ProtobufCMessage *msg = NULL;
  m->reader = (struct reader){&m->g->arena, &m->g->mapping, &external};
  m->dim_used = ARENA_NEW(&m->g->arena, bool, m->ndim);
  if (!m->dim_used || !external.folder) return fvm_nomem(m->err);
  enum fvm_status st =
      wire_unpack(&onnx__model_proto__descriptor, file->data, file->bytes, &msg, m->err);
  if (st == FVM_OK) st = read_model(m, (const Onnx__ModelProto *)msg);
  if (st == FVM_OK)
    m->g->model_hash = external_hash(&external, fvm_hash(file->data, file->bytes, 0));
  wire_free(msg);
  external_free(&external);
  text_free(&m->unbound);
  names_free(&m->names);
  return st;
}

enum fvm_status onnx_import(const char *path, const struct dim_binding *dim, int ndim,
                            struct graph **g, struct fvm_error *err) {
  struct fvm_error own = {0};
  struct import m = {.dim = dim, .ndim = ndim, .err = err ? err : &own};
  struct mapped_file *file;
  enum fvm_status st = mapping_open(path, &file, err);
  if (st != FVM_OK) return st;
  m.g = graph_new();
  st = m.g ? import_bytes(&m, path, file) : fvm_nomem(m.err);
  mapping_release(&file->m);
  if (st == FVM_OK) {
    *g = m.g;
    return FVM_OK;
  }
  graph_free(m.g);
  return fvm_prefix(m.err, "%s", path);
}

enum fvm_status onnx_read_tensor(const char *path, struct arena *a, struct tensor *t,
                                 const char **name, struct fvm_error *err) {
  struct fvm_error own = {0};
  struct reader r = {.arena = a};
  struct mapped_file *file;
  ProtobufCMessage *msg = NULL;
  if (!err) err = &own;
  enum fvm_status st = mapping_open(path, &file, err);
  if (st != FVM_OK) return st;
  st = wire_unpack(&onnx__tensor_proto__descriptor, file->data, file->bytes, &msg, err);
  Onnx__TensorProto *p = (Onnx__TensorProto *)msg;
  if (st == FVM_OK) st = read_tensor(&r, p, t, err);
  if (st == FVM_OK && !(*name = arena_strdup(a, str(p->name)))) st = fvm_nomem(err);
  wire_free(msg);
  mapping_release(&file->m);
  return st == FVM_OK ? st : fvm_prefix(err, "%s", path);
}
