/* scheduler/order: the peak that is claimed is the order's by definition, the least of all orders
 * on thousands of small problems, and bounds are bounds also when the work allowed runs out. */
#include "unit.h"

#include <string.h>

#include "../../scheduler/order_net.h"
#include "order_toys.h"

static void make_family(struct toy *t, int family, int n) {
  toy_start(t);
  if (family == 0) make_random(t, n);
  if (family == 1) make_joins(t, n);
  if (family == 2) make_branches(t, n);
  if (family == 3) make_tree(t, n);
  if (family == 4) make_unet(t, 1 + rnd(MAX(1, n / 6)), rnd(2));
  if (family == 5) make_nested(t, n);
}
enum { FAMILIES = 6 };

/* ---- by definition ---- */

/* Peak of an order from the lives of its values; -1 when it breaks a dependency. taken: bit i:
 * share i is used where it can be. */
static int64_t peak_of(const struct toy *t, const int *order, uint64_t taken) {
  int n = t->p.nstep, when[MAXS], from[MAXV], to[MAXV];
  for (int k = 0; k < n; k++) when[order[k]] = k;
  for (int v = 0; v < t->p.nvalue; v++) {
    const struct order_value *x = &t->value[v];
    from[v] = x->producer >= 0 ? when[x->producer] : x->producer == -1 ? -1 : n;
    to[v] = x->stays ? n : x->producer >= 0 ? from[v] : -2;
  }
  for (int i = 0; i < t->p.nuse; i++) {
    int v = t->use[i].value, k = when[t->use[i].step];
    if (t->value[v].producer >= 0 && k <= from[v]) return -1;
    if (t->value[v].producer == ORDER_PLACE) from[v] = MIN(from[v], k);
    to[v] = MAX(to[v], k);
  }
  int64_t peak = 0;
  for (int k = -1; k <= n; k++) {
    int64_t live = 0;
    for (int v = 0; v < t->p.nvalue; v++)
      if (from[v] <= k && k <= to[v]) live += t->value[v].bytes;
    for (int i = 0; i < t->p.nshare; i++)
      if (taken >> (i % 64) & 1 && k == when[t->share[i].step] && to[t->share[i].in] == k)
        live -= t->value[t->share[i].in].bytes;
    peak = MAX(peak, live);
  }
  return peak;
}

static int64_t least_taken(const struct toy *t, const int *order) {
  int64_t least = peak_of(t, order, ~(uint64_t)0);
  for (uint64_t taken = 0; t->p.nshare < 3 && taken < (uint64_t)1 << t->p.nshare; taken++)
    if (peak_of(t, order, taken) < least) ck_abort_msg("a place not taken helps");
  return least;
}

static int64_t all_orders(const struct toy *t, int *order, int k) {
  int64_t best = INT64_MAX;
  if (k == t->p.nstep) {
    int64_t peak = least_taken(t, order);
    return peak < 0 ? best : peak;
  }
  for (int i = k; i < t->p.nstep; i++) {
    int x = order[i];
    order[i] = order[k], order[k] = x;
    best = MIN(best, all_orders(t, order, k + 1));
    order[k] = order[i], order[i] = x;
  }
  return best;
}

/* The least peak over all sets that can be done, one by one: what is live after a set is known from
 * the set. */
