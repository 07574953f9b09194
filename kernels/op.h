/* Layer 3: operators. What they mean (shape function, plain reference), and the ways to run them
 * (candidates, which write programs for the virtual machine). Knows no graph.
 *
 * An opcall is one use of an operator on tensors of known shape. A label is one way to run it:
 * candidate, knobs, layouts, threads. Equal opcalls (opcall_text) share their measurements. */
#ifndef FVM_OP_H
#define FVM_OP_H

#include "../vm/code.h"
#include "ukr.h"

/* ---- layouts (layout.c) ---------------------------------------------------------------------- */
enum layout {
#define LAYOUT(name, text, kind, block, meaning) LAYOUT_##name,
#include "layouts.def"
#undef LAYOUT
  LAYOUT_COUNT
};
/* A set of layouts, a bit each. */
typedef uint64_t layout_set;
#define LAYOUT_BIT(l) ((layout_set)1 << (l))
const char *layout_name(enum layout l);
enum layout layout_parse(const char *s, size_t len); /* LAYOUT_COUNT when unknown */

/* ---- tensors --------------------------------------------------------------------------------- */
/* Dimensions and bytes never overflow: whoever makes a tensor checks with tensor_init. */
struct tensor {
  enum fvm_dtype dtype; /* FVM_NONE: an optional input that is absent */
  int rank;
  int64_t dim[FVM_MAXRANK];
  /* Value of a constant, row-major; NULL when known only at run time. Lives with the graph. */
  const void *data;
};
/* Element type by the number of ONNX's TensorProto.DataType; FVM_NONE when we lack it. */
enum fvm_dtype dtype_of_onnx(int64_t n);
/* Largest tensor, so that no sum of sizes leaves int64 and no program offset leaves 47 bits. */
#define TENSOR_MAXBYTES ((int64_t)1 << 40)
/* FVM_EUNSUPPORTED for more than FVM_MAXRANK axes, FVM_EFORMAT for a negative dimension or a size
 * above TENSOR_MAXBYTES. dim may be NULL when rank is 0. */
enum fvm_status tensor_init(struct tensor *t, enum fvm_dtype dtype, int rank, const int64_t *dim,
                            struct fvm_error *err);
int64_t tensor_count(const struct tensor *t); /* elements */
bool same_dims(const struct tensor *a, const struct tensor *b);
int64_t tensor_bytes(const struct tensor *t); /* row-major bytes */
/* Width of a layout's panels; 0 for layouts without. */
int layout_block(enum layout l);
/* Bytes in a layout, padding included. */
int64_t layout_bytes(const struct tensor *t, enum layout l);
/* Whether the layout is defined for this tensor's rank. */
bool layout_fits(const struct tensor *t, enum layout l);
/* Byte strides of the logical axes in a layout that neither packs nor cuts (PLAIN, SWAP, LAST). */
void layout_strides(const struct tensor *t, enum layout l, int64_t stride[FVM_MAXRANK]);
/* Channels in a block of a layout of kind CUT. Where they do not fill the last block of a tensor,
 * it is padded with channels that are not the tensor's: zeros, always, whoever writes it. */
enum { LAYOUT_CUT = 16 };
bool layout_is_cut(enum layout l);
/* Channels (axis 1) of a tensor in a layout, those included; and whether there are any. */
int64_t layout_channels(const struct tensor *t, enum layout l);
bool layout_pads(const struct tensor *t, enum layout l);
/* The same of any layout without panels, in elements, as a box: axis 1 is cut in two when `cut`,
 * which it must be for layouts of kind CUT: into so many blocks as its channels begin. Returns the
 * number of axes. */
int layout_box(const struct tensor *t, enum layout l, bool cut, int64_t *dim, int64_t *stride);
/* Whether two layouts put every element of the tensor at the same place. */
bool layout_alike(const struct tensor *t, enum layout from, enum layout to);
/* Write the program that converts a tensor between layouts: buffer 0 in, buffer 1 out; the work is
 * split over threads by a par. FVM_EUNSUPPORTED for a pair without a program (panels to others). */
enum fvm_status layout_convert(const struct tensor *t, enum layout from, enum layout to,
                               struct arena *a, struct program *p, struct fvm_error *err);
/* Whether that pair has a program for this tensor. */
bool layout_convertible(const struct tensor *t, enum layout from, enum layout to);
/* Conversions are measured and stored like opcalls: the text of the problem ("Convert f32[12x64]
 * row->p32"), its hash, and the text of the label ("convert threads=2"). */
