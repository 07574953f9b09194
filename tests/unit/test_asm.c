/* vm/asm: text and words say the same; errors say where. */
#include "unit.h"

#include <string.h>

#include "../../kernels/ukr.h"
#include "../../vm/asm.h"

static void expect_round_trip(const struct program *p) {
  struct arena arena = {0};
  struct text text = {0};
  struct program q;
  struct fvm_error err;
  OK(asm_print(p, &text));
  OK(asm_parse(text.v, text.n, &arena, &q, &err));
  ck_assert_uint_eq(q.nword, p->nword);
  ck_assert_uint_eq(q.nreg, p->nreg);
  ck_assert_uint_eq(q.nbuf, p->nbuf);
  ck_assert_int_eq(memcmp(q.word, p->word, p->nword * sizeof *p->word), 0);
  for (uint32_t i = 0; i < p->nbuf; i++) {
    ck_assert_int_eq(q.buf[i].kind, p->buf[i].kind);
    ck_assert_int_eq(q.buf[i].bytes, p->buf[i].bytes);
  }
  text_free(&text);
  arena_free(&arena);
}

/* ---- random programs: any call with any numbers, good or bad --------------------------------- */
static uint64_t seed;
static int64_t draw(int64_t n) {
  seed ^= seed << 13;
  seed ^= seed >> 7;
  seed ^= seed << 17;
  return (int64_t)(seed % (uint64_t)n);
}

static int64_t number(int bits) {
  int64_t half = (int64_t)1 << (bits - 1);
  switch (draw(4)) {
  case 0:
    return -half + draw(3);
  case 1:
    return half - 1 - draw(3);
  case 2:
    return draw(100) - 50;
  default:
    return draw(half) - half / 2;
  }
}

static struct val any(const struct builder *b) {
  return b->nreg && draw(2) ? reg((int)draw(b->nreg)) : val(number(56));
}

static void make_call(struct builder *b) {
  int id = (int)draw(UKR_COUNT);
  struct addr a[UKR_MAXPTR] = {0};
  struct val v[UKR_MAXVAL];
  for (int i = 0; i < UKR_MAXPTR; i++) {
    a[i].buf = (int)draw((int64_t)b->buf.n);
    a[i].off = number(48);
    for (int64_t n = b->nreg ? draw(CODE_MAXTERM + 1) : 0; n > 0; n--)
      addr_add(&a[i], (int)draw(b->nreg), number(56));
  }
  for (int i = 0; i < UKR_MAXVAL; i++) v[i] = any(b);
  build_ukr(b, id, a, v);
}

static void make_program(struct builder *b) {
  for (int64_t n = 1 + draw(5); n > 0; n--)
    build_buf(b, (enum bufkind)draw(BUF_KINDS), draw((int64_t)1 << 47));
  for (int64_t n = draw(30); n > 0; n--) switch (draw(5)) {
    case 0:
      if (b->depth < CODE_MAXDEPTH) build_loop(b, number(56), any(b), 1 + draw(9));
      break;
    case 1:
      if (b->depth < CODE_MAXDEPTH) build_par(b, number(56), any(b), (int64_t)1 << 54);
      break;
    case 2:
      if (b->depth) build_end(b);
      break;
    case 3:
      if (b->nreg) build_min(b, number(56), any(b), (int)draw(b->nreg));
      break;
    default:
      make_call(b);
    }
  while (b->depth) build_end(b);
}

START_TEST(random_programs_round_trip) {
  for (int i = 0; i < 3000; i++) {
    struct arena arena = {0};
    struct fvm_error err;
    struct builder b;
    struct program p;
    seed = (uint64_t)i * 0x9e3779b97f4a7c15u + 1;
    build_init(&b, &arena);
    make_program(&b);
    OK(build_finish(&b, &p, &err));
    p.nreg += (uint32_t)draw(2) && p.nreg < CODE_MAXREG;
    expect_round_trip(&p);
    arena_free(&arena);
  }
}
END_TEST

/* ---- text ------------------------------------------------------------------------------------ */
static const char sample[] = "buf 0 in 4096\n"
                             "buf 1 out 4096\n"
                             "par r0 = 0 .. 128 step 8\n"
                             "  r1 = min 8 128 - r0\n"
                             "  loop r2 = 0 .. r1 step 1\n"
                             "    ukr copy_4 x=b0+16-r0*8+r2*4 y=b1 m=1 n=r1 sx=0 cx=1 sy=0 cy=1\n"
                             "  end\n"
                             "end\n"
                             "halt\n";

START_TEST(text_is_canonical) {
  struct arena arena = {0};
  struct text text = {0};
  struct program p;
  struct fvm_error err;
  OK(asm_parse(sample, strlen(sample), &arena, &p, &err));
  OK(asm_print(&p, &text));
  ck_assert_str_eq(text.v, sample);
  text_free(&text);
  arena_free(&arena);
}
END_TEST

/* Comments, blanks, order of operands don't matter. */
START_TEST(text_is_free) {
  static const char loose[] =
      "# a comment\n\nbuf 0  in 4096 # input\r\n\tbuf 1 out 4096\nregs 3\n"
      "par r0=0..128 step 8\nr1=min 8 128-r0\nloop r2=0..r1 step 1\n"
      "ukr copy_4 cy=1 m=1 n = r1 sx=0 cx=1 sy=0  y=b1 x=b0+16-r0*8+r2*4#end\nend\nend\nhalt";
  struct arena arena = {0};
  struct program p, q;
  struct fvm_error err;
  OK(asm_parse(sample, strlen(sample), &arena, &p, &err));
  OK(asm_parse(loose, strlen(loose), &arena, &q, &err));
  ck_assert_uint_eq(p.nword, q.nword);
  ck_assert_uint_eq(p.nreg, q.nreg);
  ck_assert_int_eq(memcmp(p.word, q.word, p.nword * sizeof *p.word), 0);
  arena_free(&arena);
}
END_TEST

