/* Reads the text form of graphs; the form is described in graph_dump.c. */
#include "graph.h"

#include "graph_text.h"
#include "names.h"

#include <stdlib.h>
#include <string.h>

/* Every function leaves the cursor where it stopped and returns false after an error, which is in
 * *err with the line. All text is copied with a NUL behind it, so strtod and friends end there. */
struct parser {
  const char *p;
  int line;
  struct graph *g;
  struct names names;
  struct fvm_error *err;
};

static bool fail(struct parser *s, const char *what) {
  fvm_fail(s->err, FVM_EFORMAT, "line %d: expected %s, found '%.20s'", s->line, what,
           *s->p ? s->p : "the end");
  return false;
}

static bool nomem(struct parser *s) {
  fvm_nomem(s->err);
  return false;
}

static void skip_blanks(struct parser *s) {
  while (*s->p == ' ' || *s->p == '\t') s->p++;
}

/* To the next statement. */
static void skip_lines(struct parser *s) {
  for (;;) {
    skip_blanks(s);
    if (*s->p == '#')
      while (*s->p && *s->p != '\n') s->p++;
    if (*s->p != '\n') return;
    s->p++;
    s->line++;
  }
}

static bool accept(struct parser *s, char c) {
  skip_blanks(s);
  if (*s->p != c) return false;
  s->p++;
  return true;
}

static bool expect(struct parser *s, char c) {
  char what[] = {'\'', c, '\'', 0};
  return accept(s, c) || fail(s, what);
}

static int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One character of a quoted text; -1 at a bad escape or the end of the line. */
static int quoted_char(struct parser *s) {
  if (*s->p == 0 || *s->p == '\n') return -1;
  if (*s->p != '\\') return (unsigned char)*s->p++;
  s->p++;
  if (*s->p == '"' || *s->p == '\\') return *s->p++;
  if (*s->p != 'x' || hex_digit(s->p[1]) < 0 || hex_digit(s->p[2]) < 0) return -1;
  s->p += 3;
  return hex_digit(s->p[-2]) * 16 + hex_digit(s->p[-1]);
}

static bool parse_quoted(struct parser *s, const char **out) {
  if (!expect(s, '"')) return false;
  const char *end = s->p;
  while (*end && *end != '\n' && *end != '"') end += *end == '\\' && end[1] ? 2 : 1;
  char *q = arena_alloc(&s->g->arena, (size_t)(end - s->p) + 1, 1);
  if (!q) return nomem(s);
  *out = q;
  while (*s->p != '"') {
    int c = quoted_char(s);
    if (c <= 0) return fail(s, "the rest of a quoted text");
    *q++ = (char)c;
  }
  s->p++;
  return true;
}

static bool parse_name(struct parser *s, const char **out) {
  skip_blanks(s);
  if (*s->p == '"') return parse_quoted(s, out);
  const char *start = s->p;
  while (GRAPH_NAME_CHAR(*s->p)) s->p++;
  if (s->p == start) return fail(s, "a name");
  char *q = arena_alloc(&s->g->arena, (size_t)(s->p - start) + 1, 1);
  if (!q) return nomem(s);
  memcpy(q, start, (size_t)(s->p - start));
  *out = q;
  return true;
}

static bool parse_int(struct parser *s, int64_t *v) {
  skip_blanks(s);
  char *end;
  *v = strtoll(s->p, &end, 10);
  if (end == s->p) return fail(s, "an integer");
  s->p = end;
  return true;
}

static bool parse_real(struct parser *s, double *v) {
  skip_blanks(s);
  char *end;
  *v = strtod(s->p, &end);
  if (end == s->p) return fail(s, "a number");
  s->p = end;
  return true;
}

static bool parse_small(struct parser *s, int64_t max, int *v) {
  int64_t i;
  if (!parse_int(s, &i)) return false;
  if (i < 0 || i > max) return fail(s, "a smaller number before this");
  *v = (int)i;
  return true;
}

/* ---- types and data ---- */

static bool parse_dtype(struct parser *s, enum fvm_dtype *d) {
  skip_blanks(s);
  size_t n = strspn(s->p, "abcdefghijklmnopqrstuvwxyz0123456789");
  *d = fvm_dtype_parse(s->p, n);
  if (*d == FVM_NONE) return fail(s, "an element type");
  s->p += n;
  return true;
}

static bool parse_type(struct parser *s, struct tensor *t) {
  enum fvm_dtype d;
  int64_t dim[FVM_MAXRANK];
  int rank = 0;
  if (!parse_dtype(s, &d) || !expect(s, '[')) return false;
  while (!accept(s, ']')) {
    if (rank == FVM_MAXRANK) return fail(s, "fewer axes");
    if (rank > 0 && !expect(s, ',')) return false;
    if (!parse_int(s, &dim[rank++])) return false;
  }
  if (tensor_init(t, d, rank, dim, s->err) == FVM_OK) return true;
  fvm_prefix(s->err, "line %d", s->line);
  return false;
}

