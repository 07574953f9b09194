/* The reference's outputs of a graph, and a plan's distance to them. Contract: accuracy.h. */
#include "accuracy.h"

#include <math.h>
#include <string.h>

#include "../vm/elem.h"
#include "../vm/npy.h"
#include "../vm/plan.h"

enum {
  VERSION = 1,      /* changes with the inputs that are made */
  HASHED = 64 << 10 /* bytes of each constant that enter the key */
};

static const struct tensor *output(const struct graph *g, size_t i) {
  return &g->tensor.v[g->output.v[i]].t;
}
static size_t room(const struct tensor *t) { return (size_t)MAX(tensor_bytes(t), 1); }

/* Seeded values for all inputs of the graph; the arena's. NULL when memory is out. */
static void **make_inputs(const struct graph *g, struct arena *a) {
  void **in = ARENA_NEW(a, void *, MAX(g->input.n, 1));
  for (size_t i = 0; in && i < g->input.n; i++) {
    const struct tensor *t = &g->tensor.v[g->input.v[i]].t;
    in[i] = arena_alloc(a, room(t), 1);
    if (!in[i]) return NULL;
    npy_make((int)i, t->dtype, (size_t)tensor_bytes(t), in[i]);
  }
  return in;
}

static enum fvm_status make_outputs(const struct graph *g, struct expected *x,
                                    struct fvm_error *err) {
  *x = (struct expected){g, fvm_alloc(MAX(g->output.n, 1), sizeof *x->out)};
  for (size_t i = 0; x->out && i < g->output.n; i++)
    if (!(x->out[i] = fvm_alloc(room(output(g, i)), 1))) return fvm_nomem(err);
  return x->out ? FVM_OK : fvm_nomem(err);
}

void expected_free(struct expected *x) {
  for (size_t i = 0; x->out && i < x->g->output.n; i++)
    fvm_free(x->out[i], room(output(x->g, i)), 1);
  if (x->out) fvm_free(x->out, MAX(x->g->output.n, 1), sizeof *x->out);
  *x = (struct expected){0};
}

enum fvm_status expected_compute(const struct graph *g, volatile const int *interrupted,
                                 struct expected *x, struct fvm_error *err) {
  struct arena a = {0};
  void **in = make_inputs(g, &a);
  enum fvm_status st = make_outputs(g, x, err);
  if (!st && !in) st = fvm_nomem(err);
  if (!st) st = graph_reference_until(g, (const void *const *)in, x->out, interrupted, err);
  arena_free(&a);
  return st;
}

/* ---- in the database ---- */

/* The model file may name weights in other files, so the beginnings of all constants enter too. */
static enum fvm_status key_of(const struct graph *g, uint64_t *key, struct fvm_error *err) {
  enum fvm_status st = FVM_OK;
  *key = fvm_hash(&g->model_hash, sizeof g->model_hash, VERSION);
  for (int i = 0; i < (int)g->node.n && !st; i++) {
    struct arena a = {0};
    struct opcall c;
    if (g->node.v[i].dead) continue;
    st = graph_opcall(g, i, &a, &c, err);
    uint64_t hash = st ? 0 : opcall_hash(&c);
    *key = fvm_hash(&hash, sizeof hash, *key);
    arena_free(&a);
  }
  for (size_t i = 0; i < g->tensor.n; i++) {
    const struct tensor *t = &g->tensor.v[i].t;
    if (t->data) *key = fvm_hash(t->data, (size_t)MIN(tensor_bytes(t), HASHED), *key);
  }
  return st;
}

enum fvm_status expected_load(struct db *db, const struct graph *g, struct expected *x, bool *found,
                              struct fvm_error *err) {
  uint64_t key;
  enum fvm_status st = make_outputs(g, x, err);
  *found = true;
  if (!st) st = key_of(g, &key, err);
  for (size_t i = 0; i < g->output.n && !st && *found; i++)
    st = db_expected(db, key, (int)i, x->out[i], (size_t)tensor_bytes(output(g, i)), found, err);
  return st;
}

enum fvm_status expected_store(struct db *db, const struct expected *x, struct fvm_error *err) {
  uint64_t key;
  enum fvm_status st = key_of(x->g, &key, err);
  for (size_t i = 0; i < x->g->output.n && !st; i++)
    st = db_expect(db, key, (int)i, x->out[i], (size_t)tensor_bytes(output(x->g, i)), err);
  return st;
}

/* ---- a plan's distance ---- */

static double difference(const struct tensor *t, const void *got, const void *want) {
  double largest = 0, most = 0;
  for (int64_t i = 0; i < tensor_count(t); i++) {
    double g = elem_f64(got, t->dtype, i), w = elem_f64(want, t->dtype, i);
    if (isfinite(w)) largest = fmax(largest, fabs(w));
    if (g == w || (isnan(g) && isnan(w))) continue;
    most = isfinite(g) && isfinite(w) ? fmax(most, fabs(g - w)) : INFINITY;
    if (most >= INFINITY) return INFINITY;
  }
  return most == 0 ? 0 : largest > 0 ? most / largest : INFINITY;
}

/* Values lie as the plan wants them: those of states are packed. */
static enum fvm_status bind(struct fvm_instance *in, const struct fvm_plan *p,
                            const struct graph *g, struct arena *a, void *const *input,
                            void *const *got, struct fvm_error *err) {
  enum fvm_status st = FVM_OK;
  for (size_t i = 0; i < g->input.n && !st; i++) {
    const struct tensor *t = &g->tensor.v[g->input.v[i]].t;
    void *packed = arena_alloc(a, room(t), 1);
    if (!packed) return fvm_nomem(err);
    fvm_pack(fvm_input(p, (int)i), input[i], packed);
    st = fvm_bind_input(in, (int)i, packed, (size_t)tensor_bytes(t), err);
  }
  for (size_t i = 0; i < g->output.n && !st; i++)
    st = fvm_bind_output(in, (int)i, got[i], (size_t)tensor_bytes(output(g, i)), err);
  return st;
}

/* The largest difference of any output. */
static enum fvm_status largest_difference(const struct fvm_plan *p, const struct expected *want,
                                          const struct expected *got, struct arena *a,
                                          double *error, struct fvm_error *err) {
  *error = 0;
  for (size_t i = 0; i < want->g->output.n; i++) {
    const struct tensor *t = output(want->g, i);
    void *dense = arena_alloc(a, room(t), 1);
    if (!dense) return fvm_nomem(err);
    fvm_unpack(fvm_output(p, (int)i), got->out[i], dense);
    *error = fmax(*error, difference(t, dense, want->out[i]));
  }
  return FVM_OK;
}

enum fvm_status plan_error(const struct fvm_plan *p, const struct expected *x, double *error,
                           struct fvm_error *err) {
  struct arena a = {0};
  struct expected got = {0};
  struct fvm_instance *in = NULL;
  void **input = make_inputs(x->g, &a);
  enum fvm_status st = input ? make_outputs(x->g, &got, err) : fvm_nomem(err);
  if (!st) st = fvm_open(p, 0, NULL, &in, err);
  if (!st) st = bind(in, p, x->g, &a, input, got.out, err);
  if (!st) st = fvm_run(in, err);
  if (!st) st = largest_difference(p, x, &got, &a, error, err);
  fvm_close(in);
  expected_free(&got);
  arena_free(&a);
  return st;
}
