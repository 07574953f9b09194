/* Memory of the sandbox, and the problem's data in it, in layouts. */
#define _GNU_SOURCE
#include "measure_work.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { HUGE_PAGE = 2 << 20 };

/* Starts are staggered, or equal indices of all buffers would fall into the same cache set. */
char *room_grab(struct work_state *s, int64_t bytes) {
  int64_t shift = (s->grabs++ * 5 * FVM_ALIGN) % 4096;
  void *p = mmap(NULL, (size_t)(bytes + 4096), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                 -1, 0);
  return p == MAP_FAILED ? NULL : (char *)p + shift;
}

char *room_grab_huge(struct work_state *s, int64_t bytes, bool fenced) {
  int64_t page = (int64_t)sysconf(_SC_PAGESIZE);
  char *p = room_grab(s, bytes + HUGE_PAGE + 2 * page);
  if (!p) return p;
  if (bytes >= HUGE_PAGE) {
    p += ROUND_UP((uintptr_t)p, (uintptr_t)HUGE_PAGE) - (uintptr_t)p;
#ifdef MADV_HUGEPAGE
    madvise(p, (size_t)bytes, MADV_HUGEPAGE);
#endif
  }
  if (!fenced) return p;
  char *end = p + (ROUND_UP((uintptr_t)p + (size_t)bytes, (uintptr_t)page) - (uintptr_t)p);
  mprotect(end, (size_t)page, PROT_NONE);
  return end - ROUND_UP(bytes, FVM_ALIGN);
}

void room_seal(const char *base, int64_t bytes) {
  uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), from = (uintptr_t)base & ~(page - 1);
  mprotect((void *)from, ROUND_UP((uintptr_t)base + (size_t)bytes, page) - from, PROT_READ);
}

enum layout room_layout_in(const struct entrant *e, int i) {
  return i < LABEL_MAXIO ? (enum layout)e->label.in[i] : LAYOUT_ROW;
}
enum layout room_layout_out(const struct entrant *e, int i) {
  return i < LABEL_MAXIO ? (enum layout)e->label.out[i] : LAYOUT_ROW;
}

int64_t room_out_bytes(const struct work *w, const struct entrant *e, int k) {
  const struct tensor *t = &w->bench->call->out[k];
  return t->dtype == FVM_NONE ? 0 : layout_bytes(t, room_layout_out(e, k));
}

int64_t room_in_bytes(const struct work *w, const struct entrant *e, int i) {
  return layout_bytes(&w->bench->call->in[i], room_layout_in(e, i));
}

int64_t room_scratch(const struct work *w, const struct entrant *e, char *base, void **buf) {
  const struct program *p = &e->program;
  int64_t used = 0;
  for (uint32_t i = (uint32_t)(nin(w) + nout(w)); i < p->nbuf; i++) {
    if (buf) buf[i] = base + used;
    used +=
        scratch_stride(p->buf[i].bytes) * (p->buf[i].kind == BUF_SCRATCH ? e->label.threads : 1);
  }
  return used;
}

bool room_make(struct work *w, struct work_state *s) {
  int64_t scratch = 0;
  for (int i = 0; i < w->n; i++) {
    const struct entrant *e = &w->entrant[i];
    if (e->outcome != OUTCOME_COUNT && !outcome_is_sound(e->outcome)) continue;
    scratch = MAX(scratch, room_scratch(w, e, NULL, NULL));
    for (int k = 0; k < nout(w); k++)
      s->out_bytes[k] = MAX(s->out_bytes[k], room_out_bytes(w, e, k));
  }
  s->scratch = room_grab(s, scratch);
  bool ok = s->scratch != NULL;
  if (ok)
    memset(s->scratch, 0, (size_t)scratch); /* or somebody's first run would pay for its pages */
  for (int k = 0; k < nout(w) && ok; k++) {
    s->out[k] = room_grab(s, s->out_bytes[k]);
    ok = s->out[k] != NULL;
  }
  return ok;
}

/* ---- images: data in layouts ---- */

/* Row-major data converted by the layout's own program; NULL when there is none. */
static char *convert(struct work_state *s, const struct tensor *t, const void *data,
                     enum layout layout, char *to, struct fvm_error *err) {
  struct arena a = {0};
  struct program p;
  if (layout == LAYOUT_ROW) return memcpy(to, data, (size_t)tensor_bytes(t));
  enum fvm_status st = layout_convert(t, LAYOUT_ROW, layout, &a, &p, err);
  if (!st) {
    void *buf[CODE_MAXBUF] = {(void *)data, to};
    for (uint32_t i = 2; i < p.nbuf && !st; i++)
      if (!(buf[i] = room_grab(s, scratch_stride(p.buf[i].bytes)))) st = fvm_nomem(err);
    struct run r = {.program = &p, .ukr = s->ukr, .buf = buf};
    if (!st && pool_run(s->pool, 1, interp_run, &r))
      st = fvm_fail(err, FVM_EFAIL, "converting to layout %s failed", layout_name(layout));
  }
  arena_free(&a);
  return st ? NULL : to;
}

static bool make_image(const struct work *w, struct image *m, struct fvm_error *err) {
  const struct opcall *c = w->bench->call;
  const struct tensor *t = m->is_output ? &c->out[m->index] : &c->in[m->index];
  const void *data = m->is_output ? w->bench->want[m->index] : w->bench->in[m->index];
  m->bytes = layout_bytes(t, m->layout);
  m->is_constant = !m->is_output && t->data;
  m->base = room_grab_huge(w->state, m->bytes, m->is_constant);
  if (!m->base) return fvm_nomem(err), false;
  if (!convert(w->state, t, data, m->layout, m->base, err)) return false;
  room_seal(m->base, m->bytes);
  return true;
}

/* Index of an image, made when it is new; -1 and *err when it cannot be. */
int room_image(const struct work *w, bool is_output, int index, enum layout layout,
               struct fvm_error *err) {
  struct work_state *s = w->state;
  for (size_t i = 0; i < s->image.n; i++) {
    const struct image *m = &s->image.v[i];
    if (m->is_output == is_output && m->index == index && m->layout == layout) return (int)i;
  }
  struct image m = {.is_output = is_output, .index = index, .layout = layout};
  if (!make_image(w, &m, err)) return -1;
  if (!VEC_PUSH(&s->image, m)) return fvm_nomem(err), -1;
  return (int)s->image.n - 1;
}
