/* Arrays in .npy files. Contract: npy.h. The format:
 *
 *   "\x93NUMPY"  u8 major  u8 minor  u16 (major 1) or u32 length of the header
 *   header       {'descr': '<f4', 'fortran_order': False, 'shape': (4, 25), }   blanks, newline
 *   data */
#include "npy.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const unsigned char magic[6] = {0x93, 'N', 'U', 'M', 'P', 'Y'};
enum { MAXHEADER = 4096, ALIGN = 64 };

static const char *const descrs[] = {
#define DTYPE(name, bytes, onnx, text, npy, c) [FVM_##name] = npy,
#include "dtypes.def"
#undef DTYPE
};

/* ---- reading ---- */

struct reader {
  FILE *file;
  size_t bytes; /* of the file, from the present place to the end */
  struct fvm_error *err;
};

static enum fvm_status bad(struct reader *r, const char *what) {
  return fvm_fail(r->err, FVM_EFORMAT, "%s; write it with numpy.save", what);
}

static enum fvm_status get(struct reader *r, void *to, size_t n) {
  if (n > r->bytes) return bad(r, "the .npy file is cut short");
  r->bytes -= n;
  if (fread(to, 1, n, r->file) == n) return FVM_OK;
  return fvm_fail(r->err, FVM_EIO, "cannot be read (%s)", strerror(errno));
}

/* The header's text, NUL-terminated. */
static enum fvm_status get_header(struct reader *r, char text[MAXHEADER]) {
  unsigned char b[12];
  enum fvm_status st = get(r, b, 10);
  if (st != FVM_OK) return st;
  if (memcmp(b, magic, sizeof magic) != 0 || b[6] < 1 || b[6] > 3) return bad(r, "not a .npy file");
  size_t n = b[8] | (size_t)b[9] << 8;
  if (b[6] > 1) {
    if ((st = get(r, b + 10, 2)) != FVM_OK) return st;
    n |= (size_t)b[10] << 16 | (size_t)b[11] << 24;
  }
  if (n >= MAXHEADER) return bad(r, "the .npy header is too long");
  text[n] = 0;
  return get(r, text, n);
}

/* What follows 'KEY': in the header, or NULL. */
static const char *find_key(const char *text, const char *key) {
  const char *at = strstr(text, key);
  if (!at) return NULL;
  at += strlen(key);
  while (*at == ' ') at++;
  if (*at++ != ':') return NULL;
  while (*at == ' ') at++;
  return at;
}

static enum fvm_status parse_dtype(struct reader *r, const char *at, struct npy *a) {
  const char *end = at && *at == '\'' ? strchr(at + 1, '\'') : NULL;
  if (!end) return bad(r, "the .npy header has no 'descr'");
  size_t n = (size_t)(end - at) - 1;
  for (int d = 1; d < FVM_DTYPES; d++)
    if (strlen(descrs[d]) == n && !memcmp(descrs[d], at + 1, n)) a->dtype = (enum fvm_dtype)d;
  if (a->dtype != FVM_NONE) return FVM_OK;
  return fvm_fail(r->err, FVM_EUNSUPPORTED, "element type '%.*s' is not supported; convert it",
                  (int)MIN(n, 40), at + 1);
}

static enum fvm_status parse_shape(struct reader *r, const char *at, struct npy *a) {
  int64_t bytes = (int64_t)fvm_dtype_bytes(a->dtype);
  if (!at || *at++ != '(') return bad(r, "the .npy header has no 'shape'");
  for (;;) {
    char *end;
    while (*at == ' ' || *at == ',') at++;
    if (*at == ')') break;
    errno = 0;
    long long dim = *at >= '0' && *at <= '9' ? strtoll(at, &end, 10) : -1;
    if (dim < 0 || errno || a->rank == FVM_MAXRANK || !fvm_mul(bytes, dim, &bytes))
      return bad(r, "the .npy header has no sensible 'shape'");
    a->dim[a->rank++] = dim;
    at = end;
  }
  a->bytes = (size_t)bytes;
  return FVM_OK;
}

static enum fvm_status parse_header(struct reader *r, struct npy *a) {
  char text[MAXHEADER];
  enum fvm_status st = get_header(r, text);
  if (st == FVM_OK) st = parse_dtype(r, find_key(text, "'descr'"), a);
  if (st == FVM_OK) st = parse_shape(r, find_key(text, "'shape'"), a);
  if (st != FVM_OK) return st;
  const char *order = find_key(text, "'fortran_order'");
  if (order && !strncmp(order, "True", 4))
    return fvm_fail(r->err, FVM_EUNSUPPORTED,
                    "stored in Fortran order; save numpy.ascontiguousarray of it");
  if (r->bytes != a->bytes)
    return fvm_fail(r->err, FVM_EFORMAT, "%zu bytes of data where the header says %zu", r->bytes,
                    a->bytes);
  return FVM_OK;
}

static enum fvm_status open_file(const char *path, struct reader *r) {
  struct stat st;
  r->file = fopen(path, "rb");
  if (!r->file || fstat(fileno(r->file), &st) != 0)
    return fvm_fail(r->err, errno == ENOENT ? FVM_EFORMAT : FVM_EIO, "cannot be opened (%s)",
                    strerror(errno));
  if (!S_ISREG(st.st_mode)) return fvm_fail(r->err, FVM_EFORMAT, "not a regular file");
  r->bytes = (size_t)st.st_size;
  return FVM_OK;
}

