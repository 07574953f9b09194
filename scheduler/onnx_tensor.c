/* Tensors out of their messages, with data from the message or from files beside it. */
#include "onnx_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum fvm_status onnx_tensor_type(struct tensor *t, int onnx_type, size_t rank, const int64_t *dim,
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

static enum fvm_status read_raw(struct onnx_reader *r, Onnx__TensorProto *p, struct tensor *t,
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

static enum fvm_status read_external(struct onnx_reader *r, Onnx__TensorProto *p, struct tensor *t,
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
static enum fvm_status read_typed(struct onnx_reader *r, Onnx__TensorProto *p, struct tensor *t,
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

enum fvm_status onnx_tensor(struct onnx_reader *r, Onnx__TensorProto *p, struct tensor *t,
                            struct fvm_error *err) {
  enum fvm_status st = onnx_tensor_type(t, p->data_type, p->n_dims, p->dims, err);
  if (st != FVM_OK) return st;
  if (p->segment) return fvm_fail(err, FVM_EUNSUPPORTED, "segmented tensors are not supported");
  if (p->has_data_location && p->data_location == ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL)
    return read_external(r, p, t, err);
  return p->has_raw_data ? read_raw(r, p, t, err) : read_typed(r, p, t, err);
}

enum fvm_status onnx_read_tensor(const char *path, struct arena *a, struct tensor *t,
                                 const char **name, struct fvm_error *err) {
  struct fvm_error own = {0};
  struct onnx_reader r = {.arena = a};
  struct mapped_file *file;
  ProtobufCMessage *msg = NULL;
  if (!err) err = &own;
  enum fvm_status st = mapping_open(path, &file, err);
  if (st != FVM_OK) return st;
  st = wire_unpack(&onnx__tensor_proto__descriptor, file->data, file->bytes, &msg, err);
  Onnx__TensorProto *p = (Onnx__TensorProto *)msg;
  if (st == FVM_OK) st = onnx_tensor(&r, p, t, err);
  if (st == FVM_OK && !(*name = arena_strdup(a, str(p->name)))) st = fvm_nomem(err);
  wire_free(msg);
  mapping_release(&file->m);
  return st == FVM_OK ? st : fvm_prefix(err, "%s", path);
}
