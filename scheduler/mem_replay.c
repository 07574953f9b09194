/* From the ways that a sweep took to offsets.
 *
 * The tree of the last section stands for orders that differ in nothing but what no section needs:
 * any of them will do. From then on back in time: what took the place of joined gaps stands where
 * they stood, so each earlier tree takes the order of the later one, as far as it has the leaves,
 * and the others side by side where these became one. Offsets are sums of sizes; those of blocks
 * that stay are the same in both. */
#include <stdlib.h>
#include <string.h>

#include "mem_sweep.h"

struct span {
  int64_t lo, hi; /* places in the later order, of the leaves below */
};
struct child {
  struct span span;
  int node;
};
struct replay {
  const struct mem_line *l;
  struct mem_tree *tree; /* after each event */
  int ntree;
  struct mem_log log;
  int grown;
  struct grown {
    int event, id;
    int64_t size;
  } growth[MEM_GROWTHS];
  struct mem_tree now, next;
  struct mem_gaps gaps;
  int64_t *at; /* by id: place in the later order, -1: it is not there */
  struct span *span;
  struct child *child;
  int nchild, nids;
  int64_t top;
  int64_t *offset;
  struct arena a;
};

/* ---- forward ---- */

static bool keep_tree(struct replay *r) {
  struct mem_tree *t = &r->tree[r->ntree++];
  t->most = r->now.n + r->l->n + 2 * MEM_GROWTHS; /* with what may be split off or grow later */
  t->v = ARENA_NEW(&r->a, struct mem_node, t->most);
  if (t->v) mem_tree_copy(t, &r->now);
  return t->v != NULL;
}

static void step(struct replay *r, int k, const struct mem_way *way) {
  int i = r->l->order[k];
  struct mem_need need = {.item = i, .size = r->l->item[i].size};
  mem_tree_copy(&r->next, &r->now);
  struct mem_tree t = r->now;
  r->now = r->next, r->next = t;
  for (; r->grown < r->l->ngrowth && r->l->growth[r->grown].step == k; r->grown++) {
    struct grown g = {r->log.event, r->now.ids, r->l->growth[r->grown].units};
    mem_tree_grow(&r->now, g.size, g.id);
    r->growth[r->grown] = g;
  }
  mem_find_gaps(&r->now, &r->gaps);
  mem_fill(&r->now, &r->gaps, &need, way, &r->log);
}

static bool run_again(struct replay *r, const struct mem_way *way) {
  const struct mem_item *item = r->l->item;
  mem_tree_init(&r->now, r->l->cap, r->l->n);
  for (int k = 0; k < r->l->n; r->log.event++) {
    int section = item[r->l->order[k]].lo;
    mem_release(&r->now, item, section, &r->log);
    for (; k < r->l->n && item[r->l->order[k]].lo == section; k++) step(r, k, &way[k]);
    CHECK(r->now.ids <= r->nids);
    if (!keep_tree(r)) return false;
  }
  return true;
}

/* ---- backward ---- */

/* Parts of a gap that later went separate ways become leaves from the start. */
static void split_early(const struct replay *r, struct mem_tree *t, int event) {
  for (int k = 0; k < r->log.nsplit; k++) {
    const struct mem_split *s = &r->log.split[k];
    for (int i = 0, n = t->n; i < n && s->event > event; i++) {
      if (t->v[i].kind != MEM_LEAF || t->v[i].id != s->from) continue;
      int x = mem_tree_new(t, MEM_LEAF, s->id, s->size);
      t->v[x].gap = true;
      t->v[x].next = t->v[i].next;
      t->v[i].next = x;
      t->v[i].size -= s->size;
    }
  }
}

/* And so is what was added to the arena. */
static void grow_early(const struct replay *r, struct mem_tree *t, int event) {
  for (int k = 0; k < r->grown; k++)
    if (r->growth[k].event > event) mem_tree_grow(t, r->growth[k].size, r->growth[k].id);
}

