/* Programs as C text. Contract: jit.h. What the strips of 7 over 100 floats become:
 *
 *   int strips(char *const *buf, int tid, int nthread, void *team) {
 *     int rc = 0, dirty = 0;
 *     void *p[8];
 *     i64 v[24];
 *     if (dirty) team_wait(team), dirty = 0;
 *     for (i64 r0 = 0 + 15 * tid / nthread * 7, e0 = ...; r0 < e0; r0 += 7) {
 *       i64 r1 = least(7, 100 - r0);
 *       p[0] = buf[0] + 0 + r0 * 4;
 *       ...
 *       rc |= ukr_add_f32(p, v);
 *     }
 *     return rc;
 *   }
 *
 * Only what libtcc knows is used; it knows no optimisation either, so the text says everything as
 * literals. `dirty` means what it means in interp.c. */
#include "jit.h"

#include <inttypes.h>

struct emit {
  const struct program *p;
  struct text *out;
  int depth;
  bool in_par;
};

static void line_start(struct emit *e) { text_printf(e->out, "%*s", 2 * e->depth, ""); }

static void put_number(struct emit *e, int64_t x) {
  text_printf(e->out, x == (int32_t)x ? "%" PRId64 : "%" PRId64 "LL", x);
}

static void put_val(struct emit *e, uint64_t w) {
  if (word_low(w))
    text_printf(e->out, "r%d", (int)word_high(w));
  else
    put_number(e, word_high(w));
}

/* ---- calls ---- */

static const uint64_t *put_address(struct emit *e, const uint64_t *w, int i) {
  unsigned buf = ptr_buf(*w), n = ptr_nterm(*w);
  line_start(e);
  text_printf(e->out, "p[%d] = %s%u%s + ", i, e->p->buf[buf].kind == BUF_SCRATCH ? "s" : "buf[",
              buf, e->p->buf[buf].kind == BUF_SCRATCH ? "" : "]");
  put_number(e, ptr_off(*w++));
  for (; n; n--, w++) {
    text_printf(e->out, " + r%u * ", word_low(*w));
    put_number(e, word_high(*w));
  }
  text_printf(e->out, ";\n");
  return w;
}

static void put_values(struct emit *e, const uint64_t *w, int n) {
  for (int i = 0; i < n; i++) {
    if (i % 8 == 0) line_start(e);
    text_printf(e->out, "v[%d] = ", i);
    put_val(e, w[i]);
    text_printf(e->out, i % 8 == 7 || i == n - 1 ? ";\n" : ", ");
  }
}

static void put_call(struct emit *e, const uint64_t *w) {
  const struct ukr_sig *sig = ukr_sig((enum ukr_id)word_b(*w++));
  bool alone = !e->in_par;
  if (alone) {
    line_start(e);
    text_printf(e->out, "dirty = 1;\n");
    line_start(e);
    text_printf(e->out, "if (tid == 0) {\n");
    e->depth++;
  }
  for (int i = 0; i < sig->nptr; i++) w = put_address(e, w, i);
  put_values(e, w, sig->nval);
  line_start(e);
  text_printf(e->out, "rc |= ukr_%s(p, v);\n", sig->name);
  if (alone) {
    e->depth--;
    line_start(e);
    text_printf(e->out, "}\n");
  }
}

/* ---- loops ---- */

static void put_loop(struct emit *e, const uint64_t *w) {
  unsigned r = word_a(*w);
  line_start(e);
  text_printf(e->out, "for (i64 r%u = ", r);
  put_number(e, word_high(w[1]));
  text_printf(e->out, "; r%u < ", r);
  put_val(e, w[2]);
  text_printf(e->out, "; r%u += ", r);
  put_number(e, word_high(w[3]));
  text_printf(e->out, ") {\n");
  e->depth++;
}

/* lo + n * TID / nthread * step: where the part of thread TID starts. */
static void put_part(struct emit *e, const uint64_t *w, const char *tid) {
  put_number(e, word_high(w[1]));
  text_printf(e->out, " + n%u * %s / nthread * ", word_a(*w), tid);
  put_number(e, word_high(w[3]));
}

