/* Inside the planner: what schedule_graph's stages hand to each other. Shared by sched_*.c and
 * schedule.c only.
 *
 *   sched_menu.c    what each node can be run by, and what that and conversions cost
 *   sched_chains.c  what the nodes of a chain can be run by together
 *   sched_choose.c  one label for each node: a cost function network, solved
 *   sched_append.c  with copies into states
 *   sched_policy.c  or as others would choose them, without a network; sched_fluidml.c is one
 *   sched_room.c    what labels take of memory: constants in layouts, scratch
 *   sched_arena.c   and of the arena, whatever the order of the steps
 *   sched_knot.c    and by any order where branches join
 *   sched_fit.c     the best schedule within limits on memory
 *   sched_again.c   or with tensors that are computed again
 *   sched_steps.c   steps and values: programs, conversions, views, outputs
 *   sched_order.c   order
 *   sched_place.c   in-place, places of all values, weights */
#ifndef FVM_SCHED_H
#define FVM_SCHED_H

#include "chains.h"
#include "joins.h"
#include "pin.h"
#include "mem.h"
#include "plan_build.h"
#include "solve.h"

/* A way to run a node: the cheapest label of those that look alike to the node's neighbours. The
 * second node of a chain can be run together with the first; then it costs all, and the first is
 * absorbed: no step runs it, and what it makes is not there. Both have in `label` their own part of
 * the layouts, so that neighbours see nothing unusual. */
enum role { ROLE_ALONE, ROLE_ABSORBED, ROLE_CHAIN };
struct choice {
  struct label label;
  enum role role;
  struct label chain; /* ROLE_CHAIN: of both */
  int64_t ns;
  int64_t tie_ns; /* to be compared with others of the menu: measured times that tie are equal */
  bool measured;
  double error; /* -1: not known */
  /* Only of a struct sched with weighs_memory: */
  int64_t scratch;
  uint64_t reads; /* bit i: input i */
};
/* All of a problem that its pins allow; nodes with equal problems and pins share it. */
struct menu {
  uint64_t hash;
  const struct pin *const *pin;
  int npin;
  struct choice *choice;
  int n;
  /* Of a node of a chain: those of the node by itself, with more from those of both (hash is 0). */
  const struct menu *own, *both;
  enum role role;
};
/* Conversions of all tensors of one type and shape. */
struct shape_costs {
  const struct tensor *t;
  struct conversion {
    bool known;
    int64_t ns;  /* SOLVE_INF: not possible */
    int threads; /* 0: the bytes are the same, nothing to do */
  } by[LAYOUT_COUNT][LAYOUT_COUNT];
};
struct sched_node {
  struct opcall call;
  uint64_t problem; /* its hash */
  const struct menu *menu;
  int choice;
};
struct sched {
  struct arena a; /* until the schedule is done */
  const struct graph *g;
  struct cost *cost;
  const struct plan_options *o;
  struct schedule *s;
  int64_t chosen_ns;          /* what sched_choose's labels cost in its network */
  bool tie;                   /* other labels cost the same */
  bool ignores_ties;          /* nobody asks for that */
  bool weighs_memory;         /* labels that need less memory are kept beside faster ones */
  uint64_t *hash;             /* of each constant: sched_hash; 0: not yet known */
  struct sched_node *node;    /* by node of the graph; dead ones are empty */
  int *first;                 /* by node: chains_find */
  struct shape_costs **shape; /* by tensor, filled in on use */
  VEC(struct shape_costs *) shapes;
  VEC(struct menu *) menus;
  int *value;       /* tensor * LAYOUT_COUNT + layout: struct sched_value, or -1 */
  enum layout *out; /* by tensor: the layout its producer makes */
  enum layout *io;  /* by tensor, for inputs and outputs: the layout in which the caller has it */
  int *end;         /* by root: last step in which any value at its place is live */
  int *made;        /* by value: the step that writes it; -1: none does */
  struct {
    int *first; /* by value, and one more */
    int *item;
  } on;      /* the values on each root, ascending: item[first[root]] to item[first[root + 1]] */
  int *turn; /* nodes in the order in which their steps come; NULL: as in the graph */
  struct join *join; /* by tensor */
  struct fvm_error *err;
};