enum { MAXDP = 14 };
static int64_t by_sets(const struct toy *t) {
  static int64_t best[1 << MAXDP];
  int n = t->p.nstep;
  uint64_t needs[MAXDP] = {0}, user[MAXV] = {0};
  for (int i = 0; i < t->p.nuse; i++) {
    int v = t->use[i].value;
    if (t->value[v].producer >= 0) needs[t->use[i].step] |= (uint64_t)1 << t->value[v].producer;
    user[v] |= (uint64_t)1 << t->use[i].step;
  }
  for (uint64_t set = 0; set < (uint64_t)1 << n; set++) best[set] = INT64_MAX;
  best[0] = 0;
  for (int v = 0; v < t->p.nvalue; v++)
    if (t->value[v].producer == -1 && (user[v] || t->value[v].stays)) best[0] += t->value[v].bytes;
  for (uint64_t set = 0; set < (uint64_t)1 << n; set++)
    for (int s = 0; s < n && best[set] < INT64_MAX; s++) {
      uint64_t next = set | (uint64_t)1 << s;
      if (set == next || needs[s] & ~set) continue;
      int64_t live = 0;
      for (int v = 0; v < t->p.nvalue; v++) {
        const struct order_value *x = &t->value[v];
        bool begun = x->producer == -1 || (x->producer >= 0 && next >> x->producer & 1) ||
                     (x->producer == ORDER_PLACE && user[v] & next);
        if (begun && (x->stays || user[v] & ~set || x->producer == s)) live += x->bytes;
      }
      for (int i = 0; i < t->p.nshare; i++)
        if (t->share[i].step == s && !t->value[t->share[i].in].stays &&
            !(user[t->share[i].in] & ~next))
          live -= t->value[t->share[i].in].bytes;
      int64_t peak = MAX(best[set], live);
      best[next] = MIN(best[next], peak);
    }
  return best[((uint64_t)1 << n) - 1];
}

static void check_order(const struct toy *t, int64_t ticks, struct order_result *r) {
  struct fvm_error err;
  struct arena a = {0};
  int given[MAXS];
  OK(order_steps(&t->p, ticks, 0, &a, r, &err));
  for (int i = 0; i < t->p.nstep; i++) given[i] = i;
  ck_assert_int_eq(peak_of(t, r->step, ~(uint64_t)0), r->peak);
  ck_assert_int_le(r->peak, peak_of(t, given, ~(uint64_t)0));
  ck_assert_int_le(r->bound, r->peak);
  int64_t peak = r->peak, bound = r->bound;
  OK(order_steps(&t->p, ticks, 1 + t->p.nstep % ORDER_VARIANTS, &a, r, &err));
  ck_assert(r->peak == peak && r->bound == bound);
  ck_assert_int_le(peak_of(t, r->step, ~(uint64_t)0), peak);
  ck_assert_int_ge(peak_of(t, r->step, ~(uint64_t)0), bound);
  arena_free(&a);
}

/* ---- tests ---- */

START_TEST(equals_all_orders) {
  for (int round = 0; round < 1500; round++) {
    static struct toy t;
    struct order_result r;
    int order[MAXS];
    rng = (uint64_t)round;
    make_family(&t, round % FAMILIES, 2 + rnd(5));
    if (t.p.nstep > 7) continue;
    check_order(&t, ORDER_TICKS, &r);
    for (int i = 0; i < t.p.nstep; i++) order[i] = i;
    ck_assert_int_eq(r.peak, all_orders(&t, order, 0));
    ck_assert_int_eq(r.peak, by_sets(&t));
    ck_assert_int_eq(r.bound, r.peak);
  }
}
END_TEST

START_TEST(equals_all_sets) {
  for (int round = 0; round < 4000; round++) {
    static struct toy t;
    struct order_result r;
    rng = (uint64_t)round + 1000000;
    make_family(&t, round % FAMILIES, 6 + rnd(6));
    if (t.p.nstep > MAXDP) continue;
    check_order(&t, ORDER_TICKS, &r);
    ck_assert_msg(r.peak == by_sets(&t), "round %d: %lld, least is %lld", round, (long long)r.peak,
                  (long long)by_sets(&t));
    ck_assert_int_eq(r.bound, r.peak);
  }
}
END_TEST

/* Units in an order, as steps of the problem. */
static void unfold(const struct order_net *n, const int *unit, const int *step, int *order) {
  int at = 0;
  for (int k = 0; k < n->nunit; k++)
    for (int i = n->unit[unit[k]]; i < n->unit[unit[k] + 1]; i++) order[at++] = step[i];
}

/* The parts by themselves, where the whole would not have needed them: exact search from nothing,
 * on steps and on units that are joined, bounds, lists and beams. */
