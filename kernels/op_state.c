/* Append: Concat(past, new) on an axis, where past is an input of the graph and the result an
 * output: the two are a state (fluidvm.h), one piece of memory that the caller keeps. In the layout
 * that has the axis outermost the result is past's bytes and then new's, so whoever makes `new`
 * writes it into its place, and nothing runs here.
 *
 *   | past ............ | new |   = the output */
#include "op_impl.h"

#include <string.h>

enum fvm_status append_shape(struct opcall *c, struct fvm_error *err) {
  const struct tensor *past = &c->in[0], *more = &c->in[1];
  int64_t dim[FVM_MAXRANK];
  int axis;
  enum fvm_status st = op_axis_attr(c, -2, &axis, err);
  if (st) return st;
  bool fits = past->rank == more->rank && past->dtype == more->dtype;
  for (int i = 0; i < past->rank && fits; i++) {
    dim[i] = past->dim[i] + (i == axis ? more->dim[i] : 0); /* each at most 2^40 */
    fits = i == axis || past->dim[i] == more->dim[i];
  }
  if (!fits) return fvm_fail(err, FVM_EFORMAT, "what is appended does not fit the state");
  return tensor_init(&c->out[0], past->dtype, past->rank, dim, err);
}

enum fvm_status append_ref(const struct opcall *c, const void *const *in, void *const *out,
                           struct fvm_error *err) {
  int axis = 0, rank = c->out[0].rank;
  int64_t bytes[2];
  char *y = out[0];
  op_axis_attr(c, -2, &axis, err);
  for (int k = 0; k < 2; k++)
    bytes[k] = dims_product(c->in[k].dim, axis, rank) * (int64_t)fvm_dtype_bytes(c->in[k].dtype);
  for (int64_t i = 0; i < dims_product(c->out[0].dim, 0, axis); i++)
    for (int k = 0; k < 2; k++) {
      if (bytes[k]) memcpy(y, (const char *)in[k] + i * bytes[k], (size_t)bytes[k]);
      y += bytes[k];
    }
  return FVM_OK;
}

/* Row-major has an axis outermost when those before it have length 1. */
static bool label_append(const struct opcall *c, const struct target *t, int i, struct label *l) {
  int axis = 0;
  (void)t;
  op_axis_attr(c, -2, &axis, NULL);
  bool first = dims_product(c->out[0].dim, 0, axis) == 1;
  if (i > 0 || (!first && axis != c->out[0].rank - 2)) return false;
  l->view = true;
  l->in[0] = l->in[1] = l->out[0] = first ? LAYOUT_ROW : LAYOUT_SEQ;
  return true;
}

const struct cand append_cands[] = {{"append", {0}, label_append, NULL, NULL}, {0}};
