/* Inside the ONNX import: what its files share. onnx*.c only. */
#ifndef FVM_ONNX_IMPL_H
#define FVM_ONNX_IMPL_H

#include "graph.h"
#include "names.h"
#include "onnx_external.h"
#include "onnx_wire.h"

#include "onnx.pb-c.h"

/* Where a tensor's data comes from and goes to. */
struct onnx_reader {
  struct arena *arena;
  struct mapping **keep; /* raw data moves there without a copy; NULL: copied into the arena */
  struct external *external;
};

struct onnx_import {
  struct graph *g;
  struct onnx_reader reader;
  struct names names; /* tensors */
  const struct dim_binding *dim;
  int ndim;
  bool *dim_used;
  struct text unbound; /* names of dimensions that no --dim fixes */
  struct fvm_error *err;
};

/* Absent strings are NULL in the message; all our own are not. */
static inline const char *str(const char *s) { return s ? s : ""; }

/* onnx_tensor.c */
/* Type and shape alone. */
enum fvm_status onnx_tensor_type(struct tensor *t, int onnx_type, size_t rank, const int64_t *dim,
                                 struct fvm_error *err);
enum fvm_status onnx_tensor(struct onnx_reader *r, Onnx__TensorProto *p, struct tensor *t,
                            struct fvm_error *err);

/* onnx.c */
/* A tensor that something mentions. */
enum fvm_status onnx_declare(struct onnx_import *m, const char *name, int *t);
/* A new tensor that something defines: an initialiser, an input, a Constant. */
enum fvm_status onnx_define(struct onnx_import *m, const char *name, const struct tensor *value,
                            int *t);

/* onnx_node.c */
/* Or the name of its first output. */
const char *onnx_node_name(const Onnx__NodeProto *p);
bool onnx_is_own_domain(const char *domain);
bool onnx_is_constant(const Onnx__NodeProto *p);
/* NULL: not supported in the model's opset. */
const struct op *onnx_find_op(const struct onnx_import *m, const Onnx__NodeProto *p);
enum fvm_status onnx_nodes(struct onnx_import *m, const Onnx__GraphProto *p);

/* onnx_unsupported.c */
/* FVM_EUNSUPPORTED names all operators that are not supported, with their first nodes. */
enum fvm_status onnx_check_supported(struct onnx_import *m, const Onnx__GraphProto *p);

#endif