START_TEST(ways_agree) {
  int joined = 0, tight = 0;
  for (int round = 0; round < 3000; round++) {
    static struct toy t;
    struct fvm_error err;
    struct arena a = {0};
    struct order_net n, small;
    int unit[MAXDP], order[MAXDP], *step, same[MAXDP];
    int64_t ticks = 0, hill[MAXDP];
    rng = (uint64_t)round + 4000000;
    make_family(&t, round % FAMILIES, 4 + rnd(8));
    if (t.p.nstep > MAXDP) continue;
    int64_t best = by_sets(&t), peak = INT64_MAX, bound = 0, found;
    OK(order_net_make(&n, &t.p, &a, &err));
    ck_assert(order_merge(&small, &n, &step, &a));
    joined += n.nunit - small.nunit;
    for (int i = 0; i < n.nstep; i++) same[i] = i, hill[i] = INT64_MAX;
    struct order_aim aim = {0, INT64_MAX, ORDER_TICKS};
    ck_assert(order_search(&n, &aim, unit, &peak, &bound, &a, &ticks));
    unfold(&n, unit, same, order);
    ck_assert(peak == best && bound == best && peak_of(&t, order, ~(uint64_t)0) == best);
    peak = INT64_MAX, bound = 0;
    ck_assert(order_search(&small, &aim, unit, &peak, &bound, &a, &ticks));
    unfold(&small, unit, step, order);
    ck_assert(peak == best && bound == best && peak_of(&t, order, ~(uint64_t)0) == best);
    aim.below = best; /* nothing is below that, and that is what it proves */
    ck_assert(order_search(&small, &aim, unit, &peak, &bound, &a, &ticks));
    ck_assert_int_eq(bound, best);
    found = bound = 0;
    ck_assert(order_bound(&n, hill, INT64_MAX, INT64_MAX, &found, &a, &ticks));
    ck_assert(order_least(&n) <= best && found <= best);
    tight += MAX(order_least(&n), found) == best;
    peak = INT64_MAX;
    ck_assert(order_list(&n, 0, unit, &peak, hill, &a, &ticks));
    ck_assert(peak >= best && peak == peak_of(&t, unit, ~(uint64_t)0));
    peak = INT64_MAX;
    ck_assert(order_beam(&small, unit, &peak, &a, &ticks));
    unfold(&small, unit, step, order);
    ck_assert(peak >= best && peak == peak_of(&t, order, ~(uint64_t)0));
    arena_free(&a);
  }
  ck_assert_int_gt(joined, 5000);
  ck_assert_int_gt(tight, 2000);
}
END_TEST

/* Whatever work is allowed: the bound is one, and the order no worse than it says. */
START_TEST(gap_is_honest) {
  int open = 0;
  for (int round = 0; round < 2000; round++) {
    static struct toy t;
    struct order_result r;
    rng = (uint64_t)round + 2000000;
    make_family(&t, round % FAMILIES, 8 + rnd(5));
    if (t.p.nstep > MAXDP) continue;
    check_order(&t, 1 + rnd(200), &r);
    int64_t best = by_sets(&t);
    ck_assert_int_le(r.bound, best);
    ck_assert_int_ge(r.peak, best);
    open += r.bound < r.peak;
  }
  ck_assert(open > 0 && open < 1000);
}
END_TEST

START_TEST(is_deterministic) {
  for (int round = 0; round < 200; round++) {
    static struct toy t;
    struct order_result x, y;
    struct fvm_error err;
    struct arena a = {0};
    rng = (uint64_t)round + 3000000;
    make_family(&t, round % FAMILIES, 20 + rnd(30));
    OK(order_steps(&t.p, 20000, round % (ORDER_VARIANTS + 1), &a, &x, &err));
    OK(order_steps(&t.p, 20000, round % (ORDER_VARIANTS + 1), &a, &y, &err));
    ck_assert(!memcmp(x.step, y.step, (size_t)t.p.nstep * sizeof *x.step));
    ck_assert(x.peak == y.peak && x.bound == y.bound && x.ticks == y.ticks);
    arena_free(&a);
  }
}
END_TEST

