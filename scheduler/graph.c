/* The graph's own operations; contracts in graph.h. */
#include "graph.h"

#include "mapping.h"
#include "names.h"

#include <string.h>

struct graph *graph_new(void) {
  struct graph *g = fvm_alloc(1, sizeof *g);
  if (g) g->name = "";
  return g;
}

static void node_free(struct node *n) {
  VEC_FREE(&n->in);
  VEC_FREE(&n->out);
}

void graph_free(struct graph *g) {
  if (!g) return;
  graph_free(g->other);
  for (size_t i = 0; i < g->node.n; i++) node_free(&g->node.v[i]);
  VEC_FREE(&g->node);
  VEC_FREE(&g->tensor);
  VEC_FREE(&g->input);
  VEC_FREE(&g->output);
  VEC_FREE(&g->miss);
  arena_free(&g->arena);
  mapping_release(g->mapping);
  fvm_free(g, 1, sizeof *g);
}

static bool copy_node(const struct node *from, struct node *to) {
  *to = *from;
  memset(&to->in, 0, sizeof to->in);
  memset(&to->out, 0, sizeof to->out);
  bool ok = true;
  for (size_t k = 0; ok && k < from->in.n; k++) ok = VEC_PUSH(&to->in, from->in.v[k]);
  for (size_t k = 0; ok && k < from->out.n; k++) ok = VEC_PUSH(&to->out, from->out.v[k]);
  return ok;
}

struct graph *graph_fork(const struct graph *g) {
  struct graph *f = graph_new();
  if (!f) return NULL;
  f->name = g->name;
  f->model_hash = g->model_hash;
  f->opset = g->opset;
  bool ok = true;
  for (size_t i = 0; ok && i < g->tensor.n; i++) ok = VEC_PUSH(&f->tensor, g->tensor.v[i]);
  for (size_t i = 0; ok && i < g->input.n; i++) ok = VEC_PUSH(&f->input, g->input.v[i]);
  for (size_t i = 0; ok && i < g->output.n; i++) ok = VEC_PUSH(&f->output, g->output.v[i]);
  for (size_t i = 0; ok && i < g->node.n; i++) {
    struct node n = {0};
    ok = VEC_PUSH(&f->node, n) && copy_node(&g->node.v[i], &f->node.v[i]);
  }
  if (ok) return f;
  graph_free(f);
  return NULL;
}

int graph_add_tensor(struct graph *g, const char *name) {
  struct gtensor t = {.name = arena_strdup(&g->arena, name), .producer = -1};
  if (!t.name || g->tensor.n >= INT32_MAX || !VEC_PUSH(&g->tensor, t)) return -1;
  return (int)g->tensor.n - 1;
}

int graph_add_node(struct graph *g, const char *name, const struct op *op) {
  struct node n = {.name = arena_strdup(&g->arena, name), .op = op};
  if (!n.name || g->node.n >= INT32_MAX || !VEC_PUSH(&g->node, n)) return -1;
  return (int)g->node.n - 1;
}

bool node_add_in(struct graph *g, int node, int tensor) {
  struct node *n = &g->node.v[node];
  if (!VEC_PUSH(&n->in, tensor)) return false;
  if (!n->body) n->nown = (int)n->in.n;
  return true;
}

bool node_add_out(struct graph *g, int node, int tensor) {
  if (!VEC_PUSH(&g->node.v[node].out, tensor)) return false;
  if (tensor >= 0) g->tensor.v[tensor].producer = node;
  return true;
}

void node_kill(struct graph *g, int node) {
  struct node *n = &g->node.v[node];
  n->dead = true;
  for (size_t k = 0; k < n->out.n; k++)
    if (n->out.v[k] >= 0 && g->tensor.v[n->out.v[k]].producer == node)
      g->tensor.v[n->out.v[k]].producer = -1;
}

static void view(const struct graph *g, const int *id, size_t n, struct tensor *t) {
  for (size_t i = 0; i < n; i++)
    if (id[i] >= 0) t[i] = g->tensor.v[id[i]].t;
}

enum fvm_status graph_opcall(const struct graph *g, int node, struct arena *a, struct opcall *c,
                             struct fvm_error *err) {
  const struct node *n = &g->node.v[node];
  *c = (struct opcall){.op = n->op,
                       .nin = (int)n->in.n,
                       .nown = n->nown,
                       .nout = (int)n->out.n,
                       .attr = n->attr,
                       .nattr = n->nattr,
                       .body = n->body,
                       .opset = g->opset};
  c->in = ARENA_NEW(a, struct tensor, n->in.n);
  c->out = ARENA_NEW(a, struct tensor, n->out.n);
  if (!c->in || !c->out) return fvm_nomem(err);
  view(g, n->in.v, n->in.n, c->in);
  view(g, n->out.v, n->out.n, c->out);
  return FVM_OK;
}

