/* Inputs and outputs of an instance. Contract: slots.h. */
#include "config.h"

#include "slots.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "elem.h"
#include "npy.h"

enum { SHOWN = 8 };

/* Edit distance with insertions, deletions and changes, one row at a time. */
size_t name_distance(const char *a, const char *b) {
  size_t d[128], n = MIN(strlen(b), COUNT(d) - 1);
  for (size_t j = 0; j <= n; j++) d[j] = j;
  for (size_t i = 1; *a; i++, a++) {
    size_t diagonal = d[0];
    d[0] = i;
    for (size_t j = 1; j <= n; j++) {
      size_t change = diagonal + (*a != b[j - 1]);
      diagonal = d[j];
      d[j] = MIN(change, MIN(d[j], d[j - 1]) + 1);
    }
  }
  return d[n];
}

static size_t slot_bytes(const struct slot *s) { return s->io->bytes + FVM_ALIGN; }

enum fvm_status slots_open(struct slots *s, const struct fvm_plan *plan, int threads,
                           struct fvm_error *err) {
  s->nin = fvm_ninputs(plan);
  s->n = s->nin + fvm_noutputs(plan);
  s->slot = fvm_alloc((size_t)s->n, sizeof *s->slot);
  if (!s->slot) return fvm_nomem(err);
  for (int i = 0; i < s->n; i++)
    s->slot[i].io = i < s->nin ? fvm_input(plan, i) : fvm_output(plan, i - s->nin);
  return fvm_open(plan, threads, NULL, &s->inst, err);
}

void slots_close(struct slots *s) {
  for (int i = 0; s->slot && i < s->n; i++) fvm_free(s->slot[i].mem, slot_bytes(&s->slot[i]), 1);
  fvm_free(s->slot, (size_t)s->n, sizeof *s->slot);
  fvm_close(s->inst);
}

static enum fvm_status no_such_input(const struct slots *s, const char *name, int len,
                                     struct fvm_error *err) {
  const char *best = NULL;
  for (int i = 0; i < s->nin; i++)
    if (!best || name_distance(name, s->slot[i].io->name) < name_distance(name, best))
      best = s->slot[i].io->name;
  return fvm_fail(err, FVM_EUSAGE, "the plan has no input %.*s%s%.100s", MIN(len, 100), name,
                  best ? "; the nearest is " : "", best ? best : "");
}

enum fvm_status slots_give(struct slots *s, const char *text, struct fvm_error *err) {
  const char *eq = strchr(text, '=');
  if (!eq) return fvm_fail(err, FVM_EUSAGE, "--input %.100s: no NAME=FILE", text);
  for (int i = 0; i < s->nin; i++) {
    size_t n = strlen(s->slot[i].io->name);
    if (strncmp(text, s->slot[i].io->name, n) != 0 || text[n] != '=') continue;
    s->slot[i].file = text + n + 1;
    return FVM_OK;
  }
  return no_such_input(s, text, (int)(eq - text), err);
}

/* Memory for a slot; a state's input has that of its output, which begins with it. */
static enum fvm_status slot_alloc(struct slots *s, struct slot *t, struct fvm_error *err) {
  if (t->data) return FVM_OK;
  if (t - s->slot < s->nin && t->io->state >= 0) {
    struct slot *present = &s->slot[s->nin + t->io->state];
    enum fvm_status st = slot_alloc(s, present, err);
    t->data = present->data;
    return st;
  }
  t->mem = fvm_alloc(slot_bytes(t), 1);
  if (!t->mem) return fvm_nomem(err);
  t->data = (void *)ROUND_UP((uintptr_t)t->mem, (uintptr_t)FVM_ALIGN);
  return FVM_OK;
}

static enum fvm_status obtain(const struct slots *s, int i, slot_read_fn *read, void *data,
                              struct fvm_error *err) {
  const struct slot *t = &s->slot[i];
  if (t->file) return read(t->file, t->io, data, err);
  npy_make(i, t->io->dtype, t->io->bytes, data);
  return FVM_OK;
}

