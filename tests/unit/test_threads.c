/* vm/threads: jobs reach their threads once, barriers hold, results are or-ed. */
#include "unit.h"

#include <stdatomic.h>
#include <unistd.h>

#include "../../vm/threads.h"

enum { MAX = 5, PHASES = 20 };

struct job {
  _Atomic int calls[MAX];
  int mark[2][MAX]; /* plain memory on purpose: only the barriers order it */
  _Atomic int wrong;
  int sleep_us; /* of thread 0 before each barrier: makes the others sleep */
};

static int job_run(void *arg, struct team *team, int tid) {
  struct job *j = arg;
  int n = team_size(team);
  atomic_fetch_add(&j->calls[tid], 1);
  for (int phase = 1; phase <= PHASES; phase++) {
    j->mark[phase % 2][tid] = phase;
    if (tid == 0 && j->sleep_us) usleep((useconds_t)j->sleep_us);
    team_wait(team);
    for (int i = 0; i < n; i++)
      if (j->mark[phase % 2][i] != phase) atomic_fetch_add(&j->wrong, 1);
  }
  return 1 << tid;
}

static void run_job(struct pool *pool, int n, int sleep_us) {
  struct job j = {.sleep_us = sleep_us};
  ck_assert_int_eq(pool_run(pool, n, job_run, &j), (1 << n) - 1);
  ck_assert_int_eq(j.wrong, 0);
  for (int i = 0; i < MAX; i++) ck_assert_int_eq(j.calls[i], i < n);
}

START_TEST(jobs_of_every_size) {
  struct fvm_error err;
  for (int threads = 1; threads <= MAX; threads++) {
    struct pool *pool;
    OK(pool_new(threads, &pool, &err));
    ck_assert_int_eq(pool_threads(pool), threads);
    for (int i = 0; i < 60; i++) run_job(pool, 1 + i % threads, 0);
    pool_free(pool);
  }
}
END_TEST

/* Long gaps, so that workers sleep in their mail box and in the barrier. */
START_TEST(sleepers_wake) {
  struct fvm_error err;
  struct pool *pool;
  OK(pool_new(2, &pool, &err));
  for (int i = 0; i < 5; i++) {
    usleep(500);
    run_job(pool, 2, 300);
  }
  pool_free(pool);
}
END_TEST

static int nothing(void *arg, struct team *team, int tid) {
  (void)arg, (void)team, (void)tid;
  return 0;
}

START_TEST(results_do_not_stick) {
  struct fvm_error err;
  struct pool *pool;
  OK(pool_new(3, &pool, &err));
  run_job(pool, 3, 0);
  for (int i = 0; i < 2000; i++) ck_assert_int_eq(pool_run(pool, 1 + i % 3, nothing, NULL), 0);
  pool_free(pool);
}
END_TEST

START_TEST(no_memory) {
  struct fvm_error err;
  struct pool *pool;
  fvm_fail_alloc(1);
  ck_assert_int_eq(pool_new(3, &pool, &err), FVM_ENOMEM);
  pool_free(NULL);
}
END_TEST

UNIT_MAIN("threads", jobs_of_every_size, sleepers_wake, results_do_not_stick, no_memory)
