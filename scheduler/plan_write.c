/* The only writer of plan files. Format: vm/plan.h.
 *
 * Tables are built in memory; weights are converted one at a time. Everything goes to PATH.tmp-PID
 * first, so PATH is either the old file or the whole new one, as far as running programs see; for
 * machines that stop, plan_finish waits for the disk. Plans for one run need not.
 *
 * The file is written in whole pieces of PIECE bytes. A file system that can (ext4 since
 * Linux 6.16, XFS) then keeps each piece in one huge page, which stays when the plan is mapped:
 * reading weights that way was 1.34 times as fast as when each was written as it came (bert-base,
 * 402 MB, Zen 4: 31.8 and 23.7 GB/s; 14.9 from pieces of 4 KiB), since neither the hardware's
 * prefetch nor the TLB has to begin anew every few pages. */
#include "config.h"

#include "chains.h"
#include "plan_build.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../vm/interp.h"
#include "names.h"

enum { PIECE = 2 << 20 };
typedef VEC(unsigned char) bytes;

struct writer {
  const struct schedule *s;
  const struct plan_options *o;
  bytes section[PLAN_SECTIONS]; /* all but the weights */
  struct plan_entry entry[PLAN_SECTIONS];
  struct plan_meta meta;
  VEC(struct plan_program) program; /* as in the section; for finding equal ones */
  VEC(uint64_t) program_hash;
  struct names string; /* places of texts in their section */
  struct arena texts;
  bool nomem; /* from then on nothing is added, and nothing read back */
  int fd;
  bool regular; /* a file, not a device */
  char *piece;  /* the one that is being filled */
  uint64_t piece_at;
  size_t piece_bytes;
  struct fvm_error *err;
};

static void put(struct writer *w, enum plan_section s, const void *p, size_t n) {
  bytes *b = &w->section[s];
  w->nomem = w->nomem || !VEC_RESERVE(b, n);
  if (w->nomem) return;
  if (n) memcpy(b->v + b->n, p, n);
  b->n += n;
}
#define PUT(w, s, x) put((w), (s), &(x), sizeof(x))

/* Reference to a text; equal ones are stored once. */
static uint32_t string(struct writer *w, const char *text) {
  int known = names_find(&w->string, text), at = (int)w->section[PLAN_STRINGS].n;
  if (known >= 0) return (uint32_t)known;
  const char *copy = w->nomem ? NULL : arena_printf(&w->texts, "%s", text);
  w->nomem = !copy || !names_add(&w->string, copy, at);
  if (!w->nomem) put(w, PLAN_STRINGS, copy, strlen(copy) + 1);
  return w->nomem ? 0 : (uint32_t)at;
}

static const struct tensor *tensor_of(const struct writer *w, const struct sched_value *v) {
  return &w->s->graph->tensor.v[v->tensor].t;
}

static const char *name_of(const struct writer *w, const struct sched_value *v) {
  return v->tensor < 0 ? "" : w->s->graph->tensor.v[v->tensor].name;
}

/* ---- tables ---- */

/* 1 + the place of a tensor in a list of inputs or outputs. */
static uint32_t io_number(const int *v, int tensor) {
  uint32_t i = 0;
  while (v[i] != tensor) i++;
  return i + 1;
}

static void put_io(struct writer *w, int tensor) {
  const struct graph *g = w->s->graph;
  const struct gtensor *t = &g->tensor.v[tensor];
  struct plan_io io = {
      .name = string(w, t->name), .dtype = (uint32_t)t->t.dtype, .rank = (uint32_t)t->t.rank};
  int state = graph_state(g, tensor);
  if (state >= 0)
    io.state = t->is_input ? io_number(g->output.v, g->node.v[state].out.v[0])
                           : io_number(g->input.v, g->node.v[state].in.v[0]);
  memcpy(io.dim, t->t.dim, (size_t)t->t.rank * sizeof *io.dim);
  PUT(w, PLAN_IO, io);
}

