/* Hard instances for the packing of blocks; see mem_cases.h. */
#include "mem_cases.h"

#include <string.h>

struct tile { /* half-open in both directions; y in units */
  int64_t t0, t1, y0, y1;
};
struct maker {
  uint64_t rng;
  int n, want;
  int64_t shapes;        /* of a trace: distinct sizes */
  int64_t steps, height; /* of the whole rectangle */
  struct tile tile[MEM_CASE_MAX];
};

const char *mem_family_name(enum mem_family f) {
  static const char *const name[] = {
#define ROW(name, text) #name,
      MEM_FAMILIES(ROW)
#undef ROW
  };
  return name[f];
}

static int64_t rnd(struct maker *m, int64_t n) { /* 0 .. n - 1 */
  m->rng = m->rng * 6364136223846793005u + 1442695040888963407u;
  uint64_t x = (m->rng ^ m->rng >> 29) * 0xBF58476D1CE4E5B9u;
  return n > 1 ? (int64_t)((x >> 11) % (uint64_t)n) : 0;
}
static int64_t between(struct maker *m, int64_t lo, int64_t hi) { return lo + rnd(m, hi - lo + 1); }
static bool chance(struct maker *m, int percent) { return rnd(m, 100) < percent; }

static void add(struct maker *m, int64_t t0, int64_t t1, int64_t y0, int64_t y1) {
  if (t0 < t1 && y0 < y1 && m->n < MEM_CASE_MAX) m->tile[m->n++] = (struct tile){t0, t1, y0, y1};
}

/* ---- cuts ---- */

/* A place for a cut in n units: near an end, or anywhere. */
static int64_t cut_at(struct maker *m, int64_t n) {
  int64_t x = chance(m, 30) ? between(m, 1, MAX(1, n / 8)) : between(m, 1, n - 1);
  return chance(m, 50) ? x : n - x;
}

/* Cut tile i across time or across addresses; false when it cannot be cut. */
static bool cut(struct maker *m, int i, int percent_time) {
  struct tile *t = &m->tile[i];
  int64_t life = t->t1 - t->t0, size = t->y1 - t->y0;
  if ((life < 2 && size < 2) || m->n == MEM_CASE_MAX) return false;
  if (size < 2 || (life >= 2 && chance(m, percent_time))) {
    int64_t at = t->t0 + cut_at(m, life);
    add(m, at, t->t1, t->y0, t->y1);
    t->t1 = at;
  } else {
    int64_t at = t->y0 + cut_at(m, size);
    add(m, t->t0, t->t1, at, t->y1);
    t->y1 = at;
  }
  return true;
}

/* Cut the tiles from `from` on, large ones first by chance, until there are enough. */
static void cut_all(struct maker *m, int from, int percent_time) {
  for (int tries = 0; m->n < m->want && tries < 100 * m->want; tries++) {
    int best = (int)between(m, from, m->n - 1);
    for (int k = 0; k < 4; k++) {
      int i = (int)between(m, from, m->n - 1);
      const struct tile *x = &m->tile[i], *y = &m->tile[best];
      if ((x->t1 - x->t0) * (x->y1 - x->y0) > (y->t1 - y->t0) * (y->y1 - y->y0)) best = i;
    }
    cut(m, best, percent_time);
  }
}

static void make_guillotine(struct maker *m) {
  add(m, 0, m->steps, 0, m->height);
  cut_all(m, 0, (int)between(m, 35, 65));
}

/* A slab leaves a little room before and after it, for short lives. */
static void make_slabs(struct maker *m) {
  int64_t y = 0;
  int slabs = (int)between(m, m->want / 8, m->want / 3);
  int64_t thin = m->height / slabs;
  struct tile wide[MEM_CASE_MAX];
  int nwide = 0;
  while (y < m->height) {
    int64_t h = between(m, 1, MAX(1, thin));
    h = MIN(m->height - y, h);
    if (chance(m, 65)) {
      int64_t a = rnd(m, m->steps / 3), b = m->steps - rnd(m, m->steps / 3);
      add(m, a, b, y, y + h);
      wide[nwide++] = (struct tile){0, a, y, y + h};
      wide[nwide++] = (struct tile){b, m->steps, y, y + h};
    } else {
      h = MIN(m->height - y, 4 * h);
      wide[nwide++] = (struct tile){0, m->steps, y, y + h};
    }
    y += h;
    if (nwide > MEM_CASE_MAX - 8) break;
  }
  int from = m->n;
  for (int i = 0; i < nwide; i++) add(m, wide[i].t0, wide[i].t1, wide[i].y0, wide[i].y1);
  if (from < m->n) cut_all(m, from, (int)between(m, 45, 75));
}

