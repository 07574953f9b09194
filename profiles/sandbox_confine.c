/* What a sandbox gives up before it runs a candidate: files, network, other processes, core files.
 * What is not on the list fails with EPERM, so that a library that only tries goes on. */
#define _GNU_SOURCE
#include "sandbox_confine.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined __linux__ && (defined __x86_64__ || defined __aarch64__)
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#define HAS_FILTER 1
#if defined __x86_64__
#define OWN_ARCH AUDIT_ARCH_X86_64
#else
#define OWN_ARCH AUDIT_ARCH_AARCH64
#endif
#endif

void sandbox_limit(void) {
  const struct rlimit none = {0, 0};
  setrlimit(RLIMIT_CORE, &none);
  setrlimit(RLIMIT_FSIZE, &none);
}

#ifdef HAS_FILTER
/* Talking to the parent, memory, time, counters, the end; and what threads do that init started and
 * that have not come to their first line yet. */
static const int allowed[] = {SYS_read,
                              SYS_write,
                              SYS_close,
                              SYS_ioctl,
                              SYS_mmap,
                              SYS_munmap,
                              SYS_mprotect,
                              SYS_mremap,
                              SYS_madvise,
                              SYS_brk,
                              SYS_futex,
                              SYS_rseq,
                              SYS_set_robust_list,
                              SYS_sched_yield,
                              SYS_sched_getaffinity,
                              SYS_getcpu,
                              SYS_getrusage,
                              SYS_clock_gettime,
                              SYS_clock_nanosleep,
                              SYS_nanosleep,
                              SYS_restart_syscall,
                              SYS_rt_sigaction,
                              SYS_rt_sigprocmask,
                              SYS_rt_sigreturn,
                              SYS_rt_sigsuspend,
                              SYS_sigaltstack,
                              SYS_getpid,
                              SYS_gettid,
                              SYS_tgkill,
                              SYS_exit,
                              SYS_exit_group};

/* One comparison a call: equal ones jump to the end, where they are let through. */
bool sandbox_filter(void) {
  enum { N = COUNT(allowed), HEAD = 4, SIZE = HEAD + N + 2 };
  const uint32_t arch_at = offsetof(struct seccomp_data, arch),
                 call_at = offsetof(struct seccomp_data, nr);
  struct sock_filter f[SIZE] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, arch_at), BPF_JUMP(BPF_JMP | BPF_JEQ, OWN_ARCH, 1, 0),
      BPF_STMT(BPF_RET, SECCOMP_RET_KILL_PROCESS), BPF_STMT(BPF_LD | BPF_W | BPF_ABS, call_at)};
  for (int i = 0; i < N; i++)
    f[HEAD + i] =
        (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ, (uint32_t)allowed[i], (uint8_t)(N - i), 0);
  f[HEAD + N] = (struct sock_filter)BPF_STMT(BPF_RET, SECCOMP_RET_ERRNO | EPERM);
  f[HEAD + N + 1] = (struct sock_filter)BPF_STMT(BPF_RET, SECCOMP_RET_ALLOW);
  const struct sock_fprog prog = {SIZE, f};
  /* TSYNC: the threads of the pool are bound as well. */
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &prog) == 0;
}
#else
bool sandbox_filter(void) { return false; }
#endif

/* ---- where it crashed ---- */

static volatile struct sandbox_fault *noted;

/* The signal comes again when this returns, and then ends the process. Another thread that crashes
 * at the same time must not end it before. */
static void note(int number, siginfo_t *info, void *context) {
  static atomic_flag taken = ATOMIC_FLAG_INIT;
  (void)context;
  while (atomic_flag_test_and_set(&taken)) {
  }
  noted->known = info->si_code > 0; /* else somebody sent it */
  noted->address = (uint64_t)(uintptr_t)info->si_addr;
  signal(number, SIG_DFL);
  raise(number);
}

void sandbox_note_faults(volatile struct sandbox_fault *to) {
  static const int crash[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
  static char own[16384]; /* for a stack that overflowed */
  const stack_t stack = {.ss_sp = own, .ss_size = sizeof own};
  struct sigaction act = {.sa_sigaction = note, .sa_flags = SA_SIGINFO | SA_ONSTACK};
  noted = to;
  sigaltstack(&stack, NULL);
  for (size_t i = 0; i < COUNT(crash); i++) sigaction(crash[i], &act, NULL);
}
