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
  size_t d[32], n = MIN(strlen(b), COUNT(d) - 1);
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

static enum fvm_status fill(struct slots *s, int i, slot_read_fn *read, struct fvm_error *err) {
  struct slot *t = &s->slot[i];
  t->mem = fvm_alloc(slot_bytes(t), 1);
  if (!t->mem) return fvm_nomem(err);
  t->data = (void *)ROUND_UP((uintptr_t)t->mem, (uintptr_t)FVM_ALIGN);
  if (i >= s->nin) return fvm_bind_output(s->inst, i - s->nin, t->data, t->io->bytes, err);
  if (t->file) {
    enum fvm_status st = read(t->file, t->io, t->data, err);
    if (st != FVM_OK) return st;
  } else {
    npy_make(i, t->io->dtype, t->io->bytes, t->data);
  }
  return fvm_bind_input(s->inst, i, t->data, t->io->bytes, err);
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

/* The first values of an output, to see at a glance. */
static void show(const struct slot *t, struct text *out) {
  char type[NPY_TYPE_TEXT];
  size_t n = t->io->bytes / fvm_dtype_bytes(t->io->dtype);
  npy_type_text(t->io->dtype, t->io->rank, t->io->dim, type);
  text_printf(out, "%s %s", t->io->name, type);
  for (size_t i = 0; i < MIN(n, (size_t)SHOWN); i++)
    text_printf(out, " %.6g", elem_f64(t->data, t->io->dtype, (int64_t)i));
  text_printf(out, n > SHOWN ? " ...\n" : "\n");
}

void slots_show(const struct slots *s, struct text *out) {
  for (int i = s->nin; i < s->n; i++) show(&s->slot[i], out);
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
    if (st == FVM_OK) st = npy_write(path, io->dtype, io->rank, io->dim, s->slot[i].data, err);
    if (st != FVM_OK) return st;
  }
  return FVM_OK;
}
