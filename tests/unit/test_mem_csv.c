/* scheduler/mem_csv.h: blocks from files, and what is said of files that are wrong. */
#include "unit.h"

#include <string.h>

#include "../../scheduler/mem_csv.h"

static void refused(enum fvm_status want, const char *text, const char *what) {
  struct mem_csv f = {0};
  struct fvm_error err = {0};
  enum fvm_status st = mem_csv_read(text, strlen(text), &f, &err);
  ck_assert_msg(st == want, "status %d of: %s", st, text);
  ck_assert_msg(strstr(err.text, what) != NULL, "'%s' lacks '%s'", err.text, what);
  mem_csv_free(&f);
}

static void block_is(const struct mem_block *b, int first, int last, int64_t bytes, int64_t align) {
  ck_assert_int_eq(b->first, first);
  ck_assert_int_eq(b->last, last);
  ck_assert_int_eq(b->bytes, bytes);
  ck_assert_int_eq(b->align, align);
}

/* Columns in another order, one of another kind, blanks, quotes, empty lines, a line end of DOS. */
START_TEST(reads_columns_by_name) {
  static const char text[] = "\xEF\xBB\xBFsize, upper,id,note,lower,alignment\r\n"
                             "64,9,a,x,-3,32\r\n\n"
                             " 8 , 20 ,\"b,c\",,9,\r\n"
                             "0,20,d,,-3,";
  struct mem_csv f = {0};
  struct fvm_error err;
  struct text out = {0};
  OK(mem_csv_read(text, strlen(text), &f, &err));
  ck_assert_uint_eq(f.block.n, 3);
  block_is(&f.block.v[0], 0, 0, 64, 32);
  block_is(&f.block.v[1], 1, 1, 8, 1);
  block_is(&f.block.v[2], 0, 1, 0, 1);
  f.block.v[1].offset = 7;
  mem_csv_print(&f, &out);
  ck_assert_str_eq(out.v, "size, upper,id,note,lower,alignment,offset\n64,9,a,x,-3,32,0\n"
                          " 8 , 20 ,\"b,c\",,9,,7\n0,20,d,,-3,,0\n");
  text_free(&out);
  mem_csv_free(&f);
}
END_TEST

START_TEST(reads_fixed_and_huge) {
  static const char text[] = "id,lower,upper,size,fixed\n"
                             "a,-9223372036854775807,9223372036854775807,4611686018427387904,0\n"
                             "b,0,1,3,4611686018427387904\nc,2,3,4,\n";
  struct mem_csv f = {0};
  struct fvm_error err;
  struct mem_result r;
  OK(mem_csv_read(text, strlen(text), &f, &err));
  ck_assert(f.block.v[0].fixed && f.block.v[1].fixed && !f.block.v[2].fixed);
  OK(mem_solve(f.block.v, 3, &(struct mem_limits){.ticks = 1000}, &r, &err));
  ck_assert_int_eq(f.block.v[2].offset, (int64_t)1 << 62);
  ck_assert_int_eq(r.bytes, ((int64_t)1 << 62) + 4);
  ck_assert_int_eq(r.status, MEM_OPTIMAL);
  mem_csv_free(&f);
}
END_TEST

START_TEST(says_what_is_wrong) {
  static const char head[] = "id,lower,upper,size\n";
  refused(FVM_EFORMAT, "", "the file is empty");
  refused(FVM_EFORMAT, "\n \n", "the file is empty");
  refused(FVM_EFORMAT, "id,lower,size\na,1,2\n", "line 1: the header lacks the column 'upper'");
  refused(FVM_EFORMAT, "id,lower,upper,size,size\n", "'size' is there twice");
  refused(FVM_EFORMAT, "id,lower,upper,size,offset\n", "remove it");
  static const struct {
    const char *row, *what;
  } rows[] = {
      {"a,0,1\n", "line 2: 3 fields, but the header has 4"},
      {"a,0,1,2,3\n", "5 fields"},
      {"a,0,1,4\nb,x,1,4\n", "line 3: lower is 'x', not an integer"},
      {"a,0,,4\n", "upper is ''"},
      {"a,0,1,1.5\n", "size is '1.5'"},
      {"a,0,1,9223372036854775808\n", "not an integer of 64 bits"},
      {"a,0,1,-1\n", "size is -1; it cannot be below 0"},
      {"a,3,3,1\n", "upper must be greater"},
      {"a,4,3,1\n", "upper must be greater"},
  };
  for (size_t i = 0; i < COUNT(rows); i++) {
    struct text t = {0};
    text_printf(&t, "%s%s", head, rows[i].row);
    refused(FVM_EFORMAT, t.v, rows[i].what);
    text_free(&t);
  }
  refused(FVM_EFORMAT, "id,lower,upper,size,alignment\na,0,1,1,0\n", "alignment is 0");
  refused(FVM_EUNSUPPORTED, "id,lower,upper,size,gaps\na,0,9,1,3-4\n", "line 2: gaps");
}
END_TEST

/* Changes of a good file: an error with its line, or a packing. */
START_TEST(survives_any_change) {
  static const char good[] = "id,lower,upper,size,alignment,fixed\n"
                             "a,0,4,16,4,\nb,2,9,8,1,\nc,3,5,4,8,32\nd,5,9,1,1,\n";
  static const char chars[] = "0123456789,,,\n\n\r\"-+ ax\t\xff";
  uint64_t rng = 1;
  int read = 0;
  for (int round = 0; round < 20000; round++) {
    char text[sizeof good + 8];
    size_t n = strlen(good);
    struct mem_csv f = {0};
    struct fvm_error err = {0};
    struct mem_result r;
    memcpy(text, good, n);
    for (int k = 0; k < 1 + round % 4; k++) {
      rng = rng * 6364136223846793005u + 1442695040888963407u;
      size_t at = (size_t)(rng >> 33) % n;
      char c = chars[(rng >> 20) % (sizeof chars - 1)];
      if (rng >> 18 & 1 || n + 1 == sizeof text) {
        text[at] = c;
      } else {
        memmove(text + at + 1, text + at, n - at);
        text[at] = c, n++;
      }
    }
    if (round % 7 == 0) n = (size_t)(rng >> 40) % n;
    enum fvm_status st = mem_csv_read(text, n, &f, &err);
    read += st == FVM_OK;
    if (st)
      ck_assert(strncmp(err.text, "line ", 5) == 0);
    else if (!mem_solve(f.block.v, (int)f.block.n, &(struct mem_limits){.ticks = 500}, &r, &err))
      ck_assert_int_le(r.bound, r.bytes);
    mem_csv_free(&f);
  }
  ck_assert_int_gt(read, 1000);
}
END_TEST

UNIT_MAIN("mem_csv", reads_columns_by_name, reads_fixed_and_huge, says_what_is_wrong,
          survives_any_change)
