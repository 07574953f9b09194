/* Contract: opcheck.h. */
#include "opcheck.h"

#include <math.h>
#include <string.h>

#include "../../kernels/chain.h"
#include "../../kernels/op_impl.h"
#include "../../vm/jit.h"
#include "../../vm/verify.h"

/* ---- cases ---- */

void opcase_init(struct opcase *o, const char *op, int opset) {
  *o = (struct opcase){.seed = 88172645463325252u, .lo = -2, .hi = 2, .tolerance = 1e-5};
  o->c = (struct opcall){.op = op_find(op, strlen(op)), .nout = 1, .opset = opset};
  ck_assert_msg(o->c.op != NULL, "no operator %s", op);
  o->target = (struct target){.isa = cpu_isa(),
                              .threads = {1, 2},
                              .nthreads = 2,
                              .l1_bytes = 32 << 10,
                              .l2_bytes = 1 << 20,
                              .l3_bytes = 16 << 20};
}

static double uniform(struct opcase *o) {
  o->seed ^= o->seed << 13;
  o->seed ^= o->seed >> 7;
  o->seed ^= o->seed << 17;
  return (double)(o->seed >> 11) * 0x1p-53;
}

int64_t opcase_random(struct opcase *o, int64_t n) { return (int64_t)(uniform(o) * (double)n); }

void opcase_init_seeded(struct opcase *o, const char *op, int opset, uint64_t seed) {
  opcase_init(o, op, opset);
  o->seed += seed * 0x9e3779b97f4a7c15u;
  for (int i = 0; i < 8; i++) opcase_random(o, 2);
  o->tolerance = 1e-4;
}

static struct tensor *add_input(struct opcase *o, enum fvm_dtype dtype, int rank,
                                const int64_t *dim) {
  struct fvm_error err;
  ck_assert_int_lt(o->c.nin, OPCASE_MAXIN);
  struct tensor *t = &o->in[o->c.nin];
  OK(tensor_init(t, dtype, rank, dim, &err));
  o->x[o->c.nin++] = arena_alloc(&o->arena, (size_t)tensor_bytes(t), 1);
  if (!o->c.body) o->c.nown = o->c.nin;
  o->c.in = o->in;
  o->c.out = o->out;
  return t;
}

void opcase_in(struct opcase *o, enum fvm_dtype dtype, int rank, const int64_t *dim) {
  struct tensor *t = add_input(o, dtype, rank, dim);
  for (int64_t i = 0; i < tensor_count(t); i++) {
    double v = o->lo + uniform(o) * (o->hi - o->lo);
    elem_set_f64(o->x[o->c.nin - 1], dtype, i,
                 dtype == FVM_BOOL       ? v > 0
                 : dtype_is_float(dtype) ? v
                                         : floor(v));
  }
}

void opcase_absent(struct opcase *o) {
  ck_assert_int_lt(o->c.nin, OPCASE_MAXIN);
  o->c.nin++;
  if (!o->c.body) o->c.nown = o->c.nin;
}

void opcase_set(struct opcase *o, const double *v) {
  const struct tensor *t = &o->in[o->c.nin - 1];
  for (int64_t i = 0; i < tensor_count(t); i++) elem_set_f64(o->x[o->c.nin - 1], t->dtype, i, v[i]);
}

void opcase_const(struct opcase *o, enum fvm_dtype dtype, int rank, const int64_t *dim,
                  const double *v) {
  struct tensor *t = add_input(o, dtype, rank, dim);
  t->data = o->x[o->c.nin - 1];
  opcase_set(o, v);
}

void opcase_ints(struct opcase *o, int n, const int64_t *v) {
  struct tensor *t = add_input(o, FVM_I64, 1, (int64_t[]){n});
  t->data = o->x[o->c.nin - 1];
  if (n) memcpy(o->x[o->c.nin - 1], v, sizeof *v * (size_t)n);
}

