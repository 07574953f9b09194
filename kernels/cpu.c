/* Which instruction sets this CPU and its operating system support. Contract: ukr.h. */
#include "ukr.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[ISA_COUNT] = {
#define ISA(name, text, feature) text,
#include "isa.def"
#undef ISA
};

const char *isa_name(enum isa isa) { return (unsigned)isa < ISA_COUNT ? names[isa] : "none"; }

#ifdef __x86_64__
#include <cpuid.h>

/* State that the system saves on a context switch (XCR0): 2 SSE, 4 AVX, 0xe0 AVX-512. */
static uint32_t saved_state(void) {
  uint32_t a, d;
  __asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
  return a;
}

static bool all(uint32_t x, uint32_t bits) { return (x & bits) == bits; }

static enum isa best_isa(void) {
  uint32_t a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return ISA_REF;
  if (!all(c, bit_OSXSAVE | bit_AVX | bit_FMA) || !all(saved_state(), 0x06)) return ISA_REF;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !all(b, bit_AVX2)) return ISA_REF;
  bool has512 = all(b, bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL);
  return has512 && all(saved_state(), 0xe6) ? ISA_AVX512 : ISA_AVX2;
}
#else
static enum isa best_isa(void) { return ISA_REF; }
#endif

/* Written once, under `once`; constant afterwards. */
static enum isa cpu_best, chosen;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* A name that is not in the table asks for more than we know, so nothing is lowered. */
static void choose(void) {
  const char *want = getenv("FLUIDVM_ISA");
  cpu_best = chosen = best_isa();
  for (int i = 0; want && i < (int)cpu_best; i++)
    if (!strcmp(want, names[i])) chosen = (enum isa)i;
}

enum isa cpu_isa(void) {
  pthread_once(&once, choose);
  return chosen;
}

bool cpu_has(enum isa isa) {
  pthread_once(&once, choose);
  return isa <= cpu_best;
}
