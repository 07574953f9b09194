/* Lengths of instructions, and with them the shape of every operand. Contract: code.h. */
#include "code.h"

#include "../kernels/ukr.h"

enum form { FORM_NONE, FORM_LOOP, FORM_END, FORM_MIN, FORM_CALL };

static const uint8_t forms[] = {
#define OPCODE(name, text, form, flags, meaning) FORM_##form,
#include "opcodes.def"
#undef OPCODE
};
_Static_assert(COUNT(forms) == OP_COUNT, "one form an opcode");

static bool is_const(uint64_t w) { return word_low(w) == 0; }

static bool is_reg(const struct program *p, int64_t r) { return r >= 0 && r < p->nreg; }

static bool is_val(const struct program *p, uint64_t w) {
  return is_const(w) || (word_low(w) == 1 && is_reg(p, word_high(w)));
}

/* Words of the PTR at word i and its terms, or 0. */
static uint32_t ptr_length(const struct program *p, uint32_t i) {
  if (i >= p->nword) return 0;
  uint64_t w = p->word[i];
  uint32_t n = ptr_nterm(w);
  if (ptr_buf(w) >= p->nbuf || n > CODE_MAXTERM || p->nword - i <= n) return 0;
  for (uint32_t t = 1; t <= n; t++)
    if (!is_reg(p, word_low(p->word[i + t]))) return 0;
  return 1 + n;
}

static uint32_t call_length(const struct program *p, uint32_t i) {
  unsigned id = word_b(p->word[i]);
  if (id >= UKR_COUNT) return 0;
  const struct ukr_sig *sig = ukr_sig((enum ukr_id)id);
  uint32_t at = i + 1, nval = (uint32_t)sig->nval;
  for (int n = 0; n < sig->nptr; n++) {
    uint32_t len = ptr_length(p, at);
    if (len == 0) return 0;
    at += len;
  }
  if (p->nword - at < nval) return 0;
  for (uint32_t n = 0; n < nval; n++)
    if (!is_val(p, p->word[at + n])) return 0;
  return at + nval - i;
}

static uint32_t loop_length(const struct program *p, uint32_t i) {
  const uint64_t *w = p->word + i;
  if (p->nword - i < 4 || !is_reg(p, word_a(*w))) return 0;
  bool good = is_const(w[1]) && is_val(p, w[2]) && is_const(w[3]) && word_high(w[3]) > 0;
  return good ? 4 : 0;
}

static uint32_t min_length(const struct program *p, uint32_t i) {
  const uint64_t *w = p->word + i;
  if (p->nword - i < 3 || !is_reg(p, word_a(*w)) || !is_reg(p, word_b(*w))) return 0;
  return is_val(p, w[1]) && is_val(p, w[2]) ? 3 : 0;
}

/* A head has one spelling: fields that its form does not use are 0. */
uint32_t code_length(const struct program *p, uint32_t i) {
  if (i >= p->nword) return 0;
  uint64_t w = p->word[i];
  if (word_op(w) >= OP_COUNT) return 0;
  bool a = word_a(w) != 0, b = word_b(w) != 0, imm = word_imm(w) != 0;
  switch ((enum form)forms[word_op(w)]) {
  case FORM_NONE:
    return a || b || imm ? 0 : 1;
  case FORM_LOOP:
    return b ? 0 : loop_length(p, i);
  case FORM_END:
    return a || b ? 0 : 1;
  case FORM_MIN:
    return imm ? 0 : min_length(p, i);
  case FORM_CALL:
    return a || imm ? 0 : call_length(p, i);
  }
  return 0;
}
