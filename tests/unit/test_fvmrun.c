/* fvmrun as a user meets it: output, files, messages, exit statuses. Runs ./fvmrun on the small
 * plan of mkplan.h in a folder of its own. */
#include "unit.h"

#include <sys/wait.h>
#include <unistd.h>

#include "../../vm/npy.h"
#include "mkplan.h"

#define DIR "test_fvmrun.tmp"

static char out[16384], err_text[16384];

static void slurp(const char *path, char *to, size_t cap) {
  FILE *f = fopen(path, "rb");
  ck_assert_ptr_nonnull(f);
  to[fread(to, 1, cap - 1, f)] = 0;
  fclose(f);
}

/* Run with these arguments; returns the exit status, leaves stdout and stderr in out, err_text. */
static int fvmrun(const char *args) {
  char command[1024];
  snprintf(command, sizeof command, "./fvmrun %s >" DIR "/out 2>" DIR "/err", args);
  int st = system(command);
  slurp(DIR "/out", out, sizeof out);
  slurp(DIR "/err", err_text, sizeof err_text);
  ck_assert(WIFEXITED(st));
  return WEXITSTATUS(st);
}

/* A failure is one line that says who speaks and holds this text. */
static void fails(const char *args, int status, const char *text) {
  ck_assert_msg(fvmrun(args) == status, "%s: %s", args, err_text);
  ck_assert_msg(strstr(err_text, text) != NULL, "%s: %s", args, err_text);
  ck_assert_int_eq(strncmp(err_text, "fvmrun: ", 8), 0);
  ck_assert_ptr_eq(strchr(err_text, '\n'), err_text + strlen(err_text) - 1);
}

static void write_inputs(int64_t last_index) {
  struct fvm_error err;
  float x[MK_N];
  int64_t i[MK_ROWS] = {0, 1, 2, 3, 4, 5, 99, last_index};
  for (int k = 0; k < MK_N; k++) x[k] = (float)k;
  OK(npy_write(DIR "/x.npy", FVM_F32, 2, (int64_t[]){4, 25}, x, &err));
  OK(npy_write(DIR "/flat.npy", FVM_F32, 1, (int64_t[]){100}, x, &err));
  OK(npy_write(DIR "/i.npy", FVM_I64, 2, (int64_t[]){MK_ROWS, 1}, i, &err));
}

static void write_plan(size_t cut) {
  struct mkplan m;
  mk_small(&m);
  mk_finish(&m);
  FILE *f = fopen(DIR "/plan", "wb");
  ck_assert_ptr_nonnull(f);
  ck_assert_uint_eq(fwrite(m.bytes, 1, m.n - cut, f), m.n - cut);
  fclose(f);
  mk_free(&m);
}

static void set_up(void) {
  ck_assert_int_eq(system("rm -rf " DIR " && mkdir " DIR), 0);
  write_plan(0);
  write_inputs(-1);
}

START_TEST(tells_what_a_plan_is) {
  set_up();
  ck_assert_int_eq(fvmrun(DIR "/plan --info"), 0);
  ck_assert_str_eq(out, "model small\nthreads 3\nsteps 4\narena_bytes 512\nweight_bytes 400\n"
                        "scratch_bytes 192\npredicted_ns 4000\ninput x f32[4,25]\n"
                        "input i i64[8,1]\noutput y/out f32[4,25]\noutput z f32[8,1]\n");
  ck_assert_str_eq(err_text, "");
}
END_TEST

START_TEST(writes_outputs) {
  struct npy y, z;
  struct fvm_error err;
  set_up();
  ck_assert_int_eq(fvmrun(DIR "/plan --input x=" DIR "/x.npy --input=i=" DIR "/i.npy --output " DIR
                              "/new --threads 2"),
                   0);
  ck_assert_str_eq(out, "");
  OK(npy_read(DIR "/new/y_out.npy", &y, &err));
  OK(npy_read(DIR "/new/z.npy", &z, &err));
  ck_assert_int_eq(y.rank, 2);
  ck_assert_int_eq(y.dim[1], 25);
  for (int k = 0; k < MK_N; k++)
    ck_assert_float_eq(((float *)y.data)[k], 2 * (3 * (float)k + (float)k / 2));
  ck_assert_float_eq(((float *)z.data)[7], 2.5f * 99);
  npy_free(&y);
  npy_free(&z);
}
END_TEST

