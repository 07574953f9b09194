/* MatMul and Gemm: shapes, references, and their common form. Candidates: cand_gemm.c. */
#include "gemm.h"
#include "op_impl.h"
#include "ref.h"

#include <string.h>

/* ---- common form ----------------------------------------------------------------------------- */
/* Shapes of a product in NumPy's sense: vectors become matrices of one row or one column. */
struct product {
  int64_t m, n, k;
  int nbatch;
  int64_t dim[FVM_MAXRANK], a_step[FVM_MAXRANK], b_step[FVM_MAXRANK];
};

static int64_t batch_dim(const struct tensor *t, int from_end) {
  int i = t->rank - 3 - from_end;
  return i >= 0 ? t->dim[i] : 1;
}

static enum fvm_status product_batch(const struct tensor *a, const struct tensor *b,
                                     struct product *p, struct fvm_error *err) {
  int64_t na = 1, nb = 1;
  p->nbatch = MAX(MAX(a->rank, b->rank) - 2, 0);
  for (int i = 0; i < p->nbatch; i++) {
    int at = p->nbatch - 1 - i;
    int64_t da = batch_dim(a, i), db = batch_dim(b, i);
    if (da != db && da != 1 && db != 1)
      return fvm_fail(err, FVM_EFORMAT, "batch dimensions %lld and %lld do not broadcast",
                      (long long)da, (long long)db);
    p->dim[at] = da == 1 ? db : da;
    p->a_step[at] = da == 1 ? 0 : na;
    p->b_step[at] = db == 1 ? 0 : nb;
    na *= da;
    nb *= db;
  }
  return FVM_OK;
}

static enum fvm_status product_init(const struct tensor *a, const struct tensor *b,
                                    struct product *p, struct fvm_error *err) {
  if (a->rank == 0 || b->rank == 0)
    return fvm_fail(err, FVM_EFORMAT, "an input of MatMul has no axes");
  *p = (struct product){.m = a->rank == 1 ? 1 : a->dim[a->rank - 2],
                        .k = a->dim[a->rank - 1],
                        .n = b->rank == 1 ? 1 : b->dim[b->rank - 1]};
  int64_t kb = b->rank == 1 ? b->dim[0] : b->dim[b->rank - 2];
  if (p->k != kb)
    return fvm_fail(err, FVM_EFORMAT, "A has %lld columns, but B has %lld rows", (long long)p->k,
                    (long long)kb);
  return product_batch(a, b, p, err);
}

/* Merge batch dimensions that both operands step through evenly; drop those of extent 1. */
static bool merge_batch(const struct product *p, struct gemm_problem *g) {
  for (int i = p->nbatch - 1; i >= 0; i--) {
    int l = g->nbatch - 1;
    if (p->dim[i] == 1) continue;
    if (l >= 0 && p->a_step[i] == g->a_step[l] * g->dim[l] &&
        p->b_step[i] == g->b_step[l] * g->dim[l]) {
      g->dim[l] *= p->dim[i];
      continue;
    }
    if (++l == GEMM_MAXBATCH) return false;
    g->dim[l] = p->dim[i];
    g->a_step[l] = p->a_step[i];
    g->b_step[l] = p->b_step[i];
    g->nbatch++;
  }
  return true;
}

/* The innermost batch dimension (index 0 here) becomes more rows of A. */
static void fold_batch(struct gemm_problem *g) {
  if (g->nbatch == 0 || g->b_step[0] != 0 || g->a_step[0] != 1) return;
  g->m *= g->dim[0];
  g->a.rows = g->m;
  g->nbatch--;
  for (int i = 0; i < g->nbatch; i++) {
    g->a_step[i] = g->a_step[i + 1] / g->dim[0];
    g->b_step[i] = g->b_step[i + 1];
  }
  memmove(g->dim, g->dim + 1, (size_t)g->nbatch * sizeof *g->dim);
}

/* MatMulT has its second factor as [N, K]. */
static bool is_turned(const struct opcall *c) { return !strcmp(c->op->name, "MatMulT"); }

/* Like product_init, of an opcall. */
static enum fvm_status product_of(const struct opcall *c, struct product *p,
                                  struct fvm_error *err) {
  struct tensor b = c->in[1];
  if (!is_turned(c)) return product_init(&c->in[0], &b, p, err);
  if (b.rank != 2) return fvm_fail(err, FVM_EFORMAT, "B has %d axes, not 2", b.rank);
  b.dim[0] = c->in[1].dim[1];
  b.dim[1] = c->in[1].dim[0];
  return product_init(&c->in[0], &b, p, err);
}

