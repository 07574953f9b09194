/* From element-wise operators to strips: runs the reverse Polish rows of elt.def. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "elt.h"

/* One operator on its way: an opcall whose inputs are values of the program. */
struct item {
  struct opcall call;
  const struct elt_value *arg;
  enum fvm_dtype result;
};
struct machine {
  struct elt_prog *p;
  const struct item *it;
  struct elt_value stack[8];
  int depth;
};

/* ---- stack ---- */

static bool push(struct machine *k, struct elt_value v) {
  if (k->depth >= (int)COUNT(k->stack)) return false;
  k->stack[k->depth++] = v;
  return true;
}

static bool push_number(struct machine *k, double number) {
  return push(k, (struct elt_value){.kind = ELT_CONST, .i = -1, .number = number});
}

static struct elt_value arg(const struct machine *k, int i) {
  return i < k->it->call.nin ? k->it->arg[i] : (struct elt_value){.kind = ELT_ABSENT};
}

/* ---- constants ---- */

static uint64_t bits_of(double number, enum fvm_dtype d) {
  uint64_t bits = 0;
  elem_set_f64(&bits, d, 0, number);
  return bits;
}

/* Give an untyped constant a type, and a place among the program's constants. */
static bool settle(struct elt_prog *p, struct elt_value *v, enum fvm_dtype d) {
  if (v->kind != ELT_CONST || v->dtype != FVM_NONE) return true;
  struct elt_const c = {d, bits_of(v->number, d)};
  int i = 0;
  while (i < p->nconst && (p->cst[i].dtype != d || p->cst[i].bits != c.bits)) i++;
  if (i == ELT_MAXCONST) return false;
  p->nconst = MAX(p->nconst, i + 1);
  p->cst[i] = c;
  v->i = i;
  v->dtype = d;
  return true;
}

/* ---- strips ---- */

static bool put_step(struct elt_prog *p, int ukr, int narg, const struct elt_value *v,
                     enum fvm_dtype d, struct elt_value *result) {
  if (p->nstep == ELT_MAXSTEP) return false;
  struct elt_step *s = &p->step[p->nstep];
  *s = (struct elt_step){.ukr = ukr, .narg = narg, .dtype = d, .slot = -1};
  memcpy(s->arg, v, (size_t)narg * sizeof *v);
  *result = (struct elt_value){.kind = ELT_STEP, .i = p->nstep++, .dtype = d};
  return true;
}

static enum ukr_id find(const char *name, const char *suffix) {
  char full[40];
  int n = snprintf(full, sizeof full, "%s_%s", name, suffix);
  return n > 0 && (size_t)n < sizeof full ? ukr_find(full, (size_t)n) : UKR_COUNT;
}

/* Strips for bytes serve bool as well. */
static const char *suffix(enum fvm_dtype d) { return d == FVM_BOOL ? "u8" : fvm_dtype_name(d); }

static int operands(const char *name) {
  static const char *const any[] = {"f32", "u8", "4"};
  for (size_t i = 0; i < COUNT(any); i++) {
    enum ukr_id id = find(name, any[i]);
    if (id != UKR_COUNT) return ukr_sig(id)->nptr - 1;
  }
  return 0;
}

/* Apply a strip to the top of the stack. */
static bool apply(struct machine *k, const char *name) {
  int n = operands(name);
  bool select = !strcmp(name, "select");
  if (n == 0 || n > ELT_MAXARG || k->depth < n) return false;
  k->depth -= n;
  struct elt_value *v = &k->stack[k->depth], result;
  if (n == 2 && v[1].kind == ELT_ABSENT) {
    k->depth++;
    return true;
  }
  enum fvm_dtype d = FVM_NONE;
  for (int i = select; i < n && d == FVM_NONE; i++) d = v[i].dtype;
  for (int i = select; i < n; i++)
    if (!settle(k->p, &v[i], d) || v[i].kind == ELT_ABSENT || v[i].dtype != d) return false;
  char size[2] = {(char)('0' + fvm_dtype_bytes(d)), 0};
  enum ukr_id id = find(name, select ? size : suffix(d));
  if (id == UKR_COUNT) return false;
  bool truth = !select && ukr_sig(id)->ptr[n].elem_bytes == 1;
  return put_step(k->p, (int)id, n, v, truth ? FVM_BOOL : d, &result) && push(k, result);
}

/* ---- conversions ---- */

static bool convert_by(struct machine *k, enum fvm_dtype d) {
  char name[24];
  struct elt_value *v = &k->stack[k->depth - 1];
  snprintf(name, sizeof name, "cvt_%s", suffix(v->dtype));
  enum ukr_id id = find(name, fvm_dtype_name(d));
  return id != UKR_COUNT && put_step(k->p, (int)id, 1, v, d, v);
}