START_TEST(solves_a_large_unet) {
  static struct toy t;
  struct order_result r;
  for (int depth = 8; depth <= 56; depth += 8)
    for (int timed = 0; timed < 2; timed++) {
      toy_start(&t);
      make_unet(&t, depth, timed);
      check_order(&t, 20 * ORDER_TICKS, &r);
      ck_assert_int_eq(r.bound, r.peak);
    }
}
END_TEST

/* As large as text-to-image networks are, and larger. */
START_TEST(solves_diffusion) {
  static struct toy t;
  struct order_result r;
  for (int blocks = 1; blocks <= 6; blocks++) {
    toy_start(&t);
    make_diffusion(&t, 4, blocks);
    check_order(&t, ORDER_TICKS, &r);
    ck_assert_int_eq(r.bound, r.peak);
  }
  ck_assert_int_gt(t.p.nstep, 500);
}
END_TEST

/* Two branches from one input, each wide and then narrow: breadth first holds both wide ones. */
START_TEST(finishes_a_branch_first) {
  static struct toy t;
  struct order_result r;
  toy_start(&t);
  int x = add_value(&t, 1, -1), a = add_step(&t, x, -1, 9), b = add_step(&t, x, -1, 9);
  a = add_step(&t, a, -1, 1);
  b = add_step(&t, b, -1, 1);
  t.value[add_step(&t, a, b, 1)].stays = true;
  check_order(&t, ORDER_TICKS, &r);
  ck_assert_int_eq(r.peak, 11);
  ck_assert_int_eq(r.bound, 11);
}
END_TEST

/* The sum can stand where x was only when x's other reader has run. */
START_TEST(takes_a_place_when_it_is_free) {
  static struct toy t;
  struct order_result r;
  toy_start(&t);
  int x = add_step(&t, -1, -1, 10);
  t.value[add_sum(&t, x, -1)].stays = true;
  t.value[add_step(&t, x, -1, 1)].stays = true;
  check_order(&t, ORDER_TICKS, &r);
  ck_assert_int_eq(r.peak, 11);
  ck_assert_int_eq(r.bound, 11);
}
END_TEST

/* Through search and beam, too: failing memory is an error and leaks nothing. */
START_TEST(survives_failing_memory) {
  struct fvm_error err;
  static struct toy t;
  struct order_result r;
  enum fvm_status st = FVM_ENOMEM;
  rng = 0;
  toy_start(&t);
  make_random(&t, 64);
  long calls = 1;
  for (; st == FVM_ENOMEM; calls++) {
    struct arena a = {0};
    fvm_fail_alloc(calls);
    st = order_steps(&t.p, 300000, 1, &a, &r, &err);
    fvm_fail_alloc(0);
    arena_free(&a);
  }
  ck_assert(st == FVM_OK && calls > 30);
}
END_TEST

START_TEST(refuses_what_overflows) {
  struct fvm_error err;
  struct arena a = {0};
  static struct toy t;
  struct order_result r;
  toy_start(&t);
  add_value(&t, INT64_MAX / 2, -1);
  add_step(&t, 0, -1, INT64_MAX / 2 + 2);
  ck_assert_int_eq(order_steps(&t.p, ORDER_TICKS, 0, &a, &r, &err), FVM_EUNSUPPORTED);
  toy_start(&t);
  OK(order_steps(&t.p, ORDER_TICKS, 0, &a, &r, &err));
  ck_assert_int_eq(r.peak, 0);
  arena_free(&a);
}
END_TEST

UNIT_MAIN("order", equals_all_orders, equals_all_sets, ways_agree, gap_is_honest, is_deterministic,
          solves_a_large_unet, solves_diffusion, finishes_a_branch_first,
          takes_a_place_when_it_is_free, survives_failing_memory, refuses_what_overflows)
