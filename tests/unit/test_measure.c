/* profiles/measure: the race tells right from wrong, survives crashes and hangs, and ends with
 * times for the sound ones; its data and tolerances. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "profiles/machine.h"
#include "profiles/measure_work.h"
#include "profiles/sandbox.h"
#include "vm/elem.h"

static struct fvm_error err;

/* A MatMul of 32 x 48 x 40 with a constant second factor and the first labels it has. */
struct fixture {
  struct arena arena;
  struct opcall call;
  struct tensor in[2], out[1];
  float b[48 * 40];
  struct entrant e[8];
  int n;
};

static void add_entrant(struct fixture *f, const struct label *l, const char *text) {
  struct entrant *e = &f->e[f->n++];
  *e = (struct entrant){.label = *l, .text = text, .outcome = OUTCOME_COUNT};
  OK(opcall_emit(&f->call, l, &f->arena, &e->program, &err));
}

static void setup(struct fixture *f, int want) {
  static struct machine m;
  struct target t;
  struct label l;
  *f = (struct fixture){
      .call = {.op = op_find("MatMul", 6), .nin = 2, .nown = 2, .nout = 1, .opset = 17}};
  f->call.in = f->in;
  f->call.out = f->out;
  for (size_t i = 0; i < COUNT(f->b); i++) f->b[i] = (float)(i % 13) - 6.5f;
  OK(tensor_init(&f->in[0], FVM_F32, 2, (int64_t[]){32, 48}, &err));
  OK(tensor_init(&f->in[1], FVM_F32, 2, (int64_t[]){48, 40}, &err));
  f->in[1].data = f->b;
  OK(opcall_shape(&f->call, &err));
  OK(machine_read(&m, &err));
  machine_target(&m, (int[]){1, 2}, 2, &t);
  for (int i = 0; f->n < want && opcall_label(&f->call, &t, i, &l); i++)
    if (!l.view) add_entrant(f, &l, "");
  ck_assert_int_gt(f->n, 1);
}

static void teardown(struct fixture *f) {
  for (int i = 0; i < f->n; i++) entrant_free(&f->e[i]);
  arena_free(&f->arena);
}

static const struct measure_options quick = {.sample_ns = 2000, .max_rounds = 6, .timeout_s = 5};

static int rounds_seen;
static bool count_round(void *arg, int round) {
  (void)arg;
  ck_assert_int_ge(round, 0);
  rounds_seen++;
  return true;
}

static bool sound(enum outcome o) {
  return o == OUTCOME_OK || o == OUTCOME_LOST || o == OUTCOME_NOISY;
}

START_TEST(sound_candidates_are_timed) {
  static struct fixture f;
  setup(&f, 6);
  rounds_seen = 0;
  OK(measure_race(&f.call, f.e, f.n, &quick, count_round, NULL, &err));
  int finalists = 0;
  for (int i = 0; i < f.n; i++) {
    struct entrant *e = &f.e[i];
    ck_assert_msg(sound(e->outcome), "%d: %s %s", i, outcome_name(e->outcome), e->reason);
    ck_assert_uint_gt(e->sample.n, 0);
    ck_assert_int_gt(e->min_ns, 0);
    ck_assert_int_le(e->min_ns, e->median_ns);
    ck_assert(e->error > 0 && e->error < 1e-6); /* sums of 48 products in float */
    ck_assert(e->work.known && e->work.calls > 0);
    ck_assert_int_ge(e->work.flops, 2 * 32 * 48 * 40);
    ck_assert_int_ge(e->work.asked_bytes, e->work.touched_bytes);
    ck_assert_int_ge(e->work.touched_bytes, e->work.constant_bytes + (32 * 48 + 32 * 40) * 4);
    ck_assert_int_ge(e->work.constant_bytes, 48 * 40 * 4);
    finalists += e->interp_ns > 0;
  }
  ck_assert_int_gt(finalists, 0);
  ck_assert_int_gt(rounds_seen, 1);
  teardown(&f);
}
END_TEST