void convert_text(const struct tensor *t, enum layout from, enum layout to, struct text *out);
uint64_t convert_hash(const struct tensor *t, enum layout from, enum layout to);
void convert_label(int threads, struct text *out);
/* Its inverse: FVM_EFORMAT for what convert_text does not write. */
enum fvm_status convert_read(const char *text, struct tensor *t, enum layout *from, enum layout *to,
                             struct fvm_error *err);

/* ---- attributes ------------------------------------------------------------------------------ */
enum attr_kind { ATTR_INT, ATTR_FLOAT, ATTR_INTS, ATTR_FLOATS, ATTR_STRING, ATTR_TENSOR };
struct attr {
  const char *name;
  enum attr_kind kind;
  int64_t i;
  float f;
  int n; /* length of ints or floats */
  const int64_t *ints;
  const float *floats;
  const char *s;
  const struct tensor *t;
};

/* ---- fused element-wise tails -------------------------------------------------------------------
 * A body is a list of element-wise operators on the values of a fused node. Values are numbered:
 * 0 .. nin-1 are the inputs of the opcall, nin is the result of its own operator (the anchor;
 * absent when op is FusedElementwise), and element k of the body makes value nin + 1 + k. The last
 * value is the node's output. Every value broadcasts to the shape of the output. */
enum { BODY_MAXARG = 3 };
struct body_item {
  const struct op *op; /* element-wise (OPF_ELT) */
  int narg;
  int arg[BODY_MAXARG];
  enum fvm_dtype dtype; /* of the result */
  const struct attr *attr;
  int nattr;
};
struct body {
  int n;
  const struct body_item *item;
};

struct opcall {
  const struct op *op;
  int nin; /* inputs of the anchor first (nown of them), then those that only the body reads */
  int nown;
  int nout;
  struct tensor *in, *out;
  const struct attr *attr;
  int nattr;
  const struct body *body;   /* NULL: none */
  const struct opcall *part; /* of a Chain (chain.h): its two; else NULL */
  int opset;
};
int64_t opcall_int(const struct opcall *c, const char *name, int64_t otherwise);
float opcall_float(const struct opcall *c, const char *name, float otherwise);
/* NULL when absent. */
const struct attr *opcall_attr(const struct opcall *c, const char *name);
/* Canonical text of the problem: operator, opset-independent attributes, dtypes, shapes, which
 * inputs are constant, body. Names and addresses do not enter. The profile key is its hash. */
void opcall_text(const struct opcall *c, struct text *out);
/* Whether that text has the values of a constant: programs depend on no others. */
bool opcall_text_tells(const struct tensor *t);
/* Its inverse: a call in the arena whose text, labels and programs are the same. Constants of which
 * the text has no values are zeros, the caller's to overwrite. FVM_EFORMAT or FVM_EUNSUPPORTED for
 * what opcall_text does not write, or not in this build. */
enum fvm_status opcall_read(const char *text, struct arena *a, struct opcall *c,
                            struct fvm_error *err);
uint64_t opcall_hash(const struct opcall *c);

/* ---- operators ------------------------------------------------------------------------------- */
enum {
  OPF_ELT = 1,       /* element-wise with broadcasting: may be fused into bodies and tails */
  OPF_ANCHOR = 2,    /* candidates accept a body as epilogue */
  OPF_VIEW = 4,      /* output is the first input's bytes (Reshape, Identity, ...) */
  OPF_COMPOSITE = 8, /* ours, found by a pattern; not an ONNX operator */
  OPF_INPLACE = 16,  /* output may take an input's place when the dtype sizes and shapes agree */
  OPF_STATIC = 32,   /* output depends on shapes alone: foldable although inputs are not constant */
  OPF_V13 = 64,      /* opset 13 changed the meaning: opcall_text says which */
  OPF_STATE = 128,   /* output is the inputs' bytes one after the other, in a state's memory */
  OPF_JOIN = 256,    /* where a label is a view, the same in any memory */
};
enum { OP_MANY = 1 << 16 }; /* nin_max or nout_max of variadic operators */

/* Shape function: in[] is complete (constants with data); sets dtype and dims of out[0 .. nout-1].
 * FVM_EUNSUPPORTED names what is missing ("input 'shape' is not constant"). */
typedef enum fvm_status shape_fn(struct opcall *c, struct fvm_error *err);
/* Plain reference on dense row-major buffers: clear, double accumulation, no speed. in[i] is NULL
 * for an absent input. Must handle every opcall that its shape function accepts. */
