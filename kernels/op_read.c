/* Texts of problems read back (op_text.c prints them): what a database says of a measurement is
 * enough to make it again. A text may come from anywhere, so all of it is checked, and a problem is
 * taken only when the shape function of its operator gives the outputs that the text names. */
#include "chain.h"
#include "op_impl.h"

#include <stdlib.h>
#include <string.h>

struct reader {
  const char *text, *p;
  struct arena *arena;
  struct fvm_error *err;
};

/* ---- letters ---- */

static bool fail(struct reader *r, const char *wanted) {
  fvm_fail(r->err, FVM_EFORMAT, "problem '%.60s', byte %zu: no %s", r->text,
           (size_t)(r->p - r->text), wanted);
  return false;
}

static bool nomem(struct reader *r) { return fvm_nomem(r->err), false; }

static bool accept(struct reader *r, const char *s) {
  size_t n = strlen(s);
  if (strncmp(r->p, s, n) != 0) return false;
  r->p += n;
  return true;
}

static bool expect(struct reader *r, const char *s) { return accept(r, s) || fail(r, s); }

static size_t word(const struct reader *r) { return strspn(r->p, TEXT_WORD); }

static bool read_int(struct reader *r, int64_t *v) {
  char *end;
  size_t n = strspn(r->p, "-0123456789");
  *v = n ? strtoll(r->p, &end, 10) : 0;
  if (n == 0 || end != r->p + n) return fail(r, "integer");
  r->p = end;
  return true;
}

static bool read_real(struct reader *r, double *v) {
  char *end;
  size_t n = strspn(r->p, "+-.0123456789einfa");
  *v = n ? strtod(r->p, &end) : 0;
  if (n == 0 || end != r->p + n) return fail(r, "number");
  r->p = end;
  return true;
}

/* ---- tensors ---- */

/* f32[2x6] */
static bool read_type(struct reader *r, struct tensor *t) {
  int64_t dim[FVM_MAXRANK];
  int rank = 0;
  size_t n = word(r);
  enum fvm_dtype d = fvm_dtype_parse(r->p, n);
  if (d == FVM_NONE) return fail(r, "element type");
  r->p += n;
  if (!expect(r, "[")) return false;
  while (!accept(r, "]")) {
    if (rank == FVM_MAXRANK || (rank && !expect(r, "x")) || !read_int(r, &dim[rank]))
      return fail(r, "dimension");
    rank++;
  }
  return tensor_init(t, d, rank, dim, r->err) == FVM_OK;
}

static bool read_values(struct reader *r, struct tensor *t, void *data) {
  int64_t n = tensor_count(t);
  for (int64_t i = 0; i < n; i++) {
    double real;
    int64_t whole;
    bool is_float = dtype_is_float(t->dtype);
    if (i && !expect(r, ",")) return false;
    if (is_float ? !read_real(r, &real) : !read_int(r, &whole)) return false;
    if (is_float)
      elem_set_f64(data, t->dtype, i, real);
    else
      elem_set_i64(data, t->dtype, i, whole);
  }
  return expect(r, "}");
}

/* A type, and of a constant its values; zeros where the text has none: const. */
static bool read_tensor(struct reader *r, struct tensor *t) {
  if (!read_type(r, t)) return false;
  bool small = accept(r, "{");
  if (!small && !accept(r, "const")) return true;
  if (small != opcall_text_tells(t)) return fail(r, "constant of that size");
  void *data = arena_alloc(r->arena, (size_t)MAX(tensor_bytes(t), 1), 1);
  if (!data) return nomem(r);
  t->data = data;
  return !small || read_values(r, t, data);
}

/* Tensors up to what ends them; *own: how many there are before a semicolon, or all. */
static bool read_tensors(struct reader *r, struct tensor **list, int *n, int *own) {
  VEC(struct tensor) v = {0};
  bool ok = true;
  *own = -1;
  while (ok && *r->p && *r->p != ' ') {
    struct tensor t = {0};
    if (v.n && accept(r, ";"))
      *own = (int)v.n;
    else if (v.n)
      ok = expect(r, ",");
    if (ok && !accept(r, "-")) ok = read_tensor(r, &t);
    if (ok && !VEC_PUSH(&v, t)) ok = nomem(r);
  }
  *n = (int)v.n;
  if (*own < 0) *own = *n;
  *list = ARENA_NEW(r->arena, struct tensor, MAX(v.n, 1));
  if (*list && v.n) memcpy(*list, v.v, v.n * sizeof *v.v);
  VEC_FREE(&v);
  return ok && (*list || nomem(r));
}

/* ---- attributes ---- */