static bool matmul_problem(const struct opcall *c, bool fold, struct gemm_problem *g) {
  struct product p;
  if (product_of(c, &p, NULL) != FVM_OK) return false;
  *g = (struct gemm_problem){.m = p.m, .n = p.n, .k = p.k, .alpha = 1, .beta = 0};
  g->a = (struct gemm_operand){p.m, p.k, false};
  g->b = (struct gemm_operand){p.k, p.n, false};
  if (is_turned(c)) g->b = (struct gemm_operand){p.n, p.k, true};
  if (!merge_batch(&p, g)) return false;
  if (fold) fold_batch(g);
  return true;
}

static void gemm_init(const struct opcall *c, struct gemm_problem *g) {
  bool ta = opcall_int(c, "transA", 0) != 0, tb = opcall_int(c, "transB", 0) != 0;
  const int64_t *a = c->in[0].dim, *b = c->in[1].dim;
  *g = (struct gemm_problem){.m = a[ta], .n = b[!tb], .k = a[!ta]};
  g->a = (struct gemm_operand){a[0], a[1], ta};
  g->b = (struct gemm_operand){b[0], b[1], tb};
  g->alpha = opcall_float(c, "alpha", 1);
  g->beta = c->nown > 2 && c->in[2].dtype != FVM_NONE ? opcall_float(c, "beta", 1) : 0;
}

bool gemm_problem(const struct opcall *c, bool fold, struct gemm_problem *g) {
  if (strcmp(c->op->name, "Gemm") != 0) return matmul_problem(c, fold, g);
  gemm_init(c, g);
  return true;
}

void gemm_strides(const struct gemm_operand *o, enum layout l, int64_t *rs, int64_t *cs) {
  bool swap = (l == LAYOUT_COL) != o->trans;
  int64_t across = l == LAYOUT_COL ? o->rows : o->cols;
  *rs = swap ? 1 : across;
  *cs = swap ? across : 1;
}

struct matrix gemm_bias(const struct opcall *c, const struct gemm_problem *g) {
  struct tensor mn = {.dtype = FVM_F32, .rank = 2, .dim = {g->m, g->n}};
  int64_t rs, cs;
  if (g->beta == 0) return (struct matrix){.buf = -1};
  CHECK(matrix_strides(&c->in[2], &mn, g->n, &rs, &cs));
  return (struct matrix){2, 0, rs * 4, cs * 4, 0};
}

/* ---- shapes ---------------------------------------------------------------------------------- */
static enum fvm_status check_types(const struct opcall *c, struct fvm_error *err) {
  enum fvm_dtype t = c->in[0].dtype;
  for (int i = 0; i < c->nown; i++)
    if (c->in[i].dtype != t && (i < 2 || c->in[i].dtype != FVM_NONE))
      return fvm_fail(err, FVM_EFORMAT, "inputs 0 and %d have types %s and %s", i,
                      fvm_dtype_name(t), fvm_dtype_name(c->in[i].dtype));
  if (t != FVM_F32 && t != FVM_F64)
    return fvm_fail(err, FVM_EUNSUPPORTED, "%s of %s", c->op->name, fvm_dtype_name(t));
  return FVM_OK;
}

enum fvm_status matmul_shape(struct opcall *c, struct fvm_error *err) {
  struct product p;
  int64_t dim[FVM_MAXRANK];
  int rank;
  enum fvm_status st = check_types(c, err);
  if (st == FVM_OK) st = product_of(c, &p, err);
  if (st != FVM_OK) return st;
  for (rank = 0; rank < p.nbatch; rank++) dim[rank] = p.dim[rank];
  if (c->in[0].rank > 1) dim[rank++] = p.m;
  if (c->in[1].rank > 1) dim[rank++] = p.n;
  return tensor_init(&c->out[0], c->in[0].dtype, rank, dim, err);
}

enum fvm_status gemm_shape(struct opcall *c, struct fvm_error *err) {
  struct gemm_problem g;
  enum fvm_status st = check_types(c, err);
  if (st != FVM_OK) return st;
  if (c->in[0].rank != 2 || c->in[1].rank != 2)
    return fvm_fail(err, FVM_EFORMAT, "A and B of Gemm must have 2 axes");
  gemm_init(c, &g);
  int64_t kb = c->in[1].dim[g.b.trans];
  if (g.k != kb)
    return fvm_fail(err, FVM_EFORMAT, "A has %lld columns, but B has %lld rows", (long long)g.k,
                    (long long)kb);
  st = tensor_init(&c->out[0], c->in[0].dtype, 2, (int64_t[]){g.m, g.n}, err);
  if (st != FVM_OK || c->nown < 3 || c->in[2].dtype == FVM_NONE) return st;
  const struct tensor *x = &c->in[2];
  for (int i = 1; i <= x->rank; i++)
    if (i > 2 || (x->dim[x->rank - i] != 1 && x->dim[x->rank - i] != c->out[0].dim[2 - i]))
      return fvm_fail(err, FVM_EFORMAT, "C does not broadcast to %lldx%lld", (long long)g.m,
                      (long long)g.n);
  return FVM_OK;
}

