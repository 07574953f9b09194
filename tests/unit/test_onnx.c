/* scheduler/onnx: what the small models of tests/onnx become, or why they are refused; damaged
 * files; failing memory. The models are made by scripts/mkmodels.py.
 *
 * A case is a file tests/onnx/NAME.txt: comments, then "model FILE [NAME=SIZE ...]", then either
 * the graph as text, or "error STATUS TEXT" without the model's path. */
#include "../../scheduler/graph.h"
#include "text_case.h"

#include <unistd.h>

struct test_case {
  const char *path, *model, *folder;
  struct dim_binding dim[8];
  int ndim;
  char *expected;
};

static struct test_case read_case(struct arena *a, const char *path) {
  struct test_case c = {.path = path};
  char *text = read_text(a, path, NULL), *line;
  while ((line = next_line(&text)) != NULL && *line == '#') {
  }
  ck_assert_msg(line && !strncmp(line, "model ", 6), "%s: no model", path);
  char *save, *word = strtok_r(line + 6, " ", &save);
  c.folder = arena_printf(a, "%.*s", (int)(strrchr(path, '/') - path), path);
  c.model = arena_printf(a, "%s/%s", c.folder, word);
  while ((word = strtok_r(NULL, " ", &save)) != NULL) {
    char *eq = strchr(word, '=');
    *eq = 0;
    c.dim[c.ndim++] = (struct dim_binding){word, atoll(eq + 1)};
  }
  c.expected = text;
  return c;
}

/* The graph or the error as text, the latter without the path of the folder. */
static void outcome(const struct test_case *c, struct text *out) {
  struct graph *g = NULL;
  struct fvm_error err;
  enum fvm_status st = onnx_import(c->model, c->dim, c->ndim, &g, &err);
  if (st == FVM_OK) {
    OK(graph_dump(g, out));
    graph_free(g);
    return;
  }
  ck_assert_int_eq(st, err.code);
  ck_assert_ptr_null(g);
  ck_assert_ptr_null(strchr(err.text, '\n'));
  ck_assert_uint_lt(strlen(err.text), sizeof err.text - 1);
  text_printf(out, "error %d ", fvm_exit_status(st));
  size_t n = strlen(c->folder);
  for (const char *p = err.text; *p;)
    if (!strncmp(p, c->folder, n) && p[n] == '/')
      p += n + 1;
    else
      text_printf(out, "%c", *p++);
  text_printf(out, "\n");
}

START_TEST(cases) {
  struct arena a = {0};
  for (char **path = files_in(&a, "tests/onnx", ".txt"); *path; path++) {
    struct test_case c = read_case(&a, *path);
    struct text out = {0};
    outcome(&c, &out);
    ck_assert_msg(!strcmp(out.v, c.expected), "%s\nexpected:\n%s\ngot:\n%s", c.path, c.expected,
                  out.v);
    text_free(&out);
  }
  arena_free(&a);
}
END_TEST

/* Every model is the subject of a case. */
START_TEST(no_model_without_case) {
  struct arena a = {0};
  for (char **path = files_in(&a, "tests/onnx", ".onnx"); *path; path++) {
    const char *model = strrchr(*path, '/') + 1;
    bool found = false;
    for (char **text = files_in(&a, "tests/onnx", ".txt"); *text && !found; text++)
      found = !strcmp(strrchr(read_case(&a, *text).model, '/') + 1, model);
    ck_assert_msg(found, "no case for %s", model);
  }
  arena_free(&a);
}
END_TEST

/* ---- damage ---- */

static const char *write_temporary(const char *bytes, size_t n) {
  static char path[] = "test_onnx.XXXXXX";
  strcpy(path, "test_onnx.XXXXXX");
  int fd = mkstemp(path);
  ck_assert_int_ge(fd, 0);
  ck_assert_int_eq((int)write(fd, bytes, n), (int)n);
  close(fd);
  return path;
}