static void put_par(struct emit *e, const uint64_t *w) {
  unsigned r = word_a(*w);
  line_start(e);
  text_printf(e->out, "if (dirty) team_wait(team), dirty = 0;\n");
  line_start(e);
  text_printf(e->out, "i64 n%u = steps(", r);
  put_number(e, word_high(w[1]));
  text_printf(e->out, ", ");
  put_val(e, w[2]);
  text_printf(e->out, ", ");
  put_number(e, word_high(w[3]));
  text_printf(e->out, ");\n");
  line_start(e);
  text_printf(e->out, "i64 e%u = least(", r);
  put_val(e, w[2]);
  text_printf(e->out, ", ");
  put_part(e, w, "(tid + 1)");
  text_printf(e->out, ");\n");
  line_start(e);
  text_printf(e->out, "for (i64 r%u = ", r);
  put_part(e, w, "tid");
  text_printf(e->out, "; r%u < e%u; r%u += ", r, r, r);
  put_number(e, word_high(w[3]));
  text_printf(e->out, ") {\n");
  e->depth++;
  e->in_par = true;
}

static void put_end(struct emit *e, const uint64_t *w) {
  bool par = word_op(e->p->word[word_imm(*w)]) == OP_PAR;
  e->depth--;
  line_start(e);
  text_printf(e->out, "}\n");
  if (!par) return;
  e->in_par = false;
  if (word_op(w[1]) == OP_HALT) return;
  line_start(e);
  text_printf(e->out, "team_wait(team);\n");
}

static void put_min(struct emit *e, const uint64_t *w) {
  line_start(e);
  text_printf(e->out, "i64 r%u = least(", word_a(*w));
  put_val(e, w[1]);
  text_printf(e->out, ", ");
  put_val(e, w[2]);
  text_printf(e->out, " - r%u);\n", word_b(*w));
}

/* ---- the function ---- */

static void put_instruction(struct emit *e, const uint64_t *w) {
  switch (word_op(*w)) {
  case OP_LOOP:
    put_loop(e, w);
    break;
  case OP_PAR:
    put_par(e, w);
    break;
  case OP_END:
    put_end(e, w);
    break;
  case OP_MIN:
    put_min(e, w);
    break;
  case OP_UKR:
    put_call(e, w);
    break;
  default:
    break;
  }
}

/* Prototypes of the micro-kernels that the program calls, each once. */
static void put_prototypes(struct emit *e) {
  bool seen[UKR_COUNT] = {false};
  for (uint32_t i = 0, len; (len = code_length(e->p, i)) != 0; i += len) {
    unsigned id = word_b(e->p->word[i]);
    if (word_op(e->p->word[i]) != OP_UKR || seen[id]) continue;
    seen[id] = true;
    text_printf(e->out, "int ukr_%s(void *const *p, const i64 *v);\n",
                ukr_sig((enum ukr_id)id)->name);
  }
}

static void put_head(struct emit *e, const char *name) {
  text_printf(e->out, "typedef long long i64;\n"
                      "void team_wait(void *team);\n");
  put_prototypes(e);
  text_printf(e->out,
              "static i64 least(i64 a, i64 b) { return a < b ? a : b; }\n"
              "static i64 steps(i64 lo, i64 limit, i64 step) {\n"
              "  return lo < limit ? (limit - lo + step - 1) / step : 0;\n"
              "}\n\n"
              "int %s(char *const *buf, int tid, int nthread, void *team) {\n"
              "  int rc = 0, dirty = 0;\n"
              "  void *p[%d];\n"
              "  i64 v[%d];\n",
              name, UKR_MAXPTR, UKR_MAXVAL);
  for (uint32_t i = 0; i < e->p->nbuf; i++)
    if (e->p->buf[i].kind == BUF_SCRATCH)
      text_printf(e->out, "  char *s%u = buf[%u] + tid * %" PRId64 "LL;\n", i, i,
                  scratch_stride(e->p->buf[i].bytes));
}

enum fvm_status jit_emit(const struct program *p, const char *name, struct text *out) {
  struct emit e = {.p = p, .out = out, .depth = 1};
  put_head(&e, name);
  for (uint32_t i = 0, len; (len = code_length(p, i)) != 0; i += len)
    put_instruction(&e, p->word + i);
  text_printf(out, "  return rc;\n}\n");
  return out->failed ? FVM_ENOMEM : FVM_OK;
}
