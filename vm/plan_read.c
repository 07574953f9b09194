/* The plan reader: map a file, check every byte it relies on, hand out the tables. The file may be
 * hostile; what may be assumed afterwards is in plan.h. Steps and binds: plan_steps.c. */
#include "config.h"

#include "plan.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#if defined MADV_HUGEPAGE && !defined MADV_COLLAPSE
#define MADV_COLLAPSE 25 /* the system may know it when its headers do not */
#endif

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "plan files are read in place: little-endian machines only"
#endif
_Static_assert(sizeof(struct plan_header) == 32 && sizeof(struct plan_entry) == 32, "no padding");
_Static_assert(sizeof(struct plan_meta) == 104 && sizeof(struct plan_io) == 80, "no padding");
_Static_assert(sizeof(struct plan_program) == 24 && sizeof(struct plan_buffer) == 16, "no padding");
_Static_assert(sizeof(struct plan_step) == 32 && sizeof(struct plan_bind) == 16, "no padding");
_Static_assert(sizeof(struct plan_tensor) == 112 && sizeof(struct plan_const) == 96, "no padding");

/* No tensor, buffer or area is larger: keeps sums of sizes and offsets far from overflow. */
static const int64_t most_bytes = (int64_t)1 << 46;

static const char *const section_names[] = {
    [PLAN_META] = "META",         [PLAN_STRINGS] = "STRINGS", [PLAN_IO] = "IO",
    [PLAN_PROGRAMS] = "PROGRAMS", [PLAN_CODE] = "CODE",       [PLAN_BUFFERS] = "BUFFERS",
    [PLAN_STEPS] = "STEPS",       [PLAN_BINDS] = "BINDS",     [PLAN_TENSORS] = "TENSORS",
    [PLAN_CONSTS] = "CONSTS",     [PLAN_REPORT] = "REPORT",   [PLAN_WEIGHTS] = "WEIGHTS",
};
_Static_assert(COUNT(section_names) == PLAN_SECTIONS, "one name a section");

const char *plan_section_name(enum plan_section s) { return section_names[s]; }

static enum fvm_status bad(struct fvm_error *err, enum plan_section s, const char *fmt, ...)
    FVM_PRINTF(3, 4);
static enum fvm_status bad(struct fvm_error *err, enum plan_section s, const char *fmt, ...) {
  char what[200];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(what, sizeof what, fmt, ap);
  va_end(ap);
  return fvm_fail(err, FVM_EFORMAT, "section %s: %s; the plan is damaged, make it anew",
                  section_names[s], what);
}

/* ---- header and sections ---- */

static enum fvm_status read_header(struct fvm_plan *p, struct fvm_error *err) {
  const struct plan_header *h = (const void *)p->base;
  size_t table = PLAN_SECTIONS * sizeof(struct plan_entry);
  if (p->bytes < sizeof *h || memcmp(h->magic, PLAN_MAGIC, sizeof h->magic) != 0)
    return fvm_fail(err, FVM_EFORMAT, "not a plan file; make one with `fluidvm plan`");
  if (h->version != PLAN_VERSION)
    return fvm_fail(err, FVM_EUNSUPPORTED, "plan version %u, but this program reads %d; %s",
                    h->version, PLAN_VERSION, "make the plan anew");
  if (h->file_bytes != p->bytes)
    return fvm_fail(err, FVM_EFORMAT, "%zu bytes long, but its header says %llu; copy it again",
                    p->bytes, (unsigned long long)h->file_bytes);
  if (h->nsections != PLAN_SECTIONS || p->bytes < sizeof *h + table ||
      fvm_hash(h + 1, table, 0) != h->checksum)
    return fvm_fail(err, FVM_EFORMAT, "damaged section table; make the plan anew");
  memcpy(p->section, h + 1, table);
  return FVM_OK;
}

static bool is_gap(const struct fvm_plan *p, uint64_t from, uint64_t to) {
  if (to < from || to > p->bytes || to - from >= PLAN_PAGE) return false;
  while (from < to)
    if (p->base[from++] != 0) return false;
  return true;
}