static inline const struct tensor *sched_tensor(const struct sched *w, int t) {
  return &w->g->tensor.v[t].t;
}
/* Whether a node's input is there only at run time. */
static inline bool sched_is_run_time(const struct sched *w, int tensor) {
  return tensor >= 0 && !sched_tensor(w, tensor)->data;
}
/* Whether a node picks rows of a table that products read as well. */
static inline bool sched_is_tied(const struct sched *w, int node) {
  return opcall_int(&w->node[node].call, "tied", 0) != 0;
}
/* NULL when memory is out. */
const struct conversion *sched_conversion(struct sched *w, int tensor, enum layout from,
                                          enum layout to);
/* What it takes to copy a tensor that a view joins. */
int64_t sched_copy(struct sched *w, int tensor, enum layout layout, int *threads);
/* The value at the bottom of a chain of bases, and the offset in it (may be NULL). */
int sched_root(const struct schedule *s, int value, int64_t *offset);

int sched_inputs(const struct sched *w, const struct sched_step *s);
int sched_buffers(const struct sched *w, const struct sched_step *s); /* inputs and outputs */
/* Whether a value is what a state held before, or a view of it. */
bool sched_is_given(const struct schedule *s, int value);
/* Whether two values share bytes, by their bases. */
bool sched_overlap(const struct schedule *s, int a, int b);
/* Bytes that a root takes in the arena. */
int64_t sched_arena_bytes(const struct sched_value *v);
/* Whether the label lets output 0 take an input's place if that dies at the step, and both fill
 * arena blocks of one size; no other input may stand there. *in and *out are the roots. */
bool sched_may_share(const struct sched *w, const struct sched_step *step, int *in, int *out);

/* Of a constant's first bytes: equal constants have equal hashes, and few others do, so that
 * weights need not be read from the disk to be told apart. */
uint64_t sched_hash(struct sched *w, int tensor);
/* Bit i: the program has an address in buffer i. */
uint64_t sched_reads(const struct program *p);
int64_t sched_scratch(const struct program *p, int threads);
/* The layout in which a constant is stored for readers that want this one. */
enum layout sched_stored(struct sched *w, int tensor, enum layout want);

/* ---- the network of labels (sched_choose.c) ---- */
struct reader {
  int node;
  int *input, n; /* positions at which it reads the tensor */
};
/* A tensor's way from its producer to its readers. Where layouts may differ, conversions cost
 * something on the edge between the two, or, with several readers, in the states of a variable. */
struct traffic {
  int tensor, producer, output; /* producer -1: a graph input, as the caller has it */
  struct reader *reader;
  int nreader;
  bool is_output;
  int edge, var; /* -1: there is none */
  const struct state {
    enum layout from;
    layout_set set; /* layouts in which it is there, `from` is one of them */
  } * state;        /* by label of var */
};
struct sched_net {
  struct sched *w;
  struct solve_net net;    /* variable i is the i-th live node, then those of tensors */
  int *var;                /* by node */
  struct traffic *traffic; /* by tensor */
  int follows;             /* variables from there on follow from those before: sched_append.c */
  bool limited;            /* not all copies are offered: the solver's bound is not one */
  int64_t floor;           /* but this is: every node by its cheapest label */
};
/* FVM_ENOMEM at worst; the caller's to free by solve_net_free in any case. */
enum fvm_status sched_net_make(struct sched *w, struct sched_net *c);
/* Let the nodes take the labels of a solution that costs so much. Returns what rules that the
 * solver does not know add to its cost. */
int64_t sched_net_take(const struct sched_net *c, const int *label, int64_t cost);

