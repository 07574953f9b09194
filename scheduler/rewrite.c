/* What passes share; contracts in pass.h. */
#include "pass.h"

#include <math.h>
#include <string.h>

/* ---- begin and end ---- */

/* Each node can be given this many new tensors. */
enum { NEW_PER_NODE = 4 * FVM_MAXRANK };

static bool index_names(struct rewrite *w) {
  for (size_t i = 0; i < w->g->tensor.n; i++)
    if (!names_add(&w->names, w->g->tensor.v[i].name, (int)i)) return false;
  return true;
}

enum fvm_status rewrite_begin(struct rewrite *w, struct graph *g, struct fvm_error *err) {
  *w = (struct rewrite){.g = g, .err = err, .room = g->tensor.n + NEW_PER_NODE * g->node.n};
  w->uses = ARENA_NEW(&w->arena, int, w->room);
  w->user = ARENA_NEW(&w->arena, int, w->room);
  w->alias = ARENA_NEW(&w->arena, int, w->room);
  const int *uses = graph_uses(g, &w->arena);
  if (!w->uses || !w->user || !w->alias || !uses || !index_names(w)) {
    rewrite_end(w);
    return fvm_nomem(err);
  }
  memcpy(w->uses, uses, g->tensor.n * sizeof *uses);
  for (size_t i = 0; i < w->room; i++) w->user[i] = -1, w->alias[i] = (int)i;
  for (size_t i = 0; i < g->node.n; i++)
    for (size_t k = 0; !g->node.v[i].dead && k < g->node.v[i].in.n; k++)
      if (g->node.v[i].in.v[k] >= 0) w->user[g->node.v[i].in.v[k]] = (int)i;
  return FVM_OK;
}

void rewrite_end(struct rewrite *w) {
  names_free(&w->names);
  arena_free(&w->arena);
}

enum fvm_status rewrite_each(struct graph *g, bool (*change)(struct rewrite *w, int i),
                             struct fvm_error *err) {
  struct rewrite w;
  enum fvm_status st = rewrite_begin(&w, g, err);
  if (st != FVM_OK) return st;
  bool ok = true;
  for (int i = 0, n = (int)g->node.n; ok && i < n; i++) ok = change(&w, i);
  rewrite_end(&w);
  return ok ? FVM_OK : fvm_nomem(err);
}

/* ---- changes ---- */

void rewrite_refresh(struct rewrite *w, int node) {
  struct node *n = node_at(w->g, node);
  for (size_t k = 0; k < n->in.n; k++) {
    int t = n->in.v[k];
    while (t >= 0 && w->alias[t] != t) t = w->alias[t];
    n->in.v[k] = t;
  }
}

/* y is an output of the graph and x, which isn't, takes its place: they swap their names. */
static void become_output(struct graph *g, int y, int x) {
  const char *name = g->tensor.v[x].name;
  g->tensor.v[x].name = g->tensor.v[y].name;
  g->tensor.v[y].name = name;
  g->tensor.v[x].is_output = true;
  g->tensor.v[y].is_output = false;
  for (size_t i = 0; i < g->output.n; i++)
    if (g->output.v[i] == y) g->output.v[i] = x;
}

void rewrite_kill(struct rewrite *w, int node) {
  const struct node *n = node_at(w->g, node);
  for (size_t k = 0; k < n->in.n; k++)
    if (n->in.v[k] >= 0) w->uses[n->in.v[k]]--;
  node_kill(w->g, node);
}

/* A node that lost an output goes when it was the last. */
static void lose_output(struct rewrite *w, int node, int y) {
  struct node *n = node_at(w->g, node);
  bool left = false;
  for (size_t k = 0; k < n->out.n; k++) {
    if (n->out.v[k] == y) n->out.v[k] = -1;
    left = left || n->out.v[k] >= 0;
  }
  if (!left) rewrite_kill(w, node);
}

