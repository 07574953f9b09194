/* What every order must hold while some step runs. Contract: order_net.h.
 *
 * When step v runs, all that precede it are done and none that follow it is. Of the rest any set
 * may be done that is closed under precedence; the one that leaves the fewest bytes live is a
 * minimum cut:
 *
 *   done (source side)            not done (sink side)
 *   those before v  ---+            +---  those after v
 *                      |            |
 *     t -> begun(x) --bytes--> open(x) -> t'       x is touched by t and t'
 *     t -> s                                       t waits for s: done only if s is
 *
 * A value of which one touching step is done and another is not is cut. What is live whatever the
 * rest does is summed up beforehand; the flow is only looked for where it can still raise the
 * bound.
 */
#include <stdlib.h>
#include <string.h>

#include "order_net.h"

enum { MAX_STEPS = 4096 };

struct arc {
  int to, next; /* of the same node; arc i ^ 1 is the way back */
  int64_t room;
};
struct flow {
  int source, sink, nnode;
  int *head, *level, *at, *queue;
  VEC(struct arc) arc;
};
struct bounder {
  const struct order_net *n;
  struct order_reach r;
  struct flow f;
  int *node; /* by step: in the flow, or -1 */
  int *value, nvalue;
  int64_t ticks;
};

/* ---- flow: Dinic's algorithm ---- */

static bool add_arc(struct flow *f, int from, int to, int64_t room) {
  int n = (int)f->arc.n;
  if (!VEC_PUSH(&f->arc, ((struct arc){to, f->head[from], room})) ||
      !VEC_PUSH(&f->arc, ((struct arc){from, f->head[to], 0})))
    return false;
  f->head[from] = n;
  f->head[to] = n + 1;
  return true;
}

static bool find_levels(struct flow *f) {
  int first = 0, last = 0;
  for (int i = 0; i < f->nnode; i++) f->level[i] = -1, f->at[i] = f->head[i];
  f->queue[last++] = f->source;
  f->level[f->source] = 0;
  while (first < last) {
    int from = f->queue[first++];
    for (int i = f->head[from]; i >= 0; i = f->arc.v[i].next) {
      const struct arc *x = &f->arc.v[i];
      if (!x->room || f->level[x->to] >= 0) continue;
      f->level[x->to] = f->level[from] + 1;
      f->queue[last++] = x->to;
    }
  }
  return f->level[f->sink] >= 0;
}

/* One path of rising levels from the source, in queue[]; its narrowest room, 0 when there is none.
 */
static int64_t find_path(struct flow *f, int *length) {
  int depth = 0, node = f->source;
  while (node != f->sink) {
    int *i = &f->at[node];
    while (*i >= 0 && !(f->arc.v[*i].room && f->level[f->arc.v[*i].to] == f->level[node] + 1))
      *i = f->arc.v[*i].next;
    if (*i >= 0) {
      f->queue[depth++] = *i;
      node = f->arc.v[*i].to;
    } else if (depth > 0) {
      node = f->arc.v[f->queue[--depth] ^ 1].to;
      f->at[node] = f->arc.v[f->at[node]].next;
    } else {
      return 0;
    }
  }
  int64_t room = INT64_MAX;
  for (int i = 0; i < depth; i++) room = MIN(room, f->arc.v[f->queue[i]].room);
  *length = depth;
  return room;
}

static int64_t find_flow(struct flow *f) {
  int64_t sum = 0, more;
  int length;
  while (find_levels(f))
    while ((more = find_path(f, &length)) > 0) {
      for (int i = 0; i < length; i++) {
        f->arc.v[f->queue[i]].room -= more;
        f->arc.v[f->queue[i] ^ 1].room += more;
      }
      sum += more;
    }
  return sum;
}

/* ---- one step ---- */

static const uint64_t *row(const uint64_t *rows, const struct bounder *b, int v) {
  return &rows[(size_t)v * (size_t)b->r.words];
}

/* What step v leaves open of a value: whether something done has begun it, whether something that
 * is not needs it, and whether steps that may be either touch it. */
struct open {
  bool begun, needed, loose;
};
static struct open look(struct bounder *b, int v, int x) {
  const struct order_net *n = b->n;
  struct open o = {n->here[x], n->stays[x], false};
  ORDER_EACH(i, n->touch, x) {
    int t = n->touch.item[i];
    if (order_bit(row(b->r.before, b, v), t)) {
      o.begun = true;
    } else if (order_bit(row(b->r.after, b, v), t)) {
      o.needed = true;
    } else if (t != v) {
      o.loose = true;
    }
  }
  b->ticks += n->touch.first[x + 1] - n->touch.first[x];
  return o;
}

/* Bytes that are live whatever is done of the rest; the values for which it matters, in b->value,
 * and their sum. */
static int64_t sum_up(struct bounder *b, int v, int64_t *open) {
  const struct order_net *n = b->n;
  int64_t sum = n->base;
  int share = n->in[v];
  b->nvalue = 0;
  *open = 0;
  for (int x = 0; x < n->nvalue; x++) {
    struct open o = look(b, v, x);
    bool touched = false;
    ORDER_EACH(i, n->value, v) touched |= n->value.item[i] == x;
    bool sure = touched ? x != share || o.needed : o.begun && o.needed;
    if (sure) {
      sum += n->bytes[x];
    } else if (o.loose) {
      b->value[b->nvalue++] = x;
      *open += n->bytes[x];
    }
  }
  return sum;
}