static enum fvm_status obtain_state(const struct slots *s, int i, slot_read_fn *read,
                                    struct fvm_error *err) {
  const struct slot *t = &s->slot[i];
  void *dense = fvm_alloc(slot_bytes(t), 1);
  enum fvm_status st = dense ? obtain(s, i, read, dense, err) : fvm_nomem(err);
  if (st == FVM_OK) fvm_pack(t->io, dense, t->data);
  fvm_free(dense, slot_bytes(t), 1);
  return st;
}

static enum fvm_status fill(struct slots *s, int i, slot_read_fn *read, struct fvm_error *err) {
  struct slot *t = &s->slot[i];
  enum fvm_status st = slot_alloc(s, t, err);
  if (st != FVM_OK) return st;
  if (i >= s->nin) return fvm_bind_output(s->inst, i - s->nin, t->data, t->io->bytes, err);
  st = t->io->state >= 0 ? obtain_state(s, i, read, err) : obtain(s, i, read, t->data, err);
  return st ? st : fvm_bind_input(s->inst, i, t->data, t->io->bytes, err);
}

enum fvm_status slots_fill(struct slots *s, slot_read_fn *read, struct fvm_error *err) {
  enum fvm_status st = FVM_OK;
  for (int i = 0; i < s->n && st == FVM_OK; i++) st = fill(s, i, read, err);
  return st;
}

static int64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

enum fvm_status slots_time(struct slots *s, int64_t *ns, int n, struct fvm_error *err) {
  enum fvm_status st = FVM_OK;
  for (int i = -2; i < n && st == FVM_OK; i++) {
    int64_t start = now_ns();
    st = fvm_run(s->inst, err);
    if (i >= 0) ns[i] = now_ns() - start;
  }
  return st;
}

/* An output row-major: as it is, or a copy, which *copy is then. */
static const void *dense_data(const struct slot *t, void **copy) {
  *copy = NULL;
  if (t->io->state < 0) return t->data;
  *copy = fvm_alloc(slot_bytes(t), 1);
  if (*copy) fvm_unpack(t->io, t->data, *copy);
  return *copy;
}

/* The first values of an output, to see at a glance. */
static void show(const struct slot *t, struct text *out) {
  void *copy;
  const void *data = dense_data(t, &copy);
  char type[NPY_TYPE_TEXT];
  size_t n = t->io->bytes / fvm_dtype_bytes(t->io->dtype);
  npy_type_text(t->io->dtype, t->io->rank, t->io->dim, type);
  text_printf(out, "%s %s", t->io->name, type);
  for (size_t i = 0; i < MIN(n, (size_t)SHOWN); i++)
    if (data) text_printf(out, " %.6g", elem_f64(data, t->io->dtype, (int64_t)i));
  text_printf(out, n > SHOWN ? " ...\n" : "\n");
  out->failed |= !data;
  fvm_free(copy, slot_bytes(t), 1);
}

void slots_show(const struct slots *s, struct text *out) {
  for (int i = s->nin; i < s->n; i++) show(&s->slot[i], out);
}

static enum fvm_status write_slot(const struct slot *t, const char *path, struct fvm_error *err) {
  void *copy;
  const void *data = dense_data(t, &copy);
  enum fvm_status st =
      data ? npy_write(path, t->io->dtype, t->io->rank, t->io->dim, data, err) : fvm_nomem(err);
  fvm_free(copy, slot_bytes(t), 1);
  return st;
}

enum fvm_status slots_write(const struct slots *s, const char *dir, struct fvm_error *err) {
  char path[NPY_PATH], other[NPY_PATH];
  if (mkdir(dir, 0777) != 0 && errno != EEXIST)
    return fvm_fail(err, FVM_EIO, "%.300s: cannot be made (%s)", dir, strerror(errno));
  for (int i = s->nin; i < s->n; i++) {
    const struct fvm_io *io = s->slot[i].io;
    enum fvm_status st = npy_path(dir, io->name, path, err);
    for (int j = s->nin; j < i && st == FVM_OK; j++) {
      npy_path(dir, s->slot[j].io->name, other, NULL);
      if (!strcmp(path, other))
        st = fvm_fail(err, FVM_EFAIL, "outputs %.100s and %.100s would be one file", io->name,
                      s->slot[j].io->name);
    }
    if (st == FVM_OK) st = write_slot(&s->slot[i], path, err);
    if (st != FVM_OK) return st;
  }
  return FVM_OK;
}
