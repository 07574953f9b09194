/* Where the time of a plan goes, and why its labels are what they are: what `fluidvm explain`
 * shows.
 *
 *   explain.c        steps with their bounds, equal ones together, by time lost
 *   explain_node.c   all labels of one problem, and what each would cost the whole plan
 *   explain_race.c   of each convolution the best of every algorithm and layout
 *   explain_pins.c   what pins cost, as text and as JSON, too
 *   explain_plan.c   the plan at a glance: proofs, time by algorithm and layout, conversions
 *   explain_text.c   the first two as text and as JSON; explain_race_text.c the third
 *   explain_verdict.c  what bounds each label of a node
 *
 * The bound of a step is the longest of three times on all threads of the plan: its multiply-adds
 * at the measured peak (of the textbook's algorithm for products, which Strassen's may beat), its
 * constants read from memory once, its other values moved through level 2 once. */
#ifndef FVM_EXPLAIN_H
#define FVM_EXPLAIN_H

#include "../profiles/db.h"
#include "../profiles/verdict.h"
#include "plan_build.h"

struct explain_race; /* below */
/* Equal steps: same program, label and operator. */
struct explain_step {
  const char *name; /* of the first of them */
  const char *kind; /* operator, or without a graph the candidate; "convert" */
  const char *label;
  int first, count, threads;
  /* Sums over all of them. */
  int64_t predicted_ns, measured_ns, bound_ns;
  int64_t flops, weight_bytes, value_bytes;
  int64_t done; /* multiply-adds of the program itself, times two; flops: of the textbook's */
};
/* Latencies from running the plan a few times; all 0 when it was not run. */
struct explain_times {
  int runs;
  int64_t latency_ns; /* the least */
  int64_t timed_ns;   /* the least with a clock read after each step */
  int64_t *step_ns;   /* the least of each step */
};
/* What the pins of a file cost. Differences are those of the whole plan without them, less than 0
 * when it is faster then; WHAT_IF_NONE: there is none. */
struct explain_pin {
  size_t line;
  int nodes; /* that it covers */
  int64_t ns;
};
struct explain_pinned {
  const char *name, *label, *free_label; /* free_label: without its pins; NULL: unknown */
  int64_t ns;
};
struct explain_pins {
  const char *path;                /* NULL: there are none */
  int64_t ns, free_ns;             /* predicted with all and without any */
  VEC(struct explain_pin) pin;     /* in the file's order */
  VEC(struct explain_pinned) node; /* those that cost most first */
};
struct explanation {
  struct arena arena;
  const struct fvm_plan *plan;
  const struct graph *graph; /* NULL: known only from the plan */
  const struct graph *form;  /* the graph or its other form, whichever the plan is of */
  struct explain_times times;
  struct machine_speeds speed;
  const char *title;              /* what was given: a file's name */
  const char *machine;            /* a line for people */
  VEC(struct explain_step) step;  /* each by itself, in order of execution */
  VEC(struct explain_step) loser; /* the same, most time lost first */
  VEC(struct explain_step) group; /* equal ones together, most time lost first */
  VEC(struct explain_step) kind;  /* by kind, most time first; name and label are NULL */
  VEC(struct explain_race) race;  /* of equal convolutions together, in order of execution */
  struct explain_pins pins;
  struct explain_step all;
  int64_t flops_ns, weights_ns; /* the plan's multiply-adds at the peak; its weights read once */
};
/* The caller fills in plan, graph, times, speed, title and machine; explain_steps the rest. */
enum fvm_status explain_steps(struct explanation *x, struct fvm_error *err);
void explain_free(struct explanation *x);
/* What steps take: measured, or predicted when they were not run. */
int64_t explain_ns(const struct explanation *x, const struct explain_step *s);
/* That above the bound; negative when the bound, a guess for what stays in caches, was too high. */
int64_t explain_lost(const struct explanation *x, const struct explain_step *s);
enum explain_limit { LIMIT_FLOPS, LIMIT_WEIGHTS, LIMIT_VALUES };
/* Which of the three times is the longest. */
enum explain_limit explain_limit(const struct explanation *x, const struct explain_step *s);
/* Label of the step that runs a node, alone or in a chain; NULL: none does. */
const char *explain_label_in(const struct fvm_plan *p, const char *node);
/* A step or node by name: its group, or NULL. */
const struct explain_step *explain_find(const struct explanation *x, const char *name);

/* ---- one node ---- */

