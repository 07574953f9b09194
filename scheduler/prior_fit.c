/* Fitting the prior. What is sought are factors x of the anchor's times, so that for each row i
 *
 *     sum over its terms k of  a_ik x_k  =  1,    a_ik = work * anchor's ns / measured ns
 *
 * as well as can be, with x >= 0, and x near 1 where the rows do not tell:
 *
 *     minimise  sum_i w_i (a_i x - 1)^2 + PULL * sum_k (x_k - 1)^2
 *
 * The weights make an error of a factor cost about the same in both directions; without them a
 * guess of twice the time would weigh four times as much as one of half the time. Solved by
 * coordinate descent on the normal equations, which are small: one row a term. */
#include <math.h>
#include <string.h>

#include "../profiles/stats.h"
#include "prior_impl.h"

enum { FOLDS = 4, OUTER = 4, SWEEPS = 100, FEW = 30 };
static const double PULL = 0.05, DONE = 1e-6;
/* Only what was likely to be fast was measured, so errors are larger than they look. */
static const double HIDDEN = 1.1, SLACK_LEAST = 1.2;

struct row {
  size_t term; /* of fit.term, up to the next row's */
  double ns, guess;
  uint64_t problem;
  bool here, team;
  int family; /* -1: none */
  enum data_state state;
};
struct fit {
  VEC(struct row) row;
  VEC(struct prior_term) term;
  struct prior *prior;
  /* What is sought: a factor for each key that occurs, or for each class of them. */
  int of_key[PRIOR_KEYS], of_class[PRIOR_KEYS]; /* index of it; -1 */
  int nkey, nclass;
  double *gram, *rhs, *x; /* nkey * nkey, nkey, nkey */
  double *scrap;          /* as many as rows */
  struct arena arena;
};

/* ---- rows ---- */

static bool add_row(void *fit, const struct db_run *r) {
  struct fit *f = fit;
  struct prior_work w;
  if (!prior_work_parse(r->work, &w)) return true; /* of another build: not to be understood */
  struct row row = {.term = f->term.n,
                    .ns = (double)r->ns,
                    .problem = r->problem,
                    .here = r->here,
                    .team = prior_is_team(&w),
                    .family = prior_family_of(f->prior, r->label, true),
                    .state = r->state};
  for (int i = 0; i < w.n; i++) {
    struct prior_term t = {prior_key(&w.term[i], r->state), w.term[i].v};
    if (!VEC_PUSH(&f->term, t)) return false;
  }
  return VEC_PUSH(&f->row, row);
}

static size_t end_of(const struct fit *f, size_t i) {
  return i + 1 < f->row.n ? f->row.v[i + 1].term : f->term.n;
}

/* Micro-kernels' arithmetic is one class, products' another, all their calls a third. */
static int class_of(int key) {
  if (key >= PRIOR_L1) return key;
  if (key >= UKR_COUNT) return UKR_COUNT;
  return strncmp(ukr_sig((enum ukr_id)key)->name, "gemm", 4) == 0;
}

static bool index_keys(struct fit *f) {
  int at[PRIOR_KEYS];
  for (int k = 0; k < PRIOR_KEYS; k++) f->of_key[k] = f->of_class[k] = at[k] = -1;
  for (size_t i = 0; i < f->term.n; i++) {
    int k = f->term.v[i].key, c = class_of(k);
    if (f->of_key[k] >= 0) continue;
    f->of_key[k] = f->nkey++;
    if (at[c] < 0) at[c] = f->nclass++;
    f->of_class[k] = at[c];
  }
  f->gram = ARENA_NEW(&f->arena, double, f->nkey * f->nkey + 1);
  f->rhs = ARENA_NEW(&f->arena, double, f->nkey + 1);
  f->x = ARENA_NEW(&f->arena, double, f->nkey + 1);
  return f->gram && f->rhs && f->x;
}

static double guess(const struct fit *f, size_t i, const double *ns) {
  double sum = 0;
  for (size_t k = f->row.v[i].term; k < end_of(f, i); k++)
    sum += f->term.v[k].v * ns[f->term.v[k].key];
  return fmax(sum, 1);
}

/* ---- one fit ---- */

/* Rows that take part: here or elsewhere, and of no problem of fold `but`. */
static bool is_in(const struct row *r, bool here, int but) {
  return r->here == here && (but < 0 || (int)(r->problem % FOLDS) != but);
}