static struct attr *add_attr(struct opcase *o, const char *name, enum attr_kind kind) {
  ck_assert_int_lt(o->c.nattr, OPCASE_MAXATTR);
  struct attr *a = &o->attr[o->c.nattr++];
  o->c.attr = o->attr;
  *a = (struct attr){.name = name, .kind = kind};
  return a;
}

void opcase_attr_int(struct opcase *o, const char *name, int64_t v) {
  add_attr(o, name, ATTR_INT)->i = v;
}
void opcase_attr_float(struct opcase *o, const char *name, float v) {
  add_attr(o, name, ATTR_FLOAT)->f = v;
}
void opcase_attr_string(struct opcase *o, const char *name, const char *v) {
  add_attr(o, name, ATTR_STRING)->s = v;
}
void opcase_attr_ints(struct opcase *o, const char *name, int n, const int64_t *v) {
  struct attr *a = add_attr(o, name, ATTR_INTS);
  int64_t *copy = arena_alloc(&o->arena, (size_t)n, sizeof *copy);
  if (n) memcpy(copy, v, sizeof *v * (size_t)n);
  a->ints = copy;
  a->n = n;
}

void opcase_attr_random(struct opcase *o, const char *name, int n, int64_t least, int64_t most) {
  int64_t v[6];
  ck_assert_int_le(n, (int)COUNT(v));
  for (int i = 0; i < n; i++) v[i] = least + opcase_random(o, most - least + 1);
  opcase_attr_ints(o, name, n, v);
}

void opcase_own(struct opcase *o) {
  o->body.item = o->item;
  o->c.body = &o->body;
}

void opcase_item(struct opcase *o, const char *op, enum fvm_dtype dtype, int narg, const int *arg) {
  ck_assert_int_lt(o->body.n, OPCASE_MAXITEM);
  struct body_item *it = &o->item[o->body.n++];
  *it = (struct body_item){.op = op_find(op, strlen(op)), .narg = narg, .dtype = dtype};
  ck_assert_msg(it->op != NULL, "no operator %s", op);
  memcpy(it->arg, arg, sizeof *arg * (size_t)narg);
}

/* A copy of an opcall's tensors: those of the cases change. */
static void own_tensors(struct arena *a, struct opcall *c) {
  struct tensor *in = ARENA_NEW(a, struct tensor, c->nin), *out = ARENA_NEW(a, struct tensor, 1);
  memcpy(in, c->in, (size_t)c->nin * sizeof *in);
  *out = c->out[0];
  c->in = in;
  c->out = out;
}

bool opcase_chain(struct opcase *o, struct opcase *first) {
  struct opcall a = first->c, b = o->c;
  struct fvm_error err;
  OK(opcall_shape(&a, &err));
  OK(opcall_shape(&b, &err));
  if (!chain_fits(&a, &b)) return false;
  own_tensors(&o->arena, &a);
  own_tensors(&o->arena, &b);
  ck_assert(chain_init(&o->c, &a, &b, &o->arena));
  memmove(o->x + a.nin, o->x + 1, (size_t)(b.nin - 1) * sizeof *o->x);
  memcpy(o->x, first->x, (size_t)a.nin * sizeof *o->x);
  memcpy(o->in, o->c.in, (size_t)o->c.nin * sizeof *o->in);
  o->c.in = o->in;
  o->c.out = o->out;
  return true;
}

void opcase_free(struct opcase *o) { arena_free(&o->arena); }

/* ---- reference ---- */

void opcase_reference(struct opcase *o) {
  struct fvm_error err = {0};
  OK(opcall_shape(&o->c, &err));
  for (int i = 0; i < o->c.nout; i++)
    o->y[i] = arena_alloc(&o->arena, (size_t)tensor_bytes(&o->out[i]), 1);
  OK(opcall_ref(&o->c, (const void *const *)o->x, o->y, &err));
}

static bool close_enough(const struct opcase *o, double got, double want) {
  if (isnan(want) || isnan(got)) return isnan(want) && isnan(got);
  if (isinf(want)) return got == want;
  return fabs(got - want) <= o->tolerance * fmax(1, fabs(want));
}

