/* scheduler/solve_layout: against exhaustive search, and on shapes where the optimum is known. */
#include "unit.h"

#include <string.h>

#include "../../scheduler/solve_work.h"

static uint64_t rng;
static int64_t rnd(int64_t n) {
  rng = rng * 6364136223846793005u + 1442695040888963407u;
  return (int64_t)((rng >> 33) % (uint64_t)n);
}

static void fill(int64_t *cost, int n, int percent_inf, int64_t range) {
  for (int i = 0; i < n; i++)
    cost[i] = rnd(100) < percent_inf ? SOLVE_INF : rnd(range) - (rnd(4) == 0 ? range / 2 : 0);
}

static void add_vars(struct solve_net *net, int n, int labels, int inf, int64_t range) {
  for (int i = 0; i < n; i++) {
    int v = solve_add_var(net, 1 + (int)rnd(labels));
    fill(net->var.v[v].cost, net->var.v[v].n, inf, range);
  }
}

static void add_pair(struct solve_net *net, int u, int v, int inf, int64_t range) {
  int e = solve_add_edge(net, u, v);
  fill(net->edge.v[e].cost, net->var.v[u].n * net->var.v[v].n, inf, range);
}

static int64_t brute(const struct solve_net *net) {
  int label[16] = {0}, n = (int)net->var.n;
  int64_t best = SOLVE_INF;
  for (;;) {
    best = MIN(best, solve_cost(net, label));
    int i = 0;
    while (i < n && ++label[i] == net->var.v[i].n) label[i++] = 0;
    if (i == n) return best;
  }
}

static int infeasible_seen, certified_seen, searched_seen;
static void against(const struct solve_net *net, int64_t want, int64_t entries) {
  struct fvm_error err;
  struct arena a = {0};
  struct solve_result r;
  struct solve_limits limits = {.entries = entries, .ticks = 1000000};
  enum fvm_status st = solve_limited(net, &limits, &a, &r, &err);
  if (want >= SOLVE_INF) {
    ck_assert_int_eq(st, FVM_EFAIL);
    infeasible_seen++;
  } else {
    ck_assert_msg(st == FVM_OK, "%s", err.text);
    ck_assert(r.optimal);
    ck_assert_int_eq(r.cost, want);
    ck_assert_int_eq(r.bound, want);
    ck_assert_int_eq(solve_cost(net, r.label), want);
    ck_assert_int_le(r.certified, want);
    if (entries > 0) ck_assert_int_eq(r.certified, want);
    OK(solve_check(net, &r, &err));
    certified_seen += r.certified == want;
    searched_seen += entries == 0 && r.certified < want;
  }
  arena_free(&a);
}

enum shape { TREE, CYCLE, CLIQUE, SPARSE, BLOCKS, SHAPES };

static void connect(struct solve_net *net, enum shape s, int n, int inf, int64_t range) {
  for (int v = 1; v < n; v++) {
    if (s == TREE) add_pair(net, (int)rnd(v), v, inf, range);
    if (s == CYCLE) add_pair(net, v - 1, v, inf, range);
    for (int u = 0; u < v; u++)
      if (s == CLIQUE || (s == SPARSE && rnd(3) == 0) || (s == BLOCKS && u >= (v - 1) / 3 * 3))
        add_pair(net, v, u, inf, range);
  }
  if (s == CYCLE && n > 2) add_pair(net, n - 1, 0, inf, range);
  if (s == SPARSE && n > 1) add_pair(net, 1, 0, inf, range); /* parallel edges */
}

START_TEST(agrees_with_exhaustive_search) {
  infeasible_seen = 0;
  for (int round = 0; round < 2000; round++) {
    struct solve_net net = {0};
    int n = 1 + (int)rnd(7), inf = round % 3 * 22;
    int64_t range = round % 5 ? 20 : 3; /* a small range makes ties */
    rng = (uint64_t)round;
    add_vars(&net, n, 4, inf, range);
    connect(&net, (enum shape)(round % SHAPES), n, inf, range);
    int64_t want = brute(&net);
    against(&net, want, INT64_MAX); /* by elimination */
    against(&net, want, 0);         /* by search */
    solve_net_free(&net);
  }
  ck_assert_int_gt(infeasible_seen, 50);
  ck_assert_int_gt(certified_seen, 2000);
  ck_assert_int_gt(searched_seen, 30);
}
END_TEST

