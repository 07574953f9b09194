/* The table of micro-kernels and the parser of its rows. Contract: ukr.h; grammar: ukr.def. */
#include "ukr_impl.h"

#include <pthread.h>
#include <string.h>

static const struct row {
  const char *name, *ptrs, *ints, *flops;
} rows[UKR_COUNT] = {
#define UKR(name, ptrs, ints, flops, meaning) {#name, ptrs, ints, flops},
#include "ukr.def"
#undef UKR
};

/* ---- scanning: a cursor moves over the text; rows are ours, so a mistake in one is a CHECK ----
 */

static void skip_blanks(const char **s) {
  while (**s == ' ') ++*s;
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static bool is_word(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static int64_t scan_number(const char **s) {
  int64_t x = 0;
  CHECK(is_digit(**s));
  while (is_digit(**s)) {
    CHECK(fvm_mul(x, 10, &x) && fvm_add(x, *(*s)++ - '0', &x));
  }
  return x;
}

static void scan_name(const char **s, char name[12]) {
  size_t n = 0;
  while (is_word((*s)[n])) n++;
  CHECK(n > 0 && n < 12);
  memcpy(name, *s, n);
  name[n] = 0;
  *s += n;
}

static int8_t int_index(const struct ukr_sig *sig, const char *name) {
  for (int i = 0; i < sig->nval; i++)
    if (!strcmp(sig->val[i].name, name)) return (int8_t)i;
  CHECK(!"a row of ukr.def names an integer that it does not have");
  return -1;
}

static struct ukr_factor scan_factor(const char **s, const struct ukr_sig *sig) {
  struct ukr_factor f = {-1, 1};
  if (is_digit(**s)) {
    int64_t x = scan_number(s);
    CHECK(x <= INT32_MAX);
    f.lit = (int32_t)x;
  } else {
    char name[12];
    scan_name(s, name);
    f.arg = int_index(sig, name);
  }
  return f;
}

/* ---- the three columns ---- */

static void parse_ints(struct ukr_sig *sig, const char *s) {
  for (skip_blanks(&s); *s; skip_blanks(&s)) {
    CHECK(sig->nval < UKR_MAXVAL);
    struct ukr_int *v = &sig->val[sig->nval++];
    scan_name(&s, v->name);
    v->max = INT64_MAX;
    if (s[0] == '<' && s[1] == '=') {
      s += 2;
      v->max = scan_number(&s);
    }
  }
}

/* NAME:ACCESS DIM DIM ... up to '|' or the end. */
static void parse_operand(struct ukr_sig *sig, const char **s) {
  CHECK(sig->nptr < UKR_MAXPTR);
  struct ukr_operand *o = &sig->ptr[sig->nptr++];
  scan_name(s, o->name);
  CHECK(*(*s)++ == ':');
  char access = *(*s)++;
  CHECK(access == 'r' || access == 'w' || access == 'm');
  o->reads = access != 'w';
  o->writes = access != 'r';
  int64_t bytes = scan_number(s);
  CHECK(bytes == 1 || bytes == 2 || bytes == 4 || bytes == 8);
  o->elem_bytes = (uint8_t)bytes;
  for (skip_blanks(s); **s && **s != '|'; skip_blanks(s)) {
    CHECK(o->ndim < UKR_MAXDIM);
    int d = o->ndim++;
    o->extent[d] = scan_factor(s, sig);
    o->stride[d] = (struct ukr_factor){-1, 1};
    if (**s == ',') {
      ++*s;
      o->stride[d] = scan_factor(s, sig);
    }
  }
}

static void parse_flops(struct ukr_sig *sig, const char *s) {
  sig->flop_coef = 1;
  for (skip_blanks(&s); *s; skip_blanks(&s)) {
    struct ukr_factor f = scan_factor(&s, sig);
    if (f.arg < 0) {
      sig->flop_coef *= f.lit;
    } else {
      CHECK(sig->nflop < UKR_MAXVAL);
      sig->flop_arg[sig->nflop++] = f.arg;
    }
  }
}

static void parse_row(const struct row *row, struct ukr_sig *sig) {
  sig->name = row->name;
  parse_ints(sig, row->ints);
  const char *s = row->ptrs;
  for (skip_blanks(&s); *s; skip_blanks(&s)) {
    parse_operand(sig, &s);
    if (*s == '|') s++;
  }
  parse_flops(sig, row->flops);
}

/* Written once, under `once`; constant afterwards. */
static struct ukr_sig sigs[UKR_COUNT];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void parse_all(void) {
  for (int i = 0; i < UKR_COUNT; i++) parse_row(&rows[i], &sigs[i]);
}

const struct ukr_sig *ukr_sig(enum ukr_id id) {
  CHECK((unsigned)id < UKR_COUNT);
  pthread_once(&once, parse_all);
  return &sigs[id];
}

enum ukr_id ukr_find(const char *name, size_t len) {
  for (int i = 0; i < UKR_COUNT; i++)
    if (strlen(rows[i].name) == len && !memcmp(rows[i].name, name, len)) return (enum ukr_id)i;
  return UKR_COUNT;
}

/* ---- functions ---- */

static ukr_fn *const table_ref[UKR_COUNT] = {
#define UKR(name, ptrs, ints, flops, meaning) ukr_##name##_ref,
#include "ukr.def"
#undef UKR
};
#ifdef __x86_64__
static ukr_fn *const table_avx2[UKR_COUNT] = {
#define UKR(name, ptrs, ints, flops, meaning) ukr_##name##_avx2,
#include "ukr.def"
#undef UKR
};
static ukr_fn *const table_avx512[UKR_COUNT] = {
#define UKR(name, ptrs, ints, flops, meaning) ukr_##name##_avx512,
#include "ukr.def"
#undef UKR
};
#else
#define table_avx2 table_ref
#define table_avx512 table_ref
#endif

ukr_fn *const *ukr_table(enum isa isa) {
  static ukr_fn *const *const tables[ISA_COUNT] = {
      [ISA_REF] = table_ref, [ISA_AVX2] = table_avx2, [ISA_AVX512] = table_avx512};
  CHECK((unsigned)isa < ISA_COUNT);
  return tables[isa];
}