static bool same_program(const struct writer *w, const struct plan_program *q,
                         const struct program *p) {
  const uint64_t *word = (const uint64_t *)(const void *)w->section[PLAN_CODE].v + q->first_word;
  const struct plan_buffer *buf =
      (const struct plan_buffer *)(const void *)w->section[PLAN_BUFFERS].v + q->first_buf;
  if (q->nword != p->nword || q->nbuf != p->nbuf || q->nreg != p->nreg) return false;
  if (memcmp(word, p->word, p->nword * sizeof *word) != 0) return false;
  for (uint32_t i = 0; i < p->nbuf; i++)
    if (buf[i].kind != (uint32_t)p->buf[i].kind || buf[i].bytes != p->buf[i].bytes) return false;
  return true;
}

/* Number of a program in the file; equal ones are stored once. */
static uint32_t put_program(struct writer *w, const struct program *p) {
  uint64_t hash = fvm_hash(p->word, p->nword * sizeof *p->word, p->nbuf);
  for (size_t i = 0; i < w->program.n && !w->nomem; i++)
    if (w->program_hash.v[i] == hash && same_program(w, &w->program.v[i], p)) return (uint32_t)i;
  struct plan_program q = {.first_word = (uint32_t)(w->section[PLAN_CODE].n / sizeof(uint64_t)),
                           .nword = p->nword,
                           .first_buf =
                               (uint32_t)(w->section[PLAN_BUFFERS].n / sizeof(struct plan_buffer)),
                           .nbuf = p->nbuf,
                           .nreg = p->nreg};
  put(w, PLAN_CODE, p->word, p->nword * sizeof *p->word);
  for (uint32_t i = 0; i < p->nbuf; i++) {
    struct plan_buffer b = {.kind = (uint32_t)p->buf[i].kind, .bytes = p->buf[i].bytes};
    PUT(w, PLAN_BUFFERS, b);
  }
  PUT(w, PLAN_PROGRAMS, q);
  if (!VEC_PUSH(&w->program, q) || !VEC_PUSH(&w->program_hash, hash)) w->nomem = true;
  return (uint32_t)w->program.n - 1;
}

/* Scratch buffers lie one after another; values where they were placed. */
static void put_binds(struct writer *w, const struct sched_step *step) {
  int64_t scratch = 0;
  for (uint32_t i = 0; i < step->program.nbuf; i++) {
    const struct buffer *b = &step->program.buf[i];
    struct plan_bind bind = {.space = SPACE_NONE};
    if (b->kind == BUF_SCRATCH || b->kind == BUF_SHARED) {
      bind = (struct plan_bind){SPACE_SCRATCH, 0, (uint64_t)scratch};
      scratch += scratch_stride(b->bytes) * (b->kind == BUF_SCRATCH ? step->threads : 1);
    } else if (step->bind[i] >= 0) {
      const struct sched_value *v = &w->s->value.v[step->bind[i]];
      bind = (struct plan_bind){(uint32_t)v->space, (uint32_t)v->index, (uint64_t)v->offset};
    }
    PUT(w, PLAN_BINDS, bind);
  }
}

/* The node's name, or "convert TENSOR", "copy TENSOR", made in the text given. */
static const char *step_name(const struct writer *w, const struct sched_step *step,
                             struct text *t) {
  t->n = 0;
  if (step->node >= 0) {
    chains_name(w->s->graph, step->first, step->node, t);
    return t->failed ? "" : t->v;
  }
  const struct sched_value *x = &w->s->value.v[step->in_value],
                           *y = &w->s->value.v[step->out_value];
  text_printf(t, "%s %s", x->layout == y->layout ? "copy" : "convert", name_of(w, x));
  return t->failed ? "" : t->v;
}

static const char *step_label(struct writer *w, const struct sched_step *step, struct arena *a,
                              struct text *t) {
  t->n = 0;
  if (step->node < 0) {
    const struct sched_value *x = &w->s->value.v[step->in_value],
                             *y = &w->s->value.v[step->out_value];
    convert_label(step->threads, t);
    text_printf(t, " in=%s out=%s", layout_name(x->layout), layout_name(y->layout));
    return t->failed ? "" : t->v;
  }
  struct opcall c;
  if (chains_opcall(w->s->graph, step->first, step->node, a, &c, NULL)) {
    w->nomem = true; /* it worked when the step was made */
    return "";
  }
  label_text(&c, &step->label, t);
  return t->failed ? "" : t->v;
}