bool rewrite_replace(struct rewrite *w, int y, int x) {
  struct graph *g = w->g;
  const struct gtensor *from = &g->tensor.v[y], *to = &g->tensor.v[x];
  if (from->is_output) {
    if (to->is_input || to->t.data || to->is_output || to->producer < 0) return false;
    become_output(g, y, x);
  }
  if (from->producer >= 0) lose_output(w, from->producer, y);
  g->tensor.v[y].producer = -1;
  w->alias[y] = x;
  w->uses[x] += w->uses[y];
  if (w->user[y] >= 0) w->user[x] = w->user[y];
  w->uses[y] = 0;
  return true;
}

bool rewrite_node(struct rewrite *w, int node, const char *op, int n, const int *in) {
  struct node *p = node_at(w->g, node);
  for (size_t k = 0; k < p->in.n; k++)
    if (p->in.v[k] >= 0) w->uses[p->in.v[k]]--;
  p->in.n = 0;
  p->op = op_find(op, strlen(op));
  CHECK(p->op);
  p->attr = NULL;
  p->nattr = 0;
  p->body = NULL;
  for (int k = 0; k < n; k++) {
    if (!node_add_in(w->g, node, in[k])) return false;
    if (in[k] < 0) continue;
    w->uses[in[k]]++;
    w->user[in[k]] = node;
  }
  return true;
}

void rewrite_input(struct rewrite *w, int node, int k, int t) {
  int *in = &node_at(w->g, node)->in.v[k];
  if (*in >= 0) w->uses[*in]--;
  *in = t;
  w->uses[t]++;
  w->user[t] = node;
}

int rewrite_add(struct rewrite *w, const char *name, const char *op, int n, const int *in,
                int out) {
  int i = graph_add_node(w->g, name, op_find(op, strlen(op)));
  return i >= 0 && rewrite_node(w, i, op, n, in) && node_add_out(w->g, i, out) ? i : -1;
}

struct attr *rewrite_attrs(struct rewrite *w, int node, int n) {
  struct attr *a = ARENA_NEW(&w->g->arena, struct attr, n);
  struct node *p = node_at(w->g, node);
  p->attr = a;
  p->nattr = a ? n : 0;
  return a;
}

bool rewrite_set(struct rewrite *w, int node, const struct attr *attr) {
  const struct node n = *node_at(w->g, node);
  int known = 0;
  while (known < n.nattr && strcmp(n.attr[known].name, attr->name) != 0) known++;
  struct attr *a = rewrite_attrs(w, node, MAX(n.nattr, known + 1));
  if (!a) return false;
  if (n.nattr) memcpy(a, n.attr, (size_t)n.nattr * sizeof *a);
  a[known] = *attr;
  return true;
}

bool rewrite_set_int(struct rewrite *w, int node, const char *name, int64_t v) {
  return rewrite_set(w, node, &(struct attr){.name = name, .kind = ATTR_INT, .i = v});
}

static const char *fresh_name(struct rewrite *w, const char *base) {
  for (int i = 0;; i++) {
    const char *s = i ? arena_printf(&w->arena, "%s.%d", base, i) : base;
    if (!s || names_find(&w->names, s) < 0) return s;
  }
}

int rewrite_tensor(struct rewrite *w, const char *base, const struct tensor *t) {
  const char *name = fresh_name(w, base);
  int i = name ? graph_add_tensor(w->g, name) : -1;
  if (i < 0 || !names_add(&w->names, w->g->tensor.v[i].name, i)) return -1;
  CHECK((size_t)i < w->room);
  w->g->tensor.v[i].t = *t;
  return i;
}

int rewrite_constant(struct rewrite *w, const char *base, const struct tensor *t) {
  struct tensor copy = *t;
  void *data = arena_alloc(&w->g->arena, (size_t)tensor_bytes(t), 1);
  if (!data) return -1;
  memcpy(data, t->data, (size_t)tensor_bytes(t));
  copy.data = data;
  return rewrite_tensor(w, base, &copy);
}

int rewrite_ints(struct rewrite *w, const char *base, int n, const int64_t *v) {
  struct tensor t = {.dtype = FVM_I64, .rank = 1, .dim = {n}, .data = v};
  const char *name = arena_printf(&w->arena, "%s.dims", base);
  return name ? rewrite_constant(w, name, &t) : -1;
}

