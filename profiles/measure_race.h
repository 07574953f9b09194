/* A race and who is ahead in it: between its course (measure.c) and its judge (measure_judge.c). */
#ifndef FVM_MEASURE_RACE_H
#define FVM_MEASURE_RACE_H

#include "measure_impl.h"
#include "sandbox.h"

enum { RACE_ROUNDS = 16 }; /* at most */

struct race {
  struct entrant *e;
  int n;
  struct measure_options o;
  bool (*on_round)(void *arg, int round);
  void *arg;
  struct measure_keep *own_keep, *keep;
  const struct bench *bench;
  struct work work;
  struct sandbox *box;
  struct exchange *x;
  size_t shared_bytes;
  int *group;  /* of each entrant */
  bool *alive; /* still racing */
  bool *asked; /* for a sample, in this round */
  int64_t *at; /* at[i * RACE_ROUNDS + r]: sample of entrant i in round r, 0: none */
  int rounds;
  int *calm_rounds; /* of each entrant */
  uint64_t random;
  struct peace own, *peace;
  struct sandbox_limit limit; /* of one turn */
};

/* Who competes with whom: fills group. */
void race_groups(struct race *r);
/* Whoever is too slow for its group by now leaves. */
void race_eliminate(struct race *r);
/* Nothing more to learn about a group: one is left, or all that are left tie, or they have had
 * their rounds. */
bool race_settled(const struct race *r, int group);
/* Whether an entrant that is still racing is one of the best few of its group. */
bool race_finalist(const struct race *r, int i);

#endif