static void make_unet(struct maker *m) {
  int levels = (int)between(m, 4, 12), from;
  int64_t y = 0, half = m->steps / 2;
  for (int k = 0; k < levels; k++) { /* nested lives stacked as stairs */
    int64_t h = m->height * between(m, 2, 12) / (10 * levels) + 1;
    h = MIN(h, m->height - y - 1);
    if (h <= 0) break;
    add(m, half * (k + 1) / (levels + 1), m->steps - half * (k + 1) / (levels + 1), y, y + h);
    y += h;
  }
  from = m->n;
  for (int k = 0; k < from; k++) {
    struct tile t = m->tile[k];
    add(m, 0, t.t0, t.y0, t.y1);
    add(m, t.t1, m->steps, t.y0, t.y1);
  }
  add(m, 0, m->steps, y, m->height);
  cut_all(m, from, (int)between(m, 45, 70));
}

/* A place from y0 to y1 in coarse units is given to one block, or to some side by side, again and
 * again, at times by halves, until its end. */
static void refill(struct maker *m, struct tile t, int depth) {
  int64_t grain = MAX(1, m->height / 1024), most = (t.t1 - t.t0) / between(m, 1, 6);
  for (int64_t at = t.t0, end; at < t.t1; at = end) {
    int64_t y = t.y0;
    end = at + between(m, 1 + most / 4, MAX(2, most));
    end = MIN(end, t.t1);
    for (int parts = (int)between(m, 1, 3); y < t.y1; parts--) {
      int64_t units = (t.y1 - y) / grain;
      int64_t top = parts > 1 && units > 1 ? y + grain * between(m, 1, units - 1) : t.y1;
      struct tile x = {at, end, y, top};
      if (depth && end - at > 8 && chance(m, 40))
        refill(m, x, depth - 1);
      else
        add(m, at, end, y, top);
      y = top;
    }
  }
}

/* Like the scratch memory of kernels: some small blocks live through all of it, the others fill
 * places that are handed on, of `mean` units. */
static void fill_kernel(struct maker *m, int64_t mean) {
  int64_t grain = MAX(1, m->height / 1024), y = 0, size;
  int through = (int)between(m, 5, 25);
  m->n = 0;
  for (int k = 0; y < m->height; y += size, k++) {
    size = grain * between(m, 1, k < through ? 10 : 2 * mean);
    size = MIN(size, m->height - y);
    if (k < through && y < m->height / 4)
      add(m, 0, m->steps, y, y + size);
    else
      refill(m, (struct tile){0, m->steps, y, y + size}, 2);
  }
}

/* The mean is set by trial. */
static void make_kernel(struct maker *m) {
  int64_t mean = 8;
  for (int tries = 0; tries < 40; tries++) {
    fill_kernel(m, mean);
    if (m->n > m->want * 8 / 10 && m->n < m->want * 12 / 10) return;
    mean = m->n > m->want ? mean + mean / 4 + 1 : MAX(1, mean - mean / 4);
  }
}

/* ---- stacks ---- */

enum { COLUMNS = 4096 };

static void stack(struct maker *m, int64_t mean, int flat) {
  int64_t top[COLUMNS] = {0}, steps = m->steps;
  m->n = 0;
  while (m->n < MEM_CASE_MAX) {
    int64_t low = 0, end;
    for (int64_t t = 1; t < steps; t++)
      if (top[t] < top[low]) low = t;
    if (top[low] >= m->height) return;
    for (end = low; end < steps && top[end] == top[low];) end++;
    int64_t life = chance(m, flat) ? end - low : between(m, 1, end - low);
    int64_t t0 = chance(m, 50) ? low : end - life, left = m->height - top[low];
    int64_t h = chance(m, 20) ? between(m, 1, 4 * mean) : between(m, 1, mean);
    if (low > 0 && top[low - 1] > top[low] && chance(m, flat)) h = top[low - 1] - top[low];
    if (end < steps && top[end] > top[low] && chance(m, flat)) h = top[end] - top[low];
    if (left - h < mean / 8) h = left;
    add(m, t0, t0 + life, top[low], top[low] + h);
    for (int64_t t = t0; t < t0 + life; t++) top[t] += h;
  }
}

