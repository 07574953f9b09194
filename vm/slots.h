/* Memory for the inputs and outputs of one instance: what both commands do around fvm_run. Not part
 * of libfluidvm. */
#ifndef FVM_SLOTS_H
#define FVM_SLOTS_H

#include "base.h"

struct slot {
  const struct fvm_io *io;
  const char *file; /* given for this input, the caller's text; NULL: made */
  void *mem, *data; /* data: the aligned part of mem; a state's input has its output's */
};
/* First all inputs, then all outputs. */
struct slots {
  struct fvm_instance *inst;
  int nin, n;
  struct slot *slot;
};
/* Reads a file into an input; npy_read_io or the tool's own. */
typedef enum fvm_status slot_read_fn(const char *path, const struct fvm_io *io, void *data,
                                     struct fvm_error *err);

/* Open an instance of the plan with that many threads (0: as planned). slots_close takes a zeroed
 * struct as well. */
enum fvm_status slots_open(struct slots *s, const struct fvm_plan *plan, int threads,
                           struct fvm_error *err);
void slots_close(struct slots *s);
/* "NAME=FILE" for an input; names may hold '=' themselves. FVM_EUSAGE suggests the nearest name. */
enum fvm_status slots_give(struct slots *s, const char *text, struct fvm_error *err);
/* Read or make all inputs and bind everything. */
enum fvm_status slots_fill(struct slots *s, slot_read_fn *read, struct fvm_error *err);
/* Run twice to warm up, then n times; ns[i] is the latency of each. */
enum fvm_status slots_time(struct slots *s, int64_t *ns, int n, struct fvm_error *err);
/* Write each output to DIR/NAME.npy; DIR is made. */
enum fvm_status slots_write(const struct slots *s, const char *dir, struct fvm_error *err);
/* Type and first values of each output, a line each, appended to text. */
void slots_show(const struct slots *s, struct text *out);

/* Edit distance with insertions, deletions and changes, of the first 127 characters of b. */
size_t name_distance(const char *a, const char *b);

#endif
