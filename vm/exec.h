/* What the tool chain asks of the executor beyond fluidvm.h. */
#ifndef FVM_EXEC_H
#define FVM_EXEC_H

#include "fluidvm.h"

/* fvm_run with a clock read after each step: ns[i] is the time of step i, with what lies between it
 * and the step before. A loop of its own, so that fvm_run reads no clock. */
enum fvm_status exec_run_timed(struct fvm_instance *in, int64_t *ns, struct fvm_error *err);

#endif