static void compare(const struct opcase *o, const char *who, int i, const void *got,
                    const void *want) {
  const struct tensor *t = &o->out[i];
  for (int64_t k = 0; k < tensor_count(t); k++) {
    double g = elem_f64(got, t->dtype, k), w = elem_f64(want, t->dtype, k);
    if (!close_enough(o, g, w)) {
      struct text call = {0};
      opcall_text(&o->c, &call);
      ck_abort_msg("%s\n%s: output %d, element %lld: %.9g instead of %.9g", call.v, who, i,
                   (long long)k, g, w);
    }
  }
}

void opcase_expect(struct opcase *o, int i, int rank, const int64_t *dim, const double *v) {
  ck_assert_int_eq(o->out[i].rank, rank);
  for (int k = 0; k < rank; k++) ck_assert_int_eq(o->out[i].dim[k], dim[k]);
  for (int64_t k = 0; k < tensor_count(&o->out[i]); k++)
    ck_assert_msg(close_enough(o, elem_f64(o->y[i], o->out[i].dtype, k), v[k]),
                  "%s: element %lld is %.9g, not %.9g", o->c.op->name, (long long)k,
                  elem_f64(o->y[i], o->out[i].dtype, k), v[k]);
}

void opcase_refused(struct opcase *o, enum fvm_status code, const char *part_of_text) {
  struct fvm_error err = {0};
  ck_assert_int_eq(opcall_shape(&o->c, &err), code);
  ck_assert_msg(strstr(err.text, part_of_text) != NULL, "\"%s\" lacks \"%s\"", err.text,
                part_of_text);
  opcase_free(o);
}

/* ---- layouts ---- */

int64_t layout_place(const struct tensor *t, enum layout l, const int64_t *idx) {
  const char *name = layout_name(l);
  int64_t at = 0, block = layout_block(l);
  int r = t->rank;
  if (l == LAYOUT_NHWC) {
    at = idx[0];
    for (int i = 2; i < r; i++) at = at * t->dim[i] + idx[i];
    at = at * t->dim[1] + idx[1];
  } else if (l == LAYOUT_C16) {
    at = idx[0] * CEIL_DIV(t->dim[1], 16) + idx[1] / 16;
    for (int i = 2; i < r; i++) at = at * t->dim[i] + idx[i];
    at = at * 16 + idx[1] % 16;
  } else if (l == LAYOUT_SEQ) {
    at = idx[r - 2];
    for (int i = 0; i < r; i++)
      if (i != r - 2) at = at * t->dim[i] + idx[i];
  } else if (name[0] == 'f' && block) {
    int64_t ins = r > 1 ? t->dim[1] : 1, in = r > 1 ? idx[1] : 0;
    int64_t c = name[1] == 'c' ? 16 : name[1] == 'r' ? 1 : ins;
    at = idx[0] / block * CEIL_DIV(ins, c) + in / c;
    for (int i = 2; i < r; i++) at = at * t->dim[i] + idx[i];
    at = (at * c + in % c) * block + idx[0] % block;
  } else if (block) {
    bool turned = !strncmp(name, "pt", 2);
    int k = turned ? r - 1 : r - 2, n = turned ? r - 2 : r - 1;
    for (int i = 0; i < r - 2; i++) at = at * t->dim[i] + idx[i];
    at = at * CEIL_DIV(t->dim[n], block) + idx[n] / block;
    at = (at * t->dim[k] + idx[k]) * block + idx[n] % block;
  } else {
    for (int i = 0; i < r; i++) {
      int a = l == LAYOUT_COL && i >= r - 2 ? 2 * r - 3 - i : i;
      at = at * t->dim[a] + idx[a];
    }
  }
  return at * (int64_t)fvm_dtype_bytes(t->dtype);
}

