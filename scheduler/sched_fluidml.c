/* FluidML's policy (arXiv 2411.09242), from its description: the graph is cut into paths, the
 * longest first; on each path alone dynamic programming finds the layouts in which its nodes take
 * the least time; where paths meet, the first one's layout stays.
 *
 * Its operators read any layout, by strides, and were measured for each. Ours read the layouts that
 * they have labels for. What stands for an operator that reads another one is the label behind a
 * conversion, and takes the time of both. */
#include "sched.h"

#include <stdlib.h>
#include <string.h>

/* A path: nodes of which each reads what the one before makes. */
struct path {
  int first, n; /* in flow->node */
};
/* Nodes that are connected and on no path yet, ascending: a list by flow->next. */
struct part {
  int head, tail;
};
struct flow {
  struct sched *w;
  VEC(struct part) part;
  VEC(struct path) path;
  int *in;    /* by node: 1 + its part; 0: dead, or on a path */
  int *next;  /* by node; -1: the last one of its part */
  int *up;    /* by node: one before it in its part to which it is connected, or itself */
  int *depth; /* by node: nodes of the longest path that ends there */
  int *input; /* and by which input that comes; -1: it begins there */
  int *node;  /* of all paths, one after the other */
  int nnode;
  struct reach *reach; /* by place in `node` and layout: see walk */
  enum layout *layout; /* by tensor: as decided; LAYOUT_COUNT: not yet */
};

static const struct node *node_of(const struct flow *f, int node) { return &f->w->g->node.v[node]; }

/* The node that makes an input, or -1. */
static int maker(const struct flow *f, int node, size_t input) {
  int t = node_of(f, node)->in.v[input];
  return sched_is_run_time(f->w, t) ? f->w->g->tensor.v[t].producer : -1;
}

/* ---- paths ----------------------------------------------------------------------------------- */

/* The last node of a longest path in a part; the first of several. */
static int longest(struct flow *f, struct part p) {
  int best = p.head, in = f->in[p.head];
  for (int x = p.head; x >= 0; x = f->next[x]) {
    f->depth[x] = 1;
    f->input[x] = -1;
    for (size_t k = 0; k < node_of(f, x)->in.n; k++) {
      int m = maker(f, x, k);
      if (m < 0 || f->in[m] != in || f->depth[m] < f->depth[x]) continue;
      f->depth[x] = f->depth[m] + 1;
      f->input[x] = (int)k;
    }
    if (f->depth[x] > f->depth[best]) best = x;
  }
  return best;
}

static bool add_path(struct flow *f, int end) {
  struct path p = {f->nnode, f->depth[end]};
  f->nnode += p.n;
  for (int x = end, i = p.n; i-- > 0; x = i ? maker(f, x, (size_t)f->input[x]) : x) {
    f->node[p.first + i] = x;
    f->in[x] = 0;
  }
  return VEC_PUSH(&f->path, p);
}

static int first_of(const struct flow *f, int x) {
  while (f->up[x] != x) x = f->up[x] = f->up[f->up[x]];
  return x;
}

/* Let each node know the first one that it is connected to. */
static void connect(struct flow *f, struct part p, int in) {
  for (int x = p.head; x >= 0; x = f->next[x]) f->up[x] = x;
  for (int x = p.head; x >= 0; x = f->next[x])
    for (size_t k = 0; f->in[x] == in && k < node_of(f, x)->in.n; k++) {
      int m = maker(f, x, k);
      if (m < 0 || f->in[m] != in) continue;
      int a = first_of(f, m), b = first_of(f, x);
      f->up[MAX(a, b)] = MIN(a, b);
    }
}