/* Same bytes, another name. */
static bool same_bits(enum fvm_dtype from, enum fvm_dtype to) {
  return from == to || (fvm_dtype_bytes(from) == fvm_dtype_bytes(to) && !dtype_is_float(from) &&
                        !dtype_is_float(to) && to != FVM_BOOL);
}

static bool convert(struct machine *k, enum fvm_dtype d) {
  if (k->depth == 0) return false;
  struct elt_value *v = &k->stack[k->depth - 1];
  if (v->kind == ELT_ABSENT) return false;
  if (same_bits(v->dtype, d)) {
    v->dtype = d;
    return true;
  }
  if (d == FVM_BOOL && fvm_dtype_bytes(v->dtype) == 1) {
    v->dtype = FVM_BOOL;
    if (!apply(k, "not")) return false;
    return apply(k, "not");
  }
  if (convert_by(k, d)) return true;
  /* Bytes are exact in f32, which goes on to f64. */
  return fvm_dtype_bytes(v->dtype) == 1 && d == FVM_F64 && convert_by(k, FVM_F32) &&
         convert_by(k, d);
}

/* ---- words ---- */

static bool fold(struct machine *k, const char *name) {
  for (int i = 0; i < k->it->call.nin; i++)
    if (!push(k, arg(k, i)) || (i && !apply(k, name))) return false;
  return true;
}

/* NAME=TEXT: the attribute is there and has this value. */
static bool attr_is(const struct opcall *c, const char *word) {
  char name[32];
  const char *eq = strchr(word, '=');
  size_t n = (size_t)(eq - word);
  CHECK(n < sizeof name);
  memcpy(name, word, n);
  name[n] = 0;
  const struct attr *a = opcall_attr(c, name);
  if (!a) return false;
  return a->kind == ATTR_STRING ? !strcmp(a->s, eq + 1)
                                : a->kind == ATTR_INT && a->i == strtoll(eq + 1, NULL, 10);
}

static bool push_attr(struct machine *k, const char *word) {
  char name[32];
  const char *eq = strchr(word, '=');
  size_t n = (size_t)(eq - word);
  CHECK(n < sizeof name);
  memcpy(name, word, n);
  name[n] = 0;
  return push_number(k, (double)opcall_float(&k->it->call, name, strtof(eq + 1, NULL)));
}

/* b|NAME: the input, else the attribute, else absent. */
static bool push_either(struct machine *k, const char *word) {
  struct elt_value v = arg(k, word[0] - 'a');
  const struct attr *a = opcall_attr(&k->it->call, word + 2);
  if (v.kind == ELT_ABSENT && a && a->kind == ATTR_FLOAT) return push_number(k, (double)a->f);
  return push(k, v);
}

static bool is_constant(const struct machine *k, double want) {
  const struct tensor *t = opcall_in(&k->it->call, 1);
  return t && t->data && tensor_count(t) == 1 && elem_f64(t->data, t->dtype, 0) == want;
}

/* One word; false when it does not apply, which ends the alternative. */
static bool word(struct machine *k, const char *w) {
  char *end;
  if (!strcmp(w, "int")) return !dtype_is_float(arg(k, 0).dtype);
  if (!strncmp(w, "b==", 3)) return is_constant(k, strtod(w + 3, NULL));
  if (w[0] == '@') return push_attr(k, w + 1);
  if (strchr(w, '=')) return attr_is(&k->it->call, w);
  if (w[0] == '*') return fold(k, w + 1);
  if (w[0] == '~') return convert(k, arg(k, w[1] - 'a').dtype);
  if (w[1] == '|') return push_either(k, w);
  if (!strcmp(w, "n")) return push_number(k, k->it->call.nin);
  if (w[0] >= 'a' && w[0] <= 'c' && !w[1]) return push(k, arg(k, w[0] - 'a'));
  if (!strcmp(w, "dup")) return k->depth > 0 && push(k, k->stack[k->depth - 1]);
  if (!strcmp(w, "cvt")) return convert(k, k->it->result);
  double number = strtod(w, &end);
  return *end ? apply(k, w) : push_number(k, number);
}

/* Run the words up to "|" or the end; *text is left behind them. */
static bool alternative(struct machine *k, const char **text) {
  bool ok = true;
  for (;;) {
    char w[40];
    size_t n;
    *text += strspn(*text, " ");
    n = strcspn(*text, " ");
    CHECK(n < sizeof w);
    memcpy(w, *text, n);
    w[n] = 0;
    *text += n;
    if (n == 0 || !strcmp(w, "|")) return ok && k->depth == 1;
    ok = ok && word(k, w);
  }
}

