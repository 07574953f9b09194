/* The plan file: format, and the loaded form that reader, executor and checker share.
 *
 *   offset 0   "FVMPLAN\n"  u32 version  u32 nsections  u64 file_bytes  u64 checksum of the table
 *   table      nsections * { u32 kind, u32 zero, u64 offset, u64 bytes, u64 checksum }
 *   sections   each 64-byte aligned, weights page-aligned (4096); gaps are zeros, under a page
 *
 * All kinds are there, once, in the order below, and lie in that order; an empty section has the
 * offset where it would start. All integers little-endian; fields called zero are 0. Checksums are
 * XXH64 (seed: kind; of the table: 0). The reader verifies all of them but that of the weights,
 * which are mapped and touched on use; `fluidvm check` verifies these too.
 *
 *   META     struct plan_meta
 *   STRINGS  NUL-terminated texts; a string reference is a byte offset into this section
 *   IO       struct plan_io, inputs first, then outputs
 *   PROGRAMS struct plan_program, then nothing: words and buffers stand in CODE and BUFFERS
 *   CODE     u64 words of all programs
 *   BUFFERS  struct plan_buffer of all programs
 *   STEPS    struct plan_step in order of execution
 *   BINDS    struct plan_bind: for each step, one per buffer of its program
 *   TENSORS  struct plan_tensor: where each tensor of the graph lives, for check and dump
 *   CONSTS   struct plan_const: what the weights are, for check and dump
 *   REPORT   text, free form (what the planner has to say)
 *   WEIGHTS  bytes of the constants in their planned layouts
 */
#ifndef FVM_PLAN_H
#define FVM_PLAN_H

#include "code.h"

#include <string.h>

#define PLAN_MAGIC "FVMPLAN\n"
enum { PLAN_VERSION = 2, PLAN_PAGE = 4096, PLAN_MAXTHREADS = 64 };

enum plan_section {
  PLAN_META,
  PLAN_STRINGS,
  PLAN_IO,
  PLAN_PROGRAMS,
  PLAN_CODE,
  PLAN_BUFFERS,
  PLAN_STEPS,
  PLAN_BINDS,
  PLAN_TENSORS,
  PLAN_CONSTS,
  PLAN_REPORT,
  PLAN_WEIGHTS,
  PLAN_SECTIONS
};

/* The structs below are the file's bytes: no padding, every field aligned (asserted in
 * plan_read.c). */
struct plan_header {
  char magic[8];
  uint32_t version, nsections;
  uint64_t file_bytes, checksum;
};
struct plan_entry {
  uint32_t kind, zero;
  uint64_t offset, bytes, checksum;
};
struct plan_meta {
  uint32_t model, build, machine; /* strings: model name, tool build, machine fingerprint */
  uint32_t threads;               /* most threads that any step uses */
  uint32_t ninputs, zero;         /* how many rows of IO are inputs */
  uint64_t model_hash;
  uint64_t arena_bytes; /* activations; scratch comes on top (struct plan_step) */
  /* Weights before this offset are read by the steps in this order; those behind it are tables of
   * which a run reads some rows. */
  uint64_t stream_bytes;
  double max_error;     /* of the outputs, as verified (plan_finish); -1: was not */
  int64_t predicted_ns; /* sum of step costs */
  int64_t layout_cost_ns, layout_bound_ns;
  uint64_t order_peak_bytes, order_bound_bytes, arena_bound_bytes;
};
/* state: 0, or of an input 1 + its output, of an output 1 + its input (counted from 0). The pair
 * has one type and the same dims, but for one axis, where the output's is larger. That axis is the
 * outermost in memory, so the input's bytes are the first ones of the output's; the executor sees
 * to it that they are there when the first step runs. Steps reach them through the output, never
 * through the input, and none writes over them. */
struct plan_io {
  uint32_t name; /* string */
  uint32_t dtype, rank, state;
  int64_t dim[FVM_MAXRANK];
};
struct plan_program {
  uint32_t first_word, nword, first_buf, nbuf, nreg, zero;
};
struct plan_buffer {
  uint32_t kind, zero;
  int64_t bytes;
};
struct plan_step {
  uint32_t program, threads, first_bind, name; /* name: node, or "convert TENSOR" */
  uint32_t label, zero;                        /* label: string */
  int64_t cost_ns;                             /* predicted */
};
/* Where a buffer of a step's program lives. Rules that the reader enforces:
 *   - the buffer's bytes lie inside the space; only a buffer of 0 bytes may be in SPACE_NONE;
 *   - BUF_OUT is never bound to weights or inputs, nor to what a state held before;
 *   - nothing is bound to an input that is a state: its bytes are the output's;
 *   - BUF_SCRATCH and BUF_SHARED live in SPACE_SCRATCH, and only they do. Their offsets are
 *     multiples of 64 and laid out for the step's own number of threads: BUF_SCRATCH takes
 *     threads * scratch_stride(bytes), BUF_SHARED its bytes, and no two of a step overlap. The
 *     area is reused by every step; its size is the greatest end. With fewer threads it still fits;
 *   - buffers of a step at the same place with the same size are one memory to the verifier
 *     (in-place); those that overlap in another way must both be read only. */