/* Copies into states; part of the above. False when memory is out. */
bool sched_add_appends(struct sched_net *c);
/* What such a copy of a tensor costs. */
int64_t sched_append_ns(struct sched *w, int tensor, enum layout layout);

/* ---- what labels take of memory ---- */

/* Rooms of the network's variables, and what is taken in any case: weights and scratch. */
struct sched_room {
  VEC(struct solve_room) var;
  int64_t base;
  bool limited; /* not all sets of layouts are offered */
};
/* Adds variables for constants that several nodes read. False when memory is out. */
bool sched_add_room(struct sched *w, struct solve_net *net, const int *var, struct sched_room *r);

/* A lower bound on the bytes in the arena while something runs, in any order of the steps: fixed,
 * and more or less by the labels of variables and of edges' ends. ARENA_IDLE: under this label it
 * does not run at all. */
#define ARENA_IDLE (-(SOLVE_INF >> 1))
struct arena_row {
  int64_t fixed;
  VEC(struct arena_term {
    int at;             /* variable, or edge */
    const int64_t *use; /* as the costs of that */
  })
  var, edge;
};
/* Branches and the node that joins them, see sched_knot.c. Bit i: node[i]. */
struct arena_knot {
  int n;
  const int *node; /* the last one joins */
  const struct knot_tensor {
    int tensor, maker;     /* i: node[i] makes it; -1: a node before the knot does */
    uint32_t made, needed; /* it is there when one of these has run, or runs; not yet */
    bool placed;           /* a piece of what the last node joins */
  } * tensor;
  int ntensor, whole; /* what the last node makes */
  const uint32_t *state;
  const int *next; /* by state and node: index of the state; -1: it can't be next */
  int nstate;
};
/* Sets of nodes, a bit each. */
struct bits {
  uint64_t *word;
  size_t stride; /* words of a set */
};
static inline bool bits_has(const struct bits *b, int set, int bit) {
  return b->word[(size_t)set * b->stride + (size_t)bit / 64] >> (bit % 64) & 1;
}
struct sched_arena {
  VEC(struct arena_row) row;
  VEC(struct arena_knot) knot;
  struct bits before;  /* of each node: its ancestors */
  struct bits spanned; /* of each tensor: ancestors of the nodes that certainly read it */
  bool *solid;         /* by tensor: it has bytes of its own in the arena */
  int64_t *best;       /* room for a knot's states, twice */
};
/* May add edges without costs to the network. False when memory is out. */
bool sched_add_arena(struct sched_net *c, struct sched_arena *x);
bool sched_add_knots(struct sched_net *c, struct sched_arena *x);
/* Whether a program that runs the node touches the input, by any label. */
bool sched_surely_reads(const struct sched *w, int node, int input);
/* Bytes of a tensor in a layout: a block's are rounded up, those of a piece of a larger one not. */
int64_t sched_arena_room(const struct sched *w, const struct sched_arena *x, int t, enum layout l);
void sched_arena_free(struct sched_arena *x);

/* Open, and the fastest schedule of all, whatever it takes. w->s is the caller's to free, also when
 * this fails. */
enum fvm_status sched_begin(struct sched *w, const struct graph *g, struct cost *cost,
                            const struct plan_options *o, struct fvm_error *err);
/* All of that but to open. */
enum fvm_status sched_start(struct sched *w);
/* schedule_graph for this form alone. */
enum fvm_status sched_form(const struct graph *g, struct cost *cost, const struct plan_options *o,
                           struct schedule **s, struct fvm_error *err);
/* Another schedule, an empty one, in w->s; the one that was there is the caller's. */
enum fvm_status sched_renew(struct sched *w);
/* Of two forms of a graph the first one is the simpler one. */
bool sched_is_better(const struct schedule *x, const struct schedule *y);
/* As above. */
enum fvm_status sched_open(struct sched *w, const struct graph *g, struct cost *cost,
                           const struct plan_options *o, struct fvm_error *err);
