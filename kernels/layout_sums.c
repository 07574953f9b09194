/* The sums of B's quarters as Strassen's product reads them. Contract and formulas: strassen.h. */
#include "strassen.h"

#include "ukr.h"

bool sums_fit(const struct sums_matrix *m) {
  return m->k % (1 << m->levels) == 0 && (m->levels == 1 || m->n % (m->block << m->levels) == 0);
}

int64_t sums_bytes(const struct sums_matrix *m) {
  int64_t groups = CEIL_DIV(m->n, m->block << m->levels), panels = SUM_COUNT;
  if (m->levels == 2) panels *= SUM_COUNT;
  return groups * panels * (m->k >> m->levels) * m->block * 4;
}

/* Seven panels, one after another from y on. */
struct sums {
  struct builder *b;
  struct addr y;
  int64_t rows, block;
};

static struct addr sum_at(const struct sums *s, int i) {
  struct addr y = s->y;
  y.off += i * s->rows * s->block * 4;
  return y;
}

static void combine(const struct sums *s, int ukr, int x, int y, int to) {
  struct val one = val(1), n = val(s->rows * s->block);
  build_ukr(s->b, ukr, (struct addr[]){sum_at(s, x), sum_at(s, y), sum_at(s, to)},
            (struct val[]){one, n, n, one, n, one, n});
}

/* Where the quarters are put at first; B12 waits where T3 will be. */
static const int place[2][2] = {{SUM_B11, SUM_T3}, {SUM_B21, SUM_B22}};

static void sum_up(const struct sums *s) {
  combine(s, UKR_sub_f32, SUM_T3, SUM_B11, SUM_T1);
  combine(s, UKR_sub_f32, SUM_B22, SUM_T1, SUM_T2);
  combine(s, UKR_sub_f32, SUM_B22, SUM_T3, SUM_T3);
  combine(s, UKR_sub_f32, SUM_B21, SUM_T2, SUM_T4);
}

/* The panel of x from (row, col) on, of which n columns exist. */
static void pack(const struct sums *s, const struct sums_matrix *m, struct addr x, int64_t row,
                 int64_t col, int64_t n, int to) {
  x.off += (row * m->sk + (n ? col * m->sn : 0)) * 4;
  build_ukr(s->b, UKR_pack_4, (struct addr[]){x, sum_at(s, to)},
            (struct val[]){val(s->rows), val(n), val(m->sk), val(m->sn), val(s->block)});
}

/* One level: pairs of panels from column `from` to column `to`, of which left and right columns
 * exist. */
static void make_pairs(struct builder *b, const struct sums_matrix *m, struct addr x, struct addr y,
                       int64_t from, int64_t to, int64_t left, int64_t right) {
  struct sums s = {b, y, m->k / 2, m->block};
  if (from == to) return;
  int j = build_par(b, from, val(to), 2 * m->block);
  addr_add(&x, j, m->sn * 4);
  addr_add(&s.y, j, SUM_COUNT * s.rows * 4 / 2);
  for (int r = 0; r < 2; r++) {
    pack(&s, m, x, r * s.rows, 0, left, place[r][0]);
    pack(&s, m, x, r * s.rows, m->block, right, place[r][1]);
  }
  sum_up(&s);
  build_end(b);
}

/* The sums of the first level by quarters of B, the first one with sign +. */
static const struct {
  int n;
  struct {
    int row, col, sign;
  } part[4];
} terms[SUM_COUNT] = {
    [SUM_B11] = {1, {{0, 0, 1}}},
    [SUM_B21] = {1, {{1, 0, 1}}},
    [SUM_T2] = {3, {{1, 1, 1}, {0, 1, -1}, {0, 0, 1}}},
    [SUM_T1] = {2, {{0, 1, 1}, {0, 0, -1}}},
    [SUM_B22] = {1, {{1, 1, 1}}},
    [SUM_T3] = {2, {{1, 1, 1}, {0, 1, -1}}},
    [SUM_T4] = {4, {{1, 0, 1}, {1, 1, -1}, {0, 1, 1}, {0, 0, -1}}},
};

/* Quarter (r, c) of sum i of the first level, made in its place; the place of T2 is still free. */
static void make_quarter(const struct sums *s, const struct sums_matrix *m, struct addr x, int i,
                         int r, int c) {
  for (int t = 0; t < terms[i].n; t++) {
    int64_t row = (2 * terms[i].part[t].row + r) * s->rows;
    int64_t col = (2 * terms[i].part[t].col + c) * s->block;
    pack(s, m, x, row, col, s->block, t ? SUM_T2 : place[r][c]);
    if (t)
      combine(s, terms[i].part[t].sign > 0 ? UKR_add_f32 : UKR_sub_f32, place[r][c], SUM_T2,
              place[r][c]);
  }
}

static void make_groups(struct builder *b, const struct sums_matrix *m, struct addr x,
                        struct addr y) {
  struct sums s = {b, y, m->k / 4, m->block};
  int j = build_par(b, 0, val(m->n), 4 * m->block);
  addr_add(&x, j, m->sn * 4);
  addr_add(&s.y, j, SUM_COUNT * SUM_COUNT * s.rows * 4 / 4);
  for (int i = 0; i < SUM_COUNT; i++) {
    for (int q = 0; q < 4; q++) make_quarter(&s, m, x, i, q / 2, q % 2);
    sum_up(&s);
    s.y.off += SUM_COUNT * s.rows * s.block * 4;
  }
  build_end(b);
}

void sums_emit(struct builder *b, const struct sums_matrix *m, struct addr x, struct addr y) {
  int64_t whole = m->n / (2 * m->block) * 2 * m->block, rest = m->n - whole;
  if (m->levels == 2) {
    make_groups(b, m, x, y);
    return;
  }
  make_pairs(b, m, x, y, 0, whole, m->block, m->block);
  make_pairs(b, m, x, y, whole, m->n, MIN(rest, m->block), MAX(rest - m->block, 0));
}
