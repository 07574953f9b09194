/* The thread pool. Contract: threads.h.
 *
 * Everybody waits in one way: for an atomic word to change. A waiter spins for a while, then sets
 * the word's lowest bit and sleeps on it (futex); whoever changes the word wakes sleepers only if
 * it finds that bit. So while the threads keep up with each other no system call is made.
 *
 *   worker i   waits on mail[i]    changed by pool_run when it gives i a job
 *   the team   waits on phase      changed by the last one to arrive
 *   the caller waits on done       changed by the last worker to finish
 */
#include "config.h" /* _GNU_SOURCE, for sched_getaffinity */

#include "threads.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
  ASLEEP = 1, /* bit of a word: somebody sleeps on it */
  TICK = 2,   /* what a word advances by */
  /* How long a waiter spins: about the price of a sleep, so that it wastes at most as much again,
   * and between jobs a part of what the last one took: the parts of a long one end far from each
   * other (four in ten of GPT-2's steps ended in a sleep, which cost 1 % of its time). To wake a
   * sleeper takes 18 to 60 us, a job for a worker that spins 0.5 us, a barrier 0.34 us
   * (bench_threads at real-time priority; virtual machine, Zen 4). Spinning for a millisecond while
   * a plan runs was tried: it saves that sleep after serial steps of 50 us and more, of which
   * transformers have next to none, and makes each take milliseconds on a busy machine, where it
   * uses up the time slice of the thread that it waits for. */
  SPIN_NS = 50 * 1000,
  SPIN_PART = 8,  /* and an eighth of the job */
  SPIN_LOOK = 32, /* pauses between looks at the clock */
  LINE = 128      /* two cache lines: adjacent ones are fetched in pairs */
};

typedef _Atomic uint32_t word;

struct team {
  word phase;
  char gap[LINE];
  _Atomic int arrived;
  int n;
  int64_t spin_ns;
};

struct worker {
  word mail;
  int tid;
  struct pool *pool;
  pthread_t thread;
  char gap[LINE];
};

struct pool {
  struct team team;
  char gap0[LINE];
  word done;
  char gap1[LINE];
  _Atomic int running; /* workers of the job that have not finished */
  _Atomic int result;
  char gap2[LINE];
  team_fn *fn; /* the job; NULL: end */
  void *arg;
  int threads; /* with the caller */
  struct worker worker[];
};

/* ---- waiting ---- */

