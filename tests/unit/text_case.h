/* Test cases that are text files: comment lines on top say what is tested. */
#ifndef FVM_TEXT_CASE_H
#define FVM_TEXT_CASE_H

#include "unit.h"

#include <dirent.h>
#include <string.h>

/* Folder of the sources: automake's srcdir, or the working directory. */
static inline const char *source_dir(void) {
  const char *s = getenv("srcdir");
  return s ? s : ".";
}

static inline char *read_text(struct arena *a, const char *path, size_t *size) {
  FILE *f = fopen(path, "rb");
  ck_assert_msg(f != NULL, "%s", path);
  fseek(f, 0, SEEK_END);
  long n = ftell(f);
  rewind(f);
  char *p = arena_alloc(a, (size_t)n + 1, 1);
  ck_assert_uint_eq(fread(p, 1, (size_t)n, f), (size_t)n);
  fclose(f);
  if (size) *size = (size_t)n;
  return p;
}

static inline int text_order(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Paths of all files of a folder that end so, sorted; NULL after the last. */
static inline char **files_in(struct arena *a, const char *folder, const char *end) {
  enum { MAX_FILES = 500 };
  char **path = ARENA_NEW(a, char *, MAX_FILES);
  const char *dir = arena_printf(a, "%s/%s", source_dir(), folder);
  DIR *d = opendir(dir);
  int n = 0;
  ck_assert_msg(d != NULL, "%s", dir);
  for (const struct dirent *e; (e = readdir(d)) != NULL;) {
    size_t len = strlen(e->d_name), tail = strlen(end);
    if (len > tail && !strcmp(e->d_name + len - tail, end) && n < MAX_FILES - 1)
      path[n++] = arena_printf(a, "%s/%s", dir, e->d_name);
  }
  closedir(d);
  ck_assert_int_gt(n, 0);
  qsort(path, (size_t)n, sizeof *path, text_order);
  return path;
}

/* Cut the next line off a text; NULL at the end. */
static inline char *next_line(char **text) {
  char *line = *text;
  if (!*line) return NULL;
  char *end = line + strcspn(line, "\n");
  *text = *end ? end + 1 : end;
  *end = 0;
  return line;
}

#endif