static void put_steps(struct writer *w) {
  struct text text = {0};
  for (size_t k = 0; k < w->s->step.n && !w->nomem; k++) {
    const struct sched_step *s = &w->s->step.v[k];
    struct arena a = {0};
    struct plan_step step = {.program = put_program(w, &s->program),
                             .threads = (uint32_t)s->threads,
                             .first_bind =
                                 (uint32_t)(w->section[PLAN_BINDS].n / sizeof(struct plan_bind)),
                             .cost_ns = s->cost_ns};
    step.name = string(w, step_name(w, s, &text));
    step.label = string(w, step_label(w, s, &a, &text));
    w->meta.threads = MAX(w->meta.threads, step.threads);
    put_binds(w, s);
    PUT(w, PLAN_STEPS, step);
    w->nomem |= text.failed;
    arena_free(&a);
  }
  text_free(&text);
}

/* An output that nobody asked for is a row of bytes without a name. */
static void put_value(struct writer *w, const struct sched_value *v) {
  const struct tensor nameless = {.dtype = FVM_U8, .rank = 1, .dim = {v->bytes}};
  const struct tensor *t = v->tensor < 0 ? &nameless : tensor_of(w, v);
  uint32_t name = string(w, name_of(w, v));
  if (v->space == SPACE_WEIGHTS) {
    struct plan_const c = {.name = name,
                           .dtype = (uint32_t)t->dtype,
                           .layout = (uint32_t)v->layout,
                           .rank = (uint32_t)t->rank,
                           .offset = (uint64_t)v->offset,
                           .bytes = (uint64_t)v->bytes};
    memcpy(c.dim, t->dim, (size_t)t->rank * sizeof *c.dim);
    PUT(w, PLAN_CONSTS, c);
    return;
  }
  struct plan_tensor x = {.name = name,
                          .dtype = (uint32_t)t->dtype,
                          .layout = (uint32_t)v->layout,
                          .space = (uint32_t)v->space,
                          .index = (uint32_t)v->index,
                          .rank = (uint32_t)t->rank,
                          .offset = (uint64_t)v->offset,
                          .bytes = (uint64_t)v->bytes,
                          .first = (uint32_t)v->first,
                          .last = (uint32_t)v->last};
  memcpy(x.dim, t->dim, (size_t)t->rank * sizeof *x.dim);
  PUT(w, PLAN_TENSORS, x);
}

/* ---- report ---- */

static double mib(int64_t n) { return (double)n / (1 << 20); }

static void put_report(struct writer *w) {
  const struct schedule *s = w->s;
  struct text t = {0};
  if (w->nomem) return;
  text_printf(&t, "%s: %zu steps, %d conversions, predicted %.3f ms\n", s->graph->name, s->step.n,
              s->conversions, (double)s->cost_ns * 1e-6);
  if (w->o->policy != POLICY_exact)
    text_printf(&t, "planned by policy %s, to compare with\n", policy_name(w->o->policy));
  text_printf(&t, "layout cost %lld ns, bound %lld ns (%s), %d labels, %d measured\n",
              (long long)s->layout_cost_ns, (long long)s->layout_bound_ns,
              s->optimal ? "optimal" : "gap", s->labels_total, s->labels_measured);
  text_printf(&t, "arena %.2f MiB, bound %.2f MiB; weights %.2f MiB; scratch %.2f MiB\n",
              mib(s->arena_bytes), mib(s->arena_bound), mib(s->weight_bytes),
              mib(s->scratch_bytes));
  text_printf(&t, "in memory %.2f MiB: of tables that are read by row, the rows count\n\n",
              mib(s->resident_bytes));
  text_printf(&t, "%12s %6s  %s\n", "ns", "%", "step: label");
  for (size_t k = 0; k < s->step.n; k++) {
    const struct plan_step *x =
        (const struct plan_step *)(const void *)w->section[PLAN_STEPS].v + k;
    const char *strings = (const char *)w->section[PLAN_STRINGS].v;
    text_printf(&t, "%12lld %6.2f  %s: %s\n", (long long)x->cost_ns,
                100.0 * (double)x->cost_ns / (double)MAX(s->cost_ns, 1), strings + x->name,
                strings + x->label);
  }
  if (t.failed)
    w->nomem = true;
  else
    put(w, PLAN_REPORT, t.v, t.n);
  text_free(&t);
}