static bool read_string(struct reader *r, struct attr *a) {
  size_t n = strcspn(r->p, "\""), k = 0;
  char *s = arena_alloc(r->arena, n + 1, 1);
  if (!s) return nomem(r);
  for (; *r->p && *r->p != '"'; k++) {
    char hex[3] = {0};
    s[k] = *r->p++;
    if (s[k] != '\\') continue;
    for (int i = 0; i < 2 && *r->p; i++) hex[i] = *r->p++;
    s[k] = (char)strtol(hex, NULL, 16);
  }
  a->kind = ATTR_STRING;
  a->s = s;
  return expect(r, "\"");
}

/* A word, the type of a tensor, or what only looks like a word. */
static bool read_word(struct reader *r, struct attr *a) {
  size_t n = word(r);
  if (n == 0) return fail(r, "value");
  if (r->p[n] == '[') {
    struct tensor *t = ARENA_NEW(r->arena, struct tensor, 1);
    if (!t) return nomem(r);
    a->kind = ATTR_TENSOR;
    a->t = t;
    return read_tensor(r, t) && (*r->p != ':' || fail(r, "value of a large constant"));
  }
  a->kind = ATTR_STRING;
  a->s = arena_printf(r->arena, "%.*s", (int)n, r->p);
  r->p += n;
  return a->s || nomem(r);
}

/* 1 or 1. alone; with commas a list. */
static bool read_numbers(struct reader *r, struct attr *a) {
  size_t n = strcspn(r->p, " )");
  bool real = strcspn(r->p, ".eni") < n, list = strcspn(r->p, ",") < n;
  size_t most = n + 1;
  int64_t *ints = ARENA_NEW(r->arena, int64_t, most);
  float *floats = ARENA_NEW(r->arena, float, most);
  double d;
  if (!ints || !floats) return nomem(r);
  for (n = 0; *r->p && *r->p != ' ' && *r->p != ')'; n++) {
    if (n && !expect(r, ",")) return false;
    if (*r->p == 0 || strchr(" ),", *r->p)) {
      accept(r, ",");
      break;
    }
    if (real ? !read_real(r, &d) : !read_int(r, &ints[n])) return false;
    if (real) floats[n] = (float)d;
  }
  if (!list && n != 1) return fail(r, "value");
  a->kind = list ? real ? ATTR_FLOATS : ATTR_INTS : real ? ATTR_FLOAT : ATTR_INT;
  a->n = (int)n;
  a->ints = ints;
  a->floats = floats;
  a->i = ints[0];
  a->f = floats[0];
  return true;
}

static bool read_attr(struct reader *r, struct attr *a) {
  size_t n = word(r);
  a->name = n ? arena_printf(r->arena, "%.*s", (int)n, r->p) : NULL;
  if (!a->name) return n ? nomem(r) : fail(r, "attribute");
  r->p += n;
  if (!expect(r, "=")) return false;
  if (accept(r, "\"")) return read_string(r, a);
  n = word(r);
  bool number = (*r->p && strchr("0123456789-,", *r->p)) || (n == 3 && !strncmp(r->p, "inf", 3)) ||
                (n == 3 && !strncmp(r->p, "nan", 3));
  return number ? read_numbers(r, a) : read_word(r, a);
}

/* Each after a blank, up to `end`, which is read as well. */
static bool read_attrs(struct reader *r, const char *end, const struct attr **list, int *n) {
  VEC(struct attr) v = {0};
  bool ok = true;
  while (ok && !accept(r, end)) {
    struct attr a = {0};
    ok = expect(r, " ") && read_attr(r, &a);
    if (ok && !VEC_PUSH(&v, a)) ok = nomem(r);
  }
  struct attr *copy = ARENA_NEW(r->arena, struct attr, MAX(v.n, 1));
  if (copy && v.n) memcpy(copy, v.v, v.n * sizeof *v.v);
  *list = copy;
  *n = (int)v.n;
  VEC_FREE(&v);
  return ok && (copy || nomem(r));
}

/* ---- bodies ---- */

static bool read_op(struct reader *r, const struct op **op) {
  size_t n = word(r);
  *op = op_find(r->p, n);
  if (*op) return r->p += n, true;
  fvm_fail(r->err, FVM_EUNSUPPORTED, "problem '%.60s': no operator %.*s in this build", r->text,
           (int)MIN(n, 40), r->p);
  return false;
}

/* Add:f32(3,1) */
static bool read_item(struct reader *r, struct body_item *it) {
  if (!read_op(r, &it->op) || !expect(r, ":")) return false;
  size_t n = word(r);
  it->dtype = fvm_dtype_parse(r->p, n);
  if (it->dtype == FVM_NONE) return fail(r, "element type");
  r->p += n;
  if (!expect(r, "(")) return false;
  while (*r->p && *r->p != ' ' && *r->p != ')') {
    int64_t v;
    if (it->narg && !expect(r, ",")) return false;
    if (it->narg == BODY_MAXARG || !read_int(r, &v) || v < -1 || v > INT32_MAX)
      return fail(r, "argument");
    it->arg[it->narg++] = (int)v;
  }
  return read_attrs(r, ")", &it->attr, &it->nattr);
}

