/* The passes: each file tests/graph/NAME.g is a graph, and behind it, as comments between
 * "# >>> expect" and "# <<<", what it is after the pass named by "#? pass". Whatever a pass does,
 * the graph must compute the same: that is checked for each file with the reference operators. */
#include "../../scheduler/graph.h"
#include "text_case.h"

#include <math.h>

static struct graph *load(const char *path, const char *text, const char *pass) {
  struct graph *g = NULL;
  struct fvm_error err = {0};
  ck_assert_msg(graph_parse(text, strlen(text), &g, &err) == FVM_OK, "%s: %s", path, err.text);
  ck_assert_msg(pipeline_run(g, pass, &err) == FVM_OK, "%s: %s", path, err.text);
  return g;
}

static const char *pass_of(struct arena *a, const char *path, const char *text) {
  const char *p = strstr(text, "#? pass ");
  ck_assert_msg(p != NULL, "%s: no pass", path);
  p += strlen("#? pass ");
  return arena_printf(a, "%.*s", (int)strcspn(p, "\n"), p);
}

/* The text of a section without its comment signs. */
static char *section_of(struct arena *a, const char *text, const char *head) {
  const char *p = strstr(text, head);
  struct text out = {0};
  text_printf(&out, "%s", "");
  for (p = p ? strchr(p, '\n') + 1 : ""; *p && strncmp(p, "# <<<", 5) != 0;) {
    size_t n = strcspn(p, "\n");
    text_printf(&out, "%.*s\n", n > 2 ? (int)n - 2 : 0, p + 2);
    p += n + (p[n] != 0);
  }
  char *copy = arena_strdup(a, out.v);
  text_free(&out);
  return copy;
}

START_TEST(texts) {
  struct arena a = {0};
  for (char **path = files_in(&a, "tests/graph", ".g"); *path; path++) {
    char *text = read_text(&a, *path, NULL);
    struct graph *g = load(*path, text, pass_of(&a, *path, text));
    struct text out = {0};
    struct fvm_error err;
    OK(graph_dump(g, &out));
    char *expected = section_of(&a, text, "# >>> expect\n");
    ck_assert_msg(!strcmp(out.v, expected), "%s\nexpected:\n%s\ngot:\n%s", *path, expected, out.v);
    text_free(&out);
    graph_free(g);
  }
  arena_free(&a);
}
END_TEST

/* What the passes note of patterns that nearly matched is in "# >>> misses"; no section, no note.
 */
START_TEST(misses) {
  struct arena a = {0};
  for (char **path = files_in(&a, "tests/graph", ".g"); *path; path++) {
    char *text = read_text(&a, *path, NULL);
    struct graph *g = load(*path, text, pass_of(&a, *path, text));
    struct text out = {0};
    text_printf(&out, "%s", "");
    for (size_t i = 0; i < g->miss.n; i++) {
      const struct miss *m = &g->miss.v[i];
      text_printf(&out, "%s @%s: %s: %s\n", m->op->name, m->node, m->pattern, m->reason);
    }
    char *expected = section_of(&a, text, "# >>> misses\n");
    ck_assert_msg(!strcmp(out.v, expected), "%s\nexpected:\n%s\ngot:\n%s", *path, expected, out.v);
    text_free(&out);
    graph_free(g);
  }
  arena_free(&a);
}
END_TEST

/* parse(dump(g)) is g again; constants above 16 elements lose their values, so not for those. */
START_TEST(round_trip) {
  struct arena a = {0};
  for (char **path = files_in(&a, "tests/graph", ".g"); *path; path++) {
    char *text = read_text(&a, *path, NULL);
    struct graph *g = load(*path, text, pass_of(&a, *path, text)), *again = NULL;
    struct text first = {0}, second = {0};
    struct fvm_error err = {0};
    OK(graph_dump(g, &first));
    OK(graph_parse(first.v, first.n, &again, &err));
    OK(graph_dump(again, &second));
    if (!strstr(first.v, "= #")) ck_assert_str_eq(first.v, second.v);
    text_free(&first);
    text_free(&second);
    graph_free(g);
    graph_free(again);
  }
  arena_free(&a);
}
END_TEST

/* ---- the same results ---- */

static uint64_t random_state;

static uint64_t next_random(void) {
  random_state = random_state * 6364136223846793005u + 1442695040888963407u;
  return random_state >> 33;
}

static void *random_input(struct arena *a, const struct tensor *t) {
  int64_t n = tensor_count(t);
  char *p = arena_alloc(a, (size_t)tensor_bytes(t), 1);
  for (int64_t i = 0; i < n; i++) {
    float f = (float)(next_random() % 2001) / 1000 - 1;
    if (t->dtype == FVM_F32)
      memcpy(p + 4 * i, &f, 4);
    else
      p[(size_t)i * fvm_dtype_bytes(t->dtype)] = (char)(next_random() % 2);
  }
  return p;
}