struct explain_label {
  const char *text, *reason; /* reason: of any outcome but ok, or NULL */
  enum outcome outcome;      /* OUTCOME_COUNT: not measured */
  int64_t ns;                /* 0: none */
  int64_t plan_ns;           /* the whole plan with it on all nodes of the problem; -1: unknown */
  int64_t alone_ns; /* by how much it is dearer with it on this node alone; WHAT_IF_NONE: unknown */
  int64_t weight_bytes, scratch_bytes; /* -1: unknown */
  int64_t flops;       /* multiply-adds of its program, times two; -1: unknown, or no rival */
  int64_t moved;       /* bytes that its micro-kernels read and write; -1: the same */
  double error;        /* as cost_error gives it; -1: unknown */
  int threads;         /* 0: unknown */
  const char *layouts; /* of its first input and its output: "nhwc", or "row>nhwc" */
  bool counted;        /* work: of one run; only of the fastest labels and of the chosen one */
  struct verdict_work work;
  bool chosen, rival; /* rival: the fastest right one of its candidate in its layouts */
};
struct explain_node {
  struct arena arena;
  const char *name, *problem; /* problem: its canonical text */
  int uses;                   /* nodes of the graph that are this problem; 0: unknown */
  int64_t plan_ns;            /* of the plan as it is */
  const char *chain;          /* label of the step that runs a neighbour, too; NULL: none */
  size_t pin_line;            /* of the first pin that covers it; 0: none does */
  const char *free_label;     /* without its pins: what it would run, NULL: unknown; */
  int64_t free_ns;            /* and by how much the plan would be dearer (less than 0: cheaper) */
  VEC(struct explain_label) label; /* fastest first, then those without a time */
};
/* From the graph of a schedule: all labels of the target, with costs from the chain cost and
 * measurements from db (which may be NULL); the schedule is the one made with the same options. */
struct explain_source {
  const struct schedule *schedule;
  const struct graph *graph; /* without a schedule */
  const struct plan_options *options;
  struct cost *cost;
  struct db *db;
  int64_t machine_id, build_id;
  const struct states *states; /* with db */
  const char *chosen;          /* label that the plan has; NULL: the schedule's */
};
enum fvm_status explain_node(struct explain_node *n, const struct explain_source *s,
                             const char *name, struct fvm_error *err);
/* The same without plan_ns, and without a schedule. */
enum fvm_status explain_labels(struct explain_node *n, const struct explain_source *s,
                               const char *name, struct fvm_error *err);
/* Whether a label was measured and right. */
bool explain_is_right(const struct explain_label *l);
/* Without the graph: what the database has about the node of this model. chosen is the label that
 * the plan has. FVM_EUSAGE when it knows no such node. */
enum fvm_status explain_node_stored(struct explain_node *n, struct db *db, int64_t machine_id,
                                    int64_t build_id, uint64_t model_hash, const char *name,
                                    const char *chosen, struct fvm_error *err);
void explain_node_free(struct explain_node *n);

/* ---- convolutions ---- */

/* Equal ones of the plan, with all labels that were measured. */
struct explain_race {
  struct explain_step step; /* all of them together */
  struct explain_node node; /* of the first */
  const char *shape;        /* for people: "3x3/2 64->128, 28x28 +Relu" */
  int64_t flops, bound_ns;  /* of one: the textbook's, and at the peak or level 2's bandwidth */
  int64_t plain_bytes;      /* of its weights and bias as the model has them */
  bool by_values;           /* the bound is level 2's */
};
/* After explain_steps. The source's chosen, schedule and graph are not used: the plan has the
 * labels, and its graph is that of the explanation; without one, sizes are known of the plan's own
 * labels only. What the database has no measurements of is left out. */
enum fvm_status explain_races(struct explanation *x, const struct explain_source *s,
                              struct fvm_error *err);
/* "nhwc" of a label with in=nhwc,f32,row out=nhwc, "row>nhwc" of one with in=row,... */
const char *explain_layouts(struct arena *a, const char *label);
/* How many characters of a label are its candidate. */
size_t explain_candidate(const char *label);

/* ---- pins ---- */

/* Of the options of a schedule, which the source must have. Nothing when there are none. */
enum fvm_status explain_pins(struct explanation *x, const struct explain_source *s,
                             struct fvm_error *err);
void explain_pins_free(struct explain_pins *p);

/* ---- text ---- */

struct explain_style {
  bool all;   /* every step and near miss by itself */
  bool color; /* on terminals, unless NO_COLOR is set */
  bool bars;  /* on terminals */
};
void explain_text(const struct explanation *x, const struct explain_style *s, struct text *out);
void explain_race_text(const struct explanation *x, const struct explain_style *s,
                       struct text *out);
void explain_race_json(const struct explanation *x, struct text *out); /* an array */
/* What bounds a label: a cell of a table, a line, members of an object (with a comma before them);
 * nothing where its work was not counted. */
void explain_verdict_cell(const struct explanation *x, const struct explain_label *l,
                          struct text *out);
void explain_verdict_text(const struct explanation *x, const struct explain_label *l,
                          struct text *out);
void explain_verdict_json(const struct explanation *x, const struct explain_label *l,
                          struct text *out);
void explain_node_text(const struct explanation *x, const struct explain_node *n,
                       const struct explain_style *s, struct text *out);
/* One object; n may be NULL. */
void explain_plan_text(const struct explanation *x, const struct explain_style *s,
                       struct text *out);
void explain_plan_json(const struct explanation *x, struct text *out);
void explain_pins_text(const struct explanation *x, const struct explain_style *s,
                       struct text *out);
void explain_pins_json(const struct explanation *x, struct text *out);
/* Of one node: its pins, and what other labels forced on it alone would cost. */
void explain_forced_text(const struct explain_node *n, struct text *out);
void explain_json(const struct explanation *x, const struct explain_node *n, struct text *out);

#endif
