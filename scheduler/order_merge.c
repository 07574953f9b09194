/* Steps that may as well follow each other at once become units. Contract: order_net.h.
 *
 * Let b wait for a. The height of a unit is what is live at most while it runs, its rise what is
 * live after it, both less what was live before. The more is done before, the lower are both.
 *
 *   soon   b can always run right after a (whatever else b waits for comes before a), it rises by
 *          nothing, and is no higher than a: let it.
 *   late   a can always wait until right before b (whoever else waits for a comes after b), it
 *          falls by nothing, and is no higher than what b reaches then: let it.
 *
 * Whatever ran between the two then finds no more live than before. Heights and rises are taken at
 * their worst: with only that done which must be, or all that can be. On chains these are Liu's
 * hills and valleys: a chain is left at its lowest points between its highest ones only. */
#include <string.h>

#include "order_net.h"

enum { MAX_UNITS = 4096, MAX_PASSES = 64 };

struct merger {
  const struct order_net *n;
  int nunit;
  int *group;          /* by step: its unit */
  int *next, *tail;    /* by step: the next one of its unit; by unit: its last */
  int *head;           /* by unit: its first step; -1: joined to another */
  bool *fresh;         /* by unit: joined in this pass */
  struct order_walk w; /* of which only what is looked at counts */
  struct order_reach r;
  uint64_t *all; /* a set of units */
};

static uint64_t *row(uint64_t *rows, const struct merger *m, int u) {
  return &rows[(size_t)u * (size_t)m->r.words];
}

#define EACH_STEP(s, m, unit) for (int s = (m)->head[unit]; s >= 0; s = (m)->next[s])

/* ---- what precedes what ---- */

/* An order of the units in which each comes after what it waits for; the one whose first step is
 * earliest comes first. */
static bool sort_units(const struct merger *m, int *order, struct arena *a) {
  const struct order_net *n = m->n;
  int *waits = ARENA_NEW(a, int, n->nstep), done = 0, total = 0;
  if (!waits) return false;
  for (int s = 0; s < n->nstep; s++) {
    total += m->head[s] >= 0;
    ORDER_EACH(i, n->before, s) waits[m->group[s]] += m->group[n->before.item[i]] != m->group[s];
  }
  while (done < total) {
    int before = done;
    for (int u = 0; u < n->nstep; u++) {
      if (m->head[u] < 0 || waits[u] != 0) continue;
      waits[u] = -1;
      order[done++] = u;
      EACH_STEP(s, m, u)
      ORDER_EACH(i, n->after, s) {
        int v = m->group[n->after.item[i]];
        if (v != u) waits[v]--;
      }
    }
    CHECK(done > before); /* units make no cycle */
  }
  return true;
}

/* Rows of joined units stay empty. */
static void find_reach(struct merger *m, const int *order, int total) {
  const struct order_net *n = m->n;
  size_t bytes = (size_t)n->nstep * (size_t)m->r.words * sizeof(uint64_t);
  memset(m->r.before, 0, bytes);
  memset(m->r.after, 0, bytes);
  for (int k = 0; k < total; k++) {
    int u = order[k];
    EACH_STEP(s, m, u)
    ORDER_EACH(i, n->before, s) {
      int v = m->group[n->before.item[i]];
      if (v == u) continue;
      for (int j = 0; j < m->r.words; j++) row(m->r.before, m, u)[j] |= row(m->r.before, m, v)[j];
      order_set(row(m->r.before, m, u), v);
    }
  }
  for (int k = total - 1; k >= 0; k--) {
    int u = order[k];
    EACH_STEP(s, m, u)
    ORDER_EACH(i, n->after, s) {
      int v = m->group[n->after.item[i]];
      if (v == u) continue;
      for (int j = 0; j < m->r.words; j++) row(m->r.after, m, u)[j] |= row(m->r.after, m, v)[j];
      order_set(row(m->r.after, m, u), v);
    }
  }
}

/* ---- height and rise ---- */

struct shape {
  int64_t height, rise;
};

/* Of how many of a value's steps the units are in the set. */
static void count_values(struct merger *m, int unit, const uint64_t *done) {
  const struct order_net *n = m->n;
  EACH_STEP(s, m, unit)
  ORDER_EACH(i, n->value, s) {
    int v = n->value.item[i];
    m->w.count[v] = 0;
    ORDER_EACH(k, n->touch, v) m->w.count[v] += order_bit(done, m->group[n->touch.item[k]]);
  }
}

static struct shape run(struct merger *m, int unit) {
  struct shape x = {INT64_MIN, 0};
  EACH_STEP(s, m, unit) {
    m->w.live = x.rise;
    struct order_move one = order_walk_try(&m->w, s);
    x = (struct shape){MAX(x.height, one.hill), one.after};
    order_walk_go(&m->w, s);
  }
  return x;
}

/* a and then b, heights and rises from before each. */
static void run_pair(struct merger *m, int a, int b, const uint64_t *done, struct shape *x,
                     struct shape *y) {
  count_values(m, a, done);
  count_values(m, b, done);
  *x = run(m, a);
  *y = run(m, b);
}

