/* For tests of operators: make an opcall with random inputs, compare its reference with values
 * known by hand, and every label's program with the reference. All memory is the case's own.
 *
 *   struct opcase o;
 *   opcase_init(&o, "Add", 17);
 *   opcase_in(&o, FVM_F32, 2, (int64_t[]){3, 5});
 *   opcase_in(&o, FVM_F32, 1, (int64_t[]){5});
 *   ck_assert_int_ge(opcase_run(&o), 1);         all labels agree with the reference
 */
#ifndef FVM_OPCHECK_H
#define FVM_OPCHECK_H

#include "../../kernels/body.h"
#include "unit.h"

enum { OPCASE_MAXIN = 20, OPCASE_MAXOUT = 8, OPCASE_MAXATTR = 16, OPCASE_MAXITEM = 40 };
struct opcase {
  struct arena arena;
  struct opcall c;
  struct tensor in[OPCASE_MAXIN], out[OPCASE_MAXOUT];
  void *x[OPCASE_MAXIN], *y[OPCASE_MAXOUT]; /* row-major inputs; reference outputs after a run */
  struct attr attr[OPCASE_MAXATTR];
  struct body body;
  struct body_item item[OPCASE_MAXITEM];
  uint64_t seed;
  double lo, hi;    /* random inputs lie between: -2 and 2 at first */
  double tolerance; /* of |difference| / max(1, |reference|): 1e-5 at first */
  bool as_meant;    /* run a label with the threads that it is for, not with 1 and 2 */
  struct target target;
};

void opcase_init(struct opcase *o, const char *op, int opset);
/* The same for one of many random cases: random numbers of its own for each seed, and room for the
 * rounding of long sums. */
void opcase_init_seeded(struct opcase *o, const char *op, int opset, uint64_t seed);
/* Add an input known only at run time, random between lo and hi. */
void opcase_in(struct opcase *o, enum fvm_dtype dtype, int rank, const int64_t *dim);
void opcase_absent(struct opcase *o);
/* Add a constant with the given values. */
void opcase_const(struct opcase *o, enum fvm_dtype dtype, int rank, const int64_t *dim,
                  const double *v);
/* Add a constant int64 vector. */
void opcase_ints(struct opcase *o, int n, const int64_t *v);
/* Set the values of the last input added. */
void opcase_set(struct opcase *o, const double *v);
void opcase_attr_int(struct opcase *o, const char *name, int64_t v);
void opcase_attr_float(struct opcase *o, const char *name, float v);
void opcase_attr_string(struct opcase *o, const char *name, const char *v);
void opcase_attr_ints(struct opcase *o, const char *name, int n, const int64_t *v);
/* n random ones from least to most; n is at most 6. */
void opcase_attr_random(struct opcase *o, const char *name, int n, int64_t least, int64_t most);
/* Inputs added from here on belong to the body. */
void opcase_own(struct opcase *o);
/* Append an element-wise operator to the body; arguments number values as struct body does. */
void opcase_item(struct opcase *o, const char *op, enum fvm_dtype dtype, int narg, const int *arg);

/* Make of `first` and o a chain, in o: input 0 of o becomes what first makes, and what first has
 * must outlive o. False, and all stays as it was, when the two are none. */
bool opcase_chain(struct opcase *o, struct opcase *first);

/* Run the shape function and the reference; both must succeed. */
void opcase_reference(struct opcase *o);
/* After opcase_reference: output i has this shape and these values. */
void opcase_expect(struct opcase *o, int i, int rank, const int64_t *dim, const double *v);
/* opcase_reference if not done, then all labels at 1 and 2 threads (see as_meant), in place too
 * where allowed; frees the case. Returns the number of labels. */
int opcase_run(struct opcase *o);
/* The shape function refuses the opcall; frees the case. */
void opcase_refused(struct opcase *o, enum fvm_status code, const char *part_of_text);
void opcase_free(struct opcase *o);

/* Place in bytes of an element in a layout, from the definition in layouts.def. */
int64_t layout_place(const struct tensor *t, enum layout l, const int64_t *idx);
/* Layouts that hold values made of the elements (Strassen's sums, Winograd's points), and what they
 * hold for x. */
bool layout_is_made(enum layout l);
void layout_make(const struct tensor *t, enum layout l, const float *x, float *y);
/* A random number of [0, n). */
int64_t opcase_random(struct opcase *o, int64_t n);

#endif
