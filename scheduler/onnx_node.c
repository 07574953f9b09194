/* Nodes with their attributes. */
#include "onnx_impl.h"

#include <string.h>

/* ---- attributes ---- */

static enum fvm_status copy_string(struct onnx_import *m, const ProtobufCBinaryData *b,
                                   const char **s) {
  if (b->len && memchr(b->data, 0, b->len))
    return fvm_fail(m->err, FVM_EFORMAT, "a text has a zero byte in it");
  char *p = arena_alloc(&m->g->arena, b->len + 1, 1);
  if (!p) return fvm_nomem(m->err);
  if (b->len) memcpy(p, b->data, b->len);
  *s = p;
  return FVM_OK;
}

static enum fvm_status copy_list(struct onnx_import *m, const void *from, size_t n, size_t size,
                                 void *to) {
  if (n > INT32_MAX) return fvm_fail(m->err, FVM_EFORMAT, "a list is too long");
  void *p = arena_alloc(&m->g->arena, n, size);
  if (!p) return fvm_nomem(m->err);
  if (n) memcpy(p, from, n * size);
  memcpy(to, &p, sizeof p);
  return FVM_OK;
}

static enum fvm_status read_attr_tensor(struct onnx_import *m, Onnx__TensorProto *p,
                                        struct attr *a) {
  struct tensor *t = ARENA_NEW(&m->g->arena, struct tensor, 1);
  if (!t) return fvm_nomem(m->err);
  a->t = t;
  return onnx_tensor(&m->reader, p, t, m->err);
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

static enum fvm_status read_attr_value(struct onnx_import *m, Onnx__AttributeProto *p,
                                       struct attr *a) {
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

static enum fvm_status read_attrs(struct onnx_import *m, const Onnx__NodeProto *p,
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

const char *onnx_node_name(const Onnx__NodeProto *p) {
  if (*str(p->name)) return p->name;
  for (size_t i = 0; i < p->n_output; i++)
    if (*str(p->output[i])) return p->output[i];
  return "";
}

bool onnx_is_own_domain(const char *domain) { return !*str(domain) || !strcmp(domain, "ai.onnx"); }

bool onnx_is_constant(const Onnx__NodeProto *p) {
  return onnx_is_own_domain(p->domain) && !strcmp(str(p->op_type), "Constant");
}

const struct op *onnx_find_op(const struct onnx_import *m, const Onnx__NodeProto *p) {
  const struct op *op = op_find(str(p->op_type), strlen(str(p->op_type)));
  /* Composites are ours and start at opset 0: no model may name them. */
  bool ok = op && onnx_is_own_domain(p->domain) && !(op->flags & OPF_COMPOSITE) &&
            op->since <= m->g->opset;
  return ok ? op : NULL;
}

/* Value of a Constant node: a tensor, or a list or number that becomes one. */
static enum fvm_status constant_value(struct onnx_import *m, const struct attr *a,
                                      struct tensor *t) {
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

static enum fvm_status read_constant(struct onnx_import *m, const Onnx__NodeProto *p) {
  const struct attr *attr = NULL;
  struct tensor value = {0};
  int t;
  enum fvm_status st = read_attrs(m, p, &attr);
  if (st != FVM_OK) return st;
  if (!attr || p->n_attribute != 1 || p->n_output != 1 || strncmp(attr->name, "value", 5) != 0)
    return fvm_fail(m->err, FVM_EFORMAT, "a Constant needs one value and one output");
  st = constant_value(m, attr, &value);
  return st == FVM_OK ? onnx_define(m, str(p->output[0]), &value, &t) : st;
}

/* Inputs may be made by a later node: the order is restored at the end. */
static enum fvm_status read_node_input(struct onnx_import *m, int node, const char *name) {
  int t = *name ? names_find(&m->names, name) : -1;
  if (*name && t < 0) {
    enum fvm_status st = onnx_declare(m, name, &t);
    if (st != FVM_OK) return st;
  }
  return node_add_in(m->g, node, t) ? FVM_OK : fvm_nomem(m->err);
}

static enum fvm_status read_node_output(struct onnx_import *m, int node, const char *name) {
  int t = *name ? names_find(&m->names, name) : -1;
  if (*name && t < 0) {
    enum fvm_status st = onnx_declare(m, name, &t);
    if (st != FVM_OK) return st;
  } else if (t >= 0) {
    const struct gtensor *x = &m->g->tensor.v[t];
    if (x->producer >= 0 || x->is_input || x->t.data)
      return fvm_fail(m->err, FVM_EFORMAT, "output '%.100s' is made elsewhere, too", name);
  }
  return node_add_out(m->g, node, t) ? FVM_OK : fvm_nomem(m->err);
}

static enum fvm_status read_node(struct onnx_import *m, const Onnx__NodeProto *p) {
  if (onnx_is_constant(p)) return read_constant(m, p);
  if (p->n_output == 0) return fvm_fail(m->err, FVM_EFORMAT, "has no output");
  int i = graph_add_node(m->g, onnx_node_name(p), onnx_find_op(m, p));
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

enum fvm_status onnx_nodes(struct onnx_import *m, const Onnx__GraphProto *p) {
  for (size_t i = 0; i < p->n_node; i++) {
    enum fvm_status st = read_node(m, p->node[i]);
    if (st != FVM_OK)
      return fvm_prefix(m->err, "node '%.100s' (%.40s)", onnx_node_name(p->node[i]),
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
