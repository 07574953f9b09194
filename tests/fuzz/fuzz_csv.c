/* Fuzz target: the reader of blocks from CSV, and the packing of what it accepts. Seeds: any small
 * file with the header id,lower,upper,size. */
#include "../../scheduler/mem_csv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool clash(const struct mem_block *x, const struct mem_block *y) {
  return x->bytes && y->bytes && x->first <= y->last && y->first <= x->last &&
         x->offset < y->offset + y->bytes && y->offset < x->offset + x->bytes;
}

static void check(const struct mem_csv *f, const struct mem_result *r) {
  CHECK(r->bound <= r->bytes);
  for (size_t i = 0; i < f->block.n; i++) {
    const struct mem_block *b = &f->block.v[i];
    CHECK(b->offset >= 0 && b->offset % b->align == 0);
    CHECK(b->bytes == 0 || b->offset + b->bytes <= r->bytes);
    for (size_t k = 0; k < i; k++) CHECK(!clash(b, &f->block.v[k]));
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct mem_csv f = {0};
  struct mem_result r;
  struct fvm_error err;
  struct mem_limits limits = {.ticks = 300};
  if (mem_csv_read((const char *)data, size, &f, &err) == FVM_OK &&
      mem_solve(f.block.v, (int)f.block.n, &limits, &r, &err) == FVM_OK)
    check(&f, &r);
  mem_csv_free(&f);
  CHECK(fvm_bytes_in_use() == 0);
  return 0;
}