enum plan_space {
  SPACE_ARENA,
  SPACE_WEIGHTS,
  SPACE_INPUT,
  SPACE_OUTPUT,
  SPACE_SCRATCH,
  SPACE_NONE
};
struct plan_bind {
  uint32_t space, index; /* index: of the input, or of the output counted from 0; else 0 */
  uint64_t offset;       /* bytes from the start of the space; scratch: from the scratch area */
};
/* tensor: name, life and place. first/last: steps between which it holds data (inclusive).
 * A copy in another layout is a row of its own, with the same name. The checker relies on:
 *   - whatever a step writes outside of scratch is the whole of a row whose first is that step,
 *     also an output that nobody asked for (its name is empty);
 *   - a row that no step writes is a view: its place lies in that of a row that began no later; or
 *     it is joined: from its first step on each byte is written once, as part of the rows of what
 * it is joined of, and after the last of them it can be read;
 *   - what a state held before is there from the beginning to the end, without a step that writes
 *     it; a row may begin with such bytes and end with those of a step's row;
 *   - inputs and outputs have rows; outputs last until the last step;
 *   - a row that a step writes over at exactly its place (in-place) ends there, whatever last says;
 *   - a row's life covers those of its views and of what takes its place, so that the largest sum
 *     of rows alive at a step, in whole lines of 64 bytes, is arena_bound_bytes;
 *   - steps take the rows of BINDS in turn, and their scratch lies one buffer after the other;
 *   - the place in the arena of a step's buffer i is a row of the node's i-th tensor, inputs first.
 * Steps are called like their nodes, or "convert TENSOR", "copy TENSOR". One that runs a node once
 * more, for readers of another row of the same tensor, has PLAN_AGAIN behind the node's name. */
#define PLAN_AGAIN " (again)"
struct plan_tensor {
  uint32_t name, dtype, layout, space, index, rank;
  int64_t dim[FVM_MAXRANK];
  uint64_t offset, bytes;
  uint32_t first, last;
};
struct plan_const {
  uint32_t name, dtype, layout, rank;
  int64_t dim[FVM_MAXRANK];
  uint64_t offset, bytes;
};

/* Length of the first n bytes of a step's name without PLAN_AGAIN at their end. */
static inline size_t plan_once(const char *name, size_t n) {
  size_t mark = sizeof PLAN_AGAIN - 1;
  return n >= mark && !strncmp(name + n - mark, PLAN_AGAIN, mark) ? n - mark : n;
}

/* A loaded plan: pointers into the mapped file. */
struct fvm_plan {
  const unsigned char *base;
  size_t bytes;
  struct plan_entry section[PLAN_SECTIONS];
  const struct plan_meta *meta;
  const char *strings;
  const struct plan_io *io;
  const struct plan_step *step;
  const struct plan_bind *bind;
  const struct plan_tensor *tensor;
  const struct plan_const *konst;
  const unsigned char *weights;
  uint32_t nin, nout, nstep, nbind, nprogram, nbuffer, ntensor, nconst;
  struct program *program;  /* decoded, nprogram of them */
  struct buffer *buffer;    /* of all programs, nbuffer of them */
  struct fvm_io *public_io; /* nin + nout */
  int64_t scratch_bytes;    /* most scratch of a step, all its threads together, at plan threads */
  bool mapped;              /* base is our mapping, else the caller's memory */
};

/* Like fvm_load, from memory that is 64-byte aligned and stays the caller's until fvm_unload. */
enum fvm_status plan_load_memory(const void *base, size_t bytes, struct fvm_plan **plan,
                                 struct fvm_error *err);
const char *plan_section_name(enum plan_section s);
const char *plan_string(const struct fvm_plan *p, uint32_t ref);
/* Bytes at the start of an output that are there before the first step: a state's input's, or 0. */
uint64_t plan_given(const struct fvm_plan *p, uint32_t output);
/* Whether [offset, offset + bytes) lies inside a space, and index is one that the space has. */
bool plan_inside(const struct fvm_plan *p, uint32_t space, uint32_t index, uint64_t offset,
                 uint64_t bytes);
/* What the reader does last: the rules of struct plan_bind and verify_program for every step, and
 * scratch_bytes. */
enum fvm_status plan_verify_steps(struct fvm_plan *p, struct fvm_error *err);
/* Verify the checksum of the weights section: reads all of it. */
enum fvm_status plan_check_weights(const struct fvm_plan *p, struct fvm_error *err);

#endif
