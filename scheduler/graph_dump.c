/* The graph as text; graph_parse.c reads it. One statement a line, '#' starts a comment:
 *
 *   graph squeezenet opset=17 hash=0123456789abcdef
 *   input x:f32[1,3,4,4]
 *   const shape:i64[2] = {1, -1}
 *   const w:f32[64,64] = #8899aabbccddeeff           more than 16 elements: XXH64 of the bytes
 *   y:f32[1,64] = Gemm(a, w, -; r) @node7 transB=1 {4:f32 = Add(3, 2); 5:f32 = Relu(4)}
 *   output y
 *
 * A tensor is shown where it first appears, with its type when that is known. "-" stands for an
 * absent input or output. Inputs behind ';' are read by the body alone. Values of a body are
 * numbered as in op.h: inputs 0 .. 3 here would make 4 the node's own result. Attributes are
 * written i=1, f=1.0, ints=[1,2], floats=f[1,2], s="text", t=f32[2]{1, 2}. A name that isn't made
 * of letters, digits and _ . / stands in quotes with \" \\ and \xHH. */
#include "graph.h"

#include "graph_text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static bool is_plain(const char *s) {
  if (!*s) return false;
  for (; *s; s++)
    if (!GRAPH_NAME_CHAR(*s)) return false;
  return true;
}

static void put_quoted(struct text *out, const char *s) {
  text_printf(out, "\"");
  for (; *s; s++)
    if (*s == '"' || *s == '\\')
      text_printf(out, "\\%c", *s);
    else if ((unsigned char)*s < ' ' || *s == 127)
      text_printf(out, "\\x%02x", (unsigned char)*s);
    else
      text_printf(out, "%c", *s);
  text_printf(out, "\"");
}

static void put_name(struct text *out, const char *s) {
  if (is_plain(s))
    text_printf(out, "%s", s);
  else
    put_quoted(out, s);
}

static void put_type(struct text *out, const struct tensor *t) {
  if (t->dtype == FVM_NONE) return;
  text_printf(out, "%s[", fvm_dtype_name(t->dtype));
  for (int i = 0; i < t->rank; i++) text_printf(out, "%s%" PRId64, i ? "," : "", t->dim[i]);
  text_printf(out, "]");
}

/* Nine digits bring every float back, seventeen every double; what looks like an integer gets a
 * point where attr tells floats from integers by it. */
static void put_real(struct text *out, double v, int digits, bool point) {
  char s[40];
  snprintf(s, sizeof s, "%.*g", digits, v);
  text_printf(out, "%s%s", s, point && !strpbrk(s, ".en") ? ".0" : "");
}

static void put_element(struct text *out, enum fvm_dtype d, const void *p) {
  uint64_t u = 0;
  memcpy(&u, p, fvm_dtype_bytes(d));
  int shift = 64 - 8 * (int)fvm_dtype_bytes(d);
  int64_t sign = (int64_t)(u << shift) >> shift;
  float f;
  double g;
  switch (d) {
  case FVM_F32:
    memcpy(&f, p, 4);
    put_real(out, (double)f, 9, false);
    break;
  case FVM_F64:
    memcpy(&g, p, 8);
    put_real(out, g, 17, false);
    break;
  case FVM_F16:
    put_real(out, (double)fvm_f16_to_f32((uint16_t)u), 9, false);
    break;
  case FVM_BF16:
    u <<= 16;
    memcpy(&f, &u, 4);
    put_real(out, (double)f, 9, false);
    break;
  case FVM_I64:
  case FVM_I32:
  case FVM_I16:
  case FVM_I8:
    text_printf(out, "%" PRId64, sign);
    break;
  default:
    text_printf(out, "%" PRIu64, u);
    break;
  }
}

static void put_data(struct text *out, const struct tensor *t) {
  int64_t n = tensor_count(t);
  if (n > GRAPH_TEXT_MAXDATA) {
    text_printf(out, "#%016" PRIx64, fvm_hash(t->data, (size_t)tensor_bytes(t), 0));
    return;
  }
  text_printf(out, "{");
  for (int64_t i = 0; i < n; i++) {
    if (i) text_printf(out, ", ");
    put_element(out, t->dtype, (const char *)t->data + (size_t)i * fvm_dtype_bytes(t->dtype));
  }
  text_printf(out, "}");
}