static const struct {
  const char *text, *message;
} bad[] = {
    {"halt halt", "line 1, column 6: something follows the instruction"},
    {"\nfrob", "line 2, column 1: unknown instruction 'frob'"},
    {"=", "line 1, column 1: unknown instruction ''"},
    {"end", "line 1, column 4: end without a loop"},
    {"halt\nloop r0 = 0 .. 4 step 1\n", "line 2, column 1: loop without an end"},
    {"loop r64 = 0 .. 4 step 1", "line 1, column 6: register r64, but there are 64"},
    {"loop r0 = 0 . 4 step 1", "line 1, column 13: expected '..'"},
    {"loop r0 = r0 .. 4 step 1", "column 11: expected a number"},
    {"loop r0 = 0 .. 4 step 0", "step must be greater than 0"},
    {"loop r0 = 36028797018963968 .. 4 step 1", "number too large"},
    {"loop r0 = 99999999999999999999999 .. 4 step 1", "number too large"},
    {"loop 5", "column 6: expected a register, rN"},
    {"r0 = max 4 4 - r0", "line 1, column 6: expected min"},
    {"r0 = min 4 4 + r0", "line 1, column 14: expected '-'"},
    {"regs 65", "up to 64 registers"},
    {"regs 1\nr1 = min 1 1 - r0", "line 2, column 1: register r1, but there are 1"},
    {"buf 1 in 4", "the next buffer is 0"},
    {"buf 0 inn 4", "line 1, column 7: expected in, out"},
    {"ukr frob_4", "line 1, column 5: no micro-kernel 'frob_4'"},
    {"buf 0 out 4\nukr fill_4 y=b1", "line 2, column 14: buffer b1, but there are 1"},
    {"buf 0 out 4\nukr fill_4 y=b0+ m=1", "column 17: expected a number"},
    {"buf 0 out 4\nukr fill_4 y=b0+r0 m=1", "column 20: expected '*'"},
    {"buf 0 out 4\nukr fill_4 y=b0 m=1 m=2", "line 2, column 21: 'm' is given twice"},
    {"buf 0 out 4\nukr fill_4 y=b0 k=1", "fill_4 has no integer 'k'"},
    {"buf 0 out 4\nukr fill_4 m=b0", "fill_4 has no pointer 'm'"},
    {"buf 0 out 4\nukr fill_4 y=b0 m=1 n=1 sy=1", "integer 'value' is missing"},
    {"ukr fill_4", "pointer 'y' is missing"},
    {"ukr fill_4 $", "expected an operand"},
};

START_TEST(errors_say_where) {
  for (size_t i = 0; i < COUNT(bad); i++) {
    struct arena arena = {0};
    struct program p;
    struct fvm_error err = {0};
    enum fvm_status st = asm_parse(bad[i].text, strlen(bad[i].text), &arena, &p, &err);
    ck_assert_int_eq(st, FVM_EFORMAT);
    ck_assert_msg(strstr(err.text, bad[i].message) != NULL, "%s: '%s' lacks '%s'", bad[i].text,
                  err.text, bad[i].message);
    arena_free(&arena);
  }
}
END_TEST

/* Cut anywhere or with any byte replaced, the text gives a program or an error. */
START_TEST(hostile_text) {
  size_t n = strlen(sample);
  for (size_t i = 0; i < n; i++)
    for (int c = -1; c < 128; c++) {
      struct arena arena = {0};
      struct program p;
      char copy[sizeof sample];
      memcpy(copy, sample, n);
      if (c >= 0) copy[i] = (char)c;
      if (asm_parse(copy, c < 0 ? i : n, &arena, &p, NULL) == FVM_OK && p.nword)
        expect_round_trip(&p);
      arena_free(&arena);
    }
}
END_TEST

START_TEST(memory_can_run_out) {
  for (long n = 1, done = 0; !done; n++) {
    struct arena arena = {0};
    struct program p;
    struct fvm_error err = {0};
    fvm_fail_alloc(n);
    enum fvm_status st = asm_parse(sample, strlen(sample), &arena, &p, &err);
    fvm_fail_alloc(0);
    done = st == FVM_OK;
    ck_assert(done || st == FVM_ENOMEM);
    arena_free(&arena);
  }
}
END_TEST

START_TEST(broken_words_are_not_printed) {
  uint64_t end = word_head(OP_END, 0, 0, 7), halt = word_head(OP_HALT, 0, 0, 0);
  uint64_t words[] = {halt, end, halt};
  struct program p = {words, 3, 0, 0, NULL};
  struct text text = {0};
  ck_assert_int_eq(asm_print(&p, &text), FVM_EFORMAT);
  words[1] = ~(uint64_t)0;
  ck_assert_int_eq(asm_print(&p, &text), FVM_EFORMAT);
  asm_print_one(&p, 1, &text);
  ck_assert_str_eq(text.v, "?");
  text_free(&text);
}
END_TEST

UNIT_MAIN("asm", random_programs_round_trip, text_is_canonical, text_is_free, errors_say_where,
          hostile_text, memory_can_run_out, broken_words_are_not_printed)
