/* Choices of the nodes of chains: absorbed, and the second with the first. */
#include "sched.h"

#include <string.h>

struct pair {
  struct sched *w;
  int first, node;
  int nfirst, nnode;       /* inputs of each */
  const struct menu *both; /* of the chain alone */
};

/* Whether the layout of an input of the first node counts for others: of weights only where memory
 * does. */
static bool counts(const struct sched *w, int first, int i) {
  return sched_is_run_time(w, w->g->node.v[first].in.v[i]) || w->weighs_memory;
}

static bool same_inputs(const struct sched *w, int first, const struct label *x,
                        const struct label *y) {
  for (int i = 0; i < (int)w->g->node.v[first].in.n; i++)
    if (counts(w, first, i) && label_in(x, i) != label_in(y, i)) return false;
  return true;
}

bool sched_go_together(const struct sched *w, int node, int i, int k) {
  int first = w->first[node];
  const struct choice *x = &w->node[first].menu->choice[i], *y = &w->node[node].menu->choice[k];
  if ((x->role == ROLE_ABSORBED) != (y->role == ROLE_CHAIN)) return false;
  return y->role != ROLE_CHAIN || same_inputs(w, first, &x->label, &y->chain);
}

bool sched_may_vanish(const struct sched *w, int node) {
  const struct menu *m = w->node[node].menu;
  for (int i = 0; i < m->n; i++)
    if (m->choice[i].role == ROLE_ABSORBED) return true;
  return false;
}

/* ---- choices of each --------------------------------------------------------------------------
 */
/* What a chain's choice is to the first node: a way to take its inputs. */
static struct choice absorbed(const struct pair *p, const struct choice *both) {
  struct choice c = {.label = both->label, .role = ROLE_ABSORBED, .error = -1};
  c.label.out[0] = both->label.out[0];
  c.reads = both->reads & (((uint64_t)1 << p->nfirst) - 1);
  return c;
}

/* And to the second: inputs from 1 on are its own. */
static struct choice together(const struct pair *p, const struct choice *both) {
  struct choice c = *both;
  c.role = ROLE_CHAIN;
  c.chain = both->label;
  c.label.in[0] = both->label.out[0];
  for (int i = 1; i < MIN(p->nnode, (int)LABEL_MAXIO); i++)
    c.label.in[i] = (uint8_t)label_in(&both->label, p->nfirst + i - 1);
  c.reads = both->reads >> p->nfirst << 1;
  return c;
}

static const struct menu *own_menu(const struct sched *w, int node) {
  const struct menu *m = w->node[node].menu;
  return m->own ? m->own : m;
}

static bool any_measured(const struct menu *m) {
  for (int i = 0; i < m->n; i++)
    if (m->choice[i].measured) return true;
  return false;
}

/* Guesses don't win against what was measured, either of the chain or of a node by itself. */
static bool is_usable(const struct pair *p, const struct choice *both) {
  const struct sched *w = p->w;
  return both->measured ||
         (!any_measured(own_menu(w, p->first)) && !any_measured(own_menu(w, p->node)));
}

/* A menu with those of the chain behind those of a node itself, each once. */
static const struct menu *extended(const struct pair *p, const struct menu *own, enum role role) {
  struct sched *w = p->w;
  for (size_t i = 0; i < w->menus.n; i++) {
    const struct menu *m = w->menus.v[i];
    if (m->own == own && m->both == p->both && m->role == role) return m;
  }
  struct menu *m = ARENA_NEW(&w->a, struct menu, 1);
  if (!m) return NULL;
  *m = (struct menu){.choice = ARENA_NEW(&w->a, struct choice, own->n + p->both->n),
                     .n = own->n,
                     .own = own,
                     .both = p->both,
                     .role = role};
  if (!m->choice || !VEC_PUSH(&w->menus, m)) return NULL;
  if (own->n) memcpy(m->choice, own->choice, (size_t)own->n * sizeof *own->choice);
  for (int i = 0; i < p->both->n; i++) {
    const struct choice *both = &p->both->choice[i];
    bool known = !is_usable(p, both);
    for (int k = own->n; role == ROLE_ABSORBED && k < m->n; k++)
      known |= same_inputs(w, p->first, &m->choice[k].label, &both->label);
    if (!known) m->choice[m->n++] = role == ROLE_CHAIN ? together(p, both) : absorbed(p, both);
  }
  return m;
}

/* Pins of either node that count. */
static const struct pin **pins_of(const struct pair *p, const struct pin *but, int freed, int *n) {
  const struct graph *g = p->w->g;
  int all;
  const struct pin **v = sched_pins(p->w, p->first, p->node, &all);
  *n = 0;
  for (int i = 0; v && i < all; i++) {
    bool counts = (p->first != freed && pin_covers(v[i], &g->node.v[p->first])) ||
                  (p->node != freed && pin_covers(v[i], &g->node.v[p->node]));
    if (counts && v[i] != but) v[(*n)++] = v[i];
  }
  return v;
}

static enum fvm_status add_chain(struct pair *p, const struct pin *but, int freed) {
  struct sched *w = p->w;
  struct opcall call;
  int npin;
  enum fvm_status st = chains_opcall(w->g, p->first, p->node, &w->a, &call, w->err);
  const struct pin **pin = pins_of(p, but, freed, &npin);
  if (st) return st;
  p->nfirst = (int)w->g->node.v[p->first].in.n;
  p->nnode = (int)w->g->node.v[p->node].in.n;
  p->both = pin ? sched_menu(w, p->first, p->node, &call, pin, npin) : NULL;
  if (!p->both) return fvm_nomem(w->err);
  const struct menu *x = extended(p, own_menu(w, p->first), ROLE_ABSORBED);
  const struct menu *y = extended(p, own_menu(w, p->node), ROLE_CHAIN);
  if (!x || !y) return fvm_nomem(w->err);
  w->node[p->first].menu = x;
  w->node[p->node].menu = y;
  return FVM_OK;
}

/* Other policies look at one node at a time. No node is in two chains: what is second in one is
 * never a product, as the first of each is. */
enum fvm_status sched_chain_menus(struct sched *w, const struct pin *but, int freed) {
  enum fvm_status st = FVM_OK;
  for (int i = 0; i < (int)w->g->node.n && !st && w->o->policy == POLICY_exact; i++) {
    struct pair p = {.w = w, .first = w->first[i], .node = i};
    if (p.first >= 0) st = add_chain(&p, but, freed);
  }
  return st;
}

bool sched_choice_text(struct sched *w, int node, const struct choice *c, struct text *out) {
  struct opcall call;
  bool both = c->role == ROLE_CHAIN;
  if (c->role == ROLE_ABSORBED) {
    text_printf(out, "part of the step behind it");
    return !out->failed;
  }
  if (chains_opcall(w->g, both ? w->first[node] : -1, node, &w->a, &call, w->err)) return false;
  label_text(&call, both ? &c->chain : &c->label, out);
  return !out->failed;
}
