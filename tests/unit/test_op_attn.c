/* FusedAttention: known values, and all labels of random ones against the reference. */
#include "opcheck.h"

#include <math.h>

static struct opcase o;

static int64_t pick(const int64_t *v, int64_t n) { return v[opcase_random(&o, n)]; }

static void begin(uint64_t seed) {
  opcase_init(&o, "FusedAttention", 17);
  o.seed += seed * 0x9e3779b97f4a7c15u;
  for (int i = 0; i < 8; i++) opcase_random(&o, 2);
  o.tolerance = 1e-4;
}

/* Query, key or value in rank 3 or 4. */
static void operand(int rank, int64_t batch, int64_t heads, int64_t rows, int64_t width) {
  if (rank == 3)
    opcase_in(&o, FVM_F32, 3, (int64_t[]){batch, rows, heads * width});
  else
    opcase_in(&o, FVM_F32, 4, (int64_t[]){batch, heads, rows, width});
}

/* Columns of a wider tensor: some before, some after. */
static void columns(const char *at_name, int64_t batch, int64_t heads, int64_t rows,
                    int64_t width) {
  int64_t at = opcase_random(&o, 9);
  opcase_attr_int(&o, at_name, at);
  opcase_in(&o, FVM_F32, 3, (int64_t[]){batch, rows, at + heads * width + opcase_random(&o, 2)});
}

/* Two keys with scores 0 and log 3: weights 1/4 and 3/4. */
START_TEST(known) {
  begin(0);
  opcase_attr_int(&o, "heads", 1);
  opcase_attr_float(&o, "scale", 0.5f);
  operand(3, 1, 1, 1, 1);
  opcase_set(&o, (double[]){2});
  operand(3, 1, 1, 2, 1);
  opcase_set(&o, (double[]){0, log(3)});
  operand(3, 1, 1, 2, 2);
  opcase_set(&o, (double[]){4, 8, 0, 4});
  opcase_reference(&o);
  opcase_expect(&o, 0, 3, (int64_t[]){1, 1, 2}, (double[]){1, 5});
  ck_assert_int_ge(opcase_run(&o), 1);
}
END_TEST

START_TEST(causal_known) {
  begin(0);
  opcase_attr_int(&o, "heads", 1);
  opcase_attr_int(&o, "causal", 1);
  operand(4, 1, 1, 2, 1);
  opcase_set(&o, (double[]){0, 0});
  operand(4, 1, 1, 3, 1);
  operand(4, 1, 1, 3, 1);
  opcase_set(&o, (double[]){2, 4, 9});
  opcase_reference(&o);
  opcase_expect(&o, 0, 3, (int64_t[]){1, 2, 1}, (double[]){3, 5});
  ck_assert_int_ge(opcase_run(&o), 1);
}
END_TEST

START_TEST(guard_known) {
  for (int guard = 0; guard < 2; guard++) {
    begin(0);
    opcase_attr_int(&o, "heads", 1);
    opcase_attr_int(&o, "guard", guard);
    operand(3, 1, 1, 2, 1);
    operand(3, 1, 1, 1, 1);
    operand(3, 1, 1, 1, 1);
    opcase_set(&o, (double[]){7});
    opcase_in(&o, FVM_BOOL, 2, (int64_t[]){2, 1});
    opcase_set(&o, (double[]){1, 0});
    opcase_reference(&o);
    opcase_expect(&o, 0, 3, (int64_t[]){1, 2, 1}, (double[]){7, guard ? 0 : NAN});
    ck_assert_int_ge(opcase_run(&o), 1);
  }
}
END_TEST

static void random_mask(int64_t b, int64_t h, int64_t q, int64_t k) {
  int64_t dim[] = {opcase_random(&o, 2) ? b : 1, opcase_random(&o, 2) ? h : 1,
                   opcase_random(&o, 2) ? q : 1, opcase_random(&o, 4) ? k : 1};
  int rank = 1 + (int)opcase_random(&o, 4);
  opcase_in(&o, opcase_random(&o, 3) ? FVM_F32 : FVM_BOOL, rank, dim + 4 - rank);
}

START_TEST(all_random) {
  static const int64_t rows[] = {1, 2, 7, 16, 33, 40, 70, 150}, widths[] = {1, 4, 8, 17, 32, 40};
  for (uint64_t seed = 0; seed < 60; seed++) {
    begin(seed);
    int64_t batch = 1 + opcase_random(&o, 3), kv = 1 + opcase_random(&o, 3);
    int64_t heads = kv * (1 + opcase_random(&o, 2)), d = pick(widths, COUNT(widths));
    int64_t q = pick(rows, COUNT(rows)), k = pick(rows, COUNT(rows));
    bool causal = seed % 4 == 1;
    if (causal) k += q;
    opcase_attr_int(&o, "heads", heads);
    opcase_attr_int(&o, "kv_heads", kv);
    opcase_attr_int(&o, "causal", causal);
    opcase_attr_int(&o, "guard", 1);
    opcase_attr_float(&o, "scale", seed % 7 ? 0.3f : -0.5f);
    operand(3 + (int)opcase_random(&o, 2), batch, heads, q, d);
    operand(3 + (int)opcase_random(&o, 2), batch, kv, k, d);
    operand(3 + (int)opcase_random(&o, 2), batch, kv, k, pick(widths, COUNT(widths)));
    if (seed % 3) random_mask(batch, heads, q, k);
    ck_assert_int_ge(opcase_run(&o), q < 4 ? 1 : 2);
  }
}
END_TEST