/* Finals again: more samples under the interpreter of those that are known to be right, of no
 * other, and nothing else of them changes. What is kept from the race serves again. */
START_TEST(finals_are_repeated) {
  static struct fixture f;
  struct measure_options o = quick;
  setup(&f, 6);
  o.keep = measure_keep_new();
  ck_assert_ptr_nonnull(o.keep);
  OK(measure_race(&f.call, f.e, f.n, &o, NULL, NULL, &err));
  int again = 0, other = 0;
  size_t finals[COUNT(f.e)], samples[COUNT(f.e)];
  int64_t ns[COUNT(f.e)];
  for (int i = 0; i < f.n; i++) {
    finals[i] = f.e[i].interp.n;
    samples[i] = f.e[i].sample.n;
    ns[i] = f.e[i].interp_ns;
    f.e[i].outcome = finals[i] ? OUTCOME_OK : OUTCOME_LOST;
  }
  o.again = true;
  OK(measure_race(&f.call, f.e, f.n, &o, NULL, NULL, &err));
  for (int i = 0; i < f.n; i++) {
    struct entrant *e = &f.e[i];
    ck_assert_uint_eq(e->sample.n, samples[i]);
    ck_assert_uint_le(e->interp.n, finals[i] + MEASURE_VISIT);
    if (finals[i]) ck_assert_int_le(e->interp_ns, ns[i]);
    if (!finals[i]) ck_assert_uint_eq(e->interp.n, 0);
    again += e->interp.n > finals[i];
    other += !finals[i];
  }
  /* In a bad time all samples of a visit may be left out; at another one they are not. */
  for (int t = 0; t < 20 && again == 0; t++) {
    OK(measure_race(&f.call, f.e, f.n, &o, NULL, NULL, &err));
    for (int i = 0; i < f.n; i++) again += f.e[i].interp.n > finals[i];
  }
  ck_assert_int_gt(again, 0);
  measure_keep_free(o.keep);
  teardown(&f);
}
END_TEST

/* Where the sentinel was once faster than it ever is again, all samples are slow: each candidate
 * has times nevertheless, none is waited for without end, and a later visit changes nothing but for
 * the better. */
START_TEST(a_slow_machine_is_measured) {
  static struct fixture f;
  static struct peace p;
  struct measure_options o = quick;
  int64_t lost = 0, ns[COUNT(f.e)];
  size_t finals[COUNT(f.e)];
  setup(&f, 6);
  p = (struct peace){0};
  for (int i = 0; i < PLAN_MAXTHREADS; i++) p.least_ns[i][0] = p.least_ns[i][1] = 1;
  o.peace = &p;
  OK(measure_race(&f.call, f.e, f.n, &o, NULL, NULL, &err));
  for (int i = 0; i < f.n; i++) {
    ck_assert_msg(sound(f.e[i].outcome), "%d: %s", i, f.e[i].reason);
    ck_assert_int_gt(f.e[i].min_ns, 0);
    ns[i] = f.e[i].interp_ns;
    finals[i] = f.e[i].interp.n;
    f.e[i].outcome = ns[i] ? OUTCOME_OK : OUTCOME_LOST;
  }
  for (int t = 0; t <= PLAN_MAXTHREADS; t++) {
    ck_assert_int_eq(p.used_ns[t], 0);
    lost += p.lost_ns[t];
  }
  ck_assert_int_gt(lost, 0);
  ck_assert_int_eq(p.least_ns[0][1], 1);
  o.again = true;
  OK(measure_race(&f.call, f.e, f.n, &o, NULL, NULL, &err));
  for (int i = 0; i < f.n; i++) {
    const struct entrant *e = &f.e[i];
    ck_assert_int_le(e->interp_ns, ns[i]);
    for (size_t k = finals[i], least = (size_t)ns[i]; k < e->interp.n;
         least = (size_t)e->interp.v[k++])
      ck_assert_uint_lt((size_t)e->interp.v[k], least);
  }
  teardown(&f);
}
END_TEST

