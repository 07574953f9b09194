/* The disassembler. Contract: asm.h. */
#include "asm_impl.h"

#include "../kernels/ukr.h"

const struct asm_op asm_ops[OP_COUNT] = {
#define OPCODE(name, text, form, flags, meaning) {text, FORM_##form},
#include "opcodes.def"
#undef OPCODE
};

const char *const asm_kinds[BUF_KINDS] = {"in", "out", "scratch", "shared"};

static void print_val(struct text *out, uint64_t w) {
  text_printf(out, word_low(w) ? "r%lld" : "%lld", (long long)word_high(w));
}

/* The address at ptr; returns the word behind it. */
static const uint64_t *print_addr(struct text *out, const uint64_t *ptr) {
  text_printf(out, "b%u", ptr_buf(*ptr));
  if (ptr_off(*ptr)) text_printf(out, "%+lld", (long long)ptr_off(*ptr));
  unsigned n = ptr_nterm(*ptr++);
  for (; n; n--, ptr++) {
    long long stride = word_high(*ptr);
    text_printf(out, "%cr%u*%lld", stride < 0 ? '-' : '+', word_low(*ptr),
                stride < 0 ? -stride : stride);
  }
  return ptr;
}

static void print_call(const uint64_t *w, struct text *out) {
  const struct ukr_sig *sig = ukr_sig((enum ukr_id)word_b(*w++));
  text_printf(out, " %s", sig->name);
  for (int i = 0; i < sig->nptr; i++) {
    text_printf(out, " %s=", sig->ptr[i].name);
    w = print_addr(out, w);
  }
  for (int i = 0; i < sig->nval; i++) {
    text_printf(out, " %s=", sig->val[i].name);
    print_val(out, *w++);
  }
}

static void print_loop(const uint64_t *w, struct text *out) {
  text_printf(out, " r%u = ", word_a(*w));
  print_val(out, w[1]);
  text_printf(out, " .. ");
  print_val(out, w[2]);
  text_printf(out, " step ");
  print_val(out, w[3]);
}

static void print_min(const char *mnemonic, const uint64_t *w, struct text *out) {
  text_printf(out, "r%u = %s ", word_a(*w), mnemonic);
  print_val(out, w[1]);
  text_printf(out, " ");
  print_val(out, w[2]);
  text_printf(out, " - r%u", word_b(*w));
}

void asm_print_one(const struct program *p, uint32_t word, struct text *out) {
  const uint64_t *w = p->word + word;
  if (code_length(p, word) == 0) {
    text_printf(out, "?");
    return;
  }
  const struct asm_op *op = &asm_ops[word_op(*w)];
  if (op->form == FORM_MIN) {
    print_min(op->text, w, out);
    return;
  }
  text_printf(out, "%s", op->text);
  if (op->form == FORM_LOOP) print_loop(w, out);
  if (op->form == FORM_CALL) print_call(w, out);
}

/* ---- whole programs -------------------------------------------------------------------------- */
static uint32_t highest(uint32_t top, uint64_t val) {
  return word_low(val) ? MAX(top, (uint32_t)word_high(val) + 1) : top;
}

/* Number of registers that the instruction at w makes necessary. */
static uint32_t regs_of(const uint64_t *w) {
  uint32_t n = word_a(*w) + 1u;
  switch (asm_ops[word_op(*w)].form) {
  case FORM_LOOP:
    return highest(n, w[2]);
  case FORM_MIN:
    return highest(highest(MAX(n, word_b(*w) + 1u), w[1]), w[2]);
  case FORM_CALL:
    break;
  default:
    return 0;
  }
  const struct ukr_sig *sig = ukr_sig((enum ukr_id)word_b(*w++));
  n = 0;
  for (int i = 0; i < sig->nptr; i++)
    for (unsigned t = ptr_nterm(*w++); t; t--, w++) n = MAX(n, word_low(*w) + 1);
  for (int i = 0; i < sig->nval; i++) n = highest(n, *w++);
  return n;
}

/* Checks what the text cannot say otherwise: whole instructions, loops and ends that name each
 * other. Counts the registers used. */
static bool is_printable(const struct program *p, uint32_t *nreg) {
  uint32_t open[CODE_MAXDEPTH];
  int depth = 0;
  *nreg = 0;
  for (uint32_t i = 0, len; i < p->nword; i += len) {
    if ((len = code_length(p, i)) == 0) return false;
    enum form form = asm_ops[word_op(p->word[i])].form;
    if (form == FORM_LOOP) {
      if (depth == CODE_MAXDEPTH) return false;
      open[depth++] = i;
    }
    if (form == FORM_END) {
      if (depth-- == 0 || word_imm(p->word[i]) != open[depth]) return false;
      if (word_imm(p->word[open[depth]]) != i) return false;
    }
    *nreg = MAX(*nreg, regs_of(p->word + i));
  }
  return depth == 0;
}

enum fvm_status asm_print(const struct program *p, struct text *out) {
  uint32_t nreg, depth = 0;
  if (!is_printable(p, &nreg)) return FVM_EFORMAT;
  for (uint32_t i = 0; i < p->nbuf; i++)
    text_printf(out, "buf %u %s %lld\n", i, asm_kinds[p->buf[i].kind], (long long)p->buf[i].bytes);
  if (nreg != p->nreg) text_printf(out, "regs %u\n", p->nreg);
  for (uint32_t i = 0; i < p->nword; i += code_length(p, i)) {
    enum form form = asm_ops[word_op(p->word[i])].form;
    depth -= form == FORM_END;
    text_printf(out, "%*s", (int)depth * 2, "");
    asm_print_one(p, i, out);
    text_printf(out, "\n");
    depth += form == FORM_LOOP;
  }
  return out->failed ? FVM_ENOMEM : FVM_OK;
}
