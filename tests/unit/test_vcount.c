/* vm/vcount: counts by hand, and by the enumerating walker with a naive cache. */
#include "unit.h"

#include <string.h>

#include "../../vm/asm.h"
#include "../../vm/interp.h"
#include "../../vm/lru.h"
#include "../../vm/verify.h"
#include "walker.h"

static void count(const char *text, struct vcount *c) {
  struct arena arena = {0};
  struct program p;
  struct fvm_error err;
  OK(asm_parse(text, strlen(text), &arena, &p, &err));
  OK(verify_program(&p, NULL, &err));
  OK(interp_count(&p, c, &err));
  arena_free(&arena);
}

/* C[8][16] = A[8][8] * B, in two tiles of 4 rows. */
START_TEST(gemm_by_hand) {
  static const char text[] =
      "buf 0 in 256\nbuf 1 in 512\nbuf 2 out 512\n"
      "par r0 = 0 .. 8 step 4\n"
      "ukr gemm_4x16 a=b0+r0*32 b=b1 d=b2+r0*64 c=b2+r0*64 next=b1 e=b2+r0*64"
      " m=4 n=16 k=8 sa=8 ka=1 sd=16 sc=16 mode=0 ahead=64 q=1 qa=0 qb=0 "
      "r=1 ra=0 rb=0 se=16 add=0 clip=0 lo=0 hi=0\nend\nhalt\n";
  struct vcount c = {.level_bytes = {64 * 100, 64 * 3, 0}};
  count(text, &c);
  ck_assert_int_eq(c.calls, 2);
  ck_assert_int_eq(c.flops, 2 * 8 * 16 * 8);
  ck_assert_int_eq(c.read[0], 256);
  ck_assert_int_eq(c.read[1], 2 * 512);
  ck_assert_int_eq(c.read[2], 512);
  ck_assert_int_eq(c.written[2], 512);
  ck_assert_int_eq(c.written[0] + c.written[1], 0);
  ck_assert_int_eq(c.miss[0], 256 + 512 + 512);           /* all once */
  ck_assert_int_eq(c.miss[1], 256 + 2 * 512 + 512 + 512); /* B and C again each time */
  ck_assert_int_eq(c.miss[2], 0);
}
END_TEST

/* The same tiles, three of them over two threads: the busiest has two, the last one cut to 2 rows.
 * Every byte of A and C once, B again from beyond a cache of three lines. */
START_TEST(load_by_hand) {
  static const char text[] =
      "buf 0 in 320\nbuf 1 in 512\nbuf 2 out 640\n"
      "par r0 = 0 .. 10 step 4\nr1 = min 4 10 - r0\n"
      "ukr gemm_4x16 a=b0+r0*32 b=b1 d=b2+r0*64 c=b2+r0*64 next=b1 e=b2+r0*64"
      " m=r1 n=16 k=8 sa=8 ka=1 sd=16 sc=16 mode=0 ahead=64 q=1 qa=0 qb=0 "
      "r=1 ra=0 rb=0 se=16 add=0 clip=0 lo=0 hi=0\nend\nhalt\n";
  const int64_t levels[VCOUNT_LEVELS] = {64 * 3, 1 << 20, 0};
  struct arena arena = {0};
  struct program p;
  struct load *l = fvm_alloc(1, sizeof *l);
  struct fvm_error err;
  ck_assert_ptr_nonnull(l);
  OK(asm_parse(text, strlen(text), &arena, &p, &err));
  OK(verify_program(&p, NULL, &err));
  OK(interp_load(&p, 1, levels, l, &err));
  ck_assert_int_eq(l->calls[UKR_gemm_4x16], 3);
  ck_assert_int_eq(l->flops[UKR_gemm_4x16], 2 * 10 * 16 * 8);
  ck_assert_int_eq(l->pars, 1);
  ck_assert_int_eq(l->first[0], 320);
  ck_assert_int_eq(l->first[1], 512);
  ck_assert_int_eq(l->first[2], 640);
  ck_assert_int_eq(l->miss[1], 320 + 512 + 640);
  ck_assert_int_ge(l->miss[0], 320 + 3 * 512 + 640);
  OK(interp_load(&p, 2, levels, l, &err));
  ck_assert_int_eq(l->calls[UKR_gemm_4x16], 2);
  ck_assert_int_eq(l->flops[UKR_gemm_4x16], 2 * 8 * 16 * 8);
  ck_assert_int_eq(l->first[0], 256);
  ck_assert_int_eq(l->first[1], 512);
  fvm_free(l, 1, sizeof *l);
  arena_free(&arena);
}
END_TEST