/* Write v or i as an element; what doesn't fit loses its upper bits. */
static void store(enum fvm_dtype d, void *p, double v, int64_t i) {
  float f = (float)v;
  uint32_t bits;
  uint16_t half = fvm_f32_to_f16(f);
  memcpy(&bits, &f, 4);
  bits >>= 16;
  switch (d) {
  case FVM_F32:
    memcpy(p, &f, 4);
    break;
  case FVM_F64:
    memcpy(p, &v, 8);
    break;
  case FVM_F16:
    memcpy(p, &half, 2);
    break;
  case FVM_BF16:
    memcpy(p, &bits, 2);
    break;
  default:
    memcpy(p, &i, fvm_dtype_bytes(d));
    break;
  }
}

static bool is_real(enum fvm_dtype d) {
  return d == FVM_F32 || d == FVM_F64 || d == FVM_F16 || d == FVM_BF16;
}

static bool parse_element(struct parser *s, enum fvm_dtype d, void *p) {
  double v = 0;
  int64_t i = 0;
  skip_blanks(s);
  if (d == FVM_U64 && *s->p >= '0' && *s->p <= '9') {
    char *end;
    i = (int64_t)strtoull(s->p, &end, 10);
    s->p = end;
  } else if (!(is_real(d) ? parse_real(s, &v) : parse_int(s, &i))) {
    return false;
  }
  store(d, p, v, i);
  return true;
}

/* {1, 2} or a hash, which stands for zeros. */
static bool parse_data(struct parser *s, struct tensor *t) {
  size_t size = fvm_dtype_bytes(t->dtype), n = (size_t)tensor_count(t);
  skip_blanks(s);
  bool hash = *s->p == '#';
  if (!hash && n > GRAPH_TEXT_MAXDATA) return fail(s, "the hash of a large constant");
  char *data = arena_alloc(&s->g->arena, n, size);
  if (!data) return nomem(s);
  t->data = data;
  if (hash) {
    s->p++;
    s->p += strspn(s->p, "0123456789abcdef");
    return true;
  }
  if (!expect(s, '{')) return false;
  for (size_t i = 0; i < n; i++) {
    if (i > 0 && !expect(s, ',')) return false;
    if (!parse_element(s, t->dtype, data + i * size)) return false;
  }
  return expect(s, '}');
}

/* ---- attributes ---- */

typedef VEC(struct attr) attr_list;

static bool parse_ints(struct parser *s, struct attr *a) {
  VEC(int64_t) v = {0};
  int64_t i;
  bool ok = expect(s, '[');
  while (ok && !accept(s, ']')) {
    ok = (v.n == 0 || expect(s, ',')) && parse_int(s, &i);
    if (ok && !VEC_PUSH(&v, i)) ok = nomem(s);
  }
  int64_t *copy = ok ? ARENA_NEW(&s->g->arena, int64_t, v.n) : NULL;
  if (copy && v.n) memcpy(copy, v.v, v.n * sizeof *copy);
  *a = (struct attr){.name = a->name, .kind = ATTR_INTS, .n = (int)v.n, .ints = copy};
  VEC_FREE(&v);
  return ok && (copy || nomem(s));
}

static bool parse_floats(struct parser *s, struct attr *a) {
  VEC(float) v = {0};
  double f;
  s->p++; /* f */
  bool ok = expect(s, '[');
  while (ok && !accept(s, ']')) {
    ok = (v.n == 0 || expect(s, ',')) && parse_real(s, &f);
    if (ok && !VEC_PUSH(&v, (float)f)) ok = nomem(s);
  }
  float *copy = ok ? ARENA_NEW(&s->g->arena, float, v.n) : NULL;
  if (copy && v.n) memcpy(copy, v.v, v.n * sizeof *copy);
  *a = (struct attr){.name = a->name, .kind = ATTR_FLOATS, .n = (int)v.n, .floats = copy};
  VEC_FREE(&v);
  return ok && (copy || nomem(s));
}

static bool parse_attr_tensor(struct parser *s, struct attr *a) {
  struct tensor *t = ARENA_NEW(&s->g->arena, struct tensor, 1);
  if (!t) return nomem(s);
  a->kind = ATTR_TENSOR;
  a->t = t;
  return parse_type(s, t) && parse_data(s, t);
}

/* Number: an integer unless it has what only floats have. */
static bool parse_attr_number(struct parser *s, struct attr *a) {
  size_t n = strspn(s->p, "+-.0123456789einfa");
  if (memchr(s->p, '.', n) || memchr(s->p, 'e', n) || memchr(s->p, 'n', n)) {
    double v;
    a->kind = ATTR_FLOAT;
    if (!parse_real(s, &v)) return false;
    a->f = (float)v;
    return true;
  }
  a->kind = ATTR_INT;
  return parse_int(s, &a->i);
}

