/* The assembler: one line an instruction, straight into words. Contract: asm.h. */
#include "asm_impl.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "../kernels/ukr.h"

struct parser {
  const char *s, *end, *line_start;
  int line;
  VEC(uint64_t) word;
  VEC(struct buffer) buf;
  uint32_t open[CODE_MAXDEPTH];
  int open_line[CODE_MAXDEPTH], depth;
  uint32_t nreg, max_reg; /* registers used so far, registers allowed */
  struct fvm_error *err;
};

/* All parsing functions return false after an error; the first one stops everything. */
static void fill_at(struct parser *p, const char *at, const char *fmt, ...) FVM_PRINTF(3, 4);
static void fill_at(struct parser *p, const char *at, const char *fmt, ...) {
  char what[200];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(what, sizeof what, fmt, ap);
  va_end(ap);
  fvm_fail(p->err, FVM_EFORMAT, "line %d, column %d: %s", p->line, (int)(at - p->line_start) + 1,
           what);
}
/* A macro for the same reason as fvm_fail. */
#define fail_at(p, at, ...) (fill_at((p), (at), __VA_ARGS__), false)

static bool put(struct parser *p, uint64_t w) {
  if (p->word.n >= CODE_MAXWORDS) return fail_at(p, p->s, "program too long");
  return VEC_PUSH(&p->word, w) || fvm_nomem(p->err) == FVM_OK;
}

