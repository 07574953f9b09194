/* What is not supported of a model, all at once. */
#include "onnx_impl.h"

#include <string.h>

/* An error text has room for so many characters; nodes are named as far as that allows. */
enum { SHOWN_NODES = 3, SHOWN_TEXT = 330, MAX_KINDS = 64 };

struct unsupported {
  const Onnx__NodeProto *first[SHOWN_NODES];
  int n;
};

static bool same_op(const Onnx__NodeProto *a, const Onnx__NodeProto *b) {
  return !strcmp(str(a->op_type), str(b->op_type)) && !strcmp(str(a->domain), str(b->domain));
}

static int collect(const struct onnx_import *m, const Onnx__GraphProto *p, struct unsupported *kind,
                   int *rest) {
  int n = 0;
  for (size_t i = 0; i < p->n_node; i++) {
    const Onnx__NodeProto *node = p->node[i];
    if (onnx_is_constant(node) || onnx_find_op(m, node)) continue;
    int k = 0;
    while (k < n && !same_op(kind[k].first[0], node)) k++;
    if (k == MAX_KINDS) {
      ++*rest;
      continue;
    }
    if (k == n) kind[n++] = (struct unsupported){0};
    if (kind[k].n < SHOWN_NODES) kind[k].first[kind[k].n] = node;
    kind[k].n++;
  }
  return n;
}

static void put_kind(struct text *t, const struct onnx_import *m, const struct unsupported *u,
                     int names) {
  const Onnx__NodeProto *p = u->first[0];
  const struct op *op = op_find(str(p->op_type), strlen(str(p->op_type)));
  text_printf(t, "%.40s%s%.40s", str(p->domain), *str(p->domain) ? "." : "", str(p->op_type));
  if (op && onnx_is_own_domain(p->domain) && op->since > m->g->opset)
    text_printf(t, " before opset %d", op->since);
  if (names == 0) {
    if (u->n > 1) text_printf(t, " (%d)", u->n);
    return;
  }
  text_printf(t, u->n == 1 ? " (node " : " (nodes ");
  for (int i = 0; i < MIN(u->n, names); i++)
    text_printf(t, "%s'%.60s'", i ? ", " : "", onnx_node_name(u->first[i]));
  if (u->n > names) text_printf(t, " and %d more", u->n - names);
  text_printf(t, ")");
}

/* All kinds with at most that many nodes each; what has no room is counted. */
static void put_kinds(struct text *t, const struct onnx_import *m, const struct unsupported *kind,
                      int n, int rest, int names) {
  int shown = 0;
  text_printf(t, "%d%s unsupported: ", n, n == MAX_KINDS ? " or more" : "");
  for (; shown < n && t->n < SHOWN_TEXT; shown++) {
    if (shown) text_printf(t, ", ");
    put_kind(t, m, &kind[shown], names);
  }
  for (int k = shown; k < n; k++) rest += kind[k].n;
  if (rest) text_printf(t, ", and %d other nodes", rest);
}

enum fvm_status onnx_check_supported(struct onnx_import *m, const Onnx__GraphProto *p) {
  static const int names[] = {SHOWN_NODES, 1, 0};
  struct unsupported kind[MAX_KINDS];
  struct text t = {0};
  int rest = 0, n = collect(m, p, kind, &rest);
  if (n == 0) return FVM_OK;
  for (size_t i = 0; i < COUNT(names) && (i == 0 || t.n > SHOWN_TEXT); i++) {
    text_free(&t);
    put_kinds(&t, m, kind, n, rest, names[i]);
  }
  enum fvm_status st = t.failed ? fvm_nomem(m->err) : fvm_fail(m->err, FVM_EUNSUPPORTED, "%s", t.v);
  text_free(&t);
  return st;
}
