/* Files of external data: found, mapped once each, ranges checked. */
#include "onnx_external.h"

#include <inttypes.h>
#include <string.h>

/* A relative path without "..": the model comes from others, and must not name files elsewhere. */
static bool stays_inside(const char *location) {
  if (*location == '/') return false;
  for (const char *p = location; *p;) {
    size_t n = strcspn(p, "/");
    if (n == 2 && p[0] == '.' && p[1] == '.') return false;
    p += n;
    p += strspn(p, "/");
  }
  return true;
}

static enum fvm_status open_file(struct external *e, const char *location,
                                 const struct mapped_file **out, struct fvm_error *err) {
  struct arena a = {0};
  struct mapped_file *f;
  const char *path = arena_printf(&a, "%s%s%s", e->folder, *e->folder ? "/" : "", location);
  enum fvm_status st = path ? mapping_open(path, &f, err) : fvm_nomem(err);
  arena_free(&a);
  if (st != FVM_OK) {
    fvm_prefix(err, "external data");
    return st;
  }
  f->m.next = *e->keep;
  *e->keep = &f->m;
  *out = f;
  struct external_file row = {location, f};
  return VEC_PUSH(&e->file, row) ? FVM_OK : fvm_nomem(err);
}

static enum fvm_status find_file(struct external *e, const char *location,
                                 const struct mapped_file **f, struct fvm_error *err) {
  for (size_t i = 0; i < e->file.n; i++)
    if (!strcmp(e->file.v[i].location, location)) {
      *f = e->file.v[i].file;
      return FVM_OK;
    }
  if (!*location) return fvm_fail(err, FVM_EFORMAT, "external data names no file");
  if (!stays_inside(location))
    return fvm_fail(err, FVM_EFORMAT,
                    "external data at '%.100s' is outside the model's folder; move it beside the "
                    "model and name it relative to that",
                    location);
  return open_file(e, location, f, err);
}

enum fvm_status external_bytes(struct external *e, const char *location, int64_t offset,
                               int64_t length, int64_t want, const unsigned char **data,
                               struct fvm_error *err) {
  const struct mapped_file *f = NULL;
  int64_t end;
  if (length >= 0 && length != want)
    return fvm_fail(err, FVM_EFORMAT,
                    "external data has %" PRId64 " bytes, its shape needs %" PRId64, length, want);
  enum fvm_status st = find_file(e, location, &f, err);
  if (st != FVM_OK) return st;
  if (offset < 0 || !fvm_add(offset, want, &end) || (uint64_t)end > f->bytes)
    return fvm_fail(err, FVM_EFORMAT,
                    "external data: %" PRId64 " bytes from %" PRId64
                    " on leave '%.100s', which has %zu; is that file complete?",
                    want, offset, location, f->bytes);
  *data = want ? f->data + offset : (const unsigned char *)"";
  return FVM_OK;
}

uint64_t external_hash(const struct external *e, uint64_t hash) {
  for (size_t i = 0; i < e->file.n; i++) {
    uint64_t bytes = e->file.v[i].file->bytes;
    hash = fvm_hash(&bytes, sizeof bytes, hash);
  }
  return hash;
}

void external_free(struct external *e) { VEC_FREE(&e->file); }