static void gather(struct fit *f, const double *anchor, const int *of, int n, bool here, int but) {
  for (int k = 0; k < n; k++) {
    for (int j = 0; j < n; j++) f->gram[k * n + j] = j == k ? PULL : 0;
    f->rhs[k] = PULL;
  }
  for (size_t i = 0; i < f->row.n; i++) {
    const struct row *r = &f->row.v[i];
    if (!is_in(r, here, but)) continue;
    double w = 1 / fmax(1, r->guess / r->ns), part[PRIOR_MAXTERM];
    size_t first = r->term, count = end_of(f, i) - first;
    for (size_t k = 0; k < count; k++)
      part[k] = w * f->term.v[first + k].v * anchor[f->term.v[first + k].key] / r->ns;
    for (size_t k = 0; k < count; k++) {
      int at = of[f->term.v[first + k].key];
      f->rhs[at] += w * part[k];
      for (size_t j = 0; j < count; j++)
        f->gram[at * n + of[f->term.v[first + j].key]] += part[k] * part[j];
    }
  }
}

static void descend(struct fit *f, int n) {
  for (int sweep = 0; sweep < SWEEPS; sweep++) {
    double moved = 0;
    for (int k = 0; k < n; k++) {
      double g = -f->rhs[k];
      for (int j = 0; j < n; j++) g += f->gram[k * n + j] * f->x[j];
      double x = fmax(0, f->x[k] - g / f->gram[k * n + k]);
      moved = fmax(moved, fabs(x - f->x[k]));
      f->x[k] = x;
    }
    if (moved < DONE) return;
  }
}

/* Factors for the n things that `of` names. Leaves the times in ns, which holds the anchor's. */
static void fit_factors(struct fit *f, const int *of, int n, bool here, int but, double *ns) {
  double fitted[PRIOR_KEYS];
  for (int k = 0; k < n; k++) f->x[k] = 1;
  memcpy(fitted, ns, sizeof fitted);
  for (int round = 0; round < OUTER; round++) {
    for (size_t i = 0; i < f->row.n; i++) f->row.v[i].guess = guess(f, i, fitted);
    gather(f, ns, of, n, here, but);
    descend(f, n);
    for (int k = 0; k < PRIOR_KEYS; k++)
      if (of[k] >= 0) fitted[k] = f->x[of[k]] * ns[k];
  }
  memcpy(ns, fitted, sizeof fitted);
}

/* What a family's measured times are of their guesses, in the middle; little if there are few. */
static double family_factor(struct fit *f, int family, bool team, bool here, int but) {
  enum { FAITH = 3 };
  size_t n = 0;
  for (size_t i = 0; i < f->row.n; i++) {
    const struct row *r = &f->row.v[i];
    if (r->family == family && r->team == team && is_in(r, here, but))
      f->scrap[n++] = log(r->ns / r->guess);
  }
  return n ? exp(stats_quantile(f->scrap, n, 0.5) * (double)n / (double)(n + FAITH)) : 1;
}

static void fit_families(struct fit *f, bool here, int but) {
  for (int i = 0; i < f->prior->nfamily; i++)
    for (int team = 0; team < 2; team++)
      f->prior->family[i].factor[team] = family_factor(f, i, team, here, but);
}

/* First by class, so that kernels which were never seen are taken for as good as the others; then
 * each. Leaves guesses with all rows. */
static void fit_rows(struct fit *f, bool here, int but, double *ns) {
  fit_factors(f, f->of_class, f->nclass, here, but, ns);
  fit_factors(f, f->of_key, f->nkey, here, but, ns);
  for (size_t i = 0; i < f->row.n; i++) f->row.v[i].guess = guess(f, i, ns);
  fit_families(f, here, but);
  for (size_t i = 0; i < f->row.n; i++)
    if (f->row.v[i].family >= 0)
      f->row.v[i].guess *= f->prior->family[f->row.v[i].family].factor[f->row.v[i].team];
}

/* ---- its errors ---- */

/* Rows of one problem, state, name and number of threads; problems' rows are side by side. */
static bool are_rivals(const struct row *a, const struct row *b) {
  return a->problem == b->problem && a->family == b->family && a->team == b->team &&
         a->state == b->state && a->here == b->here;
}