/* Copy between a row-major buffer and one in a layout. */
static void relayout(const struct tensor *t, enum layout l, void *dense, void *placed, bool in) {
  struct walk w = {.rank = t->rank};
  size_t size = fvm_dtype_bytes(t->dtype);
  char *at = dense;
  memcpy(w.dim, t->dim, sizeof t->dim);
  for (walk_start(&w); walk_more(&w); walk_next(&w), at += size) {
    char *p = (char *)placed + layout_place(t, l, w.idx);
    memcpy(in ? p : at, in ? at : p, size);
  }
}

/* Element (i, j) of a matrix of k rows and n columns; 0 outside. */
static float element(const float *x, int64_t k, int64_t n, bool turned, int64_t i, int64_t j) {
  if (i >= k || j >= n) return 0;
  return turned ? x[j * k + i] : x[i * n + j];
}

bool layout_is_made(enum layout l) {
  char kind = layout_name(l)[0];
  return (kind == 's' || kind == 'w') && layout_block(l) > 0;
}

/* The seven sums of quarters, by the formulas in kernels/strassen.h. */
static void seven_sums(float b11, float b12, float b21, float b22, float sum[7]) {
  float t1 = b12 - b11, t2 = b22 - t1, t3 = b22 - b12;
  const float all[7] = {b11, b21, t2, t1, b22, t3, b21 - t2};
  memcpy(sum, all, sizeof all);
}

/* The same, added from the left to the right where they stand for several products. */
static float outer_sum(int s, float b11, float b12, float b21, float b22) {
  const float all[7] = {b11, b21,       b22 - b12 + b11,      b12 - b11,
                        b22, b22 - b12, b21 - b22 + b12 - b11};
  return all[s];
}

struct sums_of {
  const float *x;
  int64_t k, n, block;
  bool turned;
};

/* One level: the pair of panels from column p on. */
static float *pair_sums(const struct sums_of *m, int64_t p, float *y) {
  int64_t h = m->k / 2;
  for (int64_t i = 0; i < h; i++)
    for (int64_t j = 0; j < m->block; j++) {
      float q[4], sum[7];
      for (int k = 0; k < 4; k++)
        q[k] = element(m->x, m->k, m->n, m->turned, i + k / 2 * h, p + k % 2 * m->block + j);
      seven_sums(q[0], q[1], q[2], q[3], sum);
      for (int s = 0; s < 7; s++) y[(s * h + i) * m->block + j] = sum[s];
    }
  return y + 7 * h * m->block;
}

/* Two levels: the four panels from column p on. */
static float *group_sums(const struct sums_of *m, int64_t p, float *y) {
  int64_t h = m->k / 2, w = 2 * m->block;
  float *half = malloc((size_t)(h * w) * sizeof *half + 1);
  ck_assert_ptr_nonnull(half);
  for (int s = 0; s < 7; s++) {
    for (int64_t i = 0; i < h; i++)
      for (int64_t j = 0; j < w; j++) {
        float q[4];
        for (int k = 0; k < 4; k++)
          q[k] = element(m->x, m->k, m->n, m->turned, i + k / 2 * h, p + k % 2 * w + j);
        half[i * w + j] = outer_sum(s, q[0], q[1], q[2], q[3]);
      }
    y = pair_sums(&(struct sums_of){half, h, w, m->block, false}, 0, y);
  }
  free(half);
  return y;
}

static void make_sums(const struct tensor *t, enum layout l, const float *x, float *y) {
  const char *name = layout_name(l);
  bool twice = name[1] == 's', turned = name[twice ? 2 : 1] == 't';
  int rank = t->rank; /* weights of a 1x1 convolution are a matrix */
  while (rank > 2 && t->dim[rank - 1] == 1) rank--;
  int64_t block = layout_block(l), rows = t->dim[rank - 2], cols = t->dim[rank - 1];
  int64_t matrices = rows > 0 && cols > 0 ? tensor_count(t) / (rows * cols) : 0;
  struct sums_of m = {x, turned ? cols : rows, turned ? rows : cols, block, turned};
  for (int64_t q = 0; q < matrices; q++, m.x += rows * cols)
    for (int64_t p = 0; p < m.n; p += (twice ? 4 : 2) * block)
      y = twice ? group_sums(&m, p, y) : pair_sums(&m, p, y);
}

