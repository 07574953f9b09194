/* ScatterND: what exporters make masks with, from constants; so it is folded, and has no kernels.
 */
#include "op_impl.h"

#include <string.h>

/* Axes of data that an index names. */
static int64_t index_axes(const struct opcall *c) {
  const struct tensor *i = &c->in[1];
  return i->rank > 0 ? i->dim[i->rank - 1] : -1;
}

enum fvm_status scatter_nd_shape(struct opcall *c, struct fvm_error *err) {
  const struct tensor *data = &c->in[0], *index = &c->in[1], *update = &c->in[2];
  const struct attr *how = opcall_attr(c, "reduction");
  if (how && how->kind == ATTR_STRING && strcmp(how->s, "none") != 0)
    return fvm_fail(err, FVM_EUNSUPPORTED, "reduction '%.20s' is not supported", how->s);
  int64_t k = index_axes(c);
  bool fits = index->dtype == FVM_I64 && k >= 0 && k <= data->rank &&
              update->dtype == data->dtype && update->rank == index->rank - 1 + data->rank - (int)k;
  for (int i = 0; fits && i < update->rank; i++)
    fits = update->dim[i] ==
           (i < index->rank - 1 ? index->dim[i] : data->dim[i - (index->rank - 1) + (int)k]);
  if (!fits) return fvm_fail(err, FVM_EFORMAT, "data, indices and updates do not fit each other");
  return tensor_init(&c->out[0], data->dtype, data->rank, data->dim, err);
}

enum fvm_status scatter_nd_ref(const struct opcall *c, const void *const *in, void *const *out,
                               struct fvm_error *err) {
  const struct tensor *data = &c->in[0];
  int k = (int)index_axes(c);
  int64_t stride[FVM_MAXRANK], slice = dims_product(data->dim, k, data->rank);
  size_t bytes = (size_t)slice * fvm_dtype_bytes(data->dtype);
  int64_t n = dims_product(c->in[1].dim, 0, c->in[1].rank - 1);
  row_strides(data->rank, data->dim, stride);
  memcpy(out[0], in[0], (size_t)tensor_bytes(data));
  for (int64_t i = 0; i < n; i++) {
    int64_t at = 0;
    for (int a = 0; a < k; a++) {
      int64_t x = elem_i64(in[1], FVM_I64, i * k + a);
      if (x < -data->dim[a] || x >= data->dim[a])
        return fvm_fail(err, FVM_EFAIL, "index %lld is outside axis %d of %lld", (long long)x, a,
                        (long long)data->dim[a]);
      at += (x < 0 ? x + data->dim[a] : x) * stride[a];
    }
    memcpy((char *)out[0] + (size_t)at * fvm_dtype_bytes(data->dtype),
           (const char *)in[2] + (size_t)i * bytes, bytes);
  }
  return FVM_OK;
}