/* Weights that are zeros, since the text has only their hash, get values. */
static void fill_constants(struct arena *a, struct graph *g) {
  for (size_t i = 0; i < g->tensor.n; i++)
    if (g->tensor.v[i].t.data && tensor_count(&g->tensor.v[i].t) > 16) {
      random_state = i + 1;
      g->tensor.v[i].t.data = random_input(a, &g->tensor.v[i].t);
    }
}

static float **results(struct arena *a, const char *path, char *text, const char *pass) {
  struct graph *g = NULL;
  struct fvm_error err = {0};
  const void *in[8];
  OK(graph_parse(text, strlen(text), &g, &err));
  fill_constants(a, g);
  ck_assert_msg(pipeline_run(g, pass, &err) == FVM_OK, "%s: %s", path, err.text);
  random_state = 1;
  for (size_t i = 0; i < g->input.n; i++) in[i] = random_input(a, &g->tensor.v[g->input.v[i]].t);
  float **out = ARENA_NEW(a, float *, g->output.n + 1);
  for (size_t i = 0; i < g->output.n; i++)
    out[i] = arena_alloc(a, (size_t)tensor_bytes(&g->tensor.v[g->output.v[i]].t), 1);
  ck_assert_msg(graph_reference(g, in, (void *const *)out, &err) == FVM_OK, "%s: %s", path,
                err.text);
  graph_free(g);
  return out;
}

static void compare_after(struct arena *a, const char *path, char *text, const char *pass) {
  struct graph *g = load(path, text, "infer");
  float **before = results(a, path, text, "infer"), **after = results(a, path, text, pass);
  for (size_t i = 0; i < g->output.n; i++) {
    const struct tensor *t = &g->tensor.v[g->output.v[i]].t;
    ck_assert_int_eq(t->dtype, FVM_F32);
    for (int64_t k = 0; k < tensor_count(t); k++) {
      float x = before[i][k], y = after[i][k];
      ck_assert_msg(x == y || (isnan(x) && isnan(y)) || fabsf(x - y) <= 1e-5f * MAX(1, fabsf(x)),
                    "%s: output %zu, element %lld: "
                    "%g before the passes, %g after",
                    path, i, (long long)k, (double)x, (double)y);
    }
  }
  graph_free(g);
}

/* Both forms of the graph: as it is after all passes, and with products merged. */
START_TEST(results_stay) {
  struct arena a = {0};
  for (char **path = files_in(&a, "tests/graph", ".g"); *path; path++) {
    char *text = read_text(&a, *path, NULL);
    compare_after(&a, *path, text, NULL);
    compare_after(&a, *path, text, "merge");
  }
  arena_free(&a);
}
END_TEST

/* ---- failures ---- */

START_TEST(unknown_pass_is_refused) {
  struct graph *g = graph_new();
  struct fvm_error err;
  ck_assert_int_eq(pipeline_run(g, "nonsense", &err), FVM_EUSAGE);
  ck_assert_ptr_nonnull(strstr(err.text, "infer"));
  graph_free(g);
}
END_TEST

START_TEST(memory_runs_out) {
  struct arena a = {0};
  for (char **path = files_in(&a, "tests/graph", ".g"); *path; path++) {
    char *text = read_text(&a, *path, NULL);
    size_t before = fvm_bytes_in_use();
    enum fvm_status st = FVM_ENOMEM;
    for (long n = 1; st == FVM_ENOMEM; n++) {
      struct graph *g = NULL;
      struct fvm_error err;
      fvm_fail_alloc(n);
      st = graph_parse(text, strlen(text), &g, &err);
      if (st == FVM_OK) st = pipeline_run(g, NULL, &err);
      fvm_fail_alloc(0);
      graph_free(g);
      ck_assert_uint_eq(fvm_bytes_in_use(), before);
    }
    ck_assert_msg(st == FVM_OK, "%s: %d", *path, (int)st);
  }
  arena_free(&a);
}
END_TEST

/* Texts cut off or damaged anywhere are refused or sound. */
START_TEST(damaged_text) {
  struct arena a = {0};
  for (char **path = files_in(&a, "tests/graph", ".g"); *path; path++) {
    size_t n;
    char *text = read_text(&a, *path, &n);
    for (size_t i = 0; i < 3 * n; i++) {
      struct graph *g = NULL;
      struct fvm_error err = {0};
      char was = text[i % n];
      if (i >= n) text[i % n] = (char)(was ^ (i < 2 * n ? 1 : 16));
      if (graph_parse(text, i < n ? i : n, &g, &err) == FVM_OK) OK(graph_check(g, false, &err));
      graph_free(g);
      text[i % n] = was;
    }
  }
  arena_free(&a);
}
END_TEST

UNIT_MAIN("passes", texts, misses, round_trip, results_stay, unknown_pass_is_refused,
          memory_runs_out, damaged_text)
