/* vm/npy: arrays round-trip; files that are not sound are errors that say so. */
#include "unit.h"

#include <string.h>
#include <unistd.h>

#include "../../vm/npy.h"

static char path[] = "test_npy.tmp";

static void put_file(const void *p, size_t n) {
  FILE *f = fopen(path, "wb");
  ck_assert_ptr_nonnull(f);
  ck_assert_uint_eq(fwrite(p, 1, n, f), n);
  fclose(f);
}

/* A version 1 file with this header and that many bytes of data. */
static void put_npy(const char *header, size_t data) {
  char all[4096] = "\x93NUMPY\x01";
  size_t n = strlen(header);
  all[8] = (char)n;
  all[9] = (char)(n >> 8);
  memcpy(all + 10, header, n);
  put_file(all, 10 + n + data);
}

START_TEST(round_trip) {
  struct fvm_error err;
  int64_t dim[FVM_MAXRANK] = {2, 3, 1, 2, 1, 1, 1, 2};
  unsigned char data[192], made[192];
  for (size_t i = 0; i < sizeof data; i++) data[i] = (unsigned char)(i * 37);
  for (int d = 1; d < FVM_DTYPES; d++)
    for (int rank = 0; rank <= FVM_MAXRANK; rank++) {
      struct npy a;
      OK(npy_write(path, (enum fvm_dtype)d, rank, dim, data, &err));
      OK(npy_read(path, &a, &err));
      ck_assert_int_eq(a.dtype, d);
      ck_assert_int_eq(a.rank, rank);
      ck_assert_int_eq(memcmp(a.dim, dim, (size_t)rank * sizeof *dim), 0);
      ck_assert_int_eq(memcmp(a.data, data, a.bytes), 0);
      struct fvm_io io = {.name = "io", .dtype = a.dtype, .rank = rank, .bytes = a.bytes};
      memcpy(io.dim, dim, sizeof dim);
      OK(npy_read_io(path, &io, made, &err));
      ck_assert_int_eq(memcmp(made, data, a.bytes), 0);
      npy_free(&a);
    }
  unlink(path);
}
END_TEST

/* The bytes that numpy.save writes for np.arange(3, dtype='<i4'). */
START_TEST(same_bytes_as_numpy) {
  struct fvm_error err;
  char want[128], got[256];
  memset(want, ' ', sizeof want);
  memcpy(want, "\x93NUMPY\x01\0v\0", 10);
  memcpy(want + 10, "{'descr': '<i4', 'fortran_order': False, 'shape': (3,), }", 57);
  want[127] = '\n';
  OK(npy_write(path, FVM_I32, 1, (int64_t[]){3}, (int32_t[]){0, 1, 2}, &err));
  FILE *f = fopen(path, "rb");
  size_t n = fread(got, 1, sizeof got, f);
  fclose(f);
  ck_assert_uint_eq(n, sizeof want + 12);
  ck_assert_int_eq(memcmp(want, got, sizeof want), 0);
  unlink(path);
}
END_TEST

START_TEST(not_sound) {
  static const struct {
    const char *header, *text;
    size_t data;
    enum fvm_status st;
  } row[] = {
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", "", 8, FVM_OK},
      {"{'shape':(2, 1), 'descr' : '<f4'}", "", 8, FVM_OK},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", "7 bytes of data", 7,
       FVM_EFORMAT},
      {"{'descr': '>f4', 'fortran_order': False, 'shape': (2,)}", "'>f4'", 8, FVM_EUNSUPPORTED},
      {"{'descr': '<f4', 'fortran_order': True, 'shape': (1,2)}", "Fortran", 8, FVM_EUNSUPPORTED},
      {"{'descr': '<f4', 'fortran_order': False}", "no 'shape'", 8, FVM_EFORMAT},
      {"{'descr': [('a', '<f4')], 'shape': (2,)}", "no 'descr'", 8, FVM_EFORMAT},
      {"{'descr': '<f4', 'shape': (-2,)}", "shape", 8, FVM_EFORMAT},
      {"{'descr': '<f4', 'shape': (2", "shape", 8, FVM_EFORMAT},
      {"{'descr': '<f4', 'shape': (99999999999999999999,)}", "shape", 8, FVM_EFORMAT},
      {"{'descr': '<f4', 'shape': (4294967296, 4294967296)}", "shape", 8, FVM_EFORMAT},
      {"{'descr': '<f4', 'shape': (1,1,1,1,1,1,1,1,2)}", "shape", 8, FVM_EFORMAT},
      {"", "no 'descr'", 0, FVM_EFORMAT},
  };
  for (size_t i = 0; i < COUNT(row); i++) {
    struct npy a;
    struct fvm_error err = {FVM_OK, ""};
    put_npy(row[i].header, row[i].data);
    ck_assert_msg(npy_read(path, &a, &err) == row[i].st, "%s: %s", row[i].header, err.text);
    ck_assert_msg(strstr(err.text, row[i].text) != NULL, "%s: %s", row[i].header, err.text);
    npy_free(&a);
  }
  unlink(path);
}
END_TEST

