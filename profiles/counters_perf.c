/* Software events of the calling thread. perf_event_open gives exact ones; where it is refused
 * (perf_event_paranoid, containers) getrusage and the clock stand in, and the CPU number before
 * and after tells a move to another CPU. */
#define _GNU_SOURCE
#include "counters_impl.h"

#include <linux/perf_event.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static const struct {
  enum counter counter;
  uint64_t config;
} events[] = {
    {COUNTER_TASK_CLOCK, PERF_COUNT_SW_TASK_CLOCK},
    {COUNTER_PAGE_FAULTS, PERF_COUNT_SW_PAGE_FAULTS},
    {COUNTER_SWITCHES, PERF_COUNT_SW_CONTEXT_SWITCHES},
    {COUNTER_MIGRATIONS, PERF_COUNT_SW_CPU_MIGRATIONS},
};
enum { NEVENT = COUNT(events) };

struct perf {
  struct counters base;
  int fd[NEVENT]; /* fd[0] leads the group; all -1: getrusage instead */
  int64_t at_start[COUNTER_COUNT];
  int cpu; /* at start */
};

static int open_event(uint64_t config, int leader) {
  struct perf_event_attr a = {.type = PERF_TYPE_SOFTWARE,
                              .size = sizeof a,
                              .config = config,
                              .disabled = leader < 0,
                              .read_format = PERF_FORMAT_GROUP};
  return (int)syscall(SYS_perf_event_open, &a, 0, -1, leader, PERF_FLAG_FD_CLOEXEC);
}

static void close_all(struct perf *p) {
  for (int i = 0; i < NEVENT; i++) {
    if (p->fd[i] >= 0) close(p->fd[i]);
    p->fd[i] = -1;
  }
}

/* Context switches happen in the kernel: an event that leaves the kernel out reads 0 for ever, so
 * the kernel must be let in, which perf_event_paranoid may forbid. */
static bool open_group(struct perf *p) {
  for (int i = 0; i < NEVENT; i++) p->fd[i] = -1;
  for (int i = 0; i < NEVENT; i++) {
    p->fd[i] = open_event(events[i].config, i ? p->fd[0] : -1);
    if (p->fd[i] < 0) {
      close_all(p);
      return false;
    }
  }
  return true;
}

static void perf_start(struct counters *c) {
  struct perf *p = (struct perf *)c;
  ioctl(p->fd[0], PERF_EVENT_IOC_RESET, PERF_IOC_FLAG_GROUP);
  ioctl(p->fd[0], PERF_EVENT_IOC_ENABLE, PERF_IOC_FLAG_GROUP);
}

static void perf_stop(struct counters *c, struct counter_values *out) {
  struct perf *p = (struct perf *)c;
  uint64_t v[1 + NEVENT]; /* number of events, then their values */
  ioctl(p->fd[0], PERF_EVENT_IOC_DISABLE, PERF_IOC_FLAG_GROUP);
  *out = (struct counter_values){0};
  if (read(p->fd[0], v, sizeof v) != (ssize_t)sizeof v) return;
  for (int i = 0; i < NEVENT; i++) {
    out->valid[events[i].counter] = true;
    out->v[events[i].counter] = (int64_t)v[1 + i];
  }
}

/* ---- getrusage ---- */

static void usage_read(int64_t v[COUNTER_COUNT]) {
  struct rusage u;
  struct timespec t;
  getrusage(RUSAGE_THREAD, &u);
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  v[COUNTER_TASK_CLOCK] = (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
  v[COUNTER_PAGE_FAULTS] = u.ru_minflt + u.ru_majflt;
  v[COUNTER_SWITCHES] = u.ru_nvcsw + u.ru_nivcsw;
}

static void usage_start(struct counters *c) {
  struct perf *p = (struct perf *)c;
  p->cpu = sched_getcpu();
  usage_read(p->at_start);
}

static void usage_stop(struct counters *c, struct counter_values *out) {
  struct perf *p = (struct perf *)c;
  *out = (struct counter_values){0};
  usage_read(out->v);
  for (int i = 0; i < NEVENT; i++) {
    out->valid[events[i].counter] = true;
    out->v[events[i].counter] -= p->at_start[events[i].counter];
  }
  out->v[COUNTER_MIGRATIONS] = sched_getcpu() != p->cpu;
}

static void perf_free(struct counters *c) {
  close_all((struct perf *)c);
  fvm_free(c, 1, sizeof(struct perf));
}

struct counters *counters_perf(void) {
  struct perf *p = fvm_alloc(1, sizeof *p);
  if (!p) return NULL;
  bool perf = open_group(p);
  p->base = (struct counters){.name = perf ? "perf" : "getrusage",
                              .start = perf ? perf_start : usage_start,
                              .stop = perf ? perf_stop : usage_stop,
                              .free = perf_free};
  for (int i = 0; i < COUNTER_COUNT; i++)
    if (counter_preset((enum counter)i)[0]) p->base.why_not[i] = "needs PAPI";
  return &p->base;
}
