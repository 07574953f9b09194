/* Arrays in .npy files (NumPy's format, versions 1 to 3), and inputs made up where none are given.
 * Used by both commands; not part of libfluidvm. */
#ifndef FVM_NPY_H
#define FVM_NPY_H

#include "base.h"

/* A dense row-major array. */
struct npy {
  enum fvm_dtype dtype;
  int rank;
  int64_t dim[FVM_MAXRANK];
  size_t bytes;
  void *data; /* of `bytes` bytes, from fvm_alloc */
};

/* Errors name the file. npy_free takes what npy_read filled, or zeros. */
enum fvm_status npy_read(const char *path, struct npy *a, struct fvm_error *err);
void npy_free(struct npy *a);
enum fvm_status npy_write(const char *path, enum fvm_dtype dtype, int rank, const int64_t *dim,
                          const void *data, struct fvm_error *err);

/* Read a file that must have the type and shape of io, into memory of io->bytes bytes. */
enum fvm_status npy_read_io(const char *path, const struct fvm_io *io, void *data,
                            struct fvm_error *err);

/* "f32[4,25]" */
enum { NPY_TYPE_TEXT = 200 };
void npy_type_text(enum fvm_dtype dtype, int rank, const int64_t *dim, char text[NPY_TYPE_TEXT]);

/* DIR/NAME.npy, with '/' and other odd characters of NAME turned to '_'. */
enum { NPY_PATH = 4096 };
enum fvm_status npy_path(const char *dir, const char *name, char path[NPY_PATH],
                         struct fvm_error *err);

/* Fill the i-th input of a model or plan: floats standard normal, integers 0 or 1, booleans true.
 * The same i, type and shape give the same data on every machine with IEEE arithmetic. */
void npy_make(int i, enum fvm_dtype dtype, size_t bytes, void *data);

#endif