START_TEST(every_length) {
  struct fvm_error err;
  struct npy a;
  char all[256];
  OK(npy_write(path, FVM_F32, 2, (int64_t[]){2, 3}, (float[6]){0}, &err));
  FILE *f = fopen(path, "rb");
  size_t n = fread(all, 1, sizeof all, f);
  fclose(f);
  for (size_t cut = 0; cut < n; cut++) {
    put_file(all, cut);
    ck_assert_int_eq(npy_read(path, &a, &err), FVM_EFORMAT);
    ck_assert_ptr_nonnull(strstr(err.text, path));
  }
  unlink(path);
  ck_assert_int_eq(npy_read(path, &a, &err), FVM_EFORMAT);
  ck_assert_int_eq(npy_read(".", &a, &err), FVM_EFORMAT);
}
END_TEST

START_TEST(wrong_type_says_both) {
  struct fvm_error err;
  float data[6] = {0};
  struct fvm_io io = {.name = "x", .dtype = FVM_F32, .rank = 2, .dim = {3, 2}, .bytes = 24};
  OK(npy_write(path, FVM_F32, 2, (int64_t[]){2, 3}, data, &err));
  ck_assert_int_eq(npy_read_io(path, &io, data, &err), FVM_EFORMAT);
  ck_assert_str_eq(err.text, "test_npy.tmp: holds f32[2,3], but x is f32[3,2]");
  unlink(path);
}
END_TEST

START_TEST(full_disk) {
  struct fvm_error err;
  ck_assert_int_eq(npy_write("/dev/full", FVM_F32, 0, NULL, &(float){1}, &err), FVM_EIO);
  ck_assert_int_eq(npy_write("no/such/folder", FVM_F32, 0, NULL, &(float){1}, &err), FVM_EIO);
}
END_TEST

START_TEST(file_names) {
  struct fvm_error err;
  char to[NPY_PATH], longer[300];
  OK(npy_path("out", "a/b:0.x-y_z", to, &err));
  ck_assert_str_eq(to, "out/a_b_0.x-y_z.npy");
  OK(npy_path(".", "../../etc", to, &err));
  ck_assert_str_eq(to, "./_._.._etc.npy");
  memset(longer, 'x', sizeof longer - 1);
  longer[sizeof longer - 1] = 0;
  ck_assert_int_eq(npy_path(".", longer, to, &err), FVM_EFAIL);
}
END_TEST

START_TEST(made_inputs) {
  enum { N = 20000 };
  static float x[N], again[N], other[N];
  static int64_t k[N];
  unsigned char b[5] = {0};
  npy_make(0, FVM_F32, sizeof x, x);
  npy_make(0, FVM_F32, sizeof again, again);
  npy_make(1, FVM_F32, sizeof other, other);
  npy_make(1, FVM_I64, sizeof k, k);
  npy_make(2, FVM_BOOL, sizeof b, b);
  ck_assert_int_eq(memcmp(x, again, sizeof x), 0);
  ck_assert_int_ne(memcmp(x, other, sizeof x), 0);
  double sum = 0, squares = 0, ones = 0;
  for (int i = 0; i < N; i++) {
    sum += x[i];
    squares += x[i] * x[i];
    ck_assert_int_ge(k[i], 0);
    ck_assert_int_le(k[i], 1);
    ones += (double)k[i];
  }
  ck_assert_double_eq_tol(sum / N, 0, 0.03);
  ck_assert_double_eq_tol(squares / N, 1, 0.05);
  ck_assert_double_eq_tol(ones / N, 0.5, 0.02);
  for (int i = 0; i < 5; i++) ck_assert_uint_eq(b[i], 1);
}
END_TEST

UNIT_MAIN("npy", round_trip, same_bytes_as_numpy, not_sound, every_length, wrong_type_says_both,
          full_disk, file_names, made_inputs)
