/* The verifier: proves before any run that a program stays inside its buffers. */
#ifndef FVM_VERIFY_H
#define FVM_VERIFY_H

#include "code.h"

/* Check structure (opcodes, operand counts, registers in scope, loop nesting), argument ranges of
 * every micro-kernel, that each access lies inside its buffer and respects its kind (BUF_IN is
 * never written), and that different iterations of a par never touch what another one writes.
 *
 * alias[i]: buffers with equal numbers are the same memory (in-place); NULL: all are distinct.
 * The error says the word index and what could not be proved. Uses no heap. */
enum fvm_status verify_program(const struct program *p, const int *alias, struct fvm_error *err);

#endif
