#include "measure.h"

static const char *const names[] = {
#define OUTCOME(name, text, meaning) text,
#include "outcomes.def"
#undef OUTCOME
};

static const char *const warmths[] = {
#define WARMTH(name, text, meaning) text,
#include "warmth.def"
#undef WARMTH
};

const char *outcome_name(enum outcome o) { return names[o]; }
const char *warmth_name(enum warmth w) { return warmths[w]; }

void entrant_free(struct entrant *e) {
  VEC_FREE(&e->sample);
  VEC_FREE(&e->interp);
}
