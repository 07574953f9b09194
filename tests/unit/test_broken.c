/* Candidates that misbehave in every way we know of, among sound ones: each gets its outcome, none
 * costs more than itself. Programs are drawn at random, and call a micro-kernel of the test's own,
 * which adds like the real one and does what its arguments say besides.
 *
 * test_broken [N [SEED]]: about N candidates (600), with figures when N is given. */
#include "unit.h"

#include <math.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "profiles/machine.h"
#include "profiles/measure.h"

static struct fvm_error err;

/* ---- misbehaviour ---- */

/* name, outcome, part of the reason (of printf, with what is expected at an element) */
#define KINDS                                                                                      \
  KIND(NOTHING, OK, "")                                                                            \
  KIND(VALUE, WRONG, "element %lld is %.9g, not %.9g")                                             \
  KIND(NOT_A_NUMBER, WRONG, "element %lld is nan, not %.9g")                                       \
  KIND(SECOND_RUN, WRONG, "element %lld is %.9g, not %.9g")                                        \
  KIND(REFUSES, WRONG, "refused the data")                                                         \
  KIND(SEGFAULT, CRASHED, "signal 11 (Segmentation fault) at address 0x10")                        \
  KIND(ABORT, CRASHED, "signal 6")                                                                 \
  KIND(DIVISION, CRASHED, "signal 8")                                                              \
  KIND(STACK, CRASHED, "signal 11")                                                                \
  KIND(EXIT, CRASHED, "exited with status 7")                                                      \
  KIND(LOOP, TIMEOUT, "of CPU time")                                                               \
  KIND(WRITE_BEHIND, CRASHED, ", 0 bytes behind output 0")                                         \
  KIND(WRITE_BEFORE, CRASHED, " bytes before output 0")                                            \
  KIND(READ_BEHIND, CRASHED, ", 0 bytes behind input 0")                                           \
  KIND(READ_BEFORE, CRASHED, ", 4 bytes before input 1")                                           \
  KIND(SCRATCH_BEHIND, CRASHED, ", 0 bytes behind scratch 0")                                      \
  KIND(SCRATCH_BEFORE, CRASHED, ", 4 bytes before scratch 0")                                      \
  KIND(WRITE_INPUT, CRASHED, " into input 1")                                                      \
  KIND(FILE_ACCESS, WRONG, "refused the data")                                                     \
  KIND(PROGRAM, UNSUPPORTED, "")
enum kind {
#define KIND(name, outcome, reason) name,
  KINDS
#undef KIND
      KIND_COUNT
};
static const struct {
  const char *name;
  enum outcome outcome;
  const char *reason;
} kinds[] = {
#define KIND(name, outcome, reason) {#name, OUTCOME_##outcome, reason},
    KINDS
#undef KIND
};

static volatile float sink;
static volatile int zero, one = 1;
static int *volatile nowhere = (int *)(uintptr_t)0x10;

static int overflow(volatile int *p) {
  volatile int here[512];
  here[0] = *p;
  return one ? overflow(here) + here[0] : 0;
}

/* One row of n sums; what else to do, and where, is in strides of rows, which one row has no use
 * for. */
static int trojan(void *const *p, const int64_t *v) {
  static _Atomic int calls;
  int64_t n = v[1], at = v[4];
  const float *x = p[0], *y = p[1];
  float *z = p[2];
  for (int64_t j = 0; j < n; j++) z[j] = x[j] + y[j];
  switch ((enum kind)v[2]) {
  case VALUE:
    z[at] = z[at] * 1.5f + 1;
    break;
  case NOT_A_NUMBER:
    z[at] = NAN;
    break;
  case SECOND_RUN:
    z[at] += calls++ % 2 ? 1e-3f : 0;
    break;
  case REFUSES:
    return UKR_RANGE;
  case FILE_ACCESS: /* it is let down, not let in */
    return access("/", R_OK) != 0 ? UKR_RANGE : 0;
  case SEGFAULT:
    *nowhere = 1;
    break;
  case ABORT:
    abort();
  case DIVISION:
    one = one / zero;
    break;
  case STACK:
    return overflow(&one);
  case EXIT:
    _exit(7);
  case LOOP:
    while (one) {
    }
    break;
  case WRITE_BEHIND:
  case SCRATCH_BEHIND:
    z[n] = 1;
    break;
  case WRITE_BEFORE:
  case SCRATCH_BEFORE:
    z[-1] = 1;
    break;
  case READ_BEHIND:
    sink = x[n];
    break;
  case READ_BEFORE:
    sink = y[-1];
    break;
  case WRITE_INPUT:
    *(volatile float *)&y[at] = y[at];
    break;
  case NOTHING:
  case PROGRAM:
  case KIND_COUNT:
    break;
  }
  return 0;
}

