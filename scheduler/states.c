/* States of a graph's problems, from its sizes alone, since they are asked for before there is a
 * plan. The picture is a stack: a step's inputs lie at the bottom of the arena, its output on top
 * of them.
 *
 *   height                  ____
 *     |   ____             |out |        Who wrote last at the height of this output? The last step
 *     |  |    |  ..  ____  |____|  <- ?  that had as much alive; what was read since has passed
 *     |__|____|_____|____|_|_in_|_       through the caches.
 *        step       step   step
 *
 * That was held to the places and distances in the plans of SqueezeNet, GoogLeNet and MobileNetV2:
 * right for the steps at which most is alive, of which the first ones of a network take the most
 * time. Large convolutional networks have a few outputs of megabytes that only the first steps
 * reach, and in the second run such places are as far away as the weights are. */
#include "states.h"

#include <stdlib.h>
#include <string.h>

#include "chains.h"

/* A problem as it is used once. */
struct use {
  uint64_t hash;
  bool far;
};
struct step {
  int64_t in, out, constants; /* bytes */
};
struct walk {
  struct arena arena;
  const struct graph *g;
  const struct target *target;
  const int *first; /* of chains */
  struct step *step;
  int *node; /* of each step */
  int n;
  struct caches caches;
};
struct finder {
  int64_t run_bytes; /* of the first form */
  VEC(struct use) use;
};

/* ---- sizes ---- */

/* Winograd's candidates store a dense kernel of 3 x 3 in 16/9, 4 or 64/9 of its bytes. */
static int64_t stored_bytes(const struct node *n, int in, const struct tensor *t) {
  enum { DENSE_3X3 = 3 };
  bool kernel = in == 1 && t->rank == 4 && t->dim[2] == 3 && t->dim[3] == 3 && t->dim[1] > 1;
  return tensor_bytes(t) * (kernel && !strcmp(n->op->name, "Conv") ? DENSE_3X3 : 1);
}

/* A graph's inputs are the caller's, who has just written them, and no part of the arena. */
static struct step size_of(const struct graph *g, int node) {
  const struct node *n = &g->node.v[node];
  struct step s = {0};
  for (int k = 0; k < (int)n->in.n; k++) {
    if (n->in.v[k] < 0) continue;
    const struct gtensor *t = &g->tensor.v[n->in.v[k]];
    if (!t->t.data && !t->is_input) s.in += tensor_bytes(&t->t);
    if (t->t.data && !node_picks_rows(n, k)) s.constants += stored_bytes(n, k, &t->t);
  }
  for (size_t k = 0; k < n->out.n; k++)
    if (n->out.v[k] >= 0) s.out += tensor_bytes(&g->tensor.v[n->out.v[k]].t);
  return s;
}

static bool is_view(const struct opcall *c, const struct target *t) {
  struct label l;
  return opcall_label(c, t, 0, &l) && l.view;
}

static enum fvm_status read_graph(struct walk *w, const struct graph *g, const struct target *t,
                                  struct fvm_error *err) {
  enum fvm_status st = FVM_OK;
  w->g = g;
  w->target = t;
  w->caches = measure_caches(t);
  w->first = chains_find(g, t, &w->arena);
  w->step = ARENA_NEW(&w->arena, struct step, MAX(g->node.n, 1));
  w->node = ARENA_NEW(&w->arena, int, MAX(g->node.n, 1));
  if (!w->first || !w->step || !w->node) return fvm_nomem(err);
  for (int i = 0; i < (int)g->node.n && !st; i++) {
    struct opcall c;
    if (g->node.v[i].dead) continue;
    st = graph_opcall(g, i, &w->arena, &c, err);
    if (st || is_view(&c, t)) continue;
    w->node[w->n] = i;
    w->step[w->n++] = size_of(g, i);
  }
  return st;
}

static int64_t height(const struct step *s) { return s->in + s->out; }

static int64_t run_bytes(const struct walk *w) {
  int64_t constants = 0, arena = 0;
  for (int i = 0; i < w->n; i++) {
    constants += w->step[i].constants;
    arena = MAX(arena, height(&w->step[i]));
  }
  return constants + arena;
}

/* ---- distances ---- */

/* Bytes that pass between step `at` and the last step before it that reached a height; the whole
 * run when no other does. */
static int64_t since(const struct walk *w, int at, int64_t reach) {
  int64_t constants = 0, arena = 0;
  for (int k = 1; k < w->n; k++) {
    const struct step *s = &w->step[(at - k + w->n) % w->n];
    if (height(s) >= reach) break;
    constants += s->constants;
    arena = MAX(arena, height(s));
  }
  return constants + arena;
}

