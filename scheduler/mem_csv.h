/* Blocks from a CSV file and their offsets back into it, as MiniMalloc's files are: a header with
 * id, lower, upper, size in any order, half-open lives. Two more columns are optional: alignment
 * (empty: 1) and fixed, an offset that is given (empty: none). Others are kept and not looked at,
 * but gaps and hints of a block are refused. */
#ifndef FVM_MEM_CSV_H
#define FVM_MEM_CSV_H

#include "mem.h"

struct mem_csv {
  VEC(struct mem_block) block;
  struct csv_row { /* the line as it stands, less its end */
    const char *text;
    size_t n;
  } header;
  VEC(struct csv_row) row; /* of each block */
};
/* The text must outlive *f, which is the caller's to free, also when this fails. What is wrong is
 * FVM_EFORMAT with the line. */
enum fvm_status mem_csv_read(const char *text, size_t n, struct mem_csv *f, struct fvm_error *err);
/* The same rows with a column for the offset. */
void mem_csv_print(const struct mem_csv *f, struct text *out);
void mem_csv_free(struct mem_csv *f);

#endif
