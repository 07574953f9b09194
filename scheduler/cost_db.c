/* Costs from the database of measurements. The only file of the scheduler that knows it. */
#include "cost.h"

#include "../profiles/db.h"
#include "states.h"

struct stored {
  struct cost cost;
  struct db *db;
  int64_t machine, build;
  const struct states *states;
};

/* A label that lost a race was right and has a time. A noisy one is right too, and not slower than
 * its time: better than what the fallback could guess. One that failed must not be used. A lookup
 * that fails counts as not known: the fallback answers. */
static int64_t judge(const struct db_known *k) {
  switch (k->outcome) {
  case OUTCOME_OK:
  case OUTCOME_LOST:
  case OUTCOME_NOISY:
    return k->ns > 0 ? k->ns : COST_UNKNOWN;
  default:
    return COST_FORBIDDEN;
  }
}

static bool find(struct cost *c, enum data_state state, uint64_t problem, struct text *label,
                 struct db_known *k) {
  const struct stored *s = (const struct stored *)c;
  bool found = false;
  bool ok = !label->failed &&
            !db_lookup(s->db, s->machine, s->build, state, problem, label->v, k, &found, NULL);
  text_free(label);
  return ok && found;
}

static int64_t lookup(struct cost *c, enum data_state state, uint64_t problem, struct text *label) {
  struct db_known k;
  return find(c, state, problem, label, &k) ? judge(&k) : COST_UNKNOWN;
}

static const struct states *states(const struct cost *c) {
  return ((const struct stored *)c)->states;
}

static int64_t stored_node(struct cost *c, const struct opcall *call, const struct label *l) {
  struct text label = {0};
  uint64_t problem = opcall_hash(call);
  label_text(call, l, &label);
  return cost_charged(lookup(c, states_of(states(c), problem), problem, &label), call, l);
}

static int64_t stored_convert(struct cost *c, const struct tensor *t, enum layout from,
                              enum layout to, int threads) {
  struct text label = {0};
  convert_label(threads, &label);
  return lookup(c, states_convert(states(c), t), convert_hash(t, from, to), &label);
}

static double stored_error(struct cost *c, const struct opcall *call, const struct label *l) {
  struct text label = {0};
  struct db_known k;
  uint64_t problem = opcall_hash(call);
  label_text(call, l, &label);
  return find(c, states_of(states(c), problem), problem, &label, &k) ? k.error : -1;
}

static void stored_free(struct cost *c) { fvm_free(c, 1, sizeof(struct stored)); }

struct cost *cost_db_new(struct db *db, int64_t machine_id, int64_t build_id,
                         const struct states *states, struct cost *fallback,
                         struct fvm_error *err) {
  struct stored *s = fvm_alloc(1, sizeof *s);
  if (!s) {
    fvm_nomem(err);
    return NULL;
  }
  *s = (struct stored){{.node = stored_node, .convert = stored_convert, .error = stored_error},
                       db,
                       machine_id,
                       build_id,
                       states};
  s->cost.free = stored_free;
  s->cost.name = "database";
  s->cost.measured = true;
  s->cost.fallback = fallback;
  return &s->cost;
}