START_TEST(shows_outputs) {
  set_up();
  ck_assert_int_eq(fvmrun(DIR "/plan --input x=" DIR "/x.npy --input i=" DIR "/i.npy"), 0);
  ck_assert_str_eq(out, "y/out f32[4,25] 0 7 14 21 28 35 42 49 ...\n"
                        "z f32[8,1] 0 2.5 5 7.5 10 12.5 247.5 247.5\n");
}
END_TEST

START_TEST(benches) {
  set_up();
  ck_assert_int_eq(fvmrun(DIR "/plan --bench 5"), 0);
  int lines = 0;
  for (char *at = out; *at; lines++) {
    ck_assert_int_gt(strtol(at, &at, 10), 0);
    ck_assert_int_eq(*at++, '\n');
  }
  ck_assert_int_eq(lines, 5);
  ck_assert_str_eq(err_text, "");
}
END_TEST

START_TEST(helps) {
  set_up();
  ck_assert_int_eq(fvmrun("--help"), 0);
  ck_assert_ptr_nonnull(strstr(out, "--input NAME=FILE.npy"));
  ck_assert_int_eq(fvmrun("--version"), 0);
  ck_assert_int_eq(strncmp(out, "fvmrun ", 7), 0);
}
END_TEST

START_TEST(fails_with_a_reason) {
  set_up();
  fails("", 2, "no plan given");
  fails("--bnch 3 " DIR "/plan", 2, "did you mean --bench?");
  fails(DIR "/plan --bench", 2, "--bench needs N");
  fails(DIR "/plan --bench 0", 2, "--bench 0: a number from 1");
  fails(DIR "/plan --threads 65", 2, "1 to 64");
  fails(DIR "/plan --info=1", 2, "takes no value");
  fails(DIR "/plan -x", 2, "unknown option -x");
  fails(DIR "/plan other", 2, "not also other");
  fails(DIR "/plan --input x", 2, "no NAME=FILE");
  fails(DIR "/plan --input a=b", 2, "no input a; the nearest is x");
  fails(DIR "/plan --input x=" DIR "/flat.npy", 3, "holds f32[100], but x is f32[4,25]");
  fails(DIR "/plan --input i=" DIR "/x.npy", 3, "holds f32[4,25], but i is i64[8,1]");
  fails(DIR "/plan --input x=" DIR "/none.npy", 3, DIR "/none.npy: cannot be opened");
  fails(DIR "/plan --input x=" DIR "/plan", 3, DIR "/plan: not a .npy file");
  fails(DIR "/none", 3, DIR "/none: cannot be opened");
  fails(DIR "/x.npy", 3, DIR "/x.npy: not a plan file");
  fails(DIR "/plan --output " DIR "/no/such", 4, "cannot be made");
  write_inputs(100);
  fails(DIR "/plan --input i=" DIR "/i.npy", 1, "step 3 (z = t[i]): an index");
  write_plan(1);
  fails(DIR "/plan", 3, "copy it again");
}
END_TEST

START_TEST(notices_a_full_disk) {
  set_up();
  ck_assert_int_eq(WEXITSTATUS(system("./fvmrun --help >/dev/full 2>" DIR "/err")), 4);
  slurp(DIR "/err", err_text, sizeof err_text);
  ck_assert_ptr_nonnull(strstr(err_text, "standard output"));
  ck_assert_int_eq(system("rm -rf " DIR), 0);
}
END_TEST

UNIT_MAIN("fvmrun", tells_what_a_plan_is, writes_outputs, shows_outputs, benches, helps,
          fails_with_a_reason, notices_a_full_disk)
