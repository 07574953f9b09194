/* What it costs to measure in a sandbox: the races of a lazy profile, served once more in forked
 * workers, as profiling does, and in the process itself.
 *
 *   bench_isolation MODEL.onnx [THREADS [TRIALS]]
 *
 * The model is profiled into an empty database. After each race what it asked for is asked again,
 * request by request and candidate by candidate, so that all ways take the same samples:
 *
 *   worker   forked, confined, spoken to through a socket; a new one where the race had a new one
 *   direct   called; what a worker prepares is prepared as often as in the other way
 *   bare     the same without pages that nobody may touch and bytes of a known value
 *
 * (the linker's --wrap takes the place of the fences' functions in the last one: no way around the
 * sandbox is in the product). Each trial of a way has a process of its own, whose pages are its own
 * before the clock starts; ways take turns. The least of each race's trials counts. Prints seconds,
 * samples, runs and dropped samples of each way, and worker over the others. Exits 1 when anything
 * was not measured. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../../profiles/machine.h"
#include "../../profiles/measure_work.h"
#include "../../profiles/sandbox.h"
#include "../../scheduler/plan_build.h"
#include "../../scheduler/profile.h"

enum {
  SAMPLE_NS = 100000, /* these two as in measure.c */
  CHUNK = 8
};
enum kind { ROUGHLY, TO_END, AGAIN, KINDS };
enum way { WORKER, DIRECT, BARE, WAYS };
static const char *const kind_name[KINDS] = {"rough", "to end", "again"};
static const char *const way_name[WAYS] = {"worker", "direct", "bare"};

static struct fvm_error err;
static enum way way;

static void fail(const char *what) {
  fprintf(stderr, "bench_isolation: %s\n", what);
  exit(1);
}

static void check(enum fvm_status st) {
  if (st) fail(err.text);
}

static double seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- no fences ---- */

bool __real_fence_grow(struct fence *f, int64_t bytes);
char *__real_fence_place(const struct fence *f, int64_t bytes, enum side side);
void __real_fence_seal(struct fence *f, bool sealed);
void __real_fence_poison(const struct fence *f, char *at, int64_t bytes);
bool __real_fence_holds(const struct fence *f, const char *at, int64_t bytes);
void __real_room_seal(const char *base, int64_t bytes);
bool __wrap_fence_grow(struct fence *f, int64_t bytes);
char *__wrap_fence_place(const struct fence *f, int64_t bytes, enum side side);
void __wrap_fence_seal(struct fence *f, bool sealed);
void __wrap_fence_poison(const struct fence *f, char *at, int64_t bytes);
bool __wrap_fence_holds(const struct fence *f, const char *at, int64_t bytes);
void __wrap_room_seal(const char *base, int64_t bytes);

bool __wrap_fence_grow(struct fence *f, int64_t bytes) {
  if (way != BARE) return __real_fence_grow(f, bytes);
  if (f->high - f->low >= bytes && f->low) return true;
  free(f->low);
  f->low = aligned_alloc(FVM_ALIGN, (size_t)ROUND_UP(bytes + FVM_ALIGN, FVM_ALIGN));
  f->high = f->low ? f->low + bytes : NULL;
  return f->low;
}
char *__wrap_fence_place(const struct fence *f, int64_t bytes, enum side side) {
  return way == BARE ? f->low : __real_fence_place(f, bytes, side);
}
void __wrap_fence_seal(struct fence *f, bool sealed) {
  if (way != BARE) __real_fence_seal(f, sealed);
}
void __wrap_fence_poison(const struct fence *f, char *at, int64_t bytes) {
  if (way != BARE) __real_fence_poison(f, at, bytes);
}
bool __wrap_fence_holds(const struct fence *f, const char *at, int64_t bytes) {
  return way == BARE || __real_fence_holds(f, at, bytes);
}
void __wrap_room_seal(const char *base, int64_t bytes) {
  if (way != BARE) __real_room_seal(base, bytes);
}

/* ---- requests ---- */

/* Of one trial; in shared memory. */
struct tally {
  double start, s;
  int64_t samples, runs, dropped;
  bool done;
};
struct server {
  struct work *work;
  struct sandbox box;
  bool inside; /* the process itself has begun */
};

static void on_poll(void *arg) { (void)arg; }

static void stop(struct server *s) {
  sandbox_free(&s->box);
  s->inside = false;
}

static void serve(struct server *s) {
  const struct sandbox_work w = {work_init, work_serve, s->work};
  const struct sandbox_limit limit = {30, 60};
  char why[120];
  if (way != WORKER) {
    if (!s->inside) work_init(s->work);
    s->inside = true;
    work_serve(s->work);
    return;
  }
  if (!s->box.pid) check(sandbox_start(&s->box, &w, &err));
  if (sandbox_call(&s->box, &limit, &s->work->x->turn, on_poll, NULL, why, sizeof why)) fail(why);
}