static void put_tables(struct writer *w) {
  const struct schedule *s = w->s;
  const struct graph *g = s->graph;
  w->meta = (struct plan_meta){.model = string(w, g->name ? g->name : ""),
                               .build = string(w, w->o->build ? w->o->build : ""),
                               .machine = string(w, w->o->machine ? w->o->machine : ""),
                               .threads = 1,
                               .ninputs = (uint32_t)g->input.n,
                               .model_hash = g->model_hash,
                               .arena_bytes = (uint64_t)s->arena_bytes,
                               .stream_bytes = (uint64_t)s->stream_bytes,
                               .max_error = -1,
                               .predicted_ns = s->cost_ns,
                               .layout_cost_ns = s->layout_cost_ns,
                               .layout_bound_ns = s->layout_bound_ns,
                               .order_peak_bytes = (uint64_t)s->order_peak,
                               .order_bound_bytes = (uint64_t)s->order_bound,
                               .arena_bound_bytes = (uint64_t)s->order_peak};
  for (size_t i = 0; i < g->input.n; i++) put_io(w, g->input.v[i]);
  for (size_t i = 0; i < g->output.n; i++) put_io(w, g->output.v[i]);
  put_steps(w);
  for (size_t i = 0; i < s->value.n; i++) put_value(w, &s->value.v[i]);
  put_report(w);
  PUT(w, PLAN_META, w->meta);
}

/* ---- file ---- */

static enum fvm_status failed(const struct writer *w, const char *what) {
  enum fvm_status code = errno == EACCES || errno == EROFS || errno == EPERM ? FVM_EENV : FVM_EIO;
  return fvm_fail(w->err, code, "%s (%s)", what, strerror(errno));
}

static enum fvm_status write_at(const struct writer *w, const void *p, size_t n, uint64_t at) {
  for (size_t done = 0; done < n;) {
    ssize_t k = pwrite(w->fd, (const char *)p + done, n - done, (off_t)(at + done));
    if (k < 0 && errno == EINTR) continue;
    if (k <= 0) return failed(w, "cannot be written");
    done += (size_t)k;
  }
  return FVM_OK;
}

static enum fvm_status flush_piece(struct writer *w) {
  enum fvm_status st = write_at(w, w->piece, w->piece_bytes, w->piece_at);
  w->piece_bytes = 0;
  return st;
}

/* Add bytes to the file, at no lesser offset than before; gaps become zeros. */
static enum fvm_status append(struct writer *w, const void *p, size_t n, uint64_t at) {
  enum fvm_status st = FVM_OK;
  for (size_t done = 0; done < n && !st;) {
    uint64_t to = at + done, in_piece = to % PIECE;
    if (to - in_piece != w->piece_at) {
      st = flush_piece(w);
      w->piece_at = to - in_piece;
    }
    size_t k = MIN(n - done, (size_t)(PIECE - in_piece));
    if (in_piece > w->piece_bytes)
      memset(w->piece + w->piece_bytes, 0, (size_t)in_piece - w->piece_bytes);
    memcpy(w->piece + in_piece, (const char *)p + done, k);
    w->piece_bytes = (size_t)in_piece + k;
    done += k;
  }
  return st;
}

/* Run the conversion of a constant, on this thread. */
static enum fvm_status convert_weight(const struct writer *w, const struct sched_value *v,
                                      struct pool *pool, void *out) {
  const struct tensor *t = tensor_of(w, v);
  struct arena a = {0};
  struct program p;
  enum fvm_status st = layout_convert(t, LAYOUT_ROW, v->layout, &a, &p, w->err);
  if (!st) {
    void *buf[CODE_MAXBUF] = {(void *)(uintptr_t)t->data, out};
    struct run run = {&p, ukr_table(cpu_isa()), buf};
    CHECK(p.nbuf == 2);
    if (pool_run(pool, 1, interp_run, &run) != 0)
      st = fvm_fail(w->err, FVM_EFAIL, "a weight cannot be converted");
  }
  arena_free(&a);
  return st;
}