static bool read_body(struct reader *r, struct opcall *c) {
  VEC(struct body_item) v = {0};
  struct body *body = ARENA_NEW(r->arena, struct body, 1);
  bool ok = body || nomem(r);
  while (ok && !accept(r, "}")) {
    struct body_item it = {0};
    ok = (v.n == 0 || expect(r, " ")) && read_item(r, &it);
    if (ok && !VEC_PUSH(&v, it)) ok = nomem(r);
  }
  struct body_item *copy = ok ? ARENA_NEW(r->arena, struct body_item, MAX(v.n, 1)) : NULL;
  if (copy && v.n) memcpy(copy, v.v, v.n * sizeof *v.v);
  if (ok) *body = (struct body){(int)v.n, copy};
  c->body = body;
  VEC_FREE(&v);
  return ok && (copy || nomem(r));
}

/* ---- opcalls ---- */

static bool same_type(const struct tensor *a, const struct tensor *b) {
  return a->dtype == b->dtype && a->rank == b->rank &&
         !memcmp(a->dim, b->dim, sizeof *a->dim * (size_t)a->rank);
}

/* All that were asked for. */
static bool same_outputs(const struct opcall *c, const struct tensor *want) {
  for (int k = 0; k < c->nout; k++)
    if (want[k].dtype != FVM_NONE && !same_type(&c->out[k], &want[k])) return false;
  return true;
}

/* The text does not say which opset a problem is of, only what its meaning depends on: the newest
 * one whose shape function accepts it and gives the outputs of the text. */
static bool find_opset(struct reader *r, struct opcall *c, bool old) {
  static const int opsets[] = {23, 18, 12, 10, 9, 6};
  size_t n = (size_t)MAX(c->nout, 1);
  struct tensor *want = c->out;
  c->out = ARENA_NEW(r->arena, struct tensor, n);
  if (!c->out) return nomem(r);
  for (size_t i = 0; i < COUNT(opsets); i++) {
    c->opset = opsets[i];
    if (c->op->flags & OPF_V13 && (c->opset < 13) != old) continue;
    memset(c->out, 0, n * sizeof *want);
    if (opcall_shape(c, r->err)) continue;
    if (same_outputs(c, want)) return c->out = want, true;
    fvm_fail(r->err, FVM_EFORMAT, "%s: the outputs do not follow from the inputs", c->op->name);
  }
  return fvm_prefix(r->err, "problem '%.60s'", r->text), false;
}

static bool read_call(struct reader *r, struct opcall *c) {
  int ignored;
  *c = (struct opcall){0};
  if (!read_op(r, &c->op)) return false;
  bool old = accept(r, "<13");
  if (!read_attrs(r, " in=", &c->attr, &c->nattr)) return false;
  if (!read_tensors(r, &c->in, &c->nin, &c->nown) || !expect(r, " out=")) return false;
  if (!read_tensors(r, &c->out, &c->nout, &ignored)) return false;
  if (accept(r, " body={") && !read_body(r, c)) return false;
  if (c->body && c->op->shape == fused_shape) c->nown = 0; /* it has no operator of its own */
  return find_opset(r, c, old);
}

static bool read_chain(struct reader *r, struct opcall *c) {
  struct opcall part[2];
  if (!read_call(r, &part[0]) || !expect(r, " -> ") || !read_call(r, &part[1])) return false;
  bool fits = part[1].nin > 0 && chain_fits(&part[0], &part[1]) &&
              same_type(&part[0].out[0], &part[1].in[0]);
  return fits ? chain_init(c, &part[0], &part[1], r->arena) || nomem(r) : fail(r, "chain");
}

enum fvm_status opcall_read(const char *text, struct arena *a, struct opcall *c,
                            struct fvm_error *err) {
  struct fvm_error own;
  struct reader r = {.text = text, .p = text, .arena = a, .err = err ? err : &own};
  bool ok = accept(&r, "Chain: ") ? read_chain(&r, c) : read_call(&r, c);
  if (ok && *r.p) ok = fail(&r, "end");
  return ok ? FVM_OK : r.err->code;
}

static bool read_layout(struct reader *r, enum layout *l) {
  size_t n = strcspn(r->p, "-");
  *l = layout_parse(r->p, n);
  if (*l == LAYOUT_COUNT) return fail(r, "layout");
  r->p += n;
  return true;
}

enum fvm_status convert_read(const char *text, struct tensor *t, enum layout *from, enum layout *to,
                             struct fvm_error *err) {
  struct fvm_error own;
  struct reader r = {.text = text, .p = text, .err = err ? err : &own};
  bool ok = expect(&r, "Convert ") && read_type(&r, t) && expect(&r, " ") &&
            read_layout(&r, from) && expect(&r, "->") && read_layout(&r, to);
  if (ok && (*r.p || !layout_fits(t, *from) || !layout_fits(t, *to)))
    ok = fail(&r, "such conversion");
  return ok ? FVM_OK : r.err->code;
}