/* ---- tokens ---------------------------------------------------------------------------------- */
static void skip_blanks(struct parser *p) {
  while (p->s < p->end && (*p->s == ' ' || *p->s == '\t' || *p->s == '\r')) p->s++;
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_word(char c) {
  return is_digit(c) || c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static char peek(const struct parser *p) { return p->s < p->end ? *p->s : '\n'; }
static bool at_line_end(struct parser *p) {
  skip_blanks(p);
  return peek(p) == '\n' || peek(p) == '#';
}

/* Letters, digits and _ from here on; may be empty. */
static size_t take_word(struct parser *p, const char **word) {
  skip_blanks(p);
  *word = p->s;
  while (p->s < p->end && is_word(*p->s)) p->s++;
  return (size_t)(p->s - *word);
}

static bool is_text(const char *word, size_t len, const char *text) {
  return strlen(text) == len && !memcmp(word, text, len);
}

static bool expect(struct parser *p, const char *text) {
  size_t len = strlen(text);
  skip_blanks(p);
  if ((size_t)(p->end - p->s) < len || memcmp(p->s, text, len) != 0)
    return fail_at(p, p->s, "expected '%s'", text);
  p->s += len;
  return true;
}

/* Digits, with the given sign; the value must fit in `bits` bits with sign. */
static bool take_digits(struct parser *p, bool minus, int bits, int64_t *x) {
  const char *at = p->s;
  int64_t most = ((int64_t)1 << (bits - 1)) - !minus;
  if (!is_digit(peek(p))) return fail_at(p, at, "expected a number");
  for (*x = 0; is_digit(peek(p)); p->s++)
    if (!fvm_mul(*x, 10, x) || !fvm_add(*x, *p->s - '0', x) || *x > most)
      return fail_at(p, at, "number too large");
  if (minus) *x = -*x;
  return true;
}

static bool take_number(struct parser *p, int bits, int64_t *x) {
  skip_blanks(p);
  bool minus = peek(p) == '-';
  p->s += minus;
  return take_digits(p, minus, bits, x);
}

/* The letter and a number below `limit`. */
static bool take_index(struct parser *p, char letter, int64_t limit, const char *what, int64_t *x) {
  skip_blanks(p);
  const char *at = p->s;
  if (peek(p) != letter) return fail_at(p, at, "expected a %s, %cN", what, letter);
  p->s++;
  if (!take_digits(p, false, 32, x)) return false;
  return *x < limit || fail_at(p, at, "%s %c%lld, but there are %lld", what, letter, (long long)*x,
                               (long long)limit);
}

static bool take_reg(struct parser *p, unsigned *reg) {
  int64_t x;
  if (!take_index(p, 'r', p->max_reg, "register", &x)) return false;
  *reg = (unsigned)x;
  p->nreg = MAX(p->nreg, *reg + 1);
  return true;
}

static bool take_val(struct parser *p, uint64_t *w) {
  int64_t x;
  unsigned reg;
  skip_blanks(p);
  if (peek(p) == 'r') {
    if (!take_reg(p, &reg)) return false;
    *w = word_pack(1, reg);
    return true;
  }
  if (!take_number(p, 56, &x)) return false;
  *w = word_pack(0, x);
  return true;
}

/* ---- calls ----------------------------------------------------------------------------------- */
struct call {
  const struct ukr_sig *sig;
  uint64_t ptr[UKR_MAXPTR][1 + CODE_MAXTERM], val[UKR_MAXVAL];
  bool has_ptr[UKR_MAXPTR], has_val[UKR_MAXVAL];
};

/* bN, then an offset, then terms: b0+16+r0*512-r1*4 */
static bool take_addr(struct parser *p, uint64_t *word) {
  int64_t buf, off = 0, stride;
  unsigned nterm = 0, reg;
  if (!take_index(p, 'b', (int64_t)p->buf.n, "buffer", &buf)) return false;
  for (int n = 0; peek(p) == '+' || peek(p) == '-'; n++) {
    bool minus = *p->s++ == '-';
    if (n == 0 && peek(p) != 'r') {
      if (!take_digits(p, minus, 48, &off)) return false;
      continue;
    }
    if (nterm == CODE_MAXTERM) return fail_at(p, p->s, "more than %d terms", (int)CODE_MAXTERM);
    if (!take_reg(p, &reg) || !expect(p, "*") || !take_digits(p, minus, 56, &stride)) return false;
    word[++nterm] = word_pack(reg, stride);
  }
  word[0] = ptr_pack((unsigned)buf, nterm, off);
  return true;
}

/* One NAME=VALUE. A pointer and an integer may have the same name; the value tells them apart. */
static bool take_operand(struct parser *p, struct call *c) {
  const char *name;
  size_t len = take_word(p, &name);
  if (len == 0) return fail_at(p, name, "expected an operand, NAME=VALUE");
  if (!expect(p, "=")) return false;
  skip_blanks(p);
  bool is_ptr = peek(p) == 'b', *has = is_ptr ? c->has_ptr : c->has_val;
  int i = 0, n = is_ptr ? c->sig->nptr : c->sig->nval;
  while (i < n && !is_text(name, len, is_ptr ? c->sig->ptr[i].name : c->sig->val[i].name)) i++;
  if (i == n)
    return fail_at(p, name, "%s has no %s '%.*s'", c->sig->name, is_ptr ? "pointer" : "integer",
                   (int)MIN(len, 40), name);
  if (has[i]) return fail_at(p, name, "'%.*s' is given twice", (int)len, name);
  has[i] = true;
  return is_ptr ? take_addr(p, c->ptr[i]) : take_val(p, &c->val[i]);
}

static bool put_call(struct parser *p, const struct call *c) {
  for (int i = 0; i < c->sig->nptr; i++) {
    if (!c->has_ptr[i]) return fail_at(p, p->s, "pointer '%s' is missing", c->sig->ptr[i].name);
    for (unsigned t = 0; t <= ptr_nterm(c->ptr[i][0]); t++)
      if (!put(p, c->ptr[i][t])) return false;
  }
  for (int i = 0; i < c->sig->nval; i++) {
    if (!c->has_val[i]) return fail_at(p, p->s, "integer '%s' is missing", c->sig->val[i].name);
    if (!put(p, c->val[i])) return false;
  }
  return true;
}

static bool parse_call(struct parser *p, enum opcode op) {
  const char *name;
  size_t len = take_word(p, &name);
  enum ukr_id id = ukr_find(name, len);
  if (id == UKR_COUNT) return fail_at(p, name, "no micro-kernel '%.*s'", (int)MIN(len, 40), name);
  struct call c = {.sig = ukr_sig(id)};
  while (!at_line_end(p))
    if (!take_operand(p, &c)) return false;
  return put(p, word_head(op, 0, (unsigned)id, 0)) && put_call(p, &c);
}

/* ---- the other forms ------------------------------------------------------------------------- */
static bool parse_loop(struct parser *p, enum opcode op) {
  unsigned reg;
  int64_t lo, step;
  uint64_t limit;
  if (p->depth == CODE_MAXDEPTH)
    return fail_at(p, p->s, "loops nest deeper than %d", (int)CODE_MAXDEPTH);
  p->open[p->depth] = (uint32_t)p->word.n;
  p->open_line[p->depth++] = p->line;
  if (!take_reg(p, &reg) || !expect(p, "=") || !take_number(p, 56, &lo) || !expect(p, "..") ||
      !take_val(p, &limit) || !expect(p, "step") || !take_number(p, 56, &step))
    return false;
  if (step <= 0) return fail_at(p, p->s, "step must be greater than 0");
  return put(p, word_head(op, reg, 0, 0)) && put(p, word_pack(0, lo)) && put(p, limit) &&
         put(p, word_pack(0, step));
}

static bool parse_end(struct parser *p, enum opcode op) {
  if (p->depth == 0) return fail_at(p, p->s, "end without a loop");
  uint32_t head = p->open[--p->depth];
  p->word.v[head] |= (uint64_t)p->word.n << 32;
  return put(p, word_head(op, 0, 0, head));
}

/* Behind the mnemonic: cap limit - rB */
static bool parse_min(struct parser *p, enum opcode op, unsigned reg) {
  uint64_t cap, limit;
  unsigned sub;
  return take_val(p, &cap) && take_val(p, &limit) && expect(p, "-") && take_reg(p, &sub) &&
         put(p, word_head(op, reg, sub, 0)) && put(p, cap) && put(p, limit);
}

static bool parse_buf(struct parser *p) {
  int64_t i, bytes;
  const char *kind;
  skip_blanks(p);
  const char *at = p->s;
  if (!take_digits(p, false, 32, &i)) return false;
  if (i != (int64_t)p->buf.n || i >= CODE_MAXBUF)
    return fail_at(p, at, "the next buffer is %zu, and there are at most %d", p->buf.n,
                   (int)CODE_MAXBUF);
  size_t len = take_word(p, &kind);
  unsigned k = 0;
  while (k < BUF_KINDS && !is_text(kind, len, asm_kinds[k])) k++;
  if (k == BUF_KINDS) return fail_at(p, kind, "expected in, out, scratch or shared");
  if (!take_number(p, 56, &bytes)) return false;
  return VEC_PUSH(&p->buf, ((struct buffer){(enum bufkind)k, bytes})) ||
         fvm_nomem(p->err) == FVM_OK;
}

static bool parse_regs(struct parser *p) {
  int64_t n;
  skip_blanks(p);
  const char *at = p->s;
  if (!take_digits(p, false, 32, &n)) return false;
  if (n < p->nreg || n > CODE_MAXREG)
    return fail_at(p, at, "a program has up to %d registers, and this one uses %u",
                   (int)CODE_MAXREG, (unsigned)p->nreg);
  p->nreg = p->max_reg = (uint32_t)n;
  return true;
}

/* ---- lines ----------------------------------------------------------------------------------- */
static bool parse_form(struct parser *p, enum opcode op) {
  switch (asm_ops[op].form) {
  case FORM_LOOP:
    return parse_loop(p, op);
  case FORM_END:
    return parse_end(p, op);
  case FORM_CALL:
    return parse_call(p, op);
  default:
    return put(p, word_head(op, 0, 0, 0));
  }
}

/* The opcode of that mnemonic that assigns (rN = ...) or doesn't; OP_COUNT when there is none. */
static enum opcode find_op(const char *word, size_t len, bool assigns) {
  for (int op = 0; op < OP_COUNT; op++)
    if ((asm_ops[op].form == FORM_MIN) == assigns && is_text(word, len, asm_ops[op].text))
      return (enum opcode)op;
  return OP_COUNT;
}

static bool parse_assignment(struct parser *p) {
  unsigned reg;
  const char *word;
  if (!take_reg(p, &reg) || !expect(p, "=")) return false;
  size_t len = take_word(p, &word);
  enum opcode op = find_op(word, len, true);
  if (op == OP_COUNT) return fail_at(p, word, "expected min");
  return parse_min(p, op, reg);
}

static bool parse_statement(struct parser *p) {
  const char *word;
  size_t len = take_word(p, &word);
  if (is_text(word, len, "buf")) return parse_buf(p);
  if (is_text(word, len, "regs")) return parse_regs(p);
  enum opcode op = find_op(word, len, false);
  if (op != OP_COUNT) return parse_form(p, op);
  if (len < 2 || word[0] != 'r' || !is_digit(word[1]))
    return fail_at(p, word, "unknown instruction '%.*s'", (int)MIN(len, 40), word);
  p->s = word;
  return parse_assignment(p);
}

static bool parse_line(struct parser *p) {
  p->line_start = p->s;
  p->line++;
  if (!at_line_end(p) && !parse_statement(p)) return false;
  if (!at_line_end(p)) return fail_at(p, p->s, "something follows the instruction");
  while (p->s < p->end && *p->s != '\n') p->s++;
  p->s += p->s < p->end;
  return true;
}

static bool parse_all(struct parser *p) {
  while (p->s < p->end)
    if (!parse_line(p)) return false;
  if (p->depth == 0) return true;
  p->line = p->open_line[p->depth - 1];
  return fail_at(p, p->line_start = p->s, "loop without an end");
}

/* Copy the program into the arena. */
static bool hand_out(struct parser *p, struct arena *a, struct program *out) {
  uint64_t *word = ARENA_NEW(a, uint64_t, p->word.n);
  struct buffer *buf = ARENA_NEW(a, struct buffer, p->buf.n);
  if (!word || !buf) return fvm_nomem(p->err) == FVM_OK;
  if (p->word.n) memcpy(word, p->word.v, p->word.n * sizeof *word);
  if (p->buf.n) memcpy(buf, p->buf.v, p->buf.n * sizeof *buf);
  *out = (struct program){word, (uint32_t)p->word.n, p->nreg, (uint32_t)p->buf.n, buf};
  return true;
}

enum fvm_status asm_parse(const char *text, size_t len, struct arena *a, struct program *p,
                          struct fvm_error *err) {
  struct fvm_error own = {0};
  struct parser x = {.s = text,
                     .end = text + len,
                     .line_start = text,
                     .max_reg = CODE_MAXREG,
                     .err = err ? err : &own};
  bool ok = parse_all(&x) && hand_out(&x, a, p);
  VEC_FREE(&x.word);
  VEC_FREE(&x.buf);
  return ok ? FVM_OK : x.err->code;
}