/* All that can be done while a waits to run: what does not follow it. */
static const uint64_t *all_before(struct merger *m, int a) {
  for (int j = 0; j < m->r.words; j++) m->all[j] = ~row(m->r.after, m, a)[j];
  m->all[a / 64] &= ~((uint64_t)1 << (a % 64));
  return m->all;
}

static bool is_soon(struct merger *m, int a, int b) {
  struct shape x, y, least;
  const struct order_net *n = m->n;
  EACH_STEP(s, m, b)
  ORDER_EACH(i, n->before, s) {
    int u = m->group[n->before.item[i]];
    if (u != a && u != b && !order_bit(row(m->r.before, m, a), u)) return false;
  }
  run_pair(m, a, b, row(m->r.before, m, a), &x, &y);
  if (y.rise > 0) return false;
  run_pair(m, a, b, all_before(m, a), &least, &(struct shape){0});
  return x.rise + y.height <= least.height;
}

static bool is_late(struct merger *m, int a, int b) {
  struct shape x, y, most;
  const struct order_net *n = m->n;
  EACH_STEP(s, m, a)
  ORDER_EACH(i, n->after, s) {
    int u = m->group[n->after.item[i]];
    if (u != a && u != b && !order_bit(row(m->r.after, m, b), u)) return false;
  }
  run_pair(m, a, b, all_before(m, a), &x, &y);
  if (x.rise < 0) return false;
  for (int j = 0; j < m->r.words; j++)
    m->all[j] = row(m->r.before, m, a)[j] | row(m->r.before, m, b)[j];
  m->all[a / 64] &= ~((uint64_t)1 << (a % 64));
  run_pair(m, a, b, m->all, &most, &(struct shape){0});
  return most.height <= x.rise + y.height;
}

/* ---- joining ---- */

/* The first unit after a that it may be joined with; -1: none. */
static int partner(struct merger *m, int a) {
  const struct order_net *n = m->n;
  EACH_STEP(s, m, a)
  ORDER_EACH(i, n->after, s) {
    int b = m->group[n->after.item[i]];
    if (b != a && !m->fresh[b] && (is_soon(m, a, b) || is_late(m, a, b))) return b;
  }
  return -1;
}

static void join(struct merger *m, int a, int b) {
  EACH_STEP(s, m, b) m->group[s] = a;
  m->next[m->tail[a]] = m->head[b];
  m->tail[a] = m->tail[b];
  m->head[b] = -1;
  m->fresh[a] = m->fresh[b] = true;
  m->nunit--;
}

/* What precedes what is found once in a pass: as pairs are joined more does, so that what was
 * checked against less holds all the more. */
static bool pass(struct merger *m, int *order, struct arena *a) {
  int before = m->nunit;
  if (!sort_units(m, order, a)) return false;
  find_reach(m, order, m->nunit);
  memset(m->fresh, 0, (size_t)m->n->nstep * sizeof *m->fresh);
  for (int k = 0; k < before; k++) {
    int b = m->fresh[order[k]] ? -1 : partner(m, order[k]);
    if (b >= 0) join(m, order[k], b);
  }
  return true;
}

static bool start(struct merger *m, struct arena *a) {
  int n = m->n->nstep;
  m->nunit = n;
  m->group = ARENA_NEW(a, int, n);
  m->next = ARENA_NEW(a, int, n);
  m->tail = ARENA_NEW(a, int, n);
  m->head = ARENA_NEW(a, int, n);
  m->fresh = ARENA_NEW(a, bool, n);
  m->r.words = (n + 63) / 64;
  m->r.before = ARENA_NEW(a, uint64_t, (int64_t)n * m->r.words);
  m->r.after = ARENA_NEW(a, uint64_t, (int64_t)n * m->r.words);
  m->all = ARENA_NEW(a, uint64_t, m->r.words);
  bool ok = m->group && m->next && m->tail && m->head && m->fresh && m->r.before && m->r.after &&
            m->all && order_walk_new(&m->w, m->n, a);
  for (int s = 0; s < n && ok; s++) {
    m->group[s] = m->tail[s] = m->head[s] = s;
    m->next[s] = -1;
  }
  return ok;
}

bool order_merge(struct order_net *to, const struct order_net *n, int **step, struct arena *a) {
  struct merger m = {.n = n};
  int *order = ARENA_NEW(a, int, n->nstep), *unit = ARENA_NEW(a, int, n->nstep + 1);
  *step = ARENA_NEW(a, int, n->nstep);
  bool ok = order && unit && *step && start(&m, a);
  int before = n->nstep + 1;
  for (int i = 0; ok && i < MAX_PASSES && m.nunit < before && n->nstep <= MAX_UNITS; i++) {
    before = m.nunit;
    ok = pass(&m, order, a);
  }
  ok = ok && sort_units(&m, order, a);
  int at = 0;
  for (int k = 0; ok && k < m.nunit; k++) {
    unit[k] = at;
    EACH_STEP(s, &m, order[k])(*step)[at++] = s;
  }
  if (ok) unit[m.nunit] = at;
  ok = ok && order_net_renumber(to, n, *step, unit, m.nunit, a);
  return ok;
}
