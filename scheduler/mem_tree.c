/* PQ-trees (Booth and Lueker 1976): see mem_tree.h. They are small here, some hundred nodes, and
 * copied more often than changed: each change goes through all of a tree. */
#include <string.h>

#include "mem_tree.h"

bool mem_tree_has_room(const struct mem_tree *t) {
  return 2 * t->n + 12 <= t->most; /* join makes two for each that is no leaf, others some */
}

int mem_tree_new(struct mem_tree *t, int kind, int id, int64_t size) {
  CHECK(t->n < t->most);
  t->v[t->n] = (struct mem_node){
      .kind = (uint8_t)kind, .id = id, .size = size, .first = MEM_NIL, .next = MEM_NIL};
  return t->n++;
}

void mem_tree_init(struct mem_tree *t, int64_t size, int id) {
  t->n = 0;
  t->root = mem_tree_new(t, MEM_LEAF, id, size);
  t->v[t->root].gap = true;
  t->ids = id + 1;
}

void mem_tree_grow(struct mem_tree *t, int64_t size, int id) {
  int gap = mem_tree_new(t, MEM_LEAF, id, size), root = mem_tree_new(t, MEM_ANY, MEM_NIL, 0);
  t->v[gap].gap = true;
  t->v[t->root].next = gap;
  t->v[root].first = t->root;
  t->root = root;
  t->ids = MAX(t->ids, id + 1);
}

void mem_tree_take(struct mem_tree *to, const struct mem_tree *from) {
  CHECK(from->n <= to->most);
  memcpy(to->v, from->v, (size_t)from->n * sizeof *to->v);
  to->root = from->root, to->n = from->n, to->ids = from->ids;
}

static int copy(struct mem_tree *to, const struct mem_tree *from, int i) {
  int x = to->n++, last = MEM_NIL;
  CHECK(to->n <= to->most);
  to->v[x] = from->v[i];
  to->v[x].first = to->v[x].next = MEM_NIL;
  for (int c = from->v[i].first; c != MEM_NIL; c = from->v[c].next) {
    int y = copy(to, from, c);
    *(last == MEM_NIL ? &to->v[x].first : &to->v[last].next) = y;
    last = y;
  }
  return x;
}
void mem_tree_copy(struct mem_tree *to, const struct mem_tree *from) {
  to->n = 0;
  to->ids = from->ids;
  to->root = copy(to, from, from->root);
}

/* ---- marks ---- */

static void count(struct mem_tree *t, int i) {
  struct mem_node *x = &t->v[i];
  x->leaves = x->kind == MEM_LEAF;
  x->marks = x->kind == MEM_LEAF && x->mark;
  for (int c = x->first; c != MEM_NIL; c = t->v[c].next) {
    count(t, c);
    x->leaves += t->v[c].leaves;
    x->marks += t->v[c].marks;
  }
}

enum fullness { EMPTY, PARTIAL, FULL };
static enum fullness fullness(const struct mem_tree *t, int i) {
  const struct mem_node *x = &t->v[i];
  return !x->marks ? EMPTY : x->marks == x->leaves ? FULL : PARTIAL;
}

/* The lowest node above all that is marked. */
static int top_of_marked(const struct mem_tree *t) {
  int top = t->root, all = t->v[top].marks;
  for (int c = t->v[top].first; c != MEM_NIL;) {
    bool in = t->v[c].marks == all;
    if (in) top = c;
    c = in ? t->v[c].first : t->v[c].next;
  }
  return top;
}

/* ---- rows of nodes ---- */

struct row {
  int head, tail, n;
};
static const struct row no_row = {MEM_NIL, MEM_NIL, 0};

static void append(struct mem_tree *t, struct row *r, struct row more) {
  if (!more.n) return;
  *(r->n ? &t->v[r->tail].next : &r->head) = more.head;
  r->tail = more.tail;
  r->n += more.n;
}
static void push(struct mem_tree *t, struct row *r, int i) {
  t->v[i].next = MEM_NIL;
  append(t, r, (struct row){i, i, 1});
}
static struct row reverse(struct mem_tree *t, struct row r) {
  int last = MEM_NIL;
  for (int c = r.head, next; c != MEM_NIL; c = next) {
    next = t->v[c].next;
    t->v[c].next = last;
    last = c;
  }
  return (struct row){r.tail, r.head, r.n};
}
/* Several nodes as one whose order is free. A gap by itself is in one place from now on. */
static void push_group(struct mem_tree *t, struct row *r, struct row group) {
  if (!group.n) return;
  int x = group.head;
  if (group.n > 1) {
    x = mem_tree_new(t, MEM_ANY, MEM_NIL, 0);
    t->v[x].first = group.head;
  }
  t->v[x].loose = false;
  push(t, r, x);
}

/* ---- join ---- */

/* Children by fullness; a second partial one stands behind the first. */
static void sort_out(struct mem_tree *t, int i, struct row by[3]) {
  for (int f = EMPTY; f <= FULL; f++) by[f] = no_row;
  for (int c = t->v[i].first, next; c != MEM_NIL; c = next) {
    next = t->v[c].next;
    push(t, &by[fullness(t, c)], c);
  }
}