/* Row p of G for n points and r taps (kernels/ukr_winograd.h), with the points written out. */
static void winograd_row(int n, int r, int p, double *g) {
  static const double points[][7] = {
      {0, 1, -1}, {0, 0.75, -0.75, 1.5, -1.5}, {0, 0.5, -0.5, 1, -1, 1.75, -1.75}};
  const double *q = points[n / 2 - 2];
  double others = 1;
  for (int i = 0; i < n - 1 && p < n - 1; i++)
    if (i != p) others *= q[p] - q[i];
  for (int k = 0; k < r; k++) g[k] = p < n - 1 ? pow(q[p], k) / others : k == r - 1;
}

/* Filters at n x n points: [filters / block] [n x n] [channels] [block]. */
static void make_winograd(const struct tensor *t, enum layout l, const float *x, float *y) {
  const int n = layout_name(l)[1] - '0', r = (int)t->dim[2];
  const int64_t block = layout_block(l), ins = t->dim[1];
  double g[8][8];
  for (int p = 0; p < n; p++) winograd_row(n, r, p, g[p]);
  memset(y, 0, (size_t)layout_bytes(t, l));
  for (int64_t o = 0; o < t->dim[0]; o++)
    for (int64_t c = 0; c < ins; c++)
      for (int p = 0; p < n * n; p++) {
        double sum = 0;
        for (int k = 0; k < r; k++) {
          double row = 0;
          for (int i = 0; i < r; i++)
            row += g[p / n][i] * (double)x[((o * ins + c) * r + i) * r + k];
          sum += row * g[p % n][k];
        }
        y[((o / block * n * n + p) * ins + c) * block + o % block] = (float)sum;
      }
}

void layout_make(const struct tensor *t, enum layout l, const float *x, float *y) {
  (layout_name(l)[0] == 's' ? make_sums : make_winograd)(t, l, x, y);
}

static enum layout io(const uint8_t *list, int i) {
  return i < LABEL_MAXIO ? (enum layout)list[i] : LAYOUT_ROW;
}

/* ---- labels ---- */

/* What memory holds before: floats that are not numbers. */
enum { GUARD = 64, GUARD_BYTE = 0xff };

static void *guarded(struct arena *a, int64_t bytes) {
  unsigned char *p = arena_alloc(a, (size_t)bytes + GUARD, 1);
  ck_assert_ptr_nonnull(p);
  memset(p, GUARD_BYTE, (size_t)bytes + GUARD);
  return p;
}

static void check_guard(const char *who, const void *p, int64_t bytes) {
  const unsigned char *g = (const unsigned char *)p + bytes;
  for (int i = 0; i < GUARD; i++) /* a passing ck_assert costs a system call */
    if (g[i] != GUARD_BYTE) ck_abort_msg("%s: wrote past its buffer", who);
}

static void fill_buffers(struct opcase *o, const struct label *l, const struct program *p,
                         int threads, bool inplace, struct arena *a, void **buf) {
  for (uint32_t i = 0; i < p->nbuf; i++) {
    int64_t n = p->buf[i].bytes;
    buf[i] = guarded(a, p->buf[i].kind == BUF_SCRATCH ? threads * scratch_stride(n) : n);
    if ((int)i >= o->c.nin || !o->in[i].dtype) continue;
    memset(buf[i], 0, (size_t)n); /* what pads a layout */
    if (layout_is_made(io(l->in, (int)i)))
      layout_make(&o->in[i], io(l->in, (int)i), o->x[i], buf[i]);
    else
      relayout(&o->in[i], io(l->in, (int)i), o->x[i], buf[i], true);
  }
  if (inplace) buf[o->c.nin] = buf[l->inplace - 1];
}

/* Channels that pad the last block are zeros: as many bytes as are outside the tensor, and more
 * only where its own elements are zero. */