static bool parse_attr(struct parser *s, struct attr *a) {
  if (!parse_name(s, &a->name) || !expect(s, '=')) return false;
  skip_blanks(s);
  if (*s->p == '"') {
    a->kind = ATTR_STRING;
    return parse_quoted(s, &a->s);
  }
  if (*s->p == '[') return parse_ints(s, a);
  if (s->p[0] == 'f' && s->p[1] == '[') return parse_floats(s, a);
  if ((*s->p >= 'a' && *s->p <= 'z') && *s->p != 'n' && !(s->p[0] == 'i' && s->p[1] == 'n'))
    return parse_attr_tensor(s, a);
  return parse_attr_number(s, a);
}

/* As many attributes as there are: up to the end of the line, ';', '{' or '}'. */
static bool parse_attrs(struct parser *s, const struct attr **out, int *n) {
  attr_list list = {0};
  bool ok = true;
  for (skip_blanks(s); ok && (GRAPH_NAME_CHAR(*s->p) || *s->p == '"'); skip_blanks(s)) {
    struct attr a = {0};
    ok = parse_attr(s, &a);
    if (ok && !VEC_PUSH(&list, a)) ok = nomem(s);
  }
  struct attr *copy = ok ? ARENA_NEW(&s->g->arena, struct attr, list.n) : NULL;
  if (copy && list.n) memcpy(copy, list.v, list.n * sizeof *copy);
  *out = copy;
  *n = (int)list.n;
  VEC_FREE(&list);
  return ok && (copy || nomem(s));
}

/* ---- nodes ---- */

static bool parse_op(struct parser *s, const struct op **op) {
  const char *name;
  if (!parse_name(s, &name)) return false;
  *op = op_find(name, strlen(name));
  if (*op) return true;
  fvm_fail(s->err, FVM_EUNSUPPORTED, "line %d: no operator is called '%s'", s->line, name);
  return false;
}

static bool declare(struct parser *s, const char *name, int *t) {
  if (names_find(&s->names, name) >= 0) {
    fvm_fail(s->err, FVM_EFORMAT, "line %d: '%s' is there already", s->line, name);
    return false;
  }
  *t = graph_add_tensor(s->g, name);
  return (*t >= 0 && names_add(&s->names, s->g->tensor.v[*t].name, *t)) || nomem(s);
}

/* name[:type], a new tensor. */
static bool parse_tensor(struct parser *s, int *t) {
  const char *name;
  struct tensor type = {0};
  if (!parse_name(s, &name)) return false;
  if (accept(s, ':') && !parse_type(s, &type)) return false;
  if (!declare(s, name, t)) return false;
  s->g->tensor.v[*t].t = type;
  return true;
}

static bool parse_known(struct parser *s, int *t) {
  const char *name;
  if (!parse_name(s, &name)) return false;
  *t = names_find(&s->names, name);
  if (*t >= 0) return true;
  fvm_fail(s->err, FVM_EFORMAT, "line %d: '%s' isn't made before this", s->line, name);
  return false;
}

static bool parse_outputs(struct parser *s, int node) {
  do {
    int t = -1;
    if (!accept(s, '-') && !parse_tensor(s, &t)) return false;
    if (!node_add_out(s->g, node, t)) return nomem(s);
  } while (accept(s, ','));
  return true;
}

static bool parse_inputs(struct parser *s, int node) {
  struct node *n = &s->g->node.v[node];
  int own = -1;
  if (!expect(s, '(')) return false;
  while (!accept(s, ')')) {
    int t = -1;
    if (own < 0 && accept(s, ';'))
      own = (int)n->in.n;
    else if (n->in.n > 0 && !expect(s, ','))
      return false;
    if (!accept(s, '-') && !parse_known(s, &t)) return false;
    if (!VEC_PUSH(&n->in, t)) return nomem(s);
  }
  n->nown = own < 0 ? (int)n->in.n : own;
  return true;
}

static bool parse_item(struct parser *s, int number, struct body_item *item) {
  int v;
  if (!parse_small(s, INT32_MAX, &v)) return false;
  if (v != number) return fail(s, "the next value's number before this");
  if (!expect(s, ':') || !parse_dtype(s, &item->dtype) || !expect(s, '=')) return false;
  if (!parse_op(s, &item->op) || !expect(s, '(')) return false;
  do {
    if (item->narg == BODY_MAXARG) return fail(s, "fewer arguments");
    int *arg = &item->arg[item->narg++];
    *arg = -1;
    if (!accept(s, '-') && !parse_small(s, number - 1, arg)) return false;
  } while (accept(s, ','));
  return expect(s, ')') && parse_attrs(s, &item->attr, &item->nattr);
}