/* What a path leaves of a part becomes parts that are connected. */
static bool split(struct flow *f, struct part p, int in) {
  connect(f, p, in);
  for (int x = p.head, next; x >= 0; x = next) {
    next = f->next[x];
    if (f->in[x] != in) continue;
    int first = first_of(f, x);
    f->next[x] = -1;
    if (first == x) {
      if (!VEC_PUSH(&f->part, ((struct part){x, x}))) return false;
      f->in[x] = (int)f->part.n;
      continue;
    }
    struct part *own = &f->part.v[f->in[first] - 1];
    f->next[own->tail] = x;
    own->tail = x;
    f->in[x] = f->in[first];
  }
  return true;
}

static int by_length(const void *x, const void *y) {
  const struct path *a = x, *b = y;
  return a->n != b->n ? b->n - a->n : a->first - b->first;
}

/* All live nodes as one part, which is cut until nothing is left. */
static bool cut(struct flow *f) {
  struct part all = {-1, -1};
  for (int i = 0; i < (int)f->w->g->node.n; i++) {
    if (node_of(f, i)->dead) continue;
    if (all.head < 0)
      all.head = i;
    else
      f->next[all.tail] = i;
    all.tail = i;
    f->next[i] = -1;
    f->in[i] = 1;
  }
  if (all.head >= 0 && !VEC_PUSH(&f->part, all)) return false;
  for (size_t i = 0; i < f->part.n; i++) {
    struct part p = f->part.v[i];
    if (!add_path(f, longest(f, p)) || !split(f, p, (int)i + 1)) return false;
  }
  if (f->path.n) qsort(f->path.v, f->path.n, sizeof *f->path.v, by_length);
  return true;
}

/* ---- layouts of one path --------------------------------------------------------------------- */

/* The least time of a path up to a node that then makes a layout. */
struct reach {
  int64_t ns;
  int choice;
  enum layout from; /* that the node before makes */
};

/* Which output the next node of the path reads; the last node has its first one. */
static int output_of(const struct flow *f, const struct path *p, int i) {
  if (i + 1 == p->n) return 0;
  int next = f->node[p->first + i + 1], t = node_of(f, next)->in.v[f->input[next]], k = 0;
  while (node_of(f, f->node[p->first + i])->out.v[k] != t) k++;
  return k;
}

static struct reach *reach_at(const struct flow *f, const struct path *p, int i) {
  return &f->reach[(size_t)(p->first + i) * LAYOUT_COUNT];
}

/* The best way to what node i reads in a layout. */
static int64_t approach(struct flow *f, const struct path *p, int i, enum layout want,
                        enum layout *from) {
  int x = f->node[p->first + i];
  int64_t best = i ? SOLVE_INF : 0;
  for (int l = 0; i && l < LAYOUT_COUNT; l++) {
    int64_t ns = reach_at(f, p, i - 1)[l].ns;
    if (ns >= best) continue;
    ns += sched_convert_ns(f->w, node_of(f, x)->in.v[f->input[x]], (enum layout)l, want);
    if (ns >= best) continue;
    best = ns;
    *from = (enum layout)l;
  }
  return best;
}

/* Every label of node i behind the best way to it. */
static void step(struct flow *f, const struct path *p, int i) {
  int x = f->node[p->first + i], out = output_of(f, p, i);
  const struct menu *m = f->w->node[x].menu;
  struct reach *r = reach_at(f, p, i);
  for (int l = 0; l < LAYOUT_COUNT; l++) r[l].ns = SOLVE_INF;
  for (int k = 0; k < m->n; k++) {
    enum layout from = LAYOUT_ROW, to = label_out(&m->choice[k].label, out);
    enum layout want = i ? label_in(&m->choice[k].label, f->input[x]) : LAYOUT_ROW;
    int64_t ns = approach(f, p, i, want, &from);
    ns = MIN(SOLVE_INF, ns + sched_choice_ns(f->w, x, k));
    if (ns < r[to].ns) r[to] = (struct reach){ns, k, from};
  }
}