/* Joint tables whose rows are no whole number of vectors, and labels of more than one byte. */
START_TEST(many_labels) {
  static const int sizes[] = {300, 17, 9, 2, 8};
  int high = 0;
  for (int round = 0; round < 40; round++) {
    struct solve_net net = {0};
    struct arena a = {0};
    struct solve_result r;
    struct fvm_error err;
    rng = (uint64_t)round;
    for (int v = 0; v < 4; v++) {
      int i = solve_add_var(&net, sizes[(v + round) % 5]);
      fill(net.var.v[i].cost, net.var.v[i].n, 10, 300);
    }
    connect(&net, CLIQUE, 4, 10, 300);
    against(&net, brute(&net), INT64_MAX);
    OK(solve_layout(&net, INT64_MAX, &a, &r, &err));
    for (int v = 0; v < 4; v++) high += r.label[v] > 255;
    arena_free(&a);
    solve_net_free(&net);
  }
  ck_assert_int_gt(high, 0);
}
END_TEST

/* ---- proofs ---- */

/* A proof with one number changed is refused, or still shows the bound by other means: then the
 * bound is right all the same, and one more is refused. */
static void tamper(const struct solve_net *net, struct solve_result r, int64_t best, int *refused) {
  struct fvm_error err;
  int64_t proved = r.certified;
  struct solve_step *step = malloc((r.nstep + 1) * sizeof *step);
  if (!step) abort();
  memcpy(step, r.step, r.nstep * sizeof *step);
  r.step = step;
  OK(solve_check(net, &r, &err));
  r.certified++;
  ck_assert(solve_check(net, &r, &err) == FVM_EFAIL);
  r.certified--, r.cost--;
  ck_assert(solve_check(net, &r, &err) == FVM_EFAIL);
  r.cost++;
  for (size_t i = 0; i < r.nstep; i++) {
    const struct solve_step was = step[i];
    switch (rnd(6)) {
    case 0:
      step[i].v = (int)rnd((int64_t)net->var.n + 2) - 1;
      break;
    case 1:
      step[i].u = (int)rnd((int64_t)net->var.n + 2) - 1;
      break;
    case 2:
      step[i].a = (int)rnd(6) - 1;
      break;
    case 3:
      step[i].b = (int)rnd(6) - 1;
      break;
    case 4:
      step[i].move = (enum solve_move)rnd(5);
      break;
    default:
      step[i].cost += rnd(5) ? rnd(9) - 4 : SOLVE_INF - rnd(2) * 2 * SOLVE_INF;
      break;
    }
    enum fvm_status st = solve_check(net, &r, &err);
    ck_assert(st == FVM_OK || st == FVM_EFAIL);
    *refused += st == FVM_EFAIL;
    r.certified = best + 1; /* whatever the steps, they never prove what is wrong */
    ck_assert(solve_check(net, &r, &err) == FVM_EFAIL);
    r.certified = proved;
    step[i] = was;
  }
  free(step);
}

START_TEST(proofs_that_are_changed) {
  int refused = 0;
  for (int round = 0; round < 400; round++) {
    struct fvm_error err;
    struct solve_net net = {0};
    struct arena a = {0};
    struct solve_result r;
    struct solve_limits limits = {.entries = round % 2 ? INT64_MAX : 0, .ticks = 1000000};
    rng = (uint64_t)round + 9000;
    add_vars(&net, 6, 4, round % 3 * 10, 20);
    connect(&net, (enum shape)(round % SHAPES), 6, round % 3 * 10, 20);
    int64_t best = brute(&net);
    if (best < SOLVE_INF) {
      OK(solve_limited(&net, &limits, &a, &r, &err));
      tamper(&net, r, best, &refused);
    }
    arena_free(&a);
    solve_net_free(&net);
  }
  ck_assert_int_gt(refused, 1000);
}
END_TEST

static void set_diagonal(int64_t *cost, int n) {
  for (int i = 0; i < n * n; i++) cost[i] = i % (n + 1) ? 10 + i % 7 : 0;
}