static bool parse_body(struct parser *s, struct node *n) {
  VEC(struct body_item) list = {0};
  bool ok = true;
  do {
    struct body_item item = {0};
    ok = parse_item(s, (int)n->in.n + 1 + (int)list.n, &item);
    if (ok && !VEC_PUSH(&list, item)) ok = nomem(s);
  } while (ok && accept(s, ';'));
  struct body *body = ARENA_NEW(&s->g->arena, struct body, 1);
  struct body_item *copy = ARENA_NEW(&s->g->arena, struct body_item, list.n);
  if (ok && (!body || !copy)) ok = nomem(s);
  if (ok) {
    memcpy(copy, list.v, list.n * sizeof *copy);
    *body = (struct body){(int)list.n, copy};
    n->body = body;
  }
  VEC_FREE(&list);
  return ok && expect(s, '}');
}

/* outputs = Op(inputs) @name attributes {body} */
static bool parse_node(struct parser *s) {
  int i = graph_add_node(s->g, "", NULL);
  if (i < 0) return nomem(s);
  struct node *n = &s->g->node.v[i];
  if (!parse_outputs(s, i) || !expect(s, '=')) return false;
  if (!parse_op(s, &n->op) || !parse_inputs(s, i)) return false;
  if (accept(s, '@') && !parse_name(s, &n->name)) return false;
  if (!parse_attrs(s, &n->attr, &n->nattr)) return false;
  return !accept(s, '{') || parse_body(s, n);
}

/* ---- statements ---- */

static bool parse_head(struct parser *s) {
  const char *key;
  int64_t opset = 0;
  if (!parse_name(s, &s->g->name)) return false;
  if (!parse_name(s, &key) || strcmp(key, "opset") != 0) return fail(s, "opset=");
  if (!expect(s, '=') || !parse_int(s, &opset)) return false;
  s->g->opset = (int)opset;
  skip_blanks(s);
  if (strncmp(s->p, "hash=", 5) != 0) return true;
  char *end;
  s->g->model_hash = strtoull(s->p + 5, &end, 16);
  s->p = end;
  return true;
}

static bool parse_input(struct parser *s) {
  int t;
  if (!parse_tensor(s, &t)) return false;
  s->g->tensor.v[t].is_input = true;
  return VEC_PUSH(&s->g->input, t) || nomem(s);
}

static bool parse_const(struct parser *s) {
  int t;
  if (!parse_tensor(s, &t)) return false;
  if (s->g->tensor.v[t].t.dtype == FVM_NONE) return fail(s, "a type before this");
  return expect(s, '=') && parse_data(s, &s->g->tensor.v[t].t);
}

static bool parse_output(struct parser *s) {
  int t;
  if (!parse_known(s, &t)) return false;
  s->g->tensor.v[t].is_output = true;
  return VEC_PUSH(&s->g->output, t) || nomem(s);
}

/* A keyword is one when a blank and a name follow, so tensors may be called "input", too. */
static bool keyword(struct parser *s, const char *word) {
  size_t n = strlen(word);
  if (strncmp(s->p, word, n) != 0 || s->p[n] != ' ') return false;
  const char *next = s->p + n + strspn(s->p + n, " ");
  if (*next != '"' && !GRAPH_NAME_CHAR(*next)) return false;
  s->p += n;
  return true;
}

static bool parse_statement(struct parser *s) {
  if (keyword(s, "input")) return parse_input(s);
  if (keyword(s, "const")) return parse_const(s);
  if (keyword(s, "output")) return parse_output(s);
  return parse_node(s);
}

static bool parse_graph(struct parser *s) {
  skip_lines(s);
  if (!keyword(s, "graph")) return fail(s, "graph NAME opset=N");
  if (!parse_head(s)) return false;
  for (;;) {
    skip_blanks(s);
    if (*s->p && *s->p != '\n' && *s->p != '#') return fail(s, "the end of the line");
    skip_lines(s);
    if (!*s->p) return true;
    if (!parse_statement(s)) return false;
  }
}

enum fvm_status graph_parse(const char *text, size_t len, struct graph **g, struct fvm_error *err) {
  struct fvm_error own = {0};
  struct parser s = {.line = 1, .err = err ? err : &own};
  char *copy = fvm_alloc(len + 1, 1);
  s.g = graph_new();
  enum fvm_status st = FVM_OK;
  if (!copy || !s.g) {
    st = fvm_nomem(err);
    goto out;
  }
  memcpy(copy, text, len);
  s.p = copy;
  st = parse_graph(&s) ? graph_check(s.g, false, err) : s.err->code;
  if (st != FVM_OK) goto out;
  *g = s.g;
  s.g = NULL;
out:
  names_free(&s.names);
  graph_free(s.g);
  fvm_free(copy, len + 1, 1);
  return st;
}
