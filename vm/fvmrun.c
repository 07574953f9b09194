/* fvmrun: run a plan from the command line. Links the executor alone. */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "npy.h"
#include "plan.h"

/* enumerator, name, argument or "", help */
#define OPTIONS(O)                                                                                 \
  O(INPUT, "input", "NAME=FILE.npy", "an input; those not given are made from a fixed seed")       \
  O(OUTPUT, "output", "DIR", "write each output to DIR/NAME.npy")                                  \
  O(THREADS, "threads", "N", "threads, 1 to 64 (default: as planned, which is also the most)")     \
  O(BENCH, "bench", "N", "run twice, then N times; print each latency in ns")                      \
  O(INFO, "info", "", "what the plan is, one `key value` a line; does not run it")                 \
  O(HELP, "help", "", "this text")                                                                 \
  O(VERSION, "version", "", "version")

enum option {
#define O(id, name, arg, help) OPT_##id,
  OPTIONS(O)
#undef O
      OPT_COUNT
};
static const struct row {
  const char *name, *arg, *help;
} rows[] = {
#define O(id, name, arg, help) {name, arg, help},
    OPTIONS(O)
#undef O
};

enum { MAXBENCH = 10 * 1000 * 1000, SHOWN = 8 };

struct args {
  const char *plan, *output;
  VEC(const char *) input; /* NAME=FILE */
  int threads, bench;
  bool info, help, version;
};

/* ---- arguments ---- */