/* As in a deep network with skip connections: 2,500 variables, 8 layouts. */
START_TEST(deep_layered_network) {
  struct fvm_error err;
  struct solve_net net = {0};
  struct arena a = {0};
  struct solve_result r;
  rng = 7;
  for (int v = 0; v < 2500; v++) {
    solve_add_var(&net, 8);
    fill(net.var.v[v].cost, 8, 10, 1000);
    if (v > 0) solve_add_edge(&net, v - 1, v);
    if (v > 7 && v % 3 == 0) solve_add_edge(&net, v - 4, v);
  }
  for (size_t e = 0; e < net.edge.n; e++) set_diagonal(net.edge.v[e].cost, 8);
  OK(solve_layout(&net, 1000000, &a, &r, &err));
  ck_assert(r.optimal);
  ck_assert_int_eq(r.cost, solve_cost(&net, r.label));
  ck_assert_int_lt(r.ticks, 100000000);
  solve_net_free(&net);
  arena_free(&a);
}
END_TEST

static void clique(struct solve_net *net, int n, int labels) {
  for (int v = 0; v < n; v++) {
    solve_add_var(net, labels);
    fill(net->var.v[v].cost, labels, 0, 50);
    for (int u = 0; u < v; u++) add_pair(net, u, v, 5, 100);
  }
}

/* Too wide for tables: the search must end by itself on a small one ... */
START_TEST(search_proves) {
  struct fvm_error err;
  struct solve_net net = {0};
  struct arena a = {0};
  struct solve_result r;
  rng = 3;
  clique(&net, 11, 6);
  OK(solve_layout(&net, INT64_MAX, &a, &r, &err));
  ck_assert(r.optimal);
  ck_assert_int_eq(r.cost, r.bound);
  ck_assert_int_eq(r.cost, solve_cost(&net, r.label));
  solve_net_free(&net);
  arena_free(&a);
}
END_TEST

/* ... and give an honest bound when it is stopped, the same one every time. */
START_TEST(search_stops) {
  struct fvm_error err;
  struct solve_net net = {0};
  struct arena a = {0};
  struct solve_result r, again;
  rng = 4;
  clique(&net, 20, 8);
  OK(solve_layout(&net, 3000000, &a, &r, &err));
  ck_assert(!r.optimal);
  ck_assert_int_lt(r.bound, r.cost);
  ck_assert_int_eq(r.cost, solve_cost(&net, r.label));
  OK(solve_layout(&net, 3000000, &a, &again, &err));
  ck_assert_int_eq(r.cost, again.cost);
  ck_assert_int_eq(r.bound, again.bound);
  ck_assert_mem_eq(r.label, again.label, 20 * sizeof(int));
  OK(solve_layout(&net, 30000000, &a, &again, &err));
  ck_assert_int_ge(again.bound, r.bound);
  ck_assert_int_le(again.cost, r.cost);
  ck_assert_int_le(r.bound, again.cost);
  solve_net_free(&net);
  arena_free(&a);
}
END_TEST

struct clock {
  int64_t asked, over; /* the first question that is answered with true */
};
static bool is_over(void *arg) {
  struct clock *c = arg;
  return ++c->asked >= c->over;
}

/* Both the ticks and whoever is asked end it soon, with labels. */
START_TEST(limits_are_kept) {
  struct fvm_error err;
  struct solve_net net = {0};
  struct arena a = {0};
  struct solve_result r;
  rng = 4;
  for (int v = 0; v < 60; v++) {
    solve_add_var(&net, 8);
    fill(net.var.v[v].cost, 8, 0, 1000);
    for (int u = 0; u < v; u++) add_pair(&net, u, v, 0, 1000);
  }
  struct solve_limits limits = {.entries = SOLVE_ENTRIES, .ticks = 20000000};
  OK(solve_limited(&net, &limits, &a, &r, &err));
  ck_assert(!r.optimal);
  ck_assert_int_ge(r.ticks, limits.ticks);
  ck_assert_int_le(r.ticks, limits.ticks + limits.ticks / 10);
  int64_t ticks = r.ticks;
  for (int64_t over = 1; over <= 10000; over *= 10) {
    struct clock c = {.over = over};
    limits = (struct solve_limits){SOLVE_ENTRIES, INT64_MAX, is_over, &c};
    OK(solve_limited(&net, &limits, &a, &r, &err));
    ck_assert_int_eq(r.cost, solve_cost(&net, r.label));
    ck_assert(!r.optimal);
    ck_assert_int_ge(c.asked, over);
    ck_assert_int_le(c.asked, over + 10);
    if (over == 1) ck_assert_int_lt(r.ticks, ticks / 10);
  }
  solve_net_free(&net);
  arena_free(&a);
}
END_TEST

