/* A small thread pool: workers spin briefly, then sleep (futex); and the team's barrier. */
#ifndef FVM_THREADS_H
#define FVM_THREADS_H

#include "base.h"

struct pool;
struct team; /* the threads that work on one job; what a program's barriers meet on */

/* Start threads - 1 workers (the caller is thread 0). */
enum fvm_status pool_new(int threads, struct pool **pool, struct fvm_error *err);
void pool_free(struct pool *pool);
int pool_threads(const struct pool *pool);

/* Run fn(arg, team, tid) on threads 0 .. n-1 (n <= pool_threads) and wait for all of them.
 * Results of all threads are or-ed together. No allocation; no system call while workers spin. */
typedef int team_fn(void *arg, struct team *team, int tid);
int pool_run(struct pool *pool, int n, team_fn *fn, void *arg);

int team_size(const struct team *team);
/* All threads of the team meet. */
void team_wait(struct team *team);

#endif