static enum fvm_status check_section(const struct fvm_plan *p, enum plan_section s, uint64_t from,
                                     struct fvm_error *err) {
  const struct plan_entry *e = &p->section[s];
  uint64_t align = s == PLAN_WEIGHTS ? PLAN_PAGE : FVM_ALIGN;
  if (e->kind != s || e->zero != 0) return bad(err, s, "wrong kind %u", e->kind);
  if (!is_gap(p, from, e->offset) || e->offset % align != 0)
    return bad(err, s, "at a wrong place, offset %llu", (unsigned long long)e->offset);
  if (e->bytes > p->bytes - e->offset) return bad(err, s, "larger than the file");
  if (s != PLAN_WEIGHTS && fvm_hash(p->base + e->offset, e->bytes, s) != e->checksum)
    return bad(err, s, "wrong checksum");
  return FVM_OK;
}

static enum fvm_status read_sections(struct fvm_plan *p, struct fvm_error *err) {
  uint64_t at = sizeof(struct plan_header) + sizeof p->section;
  for (int s = 0; s < PLAN_SECTIONS; s++) {
    enum fvm_status st = check_section(p, (enum plan_section)s, at, err);
    if (st != FVM_OK) return st;
    at = p->section[s].offset + p->section[s].bytes;
  }
  return is_gap(p, at, p->bytes) ? FVM_OK : bad(err, PLAN_WEIGHTS, "bytes behind the end");
}

/* ---- rows ---- */

/* The rows of a section and their number; NULL when the bytes are not a whole number of rows. */
static const void *rows(const struct fvm_plan *p, enum plan_section s, size_t size, uint32_t *n) {
  const struct plan_entry *e = &p->section[s];
  if (e->bytes % size != 0 || e->bytes / size > INT32_MAX) return NULL;
  *n = (uint32_t)(e->bytes / size);
  return p->base + e->offset;
}

const char *plan_string(const struct fvm_plan *p, uint32_t ref) { return p->strings + ref; }

static bool is_string(const struct fvm_plan *p, uint32_t ref) {
  return ref < p->section[PLAN_STRINGS].bytes;
}

static enum fvm_status read_strings(struct fvm_plan *p, struct fvm_error *err) {
  const struct plan_entry *e = &p->section[PLAN_STRINGS];
  p->strings = (const char *)p->base + e->offset;
  if (e->bytes == 0 || p->strings[e->bytes - 1] != 0)
    return bad(err, PLAN_STRINGS, "no NUL at the end");
  return FVM_OK;
}

static enum fvm_status read_meta(struct fvm_plan *p, struct fvm_error *err) {
  uint32_t n;
  const struct plan_meta *m = p->meta = rows(p, PLAN_META, sizeof *p->meta, &n);
  if (!m || n != 1) return bad(err, PLAN_META, "wrong size");
  if (!is_string(p, m->model) || !is_string(p, m->build) || !is_string(p, m->machine))
    return bad(err, PLAN_META, "text outside of STRINGS");
  if (m->threads < 1 || m->threads > PLAN_MAXTHREADS || m->zero != 0)
    return bad(err, PLAN_META, "%u threads", m->threads);
  if (m->stream_bytes > p->section[PLAN_WEIGHTS].bytes)
    return bad(err, PLAN_META, "stream beyond the weights");
  if (!(m->max_error >= 0 || m->max_error == -1)) return bad(err, PLAN_META, "error is no number");
  if (m->arena_bytes > (uint64_t)most_bytes) return bad(err, PLAN_META, "arena too large");
  return FVM_OK;
}

/* Type and shape are sound; *bytes: of the dense tensor. */
static bool tensor_bytes(uint32_t dtype, uint32_t rank, const int64_t *dim, int64_t *bytes) {
  if (dtype <= FVM_NONE || dtype >= FVM_DTYPES || rank > FVM_MAXRANK) return false;
  *bytes = (int64_t)fvm_dtype_bytes((enum fvm_dtype)dtype);
  for (uint32_t i = 0; i < rank; i++)
    if (dim[i] < 0 || !fvm_mul(*bytes, dim[i], bytes)) return false;
  return *bytes <= most_bytes;
}