/* ---- with a limit on room ---- */

/* A network with costs, sums and peaks from small ranges, so that there are ties. */
struct limited {
  struct solve_net net;
  struct solve_room room[16];
};

static void add_room(struct limited *x, int64_t range, int64_t unit) {
  for (size_t v = 0; v < x->net.var.n; v++) {
    int n = x->net.var.v[v].n;
    int64_t *sum = ARENA_NEW(&x->net.arena, int64_t, n);
    int64_t *peak = rnd(3) ? ARENA_NEW(&x->net.arena, int64_t, n) : NULL;
    for (int k = 0; k < n; k++) {
      sum[k] = rnd(range) * unit;
      if (peak) peak[k] = rnd(range) * 3;
    }
    x->room[v] = (struct solve_room){rnd(8) ? sum : NULL, peak};
  }
}

static void drop_negative(int64_t *cost, int64_t n) {
  for (int64_t i = 0; i < n; i++) cost[i] = MAX(cost[i], 0);
}

static void make_limited(struct limited *x, int round) {
  int n = 1 + (int)rnd(7), inf = round % 3 * 11;
  int64_t range = round % 5 ? 30 : 3;
  *x = (struct limited){0};
  add_vars(&x->net, n, 4, inf, range);
  connect(&x->net, (enum shape)(round % SHAPES), n, inf, range);
  for (size_t v = 0; v < x->net.var.n; v++) drop_negative(x->net.var.v[v].cost, x->net.var.v[v].n);
  for (size_t e = 0; e < x->net.edge.n; e++)
    drop_negative(x->net.edge.v[e].cost,
                  (int64_t)x->net.var.v[x->net.edge.v[e].u].n * x->net.var.v[x->net.edge.v[e].v].n);
  add_room(x, range, 1 + rnd(3) * 7);
}

static int64_t brute_limited(const struct solve_budget *b, int64_t *least_room) {
  int label[16] = {0}, n = (int)b->net->var.n;
  int64_t best = SOLVE_INF;
  *least_room = INT64_MAX;
  for (;;) {
    int64_t cost = solve_cost(b->net, label), room = solve_room(b, label);
    if (cost < SOLVE_INF) *least_room = MIN(*least_room, room);
    if (room <= b->limit) best = MIN(best, cost);
    int i = 0;
    while (i < n && ++label[i] == b->net->var.v[i].n) label[i++] = 0;
    if (i == n) return best;
  }
}

static int refused_seen, squeezed_seen;
static int64_t against_limit(const struct solve_budget *b) {
  struct fvm_error err;
  struct arena a = {0};
  struct solve_result r;
  int64_t least, want = brute_limited(b, &least);
  enum fvm_status st = solve_budget(b, &a, &r, &err);
  if (want >= SOLVE_INF) {
    ck_assert_int_eq(st, FVM_EFAIL);
    ck_assert(r.label == NULL && r.optimal);
    refused_seen++;
  } else {
    ck_assert_msg(st == FVM_OK, "%s", err.text);
    ck_assert_int_eq(r.cost, want);
    ck_assert(r.optimal);
    ck_assert_int_eq(r.bound, want);
    ck_assert_int_eq(solve_cost(b->net, r.label), want);
    ck_assert_int_le(solve_room(b, r.label), b->limit);
    squeezed_seen += want > brute(b->net);
  }
  arena_free(&a);
  return want;
}