/* Broadcast dimensions count once; empty operands not at all; scratch and edges. */
START_TEST(strips_by_hand) {
  static const char text[] =
      "buf 0 in 4\nbuf 1 in 400\nbuf 2 out 400\n"
      "loop r0 = 0 .. 100 step 30\n"
      "r1 = min 30 100 - r0\n"
      "ukr add_f32 x=b1+r0*4 y=b0 z=b2+r0*4 m=1 n=r1 sx=0 cx=1 sy=0 cy=0 sz=0\n"
      "ukr add_f32 x=b1+r0*4 y=b0 z=b2+r0*4 m=0 n=r1 sx=0 cx=1 sy=0 cy=0 sz=0\nend\nhalt\n";
  struct vcount c = {.level_bytes = {0, 0, 1 << 20}};
  count(text, &c);
  ck_assert_int_eq(c.calls, 8);
  ck_assert_int_eq(c.flops, 100);
  ck_assert_int_eq(c.read[0], 4 * 4);
  ck_assert_int_eq(c.read[1], 400);
  ck_assert_int_eq(c.written[2], 400);
  ck_assert_int_eq(c.miss[2], 64 * (1 + 7 + 7));
}
END_TEST

/* ---- against a naive cache ------------------------------------------------------------------- */
enum { LINES = 300 };
struct naive {
  int64_t line[LINES], n, most, misses;
};

static void naive_touch(struct naive *c, int64_t line) {
  int64_t i = 0;
  while (i < c->n && c->line[i] != line) i++;
  if (i == c->n) {
    c->misses++;
    if (c->n < c->most) c->n++;
    if (c->most == 0) return;
    i = MIN(i, c->most - 1);
  }
  memmove(c->line + 1, c->line, (size_t)i * sizeof *c->line);
  c->line[0] = line;
}

START_TEST(lru_is_exact) {
  static const int64_t bytes[][LRU_LEVELS] = {
      {64, 128, 640}, {640, 640, 6400}, {63, 65, 64 * 200}, {0, 0, 0}, {256, 1024, 1 << 20}};
  uint64_t x = 88172645463325252u;
  for (size_t b = 0; b < COUNT(bytes); b++) {
    struct lru c;
    struct fvm_error err;
    struct naive naive[LRU_LEVELS] = {0};
    OK(lru_init(&c, bytes[b], LRU_LEVELS, LINES, &err));
    for (int s = 0; s < LRU_LEVELS; s++) naive[s].most = MIN(bytes[b][s] / 64, LINES);
    for (int i = 0; i < 20000; i++) {
      x ^= x << 13, x ^= x >> 7, x ^= x << 17;
      int64_t line = (int64_t)(x % 3 ? x % 7 + (x >> 20) % 5 * 20 : x / 3 % LINES);
      lru_touch(&c, line);
      for (int s = 0; s < LRU_LEVELS; s++) {
        naive_touch(&naive[s], line);
        ck_assert_int_eq(c.misses[s], naive[s].misses);
      }
    }
    lru_free(&c);
  }
}
END_TEST

struct oracle {
  struct naive cache;
  int64_t base[4], read[4], written[4];
};

static void note(struct walker *k, const struct touch *t) {
  struct oracle *o = k->arg;
  *(t->writes ? &o->written[t->buf] : &o->read[t->buf]) += t->bytes;
  naive_touch(&o->cache, (o->base[t->buf] + t->at) / 64);
}

/* A nest with edges, transposes and a register as limit, element by element. */
START_TEST(walks_agree) {
  static const char text[] =
      "buf 0 in 1600\nbuf 1 out 1600\nbuf 2 scratch 400\n"
      "par r0 = 0 .. 20 step 6\nr1 = min 6 20 - r0\n"
      "loop r2 = 0 .. 20 step 7\nr3 = min 7 20 - r2\nloop r4 = 0 .. r3 step 1\n"
      "ukr copy_4 x=b0+r0*80+r2*4+r4*4 y=b2+r4*4 m=r1 n=1 sx=20 cx=1 sy=7 cy=1\nend\n"
      "ukr transpose_4 x=b2 y=b1+r2*80+r0*4 m=r3 n=r1 sx=7 sy=20\nend\nend\nhalt\n";
  struct arena arena = {0};
  struct program p;
  struct fvm_error err;
  OK(asm_parse(text, strlen(text), &arena, &p, &err));
  OK(verify_program(&p, NULL, &err));
  for (int64_t bytes = 64; bytes < 5000; bytes += 320) {
    struct vcount c = {.level_bytes = {bytes}};
    struct oracle o = {.cache = {.most = bytes / 64}, .base = {0, 1600, 3200}};
    struct walker k = {.p = &p, .touch = note, .arg = &o, .budget = 1 << 20};
    OK(interp_count(&p, &c, &err));
    ck_assert(walker_run(&k));
    ck_assert_int_eq(c.miss[0], o.cache.misses * 64);
    for (int i = 0; i < 3; i++) {
      ck_assert_int_eq(c.read[i], o.read[i]);
      ck_assert_int_eq(c.written[i], o.written[i]);
    }
  }
  for (long n = 1; n < 3; n++) {
    struct vcount c = {.level_bytes = {4096}};
    fvm_fail_alloc(n);
    ck_assert_int_eq(interp_count(&p, &c, &err), FVM_ENOMEM);
  }
  arena_free(&arena);
}
END_TEST

UNIT_MAIN("vcount", gemm_by_hand, load_by_hand, strips_by_hand, lru_is_exact, walks_agree)