bool node_picks_rows(const struct node *n, int in) {
  return in == 0 && strncmp(n->op->name, "Gather", 6) == 0;
}

int *graph_uses(const struct graph *g, struct arena *a) {
  int *uses = ARENA_NEW(a, int, g->tensor.n);
  if (!uses) return NULL;
  for (size_t i = 0; i < g->node.n; i++) {
    const struct node *n = &g->node.v[i];
    for (size_t k = 0; !n->dead && k < n->in.n; k++)
      if (n->in.v[k] >= 0) uses[n->in.v[k]]++;
  }
  for (size_t i = 0; i < g->output.n; i++) uses[g->output.v[i]]++;
  return uses;
}

int graph_state(const struct graph *g, int tensor) {
  for (int i = 0; i < (int)g->node.n; i++) {
    const struct node *n = &g->node.v[i];
    if (!n->dead && (n->op->flags & OPF_STATE) && (n->in.v[0] == tensor || n->out.v[0] == tensor))
      return i;
  }
  return -1;
}

/* ---- order ---- */

/* Depth-first over producers, starting from each node in turn: a graph that is in order stays as
 * it is, and a node that was added at the end comes right before its first consumer. The stack is
 * our own, since graphs are as deep as they are long. */
struct sorting {
  const struct graph *g;
  enum { NEW, OPEN, DONE } * state;
  size_t *next;  /* input to look at next */
  int *stack;    /* open nodes, each a producer for the one below it */
  int *order, n; /* result */
};

static int pending_producer(struct sorting *s, int node) {
  const struct node *n = &s->g->node.v[node];
  while (s->next[node] < n->in.n) {
    int t = n->in.v[s->next[node]++];
    int p = t < 0 ? -1 : s->g->tensor.v[t].producer;
    if (p >= 0 && s->state[p] != DONE) return p;
  }
  return -1;
}

static enum fvm_status visit(struct sorting *s, int root, struct fvm_error *err) {
  int depth = 0;
  s->stack[depth++] = root;
  s->state[root] = OPEN;
  while (depth > 0) {
    int node = s->stack[depth - 1], p = pending_producer(s, node);
    if (p < 0) {
      s->state[node] = DONE;
      s->order[s->n++] = node;
      depth--;
    } else if (s->state[p] == OPEN || s->g->node.v[p].dead) {
      return fvm_fail(err, FVM_EFORMAT, "node '%s' is part of a cycle: it needs its own result",
                      s->g->node.v[p].name);
    } else {
      s->state[p] = OPEN;
      s->stack[depth++] = p;
    }
  }
  return FVM_OK;
}

/* Move the live nodes into their new order and free the dead ones. */
static bool reorder(struct graph *g, const int *order, int n) {
  struct node *sorted = fvm_alloc((size_t)MAX(n, 1), sizeof *sorted);
  if (!sorted) return false;
  for (size_t i = 0; i < g->tensor.n; i++) g->tensor.v[i].producer = -1;
  for (int i = 0; i < n; i++) {
    sorted[i] = g->node.v[order[i]];
    for (size_t k = 0; k < sorted[i].out.n; k++)
      if (sorted[i].out.v[k] >= 0) g->tensor.v[sorted[i].out.v[k]].producer = i;
  }
  for (size_t i = 0; i < g->node.n; i++)
    if (g->node.v[i].dead) node_free(&g->node.v[i]);
  VEC_FREE(&g->node);
  g->node.v = sorted;
  g->node.n = (size_t)n;
  g->node.cap = (size_t)MAX(n, 1);
  return true;
}

enum fvm_status graph_compact(struct graph *g, struct fvm_error *err) {
  struct arena a = {0};
  size_t n = g->node.n;
  struct sorting s = {.g = g,
                      .state = arena_alloc(&a, n, sizeof *s.state),
                      .next = ARENA_NEW(&a, size_t, n),
                      .stack = ARENA_NEW(&a, int, n),
                      .order = ARENA_NEW(&a, int, n)};
  enum fvm_status st = s.state && s.next && s.stack && s.order ? FVM_OK : fvm_nomem(err);
  for (size_t i = 0; st == FVM_OK && i < n; i++)
    if (!g->node.v[i].dead && s.state[i] == NEW) st = visit(&s, (int)i, err);
  if (st == FVM_OK && !reorder(g, s.order, s.n)) st = fvm_nomem(err);
  arena_free(&a);
  return st;
}

/* ---- check ---- */

#define BROKEN(...) fvm_fail(err, FVM_EFORMAT, "graph is not sound: " __VA_ARGS__)

static bool known(const struct graph *g, int t) { return t >= 0 && (size_t)t < g->tensor.n; }

