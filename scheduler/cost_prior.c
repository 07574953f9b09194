/* Costs by the prior: of labels that were not measured here, by this build, but whose work is known
 * from profiling. Others are left to the source behind it. */
#include "cost.h"
#include "prior.h"
#include "states.h"

struct guessed {
  struct cost cost;
  struct prior prior;
  struct db *db;
  const struct states *states;
};

/* A lookup that fails counts as not known: the fallback answers. */
static int64_t guess(const struct guessed *s, enum data_state state, uint64_t problem,
                     struct text *label) {
  struct arena a = {0};
  struct prior_work w;
  const char *work = NULL;
  int64_t ns = COST_UNKNOWN;
  if (!label->failed && !db_get_work(s->db, problem, label->v, &a, &work, NULL) && work &&
      prior_work_parse(work, &w))
    ns = (int64_t)MIN(prior_ns(&s->prior, &w, state, label->v), 1e17);
  arena_free(&a);
  text_free(label);
  return ns;
}

static int64_t guessed_node(struct cost *c, const struct opcall *call, const struct label *l) {
  const struct guessed *s = (const struct guessed *)c;
  struct text label = {0};
  uint64_t problem = opcall_hash(call);
  label_text(call, l, &label);
  return guess(s, states_of(s->states, problem), problem, &label);
}

static int64_t guessed_convert(struct cost *c, const struct tensor *t, enum layout from,
                               enum layout to, int threads) {
  const struct guessed *s = (const struct guessed *)c;
  struct text label = {0};
  convert_label(threads, &label);
  return guess(s, states_convert(s->states, t), convert_hash(t, from, to), &label);
}

static void guessed_free(struct cost *c) { fvm_free(c, 1, sizeof(struct guessed)); }

enum fvm_status cost_prior_new(struct db *db, int64_t machine_id, const struct states *states,
                               struct cost *fallback, struct cost **cost, struct fvm_error *err) {
  bool found = false;
  struct guessed *s = fvm_alloc(1, sizeof *s);
  *cost = fallback;
  if (!s) return fvm_nomem(err);
  *s = (struct guessed){{.node = guessed_node, .convert = guessed_convert}, .db = db};
  s->states = states;
  s->cost.free = guessed_free;
  s->cost.name = "prior";
  s->cost.fallback = fallback;
  enum fvm_status st = prior_load(&s->prior, db, machine_id, &found, err);
  if (st || !found)
    guessed_free(&s->cost);
  else
    *cost = &s->cost;
  return st;
}
