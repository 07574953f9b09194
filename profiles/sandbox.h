/* A forked process that works through requests and may crash or hang without harm. What it is to do
 * and what came of it travel in shared memory, which survives it; a socket carries the turns. */
#ifndef FVM_SANDBOX_H
#define FVM_SANDBOX_H

#include <sys/types.h>

#include "../vm/base.h"

struct sandbox {
  pid_t pid;    /* 0: none running */
  pid_t ending; /* one that was killed and may still be giving back its memory; 0: none */
  int fd;
  struct sandbox_fault *fault; /* shared */
  uint64_t address;            /* of the crash that ended the last one; 0: unknown */
};
enum sandbox_end {
  SANDBOX_DONE,
  SANDBOX_DIED, /* by a signal, or it exited */
  SANDBOX_HUNG  /* killed, because it made no progress for the time given */
};
/* Most time without progress. Of all its threads together on CPUs, which an endless loop uses up
 * soon, and a sound candidate on a busy machine does not; and by the clock, for what sleeps. */
struct sandbox_limit {
  double cpu_s, clock_s;
};

/* Memory that a sandbox started later shares with us; NULL when there is none. Zeroed. */
void *sandbox_share(size_t bytes);
void sandbox_unshare(void *p, size_t bytes);

/* Fork. The child calls init(arg) once and serve(arg) for each call; it sees our memory as it is
 * now. It ignores SIGINT, writes no file and dies with us. After init it can open nothing and
 * starts no threads: such calls fail (Linux on x86-64 and aarch64; elsewhere init's word has to
 * do). */
struct sandbox_work {
  void (*init)(void *arg), (*serve)(void *arg);
  void *arg;
};
enum fvm_status sandbox_start(struct sandbox *s, const struct sandbox_work *w,
                              struct fvm_error *err);
/* One turn. *progress is in shared memory: whenever it changes, the clocks start anew. After
 * anything but SANDBOX_DONE the child is gone, and why says how. on_poll(arg) is
 * called now and then while waiting, and after each signal. */
enum sandbox_end sandbox_call(struct sandbox *s, const struct sandbox_limit *limit,
                              const volatile int *progress, void (*on_poll)(void *arg), void *arg,
                              char *why, size_t why_size);
/* Kill it. To give back some hundred megabytes takes milliseconds, which only the next start or
 * sandbox_free wait for. */
void sandbox_stop(struct sandbox *s);
void sandbox_free(struct sandbox *s);

#endif
