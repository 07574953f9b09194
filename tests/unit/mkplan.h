/* Plan files put together by hand, section by section, for tests of the reader and the executor.
 * The planner's own writer is tested elsewhere; this one can also write what is wrong. */
#ifndef FVM_MKPLAN_H
#define FVM_MKPLAN_H

#include <string.h>

#include "../../kernels/ukr.h"
#include "../../vm/plan.h"

struct mkplan {
  VEC(unsigned char) section[PLAN_SECTIONS];
  unsigned char *bytes; /* the file, 64-byte aligned in memory of `cap` bytes */
  void *mem;
  size_t n, cap;
};

/* Append to a section; returns the offset. */
static inline uint32_t mk_put(struct mkplan *m, enum plan_section s, const void *p, size_t n) {
  uint32_t at = (uint32_t)m->section[s].n;
  CHECK(VEC_RESERVE(&m->section[s], n + 1));
  if (n) memcpy(m->section[s].v + at, p, n);
  m->section[s].n += n;
  return at;
}
#define MK_ROW(m, s, T, ...) mk_put((m), (s), &(T){__VA_ARGS__}, sizeof(T))

static inline uint32_t mk_text(struct mkplan *m, const char *s) {
  return mk_put(m, PLAN_STRINGS, s, strlen(s) + 1);
}

static inline uint32_t mk_program(struct mkplan *m, const struct program *p) {
  uint32_t word = mk_put(m, PLAN_CODE, p->word, p->nword * sizeof *p->word) / 8;
  uint32_t buf = (uint32_t)(m->section[PLAN_BUFFERS].n / sizeof(struct plan_buffer));
  for (uint32_t i = 0; i < p->nbuf; i++)
    MK_ROW(m, PLAN_BUFFERS, struct plan_buffer, .kind = p->buf[i].kind, .bytes = p->buf[i].bytes);
  return MK_ROW(m, PLAN_PROGRAMS, struct plan_program, word, p->nword, buf, p->nbuf, p->nreg, 0) /
         (uint32_t)sizeof(struct plan_program);
}

/* Checksums of the sections that lie inside the file, and of the table. */
static inline void mk_checksums(unsigned char *bytes, size_t n) {
  struct plan_header h;
  struct plan_entry e[PLAN_SECTIONS];
  if (n < sizeof h + sizeof e) return;
  memcpy(&h, bytes, sizeof h);
  memcpy(e, bytes + sizeof h, sizeof e);
  for (int s = 0; s < PLAN_SECTIONS; s++)
    if (e[s].offset <= n && e[s].bytes <= n - e[s].offset)
      e[s].checksum = fvm_hash(bytes + e[s].offset, e[s].bytes, (uint64_t)s);
  h.checksum = fvm_hash(e, sizeof e, 0);
  memcpy(bytes, &h, sizeof h);
  memcpy(bytes + sizeof h, e, sizeof e);
}

static inline void mk_finish(struct mkplan *m) {
  struct plan_header h = {PLAN_MAGIC, PLAN_VERSION, PLAN_SECTIONS, 0, 0};
  struct plan_entry e[PLAN_SECTIONS] = {0};
  size_t at = sizeof h + sizeof e;
  for (int s = 0; s < PLAN_SECTIONS; s++) {
    size_t align = s == PLAN_WEIGHTS ? PLAN_PAGE : FVM_ALIGN;
    at = ROUND_UP(at, align);
    e[s].kind = (uint32_t)s;
    e[s].offset = at;
    e[s].bytes = m->section[s].n;
    at += m->section[s].n;
  }
  m->n = h.file_bytes = at;
  m->cap = at + FVM_ALIGN;
  m->mem = fvm_alloc(m->cap, 1);
  CHECK(m->mem);
  m->bytes = (unsigned char *)ROUND_UP((uintptr_t)m->mem, (uintptr_t)FVM_ALIGN);
  memcpy(m->bytes, &h, sizeof h);
  memcpy(m->bytes + sizeof h, e, sizeof e);
  for (int s = 0; s < PLAN_SECTIONS; s++)
    if (m->section[s].n) memcpy(m->bytes + e[s].offset, m->section[s].v, m->section[s].n);
  mk_checksums(m->bytes, m->n);
}

static inline void mk_free(struct mkplan *m) {
  for (int s = 0; s < PLAN_SECTIONS; s++) VEC_FREE(&m->section[s]);
  fvm_free(m->mem, m->cap, 1);
  m->mem = NULL;
}

/* ---- a small plan that has some of everything --------------------------------------------------
 *
 *   inputs   x f32[4,25]   i i64[8]      outputs  y f32[4,25]   z f32[8,1]     weights  w f32[100]
 *   step 0   t = x + w                   strips, 3 threads
 *   step 1   t = t + t                   in place
 *   step 2   y = (t + x) + (t + x)       through scratch, 2 threads
 *   step 3   z = rows i of t             fails when an index is out of range
 */
enum { MK_N = 100, MK_ROWS = 8 };

static inline struct addr mk_at(int buf, int reg) { return ADDR(buf, 0, {reg, 4}); }

static inline void mk_add(struct builder *b, struct addr x, struct addr y, struct addr z, int n) {
  build_ukr(b, UKR_add_f32, (struct addr[]){x, y, z},
            (struct val[]){val(1), reg(n), val(0), val(1), val(0), val(1), val(0)});
}

static inline uint32_t mk_built(struct mkplan *m, struct builder *b) {
  struct program p;
  CHECK(build_finish(b, &p, NULL) == FVM_OK);
  return mk_program(m, &p);
}

