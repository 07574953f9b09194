/* Where planning spends its time. No output depends on it but the report of these numbers. */
#ifndef FVM_PHASES_H
#define FVM_PHASES_H

enum phase {
#define PHASE(name, what) PHASE_##name,
#include "phases.def"
#undef PHASE
  PHASE_COUNT
};
struct phases {
  double seconds[PHASE_COUNT];
  double last;
};
extern const char *const phase_name[PHASE_COUNT];

void phases_start(struct phases *p);
/* What happened since the last of these calls was that phase. A phase may come again. p may be
 * NULL. */
void phase_done(struct phases *p, enum phase which);

#endif