static void check_padding(const char *who, const struct tensor *t, enum layout l, const void *dense,
                          const void *placed) {
  int64_t zeros = 0, size = (int64_t)fvm_dtype_bytes(t->dtype);
  if (!layout_pads(t, l)) return;
  for (int64_t i = 0; i < layout_bytes(t, l) / size; i++)
    zeros += elem_f64(placed, t->dtype, i) == 0;
  for (int64_t i = 0; i < tensor_count(t); i++) zeros -= elem_f64(dense, t->dtype, i) == 0;
  if (zeros * size != layout_bytes(t, l) - tensor_bytes(t))
    ck_abort_msg("%s: padding is not zero", who);
}

static void check_outputs(struct opcase *o, const struct label *l, const char *who,
                          const struct program *p, struct arena *a, void **buf, int threads) {
  for (uint32_t i = 0; i < p->nbuf; i++)
    check_guard(who, buf[i],
                p->buf[i].kind == BUF_SCRATCH ? threads * scratch_stride(p->buf[i].bytes)
                                              : p->buf[i].bytes);
  for (int i = 0; i < o->c.nout; i++) {
    void *dense = arena_alloc(a, (size_t)tensor_bytes(&o->out[i]), 1);
    relayout(&o->out[i], io(l->out, i), dense, buf[o->c.nin + i], false);
    check_padding(who, &o->out[i], io(l->out, i), dense, buf[o->c.nin + i]);
    compare(o, who, i, dense, o->y[i]);
  }
}

/* Compiled code leaves the same bits as the interpreter in every output. */
static void check_jit(struct opcase *o, const struct label *l, const char *who,
                      const struct program *p, struct pool *pool, bool inplace, void *const *want) {
  struct fvm_error err = {0};
  struct arena a = {0};
  void *buf[CODE_MAXBUF];
  struct jit *jit;
  fill_buffers(o, l, p, pool_threads(pool), inplace, &a, buf);
  OK(jit_compile(p, ukr_table(o->target.isa), &jit, &err));
  struct jit_run run = {jit, buf};
  ck_assert_int_eq(pool_run(pool, pool_threads(pool), jit_run, &run), 0);
  for (int i = o->c.nin; i < o->c.nin + o->c.nout; i++)
    ck_assert_msg(!memcmp(buf[i], want[i], (size_t)p->buf[i].bytes + GUARD),
                  "%s: output %d differs between interpreter and compiled code", who, i - o->c.nin);
  jit_free(jit);
  arena_free(&a);
}

static void run_program(struct opcase *o, const struct label *l, const char *who,
                        const struct program *p, int threads, bool inplace) {
  struct fvm_error err = {0};
  struct arena a = {0};
  int alias[CODE_MAXBUF];
  void *buf[CODE_MAXBUF];
  struct pool *pool;
  for (int i = 0; i < CODE_MAXBUF; i++) alias[i] = i;
  if (inplace) alias[o->c.nin] = l->inplace - 1;
  enum fvm_status st = verify_program(p, alias, &err);
  ck_assert_msg(st == FVM_OK, "%s%s: %s", who, inplace ? " in place" : "", err.text);
  fill_buffers(o, l, p, threads, inplace, &a, buf);
  struct run run = {p, ukr_table(o->target.isa), buf};
  OK(pool_new(threads, &pool, &err));
  ck_assert_int_eq(pool_run(pool, threads, interp_run, &run), 0);
  check_jit(o, l, who, p, pool, inplace, buf);
  pool_free(pool);
  check_outputs(o, l, who, p, &a, buf, threads);
  arena_free(&a);
}