/* The mean size is set by trial, for a number of blocks near the one wanted. */
static void make_skyline(struct maker *m) {
  int64_t mean = MAX(1, m->height * 10 / m->want);
  int flat = (int)between(m, 15, 45);
  for (int tries = 0; tries < 20; tries++) {
    stack(m, mean, flat);
    if (m->n > m->want * 9 / 10 && m->n < m->want * 11 / 10) return;
    double factor = (double)m->n / m->want;
    if (m->n > m->want)
      mean = 1 + (int64_t)((double)mean * MIN(factor, 1.5));
    else
      mean = MAX(1, (int64_t)((double)mean * factor));
  }
}

/* ---- traces ---- */

/* The free places at time t between tiles that live then: fills gap, returns how many. */
static int gaps(const struct maker *m, int64_t t, struct tile *gap) {
  int n = 0;
  for (int64_t y = 0; y < m->height;) {
    int64_t next = m->height, past = -1;
    for (int i = 0; i < m->n; i++) {
      const struct tile *x = &m->tile[i];
      if (x->t0 > t || x->t1 <= t) continue;
      if (x->y0 <= y && y < x->y1) past = x->y1;
      if (x->y0 > y) next = MIN(next, x->y0);
    }
    if (past < 0 && n < MEM_CASE_MAX) gap[n++] = (struct tile){t, t, y, next};
    y = past < 0 ? next : past;
  }
  return n;
}

/* Steps that a new block lives: mostly short, at times until far behind. */
static int64_t life_of(struct maker *m, int64_t scale) {
  int64_t life = 1 + rnd(m, 2 * scale);
  for (int k = 0; k < 3 && chance(m, 25); k++) life *= 3;
  return life;
}

/* Sizes of a program come from few shapes. */
static int64_t size_of(struct maker *m, int64_t most) {
  int64_t grain = MAX(1, most / m->shapes);
  return grain * between(m, 1, MAX(1, most / grain));
}

/* One block in a random gap, or the whole of each gap when `fill`. */
static void allocate(struct maker *m, int64_t t, int64_t most, int64_t scale, bool fill) {
  static struct tile gap[MEM_CASE_MAX];
  int n = gaps(m, t, gap);
  for (int i = fill ? 0 : (int)rnd(m, n); i < n; i++) {
    int64_t y = gap[i].y0;
    do {
      int64_t h = chance(m, 30) ? m->height : size_of(m, most);
      h = MIN(h, gap[i].y1 - y);
      if (fill && gap[i].y1 - y - h < most / 8) h = gap[i].y1 - y;
      if (!fill && chance(m, 50)) y = gap[i].y1 - h;
      h = MIN(h, 3 * most);
      int64_t end = t + life_of(m, scale);
      add(m, t, MIN(m->steps, end), y, y + h);
      y += h;
    } while (fill && y < gap[i].y1);
    if (!fill) return;
  }
}

static void make_trace(struct maker *m) {
  int64_t most = MAX(2, m->height / between(m, 10, 40)), t = 0;
  int64_t scale = between(m, 4, 30), every = between(m, 20, 60);
  for (int k = 1; m->n < m->want; k++, t++) {
    m->steps = t + 40; /* lives may reach a little beyond what was made so far */
    allocate(m, t, most, scale, k % every == 0 && (k == every || chance(m, 30)));
    if (chance(m, 40)) allocate(m, t, most, scale, false);
  }
}

static void make_phases(struct maker *m) {
  int phases = (int)between(m, 4, 10);
  int64_t t = 0;
  for (int k = 0; k < phases; k++) {
    int64_t most = MAX(2, m->height / between(m, 6, 50)), scale = between(m, 2, 12);
    int until = m->want * (k + 1) / phases;
    while (m->n < until) {
      m->steps = t + 2 + rnd(m, 120);
      allocate(m, t, most, scale, false);
      if (chance(m, 60)) t++;
    }
    m->steps = t + 30;
    allocate(m, t, most, scale, k == phases / 2 || chance(m, 30));
    t += between(m, 1, 4);
  }
}

