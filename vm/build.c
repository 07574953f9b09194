/* The builder of programs. Contract: code.h. */
#include "../kernels/ukr.h"
#include "code.h"

#include <string.h>

static void sticky(struct builder *b, enum fvm_status code, const char *what) {
  if (b->err.code == FVM_OK) fvm_fail(&b->err, code, "program builder: %s", what);
}

static void put(struct builder *b, uint64_t w) {
  if (b->err.code != FVM_OK) return;
  if (b->word.n >= CODE_MAXWORDS)
    sticky(b, FVM_EUNSUPPORTED, "program too long");
  else if (!VEC_PUSH(&b->word, w))
    sticky(b, FVM_ENOMEM, "out of memory");
}

static void put_val(struct builder *b, struct val v) { put(b, word_pack(v.is_reg, v.v)); }

static int new_reg(struct builder *b) {
  if (b->nreg >= CODE_MAXREG) {
    sticky(b, FVM_EUNSUPPORTED, "too many registers");
    return 0;
  }
  return b->nreg++;
}

void addr_add(struct addr *a, int reg, int64_t stride) {
  if (stride == 0) return;
  for (int i = 0; i < CODE_MAXTERM; i++)
    if (a->term[i].stride == 0) {
      a->term[i] = (struct term){reg, stride};
      return;
    }
  CHECK(!"address has too many terms");
}

void build_init(struct builder *b, struct arena *arena) { *b = (struct builder){.arena = arena}; }

int build_buf(struct builder *b, enum bufkind kind, int64_t bytes) {
  if (b->buf.n >= CODE_MAXBUF) sticky(b, FVM_EUNSUPPORTED, "too many buffers");
  if (b->err.code != FVM_OK) return 0;
  if (!VEC_PUSH(&b->buf, ((struct buffer){kind, bytes}))) sticky(b, FVM_ENOMEM, "out of memory");
  return (int)b->buf.n - 1;
}

static int open_loop(struct builder *b, enum opcode op, int64_t lo, struct val limit,
                     int64_t step) {
  int r = new_reg(b);
  if (b->depth >= CODE_MAXDEPTH) {
    sticky(b, FVM_EUNSUPPORTED, "loops nest too deep");
    return r;
  }
  b->open[b->depth++] = (uint32_t)b->word.n;
  put(b, word_head(op, (unsigned)r, 0, 0));
  put_val(b, val(lo));
  put_val(b, limit);
  put_val(b, val(step));
  return r;
}

int build_loop(struct builder *b, int64_t lo, struct val limit, int64_t step) {
  return open_loop(b, OP_LOOP, lo, limit, step);
}

int build_par(struct builder *b, int64_t lo, struct val limit, int64_t step) {
  return open_loop(b, OP_PAR, lo, limit, step);
}

void build_end(struct builder *b) {
  if (b->depth == 0) {
    sticky(b, FVM_EFAIL, "end without a loop");
    return;
  }
  uint32_t head = b->open[--b->depth], end = (uint32_t)b->word.n;
  put(b, word_head(OP_END, 0, 0, head));
  if (b->err.code == FVM_OK) b->word.v[head] |= (uint64_t)end << 32;
}

int build_min(struct builder *b, int64_t cap, struct val limit, int sub) {
  int r = new_reg(b);
  put(b, word_head(OP_MIN, (unsigned)r, (unsigned)sub, 0));
  put_val(b, val(cap));
  put_val(b, limit);
  return r;
}

static void put_addr(struct builder *b, const struct addr *a) {
  unsigned n = 0;
  while (n < CODE_MAXTERM && a->term[n].stride != 0) n++;
  put(b, ptr_pack((unsigned)a->buf, n, a->off));
  for (unsigned i = 0; i < n; i++) put(b, word_pack((unsigned)a->term[i].reg, a->term[i].stride));
}

void build_ukr(struct builder *b, int id, const struct addr *addr, const struct val *v) {
  const struct ukr_sig *sig = ukr_sig((enum ukr_id)id);
  put(b, word_head(OP_UKR, 0, (unsigned)id, 0));
  for (int i = 0; i < sig->nptr; i++) put_addr(b, &addr[i]);
  for (int i = 0; i < sig->nval; i++) put_val(b, v[i]);
}

enum fvm_status build_finish(struct builder *b, struct program *p, struct fvm_error *err) {
  put(b, word_head(OP_HALT, 0, 0, 0));
  if (b->depth) sticky(b, FVM_EFAIL, "loop without an end");
  uint64_t *word = ARENA_NEW(b->arena, uint64_t, b->word.n);
  struct buffer *buf = ARENA_NEW(b->arena, struct buffer, b->buf.n);
  if (!word || !buf) sticky(b, FVM_ENOMEM, "out of memory");
  if (b->err.code == FVM_OK) {
    memcpy(word, b->word.v, b->word.n * sizeof *word);
    if (b->buf.n) memcpy(buf, b->buf.v, b->buf.n * sizeof *buf);
    *p = (struct program){word, (uint32_t)b->word.n, (uint32_t)b->nreg, (uint32_t)b->buf.n, buf};
  }
  VEC_FREE(&b->word);
  VEC_FREE(&b->buf);
  if (err) *err = b->err;
  return b->err.code;
}
