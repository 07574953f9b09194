/* The front on paper: every point is in the table and in the picture, whatever the numbers. */
#include "unit.h"

#include <math.h>
#include <string.h>

#include "../../scheduler/pareto.h"

static const struct pareto_point points[] = {
    {1000000, 990000, 3 << 20, 1 << 20, 0, 2 << 20, false, "a \"b\", c-1.plan"},
    {1500000, 1500000, 2 << 20, 1 << 19, 1 << 18, 5 << 18, true, "<&>-2.plan"},
    {2500000, 2500000, 1 << 20, 1 << 19, 1 << 18, 1 << 18, true, "x-3.plan"}};

START_TEST(table_has_a_line_for_each) {
  struct text t = {0};
  pareto_csv(points, 3, &t);
  ck_assert(!t.failed);
  ck_assert_str_eq(
      t.v, "latency_ns,memory_bytes,arena_bytes,scratch_bytes,weight_bytes,plan,status,bound_ns\n"
           "1000000,3145728,1048576,0,2097152,\"a \"\"b\"\", c-1.plan\",gap,990000\n"
           "1500000,2097152,524288,262144,1310720,\"<&>-2.plan\",optimal,1500000\n"
           "2500000,1048576,524288,262144,262144,\"x-3.plan\",optimal,2500000\n");
  text_free(&t);
}
END_TEST

static int count(const char *s, const char *what) {
  int n = 0;
  for (; (s = strstr(s, what)) != NULL; s += strlen(what)) n++;
  return n;
}

/* Coordinates of all dots: inside the picture, and in the order of the points. */
static void check_dots(const char *svg, int n) {
  double last_x = 1e9, last_y = 1e9;
  for (int i = 0; i < n; i++) {
    double x, y;
    svg = strstr(svg, "<circle");
    ck_assert_ptr_nonnull(svg);
    ck_assert_int_eq(sscanf(svg, "<circle class=\"dot\" cx=\"%lf\" cy=\"%lf\"", &x, &y), 2);
    ck_assert(isfinite(x) && isfinite(y) && x >= 0 && x <= 760 && y >= 0 && y <= 440);
    ck_assert(x <= last_x && y <= last_y);
    last_x = x, last_y = y;
    svg++;
  }
}

static void draw(const struct pareto_point *p, int n) {
  struct text t = {0};
  pareto_svg(p, n, "net <1> & co", &t);
  ck_assert(!t.failed);
  ck_assert_ptr_nonnull(strstr(t.v, "net &lt;1&gt; &amp; co"));
  ck_assert_ptr_null(strstr(t.v, "nan"));
  ck_assert_ptr_null(strstr(t.v, "inf"));
  ck_assert_ptr_nonnull(strstr(t.v, "prefers-color-scheme:dark"));
  ck_assert_int_eq(count(t.v, "<circle"), n);
  ck_assert_int_eq(count(t.v, "<g>"), count(t.v, "</g>"));
  ck_assert_int_eq(count(t.v, "<text"), count(t.v, "</text>"));
  ck_assert_int_eq(count(t.v, "<title>"), count(t.v, "</title>"));
  check_dots(t.v, n);
  text_free(&t);
}

START_TEST(picture_has_a_dot_for_each) {
  draw(points, 3);
  draw(points, 1);
  draw(points, 0);
}
END_TEST

START_TEST(extreme_numbers_can_be_drawn) {
  const struct pareto_point p[] = {
      {0, 0, 0, 0, 0, 0, true, "none"},
      {1, 1, 1, 1, 0, 0, true, "least"},
      {INT64_MAX / 2, 1, INT64_MAX / 2, 1, 0, 0, true, "most"},
      {123456789, 1, 123456789, 1, 0, 0, true, "near"},
      {123456790, 1, 123456788, 1, 0, 0, true, "nearer"},
  };
  for (int i = 0; i < (int)COUNT(p); i++) draw(&p[i], 1);
  draw(&p[3], 2);
}
END_TEST

START_TEST(memory_may_fail) {
  for (long n = 1; n < 40; n++) {
    struct text t = {0};
    fvm_fail_alloc(n);
    pareto_csv(points, 3, &t);
    pareto_svg(points, 3, "x", &t);
    bool came = fvm_fail_alloc(0) == 0;
    ck_assert_int_eq(t.failed, came);
    text_free(&t);
  }
}
END_TEST

UNIT_MAIN("pareto", table_has_a_line_for_each, picture_has_a_dot_for_each,
          extreme_numbers_can_be_drawn, memory_may_fail)
