/* The sums of B's quarters as Strassen's product reads them. Contract and formulas: strassen.h. */
#include "strassen.h"

#include "ukr.h"

int64_t sums_bytes(int64_t k, int64_t n, int64_t block) {
  return CEIL_DIV(n, 2 * block) * SUM_COUNT * (k / 2) * block * 4;
}

/* One pair of panels: x at its first column, y at its first sum. */
struct pair {
  const struct sums_matrix *m;
  struct builder *b;
  struct addr x, y;
};

static struct addr sum_at(const struct pair *p, int i) {
  struct addr y = p->y;
  y.off += i * (p->m->k / 2) * p->m->block * 4;
  return y;
}

/* Quarter (row half, column half), of which `n` columns exist, as a panel. */
static void pack_quarter(const struct pair *p, int row, int col, int64_t n, int to) {
  const struct sums_matrix *m = p->m;
  struct addr x = p->x;
  x.off += (row * (m->k / 2) * m->sk + (n ? col * m->block * m->sn : 0)) * 4;
  build_ukr(p->b, UKR_pack_4, (struct addr[]){x, sum_at(p, to)},
            (struct val[]){val(m->k / 2), val(n), val(m->sk), val(m->sn), val(m->block)});
}

static void subtract(const struct pair *p, int x, int y, int to) {
  struct val one = val(1), n = val(p->m->k / 2 * p->m->block);
  build_ukr(p->b, UKR_sub_f32, (struct addr[]){sum_at(p, x), sum_at(p, y), sum_at(p, to)},
            (struct val[]){one, n, n, one, n, one, n});
}

/* B12 waits where T3 will be. */
static void make_pair(const struct pair *p, int64_t left, int64_t right) {
  pack_quarter(p, 0, 0, left, SUM_B11);
  pack_quarter(p, 1, 0, left, SUM_B21);
  pack_quarter(p, 0, 1, right, SUM_T3);
  pack_quarter(p, 1, 1, right, SUM_B22);
  subtract(p, SUM_T3, SUM_B11, SUM_T1);
  subtract(p, SUM_B22, SUM_T1, SUM_T2);
  subtract(p, SUM_B22, SUM_T3, SUM_T3);
  subtract(p, SUM_B21, SUM_T2, SUM_T4);
}

static void make_pairs(const struct pair *p, int64_t from, int64_t to, int64_t left,
                       int64_t right) {
  const struct sums_matrix *m = p->m;
  struct pair q = *p;
  if (from == to) return;
  int j = build_par(p->b, from, val(to), 2 * m->block);
  addr_add(&q.x, j, m->sn * 4);
  addr_add(&q.y, j, SUM_COUNT * (m->k / 2) * 4 / 2);
  make_pair(&q, left, right);
  build_end(p->b);
}

void sums_emit(struct builder *b, const struct sums_matrix *m, struct addr x, struct addr y) {
  struct pair p = {m, b, x, y};
  int64_t whole = m->n / (2 * m->block) * 2 * m->block, rest = m->n - whole;
  make_pairs(&p, 0, whole, m->block, m->block);
  make_pairs(&p, whole, m->n, MIN(rest, m->block), MAX(rest - m->block, 0));
}
