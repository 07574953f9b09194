/* Memory that constants live in and that isn't the arena's: mapped files, blocks of a reader. */
#ifndef FVM_MAPPING_H
#define FVM_MAPPING_H

#include "../vm/base.h"

/* Head of whatever is to be released with the graph; a list. */
struct mapping {
  struct mapping *next;
  void (*release)(struct mapping *m);
};
void mapping_release(struct mapping *list);

/* A file mapped read-only; data is never NULL. */
struct mapped_file {
  struct mapping m;
  const unsigned char *data;
  size_t bytes;
};
/* FVM_EIO with the path in the text when the file can't be opened, isn't a regular file, or can't
 * be mapped. Release with f->m.release. */
enum fvm_status mapping_open(const char *path, struct mapped_file **f, struct fvm_error *err);

#endif