/* Use of a problem whose output of `out` bytes lies on top of `in` bytes: the middle of it counts.
 */
static bool add_use(struct finder *f, const struct walk *w, int at, uint64_t hash, int64_t in,
                    int64_t out) {
  int64_t bytes = since(w, at, in + out / 2);
  struct use u = {hash, measure_far(f->run_bytes, bytes, &w->caches)};
  return VEC_PUSH(&f->use, u);
}

static enum fvm_status add_opcall(struct finder *f, struct walk *w, int at, int first,
                                  struct fvm_error *err) {
  struct opcall c;
  enum fvm_status st = chains_opcall(w->g, first, w->node[at], &w->arena, &c, err);
  if (st) return st;
  int64_t in = first < 0 ? w->step[at].in : size_of(w->g, first).in;
  return add_use(f, w, at, opcall_hash(&c), in, w->step[at].out) ? FVM_OK : fvm_nomem(err);
}

static uint64_t convert_key(const struct tensor *t) {
  return convert_hash(t, LAYOUT_ROW, LAYOUT_ROW);
}

/* The step by itself, in a chain, and conversions of what it makes. */
static enum fvm_status add_step(struct finder *f, struct walk *w, int at, struct fvm_error *err) {
  const struct node *n = &w->g->node.v[w->node[at]];
  int first = w->first[w->node[at]];
  enum fvm_status st = add_opcall(f, w, at, -1, err);
  if (!st && first >= 0) st = add_opcall(f, w, at, first, err);
  for (size_t k = 0; k < n->out.n && !st; k++) {
    if (n->out.v[k] < 0) continue;
    const struct tensor *t = &w->g->tensor.v[n->out.v[k]].t;
    int64_t bytes = tensor_bytes(t);
    if (!add_use(f, w, (at + 1) % w->n, convert_key(t), bytes, bytes)) st = fvm_nomem(err);
  }
  return st;
}

/* ---- all problems ---- */

static int by_hash(const void *a, const void *b) {
  const struct use *x = a, *y = b;
  if (x->hash != y->hash) return x->hash < y->hash ? -1 : 1;
  return (int)x->far - (int)y->far;
}

/* A problem with several uses is far when all of them are. */
static enum fvm_status keep_far(struct states *s, struct finder *f, struct fvm_error *err) {
  if (f->use.n) qsort(f->use.v, f->use.n, sizeof *f->use.v, by_hash);
  for (size_t i = 0; i < f->use.n; i++) {
    const struct use *u = &f->use.v[i];
    bool known = i > 0 && u[-1].hash == u->hash;
    if (u->far && !known && !VEC_PUSH(&s->far_problem, u->hash)) return fvm_nomem(err);
  }
  return FVM_OK;
}

static enum fvm_status add_form(struct finder *f, const struct graph *g, const struct target *t,
                                struct fvm_error *err) {
  struct walk w = {0};
  enum fvm_status st = read_graph(&w, g, t, err);
  if (!f->run_bytes) f->run_bytes = run_bytes(&w);
  for (int k = 0; k < w.n && !st; k++) st = add_step(f, &w, k, err);
  arena_free(&w.arena);
  return st;
}

enum fvm_status states_make(struct states *s, const struct graph *g, const struct target *t,
                            struct fvm_error *err) {
  const struct caches caches = measure_caches(t);
  struct finder f = {0};
  *s = (struct states){0};
  enum fvm_status st = add_form(&f, g, t, err);
  if (!st && g->other) st = add_form(&f, g->other, t, err);
  if (!st) st = keep_far(s, &f, err);
  s->near = measure_state(f.run_bytes, false, &caches);
  s->far = measure_state(f.run_bytes, true, &caches);
  VEC_FREE(&f.use);
  if (st) states_free(s);
  return st;
}

void states_free(struct states *s) { VEC_FREE(&s->far_problem); }

enum data_state states_of(const struct states *s, uint64_t problem_hash) {
  size_t low = 0, high = s->far_problem.n;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (s->far_problem.v[middle] < problem_hash)
      low = middle + 1;
    else
      high = middle;
  }
  return low < s->far_problem.n && s->far_problem.v[low] == problem_hash ? s->far : s->near;
}

enum data_state states_convert(const struct states *s, const struct tensor *t) {
  return states_of(s, convert_key(t));
}