int only_user(const struct rewrite *w, int t) {
  int i = w->user[t];
  if (i < 0 || w->uses[t] != 1 || w->g->tensor.v[t].is_output) return -1;
  const struct node *n = node_at(w->g, i);
  for (size_t k = 0; !n->dead && k < n->in.n; k++)
    if (n->in.v[k] == t) return i;
  return -1;
}

/* ---- questions ---- */

bool is_op(const struct node *n, const char *op) {
  return !n->dead && !n->body && !strcmp(n->op->name, op);
}

int made_by(const struct graph *g, int t, const char *op) {
  int p = t < 0 ? -1 : g->tensor.v[t].producer;
  return p >= 0 && is_op(node_at(g, p), op) ? p : -1;
}

static double element(const struct tensor *t, int64_t i) {
  const void *p = (const char *)t->data + (size_t)i * fvm_dtype_bytes(t->dtype);
  float f;
  double d;
  int64_t l;
  int32_t j;
  switch (t->dtype) {
  case FVM_F32:
    memcpy(&f, p, 4);
    return (double)f;
  case FVM_F64:
    memcpy(&d, p, 8);
    return d;
  case FVM_I64:
    memcpy(&l, p, 8);
    return (double)l;
  case FVM_I32:
    memcpy(&j, p, 4);
    return (double)j;
  case FVM_BOOL:
    return *(const uint8_t *)p != 0;
  default:
    return (double)NAN; /* equal to nothing */
  }
}

bool scalar_of(const struct graph *g, int t, double *v) {
  if (t < 0) return false;
  const struct tensor *x = tensor_of(g, t);
  if (!x->data || (x->dtype != FVM_F32 && x->dtype != FVM_F64) || tensor_count(x) != 1)
    return false;
  *v = element(x, 0);
  return true;
}

bool is_uniform(const struct graph *g, int t, double v) {
  if (t < 0 || !tensor_of(g, t)->data) return false;
  const struct tensor *x = tensor_of(g, t);
  int64_t n = tensor_count(x);
  for (int64_t i = 0; i < n; i++)
    if (element(x, i) != v) return false;
  return n > 0;
}

const struct attr *node_attr(const struct node *n, const char *name) {
  for (int i = 0; i < n->nattr; i++)
    if (!strcmp(n->attr[i].name, name)) return &n->attr[i];
  return NULL;
}

int64_t node_int(const struct node *n, const char *name, int64_t otherwise) {
  const struct attr *a = node_attr(n, name);
  return a && a->kind == ATTR_INT ? a->i : otherwise;
}

float node_float(const struct node *n, const char *name, float otherwise) {
  const struct attr *a = node_attr(n, name);
  return a && a->kind == ATTR_FLOAT ? a->f : otherwise;
}

bool swaps_heads(const struct node *n) {
  static const int64_t perm[] = {0, 2, 1, 3};
  const struct attr *p = node_attr(n, "perm");
  return p && p->kind == ATTR_INTS && p->n == 4 && !memcmp(p->ints, perm, sizeof perm);
}

bool close_to(double a, double b) { return fabs(a - b) <= 1e-5 * fabs(b); }

int neutral_rest(const struct graph *g, const struct node *n) {
  static const struct {
    const char *op;
    double neutral;
    bool commutes;
  } rows[] = {{"Add", 0, true},  {"Sub", 0, false}, {"Mul", 1, true}, {"Div", 1, false},
              {"Pow", 1, false}, {"And", 1, true},  {"Or", 0, true}};
  for (size_t i = 0; i < COUNT(rows); i++) {
    if (strcmp(n->op->name, rows[i].op) != 0) continue;
    if (is_uniform(g, n->in.v[1], rows[i].neutral)) return n->in.v[0];
    if (rows[i].commutes && is_uniform(g, n->in.v[0], rows[i].neutral)) return n->in.v[1];
  }
  return -1;
}
