/* Inside of the sandbox: what a child does to itself. sandbox*.c only. */
#ifndef FVM_SANDBOX_CONFINE_H
#define FVM_SANDBOX_CONFINE_H

#include "../vm/base.h"

/* No core file, no byte into any file. */
void sandbox_limit(void);
/* From now on no thread of this process opens files or sockets or touches other processes: such
 * calls fail with EPERM. False where the system has no filter for system calls. */
bool sandbox_filter(void);

/* In shared memory: what a crash leaves. */
struct sandbox_fault {
  bool known;
  uint64_t address; /* of SIGSEGV and SIGBUS: the data's; of others: the instruction's */
};
void sandbox_note_faults(volatile struct sandbox_fault *to);

#endif
