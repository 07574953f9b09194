/* profiles: rank statistics, JSON strings, counters. */
#include "unit.h"

#include <string.h>

#include "profiles/counters.h"
#include "profiles/json.h"
#include "profiles/machine.h"
#include "profiles/stats.h"
#include "profiles/verdict.h"

static int compare(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

START_TEST(ranks_agree_with_sorting) {
  uint64_t seed = 1;
  for (size_t n = 1; n < 40; n++) {
    int64_t v[40], sorted[40], dev[40];
    for (size_t i = 0; i < n; i++) {
      seed = fvm_hash(&seed, sizeof seed, 0);
      sorted[i] = v[i] = (int64_t)(seed % (n / 2 + 2)); /* with ties */
    }
    qsort(sorted, n, sizeof *sorted, compare);
    for (size_t k = 0; k < n; k++) ck_assert_int_eq(stats_rank(v, n, k), sorted[k]);
    struct spread s = stats_spread(v, n);
    ck_assert_int_eq(s.min, sorted[0]);
    ck_assert_int_eq(s.median, sorted[(n - 1) / 2]);
    for (size_t i = 0; i < n; i++) dev[i] = v[i] < s.median ? s.median - v[i] : v[i] - s.median;
    qsort(dev, n, sizeof *dev, compare);
    ck_assert_int_eq(s.mad, dev[(n - 1) / 2]);
  }
  ck_assert_int_eq(stats_spread(NULL, 0).median, 0);
}
END_TEST

START_TEST(slower_needs_evidence) {
  int64_t a[24], b[24];
  for (int i = 0; i < 24; i++) {
    b[i] = 1000 + 100 * (i % 5); /* noise that both see */
    a[i] = b[i] + b[i] / 50;     /* 2 % slower */
  }
  ck_assert(!stats_slower(a, b, 5, 1.0));
  ck_assert(stats_slower(a, b, 12, 1.0));
  ck_assert(!stats_slower(b, a, 24, 1.0));
  ck_assert(!stats_slower(a, a, 24, 1.0));
  ck_assert(stats_slower(a, b, 24, 1.01));
  ck_assert(!stats_slower(a, b, 24, 1.03));
  a[3] = a[11] = 1; /* a few lucky rounds do not save it, many do */
  ck_assert(stats_slower(a, b, 24, 1.0));
  for (int i = 0; i < 12; i++) a[2 * i] = 1;
  ck_assert(!stats_slower(a, b, 24, 1.0));
}
END_TEST

static void json_is(const char *s, const char *expected) {
  struct text t = {0};
  json_string(&t, s);
  ck_assert_str_eq(t.v, expected);
  text_free(&t);
}

START_TEST(json_is_escaped) {
  json_is("a\"b\\c\n\x7f", "\"a\\\"b\\\\c\\u000a\\u007f\"");
  json_is("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"");
  json_is("\xc3", "\"\\ufffd\"");
  json_is("\xc0\x80x", "\"\\ufffd\\ufffdx\"");
  json_is("\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\"");
  json_is(NULL, "null");
}
END_TEST

START_TEST(counters_count_or_say_why) {
  struct counters *c = counters_open();
  ck_assert_ptr_nonnull(c);
  struct counter_values v;
  c->start(c);
  volatile double x = 0;
  for (int i = 0; i < 1000000; i++) x += i;
  c->stop(c, &v);
  for (int i = 0; i < COUNTER_COUNT; i++) {
    ck_assert_int_eq(v.valid[i], c->why_not[i] == NULL);
    ck_assert(v.valid[i] || c->why_not[i][0]);
  }
  /* What decides whether a sample is clean works everywhere. */
  ck_assert(v.valid[COUNTER_SWITCHES] && v.valid[COUNTER_MIGRATIONS]);
  ck_assert_int_gt(v.v[COUNTER_TASK_CLOCK], 0);
  c->free(c);
}
END_TEST

START_TEST(counters_can_be_faked) {
  struct counter_values v,
      always = {.valid[COUNTER_CYCLES] = true, .v[COUNTER_CYCLES] = 77, .multiplexed = true};
  struct counters *c = counters_fake(&always);
  c->start(c);
  c->stop(c, &v);
  ck_assert_int_eq(v.v[COUNTER_CYCLES], 77);
  ck_assert(v.valid[COUNTER_CYCLES] && !v.valid[COUNTER_L1_MISS]);
  ck_assert(v.multiplexed && c->multiplexed);
  ck_assert_ptr_null(c->why_not[COUNTER_CYCLES]);
  ck_assert_ptr_nonnull(c->why_not[COUNTER_L1_MISS]);
  ck_assert_str_eq(counter_name(COUNTER_SWITCHES), "context_switches");
  c->free(c);
}
END_TEST

START_TEST(verdicts_follow_the_longest) {
  const struct machine_speeds s = {.threads = 1, .gflops = 100, .cache_gbytes = 50, .gbytes = 10};
  static const struct {
    struct verdict_work work;
    enum bound bound;
  } cases[] = {{{80000, 1000, 100}, BOUND_COMPUTE},
               {{80000, 45000, 100}, BOUND_BANDWIDTH},
               {{80000, 1000, 9000}, BOUND_BANDWIDTH},
               {{49000, 24000, 4900}, BOUND_LATENCY},
               {{0, 0, 0}, BOUND_LATENCY},
               {{300000, 0, 0}, BOUND_COMPUTE}};
  for (size_t i = 0; i < COUNT(cases); i++) {
    struct verdict v = verdict_of(&cases[i].work, 1000, &s);
    ck_assert_str_eq(bound_name(v.bound), bound_name(cases[i].bound));
    ck_assert_double_eq_tol(v.compute, (double)cases[i].work.flops / 1e5, 1e-12);
    ck_assert_double_eq_tol(v.near, (double)cases[i].work.near_bytes / 5e4, 1e-12);
    ck_assert_double_eq_tol(v.far, (double)cases[i].work.far_bytes / 1e4, 1e-12);
  }
  /* Nothing is known of a machine without speeds, or of a time of 0. */
  const struct machine_speeds none = {0};
  ck_assert_int_eq(verdict_of(&cases[0].work, 1000, &none).bound, BOUND_LATENCY);
  ck_assert_int_eq(verdict_of(&cases[0].work, 0, &s).bound, BOUND_LATENCY);
}
END_TEST

START_TEST(machine_is_known) {
  struct fvm_error err;
  static struct machine a, b;
  OK(machine_read(&a, &err));
  OK(machine_read(&b, &err));
  ck_assert_str_eq(a.text, b.text);
  ck_assert_uint_eq(a.fingerprint, b.fingerprint);
  ck_assert_ptr_nonnull(strstr(a.counters, "context_switches"));
  ck_assert_ptr_nonnull(strstr(a.text, "; counters="));
  struct target t;
  machine_target(&a, (int[]){1, 2}, 2, &t);
  ck_assert(t.nthreads == 2 && t.threads[1] == 2 && t.l1_bytes > 0 && t.l2_bytes > 0);
  ck_assert_ptr_nonnull(strstr(build_text(), "sources "));
  struct text env = {0};
  machine_environment(&env);
  ck_assert(env.v[0] == '{' && env.v[env.n - 1] == '}');
  text_free(&env);
}
END_TEST

START_TEST(speed_is_positive) {
  double gflops, gbytes;
  machine_speed(&gflops, &gbytes);
  ck_assert(gflops > 0 && gbytes > 0);
}
END_TEST

UNIT_MAIN("stats", ranks_agree_with_sorting, slower_needs_evidence, json_is_escaped,
          counters_count_or_say_why, counters_can_be_faked, verdicts_follow_the_longest,
          machine_is_known, speed_is_positive)
