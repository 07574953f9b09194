#include "measure.h"

static const char *const names[] = {
#define OUTCOME(name, text, meaning) text,
#include "outcomes.def"
#undef OUTCOME
};

const char *outcome_name(enum outcome o) { return names[o]; }

void entrant_free(struct entrant *e) {
  VEC_FREE(&e->sample);
  VEC_FREE(&e->interp);
}
