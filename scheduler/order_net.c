/* The problem as a net, parts of it, the same backwards, and walks over it. Contract: order_net.h.
 */
#include "order_net.h"

#include <stdlib.h>
#include <string.h>

/* ---- slices ---- */

static int by_link(const void *x, const void *y) {
  const struct order_link *a = x, *b = y;
  if (a->from != b->from) return a->from < b->from ? -1 : 1;
  return (a->to > b->to) - (a->to < b->to);
}

/* Slices of the distinct links of n sources. */
static bool slice_links(struct order_slice *s, struct order_link *link, int nlink, int n,
                        struct arena *a) {
  s->first = ARENA_NEW(a, int, n + 1);
  s->item = ARENA_NEW(a, int, nlink);
  if (!s->first || !s->item) return false;
  if (nlink) qsort(link, (size_t)nlink, sizeof *link, by_link);
  int k = 0, i = 0;
  for (int from = 0; from < n; from++) {
    s->first[from] = k;
    for (; i < nlink && link[i].from == from; i++)
      if (i == 0 || by_link(&link[i - 1], &link[i]) != 0) s->item[k++] = link[i].to;
  }
  s->first[n] = k;
  return true;
}

static void turn(struct order_link *link, int n) {
  for (int i = 0; i < n; i++) link[i] = (struct order_link){link[i].to, link[i].from};
}

/* ---- making ---- */

/* A net in the making: who touches what (value, step), who waits for whom (step, step). */
struct raw {
  struct order_link *touch, *wait;
  int ntouch, nwait;
};

static bool raw_new(struct raw *raw, int ntouch, int nwait, struct arena *a) {
  *raw = (struct raw){.touch = ARENA_NEW(a, struct order_link, ntouch),
                      .wait = ARENA_NEW(a, struct order_link, nwait)};
  return raw->touch && raw->wait;
}

static bool net_new(struct order_net *n, int nstep, int nvalue, struct arena *a) {
  *n = (struct order_net){.nstep = nstep, .nvalue = nvalue, .nunit = nstep};
  n->unit = ARENA_NEW(a, int, nstep + 1);
  n->unit_of = ARENA_NEW(a, int, nstep);
  n->bytes = ARENA_NEW(a, int64_t, nvalue);
  n->here = ARENA_NEW(a, bool, nvalue);
  n->stays = ARENA_NEW(a, bool, nvalue);
  n->in = ARENA_NEW(a, int, nstep);
  n->out = ARENA_NEW(a, int, nstep);
  bool ok = n->unit && n->unit_of && n->bytes && n->here && n->stays && n->in && n->out;
  for (int i = 0; i < nstep && ok; i++) n->unit[i] = i, n->in[i] = n->out[i] = -1;
  if (ok) n->unit[nstep] = nstep;
  return ok;
}

static bool net_finish(struct order_net *n, struct raw *raw, struct arena *a) {
  bool ok = slice_links(&n->touch, raw->touch, raw->ntouch, n->nvalue, a);
  turn(raw->touch, raw->ntouch);
  ok = ok && slice_links(&n->value, raw->touch, raw->ntouch, n->nstep, a) &&
       slice_links(&n->before, raw->wait, raw->nwait, n->nstep, a);
  turn(raw->wait, raw->nwait);
  ok = ok && slice_links(&n->after, raw->wait, raw->nwait, n->nstep, a);
  for (int u = 0; u < n->nunit && ok; u++)
    for (int s = n->unit[u]; s < n->unit[u + 1]; s++) n->unit_of[s] = u;
  return ok;
}

