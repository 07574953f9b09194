/* Work of programs, and what the model makes of it. Contract: prior.h; the fit: prior_fit.c. */
#include "prior.h"

#include <stdlib.h>
#include <string.h>

#include "../vm/interp.h"
#include "prior_impl.h"

static const char *const names[] = {"l1",        "l2",         "l1_team",    "l2_team", "data",
                                    "data_team", "const",      "const_team", "cold",    "cold_team",
                                    "start",     "start_team", "meet"};
_Static_assert(COUNT(names) == PRIOR_KEYS - PRIOR_L1, "a name for each key");

/* ---- work ---- */

static void add(struct prior_work *w, int key, double v) {
  if (v > 0 && w->n < PRIOR_MAXTERM) w->term[w->n++] = (struct prior_term){key, v};
}

static bool is_const(const struct opcall *c, uint32_t buf) {
  return c && buf < (uint32_t)c->nin && c->in[buf].data;
}

enum fvm_status prior_work(const struct opcall *c, const struct program *p, int threads,
                           const struct target *t, struct prior_work *w, struct fvm_error *err) {
  const int64_t levels[VCOUNT_LEVELS] = {t->l1_bytes, t->l2_bytes, 0};
  int team = threads > 1;
  int64_t weights = 0, data = 0;
  struct load *l = fvm_alloc(1, sizeof *l);
  if (!l) return fvm_nomem(err);
  *w = (struct prior_work){0};
  enum fvm_status st = interp_load(p, threads, levels, l, err);
  for (uint32_t i = 0; i < p->nbuf; i++) *(is_const(c, i) ? &weights : &data) += l->first[i];
  add(w, PRIOR_START, 1);
  add(w, PRIOR_START_TEAM, team);
  add(w, PRIOR_MEET, team ? (double)l->pars : 0);
  add(w, PRIOR_L1 + 2 * team, (double)l->miss[0]);
  add(w, PRIOR_L2 + 2 * team, (double)l->miss[1]);
  add(w, PRIOR_DATA + team, (double)data);
  add(w, PRIOR_CONST + team, (double)weights);
  for (int u = 0; u < UKR_COUNT; u++) {
    add(w, u, (double)l->flops[u]);
    add(w, UKR_COUNT + u, (double)l->calls[u]);
  }
  fvm_free(l, 1, sizeof *l);
  return st;
}

void prior_key_text(int key, struct text *out) {
  if (key >= PRIOR_L1)
    text_printf(out, "%s", names[key - PRIOR_L1]);
  else
    text_printf(out, "%c.%s", key < UKR_COUNT ? 'f' : 'c',
                ukr_sig((enum ukr_id)(key % UKR_COUNT))->name);
}

int prior_key_parse(const char *s, size_t n) {
  for (size_t i = 0; i < COUNT(names); i++)
    if (strlen(names[i]) == n && !memcmp(s, names[i], n)) return PRIOR_L1 + (int)i;
  if (n < 3 || s[1] != '.' || (*s != 'f' && *s != 'c')) return -1;
  enum ukr_id u = ukr_find(s + 2, n - 2);
  return u == UKR_COUNT ? -1 : *s == 'f' ? (int)u : UKR_COUNT + (int)u;
}

void prior_work_text(const struct prior_work *w, struct text *out) {
  for (int i = 0; i < w->n; i++) {
    if (i) text_printf(out, " ");
    prior_key_text(w->term[i].key, out);
    text_printf(out, "=%.0f", w->term[i].v);
  }
}

bool prior_work_parse(const char *s, struct prior_work *w) {
  *w = (struct prior_work){0};
  while (*s) {
    size_t n = strcspn(s, "=");
    char *end;
    int key = prior_key_parse(s, n);
    if (key < 0 || s[n] != '=' || w->n == PRIOR_MAXTERM) return false;
    w->term[w->n++] = (struct prior_term){key, strtod(s + n + 1, &end)};
    if (end == s + n + 1 || (*end && *end != ' ')) return false;
    s = end + (*end == ' ');
  }
  return w->n > 0;
}

/* ---- the model ---- */

/* Orders of magnitude, from which a fit starts: micro-kernels for products come near the peak,
 * others are a vector instruction or more for an element; what is in a cache comes a few times
 * faster than from memory; a team shares that, and takes about a microsecond to wake and to meet.
 */
void prior_init(struct prior *p, double gflops, double gbytes) {
  const double rest[] = {0.25 / gbytes, 0.5 / gbytes, 0.25 / gbytes, 0.5 / gbytes, 0.3 / gbytes,
                         0.4 / gbytes,  0.5 / gbytes, 0.7 / gbytes,  1 / gbytes,   1.4 / gbytes,
                         300,           1000,         1000};
  _Static_assert(COUNT(rest) == COUNT(names), "one for each key");
  *p = (struct prior){.gflops = gflops,
                      .gbytes = gbytes,
                      .median_error = 0.5,
                      .high_error = 2,
                      .above = 2.5,
                      .above_rival = PRIOR_SLACK};
  for (int u = 0; u < UKR_COUNT; u++) {
    bool product = !strncmp(ukr_sig((enum ukr_id)u)->name, "gemm", 4);
    p->ns[u] = (product ? 1.2 : 6) / gflops;
    p->ns[UKR_COUNT + u] = 15;
  }
  memcpy(p->ns + PRIOR_L1, rest, sizeof rest);
}

