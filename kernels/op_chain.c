/* Chains: what they mean is one part after the other. Contract: chain.h. */
#include "chain.h"
#include "last.h"
#include "op_impl.h"

#include <string.h>

/* Whether the body reads the inputs that are given, and not what the anchor reads. */
static bool body_reads(const struct opcall *c, int input) {
  for (int k = 0; c->body && k < c->body->n; k++)
    for (int j = 0; j < c->body->item[k].narg; j++)
      if (c->body->item[k].arg[j] == input) return true;
  return false;
}

bool chain_fits(const struct opcall *first, const struct opcall *second) {
  struct last op;
  if (first->part || second->part || first->nout != 1 || second->nout != 1) return false;
  if (strcmp(first->op->name, "Conv") != 0 || opcall_int(first, "group", 1) != 1) return false;
  if (first->out[0].dtype != FVM_F32 || second->out[0].dtype != FVM_F32) return false;
  if (first->nin + second->nin - 1 > NEST_MAXOP || body_reads(second, 0)) return false;
  if (second->nown > 1 && first->nin + 1 >= LABEL_MAXIO) return false; /* weights have layouts */
  bool pool = !strcmp(second->op->name, "MaxPool") || !strcmp(second->op->name, "AveragePool");
  return pool ? last_of_pool(second, &op)
              : !strcmp(second->op->name, "Conv") && last_of_conv(second, &op);
}

bool chain_init(struct opcall *c, const struct opcall *first, const struct opcall *second,
                struct arena *a) {
  int n = first->nin + second->nin - 1;
  struct tensor *in = ARENA_NEW(a, struct tensor, n);
  struct opcall *part = ARENA_NEW(a, struct opcall, 2);
  if (!in || !part) return false;
  part[0] = *first;
  part[1] = *second;
  memcpy(in, first->in, (size_t)first->nin * sizeof *in);
  memcpy(in + first->nin, second->in + 1, (size_t)(second->nin - 1) * sizeof *in);
  *c = (struct opcall){.op = op_find("Chain", 5),
                       .nin = n,
                       .nown = n,
                       .nout = 1,
                       .in = in,
                       .out = part[1].out,
                       .part = part,
                       .opset = second->opset};
  return true;
}

enum fvm_status chain_shape(struct opcall *c, struct fvm_error *err) {
  if (!c->part) return fvm_fail(err, FVM_EFORMAT, "a chain without parts");
  c->out[0] = c->part[1].out[0];
  return FVM_OK;
}

enum fvm_status chain_ref(const struct opcall *c, const void *const *in, void *const *out,
                          struct fvm_error *err) {
  const struct opcall *a = &c->part[0], *b = &c->part[1];
  const void *x[NEST_MAXOP];
  void *between = fvm_alloc((size_t)MAX(tensor_bytes(&a->out[0]), 1), 1);
  if (!between) return fvm_nomem(err);
  enum fvm_status st = opcall_ref(a, in, &between, err);
  x[0] = between;
  for (int i = 1; i < b->nin; i++) x[i] = in[chain_input(a, 1, i)];
  if (!st) st = opcall_ref(b, x, out, err);
  fvm_free(between, (size_t)MAX(tensor_bytes(&a->out[0]), 1), 1);
  return st;
}