static int64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void pause_cpu(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

static bool unchanged(word *w, uint32_t old) {
  return (atomic_load_explicit(w, memory_order_acquire) & ~(uint32_t)ASLEEP) == old;
}

static bool spin(word *w, uint32_t old, int64_t spin_ns) {
  int64_t end = spin_ns ? now_ns() + spin_ns : 0;
  do {
    for (int i = 0; i < SPIN_LOOK; i++) {
      if (!unchanged(w, old)) return true;
      pause_cpu();
    }
  } while (spin_ns && now_ns() < end);
  return false;
}

/* Return when *w is no longer old (apart from ASLEEP). */
static void await_change(word *w, uint32_t old, int64_t spin_ns) {
  if (spin(w, old, spin_ns)) return;
  while (unchanged(w, old)) {
    uint32_t seen = old;
    if (atomic_compare_exchange_strong(w, &seen, old | ASLEEP) || seen == (old | ASLEEP))
      syscall(SYS_futex, w, FUTEX_WAIT_PRIVATE, old | ASLEEP, NULL, NULL, 0);
  }
}

static void change(word *w, uint32_t to) {
  if (atomic_exchange_explicit(w, to, memory_order_acq_rel) & ASLEEP)
    syscall(SYS_futex, w, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
}

static uint32_t current(word *w) {
  return atomic_load_explicit(w, memory_order_acquire) & ~(uint32_t)ASLEEP;
}

/* ---- team ---- */

int team_size(const struct team *team) { return team->n; }

void team_wait(struct team *team) {
  if (team->n == 1) return;
  uint32_t phase = current(&team->phase); /* cannot advance before this thread arrives */
  if (atomic_fetch_add_explicit(&team->arrived, 1, memory_order_acq_rel) + 1 < team->n) {
    await_change(&team->phase, phase, team->spin_ns);
    return;
  }
  atomic_store_explicit(&team->arrived, 0, memory_order_relaxed);
  change(&team->phase, phase + TICK);
}

/* ---- pool ---- */

static void finish(struct pool *p, int result) {
  if (result) atomic_fetch_or_explicit(&p->result, result, memory_order_relaxed);
  if (atomic_fetch_sub_explicit(&p->running, 1, memory_order_acq_rel) == 1)
    change(&p->done, current(&p->done) + TICK);
}

/* For how long to spin after a job that began at start. */
static int64_t patience(const struct pool *p, int64_t start) {
  return p->team.spin_ns ? p->team.spin_ns + (now_ns() - start) / SPIN_PART : 0;
}

static void *work(void *arg) {
  struct worker *w = arg;
  struct pool *p = w->pool;
  int64_t spin_ns = p->team.spin_ns;
  for (uint32_t seen = 0;; seen += TICK) {
    await_change(&w->mail, seen, spin_ns);
    if (!p->fn) return NULL;
    int64_t start = now_ns();
    finish(p, p->fn(p->arg, &p->team, w->tid));
    spin_ns = patience(p, start);
  }
}

static void send(struct worker *w) { change(&w->mail, current(&w->mail) + TICK); }

/* Signals of the process stay with the threads that the program itself made; a thread's own faults
 * go to whoever handles them. */
static int start(struct worker *w) {
  static const int own[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
  sigset_t all, old;
  sigfillset(&all);
  for (size_t i = 0; i < COUNT(own); i++) sigdelset(&all, own[i]);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  int e = pthread_create(&w->thread, NULL, work, w);
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  return e;
}

static size_t pool_bytes(int threads) {
  return sizeof(struct pool) + (size_t)(threads - 1) * sizeof(struct worker);
}

/* With more threads than processors a spinning thread keeps the one it waits for from running. */
static int64_t choose_spin(int threads) {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 0;
  return CPU_COUNT(&set) >= threads ? SPIN_NS : 0;
}

/* End the first n workers and free everything. */
static void end_workers(struct pool *p, int n) {
  p->fn = NULL;
  for (int i = 0; i < n; i++) send(&p->worker[i]);
  for (int i = 0; i < n; i++) pthread_join(p->worker[i].thread, NULL);
  fvm_free(p, 1, pool_bytes(p->threads));
}

enum fvm_status pool_new(int threads, struct pool **pool, struct fvm_error *err) {
  struct pool *p = fvm_alloc(1, pool_bytes(threads));
  if (!p) return fvm_nomem(err);
  p->threads = threads;
  p->team.spin_ns = choose_spin(threads);
  for (int i = 0; i < threads - 1; i++) {
    struct worker *w = &p->worker[i];
    w->pool = p;
    w->tid = i + 1;
    int e = start(w);
    if (e) {
      end_workers(p, i);
      return fvm_fail(err, FVM_EENV, "cannot start thread %d of %d (%s); ask for fewer threads",
                      i + 1, threads, strerror(e));
    }
  }
  *pool = p;
  return FVM_OK;
}

void pool_free(struct pool *p) {
  if (p) end_workers(p, p->threads - 1);
}

int pool_threads(const struct pool *p) { return p->threads; }

int pool_run(struct pool *p, int n, team_fn *fn, void *arg) {
  p->team.n = n;
  if (n == 1) return fn(arg, &p->team, 0);
  p->fn = fn;
  p->arg = arg;
  atomic_store_explicit(&p->running, n - 1, memory_order_relaxed);
  atomic_store_explicit(&p->result, 0, memory_order_relaxed);
  uint32_t done = current(&p->done);
  for (int i = 0; i < n - 1; i++) send(&p->worker[i]);
  int64_t start = now_ns();
  int result = fn(arg, &p->team, 0);
  await_change(&p->done, done, patience(p, start));
  return result | atomic_load_explicit(&p->result, memory_order_relaxed);
}
