/* What assembler and disassembler share: names, all derived from tables. */
#ifndef FVM_ASM_IMPL_H
#define FVM_ASM_IMPL_H

#include "asm.h"

enum form { FORM_NONE, FORM_LOOP, FORM_END, FORM_MIN, FORM_CALL };

struct asm_op {
  const char *text;
  enum form form;
};
extern const struct asm_op asm_ops[OP_COUNT];
extern const char *const asm_kinds[BUF_KINDS];

#endif
