/* The candidate of MaxPool and AveragePool that runs what others leave (op_pool3.c). */
#ifndef FVM_POOL3_H
#define FVM_POOL3_H

#include "op.h"

bool pool3_label(const struct opcall *c, const struct target *t, int i, struct label *l);
void pool3_emit(const struct opcall *c, const struct label *l, struct builder *b);
void pool3_cost(const struct opcall *c, const struct label *l, struct opcost *cost);

#endif
