/* Limits on memory: small random graphs with branches, residuals, joins and conversions under
 * random costs, against every choice of labels with the order and the places that it really gets.
 */
#include "planned.h"

#include "../../scheduler/pass.h"
#include "../../scheduler/sched.h"

static const struct plan_options options = {
    .target = {.threads = {1}, .nthreads = 1, .l1_bytes = 32 << 10, .l2_bytes = 1 << 20},
    .max_ticks = 10000000,
    .build = "build",
    .machine = "machine"};

/* ---- graphs ---- */

/* Images of few channels; tensors are t0 (the input), t1, ... */
struct maker {
  char text[2000];
  int n, channels[16];
};

static void put(struct maker *m, int channels, const char *line) {
  size_t at = strlen(m->text);
  snprintf(m->text + at, sizeof m->text - at, "t%d = %s\n", m->n, line);
  m->channels[m->n++] = channels;
}

static void add_node(struct maker *m) {
  char line[100];
  int x = rnd(3) ? m->n - 1 : rnd(m->n), y = rnd(m->n), c = m->channels[x];
  switch (rnd(8)) {
  case 0:
  case 1:
    snprintf(line, sizeof line, "Concat(t%d, t%d) axis=1", x, y);
    if (c + m->channels[y] < 100) put(m, c + m->channels[y], line);
    return;
  case 2:
    snprintf(line, sizeof line, "Add(t%d, t%d)", x, y);
    if (m->channels[y] == c) put(m, c, line);
    return;
  case 3:
    snprintf(line, sizeof line, "MaxPool(t%d) kernel_shape=[3,3] pads=[1,1,1,1]", x);
    break;
  case 4:
    snprintf(line, sizeof line, "Softmax(t%d) axis=1", x);
    break;
  case 5:
  case 6:
    snprintf(line, sizeof line, "Conv(t%d, w)", x);
    if (c == m->channels[0]) put(m, c, line);
    return;
  default:
    snprintf(line, sizeof line, "%s(t%d)", rnd(2) ? "Exp" : "Tanh", x);
  }
  put(m, c, line);
}

/* Branches of one or two nodes from one tensor to one Concat; w makes c channels, v some more. */
static void put_knot(struct maker *m, int wide) {
  char line[100], join[100] = "Concat(";
  int c = m->channels[0], branches = 2 + rnd(2), nodes = rnd(2);
  snprintf(line, sizeof line, "Conv(t0, w)");
  put(m, c, line);
  for (int b = 0; b < branches; b++) {
    int from = 1, n = 1 + (b == 0 || rnd(2) ? nodes : 0);
    for (int i = 0; i < n; i++) {
      int kind = rnd(3), out = kind == 2 && m->channels[from] == c ? wide : m->channels[from];
      if (kind == 2 && m->channels[from] != c) kind = 0;
      snprintf(line, sizeof line,
               kind == 0   ? "MaxPool(t%d) kernel_shape=[3,3] pads=[1,1,1,1]"
               : kind == 1 ? "Softmax(t%d) axis=1"
                           : "Conv(t%d, v)",
               from);
      from = m->n;
      put(m, out, line);
    }
    snprintf(join + strlen(join), sizeof join - strlen(join), "%st%d", b ? ", " : "", from);
  }
  snprintf(line, sizeof line, "%s) axis=1", join);
  put(m, 0, line);
  snprintf(line, sizeof line, "MaxPool(t%d) kernel_shape=[3,3] pads=[1,1,1,1]", m->n - 1);
  put(m, 0, line);
}

static struct graph *random_graph(bool knot) {
  static const int channels[] = {4, 16, 20};
  struct maker m = {.n = 1};
  int c = m.channels[0] = channels[rnd(3)], nodes = 3 + rnd(4), wide = knot ? 16 + 4 * rnd(5) : c;
  snprintf(m.text, sizeof m.text,
           "graph random opset=17\ninput t0:f32[1,%d,3,3]\n"
           "const w:f32[%d,%d,1,1] = #0\nconst v:f32[%d,%d,1,1] = #0\n",
           c, c, c, wide, c);
  if (knot) put_knot(&m, wide);
  while (!knot && m.n <= nodes) add_node(&m);
  size_t at = strlen(m.text);
  snprintf(m.text + at, sizeof m.text - at, "output t%d\n", m.n - 1);
  return planned_graph(m.text);
}

/* ---- every choice ---- */

struct found {
  int64_t memory, arena, cost;
};
enum { MOST_FOUND = 20000 };
static struct found found[MOST_FOUND];