static bool lower_item(struct elt_prog *p, const struct item *it, struct elt_value *result) {
  const struct elt_row *row = elt_row(it->call.op);
  if (!row) return false;
  const char *text = row->strips;
  int nstep = p->nstep, nconst = p->nconst;
  while (*text) {
    struct machine k = {.p = p, .it = it};
    if (alternative(&k, &text)) {
      *result = k.stack[0];
      return result->kind != ELT_CONST && result->dtype == it->result;
    }
    p->nstep = nstep;
    p->nconst = nconst;
  }
  return false;
}

/* ---- scratch ---- */

/* Give each intermediate value a slot; a value may overwrite an operand of its size that ends
 * there. */
static bool assign_slots(struct elt_prog *p) {
  int last[ELT_MAXSTEP] = {0}, owner[ELT_MAXSLOT] = {0};
  for (int s = 0; s < p->nstep; s++) {
    last[s] = s;
    for (int j = 0; j < p->step[s].narg; j++)
      if (p->step[s].arg[j].kind == ELT_STEP) last[p->step[s].arg[j].i] = s;
  }
  p->nslot = 0;
  for (int s = 0; s < p->nstep - 1; s++) {
    int64_t bytes = (int64_t)fvm_dtype_bytes(p->step[s].dtype);
    int slot = -1;
    for (int i = 0; i < p->nslot && slot < 0; i++)
      if (last[owner[i]] < s || (last[owner[i]] == s && p->slot_bytes[i] == bytes &&
                                 (int64_t)fvm_dtype_bytes(p->step[owner[i]].dtype) == bytes))
        slot = i;
    if (slot < 0) {
      if (p->nslot == ELT_MAXSLOT) return false;
      slot = p->nslot++;
      p->slot_bytes[slot] = 0;
    }
    p->slot_bytes[slot] = MAX(p->slot_bytes[slot], bytes);
    owner[slot] = s;
    p->step[s].slot = slot;
  }
  return true;
}

/* The last step must make the result: where it does not, copy. */
static bool finish(struct elt_prog *p, struct elt_value result) {
  static const int copy[] = {
      [1] = UKR_copy_1, [2] = UKR_copy_2, [4] = UKR_copy_4, [8] = UKR_copy_8};
  if (result.kind != ELT_STEP || result.i != p->nstep - 1)
    if (!put_step(p, copy[fvm_dtype_bytes(result.dtype)], 1, &result, result.dtype, &result))
      return false;
  return assign_slots(p);
}

/* ---- whole programs ---- */

static struct elt_value input_value(const struct opcall *c, int i) {
  if (i < 0 || c->in[i].dtype == FVM_NONE) return (struct elt_value){.kind = ELT_ABSENT};
  return (struct elt_value){.kind = ELT_INPUT, .i = i, .dtype = c->in[i].dtype};
}

static bool lower_plain(const struct opcall *c, struct elt_prog *p, struct elt_value *result) {
  struct elt_value v[NEST_MAXOP];
  if (c->nin > NEST_MAXOP) return false;
  for (int i = 0; i < c->nin; i++) v[i] = input_value(c, i);
  struct item it = {*c, v, c->out[0].dtype};
  return lower_item(p, &it, result);
}

static bool lower_body(const struct opcall *c, struct elt_prog *p, struct elt_value *result) {
  struct elt_value made[ELT_MAXSTEP];
  struct elt_value anchor = {.kind = ELT_ABSENT};
  if (c->nown) {
    struct opcall own;
    struct tensor out;
    opcall_anchor(c, &own, &out);
    anchor = (struct elt_value){.kind = ELT_ANCHOR, .dtype = out.dtype};
  }
  if (c->body->n > ELT_MAXSTEP || c->body->n < 1) return false;
  for (int k = 0; k < c->body->n; k++) {
    const struct body_item *b = &c->body->item[k];
    struct tensor in[BODY_MAXARG] = {0};
    struct elt_value v[BODY_MAXARG];
    for (int j = 0; j < b->narg; j++) {
      int from = b->arg[j];
      v[j] = from < c->nin    ? input_value(c, from)
             : from == c->nin ? anchor
                              : made[from - c->nin - 1];
      in[j] = v[j].kind == ELT_INPUT ? c->in[v[j].i] : (struct tensor){.dtype = v[j].dtype};
    }
    struct item it = {.call = {.op = b->op,
                               .nin = b->narg,
                               .in = in,
                               .attr = b->attr,
                               .nattr = b->nattr,
                               .opset = c->opset},
                      .arg = v,
                      .result = b->dtype};
    if (!lower_item(p, &it, &made[k])) return false;
  }
  *result = made[c->body->n - 1];
  return true;
}

bool elt_lower(const struct opcall *c, struct elt_prog *p) {
  struct elt_value result;
  p->nstep = p->nconst = p->nslot = 0;
  return (c->body ? lower_body : lower_plain)(c, p, &result) && finish(p, result);
}