/* Import must not crash; what it refuses it explains, what it accepts is sound. */
static bool import_damaged(const char *bytes, size_t n) {
  struct graph *g;
  struct fvm_error err = {0};
  const char *path = write_temporary(bytes, n);
  enum fvm_status st = onnx_import(path, NULL, 0, &g, &err);
  unlink(path);
  if (st == FVM_OK) {
    OK(graph_check(g, false, &err));
    graph_free(g);
    return true;
  }
  ck_assert_int_eq(st, err.code);
  ck_assert_ptr_nonnull(strstr(err.text, path));
  return false;
}

static const char *const damaged[] = {"first", "attributes", "raw", "constants", "subgraph"};

START_TEST(truncated_everywhere) {
  for (size_t i = 0; i < COUNT(damaged); i++) {
    struct arena a = {0};
    size_t n, accepted = 0;
    char *bytes =
        read_text(&a, arena_printf(&a, "%s/tests/onnx/%s.onnx", source_dir(), damaged[i]), &n);
    for (size_t k = 0; k < n; k++) accepted += import_damaged(bytes, k);
    /* At most the model's last fields can be missing without harm. */
    ck_assert_uint_le(accepted, 2);
    arena_free(&a);
  }
}
END_TEST

START_TEST(every_bit_flipped) {
  for (size_t i = 0; i < COUNT(damaged); i++) {
    struct arena a = {0};
    size_t n;
    char *bytes =
        read_text(&a, arena_printf(&a, "%s/tests/onnx/%s.onnx", source_dir(), damaged[i]), &n);
    for (size_t k = 0; k < 8 * n; k++) {
      bytes[k / 8] = (char)(bytes[k / 8] ^ 1 << k % 8);
      import_damaged(bytes, n);
      bytes[k / 8] = (char)(bytes[k / 8] ^ 1 << k % 8);
    }
    arena_free(&a);
  }
}
END_TEST

/* The n-th allocation fails, for every n: an error, and nothing is lost. */
START_TEST(memory_runs_out) {
  struct arena a = {0};
  const char *const names[] = {"attributes", "external", "constants", "unsupported"};
  for (size_t i = 0; i < COUNT(names); i++) {
    const char *path = arena_printf(&a, "%s/tests/onnx/%s.onnx", source_dir(), names[i]);
    size_t before = fvm_bytes_in_use();
    enum fvm_status st = FVM_ENOMEM;
    for (long n = 1; st == FVM_ENOMEM; n++) {
      struct graph *g = NULL;
      struct fvm_error err;
      fvm_fail_alloc(n);
      st = onnx_import(path, NULL, 0, &g, &err);
      fvm_fail_alloc(0);
      graph_free(g);
      ck_assert_uint_eq(fvm_bytes_in_use(), before);
    }
    ck_assert_int_eq(st, i < 3 ? FVM_OK : FVM_EUNSUPPORTED);
  }
  arena_free(&a);
}
END_TEST

START_TEST(tensor_file) {
  struct arena a = {0};
  struct tensor t;
  struct fvm_error err;
  const char *name;
  const char *path = arena_printf(&a, "%s/tests/onnx/tensor.pb", source_dir());
  OK(onnx_read_tensor(path, &a, &t, &name, &err));
  ck_assert_str_eq(name, "t");
  ck_assert_int_eq(t.dtype, FVM_I64);
  ck_assert_int_eq(t.rank, 2);
  ck_assert_int_eq(((const int64_t *)t.data)[3], 4);
  ck_assert_int_eq(onnx_read_tensor("there is none", &a, &t, &name, &err), FVM_EFORMAT);
  ck_assert_ptr_nonnull(strstr(err.text, "there is none"));
  arena_free(&a);
}
END_TEST

UNIT_MAIN("onnx", cases, no_model_without_case, truncated_everywhere, every_bit_flipped,
          memory_runs_out, tensor_file)