/* Children of a line: first those of one kind, at most one that is partial, then the others. */
static bool line_goes(const struct mem_tree *t, int i, enum fullness first) {
  bool turned = false;
  for (int c = t->v[i].first; c != MEM_NIL; c = t->v[c].next) {
    enum fullness f = fullness(t, c);
    if (turned && (f == PARTIAL || f == first)) return false;
    turned |= f != first;
  }
  return true;
}
/* A partial node as a row that is full at its end. */
static struct row end_full(struct mem_tree *t, int i) {
  struct row r = no_row, by[3], all = no_row;
  if (t->v[i].kind == MEM_ANY) {
    sort_out(t, i, by);
    push_group(t, &r, by[EMPTY]);
    if (by[PARTIAL].n) append(t, &r, end_full(t, by[PARTIAL].head));
    push_group(t, &r, by[FULL]);
    return r;
  }
  bool turn = !line_goes(t, i, EMPTY);
  for (int c = t->v[i].first, next; c != MEM_NIL; c = next) {
    next = t->v[c].next;
    push(t, &all, c);
  }
  if (turn) all = reverse(t, all);
  for (int c = all.head, next; c != MEM_NIL; c = next) {
    next = t->v[c].next;
    if (fullness(t, c) == PARTIAL)
      append(t, &r, end_full(t, c));
    else
      push(t, &r, c);
  }
  return r;
}

static void join_any(struct mem_tree *t, int top) {
  struct row by[3], line = no_row;
  sort_out(t, top, by);
  if (!by[PARTIAL].n) {
    push_group(t, &by[EMPTY], by[FULL]);
    t->v[top].first = by[EMPTY].head;
    return;
  }
  int second = t->v[by[PARTIAL].head].next;
  append(t, &line, end_full(t, by[PARTIAL].head));
  push_group(t, &line, by[FULL]);
  if (second != MEM_NIL) append(t, &line, reverse(t, end_full(t, second)));
  if (by[EMPTY].n) {
    int x = mem_tree_new(t, MEM_LINE, MEM_NIL, 0);
    t->v[x].first = line.head;
    push(t, &by[EMPTY], x);
    t->v[top].first = by[EMPTY].head;
  } else {
    t->v[top].kind = MEM_LINE;
    t->v[top].open = false;
    t->v[top].first = line.head;
  }
}

static void join_line(struct mem_tree *t, int top) {
  struct row r = no_row;
  bool inside = false;
  for (int c = t->v[top].first, next; c != MEM_NIL; c = next) {
    enum fullness f = fullness(t, c);
    next = t->v[c].next;
    if (f == PARTIAL) {
      struct row part = end_full(t, c);
      append(t, &r, inside ? reverse(t, part) : part);
    } else {
      push(t, &r, c);
    }
    inside |= f != EMPTY;
  }
  t->v[top].first = r.head;
}

void mem_tree_put(struct mem_tree *t, int at, int x) {
  int next = t->v[at].next;
  t->v[at] = t->v[x];
  t->v[at].next = next;
}

/* Node x for all that is marked, which stands side by side. */
static void replace(struct mem_tree *t, int x) {
  int top = top_of_marked(t);
  struct row r = no_row;
  bool done = false;
  if (fullness(t, top) == FULL) {
    mem_tree_put(t, top, x);
    return;
  }
  for (int c = t->v[top].first, next; c != MEM_NIL; c = next) {
    next = t->v[c].next;
    if (fullness(t, c) == EMPTY) {
      push(t, &r, c);
    } else if (!done) {
      push(t, &r, x);
      done = true;
    }
  }
  t->v[top].first = r.head;
  if (r.n == 2) t->v[top].kind = MEM_ANY;
}

void mem_tree_join(struct mem_tree *t, int x) {
  count(t, t->root);
  int top = top_of_marked(t);
  if (fullness(t, top) != FULL) {
    if (t->v[top].kind == MEM_ANY)
      join_any(t, top);
    else
      join_line(t, top);
  }
  if (x == MEM_NIL) return;
  count(t, t->root);
  replace(t, x);
}

/* ---- gaps side by side ---- */

static void gone(struct mem_log *log, const struct mem_tree *t, int i, int into) {
  if (log) log->into[t->v[i].id] = t->v[into].id;
}

/* Of a line; how many nodes are less. */
static int merge_gaps(struct mem_tree *t, int i, struct mem_log *log) {
  int less = 0;
  for (int c = t->v[i].first, d; (d = t->v[c].next) != MEM_NIL;) {
    if (!mem_is_gap(t, c) || !mem_is_gap(t, d)) {
      c = d;
      continue;
    }
    gone(log, t, d, c);
    t->v[c].size += t->v[d].size;
    t->v[c].next = t->v[d].next;
    less++;
  }
  return less;
}

static void become_gap(struct mem_tree *t, int i, struct mem_log *log) {
  int first = t->v[i].first, next = t->v[i].next;
  int64_t size = t->v[first].size;
  for (int c = t->v[first].next; c != MEM_NIL; c = t->v[c].next) {
    gone(log, t, c, first);
    size += t->v[c].size;
  }
  t->v[i] = t->v[first];
  t->v[i].size = size;
  t->v[i].next = next;
  t->v[i].loose = false;
}

static void tidy(struct mem_tree *t, int i, struct mem_log *log) {
  int n = 0, gaps = 0;
  for (int c = t->v[i].first; c != MEM_NIL; c = t->v[c].next) {
    tidy(t, c, log);
    n++;
    gaps += mem_is_gap(t, c);
  }
  t->v[i].open = false;
  if (!n) return;
  if (gaps == n) {
    become_gap(t, i, log);
    return;
  }
  if (t->v[i].kind == MEM_LINE) n -= merge_gaps(t, i, log);
  if (n == 2) t->v[i].kind = MEM_ANY;
}
void mem_tree_tidy(struct mem_tree *t, struct mem_log *log) { tidy(t, t->root, log); }