/* out = x + y in strips of 7. */
static inline uint32_t mk_strips(struct mkplan *m, struct arena *a) {
  struct builder b;
  build_init(&b, a);
  int x = build_buf(&b, BUF_IN, MK_N * 4), y = build_buf(&b, BUF_IN, MK_N * 4);
  int z = build_buf(&b, BUF_OUT, MK_N * 4);
  int i = build_par(&b, 0, val(MK_N), 7), n = build_min(&b, 7, val(MK_N), i);
  mk_add(&b, mk_at(x, i), mk_at(y, i), mk_at(z, i), n);
  build_end(&b);
  return mk_built(m, &b);
}

static inline uint32_t mk_scratch(struct mkplan *m, struct arena *a) {
  struct builder b;
  build_init(&b, a);
  int t = build_buf(&b, BUF_IN, MK_N * 4), x = build_buf(&b, BUF_IN, MK_N * 4);
  int y = build_buf(&b, BUF_OUT, MK_N * 4), s = build_buf(&b, BUF_SCRATCH, 16 * 4);
  int i = build_par(&b, 0, val(MK_N), 16), n = build_min(&b, 16, val(MK_N), i);
  mk_add(&b, mk_at(t, i), mk_at(x, i), ADDR(s, 0), n);
  mk_add(&b, ADDR(s, 0), ADDR(s, 0), mk_at(y, i), n);
  build_end(&b);
  return mk_built(m, &b);
}

static inline uint32_t mk_gather(struct mkplan *m, struct arena *a) {
  struct builder b;
  build_init(&b, a);
  int t = build_buf(&b, BUF_IN, MK_N * 4), i = build_buf(&b, BUF_IN, MK_ROWS * 8);
  int z = build_buf(&b, BUF_OUT, MK_ROWS * 4);
  build_ukr(&b, UKR_gather_4, (struct addr[]){ADDR(t, 0), ADDR(i, 0), ADDR(z, 0)},
            (struct val[]){val(MK_ROWS), val(1), val(MK_N), val(1), val(1)});
  return mk_built(m, &b);
}

static inline void mk_io(struct mkplan *m, const char *name, enum fvm_dtype d, int64_t rows,
                         int64_t columns) {
  MK_ROW(m, PLAN_IO, struct plan_io, .name = mk_text(m, name), .dtype = d, .rank = 2,
         .dim = {rows, columns});
}

static inline void mk_bind(struct mkplan *m, enum plan_space space, uint32_t index,
                           uint64_t offset) {
  MK_ROW(m, PLAN_BINDS, struct plan_bind, space, index, offset);
}

static inline void mk_step(struct mkplan *m, uint32_t program, uint32_t threads, const char *name) {
  uint32_t bind = (uint32_t)(m->section[PLAN_BINDS].n / sizeof(struct plan_bind));
  MK_ROW(m, PLAN_STEPS, struct plan_step, .program = program, .threads = threads,
         .first_bind = bind, .name = mk_text(m, name), .label = mk_text(m, "hand-made"),
         .cost_ns = 1000);
}

static inline void mk_steps(struct mkplan *m) {
  struct arena a = {0};
  uint32_t strips = mk_strips(m, &a), scratch = mk_scratch(m, &a), gather = mk_gather(m, &a);
  mk_step(m, strips, 3, "t = x + w");
  mk_bind(m, SPACE_INPUT, 0, 0);
  mk_bind(m, SPACE_WEIGHTS, 0, 0);
  mk_bind(m, SPACE_ARENA, 0, 64);
  mk_step(m, strips, 1, "t = t + t");
  for (int i = 0; i < 3; i++) mk_bind(m, SPACE_ARENA, 0, 64);
  mk_step(m, scratch, 2, "y = 2 (t + x)");
  mk_bind(m, SPACE_ARENA, 0, 64);
  mk_bind(m, SPACE_INPUT, 0, 0);
  mk_bind(m, SPACE_OUTPUT, 0, 0);
  mk_bind(m, SPACE_SCRATCH, 0, 64);
  mk_step(m, gather, 1, "z = t[i]");
  mk_bind(m, SPACE_ARENA, 0, 64);
  mk_bind(m, SPACE_INPUT, 1, 0);
  mk_bind(m, SPACE_OUTPUT, 1, 0);
  arena_free(&a);
}

/* All sections but not yet the file: tests may still change rows. */
static inline void mk_small(struct mkplan *m) {
  *m = (struct mkplan){0};
  uint32_t name = mk_text(m, "small");
  MK_ROW(m, PLAN_META, struct plan_meta, .model = name, .build = name, .machine = name,
         .threads = 3, .ninputs = 2, .arena_bytes = 512, .predicted_ns = 4000,
         .layout_cost_ns = 4000);
  mk_io(m, "x", FVM_F32, 4, 25);
  mk_io(m, "i", FVM_I64, MK_ROWS, 1);
  mk_io(m, "y/out", FVM_F32, 4, 25);
  mk_io(m, "z", FVM_F32, MK_ROWS, 1);
  mk_steps(m);
  MK_ROW(m, PLAN_TENSORS, struct plan_tensor, .name = mk_text(m, "t"), .dtype = FVM_F32, .rank = 1,
         .dim = {MK_N}, .space = SPACE_ARENA, .offset = 64, .bytes = MK_N * 4, .last = 3);
  MK_ROW(m, PLAN_CONSTS, struct plan_const, .name = mk_text(m, "w"), .dtype = FVM_F32, .rank = 1,
         .dim = {MK_N}, .bytes = MK_N * 4);
  mk_put(m, PLAN_REPORT, "made by hand\n", 13);
  for (int i = 0; i < MK_N; i++) mk_put(m, PLAN_WEIGHTS, &(float){(float)i / 4}, 4);
}

#endif
