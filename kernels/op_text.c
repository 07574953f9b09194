/* Canonical text of opcalls and labels. Contract: op.h; read back by op_read.c. */
#include "op_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Constants up to this many elements enter with their values: they are axes, shapes, pads,
 * exponents. */
enum { SMALL = 2 * FVM_MAXRANK };

bool opcall_text_tells(const struct tensor *t) { return tensor_count(t) <= SMALL; }

static void put_dims(struct text *out, const struct tensor *t) {
  text_printf(out, "%s[", fvm_dtype_name(t->dtype));
  for (int i = 0; i < t->rank; i++) text_printf(out, "%s%lld", i ? "x" : "", (long long)t->dim[i]);
  text_printf(out, "]");
}

static void put_values(struct text *out, const struct tensor *t) {
  int64_t n = tensor_count(t);
  for (int64_t i = 0; i < n; i++) {
    if (i) text_printf(out, ",");
    if (dtype_is_float(t->dtype))
      text_printf(out, "%.17g", elem_f64(t->data, t->dtype, i));
    else
      text_printf(out, "%lld", (long long)elem_i64(t->data, t->dtype, i));
  }
}

static void put_input(struct text *out, const struct tensor *t) {
  if (t->dtype == FVM_NONE) {
    text_printf(out, "-");
    return;
  }
  put_dims(out, t);
  if (!t->data) return;
  if (!opcall_text_tells(t)) {
    text_printf(out, "const");
    return;
  }
  text_printf(out, "{");
  put_values(out, t);
  text_printf(out, "}");
}

/* A float shows that it is none of the integers: 1. */
static void put_float(struct text *out, float f) {
  char number[32];
  snprintf(number, sizeof number, "%.9g", (double)f);
  text_printf(out, "%s%s", number, strpbrk(number, ".eni") ? "" : ".");
}

/* As it is when it cannot be taken for anything else, in quotes otherwise. */
static void put_string(struct text *out, const char *s) {
  size_t n = strspn(s, TEXT_WORD);
  if (n && !s[n] && !strchr("0123456789", *s) && strcmp(s, "inf") != 0 && strcmp(s, "nan") != 0) {
    text_printf(out, "%s", s);
    return;
  }
  text_printf(out, "\"");
  for (; *s; s++) {
    unsigned char c = (unsigned char)*s;
    text_printf(out, c < ' ' || c == '"' || c == '\\' ? "\\%02x" : "%c", c);
  }
  text_printf(out, "\"");
}

/* Lists are told by their commas, also one of a single element. */
static void put_list(struct text *out, const struct attr *a) {
  for (int i = 0; i < a->n; i++) {
    if (i) text_printf(out, ",");
    if (a->kind == ATTR_INTS)
      text_printf(out, "%lld", (long long)a->ints[i]);
    else
      put_float(out, a->floats[i]);
  }
  if (a->n < 2) text_printf(out, ",");
}

static void put_attr(struct text *out, const struct attr *a) {
  text_printf(out, " %s=", a->name);
  switch (a->kind) {
  case ATTR_INT:
    text_printf(out, "%lld", (long long)a->i);
    break;
  case ATTR_FLOAT:
    put_float(out, a->f);
    break;
  case ATTR_INTS:
  case ATTR_FLOATS:
    put_list(out, a);
    break;
  case ATTR_STRING:
    put_string(out, a->s);
    break;
  case ATTR_TENSOR:
    put_input(out, a->t);
    if (!opcall_text_tells(a->t))
      text_printf(out, ":%016llx",
                  (unsigned long long)fvm_hash(a->t->data, (size_t)tensor_bytes(a->t), 0));
    break;
  }
}

/* In order of their names, whatever their order in the model. */
static void put_attrs(struct text *out, const struct attr *attr, int n) {
  const char *last = NULL;
  for (int k = 0; k < n; k++) {
    const struct attr *next = NULL;
    for (int i = 0; i < n; i++)
      if ((!last || strcmp(attr[i].name, last) > 0) &&
          (!next || strcmp(attr[i].name, next->name) < 0))
        next = &attr[i];
    if (!next) return; /* the same name twice: the first counts */
    put_attr(out, next);
    last = next->name;
  }
}

static void put_body(struct text *out, const struct body *body) {
  text_printf(out, " body={");
  for (int k = 0; k < body->n; k++) {
    const struct body_item *it = &body->item[k];
    text_printf(out, "%s%s:%s(", k ? " " : "", it->op->name, fvm_dtype_name(it->dtype));
    for (int j = 0; j < it->narg; j++) text_printf(out, "%s%d", j ? "," : "", it->arg[j]);
    put_attrs(out, it->attr, it->nattr);
    text_printf(out, ")");
  }
  text_printf(out, "}");
}

static void put_call(const struct opcall *c, struct text *out) {
  text_printf(out, "%s", c->op->name);
  if (c->op->flags & OPF_V13 && c->opset < 13) text_printf(out, "<13");
  put_attrs(out, c->attr, c->nattr);
  text_printf(out, " in=");
  for (int i = 0; i < c->nin; i++) {
    if (i) text_printf(out, i == c->nown ? ";" : ",");
    put_input(out, &c->in[i]);
  }
  text_printf(out, " out=");
  for (int i = 0; i < c->nout; i++) {
    if (i) text_printf(out, ",");
    if (c->out[i].dtype == FVM_NONE)
      text_printf(out, "-");
    else
      put_dims(out, &c->out[i]);
  }
  if (c->body) put_body(out, c->body);
}

/* A chain is its parts; its own inputs and output follow from theirs. */
void opcall_text(const struct opcall *c, struct text *out) {
  if (!c->part) {
    put_call(c, out);
    return;
  }
  text_printf(out, "%s: ", c->op->name);
  put_call(&c->part[0], out);
  text_printf(out, " -> ");
  put_call(&c->part[1], out);
}

static uint64_t take_hash(struct text *t) {
  uint64_t h = t->failed ? 0 : fvm_hash(t->v, t->n, 0);
  text_free(t);
  return h;
}

uint64_t opcall_hash(const struct opcall *c) {
  struct text t = {0};
  opcall_text(c, &t);
  return take_hash(&t);
}

void convert_text(const struct tensor *t, enum layout from, enum layout to, struct text *out) {
  text_printf(out, "Convert ");
  put_dims(out, t);
  text_printf(out, " %s->%s", layout_name(from), layout_name(to));
}

uint64_t convert_hash(const struct tensor *t, enum layout from, enum layout to) {
  struct text text = {0};
  convert_text(t, from, to, &text);
  return take_hash(&text);
}

void convert_label(int threads, struct text *out) {
  text_printf(out, "convert threads=%d", threads);
}

static void put_layouts(struct text *out, const char *what, const uint8_t *list, int n) {
  if (n > 0) text_printf(out, " %s=", what);
  for (int i = 0; i < n && i < LABEL_MAXIO; i++)
    text_printf(out, "%s%s", i ? "," : "", layout_name((enum layout)list[i]));
}

void label_text(const struct opcall *c, const struct label *l, struct text *out) {
  text_printf(out, "%s", l->cand->name);
  for (int i = 0; i < LABEL_MAXKNOB && l->cand->knobs[i]; i++)
    text_printf(out, " %s=%d", l->cand->knobs[i], (int)l->knob[i]);
  put_layouts(out, "in", l->in, c->nin);
  put_layouts(out, "out", l->out, c->nout);
  if (l->view)
    text_printf(out, " view=%lld", (long long)l->view_offset);
  else
    text_printf(out, " threads=%d", l->threads);
  if (l->inplace) text_printf(out, " inplace=%d", l->inplace);
}