/* A program of one loop of n copies of one float from input 0 to the output. */
static void copies(struct fixture *f, struct entrant *e, int64_t n, int64_t n2) {
  struct builder b;
  build_init(&b, &f->arena);
  int x = build_buf(&b, BUF_IN, 32 * 48 * 4), w = build_buf(&b, BUF_IN, 48 * 40 * 4),
      y = build_buf(&b, BUF_OUT, 32 * 40 * 4);
  (void)w;
  build_loop(&b, 0, val(n), 1);
  build_loop(&b, 0, val(n2), 1);
  build_ukr(&b, UKR_copy_4, (struct addr[]){ADDR(x, 0, {0, 0}), ADDR(y, 0, {0, 0})},
            (struct val[]){val(1), val(1), val(1), val(1), val(1), val(1)});
  build_end(&b);
  build_end(&b);
  OK(build_finish(&b, &e->program, &err));
  e->label.in[1] = LAYOUT_ROW;
}

/* Places that change from run to run give right results in every state, also when there is little
 * cache to fill. */
START_TEST(all_states_are_measured) {
  static struct fixture f;
  for (int s = 0; s < STATE_COUNT; s++) {
    struct measure_options o = quick;
    o.state = (enum data_state)s;
    o.caches.last = s % 2 ? 1 << 20 : 1;
    setup(&f, 4);
    OK(measure_race(&f.call, f.e, f.n, &o, NULL, NULL, &err));
    for (int i = 0; i < f.n; i++)
      ck_assert_msg(sound(f.e[i].outcome), "%s: %s", state_name(o.state), f.e[i].reason);
    teardown(&f);
  }
}
END_TEST

START_TEST(what_passes_makes_the_state) {
  const struct caches c = {1 << 20, 32 << 20}, none = {0};
  ck_assert_int_eq(measure_state(1 << 19, true, &c), HOT);
  ck_assert_int_eq(measure_state((1 << 19) + 1, true, &c), WARM);
  ck_assert_int_eq(measure_state(8 << 20, true, &c), WARM);
  ck_assert_int_eq(measure_state((8 << 20) + 1, false, &c), COOL);
  ck_assert_int_eq(measure_state(24 << 20, true, &c), COOL_FAR);
  ck_assert_int_eq(measure_state((24 << 20) + 1, false, &c), COLD);
  ck_assert_int_eq(measure_state((int64_t)1 << 40, true, &none), COLD_FAR);
  ck_assert_int_eq(measure_state(5 << 20, false, &none), WARM);
  ck_assert(!measure_far(12 << 20, 6 << 20, &c)); /* half a run */
  ck_assert(measure_far(12 << 20, (6 << 20) + 1, &c));
  ck_assert(measure_far((int64_t)1 << 40, (16 << 20) + 1, &c)); /* half of the cache */
  for (int s = 0; s < STATE_COUNT; s++) {
    ck_assert_int_eq(state_parse(state_name((enum data_state)s)), s);
    int64_t far = state_bytes((enum data_state)s, &c), near = state_near((enum data_state)s, &c);
    ck_assert(s == HOT ? far == 0 && near == 0 : far > near && near > c.own);
  }
  ck_assert_int_eq(state_parse("lukewarm"), HOT);
  ck_assert_int_eq(state_parse(NULL), HOT);
}
END_TEST

/* The memory that runs are timed in, step by step; in a child, since a sandbox frees nothing. */
struct net_run {
  struct work work;
  bool checked, apart, input_stays, ran;
  int constants, outputs; /* places seen */
  int stays;              /* runs in which the output did not move */
};

static int count_places(void *const *place, int n) {
  int distinct = 0;
  for (int i = 0; i < n; i++) {
    int k = 0;
    while (place[k] != place[i]) k++;
    distinct += k == i;
  }
  return distinct;
}

