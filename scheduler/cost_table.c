/* Costs from a text, for tests. Format: cost.h. */
#include "cost.h"

#include <stdlib.h>
#include <string.h>

struct row {
  const char *prefix;   /* of the label's text; NULL: a conversion */
  enum layout from, to; /* LAYOUT_COUNT: any */
  int64_t ns;
  double error; /* -1: none given */
};
struct table {
  struct cost cost;
  struct arena arena;
  VEC(struct row) row;
};

static const struct row *row_of(const struct cost *c, const struct opcall *call,
                                const struct label *l) {
  const struct table *t = (const struct table *)c;
  struct text text = {0};
  const struct row *r = NULL;
  label_text(call, l, &text);
  for (size_t i = 0; i < t->row.n && !text.failed && !r; i++) {
    const char *p = t->row.v[i].prefix;
    if (p && !strncmp(text.v, p, strlen(p))) r = &t->row.v[i];
  }
  text_free(&text);
  return r;
}

static int64_t table_node(struct cost *c, const struct opcall *call, const struct label *l) {
  const struct row *r = row_of(c, call, l);
  return r ? r->ns : COST_UNKNOWN;
}

static double table_error(struct cost *c, const struct opcall *call, const struct label *l) {
  const struct row *r = row_of(c, call, l);
  return r ? r->error : -1;
}

static int64_t table_convert(struct cost *c, const struct tensor *x, enum layout from,
                             enum layout to, int threads) {
  const struct table *t = (const struct table *)c;
  (void)x, (void)threads;
  for (size_t i = 0; i < t->row.n; i++) {
    const struct row *r = &t->row.v[i];
    if (!r->prefix && (r->from == from || r->from == LAYOUT_COUNT) &&
        (r->to == to || r->to == LAYOUT_COUNT))
      return r->ns;
  }
  return COST_UNKNOWN;
}

static void table_free(struct cost *c) {
  struct table *t = (struct table *)c;
  arena_free(&t->arena);
  VEC_FREE(&t->row);
  fvm_free(t, 1, sizeof *t);
}

static bool parse_layout(const char *s, enum layout *l) {
  *l = layout_parse(s, strlen(s));
  return *l != LAYOUT_COUNT || !strcmp(s, "*");
}

/* "convert FROM TO" in place; false when it is not that. */
static bool parse_convert(char *s, struct row *r) {
  char *save = NULL, *word = strtok_r(s, " ", &save);
  char *from = strtok_r(NULL, " ", &save), *to = strtok_r(NULL, " ", &save);
  return word && from && to && !strtok_r(NULL, " ", &save) && parse_layout(from, &r->from) &&
         parse_layout(to, &r->to);
}

static void cut_spaces(char *line) {
  size_t n = strlen(line);
  while (n && line[n - 1] == ' ') line[--n] = 0;
}

/* Cut "~ERROR" off the end of a line; -1 when it is not there. */
static double parse_error(char *line) {
  char *tilde = strrchr(line, '~'), *end;
  if (!tilde || strchr(tilde, ' ')) return -1;
  double error = strtod(tilde + 1, &end);
  if (*end) return -1;
  *tilde = 0;
  cut_spaces(line);
  return error;
}

/* One line without its newline; NULL arena text: memory is out. */
static enum fvm_status parse_line(struct table *t, char *line, int number, struct fvm_error *err) {
  line[strcspn(line, "#")] = 0;
  cut_spaces(line);
  if (!*line) return FVM_OK;
  double error = parse_error(line);
  char *last = strrchr(line, ' '), *digits = last ? last + 1 : line, *end;
  struct row r = {.ns = strtoll(digits, &end, 10), .error = error};
  if (*end || r.ns < 0)
    return fvm_fail(err, FVM_EFORMAT, "cost table line %d does not end in a number", number);
  *(last ? last : line) = 0;
  if (!strncmp(line, "convert ", 8) && !strchr(line, '=')) {
    if (!parse_convert(line, &r))
      return fvm_fail(err, FVM_EFORMAT, "cost table line %d: want convert FROM TO NS", number);
  } else {
    r.prefix = line;
  }
  return VEC_PUSH(&t->row, r) ? FVM_OK : fvm_nomem(err);
}

struct cost *cost_table_new(const char *text, struct fvm_error *err) {
  struct table *t = fvm_alloc(1, sizeof *t);
  char *line = t ? arena_strdup(&t->arena, text) : NULL;
  enum fvm_status st = line ? FVM_OK : fvm_nomem(err);
  for (int number = 1; !st && *line; number++) {
    size_t n = strcspn(line, "\n");
    char *next = line + n + (line[n] == '\n');
    line[n] = 0;
    st = parse_line(t, line, number, err);
    line = next;
  }
  if (t) {
    t->cost.node = table_node;
    t->cost.convert = table_convert;
    t->cost.error = table_error;
    t->cost.free = table_free;
    t->cost.name = "table";
    if (st) table_free(&t->cost);
  }
  return st ? NULL : &t->cost;
}