/* ---- references ------------------------------------------------------------------------------ */
/* Row-major products of one shape, one after the other. */
struct ref_product {
  struct ref_matrix a, b;
  void *c;
  int64_t m, n, k, blocks; /* of columns, in each of them */
  double alpha;
  const struct product *batch; /* NULL: there is one */
};

/* Where product x of the batch lies. */
static void find_factors(const struct product *p, int64_t x, int64_t *a, int64_t *b) {
  int64_t i = 0, j = 0;
  for (int d = p->nbatch - 1; d >= 0; x /= p->dim[d--]) {
    i += x % p->dim[d] * p->a_step[d];
    j += x % p->dim[d] * p->b_step[d];
  }
  *a += i * p->m * p->k;
  *b += j * p->k * p->n;
}

/* Blocks of columns; scratch: those of b. */
static void ref_blocks(const void *arg, int64_t from, int64_t to, double *scratch) {
  const struct ref_product *r = arg;
  for (int64_t x = from; x < to; x++) {
    struct ref_matrix a = r->a, b = r->b;
    int64_t at = x / r->blocks, j0 = x % r->blocks * REF_COLUMNS;
    int n = (int)MIN(r->n - j0, REF_COLUMNS);
    if (r->batch) find_factors(r->batch, at, &a.at, &b.at);
    ref_columns(&b, r->k, j0, n, scratch);
    for (int64_t i0 = 0; i0 < r->m; i0 += REF_ROWS) {
      double sum[REF_ROWS][REF_COLUMNS];
      int m = (int)MIN(r->m - i0, REF_ROWS);
      ref_dots(&a, i0, m, r->k, scratch, n, sum);
      for (int i = 0; i < m; i++) {
        for (int j = 0; j < n; j++) sum[i][j] *= r->alpha;
        ref_put(r->c, a.t, (at * r->m + i0 + i) * r->n + j0, n, sum[i]);
      }
    }
  }
}

static enum fvm_status ref_multiply(struct ref_product *r, int64_t products,
                                    struct fvm_error *err) {
  size_t room = (size_t)MAX(r->k, 1) * REF_COLUMNS;
  double ns = (double)r->m * (double)r->k * REF_COLUMNS / 10;
  r->blocks = CEIL_DIV(r->n, REF_COLUMNS);
  return ref_parallel(products * r->blocks, ns, room, ref_blocks, r, err);
}

enum fvm_status matmul_ref(const struct opcall *c, const void *const *in, void *const *out,
                           struct fvm_error *err) {
  struct product p;
  enum fvm_status st = product_of(c, &p, err);
  if (st != FVM_OK) return st;
  enum fvm_dtype t = c->in[0].dtype;
  struct ref_product r = {.a = {in[0], t, 0, p.k, 1},
                          .b = {in[1], t, 0, p.n, 1},
                          .c = out[0],
                          .m = p.m,
                          .n = p.n,
                          .k = p.k,
                          .alpha = 1,
                          .batch = &p};
  if (is_turned(c)) r.b.row = 1, r.b.col = p.k;
  return ref_multiply(&r, dims_product(p.dim, 0, p.nbatch), err);
}

enum fvm_status gemm_ref(const struct opcall *c, const void *const *in, void *const *out,
                         struct fvm_error *err) {
  struct gemm_problem g;
  gemm_init(c, &g);
  enum fvm_dtype t = c->in[0].dtype;
  struct ref_product r = {.a = {.p = in[0], .t = t},
                          .b = {.p = in[1], .t = t},
                          .c = out[0],
                          .m = g.m,
                          .n = g.n,
                          .k = g.k,
                          .alpha = (double)g.alpha};
  gemm_strides(&g.a, LAYOUT_ROW, &r.a.row, &r.a.col);
  gemm_strides(&g.b, LAYOUT_ROW, &r.b.row, &r.b.col);
  enum fvm_status st = ref_multiply(&r, 1, err);
  if (st != FVM_OK) return st;
  if (g.beta == 0 || c->nown < 3 || c->in[2].dtype == FVM_NONE) return FVM_OK;
  struct tensor mn = {.dtype = t, .rank = 2, .dim = {g.m, g.n}};
  int64_t rs, cs;
  CHECK(matrix_strides(&c->in[2], &mn, g.n, &rs, &cs));
  for (int64_t i = 0; i < g.m; i++)
    for (int64_t j = 0; j < g.n; j++)
      elem_set_f64(out[0], t, i * g.n + j,
                   elem_f64(out[0], t, i * g.n + j) +
                       (double)g.beta * elem_f64(in[2], t, i * rs + j * cs));
  return FVM_OK;
}