/* The only axis in which past and present differ, the present's being longer; -1: no such. */
static int state_axis(const struct plan_io *past, const struct plan_io *present) {
  int axis = -1;
  if (past->dtype != present->dtype || past->rank != present->rank) return -1;
  for (uint32_t i = 0; i < past->rank; i++) {
    if (past->dim[i] == present->dim[i]) continue;
    if (axis >= 0 || past->dim[i] > present->dim[i]) return -1;
    axis = (int)i;
  }
  return axis;
}

/* Whether an input's row and an output's name each other and fit as past and present. */
static bool is_state(const struct fvm_plan *p, uint32_t in, uint32_t out) {
  if (in >= p->nin || out >= p->nout) return false;
  const struct plan_io *x = &p->io[in], *y = &p->io[p->nin + out];
  return x->state == out + 1 && y->state == in + 1 && state_axis(x, y) >= 0;
}

/* Strides of a dense tensor, row-major but for an axis that is outermost (-1: none). Those of an
 * empty one are zeros. */
static void set_strides(struct fvm_io *io, int outermost) {
  int64_t s = (int64_t)fvm_dtype_bytes(io->dtype);
  for (int i = io->rank - 1; i >= 0 && io->bytes; i--) {
    if (i == outermost) continue;
    io->stride[i] = s;
    s *= io->dim[i];
  }
  if (outermost >= 0 && io->bytes) io->stride[outermost] = s;
}

static enum fvm_status read_states(struct fvm_plan *p, struct fvm_error *err) {
  for (uint32_t i = 0; i < p->nin + p->nout; i++) {
    bool none = p->io[i].state == 0;
    uint32_t other = p->io[i].state - 1, in = i < p->nin ? i : other;
    uint32_t out = i < p->nin ? other : i - p->nin;
    if (!none && !is_state(p, in, out)) return bad(err, PLAN_IO, "row %u is no half of a state", i);
    p->public_io[i].state = none ? -1 : (int)other;
    set_strides(&p->public_io[i], none ? -1 : state_axis(&p->io[in], &p->io[p->nin + out]));
  }
  return FVM_OK;
}

static enum fvm_status read_io(struct fvm_plan *p, struct fvm_error *err) {
  uint32_t n;
  p->io = rows(p, PLAN_IO, sizeof *p->io, &n);
  if (!p->io || p->meta->ninputs > n) return bad(err, PLAN_IO, "wrong size");
  p->nin = p->meta->ninputs;
  p->nout = n - p->nin;
  p->public_io = fvm_alloc(n, sizeof *p->public_io);
  if (!p->public_io) return fvm_nomem(err);
  for (uint32_t i = 0; i < n; i++) {
    const struct plan_io *io = &p->io[i];
    struct fvm_io *to = &p->public_io[i];
    int64_t bytes;
    if (!is_string(p, io->name) || !tensor_bytes(io->dtype, io->rank, io->dim, &bytes))
      return bad(err, PLAN_IO, "row %u is not a tensor", i);
    *to = (struct fvm_io){.name = plan_string(p, io->name), .dtype = (enum fvm_dtype)io->dtype};
    to->rank = (int)io->rank;
    to->bytes = (size_t)bytes;
    memcpy(to->dim, io->dim, io->rank * sizeof *io->dim);
  }
  return read_states(p, err);
}

