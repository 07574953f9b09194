/* The graph: nodes and tensors in index form, owned by one arena. */
#ifndef FVM_GRAPH_H
#define FVM_GRAPH_H

#include "../kernels/op.h"

struct gtensor {
  const char *name;
  struct tensor t; /* dtype FVM_NONE until shapes are known */
  int producer;    /* node, or -1: graph input or constant */
  bool is_input, is_output;
};

struct node {
  const char *name;
  const struct op *op;
  VEC(int) in;  /* tensor, or -1 for an absent optional input; anchor's first, body's after */
  VEC(int) out; /* tensor, or -1 for an output that nobody asked for */
  int nown;     /* inputs of the node's own operator */
  const struct attr *attr;
  int nattr;
  const struct body *body;
  bool dead;  /* removed; skipped by everything, dropped by graph_compact */
  bool again; /* it makes what another node of its name makes as well (sched_again.c) */
};

/* A pattern that nearly matched, for people: see pass_miss in pass.h. Texts are the arena's. */
struct miss {
  const char *pattern, *node, *reason;
  const struct op *op; /* of the node */
};

struct graph {
  struct arena arena; /* names, attributes, constants, bodies */
  const char *name;
  uint64_t model_hash; /* of the model file's bytes */
  int opset;
  VEC(struct node) node; /* in topological order, always */
  VEC(struct gtensor) tensor;
  VEC(int) input, output;
  VEC(struct miss) miss; /* in order of the passes; no part of the text form */
  bool miss_lost;        /* memory ran out while one was written */
  /* What must outlive the graph's constants (mapped files), released by graph_free. */
  struct mapping *mapping;
  /* The same computation with other nodes, of which the planner takes whichever is faster; owned.
   * NULL: there is none. */
  struct graph *other;
};

struct graph *graph_new(void);
void graph_free(struct graph *g);
/* A copy to be changed, which shares names, attributes and constants with g and must not outlive
 * it. NULL when memory is out. */
struct graph *graph_fork(const struct graph *g);
/* Both return the index, or -1 when memory is out. Names are copied. */
int graph_add_tensor(struct graph *g, const char *name);
int graph_add_node(struct graph *g, const char *name, const struct op *op);
bool node_add_in(struct graph *g, int node, int tensor);
bool node_add_out(struct graph *g, int node, int tensor); /* sets producer */
/* Mark a node dead; the tensors that it made lose their producer, unless another took them over. */
void node_kill(struct graph *g, int node);

/* Fill an opcall with views of the graph: in/out arrays come from the arena given. */
enum fvm_status graph_opcall(const struct graph *g, int node, struct arena *a, struct opcall *c,
                             struct fvm_error *err);
/* Whether the node reads only some rows of an input, as of a table of embeddings. */
bool node_picks_rows(const struct node *n, int in);
/* Number of uses of each tensor by live nodes plus 1 for a graph output; array of tensor.n ints
 * from the arena, or NULL. */
int *graph_uses(const struct graph *g, struct arena *a);
/* The live node (OPF_STATE) that appends to tensor, a graph input, or makes it, a graph output: the
 * two are a state (fluidvm.h). -1: none. */
int graph_state(const struct graph *g, int tensor);
/* Drop dead nodes and restore topological order after a pass inserted nodes at the end.
 * FVM_EFORMAT when the graph has a cycle (names a node on it). */
enum fvm_status graph_compact(struct graph *g, struct fvm_error *err);
/* Invariants: indices in range, producers right, order topological, shapes known after the shape
 * pass. Run between passes. */
enum fvm_status graph_check(const struct graph *g, bool shapes_known, struct fvm_error *err);

/* Text form (graph_dump.c shows it, graph_parse.c); parse(dump(g)) == g up to constants' values
 * above 16 elements, which are printed as a hash and read back as zeros. */
enum fvm_status graph_dump(const struct graph *g, struct text *out);
enum fvm_status graph_parse(const char *text, size_t len, struct graph **g, struct fvm_error *err);

/* ONNX import (onnx.c). dims fix symbolic dimensions by name ("*": any other). */
struct dim_binding {
  const char *name;
  int64_t size;
};
enum fvm_status onnx_import(const char *path, const struct dim_binding *dim, int ndim,
                            struct graph **g, struct fvm_error *err);
/* Read an ONNX TensorProto file (.pb); data comes from the arena. */
enum fvm_status onnx_read_tensor(const char *path, struct arena *a, struct tensor *t,
                                 const char **name, struct fvm_error *err);

/* Passes (passes.def, pipeline.c). All of them make g->other too; a pass that is named and makes
 * another form changes g itself. */
enum fvm_status pipeline_run(struct graph *g, const char *stop_after, struct fvm_error *err);

/* Run the whole graph by reference operators: inputs and outputs row-major, in graph order. */
enum fvm_status graph_reference_until(const struct graph *g, const void *const *in,
                                      void *const *out, volatile const int *interrupted,
                                      struct fvm_error *err);
enum fvm_status graph_reference(const struct graph *g, const void *const *in, void *const *out,
                                struct fvm_error *err);

#endif