static void run_in_net(struct net_run *n) {
  enum { RUNS = 16 };
  struct work *w = &n->work;
  void *constant[RUNS], *out[RUNS];
  work_init(w);
  work_serve(w);
  n->checked = w->x->reply[0].outcome == OUTCOME_OK;
  w->x->request = REQUEST_SAMPLE;
  work_serve(w);
  struct ready *r = &w->state->ready[0];
  size_t bytes = (size_t)tensor_bytes(&w->bench->call->in[0]);
  n->apart = r->live[0] != r->buf[0]; /* the one that is written and the sealed one */
  n->input_stays = n->ran = true;
  for (int k = 0; k < RUNS; k++) {
    net_step(w, 0, k < RUNS / 2 ? RUNS : 1);
    n->stays += r->live[2] == r->buf[2];
    constant[k] = r->live[1];
    out[k] = r->live[2];
    n->input_stays &= !memcmp(r->live[0], r->buf[0], bytes);
    n->ran &= !work_run(w, 0, INTERP, r->live) && *(const float *)out[k] != 0;
  }
  n->constants = count_places(constant, RUNS);
  n->outputs = count_places(out, RUNS);
}

/* Seven runs pass before a constant is read again, three before an output's place is written. */
START_TEST(runs_find_the_memory_of_a_net) {
  static struct fixture f;
  const struct bench *bench;
  struct measure_keep *keep = measure_keep_new();
  struct reply *reply = sandbox_share(sizeof *reply * 8);
  struct net_run *n = sandbox_share(sizeof *n);
  int order[8] = {0};
  struct exchange x = {.request = REQUEST_CHECK, .n = 1, .order = order, .reply = reply};
  setup(&f, 2);
  ck_assert_ptr_nonnull(keep);
  OK(keep_bench(keep, &f.call, &bench, &err));
  int64_t run = tensor_bytes(&f.in[0]) + (int64_t)sizeof f.b + tensor_bytes(&f.out[0]);
  n->work = (struct work){.bench = bench,
                          .stream = keep_stream(keep, 7 * run),
                          .entrant = f.e,
                          .n = f.n,
                          .sample_ns = 1,
                          .ukr = ukr_table(cpu_isa()),
                          .since_read = 7 * run,
                          .since_written = 3 * run,
                          .x = &x};
  pid_t child = fork();
  if (child == 0) {
    run_in_net(n);
    _exit(0);
  }
  ck_assert_int_eq(waitpid(child, NULL, 0), child);
  ck_assert_msg(n->checked, "%s", reply[0].reason);
  ck_assert(n->apart);
  ck_assert(n->input_stays);
  ck_assert(n->ran);
  ck_assert_int_ge(n->constants, 3); /* a layout that pads has fewer */
  ck_assert_int_eq(n->outputs, 4);
  ck_assert_int_eq(n->stays, 8); /* those of too short a sample */
  sandbox_unshare(n, sizeof *n);
  sandbox_unshare(reply, sizeof *reply * 8);
  measure_keep_free(keep);
  teardown(&f);
}
END_TEST

/* Whoever reads a constant from there finds numbers, not infinities or denormals, in any type. */
START_TEST(a_stream_is_of_ordinary_numbers) {
  struct measure_keep *keep = measure_keep_new();
  ck_assert_ptr_nonnull(keep);
  ck_assert_int_eq(keep_stream(keep, 0).bytes, 0);
  struct stream small = keep_stream(keep, 1000), large = keep_stream(keep, small.bytes + 1);
  ck_assert_int_ge(small.bytes, 1000);
  ck_assert_int_gt(large.bytes, small.bytes);
  ck_assert_ptr_eq(keep_stream(keep, 1000).base, large.base);
  for (int d = FVM_NONE + 1; d < FVM_DTYPES; d++)
    for (int64_t i = 0; i < large.bytes / (int64_t)fvm_dtype_bytes((enum fvm_dtype)d); i += 101) {
      double x = fabs(elem_f64(large.base, (enum fvm_dtype)d, i));
      bool real = d == FVM_F32 || d == FVM_F64 || d == FVM_F16 || d == FVM_BF16;
      ck_assert_msg(!real || (x >= 0x1p-64 && x <= 2), "%s %g", fvm_dtype_name((enum fvm_dtype)d),
                    x);
    }
  measure_keep_free(keep);
}
END_TEST

