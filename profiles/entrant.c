#include "measure.h"

#include <string.h>

static const char *const names[] = {
#define OUTCOME(name, text, meaning) text,
#include "outcomes.def"
#undef OUTCOME
};

const char *outcome_name(enum outcome o) { return names[o]; }

enum outcome outcome_parse(const char *text) {
  for (int i = 0; i < OUTCOME_COUNT; i++)
    if (text && strcmp(text, names[i]) == 0) return (enum outcome)i;
  return OUTCOME_COUNT;
}

void entrant_free(struct entrant *e) {
  VEC_FREE(&e->sample);
  VEC_FREE(&e->interp);
}