/* Nothing below the least is found, and the least is below one more. */
static void against_cutoff(struct solve_budget b, int64_t want) {
  struct fvm_error err;
  struct arena a = {0};
  struct solve_result r;
  if (want >= SOLVE_INF || want == 0) return;
  b.below = want;
  ck_assert_int_eq(solve_budget(&b, &a, &r, &err), FVM_EFAIL);
  ck_assert(r.optimal && r.label == NULL);
  ck_assert_int_eq(r.bound, want);
  b.below = want + 1;
  b.known = rnd(want + 1);
  OK(solve_budget(&b, &a, &r, &err));
  ck_assert_int_eq(r.cost, want);
  arena_free(&a);
}

START_TEST(limits_agree_with_exhaustive_search) {
  refused_seen = squeezed_seen = 0;
  for (int round = 0; round < 500; round++) {
    struct limited x;
    rng = (uint64_t)round + 5000;
    make_limited(&x, round);
    struct solve_budget b = {&x.net, x.room, SOLVE_INF, 1000000, 0, 0};
    int64_t least;
    brute_limited(&b, &least);
    for (int i = 0; i < 4 && least < INT64_MAX; i++) {
      b.limit = least - 1 + rnd(i == 0 ? 2 : 60);
      against_cutoff(b, against_limit(&b));
    }
    solve_net_free(&x.net);
  }
  ck_assert_int_gt(refused_seen, 100);
  ck_assert_int_gt(squeezed_seen, 330);
}
END_TEST

/* ---- with a limit on what is there at a time ---- */

struct lives {
  int64_t *usage[16], from[16], to[16];
};

static bool keeps(const struct solve_usage *u, const int *label) {
  for (size_t t = 0; t < u->net->var.n; t++) { /* any use is greatest where a life begins */
    int64_t use = 0;
    for (size_t v = 0; v < u->net->var.n; v++)
      if (u->from[v] <= u->from[t] && u->from[t] < u->to[v]) use += u->usage[v][label[v]];
    if (use > u->limit) return false;
  }
  return true;
}

static int64_t brute_usage(const struct solve_usage *u) {
  int label[16] = {0}, n = (int)u->net->var.n;
  int64_t best = SOLVE_INF;
  for (;;) {
    int64_t cost = solve_cost(u->net, label);
    if (cost < best && keeps(u, label)) best = cost;
    int i = 0;
    while (i < n && ++label[i] == u->net->var.v[i].n) label[i++] = 0;
    if (i == n) return best;
  }
}

static void make_lives(struct limited *x, struct lives *l) {
  for (size_t v = 0; v < x->net.var.n; v++) {
    l->usage[v] = ARENA_NEW(&x->net.arena, int64_t, x->net.var.v[v].n);
    for (int k = 0; k < x->net.var.v[v].n; k++) l->usage[v][k] = rnd(20) * 1000;
    l->from[v] = rnd(10);
    l->to[v] = rnd(8) ? l->from[v] + 1 + rnd(6) : 0;
  }
}

START_TEST(lives_agree_with_exhaustive_search) {
  int none = 0, squeezed = 0;
  for (int round = 0; round < 400; round++) {
    struct fvm_error err;
    struct limited x;
    struct lives l;
    struct arena a = {0};
    struct solve_result r;
    rng = (uint64_t)round + 7000;
    make_limited(&x, round);
    make_lives(&x, &l);
    struct solve_usage u = {.net = &x.net, .usage = l.usage, .from = l.from, .to = l.to};
    u.limits = (struct solve_limits){.entries = INT64_MAX, .ticks = INT64_MAX};
    u.limit = 5000 + rnd(40) * 1000;
    int64_t want = brute_usage(&u);
    enum fvm_status st = solve_usage(&u, &a, &r, &err);
    if (want >= SOLVE_INF) {
      ck_assert_int_eq(st, FVM_EFAIL);
      ck_assert(r.optimal);
      none++;
    } else {
      ck_assert_msg(st == FVM_OK, "%s", err.text);
      ck_assert(r.optimal);
      ck_assert_int_eq(r.cost, want);
      ck_assert_int_eq(r.bound, want);
      ck_assert_int_eq(solve_cost(&x.net, r.label), want);
      ck_assert(keeps(&u, r.label));
      squeezed += want > brute(&x.net);
      struct clock c = {.over = 1 + rnd(20)};
      u.limits = (struct solve_limits){0, INT64_MAX, is_over, &c};
      st = solve_usage(&u, &a, &r, &err);
      ck_assert(st == FVM_OK || st == FVM_EFAIL);
      ck_assert_int_le(c.asked, c.over + 30);
      ck_assert(st == FVM_OK ? keeps(&u, r.label) && r.bound <= want && r.cost >= want
                             : !r.optimal);
    }
    arena_free(&a);
    solve_net_free(&x.net);
  }
  ck_assert_int_gt(none, 20);
  ck_assert_int_gt(squeezed, 40);
}
END_TEST

