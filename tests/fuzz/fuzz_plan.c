/* Fuzz target: the plan reader. Even inputs are a file, odd ones are changes to a good plan, four
 * bytes each: offset (2), what to do, value. Checksums are made right, so that what lies behind
 * them is reached; the first byte of a file input says whether. */
#include <stdlib.h>
#include <string.h>

#include "../unit/mkplan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Memory that ends where the file ends. */
static void load(const unsigned char *bytes, size_t n) {
  struct fvm_plan *p;
  struct fvm_error err;
  void *mem = NULL;
  CHECK(posix_memalign(&mem, FVM_ALIGN, n ? n : 1) == 0);
  if (n) memcpy(mem, bytes, n);
  if (plan_load_memory(mem, n, &p, &err) == FVM_OK) {
    plan_check_weights(p, &err);
    fvm_unload(p);
  } else {
    CHECK(err.code != FVM_OK && err.text[0]);
  }
  free(mem);
}

static void load_file(bool right, const uint8_t *data, size_t size) {
  unsigned char *copy = malloc(size ? size : 1);
  CHECK(copy);
  if (size) memcpy(copy, data, size);
  if (right) mk_checksums(copy, size);
  load(copy, size);
  free(copy);
}

static void load_changed(const uint8_t *data, size_t size) {
  struct mkplan m;
  mk_small(&m);
  mk_finish(&m);
  for (; size >= 4; data += 4, size -= 4) {
    unsigned char *at = m.bytes + (data[0] | (size_t)data[1] << 8) % m.n;
    *at = (unsigned char)(data[2] % 3 == 0   ? data[3]
                          : data[2] % 3 == 1 ? *at + data[3]
                                             : *at ^ data[3]);
  }
  mk_checksums(m.bytes, m.n);
  load(m.bytes, m.n);
  mk_free(&m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0) return 0;
  if (data[0] & 1)
    load_changed(data + 1, size - 1);
  else
    load_file(data[0] & 2, data + 1, size - 1);
  CHECK(fvm_bytes_in_use() == 0);
  return 0;
}