static void check_view(struct opcase *o, const struct label *l, const char *who) {
  struct arena a = {0};
  int64_t room = 0, offset = l->view_offset;
  int nin = o->c.op->flags & (OPF_STATE | OPF_JOIN) ? o->c.nin : 1; /* one after the other */
  for (int i = 0; i < nin; i++) room += layout_bytes(&o->in[i], label_in(l, i));
  char *placed = guarded(&a, room), *next = placed;
  memset(placed, 0, (size_t)room); /* what pads a layout */
  for (int i = 0; i < nin; i++) {
    relayout(&o->in[i], label_in(l, i), o->x[i], next, true);
    next += layout_bytes(&o->in[i], label_in(l, i));
  }
  for (int i = 0; i < o->c.nout; i++) {
    void *dense = guarded(&a, tensor_bytes(&o->out[i]));
    enum layout layout = label_out(l, i);
    int64_t end = offset + layout_bytes(&o->out[i], layout);
    ck_assert_int_le(end, room);
    ck_assert_int_eq(offset % FVM_ALIGN, 0);
    relayout(&o->out[i], layout, dense, placed + offset, false);
    check_padding(who, &o->out[i], layout, dense, placed + offset);
    compare(o, who, i, dense, o->y[i]);
    offset = end;
  }
  arena_free(&a);
}

/* ---- texts ---- */

static bool same_program(const struct program *p, const struct program *q) {
  return p->nword == q->nword && p->nbuf == q->nbuf &&
         !memcmp(p->word, q->word, p->nword * sizeof *p->word) &&
         !memcmp(p->buf, q->buf, p->nbuf * sizeof *p->buf);
}

/* The i-th label of what was read back: the same text, the same program. */
static void check_same_label(const struct opcase *o, const struct opcall *back, int i,
                             const struct label *l, struct arena *a) {
  struct fvm_error err = {0};
  struct label other;
  struct text who = {0}, text = {0};
  struct program p, q;
  label_text(&o->c, l, &who);
  if (!opcall_label(back, &o->target, i, &other)) ck_abort_msg("%s: not read back", who.v);
  label_text(back, &other, &text);
  if (strcmp(who.v, text.v) != 0) ck_abort_msg("%s is read back as %s", who.v, text.v);
  if (!l->view) {
    OK(opcall_emit(&o->c, l, a, &p, &err));
    OK(opcall_emit(back, &other, a, &q, &err));
    if (!same_program(&p, &q)) ck_abort_msg("%s: another program when read back", who.v);
  }
  text_free(&who);
  text_free(&text);
}

/* A problem is its text: what is read back from it has the same labels and programs. */
static void check_text(const struct opcase *o) {
  struct fvm_error err = {0};
  struct arena a = {0};
  struct opcall back;
  struct label l;
  struct text text = {0}, again = {0};
  opcall_text(&o->c, &text);
  enum fvm_status st = opcall_read(text.v, &a, &back, &err);
  ck_assert_msg(st == FVM_OK, "%s\n%s", text.v, err.text);
  opcall_text(&back, &again);
  ck_assert_str_eq(text.v, again.v);
  for (int i = 0; opcall_label(&o->c, &o->target, i, &l); i++)
    check_same_label(o, &back, i, &l, &a);
  text_free(&text);
  text_free(&again);
  arena_free(&a);
}

static void check_label(struct opcase *o, const struct label *l) {
  struct fvm_error err = {0};
  struct arena a = {0};
  struct text who = {0};
  struct program p;
  label_text(&o->c, l, &who);
  if (l->view) {
    check_view(o, l, who.v);
  } else {
    enum fvm_status st = opcall_emit(&o->c, l, &a, &p, &err);
    ck_assert_msg(st == FVM_OK, "%s: %s", who.v, err.text);
    for (int threads = 1; threads <= 2; threads++) {
      if (o->as_meant && threads != l->threads) continue;
      run_program(o, l, who.v, &p, threads, false);
      if (l->inplace) run_program(o, l, who.v, &p, threads, true);
    }
  }
  struct opcost cost;
  opcall_cost(&o->c, l, &cost);
  ck_assert_int_ge(cost.flops, 0);
  text_free(&who);
  arena_free(&a);
}

int opcase_run(struct opcase *o) {
  struct label l;
  if (!o->y[0]) opcase_reference(o);
  int n = 0;
  check_text(o);
  for (; opcall_label(&o->c, &o->target, n, &l); n++) check_label(o, &l);
  opcase_free(o);
  return n;
}
