/* FusedRope: known values, and all labels of random ones against the reference. */
#include "opcheck.h"

#include "../../kernels/rope.h"

static struct opcase o;

static void begin(uint64_t seed, int64_t heads, int from, int to) {
  opcase_init(&o, "FusedRope", 17);
  o.seed += seed * 0x9e3779b97f4a7c15u;
  for (int i = 0; i < 8; i++) opcase_random(&o, 2);
  opcase_attr_int(&o, "heads", heads);
  opcase_attr_int(&o, "from", from);
  opcase_attr_int(&o, "to", to);
}

/* Two heads, two rows, the last column passed on; a quarter turn in the second row. */
START_TEST(known) {
  begin(0, 2, ROPE_FLAT, ROPE_HEADS);
  opcase_attr_int(&o, "rotary", 2);
  opcase_in(&o, FVM_F32, 3, (int64_t[]){1, 2, 6});
  opcase_set(&o, (double[]){1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12});
  opcase_in(&o, FVM_F32, 2, (int64_t[]){2, 1});
  opcase_set(&o, (double[]){1, 0});
  opcase_in(&o, FVM_F32, 2, (int64_t[]){2, 2});
  opcase_set(&o, (double[]){0, 0, 1, 2});
  opcase_reference(&o);
  opcase_expect(&o, 0, 4, (int64_t[]){1, 2, 2, 3},
                (double[]){1, 2, 3, -8, 14, 9, 4, 5, 6, -11, 20, 12});
  ck_assert_int_ge(opcase_run(&o), 1);
}
END_TEST

static void angles(int64_t batch, int64_t rows, int64_t rotary) {
  int64_t b = opcase_random(&o, 2) ? batch : 1, n = opcase_random(&o, 4) ? rows : 1;
  int64_t width = opcase_random(&o, 2) ? rotary : rotary / 2;
  int64_t by_head[] = {b, 1, n, width}, by_row[] = {b, n, 1, width}, plain[] = {b, n, width};
  switch (opcase_random(&o, 4)) {
  case 0:
    return opcase_in(&o, FVM_F32, 4, by_head);
  case 1:
    return opcase_in(&o, FVM_F32, 4, by_row);
  case 2:
    return opcase_in(&o, FVM_F32, 3, plain);
  default:
    return opcase_in(&o, FVM_F32, 2, by_head + 2);
  }
}

START_TEST(all_random) {
  static const int64_t rows[] = {1, 2, 7, 16, 33, 300}, widths[] = {2, 4, 8, 34, 64, 96};
  for (uint64_t seed = 0; seed < 60; seed++) {
    int64_t heads = 1 + (int64_t)(seed % 5);
    int from = (int)(seed / 3 % 3), to = (int)(seed % 3);
    begin(seed, heads, from, to);
    int64_t batch = 1 + opcase_random(&o, 3), n = rows[opcase_random(&o, COUNT(rows))];
    int64_t rotary = widths[opcase_random(&o, COUNT(widths))];
    int64_t width = rotary + (opcase_random(&o, 2) ? opcase_random(&o, 40) : 0);
    if (width != rotary || opcase_random(&o, 2)) opcase_attr_int(&o, "rotary", rotary);
    if (from == ROPE_FLAT) opcase_in(&o, FVM_F32, 3, (int64_t[]){batch, n, heads * width});
    if (from == ROPE_HEADS) opcase_in(&o, FVM_F32, 4, (int64_t[]){batch, heads, n, width});
    if (from == ROPE_ROWS) opcase_in(&o, FVM_F32, 4, (int64_t[]){batch, n, heads, width});
    angles(batch, n, rotary);
    angles(batch, n, rotary);
    ck_assert_int_ge(opcase_run(&o), 1);
  }
}
END_TEST

/* ONNX's: one head, positions 1 and 0 of a table. */
START_TEST(rotary_known) {
  opcase_init(&o, "RotaryEmbedding", 23);
  opcase_in(&o, FVM_F32, 4, (int64_t[]){1, 1, 2, 3});
  opcase_set(&o, (double[]){1, 2, 3, 4, 5, 6});
  opcase_attr_int(&o, "rotary_embedding_dim", 2);
  opcase_in(&o, FVM_F32, 2, (int64_t[]){2, 1});
  opcase_set(&o, (double[]){1, 0});
  opcase_in(&o, FVM_F32, 2, (int64_t[]){2, 1});
  opcase_set(&o, (double[]){0, 1});
  opcase_in(&o, FVM_I64, 2, (int64_t[]){1, 2});
  opcase_set(&o, (double[]){1, 0});
  opcase_reference(&o);
  opcase_expect(&o, 0, 4, (int64_t[]){1, 1, 2, 3}, (double[]){-2, 1, 3, 4, 5, 6});
  opcase_free(&o);
}
END_TEST

START_TEST(refusals) {
  opcase_init(&o, "RotaryEmbedding", 23);
  opcase_attr_int(&o, "interleaved", 1);
  opcase_in(&o, FVM_F32, 4, (int64_t[]){1, 1, 2, 4});
  opcase_in(&o, FVM_F32, 3, (int64_t[]){1, 2, 2});
  opcase_in(&o, FVM_F32, 3, (int64_t[]){1, 2, 2});
  opcase_refused(&o, FVM_EUNSUPPORTED, "interleaved");
  begin(0, 3, ROPE_FLAT, ROPE_FLAT);
  opcase_in(&o, FVM_F32, 3, (int64_t[]){1, 2, 8});
  opcase_in(&o, FVM_F32, 2, (int64_t[]){2, 8});
  opcase_in(&o, FVM_F32, 2, (int64_t[]){2, 8});
  opcase_refused(&o, FVM_EFORMAT, "does not have 3 heads");
  begin(0, 2, ROPE_FLAT, ROPE_FLAT);
  opcase_in(&o, FVM_F32, 3, (int64_t[]){1, 2, 8});
  opcase_in(&o, FVM_F32, 2, (int64_t[]){3, 4});
  opcase_in(&o, FVM_F32, 2, (int64_t[]){2, 4});
  opcase_refused(&o, FVM_EFORMAT, "input 1 does not fit 2 rows of 4");
  begin(0, 2, ROPE_FLAT, ROPE_FLAT);
  opcase_attr_int(&o, "rotary", 3);
  opcase_in(&o, FVM_F32, 3, (int64_t[]){1, 2, 8});
  opcase_in(&o, FVM_F32, 2, (int64_t[]){2, 3});
  opcase_in(&o, FVM_F32, 2, (int64_t[]){2, 3});
  opcase_refused(&o, FVM_EFORMAT, "cannot turn in pairs");
}
END_TEST

UNIT_MAIN("op_rope", known, all_random, rotary_known, refusals)
