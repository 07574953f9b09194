/* Passes over the graph, and what they share: looking up producers, and changing nodes while the
 * numbers of uses stay right. */
#ifndef FVM_PASS_H
#define FVM_PASS_H

#include "graph.h"
#include "names.h"

/* Properties that passes need and give (passes.def). */
enum { HAS_SHAPES = 1, OTHER_FORM = 2 };
typedef enum fvm_status pass_fn(struct graph *g, struct fvm_error *err);
#define PASS(name, function, needs, gives, what) pass_fn function;
#include "passes.def"
#undef PASS

/* A pass at work. Nodes are changed in place, so the order stays topological; what a change leaves
 * without use is removed after the pass. */
struct rewrite {
  struct graph *g;
  struct arena arena; /* of the pass */
  int *uses;          /* of each tensor, as in graph_uses */
  int *user;          /* a node that reads or read it: see only_user */
  int *alias;         /* the tensor that took its place; itself when none did */
  size_t room;        /* length of these three: room for tensors that the pass adds */
  struct names names;
  struct fvm_error *err;
};
enum fvm_status rewrite_begin(struct rewrite *w, struct graph *g, struct fvm_error *err);
void rewrite_end(struct rewrite *w);
/* A whole pass: change(w, i) on each node that was there at the start, until it gives false, which
 * means that memory is out. */
enum fvm_status rewrite_each(struct graph *g, bool (*change)(struct rewrite *w, int i),
                             struct fvm_error *err);

/* Bring a node's inputs up to date with what took their places. */
void rewrite_refresh(struct rewrite *w, int node);
/* Let x take the place of y, a constant or an output of a node, which loses it. False when that
 * can't be: both are needed as outputs of the graph, or an input or constant would have to be one.
 */
bool rewrite_replace(struct rewrite *w, int y, int x);
/* Remove a node and its uses. */
void rewrite_kill(struct rewrite *w, int node);
/* Make a node another operator, on n inputs; attributes and body go. Its outputs stay. */
bool rewrite_node(struct rewrite *w, int node, const char *op, int n, const int *in);
/* Let a node read tensor t as its input k. */
void rewrite_input(struct rewrite *w, int node, int k, int t);
/* A new node behind all others, for the order to be restored after the pass: its index, or -1 when
 * memory is out. It makes tensor out. Pointers to nodes are void after it. */
int rewrite_add(struct rewrite *w, const char *name, const char *op, int n, const int *in, int out);
/* Give a node room for n attributes, to be filled in; NULL when memory is out. */
struct attr *rewrite_attrs(struct rewrite *w, int node, int n);
/* Set an attribute, the others stay; what it points to lives as long as the graph. False when
 * memory is out. */
bool rewrite_set(struct rewrite *w, int node, const struct attr *attr);
bool rewrite_set_int(struct rewrite *w, int node, const char *name, int64_t v);
/* Let a FusedAttention read operand q, k or v (0, 1, 2), as wide as it was, from column `at` of
 * tensor wide on. False when memory is out. */
bool attention_read(struct rewrite *w, int node, int operand, int wide, int64_t at);
/* A new constant; data is copied. The name is made from base. -1 when memory is out. */
int rewrite_constant(struct rewrite *w, const char *base, const struct tensor *t);
/* A new tensor, to be made by a node; or a constant whose data lives as long as the graph. */
int rewrite_tensor(struct rewrite *w, const char *base, const struct tensor *t);
/* A constant list of integers. */
int rewrite_ints(struct rewrite *w, const char *base, int n, const int64_t *v);
/* The node that alone reads t, once; -1 when there is none or the graph gives t out. */
int only_user(const struct rewrite *w, int t);

/* Near misses: what `fluidvm explain` prints under "what did not fuse, and why". Where a matcher
 * has seen enough to believe that this pattern was meant (a Softmax between two products) and then
 * gives up, it says so:
 *
 *   if (!mask_fits(...)) return pass_miss(g, softmax, "attention", "its mask has %d axes", rank);
 *
 * node is what stays behind; the text names the first thing that stands in the way, in words, with
 * the name of the other node if there is one. Always false. The first reason for a node and a
 * pattern counts. After the pass and its sweep those are dropped whose node is gone or another
 * operator by then, so it does no harm to note what another try then matches. */
bool pass_miss(struct graph *g, int node, const char *pattern, const char *fmt, ...)
    FVM_PRINTF(4, 5);
/* Drop those from the first-th on whose node did not stay as it was; the pipeline calls it. */
enum fvm_status pass_miss_sweep(struct graph *g, size_t first, struct fvm_error *err);

/* The node that makes t if it is this operator, without a body; -1 else. */
int made_by(const struct graph *g, int t, const char *op);
bool is_op(const struct node *n, const char *op);
/* Whether t is a constant of one element, of a float type; *v is its value. */
bool scalar_of(const struct graph *g, int t, double *v);
/* Whether a Clip's bounds are constants, or absent: infinite. */
bool clip_bounds(const struct graph *g, const struct node *n, double *low, double *high);
/* Whether all elements of constant t are this value (numbers and booleans). */
bool is_uniform(const struct graph *g, int t, double v);
/* The input that an element-wise operator of two gives back, broadcast to its result, because the
 * other one is a neutral constant (x + 0, x * 1, x and true); or -1. */
int neutral_rest(const struct graph *g, const struct node *n);
/* Whether a Gemm is a product with a bias for each column, or none. */
bool is_plain_gemm(const struct graph *g, const struct node *n);
/* First of the axes that a ReduceMean with keepdims takes, all up to the last; -1 when it isn't so.
 */
int mean_axis(const struct graph *g, const struct node *n);
/* t is x * x or x ^ 2: x, else -1. */
int square_of(const struct graph *g, int t);
/* A Transpose of [B,H,S,D] to [B,S,H,D] or back. */
bool swaps_heads(const struct node *n);
const struct attr *node_attr(const struct node *n, const char *name);
int64_t node_int(const struct node *n, const char *name, int64_t otherwise);
float node_float(const struct node *n, const char *name, float otherwise);
/* Within 1e-5 of each other: the constants that exporters write for roots of 2 and pi differ. */
bool close_to(double a, double b);
static inline struct tensor *tensor_of(const struct graph *g, int t) { return &g->tensor.v[t].t; }
static inline struct node *node_at(const struct graph *g, int i) { return &g->node.v[i]; }

#endif