static enum fvm_status read_buffers(struct fvm_plan *p, struct fvm_error *err) {
  const struct plan_buffer *b = rows(p, PLAN_BUFFERS, sizeof *b, &p->nbuffer);
  if (!b) return bad(err, PLAN_BUFFERS, "wrong size");
  p->buffer = fvm_alloc(p->nbuffer, sizeof *p->buffer);
  if (!p->buffer) return fvm_nomem(err);
  for (uint32_t i = 0; i < p->nbuffer; i++) {
    if (b[i].kind >= BUF_KINDS || b[i].zero != 0 || b[i].bytes < 0 || b[i].bytes > most_bytes)
      return bad(err, PLAN_BUFFERS, "row %u is not a buffer", i);
    p->buffer[i] = (struct buffer){(enum bufkind)b[i].kind, b[i].bytes};
  }
  return FVM_OK;
}

/* Words and buffers exist; what the words say is verify_program's business. */
static bool is_program(const struct plan_program *q, uint32_t nword, uint32_t nbuffer) {
  return q->nword > 0 && q->nword <= CODE_MAXWORDS && q->first_word <= nword &&
         q->nword <= nword - q->first_word && q->nbuf <= CODE_MAXBUF && q->first_buf <= nbuffer &&
         q->nbuf <= nbuffer - q->first_buf && q->nreg <= CODE_MAXREG && q->zero == 0;
}

static enum fvm_status read_programs(struct fvm_plan *p, struct fvm_error *err) {
  uint32_t n, nword;
  const struct plan_program *q = rows(p, PLAN_PROGRAMS, sizeof *q, &n);
  const uint64_t *word = rows(p, PLAN_CODE, sizeof *word, &nword);
  if (!q || !word) return bad(err, q ? PLAN_CODE : PLAN_PROGRAMS, "wrong size");
  p->program = fvm_alloc(n, sizeof *p->program);
  if (!p->program) return fvm_nomem(err);
  p->nprogram = n;
  for (uint32_t i = 0; i < n; i++) {
    if (!is_program(&q[i], nword, p->nbuffer))
      return bad(err, PLAN_PROGRAMS, "row %u points outside", i);
    p->program[i] = (struct program){word + q[i].first_word, q[i].nword, q[i].nreg, q[i].nbuf,
                                     p->buffer + q[i].first_buf};
  }
  return FVM_OK;
}

static enum fvm_status read_steps(struct fvm_plan *p, struct fvm_error *err) {
  p->step = rows(p, PLAN_STEPS, sizeof *p->step, &p->nstep);
  p->bind = rows(p, PLAN_BINDS, sizeof *p->bind, &p->nbind);
  if (!p->step || !p->bind) return bad(err, p->step ? PLAN_BINDS : PLAN_STEPS, "wrong size");
  for (uint32_t i = 0; i < p->nstep; i++) {
    const struct plan_step *s = &p->step[i];
    if (s->program >= p->nprogram || !is_string(p, s->name) || !is_string(p, s->label) ||
        s->zero != 0 || s->threads < 1 || s->threads > p->meta->threads)
      return bad(err, PLAN_STEPS, "row %u is not a step", i);
    if (s->first_bind > p->nbind || p->program[s->program].nbuf > p->nbind - s->first_bind)
      return bad(err, PLAN_STEPS, "row %u has no binds", i);
  }
  return FVM_OK;
}

/* ---- tensors and constants: for people and the checker ---- */

static bool is_tensor(const struct fvm_plan *p, const struct plan_tensor *t) {
  int64_t dense;
  return is_string(p, t->name) && tensor_bytes(t->dtype, t->rank, t->dim, &dense) &&
         t->space != SPACE_SCRATCH && plan_inside(p, t->space, t->index, t->offset, t->bytes) &&
         t->first <= t->last && t->last <= p->nstep;
}

static bool is_constant(const struct fvm_plan *p, const struct plan_const *c) {
  int64_t dense;
  return is_string(p, c->name) && tensor_bytes(c->dtype, c->rank, c->dim, &dense) &&
         plan_inside(p, SPACE_WEIGHTS, 0, c->offset, c->bytes);
}