/* Values of no bytes count for nothing but what waits for them. */
static enum fvm_status add_values(struct order_net *n, const struct order_problem *p,
                                  struct raw *raw, struct fvm_error *err) {
  int64_t sum = 0;
  for (int v = 0; v < p->nvalue; v++) {
    const struct order_value *x = &p->value[v];
    n->bytes[v] = x->bytes;
    n->here[v] = x->producer == -1;
    n->stays[v] = x->stays;
    CHECK(x->bytes >= 0);
    if (x->producer >= 0 && x->bytes)
      raw->touch[raw->ntouch++] = (struct order_link){v, x->producer};
    if (!fvm_add(sum, x->bytes, &sum))
      return fvm_fail(err, FVM_EUNSUPPORTED, "the tensors together exceed 2^63 bytes");
  }
  for (int i = 0; i < p->nuse; i++) {
    int step = p->use[i].step, v = p->use[i].value, from = p->value[v].producer;
    if (p->value[v].bytes) raw->touch[raw->ntouch++] = (struct order_link){v, step};
    CHECK(from < step);
    if (from >= 0) raw->wait[raw->nwait++] = (struct order_link){step, from};
  }
  for (int i = 0; i < p->nshare; i++) {
    CHECK(p->value[p->share[i].in].bytes == p->value[p->share[i].out].bytes);
    CHECK(p->value[p->share[i].out].producer == p->share[i].step);
    n->in[p->share[i].step] = p->share[i].in;
    n->out[p->share[i].step] = p->share[i].out;
  }
  return FVM_OK;
}

enum fvm_status order_net_make(struct order_net *n, const struct order_problem *p, struct arena *a,
                               struct fvm_error *err) {
  struct raw raw;
  if (!net_new(n, p->nstep, p->nvalue, a) || !raw_new(&raw, p->nuse + p->nvalue, p->nuse, a))
    return fvm_nomem(err);
  enum fvm_status st = add_values(n, p, &raw, err);
  if (!st && !net_finish(n, &raw, a)) st = fvm_nomem(err);
  for (int v = 0; v < p->nvalue && !st; v++) /* touched by nobody: there always or never */
    if (n->touch.first[v] == n->touch.first[v + 1] && n->here[v] && n->stays[v])
      n->base += n->bytes[v];
  return st;
}

/* ---- other nets of a net ---- */

/* The values that steps [from, to) touch, in new numbers; what others touch begins or ends outside.
 * What lives across without being touched is base. */
static int select_values(struct order_net *part, const struct order_net *n, int from, int to,
                         int *number) {
  int count = 0;
  part->base = n->base;
  for (int v = 0; v < n->nvalue; v++) {
    bool here = n->here[v], stays = n->stays[v], inside = false;
    ORDER_EACH(i, n->touch, v) {
      int step = n->touch.item[i];
      here |= step < from;
      stays |= step >= to;
      inside |= step >= from && step < to;
    }
    number[v] = inside ? count : -1;
    if (!inside && here && stays && n->touch.first[v] < n->touch.first[v + 1])
      part->base += n->bytes[v];
    if (!inside) continue;
    part->bytes[count] = n->bytes[v];
    part->here[count] = here;
    part->stays[count++] = stays;
  }
  return count;
}

bool order_net_part(struct order_net *part, const struct order_net *n, int from_unit, int to_unit,
                    struct arena *a) {
  int from = n->unit[from_unit], to = n->unit[to_unit];
  struct raw raw;
  int *number = ARENA_NEW(a, int, n->nvalue);
  if (!number || !net_new(part, to - from, n->nvalue, a) ||
      !raw_new(&raw, n->value.first[to] - n->value.first[from],
               n->before.first[to] - n->before.first[from], a))
    return false;
  part->nvalue = select_values(part, n, from, to, number);
  part->nunit = to_unit - from_unit;
  for (int u = 0; u <= part->nunit; u++) part->unit[u] = n->unit[from_unit + u] - from;
  for (int s = from; s < to; s++) {
    ORDER_EACH(i, n->value, s)
    raw.touch[raw.ntouch++] = (struct order_link){number[n->value.item[i]], s - from};
    ORDER_EACH(i, n->before, s)
    if (n->before.item[i] >= from)
      raw.wait[raw.nwait++] = (struct order_link){s - from, n->before.item[i] - from};
    part->in[s - from] = n->in[s] < 0 ? -1 : number[n->in[s]];
    part->out[s - from] = n->out[s] < 0 ? -1 : number[n->out[s]];
  }
  return net_finish(part, &raw, a);
}