/* Edit distance with insertions, deletions and changes, one row at a time. */
static size_t distance(const char *a, const char *b) {
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

static const char *nearest(const char *name) {
  const char *best = rows[0].name;
  for (int i = 1; i < OPT_COUNT; i++)
    if (distance(name, rows[i].name) < distance(name, best)) best = rows[i].name;
  return best;
}

static enum fvm_status number(const char *text, int lo, int hi, int *to, const char *name,
                              struct fvm_error *err) {
  char *end;
  errno = 0;
  long x = strtol(text, &end, 10);
  if (errno || end == text || *end || x < lo || x > hi)
    return fvm_fail(err, FVM_EUSAGE, "--%s %.40s: a number from %d to %d is needed", name, text, lo,
                    hi);
  *to = (int)x;
  return FVM_OK;
}

static enum fvm_status take(struct args *a, enum option o, const char *text,
                            struct fvm_error *err) {
  switch (o) {
  case OPT_INPUT:
    if (!strchr(text, '=')) return fvm_fail(err, FVM_EUSAGE, "--input %.100s: no NAME=FILE", text);
    return VEC_PUSH(&a->input, text) ? FVM_OK : fvm_nomem(err);
  case OPT_OUTPUT:
    a->output = text;
    return FVM_OK;
  case OPT_THREADS:
    return number(text, 1, PLAN_MAXTHREADS, &a->threads, "threads", err);
  case OPT_BENCH:
    return number(text, 1, MAXBENCH, &a->bench, "bench", err);
  case OPT_INFO:
    a->info = true;
    return FVM_OK;
  case OPT_HELP:
    a->help = true;
    return FVM_OK;
  default:
    a->version = true;
    return FVM_OK;
  }
}

static enum option find_option(const char *name, size_t n) {
  int o = 0;
  while (o < OPT_COUNT && (strlen(rows[o].name) != n || memcmp(rows[o].name, name, n) != 0)) o++;
  return (enum option)o;
}

/* --NAME, --NAME=VALUE or --NAME VALUE at argv[*i]. */
static enum fvm_status parse_option(struct args *a, int argc, char **argv, int *i,
                                    struct fvm_error *err) {
  const char *name = argv[*i] + 2, *value = strchr(name, '=');
  size_t n = value ? (size_t)(value - name) : strlen(name);
  enum option o = find_option(name, n);
  if (o == OPT_COUNT)
    return fvm_fail(err, FVM_EUSAGE, "unknown option --%.40s; did you mean --%s?", name,
                    nearest(name));
  if (!*rows[o].arg)
    return value ? fvm_fail(err, FVM_EUSAGE, "--%s takes no value", rows[o].name)
                 : take(a, o, NULL, err);
  if (value) return take(a, o, value + 1, err);
  if (++*i >= argc) return fvm_fail(err, FVM_EUSAGE, "--%s needs %s", rows[o].name, rows[o].arg);
  return take(a, o, argv[*i], err);
}

static enum fvm_status parse(struct args *a, int argc, char **argv, struct fvm_error *err) {
  enum fvm_status st = FVM_OK;
  bool options = true;
  for (int i = 1; i < argc && st == FVM_OK; i++) {
    if (options && !strcmp(argv[i], "--")) {
      options = false;
    } else if (options && !strncmp(argv[i], "--", 2)) {
      st = parse_option(a, argc, argv, &i, err);
    } else if (options && argv[i][0] == '-') {
      st = fvm_fail(err, FVM_EUSAGE, "unknown option %.40s; try --help", argv[i]);
    } else if (a->plan) {
      st = fvm_fail(err, FVM_EUSAGE, "one plan, please, not also %.100s", argv[i]);
    } else {
      a->plan = argv[i];
    }
  }
  if (st == FVM_OK && !a->plan && !a->help && !a->version)
    st = fvm_fail(err, FVM_EUSAGE, "no plan given; try fvmrun --help");
  return st;
}

static void print_help(void) {
  printf("usage: fvmrun PLAN [options]\nRun a plan that `fluidvm plan` made.\n\n");
  for (int o = 0; o < OPT_COUNT; o++) {
    int n = printf("  --%s %s", rows[o].name, rows[o].arg);
    printf("%*s%s\n", 26 - n, "", rows[o].help);
  }
}

/* ---- the run ---- */

/* Inputs and outputs of a plan in memory: first all inputs, then all outputs. */
struct session {
  const struct args *args;
  struct fvm_plan *plan;
  struct fvm_instance *inst;
  int nin, n;
  struct slot {
    const struct fvm_io *io;
    const char *file; /* given for this input */
    void *mem, *data; /* data: the aligned part of mem */
  } * slot;
};

static size_t slot_bytes(const struct slot *s) { return s->io->bytes + FVM_ALIGN; }

static enum fvm_status make_slots(struct session *s, struct fvm_error *err) {
  s->nin = fvm_ninputs(s->plan);
  s->n = s->nin + fvm_noutputs(s->plan);
  s->slot = fvm_alloc((size_t)s->n, sizeof *s->slot);
  if (!s->slot) return fvm_nomem(err);
  for (int i = 0; i < s->n; i++)
    s->slot[i].io = i < s->nin ? fvm_input(s->plan, i) : fvm_output(s->plan, i - s->nin);
  return FVM_OK;
}

static enum fvm_status no_such_input(const struct session *s, const char *name, int len,
                                     struct fvm_error *err) {
  const char *best = NULL;
  for (int i = 0; i < s->nin; i++)
    if (!best || distance(name, s->slot[i].io->name) < distance(name, best))
      best = s->slot[i].io->name;
  return fvm_fail(err, FVM_EUSAGE, "the plan has no input %.*s%s%.100s", MIN(len, 100), name,
                  best ? "; the nearest is " : "", best ? best : "");
}

/* Match --input NAME=FILE with the plan's inputs. Names may hold '=' themselves. */
static enum fvm_status assign_files(struct session *s, struct fvm_error *err) {
  for (size_t k = 0; k < s->args->input.n; k++) {
    const char *text = s->args->input.v[k];
    int i = 0;
    for (; i < s->nin; i++) {
      size_t n = strlen(s->slot[i].io->name);
      if (!strncmp(text, s->slot[i].io->name, n) && text[n] == '=') {
        s->slot[i].file = text + n + 1;
        break;
      }
    }
    if (i == s->nin) return no_such_input(s, text, (int)(strchr(text, '=') - text), err);
  }
  return FVM_OK;
}

static enum fvm_status fill(struct session *s, int i, struct fvm_error *err) {
  struct slot *t = &s->slot[i];
  t->mem = fvm_alloc(slot_bytes(t), 1);
  if (!t->mem) return fvm_nomem(err);
  t->data = (void *)ROUND_UP((uintptr_t)t->mem, (uintptr_t)FVM_ALIGN);
  if (i >= s->nin) return fvm_bind_output(s->inst, i - s->nin, t->data, t->io->bytes, err);
  if (t->file) {
    enum fvm_status st = npy_read_io(t->file, t->io, t->data, err);
    if (st != FVM_OK) return st;
  } else {
    npy_make(i, t->io->dtype, t->io->bytes, t->data);
  }
  return fvm_bind_input(s->inst, i, t->data, t->io->bytes, err);
}

static int64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Printed at the end, so that printing does not disturb what it measures. */
static enum fvm_status bench(struct session *s, struct fvm_error *err) {
  int n = s->args->bench;
  int64_t *ns = fvm_alloc((size_t)n, sizeof *ns);
  if (!ns) return fvm_nomem(err);
  enum fvm_status st = FVM_OK;
  for (int i = -2; i < n && st == FVM_OK; i++) {
    int64_t start = now_ns();
    st = fvm_run(s->inst, err);
    if (i >= 0) ns[i] = now_ns() - start;
  }
  for (int i = 0; i < n && st == FVM_OK; i++) printf("%" PRId64 "\n", ns[i]);
  fvm_free(ns, (size_t)n, sizeof *ns);
  return st;
}

/* ---- results ---- */

static double bf16(uint16_t h) {
  uint32_t bits = (uint32_t)h << 16;
  float f;
  memcpy(&f, &bits, sizeof f);
  return f;
}

static double element(enum fvm_dtype d, const void *data, size_t i) {
  if (d == FVM_F16) return fvm_f16_to_f32(((const uint16_t *)data)[i]);
  if (d == FVM_BF16) return bf16(((const uint16_t *)data)[i]);
  switch (d) {
  case FVM_F32:
    return (double)((const float *)data)[i];
  case FVM_F64:
    return (double)((const double *)data)[i];
  case FVM_I64:
    return (double)((const int64_t *)data)[i];
  case FVM_I32:
    return (double)((const int32_t *)data)[i];
  case FVM_I16:
    return (double)((const int16_t *)data)[i];
  case FVM_I8:
    return (double)((const int8_t *)data)[i];
  case FVM_U64:
    return (double)((const uint64_t *)data)[i];
  case FVM_U32:
    return (double)((const uint32_t *)data)[i];
  case FVM_U16:
    return (double)((const uint16_t *)data)[i];
  default:
    return 0;
  }
}

static void print_io(const char *what, const struct fvm_io *io) {
  char type[NPY_TYPE_TEXT];
  npy_type_text(io->dtype, io->rank, io->dim, type);
  printf("%s%s %s", what, io->name, type);
}

/* The first values of an output, to see at a glance. */
static void show(const struct slot *t) {
  size_t n = t->io->bytes / fvm_dtype_bytes(t->io->dtype);
  print_io("", t->io);
  for (size_t i = 0; i < MIN(n, (size_t)SHOWN); i++)
    printf(" %.6g", element(t->io->dtype, t->data, i));
  printf(n > SHOWN ? " ...\n" : "\n");
}

static enum fvm_status write_outputs(const struct session *s, struct fvm_error *err) {
  char path[NPY_PATH], other[NPY_PATH];
  const char *dir = s->args->output;
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

static void print_info(const struct fvm_plan *p) {
  struct fvm_info i;
  fvm_info(p, &i);
  printf("model %s\nthreads %d\nsteps %d\n", i.model, i.threads, i.steps);
  printf("arena_bytes %zu\nweight_bytes %zu\nscratch_bytes %zu\n", i.arena_bytes, i.weight_bytes,
         i.scratch_bytes);
  printf("predicted_ns %" PRId64 "\n", i.predicted_ns);
  for (int k = 0; k < fvm_ninputs(p); k++, putchar('\n')) print_io("input ", fvm_input(p, k));
  for (int k = 0; k < fvm_noutputs(p); k++, putchar('\n')) print_io("output ", fvm_output(p, k));
}

static enum fvm_status run(struct session *s, struct fvm_error *err) {
  enum fvm_status st = make_slots(s, err);
  if (st == FVM_OK) st = assign_files(s, err);
  if (st == FVM_OK) st = fvm_open(s->plan, s->args->threads, NULL, &s->inst, err);
  for (int i = 0; i < s->n && st == FVM_OK; i++) st = fill(s, i, err);
  if (st != FVM_OK) return st;
  st = s->args->bench ? bench(s, err) : fvm_run(s->inst, err);
  if (st == FVM_OK && s->args->output) return write_outputs(s, err);
  for (int i = s->nin; i < s->n && st == FVM_OK && !s->args->bench; i++) show(&s->slot[i]);
  return st;
}

static enum fvm_status execute(const struct args *a, struct fvm_error *err) {
  struct session s = {.args = a};
  enum fvm_status st = fvm_load(a->plan, &s.plan, err);
  if (st == FVM_OK && a->info)
    print_info(s.plan);
  else if (st == FVM_OK)
    st = run(&s, err);
  for (int i = 0; s.slot && i < s.n; i++) fvm_free(s.slot[i].mem, slot_bytes(&s.slot[i]), 1);
  fvm_free(s.slot, (size_t)s.n, sizeof *s.slot);
  fvm_close(s.inst);
  fvm_unload(s.plan);
  return st;
}

/* One line, whatever a hostile file put into names. */
static void print_error(const struct fvm_error *err) {
  fputs("fvmrun: ", stderr);
  for (const char *c = err->text; *c; c++) fputc(*c >= 0 && *c < ' ' ? '?' : *c, stderr);
  fputc('\n', stderr);
}

int main(int argc, char **argv) {
  struct args a = {0};
  struct fvm_error err = {FVM_OK, ""};
  enum fvm_status st = parse(&a, argc, argv, &err);
  if (st == FVM_OK && a.help)
    print_help();
  else if (st == FVM_OK && a.version)
    printf("fvmrun %s\n", fvm_version());
  else if (st == FVM_OK)
    st = execute(&a, &err);
  if (st == FVM_OK && (fflush(stdout) != 0 || ferror(stdout)))
    st = fvm_fail(&err, FVM_EIO, "standard output: cannot be written (%s)", strerror(errno));
  if (st != FVM_OK) print_error(&err);
  VEC_FREE(&a.input);
  return fvm_exit_status(st);
}