static enum fvm_status read_tensors(struct fvm_plan *p, struct fvm_error *err) {
  p->tensor = rows(p, PLAN_TENSORS, sizeof *p->tensor, &p->ntensor);
  if (!p->tensor) return bad(err, PLAN_TENSORS, "wrong size");
  for (uint32_t i = 0; i < p->ntensor; i++)
    if (!is_tensor(p, &p->tensor[i])) return bad(err, PLAN_TENSORS, "row %u is not a tensor", i);
  p->konst = rows(p, PLAN_CONSTS, sizeof *p->konst, &p->nconst);
  if (!p->konst) return bad(err, PLAN_CONSTS, "wrong size");
  for (uint32_t i = 0; i < p->nconst; i++)
    if (!is_constant(p, &p->konst[i])) return bad(err, PLAN_CONSTS, "row %u is not a constant", i);
  return FVM_OK;
}

uint64_t plan_given(const struct fvm_plan *p, uint32_t output) {
  int input = p->public_io[p->nin + output].state;
  return input < 0 ? 0 : p->public_io[input].bytes;
}

static uint64_t space_bytes(const struct fvm_plan *p, uint32_t space, uint32_t index) {
  switch (space) {
  case SPACE_ARENA:
    return p->meta->arena_bytes;
  case SPACE_WEIGHTS:
    return p->section[PLAN_WEIGHTS].bytes;
  case SPACE_INPUT: /* a state's bytes are the output's */
    return p->public_io[index].state < 0 ? p->public_io[index].bytes : 0;
  case SPACE_OUTPUT:
    return p->public_io[p->nin + index].bytes;
  case SPACE_SCRATCH:
    return (uint64_t)most_bytes;
  default:
    return 0;
  }
}

bool plan_inside(const struct fvm_plan *p, uint32_t space, uint32_t index, uint64_t offset,
                 uint64_t bytes) {
  if (space > SPACE_NONE) return false;
  if (index >= (space == SPACE_INPUT ? p->nin : space == SPACE_OUTPUT ? p->nout : 1)) return false;
  uint64_t room = space_bytes(p, space, index);
  return offset <= room && bytes <= room - offset;
}

/* ---- loading ---- */

typedef enum fvm_status read_fn(struct fvm_plan *p, struct fvm_error *err);

/* Each may rely on those before it. */
static read_fn *const readers[] = {read_header,  read_sections,    read_strings,  read_meta,
                                   read_io,      read_buffers,     read_programs, read_steps,
                                   read_tensors, plan_verify_steps};

static enum fvm_status read_all(struct fvm_plan *p, struct fvm_error *err) {
  for (size_t i = 0; i < COUNT(readers); i++) {
    enum fvm_status st = readers[i](p, err);
    if (st != FVM_OK) return st;
  }
  p->weights = p->base + p->section[PLAN_WEIGHTS].offset;
  return FVM_OK;
}

/* Huge pages for the stream of weights, from the first byte that is read on: where the file is in
 * huge pages of the page cache, one fault maps 2 MiB (gpt2-decode, 494 MB: 0.95 of the time with
 * the same file in small ones). Where it must be read first, it comes in these: with the system's
 * usual readahead it would stay in pieces of 128 KiB from then on, which read at 26.8 GB/s instead
 * of 30.7 (Zen 4). Only readahead that is told to be random asks for 2 MiB every time; before
 * Linux 6.1, known by its lack of MADV_COLLAPSE, that would mean single pages. To map all at the
 * start (MADV_POPULATE_READ) gained nothing, nor did huge pages for the arena. The system may
 * refuse: nothing else changes. */
static void advise_stream(const void *base, size_t bytes) {
#ifdef MADV_HUGEPAGE
  void *p = (void *)(uintptr_t)base;
  if (!madvise(p, bytes, MADV_HUGEPAGE) && !madvise(p, 0, MADV_COLLAPSE))
    madvise(p, bytes, MADV_RANDOM);
#else
  (void)base, (void)bytes;
#endif
}