void sched_close(struct sched *w);
enum fvm_status sched_menus(struct sched *w);
/* After the menus: in which layouts the caller has states. */
void sched_find_states(struct sched *w);
/* Menus, states, and the labels of least cost, without a schedule of them. */
enum fvm_status sched_labels(struct sched *w);
/* The menu of a node, or of a chain (first >= 0: sched_chains.c), by itself under these pins; NULL
 * when memory is out. They must last as long as w. */
const struct menu *sched_menu(struct sched *w, int first, int node, const struct opcall *call,
                              const struct pin *const *pin, int npin);
/* Those of the options that cover a node, or either of a chain's, from w->a; NULL when memory is
 * out. */
const struct pin **sched_pins(struct sched *w, int first, int node, int *n);
/* Add to the menus of the nodes of chains what runs both; again after some of the nodes got other
 * menus. As if there were no pin `but`, and none on node `freed`: NULL, -1. */
enum fvm_status sched_chain_menus(struct sched *w, const struct pin *but, int freed);
/* The label's text of a choice of a node. False when memory is out. */
bool sched_choice_text(struct sched *w, int node, const struct choice *c, struct text *out);
/* Whether choices i of the first node of a chain and k of the second go together. */
bool sched_go_together(const struct sched *w, int node, int i, int k);
/* Whether a node need not be run at all, and so its output not be there. */
bool sched_may_vanish(const struct sched *w, int node);
enum fvm_status sched_choose(struct sched *w);

/* ---- policies ---- */
struct sched_policy {
  enum fvm_status (*choose)(struct sched *w); /* labels, and turns */
  bool reorders;                              /* steps, for a smaller arena */
  bool in_place;                              /* outputs take places of inputs that die */
  enum fvm_status (*pack)(struct mem_block *block, int n, struct mem_result *r,
                          struct fvm_error *err);
};
extern const struct sched_policy sched_policies[POLICY_COUNT];
static inline const struct sched_policy *sched_policy(const struct sched *w) {
  return &sched_policies[w->o->policy];
}
enum fvm_status sched_greedy(struct sched *w);
enum fvm_status sched_plain(struct sched *w);
enum fvm_status sched_fluidml(struct sched *w);
/* Every node by the label that takes the least with the conversions that it needs where its tensors
 * lie at `home` (by tensor). stays: labels that need none go before those that do. */
enum fvm_status sched_settle(struct sched *w, const enum layout *home, bool stays);
/* What a choice takes: its label, and copies into a view that joins. */
int64_t sched_choice_ns(struct sched *w, int node, int choice);
/* SOLVE_INF where there is no such conversion. */
int64_t sched_convert_ns(struct sched *w, int tensor, enum layout from, enum layout to);
/* Let nodes that pick rows of a table have it as a product that reads it, where that costs next to
 * nothing of a total. Returns what it costs. */
int64_t sched_share_tables(struct sched *w, int64_t total);

enum fvm_status sched_steps(struct sched *w);
enum fvm_status sched_order(struct sched *w, int variant); /* of order.h */
enum fvm_status sched_place(struct sched *w);
/* Steps and places for the labels that are chosen, in a schedule that may hold others yet. */
enum fvm_status sched_realize(struct sched *w);
/* The steps alone. */
enum fvm_status sched_realize_steps(struct sched *w);
/* After that: what labels cost is what the steps cost. Policies that look at one node at a time do
 * not know all of it; and there is no network for a tensor that goes into two states. */
void sched_settle_cost(struct schedule *s);
/* The schedule is over its limits: look for the best one within. FVM_EFAIL: there is none, or none
 * was found. */
enum fvm_status sched_fit(struct sched *w);
/* Of schedules whose labels cost the same let w->s be one with a smaller arena, if there is one. */
enum fvm_status sched_break_tie(struct sched *w);

#endif