/* All steps but copies of outputs, which come on top of what labels cost. */
static int64_t labels_ns(const struct schedule *s) {
  int64_t sum = 0;
  for (size_t i = 0; i < s->step.n; i++) {
    const struct sched_step *k = &s->step.v[i];
    const struct sched_value *x = k->node < 0 ? &s->value.v[k->in_value] : NULL,
                             *y = k->node < 0 ? &s->value.v[k->out_value] : NULL;
    if (!x || y->space != SPACE_OUTPUT || y->base >= 0 || x->layout != y->layout) sum += k->cost_ns;
  }
  return sum;
}

static bool next_choice(struct sched *w) {
  for (size_t i = 0; i < w->g->node.n; i++) {
    if (w->g->node.v[i].dead) continue;
    if (++w->node[i].choice < w->node[i].menu->n) return true;
    w->node[i].choice = 0;
  }
  return false;
}

/* Whether the nodes of each chain are run together or not, both of them. */
static bool goes_together(const struct sched *w) {
  for (int i = 0; i < (int)w->g->node.n; i++)
    if (!w->g->node.v[i].dead && w->first[i] >= 0 &&
        !sched_go_together(w, i, w->node[w->first[i]].choice, w->node[i].choice))
      return false;
  return true;
}

/* All labels cost the same, conversions nothing. */
static struct cost *level_cost(void) {
  struct fvm_error err;
  struct cost *c = cost_table_new("100\nconvert * * 0\n", &err);
  ck_assert_msg(c != NULL, "%s", err.text);
  return c;
}

enum { LEVEL = 12345 }; /* for a seed: level_cost */
static struct cost *cost_of(uint64_t seed) {
  return seed == LEVEL ? level_cost() : cost_random_new(seed);
}

/* Returns how many; 0: too many to look at. */
static int enumerate(const struct graph *g, uint64_t seed) {
  struct fvm_error err;
  struct sched w;
  struct cost *cost = cost_of(seed);
  int n = 0;
  int64_t all = 1;
  OK(sched_open(&w, g, cost, &options, &err));
  w.weighs_memory = true;
  OK(sched_menus(&w));
  for (size_t i = 0; i < g->node.n; i++)
    if (!g->node.v[i].dead) all = MIN(all * w.node[i].menu->n, MOST_FOUND + 1);
  while (all <= MOST_FOUND) {
    arena_free(&w.s->arena);
    if (goes_together(&w) && !sched_realize(&w))
      found[n++] = (struct found){w.s->resident_bytes, w.s->arena_bytes, labels_ns(w.s)};
    if (!next_choice(&w)) break;
  }
  sched_close(&w);
  schedule_free(w.s);
  cost_free(cost);
  return n;
}

static int64_t best_within(int n, int64_t memory, int64_t arena) {
  int64_t best = INT64_MAX;
  for (int i = 0; i < n; i++)
    if ((!memory || found[i].memory <= memory) && (!arena || found[i].arena <= arena))
      best = MIN(best, found[i].cost);
  return best;
}

/* ---- the same by the planner ---- */

static int proved, unproved, refused, exactly, traded;

/* The text's figures: what the smallest that was found needs of what there is too little of, and
 * what all need. */
static void check_refusal(const char *text, int n, int64_t memory, int64_t arena) {
  long long needs, least;
  int64_t true_least = INT64_MAX;
  const char *at = strstr(text, "the smallest found needs "), *none = strstr(text, "none needs ");
  bool by_memory = strstr(text, "--memory") != NULL;
  ck_assert_msg(at && sscanf(at, "the smallest found needs %lld", &needs) == 1, "%s", text);
  ck_assert_msg(none && sscanf(none, "none needs less than %lld", &least) == 1, "%s", text);
  for (int i = 0; i < n; i++) {
    bool other = !by_memory || !arena || found[i].arena <= arena;
    if (other) true_least = MIN(true_least, by_memory ? found[i].memory : found[i].arena);
  }
  ck_assert_int_lt(true_least, INT64_MAX);
  ck_assert_int_le(least, true_least);
  ck_assert_int_ge(needs, true_least);
  ck_assert_int_gt(needs, by_memory ? memory : arena);
  refused++;
  exactly += least == needs;
}

