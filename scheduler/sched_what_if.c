/* Labels solved again. Contract: what_if.h. */
#include "sched.h"
#include "what_if.h"

#include <string.h>

struct what_if {
  struct sched w;
  struct plan_options o;
  bool limited; /* the network alone does not tell */
  int64_t ns;   /* as it is */
};

static enum fvm_status open_limited(struct what_if *x, struct fvm_error *err) {
  struct schedule *s;
  enum fvm_status st = sched_form(x->w.g, x->w.cost, &x->o, &s, err);
  if (st) return st;
  x->ns = s->cost_ns;
  schedule_free(s);
  return FVM_OK;
}

static enum fvm_status open_network(struct what_if *x) {
  enum fvm_status st = sched_labels(&x->w);
  x->ns = x->w.s->layout_cost_ns;
  return st;
}

enum fvm_status what_if_open(const struct graph *form, struct cost *cost,
                             const struct plan_options *o, struct what_if **x,
                             struct fvm_error *err) {
  struct what_if *new = *x = fvm_alloc(1, sizeof *new);
  if (!new) return fvm_nomem(err);
  new->o = *o;
  new->o.phases = NULL;
  new->o.latency_ns = 0;
  new->limited = o->memory || o->arena || o->policy != POLICY_exact;
  enum fvm_status st = sched_open(&new->w, form, cost, &new->o, err);
  if (!st) st = new->limited ? open_limited(new, err) : open_network(new);
  if (st) {
    what_if_close(new);
    *x = NULL;
  }
  return st;
}

void what_if_close(struct what_if *x) {
  if (!x) return;
  schedule_free(x->w.s);
  sched_close(&x->w);
  fvm_free(x, 1, sizeof *x);
}

/* No plan is an answer. */
static enum fvm_status answer(const struct what_if *x, enum fvm_status st, int64_t ns,
                              int64_t *more) {
  *more = st ? WHAT_IF_NONE : ns - x->ns;
  return st == FVM_ENOMEM ? st : FVM_OK;
}

/* ---- within limits ---- */

/* The pins, as they are or all but one. The caller frees the list alone. */
static bool copy_pins(const struct what_if *x, size_t but, const char *except, struct pins *new) {
  const struct pins *old = x->o.pins;
  *new = (struct pins){.path = old ? old->path : ""};
  for (size_t i = 0; old && i < old->pin.n; i++) {
    struct pin p = old->pin.v[i];
    if (except) p.except = except;
    if (i != but && !VEC_PUSH(&new->pin, p)) return false;
  }
  return true;
}

static enum fvm_status plan_anew(struct what_if *x, const struct pins *pins, int64_t *more,
                                 struct fvm_error *err) {
  struct plan_options o = x->o;
  struct schedule *s;
  o.pins = pins;
  enum fvm_status st = sched_form(x->w.g, x->w.cost, &o, &s, err);
  st = answer(x, st, st ? 0 : s->cost_ns, more);
  schedule_free(s);
  return st;
}

static enum fvm_status force_anew(struct what_if *x, const int *node, int n, const char *label,
                                  int64_t *more, struct fvm_error *err) {
  struct pins pins;
  bool ok = copy_pins(x, SIZE_MAX, n == 1 ? x->w.g->node.v[node[0]].name : NULL, &pins);
  for (int i = 0; ok && label && i < n; i++) {
    struct pin p = {.exact = x->w.g->node.v[node[i]].name, .label = label, .layout = LAYOUT_COUNT};
    ok = VEC_PUSH(&pins.pin, p);
  }
  enum fvm_status st = ok ? plan_anew(x, &pins, more, err) : fvm_nomem(err);
  VEC_FREE(&pins.pin);
  return st;
}

/* ---- the network alone ---- */

/* Which pins are taken away for a question: one, or all on a node. */
struct without {
  const struct pin *pin;
  int node;
};

/* Solve with other menus on some nodes, for a while; where pins are taken away, chains may be what
 * is found. *found: of the first node, for as long as w. */
static enum fvm_status solve_with(struct what_if *x, const int *node, int n,
                                  const struct menu *const *menu, const struct without *without,
                                  int64_t *more, const struct choice **found) {
  struct sched *w = &x->w;
  struct sched_node *kept = ARENA_NEW(&w->a, struct sched_node, w->g->node.n);
  if (!kept) return fvm_nomem(w->err);
  memcpy(kept, w->node, w->g->node.n * sizeof *kept);
  for (int i = 0; i < n; i++) w->node[node[i]].menu = menu[i];
  enum fvm_status st = without ? sched_chain_menus(w, without->pin, without->node) : FVM_OK;
  if (!st) st = sched_choose(w);
  st = answer(x, st, w->s->layout_cost_ns, more);
  if (n) *found = &w->node[node[0]].menu->choice[w->node[node[0]].choice];
  memcpy(w->node, kept, w->g->node.n * sizeof *kept);
  return st;
}

