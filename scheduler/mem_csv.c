/* Blocks from CSV. Contract: mem_csv.h. */
#include "mem_csv.h"

#include <stdlib.h>
#include <string.h>

/* name of a column, must be there */
#define COLUMNS(C)                                                                                 \
  C(id, true)                                                                                      \
  C(lower, true)                                                                                   \
  C(upper, true)                                                                                   \
  C(size, true)                                                                                    \
  C(alignment, false)                                                                              \
  C(fixed, false)                                                                                  \
  C(gaps, false)                                                                                   \
  C(hint, false)                                                                                   \
  C(offset, false)
enum column {
#define ROW(name, must) COL_##name,
  COLUMNS(ROW)
#undef ROW
      COLUMN_COUNT
};
static const struct {
  const char *name;
  bool must;
} columns[] = {
#define ROW(name, must) {#name, must},
    COLUMNS(ROW)
#undef ROW
};

enum { MAX_FIELDS = 256 };
struct scan {
  const char *at, *end;
  int64_t line;
  int where[COLUMN_COUNT]; /* field of a column, -1: none */
  int nfield;              /* of the header */
  VEC(int64_t) time;       /* lower and upper of each block */
  struct fvm_error *err;
};
#define bad(s, ...)                                                                                \
  (fvm_fail((s)->err, FVM_EFORMAT, __VA_ARGS__),                                                   \
   fvm_prefix((s)->err, "line %lld", (long long)(s)->line))

/* ---- lines and fields ---- */

static bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r'; }

static struct csv_row trim(const char *text, size_t n) {
  while (n && is_blank(text[n - 1])) n--;
  while (n && is_blank(*text)) text++, n--;
  return (struct csv_row){text, n};
}

/* The next line that is not empty; false at the end. */
static bool next_line(struct scan *s, struct csv_row *line) {
  while (s->at < s->end) {
    const char *nl = memchr(s->at, '\n', (size_t)(s->end - s->at));
    size_t n = (size_t)((nl ? nl : s->end) - s->at);
    *line = (struct csv_row){s->at, n};
    s->at += n + (nl != NULL);
    s->line++;
    if (trim(line->text, line->n).n == 0) continue;
    while (line->n && is_blank(line->text[line->n - 1])) line->n--;
    return true;
  }
  return false;
}

/* Fields of a line; commas between quotes are part of a field. -1: too many. */
static int split(struct csv_row line, struct csv_row *field) {
  int n = 0;
  bool quoted = false;
  size_t start = 0;
  for (size_t i = 0; i <= line.n; i++) {
    if (i < line.n && line.text[i] == '"') quoted = !quoted;
    if (i < line.n && (line.text[i] != ',' || quoted)) continue;
    if (n == MAX_FIELDS) return -1;
    field[n++] = trim(line.text + start, i - start);
    start = i + 1;
  }
  return n;
}

static struct csv_row unquote(struct csv_row f) {
  if (f.n >= 2 && f.text[0] == '"' && f.text[f.n - 1] == '"') f.text++, f.n -= 2;
  return f;
}

static int shown(struct csv_row f) { return (int)MIN(f.n, 40); }

/* ---- header ---- */

static enum fvm_status read_header(struct scan *s, struct mem_csv *f) {
  static const char bom[] = "\xEF\xBB\xBF";
  struct csv_row field[MAX_FIELDS];
  if (s->end - s->at >= 3 && memcmp(s->at, bom, 3) == 0) s->at += 3;
  if (!next_line(s, &f->header))
    return bad(s, "the file is empty; its header should be id,lower,upper,size");
  s->nfield = split(f->header, field);
  if (s->nfield < 0) return bad(s, "more than %d columns", (int)MAX_FIELDS);
  for (int c = 0; c < COLUMN_COUNT; c++) s->where[c] = -1;
  for (int i = 0; i < s->nfield; i++) {
    struct csv_row name = unquote(field[i]);
    for (int c = 0; c < COLUMN_COUNT; c++) {
      if (name.n != strlen(columns[c].name) || memcmp(name.text, columns[c].name, name.n) != 0)
        continue;
      if (s->where[c] >= 0) return bad(s, "the column '%s' is there twice", columns[c].name);
      s->where[c] = i;
    }
  }
  for (int c = 0; c < COLUMN_COUNT; c++)
    if (columns[c].must && s->where[c] < 0)
      return bad(s, "the header lacks the column '%s'; it needs id, lower, upper and size",
                 columns[c].name);
  if (s->where[COL_offset] >= 0)
    return bad(s, "there is a column 'offset' already; remove it, or call it 'fixed'");
  return FVM_OK;
}

/* ---- rows ---- */

/* A decimal integer. */
static bool parse(struct csv_row f, int64_t *v) {
  size_t i = 0;
  bool negative = f.n && f.text[0] == '-';
  if (f.n && (f.text[0] == '-' || f.text[0] == '+')) i = 1;
  if (i == f.n) return false;
  for (*v = 0; i < f.n; i++) {
    if (f.text[i] < '0' || f.text[i] > '9') return false;
    if (!fvm_mul(*v, 10, v) || !fvm_add(*v, f.text[i] - '0', v)) return false;
  }
  if (negative) *v = -*v;
  return true;
}

