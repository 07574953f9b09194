/* From a graph with fused nodes and a cost source to a plan: labels and layouts, order, memory,
 * weights; the checker; the writer. */
#ifndef FVM_PLAN_BUILD_H
#define FVM_PLAN_BUILD_H

#include "check.h"
#include "phases.h"
#include "policy.h"

/* One thing to run: a node with its label, or a conversion of a tensor between layouts. */
struct sched_step {
  int node;  /* -1: a conversion */
  int first; /* the node that it runs as well, before that: a chain's (chains.h); -1: none */
  struct label label;
  int in_value, out_value; /* conversion: struct sched_value indices */
  struct program program;  /* verified */
  int *bind;               /* value of each buffer of the program; -1: scratch, or never touched */
  int64_t cost_ns;
  int threads;
  double error; /* of the label, as measured; -1: not known */
};
/* A tensor in one layout. Views have no step: they are values with a base. */
struct sched_value {
  int tensor; /* -1: an output that nobody asked for */
  enum layout layout;
  enum plan_space space;
  int index; /* of the input or output */
  int64_t bytes, offset;
  bool given;      /* what a state held before: there from the first step to the last */
  int first, last; /* steps, inclusive */
  int base;        /* value whose place it shares (view, in-place, equal constants), or -1 */
  int64_t base_offset;
};
struct schedule {
  struct arena arena;
  const struct graph *graph;
  struct graph *own; /* the graph, where it is one with tensors that are computed again; or NULL */
  struct target target;
  VEC(struct sched_step) step; /* in order of execution */
  VEC(struct sched_value) value;
  int64_t cost_ns, layout_cost_ns, layout_bound_ns;
  int64_t arena_bytes, arena_bound, order_peak, order_bound;
  int64_t weight_bytes, scratch_bytes;
  int64_t stream_bytes; /* of the weights: see struct plan_meta */
  /* What a run keeps in memory: weights less the rows of tables that it does not read, activations
   * and scratch. */
  int64_t resident_bytes;
  int labels_total, labels_measured, conversions;
  int guesses; /* steps whose cost was not measured */
  int again;   /* steps that compute something again */
  bool optimal;
  double plan_seconds; /* from graph to labels and places; filled in by the session */
};

struct pins;
/* Told by long searches how far they are, now and then; false stops them with FVM_EINTR. */
struct plan_watch {
  bool (*go_on)(void *ctx, double done, double total, const char *what);
  void *ctx;
};
/* Enough for every network of the zoo by far; the solver says so when it is not. */
#define PLAN_TICKS ((int64_t)200000000)
struct plan_options {
  struct target target;
  int64_t max_ticks;
  const char *build, *machine;    /* texts for the plan's header */
  int64_t memory;                 /* most resident_bytes; 0: no limit */
  int64_t arena;                  /* most arena_bytes; 0: no limit */
  int64_t latency_ns;             /* most cost_ns; 0: no limit */
  const struct plan_watch *watch; /* NULL: nobody */
  double
      label_error; /* labels of larger errors are used only where there is none else; 0: all are */
  enum policy policy;      /* others than exact know no limits on memory */
  struct phases *phases;   /* gets the time that each takes; may be NULL */
  const struct pins *pins; /* what the user forces or forbids; NULL: nothing */
};
/* Choose labels and layouts, insert conversions, order, place. Where the graph has another form, of
 * the two the one that takes less time: s->graph is g or g->other. FVM_EFAIL: nothing fits into
 * memory. The bound of a schedule that had to be fitted into memory is that of all that fit. */
enum fvm_status schedule_graph(const struct graph *g, struct cost *cost,
                               const struct plan_options *o, struct schedule **s,
                               struct fvm_error *err);
void schedule_free(struct schedule *s);
/* Schedules of falling resident_bytes and rising cost_ns, the fastest within the limits first; each
 * is the fastest that was found within its memory. At least one when FVM_OK. front_free takes what
 * failed as well. */
struct front {
  VEC(struct schedule *) schedule;
};
enum fvm_status schedule_front(const struct graph *g, struct cost *cost,
                               const struct plan_options *o, struct front *f,
                               struct fvm_error *err);
void front_free(struct front *f);
/* The least resident_bytes within the limits that was found, but for a thousandth of it; of plans
 * of that size the fastest. */
enum fvm_status schedule_smallest(const struct graph *g, struct cost *cost,
                                  const struct plan_options *o, struct schedule **s,
                                  struct fvm_error *err);
/* Write the plan through a temporary file and rename; the same schedule gives the same bytes. */
enum fvm_status plan_write(const struct schedule *s, const struct plan_options *o, const char *path,
                           struct fvm_error *err);
/* Note in a plan file that was just written how large its outputs' error was, unless that is -1,
 * and wait until all of it is on the disk: what is done with a plan that is to be kept. */
enum fvm_status plan_finish(const char *path, double error, struct fvm_error *err);

#endif