START_TEST(each_culprit_is_told_apart) {
  static struct fixture f;
  struct measure_options o = quick;
  setup(&f, 6);
  ck_assert_int_eq(f.n, 6);
  o.timeout_s = 0.5;
  copies(&f, &f.e[0], 1, 1);                             /* nearly nothing of the output */
  copies(&f, &f.e[1], 1 << 20, 1 << 23);                 /* for hours */
  f.e[2].program.word = (const uint64_t *)(uintptr_t)16; /* reading that is a crash */
  f.e[3].program.nword--;                                /* no end */
  f.e[4].outcome = OUTCOME_UNSUPPORTED;                  /* not to be tried at all */
  OK(measure_race(&f.call, f.e, f.n, &o, NULL, NULL, &err));
  const enum outcome expected[] = {OUTCOME_WRONG, OUTCOME_TIMEOUT, OUTCOME_CRASHED,
                                   OUTCOME_UNSUPPORTED, OUTCOME_UNSUPPORTED};
  for (size_t i = 0; i < COUNT(expected); i++) {
    ck_assert_msg(f.e[i].outcome == expected[i], "%zu: %s %s", i, outcome_name(f.e[i].outcome),
                  f.e[i].reason);
    ck_assert_uint_eq(f.e[i].sample.n, 0);
    ck_assert(i == 4 || f.e[i].reason[0]);
  }
  ck_assert_msg(sound(f.e[5].outcome), "%s", f.e[5].reason);
  teardown(&f);
}
END_TEST

static int stop_now;
static bool stop_after_one(void *arg, int round) {
  if (round == 0) return true; /* some were checked */
  stop_now = arg == NULL;
  return arg == NULL;
}

START_TEST(an_interrupt_keeps_what_was_measured) {
  static struct fixture f;
  struct measure_options o = quick;
  setup(&f, 4);
  o.interrupted = &stop_now;
  ck_assert_int_eq(measure_race(&f.call, f.e, f.n, &o, stop_after_one, NULL, &err), FVM_EINTR);
  for (int i = 0; i < f.n; i++) ck_assert_uint_eq(f.e[i].sample.n, 1);
  teardown(&f);
  setup(&f, 4);
  o.interrupted = NULL;
  ck_assert_int_eq(measure_race(&f.call, f.e, f.n, &o, stop_after_one, &f, &err), FVM_EINTR);
  for (int i = 0; i < f.n; i++) ck_assert_uint_eq(f.e[i].sample.n, 1);
  stop_now = 0;
  teardown(&f);
}
END_TEST

START_TEST(conversions_race_as_identities) {
  struct arena a = {0};
  struct tensor in[1], out[1];
  struct opcall c = {.op = op_find("Identity", 8),
                     .nin = 1,
                     .nown = 1,
                     .nout = 1,
                     .in = in,
                     .out = out,
                     .opset = 17};
  OK(tensor_init(&in[0], FVM_F32, 2, (int64_t[]){50, 37}, &err));
  OK(opcall_shape(&c, &err));
  for (int l = 0; l < LAYOUT_COUNT; l++) {
    struct entrant e = {.text = "convert", .outcome = OUTCOME_COUNT};
    if (!layout_fits(&in[0], (enum layout)l) || l == LAYOUT_ROW) continue;
    if (layout_convert(&in[0], LAYOUT_ROW, (enum layout)l, &a, &e.program, &err)) continue;
    e.label.out[0] = (uint8_t)l;
    e.label.threads = 1;
    OK(measure_race(&c, &e, 1, &quick, NULL, NULL, &err));
    ck_assert_msg(sound(e.outcome), "%s: %s", layout_name((enum layout)l), e.reason);
    entrant_free(&e);
  }
  arena_free(&a);
}
END_TEST