static struct span find_spans(struct replay *r, const struct mem_tree *t, int i) {
  const struct mem_node *x = &t->v[i];
  struct span s = {INT64_MAX, -1};
  if (x->kind == MEM_LEAF) {
    int id = x->id;
    while (r->at[id] < 0) id = r->log.into[id];
    s = (struct span){r->at[id], r->at[id]};
  }
  for (int c = x->first; c != MEM_NIL; c = t->v[c].next) {
    struct span y = find_spans(r, t, c);
    s.lo = MIN(s.lo, y.lo), s.hi = MAX(s.hi, y.hi);
  }
  r->span[i] = s;
  return s;
}

static int by_span(const void *x, const void *y) {
  const struct child *a = x, *b = y;
  if (a->span.lo != b->span.lo) return a->span.lo < b->span.lo ? -1 : 1;
  if (a->span.hi != b->span.hi) return a->span.hi < b->span.hi ? -1 : 1;
  return 0;
}
static int in_order(const void *x, const void *y) {
  const struct child *a = x, *b = y;
  int c = by_span(x, y);
  return c ? c : a->node < b->node ? -1 : 1;
}

/* Stacks the leaves on the top, in the later order where there is one; fills next_at. */
static void stack(struct replay *r, const struct mem_tree *t, int i, int64_t *next_at) {
  const struct mem_node *x = &t->v[i];
  int first = r->nchild;
  for (int c = x->first; c != MEM_NIL; c = t->v[c].next)
    r->child[r->nchild++] = (struct child){r->span[c], c};
  struct child *v = &r->child[first];
  int n = r->nchild - first;
  if (x->kind == MEM_ANY) qsort(v, (size_t)n, sizeof *v, in_order);
  bool turn = x->kind == MEM_LINE && by_span(&v[0], &v[n - 1]) > 0;
  for (int k = 0; k < n; k++) stack(r, t, r->child[first + (turn ? n - 1 - k : k)].node, next_at);
  r->nchild = first;
  if (x->kind != MEM_LEAF) return;
  next_at[x->id] = r->top;
  if (!x->gap) r->offset[x->id] = r->top;
  r->top += x->size;
}

static void go_back(struct replay *r, int64_t *next_at) {
  for (int e = r->ntree - 1; e >= 0; e--) {
    struct mem_tree *t = &r->tree[e];
    split_early(r, t, e);
    grow_early(r, t, e);
    if (e < r->ntree - 1)
      find_spans(r, t, t->root);
    else
      memset(r->span, 0, (size_t)t->n * sizeof *r->span);
    for (int i = 0; i < r->nids; i++) next_at[i] = -1;
    r->top = 0;
    stack(r, t, t->root, next_at);
    int64_t *at = r->at;
    r->at = next_at, next_at = at;
  }
}

bool mem_replay(const struct mem_line *l, const struct mem_way *way, int room, int64_t *offset) {
  struct replay r = {.l = l, .offset = offset, .nids = 4 * l->n + 2 * MEM_GROWTHS};
  int most = room + l->n + 2 * MEM_GROWTHS;
  r.tree = ARENA_NEW(&r.a, struct mem_tree, l->nsec);
  r.now = (struct mem_tree){.most = room, .v = ARENA_NEW(&r.a, struct mem_node, room)};
  r.next = (struct mem_tree){.most = room, .v = ARENA_NEW(&r.a, struct mem_node, room)};
  r.gaps.branch = ARENA_NEW(&r.a, struct mem_branch, room);
  r.log.into = ARENA_NEW(&r.a, int, r.nids);
  r.log.split = ARENA_NEW(&r.a, struct mem_split, l->n);
  r.at = ARENA_NEW(&r.a, int64_t, r.nids);
  int64_t *next_at = ARENA_NEW(&r.a, int64_t, r.nids);
  r.span = ARENA_NEW(&r.a, struct span, most);
  r.child = ARENA_NEW(&r.a, struct child, most);
  bool ok = r.tree && r.now.v && r.next.v && r.gaps.branch && r.log.into && r.log.split && r.at &&
            next_at && r.span && r.child && run_again(&r, way);
  if (ok) go_back(&r, next_at);
  arena_free(&r.a);
  return ok;
}
