#define _GNU_SOURCE
#include "sandbox.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "sandbox_confine.h"

void *sandbox_share(size_t bytes) {
  void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  return p == MAP_FAILED ? NULL : p;
}

void sandbox_unshare(void *p, size_t bytes) {
  if (p) munmap(p, bytes);
}

/* ---- the child ---- */

static void confine(pid_t parent, volatile struct sandbox_fault *fault) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(0); /* it died before the line above */
  sandbox_limit();
  /* A crash is an outcome like others: whoever catches it to report it (a sanitizer) is kept out.
   */
  sandbox_note_faults(fault);
  signal(SIGINT, SIG_IGN); /* the parent decides what an interrupt ends */
  signal(SIGTERM, SIG_IGN);
  signal(SIGPIPE, SIG_IGN);
}

static void child(int fd, pid_t parent, volatile struct sandbox_fault *fault,
                  const struct sandbox_work *w) {
  char turn;
  confine(parent, fault);
  w->init(w->arg);
  sandbox_filter(); /* where there is none, the rest holds */
  while (read(fd, &turn, 1) == 1) {
    w->serve(w->arg);
    if (write(fd, &turn, 1) != 1) break;
  }
  _exit(0);
}

/* ---- the parent ---- */

static enum fvm_status abandon(struct sandbox *s, const char *what, struct fvm_error *err) {
  int code = errno;
  sandbox_unshare(s->fault, sizeof *s->fault);
  return fvm_fail(err, FVM_EENV, "%s: %s; close some programs", what, strerror(code));
}

static int wait_for(pid_t pid) {
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

static void end(struct sandbox *s) {
  if (s->ending) wait_for(s->ending);
  s->ending = 0;
}

enum fvm_status sandbox_start(struct sandbox *s, const struct sandbox_work *w,
                              struct fvm_error *err) {
  int fd[2];
  pid_t parent = getpid();
  s->fault = sandbox_share(sizeof *s->fault);
  if (!s->fault) return fvm_nomem(err);
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd) != 0)
    return abandon(s, "cannot make a socket pair", err);
  s->pid = fork();
  if (s->pid == 0) {
    close(fd[0]);
    child(fd[1], parent, s->fault, w);
  }
  close(fd[1]);
  s->fd = fd[0];
  if (s->pid > 0) {
    end(s); /* meanwhile the new one prepares; nothing is timed before both are done */
    return FVM_OK;
  }
  s->pid = 0;
  close(s->fd);
  return abandon(s, "cannot start a process to measure in", err);
}

/* Wait for the end of the child and say how it ended. */
static void reap(struct sandbox *s, char *why, size_t size) {
  close(s->fd);
  int status = wait_for(s->pid);
  s->pid = 0;
  int n = WIFSIGNALED(status)
              ? snprintf(why, size, "ended by signal %d (%s)", WTERMSIG(status),
                         strsignal(WTERMSIG(status)))
              : snprintf(why, size, "the process exited with status %d", WEXITSTATUS(status));
  s->address = WIFSIGNALED(status) && s->fault->known ? s->fault->address : 0;
  if (s->address && n > 0 && (size_t)n < size)
    snprintf(why + n, size - (size_t)n, " at address 0x%llx", (unsigned long long)s->address);
  sandbox_unshare(s->fault, sizeof *s->fault);
}

static double seconds(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* The clock that runs while the child does. */
static clockid_t child_clock(const struct sandbox *s) {
  clockid_t c;
  return clock_getcpuclockid(s->pid, &c) == 0 ? c : CLOCK_MONOTONIC;
}

enum heard {
  HEARD, /* the end of its turn, or its own */
  OVER_CPU,
  OVER_CLOCK
};

static enum heard await(const struct sandbox *s, const struct sandbox_limit *limit,
                        const volatile int *progress, void (*on_poll)(void *arg), void *arg) {
  enum { SLICE_MS = 20 };
  clockid_t own = child_clock(s);
  for (;;) {
    int seen = *progress;
    double clock = seconds(CLOCK_MONOTONIC), cpu = seconds(own);
    while (*progress == seen) {
      struct pollfd p = {.fd = s->fd, .events = POLLIN};
      if (poll(&p, 1, SLICE_MS) > 0) return HEARD;
      on_poll(arg);
      if (seconds(own) - cpu > limit->cpu_s) return OVER_CPU;
      if (seconds(CLOCK_MONOTONIC) - clock > limit->clock_s) return OVER_CLOCK;
    }
  }
}

enum sandbox_end sandbox_call(struct sandbox *s, const struct sandbox_limit *limit,
                              const volatile int *progress, void (*on_poll)(void *arg), void *arg,
                              char *why, size_t why_size) {
  char turn = 0;
  on_poll(arg);
  if (send(s->fd, &turn, 1, MSG_NOSIGNAL) == 1) {
    enum heard heard = await(s, limit, progress, on_poll, arg);
    if (heard != HEARD) {
      kill(s->pid, SIGKILL);
      reap(s, why, why_size);
      if (heard == OVER_CPU)
        snprintf(why, why_size, "took longer than %.1f s of CPU time", limit->cpu_s);
      else
        snprintf(why, why_size, "took longer than %.1f s", limit->clock_s);
      return SANDBOX_HUNG;
    }
    if (recv(s->fd, &turn, 1, 0) == 1) return SANDBOX_DONE;
  }
  reap(s, why, why_size);
  return SANDBOX_DIED;
}

/* The child may be in the middle of anything, so it is not asked. */
void sandbox_stop(struct sandbox *s) {
  if (s->pid == 0) return;
  end(s);
  kill(s->pid, SIGKILL);
  close(s->fd);
  sandbox_unshare(s->fault, sizeof *s->fault);
  s->ending = s->pid;
  s->pid = 0;
}

void sandbox_free(struct sandbox *s) {
  sandbox_stop(s);
  end(s);
}