/* One query, key heads shared by many: rows are heads, which threads share. */
START_TEST(shared_keys) {
  for (uint64_t seed = 200; seed < 208; seed++) {
    begin(seed);
    int64_t kv = 1 + (int64_t)(seed % 4 == 3), heads = kv * (2 + opcase_random(&o, 6));
    opcase_attr_int(&o, "heads", heads);
    opcase_attr_int(&o, "kv_heads", kv);
    opcase_attr_float(&o, "scale", 0.3f);
    operand(3 + (int)(seed % 2), 2, heads, 1, 20);
    operand(4, 2, kv, 37, 20);
    operand(4, 2, kv, 37, 70);
    if (seed % 3) random_mask(2, heads, 1, 37);
    ck_assert_int_ge(opcase_run(&o), 2);
  }
}
END_TEST

START_TEST(columns_random) {
  static const int64_t rows[] = {1, 3, 16, 33}, widths[] = {4, 16, 17};
  for (uint64_t seed = 100; seed < 112; seed++) {
    begin(seed);
    int64_t batch = 1 + opcase_random(&o, 2), kv = 1 + opcase_random(&o, 2);
    int64_t heads = kv * (1 + opcase_random(&o, 2)), d = pick(widths, COUNT(widths));
    int64_t q = pick(rows, COUNT(rows)), k = q + pick(rows, COUNT(rows)), dv = 1 + d / 2;
    opcase_attr_int(&o, "heads", heads);
    opcase_attr_int(&o, "kv_heads", kv);
    opcase_attr_int(&o, "causal", seed % 2);
    opcase_attr_int(&o, "width", d);
    opcase_attr_int(&o, "v_width", dv);
    opcase_attr_float(&o, "scale", 0.3f);
    columns("q_at", batch, heads, q, d);
    if (seed % 3)
      columns("k_at", batch, kv, k, d);
    else
      operand(4, batch, kv, k, d);
    columns("v_at", batch, kv, k, dv);
    ck_assert_int_ge(opcase_run(&o), 1);
  }
}
END_TEST

/* ONNX's: two query heads on one key head, heads in front of positions. */
START_TEST(onnx_known) {
  opcase_init(&o, "Attention", 23);
  opcase_attr_float(&o, "scale", 1);
  operand(4, 1, 2, 2, 1);
  opcase_set(&o, (double[]){0, log(3), 0, -log(3)});
  operand(4, 1, 1, 2, 1);
  opcase_set(&o, (double[]){0, 1});
  operand(4, 1, 1, 2, 2);
  opcase_set(&o, (double[]){4, 8, 0, 4});
  opcase_reference(&o);
  opcase_expect(&o, 0, 4, (int64_t[]){1, 2, 2, 2}, (double[]){2, 6, 1, 5, 2, 6, 3, 7});
  opcase_free(&o);
  opcase_init(&o, "Attention", 23);
  opcase_attr_int(&o, "is_causal", 1);
  operand(4, 1, 1, 2, 1);
  operand(4, 1, 1, 3, 1);
  operand(4, 1, 1, 3, 1);
  opcase_refused(&o, FVM_EUNSUPPORTED, "causal attention of 2 queries to 3 keys");
}
END_TEST

START_TEST(refusals) {
  begin(0);
  opcase_attr_int(&o, "heads", 2);
  operand(3, 1, 2, 3, 4);
  operand(3, 1, 2, 3, 5);
  operand(3, 1, 2, 3, 4);
  opcase_refused(&o, FVM_EFORMAT, "3 keys of width 5, queries of 4");
  begin(0);
  opcase_attr_int(&o, "heads", 3);
  opcase_attr_int(&o, "kv_heads", 2);
  operand(3, 1, 3, 3, 4);
  operand(3, 1, 2, 3, 4);
  operand(3, 1, 2, 3, 4);
  opcase_refused(&o, FVM_EFORMAT, "3 heads on 2 key heads");
  for (int rank = 3; rank <= 4; rank++) {
    begin(0);
    opcase_attr_int(&o, "heads", 2);
    opcase_attr_int(&o, "k_at", 1);
    opcase_attr_int(&o, "width", 4);
    for (int i = 0; i < 3; i++) operand(rank, 1, 2, 3, 4);
    opcase_refused(&o, FVM_EFORMAT,
                   rank == 3 ? "input 1 has 8 columns: no 2 heads of 4 from 1"
                             : "input 1 has heads of width 4, not columns");
  }
}
END_TEST

UNIT_MAIN("op_attn", known, causal_known, guard_known, all_random, shared_keys, columns_random,
          onnx_known, refusals)
