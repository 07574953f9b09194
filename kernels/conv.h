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

#endif