static enum fvm_status get_data(struct reader *r, struct npy *a) {
  a->data = fvm_alloc(a->bytes, 1);
  return a->data ? get(r, a->data, a->bytes) : fvm_nomem(r->err);
}

static enum fvm_status close_file(const char *path, struct reader *r, enum fvm_status st) {
  if (r->file) fclose(r->file);
  if (st != FVM_OK) fvm_prefix(r->err, "%s", path);
  return st;
}

enum fvm_status npy_read(const char *path, struct npy *a, struct fvm_error *err) {
  struct reader r = {.err = err};
  *a = (struct npy){0};
  enum fvm_status st = open_file(path, &r);
  if (st == FVM_OK) st = parse_header(&r, a);
  if (st == FVM_OK) st = get_data(&r, a);
  if (st != FVM_OK) npy_free(a);
  return close_file(path, &r, st);
}

void npy_free(struct npy *a) {
  fvm_free(a->data, a->bytes, 1);
  *a = (struct npy){0};
}

static enum fvm_status same_type(const struct npy *a, const struct fvm_io *io,
                                 struct fvm_error *err) {
  char is[NPY_TYPE_TEXT], want[NPY_TYPE_TEXT];
  bool same = a->dtype == io->dtype && a->rank == io->rank;
  for (int i = 0; same && i < a->rank; i++) same = a->dim[i] == io->dim[i];
  if (same) return FVM_OK;
  npy_type_text(a->dtype, a->rank, a->dim, is);
  npy_type_text(io->dtype, io->rank, io->dim, want);
  return fvm_fail(err, FVM_EFORMAT, "holds %s, but %.100s is %s", is, io->name, want);
}

enum fvm_status npy_read_io(const char *path, const struct fvm_io *io, void *data,
                            struct fvm_error *err) {
  struct reader r = {.err = err};
  struct npy a = {0};
  enum fvm_status st = open_file(path, &r);
  if (st == FVM_OK) st = parse_header(&r, &a);
  if (st == FVM_OK) st = same_type(&a, io, err);
  if (st == FVM_OK) st = get(&r, data, io->bytes);
  return close_file(path, &r, st);
}

/* ---- writing ---- */

/* The header's text without its padding. */
static int header_text(char text[MAXHEADER], enum fvm_dtype dtype, int rank, const int64_t *dim) {
  int n = snprintf(text, MAXHEADER, "{'descr': '%s', 'fortran_order': False, 'shape': (",
                   descrs[dtype]);
  for (int i = 0; i < rank; i++)
    n += snprintf(text + n, (size_t)(MAXHEADER - n), "%s%" PRId64 "%s", i ? " " : "", dim[i],
                  i < rank - 1 || rank == 1 ? "," : "");
  return n + snprintf(text + n, (size_t)(MAXHEADER - n), "), }");
}

static bool write_all(FILE *f, enum fvm_dtype dtype, int rank, const int64_t *dim,
                      const void *data) {
  char text[MAXHEADER];
  size_t n = (size_t)header_text(text, dtype, rank, dim), bytes = fvm_dtype_bytes(dtype);
  size_t all = ROUND_UP(10 + n + 1, (size_t)ALIGN) - 10;
  memset(text + n, ' ', all - n);
  text[all - 1] = '\n';
  unsigned char head[10] = {[6] = 1, [8] = (unsigned char)all, [9] = (unsigned char)(all >> 8)};
  memcpy(head, magic, sizeof magic);
  for (int i = 0; i < rank; i++) bytes *= (size_t)dim[i];
  return fwrite(head, 1, sizeof head, f) == sizeof head && fwrite(text, 1, all, f) == all &&
         fwrite(data, 1, bytes, f) == bytes;
}

enum fvm_status npy_write(const char *path, enum fvm_dtype dtype, int rank, const int64_t *dim,
                          const void *data, struct fvm_error *err) {
  FILE *f = fopen(path, "wb");
  bool good = f && write_all(f, dtype, rank, dim, data);
  if (f && fclose(f) != 0) good = false;
  if (good) return FVM_OK;
  return fvm_fail(err, FVM_EIO, "%s: cannot be written (%s)", path, strerror(errno));
}

/* ---- texts ---- */

void npy_type_text(enum fvm_dtype dtype, int rank, const int64_t *dim, char text[NPY_TYPE_TEXT]) {
  int n = snprintf(text, NPY_TYPE_TEXT, "%s[", fvm_dtype_name(dtype));
  for (int i = 0; i < rank; i++)
    n += snprintf(text + n, (size_t)(NPY_TYPE_TEXT - n), "%s%" PRId64, i ? "," : "", dim[i]);
  snprintf(text + n, (size_t)(NPY_TYPE_TEXT - n), "]");
}

static bool is_odd(char c, bool first) {
  if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')) return false;
  return c != '_' && c != '-' && (c != '.' || first);
}

enum fvm_status npy_path(const char *dir, const char *name, char path[NPY_PATH],
                         struct fvm_error *err) {
  int n = snprintf(path, NPY_PATH, "%s/%s.npy", dir, name);
  if (n < 0 || n >= NPY_PATH || strlen(name) > 250)
    return fvm_fail(err, FVM_EFAIL, "%.100s/%.100s.npy is too long for a file name", dir, name);
  char *at = path + strlen(dir) + 1;
  for (size_t i = 0; i < strlen(name); i++)
    if (is_odd(at[i], i == 0)) at[i] = '_';
  return FVM_OK;
}
