/* Rows of the arena within a part of all choices. Contract: sched_fit.h.
 *
 * A row is the sum of few terms, so what a label adds to the least that the others add tells at
 * once whether it can be used at all. Most of what a limit on the arena means is found that way,
 * before any search: a conversion of the largest tensors, a layout that pads them. */
#include "sched_fit.h"

static int labels_of(const struct fit *f, int v) { return f->n.net.var.v[v].n; }

static int64_t least_of_var(const struct fit *f, const struct part *p, const struct arena_term *t) {
  int64_t least = INT64_MAX;
  for (int k = 0; k < labels_of(f, t->at); k++)
    if (part_has(f, p, t->at, k)) least = MIN(least, t->use[k]);
  return least;
}

/* Of an edge with one end's label given (-1: any). */
static int64_t least_of_edge(const struct fit *f, const struct part *p, const struct arena_term *t,
                             int iu, int iv) {
  const struct solve_edge *e = &f->n.net.edge.v[t->at];
  int nu = labels_of(f, e->u), nv = labels_of(f, e->v);
  int64_t least = INT64_MAX;
  for (int i = iu < 0 ? 0 : iu; i < (iu < 0 ? nu : iu + 1); i++)
    for (int k = iv < 0 ? 0 : iv; k < (iv < 0 ? nv : iv + 1); k++)
      if (part_has(f, p, e->u, i) && part_has(f, p, e->v, k))
        least = MIN(least, t->use[i * nv + k]);
  return least;
}

/* INT64_MAX: some variable has no label left. */
static int64_t least_of_row(const struct fit *f, const struct part *p,
                            const struct arena_row *row) {
  int64_t sum = row->fixed;
  for (size_t i = 0; i < row->var.n; i++) {
    int64_t least = least_of_var(f, p, &row->var.v[i]);
    if (least == INT64_MAX) return INT64_MAX;
    sum += least;
  }
  for (size_t i = 0; i < row->edge.n; i++) {
    int64_t least = least_of_edge(f, p, &row->edge.v[i], -1, -1);
    if (least == INT64_MAX) return INT64_MAX;
    sum += least;
  }
  return sum;
}

static bool drop(const struct fit *f, struct part *p, int v, int k) {
  part_drop(f, p, v, k);
  return true;
}

/* What is left of the limit for one term is `most`. Returns whether a label was dropped. */
static bool narrow_var(const struct fit *f, struct part *p, const struct arena_term *t,
                       int64_t most) {
  bool any = false;
  for (int k = 0; k < labels_of(f, t->at); k++)
    if (part_has(f, p, t->at, k) && t->use[k] > most) any = drop(f, p, t->at, k);
  return any;
}

static bool narrow_edge(const struct fit *f, struct part *p, const struct arena_term *t,
                        int64_t most) {
  const struct solve_edge *e = &f->n.net.edge.v[t->at];
  bool any = false;
  for (int i = 0; i < labels_of(f, e->u); i++)
    if (part_has(f, p, e->u, i) && least_of_edge(f, p, t, i, -1) > most) any = drop(f, p, e->u, i);
  for (int k = 0; k < labels_of(f, e->v); k++)
    if (part_has(f, p, e->v, k) && least_of_edge(f, p, t, -1, k) > most) any = drop(f, p, e->v, k);
  return any;
}

/* One row; *any: a label was dropped. */
static bool narrow(const struct fit *f, struct part *p, const struct arena_row *row, bool *any) {
  int64_t sum = least_of_row(f, p, row);
  if (sum > p->high) return false;
  p->low = MAX(p->low, sum);
  for (size_t i = 0; i < row->var.n; i++) {
    const struct arena_term *t = &row->var.v[i];
    *any |= narrow_var(f, p, t, p->high - sum + least_of_var(f, p, t));
  }
  for (size_t i = 0; i < row->edge.n; i++) {
    const struct arena_term *t = &row->edge.v[i];
    *any |= narrow_edge(f, p, t, p->high - sum + least_of_edge(f, p, t, -1, -1));
  }
  return true;
}

