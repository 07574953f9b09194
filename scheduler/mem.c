/* Offsets for blocks with lives: see mem.h and mem_work.h. */
#include <string.h>

#include "mem_work.h"

bool mem_spend(struct mem_effort *e, int64_t ticks) {
  enum { ASK = 512 };
  int64_t old = e->ticks;
  e->ticks += ticks;
  if (e->ticks >= e->most) e->out = true;
  if (e->stop && old / ASK != e->ticks / ASK && e->stop(e->data)) e->out = true;
  return !e->out;
}

int64_t mem_keep(struct mem_part *p, const int64_t *offset) {
  int64_t height = 0;
  for (int i = 0; i < p->n; i++) height = MAX(height, offset[i] * p->unit + p->item[i].bytes);
  if (height < p->height) {
    p->height = height;
    memcpy(p->offset, offset, (size_t)p->n * sizeof *offset);
  }
  return height;
}

/* ---- one part ---- */

struct work {
  struct mem_part *p;
  struct mem_search *search;
  struct mem_sweep *sweep; /* NULL: blocks are fixed, or aligned each in its way */
  int64_t *offset;
  struct mem_effort *effort;
  struct arena *a;
};

static bool open_work(struct work *w) {
  bool sweeps = mem_sweep_can(w->p);
  w->search = mem_search_new(w->p, w->a);
  w->sweep = sweeps ? mem_sweep_new(w->p, w->a) : NULL;
  w->offset = ARENA_NEW(w->a, int64_t, w->p->n);
  return w->search && (w->sweep || !sweeps) && w->offset;
}

/* Searches in all orders; what the first says that says anything. */
static enum mem_found search_all(struct work *w, int64_t cap, uint64_t seed, int64_t limit) {
  enum mem_found f = MEM_LIMIT;
  for (int o = 0; o < MEM_ORDERS && f == MEM_LIMIT && !w->effort->out; o++)
    f = mem_search(w->search, cap, (enum mem_order)o, seed, limit, 0, w->offset, w->effort);
  if (f == MEM_FOUND) mem_keep(w->p, w->offset);
  return f;
}

/* In both directions of time. Those of later rounds are wider, and each is another. */
static enum mem_found sweep_all(struct work *w, int64_t cap, int round) {
  static const int64_t gap_cost[] = {6000, 3000, 10000};
  struct mem_sweep_how how = {.cap = CEIL_DIV(cap, w->p->unit),
                              .gap_cost = gap_cost[(size_t)round % COUNT(gap_cost)],
                              .width = 4 << MIN(round, 6),
                              .seed = round > 1 ? (uint64_t)round : 0};
  enum mem_found f = MEM_LIMIT;
  for (int back = 0; w->sweep && back < 2 && f == MEM_LIMIT && !w->effort->out; back++) {
    how.back = back;
    f = mem_sweep(w->sweep, &how, w->offset, w->effort);
    if (f == MEM_FOUND && mem_keep(w->p, w->offset) > cap) f = MEM_LIMIT;
  }
  return f;
}

/* Look for packings within `enough` in rounds of more effort each: sweeps find, and leave the
 * lowest that they came to; search proves, and finds too where there is room. A capacity that is
 * proved to be too small raises the bound. */
enum { NODES = 4 };

static enum fvm_status improve(struct work *w, int64_t enough, struct fvm_error *err) {
  struct mem_part *p = w->p;
  int64_t effort = NODES * (int64_t)p->n;
  for (int round = 0; p->height > enough && !w->effort->out; round++, effort *= 2) {
    enum mem_found f = sweep_all(w, enough, round);
    if (f == MEM_LIMIT) f = search_all(w, enough, (uint64_t)round / 2, effort);
    if (f == MEM_NOMEM) return fvm_nomem(err);
    if (f == MEM_NONE) {
      p->bound = mem_next_height(p, enough);
      if (p->bound > p->capacity) return FVM_OK;
      enough = MAX(enough, p->bound);
    }
  }
  return FVM_OK;
}