/* A tensor that a node reads must come from somewhere earlier. */
static enum fvm_status check_in(const struct graph *g, int node, int t, bool shapes,
                                struct fvm_error *err) {
  const char *name = g->node.v[node].name;
  if (t == -1) return FVM_OK;
  if (!known(g, t)) return BROKEN("node '%s' reads tensor %d, which doesn't exist", name, t);
  const struct gtensor *x = &g->tensor.v[t];
  if (x->producer < 0 && !x->is_input && !x->t.data)
    return BROKEN("node '%s' reads '%s', which nothing makes", name, x->name);
  if (x->producer >= node) return BROKEN("node '%s' reads '%s' before it is made", name, x->name);
  if (shapes && x->t.dtype == FVM_NONE)
    return BROKEN("node '%s' reads '%s' of unknown shape", name, x->name);
  return FVM_OK;
}

static enum fvm_status check_out(const struct graph *g, int node, int t, bool shapes,
                                 struct fvm_error *err) {
  const char *name = g->node.v[node].name;
  if (t == -1) return FVM_OK;
  if (!known(g, t)) return BROKEN("node '%s' makes tensor %d, which doesn't exist", name, t);
  const struct gtensor *x = &g->tensor.v[t];
  if (x->producer != node || x->is_input || x->t.data)
    return BROKEN("node '%s' isn't the only one to make '%s'", name, x->name);
  if (shapes && x->t.dtype == FVM_NONE)
    return BROKEN("node '%s' makes '%s' of unknown shape", name, x->name);
  return FVM_OK;
}

static enum fvm_status check_body(const struct node *n, struct fvm_error *err) {
  if (!n->body) {
    if (n->nown != (int)n->in.n) return BROKEN("node '%s' has inputs for no body", n->name);
    return FVM_OK;
  }
  if (n->nown > (int)n->in.n || n->body->n < 1 || n->out.n != 1)
    return BROKEN("node '%s' and its body differ", n->name);
  for (int k = 0; k < n->body->n; k++) {
    const struct body_item *item = &n->body->item[k];
    int made = (int)n->in.n + 1 + k;
    if (!(item->op->flags & OPF_ELT) || item->narg < 1 || item->narg > BODY_MAXARG)
      return BROKEN("node '%s': item %d of its body is no element-wise operator", n->name, k);
    for (int j = 0; j < item->narg; j++)
      if (item->arg[j] < -1 || item->arg[j] >= made)
        return BROKEN("node '%s': item %d of its body reads value %d, which comes later", n->name,
                      k, item->arg[j]);
  }
  return FVM_OK;
}

static enum fvm_status check_node(const struct graph *g, int i, bool shapes,
                                  struct fvm_error *err) {
  const struct node *n = &g->node.v[i];
  if (n->dead) return FVM_OK;
  enum fvm_status st = check_body(n, err);
  for (size_t k = 0; st == FVM_OK && k < n->in.n; k++) st = check_in(g, i, n->in.v[k], shapes, err);
  for (size_t k = 0; st == FVM_OK && k < n->out.n; k++)
    st = check_out(g, i, n->out.v[k], shapes, err);
  return st;
}

static enum fvm_status check_tensor(const struct graph *g, int i, struct names *names,
                                    struct fvm_error *err) {
  const struct gtensor *t = &g->tensor.v[i];
  if (names_find(names, t->name) >= 0) return BROKEN("two tensors have the name '%s'", t->name);
  if (!names_add(names, t->name, i)) return fvm_nomem(err);
  if (t->producer < 0) return FVM_OK;
  if ((size_t)t->producer >= g->node.n || g->node.v[t->producer].dead)
    return BROKEN("'%s' is made by a node that is gone", t->name);
  const struct node *n = &g->node.v[t->producer];
  for (size_t k = 0; k < n->out.n; k++)
    if (n->out.v[k] == i) return FVM_OK;
  return BROKEN("'%s' isn't made by node '%s'", t->name, n->name);
}

static enum fvm_status check_ends(const struct graph *g, struct fvm_error *err) {
  for (size_t i = 0; i < g->input.n; i++)
    if (!known(g, g->input.v[i]) || !g->tensor.v[g->input.v[i]].is_input)
      return BROKEN("input %zu isn't one", i);
  for (size_t i = 0; i < g->output.n; i++) {
    if (!known(g, g->output.v[i])) return BROKEN("output %zu doesn't exist", i);
    const struct gtensor *t = &g->tensor.v[g->output.v[i]];
    if (!t->is_output || (t->producer < 0 && !t->is_input && !t->t.data))
      return BROKEN("output '%s' is made by nothing", t->name);
  }
  return FVM_OK;
}

enum fvm_status graph_check(const struct graph *g, bool shapes_known, struct fvm_error *err) {
  struct names names = {0};
  enum fvm_status st = check_ends(g, err);
  for (size_t i = 0; st == FVM_OK && i < g->tensor.n; i++)
    st = check_tensor(g, (int)i, &names, err);
  for (size_t i = 0; st == FVM_OK && i < g->node.n; i++)
    st = check_node(g, (int)i, shapes_known, err);
  names_free(&names);
  return st;
}