static ukr_fn *const *infected(void) {
  static ukr_fn *table[UKR_COUNT];
  memcpy(table, ukr_table(cpu_isa()), sizeof table);
  table[UKR_sub_f32] = trojan;
  return table;
}

/* ---- candidates ---- */

static uint64_t seed;
static int64_t below(int64_t n) {
  seed = fvm_hash(&seed, sizeof seed, 0);
  return (int64_t)(seed % (uint64_t)n);
}

enum { RACE = 25 };
struct race {
  struct arena arena;
  struct opcall call;
  struct tensor in[2], out[1];
  int64_t count;
  struct entrant e[RACE];
  enum kind kind[RACE];
  int64_t bad[RACE]; /* the element that a kind is about */
};

/* Sums of all elements, some at a time, by a real micro-kernel. */
static void honest(struct builder *b, int64_t count, bool threads) {
  int64_t step = 1 + below(MIN(count, 4096));
  int r = (threads ? build_par : build_loop)(b, 0, val(count), step);
  int n = build_min(b, step, val(count), r);
  build_ukr(b, UKR_add_f32,
            (struct addr[]){ADDR(0, 0, {r, 4}), ADDR(1, 0, {r, 4}), ADDR(2, 0, {r, 4})},
            (struct val[]){val(1), reg(n), val(0), val(1), val(0), val(1), val(0)});
  build_end(b);
}

/* Where the trojan works: at the end that it means to leave, or anywhere. */
static int64_t place(enum kind k, int64_t count, int64_t n) {
  bool end = k == WRITE_BEHIND || k == READ_BEHIND;
  bool start = k == WRITE_BEFORE || k == READ_BEFORE;
  return end ? count - n : start ? 0 : below(count - n + 1);
}

static void build(struct race *r, int i) {
  struct builder b;
  struct entrant *e = &r->e[i];
  enum kind k = r->kind[i];
  int64_t count = r->count, n = 1 + below(MIN(count, 64)), at = place(k, count, n),
          where = below(n);
  bool scratch = k == SCRATCH_BEHIND || k == SCRATCH_BEFORE;
  *e = (struct entrant){.text = kinds[k].name, .outcome = OUTCOME_COUNT};
  e->label.threads = 1 + (int)below(2);
  r->bad[i] = at + where;
  build_init(&b, &r->arena);
  for (int q = 0; q < 3; q++) build_buf(&b, q < 2 ? BUF_IN : BUF_OUT, count * 4);
  int to = scratch ? build_buf(&b, BUF_SHARED, n * 4) : 2;
  honest(&b, count, e->label.threads > 1);
  if (k == PROGRAM) at = count - n + 1; /* the verifier sees that */
  build_ukr(&b, UKR_sub_f32,
            (struct addr[]){ADDR(0, at * 4, {0, 0}), ADDR(1, at * 4, {0, 0}),
                            ADDR(to, scratch ? 0 : at * 4, {0, 0})},
            (struct val[]){val(1), val(n), val(k), val(1), val(where), val(1), val(0)});
  OK(build_finish(&b, &e->program, &err));
}

static void draw(struct race *r) {
  *r = (struct race){.call = {.op = op_find("Add", 3), .nin = 2, .nown = 2, .nout = 1}};
  int64_t dim[2] = {1 + below(40), 1 + below(200)};
  r->count = dim[0] * dim[1];
  r->call.in = r->in;
  r->call.out = r->out;
  r->call.opset = 17;
  for (int i = 0; i < 2; i++) OK(tensor_init(&r->in[i], FVM_F32, 2, dim, &err));
  OK(opcall_shape(&r->call, &err));
  for (int i = 0; i < RACE; i++) {
    r->kind[i] = below(10) < 3 ? (enum kind)(1 + below(KIND_COUNT - 1)) : NOTHING;
    build(r, i);
  }
}