typedef enum fvm_status ref_fn(const struct opcall *c, const void *const *in, void *const *out,
                               struct fvm_error *err);

struct cand;
struct op {
  const char *name; /* ONNX's */
  int since;        /* least opset version accepted (0 for composites) */
  int nin_min, nin_max, nout_max;
  unsigned flags;
  shape_fn *shape;
  ref_fn *ref;
  const struct cand *cands; /* ends with a row whose name is NULL; no_cands: reference only */
};
const struct op *op_find(const char *name, size_t len); /* NULL when unknown */
const struct op *op_at(int i);                          /* i-th row of ops.def, NULL past the end */

/* Run the shape function with argument checks: number of inputs, opset. */
enum fvm_status opcall_shape(struct opcall *c, struct fvm_error *err);
/* Run the reference of an opcall with its body: the meaning of a fused node. Buffers row-major. */
enum fvm_status opcall_ref(const struct opcall *c, const void *const *in, void *const *out,
                           struct fvm_error *err);

/* Most bytes of input i that one run reads, in pages of 4096 bytes; -1: all of it may be. Rows
 * picked by index (Gather) are few, whatever the table's size. */
int64_t opcall_row_bytes(const struct opcall *c, int i);

/* ---- candidates ------------------------------------------------------------------------------ */
struct target {
  enum isa isa;
  int threads[8], nthreads; /* thread counts to offer */
  int64_t l1_bytes, l2_bytes, l3_bytes;
};

enum { LABEL_MAXIO = 8, LABEL_MAXKNOB = 8 };
struct label {
  const struct cand *cand;
  int32_t knob[LABEL_MAXKNOB];
  uint8_t in[LABEL_MAXIO]; /* enum layout; inputs beyond LABEL_MAXIO: see label_in */
  uint8_t out[LABEL_MAXIO];
  int threads;
  int inplace; /* 1 + input whose place the output may take when it dies here; 0: none */
  /* No program: the outputs are input 0's bytes from view_offset on, in turn (OPF_STATE, OPF_JOIN:
   * the output is where the inputs lie, one after the other). */
  bool view;
  int64_t view_offset;
};
/* Layout in which a label wants input i or makes output i. Beyond LABEL_MAXIO all are row, but what
 * a view joins lies like its first input. */
static inline enum layout label_in(const struct label *l, int i) {
  return i < LABEL_MAXIO ? (enum layout)l->in[i] : l->view ? (enum layout)l->in[0] : LAYOUT_ROW;
}
static inline enum layout label_out(const struct label *l, int i) {
  return i < LABEL_MAXIO ? (enum layout)l->out[i] : l->view ? (enum layout)l->out[0] : LAYOUT_ROW;
}
/* Estimate for the analytic model, of the whole problem. */
struct opcost {
  int64_t flops, bytes_read, bytes_written, calls; /* calls: micro-kernel calls */
};

struct cand {
  const char *name;
  const char *knobs[LABEL_MAXKNOB]; /* names, NULL after the last */
  /* The i-th label of an opcall on a target (layouts, knobs, threads set; cand is set by
   * opcall_next); false past the last. "Not applicable" is false at 0, an ordinary answer. */
  bool (*label)(const struct opcall *c, const struct target *t, int i, struct label *l);
  /* Write the program. Buffers: 0 .. nin-1 the inputs in the label's layouts (an absent input is a
   * buffer of 0 bytes), then nout outputs, then scratch. */
  void (*emit)(const struct opcall *c, const struct label *l, struct builder *b);
  void (*cost)(const struct opcall *c, const struct label *l, struct opcost *cost);
};

/* The empty table of candidates. */
extern const struct cand no_cands[];
/* All labels over the candidates of the operator in turn, from a walk that is zero at first; false
 * past the last. Deterministic order: earlier means simpler, so ties in time go to the earlier. */
struct label_walk {
  int cand, label;
};
bool opcall_next(const struct opcall *c, const struct target *t, struct label_walk *w,
                 struct label *l);
/* The i-th of them, looked for from the first on. */
bool opcall_label(const struct opcall *c, const struct target *t, int i, struct label *l);
/* One line, no spaces in values: "gemm_packed tile=8x32 kc=256 in=row,p32 out=row threads=2". */
void label_text(const struct opcall *c, const struct label *l, struct text *out);
/* Write a label's program into the arena (not for views). */
enum fvm_status opcall_emit(const struct opcall *c, const struct label *l, struct arena *a,
                            struct program *p, struct fvm_error *err);
void opcall_cost(const struct opcall *c, const struct label *l, struct opcost *cost);

#endif
