/* Programs of the virtual machine and the builder that makes them. ISA: opcodes.def. */
#ifndef FVM_CODE_H
#define FVM_CODE_H

#include "base.h"

enum opcode {
#define OPCODE(name, text, form, flags, meaning) OP_##name,
#include "opcodes.def"
#undef OPCODE
  OP_COUNT
};

enum {
  CODE_MAXREG = 64,
  CODE_MAXBUF = 64,
  CODE_MAXTERM = 8,
  CODE_MAXPTR = 8,
  CODE_MAXVAL = 24,
  CODE_MAXDEPTH = 16,
  CODE_MAXWORDS = 1 << 16
};

enum bufkind {
  BUF_IN,      /* read only */
  BUF_OUT,     /* written, may be read back */
  BUF_SCRATCH, /* one per thread, contents undefined at start */
  BUF_SHARED,  /* scratch that all threads share */
  BUF_KINDS
};

struct buffer {
  enum bufkind kind;
  int64_t bytes;
};

/* An immutable program. Words and buffers belong to the arena or the mapped file they came from. */
struct program {
  const uint64_t *word;
  uint32_t nword;
  uint32_t nreg;
  uint32_t nbuf;
  const struct buffer *buf;
};

/* ---- decoding ------------------------------------------------------------------------------ */
static inline enum opcode word_op(uint64_t w) { return (enum opcode)(w & 0xff); }
static inline unsigned word_a(uint64_t w) { return (unsigned)(w >> 8) & 0xff; }
static inline unsigned word_b(uint64_t w) { return (unsigned)(w >> 16) & 0xffff; }
static inline uint32_t word_imm(uint64_t w) { return (uint32_t)(w >> 32); }
static inline uint64_t word_head(enum opcode op, unsigned a, unsigned b, uint32_t imm) {
  return (uint64_t)op | (uint64_t)(a & 0xff) << 8 | (uint64_t)(b & 0xffff) << 16 |
         (uint64_t)imm << 32;
}
/* VAL and TERM words: low byte and signed high 56 bits. */
static inline unsigned word_low(uint64_t w) { return (unsigned)(w & 0xff); }
static inline int64_t word_high(uint64_t w) { return (int64_t)w >> 8; }
static inline uint64_t word_pack(unsigned low, int64_t high) {
  return (uint64_t)(low & 0xff) | (uint64_t)high << 8;
}
/* PTR words. */
static inline unsigned ptr_buf(uint64_t w) { return (unsigned)(w & 0xff); }
static inline unsigned ptr_nterm(uint64_t w) { return (unsigned)(w >> 8) & 0xff; }
static inline int64_t ptr_off(uint64_t w) { return (int64_t)w >> 16; }
static inline uint64_t ptr_pack(unsigned buf, unsigned nterm, int64_t off) {
  return (uint64_t)(buf & 0xff) | (uint64_t)(nterm & 0xff) << 8 | (uint64_t)off << 16;
}

/* Words of the instruction whose head is at word i, or 0 when it does not lie inside the program
 * or its operands are malformed. Everything that walks code steps with this. */
uint32_t code_length(const struct program *p, uint32_t i);

/* ---- building ------------------------------------------------------------------------------
 * Errors stick in the builder and come out at build_finish, so emitters need not check calls.
 *
 *   struct builder b;
 *   build_init(&b, arena);
 *   int x = build_buf(&b, BUF_IN, n * 4), y = build_buf(&b, BUF_OUT, n * 4);
 *   int i = build_par(&b, 0, val(n), 1024);
 *   int m = build_min(&b, 1024, val(n), i);            m = min(1024, n - i)
 *   build_ukr(&b, UKR_EXP_F32, (struct addr[]){ADDR(x, 0, {i, 4}), ADDR(y, 0, {i, 4})},
 *             (struct val[]){val(1), reg(m), val(0), val(0)});
 *   build_end(&b);
 *   enum fvm_status st = build_finish(&b, &program, err);
 */
struct val {
  bool is_reg;
  int64_t v; /* value or register number */
};
static inline struct val val(int64_t v) { return (struct val){false, v}; }
static inline struct val reg(int r) { return (struct val){true, r}; }

struct term {
  int reg;
  int64_t stride; /* bytes; a term with stride 0 is dropped */
};
struct addr {
  int buf;
  int64_t off;                    /* bytes */
  struct term term[CODE_MAXTERM]; /* ends at the first stride 0 */
};
#define ADDR(buf, off, ...) ((struct addr){(buf), (off), {__VA_ARGS__}})
/* Append a term to an address. */
void addr_add(struct addr *a, int reg, int64_t stride);

struct builder {
  struct arena *arena; /* where the finished program lives */
  VEC(uint64_t) word;
  VEC(struct buffer) buf;
  uint32_t open[CODE_MAXDEPTH]; /* heads of the open loops */
  int depth, nreg;
  struct fvm_error err; /* the first error */
};
void build_init(struct builder *b, struct arena *arena);
int build_buf(struct builder *b, enum bufkind kind, int64_t bytes);
/* Both return the register. lo and step are constants, step > 0. */
int build_loop(struct builder *b, int64_t lo, struct val limit, int64_t step);
int build_par(struct builder *b, int64_t lo, struct val limit, int64_t step);
void build_end(struct builder *b);
/* r = min(cap, limit - sub). */
int build_min(struct builder *b, int64_t cap, struct val limit, int sub);
/* Call micro-kernel id (ukr.def) with as many addresses and values as its row says. */
void build_ukr(struct builder *b, int id, const struct addr *addr, const struct val *v);
/* Append HALT, check that all loops are closed, hand out the program (arena-owned) and free the
 * builder's own memory; also to be called after errors. */
enum fvm_status build_finish(struct builder *b, struct program *p, struct fvm_error *err);

#endif