/* Small pages for tables, or every row that is read would bring 2 MiB into the process. */
static void advise_tables(const struct fvm_plan *p) {
#ifdef MADV_NOHUGEPAGE
  size_t stream = (size_t)(p->weights - p->base) + (size_t)p->meta->stream_bytes;
  size_t tables = ROUND_UP(stream, (size_t)PLAN_PAGE);
  if (tables < p->bytes)
    madvise((char *)(uintptr_t)p->base + tables, p->bytes - tables, MADV_NOHUGEPAGE);
#else
  (void)p;
#endif
}

/* Takes over the mapping, also on failure. */
static enum fvm_status load(const void *base, size_t bytes, bool mapped, struct fvm_plan **plan,
                            struct fvm_error *err) {
  struct fvm_plan *p = fvm_alloc(1, sizeof *p);
  if (!p) {
    if (mapped) munmap((void *)(uintptr_t)base, bytes);
    return fvm_nomem(err);
  }
  p->base = base;
  p->bytes = bytes;
  p->mapped = mapped;
  enum fvm_status st = read_all(p, err);
  if (st == FVM_OK && mapped) advise_tables(p);
  if (st == FVM_OK)
    *plan = p;
  else
    fvm_unload(p);
  return st;
}

enum fvm_status plan_load_memory(const void *base, size_t bytes, struct fvm_plan **plan,
                                 struct fvm_error *err) {
  CHECK((uintptr_t)base % FVM_ALIGN == 0);
  return load(base, bytes, false, plan, err);
}

/* A name that leads nowhere is bad input; anything else is the environment's fault. */
static enum fvm_status cannot_open(struct fvm_error *err) {
  bool wrong = errno == ENOENT || errno == ENOTDIR || errno == ENAMETOOLONG;
  return fvm_fail(err, wrong ? FVM_EFORMAT : FVM_EIO, "cannot be opened (%s)", strerror(errno));
}

static enum fvm_status map_file(int fd, const void **base, size_t *bytes, struct fvm_error *err) {
  struct stat st;
  if (fstat(fd, &st) != 0) return cannot_open(err);
  if (!S_ISREG(st.st_mode)) return fvm_fail(err, FVM_EFORMAT, "not a regular file");
  if (st.st_size <= 0 || (uint64_t)st.st_size > SIZE_MAX)
    return fvm_fail(err, FVM_EFORMAT, "not a plan file; make one with `fluidvm plan`");
  *bytes = (size_t)st.st_size;
  *base = mmap(NULL, *bytes, PROT_READ, MAP_PRIVATE, fd, 0);
  if (*base == MAP_FAILED) return fvm_fail(err, FVM_EIO, "cannot be mapped (%s)", strerror(errno));
  advise_stream(*base, *bytes);
  return FVM_OK;
}

enum fvm_status fvm_load(const char *path, struct fvm_plan **plan, struct fvm_error *err) {
  const void *base = NULL;
  size_t bytes = 0;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  enum fvm_status st = fd < 0 ? cannot_open(err) : map_file(fd, &base, &bytes, err);
  if (fd >= 0) close(fd);
  if (st == FVM_OK) st = load(base, bytes, true, plan, err);
  if (st != FVM_OK) fvm_prefix(err, "%s", path);
  return st;
}

void fvm_unload(struct fvm_plan *p) {
  if (!p) return;
  fvm_free(p->public_io, p->nin + p->nout, sizeof *p->public_io);
  fvm_free(p->program, p->nprogram, sizeof *p->program);
  fvm_free(p->buffer, p->nbuffer, sizeof *p->buffer);
  if (p->mapped) munmap((void *)(uintptr_t)p->base, p->bytes);
  fvm_free(p, 1, sizeof *p);
}

enum fvm_status plan_check_weights(const struct fvm_plan *p, struct fvm_error *err) {
  const struct plan_entry *e = &p->section[PLAN_WEIGHTS];
  if (fvm_hash(p->base + e->offset, e->bytes, PLAN_WEIGHTS) == e->checksum) return FVM_OK;
  return bad(err, PLAN_WEIGHTS, "wrong checksum");
}