/* The nodes' menus under one pin, or under none; FVM_EFAIL: one of them is empty. */
static enum fvm_status find_menus(struct what_if *x, const int *node, int n, const struct pin *pin,
                                  const struct menu **menu) {
  struct sched *w = &x->w;
  for (int i = 0; i < n; i++) {
    const struct pin **list = ARENA_NEW(&w->a, const struct pin *, 1);
    if (!list) return fvm_nomem(w->err);
    *list = pin;
    menu[i] = sched_menu(w, -1, node[i], &w->node[node[i]].call, list, pin ? 1 : 0);
    if (!menu[i]) return fvm_nomem(w->err);
    if (!menu[i]->n) return FVM_EFAIL;
  }
  return FVM_OK;
}

static enum fvm_status force_in_network(struct what_if *x, const int *node, int n,
                                        const char *label, int64_t *more, const struct menu **menu,
                                        const struct choice **found) {
  struct sched *w = &x->w;
  struct pin *pin = label ? ARENA_NEW(&w->a, struct pin, 1) : NULL;
  char *text = label ? arena_strdup(&w->a, label) : NULL;
  if (label && (!pin || !text)) return fvm_nomem(w->err);
  if (pin) *pin = (struct pin){.label = text, .layout = LAYOUT_COUNT};
  enum fvm_status st = find_menus(x, node, n, pin, menu);
  const struct without free = {NULL, node[0]};
  return st ? answer(x, st, 0, more)
            : solve_with(x, node, n, menu, label ? NULL : &free, more, found);
}

/* ---- questions ---- */

enum fvm_status what_if_forced(struct what_if *x, const int *node, int n, const char *label,
                               int64_t *ns, struct fvm_error *err) {
  if (x->limited) return force_anew(x, node, n, label, ns, err);
  const struct menu **menu = ARENA_NEW(&x->w.a, const struct menu *, n);
  const struct choice *found;
  x->w.err = err;
  return menu ? force_in_network(x, node, n, label, ns, menu, &found) : fvm_nomem(err);
}

enum fvm_status what_if_free(struct what_if *x, int node, int64_t *ns, const char **label,
                             struct fvm_error *err) {
  struct sched *w = &x->w;
  const struct menu *menu;
  struct text t = {0};
  *label = NULL;
  if (x->limited) return force_anew(x, &node, 1, NULL, ns, err);
  w->err = err;
  const struct choice *found = NULL;
  enum fvm_status st = force_in_network(x, &node, 1, NULL, ns, &menu, &found);
  if (st || *ns == WHAT_IF_NONE) return st;
  *label = sched_choice_text(w, node, found, &t) ? arena_strdup(&w->a, t.v) : NULL;
  text_free(&t);
  return *label ? FVM_OK : fvm_nomem(err);
}

static enum fvm_status unpin_in_network(struct what_if *x, const struct pin *pin, int64_t *more) {
  struct sched *w = &x->w;
  int n = 0, *node = ARENA_NEW(&w->a, int, w->g->node.n);
  const struct menu **menu = ARENA_NEW(&w->a, const struct menu *, w->g->node.n);
  if (!node || !menu) return fvm_nomem(w->err);
  for (int i = 0; i < (int)w->g->node.n; i++) {
    int npin, kept = 0;
    if (w->g->node.v[i].dead || !pin_covers(pin, &w->g->node.v[i])) continue;
    const struct pin **list = sched_pins(w, -1, i, &npin);
    for (int k = 0; list && k < npin; k++)
      if (list[k] != pin) list[kept++] = list[k];
    node[n] = i;
    menu[n] = list ? sched_menu(w, -1, i, &w->node[i].call, list, kept) : NULL;
    if (!menu[n++]) return fvm_nomem(w->err);
  }
  const struct without without = {pin, -1};
  const struct choice *found;
  return solve_with(x, node, n, menu, &without, more, &found);
}

enum fvm_status what_if_unpinned(struct what_if *x, size_t pin, int64_t *ns,
                                 struct fvm_error *err) {
  if (!x->limited) {
    x->w.err = err;
    return unpin_in_network(x, &x->o.pins->pin.v[pin], ns);
  }
  struct pins pins;
  enum fvm_status st =
      copy_pins(x, pin, NULL, &pins) ? plan_anew(x, &pins, ns, err) : fvm_nomem(err);
  VEC_FREE(&pins.pin);
  return st;
}