/* All of n with other numbers; backwards, what is first is last. */
static bool renumber(struct order_net *to, const struct order_net *n, const int *step,
                     const int *unit, int nunit, bool backwards, struct arena *a) {
  struct raw raw;
  int *number = ARENA_NEW(a, int, n->nstep);
  if (!number || !net_new(to, n->nstep, n->nvalue, a) ||
      !raw_new(&raw, n->value.first[n->nstep], n->before.first[n->nstep], a))
    return false;
  for (int i = 0; i < n->nstep; i++) number[step[i]] = i;
  to->nunit = nunit;
  memcpy(to->unit, unit, (size_t)(nunit + 1) * sizeof *unit);
  to->base = n->base;
  for (int v = 0; v < n->nvalue; v++) {
    to->bytes[v] = n->bytes[v];
    to->here[v] = backwards ? n->stays[v] : n->here[v];
    to->stays[v] = backwards ? n->here[v] : n->stays[v];
    ORDER_EACH(i, n->touch, v)
    raw.touch[raw.ntouch++] = (struct order_link){v, number[n->touch.item[i]]};
  }
  for (int s = 0; s < n->nstep; s++) {
    int i = number[s];
    to->in[i] = backwards ? n->out[s] : n->in[s];
    to->out[i] = backwards ? n->in[s] : n->out[s];
    ORDER_EACH(k, n->before, s) {
      int j = number[n->before.item[k]];
      raw.wait[raw.nwait++] = backwards ? (struct order_link){j, i} : (struct order_link){i, j};
    }
  }
  return net_finish(to, &raw, a);
}

bool order_net_renumber(struct order_net *to, const struct order_net *n, const int *step,
                        const int *unit, int nunit, struct arena *a) {
  return renumber(to, n, step, unit, nunit, false, a);
}

bool order_net_reverse(struct order_net *to, const struct order_net *n, struct arena *a) {
  int *step = ARENA_NEW(a, int, n->nstep), *unit = ARENA_NEW(a, int, n->nunit + 1);
  if (!step || !unit) return false;
  for (int i = 0; i < n->nstep; i++) step[i] = n->nstep - 1 - i;
  for (int u = 0; u <= n->nunit; u++) unit[u] = n->nstep - n->unit[n->nunit - u];
  return renumber(to, n, step, unit, n->nunit, true, a);
}

/* ---- walks ---- */

bool order_walk_new(struct order_walk *w, const struct order_net *n, struct arena *a) {
  *w = (struct order_walk){
      .n = n, .count = ARENA_NEW(a, int, n->nvalue), .waits = ARENA_NEW(a, int, n->nunit)};
  if (!w->count || !w->waits) return false;
  order_walk_start(w);
  return true;
}

void order_walk_start(struct order_walk *w) {
  const struct order_net *n = w->n;
  memset(w->count, 0, (size_t)n->nvalue * sizeof *w->count);
  memset(w->waits, 0, (size_t)n->nunit * sizeof *w->waits);
  w->live = n->base;
  for (int v = 0; v < n->nvalue; v++)
    if (n->here[v] && n->touch.first[v] < n->touch.first[v + 1]) w->live += n->bytes[v];
  for (int s = 0; s < n->nstep; s++) ORDER_EACH(i, n->before, s)
  w->waits[n->unit_of[s]] += n->unit_of[n->before.item[i]] != n->unit_of[s];
}

static bool begins(const struct order_walk *w, int v) { return !w->n->here[v] && w->count[v] == 0; }

static bool ends(const struct order_walk *w, int v) {
  return !w->n->stays[v] && w->count[v] + 1 == w->n->touch.first[v + 1] - w->n->touch.first[v];
}