bool rows_narrow(const struct fit *f, struct part *p) {
  bool any = true;
  while (any) {
    any = false;
    for (size_t r = 0; r < f->arena.row.n; r++)
      if (!narrow(f, p, &f->arena.row.v[r], &any)) return false;
  }
  return true;
}

void rows_forbid(const struct fit *f, const struct part *p, struct solve_net *work) {
  for (size_t r = 0; r < f->arena.row.n; r++) {
    const struct arena_row *row = &f->arena.row.v[r];
    int64_t sum = row->edge.n ? least_of_row(f, p, row) : 0;
    for (size_t i = 0; i < row->edge.n; i++) {
      const struct arena_term *t = &row->edge.v[i];
      const struct solve_edge *e = &f->n.net.edge.v[t->at];
      int64_t n = (int64_t)labels_of(f, e->u) * labels_of(f, e->v);
      int64_t most = p->high - sum + least_of_edge(f, p, t, -1, -1);
      for (int64_t k = 0; k < n; k++)
        if (t->use[k] > most) work->edge.v[t->at].cost[k] = SOLVE_INF;
    }
  }
}

static int64_t edge_use(const struct fit *f, const struct arena_term *t, const int *label) {
  const struct solve_edge *e = &f->n.net.edge.v[t->at];
  return t->use[label[e->u] * labels_of(f, e->v) + label[e->v]];
}

int64_t rows_use(const struct fit *f, const int *label, const struct arena_row **row) {
  int64_t most = 0;
  *row = NULL;
  for (size_t r = 0; r < f->arena.row.n; r++) {
    const struct arena_row *x = &f->arena.row.v[r];
    int64_t sum = x->fixed;
    for (size_t i = 0; i < x->var.n; i++) sum += x->var.v[i].use[label[x->var.v[i].at]];
    for (size_t i = 0; i < x->edge.n; i++) sum += edge_use(f, &x->edge.v[i], label);
    if (sum > most) most = sum, *row = x;
  }
  return most;
}

/* Labels of one end of a term that take less than the part's label does, alone or with the best
 * label of the other end. False: none does. */
static bool mark(const struct fit *f, const struct part *p, const struct arena_term *t, bool edge,
                 int v, int64_t now, bool *less) {
  bool any = false, first = edge && f->n.net.edge.v[t->at].u == v;
  for (int k = 0; k < labels_of(f, v); k++) {
    int64_t use = edge ? least_of_edge(f, p, t, first ? k : -1, first ? -1 : k) : t->use[k];
    less[k] = part_has(f, p, v, k) && k != p->label[v] && use < now;
    any |= less[k];
  }
  return any;
}

bool rows_blame(const struct fit *f, const struct part *p, const struct arena_row *row, int *var,
                bool *less) {
  const struct arena_term *worst = NULL;
  int64_t most = 0, now = 0;
  bool edge = false;
  for (size_t i = 0; i < row->var.n + row->edge.n; i++) {
    bool is_edge = i >= row->var.n;
    const struct arena_term *t = is_edge ? &row->edge.v[i - row->var.n] : &row->var.v[i];
    int64_t use = is_edge ? edge_use(f, t, p->label) : t->use[p->label[t->at]];
    int64_t more = use - (is_edge ? least_of_edge(f, p, t, -1, -1) : least_of_var(f, p, t));
    if (more > most) most = more, worst = t, edge = is_edge, now = use;
  }
  if (!worst) return false;
  *var = edge ? f->n.net.edge.v[worst->at].u : worst->at;
  if (mark(f, p, worst, edge, *var, now, less)) return true;
  CHECK(edge);
  *var = f->n.net.edge.v[worst->at].v;
  return mark(f, p, worst, edge, *var, now, less);
}
