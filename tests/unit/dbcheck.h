/* What tests of databases share: a folder of their own, and rows to put in. */
#ifndef FVM_DBCHECK_H
#define FVM_DBCHECK_H

#include "dbfile.h"

#include <string.h>
#include <sys/stat.h>

static char dir[] = "/tmp/fvm-test-db-XXXXXX";
static struct fvm_error err;

/* A place in the folder; 64 calls later it is another's. */
static inline const char *path(const char *name) {
  static char p[64][128];
  static int turn;
  char *to = p[turn++ % 64];
  snprintf(to, sizeof p[0], "%s/%s", dir, name);
  return to;
}

/* The same with nothing there. */
static inline const char *fresh(const char *name) {
  dbfile_remove(path(name));
  return path(name);
}

static inline void write_file(const char *p, const char *bytes, size_t n) {
  FILE *f = fopen(p, "wb");
  ck_assert_ptr_nonnull(f);
  ck_assert_uint_eq(fwrite(bytes, 1, n, f), n);
  fclose(f);
}

/* An entrant with n samples from ns upwards. */
static inline struct entrant entrant(const char *label, enum outcome o, int64_t ns, int n) {
  struct entrant e = {.text = label, .outcome = o};
  for (int i = 0; i < n; i++) ck_assert(VEC_PUSH(&e.sample, ns + i));
  return e;
}

/* A main() of tests that use the folder. */
static inline int dbcheck_main(const char *name, const TTest *const *tests, size_t n) {
  char cmd[64];
  if (!mkdtemp(dir) || chmod(dir, 0755) != 0) return EXIT_FAILURE;
  int status = unit_main(name, tests, n);
  snprintf(cmd, sizeof cmd, "rm -rf %s", dir);
  if (system(cmd) != 0) fprintf(stderr, "cannot remove %s\n", dir);
  return status;
}

#endif