/* Those who still have rounds to go; returns how many. What is not sound is the end. */
static int ask(struct server *s, enum request what, const int *rounds, int round, struct tally *t) {
  struct work *w = s->work;
  struct exchange *x = w->x;
  int asked = 0, most = what == REQUEST_CHECK ? CHUNK : w->n;
  for (int i = 0; i < w->n;) {
    for (x->n = 0; i < w->n && x->n < most; i++)
      if (rounds[i] > round) x->order[x->n++] = i;
    int n = x->n;
    x->request = what;
    asked += n;
    if (n) serve(s);
    for (int k = 0; k < n; k++) {
      const struct reply *r = &x->reply[x->order[k]];
      if (what == REQUEST_CHECK && r->outcome == OUTCOME_OK) continue;
      if (r->outcome != OUTCOME_OK || r->ns <= 0)
        fail(r->reason[0] ? r->reason : "a candidate gave no sample");
      t->samples++;
      t->runs += r->repeat[what == REQUEST_INTERP ? INTERP : JIT];
      t->dropped += r->dropped + !r->clean;
    }
  }
  return asked;
}

/* What a race asked for, of each of its entrants that were sound. */
struct course {
  struct work work;
  int *checks; /* 1: it was checked in this race */
  int *samples;
  int *finals;
};

static void run_course(struct course *c, struct tally *t) {
  struct server s = {.work = &c->work};
  memset(c->work.x->reply, 0, (size_t)c->work.n * sizeof *c->work.x->reply);
  ask(&s, REQUEST_CHECK, c->checks, 0, t);
  for (int round = 0; ask(&s, REQUEST_SAMPLE, c->samples, round, t); round++) {
  }
  for (int round = 0; ask(&s, REQUEST_INTERP, c->finals, round, t); round++) {
  }
  stop(&s);
}

/* ---- a process for each trial ---- */

/* A process that was just forked pays for the first write to each page; what the worker pays of
 * that is a part of what isolation costs, what this process pays is not. */
static void own_pages(void) {
  FILE *f = fopen("/proc/self/maps", "r");
  char line[512];
  unsigned long low, high;
  enum { PAGE = 4096, LARGE = 64 << 20 };
  while (f && fgets(line, sizeof line, f))
    if (strstr(line, " rw-p ") && !strstr(line, "[stack]") &&
        sscanf(line, "%lx-%lx", &low, &high) == 2 && high - low <= LARGE)
      for (volatile char *p = (volatile char *)low; p < (volatile char *)high; p += PAGE) {
        char same = *p;
        *p = same;
      }
  if (f) fclose(f);
}

/* Its end is inside of the time: whoever measures in the process itself gives memory back, too. */
static void trial(enum way which, struct course *c, struct tally *t) {
  int status;
  *t = (struct tally){0};
  fflush(NULL);
  pid_t pid = fork();
  if (pid < 0) fail("cannot fork");
  if (pid == 0) {
    way = which;
    own_pages();
    t->start = seconds();
    run_course(c, t);
    t->done = true;
    _exit(0);
  }
  if (waitpid(pid, &status, 0) != pid || status || !t->done) fail("a trial ended before its time");
  t->s = seconds() - t->start;
}

/* ---- a race ---- */

static struct {
  int trials, races[KINDS];
  struct tally *shared, sum[KINDS][WAYS];
} all;

/* The least of the trials of each way is added to sum[way]. */
static void compare(struct course *c, struct tally sum[WAYS]) {
  struct tally least[WAYS], *shared = all.shared;
  for (int k = 0; k < all.trials * WAYS; k++) {
    int at = k / WAYS, w = (k + at) % WAYS;
    trial((enum way)w, c, shared);
    if (at == 0 || shared->s < least[w].s) least[w] = *shared;
    if (shared->samples != least[w].samples) fail("trials differ in what was measured");
  }
  for (int w = 0; w < WAYS; w++) {
    if (least[w].samples != least[0].samples) fail("ways differ in what was measured");
    sum[w].s += least[w].s;
    sum[w].samples += least[w].samples;
    sum[w].runs += least[w].runs;
    sum[w].dropped += least[w].dropped;
  }
}

/* What an entrant had before a race. */
struct before {
  bool races, checked;
  int finals;
};

/* Entrants that took part and are sound, at the head of the copy. */
static void take_course(struct course *c, const struct entrant *e, int n, struct entrant *copy,
                        const struct before *b) {
  for (int i = 0; i < n; i++) {
    int samples = (int)e[i].sample.n, finals = (int)e[i].interp.n - b[i].finals;
    if (!b[i].races || !outcome_is_sound(e[i].outcome) || samples + finals == 0) continue;
    int at = c->work.n++;
    copy[at] = e[i];
    copy[at].outcome = OUTCOME_COUNT; /* there is room for those alone that may run */
    c->checks[at] = !b[i].checked && samples > 0;
    c->samples[at] = samples;
    c->finals[at] = finals;
  }
}

