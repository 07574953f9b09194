/* Micro-kernels on arguments that make no sense. The verifier lets a program from a hostile plan
 * call a kernel with whatever respects the limits of its row, as long as the footprints lie in
 * their buffers. So here operands are exactly as large as their footprints, between pages without
 * access, while the integers are drawn without any thought of what they mean together. A kernel may
 * compute what it likes, but it must come back, and touch nothing else. */
#include <setjmp.h>
#include <signal.h>

#include "ukr_call.h"

enum { ROUNDS = 1000, MAX_TAPS = 20000 };

/* ---- arguments ---- */

static bool is_extent(const struct ukr_sig *s, int arg) {
  for (int k = 0; k < s->nptr; k++)
    for (int d = 0; d < s->ptr[k].ndim; d++)
      if (s->ptr[k].extent[d].arg == arg) return true;
  return false;
}

/* Loops run over extents, so these stay small; everything else may be as large as it likes. */
static int64_t draw_int(int64_t max, bool extent) {
  int64_t r = below(32), v = below(10);
  if (r < 5) v = r / 2;
  if (r >= 24) v = below(70);
  if (r == 31) v = extent ? below(700) : max - below(MIN(max, 2) + 1);
  if (r == 30 && !extent) v = (int64_t)(draw() >> (1 + below(63)));
  return v <= max ? v : max == INT64_MAX ? below(10) : below(max + 1);
}

/* The bytes of an operand; false when they do not fit an area. */
static bool fits(const struct call *c, const struct ukr_operand *o) {
  int64_t last = 0, x;
  for (int d = 0; d < o->ndim; d++)
    if (factor(c, o->extent[d]) == 0) return true;
  for (int d = 0; d < o->ndim; d++)
    if (!fvm_mul(factor(c, o->extent[d]) - 1, factor(c, o->stride[d]), &x) ||
        !fvm_add(last, x, &last) || last >= AREA / o->elem_bytes)
      return false;
  return true;
}

/* Windows of 65535 x 65535 are allowed, and slow. */
static bool is_slow(struct call *c) {
  int64_t taps = 1;
  static const char *const factors[] = {"kd", "kh", "kw", "oh", "ow"};
  if (!has_arg(c, "oh") || !has_arg(c, "kh")) return false;
  for (size_t i = 0; i < COUNT(factors); i++)
    if (has_arg(c, factors[i]) && !fvm_mul(taps, *arg(c, factors[i]), &taps)) return true;
  return taps > MAX_TAPS;
}

static bool is_possible(struct call *c) {
  for (int k = 0; k < c->sig->nptr; k++)
    if (!fits(c, &c->sig->ptr[k])) return false;
  return !is_slow(c);
}

static void draw_call(struct call *c) {
  do
    for (int i = 0; i < c->sig->nval; i++)
      c->v[i] = draw_int(c->sig->val[i].max, is_extent(c->sig, i));
  while (!is_possible(c));
  for (int k = 0; k < c->sig->nptr; k++) c->same[k] = below(6) ? k : (int)below(c->sig->nptr);
}

/* ---- calls ---- */

static sigjmp_buf trap;
static void on_trap(int sig) { siglongjmp(trap, sig); }

static void catch_traps(void) {
  static const int sig[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
  struct sigaction a = {.sa_handler = on_trap, .sa_flags = SA_NODEFER};
  for (size_t i = 0; i < COUNT(sig); i++) sigaction(sig[i], &a, NULL);
}

/* Random bytes; small indices for gathers, in part. */
static void draw_data(unsigned char *p, int64_t bytes) {
  bool small = below(2);
  for (int64_t i = 0; i < bytes; i++) p[i] = (unsigned char)(small && i % 8 ? 0 : draw());
}

/* What lies in the span of an operand but not in its footprint stays as it was. */
static void check_holes(const struct call *c, int k, enum isa isa, const unsigned char *now,
                        const unsigned char *before, int64_t bytes) {
  static unsigned char map[AREA];
  const struct ukr_operand *o = &c->sig->ptr[k];
  memset(map, 0, (size_t)bytes);
  if (o->writes && bytes) mark(c, o, map, 0, 0);
  for (int64_t i = 0; i < bytes; i++)
    if (!map[i] && now[i] != before[i])
      ck_abort_msg("%s: writes byte %lld of %s", describe(c, isa), (long long)i, o->name);
}

static bool is_alone(const struct call *c, int k) {
  for (int i = 0; i < c->sig->nptr; i++)
    if (c->same[i] == c->same[k] && i != k) return false;
  return true;
}

/* Operands that share an area share its end, or its start. */
static void try_call(const struct call *c, int id, enum isa isa) {
  static unsigned char before[UKR_MAXPTR][AREA];
  void *p[UKR_MAXPTR];
  int64_t bytes[UKR_MAXPTR];
  const bool at_end = below(8);
  for (int k = 0; k < c->sig->nptr; k++) {
    bytes[k] = span(c, &c->sig->ptr[k]);
    p[k] = area[c->same[k]] + (at_end ? AREA - bytes[k] : 0);
    draw_data(p[k], bytes[k]);
  }
  for (int k = 0; k < c->sig->nptr; k++) memcpy(before[k], p[k], (size_t)bytes[k]);
  int sig = sigsetjmp(trap, 1);
  if (sig) ck_abort_msg("%s: %s", describe(c, isa), strsignal(sig));
  int status = ukr_table(isa)[id](p, c->v);
  if (status != 0 && status != UKR_RANGE) ck_abort_msg("%s: returns %d", describe(c, isa), status);
  for (int k = 0; k < c->sig->nptr; k++)
    if (is_alone(c, k)) check_holes(c, k, isa, p[k], before[k], bytes[k]);
}

START_TEST(nothing_else_is_touched) {
  seed_draws();
  make_areas();
  catch_traps();
  for (int id = 0; id < UKR_COUNT; id++)
    for (int i = 0; i < ROUNDS; i++) {
      struct call c = {.sig = ukr_sig((enum ukr_id)id)};
      draw_call(&c);
      for (int isa = 0; isa < ISA_COUNT; isa++)
        if (cpu_has((enum isa)isa)) try_call(&c, id, (enum isa)isa);
    }
}
END_TEST

UNIT_MAIN("ukr_hostile", nothing_else_is_touched)