static int node_of(struct bounder *b, int v, int step) {
  if (step == v) return -1;
  if (order_bit(row(b->r.before, b, v), step)) return b->f.source;
  if (order_bit(row(b->r.after, b, v), step)) return b->f.sink;
  return b->node[step];
}

static bool link_value(struct bounder *b, int v, int x) {
  const struct order_net *n = b->n;
  struct flow *f = &b->f;
  int begun = f->nnode++, open = f->nnode++;
  f->head[begun] = f->head[open] = -1;
  bool ok = add_arc(f, begun, open, n->bytes[x]);
  if (n->here[x] || x == n->in[v]) ok = ok && add_arc(f, f->source, begun, INT64_MAX / 2);
  if (n->stays[x]) ok = ok && add_arc(f, open, f->sink, INT64_MAX / 2);
  ORDER_EACH(i, n->touch, x) {
    int t = node_of(b, v, n->touch.item[i]);
    if (t < 0) continue;
    if (t != f->sink) ok = ok && add_arc(f, t, begun, INT64_MAX / 2);
    if (t != f->source) ok = ok && add_arc(f, open, t, INT64_MAX / 2);
  }
  return ok;
}

/* The minimum over what may be done besides, of the bytes of b->value. */
static bool cut(struct bounder *b, int v, int64_t *bytes) {
  const struct order_net *n = b->n;
  struct flow *f = &b->f;
  bool ok = true;
  f->nnode = 2;
  f->arc.n = 0;
  f->head[f->source] = f->head[f->sink] = -1;
  for (int s = 0; s < n->nstep; s++) {
    bool loose =
        s != v && !order_bit(row(b->r.before, b, v), s) && !order_bit(row(b->r.after, b, v), s);
    b->node[s] = loose ? f->nnode++ : -1;
    if (loose) f->head[b->node[s]] = -1;
  }
  for (int s = 0; s < n->nstep; s++) {
    if (b->node[s] < 0) continue;
    ORDER_EACH(i, n->before, s) {
      int t = node_of(b, v, n->before.item[i]);
      if (t != f->source) ok = ok && add_arc(f, b->node[s], t, INT64_MAX / 2);
    }
  }
  for (int i = 0; i < b->nvalue; i++) ok = ok && link_value(b, v, b->value[i]);
  if (ok) *bytes = find_flow(f);
  b->ticks += 8 * (int64_t)f->arc.n;
  return ok;
}

/* ---- all steps ---- */

static bool start(struct bounder *b, struct arena *a) {
  const struct order_net *n = b->n;
  int nodes = n->nstep + 2 * n->nvalue + 2;
  struct flow *f = &b->f;
  f->source = 0;
  f->sink = 1;
  f->head = ARENA_NEW(a, int, nodes);
  f->level = ARENA_NEW(a, int, nodes);
  f->at = ARENA_NEW(a, int, nodes);
  f->queue = ARENA_NEW(a, int, nodes);
  b->node = ARENA_NEW(a, int, n->nstep);
  b->value = ARENA_NEW(a, int, n->nvalue);
  return f->head && f->level && f->at && f->queue && b->node && b->value &&
         order_reach_find(&b->r, n, a);
}

int64_t order_least(const struct order_net *n) {
  int64_t first = n->base, last = n->base, most = 0;
  for (int v = 0; v < n->nvalue; v++) {
    bool touched = n->touch.first[v] < n->touch.first[v + 1];
    if (n->here[v] && touched) first += n->bytes[v];
    if (n->stays[v] && touched) last += n->bytes[v];
  }
  for (int s = 0; s < n->nstep; s++) {
    int64_t sum = n->base;
    ORDER_EACH(i, n->value, s) sum += n->value.item[i] == n->in[s] ? 0 : n->bytes[n->value.item[i]];
    most = MAX(most, sum);
  }
  return MAX(most, MAX(first, last));
}

struct ranked {
  int64_t hill;
  int step;
};

static int by_hill(const void *x, const void *y) {
  const struct ranked *a = x, *b = y;
  if (a->hill != b->hill) return a->hill > b->hill ? -1 : 1;
  return a->step - b->step;
}

/* What a step holds in some order is no less than what it must hold: once that is no more than the
 * bound, the rest cannot raise it. */
bool order_bound(const struct order_net *n, const int64_t *hill, int64_t enough, int64_t max_ticks,
                 int64_t *bound, struct arena *a, int64_t *ticks) {
  struct bounder b = {.n = n};
  struct ranked *rank = ARENA_NEW(a, struct ranked, n->nstep);
  if (n->nstep > MAX_STEPS || *bound >= enough) return true;
  bool ok = rank && start(&b, a);
  for (int v = 0; v < n->nstep && ok; v++) rank[v] = (struct ranked){hill[v], v};
  if (ok) qsort(rank, (size_t)n->nstep, sizeof *rank, by_hill);
  for (int i = 0; i < n->nstep && ok && b.ticks < max_ticks; i++) {
    int64_t open, more = 0;
    if (rank[i].hill <= *bound || *bound >= enough) break;
    int64_t sum = sum_up(&b, rank[i].step, &open);
    if (sum + open <= *bound) continue;
    if (open) ok = cut(&b, rank[i].step, &more);
    if (ok) *bound = MAX(*bound, sum + more);
  }
  *ticks += b.ticks;
  VEC_FREE(&b.f.arc);
  return ok;
}