static void fit(const struct graph *g, uint64_t seed, int n, int64_t memory, int64_t arena) {
  struct fvm_error err;
  struct plan_options o = options;
  struct schedule *s;
  struct cost *cost = cost_random_new(seed);
  int64_t best = best_within(n, memory, arena);
  o.memory = memory;
  o.arena = arena;
  enum fvm_status st = schedule_graph(g, cost, &o, &s, &err);
  cost_free(cost);
  if (st) {
    ck_assert_int_eq(st, FVM_EFAIL);
    ck_assert_msg(best == INT64_MAX, "seed %llu memory %lld arena %lld: %s, but there is %lld",
                  (unsigned long long)seed, (long long)memory, (long long)arena, err.text,
                  (long long)best);
    check_refusal(err.text, n, memory, arena);
    return;
  }
  ck_assert(!memory || s->resident_bytes <= memory);
  ck_assert(!arena || s->arena_bytes <= arena);
  if (s->again) { /* that is not among the choices: see test_again.c */
    ck_assert(labels_ns(s) < best);
    schedule_free(s);
    return;
  }
  ck_assert_int_ge(labels_ns(s), best);
  ck_assert_msg(s->layout_bound_ns <= best,
                "seed %llu memory %lld arena %lld: bound %lld over %lld", (unsigned long long)seed,
                (long long)memory, (long long)arena, (long long)s->layout_bound_ns,
                (long long)best);
  if (s->optimal) ck_assert_int_eq(labels_ns(s), best);
  traded += best > best_within(n, 0, 0);
  proved += s->optimal;
  unproved += !s->optimal;
  schedule_free(s);
}

static void compare(int most, bool knots) {
  int graphs = 0;
  proved = unproved = refused = exactly = traded = 0;
  for (uint64_t seed = 0; graphs < most; seed++) {
    ck_assert_int_lt((int)seed, 4000);
    rng = seed * 7919 + 5;
    struct graph *g = random_graph(knots);
    int n = enumerate(g, seed);
    int64_t least_arena = INT64_MAX, least_memory = INT64_MAX;
    for (int i = 0; i < n; i++) {
      least_arena = MIN(least_arena, found[i].arena);
      least_memory = MIN(least_memory, found[i].memory);
    }
    graphs += n > 0;
    if (n && least_arena > 64) fit(g, seed, n, 0, least_arena - 1);
    if (n && least_memory > 64) fit(g, seed, n, least_memory - 1, 0);
    for (int i = 0; n && i < 6; i++) {
      const struct found *f = &found[rnd(n)], *h = &found[rnd(n)];
      int64_t arena = i ? f->arena : least_arena, memory = i ? f->memory : least_memory;
      if (arena) fit(g, seed, n, 0, arena);
      if (memory) fit(g, seed, n, memory, 0);
      if (memory && h->arena) fit(g, seed, n, memory, h->arena);
    }
    graph_free(g);
  }
}

START_TEST(limits_agree_with_enumeration) {
  compare(120, false);
  ck_assert_int_gt(proved, 1500);
  ck_assert_int_gt(refused, 150);
  ck_assert_int_gt(traded, 100);
  ck_assert_int_lt(unproved, proved / 50);
}
END_TEST

/* Where branches join: what all need at least is what the smallest needs, but for few. */
START_TEST(limits_hold_where_branches_join) {
  compare(40, true);
  ck_assert_int_gt(proved, 600);
  ck_assert_int_eq(unproved, 0);
  ck_assert_int_gt(refused, 60);
  ck_assert_int_gt(exactly, refused * 3 / 4);
}
END_TEST

/* What a front tells: never less than before; it ends when told to. */
struct listener {
  double done;
  int calls, last; /* the call that is answered with false; 0: none */
};
static bool listen(void *ctx, double done, double total, const char *what) {
  struct listener *l = ctx;
  ck_assert(done >= l->done && done <= total);
  ck_assert(what[0]);
  l->done = done;
  return ++l->calls != l->last;
}

static void check_watch(const struct graph *g, uint64_t seed, const struct front *same) {
  struct listener l = {0};
  const struct plan_watch watch = {listen, &l};
  struct plan_options o = options;
  struct cost *cost = cost_random_new(seed);
  struct front f;
  struct fvm_error err;
  o.watch = &watch;
  OK(schedule_front(g, cost, &o, &f, &err));
  ck_assert_uint_eq(f.schedule.n, same->schedule.n);
  ck_assert_int_gt(l.calls, 0);
  if (same->schedule.n > 1) ck_assert(l.done > 0);
  front_free(&f);
  l = (struct listener){.last = 1 + l.calls / 2};
  ck_assert_int_eq(schedule_front(g, cost, &o, &f, &err), FVM_EINTR);
  ck_assert_int_eq(l.calls, l.last);
  front_free(&f);
  cost_free(cost);
}

/* Every point is the fastest in its memory, none is beaten, and the last is not far from the least
 * that there is. */
