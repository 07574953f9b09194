/* Gemm on packed panels: tiles and their loops. Contract: emit.h. */
#include "emit.h"

#define TILE(MR, NR, ISA)                                                                          \
  .mr = MR, .nr = NR, .isa = ISA, .ukr = UKR_gemm_##MR##x##NR, .panel = LAYOUT_P##NR,              \
  .panelt = LAYOUT_PT##NR, .filter = LAYOUT_F##NR, .filter_row = LAYOUT_FR##NR
#define SUMS(NR) .sums = {LAYOUT_S##NR, LAYOUT_SS##NR}, .sumst = {LAYOUT_ST##NR, LAYOUT_SST##NR}
/* Order: best guess first, per ISA. */
const struct gemm_tile gemm_tiles[] = {
    {TILE(8, 32, ISA_AVX512), SUMS(32)},
    {TILE(12, 32, ISA_AVX512)},
    {TILE(8, 48, ISA_AVX512)},
    {TILE(14, 32, ISA_AVX512)},
    {TILE(6, 32, ISA_AVX512)},
    {TILE(6, 16, ISA_REF), SUMS(16)},
    {TILE(4, 24, ISA_AVX2)},
    {TILE(4, 16, ISA_REF)},
    {TILE(14, 16, ISA_AVX512)},
    {0},
};

const struct gemm_tile *gemm_tile_find(int mr, int nr) {
  for (const struct gemm_tile *t = gemm_tiles; t->mr; t++)
    if (t->mr == mr && t->nr == nr) return t;
  CHECK(!"no such gemm tile");
}

/* A tile is offered when it is made for the ISA's registers and neither half of it stays empty
 * while a smaller one of the same width exists. Few rows want wide tiles: a row alone keeps only
 * nr / vector accumulators busy. */
static bool worth(const struct gemm_tile *t, enum isa isa, int64_t m, int64_t n) {
  if (t->isa > isa) return false;
  if (isa == ISA_AVX512 && t->isa < ISA_AVX512 && n > t->nr) return false;
  if (n <= t->nr / 2 && t->nr > 16) return false;
  if (m <= 6 && t->mr > 8) return false;
  return true;
}

const struct gemm_tile *gemm_tile_at(enum isa isa, int64_t m, int64_t n, int i) {
  for (const struct gemm_tile *t = gemm_tiles; t->mr; t++)
    if (worth(t, isa, m, n) && i-- == 0) return t;
  return NULL;
}

static int64_t all_levels(const struct gemm_block *g) { return MAX(g->q.n, 1) * MAX(g->r.n, 1); }

/* All blocks of rows together bring in the panel that comes after p, in equal shares. */
static struct addr next_panel(const struct gemm_block *g, struct addr p, const struct span *r,
                              int64_t *ahead) {
  int64_t mr = g->tile->mr, nr = g->tile->nr;
  *ahead = CEIL_DIV(nr * 4, MAX(CEIL_DIV(g->m_max, mr), 1));
  p.off += g->b_col * nr;
  span_term(&p, r, CEIL_DIV(all_levels(g) * g->k_max * *ahead, mr));
  return p;
}

static struct addr based_at(const struct addr *base, const struct matrix *m, const struct span *r,
                            const struct span *s) {
  struct addr a = *base;
  span_term(&a, r, m->rs);
  span_term(&a, s, m->cs);
  return a;
}

static void tile_call(const struct gemm_block *g, const struct span *r, const struct span *s,
                      const struct place *inner, struct builder *b) {
  struct place at = g->at;
  place_row(&at, r, 1);
  place_col(&at, s, 1);
  struct addr a = g->a, p = g->b, c = matrix_at(&g->c, g->c_local ? inner : &at);
  if (g->c_base) c = based_at(g->c_base, &g->c, r, s);
  struct addr d = c;
  span_term(&a, r, g->a_row);
  span_term(&p, s, g->b_col);
  if (g->mode) d = g->d.buf == g->c.buf ? c : matrix_at(&g->d, &at);
  if (g->mode && g->d_base) d = based_at(g->d_base, &g->d, r, s);
  const struct matrix *dm = g->mode ? &g->d : &g->c;
  int64_t ahead = 0;
  struct addr next = g->ahead ? next_panel(g, p, r, &ahead) : p;
  const struct epilogue *t = g->tail;
  bool adds = t && t->residual >= 0, clips = t && t->bounds.found;
  struct addr e = adds ? matrix_at(&t->rest, &at) : c;
  const struct matrix *em = adds ? &t->rest : &g->c;
  build_ukr(b, g->blocks ? UKR_gemm_blocks_14x32 : (int)g->tile->ukr,
            (struct addr[]){a, p, d, c, next, e},
            (struct val[]){r->len,
                           s->len,
                           g->k,
                           val(g->sa),
                           val(g->ka),
                           val(dm->rs / 4),
                           val(g->c.rs / 4),
                           val(g->mode),
                           val(ahead),
                           val(MAX(g->q.n, 1)),
                           val(g->q.a),
                           val(g->q.b),
                           val(MAX(g->r.n, 1)),
                           val(g->r.a),
                           val(g->r.b),
                           val(em->rs / 4),
                           val(adds),
                           val(clips),
                           val_float(clips ? t->bounds.lo : 0),
                           val_float(clips ? t->bounds.hi : 0),
                           val(dm->bs / 4),
                           val(g->c.bs / 4),
                           val(em->bs / 4),
                           val(g->skip)});
}

/* Inside a panel one call makes all rows, unless A lies in panels of its own. */
static struct span open_inner(const struct gemm_block *g, struct val limit, int64_t max, int step,
                              struct builder *b) {
  if (!g->rows_outer && g->a_row == g->sa * 4) return (struct span){-1, limit, max};
  return span_open(b, false, limit, max, step);
}

/* Rows of tiles (or panels) outside, with a post when each is done; the other way inside. */
static void pieces(const struct gemm_block *g, bool compute, struct builder *b) {
  bool ro = g->rows_outer;
  struct val lim[2] = {ro ? g->m : g->n, ro ? g->n : g->m};
  int64_t max[2] = {ro ? g->m_max : g->n_max, ro ? g->n_max : g->m_max};
  int step[2] = {ro ? g->tile->mr : g->tile->nr, ro ? g->tile->nr : g->tile->mr};
  struct span o = span_open(b, false, lim[0], max[0], step[0]);
  if (compute) {
    struct span i = open_inner(g, lim[1], max[1], step[1], b);
    struct place in = {0};
    if (ro)
      place_col(&in, &i, 1);
    else
      place_row(&in, &i, 1);
    tile_call(g, ro ? &o : &i, ro ? &i : &o, &in, b);
    span_close(b, &i);
  }
  if (g->post) {
    struct place at = g->at;
    if (ro)
      place_row(&at, &o, 1);
    else
      place_col(&at, &o, 1);
    g->post(g->ctx, &at, ro ? o.len : g->m, ro ? o.max : g->m_max, ro ? g->n : o.len,
            ro ? g->n_max : o.max);
  }
  span_close(b, &o);
}

void emit_gemm(const struct gemm_block *g, struct builder *b) { pieces(g, true, b); }

void emit_gemm_posts(const struct gemm_block *g, struct builder *b) {
  if (g->post) pieces(g, false, b);
}
