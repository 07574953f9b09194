/* Who leaves a race, when there is nothing more to learn, and who comes into its finals. */
#include "measure_race.h"

#include <math.h>
#include <stdio.h>

#include "stats.h"

enum {
  EXTRA_ROUNDS = 1, /* for those that had slow samples */
  TIE_ROUNDS = 3,   /* the least for a tie */
  FINALISTS = 5,    /* of a group */
  FAR_ROUNDS = 3,   /* these two of a group that is slower than another one by FAR */
  FAR_FINALISTS = 2
};
static const double TIE = 1.01, FAR = 1.1;
/* Who has not come within this factor of the best of its group after that many rounds leaves, and
 * never comes back; a round in which the machine was slow for it counts half. (At their best two
 * samples of a label differ by 1 to 3 %, by the median; of 1,400 first samples one in fifty was
 * beyond 1.4 to 1.8 times the least.) */
static const struct {
  int rounds;
  double factor;
} leave[] = {{4, 1.05}, {3, 1.07}, {2, 1.12}, {1, 1.3}, {0, 3}};
static const double WIDE = 1.15;
/* More rounds for what differs by more: what is short, what takes longer than a machine is at its
 * best at a time, and several threads, since their cores seldom are so together. */
enum { SHORT_NS = 50000, SHORT_MORE = 1, LONG_NS = 1000000, LONG_MORE = 2, TEAM_MORE = 1 };
/* Both samples of a race's first rounds may lie in a bad time for whoever needs memory. Its check
 * lay in another one, so before that round nobody leaves who was as fast as the best there. */
enum { TRUSTED = 2 };

bool measure_same_group(const struct opcall *c, const struct label *a, const struct label *b) {
  if (a->threads != b->threads) return false;
  for (int i = 0; i < c->nin; i++)
    if (!c->in[i].data && label_in(a, i) != label_in(b, i)) return false;
  for (int i = 0; i < c->nout; i++)
    if (label_out(a, i) != label_out(b, i)) return false;
  return true;
}

void race_groups(struct race *r) {
  for (int i = 0; i < r->n; i++) {
    r->group[i] = i;
    for (int j = 0; j < i && r->group[i] == i; j++)
      if (measure_same_group(r->bench->call, &r->e[i].label, &r->e[j].label))
        r->group[i] = r->group[j];
  }
}

/* Fastest living member of a group; ties to the lower number, which is the simpler candidate. */
static int best_of(const struct race *r, int group) {
  int best = -1;
  for (int i = 0; i < r->n; i++)
    if (r->alive[i] && r->group[i] == group && r->e[i].min_ns > 0 &&
        (best < 0 || r->e[i].min_ns < r->e[best].min_ns))
      best = i;
  return best;
}

static void drop(struct race *r, int i, int best) {
  r->alive[i] = false;
  if (r->e[i].outcome == OUTCOME_OK) r->e[i].outcome = OUTCOME_LOST;
  snprintf(r->e[i].reason, sizeof r->e[i].reason, "%.2f times the best after %d rounds",
           (double)r->e[i].min_ns / (double)r->e[best].min_ns, r->rounds);
}

/* Samples of rounds in which both have one; returns how many. */
static size_t pairs(const struct race *r, int i, int best, int64_t *a, int64_t *b) {
  size_t n = 0;
  for (int k = 0; k < r->rounds; k++) {
    a[n] = r->at[i * RACE_ROUNDS + k];
    b[n] = r->at[best * RACE_ROUNDS + k];
    n += a[n] && b[n];
  }
  return n;
}

static bool surely_slower(const struct race *r, int i, int best) {
  int64_t a[RACE_ROUNDS], b[RACE_ROUNDS];
  size_t n = pairs(r, i, best, a, b);
  return stats_slower(a, b, n, 1.0) && (double)r->e[i].min_ns > TIE * (double)r->e[best].min_ns;
}

/* How many times slower than the best: by the least of either, or in the same rounds, where both
 * were slowed by whatever slowed the machine, if that is less. */