static struct order_move try_step(const struct order_walk *w, int64_t live, int step) {
  const struct order_net *n = w->n;
  int64_t up = 0, down = 0, shared = 0;
  ORDER_EACH(i, n->value, step) {
    int v = n->value.item[i];
    if (begins(w, v)) up += n->bytes[v];
    if (ends(w, v)) down += n->bytes[v];
  }
  if (n->in[step] >= 0 && ends(w, n->in[step]) && begins(w, n->out[step]))
    shared = n->bytes[n->in[step]];
  return (struct order_move){live + up - shared, live + up - down};
}

static void count_step(struct order_walk *w, int step, int by) {
  ORDER_EACH(i, w->n->value, step) w->count[w->n->value.item[i]] += by;
  w->ticks += 1 + w->n->value.first[step + 1] - w->n->value.first[step];
}

struct order_move order_walk_try(struct order_walk *w, int unit) {
  int from = w->n->unit[unit], to = w->n->unit[unit + 1];
  struct order_move m = {0, w->live}, one;
  for (int s = from; s < to; s++) {
    one = try_step(w, m.after, s);
    m = (struct order_move){MAX(m.hill, one.hill), one.after};
    w->ticks += 1 + w->n->value.first[s + 1] - w->n->value.first[s];
    if (s + 1 < to) count_step(w, s, 1);
  }
  for (int s = from; s + 1 < to; s++) count_step(w, s, -1);
  return m;
}

static void change(struct order_walk *w, int unit, int by) {
  for (int s = w->n->unit[unit]; s < w->n->unit[unit + 1]; s++) {
    count_step(w, s, by);
    ORDER_EACH(i, w->n->after, s) {
      int u = w->n->unit_of[w->n->after.item[i]];
      if (u != unit) w->waits[u] -= by;
    }
  }
}

void order_walk_go(struct order_walk *w, int unit) { change(w, unit, 1); }
void order_walk_back(struct order_walk *w, int unit) { change(w, unit, -1); }

void order_walk_to(struct order_walk *w, uint64_t *now, const uint64_t *set) {
  for (int k = 0; k < (w->n->nunit + 63) / 64; k++) {
    for (uint64_t d = now[k] ^ set[k]; d; d &= d - 1) {
      int u = k * 64 + __builtin_ctzll(d);
      change(w, u, order_bit(set, u) ? 1 : -1);
    }
    now[k] = set[k];
  }
}

int64_t order_walk_peak(struct order_walk *w, const int *unit, int64_t *hill) {
  order_walk_start(w);
  int64_t peak = w->live;
  for (int k = 0; k < w->n->nunit; k++) {
    int u = unit ? unit[k] : k;
    struct order_move m = order_walk_try(w, u);
    order_walk_go(w, u);
    w->live = m.after;
    if (hill) hill[u] = MIN(hill[u], m.hill);
    peak = MAX(peak, m.hill);
  }
  return peak;
}

/* ---- what precedes what ---- */

bool order_reach_find(struct order_reach *r, const struct order_net *n, struct arena *a) {
  r->words = (n->nunit + 63) / 64;
  r->before = ARENA_NEW(a, uint64_t, (int64_t)n->nunit * r->words);
  r->after = ARENA_NEW(a, uint64_t, (int64_t)n->nunit * r->words);
  if (!r->before || !r->after) return false;
  for (int s = 0; s < n->nstep; s++) {
    uint64_t *row = &r->before[(size_t)n->unit_of[s] * (size_t)r->words];
    ORDER_EACH(i, n->before, s) {
      int u = n->unit_of[n->before.item[i]];
      if (u == n->unit_of[s]) continue;
      const uint64_t *other = &r->before[(size_t)u * (size_t)r->words];
      for (int k = 0; k < r->words; k++) row[k] |= other[k];
      order_set(row, u);
    }
  }
  for (int u = 0; u < n->nunit; u++)
    for (int x = 0; x < u; x++)
      if (order_bit(&r->before[(size_t)u * (size_t)r->words], x))
        order_set(&r->after[(size_t)x * (size_t)r->words], u);
  return true;
}