/* ---- judging ---- */

static struct { int64_t n, broken, of[KIND_COUNT], samples; } seen;

static bool sound(enum outcome o) {
  return o == OUTCOME_OK || o == OUTCOME_LOST || o == OUTCOME_NOISY;
}

/* Both engines run at once, and the second one to come there is wrong: the interpreter by the
 * reference, or compiled code by the interpreter. */
static bool says_difference(const struct race *r, int i) {
  long long at;
  double got, want;
  const char *where = strstr(r->e[i].reason, "element ");
  return where && sscanf(where, "element %lld is %lf, not %lf", &at, &got, &want) == 3 &&
         at == r->bad[i] && fabs(got - want - 1e-3) < 1e-5;
}

/* The first wrong element, and both values. */
static bool says_where(const struct race *r, int i) {
  long long at;
  double got, want, largest;
  if (r->kind[i] == SECOND_RUN) return says_difference(r, i);
  int n = sscanf(r->e[i].reason, "element %lld is %lf, not %lf (largest %lf)", &at, &got, &want,
                 &largest);
  if (n != 4 || at != r->bad[i] || fabs(want) > largest) return false;
  return r->kind[i] == NOT_A_NUMBER ? isnan(got)
                                    : fabs(got - (want * 1.5 + 1)) < 1e-4 * (1 + fabs(got));
}

static void judge(const struct race *r, int i) {
  const struct entrant *e = &r->e[i];
  enum kind k = r->kind[i];
  bool right = k == NOTHING ? sound(e->outcome) : e->outcome == kinds[k].outcome;
  if (k == VALUE || k == NOT_A_NUMBER || k == SECOND_RUN)
    right = right && says_where(r, i);
  else if (k != NOTHING)
    right = right && strstr(e->reason, kinds[k].reason);
  ck_assert_msg(right, "candidate %lld, %s: %s, %s", (long long)seen.n + i, kinds[k].name,
                outcome_name(e->outcome), e->reason);
  ck_assert_msg((e->sample.n > 0) == (k == NOTHING), "%s has %zu samples", kinds[k].name,
                e->sample.n);
  seen.of[k]++;
  seen.broken += k != NOTHING;
  seen.samples += (int64_t)e->sample.n;
}

static int64_t wanted = 600;

START_TEST(each_gets_its_outcome) {
  static struct race r;
  const struct measure_options o = {
      .sample_ns = 1000, .max_rounds = 2, .timeout_s = 0.05, .ukr = infected()};
  for (memset(&seen, 0, sizeof seen); seen.n < wanted; seen.n += RACE) {
    draw(&r);
    OK(measure_race(&r.call, r.e, RACE, &o, NULL, NULL, &err));
    for (int i = 0; i < RACE; i++) judge(&r, i);
    for (int i = 0; i < RACE; i++) entrant_free(&r.e[i]);
    arena_free(&r.arena);
  }
  for (int k = 0; k < KIND_COUNT; k++) ck_assert_msg(seen.of[k] > 0, "no %s", kinds[k].name);
}
END_TEST

int main(int argc, char **argv) {
  struct timespec a, b;
  const TTest *const tests[] = {each_gets_its_outcome};
  if (argc > 1) wanted = atoll(argv[1]);
  seed = argc > 2 ? (uint64_t)atoll(argv[2]) : 1;
  clock_gettime(CLOCK_MONOTONIC, &a);
  int status = unit_main("broken", tests, COUNT(tests));
  clock_gettime(CLOCK_MONOTONIC, &b);
  if (argc == 1 || status) return status;
  printf("%lld candidates, %lld of them broken, all told apart in %.1f s; %lld samples\n",
         (long long)seen.n, (long long)seen.broken,
         (double)(b.tv_sec - a.tv_sec) + 1e-9 * (double)(b.tv_nsec - a.tv_nsec),
         (long long)seen.samples);
  for (int k = 0; k < KIND_COUNT; k++) printf("%8lld %s\n", (long long)seen.of[k], kinds[k].name);
  return status;
}