START_TEST(inputs_are_seeded_and_in_range) {
  struct tensor in[2], out[1];
  struct attr axis = {.name = "axis", .kind = ATTR_INT, .i = 1};
  struct opcall c = {.op = op_find("Gather", 6),
                     .nin = 2,
                     .nown = 2,
                     .nout = 1,
                     .in = in,
                     .out = out,
                     .attr = &axis,
                     .nattr = 1,
                     .opset = 17};
  struct bench x, y;
  if (!c.op) return; /* built without it */
  OK(tensor_init(&in[0], FVM_F32, 2, (int64_t[]){100, 3}, &err));
  OK(tensor_init(&in[1], FVM_I64, 1, (int64_t[]){64}, &err));
  OK(opcall_shape(&c, &err));
  OK(bench_make(&x, &c, &err));
  OK(bench_make(&y, &c, &err));
  const int64_t *index = x.in[1];
  bool seen[3] = {0};
  for (int i = 0; i < 64; i++) {
    ck_assert(index[i] >= 0 && index[i] < 3);
    seen[index[i]] = true;
  }
  ck_assert(seen[0] && seen[1] && seen[2]);
  ck_assert_mem_eq(x.in[0], y.in[0], 300 * sizeof(float));
  ck_assert_mem_eq(x.want[0], y.want[0], 6400 * sizeof(float));
  const float *v = x.in[0];
  for (int i = 0; i < 300; i++) ck_assert(fabsf(v[i]) >= 0.1f && fabsf(v[i]) <= 2);
  bench_free(&x);
  bench_free(&y);
}
END_TEST

START_TEST(agreement_depends_on_the_type) {
  char why[120];
  double error = 0;
  float want[4] = {1000, 1, NAN, INFINITY}, got[4] = {1000.01f, 1.01f, NAN, INFINITY};
  ck_assert(values_agree(FVM_F32, got, want, 4, &error, why, sizeof why));
  ck_assert_double_eq_tol(error, 1e-5, 1e-7); /* 0.01 of 1000, both times */
  got[1] = 1.1f;
  ck_assert(!values_agree(FVM_F32, got, want, 4, &error, why, sizeof why));
  ck_assert_ptr_nonnull(strstr(why, "element 1 is 1.1"));
  got[1] = NAN;
  ck_assert(!values_agree(FVM_F32, got, want, 4, &error, why, sizeof why));
  got[1] = 1, got[3] = 3e38f;
  ck_assert(!values_agree(FVM_F32, got, want, 4, &error, why, sizeof why));
  got[3] = INFINITY, got[2] = 0;
  ck_assert(!values_agree(FVM_F32, got, want, 4, &error, why, sizeof why));
  int64_t a[2] = {5, 6}, b[2] = {5, 7};
  error = 0;
  ck_assert(values_agree(FVM_I64, a, a, 2, &error, why, sizeof why));
  ck_assert(!values_agree(FVM_I64, a, b, 2, &error, why, sizeof why));
  ck_assert_ptr_nonnull(strstr(why, "element 1"));
  ck_assert(error == 0);
}
END_TEST

/* ---- sandbox ---- */

static void nothing(void *arg) { (void)arg; }
static void obey(void *arg) {
  volatile int *what = arg;
  if (*what == 1) raise(SIGSEGV);
  if (*what == 2)
    for (;;) pause();
  if (*what == 3) _exit(9);
  if (*what == 4) *(volatile int *)(uintptr_t)0x1230 = 1;
  if (*what == 5) *(volatile int *)(uintptr_t)obey = 1; /* code */
  if (*what == 6) abort();
  while (*what == 7) {
  }
  *what += 100;
}

static const struct sandbox_limit patient = {5, 60}; /* a busy machine is slow */

enum { ATTEMPTS = 8, NO_FILTER = -1 };

