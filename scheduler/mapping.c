/* The only file of the scheduler that maps files. */
#include "mapping.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

void mapping_release(struct mapping *list) {
  while (list) {
    struct mapping *m = list;
    list = m->next;
    m->release(m);
  }
}

static void close_file(struct mapping *m) {
  struct mapped_file *f = (struct mapped_file *)m;
  if (f->bytes) munmap((void *)f->data, f->bytes);
  fvm_free(f, 1, sizeof *f);
}

static enum fvm_status map_fd(const char *path, int fd, struct mapped_file *f,
                              struct fvm_error *err) {
  struct stat st;
  if (fstat(fd, &st) != 0) return fvm_fail(err, FVM_EIO, "%s: %s", path, strerror(errno));
  if (!S_ISREG(st.st_mode))
    return fvm_fail(err, FVM_EIO, "%s: not a regular file; give the path of a file", path);
  f->data = (const unsigned char *)"";
  if (st.st_size == 0) return FVM_OK;
  void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
  if (p == MAP_FAILED) return fvm_fail(err, FVM_EIO, "%s: %s", path, strerror(errno));
  f->data = p;
  f->bytes = (size_t)st.st_size;
  return FVM_OK;
}

/* A name that leads nowhere is bad input; anything else is the environment's fault. */
static enum fvm_status cannot_open(const char *path, struct fvm_error *err) {
  bool wrong = errno == ENOENT || errno == ENOTDIR || errno == ENAMETOOLONG;
  return fvm_fail(err, wrong ? FVM_EFORMAT : FVM_EIO, "%s: %s", path, strerror(errno));
}

enum fvm_status mapping_open(const char *path, struct mapped_file **out, struct fvm_error *err) {
  /* Non-blocking, so that a pipe with that name doesn't hold us up: it is refused right after. */
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return cannot_open(path, err);
  struct mapped_file *f = fvm_alloc(1, sizeof *f);
  enum fvm_status st = f ? map_fd(path, fd, f, err) : fvm_nomem(err);
  close(fd);
  if (st != FVM_OK) {
    fvm_free(f, 1, sizeof *f);
    return st;
  }
  f->m.release = close_file;
  *out = f;
  return FVM_OK;
}