bool prior_is_cold(enum data_state s) { return s == COLD || s == COLD_FAR; }

int prior_key(const struct prior_term *t, enum data_state state) {
  bool weights = t->key == PRIOR_CONST || t->key == PRIOR_CONST_TEAM;
  return weights && prior_is_cold(state) ? t->key + PRIOR_CONST_COLD - PRIOR_CONST : t->key;
}

bool prior_is_team(const struct prior_work *w) {
  for (int i = 0; i < w->n; i++)
    if (w->term[i].key == PRIOR_START_TEAM) return true;
  return false;
}

int prior_family_of(struct prior *p, const char *label, bool make) {
  size_t n = strcspn(label, " =");
  if (n == 0 || n >= sizeof p->family[0].name) return -1;
  for (int i = 0; i < p->nfamily; i++)
    if (!strncmp(p->family[i].name, label, n) && !p->family[i].name[n]) return i;
  if (!make || p->nfamily == PRIOR_FAMILIES) return -1;
  struct prior_family *f = &p->family[p->nfamily];
  *f = (struct prior_family){.factor = {1, 1}, .slack = PRIOR_SLACK};
  memcpy(f->name, label, n);
  return p->nfamily++;
}

double prior_ns(const struct prior *p, const struct prior_work *w, enum data_state state,
                const char *label) {
  double sum = 0;
  int f = prior_family_of((struct prior *)p, label, false);
  for (int i = 0; i < w->n; i++) sum += w->term[i].v * p->ns[prior_key(&w->term[i], state)];
  return MAX(f < 0 ? sum : sum * p->family[f].factor[prior_is_team(w)], 1);
}

double prior_slack(const struct prior *p, const char *label) {
  int f = prior_family_of((struct prior *)p, label, false);
  return f < 0 ? PRIOR_SLACK : p->family[f].slack;
}

/* ---- in the database ---- */

enum fvm_status prior_store(const struct prior *p, struct db *db, int64_t machine,
                            struct fvm_error *err) {
  struct text t = {0};
  for (int i = 0; i < PRIOR_KEYS; i++) {
    if (i) text_printf(&t, " ");
    prior_key_text(i, &t);
    text_printf(&t, "=%.9g", p->ns[i]);
  }
  for (int i = 0; i < p->nfamily; i++)
    text_printf(&t, " one.%s=%.9g team.%s=%.9g slack.%s=%.9g", p->family[i].name,
                p->family[i].factor[0], p->family[i].name, p->family[i].factor[1],
                p->family[i].name, p->family[i].slack);
  const struct db_prior row = {.gflops = p->gflops,
                               .gbytes = p->gbytes,
                               .runs = p->runs,
                               .problems = p->problems,
                               .median_error = p->median_error,
                               .high_error = p->high_error,
                               .above = p->above,
                               .above_rival = p->above_rival,
                               .terms = t.v};
  enum fvm_status st = t.failed ? fvm_nomem(err) : db_put_prior(db, machine, &row, err);
  text_free(&t);
  return st;
}

/* one.NAME, team.NAME, slack.NAME. */
static void read_family(struct prior *p, const char *s, double v) {
  const char *name = strchr(s, '.');
  int f = name ? prior_family_of(p, name + 1, true) : -1;
  if (f < 0) return;
  if (*s == 's')
    p->family[f].slack = v;
  else
    p->family[f].factor[*s == 't'] = v;
}

/* Kernels that the text does not know keep what the analytic model says. */
static void read_terms(struct prior *p, const char *s) {
  while (*s) {
    size_t n = strcspn(s, "=");
    char *end;
    if (!s[n]) return;
    int key = prior_key_parse(s, n);
    double v = strtod(s + n + 1, &end);
    if (key >= 0)
      p->ns[key] = v;
    else
      read_family(p, s, v);
    s = end + strspn(end, " ");
    if (end == s && *s) return;
  }
}

enum fvm_status prior_load(struct prior *p, struct db *db, int64_t machine, bool *found,
                           struct fvm_error *err) {
  struct arena a = {0};
  struct db_prior row;
  enum fvm_status st = db_get_prior(db, machine, &a, &row, found, err);
  if (!st && *found) {
    prior_init(p, row.gflops, row.gbytes);
    read_terms(p, row.terms);
    p->runs = (int)row.runs;
    p->problems = (int)row.problems;
    p->median_error = row.median_error;
    p->high_error = row.high_error;
    p->above = row.above;
    p->above_rival = row.above_rival;
  }
  arena_free(&a);
  return st;
}