static enum fvm_status solve_part(struct mem_part *p, int64_t enough, struct mem_effort *effort,
                                  struct fvm_error *err) {
  struct arena a = {0};
  struct work w = {.p = p, .effort = effort, .a = &a};
  enum fvm_status st = mem_greedy(p, enough, &a) ? FVM_OK : fvm_nomem(err);
  if (!st && p->height > enough && p->n <= MEM_MAX_SEARCH) {
    if (!mem_reachable(p, p->height, &a) || !open_work(&w)) st = fvm_nomem(err);
    if (!st && p->bound <= p->capacity) st = improve(&w, MAX(enough, p->bound), err);
  }
  arena_free(&a);
  return st;
}

/* ---- all parts ---- */

static bool clash(const struct mem_block *x, const struct mem_block *y) {
  return x->bytes && y->bytes && x->first <= y->last && y->first <= x->last &&
         x->offset < y->offset + y->bytes && y->offset < x->offset + x->bytes;
}

static enum fvm_status check_blocks(const struct mem_block *b, int n, struct fvm_error *err) {
  for (int i = 0; i < n; i++) {
    CHECK(b[i].first >= 0 && b[i].first <= b[i].last && b[i].bytes >= 0 && b[i].align > 0);
    CHECK(!b[i].fixed || b[i].offset >= 0);
    if (b[i].bytes > INT64_MAX - b[i].align ||
        (b[i].fixed && b[i].offset > INT64_MAX - b[i].bytes - b[i].align))
      return fvm_fail(err, FVM_EUNSUPPORTED, "block %d: more than 2^63 bytes, aligned", i);
    if (b[i].fixed && b[i].offset % b[i].align)
      return fvm_fail(err, FVM_EFAIL, "block %d: it is fixed at an offset that is not aligned", i);
  }
  for (int i = 0; i < n; i++)
    for (int j = 0; j < i && b[i].fixed; j++)
      if (b[j].fixed && clash(&b[i], &b[j]))
        return fvm_fail(err, FVM_EFAIL, "blocks %d and %d are fixed on the same bytes", j, i);
  return FVM_OK;
}

/* Bytes below the part's base. */
static int64_t below(const struct mem_part *p) { return p->base * p->unit; }

/* The part's own bound is of no interest below those of others, nor below the capacity. */
static enum fvm_status solve_parts(struct mem_parts *p, int64_t capacity, struct mem_effort *effort,
                                   struct mem_result *r, struct fvm_error *err) {
  enum fvm_status st = FVM_OK;
  r->bytes = r->bound = p->height;
  for (size_t i = 0; i < p->part.n; i++)
    r->bound = MAX(r->bound, below(&p->part.v[i]) + p->part.v[i].bound);
  for (size_t i = 0; i < p->part.n && !st; i++) {
    struct mem_part *q = &p->part.v[i];
    q->capacity = capacity ? capacity - below(q) : INT64_MAX;
    effort->out |= capacity && r->bound > capacity; /* any packing will do */
    st = solve_part(q, MAX(r->bound, capacity) - below(q), effort, err);
    if (st) break;
    r->bound = MAX(r->bound, below(q) + q->bound);
    r->bytes = MAX(r->bytes, below(q) + q->height);
    for (int k = 0; k < q->n; k++)
      if (!p->block[q->item[k].id].fixed)
        p->block[q->item[k].id].offset = (q->offset[k] + q->base) * q->unit;
  }
  return st;
}

enum fvm_status mem_solve(struct mem_block *block, int n, const struct mem_limits *limits,
                          struct mem_result *r, struct fvm_error *err) {
  struct arena a = {0};
  struct mem_parts p = {.a = &a};
  struct mem_effort e = {.most = limits->ticks, .stop = limits->stop, .data = limits->data};
  *r = (struct mem_result){0};
  enum fvm_status st = check_blocks(block, n, err);
  if (!st) st = mem_split(block, n, &p, err);
  if (!st) st = solve_parts(&p, limits->capacity, &e, r, err);
  r->status = r->bytes == r->bound ? MEM_OPTIMAL : MEM_GAP;
  if (limits->capacity && r->bound > limits->capacity) r->status = MEM_INFEASIBLE;
  r->ticks = e.ticks;
  VEC_FREE(&p.part);
  arena_free(&a);
  return st;
}

enum fvm_status mem_pack(struct mem_block *block, int n, struct mem_result *r,
                         struct fvm_error *err) {
  return mem_solve(block, n, &(struct mem_limits){.ticks = MEM_TICKS}, r, err);
}
