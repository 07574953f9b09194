/* ONNX import: the model, its inputs and outputs. Nodes, tensors, complaints: onnx_*.c, which with
 * onnx_impl.h are all that knows the protobuf messages. */
#include "onnx_impl.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { OPSET_MIN = 7, OPSET_MAX = 23 };

/* ---- tensors ---- */

enum fvm_status onnx_declare(struct onnx_import *m, const char *name, int *t) {
  *t = graph_add_tensor(m->g, name);
  if (*t < 0 || !names_add(&m->names, m->g->tensor.v[*t].name, *t)) return fvm_nomem(m->err);
  return FVM_OK;
}

enum fvm_status onnx_define(struct onnx_import *m, const char *name, const struct tensor *value,
                            int *t) {
  if (!*name) return fvm_fail(m->err, FVM_EFORMAT, "a tensor has no name");
  if (names_find(&m->names, name) >= 0)
    return fvm_fail(m->err, FVM_EFORMAT, "two tensors have the name '%.100s'", name);
  enum fvm_status st = onnx_declare(m, name, t);
  if (st == FVM_OK) m->g->tensor.v[*t].t = *value;
  return st;
}

static enum fvm_status read_initialisers(struct onnx_import *m, const Onnx__GraphProto *p) {
  for (size_t i = 0; i < p->n_initializer; i++) {
    struct tensor value;
    int t;
    const char *name = str(p->initializer[i]->name);
    enum fvm_status st = onnx_tensor(&m->reader, p->initializer[i], &value, m->err);
    if (st != FVM_OK) return fvm_prefix(m->err, "initialiser '%.100s'", name);
    if ((st = onnx_define(m, name, &value, &t)) != FVM_OK) return st;
  }
  if (p->n_sparse_initializer)
    return fvm_fail(m->err, FVM_EUNSUPPORTED, "sparse initialisers are not supported");
  return FVM_OK;
}

/* ---- inputs ---- */

/* The size that --dim gives a dimension, or -1 and a note of its name. */
static int64_t bound_size(struct onnx_import *m, const char *name) {
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

static int64_t read_dim(struct onnx_import *m, const Onnx__TensorShapeProto__Dimension *d) {
  if (d->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE && d->dim_value >= 0)
    return d->dim_value;
  bool named = d->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
  return bound_size(m, named ? str(d->dim_param) : "");
}

static enum fvm_status read_input_type(struct onnx_import *m, const Onnx__TypeProto *type,
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
  return onnx_tensor_type(t, type->tensor_type->elem_type, shape->n_dim, dim, m->err);
}

static enum fvm_status read_inputs(struct onnx_import *m, const Onnx__GraphProto *p) {
  for (size_t i = 0; i < p->n_input; i++) {
    const char *name = str(p->input[i]->name);
    struct tensor type;
    int t = names_find(&m->names, name);
    /* Before IR version 4 every initialiser had to be listed as an input, too. */
    if (t >= 0 && m->g->tensor.v[t].t.data) continue;
    enum fvm_status st = read_input_type(m, p->input[i]->type, &type);
    if (st != FVM_OK) return fvm_prefix(m->err, "input '%.100s'", name);
    if ((st = onnx_define(m, name, &type, &t)) != FVM_OK) return st;
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

/* ---- outputs ---- */

static enum fvm_status read_outputs(struct onnx_import *m, const Onnx__GraphProto *p) {
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

/* ---- model ---- */

static enum fvm_status read_opset(struct onnx_import *m, const Onnx__ModelProto *p) {
  int64_t version = -1;
  for (size_t i = 0; i < p->n_opset_import; i++)
    if (onnx_is_own_domain(p->opset_import[i]->domain)) version = p->opset_import[i]->version;
  if (version < 0) return fvm_fail(m->err, FVM_EFORMAT, "the model states no opset version");
  if (version < OPSET_MIN || version > OPSET_MAX)
    return fvm_fail(m->err, FVM_EUNSUPPORTED,
                    "opset %" PRId64 " is not supported; convert the model to opset %d .. %d",
                    version, OPSET_MIN, OPSET_MAX);
  m->g->opset = (int)version;
  return FVM_OK;
}

static enum fvm_status check_dims(struct onnx_import *m) {
  for (int i = 0; i < m->ndim; i++)
    if (m->dim[i].size < 1)
      return fvm_fail(m->err, FVM_EUSAGE, "--dim %.60s=%" PRId64 ": the size must be positive",
                      m->dim[i].name, m->dim[i].size);
  return FVM_OK;
}

static enum fvm_status read_model(struct onnx_import *m, const Onnx__ModelProto *p) {
  if (!p->graph) return fvm_fail(m->err, FVM_EFORMAT, "not an ONNX model: it has no graph");
  enum fvm_status st = check_dims(m);
  if (st == FVM_OK) st = read_opset(m, p);
  if (st == FVM_OK) st = onnx_check_supported(m, p->graph);
  if (st == FVM_OK) st = read_initialisers(m, p->graph);
  if (st == FVM_OK) st = read_inputs(m, p->graph);
  if (st == FVM_OK) st = onnx_nodes(m, p->graph);
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

static enum fvm_status import_bytes(struct onnx_import *m, const char *path,
                                    const struct mapped_file *file) {
  struct external external = {.folder = folder_of(&m->g->arena, path), .keep = &m->g->mapping};
  ProtobufCMessage *msg = NULL;
  m->reader = (struct onnx_reader){&m->g->arena, &m->g->mapping, &external};
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
  struct onnx_import m = {.dim = dim, .ndim = ndim, .err = err ? err : &own};
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