static int check_front(const struct graph *g, uint64_t seed, int n) {
  struct fvm_error err;
  struct front f;
  struct cost *cost = cost_random_new(seed);
  int64_t most = 0, least = INT64_MAX;
  OK(schedule_front(g, cost, &options, &f, &err));
  cost_free(cost);
  int points = (int)f.schedule.n;
  ck_assert_int_gt(points, 0);
  ck_assert_int_eq(labels_ns(f.schedule.v[0]), best_within(n, 0, 0));
  for (int i = 0; i < points; i++) {
    const struct schedule *s = f.schedule.v[i], *before = i ? f.schedule.v[i - 1] : NULL;
    ck_assert(!before ||
              (s->cost_ns > before->cost_ns && s->resident_bytes < before->resident_bytes));
    if (!s->again) ck_assert_int_eq(labels_ns(s), best_within(n, MAX(s->resident_bytes, 1), 0));
  }
  for (int i = 0; i < n; i++) least = MIN(least, found[i].memory);
  most = f.schedule.v[0]->resident_bytes;
  ck_assert_int_le(f.schedule.v[points - 1]->resident_bytes - least, MAX(most / 24, 64));
  check_watch(g, seed, &f);
  front_free(&f);
  return points;
}

START_TEST(fronts_agree_with_enumeration) {
  int graphs = 0, points = 0;
  for (uint64_t seed = 0; graphs < 60; seed++) {
    ck_assert_int_lt((int)seed, 4000);
    rng = seed * 7919 + 5;
    struct graph *g = random_graph(false);
    int n = enumerate(g, seed);
    graphs += n > 0;
    if (n) points += check_front(g, seed, n);
    graph_free(g);
  }
  ck_assert_int_gt(points, 80);
}
END_TEST

/* Of the cheapest choices the plan has one with the least arena, mostly: the rest is of less effort
 * than limits are worth. Nothing is gained by larger weights or scratch. */
START_TEST(ties_go_to_the_smaller_arena) {
  int graphs = 0, most = 0, exact = 0;
  for (uint64_t seed = 0; graphs < 100; seed++) {
    struct fvm_error err;
    struct schedule *s;
    ck_assert_int_lt((int)seed, 4000);
    rng = seed * 7919 + 5;
    struct graph *g = random_graph(seed % 2);
    int n = enumerate(g, LEVEL);
    int64_t best = best_within(n, 0, 0), least = INT64_MAX, largest = 0;
    graphs += n > 0;
    for (int i = 0; i < n; i++) {
      if (found[i].cost != best) continue;
      least = MIN(least, found[i].arena);
      largest = MAX(largest, found[i].arena);
    }
    struct cost *cost = level_cost();
    OK(schedule_graph(g, cost, &options, &s, &err));
    cost_free(cost);
    if (n) {
      ck_assert_int_eq(labels_ns(s), best);
      ck_assert_int_ge(s->arena_bytes, least);
      ck_assert_int_le(s->arena_bytes, largest);
      exact += s->arena_bytes == least;
      most += s->arena_bytes == least && least < largest;
    }
    schedule_free(s);
    graph_free(g);
  }
  ck_assert_int_ge(exact, 93);
  ck_assert_int_ge(most, 70);
}
END_TEST

/* Each allocation of a search within limits fails once. */
START_TEST(memory_may_fail) {
  struct fvm_error err;
  enum fvm_status st = FVM_ENOMEM;
  rng = 5;
  struct graph *g = random_graph(false);
  int n = enumerate(g, 5);
  struct plan_options o = options;
  ck_assert_int_gt(n, 0);
  o.arena = found[0].arena;
  for (int i = 0; i < n; i++) o.arena = MIN(o.arena, found[i].arena);
  for (int tight = 0; tight < 2; tight++, st = FVM_ENOMEM) {
    o.arena -= tight * 64;
    o.memory = 1 << 30;
    for (long k = 1; st == FVM_ENOMEM && k < 9000; k++) {
      struct schedule *s = NULL;
      struct cost *cost = cost_random_new(5);
      fvm_fail_alloc(k);
      st = cost ? schedule_graph(g, cost, &o, &s, &err) : FVM_ENOMEM;
      fvm_fail_alloc(0);
      schedule_free(s);
      cost_free(cost);
    }
    ck_assert_msg(st == (tight ? FVM_EFAIL : FVM_OK), "%s", err.text);
  }
  st = FVM_ENOMEM;
  for (long k = 1; st == FVM_ENOMEM && k < 9000; k++) {
    struct front f = {{0}};
    struct cost *cost = cost_random_new(5);
    fvm_fail_alloc(k);
    st = cost ? schedule_front(g, cost, &options, &f, &err) : FVM_ENOMEM;
    fvm_fail_alloc(0);
    front_free(&f);
    cost_free(cost);
  }
  OK(st);
  graph_free(g);
}
END_TEST

UNIT_MAIN("fit", limits_agree_with_enumeration, limits_hold_where_branches_join,
          fronts_agree_with_enumeration, ties_go_to_the_smaller_arena, memory_may_fail)
