/* libfluidvm: load a plan file and run it.
 *
 * A plan is loaded once and shared by any number of instances; an instance is one run at a time.
 * After fvm_open nothing allocates memory. No function here prints or exits. */
#ifndef FLUIDVM_H
#define FLUIDVM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Texts and exit statuses of the codes: vm/errors.def. */
enum fvm_status {
  FVM_OK,
  FVM_EFAIL,
  FVM_EUSAGE,
  FVM_EFORMAT,
  FVM_EUNSUPPORTED,
  FVM_ENOMEM,
  FVM_EIO,
  FVM_EENV,
  FVM_EINTR
};

/* Filled by every function that fails and takes one; owned by the caller. */
struct fvm_error {
  enum fvm_status code;
  char text[480];
};

/* Element types; sizes and names: vm/dtypes.def. */
enum fvm_dtype {
  FVM_NONE,
  FVM_F32,
  FVM_F64,
  FVM_I64,
  FVM_I32,
  FVM_I16,
  FVM_I8,
  FVM_U64,
  FVM_U32,
  FVM_U16,
  FVM_U8,
  FVM_BOOL,
  FVM_F16,
  FVM_BF16,
  FVM_DTYPES
};

#define FVM_MAXRANK 8

#if defined(__GNUC__)
#define FVM_API __attribute__((visibility("default")))
#else
#define FVM_API
#endif

/* An input or output of the plan: dense, and row-major unless it is a state.
 *
 * A state is a pair of an input and an output, past and present of a cache to which a run appends
 * along one axis, the only one in which they differ: position, in [batch, heads, position, width],
 * say. That axis is the outermost in memory, so the past's bytes are the first ones of the
 * present's:
 *
 *   | position 0: all heads | position 1 | ... | what the run appends |
 *   `------------- past ---------------------'
 *   `------------- present -------------------------------------------'
 *
 * Bind both to one place, and a run writes the new positions and copies nothing; the next run's
 * past (of a plan for one position more, or the window moved on by one) lies there already. */
struct fvm_io {
  const char *name; /* lives as long as the plan */
  enum fvm_dtype dtype;
  int rank;
  int64_t dim[FVM_MAXRANK];
  size_t bytes;
  int64_t stride[FVM_MAXRANK]; /* bytes from one index of an axis to the next */
  int state;                   /* of an input: its output; of an output: its input; -1: none */
};

struct fvm_plan;     /* a plan file, mapped and verified */
struct fvm_instance; /* arena, bindings and threads of one run at a time */

/* Map and verify a plan file. The plan is the caller's, to free with fvm_unload. */
FVM_API enum fvm_status fvm_load(const char *path, struct fvm_plan **plan, struct fvm_error *err);
FVM_API void fvm_unload(struct fvm_plan *plan);

FVM_API int fvm_ninputs(const struct fvm_plan *plan);
FVM_API int fvm_noutputs(const struct fvm_plan *plan);
FVM_API const struct fvm_io *fvm_input(const struct fvm_plan *plan, int i);
FVM_API const struct fvm_io *fvm_output(const struct fvm_plan *plan, int i);

/* Facts of a plan, for people. Text lives as long as the plan. */
struct fvm_info {
  const char *model;
  int threads, steps;
  size_t arena_bytes, weight_bytes, scratch_bytes;
  int64_t predicted_ns;
};
FVM_API void fvm_info(const struct fvm_plan *plan, struct fvm_info *info);

/* Bytes of memory an instance with that many threads needs (0: the plan's own number). */
FVM_API size_t fvm_arena_bytes(const struct fvm_plan *plan, int threads);

/* Make an instance. arena: 64-byte aligned, at least fvm_arena_bytes long, the caller's until
 * fvm_close; NULL: the library allocates it. Starts the threads; fvm_close ends them. */
FVM_API enum fvm_status fvm_open(const struct fvm_plan *plan, int threads, void *arena,
                                 struct fvm_instance **inst, struct fvm_error *err);
FVM_API void fvm_close(struct fvm_instance *inst);

/* Bind memory of the caller (64-byte aligned is fastest) to an input or output. It is read or
 * written by fvm_run, never freed, and stays bound until bound anew. */
FVM_API enum fvm_status fvm_bind_input(struct fvm_instance *inst, int i, const void *data,
                                       size_t bytes, struct fvm_error *err);
FVM_API enum fvm_status fvm_bind_output(struct fvm_instance *inst, int i, void *data, size_t bytes,
                                        struct fvm_error *err);

/* Bring row-major data into the order of an input or output, or back. For all but states that is a
 * plain copy. The two places must not overlap. */
FVM_API void fvm_pack(const struct fvm_io *io, const void *dense, void *data);
FVM_API void fvm_unpack(const struct fvm_io *io, const void *data, void *dense);

/* Run all steps. A state whose input and output are bound to different places is copied from the
 * one to the other first. FVM_EUSAGE when something is not bound; FVM_EFAIL when the data asks for
 * what a step cannot do (an index out of range). */
FVM_API enum fvm_status fvm_run(struct fvm_instance *inst, struct fvm_error *err);

FVM_API const char *fvm_version(void);

#ifdef __cplusplus
}
#endif
#endif
