/* Convolutions: op_conv.c (meaning), cand_conv.c (candidates). */
#ifndef FVM_CONV_H
#define FVM_CONV_H

#include "window.h"

struct conv {
  struct window w;
  int64_t n, groups, in_channels, out_channels; /* channels: of one group */
  bool bias;
};
enum fvm_status conv_init(struct conv *v, const struct opcall *c, struct fvm_error *err);

/* The functions of candidate conv_direct (cand_direct.c). */
bool direct_label(const struct opcall *c, const struct target *t, int i, struct label *l);
void direct_emit(const struct opcall *c, const struct label *l, struct builder *b);
void direct_cost(const struct opcall *c, const struct label *l, struct opcost *cost);
/* Of conv_gemm and conv_strassen (cand_point.c). */
bool point_label(const struct opcall *c, const struct target *t, int i, struct label *l);
void point_emit(const struct opcall *c, const struct label *l, struct builder *b);
void point_cost(const struct opcall *c, const struct label *l, struct opcost *cost);
bool point_strassen_label(const struct opcall *c, const struct target *t, int i, struct label *l);
void point_strassen_emit(const struct opcall *c, const struct label *l, struct builder *b);
void point_strassen_cost(const struct opcall *c, const struct label *l, struct opcost *cost);

/* The functions of candidate conv_winograd (cand_winograd.c). */
bool winograd_label(const struct opcall *c, const struct target *t, int i, struct label *l);
void winograd_emit(const struct opcall *c, const struct label *l, struct builder *b);
void winograd_cost(const struct opcall *c, const struct label *l, struct opcost *cost);

#endif
