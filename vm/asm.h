/* Text form of programs: the assembler and the disassembler, both derived from opcodes.def and
 * ukr.def. asm_parse(asm_print(p)) == p, word for word. Syntax: docs/architecture.md. */
#ifndef FVM_ASM_H
#define FVM_ASM_H

#include "code.h"

/* One line an instruction, indented by loop depth. */
enum fvm_status asm_print(const struct program *p, struct text *out);
/* One instruction, without indentation: for traces and errors. */
void asm_print_one(const struct program *p, uint32_t word, struct text *out);
/* The error names line and column. The program is allocated in the arena; not verified. */
enum fvm_status asm_parse(const char *text, size_t len, struct arena *a, struct program *p,
                          struct fvm_error *err);

#endif
