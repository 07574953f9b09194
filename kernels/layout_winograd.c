/* Weights transformed for Winograd's convolutions. Contract: winograd.h. */
#include "winograd.h"

static const struct winograd_ukr known[] = {
    {4, 3, UKR_wino_in_4, UKR_wino_weights_4, UKR_wino_out_2_4},
    {6, 3, UKR_wino_in_6, UKR_wino_weights_6, UKR_wino_out_4_6},
    {8, 3, UKR_wino_in_8, UKR_wino_weights_8, UKR_wino_out_6_8},
    {6, 5, UKR_wino_in_6, UKR_wino_weights_6, UKR_wino_out_2_6},
    {8, 5, UKR_wino_in_8, UKR_wino_weights_8, UKR_wino_out_4_8},
};

const struct winograd_ukr *winograd_find(int n, int64_t r) {
  for (size_t i = 0; i < COUNT(known); i++)
    if (known[i].n == n && known[i].r == r) return &known[i];
  return NULL;
}

bool winograd_fits(const struct tensor *t, int n) {
  return t->dtype == FVM_F32 && t->rank == 4 && t->dim[2] == t->dim[3] &&
         winograd_find(n, t->dim[2]) && winograd_bytes(t, n, 1) <= TENSOR_MAXBYTES / 64;
}

int64_t winograd_bytes(const struct tensor *t, int n, int64_t block) {
  return ROUND_UP(t->dim[0], block) * n * n * t->dim[1] * 4;
}

void winograd_convert(const struct tensor *t, int n, int64_t block, struct builder *b) {
  const int64_t outs = t->dim[0], ins = t->dim[1], r = t->dim[2];
  if (outs == 0 || ins == 0) return;
  int j = build_par(b, 0, val(outs), block);
  struct val m = outs % block ? reg(build_min(b, block, val(outs), j)) : val(block);
  build_ukr(b, winograd_find(n, r)->weights,
            (struct addr[]){ADDR(0, 0, {j, ins * r * r * 4}), ADDR(1, 0, {j, n * n * ins * 4})},
            (struct val[]){m, val(ins), val(ins * r * r), val(r * r), val(r), val(block),
                           val(ins * block)});
  build_end(b);
}
