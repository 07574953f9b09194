/* Runs the text tests of this folder: each .fvm file is a program and says in `#?` lines what is to
 * happen with it.
 *
 *   #? parse error TEXT      the assembler's message contains TEXT
 *   #? verify ok             (also implied by `expect`)
 *   #? verify error TEXT     the verifier's message contains TEXT
 *   #? alias 0 1 0           for the verifier: buffers with equal numbers are the same memory
 *   #? data B f32 1 2 3      what buffer B holds at first; the rest is 0xee bytes
 *   #? expect B f32 1 _ 3    what it holds at the end, from its start on; _: untouched
 *   #? result 1              what the run returns (an index out of range); otherwise 0
 *
 * Programs with `expect` run on 1, 2 and 3 threads. Arguments: files; none: all of this folder. */
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../kernels/ukr.h"
#include "../../vm/asm.h"
#include "../../vm/interp.h"
#include "../../vm/verify.h"

enum { THREADS = 3, UNTOUCHED = 0xee, MAX_FILES = 512, MAX_TEXT = 1 << 16 };

struct test {
  const char *path;
  char *text; /* with all directives in it */
  const char *parse_error, *verify_error;
  bool runs, bad;
  int result, nalias, alias[CODE_MAXBUF];
};

static void complain(struct test *t, const char *what, const char *detail) {
  printf("%s: %s%s%s\n", t->path, what, *detail ? ": " : "", detail);
  t->bad = true;
}

/* ---- directives: a copy of each line is cut off at its end ----------------------------------- */
typedef void line_fn(struct test *t, char *line, void *arg);

static void each_line(struct test *t, line_fn *fn, void *arg) {
  for (char *s = t->text, *end; *s; s = end + (*end != 0)) {
    char line[4096];
    end = s + strcspn(s, "\n");
    if (strncmp(s, "#? ", 3) != 0 || end - s - 3 >= (long)sizeof line) continue;
    snprintf(line, sizeof line, "%.*s", (int)(end - s - 3), s + 3);
    fn(t, line, arg);
  }
}

/* What follows a prefix, or NULL. */
static const char *after(const char *line, const char *prefix) {
  size_t n = strlen(prefix);
  return strncmp(line, prefix, n) ? NULL : line + n;
}

static void read_directive(struct test *t, char *line, void *arg) {
  const char *s;
  (void)arg;
  if ((s = after(line, "parse error "))) {
    t->parse_error = strdup(s);
  } else if ((s = after(line, "verify error "))) {
    t->verify_error = strdup(s);
  } else if ((s = after(line, "alias "))) {
    for (char *end; t->nalias < CODE_MAXBUF && *s; s = end + strspn(end, " "))
      t->alias[t->nalias++] = (int)strtol(s, &end, 10);
  } else if ((s = after(line, "result "))) {
    t->result = atoi(s);
  } else if (after(line, "expect ")) {
    t->runs = true;
  } else if (!after(line, "data ") && strcmp(line, "verify ok") != 0) {
    complain(t, "unknown directive", line);
  }
}

/* ---- buffers --------------------------------------------------------------------------------- */
struct memory {
  const struct program *p;
  unsigned char *at[CODE_MAXBUF];
  size_t bytes[CODE_MAXBUF];
};

static size_t parse_element(const char *dtype, const char *word, unsigned char out[8]) {
  if (!strcmp(dtype, "f32")) {
    float f = strtof(word, NULL);
    memcpy(out, &f, 4);
    return 4;
  }
  int64_t x = strtoll(word, NULL, 0);
  memcpy(out, &x, 8);
  return fvm_dtype_bytes(fvm_dtype_parse(dtype, strlen(dtype)));
}

/* `B dtype v v v`: write the values, or compare with them. */
static void values(struct test *t, char *s, struct memory *m, bool compare) {
  char *save, *buf = strtok_r(s, " ", &save), *dtype = strtok_r(NULL, " ", &save), *word;
  unsigned long b = buf ? strtoul(buf, NULL, 10) : CODE_MAXBUF;
  if (b >= m->p->nbuf || !dtype) {
    complain(t, "directive without a buffer and a type", s);
    return;
  }
  for (size_t at = 0, i = 0, n; (word = strtok_r(NULL, " ", &save)); at += n, i++) {
    unsigned char want[8];
    n = parse_element(dtype, word, want);
    if (!strcmp(word, "_")) memset(want, UNTOUCHED, sizeof want);
    if (n == 0 || at + n > m->bytes[b]) {
      complain(t, "unknown type or too many values for buffer", buf);
      return;
    }
    if (compare && memcmp(m->at[b] + at, want, n) != 0) {
      char what[120];
      snprintf(what, sizeof what, "buffer %lu, element %zu is not", b, i);
      complain(t, what, word);
    }
    if (!compare) memcpy(m->at[b] + at, want, n);
  }
}