/* Layouts of a label's inputs and outputs, where none are decided yet. */
static void decide(struct flow *f, int x, int choice) {
  const struct node *n = node_of(f, x);
  const struct label *l = &f->w->node[x].menu->choice[choice].label;
  for (size_t k = 0; k < n->in.n; k++)
    if (sched_is_run_time(f->w, n->in.v[k]) && f->layout[n->in.v[k]] == LAYOUT_COUNT)
      f->layout[n->in.v[k]] = label_in(l, (int)k);
  for (size_t k = 0; k < n->out.n; k++)
    if (n->out.v[k] >= 0 && f->layout[n->out.v[k]] == LAYOUT_COUNT)
      f->layout[n->out.v[k]] = label_out(l, (int)k);
}

static void walk(struct flow *f, const struct path *p) {
  enum layout at = LAYOUT_ROW;
  for (int i = 0; i < p->n; i++) step(f, p, i);
  for (int l = 0; l < LAYOUT_COUNT; l++)
    if (reach_at(f, p, p->n - 1)[l].ns < reach_at(f, p, p->n - 1)[at].ns) at = (enum layout)l;
  for (int i = p->n; i-- > 0;) {
    const struct reach *r = &reach_at(f, p, i)[at];
    f->w->node[f->node[p->first + i]].choice = r->choice;
    at = r->from;
  }
  for (int i = 0; i < p->n; i++) {
    int x = f->node[p->first + i];
    decide(f, x, f->w->node[x].choice);
  }
}

/* ---- order ----------------------------------------------------------------------------------- */

/* Paths as they come, each node behind those that it reads from. `depth` tells who has a turn. */
static void take_turns(struct flow *f, int *turn) {
  int n = 0, top = 0, *stack = f->next;
  memset(f->depth, 0, f->w->g->node.n * sizeof *f->depth);
  for (size_t i = 0; i < f->path.n; i++)
    for (int j = 0; j < f->path.v[i].n; j++) {
      stack[top++] = f->node[f->path.v[i].first + j];
      while (top > 0) {
        int x = stack[top - 1], before = -1;
        for (size_t k = 0; k < node_of(f, x)->in.n && !f->depth[x]; k++) {
          int m = maker(f, x, k);
          if (m >= 0 && !f->depth[m]) before = m;
        }
        if (before >= 0) {
          stack[top++] = before;
          continue;
        }
        if (!f->depth[x]) turn[n++] = x;
        f->depth[x] = 1;
        top--;
      }
    }
  for (int i = 0; i < (int)f->w->g->node.n; i++)
    if (!f->depth[i]) turn[n++] = i; /* dead ones */
}

static bool set_up(struct flow *f) {
  struct arena *a = &f->w->a;
  size_t n = f->w->g->node.n;
  int **by_node[] = {&f->in, &f->next, &f->up, &f->depth, &f->input, &f->node, &f->w->turn};
  bool ok = true;
  for (size_t i = 0; i < COUNT(by_node); i++)
    ok = (*by_node[i] = ARENA_NEW(a, int, n)) != NULL && ok;
  f->reach = ARENA_NEW(a, struct reach, n * LAYOUT_COUNT);
  f->layout = ARENA_NEW(a, enum layout, f->w->g->tensor.n);
  if (!ok || !f->reach || !f->layout) return false;
  for (size_t t = 0; t < f->w->g->tensor.n; t++) {
    const struct gtensor *x = &f->w->g->tensor.v[t];
    f->layout[t] = x->is_input || x->is_output ? f->w->io[t] : LAYOUT_COUNT;
  }
  return true;
}

enum fvm_status sched_fluidml(struct sched *w) {
  struct flow f = {.w = w};
  bool ok = set_up(&f) && cut(&f);
  for (size_t i = 0; ok && i < f.path.n; i++) walk(&f, &f.path.v[i]);
  if (ok) take_turns(&f, w->turn);
  VEC_FREE(&f.part);
  VEC_FREE(&f.path);
  if (!ok) return fvm_nomem(w->err);
  return sched_settle(w, f.layout, false);
}
