/* Between prior.c and prior_fit.c. */
#ifndef FVM_PRIOR_IMPL_H
#define FVM_PRIOR_IMPL_H

#include "prior.h"

/* What a guess may be too high by, before anything tells. */
#define PRIOR_SLACK 2.2

/* The key that a term has in a state of the weights. */
int prior_key(const struct prior_term *t, enum data_state state);
void prior_key_text(int key, struct text *out);
/* Whether a team runs it. */
bool prior_is_team(const struct prior_work *w);
/* The family of a label, made when it is new; -1: there is none (yet), or no room. */
int prior_family_of(struct prior *p, const char *label, bool make);
/* -1: not one. */
int prior_key_parse(const char *s, size_t n);

#endif