void graph_dump_attr(struct text *out, const struct attr *a) {
  text_printf(out, " ");
  put_name(out, a->name);
  text_printf(out, "=");
  switch (a->kind) {
  case ATTR_INT:
    text_printf(out, "%" PRId64, a->i);
    break;
  case ATTR_FLOAT:
    put_real(out, (double)a->f, 9, true);
    break;
  case ATTR_STRING:
    put_quoted(out, a->s);
    break;
  case ATTR_TENSOR:
    put_type(out, a->t);
    put_data(out, a->t);
    break;
  case ATTR_INTS:
    text_printf(out, "[");
    for (int i = 0; i < a->n; i++) text_printf(out, "%s%" PRId64, i ? "," : "", a->ints[i]);
    text_printf(out, "]");
    break;
  case ATTR_FLOATS:
    text_printf(out, "f[");
    for (int i = 0; i < a->n; i++) {
      if (i) text_printf(out, ",");
      put_real(out, (double)a->floats[i], 9, false);
    }
    text_printf(out, "]");
    break;
  }
}

static void put_tensor(struct text *out, const struct graph *g, int t) {
  if (t < 0) {
    text_printf(out, "-");
    return;
  }
  const struct gtensor *x = &g->tensor.v[t];
  put_name(out, x->name);
  if (x->t.dtype == FVM_NONE) return;
  text_printf(out, ":");
  put_type(out, &x->t);
}

static void put_inputs(struct text *out, const struct graph *g, const struct node *n) {
  for (int k = 0; k < (int)n->in.n; k++) {
    if (k) text_printf(out, k == n->nown ? "; " : ", ");
    if (k == 0 && n->nown == 0) text_printf(out, "; ");
    if (n->in.v[k] < 0)
      text_printf(out, "-");
    else
      put_name(out, g->tensor.v[n->in.v[k]].name);
  }
}

static void put_body(struct text *out, const struct node *n) {
  text_printf(out, " {");
  for (int k = 0; k < n->body->n; k++) {
    const struct body_item *item = &n->body->item[k];
    text_printf(out, "%s%d:%s = %s(", k ? "; " : "", (int)n->in.n + 1 + k,
                fvm_dtype_name(item->dtype), item->op->name);
    for (int j = 0; j < item->narg; j++) {
      if (j) text_printf(out, ", ");
      if (item->arg[j] < 0)
        text_printf(out, "-");
      else
        text_printf(out, "%d", item->arg[j]);
    }
    text_printf(out, ")");
    for (int j = 0; j < item->nattr; j++) graph_dump_attr(out, &item->attr[j]);
  }
  text_printf(out, "}");
}

static void put_node(struct text *out, const struct graph *g, const struct node *n) {
  for (size_t k = 0; k < n->out.n; k++) {
    if (k) text_printf(out, ", ");
    put_tensor(out, g, n->out.v[k]);
  }
  text_printf(out, " = %s(", n->op->name);
  put_inputs(out, g, n);
  text_printf(out, ")");
  if (*n->name) {
    text_printf(out, " @");
    put_name(out, n->name);
  }
  for (int k = 0; k < n->nattr; k++) graph_dump_attr(out, &n->attr[k]);
  if (n->body) put_body(out, n);
  text_printf(out, "\n");
}

static void put_constants(struct text *out, const struct graph *g, const int *uses) {
  for (size_t i = 0; i < g->tensor.n; i++) {
    const struct gtensor *t = &g->tensor.v[i];
    if (!uses[i] || t->producer >= 0 || t->is_input || !t->t.data) continue;
    text_printf(out, "const ");
    put_tensor(out, g, (int)i);
    text_printf(out, " = ");
    put_data(out, &t->t);
    text_printf(out, "\n");
  }
}

enum fvm_status graph_dump(const struct graph *g, struct text *out) {
  struct arena a = {0};
  const int *uses = graph_uses(g, &a);
  if (uses) {
    text_printf(out, "graph ");
    put_name(out, g->name);
    text_printf(out, " opset=%d hash=%016" PRIx64 "\n", g->opset, g->model_hash);
    for (size_t i = 0; i < g->input.n; i++) {
      text_printf(out, "input ");
      put_tensor(out, g, g->input.v[i]);
      text_printf(out, "\n");
    }
    put_constants(out, g, uses);
    for (size_t i = 0; i < g->node.n; i++)
      if (!g->node.v[i].dead) put_node(out, g, &g->node.v[i]);
    for (size_t i = 0; i < g->output.n; i++) {
      text_printf(out, "output ");
      put_name(out, g->tensor.v[g->output.v[i]].name);
      text_printf(out, "\n");
    }
  }
  arena_free(&a);
  return uses && !out->failed ? FVM_OK : FVM_ENOMEM;
}
