/* The C text of a program, compiled in process. The only file that knows libtcc. Contract: jit.h.
 *
 * Memory of compiled code is ours: written while it is writable, then made executable and
 * read-only. Emitted programs have no data of their own. */
#include "config.h"

#include "jit.h"

#include <errno.h>
#include <libtcc.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

typedef int jit_fn(void *const *buf, int tid, int nthread, void *team);

struct jit {
  jit_fn *fn;
  void *code; /* mapped */
  size_t bytes;
};

/* tcc calls this for every message; the first one tells the cause. */
static void keep_message(void *opaque, const char *msg) {
  struct fvm_error *err = opaque;
  if (err->code == FVM_OK) fvm_fail(err, FVM_EFAIL, "libtcc: %s", msg);
}

static enum fvm_status tcc_failed(struct fvm_error *err, const char *doing) {
  if (err->code == FVM_OK) fvm_fail(err, FVM_EFAIL, "no reason given");
  err->code = FVM_EFAIL;
  return fvm_prefix(err, "%s", doing);
}

static int add_symbols(TCCState *s, const struct program *p, ukr_fn *const *ukr) {
  int bad = tcc_add_symbol(s, "team_wait", (const void *)(uintptr_t)team_wait);
  for (uint32_t i = 0, len; (len = code_length(p, i)) != 0; i += len) {
    unsigned id = word_b(p->word[i]);
    if (word_op(p->word[i]) != OP_UKR) continue;
    char name[64];
    snprintf(name, sizeof name, "ukr_%s", ukr_sig((enum ukr_id)id)->name);
    bad |= tcc_add_symbol(s, name, (const void *)(uintptr_t)ukr[id]);
  }
  return bad;
}

static enum fvm_status map_code(struct jit *j, size_t bytes, struct fvm_error *err) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  bytes = ROUND_UP(bytes, page);
  void *m = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (m == MAP_FAILED) return fvm_nomem(err);
  j->code = m;
  j->bytes = bytes;
  return FVM_OK;
}

static enum fvm_status link_code(TCCState *s, struct jit *j, struct fvm_error *err) {
  int bytes = tcc_relocate(s, NULL);
  if (bytes < 0) return tcc_failed(err, "linking");
  enum fvm_status st = map_code(j, (size_t)bytes, err);
  if (st != FVM_OK) return st;
  if (tcc_relocate(s, j->code) < 0) return tcc_failed(err, "linking");
  j->fn = (jit_fn *)(uintptr_t)tcc_get_symbol(s, "program");
  if (!j->fn) return tcc_failed(err, "linking");
  if (mprotect(j->code, j->bytes, PROT_READ | PROT_EXEC) != 0)
    return fvm_fail(err, FVM_EENV, "this system forbids making memory executable (%s)",
                    strerror(errno));
  return FVM_OK;
}

static enum fvm_status compile(TCCState *s, const char *text, const struct program *p,
                               ukr_fn *const *ukr, struct jit *j, struct fvm_error *err) {
  err->code = FVM_OK;
  tcc_set_error_func(s, err, keep_message);
  tcc_set_options(s, "-nostdlib -nostdinc");
  if (tcc_set_output_type(s, TCC_OUTPUT_MEMORY) < 0) return tcc_failed(err, "starting");
  if (tcc_compile_string(s, text) < 0) return tcc_failed(err, "compiling");
  if (add_symbols(s, p, ukr) < 0) return tcc_failed(err, "linking");
  return link_code(s, j, err);
}

enum fvm_status jit_compile(const struct program *p, ukr_fn *const *ukr, struct jit **jit,
                            struct fvm_error *err) {
  struct fvm_error own;
  struct text text = {0};
  enum fvm_status st = FVM_ENOMEM;
  TCCState *s = NULL;
  struct jit *j = fvm_alloc(1, sizeof *j);
  if (!j || jit_emit(p, "program", &text) != FVM_OK || !(s = tcc_new())) {
    fvm_nomem(err);
    goto out;
  }
  st = compile(s, text.v, p, ukr, j, err ? err : &own);
out:
  if (s) tcc_delete(s);
  text_free(&text);
  if (st == FVM_OK)
    *jit = j;
  else
    jit_free(j);
  return st;
}

void jit_free(struct jit *j) {
  if (!j) return;
  if (j->code) munmap(j->code, j->bytes);
  fvm_free(j, 1, sizeof *j);
}

int jit_run(void *arg, struct team *team, int tid) {
  const struct jit_run *run = arg;
  return run->jit->fn(run->buf, tid, team_size(team), team);
}