/* By how much row i is guessed too high where the guess of the fastest rival is put right. */
static double above_rival(const struct fit *f, size_t i) {
  const struct row *r = &f->row.v[i], *best = r;
  for (size_t k = i; k-- > 0 && f->row.v[k].problem == r->problem;)
    if (are_rivals(&f->row.v[k], r) && f->row.v[k].ns < best->ns) best = &f->row.v[k];
  for (size_t k = i + 1; k < f->row.n && f->row.v[k].problem == r->problem; k++)
    if (are_rivals(&f->row.v[k], r) && f->row.v[k].ns < best->ns) best = &f->row.v[k];
  return best == r ? 0 : r->guess / best->guess / (r->ns / best->ns);
}

/* rival: of each row, 0: none. */
static double family_slack(struct fit *f, int family, const double *rival, double otherwise) {
  enum { ENOUGH = 12 };
  size_t n = 0;
  for (size_t i = 0; i < f->row.n; i++)
    if (f->row.v[i].family == family && rival[i] > 0) f->scrap[n++] = rival[i];
  return n < ENOUGH ? otherwise : fmax(HIDDEN * stats_quantile(f->scrap, n, 0.98), SLACK_LEAST);
}

/* Of the guesses as they are, made by fits that had not seen the problems. */
static bool find_errors(struct fit *f, bool here, struct prior *p) {
  double *error = ARENA_NEW(&f->arena, double, f->row.n + 1);
  double *above = ARENA_NEW(&f->arena, double, f->row.n + 1);
  double *rival = ARENA_NEW(&f->arena, double, f->row.n + 1);
  size_t n = 0, nrival = 0;
  if (!error || !above || !rival) return false;
  for (size_t i = 0; i < f->row.n; i++) {
    const struct row *r = &f->row.v[i];
    if (r->here != here) continue;
    above[n] = r->guess / r->ns;
    error[n] = fabs(above[n] - 1);
    n++;
    rival[i] = above_rival(f, i);
  }
  if (n >= FEW) {
    p->median_error = stats_quantile(error, n, 0.5);
    p->high_error = stats_quantile(error, n, 0.9);
    p->above = fmax(HIDDEN * stats_quantile(above, n, 0.98), SLACK_LEAST);
  }
  for (int i = 0; i < p->nfamily; i++)
    p->family[i].slack = family_slack(f, i, rival, p->family[i].slack);
  for (size_t i = 0; i < f->row.n; i++)
    if (rival[i] > 0) f->scrap[nrival++] = rival[i];
  if (nrival >= FEW) p->above_rival = fmax(stats_quantile(f->scrap, nrival, 0.98), 1);
  return true;
}

static void cross_validate(struct fit *f, bool here, const double *anchor, double *kept) {
  for (int fold = 0; fold < FOLDS; fold++) {
    double ns[PRIOR_KEYS];
    for (int k = 0; k < PRIOR_KEYS; k++) ns[k] = anchor[k];
    fit_rows(f, here, fold, ns);
    for (size_t i = 0; i < f->row.n; i++)
      if ((int)(f->row.v[i].problem % FOLDS) == fold) kept[i] = f->row.v[i].guess;
  }
  for (size_t i = 0; i < f->row.n; i++) f->row.v[i].guess = kept[i];
}

static void count_rows(const struct fit *f, struct prior *p) {
  p->runs = (int)f->row.n;
  p->problems = 0;
  for (size_t i = 0; i < f->row.n; i++)
    p->problems += i == 0 || f->row.v[i].problem != f->row.v[i - 1].problem;
}

enum fvm_status prior_fit(struct prior *p, struct db *db, int64_t machine, int64_t build,
                          struct fvm_error *err) {
  struct fit f = {.prior = p};
  bool here = false, elsewhere = false;
  prior_init(p, p->gflops, p->gbytes);
  enum fvm_status st = db_runs(db, machine, build, add_row, &f, err);
  if (!st && !index_keys(&f)) st = fvm_nomem(err);
  for (size_t i = 0; i < f.row.n; i++) *(f.row.v[i].here ? &here : &elsewhere) = true;
  count_rows(&f, p);
  double *kept = ARENA_NEW(&f.arena, double, f.row.n + 1);
  f.scrap = ARENA_NEW(&f.arena, double, f.row.n + 1);
  if (!st && !(kept && f.scrap)) st = fvm_nomem(err);
  for (int pass = 0; pass < 2 && !st; pass++) { /* others, then this one */
    if (!(pass ? here : elsewhere)) continue;
    cross_validate(&f, pass, p->ns, kept);
    if (!find_errors(&f, pass, p)) st = fvm_nomem(err);
    fit_rows(&f, pass, -1, p->ns);
  }
  VEC_FREE(&f.row);
  VEC_FREE(&f.term);
  arena_free(&f.arena);
  return st;
}