static enum fvm_status write_weight(struct writer *w, const struct sched_value *v,
                                    struct pool *pool) {
  uint64_t at = w->entry[PLAN_WEIGHTS].offset + (uint64_t)v->offset;
  if (v->layout == LAYOUT_ROW) return append(w, tensor_of(w, v)->data, (size_t)v->bytes, at);
  void *out = fvm_alloc((size_t)v->bytes, 1);
  enum fvm_status st = out ? convert_weight(w, v, pool, out) : fvm_nomem(w->err);
  if (!st) st = append(w, out, (size_t)v->bytes, at);
  if (st) fvm_prefix(w->err, "weight '%s'", name_of(w, v));
  fvm_free(out, (size_t)v->bytes, 1);
  return st;
}

/* The weight that follows in the file the one at an offset; NULL: none. */
static const struct sched_value *next_weight(const struct writer *w, int64_t after) {
  const struct sched_value *next = NULL;
  for (size_t i = 0; i < w->s->value.n; i++) {
    const struct sched_value *v = &w->s->value.v[i];
    if (v->space == SPACE_WEIGHTS && v->base < 0 && v->bytes && v->offset > after &&
        (!next || v->offset < next->offset))
      next = v;
  }
  return next;
}

static enum fvm_status write_weights(struct writer *w) {
  struct pool *pool;
  enum fvm_status st = pool_new(1, &pool, w->err);
  if (st) return st;
  const struct sched_value *v = next_weight(w, -1);
  for (; v && !st; v = next_weight(w, v->offset)) st = write_weight(w, v, pool);
  pool_free(pool);
  return st;
}

/* The checksum of the weights is taken from the file, so that they are never all in memory. */
static enum fvm_status hash_weights(struct writer *w) {
  struct plan_entry *e = &w->entry[PLAN_WEIGHTS];
  e->checksum = fvm_hash(NULL, 0, PLAN_WEIGHTS);
  if (e->bytes == 0) return FVM_OK;
  void *m = mmap(NULL, e->bytes, PROT_READ, MAP_SHARED, w->fd, (off_t)e->offset);
  if (m == MAP_FAILED) return failed(w, "cannot be read back");
  e->checksum = fvm_hash(m, e->bytes, PLAN_WEIGHTS);
  munmap(m, e->bytes);
  return FVM_OK;
}

/* Place the sections one after another. Returns the length of the file. */
static uint64_t lay_out(struct writer *w) {
  uint64_t at = sizeof(struct plan_header) + sizeof w->entry;
  for (int i = 0; i < PLAN_SECTIONS; i++) {
    const bytes *b = &w->section[i];
    uint64_t align = i == PLAN_WEIGHTS ? PLAN_PAGE : FVM_ALIGN;
    struct plan_entry *e = &w->entry[i];
    *e = (struct plan_entry){.kind = (uint32_t)i, .offset = ROUND_UP(at, align)};
    e->bytes = i == PLAN_WEIGHTS ? (uint64_t)w->s->weight_bytes : b->n;
    if (i != PLAN_WEIGHTS) e->checksum = fvm_hash(b->v, b->n, (uint64_t)i);
    at = e->offset + e->bytes;
  }
  return at;
}

static enum fvm_status write_file(struct writer *w) {
  uint64_t length = lay_out(w);
  struct plan_header h = {
      .version = PLAN_VERSION, .nsections = PLAN_SECTIONS, .file_bytes = length};
  memcpy(h.magic, PLAN_MAGIC, sizeof h.magic);
  enum fvm_status st = FVM_OK;
  if (w->regular && ftruncate(w->fd, (off_t)length) != 0) st = failed(w, "cannot be written");
  for (int i = 0; i < PLAN_SECTIONS && !st; i++)
    st = append(w, w->section[i].v, w->section[i].n, w->entry[i].offset);
  if (!st) st = write_weights(w);
  if (!st) st = flush_piece(w);
  if (!st) st = hash_weights(w);
  h.checksum = fvm_hash(w->entry, sizeof w->entry, 0);
  if (!st) st = write_at(w, &h, sizeof h, 0);
  if (!st) st = write_at(w, w->entry, sizeof w->entry, sizeof h);
  return st;
}

