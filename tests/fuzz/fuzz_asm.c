/* Fuzz target: text to program to text, and whatever the verifier accepts stays inside its buffers
 * when every access is listed (up to a budget). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../vm/asm.h"
#include "../../vm/verify.h"
#include "../unit/walker.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void inside(struct walker *k, const struct touch *t) {
  CHECK(t->at >= 0 && t->at + t->bytes <= k->p->buf[t->buf].bytes);
  CHECK(!t->writes || k->p->buf[t->buf].kind != BUF_IN);
}

static void round_trip(const struct program *p, struct arena *a) {
  struct text text = {0};
  struct program q;
  CHECK(asm_print(p, &text) == FVM_OK);
  if (text.n) {
    CHECK(asm_parse(text.v, text.n, a, &q, NULL) == FVM_OK);
    CHECK(q.nword == p->nword && q.nreg == p->nreg && q.nbuf == p->nbuf);
    CHECK(memcmp(q.word, p->word, p->nword * sizeof *p->word) == 0);
  }
  text_free(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct arena a = {0};
  struct program p;
  struct fvm_error err;
  if (asm_parse((const char *)data, size, &a, &p, &err) == FVM_OK) {
    round_trip(&p, &a);
    if (verify_program(&p, NULL, &err) == FVM_OK) {
      struct walker k = {.p = &p, .touch = inside, .budget = 20000};
      walker_run(&k);
      CHECK(!k.negative);
    }
  }
  arena_free(&a);
  CHECK(fvm_bytes_in_use() == 0);
  return 0;
}