/* The integer of a column, at least lo; `otherwise` when there is no such column or it is empty. */
static enum fvm_status number(struct scan *s, const struct csv_row *field, enum column c,
                              int64_t lo, int64_t otherwise, int64_t *v) {
  struct csv_row f = s->where[c] < 0 ? (struct csv_row){"", 0} : unquote(field[s->where[c]]);
  *v = otherwise;
  if (!f.n && !columns[c].must) return FVM_OK;
  if (!parse(f, v))
    return bad(s, "%s is '%.*s', not an integer of 64 bits", columns[c].name, shown(f), f.text);
  if (*v < lo)
    return bad(s, "%s is %lld; it cannot be below %lld", columns[c].name, (long long)*v,
               (long long)lo);
  return FVM_OK;
}

static enum fvm_status refuse(struct scan *s, const struct csv_row *field, enum column c) {
  if (s->where[c] < 0 || !field[s->where[c]].n) return FVM_OK;
  fvm_fail(s->err, FVM_EUNSUPPORTED, "%s of a block are not supported; leave the column empty",
           columns[c].name);
  return fvm_prefix(s->err, "line %lld", (long long)s->line);
}

static enum fvm_status read_row(struct scan *s, struct mem_csv *f, struct csv_row line) {
  struct csv_row field[MAX_FIELDS];
  struct mem_block b = {0};
  int64_t lower, upper, fixed;
  int n = split(line, field);
  if (n != s->nfield)
    return bad(s, "%d fields, but the header has %d", n < 0 ? MAX_FIELDS + 1 : n, s->nfield);
  enum fvm_status st = number(s, field, COL_lower, INT64_MIN, 0, &lower);
  if (!st) st = number(s, field, COL_upper, INT64_MIN, 0, &upper);
  if (!st) st = number(s, field, COL_size, 0, 0, &b.bytes);
  if (!st) st = number(s, field, COL_alignment, 1, 1, &b.align);
  if (!st) st = number(s, field, COL_fixed, 0, -1, &fixed);
  if (!st) st = refuse(s, field, COL_gaps);
  if (!st) st = refuse(s, field, COL_hint);
  if (st) return st;
  if (lower >= upper)
    return bad(s, "lower is %lld and upper %lld: the life is half-open, so upper must be greater",
               (long long)lower, (long long)upper);
  b.fixed = fixed >= 0;
  b.offset = b.fixed ? fixed : 0;
  if (f->block.n == INT32_MAX / 2) return bad(s, "more blocks than %d", INT32_MAX / 2);
  bool ok = VEC_PUSH(&f->block, b) && VEC_PUSH(&f->row, line) && VEC_PUSH(&s->time, lower) &&
            VEC_PUSH(&s->time, upper);
  return ok ? FVM_OK : fvm_nomem(s->err);
}

/* ---- times ---- */

static int by_value(const void *x, const void *y) {
  int64_t a = *(const int64_t *)x, b = *(const int64_t *)y;
  return a < b ? -1 : a > b;
}
static int rank_of(const int64_t *v, size_t n, int64_t x) {
  size_t lo = 0;
  for (size_t hi = n; lo < hi;) {
    size_t mid = (lo + hi) / 2;
    if (v[mid] < x)
      lo = mid + 1;
    else
      hi = mid;
  }
  return (int)lo;
}

/* Lives count the distinct times of the file. */
static enum fvm_status rank_times(const struct scan *s, struct mem_csv *f) {
  struct arena a = {0};
  size_t n = 0;
  int64_t *sorted = ARENA_NEW(&a, int64_t, s->time.n);
  if (sorted && s->time.n) {
    memcpy(sorted, s->time.v, s->time.n * sizeof *sorted);
    qsort(sorted, s->time.n, sizeof *sorted, by_value);
    for (size_t i = 0; i < s->time.n; i++)
      if (!n || sorted[n - 1] != sorted[i]) sorted[n++] = sorted[i];
  }
  for (size_t i = 0; i < f->block.n && sorted && s->time.v; i++) {
    f->block.v[i].first = rank_of(sorted, n, s->time.v[2 * i]);
    f->block.v[i].last = rank_of(sorted, n, s->time.v[2 * i + 1]) - 1;
  }
  arena_free(&a);
  return sorted ? FVM_OK : fvm_nomem(s->err);
}

enum fvm_status mem_csv_read(const char *text, size_t n, struct mem_csv *f, struct fvm_error *err) {
  struct scan s = {.at = text, .end = text + n, .err = err};
  struct csv_row line;
  enum fvm_status st = read_header(&s, f);
  while (!st && next_line(&s, &line)) st = read_row(&s, f, line);
  if (!st) st = rank_times(&s, f);
  VEC_FREE(&s.time);
  return st;
}

void mem_csv_print(const struct mem_csv *f, struct text *out) {
  text_printf(out, "%.*s,offset\n", (int)f->header.n, f->header.text);
  for (size_t i = 0; i < f->row.n; i++)
    text_printf(out, "%.*s,%lld\n", (int)f->row.v[i].n, f->row.v[i].text,
                (long long)f->block.v[i].offset);
}

void mem_csv_free(struct mem_csv *f) {
  VEC_FREE(&f->block);
  VEC_FREE(&f->row);
}