static void set_data(struct test *t, char *line, void *m) {
  if (after(line, "data ")) values(t, line + strlen("data "), m, false);
}
static void compare_data(struct test *t, char *line, void *m) {
  if (after(line, "expect ")) values(t, line + strlen("expect "), m, true);
}

static void run(struct test *t, const struct program *p, struct pool *pool, int threads) {
  struct memory m = {.p = p};
  void *buf[CODE_MAXBUF];
  for (uint32_t i = 0; i < p->nbuf; i++) {
    int64_t copies = p->buf[i].kind == BUF_SCRATCH ? THREADS : 1;
    m.bytes[i] = (size_t)(scratch_stride(p->buf[i].bytes) * copies);
    buf[i] = m.at[i] = aligned_alloc(FVM_ALIGN, MAX(m.bytes[i], FVM_ALIGN));
    if (!buf[i]) abort();
    memset(buf[i], UNTOUCHED, m.bytes[i]);
  }
  each_line(t, set_data, &m);
  struct run r = {p, ukr_table(cpu_isa()), buf};
  if (pool_run(pool, threads, interp_run, &r) != t->result) complain(t, "wrong result", "");
  each_line(t, compare_data, &m);
  for (uint32_t i = 0; i < p->nbuf; i++) free(buf[i]);
}

/* ---- one test -------------------------------------------------------------------------------- */
/* Whether the call went as expected and the test is to go on. */
static bool as_expected(struct test *t, enum fvm_status st, const struct fvm_error *err,
                        const char *want, const char *who) {
  if (st == FVM_OK && want) complain(t, who, "no error, expected one");
  if (st != FVM_OK && (!want || !strstr(err->text, want))) complain(t, who, err->text);
  return st == FVM_OK && !want;
}

static void try_program(struct test *t, struct arena *a, struct pool *pool) {
  struct program p;
  struct fvm_error err = {0};
  enum fvm_status st = asm_parse(t->text, strlen(t->text), a, &p, &err);
  if (!as_expected(t, st, &err, t->parse_error, "assembler")) return;
  if (t->nalias && t->nalias != (int)p.nbuf) complain(t, "one number a buffer", "alias");
  st = verify_program(&p, t->nalias == (int)p.nbuf && t->nalias ? t->alias : NULL, &err);
  if (!as_expected(t, st, &err, t->verify_error, "verifier")) return;
  for (int n = 1; t->runs && n <= THREADS; n++) run(t, &p, pool, n);
}

static bool run_file(const char *path, struct pool *pool) {
  struct test t = {.path = path, .text = calloc(1, MAX_TEXT)};
  FILE *f = fopen(path, "r");
  if (!f || !t.text || fread(t.text, 1, MAX_TEXT - 1, f) == 0) {
    complain(&t, "cannot be read", "");
  } else {
    struct arena a = {0};
    each_line(&t, read_directive, NULL);
    if (!t.bad) try_program(&t, &a, pool);
    arena_free(&a);
  }
  if (f) fclose(f);
  free(t.text);
  free((void *)t.parse_error);
  free((void *)t.verify_error);
  return !t.bad;
}

static int by_name(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

static int list_folder(const char *folder, char **path) {
  DIR *d = opendir(folder);
  int n = 0;
  for (struct dirent *e; d && (e = readdir(d)) && n < MAX_FILES;) {
    size_t len = strlen(e->d_name);
    if (len < 5 || strcmp(e->d_name + len - 4, ".fvm") != 0) continue;
    path[n] = malloc(strlen(folder) + len + 2);
    if (!path[n]) abort();
    sprintf(path[n++], "%s/%s", folder, e->d_name);
  }
  if (d) closedir(d);
  qsort(path, (size_t)n, sizeof *path, by_name);
  return n;
}

int main(int argc, char **argv) {
  char *found[MAX_FILES], **path = argv + 1, folder[4096];
  int n = argc - 1, good = 0;
  struct pool *pool;
  struct fvm_error err;
  const char *srcdir = getenv("srcdir");
  if (pool_new(THREADS, &pool, &err) != FVM_OK) return EXIT_FAILURE;
  if (n == 0) {
    snprintf(folder, sizeof folder, "%s/tests/vm", srcdir ? srcdir : ".");
    n = list_folder(folder, path = found);
  }
  for (int i = 0; i < n; i++) good += run_file(path[i], pool);
  for (int i = 0; path == found && i < n; i++) free(found[i]);
  pool_free(pool);
  printf("%d of %d programs as expected\n", good, n);
  return n > 0 && good == n && fvm_bytes_in_use() == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
