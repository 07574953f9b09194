/* Tensor data in files beside the model. */
#ifndef FVM_ONNX_EXTERNAL_H
#define FVM_ONNX_EXTERNAL_H

#include "mapping.h"

struct external {
  const char *folder;    /* of the model; "" for the working directory */
  struct mapping **keep; /* where the maps go; they are released with it */
  VEC(struct external_file {
    const char *location; /* as the model writes it; must outlive this */
    const struct mapped_file *file;
  })
  file;
};
/* The bytes [offset, offset + length) of a file; length < 0: want. FVM_EFORMAT when the location
 * leads out of the model's folder, the range leaves the file, or length isn't want. */
enum fvm_status external_bytes(struct external *e, const char *location, int64_t offset,
                               int64_t length, int64_t want, const unsigned char **data,
                               struct fvm_error *err);
/* Hash the sizes of all files that were used into a model's hash. */
uint64_t external_hash(const struct external *e, uint64_t hash);
void external_free(struct external *e);

#endif