static double slower_by(const struct race *r, int i, int best) {
  int64_t a[RACE_ROUNDS] = {0}, b[RACE_ROUNDS] = {0};
  double ratio[RACE_ROUNDS], least = (double)r->e[i].min_ns / (double)r->e[best].min_ns;
  size_t n = pairs(r, i, best, a, b);
  for (size_t k = 0; k < n; k++) ratio[k] = (double)a[k] / (double)b[k];
  return n ? MIN(least, stats_quantile(ratio, n, 0.5)) : least;
}

/* For an entrant, given the best of its group; -1: unknown. */
static int more_rounds(const struct race *r, int i, int best) {
  int64_t ns = best < 0 ? 0 : r->e[best].min_ns;
  return (ns && ns < SHORT_NS ? SHORT_MORE : 0) + (ns > LONG_NS ? LONG_MORE : 0) +
         (r->e[i].label.threads > 1 ? TEAM_MORE : 0);
}

static double factor_after(int rounds) {
  size_t row = 0;
  while (leave[row].rounds > MAX(rounds, 0)) row++;
  return rounds < 0 ? INFINITY : leave[row].factor;
}

/* So many rounds more only narrow the bounds below WIDE. */
static double leave_factor(int rounds, int more) {
  return MIN(factor_after(rounds - more), MAX(factor_after(rounds), WIDE));
}

/* What is the same for all in a slow round says half as much as a calm one. */
static int rounds_of(const struct race *r, int i) {
  return r->calm_rounds[i] + (r->rounds - r->calm_rounds[i]) / 2;
}

/* Times of a label and its group's best while they were checked, as a ratio; unknown: infinite. */
static double check_ratio(const struct race *r, int i, int best) {
  int64_t ns = r->x->reply[i].check_ns, least = r->x->reply[best].check_ns;
  return ns && least ? (double)ns / (double)least : INFINITY;
}

static bool is_too_slow(const struct race *r, int i, int best) {
  double ratio = slower_by(r, i, best);
  int rounds = rounds_of(r, i), more = more_rounds(r, i, best);
  if (rounds - more < TRUSTED) ratio = MIN(ratio, check_ratio(r, i, best));
  return ratio > leave_factor(rounds, more);
}

void race_eliminate(struct race *r) {
  for (int i = 0; i < r->n; i++) {
    int best = best_of(r, r->group[i]);
    if (!r->alive[i] || best < 0 || best == i) continue;
    if (is_too_slow(r, i, best) || surely_slower(r, i, best)) drop(r, i, best);
  }
}

/* Whether the best of another group with as many threads is faster by a factor. Then conversions of
 * layouts have to make up for more than what is still open in this group. */
static bool is_far(const struct race *r, int best) {
  for (int i = 0; i < r->n && best >= 0; i++)
    if (r->alive[i] && r->e[i].min_ns && r->e[i].label.threads == r->e[best].label.threads &&
        FAR * (double)r->e[i].min_ns < (double)r->e[best].min_ns)
      return true;
  return false;
}

bool race_settled(const struct race *r, int group) {
  int best = best_of(r, group), living = 0;
  bool tie = best >= 0, done = true, far = is_far(r, best);
  for (int i = 0; i < r->n; i++) {
    if (!r->alive[i] || r->group[i] != group) continue;
    int full = MIN(r->o.max_rounds + more_rounds(r, i, best), (int)RACE_ROUNDS);
    int most = far ? MIN(FAR_ROUNDS, full) : full;
    living++;
    done = done && r->rounds >= most &&
           (r->calm_rounds[i] >= most || r->rounds >= MIN(most + EXTRA_ROUNDS, (int)RACE_ROUNDS));
    tie = tie && (double)r->e[i].min_ns <= TIE * (double)r->e[best].min_ns;
  }
  return done || (living == 1 ? r->rounds >= r->o.alone_rounds : tie && r->rounds >= TIE_ROUNDS);
}

bool race_finalist(const struct race *r, int i) {
  int best = best_of(r, r->group[i]), faster = 0;
  if (!r->alive[i] || best < 0) return r->alive[i];
  double own = slower_by(r, i, best);
  for (int j = 0; j < r->n; j++) {
    if (!r->alive[j] || r->group[j] != r->group[i]) continue;
    double other = slower_by(r, j, best);
    faster += other < own || (other == own && j < i);
  }
  return faster < (is_far(r, best) ? FAR_FINALISTS : FINALISTS);
}