/* ---- noise, order ---- */

/* Times at which the load stays full. */
static int pick_peaks(struct maker *m, int64_t *peak) {
  int64_t all[4] = {0};
  int n = 0, most = (int)between(m, 1, 4);
  int64_t end = 0;
  for (int i = 0; i < m->n; i++) end = MAX(end, m->tile[i].t1);
  for (int tries = 0; tries < 1000 && n < most; tries++) {
    int64_t t = rnd(m, end), load = 0;
    for (int i = 0; i < m->n; i++)
      if (m->tile[i].t0 <= t && t < m->tile[i].t1) load += m->tile[i].y1 - m->tile[i].y0;
    if (load == m->height) all[n++] = t;
  }
  for (int64_t t = 0; t < end && !n; t++) {
    int64_t load = 0;
    for (int i = 0; i < m->n; i++)
      if (m->tile[i].t0 <= t && t < m->tile[i].t1) load += m->tile[i].y1 - m->tile[i].y0;
    if (load == m->height) all[n++] = t;
  }
  memcpy(peak, all, sizeof all);
  return n;
}

/* Drop some blocks, and shrink others by up to `percent` in size, and some in life, but for those
 * live at a peak. */
static void shrink(struct maker *m, int percent, int drop) {
  int64_t peak[4];
  int npeak = pick_peaks(m, peak), n = m->n;
  m->n = 0;
  for (int i = 0; i < n; i++) {
    struct tile *t = &m->tile[m->n];
    *t = m->tile[i];
    bool keep = false;
    for (int k = 0; k < npeak; k++) keep |= t->t0 <= peak[k] && peak[k] < t->t1;
    if (!keep && chance(m, drop)) continue;
    m->n++;
    if (keep) continue;
    int64_t h = t->y1 - t->y0, less = h * rnd(m, 100 * percent + 1) / 10000;
    t->y1 -= MIN(less, h - 1);
    if (t->t1 - t->t0 > 8 && chance(m, 20)) t->t1 -= 1 + rnd(m, (t->t1 - t->t0) / 8);
  }
}

static void give(struct maker *m, struct mem_case *c, int64_t unit) {
  c->n = m->n;
  c->height = m->height * unit;
  for (int i = m->n - 1; i > 0; i--) {
    int j = (int)rnd(m, i + 1);
    struct tile t = m->tile[i];
    m->tile[i] = m->tile[j], m->tile[j] = t;
  }
  for (int i = 0; i < m->n; i++) {
    const struct tile *t = &m->tile[i];
    c->block[i] = (struct mem_block){
        .first = (int)t->t0, .last = (int)t->t1 - 1, .bytes = (t->y1 - t->y0) * unit, .align = 1};
  }
}

void mem_case_make(struct mem_case *c, enum mem_family f, int n, uint64_t seed) {
  static const int64_t units[] = {1, 64, 512, 1024, 1024, 4096, 8192, 16384};
  static const int noise[] = {0, 1, 3, 6}, drop[] = {0, 8, 15, 25, 35, 45, 55, 65};
  static struct maker m;
  m = (struct maker){.rng = seed * 2654435761u + f, .want = n};
  for (int i = 0; i < 8; i++) rnd(&m, 2);
  int64_t unit = units[rnd(&m, COUNT(units))];
  m.height = 1048576 / unit;
  if (unit == 1 && chance(&m, 50)) m.height -= 2 * rnd(&m, 1000) + 1;
  m.steps = between(&m, 50, 1500);
  m.shapes = between(&m, 2, 20);
  switch (f) {
  case MEM_guillotine:
    make_guillotine(&m);
    break;
  case MEM_slabs:
    make_slabs(&m);
    break;
  case MEM_skyline:
    make_skyline(&m);
    break;
  case MEM_trace:
    make_trace(&m);
    break;
  case MEM_phases:
    make_phases(&m);
    break;
  case MEM_unet:
    make_unet(&m);
    break;
  case MEM_kernel:
    make_kernel(&m);
    break;
  default:
    break;
  }
  int percent = noise[rnd(&m, COUNT(noise))];
  shrink(&m, percent, drop[rnd(&m, COUNT(drop))]);
  give(&m, c, unit);
}