static void once_more(const struct opcall *call, const struct entrant *e, int n,
                      const struct before *b, const struct measure_options *o) {
  struct course c = {0};
  struct arena a = {0};
  const struct bench *bench;
  struct measure_keep *keep = measure_keep_new();
  size_t bytes = sizeof *c.work.x + (size_t)n * (sizeof(struct reply) + sizeof(int));
  enum kind kind = o->again ? AGAIN : o->quick ? ROUGHLY : TO_END;
  struct entrant *copy = ARENA_NEW(&a, struct entrant, MAX(n, 1));
  struct exchange *x = sandbox_share(bytes);
  c.checks = ARENA_NEW(&a, int, MAX(n, 1));
  c.samples = ARENA_NEW(&a, int, MAX(n, 1));
  c.finals = ARENA_NEW(&a, int, MAX(n, 1));
  if (!keep || !copy || !x || !c.checks || !c.samples || !c.finals) fail("out of memory");
  x->reply = (struct reply *)(x + 1);
  x->order = (int *)(x->reply + n);
  take_course(&c, e, n, copy, b);
  check(keep_bench(keep, call, &bench, &err));
  c.work.bench = bench;
  c.work.entrant = copy;
  c.work.sample_ns = SAMPLE_NS;
  c.work.since_read = state_bytes(o->state, &o->caches);
  c.work.since_written = state_far(o->state) ? c.work.since_read : state_near(o->state, &o->caches);
  c.work.far = state_far(o->state);
  c.work.stream = keep_stream(keep, c.work.since_read);
  c.work.ukr = ukr_table(cpu_isa());
  c.work.x = x;
  if (c.work.n) {
    compare(&c, all.sum[kind]);
    all.races[kind]++;
  }
  measure_keep_free(keep);
  sandbox_unshare(x, bytes);
  arena_free(&a);
}

/* In place of measure_race. */
static enum fvm_status race(const struct opcall *c, struct entrant *e, int n,
                            const struct measure_options *o, bool (*on_round)(void *arg, int round),
                            void *arg, struct fvm_error *why) {
  struct before *b = fvm_alloc((size_t)MAX(n, 1), sizeof *b);
  if (!b) return fvm_nomem(why);
  for (int i = 0; i < n; i++)
    b[i] = (struct before){e[i].outcome == (o->again ? OUTCOME_OK : OUTCOME_COUNT), e[i].checked,
                           (int)e[i].interp.n};
  enum fvm_status st = measure_race(c, e, n, o, on_round, arg, why);
  if (!st) once_more(c, e, n, b, o);
  fvm_free(b, (size_t)MAX(n, 1), sizeof *b);
  return st;
}

/* ---- the whole profile ---- */

static void print_row(const char *kind, const struct tally *t, enum way w, double worker) {
  printf("%-8s %-8s %9.4f %9lld %11lld %9lld %9.4f\n", kind, way_name[w], t->s,
         (long long)t->samples, (long long)t->runs, (long long)t->dropped, worker / t->s);
}

static void print(void) {
  struct tally both[WAYS] = {{0}};
  printf("%d rough races, %d to the end, %d again\n%-8s %-8s %9s %9s %11s %9s %9s\n",
         all.races[ROUGHLY], all.races[TO_END], all.races[AGAIN], "races", "way", "seconds",
         "samples", "runs", "dropped", "worker /");
  for (int k = 0; k < KINDS; k++)
    for (int w = 0; w < WAYS && all.races[k]; w++) {
      const struct tally *t = &all.sum[k][w];
      print_row(kind_name[k], t, (enum way)w, all.sum[k][WORKER].s);
      both[w].s += t->s;
      both[w].samples += t->samples;
      both[w].runs += t->runs;
      both[w].dropped += t->dropped;
    }
  for (int w = 0; w < WAYS; w++) print_row("both", &both[w], (enum way)w, both[WORKER].s);
}

int main(int argc, char **argv) {
  struct graph *g;
  struct machine m;
  struct db *db;
  struct profile_totals totals;
  struct profile_options o = {.race = race, .no_reference = true};
  char path[] = "/tmp/bench-isolation-XXXXXX";
  int threads = argc > 2 ? atoi(argv[2]) : 1;
  all.trials = argc > 3 ? atoi(argv[3]) : 3;
  if (argc < 2 || argc > 4 || threads < 1 || all.trials < 1)
    return fprintf(stderr, "usage: bench_isolation MODEL.onnx [THREADS [TRIALS]]\n"), 2;
  all.shared = sandbox_share(sizeof *all.shared);
  if (!all.shared) fail("out of memory");
  check(onnx_import(argv[1], NULL, 0, &g, &err));
  check(pipeline_run(g, NULL, &err));
  check(machine_read(&m, &err));
  machine_target(&m, &threads, 1, &o.target);
  close(mkstemp(path));
  unlink(path);
  check(db_open(path, DB_WRITE, &db, &err));
  enum fvm_status st = profile_graph(g, db, &m, &o, &totals, &err);
  db_close(db);
  unlink(path);
  check(st);
  if (!totals.complete || all.races[ROUGHLY] + all.races[TO_END] == 0) fail("nothing was measured");
  print();
  graph_free(g);
  sandbox_unshare(all.shared, sizeof *all.shared);
  return 0;
}
