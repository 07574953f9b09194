/* Layer 4: programs as readable C, compiled in process by libtcc. Tool chain only. */
#ifndef FVM_JIT_H
#define FVM_JIT_H

#include "interp.h"

/* The C text of a program (jit_emit.c): one function
 *   int NAME(char *const *buf, int tid, int nthread, void *team)
 * with all bounds and strides as literals, in the order the interpreter would run. */
enum fvm_status jit_emit(const struct program *p, const char *name, struct text *out);

/* Compile (jit_tcc.c). The code belongs to *jit; jit_free releases it. The program must have passed
 * verify_program. One compile at a time in a process: callers hold no other. */
struct jit;
enum fvm_status jit_compile(const struct program *p, ukr_fn *const *ukr, struct jit **jit,
                            struct fvm_error *err);
void jit_free(struct jit *jit);

/* team_fn like interp_run: same micro-kernels, same order, same bits. */
struct jit_run {
  const struct jit *jit;
  void *const *buf;
};
int jit_run(void *arg, struct team *team, int tid);

#endif