static enum fvm_status close_file(struct writer *w, enum fvm_status st) {
  if (w->fd >= 0 && close(w->fd) != 0 && !st) st = failed(w, "cannot be written");
  return st;
}

static enum fvm_status write_and_rename(struct writer *w, const char *path) {
  struct text tmp = {0};
  text_printf(&tmp, "%s.tmp-%ld", path, (long)getpid());
  if (tmp.failed) {
    text_free(&tmp);
    return fvm_nomem(w->err);
  }
  w->fd = open(tmp.v, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  enum fvm_status st = w->fd < 0 ? failed(w, "cannot be made") : write_file(w);
  st = close_file(w, st);
  if (!st && rename(tmp.v, path) != 0) st = failed(w, "cannot be replaced");
  if (st && w->fd >= 0) unlink(tmp.v);
  text_free(&tmp);
  return st;
}

/* Devices and pipes are never replaced by a file. */
static enum fvm_status write_into(struct writer *w, const char *path) {
  w->fd = open(path, O_RDWR | O_CLOEXEC);
  enum fvm_status st = w->fd < 0 ? failed(w, "cannot be opened") : write_file(w);
  return close_file(w, st);
}

enum fvm_status plan_write(const struct schedule *s, const struct plan_options *o, const char *path,
                           struct fvm_error *err) {
  struct writer w = {.s = s, .o = o, .fd = -1, .err = err};
  put_tables(&w);
  struct stat there;
  w.regular = stat(path, &there) != 0 || S_ISREG(there.st_mode);
  enum fvm_status st = FVM_OK;
  w.piece = fvm_alloc(PIECE, 1);
  if (w.nomem || !w.piece)
    st = fvm_nomem(err);
  else
    st = w.regular ? write_and_rename(&w, path) : write_into(&w, path);
  for (int i = 0; i < PLAN_SECTIONS; i++) VEC_FREE(&w.section[i]);
  VEC_FREE(&w.program);
  VEC_FREE(&w.program_hash);
  names_free(&w.string);
  arena_free(&w.texts);
  fvm_free(w.piece, PIECE, 1);
  if (st) fvm_prefix(err, "%s", path);
  return st;
}

/* ---- what is known only when it runs ---- */

/* The parts of a file that change. */
struct head {
  struct plan_header h;
  struct plan_entry entry[PLAN_SECTIONS];
};

static bool patch(int fd, double error) {
  struct head head;
  struct plan_meta meta;
  if (pread(fd, &head, sizeof head, 0) != (ssize_t)sizeof head) return false;
  struct plan_entry *e = &head.entry[PLAN_META];
  if (pread(fd, &meta, sizeof meta, (off_t)e->offset) != (ssize_t)sizeof meta) return false;
  meta.max_error = error;
  e->checksum = fvm_hash(&meta, sizeof meta, PLAN_META);
  head.h.checksum = fvm_hash(head.entry, sizeof head.entry, 0);
  return pwrite(fd, &meta, sizeof meta, (off_t)e->offset) == (ssize_t)sizeof meta &&
         pwrite(fd, &head, sizeof head, 0) == (ssize_t)sizeof head;
}

enum fvm_status plan_finish(const char *path, double error, struct fvm_error *err) {
  int fd = open(path, O_RDWR | O_CLOEXEC);
  bool ok = fd >= 0 && (error < 0 || patch(fd, error)) && fsync(fd) == 0;
  enum fvm_status st =
      ok ? FVM_OK : fvm_fail(err, FVM_EIO, "%s: cannot be written: %s", path, strerror(errno));
  if (fd >= 0) close(fd);
  return st;
}