/* n equal layers of a few products, each a choice of fast and small: what a deep network asks. */
static void layers(struct solve_net *net, struct solve_room *room, int n, bool equal) {
  static const int64_t bytes[] = {2359296, 2359296, 9437184};
  for (int v = 0; v < n; v++) {
    int64_t b = bytes[v % 3], ns = b / 5 + (equal ? 0 : rnd(10000)), gain = equal ? 9 : 5 + rnd(9);
    solve_add_var(net, 3);
    int64_t *sum = ARENA_NEW(&net->arena, int64_t, 3);
    for (int k = 0; k < 3; k++) {
      net->var.v[v].cost[k] = ns - (k == 0 ? ns * gain / 100 : 0) + (k == 2 ? 100 : 0);
      sum[k] = k == 0 ? b / 4 * 7 : b;
    }
    room[v] = (struct solve_room){sum, NULL};
    int e = v > 0 ? solve_add_edge(net, v - 1, v) : -1;
    if (e >= 0) set_diagonal(net->edge.v[e].cost, 3);
  }
}

START_TEST(deep_networks_keep_limits) {
  struct fvm_error err;
  for (int equal = 0; equal < 2; equal++) {
    struct solve_net net = {0};
    struct solve_room room[144];
    int label[144] = {0};
    rng = 11;
    layers(&net, room, 144, equal);
    struct solve_budget b = {&net, room, 0, 100000000, 0, 0};
    int64_t most = solve_room(&b, label), cost = 0;
    for (int percent = 58; percent <= 100; percent += 7) {
      struct arena a = {0};
      struct solve_result r;
      b.limit = most / 100 * percent;
      OK(solve_budget(&b, &a, &r, &err));
      ck_assert_int_le(solve_room(&b, r.label), b.limit);
      ck_assert_int_eq(solve_cost(&net, r.label), r.cost);
      ck_assert_int_le(r.bound, r.cost);
      ck_assert(r.optimal);
      ck_assert(cost == 0 || r.cost < cost); /* more room, less time */
      ck_assert_int_lt(r.ticks, 5000000);
      cost = r.cost;
      arena_free(&a);
    }
    solve_net_free(&net);
  }
}
END_TEST

START_TEST(memory_may_fail) {
  struct fvm_error err;
  struct solve_net net = {0};
  rng = 5;
  clique(&net, 6, 5);
  struct solve_room room[6];
  int64_t sum[5] = {9, 7, 5, 2, 0};
  for (int v = 0; v < 6; v++) {
    room[v] = (struct solve_room){sum, NULL};
    drop_negative(net.var.v[v].cost, net.var.v[v].n);
  }
  for (size_t e = 0; e < net.edge.n; e++) drop_negative(net.edge.v[e].cost, 25);
  struct solve_budget b = {&net, room, 20, 1000000, 0, 0};
  for (long n = 2; n < 2000; n++) {
    struct arena a = {0};
    struct solve_result r;
    fvm_fail_alloc(n / 2);
    enum fvm_status st =
        n % 2 ? solve_layout(&net, 1000000, &a, &r, &err) : solve_budget(&b, &a, &r, &err);
    fvm_fail_alloc(0);
    ck_assert(st == FVM_OK || st == FVM_ENOMEM);
    arena_free(&a);
  }
  solve_net_free(&net);
}
END_TEST

UNIT_MAIN("solve", agrees_with_exhaustive_search, many_labels, proofs_that_are_changed,
          deep_layered_network, search_proves, search_stops, limits_are_kept,
          lives_agree_with_exhaustive_search, limits_agree_with_exhaustive_search,
          deep_networks_keep_limits, memory_may_fail)