/* Each attempt that is refused adds 1. */
static void try_to_leave(void *arg) {
  volatile int *refused = arg;
  char c;
  if (prctl(PR_GET_SECCOMP) == 0) { /* with a filter even this is refused */
    *refused = NO_FILTER;
    return;
  }
  *refused += open("/etc/passwd", O_RDONLY) < 0 && errno == EPERM;
  *refused += open("left-behind", O_WRONLY | O_CREAT, 0600) < 0 && errno == EPERM;
  *refused += socket(AF_INET, SOCK_STREAM, 0) < 0 && errno == EPERM;
  *refused += fork() < 0 && errno == EPERM;
  *refused += kill(getppid(), 0) < 0 && errno == EPERM;
  *refused += execl("/bin/true", "true", (char *)NULL) < 0 && errno == EPERM;
  *refused += unlink("/nothing") < 0 && errno == EPERM;
  *refused += pread(0, &c, 1, 0) < 0 && errno == EPERM;
}

START_TEST(sandboxes_contain) {
  volatile int *what = sandbox_share(sizeof *what);
  const struct sandbox_work w = {nothing, obey, (void *)what};
  struct sandbox s = {0};
  char why[80];
  OK(sandbox_start(&s, &w, &err));
  for (int i = 0; i < 3; i++) {
    *what = 10 * i + 10;
    ck_assert_int_eq(sandbox_call(&s, &patient, what, nothing, NULL, why, sizeof why),
                     SANDBOX_DONE);
    ck_assert_int_eq(*what, 10 * i + 110);
  }
  static const struct {
    int what;
    enum sandbox_end end;
    const char *why;
  } cases[] = {{1, SANDBOX_DIED, "signal 11"},
               {2, SANDBOX_HUNG, "longer than 0.1 s"},
               {3, SANDBOX_DIED, "status 9"},
               {4, SANDBOX_DIED, "signal 11 (Segmentation fault) at address 0x1230"},
               {5, SANDBOX_DIED, "at address 0x"},
               {6, SANDBOX_DIED, "signal 6"},
               {7, SANDBOX_HUNG, "longer than 0.2 s of CPU time"}};
  for (size_t i = 0; i < COUNT(cases); i++) {
    if (!s.pid) OK(sandbox_start(&s, &w, &err));
    *what = cases[i].what;
    const struct sandbox_limit limit = {0.2, cases[i].what == 2 ? 0.1 : 60};
    ck_assert_int_eq(sandbox_call(&s, &limit, what, nothing, NULL, why, sizeof why), cases[i].end);
    ck_assert_msg(strstr(why, cases[i].why), "%s", why);
    ck_assert_int_eq(s.pid, 0);
  }
  sandbox_free(&s);
  sandbox_unshare((void *)what, sizeof *what);
  ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1); /* no child is left */
}
END_TEST

START_TEST(sandboxes_open_nothing) {
  volatile int *refused = sandbox_share(sizeof *refused);
  const struct sandbox_work w = {nothing, try_to_leave, (void *)refused};
  struct sandbox s = {0};
  char why[80];
  OK(sandbox_start(&s, &w, &err));
  ck_assert_int_eq(sandbox_call(&s, &patient, refused, nothing, NULL, why, sizeof why),
                   SANDBOX_DONE);
  ck_assert_msg(*refused == ATTEMPTS || *refused == NO_FILTER, "%d", *refused);
  sandbox_free(&s);
  sandbox_unshare((void *)refused, sizeof *refused);
}
END_TEST

UNIT_MAIN("measure", sandboxes_contain, sandboxes_open_nothing, agreement_depends_on_the_type,
          inputs_are_seeded_and_in_range, sound_candidates_are_timed, finals_are_repeated,
          a_slow_machine_is_measured, all_states_are_measured, what_passes_makes_the_state,
          runs_find_the_memory_of_a_net, a_stream_is_of_ordinary_numbers,
          each_culprit_is_told_apart, an_interrupt_keeps_what_was_measured,
          conversions_race_as_identities)
